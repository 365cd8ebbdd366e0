//! Some intervals, and whether they may stand for more of them.
//!
//! A [`Sample`] is what one stretch of a run has shown so far, interval by interval; what was still
//! settling when it began is left out. A [`Pool`] is what stands for all that is leapt over: filled
//! from the first stretch (from several, if failures come in between) until the means are known
//! well enough, and from then on the measure of whether a later stretch is like it.

use cutline::time::{VirtualDuration, VirtualTime};

use super::Figures;
use crate::sweep::metric::{Metric, Quantity, Rates, Statistic, of_run};
use crate::sweep::statistics::mean_and_error;

/// Fewer windows say nothing of their scatter.
pub(super) const WINDOWS_MIN: usize = 4;
/// Windows at the beginning of a stretch that may be left out because the job was still settling.
const SETTLING_MAX: usize = 8;
/// A window is unlike others beyond so many of their standard deviations, and such a share of their
/// mean: what a recovery leaves behind is several times as large.
const APART: (f64, f64) = (5.0, 0.1);

/// Of each mean, what it was in each window.
type Values = Vec<(Metric, Vec<f64>)>;

/// An instant.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    /// What was measured, and leapt over within intervals, until then.
    pub(super) account: Figures,
    /// When it was, in the time of that account.
    pub(super) at: VirtualTime,
    /// For how long the oldest record that was not read had been due.
    pub(super) behind: VirtualDuration,
}

/// Windows of about one interval each, without a gap.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// Where the first windows began: the sample may yet begin at each of them.
    starts: Vec<Mark>,
    last: Mark,
    values: Values,
    windows: usize,
    /// The first window that is like all that came after it. Those before it are the end of what
    /// came before the sample.
    settled_from: usize,
    /// Sources had nothing to catch up with at some time.
    has_kept_up: bool,
}

impl Sample {
    pub(super) fn new(mark: Mark) -> Self {
        let values = means().map(|metric| (metric, Vec::new())).collect();
        Self {
            starts: vec![mark.clone()],
            last: mark,
            values,
            windows: 0,
            settled_from: 0,
            has_kept_up: false,
        }
    }

    pub(super) fn has_kept_up(&self) -> bool {
        self.has_kept_up
    }

    pub(super) fn keep_up(&mut self) {
        self.has_kept_up = true;
    }

    /// Since when the open window has been open.
    pub(super) fn open_since(&self) -> VirtualTime {
        self.last.at
    }

    pub(super) fn windows(&self) -> usize {
        self.windows
    }

    /// Closes a window and opens the next one.
    pub(super) fn close(&mut self, mark: Mark) {
        let mut window = mark.account.since(&self.last.account);
        window.settle();
        let rates = Rates::default();
        for (metric, values) in &mut self.values {
            // What a window has none of (no record reached a sink) leaves a hole in no other one.
            let value = of_run(*metric, &window.measures, &window.statistics, &rates);
            values.push(value.unwrap_or(f64::NAN));
        }
        self.last = mark;
        self.windows += 1;
        if self.starts.len() <= SETTLING_MAX {
            self.starts.push(self.last.clone());
        }
        self.settled_from = self.settles();
    }

    /// If sources fall behind or a stock grows, nothing of it stands for anything: it begins anew.
    pub(super) fn begins_anew(&mut self, error: f64, every: VirtualDuration) -> bool {
        let from = self.settled_from;
        let fell_behind = self.last.behind.saturating_sub(self.starts[from].behind);
        let mut stocks = self.values.iter().filter(|(metric, _)| is_stock(*metric));
        let void = fell_behind > every * 2
            || stocks.any(|(_, values)| drifts(&known(&values[from..]), error));
        if void {
            *self = Self::new(self.last.clone());
        }
        void
    }

    fn settles(&self) -> usize {
        let last = self.windows.saturating_sub(WINDOWS_MIN).min(SETTLING_MAX);
        let unlike = |at: usize| {
            let mut gauges = self.values.iter().filter(|(metric, _)| is_gauge(*metric));
            gauges.any(|(_, values)| is_apart(values[at], &known(&values[at + 1..])))
        };
        (0..last).rev().find(|at| unlike(*at)).map_or(0, |at| at + 1)
    }
}

/// What stands for the time that is leapt over.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    sum: Figures,
    length: VirtualDuration,
    values: Values,
    is_enough: bool,
    leapt: VirtualDuration,
}

impl Pool {
    pub(super) fn is_enough(&self) -> bool {
        self.is_enough
    }

    /// What was leapt over on its account.
    pub(super) fn leapt(&self) -> VirtualDuration {
        self.leapt
    }

    pub(super) fn leap(&mut self, by: VirtualDuration) {
        self.leapt += by;
    }

    /// Takes a sample in if both together tell every mean to this relative standard error; whether
    /// they do.
    pub(super) fn fill(&mut self, sample: &Sample, error: f64) -> bool {
        let from = sample.settled_from;
        if sample.windows - from < WINDOWS_MIN {
            return false;
        }
        let together = self.with(sample, from);
        let mut gauges = together.iter().filter(|(metric, _)| is_gauge(*metric));
        if !gauges.all(|(_, values)| relative_error(values) <= error) {
            return false;
        }
        self.take(sample, from, together);
        self.is_enough = true;
        true
    }

    /// A stretch has ended before its sample was enough: it is a part of the next one's.
    pub(super) fn keep(&mut self, sample: &Sample) {
        let from = sample.settled_from;
        if !self.is_enough && sample.windows - from >= WINDOWS_MIN {
            let together = self.with(sample, from);
            self.take(sample, from, together);
        }
    }

    fn with(&self, sample: &Sample, from: usize) -> Values {
        let mut together = self.values.clone();
        for (metric, values) in &sample.values {
            let more = known(&values[from..]);
            match together.iter_mut().find(|(known, _)| known == metric) {
                Some((_, all)) => all.extend(more),
                None => together.push((*metric, more)),
            }
        }
        together
    }

    fn take(&mut self, sample: &Sample, from: usize, together: Values) {
        let start = &sample.starts[from];
        self.sum = self.sum.plus(&sample.last.account.since(&start.account));
        self.length += sample.last.at.since(start.at);
        self.values = together;
    }

    /// Whether the newest window of a stretch could be one of these.
    pub(super) fn is_like(&self, sample: &Sample) -> bool {
        let newest = |metric: Metric| {
            let (_, values) = sample.values.iter().find(|(of, _)| *of == metric)?;
            values.last().copied()
        };
        let mut gauges = self.values.iter().filter(|(metric, _)| is_gauge(*metric));
        gauges.all(|(metric, values)| newest(*metric).is_none_or(|value| !is_apart(value, values)))
    }

    /// What was leapt over on its account, as long as it is.
    pub(super) fn added(&self) -> Figures {
        self.sum.stretched(self.leapt, self.length)
    }

    /// Of each mean its standard error; infinite for an event so rare that no window has seen one.
    pub(super) fn errors(&self) -> impl Iterator<Item = (Metric, f64)> + '_ {
        let several = self.values.iter().filter(|(_, values)| values.len() > 1);
        several.map(|(metric, values)| {
            let unseen = is_of_rare_events(*metric) && values.iter().all(|value| *value == 0.0);
            (*metric, if unseen { f64::INFINITY } else { mean_and_error(values).1 })
        })
    }
}

fn known(values: &[f64]) -> Vec<f64> {
    values.iter().copied().filter(|value| value.is_finite()).collect()
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

/// What is zero in most intervals of many jobs. That a sample has seen none does not tell how many
/// there are.
fn is_of_rare_events(metric: Metric) -> bool {
    matches!(metric.quantity, Quantity::InFlight | Quantity::Sync)
}

fn relative_error(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let (mean, error) = mean_and_error(values);
    if mean.abs() > 0.0 { error / mean.abs() } else { 0.0 }
}

fn is_apart(value: f64, from: &[f64]) -> bool {
    if from.len() < WINDOWS_MIN || !value.is_finite() {
        return false;
    }
    let (mean, error) = mean_and_error(from);
    let deviation = error * libm::sqrt(from.len() as f64);
    (value - mean).abs() > APART.0 * deviation + APART.1 * mean.abs()
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

    /// A sample whose windows have sent so many messages in ten seconds each.
    fn sample(messages: &[u64]) -> Sample {
        let mut sum = 0;
        let mut mark = |window: usize, messages: u64| {
            sum += messages;
            let mut account = Figures::default();
            account.measures.messages = sum;
            account.measures.span = VirtualDuration::from_secs(10) * window as u64;
            let at = VirtualTime::ZERO + account.measures.span;
            Mark { account, at, behind: VirtualDuration::ZERO }
        };
        let mut sample = Sample::new(mark(0, 0));
        for (window, messages) in messages.iter().enumerate() {
            sample.close(mark(window + 1, *messages));
        }
        sample
    }

    #[test]
    fn what_is_still_settling_stands_for_nothing() {
        let mut pool = Pool::default();
        assert!(!pool.fill(&sample(&[900, 400, 100, 101, 99]), 0.03), "three that settled");
        assert!(pool.fill(&sample(&[900, 400, 100, 101, 99, 100]), 0.03));
        pool.leap(VirtualDuration::from_secs(1_000));
        assert_eq!(pool.added().measures.messages, 10_000);
        assert!(pool.is_like(&sample(&[400, 104])));
        assert!(!pool.is_like(&sample(&[100, 180])), "it has not settled yet");
    }

    #[test]
    fn stretches_that_are_cut_off_fill_a_pool_together() {
        let scattered = [100, 120, 80, 110, 90, 100];
        let mut pool = Pool::default();
        assert!(!pool.fill(&sample(&scattered), 0.045), "it has an error of 5.8 %");
        pool.keep(&sample(&scattered));
        assert!(pool.fill(&sample(&scattered), 0.045), "together they have 3.9 %");
    }
}
