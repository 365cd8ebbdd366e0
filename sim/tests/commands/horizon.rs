//! The long-horizon mode against the record-level run, and what it refuses.
//!
//! `docs/long-horizon-validation.md` is what `cutline model validate --coarsen 3%` prints of all its
//! jobs; here are a few of them.

use std::fs;
use std::sync::Arc;

use cutline_sim::horizon::{LeapError, Leaping};
use cutline_sim::run::Simulation;
use cutline_sim::scenario::model::Scenario;
use cutline_sim::scenario::{Override, load, to_json};
use cutline_sim::validate::Horizons;
use cutline_sim::validate::horizon::{Comparison, Verdict, own_jobs};

use crate::support::document::is_document;
use crate::support::{cutline, directory, root};

/// What sampling may add to the error of a mean.
const TOLERANCE: f64 = 0.03;

/// Light and aligned with failures, at least once and calm, backpressured and unaligned: those that
/// have the fewest events.
const FEW: [usize; 3] = [16, 11, 21];

fn compared(repeats: u64, threads: Option<usize>) -> Horizons {
    let all = own_jobs();
    let jobs: Vec<Arc<Scenario>> = FEW.iter().map(|job| Arc::clone(&all[*job])).collect();
    let comparison = Comparison { jobs, tolerance: TOLERANCE, repeats, threads };
    Horizons { compared: comparison.run().expect("nothing breaks"), tolerance: TOLERANCE, repeats }
}

/// And is the same for any number of threads.
#[test]
fn a_long_run_measures_what_the_record_level_run_does() {
    let found = compared(2, Some(2));
    assert_eq!(found.json(), compared(2, Some(1)).json());
    assert_eq!(found.missed(), 0, "{}", found.text());
    for it in &found.compared {
        let within = it.differences.iter().filter(|it| it.verdict == Verdict::Within).count();
        assert!(it.leapt > 0.5 && it.fewer_events > 3.0, "{}", found.text());
        assert!(
            it.differences.len() >= 15 && within * 2 > it.differences.len(),
            "{}",
            found.text()
        );
    }
}

/// Takes minutes.
#[test]
#[ignore = "takes minutes: `cargo test --test commands horizon -- --ignored`"]
fn the_documented_table_is_what_is_printed() {
    let said = cutline(&root(), "model validate --coarsen 3% --format markdown").expect(0);
    is_document(&root().join("docs/long-horizon-validation.md"), &said.out);
}

#[test]
fn jobs_of_ones_own_are_compared_as_well() {
    let here = directory("horizon-jobs");
    let job = to_json(&own_jobs()[FEW[1]]);
    let line = job.split_whitespace().collect::<Vec<_>>().join(" ");
    fs::write(here.join("jobs.jsonl"), format!("{line}\n")).expect("it is ours");
    let compare = "model validate --coarsen 3% --repeat 2 --jobs jobs.jsonl";
    let json = cutline(&here, &format!("{compare} --format json")).expect(0).json();
    assert_eq!(json["jobs"].as_array().map(Vec::len), Some(1));
    assert_eq!(json["missed"], 0);
    cutline(&here, compare).expect(0).has("1 job, ").has("0 missed");

    let cut = line.replace("\"events\": 100000000", "\"events\": 1000");
    fs::write(here.join("jobs.jsonl"), cut).expect("it is ours");
    cutline(&here, compare).expect(20).complains("the run has used up its events");
    fs::write(here.join("jobs.jsonl"), "{}\n").expect("it is ours");
    cutline(&here, compare).expect(3).complains("jobs.jsonl: line 1:");
    fs::write(here.join("jobs.jsonl"), "").expect("it is ours");
    cutline(&here, compare).expect(3).complains("there are no jobs in it");
    let bounded = fs::read_to_string(root().join("scenarios/quickstart.json")).expect("is there");
    let bounded = bounded.split_whitespace().collect::<Vec<_>>().join(" ");
    fs::write(here.join("jobs.jsonl"), bounded).expect("it is ours");
    cutline(&here, compare).expect(3).complains("line 1: source `");
    cutline(&here, "model validate --jobs jobs.jsonl").expect(2);
}

#[test]
fn what_would_be_missed_is_refused() {
    let job = to_json(&own_jobs()[0]);
    let refused = |change: &str| -> Option<LeapError> {
        let change = Override::parse(change).expect("path=value");
        let scenario = load(job.as_bytes(), "job", &[change]).expect("valid").scenario;
        let simulation = Simulation::new(Arc::new(scenario), 0).expect("it can run");
        simulation.leaping(Leaping { tolerance: TOLERANCE, repeats: 1 }).err()
    };
    assert_eq!(refused("checkpointing.timeout=2 min"), None);
    assert_eq!(refused("cluster.job_managers=2"), Some(LeapError::Election));
    let policy = r#"{"kind": "measured", "checkpoint_cost": "1 s", "expected_mtbf": "200 s"}"#;
    assert_eq!(refused(&format!("checkpointing.policy={policy}")), Some(LeapError::Policy));
    assert_eq!(
        refused("job.operators[source].records=100"),
        Some(LeapError::Bounded { operator: "source".to_owned() })
    );
    assert_eq!(
        refused(r#"checkpointing.manual=[{"at": "5 s"}]"#),
        Some(LeapError::Asked { what: "manual" })
    );
    assert_eq!(
        refused(r#"actions=[{"at": "5 s", "kind": "savepoint"}]"#),
        Some(LeapError::Asked { what: "actions" })
    );
    assert_eq!(
        refused(r#"faults=[{"at": {"step": "B5"}, "kind": "crash_task", "target": "count[0]"}]"#),
        Some(LeapError::AtStep { index: 0 })
    );
}

#[test]
fn the_command_names_what_it_cannot_leap_over() {
    let sweep = "sweep scenarios/quickstart.json --vary interval=1s,2s --coarsen 3%";
    cutline(&root(), &format!("{sweep} --out {}", env!("CARGO_TARGET_TMPDIR")))
        .expect(3)
        .complains("--coarsen cannot leap over time at interval 1s: source");
}
