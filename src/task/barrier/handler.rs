//! The two barrier handlers behind one face, and what they work on.

use crate::defect::Defects;
use crate::ids::{CheckpointId, InputChannel};
use crate::message::{CheckpointBarrier, Payload};
use crate::task::barrier::at_least_once::AtLeastOnce;
use crate::task::barrier::capture::Capture;
use crate::task::barrier::exactly_once::ExactlyOnce;
use crate::task::barrier::measurement::Measurement;
use crate::task::barrier::own::BarrierHandler;
use crate::task::barrier::{AbortReason, BarrierMode, Cut, InputConfig, Output};
use crate::task::gate::{ArrivalNumber, Gates};
use crate::time::{ClockOffset, VirtualTime};

/// What a handler works on besides its own state.
pub(super) struct Context<'a, B> {
    pub(super) now: VirtualTime,
    /// What the wall clock shows more than `now`; asked for by [`ahead`](Self::ahead).
    pub(super) clock_offset: ClockOffset,
    /// Something has come of that.
    pub(super) wall_clock_read: &'a mut bool,
    pub(super) gates: &'a mut Gates<B>,
    pub(super) capture: &'a mut Capture,
    pub(super) measurement: &'a mut Measurement,
    pub(super) out: &'a mut Vec<Output<B>>,
    pub(super) defects: Defects,
}

impl<B: Payload> Context<'_, B> {
    /// The first barrier of a checkpoint is here.
    pub(super) fn begin_measuring(&mut self, barrier: &CheckpointBarrier) {
        let clocks = (self.now, self.ahead());
        self.measurement.begin(clocks, barrier, self.out);
    }

    /// What the wall clock shows more than `now`.
    pub(super) fn ahead(&mut self) -> ClockOffset {
        *self.wall_clock_read = true;
        self.clock_offset
    }

    /// [`CheckpointBarrier::aligns_until`].
    pub(super) fn aligns_until(&mut self, barrier: &CheckpointBarrier) -> Option<VirtualTime> {
        barrier.unaligned_from()?; // Else nobody looks at a clock.
        barrier.aligns_until(self.now, self.ahead())
    }

    /// Tells the task to take its snapshot.
    pub(super) fn trigger(&mut self, barrier: CheckpointBarrier, cut: Cut) {
        let (start_delay, alignment) = self.measurement.report(barrier.checkpoint);
        self.out.push(Output::Trigger { barrier, cut, start_delay, alignment });
    }

    /// Tells the task that the checkpoint is given up.
    pub(super) fn abort(&mut self, checkpoint: CheckpointId, reason: AbortReason) {
        self.out.push(Output::Abort { checkpoint, reason });
    }
}

/// The handler of a task's mode. Flink: `CheckpointBarrierHandler`.
#[derive(Clone, Debug)]
pub(super) enum Handler {
    AtLeastOnce(AtLeastOnce),
    ExactlyOnce(ExactlyOnce),
    Own(Box<dyn BarrierHandler>),
}

impl Handler {
    pub(super) fn new(config: &InputConfig, channels: u32) -> Self {
        let after_finish = config.checkpoints_after_finish;
        match config.mode {
            BarrierMode::AtLeastOnce => Self::AtLeastOnce(AtLeastOnce::new(channels, after_finish)),
            BarrierMode::ExactlyOnce { unaligned } => {
                Self::ExactlyOnce(ExactlyOnce::new(channels, unaligned, after_finish))
            }
        }
    }

    #[inline]
    pub(super) fn next_timeout(&self) -> Option<VirtualTime> {
        match self {
            Self::AtLeastOnce(_) => None,
            Self::ExactlyOnce(handler) => handler.next_timeout(),
            Self::Own(handler) => handler.next_timeout(),
        }
    }

    pub(super) fn pending(&self) -> Option<CheckpointId> {
        match self {
            Self::AtLeastOnce(_) | Self::Own(_) => None,
            Self::ExactlyOnce(handler) => handler.pending(),
        }
    }

    /// Whether a checkpoint was triggered, and what goes round is still captured for it.
    pub(super) fn awaits_feedback(&self, checkpoint: CheckpointId) -> bool {
        match self {
            Self::AtLeastOnce(handler) => handler.awaits_feedback(checkpoint),
            Self::ExactlyOnce(handler) => handler.awaits_feedback(checkpoint),
            Self::Own(_) => false,
        }
    }

    /// A checkpoint begins here, behind no barrier.
    pub(super) fn on_trigger<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        barrier: &CheckpointBarrier,
    ) {
        match self {
            Self::AtLeastOnce(handler) => handler.on_trigger(cx, barrier),
            Self::ExactlyOnce(handler) => handler.on_trigger(cx, barrier),
            Self::Own(_) => unreachable!("an own handler is at no head of a loop"),
        }
    }

    pub(super) fn on_barrier<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        channel: InputChannel,
        barrier: &CheckpointBarrier,
    ) {
        match self {
            Self::AtLeastOnce(handler) => handler.on_barrier(cx, channel, barrier),
            Self::ExactlyOnce(handler) => handler.on_barrier(cx, channel, barrier),
            Self::Own(handler) => handler.on_barrier(cx, channel, barrier),
        }
    }

    pub(super) fn on_announcement<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        channel: InputChannel,
        barrier: &CheckpointBarrier,
        number: ArrivalNumber,
    ) {
        match self {
            // Nothing is to be prepared for a barrier that blocks nothing.
            Self::AtLeastOnce(_) | Self::Own(_) => {}
            Self::ExactlyOnce(handler) => handler.on_announcement(cx, channel, barrier, number),
        }
    }

    pub(super) fn on_cancel_marker<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        channel: InputChannel,
        checkpoint: CheckpointId,
    ) {
        match self {
            Self::AtLeastOnce(handler) => handler.on_cancel_marker(cx, channel, checkpoint),
            Self::ExactlyOnce(handler) => handler.on_cancel_marker(cx, checkpoint),
            Self::Own(handler) => handler.on_cancel_marker(cx, channel, checkpoint),
        }
    }

    /// The channel is already closed.
    pub(super) fn on_end_of_partition<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        channel: InputChannel,
    ) {
        match self {
            Self::AtLeastOnce(handler) => handler.on_end_of_partition(cx, channel),
            Self::ExactlyOnce(handler) => handler.on_end_of_partition(cx, channel),
            Self::Own(handler) => handler.on_end_of_partition(cx, channel),
        }
    }

    pub(super) fn on_timeout<B: Payload>(&mut self, cx: &mut Context<'_, B>) {
        match self {
            Self::AtLeastOnce(_) => {}
            Self::ExactlyOnce(handler) => handler.on_timeout(cx),
            Self::Own(handler) => handler.on_timeout(cx),
        }
    }

    /// Asserts the handler's invariants.
    pub(super) fn check(&self) {
        match self {
            Self::AtLeastOnce(handler) => handler.check(),
            Self::ExactlyOnce(handler) => handler.check(),
            // Its invariants are its own.
            Self::Own(_) => {}
        }
    }
}
