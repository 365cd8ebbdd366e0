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
    said.complains("a source, an operator with keyed state, a sink");
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
    for part in [
        "job.operators[src].every = 50 ms (so that each subtask brings 1000 records a second",
        "job.operators[src].record_size = 100 b",
        "job.operators[count].cost = 500 µs",
        "job.operators[src, parse, enrich-tap-sink-Writer].cost = 250 µs",
        "job.operators[count].state_per_key = 0 b",
        "job.operators[count].kind = keyed_aggregate",
        "job.operators[parse].kind = map",
        "job.operators[enrich-tap-sink-Writer] stands for the whole chain of this vertex: that it \
         has `enrich`, `tap`",
        "job.operators[enrich-tap-sink-Writer].kind = at_least_once_sink (how \
         `enrich-tap-sink-Writer` writes",
        "job.operators[src].splits = 2",
        "job.operators[src].keys = 400",
        "job.operators[src].key_run = 1",
        "job.operators[src].weight = 50",
        "job.operators[src].records = none",
        "job.operators[src].out_of_orderness = none",
        "job.operators[src, parse, count, enrich-tap-sink-Writer]: max_parallelism = 128, \
         sync_cost = 1 ms",
        "checkpointing.interval = 1 min",
        "checkpointing: aligned_timeout = 0 ms, ",
        "mode = exactly_once",
        "task_managers = 2",
        "network: bandwidth = 1 gb/s, ",
        "storage: attempts = 5, ",
        "restart: initial = 1 s, ",
        "limits: events = 50000000, settle = 2 min, until = 10 min",
        "actions, failures, faults = none",
    ] {
        said.complains(part);
        assert!(made.why.contains(part), "{part} is not in {}", made.why);
    }
    // What is named is what is there: a field that the user fills in is named no more.
    let said = "init job.json --force --from-plan plan.json --rate 100/s --load 10% --state 1gb \
                --interval 5s --record-size 1kb --sink idempotent";
    let said = cutline(&here, said).expect(0);
    for part in [".every =", ".record_size =", "checkpointing.interval =", "how `"] {
        assert!(!said.err.contains(part), "{part} is in\n{}", said.err);
    }
    said.complains("state_per_key = 2684354 b (the state is spread evenly over the keys)");
}

fn node(id: &str, parallelism: u32, description: &str, inputs: &[(&str, &str)]) -> String {
    let input = |(number, (from, strategy)): (usize, &(&str, &str))| {
        format!(
            r#"{{"num":{number},"id":"{from}","ship_strategy":"{strategy}","exchange":"pipelined_bounded"}}"#
        )
    };
    let inputs: Vec<String> = inputs.iter().enumerate().map(input).collect();
    format!(
        r#"{{"id":"{id}","parallelism":{parallelism},"operator":"","operator_strategy":"","description":"{description}","inputs":[{}],"optimizer_properties":{{}}}}"#,
        inputs.join(",")
    )
}

/// As Flink writes them: the tree of each chain in HTML, exchanges by the names of partitioners.
#[test]
fn drafts_of_all_kinds_of_plans_are_checked_and_run() {
    let here = directory("init-plans");
    let tree = "Source: in<br/>:- Filter<br/>:  +- Sink: a: Writer<br/>:     +- Sink: a: Committer<br/>+- Map<br/>   +- Sink: b: Writer<br/>";
    let plans: [(&str, Vec<String>, &str); 6] = [
        ("one", vec![node("1", 3, tree, &[])], "that it has `Filter`, `Map`, `Sink: b: Writer`"),
        (
            "stateless",
            vec![
                node("1", 2, "Source: k<br/>", &[]),
                node("2", 4, "Filter<br/>", &[("1", "REBALANCE")]),
                node("3", 3, "Flat Map -&gt; Filter", &[("2", "RESCALE")]),
                node("4", 1, "Sink: Writer<br/>+- Sink: Committer<br/>", &[("3", "GLOBAL")]),
            ],
            "is GLOBAL, which a scenario does not have",
        ),
        (
            "sql",
            vec![
                node(
                    "1",
                    2,
                    "[1]:TableSourceScan(table=[[c, d, orders]], fields=[id])<br/>+- [2]:Calc(select=[id], where=[(id &gt; 5)])<br/>",
                    &[],
                ),
                node("2", 2, "[3]:TableSourceScan(table=[[c, d, users]], fields=[id])<br/>", &[]),
                node(
                    "3",
                    4,
                    "[5]:Join(joinType=[InnerJoin])<br/>",
                    &[("1", "HASH"), ("2", "HASH")],
                ),
                node(
                    "4",
                    4,
                    "[8]:GroupAggregate(groupBy=[id])<br/>+- [9]:Sink(table=[c.d.s])<br/>",
                    &[("3", "HASH")],
                ),
            ],
            "job.operators[TableSourceScan] lets all records pass here",
        ),
        (
            "connected",
            vec![
                node("1", 2, "Source: a<br/>", &[]),
                node("2", 2, "Source: b<br/>", &[]),
                node("3", 2, "Process<br/>", &[("1", "HASH"), ("2", "HASH")]),
                node(
                    "4",
                    2,
                    "Co-Process-Broadcast-Keyed<br/>",
                    &[("3", "HASH"), ("1", "BROADCAST")],
                ),
                node("5", 1, "Sink: out<br/>", &[("4", "REBALANCE")]),
            ],
            "job.operators[Process].kind = keyed_aggregate (its 2 inputs come by key",
        ),
        (
            "self-join",
            vec![
                node("1", 2, "Source: in<br/>", &[]),
                node("2", 2, "Interval Join<br/>", &[("1", "HASH"), ("1", "HASH")]),
                node("3", 2, "Sink: x<br/>", &[("2", "SHUFFLE")]),
                node("4", 2, "Sink: y<br/>", &[("2", "CUSTOM")]),
            ],
            "is SHUFFLE, which a scenario does not have",
        ),
        (
            "windows",
            vec![
                node("1", 2, "Source: in<br/>+- Timestamps/Watermarks<br/>", &[]),
                node(
                    "2",
                    2,
                    "Window(TumblingEventTimeWindows(5000), EventTimeTrigger)<br/>",
                    &[("1", "HASH")],
                ),
                node("3", 2, "async wait operator<br/>", &[("2", "FORWARD")]),
                node("4", 2, "Sink: Writer<br/>", &[("3", "FORWARD")]),
                node("5", 1, "Sink: Committer<br/>", &[("4", "REBALANCE")]),
            ],
            "has no window here",
        ),
    ];
    for (name, nodes, named) in plans {
        let plan = format!(
            r#"{{"plan":{{"jid":"0","name":"{name}","type":"STREAMING","nodes":[{}]}}}}"#,
            nodes.join(",")
        );
        fs::write(here.join("plan.json"), plan).expect("writable");
        let said = cutline(&here, &format!("init {name}.json --from-plan plan.json")).expect(0);
        said.complains(named);
        assert!(scenario(&here, &format!("{name}.json")).why.contains(named), "{name}");
        cutline(&here, &format!("check {name}.json")).expect(0);
        cutline(&here, &format!("run {name}.json --set limits.until=70s")).expect(0);
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
    fs::write(here.join("field.json"), "{\"nodes\": [\n{\"id\": \"a\", \"paralelism\": 2}]}")
        .expect("writable");
    let wide = [node("1", 3_000, "Source: in", &[]), node("2", 3_000, "count", &[("1", "HASH")])];
    fs::write(here.join("wide.json"), format!(r#"{{"nodes": [{}]}}"#, wide.join(",")))
        .expect("writable");
    for (line, code, part) in [
        ("init", 2, "<FILE>"),
        ("init x.json --from-plan nowhere.json", 3, "cannot read nowhere.json"),
        // That is a scenario.
        ("init x.json --from-plan there.json", 3, "there.json:1:1"),
        ("init x.json --from-plan there.json", 3, "the answer to /jobs/:jobid/plan"),
        ("init x.json --from-plan bad.json", 3, "no node has that id"),
        ("init x.json --from-plan bad.json", 3, "bad.json:1:69"),
        ("init x.json --from-plan field.json", 3, "field.json:2:13"),
        ("init x.json --from-plan field.json", 3, "did you mean `parallelism`?"),
        ("init x.json --from-plan wide.json", 3, "9000000 channels"),
        ("init x.json --from-plan wide.json", 3, "`count` (parallelism 3000)"),
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
