//! Conformance: runs recorded scripts through the core machines and compares what they did.
//!
//! A vector file is JSON Lines: every case has a script and what the real classes of Apache Flink
//! did with it. The machines are driven through the same `handle` as in a simulated world.
//!
//! A table file is one JSON object: rows of the inputs and results of a cost model's formula.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

mod barrier;
mod coordinator;
mod table;

/// How many failed cases a report describes; the others are counted.
const DIFFERENCES_MAX: usize = 20;

/// What became of the cases of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Cases in the file.
    pub cases: usize,
    /// Cases whose outcome is exactly the recorded one.
    pub passed: usize,
    /// The others.
    pub failed: usize,
    /// The first difference of each of the first failed cases, in the order of the file.
    pub differences: Vec<Difference>,
    /// What is in the file and was not judged, and why.
    pub notes: Vec<String>,
}

/// Where the outcome of a case first differs from the recorded one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The name of the case.
    pub case: String,
    /// The place within `expect`, such as `log[3][2]`.
    pub place: String,
    /// What was recorded there, as JSON; `nothing` if the place is not in the record.
    pub expected: String,
    /// What happened instead.
    pub actual: String,
}

/// A vector file that cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConformError {
    /// There is no line in it.
    #[error("{file}: the file is empty; its first line should be a header or a case")]
    Empty {
        /// The name of the file.
        file: String,
    },
    /// A line is not what its place asks for.
    #[error("{file}:{line}:{column}: {message}")]
    Malformed {
        /// The name of the file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The column in bytes, from 1.
        column: usize,
        /// What is wrong with it.
        message: String,
    },
    /// The first line names a format that is not known here.
    #[error("{file}:1: unknown format `{format}`; known: `{}`", barrier::FORMAT)]
    UnknownFormat {
        /// The name of the file.
        file: String,
        /// The format it claims to have.
        format: String,
    },
    /// The header promises another number of cases.
    #[error("{file}: the header promises {promised} cases, but {found} follow")]
    CaseCount {
        /// The name of the file.
        file: String,
        /// The header's `cases`.
        promised: usize,
        /// The lines that follow it.
        found: usize,
    },
}

/// Runs all cases of a vector file. `text` is its content, `name` stands for it in errors.
///
/// # Errors
/// If the file is malformed or of an unknown format. A case with another outcome than the
/// recorded one is no error, but a difference in the report.
pub fn run_file(text: &str, name: &str) -> Result<Report, ConformError> {
    let lines = Line::all(text, name);
    let Some((first, rest)) = lines.split_first() else {
        let file = name.to_owned();
        return Err(ConformError::Empty { file });
    };
    if is_table(first) {
        return table::run(text, name);
    }
    let kind: FirstLine = first.parse()?;
    match kind.format {
        Some(format) if format == barrier::FORMAT => barrier::run(first, rest),
        Some(format) => Err(ConformError::UnknownFormat { file: name.to_owned(), format }),
        None if kind.group.is_some() => run_groups(&lines),
        None => {
            let message = "there is neither a `format`, a `group` nor a `table` in the first line";
            Err(first.malformed(1, message.to_owned()))
        }
    }
}

/// Whether a file is one object over many lines, or one with the name of a table.
fn is_table(first: &Line<'_>) -> bool {
    match serde_json::from_str::<Value>(first.text) {
        Ok(value) => value.get("table").is_some(),
        Err(error) => error.is_eof(),
    }
}

/// Runs a file of coordinator vectors: every line is a case.
fn run_groups(lines: &[Line<'_>]) -> Result<Report, ConformError> {
    let mut report = Report::default();
    for line in lines {
        let differences = coordinator::run_case(line.text)
            .map_err(|error| line.malformed(error.column(), error.to_string()))?;
        report.record_differences(differences);
    }
    Ok(report)
}

/// What tells one kind of vector file from another.
#[derive(Deserialize)]
struct FirstLine {
    /// Barrier vectors: a header.
    format: Option<String>,
    /// Coordinator vectors: no header, a group in every case.
    group: Option<String>,
}

/// A line of a vector file, with what an error needs to say where it is.
#[derive(Clone, Copy)]
struct Line<'a> {
    file: &'a str,
    number: usize,
    text: &'a str,
}

impl<'a> Line<'a> {
    fn all(text: &'a str, file: &'a str) -> Vec<Self> {
        (1..)
            .zip(text.lines())
            .filter(|(_, text)| !text.trim().is_empty())
            .map(|(number, text)| Self { file, number, text })
            .collect()
    }

    fn parse<T: DeserializeOwned>(&self) -> Result<T, ConformError> {
        serde_json::from_str(self.text).map_err(|error| {
            let whole = error.to_string();
            // The line that serde_json names is that of the one-line text it was given.
            let (message, _) = whole.rsplit_once(" at line ").unwrap_or((&whole, ""));
            self.malformed(error.column(), message.to_owned())
        })
    }

    fn malformed(&self, column: usize, message: String) -> ConformError {
        ConformError::Malformed { file: self.file.to_owned(), line: self.number, column, message }
    }
}

impl Report {
    /// Counts a case, and describes it if its outcome is not the recorded one.
    fn record(&mut self, case: &str, expected: &Value, actual: &Value) {
        self.record_differences(first_difference(case, expected, actual));
    }

    /// Counts a case; the first of its differences is kept.
    fn record_differences(&mut self, differences: impl IntoIterator<Item = Difference>) {
        self.cases += 1;
        let Some(difference) = differences.into_iter().next() else {
            self.passed += 1;
            return;
        };
        self.failed += 1;
        if self.differences.len() < DIFFERENCES_MAX {
            self.differences.push(difference);
        }
    }
}

fn first_difference(case: &str, expected: &Value, actual: &Value) -> Option<Difference> {
    let mut place = String::new();
    let (expected, actual) = descend(Some(expected), Some(actual), &mut place)?;
    let show = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
    Some(Difference {
        case: case.to_owned(),
        place: place.trim_start_matches('.').to_owned(),
        expected: show(expected),
        actual: show(actual),
    })
}

type Pair<'a> = (Option<&'a Value>, Option<&'a Value>);

/// Walks down to the first place at which two values differ; `place` becomes its path.
fn descend<'a>(
    expected: Option<&'a Value>,
    actual: Option<&'a Value>,
    place: &mut String,
) -> Option<Pair<'a>> {
    if expected == actual {
        return None;
    }
    let steps: Vec<(String, Pair<'a>)> = match (expected, actual) {
        (Some(Value::Array(left)), Some(Value::Array(right))) => (0..left.len().max(right.len()))
            .map(|index| (format!("[{index}]"), (left.get(index), right.get(index))))
            .collect(),
        (Some(Value::Object(left)), Some(Value::Object(right))) => left
            .keys()
            .chain(right.keys().filter(|key| !left.contains_key(*key)))
            .map(|key| (format!(".{key}"), (left.get(key), right.get(key))))
            .collect(),
        _ => return Some((expected, actual)),
    };
    let (step, (left, right)) = steps.into_iter().find(|(_, (left, right))| left != right)?;
    place.push_str(&step);
    descend(left, right, place)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_difference_is_named_by_its_place() {
        for (name, expected, actual, place, values) in [
            ("leaf", json!({"a": [1, {"b": 2}]}), json!({"a": [1, {"b": 3}]}), "a[1].b", "2 3"),
            ("missing", json!({"a": [1, 2]}), json!({"a": [1]}), "a[1]", "2 nothing"),
            ("surplus", json!({}), json!({"a": null}), "a", "nothing null"),
            ("kind", json!({"a": {}}), json!({"a": []}), "a", "{} []"),
        ] {
            let found = first_difference(name, &expected, &actual)
                .map(|found| (found.place, format!("{} {}", found.expected, found.actual)));
            assert_eq!(found, Some((place.to_owned(), values.to_owned())), "{name}");
            assert_eq!(first_difference(name, &expected, &expected), None, "{name}");
        }
    }

    #[test]
    fn a_file_of_no_known_kind_is_an_error() {
        for (text, expected) in [
            ("\n", "f: the file is empty; its first line should be a header or a case"),
            (
                "{\"format\":\"x/1\"}",
                "f:1: unknown format `x/1`; known: `cutline-barrier-vectors/1`",
            ),
            (
                "\n{}",
                "f:2:1: there is neither a `format`, a `group` nor a `table` in the first line",
            ),
            ("{]", "f:1:2: key must be a string"),
        ] {
            assert_eq!(
                run_file(text, "f").map_err(|error| error.to_string()),
                Err(expected.to_owned())
            );
        }
    }
}
