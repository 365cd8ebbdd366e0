//! Campaigns on the command line: files, exit codes, interruptions, partitions.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::{command, cutline, directory, read};
use serde_json::Value;

/// Found often, whatever the generator draws: a transaction is committed at its barrier.
const PLANTED: &str = "--defect D69";

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("every line is JSON")).collect()
}

#[test]
fn a_planted_defect_is_found_and_handed_over() {
    let here = directory("found");
    let said =
        cutline(&here, &format!("campaign --seeds 0..96 {PLANTED} --out out --junit junit.xml"));
    let said = said.expect(10);
    said.has("planted       D69: ").has("by method     swarm 48 (");
    let replay = said.out.lines().find_map(|line| line.strip_prefix("  replay: cutline "));
    let replay = replay.expect("a line to paste").to_owned();
    assert_eq!(
        replay,
        "replay out/failures/output-wrong-commit-committed-ahead-of-the-decision/case.json"
    );
    cutline(&here, &replay).expect(10).has("case         the same run, to the byte\n");

    let rows = rows(&read(&here, "out/results.jsonl"));
    assert_eq!(rows.len(), 96);
    let failed: Vec<&Value> = rows.iter().filter(|row| row["signature"].is_string()).collect();
    let smallest = failed.iter().filter_map(|row| row["events"].as_u64()).min();
    let json = format!("campaign --seeds 0..96 {PLANTED} --format json --out other");
    let json = cutline(&here, &json).expect(10).json();
    let group = &json["failures"][0]["group"];
    assert_eq!(group["count"].as_u64(), Some(failed.len() as u64));
    assert_eq!(group["events"].as_u64(), smallest, "the smallest run stands for the group");
    assert_eq!(read(&here, "out/results.jsonl"), read(&here, "other/results.jsonl"));

    let junit = read(&here, "junit.xml");
    assert!(junit.contains("failures=\"1\" errors=\"0\""), "{junit}");
    assert!(junit.contains(&format!("replay: cutline {replay}")), "{junit}");
    let meta: Value = serde_json::from_str(&read(&here, "out/meta.json")).expect("it is JSON");
    assert!(meta["seconds"].is_number(), "{meta}");
}

#[test]
fn partitions_make_the_whole_in_any_order() {
    let here = directory("partitions");
    let campaign = format!("campaign --seeds 10..170 {PLANTED}");
    let whole = cutline(&here, &format!("{campaign} --out all --junit whole.xml")).expect(10);
    let files = ["results.jsonl", "campaign.json"];
    let written = files.map(|name| read(&here, &format!("all/{name}")));
    fs::remove_dir_all(here.join("all")).expect("it is ours");
    for number in 1..=3 {
        let part = format!("{campaign} --partition {number}/3 --threads {number} --out {number}");
        cutline(&here, &part).expect(10).has(&format!("partition     {number}/3\n"));
    }
    let merged = cutline(&here, "merge 3 1 2 --out all --junit merged.xml").expect(10);
    assert_eq!(merged.out, whole.out);
    assert_eq!(files.map(|name| read(&here, &format!("all/{name}"))), written);
    assert_eq!(read(&here, "merged.xml"), read(&here, "whole.xml"));

    // The command that it names fills the gap.
    let said = cutline(&here, "merge 3 1").expect(20);
    said.complains(" runs of partition 2/3 are missing");
    let fill = said.err.lines().last().expect("a command").trim();
    let fill = fill.strip_prefix("cutline ").expect("it is ours").to_owned();
    assert!(fill.ends_with("--partition 2/3 --out part-2"), "{fill}");
    cutline(&here, &fill).expect(10);
    assert_eq!(cutline(&here, "merge part-2 3 1 --out all").expect(10).out, whole.out);

    let half = read(&here, "2/results.jsonl");
    let half: String = half.split_inclusive('\n').take(10).collect();
    fs::write(here.join("2/results.jsonl"), half).expect("it is ours");
    let said = cutline(&here, "merge 1 2 3").expect(20);
    said.complains("--partition 2/3 --out 2 --resume");
    cutline(&here, &format!("{campaign} --partition 2/3 --out 2 --resume")).expect(10);
    assert_eq!(cutline(&here, "merge 1 2 3 --out all").expect(10).out, whole.out);
}

#[test]
fn a_mix_is_not_merged() {
    let here = directory("mix");
    cutline(&here, "campaign --seeds 0..40 --partition 1/2 --out a").expect(0);
    for (arguments, what) in [
        ("--seeds 0..50 --partition 2/2", "its range of seeds is 0..50, not 0..40"),
        ("--seeds 0..40 --partition 2/2 --strategy swarm", "its strategy is swarm, not mix"),
        ("--seeds 0..40 --partition 2/3", "a is one of 2 partitions, b is one of 3"),
    ] {
        cutline(&here, &format!("campaign {arguments} --out b")).expect(0);
        cutline(&here, "merge a b").expect(2).complains(what);
        fs::remove_dir_all(here.join("b")).expect("it is ours");
    }
    cutline(&here, "merge a nowhere").expect(3).complains("cannot read nowhere/campaign.json");
    let results = read(&here, "a/results.jsonl");
    fs::write(here.join("a/results.jsonl"), results.replacen("{\"item\"", "{\"itme\"", 1))
        .expect("it is ours");
    cutline(&here, "merge a").expect(3).complains("a/results.jsonl:1: ");
    fs::write(here.join("a/results.jsonl"), results.replacen("\"seed\":0", "\"seed\":7", 1))
        .expect("it is ours");
    cutline(&here, "merge a").expect(3).complains("run 0 is not of this part");
}

#[test]
fn what_is_finished_is_not_lost() {
    let here = directory("resume");
    let campaign = format!("campaign --seeds 0..130 {PLANTED} --out out");
    let whole = cutline(&here, &campaign).expect(10);
    let results = read(&here, "out/results.jsonl");
    cutline(&here, &campaign).expect(2).complains("`--resume` goes on with them");

    // Killed: some lines in the order in which they came, the last of them not to its end.
    let mut lines: Vec<&str> = results.split_inclusive('\n').collect();
    lines.reverse();
    let kept = lines[..70].concat() + &lines[70][..40];
    fs::write(here.join("out/results.jsonl"), &kept).expect("it is ours");
    let resumed = cutline(&here, &format!("{campaign} --resume --threads 1")).expect(10);
    assert_eq!(resumed.out, whole.out);
    assert_eq!(read(&here, "out/results.jsonl"), results);

    // What is finished is not run again: a result that was changed is taken as it is.
    let changed = results.replacen("\"restores\":0", "\"restores\":1000000", 1);
    fs::write(here.join("out/results.jsonl"), changed).expect("it is ours");
    cutline(&here, &format!("{campaign} --resume")).expect(10).has("restores      10000");

    let other = "campaign --seeds 0..130 --out out --resume";
    cutline(&here, other).expect(2).complains("its defect is D69, not none");
}

#[cfg(unix)]
#[test]
fn an_interrupted_campaign_saves_what_it_has() {
    let here = directory("interrupted");
    let line = ["campaign", "--seeds", "0..1000000", "--out", "out", "--threads", "1"];
    let campaign = command(&here, &line).stdout(std::process::Stdio::piped()).spawn();
    let campaign = campaign.expect("the binary is built");
    let started = Instant::now();
    let results = here.join("out/results.jsonl");
    while fs::metadata(&results).map_or(0, |file| file.len()) < 2_000 {
        assert!(started.elapsed() < Duration::from_secs(60), "no results");
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut kill = std::process::Command::new("kill");
    let killed = kill.args(["-INT", &campaign.id().to_string()]).status();
    assert!(killed.expect("there is a `kill`").success());
    let output = campaign.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    let text = String::from_utf8(output.stdout).expect("texts are UTF-8");
    assert!(text.trim_end().ends_with(" of 1000000 runs were not done"), "{text}");
    let rows = rows(&read(&here, "out/results.jsonl"));
    assert!(text.contains(&format!("  runs          {}\n", rows.len())), "{text}");
}

#[test]
fn a_budget_ends_a_campaign() {
    let here = directory("budget");
    let said = cutline(&here, "campaign --seeds 0..100000000 --budget 500ms").expect(20);
    said.has(" of 100000000 runs were not done\n");
    let said = cutline(&here, "campaign --budget 500ms --threads 1").expect(0);
    said.has("all checks hold");
    cutline(&here, "campaign --budget soon").expect(2);
    cutline(&here, "campaign").expect(2);
}

#[test]
fn scenarios_that_are_given_run_with_each_seed() {
    let here = directory("given");
    let quickstart = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/quickstart.json");
    fs::copy(quickstart, here.join("quickstart.json")).expect("part of the repository");
    let impatient =
        "campaign quickstart.json quickstart.json --seeds 3..6 --set limits.settle=100ms";
    let said = cutline(&here, &format!("{impatient} --format json --out out")).expect(11).json();
    assert_eq!((&said["runs"], &said["methods"]["given"]["runs"]), (&6.into(), &6.into()));
    assert_eq!(said["failures"][0]["scenario"], "quickstart.json");
    let order: Vec<(u64, u64)> = rows(&read(&here, "out/results.jsonl"))
        .iter()
        .map(|row| (row["seed"].as_u64().unwrap_or(0), row["scenario"].as_u64().unwrap_or(9)))
        .collect();
    assert_eq!(order, [(3, 0), (3, 1), (4, 0), (4, 1), (5, 0), (5, 1)]);
    // The results have the scenarios in them.
    fs::remove_file(here.join("quickstart.json")).expect("it is ours");
    let merged = cutline(&here, "merge out --format json --out out").expect(11).json();
    assert_eq!(merged, said);
    cutline(&here, "campaign --seeds 0..3 --set limits.settle=100ms").expect(2);
}

#[test]
fn strategies_are_told_apart() {
    let here = directory("strategies");
    let mut digests = Vec::new();
    for strategy in ["mix", "swarm", "placement", "aimed", "pct", "feedback"] {
        let line = format!("campaign --seeds 0..32 --strategy {strategy} --format json");
        let said = cutline(&here, &line).expect(0).json();
        let runs = |method: &str| said["methods"][method]["runs"].as_u64().unwrap_or(0);
        let used = ["swarm", "placement", "aimed", "pct", "feedback"].map(runs);
        let expected = match strategy {
            "mix" => [16, 5, 4, 3, 4],
            "swarm" => [32, 0, 0, 0, 0],
            "placement" => [0, 32, 0, 0, 0],
            "aimed" => [0, 0, 32, 0, 0],
            "pct" => [0, 0, 0, 32, 0],
            _ => [16, 0, 0, 0, 16],
        };
        assert_eq!(used, expected, "{strategy}");
        assert!(said["faults"]["injected"].as_u64() > Some(0), "{strategy}: {said}");
        digests.push(said["digest"].to_string());
    }
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), 6);
    cutline(&here, "campaign --seeds 0..32 --strategy swram").expect(2).complains("expected mix");
}

/// The job array of the README, with the environment that Slurm gives to each of its jobs.
#[cfg(unix)]
#[test]
fn the_job_array_of_the_readme_makes_the_whole() {
    let here = directory("array");
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = fs::read_to_string(readme).expect("part of the repository");
    let (_, script) = readme.split_once("```sh\n#!/bin/sh\n").expect("the script is there");
    let (script, _) = script.split_once("```").expect("it ends");
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_cutline")).parent().expect("a folder");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let job = |number: u64| {
        let mut job = std::process::Command::new("sh");
        job.args(["-c", script]).current_dir(&here).env("PATH", &path).env("SEEDS", "0..96");
        job.env("SLURM_ARRAY_TASK_ID", number.to_string()).env("SLURM_ARRAY_TASK_COUNT", "3");
        let output = job.output().expect("there is a shell");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    (1..=3).for_each(job);
    // One was requeued after it had lost half of a line.
    let text = read(&here, "part-2/results.jsonl");
    fs::write(here.join("part-2/results.jsonl"), &text[..text.len() / 2]).expect("it is ours");
    job(2);
    let whole = cutline(&here, "campaign --seeds 0..96 --out whole").expect(0);
    let merged = cutline(&here, "merge part-1 part-2 part-3 --out merged").expect(0);
    assert_eq!(merged.out, whole.out);
    assert_eq!(read(&here, "merged/results.jsonl"), read(&here, "whole/results.jsonl"));
}
