//! Where the job runs: cluster, network, storage and the services.

use cutline::config::{ElectionOptions, FailoverStrategy, RestartStrategy, RpcFailures, Scheme};
use cutline::storage::SyncPolicy;
use cutline::time::VirtualDuration;

use super::topology::Drawn;
use super::{Draws, distribution, log_between, permille_chance, tail, weighted};
use crate::kernel::distribution::Distribution;
use crate::kernel::stream::Stream;
use crate::scenario::model::{
    Cluster, Endpoint, External, HighAvailability, Link, Network, Storage, StorageClient,
    WRITE_BACK,
};

/// The parts of a scenario that are neither job, options nor faults.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) cluster: Cluster,
    pub(super) network: Network,
    pub(super) storage: Storage,
    pub(super) ha: HighAvailability,
    pub(super) external: External,
}

pub(super) fn draw(drawn: &Drawn, draws: &Draws) -> World {
    let cluster = cluster(drawn, draws);
    World {
        network: network(cluster.task_managers, draws),
        cluster,
        storage: storage(draws),
        ha: HighAvailability {
            latency: service(draws, "ha"),
            election: ElectionOptions::default(),
        },
        external: external(draws),
    }
}

fn cluster(drawn: &Drawn, draws: &Draws) -> Cluster {
    let ms = VirtualDuration::from_millis;
    let mut stream = draws.of("cluster", "");
    let widest = drawn.job.operators.iter().map(|operator| operator.parallelism).max();
    let task_managers = stream.between(1, 4) as u32;
    // Sometimes one task manager more than are needed: a lost one need not be waited for.
    let spare = stream.below(2) as u32;
    let slots = widest.unwrap_or(1).div_ceil(task_managers) + spare;
    let interval = log_between(&mut stream, 20, 1_000);
    // Fair: several heartbeats and the tail of the latency fit in.
    let timeout = interval * stream.between(3, 6) + 200;
    let restart = log_between(&mut stream, 10_000, 1_000_000);
    let deploy = log_between(&mut stream, 100, 20_000);
    Cluster {
        job_managers: 1,
        task_managers,
        slots,
        heartbeat_interval: ms(interval),
        heartbeat_timeout: ms(timeout),
        rpc_failures: None,
        ask_timeout: ms(log_between(&mut draws.of("ask timeout", ""), 50, 3_000)),
        cancellation_timeout: None,
        failover: FailoverStrategy::Region,
        connection_loss: Distribution::Constant(VirtualDuration::ZERO),
        process_restart: distribution(&mut stream, restart),
        deploy: distribution(&mut stream, deploy),
    }
}

/// Sometimes there are several job managers. Fair: a lease outlasts several requests to the store; a
/// leader may believe in its lease for longer than the others do.
pub(super) fn candidates(world: &mut World, dir: Option<Scheme>, draws: &Draws) {
    let mut stream = draws.of("job managers", "");
    if dir == Some(Scheme::Memory) || !permille_chance(&mut stream, 250) {
        return;
    }
    let ms = VirtualDuration::from_millis;
    world.cluster.job_managers = stream.between(2, 3) as u32;
    let round_trips = tail(&world.ha.latency) * 8;
    let lease = ms(log_between(&mut stream, 100, 3_000)) + round_trips;
    let deadline = VirtualDuration(lease.0 / 4 * stream.between(2, 8));
    let deadline = ms(deadline.max(round_trips).as_millis() + 20);
    world.ha.election = ElectionOptions {
        lease_duration: ms(lease.as_millis() + 1),
        renew_deadline: deadline,
        retry_period: ms((deadline.min(lease).as_millis() / stream.between(4, 10)).max(5)),
    };
}

/// How deaths are noticed, and how tasks end. A restart that comes earlier than the notice is in
/// vain, so that there may be many: not with a delay of next to nothing.
pub(super) fn failover(cluster: &mut Cluster, restart: &RestartStrategy, draws: &Draws) {
    let ms = VirtualDuration::from_millis;
    let delay = match restart {
        RestartStrategy::Disabled => VirtualDuration::ZERO,
        RestartStrategy::FixedDelay { delay, .. } | RestartStrategy::FailureRate { delay, .. } => {
            *delay
        }
        RestartStrategy::ExponentialDelay { initial, .. } => *initial,
    };
    let mut stream = draws.of("detection", "");
    if delay >= ms(20) && permille_chance(&mut stream, 400) {
        cluster.rpc_failures = Some(match stream.below(5) {
            0 => RpcFailures::Ignored,
            _ => RpcFailures::Threshold(stream.between(1, 3) as u32),
        });
    }
    if draws.is("failover strategy", 200) {
        cluster.failover = FailoverStrategy::Full;
    }
    let mut stream = draws.of("connection loss", "");
    if permille_chance(&mut stream, 250) {
        let mean = log_between(&mut stream, 100, 100_000);
        cluster.connection_loss = distribution(&mut stream, mean);
    }
    let mut stream = draws.of("cancellation", "");
    if permille_chance(&mut stream, 300) {
        cluster.cancellation_timeout = Some(match stream.below(4) {
            0 => VirtualDuration::ZERO,
            _ => ms(log_between(&mut stream, 1, 2_000)),
        });
    }
}

fn network(task_managers: u32, draws: &Draws) -> Network {
    let mut stream = draws.of("network", "");
    let latency = log_between(&mut stream, 10, 5_000);
    let control = log_between(&mut stream, 50, 10_000);
    let bandwidth = match weighted(&mut stream, &[4, 4, 2]) {
        0 => 0,
        1 => 100_000_000,
        _ => log_between(&mut stream, 1_000_000, 20_000_000),
    };
    let mut network = Network {
        latency: distribution(&mut stream, latency),
        bandwidth,
        control_latency: distribution(&mut stream, control),
        links: Vec::new(),
    };
    network.links = links(&network, task_managers, draws);
    network
}

/// Sometimes one task manager is far away: all its links differ.
fn links(network: &Network, task_managers: u32, draws: &Draws) -> Vec<Link> {
    let mut stream = draws.of("links", "");
    if weighted(&mut stream, &[8, 2]) == 0 {
        return Vec::new();
    }
    let far = Endpoint::TaskManager(stream.below(u64::from(task_managers)) as u32);
    let others = (0..task_managers).map(Endpoint::TaskManager).filter(|other| *other != far);
    let latency = log_between(&mut stream, 1_000, 20_000);
    let mut link = |to| Link {
        from: far,
        to,
        latency: distribution(&mut stream, latency),
        bandwidth: network.bandwidth,
        control_latency: distribution(&mut stream, latency),
    };
    std::iter::once(Endpoint::JobManager).chain(others).map(&mut link).collect()
}

fn storage(draws: &Draws) -> Storage {
    let mut stream = draws.of("storage", "");
    let latency = log_between(&mut stream, 100, 100_000);
    let bandwidth = match weighted(&mut stream, &[4, 6]) {
        0 => 0,
        _ => log_between(&mut stream, 10_000_000, 1_000_000_000),
    };
    let visibility = match weighted(&mut stream, &[7, 3]) {
        0 => Distribution::Constant(VirtualDuration::ZERO),
        _ => {
            let mean = log_between(&mut stream, 100, 200_000);
            distribution(&mut stream, mean)
        }
    };
    let latency = distribution(&mut stream, latency);
    Storage {
        latency,
        bandwidth,
        visibility,
        name_node: None,
        requests_per_prefix: None,
        part_size: None,
        sync: SyncPolicy::default(),
        write_back: WRITE_BACK,
        client: client(&mut draws.of("storage client", "")),
    }
}

/// What a kind of store has of its own.
pub(super) fn of_scheme(storage: &mut Storage, scheme: Option<Scheme>, draws: &Draws) {
    match scheme {
        Some(Scheme::Hdfs) => {
            let mut stream = draws.of("name node", "");
            let mean = log_between(&mut stream, 100, 20_000);
            storage.name_node = Some(distribution(&mut stream, mean));
        }
        Some(Scheme::S3) => {
            let mut stream = draws.of("requests per prefix", "");
            // A single checkpoint is not kept from completing in its time.
            storage.requests_per_prefix = Some(log_between(&mut stream, 100, 1_000) as u32);
            let mut stream = draws.of("part size", "");
            storage.part_size = Some(log_between(&mut stream, 1_000, 10_000_000));
        }
        Some(Scheme::File | Scheme::Memory) | None => {}
    }
}

fn client(stream: &mut Stream) -> StorageClient {
    let ms = VirtualDuration::from_millis;
    StorageClient {
        attempts: log_between(stream, 1, 8) as u32,
        backoff: ms(log_between(stream, 1, 200)),
        timeout: ms(log_between(stream, 20, 2_000)),
    }
}

/// The timeout of transactions is drawn when it is known what the job needs.
fn external(draws: &Draws) -> External {
    let mut external = External::patient(service(draws, "external"));
    let mut stream = draws.of("commit retries", "");
    if weighted(&mut stream, &[8, 2]) == 1 {
        external.commit_retries = stream.below(4) as u32;
    }
    external
}

fn service(draws: &Draws, name: &str) -> Distribution {
    let mut stream = draws.of("service", name);
    let mean = log_between(&mut stream, 100, 50_000);
    distribution(&mut stream, mean)
}
