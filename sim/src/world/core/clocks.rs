//! What processes know of the time, and what becomes of it when the clocks of their hosts are wrong.
//!
//! In a world in which no clock is to be wrong there is one time for all, and timers are plain events.
//! Elsewhere each host remembers the timers of its process: an event comes when a timer is due by the
//! pace that the clock has then, and another one whenever that changes.

use cutline::time::{ClockOffset, VirtualDuration, VirtualTime};

use super::{Context, Core, Due};
use crate::kernel::queue::Queue;
use crate::observe::Observation;
use crate::world::clock::{Clocks, Felt, Read};
use crate::world::{LaneId, Observer, Process, ProcessId};

impl<P: Process, O: Observer> Context<'_, P, O> {
    /// What the host's relative clock shows: it never goes back, and timers run by it. Flink:
    /// `Clock#relativeTimeNanos`, `System.nanoTime`.
    #[inline]
    pub fn relative_time(&mut self) -> VirtualTime {
        match self.core.clocks {
            None => self.now,
            Some(_) => self.core.relative_time(self.me, self.now, self.queue),
        }
    }

    /// What the host's absolute clock shows, which can be set, and is to be compared with those of other
    /// hosts. Flink: `Clock#absoluteTimeMillis`, `System.currentTimeMillis`.
    #[inline]
    pub fn absolute_time(&mut self) -> VirtualTime {
        self.core.absolute_time(self.me, self.now, self.queue)
    }

    /// How far the absolute clock is ahead of the relative one, for machines that are given one time;
    /// `None`: no clock is ever wrong. Whoever hands it on reads the
    /// [`absolute_time`](Self::absolute_time) when the machine has: only then a fault was felt.
    #[inline]
    pub fn clock_offset(&self) -> Option<ClockOffset> {
        let clocks = self.core.clocks.as_ref()?;
        Some(clocks.of(self.me).ahead())
    }

    /// When the relative clock will show so much, by the pace that it has now.
    pub fn when(&self, relative: VirtualTime) -> VirtualTime {
        self.core.clocks.as_ref().map_or(relative, |clocks| clocks.of(self.me).when(relative))
    }

    /// Sets a timer that rings when the relative clock shows `at`. Otherwise like
    /// [`timer`](Self::timer), which is for what takes its time whatever a clock says.
    pub fn timer_by_clock(&mut self, at: VirtualTime, token: u32) {
        let (process, life) = (self.me, self.life());
        match &mut self.core.clocks {
            None => self.timer(at, token),
            Some(clocks) => {
                let due = clocks.set_timer(process, (life, token), at, self.now);
                self.queue.push(due, Due::ClockTimer { process, life, token });
            }
        }
    }

    /// [`wake_lane`](Self::wake_lane), when the relative clock shows `at`.
    #[inline]
    pub fn wake_lane_by_clock(&mut self, lane: LaneId, at: VirtualTime) {
        let at = self.when(at);
        self.wake_lane(lane, at);
    }

    /// [`alarm_lane`](Self::alarm_lane), when the relative clock shows `at`.
    #[inline]
    pub fn alarm_lane_by_clock(&mut self, lane: LaneId, at: VirtualTime) {
        let at = self.when(at);
        self.alarm_lane(lane, at);
    }
}

impl<P: Process, O: Observer> Core<P, O> {
    #[cold]
    #[inline(never)]
    fn relative_time(
        &mut self,
        process: ProcessId,
        now: VirtualTime,
        queue: &mut Queue<Due>,
    ) -> VirtualTime {
        self.feel(process, Read::Relative, now, queue);
        self.clocks.as_ref().map_or(now, |clocks| clocks.of(process).relative(now))
    }

    /// When a span is over that a client in a process waits for from now on. It is not planned anew when
    /// the pace changes, so it goes by what is known of that.
    pub(super) fn waits_until(
        &mut self,
        process: ProcessId,
        span: VirtualDuration,
        now: VirtualTime,
        queue: &mut Queue<Due>,
    ) -> VirtualTime {
        let at = self.after(process, span, now);
        if at != now + span {
            let felt = self.wrong_clocks().waits(process);
            self.strike_clocks(process, felt, now, queue);
        }
        at
    }

    /// [`waits_until`](Self::waits_until), where it is not known yet who waits.
    pub(super) fn after(
        &self,
        process: ProcessId,
        span: VirtualDuration,
        now: VirtualTime,
    ) -> VirtualTime {
        self.clocks.as_ref().map_or(now + span, |clocks| clocks.after(process, span, now))
    }

    pub(super) fn absolute_time(
        &mut self,
        process: ProcessId,
        now: VirtualTime,
        queue: &mut Queue<Due>,
    ) -> VirtualTime {
        self.feel(process, Read::Absolute, now, queue);
        self.clocks.as_ref().map_or(now, |clocks| clocks.of(process).absolute(now))
    }

    /// A process reads a clock.
    fn feel(&mut self, process: ProcessId, read: Read, now: VirtualTime, queue: &mut Queue<Due>) {
        if let Some(clocks) = &mut self.clocks {
            let felt = clocks.read(process, read, now);
            self.strike_clocks(process, felt, now, queue);
        }
    }

    /// Faults that make a clock wrong have struck when a process has first felt it.
    fn strike_clocks(
        &mut self,
        process: ProcessId,
        felt: Vec<Felt>,
        now: VirtualTime,
        queue: &mut Queue<Due>,
    ) {
        for Felt { fault, until, stepped } in felt {
            self.observer.observe(now, &Observation::FaultInjected { fault });
            let read = Observation::WrongTimeRead { process: process.0, stepped };
            self.observer.observe(now, &read);
            queue.push(until, Due::Healed(fault));
        }
    }

    pub(super) fn drift(
        &mut self,
        process: ProcessId,
        (fault, until): (u32, VirtualTime),
        pace: u32,
        now: VirtualTime,
        queue: &mut Queue<Due>,
    ) {
        queue.push(until, Due::SetRight { process, fault });
        let clocks = self.wrong_clocks();
        let before = clocks.of(process).pace();
        clocks.drift(process, (fault, until), pace, now);
        if pace != before {
            self.on_pace(process, now, queue);
        }
    }

    pub(super) fn step(
        &mut self,
        process: ProcessId,
        (fault, until): (u32, VirtualTime),
        ClockOffset(by): ClockOffset,
        now: VirtualTime,
        queue: &mut Queue<Due>,
    ) {
        self.wrong_clocks().step(process, (fault, until), by, now);
        queue.push(until, Due::SetRight { process, fault });
    }

    pub(super) fn set_right(
        &mut self,
        process: ProcessId,
        fault: u32,
        now: VirtualTime,
        queue: &mut Queue<Due>,
    ) {
        let clocks = self.wrong_clocks();
        let before = clocks.of(process).pace();
        clocks.set_right(process, fault, now);
        if clocks.of(process).pace() != before {
            self.on_pace(process, now, queue);
        }
    }

    /// Whether a timer rings.
    pub(super) fn rings(
        &mut self,
        (process, life, token): (ProcessId, u32, u32),
        now: VirtualTime,
    ) -> bool {
        self.wrong_clocks().rings(process, (life, token), now)
    }

    /// What waits for a clock waits for another instant now that its pace has changed.
    fn on_pace(&mut self, process: ProcessId, now: VirtualTime, queue: &mut Queue<Due>) {
        let clocks = self.wrong_clocks();
        for ((life, token), at) in clocks.plan_anew(process, now) {
            queue.push(at, Due::ClockTimer { process, life, token });
        }
        let pace = clocks.of(process).pace();
        let changed = Observation::PaceChanged { process: process.0, pace };
        self.observer.observe(now, &changed);
        // A lane says anew what it waits for, each time that it is served.
        for index in 0..self.lanes.len() {
            if self.lanes[index].owner == Some(process) {
                self.wake(LaneId(index as u32), now, queue);
            }
        }
    }

    fn wrong_clocks(&mut self) -> &mut Clocks {
        self.clocks.as_mut().expect("there are clocks where the plan has a fault of theirs")
    }
}
