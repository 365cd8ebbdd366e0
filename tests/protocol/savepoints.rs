//! Savepoints, stops, cancellation and resuming, as the outside sees them. The checks of every run
//! judge that all snapshots can be restored and that output is exactly-once; here it is asserted
//! that what the scenarios are about does happen.

use cutline::ids::CheckpointId;
use cutline_sim::observe::{JobEnd, Observation};
use cutline_sim::run::Outcome;

use crate::support::{self, committed, observations, situation};

const SEEDS: u64 = 24;
/// Records of the sources of these scenarios, all of which reach the sink.
const RECORDS: u64 = 5_000;

/// The runs of a scenario of the repository, changed so; all checks hold.
fn runs(name: &str, changes: &[&str]) -> impl Iterator<Item = Outcome> + use<> {
    support::runs(name, changes, 0..SEEDS)
}

fn emitted<'o>(observations: impl Iterator<Item = &'o Observation>) -> u64 {
    observations.filter(|it| matches!(it, Observation::SourceEmitted { .. })).count() as u64
}

/// Whether each action was done, in the order of the answers.
fn answers(outcome: &Outcome) -> Vec<(u32, bool)> {
    let answers = observations(outcome).filter_map(|observation| match *observation {
        Observation::ActionEnded { action, done, .. } => Some((action, done)),
        _ => None,
    });
    answers.collect()
}

fn ends(outcome: &Outcome) -> Vec<JobEnd> {
    let ends = observations(outcome).filter_map(|observation| match *observation {
        Observation::JobEnded { end } => Some(end),
        _ => None,
    });
    ends.collect()
}

fn adopted(outcome: &Outcome) -> CheckpointId {
    let mut adopted = observations(outcome).filter_map(|observation| match *observation {
        Observation::Adopted { checkpoint, .. } => Some(checkpoint),
        _ => None,
    });
    adopted.next().expect("a new job was started")
}

/// The metadata files that are there in the end.
fn snapshots_left(outcome: &Outcome) -> Vec<&str> {
    let mut exists = vec![false; outcome.files.len()];
    for observation in observations(outcome) {
        match *observation {
            Observation::FileWritten { file, .. } => exists[file.0 as usize] = true,
            Observation::FileDeleted { file } => exists[file.0 as usize] = false,
            _ => {}
        }
    }
    let left = outcome.files.iter().zip(exists).filter(|(_, exists)| *exists);
    left.map(|(path, _)| path.as_str()).filter(|path| path.ends_with("/_metadata")).collect()
}

#[test]
fn a_stop_commits_all_output_and_the_next_job_goes_on_behind_it() {
    for outcome in runs("stop-and-resume.json", &[]) {
        assert_eq!(ends(&outcome), [JobEnd::StoppedWithSavepoint, JobEnd::Finished]);
        let stopped = |it: &&Observation| !matches!(it, Observation::JobEnded { .. });
        let before = || observations(&outcome).take_while(stopped);
        assert_eq!(committed(before()), emitted(before()), "up to the stop");
        assert_eq!(committed(observations(&outcome)), RECORDS);
        assert_eq!(emitted(observations(&outcome)), RECORDS);
    }
}

#[test]
fn a_drain_ends_the_job_with_all_that_was_read_committed() {
    let drain = r#"actions=[{"at": "2 s", "kind": "stop_with_savepoint", "drain": true}]"#;
    for outcome in runs("stop-and-resume.json", &[drain]) {
        assert_eq!(ends(&outcome), [JobEnd::StoppedWithSavepoint]);
        let all = || observations(&outcome);
        assert_eq!(committed(all()), emitted(all()));
        assert!(committed(all()) < RECORDS);
    }
}

#[test]
fn a_source_that_has_ended_is_not_read_again() {
    for outcome in runs("mixed-sources.json", &[]) {
        let seed = outcome.seed;
        let stopped = JobEnd::StoppedWithSavepoint;
        assert_eq!(ends(&outcome), [stopped, stopped], "seed {seed}");
        assert_eq!(answers(&outcome), [(0, true), (1, true), (2, true)], "seed {seed}");
        // Records of its two splits, which are those of the first operator, once each.
        let history = observations(&outcome).filter(
            |it| matches!(it, Observation::SourceEmitted { split, .. } if split.source() == 0),
        );
        assert_eq!(history.count(), 400, "seed {seed}");
        assert!(situation(&outcome, "bounded source finished beside an unbounded one") >= 2);
        assert!(situation(&outcome, "checkpoint with finished tasks") >= 4);
        assert_eq!(situation(&outcome, "stopped with a savepoint, suspended"), 2);
        assert_eq!(situation(&outcome, "resumed without claim"), 1);
    }
}

/// The next leader finds a checkpoint that it cannot read, and has no coordinator for what is asked.
#[test]
fn a_job_that_was_given_up_in_its_recovery_is_resumed() {
    for outcome in runs("savepoint-after-damage.json", &[]) {
        let seed = outcome.seed;
        assert_eq!(ends(&outcome), [JobEnd::Failed, JobEnd::Finished], "seed {seed}");
        assert_eq!(answers(&outcome), [(0, true), (1, true)], "seed {seed}");
        assert!(committed(observations(&outcome)) > RECORDS, "seed {seed}");
    }
    // What was in memory is gone, but no savepoint ever is.
    let lost = [
        "checkpointing.dir=memory://",
        r#"faults=[{"at": "2200 ms", "kind": "crash_job_manager"}]"#,
        r#"actions=[{"at": "1200 ms", "kind": "savepoint"}, {"at": "3500 ms", "kind": "cancel"},
            {"at": "4 s", "kind": "resume", "from": "savepoint"}]"#,
    ];
    for outcome in runs("savepoint-after-damage.json", &lost) {
        assert_eq!(ends(&outcome), [JobEnd::Failed, JobEnd::Finished], "seed {}", outcome.seed);
        assert_eq!(answers(&outcome), [(0, true), (1, false), (2, true)]);
    }
    // What was asked for while it read is refused when it is given up.
    let early = r#"actions=[{"at": "2300 ms", "kind": "savepoint"}, {"at": "2350 ms", "kind": "stop_with_savepoint"},
        {"at": "2400 ms", "kind": "cancel"}]"#;
    for outcome in runs("savepoint-after-damage.json", &[early]) {
        assert_eq!(ends(&outcome), [JobEnd::Failed], "seed {}", outcome.seed);
        assert_eq!(answers(&outcome), [(0, false), (1, false), (2, false)]);
    }
}

#[test]
fn a_stop_whose_savepoint_fails_leaves_the_job_to_its_end() {
    let fails = r#"faults=[{"at": {"step": "F2", "checkpoint": 5}, "kind": "fail_storage", "operation": "write_metadata"}]"#;
    let stop =
        r#"actions=[{"at": {"step": "F5", "checkpoint": 4}, "kind": "stop_with_savepoint"}]"#;
    for outcome in runs("stop-and-resume.json", &[stop, fails]) {
        assert_eq!(answers(&outcome), [(0, false)]);
        assert_eq!(ends(&outcome), [JobEnd::Finished]);
        assert_eq!(committed(observations(&outcome)), RECORDS);
    }
}

#[test]
fn a_failure_behind_the_savepoint_of_a_stop_fails_the_stop() {
    let mut behind = 0;
    for outcome in runs("stop-fails.json", &[]) {
        assert_eq!(answers(&outcome), [(0, false), (1, true)]);
        assert_eq!(ends(&outcome), [JobEnd::StoppedWithSavepoint]);
        assert_eq!(outcome.statistics.restarts, 1);
        let all = || observations(&outcome);
        let failed = all().find_map(|observation| match *observation {
            Observation::ActionEnded { checkpoint, done: false, .. } => checkpoint,
            _ => None,
        });
        // In some runs the task fails while the savepoint is pending still.
        let Some(savepoint) = failed else { continue };
        behind += 1;
        // The job goes back to the savepoint, behind which nothing had been read.
        let chosen = Observation::RestoreChosen { checkpoint: Some(savepoint) };
        assert!(all().any(|observation| *observation == chosen));
        assert_eq!(committed(all()), emitted(all()));
    }
    assert!(behind > 0);
}

#[test]
fn a_savepoint_outlives_newer_checkpoints_and_two_jobs() {
    for outcome in runs("savepoint-fork.json", &[]) {
        assert_eq!(ends(&outcome), [JobEnd::Canceled, JobEnd::Finished]);
        let left = snapshots_left(&outcome);
        assert_eq!(left.len(), 1, "{left:?}");
        assert!(left[0].contains("savepoint"), "{left:?}");
        // What the first job committed behind the savepoint is committed again.
        assert!(committed(observations(&outcome)) > RECORDS);
    }
}

#[test]
fn whoever_owns_the_snapshot_decides_whether_it_is_deleted() {
    for (mode, kept) in [("claim", false), ("no_claim", true)] {
        let mode = format!("actions[1].claim_mode={mode}");
        for outcome in runs("cancel-and-resume.json", &[&mode]) {
            assert_eq!(ends(&outcome), [JobEnd::Canceled, JobEnd::Finished]);
            let path = format!("chk-{}/_metadata", adopted(&outcome).0);
            let left = snapshots_left(&outcome);
            assert_eq!(left.iter().any(|left| left.ends_with(&path)), kept, "{mode}: {left:?}");
            assert_eq!(committed(observations(&outcome)), RECORDS);
        }
    }
}

#[test]
fn a_claimed_savepoint_is_a_checkpoint_of_the_new_job() {
    let claim = "actions[1].claim_mode=claim";
    for outcome in runs("stop-and-resume.json", &[claim]) {
        assert_eq!(ends(&outcome), [JobEnd::StoppedWithSavepoint, JobEnd::Finished]);
        assert_eq!(snapshots_left(&outcome), [""; 0]);
    }
}

#[test]
fn nothing_is_left_of_a_cancelled_job_whose_checkpoints_are_not_retained() {
    let delete = "checkpointing.retention=delete_on_cancellation";
    for outcome in runs("cancel-and-resume.json", &[delete]) {
        assert_eq!(answers(&outcome), [(0, true), (1, false)]);
        assert_eq!(ends(&outcome), [JobEnd::Canceled]);
        assert_eq!(snapshots_left(&outcome), [""; 0]);
    }
}

/// A notification of the checkpoint before is slower than the barrier of the savepoint: it does not end
/// the task, which waits for its savepoint.
#[test]
fn an_older_checkpoint_does_not_end_a_stop() {
    let changes = [
        r#"actions=[{"at": {"step": "F4", "checkpoint": 3}, "kind": "stop_with_savepoint"}]"#,
        r#"faults=[{"at": {"step": "F2", "checkpoint": 3}, "kind": "slow_link", "for": "1 s",
            "from": "job_manager", "to": "task_manager[1]", "factor": 100}]"#,
        "job.operators[source].parallelism=1",
    ];
    let mut overtaken = 0;
    for outcome in runs("stop-and-resume.json", &changes) {
        assert_eq!(ends(&outcome), [JobEnd::StoppedWithSavepoint], "seed {}", outcome.seed);
        let savepoint = observations(&outcome).find_map(|it| match *it {
            Observation::Triggered { checkpoint, kind, .. } => {
                kind.is_savepoint().then_some(checkpoint)
            }
            _ => None,
        });
        let savepoint = savepoint.expect("it was triggered");
        let mut stopping = Vec::new();
        for observation in observations(&outcome) {
            match *observation {
                Observation::Cut { subtask, checkpoint, .. } if checkpoint == savepoint => {
                    stopping.push(subtask);
                }
                Observation::NotifiedComplete { subtask, checkpoint } if checkpoint < savepoint => {
                    overtaken += u32::from(stopping.contains(&subtask));
                }
                _ => {}
            }
        }
    }
    assert!(overtaken > 0);
}

/// What jobs and those who ask something of them go through is counted: in some run, and in none of a job
/// that nobody asks for anything.
#[test]
fn what_becomes_of_jobs_is_counted() {
    const FAILING: &str = r#"faults=[{"at": {"step": "F2", "checkpoint": 5}, "kind": "fail_storage", "operation": "write_metadata"}]"#;
    const STOP: &str =
        r#"actions=[{"at": {"step": "F5", "checkpoint": 4}, "kind": "stop_with_savepoint"}]"#;
    const LOST: &str = r#"faults=[{"at": "2800 ms", "kind": "crash_job_manager"}]"#;
    const UNWRITTEN: &str = r#"faults=[{"at": {"step": "T5", "checkpoint": 2}, "kind": "fail_storage", "operation": "write_metadata"}]"#;
    let rows: [(&str, &str, &[&str]); 17] = [
        ("savepoint taken", "savepoint-after-damage.json", &[]),
        ("stopped with a savepoint, suspended", "stop-and-resume.json", &[]),
        ("stopped with a savepoint, drained", "stop-fails.json", &[]),
        ("stop failed before its savepoint was complete", "stop-and-resume.json", &[FAILING, STOP]),
        ("stop failed behind its savepoint", "stop-fails.json", &[]),
        ("resumed with claim", "cancel-and-resume.json", &[]),
        ("resumed without claim", "stop-and-resume.json", &[]),
        ("checkpoint retained when the job ended", "cancel-and-resume.json", &[]),
        ("checkpoint retained when the job ended", "damaged-checkpoint.json", &[]),
        ("state within the metadata", "quickstart.json", &["checkpointing.inline_threshold=1 mb"]),
        ("request over the limit of a prefix", "store-throttles.json", &[]),
        ("result of the job found by a new leader", "stop-and-resume.json", &[LOST]),
        ("former leader refused by a task manager", "zombie-leader.json", &[]),
        ("producer fenced off", "zombie-producer.json", &[]),
        ("restart strategy gave up", "damaged-checkpoint.json", &[]),
        ("recovery given up", "savepoint-after-damage.json", &[]),
        ("final checkpoint with finished tasks", "mixed-sources.json", &[]),
    ];
    for (name, scenario, changes) in rows {
        let seen: u64 = runs(scenario, changes).take(4).map(|it| situation(&it, name)).sum();
        assert!(seen > 0, "{name}");
        let calm = runs("quickstart.json", &["faults=[]"]).next().expect("some seeds");
        assert_eq!(situation(&calm, name), 0, "{name}");
    }
    let name = "too many failed checkpoints in a row";
    for (tolerated, restarts) in [(0, true), (1, false)] {
        let tolerable = format!("checkpointing.tolerable_failures={tolerated}");
        for outcome in runs("quickstart.json", &[UNWRITTEN, &tolerable]).take(4) {
            assert_eq!(situation(&outcome, name) > 0, restarts, "{tolerated} tolerated");
        }
    }
}

/// The next leader knows nothing of a stop that the last one was in the middle of: the job goes on, and
/// whoever has asked is told that nobody will answer.
#[test]
fn a_stop_dies_with_its_job_manager() {
    const CHANGES: [&str; 2] = [
        r#"actions=[{"at": "2 s", "kind": "stop_with_savepoint"},
            {"at": "4 s", "kind": "stop_with_savepoint"}]"#,
        r#"faults=[{"at": "2002 ms", "kind": "crash_job_manager"}]"#,
    ];
    for outcome in runs("stop-fails.json", &CHANGES) {
        let name = format!("seed {}", outcome.seed);
        let forgotten = observations(&outcome).filter_map(|observation| match *observation {
            Observation::ActionForgotten { action } => Some(action),
            _ => None,
        });
        assert_eq!(forgotten.collect::<Vec<_>>(), [0], "{name}");
        assert_eq!(answers(&outcome), [(1, true)], "{name}: asked for once more, it is done");
        assert_eq!(ends(&outcome), [JobEnd::StoppedWithSavepoint], "{name}");
        assert_eq!(situation(&outcome, "request of a user forgotten"), 1, "{name}");
    }
}
