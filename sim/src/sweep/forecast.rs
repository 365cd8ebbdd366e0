//! The closed forms beside the simulated points: what `cutline::model` says of the same job.
//!
//! A closed form knows nothing of subtasks and channels; it has a handful of parameters. Those that
//! the scenario states are taken from it. The others are measured, once for all points that differ
//! in nothing but their interval (a *family*): where the curve bends between these points is the
//! form's own doing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use cutline::model::freshness::Cadence;
use cutline::model::interval::Wear;
use cutline::model::lag::Lag;
use cutline::model::recovery::{Age, Outage, Pauses, Stream};
use cutline::model::renewal::{UpTimes, useful_share};
use cutline::model::utilization::{Periodic, work_of};
use cutline::model::{Probability, Rate, Seconds};
use cutline::time::VirtualDuration;

use super::analysis::{Analysis, Point};
use super::grid::{Axis, Grid};
use super::metric::{Metric, Quantity as Q, Statistic, digits, seconds};
use super::row::{RecoveryRow, Row};
use crate::kernel::distribution::Distribution;
use crate::scenario::Scenario;
use crate::scenario::model::{FailureLaw, OperatorKind};

/// Whether an axis is that of the checkpoint interval.
pub fn is_interval(axis: &Axis) -> bool {
    ["checkpointing.interval", "flink.execution.checkpointing.interval"].contains(&&*axis.path)
}

/// Where a parameter comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The scenario says so.
    Declared,
    /// The mean over the points of a family.
    Measured,
}

impl Origin {
    /// For reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Measured => "measured",
        }
    }
}

/// A parameter of the closed forms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameter {
    /// Its symbol in the documentation of `cutline::model`.
    pub symbol: &'static str,
    /// Its name as a column, with its unit.
    pub column: &'static str,
    /// What it is.
    pub what: &'static str,
    /// Its value, in the unit of the column.
    pub value: f64,
    /// Where it comes from.
    pub origin: Origin,
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.symbol, self.shown())
    }
}

impl Parameter {
    /// Its value to read.
    pub fn shown(&self) -> String {
        match self.column.ends_with("_s") {
            true => seconds(self.value),
            false => digits(self.value),
        }
    }
}

/// Points that differ in nothing but their interval, and what they have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// The points, by number.
    pub points: Vec<usize>,
    /// Values of the other axes, to read; empty if there are none.
    pub label: String,
    /// What the closed forms are given.
    pub parameters: Vec<Parameter>,
    /// The law of failures, if the scenario has one that is not exponential.
    up_times: Option<UpTimes>,
    /// Real records a second.
    rate: f64,
    min_pause: f64,
    commit: f64,
    /// Messages, requests and bytes of a checkpoint.
    each: [Option<f64>; 3],
    /// Full snapshots that are kept; of increments no form here knows the files.
    retained: Option<f64>,
}

/// Closed forms of all points of a sweep.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forecasts {
    /// The families, by their first point.
    pub families: Vec<Family>,
    /// Of each point, its interval in seconds.
    intervals: BTreeMap<usize, f64>,
}

impl Forecasts {
    /// Of the points that an analysis has; `scenarios` are those of all points of the grid.
    pub fn new(
        grid: &Grid,
        analysis: &Analysis,
        rows: &[Row],
        scenarios: &[Arc<Scenario>],
    ) -> Self {
        let mut members: BTreeMap<Vec<usize>, Vec<&Point>> = BTreeMap::new();
        let mut intervals = BTreeMap::new();
        for point in &analysis.points {
            let Some(interval) = scenarios[point.point].checkpointing.interval else { continue };
            intervals.insert(point.point, span(interval));
            let mut place = grid.place(point.point);
            for (at, axis) in place.iter_mut().zip(&grid.axes) {
                if is_interval(axis) {
                    *at = 0;
                }
            }
            members.entry(place).or_default().push(point);
        }
        let family = |points: &Vec<&Point>| {
            let first = points[0].point;
            let is_other = |axis: &Axis| !is_interval(axis) && axis.values.len() > 1;
            Family::new(points, grid.label_of(first, is_other), rows, &scenarios[first])
        };
        Self { families: members.values().map(family).collect(), intervals }
    }

    /// The family of a point.
    pub fn family(&self, point: usize) -> Option<&Family> {
        self.families.iter().find(|family| family.points.contains(&point))
    }

    /// What the closed form says of a point; `None`: there is none, or it does not hold there.
    pub fn value(&self, point: usize, metric: Metric) -> Option<f64> {
        self.family(point)?.at(*self.intervals.get(&point)?, metric)
    }
}

fn span(span: VirtualDuration) -> f64 {
    Seconds::from(span).get()
}

/// The mean of samples with their weights.
fn pooled(samples: impl Iterator<Item = Option<(f64, f64)>>) -> Option<f64> {
    let (sum, weight) = samples
        .flatten()
        .fold((0.0, 0.0), |(sum, all), (value, weight)| (sum + value, all + weight));
    (weight > 0.0).then(|| sum / weight)
}

fn mean_of(distribution: Distribution) -> f64 {
    match distribution {
        Distribution::Constant(value) => span(value),
        Distribution::Uniform { min, max } => (span(min) + span(max)) / 2.0,
        Distribution::Exponential { min: _, mean } => span(mean),
        Distribution::LogNormal { median, sigma_permille } => {
            let sigma = f64::from(sigma_permille) / 1_000.0;
            span(median) * libm::exp(sigma * sigma / 2.0)
        }
    }
}

impl Family {
    fn new(points: &[&Point], label: String, rows: &[Row], scenario: &Scenario) -> Self {
        let mean = |quantity| Metric { quantity, statistic: Statistic::Mean };
        let checkpoints = |point: &Point| {
            point.value(mean(Q::Checkpoints)).map(|per_h| per_h / 3_600.0 * point.virtual_s)
        };
        // What comes of all checkpoints of a point, over their number.
        let each = |quantity: Q| {
            pooled(points.iter().map(|point| {
                let in_all = point.value(mean(quantity))? * point.virtual_s;
                Some((in_all, checkpoints(point)?))
            }))
        };
        let duration = pooled(points.iter().map(|point| {
            let count = checkpoints(point)?;
            Some((point.value(mean(Q::Duration))? * count, count))
        }));
        let numbers: Vec<usize> = points.iter().map(|point| point.point).collect();
        let mut of_family: Vec<&Row> =
            rows.iter().filter(|row| row.counts() && numbers.contains(&row.point)).collect();
        // A sum of floats depends on its order.
        of_family.sort_by_key(|row| (row.repeat, row.point));
        // A failure in a recovery hides where one part of it ended.
        let single: Vec<&RecoveryRow> = of_family
            .iter()
            .flat_map(|row| &row.recoveries)
            .filter(|recovery| recovery.failures == 1)
            .collect();
        let downtime = pooled(single.iter().map(|it| Some((it.downtime_s, 1.0))));
        let speed = pooled(
            single
                .iter()
                .filter(|it| it.replay_s > 0.0)
                .map(|it| Some((it.replayed_s, it.replay_s))),
        );
        let failures: u64 = points.iter().map(|point| point.failures).sum();
        let virtual_s: f64 = points.iter().map(|point| point.virtual_s).sum();
        let mtbf = match &scenario.failures {
            Some(failures) => Some((span(failures.mtbf), Origin::Declared)),
            None => (failures > 0).then(|| (virtual_s / failures as f64, Origin::Measured)),
        };
        let up_times = scenario.failures.as_ref().and_then(|failures| match failures.law {
            FailureLaw::Exponential => None,
            FailureLaw::Weibull { shape_permille } => {
                let shape = f64::from(shape_permille) / 1_000.0;
                UpTimes::weibull_with_mean(shape, Seconds::from(failures.mtbf)).ok()
            }
        });
        let measured = |value: Option<f64>| value.map(|value| (value, Origin::Measured));
        let parameters = [
            (
                "c",
                "checkpoint_cost_s",
                "processing time of one checkpoint",
                measured(each(Q::Overhead)),
            ),
            ("d", "checkpoint_duration_s", "from trigger to completion", measured(duration)),
            ("D", "downtime_s", "from a failure until all subtasks run", measured(downtime)),
            (
                "mu/lambda",
                "capacity_over_rate",
                "how much faster input is read again than it comes in",
                measured(speed),
            ),
            ("M", "mtbf_s", "mean time between failures", mtbf),
        ];
        let operators = scenario.job.operators.iter();
        let sources = operators.filter_map(|operator| operator.kind.as_source());
        let rate =
            sources.map(|it| f64::from(it.splits) * f64::from(it.weight) / span(it.every)).sum();
        let tasks = |of: &dyn Fn(&OperatorKind) -> bool| -> f64 {
            let counted = scenario.job.operators.iter().filter(|operator| of(&operator.kind));
            counted.map(|operator| f64::from(operator.parallelism)).sum()
        };
        let messages =
            tasks(&|kind| matches!(kind, OperatorKind::Source(_))) + 2.0 * tasks(&|_| true);
        Self {
            points: numbers,
            label,
            parameters: parameters
                .into_iter()
                .filter_map(|(symbol, column, what, given)| {
                    let (value, origin) = given?;
                    Some(Parameter { symbol, column, what, value, origin })
                })
                .collect(),
            up_times,
            rate,
            min_pause: span(scenario.checkpointing.min_pause),
            commit: mean_of(scenario.network.control_latency) + mean_of(scenario.external.latency),
            each: [Some(messages), each(Q::Requests), each(Q::Written)],
            retained: (!scenario.checkpointing.incremental && !scenario.logs_changes())
                .then(|| f64::from(scenario.checkpointing.retained)),
        }
    }

    /// The parameters in a line: `c 150 ms, d 1.06 s (measured); M 60.0 min (declared)`.
    pub fn said(&self) -> String {
        let of = |origin: Origin| {
            let parameters = self.parameters.iter().filter(|it| it.origin == origin);
            let shown: Vec<String> = parameters.map(Parameter::to_string).collect();
            (!shown.is_empty()).then(|| format!("{} ({})", shown.join(", "), origin.name()))
        };
        let parts: Vec<String> =
            [Origin::Measured, Origin::Declared].into_iter().filter_map(of).collect();
        parts.join("; ")
    }

    fn parameter(&self, symbol: &str) -> Option<f64> {
        let found = self.parameters.iter().find(|parameter| parameter.symbol == symbol);
        found.map(|parameter| parameter.value)
    }

    fn seconds(&self, symbol: &str) -> Option<Seconds> {
        Seconds::new(self.parameter(symbol)?).ok()
    }

    fn outage(&self) -> Option<Outage> {
        let capacity = Rate::new(self.rate * self.parameter("mu/lambda")?).ok()?;
        let stream = Stream::new(Rate::new(self.rate).ok()?, capacity).ok()?;
        Some(Outage { stream, downtime: self.seconds("D")? })
    }

    /// Cost and failures: what the best interval depends on.
    pub fn wear(&self) -> Option<Wear> {
        let wear = Wear::new(self.seconds("c")?, self.seconds("M")?);
        wear.ok().filter(|_| self.up_times.is_none())
    }

    /// What the closed form says at an interval of so many seconds.
    pub fn at(&self, interval: f64, metric: Metric) -> Option<f64> {
        let duration = self.seconds("d")?;
        let pause = Seconds::new(self.min_pause).ok()?;
        let interval = Cadence::new(Seconds::new(interval).ok()?, duration, pause).ok()?.interval;
        let every = Seconds::new(interval).ok()?;
        let age = Age { interval: every, duration };
        let pauses = || Some(Pauses { interval: every, cost: self.seconds("c")? });
        match (metric.quantity, metric.statistic) {
            (Q::LostWork, _) => self.lost_work(every),
            (Q::Utilisation, _) => self.lost_work(every).map(|lost| 1.0 - lost),
            (Q::Overhead, _) => Some(self.parameter("c")? / interval * self.up_share()?),
            (Q::Recovery, Statistic::Mean) => {
                self.outage()?.mean_recovery_with_pauses(age, pauses()?)
            }
            (Q::Recovery, Statistic::Quantile(permille)) => {
                let share = Probability::new(f64::from(permille) / 1_000.0).ok()?;
                self.outage()?.recovery_with_pauses(age.quantile(share), pauses()?)
            }
            (Q::Recovery, Statistic::Max) => {
                self.outage()?.recovery_with_pauses(age.worst(), pauses()?)
            }
            (Q::Replay, Statistic::Mean) => {
                Some(age.mean(Probability::ZERO).ok()? * self.outage()?.stream.load())
            }
            (Q::CommitLatency, Statistic::Mean) => {
                let waiting =
                    if self.parameter("M").is_some() { self.backlog(every)? } else { 0.0 };
                Some(age.mean(Probability::ZERO).ok()? + self.commit + waiting / self.rate)
            }
            (Q::Backlog, _) => self.backlog(every),
            (Q::CheckpointMessages, _) => Some(self.each[0]? / interval * self.up_share()?),
            (Q::Requests, _) => Some(self.each[1]? / interval * self.up_share()?),
            (Q::Written, _) => Some(self.each[2]? / interval * self.up_share()?),
            (Q::Storage, Statistic::Mean) => Some(self.each[2]? * self.retained?),
            (Q::Checkpoints, _) => Some(3_600.0 / interval * self.up_share()?),
            _ => None,
        }
    }

    /// The share of time in which all subtasks run: failures strike at any time, and one in a
    /// downtime begins it anew.
    fn up_share(&self) -> Option<f64> {
        match (self.parameter("M"), self.parameter("D")) {
            (None, _) => Some(1.0),
            (Some(mtbf), Some(down)) => Some(libm::exp(-down / mtbf)),
            // Failures are rarer than the runs are long.
            (Some(_), None) => Some(1.0),
        }
    }

    /// A failure may strike during the recovery from another one, and the first checkpoint of an
    /// execution comes after a part of the interval, as Flink has it.
    fn lost_work(&self, every: Seconds) -> Option<f64> {
        let cost = self.seconds("c")?;
        let Some(mtbf) = self.seconds("M") else { return Some(cost.get() / every.get()) };
        let latency = self.seconds("d")?.get().max(cost.get());
        let job = Periodic {
            work: work_of(every, cost).ok()?,
            cost,
            latency: Seconds::new(latency).ok()?,
            mtbf,
            restart: self.seconds("D")?,
            downtime: Seconds::ZERO,
            failure_free_recovery: false,
        };
        let useful = match &self.up_times {
            Some(up_times) => useful_share(&job, up_times),
            None => job.useful_share_with_random_first_delay(),
        };
        useful.ok().map(|useful| 1.0 - useful)
    }

    fn backlog(&self, every: Seconds) -> Option<f64> {
        let lag = Lag {
            outage: self.outage()?,
            cost: self.seconds("c")?,
            duration: self.seconds("d")?,
            mtbf: self.seconds("M")?,
        };
        // Beyond, the pauses of checkpoints overlap with what they leave to be drained.
        const HOLDS: f64 = 0.15;
        lag.mean(every).ok().filter(|_| lag.pause_load(every) <= HOLDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family() -> Family {
        let parameter = |symbol, value| Parameter {
            symbol,
            column: "",
            what: "",
            value,
            origin: Origin::Measured,
        };
        Family {
            points: vec![0],
            label: String::new(),
            parameters: vec![
                parameter("c", 0.2),
                parameter("d", 5.0),
                parameter("D", 30.0),
                parameter("mu/lambda", 2.0),
                parameter("M", 86_400.0),
            ],
            up_times: None,
            rate: 1e4,
            min_pause: 0.0,
            commit: 0.5,
            each: [Some(12.0), None, Some(1e9)],
            retained: Some(3.0),
        }
    }

    /// The reference sweep of the models' tables: lambda = 1e4, mu = 2e4, c = .2, D = 30, d = 5,
    /// M = 1 day.
    #[test]
    fn as_in_the_tables_of_the_models() {
        let metric = |text| Metric::parse(text).expect("it is measured");
        for (interval, text, expected, tolerance) in [
            (20.0, "recovery.mean", 75.708, 1e-4),
            (60.0, "recovery.max", 125.4, 1e-9),
            (120.0, "backlog", 872.84, 1e-4),
            // The table has the timer start with a full interval.
            (120.0, "utilisation", 0.997239, 1e-4),
            (20.0, "overhead", 0.01 * 0.999653, 1e-6),
            (60.0, "replay", 17.5, 1e-9),
            (60.0, "storage.mean", 3e9, 1e-9),
            (60.0, "checkpoint_messages", 0.2 * 0.999653, 1e-6),
        ] {
            let found = family().at(interval, metric(text)).expect(text);
            assert!((found / expected - 1.0).abs() <= tolerance, "{text} at {interval}: {found}");
        }
        let commit = family().at(120.0, metric("commit_latency")).expect("it is predicted");
        assert!((commit - (60.0 + 5.0 + 0.5 + 0.087284)).abs() < 1e-3, "{commit}");
    }

    #[test]
    fn nothing_is_said_where_a_form_does_not_hold() {
        let metric = |text| Metric::parse(text).expect("it is measured");
        let mut heavy = family();
        heavy.parameters[0].value = 1.0;
        assert_eq!(heavy.at(5.0, metric("backlog")), None, "pauses take most of the slack");
        assert_eq!(family().at(60.0, metric("latency.p99")), None, "no form has it");
        let mut saturated = family();
        saturated.parameters[3].value = 0.9;
        assert_eq!(saturated.at(60.0, metric("recovery")), None);
        let mut calm = family();
        calm.parameters.truncate(2);
        assert_eq!(calm.at(20.0, metric("lost_work")), Some(0.01), "nothing fails");
        assert_eq!(calm.at(60.0, metric("recovery")), None);
    }

    #[test]
    fn means_of_distributions() {
        let ms = VirtualDuration::from_millis;
        for (distribution, expected) in [
            (Distribution::Constant(ms(20)), 0.02),
            (Distribution::Uniform { min: ms(10), max: ms(30) }, 0.02),
            (Distribution::Exponential { min: ms(5), mean: ms(20) }, 0.02),
            (Distribution::LogNormal { median: ms(20), sigma_permille: 500 }, 0.02 * 1.133_148_5),
        ] {
            assert!((mean_of(distribution) - expected).abs() < 1e-8, "{distribution:?}");
        }
    }
}
