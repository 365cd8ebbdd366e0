//! `cutline init`: a first scenario.

use std::fs;
use std::path::Path;

use crate::support::{cutline, directory, read};
use cutline_sim::scenario::Scenario;
use cutline_sim::scenario::load;
use cutline_sim::scenario::model::OperatorKind;

fn scenario(here: &Path, name: &str) -> Scenario {
    let text = read(here, name);
    load(text.as_bytes(), name, &[]).unwrap_or_else(|found| panic!("{found}")).scenario
}

#[test]
fn a_few_answers_make_a_scenario_that_runs() {
    let here = directory("init-answers");
    let line = "init job.json --rate 20000/s --load 60% --parallelism 4 --state 4gb --record-size 200b \
                --interval 10s --sink transactional --title Orders";
    let said = cutline(&here, line).expect(0);
    said.has("job.json: 3 operators, 12 subtasks").has("next: cutline run job.json");
    said.has("a source, an operator with keyed state, a sink");
    let made = scenario(&here, "job.json");
    assert_eq!(made.title, "Orders");
    assert_eq!(made.checkpointing.interval.map(|span| span.as_millis()), Some(10_000));
    let operators = &made.job.operators;
    let OperatorKind::Source(source) = &operators[0].kind else { panic!("{operators:?}") };
    // What the sources bring, in real records.
    let per_s = f64::from(source.splits * source.weight) / (source.every.as_nanos() as f64 / 1e9);
    assert!((per_s / 20_000.0 - 1.0).abs() < 0.01, "{per_s}");
    let state = operators[1].state_per_key * u64::from(source.keys);
    assert!(state.abs_diff(4 << 30) < 1 << 20, "{state}");
    assert_eq!(operators[2].kind, OperatorKind::TwoPhaseCommitSink);
    let run = cutline(&here, "run job.json --set limits.until=1min --format json").expect(0).json();
    assert!(run["checkpoints"]["completed"].as_u64() >= Some(3), "{run:#}");
}

#[test]
fn a_plan_makes_a_scenario_and_what_it_does_not_say_is_named() {
    let here = directory("init-plan");
    let plan = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/flink-2.3/plan.json");
    fs::copy(plan, here.join("plan.json")).expect("writable");
    let said = cutline(&here, "init job.json --from-plan plan.json").expect(0);
    let made = scenario(&here, "job.json");
    let names: Vec<&str> = made.job.operators.iter().map(|of| of.name.as_str()).collect();
    assert_eq!(names, ["src", "parse", "count", "enrich-tap-sink-Writer"]);
    assert_eq!(made.job.operators[2].kind, OperatorKind::KeyedAggregate);
    for part in
        ["1000 records a second", "how `enrich-tap-sink-Writer` writes", "100 bytes", "every 1 min"]
    {
        said.has(part);
        assert!(made.why.contains(part), "{part} is not in {}", made.why);
    }
}

#[test]
fn nothing_is_overwritten_and_bad_answers_are_refused() {
    let here = directory("init-refused");
    fs::write(here.join("there.json"), "mine").expect("writable");
    cutline(&here, "init there.json").expect(2).complains("--force");
    assert_eq!(read(&here, "there.json"), "mine");
    cutline(&here, "init there.json --force").expect(0);
    assert_ne!(read(&here, "there.json"), "mine");
    fs::write(
        here.join("bad.json"),
        r#"{"plan": {"nodes": [{"id": "a", "parallelism": 1, "inputs": [{"id": "b"}]}]}}"#,
    )
    .expect("writable");
    fs::write(here.join("batch.json"), r#"{"plan": {"type": "BATCH", "nodes": []}}"#)
        .expect("writable");
    for (line, code, part) in [
        ("init", 2, "<FILE>"),
        ("init x.json --from-plan nowhere.json", 3, "cannot read nowhere.json"),
        ("init x.json --from-plan there.json", 3, "expected the answer to /jobs/:jobid/plan"),
        ("init x.json --from-plan bad.json", 3, "no node has that id"),
        ("init x.json --from-plan batch.json", 3, "only STREAMING jobs"),
        ("init x.json --from-plan bad.json --parallelism 3", 2, "--parallelism"),
        ("init x.json --rate fast", 2, "10000/s"),
        ("init x.json --interval 1ms", 2, "10 ms"),
        ("init x.json --parallelism 0", 2, "32768"),
        ("init x.json --state much", 2, "--state"),
        ("init x.json --load -1", 2, ""),
    ] {
        cutline(&here, line).expect(code).complains(part);
        assert!(!here.join("x.json").exists(), "{line}");
    }
}
