//! Smaller cases with the same signature: delta debugging (Zeller and Hildebrandt, 2002) over a
//! list of edits that know what a scenario is made of.
//!
//! An edit is kept if the run still ends with the same first violation, is still a valid scenario,
//! and the case weighs less than before ([`Size`]). Every pass begins anew until none of them finds
//! anything. The order of attempts depends on the case alone, so that the same case shrinks to the
//! same result; a clock can only end the search early.
//!
//! Much of what could go cannot go alone, since it moves everything that comes after it: a job of
//! three operators would show the same bug, but not with the timing that is left by chance. So a
//! large edit is also tried with other seeds and with latencies that vary more, few at first and
//! many in the end.
//!
//! A case with a planted defect must also pass without it: otherwise the search could slip into
//! another cause with the same signature. For the same reason no edit makes a bound tighter
//! within which the job has to be done: `limits.settle` and, for a liveness violation,
//! `limits.until` stay.

mod edit;
mod faults;
mod job;
mod numbers;
mod plain;
mod size;
mod visit;

use std::collections::BTreeMap;
use std::sync::Arc;

use cutline::defect::Defects;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::caught::catch;
use crate::engine::Plan;
use crate::kernel::run::End;
use crate::run::{Outcome, Simulation};
use crate::scenario::{Scenario, load, to_json};

use edit::Edit;
pub use size::Size;

/// What is to shrink: a run that breaks a promise.
#[derive(Clone, Debug)]
pub struct Subject {
    /// What is run.
    pub scenario: Scenario,
    /// With which seed.
    pub seed: u64,
    /// What is planted; it stays.
    pub defects: Defects,
}

/// A smaller run with the same signature.
#[derive(Debug)]
pub struct Shrunk {
    /// What is left.
    pub scenario: Scenario,
    /// Its seed: another one if only that fails with less.
    pub seed: u64,
    /// The signature, before and after.
    pub signature: String,
    /// How large the case was.
    pub before: Size,
    /// How large it is.
    pub after: Size,
    /// Runs that it took.
    pub attempts: u64,
    /// Edits that were kept.
    pub kept: u64,
    /// Whether no edit is left that would help; if not, the bounds ended the search.
    pub complete: bool,
    /// What happens without one part of what is left.
    pub parts: Vec<Part>,
}

/// What happens without one part of a shrunk case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// What is otherwise: `without faults[0] (crash_task)`.
    pub what: String,
    /// What happens then: nothing, or a violation with this signature.
    pub then: Option<String>,
}

impl Part {
    /// Whether the violation needs this part.
    pub fn is_needed(&self, signature: &str) -> bool {
        self.then.as_deref() != Some(signature)
    }
}

/// Why there is nothing to shrink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NothingToShrink {
    /// The run breaks no promise.
    #[error("the run breaks no promise")]
    Passes,
    /// The job graph cannot run.
    #[error("the job cannot run")]
    CannotRun,
}

/// Makes a failing run smaller, in so many attempts at most and while `go_on` says so.
///
/// # Errors
/// The run does not fail.
pub fn shrink(
    subject: &Subject,
    attempts_max: u64,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Shrunk, NothingToShrink> {
    let (signature, before) = match run(subject, None) {
        Ran::Failed { signature, size } => (signature, size),
        Ran::Passed => return Err(NothingToShrink::Passes),
        Ran::Unfit => return Err(NothingToShrink::CannotRun),
    };
    let mut search = Search {
        subject,
        signature,
        best: subject.scenario.clone(),
        seed: subject.seed,
        effort: EFFORTS[0],
        size: before,
        seen: BTreeMap::new(),
        attempts: 1,
        attempts_max,
        kept: 0,
        go_on,
    };
    let complete = search.run();
    let parts = search.parts();
    Ok(Shrunk {
        scenario: search.best,
        seed: search.seed,
        signature: search.signature,
        before,
        after: search.size,
        attempts: search.attempts,
        kept: search.kept,
        complete,
        parts,
    })
}

/// A list of edits of a scenario, and whether they are worth more than one run each.
type Pass = (fn(&Scenario) -> Vec<Edit>, Worth);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worth {
    OneRun,
    ManyRuns,
}

/// What cuts most comes first.
const PASSES: &[Pass] = &[
    (faults::fewer, Worth::ManyRuns),
    (faults::fewer_actions, Worth::ManyRuns),
    (job::operators, Worth::ManyRuns),
    (job::subtasks, Worth::ManyRuns),
    (plain::defaults, Worth::OneRun),
    (plain::constants, Worth::OneRun),
    (plain::operators, Worth::OneRun),
    (numbers::records, Worth::OneRun),
    (job::edges, Worth::OneRun),
    (job::kinds, Worth::OneRun),
    (job::task_managers, Worth::OneRun),
    (numbers::checkpoints, Worth::OneRun),
    (faults::simpler, Worth::OneRun),
    (plain::quick_restart, Worth::OneRun),
    (numbers::counts, Worth::OneRun),
    (numbers::limits, Worth::OneRun),
    (numbers::spans, Worth::OneRun),
];

/// How many variations of a large edit are tried, when fewer have found nothing more.
const EFFORTS: [u64; 3] = [4, 16, 64];

struct Search<'s> {
    subject: &'s Subject,
    signature: String,
    best: Scenario,
    seed: u64,
    effort: u64,
    size: Size,
    /// What came of scenarios that were tried, by a hash of text and seed: passes meet them again.
    seen: BTreeMap<u64, Option<String>>,
    attempts: u64,
    attempts_max: u64,
    kept: u64,
    go_on: &'s mut dyn FnMut() -> bool,
}

impl Search<'_> {
    /// Passes until none finds anything, however hard it tries; false if the bounds came first.
    fn run(&mut self) -> bool {
        EFFORTS.iter().all(|effort| {
            self.effort = *effort;
            self.settle()
        })
    }

    /// Passes until none finds anything; false if the bounds came first.
    fn settle(&mut self) -> bool {
        loop {
            let before = self.kept;
            if !PASSES.iter().all(|pass| self.pass(*pass)) || !self.shorten() {
                return false;
            }
            if self.kept == before {
                return true;
            }
        }
    }

    /// Tries the edits of a pass in their order. After one that is kept, the list is made anew, and
    /// the search goes on where it was: what came before was refused a moment ago.
    fn pass(&mut self, (pass, worth): Pass) -> bool {
        let mut edits = pass(&self.best);
        let mut next = 0;
        while let Some(edit) = edits.get(next) {
            if !self.may_go_on() {
                return false;
            }
            let kept = self.attempt(&edit.scenario, self.seed)
                || worth == Worth::ManyRuns && self.vary(&edit.scenario);
            match kept {
                true => edits = pass(&self.best),
                false => next += 1,
            }
        }
        true
    }

    /// Tries an edit with other seeds, as it is and with latencies that vary more.
    fn vary(&mut self, edited: &Scenario) -> bool {
        if !is_valid(edited, &to_json(edited)) {
            return false;
        }
        let shaken = plain::shaken(edited);
        (0..self.effort).any(|number| {
            let scenario = if number % 2 == 0 { edited } else { &shaken };
            self.may_go_on() && self.attempt(scenario, number / 2)
        })
    }

    /// A violation of safety needs nothing that comes after it.
    fn shorten(&mut self) -> bool {
        if self.signature.starts_with("liveness/") {
            return true;
        }
        let at = cutline::time::VirtualTime::from_millis(self.size.virtual_ms);
        for edit in numbers::end(&self.best, at) {
            if !self.may_go_on() {
                return false;
            }
            self.attempt(&edit.scenario, self.seed);
        }
        true
    }

    fn may_go_on(&mut self) -> bool {
        self.attempts < self.attempts_max && (self.go_on)()
    }

    /// Runs what an edit has left, and keeps it if it fails alike and weighs less.
    fn attempt(&mut self, edited: &Scenario, seed: u64) -> bool {
        let text = to_json(edited);
        let key = xxh3_64_with_seed(text.as_bytes(), seed);
        if self.seen.contains_key(&key) {
            return false;
        }
        self.attempts += 1;
        let bound = self.size.events.saturating_mul(4).saturating_add(20_000);
        let subject = self.subject(edited, seed, self.subject.defects);
        let ran = if is_valid(edited, &text) { run(&subject, Some(bound)) } else { Ran::Unfit };
        let (signature, size) = match ran {
            Ran::Failed { signature, size } => (Some(signature), size),
            Ran::Passed | Ran::Unfit => (None, Size::default()),
        };
        let alike = signature.as_ref() == Some(&self.signature);
        self.seen.insert(key, signature);
        if alike && size.weight() < self.size.weight() && self.is_same_cause(edited, seed, bound) {
            self.best = edited.clone();
            self.seed = seed;
            self.size = size;
            self.kept += 1;
            return true;
        }
        false
    }

    fn subject(&self, scenario: &Scenario, seed: u64, defects: Defects) -> Subject {
        Subject { scenario: scenario.clone(), seed, defects }
    }

    /// Without what is planted, the run must pass.
    fn is_same_cause(&mut self, edited: &Scenario, seed: u64, bound: u64) -> bool {
        if self.subject.defects == Defects::none() {
            return true;
        }
        self.attempts += 1;
        let clean = self.subject(edited, seed, Defects::none());
        matches!(run(&clean, Some(bound.saturating_mul(4))), Ran::Passed)
    }

    /// What happens without each part of what is left.
    fn parts(&mut self) -> Vec<Part> {
        let best = self.best.clone();
        let edits = [
            faults::single(&best),
            faults::single_actions(&best),
            job::operators(&best),
            fewer_subtasks(&best),
            plain::single_defaults(&best),
        ];
        let mut parts = Vec::new();
        for edit in edits.into_iter().flatten() {
            let text = to_json(&edit.scenario);
            if !is_valid(&edit.scenario, &text) {
                continue;
            }
            let then = match self.seen.get(&xxh3_64_with_seed(text.as_bytes(), self.seed)) {
                Some(then) => then.clone(),
                None => {
                    self.attempts += 1;
                    match run(&self.subject(&edit.scenario, self.seed, self.subject.defects), None)
                    {
                        Ran::Failed { signature, .. } => Some(signature),
                        Ran::Passed => None,
                        Ran::Unfit => continue,
                    }
                }
            };
            parts.push(Part { what: edit.what, then });
        }
        parts
    }
}

/// One subtask less of each operator that has several.
fn fewer_subtasks(scenario: &Scenario) -> Vec<Edit> {
    let fewer = |(index, operator): (usize, &crate::scenario::model::Operator)| {
        job::narrowed(scenario, index, operator.parallelism.saturating_sub(1))
    };
    scenario.job.operators.iter().enumerate().filter_map(fewer).collect()
}

/// What came of a run.
enum Ran {
    Failed {
        signature: String,
        size: Size,
    },
    Passed,
    /// It cannot be run, or did not end within the bound: nothing can be said.
    Unfit,
}

/// A case file must load, and mean what was run.
fn is_valid(scenario: &Scenario, text: &str) -> bool {
    load(text.as_bytes(), "edited", &[]).is_ok_and(|loaded| loaded.scenario == *scenario)
}

/// Runs a scenario with no more events than these.
fn run(subject: &Subject, events_max: Option<u64>) -> Ran {
    let scenario = &subject.scenario;
    let mut bounded = scenario.clone();
    if let Some(events_max) = events_max {
        bounded.limits.events = bounded.limits.events.min(events_max);
    }
    let bounded = Arc::new(bounded);
    let Ok(simulation) = Simulation::new(Arc::clone(&bounded), subject.seed) else {
        return Ran::Unfit;
    };
    match catch(|| simulation.defects(subject.defects).run()) {
        Ok(outcome) => judged(scenario, &outcome),
        Err(panic) => match Plan::new(bounded) {
            Ok(plan) => Ran::Failed {
                signature: panic.signature(),
                size: Size::of_scenario(scenario, &plan),
            },
            Err(_) => Ran::Unfit,
        },
    }
}

fn judged(scenario: &Scenario, outcome: &Outcome) -> Ran {
    // The bound is not the scenario's: what it cuts off says nothing.
    let cut_off = outcome.end == End::Budget && outcome.events < scenario.limits.events;
    match outcome.violations.first() {
        _ if cut_off => Ran::Unfit,
        Some(first) => {
            Ran::Failed { signature: first.signature(), size: Size::of(scenario, outcome) }
        }
        None => Ran::Passed,
    }
}
