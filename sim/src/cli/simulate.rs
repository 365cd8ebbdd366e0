//! Runs a scenario for a command.

use std::sync::Arc;

use cutline::defect::Defects;

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
    let refuse = |error| Failure::Input(format!("the job cannot run: {error}"));
    let simulation = Simulation::new(Arc::clone(scenario), seed).map_err(refuse)?;
    let what = format!("running \"{}\" with seed {seed}", scenario.title);
    guarded(&what, again, || simulation.defects(defects).trace(keep_trace).run())
}
