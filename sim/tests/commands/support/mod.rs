//! Runs the binary in a directory of its own.

pub(crate) mod document;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What a command has said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    pub(crate) fn last_line(&self) -> &str {
        self.out.lines().last().unwrap_or("")
    }

    pub(crate) fn has(&self, part: &str) -> &Self {
        assert!(self.out.contains(part), "{part} is not in\n{}", self.out);
        self
    }

    pub(crate) fn complains(&self, part: &str) -> &Self {
        assert!(self.err.contains(part), "{part} is not in\n{}", self.err);
        self
    }
}

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// An empty directory.
pub(crate) fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("commands").join(name);
    if path.exists() {
        fs::remove_dir_all(&path).expect("it is ours");
    }
    fs::create_dir_all(&path).expect("the target directory can be written to");
    path
}

/// The binary, with these arguments, to be run there.
pub(crate) fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cutline"));
    command.args(arguments).current_dir(directory);
    command.env_remove("COLUMNS").env_remove("RUST_BACKTRACE");
    command
}

/// Runs it.
pub(crate) fn run(directory: &Path, arguments: &[&str]) -> Said {
    let output = command(directory, arguments).output().expect("the binary is built");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("texts are UTF-8");
    let code = output.status.code().expect("it was not killed");
    Said { code, out: text(output.stdout), err: text(output.stderr) }
}

/// Runs it with words that are set apart by spaces.
pub(crate) fn cutline(directory: &Path, line: &str) -> Said {
    run(directory, &line.split_whitespace().collect::<Vec<_>>())
}

pub(crate) fn read(directory: &Path, name: &str) -> String {
    fs::read_to_string(directory.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
