//! Loops at a subtask: what comes round goes first, and when nothing comes round any more the loop ends.
//!
//! In Flink: `StreamIterationHead` and `StreamIterationTail`; Flink ML: `HeadOperator`, `TailOperator`.
//!
//! Deviation: Flink gives a loop up when nothing has come round for a while (`maxWaitTimeMillis` of
//! `DataStream#iterate`); here it ends when nothing can come round any more: see [`crate::task::rounds`].

use super::calls::HeldSnapshot;
use super::{Outputs, Phase, Subtask};
use crate::ids::{InputChannel, OutputChannel};
use crate::message::{CheckpointBarrier, Element};
use crate::operator::Record;
use crate::task::barrier::{self, InputHandler};
use crate::task::rounds::Told;
use crate::task::subpartition;
use crate::time::VirtualTime;

impl Subtask {
    /// A head reads what has come round ahead of what comes in, so that a loop does not fill up.
    pub(super) fn poll_head(&mut self, now: VirtualTime, out: &mut impl Outputs) {
        for at in 0..self.feedback.len() {
            let gate = self.feedback[at];
            if !self.gates.is_empty(gate) {
                return self.poll_gate(now, gate, out);
            }
        }
        self.poll(now, |gates: &InputHandler<_>, gate| !gates.is_empty(gate), out);
    }

    /// A record has come round. Behind the savepoint with which the job stops it is not processed: it is
    /// part of the savepoint, and whoever goes on from that will process it.
    pub(super) fn on_feedback(
        &mut self,
        now: VirtualTime,
        channel: InputChannel,
        record: &Record,
        out: &mut impl Outputs,
    ) {
        if let Some(rounds) = &mut self.rounds {
            rounds.receive();
        }
        match self.stops_with {
            None => self.process_polled(now, channel, record, out),
            Some(_) => self.recycle(channel, out),
        }
    }

    /// The forward inputs have ended, and the coordinator begins a checkpoint here.
    pub(super) fn trigger_loop(
        &mut self,
        now: VirtualTime,
        barrier: CheckpointBarrier,
        out: &mut impl Outputs,
    ) {
        self.gates.handle(now, barrier::Input::Trigger(barrier), &mut self.gate_outputs);
        self.follow_gates(now, out);
    }

    /// Whether something may go round the loop that this subtask is the head of.
    pub(super) fn circulates(&self) -> bool {
        self.rounds.as_ref().is_some_and(|rounds| rounds.is_head() && !rounds.is_empty())
    }

    /// Nothing more comes into the loop: it ends when nothing goes round any more.
    pub(super) fn drain_loop(&mut self, now: VirtualTime, out: &mut impl Outputs) {
        let Some(rounds) = &mut self.rounds else { return };
        if rounds.drain() {
            self.send_epoch_watermark(true, out);
        }
        self.follow_rounds(now, out);
    }

    pub(super) fn on_epoch_watermark(
        &mut self,
        now: VirtualTime,
        channel: InputChannel,
        flowing: bool,
        out: &mut impl Outputs,
    ) {
        if let Some(rounds) = &mut self.rounds {
            rounds.on_mark(channel, flowing);
        }
        self.follow_rounds(now, out);
    }

    /// No mark comes on a channel any more.
    pub(super) fn end_rounds_of(
        &mut self,
        now: VirtualTime,
        channel: InputChannel,
        out: &mut impl Outputs,
    ) {
        if let Some(rounds) = &mut self.rounds {
            rounds.on_ended(channel);
        }
        self.follow_rounds(now, out);
    }

    fn follow_rounds(&mut self, now: VirtualTime, out: &mut impl Outputs) {
        while self.phase == Phase::Running
            && let Some(told) = self.rounds.as_mut().and_then(|rounds| rounds.take())
        {
            match told {
                Told::Send { flowing } => self.send_epoch_watermark(flowing, out),
                Told::Empty => self.on_loop_empty(now, out),
            }
        }
    }

    /// What has waited for the loop to be empty goes on: the last snapshot of a drained job, or the end.
    fn on_loop_empty(&mut self, now: VirtualTime, out: &mut impl Outputs) {
        if let Some(HeldSnapshot { barrier, cut, start_delay }) = self.held.take() {
            self.take_snapshot(now, barrier, cut, start_delay, out);
        } else if self.open_inputs == 0 {
            self.end_of_input(out);
        }
        // Else the savepoint that the job was to be drained for was given up: whoever has stopped
        // reading for it fails, and the loop with them. Marks of a second drain could not be told from
        // those of this one.
    }

    fn send_epoch_watermark(&mut self, flowing: bool, out: &mut impl Outputs) {
        for index in 0..self.outputs.len() {
            if self.in_loop[index] {
                let element = Element::EpochWatermark { flowing };
                let input = subpartition::Input::Push { element, priority: false };
                self.drive(OutputChannel(index as u32), input, out);
            }
        }
    }
}
