//! Nothing is parsed and ignored: every value that a scenario may give changes what happens, or
//! how it is judged.
//!
//! The values come from the table that the loader and the schema are made of, so a new option is
//! tested by being there. What an option does is seen only where it matters: a heartbeat timeout
//! where a machine dies, the number of retained checkpoints where there are several. So each is
//! tried in a few *scenes*, changes of the base scenario, until one shows a difference.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cutline_sim::check::Verdict;
use cutline_sim::kernel::digest::Fingerprint;
use cutline_sim::run::Simulation;
use cutline_sim::scenario::{FieldProbe, Override, base, load, probes};

/// Text for people: no run depends on it.
const FOR_PEOPLE: [&str; 2] = ["title", "why"];

/// What no run depends on, but whether there can be one: the path, values that contradict each
/// other, and the answer to them.
#[expect(clippy::type_complexity, reason = "a table: name, settings, what is refused")]
const REFUSING: [(&str, &[(&str, &str)], &str); 5] = [
    // Nothing of these is divided by key.
    (
        "job.operators[source].max_parallelism",
        &[("job.operators[source].max_parallelism", "1")],
        "above the max parallelism 1",
    ),
    (
        "job.operators[buffer].max_parallelism",
        &[("job.operators[buffer].max_parallelism", "1")],
        "above the max parallelism 1",
    ),
    (
        "job.operators[ask].max_parallelism",
        &[("job.operators[ask].max_parallelism", "1")],
        "above the max parallelism 1",
    ),
    (
        "job.operators[match].max_parallelism",
        &[("job.operators[match].max_parallelism", "1")],
        "above the max parallelism 1",
    ),
    // A join treats its two sides alike.
    (
        "job.edges[4].input",
        &[("job.edges[4].input", "1"), ("job.edges[5].input", "1")],
        "exactly one edge to input 0",
    ),
];

/// Name and changes.
const SCENES: &[(&str, &[&str])] = &[
    ("as it is", &[]),
    ("nothing goes wrong", &["faults=[]", "limits.until=60 s"]),
    (
        "faults strike while all tasks run",
        &["faults[0].at.occurrence=100", "faults[1].at=3200 ms", "faults[2].at=3400 ms"],
    ),
    (
        "what strikes lasts",
        &["faults[10].for=5 s", "faults[18].window=50 ms", "faults[18].for=60 s"],
    ),
    ("messages come twice for long", &["faults[17].for=20 s"]),
    ("acknowledgements come twice", &["faults[17].to=job_manager", "faults[17].for=20 s"]),
    (
        "storage is slow",
        &["faults=[]", "storage.latency=1 s", "checkpointing.interval=200 ms", "limits.until=9 s"],
    ),
    (
        "the storage host crashes between two checkpoints",
        &[
            r#"faults=[{"at": "900 ms", "kind": "crash_storage_host", "for": "50 ms"}]"#,
            "storage.sync=never",
        ],
    ),
    (
        "every checkpoint expires",
        &["faults=[]", "storage.latency=1 s", "checkpointing.timeout=50 ms", "limits.until=9 s"],
    ),
    (
        "a machine dies, and the others have few slots",
        &[
            r#"faults=[{"at": "1 s", "kind": "crash_task_manager", "target": 2}]"#,
            "job.operators[count].parallelism=10",
            "cluster.slots=4",
            "cluster.process_restart=30 s",
            "limits.until=60 s",
        ],
    ),
    (
        "a machine falls silent",
        &[
            r#"faults=[{"at": "1 s", "kind": "pause_task_manager", "target": 0, "for": "40 s"}]"#,
            "limits.until=60 s",
        ],
    ),
    (
        "two failures in half a minute or more",
        &[
            r#"faults=[
                {"at": "1 s", "kind": "crash_task", "target": "map[0]"},
                {"at": "36 s", "kind": "crash_task", "target": "map[0]"}]"#,
            "job.operators[source].every=50 ms",
            "limits.until=90 s",
        ],
    ),
    (
        "a failure soon after a restart",
        &[
            r#"faults=[
                {"at": "1 s", "kind": "crash_task", "target": "map[0]"},
                {"at": "7600 ms", "kind": "crash_task", "target": "map[0]"}]"#,
            "job.operators[source].every=50 ms",
            "limits.until=30 s",
        ],
    ),
    (
        "a restore right after the decision",
        &[
            r#"faults=[{"at": {"step": "F3"}, "kind": "crash_task", "target": "map[0]"}]"#,
            r#"restart={"type": "fixed_delay", "attempts": 1000, "delay": "0 ms"}"#,
            "cluster.deploy=1 ms",
            "storage.latency=1 ms",
        ],
    ),
    (
        "the job fails for good",
        &[
            r#"faults=[{"at": "1 s", "kind": "crash_task", "target": "map[0]"}]"#,
            r#"restart={"type": "disabled"}"#,
        ],
    ),
    // All task managers are needed: otherwise the job starts on those that are near.
    (
        "the job manager is far away",
        &[
            "faults=[]",
            "network.links[0].to=job_manager",
            "cluster.slots=1",
            "cluster.task_managers=2",
        ],
    ),
    ("there is something to leave out", &["job.operators[source].history=50"]),
    (
        "barriers overtake what waits",
        &[
            "faults=[]",
            "checkpointing.unaligned=true",
            "checkpointing.max_concurrent=1",
            "job.operators[expand].cost=3 ms",
        ],
    ),
    (
        "what is queued takes too long",
        &[
            "faults=[]",
            "buffers.debloat=true",
            "buffers.debloat_target=50 ms",
            "buffers.debloat_samples=2",
            "job.operators[expand].cost=3 ms",
        ],
    ),
    (
        "two pipelines side by side",
        &[
            r#"job={
                "operators": [
                    {"name": "source", "kind": "source", "parallelism": 2, "records": 2000},
                    {"name": "loose", "kind": "at_least_once_sink", "parallelism": 2}],
                "edges": [{"from": "source", "to": "loose", "partitioner": "forward"}]}"#,
            r#"faults=[{"at": "1 s", "kind": "crash_task", "target": "loose[0]"}]"#,
        ],
    ),
    (
        "records go by key",
        &[
            "faults=[]",
            "job.edges[0].partitioner=hash",
            "job.edges[1].partitioner=hash",
            "job.edges[2].partitioner=hash",
            "job.edges[6].partitioner=hash",
            "job.edges[7].partitioner=hash",
            "job.edges[8].partitioner=hash",
            "job.edges[9].partitioner=hash",
            "job.edges[10].partitioner=hash",
            "job.edges[11].partitioner=hash",
        ],
    ),
    ("the job manager is cut off for long", &["faults[19].for=12 s"]),
    (
        "wall clocks are compared",
        &[
            "faults[22].at=1 s",
            "faults[22].by=2600 ms",
            "faults[22].for=60 s",
            "checkpointing.unaligned=true",
            "checkpointing.max_concurrent=1",
            "checkpointing.aligned_timeout=2500 ms",
            "checkpointing.interval=100 ms",
        ],
    ),
    (
        "wall clocks are read all the time",
        &[
            "faults[0].at.occurrence=100",
            "faults[22].for=60 s",
            "checkpointing.interval=20 ms",
            "checkpointing.max_concurrent=100",
            "checkpointing.tolerable_failures=100",
            r#"restart={"type": "fixed_delay", "attempts": 1000, "delay": "0 ms"}"#,
        ],
    ),
];

/// Digest and verdict of the base scenario with these changes, if it can be so.
fn judge(scene: &[&str], probe: &FieldProbe, which: usize) -> Option<(Fingerprint, Verdict)> {
    let mut overrides: Vec<Override> =
        scene.iter().map(|text| Override::parse(text).expect("an override")).collect();
    overrides.extend(probe.overrides(which));
    let scenario = load(base().as_bytes(), "base", &overrides).ok()?.scenario;
    let simulation = Simulation::new(Arc::new(scenario), 1).expect("what is loaded can run");
    let outcome = simulation.run();
    Some((outcome.digest, outcome.verdict))
}

/// The first scene in which the two values of a probe differ.
fn telling(probe: &FieldProbe) -> Option<&'static str> {
    let differs = |scene: &&(&str, &[&str])| {
        let [one, other] = [0, 1].map(|which| judge(scene.1, probe, which));
        one.zip(other).is_some_and(|(one, other)| one != other)
    };
    SCENES.iter().find(differs).map(|(name, _)| *name)
}

#[test]
fn every_option_changes_a_digest_or_a_verdict() {
    let probes = probes();
    assert!(probes.len() > 100, "{}", probes.len());
    let mut ignored = BTreeSet::new();
    let mut scenes: BTreeMap<&str, u32> = BTreeMap::new();
    // Most of the time of these tests goes by here: on all cores.
    let found: Vec<_> = std::thread::scope(|scope| {
        let tell = |some: &'_ [FieldProbe]| some.iter().map(telling).collect::<Vec<_>>();
        let parts = probes.chunks(probes.len().div_ceil(8));
        let threads: Vec<_> = parts.map(|some| scope.spawn(move || tell(some))).collect();
        threads.into_iter().flat_map(|it| it.join().expect("it has told")).collect()
    });
    for (probe, found) in probes.iter().zip(found) {
        match found {
            Some(scene) => *scenes.entry(scene).or_default() += 1,
            None => drop(ignored.insert(probe.path.as_str())),
        }
    }
    for (path, ..) in REFUSING {
        assert!(ignored.remove(path), "{path} does more than to refuse");
    }
    assert_eq!(ignored, FOR_PEOPLE.into(), "parsed and ignored");
    for (scene, _) in SCENES {
        assert!(scenes.contains_key(scene), "no option needs the scene: {scene}");
    }
}

#[test]
fn what_changes_no_run_is_checked() {
    for (path, values, expected) in REFUSING {
        let overrides: Vec<Override> = values
            .iter()
            .map(|(path, value)| Override::parse(&format!("{path}={value}")).expect("an override"))
            .collect();
        let found = load(base().as_bytes(), "base", &overrides).expect_err(path);
        assert!(found.to_string().contains(expected), "{path}: {found}");
    }
}
