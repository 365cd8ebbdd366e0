//! The clocks of a host, which may run too fast or too slow, or be set.
//!
//! A process sees its host's clocks and nothing else; what it observes is reported with the true time.
//! There are two, as in Java: the *relative* clock (`System.nanoTime`) never goes back, and timers run
//! by it; the *absolute* clock (`System.currentTimeMillis`) runs at the same pace and can be set.
//!
//! A drift makes both run at another rate for a while. When it ends, the pace is right again, and NTP
//! sets the absolute clock to the true time by a step; what the relative clock has gained or lost it
//! keeps, since nobody compares it with another. A step moves the absolute clock alone, and is taken
//! back when it ends. A clock is never set to before the start of the run.

use cutline::time::{ClockOffset, VirtualTime};

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

    /// How far the absolute clock is from the true time.
    fn error(&self, now: VirtualTime) -> i64 {
        signed(self.absolute(now)) - signed(now)
    }

    /// Lets both clocks go on at another pace.
    pub fn set_pace(&mut self, now: VirtualTime, pace: u32) {
        assert!(pace > 0, "the table of fields has a least pace");
        (self.shown, self.since) = (self.relative(now), now);
        self.pace = pace;
    }

    /// Sets the absolute clock. Gives by how much it was moved.
    fn step(&mut self, now: VirtualTime, by: i64) -> i64 {
        let by = by.max(-signed(self.absolute(now)));
        self.ahead.0 = self.ahead.0.saturating_add(by);
        by
    }
}

/// Half of the virtual time is 292 years.
fn signed(at: VirtualTime) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

/// A timer that is due when the relative clock of a host shows `at`.
#[derive(Clone, Copy, Debug)]
struct Timer {
    life: u32,
    token: u32,
    at: VirtualTime,
}

/// What makes a clock wrong.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Pace(u32),
    /// By how much the absolute clock was moved.
    Step(i64),
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
        host.clock.set_pace(now, pace);
        host.act(Acting { fault, until, trouble: Trouble::Pace(pace), was_read: false });
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
        let moved = host.clock.step(now, by);
        host.act(Acting { fault, until, trouble: Trouble::Step(moved), was_read: false });
    }

    /// A fault ends: NTP sets the clock right, as far as no other fault keeps it wrong.
    pub(super) fn set_right(&mut self, process: ProcessId, fault: u32, now: VirtualTime) {
        let host = &mut self.hosts[process.index()];
        let place = host.acting.iter().position(|it| it.fault == fault);
        let ended = host.acting.remove(place.expect("it acts until it ends"));
        match ended.trouble {
            Trouble::Step(moved) => {
                host.clock.step(now, -moved);
            }
            Trouble::Pace(_) => {
                let mut others = host.acting.iter().rev();
                let pace = others.find_map(|it| match it.trouble {
                    Trouble::Pace(pace) => Some(pace),
                    Trouble::Step(_) => None,
                });
                host.clock.set_pace(now, pace.unwrap_or(RIGHT_PACE));
                if pace.is_none() {
                    let stepped = host.acting.iter().map(|it| match it.trouble {
                        Trouble::Step(moved) => moved,
                        Trouble::Pace(_) => 0,
                    });
                    let wrong = host.clock.error(now) - stepped.sum::<i64>();
                    host.clock.step(now, -wrong);
                }
            }
        }
        host.unread = host.acting.iter().any(|it| !it.was_read);
    }

    /// The faults that are felt for the first time, now that a process has read a clock.
    pub(super) fn read(&mut self, process: ProcessId, read: Read) -> Vec<Felt> {
        let host = &mut self.hosts[process.index()];
        if !host.unread {
            return Vec::new();
        }
        let mut felt = Vec::new();
        for acting in host.acting.iter_mut().filter(|it| !it.was_read) {
            let shows = match acting.trouble {
                Trouble::Pace(pace) => pace != RIGHT_PACE,
                Trouble::Step(moved) => moved != 0 && read == Read::Absolute,
            };
            if shows {
                acting.was_read = true;
                let stepped = matches!(acting.trouble, Trouble::Step(_));
                felt.push(Felt { fault: acting.fault, until: acting.until, stepped });
            }
        }
        host.unread = host.acting.iter().any(|it| !it.was_read);
        felt
    }

    /// Remembers a timer. Gives the instant at which it is due if the clock goes on as it does.
    pub(super) fn set_timer(
        &mut self,
        process: ProcessId,
        (life, token): (u32, u32),
        at: VirtualTime,
    ) -> VirtualTime {
        let host = &mut self.hosts[process.index()];
        host.timers.push(Timer { life, token, at });
        host.clock.when(at)
    }

    /// Whether a timer rings now; if it is too early, the instant to try again. The pace may have been
    /// changed since it was set: then it comes more than once, and rings once.
    pub(super) fn rings(
        &mut self,
        process: ProcessId,
        (life, token): (u32, u32),
        now: VirtualTime,
    ) -> Rings {
        let host = &mut self.hosts[process.index()];
        let mut timers = host.timers.iter();
        let Some(place) = timers.position(|it| (it.life, it.token) == (life, token)) else {
            return Rings::Never;
        };
        let at = host.timers[place].at;
        if host.clock.relative(now) < at {
            return Rings::At(host.clock.when(at));
        }
        host.timers.swap_remove(place);
        Rings::Now
    }

    /// All timers of a host, and when they are due now that its pace was changed.
    pub(super) fn timers(
        &self,
        process: ProcessId,
    ) -> impl Iterator<Item = ((u32, u32), VirtualTime)> + '_ {
        let host = &self.hosts[process.index()];
        host.timers.iter().map(|it| ((it.life, it.token), host.clock.when(it.at)))
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

/// What becomes of a timer that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rings {
    Now,
    At(VirtualTime),
    Never,
}

impl Host {
    fn act(&mut self, acting: Acting) {
        self.acting.push(acting);
        self.unread = true;
    }
}

#[cfg(test)]
mod tests {
    use cutline::time::VirtualDuration;

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
    fn a_timer_rings_once_whatever_the_pace_did_since_it_was_set() {
        let mut clocks = Clocks::new(1);
        assert_eq!(clocks.set_timer(HOST, (0, 5), ms(100)), ms(100));
        clocks.drift(HOST, (0, ms(50)), 500, ms(0));
        assert_eq!(clocks.timers(HOST).collect::<Vec<_>>(), [((0, 5), ms(200))]);
        assert_eq!(clocks.rings(HOST, (0, 5), ms(100)), Rings::At(ms(200)));
        clocks.set_right(HOST, 0, ms(50));
        assert_eq!(clocks.rings(HOST, (0, 5), ms(125)), Rings::Now);
        assert_eq!(clocks.rings(HOST, (0, 5), ms(200)), Rings::Never);
    }

    #[test]
    fn a_step_is_felt_by_who_reads_the_absolute_clock_and_a_drift_by_any() {
        let mut clocks = Clocks::new(2);
        clocks.step(HOST, (3, ms(9)), 1, ms(0));
        assert_eq!(clocks.read(HOST, Read::Relative), []);
        assert_eq!(clocks.read(ProcessId(1), Read::Absolute), []);
        let felt = |fault, stepped| Felt { fault, until: ms(9), stepped };
        assert_eq!(clocks.read(HOST, Read::Absolute), [felt(3, true)]);
        assert_eq!(clocks.read(HOST, Read::Absolute), []);
        clocks.drift(HOST, (4, ms(9)), 2_000, ms(0));
        assert_eq!(clocks.read(HOST, Read::Relative), [felt(4, false)]);
    }
}
