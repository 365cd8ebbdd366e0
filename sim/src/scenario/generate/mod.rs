//! Random scenarios: one seed, one job in one world with one plan of faults.
//!
//! Swarm testing (Groce et al., 2012): a seed first draws *which* features it has at all, then how
//! often; a run with three kinds of faults finds what a run with all of them drowns. What is
//! drawn is always valid for the loader, and fair: retries are plenty, and after the last fault
//! there is time enough to finish, so that a job that doesn't is a finding.
//!
//! Every decision comes from a stream of its own concern and entity: the parallelism of `map-2`
//! stays what it is when the number of faults changes.

mod actions;
mod changelog;
mod faults;
mod options;
mod search;
mod topology;
mod world;

use cutline::time::{VirtualDuration, VirtualTime};

pub use search::{Aim, aimed, by_priorities, changed, placed};

use super::model::{FaultKind, Limits, ListMode, Operator, OperatorKind, Scenario, Source};
use crate::kernel::distribution::Distribution;
use crate::kernel::stream::{Stream, Streams};

/// What may be drawn at most. The default is what a campaign runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Sources, at least 1.
    pub sources_max: u32,
    /// Layers of operators between sources and sinks.
    pub layers_max: u32,
    /// Subtasks of one operator, at least 1.
    pub parallelism_max: u32,
    /// Records that all subtasks process together in an undisturbed run, about.
    pub records_max: u64,
    /// Faults of one run.
    pub faults_max: u32,
    /// Whether users do something: take savepoints, end the job, start another from what it left.
    pub actions: bool,
    /// Whether jobs may be unbounded: they end when the run's time is up.
    pub unbounded: bool,
    /// Whether the job makes the strongest promise: bounded, exactly-once mode, sinks that are
    /// idempotent or transactional, a final checkpoint that commits all.
    pub exactly_once_output: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sources_max: 3,
            layers_max: 4,
            parallelism_max: 4,
            records_max: 1_000,
            faults_max: 6,
            actions: true,
            unbounded: true,
            exactly_once_output: false,
        }
    }
}

/// The scenario of a seed.
pub fn generate(seed: u64) -> Scenario {
    generate_with(&Options::default(), Seeds::all(seed))
}

/// Seeds of the parts of a scenario. Two scenarios that share a seed here share that part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeds {
    /// Operators, edges and records.
    pub job: u64,
    /// Checkpointing, restart, cluster, network, storage.
    pub world: u64,
    /// Faults.
    pub faults: u64,
}

impl Seeds {
    /// The same for all parts.
    pub fn all(seed: u64) -> Self {
        Self { job: seed, world: seed, faults: seed }
    }
}

/// A scenario within bounds.
pub fn generate_with(options: &Options, seeds: Seeds) -> Scenario {
    let drawn = topology::draw(options, &Draws::new(seeds.job));
    let draws = Draws::new(seeds.world);
    let mut world = world::draw(&drawn, &draws);
    let dir = options::directory(&drawn, options, &draws);
    world::of_scheme(&mut world.storage, dir, &draws);
    world::candidates(&mut world, dir, &draws);
    let load = Load::of(&drawn, &world);
    let (checkpointing, manual) = options::checkpointing(options, &drawn, (&load, dir), &draws);
    let restart = options::restart(&draws);
    world::failover(&mut world.cluster, &restart, &draws);
    let mut settle = settle(&load, checkpointing.timeout, world.cluster.heartbeat_timeout);
    if world.cluster.job_managers > 1 {
        let election = world.ha.election;
        settle += (election.lease_duration + election.renew_deadline) * 4;
    }
    let logged = changelog::logged(&drawn);
    let mut scenario = Scenario {
        title: title(seeds),
        why: "Drawn by the scenario generator.".to_owned(),
        job: drawn.job,
        checkpointing,
        restart,
        buffers: options::buffers(&draws),
        cluster: world.cluster,
        network: world.network,
        storage: world.storage,
        ha: world.ha,
        external: world.external,
        manual,
        actions: Vec::new(),
        faults: Vec::new(),
        failures: None,
        limits: Limits { until: VirtualTime::ZERO, events: EVENTS_MAX, settle },
    };
    // Whoever is promised all the output has time to commit it; so has whoever must wait until all
    // readers of a union list state have come to their end.
    let is_union = |source: &Source| source.list_mode == ListMode::Union;
    let waits = |it: &Operator| it.kind.as_source().is_some_and(is_union);
    if !options.exactly_once_output && !scenario.job.operators.iter().any(waits) {
        let interval = scenario.checkpointing.interval;
        scenario.external.transaction_timeout = transaction_timeout(&load, interval, &draws);
    }
    let logs = changelog::draw(&mut scenario, (&load, logged), &draws);
    let draws = Draws::new(seeds.faults);
    scenario.actions = actions::draw(options, &scenario, drawn.span, &draws);
    if logs {
        changelog::switch(&mut scenario, &draws);
    }
    scenario.faults = faults::draw(options, &scenario, drawn.span, &draws);
    if scenario.faults.iter().any(|fault| matches!(fault.what, FaultKind::DamageObject(_))) {
        options::lose_patience(&mut scenario.restart);
    }
    scenario.limits.until = until(&scenario, drawn.span);
    scenario
}

/// A theme of some seeds: a job is cancelled with records in flight, and resumed with another
/// parallelism. What that takes (backpressure, barriers that overtake, a checkpoint that is retained and
/// no savepoint) is drawn often, and seldom together.
fn moves_in_flight(options: &Options, draws: &Draws) -> bool {
    options.actions && !options.exactly_once_output && draws.is("moves in flight", 60)
}

/// Mostly none. It is fair: a calm job flushes within it, however slow it is. What comes too late
/// after several faults is committed by nobody, and then the job fails, as it should.
fn transaction_timeout(
    load: &Load,
    interval: Option<VirtualDuration>,
    draws: &Draws,
) -> Option<VirtualDuration> {
    let mut stream = draws.of("transaction timeout", "");
    let least = VirtualDuration::from_secs(1)
        + load.work
        + (load.checkpoint + interval.unwrap_or_default()) * 2;
    let span = VirtualDuration(log_between(&mut stream, least.0, least.0 * 8));
    permille_chance(&mut stream, 250).then_some(span)
}

/// No fault lasts longer than this, with what follows from it.
const LONGEST: VirtualDuration = VirtualDuration::from_secs(30);

/// A run of a hundred thousand events is large; one of these does not end.
const EVENTS_MAX: u64 = 5_000_000;

fn title(seeds: Seeds) -> String {
    match seeds {
        Seeds { job, world, faults } if job == world && job == faults => {
            format!("random scenario of seed {job}")
        }
        Seeds { job, world, faults } => {
            format!("random job {job} in world {world} with faults {faults}")
        }
    }
}

/// Calm time within which everything ends: all work is done anew, a checkpoint runs into its
/// timeout, a silent process is noticed; each several times over.
fn settle(load: &Load, timeout: VirtualDuration, heartbeat: VirtualDuration) -> VirtualDuration {
    VirtualDuration::from_secs(20) + load.work * 4 + timeout * 2 + heartbeat * 4
}

/// A bounded job ends by itself, or liveness says that it did not: there is room for that after
/// each fault. An unbounded one gets a while after the last fault with a time.
fn until(scenario: &Scenario, span: VirtualDuration) -> VirtualTime {
    if is_bounded(scenario) {
        return VirtualTime::ZERO + span + slack(scenario);
    }
    VirtualTime::ZERO + span * 2
}

fn slack(scenario: &Scenario) -> VirtualDuration {
    let disturbances = (scenario.faults.len() + scenario.actions.len()) as u64 + 2;
    (scenario.limits.settle + LONGEST) * disturbances + scenario.delay_by_wall_clocks()
}

fn is_bounded(scenario: &Scenario) -> bool {
    scenario.job.operators.iter().all(|operator| match &operator.kind {
        OperatorKind::Source(source) => source.records.is_some(),
        _ => true,
    })
}

/// Named streams of one part of a scenario.
#[derive(Clone, Copy, Debug)]
struct Draws(Streams);

impl Draws {
    fn new(seed: u64) -> Self {
        Self(Streams { seed })
    }

    /// The concern is set apart from those of the run, which has the same seed as a rule.
    fn of(&self, concern: &str, entity: &str) -> Stream {
        self.0.stream(&format!("generate {concern}"), entity)
    }

    /// One question of a concern: whether, with so many chances in a thousand.
    fn is(&self, concern: &str, permille: u64) -> bool {
        permille_chance(&mut self.of(concern, ""), permille)
    }
}

fn permille_chance(stream: &mut Stream, permille: u64) -> bool {
    stream.below(1_000) < permille
}

/// An index, drawn with these weights.
fn weighted(stream: &mut Stream, weights: &[u64]) -> usize {
    let mut left = stream.below(weights.iter().sum());
    let position = weights.iter().position(|weight| {
        let here = left < *weight;
        left = left.saturating_sub(*weight);
        here
    });
    position.expect("what was drawn is below the sum of the weights")
}

/// A number whose order of magnitude is drawn evenly: a draw of the number of bits, then one below.
fn log_between(stream: &mut Stream, low: u64, high: u64) -> u64 {
    let doublings = u64::from((high / low.max(1)).max(1).ilog2());
    let top = (low << stream.between(0, doublings + 1)).min(high);
    stream.between(low, top.max(low))
}

/// A distribution of any kind with about this mean, in microseconds.
fn distribution(stream: &mut Stream, mean_us: u64) -> Distribution {
    let us = VirtualDuration::from_micros;
    match stream.below(4) {
        0 => Distribution::Constant(us(mean_us)),
        1 => {
            let spread = stream.between(0, mean_us);
            Distribution::Uniform { min: us(mean_us - spread), max: us(mean_us + spread) }
        }
        2 => Distribution::Exponential {
            min: us(mean_us * stream.below(100) / 100),
            mean: us(mean_us),
        },
        _ => Distribution::LogNormal {
            median: us(mean_us),
            sigma_permille: stream.between(100, 800) as u32,
        },
    }
}

/// What nine in ten draws stay below, about: for bounds, never for events.
fn tail(distribution: &Distribution) -> VirtualDuration {
    match *distribution {
        Distribution::Constant(span) => span,
        Distribution::Uniform { max, .. } => max,
        Distribution::Exponential { mean, .. } => mean * 3,
        Distribution::LogNormal { median, .. } => median * 3,
    }
}

fn longest(latencies: impl Iterator<Item = Distribution>) -> VirtualDuration {
    latencies.map(|latency| tail(&latency)).max().unwrap_or_default()
}

/// How long things take when nothing disturbs, on the safe side: what fair bounds are made of.
#[derive(Clone, Copy, Debug)]
struct Load {
    /// All records of all operators, one after another.
    work: VirtualDuration,
    /// A checkpoint of a job in which nothing is queued.
    checkpoint: VirtualDuration,
}

impl Load {
    fn of(drawn: &topology::Drawn, world: &world::World) -> Self {
        let at = |bytes: u64, bandwidth: u64| match bandwidth {
            0 => VirtualDuration::ZERO,
            bandwidth => VirtualDuration::from_millis(bytes.saturating_mul(1_000) / bandwidth + 1),
        };
        let operators = &drawn.job.operators;
        let mut work = at(drawn.bytes, world.network.bandwidth);
        let mut checkpoint = enumerators(operators);
        for (operator, records) in operators.iter().zip(&drawn.records) {
            work += tail(&operator.cost) * (records * u64::from(drawn.weight));
            if let OperatorKind::Async { capacity, latency, .. } = &operator.kind {
                work += tail(latency) * (records / u64::from(*capacity) + 1);
            }
            checkpoint += tail(&operator.sync_cost) + longest(world.network.latencies());
        }
        let name_node = world.storage.name_node.as_ref().map_or(VirtualDuration::ZERO, tail);
        let requests =
            tail(&world.storage.latency) * 3 + tail(&world.ha.latency) * 3 + name_node * 5;
        let control = longest(world.network.control_latencies()) * 3;
        let upload = at(drawn.state, world.storage.bandwidth) + tail(&world.storage.visibility);
        Self { work, checkpoint: checkpoint + requests + control + upload }
    }
}

/// T4 of those that there are: side by side.
fn enumerators(operators: &[Operator]) -> VirtualDuration {
    let snapshot = |it: &Operator| Some(it.kind.as_source()?.discovery.as_ref()?.snapshot);
    let snapshots = operators.iter().filter_map(snapshot);
    snapshots.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_scenario() {
        assert_eq!(generate(7), generate(7));
        assert_ne!(generate(7).job, generate(8).job);
    }

    /// Else no checkpoint would ever complete, and a job that waits for its last would not end.
    #[test]
    fn a_checkpoint_has_time_for_the_enumerators() {
        let mut compared = 0;
        for scenario in (0..1_000).map(generate) {
            let longest = enumerators(&scenario.job.operators);
            assert!(longest < scenario.checkpointing.timeout, "{}", scenario.title);
            compared += u32::from(!longest.is_zero());
        }
        assert!(compared > 50, "{compared}");
    }

    /// What shrinking relies on: each part has streams of its own.
    #[test]
    fn parts_do_not_disturb_each_other() {
        let seeds = Seeds::all(7);
        let whole = generate_with(&Options::default(), seeds);
        let world = generate_with(&Options::default(), Seeds { world: 8, ..seeds });
        assert_eq!(whole.job, world.job);
        assert_ne!(whole.storage, world.storage);
        let faults = generate_with(&Options::default(), Seeds { faults: 8, ..seeds });
        assert_eq!((&whole.job, &whole.checkpointing), (&faults.job, &faults.checkpointing));
        assert_ne!(whole.faults, faults.faults);
    }

    #[test]
    fn a_fault_fewer_leaves_the_others() {
        let mut compared = 0;
        for seed in 0..50 {
            let many = generate(seed).faults;
            let options = Options { faults_max: 2, ..Options::default() };
            let few = generate_with(&options, Seeds::all(seed)).faults;
            let both = many.len().min(few.len());
            compared += both;
            assert_eq!(many[..both], few[..both], "seed {seed}");
        }
        assert!(compared > 50);
    }

    #[test]
    fn bounds_are_kept() {
        let options = Options {
            sources_max: 1,
            layers_max: 1,
            parallelism_max: 2,
            faults_max: 1,
            exactly_once_output: true,
            ..Options::default()
        };
        for seed in 0..100 {
            let scenario = generate_with(&options, Seeds::all(seed));
            let operators = &scenario.job.operators;
            let sources =
                operators.iter().filter(|it| matches!(it.kind, OperatorKind::Source(_))).count();
            assert_eq!(sources, 1, "seed {seed}");
            assert!(operators.iter().all(|operator| operator.parallelism <= 2), "seed {seed}");
            assert!(scenario.faults.len() <= 1, "seed {seed}");
            assert!(is_bounded(&scenario) && scenario.checkpointing.exactly_once, "seed {seed}");
            assert!(
                operators.iter().all(|it| it.kind != OperatorKind::AtLeastOnceSink),
                "seed {seed}"
            );
        }
    }
}
