//! What backpressure does to checkpoints, as real clusters show it.

use std::collections::BTreeMap;

use cutline::ids::SubtaskId;
use cutline::step::Step;
use cutline::time::VirtualDuration;
use cutline_sim::observe::{JobEnd, Observation};
use cutline_sim::run::Outcome;

use crate::support::{count, finished, observations, runs, situation};

const ALIGNED: &str = "backpressure-aligned.json";
const TIMEOUT: &str = "backpressure-aligned-timeout.json";
const UNALIGNED: &str = "backpressure-unaligned.json";
const MEASURED: &str = "overloaded.json";

fn median(mut of: Vec<u64>) -> u64 {
    of.sort_unstable();
    of[of.len() / 2]
}

/// From the trigger of completed checkpoints to a step of theirs at these subtasks: the first one at
/// each, or the last one at all, in milliseconds. The first checkpoints are left out: the queues fill.
fn delays(outcome: &Outcome, wanted: Step, of: &[u32], last: bool) -> Vec<u64> {
    let mut triggered = BTreeMap::new();
    let mut firsts: BTreeMap<_, BTreeMap<SubtaskId, _>> = BTreeMap::new();
    let mut delays = Vec::new();
    for (at, observation) in outcome.trace.iter().flatten() {
        match *observation {
            Observation::Triggered { checkpoint, .. } => {
                triggered.insert(checkpoint, *at);
            }
            Observation::Step { step, checkpoint: Some(checkpoint), subtask: Some(subtask) }
                if step == wanted && of.contains(&subtask.0) =>
            {
                firsts.entry(checkpoint).or_default().entry(subtask).or_insert(*at);
            }
            Observation::Completed { checkpoint } if checkpoint.0 > 3 => {
                let Some(firsts) = firsts.get(&checkpoint) else { continue }; // They had finished.
                let at = firsts.values().map(|at| at.since(triggered[&checkpoint]));
                let at = at.map(|it| it.0 / 1_000_000);
                match last {
                    true => delays.extend(at.max()),
                    false => delays.extend(at),
                }
            }
            _ => {}
        }
    }
    assert!(delays.len() > 4, "seed {}: there are checkpoints", outcome.seed);
    delays
}

/// The median start delay at each of the three operators behind the source, in milliseconds.
fn start_delays(outcome: &Outcome) -> [u64; 3] {
    [[2, 3], [4, 5], [6, 7]].map(|hop| median(delays(outcome, Step::B1, &hop, false)))
}

#[test]
fn aligned_barriers_are_later_at_each_hop() {
    for outcome in finished(ALIGNED, &["faults=[]"], 0..4) {
        let [parse, enrich, slow] = start_delays(&outcome);
        assert!(
            parse > 500 && enrich > parse + 500 && slow > enrich + 300,
            "{parse}, {enrich}, {slow}"
        );
        let alignment = outcome.statistics.alignment.mean();
        assert!(alignment < VirtualDuration::from_millis(slow / 10), "{alignment:?}");
    }
}

#[test]
fn a_timeout_keeps_the_start_delay_downstream_at_itself() {
    for timeout in [500, 300] {
        let timeout_of = format!("checkpointing.aligned_timeout={timeout} ms");
        for outcome in finished(TIMEOUT, &["faults=[]", &timeout_of], 0..4) {
            let [_, enrich, slow] = start_delays(&outcome);
            let about = timeout * 9 / 10..timeout * 11 / 10;
            assert!(about.contains(&enrich) && about.contains(&slow), "{enrich}, {slow}");
            assert!(outcome.statistics.records.persisted > 0);
        }
    }
}

#[test]
fn unaligned_barriers_stay_fast_and_carry_what_is_in_flight() {
    for outcome in finished(UNALIGNED, &["faults=[]"], 0..4) {
        let statistics = &outcome.statistics;
        assert!(statistics.end_to_end.mean() < VirtualDuration::from_millis(150));
        // Some 22 buffers in front of each of the two busy subtasks, and as many at the hops before.
        let of_each = statistics.records.persisted / statistics.checkpoints.completed;
        assert!((60..140).contains(&of_each), "{of_each} records a checkpoint");
    }
}

#[test]
fn one_expiry_more_than_is_tolerated_restarts_the_job() {
    for tolerable in [0, 2, 3] {
        let tolerates = format!("checkpointing.tolerable_failures={tolerable}");
        for outcome in runs("backpressure-expiry.json", &[&tolerates], 0..2) {
            let mut in_a_row = 0;
            for observation in observations(&outcome) {
                match observation {
                    Observation::Failed { .. } => in_a_row += 1,
                    Observation::Completed { .. } => in_a_row = 0,
                    Observation::ExecutionEnded => {
                        assert_eq!(in_a_row, tolerable + 1, "seed {}", outcome.seed);
                        in_a_row = 0;
                    }
                    _ => {}
                }
            }
            let restarts = count(&outcome, |it| matches!(it, Observation::ExecutionEnded));
            assert!(restarts > 2 && situation(&outcome, "checkpoint expired") > 2);
            assert_ne!(outcome.job_end, Some(JobEnd::Finished));
        }
    }
    let longer = ["checkpointing.timeout=5 s"];
    assert_eq!(finished("backpressure-expiry.json", &longer, 0..2).count(), 2);
}

/// `checkpoint` runs of `data/flink-2.3` at twice the capacity and an interval of 1 s: medians of two
/// runs, trigger to last acknowledgement.
#[test]
fn an_overloaded_job_takes_as_long_as_was_measured() {
    const UNALIGNED: &str = "checkpointing.unaligned=true";
    for (mode, changes, measured, within) in [
        ("aligned", &[][..], 2_646, 15),
        ("timeout_500", &[UNALIGNED, "checkpointing.aligned_timeout=500 ms"], 645, 15),
        // Of the same order. (A barrier waits for the 262 records in work, not for one.)
        ("unaligned", &[UNALIGNED], 138, 50),
        ("at_least_once", &["checkpointing.mode=at_least_once"], 3_734, 30),
    ] {
        for outcome in finished(MEASURED, changes, 0..3) {
            let took = median(delays(&outcome, Step::B6, &[0, 1, 2, 3], true));
            let off = took.abs_diff(measured) * 100 / measured;
            assert!(off <= within, "{mode}: {took} ms simulated, {measured} ms measured");
        }
    }
}

#[test]
fn smaller_buffers_make_an_aligned_checkpoint_as_short_as_is_wanted() {
    const DEBLOATED: &str = "buffer-debloating.json";
    let took = |changes: &[&str]| {
        let outcomes = finished(DEBLOATED, changes, 0..3);
        let medians = outcomes.map(|it| median(delays(&it, Step::B6, &[0, 1, 2, 3], true)));
        median(medians.collect())
    };
    let [plain, long, short] =
        [took(&["buffers.debloat=false"]), took(&["buffers.debloat_target=1 s"]), took(&[])];
    assert!(plain > 2_600 && long < plain * 3 / 4 && short < plain / 2, "{plain}, {long}, {short}");
    for outcome in finished(DEBLOATED, &[], 0..2) {
        assert!(situation(&outcome, "buffers made smaller") > 2);
        let sizes = observations(&outcome).filter_map(|observation| match observation {
            Observation::BufferSizeAnnounced { bytes, .. } => Some(*bytes),
            _ => None,
        });
        let least = sizes.min().expect("some were announced");
        // 250 kB a second for half a second, in some ten to twenty buffers.
        assert!((4_000..16_000).contains(&least), "{least}");
    }
    // Nobody is behind: nothing is announced.
    for outcome in finished(DEBLOATED, &["job.operators[operator].cost=100 µs"], 0..2) {
        assert_eq!(situation(&outcome, "buffers made smaller"), 0);
    }
}
