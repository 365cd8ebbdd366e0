//! `cutline model validate`, end to end: the document is what the command prints.

use crate::support::document::is_document;
use crate::support::{root, run};

/// Recoveries that others measured on a cluster.
const RECOVERIES: &str = "tests/data/models/khaos_recovery.json";

fn validate(arguments: &[&str], code: i32) -> (String, String) {
    let said = run(&root(), &[&["model", "validate"], arguments].concat()).expect(code);
    (said.out, said.err)
}

/// Every form is within what it allows, and `docs/validation.md` says so. `CUTLINE_BLESS=1` writes
/// it anew.
#[test]
fn the_documented_table_is_what_is_printed() {
    let (text, _) = validate(&["--recoveries", RECOVERIES, "--format", "markdown"], 0);
    assert!(!text.contains("missed"), "{text}");
    for expected in [
        "| useful share |",
        "| best interval |",
        "| recovery |",
        "| mean backlog |",
        "| visible after |",
        "| from trigger to trigger |",
        "| coordinator messages |",
        "| barriers |",
        "| alignment |",
        "| dirty share |",
        "| iot | 37 |",
        "| ysb | 43 |",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    is_document(&root().join("docs/validation.md"), &text);
}

#[test]
fn a_file_without_recoveries_is_refused_before_anything_runs() {
    for (file, expected) in [
        ("nowhere.json", "cannot read nowhere.json"),
        ("tests/data/models/lag.json", "expected the table `khaos_recovery`"),
        ("README.md", "expected the table `khaos_recovery`"),
    ] {
        let (out, err) = validate(&["--recoveries", file], 3);
        assert!(out.is_empty() && err.contains(expected), "{file}: {err}");
    }
    let (_, err) = validate(&["--threads", "0"], 2);
    assert!(err.contains("--threads"), "{err}");
}
