//! Flink's keys that a simulation has no use for: named, so that none is dropped in silence.
//!
//! Which keys Flink has is in `flink_keys`; here is why they have no effect, by the beginning of the
//! key, and what stands for those that Flink has no more.

use super::flink_keys::FlinkKey;

/// A Flink key that is known and has no effect in a simulation.
#[derive(Clone, Copy, Debug)]
pub struct Unmodelled {
    /// The key, or the beginning of a family in which anybody may have keys.
    pub key: &'static str,
    /// What Flink takes for its value; `None`: in such a family.
    pub spec: Option<&'static FlinkKey>,
    /// What stands for it, or why nothing does.
    pub reason: &'static str,
}

/// A key that Flink 1 had and Flink 2 has no more.
#[derive(Clone, Copy, Debug)]
pub struct Removed {
    /// The key.
    pub key: &'static str,
    /// What stands for it now.
    pub instead: Option<&'static str>,
}

const STORE: &str = "one store holds everything; see `checkpointing.dir` and `storage`";
const LOG: &str =
    "changes are in files beside the checkpoints (`filesystem`), one an operator and upload";
const RETRIES: &str = "uploads are tried again, as `fixed` says; for `none` set `upload.max-attempts` to \
                       1 and `upload.timeout` to 0";
const UPLOADS: &str = "the store is what limits uploads";
const NOMINAL: &str = "sizes are nominal";
const CLEANUP: &str = "clean-up is one request an object";
const STATE: &str = "state is modelled by its size; see `state_per_key`";
const MEMORY: &str = "only network buffers are modelled; see `buffers`";
const BUFFER: &str = "a record is one buffer, whatever its size";
const SCHEDULER: &str = "one scheduler is modelled: slot sharing, default failover; a job is \
                         rescaled by `resume`";
const RESUME: &str =
    "what a job starts from, and how, is said by the action `resume`: `from`, `claim_mode`";
const SAVEPOINT: &str = "the job runs from a savepoint by the action `resume`";
const FILES: &str = "one state file a subtask";
const UNALIGNED: &str = "restored output buffers are sent anew by the upstream subtask";
const HA: &str = "the simulated HA store is set up by `ha`";
const NETWORK: &str = "the simulated network is set up by `network`";
const HERE: &str = "the job runs here";
const STREAMING: &str = "jobs are streaming";
const JAVA: &str = "there is no Java process";
const HOSTS: &str = "hosts are simulated";
const REST: &str = "there is no REST endpoint";
const WEB: &str = "there is no web interface";
const REPORTS: &str = "the simulator reports by itself";
const OPERATORS: &str = "give each operator its `parallelism`";
const NO_PART: &str = "no part of the simulated job";
const TASK_MANAGERS: &str = "task managers are set up by `cluster`";
const DONE: &str = "what is kept of a job that has ended is not modelled";
const SQL: &str = "jobs are data streams";

/// Why keys that begin so have no effect; the longest beginning counts.
const REASONS: &[(&str, &str)] = &[
    ("application-result-store.", DONE),
    ("blob.", "there are no jars"),
    ("classloader.", JAVA),
    ("cleanup-strategy", DONE),
    ("client.", HERE),
    ("cluster.", SCHEDULER),
    ("collect-sink.", NO_PART),
    ("completed-application-store.", DONE),
    ("env.", JAVA),
    ("events.", REPORTS),
    ("execution.", HERE),
    ("execution.async-state.", "state is read at once, and its cost is the operator's"),
    ("execution.batch", STREAMING),
    ("execution.buffer-timeout", "every record is a buffer; there is nothing to flush"),
    ("execution.checkpointing.cleaner.", CLEANUP),
    ("execution.checkpointing.create-subdir", STORE),
    (
        "execution.checkpointing.during-recovery.",
        "a task restores first and then takes part in checkpoints",
    ),
    ("execution.checkpointing.file-merging.", FILES),
    (
        "execution.checkpointing.interval-during-backlog",
        "`checkpointing.policy` of kind `backlog` is what models it",
    ),
    (
        "execution.checkpointing.local-backup.",
        "copies are made when `execution.state-recovery.from-local` is on",
    ),
    ("execution.checkpointing.savepoint-dir", STORE),
    ("execution.checkpointing.snapshot-compression", NOMINAL),
    ("execution.checkpointing.storage", STORE),
    ("execution.checkpointing.unaligned.interruptible-timers.", "windows fire in one go"),
    ("execution.checkpointing.unaligned.max-subtasks-", FILES),
    ("execution.checkpointing.unaligned.recover-output-on-downstream.", UNALIGNED),
    ("execution.checkpointing.write-buffer-size", STORE),
    ("execution.job-", NO_PART),
    ("execution.runtime-mode", STREAMING),
    ("execution.sort", STREAMING),
    ("execution.state-recovery.", RESUME),
    ("execution.state-recovery.path", SAVEPOINT),
    ("external-resource", HOSTS),
    ("fs.", STORE),
    ("high-availability", HA),
    ("historyserver.", "there is no history server"),
    ("io.tmp.dirs", STORE),
    ("jmx.", JAVA),
    ("job-event.", STREAMING),
    ("job-result-store.", "the result of a job is kept in the HA store"),
    ("jobmanager.", SCHEDULER),
    ("jobmanager.memory.", MEMORY),
    ("jobmanager.rpc.", NETWORK),
    ("jobstore.", DONE),
    ("kubernetes.", HOSTS),
    ("metrics.", REPORTS),
    ("parallelism.default", OPERATORS),
    ("pekko.", NETWORK),
    ("pipeline.", NO_PART),
    ("pipeline.auto-watermark-interval", "give each source its `watermark_interval`"),
    ("pipeline.jobvertex-parallelism-overrides", OPERATORS),
    ("pipeline.max-parallelism", "give each operator its `max_parallelism`"),
    (
        "pipeline.operator-chaining",
        "give `job` its `operator_chaining`, and edges that are chained say so",
    ),
    ("pipeline.sources.pause-until-first-checkpoint", "sources begin at once"),
    ("pipeline.watermark-alignment.", "sources do not wait for each other's watermarks"),
    ("plugin.", JAVA),
    ("process.", JAVA),
    ("queryable-state.", "nobody reads state from outside"),
    ("resourcemanager.", SCHEDULER),
    ("rest.", REST),
    ("scheduler-mode", SCHEDULER),
    ("security.", "nothing is encrypted"),
    ("shuffle-service-factory.class", NETWORK),
    ("slot.", SCHEDULER),
    ("slotmanager.", SCHEDULER),
    ("slow-task-detector.", STREAMING),
    ("source.", "sources are set up by `job`"),
    ("state.", STATE),
    ("state.changelog.dstl.dfs.compression.enabled", NOMINAL),
    ("state.changelog.dstl.dfs.discard.num-threads", CLEANUP),
    ("state.changelog.dstl.dfs.download.", "restored changes are read like other files"),
    ("state.changelog.dstl.dfs.", LOG),
    ("state.changelog.dstl.dfs.upload.max-in-flight", UPLOADS),
    ("state.changelog.dstl.dfs.upload.num-threads", UPLOADS),
    ("state.changelog.dstl.dfs.upload.retry-policy", RETRIES),
    ("state.changelog.storage", LOG),
    ("task.cancellation.interval", "a task that is busy is not interrupted"),
    ("task.cancellation.timers.timeout", "there are no timers"),
    ("taskmanager.", TASK_MANAGERS),
    ("taskmanager.memory.", MEMORY),
    ("taskmanager.memory.min-segment-size", BUFFER),
    ("taskmanager.memory.segment-size", BUFFER),
    ("taskmanager.memory.starting-segment-size", BUFFER),
    ("taskmanager.network.", NETWORK),
    ("taskmanager.network.memory.", MEMORY),
    ("traces.", REPORTS),
    ("user.", "there are no jars"),
    ("web.", WEB),
    ("yarn.", HOSTS),
    ("zookeeper.", HA),
];

/// Families in which plugins, connectors and languages have keys of their own, so that a key that
/// Flink's distribution does not have is no mistake.
pub const OPEN_FAMILIES: &[(&str, &str)] = &[
    ("containerized.", HOSTS),
    ("events.reporter.", REPORTS),
    ("external-resource.", HOSTS),
    ("flink.hadoop.", STORE),
    ("flink.yarn.", HOSTS),
    ("fs.", STORE),
    ("gs.", STORE),
    ("hive.", STORE),
    ("job.autoscaler.", SCHEDULER),
    ("kubernetes.operator.", HOSTS),
    ("metrics.reporter.", REPORTS),
    ("openlineage.", REPORTS),
    ("presto.", STORE),
    ("python.", SQL),
    ("s3.", STORE),
    ("s3a.", STORE),
    ("security.delegation.token.provider.", "nothing is encrypted"),
    ("sql-client.", SQL),
    ("sql-gateway.", SQL),
    ("table.", SQL),
    ("traces.reporter.", REPORTS),
];

/// What stands for a key that is gone.
const INSTEAD: &[(&str, &str)] = &[
    ("akka.watch.", "`heartbeat.interval` and `heartbeat.timeout`"),
    ("cluster.evenly-spread-out-slots", "`taskmanager.load-balance.mode`"),
    ("execution.async-state.buffer-size", "`execution.async-state.active-buffer-size`"),
    ("execution.async-state.buffer-timeout", "`execution.async-state.active-buffer-timeout`"),
    ("execution.async-state.in-flight-records-limit", "`execution.async-state.total-buffer-size`"),
    (
        "execution.checkpointing.force",
        "`execution.checkpointing.unaligned.forced`, for loops with unaligned checkpoints",
    ),
    ("jobmanager.heap.", "`jobmanager.memory.process.size` or `jobmanager.memory.heap.size`"),
    ("pipeline.default-kryo-serializers", "`pipeline.serialization-config`"),
    ("pipeline.registered-", "`pipeline.serialization-config`"),
    ("security.ssl.enabled", "`security.ssl.internal.enabled` and `security.ssl.rest.enabled`"),
    ("state.backend.async", "nothing: snapshots are asynchronous"),
    ("state.backend.rocksdb.checkpointdir", "`state.backend.rocksdb.localdir`"),
    (
        "taskmanager.heap.",
        "`taskmanager.memory.process.size` or `taskmanager.memory.task.heap.size`",
    ),
    (
        "taskmanager.network.memory.buffers-per-channel",
        "nothing: a channel has 2 buffers; in a scenario `buffers.buffers_per_channel` says how many",
    ),
    (
        "taskmanager.network.memory.floating-buffers-per-gate",
        "nothing: a gate has 8 buffers; in a scenario `buffers.floating_per_gate` says how many",
    ),
    (
        "taskmanager.network.memory.max-buffers-per-channel",
        "nothing: 10 buffers at most; in a scenario `buffers.max_per_subpartition` says how many",
    ),
    ("taskmanager.network.numberOfBuffers", "`taskmanager.memory.network.max` and `.min`"),
];

pub(super) fn of(spec: &'static FlinkKey) -> Unmodelled {
    let reason = beginning(REASONS, spec.key).expect("every key of the table has a reason; tested");
    Unmodelled { key: spec.key, spec: Some(spec), reason }
}

pub(super) fn open_family(key: &str) -> Option<Unmodelled> {
    let family = OPEN_FAMILIES.iter().find(|(family, _)| key.starts_with(family))?;
    Some(Unmodelled { key: family.0, spec: None, reason: family.1 })
}

pub(super) fn removed(key: &'static str) -> Removed {
    Removed { key, instead: beginning(INSTEAD, key) }
}

fn beginning(table: &[(&str, &'static str)], key: &str) -> Option<&'static str> {
    let all = table.iter().filter(|(beginning, _)| key.starts_with(beginning));
    all.max_by_key(|(beginning, _)| beginning.len()).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::super::flink_keys::{Named, flink_keys, named};
    use super::super::options::{Known, OPTIONS, find};
    use super::*;

    #[test]
    fn every_key_has_a_reason_and_every_reason_a_key() {
        let modelled = |key: &str| OPTIONS.iter().any(|spec| spec.key == key);
        let mut unused: Vec<&str> = REASONS.iter().map(|(beginning, _)| *beginning).collect();
        for spec in flink_keys().iter().filter(|spec| !modelled(spec.key)) {
            let reason = of(spec).reason;
            unused.retain(|beginning| {
                !(spec.key.starts_with(beginning)
                    && REASONS.iter().any(|(of, why)| of == beginning && *why == reason))
            });
        }
        assert_eq!(unused, Vec::<&str>::new(), "reasons that no key has");
        for (beginning, instead) in INSTEAD {
            let of = |key: &str| matches!(find(key), Some(Known::Removed(_)));
            let ends = ["", "mb", "threshold", "kryo-types"];
            assert!(ends.iter().any(|end| of(&format!("{beginning}{end}"))), "{beginning}");
            // What stands for it is a key.
            for name in instead.split('`').filter(|name| name.contains('-') && !name.contains(' '))
            {
                let known = matches!(named(name), Some(Named::Key(_))) || name.contains('_');
                assert!(known, "{name}");
            }
        }
    }
}
