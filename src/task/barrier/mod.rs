//! The input side of one task: gates, and what the task does about barriers.
//!
//! Concept: elements are delivered into channels at any time and act only when they are polled.
//! A polled element goes to the task; a barrier, marker or end of partition may also block and
//! resume channels and trigger or abort a checkpoint. In Flink: `CheckpointedInputGate` with
//! `SingleCheckpointBarrierHandler` (`exactly_once`, `alignment`) or `CheckpointBarrierTracker`
//! (`at_least_once`).
//!
//! Blocking a channel stops its sender, not its receiver: the sender of an aligned barrier sends
//! nothing more until the channel is resumed. So whatever waits in a channel may be polled.
//!
//! Order of outputs: the polled element first, then what it caused, in the order of cause.

use crate::defect::Defects;
use crate::ids::{CheckpointId, GateId, InputChannel};
use crate::message::{Alignment, CheckpointBarrier, Element, FailureReason, Payload};
use crate::task::gate::{ArrivalNumber, Gates};
use crate::time::{ClockOffset, VirtualDuration, VirtualTime};

pub use crate::task::gate::{ChannelKind, Queued};
pub use measurement::AlignmentMetrics;
pub use own::{BarrierHandler, BarrierPort, CloneHandler};

use capture::Capture;
use handler::{Context, Handler};
use measurement::Measurement;

mod alignment;
mod at_least_once;
mod capture;
mod exactly_once;
mod handler;
mod measurement;
mod own;

/// How a task treats barriers. Flink: `execution.checkpointing.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarrierMode {
    /// Barriers are counted; nothing is blocked.
    AtLeastOnce,
    /// Barriers divide what the snapshot contains from what it does not.
    ExactlyOnce {
        /// May barriers overtake buffers. Flink: `execution.checkpointing.unaligned.enabled`.
        unaligned: bool,
    },
}

/// What the input side of a task must know from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputConfig {
    /// How barriers are treated.
    pub mode: BarrierMode,
    /// May a checkpoint complete although a channel has ended. Flink:
    /// `execution.checkpointing.checkpoints-after-tasks-finish`.
    pub checkpoints_after_finish: bool,
    /// The channels of each gate; they are numbered through, gate after gate, from 0.
    pub gates: Vec<Vec<ChannelKind>>,
    /// The gates of feedback edges: the task is the head of a loop. Barriers of a checkpoint come on
    /// them when it has been taken, and what comes ahead of them is part of it. Without barriers that
    /// overtake buffers.
    pub feedback: Vec<GateId>,
    /// What is planted.
    pub defects: Defects,
}

/// What happens to the input side of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<B> {
    /// An element came out of the network. It waits to be polled; on a channel whose end of
    /// partition was polled it is dropped.
    Deliver {
        /// The channel it was sent on.
        channel: InputChannel,
        /// What was sent.
        element: Element<B>,
        /// Whether it overtakes elements without priority. Unaligned barriers must.
        priority: bool,
    },
    /// The task reads one element, if there is one.
    Poll {
        /// The gate to read from.
        gate: GateId,
    },
    /// The coordinator triggers a checkpoint at a task whose forward channels have all ended, but whose
    /// feedback channels have not: no barrier would come. Flink: `triggerCheckpointAsync` of a task that
    /// has inputs, which puts the barrier into them.
    Trigger(CheckpointBarrier),
    /// Time has passed; nothing happens before [`InputHandler::next_timeout`].
    Timeout,
    /// The wall clock of the host was set: from now on it is so far ahead of the monotonic one, which
    /// `now` is.
    WallClock(ClockOffset),
}

/// What the input side of a task wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output<B> {
    /// A buffer was polled: the task is to process it.
    Buffer {
        /// The channel it waited in.
        channel: InputChannel,
        /// The data.
        buffer: B,
    },
    /// A barrier was polled. What comes of it follows.
    Barrier {
        /// The channel it waited in.
        channel: InputChannel,
        /// The barrier as it was sent.
        barrier: CheckpointBarrier,
    },
    /// The announcement of a barrier was polled.
    Announcement {
        /// The channel in which the barrier waits.
        channel: InputChannel,
        /// The announced barrier.
        barrier: CheckpointBarrier,
    },
    /// A cancellation marker was polled.
    CancelMarker {
        /// The channel it waited in.
        channel: InputChannel,
        /// The cancelled checkpoint.
        checkpoint: CheckpointId,
    },
    /// What tells whether a loop is empty was polled.
    EpochWatermark {
        /// The channel it waited in.
        channel: InputChannel,
        /// Whether something has gone round since the one before it.
        flowing: bool,
    },
    /// The end of a channel's data was polled.
    EndOfData {
        /// The channel.
        channel: InputChannel,
    },
    /// The end of a channel was polled: it is closed.
    EndOfPartition {
        /// The channel.
        channel: InputChannel,
    },
    /// The channel delivered its barrier; its sender has stopped.
    Block(InputChannel),
    /// The sender of the channel may go on. Flink: `CheckpointableInput#resumeConsumption`.
    Resume(InputChannel),
    /// The buffer is part of the snapshot of this checkpoint. Flink:
    /// `ChannelStateWriter#addInputData`.
    Persist {
        /// The channel it was received on.
        channel: InputChannel,
        /// The checkpoint, which is triggered before or right after.
        checkpoint: CheckpointId,
        /// The data, which is also processed later.
        buffer: B,
    },
    /// The task is to take its snapshot and send the barrier on.
    Trigger {
        /// The barrier to send on.
        barrier: CheckpointBarrier,
        /// How the cut came about.
        cut: Cut,
        /// From the trigger at the coordinator to the first barrier here.
        start_delay: VirtualDuration,
        /// What the alignment cost; `None` if it has not ended, then [`Output::Measured`] follows.
        alignment: Option<AlignmentMetrics>,
    },
    /// The alignment of a triggered checkpoint has ended.
    Measured {
        /// The triggered checkpoint.
        checkpoint: CheckpointId,
        /// What its alignment cost.
        alignment: AlignmentMetrics,
    },
    /// The checkpoint is given up here, triggered or not; the task declines it.
    Abort {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Why.
        reason: AbortReason,
    },
    /// All channels have delivered their barrier or have ended: no further buffer is persisted.
    /// Exactly once only, and at the head of a loop. Flink:
    /// `CheckpointBarrierHandler#getAllBarriersReceivedFuture`.
    Complete(CheckpointId),
}

/// How a task's snapshot relates to the barriers. Flink: the three ways in which the barrier
/// handlers call `notifyCheckpoint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Records behind a barrier may be in the snapshot.
    AtLeastOnce,
    /// Exactly the records before the barriers are in the snapshot.
    Aligned,
    /// As aligned, with the overtaken buffers as part of the snapshot.
    Unaligned,
}

/// Why a task gives up a checkpoint. The coordinator hears it as a [`FailureReason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortReason {
    /// A cancellation marker came.
    Cancelled,
    /// A newer barrier came meanwhile.
    Subsumed,
    /// A channel ended, and checkpoints after that are off.
    EndOfInput,
    /// A channel has already received a newer barrier, so that its in-flight data can no longer
    /// be told.
    Overtaken,
}

impl From<AbortReason> for FailureReason {
    /// As the barrier handlers, and for `Overtaken` the input channels, of Flink name them.
    fn from(reason: AbortReason) -> Self {
        match reason {
            AbortReason::Cancelled => Self::CheckpointDeclinedOnCancellationBarrier,
            AbortReason::Subsumed => Self::CheckpointDeclinedSubsumed,
            AbortReason::EndOfInput => Self::CheckpointDeclinedInputEndOfStream,
            AbortReason::Overtaken => Self::CheckpointSubsumed,
        }
    }
}

/// The input side of one task.
#[derive(Clone, Debug)]
pub struct InputHandler<B> {
    gates: Gates<B>,
    capture: Capture,
    measurement: Measurement,
    handler: Handler,
    /// What the wall clock shows more than `now`.
    clock_offset: ClockOffset,
    /// Something has come of that.
    wall_clock_read: bool,
    defects: Defects,
}

impl<B: Payload> InputHandler<B> {
    /// A task that has received nothing yet.
    pub fn new(config: &InputConfig) -> Self {
        let gates = Gates::new(&config.gates, &config.feedback);
        let overtakes = config.mode == BarrierMode::ExactlyOnce { unaligned: true };
        assert!(config.feedback.is_empty() || !overtakes, "barriers in a loop overtake nothing");
        Self {
            handler: Handler::new(config, gates.count()),
            capture: Capture::new(gates.count()),
            measurement: Measurement::default(),
            gates,
            clock_offset: ClockOffset::NONE,
            wall_clock_read: false,
            defects: config.defects,
        }
    }

    /// Whether something has come of the wall clock since this was asked last.
    pub fn has_read_wall_clock(&mut self) -> bool {
        std::mem::take(&mut self.wall_clock_read)
    }

    /// Has a handler of the user's own decide about barriers from now on.
    ///
    /// It counts and blocks; barriers that overtake buffers, or come round a loop, are for the built-in
    /// handlers alone.
    ///
    /// # Panics
    /// If the task is the head of a loop.
    pub fn use_handler(&mut self, handler: Box<dyn BarrierHandler>) {
        assert!(self.gates.feedback().next().is_none(), "an own handler captures no feedback");
        self.handler = Handler::Own(handler);
    }

    /// Takes one input and appends what is to be done about it.
    // A caller knows which input it gives; inlined, nothing of the others is left there.
    #[inline(always)]
    pub fn handle(&mut self, now: VirtualTime, input: Input<B>, out: &mut Vec<Output<B>>) {
        match input {
            // Data first: almost everything is data, and nothing but the buffer must be copied.
            Input::Deliver { channel, element: Element::Buffer(buffer), priority } => {
                assert!(!priority, "data has no priority");
                self.on_buffer(channel, buffer, out);
            }
            Input::Deliver { channel, element, priority } => {
                self.on_event(channel, element, priority)
            }
            Input::Poll { gate } => self.on_poll(now, gate, out),
            Input::Trigger(barrier) => self.on_trigger(now, &barrier, out),
            Input::Timeout => self.on_timeout(now, out),
            Input::WallClock(ahead) => self.clock_offset = ahead,
        }
    }

    /// When [`Input::Timeout`] is due: an alignment turns unaligned.
    #[inline]
    pub fn next_timeout(&self) -> Option<VirtualTime> {
        self.handler.next_timeout()
    }

    /// Whether a poll of this gate would find nothing.
    #[inline]
    pub fn is_empty(&self, gate: GateId) -> bool {
        self.gates.is_empty(gate)
    }

    /// Whether a poll of this gate would find a priority element. Such elements are polled even
    /// while the task cannot emit records.
    #[inline]
    pub fn has_priority(&self, gate: GateId) -> bool {
        self.gates.has_priority(gate)
    }

    /// Whether a poll of some gate would find something.
    #[inline]
    pub fn has_input(&self) -> bool {
        self.gates.has_input()
    }

    /// Number of channels whose end of partition was not polled yet.
    pub fn open_channels(&self) -> u32 {
        self.gates.open()
    }

    /// Those of them that are no feedback channels.
    pub fn open_forward_channels(&self) -> u32 {
        self.gates.open_forward()
    }

    /// Whether what comes in on a channel has gone round a loop.
    #[inline]
    pub fn is_feedback(&self, channel: InputChannel) -> bool {
        self.gates.is_feedback(channel)
    }

    /// Whether a triggered checkpoint waits for its barriers to come round, and for what comes ahead of
    /// them.
    pub fn awaits_feedback(&self, checkpoint: CheckpointId) -> bool {
        self.handler.awaits_feedback(checkpoint)
    }

    /// Whether the end of partition of this channel was polled.
    pub fn is_closed(&self, channel: InputChannel) -> bool {
        self.gates.is_closed(channel)
    }

    /// Number of data buffers that wait in this channel: delivered, not polled.
    pub fn queued_buffers(&self, channel: InputChannel) -> u32 {
        self.gates.buffers(channel)
    }

    /// Everything that waits in this channel, in the order in which it would be polled.
    pub fn queued(&self, channel: InputChannel) -> impl Iterator<Item = &Queued<B>> {
        self.gates.queued(channel)
    }

    /// The checkpoint under way; always `None` in at-least-once mode, where there may be several.
    pub fn pending(&self) -> Option<CheckpointId> {
        self.handler.pending()
    }

    #[inline]
    fn on_buffer(&mut self, channel: InputChannel, buffer: B, out: &mut Vec<Output<B>>) {
        let delivered = self.gates.deliver(channel, Element::Buffer(buffer), false);
        if self.capture.is_active() && delivered.is_some() && self.gates.is_remote(channel) {
            self.persist(channel, buffer, out);
        }
        self.check_channel(channel);
    }

    #[cold]
    fn on_event(&mut self, channel: InputChannel, event: Element<B>, priority: bool) {
        if let Some(number) = self.gates.deliver(channel, event, priority)
            && let Element::Barrier(barrier) = event
        {
            assert!(priority || barrier.options.alignment != Alignment::Unaligned);
            if self.gates.is_remote(channel) {
                self.on_remote_barrier(channel, barrier, number);
            }
        }
        self.check_channel(channel);
    }

    fn on_remote_barrier(
        &mut self,
        channel: InputChannel,
        barrier: CheckpointBarrier,
        number: ArrivalNumber,
    ) {
        self.capture.on_barrier(channel, barrier.checkpoint, Some(number));
        if let Alignment::AlignedWithTimeout(_) = barrier.options.alignment {
            self.gates.announce(channel, barrier, number);
        }
    }

    #[inline]
    fn on_poll(&mut self, now: VirtualTime, gate: GateId, out: &mut Vec<Output<B>>) {
        let Some(channel) = self.gates.next(gate) else {
            return;
        };
        match self.gates.poll_buffer(channel) {
            Some(buffer) => self.on_polled_buffer(channel, buffer, out),
            None => self.on_polled_event(now, channel, out),
        }
        self.check_channel(channel);
    }

    /// [`Input::Poll`] where nothing but [`Output::Buffer`] comes of it, handed over as it is;
    /// `None` if something else is next, which nothing was done about. Almost every poll is of this
    /// kind.
    #[inline]
    pub(crate) fn poll_plain(&mut self, gate: GateId) -> Option<(InputChannel, B)> {
        if self.capture.is_active() {
            return None;
        }
        let channel = self.gates.next(gate)?;
        let buffer = self.gates.poll_buffer(channel)?;
        self.measurement.count(buffer.bytes());
        self.check_channel(channel);
        Some((channel, buffer))
    }

    #[inline]
    fn on_polled_buffer(&mut self, channel: InputChannel, buffer: B, out: &mut Vec<Output<B>>) {
        self.measurement.count(buffer.bytes());
        out.push(Output::Buffer { channel, buffer });
        if self.capture.is_active() && !self.gates.is_remote(channel) {
            self.persist(channel, buffer, out);
        }
    }

    #[cold]
    fn on_polled_event(
        &mut self,
        now: VirtualTime,
        channel: InputChannel,
        out: &mut Vec<Output<B>>,
    ) {
        let arrival = self.gates.poll_event(channel);
        match arrival.queued {
            Queued::Announcement(barrier) => {
                out.push(Output::Announcement { channel, barrier });
                let (handler, mut cx) = self.parts(now, out);
                handler.on_announcement(&mut cx, channel, &barrier, arrival.number);
            }
            Queued::Element(Element::Buffer(_)) => unreachable!("buffers are polled as such"),
            Queued::Element(Element::Barrier(barrier)) => {
                out.push(Output::Barrier { channel, barrier });
                if !self.gates.is_remote(channel) {
                    self.capture.on_barrier(channel, barrier.checkpoint, None);
                }
                let (handler, mut cx) = self.parts(now, out);
                handler.on_barrier(&mut cx, channel, &barrier);
            }
            Queued::Element(Element::CancelMarker(checkpoint)) => {
                out.push(Output::CancelMarker { channel, checkpoint });
                let (handler, mut cx) = self.parts(now, out);
                handler.on_cancel_marker(&mut cx, channel, checkpoint);
            }
            Queued::Element(Element::EpochWatermark { flowing }) => {
                out.push(Output::EpochWatermark { channel, flowing });
            }
            Queued::Element(Element::EndOfData) => out.push(Output::EndOfData { channel }),
            Queued::Element(Element::EndOfPartition) => {
                out.push(Output::EndOfPartition { channel });
                self.gates.close(channel);
                let (handler, mut cx) = self.parts(now, out);
                handler.on_end_of_partition(&mut cx, channel);
            }
        }
        self.check();
    }

    #[cold]
    fn on_trigger(
        &mut self,
        now: VirtualTime,
        barrier: &CheckpointBarrier,
        out: &mut Vec<Output<B>>,
    ) {
        assert_eq!(self.gates.open_forward(), 0, "a barrier comes on a channel that is open");
        let (handler, mut cx) = self.parts(now, out);
        handler.on_trigger(&mut cx, barrier);
        self.check();
    }

    #[cold]
    fn on_timeout(&mut self, now: VirtualTime, out: &mut Vec<Output<B>>) {
        let (handler, mut cx) = self.parts(now, out);
        handler.on_timeout(&mut cx);
        self.check();
    }

    /// A buffer came in while some capture waits for barriers.
    #[cold]
    fn persist(&self, channel: InputChannel, buffer: B, out: &mut Vec<Output<B>>) {
        if let Some(checkpoint) = self.capture.persists(channel) {
            out.push(Output::Persist { channel, checkpoint, buffer });
        }
    }

    fn parts<'a>(
        &'a mut self,
        now: VirtualTime,
        out: &'a mut Vec<Output<B>>,
    ) -> (&'a mut Handler, Context<'a, B>) {
        let cx = Context {
            now,
            clock_offset: self.clock_offset,
            wall_clock_read: &mut self.wall_clock_read,
            gates: &mut self.gates,
            capture: &mut self.capture,
            measurement: &mut self.measurement,
            out,
            defects: self.defects,
        };
        (&mut self.handler, cx)
    }

    /// Asserts the invariants of one channel, in constant time.
    #[inline]
    fn check_channel(&self, channel: InputChannel) {
        if cfg!(debug_assertions) {
            self.gates.check(channel);
        }
    }

    /// Asserts the invariants of the barrier handling; after events only, because it looks at all
    /// channels.
    fn check(&self) {
        if cfg!(debug_assertions) {
            self.handler.check();
        }
    }
}

#[cfg(test)]
mod loop_tests;
#[cfg(test)]
mod tests;
