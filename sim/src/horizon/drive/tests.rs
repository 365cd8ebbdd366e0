use super::*;
use crate::sweep::histogram::Histogram;

const fn secs(s: u64) -> VirtualDuration {
    VirtualDuration::from_secs(s)
}

fn at(s: u64) -> VirtualTime {
    VirtualTime::ZERO + secs(s)
}

/// A job that sends a message a millisecond, and is down for five seconds after a failure.
#[derive(Default)]
struct Job {
    now: VirtualTime,
    struck: Vec<VirtualTime>,
    /// The same in scenario time.
    met: Vec<VirtualTime>,
    leapt: VirtualDuration,
    /// Of each second it does the work of nine tenths.
    overloaded: bool,
    /// A checkpoint a minute, that takes as long,
    checkpoint: Option<VirtualDuration>,
    /// and dams up records for this time from its trigger on.
    dammed: VirtualDuration,
    /// How long records have waited.
    lag: Histogram,
}

impl Job {
    /// Scenario time.
    fn clock(&self) -> VirtualTime {
        self.now + self.leapt
    }

    fn since_trigger(&self) -> VirtualDuration {
        VirtualDuration(self.clock().0 % MINUTE.0)
    }
}

const MINUTE: VirtualDuration = secs(60);

impl Subject for Job {
    fn run(&mut self, until: VirtualTime, _events: u64) -> Ran {
        self.now = until;
        // It halves every two seconds.
        let dammed = self.dammed.saturating_sub(self.since_trigger()).0 / secs(2).0;
        self.lag.add(VirtualDuration(secs(1).0 << dammed), 1);
        Ran { end: End::Until, events: 1, now: until }
    }

    fn figures(&self, now: VirtualTime) -> Figures {
        let mut figures = Figures::default();
        figures.measures.span = now.since(VirtualTime::ZERO);
        figures.measures.messages = now.as_millis();
        if self.checkpoint.is_some() {
            figures.measures.lag = self.lag.clone();
        }
        figures
    }

    fn is_calm(&self) -> bool {
        self.struck.last().is_none_or(|at| self.now >= *at + secs(5))
    }

    fn failures(&self) -> u64 {
        self.struck.len() as u64
    }

    fn behind(&self, now: VirtualTime) -> VirtualDuration {
        if self.overloaded { VirtualDuration(now.0 / 10) } else { VirtualDuration::ZERO }
    }

    fn longest_checkpoint(&self) -> VirtualDuration {
        secs(2)
    }

    fn no_checkpoint(&self) -> Option<Idle> {
        let over = self.since_trigger().0.checked_sub(self.checkpoint?.0)?;
        let since = VirtualTime(self.now.0.checked_sub(over)?);
        Some(Idle { since, until: self.now + MINUTE.saturating_sub(self.since_trigger()) })
    }

    fn is_under_way(&self) -> bool {
        false
    }

    fn retained(&self) -> usize {
        1
    }

    fn strike(&mut self, now: VirtualTime, _fault: u32) {
        assert_eq!(now, self.now, "a fault strikes when it is due");
        self.struck.push(now);
        self.met.push(self.clock());
    }

    fn leap(&mut self, by: VirtualDuration) {
        self.leapt += by;
    }

    fn skip(&mut self, _from: VirtualTime, _now: VirtualTime, by: VirtualDuration) {
        self.leapt += by;
    }
}

fn outline(warm: VirtualTime, until: VirtualTime, strikes: Vec<Strike>) -> Outline {
    Outline {
        interval: secs(10),
        min_pause: VirtualDuration::ZERO,
        period: secs(1),
        every: secs(1),
        heartbeat: secs(10),
        transactions_expire: false,
        patience: secs(100),
        warm,
        retained: 1,
        until,
        events: u64::MAX,
        strikes,
        error: 0.01,
        tolerance: 0.03,
    }
}

#[test]
fn failures_keep_their_phase_and_figures_their_sum() {
    let strikes =
        [1_003, 1_004, 4_017].map(|s| Strike { at: at(s), fault: 0, span: VirtualDuration::ZERO });
    let outline = outline(at(50), at(9_000), strikes.to_vec());
    let (mut driver, mut job) = (Driver::new(outline), Job::default());
    let ran = driver.drive(&mut job);
    let phases: Vec<u64> = job.struck.iter().map(|at| at.as_millis() % 10_000).collect();
    assert_eq!(phases, [3_000, 4_000, 7_000]);
    assert_eq!(job.struck[1].since(job.struck[0]), secs(1), "nothing is steady between them");
    assert!(job.leapt > secs(8_000), "{}", job.leapt);
    let (figures, leapt) = driver.finish(job.figures(ran.now));
    assert_eq!((leapt.time, leapt.leaps), (job.leapt, 3));
    assert_eq!(figures.measures.span, secs(9_000));
    assert!(figures.measures.messages.abs_diff(9_000_000) < 10);
}

#[test]
fn what_falls_behind_is_simulated_in_full() {
    let mut job = Job { overloaded: true, ..Job::default() };
    let ran = Driver::new(outline(at(0), at(2_000), Vec::new())).drive(&mut job);
    assert_eq!((ran.now, job.leapt), (at(2_000), VirtualDuration::ZERO));
}

#[test]
fn a_checkpoint_between_two_looks_begins_another_quiet_time() {
    // If the first minute turns quiet just before the second checkpoint, nobody sees that one: what
    // is left of the second minute would be leapt over, with a fault in it.
    let strike = Strike { at: at(100), fault: 0, span: VirtualDuration::ZERO };
    let outline = Outline {
        interval: MINUTE,
        every: VirtualDuration::from_millis(250),
        heartbeat: secs(4),
        period: VirtualDuration::from_millis(250),
        ..outline(at(0), at(2_000), vec![strike])
    };
    for tenths in 500..600_u64 {
        let checkpoint = Some(VirtualDuration::from_millis(300));
        let dammed = VirtualDuration::from_millis(tenths * 100);
        let mut job = Job { checkpoint, dammed, ..Job::default() };
        let mut driver = Driver::new(outline.clone());
        let ran = driver.drive(&mut job);
        assert_eq!(job.met, [at(100)], "{dammed}");
        assert!(!job.leapt.is_zero(), "whole intervals, at least: {dammed}");
        assert_eq!(driver.finish(job.figures(ran.now)).1.time, job.leapt);
    }
}
