//! `results.jsonl`: what sweep it is, then one line a run, appended as they end.
//!
//! A file that a kill has cut short is read up to its last whole line. Files of the same sweep, or
//! of partitions of it, may be put together in any order; files of another one are refused.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::row::Row;

/// The format that this version reads and writes.
pub const FORMAT: &str = "cutline-sweep/1";

/// What sweep results are of: two files with the same are parts of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// [`FORMAT`].
    pub format: String,
    /// Version of cutline.
    pub version: String,
    /// The title of the scenario.
    pub title: String,
    /// Digest of the scenarios of all points.
    pub scenarios: String,
    /// The axes, as they were given.
    pub vary: Vec<String>,
    /// The first seed.
    pub seed: u64,
    /// Repeats, at most.
    pub repeats: u64,
    /// Metric and width at which a point is done, as text.
    pub precision: Option<String>,
    /// Prices and the like, as text.
    pub rates: String,
    /// The error up to which time was leapt over, as text.
    #[serde(default)]
    pub coarsen: Option<String>,
}

/// Why a file of results cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {path}: {error}")]
    Write {
        /// Which file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// A line is none of ours.
    #[error("{path}:{line}: {error}; expected results of `cutline sweep`")]
    Line {
        /// Which file.
        path: String,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// It is of another sweep.
    #[error("{path} is of another sweep: its {field} differs ({found}, here {expected})")]
    OtherSweep {
        /// Which file.
        path: String,
        /// What differs first.
        field: String,
        /// There.
        found: String,
        /// Here.
        expected: String,
    },
    /// Two files disagree about a run.
    #[error("{path}: the result of point {point}, repeat {repeat} differs from another file's")]
    Conflict {
        /// Which file.
        path: String,
        /// Which point.
        point: usize,
        /// Which repeat.
        repeat: u64,
    },
}

/// Results, by repeat and point.
pub type Rows = BTreeMap<(u64, usize), Row>;

/// Reads a file of results into `rows`; says how many of its bytes are whole lines.
///
/// # Errors
/// It cannot be read, is of another sweep, or contradicts what is in `rows`.
pub fn read(path: &Path, expected: &Identity, rows: &mut Rows) -> Result<u64, StoreError> {
    let shown = || path.display().to_string();
    let text = std::fs::read(path).map_err(|error| StoreError::Read { path: shown(), error })?;
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut lines = text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let bad = |line: usize, error| StoreError::Line { path: shown(), line, error };
    let Some(head) = lines.next() else { return Ok(0) };
    let found: Identity = serde_json::from_slice(head).map_err(|error| bad(1, error))?;
    if let Some((field, found, expected)) = difference(&found, expected) {
        return Err(StoreError::OtherSweep { path: shown(), field, found, expected });
    }
    for (index, line) in lines.enumerate() {
        let row: Row = serde_json::from_slice(line).map_err(|error| bad(index + 2, error))?;
        let (point, repeat) = (row.point, row.repeat);
        match rows.get(&(repeat, point)) {
            Some(known) if *known != row => {
                return Err(StoreError::Conflict { path: shown(), point, repeat });
            }
            Some(_) => {}
            None => drop(rows.insert((repeat, point), row)),
        }
    }
    Ok(whole as u64)
}

/// The first field in which two sweeps differ.
fn difference(found: &Identity, expected: &Identity) -> Option<(String, String, String)> {
    let object = |identity| serde_json::to_value(identity).expect("an identity is JSON");
    let (found, expected) = (object(found), object(expected));
    let fields = expected.as_object().expect("an identity is an object");
    fields
        .iter()
        .find(|(name, value)| found[name.as_str()] != **value)
        .map(|(name, value)| (name.clone(), found[name.as_str()].to_string(), value.to_string()))
}

/// A file of results that is being written.
#[derive(Debug)]
pub struct Writer {
    file: BufWriter<File>,
    path: String,
}

impl Writer {
    /// A new file with these results.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn create<'r>(
        path: &Path,
        identity: &Identity,
        rows: impl Iterator<Item = &'r Row>,
    ) -> Result<Self, StoreError> {
        let shown = path.display().to_string();
        let beside = path.with_extension(format!("jsonl.{}", std::process::id()));
        let attempt = || -> io::Result<File> {
            let mut file = BufWriter::new(File::create(&beside)?);
            writeln!(file, "{}", line(identity))?;
            for row in rows {
                writeln!(file, "{}", line(row))?;
            }
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_all()?;
            std::fs::rename(&beside, path)?;
            Ok(file)
        };
        let file = attempt().map_err(|error| StoreError::Write { path: shown.clone(), error })?;
        Ok(Self { file: BufWriter::new(file), path: shown })
    }

    /// A file that is there, behind its first `whole` bytes.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn resume(path: &Path, whole: u64) -> Result<Self, StoreError> {
        let shown = path.display().to_string();
        let attempt = || {
            OpenOptions::new().write(true).open(path)?.set_len(whole)?;
            OpenOptions::new().append(true).open(path)
        };
        let file = attempt().map_err(|error| StoreError::Write { path: shown.clone(), error })?;
        Ok(Self { file: BufWriter::new(file), path: shown })
    }

    /// Adds a result; it is in the file when this returns.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn append(&mut self, row: &Row) -> Result<(), StoreError> {
        let written = writeln!(self.file, "{}", line(row)).and_then(|()| self.file.flush());
        written.map_err(|error| StoreError::Write { path: self.path.clone(), error })
    }
}

fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("names are text and numbers are finite")
}
