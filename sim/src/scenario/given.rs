//! Flink's options from both of their places: short names in the sections, long ones in `flink` or
//! in a cluster's configuration. The same option in both places must have one value.

use std::collections::BTreeMap;

use cutline::config::{
    BadOption, Finding, Key, Known, OPTIONS, OptionKind, OptionSpec, OptionValue, OptionValues,
    Removed, Severity, Unmodelled, ValueKind, find,
};

use super::diagnostic::{Diagnostic, Sink, Span, nearest};
use super::read::{Datum, Node};
use super::slips::{self, Tolerance};
use super::syntax::{Member, Value};

/// What a key of a cluster's configuration is about.
#[derive(PartialEq, Eq)]
pub(super) enum About {
    Checkpoints,
    SomethingElse,
}

/// Families of keys that checkpoints, recovery and what slows them down depend on.
const ABOUT_CHECKPOINTS: [&str; 17] = [
    "execution.checkpointing.",
    "execution.state-recovery.",
    "execution.savepoint",
    "execution.buffer-timeout",
    "execution.runtime-mode",
    "state.",
    "restart-strategy",
    "heartbeat.",
    "task.",
    "taskmanager.network.memory.",
    "taskmanager.memory.segment-size",
    "high-availability",
    "jobmanager.scheduler",
    "jobmanager.adaptive-scheduler.",
    "jobmanager.execution.",
    "scheduler-mode",
    "pipeline.sources.",
];

/// Families of which the whole of Flink's keys are known, and which nobody else would use.
const FLINKS_OWN: [&str; 26] = [
    "application-result-store.",
    "blob.",
    "classloader.",
    "cleanup-strategy",
    "cluster.",
    "execution.",
    "heartbeat.",
    "high-availability",
    "historyserver.",
    "job-result-store.",
    "jobmanager.",
    "jobstore.",
    "kubernetes.",
    "parallelism.",
    "pekko.",
    "pipeline.",
    "queryable-state.",
    "resourcemanager.",
    "rest.",
    "restart-strategy",
    "scheduler-mode",
    "slotmanager.",
    "state.",
    "taskmanager.",
    "web.",
    "yarn.",
];

/// What was set so far, and where.
pub(super) struct Given<'s> {
    pub(super) values: OptionValues,
    at: Vec<(Key, Span, String)>,
    /// What keys have that are not modelled, by their proper names.
    others: BTreeMap<&'static str, Other>,
    /// Reason, key and place of each key that has no effect.
    not_modelled: Vec<(&'static str, String, Span)>,
    pub(super) sink: &'s mut Sink,
}

/// The value of a key that is not modelled.
#[derive(Clone, Debug)]
pub(super) struct Other {
    pub(super) text: String,
    pub(super) span: Span,
    /// The key as it was written.
    pub(super) name: String,
}

impl<'s> Given<'s> {
    pub(super) fn new(sink: &'s mut Sink) -> Self {
        Self {
            values: OptionValues::default(),
            at: Vec::new(),
            others: BTreeMap::new(),
            not_modelled: Vec::new(),
            sink,
        }
    }

    /// A key of a cluster's configuration. One that is neither in a family of Flink's own nor near
    /// to a key that Flink has may be anybody's.
    pub(super) fn cluster_key(&mut self, member: &Member) -> About {
        let key = member.key.as_str();
        let begins = |families: &[&str]| families.iter().any(|family| key.starts_with(family));
        let known = find(key);
        let is_modelled =
            |known: Option<Known>| matches!(known, Some(Known::Option(_) | Known::Deprecated(_)));
        let about = match is_modelled(known) || begins(&ABOUT_CHECKPOINTS) {
            true => About::Checkpoints,
            false => About::SomethingElse,
        };
        if matches!(member.value.value, Value::Null) {
            let error = Diagnostic::error("no-value", member.key_span, format!("`{key}` is empty"));
            self.sink.push(
                error
                    .expected("a value, or no such line")
                    .flink("Configuration: refuses it, the process does not start"),
            );
            return about;
        }
        if let Some(scheme) = other_store(known, member) {
            let message = format!("a store of {scheme} is not modelled");
            self.sink.push(
                Diagnostic::warning("not-modelled", member.value.span, message)
                    .expected("no effect in a simulation"),
            );
            if let Some(text) = member.value.scalar() {
                self.others.insert(Key::Directory.spec().key, Other::new(member, text));
            }
            return about;
        }
        if known.is_none() {
            let tolerance =
                if begins(&FLINKS_OWN) { Tolerance::OfFlinks } else { Tolerance::OfAnybodys };
            let meant = slips::meant(key, tolerance);
            if meant.is_some() || begins(&FLINKS_OWN) {
                self.unknown(member, meant);
            }
            return if is_modelled(meant.and_then(find)) { About::Checkpoints } else { about };
        }
        self.flink_key(member);
        if about == About::SomethingElse {
            // Of what a simulation is not about, it has nothing.
            self.not_modelled.retain(|(_, name, _)| name != key);
        }
        about
    }

    pub(super) fn section(&mut self, section: &str, node: &Node) {
        if section == "restart" && !node.variant.is_empty() {
            let value = OptionValue::Choice(node.variant);
            self.set(Key::Strategy, value, node.place("type"), "restart.type".to_owned());
        }
        for (name, datum) in node.data() {
            if let Datum::Option(key, value) = datum {
                self.set(*key, *value, node.place(name), format!("{section}.{name}"));
            }
        }
    }

    fn set(&mut self, key: Key, value: OptionValue, span: Span, name: String) {
        if let Some(before) = self.values.get(key)
            && before != value
        {
            let first = self.place(key).map(|(span, name)| (span, name.to_owned()));
            let (first_span, first_name) = first.expect("what is set was given somewhere");
            let message = format!("`{name}` is {value}, but `{first_name}` is {before}");
            self.two_values(span, message, first_span);
            return;
        }
        self.values.set(key, value);
        self.at.push((key, span, name));
    }

    fn two_values(&mut self, span: Span, message: String, first: Span) {
        self.sink.push(
            Diagnostic::error("contradiction", span, message)
                .expected("one value for one option")
                .also(first, "the other value"),
        );
    }

    pub(super) fn place(&self, key: Key) -> Option<(Span, &str)> {
        let place = self.at.iter().find(|(of, _, _)| *of == key);
        place.map(|(_, span, name)| (*span, name.as_str()))
    }

    /// What a key that is not modelled was set to.
    pub(super) fn other(&self, key: &str) -> Option<&Other> {
        self.others.get(key)
    }

    /// A key of Flink's, or what is meant to be one.
    pub(super) fn flink_key(&mut self, member: &Member) {
        let key = member.key.as_str();
        if self.sink.is_full() {
            self.sink.count_error();
            return;
        }
        match find(key) {
            Some(Known::Option(spec)) => self.flink_value(spec, member),
            Some(Known::Deprecated(spec)) => {
                self.deprecated(member, spec.key);
                self.flink_value(spec, member);
            }
            Some(Known::NotModelled(entry)) => self.not_modelled(entry, member),
            Some(Known::DeprecatedNotModelled(entry)) => {
                self.deprecated(member, entry.key);
                self.not_modelled(entry, member);
            }
            Some(Known::Removed(removed)) => self.removed(removed, member),
            None => self.unknown(member, slips::meant(key, Tolerance::OfFlinks)),
        }
    }

    fn deprecated(&mut self, member: &Member, now: &str) {
        let message = format!("`{}` is a deprecated spelling", member.key);
        self.sink.push(
            Diagnostic::warning("deprecated-key", member.key_span, message)
                .expected(now)
                .flink("ConfigOption: reads it and logs a warning"),
        );
    }

    fn removed(&mut self, removed: Removed, member: &Member) {
        let message = format!("`{}` is removed: Flink 2.3 has no such option", removed.key);
        let warning = Diagnostic::warning("removed-key", member.key_span, message)
            .expected("no effect")
            .flink("Configuration: ignores it without a word");
        self.sink.push(match removed.instead {
            Some(instead) => warning.help(format!("instead of it there is {instead}")),
            None => warning,
        });
    }

    fn not_modelled(&mut self, entry: Unmodelled, member: &Member) {
        let key = member.key.as_str();
        let Some(spec) = entry.spec else {
            // Somebody's key, unless it is a slip in one that Flink has.
            match slips::meant(key, Tolerance::OfAnybodys) {
                Some(meant) => self.unknown(member, Some(meant)),
                None => self.has_no_effect(entry, member),
            }
            return;
        };
        let text = match (&spec.kind, member.value.scalar()) {
            (_, Some(text)) => text,
            (ValueKind::Text | ValueKind::List | ValueKind::Map, None) => {
                self.has_no_effect(entry, member);
                return;
            }
            (_, None) => {
                self.wrong_type(member);
                return;
            }
        };
        if let Err(error) = spec.kind.check(&text) {
            let is_span = spec.kind == ValueKind::Duration;
            self.bad_value(member, &error, is_span, spec.kind.example());
            return;
        }
        if let Some(first) = self.others.get(spec.key)
            && !spec.kind.is_same(&first.text, &text)
            && spec.kind != ValueKind::Map
        {
            let message = format!("`{key}` is {text}, but `{}` is {}", first.name, first.text);
            let first = first.span;
            self.two_values(member.value.span, message, first);
            return;
        }
        self.others.insert(spec.key, Other::new(member, text.clone()));
        if spec.default.is_none_or(|default| !spec.kind.is_same(default, &text)) {
            self.has_no_effect(entry, member);
        }
    }

    fn has_no_effect(&mut self, entry: Unmodelled, member: &Member) {
        self.not_modelled.push((entry.reason, member.key.clone(), member.key_span));
    }

    /// Takes back that a key has no effect: there is something more to say about it.
    pub(super) fn is_spoken_of(&mut self, key: &str) {
        if let Some(other) = self.others.get(key) {
            self.not_modelled.retain(|(_, name, _)| *name != other.name);
        }
    }

    /// One warning a reason.
    pub(super) fn say_what_is_not_modelled(&mut self) {
        let mut families: Vec<(&str, Vec<(String, Span)>)> = Vec::new();
        for (reason, key, span) in std::mem::take(&mut self.not_modelled) {
            match families.iter_mut().find(|(of, _)| *of == reason) {
                Some((_, keys)) => keys.push((key, span)),
                None => families.push((reason, vec![(key, span)])),
            }
        }
        for (reason, keys) in families {
            let (first, span) = &keys[0];
            let what = match keys.len() {
                1 => format!("`{first}` is"),
                2 => format!("`{first}` and another key are"),
                count => format!("`{first}` and {} other keys are", count - 1),
            };
            let message = format!("{what} not modelled: {reason}");
            let warning = Diagnostic::warning("not-modelled", *span, message)
                .expected("no effect in a simulation");
            let others: Vec<String> = keys[1..].iter().map(|(key, _)| format!("`{key}`")).collect();
            self.sink.push(match others.is_empty() {
                true => warning,
                false => warning.help(format!("the same goes for {}", others.join(", "))),
            });
        }
    }

    fn unknown(&mut self, member: &Member, meant: Option<&str>) {
        let message = format!("Flink has no option `{}`", member.key);
        let error = Diagnostic::error("unknown-key", member.key_span, message)
            .expected("a key of Flink's")
            .flink("Configuration: ignores it without a word");
        self.sink.push(match (meant, short_name(&member.key)) {
            _ if matches!(member.value.value, Value::Object(_)) => {
                error.help(format!("keys are flat: \"{}.…\": …", member.key))
            }
            (Some(meant), _) => error.help(match find(meant) {
                Some(Known::Deprecated(spec)) => {
                    format!("did you mean `{meant}`, which is `{}` now?", spec.key)
                }
                Some(Known::DeprecatedNotModelled(entry)) => {
                    format!("did you mean `{meant}`, which is `{}` now?", entry.key)
                }
                Some(Known::Option(_) | Known::NotModelled(_) | Known::Removed(_)) | None => {
                    format!("did you mean `{meant}`?")
                }
            }),
            (None, Some(spec)) => error.help(format!("the long name is `{}`", spec.key)),
            (None, None) => error,
        });
    }

    fn wrong_type(&mut self, member: &Member) {
        let found = member.value.describe();
        let message = format!("expected a string, a number or a boolean, found {found}");
        self.sink.push(
            Diagnostic::error("wrong-type", member.key_span, message)
                .expected("a flat key with one value"),
        );
    }

    fn bad_value(&mut self, member: &Member, error: &BadOption, is_span: bool, example: &str) {
        let code = match error {
            BadOption::UnknownWord { .. } => "unknown-word",
            BadOption::Text(_) | BadOption::TooLarge(_) if is_span => "bad-duration",
            BadOption::Text(_) | BadOption::TooLarge(_) => "bad-value",
        };
        let message = format!("`{}`: {error}", member.key);
        let mut report = Diagnostic::error(code, member.value.span, message)
            .expected(format!("a value such as {example}"))
            .flink("Configuration: refuses the value when the option is read");
        if let BadOption::UnknownWord { found, choices, .. } = error {
            report = report.nearest(found, choices.iter().copied());
        }
        self.sink.push(report);
    }

    fn flink_value(&mut self, spec: &'static OptionSpec, member: &Member) {
        let Some(text) = member.value.scalar() else {
            self.wrong_type(member);
            return;
        };
        let is_span = spec.kind == OptionKind::Duration;
        match spec.parse(&text) {
            Err(error) => self.bad_value(member, &error, is_span, spec.examples[0]),
            Ok(value) => {
                if matches!(spec.kind, OptionKind::Uri(_)) {
                    self.check_path(&text, member.value.span, &member.key);
                }
                self.set(spec.id, value, member.value.span, member.key.clone());
            }
        }
    }

    /// Where snapshots are kept needs a scheme and a path.
    pub(super) fn check_path(&mut self, text: &str, span: Span, name: &str) {
        let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
        let path = match rest.strip_prefix("//") {
            Some(rest) => rest.split_once('/').map_or("", |(_, path)| path),
            None => rest,
        };
        let (what, expected) = match (scheme, path.trim_matches('/')) {
            ("memory", _) => return,
            ("", path) => ("has no scheme", format!("file:///{path}, or another scheme")),
            (_, "") => ("is a root directory", "a directory below it".to_owned()),
            _ => return,
        };
        self.sink.push(
            Diagnostic::error("refused-by-flink", span, format!("`{name}`: {text} {what}"))
                .expected(expected)
                .flink("AbstractFileStateBackend: refuses it when the job is submitted"),
        );
    }

    /// Puts a finding of the core where the option was given.
    pub(super) fn report(&mut self, finding: &Finding, root: Span) {
        let spec = finding.option.spec();
        let (span, name) = match self.place(finding.option) {
            Some((span, name)) => (span, name.to_owned()),
            None => {
                let other = finding.with.and_then(|with| self.place(with));
                let span = other.map_or(root, |(span, _)| span);
                (span, format!("{}.{}", spec.path.0, spec.path.1))
            }
        };
        let message = format!("`{name}`: {}", finding.message);
        let mut report = match (finding.severity, finding.with) {
            (Severity::Error, Some(_)) => Diagnostic::error("contradiction", span, message),
            (Severity::Error, None) => Diagnostic::error("refused-by-flink", span, message),
            (Severity::Warning, _) => Diagnostic::warning("changed-by-flink", span, message),
            (Severity::NotSimulated, _) => Diagnostic::error("not-simulated", span, message),
        };
        report = report.flink(finding.flink);
        if let Some((other, name)) = finding.with.and_then(|with| self.place(with))
            && other != span
        {
            report = report.also(other, format!("see `{name}`"));
        }
        self.sink.push(report);
    }
}

impl Other {
    fn new(member: &Member, text: String) -> Self {
        Self { text, span: member.value.span, name: member.key.clone() }
    }
}

/// The scheme of a URI that Flink may well know, and that is no slip.
fn other_store(known: Option<Known>, member: &Member) -> Option<String> {
    let (Known::Option(spec) | Known::Deprecated(spec)) = known? else { return None };
    let text = member.value.scalar().filter(|text| text.contains("://"))?;
    match (spec.kind, spec.parse(&text)) {
        (OptionKind::Uri(_), Err(BadOption::UnknownWord { found, choices, .. })) => {
            let known = choices.iter().map(|word| word.trim_end_matches("://"));
            nearest(&found, known).is_none().then_some(found)
        }
        _ => None,
    }
}

/// An option by its short name, which somebody may use in the wrong section.
fn short_name(key: &str) -> Option<&'static OptionSpec> {
    // `interval`, `checkpointing.interval`: what is longer is no short name.
    if key.matches('.').count() > 1 {
        return None;
    }
    let name = key.rsplit('.').next().unwrap_or(key).replace('-', "_");
    OPTIONS.iter().find(|spec| spec.path.1 == name)
}
