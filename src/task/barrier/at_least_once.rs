//! Barriers of one task in at-least-once mode: counted, never waited for.
//!
//! Concept: no channel is ever blocked, so several checkpoints may be under way; one is triggered
//! when its last barrier has been read. In Flink: `CheckpointBarrierTracker`.
//!
//! At the head of a loop the barriers of forward channels are counted, and what comes ahead of those of
//! feedback channels after the snapshot is captured, for one checkpoint at a time. A record behind a
//! barrier that came round early, from another subtask's part of the loop, may be in the snapshot; none
//! ahead of it is missing.
//!
//! Invariants, asserted by `check`:
//! - pending checkpoints ascend, unless a cancellation put one in front;
//! - none of them has as many channels as it needs: then it would be gone;
//! - what is captured for is decided.

use std::collections::VecDeque;

use crate::ids::{CheckpointId, InputChannel};
use crate::message::{CheckpointBarrier, Payload, SnapshotKind};
use crate::task::barrier::handler::Context;
use crate::task::barrier::{AbortReason, Cut, Output};
use crate::task::channel_set::ChannelSet;

/// How many checkpoints are followed at once; the oldest is forgotten beyond that. Flink:
/// `CheckpointBarrierTracker.MAX_CHECKPOINTS_TO_TRACK`.
const PENDING_MAX: usize = 50;

#[derive(Clone, Debug)]
struct Pending {
    checkpoint: CheckpointId,
    /// The first barrier; `None` once the checkpoint is aborted.
    barrier: Option<CheckpointBarrier>,
    arrived: ChannelSet,
    /// How many channels are needed: those open when the first barrier was read.
    target: u32,
}

impl Pending {
    /// Adds a channel, and says whether it was the last one.
    fn add(&mut self, channel: InputChannel) -> bool {
        self.arrived.insert(channel);
        self.arrived.len() == self.target
    }
}

#[derive(Clone, Debug)]
pub(super) struct AtLeastOnce {
    checkpoints_after_finish: bool,
    newest: Option<CheckpointId>,
    pending: VecDeque<Pending>,
    /// The newest barrier that came round, by channel; of forward channels none.
    round: Vec<Option<CheckpointId>>,
    /// The checkpoint for which what goes round is captured.
    capturing: Option<CheckpointId>,
    /// The newest checkpoint that the head of a loop has triggered, or given up because a marker came
    /// round or on its only open forward channel; elsewhere always `None`. A barrier or marker of it or
    /// an older one opens nothing.
    decided: Option<CheckpointId>,
}

impl AtLeastOnce {
    pub(super) fn new(channels: u32, checkpoints_after_finish: bool) -> Self {
        Self {
            checkpoints_after_finish,
            newest: None,
            pending: VecDeque::new(),
            round: vec![None; channels as usize],
            capturing: None,
            decided: None,
        }
    }

    /// Whether the snapshot was taken, and what goes round is captured for it.
    pub(super) fn awaits_feedback(&self, checkpoint: CheckpointId) -> bool {
        self.capturing == Some(checkpoint)
    }

    /// No barrier comes on a forward channel any more.
    pub(super) fn on_trigger<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        barrier: &CheckpointBarrier,
    ) {
        if Some(barrier.checkpoint) > self.newest.max(self.decided) {
            cx.begin_measuring(barrier);
            cx.measurement.end(cx.now, cx.out);
            self.trigger(cx, barrier);
        }
    }

    pub(super) fn on_barrier<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        channel: InputChannel,
        barrier: &CheckpointBarrier,
    ) {
        if cx.gates.is_feedback(channel) {
            return self.on_feedback_barrier(cx, channel, barrier.checkpoint);
        }
        let checkpoint = barrier.checkpoint;
        let newer = Some(checkpoint) > self.newest.max(self.decided);
        if newer && cx.gates.open_forward() == 1 {
            cx.begin_measuring(barrier);
            cx.measurement.end(cx.now, cx.out);
            self.trigger(cx, barrier);
        } else if let Some(place) = self.place_of(checkpoint) {
            if self.pending[place].add(channel) {
                self.complete(cx, place);
            }
        } else if newer {
            cx.begin_measuring(barrier);
            self.newest = Some(checkpoint);
            let opened = Self::opened(cx, channel, checkpoint, Some(*barrier));
            self.pending.push_back(opened);
            if self.pending.len() > PENDING_MAX {
                self.pending.pop_front();
            }
        }
    }

    pub(super) fn on_cancel_marker<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        channel: InputChannel,
        checkpoint: CheckpointId,
    ) {
        if cx.gates.is_feedback(channel) {
            return self.on_feedback_cancelled(cx, checkpoint);
        }
        let newer = Some(checkpoint) > self.newest.max(self.decided);
        if newer && cx.gates.open_forward() == 1 {
            self.decide(cx, checkpoint); // The marker that the head sends on comes round.
            cx.measurement.reset(cx.out);
            cx.abort(checkpoint, AbortReason::Cancelled);
            return;
        }
        self.cancel_older(cx, checkpoint);
        match self.pending.front_mut() {
            Some(front) if front.checkpoint == checkpoint => {
                if front.barrier.take().is_some() {
                    cx.abort(checkpoint, AbortReason::Cancelled);
                }
                if front.add(channel) {
                    self.pending.pop_front();
                }
            }
            Some(_) | None if newer => {
                cx.abort(checkpoint, AbortReason::Cancelled);
                self.newest = Some(checkpoint);
                let opened = Self::opened(cx, channel, checkpoint, None);
                self.pending.push_front(opened);
            }
            Some(_) | None => {}
        }
    }

    /// The channel is already closed.
    pub(super) fn on_end_of_partition<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        channel: InputChannel,
    ) {
        if !self.checkpoints_after_finish {
            self.abort_all(cx, AbortReason::EndOfInput);
            return;
        }
        if cx.gates.is_feedback(channel) {
            return self.come_round(cx);
        }
        // The newest that the end of this channel completes takes all older ones with it, so
        // those are not looked at: if they stay, they wait for their barriers.
        let completed =
            (0..self.pending.len()).rev().find(|&place| self.pending[place].add(channel));
        if let Some(place) = completed {
            self.complete(cx, place);
        }
    }

    /// Asserts the invariants; takes time in proportion to the pending checkpoints.
    pub(super) fn check(&self) {
        assert!(self.pending.len() <= PENDING_MAX);
        for pending in &self.pending {
            assert!(Some(pending.checkpoint) <= self.newest);
            assert_ne!(pending.arrived.len(), pending.target);
        }
        assert!(self.capturing.is_none() || self.capturing <= self.decided);
    }

    fn place_of(&self, checkpoint: CheckpointId) -> Option<usize> {
        self.pending.iter().position(|pending| pending.checkpoint == checkpoint)
    }

    fn opened<B: Payload>(
        cx: &Context<'_, B>,
        channel: InputChannel,
        checkpoint: CheckpointId,
        barrier: Option<CheckpointBarrier>,
    ) -> Pending {
        let mut arrived = ChannelSet::new(cx.gates.count());
        arrived.insert(channel);
        Pending { checkpoint, barrier, arrived, target: cx.gates.open_forward() }
    }

    /// Drops the checkpoint and everything before it; triggers it unless it was aborted.
    fn complete<B: Payload>(&mut self, cx: &mut Context<'_, B>, place: usize) {
        let Some(completed) = self.pending.drain(..=place).next_back() else {
            return;
        };
        let Some(barrier) = completed.barrier else {
            return;
        };
        if Some(completed.checkpoint) == self.newest {
            cx.measurement.end(cx.now, cx.out);
        }
        self.trigger(cx, &barrier);
    }

    /// The task takes its snapshot; at the head of a loop, what goes round is captured from now on.
    fn trigger<B: Payload>(&mut self, cx: &mut Context<'_, B>, barrier: &CheckpointBarrier) {
        let checkpoint = barrier.checkpoint;
        self.decide(cx, checkpoint);
        if self.has_come_round(cx, checkpoint) {
            return cx.trigger(*barrier, Cut::AtLeastOnce);
        }
        // One at a time: a buffer is captured for one checkpoint.
        self.stop_capturing(cx, AbortReason::Subsumed);
        let drained = barrier.options.kind == SnapshotKind::SavepointTerminate;
        if !drained && cx.capture.start_feedback(checkpoint, cx.gates, cx.defects, cx.out).is_err()
        {
            cx.capture.stop(checkpoint);
            return cx.abort(checkpoint, AbortReason::Overtaken);
        }
        cx.trigger(*barrier, Cut::AtLeastOnce);
        self.capturing = Some(checkpoint);
    }

    fn on_feedback_barrier<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        channel: InputChannel,
        checkpoint: CheckpointId,
    ) {
        let newest = &mut self.round[channel.index()];
        *newest = (*newest).max(Some(checkpoint));
        self.come_round(cx);
    }

    /// Keeps in mind at the head of a loop that a checkpoint was triggered or given up: nothing of it
    /// that comes round begins it again.
    fn decide<B: Payload>(&mut self, cx: &Context<'_, B>, checkpoint: CheckpointId) {
        if cx.gates.open_feedback() > 0 {
            self.decided = self.decided.max(Some(checkpoint));
        }
    }

    /// Whether the barriers of a checkpoint have come round on all feedback channels, if there are any.
    fn has_come_round<B: Payload>(&self, cx: &Context<'_, B>, checkpoint: CheckpointId) -> bool {
        let came = |channel: InputChannel| self.round[channel.index()] >= Some(checkpoint);
        cx.gates.open_feedback() == 0 || cx.gates.feedback().all(came)
    }

    /// A barrier has come round on one more channel, or will not.
    fn come_round<B: Payload>(&mut self, cx: &mut Context<'_, B>) {
        let Some(checkpoint) = self.capturing else { return };
        if self.has_come_round(cx, checkpoint) {
            self.capturing = None;
            cx.capture.stop(checkpoint);
            cx.out.push(Output::Complete(checkpoint));
        }
    }

    /// Somebody in the loop has given a checkpoint up: its barrier will not come round everywhere.
    fn on_feedback_cancelled<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        checkpoint: CheckpointId,
    ) {
        if self.awaits_feedback(checkpoint) {
            self.stop_capturing(cx, AbortReason::Cancelled);
            return;
        }
        // Some of its forward barriers may have been read; then it is not begun with the others.
        let waits = |it: &Pending| it.checkpoint == checkpoint && it.barrier.is_some();
        let opened = self.pending.iter().position(waits);
        if opened.and_then(|place| self.pending.remove(place)).is_some() {
            if Some(checkpoint) == self.newest {
                cx.measurement.reset(cx.out);
            }
        } else if Some(checkpoint) <= self.newest.max(self.decided) {
            return;
        }
        self.decide(cx, checkpoint);
        cx.abort(checkpoint, AbortReason::Cancelled);
    }

    fn stop_capturing<B: Payload>(&mut self, cx: &mut Context<'_, B>, reason: AbortReason) {
        if let Some(checkpoint) = self.capturing.take() {
            cx.capture.stop(checkpoint);
            cx.abort(checkpoint, reason);
        }
    }

    fn cancel_older<B: Payload>(&mut self, cx: &mut Context<'_, B>, checkpoint: CheckpointId) {
        let older =
            self.pending.iter().take_while(|pending| pending.checkpoint < checkpoint).count();
        for pending in self.pending.drain(..older) {
            if pending.barrier.is_some() {
                cx.abort(pending.checkpoint, AbortReason::Cancelled);
            }
        }
    }

    fn abort_all<B: Payload>(&mut self, cx: &mut Context<'_, B>, reason: AbortReason) {
        self.stop_capturing(cx, reason);
        for pending in self.pending.drain(..) {
            if pending.barrier.is_some() {
                cx.abort(pending.checkpoint, reason);
            }
        }
        cx.measurement.reset(cx.out);
    }
}
