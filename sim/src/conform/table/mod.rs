//! Tables of the cost models: what their formulas give, row by row, against `cutline::model`.
//!
//! A table is one JSON object: its name in `table`, what each field may be off by in `tolerance`,
//! and `rows` of `in` and `out`. The name decides which functions are driven, so that a further
//! file with other rows needs nothing here. Every key of `in` must be taken by them and every key
//! of `out` be one of their results: a misspelt one would judge nothing.
//!
//! Tables of measurements have columns that no formula owes; the report says what was not judged.

use std::collections::BTreeMap;

use cutline::model::ModelError;

use super::{ConformError, Difference, Report};
use crate::scenario::nearest;
use crate::scenario::syntax::{Json, Value, parse};

mod capacity;
mod constants;
mod inputs;
mod statistics;
mod stream;
mod tasks;
mod tolerance;

use inputs::{Inputs, Mistake, member, number, object};
use tolerance::Tolerance;

/// A result of a model for one field of `out`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Found {
    /// A number, within the table's tolerance.
    Number(f64),
    /// A number that is counted.
    Count(u64),
    /// A ratio less 1. The record was subtracted in double precision, which leaves one unit in
    /// the last place of the 1, however small the result: no relative tolerance can ask for more.
    Shift(f64),
    /// Yes or no.
    Flag(bool),
    /// One of a few words.
    Word(&'static str),
    /// There is none: `null`.
    Nothing,
    /// A measured column. It is not judged; what the model gives for it, if it does.
    Measured(Option<f64>),
}

impl From<f64> for Found {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<u64> for Found {
    fn from(value: u64) -> Self {
        Self::Count(value)
    }
}

impl<T: Into<Found>> From<Option<T>> for Found {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nothing, T::into)
    }
}

impl Found {
    /// As JSON.
    fn shown(self) -> String {
        match self {
            Self::Number(value) | Self::Shift(value) => value.to_string(),
            Self::Count(value) => value.to_string(),
            Self::Flag(value) => value.to_string(),
            Self::Word(value) => format!("\"{value}\""),
            Self::Nothing | Self::Measured(None) => "null".to_owned(),
            Self::Measured(Some(value)) => value.to_string(),
        }
    }
}

/// The fields of `out` that a table's functions give.
type Results = Vec<(&'static str, Found)>;

/// Why a row gives no results.
#[derive(Debug)]
enum RowError {
    /// `in` is not what the table takes.
    Mistake(Mistake),
    /// The model has no answer for it; a row may say so with nulls.
    Refused(ModelError),
}

impl From<Mistake> for RowError {
    fn from(mistake: Mistake) -> Self {
        Self::Mistake(mistake)
    }
}

impl From<ModelError> for RowError {
    fn from(error: ModelError) -> Self {
        Self::Refused(error)
    }
}

/// What computes a row of a table.
type Formula = fn(&Inputs<'_>) -> Result<Results, RowError>;

/// The tables by their names.
const TABLES: &[(&str, Formula)] = &[
    ("alignment", tasks::alignment),
    ("barrier_count", tasks::barrier_count),
    ("catchup_stochastic", stream::catchup_stochastic),
    ("catchup_with_pauses", stream::catchup_with_pauses),
    ("completion_time", capacity::completion_time),
    ("coordinator", tasks::coordinator),
    ("dirty_zipf", tasks::dirty_zipf),
    ("effective_interval", stream::effective_interval),
    ("first_delay", capacity::first_delay),
    ("first_order_error", capacity::first_order_error),
    ("interval_batch", capacity::interval_batch),
    ("interval_choice", stream::interval_choice),
    ("khaos_recovery", stream::khaos_recovery),
    ("lag", stream::lag),
    ("metadata_size", tasks::metadata_size),
    ("network_buffers", tasks::network_buffers),
    ("object_store", tasks::object_store),
    ("recovery", stream::recovery),
    ("reference_sweep", stream::reference_sweep),
    ("restart_backoff", tasks::restart_backoff),
    ("slowest_subtask", tasks::slowest_subtask),
    ("statistics", statistics::row),
    ("storage_size", tasks::storage_size),
    ("tolerable_failures", tasks::tolerable_failures),
    ("utilization_exp", capacity::utilization_exp),
    ("utilization_failing_checkpoints", capacity::utilization_failing_checkpoints),
    ("utilization_renewal", capacity::utilization_renewal),
    ("utilization_stream", capacity::utilization_stream),
    ("visible_latency", stream::visible_latency),
];

/// Runs a table.
pub(super) fn run(text: &str, file: &str) -> Result<Report, ConformError> {
    let judged = parse(text, 0)
        .map_err(|error| Mistake { at: error.span.start, message: error.message })
        .and_then(|json| table(&json));
    judged.map_err(|mistake| {
        // A mistake at the end of the text is one behind its last character.
        let before = text.get(..mistake.at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
        ConformError::Malformed { file: file.to_owned(), line, column, message: mistake.message }
    })
}

fn table(json: &Json) -> Result<Report, Mistake> {
    let Some(name) = member(json, "table")? else {
        // Two files have no rows of `in` and `out`, and no name either.
        return match (member(json, "event_bytes")?, member(json, "rows")?) {
            (Some(_), None) => constants::run(json),
            (None, Some(rows)) if constants::are_figures(rows) => Ok(constants::figures()),
            _ => Err(Mistake::new(json, "there is no `table` with the name of a table")),
        };
    };
    let Value::Text(wanted) = &name.value else {
        let message = format!("expected the name of a table, found {}", name.describe());
        return Err(Mistake::new(name, message));
    };
    let Some((_, formula)) = TABLES.iter().find(|(known, _)| known == wanted) else {
        let known = TABLES.iter().map(|(known, _)| *known);
        let hint = match nearest(wanted, known.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known: {}", known.collect::<Vec<_>>().join(", ")),
        };
        return Err(Mistake::new(name, format!("unknown table `{wanted}`; {hint}")));
    };
    let Some(rows) = member(json, "rows")? else {
        return Err(Mistake::new(json, "the table has no `rows`"));
    };
    let Value::List(rows) = &rows.value else {
        return Err(Mistake::new(rows, format!("expected rows, found {}", rows.describe())));
    };
    let mut judge = Judge {
        tolerance: Tolerance::read(member(json, "tolerance")?)?,
        report: Report::default(),
        measured: BTreeMap::new(),
    };
    for (index, row) in rows.iter().enumerate() {
        judge.row(index, row, *formula)?;
    }
    Ok(judge.finish())
}

/// What has been found about the rows so far.
struct Judge {
    tolerance: Tolerance,
    report: Report,
    /// By measured field and label: rows, rows that the model answers, and the sum of its relative
    /// errors there.
    measured: BTreeMap<(&'static str, String), (usize, usize, f64)>,
}

impl Judge {
    fn row(&mut self, index: usize, row: &Json, formula: Formula) -> Result<(), Mistake> {
        let mut given = None;
        let mut expected = None;
        let mut simulated = None;
        for part in object(row)? {
            match part.key.as_str() {
                "in" => given = Some(&part.value),
                "out" => expected = Some(&part.value),
                "mc" => simulated = Some(&part.value),
                other => {
                    let message = format!("`{other}` is not `in`, `out` or `mc`");
                    return Err(Mistake { at: part.key_span.start, message });
                }
            }
        }
        let (Some(given), Some(expected)) = (given, expected) else {
            return Err(Mistake::new(row, "a row has an `in` and an `out`"));
        };
        let inputs = Inputs::new(given)?;
        let case = format!("rows[{index}]");
        let mut differences = match formula(&inputs) {
            Ok(results) => {
                inputs.all_taken()?;
                let mut differences = self.compare(&case, &inputs, expected, &results)?;
                if let Some(simulated) = simulated {
                    differences.extend(compare_simulated(&case, simulated, &results)?);
                }
                differences
            }
            Err(RowError::Mistake(mistake)) => return Err(mistake),
            Err(RowError::Refused(error)) => refused(&case, expected, &error)?,
        };
        differences.truncate(1);
        self.report.record_differences(differences);
        Ok(())
    }

    fn compare(
        &mut self,
        case: &str,
        inputs: &Inputs<'_>,
        expected: &Json,
        results: &Results,
    ) -> Result<Vec<Difference>, Mistake> {
        let mut differences = Vec::new();
        for field in object(expected)? {
            let found = results.iter().find(|(name, _)| *name == field.key);
            let Some((name, found)) = found else {
                let names = || results.iter().map(|(name, _)| *name);
                let hint = match nearest(&field.key, names()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("its results: {}", names().collect::<Vec<_>>().join(", ")),
                };
                let message = format!("the table has no result `{}`; {hint}", field.key);
                return Err(Mistake { at: field.key_span.start, message });
            };
            if let Found::Measured(model) = found {
                self.keep_measured(name, inputs.label(), number(&field.value)?, *model);
                continue;
            }
            if let Some(within) = self.tolerance.missed(&inputs.kind(), field, *found)? {
                differences.push(Difference {
                    case: case.to_owned(),
                    place: format!("out.{name} {within}"),
                    expected: shown(&field.value),
                    actual: found.shown(),
                });
            }
        }
        Ok(differences)
    }

    fn keep_measured(&mut self, name: &'static str, label: String, value: f64, model: Option<f64>) {
        let (rows, answered, errors) = self.measured.entry((name, label)).or_default();
        *rows += 1;
        if let Some(model) = model {
            *answered += 1;
            *errors += (model - value).abs() / value;
        }
    }

    fn finish(mut self) -> Report {
        for ((name, label), (rows, answered, errors)) in self.measured {
            let of = if label.is_empty() { label } else { format!(" of {label}") };
            let model = if answered == 0 {
                "no model here gives it".to_owned()
            } else {
                let mean = 100.0 * errors / answered as f64;
                format!("the model is off by {mean:.1} % on average")
            };
            let note = format!("out.{name}{of}: measured, not judged in {rows} rows; {model}");
            self.report.notes.push(note);
        }
        self.report
    }
}

/// A row for which the model has no answer passes if it expects none.
fn refused(case: &str, expected: &Json, error: &ModelError) -> Result<Vec<Difference>, Mistake> {
    let wanted = object(expected)?.iter().find(|field| !matches!(field.value.value, Value::Null));
    let difference = wanted.map(|field| Difference {
        case: case.to_owned(),
        place: format!("out.{}", field.key),
        expected: shown(&field.value),
        actual: format!("no answer: {error}"),
    });
    Ok(difference.into_iter().collect())
}

/// A row may carry what a Monte-Carlo run of the same question gave, with its standard error.
fn compare_simulated(
    case: &str,
    simulated: &Json,
    results: &Results,
) -> Result<Option<Difference>, Mistake> {
    const STANDARD_ERRORS_MAX: f64 = 4.0;
    let (Some(value), Some(error)) = (member(simulated, "U")?, member(simulated, "se")?) else {
        return Err(Mistake::new(simulated, "a simulated row has a `U` and its `se`"));
    };
    let found = results.iter().find_map(|(name, found)| match found {
        Found::Number(found) if *name == "U" => Some(*found),
        _ => None,
    });
    let Some(found) = found else {
        return Err(Mistake::new(value, "the table has no result `U` to compare with"));
    };
    let misses = (found - number(value)?).abs() > STANDARD_ERRORS_MAX * number(error)?;
    Ok(misses.then(|| Difference {
        case: case.to_owned(),
        place: format!("mc.U within {STANDARD_ERRORS_MAX} standard errors"),
        expected: shown(value),
        actual: found.to_string(),
    }))
}

/// A value of the file, for a difference.
fn shown(json: &Json) -> String {
    match &json.value {
        Value::Null => "null".to_owned(),
        Value::Boolean(value) => value.to_string(),
        Value::Number(text) => text.clone(),
        Value::Text(text) => format!("\"{text}\""),
        Value::List(_) | Value::Object(_) => json.describe().to_owned(),
    }
}
