//! What a scenario has, by name: to see what many random ones cover.

use std::fmt;

use cutline::config::{FailoverStrategy, RestartStrategy, Retention, RpcFailures};
use cutline::job::{ExecutionGraph, Partitioner};
use cutline::message::SnapshotKind;
use cutline::operator::StartupMode;
use cutline::step::Step;
use cutline::time::VirtualDuration;
use cutline::trigger::adaptive::{Formula, IntervalPolicy};
use serde::Serialize;

use super::model::{
    ActionKind, External, FaultKind, ListMode, OperatorKind, Scenario, SnapshotSource, Source,
    StorageOperation, Watermarks, When,
};
use crate::engine::job_graph;
use crate::kernel::distribution::Distribution;

/// Something that a scenario has or has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Feature {
    /// What kind of thing: `operator`, `edge`, `mode`, `fault`, `fault at step`, …
    pub class: &'static str,
    /// Which of them.
    pub name: &'static str,
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class, self.name)
    }
}

const KINDS: [&str; 16] = [
    "source",
    "map",
    "filter",
    "flat_map",
    "keyed_aggregate",
    "join",
    "idempotent_sink",
    "two_phase_commit_sink",
    "at_least_once_sink",
    "sink_writer",
    "committer",
    "write_ahead_sink",
    "window",
    "buffer",
    "broadcast_join",
    "async",
];
const EDGES: [&str; 5] = ["forward", "hash", "rebalance", "rescale", "broadcast"];
const SHAPES: [&str; 18] = [
    "fan-out",
    "fan-in",
    "diamond",
    "several sources",
    "several sinks",
    "rekey",
    "unbounded",
    "mixed sources",
    "split enumerator",
    "union list state",
    "unordered calls",
    "history",
    "runs of keys",
    "latest offset",
    "several regions",
    "operator chain",
    "chain of keyed operators",
    "loop",
];
const MODES: [&str; 4] = ["aligned", "unaligned", "aligned with timeout", "at least once"];
const OPTIONS: [&str; 18] = [
    "no checkpoints",
    "manual only",
    "manual checkpoint",
    "manual full checkpoint",
    "initial delay",
    "min pause",
    "concurrent checkpoints",
    "no failure tolerated",
    "some failures tolerated",
    "several retained",
    "none after tasks finish",
    "delete on cancellation",
    "retain on cancellation",
    "incremental",
    "local recovery",
    "unaligned forced",
    "small state inlined",
    "changelog",
];
const POLICIES: [&str; 6] =
    ["backlog", "no checkpoints during backlog", "young", "daly", "exact", "measured"];
const RESTARTS: [&str; 3] = ["fixed delay", "failure rate", "exponential delay"];
const STORES: [&str; 5] = ["neutral", "hdfs", "s3", "file", "memory"];
const WORLDS: [&str; 20] = [
    "one task manager",
    "spare slots",
    "small buffers",
    "debloated buffers",
    "limited bandwidth",
    "links that differ",
    "limited storage bandwidth",
    "delayed visibility",
    "nominal state",
    "heavy records",
    "few key groups",
    "transaction timeout",
    "few commit retries",
    "deaths shown by heartbeats",
    "deaths shown by silence alone",
    "connections that break late",
    "tasks that take long to end",
    "tasks that must end in time",
    "several job managers",
    "full failover",
];
const TIMES: [&str; 5] =
    ["watermarks", "disorder", "late records", "idle sources", "sliding windows"];
const DISTRIBUTIONS: [&str; 4] = ["constant", "uniform", "exponential", "log-normal"];
const FAULTS: [&str; 24] = [
    "crash task",
    "crash task manager",
    "crash job manager",
    "pause task",
    "pause task manager",
    "pause job manager",
    "slow link",
    "cut link",
    "slow storage",
    "fail storage",
    "disturb storage",
    "damage object",
    "slow external",
    "fail external",
    "ambiguous external",
    "cut external",
    "repeat messages",
    "reorder",
    "cut HA store",
    "cut storage",
    "lose messages",
    "drift clock",
    "step clock",
    "crash storage host",
];
const DISTURBANCES: [&str; 7] =
    ["transient", "throttled", "hanging", "ambiguous", "torn", "short read", "stale"];
const EXTERNAL: [&str; 4] = ["any", "pre-commit", "commit", "abort"];
const ACTIONS: [&str; 15] = [
    "savepoint",
    "stop with savepoint",
    "stop and drain",
    "cancel",
    "resume from savepoint",
    "resume from checkpoint",
    "resume and claim",
    "resume twice",
    "rescale up",
    "rescale down",
    "rescale with data in flight",
    "at a step",
    "other chains",
    "changelog switched",
    "clean orphans",
];
const OPERATIONS: [&str; 9] = [
    "any",
    "write state",
    "write metadata",
    "read",
    "delete",
    "write pointer",
    "draw id",
    "read pointers",
    "write job result",
];

/// All features that there are, so that one that is never drawn is seen.
pub fn all_features() -> Vec<Feature> {
    let steps: Vec<&str> = Step::ALL.iter().map(|step| step.name()).collect();
    let classes: [(&'static str, &[&'static str]); 19] = [
        ("operator", &KINDS),
        ("edge", &EDGES),
        ("shape", &SHAPES),
        ("mode", &MODES),
        ("option", &OPTIONS),
        ("policy", &POLICIES),
        ("restart", &RESTARTS),
        ("store", &STORES),
        ("world", &WORLDS),
        ("network latency", &DISTRIBUTIONS),
        ("fault at time", &FAULTS),
        ("fault at step", &FAULTS),
        ("slow storage", &OPERATIONS),
        ("fail storage", &OPERATIONS),
        ("disturb storage", &DISTURBANCES),
        ("external request", &EXTERNAL),
        ("step", &steps),
        ("action", &ACTIONS),
        ("event time", &TIMES),
    ];
    let features = |(class, names): (&'static str, &[&'static str])| {
        names.iter().map(|name| Feature { class, name }).collect::<Vec<_>>()
    };
    classes.into_iter().flat_map(features).collect()
}

/// The features of a scenario: in order, each once.
pub fn features(scenario: &Scenario) -> Vec<Feature> {
    let mut found = Found::default();
    found.job(scenario);
    found.checkpointing(scenario);
    found.world(scenario);
    found.faults(scenario);
    found.actions(scenario);
    found.0.sort_unstable();
    found.0.dedup();
    found.0
}

#[derive(Default)]
struct Found(Vec<Feature>);

impl Found {
    fn add(&mut self, class: &'static str, name: &'static str) {
        self.0.push(Feature { class, name });
    }

    fn add_if(&mut self, has: bool, class: &'static str, name: &'static str) {
        if has {
            self.add(class, name);
        }
    }

    fn job(&mut self, scenario: &Scenario) {
        let job = &scenario.job;
        let sources = || job.operators.iter().filter_map(|operator| operator.kind.as_source());
        let mixed =
            sources().any(|it| it.records.is_some()) && sources().any(|it| it.records.is_none());
        self.add_if(mixed, "shape", "mixed sources");
        for operator in &job.operators {
            self.add("operator", kind(&operator.kind));
            if let OperatorKind::Source(source) = &operator.kind {
                self.add_if(source.records.is_none(), "shape", "unbounded");
                self.add_if(source.weight > 1, "world", "heavy records");
                self.add_if(source.discovery.is_some(), "shape", "split enumerator");
                let union = source.list_mode == ListMode::Union;
                self.add_if(union, "shape", "union list state");
                self.add_if(source.history > 0, "shape", "history");
                self.add_if(source.key_run > 1, "shape", "runs of keys");
                let latest = source.startup_mode == StartupMode::LatestOffset;
                self.add_if(latest, "shape", "latest offset");
                self.event_time(source);
            }
            if let OperatorKind::Window { size, slide } = operator.kind {
                self.add_if(slide < size, "event time", "sliding windows");
            }
            let unordered = matches!(operator.kind, OperatorKind::Async { ordered: false, .. });
            self.add_if(unordered, "shape", "unordered calls");
            let rekeys = matches!(operator.kind, OperatorKind::Map { rekey: Some(_) });
            self.add_if(rekeys, "shape", "rekey");
            self.add_if(operator.state_per_key > 0, "world", "nominal state");
            self.add_if(operator.max_parallelism < 16, "world", "few key groups");
        }
        for edge in &job.edges {
            self.add("edge", partitioner(edge.partitioner));
            self.add_if(edge.chained, "shape", "operator chain");
            self.add_if(!edge.leads_on(), "shape", "loop");
            let keyed = edge.chained && job.operators[edge.to].kind.is_keyed();
            self.add_if(keyed, "shape", "chain of keyed operators");
        }
        let operators = 0..job.operators.len();
        let outputs = |of: usize| job.edges.iter().filter(move |edge| edge.from == of);
        let inputs = |of: usize| job.edges.iter().filter(move |edge| edge.to == of);
        let union = |of: &usize| inputs(*of).count() > 1 && !job.operators[*of].kind.has_sides();
        let count = |is: fn(&OperatorKind) -> bool| {
            job.operators.iter().filter(|operator| is(&operator.kind)).count()
        };
        self.add_if(operators.clone().any(|of| outputs(of).count() > 1), "shape", "fan-out");
        self.add_if(operators.clone().any(|of| union(&of)), "shape", "fan-in");
        self.add_if(operators.clone().any(|of| is_diamond(scenario, of)), "shape", "diamond");
        let sources = count(|kind| matches!(kind, OperatorKind::Source(_)));
        self.add_if(sources > 1, "shape", "several sources");
        self.add_if(count(OperatorKind::is_sink) > 1, "shape", "several sinks");
        let graph = job_graph(scenario).map(ExecutionGraph::new);
        let regions = graph.is_ok_and(|graph| graph.regions().count() > 1);
        self.add_if(regions, "shape", "several regions");
    }

    fn event_time(&mut self, source: &Source) {
        let Some(watermarks) = &source.watermarks else { return };
        let Watermarks { out_of_orderness, idle_timeout, .. } = watermarks;
        self.add("event time", "watermarks");
        self.add_if(!source.disorder.is_zero(), "event time", "disorder");
        self.add_if(source.disorder > *out_of_orderness, "event time", "late records");
        self.add_if(idle_timeout.is_some(), "event time", "idle sources");
    }

    fn actions(&mut self, scenario: &Scenario) {
        let mut resumes = 0;
        for action in &scenario.actions {
            self.add_if(matches!(action.at, When::Step(_)), "action", "at a step");
            match &action.what {
                ActionKind::Savepoint => self.add("action", "savepoint"),
                ActionKind::StopWithSavepoint { drain: true } => {
                    self.add("action", "stop and drain");
                }
                ActionKind::StopWithSavepoint { drain: false } => {
                    self.add("action", "stop with savepoint");
                }
                ActionKind::Cancel => self.add("action", "cancel"),
                ActionKind::CleanOrphans => self.add("action", "clean orphans"),
                ActionKind::Resume { from, claims, parallelism, operator_chaining, changelog } => {
                    resumes += 1;
                    self.add_if(resumes > 1, "action", "resume twice");
                    self.add_if(*claims, "action", "resume and claim");
                    let checkpoint = *from == SnapshotSource::Checkpoint;
                    self.add(
                        "action",
                        match checkpoint {
                            true => "resume from checkpoint",
                            false => "resume from savepoint",
                        },
                    );
                    let is = |at: &usize| scenario.job.operators[*at].parallelism;
                    let up = parallelism.iter().any(|(at, number)| *number > is(at));
                    let down = parallelism.iter().any(|(at, number)| *number < is(at));
                    self.add_if(up, "action", "rescale up");
                    self.add_if(down, "action", "rescale down");
                    let other =
                        operator_chaining.is_some_and(|it| it != scenario.job.operator_chaining);
                    self.add_if(other, "action", "other chains");
                    let enabled = scenario.checkpointing.changelog.enabled;
                    let switched = changelog.is_some_and(|logs| logs != enabled);
                    self.add_if(switched, "action", "changelog switched");
                    let in_flight = checkpoint && scenario.checkpointing.unaligned;
                    let with = in_flight && (up || down);
                    self.add_if(with, "action", "rescale with data in flight");
                }
            }
        }
    }

    fn checkpointing(&mut self, scenario: &Scenario) {
        let options = &scenario.checkpointing;
        let (periodic, by_hand) = (options.interval.is_some(), !scenario.manual.is_empty());
        self.add(
            "mode",
            match (options.exactly_once, options.unaligned) {
                (false, _) => "at least once",
                (true, false) => "aligned",
                (true, true) if options.aligned_timeout.is_zero() => "unaligned",
                (true, true) => "aligned with timeout",
            },
        );
        self.add_if(!periodic && !by_hand, "option", "no checkpoints");
        self.add_if(!periodic && by_hand, "option", "manual only");
        for trigger in &scenario.manual {
            let full = trigger.kind == SnapshotKind::FullCheckpoint;
            self.add("option", if full { "manual full checkpoint" } else { "manual checkpoint" });
        }
        self.add_if(options.initial_delay.is_some(), "option", "initial delay");
        self.add_if(!options.min_pause.is_zero(), "option", "min pause");
        self.add_if(options.max_concurrent > 1, "option", "concurrent checkpoints");
        self.add_if(options.tolerable_failures == 0, "option", "no failure tolerated");
        let some = (1..100).contains(&options.tolerable_failures);
        self.add_if(some, "option", "some failures tolerated");
        self.add_if(options.retained > 1, "option", "several retained");
        self.add_if(!options.checkpoints_after_tasks_finish, "option", "none after tasks finish");
        match options.retention {
            Retention::DeleteOnCancellation => self.add("option", "delete on cancellation"),
            Retention::RetainOnCancellation => self.add("option", "retain on cancellation"),
            Retention::NoExternalized => {}
        }
        self.add("store", STORES[options.dir.map_or(0, |scheme| scheme as usize + 1)]);
        self.add_if(options.incremental, "option", "incremental");
        self.add_if(options.local_recovery, "option", "local recovery");
        self.add_if(options.unaligned_forced, "option", "unaligned forced");
        self.add_if(options.inline_threshold.is_some(), "option", "small state inlined");
        self.add_if(options.changelog.enabled, "option", "changelog");
        match options.policy {
            None => {}
            Some(IntervalPolicy::DuringBacklog { interval, .. }) => {
                self.add("policy", "backlog");
                self.add_if(interval.is_zero(), "policy", "no checkpoints during backlog");
            }
            Some(IntervalPolicy::Formula(Formula::Young, ..)) => self.add("policy", "young"),
            Some(IntervalPolicy::Formula(Formula::Daly, ..)) => self.add("policy", "daly"),
            Some(IntervalPolicy::Formula(Formula::Exact, ..)) => self.add("policy", "exact"),
            Some(IntervalPolicy::Measured(..)) => self.add("policy", "measured"),
        }
        match scenario.restart {
            RestartStrategy::FixedDelay { .. } => self.add("restart", "fixed delay"),
            RestartStrategy::FailureRate { .. } => self.add("restart", "failure rate"),
            RestartStrategy::ExponentialDelay { .. } => self.add("restart", "exponential delay"),
            // A job that does not restart is of no use to a campaign.
            RestartStrategy::Disabled => {}
        }
    }

    fn world(&mut self, scenario: &Scenario) {
        let cluster = &scenario.cluster;
        let widest = scenario.job.operators.iter().map(|operator| operator.parallelism).max();
        let spare = cluster.slots * cluster.task_managers.saturating_sub(1);
        self.add_if(cluster.task_managers == 1, "world", "one task manager");
        self.add_if(widest.is_some_and(|widest| spare >= widest), "world", "spare slots");
        self.add_if(scenario.buffers.max_per_subpartition < 4, "world", "small buffers");
        self.add_if(scenario.buffers.debloat.enabled, "world", "debloated buffers");
        self.add_if(scenario.network.bandwidth > 0, "world", "limited bandwidth");
        self.add_if(!scenario.network.links.is_empty(), "world", "links that differ");
        self.add_if(scenario.storage.bandwidth > 0, "world", "limited storage bandwidth");
        let visible_at_once = matches!(scenario.storage.visibility,
            Distribution::Constant(span) if span.is_zero());
        self.add_if(!visible_at_once, "world", "delayed visibility");
        let external = &scenario.external;
        self.add_if(external.transaction_timeout.is_some(), "world", "transaction timeout");
        let few = external.commit_retries < External::COMMIT_RETRIES;
        self.add_if(few, "world", "few commit retries");
        self.add_if(cluster.job_managers > 1, "world", "several job managers");
        let full = cluster.failover == FailoverStrategy::Full;
        self.add_if(full, "world", "full failover");
        match cluster.rpc_failures {
            Some(RpcFailures::Threshold(_)) => self.add("world", "deaths shown by heartbeats"),
            Some(RpcFailures::Ignored) => self.add("world", "deaths shown by silence alone"),
            None => {}
        }
        let at_once = Distribution::Constant(VirtualDuration::ZERO);
        self.add_if(cluster.connection_loss != at_once, "world", "connections that break late");
        if let Some(timeout) = cluster.cancellation_timeout {
            self.add("world", "tasks that take long to end");
            self.add_if(!timeout.is_zero(), "world", "tasks that must end in time");
        }
        self.add(
            "network latency",
            match scenario.network.latency {
                Distribution::Constant(_) => "constant",
                Distribution::Uniform { .. } => "uniform",
                Distribution::Exponential { .. } => "exponential",
                Distribution::LogNormal { .. } => "log-normal",
            },
        );
    }

    fn faults(&mut self, scenario: &Scenario) {
        for fault in &scenario.faults {
            match &fault.at {
                When::Time(_) => self.add("fault at time", fault_kind(&fault.what)),
                When::Step(anchor) => {
                    self.add("fault at step", fault_kind(&fault.what));
                    self.add("step", anchor.step.name());
                }
            }
            match fault.what {
                FaultKind::SlowStorage(what, ..) => self.add("slow storage", operation(what)),
                FaultKind::FailStorage(what, _) => self.add("fail storage", operation(what)),
                FaultKind::DisturbStorage(_, how, _) => {
                    self.add("disturb storage", DISTURBANCES[how as usize]);
                }
                FaultKind::SlowExternal(what, ..)
                | FaultKind::FailExternal(what, _)
                | FaultKind::AmbiguousExternal(what, _) => {
                    self.add("external request", EXTERNAL[what as usize]);
                }
                _ => {}
            }
        }
    }
}

/// Whether two ways lead from an operator to one other.
fn is_diamond(scenario: &Scenario, from: usize) -> bool {
    let edges = &scenario.job.edges;
    let mut ways = vec![0_u32; scenario.job.operators.len()];
    ways[from] = 1;
    // Few operators, and no cycle without feedback edges: relaxing once an operator reaches everything.
    let mut waiting = vec![from];
    while let Some(at) = waiting.pop() {
        for edge in edges.iter().filter(|edge| edge.from == at && edge.leads_on()) {
            ways[edge.to] += 1;
            if ways[edge.to] > 1 {
                return true;
            }
            waiting.push(edge.to);
        }
    }
    false
}

fn kind(kind: &OperatorKind) -> &'static str {
    KINDS[match kind {
        OperatorKind::Source(_) => 0,
        OperatorKind::Map { .. } => 1,
        OperatorKind::Filter { .. } => 2,
        OperatorKind::FlatMap { .. } => 3,
        OperatorKind::KeyedAggregate => 4,
        OperatorKind::Join => 5,
        OperatorKind::IdempotentSink => 6,
        OperatorKind::TwoPhaseCommitSink => 7,
        OperatorKind::AtLeastOnceSink => 8,
        OperatorKind::SinkWriter => 9,
        OperatorKind::Committer => 10,
        OperatorKind::WriteAheadSink => 11,
        OperatorKind::Window { .. } => 12,
        OperatorKind::Buffer { .. } => 13,
        OperatorKind::BroadcastJoin => 14,
        OperatorKind::Async { .. } => 15,
    }]
}

fn partitioner(partitioner: Partitioner) -> &'static str {
    EDGES[match partitioner {
        Partitioner::Forward => 0,
        Partitioner::Hash => 1,
        Partitioner::Rebalance => 2,
        Partitioner::Rescale => 3,
        Partitioner::Broadcast => 4,
    }]
}

fn fault_kind(kind: &FaultKind) -> &'static str {
    FAULTS[match kind {
        FaultKind::CrashTask(..) => 0,
        FaultKind::CrashTaskManager(_) => 1,
        FaultKind::CrashJobManager => 2,
        FaultKind::PauseTask(..) => 3,
        FaultKind::PauseTaskManager(..) => 4,
        FaultKind::PauseJobManager(_) => 5,
        FaultKind::SlowLink(..) => 6,
        FaultKind::CutLink(..) => 7,
        FaultKind::SlowStorage(..) => 8,
        FaultKind::FailStorage(..) => 9,
        FaultKind::DisturbStorage(..) => 10,
        FaultKind::DamageObject(_) => 11,
        FaultKind::SlowExternal(..) => 12,
        FaultKind::FailExternal(..) => 13,
        FaultKind::AmbiguousExternal(..) => 14,
        FaultKind::CutExternal(..) => 15,
        FaultKind::RepeatMessages(..) => 16,
        FaultKind::Reorder(..) => 17,
        FaultKind::CutHa(..) => 18,
        FaultKind::CutStorage(..) => 19,
        FaultKind::LoseMessages(..) => 20,
        FaultKind::DriftClock(..) => 21,
        FaultKind::StepClock(..) => 22,
        FaultKind::CrashStorageHost(_) => 23,
    }]
}

fn operation(operation: StorageOperation) -> &'static str {
    OPERATIONS[match operation {
        StorageOperation::Any => 0,
        StorageOperation::WriteState => 1,
        StorageOperation::WriteMetadata => 2,
        StorageOperation::Read => 3,
        StorageOperation::Delete => 4,
        StorageOperation::WritePointer => 5,
        StorageOperation::DrawId => 6,
        StorageOperation::ReadPointers => 7,
        StorageOperation::WriteJobResult => 8,
    }]
}

/// How many scenarios have each feature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    scenarios: u64,
    counts: std::collections::BTreeMap<Feature, u64>,
}

impl Histogram {
    /// Counts one scenario.
    pub fn add(&mut self, scenario: &Scenario) {
        self.scenarios += 1;
        for feature in features(scenario) {
            *self.counts.entry(feature).or_default() += 1;
        }
    }

    /// Scenarios counted so far.
    pub fn scenarios(&self) -> u64 {
        self.scenarios
    }

    /// Every feature there is, with the number of scenarios that have it.
    pub fn rows(&self) -> impl Iterator<Item = (Feature, u64)> + '_ {
        let count = |feature| self.counts.get(&feature).copied().unwrap_or(0);
        all_features().into_iter().map(move |feature| (feature, count(feature)))
    }

    /// Features that fewer than one scenario in a hundred has.
    pub fn rare(&self) -> Vec<(Feature, u64)> {
        self.rows().filter(|(_, count)| count * 100 < self.scenarios).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::generate::generate;
    use crate::scenario::{load, to_json};

    /// The seeds that CI runs. A feature that hardly any of them has is not tested.
    #[test]
    fn no_feature_is_rare() {
        let mut histogram = Histogram::default();
        (0..1_000).for_each(|seed| histogram.add(&generate(seed)));
        let rows: Vec<String> =
            histogram.rows().map(|(feature, count)| format!("{count:5} {feature}")).collect();
        assert!(histogram.rare().is_empty(), "{:?}\n{}", histogram.rare(), rows.join("\n"));
        let known = all_features();
        assert!(histogram.counts.keys().all(|feature| known.contains(feature)), "{histogram:?}");
    }

    #[test]
    fn what_is_drawn_is_valid_and_reads_back() {
        for seed in 0..300 {
            let scenario = generate(seed);
            let text = to_json(&scenario);
            match load(text.as_bytes(), "drawn.json", &[]) {
                Ok(loaded) => assert_eq!(loaded.scenario, scenario, "seed {seed}"),
                Err(found) => panic!("seed {seed}: {found}\n{text}"),
            }
        }
    }
}
