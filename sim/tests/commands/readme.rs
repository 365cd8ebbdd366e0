//! The README says what is: every command in it prints what it says, every scenario is named.
//!
//! After a change of what commands print, run with `CUTLINE_BLESS=1` and read the difference.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use cutline_sim::scenario::load;

use crate::support::{directory, root};

const FENCE: &str = "```";
const CONSOLE: &str = "```console";

/// A directory that looks like the repository, into which commands may write.
fn workshop() -> PathBuf {
    let path = directory("readme");
    for name in ["scenarios", "sim", "tests"] {
        let target = root().join(name).canonicalize().expect("part of the repository");
        symlink(target, path.join(name)).expect("the directory is there");
    }
    path
}

/// What a shell in the workshop says to a line of the README.
fn said(directory: &Path, line: &str) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_cutline"));
    let folder = binary.parent().expect("a file is in a folder").display();
    let line = line.replace("cargo run --release --", "cutline");
    let output = Command::new("sh")
        .args(["-c", &format!("PATH={folder}:$PATH; {line}")])
        .current_dir(directory)
        .env_remove("COLUMNS")
        .output()
        .expect("there is a shell");
    // What a terminal shows, but for the order of the two streams.
    let bytes = [output.stdout, output.stderr].concat();
    String::from_utf8(bytes).expect("texts are UTF-8")
}

/// The README with what its commands say now.
fn played(readme: &str) -> String {
    let directory = workshop();
    let mut played = String::new();
    let mut lines = readme.lines().peekable();
    while let Some(line) = lines.next() {
        played.push_str(line);
        played.push('\n');
        if line != CONSOLE {
            continue;
        }
        while let Some(line) = lines.next_if(|line| *line != FENCE) {
            let command = line.strip_prefix("$ ");
            let command = command.unwrap_or_else(|| panic!("no command before: {line}"));
            while lines.next_if(|line| *line != FENCE && !line.starts_with("$ ")).is_some() {}
            played.push_str(&format!("{line}\n{}", said(&directory, command)));
        }
    }
    played
}

#[test]
fn commands_print_what_the_readme_says() {
    let path = root().join("README.md");
    let readme = fs::read_to_string(&path).expect("part of the repository");
    assert!(readme.lines().filter(|line| *line == CONSOLE).count() >= 8);
    let played = played(&readme);
    if std::env::var_os("CUTLINE_BLESS").is_some() {
        fs::write(&path, &played).expect("writable");
        return;
    }
    let differs = readme.lines().zip(played.lines()).position(|(is, should)| is != should);
    if let Some(line) = differs {
        let at = |text: &str| text.lines().skip(line).take(5).collect::<Vec<_>>().join("\n");
        panic!("line {}:\n{}\nis now\n{}", line + 1, at(&readme), at(&played));
    }
    assert_eq!(readme, played);
}

#[test]
fn every_scenario_is_in_the_readme() {
    let readme = fs::read_to_string(root().join("README.md")).expect("part of the repository");
    let entries = fs::read_dir(root().join("scenarios")).expect("part of the repository");
    let files = entries.map(|entry| entry.expect("readable").path());
    for file in files.filter(|file| file.is_file()) {
        let name = file.file_name().expect("a file has a name").to_string_lossy().into_owned();
        let text = fs::read(&file).expect("readable");
        let scenario = load(&text, &name, &[]).unwrap_or_else(|e| panic!("{e}")).scenario;
        let row = format!("| [`{name}`](scenarios/{name}) | {} |", scenario.title);
        assert!(readme.contains(&row), "a row of the table begins with {row}");
    }
}

/// The test command is the one that CI runs.
#[test]
fn ci_runs_the_test_command() {
    let readme = fs::read_to_string(root().join("README.md")).expect("part of the repository");
    let ci = fs::read_to_string(root().join(".ci/run")).expect("part of the repository");
    assert!(readme.contains("```sh\ncargo test\n```"));
    assert!(ci.lines().any(|line| line == "step cargo test"));
}
