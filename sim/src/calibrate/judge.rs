//! Predicted against measured: run by run, and one configuration left out at a time.

use super::fit::{FitError, fit};
use super::measure::Measure;
use super::predict::{Expected, Prediction};
use super::profile::Profile;
use super::robust::{Estimate, median};
use super::runs::{Conditions, Run, RunKind, SnapshotKind};

/// One run, judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The run.
    pub run: Run,
    /// Predicted and measured.
    pub rows: Vec<Row>,
    /// What could not be predicted, and why.
    pub unpredicted: Vec<(Measure, String)>,
    /// Why an error is above what is aimed at; empty if none is.
    pub missed: Vec<String>,
}

/// One measure of one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// What was expected.
    pub expected: Expected,
    /// What was measured, if the file says so.
    pub measured: Option<f64>,
}

impl Row {
    /// Predicted over measured, less 1; `None` without a measured value to compare with.
    pub fn error(&self) -> Option<f64> {
        let measured = self.measured.filter(|measured| *measured > 0.0)?;
        Some(self.expected.value / measured - 1.0)
    }

    /// Whether it was aimed at and missed.
    pub fn missed(&self) -> bool {
        let aim = self.expected.measure.aim();
        aim.zip(self.error()).is_some_and(|(aim, error)| error.abs() > aim)
    }
}

/// How wrong the predictions of one measure are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErrorOf {
    /// Of what.
    pub measure: Measure,
    /// The median of the absolute relative errors.
    pub median: f64,
    /// The largest of them.
    pub worst: f64,
    /// How many runs.
    pub runs: usize,
}

/// Judges runs by a profile that was fitted from others.
pub fn judge(profile: &Profile, runs: &[Run]) -> Vec<Judged> {
    runs.iter().map(|run| judge_one(profile, run, runs)).collect()
}

/// Judges every run by a profile fitted from all other configurations.
///
/// # Errors
/// What is left has nothing to fit from.
pub fn cross_validate(runs: &[Run]) -> Result<Vec<Judged>, FitError> {
    runs.iter()
        .map(|run| {
            let others = runs.iter().filter(|other| !same_configuration(run, other));
            let profile = fit(&others.collect::<Vec<_>>())?;
            Ok(judge_one(&profile, run, runs))
        })
        .collect()
}

/// The errors by measure, of those that have any.
pub fn errors(judged: &[Judged]) -> Vec<ErrorOf> {
    let of = |measure| {
        let rows = judged.iter().flat_map(|one| &one.rows);
        let rows = rows.filter(|row| row.expected.measure == measure);
        let errors: Vec<f64> = rows.filter_map(Row::error).map(f64::abs).collect();
        let worst = errors.iter().copied().fold(0.0, f64::max);
        let median = median(errors.iter().copied())?;
        Some(ErrorOf { measure, median, worst, runs: errors.len() })
    };
    Measure::ALL.into_iter().filter_map(of).collect()
}

/// Kills of one job belong together, and so do repeats.
fn same_configuration(a: &Run, b: &Run) -> bool {
    let configuration = |run: &Run| Conditions { kill_age_ms: None, ..run.conditions.clone() };
    let same_job = a.group.is_some() && a.group == b.group;
    same_job || configuration(a) == configuration(b)
}

fn judge_one(profile: &Profile, run: &Run, all: &[Run]) -> Judged {
    let prediction = Prediction::of(profile, &run.conditions);
    let row = |expected: &Expected| Row {
        expected: *expected,
        measured: expected.measure.measured(&run.measured),
    };
    let rows: Vec<Row> = prediction.values.iter().map(row).collect();
    let missed = match rows.iter().any(Row::missed) {
        true => reasons(profile, run, &prediction, all),
        false => Vec::new(),
    };
    Judged { run: run.clone(), rows, unpredicted: prediction.unpredicted, missed }
}

/// What was measured of a run that was missed and can explain why. Looked at after the prediction,
/// and by nothing but this text.
fn reasons(profile: &Profile, run: &Run, prediction: &Prediction, all: &[Run]) -> Vec<String> {
    let mut reasons = prediction.notes.clone();
    match run.conditions.kind {
        RunKind::Checkpoint | RunKind::Throughput => {
            reasons.extend(checkpoint_reasons(profile, run, prediction, all));
        }
        RunKind::Recovery => reasons.extend(recovery_reasons(profile, run, prediction)),
    }
    if reasons.is_empty() {
        reasons.push("nothing that was measured explains it".to_owned());
    }
    reasons
}

fn checkpoint_reasons(
    profile: &Profile,
    run: &Run,
    prediction: &Prediction,
    all: &[Run],
) -> Vec<String> {
    /// Repeats that differ by more cannot both be met.
    const APART: f64 = 0.2;
    /// A median of fewer is weak.
    const FEW: f64 = 6.0;
    /// Of two: enough to be seen in the duration.
    const CORES: f64 = 0.4;
    let mut reasons = Vec::new();
    let repeats = all.iter().filter(|other| same_configuration(run, other));
    let repeats = Estimate::of(repeats.filter_map(|run| run.measured.duration_ms));
    if let Some(of) = repeats.filter(|of| of.high > of.low * (1.0 + APART)) {
        reasons.push(format!("its repeats measured {} to {} ms", of.low, of.high));
    }
    if let Some(completed) = run.measured.completed.filter(|completed| *completed < FEW) {
        reasons.push(format!("its median is that of {completed} checkpoints"));
    }
    let costs = profile.snapshots(run.conditions.snapshots);
    let usual = costs.and_then(|costs| costs.other_cores);
    // A busier machine makes it slower than predicted, an idler one quicker; the other way round
    // it explains nothing.
    let late = run.measured.duration_ms.zip(prediction.value(Measure::CheckpointDuration));
    let late = late.map(|(is, predicted)| (is - predicted).signum());
    if let (Some((is, usual)), Some(late)) = (run.measured.other_cores.zip(usual), late)
        && late * (is - usual) > CORES
    {
        reasons.push(format!(
            "other programs used {is:.1} cores, {usual:.1} in the fitted runs of its kind"
        ));
    }
    if run.conditions.snapshots == SnapshotKind::RocksIncremental {
        reasons.push("what an increment costs depends on flushes and compaction".to_owned());
    }
    if costs.is_some_and(|costs| costs.asynchronous.residual > APART) {
        let residual = costs.map_or(0.0, |costs| costs.asynchronous.residual) * 100.0;
        reasons.push(format!(
            "the fitted asynchronous parts of its kind lie {residual:.0} % from their own line"
        ));
    }
    reasons
}

fn recovery_reasons(profile: &Profile, run: &Run, prediction: &Prediction) -> Vec<String> {
    /// Smaller differences explain no miss.
    const SHARE: f64 = 0.1;
    let mut reasons = Vec::new();
    let differs = |measure: Measure| {
        let expected = prediction.value(measure)?;
        let is = measure.measured(&run.measured)?;
        ((expected - is).abs() > SHARE * is.max(1.0)).then_some((is, expected))
    };
    if let Some((is, expected)) = differs(Measure::RestoredAge) {
        let what = if is < expected { "completed after all" } else { "did not complete" };
        reasons.push(format!(
            "the checkpoint under way at the kill {what}: {is} ms old, predicted {expected:.0}"
        ));
    }
    if let Some((is, expected)) = differs(Measure::Restarts) {
        reasons.push(format!(
            "{is} restarts, predicted {expected}: the phase of the heartbeat is not known before"
        ));
    } else if let Some((is, expected)) = differs(Measure::Downtime) {
        reasons.push(format!("first record after {is} ms, predicted {expected:.0}"));
    }
    let capacity = profile.recovery.as_ref().zip(run.conditions.capacity_per_s());
    if let Some(((costs, configured), is)) = capacity.zip(run.measured.catch_up_per_s) {
        let expected = configured * costs.capacity_share.value;
        if (expected - is).abs() > 0.5 * SHARE * expected {
            reasons.push(format!("caught up at {is:.0} records/s of {expected:.0}"));
        }
    }
    reasons
}
