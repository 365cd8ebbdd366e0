//! What was found once stays found: each file under `scenarios/regressions` comes to what is
//! expected of it. A scenario there broke a promise, says which in its `why`, and holds; a case
//! says its verdict. `cutline corpus run` is the same on the command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cutline_sim::explore::corpus::Kept;
use cutline_sim::scenario::{is_case, load, load_case, read_file};

use crate::support;

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
        let kept = if is_case(&text) {
            let loaded = load_case(&text, &name, &[]).unwrap_or_else(|found| panic!("{found}"));
            Kept::Case(Box::new(loaded.case))
        } else {
            let loaded = load(&text, &name, &[]).unwrap_or_else(|found| panic!("{found}"));
            Kept::Scenario(Arc::new(loaded.scenario))
        };
        if let Some(difference) = kept.difference().expect("it can run") {
            broken.push(format!("{name}: {difference}"));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// What a scenario needs to break may take some luck, so it is tried with other seeds as well.
#[test]
fn what_broke_once_holds_whatever_the_seed() {
    for file in files() {
        let name = file.file_name().expect("a file has a name").to_string_lossy();
        if !is_case(&read_file(&file).expect("readable")) {
            support::runs(&format!("regressions/{name}"), &[], 1..8).for_each(drop);
        }
    }
}
