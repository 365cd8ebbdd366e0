//! JSON files that a cluster has answered with.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::scenario::{SIZE_MAX, read_file};

/// Why a file tells nothing.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there or not readable.
    #[error("cannot read {path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// It is larger than any answer.
    #[error("{path} is larger than {} MiB", SIZE_MAX >> 20)]
    TooLarge {
        /// The file.
        path: String,
    },
    /// It is no JSON, or not the answer that its name promises.
    #[error("{path}:{line}:{column}: {message}; expected {expected}")]
    Content {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong.
        message: String,
        /// Which answer it should be.
        expected: &'static str,
    },
}

/// Reads a file as an answer; `expected` names the endpoint.
pub(super) fn read<T: DeserializeOwned>(
    path: &Path,
    expected: &'static str,
) -> Result<T, FileError> {
    let name = || path.display().to_string();
    let bytes = bytes(path)?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let text = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let message = text.strip_suffix(&place).map_or(text.clone(), str::to_owned);
        let (path, line, column) = (name(), error.line(), error.column().max(1));
        FileError::Content { path, line, column, message, expected }
    })
}

/// The bytes of a file that is no larger than an answer.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, FileError> {
    let name = || path.display().to_string();
    let bytes = read_file(path).map_err(|error| FileError::Io { path: name(), error })?;
    if bytes.len() > SIZE_MAX {
        return Err(FileError::TooLarge { path: name() });
    }
    Ok(bytes)
}
