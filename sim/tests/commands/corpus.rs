//! `cutline corpus`: what is kept, and when it says that something differs.

use std::fs;

use crate::support::{cutline, directory, read};

const QUICKSTART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/quickstart.json");

#[test]
fn a_case_is_kept_with_its_verdict() {
    let here = directory("corpus");
    let late = format!("run {QUICKSTART} --set limits.settle=100ms --out late");
    cutline(&here, &late).expect(11);
    let said = cutline(&here, "corpus add late/case.json --name late --dir kept").expect(0);
    said.has("kept/late.json: expected from now on: liveness: liveness/stuck/");
    assert_eq!(read(&here, "kept/late.json"), read(&here, "late/case.json"));
    cutline(&here, "corpus run kept").expect(0).has("1 file, none differs\n");

    cutline(&here, "corpus add late/case.json --name late --dir kept").expect(2);
    cutline(&here, "corpus add late/case.json --name ../late --dir kept").expect(2);
    cutline(&here, "corpus add late/case.json --name late --dir kept --replace").expect(0);
    assert_eq!(read(&here, "kept/late.json"), read(&here, "late/case.json"));
}

#[test]
fn what_differs_is_said() {
    let here = directory("corpus-differs");
    fs::create_dir(here.join("kept")).expect("it is ours");
    fs::copy(QUICKSTART, here.join("kept/good.json")).expect("part of the repository");
    let said = cutline(&here, "corpus run kept").expect(0);
    said.has("ok       kept/good.json: ok with seeds 0..16\n");

    // A bug that is mended, as far as the case can tell: its bound is wide enough now.
    cutline(&here, &format!("run {QUICKSTART} --set limits.settle=100ms --out late")).expect(11);
    let text = read(&here, "late/case.json");
    let mended = text.replace("\"settle\": \"100 ms\"", "\"settle\": \"30 s\"");
    assert_ne!(text, mended);
    fs::write(here.join("kept/late.json"), &mended).expect("it is ours");
    let said = cutline(&here, "corpus run kept").expect(10);
    said.has("differs  kept/late.json: liveness: liveness/stuck/").has(", now ok\n");
    said.has("2 files, 1 differs\n");
    let json = cutline(&here, "corpus run kept --format json").expect(10).json();
    assert_eq!((&json["differ"], &json["files"][1]["differs"]), (&1.into(), &"ok".into()));
    let said = cutline(&here, "corpus add kept/late.json --dir kept --replace").expect(0);
    said.has("expected from now on: ok\n").complains("that has changed");
    cutline(&here, "corpus run kept").expect(0);

    // A scenario whose fault never strikes guards nothing.
    let idle = fs::read_to_string(QUICKSTART).expect("part of the repository");
    let idle = idle.replace("\"checkpoint\": 3", "\"checkpoint\": 3000");
    fs::write(here.join("kept/idle.json"), idle).expect("it is ours");
    cutline(&here, "corpus run kept").expect(10).has("seed 0: faults[0] never struck\n");
}

#[test]
fn a_corpus_must_be_there() {
    let here = directory("corpus-missing");
    cutline(&here, "corpus run nowhere").expect(3).complains("cannot read nowhere");
    fs::create_dir(here.join("empty")).expect("it is ours");
    cutline(&here, "corpus run empty").expect(3).complains("empty has no scenarios and no cases");
    fs::write(here.join("empty/bad.json"), "{}").expect("it is ours");
    cutline(&here, "corpus run empty").expect(3).complains("empty/bad.json:1");
    cutline(&here, &format!("corpus add {QUICKSTART} --dir kept")).expect(3);
    assert!(!here.join("kept").exists());
}
