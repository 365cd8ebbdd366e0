//! Flink's own configuration file: `config.yaml`, nested or flat, and the legacy `flink-conf.yaml`.
//!
//! Flink: `GlobalConfiguration`. Keys are flattened with dots, and then judged as those of a
//! scenario's `flink` section are, but for one thing: a cluster's file is about much more than
//! checkpoints, so that what has nothing to do with them has no effect goes without saying.

use std::collections::BTreeMap;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};

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
/// Flink's parser takes no more.
const ALIASES_MAX: usize = 50;

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
        root: None,
        anchors: BTreeMap::new(),
        aliases: 0,
        documents: 0,
    };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let done = match event {
            Ok((event, span)) => reader.event(event, reader.span(span.start, span.end)),
            Err(error) => Err(reader.syntax(&error)),
        };
        if let Err(error) = done {
            sink.push(*error);
            return Vec::new();
        }
    }
    let root = reader.root;
    let mut flat = Flat { members: Vec::new(), at: BTreeMap::new(), visited: 0, sink };
    let done = root.map_or(Ok(()), |root| flat.root(&root));
    if let Err(error) = done {
        flat.sink.push(*error);
    }
    flat.members
}

/// A value of the file; an alias shares what it stands for.
type Shared = Rc<Node>;

struct Node {
    span: Span,
    what: What,
}

enum What {
    /// `plain`: written without quotes, so that it may be a number, a boolean or nothing.
    Scalar {
        text: String,
        plain: bool,
    },
    Mapping(Vec<(Shared, Shared)>),
    List,
}

/// Makes a tree of events.
struct Reader<'a> {
    text: &'a str,
    /// The byte at which each character begins: the parser counts characters.
    offsets: Vec<usize>,
    open: Vec<Open>,
    root: Option<Shared>,
    /// What an alias can stand for.
    anchors: BTreeMap<usize, Shared>,
    /// Of mappings and lists.
    aliases: usize,
    documents: usize,
}

/// A mapping or a list that has begun.
struct Open {
    span: Span,
    anchor: usize,
    is_mapping: bool,
    /// Values, and in a mapping keys before them.
    nodes: Vec<Shared>,
}

type Refused = Box<Diagnostic>;

/// Flink: `YamlParserUtils` and `GlobalConfiguration` on what is not a configuration.
const NO_START: &str = "YamlParserUtils: the process does not start";
const NO_MAPPING: &str = "GlobalConfiguration: the process does not start";

impl Reader<'_> {
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
            .flink(NO_START)
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
                        .flink(NO_START)
                };
                if self.documents > 1 { Err(refuse().into()) } else { Ok(()) }
            }
            Event::Scalar(text, style, anchor, tag) => {
                check_tag(tag.as_deref(), span)?;
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let what = What::Scalar { text: text.into_owned(), plain };
                self.add(Rc::new(Node { span, what }), anchor);
                Ok(())
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(refused(span, "an alias inside of what it stands for", "a value")
                        .flink("GlobalConfiguration: its stack overflows")
                        .into());
                };
                let is_text = matches!(node.what, What::Scalar { .. });
                self.aliases += usize::from(!is_text);
                if self.aliases > ALIASES_MAX {
                    let error = Diagnostic::error("too-large", span, "there are too many aliases");
                    let expected = format!("at most {ALIASES_MAX} of mappings and lists");
                    return Err(error.expected(expected).flink(NO_START).into());
                }
                // What is a text is shown where it is used.
                let node = match &node.what {
                    What::Scalar { text, plain } => {
                        let what = What::Scalar { text: text.clone(), plain: *plain };
                        Rc::new(Node { span, what })
                    }
                    What::Mapping(_) | What::List => Rc::clone(node),
                };
                self.add(node, 0);
                Ok(())
            }
            Event::MappingStart(anchor, tag) => self.begin(anchor, tag.as_deref(), true, span),
            Event::SequenceStart(anchor, tag) => self.begin(anchor, tag.as_deref(), false, span),
            Event::MappingEnd | Event::SequenceEnd => {
                let open = self.open.pop().expect("the parser ends what has begun");
                let mut nodes = open.nodes.into_iter();
                let what = match open.is_mapping {
                    true => What::Mapping(
                        std::iter::from_fn(|| Some((nodes.next()?, nodes.next()?))).collect(),
                    ),
                    false => What::List,
                };
                self.add(Rc::new(Node { span: open.span, what }), open.anchor);
                Ok(())
            }
        }
    }

    fn begin(
        &mut self,
        anchor: usize,
        tag: Option<&Tag>,
        is_mapping: bool,
        span: Span,
    ) -> Result<(), Refused> {
        check_tag(tag, span)?;
        if self.open.len() == DEPTH_MAX {
            return Err(too_large(span).into());
        }
        self.open.push(Open { span, anchor, is_mapping, nodes: Vec::new() });
        Ok(())
    }

    fn add(&mut self, node: Shared, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        match self.open.last_mut() {
            Some(open) => open.nodes.push(node),
            None => self.root = Some(node),
        }
    }
}

fn check_tag(tag: Option<&Tag>, span: Span) -> Result<(), Refused> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() && !tag.suffix.is_empty() => {
            Err(refused(span, "a tag", "a value").flink(NO_START).into())
        }
        _ => Ok(()),
    }
}

fn refused(span: Span, what: &str, expected: &str) -> Diagnostic {
    Diagnostic::error("wrong-type", span, format!("{what} is not read here")).expected(expected)
}

/// Flattens a tree to keys and values. Flink: `GlobalConfiguration#flatten`.
struct Flat<'s> {
    members: Vec<Member>,
    /// Where in `members` a key is.
    at: BTreeMap<String, usize>,
    /// Aliases of aliases make a small file a large one.
    visited: usize,
    sink: &'s mut Sink,
}

impl Flat<'_> {
    fn root(&mut self, root: &Node) -> Result<(), Refused> {
        let a_mapping = "a mapping of keys to values";
        match &root.what {
            What::Mapping(pairs) => self.mapping("", pairs, 1),
            // An empty file is an empty configuration.
            What::Scalar { text, plain: true } if text.is_empty() || text == "~" => Ok(()),
            What::Scalar { .. } => {
                Err(refused(root.span, "a text alone", a_mapping).flink(NO_MAPPING).into())
            }
            What::List => Err(refused(root.span, "a list", a_mapping).flink(NO_MAPPING).into()),
        }
    }

    fn mapping(
        &mut self,
        prefix: &str,
        pairs: &[(Shared, Shared)],
        depth: usize,
    ) -> Result<(), Refused> {
        let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
        for (key, value) in pairs {
            self.visited += 1;
            if depth > DEPTH_MAX || self.visited > 2 * KEYS_MAX {
                return Err(too_large(key.span).into());
            }
            let name = name(key)?;
            if let Some(first) = seen.insert(name, key.span) {
                self.repeated(name, key.span, first, NO_START);
                continue;
            }
            let path = format!("{prefix}{name}");
            match &value.what {
                What::Mapping(pairs) if name == "<<" => {
                    let first = pairs.first().and_then(|(key, _)| self::name(key).ok());
                    return Err(Diagnostic::error(
                        "merge-key",
                        key.span,
                        "mappings are not merged",
                    )
                    .expected("the keys themselves, or an alias for the whole value")
                    .flink(format!(
                        "YamlParserUtils: YAML 1.2 has no merge, it is a key `{path}.{}`",
                        first.unwrap_or("…")
                    ))
                    .into());
                }
                What::Mapping(pairs) => self.mapping(&format!("{path}."), pairs, depth + 1)?,
                What::List => {
                    let value = Json { span: value.span, value: Value::List(Vec::new()) };
                    self.add(path, key.span, value)?;
                }
                What::Scalar { text, plain } => {
                    let json = match *plain && is_nothing(text) {
                        true => Value::Null,
                        false => Value::Text(text.clone()),
                    };
                    self.add(path, key.span, Json { span: value.span, value: json })?;
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, key: String, key_span: Span, value: Json) -> Result<(), Refused> {
        if self.members.len() == KEYS_MAX {
            return Err(too_large(key_span).into());
        }
        if let Some(&index) = self.at.get(&key) {
            const LAST: &str = "GlobalConfiguration: takes the last one without a word";
            let first = self.members[index].key_span;
            self.repeated(&key, key_span, first, LAST);
            return Ok(());
        }
        self.at.insert(key.clone(), self.members.len());
        self.members.push(Member { key, key_span, value });
        Ok(())
    }

    fn repeated(&mut self, name: &str, span: Span, first: Span, flink: &str) {
        self.sink.push(
            Diagnostic::error("repeated-key", span, format!("`{name}` a second time"))
                .expected("one value for one key")
                .also(first, "the first one")
                .flink(flink),
        );
    }
}

/// The text of a key. Flink casts keys to texts, which what YAML reads as something else are not.
fn name(key: &Node) -> Result<&str, Refused> {
    let is_number = |text: &str| {
        let digits = text.trim_start_matches(['-', '+']);
        digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')
            && digits.parse::<f64>().is_ok()
    };
    let is_boolean =
        |text: &str| ["true", "True", "TRUE", "false", "False", "FALSE"].contains(&text);
    match &key.what {
        What::Scalar { text, plain } => {
            match *plain && (is_nothing(text) || is_number(text) || is_boolean(text)) {
                true => {
                    Err(refused(key.span, "a key that is a number, a boolean or nothing", "a text")
                        .flink(NO_MAPPING)
                        .into())
                }
                false => Ok(text),
            }
        }
        What::Mapping(_) | What::List => {
            Err(refused(key.span, "a key that is no text", "a text").flink(NO_MAPPING).into())
        }
    }
}

fn is_nothing(text: &str) -> bool {
    ["", "~", "null", "Null", "NULL"].contains(&text)
}
