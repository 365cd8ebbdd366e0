//! What was found once stays found: each scenario under `scenarios/regressions` broke a promise,
//! says which in its `why`, and holds with every seed tried here.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cutline_sim::check::Verdict;
use cutline_sim::run::Simulation;
use cutline_sim::scenario::{load, read_file};

/// A file may need some seeds before the race that it is about happens.
const SEEDS: u64 = 16;

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/regressions");
    let entries = fs::read_dir(folder).expect("the folder is part of the repository");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    files
}

#[test]
fn what_broke_once_holds() {
    let files = files();
    assert!(!files.is_empty());
    let mut broken = Vec::new();
    for file in files {
        let name = file.file_name().expect("a file has a name").to_string_lossy().into_owned();
        let text = read_file(&file).expect("readable");
        let loaded = load(&text, &name, &[]).unwrap_or_else(|found| panic!("{found}"));
        let scenario = Arc::new(loaded.scenario);
        for seed in 0..SEEDS {
            let simulation = Simulation::new(Arc::clone(&scenario), seed).expect("it can run");
            let outcome = simulation.run();
            if outcome.verdict != Verdict::Ok {
                broken.push(format!("{name}, seed {seed}: {:?}", outcome.violations));
                continue;
            }
            // A scenario whose faults never strike guards nothing.
            let struck = outcome.faults_injected.len();
            assert!(struck >= scenario.faults.len(), "{name}, seed {seed}: {struck} faults");
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
