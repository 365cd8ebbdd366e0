//! The driver: runs from look to look, and leaps where it may.
//!
//! Two clocks: *world time*, which the simulated world knows, and *scenario time*, which is ahead of
//! it by what was leapt over. Faults and the end are given in scenario time.

use std::collections::BTreeMap;

use cutline::time::{VirtualDuration, VirtualTime};

use super::sample::{Mark, Pool, Sample, WINDOWS_MIN};
use super::{Figures, Leapt, Outline, Strike};
use crate::engine::Idle;
use crate::kernel::run::{End, Ran};
use crate::sweep::metric::{Metric, Rates, of_run};

/// Between two looks, at most; and a fraction of an interval.
const LOOK_MAX: VirtualDuration = VirtualDuration::from_millis(500);
const LOOKS: u64 = 64;
/// After a completion the outside is told, transactions are committed and files deleted.
const SETTLE: VirtualDuration = VirtualDuration::from_secs(1);
/// What is left of an interval that is leapt over, so that the trigger is not seen to be moved.
const GUARD: VirtualDuration = VirtualDuration::from_millis(200);
/// After so many intervals at most, a trigger meets sources in the same phase again, if leaps are to
/// keep it.
const PHASE_MAX: u64 = 4;

/// The run, as the driver sees it.
pub(crate) trait Subject {
    /// Runs until an instant, its events included.
    fn run(&mut self, until: VirtualTime, events: u64) -> Ran;
    /// What was measured so far.
    fn figures(&self, now: VirtualTime) -> Figures;
    /// Whether all subtasks run and no recovery is under way.
    fn is_calm(&self) -> bool;
    /// Executions that have failed so far.
    fn failures(&self) -> u64;
    /// The longest that a checkpoint has taken.
    fn longest_checkpoint(&self) -> VirtualDuration;
    /// For how long the oldest record that is not read has been due.
    fn behind(&self, now: VirtualTime) -> VirtualDuration;
    /// Whether no message and no request is under way, and until when no checkpoint is due.
    fn idle(&self) -> Option<Idle> {
        self.no_checkpoint().filter(|_| !self.is_under_way())
    }
    /// Whether no checkpoint is under way, and until when none is due.
    fn no_checkpoint(&self) -> Option<Idle>;
    /// Whether a message or a request is.
    fn is_under_way(&self) -> bool;
    /// Completed checkpoints that are retained.
    fn retained(&self) -> usize;
    /// A fault strikes now.
    fn strike(&mut self, now: VirtualTime, fault: u32);
    /// Whole intervals are leapt over.
    fn leap(&mut self, by: VirtualDuration);
    /// Time before the next checkpoint is leapt over.
    /// Its figures are those of the time since `from`.
    fn skip(&mut self, from: VirtualTime, now: VirtualTime, by: VirtualDuration);
}

/// A time in which no checkpoint is under way. First half blocks are looked at until what the last
/// checkpoint has dammed up is gone; then one block stands for the rest. It is none of those that
/// were looked at, which were chosen by how they were.
#[derive(Debug)]
struct Quiet {
    /// The checkpoint that it comes after completed then.
    since: VirtualTime,
    /// The accounts after the last half blocks.
    marks: Vec<Figures>,
    next: VirtualTime,
    is_drained: bool,
}

/// Drives a run.
#[derive(Debug)]
pub(crate) struct Driver {
    outline: Outline,
    /// World time.
    now: VirtualTime,
    /// The place in `outline.strikes` of the next fault.
    next: usize,
    /// The last fault is over at this world time; and had no effect if none is seen by that one.
    healed: VirtualTime,
    stale: VirtualTime,
    failures_before: u64,
    /// Since when, in world time, everything has been steady.
    steady_since: Option<VirtualTime>,
    sample: Option<Sample>,
    quiet: Option<Quiet>,
    /// The idle time that was looked at already began then.
    seen_idle: Option<VirtualTime>,
    /// What stands for whole intervals that are leapt over from now on.
    pool: Pool,
    /// Windows in this stretch that were unlike the pool.
    strange: usize,
    /// What leaps within intervals have added.
    extra: Figures,
    /// What leaps over whole ones have added, on account of pools that are done with.
    settled: Figures,
    /// All that was leapt over; and of it, whole intervals.
    skipped: VirtualDuration,
    whole: VirtualDuration,
    leaps: u64,
    /// World times of the leaps, with all that was leapt over by then.
    ahead: Vec<(VirtualTime, VirtualDuration)>,
    /// Of each mean the sum of the squares of what the leaps add to its standard error.
    variances: BTreeMap<Metric, f64>,
    events: u64,
}

impl Driver {
    pub(crate) fn new(outline: Outline) -> Self {
        Self {
            outline,
            now: VirtualTime::ZERO,
            next: 0,
            healed: VirtualTime::ZERO,
            stale: VirtualTime::ZERO,
            failures_before: 0,
            steady_since: None,
            sample: None,
            quiet: None,
            seen_idle: None,
            pool: Pool::default(),
            strange: 0,
            extra: Figures::default(),
            settled: Figures::default(),
            skipped: VirtualDuration::ZERO,
            whole: VirtualDuration::ZERO,
            leaps: 0,
            ahead: Vec::new(),
            variances: BTreeMap::new(),
            events: 0,
        }
    }

    /// Runs to the end.
    pub(crate) fn drive(&mut self, subject: &mut impl Subject) -> Ran {
        loop {
            let until = self.next_look();
            let ran = subject.run(until, self.outline.events - self.events);
            self.events += ran.events;
            let over = ran.end != End::Until || self.in_scenario(until) >= self.outline.until;
            if over {
                self.now = ran.now;
                return Ran { events: self.events, ..ran };
            }
            self.now = until;
            match self.outline.strikes.get(self.next).copied() {
                Some(strike) if self.in_scenario(until) >= strike.at => {
                    self.on_strike(strike, subject);
                }
                Some(_) | None => self.look(subject),
            }
        }
    }

    /// What was measured, with what was leapt over.
    pub(crate) fn finish(mut self, figures: Figures) -> (Figures, Leapt) {
        self.settle_pool();
        let mut all = figures.plus(&self.extra).plus(&self.settled);
        all.measures.span = figures.measures.span + self.skipped;
        for recovery in &mut all.measures.recoveries.done {
            let leaps = self.ahead.partition_point(|(at, _)| *at <= recovery.at);
            if let Some((_, by)) = self.ahead[..leaps].last() {
                recovery.at += *by;
            }
        }
        all.settle();
        let rates = Rates::default();
        let relative = |(metric, variance): (&Metric, &f64)| {
            let value = of_run(*metric, &all.measures, &all.statistics, &rates)?.abs();
            // Nothing is less known than a mean that may be anything.
            (value > 0.0).then(|| (metric.column(), (libm::sqrt(*variance) / value).min(1.0)))
        };
        let errors = self.variances.iter().filter_map(relative).collect();
        (
            all,
            Leapt {
                time: self.skipped,
                tolerance: self.outline.tolerance,
                leaps: self.leaps,
                errors,
            },
        )
    }

    fn in_scenario(&self, world: VirtualTime) -> VirtualTime {
        world + self.skipped
    }

    fn in_world(&self, scenario: VirtualTime) -> VirtualTime {
        VirtualTime(scenario.0.saturating_sub(self.skipped.0))
    }

    /// Scenario time, but for whole intervals that were leapt over: the time of [`Self::account`].
    fn in_account(&self, world: VirtualTime) -> VirtualTime {
        world + self.skipped.saturating_sub(self.whole)
    }

    /// The next fault, or the end, in world time: nothing may be leapt over behind it.
    fn limit(&self) -> VirtualTime {
        let strike = self.outline.strikes.get(self.next).map(|strike| strike.at);
        self.in_world(strike.unwrap_or(self.outline.until).min(self.outline.until))
    }

    fn next_look(&self) -> VirtualTime {
        let step = VirtualDuration(self.outline.interval.0 / LOOKS).min(LOOK_MAX);
        let mut next = self.now + step.max(VirtualDuration(1));
        if let Some(quiet) = &self.quiet {
            next = next.min(quiet.next);
        }
        if let Some(sample) = &self.sample {
            let due = sample.open_since() + self.outline.interval + self.whole;
            let due = self.in_world(due);
            next = if due > self.now { next.min(due) } else { next };
        }
        let next = next.min(self.limit());
        assert!(next >= self.now, "a fault, or the end, was leapt over");
        next
    }

    fn on_strike(&mut self, strike: Strike, subject: &mut impl Subject) {
        subject.strike(self.now, strike.fault);
        self.next += 1;
        self.healed = self.healed.max(self.now + strike.span);
        self.stale = self.healed.max(self.now + self.outline.patience);
        self.failures_before = subject.failures();
        self.seen_idle = None;
        self.end_stretch();
    }

    fn end_stretch(&mut self) {
        if let Some(sample) = self.sample.take() {
            self.pool.keep(&sample);
        }
        self.strange = 0;
        self.quiet = None;
    }

    fn look(&mut self, subject: &mut impl Subject) {
        if !self.is_steady(subject) {
            self.steady_since = None;
            self.end_stretch();
            return;
        }
        let steady_since = *self.steady_since.get_or_insert(self.now);
        if self.sample.as_ref().is_some_and(|sample| !sample.has_kept_up())
            && self.keeps_up(subject)
        {
            self.sample.as_mut().expect("there is one").keep_up();
        }
        if self.quiet.is_some() {
            self.on_quiet(subject);
        } else if self.sample.is_none() {
            self.begin(steady_since, subject);
        } else {
            self.on_sample(subject);
        }
    }

    fn is_steady(&self, subject: &impl Subject) -> bool {
        let took_effect = subject.failures() > self.failures_before;
        subject.is_calm()
            && self.now >= self.healed
            && (took_effect || self.now >= self.stale)
            && self.in_scenario(self.now) >= self.outline.warm
            && subject.retained() >= self.outline.retained
    }

    /// Whether nothing waits at any source but for its next record. A job that never gets there has
    /// no steady state, or one that takes longer to see than a few intervals.
    fn keeps_up(&self, subject: &impl Subject) -> bool {
        subject.behind(self.now) <= self.outline.every * 2
    }

    fn account(&self, subject: &impl Subject) -> Figures {
        subject.figures(self.now).plus(&self.extra)
    }

    fn mark(&self, subject: &impl Subject) -> Mark {
        let (account, at) = (self.account(subject), self.in_account(self.now));
        Mark { account, at, behind: subject.behind(self.now) }
    }

    /// Whether an interval has room for a quiet block that pays.
    fn has_quiet(&self) -> bool {
        !self.outline.transactions_expire
            && self.outline.interval > self.block() * 4 + SETTLE + GUARD
    }

    /// The length of a quiet block: whole heartbeats, and several records of each split.
    fn block(&self) -> VirtualDuration {
        let least = (self.outline.every * 8).max(SETTLE);
        let heartbeat = self.outline.heartbeat.0.max(1);
        VirtualDuration(least.0.div_ceil(heartbeat) * heartbeat)
    }

    /// The idle time that has just begun, if it is time for a quiet block.
    fn quiet_point(&mut self, subject: &impl Subject) -> Option<Idle> {
        if !self.has_quiet() {
            return None;
        }
        let idle = subject.idle().filter(|idle| self.seen_idle != Some(idle.since))?;
        (self.now >= idle.since + SETTLE).then_some(idle)
    }

    fn begin(&mut self, steady_since: VirtualTime, subject: &mut impl Subject) {
        let idle = self.quiet_point(subject);
        // Windows go from the end of a checkpoint to the end of the next one; before the first one
        // there is but time to be left out.
        let begins = match idle {
            Some(idle) => idle.since >= steady_since,
            // A checkpoint that leaves no quiet time is no reason to wait for ever.
            None => !self.has_quiet() || self.now >= steady_since + self.outline.interval * 2,
        };
        if begins {
            self.sample = Some(Sample::new(self.mark(subject)));
        }
        self.open_quiet(idle, subject);
    }

    fn on_sample(&mut self, subject: &mut impl Subject) {
        let interval = self.outline.interval;
        let idle = self.quiet_point(subject);
        let open_since = self.sample.as_ref().expect("there is one").open_since();
        let open = self.in_account(self.now).since(open_since);
        let due = if self.has_quiet() { interval * 2 } else { interval };
        if idle.is_none() && open < due {
            return;
        }
        if open >= VirtualDuration(interval.0 / 2) {
            self.close_window(subject);
        }
        self.open_quiet(idle, subject);
    }

    fn close_window(&mut self, subject: &mut impl Subject) {
        let mark = self.mark(subject);
        self.sample.as_mut().expect("a window is open").close(mark);
        let by = self.outline.interval * self.whole_intervals();
        if by.is_zero() || !self.may_leap() {
            return;
        }
        self.pool.leap(by);
        self.whole += by;
        self.go_ahead(by);
        subject.leap(by);
    }

    /// Whether the pool tells enough, and this stretch is like it.
    fn may_leap(&mut self) -> bool {
        let sample = self.sample.as_mut().expect("a window has been closed");
        if sample.begins_anew(self.outline.error, self.outline.every) || !sample.has_kept_up() {
            return false;
        }
        if self.pool.is_enough() {
            if self.pool.is_like(sample) {
                return true;
            }
            self.strange += 1;
            if self.strange < WINDOWS_MIN || sample.windows() < WINDOWS_MIN {
                return false;
            }
            // This is another job now, as it were: it has a sample of its own.
            self.settle_pool();
        }
        let sample = self.sample.as_ref().expect("a window has been closed");
        self.pool.fill(sample, self.outline.error)
    }

    /// What was leapt over on account of the pool is added, and another one begins.
    fn settle_pool(&mut self) {
        let pool = std::mem::take(&mut self.pool);
        if pool.leapt().is_zero() {
            return;
        }
        self.settled = self.settled.plus(&pool.added());
        let share = pool.leapt().0 as f64 / self.outline.until.0.max(1) as f64;
        for (metric, error) in pool.errors() {
            *self.variances.entry(metric).or_default() += share * share * error * error;
        }
        self.strange = 0;
    }

    /// How many intervals can be leapt over before the limit.
    /// A failure meets the phase of the interval, and of what is under way in it, that it would
    /// have met.
    fn whole_intervals(&self) -> u64 {
        let interval = self.outline.interval;
        let whole = self.limit().since(self.now).0 / interval.0;
        let cycle = super::common(interval.0, self.outline.period.0) / interval.0;
        if cycle <= PHASE_MAX { whole / cycle * cycle } else { whole }
    }

    /// By then a checkpoint has completed, to judge by those that have.
    fn completes_within(&self, subject: &impl Subject) -> VirtualDuration {
        SETTLE + subject.longest_checkpoint() * 2
    }

    fn open_quiet(&mut self, idle: Option<Idle>, subject: &mut impl Subject) {
        let Some(idle) = idle else { return };
        self.seen_idle = Some(idle.since);
        let room = idle.until.since(self.now);
        let far = idle.until + self.completes_within(subject) < self.limit();
        if far && room > self.block() * 3 + GUARD {
            let marks = vec![self.account(subject)];
            let next = self.now + self.half_block();
            self.quiet = Some(Quiet { since: idle.since, marks, next, is_drained: false });
        }
    }

    fn half_block(&self) -> VirtualDuration {
        VirtualDuration(self.block().0 / 2)
    }

    fn on_quiet(&mut self, subject: &mut impl Subject) {
        let quiet = self.quiet.as_ref().expect("it is under way");
        if self.now < quiet.next {
            return;
        }
        let half = self.half_block();
        let account = self.account(subject);
        let keeps_up = self.keeps_up(subject);
        let quiet = self.quiet.as_mut().expect("it is under way");
        quiet.next = self.now + half;
        quiet.marks.push(account);
        quiet.marks.drain(..quiet.marks.len().saturating_sub(3));
        let [first, middle, last] = &quiet.marks[..] else { return };
        let block = last.since(first);
        let was_drained = quiet.is_drained;
        if !was_drained && is_drained(&middle.since(first), &last.since(middle), self.outline.every)
        {
            quiet.is_drained = keeps_up;
            quiet.marks.drain(..quiet.marks.len() - 1);
        }
        // A whole checkpoint may have come and gone between two looks: this would be another time, of
        // which nobody has seen whether a fault falls into it.
        let since = quiet.since;
        let Some(idle) = subject.no_checkpoint().filter(|idle| idle.since == since) else {
            self.quiet = None;
            return;
        };
        let earliest = (self.now + GUARD).max(idle.since + self.outline.min_pause);
        let by = idle.until.since(earliest);
        let period = self.outline.period.0;
        let by = if period.saturating_mul(4) <= by.0 {
            VirtualDuration(by.0 / period * period)
        } else {
            by
        };
        if by <= half {
            self.quiet = None;
            return;
        }
        if !was_drained {
            return;
        }
        self.quiet = None;
        let from = VirtualTime(self.now.0.saturating_sub(half.0 * 2));
        let added = block.stretched(by, half * 2);
        self.extra = self.extra.plus(&added);
        self.go_ahead(by);
        subject.skip(from, self.now, by);
    }

    fn go_ahead(&mut self, by: VirtualDuration) {
        self.skipped += by;
        self.leaps += 1;
        self.ahead.push((self.now, self.skipped));
    }
}

/// Whether what a checkpoint has dammed up is gone: records wait no longer than they did in the
/// half block before.
fn is_drained(before: &Figures, now: &Figures, every: VirtualDuration) -> bool {
    let wait = |it: &Figures| it.measures.lag.mean_s().unwrap_or(0.0);
    let latency = |it: &Figures| it.measures.latency.mean_s().unwrap_or(0.0);
    let slack = every.0 as f64 / 1e11;
    [wait, latency].iter().all(|of| of(before) <= of(now) * 1.05 + slack)
}

#[cfg(test)]
mod tests;
