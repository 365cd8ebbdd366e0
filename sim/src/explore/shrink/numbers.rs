//! Smaller and rounder numbers: records, counts, spans.

use cutline::time::{VirtualDuration, VirtualTime};

use super::edit::Edit;
use super::visit;
use crate::scenario::model::{OperatorKind, Scenario};

/// Scenarios with fewer records: of all sources alike, then of each.
pub(super) fn records(scenario: &Scenario) -> Vec<Edit> {
    let mut edits = Vec::new();
    for share in [100, 10, 2] {
        let mut edited = scenario.clone();
        let mut fewer = false;
        for operator in &mut edited.job.operators {
            if let OperatorKind::Source(source) = &mut operator.kind
                && let Some(records) = &mut source.records
            {
                let left = (*records / share).max(1);
                fewer |= left < *records;
                *records = left;
            }
        }
        if fewer {
            edits.push(Edit::new(format!("with 1/{share} of the records"), edited));
        }
    }
    for (index, operator) in scenario.job.operators.iter().enumerate() {
        let OperatorKind::Source(source) = &operator.kind else { continue };
        let all = source.records.unwrap_or_else(|| within(scenario, source.every));
        let values = smaller(all).into_iter().filter(|value| *value > 0);
        let values =
            values.chain(all.checked_sub(1)).chain(source.records.is_none().then_some(all));
        for value in values.filter(|value| *value > 0) {
            let mut edited = scenario.clone();
            if let OperatorKind::Source(source) = &mut edited.job.operators[index].kind {
                source.records = Some(value);
            }
            edits.push(Edit::new(format!("with {value} records of {}", operator.name), edited));
        }
    }
    edits
}

/// How many records come before the run ends.
fn within(scenario: &Scenario, every: VirtualDuration) -> u64 {
    scenario.limits.until.0 / every.0.max(1)
}

/// Scenarios with smaller counts.
pub(super) fn counts(scenario: &Scenario) -> Vec<Edit> {
    let values: Vec<u64> =
        visit::counts(&mut scenario.clone()).iter().map(visit::Count::get).collect();
    let mut edits = Vec::new();
    for (index, value) in values.into_iter().enumerate() {
        let smaller = smaller(value).into_iter().chain(value.checked_sub(1));
        for lower in smaller.filter(|lower| *lower > 0) {
            let mut edited = scenario.clone();
            visit::counts(&mut edited)[index].lower(lower);
            edits.push(Edit::new(format!("with {lower} in the place of {value}"), edited));
        }
    }
    edits
}

/// Scenarios with shorter and rounder spans.
pub(super) fn spans(scenario: &Scenario) -> Vec<Edit> {
    let values: Vec<u64> = visit::spans(&mut scenario.clone()).iter().map(|span| **span).collect();
    let mut edits = Vec::new();
    for (index, value) in values.into_iter().enumerate() {
        for lower in smaller(value) {
            let mut edited = scenario.clone();
            *visit::spans(&mut edited)[index] = lower;
            let (lower, value) = (VirtualDuration(lower), VirtualDuration(value));
            edits.push(Edit::new(format!("with {lower} in the place of {value}"), edited));
        }
    }
    edits
}

/// Scenarios with longer intervals, which have fewer checkpoints, and with none but the first few.
pub(super) fn checkpoints(scenario: &Scenario) -> Vec<Edit> {
    let mut edits = Vec::new();
    if let Some(interval) = scenario.checkpointing.interval {
        for factor in [10, 2] {
            let mut edited = scenario.clone();
            // What was the time of the first one stays.
            edited.checkpointing.initial_delay.get_or_insert(interval);
            let longer = one_digit(interval.0.saturating_mul(factor));
            edited.checkpointing.interval = Some(VirtualDuration(longer));
            edits.push(Edit::new("with fewer checkpoints", edited));
        }
        if scenario.checkpointing.initial_delay.is_none() {
            let mut edited = scenario.clone();
            edited.checkpointing.initial_delay = Some(VirtualDuration(one_digit(interval.0)));
            edits.push(Edit::new("with a first checkpoint at a known time", edited));
        }
    }
    for index in 0..scenario.manual.len() {
        let mut edited = scenario.clone();
        edited.manual.remove(index);
        edits.push(Edit::new(format!("without the checkpoint by hand {index}"), edited));
    }
    edits
}

/// A run that ends soon after this time.
pub(super) fn end(scenario: &Scenario, at: VirtualTime) -> Vec<Edit> {
    const SECOND: u64 = 1_000_000_000;
    let until = VirtualTime((at.0 / SECOND + 1) * SECOND);
    if until >= scenario.limits.until {
        return Vec::new();
    }
    let mut edited = scenario.clone();
    edited.limits.until = until;
    vec![Edit::new(format!("with an end at {until}"), edited)]
}

/// Scenarios with rounder bounds, which are looser.
pub(super) fn limits(scenario: &Scenario) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut edited = scenario.clone();
    edited.limits.until.0 = above(edited.limits.until.0);
    edits.push(Edit::new("with a rounder end", edited));
    let mut edited = scenario.clone();
    edited.limits.settle.0 = above(edited.limits.settle.0);
    edits.push(Edit::new("with a rounder time to settle", edited));
    edits
}

/// The smallest number of one digit and zeros that is not below this one.
fn above(value: u64) -> u64 {
    let Some(zeros) = value.checked_ilog10() else { return value };
    let one = 10_u64.pow(zeros);
    value.div_ceil(one).saturating_mul(one)
}

/// Numbers below this one, or as round as can be, the smallest first.
fn smaller(value: u64) -> Vec<u64> {
    let mut values = vec![0, 1, one_digit(value / 10), one_digit(value / 2), one_digit(value)];
    values.retain(|it| *it < value);
    values.sort_unstable();
    values.dedup();
    values
}

/// The largest number of one digit and zeros that is not above this one.
fn one_digit(value: u64) -> u64 {
    match value.checked_ilog10() {
        Some(zeros) => value / 10_u64.pow(zeros) * 10_u64.pow(zeros),
        None => 0,
    }
}

/// How many digits a reader has to take in: those before the zeros at the end.
pub(super) fn digits(mut value: u64) -> u64 {
    while value > 0 && value.is_multiple_of(10) {
        value /= 10;
    }
    value.checked_ilog10().map_or(0, |digits| u64::from(digits) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smaller_numbers_are_smaller_and_round() {
        for (value, expected) in
            [(0, vec![]), (1, vec![0]), (7, vec![0, 1, 3]), (1_234, vec![0, 1, 100, 600, 1_000])]
        {
            assert_eq!(smaller(value), expected, "{value}");
        }
        for (value, expected) in [(0, 0), (5, 1), (5_000, 1), (5_020, 3)] {
            assert_eq!(digits(value), expected, "{value}");
        }
    }
}
