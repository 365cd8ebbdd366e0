//! The recorded behaviour of Flink's barrier handling, case by case.

use std::fs;
use std::path::Path;

use cutline_sim::conform::run_file;

/// The files, and how many cases each must have.
const FILES: [(&str, usize); 5] = [
    ("flink.jsonl", 64),
    ("random-aligned.jsonl", 1_100),
    ("random-at-least-once.jsonl", 1_100),
    ("random-unaligned.jsonl", 1_100),
    ("random-aligned-timeout.jsonl", 1_100),
];

/// Cases in which Cutline differs from Flink on purpose; there are none.
const EXCEPTIONS: [&str; 0] = [];

#[test]
fn every_case_has_the_recorded_outcome() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/barrier");
    let mut differences = Vec::new();
    for (name, cases) in FILES {
        let text =
            fs::read_to_string(folder.join(name)).expect("the vectors are in the repository");
        let report = run_file(&text, name).expect("the vectors are well-formed");
        assert_eq!(report.cases, cases, "{name}");
        assert_eq!(report.passed + report.failed, cases, "{name}");
        differences.extend(report.differences);
    }
    let failed: Vec<_> = differences.iter().map(|difference| &difference.case).collect();
    assert_eq!(failed, EXCEPTIONS, "{differences:#?}");
}
