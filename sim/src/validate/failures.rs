//! Utilisation, recovery and backlog of a job that fails.

use cutline::model::Seconds;
use cutline::model::interval::Wear;
use cutline::model::lag::Lag;
use cutline::model::recovery::Pauses;
use cutline::model::renewal::{UpTimes, useful_share};
use cutline::model::utilization::{Periodic, work_of};
use serde_json::{Value, json};

use super::Row;
use super::world::{Stream, fail_after_trigger, measures, of, run, seconds, span};
use crate::sweep::metric::Unit;
use crate::sweep::statistics::mean_and_error;

pub(super) const EXPERIMENTS: [fn() -> Vec<Row>; 4] = [utilisation, other_laws, recovery, backlog];

/// `M` of the jobs that fail at random.
const MTBF: f64 = 60.0;

/// A job with some slack: half of its time is work.
fn failing(interval: f64) -> Stream {
    Stream {
        every: 0.1,
        work: 0.04,
        cost: 0.1,
        duration: 0.2,
        downtime: 1.0,
        interval,
        until: 3_600.0,
    }
}

/// What one kind of job does over many failures.
struct Seen {
    /// The useful share of each run, and the mean time between the failures that were drawn for it.
    runs: Vec<(f64, f64)>,
    /// The latter of all runs. A form for 60 s says nothing of runs that happened to have a failure
    /// each 58 s; and as all rows see the same failures, all of them would be off to the same side.
    mtbf: f64,
    downtime: f64,
    duration: f64,
}

fn fail_at_random(stream: &Stream, law: Value, repeats: u64) -> Seen {
    let mut scenario = stream.scenario();
    let mut failures = json!({ "mtbf": span(MTBF), "target": "task" });
    for (key, value) in law.as_object().expect("a law is an object") {
        failures[key] = value.clone();
    }
    scenario["failures"] = failures;
    // As in Flink: the first checkpoint of an execution comes after a part of the interval.
    scenario["checkpointing"].as_object_mut().expect("it is one").remove("initial_delay");
    let mut seen = Seen { runs: Vec::new(), mtbf: 0.0, downtime: 0.0, duration: 0.0 };
    let mut failures = 0.0;
    let (mut downs, mut durations) = (Vec::new(), Vec::new());
    for seed in 0..repeats {
        let outcome = run(&scenario, seed, false);
        let it = measures(&outcome);
        let lost = it.recoveries.down + it.recoveries.replayed + it.sync;
        let drawn = outcome.plan.scenario.faults.len() as f64;
        failures += drawn;
        seen.runs.push((1.0 - seconds(lost) / seconds(it.span), stream.until / drawn));
        downs.extend(
            it.recoveries.done.iter().filter(|it| it.failures == 1).map(|it| seconds(it.downtime)),
        );
        durations.extend(it.duration.mean_s());
    }
    seen.mtbf = stream.until * repeats as f64 / failures;
    seen.downtime = downs.iter().sum::<f64>() / downs.len() as f64;
    seen.duration = durations.iter().sum::<f64>() / durations.len() as f64;
    seen
}

impl Seen {
    fn job(&self, stream: &Stream, mtbf: f64) -> Periodic {
        Periodic {
            work: work_of(of(stream.interval), of(stream.cost)).expect("an interval is longer"),
            cost: of(stream.cost),
            latency: of(self.duration.max(stream.cost)),
            mtbf: of(mtbf),
            restart: of(self.downtime),
            downtime: Seconds::ZERO,
            failure_free_recovery: false,
        }
    }

    /// `form` is the useful share for a mean time between failures; each run is judged by its own.
    fn row(&self, case: String, form: impl Fn(f64) -> f64) -> Row {
        let off: Vec<f64> = self.runs.iter().map(|(useful, mtbf)| useful - form(*mtbf)).collect();
        let useful: f64 = self.runs.iter().map(|(useful, _)| useful).sum();
        Row {
            of: "useful share",
            case,
            unit: Some(Unit::Share),
            predicted: form(self.mtbf),
            simulated: useful / self.runs.len() as f64,
            allowed: 4.0 * mean_and_error(&off).1,
            bound: "4 standard errors",
        }
    }
}

/// Exponential failures, and the best interval by a fit of what was lost.
fn utilisation() -> Vec<Row> {
    const REPEATS: u64 = 8;
    let mut rows = Vec::new();
    let mut lost = Vec::new();
    // The same for all intervals: they see the same failures.
    let mut mtbf = MTBF;
    for interval in [1.0, 2.0, 4.0, 8.0] {
        let stream = failing(interval);
        let seen = fail_at_random(&stream, json!({ "law": "exponential" }), REPEATS);
        let form = |mtbf| {
            let share = seen.job(&stream, mtbf).useful_share_with_random_first_delay();
            share.expect("it is in range")
        };
        let row = seen.row(format!("exponential failures, T = {interval} s"), form);
        mtbf = seen.mtbf;
        lost.push((interval, 1.0 - row.simulated));
        rows.push(row);
    }
    let wear = Wear::new(of(failing(1.0).cost), of(mtbf)).expect("neither is zero");
    let fitted = best_of_fit(&lost);
    for (form, predicted) in [("exact", wear.exact()), ("Young", wear.young())] {
        rows.push(Row {
            of: "best interval",
            case: format!("{form}, against the least of a fit a/T + b T + c"),
            unit: Some(Unit::Seconds),
            predicted,
            simulated: fitted,
            allowed: 0.25 * predicted,
            bound: "a flat minimum: a quarter off costs 2.5 % more waste",
        });
    }
    rows
}

/// The `T` of the least `a/T + b T + c` through these points, by least squares.
fn best_of_fit(points: &[(f64, f64)]) -> f64 {
    let mut normal = [[0.0; 4]; 3];
    for (interval, lost) in points {
        let basis = [1.0 / interval, *interval, 1.0];
        for (row, left) in normal.iter_mut().zip(basis) {
            for (cell, right) in row.iter_mut().zip([basis[0], basis[1], basis[2], *lost]) {
                *cell += left * right;
            }
        }
    }
    for pivot in 0..3 {
        let divisor = normal[pivot][pivot];
        normal[pivot].iter_mut().for_each(|cell| *cell /= divisor);
        let line = normal[pivot];
        for (_, row) in normal.iter_mut().enumerate().filter(|(index, _)| *index != pivot) {
            let factor = row[pivot];
            row.iter_mut().zip(line).for_each(|(cell, of)| *cell -= factor * of);
        }
    }
    libm::sqrt(normal[0][3] / normal[1][3])
}

/// Failures that cluster, and failures that keep a distance.
fn other_laws() -> Vec<Row> {
    const REPEATS: u64 = 8;
    let of_shape = |shape: f64| {
        let stream = failing(4.0);
        let law = json!({ "law": "weibull", "shape": shape.to_string() });
        let seen = fail_at_random(&stream, law, REPEATS);
        let form = |mtbf| {
            let up_times = UpTimes::weibull_with_mean(shape, of(mtbf)).expect("it is in range");
            useful_share(&seen.job(&stream, mtbf), &up_times).expect("it is in range")
        };
        seen.row(format!("Weibull failures of shape {shape}, T = 4 s"), form)
    };
    vec![of_shape(0.7), of_shape(1.5)]
}

/// What single failures cost that strike all over an interval.
struct Struck {
    /// Mean recovery, and what the form says of the same failures.
    recovery: (f64, f64),
    /// Record seconds that wait because of one failure.
    area: f64,
    /// Mean backlog without one.
    steady: f64,
    duration: f64,
    downtime: f64,
}

fn strike(stream: &Stream, phases: u32) -> Struck {
    let pauses = Pauses { interval: of(stream.interval), cost: of(stream.cost) };
    let worst = stream
        .outage(stream.downtime + 0.1)
        .recovery_with_pauses(stream.interval + stream.duration, pauses)
        .expect("it catches up");
    // Two intervals before, the recovery, and half an interval in which nothing is under way.
    let intervals = (worst / stream.interval).ceil() + 4.0;
    let stream = Stream { until: (intervals + 0.5) * stream.interval, ..*stream };
    let calm = run(&stream.scenario(), 0, false);
    let waited = |outcome: &crate::run::Outcome| measures(outcome).recoveries.waited as f64 / 1e9;
    let duration = measures(&calm).duration.mean_s().expect("there are checkpoints");
    let (mut recoveries, mut forms, mut areas, mut downs) = (0.0, 0.0, 0.0, 0.0);
    for phase in 0..phases {
        // From the completion of a checkpoint to that of the next one: all that time the snapshot
        // to go back to is that of the trigger.
        let after = duration + stream.interval * (f64::from(phase) + 0.5) / f64::from(phases);
        let mut scenario = stream.scenario();
        fail_after_trigger(&mut scenario, 2, after);
        let outcome = run(&scenario, 0, false);
        let [recovery] = measures(&outcome).recoveries.done[..] else {
            panic!("one failure, one recovery: {:?}", measures(&outcome).recoveries)
        };
        let down = seconds(recovery.downtime);
        recoveries += seconds(recovery.total());
        forms += stream.outage(down).recovery_with_pauses(after, pauses).expect("as above");
        areas += waited(&outcome) - waited(&calm);
        downs += down;
    }
    let count = f64::from(phases);
    Struck {
        recovery: (recoveries / count, forms / count),
        area: areas / count,
        steady: waited(&calm) / (intervals * stream.interval),
        duration,
        downtime: downs / count,
    }
}

/// From a failure until nothing waits longer than before.
fn recovery() -> Vec<Row> {
    let job = |every: f64, load: f64, interval: f64, cost: f64| Stream {
        every,
        work: every * load,
        cost,
        duration: cost + 1.0,
        downtime: 5.0,
        interval,
        until: 0.0,
    };
    let row = |(load, interval, cost): (f64, f64, f64)| {
        let stream = job(0.01, load, interval, cost);
        let struck = strike(&stream, 8);
        let (simulated, predicted) = struck.recovery;
        Row {
            of: "recovery",
            case: format!("load {load}, T = {interval} s, c = {cost} s, failures all over T"),
            unit: Some(Unit::Seconds),
            predicted,
            simulated,
            // It has ended when a record waits no longer than before and two records more.
            allowed: 0.01 * predicted + 3.0 * stream.every / (1.0 / load - 1.0),
            bound: "1 %, and 3 records to drain",
        }
    };
    [(0.5, 5.0, 0.0), (0.5, 20.0, 0.1), (0.8, 10.0, 0.0), (0.8, 10.0, 0.2), (0.2, 30.0, 0.2)]
        .into_iter()
        .map(row)
        .collect()
}

/// The time average of what waits: table `lag` of the models, for one record in 100 of theirs and
/// more.
fn backlog() -> Vec<Row> {
    const UP: f64 = 4_000.0;
    let row = |(interval, every): (f64, f64)| {
        let stream = Stream {
            every,
            work: every / 2.0,
            cost: 0.2,
            duration: 2.0,
            downtime: 10.0,
            interval,
            until: 0.0,
        };
        let struck = strike(&stream, 8);
        let lag = Lag {
            outage: stream.outage(struck.downtime),
            cost: of(stream.cost),
            duration: of(struck.duration),
            mtbf: of(UP),
        };
        // To first order the failures of a long run add up. In real records: 10,000 come in a
        // second.
        let weight = 10_000.0 * every;
        let low = lag.mean(of(interval)).expect("it is in range");
        let high = lag.mean_high(of(interval)).expect("it is in range").expect("it drains");
        let predicted = weight * (low + high) / 2.0;
        Row {
            of: "mean backlog",
            case: format!("load 0.5, T = {interval} s, c = 0.2 s, D = 10 s, M = 4000 s"),
            unit: Some(Unit::Records),
            predicted,
            simulated: weight * (struck.steady + struck.area / UP),
            allowed: weight * (high - low) / 2.0 + 0.05 * predicted,
            bound: "between drains with and without pauses, widened by 5 %",
        }
    };
    [(3.0, 0.005), (12.0, 0.01), (40.0, 0.02), (80.0, 0.02)].into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fit_finds_the_minimum_that_was_put_in() {
        let points: Vec<(f64, f64)> =
            [1.0, 2.0, 5.0, 9.0].map(|t| (t, 0.3 / t + 0.012 * t + 0.07)).into();
        assert!((best_of_fit(&points) - 5.0).abs() < 1e-9);
    }
}
