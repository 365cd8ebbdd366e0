//! How much a reader of a case has to take in.

use serde::Serialize;

use super::{numbers, plain, visit};
use crate::engine::Plan;
use crate::run::Outcome;
use crate::scenario::model::{Action, ActionKind, OperatorKind, Scenario, Source};

/// The size of a case: of its scenario, and of its run until the violation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Operators of the job.
    pub operators: u64,
    /// Subtasks of all operators.
    pub subtasks: u64,
    /// Channels between subtasks.
    pub channels: u64,
    /// Scripted faults, and what users do; an operator that is rescaled counts, too.
    pub faults: u64,
    /// Task managers.
    pub task_managers: u64,
    /// Settings that differ from their defaults, and distributions that are not constant.
    pub settings: u64,
    /// Records of all splits of bounded sources; of the unbounded, as many as come in time.
    pub records: u64,
    /// Checkpoints that were triggered.
    pub checkpoints: u64,
    /// Kernel events of the run.
    pub events: u64,
    /// Virtual milliseconds of the run.
    pub virtual_ms: u64,
    /// Digits of all its spans.
    #[serde(skip)]
    digits: u64,
}

impl Size {
    /// The size of a scenario and its run.
    pub(super) fn of(scenario: &Scenario, outcome: &Outcome) -> Self {
        Self {
            checkpoints: outcome.statistics.checkpoints.triggered,
            events: outcome.events,
            virtual_ms: outcome.virtual_time.as_millis(),
            ..Self::of_scenario(scenario, &outcome.plan)
        }
    }

    /// The size of a scenario whose run broke off.
    pub(super) fn of_scenario(scenario: &Scenario, plan: &Plan) -> Self {
        let operators = &scenario.job.operators;
        Self {
            operators: operators.len() as u64,
            subtasks: operators.iter().map(|operator| u64::from(operator.parallelism)).sum(),
            channels: plan.graph.channels().len() as u64,
            faults: scenario.faults.len() as u64
                + scenario.actions.iter().map(actions).sum::<u64>(),
            task_managers: u64::from(scenario.cluster.task_managers),
            settings: plain::unusual(scenario),
            records: records(scenario),
            checkpoints: 0,
            events: 0,
            virtual_ms: 0,
            digits: visit::spans(&mut scenario.clone())
                .iter()
                .map(|span| numbers::digits(**span))
                .chain([scenario.limits.until.0, scenario.limits.settle.0].map(numbers::digits))
                .sum(),
        }
    }

    /// One number to compare by. The weights say what a reader would give for what: 1,000 events
    /// for a fault, 100 for a setting less.
    pub(super) fn weight(&self) -> u64 {
        self.operators * 3_000
            + self.subtasks * 1_000
            + self.faults * 1_000
            + self.channels * 100
            + self.task_managers * 200
            + self.settings * 100
            + self.checkpoints * 50
            + self.records
            + self.events
            + self.virtual_ms / 20
            + self.digits * 5
    }

    /// What it is made of, with names, in the order of reports.
    pub fn rows(&self) -> [(&'static str, u64); 10] {
        [
            ("operators", self.operators),
            ("subtasks", self.subtasks),
            ("channels", self.channels),
            ("faults", self.faults),
            ("task managers", self.task_managers),
            ("settings", self.settings),
            ("records", self.records),
            ("checkpoints", self.checkpoints),
            ("events", self.events),
            ("virtual ms", self.virtual_ms),
        ]
    }
}

fn actions(action: &Action) -> u64 {
    match &action.what {
        ActionKind::Resume { parallelism, operator_chaining, changelog, .. } => {
            let switches = [operator_chaining, changelog];
            let switched = switches.iter().filter(|switch| switch.is_some()).count();
            1 + (parallelism.len() + switched) as u64
        }
        ActionKind::Savepoint
        | ActionKind::StopWithSavepoint { .. }
        | ActionKind::Cancel
        | ActionKind::CleanOrphans => 1,
    }
}

fn records(scenario: &Scenario) -> u64 {
    let until = scenario.limits.until.0;
    let of_one = |source: &Source| source.records.unwrap_or(until / source.every.0.max(1));
    let mut sum = 0_u64;
    for operator in &scenario.job.operators {
        if let OperatorKind::Source(source) = &operator.kind {
            sum = sum.saturating_add(of_one(source).saturating_mul(u64::from(source.splits)));
        }
    }
    sum
}
