//! The options of a scenario and of a cluster's configuration, from what was given to what takes
//! effect, and who sets the interval.

use cutline::config::FlinkConfig;
use cutline::time::{VirtualDuration, VirtualTime};
use cutline::trigger::adaptive::{Bounds, Estimate, Formula, IntervalPolicy};

use super::diagnostic::{Diagnostic, Sink, Span};
use super::given::{About, Given};
use super::model::Scenario;
use super::read::{Datum, Node};
use super::syntax::Member;

/// What a scenario says of Flink's options and beside them.
pub(super) struct Options {
    pub(super) config: FlinkConfig,
    /// Flink has no such option.
    pub(super) initial_delay: Option<VirtualDuration>,
    /// `execution.checkpointing.interval-during-backlog`, and where it was given.
    pub(super) during_backlog: Option<(VirtualDuration, Span)>,
}

/// Flink's options, validated.
pub(super) fn flink_config(root: &Node, manual: bool, sink: &mut Sink) -> Options {
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
        given.values.take_flinks_defaults();
        given.apply_flinks_rules(false);
    }
    let (config, findings) = FlinkConfig::resolve(&given.values, manual);
    for finding in findings {
        given.report(&finding, root.span());
    }
    let during_backlog = given.during_backlog();
    given.say_what_is_not_modelled();
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
    Options { config, initial_delay, during_backlog }
}

/// Who sets the interval.
///
/// `during_backlog`: what Flink's own key says, which lacks the other half: until when there is a
/// backlog. Sources say so in Flink.
pub(super) fn policy(
    root: &Node,
    scenario: &Scenario,
    during_backlog: Option<(VirtualDuration, Span)>,
    sink: &mut Sink,
) -> Option<IntervalPolicy> {
    let node = root.object("checkpointing").and_then(|node| node.object("policy"));
    if let Some((_, span)) = during_backlog
        && node.is_none_or(|node| node.variant != "backlog")
    {
        let message = "there is no backlog in this scenario";
        sink.push(
            Diagnostic::warning("not-modelled", span, message).expected("no effect in a simulation").help(
                "`checkpointing.policy` of kind `backlog` says with `backlog_until` when there is one",
            ),
        );
    }
    let checkpointing = root.object("checkpointing")?;
    let node = node?;
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
    let during = node.duration("during_backlog");
    match (during, during_backlog) {
        (Some(here), Some((there, span))) if here != there => sink.push(
            Diagnostic::error("contradiction", span, "`during_backlog` is another interval")
                .expected("one value for one option")
                .also(node.place("during_backlog"), "the other value"),
        ),
        (None, None) if node.variant == "backlog" => sink.push(
            Diagnostic::error("missing-key", node.span(), "`policy` needs `during_backlog`")
                .expected(
                    "it, or `execution.checkpointing.interval-during-backlog` in the `flink` section",
                ),
        ),
        _ => {}
    }
    if let (Some(during), Some(interval)) = (during, scenario.checkpointing.interval)
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
            interval: during.or(during_backlog.map(|(interval, _)| interval))?,
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
    given.values.take_flinks_defaults();
    given.apply_flinks_rules(true);
    let (_, findings) = FlinkConfig::resolve(&given.values, !all_was_read);
    findings.iter().for_each(|finding| given.report(finding, start));
    given.say_what_is_not_modelled();
    (members.len() - others, others)
}
