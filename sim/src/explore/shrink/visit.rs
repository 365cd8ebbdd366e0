//! Where the numbers of a scenario are: every span, count, distribution and target that an edit may
//! change, in a fixed order.

use cutline::config::RestartStrategy;

use crate::kernel::distribution::Distribution;
use crate::scenario::model::{
    ClockStep, Direction, Endpoint, FaultKind, OperatorKind, Scenario, When,
};

/// Every distribution.
pub(super) fn distributions(scenario: &mut Scenario) -> Vec<&mut Distribution> {
    let mut found: Vec<&mut Distribution> = Vec::new();
    for operator in &mut scenario.job.operators {
        found.extend([&mut operator.cost, &mut operator.sync_cost]);
        if let OperatorKind::Async { latency, .. } = &mut operator.kind {
            found.push(latency);
        }
    }
    found.extend([
        &mut scenario.cluster.process_restart,
        &mut scenario.cluster.deploy,
        &mut scenario.network.latency,
        &mut scenario.network.control_latency,
        &mut scenario.storage.latency,
        &mut scenario.storage.visibility,
        &mut scenario.ha.latency,
        &mut scenario.external.latency,
    ]);
    found
}

/// Every span and time, in nanoseconds, that may become shorter without asking more of the job
/// than it was asked: `limits` is not among them.
pub(super) fn spans(scenario: &mut Scenario) -> Vec<&mut u64> {
    let mut found = Vec::new();
    for operator in &mut scenario.job.operators {
        found.extend(constant(&mut operator.cost));
        found.extend(constant(&mut operator.sync_cost));
        match &mut operator.kind {
            OperatorKind::Source(source) => found.push(&mut source.every.0),
            OperatorKind::Async { latency, .. } => found.extend(constant(latency)),
            _ => {}
        }
    }
    let options = &mut scenario.checkpointing;
    found.extend(options.interval.as_mut().map(|span| &mut span.0));
    found.extend(options.initial_delay.as_mut().map(|span| &mut span.0));
    found.extend([
        &mut options.timeout.0,
        &mut options.min_pause.0,
        &mut options.aligned_timeout.0,
    ]);
    found.extend(scenario.manual.iter_mut().map(|trigger| &mut trigger.at.0));
    match &mut scenario.restart {
        RestartStrategy::Disabled => {}
        RestartStrategy::FixedDelay { delay, .. } | RestartStrategy::FailureRate { delay, .. } => {
            found.push(&mut delay.0);
        }
        RestartStrategy::ExponentialDelay { initial, .. } => found.push(&mut initial.0),
    }
    let cluster = &mut scenario.cluster;
    found.extend([&mut cluster.heartbeat_interval.0, &mut cluster.heartbeat_timeout.0]);
    let election = &mut scenario.ha.election;
    found.extend([
        &mut election.lease_duration.0,
        &mut election.renew_deadline.0,
        &mut election.retry_period.0,
    ]);
    found.push(&mut cluster.ask_timeout.0);
    found.extend(cluster.cancellation_timeout.as_mut().map(|span| &mut span.0));
    for distribution in [
        &mut cluster.connection_loss,
        &mut cluster.process_restart,
        &mut cluster.deploy,
        &mut scenario.network.latency,
        &mut scenario.network.control_latency,
        &mut scenario.storage.latency,
        &mut scenario.storage.visibility,
        &mut scenario.ha.latency,
        &mut scenario.external.latency,
    ] {
        found.extend(constant(distribution));
    }
    found.extend(scenario.actions.iter_mut().map(|action| start(&mut action.at)));
    found.extend([&mut scenario.storage.client.backoff.0, &mut scenario.storage.client.timeout.0]);
    for fault in &mut scenario.faults {
        found.push(start(&mut fault.at));
        found.extend(parts(&mut fault.what).spans);
    }
    found
}

/// When it is, or how long after its step.
fn start(at: &mut When) -> &mut u64 {
    match at {
        When::Time(at) => &mut at.0,
        When::Step(anchor) => &mut anchor.delay.0,
    }
}

/// The subtask whose step it waits for.
pub(super) fn anchored(at: &mut When) -> Option<(&mut usize, &mut u32)> {
    match at {
        When::Step(anchor) => anchor.subtask.as_mut().map(|(operator, index)| (operator, index)),
        When::Time(_) => None,
    }
}

fn constant(distribution: &mut Distribution) -> Option<&mut u64> {
    match distribution {
        Distribution::Constant(span) => Some(&mut span.0),
        Distribution::Uniform { .. }
        | Distribution::Exponential { .. }
        | Distribution::LogNormal { .. } => None,
    }
}

/// Every count that may become smaller, to 1 at least.
pub(super) fn counts(scenario: &mut Scenario) -> Vec<Count<'_>> {
    let mut found = Vec::new();
    for operator in &mut scenario.job.operators {
        match &mut operator.kind {
            OperatorKind::Source(source) => {
                found.extend([
                    Count::Small(&mut source.splits),
                    Count::Small(&mut source.keys),
                    Count::Small(&mut source.weight),
                    Count::Small(&mut source.record_bytes),
                ]);
                found.extend(source.records.as_mut().map(Count::Large));
            }
            OperatorKind::Map { rekey } => found.extend(rekey.as_mut().map(Count::Small)),
            OperatorKind::FlatMap { fanout: count }
            | OperatorKind::Buffer { threshold: count }
            | OperatorKind::Async { capacity: count, .. } => found.push(Count::Small(count)),
            OperatorKind::Filter { .. }
            | OperatorKind::KeyedAggregate
            | OperatorKind::Join
            | OperatorKind::BroadcastJoin
            | OperatorKind::Window { .. }
            | OperatorKind::IdempotentSink
            | OperatorKind::TwoPhaseCommitSink
            | OperatorKind::SinkWriter
            | OperatorKind::Committer
            | OperatorKind::WriteAheadSink
            | OperatorKind::AtLeastOnceSink => {}
        }
    }
    let options = &mut scenario.checkpointing;
    found.extend([Count::Small(&mut options.max_concurrent), Count::Small(&mut options.retained)]);
    found.push(Count::Small(&mut scenario.cluster.slots));
    let buffers = &mut scenario.buffers;
    found.extend([
        Count::Small(&mut buffers.buffers_per_channel),
        Count::Small(&mut buffers.floating_per_gate),
        Count::Small(&mut buffers.max_per_subpartition),
    ]);
    for fault in &mut scenario.faults {
        if let When::Step(anchor) = &mut fault.at {
            found.extend(anchor.checkpoint.as_mut().map(Count::Large));
            found.push(Count::Small(&mut anchor.occurrence));
        }
        found.extend(parts(&mut fault.what).count.map(Count::Small));
    }
    found
}

/// A count of either size.
pub(super) enum Count<'s> {
    Small(&'s mut u32),
    Large(&'s mut u64),
}

impl Count<'_> {
    pub(super) fn get(&self) -> u64 {
        match self {
            Self::Small(count) => u64::from(**count),
            Self::Large(count) => **count,
        }
    }

    /// Sets a value that is not above the one it has.
    pub(super) fn lower(&mut self, value: u64) {
        match self {
            Self::Small(count) => {
                **count = u32::try_from(value).map_or(**count, |it| it.min(**count))
            }
            Self::Large(count) => **count = value.min(**count),
        }
    }
}

/// What a fault is made of, as far as it has it.
#[derive(Default)]
pub(super) struct Parts<'k> {
    /// The subtask that it strikes: operator and index.
    pub(super) victim: Option<(&'k mut usize, &'k mut u32)>,
    /// The task managers that it is about.
    pub(super) task_managers: Vec<&'k mut u32>,
    /// Which way it cuts.
    pub(super) direction: Option<&'k mut Direction>,
    /// How likely it befalls something, in thousandths.
    pub(super) chance: Option<&'k mut u32>,
    /// The pace of a clock, in thousandths.
    pub(super) pace: Option<&'k mut u32>,
    /// Which way a clock is set.
    pub(super) step: Option<&'k mut ClockStep>,
    /// How often or how much.
    count: Option<&'k mut u32>,
    /// How long, and by how much.
    spans: Vec<&'k mut u64>,
}

/// Takes a fault apart.
pub(super) fn parts(kind: &mut FaultKind) -> Parts<'_> {
    let none = Parts::default();
    match kind {
        FaultKind::CrashTask(operator, index) => Parts { victim: Some((operator, index)), ..none },
        FaultKind::PauseTask(operator, index, span) => {
            Parts { victim: Some((operator, index)), spans: vec![&mut span.0], ..none }
        }
        FaultKind::CrashTaskManager(number) => Parts { task_managers: vec![number], ..none },
        FaultKind::PauseTaskManager(number, span) => {
            Parts { task_managers: vec![number], spans: vec![&mut span.0], ..none }
        }
        FaultKind::CrashJobManager | FaultKind::DamageObject(_) => none,
        FaultKind::PauseJobManager(span) | FaultKind::CrashStorageHost(span) => {
            Parts { spans: vec![&mut span.0], ..none }
        }
        FaultKind::SlowLink(from, to, factor, span) => Parts {
            task_managers: task_managers([from, to]),
            count: Some(factor),
            spans: vec![&mut span.0],
            ..none
        },
        FaultKind::CutLink(from, to, way, span) => Parts {
            task_managers: task_managers([from, to]),
            direction: Some(way),
            spans: vec![&mut span.0],
            ..none
        },
        FaultKind::RepeatMessages(from, to, by, span) => Parts {
            task_managers: task_managers([from, to]),
            spans: vec![&mut by.0, &mut span.0],
            ..none
        },
        FaultKind::LoseMessages(from, to, way, chance, span) => Parts {
            task_managers: task_managers([from, to]),
            direction: Some(way),
            chance: Some(chance),
            spans: vec![&mut span.0],
            ..none
        },
        FaultKind::Reorder(window, changes, span) => {
            Parts { count: Some(changes), spans: vec![&mut window.0, &mut span.0], ..none }
        }
        FaultKind::SlowStorage(_, by, span) | FaultKind::SlowExternal(_, by, span) => {
            Parts { spans: vec![&mut by.0, &mut span.0], ..none }
        }
        FaultKind::FailStorage(_, count)
        | FaultKind::DisturbStorage(_, _, count)
        | FaultKind::FailExternal(_, count)
        | FaultKind::AmbiguousExternal(_, count) => Parts { count: Some(count), ..none },
        FaultKind::CutExternal(number, way, span) => Parts {
            task_managers: vec![number],
            direction: Some(way),
            spans: vec![&mut span.0],
            ..none
        },
        FaultKind::CutHa(target, way, span) | FaultKind::CutStorage(target, way, span) => Parts {
            task_managers: task_managers(target),
            direction: Some(way),
            spans: vec![&mut span.0],
            ..none
        },
        FaultKind::DriftClock(target, pace, span) => Parts {
            task_managers: task_managers(target),
            pace: Some(pace),
            spans: vec![&mut span.0],
            ..none
        },
        FaultKind::StepClock(target, step, by, span) => Parts {
            task_managers: task_managers(target),
            step: Some(step),
            spans: vec![&mut by.0, &mut span.0],
            ..none
        },
    }
}

fn task_managers<'k>(ends: impl IntoIterator<Item = &'k mut Endpoint>) -> Vec<&'k mut u32> {
    ends.into_iter().filter_map(task_manager).collect()
}

fn task_manager(endpoint: &mut Endpoint) -> Option<&mut u32> {
    match endpoint {
        Endpoint::JobManager | Endpoint::Candidate(_) => None,
        Endpoint::TaskManager(number) => Some(number),
    }
}
