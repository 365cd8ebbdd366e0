//! Scores that are kept in a file, one a line, as they become known.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::cli::exit::Failure;
use crate::explore::score::Proofs;

/// The file.
#[derive(Debug)]
pub(super) struct Kept {
    path: String,
    /// How scores are made: what was made otherwise is not mixed with it.
    how: String,
    known: BTreeMap<String, Proofs>,
    file: Mutex<File>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    version: String,
    how: String,
    proofs: Proofs,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Kept {
    /// Reads what there is, and opens the file for more. A last line that was cut off is dropped.
    pub(super) fn open(path: &str, how: String) -> Result<Self, Failure> {
        let refuse = |error| Failure::Input(format!("cannot use {path}: {error}"));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(refuse(error)),
        };
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let mut known = BTreeMap::new();
        for (number, line) in (1..).zip(text[..whole].lines()) {
            let line: Line = serde_json::from_str(line)
                .map_err(|error| Failure::Input(format!("{path}:{number}: {error}")))?;
            if (line.version.as_str(), &line.how) != (VERSION, &how) {
                let message = format!(
                    "{path}:{number}: made by cutline {} with {}; this is {VERSION} with {how}",
                    line.version, line.how
                );
                return Err(Failure::Input(message));
            }
            known.insert(line.id, line.proofs);
        }
        let file = OpenOptions::new().append(true).create(true).open(path).map_err(refuse)?;
        file.set_len(whole as u64).map_err(refuse)?;
        Ok(Self { path: path.to_owned(), how, known, file: Mutex::new(file) })
    }

    /// What is known of a defect.
    pub(super) fn get(&self, id: &str) -> Option<Proofs> {
        self.known.get(id).cloned()
    }

    /// Keeps what has become known.
    pub(super) fn append(&self, id: &str, proofs: &Proofs) -> Result<(), Failure> {
        let (id, proofs) = (id.to_owned(), proofs.clone());
        let line = Line { id, version: VERSION.to_owned(), how: self.how.clone(), proofs };
        let text = serde_json::to_string(&line).expect("numbers and words") + "\n";
        let mut file = self.file.lock().expect("nobody panics while writing a line");
        let written = file.write_all(text.as_bytes());
        written.map_err(|error| Failure::Input(format!("cannot write {}: {error}", self.path)))
    }
}
