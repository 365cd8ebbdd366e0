//! Calls to the outside: what was answered is emitted, and what must wait for answers waits.
//!
//! In Flink the thread of an operator that has no room, or is coming to its end, executes nothing
//! but the mails that bring answers (`MailboxExecutor#yield`): no other record, no barrier, no
//! notification.

use super::{Outputs, Phase, Subtask};
use crate::message::CheckpointBarrier;
use crate::task::barrier::Cut;
use crate::time::{VirtualDuration, VirtualTime};

/// A snapshot that waits until everything that was called for has been emitted, or until nothing goes
/// round a loop any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldSnapshot {
    pub(super) barrier: CheckpointBarrier,
    pub(super) cut: Option<Cut>,
    pub(super) start_delay: VirtualDuration,
}

/// What a subtask whose operator makes calls is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Emit what has been answered.
    Emit,
    /// Nothing, until something is answered.
    Wait,
    /// Whatever there is to do.
    Free,
}

impl Subtask {
    pub(super) fn on_answer(&mut self, call: u64) {
        if let Some(caller) = self.operator.as_caller() {
            caller.on_answer(call);
        }
    }

    #[inline]
    pub(super) fn turn(&mut self) -> Turn {
        match self.is_caller {
            true => self.turn_of_caller(),
            false => Turn::Free,
        }
    }

    fn turn_of_caller(&mut self) -> Turn {
        // Behind the savepoint with which the job stops, nothing is emitted.
        let works = matches!(self.phase, Phase::Recovering | Phase::Running);
        let Some(caller) = self.operator.as_caller().filter(|_| works) else { return Turn::Free };
        if self.full_outputs == 0 && caller.can_emit() {
            return Turn::Emit;
        }
        match self.ending || self.held.is_some() || caller.is_full() {
            true => Turn::Wait,
            false => Turn::Free,
        }
    }

    /// Whether something that was called for has not been emitted yet.
    pub(super) fn is_calling(&mut self) -> bool {
        self.is_caller && self.operator.as_caller().is_some_and(|caller| caller.is_waiting())
    }

    /// Emits what has been answered; behind the last of it comes what has waited for that.
    pub(super) fn emit_answered(&mut self, now: VirtualTime, out: &mut impl Outputs) {
        self.emitter.clear();
        if let Some(caller) = self.operator.as_caller() {
            caller.emit(&mut self.emitter);
        }
        if self.chained > 1 {
            self.pass_on(out);
        }
        self.flush_emitter(out);
        if self.is_calling() {
            return;
        }
        let ending = std::mem::take(&mut self.ending);
        if let Some(HeldSnapshot { barrier, cut, start_delay }) = self.held.take() {
            self.take_snapshot(now, barrier, cut, start_delay, out);
        } else if ending {
            self.end_of_input(out);
        }
    }
}
