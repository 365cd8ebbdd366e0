//! `cutline sweep`, end to end: files, exit codes, interruption, partitions, threads.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::Value;

use crate::support::{self, Said, read, run};

/// Fails every 20 s on average; a run takes milliseconds.
const SMALL: &str = r#"{
  "format": "cutline-scenario/1",
  "title": "A small job that fails",
  "why": "Tests of sweeps want many failures in a short time.",
  "job": {
    "operators": [
      { "name": "source", "kind": "source", "splits": 1, "every": "20 ms", "keys": 10, "cost": "8 ms" },
      { "name": "sink", "kind": "two_phase_commit_sink", "sync_cost": "20 ms" }
    ],
    "edges": [{ "from": "source", "to": "sink" }]
  },
  "checkpointing": { "interval": "1 s", "tolerable_failures": 1000 },
  "restart": { "type": "fixed_delay", "attempts": 100000, "delay": "500 ms" },
  "cluster": { "process_restart": "500 ms" },
  "failures": { "law": "exponential", "mtbf": "20 s", "target": "task" },
  "limits": { "until": "2 min" }
}
"#;

const VARY: [&str; 4] = ["--vary", "interval=500ms..4s:log:4", "--repeat", "6"];

/// A fresh directory with `small.json` in it.
fn directory(name: &str) -> PathBuf {
    let path = support::directory(&format!("sweep/{name}"));
    fs::write(path.join("small.json"), SMALL).expect("the directory is there");
    path
}

fn sweep(directory: &Path, arguments: &[&str], code: i32) -> Said {
    run(directory, &[&["sweep", "small.json"], arguments].concat()).expect(code)
}

/// Names of all files of a directory.
fn files(directory: &Path, out: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(directory.join(out)).expect("the sweep has made it");
    let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("names are text");
    entries.map(|entry| name(entry.expect("it can be read"))).collect()
}

fn assert_same(directory: &Path, one: &str, other: &str) {
    let names = files(directory, one);
    assert_eq!(names, files(directory, other));
    assert!(names.contains("report.html") && names.contains("lost-work.svg"), "{names:?}");
    for name in names {
        let [one, other] = [one, other].map(|out| read(directory, &format!("{out}/{name}")));
        assert_eq!(one, other, "{name}");
    }
}

/// The texts of a document, which must be well-formed XML: pictures are, and the page is too.
fn texts(document: &str) -> Vec<String> {
    let mut reader = Reader::from_str(document);
    let (mut texts, mut text, mut depth) = (Vec::new(), String::new(), 0);
    loop {
        let event = reader.read_event().unwrap_or_else(|error| panic!("{error}: {document}"));
        match &event {
            Event::Text(part) => text += std::str::from_utf8(part).expect("UTF-8"),
            Event::GeneralRef(of) => match of.resolve_char_ref().expect("a character") {
                Some(character) => text.push(character),
                None => text.push(match &of[..] {
                    b"lt" => '<',
                    b"gt" => '>',
                    b"amp" => '&',
                    b"quot" => '"',
                    b"apos" => '\'',
                    other => panic!("no entity of XML: {other:?}"),
                }),
            },
            Event::Start(_) => depth += 1,
            Event::End(_) => depth -= 1,
            _ => {}
        }
        if !matches!(event, Event::Text(_) | Event::GeneralRef(_)) {
            texts.extend(Some(text.trim().to_owned()).filter(|text| !text.is_empty()));
            text.clear();
        }
        if matches!(event, Event::Eof) {
            break;
        }
    }
    assert_eq!(depth, 0, "a tag is open at the end");
    texts
}

#[test]
fn every_sweep_has_pictures_and_a_page() {
    let directory = directory("pictures");
    let goal = ["--goal", "recovery.mean<=1min", "--price", "0.005,0.0004,0.023", "--out", "out"];
    sweep(&directory, &[&VARY[..], &goal].concat(), 0);
    let pictures = [
        ("recovery", "Recovery time"),
        ("lost-work", "Lost work"),
        ("overhead", "Overhead of checkpoints"),
        ("latency", "Latency until a sink has a record"),
        ("commit-latency", "Latency until the outside sees a record"),
        ("duration", "Duration of a checkpoint"),
        ("storage", "Bytes stored"),
        ("requests", "Requests to the object store"),
        ("price", "Price of requests and storage in a month"),
    ];
    let mut expected: BTreeSet<String> =
        ["results.jsonl", "points.csv", "summary.json", "summary.txt", "report.html"]
            .map(str::to_owned)
            .into();
    expected.extend(pictures.map(|(name, _)| format!("{name}.svg")));
    assert_eq!(files(&directory, "out"), expected);
    let page = read(&directory, "out/report.html");
    let said = texts(&page);
    for (name, title) in pictures {
        let picture = read(&directory, &format!("out/{name}.svg"));
        let words = texts(&picture);
        assert!(words[0].starts_with(title), "{name}: {words:?}");
        // Ticks that people say, and the axis.
        for expected in ["500 ms", "1 s", "2 s", "interval"] {
            assert!(words.iter().any(|word| word == expected), "{name}, {expected}: {words:?}");
        }
        assert!(page.contains(&picture), "the page has {name}");
    }
    let of = |name: &str| texts(&read(&directory, &format!("out/{name}.svg")));
    assert!(of("recovery").contains(&"goal recovery.mean<=1min".to_owned()));
    for expected in ["simulated", "closed form"] {
        assert!(of("lost-work").contains(&expected.to_owned()), "{expected}");
    }
    assert!(of("lost-work").iter().any(|it| it.starts_with("optimum of the closed form: ")));
    assert!(of("lost-work").iter().any(|it| it.contains("(measured); M 20.0 s (declared)")));
    for expected in [
        "A small job that fails",
        "execution.checkpointing.interval: ",
        "uploads do not slow down the processing of records",
        "cutline sweep small.json --vary interval=500ms..4s:log:4 --repeat 6 \
         --goal 'recovery.mean<=1min' --minimise lost_work --price 0.005,0.0004,0.023",
        "time not lost",
    ] {
        assert!(said.iter().any(|text| text.contains(expected)), "{expected}: {said:?}");
    }
    for medium in ["screen and (prefers-color-scheme: dark)", "@media print"] {
        assert!(page.contains(medium), "{medium}");
    }
    // No network, no path, no time of day.
    let page = page.replace("http://www.w3.org/2000/svg", "");
    let here = directory.to_str().expect("a path of ours is text");
    for unwanted in ["http", "src=", "href=", "url(", "import", "<script", here, "/home", "/tmp"] {
        assert!(!page.contains(unwanted), "{unwanted}");
    }
}

#[test]
fn closed_forms_stand_beside_the_points() {
    let directory = directory("forms");
    let said = sweep(&directory, &[&VARY[..], &["--out", "out"]].concat(), 0);
    assert!(said.out.contains("  closed form  "), "{}", said.out);
    assert!(said.out.contains("\nclosed form: c 20.1 ms, d "), "{}", said.out);
    let summary: Value = serde_json::from_str(&read(&directory, "out/summary.json")).expect("JSON");
    let form = &summary["closed_forms"][0];
    assert_eq!(form["points"], serde_json::json!([0, 1, 2, 3]));
    assert_eq!(form["parameters"]["mtbf_s"]["origin"], "declared");
    // 20 ms at the sink; some of it is of checkpoints that a failure prevented from completing.
    let cost = form["parameters"]["checkpoint_cost_s"]["value"].as_f64().expect("it");
    assert!((cost / 0.02 - 1.0).abs() < 0.01, "{cost}");
    // Young: the root of 2 times 20 ms times 20 s.
    assert!((form["best_interval"]["young_s"].as_f64().expect("it") - 0.894).abs() < 1e-2);
    for point in summary["points"].as_array().expect("points") {
        for (column, within) in
            [("lost_work_share", 0.3), ("overhead_share", 0.05), ("replay_mean_s", 0.3)]
        {
            let figure = &point["metrics"][column];
            let [simulated, form] =
                ["value", "closed_form"].map(|key| figure[key].as_f64().expect("both are there"));
            assert!((simulated / form - 1.0).abs() < within, "{column}: {simulated} and {form}");
        }
    }
    let csv = read(&directory, "out/points.csv");
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next().expect("a head");
    for column in ["lost_work_share_closed_form", "recovery_p99_s_closed_form"] {
        let at = head.iter().position(|name| *name == column).expect(column);
        assert!(lines.clone().all(|line| line[at].parse::<f64>().is_ok_and(|it| it > 0.0)));
    }
    assert!(!csv.contains("latency_p99_s_closed_form"), "there is no form of that");
}

#[test]
fn pictures_without_an_interval_and_with_several_series() {
    let directory = directory("bars");
    let few = ["--repeat", "2", "--out"];
    let names = ["--vary", "unaligned=false,true"];
    sweep(&directory, &[&names[..], &few, &["names"]].concat(), 0);
    let words = texts(&read(&directory, "names/overhead.svg"));
    for expected in ["false", "true", "unaligned", "0"] {
        assert!(words.iter().any(|word| word == expected), "{expected}: {words:?}");
    }
    let series = ["--vary", "interval=1s,3s", "--vary", "unaligned=false,true"];
    sweep(&directory, &[&series[..], &few, &["series"]].concat(), 0);
    let words = texts(&read(&directory, "series/recovery.svg"));
    for expected in ["unaligned false", "unaligned true", "closed forms", "Recovery time (mean)"] {
        assert!(words.iter().any(|word| word == expected), "{expected}: {words:?}");
    }
    // One value of one axis is a sweep, too; nothing fails, and nothing is drawn of failures.
    let one = ["--vary", "interval=1s", "--set", "failures.mtbf=1000 d"];
    sweep(&directory, &[&one[..], &few, &["one"]].concat(), 0);
    let names = files(&directory, "one");
    assert!(names.contains("overhead.svg") && !names.contains("recovery.svg"), "{names:?}");
    texts(&read(&directory, "one/report.html"));
}

#[test]
fn a_sweep_finds_where_the_least_is_lost() {
    let directory = directory("best");
    let said = sweep(&directory, &[&VARY[..], &["--out", "out"]].concat(), 0);
    for expected in [
        "execution.checkpointing.interval: ",
        "how sure",
        "not modelled",
        "with 4 times the failures",
        "files: out/",
    ] {
        assert!(said.out.contains(expected), "{expected}: {}", said.out);
    }
    let summary: Value = serde_json::from_str(&read(&directory, "out/summary.json")).expect("JSON");
    assert_eq!(summary["answer"], "best");
    let points = summary["points"].as_array().expect("points");
    assert_eq!(points.len(), 4);
    let value = |point: &Value, name: &str| point["metrics"][name]["value"].as_f64().expect("it");
    // More often costs more in the steady state, more rarely loses more at a failure.
    for pair in points.windows(2) {
        assert!(value(&pair[0], "overhead_share") > value(&pair[1], "overhead_share"));
        assert!(value(&pair[0], "replay_mean_s") < value(&pair[1], "replay_mean_s"));
    }
    // Common random numbers: all points have seen the same failures.
    let failures: Vec<&Value> = points.iter().map(|point| &point["failures"]).collect();
    assert!(failures.iter().all(|it| *it == failures[0]), "{failures:?}");
    let csv = read(&directory, "out/points.csv");
    let head = csv.lines().next().expect("a head");
    assert!(head.starts_with("point,interval,interval_s,runs,failures,"), "{head}");
    assert!(head.contains(",recovery_p99_s,recovery_p99_s_low,recovery_p99_s_high,"), "{head}");
    assert_eq!(csv.lines().count(), 5);
    assert_eq!(read(&directory, "out/results.jsonl").lines().count(), 1 + 4 * 6);
}

#[test]
fn threads_change_nothing() {
    let directory = directory("threads");
    let one = sweep(&directory, &[&VARY[..], &["--threads", "1", "--out", "one"]].concat(), 0);
    let four = sweep(&directory, &[&VARY[..], &["--threads", "4", "--out", "four"]].concat(), 0);
    assert_eq!(one.out.replace("one/", "four/"), four.out);
    assert_same(&directory, "one", "four");
}

#[test]
fn an_interrupted_sweep_goes_on_where_it_was() {
    let directory = directory("resume");
    sweep(&directory, &[&VARY[..], &["--out", "whole"]].concat(), 0);
    let results = read(&directory, "whole/results.jsonl");
    // A kill in the middle of a line.
    let cut = results.len() / 2;
    fs::create_dir(directory.join("cut")).expect("a fresh directory");
    fs::write(directory.join("cut/results.jsonl"), &results[..cut]).expect("it can be written");
    let said = sweep(&directory, &[&VARY[..], &["--out", "cut"]].concat(), 2);
    assert!(said.err.contains("--resume goes on with it"), "{}", said.err);
    sweep(&directory, &[&VARY[..], &["--out", "cut", "--resume"]].concat(), 0);
    assert_same(&directory, "whole", "cut");
    let other = ["--vary", "interval=500ms..4s:log:5", "--out", "cut", "--resume"];
    let said = sweep(&directory, &other, 3);
    assert!(said.err.contains("of another sweep"), "{}", said.err);
}

#[test]
fn partitions_make_the_whole() {
    let directory = directory("partitions");
    let precise = ["--precision", "20%", "--repeat", "30", VARY[0], VARY[1]];
    sweep(&directory, &[&precise[..], &["--out", "whole"]].concat(), 0);
    for part in ["2/3", "1/3", "3/3"] {
        let out = format!("part-{}", &part[..1]);
        sweep(&directory, &[&precise[..], &["--partition", part, "--out", &out]].concat(), 0);
    }
    let parts = ["part-3", "part-1", "part-2"].map(|part| format!("{part}/results.jsonl"));
    let take: Vec<&str> = parts.iter().flat_map(|part| ["--take", part]).collect();
    sweep(&directory, &[&precise[..], &take, &["--out", "merged"]].concat(), 0);
    assert_same(&directory, "whole", "merged");
    let repeats = read(&directory, "whole/results.jsonl").lines().count() - 1;
    assert!(repeats < 4 * 30, "no point was precise enough before the last repeat");
}

#[test]
fn goals_and_their_exit_codes() {
    let directory = directory("goals");
    let with = |goal: &'static str, out: &'static str, more: &[&'static str], code| {
        let arguments = [&VARY[..], &["--goal", goal, "--out", out], more].concat();
        sweep(&directory, &arguments, code)
    };
    let kept = with("recovery.mean<=1min", "kept", &[], 0);
    assert!(kept.out.contains("recovery.mean<=1min is kept"), "{}", kept.out);
    let missed = with("recovery.mean<=10ms", "missed", &[], 13);
    assert!(missed.out.contains("no point keeps recovery.mean<=10ms"), "{}", missed.out);
    let few = with("recovery.p99<=1min", "few", &[], 20);
    assert!(few.out.contains("it takes 368 at each point"), "{}", few.out);
    let none = with("recovery.p50<=1min", "none", &["--mtbf", "1000 d"], 20);
    assert!(none.out.contains("nothing failed"), "{}", none.out);
}

#[test]
fn mistakes_are_named() {
    let directory = directory("mistakes");
    for (arguments, code, expected) in [
        (&["--vary", "intervall=1s,2s"][..], 2, "did you mean `interval`?"),
        (&["--vary", "interval=9s..1s:log:3"], 2, "there is nothing from 9s to 1s"),
        (&["--vary", "interval=1s", "--vary", "interval=2s"], 2, "varied twice"),
        (&["--vary", "interval=1s", "--goal", "recovery<=10gb"], 2, "a time such as"),
        (&["--vary", "interval=1s", "--minimise", "lost_wrok"], 2, "did you mean `lost_work`?"),
        (&["--vary", "interval=1s", "--partition", "4/3"], 2, "a part such as 2/4"),
        (&["--vary", "checkpointing.intervall=1s,2s"], 3, "did you mean `interval`?"),
        (&["--vary", "interval=1s,soon"], 3, "soon"),
        (&["--vary", "interval=1s", "--mtbf", "1 ms"], 3, "failures are expected"),
        (&["--vary", "interval=1s", "--take", "none.jsonl"], 3, "cannot read none.jsonl"),
    ] {
        let said = sweep(&directory, arguments, code);
        assert_eq!(said.code, code);
        assert!(said.err.contains(expected), "{arguments:?}: {}", said.err);
        assert!(!directory.join("cutline-out/sweep/results.jsonl").exists(), "{arguments:?}");
    }
}

#[test]
fn a_run_that_breaks_a_promise_is_no_result() {
    let directory = directory("broken");
    let late = ["--set", "limits.settle=10 ms", "--out", "out"];
    let said = sweep(&directory, &[&VARY[..], &late].concat(), 11);
    assert!(said.err.contains("runs do not count"), "{}", said.err);
    assert!(said.err.contains("replay: cutline run small.json --set "), "{}", said.err);
}

#[test]
fn the_failures_of_a_run_are_in_its_case() {
    let directory = directory("case");
    let said = run(&directory, &["run", "small.json", "--seed", "3", "--out", "run"]).expect(0);
    let case: Value = serde_json::from_str(&read(&directory, "run/case.json")).expect("JSON");
    let faults = case["scenario"]["faults"].as_array().expect("faults");
    assert!(faults.len() > 2 && faults.iter().all(|it| it["kind"] == "crash_task"), "{faults:?}");
    assert!(case["scenario"].get("failures").is_none(), "they are drawn already");
    let again = run(&directory, &["replay", "run/case.json"]).expect(0);
    again.has("the same run, to the byte");
    let digest = |said: &Said| {
        let line = said.out.lines().find(|line| line.starts_with("digest")).expect("a digest");
        line.to_owned()
    };
    assert_eq!(digest(&said), digest(&again));
}
