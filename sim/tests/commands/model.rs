//! `cutline model`, end to end: answers, exit codes, bad arguments; and `conform` on tables.

use std::fs;

use serde_json::Value;

use crate::support::{Said, directory, root, run};

fn cutline(arguments: &[&str], code: i32) -> Said {
    run(&root(), arguments).expect(code)
}

/// A stream at half load, checkpoints of 5 s that cost 200 ms, one failure a day.
const JOB: &str = "--rate 10000/s --capacity 20000/s --downtime 30s --checkpoint-duration 5s \
                   --checkpoint-cost 200ms --mtbf 1d";

fn model(line: &str, code: i32) -> Said {
    let words: Vec<&str> = std::iter::once("model").chain(line.split_whitespace()).collect();
    cutline(&words, code)
}

fn answer(line: &str, code: i32) -> Value {
    model(&format!("{line} --format json"), code).json()
}

#[track_caller]
fn near(answer: &Value, key: &str, expected: f64) {
    let found = answer[key].as_f64().unwrap_or_else(|| panic!("no {key} in {answer}"));
    assert!((found - expected).abs() <= 1e-6 * expected.abs(), "{key}: {found}, not {expected}");
}

#[test]
fn the_interval_answers_the_operators_question() {
    for (goals, interval, binding, configuration) in [
        ("--recovery-goal 2min", 55.0, "recovery", "55 s"),
        ("", 185.969_891_199, "capacity", "185969 ms"),
        ("--goal freshness", 9.828_558_912_48, "freshness", "9828 ms"),
        (
            "--recovery-goal 2min --visibility-goal 20s --commit 100ms",
            14.9,
            "visibility",
            "14900 ms",
        ),
        ("--recovery-goal 70s", 5.0, "floor", "5 s"),
        ("--min-pause 55s --recovery-goal 125s", 60.0, "floor", "1 min"),
    ] {
        let found = answer(&format!("interval {JOB} {goals}"), 0);
        near(&found, "interval_s", interval);
        assert_eq!(found["binding"], binding, "{goals}");
        assert_eq!(found["configuration"], configuration, "{goals}");
    }
}

#[test]
fn the_interval_says_what_neighbours_and_pauses_cost() {
    let found = answer(&format!("interval {JOB} --recovery-goal 2min"), 0);
    let rows = found["neighbours"].as_array().expect("rows");
    assert_eq!(rows.len(), 3);
    near(&rows[1], "recovery_worst_s", 120.4);
    near(&rows[2], "interval_s", 110.0);
    assert!(rows[0]["waste_share"].as_f64() > rows[1]["waste_share"].as_f64());
    near(&found, "recovery_ceiling_with_pauses_s", 54.6);
    let said = model(&format!("interval {JOB} --recovery-goal 2min"), 0).out;
    for part in
        ["Set by the recovery goal", "execution.checkpointing.interval: 55 s", "54.6 s would"]
    {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    // Half of the shortest interval cannot be configured, so it is no neighbour.
    let floor = answer(&format!("interval {JOB} --recovery-goal 70s"), 0);
    assert_eq!(floor["neighbours"].as_array().map(Vec::len), Some(2));
}

#[test]
fn an_interval_that_cannot_be_is_a_missed_goal() {
    for (goals, binding, said) in [
        ("--recovery-goal 61s", "recovery", "the recovery goal of 61 s allows no interval at all"),
        (
            "--visibility-goal 8s --recovery-goal 2min",
            "visibility",
            "the visibility goal of 8 s allows at most 3 s, and checkpoints cannot be taken more \
             often than every 5 s",
        ),
    ] {
        let found = answer(&format!("interval {JOB} {goals}"), 13);
        assert_eq!((&found["interval_s"], &found["binding"]), (&Value::Null, &binding.into()));
        let text = model(&format!("interval {JOB} {goals}"), 13).out;
        assert!(text.contains("Infeasible: ") && text.contains(said), "{text}");
    }
}

#[test]
fn the_parts_give_the_figures_of_the_tables() {
    let stream = "--rate 10000/s --capacity 20000/s --downtime 30s --checkpoint-duration 5s";
    let tasks = "--parallelism 10,20,10 --exchange all-to-all,all-to-all --interval 1min";
    let messages = "--ssts 10 --trigger-cost 20µs --acknowledge-cost 100µs --notify-cost 20µs \
                    --fixed-cost 5ms --store-latency 30ms --store-bandwidth 100000000b/s";
    let state = "--state 10000000000b --keys 1e6 --updates 10000/s --interval 60s --retained 3 \
                 --amplification 1.1 --metadata 1000000b";
    for (line, figures) in [
        (
            format!("recovery {stream} --interval 60s --checkpoint-cost 200ms"),
            &[("recovery_mean_s", 95.0), ("recovery_worst_with_pauses_s", 125.4)][..],
        ),
        (
            "utilization --interval 605s --checkpoint-cost 5s --mtbf 1d --restart 30s".to_owned(),
            &[("useful_share", 0.987_924_278_406)],
        ),
        (
            "freshness --interval 60s --checkpoint-duration 5s --commit 200ms".to_owned(),
            &[("visible_mean_s", 35.2), ("visible_p99_s", 64.6), ("visible_worst_s", 65.2)],
        ),
        (
            "lag --rate 10000/s --capacity 20000/s --downtime 10s --checkpoint-duration 2s \
             --checkpoint-cost 200ms --mtbf 4000s --interval 3s"
                .to_owned(),
            &[("best_interval_s", 3.620_420_022_71), ("backlog_mean_records", 574.583_333_333)],
        ),
        (
            format!("coordinator {tasks} {messages}"),
            &[("messages", 90.0), ("busy_s", 0.01), ("duration_min_s", 0.034_856_48)],
        ),
        (
            format!("storage {state}"),
            &[("dirty_share", 0.451_188_363_906), ("incremental_bytes", 20_026_767_278.1)],
        ),
        (
            format!("barriers {tasks} --channels 16 --mean-delay 1s --throughput 1mb/s"),
            &[("barriers", 400.0), ("wire_bytes", 32_400.0), ("alignment_s", 3.318_228_993_23)],
        ),
    ] {
        let found = answer(&line, 0);
        for (key, expected) in figures {
            near(&found, key, *expected);
        }
        assert!(model(&line, 0).out.lines().count() > 3, "{line}");
    }
}

#[test]
fn a_coordinator_that_does_not_keep_up_is_a_missed_goal() {
    let line = "coordinator --parallelism 1000 --interval 1s --ssts 0 --trigger-cost 1ms \
                --acknowledge-cost 1ms --notify-cost 1ms --store-latency 1ms --store-bandwidth 1mb/s";
    assert!(model(line, 13).out.contains("does not keep up"));
}

#[test]
fn bad_arguments_get_a_sentence() {
    for (line, expected) in [
        (
            "recovery --rate 2/s --capacity 1/s --downtime 1s --interval 1s --checkpoint-duration 1s",
            "the stream is saturated: 2/s come in and 1/s can be processed",
        ),
        ("utilization --interval 1s --checkpoint-cost 2s --mtbf 1d", "no work is left"),
        (
            "utilization --interval 1s --checkpoint-cost 0s --mtbf 1d",
            "the cost of a checkpoint is 0",
        ),
        ("utilization --interval 1x --checkpoint-cost 0s --mtbf 1d", "expected a duration such as"),
        (
            "barriers --parallelism 2,2 --interval 1s",
            "2 operators in a chain have 1 exchanges, not 0",
        ),
        ("barriers --parallelism 2,0 --exchange forward --interval 1s", "a parallelism is 0"),
        ("recovery --rate 10", "`10` is no rate; expected one such as 10000/s"),
        ("recovery --interval 0s", "0s is no time at all"),
        ("intervall", "'interval'"),
    ] {
        let said = model(line, 2).err;
        assert!(said.contains(expected), "{line}: {said}");
    }
}

#[test]
fn conform_takes_tables() {
    let tables = root().join("tests/data/models");
    let lag = tables.join("lag.json");
    let path = lag.to_str().expect("it is ours");
    let said = cutline(&["conform", path], 0).out;
    assert!(said.starts_with("      8 cases       8 passed       0 failed  "), "{said}");

    let other = directory("tables").join("other.json");
    let path = other.to_str().expect("it is ours");
    let whole = fs::read_to_string(&lag).expect("committed");
    fs::write(&other, whole.replacen("\"T_young\": 40.0", "\"T_young\": 41", 1))
        .expect("it is ours");
    let said = cutline(&["conform", path], 10).out;
    for part in
        ["1 failed", "rows[1]", "out.T_young within 1e-7 of it", "expected 41", "actual   40"]
    {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    fs::write(&other, whole.replace("\"table\": \"lag\"", "\"table\": \"leg\"")).expect("ours");
    let said = cutline(&["conform", path], 3).err;
    assert!(said.contains("unknown table `leg`; did you mean `lag`?"), "{said}");
    let measured = tables.join("khaos_recovery.json");
    let words = ["conform", measured.to_str().expect("it is ours"), "--format", "json"];
    let said = cutline(&words, 0).json();
    let notes = said["files"][0]["notes"].as_array().expect("notes");
    assert!(notes.iter().any(|note| note.as_str().is_some_and(|note| note.contains("12.6 %"))));
}
