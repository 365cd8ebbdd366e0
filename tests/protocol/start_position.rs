//! Where a source begins: what was there before the job, and what is left out of it.

use cutline_sim::observe::Observation;
use cutline_sim::run::Outcome;

use crate::support::{self, observations};

const SCENARIO: &str = "start-at-latest.json";
const HISTORY: u64 = 600;

/// The offsets that were read of an operator's splits, in turn.
fn read(outcome: &Outcome, operator: u32) -> Vec<u64> {
    let offsets = observations(outcome).filter_map(|observation| match observation {
        Observation::SourceEmitted { split, offset, .. } => {
            (split.source() == operator).then_some(*offset)
        }
        _ => None,
    });
    offsets.collect()
}

#[test]
fn a_split_is_begun_where_its_source_starts_up_whatever_happens_then() {
    for outcome in support::runs(SCENARIO, &[], 0..4) {
        let (earliest, latest) = (read(&outcome, 0), read(&outcome, 1));
        assert_eq!(earliest.iter().min(), Some(&0));
        assert_eq!(latest.iter().min(), Some(&HISTORY));
        assert_eq!(latest.iter().max(), Some(&(HISTORY + 4)));
    }
}

#[test]
fn the_history_is_due_at_once_and_the_rest_behind_it() {
    let burst = |changes: &[&str]| -> Vec<u64> {
        let outcomes = support::runs(SCENARIO, changes, 0..4);
        let before = |outcome: Outcome| {
            let trace = outcome.trace.into_iter().flatten();
            let early = trace.take_while(|(at, _)| at.as_nanos() < 400_000_000);
            let emitted = |it: &Observation| matches!(it, Observation::SourceEmitted { .. });
            early.filter(|(_, observation)| emitted(observation)).count() as u64
        };
        outcomes.map(before).collect()
    };
    let slow = ["job.operators[count].cost=1 µs"];
    for (with, without) in
        burst(&slow).into_iter().zip(burst(&[slow[0], "job.operators[orders].history=0"]))
    {
        assert!(with > 4 * HISTORY, "{with}");
        assert!(without < 4 * 40 + 8, "{without}");
    }
}

/// Without a checkpoint to go back to the job begins where it had begun.
#[test]
fn a_start_from_nothing_begins_at_the_same_offsets() {
    let crash = r#"faults=[{ "at": "900 ms", "kind": "crash_task", "target": "sink[0]" }]"#;
    let late = "checkpointing.initial_delay=3 s";
    let interval = "checkpointing.interval=3 s";
    for outcome in support::runs(SCENARIO, &[crash, late, interval], 0..4) {
        let first = read(&outcome, 1).iter().filter(|offset| **offset == HISTORY).count();
        assert_eq!(first, 2 * 4, "each of four splits is begun twice");
    }
}
