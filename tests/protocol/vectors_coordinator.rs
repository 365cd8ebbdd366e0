//! The coordinator's conformance vectors, every case to its last entry.

use std::fs;
use std::path::Path;

use cutline_sim::conform::run_file;

/// Runs one file; the number of cases is stated so that a truncated file cannot pass.
fn run(file: &str, cases: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/coordinator");
    let text = fs::read_to_string(path.join(file)).expect("the vectors are committed");
    let report = run_file(&text, file).unwrap_or_else(|error| panic!("{error}"));
    for difference in report.differences.iter().take(5) {
        eprintln!(
            "{}\n  {}\n  expected {}\n  actual   {}",
            difference.case, difference.place, difference.expected, difference.actual
        );
    }
    assert_eq!((report.cases, report.failed), (cases, 0), "{file}");
}

macro_rules! vectors {
    ($($test:ident: $file:literal, $cases:literal;)*) => {
        $(#[test] fn $test() { run($file, $cases); })*
    };
}

vectors! {
    decider_flink: "decider.flink.jsonl", 9;
    decider_random: "decider.random.jsonl", 500;
    failure_manager_flink: "failure_manager.flink.jsonl", 3;
    failure_manager_random: "failure_manager.random.jsonl", 500;
    key_groups_flink: "key_groups.flink.jsonl", 5;
    key_groups_random: "key_groups.random.jsonl", 500;
    subtask_mapping_flink: "subtask_mapping.flink.jsonl", 14;
    subtask_mapping_random: "subtask_mapping.random.jsonl", 500;
    list_state_flink: "list_state.flink.jsonl", 10;
    list_state_random: "list_state.random.jsonl", 500;
    shared_state_registry_flink: "shared_state_registry.flink.jsonl", 4;
    shared_state_registry_random: "shared_state_registry.random.jsonl", 500;
    checkpoint_store_flink: "checkpoint_store.flink.jsonl", 10;
    checkpoint_store_random: "checkpoint_store.random.jsonl", 500;
    coordinator_flink: "coordinator.flink.jsonl", 30;
    coordinator_edge: "coordinator.edge.jsonl", 11;
    coordinator_random: "coordinator.random.jsonl", 500;
    coordinator_io_flink: "coordinator_io.flink.jsonl", 3;
    coordinator_io_edge: "coordinator_io.edge.jsonl", 2;
    coordinator_io_random: "coordinator_io.random.jsonl", 150;
}

#[test]
fn a_wrong_expectation_is_a_difference() {
    let case = r#"{"group":"failure_manager","name":"n","config":{"tolerable":2},
        "script":[{"op":"failure","cp":1,"reason":"CHECKPOINT_EXPIRED"}],
        "expect":[{"counter":2}]}"#;
    let report = run_file(&case.replace('\n', ""), "inline").expect("it is a case");
    assert_eq!((report.cases, report.failed), (1, 1));
    assert!(report.differences[0].actual.contains("\"counter\":1"), "{report:?}");
}

#[test]
fn a_bad_line_is_named_and_nothing_panics() {
    let good = r#"{"group":"key_groups","name":"n","in":{"max_parallelism":1,"parallelism":1,"hashes":[]},"out":{"ranges":[[0,0]],"default_max_parallelism":128}}"#;
    for (name, bad) in [
        ("no JSON", "{"),
        ("unknown group", r#"{"group":"x","name":"n"}"#),
        (
            "no parallelism",
            r#"{"group":"key_groups","name":"n","in":{"max_parallelism":0,"parallelism":1,"hashes":[1]}}"#,
        ),
        (
            "unknown field",
            r#"{"group":"decider","name":"n","config":{"max_concurrent":1,"min_pause_ms":0,"max_queued":1,"start_time_ms":0,"x":1}}"#,
        ),
        (
            "unknown operation",
            r#"{"group":"failure_manager","name":"n","config":{},"script":[{"op":"x"}],"expect":[{}]}"#,
        ),
        (
            "fewer answers",
            r#"{"group":"failure_manager","name":"n","config":{},"script":[{"op":"success","cp":1}],"expect":[]}"#,
        ),
        (
            "unknown vertex",
            r#"{"group":"coordinator","name":"n","config":{"vertices":[],"edges":[{"from":"a","to":"b"}]}}"#,
        ),
        (
            "a task that is not there",
            r#"{"group":"coordinator","name":"n","config":{"vertices":[]},"script":[{"op":"task_state","task":"a-0","state":"RUNNING"}],"expect":[{}]}"#,
        ),
        (
            "numbers that do not grow",
            r#"{"group":"checkpoint_store","name":"n","config":{"store":"default","max_retained":1},"script":[{"op":"add","cp":2},{"op":"add","cp":1}],"expect":[{"retained":[2],"latest":2},{}]}"#,
        ),
    ] {
        let error = run_file(&format!("{good}\n{bad}\n"), "bad.jsonl").expect_err(name);
        assert!(error.to_string().starts_with("bad.jsonl:2:"), "{name}: {error}");
    }
}
