//! Jobs that are resumed with another parallelism. The checks of every run judge that state, output
//! and in-flight data come through; here it is asserted that what the scenarios are about happens.

use cutline_sim::run::Outcome;

use crate::support::{self, committed, observations, situation};

const SEEDS: u64 = 12;

fn runs(name: &str, changes: &[&str]) -> impl Iterator<Item = Outcome> + use<> {
    support::finished(name, changes, 0..SEEDS)
}

#[test]
fn in_flight_data_is_processed_by_the_owners_of_its_keys() {
    let (mut moved, mut filtered) = (0, 0);
    for outcome in runs("rescale-up.json", &[]) {
        assert_eq!(committed(observations(&outcome)), 5_400);
        assert_eq!(situation(&outcome, "rescaled up"), 1);
        moved += situation(&outcome, "in-flight data rescaled");
        filtered += situation(&outcome, "in-flight records filtered");
    }
    assert!(moved > 0 && filtered > 0, "{moved} moved, {filtered} filtered");
}

#[test]
fn each_way_there_is_and_back() {
    let down = "actions[1].parallelism.count=1";
    let one_side = r#"actions[1].parallelism={"count": 3}"#;
    let senders = r#"actions[1].parallelism={"source": 1}"#;
    let aligned = "checkpointing.unaligned=false";
    // The fault of the scenario is aimed at a subtask that there is with three of them alone.
    let down = [down, "faults=[]"];
    let senders = [senders, "faults=[]"];
    let both = [aligned, down[0], "faults=[]"];
    for changes in [&down[..], &[one_side], &senders, &[aligned], &both] {
        for outcome in runs("rescale-up.json", changes) {
            assert_eq!(committed(observations(&outcome)), 5_400, "{changes:?}");
        }
    }
}

#[test]
fn a_job_is_resumed_as_often_as_one_likes() {
    for outcome in runs("rescale-twice.json", &[]) {
        assert_eq!(committed(observations(&outcome)), 5_400);
        let both = ["rescaled up", "rescaled down", "resumed again"];
        assert_eq!(both.map(|name| situation(&outcome, name)), [1, 1, 1]);
    }
}

/// Two jobs that each begin behind what the one before had committed: what lies between is there
/// once more for each of them.
#[test]
fn every_branch_of_a_history_commits_for_itself() {
    let actions = r#"actions=[
        {"at": "1500 ms", "kind": "savepoint"},
        {"at": "3 s", "kind": "cancel"},
        {"at": "3500 ms", "kind": "resume", "from": "savepoint"},
        {"at": "5 s", "kind": "savepoint"},
        {"at": "6 s", "kind": "cancel"},
        {"at": "6500 ms", "kind": "resume", "from": "savepoint", "parallelism": {"source": 1}}]"#;
    for outcome in runs("savepoint-fork.json", &[actions]) {
        assert_eq!(situation(&outcome, "resumed again"), 1);
        assert!(committed(observations(&outcome)) > 5_000);
    }
}
