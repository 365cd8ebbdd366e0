//! Copies of state on the machines that wrote it: who reads them, what that is worth, and when there
//! is none. That what is read is what the checkpoint holds is judged by the checks of every run.

use cutline::time::VirtualDuration;
use cutline_sim::observe::{JobEnd, Observation, TaskState};
use cutline_sim::run::Outcome;

use crate::support::{self, count, observations, situation};

const SEEDS: u64 = 6;
const SCENARIO: &str = "local-recovery.json";

fn runs(changes: &[&str]) -> impl Iterator<Item = Outcome> + use<> {
    support::runs(SCENARIO, changes, 0..SEEDS)
}

/// For each restore from a checkpoint, how long its last task took from its deployment on.
fn restores(outcome: &Outcome) -> Vec<VirtualDuration> {
    let mut spans = Vec::new();
    let mut began = None;
    for (at, observation) in outcome.trace.iter().flatten() {
        match observation {
            Observation::RestoreChosen { checkpoint: Some(_) } => {
                began = Some(*at);
                spans.push(VirtualDuration::ZERO);
            }
            Observation::Task { state: TaskState::Running, .. } => {
                if let Some((began, last)) = began.zip(spans.last_mut()) {
                    *last = at.since(began);
                }
            }
            _ => {}
        }
    }
    spans
}

/// The subtasks that have read copies, in turn.
fn readers(outcome: &Outcome) -> Vec<u32> {
    let read = observations(outcome).filter_map(|observation| match observation {
        Observation::ReadLocally { subtask, .. } => Some(subtask.0),
        _ => None,
    });
    read.collect()
}

#[test]
fn a_task_that_comes_back_reads_what_is_there() {
    for (near, far) in runs(&[]).zip(runs(&["checkpointing.local_recovery=false"])) {
        let [[quick, waits], [slow, as_slow]] = [&near, &far].map(|outcome| {
            <[_; 2]>::try_from(restores(outcome)).expect("a task fails, and a machine")
        });
        let half = |span: VirtualDuration| VirtualDuration(span.as_nanos() / 2);
        assert!(quick < half(slow), "{quick} {slow}");
        assert!(waits > half(as_slow), "{waits} {as_slow}: one machine has lost its copies");
        // Both tasks after the first failure, and the survivor's after the second.
        assert_eq!(readers(&near).len(), 3);
        assert_eq!(situation(&near, "restore from a local copy"), 3);
        assert_eq!(readers(&far).len(), 0);
    }
}

/// Of snapshots that are whole, too, and although the original is damaged: it is not read.
#[test]
fn a_copy_does_where_the_original_is_damaged() {
    let faults = r#"faults=[
        {"at": {"step": "F5", "checkpoint": 2}, "kind": "damage_object", "operation": "write_state"},
        {"at": {"step": "F5", "checkpoint": 2}, "kind": "crash_task", "target": "count[0]"}]"#;
    // Only the large states have files of their own.
    let common = ["checkpointing.incremental=false", "checkpointing.inline_threshold=1 kb", faults];
    let ends = |local: &str| {
        let changes = [&common[..], &[local]].concat();
        runs(&changes).map(|outcome| outcome.job_end).collect::<Vec<_>>()
    };
    let all = |end| vec![Some(end); SEEDS as usize];
    assert_eq!(ends("checkpointing.local_recovery=true"), all(JobEnd::Finished));
    assert_eq!(ends("checkpointing.local_recovery=false"), all(JobEnd::Failed));
}

/// A new job has nothing to come back to, until it has taken checkpoints of its own; and if it is
/// spread differently then, neither.
#[test]
fn another_job_has_no_copies() {
    let again = |parallelism: &str| {
        let resume = format!(
            r#"actions=[{{"at": "4 s", "kind": "cancel"}},
                {{"at": "5 s", "kind": "resume", "from": "checkpoint"{parallelism}}}]"#
        );
        let changes = ["faults=[]", "checkpointing.retention=retain_on_cancellation", &resume];
        runs(&changes).collect::<Vec<_>>()
    };
    for outcome in again("").into_iter().chain(again(r#", "parallelism": {"count": 1, "sink": 1}"#))
    {
        assert!(count(&outcome, |it| matches!(it, Observation::Adopted { .. })) > 0);
        assert_eq!(readers(&outcome).len(), 0);
    }
}
