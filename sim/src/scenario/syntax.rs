//! JSON with positions. The parser is `jsonc-parser` in its strict mode; nesting, size and
//! completeness are looked at first, because it recurses and because a truncated file deserves a
//! clear word.

use jsonc_parser::{CollectOptions, ParseOptions, ast, parse_to_ast};

use super::diagnostic::{Diagnostic, Span};

/// A scenario file holds nothing that nests deeper.
const DEPTH_MAX: usize = 64;
/// The longest lists that are allowed make some 50,000; what has more is no scenario, and a tree of
/// millions of values takes a gigabyte.
const VALUES_MAX: usize = 200_000;

/// A JSON value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Json {
    pub(crate) span: Span,
    pub(crate) value: Value,
}

/// A JSON value. Numbers keep their text: no float decides anything.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Boolean(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<Member>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) value: Json,
}

impl Json {
    /// The type, with its article, for messages.
    pub(crate) fn describe(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Boolean(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Object(_) => "an object",
        }
    }

    /// A string, number or boolean as Flink's configuration would hold it.
    pub(super) fn scalar(&self) -> Option<String> {
        match &self.value {
            Value::Text(text) | Value::Number(text) => Some(text.clone()),
            Value::Boolean(value) => Some(value.to_string()),
            Value::Null | Value::List(_) | Value::Object(_) => None,
        }
    }
}

/// Reads strict JSON.
///
/// # Errors
/// The first mistake: JSON offers no way to go on behind one.
pub(crate) fn parse(text: &str, source: usize) -> Result<Json, Box<Diagnostic>> {
    scan(text, source)?;
    let options = ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let result = parse_to_ast(text, &CollectOptions::default(), &options).map_err(|error| {
        let range = error.range();
        let span = Span { source, start: range.start, end: range.end };
        Diagnostic::error("syntax", span, format!("this is not JSON: {}", error.kind()))
            .expected("JSON as in RFC 8259: no comments, no trailing commas")
    })?;
    let nothing = || Diagnostic::error("syntax", Span { source, start: 0, end: 0 }, "no value");
    Ok(convert(result.value.ok_or_else(nothing)?, source))
}

/// Follows the brackets without recursion: depth, number of values, and whether all is closed.
fn scan(text: &str, source: usize) -> Result<(), Box<Diagnostic>> {
    let at = |start: usize| Span { source, start, end: start + 1 };
    let mut open = Vec::new();
    let mut string = None;
    let mut escaped = false;
    let mut commas = 0;
    for (index, byte) in text.bytes().enumerate() {
        match (string, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(_), b'"') => string = None,
            (Some(_), _) => {}
            (None, b'"') => string = Some(index),
            (None, b'{' | b'[') if open.len() == DEPTH_MAX => {
                let message = format!("nested deeper than {DEPTH_MAX} levels");
                let expected = "a scenario nests at most 7 levels";
                return Err(Diagnostic::error("too-deep", at(index), message)
                    .expected(expected)
                    .into());
            }
            (None, b'{' | b'[') => open.push(index),
            (None, b',') if commas == VALUES_MAX => {
                let message = format!("more than {VALUES_MAX} values");
                let error = Diagnostic::error("too-large", at(index), message);
                return Err(error.expected("the end of the file long before").into());
            }
            (None, b',') => commas += 1,
            (None, b'}' | b']') => drop(open.pop()),
            (None, _) => {}
        }
    }
    let end = Span { source, start: text.trim_end().len(), end: text.trim_end().len() };
    let truncated = |what, start| {
        Diagnostic::error("truncated", end, "the file ends too early")
            .expected(format!("the end of {what}"))
            .also(at(start), "which begins here")
    };
    match (string, open.pop()) {
        (Some(start), _) => Err(truncated("the string", start).into()),
        (None, Some(start)) if text.as_bytes()[start] == b'{' => {
            Err(truncated("the object", start).into())
        }
        (None, Some(start)) => Err(truncated("the list", start).into()),
        (None, None) if text.trim().is_empty() => {
            Err(Diagnostic::error("truncated", end, "the file is empty").into())
        }
        (None, None) => Ok(()),
    }
}

/// At most `DEPTH_MAX` levels deep, so the recursion is bounded.
fn convert(value: ast::Value<'_>, source: usize) -> Json {
    let span =
        |range: &jsonc_parser::common::Range| Span { source, start: range.start, end: range.end };
    match value {
        ast::Value::NullKeyword(lit) => Json { span: span(&lit.range), value: Value::Null },
        ast::Value::BooleanLit(lit) => {
            Json { span: span(&lit.range), value: Value::Boolean(lit.value) }
        }
        ast::Value::NumberLit(lit) => {
            Json { span: span(&lit.range), value: Value::Number(lit.value.to_owned()) }
        }
        ast::Value::StringLit(lit) => {
            Json { span: span(&lit.range), value: Value::Text(lit.value.into_owned()) }
        }
        ast::Value::Array(list) => {
            let elements = list.elements.into_iter().map(|element| convert(element, source));
            Json { span: span(&list.range), value: Value::List(elements.collect()) }
        }
        ast::Value::Object(object) => {
            let members = object.properties.into_iter().map(|property| {
                let (key, range) = match property.name {
                    ast::ObjectPropName::String(lit) => (lit.value.into_owned(), lit.range),
                    ast::ObjectPropName::Word(lit) => (lit.value.to_owned(), lit.range),
                };
                let value = convert(property.value, source);
                Member { key, key_span: span(&range), value }
            });
            Json { span: span(&object.range), value: Value::Object(members.collect()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_is_read() {
        let cases = [
            ("valid", r#"{"a": [1, -2.5e3, true, null, "x\n"]}"#, None),
            ("huge number", &format!("[{}]", "9".repeat(5_000)), None),
            ("comment", "{} // no", Some("syntax")),
            ("trailing comma", "[1,]", Some("syntax")),
            ("missing comma", "[1 2]", Some("syntax")),
            ("loose key", "{a: 1}", Some("syntax")),
            ("two values", "{} {}", Some("syntax")),
            ("mismatched", "{]", Some("syntax")),
            ("closed twice", "[]]", Some("syntax")),
            ("not a number", "[NaN]", Some("syntax")),
            ("object open", "{\"a\": [1]", Some("truncated")),
            ("string open", "[\"a\\\"]", Some("truncated")),
            ("empty", " \n", Some("truncated")),
            ("many", &format!("[{}]", "0,".repeat(300_000)), Some("too-large")),
            ("deep", &"[".repeat(10_000), Some("too-deep")),
            ("deep and closed", &("[".repeat(10_000) + &"]".repeat(10_000)), Some("too-deep")),
        ];
        for (name, text, expected) in cases {
            assert_eq!(parse(text, 0).err().map(|error| error.code), expected, "{name}");
        }
    }
}
