//! A checkpoint that waits for acknowledgements (steps T3 to A2).
//!
//! In Flink: `PendingCheckpoint`.
//!
//! Invariant: `missing` is the number of executions and of operator coordinators that have not
//! delivered; asserted when the checkpoint is completed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::coordinator::completed::{CompletedCheckpoint, Retention};
use crate::coordinator::plan::Plan;
use crate::ids::{Attempt, CheckpointId, OperatorId, SubtaskId};
use crate::message::SnapshotKind;
use crate::storage::handle::{FileHandle, SharedHandle, SubtaskState};
use crate::time::VirtualTime;
use crate::trigger::decider::{Request, RequestId};

/// What an acknowledgement came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Counted.
    Success,
    /// This execution had acknowledged already.
    Duplicate,
    /// This execution has no part in the checkpoint; its files are for nobody.
    Unknown,
}

/// Delivered or not.
#[derive(Clone, Debug)]
enum Part<P> {
    Awaited,
    /// `None`: the subtask has no state.
    Delivered(Option<SubtaskState<P>>),
}

/// A checkpoint on its way.
#[derive(Clone, Debug)]
pub(super) struct PendingCheckpoint<P> {
    pub(super) id: CheckpointId,
    pub(super) kind: SnapshotKind,
    pub(super) request: Option<RequestId>,
    /// Whether the decider let it pass beside `max_concurrent` others.
    pub(super) forced: bool,
    /// T1, by the monotonic clock.
    pub(super) triggered: VirtualTime,
    /// The same by the wall clock.
    pub(super) timestamp: VirtualTime,
    pub(super) plan: Arc<Plan>,
    /// Its directory, once made.
    pub(super) location: Option<Arc<str>>,
    /// In the order of `plan.wait`.
    parts: Vec<Part<P>>,
    coordinators: BTreeMap<OperatorId, Option<SubtaskState<P>>>,
    missing: usize,
}

impl<P> PendingCheckpoint<P> {
    pub(super) fn new(
        id: CheckpointId,
        request: Request,
        (triggered, timestamp): (VirtualTime, VirtualTime),
        plan: Arc<Plan>,
        coordinators: &[OperatorId],
    ) -> Self {
        let parts: Vec<_> = plan.wait.iter().map(|_| Part::Awaited).collect();
        Self {
            id,
            kind: request.kind,
            request: request.id,
            forced: request.forced,
            triggered,
            timestamp,
            location: None,
            missing: parts.len() + coordinators.len(),
            parts,
            coordinators: coordinators.iter().map(|&id| (id, None)).collect(),
            plan,
        }
    }

    /// [`Defect::D05`]: what operator coordinators have yet to deliver is not waited for.
    pub(super) fn wait_for_tasks_alone(&mut self) {
        self.missing -= self.coordinators.len();
        self.coordinators.clear();
    }

    /// Takes a delivery in (step A1). A state that is not counted is given back.
    pub(super) fn acknowledge(
        &mut self,
        subtask: SubtaskId,
        attempt: Attempt,
        state: Option<SubtaskState<P>>,
    ) -> (Received, Option<SubtaskState<P>>) {
        let Ok(index) = self.plan.wait.binary_search(&(subtask, attempt)) else {
            return (Received::Unknown, state);
        };
        match self.parts.get_mut(index) {
            Some(part @ Part::Awaited) => {
                *part = Part::Delivered(state);
                self.missing -= 1;
                (Received::Success, None)
            }
            // While the checkpoint is being stored its parts are taken out: all had delivered.
            Some(Part::Delivered(_)) | None => (Received::Duplicate, state),
        }
    }

    /// Takes the snapshot of an operator coordinator in (step T4).
    pub(super) fn acknowledge_coordinator(&mut self, id: OperatorId, state: SubtaskState<P>) {
        let slot = self.coordinators.get_mut(&id);
        let slot = slot.expect("only the configured coordinators are asked");
        assert!(slot.is_none(), "{id} delivered twice for {}", self.id);
        *slot = Some(state);
        self.missing -= 1;
    }

    /// Whether everybody has delivered (step A2).
    pub(super) fn is_fully_acknowledged(&self) -> bool {
        self.missing == 0
    }

    /// Whether a subtask has delivered the state of operators that have come to their end.
    pub(super) fn has_ended(&self, subtask: SubtaskId) -> bool {
        let index = self.plan.wait.binary_search_by_key(&subtask, |(subtask, _)| *subtask);
        let part = index.ok().and_then(|index| self.parts.get(index));
        matches!(part, Some(Part::Delivered(Some(state))) if state.ended)
    }

    /// Whether the execution has delivered, or need not.
    pub(super) fn has_delivered(&self, subtask: SubtaskId, attempt: Attempt) -> bool {
        let awaited = |index: usize| matches!(self.parts.get(index), Some(Part::Awaited));
        !self.plan.wait.binary_search(&(subtask, attempt)).is_ok_and(awaited)
    }

    /// Whether a newer completed checkpoint makes it pointless. A savepoint is wanted for itself.
    pub(super) fn can_be_subsumed(&self) -> bool {
        !self.kind.is_savepoint()
    }

    /// The files delivered so far that go with the checkpoint: shared ones belong to the
    /// registry, except those of a savepoint, which were never registered.
    pub(super) fn files(&self) -> Vec<FileHandle> {
        let parts = self.parts.iter().filter_map(|part| match part {
            Part::Awaited => None,
            Part::Delivered(state) => state.as_ref(),
        });
        let states = parts.chain(self.coordinators.values().flatten());
        let mut files = Vec::new();
        for state in states {
            add_files(state, self.kind.is_savepoint(), &mut files);
        }
        files
    }

    /// Whether a file was delivered for it.
    pub(super) fn refers_to(&self, file: &FileHandle) -> bool {
        self.files().iter().any(|one| one.path == file.path)
    }

    /// The checkpoint as it will be stored. Its own parts are taken out.
    pub(super) fn complete(
        &mut self,
        now: VirtualTime,
        retention: Retention,
        location: Arc<str>,
    ) -> CompletedCheckpoint<P> {
        assert!(self.is_fully_acknowledged());
        let parts = std::mem::take(&mut self.parts).into_iter();
        let subtasks = self.plan.wait.iter().zip(parts);
        let coordinators = std::mem::take(&mut self.coordinators).into_iter();
        CompletedCheckpoint {
            id: self.id,
            kind: self.kind,
            timestamp: self.timestamp,
            acknowledged_at: now,
            retention,
            unclaimed: false,
            location,
            subtasks: subtasks
                .map(|((subtask, _), part)| match part {
                    Part::Delivered(state) => (*subtask, state),
                    Part::Awaited => unreachable!("nothing is missing"),
                })
                .collect(),
            finished: self.plan.finished.clone(),
            finished_operators: self.plan.finished_operators.clone(),
            coordinators: coordinators
                .map(|(id, state)| (id, state.expect("nothing is missing")))
                .collect(),
        }
    }
}

/// The files of a state that are to be deleted with it.
pub(super) fn add_files<P>(state: &SubtaskState<P>, shared: bool, files: &mut Vec<FileHandle>) {
    files.extend(state.private.iter().cloned());
    if shared {
        files.extend(state.shared.iter().filter_map(|file| match &file.handle {
            SharedHandle::File(file) => Some(file.clone()),
            SharedHandle::Placeholder => None,
        }));
    }
}
