//! The examples do what they say: each asserts it and exits with 0.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where cargo has put the examples; `cargo test` builds them beside the binary.
fn example(name: &str) -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_cutline"));
    let folder = binary.parent().expect("a file is in a folder");
    folder.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

fn said(name: &str) -> String {
    let output = Command::new(example(name)).output().unwrap_or_else(|error| {
        panic!("{name}: {error}; `cargo test` builds it, or `cargo build --examples`")
    });
    let text = String::from_utf8(output.stdout).expect("texts are UTF-8");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{name}:\n{text}{complaint}");
    text
}

#[test]
fn an_engine_without_coordinator_is_judged_as_far_as_it_can_be() {
    let text = said("uncoordinated");
    for passed in ["output    Passed", "liveness  Passed"] {
        assert!(text.contains(passed), "{text}");
    }
    assert_eq!(text.matches("NotApplicable").count(), 6, "{text}");
    assert!(text.contains("replayed"), "{text}");
}

#[test]
fn parts_of_the_protocol_can_be_replaced() {
    let text = said("own_barriers");
    assert!(text.contains("waits: false; "), "{text}");
    let text = said("own_policy");
    assert!(text.contains("cautious  ") && text.contains("fixed     "), "{text}");
    let text = said("own_coordinator");
    assert!(text.contains("hasty: true; wrong commit [output]"), "{text}");
}
