//! Flink's options, as the protocol uses them. Defaults are Flink 2.3's.
//!
//! `text` reads Flink's grammar of durations and sizes, `options` is the table of the keys that are
//! modelled, with their types, defaults and deprecated spellings, `flink_keys` the table of all keys
//! that Flink has, `unmodelled` says why some of them have no effect, `validate` refuses what Flink
//! refuses and changes what Flink changes; here are the values after all of that.

mod changelog;
mod flink_keys;
mod options;
pub mod text;
mod unmodelled;
mod validate;

pub use changelog::ChangelogOptions;
pub use flink_keys::{FlinkKey, ValueKind, flink_keys, removed_keys};
pub use options::{
    BadOption, Key, Known, OPTIONS, OptionKind, OptionSpec, OptionValue, OptionValues, find,
};
pub use unmodelled::{OPEN_FAMILIES, Removed, Unmodelled};
pub use validate::{Finding, FlinkConfig, Severity};

use crate::time::VirtualDuration;
use crate::trigger::adaptive::IntervalPolicy;

/// `execution.checkpointing.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointingOptions {
    /// `execution.checkpointing.interval`; `None`: no periodic checkpoints.
    pub interval: Option<VirtualDuration>,
    /// Delay of the first periodic checkpoint; `None`: drawn at random between the minimum pause
    /// and the interval, as Flink does. No Flink key: Flink always draws it.
    pub initial_delay: Option<VirtualDuration>,
    /// Who sets the interval; `None`: it is fixed. No Flink key.
    pub policy: Option<IntervalPolicy>,
    /// `execution.checkpointing.timeout`.
    pub timeout: VirtualDuration,
    /// `execution.checkpointing.min-pause`.
    pub min_pause: VirtualDuration,
    /// `execution.checkpointing.max-concurrent-checkpoints`, at least 1.
    pub max_concurrent: u32,
    /// `execution.checkpointing.mode`.
    pub exactly_once: bool,
    /// `execution.checkpointing.unaligned.enabled`.
    pub unaligned: bool,
    /// `execution.checkpointing.unaligned.forced`. Flink needs it for feedback edges as well.
    pub unaligned_forced: bool,
    /// `execution.checkpointing.aligned-checkpoint-timeout`; zero: unaligned from the start.
    pub aligned_timeout: VirtualDuration,
    /// `execution.checkpointing.tolerable-failed-checkpoints`.
    pub tolerable_failures: u32,
    /// `execution.checkpointing.num-retained`, at least 1.
    pub retained: u32,
    /// `execution.checkpointing.checkpoints-after-tasks-finish`.
    pub checkpoints_after_tasks_finish: bool,
    /// `execution.checkpointing.externalized-checkpoint-retention`.
    pub retention: Retention,
    /// The scheme of `execution.checkpointing.dir`; `None`: not set.
    pub dir: Option<Scheme>,
    /// `execution.checkpointing.incremental`.
    pub incremental: bool,
    /// `execution.state-recovery.from-local`, and with it `execution.checkpointing.local-backup`.
    pub local_recovery: bool,
    /// `execution.checkpointing.data-inline-threshold`; `None`: nothing is inlined. (Deviation:
    /// Flink's default is 20 kb, and with a `flink` section it is ours.)
    pub inline_threshold: Option<u64>,
    /// `state.changelog.*`.
    pub changelog: ChangelogOptions,
}

/// What becomes of the retained checkpoints of a job that ends.
/// Flink: `ExternalizedCheckpointRetention`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Deleted when the job ends, in whatever way but suspension.
    DeleteOnCancellation,
    /// Kept when the job is cancelled or fails.
    RetainOnCancellation,
    /// Deleted (nothing is externalized).
    NoExternalized,
}

/// What kind of file system holds the checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Hadoop's: a name node is asked for everything; half a file may be left of a write.
    Hdfs,
    /// An object store: an object is there wholly or not at all; requests below one prefix are
    /// limited.
    S3,
    /// A mounted directory; half a file may be left of a write.
    File,
    /// The memory of the job manager, gone with it. Flink: `JobManagerCheckpointStorage`.
    Memory,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Hdfs, Self::S3, Self::File, Self::Memory];

    /// Whether what is stored are files on a host, which may crash: not where a store is its own business,
    /// and not in the memory of a process.
    pub fn has_host(self) -> bool {
        match self {
            Self::Hdfs | Self::File => true,
            Self::S3 | Self::Memory => false,
        }
    }

    /// How a path begins.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Hdfs => "hdfs://",
            Self::S3 => "s3://",
            Self::File => "file://",
            Self::Memory => "memory://",
        }
    }
}

/// `jobmanager.execution.failover-strategy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailoverStrategy {
    /// The region of the failed task. Flink: `RestartPipelinedRegionFailoverStrategy`.
    #[default]
    Region,
    /// Everything. Flink: `RestartAllFailoverStrategy`.
    Full,
}

/// `restart-strategy.*`.
#[derive(Clone, Debug, PartialEq)]
pub enum RestartStrategy {
    /// `disable`: the first failure fails the job.
    Disabled,
    /// `fixed-delay`.
    FixedDelay {
        /// `restart-strategy.fixed-delay.attempts`.
        attempts: u32,
        /// `restart-strategy.fixed-delay.delay`.
        delay: VirtualDuration,
    },
    /// `failure-rate`.
    FailureRate {
        /// `restart-strategy.failure-rate.max-failures-per-interval`.
        max_failures: u32,
        /// `restart-strategy.failure-rate.failure-rate-interval`.
        interval: VirtualDuration,
        /// `restart-strategy.failure-rate.delay`.
        delay: VirtualDuration,
    },
    /// `exponential-delay`, Flink's default with checkpointing.
    ExponentialDelay {
        /// `restart-strategy.exponential-delay.initial-backoff`.
        initial: VirtualDuration,
        /// `restart-strategy.exponential-delay.max-backoff`.
        max: VirtualDuration,
        /// `restart-strategy.exponential-delay.backoff-multiplier`, in thousandths.
        multiplier_permille: u32,
        /// `restart-strategy.exponential-delay.reset-backoff-threshold`.
        reset_after: VirtualDuration,
        /// `restart-strategy.exponential-delay.jitter-factor`, in thousandths.
        jitter_permille: u32,
        /// `restart-strategy.exponential-delay.attempts-before-reset-backoff`; `None`: no limit.
        attempts: Option<u32>,
    },
}

/// `heartbeat.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatOptions {
    /// `heartbeat.interval`: how often the job manager asks its task managers.
    pub interval: VirtualDuration,
    /// `heartbeat.timeout`: silence after which the other side counts as dead.
    pub timeout: VirtualDuration,
    /// `heartbeat.rpc-failure-threshold`: what heartbeat requests that cannot be delivered say of a
    /// task manager. `None`: there is no need of them, since the job manager notices by itself when
    /// a connection breaks. (Deviation: Flink's does not; its default is a threshold of 2, and with a
    /// `flink` section it is ours.)
    pub rpc_failures: Option<RpcFailures>,
}

/// What heartbeat requests that cannot be delivered say of whom they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RpcFailures {
    /// Nothing: only silence counts. Flink: -1.
    Ignored,
    /// So many in a row: it is dead.
    Threshold(u32),
}

/// `high-availability.kubernetes.leader-election.*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElectionOptions {
    /// `lease-duration`: for so long after the last renewal nobody else is elected.
    pub lease_duration: VirtualDuration,
    /// `renew-deadline`: a leader that has not renewed its lease for so long steps down.
    pub renew_deadline: VirtualDuration,
    /// `retry-period`: how often leaders renew, and others try to be elected.
    pub retry_period: VirtualDuration,
}

/// `taskmanager.network.*`. The first three are fixed in Flink 2.3, which has no such options any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkOptions {
    /// `taskmanager.network.memory.buffers-per-channel`: exclusive buffers of an input channel.
    pub buffers_per_channel: u32,
    /// `taskmanager.network.memory.floating-buffers-per-gate`.
    pub floating_per_gate: u32,
    /// `taskmanager.network.memory.max-buffers-per-channel`: queued in one subpartition.
    pub max_per_subpartition: u32,
    /// `taskmanager.network.memory.buffer-debloat.*`.
    pub debloat: DebloatOptions,
}

/// `taskmanager.network.memory.buffer-debloat.*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DebloatOptions {
    /// `enabled`.
    pub enabled: bool,
    /// `target`: what is in front of a task is to be processed within so long.
    pub target: VirtualDuration,
    /// `period`: time between two samples.
    pub period: VirtualDuration,
    /// `samples`: of so many an average is taken.
    pub samples: u32,
    /// `threshold-percentages`: a size that differs by less from the one announced is not announced.
    pub threshold: u32,
}

impl Default for CheckpointingOptions {
    fn default() -> Self {
        Self {
            interval: None,
            initial_delay: None,
            policy: None,
            timeout: VirtualDuration::from_secs(600),
            min_pause: VirtualDuration::ZERO,
            max_concurrent: 1,
            exactly_once: true,
            unaligned: false,
            unaligned_forced: false,
            aligned_timeout: VirtualDuration::ZERO,
            tolerable_failures: 0,
            retained: 1,
            checkpoints_after_tasks_finish: true,
            retention: Retention::NoExternalized,
            dir: None,
            incremental: false,
            local_recovery: false,
            inline_threshold: None,
            changelog: ChangelogOptions::default(),
        }
    }
}

impl Default for RestartStrategy {
    fn default() -> Self {
        Self::ExponentialDelay {
            initial: VirtualDuration::from_secs(1),
            max: VirtualDuration::from_secs(60),
            multiplier_permille: 1_500,
            reset_after: VirtualDuration::from_secs(3_600),
            jitter_permille: 100,
            attempts: None,
        }
    }
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self {
            buffers_per_channel: 2,
            floating_per_gate: 8,
            max_per_subpartition: 10,
            debloat: DebloatOptions::default(),
        }
    }
}

impl Default for DebloatOptions {
    fn default() -> Self {
        Self {
            enabled: false,
            target: VirtualDuration::from_secs(1),
            period: VirtualDuration::from_millis(200),
            samples: 20,
            threshold: 25,
        }
    }
}

impl Default for ElectionOptions {
    fn default() -> Self {
        Self {
            lease_duration: VirtualDuration::from_secs(15),
            renew_deadline: VirtualDuration::from_secs(15),
            retry_period: VirtualDuration::from_secs(5),
        }
    }
}

impl Default for HeartbeatOptions {
    fn default() -> Self {
        Self {
            interval: VirtualDuration::from_secs(10),
            timeout: VirtualDuration::from_secs(50),
            rpc_failures: None,
        }
    }
}
