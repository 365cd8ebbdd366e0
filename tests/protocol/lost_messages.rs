//! Control messages that are lost: nothing is but time, whatever the message said. The checks of every
//! run judge that nothing is lost, repeated, deleted too early or left behind, and that the job ends.

use cutline::ids::CheckpointId;
use cutline::message::FailureReason;
use cutline::step::Step;
use cutline_sim::observe::{JobEnd, Observation};
use cutline_sim::run::Outcome;

use crate::support::{count, finished, observations, runs, situation, visible};

const SCENARIO: &str = "lost-messages.json";
const RECORDS: u64 = 3_000;

/// A fault between the job manager and the first task manager; times and steps as in scenario files.
fn fault(at: &str, direction: &str, span: &str) -> String {
    format!(
        r#"faults=[{{"at": {at}, "kind": "lose_messages", "from": "job_manager",
            "to": "task_manager[0]", "direction": "{direction}", "for": "{span}"}}]"#
    )
}

fn reason_of(outcome: &Outcome, of: u64) -> Option<FailureReason> {
    observations(outcome).find_map(|it| match *it {
        Observation::Failed { checkpoint: CheckpointId(id), reason } if id == of => Some(reason),
        _ => None,
    })
}

fn failovers(outcome: &Outcome) -> usize {
    count(outcome, |it| matches!(it, Observation::ExecutionEnded))
}

#[test]
fn the_scenario_shows_what_it_says() {
    for outcome in finished(SCENARIO, &[], 0..3) {
        assert_eq!(visible(&outcome), RECORDS, "seed {}", outcome.seed);
        assert_eq!(outcome.faults_injected.len(), 4, "seed {}", outcome.seed);
        assert!(situation(&outcome, "control message lost") > 5, "seed {}", outcome.seed);
        assert!(situation(&outcome, "call without an answer") > 2, "seed {}", outcome.seed);
        let expired = FailureReason::CheckpointExpired;
        assert_eq!(reason_of(&outcome, 3), Some(expired), "seed {}", outcome.seed);
        let lost = count(&outcome, |it| matches!(it, Observation::ProcessLost { .. }));
        assert_eq!(lost, 0, "nobody dies, seed {}", outcome.seed);
    }
}

#[test]
fn an_acknowledgement_that_is_lost_lets_its_checkpoint_expire_and_no_more() {
    let at = r#"{"step": "B5", "checkpoint": 3, "subtask": "count[0]", "delay": "8 ms"}"#;
    for outcome in finished(SCENARIO, &[&fault(at, "back", "4 ms")], 0..3) {
        let expired = Some(FailureReason::CheckpointExpired);
        assert_eq!(reason_of(&outcome, 3), expired, "seed {}", outcome.seed);
        assert_eq!(failovers(&outcome), 0, "seed {}", outcome.seed);
    }
}

#[test]
fn a_trigger_that_is_lost_aborts_its_checkpoint_when_the_call_times_out() {
    // Events pass after the triggers: what is lost with it fails a reader.
    let at = r#"{"step": "T4", "checkpoint": 3, "delay": "19 ms"}"#;
    let none_is_assigned = "job.operators[files].splits=2";
    let longer = "job.operators[files].records=1500";
    let changes = [&*fault(at, "there", "2 ms"), none_is_assigned, longer];
    for outcome in finished(SCENARIO, &changes, 0..3) {
        let refused = Some(FailureReason::TriggerCheckpointFailure);
        assert_eq!(reason_of(&outcome, 3), refused, "seed {}", outcome.seed);
        assert_eq!(failovers(&outcome), 0, "seed {}", outcome.seed);
    }
}

#[test]
fn a_deployment_that_is_lost_or_not_answered_fails_when_the_call_times_out() {
    let crash = r#"{"at": "1900 ms", "kind": "crash_task", "target": "count[1]"}"#;
    for rpc in ["-1", "2"].map(|of| format!("cluster.heartbeat_rpc_failure_threshold={of}")) {
        for direction in ["there", "back"] {
            let lose = fault(r#"{"step": "R1", "delay": "95 ms"}"#, direction, "20 ms");
            let faults = lose.replace("faults=[", &format!("faults=[{crash},"));
            for outcome in finished(SCENARIO, &[&faults, &rpc], 0..3) {
                let what = format!("{direction}, {rpc}, seed {}", outcome.seed);
                assert_eq!(failovers(&outcome), 2, "{what}");
                assert_eq!(visible(&outcome), RECORDS, "{what}");
            }
        }
    }
}

/// A split, or the news that it has arrived: the job manager cannot tell one from the other.
#[test]
fn a_split_that_may_be_lost_fails_its_reader() {
    for (direction, at) in [("there", 749_500), ("back", 750_500)] {
        let mut failed = 0;
        for split in 0..4 {
            let at = format!("\"{} µs\"", at + split * 150_000);
            for outcome in finished(SCENARIO, &[&fault(&at, direction, "1 ms")], 0..1) {
                assert_eq!(visible(&outcome), RECORDS, "{direction}, {at}");
                failed += failovers(&outcome);
            }
        }
        // Some of them are for the reader on the other task manager.
        assert!(failed > 0, "{direction}");
    }
}

/// A stop goes on to its end, although the tasks do not hear that its savepoint is complete.
#[test]
fn a_stop_whose_news_is_lost_ends_all_the_same() {
    let stop = r#"actions=[{"at": "2 s", "kind": "stop_with_savepoint"}]"#;
    for direction in ["there", "back", "both"] {
        let (mut stopped, mut lost) = (0, 0);
        for occurrence in 6..11 {
            let at = format!(r#"{{"step": "F4", "occurrence": {occurrence}}}"#);
            for outcome in runs(SCENARIO, &[&fault(&at, direction, "150 ms"), stop], 0..2) {
                stopped += u32::from(outcome.job_end == Some(JobEnd::StoppedWithSavepoint));
                lost += situation(&outcome, "control message lost");
            }
        }
        assert!(stopped > 5 && lost > 10, "{direction}: {stopped} stopped, {lost} lost");
    }
}

/// Everything that is said, lost at any step in any direction, by itself and with what follows.
#[test]
fn no_lost_message_costs_a_record() {
    let failover = [
        "cluster.failover_strategy=full",
        "cluster.heartbeat_rpc_failure_threshold=1",
        "cluster.job_managers=2",
    ];
    let mut lost = 0;
    for step in [Step::T3, Step::T5, Step::B5, Step::A1, Step::A2, Step::F3, Step::F4, Step::R1] {
        for direction in ["there", "back", "both"] {
            for (span, how) in ["8 ms", "60 ms", "3 s"].iter().zip(failover) {
                let crash = r#"{"at": "1900 ms", "kind": "crash_task", "target": "count[1]"}"#;
                let lose =
                    fault(&format!(r#"{{"step": "{step}", "occurrence": 1}}"#), direction, span);
                let changes = [&*lose.replace("faults=[", &format!("faults=[{crash},")), how];
                for outcome in finished(SCENARIO, &changes, 0..1) {
                    assert_eq!(visible(&outcome), RECORDS, "{lose}, seed {}", outcome.seed);
                    lost += situation(&outcome, "control message lost");
                }
            }
        }
    }
    assert!(lost > 50, "{lost}");
}
