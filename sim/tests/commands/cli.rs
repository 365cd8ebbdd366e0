//! The command line, end to end: exit codes and texts.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{self, command, root, run as cutline};

const SMALL: &str = r#"{
  "format": "cutline-scenario/1",
  "title": "A small job",
  "why": "Tests of the command line want a run that is over at once.",
  "job": {
    "operators": [
      { "name": "source", "kind": "source", "parallelism": 2, "splits": 2, "records": 500, "every": "2 ms", "keys": 10 },
      { "name": "count", "kind": "keyed_aggregate", "parallelism": 2 },
      { "name": "sink", "kind": "two_phase_commit_sink", "parallelism": 1 }
    ],
    "edges": [
      { "from": "source", "to": "count", "partitioner": "hash" },
      { "from": "count", "to": "sink", "partitioner": "rebalance" }
    ]
  },
  "checkpointing": { "interval": "200 ms" },
  "cluster": { "task_managers": 2, "slots": 1 },
  "limits": { "until": "60 s" }
}
"#;

/// A job that would commit its last records long after they are due, and is not given the time: it
/// breaks a promise of the liveness check.
const IMPATIENT: [&str; 4] =
    ["--set", "checkpointing.initial_delay=40 s", "--set", "limits.settle=5 s"];

/// A fresh directory with `small.json` in it.
fn directory(name: &str) -> PathBuf {
    let path = support::directory(&format!("cli/{name}"));
    fs::write(path.join("small.json"), SMALL).expect("the directory is there");
    path
}

/// A failing run's case file.
fn failing_case(directory: &Path) -> String {
    let run = [&["run", "small.json", "--seed", "7"], &IMPATIENT[..]].concat();
    let said = cutline(directory, &run).expect(11);
    let replay = said.last_line().strip_prefix("replay: cutline replay ");
    replay.unwrap_or_else(|| panic!("no line to paste: {}", said.out)).to_owned()
}

#[test]
fn a_good_run_is_summed_up() {
    let directory = directory("good");
    let said = cutline(&directory, &["run", "small.json", "--seed", "1"]).expect(0);
    for part in [
        "A small job\nseed 1, ",
        "job finished",
        "checkpoints  ",
        " completed, 0 failed",
        "records      1,000 emitted, 2,000 processed, 1,000 committed",
        "faults       0 injected, 0 inert",
        "end to end ",
        "start delay ",
        "liveness ",
        "situations   ",
        "verdict      ok\ndigest       ",
    ] {
        assert!(said.out.contains(part), "{part} is not in\n{}", said.out);
    }
    assert_eq!(said.err, "");
    assert!(!directory.join("cutline-out").exists(), "a good run writes nothing");
    let again = cutline(&directory, &["run", "small.json", "--seed", "1"]);
    assert_eq!(said, again, "the same run is the same text");
    let other = cutline(&directory, &["run", "small.json", "--seed", "2"]);
    assert_ne!(said.out, other.out, "another seed is another run");
}

#[test]
fn json_has_all_there_is_to_know() {
    let said = cutline(&directory("json"), &["run", "small.json", "--format", "json"]).expect(0);
    let summary = said.json();
    let is_whole = |value: &Value| value.is_u64();
    for (place, holds) in [
        ("/verdict", (|value| value == "ok") as fn(&Value) -> bool),
        ("/seed", |value| value == 0),
        ("/digest", |value| value.as_str().is_some_and(|digest| digest.len() == 16)),
        ("/virtual_ms", |value| value.as_f64().is_some_and(|ms| ms > 1_000.0)),
        ("/events", is_whole),
        ("/checkpoints/triggered", is_whole),
        ("/checkpoints/completed", |value| value.as_u64() > Some(2)),
        ("/checkpoints/failed", |value| value == 0),
        ("/restores", |value| value == 0),
        ("/records/emitted", |value| value == 1_000),
        ("/records/processed", |value| value == 2_000),
        ("/records/committed", |value| value == 1_000),
        ("/violations", |value| value == &Value::Array(vec![])),
        ("/situations/final checkpoint", is_whole),
        ("/durations/end_to_end/mean_ms", Value::is_number),
        ("/findings/0/judged", is_whole),
        ("/faults/inert", Value::is_array),
        ("/replay", Value::is_null),
    ] {
        let value = summary.pointer(place).unwrap_or_else(|| panic!("no {place} in {summary}"));
        assert!(holds(value), "{place} is {value}");
    }
}

#[test]
fn a_failing_run_ends_with_the_line_that_replays_it() {
    let directory = directory("failing");
    let case = failing_case(&directory);
    assert!(case.starts_with("cutline-out/liveness-stuck-"), "{case}");
    let replayed = cutline(&directory, &["replay", &case]).expect(11);
    assert!(replayed.out.contains("case         the same run, to the byte\n"), "{}", replayed.out);
    assert!(replayed.out.contains("violation    stuck [liveness] at "), "{}", replayed.out);
    assert_eq!(replayed.last_line(), format!("replay: cutline replay {case}"));

    let run = [&["run", "small.json", "--format", "json"], &IMPATIENT[..]].concat();
    let said = cutline(&directory, &run).expect(11);
    let violation = &said.json()["violations"][0];
    assert_eq!((&violation["check"], &violation["class"]), (&"liveness".into(), &"stuck".into()));
    assert!(violation["at_ms"].is_number() && violation["message"].is_string(), "{violation}");
    assert!(said.err.starts_with("replay: cutline replay cutline-out/"), "{}", said.err);
}

#[test]
fn out_takes_case_and_summary_of_any_run() {
    let directory = directory("out");
    let run = ["run", "small.json", "--out", "some where", "--format", "json"];
    let said = cutline(&directory, &run).expect(0);
    let summary = fs::read_to_string(directory.join("some where/summary.json"));
    assert_eq!(summary.expect("it is written"), said.out);
    let names = fs::read_dir(directory.join("some where")).expect("it is written");
    assert_eq!(names.count(), 2, "nothing but the two files is left");
    let replayed = cutline(&directory, &["replay", "some where/case.json", "--format", "json"]);
    let replayed = replayed.expect(0).json();
    assert_eq!(replayed["case"]["first_difference"], Value::Null);
    assert_eq!(replayed["digest"], said.json()["digest"]);

    let failing = [&["run", "small.json", "--out", "some where"], &IMPATIENT[..]].concat();
    let said = cutline(&directory, &failing).expect(11);
    assert_eq!(said.last_line(), "replay: cutline replay 'some where/case.json'");
}

#[test]
fn a_replay_that_diverges_says_where() {
    let directory = directory("diverged");
    let case = failing_case(&directory);
    let text = fs::read_to_string(directory.join(&case)).expect("the run wrote it");
    let write = |text: &str| fs::write(directory.join("other.json"), text).expect("it is ours");

    // Somebody's engine does one thing otherwise: here, it is another seed.
    write(&text.replace("\"seed\": 7", "\"seed\": 8"));
    let said = cutline(&directory, &["replay", "other.json"]).expect(12);
    assert!(
        said.out.contains("diverged     the first event that differs is among 0 to "),
        "{said:?}"
    );
    let said = cutline(&directory, &["replay", "other.json", "--format", "json"]).expect(12);
    assert_eq!(said.json()["case"]["first_difference"][0], 0);

    // Somebody's checks judge otherwise.
    write(&text.replace("the job does not end after its last record", "the job is not done"));
    let said = cutline(&directory, &["replay", "other.json"]).expect(12);
    assert!(
        said.out.contains("the same events, but liveness/stuck/the job is not done"),
        "{said:?}"
    );

    // A case that is changed on purpose is another run, and judged as such.
    let changed = ["replay", &case, "--set", "limits.settle=55 s"];
    let said = cutline(&directory, &changed).expect(0);
    assert!(said.out.contains("before it was changed; not compared"), "{}", said.out);

    write(&text.replace("\"version\": \"", "\"version\": \"9."));
    let said = cutline(&directory, &["replay", "other.json"]).expect(11);
    assert!(said.err.contains("is a case of cutline 9."), "{}", said.err);
}

#[test]
fn filters_choose_what_is_printed() {
    let directory = directory("filters");
    type Row<'a> = (&'a [&'a str], fn(&Value) -> bool);
    let rows: [Row<'_>; 4] = [
        (&["--subtask", "count[1]"], |line| line["subtask"] == "count[1]"),
        (&["--channel", "source[0]->count[1]"], |line| line["channel"] == "source[0]->count[1]"),
        (&["--checkpoint", "2", "--checkpoint", "3"], |line| {
            line["checkpoint"] == 2 || line["checkpoint"] == 3
        }),
        (&["--step", "A1", "--checkpoint", "2"], |line| {
            line["step"] == "A1" && line["checkpoint"] == 2
        }),
    ];
    for (filter, holds) in rows {
        for command in ["run", "show"] {
            let arguments = [&[command, "small.json", "--format", "jsonl"], filter].concat();
            let said = cutline(&directory, &arguments).expect(0);
            let lines = said.out.lines().map(|line| {
                serde_json::from_str::<Value>(line)
                    .unwrap_or_else(|error| panic!("{error}: {line}"))
            });
            let (summary, lines): (Vec<_>, Vec<_>) =
                lines.partition(|line| line["verdict"].is_string());
            assert_eq!(summary.len(), usize::from(command == "run"), "{arguments:?}");
            assert!(!lines.is_empty(), "{arguments:?}");
            for line in &lines {
                assert!(holds(line), "{arguments:?}: {line}");
            }
        }
    }
    let said = cutline(&directory, &["run", "small.json", "--step", "A2"]).expect(0);
    assert!(said.out.contains("step A2 1"), "{}", said.out);
    let said = cutline(&directory, &["show", "small.json", "--subtask", "cuont[1]"]).expect(2);
    assert_eq!(said.err, "error: the job has no subtask `cuont[1]`; did you mean `count[1]`?\n");
}

#[test]
fn show_draws_a_trace_from_wherever_it_comes() {
    let directory = directory("show");
    let trace = ["run", "small.json", "--seed", "7", "--format", "jsonl", "--out", "."];
    let trace = cutline(&directory, &trace).expect(0);
    fs::write(directory.join("trace.jsonl"), &trace.out).expect("it is ours");
    let case = "case.json";
    let drawn = cutline(&directory, &["show", case, "--checkpoint", "1"]).expect(0);
    for part in [
        "           ms    event  a b c d e f\n",
        "b: source[0]\n",
        "▲ │ │ │ │ │  triggers 1 (aligned)\n",
        "  barrier 1 of source[1]\n",
        "● │ │ │ │ │  1 completed\n",
    ] {
        assert!(drawn.out.contains(part), "{part} is not in\n{}", drawn.out);
    }
    assert!(!drawn.out.contains('\u{1b}'), "no colour where there is no terminal");
    let from_trace = cutline(&directory, &["show", "trace.jsonl", "--checkpoint", "1"]).expect(0);
    assert_eq!(from_trace, drawn);

    let records = ["show", "trace.jsonl", "--records", "--until", "100 ms"];
    let records = cutline(&directory, &records).expect(0);
    assert!(records.out.contains("sends source/0/0 to count["), "{}", records.out);
    let window = ["show", case, "--format", "jsonl", "--from", "300 ms", "--limit", "5"];
    let window = cutline(&directory, &window).expect(0);
    assert_eq!(window.out.lines().count(), 5);
    for line in window.out.lines() {
        let line: Value = serde_json::from_str(line).expect("every line is JSON");
        assert!(line["at_ms"].as_f64() >= Some(300.0) && line["n"].is_u64(), "{line}");
        assert!(
            trace
                .out
                .lines()
                .nth(line["n"].as_u64().expect("a number") as usize)
                .is_some_and(|same| serde_json::from_str::<Value>(same).ok() == Some(line))
        );
    }

    fs::write(directory.join("bad.jsonl"), "{\"n\":0}\n").expect("it is ours");
    let said = cutline(&directory, &["show", "bad.jsonl"]).expect(3);
    assert_eq!(said.err, "error: bad.jsonl:1: `at_ms` must be a time in milliseconds\n");
    cutline(&directory, &["show", "trace.jsonl", "--seed", "1"]).expect(2);
    cutline(&directory, &["show", case, "--seed", "1"]).expect(2);
}

#[test]
fn a_wide_terminal_gets_words_in_columns() {
    let directory = directory("width");
    let mut command = command(&directory, &["show", "small.json", "--checkpoint", "1"]);
    let wide = command.env("COLUMNS", "200").output().expect("the binary is built");
    let text = String::from_utf8(wide.stdout).expect("texts are UTF-8");
    let head = text.lines().next().expect("there is a head");
    for name in ["job manager", "source[0]", "count[1]", "sink[0]"] {
        assert!(head.contains(name), "{head}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 200), "{text}");
    assert!(text.lines().all(|line| line.trim_end() == line), "{text}");
}

#[test]
fn bad_input_ends_with_3_and_says_where() {
    let directory = directory("bad");
    let case = failing_case(&directory);
    let case = fs::read_to_string(directory.join(case)).expect("the run wrote it");
    for (name, text) in [
        ("mistakes.json", SMALL.replace("\"keys\"", "\"kees\"").replace("\"hash\"", "\"hsah\"")),
        ("cut.json", SMALL[..200].to_owned()),
        ("deep.json", "[".repeat(10_000)),
        ("cut-case.json", case[..case.len() / 2].to_owned()),
        ("new-case.json", case.replace("cutline-case/1", "cutline-case/7")),
    ] {
        fs::write(directory.join(name), text).expect("it is ours");
    }
    let rows: [(&[&str], &[&str]); 9] = [
        (&["run", "nowhere.json"], &["error: cannot read nowhere.json: "]),
        (
            &["run", "mistakes.json"],
            &["mistakes.json:7:", "`kees`", "did you mean `keys`?", "mistakes.json:12:", "`hsah`"],
        ),
        (&["check", "small.json", "mistakes.json"], &["`kees`", "`hsah`"]),
        (&["show", "cut.json"], &["cut.json:"]),
        (&["run", "deep.json"], &["deep.json:1:", "nested deeper"]),
        (
            &["run", "small.json", "--set", "limits.untl=1 s"],
            &["--set:1:8", "did you mean `until`?"],
        ),
        (&["replay", "cut-case.json"], &["cut-case.json:"]),
        (&["replay", "new-case.json"], &["does not read `cutline-case/7`"]),
        (&["replay", "small.json"], &["`cutline-scenario/1` is not the format of a case"]),
    ];
    for (arguments, parts) in rows {
        let said = cutline(&directory, arguments).expect(3);
        for part in parts {
            assert!(said.err.contains(part), "{arguments:?}: {part} is not in\n{}", said.err);
        }
        assert!(!said.err.contains("panicked"), "{}", said.err);
    }
}

#[test]
fn bad_usage_ends_with_2() {
    let directory = directory("usage");
    let rows: [&[&str]; 8] = [
        &[],
        &["rnu"],
        &["run"],
        &["run", "small.json", "--seed", "x"],
        &["run", "small.json", "--step", "T9"],
        &["run", "small.json", "--set", "limits"],
        &["run", "small.json", "--until", "soon"],
        &["check"],
    ];
    for arguments in rows {
        let said = cutline(&directory, arguments).expect(2);
        assert!(!said.err.is_empty() && said.out.is_empty(), "{arguments:?}: {said:?}");
    }
}

#[test]
fn strict_refuses_what_proves_nothing() {
    let directory = directory("strict");
    let fault = r#"faults=[{"at": "50 s", "kind": "crash_task", "target": "count[0]"}]"#;
    cutline(&directory, &["run", "small.json", "--strict"]).expect(0);
    cutline(&directory, &["run", "small.json", "--set", fault]).expect(0);
    let said = cutline(&directory, &["run", "small.json", "--set", fault, "--strict"]).expect(14);
    assert!(said.out.contains("faults[0] never struck: {"), "{}", said.out);
    assert!(said.err.ends_with("vacuous: faults[0] never struck\n"), "{}", said.err);
}

#[test]
fn a_run_without_the_events_it_needs_is_inconclusive() {
    let directory = directory("budget");
    let run = ["run", "small.json", "--set", "limits.events=500"];
    let said = cutline(&directory, &run).expect(20);
    assert!(said.out.contains("verdict      inconclusive"), "{}", said.out);
    let case = said.last_line().strip_prefix("replay: cutline replay ").expect("a line to paste");
    cutline(&directory, &["replay", case]).expect(20);
}

#[test]
fn until_ends_a_run() {
    let directory = directory("until");
    let run = ["run", "small.json", "--until", "500 ms", "--format", "json"];
    let said = cutline(&directory, &run).expect(0).json();
    assert_eq!((&said["end"], &said["job"]), (&"until".into(), &Value::Null));
    assert!(said["virtual_ms"].as_f64() <= Some(500.0), "{said}");
}

#[test]
fn check_names_good_files() {
    let directory = directory("check");
    let said = cutline(&directory, &["check", "small.json", "small.json"]).expect(0);
    assert_eq!(said.out, "small.json: ok\nsmall.json: ok\n");
}

#[test]
fn conform_sums_files_up() {
    let directory = directory("conform");
    let vectors = root().join("tests/vectors");
    let barrier = fs::read_to_string(vectors.join("barrier/flink.jsonl")).expect("committed");
    let failures = vectors.join("coordinator/failure_manager.flink.jsonl");
    let failures = fs::read_to_string(failures).expect("committed");
    fs::write(directory.join("barrier.jsonl"), &barrier).expect("it is ours");
    fs::write(directory.join("failures.jsonl"), &failures).expect("it is ours");
    let both = ["conform", "barrier.jsonl", "failures.jsonl"];
    let said = cutline(&directory, &both).expect(0);
    assert!(
        said.out.contains("      3 cases       3 passed       0 failed  failures.jsonl\n"),
        "{said:?}"
    );
    assert!(said.out.ends_with("  in all\n"), "{}", said.out);
    let said = cutline(&directory, &[&both[..], &["--format", "json"]].concat()).expect(0).json();
    let sum = said["files"][0]["cases"].as_u64().expect("a number") + 3;
    assert_eq!((said["cases"].as_u64(), said["passed"].as_u64()), (Some(sum), Some(sum)));
    assert_eq!((&said["failed"], &said["differences"]), (&0.into(), &Value::Array(vec![])));

    // Somebody's Flink counts one failure less.
    let other = failures.replacen("{\"counter\":2}", "{\"counter\":1}", 1);
    fs::write(directory.join("other.jsonl"), other).expect("it is ours");
    let said = cutline(&directory, &["conform", "other.jsonl"]).expect(10);
    for part in ["  1 failed  other.jsonl", "expected {\"counter\":1}", "actual   {\"counter\":2}"]
    {
        assert!(said.out.contains(part), "{part} is not in\n{}", said.out);
    }
    let malformed = barrier.lines().next().expect("there is a header").to_owned() + "\n{]\n";
    fs::write(directory.join("malformed.jsonl"), malformed).expect("it is ours");
    let said = cutline(&directory, &["conform", "malformed.jsonl", "barrier.jsonl"]).expect(3);
    assert!(said.err.contains("malformed.jsonl:"), "{}", said.err);
    assert!(said.out.contains("  barrier.jsonl\n"), "the other file is still run: {}", said.out);
}

#[test]
fn schema_completions_version_and_help() {
    let directory = directory("words");
    let schema = cutline(&directory, &["schema"]).expect(0).json();
    assert!(schema["$schema"].is_string() && schema["properties"]["job"].is_object(), "{schema}");
    let script = cutline(&directory, &["completions", "bash"]).expect(0);
    assert!(script.out.contains("_cutline()"), "{}", script.out);
    let version = cutline(&directory, &["--version"]).expect(0);
    assert_eq!(version.out, format!("cutline {}\n", env!("CARGO_PKG_VERSION")));
    let help = cutline(&directory, &["--help"]).expect(0);
    for part in ["Examples:", "cutline run scenarios/quickstart.json", "Exit codes:", "conform"] {
        assert!(help.out.contains(part), "{}", help.out);
    }
}

#[test]
fn a_campaign_is_the_same_on_any_number_of_threads() {
    let here = directory("campaign");
    let campaign = |threads| {
        let arguments = ["campaign", "--seeds", "0..60", "--threads", threads, "--format", "json"];
        cutline(&here, &arguments).expect(0)
    };
    let one = campaign("1");
    assert_eq!(one.out, campaign("3").out);
    let summary = one.json();
    assert_eq!(summary["verdict"], "ok");
    assert_eq!(summary["runs"], 60);
    assert!(summary["checkpoints"]["completed"].as_u64() > Some(500), "{summary}");
    assert!(summary["features"]["operator: join"].as_u64() > Some(0), "{summary}");
    let text = cutline(&here, &["campaign", "--seeds", "3..5"]).expect(0);
    assert_eq!(text.last_line(), "all checks hold");
    cutline(&here, &["campaign", "--seeds", "5..5"]).expect(2);
    cutline(&here, &["campaign", "--seeds", "five"]).expect(2);
    // Two scenarios cannot have everything.
    cutline(&here, &["campaign", "--seeds", "3..5", "--strict"]).expect(14);
}
