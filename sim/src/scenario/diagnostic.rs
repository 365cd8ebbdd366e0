//! What is wrong with a scenario, and where: collected, sorted, rendered with carets.

use std::fmt;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::json;

/// More diagnostics than these are counted, not kept.
const KEPT_MAX: usize = 100;
/// A longer line is named by its position only.
const SHOWN_LINE_MAX: usize = 2_000;

/// A range of bytes in the file or in the text of an override.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// 0: the file; n: the n-th override.
    pub source: usize,
    /// The first byte.
    pub start: usize,
    /// Behind the last byte.
    pub end: usize,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The scenario cannot run.
    Error,
    /// The scenario runs, perhaps not as meant.
    Warning,
}

/// One thing to say about a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A short name of the class, such as `unknown-key`; stable across versions.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What was expected there.
    pub expected: String,
    /// Other places that belong to it.
    pub also: Vec<(Span, String)>,
    /// The nearest valid name, or another way out.
    pub help: Option<String>,
    /// What Flink would do.
    pub flink: Option<String>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            span,
            expected: String::new(),
            also: Vec::new(),
            help: None,
            flink: None,
        }
    }

    /// A warning at a place.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    /// Says what was expected.
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = expected.into();
        self
    }

    /// Names another place.
    pub fn also(mut self, span: Span, message: impl Into<String>) -> Self {
        self.also.push((span, message.into()));
        self
    }

    /// Says how to mend it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Offers the nearest of the valid names, if one is near.
    pub fn nearest<'a>(self, found: &str, valid: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(found, valid) {
            Some(name) => self.help(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    /// Says what Flink would do.
    pub fn flink(mut self, flink: impl Into<String>) -> Self {
        self.flink = Some(flink.into());
        self
    }
}

/// The valid name that differs least from the found one, if it is near enough to be meant.
pub(crate) fn nearest<'a>(
    found: &str,
    valid: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    const LONGEST: usize = 100;
    if found.len() > LONGEST {
        return None;
    }
    let normal = |name: &str| name.to_lowercase().replace('-', "_");
    let wanted = normal(found);
    let limit = (found.chars().count() / 3).max(1);
    valid
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&wanted, &normal(name)), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Where diagnostics are collected while a file is read.
#[derive(Debug, Default)]
pub(super) struct Sink {
    kept: Vec<Diagnostic>,
    dropped: usize,
    errors: usize,
}

impl Sink {
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        self.errors += usize::from(diagnostic.severity == Severity::Error);
        if self.kept.len() < KEPT_MAX {
            self.kept.push(diagnostic);
        } else {
            self.dropped += 1;
        }
    }

    /// Whether further diagnostics are no longer worth their words.
    pub(super) fn is_full(&self) -> bool {
        self.kept.len() >= KEPT_MAX
    }

    /// Counts an error without a word about it.
    pub(super) fn count_error(&mut self) {
        self.errors += 1;
        self.dropped += 1;
    }

    pub(super) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Sorted by position; overrides come behind the file.
    pub(super) fn finish(mut self, sources: Vec<Source>) -> Diagnostics {
        self.kept.sort_by_key(|diagnostic| diagnostic.span);
        Diagnostics { sources, list: self.kept, dropped: self.dropped, errors: self.errors }
    }
}

/// A text that spans point into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
}

/// Everything there is to say about a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    sources: Vec<Source>,
    list: Vec<Diagnostic>,
    dropped: usize,
    errors: usize,
}

impl Diagnostics {
    /// What there is to say about another file than a scenario.
    pub(crate) fn of(file_name: &str, text: String, list: Vec<Diagnostic>) -> Self {
        let mut sink = Sink::default();
        list.into_iter().for_each(|diagnostic| sink.push(diagnostic));
        sink.finish(vec![Source { name: file_name.to_owned(), text }])
    }

    /// The diagnostics, by position; at most the first hundred that were found.
    pub fn list(&self) -> &[Diagnostic] {
        &self.list
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Number of errors, those beyond the list included.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// Line and column of a span's start, counted from 1; the column counts characters.
    pub fn position(&self, span: Span) -> (usize, usize) {
        let text = &self.sources[span.source].text;
        let before = &text.as_bytes()[..span.start.min(text.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
        (line, column)
    }

    /// For programs: a list of objects with `severity`, `code`, `message`, `source`, `line`,
    /// `column`, `expected`, and, where there are any, `also`, `help` and `flink`.
    pub fn to_json(&self) -> serde_json::Value {
        let place = |span: Span| {
            let (line, column) = self.position(span);
            json!({ "source": self.sources[span.source].name, "line": line, "column": column })
        };
        let one = |diagnostic: &Diagnostic| {
            let mut value = place(diagnostic.span);
            value["severity"] = match diagnostic.severity {
                Severity::Error => "error".into(),
                Severity::Warning => "warning".into(),
            };
            value["code"] = diagnostic.code.into();
            value["message"] = diagnostic.message.as_str().into();
            value["expected"] = diagnostic.expected.as_str().into();
            for (name, text) in [("help", &diagnostic.help), ("flink", &diagnostic.flink)] {
                if let Some(text) = text {
                    value[name] = text.as_str().into();
                }
            }
            let also = diagnostic.also.iter().map(|(span, message)| {
                let mut also = place(*span);
                also["message"] = message.as_str().into();
                also
            });
            if !diagnostic.also.is_empty() {
                value["also"] = also.collect();
            }
            value
        };
        self.list.iter().map(one).collect()
    }

    /// Text for people: every diagnostic with its line and a caret, then a count.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for diagnostic in &self.list {
            text.push_str(&self.render_one(&renderer, diagnostic));
            text.push_str("\n\n");
        }
        let warnings = self.list.len() + self.dropped - self.errors;
        let mut counts = Vec::new();
        for (count, name) in [(self.errors, "error"), (warnings, "warning")] {
            if count > 0 {
                counts.push(format!("{count} {name}{}", if count == 1 { "" } else { "s" }));
            }
        }
        if self.dropped > 0 {
            counts.push(format!("the last {} not shown", self.dropped));
        }
        text + &counts.join(", ") + if counts.is_empty() { "" } else { "\n" }
    }

    fn render_one(&self, renderer: &Renderer, diagnostic: &Diagnostic) -> String {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code);
        let mut group = Group::with_title(title);
        let mut marks =
            vec![(AnnotationKind::Primary, diagnostic.span, diagnostic.expected.as_str())];
        for (span, message) in &diagnostic.also {
            marks.push((AnnotationKind::Context, *span, message.as_str()));
        }
        for (kind, span, label) in marks {
            group = self.show(group, kind, span, label);
        }
        if let Some(help) = &diagnostic.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        if let Some(flink) = &diagnostic.flink {
            group = group.element(Level::NOTE.message(format!("Flink's {flink}")));
        }
        renderer.render(&[group])
    }

    /// The line of a span with its label. Only the lines that are shown are handed to the
    /// renderer, so that many diagnostics in a long file stay cheap.
    fn show<'a>(
        &'a self,
        group: Group<'a>,
        kind: AnnotationKind,
        span: Span,
        label: &'a str,
    ) -> Group<'a> {
        let source = &self.sources[span.source];
        let text = source.text.as_str();
        let start = floor_char(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let (line, column) = self.position(span);
        if line_end - line_start > SHOWN_LINE_MAX {
            let place = format!("{}:{line}:{column}: {label}", source.name);
            return group.element(Level::INFO.message(place));
        }
        let end = floor_char(text, span.end).clamp(start, line_end);
        let range = start - line_start..end - line_start;
        let annotation = kind.span(range);
        let annotation = if label.is_empty() { annotation } else { annotation.label(label) };
        group.element(
            Snippet::source(&text[line_start..line_end])
                .line_start(line)
                .path(source.name.as_str())
                .annotation(annotation),
        )
    }
}

fn floor_char(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_offered_and_far_ones_are_not() {
        let valid = ["interval", "timeout", "min_pause"];
        let cases = [
            ("intervall", Some("interval")),
            ("min-pause", Some("min_pause")),
            ("TimeOut", Some("timeout")),
            ("tiemout", Some("timeout")),
            ("color", None),
            ("x", None),
        ];
        for (found, expected) in cases {
            assert_eq!(nearest(found, valid), expected, "{found}");
        }
    }
}
