//! Operators with list state, of which async I/O is one. The checks of every run compare state and
//! output with the reference; here it is asserted that what the scenarios are about happens.

use std::collections::BTreeMap;

use cutline::ids::CheckpointId;
use cutline::message::FailureReason;
use cutline::time::VirtualTime;
use cutline_sim::observe::{JobEnd, Observation};
use cutline_sim::run::Outcome;

use crate::support::{self, committed, count, observations, situation};

const SEEDS: u64 = 8;

fn runs(name: &str, changes: &[&str]) -> impl Iterator<Item = Outcome> + use<> {
    support::finished(name, changes, 0..SEEDS)
}

/// What a job commits that nothing disturbs.
fn undisturbed(name: &str) -> u64 {
    let mut calm = support::runs(name, &["faults=[]", "actions=[]"], 0..1);
    committed(observations(&calm.next().expect("one seed")))
}

/// Records that were sent behind a later one of the same split, on the same channel in the same
/// execution.
fn overtaken(outcome: &Outcome) -> u64 {
    let mut last = BTreeMap::new();
    let mut overtaken = 0;
    for observation in observations(outcome) {
        match observation {
            Observation::RestoreChosen { .. } => last.clear(),
            Observation::Sent { channel, record } if record.is_data() => {
                let before = last.insert((*channel, record.split, record.path), record.offset);
                overtaken += u64::from(before >= Some(record.offset));
            }
            _ => {}
        }
    }
    overtaken
}

#[test]
fn what_a_buffer_holds_is_dealt_out_anew() {
    // What comes out beside the windows, which are as many in each run.
    let expected = undisturbed("list-state.json");
    assert!(expected > 3_000, "{expected}");
    for outcome in runs("list-state.json", &[]) {
        assert_eq!(situation(&outcome, "list state dealt out anew"), 2);
        assert_eq!(committed(observations(&outcome)), expected, "seed {}", outcome.seed);
        assert_eq!(outcome.statistics.records.late, 0, "watermarks wait behind what is held");
    }
}

/// Each key's records come out in the order in which they were read, whatever is held back.
#[test]
fn a_buffer_keeps_the_order() {
    for outcome in runs("list-state.json", &["actions=[]"]) {
        assert_eq!(overtaken(&outcome), 0, "seed {}", outcome.seed);
    }
}

#[test]
fn a_broadcast_state_has_as_many_copies_as_there_are_subtasks() {
    let expected = undisturbed("broadcast-state.json");
    assert!((1_000..2_800).contains(&expected), "some keys have no rule: {expected}");
    for outcome in runs("broadcast-state.json", &[]) {
        let copied = situation(&outcome, "broadcast state copied to another number of subtasks");
        assert_eq!((copied, situation(&outcome, "list state dealt out anew")), (2, 2));
        assert_eq!(committed(observations(&outcome)), expected, "seed {}", outcome.seed);
    }
}

#[test]
fn a_union_list_state_is_checkpointed_whole_or_not_at_all() {
    let (mut refused, mut restored) = (0, 0);
    for outcome in runs("union-list-state.json", &[]) {
        assert_eq!(committed(observations(&outcome)), 2_000);
        refused += situation(&outcome, "union list state of a partly finished operator");
        restored += situation(&outcome, "union list state restored");
        let failed: Vec<CheckpointId> = observations(&outcome)
            .filter_map(|it| match it {
                Observation::Failed { checkpoint, reason } => {
                    (*reason == FailureReason::CheckpointDeclinedTaskClosing).then_some(*checkpoint)
                }
                _ => None,
            })
            .collect();
        let durable = |it: &Observation| matches!(it, Observation::Durable { checkpoint } if failed.contains(checkpoint));
        assert!(!observations(&outcome).any(durable), "seed {}", outcome.seed);
    }
    assert!(refused > SEEDS && restored >= 2 * SEEDS, "{refused} refused, {restored} restored");
    // An even-split list says of each split where it is, whoever has finished.
    for outcome in runs("union-list-state.json", &["job.operators[topic].list_mode=split"]) {
        assert_eq!(committed(observations(&outcome)), 2_000);
        assert_eq!(situation(&outcome, "union list state of a partly finished operator"), 0);
    }
}

/// Whatever waits for an answer when a checkpoint is taken is asked about again, and comes out once.
#[test]
fn calls_are_part_of_a_checkpoint() {
    let expected = undisturbed("async-io.json");
    assert!(expected > 2_400, "{expected}");
    for order in ["ordered", "unordered"] {
        let order = format!("job.operators[look-up].order={order}");
        for outcome in runs("async-io.json", &[&order]) {
            assert!(situation(&outcome, "call made again after a restore") > 10);
            assert_eq!(committed(observations(&outcome)), expected, "seed {}", outcome.seed);
            assert_eq!(outcome.statistics.records.late, 0, "no answer is overtaken by a watermark");
        }
    }
}

/// Unordered, records overtake each other; ordered, they never do.
#[test]
fn answers_overtake_each_other_if_they_may() {
    for (order, may) in [("ordered", false), ("unordered", true)] {
        let order = format!("job.operators[look-up].order={order}");
        let changes = ["actions=[]", &order];
        let counts: Vec<u64> = runs("async-io.json", &changes).map(|it| overtaken(&it)).collect();
        assert!(counts.iter().all(|count| (*count > 0) == may), "{order}: {counts:?}");
    }
}

/// With room for one record, the job is as fast as one call after another.
#[test]
fn a_full_queue_is_backpressure() {
    let narrow = ["actions=[]", "faults=[]", "job.operators[look-up].capacity=1"];
    let latency = "job.operators[look-up].latency=10 ms";
    for outcome in runs("async-io.json", &[narrow[0], narrow[1], narrow[2], latency]).take(2) {
        assert!(outcome.virtual_time >= VirtualTime::from_millis(12_000), "1,200 calls of 10 ms");
    }
}

/// A job that is drained waits for all answers before the savepoint.
#[test]
fn a_drain_waits_for_answers() {
    let drain = r#"actions=[{"at": "1 s", "kind": "stop_with_savepoint", "drain": true}]"#;
    for outcome in support::runs("async-io.json", &[drain, "faults=[]"], 0..SEEDS) {
        assert_eq!(outcome.job_end, Some(JobEnd::StoppedWithSavepoint), "seed {}", outcome.seed);
        let emitted = count(&outcome, |it| matches!(it, Observation::SourceEmitted { .. }));
        let called = count(&outcome, |it| matches!(it, Observation::Called { .. }));
        assert_eq!(emitted, called, "each was asked about once");
        // All of them are in the archive, and beside them there are the reports.
        assert!(committed(observations(&outcome)) > emitted as u64);
    }
}

/// One late answer holds the others and the barrier back, so that checkpoints overlap.
#[test]
fn answers_in_order_hold_the_barrier_back() {
    let start_delay = |order: &str| {
        let order = format!("job.operators[look-up].order={order}");
        let outcomes = support::runs("async-ordered.json", &[order.as_str()], 0..4);
        outcomes.map(|outcome| outcome.statistics.start_delay.mean()).max().expect("some seeds")
    };
    assert!(start_delay("ordered") > start_delay("unordered"));
    for outcome in support::runs("async-ordered.json", &[], 0..4) {
        let (mut pending, mut most) = (0_i32, 0);
        for observation in support::observations(&outcome) {
            match observation {
                Observation::Triggered { .. } => pending += 1,
                Observation::Completed { .. } | Observation::Failed { .. } => pending -= 1,
                _ => {}
            }
            most = most.max(pending);
        }
        assert_eq!(most, 2, "seed {}: max_concurrent is reached", outcome.seed);
        assert_eq!(outcome.statistics.records.committed, 4_000, "seed {}", outcome.seed);
    }
}
