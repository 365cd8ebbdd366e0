//! Files in and out.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use crate::report::{Line, read_trace};
use crate::scenario::{Case, Diagnostics, Override, Scenario, is_case, load, load_case, read_file};

use super::exit::Failure;

/// What a file that can be run holds.
#[derive(Debug)]
pub(super) enum Runnable {
    Scenario(Arc<Scenario>),
    Case(Box<Case>),
}

/// The bytes of a scenario or case file; no more of them than it takes to refuse it.
pub(super) fn read(path: &str) -> Result<Vec<u8>, Failure> {
    read_file(Path::new(path))
        .map_err(|error| Failure::Input(format!("cannot read {path}: {error}")))
}

/// Loads a scenario file; warnings go to standard error.
pub(super) fn scenario(path: &str, overrides: &[Override]) -> Result<Arc<Scenario>, Failure> {
    let text = read(path)?;
    if is_case(&text) {
        let message = format!("{path} is a case; `cutline replay {path}` runs it");
        return Err(Failure::Input(message));
    }
    let loaded = load(&text, path, overrides)?;
    warn(&loaded.warnings);
    Ok(Arc::new(loaded.scenario))
}

/// Loads a case file; warnings go to standard error.
pub(super) fn case(path: &str, overrides: &[Override]) -> Result<Case, Failure> {
    let loaded = load_case(&read(path)?, path, overrides)?;
    warn(&loaded.warnings);
    let version = env!("CARGO_PKG_VERSION");
    if loaded.case.version != version {
        anstream::eprintln!(
            "warning: {path} is a case of cutline {}; seeds may mean something else in {version}",
            loaded.case.version
        );
    }
    Ok(loaded.case)
}

/// Loads what can be run.
pub(super) fn runnable(path: &str, overrides: &[Override]) -> Result<Runnable, Failure> {
    match is_case(&read(path)?) {
        true => case(path, overrides).map(|case| Runnable::Case(Box::new(case))),
        false => scenario(path, overrides).map(Runnable::Scenario),
    }
}

/// A whole file of data, however long.
pub(super) fn text(path: &str) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::Input(format!("cannot read {path}: {error}")))
}

/// A whole trace from a file.
pub(super) fn trace(path: &str) -> Result<Vec<Line>, Failure> {
    let text = text(path)?;
    read_trace(&text).map_err(|(line, error)| Failure::Input(format!("{path}:{line}: {error}")))
}

pub(super) fn warn(warnings: &Diagnostics) {
    if !warnings.is_empty() {
        anstream::eprint!("{}", warnings.render(true));
    }
}

/// Writes a file, as [`write`] does.
pub(super) fn write_path(path: &Path, text: &str) -> Result<(), Failure> {
    let name = path.file_name().and_then(|name| name.to_str());
    let Some(name) = name else {
        return Err(Failure::Usage(format!("{} is not the name of a file", path.display())));
    };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    write(directory.unwrap_or(Path::new(".")), name, text)
}

/// Writes a file of a directory, which is made if need be. Nobody sees half of it: it is written
/// beside its place and renamed.
pub(super) fn write(directory: &Path, name: &str, text: &str) -> Result<(), Failure> {
    let path = directory.join(name);
    let attempt = || {
        fs::create_dir_all(directory)?;
        let beside = directory.join(format!(".{name}.{}", std::process::id()));
        let written = File::create(&beside).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        let renamed = written.and_then(|()| fs::rename(&beside, &path));
        if renamed.is_err() {
            // What is left of the attempt is of no use; that it cannot be removed changes nothing.
            let _ = fs::remove_file(&beside);
        }
        renamed
    };
    attempt().map_err(|error| Failure::Write { path: path.display().to_string(), error })
}
