//! A small calm world with round numbers, in which a fault falls where it is meant to.

use cutline::config::{CheckpointingOptions, NetworkOptions, RestartStrategy};
use cutline::job::Partitioner;
use cutline::step::Step;
use cutline::time::{VirtualDuration, VirtualTime};
use cutline_sim::kernel::distribution::Distribution;
use cutline_sim::scenario::model::{
    Cluster, Edge, Fault, FaultKind, Job, Limits, Network, Operator, OperatorKind, Scenario,
    Service, Source, StepAnchor, Storage, StorageClient, When,
};
use cutline_sim::scenario::shapes::operator;

pub(crate) fn ms(ms: u64) -> VirtualDuration {
    VirtualDuration::from_millis(ms)
}

pub(crate) fn constant(us: u64) -> Distribution {
    Distribution::Constant(VirtualDuration::from_micros(us))
}

/// A source of one split, a record every so many milliseconds.
pub(crate) fn source(records: u64, every_ms: u64) -> OperatorKind {
    OperatorKind::Source(Source {
        splits: 1,
        records: Some(records),
        every: ms(every_ms),
        keys: 16,
        record_bytes: 100,
        weight: 1,
    })
}

/// A job with one subtask of each operator, all edges hash edges: (from, to, input).
pub(crate) fn job(operators: Vec<(&str, OperatorKind)>, edges: &[(usize, usize, u32)]) -> Scenario {
    let edge = |&(from, to, input)| Edge { from, to, input, partitioner: Partitioner::Hash };
    let operators: Vec<Operator> =
        operators.into_iter().map(|(name, kind)| operator(name, kind, 1)).collect();
    Scenario {
        title: "a defect".to_owned(),
        why: "Fails with the defect and passes without.".to_owned(),
        job: Job { operators, edges: edges.iter().map(edge).collect() },
        checkpointing: CheckpointingOptions {
            interval: Some(ms(100)),
            initial_delay: Some(ms(100)),
            tolerable_failures: 100,
            ..CheckpointingOptions::default()
        },
        restart: RestartStrategy::FixedDelay { attempts: 10, delay: ms(50) },
        buffers: NetworkOptions::default(),
        cluster: Cluster {
            task_managers: 1,
            slots: 1,
            heartbeat_interval: ms(20),
            heartbeat_timeout: ms(5_000),
            process_restart: constant(20_000),
            deploy: constant(1_000),
        },
        network: Network {
            latency: constant(200),
            bandwidth: 0,
            control_latency: constant(1_000),
            links: Vec::new(),
        },
        storage: Storage {
            latency: constant(5_000),
            bandwidth: 1_000_000_000,
            visibility: constant(0),
            name_node: None,
            requests_per_prefix: None,
            client: StorageClient::default(),
        },
        ha: Service { latency: constant(2_000) },
        external: Service { latency: constant(2_000) },
        manual: Vec::new(),
        actions: Vec::new(),
        faults: Vec::new(),
        failures: None,
        limits: Limits {
            until: VirtualTime::from_millis(60_000),
            events: 1_000_000,
            settle: ms(5_000),
        },
    }
}

/// source → count → sink, half a second of records, a checkpoint every 100 ms from 100 ms on.
pub(crate) fn line() -> Scenario {
    let operators = vec![
        ("source", source(250, 2)),
        ("count", OperatorKind::KeyedAggregate),
        ("sink", OperatorKind::TwoPhaseCommitSink),
    ];
    job(operators, &[(0, 1, 0), (1, 2, 0)])
}

/// Two sources into one count, then the sink.
pub(crate) fn merge(first: OperatorKind, second: OperatorKind) -> Scenario {
    let operators = vec![
        ("first", first),
        ("second", second),
        ("count", OperatorKind::KeyedAggregate),
        ("sink", OperatorKind::TwoPhaseCommitSink),
    ];
    job(operators, &[(0, 2, 0), (1, 2, 0), (2, 3, 0)])
}

impl Change for Scenario {}

/// What a scenario changes in the calm world.
pub(crate) trait Change: Sized + Into<Scenario> + From<Scenario> {
    /// Sets checkpointing options.
    fn options(self, set: impl FnOnce(&mut CheckpointingOptions)) -> Scenario {
        let mut scenario: Scenario = self.into();
        set(&mut scenario.checkpointing);
        scenario
    }

    /// Sets anything.
    fn with(self, set: impl FnOnce(&mut Scenario)) -> Scenario {
        let mut scenario: Scenario = self.into();
        set(&mut scenario);
        scenario
    }

    /// A fault when a step is reached for a checkpoint (at a subtask 0 of an operator).
    fn at(
        self,
        step: Step,
        checkpoint: u64,
        operator: Option<usize>,
        delay_ms: u64,
        what: FaultKind,
    ) -> Scenario {
        let mut scenario: Scenario = self.into();
        let anchor = StepAnchor {
            step,
            checkpoint: Some(checkpoint),
            subtask: operator.map(|operator| (operator, 0)),
            occurrence: 1,
            delay: ms(delay_ms),
        };
        scenario.faults.push(Fault { at: When::Step(anchor), what });
        scenario
    }

    /// A fault at a time.
    fn when(self, at_ms: u64, what: FaultKind) -> Scenario {
        let mut scenario: Scenario = self.into();
        scenario.faults.push(Fault { at: When::Time(VirtualTime::from_millis(at_ms)), what });
        scenario
    }
}
