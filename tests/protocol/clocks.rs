//! Clocks of hosts that are wrong: who waits by one waits for too long or not long enough, and who
//! compares it with another's is misled. The checks of every run judge that nothing else happens: nothing
//! is lost, repeated, deleted too early or left behind, and the job ends.

use cutline::message::FailureReason;
use cutline::time::VirtualTime;
use cutline_sim::observe::{CutKind, JobEnd, Observation};
use cutline_sim::run::Outcome;

use crate::support::{count, finished, first, runs, situation, visible};

const SCENARIO: &str = "wrong-clocks.json";
const LEADERS: &str = "zombie-leader.json";

fn elections(outcome: &Outcome) -> usize {
    count(outcome, |it| matches!(it, Observation::LeaderElected { .. }))
}

fn failovers(outcome: &Outcome) -> usize {
    count(outcome, |it| matches!(it, Observation::ExecutionEnded))
}

fn unaligned(outcome: &Outcome) -> usize {
    count(outcome, |it| matches!(it, Observation::Cut { how: CutKind::Unaligned, .. }))
}

#[test]
fn the_scenario_shows_what_it_says() {
    for outcome in finished(SCENARIO, &[], 0..4) {
        let seed = outcome.seed;
        assert_eq!(visible(&outcome), 12_000, "seed {seed}");
        assert_eq!(outcome.faults_injected.len(), 3, "seed {seed}");
        assert!(situation(&outcome, "switch to unaligned") > 0, "seed {seed}");
        assert!(situation(&outcome, "checkpoint expired") > 0, "seed {seed}");
        assert_eq!(situation(&outcome, "leadership lost without a crash"), 1, "seed {seed}");
        assert_eq!(situation(&outcome, "wall clock set wrong"), 2, "seed {seed}");
        let lost = count(&outcome, |it| matches!(it, Observation::ProcessLost { .. }));
        assert_eq!(lost, 0, "nobody dies, seed {seed}");
    }
    for outcome in finished(SCENARIO, &["faults=[]"], 0..4) {
        for what in ["switch to unaligned", "checkpoint expired", "leader changed"] {
            assert_eq!(situation(&outcome, what), 0, "{what}, seed {}", outcome.seed);
        }
    }
}

/// Flink: `BarrierAlignmentUtil#getTimerDelay` subtracts the coordinator's wall clock from the task's.
#[test]
fn how_long_barriers_are_aligned_depends_on_two_wall_clocks() {
    const JOB: &str = "backpressure-aligned-timeout.json";
    let step = |hosts: &[&str]| {
        let fault = |host: &&str| {
            format!(
                r#"{{"at": "0 s", "kind": "step_clock", "target": "{host}", "by": "1 h", "for": "3 min"}}"#
            )
        };
        let faults: Vec<String> = hosts.iter().map(fault).collect();
        format!("faults=[{}]", faults.join(","))
    };
    let tasks = ["task_manager[0]", "task_manager[1]"];
    // A timeout that no alignment comes to; one that all do.
    for (timeout, ahead, some) in [
        ("50 s", &[][..], false),
        ("50 s", &tasks, true),
        ("50 s", &["job_manager", tasks[0], tasks[1]], false),
        ("20 ms", &[], true),
        ("20 ms", &["job_manager"], false),
    ] {
        let changes = [step(ahead), format!("checkpointing.aligned_timeout={timeout}")];
        let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
        for outcome in finished(JOB, &changes, 0..1) {
            assert_eq!(unaligned(&outcome) > 0, some, "{timeout}, {ahead:?} ahead");
        }
    }
}

#[test]
fn a_checkpoint_expires_by_the_clock_of_the_job_manager() {
    // The checkpoints of this job take 0.8 s.
    for (rate, timeout, expires) in
        [("4", "3 s", true), ("4", "4 s", false), ("0.5", "500 ms", false)]
    {
        let changes = [
            format!(
                r#"faults=[{{"at": "0 s", "kind": "drift_clock", "target": "job_manager", "rate": "{rate}", "for": "1 min"}}]"#
            ),
            format!("checkpointing.timeout={timeout}"),
            "checkpointing.tolerable_failures=1000".to_owned(),
            "cluster.job_managers=1".to_owned(),
        ];
        let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
        for outcome in finished(SCENARIO, &changes, 0..2) {
            let expired = count(&outcome, |it| {
                matches!(it, Observation::Failed { reason: FailureReason::CheckpointExpired, .. })
            });
            assert_eq!(expired > 0, expires, "{rate}, {timeout}, seed {}", outcome.seed);
        }
    }
}

/// Flink: `HeartbeatMonitorImpl` waits by a `ScheduledExecutor`.
#[test]
fn a_task_manager_whose_clock_is_fast_misses_heartbeats_that_come() {
    for (rate, lost) in [("1.5", false), ("10", true)] {
        let fault = format!(
            r#"faults=[{{"at": "2 s", "kind": "drift_clock", "target": "task_manager[0]", "rate": "{rate}", "for": "3 s"}}]"#
        );
        let changes = [
            &*fault,
            "cluster.heartbeat_interval=500 ms",
            "cluster.job_managers=1",
            "restart.attempts=1000",
        ];
        for outcome in finished(SCENARIO, &changes, 0..2) {
            assert_eq!(failovers(&outcome) > 0, lost, "{rate}, seed {}", outcome.seed);
            assert_eq!(visible(&outcome), 12_000, "{rate}, seed {}", outcome.seed);
        }
    }
}

/// A timer that was set before the pace changed goes by the new one.
#[test]
fn a_restart_is_delayed_by_the_clock_of_the_job_manager() {
    let crash = r#"{"at": "2 s", "kind": "crash_task", "target": "count[0]"}"#;
    for (from, takes) in [("1 s", 5_000), ("2500 ms", 500 + 5_000)] {
        let changes = [
            format!(
                r#"faults=[{crash}, {{"at": "{from}", "kind": "drift_clock", "rate": "0.2", "for": "20 s"}}]"#
            ),
            r#"restart={"type": "fixed_delay", "attempts": 9, "delay": "1 s"}"#.to_owned(),
            "cluster.job_managers=1".to_owned(),
        ];
        let mut changes: Vec<&str> = changes.iter().map(String::as_str).collect();
        if from != "1 s" {
            changes[1] = r#"restart={"type": "fixed_delay", "attempts": 9, "delay": "1500 ms"}"#;
        }
        for outcome in finished(SCENARIO, &changes, 0..2) {
            let ended = first(&outcome, |it| matches!(it, Observation::ExecutionEnded));
            let chosen = restore_after(&outcome, ended.expect("a task was crashed"));
            let span = chosen.since(ended.expect("as above"));
            // Tasks must be cancelled, too, which takes a while.
            let close = (takes - 1..takes + 300).contains(&span.as_millis());
            assert!(close, "{span} and not {takes} ms, seed {}", outcome.seed);
        }
    }
}

/// When the next restore is chosen after an instant.
fn restore_after(outcome: &Outcome, since: VirtualTime) -> VirtualTime {
    let trace = outcome.trace.as_ref().expect("support keeps it");
    let chosen = |(at, it): &&(VirtualTime, _)| {
        *at > since && matches!(it, Observation::RestoreChosen { .. })
    };
    trace.iter().find(chosen).expect("it is restored").0
}

/// Flink: `FailureRateRestartBackoffTimeStrategy` asks `Clock#absoluteTimeMillis`.
#[test]
fn failures_are_counted_by_the_wall_clock() {
    let crashes = ["1 s", "3 s"]
        .map(|at| format!(r#"{{"at": "{at}", "kind": "crash_task", "target": "count[0]"}}"#));
    let step = r#", {"at": "2 s", "kind": "step_clock", "by": "2 min", "for": "10 s"}"#;
    for (wrong, end) in [("", JobEnd::Failed), (step, JobEnd::Finished)] {
        let faults = format!("faults=[{}, {}{wrong}]", crashes[0], crashes[1]);
        let changes = [
            &*faults,
            r#"restart={"type": "failure_rate", "max_failures": 1, "interval": "1 min", "delay": "10 ms"}"#,
            "cluster.job_managers=1",
        ];
        for outcome in runs(SCENARIO, &changes, 0..1) {
            assert_eq!(outcome.job_end, Some(end), "{wrong}");
        }
    }
}

/// Flink: `ExponentialDelayRestartBackoffTimeStrategy` keeps the instant of the next restart, by the same
/// clock: a failure before it waits for that one.
#[test]
fn an_exponential_delay_is_planned_by_the_wall_clock() {
    let crashes = ["1 s", "4 s"]
        .map(|at| format!(r#"{{"at": "{at}", "kind": "crash_task", "target": "count[0]"}}"#));
    let step = r#", {"at": "3 s", "kind": "step_clock", "direction": "back", "by": "2500 ms", "for": "10 s"}"#;
    // The first restart is planned for 2 s. By the clock that was set back it is 1.5 s then.
    for (wrong, delay) in [("", 2_000), (step, 500)] {
        let faults = format!("faults=[{}, {}{wrong}]", crashes[0], crashes[1]);
        let changes = [
            &*faults,
            r#"restart={"type": "exponential_delay", "initial": "1 s", "max": "1 min", "multiplier": "2", "jitter": "0"}"#,
            "cluster.job_managers=1",
        ];
        for outcome in finished(SCENARIO, &changes, 0..2) {
            let second = VirtualTime::from_millis(4_000);
            let span = restore_after(&outcome, second).since(second);
            let close = (delay - 20..delay + 300).contains(&span.as_millis());
            assert!(close, "{wrong}: {span} and not {delay} ms, seed {}", outcome.seed);
        }
    }
}

/// Kubernetes: a candidate compares when the leader says to have renewed the lease with its own clock, and
/// the leader gives it up when by its clock it has not renewed it for too long, before it tries to do so
/// once more (`LeaderElector#renewWithTimeout`). The leader renews a lease of 1 s every 200 ms.
#[test]
fn a_lease_protects_its_leader_as_far_as_wall_clocks_agree() {
    for (direction, by, elected) in [
        ("back", "500 ms", 1),
        ("back", "1500 ms", 2),
        ("forward", "3 s", 2),
        ("forward", "500 ms", 1),
    ] {
        let changes = [
            format!(
                r#"faults=[{{"at": "3 s", "kind": "step_clock", "direction": "{direction}", "by": "{by}", "for": "1 s"}}]"#
            ),
            "ha.lease_duration=1 s".to_owned(),
            "ha.renew_deadline=800 ms".to_owned(),
        ];
        let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
        for outcome in finished(LEADERS, &changes, 0..3) {
            let seed = outcome.seed;
            assert_eq!(elections(&outcome), elected, "{direction} {by}, seed {seed}");
            assert_eq!(visible(&outcome), 8_000, "{direction} {by}, seed {seed}");
        }
    }
}

/// A leader with a clock that is slow, or was set back, thinks for long that its lease runs. The store does
/// not.
#[test]
fn a_leader_with_a_slow_clock_steps_down_late_and_does_no_harm() {
    let at = r#""at": {"step": "F2", "checkpoint": 3}"#;
    let cut = format!(r#"{{{at}, "kind": "cut_ha", "for": "9 s"}}"#);
    let slow = format!(r#", {{{at}, "kind": "drift_clock", "rate": "0.2", "for": "12 s"}}"#);
    let back = format!(
        r#", {{{at}, "kind": "step_clock", "direction": "back", "by": "3 s", "for": "12 s"}}"#
    );
    for (name, wrong, late) in
        [("right", "", false), ("slow", &*slow, true), ("set back", &*back, true)]
    {
        let faults = format!("faults=[{cut}{wrong}]");
        for outcome in finished(LEADERS, &[&faults, "ha.renew_deadline=800 ms"], 0..3) {
            let seed = outcome.seed;
            let elected =
                first(&outcome, |it| matches!(it, Observation::LeaderElected { session: 2 }));
            let lost =
                first(&outcome, |it| matches!(it, Observation::LeadershipLost { session: 1 }));
            assert_eq!(lost > elected, late, "{name}, seed {seed}: {lost:?}, {elected:?}");
            assert_eq!(visible(&outcome), 8_000, "{name}, seed {seed}");
        }
    }
}

/// Only differences between clocks matter: with all wall clocks an hour ahead the run is the same, but
/// for the timestamps in its files, and so for their sizes.
#[test]
fn clocks_that_are_all_ahead_by_the_same_change_nothing() {
    let hosts = ["job_manager", "job_manager[1]", "task_manager[0]", "task_manager[1]"];
    let steps = hosts.map(|host| {
        format!(r#"{{"at": "0 s", "kind": "step_clock", "target": "{host}", "by": "1 h", "for": "9 min"}}"#)
    });
    let crash = r#"{"at": "3 s", "kind": "crash_task", "target": "count[0]"},
        {"at": {"step": "F3", "checkpoint": 8}, "kind": "pause_job_manager", "for": "4 s"}"#;
    let (right, ahead) =
        (format!("faults=[{crash}]"), format!("faults=[{crash}, {}]", steps.join(",")));
    let exponential = r#"restart={"type": "exponential_delay"}"#;
    // Else a byte more in a file makes it come later.
    let broad = "storage.bandwidth=unlimited";
    for scenario in [SCENARIO, LEADERS] {
        let of = |faults: &str| -> Vec<Vec<(VirtualTime, Observation)>> {
            let outcomes = finished(scenario, &[faults, exponential, broad], 0..2);
            outcomes.map(history).collect()
        };
        assert!(of(&right) == of(&ahead), "{scenario}");
    }
}

/// All but what is said of faults, and of the sizes of files.
fn history(outcome: Outcome) -> Vec<(VirtualTime, Observation)> {
    let trace = outcome.trace.expect("support keeps it");
    let events = trace.into_iter().filter_map(|(at, observation)| match observation {
        Observation::FaultInjected { .. }
        | Observation::FaultHealed { .. }
        | Observation::WrongTimeRead { .. } => None,
        Observation::FileWritten { file, process, orphaned, .. } => {
            Some((at, Observation::FileWritten { file, bytes: 0, process, orphaned }))
        }
        other => Some((at, other)),
    });
    events.collect()
}

#[test]
fn a_clock_that_nobody_reads_is_an_inert_fault() {
    let step = r#"faults=[{"at": "1 s", "kind": "step_clock", "target": "task_manager[0]", "by": "1 s", "for": "100 ms"},
        {"at": "1 s", "kind": "step_clock", "target": "task_manager[1]", "by": "1 s", "for": "8 s"},
        {"at": "1 s", "kind": "drift_clock", "target": "task_manager[0]", "rate": "5", "for": "1 ns"}]"#;
    // Barriers come later.
    let later = "checkpointing.initial_delay=2 s";
    for outcome in finished(LEADERS, &[step, later], 0..2) {
        assert_eq!(outcome.faults_injected, [1], "seed {}", outcome.seed);
    }
}

/// Whatever else the scenarios of the repository try.
#[test]
fn jobs_bear_clocks_that_are_wrong_at_any_time() {
    let jobs = [
        "lost-messages.json",
        "storage-unreliable.json",
        "writer-committer.json",
        "transaction-timeout.json",
        "regional-restart.json",
        "windows.json",
        "async-io.json",
    ];
    for job in jobs {
        let faults = r#"faults=[
            {"at": {"step": "T3", "checkpoint": 2}, "kind": "drift_clock", "rate": "3", "for": "2 s"},
            {"at": {"step": "B1", "checkpoint": 2}, "kind": "drift_clock", "target": "task_manager[0]", "rate": "0.3", "for": "2 s"},
            {"at": "1 s", "kind": "step_clock", "direction": "back", "by": "10 s", "for": "3 s"},
            {"at": {"step": "B2", "checkpoint": 3}, "kind": "step_clock", "target": "task_manager[0]", "by": "10 s", "for": "5 s"},
            {"at": {"step": "F2", "checkpoint": 4}, "kind": "crash_job_manager"},
            {"at": {"step": "R4"}, "kind": "drift_clock", "target": "task_manager[0]", "rate": "5", "for": "500 ms"}]"#;
        for outcome in runs(job, &[faults], 0..2) {
            let wrong = count(&outcome, |it| matches!(it, Observation::WrongTimeRead { .. }));
            assert!(wrong >= 2, "{job}, seed {}: {wrong}", outcome.seed);
        }
    }
}
