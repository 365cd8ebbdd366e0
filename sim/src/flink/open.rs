//! What a draft leaves open: every value that its scenario has all the same, from the defaults of
//! the format and of Flink.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::draft::{Draft, Kind, Stream, assumption};
use crate::scenario::{Diagnostics, load, to_json};

/// Lists that are empty unless a user fills them.
const EMPTY: [&str; 3] = ["actions", "failures", "faults"];

impl Draft {
    /// Names what a plan and a few answers never say of sources and of keyed state, and each field
    /// that is left out of the file, with the value that it has then.
    ///
    /// # Errors
    /// The draft is no valid scenario.
    pub fn name_what_is_open(&mut self) -> Result<(), Box<Diagnostics>> {
        let text = self.to_json();
        let scenario = load(text.as_bytes(), "draft.json", &[])?.scenario;
        self.name_open_sources();
        let parse = |text: &str| -> Map<String, Value> {
            serde_json::from_str(text).expect("a scenario is written as an object")
        };
        let (drafted, whole) = (parse(&text), parse(&to_json(&scenario)));
        self.assumed.extend(open_operators(&drafted, &whole));
        for (section, values) in whole.iter().filter(|(section, _)| *section != "job") {
            let Some(values) = values.as_object() else { continue };
            let given = drafted.get(section).and_then(Value::as_object);
            let open = open_fields(given, values);
            if !open.is_empty() {
                self.assumed.push(format!("{section}: {open} (the defaults)"));
            }
        }
        let nothing: Vec<&str> =
            EMPTY.into_iter().filter(|list| !drafted.contains_key(*list)).collect();
        self.assumed.push(format!("{} = none (nothing is done to the job)", nothing.join(", ")));
        Ok(())
    }

    fn name_open_sources(&mut self) {
        let streams = self.operators.iter().filter_map(|of| match of.kind {
            Kind::Source(stream) => Some((of, stream)),
            Kind::Map
            | Kind::Filter
            | Kind::FlatMap
            | Kind::Aggregate(_)
            | Kind::Join(_)
            | Kind::Sink(_) => None,
        });
        let (sources, streams): (Vec<_>, Vec<Stream>) = streams.unzip();
        let Some(stream) = streams.first() else { return };
        let names: Vec<&str> = sources.iter().map(|of| of.name.as_str()).collect();
        let all = format!("job.operators[{}]", names.join(", "));
        let mut splits: Vec<String> = sources.iter().map(|of| of.parallelism.to_string()).collect();
        splits.dedup();
        let notes = [
            ("splits", splits.join(", "), "one a subtask"),
            ("keys", stream.keys.to_string(), "some 200 for each subtask of the widest operator"),
            ("key_run", "1".to_owned(), "each key as often as any other, in no order"),
            (
                "weight",
                stream.weight.to_string(),
                "so that a simulated record is a buffer of real ones, or a run is short",
            ),
            ("records", "none".to_owned(), "no source has an end"),
            ("history", "0".to_owned(), "none has anything to catch up with at first"),
            ("out_of_orderness", "none".to_owned(), "there is no event time"),
        ];
        let notes =
            notes.map(|(field, value, why)| assumption(&format!("{all}.{field}"), value, why));
        self.assumed.extend(notes);
    }
}

/// Of each operator the fields that it has and the draft does not say; those with the same ones are
/// named together.
fn open_operators(drafted: &Map<String, Value>, whole: &Map<String, Value>) -> Vec<String> {
    let operators = |of: &Map<String, Value>| -> Vec<Map<String, Value>> {
        let list = of["job"]["operators"].as_array().cloned().unwrap_or_default();
        list.into_iter().filter_map(|of| of.as_object().cloned()).collect()
    };
    let mut alike: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (given, values) in operators(drafted).iter().zip(operators(whole)) {
        let open = open_fields(Some(given), &values);
        let name = given["name"].as_str().unwrap_or_default().to_owned();
        alike.entry(open).or_default().push(name);
    }
    alike.remove("");
    let line = |(open, names): (String, Vec<String>)| {
        format!("job.operators[{}]: {open} (the defaults)", names.join(", "))
    };
    alike.into_iter().map(line).collect()
}

fn open_fields(given: Option<&Map<String, Value>>, values: &Map<String, Value>) -> String {
    let open = values.iter().filter(|(name, _)| given.is_none_or(|of| !of.contains_key(*name)));
    // These are named by themselves, with their reasons.
    let named = ["key_run", "history", "state_per_key"];
    let open = open.filter(|(name, _)| !named.contains(&name.as_str()));
    let shown = open.map(|(name, value)| match value {
        Value::String(text) => format!("{name} = {text}"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            format!("{name} = {value}")
        }
    });
    shown.collect::<Vec<_>>().join(", ")
}
