//! The coordinator's vectors: what a case looks like, and how answers are compared.
//!
//! Each group has a driver that feeds the operations of a case to the machine of the core crate
//! and writes down what it answers. No driver decides anything the protocol has to decide.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::conform::Difference;

mod events;
mod files;
mod functions;
mod operate;
mod scripts;
mod setup;
mod world;

/// One line of a vector file.
#[derive(Debug, Deserialize)]
struct Case {
    group: String,
    name: String,
    #[serde(default, rename = "in")]
    input: Value,
    #[serde(default)]
    out: Value,
    #[serde(default)]
    config: Value,
    #[serde(default)]
    script: Vec<Value>,
    #[serde(default)]
    expect: Vec<Value>,
}

/// A case that cannot be run.
#[derive(Debug, thiserror::Error)]
pub(super) enum CaseError {
    /// Not the JSON it should be.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A group nobody knows.
    #[error("unknown group {0:?}")]
    UnknownGroup(String),
    /// An operation that cannot be read, or that names what is not there.
    #[error("operation {index}: {message}")]
    Operation {
        /// Its position, from 0.
        index: usize,
        /// What is wrong.
        message: String,
    },
    /// A value outside of what the protocol allows.
    #[error("{0}")]
    Range(&'static str),
}

impl CaseError {
    /// The column in the line at which it was noticed; 1 if it is about the whole case.
    pub(super) fn column(&self) -> usize {
        match self {
            Self::Json(error) => error.column().max(1),
            Self::UnknownGroup(_) | Self::Operation { .. } | Self::Range(_) => 1,
        }
    }
}

/// Runs one case, given as a line of JSON, and answers where it differs.
///
/// # Errors
/// [`CaseError`] if the line is no case.
pub(super) fn run_case(line: &str) -> Result<Vec<Difference>, CaseError> {
    let case: Case = serde_json::from_str(line)?;
    match case.group.as_str() {
        "key_groups" => function(case, functions::key_groups),
        "subtask_mapping" => function(case, functions::subtask_mapping),
        "list_state" => function(case, functions::list_state),
        "decider" => script::<scripts::DeciderDriver>(case),
        "failure_manager" => script::<scripts::FailureDriver>(case),
        "shared_state_registry" => script::<files::RegistryDriver>(case),
        "checkpoint_store" => script::<files::StoreDriver>(case),
        "coordinator" | "coordinator_io" => script::<world::CoordinatorDriver>(case),
        _ => Err(CaseError::UnknownGroup(case.group)),
    }
}

/// A machine that answers operations one by one.
trait Driver: Sized {
    /// `config` of a case.
    type Config: DeserializeOwned;
    /// One operation of a script.
    type Operation: DeserializeOwned;

    /// Sets the machine up.
    fn new(config: Self::Config) -> Result<Self, CaseError>;

    /// Does one operation and writes the answer down.
    fn step(&mut self, operation: Self::Operation) -> Result<Value, String>;
}

fn script<D: Driver>(case: Case) -> Result<Vec<Difference>, CaseError> {
    if case.script.len() != case.expect.len() {
        return Err(CaseError::Range("script and expect differ in length"));
    }
    let mut driver = D::new(serde_json::from_value(case.config)?)?;
    let mut differences = Vec::new();
    for (index, (operation, expected)) in case.script.into_iter().zip(case.expect).enumerate() {
        let wrong = |message: String| CaseError::Operation { index, message };
        let place = format!("{index}: {operation}");
        let operation =
            serde_json::from_value(operation).map_err(|error| wrong(error.to_string()))?;
        let actual = driver.step(operation).map_err(wrong)?;
        differences.extend(compare(&case.name, place, &expected, &actual));
    }
    Ok(differences)
}

fn function<I: DeserializeOwned>(
    case: Case,
    function: fn(I) -> Result<Value, CaseError>,
) -> Result<Vec<Difference>, CaseError> {
    let actual = function(serde_json::from_value(case.input)?)?;
    let difference = compare(&case.name, "out".to_owned(), &case.out, &actual);
    Ok(difference.into_iter().collect())
}

fn compare(case: &str, place: String, expected: &Value, actual: &Value) -> Option<Difference> {
    let (expected, actual) = (normal(expected), normal(actual));
    (expected != actual).then(|| Difference {
        case: case.to_owned(),
        place,
        expected: expected.to_string(),
        actual: actual.to_string(),
    })
}

/// A missing field means empty, none, false or zero, so such fields are left out; the events of a
/// step are a multiset, so they are sorted, one for each task.
fn normal(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(normal_fields(fields)),
        Value::Array(items) => items.iter().map(normal).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn normal_fields(fields: &Map<String, Value>) -> Map<String, Value> {
    let mut normalized = Map::new();
    for (name, value) in fields {
        let value = match (name.as_str(), value) {
            ("events", Value::Array(events)) => by_task(events),
            _ => normal(value),
        };
        if !is_default(name, &value) {
            normalized.insert(name.clone(), value);
        }
    }
    normalized
}

fn is_default(name: &str, value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        // Elsewhere a zero is a number of something: checkpoint 0, time 0.
        Value::Number(_) => matches!(name, "queued" | "counter") && *value == json!(0),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) | Value::String(_) => false,
    }
}

fn by_task(events: &[Value]) -> Value {
    let mut single: Vec<Value> = Vec::new();
    for event in events.iter().map(normal) {
        match event.get("tasks").and_then(Value::as_array).cloned() {
            None => single.push(event),
            Some(tasks) => single.extend(tasks.into_iter().map(|task| {
                let mut event = event.clone();
                event["tasks"] = task;
                event
            })),
        }
    }
    single.sort_by_cached_key(Value::to_string);
    Value::Array(single)
}
