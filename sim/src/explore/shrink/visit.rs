//! Where the numbers of a scenario are: every span, count, distribution and target that an edit may
//! change, in a fixed order.

use cutline::config::RestartStrategy;

use crate::kernel::distribution::Distribution;
use crate::scenario::model::{Direction, Endpoint, FaultKind, OperatorKind, Scenario, When};

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
        found.extend(fault_spans(&mut fault.what));
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

fn fault_spans(kind: &mut FaultKind) -> Vec<&mut u64> {
    match kind {
        FaultKind::CrashTask(..)
        | FaultKind::CrashTaskManager(_)
        | FaultKind::CrashJobManager
        | FaultKind::FailStorage(..)
        | FaultKind::DisturbStorage(..)
        | FaultKind::DamageObject(_)
        | FaultKind::FailExternal(..)
        | FaultKind::AmbiguousExternal(..) => Vec::new(),
        FaultKind::PauseTask(_, _, span)
        | FaultKind::PauseTaskManager(_, span)
        | FaultKind::PauseJobManager(span)
        | FaultKind::SlowLink(_, _, _, span)
        | FaultKind::CutLink(_, _, _, span)
        | FaultKind::CutExternal(_, _, span)
        | FaultKind::CutHa(_, _, span)
        | FaultKind::CutStorage(_, _, span) => vec![&mut span.0],
        FaultKind::SlowStorage(_, by, span)
        | FaultKind::SlowExternal(_, by, span)
        | FaultKind::RepeatMessages(_, _, by, span)
        | FaultKind::Reorder(by, _, span) => {
            vec![&mut by.0, &mut span.0]
        }
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
        match &mut fault.what {
            FaultKind::SlowLink(_, _, factor, _) => found.push(Count::Small(factor)),
            FaultKind::Reorder(_, changes, _) => found.push(Count::Small(changes)),
            FaultKind::FailStorage(_, count)
            | FaultKind::DisturbStorage(_, _, count)
            | FaultKind::FailExternal(_, count)
            | FaultKind::AmbiguousExternal(_, count) => found.push(Count::Small(count)),
            FaultKind::CrashTask(..)
            | FaultKind::CrashTaskManager(_)
            | FaultKind::CrashJobManager
            | FaultKind::PauseTask(..)
            | FaultKind::PauseTaskManager(..)
            | FaultKind::PauseJobManager(_)
            | FaultKind::CutLink(..)
            | FaultKind::RepeatMessages(..)
            | FaultKind::SlowStorage(..)
            | FaultKind::DamageObject(_)
            | FaultKind::SlowExternal(..)
            | FaultKind::CutExternal(..)
            | FaultKind::CutHa(..)
            | FaultKind::CutStorage(..) => {}
        }
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

/// The subtask that a fault strikes.
pub(super) fn victim(kind: &mut FaultKind) -> Option<(&mut usize, &mut u32)> {
    match kind {
        FaultKind::CrashTask(operator, index) | FaultKind::PauseTask(operator, index, _) => {
            Some((operator, index))
        }
        FaultKind::CrashTaskManager(_)
        | FaultKind::CrashJobManager
        | FaultKind::PauseTaskManager(..)
        | FaultKind::PauseJobManager(_)
        | FaultKind::SlowLink(..)
        | FaultKind::CutLink(..)
        | FaultKind::RepeatMessages(..)
        | FaultKind::Reorder(..)
        | FaultKind::SlowStorage(..)
        | FaultKind::FailStorage(..)
        | FaultKind::DisturbStorage(..)
        | FaultKind::DamageObject(_)
        | FaultKind::SlowExternal(..)
        | FaultKind::FailExternal(..)
        | FaultKind::AmbiguousExternal(..)
        | FaultKind::CutExternal(..)
        | FaultKind::CutHa(..)
        | FaultKind::CutStorage(..) => None,
    }
}

/// The task managers that a fault is about.
pub(super) fn task_managers(kind: &mut FaultKind) -> Vec<&mut u32> {
    match kind {
        FaultKind::CrashTaskManager(number)
        | FaultKind::PauseTaskManager(number, _)
        | FaultKind::CutExternal(number, _, _) => vec![number],
        FaultKind::SlowLink(from, to, _, _)
        | FaultKind::CutLink(from, to, ..)
        | FaultKind::RepeatMessages(from, to, _, _) => {
            [from, to].into_iter().filter_map(task_manager).collect()
        }
        FaultKind::CutHa(target, ..) | FaultKind::CutStorage(target, ..) => {
            target.iter_mut().filter_map(task_manager).collect()
        }
        FaultKind::CrashTask(..)
        | FaultKind::CrashJobManager
        | FaultKind::PauseTask(..)
        | FaultKind::PauseJobManager(_)
        | FaultKind::Reorder(..)
        | FaultKind::SlowStorage(..)
        | FaultKind::FailStorage(..)
        | FaultKind::DisturbStorage(..)
        | FaultKind::DamageObject(_)
        | FaultKind::SlowExternal(..)
        | FaultKind::FailExternal(..)
        | FaultKind::AmbiguousExternal(..) => Vec::new(),
    }
}

/// Which way a fault cuts, if it does.
pub(super) fn direction(kind: &mut FaultKind) -> Option<&mut Direction> {
    match kind {
        FaultKind::CutLink(_, _, way, _)
        | FaultKind::CutExternal(_, way, _)
        | FaultKind::CutHa(_, way, _)
        | FaultKind::CutStorage(_, way, _) => Some(way),
        FaultKind::CrashTask(..)
        | FaultKind::CrashTaskManager(_)
        | FaultKind::CrashJobManager
        | FaultKind::PauseTask(..)
        | FaultKind::PauseTaskManager(..)
        | FaultKind::PauseJobManager(_)
        | FaultKind::SlowLink(..)
        | FaultKind::RepeatMessages(..)
        | FaultKind::Reorder(..)
        | FaultKind::SlowStorage(..)
        | FaultKind::FailStorage(..)
        | FaultKind::DisturbStorage(..)
        | FaultKind::DamageObject(_)
        | FaultKind::SlowExternal(..)
        | FaultKind::FailExternal(..)
        | FaultKind::AmbiguousExternal(..) => None,
    }
}

fn task_manager(endpoint: &mut Endpoint) -> Option<&mut u32> {
    match endpoint {
        Endpoint::JobManager | Endpoint::Candidate(_) => None,
        Endpoint::TaskManager(number) => Some(number),
    }
}
