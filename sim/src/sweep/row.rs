//! What is kept of a run: one line of `results.jsonl`, with units in the names.

use std::collections::BTreeMap;

use cutline::time::VirtualDuration;
use serde::{Deserialize, Serialize};

use super::metric::{Metric, Quantity, Rates, Statistic, of_run};
use super::recovery::Recovery;
use crate::horizon::Leapt;
use crate::kernel::run::End;
use crate::observe::JobEnd;
use crate::run::Outcome;

/// What came of one run of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The point of the grid, from 0.
    pub point: usize,
    /// The repeat, from 0.
    pub repeat: u64,
    /// The seed: the same for the same repeat of every point.
    pub seed: u64,
    /// The answer of the checks.
    pub verdict: String,
    /// What broke, if something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub violation: Option<String>,
    /// How the run ended: `time`, `finished`, `failed`, `stopped` or `cancelled` by a user,
    /// `budget`.
    pub end: String,
    /// Virtual time.
    pub virtual_s: f64,
    /// Of it, what was leapt over, if that was allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leapt: Option<LeaptRow>,
    /// Kernel events.
    pub events: u64,
    /// Executions that failed.
    pub failures: u64,
    /// Recoveries that the run's end cut off.
    pub cut_off: u64,
    /// Recoveries, in their order.
    pub recoveries: Vec<RecoveryRow>,
    /// Metrics of the run, by column.
    pub metrics: BTreeMap<String, f64>,
}

#[cfg(test)]
impl Row {
    /// A run of 100 s of which nothing was measured.
    pub(crate) fn uneventful(point: usize, repeat: u64) -> Self {
        Self {
            point,
            repeat,
            seed: repeat,
            verdict: "ok".to_owned(),
            violation: None,
            end: "time".to_owned(),
            virtual_s: 100.0,
            leapt: None,
            events: 1,
            failures: 0,
            cut_off: 0,
            recoveries: Vec::new(),
            metrics: BTreeMap::new(),
        }
    }
}

/// One recovery.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecoveryRow {
    /// When the failure struck.
    pub at_s: f64,
    /// Failures that are part of it.
    pub failures: u32,
    /// Until all subtasks ran.
    pub downtime_s: f64,
    /// Then, until all input was read as far as before.
    pub replay_s: f64,
    /// Then, until no input waited longer than before.
    pub catch_up_s: f64,
    /// Input that was read again.
    pub replayed_s: f64,
}

/// What was leapt over (see [`crate::horizon`]).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LeaptRow {
    /// How much, in seconds.
    pub leapt_s: f64,
    /// The error up to which that was allowed.
    pub tolerance: f64,
    /// Standard errors that it has brought into the means, relative to them, by column.
    pub sampling_errors: BTreeMap<String, f64>,
}

impl LeaptRow {
    fn of(leapt: &Leapt) -> Self {
        let errors = leapt.errors.iter().filter(|(_, error)| *error > 0.0);
        Self {
            leapt_s: seconds(leapt.time),
            tolerance: leapt.tolerance,
            sampling_errors: errors.map(|(name, error)| (name.clone(), short(*error))).collect(),
        }
    }

    /// Of runs that were sampled independently: the variance of their mean is that of their sum
    /// over the square of their number.
    pub fn together<'r>(runs: impl Iterator<Item = &'r Self>) -> Option<Self> {
        let mut all = Self::default();
        let mut count = 0.0;
        for run in runs {
            count += 1.0;
            all.leapt_s += run.leapt_s;
            all.tolerance = run.tolerance;
            for (column, error) in &run.sampling_errors {
                *all.sampling_errors.entry(column.clone()).or_default() += error * error;
            }
        }
        for error in all.sampling_errors.values_mut() {
            *error = libm::sqrt(*error) / count;
        }
        (count > 0.0).then_some(all)
    }

    /// The standard error that sampling has brought into the mean of a quantity, relative to it.
    pub fn error_of(&self, quantity: Quantity) -> f64 {
        let column = Metric { quantity, statistic: Statistic::Mean }.column();
        self.sampling_errors.get(&column).copied().unwrap_or(0.0)
    }

    /// Whether sampling leaves a quantity known: with about 95 % confidence to the tolerance.
    pub fn knows(&self, quantity: Quantity) -> bool {
        2.0 * self.error_of(quantity) <= self.tolerance
    }
}

/// Nine digits: as many as anybody can use, and few enough that every reader of JSON gets the same
/// number back.
pub(crate) fn short(value: f64) -> f64 {
    format!("{value:.8e}").parse().expect("a number that was just written")
}

fn seconds(span: VirtualDuration) -> f64 {
    short(span.0 as f64 / 1e9)
}

impl RecoveryRow {
    fn of(recovery: &Recovery) -> Self {
        Self {
            at_s: short(recovery.at.0 as f64 / 1e9),
            failures: recovery.failures,
            downtime_s: seconds(recovery.downtime),
            replay_s: seconds(recovery.replay),
            catch_up_s: seconds(recovery.catch_up),
            replayed_s: seconds(recovery.replayed),
        }
    }

    /// The part of it that a quantity names.
    pub fn value(&self, quantity: Quantity) -> f64 {
        match quantity {
            Quantity::Downtime => self.downtime_s,
            Quantity::Replay => self.replay_s,
            Quantity::CatchUp => self.catch_up_s,
            _ => self.downtime_s + self.replay_s + self.catch_up_s,
        }
    }
}

impl Row {
    /// Of a run that was measured.
    ///
    /// # Panics
    /// If it was not.
    pub fn of(outcome: &Outcome, point: usize, repeat: u64, rates: &Rates) -> Self {
        let measures = outcome.measures.as_ref().expect("runs of a sweep are measured");
        let value = |metric: Metric| {
            let value = of_run(metric, measures, &outcome.statistics, rates)?;
            Some((metric.column(), short(value)))
        };
        let leapt = outcome.leapt.as_ref().is_some_and(|leapt| !leapt.time.is_zero());
        // The largest of what was simulated is not the largest of all.
        let is_measured = |metric: &Metric| {
            !leapt || metric.statistic != Statistic::Max || metric.quantity.is_of_failures()
        };
        let end = match (outcome.job_end, outcome.end) {
            (Some(JobEnd::Finished), _) => "finished",
            (Some(JobEnd::Failed), _) => "failed",
            (Some(JobEnd::StoppedWithSavepoint), _) => "stopped",
            (Some(JobEnd::Canceled), _) => "cancelled",
            (_, End::Budget | End::Livelock) => "budget",
            (Some(JobEnd::Stopped) | None, End::Quiet | End::Until | End::Stopped) => "time",
        };
        Self {
            point,
            repeat,
            seed: outcome.seed,
            verdict: outcome.verdict.to_string(),
            violation: outcome.violations.first().map(ToString::to_string),
            end: end.to_owned(),
            virtual_s: seconds(measures.span),
            leapt: outcome.leapt.as_ref().map(LeaptRow::of),
            events: outcome.events,
            failures: measures.recoveries.failures,
            cut_off: measures.recoveries.cut_off,
            recoveries: measures.recoveries.done.iter().map(RecoveryRow::of).collect(),
            metrics: Metric::all().filter(is_measured).filter_map(value).collect(),
        }
    }

    /// Whether it says something about its point: no check failed, and it was not cut short.
    pub fn counts(&self) -> bool {
        self.violation.is_none() && self.end != "budget"
    }

    /// The value of a metric in this run; of one of failures, the mean over its recoveries.
    pub fn value(&self, metric: Metric) -> Option<f64> {
        if !metric.quantity.is_of_failures() {
            return self.metrics.get(&metric.column()).copied();
        }
        let count = self.recoveries.len() as f64;
        let sum: f64 = self.recoveries.iter().map(|it| it.value(metric.quantity)).sum();
        (count > 0.0).then(|| sum / count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_were() {
        for value in [0.0, 1.0 / 3.0, 1e-12 / 7.0, 123_456_789.123, 9.9e17 / 7.0] {
            let written = serde_json::to_string(&short(value)).expect("a number");
            let read: f64 = serde_json::from_str(&written).expect("a number");
            assert_eq!(read.to_bits(), short(value).to_bits(), "{written}");
        }
    }
}
