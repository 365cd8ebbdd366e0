//! Some intervals, and whether they may stand for more of them.

use cutline::time::{VirtualDuration, VirtualTime};

use super::Figures;
use crate::sweep::metric::{Metric, Quantity, Rates, Statistic, of_run};
use crate::sweep::statistics::mean_and_error;

/// Fewer windows say nothing of their scatter.
pub(super) const WINDOWS_MIN: usize = 4;

/// Windows of about one interval each, without a gap.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// The account when the first window began, and when the open one did.
    first: Mark,
    last: Mark,
    /// Of each mean, what it was in each closed window.
    values: Vec<(Metric, Vec<f64>)>,
    windows: usize,
}

/// An instant.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    /// What was measured and leapt over until then.
    pub(super) account: Figures,
    /// When it was, in the time of the scenario.
    pub(super) at: VirtualTime,
    /// For how long the oldest record that was not read had been due.
    pub(super) behind: VirtualDuration,
}

impl Mark {
    fn leapt(&mut self, added: &Figures, by: VirtualDuration) {
        self.account = self.account.plus(added);
        self.at += by;
    }
}

impl Sample {
    pub(super) fn new(mark: Mark) -> Self {
        let values = means().map(|metric| (metric, Vec::new())).collect();
        Self { first: mark.clone(), last: mark, values, windows: 0 }
    }

    /// Since when the open window has been open.
    pub(super) fn open_since(&self) -> VirtualTime {
        self.last.at
    }

    /// Closes a window and opens the next one.
    pub(super) fn close(&mut self, mark: Mark) {
        let mut window = mark.account.since(&self.last.account);
        window.settle();
        let rates = Rates::default();
        for (metric, values) in &mut self.values {
            values.extend(of_run(*metric, &window.measures, &window.statistics, &rates));
        }
        self.last = mark;
        self.windows += 1;
    }

    /// What all closed windows have added, and in how long.
    pub(super) fn sum(&self) -> (Figures, VirtualDuration) {
        (self.last.account.since(&self.first.account), self.last.at.since(self.first.at))
    }

    /// A leap has added to the account and moved the time of the scenario on. The windows stay what
    /// they were.
    pub(super) fn leapt(&mut self, added: &Figures, by: VirtualDuration) {
        self.first.leapt(added, by);
        self.last.leapt(added, by);
    }

    /// Of each mean its standard error, if the windows may stand for others: they are enough, no
    /// stock drifts, and sources keep up. A sample that drifts begins anew.
    pub(super) fn judge(
        &mut self,
        error: f64,
        every: VirtualDuration,
    ) -> Option<Vec<(Metric, f64)>> {
        if self.windows < WINDOWS_MIN {
            return None;
        }
        let fell_behind = self.last.behind.saturating_sub(self.first.behind);
        let mut stocks = self.values.iter().filter(|(metric, _)| is_stock(*metric));
        if fell_behind > every * 2 || stocks.any(|(_, values)| drifts(values, error)) {
            *self = Self::new(self.last.clone());
            return None;
        }
        let known = self.values.iter().filter(|(_, values)| values.len() > 1);
        let is_known = |(metric, values): &(Metric, Vec<f64>)| {
            values.len() < 2 || !is_gauge(*metric) || relative_error(values) <= error
        };
        let enough = self.values.iter().all(is_known);
        let errors = known.map(|(metric, values)| (*metric, mean_and_error(values).1));
        enough.then(|| errors.collect())
    }
}

/// What a sample is judged by: every mean of a run.
fn means() -> impl Iterator<Item = Metric> {
    let of_runs = Quantity::ALL.into_iter().filter(|quantity| !quantity.is_of_failures());
    of_runs.map(|quantity| Metric { quantity, statistic: Statistic::Mean })
}

/// What grows while a job is not steady yet.
fn is_stock(metric: Metric) -> bool {
    matches!(metric.quantity, Quantity::Storage | Quantity::Written)
}

/// What decides how long a sample must be. Other means may be those of rare events (in-flight data,
/// failed checkpoints), or depend on where in the rhythm of its sources a trigger meets a job (start
/// delay, alignment), and be scattered for ever; their error is reported, and what is too uncertain
/// is not.
fn is_gauge(metric: Metric) -> bool {
    matches!(
        metric.quantity,
        Quantity::Duration
            | Quantity::Async
            | Quantity::Latency
            | Quantity::CommitLatency
            | Quantity::Storage
            | Quantity::Written
            | Quantity::Requests
            | Quantity::Messages
            | Quantity::CheckpointMessages
            | Quantity::Checkpoints
    )
}

fn relative_error(values: &[f64]) -> f64 {
    let (mean, error) = mean_and_error(values);
    if mean.abs() > 0.0 { error / mean.abs() } else { 0.0 }
}

/// Whether the second half is above or below the first one by more than chance and a third of the
/// error.
fn drifts(values: &[f64], error: f64) -> bool {
    let (first, second) = values.split_at(values.len() / 2);
    if first.len() < WINDOWS_MIN {
        return false;
    }
    let [(first, first_error), (second, second_error)] = [first, second].map(mean_and_error);
    let chance = 4.0 * (first_error + second_error);
    (first - second).abs() > chance + error.min(0.03) / 3.0 * second.abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drift_is_told_from_chance() {
        assert!(!drifts(&[1.0, 1.2, 0.9, 1.1, 1.0, 1.2, 0.9, 1.1], 0.03));
        assert!(drifts(&[1.0, 1.01, 0.99, 1.0, 1.4, 1.41, 1.39, 1.4], 0.03));
        assert!(!drifts(&[0.0; 8], 0.03), "nothing is steady");
    }

    #[test]
    fn errors_are_those_of_the_mean() {
        // Standard deviation 1, of four, around 10.
        let error = relative_error(&[9.0, 9.0, 10.0, 10.0, 11.0, 11.0, 10.0, 10.0]);
        let expected = (4.0_f64 / 7.0 / 8.0).sqrt() / 10.0;
        assert!((error - expected).abs() < 1e-12, "{error}");
        assert!(relative_error(&[0.0, 0.0]).abs() < 1e-12);
    }
}
