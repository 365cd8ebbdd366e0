//! Flink's keys that a simulation has no use for: named, so that none is dropped in silence.

/// A Flink key that is known and has no effect in a simulation.
#[derive(Clone, Copy, Debug)]
pub struct Unmodelled {
    /// The key, or, ending in a dot or star, the beginning of a family of keys.
    pub key: &'static str,
    /// What stands for it, or why nothing does.
    pub reason: &'static str,
}

const fn unmodelled(key: &'static str, reason: &'static str) -> Unmodelled {
    Unmodelled { key, reason }
}

const STORE: &str = "one store holds everything; see `checkpointing.dir` and `storage`";
const LOG: &str =
    "changes are in files beside the checkpoints (`filesystem`), one an operator and upload";
const RETRIES: &str = "uploads are tried again, as `fixed` says; for `none` set `upload.max-attempts` to \
                       1 and `upload.timeout` to 0";
const STATE: &str = "state is modelled by its size; see `state_per_key`";
const MEMORY: &str = "only network buffers are modelled; see `buffers`";
const BUFFER: &str = "a record is one buffer, whatever its size";
const SCHEDULER: &str = "one scheduler is modelled: slot sharing, default failover";

/// Flink's keys that are named with a warning instead of being dropped. A key ending in `.` or `*`
/// stands for all that begin so.
pub const NOT_MODELLED: &[Unmodelled] = &[
    unmodelled("execution.checkpointing.savepoint-dir", STORE),
    unmodelled("state.savepoints.dir", STORE),
    unmodelled("execution.checkpointing.storage", STORE),
    unmodelled("state.checkpoint-storage", STORE),
    unmodelled("execution.checkpointing.create-subdir", STORE),
    unmodelled("state.checkpoints.create-subdir", STORE),
    unmodelled("execution.checkpointing.write-buffer-size", STORE),
    unmodelled("state.storage.fs.", STORE),
    unmodelled("execution.checkpointing.cleaner.", "clean-up is one request an object"),
    unmodelled("state.checkpoint.cleaner.", "clean-up is one request an object"),
    unmodelled(
        "execution.checkpointing.interval-during-backlog",
        "`checkpointing.policy` of kind `backlog` is what models it",
    ),
    unmodelled("execution.checkpointing.file-merging.", "one state file a subtask"),
    unmodelled(
        "execution.checkpointing.local-backup.",
        "copies are made when `execution.state-recovery.from-local` is on",
    ),
    unmodelled("execution.state-recovery.", "a job restores its own latest checkpoint"),
    unmodelled("execution.checkpointing.unaligned.interruptible-timers.", "windows fire in one go"),
    unmodelled("execution.checkpointing.unaligned.max-subtasks-", "one state file a subtask"),
    unmodelled("execution.checkpointing.pause-sources-until-first-checkpoint", SCHEDULER),
    unmodelled("execution.checkpointing.snapshot-compression", "sizes are nominal"),
    unmodelled("execution.savepoint.", "a job starts empty in this version"),
    unmodelled("execution.buffer-timeout.", "every record is a buffer; there is nothing to flush"),
    unmodelled("execution.runtime-mode", "jobs are streaming"),
    unmodelled("execution.target", "the job runs here"),
    unmodelled("execution.attached", "the job runs here"),
    unmodelled("execution.shutdown-on-", "the job runs here"),
    unmodelled("execution.batch.", "jobs are streaming"),
    unmodelled("execution.job-", "no part of the simulated job"),
    unmodelled("state.backend.", STATE),
    unmodelled("state.changelog.storage", LOG),
    unmodelled("state.changelog.dstl.dfs.base-path", LOG),
    unmodelled("state.changelog.dstl.dfs.batch.persist-size-threshold", LOG),
    unmodelled("state.changelog.dstl.dfs.compression.enabled", "sizes are nominal"),
    unmodelled("state.changelog.dstl.dfs.discard.num-threads", "clean-up is one request an object"),
    unmodelled("state.changelog.dstl.dfs.download.", "restored changes are read like other files"),
    unmodelled("state.changelog.dstl.dfs.upload.buffer-size", LOG),
    unmodelled("state.changelog.dstl.dfs.upload.max-in-flight", "the store is what limits uploads"),
    unmodelled("state.changelog.dstl.dfs.upload.num-threads", "the store is what limits uploads"),
    unmodelled("state.changelog.dstl.dfs.upload.retry-policy", RETRIES),
    unmodelled("dstl.dfs.base-path", LOG),
    unmodelled("dstl.dfs.batch.persist-size-threshold", LOG),
    unmodelled("dstl.dfs.compression.enabled", "sizes are nominal"),
    unmodelled("dstl.dfs.discard.num-threads", "clean-up is one request an object"),
    unmodelled("dstl.dfs.upload.buffer-size", LOG),
    unmodelled("dstl.dfs.upload.max-in-flight", "the store is what limits uploads"),
    unmodelled("dstl.dfs.upload.num-threads", "the store is what limits uploads"),
    unmodelled("dstl.dfs.upload.retry-policy", RETRIES),
    unmodelled("state.backend", STATE),
    unmodelled("state.latency-track.", STATE),
    unmodelled("parallelism.default", "give each operator its `parallelism`"),
    unmodelled(
        "pipeline.operator-chaining*",
        "give `job` its `operator_chaining`, and edges that are chained say so",
    ),
    unmodelled("pipeline.auto-watermark-interval", "give each source its `watermark_interval`"),
    unmodelled("pipeline.max-parallelism", "give each operator its `max_parallelism`"),
    unmodelled("pipeline.", "no part of the simulated job"),
    unmodelled("jobmanager.", SCHEDULER),
    unmodelled("taskmanager.memory.segment-size", BUFFER),
    unmodelled("taskmanager.network.memory.max-overdraft-buffers-per-gate", BUFFER),
    unmodelled("taskmanager.network.memory.read-buffer.", MEMORY),
    unmodelled("taskmanager.network.", MEMORY),
    unmodelled("taskmanager.memory.", MEMORY),
    unmodelled("taskmanager.", "task managers are set up by `cluster`"),
    unmodelled("task.cancellation.interval", "a task that is busy is not interrupted"),
    unmodelled("task.cancellation.timers.timeout", "there are no timers"),
    unmodelled("high-availability*", "the simulated HA store is set up by `ha`"),
    unmodelled("cluster.", SCHEDULER),
    unmodelled("slotmanager.", SCHEDULER),
    unmodelled("kubernetes.", "hosts are simulated"),
    unmodelled("yarn.", "hosts are simulated"),
    unmodelled("zookeeper.", "the simulated HA store is set up by `ha`"),
    unmodelled("metrics.", "the simulator reports by itself"),
    unmodelled("rest.", "there is no REST endpoint"),
    unmodelled("web.", "there is no web interface"),
    unmodelled("env.", "there is no Java process"),
    unmodelled("classloader.", "there is no Java process"),
    unmodelled("akka.", "the simulated network is set up by `network`"),
    unmodelled("pekko.", "the simulated network is set up by `network`"),
    unmodelled("security.", "nothing is encrypted"),
    unmodelled("s3.", STORE),
    unmodelled("fs.", STORE),
    unmodelled("io.tmp.dirs", STORE),
    unmodelled("blob.", "there are no jars"),
    unmodelled("table.", "jobs are data streams"),
    unmodelled("sql-client.", "jobs are data streams"),
    unmodelled("process.", "there is no Java process"),
    unmodelled("historyserver.", "there is no history server"),
];
