//! `cutline calibrate --from-rest` and `--print-curl`: from a cluster's answers to a scenario, and
//! whether that behaves as the cluster did.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Said, cutline, directory, read};
use cutline_sim::scenario::load;
use serde_json::Value;

/// Of a job that cannot keep up; checkpoints take 10 s.
const ALIGNED: &str = "aligned";
/// The same job with a timeout of 8 s; checkpoints expire and the job restarts.
const EXPIRED: &str = "aligned-expired";

fn dump(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/flink-2.3/rest-dumps").join(name)
}

fn runs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/flink-2.3/runs.jsonl")
}

fn calibrate(here: &Path, dump: &Path, more: &str) -> Said {
    cutline(here, &format!("calibrate --from-rest {} {more}", dump.display()))
}

/// A copy of a dump that a test may harm.
fn copy(here: &Path, name: &str) -> PathBuf {
    let to = here.join(name);
    fs::create_dir_all(&to).expect("writable");
    for entry in fs::read_dir(dump(name)).expect("part of the repository") {
        let from = entry.expect("readable").path();
        fs::copy(&from, to.join(from.file_name().expect("a file"))).expect("writable");
    }
    to
}

fn replace(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).expect("readable");
    assert!(text.contains(from), "{from} is not in {}", file.display());
    fs::write(file, text.replace(from, to)).expect("writable");
}

fn says(list: &Value, part: &str) {
    let list = list.as_array().expect("a list");
    let found = list.iter().any(|one| one.as_str().is_some_and(|text| text.contains(part)));
    assert!(found, "{part} is not in {list:#?}");
}

#[test]
fn the_loop_closes() {
    let here = directory("rest-loop");
    let said = calibrate(&here, &dump(ALIGNED), "--out job.json --format json").expect(0);
    let report = said.json();
    // Checkpoints 1 to 3 found buffers that were filling.
    assert_eq!(report["facts"]["checkpoints"]["settled"], 2);
    assert_eq!(report["facts"]["bottleneck"], 3);
    let measured = report["compared"]["measured_ms"].as_f64().expect("a number");
    assert!((measured - 10_273.0).abs() < 1.0, "{measured}");
    let simulated = report["compared"]["simulated_ms"].as_f64().expect("a number");
    assert!((simulated / measured - 1.0).abs() <= 0.05, "{simulated} for {measured}");
    // The file alone, as anybody would run it: the first checkpoints are short here, too.
    let run = "run job.json --set limits.until=6min --seed 5 --format json";
    let durations = cutline(&here, run).expect(0).json()["durations"].clone();
    let of = |what: &str, name: &str| durations[what][name].as_f64().expect("a number");
    let longest = of("end_to_end", "max_ms");
    assert!((longest / measured - 1.0).abs() <= 0.2, "{longest} for {measured}");
    // Barriers wait, subtasks do not align: as in the dump.
    assert!(of("alignment", "mean_ms") < 0.1 * of("start_delay", "mean_ms"), "{durations:#}");
}

#[test]
fn what_is_not_in_the_dump_is_said_and_what_is_assumed_is_written() {
    let here = directory("rest-unknown");
    let report = calibrate(&here, &dump(ALIGNED), "--out job.json --format json").expect(0).json();
    for part in
        ["which vertices feed which", "records a second", "give --load", "have no row", "--mtbf"]
    {
        says(&report["cannot_tell"], part);
    }
    says(&report["assumed"], "how `enrich-tap-sink-Writer` writes");
    let text = read(&here, "job.json");
    let scenario = load(text.as_bytes(), "job.json", &[]).expect("valid").scenario;
    for assumed in report["assumed"].as_array().expect("a list") {
        let assumed = assumed.as_str().expect("a text");
        assert!(scenario.why.contains(assumed), "{assumed} is not in {}", scenario.why);
    }
    let options = &scenario.checkpointing;
    assert_eq!(options.interval.map(|span| span.as_millis()), Some(1_500));
    assert_eq!((options.timeout.as_millis(), options.tolerable_failures), (20_000, 3));
    assert_eq!(scenario.cluster.slots, 2);
    let human = calibrate(&here, &dump(ALIGNED), "").expect(0);
    human
        .has("not in the data")
        .has("assumed in the scenario")
        .has("--out FILE writes the scenario");
}

/// Only the first checkpoint completed: its successors say how far barriers came.
#[test]
fn checkpoints_that_expired_tell_as_far_as_they_came() {
    let here = directory("rest-expired");
    let report = calibrate(&here, &dump(EXPIRED), "--out job.json --format json").expect(0).json();
    let facts = &report["facts"];
    assert_eq!(facts["checkpoints"]["settled"], 0);
    assert_eq!(facts["checkpoints"]["failed_by"]["Checkpoint expired before completing."], 4);
    assert_eq!(facts["failures"]["of_checkpoints"], 1);
    // 2085 ms from RESTARTING to RUNNING, of which 2 s are the configured delay.
    assert_eq!(facts["restart_ms"], 85.0);
    says(&report["cannot_tell"], "why 2 of 6 failed checkpoints failed");
    says(&report["cannot_tell"], "none has completed since the job settled");
    says(&report["assumed"], "the last vertex is the slowest");
    // As on the cluster, checkpoints expire in a row until the job restarts.
    let run = cutline(&here, "run job.json --set limits.until=3min --format json");
    let run = run.json();
    let expired = run["checkpoints"]["failed_by_reason"]["CHECKPOINT_EXPIRED"].as_u64();
    assert!(expired.unwrap_or(0) >= 4, "{run:#}");
    assert!(run["restarts"].as_u64().expect("a number") >= 1, "{run:#}");
}

#[test]
fn measured_runs_fill_in_what_a_dump_cannot_tell() {
    let here = directory("rest-and-runs");
    let more = format!("--from-runs {} --out both.json --format json", runs().display());
    let report = calibrate(&here, &dump(ALIGNED), &more).expect(0).json();
    let alone = calibrate(&here, &dump(ALIGNED), "--out alone.json --format json").expect(0).json();
    says(&alone["cannot_tell"], "--from-runs");
    let left = report["cannot_tell"].to_string();
    assert!(!left.contains("--from-runs") && left.contains("ms in the measured runs"), "{left}");
    let scenario =
        |name: &str| load(read(&here, name).as_bytes(), name, &[]).expect("valid").scenario;
    let (both, alone) = (scenario("both.json"), scenario("alone.json"));
    assert_ne!(both.cluster.deploy, alone.cluster.deploy);
    assert_ne!(both.storage, alone.storage);
}

#[test]
fn a_user_says_what_a_dump_cannot() {
    let here = directory("rest-said");
    let more = "--rate 8000/s --load 80% --out job.json --format json";
    let report = calibrate(&here, &dump(ALIGNED), more).expect(0).json();
    let assumed = report["assumed"].to_string();
    assert!(!assumed.contains("times what the job can take"), "{assumed}");
    let cannot = report["cannot_tell"].to_string();
    let asked = ["give --rate", "give --load"].map(|option| cannot.contains(option));
    assert_eq!(asked, [false; 2], "what was said is not asked for: {cannot}");
    let text = read(&here, "job.json");
    let scenario = load(text.as_bytes(), "job.json", &[]).expect("valid").scenario;
    assert!(scenario.why.contains("10000 records a second"), "{}", scenario.why);
    // The job keeps up now, so its checkpoints are short.
    let run = cutline(&here, "run job.json --set limits.until=5min --format json").expect(0).json();
    let mean = run["durations"]["end_to_end"]["mean_ms"].as_f64().expect("a number");
    assert!(mean < 5_000.0, "{mean}");
}

#[test]
fn missing_files_are_all_named() {
    let here = directory("rest-missing");
    let path = copy(&here, ALIGNED);
    for name in ["exceptions.json", "checkpoints-config.json"] {
        fs::remove_file(path.join(name)).expect("it is there");
    }
    calibrate(&here, &path, "")
        .expect(3)
        .complains("exceptions.json is missing (/jobs/:jobid/exceptions)")
        .complains("checkpoints-config.json is missing")
        .complains("--print-curl");
    let path = copy(&here, EXPIRED);
    fs::remove_file(path.join("details-5-subtasks-ea632d67.json")).expect("it is there");
    fs::remove_file(path.join("details-1-subtasks-9f363b99.json")).expect("it is there");
    calibrate(&here, &path, "")
        .expect(3)
        .complains("details-5-subtasks-ea632d67.json is missing")
        .complains("details-1-subtasks-9f363b99.json is missing");
    let path = copy(&here.join("again"), ALIGNED);
    fs::remove_file(path.join("backpressure-bc764cd8.json")).expect("it is there");
    calibrate(&here, &path, "").expect(3).complains("backpressure-bc764cd8.json is missing");
    for entry in fs::read_dir(&path).expect("readable") {
        let file = entry.expect("readable").path();
        let name = file.file_name().expect("a file").to_string_lossy().into_owned();
        if name.contains("subtasks") || name.starts_with("backpressure") {
            fs::remove_file(file).expect("it is there");
        }
    }
    calibrate(&here, &path, "").expect(3).complains("for one checkpoint N at least");
    calibrate(&here, &here.join("nowhere"), "").expect(3).complains("cannot read the directory");
}

#[test]
fn harmed_files_are_refused_with_their_place() {
    let here = directory("rest-harmed");
    type Harm = fn(&Path);
    let harms: [(&str, Harm, i32, &str); 7] = [
        (
            "cut off",
            |at| {
                let text = fs::read_to_string(at.join("job.json")).expect("readable");
                fs::write(at.join("job.json"), &text[..text.len() / 2]).expect("writable");
            },
            3,
            "job.json:1:",
        ),
        (
            "another answer",
            |at| {
                fs::copy(at.join("job.json"), at.join("checkpoints.json")).expect("writable");
            },
            3,
            "expected /jobs/:jobid/checkpoints",
        ),
        (
            "a text for a number",
            |at| replace(&at.join("checkpoints.json"), ":10575,", ":\"long\","),
            3,
            "`long` is not a number",
        ),
        (
            "a vertex of another job",
            |at| {
                let from = at.join("backpressure-bc764cd8.json");
                fs::rename(from, at.join("backpressure-00000000.json")).expect("it is there");
            },
            3,
            "no vertex whose id begins with \"00000000\"",
        ),
        (
            "a plan of another job",
            |at| {
                let plan = r#"{"plan":{"name":"x","type":"STREAMING","nodes":[{"id":"a","parallelism":1}]}}"#;
                fs::write(at.join("plan.json"), plan).expect("writable");
            },
            3,
            "the plan has vertices that the job does not have",
        ),
        (
            "no parallelism",
            |at| replace(&at.join("job.json"), "\"parallelism\":2", "\"parallelism\":0"),
            3,
            "has parallelism 0",
        ),
        (
            "nothing acknowledged",
            |at| {
                for entry in fs::read_dir(at).expect("readable") {
                    let file = entry.expect("readable").path();
                    if file.to_string_lossy().contains("-subtasks-") {
                        let pending = r#"{"id":5,"subtasks":[{"className":"pending","index":0,"status":"pending_or_failed"}]}"#;
                        fs::write(file, pending).expect("writable");
                    }
                }
            },
            20,
            "no subtask has acknowledged any checkpoint",
        ),
    ];
    for (what, harm, code, expected) in harms {
        let path = copy(&here.join(what.replace(' ', "-")), ALIGNED);
        harm(&path);
        calibrate(&here, &path, "").expect(code).complains(expected);
    }
}

/// Numbers that Flink does not know are texts, −1 or null; they are left out, wherever they are.
#[test]
fn unknown_numbers_are_left_out() {
    let here = directory("rest-nan");
    let path = copy(&here, ALIGNED);
    replace(&path.join("details-5-subtasks-ea632d67.json"), "\"sync\":3", "\"sync\":\"NaN\"");
    replace(
        &path.join("details-4-subtasks-ea632d67.json"),
        "\"start_delay\":",
        "\"start_delay\":-1,\"was\":",
    );
    replace(&path.join("backpressure-bc764cd8.json"), "\"busyRatio\":0.0", "\"busyRatio\":\"NaN\"");
    let report = calibrate(&here, &path, "--format json").expect(0).json();
    assert_eq!(report["facts"]["vertices"][0]["busy"], Value::Null);
    let of_count = &report["facts"]["vertices"][2];
    assert_eq!(of_count["start_delay_ms"]["samples"], 2);
    assert_eq!(of_count["sync_ms"]["samples"], 3);
}

/// Changes the JSON of a file.
fn edit(file: &Path, change: impl Fn(&mut Value)) {
    let mut json: Value =
        serde_json::from_str(&fs::read_to_string(file).expect("readable")).expect("JSON");
    change(&mut json);
    fs::write(file, json.to_string()).expect("writable");
}

/// The dump of a job that keeps up, on two machines: its counts are complete, and barriers wait for
/// nothing.
fn quiet(here: &Path) -> PathBuf {
    let path = copy(here, ALIGNED);
    edit(&path.join("job.json"), |job| {
        for vertex in job["vertices"].as_array_mut().expect("a list") {
            vertex["duration"] = 50_000.into();
            let metrics = &mut vertex["metrics"];
            for (name, value) in [("write-records", 1_000_000), ("write-bytes", 200_000_000)] {
                metrics[name] = value.into();
                metrics[format!("{name}-complete")] = true.into();
            }
        }
    });
    edit(&path.join("jobmanager-config.json"), |entries| {
        for entry in entries.as_array_mut().expect("a list") {
            if entry["key"] == "taskmanager.numberOfTaskSlots" {
                entry["value"] = "1".into();
            }
        }
    });
    let vertices = ["bc764cd8", "0a448493", "ea632d67", "9f363b99"];
    for (hop, vertex) in vertices.into_iter().enumerate() {
        for checkpoint in [4, 5] {
            edit(&path.join(format!("details-{checkpoint}-subtasks-{vertex}.json")), |answer| {
                for subtask in answer["subtasks"].as_array_mut().expect("a list") {
                    let delay = 6 + 8 * hop as u64;
                    let part = |name: &str| subtask["checkpoint"][name].as_u64().expect("a number");
                    let parts = part("sync") + part("async");
                    subtask["start_delay"] = delay.into();
                    subtask["alignment"]["duration"] = 0.into();
                    subtask["end_to_end_duration"] = (delay + parts + 4).into();
                }
            });
        }
        edit(&path.join(format!("backpressure-{vertex}.json")), |answer| {
            for subtask in answer["subtasks"].as_array_mut().expect("a list") {
                subtask["ratio"] = 0.0.into();
                subtask["busyRatio"] = [0.1, 0.2, 0.5, 0.25][hop].into();
            }
        });
    }
    edit(&path.join("checkpoints.json"), |answer| {
        for row in answer["history"].as_array_mut().expect("a list") {
            row["end_to_end_duration"] = 104.into();
        }
    });
    path
}

#[test]
fn a_job_that_keeps_up_tells_its_rate_and_its_capacity() {
    let here = directory("rest-quiet");
    let path = quiet(&here);
    let report = calibrate(&here, &path, "--out job.json --format json").expect(0).json();
    let facts = &report["facts"];
    assert_eq!(facts["overloaded"], false);
    assert_eq!(
        (facts["rate_per_s"].as_f64(), facts["record_bytes"].as_f64()),
        (Some(20_000.0), Some(200.0))
    );
    assert_eq!(facts["hop_ms"]["value"], 7.5);
    // Half busy at 20,000 records a second.
    let text = read(&here, "job.json");
    let scenario = load(text.as_bytes(), "job.json", &[]).expect("valid").scenario;
    assert!(scenario.why.contains("it can take 40000 records a second"), "{}", scenario.why);
    let simulated = report["compared"]["simulated_ms"].as_f64().expect("a number");
    assert!((simulated / 104.0 - 1.0).abs() < 0.25, "{simulated}");
    let cannot = report["cannot_tell"].to_string();
    for part in ["records a second", "give --load", "latency of the network"] {
        assert!(!cannot.contains(part), "{part} in {cannot}");
    }
}

/// Barriers that overtake do not say how long a buffer takes.
#[test]
fn unaligned_checkpoints_are_not_turned_by_queues() {
    let here = directory("rest-unaligned");
    let path = copy(&here, ALIGNED);
    let config = path.join("checkpoints-config.json");
    replace(&config, "\"unaligned_checkpoints\":false", "\"unaligned_checkpoints\":true");
    let report = calibrate(&here, &path, "--out job.json --format json").expect(0).json();
    assert_eq!(report["compared"]["simulations"], 1);
    says(&report["assumed"], "a buffer keeps the slowest vertex busy for 100 ms");
    let text = read(&here, "job.json");
    let scenario = load(text.as_bytes(), "job.json", &[]).expect("valid").scenario;
    assert!(scenario.checkpointing.unaligned);
}

/// The life of each subtask tells what a deployment takes.
#[test]
fn times_of_subtasks_tell_deployment_and_restore() {
    let here = directory("rest-times");
    let path = copy(&here, EXPIRED);
    for vertex in ["bc764cd8", "0a448493", "ea632d67", "9f363b99"] {
        let times = r#"{"id":"x","subtasks":[{"subtask":0,"timestamps":{"CREATED":0,"DEPLOYING":1000,"INITIALIZING":1100,"RUNNING":1750,"FAILED":0}}]}"#;
        fs::write(path.join(format!("subtasktimes-{vertex}.json")), times).expect("writable");
    }
    let report = calibrate(&here, &path, "--out job.json --format json").expect(0).json();
    assert_eq!(report["facts"]["start_ms"], 750.0);
    assert!(!report["cannot_tell"].to_string().contains("subtasktimes"), "{report:#}");
    assert!(!report["assumed"].to_string().contains("deployment"), "{report:#}");
    fs::remove_file(path.join("subtasktimes-bc764cd8.json")).expect("it is there");
    calibrate(&here, &path, "").expect(3).complains("subtasktimes-bc764cd8.json is missing");
}

#[test]
fn a_plan_says_which_vertices_feed_which() {
    let here = directory("rest-plan");
    let path = copy(&here, ALIGNED);
    let plan = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/flink-2.3/plan.json");
    fs::copy(plan, path.join("plan.json")).expect("writable");
    let report = calibrate(&here, &path, "--out job.json --format json").expect(0).json();
    assert!(!report["cannot_tell"].to_string().contains("which vertices feed which"));
    read(&here, "job.json");
}

/// A `curl` that answers from a dump, and notes what it was asked.
const CURL: &str = r#"#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in
    -o) out=$2; shift ;;
    http://*) url=$1 ;;
    esac
    shift
done
path=${url#http://flink.example:8081}
echo "$path" >>"$ASKED"
part() { printf %.8s "$1"; }
case $path in
/jobs) printf '%s' "$JOBS" >"$out"; exit ;;
/jobmanager/config) file=jobmanager-config ;;
*/checkpoints/config) file=checkpoints-config ;;
*/checkpoints) file=checkpoints ;;
*/exceptions) file=exceptions ;;
*/plan) file=plan ;;
*/backpressure) vertex=${path%/backpressure}; file=backpressure-$(part "${vertex##*/}") ;;
*/subtasktimes) vertex=${path%/subtasktimes}; file=subtasktimes-$(part "${vertex##*/}") ;;
*/subtasks/*) rest=${path##*/details/}; file=details-${rest%%/*}-subtasks-$(part "${rest##*/}") ;;
*/details/*) file=details-${path##*/} ;;
/jobs/*) file=job ;;
esac
[ -e "$DUMP/$file.json" ] || { echo "404: $path" >&2; exit 22; }
cp "$DUMP/$file.json" "$out"
"#;

/// The script with that `curl`.
fn play(here: &Path, jobs: &str, arguments: &[&str]) -> Said {
    let said = cutline(here, "calibrate --print-curl flink.example:8081").expect(0);
    fs::write(here.join("dump.sh"), &said.out).expect("writable");
    let bin = here.join("bin");
    fs::create_dir_all(&bin).expect("writable");
    fs::write(bin.join("curl"), CURL).expect("writable");
    fs::set_permissions(bin.join("curl"), fs::Permissions::from_mode(0o755)).expect("ours");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("a shell's"));
    let output = Command::new("sh")
        .arg("dump.sh")
        .args(arguments)
        .current_dir(here)
        .env("PATH", path)
        .env("DUMP", dump(EXPIRED))
        .env("ASKED", here.join("asked"))
        .env("JOBS", jobs)
        .env("CUTLINE_SAMPLING", "0")
        .output()
        .expect("there is a shell");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let code = output.status.code().expect("not killed");
    Said { code, out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn the_script_makes_a_dump_of_the_job_that_runs() {
    let here = directory("rest-curl");
    let jobs = r#"{"jobs":[{"id":"aa","status":"FINISHED"},{"id":"5ef8fc4b0542c406a627efb2fc8a6867","status":"RUNNING"}]}"#;
    play(&here, jobs, &["made"]).expect(0).complains("--from-rest made");
    let names = |path: &Path| {
        let entries = fs::read_dir(path).expect("readable");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("readable").file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&here.join("made")), names(&dump(EXPIRED)));
    let asked = read(&here, "asked");
    assert!(asked.contains("/jobs/5ef8fc4b0542c406a627efb2fc8a6867/checkpoints/config"), "{asked}");
    // Checkpoints that Flink has forgotten meanwhile are left out.
    assert!(asked.contains("/details/4\n"), "{asked}");
    let of = |path: &Path| calibrate(&here, path, "--format json").expect(0).out;
    assert_eq!(of(&here.join("made")), of(&dump(EXPIRED)));
}

#[test]
fn the_script_asks_which_job() {
    let here = directory("rest-which");
    let two = r#"{"jobs":[{"id":"aa","status":"RUNNING"},{"id":"bb","status":"RUNNING"}]}"#;
    play(&here, two, &[]).expect(1).complains("several jobs are running").complains("bb");
    play(&here, r#"{"jobs":[]}"#, &[]).expect(1).complains("no job is running");
    play(&here, two, &["named", "5ef8fc4b0542c406a627efb2fc8a6867"]).expect(0);
    assert!(!read(&here, "asked").contains("/jobs/aa"));
}

#[test]
fn addresses_that_do_not_belong_into_a_script_are_refused() {
    let here = directory("rest-address");
    for address in
        ["flink", "http://flink:8081", "a'b:1", "$(reboot):1", ":8081", "a:0", "a:99999", "-o:1"]
    {
        let argument = format!("--print-curl={address}");
        cutline(&here, &format!("calibrate {argument}")).expect(2).complains("expected HOST:PORT");
    }
    cutline(&here, "calibrate --print-curl [::1]:8081").expect(0).has("http://[::1]:8081");
    cutline(&here, "calibrate --print-curl a:1 --from-runs x").expect(2);
    cutline(&here, "calibrate --from-runs x --out y").expect(2).complains("--from-rest");
}
