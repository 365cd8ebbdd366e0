//! Golden digests: what every scenario of the repository comes to, committed in
//! `tests/data/golden.txt` and the same on every machine, with and without optimisation, and
//! whether or not defects can be planted.
//!
//! A digest that changes is a change of the protocol, of the world or of the meaning of seeds. When
//! it is meant, run with `CUTLINE_BLESS=1`, look at the difference, and say why in the commit.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cutline_sim::check::Verdict;
use cutline_sim::run::{Outcome, Simulation};
use cutline_sim::scenario::{Scenario, load, read_file};

/// Seeds that every scenario runs with.
const SEEDS: [u64; 3] = [0, 1, 2];

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(relative)
}

/// The scenarios of the repository by file name, in the order of their names.
fn scenarios() -> Vec<(String, Arc<Scenario>)> {
    let entries = fs::read_dir(path("scenarios")).expect("the folder is part of the repository");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let load_file = |file: PathBuf| {
        let name = file.file_name().expect("a file has a name").to_string_lossy().into_owned();
        let text = read_file(&file).expect("readable");
        let loaded = load(&text, &name, &[]).unwrap_or_else(|found| panic!("{found}"));
        (name, Arc::new(loaded.scenario))
    };
    files.into_iter().map(load_file).collect()
}

fn run(scenario: &Arc<Scenario>, seed: u64, trace: bool) -> Outcome {
    let simulation = Simulation::new(Arc::clone(scenario), seed).expect("what is loaded can run");
    simulation.trace(trace).run()
}

#[test]
fn digests_are_golden_and_all_checks_hold() {
    let mut found = String::new();
    let mut wrong = Vec::new();
    let mut digests = BTreeSet::new();
    for (name, scenario) in scenarios() {
        for seed in SEEDS {
            let outcome = run(&scenario, seed, false);
            if outcome.verdict != Verdict::Ok {
                wrong.push(format!("{name} seed {seed}: {}", outcome.violations[0]));
            }
            if !outcome.inert_faults().is_empty() {
                wrong.push(format!("{name} seed {seed}: faults {:?}", outcome.inert_faults()));
            }
            // A digest that did not see the seed would be golden too.
            if !digests.insert(outcome.digest) {
                wrong.push(format!("{name} seed {seed}: the digest of another run"));
            }
            found.push_str(&format!("{name} {seed} {}\n", outcome.digest));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let golden = path("tests/data/golden.txt");
    if std::env::var_os("CUTLINE_BLESS").is_some() {
        fs::write(&golden, &found).expect("writable");
    }
    let expected = fs::read_to_string(&golden).expect("the digests are part of the repository");
    assert_eq!(found, expected, "digests differ; see the head of tests/golden.rs");
}

#[test]
fn a_run_is_the_same_twice_and_traced_or_not() {
    for (name, scenario) in scenarios() {
        let first = run(&scenario, 7, false);
        let [again, traced] = [false, true].map(|trace| run(&scenario, 7, trace));
        for (what, other) in [("again", &again), ("traced", &traced)] {
            assert_eq!(other.digest, first.digest, "{name}, {what}");
            assert_eq!(other.ladder, first.ladder, "{name}, {what}");
            assert_eq!(other.violations, first.violations, "{name}, {what}");
            assert_eq!(other.statistics, first.statistics, "{name}, {what}");
        }
        assert!(first.trace.is_none(), "{name}");
        let lines = traced.trace.expect("it was to be kept").len() as u64;
        assert_eq!(lines, first.observations, "{name}");
    }
}
