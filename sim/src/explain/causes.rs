//! Happens-before: what made an event possible.
//!
//! An event has at most two causes: the one before it at the same place (a task is one thread, the
//! job manager another), and the message, write or decision from elsewhere that it answers. What
//! happens in a store or in the external system follows from what its asker did last; requests are
//! independent of each other, so that there is no order of place there.

use std::collections::BTreeMap;

use cutline::ids::{ChannelId, CheckpointId, SubtaskId};
use cutline::step::Step;
use cutline::time::VirtualTime;

use super::Trace;
use crate::observe::{FileId, Observation, TaskState, Transaction};

/// For each event of a run, whether it is one of `roots` or a cause of one, however remote.
pub(super) fn slice(trace: Trace<'_>, roots: &[usize]) -> Vec<bool> {
    let causes = Causes::of(trace);
    let mut reached = vec![false; trace.events.len()];
    let mut open: Vec<usize> = roots.to_vec();
    while let Some(event) = open.pop() {
        if !std::mem::replace(&mut reached[event], true) {
            open.extend(causes.before[event].into_iter().chain(causes.from[event]));
        }
    }
    reached
}

/// Where events are in an order of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    JobManager,
    Subtask(SubtaskId),
    /// Stores and the external system, asked by the job manager.
    AskedByJobManager,
    /// Stores and the external system, asked by a task.
    AskedBy(SubtaskId),
    /// Faults.
    World,
}

/// What was seen so far that a later event may answer.
#[derive(Debug, Default)]
struct Seen {
    sent: BTreeMap<(ChannelId, u64), usize>,
    barriers: BTreeMap<(ChannelId, CheckpointId), usize>,
    acknowledged: BTreeMap<(SubtaskId, CheckpointId), usize>,
    steps: BTreeMap<(Step, Option<CheckpointId>, Option<SubtaskId>), usize>,
    durable: BTreeMap<CheckpointId, usize>,
    failed: BTreeMap<CheckpointId, usize>,
    files: BTreeMap<FileId, usize>,
    prepared: BTreeMap<Transaction, usize>,
    /// The last task that failed, or process that died.
    lost: Option<usize>,
}

#[derive(Debug)]
struct Causes {
    before: Vec<Option<usize>>,
    from: Vec<Option<usize>>,
}

impl Causes {
    fn of(trace: Trace<'_>) -> Self {
        let subtasks = trace.plan.graph.subtasks();
        let mut last: Vec<Option<usize>> = vec![None; subtasks + 1];
        let mut seen = Seen::default();
        let (mut before, mut from) = (Vec::new(), Vec::new());
        for (n, (at, observation)) in trace.events.iter().enumerate() {
            let (place, is_there) = match place(trace, observation) {
                Place::JobManager => (Some(0), true),
                Place::Subtask(subtask) => (Some(subtask.index() + 1), true),
                Place::AskedByJobManager => (Some(0), false),
                Place::AskedBy(subtask) => (Some(subtask.index() + 1), false),
                Place::World => (None, false),
            };
            // A new attempt knows nothing of what the one before it did.
            let anew = matches!(observation, Observation::Task { state: TaskState::Deploying, .. });
            before.push(place.and_then(|place| last[place]).filter(|_| !anew));
            from.push(seen.cause(trace, n, *at, observation));
            seen.note(n, observation);
            if let Some(place) = place.filter(|_| is_there) {
                last[place] = Some(n);
            }
        }
        Self { before, from }
    }
}

impl Seen {
    /// The event elsewhere that this one answers.
    fn cause(
        &self,
        trace: Trace<'_>,
        n: usize,
        at: VirtualTime,
        observation: &Observation,
    ) -> Option<usize> {
        use Observation as O;
        let step =
            |step, checkpoint, subtask| self.steps.get(&(step, checkpoint, subtask)).copied();
        match *observation {
            O::Processed { channel, ref record } => {
                self.sent.get(&(channel, record.identity())).copied()
            }
            O::Persisted { channel, ref record, .. } => {
                self.sent.get(&(channel, record.identity())).copied()
            }
            O::BarrierReceived { channel, checkpoint } => {
                self.barriers.get(&(channel, checkpoint)).copied()
            }
            // At a source the trigger message is what a barrier is elsewhere.
            O::Cut { subtask, checkpoint, .. } => step(Step::T5, Some(checkpoint), Some(subtask)),
            O::Step { step: Step::A1, checkpoint: Some(checkpoint), subtask: Some(subtask) } => {
                self.acknowledged.get(&(subtask, checkpoint)).copied()
            }
            O::NotifiedComplete { checkpoint, .. } => step(Step::F5, Some(checkpoint), None),
            O::NotifiedAborted { checkpoint, .. } => self.failed.get(&checkpoint).copied(),
            O::Durable { checkpoint } => {
                let asked = step(Step::F3, Some(checkpoint), None);
                asked.or_else(|| step(Step::F2, Some(checkpoint), None))
            }
            O::Completed { checkpoint } => self.durable.get(&checkpoint).copied(),
            O::RestoreChosen { checkpoint } | O::RegionRestored { checkpoint, .. } => {
                checkpoint.and_then(|it| self.durable.get(&it).copied())
            }
            O::TaskRestored { checkpoint, .. } => {
                checkpoint.and_then(|it| self.durable.get(&it).copied())
            }
            O::Task { subtask, state: TaskState::Deploying, .. } => self.deployed(subtask),
            O::Task { state: TaskState::Failed, .. } | O::ProcessLost { .. } => {
                fault_at(trace, n, at).or(self.lost)
            }
            O::ExecutionEnded | O::RegionEnded { .. } | O::Failed { .. } => self.lost,
            O::FileHandedOver { file, .. }
            | O::FileDeleted { file }
            | O::UnsyncedLost { file, .. } => self.files.get(&file).copied(),
            O::Committed { transaction, .. } | O::TransactionAborted { transaction } => {
                self.prepared.get(&transaction).copied()
            }
            O::PreCommitted { transaction, .. } => {
                let subtask = trace.plan.graph.subtask(transaction.operator, transaction.subtask);
                step(Step::B3, Some(transaction.checkpoint), Some(subtask))
            }
            _ => None,
        }
    }

    /// R4, whichever checkpoint it restores.
    fn deployed(&self, subtask: SubtaskId) -> Option<usize> {
        let deployed = self.steps.range((Step::R4, None, None)..(Step::R5, None, None));
        deployed.filter(|((.., of), _)| *of == Some(subtask)).map(|(_, n)| *n).max()
    }

    fn note(&mut self, n: usize, observation: &Observation) {
        use Observation as O;
        match *observation {
            O::Sent { channel, ref record } | O::Recovered { channel, ref record } => {
                self.sent.insert((channel, record.identity()), n);
            }
            O::BarrierSent { channel, checkpoint } => {
                self.barriers.insert((channel, checkpoint), n);
            }
            O::Acknowledged { subtask, checkpoint } => {
                self.acknowledged.insert((subtask, checkpoint), n);
            }
            O::Step { step, checkpoint, subtask } => {
                self.steps.insert((step, checkpoint, subtask), n);
            }
            O::Durable { checkpoint } => {
                self.durable.insert(checkpoint, n);
            }
            O::Failed { checkpoint, .. } => {
                self.failed.insert(checkpoint, n);
            }
            O::FileWritten { file, .. } | O::FileHandedOver { file, .. } => {
                self.files.insert(file, n);
            }
            O::PreCommitted { transaction, .. } => {
                self.prepared.insert(transaction, n);
            }
            O::Task { state: TaskState::Failed, .. } | O::ProcessLost { .. } => {
                self.lost = Some(n);
            }
            _ => {}
        }
    }
}

/// The fault that struck at this very moment: it is reported behind what it does.
fn fault_at(trace: Trace<'_>, n: usize, at: VirtualTime) -> Option<usize> {
    let later = trace.events[n..].iter().take_while(|(then, _)| *then == at);
    let found = later.clone().position(|(_, it)| matches!(it, Observation::FaultInjected { .. }));
    found.map(|ahead| n + ahead)
}

fn place(trace: Trace<'_>, observation: &Observation) -> Place {
    use Observation as O;
    let channels = trace.plan.graph.channels();
    match *observation {
        O::SourceEmitted { subtask, .. }
        | O::Cut { subtask, .. }
        | O::Acknowledged { subtask, .. }
        | O::Declined { subtask, .. }
        | O::NotifiedComplete { subtask, .. }
        | O::NotifiedAborted { subtask, .. }
        | O::Task { subtask, .. }
        | O::Materialized { subtask }
        | O::MaterializationFailed { subtask }
        | O::ChangesReplayed { subtask, .. }
        | O::TaskRestored { subtask, .. }
        | O::BufferSizeAnnounced { subtask, .. }
        | O::WindowFired { subtask, .. }
        | O::DroppedLate { subtask, .. }
        | O::Upserted { subtask, .. }
        | O::Appended { subtask, .. } => Place::Subtask(subtask),
        O::Step { step, subtask: Some(subtask), .. } if !step.is_at_job_manager() => {
            Place::Subtask(subtask)
        }
        O::Sent { channel, .. } | O::BarrierSent { channel, .. } => {
            Place::Subtask(channels[channel.index()].from)
        }
        O::Persisted { channel, at_sender: true, .. } => {
            Place::Subtask(channels[channel.index()].from)
        }
        O::Processed { channel, .. }
        | O::BarrierReceived { channel, .. }
        | O::Blocked { channel }
        | O::Resumed { channel }
        | O::Recovered { channel, .. }
        | O::Persisted { channel, .. } => Place::Subtask(channels[channel.index()].to),
        O::PreCommitted { transaction, .. }
        | O::Committed { transaction, .. }
        | O::TransactionAborted { transaction } => {
            let graph = &trace.plan.graph;
            Place::AskedBy(graph.subtask(transaction.operator, transaction.subtask))
        }
        O::FileWritten { file, .. } | O::FileHandedOver { file, .. } => match trace.writer(file) {
            Some(subtask) => Place::AskedBy(subtask),
            None => Place::AskedByJobManager,
        },
        O::Durable { .. } | O::PointerRemoved { .. } | O::FileDeleted { .. } => {
            Place::AskedByJobManager
        }
        O::ProcessLost { .. }
        | O::FaultInjected { .. }
        | O::FaultHealed { .. }
        | O::StorageDisturbed { .. }
        | O::MessageLost { .. }
        | O::AskTimedOut { .. }
        | O::PaceChanged { .. }
        | O::WrongTimeRead { .. }
        | O::FileDamaged { .. }
        | O::FileLost { .. }
        | O::UnsyncedLost { .. }
        | O::StorageHostCrashed { .. }
        | O::UploadsCutOff { .. }
        | O::PrefixLimitReached
        | O::ProducerFenced { .. }
        | O::ActionAsked { .. }
        | O::TransactionExpired { .. } => Place::World,
        _ => Place::JobManager,
    }
}
