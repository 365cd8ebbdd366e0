//! Runs a scenario for a command.

use std::sync::Arc;

use cutline::defect::Defects;

use crate::explore::catch;
use crate::run::{Outcome, Simulation};
use crate::scenario::Scenario;

use super::exit::Failure;
use super::guard::guarded;

/// Runs it. `again` is the command that does so once more.
pub(super) fn simulate(
    scenario: &Arc<Scenario>,
    seed: u64,
    defects: Defects,
    keep_trace: bool,
    again: &str,
) -> Result<Outcome, Failure> {
    let simulation = ready(scenario, seed)?;
    let what = format!("running \"{}\" with seed {seed}", scenario.title);
    guarded(&what, again, || simulation.defects(defects).trace(keep_trace).run())
}

/// Runs it where an assertion of ours that breaks is a result: `None`.
pub(super) fn attempt(
    scenario: &Arc<Scenario>,
    seed: u64,
    defects: Defects,
) -> Result<Option<Outcome>, Failure> {
    let simulation = ready(scenario, seed)?;
    Ok(catch(|| simulation.defects(defects).run()).ok())
}

fn ready(scenario: &Arc<Scenario>, seed: u64) -> Result<Simulation, Failure> {
    let refuse = |error| Failure::Input(format!("the job cannot run: {error}"));
    Simulation::new(Arc::clone(scenario), seed).map_err(refuse)
}
