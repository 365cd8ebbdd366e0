//! The scenario beside the dump: it is simulated in the state in which the dump found the job, and
//! turned until checkpoints take as long.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use cutline::ids::CheckpointId;
use cutline::time::{VirtualDuration, VirtualTime};
use serde::Serialize;

use super::scenario::{Model, milliseconds};
use crate::calibrate::robust::median;
use crate::check::Watch;
use crate::observe::Observation;
use crate::run::Simulation;
use crate::scenario::{Scenario, load};

/// What the dump says and what the simulation says.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// Trigger to last acknowledgement in the dump.
    pub measured_ms: f64,
    /// Which checkpoints that is of.
    pub measured_of: &'static str,
    /// The median in the simulation; `None` if no checkpoint came to its end.
    pub simulated_ms: Option<f64>,
    /// Simulated checkpoints.
    pub checkpoints: usize,
    /// Simulations that it took.
    pub simulations: usize,
}

/// As near as is worth another simulation.
const NEAR: f64 = 0.03;
const SIMULATIONS_MAX: usize = 6;
/// Simulated checkpoints that a median is taken of.
const CHECKPOINTS: u64 = 7;
/// A job of hundreds of subtasks has to be content with fewer checkpoints.
const EVENTS_MAX: u64 = 20_000_000;

/// Simulates the model's scenario, and turns the model where that helps; `None` if the dump has
/// nothing to compare with.
pub fn replay(model: &mut Model<'_>) -> Option<Compared> {
    replay_by(model, simulate)
}

fn replay_by(
    model: &mut Model<'_>,
    simulate: impl Fn(&Model<'_>, f64) -> Vec<f64>,
) -> Option<Compared> {
    let (measured_ms, measured_of) = model.measured_ms()?;
    let mut compared =
        Compared { measured_ms, measured_of, simulated_ms: None, checkpoints: 0, simulations: 0 };
    loop {
        let durations = simulate(&model.as_dumped(), measured_ms);
        compared.simulations += 1;
        compared.checkpoints = durations.len();
        compared.simulated_ms = median(durations);
        // No checkpoint came to its end: there is nothing to turn the model by, and that is said.
        let Some(simulated) = compared.simulated_ms else { return Some(compared) };
        let off = measured_ms / simulated;
        let near = (off - 1.0).abs() <= NEAR;
        if near || !model.is_turned_by_queues() || compared.simulations == SIMULATIONS_MAX {
            return Some(compared);
        }
        model.turn(off);
    }
}

/// How long checkpoints take, in milliseconds, once buffers have filled as far as they do.
fn simulate(model: &Model<'_>, measured_ms: f64) -> Vec<f64> {
    let text = model.draft().to_json();
    let loaded = load(text.as_bytes(), "the scenario", &[]);
    let mut scenario = loaded.unwrap_or_else(|found| panic!("a draft loads: {found}")).scenario;
    let expected = milliseconds(measured_ms);
    unhurried(&mut scenario, expected, model);
    let durations = Rc::new(RefCell::new(Vec::new()));
    let watch = Durations { pending: Vec::new(), ended: Rc::clone(&durations) };
    let simulation = Simulation::new(Arc::new(scenario), 0);
    let simulation = simulation.unwrap_or_else(|error| panic!("a draft can run: {error}"));
    drop(simulation.situation(Box::new(watch)).run());
    Rc::try_unwrap(durations).map(RefCell::into_inner).unwrap_or_default()
}

/// The scenario in the state in which the dump found it: nothing fails or expires, and the first
/// checkpoint finds all the state, and buffers as full as they get.
fn unhurried(scenario: &mut Scenario, expected: VirtualDuration, model: &Model<'_>) {
    let times = |span: VirtualDuration, by: u64| VirtualDuration(span.0.saturating_mul(by));
    let interval = scenario.checkpointing.interval.unwrap_or(expected);
    let longer = interval.max(expected).max(VirtualDuration::from_millis(10));
    let fill = milliseconds(model.fill_s() * 1e3).max(longer);
    let options = &mut scenario.checkpointing;
    options.interval = Some(interval.max(VirtualDuration::from_millis(10)));
    options.timeout = times(longer, 100);
    options.initial_delay = Some(fill);
    options.tolerable_failures = u32::MAX >> 1;
    scenario.limits.until = VirtualTime::ZERO + fill + times(longer, CHECKPOINTS);
    scenario.limits.events = EVENTS_MAX;
}

/// Trigger to last acknowledgement of completed checkpoints.
struct Durations {
    pending: Vec<(CheckpointId, VirtualTime, VirtualTime)>,
    ended: Rc<RefCell<Vec<f64>>>,
}

impl Watch for Durations {
    fn name(&self) -> &'static str {
        "durations of checkpoints"
    }

    fn observe(&mut self, now: VirtualTime, observation: &Observation) -> bool {
        match observation {
            Observation::Triggered { checkpoint, .. } => self.pending.push((*checkpoint, now, now)),
            Observation::Acknowledged { checkpoint, .. } => {
                let mut pending = self.pending.iter_mut();
                if let Some((_, _, last)) = pending.find(|(of, _, _)| of == checkpoint) {
                    *last = now;
                }
            }
            Observation::Completed { checkpoint } => {
                let at = self.pending.iter().position(|(of, _, _)| of == checkpoint);
                if let Some(at) = at {
                    let (_, triggered, last) = self.pending.swap_remove(at);
                    let took = last.since(triggered);
                    self.ended.borrow_mut().push(took.as_nanos() as f64 / 1e6);
                }
            }
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::calibrate::rest::facts::Facts;
    use crate::calibrate::rest::report::Report;
    use crate::calibrate::rest::scenario::Said;
    use crate::flink::dump::Dump;

    fn compared(durations: &[f64]) -> (Compared, String) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"));
        let dump = Dump::read(&path.join("tests/data/flink-2.3/rest-dumps/aligned"));
        let dump = dump.expect("part of the repository");
        let facts = Facts::of(&dump);
        let mut model = Model::of(&dump, &facts, None, Said::default());
        let compared = replay_by(&mut model, |_, _| durations.to_vec());
        let compared = compared.expect("the dump has completed checkpoints");
        let report = Report {
            facts: &facts,
            cannot_tell: &[],
            assumed: &[],
            compared: Some(&compared),
            out: None,
        };
        let text = report.text();
        (compared, text)
    }

    #[test]
    fn a_simulation_without_a_completed_checkpoint_is_said() {
        let (none, text) = compared(&[]);
        assert_eq!((none.simulated_ms, none.simulations), (None, 1));
        assert!(text.contains("simulated  none came to its end\n"), "{text}");
    }

    #[test]
    fn what_stays_off_is_tried_a_few_times() {
        let (far, text) = compared(&[1.0]);
        assert_eq!((far.simulated_ms, far.simulations), (Some(1.0), SIMULATIONS_MAX));
        assert!(text.contains("-100 %"), "{text}");
    }
}
