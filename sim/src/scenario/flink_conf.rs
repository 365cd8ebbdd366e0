//! Flink's own configuration file: `config.yaml`, nested or flat, and the legacy `flink-conf.yaml`.
//!
//! Flink: `GlobalConfiguration`. Keys are flattened with dots, and then judged as those of a
//! scenario's `flink` section are, but for one thing: a cluster's file is about much more than
//! checkpoints, so what has nothing to do with them is counted and left alone.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};

use super::build_options::check_options;
use super::diagnostic::{Diagnostic, Diagnostics, Sink, Source, Span};
use super::load::decode;
use super::syntax::{Json, Member, Value};

/// What there is to say about a configuration file.
#[derive(Debug)]
pub struct FlinkConf {
    /// Everything that is wrong with it.
    pub diagnostics: Diagnostics,
    /// Keys that checkpoints, restarts and the like depend on.
    pub options: usize,
    /// Keys about something else.
    pub others: usize,
}

/// A file of a cluster has some hundred keys.
const KEYS_MAX: usize = 20_000;
const DEPTH_MAX: usize = 64;

/// Checks a configuration file. By its name it is read as Flink 1 read `flink-conf.yaml`, else as
/// YAML.
pub fn check_flink_conf(text: &[u8], file_name: &str) -> FlinkConf {
    let mut sink = Sink::default();
    let (text, members) = match decode(text) {
        Ok(text) => {
            let members = match is_legacy(file_name) {
                true => legacy(&text, &mut sink),
                false => yaml(&text, &mut sink),
            };
            (text, members)
        }
        Err((text, error)) => {
            sink.push(*error);
            (text, Vec::new())
        }
    };
    let (options, others) = match sink.has_errors() {
        // What could be read of it would be judged without the rest.
        true => (0, 0),
        false => check_options(&members, &mut sink),
    };
    let sources = vec![Source { name: file_name.to_owned(), text }];
    FlinkConf { diagnostics: sink.finish(sources), options, others }
}

fn is_legacy(file_name: &str) -> bool {
    file_name.rsplit(['/', '\\']).next() == Some("flink-conf.yaml")
}

/// Flink 1: `GlobalConfiguration#loadLegacyYAMLResource`, a key and a value a line.
fn legacy(text: &str, sink: &mut Sink) -> Vec<Member> {
    let whole = Span { source: 0, start: 0, end: text.lines().next().map_or(0, str::len) };
    sink.push(
        Diagnostic::warning("legacy-file", whole, "a flink-conf.yaml is of Flink 1")
            .expected("config.yaml")
            .flink("GlobalConfiguration: does not read it since version 2"),
    );
    let mut members: BTreeMap<String, Member> = BTreeMap::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let at = start;
        start += line.len();
        let content = line.split('#').next().unwrap_or("");
        let trimmed = content.trim();
        if trimmed.is_empty() {
            continue;
        }
        let begin = at + (content.len() - content.trim_start().len());
        let span = |from: usize, length: usize| Span { source: 0, start: from, end: from + length };
        let pair = trimmed.split_once(": ").map(|(key, value)| (key.trim(), value.trim()));
        let Some((key, value)) = pair.filter(|(key, value)| !key.is_empty() && !value.is_empty())
        else {
            sink.push(
                Diagnostic::error("syntax", span(begin, trimmed.len()), "no key and value")
                    .expected("`key: value`, with a space behind the colon")
                    .flink("GlobalConfiguration: logs a warning and skips the line"),
            );
            continue;
        };
        if members.len() == KEYS_MAX {
            sink.push(too_large(span(begin, trimmed.len())));
            break;
        }
        let value_at = begin + trimmed.len() - value.len();
        let member = Member {
            key: key.to_owned(),
            key_span: span(begin, key.len()),
            value: Json { span: span(value_at, value.len()), value: Value::Text(value.to_owned()) },
        };
        // The last one of a key counts.
        members.insert(key.to_owned(), member);
    }
    let mut members: Vec<Member> = members.into_values().collect();
    members.sort_by_key(|member| member.key_span.start);
    members
}

fn too_large(span: Span) -> Diagnostic {
    Diagnostic::error("too-large", span, "the file has too many keys")
        .expected(format!("at most {KEYS_MAX} keys, {DEPTH_MAX} levels deep"))
}

fn yaml(text: &str, sink: &mut Sink) -> Vec<Member> {
    let mut reader = Reader {
        offsets: text.char_indices().map(|(at, _)| at).chain([text.len()]).collect(),
        text,
        open: Vec::new(),
        members: Vec::new(),
        anchors: BTreeMap::new(),
        documents: 0,
        sink,
    };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let done = match event {
            Ok((event, span)) => reader.event(event, reader.span(span.start, span.end)),
            Err(error) => Err(reader.syntax(&error)),
        };
        if let Err(error) = done {
            reader.sink.push(*error);
            break;
        }
    }
    reader.members
}

/// Flattens events to keys and values.
struct Reader<'a, 's> {
    text: &'a str,
    /// The byte at which each character begins: the parser counts characters.
    offsets: Vec<usize>,
    open: Vec<Open>,
    members: Vec<Member>,
    /// Scalars that an alias can stand for.
    anchors: BTreeMap<usize, String>,
    documents: usize,
    sink: &'s mut Sink,
}

/// A mapping or a list that has begun.
struct Open {
    /// The key before it, with a dot; a list has none of its own.
    prefix: String,
    kind: Kind,
}

enum Kind {
    /// The keys so far, each where it stands first, and the one whose value comes next.
    Mapping {
        seen: BTreeMap<String, Span>,
        key: Option<(String, Span)>,
    },
    List,
}

type Refused = Box<Diagnostic>;

impl Reader<'_, '_> {
    fn span(&self, start: saphyr_parser::Marker, end: saphyr_parser::Marker) -> Span {
        let byte = |index: usize| self.offsets.get(index).copied().unwrap_or(self.text.len());
        let (start, end) = (byte(start.index()), byte(end.index()));
        let end = end.max(start);
        let shown = self.text[start..end].trim_end().len();
        // An empty value has a place all the same.
        let least = self.text[start..].chars().next().map_or(0, char::len_utf8);
        Span { source: 0, start, end: start + shown.max(least) }
    }

    fn syntax(&self, error: &ScanError) -> Refused {
        let at = *error.marker();
        let message = format!("this is not YAML: {}", error.info());
        Diagnostic::error("syntax", self.span(at, at), message)
            .expected("YAML 1.2")
            .flink("YamlParserUtils: the process does not start")
            .into()
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Refused> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                let refuse = || {
                    Diagnostic::error("syntax", span, "a second document in the file")
                        .expected("one document")
                        .flink("YamlParserUtils: the process does not start")
                };
                if self.documents > 1 { Err(refuse().into()) } else { Ok(()) }
            }
            Event::Scalar(text, style, anchor, _) => {
                if anchor > 0 {
                    self.anchors.entry(anchor).or_insert_with(|| text.to_string());
                }
                self.scalar(&text, style, span)
            }
            Event::Alias(anchor) => {
                let Some(text) = self.anchors.get(&anchor).cloned() else {
                    return Err(self.refuse(span, "an alias of a mapping or a list", "its values"));
                };
                self.scalar(&text, ScalarStyle::DoubleQuoted, span)
            }
            Event::MappingStart(..) => {
                let kind = Kind::Mapping { seen: BTreeMap::new(), key: None };
                self.begin(kind, span)
            }
            Event::SequenceStart(..) => self.begin(Kind::List, span),
            Event::MappingEnd | Event::SequenceEnd => {
                self.open.pop();
                Ok(())
            }
        }
    }

    fn refuse(&self, span: Span, what: &str, expected: &str) -> Refused {
        Diagnostic::error("wrong-type", span, format!("{what} is not read here"))
            .expected(expected)
            .into()
    }

    fn begin(&mut self, kind: Kind, span: Span) -> Result<(), Refused> {
        if self.open.len() == DEPTH_MAX {
            return Err(too_large(span).into());
        }
        let is_list = matches!(kind, Kind::List);
        let prefix = match self.open.last_mut() {
            None if is_list => {
                return Err(self.refuse(span, "a list", "a mapping of keys to values"));
            }
            None => String::new(),
            Some(Open { prefix, kind: Kind::List }) => prefix.clone(),
            Some(Open { kind: Kind::Mapping { key, .. }, .. }) => match key.take() {
                Some((key, place)) if is_list => {
                    self.add(key.clone(), place, Json { span, value: Value::List(Vec::new()) })?;
                    key
                }
                Some((key, _)) => format!("{key}."),
                None => return Err(self.refuse(span, "a key that is no text", "a text")),
            },
        };
        self.open.push(Open { prefix, kind });
        Ok(())
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, span: Span) -> Result<(), Refused> {
        let Some(open) = self.open.last_mut() else {
            // An empty file is an empty configuration.
            return match text.is_empty() || text == "~" {
                true => Ok(()),
                false => Err(self.refuse(span, "a text alone", "a mapping of keys to values")),
            };
        };
        let Kind::Mapping { seen, key } = &mut open.kind else { return Ok(()) };
        let Some((name, place)) = key.take() else {
            let name = format!("{}{text}", open.prefix);
            let first = match seen.entry(name.clone()) {
                Entry::Occupied(known) => Some(*known.get()),
                Entry::Vacant(new) => {
                    new.insert(span);
                    None
                }
            };
            *key = Some((name, span));
            return match first {
                None if text == "<<" => Err(self.refuse(span, "a merge key", "its values")),
                None => Ok(()),
                Some(first) => {
                    self.sink.push(
                        Diagnostic::error("repeated-key", span, format!("`{text}` a second time"))
                            .expected("one value for one key")
                            .also(first, "the first one")
                            .flink("YamlParserUtils: the process does not start"),
                    );
                    Ok(())
                }
            };
        };
        let is_nothing =
            style == ScalarStyle::Plain && ["", "~", "null", "Null", "NULL"].contains(&text);
        // Inside of a list a mapping's values belong to the list.
        if self.open.iter().any(|open| matches!(open.kind, Kind::List)) {
            return Ok(());
        }
        let value = if is_nothing { Value::Null } else { Value::Text(text.to_owned()) };
        self.add(name, place, Json { span, value })
    }

    fn add(&mut self, key: String, key_span: Span, value: Json) -> Result<(), Refused> {
        if self.members.len() == KEYS_MAX {
            return Err(too_large(key_span).into());
        }
        self.members.push(Member { key, key_span, value });
        Ok(())
    }
}
