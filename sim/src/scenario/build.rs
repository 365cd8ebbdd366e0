//! From typed values to a scenario: names become indexes, and what does not go together is
//! refused. The job is in `build_job`, the faults are in `build_faults`, Flink's options in
//! `build_options`.
//!
//! A value that was refused before is simply absent here, so that one mistake is not reported
//! twice; what is made of it then is thrown away with the errors.

use cutline::config::{ElectionOptions, Scheme};
use cutline::message::SnapshotKind;
use cutline::storage::SyncPolicy;
use cutline::time::{VirtualDuration, VirtualTime};

use crate::kernel::distribution::Distribution;

use super::build_faults::{Known, actions, check_failures, failures, faults};
use super::build_job::job;
use super::build_network::network;
use super::build_options::{Options, flink_config, policy};
use super::build_rescaling::widest;
use super::diagnostic::{Diagnostic, Sink};
use super::loops;
use super::model::{
    Cluster, External, HighAvailability, Job, Limits, ManualTrigger, OperatorKind, Scenario,
    Storage, StorageClient,
};
use super::read::Node;

/// Makes the scenario; it means nothing if the sink has errors afterwards.
pub(super) fn build(root: &Node, sink: &mut Sink) -> Scenario {
    let empty = Node::default();
    let section = |name: &str| root.object(name).unwrap_or(&empty);
    let manual = manual(section("checkpointing"));
    // An interval that was refused is not a missing one.
    let all_was_read = !sink.has_errors();
    let checkpoints_are_known = manual.is_empty() && all_was_read;
    let Options { config, initial_delay, during_backlog } =
        flink_config(root, !checkpoints_are_known, sink);
    let (job, graph_is_known) = job(section("job"), sink);
    let resumed = widest(root.list("actions"));
    let cluster = cluster(section("cluster"), (&job, resumed), &config, graph_is_known, sink);
    let processes = graph_is_known.then_some((cluster.job_managers, cluster.task_managers));
    let storage = section("storage");
    let limits = limits(section("limits"));
    let mut scenario = Scenario {
        title: root.text("title").unwrap_or_default(),
        why: root.text("why").unwrap_or_default(),
        job,
        checkpointing: config.checkpointing,
        restart: config.restart,
        buffers: config.network,
        cluster,
        network: network(section("network"), processes, sink),
        storage: Storage {
            latency: span(storage, "latency"),
            bandwidth: storage.integer("bandwidth").unwrap_or(0),
            visibility: span(storage, "visibility"),
            name_node: storage.distribution("name_node"),
            requests_per_prefix: storage.u32("requests_per_prefix"),
            part_size: storage.integer("part_size"),
            sync: sync(storage),
            write_back: storage.duration("write_back").unwrap_or_default(),
            client: StorageClient {
                attempts: storage.u32("attempts").unwrap_or(1),
                backoff: storage.duration("backoff").unwrap_or_default(),
                timeout: storage.duration("timeout").unwrap_or_default(),
            },
        },
        ha: HighAvailability { latency: span(section("ha"), "latency"), election: config.election },
        external: external(section("external")),
        manual,
        actions: Vec::new(),
        faults: Vec::new(),
        failures: root.object("failures").and_then(failures),
        limits,
    };
    scenario.checkpointing.initial_delay = initial_delay;
    scenario.checkpointing.policy = policy(root, &scenario, during_backlog, sink);
    let known = Known { graph: graph_is_known, rest: all_was_read };
    scenario.actions = actions(root.list("actions"), &scenario, known, sink);
    scenario.faults = faults(root.list("faults"), &scenario, known, sink);
    if all_was_read {
        refuse_of_other_stores(root, &scenario, sink);
        check_election(root, &scenario, sink);
        super::build_changelog::check(root, &scenario, sink);
        check_failures(root, &scenario, sink);
        loops::check(root, &scenario, sink);
        warn_of_weak_sinks(root, &scenario, sink);
    }
    scenario
}

pub(super) fn span(node: &Node, name: &str) -> Distribution {
    node.distribution(name).unwrap_or(Distribution::Constant(VirtualDuration::ZERO))
}

/// What has no meaning with one job manager, or with several.
fn check_election(root: &Node, scenario: &Scenario, sink: &mut Sink) {
    let empty = Node::default();
    let (ha, cluster) =
        (root.object("ha").unwrap_or(&empty), root.object("cluster").unwrap_or(&empty));
    if scenario.cluster.job_managers == 1 && scenario.ha.election != ElectionOptions::default() {
        let message = "nobody is elected: there is one job manager";
        let span = ha.span();
        sink.push(
            Diagnostic::warning("no-effect", span, message)
                .expected("`cluster.job_managers` of at least 2"),
        );
    }
    if scenario.cluster.job_managers > 1 && scenario.checkpointing.dir == Some(Scheme::Memory) {
        let message = "what is in the memory of one job manager, the others cannot read";
        sink.push(
            Diagnostic::error("contradiction", cluster.place("job_managers"), message)
                .expected("a `checkpointing.dir` that outlives a job manager, or 1"),
        );
    }
}

/// What only one kind of store has.
fn refuse_of_other_stores(root: &Node, scenario: &Scenario, sink: &mut Sink) {
    let Some(node) = root.object("storage") else { return };
    let storage = &scenario.storage;
    for (name, given, scheme) in [
        ("name_node", storage.name_node.is_some(), Scheme::Hdfs),
        ("requests_per_prefix", storage.requests_per_prefix.is_some(), Scheme::S3),
        ("part_size", storage.part_size.is_some(), Scheme::S3),
    ] {
        if given && scenario.checkpointing.dir != Some(scheme) {
            let prefix = scheme.prefix();
            let message = format!("`{name}` has no effect: checkpoints are not kept on {prefix}");
            sink.push(
                Diagnostic::error("contradiction", node.place(name), message)
                    .expected(format!("a `checkpointing.dir` that begins with {prefix}")),
            );
        }
    }
    if storage.sync != SyncPolicy::default() && !scenario.has_storage_host() {
        let message = "`sync` has no effect: what was written to this store is there, or is gone with \
                       its process";
        sink.push(
            Diagnostic::error("contradiction", node.place("sync"), message)
                .expected("a `checkpointing.dir` of files, such as hdfs:// or file://"),
        );
    }
}

fn sync(storage: &Node) -> SyncPolicy {
    let word = storage.word("sync");
    let named = SyncPolicy::ALL.into_iter().find(|it| Some(it.name()) == word);
    named.unwrap_or_default()
}

fn manual(checkpointing: &Node) -> Vec<ManualTrigger> {
    let trigger = |node: &Node| ManualTrigger {
        at: VirtualTime::ZERO + node.duration("at").unwrap_or_default(),
        kind: match node.word("kind") {
            Some("full_checkpoint") => SnapshotKind::FullCheckpoint,
            _ => SnapshotKind::Checkpoint,
        },
    };
    checkpointing.list("manual").iter().map(trigger).collect()
}

fn external(node: &Node) -> External {
    External {
        latency: span(node, "latency"),
        transaction_timeout: node.duration("transaction_timeout"),
        commit_retries: node.u32("commit_retries").unwrap_or(External::COMMIT_RETRIES),
    }
}

fn limits(node: &Node) -> Limits {
    Limits {
        until: VirtualTime::ZERO + node.duration("until").unwrap_or_default(),
        events: node.integer("events").unwrap_or(0),
        settle: node.duration("settle").unwrap_or_default(),
    }
}

/// A slot holds one subtask of each operator, so the widest operator decides.
fn cluster(
    node: &Node,
    (job, resumed): (&Job, u32),
    config: &cutline::config::FlinkConfig,
    graph_is_known: bool,
    sink: &mut Sink,
) -> Cluster {
    let widest = job.operators.iter().max_by_key(|operator| operator.parallelism);
    let parallelism = widest.map_or(1, |operator| operator.parallelism);
    let slots = config.slots.max(1);
    let given = node.u32("task_managers");
    let task_managers = given.unwrap_or_else(|| parallelism.max(resumed).div_ceil(slots));
    let total = u64::from(task_managers) * u64::from(slots);
    if let Some(widest) = widest.filter(|_| graph_is_known && total < u64::from(parallelism)) {
        let message = format!(
            "{task_managers} task managers with {slots} slots have {total} slots; `{}` needs {parallelism}",
            widest.name
        );
        sink.push(
            Diagnostic::error("too-few-slots", node.place("task_managers"), message)
                .expected(format!("at least {}", parallelism.div_ceil(slots)))
                .flink("ResourceManager: waits for slots in vain, then fails the job"),
        );
    }
    Cluster {
        job_managers: node.u32("job_managers").unwrap_or(1),
        task_managers,
        slots: config.slots,
        heartbeat_interval: config.heartbeat.interval,
        heartbeat_timeout: config.heartbeat.timeout,
        rpc_failures: config.heartbeat.rpc_failures,
        ask_timeout: config.ask_timeout,
        cancellation_timeout: config.cancellation_timeout,
        failover: config.failover,
        connection_loss: span(node, "connection_loss"),
        process_restart: span(node, "process_restart"),
        deploy: span(node, "deploy"),
    }
}

fn warn_of_weak_sinks(root: &Node, scenario: &Scenario, sink: &mut Sink) {
    let empty = Node::default();
    let operators = root.object("job").unwrap_or(&empty).list("operators");
    let Some(node) = operators.iter().find(|node| node.variant == "two_phase_commit_sink") else {
        return;
    };
    let checkpoints = scenario.checkpointing.interval.is_some() || !scenario.manual.is_empty();
    let has_sink =
        scenario.job.operators.iter().any(|op| op.kind == OperatorKind::TwoPhaseCommitSink);
    let span = node.place("kind");
    if has_sink && !scenario.checkpointing.exactly_once {
        let message = "a two-phase-commit sink in at-least-once mode commits records twice";
        sink.push(
            Diagnostic::warning("weak-sink", span, message)
                .expected("mode exactly_once, or at_least_once_sink")
                .flink("sink: runs so, and says in its documentation that it should not"),
        );
    }
    if has_sink && !checkpoints {
        let message = "without checkpoints a two-phase-commit sink never commits";
        sink.push(
            Diagnostic::warning("weak-sink", span, message)
                .expected("an interval, or manual checkpoints")
                .flink("sink: runs so, and makes nothing visible"),
        );
    }
}
