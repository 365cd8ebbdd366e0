//! Acknowledgements and declines (steps A1 and A2), and what ends a checkpoint early (X1 to X4).

use super::*;
use crate::coordinator::finalize::Aborting;
use crate::coordinator::pending::{Received, add_files};
use crate::coordinator::schedule::fail_request;
use crate::storage::handle::{SharedHandle, SubtaskState};

impl<P> Coordinator<P> {
    /// A1: one execution delivers.
    pub(super) fn on_acknowledge(
        &mut self,
        now: VirtualTime,
        id: CheckpointId,
        (subtask, attempt): (SubtaskId, Attempt),
        mut state: Option<SubtaskState<P>>,
        metrics: CheckpointMetrics,
        out: &mut Vec<Output<P>>,
    ) {
        if self.shut_down {
            return;
        }
        let uploaded = state.as_ref().map_or(0, SubtaskState::checkpointed_size);
        let savepoint = self.pending.get(&id).is_some_and(|p| p.kind.is_savepoint());
        if let Some(state) = state.as_mut().filter(|_| self.config.defects.has(Defect::D33)) {
            self.keep_first(id, state, out);
        }
        if let Some(state) = state.as_mut().filter(|_| !savepoint)
            && let Err(error) = self.register_shared(id, state)
        {
            self.discard_state(id, state, false, out);
            out.push(Output::AcknowledgeRefused { checkpoint: id, subtask, error });
            return;
        }
        let size = state.as_ref().map_or(0, SubtaskState::size);
        let (received, rest) = match self.pending.get_mut(&id) {
            Some(pending) => pending.acknowledge(subtask, attempt, state),
            None => (Received::Unknown, state),
        };
        match received {
            Received::Success => {
                let wall = self.wall();
                self.statistics.acknowledged(wall, id, (uploaded, size), metrics);
                self.complete_if_acknowledged(now, id, out);
            }
            Received::Duplicate => {}
            Received::Unknown if self.config.defects.has(Defect::D02) => {}
            Received::Unknown => {
                if let Some(state) = rest {
                    self.discard_state(id, &state, savepoint, out);
                }
            }
        }
    }

    /// F1, done as acknowledgements come in, late and stray ones too: a task that believes its file
    /// known may refer to it in the next checkpoint. Savepoints are not the system's to track.
    fn register_shared(
        &mut self,
        id: CheckpointId,
        state: &mut SubtaskState<P>,
    ) -> Result<(), RegistryError> {
        let registry = self.store.registry();
        for file in &state.shared {
            registry.probe(file)?;
        }
        for file in &mut state.shared {
            let known = registry.register(file, id, false)?;
            file.handle = SharedHandle::File(known);
        }
        Ok(())
    }

    /// [`Defect::D33`]: of two files with one key the second is deleted, and the first stands for both.
    fn keep_first(
        &mut self,
        id: CheckpointId,
        state: &mut SubtaskState<P>,
        out: &mut Vec<Output<P>>,
    ) {
        let mut second = Vec::new();
        for file in &mut state.shared {
            if let Err(RegistryError::Conflict { offered, .. }) = self.store.registry().probe(file)
            {
                second.push(offered);
                file.handle = SharedHandle::Placeholder;
            }
        }
        if !second.is_empty() {
            self.discard(DiscardKind::Late, Some(id), second, None, After::Nothing, out);
        }
    }

    /// A2, once the directory is there; else the trigger completes it at its end.
    fn complete_if_acknowledged(
        &mut self,
        now: VirtualTime,
        id: CheckpointId,
        out: &mut Vec<Output<P>>,
    ) {
        let pending = &self.pending[&id];
        if pending.is_fully_acknowledged() && pending.location.is_some() {
            self.on_fully_acknowledged(now, id, out);
        }
    }

    pub(super) fn on_decline(
        &mut self,
        id: CheckpointId,
        task: (SubtaskId, Attempt),
        reason: FailureReason,
        out: &mut Vec<Output<P>>,
    ) {
        if self.config.defects.has(Defect::D09)
            && reason == FailureReason::CheckpointDeclinedTaskNotReady
        {
            return; // Whom to await was decided at T1.
        }
        if !self.shut_down {
            self.abort(id, reason, Some(task), out);
        }
    }

    pub(super) fn on_task_state(
        &mut self,
        subtask: SubtaskId,
        attempt: Attempt,
        state: ExecutionState,
    ) {
        let execution = &mut self.executions[subtask.index()];
        if attempt >= execution.attempt {
            *execution = Execution { attempt, state };
        }
    }

    pub(super) fn on_task_failed(
        &mut self,
        subtask: SubtaskId,
        attempt: Attempt,
        out: &mut Vec<Output<P>>,
    ) {
        let waiting = self.pending.values().filter(|p| !p.has_delivered(subtask, attempt));
        let waiting: Vec<_> = waiting.map(|p| p.id).collect();
        if self.config.defects.has(Defect::D10) {
            return self.count_as_delivered(waiting, (subtask, attempt), out);
        }
        for id in waiting {
            self.abort(id, FailureReason::TaskFailure, None, out);
        }
    }

    /// [`Defect::D10`]: whoever has failed is not waited for any more.
    fn count_as_delivered(
        &mut self,
        ids: Vec<CheckpointId>,
        (subtask, attempt): (SubtaskId, Attempt),
        out: &mut Vec<Output<P>>,
    ) {
        for id in ids {
            let pending = self.pending.get_mut(&id).expect("it waits for that task");
            pending.acknowledge(subtask, attempt, None);
            self.complete_if_acknowledged(self.now, id, out);
        }
    }

    pub(super) fn abort_all(&mut self, reason: FailureReason, out: &mut Vec<Output<P>>) {
        let ids: Vec<_> = self.pending.keys().copied().collect();
        for id in ids {
            self.abort(id, reason, None, out);
        }
    }

    /// Older checkpoints that nobody needs any more.
    pub(super) fn abort_subsumed(&mut self, by: CheckpointId, out: &mut Vec<Output<P>>) {
        let older = self.pending.range(..by).map(|(_, pending)| pending);
        let ids: Vec<_> = older.filter(|p| p.can_be_subsumed()).map(|p| p.id).collect();
        for id in ids {
            self.abort(id, FailureReason::CheckpointSubsumed, None, out);
        }
    }

    /// X1: ends a pending checkpoint, unless it is not pending or its pointer write is issued.
    /// `task` is the execution that reported the failure.
    pub(super) fn abort(
        &mut self,
        id: CheckpointId,
        reason: FailureReason,
        task: Option<(SubtaskId, Attempt)>,
        out: &mut Vec<Output<P>>,
    ) {
        let expired = reason == FailureReason::CheckpointExpired;
        if self.config.defects.has(Defect::D06) && expired && self.is_finalizing(id) {
            return self.discard_finalizing(id, out);
        }
        let aborting = self.abort_finalizing(id, reason);
        if aborting == Aborting::TooLate {
            return;
        }
        let Some(pending) = self.pending.remove(&id) else {
            return;
        };
        self.cancel_expiry(id);
        let wall = self.wall();
        self.statistics.failed(wall, id, reason);
        self.abort_trigger_of(id, reason, out);
        fail_request(pending.request, reason, out);
        out.push(Output::Failed { checkpoint: id, reason });
        match aborting {
            // X2.
            Aborting::Now => {
                let (files, location) = (pending.files(), pending.location.clone());
                self.discard_aborted(id, files, location, out);
            }
            // X2 follows once the metadata write has answered.
            Aborting::AfterMetadata | Aborting::TooLate => {}
        }
        self.judge(Some(id), pending.kind, reason, task, out);
        self.notify_aborted(&pending, out);
        if expired {
            self.remember(id);
        }
        self.poll_later(out);
    }

    /// X3.
    pub(super) fn notify_aborted(&self, pending: &PendingCheckpoint<P>, out: &mut Vec<Output<P>>) {
        out.push(Output::NotifyAborted {
            checkpoint: pending.id,
            subtasks: pending.plan.wait.iter().map(|(subtask, _)| *subtask).collect(),
            latest_completed: self.store.latest().map(|r| r.checkpoint.id),
        });
        for &coordinator in &self.coordinators {
            out.push(Output::NotifyCoordinatorAborted { checkpoint: pending.id, coordinator });
        }
    }

    /// Lets the failure manager weigh a failure.
    pub(super) fn judge(
        &mut self,
        checkpoint: Option<CheckpointId>,
        kind: SnapshotKind,
        reason: FailureReason,
        task: Option<(SubtaskId, Attempt)>,
        out: &mut Vec<Output<P>>,
    ) {
        let failure = Failure { checkpoint, kind, reason, task };
        if let Some(Verdict(task)) = self.failures.on_failure(failure) {
            out.push(Output::FailJob { task });
        }
    }

    pub(super) fn remember(&mut self, id: CheckpointId) {
        if self.expired.len() == RECENT_MAX {
            self.expired.pop_front();
        }
        self.expired.push_back(id);
    }

    /// Deletes what an aborted checkpoint had. The decider is asked again after it.
    pub(super) fn discard_aborted(
        &mut self,
        id: CheckpointId,
        files: Vec<FileHandle>,
        location: Option<Arc<str>>,
        out: &mut Vec<Output<P>>,
    ) {
        // The caller has cleared the list before the cleaner looked at it.
        let files = if self.config.defects.has(Defect::D04) { Vec::new() } else { files };
        // Flink: without state to delete, the directory is removed on the spot.
        let after = if files.is_empty() {
            self.poll_later(out);
            After::Nothing
        } else {
            After::Cleaned
        };
        if !files.is_empty() || location.is_some() {
            self.discard(DiscardKind::Aborted, Some(id), files, location, after, out);
        }
    }

    /// Deletes what came with an acknowledgement nobody waits for.
    ///
    /// Deviation: not what a checkpoint refers to. Flink deletes the files of an acknowledgement
    /// that comes a second time, after its checkpoint was completed.
    pub(super) fn discard_state(
        &mut self,
        id: CheckpointId,
        state: &SubtaskState<P>,
        shared: bool,
        out: &mut Vec<Output<P>>,
    ) {
        let mut files = Vec::new();
        add_files(state, shared, &mut files);
        files.retain(|file| self.config.defects.has(Defect::D03) || !self.refers_to(file));
        if !files.is_empty() {
            self.discard(DiscardKind::Late, Some(id), files, None, After::Nothing, out);
        }
    }

    pub(super) fn discard(
        &mut self,
        kind: DiscardKind,
        checkpoint: Option<CheckpointId>,
        files: Vec<FileHandle>,
        location: Option<Arc<str>>,
        after: After,
        out: &mut Vec<Output<P>>,
    ) {
        let token = self.token();
        self.work.insert(token, Work::Discard(after));
        self.cleaning += usize::from(after == After::Cleaned);
        out.push(Output::Discard { token, kind, checkpoint, files, location });
    }

    pub(super) fn on_discarded(&mut self, token: Token, out: &mut Vec<Output<P>>) {
        let after = match self.work.remove(&token) {
            Some(Work::Discard(after)) => after,
            other => panic!("{token:?} is {other:?}, no deletion"),
        };
        match after {
            After::Nothing => {}
            After::Poll => self.poll_later(out),
            After::Cleaned => {
                self.cleaning -= 1;
                self.poll_later(out);
            }
        }
    }
}
