//! A barrier handler of the user's own, in the place of the built-in ones.

use std::fmt;

use crate::ids::{CheckpointId, InputChannel};
use crate::message::{CheckpointBarrier, Payload};
use crate::task::barrier::handler::Context;
use crate::task::barrier::{AbortReason, Cut, Output};
use crate::time::VirtualTime;

/// Decides what a task does about the barriers that it polls. Flink: `CheckpointBarrierHandler`.
///
/// It sees what was polled, in order, and acts through a [`BarrierPort`]; gates, data and the
/// snapshot itself are not its business.
pub trait BarrierHandler: CloneHandler + fmt::Debug + Send {
    /// A barrier was polled on a channel.
    fn on_barrier(
        &mut self,
        port: &mut dyn BarrierPort,
        channel: InputChannel,
        barrier: &CheckpointBarrier,
    );

    /// A cancellation marker was polled on a channel: the sender has given this checkpoint up.
    fn on_cancel_marker(
        &mut self,
        port: &mut dyn BarrierPort,
        channel: InputChannel,
        checkpoint: CheckpointId,
    );

    /// A channel has ended, and is closed already: it will deliver no barrier.
    fn on_end_of_partition(&mut self, port: &mut dyn BarrierPort, channel: InputChannel);

    /// When [`BarrierHandler::on_timeout`] is due; `None` if nothing is.
    fn next_timeout(&self) -> Option<VirtualTime> {
        None
    }

    /// It is due.
    fn on_timeout(&mut self, port: &mut dyn BarrierPort) {
        let _ = port;
    }
}

/// What a handler sees of its task, and what it can have done.
pub trait BarrierPort {
    /// The present.
    fn now(&self) -> VirtualTime;

    /// Number of input channels, closed ones included.
    fn channels(&self) -> u32;

    /// Number of channels that have not ended.
    fn open_channels(&self) -> u32;

    /// Has the sender of a channel that has delivered its barrier wait.
    fn block(&mut self, channel: InputChannel);

    /// Lets it go on.
    fn resume(&mut self, channel: InputChannel);

    /// The first barrier of a checkpoint is here: its alignment is timed from now on.
    fn alignment_begins(&mut self, barrier: &CheckpointBarrier);

    /// The last one is here.
    fn alignment_ends(&mut self);

    /// The task takes its snapshot and sends the barrier on.
    fn trigger(&mut self, barrier: &CheckpointBarrier, cut: Cut);

    /// No further barrier of the checkpoint is awaited.
    fn complete(&mut self, checkpoint: CheckpointId);

    /// The checkpoint is given up here; the task declines it.
    fn abort(&mut self, checkpoint: CheckpointId, reason: AbortReason);
}

impl<B: Payload> BarrierPort for Context<'_, B> {
    fn now(&self) -> VirtualTime {
        self.now
    }

    fn channels(&self) -> u32 {
        self.gates.count()
    }

    fn open_channels(&self) -> u32 {
        self.gates.open()
    }

    fn block(&mut self, channel: InputChannel) {
        self.out.push(Output::Block(channel));
    }

    fn resume(&mut self, channel: InputChannel) {
        self.out.push(Output::Resume(channel));
    }

    fn alignment_begins(&mut self, barrier: &CheckpointBarrier) {
        self.begin_measuring(barrier);
    }

    fn alignment_ends(&mut self) {
        self.measurement.end(self.now, self.out);
    }

    fn trigger(&mut self, barrier: &CheckpointBarrier, cut: Cut) {
        Self::trigger(self, *barrier, cut);
    }

    fn complete(&mut self, checkpoint: CheckpointId) {
        self.out.push(Output::Complete(checkpoint));
    }

    fn abort(&mut self, checkpoint: CheckpointId, reason: AbortReason) {
        self.measurement.reset(self.out);
        Self::abort(self, checkpoint, reason);
    }
}

/// Cloning behind a trait object; every handler that is `Clone` has it.
pub trait CloneHandler {
    /// A copy of this handler.
    fn clone_handler(&self) -> Box<dyn BarrierHandler>;
}

impl<H: BarrierHandler + Clone + 'static> CloneHandler for H {
    fn clone_handler(&self) -> Box<dyn BarrierHandler> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn BarrierHandler> {
    fn clone(&self) -> Self {
        (**self).clone_handler()
    }
}
