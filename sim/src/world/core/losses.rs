//! Control messages that are lost, and who comes to know of it.
//!
//! Flink's processes call each other: most calls are *asks*, and whoever has asked waits for the answer
//! for `pekko.ask.timeout`. It does not learn whether the call was lost or the answer: what it asked for
//! may have been done. Other calls are told and forgotten.
//!
//! Deviation: an answer that is late and not lost is waited for, however long it takes; and the time
//! runs from the message that is lost, be it the answer.

use super::{Core, Due, Parcel, Receipt};
use crate::kernel::queue::Queue;
use crate::observe::Observation;
use crate::world::{Observer, Process, ProcessId, Refusal, Waits};

use cutline::time::VirtualTime;

impl<P: Process, O: Observer> Core<P, O> {
    /// Whether the network loses a control message. A fault strikes when it first does.
    pub(super) fn loses(
        &mut self,
        (from, to): (ProcessId, ProcessId),
        now: VirtualTime,
        queue: &mut Queue<Due>,
    ) -> bool {
        let link = self.link(from, to);
        let Some((fault, chance, until)) = link.losing.filter(|(_, _, until)| now < *until) else {
            return false;
        };
        let mut losses = link.losses.take().unwrap_or_else(|| {
            let [from, to] = [from, to].map(|it| &self.config.process_names[it.index()]);
            Box::new(self.streams.stream("loss", &format!("{from}->{to}")))
        });
        let lost = losses.below(1_000) < u64::from(chance);
        self.link(from, to).losses = Some(losses);
        if !lost {
            return false;
        }
        if !self.faults.have_lost.contains(&fault) {
            self.faults.have_lost.push(fault);
            self.observer.observe(now, &Observation::FaultInjected { fault });
            queue.push(until, Due::Healed(fault));
        }
        // Either may be who waits.
        let timeout = self.config.ask_timeout;
        let until = self.after(from, timeout, now).max(self.after(to, timeout, now));
        let (from, to) = (from.0, to.0);
        self.observer.observe(now, &Observation::MessageLost { from, to, until });
        true
    }

    /// Whether the network loses the answer to a message that has arrived, if it is to be answered by the
    /// world.
    pub(super) fn loses_answer(
        &mut self,
        (from, to): (ProcessId, ProcessId),
        (message, receipt): (&P::Control, Option<Receipt>),
        now: VirtualTime,
        queue: &mut Queue<Due>,
    ) -> bool {
        let answered = receipt.is_some() || P::waits(message) == Waits::ForReceipt;
        answered && self.loses((to, from), now, queue)
    }

    /// Somebody waits for a message that is lost, or for the answer to it.
    pub(super) fn lose(
        &mut self,
        (from, from_life): (ProcessId, u32),
        (to, life): (ProcessId, u32),
        (message, receipt): (P::Control, Option<Receipt>),
        now: VirtualTime,
        queue: &mut Queue<Due>,
    ) {
        if let Some(receipt) = receipt {
            return self.lose_answer_to((from, receipt), now, queue);
        }
        let parcel = match P::waits(&message) {
            Waits::Nobody => return,
            Waits::ForReceipt | Waits::ForMessage => {
                Parcel::Unanswered { to: from, life: from_life, peer: to, message }
            }
            Waits::Receiver => Parcel::Unanswered { to, life, peer: from, message },
        };
        self.wait_for_nothing(parcel, now, queue);
    }

    /// The answer to a call is lost, or there is none.
    pub(super) fn lose_answer_to(
        &mut self,
        (caller, Receipt { life, token, .. }): (ProcessId, Receipt),
        now: VirtualTime,
        queue: &mut Queue<Due>,
    ) {
        let at = self.waits_until(caller, self.config.ask_timeout, now, queue);
        self.answer((caller, life, token), Err(Refusal::TimedOut), at, queue);
    }

    pub(super) fn wait_for_nothing(
        &mut self,
        parcel: Parcel<P::Control>,
        now: VirtualTime,
        queue: &mut Queue<Due>,
    ) {
        let Parcel::Unanswered { to, .. } = parcel else {
            unreachable!("nobody waits for anything else");
        };
        let at = self.waits_until(to, self.config.ask_timeout, now, queue);
        let slot = self.put_parcel(parcel);
        queue.push(at, Due::Mail(slot));
    }
}
