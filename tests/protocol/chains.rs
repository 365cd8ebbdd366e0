//! Operators that share a task. The checks of every run judge each operator of a chain as if it had a
//! task of its own; here it is asserted that a job shows the same chained or not, that its snapshots can
//! be taken over either way, and what cannot be chained.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cutline::operator::Fingerprint;
use cutline_sim::check::Verdict;
use cutline_sim::observe::{JobEnd, Observation, TaskState};
use cutline_sim::run::{Outcome, Simulation};
use cutline_sim::scenario::generate::{Options, Seeds, generate_with};
use cutline_sim::scenario::{Override, Scenario, load, read_file};

use crate::support::{self, committed, count, observations, situation};

const NAME: &str = "operator-chain.json";
const UNCHAINED: &str = "job.operator_chaining=false";
const RECORDS: u64 = 6_000;

/// What each sink shows.
fn shown(outcome: &Outcome) -> BTreeMap<u32, Fingerprint> {
    outcome.shown.iter().map(|shown| (shown.operator.0, shown.contents)).collect()
}

fn run(scenario: Scenario, seed: u64) -> Outcome {
    Simulation::new(Arc::new(scenario), seed).expect("it can run").run()
}

#[test]
fn a_job_shows_the_same_chained_or_not() {
    let calm = ["faults=[]", "actions=[]"];
    for changes in [&calm[..], &["actions=[]", "faults[1].target=total[1]"], &[]] {
        let apart = [changes, &[UNCHAINED]].concat();
        let chained = support::finished(NAME, changes, 0..8);
        let apart = support::finished(NAME, &apart, 0..8);
        for (chained, apart) in chained.zip(apart) {
            assert_eq!(committed(observations(&chained)), RECORDS, "{changes:?}");
            assert_eq!(shown(&chained), shown(&apart), "{changes:?} seed {}", chained.seed);
        }
    }
}

/// A task takes one snapshot, whose durations are counted once.
#[test]
fn a_chain_is_one_task() {
    let calm = ["faults=[]", "actions=[]"];
    let mut delays = [0, 0];
    for (delay, changes) in delays.iter_mut().zip([&calm[..], &[calm[0], calm[1], UNCHAINED]]) {
        for outcome in support::finished(NAME, changes, 0..4) {
            let completed = outcome.statistics.checkpoints.completed;
            let tasks = if changes.contains(&UNCHAINED) { 5 } else { 2 };
            // Each has two subtasks; sources see no barrier come, and some have finished at the end.
            let cuts = outcome.statistics.asynchronous.count;
            assert!(cuts <= completed * tasks * 2, "{cuts} snapshots of {completed} checkpoints");
            *delay += outcome.statistics.end_to_end.mean().0;
        }
    }
    assert!(delays[0] < delays[1], "a barrier has fewer hops: {delays:?}");
}

#[test]
fn a_savepoint_is_taken_over_with_other_chains() {
    let there_and_back = r#"actions=[
        {"at": "1500 ms", "kind": "stop_with_savepoint"},
        {"at": "1600 ms", "kind": "resume", "operator_chaining": false},
        {"at": "3 s", "kind": "stop_with_savepoint"},
        {"at": "3100 ms", "kind": "resume", "operator_chaining": true,
            "parallelism": {"clicks": 1, "parse": 1, "count": 3, "total": 3, "sink": 3}}]"#;
    let from_checkpoints = r#"actions=[
        {"at": "1500 ms", "kind": "cancel"},
        {"at": "1600 ms", "kind": "resume", "from": "checkpoint", "operator_chaining": false},
        {"at": "3 s", "kind": "cancel"},
        {"at": "3100 ms", "kind": "resume", "from": "checkpoint", "operator_chaining": true}]"#;
    let retained = "checkpointing.retention=retain_on_cancellation";
    let slow = ["job.operators[total].cost=300 µs", "job.operators[sink].cost=600 µs"];
    let unaligned = ["checkpointing.unaligned=true", "checkpointing.unaligned_forced=true"];
    let rows: [&[&str]; 4] = [
        &[there_and_back],
        &[there_and_back, "checkpointing.incremental=true", "checkpointing.local_recovery=true"],
        &[from_checkpoints, retained],
        // What waits between tasks that stay apart is taken over with the rest.
        &[from_checkpoints, retained, slow[0], slow[1], unaligned[0], unaligned[1]],
    ];
    let mut in_flight = 0;
    for changes in rows {
        let changes = [changes, &["faults=[]"]].concat();
        for outcome in support::finished(NAME, &changes, 0..8) {
            assert_eq!(committed(observations(&outcome)), RECORDS, "{changes:?}");
            assert_eq!(situation(&outcome, "resumed with other chains"), 2, "{changes:?}");
            in_flight += situation(&outcome, "in-flight data restored");
        }
    }
    assert!(in_flight > 0, "nothing was in flight");
}

/// Whoever draws a job with chains draws one that shows the same without.
#[test]
fn random_jobs_show_the_same_chained_or_not() {
    // In larger jobs than those of campaigns, more happens to each.
    let options = Options { exactly_once_output: true, records_max: 4_000, ..Options::default() };
    let (mut compared, mut disturbed) = (0, 0);
    for job in 0..350 {
        for (world, faults_max) in [(job, 0), (1_000 + job, options.faults_max)] {
            let seeds = Seeds { job, world, faults: world };
            let chained = generate_with(&Options { faults_max, ..options }, seeds);
            if !chained.job.edges.iter().any(|edge| edge.chained) {
                continue;
            }
            let mut apart = chained.clone();
            apart.job.operator_chaining = false;
            let [chained, apart] = [chained, apart].map(|scenario| run(scenario, world));
            for outcome in [&chained, &apart] {
                assert_eq!(outcome.verdict, Verdict::Ok, "{seeds:?}: {:?}", outcome.violations);
            }
            if [&chained, &apart].iter().all(|it| it.job_end == Some(JobEnd::Finished)) {
                assert_eq!(shown(&chained), shown(&apart), "{seeds:?}");
                compared += 1;
                disturbed += u64::from(chained.statistics.restarts > 0);
            }
        }
    }
    assert!(compared > 40 && disturbed > 10, "{compared} compared, {disturbed} disturbed");
}

#[test]
fn the_operators_of_a_chain_fail_together() {
    let fault = r#"faults=[{"at": "1 s", "kind": "crash_task", "target": "total[0]"}]"#;
    for (changes, together, chains) in [(&[][..], 3, 1), (&[UNCHAINED], 1, 0)] {
        let changes = [&[fault, "actions=[]"], changes].concat();
        for outcome in support::finished(NAME, &changes, 0..4) {
            assert_eq!(outcome.statistics.restarts, 1);
            assert_eq!(situation(&outcome, "chain of operators restored"), chains);
            let failed =
                |it: &Observation| matches!(it, Observation::Task { state: TaskState::Failed, .. });
            assert_eq!(count(&outcome, failed), together, "count, total and sink");
        }
    }
}

#[test]
fn each_operator_of_a_chain_reads_its_own_local_copy() {
    let fault = r#"faults=[{"at": "1 s", "kind": "crash_task", "target": "total[0]"}]"#;
    let changes = [fault, "actions=[]", "checkpointing.local_recovery=true"];
    for outcome in support::finished(NAME, &changes, 0..4) {
        let read: BTreeSet<u32> = observations(&outcome)
            .filter_map(|it| match it {
                Observation::ReadLocally { subtask, .. } => Some(subtask.0),
                _ => None,
            })
            .collect();
        // The subtasks of `count` and `total`, behind two operators with two subtasks each.
        assert_eq!(read.into_iter().filter(|it| (4..8).contains(it)).count(), 4);
    }
}

#[test]
fn what_cannot_be_chained_is_refused_with_the_reason() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(NAME);
    let text = read_file(&file).expect("readable");
    let several_outputs = r#"job.edges=[
        {"from": "clicks", "to": "parse"}, {"from": "parse", "to": "count"},
        {"from": "count", "to": "total", "chained": true},
        {"from": "count", "to": "sink"}, {"from": "total", "to": "sink"}]"#;
    let several_inputs = r#"job.edges=[
        {"from": "clicks", "to": "parse"}, {"from": "parse", "to": "count"},
        {"from": "count", "to": "total", "chained": true},
        {"from": "parse", "to": "total"}, {"from": "total", "to": "sink"}]"#;
    let rows: [(&[&str], &[&str]); 7] = [
        (
            &["job.edges[0].partitioner=rebalance"],
            &["`clicks` and `parse` cannot be chained", "no forward edge", "isChainable"],
        ),
        (
            &["job.operators[parse].parallelism=3"],
            &["`clicks` and `parse` cannot be chained", "`clicks` has 2 subtasks, `parse` has 3"],
        ),
        (
            &["job.operators[parse].max_parallelism=64"],
            &["`clicks` has 128 key groups, `parse` has 64"],
        ),
        (
            &["job.edges[1].chained=true"],
            &["`parse` and `count` cannot be chained", "records do not come by key"],
        ),
        (&[several_outputs], &["`count` and `total`", "`count` has another output"]),
        (&[several_inputs], &["`count` and `total`", "`total` has another input"]),
        (&["job.operators[parse].kind=async"], &["`parse` waits for answers"]),
    ];
    for (changes, expected) in rows {
        let overrides: Vec<Override> =
            changes.iter().map(|text| Override::parse(text).expect("an override")).collect();
        let found = load(&text, NAME, &overrides).expect_err("refused").to_string();
        for part in expected {
            assert!(found.contains(part), "{changes:?}: {found}");
        }
    }
}
