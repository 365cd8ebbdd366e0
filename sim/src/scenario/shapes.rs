//! Scenarios made in code: the shapes that benchmarks and tests measure themselves by.

use cutline::config::{
    CheckpointingOptions, ElectionOptions, FailoverStrategy, NetworkOptions, RestartStrategy,
};
use cutline::job::Partitioner;
use cutline::operator::StartupMode;
use cutline::storage::SyncPolicy;
use cutline::time::{VirtualDuration, VirtualTime};

use super::model::{
    Cluster, Edge, External, HighAvailability, Job, Limits, ListMode, Network, Operator,
    OperatorKind, Scenario, Source, Storage, StorageClient, WRITE_BACK,
};
use crate::kernel::distribution::Distribution;

fn constant(us: u64) -> Distribution {
    Distribution::Constant(VirtualDuration::from_micros(us))
}

fn uniform(from_us: u64, to_us: u64) -> Distribution {
    Distribution::Uniform {
        min: VirtualDuration::from_micros(from_us),
        max: VirtualDuration::from_micros(to_us),
    }
}

/// An operator with default costs: 1 µs a record, 10 µs for the synchronous part of a snapshot.
pub fn operator(name: &str, kind: OperatorKind, parallelism: u32) -> Operator {
    Operator {
        name: name.to_owned(),
        kind,
        parallelism,
        max_parallelism: cutline::job::key_groups::default_max_parallelism(parallelism),
        cost: constant(1),
        sync_cost: constant(10),
        state_per_key: 0,
    }
}

/// Sources → keyed aggregates → transactional sinks, all to all: `records` from each source subtask,
/// one every `every`, a checkpoint about every `interval`.
pub fn pipeline(
    [sources, aggregates, sinks]: [u32; 3],
    records: u64,
    every: VirtualDuration,
    interval: VirtualDuration,
) -> Scenario {
    let source = Source {
        splits: sources,
        records: Some(records),
        history: 0,
        startup_mode: StartupMode::EarliestOffset,
        every,
        keys: 64,
        key_run: 1,
        record_bytes: 100,
        weight: 1,
        disorder: VirtualDuration::ZERO,
        watermarks: None,
        discovery: None,
        list_mode: ListMode::Split,
    };
    let edge = |from, to| Edge {
        from,
        to,
        input: 0,
        partitioner: Partitioner::Hash,
        chained: false,
        feedback: None,
    };
    Scenario {
        title: "pipeline".to_owned(),
        why: "What one event costs.".to_owned(),
        job: Job {
            operators: vec![
                operator("source", OperatorKind::Source(source), sources),
                operator("count", OperatorKind::KeyedAggregate, aggregates),
                operator("sink", OperatorKind::TwoPhaseCommitSink, sinks),
            ],
            edges: vec![edge(0, 1), edge(1, 2)],
            operator_chaining: true,
        },
        checkpointing: CheckpointingOptions {
            interval: Some(interval),
            tolerable_failures: 10,
            ..CheckpointingOptions::default()
        },
        restart: RestartStrategy::FixedDelay {
            attempts: 10,
            delay: VirtualDuration::from_millis(100),
        },
        buffers: NetworkOptions::default(),
        cluster: Cluster {
            job_managers: 1,
            task_managers: sources.max(aggregates).max(sinks),
            slots: 1,
            heartbeat_interval: VirtualDuration::from_secs(10),
            heartbeat_timeout: VirtualDuration::from_secs(50),
            rpc_failures: None,
            ask_timeout: VirtualDuration::from_secs(10),
            cancellation_timeout: None,
            failover: FailoverStrategy::Region,
            connection_loss: constant(0),
            process_restart: uniform(500_000, 1_000_000),
            deploy: uniform(1_000, 5_000),
        },
        network: Network {
            latency: constant(10),
            bandwidth: 1_000_000_000,
            control_latency: uniform(100, 300),
            links: Vec::new(),
        },
        storage: Storage {
            latency: uniform(1_000, 3_000),
            bandwidth: 1_000_000_000,
            visibility: constant(0),
            name_node: None,
            requests_per_prefix: None,
            part_size: None,
            sync: SyncPolicy::default(),
            write_back: WRITE_BACK,
            client: StorageClient::default(),
        },
        ha: HighAvailability { latency: uniform(500, 1_000), election: ElectionOptions::default() },
        external: External::patient(uniform(500, 1_000)),
        manual: Vec::new(),
        actions: Vec::new(),
        faults: Vec::new(),
        failures: None,
        limits: Limits {
            until: VirtualTime::ZERO + every * records + VirtualDuration::from_secs(60),
            events: u64::MAX,
            settle: VirtualDuration::from_secs(30),
        },
    }
}
