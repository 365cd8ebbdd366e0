//! One of several job managers leads, and loses its leadership: by dying, by standing still, by not
//! reaching the store that knows who leads. The checks of every run judge that nothing is lost,
//! repeated, deleted too early or left behind.

use cutline::time::VirtualTime;
use cutline_sim::observe::{JobEnd, Observation};
use cutline_sim::run::Outcome;

use crate::support::{count, first, observations, runs, situation, visible};

const SCENARIO: &str = "zombie-leader.json";

/// The runs of the scenario with these faults in the place of its own; the job finishes.
fn with_faults(faults: &str, changes: &[&str], seeds: u64) -> Vec<Outcome> {
    let faults = format!("faults={faults}");
    let mut all = vec![faults.as_str()];
    all.extend(changes);
    let outcomes: Vec<Outcome> = runs(SCENARIO, &all, 0..seeds).collect();
    for outcome in &outcomes {
        assert_eq!(outcome.job_end, Some(JobEnd::Finished), "{faults}, seed {}", outcome.seed);
        assert_eq!(visible(outcome), 8_000, "{faults}, seed {}", outcome.seed);
    }
    outcomes
}

fn sessions(outcome: &Outcome) -> usize {
    count(outcome, |it| matches!(it, Observation::LeaderElected { .. }))
}

fn fenced(outcome: &Outcome) -> usize {
    count(outcome, |it| matches!(it, Observation::FencedOff { .. }))
}

#[test]
fn a_zombie_is_fenced_off_and_cleans_up_behind_itself() {
    for outcome in runs(SCENARIO, &[], 0..8) {
        assert_eq!(outcome.job_end, Some(JobEnd::Finished), "seed {}", outcome.seed);
        assert_eq!(visible(&outcome), 8_000, "seed {}", outcome.seed);
        assert_eq!(sessions(&outcome), 3, "seed {}", outcome.seed);
        assert_eq!(situation(&outcome, "leadership lost without a crash"), 2);
        assert!(fenced(&outcome) > 0, "seed {}", outcome.seed);
        let lost = count(&outcome, |it| matches!(it, Observation::ProcessLost { .. }));
        assert_eq!(lost, 0, "nobody dies, seed {}", outcome.seed);
    }
}

#[test]
fn a_standby_takes_over_from_a_leader_that_dies() {
    for step in ["T5", "A1", "A2", "F2", "F3", "F4", "F5"] {
        let faults = format!(
            r#"[{{"at": {{"step": "{step}", "checkpoint": 3}}, "kind": "crash_job_manager"}}]"#
        );
        for outcome in with_faults(&faults, &[], 2) {
            assert_eq!(sessions(&outcome), 2, "{step}, seed {}", outcome.seed);
        }
    }
}

/// The table of `job_manager/leadership.rs`, row by row: whatever is under way when nothing reaches
/// the store any more, or when the process stands still.
#[test]
fn leadership_may_be_lost_at_any_step() {
    for step in ["T1", "T2", "T3", "T5", "A1", "A2", "F2", "F3", "F4", "F5", "N1", "X1", "R2", "R4"]
    {
        for what in [r#""cut_ha", "for": "5 s""#, r#""pause_job_manager", "for": "4 s""#] {
            let extra = match step {
                // Something must fail first.
                "X1" | "R2" | "R4" => {
                    r#"{"at": {"step": "B2", "checkpoint": 3, "subtask": "count[0]"}, "kind": "crash_task", "target": "count[0]"},"#
                }
                _ => "",
            };
            let occurrence = match step {
                "X1" => 1,
                "R2" => 2,
                "R4" => 8,
                _ => 3,
            };
            let faults = format!(
                r#"[{extra} {{"at": {{"step": "{step}", "occurrence": {occurrence}}}, "kind": {what}}}]"#
            );
            for outcome in with_faults(&faults, &[], 2) {
                assert_eq!(sessions(&outcome), 2, "{step}, {what}, seed {}", outcome.seed);
                assert_eq!(situation(&outcome, "leadership lost without a crash"), 1);
            }
        }
    }
}

/// The answer is lost, and asked for again; meanwhile another one leads. The decision was made.
#[test]
fn a_pointer_of_which_nobody_knows_is_looked_for() {
    let faults = r#"[
        {"at": {"step": "F2", "checkpoint": 3}, "kind": "disturb_storage", "operation": "write_pointer", "how": "ambiguous", "count": 1},
        {"at": {"step": "F3", "checkpoint": 3}, "kind": "pause_job_manager", "for": "4 s"}]"#;
    for outcome in with_faults(faults, &[], 4) {
        assert_eq!(situation(&outcome, "storage request done and reported as failed"), 1);
        let chosen: Vec<_> = observations(&outcome)
            .filter_map(|it| match it {
                Observation::RestoreChosen { checkpoint } => checkpoint.map(|id| id.0),
                _ => None,
            })
            .collect();
        assert_eq!(chosen, [3], "seed {}", outcome.seed);
    }
}

/// One that was never written is known to be none in the end.
#[test]
fn a_pointer_that_was_never_written_is_none() {
    let faults = r#"[
        {"at": {"step": "F2", "checkpoint": 3}, "kind": "disturb_storage", "operation": "write_pointer", "how": "hanging", "count": 1},
        {"at": {"step": "F3", "checkpoint": 3}, "kind": "pause_job_manager", "for": "4 s"}]"#;
    let impatient = ["storage.attempts=1", "storage.timeout=100 ms"];
    for outcome in with_faults(faults, &impatient, 4) {
        assert_eq!(situation(&outcome, "storage request without an answer"), 1);
        assert_eq!(sessions(&outcome), 2, "seed {}", outcome.seed);
    }
}

/// A task manager that does not learn of the new leader stays with the old one, which steps down.
#[test]
fn a_task_manager_that_does_not_hear_of_the_election_comes_later() {
    let faults = r#"[
        {"at": "1 s", "kind": "cut_ha", "target": "task_manager[0]", "for": "6 s"},
        {"at": "1100 ms", "kind": "cut_ha", "for": "5 s"}]"#;
    for outcome in with_faults(faults, &[], 4) {
        assert_eq!(sessions(&outcome), 2, "seed {}", outcome.seed);
    }
}

/// Nobody can reach the store: nobody leads, and the job goes on when they can.
#[test]
fn without_the_store_nobody_leads() {
    let faults = r#"[
        {"at": "1 s", "kind": "cut_ha", "target": "job_manager", "for": "8 s"},
        {"at": "1 s", "kind": "cut_ha", "target": "job_manager[1]", "for": "8 s"}]"#;
    for outcome in with_faults(faults, &[], 4) {
        assert_eq!(situation(&outcome, "leadership lost without a crash"), 1);
    }
}

/// The result of the job is stored before anything is cleaned up: whoever leads then finds it.
#[test]
fn a_finished_job_is_not_run_again() {
    let calm = with_faults("[]", &[], 1);
    let ended = |outcome: &Outcome| {
        first(outcome, |it| matches!(it, Observation::JobEnded { .. })).expect("it ends")
    };
    let end = ended(&calm[0]).as_nanos() / 1_000;
    let mut taken_over = 0;
    for offset in
        [-4_000, -2_000, -1_000, -500, 0, 200, 500, 1_000, 2_000, 4_000, 8_000, 16_000_i64]
    {
        let at = (end as i64 + offset).max(0);
        for kind in [r#""crash_job_manager""#, r#""pause_job_manager", "for": "4 s""#] {
            let faults = format!(r#"[{{"at": "{at} µs", "kind": {kind}}}]"#);
            let outcome = with_faults(&faults, &[], 1).remove(0);
            let trace = outcome.trace.as_ref().expect("support keeps it");
            let end = trace.iter().position(|(_, it)| matches!(it, Observation::JobEnded { .. }));
            let after = &trace[end.expect("it ends")..];
            let again = |it: &&(VirtualTime, Observation)| {
                matches!(it.1, Observation::RestoreChosen { .. } | Observation::JobEnded { .. })
            };
            assert_eq!(after.iter().filter(again).count(), 1, "{kind} at {at} µs");
            let elected =
                after.iter().any(|(_, it)| matches!(it, Observation::LeaderElected { .. }));
            taken_over += u32::from(elected);
        }
    }
    assert!(taken_over > 0, "no leader found the result of another");
}

/// What a user asked of a leader that is gone has failed; what nobody has taken up yet is taken up.
#[test]
fn what_users_ask_for_is_answered_by_somebody() {
    for (step, at) in
        [("F2", "savepoint"), ("T5", "stop_with_savepoint"), ("F3", "stop_with_savepoint")]
    {
        let action = format!(r#"actions=[{{"at": "1400 ms", "kind": "{at}"}}]"#);
        let anchor = format!(r#"{{"step": "{step}", "checkpoint": 3}}"#);
        let fault = format!(r#"faults=[{{"at": {anchor}, "kind": "cut_ha", "for": "5 s"}}]"#);
        for outcome in runs(SCENARIO, &[&fault, &action], 0..4) {
            let answers = count(&outcome, |it| matches!(it, Observation::ActionEnded { .. }));
            assert_eq!(answers, 1, "{at} at {step}, seed {}", outcome.seed);
            assert!(outcome.job_end.is_some(), "{at} at {step}, seed {}", outcome.seed);
        }
    }
}
