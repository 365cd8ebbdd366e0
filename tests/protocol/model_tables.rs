//! The tables of the cost models: every row of every file, within the tolerance it states.

use std::fs;
use std::path::{Path, PathBuf};

use cutline_sim::conform::{Report, run_file};

/// The rows of each file, so that a truncated one cannot pass.
///
/// Of `flink_measured` those constants count that a model uses. `published_figures` are those of
/// other setups: nothing in it is owed by a formula.
const TABLES: [(&str, usize); 31] = [
    ("alignment", 7),
    ("barrier_count", 7),
    ("catchup_stochastic", 4),
    ("catchup_with_pauses", 8),
    ("completion_time", 6),
    ("coordinator", 8),
    ("dirty_zipf", 8),
    ("effective_interval", 6),
    ("first_delay", 4),
    ("first_order_error", 7),
    ("flink_measured", 14),
    ("interval_batch", 16),
    ("interval_choice", 10),
    ("khaos_recovery", 80),
    ("lag", 8),
    ("metadata_size", 39),
    ("network_buffers", 6),
    ("object_store", 4),
    ("published_figures", 0),
    ("recovery", 10),
    ("reference_sweep", 18),
    ("restart_backoff", 10),
    ("slowest_subtask", 8),
    ("statistics", 50),
    ("storage_size", 7),
    ("tolerable_failures", 6),
    ("utilization_exp", 20),
    ("utilization_failing_checkpoints", 6),
    ("utilization_renewal", 14),
    ("utilization_stream", 8),
    ("visible_latency", 6),
];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models")
}

fn text(name: &str) -> String {
    let path = directory().join(name).with_extension("json");
    fs::read_to_string(path).expect("the tables are committed")
}

fn run(text: &str) -> Report {
    run_file(text, "table").unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_row_of_every_table_is_reproduced() {
    for (name, cases) in TABLES {
        let report = run(&text(name));
        assert_eq!(report.differences, [], "{name}");
        assert_eq!((report.cases, report.passed), (cases, cases), "{name}");
    }
    let files = fs::read_dir(directory()).expect("it is committed");
    assert_eq!(files.count(), TABLES.len(), "a table is not in the list");
}

#[test]
fn what_is_measured_is_reported_and_not_judged() {
    for (table, expected) in [
        (
            "khaos_recovery",
            "out.recovery_s_measured of iot: measured, not judged in 37 rows; the model is off by \
             12.6 % on average",
        ),
        (
            "khaos_recovery",
            "out.recovery_s_measured of ysb: measured, not judged in 43 rows; the model is off by \
             7.7 % on average",
        ),
        ("published_figures", "figures that others published, for comparison: nothing is judged"),
        ("flink_measured", "28 constants and defaults that no model uses are not judged"),
    ] {
        let notes = run(&text(table)).notes;
        assert!(notes.iter().any(|note| note == expected), "{table}: {notes:?}");
    }
}

/// A table in one line, as a program may write it.
fn lag(tolerance: &str, given: &str, expected: &str) -> String {
    format!(
        r#"{{"table": "lag", "tolerance": {tolerance}, "rows": [{{"in": {{"lambda": 1e4, "mu": 2e4, "c": 0.2, "D": 10, "T": 3, "d": 2, "M": 4000{given}}}, "out": {expected}}}]}}"#
    )
}

#[test]
fn a_value_outside_of_its_tolerance_is_a_difference() {
    let expected = r#"{"T_young": 40.0, "T_lag": 3.62042002271}"#;
    assert_eq!(run(&lag(r#"{"rel": 1e-7}"#, "", expected)).passed, 1);
    for (tolerance, expected, place) in [
        (r#"{"rel": 1e-7}"#, r#"{"T_lag": 3.6204}"#, "out.T_lag within 1e-7 of it"),
        (r#"{"rel": 1e-7}"#, r#"{"T_lag": null}"#, "out.T_lag exactly"),
        (r#"{"rel": 1, "T_lag": "exact"}"#, "", ""),
        (
            r#"{"rel": 0.1, "T_lag": "rel 1e-9"}"#,
            r#"{"T_lag": 3.6204200}"#,
            "out.T_lag within 1e-9 of it",
        ),
        (r#"{"exact": true}"#, r#"{"T_lag": 3.62042002271}"#, "out.T_lag exactly"),
    ] {
        if expected.is_empty() {
            let error = run_file(&lag(tolerance, "", "{}"), "t").expect_err("it allows all");
            assert!(error.to_string().contains("at least 0 and below 1"), "{error}");
            continue;
        }
        let report = run(&lag(tolerance, "", expected));
        assert_eq!((report.cases, report.failed), (1, 1), "{expected}");
        let difference = &report.differences[0];
        assert_eq!((difference.case.as_str(), difference.place.as_str()), ("rows[0]", place));
        assert!(difference.actual.starts_with("3.62042002"), "{difference:?}");
    }
}

#[test]
fn a_row_without_an_answer_passes_if_it_expects_none() {
    let saturated = |expected: &str| {
        format!(
            r#"{{"table": "catchup_stochastic", "tolerance": {{"rel": 1e-9}}, "rows": [{{"in": {{"lambda": 2, "mu": 1, "backlog": 5}}, "out": {{"mean": {expected}}}}}]}}"#
        )
    };
    assert_eq!(run(&saturated("null")).passed, 1);
    let report = run(&saturated("5"));
    assert_eq!(report.failed, 1);
    let actual = &report.differences[0].actual;
    assert!(actual.starts_with("no answer: the stream is saturated"), "{actual}");
}

#[test]
fn a_table_that_would_judge_nothing_is_refused() {
    let rel = r#"{"rel": 1e-7}"#;
    let renamed = |from: &str, to: &str| lag(rel, "", r#"{"T_lag": 3}"#).replace(from, to);
    for (name, text, expected) in [
        ("table", renamed("\"lag\"", "\"lgg\""), "unknown table `lgg`; did you mean `lag`?"),
        ("far", renamed("\"lag\"", "\"weather\""), "unknown table `weather`; known: alignment, "),
        ("rows", renamed("rows", "lines"), "the table has no `rows`"),
        ("input", renamed("\"mu\"", "\"mu_\""), "there is no `mu` in it"),
        ("type", renamed("2e4", "\"2e4\""), "expected a number, found a string"),
        (
            "surplus",
            lag(rel, r#", "Tt": 5"#, "{}"),
            "the table does not take `Tt`; did you mean `T`?",
        ),
        (
            "result",
            lag(rel, "", r#"{"T_lagg": 3}"#),
            "the table has no result `T_lagg`; did you mean `T_lag`?",
        ),
        (
            "tolerance",
            lag(r#"{"re": "1e-7"}"#, "", r#"{"T_lag": 3}"#),
            "the `tolerance` says nothing that holds for `T_lag`",
        ),
        ("nameless", "{\n\"rows\": []}".replace("[]", "3"), "there is no `table`"),
        ("truncated", "{\n\"table\": \"lag\"".to_owned(), "the file ends too early"),
    ] {
        let error = run_file(&text, "t").expect_err(name).to_string();
        assert!(error.contains(expected), "{name}: {error}");
        assert!(error.starts_with("t:1:") || error.starts_with("t:2:"), "{name}: {error}");
    }
    let at = run_file("{\n  \"table\": \"lgg\"}", "t").expect_err("unknown").to_string();
    assert!(at.starts_with("t:2:12: "), "{at}");
}
