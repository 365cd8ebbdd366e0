//! A scenario as JSON text: every value explicit, so that a case file keeps its meaning when a
//! default changes. What is written loads back to an equal scenario.

use cutline::config::text::{format_duration, format_permille, format_size};
use cutline::config::{FlinkConfig, HeartbeatOptions, OPTIONS, OptionValue};
use cutline::job::{Feedback, Partitioner};
use cutline::message::SnapshotKind;
use cutline::operator::StartupMode;
use cutline::storage::SyncPolicy;
use cutline::time::{VirtualDuration, VirtualTime};
use cutline::trigger::adaptive::{Bounds, Estimate, Formula, IntervalPolicy};

use crate::kernel::distribution::Distribution;

use super::fields::FORMAT;
use super::json_text::{Json, text};
use super::model::{
    Action, ActionKind, Direction, Edge, External, FailureLaw, FailureTarget, Failures, Fault,
    FaultKind, Link, ListMode, ManualTrigger, Operator, OperatorKind, Scenario, SnapshotSource,
    Source, StepAnchor, Storage, WRITE_BACK, When,
};
use super::values::{format_bandwidth, format_endpoint};

/// Writes a scenario in the format that `load` reads.
pub fn to_json(scenario: &Scenario) -> String {
    let config = config_of(scenario);
    let mut checkpointing = options(&config, "checkpointing");
    if let Some(delay) = scenario.checkpointing.initial_delay {
        checkpointing.push(("initial_delay", span(delay)));
    }
    if let Some(of) = scenario.checkpointing.policy {
        checkpointing.push(("policy", policy(of)));
    }
    if !scenario.manual.is_empty() {
        let manual = scenario.manual.iter().map(manual).collect();
        checkpointing.push(("manual", Json::List(manual)));
    }
    let mut cluster = vec![
        ("job_managers", number(scenario.cluster.job_managers)),
        ("task_managers", number(scenario.cluster.task_managers)),
    ];
    cluster.extend(options(&config, "cluster"));
    cluster.push(("process_restart", distribution(&scenario.cluster.process_restart)));
    cluster.push(("connection_loss", distribution(&scenario.cluster.connection_loss)));
    cluster.push(("deploy", distribution(&scenario.cluster.deploy)));
    let job = &scenario.job;
    let mut network = link_values(
        &scenario.network.latency,
        scenario.network.bandwidth,
        &scenario.network.control_latency,
    );
    if !scenario.network.links.is_empty() {
        network.push(("links", Json::List(scenario.network.links.iter().map(link).collect())));
    }
    let mut ha = vec![("latency", distribution(&scenario.ha.latency))];
    ha.extend(options(&config, "ha"));
    let actions = scenario.actions.iter().map(|of| action(of, scenario)).collect();
    let faults = scenario.faults.iter().map(|of| fault(of, scenario)).collect();
    let limits = &scenario.limits;
    let edges = job.edges.iter().map(|of| edge(of, &job.operators));
    let mut graph = vec![
        ("operators", Json::List(job.operators.iter().map(operator).collect())),
        ("edges", Json::List(edges.collect())),
    ];
    if !job.operator_chaining {
        graph.push(("operator_chaining", Json::Plain("false".to_owned())));
    }
    let log = options(&config, "changelog");
    let mut root = vec![
        ("format", text(FORMAT)),
        ("title", text(&scenario.title)),
        ("why", text(&scenario.why)),
        ("job", Json::Object(graph)),
        ("checkpointing", Json::Object(checkpointing)),
        ("restart", Json::Object(options(&config, "restart"))),
        ("buffers", Json::Object(options(&config, "buffers"))),
        ("cluster", Json::Object(cluster)),
        ("network", Json::Object(network)),
        ("storage", Json::Object(storage(&scenario.storage))),
        ("ha", Json::Object(ha)),
        ("external", external(&scenario.external)),
        ("actions", Json::List(actions)),
        ("faults", Json::List(faults)),
    ];
    if !log.is_empty() {
        root.push(("changelog", Json::Object(log)));
    }
    if let Some(of) = &scenario.failures {
        root.push(("failures", failures(of)));
    }
    root.push((
        "limits",
        Json::Object(vec![
            ("until", time(limits.until)),
            ("events", Json::Plain(limits.events.to_string())),
            ("settle", span(limits.settle)),
        ]),
    ));
    let mut out = String::new();
    Json::Object(root).write(0, 0, &mut out);
    out.push('\n');
    out
}

fn link(of: &Link) -> Json {
    let end = |end| text(&format_endpoint(end));
    let mut parts = vec![("from", end(of.from)), ("to", end(of.to))];
    parts.extend(link_values(&of.latency, of.bandwidth, &of.control_latency));
    Json::Object(parts)
}

fn link_values(
    latency: &Distribution,
    bandwidth: u64,
    control_latency: &Distribution,
) -> Vec<(&'static str, Json)> {
    vec![
        ("latency", distribution(latency)),
        ("bandwidth", text(&format_bandwidth(bandwidth))),
        ("control_latency", distribution(control_latency)),
    ]
}

fn storage(of: &Storage) -> Vec<(&'static str, Json)> {
    let mut parts = vec![
        ("latency", distribution(&of.latency)),
        ("bandwidth", text(&format_bandwidth(of.bandwidth))),
        ("visibility", distribution(&of.visibility)),
    ];
    if let Some(name_node) = &of.name_node {
        parts.push(("name_node", distribution(name_node)));
    }
    if let Some(requests) = of.requests_per_prefix {
        parts.push(("requests_per_prefix", number(requests)));
    }
    if let Some(size) = of.part_size {
        parts.push(("part_size", text(&format_size(size))));
    }
    if of.sync != SyncPolicy::default() {
        parts.push(("sync", text(of.sync.name())));
    }
    if of.write_back != WRITE_BACK {
        parts.push(("write_back", span(of.write_back)));
    }
    parts.push(("attempts", number(of.client.attempts)));
    parts.push(("backoff", span(of.client.backoff)));
    parts.push(("timeout", span(of.client.timeout)));
    parts
}

fn config_of(scenario: &Scenario) -> FlinkConfig {
    FlinkConfig {
        checkpointing: scenario.checkpointing.clone(),
        restart: scenario.restart.clone(),
        network: scenario.buffers.clone(),
        heartbeat: HeartbeatOptions {
            interval: scenario.cluster.heartbeat_interval,
            timeout: scenario.cluster.heartbeat_timeout,
            rpc_failures: scenario.cluster.rpc_failures,
        },
        election: scenario.ha.election,
        ask_timeout: scenario.cluster.ask_timeout,
        cancellation_timeout: scenario.cluster.cancellation_timeout,
        failover: scenario.cluster.failover,
        slots: scenario.cluster.slots,
    }
}

/// The options of a section, by their short names, in the order of the table.
fn options(config: &FlinkConfig, section: &str) -> Vec<(&'static str, Json)> {
    let values = config.values();
    let of = |spec: &&cutline::config::OptionSpec| spec.path.0 == section;
    let written = OPTIONS.iter().filter(of).filter_map(|spec| {
        let value = values.get(spec.id)?;
        let json = match value {
            OptionValue::Integer(_) | OptionValue::Boolean(_) => Json::Plain(value.to_string()),
            OptionValue::Duration(_)
            | OptionValue::Decimal(_)
            | OptionValue::Size(_)
            | OptionValue::Choice(_) => text(&value.to_string()),
        };
        Some((spec.path.1, json))
    });
    written.collect()
}

fn manual(of: &ManualTrigger) -> Json {
    let kind = match of.kind {
        SnapshotKind::FullCheckpoint => "full_checkpoint",
        SnapshotKind::Checkpoint => "checkpoint",
        // Not yet part of the format; `load` refuses them by name.
        SnapshotKind::Savepoint => "savepoint",
        SnapshotKind::SavepointSuspend => "savepoint_suspend",
        SnapshotKind::SavepointTerminate => "savepoint_terminate",
    };
    Json::Object(vec![("at", time(of.at)), ("kind", text(kind))])
}

fn operator(of: &Operator) -> Json {
    let (kind, own) = match &of.kind {
        OperatorKind::Source(of) => ("source", source(of)),
        OperatorKind::Map { rekey } => {
            ("map", rekey.map(|keys| ("rekey", number(keys))).into_iter().collect())
        }
        OperatorKind::Filter { keep_permille } => {
            ("filter", vec![("keep", text(&format!("{keep_permille}/1000")))])
        }
        OperatorKind::FlatMap { fanout } => ("flat_map", vec![("fanout", number(*fanout))]),
        OperatorKind::KeyedAggregate => ("keyed_aggregate", vec![state_per_key(of)]),
        OperatorKind::Join => ("join", vec![state_per_key(of)]),
        OperatorKind::Buffer { threshold } => ("buffer", vec![("threshold", number(*threshold))]),
        OperatorKind::Async { capacity, ordered, latency } => {
            let order = text(if *ordered { "ordered" } else { "unordered" });
            let own = [
                ("capacity", number(*capacity)),
                ("order", order),
                ("latency", distribution(latency)),
            ];
            ("async", own.into())
        }
        OperatorKind::BroadcastJoin => ("broadcast_join", vec![]),
        OperatorKind::Window { size, slide } => {
            ("window", vec![("size", span(*size)), ("slide", span(*slide)), state_per_key(of)])
        }
        OperatorKind::IdempotentSink => ("idempotent_sink", vec![]),
        OperatorKind::TwoPhaseCommitSink => ("two_phase_commit_sink", vec![]),
        OperatorKind::AtLeastOnceSink => ("at_least_once_sink", vec![]),
        OperatorKind::SinkWriter => ("sink_writer", vec![]),
        OperatorKind::Committer => ("committer", vec![]),
        OperatorKind::WriteAheadSink => ("write_ahead_sink", vec![]),
    };
    let mut parts = vec![
        ("name", text(&of.name)),
        ("kind", text(kind)),
        ("parallelism", number(of.parallelism)),
        ("max_parallelism", number(of.max_parallelism)),
    ];
    parts.extend(own);
    parts.push(("cost", distribution(&of.cost)));
    parts.push(("sync_cost", distribution(&of.sync_cost)));
    Json::Object(parts)
}

fn state_per_key(of: &Operator) -> (&'static str, Json) {
    ("state_per_key", text(&format_size(of.state_per_key)))
}

fn source(of: &Source) -> Vec<(&'static str, Json)> {
    let mut parts = vec![("splits", number(of.splits))];
    if let Some(records) = of.records {
        parts.push(("records", Json::Plain(records.to_string())));
    }
    if of.history > 0 {
        parts.push(("history", Json::Plain(of.history.to_string())));
    }
    if of.startup_mode == StartupMode::LatestOffset {
        parts.push(("startup_mode", text("latest_offset")));
    }
    parts.push(("every", span(of.every)));
    parts.push(("keys", number(of.keys)));
    if of.key_run != 1 {
        parts.push(("key_run", number(of.key_run)));
    }
    parts.push(("record_size", text(&format_size(u64::from(of.record_bytes)))));
    parts.push(("weight", number(of.weight)));
    if of.disorder > VirtualDuration::ZERO {
        parts.push(("disorder", span(of.disorder)));
    }
    if let Some(watermarks) = &of.watermarks {
        parts.push(("out_of_orderness", span(watermarks.out_of_orderness)));
        parts.push(("watermark_interval", span(watermarks.interval)));
        parts.extend(watermarks.idle_timeout.map(|timeout| ("idle_timeout", span(timeout))));
    }
    if let Some(discovery) = &of.discovery {
        parts.push(("split_discovery", span(discovery.every)));
        parts.push(("enumerator_snapshot", span(discovery.snapshot)));
    }
    if of.list_mode == ListMode::Union {
        parts.push(("list_mode", text("union")));
    }
    parts
}

fn edge(of: &Edge, operators: &[Operator]) -> Json {
    let partitioner = match of.partitioner {
        Partitioner::Forward => "forward",
        Partitioner::Hash => "hash",
        Partitioner::Rebalance => "rebalance",
        Partitioner::Rescale => "rescale",
        Partitioner::Broadcast => "broadcast",
    };
    let mut parts = vec![
        ("from", text(&operators[of.from].name)),
        ("to", text(&operators[of.to].name)),
        ("partitioner", text(partitioner)),
    ];
    if operators[of.to].kind.has_sides() {
        parts.push(("input", number(of.input)));
    }
    if of.chained {
        parts.push(("chained", Json::Plain("true".to_owned())));
    }
    if let Some(Feedback { again_permille }) = of.feedback {
        parts.push(("feedback", text(&format!("{again_permille}/1000"))));
    }
    Json::Object(parts)
}

fn action(of: &Action, scenario: &Scenario) -> Json {
    let (kind, own) = match &of.what {
        ActionKind::Savepoint => ("savepoint", vec![]),
        ActionKind::StopWithSavepoint { drain } => {
            ("stop_with_savepoint", vec![("drain", Json::Plain(drain.to_string()))])
        }
        ActionKind::Cancel => ("cancel", vec![]),
        ActionKind::CleanOrphans => ("clean_orphans", vec![]),
        ActionKind::Resume { from, claims, parallelism, operator_chaining, changelog } => {
            let from = match from {
                SnapshotSource::Savepoint => "savepoint",
                SnapshotSource::Checkpoint => "checkpoint",
            };
            let mode = if *claims { "claim" } else { "no_claim" };
            let mut parts = vec![("from", text(from)), ("claim_mode", text(mode))];
            if !parallelism.is_empty() {
                let name = |at: usize| scenario.job.operators[at].name.as_str();
                let counts = parallelism.iter().map(|(at, of)| format!("\"{}\": {of}", name(*at)));
                let counts = counts.collect::<Vec<_>>().join(", ");
                parts.push(("parallelism", Json::Plain(format!("{{ {counts} }}"))));
            }
            if let Some(chained) = operator_chaining {
                parts.push(("operator_chaining", Json::Plain(chained.to_string())));
            }
            if let Some(logs) = changelog {
                parts.push(("changelog", Json::Plain(logs.to_string())));
            }
            ("resume", parts)
        }
    };
    let mut parts = vec![("at", when(&of.at, scenario)), ("kind", text(kind))];
    parts.extend(own);
    Json::Object(parts)
}

fn subtask((operator, index): (usize, u32), scenario: &Scenario) -> Json {
    text(&format!("{}[{index}]", scenario.job.operators[operator].name))
}

fn when(of: &When, scenario: &Scenario) -> Json {
    match of {
        When::Time(at) => time(*at),
        When::Step(anchor) => step(anchor, &|of| subtask(of, scenario)),
    }
}

/// A fault in a few words: its kind, and what a scenario file says of it besides when.
pub(crate) fn fault_in_words(of: &Fault, scenario: &Scenario) -> String {
    let Json::Object(parts) = fault(of, scenario) else { unreachable!("a fault is an object") };
    let word = |part: &Json| part.one_line().replace('"', "");
    let mut words = String::new();
    for (key, part) in parts.iter().filter(|(key, _)| *key != "at") {
        match *key {
            "kind" => words.push_str(&word(part)),
            "target" => words.push_str(&format!(" {}", word(part))),
            key => words.push_str(&format!(", {key} {}", word(part))),
        }
    }
    words
}

fn fault(of: &Fault, scenario: &Scenario) -> Json {
    let subtask = |of| subtask(of, scenario);
    let at = when(&of.at, scenario);
    let end = |end| text(&format_endpoint(end));
    let own = match of.what {
        FaultKind::CrashTask(operator, index) => {
            vec![("target", subtask((operator, index)))]
        }
        FaultKind::CrashTaskManager(index) => {
            vec![("target", number(index))]
        }
        FaultKind::CrashJobManager => vec![],
        FaultKind::PauseTask(operator, index, length) => {
            vec![("target", subtask((operator, index))), ("for", span(length))]
        }
        FaultKind::PauseTaskManager(index, length) => {
            vec![("target", number(index)), ("for", span(length))]
        }
        FaultKind::PauseJobManager(length) => vec![("for", span(length))],
        FaultKind::SlowLink(from, to, factor, length) => vec![
            ("from", end(from)),
            ("to", end(to)),
            ("factor", number(factor)),
            ("for", span(length)),
        ],
        FaultKind::CutLink(from, to, way, length) => vec![
            ("from", end(from)),
            ("to", end(to)),
            ("direction", direction(way)),
            ("for", span(length)),
        ],
        FaultKind::LoseMessages(from, to, way, chance, length) => vec![
            ("from", end(from)),
            ("to", end(to)),
            ("direction", direction(way)),
            ("chance", text(&format_permille(chance))),
            ("for", span(length)),
        ],
        FaultKind::RepeatMessages(from, to, by, length) => {
            vec![("from", end(from)), ("to", end(to)), ("by", span(by)), ("for", span(length))]
        }
        FaultKind::Reorder(window, changes, length) => {
            vec![("window", span(window)), ("changes", number(changes)), ("for", span(length))]
        }
        FaultKind::SlowStorage(operation, by, length) => {
            vec![("operation", text(operation.name())), ("by", span(by)), ("for", span(length))]
        }
        FaultKind::FailStorage(operation, count) => {
            vec![("operation", text(operation.name())), ("count", number(count))]
        }
        FaultKind::DisturbStorage(operation, how, count) => vec![
            ("operation", text(operation.name())),
            ("how", text(how.name())),
            ("count", number(count)),
        ],
        FaultKind::DamageObject(operation) => {
            vec![("operation", text(operation.name()))]
        }
        FaultKind::SlowExternal(of, by, length) => {
            vec![("operation", text(of.word())), ("by", span(by)), ("for", span(length))]
        }
        FaultKind::FailExternal(of, count) => {
            vec![("operation", text(of.word())), ("count", number(count))]
        }
        FaultKind::AmbiguousExternal(of, count) => {
            vec![("operation", text(of.word())), ("count", number(count))]
        }
        FaultKind::CutExternal(index, way, length) => {
            vec![("target", number(index)), ("direction", direction(way)), ("for", span(length))]
        }
        FaultKind::CutHa(target, way, length) | FaultKind::CutStorage(target, way, length) => {
            let target = target.map(|it| ("target", text(&format_endpoint(it))));
            let rest = [("direction", direction(way)), ("for", span(length))];
            target.into_iter().chain(rest).collect()
        }
        FaultKind::DriftClock(target, pace, length) => {
            let target = target.map(|it| ("target", text(&format_endpoint(it))));
            let rest = [("rate", text(&format_permille(pace))), ("for", span(length))];
            target.into_iter().chain(rest).collect()
        }
        FaultKind::CrashStorageHost(length) => vec![("for", span(length))],
        FaultKind::StepClock(target, step, by, length) => {
            let target = target.map(|it| ("target", text(&format_endpoint(it))));
            let rest = [("direction", text(step.name())), ("by", span(by)), ("for", span(length))];
            target.into_iter().chain(rest).collect()
        }
    };
    let mut parts = vec![("at", at), ("kind", text(of.what.name()))];
    parts.extend(own);
    Json::Object(parts)
}

fn direction(of: Direction) -> Json {
    text(of.name())
}

fn failures(of: &Failures) -> Json {
    let (law, own) = match of.law {
        FailureLaw::Exponential => ("exponential", vec![]),
        FailureLaw::Weibull { shape_permille } => {
            ("weibull", vec![("shape", text(&format_permille(shape_permille)))])
        }
    };
    let target = match of.target {
        FailureTarget::TaskManager => "task_manager",
        FailureTarget::Task => "task",
    };
    let mut parts = vec![("law", text(law)), ("mtbf", span(of.mtbf)), ("target", text(target))];
    parts.extend(own);
    Json::Object(parts)
}

fn policy(of: IntervalPolicy) -> Json {
    let chosen = |kind, known: Estimate, bounds: Bounds| {
        Json::Object(vec![
            ("kind", text(kind)),
            ("checkpoint_cost", span(known.cost)),
            ("expected_mtbf", span(known.mtbf)),
            ("shortest", span(bounds.min)),
            ("longest", span(bounds.max)),
        ])
    };
    match of {
        IntervalPolicy::DuringBacklog { interval, until } => Json::Object(vec![
            ("kind", text("backlog")),
            ("during_backlog", span(interval)),
            ("backlog_until", time(until)),
        ]),
        IntervalPolicy::Formula(Formula::Young, known, bounds) => chosen("young", known, bounds),
        IntervalPolicy::Formula(Formula::Daly, known, bounds) => chosen("daly", known, bounds),
        IntervalPolicy::Formula(Formula::Exact, known, bounds) => chosen("exact", known, bounds),
        IntervalPolicy::Measured(known, bounds) => chosen("measured", known, bounds),
    }
}

fn step(anchor: &StepAnchor, subtask: &dyn Fn((usize, u32)) -> Json) -> Json {
    let mut parts = vec![("step", text(anchor.step.name()))];
    if let Some(checkpoint) = anchor.checkpoint {
        parts.push(("checkpoint", Json::Plain(checkpoint.to_string())));
    }
    if let Some(of) = anchor.subtask {
        parts.push(("subtask", subtask(of)));
    }
    parts.push(("occurrence", number(anchor.occurrence)));
    parts.push(("delay", span(anchor.delay)));
    Json::Object(parts)
}

fn external(of: &External) -> Json {
    let mut parts = vec![("latency", distribution(&of.latency))];
    if let Some(timeout) = of.transaction_timeout {
        parts.push(("transaction_timeout", span(timeout)));
    }
    parts.push(("commit_retries", number(of.commit_retries)));
    Json::Object(parts)
}

pub(crate) fn distribution(of: &Distribution) -> Json {
    match *of {
        Distribution::Constant(length) => span(length),
        Distribution::Uniform { min, max } => {
            Json::Object(vec![("uniform", Json::List(vec![span(min), span(max)]))])
        }
        Distribution::Exponential { min, mean } => {
            let parts = vec![("min", span(min)), ("mean", span(mean))];
            Json::Object(vec![("exponential", Json::Object(parts))])
        }
        Distribution::LogNormal { median, sigma_permille } => {
            let sigma = text(&format_permille(sigma_permille));
            let parts = vec![("median", span(median)), ("sigma", sigma)];
            Json::Object(vec![("log_normal", Json::Object(parts))])
        }
    }
}

pub(crate) fn span(of: VirtualDuration) -> Json {
    text(&format_duration(of))
}

fn time(of: VirtualTime) -> Json {
    span(of.since(VirtualTime::ZERO))
}

fn number(of: u32) -> Json {
    Json::Plain(of.to_string())
}
