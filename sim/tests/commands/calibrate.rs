//! `cutline calibrate`, end to end: what it promises of the measured runs, and its exit codes.
//!
//! `docs/calibration.md` is what the command prints; `CUTLINE_BLESS=1` writes it anew.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::document::is_document;
use crate::support::{root, run};

/// Runs of a real cluster, without the columns that nobody reads.
const RUNS: &str = "sim/tests/data/flink-2.3/runs.jsonl";

/// Answers of its REST interface.
const DUMP: &str = "sim/tests/data/flink-2.3/rest-dumps/aligned";

/// Standard output and standard error of a calibration that ends with `code`.
fn calibrate(arguments: &[&str], code: i32) -> (String, String) {
    let said = run(&root(), &[&["calibrate"], arguments].concat()).expect(code);
    (said.out, said.err)
}

/// A file of runs that the measured ones are filtered into.
fn runs_where(name: &str, keep: impl Fn(&Value) -> bool) -> String {
    let all = fs::read_to_string(root().join(RUNS)).expect("part of the repository");
    let kept = all.lines().filter(|line| keep(&serde_json::from_str(line).expect("JSON")));
    let text: String = kept.map(|line| line.to_owned() + "\n").collect();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).expect("the target directory can be written to");
    path.to_str().expect("a path of ours is text").to_owned()
}

#[test]
fn what_was_left_out_is_predicted_well_enough() {
    let goals = ["checkpoint_duration.median_error<=20%", "time_to_catch_up.median_error<=15%"];
    let arguments =
        ["--from-runs", RUNS, "--cross-validate", "--goal", goals[0], "--goal", goals[1]];
    let (out, _) = calibrate(&[&arguments[..], &["--format", "json"]].concat(), 0);
    let report: Value = serde_json::from_str(&out).expect("one JSON object");
    let runs = report["runs"].as_array().expect("a list");
    assert!(runs.len() >= 53, "{}", runs.len());
    for (measure, bound) in [("checkpoint_duration", 0.20), ("time_to_catch_up", 0.15)] {
        let error = report["median_error"][measure].as_f64().expect("a number");
        assert!(error > 0.0 && error <= bound, "{measure}: {error}");
    }
    let (again, _) = calibrate(&[&arguments[..], &["--format", "json"]].concat(), 0);
    assert_eq!(out, again);
}

/// A dozen restarts with Flink's default heartbeat, told from runs that had another.
#[test]
fn the_race_of_restart_and_heartbeat_is_understood_and_not_remembered() {
    let slow = |run: &Value| run["heartbeat_interval_ms"] == 10_000;
    let recovery = |run: &Value| run["kind"] == "recovery";
    let fitted = runs_where("fast.jsonl", |run| !(recovery(run) && slow(run)));
    let judged = runs_where("slow.jsonl", |run| recovery(run) && slow(run));
    let (out, _) = calibrate(&["--from-runs", &fitted, "--judge", &judged, "--format", "json"], 0);
    let report: Value = serde_json::from_str(&out).expect("one JSON object");
    let error = report["median_error"]["restarts"].as_f64().expect("a number");
    assert!(error <= 0.25, "{error}");
}

#[test]
fn the_documented_table_is_what_is_printed() {
    let command = format!("cutline calibrate --from-runs {RUNS} --cross-validate");
    let (table, _) = calibrate(&["--from-runs", RUNS, "--cross-validate"], 0);
    let (profile, _) = calibrate(&["--from-runs", RUNS], 0);
    let (dump, _) = calibrate(&["--from-rest", DUMP], 0);
    let text = format!(
        "# Calibration against a real cluster\n\n\
         Measured: 62 runs of Apache Flink 2.3.0 (parallelism 2, one machine), in\n\
         `{RUNS}`. Every run is predicted by a profile that was\n\
         fitted to the other configurations; kills of one job stay together. A prediction sees what\n\
         an operator knows before: configuration, rate, state size, and when the kill comes.\n\n\
         The structure of the model was chosen with these same runs in view, so the errors are\n\
         optimistic; only new runs would be an independent test. Incremental snapshots of RocksDB\n\
         are predicted badly: what an increment costs depends on compaction.\n\n\
         ```console\n$ {command}\n{table}```\n\n\
         The profile of all runs:\n\n\
         ```console\n$ cutline calibrate --from-runs {RUNS}\n{profile}```\n\n\
         ## From a dump of the REST interface\n\n\
         Checkpoints that find buffers still filling (each one longer than the one before, after a\n\
         start or a restart) are left out. Where barriers wait for data, the time of the slowest\n\
         vertex for a buffer is turned until simulated checkpoints take as long as measured ones;\n\
         how much of that is records and how much is the work on each is not in such a dump.\n\n\
         ```console\n$ cutline calibrate --from-rest {DUMP}\n{dump}```\n"
    );
    is_document(&root().join("docs/calibration.md"), &text);
}

#[test]
fn exit_codes_and_their_reasons() {
    let missed = "checkpoint_duration.median_error<=1%";
    let (out, _) = calibrate(&["--from-runs", RUNS, "--cross-validate", "--goal", missed], 13);
    assert!(out.contains("missed"), "{out}");

    let checkpoints = runs_where("checkpoints.jsonl", |run| run["kind"] == "checkpoint");
    let goal = "time_to_catch_up.median_error<=15%";
    let arguments = ["--from-runs", &checkpoints, "--judge", &checkpoints, "--goal", goal];
    let (_, err) = calibrate(&arguments, 20);
    assert!(err.contains("at least 1 run of kind \"recovery\""), "{err}");

    let bad = runs_where("bad.jsonl", |_| true);
    let text = fs::read_to_string(&bad).expect("just written");
    fs::write(&bad, text.replacen("\"hashmap\"", "\"hashmapp\"", 1)).expect("just written");
    for (arguments, code, expected) in [
        (&[][..], 2, "--from-runs"),
        (&["--from-rest", DUMP, "--cross-validate"], 2, "--cross-validate"),
        (&["--from-runs", RUNS, "--goal", missed], 2, "--judge FILE or --cross-validate"),
        (&["--from-runs", RUNS, "--cross-validate", "--goal", "so"], 2, "expected MEASURE"),
        (&["--from-runs", "nowhere.jsonl"], 3, "cannot read nowhere.jsonl"),
        (&["--from-runs", bad.as_str()], 3, "expected one of \"hashmap\", \"rocksdb\""),
    ] {
        let (_, err) = calibrate(arguments, code);
        assert!(err.contains(expected), "{arguments:?}: {err}");
    }
}
