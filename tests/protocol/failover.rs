//! Failover as a cluster does it: how deaths are noticed, and how tasks end. The checks of every run
//! judge that nothing is lost or repeated meanwhile. Which tasks are restarted, one region or all.

use std::collections::BTreeSet;

use cutline::ids::SubtaskId;
use cutline::time::VirtualTime;
use cutline_sim::observe::{JobEnd, Observation, TaskState};
use cutline_sim::run::Outcome;

use crate::support::{count, first, observations, runs, situation};

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

/// The scenario as it is, and with the heartbeat of the measurement.
#[test]
fn the_scenario_shows_the_race_as_it_was_measured() {
    let restarts = |changes: &[&str]| -> Vec<u64> {
        runs("failover-race.json", changes, 0..8)
            .map(|outcome| outcome.statistics.restarts)
            .collect()
    };
    let default = restarts(&[]);
    assert!(default.iter().all(|it| (12..=16).contains(it)), "{default:?}");
    assert_eq!(restarts(&[HEARTBEAT_1S]), [2; 8]);
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

const REGIONS: &str = "regional-restart.json";

/// How often each subtask has come to run.
fn attempts(outcome: &Outcome) -> Vec<usize> {
    let mut attempts = vec![0; outcome.plan.graph.subtasks()];
    for observation in observations(outcome) {
        if let Observation::Task { subtask, state: TaskState::Running, .. } = *observation {
            attempts[subtask.index()] += 1;
        }
    }
    attempts
}

fn is_regional(observation: &Observation) -> bool {
    matches!(observation, Observation::RegionEnded { .. })
}

fn is_whole(observation: &Observation) -> bool {
    matches!(observation, Observation::ExecutionEnded)
}

/// One task fails: its pipeline is restarted, the other three run on, and keep their transactions.
#[test]
fn a_failed_region_goes_back_alone() {
    for outcome in runs(REGIONS, &[ONE_FAILURE], 0..4) {
        assert_eq!(outcome.job_end, Some(JobEnd::Finished), "seed {}", outcome.seed);
        let regions = outcome.plan.graph.regions();
        assert_eq!(regions.count(), 4);
        let failed = outcome.plan.graph.regions().of(SubtaskId(1));
        for (subtask, attempts) in (0..).map(SubtaskId).zip(attempts(&outcome)) {
            assert_eq!(attempts, if regions.of(subtask) == failed { 2 } else { 1 });
        }
        assert_eq!(count(&outcome, is_whole), 0, "seed {}", outcome.seed);
        let aborted = count(&outcome, |it| matches!(it, Observation::TransactionAborted { .. }));
        assert!(aborted <= 1, "seed {}: only the failed sink's", outcome.seed);
    }
}

const ONE_FAILURE: &str = r#"faults=[{"at": {"step": "A1", "checkpoint": 4, "subtask": "sink[2]"},
    "kind": "crash_task", "target": "map[1]"}]"#;

#[test]
fn the_full_strategy_restarts_everything() {
    let full = "cluster.failover_strategy=full";
    for outcome in runs(REGIONS, &[ONE_FAILURE, full], 0..2) {
        assert_eq!(outcome.job_end, Some(JobEnd::Finished), "seed {}", outcome.seed);
        assert_eq!((count(&outcome, is_regional), count(&outcome, is_whole)), (0, 1));
        assert!(attempts(&outcome).into_iter().all(|attempts| attempts == 2));
    }
}

/// Where every task is connected with every other, the two strategies are one.
#[test]
fn a_job_of_one_region_is_restarted_as_a_whole() {
    let digests = |strategy| -> Vec<_> {
        let digest = |outcome: Outcome| (outcome.digest, outcome.statistics.restarts);
        runs("quickstart.json", &[strategy], 0..3).map(digest).collect()
    };
    let region = digests("cluster.failover_strategy=region");
    assert_eq!(region, digests("cluster.failover_strategy=full"));
    assert!(region.iter().any(|(_, restarts)| *restarts > 0));
}

/// A machine with tasks of two regions dies: two failures, each with its own restart.
#[test]
fn each_region_of_a_dead_machine_is_a_failure_of_its_own() {
    let dies = r#"faults=[{"at": "1700 ms", "kind": "crash_task_manager", "target": 0}]"#;
    for outcome in runs(REGIONS, &[dies], 0..3) {
        assert_eq!(outcome.job_end, Some(JobEnd::Finished), "seed {}", outcome.seed);
        assert_eq!(count(&outcome, is_regional), 2, "seed {}", outcome.seed);
        assert_eq!(situation(&outcome, "several regions down at once"), 1);
        assert_eq!(attempts(&outcome).into_iter().filter(|it| *it == 1).count(), 6);
    }
    // The strategy counts them, and one is too many.
    let once = r#"restart={"type": "fixed_delay", "attempts": 1, "delay": "300 ms"}"#;
    for outcome in runs(REGIONS, &[dies, once], 0..2) {
        assert_eq!(outcome.job_end, Some(JobEnd::Failed), "seed {}", outcome.seed);
        assert_eq!((count(&outcome, is_regional), count(&outcome, is_whole)), (1, 1));
    }
}

/// Failures of a region that waits for its restart, and of those that have just been deployed. With two
/// machines of three gone, not all of them find slots at once.
#[test]
fn a_second_failure_while_a_region_restarts() {
    let faults = r#"faults=[
        {"at": "1 s", "kind": "crash_task", "target": "map[1]"},
        {"at": "1100 ms", "kind": "crash_task_manager", "target": 1},
        {"at": {"step": "R6", "subtask": "map[1]", "occurrence": 2}, "kind": "crash_task", "target": "sink[1]"},
        {"at": "1500 ms", "kind": "crash_task_manager", "target": 2},
        {"at": {"step": "R6", "subtask": "sink[2]", "occurrence": 2}, "kind": "crash_task", "target": "map[2]"}]"#;
    for outcome in runs(REGIONS, &[faults], 0..4) {
        assert_eq!(outcome.job_end, Some(JobEnd::Finished), "seed {}", outcome.seed);
        assert!(situation(&outcome, "recovery during recovery") > 0, "seed {}", outcome.seed);
        assert_eq!(count(&outcome, is_whole), 0, "seed {}", outcome.seed);
    }
}

/// One checkpoint too many has failed: nobody's task is to blame.
#[test]
fn too_many_failed_checkpoints_restart_all_regions() {
    let changes = [
        r#"faults=[{"at": "1 s", "kind": "pause_task", "target": "sink[3]", "for": "1 s"}]"#,
        "checkpointing.timeout=300 ms",
    ];
    for outcome in runs(REGIONS, &changes, 0..3) {
        assert_eq!(outcome.job_end, Some(JobEnd::Finished), "seed {}", outcome.seed);
        assert_eq!(count(&outcome, is_regional), 0, "seed {}", outcome.seed);
        assert!(count(&outcome, is_whole) > 0, "seed {}", outcome.seed);
        assert!(attempts(&outcome).into_iter().all(|attempts| attempts > 1));
    }
}

/// Before its savepoint is complete a stop fails, and one region is restarted; behind it tasks of any
/// region may have ended, and all are.
#[test]
fn a_stop_fails_with_one_region_or_with_all() {
    let stop = r#"actions=[{"at": "1500 ms", "kind": "stop_with_savepoint"}]"#;
    let crash = |step| {
        format!(
            r#"faults=[{{"at": {{"step": "{step}", "subtask": "sink[0]", "checkpoint": 2}},
                "kind": "crash_task", "target": "sink[0]"}}]"#
        )
    };
    let (delay, interval) = ("checkpointing.initial_delay=900 ms", "checkpointing.interval=1 s");
    let mut seen = BTreeSet::new();
    for step in ["B2", "N1"] {
        for outcome in runs(REGIONS, &[stop, delay, interval, &crash(step)], 0..3) {
            let done = observations(&outcome).find_map(|it| match *it {
                Observation::ActionEnded { done, .. } => Some(done),
                _ => None,
            });
            let regional = count(&outcome, is_regional) > 0;
            let whole = count(&outcome, is_whole) > 0;
            assert_eq!(done, Some(false), "{step}, seed {}", outcome.seed);
            assert_eq!(outcome.job_end, Some(JobEnd::Finished), "{step}, seed {}", outcome.seed);
            seen.insert((step, regional, whole));
        }
    }
    assert_eq!(seen, BTreeSet::from([("B2", true, false), ("N1", false, true)]));
}

/// The enumerator goes on with what it has given to others: every split is read, none twice but by
/// the failed reader.
#[test]
fn splits_of_other_readers_stay_where_they_are() {
    for outcome in runs(REGIONS, &[ONE_FAILURE], 0..4) {
        let mut readers: Vec<BTreeSet<SubtaskId>> = vec![BTreeSet::new(); 48];
        for observation in observations(&outcome) {
            if let Observation::SourceEmitted { subtask, split, .. } = *observation {
                readers[split.index_in_source() as usize].insert(subtask);
            }
        }
        for (split, readers) in readers.iter().enumerate() {
            let others = readers.iter().filter(|it| **it != SubtaskId(1)).count();
            assert!(!readers.is_empty() && others <= 1, "split {split}: {readers:?}");
        }
    }
}

/// Two readers with union list state have come to their end and wait for their last checkpoint. One
/// hears that it is complete, and finishes; the other fails. It goes back to its end, and would wait for
/// ever: no checkpoint is taken of an operator with union list state that has finished in part.
#[test]
fn an_end_that_regions_share_is_reached_together() {
    let job = r#"job={
        "operators": [
            {"name": "read", "kind": "source", "parallelism": 2, "splits": 2, "records": 100,
                "every": "5 ms", "list_mode": "union"},
            {"name": "sink", "kind": "two_phase_commit_sink", "parallelism": 2}],
        "edges": [{"from": "read", "to": "sink", "partitioner": "forward"}]}"#;
    let delay = "checkpointing.initial_delay=100 ms";
    let faults = r#"faults=[{"at": {"step": "N1", "subtask": "sink[1]", "checkpoint": 3},
        "kind": "crash_task", "target": "sink[1]"}]"#;
    for outcome in runs(REGIONS, &[job, delay, faults], 0..3) {
        assert_eq!(outcome.job_end, Some(JobEnd::Finished), "seed {}", outcome.seed);
        assert_eq!((count(&outcome, is_regional), count(&outcome, is_whole)), (1, 1));
    }
}

/// The failure too many within the interval ends the job; those before it are forgotten.
#[test]
fn failures_that_come_too_fast_end_the_job() {
    for outcome in runs("failures-too-fast.json", &[], 0..8) {
        let name = format!("seed {}", outcome.seed);
        let ends: Vec<_> = observations(&outcome)
            .filter_map(|it| match *it {
                Observation::JobEnded { end } => Some(end),
                _ => None,
            })
            .collect();
        assert_eq!(ends, [JobEnd::Failed, JobEnd::Finished], "{name}");
        assert_eq!(situation(&outcome, "restart strategy gave up"), 1, "{name}");
        assert_eq!(outcome.statistics.records.committed, 40_000, "{name}");
    }
    // One failure more is borne within the interval.
    for outcome in runs("failures-too-fast.json", &["restart.max_failures=3"], 0..8) {
        assert_eq!(outcome.job_end, Some(JobEnd::Finished), "seed {}", outcome.seed);
        assert_eq!(situation(&outcome, "restart strategy gave up"), 0);
    }
}

#[test]
fn a_second_failure_during_recovery_restores_the_same_checkpoint() {
    for outcome in runs("failure-during-recovery.json", &[], 0..8) {
        let name = format!("seed {}", outcome.seed);
        assert!(outcome.inert_faults().is_empty(), "{name}");
        assert!(situation(&outcome, "recovery during recovery") > 0, "{name}");
        let chosen: Vec<_> = observations(&outcome)
            .filter_map(|it| match *it {
                Observation::RestoreChosen { checkpoint } => checkpoint,
                _ => None,
            })
            .collect();
        assert_eq!(chosen.len(), 3, "{name}");
        assert!(chosen.iter().all(|it| it.0 == 3), "{name}: {chosen:?}");
        assert_eq!(outcome.statistics.records.committed, 10_000, "{name}");
    }
}
