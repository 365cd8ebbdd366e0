//! The jobs that are simulated: as little around what a form is about as there can be.

use std::sync::Arc;

use cutline::model::recovery::{Outage, Stream as Flow};
use cutline::model::{Rate, Seconds};
use cutline::time::VirtualDuration;
use serde_json::{Value, json};

use crate::run::{Outcome, Simulation};
use crate::scenario::load;
use crate::sweep::Measures;

/// A span as scenarios have it.
pub(super) fn span(seconds: f64) -> String {
    format!("{} ns", libm::round(seconds * 1e9) as u64)
}

pub(super) fn seconds(span: VirtualDuration) -> f64 {
    span.0 as f64 / 1e9
}

/// A source that does all the work and pauses at each checkpoint, and a sink behind it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    /// Between two records.
    pub(super) every: f64,
    /// What one of them costs.
    pub(super) work: f64,
    /// `c`: how long a checkpoint stops the source.
    pub(super) cost: f64,
    /// `d`: how long a checkpoint takes, more or less.
    pub(super) duration: f64,
    /// `D`: how long a restart takes, more or less.
    pub(super) downtime: f64,
    /// `T`.
    pub(super) interval: f64,
    /// When the run ends.
    pub(super) until: f64,
}

impl Stream {
    /// The same for the closed forms, with the downtime that was measured.
    pub(super) fn outage(&self, downtime: f64) -> Outage {
        outage(1.0 / self.every, 1.0 / self.work, downtime)
    }

    /// As a scenario, whose first checkpoint comes after an interval.
    pub(super) fn scenario(&self) -> Value {
        // State, metadata and pointer, one behind the other; the pointer takes no time.
        let request = (self.duration - self.cost).max(0.0) / 2.0;
        json!({
            "format": "cutline-scenario/1",
            "title": "A source that does all the work",
            "why": "The closed forms know one queue.",
            "job": {
                "operators": [
                    {
                        "name": "source", "kind": "source", "splits": 1, "every": span(self.every),
                        "cost": span(self.work), "sync_cost": span(self.cost),
                    },
                    {
                        "name": "sink", "kind": "two_phase_commit_sink",
                        "cost": "0 ms", "sync_cost": "0 ms",
                    },
                ],
                "edges": [{ "from": "source", "to": "sink" }],
            },
            "checkpointing": {
                "interval": span(self.interval), "initial_delay": span(self.interval),
                "tolerable_failures": 1_000_000, "timeout": "1 d",
            },
            "restart": {
                "type": "fixed_delay", "attempts": 1_000_000, "delay": span(self.downtime),
            },
            "cluster": { "deploy": "0 ms" },
            "network": { "latency": "0 ms", "control_latency": "0 ms" },
            "storage": { "latency": span(request), "bandwidth": "unlimited" },
            "ha": { "latency": "0 ms" },
            "external": { "latency": "0 ms" },
            "limits": { "until": span(self.until), "events": 1_000_000_000, "settle": "10 d" },
        })
    }
}

/// A stream and its downtime, as the closed forms take them.
///
/// # Panics
/// If as much comes in as can be processed, or the downtime is negative.
pub(super) fn outage(rate: f64, capacity: f64, downtime: f64) -> Outage {
    let rates = [rate, capacity].map(|rate| Rate::new(rate).expect("rates are positive"));
    let stream = Flow::new(rates[0], rates[1]).expect("there is slack");
    Outage { stream, downtime: Seconds::new(downtime).expect("no time is negative") }
}

/// Fails the source so long after the `occurrence`-th trigger.
pub(super) fn fail_after_trigger(scenario: &mut Value, occurrence: u32, delay: f64) {
    scenario["faults"] = json!([{
        "at": { "step": "T1", "occurrence": occurrence, "delay": span(delay) },
        "kind": "crash_task",
        "target": "source[0]",
    }]);
}

/// Runs a scenario, measured; with `trace`, everything that was observed is kept.
///
/// # Panics
/// If the scenario is none, or a check fails.
pub(super) fn run(scenario: &Value, seed: u64, trace: bool) -> Outcome {
    let loaded = load(scenario.to_string().as_bytes(), "validation", &[]);
    let loaded = loaded.unwrap_or_else(|found| panic!("{}", found.render(false)));
    let simulation = Simulation::new(Arc::new(loaded.scenario), seed).expect("the job can run");
    let outcome = simulation.meter(true).trace(trace).run();
    assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
    outcome
}

pub(super) fn measures(outcome: &Outcome) -> &Measures {
    outcome.measures.as_ref().expect("runs of a validation are measured")
}

pub(super) fn of(value: f64) -> Seconds {
    Seconds::new(value).expect("times of a run are not negative")
}
