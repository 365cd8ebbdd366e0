//! Copies of keyed state that stay on the machine: made with a snapshot, read when a task comes back.
//!
//! They are read at once. Flink: `LocalRecoveryConfig`; RocksDB links the files. Deviation: whole
//! states are read from the local disk there.

use std::sync::Arc;

use cutline::defect::Defect;
use cutline::ids::{CheckpointId, SubtaskId};
use cutline::message::SnapshotKind;
use cutline::storage::increment::IncrementFile;
use cutline::storage::local::{FileName, LocalCopy};
use cutline::task::snapshots::PartKind;

use super::{Task, TaskManager};
use crate::engine::{Engine, Part, Place};
use crate::observe::Observation;
use crate::world::{Context, Observer};

/// The copy of a snapshot in the making, if one is made.
pub(super) struct Copying(Option<LocalCopy>);

impl Copying {
    /// `recovers`: of this subtask copies are kept. None is made of in-flight data, and none of what
    /// belongs to the user.
    pub(super) fn new(recovers: bool, part: PartKind, kind: SnapshotKind) -> Self {
        let is_made = recovers && part == PartKind::Operator && !kind.is_savepoint();
        Self(is_made.then(LocalCopy::new))
    }

    /// The files of an increment, those of its base included: they are at hand.
    pub(super) fn add_files(&mut self, files: &[IncrementFile], at_hand: &mut LocalCopy) {
        let Some(copy) = &mut self.0 else { return };
        for file in files {
            let name = FileName::Key(file.key.clone());
            let bytes = match &file.upload {
                Some((_, bytes)) => Some(Arc::from(&bytes[..])),
                None => at_hand.get(&name).cloned(),
            };
            copy.extend(bytes.map(|bytes| (name, bytes)));
        }
        at_hand.extend(copy.clone());
    }

    /// A file of this snapshot alone.
    pub(super) fn add_part(&mut self, part: &Part, bytes: &[u8]) {
        if let Some(copy) = &mut self.0
            && part.place == Place::File
        {
            copy.insert(FileName::Path(part.path.clone()), Arc::from(bytes));
        }
    }

    pub(super) fn finish(self) -> Option<LocalCopy> {
        self.0
    }
}

/// The shared files of a state that was read.
pub(super) fn at_hand(read: &[(Part, Vec<u8>)]) -> LocalCopy {
    let files = read.iter().map(|(part, bytes)| (name_of(part), Arc::from(&bytes[..])));
    files.filter_map(|(name, bytes)| Some((name?, bytes))).collect()
}

fn name_of(part: &Part) -> Option<FileName> {
    match &part.place {
        Place::File => Some(FileName::Path(part.path.clone())),
        Place::Shared(key) | Place::Known(key) | Place::Logged { key, .. } => {
            Some(FileName::Key(key.clone()))
        }
        Place::Inline(_) => None,
    }
}

impl TaskManager {
    pub(super) fn keep_copies_from(&mut self, subtask: SubtaskId, checkpoint: CheckpointId) {
        let Some((_, copies)) = self.copies.get_mut(&subtask) else { return };
        copies.confirm(checkpoint);
        let place = self.place_of[subtask.index()];
        if let Some(task) = place.and_then(|place| self.tasks[place as usize].as_mut())
            && let Some(member) = task.members.iter_mut().find(|it| it.subtask == subtask)
        {
            member.at_hand.retain(|file, _| copies.holds(file));
        }
    }

    pub(super) fn drop_copy(&mut self, subtask: SubtaskId, checkpoint: CheckpointId) {
        if let Some((_, copies)) = self.copies.get_mut(&subtask) {
            copies.abort(checkpoint);
        }
    }

    /// [`Defect::D41`]: the directory of a copy is named by the task, the number of the subtask and the
    /// checkpoint, not by the operator; whoever prepares it deletes what the others had there.
    pub(super) fn empty_directory(&mut self, subtask: SubtaskId, checkpoint: CheckpointId) {
        let graph = &self.plan.graph;
        for (other, (_, copies)) in &mut self.copies {
            if *other != subtask && graph.head(*other) == graph.head(subtask) {
                copies.empty(checkpoint);
            }
        }
    }

    /// [`Defect::D42`]: a task that ends while it reads its state leaves what it has read so far as the
    /// copy of what it was to read.
    pub(super) fn keep_what_was_read(&mut self, task: &Task) {
        let reads = task.deployment.parts.is_empty() && task.reads_left > 0;
        let Some(checkpoint) = task.deployment.restored.filter(|_| reads) else { return };
        for member in &task.members {
            if member.state.is_empty() && self.plan.recovers_locally(member.subtask) {
                let (made_by, copies) = self.copies.entry(member.subtask).or_default();
                *made_by = task.execution;
                copies.store(checkpoint, at_hand(&member.shared));
            }
        }
    }

    /// Takes over what there is a copy of, and says what is to be read from remote storage. `None`:
    /// the task cannot be started.
    pub(super) fn read_locally<O: Observer>(
        &mut self,
        place: u32,
        parts: Vec<Part>,
        ctx: &mut Context<'_, Engine, O>,
    ) -> Option<Vec<Part>> {
        let task = self.tasks[place as usize].as_ref().expect("found by the caller");
        let first = task.deployment.first_execution;
        // Flink: `TaskExecutorLocalStateStoresManager#releaseLocalStateForAllocationId`.
        self.copies.retain(|_, (made_by, _)| *made_by >= first);
        let members = task.members.iter().map(|member| (member.subtask, member.operator));
        let mut parts = parts;
        let mut remote = Vec::new();
        for (subtask, operator) in members.collect::<Vec<_>>() {
            let (own, others): (Vec<_>, _) =
                parts.into_iter().partition(|part| part.operator == operator);
            parts = others;
            remote.extend(self.read_copy(place, subtask, own, ctx)?);
        }
        // What was in flight to others before the job was rescaled.
        remote.extend(parts);
        Some(remote)
    }

    fn read_copy<O: Observer>(
        &mut self,
        place: u32,
        subtask: SubtaskId,
        parts: Vec<Part>,
        ctx: &mut Context<'_, Engine, O>,
    ) -> Option<Vec<Part>> {
        let task = self.tasks[place as usize].as_ref().expect("found by the caller");
        let (execution, restored) = (task.execution, task.deployment.restored);
        if restored.is_none() {
            self.copies.remove(&subtask);
        }
        let copies = self.copies.get_mut(&subtask).zip(restored);
        let Some(((_, copies), checkpoint)) = copies else { return Some(parts) };
        let Some(copy) = copies.retrieve(checkpoint) else { return Some(parts) };
        // What is not as the checkpoint has it is no copy of it.
        let found = |part: &Part| {
            let bytes = copy.get(&name_of(part)?)?;
            part.matches(bytes).then(|| bytes.to_vec())
        };
        let (mut local, mut remote) = (Vec::new(), Vec::new());
        for part in parts {
            match found(&part) {
                Some(bytes) => local.push((part, bytes)),
                None => remote.push(part),
            }
        }
        // The directory is there, and nobody asks whether all is in it that was.
        if self.plan.defects.has(Defect::D41) || self.plan.defects.has(Defect::D42) {
            let (missed, others): (Vec<_>, _) =
                remote.into_iter().partition(|part| part.kind == PartKind::Operator);
            remote = others;
            self.tasks[place as usize].as_mut().expect("found before").reads_left -= missed.len();
        }
        let files = local.len() as u32;
        for (part, bytes) in local {
            if !self.take_over(place, part, bytes) {
                return None;
            }
        }
        if files > 0 {
            ctx.observe_task(
                (subtask, execution),
                Observation::ReadLocally { subtask, checkpoint, files },
            );
        }
        Some(remote)
    }
}
