//! From JSON to typed values, by the table alone: unknown and repeated keys, types, grammar,
//! ranges. What fits together and what does not is seen later, in `build`.

use std::collections::BTreeMap;

use cutline::config::{Key, OptionValue};
use cutline::time::VirtualDuration;

use crate::kernel::distribution::Distribution;

use super::diagnostic::{Diagnostic, Sink, Span, nearest};
use super::scalar::{Refusal, scalar};
use super::syntax::{self, Json, Member, Value};
use super::table::{Field, Kind, Need, Object, ROOT};
use super::values::Endpoint;

/// An object of the file with typed values; a field whose value was refused is not in it.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) span: Option<Span>,
    /// The name of its variant; empty if it has none, or an unknown one.
    pub(super) variant: &'static str,
    entries: BTreeMap<&'static str, Entry>,
}

/// The value of a field.
#[derive(Debug)]
struct Entry {
    /// Where the file gives it; `None`: a default.
    span: Option<Span>,
    datum: Datum,
}

/// A typed value.
#[derive(Debug)]
pub(super) enum Datum {
    Text(String),
    Integer(u64),
    Duration(VirtualDuration),
    Permille(u32),
    Boolean(bool),
    Word(&'static str),
    Distribution(Distribution),
    Subtask(String, u32),
    Endpoint(Endpoint),
    Option(Key, OptionValue),
    Object(Node),
    List(Vec<Node>),
    Flink(Vec<Member>),
    ByOperator(Vec<Counted>),
}

/// A number for an operator.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) operator: String,
    pub(super) span: Span,
    pub(super) number: u64,
    pub(super) number_span: Span,
}

macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident: $datum:ident -> $type:ty;)+) => {
        $($(#[$doc])*
        pub(super) fn $name(&self, name: &str) -> Option<$type> {
            match self.datum(name)? {
                Datum::$datum(value) => Some(value.clone()),
                other => unreachable!("{name} is no {}: {other:?}", stringify!($datum)),
            }
        })+
    };
}

impl Node {
    getters! {
        text: Text -> String;
        integer: Integer -> u64;
        duration: Duration -> VirtualDuration;
        permille: Permille -> u32;
        boolean: Boolean -> bool;
        word: Word -> &'static str;
        distribution: Distribution -> Distribution;
        endpoint: Endpoint -> Endpoint;
    }

    /// An integer whose range in the table ends within 32 bits.
    pub(super) fn u32(&self, name: &str) -> Option<u32> {
        self.integer(name).map(|value| u32::try_from(value).expect("the table's range is 32-bit"))
    }

    /// An operator name and the number of a subtask.
    pub(super) fn subtask(&self, name: &str) -> Option<(&str, u32)> {
        match self.datum(name)? {
            Datum::Subtask(operator, index) => Some((operator, *index)),
            other => unreachable!("{name} is no subtask: {other:?}"),
        }
    }

    pub(super) fn object(&self, name: &str) -> Option<&Node> {
        match self.datum(name)? {
            Datum::Object(node) => Some(node),
            _ => None,
        }
    }

    pub(super) fn list(&self, name: &str) -> &[Node] {
        match self.datum(name) {
            Some(Datum::List(nodes)) => nodes,
            _ => &[],
        }
    }

    pub(super) fn datum(&self, name: &str) -> Option<&Datum> {
        self.entries.get(name).map(|entry| &entry.datum)
    }

    /// All values, by name.
    pub(super) fn data(&self) -> impl Iterator<Item = (&'static str, &Datum)> {
        self.entries.iter().map(|(name, entry)| (*name, &entry.datum))
    }

    /// Where the file gives a field; else where its object is.
    pub(super) fn place(&self, name: &str) -> Span {
        self.given(name).unwrap_or_else(|| self.span())
    }

    /// Where the file gives a field.
    pub(super) fn given(&self, name: &str) -> Option<Span> {
        self.entries.get(name).and_then(|entry| entry.span)
    }

    /// Where the object is; of one that is all defaults, the start of the file.
    pub(super) fn span(&self) -> Span {
        self.span.unwrap_or(Span { source: 0, start: 0, end: 0 })
    }
}

/// Reads a whole file.
pub(super) fn read(json: &Json, sink: &mut Sink) -> Node {
    Reader { sink }.object(json, &ROOT).unwrap_or_default()
}

struct Reader<'s> {
    sink: &'s mut Sink,
}

impl Reader<'_> {
    fn object(&mut self, json: &Json, table: &Object) -> Option<Node> {
        let Value::Object(members) = &json.value else {
            self.wrong_type(json, table.name, "an object");
            return None;
        };
        let variant = self.variant(json, members, table);
        let mut node =
            Node { span: Some(json.span), variant: variant.unwrap_or(""), ..Node::default() };
        self.refuse_repeated(members);
        self.refuse_unknown(members, table, variant);
        if let (Some(variants), Some(name)) = (&table.variants, variant) {
            let span = members.iter().rfind(|m| m.key == variants.tag).map(|m| m.value.span);
            node.entries.insert(variants.tag, Entry { span, datum: Datum::Word(name) });
        }
        for field in table.fields_of(variant) {
            let member = members.iter().rfind(|member| member.key == field.name);
            if let Some(entry) = self.field(json, member, field) {
                node.entries.insert(field.name, entry);
            }
        }
        Some(node)
    }

    /// Which variant an object is; an unknown or missing one is reported.
    fn variant(&mut self, json: &Json, members: &[Member], table: &Object) -> Option<&'static str> {
        let variants = table.variants.as_ref()?;
        let names: Vec<&'static str> = variants.list.iter().map(|variant| variant.name).collect();
        let Some(member) = members.iter().rfind(|member| member.key == variants.tag) else {
            self.missing(json, table, variants.tag);
            return None;
        };
        let Value::Text(found) = &member.value.value else {
            self.wrong_type(&member.value, &format!("`{}`", variants.tag), "a string");
            return None;
        };
        let known = names.iter().copied().find(|name| name == found);
        if known.is_none() {
            let message = format!("{} has no `{}` called `{found}`", table.name, variants.tag);
            self.sink.push(
                Diagnostic::error("unknown-word", member.value.span, message)
                    .expected(format!("one of {}", names.join(", ")))
                    .nearest(found, names),
            );
        }
        known
    }

    fn field(&mut self, json: &Json, member: Option<&Member>, field: &Field) -> Option<Entry> {
        if let Some(member) = member {
            let datum = self.datum(&member.value, field)?;
            return Some(Entry { span: Some(member.value.span), datum });
        }
        match (field.need, &field.kind) {
            (Need::Required, _) => {
                let message = format!("`{}` is missing", field.name);
                self.sink.push(
                    Diagnostic::error("missing-key", first_byte(json.span), message)
                        .expected(format!("an object with `{}`", field.name))
                        .help(format!("{}: {}", field.name, field.doc)),
                );
                None
            }
            (Need::Default(text), _) => {
                let json = syntax::parse(text, 0).expect("the table's defaults are JSON; tested");
                Some(Entry { span: None, datum: self.datum(&json, field)? })
            }
            // A section that is left out has the defaults of its fields.
            (Need::Optional, Kind::Object(table)) if table.variants.is_none() => {
                let empty = Json { span: json.span, value: Value::Object(Vec::new()) };
                let node = self.object(&empty, table)?;
                Some(Entry { span: None, datum: Datum::Object(Node { span: None, ..node }) })
            }
            (Need::Optional, _) => None,
        }
    }

    fn datum(&mut self, json: &Json, field: &Field) -> Option<Datum> {
        match &field.kind {
            Kind::Object(table) => self.object(json, table).map(Datum::Object),
            Kind::List(table, max) => self.list(json, field.name, table, *max).map(Datum::List),
            Kind::When(table) => match &json.value {
                Value::Object(_) => self.object(json, table).map(Datum::Object),
                _ => self.scalar(json, field),
            },
            Kind::ByOperator { min, max } => {
                let number = Kind::Integer { min: *min, max: *max };
                self.by_operator(json, field.name, number).map(Datum::ByOperator)
            }
            Kind::Flink => match &json.value {
                Value::Object(members) => {
                    self.refuse_repeated(members);
                    Some(Datum::Flink(members.clone()))
                }
                _ => {
                    self.wrong_type(json, "`flink`", "an object of Flink's keys");
                    None
                }
            },
            _ => self.scalar(json, field),
        }
    }

    fn list(&mut self, json: &Json, name: &str, table: &Object, max: usize) -> Option<Vec<Node>> {
        let Value::List(elements) = &json.value else {
            self.wrong_type(json, &format!("`{name}`"), "a list");
            return None;
        };
        if elements.len() > max {
            let message = format!("{} elements are too many", elements.len());
            let error = Diagnostic::error("out-of-range", first_byte(json.span), message);
            self.sink.push(error.expected(format!("at most {max}")));
            return None;
        }
        Some(elements.iter().filter_map(|element| self.object(element, table)).collect())
    }

    fn by_operator(&mut self, json: &Json, name: &str, kind: Kind) -> Option<Vec<Counted>> {
        let Value::Object(members) = &json.value else {
            self.wrong_type(json, &format!("`{name}`"), "an object such as {\"count\": 3}");
            return None;
        };
        self.refuse_repeated(members);
        let mut counted = Vec::new();
        for member in members {
            if let Datum::Integer(number) = self.typed(&member.value, &member.key, &kind, None)? {
                let (operator, span) = (member.key.clone(), member.key_span);
                counted.push(Counted { operator, span, number, number_span: member.value.span });
            }
        }
        Some(counted)
    }

    fn scalar(&mut self, json: &Json, field: &Field) -> Option<Datum> {
        self.typed(json, field.name, &field.kind, field.flink)
    }

    fn typed(
        &mut self,
        json: &Json,
        name: &str,
        kind: &Kind,
        flink: Option<&'static str>,
    ) -> Option<Datum> {
        match scalar(json, kind) {
            Ok(datum) => Some(datum),
            Err(Refusal::Type(expected)) => {
                self.wrong_type(json, &format!("`{name}`"), &expected);
                None
            }
            Err(Refusal::Value { code, message, expected, help }) => {
                let message = format!("`{name}`: {message}");
                let mut error = Diagnostic::error(code, json.span, message).expected(expected);
                error.help = help;
                error.flink = flink.map(str::to_owned);
                self.sink.push(error);
                None
            }
        }
    }

    fn refuse_repeated(&mut self, members: &[Member]) {
        let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
        for member in members {
            if let Some(first) = seen.insert(&member.key, member.key_span) {
                let message = format!("`{}` is given twice", member.key);
                self.sink.push(
                    Diagnostic::error("repeated-key", member.key_span, message)
                        .expected("each key once")
                        .also(first, "first given here"),
                );
            }
        }
    }

    fn refuse_unknown(&mut self, members: &[Member], table: &Object, variant: Option<&str>) {
        let tag = table.variants.as_ref().map(|variants| variants.tag);
        let variant_is_open = tag.is_some() && variant.is_none();
        for member in members {
            let key = member.key.as_str();
            let known = |field: &Field| field.name == key;
            let is_known = Some(key) == tag
                || table.fields_of(variant).any(known)
                || (variant_is_open && table.all_fields().any(known));
            if is_known {
                continue;
            }
            if self.sink.is_full() {
                self.sink.count_error();
                continue;
            }
            let names: Vec<&str> =
                tag.into_iter().chain(table.fields_of(variant).map(|field| field.name)).collect();
            let message = match variant {
                Some(variant) => {
                    format!("{} of this kind (`{variant}`) has no `{key}`", table.name)
                }
                None => format!("{} has no `{key}`", table.name),
            };
            let error = Diagnostic::error("unknown-key", member.key_span, message)
                .expected(format!("one of {}", names.join(", ")));
            self.sink.push(match nearest(key, names) {
                Some(name) => error.help(format!("did you mean `{name}`?")),
                None => elsewhere(error, key),
            });
        }
    }

    fn missing(&mut self, json: &Json, table: &Object, name: &str) {
        let message = format!("`{name}` is missing");
        self.sink.push(
            Diagnostic::error("missing-key", first_byte(json.span), message)
                .expected(format!("{} with `{name}`", table.name)),
        );
    }

    fn wrong_type(&mut self, json: &Json, name: &str, expected: &str) {
        let message = format!("{name} cannot be {}", json.describe());
        let error = Diagnostic::error("wrong-type", head(json), message);
        self.sink.push(error.expected(expected));
    }
}

/// A key that is unknown here may be known in another place, or to Flink.
fn elsewhere(error: Diagnostic, key: &str) -> Diagnostic {
    let mut paths = Vec::new();
    ROOT.paths_of(key, "", &mut paths);
    paths.truncate(3);
    match cutline::config::find(key) {
        _ if !paths.is_empty() => error.help(format!("`{key}` belongs to {}", paths.join(", "))),
        Some(_) => error.help("Flink's own keys belong into the `flink` section"),
        None => error,
    }
}

/// What a long object or list is marked by.
fn first_byte(span: Span) -> Span {
    Span { end: (span.start + 1).min(span.end), ..span }
}

fn head(json: &Json) -> Span {
    match json.value {
        Value::Object(_) | Value::List(_) => first_byte(json.span),
        _ => json.span,
    }
}
