//! `cutline show --explain` and `cutline diff`, end to end.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{cutline, directory};

/// A directory with a scenario of the repository in it.
fn with_quickstart(name: &str) -> PathBuf {
    let directory = directory(name);
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/quickstart.json");
    fs::copy(scenario, directory.join("job.json")).expect("part of the repository");
    directory
}

/// Not back within the bound after the first fault.
const IMPATIENT: &str = "--set limits.settle=100ms";

#[test]
fn a_violation_is_explained() {
    let directory = with_quickstart("explain");
    let text = cutline(&directory, &format!("show job.json --explain {IMPATIENT}")).expect(0);
    text.has("stuck [liveness]")
        .has("what should hold   While nothing disturbs, all tasks run again")
        .has("what disturbed it  Fault 0 (crash_task count[1]) struck at")
        .has("fault 0 strikes: crash_task count[1]")
        .has("count[1] is failed");
    let json = cutline(&directory, &format!("show job.json --explain --format json {IMPATIENT}"));
    let json = json.expect(0).json();
    assert_eq!(json["violation"]["check"], "liveness");
    let lines = json["lines"].as_array().expect("a list");
    assert!(lines.iter().any(|line| line["event"] == "fault_injected"), "{json}");
    assert!(lines.iter().all(|line| line["says"].is_string()), "{json}");
    // The case of the run says the same.
    cutline(&directory, &format!("run job.json --out failed {IMPATIENT}")).expect(11);
    let again = cutline(&directory, "show failed/case.json --explain").expect(0);
    assert_eq!(again.out, text.out);
}

#[test]
fn without_a_violation_there_is_nothing_to_explain() {
    let directory = with_quickstart("explain-nothing");
    cutline(&directory, "show job.json --explain").expect(0).has("nothing to explain");
    let json = cutline(&directory, "show job.json --explain --format json").expect(0).json();
    assert!(json["violation"].is_null());
}

#[test]
fn what_cannot_be_explained_is_refused() {
    let directory = with_quickstart("explain-refused");
    fs::write(directory.join("empty.jsonl"), "").expect("writable");
    for (line, complaint) in [
        ("show job.json --explain --format jsonl", "text or as json"),
        ("show job.json --format json", "is for `--explain`"),
        ("show empty.jsonl --explain", "a trace does not say what was violated"),
        ("show job.json --explain --checkpoint 3", "cannot be used with"),
    ] {
        cutline(&directory, line).expect(2).complains(complaint);
    }
}

#[test]
fn runs_that_are_the_same_do_not_part() {
    let directory = with_quickstart("diff-same");
    cutline(&directory, "diff job.json job.json --seed 3")
        .expect(0)
        .has("inputs: the same")
        .has("the same run, to the byte");
    // A trace that was saved is the run that it was saved from.
    let trace = cutline(&directory, "show job.json --seed 3 --format jsonl").expect(0).out;
    fs::write(directory.join("saved.jsonl"), trace).expect("writable");
    cutline(&directory, "diff job.json saved.jsonl --seed 3").expect(0).has("not known of a trace");
}

#[test]
fn the_first_event_that_differs_is_named() {
    let directory = with_quickstart("diff");
    let seeds = "diff job.json job.json --seed 3 --seed 4";
    cutline(&directory, seeds).expect(12).has("seed: 3 | 4").has("is the first that differs");
    let changed = "diff job.json job.json --set-b checkpointing.interval=700ms --format json";
    let json = cutline(&directory, changed).expect(12).json();
    assert_eq!(json["inputs"][0]["path"], "scenario.checkpointing.interval");
    let found = &json["first_difference"];
    assert_ne!(found["a"], found["b"]);
    let event = found["event"].as_u64().expect("a number");
    let shared = found["shared"].as_array().expect("a list");
    assert_eq!(shared.last().map(|line| line["n"].as_u64()), Some(event.checked_sub(1)), "{json}");
}

#[test]
fn traces_that_are_not_whole_are_refused() {
    let directory = with_quickstart("diff-refused");
    let trace = cutline(&directory, "show job.json --checkpoint 3 --format jsonl").expect(0).out;
    fs::write(directory.join("part.jsonl"), trace).expect("writable");
    fs::write(directory.join("broken.jsonl"), "{\"n\": 0}\n").expect("writable");
    for (line, code, complaint) in [
        ("diff job.json part.jsonl", 3, "compare whole traces"),
        ("diff job.json broken.jsonl", 3, "broken.jsonl:1:"),
        ("diff job.json missing.jsonl", 3, "missing.jsonl"),
        ("diff part.jsonl part.jsonl --set limits.until=1s", 2, "traces are only read"),
        ("diff job.json part.jsonl --set-b limits.until=1s", 2, "a trace is only read"),
        ("diff job.json job.json --seed 1 --seed 2 --seed 3", 2, "once or twice"),
    ] {
        cutline(&directory, line).expect(code).complains(complaint);
    }
}
