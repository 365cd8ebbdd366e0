//! Which events of a slice are told, and in which columns.

use cutline::ids::{ChannelId, CheckpointId, SubtaskId};
use cutline::operator::Record;
use cutline::step::Step;

use super::Trace;
use super::focus::Focus;
use crate::observe::{Observation, TaskState};

/// More lines than these nobody reads: details are left out, the least important first.
const LINES_MAX: usize = 60;

/// How much an event matters; the smallest most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// Without it the rest makes no sense.
    Essential,
    /// It shows how one thing led to the next.
    Link,
    /// It fills the picture.
    Detail,
}

/// The events that are told, in order.
pub(super) fn told(trace: Trace<'_>, focus: &Focus, slice: &[bool]) -> Vec<usize> {
    let last = trace.events.len() - 1;
    let mut weighed: Vec<(usize, Weight)> = (focus.since..trace.events.len())
        .filter_map(|n| {
            let observation = &trace.events[n].1;
            // What disturbs is told whether it reached the end or not: so is its absence.
            let counts = slice[n] || disturbs(observation);
            let weight = weight(trace, focus, observation).filter(|_| counts);
            // The event that breaks the promise is told, whatever it is.
            let weight = if n == last { weight.or(Some(Weight::Essential)) } else { weight };
            weight.map(|weight| (n, weight))
        })
        .collect();
    for least in [Weight::Detail, Weight::Link] {
        if weighed.len() > LINES_MAX {
            weighed.retain(|(n, weight)| *weight < least || *n == last);
        }
    }
    // What happened last is what explains: of too much of it, the beginning goes.
    let spare = weighed.len().saturating_sub(LINES_MAX);
    weighed.drain(..spare);
    weighed.into_iter().map(|(n, _)| n).collect()
}

/// The names of the columns that the events told need, in the order of the graph.
pub(super) fn columns(trace: Trace<'_>, focus: &Focus, told: &[usize]) -> Vec<String> {
    let mut subtasks = focus.subtasks.clone();
    subtasks.extend(told.iter().filter_map(|n| subtask_of(trace, &trace.events[*n].1)));
    subtasks.iter().map(|subtask| trace.plan.subtask_names[subtask.index()].clone()).collect()
}

fn disturbs(observation: &Observation) -> bool {
    use Observation as O;
    matches!(
        observation,
        O::FaultInjected { .. }
            | O::FaultHealed { .. }
            | O::ProcessLost { .. }
            | O::StorageDisturbed { .. }
            | O::MessageLost { .. }
            | O::AskTimedOut { .. }
            | O::WrongTimeRead { .. }
            | O::FileDamaged { .. }
            | O::FileLost { .. }
            | O::UnsyncedLost { .. }
            | O::TransactionExpired { .. }
            | O::Task { state: TaskState::Failed, .. }
    )
}

/// How much an event matters; `None`: not for this story.
fn weight(trace: Trace<'_>, focus: &Focus, observation: &Observation) -> Option<Weight> {
    use Observation as O;
    let checkpoint = |of: CheckpointId| focus.checkpoints.contains(&of);
    let subtask = |of: SubtaskId| focus.subtasks.contains(&of);
    let record = |of: &Record| focus.records.contains(&(of.split, of.offset));
    let channel = |of: ChannelId| {
        let ends = trace.plan.graph.channels()[of.index()];
        // Where channels are named, those alone.
        focus.channels.contains(&of)
            || focus.channels.is_empty() && subtask(ends.from) && subtask(ends.to)
    };
    let essential = |yes: bool| yes.then_some(Weight::Essential);
    let link = |yes: bool| yes.then_some(Weight::Link);
    let detail = |yes: bool| yes.then_some(Weight::Detail);
    match *observation {
        O::FaultInjected { .. } | O::ProcessLost { .. } | O::ExecutionEnded => essential(true),
        O::RestoreChosen { .. } | O::JobEnded { .. } | O::Adopted { .. } => essential(true),
        O::RegionEnded { .. } | O::RegionRestored { .. } => essential(true),
        O::FaultHealed { .. } | O::ActionAsked { .. } | O::ActionTaken { .. } => link(true),
        O::ActionEnded { .. } | O::ActionForgotten { .. } => link(true),
        O::OrphansFound { .. } => link(true),
        O::UploadLeft { .. } | O::UploadAborted { .. } => detail(true),
        O::LeaderElected { .. } | O::Rescaled { .. } | O::WorkerLost { .. } => link(true),
        O::CancellationSlow { .. } => detail(true),
        O::LeadershipLost { .. } => essential(true),
        O::FencedOff { .. } => link(true),
        O::MessageLost { .. } | O::AskTimedOut { .. } => link(true),
        O::SplitAssigned { subtask: at, .. } => detail(subtask(at)),
        // That the fault has struck says it.
        O::UploadsCutOff { .. } | O::PrefixLimitReached => detail(true),
        O::ResultFound { .. } | O::OrderRefused { .. } | O::TooManyFailures => link(true),
        O::Backlog { .. } => detail(true),
        O::WrongTimeRead { .. } | O::PaceChanged { .. } | O::StorageHostCrashed { .. } => None,
        O::LeaderWrote { .. } => None,
        O::CancellationTimedOut { .. } => essential(true),
        O::DeploymentRefused { subtask: at } => link(subtask(at)),
        O::Filtered { .. } => detail(focus.subtasks.is_empty()),
        O::WindowFired { .. } | O::Called { .. } | O::BufferSizeAnnounced { .. } => None,
        O::StateInlined { .. } => None,
        O::ReadLocally { subtask: at, .. } | O::ChangesReplayed { subtask: at, .. } => {
            link(subtask(at))
        }
        O::Materialized { subtask: at } | O::MaterializationFailed { subtask: at } => {
            link(subtask(at))
        }
        O::DroppedLate { record: ref of, .. } => essential(record(of)),
        O::Triggered { checkpoint: of, .. }
        | O::Durable { checkpoint: of }
        | O::Completed { checkpoint: of }
        | O::Failed { checkpoint: of, .. }
        | O::Subsumed { checkpoint: of }
        | O::PointerRemoved { checkpoint: of, .. } => essential(checkpoint(of)),
        O::RequestFailed { .. } => detail(focus.subtasks.is_empty()),
        O::Step { step, checkpoint: Some(of), subtask: at } if checkpoint(of) => match (step, at) {
            (Step::A2 | Step::F2 | Step::F3, _) => link(true),
            (Step::F5, _) => detail(true),
            (Step::X2, _) => detail(!focus.files.is_empty()),
            (Step::T5 | Step::A1, Some(at)) => link(subtask(at)),
            (Step::B5 | Step::S6, Some(at)) => detail(subtask(at)),
            _ => None,
        },
        O::Step { step: Step::S5, subtask: Some(at), .. } => detail(subtask(at)),
        O::Step { .. } => None,
        O::Cut { subtask: at, checkpoint: of, .. } => essential(subtask(at) && checkpoint(of)),
        O::BarrierSent { channel: on, checkpoint: of }
        | O::BarrierReceived { channel: on, checkpoint: of } => {
            if focus.channels.contains(&on) {
                essential(checkpoint(of))
            } else {
                link(checkpoint(of) && channel(on))
            }
        }
        O::Blocked { channel: on } | O::Resumed { channel: on } => {
            detail(focus.channels.contains(&on))
        }
        O::Acknowledged { subtask: at, checkpoint: of } => link(subtask(at) && checkpoint(of)),
        O::Declined { checkpoint: of, .. } => essential(checkpoint(of)),
        O::NotifiedComplete { subtask: at, checkpoint: of }
        | O::NotifiedAborted { subtask: at, checkpoint: of } => link(subtask(at) && checkpoint(of)),
        O::Task { subtask: at, state, .. } => match state {
            TaskState::Failed => essential(true),
            TaskState::Finished => link(subtask(at)),
            TaskState::Running | TaskState::Canceled => detail(subtask(at)),
            TaskState::Deploying | TaskState::Initializing => None,
        },
        O::TaskRestored { subtask: at, .. } => link(subtask(at)),
        O::SourceEmitted { split, offset, .. } => {
            essential(focus.records.contains(&(split, offset)))
        }
        O::Sent { channel: on, record: ref of }
        | O::Processed { channel: on, record: ref of }
        | O::Recovered { channel: on, record: ref of }
        | O::Persisted { channel: on, record: ref of, .. } => essential(record(of) && channel(on)),
        O::Upserted { subtask: at, record: ref of }
        | O::Appended { subtask: at, record: ref of } => link(record(of) && subtask(at)),
        O::PreCommitted { transaction, .. }
        | O::Committed { transaction, .. }
        | O::TransactionExpired { transaction }
        | O::ProducerFenced { transaction }
        | O::TransactionAborted { transaction } => {
            let graph = &trace.plan.graph;
            let at = graph.subtask(transaction.operator, transaction.subtask);
            essential(checkpoint(transaction.checkpoint) && subtask(at))
        }
        O::FileWritten { file, .. }
        | O::FileHandedOver { file, .. }
        | O::FileDeleted { file }
        | O::FileDamaged { file }
        | O::FileLost { file }
        | O::UnsyncedLost { file, .. } => essential(focus.files.contains(&file)),
        O::StorageDisturbed { .. } => link(true),
    }
}

/// The subtask in whose column an event is drawn.
fn subtask_of(trace: Trace<'_>, observation: &Observation) -> Option<SubtaskId> {
    use Observation as O;
    match *observation {
        O::Declined { subtask, .. } | O::Task { subtask, .. } => Some(subtask),
        O::Committed { transaction, .. }
        | O::TransactionExpired { transaction }
        | O::TransactionAborted { transaction } => {
            Some(trace.plan.graph.subtask(transaction.operator, transaction.subtask))
        }
        O::Processed { channel, .. } | O::BarrierReceived { channel, .. } => {
            Some(trace.plan.graph.channels()[channel.index()].to)
        }
        O::Sent { channel, .. } | O::BarrierSent { channel, .. } => {
            Some(trace.plan.graph.channels()[channel.index()].from)
        }
        O::SourceEmitted { subtask, .. } => Some(subtask),
        _ => None,
    }
}
