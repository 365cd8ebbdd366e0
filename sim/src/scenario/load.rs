//! From the bytes of a file to a scenario, or to everything that is wrong with it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::build::build;
use super::diagnostic::{Diagnostic, Diagnostics, Sink, Source, Span, nearest};
use super::fields::FORMAT;
use super::model::Scenario;
use super::read::read;
use super::set::Override;
use super::syntax::{self, Json, Value};

/// A larger file is refused unread: 16 MiB.
pub const SIZE_MAX: usize = 16 << 20;

/// A scenario and what should be said about it.
#[derive(Debug)]
pub struct Loaded {
    /// The scenario, complete.
    pub scenario: Scenario,
    /// Warnings only.
    pub warnings: Diagnostics,
}

/// Reads a file for `load`, and no more of it than `load` needs to refuse it.
///
/// # Errors
/// The file cannot be opened or read.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(SIZE_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Loads a scenario file. `file_name` is for messages; `overrides` apply in their order.
///
/// # Errors
/// All errors of the file and of the overrides, by position, with the warnings among them.
pub fn load(
    text: &[u8],
    file_name: &str,
    overrides: &[Override],
) -> Result<Loaded, Box<Diagnostics>> {
    let mut sink = Sink::default();
    let (text, json) = match decode(text).and_then(parse) {
        Ok(parsed) => parsed,
        Err((text, error)) => {
            sink.push(*error);
            return Err(Box::new(sink.finish(sources(file_name, text, overrides))));
        }
    };
    let scenario = interpret(json, overrides, &mut sink);
    let failed = sink.has_errors();
    let found = sink.finish(sources(file_name, text, overrides));
    match scenario {
        Some(scenario) if !failed => Ok(Loaded { scenario, warnings: found }),
        _ => Err(Box::new(found)),
    }
}

/// Another file than a scenario, as strict JSON with positions.
pub(crate) fn read_json(bytes: &[u8], file_name: &str) -> Result<(String, Json), Box<Diagnostics>> {
    decode(bytes)
        .and_then(parse)
        .map_err(|(text, error)| Box::new(Diagnostics::of(file_name, text, vec![*error])))
}

pub(super) type Failure = (String, Box<Diagnostic>);

pub(super) fn decode(text: &[u8]) -> Result<String, Failure> {
    let start = Span { source: 0, start: 0, end: 0 };
    if text.len() > SIZE_MAX {
        let error = Diagnostic::error("too-large", start, "the file is too large");
        let expected = format!("at most {} MiB", SIZE_MAX >> 20);
        return Err((String::new(), error.expected(expected).into()));
    }
    const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    String::from_utf8(text.to_vec()).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let span = Span { source: 0, start: at, end: at + 1 };
        let message = format!("byte {at} is not UTF-8");
        let error = Diagnostic::error("not-utf8", span, message).expected("text in UTF-8");
        (String::from_utf8_lossy(text).into_owned(), error.into())
    })
}

pub(super) fn parse(text: String) -> Result<(String, Json), Failure> {
    match syntax::parse(&text, 0) {
        Ok(json) => Ok((text, json)),
        Err(error) => Err((text, error)),
    }
}

pub(super) fn sources(file_name: &str, text: String, overrides: &[Override]) -> Vec<Source> {
    let mut sources = vec![Source { name: file_name.to_owned(), text }];
    let name = || "--set".to_owned();
    sources.extend(overrides.iter().map(|of| Source { name: name(), text: of.text().to_owned() }));
    sources
}

pub(super) fn interpret(
    mut json: Json,
    overrides: &[Override],
    sink: &mut Sink,
) -> Option<Scenario> {
    for (index, of) in overrides.iter().enumerate() {
        if let Err(error) = of.apply(index + 1, &mut json) {
            sink.push(*error);
        }
    }
    if let Err(error) = check_format(&json) {
        // Another format has other keys; what could be said about them would mislead.
        sink.push(*error);
        return None;
    }
    let root = read(&json, sink);
    Some(build(&root, sink))
}

/// Refuses another version. A missing format is reported with the other missing keys.
fn check_format(json: &Json) -> Result<(), Box<Diagnostic>> {
    let Value::Object(members) = &json.value else { return Ok(()) };
    let Some(member) = members.iter().rfind(|member| member.key == "format") else {
        return Ok(());
    };
    let Value::Text(found) = &member.value.value else { return Ok(()) };
    if found == FORMAT {
        return Ok(());
    }
    let shown: String = found.chars().take(60).collect();
    let error = if shown.starts_with("cutline-scenario/") {
        let message = format!("this version of cutline does not read `{shown}`");
        Diagnostic::error("other-version", member.value.span, message)
    } else {
        let message = format!("`{shown}` is not a scenario format");
        let error = Diagnostic::error("other-version", member.value.span, message);
        match nearest(&shown, [FORMAT]) {
            Some(format) => error.help(format!("did you mean `{format}`?")),
            None => error,
        }
    };
    Err(error.expected(format!("\"{FORMAT}\"")).into())
}
