//! Keys that come in runs: a part of the subtasks is busy, and checkpoints wait for it.

use cutline::time::VirtualDuration;

use crate::support::finished;

const NAME: &str = "hot-keys.json";

/// The mean time of a checkpoint.
fn mean(changes: &[&str]) -> VirtualDuration {
    let outcomes = finished(NAME, changes, 0..4);
    let means: Vec<u64> = outcomes.map(|it| it.statistics.end_to_end.mean().0).collect();
    VirtualDuration(means.iter().sum::<u64>() / means.len() as u64)
}

#[test]
fn checkpoints_wait_for_the_busy_ones() {
    let runs = mean(&[]);
    let mixed = mean(&["job.operators[source].key_run=1"]);
    let overtaken = mean(&["checkpointing.unaligned=true"]);
    assert!(runs > mixed * 3, "{runs:?}, and {mixed:?} where keys are mixed");
    assert!(runs > overtaken * 3, "{runs:?}, and {overtaken:?} with unaligned barriers");
}
