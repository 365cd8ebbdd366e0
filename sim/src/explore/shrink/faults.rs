//! Fewer and simpler faults, and fewer things that users do.

use super::edit::Edit;
use super::visit;
use crate::scenario::model::{ActionKind, ClockStep, Direction, Scenario, StepAnchor, When};
use crate::world::RIGHT_PACE;

/// A chance, in thousandths.
const CERTAIN: u32 = 1_000;

/// Scenarios with fewer faults: none, halves, each one less.
pub(super) fn fewer(scenario: &Scenario) -> Vec<Edit> {
    let count = scenario.faults.len();
    if count == 0 {
        return Vec::new();
    }
    let without = |from: usize, to: usize| {
        let mut edited = scenario.clone();
        edited.faults.drain(from..to);
        edited
    };
    let mut edits = vec![Edit::new("without any fault", without(0, count))];
    if count > 2 {
        edits.push(Edit::new("without the later faults", without(count / 2, count)));
        edits.push(Edit::new("without the earlier faults", without(0, count / 2)));
    }
    edits.extend(single(scenario));
    edits
}

/// Scenarios with one fault less, the last one first.
pub(super) fn single(scenario: &Scenario) -> Vec<Edit> {
    let drop = |index: usize| {
        let mut edited = scenario.clone();
        let fault = edited.faults.remove(index);
        Edit::new(format!("without faults[{index}] ({})", fault.what.name()), edited)
    };
    (0..scenario.faults.len()).rev().map(drop).collect()
}

/// Scenarios in which users do less: nothing, one thing less, or one rescaling less.
pub(super) fn fewer_actions(scenario: &Scenario) -> Vec<Edit> {
    if scenario.actions.is_empty() {
        return Vec::new();
    }
    let nothing = Scenario { actions: Vec::new(), ..scenario.clone() };
    let mut edits = vec![Edit::new("without any action", nothing)];
    edits.extend(single_actions(scenario));
    edits
}

/// Scenarios with one action less, or one that asks for less, the last one first.
pub(super) fn single_actions(scenario: &Scenario) -> Vec<Edit> {
    let mut edits = Vec::new();
    for index in (0..scenario.actions.len()).rev() {
        let mut without = scenario.clone();
        let action = without.actions.remove(index);
        edits.push(Edit::new(format!("without actions[{index}]"), without));
        let ActionKind::Resume { parallelism, operator_chaining, changelog, .. } = &action.what
        else {
            continue;
        };
        if changelog.is_some() {
            let mut edited = scenario.clone();
            if let ActionKind::Resume { changelog, .. } = &mut edited.actions[index].what {
                *changelog = None;
                edits.push(Edit::new("with the changelog as it was".to_owned(), edited));
            }
        }
        if operator_chaining.is_some() {
            let mut edited = scenario.clone();
            if let ActionKind::Resume { operator_chaining, .. } = &mut edited.actions[index].what {
                *operator_chaining = None;
                edits.push(Edit::new("with chains as they were".to_owned(), edited));
            }
        }
        for at in (0..parallelism.len()).rev() {
            let mut edited = scenario.clone();
            if let ActionKind::Resume { parallelism, .. } = &mut edited.actions[index].what {
                let (operator, _) = parallelism.remove(at);
                let name = &scenario.job.operators[operator].name;
                edits.push(Edit::new(format!("without rescaling {name}"), edited));
            }
        }
    }
    edits
}

/// A pace that is wrong by half as much; the same, if it would be right then.
fn closer_to_right(pace: u32) -> u32 {
    let wrong = pace.abs_diff(RIGHT_PACE) / 2;
    match pace > RIGHT_PACE {
        _ if wrong == 0 => pace,
        true => RIGHT_PACE + wrong,
        false => RIGHT_PACE - wrong,
    }
}

/// Scenarios in which a fault asks for less: no particular direction, chance, subtask, checkpoint
/// or occurrence; a pause or a slow link in the place of a crash is not less.
pub(super) fn simpler(scenario: &Scenario) -> Vec<Edit> {
    let mut edits = Vec::new();
    for (index, fault) in scenario.faults.iter().enumerate() {
        let mut edited = scenario.clone();
        if let Some(way) = visit::parts(&mut edited.faults[index].what).direction
            && *way != Direction::Both
        {
            *way = Direction::Both;
            edits.push(Edit::new(format!("with faults[{index}] in both directions"), edited));
        }
        let mut edited = scenario.clone();
        if let Some(chance) = visit::parts(&mut edited.faults[index].what).chance
            && *chance < CERTAIN
        {
            *chance = CERTAIN;
            edits.push(Edit::new(format!("with faults[{index}] befalling all"), edited));
        }
        let mut edited = scenario.clone();
        if let Some(step) = visit::parts(&mut edited.faults[index].what).step
            && *step != ClockStep::Forward
        {
            *step = ClockStep::Forward;
            edits.push(Edit::new(format!("with faults[{index}] setting a clock forward"), edited));
        }
        let mut edited = scenario.clone();
        if let Some(pace) = visit::parts(&mut edited.faults[index].what).pace {
            let less = closer_to_right(*pace);
            if less != *pace {
                *pace = less;
                edits.push(Edit::new(format!("with faults[{index}] drifting less"), edited));
            }
        }
        let mut with = |what: &str, at: StepAnchor| {
            let mut edited = scenario.clone();
            edited.faults[index].at = When::Step(at);
            edits.push(Edit::new(format!("with {what} of faults[{index}]"), edited));
        };
        let When::Step(anchor) = &fault.at else { continue };
        if anchor.subtask.is_some() {
            with("any subtask", StepAnchor { subtask: None, ..anchor.clone() });
        }
        if anchor.checkpoint.is_some() {
            with("any checkpoint", StepAnchor { checkpoint: None, ..anchor.clone() });
        }
        if anchor.occurrence > 1 {
            with("the first occurrence", StepAnchor { occurrence: 1, ..anchor.clone() });
        }
    }
    edits
}
