//! How events reach processes, and faults the world.

use std::ops::ControlFlow;

use cutline::ids::ChannelId;
use cutline::time::{VirtualDuration, VirtualTime};

use super::{Context, Core, Due, Parcel, World};
use crate::kernel::queue::Queue;
use crate::kernel::run::Dispatch;
use crate::observe::Observation;
use crate::world::faults::{Applied, PlannedFaultKind};
use crate::world::reorder::Reorder;
use crate::world::{Answer, Event, LaneId, Observer, Process, ProcessId, Refusal};

impl<P: Process, O: Observer> Dispatch for World<P, O> {
    type Event = Due;

    #[inline]
    fn dispatch(&mut self, now: VirtualTime, due: Due, queue: &mut Queue<Due>) -> ControlFlow<()> {
        self.route(now, due, queue);
        let Core { observer, store, ha, external, ended, .. } = &mut self.core;
        observer.settle(now, store, ha, external)?;
        if ended.is_some() && self.is_settled() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

impl<P: Process, O: Observer> World<P, O> {
    /// A job that has ended is over when nothing is under way any more, and everybody knows.
    fn is_settled(&self) -> bool {
        let mut alive = self.processes.iter().zip(&self.core.hosts).filter(|(_, host)| host.alive);
        self.core.parcels.iter().all(Self::is_of_no_account)
            && alive.all(|(process, _)| process.is_settled())
    }

    /// Whether nothing comes of what is under way.
    fn is_of_no_account(parcel: &Parcel<P::Control>) -> bool {
        match parcel {
            Parcel::Empty => true,
            Parcel::Mail { message, .. } => P::is_routine(message),
            Parcel::Answer { routine, .. } => *routine,
            Parcel::Request { .. } | Parcel::Unanswered { .. } => false,
        }
    }

    #[inline]
    fn route(&mut self, now: VirtualTime, due: Due, queue: &mut Queue<Due>) {
        if let Due::Lane(lane) = due {
            self.on_lane(lane, now, queue);
            return;
        }
        if self.core.reorder.is_some() && self.core.hold(due, now, queue) {
            return;
        }
        if let Some(process) = self.core.addressee(due) {
            let host = &mut self.core.hosts[process.index()];
            if host.paused_until > now {
                host.deferred.push(due);
                return;
            }
        }
        match due {
            Due::Lane(_) => unreachable!("lanes were served above"),
            Due::Back(channel) => self.on_back(channel, now, queue),
            Due::Mail(slot) | Due::Answer(slot) => self.on_mail(slot, now, queue),
            Due::Apply(slot) => self.core.apply(slot, now, queue),
            Due::Timer { process, life, token } => {
                if self.core.lives(process, life) {
                    self.deliver(process, Event::Timer(u64::from(token)), now, queue);
                }
            }
            Due::ClockTimer { process, life, token } => {
                if self.core.lives(process, life) && self.core.rings((process, life, token), now) {
                    self.deliver(process, Event::Timer(u64::from(token)), now, queue);
                }
            }
            Due::SetRight { process, fault } => self.core.set_right(process, fault, now, queue),
            Due::Start { process, life } => self.on_start(process, life, now, queue),
            Due::Unpause(process) => self.on_unpause(process, now, queue),
            Due::Lost { process, peer } => {
                if self.core.hosts[process.index()].alive {
                    self.deliver(process, Event::PeerLost { peer }, now, queue);
                }
            }
            Due::Release => {
                let held = self.core.reorder.as_mut().map(Reorder::release);
                held.into_iter().flatten().for_each(|due| queue.push(now, due));
            }
            Due::Fault(index) => self.on_fault(index, now, queue),
            Due::Healed(fault) => {
                self.core.observer.observe(now, &Observation::FaultHealed { fault });
            }
            Due::Expire(place) => self.core.expire(place, now),
            Due::Ask(index) => {
                self.core.outside.ask(index);
                self.core.observer.observe(now, &Observation::ActionAsked { action: index });
                let leader = self.core.leader();
                if self.core.hosts[leader.index()].alive {
                    self.deliver(leader, Event::Asked, now, queue);
                }
            }
        }
    }

    fn deliver(
        &mut self,
        to: ProcessId,
        event: Event<P>,
        now: VirtualTime,
        queue: &mut Queue<Due>,
    ) {
        let mut context = Context { core: &mut self.core, queue, now, me: to };
        self.processes[to.index()].handle(event, &mut context);
    }

    fn on_lane(&mut self, lane: LaneId, now: VirtualTime, queue: &mut Queue<Due>) {
        let state = &mut self.core.lanes[lane.index()];
        if state.wake_at != now && state.alarm_at != now {
            // Left over: the lane was woken earlier, or has ended.
            return;
        }
        let Some(owner) = state.owner else { return };
        if state.alarm_at == now {
            state.alarm_at = VirtualTime::MAX;
        }
        if state.wake_at == now {
            state.wake_at = VirtualTime::MAX;
        }
        let free_at = state.busy_until.max(self.core.hosts[owner.index()].paused_until);
        if free_at > now {
            self.core.wake(lane, free_at, queue);
            return;
        }
        state.ready = false;
        self.deliver(owner, Event::Lane(lane), now, queue);
        self.core.rearm(lane, queue);
    }

    fn on_back(&mut self, channel: ChannelId, now: VirtualTime, queue: &mut Queue<Due>) {
        let state = &mut self.core.channels[channel.index()];
        state.back_scheduled = false;
        let Some(end) = state.from.filter(|_| state.back_wanted) else { return };
        if state.back.front().is_some_and(|(at, _)| *at <= now) {
            self.deliver(end.process, Event::Back { channel }, now, queue);
        }
        self.core.schedule_back(channel, queue);
    }

    fn on_mail(&mut self, slot: u32, now: VirtualTime, queue: &mut Queue<Due>) {
        match self.core.take_parcel(slot) {
            Parcel::Mail { from, from_life, to, life, message, receipt } => {
                let delivered = self.core.lives(to, life);
                let lost = delivered
                    && self.core.lossy
                    && self.core.loses_answer((from, to), (&message, receipt), now, queue);
                let unanswered = (lost && receipt.is_none()).then(|| message.clone());
                if delivered {
                    self.deliver(to, Event::Message { from, message }, now, queue);
                }
                match receipt {
                    Some(receipt) if lost => {
                        self.core.lose_answer_to((from, receipt), now, queue);
                    }
                    Some(receipt) => {
                        self.core.answer_call((from, to), receipt, delivered, now, queue);
                    }
                    None => {}
                }
                if let Some(message) = unanswered {
                    let parcel =
                        Parcel::Unanswered { to: from, life: from_life, peer: to, message };
                    self.core.wait_for_nothing(parcel, now, queue);
                }
            }
            Parcel::Unanswered { to, life, peer, message } => {
                if self.core.lives(to, life) {
                    self.core.observer.observe(now, &Observation::AskTimedOut { process: to.0 });
                    self.deliver(to, Event::Unanswered { peer, message }, now, queue);
                }
            }
            Parcel::Answer { to, life, token, answer, .. } => {
                if self.core.lives(to, life) {
                    if let Ok(Answer::Session(session)) = answer {
                        self.core.hosts[to.index()].session = session;
                    }
                    if answer == Err(Refusal::TimedOut) {
                        let timed_out = Observation::AskTimedOut { process: to.0 };
                        self.core.observer.observe(now, &timed_out);
                    }
                    self.deliver(to, Event::Answered { token, answer }, now, queue);
                }
            }
            Parcel::Request { .. } | Parcel::Empty => unreachable!("parcels are taken once"),
        }
    }

    fn on_start(
        &mut self,
        process: ProcessId,
        life: u32,
        now: VirtualTime,
        queue: &mut Queue<Due>,
    ) {
        let host = &mut self.core.hosts[process.index()];
        if host.life != life {
            return;
        }
        if host.life > 0 {
            self.processes[process.index()] = self.processes[process.index()].reborn();
        }
        host.alive = true;
        self.deliver(process, Event::Started, now, queue);
    }

    fn on_unpause(&mut self, process: ProcessId, now: VirtualTime, queue: &mut Queue<Due>) {
        if self.core.hosts[process.index()].paused_until > now {
            return;
        }
        for due in std::mem::take(&mut self.core.hosts[process.index()].deferred) {
            self.route(now, due, queue);
        }
    }

    fn on_fault(&mut self, index: u32, now: VirtualTime, queue: &mut Queue<Due>) {
        let kind = self.core.faults.plan[index as usize].kind;
        if self.strike((index, kind), now, queue) {
            self.core.observer.observe(now, &Observation::FaultInjected { fault: index });
            queue.push(now + kind.span(), Due::Healed(index));
        }
    }

    fn pause(
        &mut self,
        process: ProcessId,
        span: VirtualDuration,
        now: VirtualTime,
        queue: &mut Queue<Due>,
    ) -> bool {
        let host = &mut self.core.hosts[process.index()];
        host.paused_until = host.paused_until.max(now + span);
        queue.push(host.paused_until, Due::Unpause(process));
        host.alive
    }

    /// Lets a fault act; false if there was nothing to act on, or there is not yet.
    fn strike(
        &mut self,
        (index, kind): (u32, PlannedFaultKind),
        now: VirtualTime,
        queue: &mut Queue<Due>,
    ) -> bool {
        match kind {
            PlannedFaultKind::Command(command) => {
                for index in 0..self.processes.len() {
                    let process = ProcessId(index as u32);
                    if self.core.hosts[index].alive {
                        self.deliver(process, Event::Command(command), now, queue);
                    }
                }
                true
            }
            PlannedFaultKind::Crash(process) => self.core.crash(process, now, queue),
            PlannedFaultKind::Pause(process, span) => self.pause(process, span, now, queue),
            PlannedFaultKind::CrashLeader => self.core.crash(self.core.leader(), now, queue),
            PlannedFaultKind::PauseLeader(span) => self.pause(self.core.leader(), span, now, queue),
            PlannedFaultKind::CutService(service, process, direction, span) => {
                let process = process.unwrap_or(self.core.leader());
                self.core.hosts[process.index()].cut(service).cut(direction, now + span);
                true
            }
            PlannedFaultKind::SlowLink(a, b, factor, span) => {
                for (from, to) in [(a, b), (b, a)] {
                    let link = self.core.link(from, to);
                    link.slow_factor = factor;
                    link.slow_until = now + span;
                }
                true
            }
            PlannedFaultKind::CutLink(a, b, direction, span) => {
                let (there, back) = direction.ways();
                for (from, to, _) in [(a, b, there), (b, a, back)].iter().filter(|it| it.2) {
                    let link = self.core.link(*from, *to);
                    link.cut_until = link.cut_until.max(now + span);
                }
                true
            }
            PlannedFaultKind::RepeatMessages(a, b, by, span) => {
                for (from, to) in [(a, b), (b, a)] {
                    let link = self.core.link(from, to);
                    (link.repeat_by, link.repeat_until) = (by, now + span);
                }
                true
            }
            PlannedFaultKind::LoseMessages(a, b, direction, chance, span) => {
                let (there, back) = direction.ways();
                for (from, to, _) in [(a, b, there), (b, a, back)].iter().filter(|it| it.2) {
                    let losing = &mut self.core.link(*from, *to).losing;
                    // One at a time on a link.
                    if losing.is_none_or(|(_, _, until)| until <= now) {
                        *losing = Some((index, chance, now + span));
                    }
                }
                self.core.lossy = true;
                false // It strikes when it loses something.
            }
            PlannedFaultKind::Reorder(window, changes, span) => {
                if self.core.reorder.as_ref().is_some_and(|it| it.is_active(now)) {
                    return false; // One order at a time.
                }
                let mut stream = self.core.streams.stream("reorder", &now.as_nanos().to_string());
                let reorder = Reorder::new(window, now + span, changes, &mut stream);
                self.core.reorder = Some(reorder);
                true
            }
            PlannedFaultKind::DriftClock(process, pace, span) => {
                let process = process.unwrap_or(self.core.leader());
                self.core.drift(process, (index, now + span), pace, now, queue);
                false // It strikes when somebody reads the clock.
            }
            PlannedFaultKind::StepClock(process, by, span) => {
                let process = process.unwrap_or(self.core.leader());
                self.core.step(process, (index, now + span), by, now, queue);
                false // It strikes when somebody reads the clock.
            }
            PlannedFaultKind::CrashStorageHost(span) => {
                self.core.crash_storage_host(now + span, now)
            }
            PlannedFaultKind::SlowStorage(operation, by, span) => {
                self.core.faults.slow.push((operation, by, now + span));
                true
            }
            PlannedFaultKind::FailStorage(operation, count) => {
                self.core.faults.fail.push((operation, (), count));
                true
            }
            PlannedFaultKind::DisturbStorage(operation, how, count) => {
                self.core.faults.disturb.push((operation, how, count));
                true
            }
            PlannedFaultKind::DamageObject(operation) => self.core.damage(operation, now),
            PlannedFaultKind::SlowExternal(operation, by, span) => {
                self.core.faults.external.slow.push((operation, by, now + span));
                true
            }
            PlannedFaultKind::FailExternal(operation, count) => {
                self.core.faults.external.fail.push((operation, Applied::No, count));
                true
            }
            PlannedFaultKind::AmbiguousExternal(operation, count) => {
                self.core.faults.external.fail.push((operation, Applied::Yes, count));
                true
            }
        }
    }
}

impl<P: Process, O: Observer> Core<P, O> {
    /// The process that would handle an event, if it can be paused. A lane is not served by an
    /// event of its own while its process is paused: it is woken again afterwards.
    fn addressee(&self, due: Due) -> Option<ProcessId> {
        match due {
            Due::Timer { process, .. }
            | Due::ClockTimer { process, .. }
            | Due::Lost { process, .. } => Some(process),
            Due::Ask(_) => Some(self.leader()),
            Due::Mail(slot) | Due::Answer(slot) => match &self.parcels[slot as usize] {
                Parcel::Mail { to, .. }
                | Parcel::Answer { to, .. }
                | Parcel::Unanswered { to, .. } => Some(*to),
                Parcel::Request { .. } | Parcel::Empty => None,
            },
            Due::Back(channel) => self.channels[channel.index()].from.map(|end| end.process),
            Due::Lane(_)
            | Due::Apply(_)
            | Due::SetRight { .. }
            | Due::Start { .. }
            | Due::Unpause(_)
            | Due::Release
            | Due::Fault(_)
            | Due::Healed(_)
            | Due::Expire(_) => None,
        }
    }
}
