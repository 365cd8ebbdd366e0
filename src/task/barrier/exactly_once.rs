//! Barriers of one task in exactly-once mode: one checkpoint at a time.
//!
//! Concept: asynchronous barrier snapshotting (Carbone et al., 2015). The first barrier of a newer
//! checkpoint opens it, and aborts the one under way; a barrier or the end of a channel *marks* the
//! channel; when all are marked the checkpoint is complete. What a mark does to the channel and when
//! the task takes its snapshot is decided in `alignment`. In Flink:
//! `SingleCheckpointBarrierHandler`.
//!
//! At the head of a loop the snapshot waits for its forward channels alone: the barriers of feedback
//! channels are its own, which have yet to be sent. The checkpoint is complete when they have come
//! round.
//!
//! Invariants, asserted by `check` after every barrier, marker and end:
//! - without a pending checkpoint no channel is marked or blocked;
//! - a blocked channel is marked: it delivered the barrier of the pending checkpoint.

use std::collections::BTreeMap;

use crate::defect::Defect;
use crate::ids::{CheckpointId, InputChannel};
use crate::message::{Alignment, CheckpointBarrier, Payload};
use crate::task::barrier::alignment::Phase;
use crate::task::barrier::capture::Overtaken;
use crate::task::barrier::handler::Context;
use crate::task::barrier::{AbortReason, Output};
use crate::task::channel_set::ChannelSet;
use crate::task::gate::ArrivalNumber;
use crate::time::VirtualTime;

/// The checkpoint under way.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// The barrier that opened it, polled or announced.
    pub(super) barrier: CheckpointBarrier,
    /// How many channels must be marked: those open when it was opened.
    pub(super) target: u32,
    /// How many of them before the snapshot is taken: all but feedback channels.
    pub(super) target_forward: u32,
    /// Feedback channels that are marked.
    pub(super) arrived_feedback: u32,
    /// When to give up aligning, unless that has happened.
    timeout: Option<VirtualTime>,
}

#[derive(Clone, Debug)]
pub(super) struct ExactlyOnce {
    pub(super) unaligned: bool,
    checkpoints_after_finish: bool,
    /// The newest checkpoint heard of; it is pending, or was completed or aborted.
    newest: Option<CheckpointId>,
    pub(super) pending: Option<Pending>,
    /// The marked channels.
    pub(super) arrived: ChannelSet,
    pub(super) blocked: ChannelSet,
    /// Barriers of the pending checkpoint that were announced and not polled yet.
    pub(super) announced: BTreeMap<InputChannel, ArrivalNumber>,
    pub(super) phase: Phase,
}

impl ExactlyOnce {
    pub(super) fn new(channels: u32, unaligned: bool, checkpoints_after_finish: bool) -> Self {
        Self {
            unaligned,
            checkpoints_after_finish,
            newest: None,
            pending: None,
            arrived: ChannelSet::new(channels),
            blocked: ChannelSet::new(channels),
            announced: BTreeMap::new(),
            phase: Phase::Wait,
        }
    }

    /// The checkpoint under way.
    pub(super) fn pending(&self) -> Option<CheckpointId> {
        self.pending.as_ref().map(|pending| pending.barrier.checkpoint)
    }

    #[inline]
    pub(super) fn next_timeout(&self) -> Option<VirtualTime> {
        self.pending.as_ref()?.timeout
    }

    /// Whether the snapshot was taken, and what goes round is captured for it.
    pub(super) fn awaits_feedback(&self, checkpoint: CheckpointId) -> bool {
        self.phase == Phase::CollectFeedback && self.pending() == Some(checkpoint)
    }

    /// No barrier comes on a forward channel any more; it may have come on a feedback channel.
    pub(super) fn on_trigger<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        barrier: &CheckpointBarrier,
    ) {
        if Some(barrier.checkpoint) <= self.newest {
            return;
        }
        self.open_if_new(cx, barrier);
        cx.begin_measuring(barrier);
        cx.measurement.end(cx.now, cx.out);
        let aligned = self.cut(cx, barrier);
        self.settle(cx, aligned);
    }

    pub(super) fn on_barrier<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        channel: InputChannel,
        barrier: &CheckpointBarrier,
    ) {
        if self.is_late(barrier.checkpoint) {
            // The sender of an aligned barrier waits to be resumed, whatever became of it.
            if barrier.options.alignment != Alignment::Unaligned {
                cx.out.push(Output::Resume(channel));
            }
            return;
        }
        self.open_if_new(cx, barrier);
        self.mark(cx, channel, barrier);
        let aligned = self.align(cx, channel, barrier);
        self.settle(cx, aligned);
    }

    pub(super) fn on_announcement<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        channel: InputChannel,
        barrier: &CheckpointBarrier,
        number: ArrivalNumber,
    ) {
        if self.is_late(barrier.checkpoint) {
            return;
        }
        self.open_if_new(cx, barrier);
        self.note_announcement(cx, channel, number);
    }

    pub(super) fn on_cancel_marker<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        checkpoint: CheckpointId,
    ) {
        if cx.defects.has(Defect::D46) {
            return; // What only counts barriers knows no marker.
        }
        let newer = Some(checkpoint) > self.newest;
        // At the head of a loop the coordinator may have begun it, behind no barrier.
        let begun = self.pending() == Some(checkpoint)
            && (!self.arrived.is_empty() || self.phase == Phase::CollectFeedback);
        if newer || begun {
            self.abort(cx, checkpoint, AbortReason::Cancelled);
        }
    }

    /// The channel is already closed.
    pub(super) fn on_end_of_partition<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        channel: InputChannel,
    ) {
        let Some(barrier) = self.pending.as_ref().map(|pending| pending.barrier) else {
            return;
        };
        if cx.defects.has(Defect::D47) {
            return;
        }
        if !self.checkpoints_after_finish {
            self.abort(cx, barrier.checkpoint, AbortReason::EndOfInput);
            return;
        }
        self.mark(cx, channel, &barrier);
        let aligned = self.align_ended(cx, channel, &barrier);
        self.settle(cx, aligned);
    }

    pub(super) fn on_timeout<B: Payload>(&mut self, cx: &mut Context<'_, B>) {
        let Some(pending) = &mut self.pending else {
            return;
        };
        if pending.timeout.take_if(|due| *due <= cx.now).is_none() {
            return;
        }
        let barrier = pending.barrier;
        if self.phase.is_aligning() && self.give_up_aligning(cx, &barrier).is_err() {
            self.abort(cx, barrier.checkpoint, AbortReason::Overtaken);
        }
    }

    /// Asserts the invariants; takes time in proportion to the channels / 64.
    pub(super) fn check(&self) {
        match &self.pending {
            Some(pending) => {
                assert_eq!(Some(pending.barrier.checkpoint), self.newest);
                assert!(self.arrived.len() < pending.target);
                assert!(pending.arrived_feedback <= self.arrived.len());
            }
            None => {
                assert!(self.arrived.is_empty());
                assert!(self.blocked.is_empty());
            }
        }
        assert!(self.blocked.is_subset(&self.arrived));
        assert!(self.unaligned || self.phase.is_aligning() || self.phase == Phase::CollectFeedback);
    }

    /// Whether everything about this checkpoint is decided.
    fn is_late(&self, checkpoint: CheckpointId) -> bool {
        match self.pending {
            Some(_) => Some(checkpoint) < self.newest,
            None => Some(checkpoint) <= self.newest,
        }
    }

    fn open_if_new<B: Payload>(&mut self, cx: &mut Context<'_, B>, barrier: &CheckpointBarrier) {
        if Some(barrier.checkpoint) <= self.newest {
            return;
        }
        if let Some(pending) = self.pending.as_mut().filter(|_| cx.defects.has(Defect::D46)) {
            pending.barrier = *barrier;
            self.newest = Some(barrier.checkpoint);
            return;
        }
        if let Some(older) = self.pending() {
            self.abort(cx, older, AbortReason::Subsumed);
        }
        self.newest = Some(barrier.checkpoint);
        self.pending = Some(Pending {
            barrier: *barrier,
            target: cx.gates.open(),
            target_forward: cx.gates.open_forward(),
            arrived_feedback: 0,
            timeout: self.unaligned.then(|| cx.aligns_until(barrier)).flatten(),
        });
    }

    /// Adds a channel to those that have delivered their barrier, and times the alignment.
    fn mark<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        channel: InputChannel,
        barrier: &CheckpointBarrier,
    ) {
        if cx.gates.is_feedback(channel)
            && !self.arrived.contains(channel)
            && let Some(pending) = &mut self.pending
        {
            pending.arrived_feedback += 1;
        }
        self.arrived.insert(channel);
        if self.phase == Phase::CollectFeedback {
            return; // The alignment was over when the snapshot was taken.
        }
        if self.arrived.len() == 1 {
            cx.begin_measuring(barrier);
        }
        if self.is_aligned() {
            cx.measurement.end(cx.now, cx.out);
        }
    }

    /// Completes the checkpoint if all channels are marked, or aborts it if it was overtaken.
    fn settle<B: Payload>(&mut self, cx: &mut Context<'_, B>, aligned: Result<(), Overtaken>) {
        let Some(checkpoint) = self.pending() else {
            return;
        };
        match aligned {
            Err(Overtaken) => self.abort(cx, checkpoint, AbortReason::Overtaken),
            Ok(()) if self.all_in() => {
                self.arrived.clear();
                self.pending = None;
                cx.out.push(Output::Complete(checkpoint));
            }
            Ok(()) => {}
        }
    }

    fn abort<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        checkpoint: CheckpointId,
        reason: AbortReason,
    ) {
        self.newest = self.newest.max(Some(checkpoint));
        self.pending = None;
        self.arrived.clear();
        self.stop_aligning(cx, checkpoint);
        cx.measurement.reset(cx.out);
        cx.abort(checkpoint, reason);
    }
}
