//! Runs conformance vectors against the protocol's machines.

use serde_json::Value;

pub mod coordinator;

/// A vector file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}:{line}: {message}")]
pub struct ConformError {
    /// The file, as the caller named it.
    pub name: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

/// One place where a machine answered otherwise than the vector says.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The name of the case.
    pub case: String,
    /// Where in the case.
    pub place: String,
    /// What the vector says.
    pub expected: Value,
    /// What the machine did.
    pub actual: Value,
}

/// What came of a vector file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Cases in the file.
    pub cases: usize,
    /// Cases without a difference.
    pub passed: usize,
    /// Cases with a difference.
    pub failed: usize,
    /// All differences, in order of the file; the first of each case tells the most.
    pub differences: Vec<Difference>,
}

/// Runs all cases of a vector file. `name` is used in messages only.
///
/// # Errors
/// [`ConformError`] for a line that is no case of a known group.
pub fn run_file(text: &str, name: &str) -> Result<Report, ConformError> {
    let mut report = Report::default();
    for (line, case) in (1..).zip(text.lines()) {
        let differences = coordinator::run_case(case).map_err(|message| ConformError {
            name: name.to_owned(),
            line,
            message: message.to_string(),
        })?;
        report.cases += 1;
        if differences.is_empty() {
            report.passed += 1;
        } else {
            report.failed += 1;
        }
        report.differences.extend(differences);
    }
    Ok(report)
}
