//! Properties that need no table: scaling, monotonicity, invariances; and what is refused.

use proptest::prelude::*;

use super::alignment::{Delays, bottleneck_alignment};
use super::choice::{Answer, Binding, Choice, Goal, Question};
use super::freshness::Visibility;
use super::interval::Wear;
use super::lag::Lag;
use super::recovery::{Age, CatchUpSpread, Outage, Pauses, Stream, heartbeat_detection};
use super::renewal::{UpTimes, useful_share};
use super::restart::checkpoints_until_failure;
use super::statistics;
use super::storage::{Changelog, Retained, dirty_uniform, dirty_zipf};
use super::utilization::{Periodic, work_of};
use super::{ModelError, Probability, Rate, Seconds};

fn s(seconds: f64) -> Seconds {
    Seconds::new(seconds).expect("a span")
}

fn p(probability: f64) -> Probability {
    Probability::new(probability).expect("a probability")
}

fn stream(rate: f64, capacity: f64) -> Stream {
    Stream::new(Rate::new(rate).expect("a rate"), Rate::new(capacity).expect("a rate"))
        .expect("slack")
}

fn near(actual: f64, expected: f64, relative: f64) -> bool {
    (actual - expected).abs() <= relative * expected.abs()
}

/// A job of all the symbols, in seconds and records.
#[derive(Clone, Copy, Debug)]
struct Job {
    rate: f64,
    load: f64,
    interval: f64,
    cost: f64,
    duration: f64,
    restart: f64,
    down: f64,
    mtbf: f64,
}

impl Job {
    fn wear(&self) -> Wear {
        Wear::new(s(self.cost), s(self.mtbf)).expect("positive")
    }

    fn outage(&self) -> Outage {
        Outage { stream: stream(self.rate, self.rate / self.load), downtime: s(self.down) }
    }

    fn lag(&self) -> Lag {
        Lag {
            outage: self.outage(),
            cost: s(self.cost),
            duration: s(self.duration),
            mtbf: s(self.mtbf),
        }
    }

    fn periodic(&self) -> Periodic {
        Periodic {
            work: work_of(s(self.interval + self.cost), s(self.cost)).expect("positive"),
            cost: s(self.cost),
            latency: s(self.cost + self.duration),
            mtbf: s(self.mtbf),
            restart: s(self.restart),
            downtime: s(self.down),
            failure_free_recovery: false,
        }
    }

    fn share(&self) -> f64 {
        self.periodic().useful_share().expect("valid")
    }

    fn worst(&self) -> f64 {
        self.outage().recovery(self.interval + self.duration)
    }

    /// All times are so many times as long; the rates stay.
    fn scaled(mut self, by: f64) -> Self {
        let times = [
            &mut self.interval,
            &mut self.cost,
            &mut self.duration,
            &mut self.restart,
            &mut self.down,
            &mut self.mtbf,
        ];
        times.into_iter().for_each(|time| *time *= by);
        self
    }
}

fn job() -> impl Strategy<Value = Job> {
    let rates = (1.0..1e5_f64, 0.05..0.95_f64);
    let checkpoint = (1.0..600.0_f64, 0.01..5.0_f64, 0.1..60.0_f64);
    let failure = (0.0..60.0_f64, 0.0..120.0_f64, 2e3..1e6_f64);
    (rates, checkpoint, failure).prop_map(
        |((rate, load), (interval, cost, duration), (restart, down, mtbf))| Job {
            rate,
            load,
            interval,
            cost,
            duration,
            restart,
            down,
            mtbf,
        },
    )
}

proptest! {
    #[test]
    fn scaling_all_times_scales_times_and_leaves_shares(job in job(), by in 0.01..100.0_f64) {
        let other = job.scaled(by);
        prop_assert!(near(other.wear().exact(), by * job.wear().exact(), 1e-10));
        prop_assert!(near(other.worst(), by * job.worst(), 1e-10));
        let best = |job: Job| job.lag().best_interval().expect("valid");
        prop_assert!(near(best(other), by * best(job), 1e-10));
        let lag = |job: Job| job.lag().mean(s(job.interval)).expect("valid");
        prop_assert!(near(lag(other), by * lag(job), 1e-9));
        prop_assert!(near(other.share(), job.share(), 1e-9));
    }

    #[test]
    fn the_useful_share_falls_with_every_loss(job in job(), more in 0.1..10.0_f64, q in 0.0..0.9_f64) {
        let share = job.share();
        prop_assert!(share > 0.0 && share < 1.0);
        for worse in [
            Job { cost: job.cost + more, ..job },
            Job { duration: job.duration + more, ..job },
            Job { restart: job.restart + more, ..job },
            Job { down: job.down + more, ..job },
        ] {
            prop_assert!(worse.share() < share, "{worse:?}");
        }
        let failing = |q| job.periodic().useful_share_with_failing_checkpoints(p(q)).expect("valid");
        prop_assert!(near(failing(0.0), share, 1e-14));
        prop_assert!(failing(q + 0.05) < failing(q));
    }

    #[test]
    fn the_useful_share_has_one_maximum_and_nothing_else_moves_it(job in job(), away in 1.05..4.0_f64) {
        let best = job.wear().exact();
        let at = |interval: f64| {
            let work = interval - job.cost;
            (work > 0.0).then(|| Job { interval: work, ..job }.share())
        };
        let highest = at(best).expect("more than the cost");
        let (near_side, far_side) = (best * away, best * away * away);
        prop_assert!(at(near_side) < Some(highest));
        prop_assert!(at(far_side) < at(near_side));
        // A share of `None` is less than any.
        prop_assert!(at(best / away) < Some(highest));
        prop_assert!(at(best / away / away) <= at(best / away));
    }

    #[test]
    fn newton_and_the_lambert_form_agree(job in job()) {
        // w = T/M - 1 - C/M solves w e^w = -e^(-1 - C/M).
        let ratio = job.cost / job.mtbf;
        let w = job.wear().exact() / job.mtbf - 1.0 - ratio;
        prop_assert!(near(w * libm::exp(w), -libm::exp(-1.0 - ratio), 1e-12));
    }

    #[test]
    fn failing_checkpoints_want_shorter_intervals(job in job(), q in 0.0..0.9_f64) {
        let best = |q| job.wear().exact_with_failing_checkpoints(p(q)).expect("valid");
        prop_assert!(near(best(0.0), job.wear().exact(), 1e-9));
        prop_assert!(best(q + 0.05) < best(q));
        prop_assert!(best(q) > job.cost);
    }

    #[test]
    fn the_flat_region_wastes_what_it_says(job in job(), more in 0.01..0.5_f64) {
        let wear = job.wear();
        let (shortest, longest) = wear.flat_region(more).expect("valid");
        let most = wear.waste(wear.exact()).expect("valid") * (1.0 + more);
        prop_assert!(shortest < wear.exact() && wear.exact() < longest);
        for end in [shortest, longest] {
            prop_assert!(near(wear.waste(end).expect("valid"), most, 1e-6), "{end}");
        }
    }

    #[test]
    fn recovery_rises_with_what_delays_it(job in job(), more in 0.1..10.0_f64) {
        let worst = job.worst();
        for worse in [
            Job { load: job.load + 0.01, ..job },
            Job { interval: job.interval + more, ..job },
            Job { duration: job.duration + more, ..job },
            Job { down: job.down + more, ..job },
        ] {
            prop_assert!(worse.worst() > worst, "{worse:?}");
        }
        // More records at the same capacity.
        let faster = Job { rate: job.rate * 1.02, load: job.load * 1.02, ..job };
        prop_assert!(faster.worst() > worst);
    }

    #[test]
    fn the_interval_for_a_budget_is_its_inverse(job in job(), more in 0.1..10.0_f64) {
        let budget = s(job.worst());
        let outage = job.outage();
        let found = outage.interval_for(budget, s(job.duration));
        prop_assert!(near(found, job.interval, 1e-6));
        let later = Outage { downtime: s(job.down + more), ..outage };
        prop_assert!(later.interval_for(budget, s(job.duration)) < found);
        let capacity = job.rate / job.load;
        let faster = Outage { stream: stream(job.rate * 1.01, capacity), ..outage };
        prop_assert!(faster.interval_for(budget, s(job.duration)) < found);
    }

    #[test]
    fn pauses_only_delay(job in job()) {
        let outage = job.outage();
        let age = job.interval + job.duration;
        let pauses = |cost| Pauses { interval: s(job.interval), cost: s(cost) };
        let plain = outage.recovery(age);
        let none = outage.recovery_with_pauses(age, pauses(0.0)).expect("it catches up");
        prop_assert!(near(none, plain, 1e-12));
        if let Some(paused) = outage.recovery_with_pauses(age, pauses(job.cost)) {
            prop_assert!(paused >= plain * (1.0 - 1e-12));
            let drained = outage.recovery_with_pauses(age, pauses(job.cost / 2.0));
            prop_assert!(drained.is_some_and(|half| half <= paused + 1e-9));
        }
    }

    #[test]
    fn the_interval_with_pauses_keeps_the_budget_and_is_the_longest(job in job(), slack in 1.0..5.0_f64) {
        let outage = job.outage();
        let budget = slack * job.worst();
        let found = outage.interval_for_with_pauses(s(budget), s(job.duration), s(job.cost), 0.0);
        let worst = |interval: f64| {
            let pauses = Pauses { interval: s(interval), cost: s(job.cost) };
            outage.recovery_with_pauses(interval + job.duration, pauses)
        };
        let without = outage.interval_for(s(budget), s(job.duration));
        if let Some(found) = found {
            prop_assert!(found <= without * (1.0 + 1e-12));
            let kept = worst(found * (1.0 - 1e-9)).expect("it catches up");
            prop_assert!(kept <= budget * (1.0 + 1e-6), "{kept} > {budget}");
        }
        // Between what was found and what holds without pauses, the budget is missed.
        let low = found.unwrap_or(0.0);
        for part in [0.01, 0.3, 0.6, 0.99] {
            let interval = low + (without - low) * part;
            if interval > low * (1.0 + 1e-6) && interval > 0.0 {
                let missed = worst(interval).is_none_or(|worst| worst > budget * (1.0 - 1e-9));
                prop_assert!(missed, "{interval} s would do, not only {found:?}");
            }
        }
    }

    #[test]
    fn the_least_lag_is_the_least(job in job(), away in 1.02..5.0_f64) {
        let lag = job.lag();
        let best = lag.best_interval().expect("valid");
        let at = |interval: f64| lag.mean(s(interval)).expect("valid");
        prop_assert!(at(best * away) >= at(best) && at(best / away) >= at(best));
        prop_assert!(best <= lag.best_interval_no_downtime() * (1.0 + 1e-12));
        let bound = lag.best_interval_long_downtime().expect("valid").expect("it takes time");
        prop_assert!(best <= bound * (1.0 + 1e-12));
    }

    #[test]
    fn alignment_ignores_the_order_of_channels(
        mut ahead in prop::collection::vec(0.0..1e4_f64, 1..20),
        turn in 0_usize..20,
    ) {
        let capacity = Rate::new(1e3).expect("a rate");
        let before = bottleneck_alignment(&ahead, capacity).expect("valid");
        let turn = turn % ahead.len();
        ahead.rotate_left(turn);
        prop_assert!(near(bottleneck_alignment(&ahead, capacity).expect("valid"), before, 1e-12));
    }

    #[test]
    fn more_channels_wait_longer(channels in 1_u64..2_000) {
        for delays in [
            Delays::Exponential { mean: s(2.0) },
            Delays::Uniform { width: s(2.0) },
            Delays::Normal { deviation: s(2.0) },
        ] {
            let at = |n| delays.alignment(n).expect("channels");
            prop_assert!(at(channels).range < at(channels + 1).range, "{delays:?}");
            prop_assert!(at(channels).blocked < at(channels + 1).blocked, "{delays:?}");
        }
    }

    #[test]
    fn renewal_is_exponential_where_the_law_is(job in job(), safe: bool) {
        let periodic = Periodic { failure_free_recovery: safe, ..job.periodic() };
        let expected = periodic.useful_share().expect("valid");
        let mean = s(job.mtbf);
        let laws =
            [UpTimes::exponential(mean), UpTimes::weibull_with_mean(1.0, mean)].map(|law| law.expect("a mean"));
        for law in laws {
            let found = useful_share(&periodic, &law).expect("valid");
            prop_assert!(near(found, expected, 1e-9), "{law:?}: {found}, not {expected}");
        }
    }

    #[test]
    fn dirty_keys_saturate_and_equal_keys_are_dirtiest(keys in 1_u64..500, updates in 0.0..1e4_f64) {
        let uniform = dirty_uniform(updates, keys as f64).expect("keys");
        prop_assert!((0.0..=1.0).contains(&uniform));
        prop_assert!(near(dirty_zipf(updates, keys, 0.0).expect("keys"), uniform, 1e-9));
        prop_assert!(dirty_zipf(updates, keys, 1.0).expect("keys") <= uniform * (1.0 + 1e-12));
    }

    #[test]
    fn a_proportion_is_within_its_intervals(n in 1_u64..5_000, share in 0.0..=1.0_f64) {
        let k = (n as f64 * share) as u64;
        let share = k as f64 / n as f64;
        for interval in [
            statistics::Proportion::wilson(k, n, p(0.95)),
            statistics::Proportion::clopper_pearson(k, n, p(0.95)),
        ] {
            let interval = interval.expect("valid");
            prop_assert!(interval.lower <= share && share <= interval.upper, "{interval:?}");
        }
    }
}

/// The job of the example in the documents.
fn question(recovery: Option<f64>, visible: Option<f64>, goal: Goal) -> Answer {
    let question = Question {
        outage: Outage { stream: stream(1e4, 2e4), downtime: s(30.0) },
        duration: s(5.0),
        wear: Wear::new(s(0.2), s(86_400.0)).expect("positive"),
        min_pause: Seconds::ZERO,
        commit: s(0.1),
        recovery_budget: recovery.map(s),
        visibility_budget: visible.map(s),
        goal,
    };
    question.answer().expect("valid")
}

#[test]
fn the_tightest_budget_binds() {
    let set = |answer: Answer| match answer.choice {
        Choice::Feasible { interval, binding, .. } => (interval, Some(binding)),
        Choice::Infeasible { ceiling, .. } => (ceiling, None),
    };
    use super::choice::Budget::{Recovery, Visibility as Visible};
    for (name, answer, interval, binding) in [
        ("none", question(None, None, Goal::Capacity), 185.9699, Some(Binding::Goal)),
        ("freshness", question(None, None, Goal::Freshness), 9.82856, Some(Binding::Goal)),
        (
            "recovery",
            question(Some(120.0), None, Goal::Capacity),
            55.0,
            Some(Binding::Budget(Recovery)),
        ),
        (
            "both",
            question(Some(120.0), Some(20.0), Goal::Capacity),
            14.9,
            Some(Binding::Budget(Visible)),
        ),
        (
            "a goal within the budget",
            question(Some(120.0), None, Goal::Freshness),
            9.82856,
            Some(Binding::Goal),
        ),
        ("the floor", question(Some(70.0), None, Goal::Capacity), 5.0, Some(Binding::Floor)),
        ("too tight", question(Some(61.0), None, Goal::Capacity), -4.0, None),
    ] {
        let (found, by) = set(answer);
        assert!(near(found, interval, 1e-6), "{name}: {found} s");
        assert_eq!(by, binding, "{name}");
    }
}

#[test]
fn heavy_tails_are_summed_whole() {
    // The mean of a lognormal law is what its survival adds up to.
    let law = UpTimes::lognormal(8.0, 2.5).expect("valid");
    let job = Periodic {
        work: s(0.5),
        cost: Seconds::ZERO,
        latency: Seconds::ZERO,
        mtbf: s(1.0),
        restart: Seconds::ZERO,
        downtime: Seconds::ZERO,
        failure_free_recovery: true,
    };
    // Without any loss, what is lost is the half interval before each failure.
    let share = useful_share(&job, &law).expect("valid");
    assert!(near(1.0 - share, 0.25 / law.mean(), 1e-3), "{}", (1.0 - share) * law.mean());
}

#[test]
fn a_trace_counts_its_completed_intervals() {
    let law = UpTimes::trace(vec![s(25.0), s(9.0), s(40.0)]).expect("valid");
    let job = Periodic {
        work: s(9.0),
        cost: s(1.0),
        latency: s(1.0),
        mtbf: s(1.0),
        restart: Seconds::ZERO,
        downtime: s(5.0),
        failure_free_recovery: true,
    };
    // Of 25, 9 and 40 seconds, two, none and three intervals of ten are saved: a failure at the
    // very end of the fourth comes before its snapshot is there.
    let share = useful_share(&job, &law).expect("valid");
    assert!(near(share, 9.0 * 5.0 / (74.0 + 15.0), 1e-12), "{share}");
}

#[test]
fn what_has_no_answer_is_refused() {
    let rate = |rate| Rate::new(rate).expect("a rate");
    let saturated = Stream::new(rate(10.0), rate(10.0));
    assert_eq!(saturated, Err(ModelError::Saturated { rate: 10.0, capacity: 10.0 }));
    assert!(Stream::new(rate(0.0), rate(10.0)).is_err());
    let none_left = work_of(s(5.0), s(5.0));
    assert_eq!(none_left, Err(ModelError::NoWorkLeft { cost: 5.0, interval: 5.0 }));
    assert!(Wear::new(Seconds::ZERO, s(1.0)).is_err());
    let age = Age { interval: s(10.0), duration: s(1.0) };
    let never = age.mean(p(1.0)).expect_err("no checkpoint completes").to_string();
    assert_eq!(
        never,
        "the probability that a checkpoint fails is 1; it must be below 1, or no checkpoint ever \
         completes"
    );
    assert!(heartbeat_detection(s(5.0), s(10.0)).is_err());
    assert!(statistics::rinott(1, 20, p(0.9)).is_err());
    assert!(statistics::rinott(3, 20, p(0.3)).is_err(), "guessing is as good");
    assert!(CatchUpSpread::new(stream(1.0, 2.0), -1.0).is_err());
}

#[test]
fn small_formulas_give_what_they_say() {
    assert_eq!(heartbeat_detection(s(50.0), s(10.0)), Ok([40.0, 45.0, 50.0]));
    let fresh = Visibility { interval: s(60.0), duration: s(5.0), commit: s(0.5) };
    assert_eq!((fresh.least(), fresh.quantile(p(0.5)), fresh.worst()), (5.5, 35.5, 65.5));
    assert_eq!(Retained::snapshots_for(s(100.0), s(30.0)), Ok(4));
    let log = Changelog {
        materialized: 1e9,
        updates: Rate::new(100.0).expect("a rate"),
        bytes_per_update: 50.0,
        interval: s(600.0),
        duration: s(20.0),
    };
    assert_eq!((log.mean(), log.worst()), (1e9 + 1.6e6, 1e9 + 3.1e6));
    assert_eq!(checkpoints_until_failure(p(1.0), 2), 3.0);
    assert_eq!(checkpoints_until_failure(p(0.0), 2), f64::INFINITY);
}
