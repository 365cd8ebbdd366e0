//! `docs/features.md` is true: the keys are Flink's and do what the table says, the fields are those
//! of a scenario, and the files are there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use cutline::config::{Key, Known, find};
use cutline_sim::scenario::schema;
use serde_json::Value;

use crate::support::root;

/// The tables of the document: for each row its cells.
fn rows() -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("docs/features.md")).expect("it is there");
    let lines = text.lines().filter(|line| line.starts_with('|') && !line.starts_with("| ---"));
    lines
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// What stands between backticks, and what follows it up to the next.
fn quoted(cell: &str) -> Vec<(&str, &str)> {
    let parts: Vec<&str> = cell.split('`').collect();
    parts[1..].chunks(2).map(|pair| (pair[0], pair.get(1).copied().unwrap_or(""))).collect()
}

/// All names of fields below each section.
fn fields() -> BTreeMap<String, BTreeSet<String>> {
    fn below(value: &Value, names: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                if let Some(Value::Object(properties)) = members.get("properties") {
                    names.extend(properties.keys().cloned());
                }
                members.values().for_each(|member| below(member, names));
            }
            Value::Array(values) => values.iter().for_each(|value| below(value, names)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let schema = schema();
    let sections = schema["properties"].as_object().expect("a scenario is an object");
    let of = |(name, value): (&String, &Value)| {
        let mut names = BTreeSet::new();
        below(value, &mut names);
        (name.clone(), names)
    };
    sections.iter().map(of).collect()
}

#[test]
fn the_keys_of_the_table_are_flinks_and_do_what_it_says() {
    let mut keys = 0;
    for row in rows() {
        for (name, behind) in quoted(&row[1]) {
            let is_class = name.starts_with(|first: char| first.is_uppercase());
            if is_class || !name.contains('.') {
                continue;
            }
            keys += 1;
            let no_effect = behind.starts_with(" *(no effect");
            match find(name) {
                Some(Known::Option(_)) => assert!(!no_effect, "{name} has one"),
                Some(Known::NotModelled(_)) => assert!(no_effect, "{name} has none"),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
    assert!(keys > 40, "{keys}");
}

#[test]
fn the_fields_of_the_table_are_there() {
    let known = fields();
    let mut seen = 0;
    for row in rows().iter().filter(|row| row.len() == 4 && row[3].contains("../scenarios/")) {
        assert!(row[2].contains('`'), "{}: no field", row[0]);
        for (path, _) in quoted(&row[2]) {
            let (section, field) = path.split_once('.').expect("a section and a field");
            assert!(known[section].contains(field), "{path}");
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen}");
}

/// What a scenario has if nothing is said of it.
const NEEDS_NO_WORD: [&str; 5] = [
    "alignment, exactly once",
    "pointwise edges stay aligned",
    "buffers and credit",
    "final checkpoints",
    "region failover",
];

#[test]
fn the_scenarios_of_the_table_are_there() {
    let mut features = 0;
    for row in rows().iter().filter(|row| row.len() == 4 && row[3].contains("../scenarios/")) {
        features += 1;
        let mut shows = NEEDS_NO_WORD.contains(&row[0].as_str());
        for link in row[3].split("](").skip(1) {
            let (path, _) = link.split_once(')').expect("a link ends");
            let file = root().join("docs").join(path);
            let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"));
            let is_in = |name: &str| text.contains(&format!("\"{name}\""));
            let last = |path: &str| path.rsplit('.').next().is_some_and(is_in);
            shows |= quoted(&row[2]).iter().any(|(path, _)| last(path));
            shows |= quoted(&row[1]).iter().any(|(key, _)| is_in(key));
        }
        assert!(shows, "no scenario of `{}` says anything of it", row[0]);
    }
    assert!(features >= 40, "{features}");
}

#[test]
fn the_defaults_that_differ_are_all_named() {
    let rows = rows();
    let named: BTreeSet<(String, String)> = rows
        .iter()
        .filter(|row| row.len() == 4 && !row[3].contains("../scenarios/") && row[0].contains('`'))
        .map(|row| (quoted(&row[1])[0].0.to_owned(), row[3].clone()))
        .collect();
    let differ: BTreeSet<(String, String)> = cutline::config::OPTIONS
        .iter()
        .filter(|spec| spec.default_value() != spec.flinks_default())
        .map(|spec| {
            let flinks = spec.flinks_default().expect("Flink has one");
            (spec.key.to_owned(), flinks.to_string())
        })
        .collect();
    assert_eq!(named, differ);
    assert_eq!(differ.len(), 3);
    assert!(Key::CancellationTimeout.spec().default.is_none());
}
