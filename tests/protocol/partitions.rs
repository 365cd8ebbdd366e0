//! The network between one process and one service, or another process, is cut, in one direction or
//! both; all others are within reach. The checks of every run judge that nothing is lost, repeated,
//! deleted too early or left behind.

use cutline_sim::observe::{JobEnd, Observation};
use cutline_sim::run::Outcome;

use crate::support::{count, observations, runs, situation, visible};

const SCENARIO: &str = "partitions.json";

/// Process 0 is the job manager, task managers are behind it.
const TASK_MANAGER: u32 = 1;

/// How many files a process writes while the first fault acts.
fn written_meanwhile(outcome: &Outcome, by: u32) -> usize {
    let during = observations(outcome)
        .skip_while(|it| !matches!(it, Observation::FaultInjected { fault: 0 }))
        .take_while(|it| !matches!(it, Observation::FaultHealed { fault: 0 }));
    let written = |it: &&Observation| matches!(it, Observation::FileWritten { process, .. } if *process == by);
    during.filter(written).count()
}

#[test]
fn what_is_cut_off_from_one_service_goes_on_with_the_others() {
    for outcome in runs(SCENARIO, &[], 0..6) {
        assert_eq!(outcome.job_end, Some(JobEnd::Finished), "seed {}", outcome.seed);
        assert_eq!(visible(&outcome), 10_000, "seed {}", outcome.seed);
        assert_eq!(outcome.faults_injected.len(), 3, "seed {}", outcome.seed);
        assert!(situation(&outcome, "checkpoint expired") >= 2, "seed {}", outcome.seed);
        let lost = count(&outcome, |it| matches!(it, Observation::ProcessLost { .. }));
        assert_eq!(lost, 0, "nobody dies, seed {}", outcome.seed);
        let ended = count(&outcome, |it| matches!(it, Observation::ExecutionEnded));
        assert_eq!(ended, 1, "a task manager that nobody hears is given up, seed {}", outcome.seed);
    }
}

/// A request that does not get there is not done; one whose answer does not come back is.
#[test]
fn a_direction_decides_what_is_done_unknown_to_who_asked() {
    for (direction, is_done) in [("there", false), ("both", false), ("back", true)] {
        let fault = format!(
            r#"faults=[{{"at": {{"step": "T5", "checkpoint": 3}}, "kind": "cut_storage",
                "target": "task_manager[0]", "direction": "{direction}", "for": "2 s"}}]"#
        );
        for outcome in runs(SCENARIO, &[&fault], 0..3) {
            let written = written_meanwhile(&outcome, TASK_MANAGER);
            assert_eq!(written > 0, is_done, "{direction}, seed {}", outcome.seed);
            assert_eq!(visible(&outcome), 10_000, "{direction}, seed {}", outcome.seed);
        }
    }
}

/// Everything that a process sends or asks for, cut at any time and in any direction.
#[test]
fn no_partition_costs_a_record() {
    let targets = [
        r#""kind": "cut_storage""#,
        r#""kind": "cut_storage", "target": "task_manager[1]""#,
        r#""kind": "cut_ha""#,
        r#""kind": "cut_external", "target": 0"#,
        r#""kind": "cut_link", "from": "job_manager", "to": "task_manager[0]""#,
        r#""kind": "cut_link", "from": "task_manager[0]", "to": "task_manager[1]""#,
    ];
    for (target, step) in targets.iter().zip(["F2", "B5", "F3", "S5", "T5", "B4"]) {
        for direction in ["there", "back"] {
            let fault = format!(
                r#"faults=[{{"at": {{"step": "{step}", "occurrence": 5}}, {target},
                    "direction": "{direction}", "for": "1700 ms"}}]"#
            );
            for outcome in runs(SCENARIO, &[&fault], 0..2) {
                assert_eq!(outcome.job_end, Some(JobEnd::Finished), "{fault}");
                assert_eq!(visible(&outcome), 10_000, "{fault}, seed {}", outcome.seed);
                assert_eq!(outcome.faults_injected.len(), 1, "{fault}");
            }
        }
    }
}
