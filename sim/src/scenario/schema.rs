//! The JSON Schema of scenario files, from the table.

use std::collections::BTreeMap;

use cutline::config::{
    Known, OPEN_FAMILIES, OPTIONS, OptionKind, OptionSpec, ValueKind, find, flink_keys,
    removed_keys,
};
use serde_json::{Map, Value, json};

use super::fields::FORMAT;
use super::table::{Field, Kind, Need, Object, ROOT};

const DURATION: &str = r"^\s*([0-9]+\s*[A-Za-zµ]*|[Pp]([0-9]+[Dd])?([Tt]([0-9]+[Hh])?([0-9]+[Mm])?([0-9.]+[Ss])?)?)\s*$";
const SIZE: &str = r"^\s*[0-9]+\s*[A-Za-z]*\s*$";

/// The schema, draft 2020-12. It knows types, keys and ranges; what fits together is known to
/// `load` alone.
pub fn schema() -> Value {
    let mut schema = object(&ROOT);
    let definitions = json!({
        "duration": {
            "type": "string",
            "pattern": DURATION,
            "description": "A span of virtual time in Flink's grammar: \"500 ms\", \"10 s\", \"PT1M\"."
        },
        "size": {
            "type": "string",
            "pattern": SIZE,
            "description": "Bytes in Flink's grammar: \"100 b\", \"32 kb\", \"1 gb\"."
        },
        "distribution": distribution(),
    });
    let parts = schema.as_object_mut().expect("the schema of an object is an object");
    parts.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    parts.insert("title".into(), format!("Cutline scenario, {FORMAT}").into());
    parts.insert("$defs".into(), definitions);
    schema
}

fn object(table: &Object) -> Value {
    let Some(variants) = &table.variants else {
        return closed_object(table.doc, table.fields.iter(), None);
    };
    let variants: Vec<Value> = variants
        .list
        .iter()
        .map(|variant| {
            let tag = Some((variants.tag, variants.doc, variant.name));
            closed_object(variant.doc, table.fields_of(Some(variant.name)), tag)
        })
        .collect();
    json!({ "description": table.doc, "oneOf": variants })
}

fn closed_object<'t>(
    doc: &str,
    fields: impl Iterator<Item = &'t Field>,
    tag: Option<(&str, &str, &str)>,
) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    if let Some((name, doc, value)) = tag {
        properties.insert(name.to_owned(), json!({ "const": value, "description": doc }));
        required.push(name.to_owned());
    }
    for field in fields {
        properties.insert(field.name.to_owned(), described(field));
        if field.need == Need::Required {
            required.push(field.name.to_owned());
        }
    }
    json!({
        "type": "object",
        "description": doc,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn described(field: &Field) -> Value {
    let mut schema = of_kind(&field.kind);
    let parts = schema.as_object_mut().expect("every schema of a field is an object");
    parts.insert("description".into(), field.doc.into());
    if let Need::Default(text) = field.need {
        let default = serde_json::from_str(text).expect("the table's defaults are JSON; tested");
        parts.insert("default".into(), default);
    }
    if let Kind::Option(OptionSpec { default: Some(default), key, .. }) = field.kind {
        let doc = format!("{} Flink's `{key}`, default {default}.", field.doc);
        parts.insert("description".into(), doc.into());
    }
    schema
}

fn of_kind(kind: &Kind) -> Value {
    match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Format => json!({ "const": FORMAT }),
        Kind::Name => json!({ "type": "string", "pattern": r"^[A-Za-z0-9_.\-]{1,100}$" }),
        Kind::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Duration { .. } => json!({ "$ref": "#/$defs/duration" }),
        Kind::Size { .. } => json!({ "$ref": "#/$defs/size" }),
        Kind::Bandwidth => {
            json!({ "type": "string", "pattern": r"^(unlimited|\s*[0-9]+\s*[A-Za-z]*\s*/s)$" })
        }
        Kind::Rate => json!({ "type": "string", "pattern": r"^\s*[0-9]+\s*/\s*[A-Za-zµ]+\s*$" }),
        Kind::Ratio => json!({ "type": "string", "pattern": r"^\s*[0-9]+\s*/\s*[0-9]+\s*$" }),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Decimal { .. } => json!({ "type": ["number", "string"] }),
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::Distribution => json!({ "$ref": "#/$defs/distribution" }),
        Kind::Subtask => {
            json!({ "type": "string", "pattern": r"^[A-Za-z0-9_.\-]+\[[0-9]+\]$" })
        }
        Kind::Endpoint => {
            json!({ "type": "string", "pattern": r"^(job_manager|task_manager\[[0-9]+\])$" })
        }
        Kind::Option(spec) => short_option(spec),
        Kind::Object(table) => object(table),
        Kind::List(table, max) => {
            json!({ "type": "array", "items": object(table), "maxItems": max })
        }
        Kind::When(table) => json!({ "oneOf": [{ "$ref": "#/$defs/duration" }, object(table)] }),
        Kind::ByOperator { min, max } => json!({
            "type": "object",
            "additionalProperties": { "type": "integer", "minimum": min, "maximum": max },
        }),
        Kind::Flink => flink(),
    }
}

fn short_option(spec: &OptionSpec) -> Value {
    match spec.kind {
        OptionKind::Duration => json!({ "$ref": "#/$defs/duration" }),
        OptionKind::Integer => json!({ "type": "integer" }),
        OptionKind::Boolean => json!({ "type": "boolean" }),
        OptionKind::Decimal => json!({ "type": ["number", "string"] }),
        OptionKind::Uri(schemes) => {
            let words: Vec<&str> =
                schemes.iter().flat_map(|(_, words)| words.iter().copied()).collect();
            json!({ "type": "string", "pattern": format!("^(({}):|/)", words.join("|")) })
        }
        OptionKind::Size => json!({ "$ref": "#/$defs/size" }),
        OptionKind::Choice(choices) => {
            let short = choices.iter().map(|(name, _)| *name);
            let long = choices.iter().flat_map(|(_, words)| words.iter().copied());
            json!({ "enum": short.chain(long).collect::<Vec<_>>() })
        }
    }
}

/// Flink's configuration holds strings, and is kind to numbers and booleans.
fn flink() -> Value {
    const SCALAR: [&str; 3] = ["string", "number", "boolean"];
    let mut properties = Map::new();
    for spec in OPTIONS.iter().filter(|spec| !spec.is_removed()) {
        properties.insert(spec.key.to_owned(), json!({ "type": SCALAR, "description": spec.doc }));
        for key in spec.deprecated {
            let doc = format!("Deprecated spelling of `{}`.", spec.key);
            let schema = json!({ "type": SCALAR, "description": doc, "deprecated": true });
            properties.insert((*key).to_owned(), schema);
        }
    }
    let quoted = |key: &str| key.replace('.', r"\.");
    // All keys with one reason are one pattern: none of them is worth being offered.
    let mut families: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for key in flink_keys() {
        let names = [key.key].into_iter().chain(key.deprecated.iter().copied());
        let Some(Known::NotModelled(entry)) = find(key.key) else { continue };
        let end = if key.kind == ValueKind::Map { r"(\..+)?" } else { "" };
        let patterns = names.map(|name| quoted(name) + end);
        families.entry(entry.reason).or_default().extend(patterns);
    }
    for (family, reason) in OPEN_FAMILIES {
        families.entry(reason).or_default().push(quoted(family) + ".*");
    }
    let removed = removed_keys().map(quoted).collect::<Vec<_>>().join("|");
    let mut patterns = Map::new();
    patterns.insert(
        format!("^({removed})$"),
        json!({ "description": "Flink 2.3 has no such option, and ignores it.", "deprecated": true }),
    );
    for (reason, keys) in families {
        let doc = json!({ "description": format!("Not modelled: {reason}.") });
        patterns.insert(format!("^({})$", keys.join("|")), doc);
    }
    json!({
        "type": "object",
        "properties": properties,
        "patternProperties": patterns,
        "additionalProperties": false,
    })
}

fn distribution() -> Value {
    let span = || json!({ "$ref": "#/$defs/duration" });
    let parts = |name: &str, first: &str, second: &str, second_schema: Value| {
        let inner = json!({
            "type": "object",
            "properties": { first: span(), second: second_schema },
            "required": [first, second],
            "additionalProperties": false,
        });
        json!({
            "type": "object",
            "properties": { name: inner },
            "required": [name],
            "additionalProperties": false,
        })
    };
    json!({
        "description": "How long something takes.",
        "oneOf": [
            span(),
            {
                "type": "object",
                "properties": {
                    "uniform": { "type": "array", "items": span(), "minItems": 2, "maxItems": 2 }
                },
                "required": ["uniform"],
                "additionalProperties": false,
            },
            parts("exponential", "min", "mean", span()),
            parts("log_normal", "median", "sigma", json!({ "type": ["number", "string"] })),
        ],
    })
}
