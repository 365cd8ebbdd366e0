//! Intervals that follow from what a checkpoint costs and how often the job fails.
//!
//! Concept: the closed forms of [`crate::model::interval`] (Young 1974; Daly 2006; the exact
//! optimum), with a cost and a mean time between failures that are given, or measured while the job
//! runs. Flink has none of this: there an interval is a number that somebody has chosen.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::Seconds;
use crate::model::interval::Wear;
use crate::time::{VirtualDuration, VirtualTime};
use crate::trigger::policy::{CheckpointCost, PeriodicTimer, Share, TriggerPolicy};

/// By which formula an interval follows from cost and failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Formula {
    /// `sqrt(2 C M)`. Source: Young, CACM 1974.
    Young,
    /// Higher order, cost included. Source: Daly, FGCS 2006.
    Daly,
    /// The optimum itself, where failures are exponential.
    Exact,
}

impl Formula {
    /// From trigger to trigger.
    pub fn interval(self, wear: Wear) -> VirtualDuration {
        let seconds = match self {
            Self::Young => wear.young(),
            Self::Daly => wear.daly_higher() + wear.cost.get(),
            Self::Exact => wear.exact(),
        };
        // More than virtual time can hold is for ever: a job that never fails.
        Seconds::new(seconds).map_or(VirtualDuration::MAX, Seconds::round)
    }
}

/// What is known, or assumed, of a job beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Processing time that one checkpoint takes away (`C` of the cost models).
    pub cost: VirtualDuration,
    /// Mean up-time between two failures of the whole job (`M`).
    pub mtbf: VirtualDuration,
}

/// How a job's interval is chosen. No option of Flink's, but for the interval during backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntervalPolicy {
    /// Another interval while the sources work off a backlog: Flink's
    /// `execution.checkpointing.interval-during-backlog`.
    DuringBacklog {
        /// The interval meanwhile; zero: no periodic checkpoints.
        interval: VirtualDuration,
        /// Until when the sources say that they have a backlog (Flink:
        /// `SplitEnumeratorContext#setIsProcessingBacklog`, as a hybrid source does while it reads
        /// its bounded part).
        until: VirtualTime,
    },
    /// The interval that a formula gives for what is known beforehand.
    Formula(Formula, Estimate, Bounds),
    /// Cost and failures are measured; the estimate holds until there is something to go by.
    Measured(Estimate, Bounds),
}

impl IntervalPolicy {
    /// The policy of a job. `interval`: of a job with none, nothing is periodic.
    pub fn of(
        chosen: Option<Self>,
        interval: Option<VirtualDuration>,
        min_pause: VirtualDuration,
    ) -> Box<dyn TriggerPolicy> {
        match chosen.filter(|_| interval.is_some()) {
            None => Box::new(PeriodicTimer::new(interval, None, min_pause)),
            Some(Self::DuringBacklog { interval: during, .. }) => {
                Box::new(PeriodicTimer::new(interval, Some(during), min_pause))
            }
            Some(Self::Formula(formula, estimate, bounds)) => {
                let interval = bounds.interval(formula, estimate);
                Box::new(PeriodicTimer::new(Some(interval), None, min_pause))
            }
            Some(Self::Measured(estimate, bounds)) => {
                Box::new(MeasuredCost::new(estimate, bounds, min_pause))
            }
        }
    }

    /// The interval that a job begins with, from which its first delay is drawn.
    pub fn at_first(
        chosen: Option<Self>,
        interval: Option<VirtualDuration>,
    ) -> Option<VirtualDuration> {
        Some(match (chosen, interval?) {
            (None | Some(Self::DuringBacklog { .. }), interval) => interval,
            (Some(Self::Formula(formula, estimate, bounds)), _) => {
                bounds.interval(formula, estimate)
            }
            (Some(Self::Measured(estimate, bounds)), _) => {
                bounds.interval(Formula::Exact, estimate)
            }
        })
    }

    /// Until when the sources report a backlog.
    pub fn backlog_until(self) -> Option<VirtualTime> {
        match self {
            Self::DuringBacklog { until, .. } => Some(until),
            Self::Formula(..) | Self::Measured(..) => None,
        }
    }
}

/// Between which intervals a policy may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The shortest; more than zero.
    pub min: VirtualDuration,
    /// The longest; at least the shortest.
    pub max: VirtualDuration,
}

impl Bounds {
    /// What is nearest within the bounds.
    pub fn clamp(self, interval: VirtualDuration) -> VirtualDuration {
        interval.min(self.max).max(self.min)
    }

    /// The interval of a formula within the bounds. A checkpoint that costs nothing may be taken as
    /// often as the bounds allow.
    pub fn interval(self, formula: Formula, known: Estimate) -> VirtualDuration {
        match Wear::new(known.cost.into(), known.mtbf.into()) {
            Ok(wear) => self.clamp(formula.interval(wear)),
            Err(_) => self.min,
        }
    }
}

/// Measures the cost of checkpoints and the rate of failures as the job runs, and sets each next
/// interval to the optimum for what it knows so far.
///
/// - *Cost*: a moving average of what completed checkpoints took away, an eighth of each new one.
/// - *Failures*: each time the job goes back to a checkpoint, but for the first, is a failure; of a
///   region it is the share of one that the region is of the job, since the others repeat nothing. The
///   mean time between them is `(elapsed + prior) / (failures + 1)`: one failure in the time that is
///   expected beforehand, weighed like one that was seen (a gamma prior of shape 1). It needs no
///   failure to begin with, and forgets the expectation as failures come.
///
/// A new leader begins again: what was measured is in memory alone.
#[derive(Clone)]
pub struct MeasuredCost {
    estimate: Estimate,
    bounds: Bounds,
    min_pause: VirtualDuration,
    cost: Option<VirtualDuration>,
    began: Option<VirtualTime>,
    /// In thousandths of a failure of the whole job.
    failures: u64,
}

/// The failures of [`MeasuredCost`] that one of the whole job is.
const WHOLE: u64 = 1_000;

impl fmt::Debug for MeasuredCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cost, failures, .. } = self;
        f.debug_struct("MeasuredCost").field("cost", cost).field("failures", failures).finish()
    }
}

impl MeasuredCost {
    /// Begins with what is assumed: its cost until a checkpoint has completed, and one failure in
    /// its mean time between failures.
    pub fn new(estimate: Estimate, bounds: Bounds, min_pause: VirtualDuration) -> Self {
        Self { estimate, bounds, min_pause, cost: None, began: None, failures: 0 }
    }

    /// The mean time between failures, as far as is known.
    pub fn mtbf(&self, now: VirtualTime) -> VirtualDuration {
        let elapsed = self.began.map_or(VirtualDuration::ZERO, |began| now.since(began));
        let sum = elapsed.as_nanos().saturating_add(self.estimate.mtbf.as_nanos());
        let mtbf = u128::from(sum) * u128::from(WHOLE) / u128::from(self.failures + WHOLE);
        VirtualDuration::from_nanos(mtbf as u64)
    }

    /// The interval that is right for what is known now.
    pub fn interval(&self, now: VirtualTime) -> VirtualDuration {
        let cost = self.cost.unwrap_or(self.estimate.cost);
        let known = Estimate { cost, mtbf: self.mtbf(now) };
        self.bounds.interval(Formula::Exact, known).max(self.min_pause)
    }
}

impl TriggerPolicy for MeasuredCost {
    fn started(&mut self, now: VirtualTime, delay: VirtualDuration) -> VirtualTime {
        self.began.get_or_insert(now);
        // It was drawn for the interval of the beginning; a shorter one is known by now, perhaps.
        now + delay.min(self.interval(now))
    }

    fn fired(&mut self, now: VirtualTime, due: VirtualTime) -> Option<VirtualTime> {
        Some(due + self.interval(now))
    }

    fn completed(&mut self, _now: VirtualTime, took: CheckpointCost) {
        /// Of the average, so much is kept when a new value comes.
        const KEPT: u64 = 7;
        let new = took.stalled.as_nanos();
        let cost = match self.cost {
            None => new,
            Some(cost) => {
                let sum = u128::from(cost.as_nanos()) * u128::from(KEPT) + u128::from(new);
                (sum / u128::from(KEPT + 1)) as u64
            }
        };
        self.cost = Some(VirtualDuration::from_nanos(cost));
    }

    fn restored(&mut self, _now: VirtualTime, share: Share) {
        if self.began.is_some() {
            self.failures += WHOLE * u64::from(share.subtasks) / u64::from(share.of);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::OperatorId;

    fn s(seconds: u64) -> VirtualDuration {
        VirtualDuration::from_secs(seconds)
    }

    fn at(seconds: u64) -> VirtualTime {
        VirtualTime::ZERO + s(seconds)
    }

    fn known(cost: u64, mtbf: u64) -> Estimate {
        Estimate { cost: s(cost), mtbf: s(mtbf) }
    }

    const BOUNDS: Bounds =
        Bounds { min: VirtualDuration::from_secs(1), max: VirtualDuration::from_secs(36_000) };

    const ALL: Share = Share { subtasks: 8, of: 8 };
    const FORMULAS: [Formula; 3] = [Formula::Young, Formula::Daly, Formula::Exact];

    #[test]
    fn formulas_agree_where_a_checkpoint_is_cheap() {
        for (formula, off_permille) in
            [(Formula::Young, 20), (Formula::Daly, 1), (Formula::Exact, 0)]
        {
            let found = BOUNDS.interval(formula, known(5, 3_600)).as_nanos();
            let exact = BOUNDS.interval(Formula::Exact, known(5, 3_600)).as_nanos();
            assert!(found.abs_diff(exact) * 1_000 <= exact * off_permille, "{formula:?}: {found}");
        }
    }

    #[test]
    fn the_chosen_policy_sets_the_timer() {
        let bounds = Bounds { min: s(10), max: s(20) };
        let formula =
            |cost, mtbf| IntervalPolicy::Formula(Formula::Exact, known(cost, mtbf), bounds);
        let backlog = IntervalPolicy::DuringBacklog { interval: s(90), until: at(1) };
        for (name, chosen, pause, expected) in [
            ("fixed", None, 0, Some(7)),
            ("fixed, long pause", None, 9, Some(9)),
            ("no cost: as short as it may be", Some(formula(0, 3_600)), 0, Some(10)),
            ("as long as it may be", Some(formula(5, 360_000)), 0, Some(20)),
            ("pause", Some(formula(0, 3_600)), 15, Some(15)),
            ("during backlog", Some(backlog), 0, Some(90)),
            (
                "measured, at first",
                Some(IntervalPolicy::Measured(known(0, 9), bounds)),
                0,
                Some(10),
            ),
        ] {
            let mut policy = IntervalPolicy::of(chosen, Some(s(7)), s(pause));
            assert!(policy.is_periodic());
            policy.started(at(0), s(0));
            policy.backlog(at(0), OperatorId(0), true, None);
            assert_eq!(policy.fired(at(100), at(100)), expected.map(|it| at(100 + it)), "{name}");
            let none = IntervalPolicy::of(chosen, None, s(pause));
            assert!(!none.is_periodic(), "{name}, and no interval");
        }
    }

    #[test]
    fn what_is_measured_takes_the_place_of_what_was_assumed() {
        let mut policy = MeasuredCost::new(known(8, 3_600), BOUNDS, s(0));
        assert_eq!(policy.started(at(0), s(1)), at(1));
        let assumed = BOUNDS.interval(Formula::Exact, known(8, 3_600));
        assert_eq!(policy.interval(at(0)), assumed, "nothing is known");
        policy.completed(at(10), CheckpointCost { duration: s(9), stalled: s(2) });
        assert_eq!(policy.interval(at(0)), BOUNDS.interval(Formula::Exact, known(2, 3_600)));
        // Three failures in an hour, and one that was expected in an hour: half an hour each.
        for time in [1_000, 2_000, 3_600] {
            policy.restored(at(time), ALL);
            policy.started(at(time), s(1));
        }
        assert_eq!(policy.mtbf(at(3_600)), s(1_800));
        assert_eq!(policy.interval(at(3_600)), BOUNDS.interval(Formula::Exact, known(2, 1_800)));
    }

    #[test]
    fn a_region_is_a_share_of_a_failure_and_a_stop_is_none() {
        let mut policy = MeasuredCost::new(known(8, 3_600), BOUNDS, s(0));
        policy.restored(at(0), ALL);
        policy.started(at(0), s(1));
        assert_eq!(policy.mtbf(at(3_600)), s(7_200), "a leader begins, and nothing has failed");
        // A stop with a savepoint has failed, and checkpoints go on.
        policy.started(at(100), s(1));
        assert_eq!(policy.mtbf(at(3_600)), s(7_200));
        for _ in 0..4 {
            policy.restored(at(200), Share { subtasks: 2, of: 8 });
            policy.started(at(200), s(1));
        }
        assert_eq!(policy.mtbf(at(3_600)), s(3_600), "four quarters of the job are one failure");
    }

    proptest! {
        /// Dearer checkpoints and rarer failures both make for longer intervals, whatever the
        /// formula, and the bounds hold.
        #[test]
        fn intervals_grow_with_cost_and_with_up_time(
            cost in 1_u64..10_000_000,
            mtbf in 10_000_000_u64..100_000_000_000,
            more in 1_u64..1_000_000,
        ) {
            let us = VirtualDuration::from_micros;
            for formula in FORMULAS {
                let of = |cost, mtbf| {
                    BOUNDS.interval(formula, Estimate { cost: us(cost), mtbf: us(mtbf) })
                };
                let here = of(cost, mtbf);
                prop_assert!(BOUNDS.min <= here && here <= BOUNDS.max);
                prop_assert!(here <= of(cost + more, mtbf), "{formula:?}, cost");
                // Beyond twice the up-time Daly's formula changes form.
                prop_assert!(cost >= mtbf || here <= of(cost, mtbf + more), "{formula:?}, up-time");
            }
        }

        /// No interval wastes less than the exact one.
        #[test]
        fn nothing_beats_the_exact_interval(
            cost in 1_u64..1_000_000,
            mtbf in 10_000_000_u64..100_000_000_000,
            factor in 500_u64..2_000,
        ) {
            let seconds = |us: u64| Seconds::from(VirtualDuration::from_micros(us));
            let wear = Wear::new(seconds(cost), seconds(mtbf)).expect("both are above zero");
            let best = Seconds::from(Formula::Exact.interval(wear)).get();
            let other = best * factor as f64 / 1_000.0;
            if let Ok(waste) = wear.waste(other) {
                prop_assert!(wear.waste(best).expect("it is longer than the cost") <= waste + 1e-9);
            }
        }

        /// Whatever was assumed, a long steady history leads to the optimum.
        #[test]
        fn measuring_converges(
            assumed in 60_u64..1_000_000,
            cost in 1_u64..20,
            every in 600_u64..7_200,
        ) {
            let mut policy = MeasuredCost::new(known(1, assumed), BOUNDS, s(0));
            policy.started(at(0), s(0));
            let mut now = 0;
            while policy.failures < 2_000 * WHOLE {
                now += every;
                policy.completed(at(now), CheckpointCost { duration: s(cost), stalled: s(cost) });
                policy.restored(at(now), ALL);
                policy.started(at(now), s(0));
            }
            let found = policy.interval(at(now)).as_nanos();
            let best = BOUNDS.interval(Formula::Exact, known(cost, every)).as_nanos();
            // The square root of what one expected failure in 2,001 can shift, and a second's worth
            // of rounding of the average.
            prop_assert!(found.abs_diff(best) * 100 <= best * 50, "{found} for {best}");
        }
    }
}
