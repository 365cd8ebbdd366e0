//! How far a field of a table may be off, as the table itself says.
//!
//! `rel` is for all numbers. A field or a kind of rows may have its own, as a number or as the text
//! `rel 1e-6`; `"exact": true` and groups of counted fields (`counts`, `bytes`, `indices`) that are
//! `"exact"` allow nothing. Other text speaks of simulated runs, which are not judged here.

use std::collections::BTreeMap;

use super::Found;
use super::inputs::{Mistake, number, object};
use crate::scenario::syntax::{Json, Member, Value};

/// Names of all counted fields together.
const COUNTED: [&str; 3] = ["counts", "bytes", "indices"];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    Exact,
    Relative(f64),
}

/// The `tolerance` of a table.
#[derive(Debug, Default)]
pub(super) struct Tolerance {
    all: Option<Bound>,
    counted: Option<Bound>,
    /// By field or kind.
    named: BTreeMap<String, Bound>,
}

impl Tolerance {
    pub(super) fn read(json: Option<&Json>) -> Result<Self, Mistake> {
        let mut tolerance = Self::default();
        let Some(json) = json else {
            return Ok(tolerance);
        };
        for member in object(json)? {
            let Some(bound) = bound(&member.value)? else {
                continue;
            };
            match member.key.as_str() {
                "rel" | "exact" => tolerance.all = Some(bound),
                key if COUNTED.contains(&key) => tolerance.counted = Some(bound),
                key => drop(tolerance.named.insert(key.to_owned(), bound)),
            }
        }
        Ok(tolerance)
    }

    /// What the tolerance for a field was, if the result misses it.
    pub(super) fn missed(
        &self,
        kind: &str,
        field: &Member,
        found: Found,
    ) -> Result<Option<String>, Mistake> {
        let expected = &field.value;
        let (value, absolute) = match found {
            Found::Number(value) => (value, 0.0),
            Found::Shift(value) => (value, f64::EPSILON),
            Found::Count(value) => (value as f64, 0.0),
            Found::Flag(value) => {
                return Ok(unequal(matches!(&expected.value, Value::Boolean(is) if *is == value)));
            }
            Found::Word(value) => {
                return Ok(unequal(matches!(&expected.value, Value::Text(is) if is == value)));
            }
            Found::Nothing | Found::Measured(_) => {
                return Ok(unequal(matches!(expected.value, Value::Null)));
            }
        };
        if !matches!(expected.value, Value::Number(_)) {
            return Ok(unequal(false));
        }
        let expected = number(expected)?;
        let named = self.named.get(&field.key).or_else(|| self.named.get(kind));
        let counted = self.counted.filter(|_| matches!(found, Found::Count(_)));
        let Some(bound) = named.copied().or(counted).or(self.all) else {
            let message = format!("the `tolerance` says nothing that holds for `{}`", field.key);
            return Err(Mistake { at: field.key_span.start, message });
        };
        Ok(match bound {
            Bound::Exact => (value != expected).then(|| "exactly".to_owned()),
            Bound::Relative(rel) => {
                let most = (rel * expected.abs()).max(absolute);
                let off = (value - expected).abs();
                (off > most || off.is_nan()).then(|| format!("within {rel:e} of it"))
            }
        })
    }
}

fn unequal(equal: bool) -> Option<String> {
    (!equal).then(|| "exactly".to_owned())
}

/// What a tolerance allows; `None` if it is a text for people.
fn bound(json: &Json) -> Result<Option<Bound>, Mistake> {
    let relative = |rel: f64| {
        let message = format!("a tolerance of {rel}; it must be at least 0 and below 1");
        if (0.0..1.0).contains(&rel) {
            Ok(Some(Bound::Relative(rel)))
        } else {
            Err(Mistake::new(json, message))
        }
    };
    match &json.value {
        Value::Number(_) => relative(number(json)?),
        Value::Boolean(true) => Ok(Some(Bound::Exact)),
        Value::Text(text) if text == "exact" => Ok(Some(Bound::Exact)),
        Value::Text(text) => match text.strip_prefix("rel ").map(str::parse) {
            Some(Ok(rel)) => relative(rel),
            Some(Err(_)) | None => Ok(None),
        },
        Value::Null | Value::Boolean(false) | Value::List(_) | Value::Object(_) => Ok(None),
    }
}
