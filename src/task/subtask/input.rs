//! The input side of a subtask: elements from the network, the gates, the records.

use super::snapshot::hand_out;
use super::{Back, Frame, Output, Outputs, Phase, Subtask};
use crate::defect::Defect;
use crate::ids::{GateId, InputChannel};
use crate::message::{Element, Payload};
use crate::operator::Record;
use crate::task::barrier::{self, InputHandler};
use crate::time::VirtualTime;

impl Subtask {
    #[inline]
    pub(super) fn work(&mut self, now: VirtualTime, out: &mut impl Outputs) {
        if self.defects.has(Defect::D22) && self.has_priority() {
            self.poll(now, InputHandler::has_priority, out);
        } else if let Some((channel, record)) = self.recovered.pop_front() {
            self.process(channel, &record, out);
            if self.recovered.is_empty() && self.phase == Phase::Recovering {
                self.run(out);
            }
        } else if self.is_source {
            self.read(now, out);
        } else if !self.feedback.is_empty() {
            self.poll_head(now, out);
        } else {
            self.poll(now, |gates, gate| !gates.is_empty(gate), out);
        }
    }

    /// Polls one element from the next gate, in turn, that has what is looked for.
    #[inline]
    pub(super) fn poll(
        &mut self,
        now: VirtualTime,
        has: impl Fn(&InputHandler<Record>, GateId) -> bool,
        out: &mut impl Outputs,
    ) {
        let count = self.credits.len() as u32;
        for _ in 0..count {
            let gate = GateId(self.next_gate);
            self.next_gate = if self.next_gate + 1 == count { 0 } else { self.next_gate + 1 };
            if has(&self.gates, gate) {
                if let Some((channel, record)) = self.gates.poll_plain(gate) {
                    self.process_polled(now, channel, &record, out);
                    return;
                }
                self.poll_gate(now, gate, out);
                return;
            }
        }
    }

    pub(super) fn poll_gate(&mut self, now: VirtualTime, gate: GateId, out: &mut impl Outputs) {
        self.gates.handle(now, barrier::Input::Poll { gate }, &mut self.gate_outputs);
        self.follow_gates(now, out);
    }

    #[inline]
    pub(super) fn read(&mut self, now: VirtualTime, out: &mut impl Outputs) {
        if self.phase != Phase::Running {
            return;
        }
        self.emitter.clear();
        let source = self.operator.as_source().expect("a source reads splits");
        source.emit_due(now, &mut self.emitter);
        let finished = source.is_finished();
        let asks = source.take_request();
        if self.chained > 1 {
            self.pass_on_read(out);
        }
        for index in 0..self.emitter.records().len() {
            let record = self.emitter.records()[index];
            if self.chained == 1 && record.is_data() {
                out.push(Output::Read(record));
            }
            self.emit(record, out);
        }
        if asks {
            out.push(Output::RequestSplit);
        }
        if finished {
            self.end_of_input(out);
        }
    }

    /// What was read goes through the operators behind the source; what comes of it is left to be
    /// emitted.
    fn pass_on_read(&mut self, out: &mut impl Outputs) {
        let read = self.emitter.records().iter().filter(|record| record.is_data());
        read.for_each(|record| out.push(Output::Read(*record)));
        self.pass_on(out);
    }

    /// What the head of a chain has emitted unasked goes through the others.
    pub(super) fn pass_on(&mut self, out: &mut impl Outputs) {
        if let Some(chain) = self.operator.as_chain() {
            chain.take_up(&mut self.emitter);
            self.flush_notes(out);
        }
    }

    #[inline]
    pub(super) fn process(
        &mut self,
        channel: InputChannel,
        record: &Record,
        out: &mut impl Outputs,
    ) {
        out.push(Output::Processed { channel, record: *record });
        if let Some(mark) = record.mark() {
            self.on_mark(channel, mark, out);
            return;
        }
        let input = self.gate_inputs[self.gate_of[channel.index()].index()];
        self.emitter.clear();
        self.operator.process(input, record, &mut self.emitter);
        self.flush_emitter(out);
    }

    /// Processes a record out of a buffer, and frees the buffer.
    #[inline]
    pub(super) fn process_polled(
        &mut self,
        now: VirtualTime,
        channel: InputChannel,
        record: &Record,
        out: &mut impl Outputs,
    ) {
        self.measure(now, channel, record.bytes());
        self.process(channel, record, out);
        self.recycle(channel, out);
    }

    #[inline]
    pub(super) fn recycle(&mut self, channel: InputChannel, out: &mut impl Outputs) {
        let gate = self.gate_of[channel.index()].index();
        self.credits[gate].on_recycled(channel, |channel, credit| {
            out.push(Output::Recycled { channel, credit });
        });
    }

    #[inline]
    pub(super) fn flush_emitter(&mut self, out: &mut impl Outputs) {
        self.flush_notes(out);
        for index in 0..self.emitter.records().len() {
            let record = self.emitter.records()[index];
            self.emit(record, out);
        }
    }

    /// Hands out all that the operators have to say but what they have emitted.
    #[inline]
    fn flush_notes(&mut self, out: &mut impl Outputs) {
        if self.emitter.has_more_than_records() {
            self.hand_out_notes(out);
        }
    }

    #[inline(never)]
    fn hand_out_notes(&mut self, out: &mut impl Outputs) {
        self.report_notes(out);
        for effect in self.emitter.drain_effects() {
            hand_out(effect, &mut self.snapshots, &mut self.commits, out);
        }
    }

    #[inline]
    pub(super) fn on_deliver(
        &mut self,
        now: VirtualTime,
        channel: InputChannel,
        frame: Frame,
        out: &mut impl Outputs,
    ) {
        let Frame { element, priority, backlog } = frame;
        if let Element::Buffer(record) = element {
            if self.defects.has(Defect::D56)
                && let Some(mark) = record.mark()
            {
                self.on_mark(channel, mark, out); // And again when its turn comes.
            }
            let gate = self.gate_of[channel.index()].index();
            self.credits[gate].on_buffer(channel, backlog, |channel, credit| {
                out.push(Output::SendBack { channel, back: Back::Credit(credit) });
            });
        }
        let input = barrier::Input::Deliver { channel, element, priority };
        self.gates.handle(now, input, &mut self.gate_outputs);
        if !self.gate_outputs.is_empty() {
            self.follow_gates(now, out);
        }
    }

    /// Does what the input gates ask for.
    #[inline]
    pub(super) fn follow_gates(&mut self, now: VirtualTime, out: &mut impl Outputs) {
        let mut asked = std::mem::take(&mut self.gate_outputs);
        for output in &asked {
            match *output {
                barrier::Output::Buffer { channel, ref buffer } => {
                    match self.gates.is_feedback(channel) {
                        true => self.on_feedback(now, channel, buffer, out),
                        false => self.process_polled(now, channel, buffer, out),
                    }
                }
                barrier::Output::Barrier { channel, barrier } => {
                    out.push(Output::BarrierReceived { channel, barrier });
                }
                barrier::Output::Announcement { .. } | barrier::Output::CancelMarker { .. } => {}
                barrier::Output::EpochWatermark { channel, flowing } => {
                    self.on_epoch_watermark(now, channel, flowing, out);
                }
                barrier::Output::EndOfData { channel } => self.on_end_of_data(now, channel, out),
                barrier::Output::EndOfPartition { channel } => {
                    self.on_end_of_data(now, channel, out);
                    let gate = self.gate_of[channel.index()].index();
                    self.credits[gate].on_closed(channel, |channel, credit| {
                        out.push(Output::SendBack { channel, back: Back::Credit(credit) });
                    });
                }
                barrier::Output::Block(channel) => out.push(Output::Blocked(channel)),
                barrier::Output::Resume(channel) => {
                    out.push(Output::Resumed(channel));
                    out.push(Output::SendBack { channel, back: Back::Resume });
                }
                barrier::Output::Persist { channel, checkpoint, buffer } => {
                    out.push(Output::PersistedInput { channel, checkpoint, record: buffer });
                    self.snapshots.on_input_persisted(checkpoint, channel, buffer);
                }
                barrier::Output::Trigger { barrier, cut, start_delay, alignment } => {
                    if self.defects.has(Defect::D53) {
                        self.work(now, out); // The snapshot waits in the mailbox meanwhile.
                    }
                    self.take_snapshot(now, barrier, Some(cut), start_delay, out);
                    if let Some(metrics) = alignment {
                        let checkpoint = barrier.checkpoint;
                        out.push(Output::Aligned { checkpoint, metrics });
                    }
                }
                barrier::Output::Measured { checkpoint, alignment: metrics } => {
                    out.push(Output::Aligned { checkpoint, metrics });
                }
                barrier::Output::Abort { checkpoint, reason } => {
                    self.give_up(checkpoint, reason.into(), out);
                }
                barrier::Output::Complete(checkpoint) => {
                    self.snapshots.on_inputs_complete(checkpoint, out);
                }
            }
        }
        asked.clear();
        self.gate_outputs = asked;
        if self.gates.open_forward_channels() == 0
            && let Some(barrier) = self.held_trigger.take()
        {
            self.trigger(now, barrier, out);
        }
    }

    fn on_end_of_data(&mut self, now: VirtualTime, channel: InputChannel, out: &mut impl Outputs) {
        if std::mem::replace(&mut self.ended_inputs[channel.index()], true) {
            return;
        }
        if self.rounds.is_some() {
            self.end_rounds_of(now, channel, out);
        }
        if self.gates.is_feedback(channel) {
            // Of the forward inputs none: the head has come to its end before, or the job stops.
            return;
        }
        self.open_inputs -= 1;
        // Behind the savepoint with which the job stops there is nothing to finish.
        if self.has_ended() || self.stops_with.is_some() {
            return;
        }
        self.end_event_time_of(channel, out);
        if self.open_inputs == 0 {
            if !self.feedback.is_empty() {
                self.drain_loop(now, out);
            } else if self.is_calling() {
                self.ending = true;
            } else {
                self.end_of_input(out);
            }
        }
    }
}
