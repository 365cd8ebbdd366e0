//! From JSON to typed values, by the table alone: unknown and repeated keys, types, grammar,
//! ranges. What fits together and what does not is seen later, in `build`.

use std::collections::BTreeMap;

use cutline::config::{BadOption, Key, OptionKind, OptionValue};
use cutline::time::VirtualDuration;

use crate::kernel::distribution::Distribution;

use super::diagnostic::{Diagnostic, Sink, Span, nearest};
use super::syntax::{self, Json, Member, Value};
use super::table::{Field, Kind, Need, Object, ROOT};
use super::values::{self, Endpoint};

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
    Word(&'static str),
    Distribution(Distribution),
    Subtask(String, u32),
    Endpoint(Endpoint),
    Option(Key, OptionValue),
    Object(Node),
    List(Vec<Node>),
    Flink(Vec<Member>),
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
            self.wrong_type(json, "an object");
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
            self.wrong_type(&member.value, "a string");
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
            Kind::List(table, max) => self.list(json, table, *max).map(Datum::List),
            Kind::When(table) => match &json.value {
                Value::Object(_) => self.object(json, table).map(Datum::Object),
                _ => self.scalar(json, field),
            },
            Kind::Flink => match &json.value {
                Value::Object(members) => {
                    self.refuse_repeated(members);
                    Some(Datum::Flink(members.clone()))
                }
                _ => {
                    self.wrong_type(json, "an object of Flink's keys");
                    None
                }
            },
            _ => self.scalar(json, field),
        }
    }

    fn list(&mut self, json: &Json, table: &Object, max: usize) -> Option<Vec<Node>> {
        let Value::List(elements) = &json.value else {
            self.wrong_type(json, "a list");
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

    fn scalar(&mut self, json: &Json, field: &Field) -> Option<Datum> {
        match scalar(json, &field.kind) {
            Ok(datum) => Some(datum),
            Err(Refusal::Type(expected)) => {
                self.wrong_type(json, &expected);
                None
            }
            Err(Refusal::Value { code, message, expected, help }) => {
                let message = format!("`{}`: {message}", field.name);
                let mut error = Diagnostic::error(code, json.span, message).expected(expected);
                error.help = help;
                error.flink = field.flink.map(str::to_owned);
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

    fn wrong_type(&mut self, json: &Json, expected: &str) {
        let found = json.describe();
        let message = format!("expected {expected}, found {found}");
        self.sink.push(
            Diagnostic::error("wrong-type", head(json), message).expected(expected.to_owned()),
        );
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

/// Why a scalar was refused.
enum Refusal {
    /// Another JSON type was expected.
    Type(String),
    /// The type is right, the value is not.
    Value { code: &'static str, message: String, expected: String, help: Option<String> },
}

fn refusal(code: &'static str, message: impl ToString, expected: impl ToString) -> Refusal {
    let (message, expected) = (message.to_string(), expected.to_string());
    Refusal::Value { code, message, expected, help: None }
}

fn scalar(json: &Json, kind: &Kind) -> Result<Datum, Refusal> {
    const DURATION: &str = "a duration such as \"500 ms\", \"10 s\" or \"5 min\"";
    const SIZE: &str = "a size such as \"100 b\", \"32 kb\" or \"1 gb\"";
    Ok(match kind {
        Kind::Text | Kind::Format => Datum::Text(text(json, "a string")?.to_owned()),
        Kind::Name => {
            let name = text(json, "a name")?;
            let expected = "1 to 100 letters, digits, `_`, `-` or `.`";
            if !values::is_name(name) {
                return Err(refusal("bad-value", format!("`{name}` is not a name"), expected));
            }
            Datum::Text(name.to_owned())
        }
        Kind::Integer { min, max } => Datum::Integer(integer(json, *min, *max)?),
        Kind::Duration { min } => Datum::Duration(duration(json, *min, DURATION)?),
        Kind::When(_) => {
            let expected = "a time such as \"3 s\", or an object with a `step`";
            Datum::Duration(duration(json, VirtualDuration::ZERO, expected)?)
        }
        Kind::Size { min, max } => {
            let bytes = cutline::config::text::parse_size(text(json, SIZE)?)
                .map_err(|error| refusal("bad-size", error, SIZE))?;
            if !(*min..=*max).contains(&bytes) {
                let expected = format!("from {min} to {max} bytes");
                return Err(refusal("out-of-range", format!("{bytes} bytes"), expected));
            }
            Datum::Integer(bytes)
        }
        Kind::Bandwidth => {
            let expected = "a size a second such as \"100 mb/s\", or \"unlimited\"";
            let bandwidth = values::parse_bandwidth(text(json, expected)?);
            Datum::Integer(bandwidth.map_err(|error| refusal("bad-value", error, expected))?)
        }
        Kind::Rate => {
            let expected = "a rate such as \"1000/s\" or \"30/min\"";
            let every = values::parse_rate(text(json, expected)?);
            Datum::Duration(every.map_err(|error| refusal("bad-value", error, expected))?)
        }
        Kind::Ratio => {
            let expected = "a share such as \"1/2\" or \"250/1000\"";
            let share = values::parse_ratio(text(json, expected)?);
            Datum::Permille(share.map_err(|error| refusal("bad-value", error, expected))?)
        }
        Kind::Choice(words) => Datum::Word(word(json, words)?),
        Kind::Distribution => Datum::Distribution(distribution(json)?),
        Kind::Subtask => {
            let expected = "a subtask such as \"count[1]\"";
            let subtask = values::parse_indexed(text(json, expected)?);
            let (name, index) = subtask.map_err(|error| refusal("bad-value", error, expected))?;
            Datum::Subtask(name.to_owned(), index)
        }
        Kind::Endpoint => {
            let expected = "\"job_manager\" or \"task_manager[0]\"";
            let endpoint = values::parse_endpoint(text(json, expected)?);
            Datum::Endpoint(endpoint.map_err(|error| refusal("bad-value", error, expected))?)
        }
        Kind::Option(spec) => Datum::Option(spec.id, option(json, spec)?),
        Kind::Object(_) | Kind::List(..) | Kind::Flink => {
            unreachable!("read by `datum`, which handles what is made of fields")
        }
    })
}

fn text<'j>(json: &'j Json, expected: &str) -> Result<&'j str, Refusal> {
    match &json.value {
        Value::Text(text) => Ok(text),
        _ => Err(Refusal::Type(expected.to_owned())),
    }
}

fn integer(json: &Json, min: u64, max: u64) -> Result<u64, Refusal> {
    let Value::Number(number) = &json.value else {
        return Err(Refusal::Type("a whole number".to_owned()));
    };
    let expected = format!("a whole number from {min} to {max}");
    match number.parse::<u64>() {
        Ok(value) if (min..=max).contains(&value) => Ok(value),
        _ => Err(refusal("out-of-range", format!("{} is out of range", short(number)), expected)),
    }
}

fn duration(json: &Json, min: VirtualDuration, expected: &str) -> Result<VirtualDuration, Refusal> {
    let span = cutline::config::text::parse_duration(text(json, expected)?);
    let span = span.map_err(|error| refusal("bad-duration", error, expected))?;
    if span < min {
        return Err(refusal("out-of-range", "no time at all", "more than 0 ms"));
    }
    Ok(span)
}

fn word(json: &Json, words: &[&'static str]) -> Result<&'static str, Refusal> {
    let found = text(json, "a word")?;
    words.iter().copied().find(|word| *word == found).ok_or_else(|| Refusal::Value {
        code: "unknown-word",
        message: format!("there is no `{}`", short(found)),
        expected: format!("one of {}", words.join(", ")),
        help: nearest(found, words.iter().copied()).map(|word| format!("did you mean `{word}`?")),
    })
}

fn option(json: &Json, spec: &cutline::config::OptionSpec) -> Result<OptionValue, Refusal> {
    let expected = match spec.kind {
        OptionKind::Duration => "a duration such as \"500 ms\" or \"10 s\"",
        OptionKind::Size => "a size such as \"32 kb\"",
        OptionKind::Integer => "a whole number",
        OptionKind::Boolean => "true or false",
        OptionKind::Decimal => "a decimal number such as 1.5",
        OptionKind::Choice(_) => "a word",
    };
    let fits = match (&json.value, spec.kind) {
        (Value::Text(_), OptionKind::Duration | OptionKind::Size | OptionKind::Choice(_)) => true,
        (Value::Text(_), OptionKind::Decimal) => true,
        (Value::Number(_), OptionKind::Integer | OptionKind::Decimal) => true,
        (Value::Boolean(_), OptionKind::Boolean) => true,
        _ => false,
    };
    let scalar = json.scalar().filter(|_| fits);
    let scalar = scalar.ok_or_else(|| Refusal::Type(expected.to_owned()))?;
    spec.parse_short(&scalar).map_err(|error| bad_option(&scalar, error, expected))
}

/// The words for an option's text that was refused; `flink` has the same.
fn bad_option(found: &str, error: BadOption, expected: &str) -> Refusal {
    match error {
        BadOption::UnknownWord { words, choices, .. } => Refusal::Value {
            code: "unknown-word",
            message: format!("there is no `{}`", short(found)),
            expected: format!("one of {words}"),
            help: nearest(found, choices).map(|word| format!("did you mean `{word}`?")),
        },
        BadOption::TooLarge(value) => refusal("out-of-range", value, "a number of 32 bits"),
        BadOption::Text(error) => {
            let code = if expected.contains("duration") { "bad-duration" } else { "bad-value" };
            refusal(code, error, expected)
        }
    }
}

fn distribution(json: &Json) -> Result<Distribution, Refusal> {
    const EXPECTED: &str = "a duration, or {\"uniform\": [min, max]}, {\"exponential\": {\"min\", \
                            \"mean\"}}, {\"log_normal\": {\"median\", \"sigma\"}}";
    let wrong = || Refusal::Type(EXPECTED.to_owned());
    let span = |json: &Json| duration(json, VirtualDuration::ZERO, EXPECTED);
    let members = match &json.value {
        Value::Text(_) => return span(json).map(Distribution::Constant),
        Value::Object(members) => members,
        _ => return Err(wrong()),
    };
    let [member] = &members[..] else { return Err(wrong()) };
    match (member.key.as_str(), &member.value.value) {
        ("uniform", Value::List(ends)) => {
            let [min, max] = &ends[..] else { return Err(wrong()) };
            let (min, max) = (span(min)?, span(max)?);
            if min > max {
                return Err(refusal(
                    "out-of-range",
                    format!("{min} is longer than {max}"),
                    EXPECTED,
                ));
            }
            Ok(Distribution::Uniform { min, max })
        }
        ("exponential", Value::Object(parts)) => {
            let [min, mean] = two(parts, ["min", "mean"]).ok_or_else(wrong)?;
            let (min, mean) = (span(min)?, span(mean)?);
            if min > mean {
                let message = format!("the mean, {mean}, is below the minimum, {min}");
                return Err(refusal("out-of-range", message, EXPECTED));
            }
            Ok(Distribution::Exponential { min, mean })
        }
        ("log_normal", Value::Object(parts)) => {
            let [median, sigma] = two(parts, ["median", "sigma"]).ok_or_else(wrong)?;
            let sigma = sigma.scalar().ok_or_else(wrong)?;
            let sigma_permille = cutline::config::text::parse_permille(&sigma)
                .map_err(|error| refusal("bad-value", error, "a decimal such as \"0.5\""))?;
            let sigma = f64::from(sigma_permille) / 1000.0;
            Ok(Distribution::LogNormal { median: span(median)?, sigma })
        }
        _ => Err(wrong()),
    }
}

/// The values of exactly these two keys.
fn two<'j>(members: &'j [Member], names: [&str; 2]) -> Option<[&'j Json; 2]> {
    let of = |name| members.iter().find(|member| member.key == name).map(|member| &member.value);
    (members.len() == 2).then_some([of(names[0])?, of(names[1])?])
}

/// A text that may be megabytes long, for a message.
fn short(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}
