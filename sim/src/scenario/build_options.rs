//! Flink's options from both of their places: short names in the sections, long ones in `flink`.
//! The same option in both places must have one value.

use cutline::config::{
    BadOption, Finding, FlinkConfig, Key, Known, OPTIONS, OptionKind, OptionSpec, OptionValues,
    Severity, find,
};
use cutline::time::{VirtualDuration, VirtualTime};
use cutline::trigger::adaptive::{Bounds, Estimate, Formula, IntervalPolicy};

use super::diagnostic::{Diagnostic, Sink, Span, nearest};
use super::model::Scenario;
use super::read::{Datum, Node};
use super::syntax::{Member, Value};

/// Flink's options, validated, and the initial delay, which is no option of Flink's.
pub(super) fn flink_config(
    root: &Node,
    manual: bool,
    sink: &mut Sink,
) -> (FlinkConfig, Option<VirtualDuration>) {
    let mut given = Given::new(sink);
    for section in ["checkpointing", "changelog", "restart", "buffers", "cluster", "ha"] {
        if let Some(node) = root.object(section) {
            given.section(section, node);
        }
    }
    if let Some(Datum::Flink(members)) = root.datum("flink") {
        for member in members {
            given.flink_key(member);
        }
    }
    let (config, findings) = FlinkConfig::resolve(&given.values, manual);
    for finding in findings {
        given.report(&finding, root.span());
    }
    let initial_delay =
        root.object("checkpointing").and_then(|node| node.duration("initial_delay"));
    if let (Some(_), None, Some(node)) =
        (initial_delay, config.checkpointing.interval, root.object("checkpointing"))
    {
        let message = "`initial_delay` has no effect without an interval";
        sink.push(
            Diagnostic::error("contradiction", node.place("initial_delay"), message)
                .expected("an `interval` beside it"),
        );
    }
    (config, initial_delay)
}

/// Who sets the interval.
pub(super) fn policy(root: &Node, scenario: &Scenario, sink: &mut Sink) -> Option<IntervalPolicy> {
    let checkpointing = root.object("checkpointing")?;
    let node = checkpointing.object("policy")?;
    if scenario.checkpointing.interval.is_none() {
        let message = "`policy` has no effect without an interval";
        sink.push(
            Diagnostic::error("contradiction", checkpointing.place("policy"), message)
                .expected("an `interval` beside it: the first delay is drawn up to it"),
        );
    }
    let bounds =
        || Some(Bounds { min: node.duration("shortest")?, max: node.duration("longest")? });
    if let Some(Bounds { min, max }) = bounds()
        && min > max
    {
        let message = "`shortest` is longer than `longest`";
        sink.push(
            Diagnostic::error("contradiction", node.place("shortest"), message)
                .expected("at most `longest`"),
        );
    }
    if let (Some(during), Some(interval)) =
        (node.duration("during_backlog"), scenario.checkpointing.interval)
        && !during.is_zero()
        && during < interval
    {
        // Flink: `CheckpointConfig#getCheckpointIntervalDuringBacklog` throws.
        let message = "`during_backlog` is shorter than the interval, which Flink refuses";
        sink.push(
            Diagnostic::error("contradiction", node.place("during_backlog"), message)
                .expected("at least `interval`, or 0 for no checkpoints during backlog"),
        );
    }
    let estimate = || {
        let cost = node.duration("checkpoint_cost")?;
        Some(Estimate { cost, mtbf: node.duration("expected_mtbf")? })
    };
    let formula = |formula| Some(IntervalPolicy::Formula(formula, estimate()?, bounds()?));
    match node.variant {
        "backlog" => Some(IntervalPolicy::DuringBacklog {
            interval: node.duration("during_backlog")?,
            until: VirtualTime::ZERO + node.duration("backlog_until")?,
        }),
        "young" => formula(Formula::Young),
        "daly" => formula(Formula::Daly),
        "exact" => formula(Formula::Exact),
        "measured" => Some(IntervalPolicy::Measured(estimate()?, bounds()?)),
        // Fixed, or one that was refused.
        _ => None,
    }
}

/// Judges the keys of a cluster's configuration; answers how many of them matter here, and how many
/// are about something else.
pub(super) fn check_options(members: &[Member], sink: &mut Sink) -> (usize, usize) {
    let mut given = Given::new(sink);
    let others = members.iter().filter(|member| given.cluster_key(member) == About::SomethingElse);
    let others = others.count();
    let start = Span { source: 0, start: 0, end: 0 };
    // A value that was refused is not a missing one.
    let all_was_read = !given.sink.has_errors();
    let (_, findings) = FlinkConfig::resolve(&given.values, !all_was_read);
    findings.iter().for_each(|finding| given.report(finding, start));
    (members.len() - others, others)
}

/// What a key of a cluster's configuration is about.
#[derive(PartialEq, Eq)]
enum About {
    Checkpoints,
    SomethingElse,
}

/// Families of keys that checkpoints, recovery and what slows them down depend on.
const ABOUT_CHECKPOINTS: [&str; 10] = [
    "execution.checkpointing.",
    "execution.state-recovery.",
    "execution.savepoint.",
    "execution.buffer-timeout.",
    "state.",
    "restart-strategy",
    "heartbeat.",
    "taskmanager.network.memory.",
    "taskmanager.memory.segment-size",
    "high-availability",
];

/// What was set so far, and where.
struct Given<'s> {
    values: OptionValues,
    at: Vec<(Key, Span, String)>,
    sink: &'s mut Sink,
}

impl<'s> Given<'s> {
    fn new(sink: &'s mut Sink) -> Self {
        Self { values: OptionValues::default(), at: Vec::new(), sink }
    }

    /// A key of a cluster's configuration. One that is neither about checkpoints nor near to a key
    /// that is modelled may be anybody's.
    fn cluster_key(&mut self, member: &Member) -> About {
        const SLIP_SHARE: usize = 6;
        let key = member.key.as_str();
        let concerns_us = ABOUT_CHECKPOINTS.iter().any(|family| key.starts_with(family));
        let known = find(key);
        let modelled = matches!(known, Some(Known::Option(_) | Known::Deprecated(_)));
        let slip = || {
            let near = nearest(key, OPTIONS.iter().map(|spec| spec.key));
            near.is_some_and(|meant| {
                strsim::damerau_levenshtein(key, meant) <= (key.len() / SLIP_SHARE).max(2)
            })
        };
        let exact = matches!(known, Some(Known::NotModelled(entry)) if entry.key == key);
        if !modelled && !concerns_us && (exact || !slip()) {
            return About::SomethingElse;
        }
        if matches!(member.value.value, Value::Null) {
            let error = Diagnostic::error("no-value", member.key_span, format!("`{key}` is empty"));
            self.sink.push(
                error
                    .expected("a value, or no such line")
                    .flink("Configuration: refuses it, the process does not start"),
            );
            return About::Checkpoints;
        }
        if modelled && let Some(scheme) = other_store(known, member) {
            let message = format!("a store of {scheme} is not modelled");
            self.sink.push(
                Diagnostic::warning("not-modelled", member.value.span, message)
                    .expected("no effect in a simulation"),
            );
            return About::Checkpoints;
        }
        self.flink_key(member);
        About::Checkpoints
    }

    fn section(&mut self, section: &str, node: &Node) {
        if section == "restart" && !node.variant.is_empty() {
            let value = cutline::config::OptionValue::Choice(node.variant);
            self.set(Key::Strategy, value, node.place("type"), "restart.type".to_owned());
        }
        for (name, datum) in node.data() {
            if let Datum::Option(key, value) = datum {
                self.set(*key, *value, node.place(name), format!("{section}.{name}"));
            }
        }
    }

    fn set(&mut self, key: Key, value: cutline::config::OptionValue, span: Span, name: String) {
        if let Some(before) = self.values.get(key)
            && before != value
        {
            let first = self.place(key).map(|(span, name)| (span, name.to_owned()));
            let (first_span, first_name) = first.expect("what is set was given somewhere");
            let message = format!("`{name}` is {value}, but `{first_name}` is {before}");
            self.sink.push(
                Diagnostic::error("contradiction", span, message)
                    .expected("one value for one option")
                    .also(first_span, "the other value"),
            );
            return;
        }
        self.values.set(key, value);
        self.at.push((key, span, name));
    }

    fn place(&self, key: Key) -> Option<(Span, &str)> {
        let place = self.at.iter().find(|(of, _, _)| *of == key);
        place.map(|(_, span, name)| (*span, name.as_str()))
    }

    fn flink_key(&mut self, member: &Member) {
        let key = member.key.as_str();
        if self.sink.is_full() {
            self.sink.count_error();
            return;
        }
        match find(key) {
            Some(Known::Option(spec)) => self.flink_value(spec, member),
            Some(Known::Deprecated(spec)) => {
                let message = format!("`{key}` is a deprecated spelling");
                self.sink.push(
                    Diagnostic::warning("deprecated-key", member.key_span, message)
                        .expected(spec.key)
                        .flink("ConfigOption: reads it and logs a warning"),
                );
                self.flink_value(spec, member);
            }
            Some(Known::NotModelled(entry)) if near_miss(key) != Some(entry.key) => {
                match near_miss(key).filter(|_| entry.key != key) {
                    Some(meant) => self.unknown(member, Some(meant)),
                    None => {
                        let message = format!("`{key}` is not modelled: {}", entry.reason);
                        self.sink.push(
                            Diagnostic::warning("not-modelled", member.key_span, message)
                                .expected("no effect in a simulation"),
                        );
                    }
                }
            }
            Some(Known::NotModelled(_)) | None => {
                let candidates = OPTIONS
                    .iter()
                    .flat_map(|spec| [spec.key].into_iter().chain(spec.deprecated.iter().copied()));
                self.unknown(member, nearest(key, candidates));
            }
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
            (Some(meant), _) => error.help(format!("did you mean `{meant}`?")),
            (None, Some(spec)) => error.help(format!("the long name is `{}`", spec.key)),
            (None, None) => error,
        });
    }

    fn flink_value(&mut self, spec: &'static OptionSpec, member: &Member) {
        let Some(text) = member.value.scalar() else {
            let found = member.value.describe();
            let message = format!("expected a string, a number or a boolean, found {found}");
            self.sink.push(
                Diagnostic::error("wrong-type", member.key_span, message)
                    .expected("a flat key with one value"),
            );
            return;
        };
        let value = match spec.parse(&text) {
            Ok(value) => value,
            Err(error) => {
                let span = member.value.span;
                let key = &member.key;
                let code = match (&error, spec.kind) {
                    (BadOption::UnknownWord { .. }, _) => "unknown-word",
                    (_, OptionKind::Duration) => "bad-duration",
                    _ => "bad-value",
                };
                let mut report = Diagnostic::error(code, span, format!("`{key}`: {error}"))
                    .expected(format!("a value such as {}", spec.examples[0]))
                    .flink("Configuration: refuses the value when the option is read");
                if let BadOption::UnknownWord { found, choices, .. } = &error {
                    report = report.nearest(found, choices.iter().copied());
                }
                self.sink.push(report);
                return;
            }
        };
        self.set(spec.id, value, member.value.span, member.key.clone());
    }

    /// Puts a finding of the core where the option was given.
    fn report(&mut self, finding: &Finding, root: Span) {
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

/// A modelled key so close to this one that this one is a slip.
fn near_miss(key: &str) -> Option<&'static str> {
    const SLIP_MAX: usize = 2;
    OPTIONS
        .iter()
        .map(|spec| spec.key)
        .find(|modelled| strsim::damerau_levenshtein(key, modelled) <= SLIP_MAX)
}

/// An option by its short name, which somebody may use in the wrong section.
fn short_name(key: &str) -> Option<&'static OptionSpec> {
    let name = key.rsplit('.').next().unwrap_or(key).replace('-', "_");
    OPTIONS.iter().find(|spec| spec.path.1 == name)
}
