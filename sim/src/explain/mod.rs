//! Why a run broke a promise: the part of its history that led there.
//!
//! Concept: Lamport's happens-before (1978), as a backward slice. `causes` finds for every event
//! what made it possible, from observations alone; what cannot be reached backwards from the
//! violation had no influence on it and is left out. Of the rest, `focus` keeps what the violation
//! is about (its checkpoint, channel, subtask, records, file) and what disturbed it. `verdict`
//! says in a few sentences what should hold, what happened, and which fault cut which step short.

mod causes;
mod focus;
mod interruption;
mod parting;
mod promise;
mod records;
mod story;
mod verdict;

use cutline::ids::SubtaskId;
use cutline::storage::layout::Path;
use cutline::time::VirtualTime;

use crate::check::Violation;
use crate::engine::Plan;
use crate::observe::{FileId, Observation};
use crate::report::{Line, Names};
use crate::run::Outcome;

pub use self::parting::{Difference, NotWhole, Parting, differences, parting, parting_of_ladders};
pub use self::verdict::Verdict;

/// The causal slice that ends in a violation.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What was broken.
    pub violation: Violation,
    /// What should hold, what happened, what disturbed it.
    pub verdict: Verdict,
    /// The events of the slice that are told, in the order in which they happened.
    pub lines: Vec<Line>,
    /// The subtasks in whose columns they are drawn, in the order of the graph.
    pub subtasks: Vec<String>,
    /// Events of the slice, told or not.
    pub causes: usize,
    /// Events of the run.
    pub events: usize,
}

/// What an explanation is made from.
#[derive(Clone, Copy, Debug)]
struct Trace<'a> {
    plan: &'a Plan,
    events: &'a [(VirtualTime, Observation)],
    /// Number of the events before the instant at which the promise was broken.
    before: usize,
    files: &'a [String],
}

impl Trace<'_> {
    /// The subtask that wrote a file, by the file's name; `None`: the job manager.
    fn writer(&self, file: FileId) -> Option<SubtaskId> {
        match self.files.get(file.0 as usize)?.parse() {
            Ok(Path::Part(_, name)) => {
                let graph = &self.plan.graph;
                let is_known = (name.operator.index()) < graph.job().operators().len()
                    && name.subtask < graph.subtasks_of(name.operator).len() as u32;
                is_known.then(|| graph.subtask(name.operator, name.subtask))
            }
            Ok(Path::Metadata(_)) | Err(_) => None,
        }
    }
}

/// Explains the first violation of a run whose trace was kept; `None` if there is none to explain.
pub fn explain(outcome: &Outcome) -> Option<Explanation> {
    let violation = outcome.violations.first()?;
    let events = outcome.trace.as_deref()?;
    let before = events.partition_point(|(at, _)| *at < violation.at);
    let trace = Trace { plan: &outcome.plan, events, before, files: &outcome.files };
    let found = records::suspects(trace, violation);
    let focus = focus::Focus::new(trace, violation, &found);
    let slice = causes::slice(trace, &focus.roots);
    let told = story::told(trace, &focus, &slice);
    let names = Names::of(outcome);
    let line = |&n: &usize| {
        let (at, observation) = &events[n];
        let mut line = Line::new(n as u64, *at, observation, &names);
        if let Observation::FaultInjected { fault } = *observation {
            let what = interruption::what(trace, fault);
            line.details.push(("what".into(), what.into()));
        }
        line
    };
    let lines: Vec<Line> = told.iter().map(line).collect();
    Some(Explanation {
        violation: violation.clone(),
        verdict: verdict::of(trace, violation, &focus, &found),
        subtasks: story::columns(trace, &focus, &told),
        lines,
        causes: slice.iter().filter(|caused| **caused).count(),
        events: events.len(),
    })
}
