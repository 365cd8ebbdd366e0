//! From the last acknowledgement to the commit messages (steps A2 and F2 to F5).

use super::*;
use crate::coordinator::completed::{Added, Cleanup};
use crate::coordinator::io::{PointerOutcome, WorkError};
use crate::coordinator::pending::add_files;
use crate::coordinator::schedule::fail_request;
use crate::trigger::policy::CheckpointCost;

/// The checkpoint being finalized.
#[derive(Debug)]
pub(super) struct Finalizing<P> {
    checkpoint: Arc<CompletedCheckpoint<P>>,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// F2. `aborted`: it failed meanwhile, and its files go when the write has answered.
    Metadata { token: Token, aborted: bool },
    /// F3: the decision is out.
    Pointer { token: Token, metadata: FileHandle },
}

impl<P> Finalizing<P> {
    pub(super) fn checkpoint(&self) -> &Arc<CompletedCheckpoint<P>> {
        &self.checkpoint
    }

    /// The checkpoint whose pointer write is issued.
    pub(super) fn decides(&self) -> Option<CheckpointId> {
        match self.step {
            Step::Metadata { .. } => None,
            Step::Pointer { .. } => Some(self.checkpoint.id),
        }
    }

    /// The checkpoint, unless it was aborted.
    pub(super) fn valid(&self) -> Option<CheckpointId> {
        match self.step {
            Step::Metadata { aborted: true, .. } => None,
            Step::Metadata { aborted: false, .. } | Step::Pointer { .. } => {
                Some(self.checkpoint.id)
            }
        }
    }
}

/// Whether a checkpoint can still be aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aborting {
    /// Yes.
    Now,
    /// Yes, but its files go later.
    AfterMetadata,
    /// No: the pointer write is issued.
    TooLate,
}

impl<P> Coordinator<P> {
    /// A2.
    pub(super) fn on_fully_acknowledged(
        &mut self,
        now: VirtualTime,
        id: CheckpointId,
        out: &mut Vec<Output<P>>,
    ) {
        self.acknowledged.push_back(id);
        self.finalize_next(now, out);
    }

    /// F2, for the first that waits and was not aborted meanwhile.
    fn finalize_next(&mut self, now: VirtualTime, out: &mut Vec<Output<P>>) {
        while self.finalizing.is_none()
            && let Some(id) = self.acknowledged.pop_front()
        {
            let token = self.token();
            let Some(pending) = self.pending.get_mut(&id) else {
                continue;
            };
            let finished = &pending.plan.finished;
            let union = || self.topology.partly_ended_union(finished, |it| pending.has_ended(it));
            if self.config.after_tasks_finish && union().is_some() {
                self.fail_partly_ended(id, out);
                continue;
            }
            let location = pending.location.clone();
            let location = location.expect("complete only once the directory is there");
            self.wall_clock_read = true;
            let wall = now + self.clock_offset;
            let checkpoint = pending.complete(wall, self.config.retention, location);
            let checkpoint = Arc::new(checkpoint);
            out.push(Output::WriteMetadata { token, checkpoint: Arc::clone(&checkpoint) });
            if self.config.defects.has(Defect::D01) {
                self.notify_complete(&self.pending[&id], None, out);
            }
            let step = Step::Metadata { token, aborted: false };
            self.finalizing = Some(Finalizing { checkpoint, step });
        }
    }

    /// Somebody wants to abort the checkpoint.
    pub(super) fn abort_finalizing(&mut self, id: CheckpointId, reason: FailureReason) -> Aborting {
        let stop = reason == FailureReason::CheckpointCoordinatorSuspend;
        // What is complete is not looked at again when the execution ends.
        let defects = self.config.defects;
        let goes_on = (defects.has(Defect::D10) || defects.has(Defect::D11)) && stop;
        let current = self.finalizing.as_mut().filter(|f| f.checkpoint.id == id);
        match current.map(|finalizing| &mut finalizing.step) {
            None => Aborting::Now,
            Some(Step::Metadata { .. }) if goes_on => Aborting::TooLate,
            Some(Step::Metadata { aborted, .. }) => {
                *aborted = true;
                Aborting::AfterMetadata
            }
            Some(Step::Pointer { .. }) => Aborting::TooLate,
        }
    }

    /// Whether the checkpoint is between A2 and its decision.
    pub(super) fn is_finalizing(&self, id: CheckpointId) -> bool {
        self.finalizing.as_ref().is_some_and(|finalizing| finalizing.checkpoint.id == id)
    }

    /// [`Defect::D06`]: X2 of a checkpoint that is being finalized, which goes on.
    pub(super) fn discard_finalizing(&mut self, id: CheckpointId, out: &mut Vec<Output<P>>) {
        self.cancel_expiry(id);
        self.set_expiry(self.now, id);
        let finalizing = self.finalizing.as_ref().filter(|it| it.checkpoint.id == id);
        let files = finalizing.map_or(Vec::new(), |it| self.files_of(&it.checkpoint, None));
        self.discard_aborted(id, files, None, out);
    }

    /// F2 has answered.
    pub(super) fn on_metadata_written(
        &mut self,
        now: VirtualTime,
        token: Token,
        result: Result<FileHandle, WorkError>,
        out: &mut Vec<Output<P>>,
    ) {
        let finalizing = self.finalizing.as_ref().expect("a metadata write is out");
        let id = finalizing.checkpoint.id;
        match finalizing.step {
            Step::Metadata { token: t, aborted } if t == token => {
                if !aborted && result.is_err() {
                    self.fail_metadata(id, out);
                }
            }
            Step::Metadata { .. } | Step::Pointer { .. } => panic!("{token:?} is not awaited"),
        }
        let aborted = self.finalizing.as_ref().and_then(Finalizing::valid).is_none();
        let finalizing = self.finalizing.take().expect("it is not over");
        let checkpoint = finalizing.checkpoint;
        match result {
            Ok(metadata) if aborted => self.discard_unfinished(&checkpoint, Some(metadata), out),
            Err(_) => self.discard_unfinished(&checkpoint, None, out),
            Ok(_) if !self.is_stored(checkpoint.kind) => {
                self.complete(now, &checkpoint, None, out);
                self.savepoints.push(checkpoint);
            }
            Ok(metadata) => return self.write_pointer(checkpoint, metadata, out),
        }
        self.finalize_next(now, out);
    }

    fn is_stored(&self, kind: SnapshotKind) -> bool {
        let stored = kind.is_synchronous() && self.config.stores_stops;
        !kind.is_savepoint() || stored || self.config.defects.has(Defect::D35)
    }

    /// F3.
    fn write_pointer(
        &mut self,
        checkpoint: Arc<CompletedCheckpoint<P>>,
        metadata: FileHandle,
        out: &mut Vec<Output<P>>,
    ) {
        let token = self.token();
        self.cancel_expiry(checkpoint.id);
        out.push(Output::WritePointer {
            token,
            checkpoint: checkpoint.id,
            metadata: metadata.clone(),
        });
        if self.config.defects.has(Defect::D30) {
            let checkpoint = Arc::clone(&checkpoint);
            let added = self.store.add(Retained { checkpoint, metadata: metadata.clone() });
            self.remove_pointers(added.expect("not shut down yet").remove, out);
        }
        let step = Step::Pointer { token, metadata };
        self.finalizing = Some(Finalizing { checkpoint, step });
    }

    /// Whether the decision of a checkpoint is out and not known.
    pub(super) fn is_deciding(&self) -> bool {
        self.finalizing.as_ref().is_some_and(|f| f.decides().is_some())
    }

    /// F3 has answered: the checkpoint is decided.
    pub(super) fn on_pointer_written(
        &mut self,
        now: VirtualTime,
        token: Token,
        outcome: PointerOutcome,
        out: &mut Vec<Output<P>>,
    ) {
        let finalizing = self.finalizing.take().expect("a pointer write is out");
        let checkpoint = finalizing.checkpoint;
        let metadata = match finalizing.step {
            Step::Pointer { token: t, metadata } if t == token => metadata,
            Step::Metadata { .. } | Step::Pointer { .. } => panic!("{token:?} is not awaited"),
        };
        match outcome {
            PointerOutcome::Written => {
                out.push(Output::Stored { checkpoint: checkpoint.id });
                let retained = Retained { checkpoint: Arc::clone(&checkpoint), metadata };
                let added = match self.config.defects.has(Defect::D30) {
                    true => Ok(Added::default()), // It is in the store since F3 began.
                    false => self.store.add(retained),
                };
                let added = added.expect("the store is shut down only after the decision");
                self.force_full = false;
                self.complete(now, &checkpoint, Some(added), out);
            }
            PointerOutcome::Failed => {
                self.fail_pointer(&checkpoint, out);
                let files = self.files_of(&checkpoint, Some(metadata));
                let location = Some(Arc::clone(&checkpoint.location));
                let id = Some(checkpoint.id);
                self.discard(DiscardKind::Completed, id, files, location, After::Nothing, out);
            }
            PointerOutcome::Unknown => self.fail_pointer(&checkpoint, out),
        }
        self.after_decision(out);
        self.finalize_next(now, out);
    }

    /// What a checkpoint took away at the slowest subtask. An unaligned one blocks nothing.
    fn stalled(&self, id: CheckpointId) -> VirtualDuration {
        let Some(checkpoint) = self.statistics.in_progress.get(&id) else {
            return VirtualDuration::ZERO;
        };
        let blocks = self.config.exactly_once && !self.config.unaligned;
        let blocked = if blocks { checkpoint.alignment_duration } else { Default::default() };
        checkpoint.sync_duration + blocked
    }

    /// F4 and F5. `added`: what storing it led to; `None` for a savepoint, which is not stored.
    fn complete(
        &mut self,
        now: VirtualTime,
        checkpoint: &CompletedCheckpoint<P>,
        added: Option<Added>,
        out: &mut Vec<Output<P>>,
    ) {
        let id = checkpoint.id;
        let pending = self.pending.remove(&id).expect("an abort would have been noted");
        self.cancel_expiry(id);
        out.push(Output::Completed { checkpoint: id });
        if let Some(request) = pending.request {
            out.push(Output::RequestCompleted { request, checkpoint: id });
        }
        self.failures.on_success(id);
        let stalled = self.stalled(id);
        self.statistics.completed(id);
        self.release(id, out);
        self.last_completion = Some(now);
        let duration = now.since(pending.triggered);
        self.policy.completed(now, CheckpointCost { duration, stalled });
        let subsumed = added.as_ref().and_then(|added| added.subsumed);
        if let Some(added) = added {
            self.remove_pointers(added.remove, out);
        }
        if !checkpoint.kind.is_savepoint() || checkpoint.kind.is_synchronous() {
            if !self.config.defects.has(Defect::D07) {
                self.abort_subsumed(id, out);
            }
            let subsumed = subsumed.filter(|(_, deleted)| *deleted).map(|(id, _)| id);
            self.notify_complete(&pending, subsumed, out);
        }
        self.end_trigger_of_completed(now, id, out);
    }

    /// Flink asks the decider twice, each of which may use up a periodic request that waited too
    /// long: at once, and when its cleaner has let go of the pending checkpoint in the background,
    /// although that has nothing left to delete.
    fn release(&mut self, id: CheckpointId, out: &mut Vec<Output<P>>) {
        self.poll_later(out);
        self.discard(DiscardKind::Pending, Some(id), Vec::new(), None, After::Poll, out);
    }

    /// F5.
    fn notify_complete(
        &self,
        pending: &PendingCheckpoint<P>,
        subsumed: Option<CheckpointId>,
        out: &mut Vec<Output<P>>,
    ) {
        out.push(Output::NotifyComplete {
            checkpoint: pending.id,
            timestamp: pending.timestamp,
            subtasks: pending.plan.wait.iter().map(|(subtask, _)| *subtask).collect(),
            subsumed,
        });
        for &coordinator in &self.coordinators {
            out.push(Output::NotifyCoordinatorComplete { checkpoint: pending.id, coordinator });
        }
    }

    /// F4: pointers go before the files behind them.
    fn remove_pointers(&mut self, ids: Vec<CheckpointId>, out: &mut Vec<Output<P>>) {
        if ids.is_empty() {
            let cleanup = self.store.clean();
            self.clean(cleanup, out);
        }
        for id in ids {
            self.remove_pointer(id, out);
        }
    }

    pub(super) fn remove_pointer(&mut self, id: CheckpointId, out: &mut Vec<Output<P>>) {
        let token = self.token();
        self.work.insert(token, Work::RemovePointer(id));
        out.push(Output::RemovePointer { token, checkpoint: id });
    }

    pub(super) fn clean(&mut self, cleanup: Cleanup<P>, out: &mut Vec<Output<P>>) {
        if !cleanup.shared.is_empty() {
            self.discard(DiscardKind::Shared, None, cleanup.shared, None, After::Nothing, out);
        }
        for retained in cleanup.checkpoints {
            let checkpoint = retained.checkpoint;
            let mut files = self.files_of(&checkpoint, Some(retained.metadata));
            if self.config.defects.has(Defect::D34)
                && self.store.registry().is_restored(checkpoint.id)
            {
                let states = checkpoint.states();
                states.for_each(|state| add_files(state, true, &mut files));
            }
            let location = Some(Arc::clone(&checkpoint.location));
            let id = Some(checkpoint.id);
            self.discard(DiscardKind::Completed, id, files, location, After::Cleaned, out);
        }
    }

    /// The metadata could not be written: the checkpoint fails like any pending one.
    fn fail_metadata(&mut self, id: CheckpointId, out: &mut Vec<Output<P>>) {
        out.push(Output::FinalizeFailed { checkpoint: id });
        self.abort(id, FailureReason::FinalizeCheckpointFailure, None, out);
        self.poll_later(out);
    }

    /// Some subtasks would have no share in a state that each restored one is to have in full. Flink:
    /// `PartialFinishingNotSupportedByStateException`, which counts for no failure.
    fn fail_partly_ended(&mut self, id: CheckpointId, out: &mut Vec<Output<P>>) {
        out.push(Output::FinalizeFailed { checkpoint: id });
        self.abort(id, FailureReason::CheckpointDeclinedTaskClosing, None, out);
        self.poll_later(out);
    }

    /// The pointer was not written, or nobody knows.
    fn fail_pointer(&mut self, checkpoint: &CompletedCheckpoint<P>, out: &mut Vec<Output<P>>) {
        let (id, reason) = (checkpoint.id, FailureReason::FinalizeCheckpointFailure);
        let pending = self.pending.remove(&id).expect("no abort touches it now");
        out.push(Output::FinalizeFailed { checkpoint: id });
        let wall = self.wall();
        self.statistics.failed(wall, id, reason);
        self.abort_trigger_of(id, reason, out);
        fail_request(pending.request, reason, out);
        out.push(Output::Failed { checkpoint: id, reason });
        self.judge(Some(id), checkpoint.kind, reason, None, out);
        self.notify_aborted(&pending, out);
        self.release(id, out);
    }

    /// Deletes the files of a checkpoint that did not come as far as its pointer.
    fn discard_unfinished(
        &mut self,
        checkpoint: &CompletedCheckpoint<P>,
        metadata: Option<FileHandle>,
        out: &mut Vec<Output<P>>,
    ) {
        let files = self.files_of(checkpoint, metadata);
        let location = Some(Arc::clone(&checkpoint.location));
        self.discard_aborted(checkpoint.id, files, location, out);
    }

    /// The files that go with a checkpoint.
    fn files_of(
        &self,
        checkpoint: &CompletedCheckpoint<P>,
        metadata: Option<FileHandle>,
    ) -> Vec<FileHandle> {
        let mut files = Vec::new();
        for state in checkpoint.states() {
            add_files(state, checkpoint.kind.is_savepoint(), &mut files);
        }
        files.extend(metadata);
        files
    }
}
