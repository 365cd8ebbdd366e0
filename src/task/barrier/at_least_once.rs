//! Barriers of one task in at-least-once mode: counted, never waited for.
//!
//! Concept: no channel is ever blocked, so several checkpoints may be under way; one is triggered
//! when its last barrier has been read. In Flink: `CheckpointBarrierTracker`.
//!
//! Invariants, asserted by `check`:
//! - pending checkpoints ascend, unless a cancellation put one in front;
//! - none of them has as many channels as it needs: then it would be gone.

use std::collections::VecDeque;

use crate::ids::{CheckpointId, InputChannel};
use crate::message::{CheckpointBarrier, Payload};
use crate::task::barrier::handler::Context;
use crate::task::barrier::{AbortReason, Cut};
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
}

impl AtLeastOnce {
    pub(super) fn new(checkpoints_after_finish: bool) -> Self {
        Self { checkpoints_after_finish, newest: None, pending: VecDeque::new() }
    }

    pub(super) fn on_barrier<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        channel: InputChannel,
        barrier: &CheckpointBarrier,
    ) {
        let checkpoint = barrier.checkpoint;
        let newer = Some(checkpoint) > self.newest;
        if newer && cx.gates.open() == 1 {
            cx.begin_measuring(barrier);
            cx.measurement.end(cx.now, cx.out);
            cx.trigger(*barrier, Cut::AtLeastOnce);
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
        let newer = Some(checkpoint) > self.newest;
        if newer && cx.gates.open() == 1 {
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
        Pending { checkpoint, barrier, arrived, target: cx.gates.open() }
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
        cx.trigger(barrier, Cut::AtLeastOnce);
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
        for pending in self.pending.drain(..) {
            if pending.barrier.is_some() {
                cx.abort(pending.checkpoint, reason);
            }
        }
        cx.measurement.reset(cx.out);
    }
}
