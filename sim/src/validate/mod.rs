//! Validation: simulations of small jobs against the closed forms of `cutline::model`.
//!
//! Each row holds what a form predicts, what came out, and by how much the two may differ: exactly
//! nothing for what is counted, four standard errors for what is drawn, and what a form neglects
//! where it is known. A row outside of its bound is a mistake in the form, in the simulator, or in
//! what the two are said to have in common.
//!
//! | module | forms |
//! | --- | --- |
//! | `world` | the jobs that are simulated |
//! | `failures` | utilisation, recovery, backlog |
//! | `checkpoints` | freshness, cadence, messages, barriers, alignment, dirty share |
//! | `khaos` | recoveries that others measured on a cluster |
//! | `report` | what was found, in words |
//! | `horizon`, `horizon_report` | long horizons, not against forms but against record-level runs |

mod checkpoints;
mod failures;
pub mod horizon;
mod horizon_report;
mod khaos;
mod report;
mod world;

use rayon::prelude::*;

use crate::explore::{Panic, catch};
use crate::sweep::metric::{Unit, digits};

pub use horizon_report::Horizons;
pub use khaos::{Khaos, KhaosError, read_rows as read_recoveries};
pub use report::Validation;

/// A form against a simulation.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What the form is about.
    pub of: &'static str,
    /// The job, or what is changed about it.
    pub case: String,
    /// What the numbers are; `None`: they are counted.
    pub unit: Option<Unit>,
    /// By the form.
    pub predicted: f64,
    /// By the simulation.
    pub simulated: f64,
    /// By how much they may differ.
    pub allowed: f64,
    /// Where that comes from.
    pub bound: &'static str,
}

impl Row {
    /// Whether the two agree as well as they should.
    pub fn holds(&self) -> bool {
        (self.simulated - self.predicted).abs() <= self.allowed
    }

    /// The difference, relative to the prediction.
    pub fn deviation(&self) -> f64 {
        match self.predicted {
            0.0 => self.simulated,
            predicted => self.simulated / predicted - 1.0,
        }
    }

    fn shown(&self, value: f64) -> String {
        match self.unit {
            None => format!("{value}"),
            // The interesting digits of a share of nearly one are the last ones.
            Some(Unit::Share) => format!("{:.2} %", value * 100.0),
            Some(unit) => unit.show(value),
        }
    }

    /// Prediction, simulation, deviation and bound, to read.
    pub fn cells(&self) -> [String; 4] {
        let deviation = match self.unit {
            None if self.simulated == self.predicted => "none".to_owned(),
            _ => format!("{:+.2} %", self.deviation() * 100.0),
        };
        let bound = match self.allowed {
            0.0 => "exact".to_owned(),
            allowed => {
                let share = digits((allowed / self.predicted).abs() * 100.0);
                format!("{share} % ({})", self.bound)
            }
        };
        [self.shown(self.predicted), self.shown(self.simulated), deviation, bound]
    }
}

/// All forms that are validated by simulations of our own, in the order of the report.
///
/// # Errors
/// An invariant of ours broke.
///
/// # Panics
/// If the threads cannot be started.
pub fn validate(threads: Option<usize>) -> Result<Vec<Row>, Panic> {
    let experiments: Vec<fn() -> Vec<Row>> =
        failures::EXPERIMENTS.iter().chain(&checkpoints::EXPERIMENTS).copied().collect();
    let rows: Result<Vec<Vec<Row>>, Panic> = pool(threads)
        .install(|| experiments.par_iter().map(|experiment| catch(*experiment)).collect());
    Ok(rows?.into_iter().flatten().collect())
}

fn pool(threads: Option<usize>) -> rayon::ThreadPool {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0)).build();
    pool.expect("a process can start a few threads")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_outside_of_its_bound_does_not_hold() {
        let mut row = Row {
            of: "recovery",
            case: String::new(),
            unit: Some(Unit::Seconds),
            predicted: 100.0,
            simulated: 100.9,
            allowed: 1.0,
            bound: "1 %",
        };
        assert!(row.holds());
        assert_eq!(row.cells(), ["100 s", "101 s", "+0.90 %", "1.00 % (1 %)"]);
        row.simulated = 98.9;
        assert!(!row.holds());
    }
}
