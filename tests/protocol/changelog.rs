//! Changelog snapshots: what they save at a checkpoint and cost at a restore, whose their files are,
//! and what becomes of them when the changelog is switched on or off.

use cutline::time::VirtualDuration;
use cutline_sim::observe::Observation;
use cutline_sim::run::Outcome;
use cutline_sim::scenario::load;

use crate::support::{count, finished, observations, situation};

const SCENARIO: &str = "changelog.json";
const SEEDS: u64 = 4;
const CALM: &str = "faults=[]";
const RETAIN: &str = "checkpointing.retention=retain_on_cancellation";
const RESTORED: &str = "materialised state and changes restored";

/// The longest time from a trigger to the completion.
fn slowest(outcome: &Outcome) -> VirtualDuration {
    let (mut triggered, mut longest) = (None, VirtualDuration::ZERO);
    for (at, observation) in outcome.trace.iter().flatten() {
        match observation {
            Observation::Triggered { .. } => triggered = Some(*at),
            Observation::Completed { .. } => {
                let since = triggered.expect("it was triggered");
                longest = longest.max(at.since(since));
            }
            _ => {}
        }
    }
    longest
}

/// From the choice of the first checkpoint to be restored until the last task ran.
fn restore(outcome: &Outcome) -> VirtualDuration {
    let (mut began, mut last) = (None, VirtualDuration::ZERO);
    for (at, observation) in outcome.trace.iter().flatten() {
        match observation {
            Observation::RestoreChosen { .. } if began.is_some() && !last.is_zero() => break,
            Observation::RestoreChosen { checkpoint: Some(_) } => began = Some(*at),
            Observation::TaskRestored { .. } => {
                last = began.map_or(last, |began| at.since(began));
            }
            _ => {}
        }
    }
    last
}

#[test]
fn checkpoints_are_quick_and_restores_slow() {
    let full = "changelog.enabled=false";
    let (mut slow, mut quick) = (VirtualDuration::ZERO, VirtualDuration::ZERO);
    for (logged, full) in
        finished(SCENARIO, &[], 0..SEEDS).zip(finished(SCENARIO, &[full], 0..SEEDS))
    {
        assert!(situation(&logged, "state materialised") > 2);
        assert!(situation(&logged, RESTORED) > 0);
        assert_eq!(situation(&full, RESTORED), 0);
        (slow, quick) = (slow + restore(&logged), quick + restore(&full));
    }
    assert!(slow > quick, "{slow} {quick}");
    let calm = |changes: &[&str]| {
        let changes = [&[CALM], changes].concat();
        finished(SCENARIO, &changes, 0..SEEDS).map(|outcome| slowest(&outcome)).max()
    };
    let [logged, full] = [calm(&[]), calm(&[full])].map(|it| it.expect("some seeds"));
    assert!(logged.as_nanos() * 3 < full.as_nanos(), "{logged} {full}");
}

/// The no-leak check of each run says that nothing is left; here, that there was something.
#[test]
fn what_nobody_needs_is_deleted() {
    for incremental in ["true", "false"] {
        let incremental = format!("checkpointing.incremental={incremental}");
        // No process dies with what it knows.
        let fault = r#"faults=[{"at": "4 s", "kind": "crash_task", "target": "count[0]"}]"#;
        for outcome in finished(SCENARIO, &[&incremental, fault], 0..SEEDS) {
            let written = count(&outcome, |it| matches!(it, Observation::FileWritten { .. }));
            let deleted = count(&outcome, |it| matches!(it, Observation::FileDeleted { .. }));
            assert!(written > 30, "{written}");
            assert!(deleted >= written, "{deleted} of {written}");
        }
    }
}

/// Both ways, from both kinds of snapshots, with the same parallelism and with another.
#[test]
fn the_changelog_is_switched_between_two_jobs() {
    for from in ["savepoint", "checkpoint"] {
        for parallelism in ["", r#", "parallelism": {"source": 1, "count": 1, "sink": 1}"#] {
            for (before, after) in [(true, true), (true, false), (false, true)] {
                let actions = format!(
                    r#"actions=[
                        {{"at": "3500 ms", "kind": "savepoint"}},
                        {{"at": "5 s", "kind": "cancel"}},
                        {{"at": "6 s", "kind": "resume", "from": "{from}", "claim_mode": "claim",
                          "changelog": {after}{parallelism}}}]"#
                );
                let enabled = format!("changelog.enabled={before}");
                let changes = [RETAIN, CALM, &actions, &enabled];
                for outcome in finished(SCENARIO, &changes, 0..2) {
                    let resumed = observations(&outcome)
                        .skip_while(|it| !matches!(it, Observation::Adopted { .. }));
                    let replays = |it: &&Observation| {
                        matches!(it, Observation::ChangesReplayed { changes: 1.., .. })
                    };
                    let replayed = resumed.filter(replays).count();
                    let expected = before && from == "checkpoint";
                    assert_eq!(replayed > 0, expected, "{from} {before} {after} {parallelism}");
                }
            }
        }
    }
}

#[test]
fn local_copies_hold_the_log_too() {
    let local = "checkpointing.local_recovery=true";
    for outcome in finished(SCENARIO, &[local, "cluster.slots=1"], 0..SEEDS) {
        assert!(situation(&outcome, "restore from a local copy") > 0);
        assert!(situation(&outcome, RESTORED) > 0);
    }
}

#[test]
fn failed_materialisations_are_borne_or_not() {
    let faults = r#"faults=[
        {"at": "1 s", "kind": "fail_storage", "operation": "write_state", "count": 12}]"#;
    for (allowed, fails) in [("0", true), ("1000", false)] {
        let allowed = format!("changelog.max_failures_allowed={allowed}");
        let often = "changelog.materialize_interval=100 ms";
        let tolerant = "checkpointing.tolerable_failures=1000";
        let once = "changelog.upload_attempts=1";
        let changes = [faults, often, tolerant, once, &allowed];
        let (mut failed, mut restarts) = (0, 0);
        for outcome in finished(SCENARIO, &changes, 0..SEEDS) {
            failed += situation(&outcome, "materialisation failed");
            restarts += outcome.statistics.restores;
        }
        assert!(failed > 0);
        assert_eq!(restarts > 0, fails);
    }
}

/// Changes that are uploaded as they come are not left to the checkpoint.
#[test]
fn what_was_persisted_ahead_is_not_waited_for() {
    let slow = |threshold: &str| {
        let threshold = format!("changelog.preemptive_persist_threshold={threshold}");
        let changes =
            [CALM, "storage.bandwidth=200 mb/s", "changelog.materialize=false", &threshold];
        finished(SCENARIO, &changes, 0..2).map(|outcome| slowest(&outcome)).max()
    };
    let (ahead, left) = (slow("5 mb"), slow("100 gb"));
    assert!(ahead < left, "{ahead:?} {left:?}");
}

#[test]
fn what_cannot_be_is_refused() {
    let text = include_str!("../../scenarios/changelog.json");
    let refused = |changes: &[&str], expected: &str| {
        let parse =
            |text: &&str| cutline_sim::scenario::Override::parse(text).expect("an override");
        let changes: Vec<_> = changes.iter().map(parse).collect();
        let found = load(text.as_bytes(), SCENARIO, &changes).expect_err(expected).to_string();
        assert!(found.contains(expected), "{found}");
    };
    refused(&["checkpointing.max_concurrent=2"], "not modelled");
    let resume = r#"actions=[{"at": "5 s", "kind": "cancel"}, {"at": "6 s", "kind": "resume"}]"#;
    refused(&[resume], "owns the snapshot");
    let full = r#"checkpointing.manual=[{"at": "1 s", "kind": "full_checkpoint"}]"#;
    refused(&[full], "never full");
}

/// What is said of seed 0: a task fails when its state was materialised and no checkpoint has it yet.
#[test]
fn a_task_fails_between_materialisation_and_checkpoint() {
    let outcome = finished(SCENARIO, &[], 0..1).next().expect("one seed");
    let before_the_fault = observations(&outcome)
        .take_while(|it| !matches!(it, Observation::FaultInjected { .. }))
        .filter(|it| {
            matches!(it, Observation::Materialized { .. } | Observation::Completed { .. })
        });
    assert!(matches!(before_the_fault.last(), Some(Observation::Materialized { .. })));
}
