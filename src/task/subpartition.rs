//! The output side of one channel: what is queued, and what may go on the wire.
//!
//! Concept: elements leave one by one, a buffer only for a credit of the receiver; behind an aligned
//! barrier nothing leaves until the receiver resumes the channel; an unaligned barrier overtakes
//! what is queued, and what it overtakes is part of the snapshot. A barrier with a timeout becomes
//! such a barrier when told so while it is still queued. In Flink: `PipelinedSubpartition` and
//! `CreditBasedSequenceNumberingViewReader`.
//!
//! Invariants, asserted by `check` after every input but a data buffer:
//! - `buffers` counts the queued data buffers;
//! - the barrier of an open capture is queued without priority.

use crate::ids::CheckpointId;
use crate::message::{Alignment, CheckpointBarrier, Element, Payload};
use crate::task::prioritized::PrioritizedDeque;

/// What the sender of a channel must know from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubpartitionConfig {
    /// Buffers the receiver can take before it grants more credit; `None` for a receiver in the
    /// same process, which needs none. Flink: `taskmanager.network.memory.buffers-per-channel`.
    pub credit: Option<u32>,
    /// Queued buffers from which on the task is to stop producing. Flink:
    /// `taskmanager.network.memory.max-buffers-per-channel`.
    pub buffers_max: u32,
}

/// What happens to the sender of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<B> {
    /// The task emits an element. An unaligned barrier must have priority.
    Push {
        /// What is to be sent.
        element: Element<B>,
        /// Whether it overtakes elements without priority.
        priority: bool,
    },
    /// The wire can take one element, if one may leave.
    Poll,
    /// The receiver can take so many buffers more. Flink: `AddCredit`.
    Credit(u32),
    /// The receiver is done with the aligned barrier. Flink: `ResumeConsumption`.
    Resume,
    /// The checkpoint's alignment has lasted too long: its barrier, if still queued, becomes
    /// unaligned. Flink: `PipelinedSubpartition#alignedBarrierTimeout`.
    AlignedBarrierTimeout(CheckpointId),
    /// The checkpoint was aborted: its barrier, if still queued, stays aligned. Flink:
    /// `PipelinedSubpartition#abortCheckpoint`.
    AbortCheckpoint(CheckpointId),
}

/// What the sender of a channel wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output<B> {
    /// The element leaves.
    Send {
        /// What is sent.
        element: Element<B>,
        /// Whether it overtakes at the receiver, too.
        priority: bool,
        /// Buffers that wait behind it; the receiver gives them floating buffers of its own.
        backlog: u32,
    },
    /// Something may leave now, where nothing might before: poll.
    Available,
    /// The queue is below its limit again: the task may go on producing.
    Writable,
    /// The buffer was overtaken and is part of the snapshot of this checkpoint. Flink:
    /// `ChannelStateWriter#addOutputData`.
    Persist {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The data, which is also sent later.
        buffer: B,
    },
    /// What the checkpoint's barrier overtook here has been persisted; perhaps nothing.
    Captured(CheckpointId),
    /// It will not be known what the checkpoint's barrier overtakes here: it was aborted, or the
    /// barrier of a further checkpoint with a timeout came while it was queued.
    CaptureFailed(CheckpointId),
}

/// The sender of one channel.
#[derive(Clone, Debug)]
pub struct Subpartition<B> {
    queue: PrioritizedDeque<Element<B>>,
    /// Data buffers in `queue`.
    buffers: u32,
    buffers_max: u32,
    credit: Option<u32>,
    /// An aligned barrier has left, and the receiver did not resume.
    stopped: bool,
    /// The checkpoint whose queued barrier may still become unaligned.
    capture: Option<CheckpointId>,
}

impl<B: Payload> Subpartition<B> {
    /// A sender with nothing queued.
    pub fn new(config: &SubpartitionConfig) -> Self {
        Self {
            queue: PrioritizedDeque::new(),
            buffers: 0,
            buffers_max: config.buffers_max,
            credit: config.credit,
            stopped: false,
            capture: None,
        }
    }

    /// Takes one input and appends what is to be done about it.
    // A caller knows which input it gives; inlined, nothing of the others is left there.
    #[inline(always)]
    pub fn handle(&mut self, input: Input<B>, out: &mut Vec<Output<B>>) {
        let available = self.is_available();
        match input {
            // Data first: almost everything is data, and nothing but the buffer must be copied.
            Input::Push { element: Element::Buffer(buffer), priority } => {
                assert!(!priority, "data has no priority");
                self.buffers += 1;
                self.queue.push(Element::Buffer(buffer));
            }
            Input::Push { element, priority } => self.on_event(element, priority, out),
            Input::Poll if available => return self.send(out),
            Input::Poll => {}
            Input::Credit(more) => self.credit = self.credit.map(|credit| credit + more),
            Input::Resume => self.stopped = false,
            Input::AlignedBarrierTimeout(checkpoint) => self.on_barrier_timeout(checkpoint, out),
            Input::AbortCheckpoint(checkpoint) => self.on_abort(checkpoint, out),
        }
        if !available && self.is_available() {
            out.push(Output::Available);
        }
    }

    /// Lets one buffer leave without queueing it, if nothing is in its way: what a push and a poll
    /// would do. Says whether it may.
    #[inline]
    pub fn pass(&mut self) -> bool {
        if self.stopped || self.queue.front().is_some() {
            return false;
        }
        match &mut self.credit {
            None => true,
            Some(0) => false,
            Some(credit) => {
                *credit -= 1;
                true
            }
        }
    }

    /// Whether a poll would send something.
    #[inline]
    pub fn is_available(&self) -> bool {
        match self.queue.front() {
            None => false,
            Some(_) if self.stopped => false,
            Some(Element::Buffer(_)) => self.credit != Some(0),
            // Events need no buffer of the receiver.
            Some(
                Element::Barrier(_)
                | Element::CancelMarker(_)
                | Element::EpochWatermark { .. }
                | Element::EndOfData
                | Element::EndOfPartition,
            ) => true,
        }
    }

    /// Whether the task is to stop producing. Nothing is refused: what it has begun it may finish.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.buffers >= self.buffers_max
    }

    /// Number of queued data buffers.
    #[inline]
    pub fn queued_buffers(&self) -> u32 {
        self.buffers
    }

    /// Buffers the receiver can take; `None` if it needs no credit.
    pub fn credit(&self) -> Option<u32> {
        self.credit
    }

    /// Whether an aligned barrier has left and the receiver did not resume the channel.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Lets another number of buffers queue from now on, unless there is no limit.
    pub fn set_buffers_max(&mut self, buffers_max: u32) {
        if self.buffers_max != u32::MAX {
            self.buffers_max = buffers_max;
        }
    }

    /// Whether nothing is queued.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Everything that is queued, in the order in which it would leave.
    pub fn queued(&self) -> impl Iterator<Item = &Element<B>> {
        self.queue.iter()
    }

    #[cold]
    fn on_event(&mut self, event: Element<B>, priority: bool, out: &mut Vec<Output<B>>) {
        match event {
            Element::Barrier(barrier) => self.on_barrier(barrier, priority, out),
            Element::Buffer(_)
            | Element::CancelMarker(_)
            | Element::EpochWatermark { .. }
            | Element::EndOfData
            | Element::EndOfPartition => self.enqueue(event, priority),
        }
        self.check();
    }

    fn on_barrier(&mut self, barrier: CheckpointBarrier, priority: bool, out: &mut Vec<Output<B>>) {
        let unaligned = barrier.options.alignment == Alignment::Unaligned;
        assert_eq!(priority, unaligned, "unaligned barriers overtake, and no others");
        self.enqueue(Element::Barrier(barrier), priority);
        match barrier.options.alignment {
            Alignment::Unaligned => {
                self.persist_before(None, barrier.checkpoint, out);
                out.push(Output::Captured(barrier.checkpoint));
            }
            Alignment::AlignedWithTimeout(_) => {
                let older = self.capture.replace(barrier.checkpoint);
                out.extend(older.map(Output::CaptureFailed));
            }
            Alignment::Aligned | Alignment::AtLeastOnce | Alignment::ForcedAligned(_) => {}
        }
    }

    #[inline]
    fn send(&mut self, out: &mut Vec<Output<B>>) {
        match self.queue.pop_as(Element::buffer) {
            Some(buffer) => self.send_buffer(buffer, out),
            None => self.send_event(out),
        }
    }

    #[inline]
    fn send_buffer(&mut self, buffer: B, out: &mut Vec<Output<B>>) {
        let was_full = self.is_full();
        self.buffers -= 1;
        self.credit = self.credit.map(|credit| credit - 1);
        out.push(Output::Send {
            element: Element::Buffer(buffer),
            priority: false,
            backlog: self.backlog(),
        });
        if was_full && !self.is_full() {
            out.push(Output::Writable);
        }
    }

    #[cold]
    fn send_event(&mut self, out: &mut Vec<Output<B>>) {
        let priority = self.queue.has_priority();
        let element = self.queue.pop().expect("what is available is queued");
        if let Element::Barrier(barrier) = element {
            self.on_barrier_sent(&barrier, out);
        }
        out.push(Output::Send { element, priority, backlog: self.backlog() });
        self.check();
    }

    #[cold]
    fn on_barrier_timeout(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<B>>) {
        if self.capture.take_if(|open| *open == checkpoint).is_none() {
            // The barrier has left already, or the checkpoint was aborted.
            return;
        }
        self.persist_before(Some(checkpoint), checkpoint, out);
        self.bring_forward(checkpoint);
        out.push(Output::Captured(checkpoint));
        self.check();
    }

    #[cold]
    fn on_abort(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<B>>) {
        let aborted = self.capture.take_if(|open| *open == checkpoint);
        out.extend(aborted.map(Output::CaptureFailed));
    }

    fn on_barrier_sent(&mut self, barrier: &CheckpointBarrier, out: &mut Vec<Output<B>>) {
        self.stopped = match barrier.options.alignment {
            Alignment::Aligned | Alignment::AlignedWithTimeout(_) | Alignment::ForcedAligned(_) => {
                true
            }
            Alignment::AtLeastOnce | Alignment::Unaligned => false,
        };
        // It left in its turn, so it has overtaken nothing. An unaligned barrier of the same
        // checkpoint has no capture open any more.
        let sent = self.capture.take_if(|open| *open == barrier.checkpoint);
        out.extend(sent.map(Output::Captured));
    }

    /// Buffers that wait, as the receiver is told: none while nothing may leave anyway.
    fn backlog(&self) -> u32 {
        if self.stopped { 0 } else { self.buffers }
    }

    fn enqueue(&mut self, event: Element<B>, priority: bool) {
        if priority {
            self.queue.push_priority(event);
        } else {
            self.queue.push(event);
        }
    }

    /// Persists the queued buffers that the unaligned barrier of a checkpoint overtakes: those
    /// before its queued form with a timeout, or all.
    fn persist_before(
        &self,
        queued: Option<CheckpointId>,
        checkpoint: CheckpointId,
        out: &mut Vec<Output<B>>,
    ) {
        let overtaken = self
            .queue
            .normal()
            .take_while(|element| queued.is_none_or(|id| !is_timeoutable(element, id)));
        for element in overtaken {
            if let Element::Buffer(buffer) = *element {
                out.push(Output::Persist { checkpoint, buffer });
            }
        }
    }

    /// Turns the queued barrier of the checkpoint into an unaligned one.
    fn bring_forward(&mut self, checkpoint: CheckpointId) {
        let queued = self.queue.take_normal(|element| is_timeoutable(element, checkpoint));
        let Some(Element::Barrier(barrier)) = queued else {
            unreachable!("the barrier of an open capture is queued without priority");
        };
        self.queue.push_priority(Element::Barrier(barrier.as_unaligned()));
    }

    fn check(&self) {
        if cfg!(debug_assertions) {
            let buffers = self.queue.iter().filter(|element| matches!(element, Element::Buffer(_)));
            assert_eq!(buffers.count(), self.buffers as usize);
            if let Some(open) = self.capture {
                assert!(self.queue.normal().any(|element| is_timeoutable(element, open)));
            }
        }
    }
}

/// Whether this is the barrier of the checkpoint in its aligned form with a timeout.
fn is_timeoutable<B>(element: &Element<B>, checkpoint: CheckpointId) -> bool {
    match element {
        Element::Barrier(barrier) => {
            barrier.checkpoint == checkpoint && barrier.unaligned_from().is_some()
        }
        Element::Buffer(_)
        | Element::CancelMarker(_)
        | Element::EpochWatermark { .. }
        | Element::EndOfData
        | Element::EndOfPartition => false,
    }
}

#[cfg(test)]
mod tests;
