//! The clocks of a host, which may run too fast or too slow, or be set.
//!
//! A process sees its host's clocks and nothing else; what it observes is reported with the true time.
//! There are two, as in Java: the *relative* clock (`System.nanoTime`) never goes back, and timers run
//! by it; the *absolute* clock (`System.currentTimeMillis`) runs at the same pace and can be set.
//!
//! A drift makes both run at another rate for a while. When it ends, the pace is right again, and NTP
//! sets the absolute clock to the true time by a step; what the relative clock has gained or lost it
//! keeps, since nobody compares it with another. A step moves the absolute clock alone, and is taken
//! back when it ends. Faults add up: whenever one begins or ends, the absolute clock is set to what those
//! that act then make of it, but never to before the start of the run.

use cutline::time::{ClockOffset, VirtualDuration, VirtualTime};

use super::ProcessId;

/// The pace of a clock that is right, in thousandths.
pub const RIGHT_PACE: u32 = 1_000;

/// The clocks of one host, since they were last touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostClock {
    since: VirtualTime,
    /// What the relative clock showed then.
    shown: VirtualTime,
    /// Thousandths of a second that it goes on in a millisecond.
    pace: u32,
    ahead: ClockOffset,
}

impl Default for HostClock {
    fn default() -> Self {
        let (since, shown) = (VirtualTime::ZERO, VirtualTime::ZERO);
        Self { since, shown, pace: RIGHT_PACE, ahead: ClockOffset::NONE }
    }
}

impl HostClock {
    /// What the relative clock shows at an instant. Flink: `Clock#relativeTimeNanos`.
    pub fn relative(&self, at: VirtualTime) -> VirtualTime {
        let passed = u128::from(at.since(self.since).0) * u128::from(self.pace);
        let passed = u64::try_from(passed / u128::from(RIGHT_PACE)).unwrap_or(u64::MAX);
        VirtualTime(self.shown.0.saturating_add(passed))
    }

    /// How far the absolute clock is ahead of the relative one.
    pub fn ahead(&self) -> ClockOffset {
        self.ahead
    }

    /// What the absolute clock shows at an instant. Flink: `Clock#absoluteTimeMillis`.
    pub fn absolute(&self, at: VirtualTime) -> VirtualTime {
        self.relative(at) + self.ahead
    }

    /// The first instant, if nobody touches it before, at which the relative clock shows at least so
    /// much; one that has passed, if it does already.
    pub fn when(&self, relative: VirtualTime) -> VirtualTime {
        let left = u128::from(relative.since(self.shown).0) * u128::from(RIGHT_PACE);
        let left = left.div_ceil(u128::from(self.pace));
        VirtualTime(self.since.0.saturating_add(u64::try_from(left).unwrap_or(u64::MAX)))
    }

    /// How many thousandths of a second it goes on in a millisecond.
    pub fn pace(&self) -> u32 {
        self.pace
    }

    /// Lets both clocks go on at another pace.
    pub fn set_pace(&mut self, now: VirtualTime, pace: u32) {
        assert!(pace > 0, "the table of fields has a least pace");
        if pace != self.pace {
            (self.shown, self.since) = (self.relative(now), now);
            self.pace = pace;
        }
    }

    /// Sets the absolute clock so far ahead of the relative one, or to the start of the run.
    fn set_ahead(&mut self, now: VirtualTime, ahead: i128) {
        let ahead = ahead.max(-i128::from(self.relative(now).0));
        self.ahead = ClockOffset(i64::try_from(ahead).unwrap_or(i64::MAX));
    }
}

/// A timer that is due when the relative clock of a host shows `at`.
#[derive(Clone, Copy, Debug)]
struct Timer {
    life: u32,
    token: u32,
    at: VirtualTime,
    /// The instant at which that is so by the pace that the clock has: an event that comes earlier is of
    /// another plan.
    planned: VirtualTime,
}

/// What makes a clock wrong.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// It runs at another pace. With what it would be like if that had not begun.
    Pace { pace: u32, without: HostClock },
    /// The absolute clock is so far ahead; it was moved by so much when that began.
    Step { by: i64, moved: i64 },
}

/// A fault that acts on the clocks of a host.
#[derive(Clone, Copy, Debug)]
struct Acting {
    fault: u32,
    until: VirtualTime,
    trouble: Trouble,
    /// A process has read a clock that it makes wrong.
    was_read: bool,
}

/// One host.
#[derive(Clone, Debug, Default)]
struct Host {
    clock: HostClock,
    /// How far the relative clock was behind the true time when it last ran at the right pace: the
    /// absolute clock is not.
    behind: i128,
    acting: Vec<Acting>,
    timers: Vec<Timer>,
    /// Some fault that acts was not read yet: cheap to ask with every reading.
    unread: bool,
}

/// The clocks of all hosts, in a world in which some clock is to be wrong at some time.
#[derive(Clone, Debug)]
pub(super) struct Clocks {
    hosts: Vec<Host>,
}

/// Which clock was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Relative,
    Absolute,
}

impl Clocks {
    pub(super) fn new(hosts: usize) -> Self {
        Self { hosts: vec![Host::default(); hosts] }
    }

    #[inline]
    pub(super) fn of(&self, process: ProcessId) -> &HostClock {
        &self.hosts[process.index()].clock
    }

    /// A fault begins to act.
    pub(super) fn drift(
        &mut self,
        process: ProcessId,
        (fault, until): (u32, VirtualTime),
        pace: u32,
        now: VirtualTime,
    ) {
        let host = &mut self.hosts[process.index()];
        let trouble = Trouble::Pace { pace, without: host.clock };
        host.clock.set_pace(now, pace);
        host.act(Acting { fault, until, trouble, was_read: false });
    }

    /// A fault sets an absolute clock.
    pub(super) fn step(
        &mut self,
        process: ProcessId,
        (fault, until): (u32, VirtualTime),
        by: i64,
        now: VirtualTime,
    ) {
        let host = &mut self.hosts[process.index()];
        let before = host.clock.ahead;
        host.act(Acting {
            fault,
            until,
            trouble: Trouble::Step { by, moved: by },
            was_read: false,
        });
        host.set_absolute(now);
        // Back to the start of the run at most.
        let moved = host.clock.ahead.0.saturating_sub(before.0);
        let acting = host.acting.last_mut().expect("it has just begun");
        acting.trouble = Trouble::Step { by, moved };
    }

    /// A fault ends: NTP sets the clock right, as far as no other fault keeps it wrong.
    pub(super) fn set_right(&mut self, process: ProcessId, fault: u32, now: VirtualTime) {
        let host = &mut self.hosts[process.index()];
        let place = host.acting.iter().position(|it| it.fault == fault);
        host.acting.remove(place.expect("it acts until it ends"));
        let pace = host.drift_at(now).map_or(RIGHT_PACE, |(pace, _)| pace);
        host.clock.set_pace(now, pace);
        host.set_absolute(now);
        host.unread = host.acting.iter().any(|it| !it.was_read);
        assert!(
            !host.acting.is_empty() || host.clock.absolute(now) == now,
            "a clock is right when no fault acts on it"
        );
    }

    /// The faults that are felt for the first time, now that a process has read a clock: those without
    /// which it would show something else.
    pub(super) fn read(&mut self, process: ProcessId, read: Read, now: VirtualTime) -> Vec<Felt> {
        let host = &mut self.hosts[process.index()];
        if !host.unread {
            return Vec::new();
        }
        let shown = host.clock.relative(now);
        host.feel(|trouble| match trouble {
            Trouble::Pace { pace: _, without } => without.relative(now) != shown,
            Trouble::Step { by: _, moved } => moved != 0 && read == Read::Absolute,
        })
    }

    /// When a span is over by the clock of a host. Drifts that act end when they are to; of those that
    /// begin meanwhile nobody knows.
    pub(super) fn after(
        &self,
        process: ProcessId,
        span: VirtualDuration,
        now: VirtualTime,
    ) -> VirtualTime {
        let host = &self.hosts[process.index()];
        let (mut clock, mut at) = (host.clock, now);
        let due = clock.relative(now) + span;
        while let Some((pace, until)) = host.drift_at(at) {
            clock.set_pace(at, pace);
            if clock.relative(until) >= due {
                return clock.when(due).max(now);
            }
            at = until;
        }
        clock.set_pace(at, RIGHT_PACE);
        clock.when(due).max(now)
    }

    /// The drifts that are felt for the first time, now that a process waits longer or shorter.
    pub(super) fn waits(&mut self, process: ProcessId) -> Vec<Felt> {
        self.hosts[process.index()].feel(|trouble| match trouble {
            Trouble::Pace { .. } => true,
            Trouble::Step { .. } => false,
        })
    }

    /// Remembers a timer. Gives the instant at which it is due if the clock goes on as it does.
    pub(super) fn set_timer(
        &mut self,
        process: ProcessId,
        (life, token): (u32, u32),
        at: VirtualTime,
        now: VirtualTime,
    ) -> VirtualTime {
        let host = &mut self.hosts[process.index()];
        let planned = host.clock.when(at).max(now);
        host.timers.push(Timer { life, token, at, planned });
        planned
    }

    /// Whether a timer rings now. The pace may have been changed since it was set: then it comes more
    /// than once, and rings as it was planned last.
    pub(super) fn rings(
        &mut self,
        process: ProcessId,
        (life, token): (u32, u32),
        now: VirtualTime,
    ) -> bool {
        let host = &mut self.hosts[process.index()];
        let is_due = |it: &Timer| (it.life, it.token) == (life, token) && it.planned <= now;
        let Some(place) = host.timers.iter().position(is_due) else { return false };
        let timer = host.timers.swap_remove(place);
        assert!(host.clock.relative(now) >= timer.at, "it is planned anew with every pace");
        true
    }

    /// Plans all timers of a host anew now that its pace was changed. Gives when they are due.
    pub(super) fn plan_anew(
        &mut self,
        process: ProcessId,
        now: VirtualTime,
    ) -> impl Iterator<Item = ((u32, u32), VirtualTime)> + '_ {
        let host = &mut self.hosts[process.index()];
        for timer in &mut host.timers {
            timer.planned = host.clock.when(timer.at).max(now);
        }
        host.timers.iter().map(|it| ((it.life, it.token), it.planned))
    }

    /// A process has died, and its timers with it.
    pub(super) fn forget_timers(&mut self, process: ProcessId) {
        self.hosts[process.index()].timers.clear();
    }
}

/// A fault that a process has felt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Felt {
    pub(super) fault: u32,
    /// When it ends.
    pub(super) until: VirtualTime,
    /// It has set the clock; else it has changed its pace.
    pub(super) stepped: bool,
}

impl Host {
    fn act(&mut self, acting: Acting) {
        self.acting.push(acting);
        self.unread = true;
    }

    /// The pace at an instant that has not passed, and until when, as far as is known; `None`: the right
    /// one. The drift that has begun last counts.
    fn drift_at(&self, at: VirtualTime) -> Option<(u32, VirtualTime)> {
        let acting = self.acting.iter().rev().filter(|it| it.until > at);
        let mut drifts = acting.filter_map(|it| match it.trouble {
            Trouble::Pace { pace, .. } => Some((pace, it.until)),
            Trouble::Step { .. } => None,
        });
        drifts.next()
    }

    /// Sets the absolute clock to what the faults that act now make of it.
    fn set_absolute(&mut self, now: VirtualTime) {
        if self.drift_at(now).is_none() {
            self.behind = i128::from(now.0) - i128::from(self.clock.relative(now).0);
        }
        let steps = self.acting.iter().map(|it| match it.trouble {
            Trouble::Step { by, .. } => i128::from(by),
            Trouble::Pace { .. } => 0,
        });
        self.clock.set_ahead(now, self.behind + steps.sum::<i128>());
    }

    /// Those that nobody had felt, and that now are.
    fn feel(&mut self, is_felt: impl Fn(Trouble) -> bool) -> Vec<Felt> {
        let mut felt = Vec::new();
        for acting in self.acting.iter_mut().filter(|it| !it.was_read) {
            if is_felt(acting.trouble) {
                acting.was_read = true;
                let stepped = match acting.trouble {
                    Trouble::Step { .. } => true,
                    Trouble::Pace { .. } => false,
                };
                felt.push(Felt { fault: acting.fault, until: acting.until, stepped });
            }
        }
        self.unread = self.acting.iter().any(|it| !it.was_read);
        felt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: ProcessId = ProcessId(0);

    fn ms(ms: u64) -> VirtualTime {
        VirtualTime::from_millis(ms)
    }

    #[test]
    fn a_clock_that_nobody_touches_shows_the_true_time() {
        let clock = HostClock::default();
        for at in [ms(0), ms(7), VirtualTime(u64::MAX / 2_000)] {
            assert_eq!((clock.relative(at), clock.absolute(at), clock.when(at)), (at, at, at));
        }
    }

    #[test]
    fn a_drift_is_gained_for_good_by_the_relative_clock_and_taken_back_from_the_other() {
        for (name, pace, shown) in [("fast", 1_500, 2_500), ("slow", 400, 1_400)] {
            let mut clocks = Clocks::new(1);
            clocks.drift(HOST, (0, ms(2_000)), pace, ms(1_000));
            assert_eq!(clocks.of(HOST).absolute(ms(1_000)), ms(1_000), "{name}");
            assert_eq!(clocks.of(HOST).relative(ms(2_000)), ms(shown), "{name}");
            assert_eq!(clocks.of(HOST).absolute(ms(2_000)), ms(shown), "{name}");
            clocks.set_right(HOST, 0, ms(2_000));
            assert_eq!(clocks.of(HOST).relative(ms(3_000)), ms(shown + 1_000), "{name}");
            assert_eq!(clocks.of(HOST).absolute(ms(3_000)), ms(3_000), "{name}");
        }
    }

    #[test]
    fn a_step_leaves_the_relative_clock_alone_and_does_not_go_behind_the_start() {
        let second = 1_000_000_000;
        for (by, shown) in [(3 * second, 5_000), (-second, 1_000), (-5 * second, 0)] {
            let mut clocks = Clocks::new(1);
            clocks.step(HOST, (0, ms(4_000)), by, ms(2_000));
            assert_eq!(clocks.of(HOST).absolute(ms(2_000)), ms(shown), "{by}");
            assert_eq!(clocks.of(HOST).relative(ms(2_000)), ms(2_000), "{by}");
            clocks.set_right(HOST, 0, ms(4_000));
            assert_eq!(clocks.of(HOST).ahead(), ClockOffset::NONE, "{by}");
        }
    }

    #[test]
    fn what_still_acts_is_left_when_another_fault_ends() {
        let mut clocks = Clocks::new(1);
        clocks.step(HOST, (0, ms(9_000)), 5_000_000, ms(0));
        clocks.drift(HOST, (1, ms(2_000)), 2_000, ms(1_000));
        clocks.set_right(HOST, 1, ms(2_000));
        assert_eq!(clocks.of(HOST).absolute(ms(2_000)), ms(2_005));
        clocks.set_right(HOST, 0, ms(9_000));
        assert_eq!(clocks.of(HOST).absolute(ms(9_000)), ms(9_000));
    }

    #[test]
    fn the_instant_of_a_reading_is_the_first_that_shows_it() {
        for pace in [1, 333, 999, 1_000, 1_001, 7_777] {
            let mut clock = HostClock::default();
            clock.set_pace(ms(3), pace);
            for shown in [0, 1, 2_999_999, 3_000_001, 9_999_999].map(VirtualTime) {
                let at = clock.when(shown);
                assert!(clock.relative(at) >= shown, "{pace}: {shown}");
                let before = at - VirtualDuration(1);
                assert!(before < ms(3) || clock.relative(before) < shown, "{pace}: {shown}");
            }
        }
    }

    #[test]
    fn a_timer_rings_once_as_it_was_planned_last() {
        let mut clocks = Clocks::new(1);
        assert_eq!(clocks.set_timer(HOST, (0, 5), ms(100), ms(0)), ms(100));
        clocks.drift(HOST, (0, ms(50)), 500, ms(0));
        assert_eq!(clocks.plan_anew(HOST, ms(0)).collect::<Vec<_>>(), [((0, 5), ms(200))]);
        assert!(!clocks.rings(HOST, (0, 5), ms(100)), "the first plan");
        clocks.set_right(HOST, 0, ms(50));
        assert_eq!(clocks.plan_anew(HOST, ms(50)).collect::<Vec<_>>(), [((0, 5), ms(125))]);
        assert!(clocks.rings(HOST, (0, 5), ms(125)));
        // The same name is used again, and what is left of the second plan comes.
        assert_eq!(clocks.set_timer(HOST, (0, 5), ms(300), ms(125)), ms(325));
        assert!(!clocks.rings(HOST, (0, 5), ms(200)));
        assert!(clocks.rings(HOST, (0, 5), ms(400)), "its process was paused");
    }

    #[test]
    fn a_wait_goes_by_the_paces_that_are_known() {
        let mut clocks = Clocks::new(1);
        clocks.drift(HOST, (0, ms(1_100)), 100, ms(1_000));
        clocks.drift(HOST, (1, ms(1_050)), 2_000, ms(1_040));
        clocks.drift(HOST, (2, ms(1_048)), 3_000, ms(1_045));
        // 5 ms of a tenth, then at 1,045: 9 in 3 ms, 4 in 2 ms, 5 in 50 ms, and then as they are.
        for (span, at) in
            [(0, 1_045), (6, 1_047), (9, 1_048), (13, 1_050), (15, 1_070), (118, 1_200)]
        {
            let span = VirtualDuration::from_millis(span);
            assert_eq!(clocks.after(HOST, span, ms(1_045)), ms(at), "{span}");
        }
        assert_eq!(clocks.waits(HOST).len(), 3);
        assert_eq!(clocks.waits(HOST), []);
    }

    /// Of two that overlap, whichever ends first.
    #[test]
    fn a_clock_is_right_when_the_last_of_several_faults_has_ended() {
        #[derive(Clone, Copy)]
        enum Act {
            Rate(u32),
            By(i64),
        }
        use Act::{By, Rate};
        let second = 1_000_000_000;
        let rows = [
            // (faults with their spans in ms, [(at, absolute clock)])
            (
                [(By(5 * second), 1, 3), (By(-20 * second), 2, 10)],
                [(2_500, 500), (3_000, 0), (9_000, 6_000)],
            ),
            (
                [(Rate(5_000), 0, 3), (By(-20 * second), 1, 9)],
                [(1_000, 0), (2_000, 5_000), (3_000, 0)],
            ),
            ([(By(i64::MAX), 1, 5), (By(i64::MAX), 2, 6)], [(0, 0), (500, 500), (6_500, 6_500)]),
            (
                [(By(i64::MIN), 1, 5), (By(i64::MIN), 2, 4)],
                [(500, 500), (3_000, 1_000), (4_500, 500)],
            ),
            (
                [(Rate(100), 1, 5), (Rate(3_000), 2, 4)],
                [(2_000, 1_100), (3_000, 4_100), (5_000, 5_000)],
            ),
            (
                [(Rate(2_000), 1, 3), (Rate(2_000), 2, 4)],
                [(3_000, 5_000), (3_500, 6_000), (4_000, 4_000)],
            ),
        ];
        for (row, (faults, shown)) in rows.into_iter().enumerate() {
            let mut clocks = Clocks::new(1);
            for at in (0..12_000).step_by(500) {
                for (fault, &(act, from, to)) in (0..).zip(&faults) {
                    let when = (fault, ms(to * 1_000));
                    if at == to * 1_000 {
                        clocks.set_right(HOST, fault, ms(at));
                    }
                    match act {
                        Rate(pace) if at == from * 1_000 => clocks.drift(HOST, when, pace, ms(at)),
                        By(by) if at == from * 1_000 => clocks.step(HOST, when, by, ms(at)),
                        Rate(_) | By(_) => {}
                    }
                }
                let clock = clocks.of(HOST);
                if let Some((_, should)) = shown.iter().find(|it| it.0 == at) {
                    assert_eq!(clock.absolute(ms(at)), ms(*should), "row {row} at {at} ms");
                }
                if clocks.hosts[0].acting.is_empty() {
                    assert_eq!(clock.absolute(ms(at)), ms(at), "row {row} at {at} ms");
                }
            }
            assert!(clocks.hosts[0].acting.is_empty(), "row {row}");
        }
    }

    #[test]
    fn a_step_is_felt_by_who_reads_the_absolute_clock_and_a_drift_when_it_shows() {
        let mut clocks = Clocks::new(2);
        clocks.step(HOST, (3, ms(9)), 1, ms(0));
        assert_eq!(clocks.read(HOST, Read::Relative, ms(0)), []);
        assert_eq!(clocks.read(ProcessId(1), Read::Absolute, ms(0)), []);
        let felt = |fault, stepped| Felt { fault, until: ms(9), stepped };
        assert_eq!(clocks.read(HOST, Read::Absolute, ms(0)), [felt(3, true)]);
        assert_eq!(clocks.read(HOST, Read::Absolute, ms(0)), []);
        clocks.drift(HOST, (4, ms(9)), 1_001, ms(1));
        assert_eq!(clocks.read(HOST, Read::Relative, ms(1)), [], "nothing has been gained");
        let soon = ms(1) + VirtualDuration::from_nanos(999);
        assert_eq!(clocks.read(HOST, Read::Absolute, soon), [], "less than a nanosecond");
        assert_eq!(clocks.read(HOST, Read::Relative, ms(2)), [felt(4, false)]);
        // Nothing to go back to.
        clocks.step(ProcessId(1), (5, ms(9)), -1, ms(0));
        assert_eq!(clocks.read(ProcessId(1), Read::Absolute, ms(1)), []);
    }
}
