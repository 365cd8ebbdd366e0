//! Timers, the periodic scheduler and the queue of requests (step T1).

use super::*;
use crate::coordinator::io::Token;
use crate::trigger::decider::{Decision, Request, RequestId};

impl<P> Coordinator<P> {
    pub(super) fn on_start(
        &mut self,
        now: VirtualTime,
        delay: VirtualDuration,
        out: &mut Vec<Output<P>>,
    ) {
        if self.shut_down || !self.policy.is_periodic() {
            return;
        }
        self.on_stop(out);
        self.scheduling = true;
        let due = self.policy.started(now, delay);
        self.set_periodic(Some(due));
    }

    pub(super) fn on_stop(&mut self, out: &mut Vec<Output<P>>) {
        self.scheduling = false;
        self.set_periodic(None);
        self.outlive_triggering();
        self.abort_queued_and_pending(FailureReason::CheckpointCoordinatorSuspend, out);
    }

    /// Fires the one timer that is due first, so that whatever it starts comes before the next.
    pub(super) fn on_timeout(&mut self, now: VirtualTime, out: &mut Vec<Output<P>>) {
        let Some((&key, &timer)) = self.timers.first_key_value() else {
            return;
        };
        let due = key.0;
        if due > now {
            return;
        }
        match timer {
            Timer::Periodic => self.on_periodic(now, due, out),
            Timer::Expiry(id) => {
                self.abort(id, FailureReason::CheckpointExpired, None, out);
            }
        }
    }

    fn on_periodic(&mut self, now: VirtualTime, due: VirtualTime, out: &mut Vec<Output<P>>) {
        let next = self.policy.fired(now, due);
        self.set_periodic(next);
        self.on_trigger(now, None, SnapshotKind::Checkpoint, true, out);
    }

    pub(super) fn on_skip(&mut self, now: VirtualTime, by: VirtualDuration) {
        if let Some((due, _)) = self.periodic {
            self.set_periodic(Some((due - by).max(now)));
        }
    }

    pub(super) fn on_backlog(&mut self, now: VirtualTime, source: OperatorId, on: bool) {
        let due = self.periodic.map(|(due, _)| due);
        if let Some(next) = self.policy.backlog(now, source, on, due) {
            self.set_periodic(Some(next));
        }
    }

    pub(super) fn on_trigger(
        &mut self,
        now: VirtualTime,
        request: Option<RequestId>,
        kind: SnapshotKind,
        periodic: bool,
        out: &mut Vec<Output<P>>,
    ) {
        let request = Request {
            id: request,
            kind,
            // An unaligned checkpoint drains no channel, so a savepoint beside it could wait long; that
            // of a loop would be aborted.
            forced: kind.is_savepoint() && !self.config.unaligned && !self.config.has_loop,
            periodic,
        };
        let situation = self.situation();
        let decision = self.decider.offer(now, request, situation);
        self.act_on(now, decision, out);
    }

    pub(super) fn choose(&mut self, now: VirtualTime, out: &mut Vec<Output<P>>) {
        let decision = self.decider.choose(now, self.situation());
        self.act_on(now, decision, out);
    }

    /// Does what the decider says; a request that cannot start makes room for the next one.
    fn act_on(&mut self, now: VirtualTime, mut decision: Decision, out: &mut Vec<Output<P>>) {
        loop {
            for (request, reason) in decision.dropped {
                fail_request(request.id, reason, out);
            }
            if let Some(delay) = decision.reschedule {
                self.set_periodic(Some(now + delay));
            }
            let Some(request) = decision.run else {
                return;
            };
            match self.start_triggering(request, out) {
                Ok(()) => return,
                Err(reason) => self.fail_before_start(request, reason, out),
            }
            decision = self.decider.choose(now, self.situation());
        }
    }

    pub(super) fn abort_queued_and_pending(
        &mut self,
        reason: FailureReason,
        out: &mut Vec<Output<P>>,
    ) {
        for (request, reason) in self.decider.abort_all(reason) {
            fail_request(request.id, reason, out);
        }
        self.abort_all(reason, out);
    }

    fn situation(&self) -> Situation {
        Situation {
            triggering: self.triggering.is_some(),
            last_completion: self.last_completion,
            pending: self.pending.len(),
            cleaning: self.cleaning,
        }
    }

    /// The decider is to be asked again, but not within this step: what is due now goes first.
    pub(super) fn poll_later(&self, out: &mut Vec<Output<P>>) {
        if !self.shut_down {
            out.push(Output::Poll);
        }
    }

    pub(super) fn set_periodic(&mut self, due: Option<VirtualTime>) {
        if let Some(key) = self.periodic.take() {
            self.timers.remove(&key);
        }
        self.periodic = due.map(|due| self.set_timer(due, Timer::Periodic));
    }

    pub(super) fn set_expiry(&mut self, now: VirtualTime, id: CheckpointId) {
        let due = match self.config.defects.has(Defect::D17) {
            true => VirtualTime::MAX,
            false => now + self.config.timeout,
        };
        let key = self.set_timer(due, Timer::Expiry(id));
        self.expiries.insert(id, key);
    }

    pub(super) fn cancel_expiry(&mut self, id: CheckpointId) {
        if let Some(key) = self.expiries.remove(&id) {
            self.timers.remove(&key);
        }
    }

    fn set_timer(&mut self, due: VirtualTime, timer: Timer) -> TimerKey {
        let key = (due, self.timers_set);
        self.timers_set += 1;
        self.timers.insert(key, timer);
        key
    }

    pub(super) fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }
}

pub(super) fn fail_request<P>(
    request: Option<RequestId>,
    reason: FailureReason,
    out: &mut Vec<Output<P>>,
) {
    if let Some(request) = request {
        out.push(Output::RequestFailed { request, reason });
    }
}
