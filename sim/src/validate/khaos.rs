//! Recoveries of real Flink jobs, as others measured them, simulated with two fitted numbers.
//!
//! Source: the repository dos-group/khaos (Geldenhuys et al., 2021): a worker was killed three
//! seconds before the next checkpoint. The model's `D` and `mu` are fits of ours; a simulation with
//! them must give what the form gives, and both are off from what was measured.

use rayon::prelude::*;
use serde::Deserialize;

use super::pool;
use super::world::{Stream, fail_after_trigger, measures, outage, run, seconds};
use crate::explore::{Panic, catch};

/// How long before the next trigger the worker was killed.
const BEFORE_S: f64 = 3.0;
/// A simulation may differ by so much from the form.
const ALLOWED: f64 = 0.01;
/// Records that one simulated record stands for are chosen so that they come this often, or a bit
/// less often where the recovery is long.
const EVERY_S: f64 = 0.004;

/// Why a file has no recoveries.
#[derive(Debug, thiserror::Error)]
pub enum KhaosError {
    /// It is no table of this kind.
    #[error("expected the table `khaos_recovery`: {0}")]
    Form(#[from] serde_json::Error),
    /// It is another table.
    #[error("expected the table `khaos_recovery`, found `{0}`")]
    OtherTable(String),
    /// It has no rows.
    #[error("the table `khaos_recovery` has no rows")]
    Empty,
    /// A row that no job can have.
    #[error("rows[{index}]: {what}")]
    Row {
        /// Which row, from 0.
        index: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}

#[derive(Debug, Deserialize)]
struct Table {
    table: String,
    rows: Vec<TableRow>,
}

#[derive(Debug, Deserialize)]
struct TableRow {
    #[serde(rename = "in")]
    given: Given,
    out: Out,
}

/// What a recovery was measured with.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Given {
    job: String,
    #[serde(rename = "T")]
    interval: f64,
    lambda: f64,
    #[serde(rename = "D_fit")]
    downtime: f64,
    #[serde(rename = "mu_fit")]
    capacity: f64,
}

impl Given {
    /// Whether a job can be so, and be simulated in a moment.
    fn check(&self) -> Result<(), &'static str> {
        let numbers = [self.interval, self.lambda, self.downtime, self.capacity];
        if !numbers.iter().all(|number| number.is_finite() && *number > 0.0) {
            return Err("all of T, lambda, D_fit and mu_fit must be above 0");
        }
        if self.lambda > 0.99 * self.capacity {
            return Err("lambda must be at most 0.99 mu_fit: the job has to catch up");
        }
        if !(BEFORE_S + 1.0..=86_400.0).contains(&self.interval) {
            return Err(
                "T must be at least 4 s, the kill being 3 s before a checkpoint, and at most a day",
            );
        }
        if self.downtime > 86_400.0 {
            return Err("D_fit must be at most a day");
        }
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
struct Out {
    recovery_s_measured: f64,
}

/// One recovery: measured, by the form, simulated.
#[derive(Clone, Debug, PartialEq)]
pub struct Khaos {
    /// Which job.
    pub job: String,
    /// Checkpoint interval in seconds.
    pub interval_s: f64,
    /// Records a second.
    pub rate: f64,
    /// Recovery in seconds, as it was measured.
    pub measured_s: f64,
    /// By the form.
    pub model_s: f64,
    /// Simulated.
    pub simulated_s: f64,
}

impl Khaos {
    /// The simulation against the form.
    pub fn deviation(&self) -> f64 {
        self.simulated_s / self.model_s - 1.0
    }

    /// Whether the two agree.
    pub fn holds(&self) -> bool {
        self.deviation().abs() <= ALLOWED
    }

    /// The simulation against the measurement.
    pub fn error(&self) -> f64 {
        self.simulated_s / self.measured_s - 1.0
    }
}

/// Reads the table, and simulates each of its rows.
///
/// # Errors
/// The file holds something else; `Ok(Err)`: an invariant of ours broke.
///
/// # Panics
/// If the threads cannot be started.
pub fn read_rows(
    text: &str,
    threads: Option<usize>,
) -> Result<Result<Vec<Khaos>, Panic>, KhaosError> {
    let table: Table = serde_json::from_str(text)?;
    if table.table != "khaos_recovery" {
        return Err(KhaosError::OtherTable(table.table));
    }
    if table.rows.is_empty() {
        return Err(KhaosError::Empty);
    }
    for (index, row) in table.rows.iter().enumerate() {
        let is_measured = row.out.recovery_s_measured > 0.0;
        let checked = match is_measured {
            true => row.given.check(),
            false => Err("recovery_s_measured must be above 0"),
        };
        checked.map_err(|what| KhaosError::Row { index, what })?;
    }
    Ok(pool(threads).install(|| table.rows.par_iter().map(|row| catch(|| simulate(row))).collect()))
}

fn simulate(row: &TableRow) -> Khaos {
    let it = &row.given;
    let model = outage(it.lambda, it.capacity, it.downtime).recovery(it.interval - BEFORE_S);
    // The time at which a record is read cannot be told better than to a few of them, which the
    // slack stretches; a part in a thousand of the recovery does.
    let stretch = 1.0 / (it.capacity / it.lambda - 1.0);
    let every = (model / 5_000.0 / stretch.max(1.0)).clamp(EVERY_S / 4.0, EVERY_S * 4.0);
    let stream = Stream {
        every,
        work: every * it.lambda / it.capacity,
        cost: 0.0,
        duration: 0.0,
        downtime: it.downtime,
        interval: it.interval,
        until: 3.0 * it.interval + 1.2 * model + 5.0,
    };
    let mut scenario = stream.scenario();
    fail_after_trigger(&mut scenario, 2, it.interval - BEFORE_S);
    let outcome = run(&scenario, 0, false);
    let recovery = measures(&outcome).recoveries.done.first();
    Khaos {
        job: it.job.clone(),
        interval_s: it.interval,
        rate: it.lambda,
        measured_s: row.out.recovery_s_measured,
        model_s: model,
        simulated_s: recovery.map_or(f64::INFINITY, |recovery| seconds(recovery.total())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(table: &str) -> String {
        match read_rows(table, Some(1)) {
            Ok(_) => "rows".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_is_no_such_table_is_refused() {
        let row = |given: &str| {
            format!(
                r#"{{"table": "khaos_recovery", "rows": [{{"in": {{"job": "a", {given}}},
                "out": {{"recovery_s_measured": 9}}}}]}}"#
            )
        };
        for (text, expected) in [
            ("{}".to_owned(), "missing field `table`"),
            (r#"{"table": "lag", "rows": []}"#.to_owned(), "found `lag`"),
            (r#"{"table": "khaos_recovery", "rows": []}"#.to_owned(), "no rows"),
            (row(r#""T": 10, "lambda": 5, "D_fit": 1, "mu_fit": 4"#), "has to catch up"),
            (row(r#""T": 2, "lambda": 1, "D_fit": 1, "mu_fit": 4"#), "at least 4 s"),
            (row(r#""T": 10, "lambda": -1, "D_fit": 1, "mu_fit": 4"#), "above 0"),
            (row(r#""T": 10, "lambda": 3.99, "D_fit": 1, "mu_fit": 4"#), "at most 0.99"),
        ] {
            let found = rows(&text);
            assert!(found.contains(expected), "{text}: {found}");
        }
    }
}
