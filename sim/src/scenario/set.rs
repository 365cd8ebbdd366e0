//! `--set path=value`: a value of the file replaced, before anything is validated.
//!
//! A path is made of keys and, in lists, of numbers or names: `network.latency`,
//! `job.operators[count].parallelism`, `faults[0].at`, `flink.heartbeat.timeout`. What is not yet
//! in the file is put there; whether it may be is said by the table, like for every other key. A
//! value is JSON, or else a plain string.

use cutline::config::{Known, OPTIONS, find};

use super::diagnostic::{Diagnostic, Span};
use super::syntax::{self, Json, Member, Value};

/// A value that replaces one of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    text: String,
    path: Vec<Segment>,
    /// Where the value begins in the text.
    value: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    kind: SegmentKind,
    name: String,
    start: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SegmentKind {
    Key,
    Element,
}

/// Why a text is not an override.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    /// No `=` in it.
    #[error("`{0}` is not of the form path=value")]
    NoValue(String),
    /// An empty key, or a bracket that is not closed.
    #[error("`{0}` is not a path such as job.operators[count].parallelism")]
    BadPath(String),
}

impl Override {
    /// Reads `path=value`.
    ///
    /// # Errors
    /// The text has no value, or the path another form.
    pub fn parse(text: &str) -> Result<Self, OverrideError> {
        let (path, value) =
            text.split_once('=').ok_or_else(|| OverrideError::NoValue(text.to_owned()))?;
        let bad = || OverrideError::BadPath(path.to_owned());
        let path = segments(path).ok_or_else(bad)?;
        Ok(Self { text: text.to_owned(), path, value: text.len() - value.len() })
    }

    /// `path=value`, as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Puts the value into the tree.
    pub(super) fn apply(&self, source: usize, root: &mut Json) -> Result<(), Box<Diagnostic>> {
        self.remove_other_spellings(root);
        let mut at = root;
        for segment in &self.path {
            let end = segment.start + segment.name.len();
            let span = Span { source, start: segment.start, end };
            at = match segment.kind {
                SegmentKind::Key => member(at, &segment.name, span)?,
                SegmentKind::Element => element(at, &segment.name, span)?,
            };
        }
        *at = self.json(source);
        Ok(())
    }

    fn json(&self, source: usize) -> Json {
        let value = &self.text[self.value..];
        // Blanks in front keep the positions.
        let padded = " ".repeat(self.value) + value;
        syntax::parse(&padded, source).unwrap_or_else(|_| Json {
            span: Span { source, start: self.value, end: self.text.len() },
            value: Value::Text(value.to_owned()),
        })
    }

    /// An override of an option wins over the file whatever the file calls it.
    fn remove_other_spellings(&self, root: &mut Json) {
        let names: Vec<&str> = self.path.iter().map(|segment| segment.name.as_str()).collect();
        if let ["flink", key] = names[..] {
            if let Some(Known::Option(spec) | Known::Deprecated(spec)) = find(key) {
                retain(root, "flink", |other| {
                    other != spec.key && !spec.deprecated.contains(&other)
                });
                retain(root, spec.path.0, |other| other != spec.path.1);
            }
        } else if let [section, name] = names[..] {
            let specs = || OPTIONS.iter().filter(|spec| spec.path == (section, name));
            retain(root, "flink", |key| {
                specs().all(|spec| spec.key != key && !spec.deprecated.contains(&key))
            });
        } else if let ["job", "operators", _, "every" | "rate"] = names[..] {
            let [jobs, operators, operator, last] = &self.path[..] else { return };
            let other = if last.name == "every" { "rate" } else { "every" };
            let mut at = root;
            for segment in [jobs, operators, operator] {
                let found = match segment.kind {
                    SegmentKind::Key => existing_member(at, &segment.name),
                    SegmentKind::Element => existing_element(at, &segment.name),
                };
                let Some(next) = found else { return };
                at = next;
            }
            if let Value::Object(members) = &mut at.value {
                members.retain(|member| member.key != other);
            }
        }
    }
}

fn segments(path: &str) -> Option<Vec<Segment>> {
    let key = |name: &str, start| Segment { kind: SegmentKind::Key, name: name.to_owned(), start };
    if let Some(option) = path.strip_prefix("flink.") {
        return Some(vec![key("flink", 0), key(option, "flink.".len())]);
    }
    let mut segments = Vec::new();
    let mut start = 0;
    for part in path.split('.') {
        let (name, elements) = match part.split_once('[') {
            Some((name, rest)) => (name, Some(rest)),
            None => (part, None),
        };
        if name.is_empty() {
            return None;
        }
        segments.push(key(name, start));
        if let Some(elements) = elements {
            let name = elements.strip_suffix(']').filter(|name| !name.is_empty())?;
            let start = start + part.len() - elements.len();
            let kind = SegmentKind::Element;
            segments.push(Segment { kind, name: name.to_owned(), start });
        }
        start += part.len() + 1;
    }
    Some(segments)
}

/// Takes keys out of a section.
fn retain(root: &mut Json, section: &str, keep: impl Fn(&str) -> bool) {
    if let Some(Json { value: Value::Object(members), .. }) = existing_member(root, section) {
        members.retain(|member| keep(&member.key));
    }
}

fn existing_member<'j>(json: &'j mut Json, name: &str) -> Option<&'j mut Json> {
    match &mut json.value {
        Value::Object(members) => {
            members.iter_mut().rfind(|member| member.key == name).map(|member| &mut member.value)
        }
        _ => None,
    }
}

fn existing_element<'j>(json: &'j mut Json, name: &str) -> Option<&'j mut Json> {
    let Value::List(elements) = &mut json.value else { return None };
    let index = match name.parse::<usize>() {
        Ok(index) => index,
        Err(_) => elements.iter().position(|element| name_of(element) == Some(name))?,
    };
    elements.get_mut(index)
}

fn name_of(json: &Json) -> Option<&str> {
    let Value::Object(members) = &json.value else { return None };
    let name = members.iter().rfind(|member| member.key == "name")?;
    match &name.value.value {
        Value::Text(name) => Some(name),
        _ => None,
    }
}

fn member<'j>(json: &'j mut Json, name: &str, span: Span) -> Result<&'j mut Json, Box<Diagnostic>> {
    let described = json.describe();
    let Value::Object(members) = &mut json.value else {
        let message = format!("`{name}` is looked for in {described}");
        let error = Diagnostic::error("unknown-path", span, message);
        return Err(error.expected("a path through objects").into());
    };
    let index = match members.iter().rposition(|member| member.key == name) {
        Some(index) => {
            members[index].key_span = span;
            index
        }
        None => {
            let value = Json { span, value: Value::Object(Vec::new()) };
            members.push(Member { key: name.to_owned(), key_span: span, value });
            members.len() - 1
        }
    };
    Ok(&mut members[index].value)
}

fn element<'j>(
    json: &'j mut Json,
    name: &str,
    span: Span,
) -> Result<&'j mut Json, Box<Diagnostic>> {
    let error = match &json.value {
        Value::List(elements) => {
            let message = format!("the list has no element `{name}`");
            let names: Vec<&str> = elements.iter().filter_map(name_of).collect();
            Diagnostic::error("unknown-path", span, message)
                .expected(format!("a number below {}, or a name", elements.len()))
                .nearest(name, names)
        }
        _ => Diagnostic::error("unknown-path", span, format!("there is no list for `[{name}]`"))
            .expected("a list that the file has"),
    };
    existing_element(json, name).ok_or_else(|| error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let shown = |text: &str| {
            let of = Override::parse(text).ok()?;
            let parts: Vec<&str> = of.path.iter().map(|segment| segment.name.as_str()).collect();
            for segment in &of.path {
                assert!(text[segment.start..].starts_with(&segment.name), "{text}");
            }
            Some(parts.join("/") + "=" + &text[of.value..])
        };
        let cases = [
            ("network.latency=1 ms", Some("network/latency=1 ms")),
            ("job.operators[count].parallelism=4", Some("job/operators/count/parallelism=4")),
            ("faults[0].at=a=b", Some("faults/0/at=a=b")),
            ("flink.heartbeat.timeout=5 s", Some("flink/heartbeat.timeout=5 s")),
            ("title=", Some("title=")),
            ("title", None),
            ("=5", None),
            ("a..b=5", None),
            ("a[=5", None),
            ("a[]=5", None),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text).as_deref(), expected, "{text}");
        }
    }
}
