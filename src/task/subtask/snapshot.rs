//! The snapshots of a subtask, B1 … B6, and what the coordinator tells it about checkpoints.

use super::calls::HeldSnapshot;
use super::{CommitError, Mail, Output, Outputs, Phase, Subtask};
use crate::defect::Defect;
use crate::ids::{CheckpointId, OutputChannel};
use crate::message::{Alignment, CheckpointBarrier, Element, FailureReason, SnapshotKind};
use crate::operator::{Effect, Snapshot, TransactionId};
use crate::task::barrier::Cut;
use crate::task::commits::{Commits, Next};
use crate::task::snapshots::{PartKind, Snapshots};
use crate::task::subpartition;
use crate::time::{VirtualDuration, VirtualTime};

impl Subtask {
    pub(super) fn on_mail(&mut self, now: VirtualTime, mail: Mail, out: &mut impl Outputs) {
        match mail {
            Mail::Trigger(barrier) if self.gates.open_forward_channels() == 0 => {
                self.trigger(now, barrier, out);
            }
            // The senders have all finished, as far as the coordinator knows, but the ends of
            // their partitions have not been polled yet. Flink inserts the barrier into the
            // channels that are still open; waiting for their ends cuts at the same place.
            Mail::Trigger(barrier) => self.held_trigger = Some(barrier),
            Mail::Split { id: _, event } => self.on_split_event(event, out),
            Mail::NotifyComplete(checkpoint) => self.on_complete(checkpoint, out),
            Mail::NotifyAborted(checkpoint) => self.on_aborted(checkpoint, out),
            Mail::Capture { link, why } => {
                // Keyed state is all that is asked for: it depends on no checkpoint and has no effect.
                let mut captured = Snapshot::default();
                let next = self.snapshots.next();
                self.operator_of(link).snapshot(next, &mut captured);
                let Snapshot { state, nominal, effects: _ } = captured;
                out.push(Output::Captured { link, why, state, nominal });
            }
        }
    }

    pub(super) fn trigger(
        &mut self,
        now: VirtualTime,
        barrier: CheckpointBarrier,
        out: &mut impl Outputs,
    ) {
        if self.phase == Phase::Recovering {
            let reason = FailureReason::CheckpointDeclinedTaskNotReady;
            out.push(Output::Decline { checkpoint: barrier.checkpoint, reason });
            return;
        }
        if self.gates.open_channels() > 0 {
            return self.trigger_loop(now, barrier, out);
        }
        let start_delay = (now + self.ahead()).since(barrier.timestamp);
        self.take_snapshot(now, barrier, None, start_delay, out);
    }

    pub(super) fn take_snapshot(
        &mut self,
        now: VirtualTime,
        barrier: CheckpointBarrier,
        cut: Option<Cut>,
        start_delay: VirtualDuration,
        out: &mut impl Outputs,
    ) {
        let checkpoint = barrier.checkpoint;
        if !self.snapshots.admits(checkpoint) {
            // Aborted before its barrier came, or older than one already taken: those downstream
            // must not wait for it. Flink: `SubtaskCheckpointCoordinatorImpl#checkpointState`.
            self.snapshots.forget(checkpoint);
            self.cancel_downstream(checkpoint, out);
            return;
        }
        let drains = match barrier.options.kind {
            SnapshotKind::SavepointTerminate => true,
            SnapshotKind::SavepointSuspend => self.defects.has(Defect::D86),
            SnapshotKind::Checkpoint | SnapshotKind::FullCheckpoint | SnapshotKind::Savepoint => {
                false
            }
        };
        let drains = drains && !self.has_ended();
        if drains && self.is_calling() {
            self.held = Some(HeldSnapshot { barrier, cut, start_delay });
            return;
        }
        if drains && self.circulates() {
            self.held = Some(HeldSnapshot { barrier, cut, start_delay });
            return self.drain_loop(now, out);
        }
        let mut forwarded = barrier;
        forwarded.options.alignment = barrier.options.alignment.with_unaligned_supported();
        if cut == Some(Cut::Unaligned) {
            forwarded.options.alignment = Alignment::Unaligned;
        }
        let forgets = self.overtakes_savepoint(&barrier);
        if forgets {
            forwarded.options.alignment = Alignment::Unaligned;
        }
        let (unaligned, timeout) = match forwarded.options.alignment {
            Alignment::Unaligned => (true, None),
            Alignment::AlignedWithTimeout(timeout) => (false, Some(timeout)),
            Alignment::Aligned | Alignment::AtLeastOnce | Alignment::ForcedAligned(_) => {
                (false, None)
            }
        };
        let waits_for_inputs =
            cut == Some(Cut::Unaligned) || self.gates.awaits_feedback(checkpoint);
        let waits_for_outputs = match unaligned || timeout.is_some() {
            true => self.overtaken_outputs(forwarded),
            false => 0,
        };
        self.snapshots.begin(checkpoint, waits_for_inputs, waits_for_outputs as u32);
        let sends_first = self.defects.has(Defect::D60) && self.is_source;
        if sends_first {
            self.broadcast(Element::Barrier(forwarded), out);
            self.read(now, out);
        }
        if drains {
            self.finish_operator(out);
        }
        self.emitter.clear();
        self.operator.prepare_snapshot(checkpoint, &mut self.emitter);
        self.flush_emitter(out);
        // B3 before B4 here, in one mail as in Flink: nothing can come between them.
        let (mut behind, mut head) = self.capture(checkpoint);
        let nominal = behind.iter().map(|snapshot| snapshot.nominal).sum::<u64>() + head.nominal;
        out.push(Output::Cut { barrier, cut, nominal, start_delay });
        if self.defects.has(Defect::D61) && self.is_source {
            self.read(now, out);
        }
        if !sends_first {
            self.broadcast(Element::Barrier(forwarded), out);
        }
        if forgets {
            self.snapshots.forget_outputs(checkpoint);
        }
        // Flink: `SubtaskCheckpointCoordinatorImpl#registerAlignmentTimer`.
        if forwarded.unaligned_from().is_some()
            && let Some(due) = forwarded.aligns_until(now, self.ahead())
        {
            self.output_timeouts.push((due, checkpoint));
        }
        for snapshot in behind.iter_mut().chain([&mut head]) {
            self.effects.append(&mut snapshot.effects);
        }
        self.flush_effects(out);
        if self.defects.has(Defect::D57) && self.has_live_state() {
            self.snapshots.await_flush(checkpoint);
            self.late_upload.put(checkpoint);
        } else {
            self.upload(checkpoint, behind, head, out);
        }
        self.snapshots.on_cut(checkpoint, out);
        if barrier.options.kind.is_synchronous() {
            self.stop_with(checkpoint);
        }
    }

    /// What the operators hand out: those behind the head of a chain, the tail first, then the head.
    /// Flink: `RegularOperatorChain#snapshotState`.
    fn capture(&mut self, checkpoint: CheckpointId) -> (Vec<Snapshot>, Snapshot) {
        let chained = self.chained;
        let mut capture = |link| {
            let mut snapshot = Snapshot::default();
            self.operator_of(link).snapshot(checkpoint, &mut snapshot);
            snapshot
        };
        let behind = (1..chained).rev().map(&mut capture).collect();
        (behind, capture(0))
    }

    /// B5: a part for each operator that has a state.
    fn upload(
        &mut self,
        checkpoint: CheckpointId,
        behind: Vec<Snapshot>,
        head: Snapshot,
        out: &mut impl Outputs,
    ) {
        let links = (0..self.chained).rev();
        for (link, Snapshot { state, nominal, .. }) in links.zip(behind.into_iter().chain([head])) {
            let part = (link, PartKind::Operator);
            self.snapshots.upload(checkpoint, part, state, nominal, out);
        }
    }

    /// [`Defect::D50`]: where barriers may overtake, that of a savepoint does so too; it has no room
    /// for what is overtaken.
    fn overtakes_savepoint(&self, barrier: &CheckpointBarrier) -> bool {
        self.defects.has(Defect::D50) && self.unaligned && barrier.options.kind.is_savepoint()
    }

    /// [`Defect::D57`] concerns operators that take more records after the cut. What a sink has
    /// written is a transaction, of which there is no live copy.
    fn has_live_state(&self) -> bool {
        self.phase == Phase::Running && !self.is_source && !self.outputs.is_empty()
    }

    /// [`Defect::D57`]: what is uploaded is the state of now.
    pub(super) fn upload_live(&mut self, checkpoint: CheckpointId, out: &mut impl Outputs) {
        let (behind, head) = self.capture(checkpoint);
        self.upload(checkpoint, behind, head, out);
        self.snapshots.on_flushed(checkpoint, out);
    }

    pub(super) fn flush_effects(&mut self, out: &mut impl Outputs) {
        for effect in self.effects.drain(..) {
            hand_out(effect, &mut self.snapshots, &mut self.commits, out);
        }
    }

    fn on_complete(&mut self, checkpoint: CheckpointId, out: &mut impl Outputs) {
        out.push(Output::NotifiedComplete(checkpoint));
        self.snapshots.on_complete(checkpoint);
        self.operator.notify_complete(checkpoint, &mut self.effects);
        self.flush_effects(out);
        match self.phase {
            Phase::AwaitingFinalCheckpoint(least) if checkpoint >= least => {
                self.phase = Phase::Settling;
            }
            Phase::Stopping if self.stops_with == Some(checkpoint) => {
                self.broadcast(Element::EndOfData, out);
                self.phase = Phase::Settling;
            }
            Phase::Initializing
            | Phase::Recovering
            | Phase::Running
            | Phase::Stopping
            | Phase::AwaitingFinalCheckpoint(_)
            | Phase::Settling
            | Phase::Finished => {}
        }
    }

    pub(super) fn on_committed(&mut self, transaction: TransactionId) {
        self.operator.committed(transaction);
        self.commits.on_committed(transaction);
    }

    pub(super) fn on_commit_failed(
        &mut self,
        now: VirtualTime,
        transaction: TransactionId,
        error: CommitError,
        out: &mut impl Outputs,
    ) {
        match error {
            CommitError::Retriable => match self.commits.on_failed(transaction, now) {
                Next::Retry => {}
                Next::GiveUp => out.push(Output::CommitGivenUp(transaction)),
            },
            // Whoever does not find it takes it for committed before.
            CommitError::Gone if self.defects.has(Defect::D72) => self.on_committed(transaction),
            CommitError::Gone => out.push(Output::CommitLost(transaction)),
        }
    }

    fn on_aborted(&mut self, checkpoint: CheckpointId, out: &mut impl Outputs) {
        out.push(Output::NotifiedAborted(checkpoint));
        self.operator.notify_aborted(checkpoint, &mut self.effects);
        self.flush_effects(out);
        self.drop_snapshot(checkpoint, out);
        self.snapshots.on_aborted(checkpoint);
        // Flink: `StreamTask#notifyCheckpointAborted` throws "Stop-with-savepoint failed".
        let stays = self.phase == Phase::Finished || self.defects.has(Defect::D83);
        if self.stops_with == Some(checkpoint) && !stays {
            out.push(Output::StopFailed(checkpoint));
        }
    }

    /// The barriers of a checkpoint will not all come, or not in time.
    pub(super) fn give_up(
        &mut self,
        checkpoint: CheckpointId,
        reason: FailureReason,
        out: &mut impl Outputs,
    ) {
        self.drop_snapshot(checkpoint, out);
        self.snapshots.on_aborted(checkpoint);
        out.push(Output::Decline { checkpoint, reason });
        self.cancel_downstream(checkpoint, out);
    }

    /// Those downstream must not wait for a barrier that will not come.
    fn cancel_downstream(&mut self, checkpoint: CheckpointId, out: &mut impl Outputs) {
        if !self.defects.has(Defect::D43) {
            self.broadcast(Element::CancelMarker(checkpoint), out);
        }
    }

    fn drop_snapshot(&mut self, checkpoint: CheckpointId, out: &mut impl Outputs) {
        self.snapshots.forget(checkpoint);
        self.held.take_if(|held| held.barrier.checkpoint == checkpoint);
        self.output_timeouts.retain(|(_, waiting)| *waiting != checkpoint);
        for index in 0..self.outputs.len() {
            let input = subpartition::Input::AbortCheckpoint(checkpoint);
            self.drive(OutputChannel(index as u32), input, out);
        }
    }
}

/// Hands out an effect; what a snapshot must wait for, and what may have to be tried again, is kept
/// in mind.
#[inline]
pub(super) fn hand_out(
    effect: Effect,
    snapshots: &mut Snapshots,
    commits: &mut Commits,
    out: &mut impl Outputs,
) {
    match &effect {
        Effect::PreCommit { checkpoint, .. } => snapshots.await_flush(*checkpoint),
        Effect::Commit { .. } | Effect::Apply { .. } => commits.begin(effect.clone()),
        Effect::Begin { .. }
        | Effect::Close { .. }
        | Effect::AbortLeftOvers(_)
        | Effect::Call { .. }
        | Effect::Upsert(_)
        | Effect::Append(_) => {}
    }
    out.push(Output::Effect(effect));
}
