//! The output side of a subtask: which channel, and what may leave on it.

use super::{Back, Frame, Output, Outputs, Subtask};
use crate::defect::Defect;
use crate::ids::OutputChannel;
use crate::message::{Alignment, CheckpointBarrier, Element, FailureReason};
use crate::operator::Record;
use crate::task::pool::Pool;
use crate::task::subpartition::{self, Subpartition};

impl Subtask {
    #[inline]
    pub(super) fn emit(&mut self, record: Record, out: &mut impl Outputs) {
        if let Some(mark) = record.mark() {
            self.emit_mark(mark, out);
            return;
        }
        let mut router = std::mem::take(&mut self.router);
        router.route(&record, |channel, record| self.send(channel, record, out));
        self.router = router;
    }

    #[inline]
    pub(super) fn send(&mut self, channel: OutputChannel, record: Record, out: &mut impl Outputs) {
        if self.connected[channel.index()]
            && (self.outputs[channel.index()].pass() || self.passes_after_all(channel, out))
        {
            out.push(Output::Passed { channel, record });
            return;
        }
        out.push(Output::Sent { channel, record });
        let element = Element::Buffer(record);
        self.drive(channel, subpartition::Input::Push { element, priority: false }, out);
    }

    /// Whether a record may leave at once on a channel with what has come back meanwhile.
    #[inline]
    fn passes_after_all(&mut self, channel: OutputChannel, out: &mut impl Outputs) -> bool {
        let index = channel.index();
        if !self.outputs[index].is_empty() {
            return false; // Then it is looked for already.
        }
        while let Some(back) = out.take_back(channel) {
            let outputs = &mut self.subpartition_outputs;
            let subpartition = &mut self.outputs[index];
            match back {
                Back::Connect(credit) | Back::Credit(credit) => {
                    subpartition.handle(subpartition::Input::Credit(credit), outputs);
                }
                Back::Resume => subpartition.handle(subpartition::Input::Resume, outputs),
                Back::BufferSize(bytes) => self.on_buffer_size(channel, bytes),
            }
        }
        debug_assert!(self.subpartition_outputs.is_empty(), "nothing is queued");
        self.outputs[index].pass()
    }

    pub(super) fn broadcast(&mut self, element: Element<Record>, out: &mut impl Outputs) {
        for index in 0..self.outputs.len() {
            let channel = OutputChannel(index as u32);
            let (mut element, mut priority) = (element, false);
            if let Element::Barrier(barrier) = &mut element {
                *barrier = self.barrier_on(channel, *barrier);
                priority = barrier.options.alignment == Alignment::Unaligned;
                out.push(Output::BarrierSent { channel, checkpoint: barrier.checkpoint });
            }
            self.drive(channel, subpartition::Input::Push { element, priority }, out);
        }
    }

    /// A barrier as it leaves on a channel. Flink: `RecordWriterOutput#broadcastEvent`.
    fn barrier_on(
        &self,
        channel: OutputChannel,
        mut barrier: CheckpointBarrier,
    ) -> CheckpointBarrier {
        // Only those that overtake at once are looked at.
        let times_out = self.defects.has(Defect::D45) && barrier.unaligned_from().is_some();
        if self.aligned_outputs[channel.index()] && !times_out {
            let alignment = &mut barrier.options.alignment;
            *alignment = alignment.with_unaligned_unsupported();
        }
        barrier
    }

    /// On how many channels this barrier may overtake what is queued, at once or later.
    pub(super) fn overtaken_outputs(&self, barrier: CheckpointBarrier) -> usize {
        let overtakes = |index: &usize| {
            let barrier = self.barrier_on(OutputChannel(*index as u32), barrier);
            barrier.options.alignment == Alignment::Unaligned || barrier.unaligned_from().is_some()
        };
        (0..self.outputs.len()).filter(overtakes).count()
    }

    pub(super) fn on_back(&mut self, channel: OutputChannel, back: Back, out: &mut impl Outputs) {
        match back {
            Back::Connect(credit) => {
                self.connected[channel.index()] = true;
                self.drive(channel, subpartition::Input::Credit(credit), out);
            }
            Back::Credit(credit) => self.drive(channel, subpartition::Input::Credit(credit), out),
            Back::Resume => self.drive(channel, subpartition::Input::Resume, out),
            Back::BufferSize(bytes) => self.on_buffer_size(channel, bytes),
        }
    }

    /// Hands an input to a subpartition, and lets leave what may leave.
    #[inline]
    pub(super) fn drive(
        &mut self,
        channel: OutputChannel,
        input: subpartition::Input<Record>,
        out: &mut impl Outputs,
    ) {
        let index = channel.index();
        let outputs = &mut self.subpartition_outputs;
        let subpartition = &mut self.outputs[index];
        let pool = &mut self.pools[self.pool_of[index] as usize];
        let (were_full, queued) = (full(subpartition, pool), subpartition.queued_buffers());
        subpartition.handle(input, outputs);
        if self.connected[index] {
            while subpartition.is_available() {
                subpartition.handle(subpartition::Input::Poll, outputs);
            }
        }
        let parts = self.parts_of_record[index];
        pool.on_queued(queued * parts, subpartition.queued_buffers() * parts);
        self.full_outputs = self.full_outputs - were_full + full(subpartition, pool);
        let waits = !subpartition.is_empty();
        for output in &self.subpartition_outputs {
            match *output {
                subpartition::Output::Send { element, priority, backlog } => {
                    let frame = Frame { element, priority, backlog };
                    out.push(Output::Transmit { channel, frame });
                }
                subpartition::Output::Persist { checkpoint, buffer: record } => {
                    out.push(Output::PersistedOutput { channel, checkpoint, record });
                    self.snapshots.on_output_persisted(checkpoint, channel, record);
                }
                subpartition::Output::Captured(checkpoint) => {
                    self.snapshots.on_output_captured(checkpoint, out);
                }
                subpartition::Output::CaptureFailed(checkpoint) => {
                    let reason = FailureReason::CheckpointAsyncException;
                    self.snapshots.fail(checkpoint, reason, out);
                }
                subpartition::Output::Available | subpartition::Output::Writable => {}
            }
        }
        self.subpartition_outputs.clear();
        if waits {
            out.push(Output::AwaitBack(channel));
        }
    }
}

/// How many of the two limits of an output channel are reached: its own, and that of its pool.
#[inline]
pub(super) fn full(subpartition: &Subpartition<Record>, pool: &Pool) -> u32 {
    u32::from(subpartition.is_full()) + u32::from(pool.is_full())
}
