//! Loops: what goes round counts once in each round, whatever happens meanwhile. The checks of every run
//! compare with a reference in which records go round as they do here; here it is asserted that jobs come
//! to the end they should, that something was going round, and what is refused (see also
//! `scenario::loops`).

use std::collections::BTreeMap;
use std::sync::Arc;

use cutline::message::FailureReason;
use cutline::operator::Fingerprint;
use cutline_sim::check::Verdict;
use cutline_sim::observe::{JobEnd, Observation};
use cutline_sim::run::{Outcome, Simulation};
use cutline_sim::scenario::generate::{Options, Seeds, generate_with};

use crate::support::{self, committed, count, observations, situation};

const NAME: &str = "feedback-loop.json";
const RECORDS: u64 = 3_000;
const CALM: [&str; 2] = ["faults=[]", "actions=[]"];

/// What each sink shows.
fn shown(outcome: &Outcome) -> BTreeMap<u32, Fingerprint> {
    outcome.shown.iter().map(|shown| (shown.operator.0, shown.contents)).collect()
}

fn captured(outcome: &Outcome) -> u64 {
    situation(outcome, "record captured on a feedback edge")
}

fn restored(outcome: &Outcome) -> u64 {
    situation(outcome, "record restored on a feedback edge")
}

#[test]
fn each_round_counts_once_whatever_happens() {
    let undisturbed = support::finished(NAME, &CALM, 0..1).next().expect("one seed");
    let crash = |step: &str| {
        format!(
            r#"faults=[{{"at": {{"step": "{step}", "subtask": "step[0]", "occurrence": 4}},
                "kind": "crash_task", "target": "rounds[1]"}}]"#
        )
    };
    let crashes = [crash("B2"), crash("B4"), crash("B6")];
    let mut rows: Vec<Vec<&str>> = vec![vec![], vec!["actions=[]"]];
    rows.extend(crashes.iter().map(|crash| vec![crash.as_str(), "actions=[]"]));
    rows.push(vec![&crashes[0], "actions=[]", "checkpointing.incremental=true"]);
    rows.push(vec!["actions=[]", "buffers.buffers_per_channel=1", "buffers.floating_per_gate=0"]);
    let mut going_round = 0;
    for changes in &rows {
        for outcome in support::finished(NAME, changes, 0..4) {
            assert_eq!(committed(observations(&outcome)), RECORDS, "{changes:?}");
            assert_eq!(shown(&outcome), shown(&undisturbed), "{changes:?}");
            assert!(captured(&outcome) > 0, "{changes:?}");
            going_round += restored(&outcome);
        }
    }
    assert!(going_round > 0, "nothing was restored on its way back");
}

/// The last records go round after the sources have ended, and checkpoints begin at the head then.
#[test]
fn a_loop_that_empties_survives_failures_and_stops() {
    let slow = [
        "network.latency=40 ms",
        "checkpointing.interval=50 ms",
        "buffers.buffers_per_channel=200",
        "buffers.max_per_subpartition=200",
    ];
    let crash = |ms: u32, target: &str| {
        format!(r#"faults=[{{"at": "{ms} ms", "kind": "crash_task", "target": "{target}"}}]"#)
    };
    let undisturbed = support::finished(NAME, &CALM, 0..1).next().expect("one seed");
    let crashes = [crash(3_120, "rounds[2]"), crash(3_280, "step[0]"), crash(4_000, "sink[0]")];
    let resumed = r#"actions=[
        {"at": "3300 ms", "kind": "stop_with_savepoint"},
        {"at": "3400 ms", "kind": "resume"}]"#;
    let mut rows: Vec<[&str; 2]> = crashes.iter().map(|it| [it.as_str(), "actions=[]"]).collect();
    rows.push(["faults=[]", resumed]);
    for row in rows {
        for outcome in support::finished(NAME, &[&slow[..], &row].concat(), 0..3) {
            assert_eq!(shown(&outcome), shown(&undisturbed), "{row:?}");
            assert!(restored(&outcome) > 0, "{row:?}: nothing was on its way back");
            assert!(situation(&outcome, "checkpoint with finished tasks") > 0, "{row:?}");
        }
    }
    let drain = r#"actions=[{"at": "3300 ms", "kind": "stop_with_savepoint", "drain": true}]"#;
    for outcome in support::runs(NAME, &[&slow[..], &["faults=[]", drain]].concat(), 0..3) {
        assert_eq!(outcome.job_end, Some(JobEnd::StoppedWithSavepoint));
        assert_eq!(committed(observations(&outcome)), RECORDS);
    }
}

#[test]
fn a_stopped_loop_goes_on_elsewhere() {
    let resume = |stop: &str, with: &str| {
        format!(
            r#"actions=[{{"at": "1 s", {stop}}}, {{"at": "1100 ms", "kind": "resume", {with}}}]"#
        )
    };
    let suspend = r#""kind": "stop_with_savepoint""#;
    let widely = r#""parallelism": {"source": 4, "step": 4, "rounds": 5}"#;
    let narrowly = r#""parallelism": {"source": 1, "step": 1, "rounds": 1}, "claim_mode": "claim""#;
    let cancel = r#""kind": "cancel""#;
    let checkpoint =
        r#""from": "checkpoint", "parallelism": {"rounds": 1, "step": 3, "source": 3}"#;
    let retained = "checkpointing.retention=retain_on_cancellation";
    let undisturbed = support::finished(NAME, &CALM, 0..1).next().expect("one seed");
    for (stop, with, edge) in [
        (suspend, widely, "hash"),
        (suspend, narrowly, "hash"),
        (suspend, widely, "rebalance"),
        (cancel, checkpoint, "hash"),
        (cancel, checkpoint, "rebalance"),
    ] {
        let actions = resume(stop, with);
        let edge = format!("job.edges[2].partitioner={edge}");
        let changes = ["faults=[]", &actions, &edge, retained];
        for outcome in support::finished(NAME, &changes, 0..4) {
            assert_eq!(shown(&outcome), shown(&undisturbed), "{stop} {with} {edge}");
            assert!(restored(&outcome) > 0, "{stop} {with}: nothing was on its way back");
        }
    }
}

/// A drained job leaves nothing in its loop.
#[test]
fn a_loop_is_drained() {
    let drain = r#"actions=[{"at": "1 s", "kind": "stop_with_savepoint", "drain": true}]"#;
    let alone = ["faults=[]", "checkpointing.interval=10 s", "checkpointing.initial_delay=10 s"];
    for outcome in support::runs(NAME, &[&alone[..], &[drain]].concat(), 0..6) {
        assert_eq!(outcome.job_end, Some(JobEnd::StoppedWithSavepoint));
        let emitted = count(&outcome, |it| matches!(it, Observation::SourceEmitted { .. }));
        assert_eq!(committed(observations(&outcome)), emitted as u64, "all came to its end");
    }
}

/// One checkpoint at a time: its barriers would abort the one whose records are being captured.
#[test]
fn a_savepoint_waits_for_the_checkpoint_under_way() {
    let savepoint = |ms: u64| format!(r#"{{"at": "{ms} ms", "kind": "savepoint"}}"#);
    let savepoints: Vec<String> = (0..40).map(|number| savepoint(500 + 13 * number)).collect();
    let actions = format!("actions=[{}]", savepoints.join(","));
    let often = ["faults=[]", "checkpointing.interval=20 ms", "network.latency=10 ms", &actions];
    for outcome in support::finished(NAME, &often, 0..3) {
        let aborted = |it: &Observation| match it {
            Observation::Failed { reason, .. } => {
                *reason == FailureReason::CheckpointDeclinedSubsumed
            }
            _ => false,
        };
        assert_eq!(count(&outcome, aborted), 0);
        assert!(captured(&outcome) > 0);
    }
}

/// Nothing is lost without alignment, and what goes round is captured from the snapshot on.
#[test]
fn at_least_once_loses_nothing_that_goes_round() {
    let changes = ["actions=[]", "checkpointing.mode=at_least_once"];
    let mut going_round = 0;
    for outcome in support::finished(NAME, &changes, 0..8) {
        assert!(committed(observations(&outcome)) >= RECORDS);
        going_round += restored(&outcome);
    }
    assert!(going_round > 0);
}

/// However full everything is: what comes round has room.
#[test]
fn a_loop_does_not_block_itself() {
    let tight = [
        "faults=[]",
        "actions=[]",
        "buffers.buffers_per_channel=1",
        "buffers.floating_per_gate=0",
        "buffers.max_per_subpartition=1",
        "job.operators[rounds].cost=1500 µs",
        "job.operators[sink].cost=2 ms",
        "job.operators[step].cost=700 µs",
        "job.edges[2].feedback=9/10",
        "checkpointing.timeout=60 s",
        "limits.until=5 min",
    ];
    for outcome in support::finished(NAME, &tight, 0..2) {
        assert_eq!(committed(observations(&outcome)), RECORDS);
    }
}

#[test]
fn random_jobs_with_loops_come_to_an_end() {
    // In larger jobs than those of campaigns, more happens to each.
    let options = Options { exactly_once_output: true, records_max: 4_000, ..Options::default() };
    let (mut loops, mut going_round) = (0, 0);
    for seed in 0..1_200 {
        let disturbed = generate_with(&options, Seeds::all(seed));
        if !disturbed.job.edges.iter().any(|edge| edge.feedback.is_some()) {
            continue;
        }
        loops += 1;
        let calm = generate_with(&Options { faults_max: 0, ..options }, Seeds::all(seed));
        let [disturbed, calm] = [disturbed, calm]
            .map(|scenario| Simulation::new(Arc::new(scenario), seed).expect("it can run").run());
        for outcome in [&disturbed, &calm] {
            assert_eq!(outcome.verdict, Verdict::Ok, "{seed}: {:?}", outcome.violations);
        }
        if [&disturbed, &calm].iter().all(|it| it.job_end == Some(JobEnd::Finished)) {
            assert_eq!(shown(&disturbed), shown(&calm), "{seed}");
        }
        going_round += restored(&disturbed);
    }
    assert!(loops > 70 && going_round > 0, "{loops} loops, {going_round} restored");
}
