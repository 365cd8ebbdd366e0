//! People outside: what they ask of the cluster, and what they have been told.
//!
//! Somebody who asks and gets no answer, because nobody leads or the leader dies, asks again: what
//! was asked for stays until a leader has taken it up. What a job manager has taken up dies with it:
//! nobody else knows of it, and whoever asked is told so when asking for the outcome.

use std::collections::BTreeSet;

use cutline::ids::{CheckpointId, SubtaskId};
use cutline::message::SnapshotKind;
use cutline::step::Step;
use cutline::time::VirtualDuration;

use super::ProcessId;
use super::faults::{Armed, PlannedWhen};

/// A snapshot that was reported as complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownSnapshot {
    /// Its number.
    pub checkpoint: CheckpointId,
    /// What it is.
    pub kind: SnapshotKind,
    /// Path of its metadata.
    pub metadata: String,
    /// The job has gone back behind it since.
    pub abandoned: bool,
}

/// What is asked for, by its index in the plan, and what was answered.
#[derive(Debug, Default)]
pub(super) struct Outside {
    plan: Vec<PlannedWhen>,
    armed: Armed,
    /// Asked for, and taken up by nobody so far; ascending.
    open: Vec<u32>,
    taken: Vec<bool>,
    /// Those that were taken up and have no answer, with who has taken them up; ascending.
    unanswered: Vec<(u32, ProcessId)>,
    told: Vec<KnownSnapshot>,
    /// All that were ever told of.
    complete: BTreeSet<CheckpointId>,
}

impl Outside {
    pub(super) fn new(plan: Vec<PlannedWhen>) -> Self {
        let armed = Armed::of(plan.iter().copied());
        let taken = vec![false; plan.len()];
        Self { plan, armed, taken, ..Self::default() }
    }

    pub(super) fn plan(&self) -> &[PlannedWhen] {
        &self.plan
    }

    pub(super) fn is_armed(&self) -> bool {
        !self.armed.is_empty()
    }

    /// The requests that come now that a step was reached, each with its delay.
    pub(super) fn reached(
        &mut self,
        step: Step,
        checkpoint: Option<CheckpointId>,
        subtask: Option<SubtaskId>,
    ) -> Vec<(u32, VirtualDuration)> {
        let plan = &self.plan;
        self.armed.reached(|index| plan[index as usize], (step, checkpoint, subtask))
    }

    pub(super) fn ask(&mut self, index: u32) {
        self.open.push(index);
        self.open.sort_unstable();
    }

    pub(super) fn open(&self) -> Vec<u32> {
        self.open.clone()
    }

    /// Those that nobody has taken up, whether they were asked for already or not.
    pub(super) fn outstanding(&self) -> impl Iterator<Item = u32> + '_ {
        (0..).zip(&self.taken).filter(|(_, taken)| !**taken).map(|(index, _)| index)
    }

    pub(super) fn take(&mut self, index: u32, by: ProcessId) {
        self.open.retain(|open| *open != index);
        self.taken[index as usize] = true;
        self.unanswered.push((index, by));
        self.unanswered.sort_unstable();
    }

    pub(super) fn answer(&mut self, index: u32) {
        self.unanswered.retain(|(unanswered, _)| *unanswered != index);
    }

    /// A process has died: what it had taken up and not answered.
    pub(super) fn forget(&mut self, process: ProcessId) -> Vec<u32> {
        let forgotten = self.unanswered.extract_if(.., |(_, by)| *by == process);
        forgotten.map(|(index, _)| index).collect()
    }

    pub(super) fn tell(&mut self, snapshot: KnownSnapshot) {
        self.complete.insert(snapshot.checkpoint);
        self.told.retain(|known| known.checkpoint != snapshot.checkpoint);
        self.told.push(snapshot);
    }

    /// A savepoint stays the user's.
    pub(super) fn tell_of_subsumed(&mut self, checkpoint: CheckpointId) {
        self.told.retain(|known| known.kind.is_savepoint() || known.checkpoint != checkpoint);
    }

    /// The job goes back to a checkpoint.
    pub(super) fn go_back(&mut self, chosen: Option<CheckpointId>) {
        for known in self.told.iter_mut().filter(|known| Some(known.checkpoint) > chosen) {
            known.abandoned = true;
        }
    }

    pub(super) fn was_told_of(&self, checkpoint: CheckpointId) -> bool {
        self.complete.contains(&checkpoint)
    }

    pub(super) fn told(&self) -> &[KnownSnapshot] {
        &self.told
    }
}
