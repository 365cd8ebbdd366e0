//! What a violation is about: checkpoints, subtasks, channels, records, files; where its story
//! begins, and which events it ends in.

use std::collections::BTreeSet;

use cutline::ids::{ChannelId, CheckpointId, SubtaskId};
use cutline::operator::SplitId;
use cutline::storage::layout::{Directory, Path};

use super::Trace;
use super::records::Suspect;
use crate::check::{Class, Violation};
use crate::observe::{FileId, Observation, TaskState};

/// Most subtasks of an operator that are told of.
const SUBTASKS_MAX: usize = 4;
/// Most files of a checkpoint that are told of.
const FILES_MAX: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Focus {
    pub(super) checkpoints: BTreeSet<CheckpointId>,
    pub(super) subtasks: BTreeSet<SubtaskId>,
    pub(super) channels: BTreeSet<ChannelId>,
    pub(super) records: BTreeSet<(SplitId, u64)>,
    pub(super) files: BTreeSet<FileId>,
    /// The first event that is told.
    pub(super) since: usize,
    /// The events that the story ends in.
    pub(super) roots: Vec<usize>,
    /// It is about what did not happen.
    pub(super) is_waiting: bool,
}

impl Focus {
    pub(super) fn new(trace: Trace<'_>, violation: &Violation, found: &[Suspect]) -> Self {
        let mut focus = Self { is_waiting: violation.class.is_liveness(), ..Self::default() };
        focus.on_subject(trace, violation);
        focus.on_records(trace, violation, found);
        match violation.class {
            Class::Policy => focus.on_policy(trace),
            // Whatever is wrong with it has to do with the one that the job went back to.
            _ if violation.check == "restore" => {
                focus.checkpoints.extend(origin(trace));
                focus.on_policy(trace);
            }
            _ => {}
        }
        if focus.checkpoints.is_empty() {
            focus.on_no_checkpoint(trace, violation);
        }
        if focus.subtasks.is_empty() {
            focus.on_no_subtask(trace);
        }
        focus.since = focus.beginning(trace);
        focus.roots = focus.ends(trace);
        focus
    }

    fn on_subject(&mut self, trace: Trace<'_>, violation: &Violation) {
        let (graph, subject) = (&trace.plan.graph, violation.subject);
        self.checkpoints.extend(subject.checkpoint);
        self.subtasks.extend(subject.subtask);
        if let Some(channel) = subject.channel {
            self.on_channel(trace, channel);
        }
        if let Some(operator) = subject.operator {
            let all = graph.subtasks_of(operator).map(SubtaskId);
            self.subtasks.extend(all.take(SUBTASKS_MAX));
        }
        if let Some(file) = subject.file {
            self.on_file(trace, file);
        }
        self.records.extend(subject.record);
        // A file in use was deleted; a checkpoint that cannot be read lacks one.
        if violation.class == Class::UnusableCheckpoint && subject.file.is_none() {
            let checkpoints = self.checkpoints.clone();
            let named =
                |path: &String| checkpoint_of(path).is_some_and(|id| checkpoints.contains(&id));
            let files = (0..).map(FileId).zip(trace.files).filter(|(_, path)| named(path));
            self.files.extend(files.map(|(file, _)| file).take(FILES_MAX));
        }
    }

    fn on_channel(&mut self, trace: Trace<'_>, channel: ChannelId) {
        let ends = trace.plan.graph.channels()[channel.index()];
        self.channels.insert(channel);
        self.subtasks.extend([ends.from, ends.to]);
    }

    /// A file's name says whose it is, and of which checkpoint.
    fn on_file(&mut self, trace: Trace<'_>, file: FileId) {
        self.files.insert(file);
        let Some(path) = trace.files.get(file.0 as usize) else { return };
        self.checkpoints.extend(checkpoint_of(path));
        self.subtasks.extend(trace.writer(file));
    }

    fn on_records(&mut self, trace: Trace<'_>, violation: &Violation, found: &[Suspect]) {
        for suspect in found {
            self.records.insert((suspect.record.split, suspect.record.offset));
            if violation.subject.channel.is_none() && self.channels.len() < SUBTASKS_MAX {
                self.on_channel(trace, suspect.channel);
            }
        }
        let sources = trace.events.iter().filter_map(|(_, it)| match *it {
            Observation::SourceEmitted { subtask, split, offset } => Some((subtask, split, offset)),
            _ => None,
        });
        let of =
            |(subtask, split, offset)| self.records.contains(&(split, offset)).then_some(subtask);
        let emitters: Vec<SubtaskId> = sources.filter_map(of).collect();
        self.subtasks.extend(emitters);
    }

    /// A trigger that should not be, or failures that should not go on: those that were pending,
    /// the one that completed last, and those that have failed since.
    fn on_policy(&mut self, trace: Trace<'_>) {
        use Observation as O;
        let (mut recent, mut completed) = (BTreeSet::new(), None);
        for (_, observation) in &trace.events[..trace.before] {
            match *observation {
                O::Triggered { checkpoint, .. } => {
                    recent.insert(checkpoint);
                }
                O::Completed { checkpoint } => {
                    completed = Some(checkpoint);
                    recent.retain(|recent| *recent > checkpoint);
                }
                O::LeaderElected { .. } | O::Adopted { .. } => recent.clear(),
                _ => {}
            }
        }
        self.checkpoints.extend(recent.into_iter().chain(completed));
    }

    /// No checkpoint is named: those that were pending at the end, else the one that the job has
    /// started from last.
    fn on_no_checkpoint(&mut self, trace: Trace<'_>, violation: &Violation) {
        use Observation as O;
        let mut pending = BTreeSet::new();
        for (_, observation) in &trace.events[..trace.before] {
            match *observation {
                O::Triggered { checkpoint, .. } => {
                    pending.insert(checkpoint);
                }
                O::Completed { checkpoint } | O::Failed { checkpoint, .. } => {
                    pending.remove(&checkpoint);
                }
                O::LeaderElected { .. } | O::Adopted { .. } => pending.clear(),
                _ => {}
            }
        }
        // The oldest holds the others up; but what was restored wrongly is of none of them.
        let restores = violation.rule == "restored channel state differs";
        self.checkpoints.extend(pending.first().copied().filter(|_| !restores));
        if self.checkpoints.is_empty() {
            self.checkpoints.extend(origin(trace));
        }
    }

    /// No subtask is named: those whose part in the checkpoints is not that of the others, that
    /// have failed, or that do not run.
    fn on_no_subtask(&mut self, trace: Trace<'_>) {
        use Observation as O;
        let count = trace.plan.graph.subtasks();
        let all = || (0..count as u32).map(SubtaskId);
        let mut states: Vec<Option<TaskState>> = vec![None; count];
        let (mut declined, mut failed) = (BTreeSet::new(), BTreeSet::new());
        let mut acknowledged = BTreeSet::new();
        for (_, observation) in trace.events {
            match *observation {
                O::Task { subtask, state, .. } => {
                    states[subtask.index()] = Some(state);
                    if state == TaskState::Failed {
                        failed.insert(subtask);
                    }
                }
                O::Declined { subtask, checkpoint, .. }
                    if self.checkpoints.contains(&checkpoint) =>
                {
                    declined.insert(subtask);
                }
                O::Acknowledged { subtask, checkpoint }
                    if self.checkpoints.contains(&checkpoint) =>
                {
                    acknowledged.insert(subtask);
                }
                _ => {}
            }
        }
        let works = |it: &SubtaskId| {
            matches!(states[it.index()], Some(TaskState::Running | TaskState::Finished))
        };
        let idle = all().filter(|it| self.is_waiting && !works(it));
        let is_over = |it: &SubtaskId| states[it.index()] == Some(TaskState::Finished);
        // Who has finished owes nothing.
        let silent =
            all().filter(|it| self.is_waiting && !acknowledged.contains(it) && !is_over(it));
        let odd: BTreeSet<SubtaskId> =
            idle.chain(silent).chain(declined).chain(failed).take(SUBTASKS_MAX).collect();
        // Whoever waits, waits for those who send to it.
        let graph = &trace.plan.graph;
        let inputs = odd.iter().filter(|_| self.is_waiting).flat_map(|it| graph.inputs(*it));
        let senders = inputs.map(|channel| graph.channels()[channel.index()].from);
        self.subtasks = odd.iter().copied().chain(senders.take(SUBTASKS_MAX)).collect();
        if self.subtasks.is_empty() {
            // Nobody stands out: one source and whatever was last to acknowledge.
            let last = trace.events.iter().rev().find_map(|(_, it)| match *it {
                O::Acknowledged { subtask, checkpoint }
                    if self.checkpoints.contains(&checkpoint) =>
                {
                    Some(subtask)
                }
                _ => None,
            });
            let source = all().find(|subtask| trace.plan.graph.is_source(*subtask));
            self.subtasks.extend(source.into_iter().chain(last));
        }
    }

    /// Where the story begins: with the oldest checkpoint of it, or the records.
    fn beginning(&self, trace: Trace<'_>) -> usize {
        use Observation as O;
        let begins = |observation: &O| match *observation {
            O::Triggered { checkpoint, .. } => self.checkpoints.contains(&checkpoint),
            O::SourceEmitted { split, offset, .. } => self.records.contains(&(split, offset)),
            _ => false,
        };
        trace.events.iter().position(|(_, observation)| begins(observation)).unwrap_or(0)
    }

    /// A violation is reported at the event that breaks the promise. What did not happen has no
    /// event: there, it is all that was done last.
    fn ends(&self, trace: Trace<'_>) -> Vec<usize> {
        let Some(last) = trace.events.len().checked_sub(1) else { return Vec::new() };
        if !self.is_waiting {
            let (at, breaks) = &trace.events[last];
            // That a fault has struck is reported behind what it does.
            let first = match matches!(breaks, Observation::FaultInjected { .. }) {
                true => trace.events.partition_point(|(then, _)| then < at),
                false => last,
            };
            return (first..=last).collect();
        }
        const RECENT: usize = 4_096;
        (trace.events.len().saturating_sub(RECENT)..=last).collect()
    }
}

/// The checkpoint that the job has started from last.
fn origin(trace: Trace<'_>) -> Option<CheckpointId> {
    trace.events.iter().rev().find_map(|(_, it)| match *it {
        Observation::RestoreChosen { checkpoint }
        | Observation::RegionRestored { checkpoint, .. } => Some(checkpoint),
        _ => None,
    })?
}

/// The checkpoint or savepoint that a file was written for.
fn checkpoint_of(path: &str) -> Option<CheckpointId> {
    let path: Path = path.parse().ok()?;
    match (path.directory(), path) {
        (Directory::Checkpoint(id) | Directory::Savepoint(id), _) => Some(id),
        (Directory::Shared | Directory::TaskOwned, Path::Part(_, name)) => {
            Some(CheckpointId(name.number))
        }
        (Directory::Shared | Directory::TaskOwned, Path::Metadata(_)) => None,
    }
}
