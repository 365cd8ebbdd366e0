//! Failover as a cluster does it: how deaths are noticed, and how tasks end. The checks of every run
//! judge that nothing is lost or repeated meanwhile.

use cutline::time::VirtualTime;
use cutline_sim::observe::{JobEnd, Observation};
use cutline_sim::run::Outcome;

use crate::support::{first, observations, runs, situation};

/// The restarts that the death of a task manager costs, by the time at which it dies.
fn restarts(kills: impl Iterator<Item = u64>, changes: &[&str]) -> Vec<u64> {
    let of = |kill: u64| {
        let at = format!("faults[0].at={kill} ms");
        let mut all = changes.to_vec();
        all.push(&at);
        runs("failover-race.json", &all, 0..1)
            .map(|outcome| {
                assert_eq!(outcome.job_end, Some(JobEnd::Finished), "killed at {kill} ms");
                let killed = first(&outcome, |it| matches!(it, Observation::ProcessLost { .. }));
                let failed = first(&outcome, |it| matches!(it, Observation::ExecutionEnded));
                let noticed = failed.expect("it fails").since(killed.expect("it dies"));
                // Measured: 85 to 348 ms.
                assert!((80..400).contains(&noticed.as_millis()), "noticed after {noticed}");
                let refused = situation(&outcome, "deployed onto a dead task manager");
                assert_eq!(refused > 0, outcome.statistics.restarts > 1, "killed at {kill} ms");
                outcome.statistics.restarts
            })
            .sum()
    };
    kills.map(of).collect()
}

/// Measured on Flink 2.3: 17 of 19 kills took two restarts, two took one.
#[test]
fn a_heartbeat_as_short_as_the_restart_delay_costs_two_restarts() {
    let restarts = restarts((0..10).map(|tenth| 17_050 + tenth * 100), &[HEARTBEAT_1S]);
    assert!(restarts.iter().all(|it| (1..=2).contains(it)), "{restarts:?}");
    let two = restarts.iter().filter(|it| **it == 2).count();
    assert!(two >= 7, "{restarts:?}");
}

/// Measured with Flink's default, 10 s: 12, 12, 12 and 16.
#[test]
fn the_default_heartbeat_costs_about_a_dozen() {
    let restarts = restarts((0..10).map(|tenth| 15_000 + tenth * 1_000), &[]);
    assert!(restarts.iter().all(|it| (10..=20).contains(it)), "{restarts:?}");
    let mean = restarts.iter().sum::<u64>() / restarts.len() as u64;
    assert!((11..=16).contains(&mean), "{restarts:?}");
    // Later in the interval means less time until the second heartbeat fails.
    assert!(restarts.contains(&12), "{restarts:?}");
}

/// Silence alone: `heartbeat.timeout`, counted from the last answer (at 10 s), looked at with every
/// heartbeat (at 30 s).
#[test]
fn without_a_threshold_of_calls_only_silence_counts() {
    let changes = ["cluster.heartbeat_rpc_failure_threshold=-1", "cluster.heartbeat_timeout=15 s"];
    let restarts = restarts([17_000].into_iter(), &changes);
    assert!((11..=13).contains(&restarts[0]), "{restarts:?}");
}

const HEARTBEAT_1S: &str = "cluster.heartbeat_interval=1 s";

#[test]
fn a_task_that_does_not_end_in_time_takes_its_task_manager_with_it() {
    for outcome in runs("slow-cancellation.json", &[], 0..4) {
        assert_eq!(outcome.job_end, Some(JobEnd::Finished), "seed {}", outcome.seed);
        assert!(situation(&outcome, "slow cancellation") >= 2, "seed {}", outcome.seed);
        assert_eq!(situation(&outcome, "cancellation timed out"), 1, "seed {}", outcome.seed);
        let lost =
            observations(&outcome).filter(|it| matches!(it, Observation::ProcessLost { .. }));
        assert_eq!(lost.count(), 1, "seed {}", outcome.seed);
    }
}

/// The first failure is at 2.1 s, and the task is busy until 2.6 s.
#[test]
fn a_restart_waits_for_tasks_that_are_busy() {
    let restored = |outcome: &Outcome| {
        let trace = outcome.trace.as_ref().expect("support keeps it");
        let mut chosen =
            trace.iter().filter(|(_, it)| matches!(it, Observation::RestoreChosen { .. }));
        chosen.nth(1).map(|(at, _)| *at).expect("it is restarted")
    };
    for outcome in runs("slow-cancellation.json", &[], 0..4) {
        let at = restored(&outcome).as_nanos() / 1_000_000;
        assert!((2_600..2_700).contains(&at), "restored at {at} ms");
    }
    // Without the option a task ends as soon as it is told to.
    let without = r#"cluster={"task_managers": 3, "heartbeat_interval": "200 ms",
        "heartbeat_timeout": "1 s", "heartbeat_rpc_failure_threshold": 2, "process_restart": "10 s"}"#;
    for outcome in runs("slow-cancellation.json", &[without], 0..4) {
        let at = restored(&outcome).as_nanos() / 1_000_000;
        assert!((2_200..2_300).contains(&at), "restored at {at} ms");
    }
}

/// 0: however long it takes.
#[test]
fn without_a_timeout_the_job_waits() {
    for outcome in runs("slow-cancellation.json", &["cluster.cancellation_timeout=0 s"], 0..2) {
        assert_eq!(outcome.job_end, Some(JobEnd::Finished), "seed {}", outcome.seed);
        assert_eq!(situation(&outcome, "cancellation timed out"), 0);
        assert!(outcome.virtual_time > VirtualTime::from_millis(65_000));
    }
}

/// A second failure while the job is being restored from the first, also one that is noticed late.
#[test]
fn a_failure_during_recovery_is_recovered_from() {
    let changes = [
        "cluster.task_managers=4",
        "cluster.heartbeat_interval=1 s",
        r#"faults=[
            {"at": "17 s", "kind": "crash_task_manager", "target": 0},
            {"at": {"step": "R4", "occurrence": 9}, "kind": "crash_task_manager", "target": 1},
            {"at": {"step": "R6", "occurrence": 10, "delay": "1 ms"}, "kind": "crash_task", "target": "sink[1]"}]"#,
    ];
    for outcome in runs("failover-race.json", &changes, 0..4) {
        assert_eq!(outcome.job_end, Some(JobEnd::Finished), "seed {}", outcome.seed);
        assert_eq!(outcome.faults_injected.len(), 3, "seed {}", outcome.seed);
        assert!(situation(&outcome, "recovery during recovery") > 0, "seed {}", outcome.seed);
    }
}

/// A stop whose tasks are on a dead machine fails with the job, and is not forgotten.
#[test]
fn a_failure_while_a_stop_is_in_progress_fails_the_stop() {
    let changes = [
        "cluster.heartbeat_interval=1 s",
        r#"actions=[{"at": "17 s", "kind": "stop_with_savepoint"}]"#,
        r#"faults=[{"at": {"step": "B2", "occurrence": 1, "subtask": "sink[0]", "checkpoint": 4}, "kind": "crash_task_manager", "target": 0}]"#,
    ];
    let mut failed = 0;
    for outcome in runs("failover-race.json", &changes, 0..4) {
        let ended = observations(&outcome).find_map(|it| match *it {
            Observation::ActionEnded { done, .. } => Some(done),
            _ => None,
        });
        assert!(ended.is_some(), "seed {}", outcome.seed);
        failed += u32::from(ended == Some(false));
        assert_eq!(outcome.job_end, Some(JobEnd::Finished), "seed {}", outcome.seed);
    }
    assert!(failed > 0);
}
