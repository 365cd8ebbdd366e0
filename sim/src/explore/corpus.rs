//! What was found once stays found: a folder of scenarios and cases with what is expected of them.
//!
//! A scenario holds with every seed that is tried, and each of its scripted faults strikes. A case
//! comes to the verdict and the signature that it says. Its digest is not compared: the protocol
//! may do more or other things than it did, as long as the promise is kept, or broken, alike.

use std::sync::Arc;

use cutline::defect::Defects;

use super::caught::catch;
use crate::check::Verdict;
use crate::engine::JobError;
use crate::run::{Outcome, Simulation};
use crate::scenario::{Case, Scenario};

/// Seeds that a scenario is run with: a race that it is about may need some.
pub const SEEDS: u64 = 16;

/// What a file of the corpus holds.
#[derive(Clone, Debug)]
pub enum Kept {
    /// To hold with every seed.
    Scenario(Arc<Scenario>),
    /// To come to what it says.
    Case(Box<Case>),
}

impl Kept {
    /// What is expected, in words.
    pub fn expected(&self) -> String {
        match self {
            Self::Scenario(_) => format!("ok with seeds 0..{SEEDS}"),
            Self::Case(case) => {
                said(case.verdict, case.violation.as_ref().map(|it| it.signature()))
            }
        }
    }

    /// Runs it; what differs from what is expected, if anything does.
    ///
    /// # Errors
    /// The job cannot run.
    pub fn difference(&self) -> Result<Option<String>, JobError> {
        match self {
            Self::Scenario(scenario) => {
                for seed in 0..SEEDS {
                    let found = attempt(scenario, seed, Defects::none())?;
                    if let Some(wrong) = wrong_with(scenario, &found) {
                        return Ok(Some(format!("seed {seed}: {wrong}")));
                    }
                }
                Ok(None)
            }
            Self::Case(case) => {
                let scenario = Arc::new(case.scenario.clone());
                let found = match attempt(&scenario, case.seed, case.defects)? {
                    Ok(outcome) => verdict(&outcome),
                    Err(panic) => panic,
                };
                Ok((found != self.expected()).then_some(found))
            }
        }
    }
}

/// A run in words: its verdict, with the signature of what it broke first.
pub fn verdict(outcome: &Outcome) -> String {
    said(outcome.verdict, outcome.violations.first().map(|first| first.signature()))
}

fn said(verdict: Verdict, signature: Option<String>) -> String {
    match signature {
        Some(signature) => format!("{verdict}: {signature}"),
        None => verdict.to_string(),
    }
}

/// What came of a run; or which assertion of ours it broke.
fn attempt(
    scenario: &Arc<Scenario>,
    seed: u64,
    defects: Defects,
) -> Result<Result<Outcome, String>, JobError> {
    let simulation = Simulation::new(Arc::clone(scenario), seed)?;
    Ok(catch(|| simulation.defects(defects).run()).map_err(|panic| panic.to_string()))
}

fn wrong_with(scenario: &Scenario, found: &Result<Outcome, String>) -> Option<String> {
    let outcome = match found {
        Ok(outcome) => outcome,
        Err(panic) => return Some(panic.clone()),
    };
    if outcome.verdict != Verdict::Ok {
        return Some(verdict(outcome));
    }
    // A scenario whose faults never strike guards nothing. Failures that a law drew are more
    // faults than the file has, and may come after the end.
    let mut inert = outcome.inert_faults().into_iter();
    let inert = inert.find(|fault| (*fault as usize) < scenario.faults.len());
    inert.map(|fault| format!("faults[{fault}] never struck"))
}
