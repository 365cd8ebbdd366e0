//! Which fault cut which step short.

use std::collections::BTreeSet;

use cutline::ids::{CheckpointId, SubtaskId};
use cutline::step::Step;

use super::Trace;
use super::focus::Focus;
use crate::observe::{Observation, TaskState};
use crate::scenario::fault_in_words;

/// A fault, and what it found under way.
#[derive(Clone, Debug)]
pub(super) struct Interruption {
    /// Its index in the scenario.
    pub(super) fault: u32,
    /// Its event.
    pub(super) n: usize,
    /// What it is.
    pub(super) what: String,
    /// What was under way: a clause for each thing.
    pub(super) found: Vec<String>,
}

/// The faults of the story, in the order in which they struck.
pub(super) fn interruptions(trace: Trace<'_>, focus: &Focus) -> Vec<Interruption> {
    let struck = trace.events.iter().enumerate().skip(focus.since);
    struck
        .filter_map(|(n, (_, observation))| match *observation {
            Observation::FaultInjected { fault } => Some((n, fault)),
            _ => None,
        })
        .map(|(n, fault)| Interruption {
            fault,
            n,
            what: what(trace, fault),
            found: found(trace, focus, n),
        })
        .collect()
}

/// A fault in a few words.
pub(super) fn what(trace: Trace<'_>, fault: u32) -> String {
    let scenario = &trace.plan.scenario;
    fault_in_words(&scenario.faults[fault as usize], scenario)
}

/// What the fault reported at `n` found under way.
fn found(trace: Trace<'_>, focus: &Focus, n: usize) -> Vec<String> {
    let at = trace.events[n].0;
    // What a fault does at once is reported before it.
    let behind = trace.events[..n].iter().rev().take_while(|(then, _)| *then == at).count();
    let before = n - behind;
    let mut clauses = Vec::new();
    for &checkpoint in &focus.checkpoints {
        clauses.extend(progress(trace, checkpoint, before));
    }
    for (_, observation) in &trace.events[before..n] {
        if let Observation::Task { subtask, state: TaskState::Failed, .. } = *observation {
            clauses.extend(part(trace, focus, subtask, before));
        }
    }
    let recovering = trace.events[..before].iter().rev().find_map(|(_, it)| match it {
        Observation::ExecutionEnded | Observation::RegionEnded { .. } => Some(true),
        Observation::TaskRestored { .. } => Some(false),
        _ => None,
    });
    if recovering == Some(true) {
        clauses.push("the job was recovering from an earlier failure".to_owned());
    }
    clauses
}

/// How far a checkpoint had come; nothing if it had not begun or was over.
fn progress(trace: Trace<'_>, checkpoint: CheckpointId, before: usize) -> Option<String> {
    use Observation as O;
    let mut acknowledged: BTreeSet<SubtaskId> = BTreeSet::new();
    let (mut triggered, mut over, mut durable) = (false, false, false);
    let mut reached = None;
    for (_, observation) in &trace.events[..before] {
        match *observation {
            O::Triggered { checkpoint: of, .. } if of == checkpoint => triggered = true,
            O::Durable { checkpoint: of } if of == checkpoint => durable = true,
            O::Completed { checkpoint: of } | O::Failed { checkpoint: of, .. }
                if of == checkpoint =>
            {
                over = true;
            }
            O::Step { step, checkpoint: Some(of), subtask } if of == checkpoint => match step {
                Step::A1 => acknowledged.extend(subtask),
                Step::A2 | Step::F1 | Step::F2 | Step::F3 => reached = Some(step),
                _ => {}
            },
            _ => {}
        }
    }
    if !triggered || over {
        return None;
    }
    let all = trace.plan.graph.subtasks();
    Some(match reached {
        _ if durable => format!("{checkpoint} was durable (F3), and the job manager did not know"),
        None => {
            let count = acknowledged.len();
            format!("{checkpoint} had {count} of {all} acknowledgements (A1), A2 was not reached")
        }
        Some(Step::F3) => format!("the pointer of {checkpoint} was being written (F3)"),
        Some(_) => {
            format!("the metadata of {checkpoint} was being written (F2), F3 was not reached")
        }
    })
}

/// How far a task had come with the checkpoint it was at.
fn part(trace: Trace<'_>, focus: &Focus, subtask: SubtaskId, before: usize) -> Option<String> {
    let last = trace.events[..before].iter().rev().find_map(|(_, it)| match *it {
        Observation::Step { step, checkpoint: Some(of), subtask: Some(at) }
            if at == subtask && !step.is_at_job_manager() =>
        {
            Some((step, of))
        }
        _ => None,
    });
    let (step, checkpoint) = last.filter(|(_, of)| focus.checkpoints.contains(of))?;
    let next = match step {
        Step::B1 => Step::B2,
        Step::B2 => Step::B3,
        Step::B3 => Step::B4,
        Step::B4 => Step::B5,
        Step::B5 => Step::B6,
        Step::B6 => Step::N1,
        _ => return None,
    };
    let name = &trace.plan.subtask_names[subtask.index()];
    Some(format!(
        "{name} had come to {step} of {checkpoint} ({}); {next} ({}) never came",
        step.what(),
        next.what()
    ))
}
