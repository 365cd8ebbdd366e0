//! A scenario as the rest of the program sees it: complete, validated, every default filled in.
//!
//! The loader (`scenario::load`) is the only maker of these from text; the generator makes them
//! directly. Everything that can change a run is in here, and nothing that cannot.

use cutline::config::{
    CheckpointingOptions, ElectionOptions, FailoverStrategy, NetworkOptions, RestartStrategy,
    RpcFailures, Scheme,
};
use cutline::job::{Feedback, Partitioner};
use cutline::message::SnapshotKind;
use cutline::operator::StartupMode;
use cutline::storage::SyncPolicy;
use cutline::time::{VirtualDuration, VirtualTime};

pub use faults::{
    ClockStep, Direction, Disturbance, Endpoint, ExternalOperation, Fault, FaultKind, StepAnchor,
    StorageOperation, When,
};
pub use spread::Spread;

use crate::kernel::distribution::Distribution;

mod faults;
mod spread;

/// One simulated experiment, without its seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// One line for lists and reports.
    pub title: String,
    /// What the scenario teaches, or what its seed once broke.
    pub why: String,
    /// Operators and edges.
    pub job: Job,
    /// Flink's checkpointing options (`execution.checkpointing.*`).
    pub checkpointing: CheckpointingOptions,
    /// Flink's restart strategy (`restart-strategy.*`).
    pub restart: RestartStrategy,
    /// Flink's network memory options (`taskmanager.network.*`).
    pub buffers: NetworkOptions,
    /// Task managers, slots, failure detection.
    pub cluster: Cluster,
    /// Links between hosts.
    pub network: Network,
    /// The object store that holds checkpoints.
    pub storage: Storage,
    /// The high-availability store that holds the id counter and the pointers.
    pub ha: HighAvailability,
    /// The external system that sinks commit to.
    pub external: External,
    /// Checkpoints and savepoints asked for by hand.
    pub manual: Vec<ManualTrigger>,
    /// What users do, in the order of the file.
    pub actions: Vec<Action>,
    /// Scripted faults.
    pub faults: Vec<Fault>,
    /// Random failures, besides the scripted faults.
    pub failures: Option<Failures>,
    /// When a run ends.
    pub limits: Limits,
}

/// Operators and edges, in the order of the file. Names are unique.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Vertices of the job graph.
    pub operators: Vec<Operator>,
    /// Edges; the inputs of joins are numbered in the order of their edges unless `input` is given,
    /// all inputs of other operators are input 0.
    pub edges: Vec<Edge>,
    /// Whether operators that chained edges join run in one task. Flink:
    /// `pipeline.operator-chaining.enabled`.
    pub operator_chaining: bool,
}

impl Job {
    /// Whether records go round in it.
    pub fn has_loop(&self) -> bool {
        self.edges.iter().any(|edge| !edge.leads_on())
    }

    /// The first source with an enumerator, by name.
    pub fn enumerated(&self) -> Option<&str> {
        let mut operators = self.operators.iter();
        let found =
            operators.find(|it| it.kind.as_source().is_some_and(|it| it.discovery.is_some()));
        found.map(|operator| operator.name.as_str())
    }
}

/// One operator of the job graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Operator {
    /// Unique name; subtasks are `name[index]`.
    pub name: String,
    /// What it does.
    pub kind: OperatorKind,
    /// Parallel instances.
    pub parallelism: u32,
    /// Number of key groups. Flink: `pipeline.max-parallelism`; default by Flink's rule.
    pub max_parallelism: u32,
    /// Processing time of one real record (weight 1), charged per record.
    pub cost: Distribution,
    /// Time of the synchronous part of a snapshot, besides what it costs per byte.
    pub sync_cost: Distribution,
    /// Keyed aggregates, joins and windows: nominal bytes of state for one key (real bytes are a
    /// few), 0: as serialised. Other operators have no keyed state: 0.
    pub state_per_key: u64,
}

/// What an operator does with a record.
#[derive(Clone, Debug, PartialEq)]
pub enum OperatorKind {
    /// Reads splits; emits the record of each offset when it is due.
    Source(Source),
    /// One record out for each record in; `rekey` changes the key to another key space.
    Map {
        /// Size of the new key space; `None` keeps the key.
        rekey: Option<u32>,
    },
    /// Lets a share of the records pass, chosen by a hash of the record.
    Filter {
        /// How many of 1,000 records pass.
        keep_permille: u32,
    },
    /// Several records out for each record in.
    FlatMap {
        /// At most so many (a hash of the record chooses 0 ..= fanout).
        fanout: u32,
    },
    /// Counts and hashes per key; emits one record for each record in.
    KeyedAggregate,
    /// Joins two inputs record by record: (split index, offset) of both sides under one key.
    Join,
    /// Holds records back until there are enough, then emits all: even-split list state.
    Buffer {
        /// As many are enough.
        threshold: u32,
    },
    /// Asks the outside about each record and emits it when the answer is here: even-split list state.
    Async {
        /// At most so many records wait for answers.
        capacity: u32,
        /// They leave in the order in which they came.
        ordered: bool,
        /// Time until a call is answered.
        latency: Distribution,
    },
    /// Emits each record of input 0 once input 1, which each subtask gets in full, has brought one
    /// with its key: broadcast state.
    BroadcastJoin,
    /// Collects by key and window of event time; emits one record for each when it is complete.
    Window {
        /// How long a window is.
        size: VirtualDuration,
        /// From the start of one to that of the next; at most the size.
        slide: VirtualDuration,
    },
    /// Writes by record identity; a repeated write changes nothing.
    IdempotentSink,
    /// Writes into a transaction that is pre-committed at B3 and committed at N1.
    TwoPhaseCommitSink,
    /// Writes into a transaction that is pre-committed ahead of B3; its handle goes to a committer.
    SinkWriter,
    /// Commits at N1 what the sink writers upstream have pre-committed.
    Committer,
    /// Collects updates by key in batches that are closed at B3 and applied at N1, each once.
    WriteAheadSink,
    /// Writes at once; after a restore records may be visible twice.
    AtLeastOnceSink,
}

impl OperatorKind {
    /// Whether it keeps state by key.
    pub fn is_keyed(&self) -> bool {
        matches!(self, Self::KeyedAggregate | Self::Join | Self::Window { .. })
    }

    /// Whether it holds records back that the sequential reference would have emitted.
    pub fn holds_back(&self) -> bool {
        matches!(self, Self::Buffer { .. } | Self::Async { .. })
    }

    /// Whether it tells two inputs apart.
    pub fn has_sides(&self) -> bool {
        matches!(self, Self::Join | Self::BroadcastJoin)
    }

    /// What it reads, if it is a source.
    pub fn as_source(&self) -> Option<&Source> {
        match self {
            Self::Source(source) => Some(source),
            _ => None,
        }
    }

    /// Whether it waits for event time.
    pub fn is_window(&self) -> bool {
        matches!(self, Self::Window { .. })
    }

    /// Whether records leave the job here; a writer's are committed by others.
    pub fn is_sink(&self) -> bool {
        match self {
            Self::IdempotentSink
            | Self::TwoPhaseCommitSink
            | Self::Committer
            | Self::WriteAheadSink
            | Self::AtLeastOnceSink => true,
            Self::Source(_)
            | Self::Map { .. }
            | Self::Filter { .. }
            | Self::FlatMap { .. }
            | Self::KeyedAggregate
            | Self::Join
            | Self::Buffer { .. }
            | Self::Async { .. }
            | Self::BroadcastJoin
            | Self::Window { .. }
            | Self::SinkWriter => false,
        }
    }

    /// Whether what it writes becomes visible when a checkpoint completes.
    pub fn is_transactional(&self) -> bool {
        matches!(self, Self::TwoPhaseCommitSink | Self::SinkWriter | Self::WriteAheadSink)
    }

    /// Whether it takes S5 or S6, if the step is one of them.
    pub fn takes(&self, step: cutline::step::Step) -> bool {
        match step {
            cutline::step::Step::S5 => {
                matches!(self, Self::TwoPhaseCommitSink | Self::Committer | Self::WriteAheadSink)
            }
            cutline::step::Step::S6 => matches!(self, Self::TwoPhaseCommitSink | Self::SinkWriter),
            _ => true,
        }
    }
}

/// A split-based source.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Number of splits.
    pub splits: u32,
    /// Records in each split; `None`: unbounded.
    pub records: Option<u64>,
    /// So many of them are there when the split begins to be; no more than all.
    pub history: u64,
    /// Where a split is begun.
    pub startup_mode: StartupMode,
    /// Span between two records of one split (weight counts as one).
    pub every: VirtualDuration,
    /// Size of the key space.
    pub keys: u32,
    /// So many records of a split in a row have the same key.
    pub key_run: u32,
    /// Bytes of one real record.
    pub record_bytes: u32,
    /// How many real records a simulated one stands for.
    pub weight: u32,
    /// A record has happened up to so long before it is due.
    pub disorder: VirtualDuration,
    /// Its watermarks, if it has any.
    pub watermarks: Option<Watermarks>,
    /// Its enumerator, if it has one; without, splits are assigned round-robin at the start.
    pub discovery: Option<Discovery>,
    /// How its list of splits is dealt out at a restore.
    pub list_mode: ListMode,
}

/// How a list state is dealt out. Flink: `OperatorStateHandle.Mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListMode {
    /// Each element goes to one subtask; nothing moves while the parallelism stays. Flink:
    /// `OperatorStateStore#getListState`.
    Split,
    /// Each subtask gets all elements, and takes its own. Flink:
    /// `OperatorStateStore#getUnionListState`.
    Union,
}

/// How the enumerator of a source finds and keeps its splits. Flink: `SplitEnumerator`.
#[derive(Clone, Debug, PartialEq)]
pub struct Discovery {
    /// Span between one split and the next, which is as much younger; zero: all are there at once.
    pub every: VirtualDuration,
    /// How long its part of a checkpoint takes (T4).
    pub snapshot: VirtualDuration,
}

impl Source {
    /// When the last of so many records of each split is due, at the latest, if the source keeps up.
    /// With an enumerator a reader begins a split when it is through with the last: `readers` is how
    /// many there are at least.
    pub fn due_last(&self, records: u64, readers: u32) -> VirtualTime {
        let in_turn = match self.discovery {
            Some(_) => u64::from(self.splits.div_ceil(readers)),
            None => 1,
        };
        self.start(self.splits - 1) + self.every * records * in_turn
    }

    /// When the first record of a split is due.
    pub fn start(&self, split: u32) -> VirtualTime {
        VirtualTime::ZERO + self.stagger() * u64::from(split)
    }

    /// By how much a split is younger than the one before it.
    pub fn stagger(&self) -> VirtualDuration {
        self.discovery.as_ref().map(|it| it.every).unwrap_or_default()
    }

    /// Whether a record may be older than a watermark ahead of it.
    pub fn may_be_late(&self) -> bool {
        self.watermarks
            .as_ref()
            .is_some_and(|it| self.disorder > it.out_of_orderness || it.idle_timeout.is_some())
    }
}

/// What a source says about event time.
#[derive(Clone, Debug, PartialEq)]
pub struct Watermarks {
    /// By how much a record may be older than one before it in its split without being late.
    /// Flink: `WatermarkStrategy#forBoundedOutOfOrderness`.
    pub out_of_orderness: VirtualDuration,
    /// Span between two of them; zero: one behind each record. Flink:
    /// `pipeline.auto-watermark-interval`, where zero means none.
    pub interval: VirtualDuration,
    /// A reader without a record for so long is not waited for. Flink:
    /// `WatermarkStrategy#withIdleness`.
    pub idle_timeout: Option<VirtualDuration>,
}

/// An edge of the job graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    /// Index of the sending operator.
    pub from: usize,
    /// Index of the receiving operator.
    pub to: usize,
    /// Which input of the receiver it feeds (only joins, of either kind, tell inputs apart).
    pub input: u32,
    /// Which subtasks are connected and which one gets a record.
    pub partitioner: Partitioner,
    /// Its ends run in one task, if the job chains operators.
    pub chained: bool,
    /// It leads back to an operator upstream of its sender.
    pub feedback: Option<Feedback>,
}

impl Edge {
    /// Whether it is no feedback edge: without those, edges form no cycle.
    pub fn leads_on(&self) -> bool {
        self.feedback.is_none()
    }
}

/// Task managers, slots, failure detection.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Candidates for the job manager, one a host. Of several, one is elected.
    pub job_managers: u32,
    /// Task managers, one a host; subtasks are spread over their slots round-robin.
    pub task_managers: u32,
    /// Slots of each. One slot holds one subtask of each operator (slot sharing).
    pub slots: u32,
    /// Flink: `heartbeat.interval`.
    pub heartbeat_interval: VirtualDuration,
    /// Flink: `heartbeat.timeout`.
    pub heartbeat_timeout: VirtualDuration,
    /// Flink: `heartbeat.rpc-failure-threshold`; `None`: the job manager notices by itself when the
    /// connection to a task manager breaks.
    pub rpc_failures: Option<RpcFailures>,
    /// Flink: `pekko.ask.timeout`.
    pub ask_timeout: VirtualDuration,
    /// Flink: `task.cancellation.timeout`; zero: never; `None`: tasks end as soon as they are
    /// cancelled.
    pub cancellation_timeout: Option<VirtualDuration>,
    /// Flink: `jobmanager.execution.failover-strategy`.
    pub failover: FailoverStrategy,
    /// Time until survivors notice that the connection to a dead process is broken, besides the
    /// latency of a control message.
    pub connection_loss: Distribution,
    /// Time from the death of a task manager or job manager until a new process runs in its place.
    pub process_restart: Distribution,
    /// Time from deploying a subtask until it runs (without reading its state).
    pub deploy: Distribution,
}

/// Links between hosts. Each has a random stream and a state of its own; all have these values,
/// unless `links` says otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// One-way latency of data channels between hosts.
    pub latency: Distribution,
    /// Bytes a second of one link between two hosts; 0: unlimited.
    pub bandwidth: u64,
    /// One-way latency of control messages between processes; messages of one pair keep their
    /// order, messages of different pairs may overtake each other.
    pub control_latency: Distribution,
    /// Links that differ; no two between the same processes.
    pub links: Vec<Link>,
}

impl Network {
    /// The latencies of data channels that occur.
    pub fn latencies(&self) -> impl Iterator<Item = Distribution> {
        let of_links = self.links.iter().map(|link| link.latency);
        std::iter::once(self.latency).chain(of_links)
    }

    /// The latencies of control messages that occur.
    pub fn control_latencies(&self) -> impl Iterator<Item = Distribution> {
        let of_links = self.links.iter().map(|link| link.control_latency);
        std::iter::once(self.control_latency).chain(of_links)
    }
}

/// The link between two processes, both ways: another rack, another region.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// One end.
    pub from: Endpoint,
    /// The other end.
    pub to: Endpoint,
    /// One-way latency of data channels.
    pub latency: Distribution,
    /// Bytes a second each way; 0: unlimited.
    pub bandwidth: u64,
    /// One-way latency of control messages.
    pub control_latency: Distribution,
}

impl Link {
    /// Whether it is the link between these two.
    pub fn joins(&self, a: Endpoint, b: Endpoint) -> bool {
        [(a, b), (b, a)].contains(&(self.from, self.to))
    }
}

/// How long a file stays in memory alone, at most, unless something else is said. Linux:
/// `vm.dirty_expire_centisecs`.
pub const WRITE_BACK: VirtualDuration = VirtualDuration::from_secs(30);

/// The object store.
#[derive(Clone, Debug, PartialEq)]
pub struct Storage {
    /// Time of one request without its bytes.
    pub latency: Distribution,
    /// Nominal bytes a second of one request; 0: unlimited.
    pub bandwidth: u64,
    /// Time until a written object can be read and listed.
    pub visibility: Distribution,
    /// With `hdfs://`: time that the name node takes to answer; `None`: a usual one.
    pub name_node: Option<Distribution>,
    /// With `s3://`: requests a second that are answered below one prefix; `None`: as many as
    /// Amazon's are.
    pub requests_per_prefix: Option<u32>,
    /// With `s3://`: nominal bytes above which an object is uploaded in parts of so many; `None`: as
    /// Hadoop's client does (`fs.s3a.multipart.size`).
    pub part_size: Option<u64>,
    /// Which files are forced to disk before they count as written.
    pub sync: SyncPolicy,
    /// What was not forced to disk is there after so long all the same. Linux:
    /// `vm.dirty_expire_centisecs`.
    pub write_back: VirtualDuration,
    /// How patient those are who ask it for something.
    pub client: StorageClient,
}

/// What the client library of a file system does about requests that come to nothing. The clients
/// of the high-availability store are as patient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageClient {
    /// How often a request is made at most, before whoever asked is told that it failed. In Flink's
    /// file systems: `fs.s3a.retry.limit`, `s3.max-error-retries`.
    pub attempts: u32,
    /// The wait before the second attempt; it doubles with each. `fs.s3a.retry.interval`.
    pub backoff: VirtualDuration,
    /// A request without an answer is given up after so long. `fs.s3a.connection.timeout`,
    /// `s3.socket-timeout`.
    pub timeout: VirtualDuration,
}

impl Default for StorageClient {
    fn default() -> Self {
        Self {
            attempts: 5,
            backoff: VirtualDuration::from_millis(100),
            timeout: VirtualDuration::from_secs(5),
        }
    }
}

/// The store of the id counter, the pointers and the leader.
#[derive(Clone, Debug, PartialEq)]
pub struct HighAvailability {
    /// Time from request to answer.
    pub latency: Distribution,
    /// How one of several job managers is elected.
    pub election: ElectionOptions,
}

/// The external system that sinks commit to, as Kafka is one.
#[derive(Clone, Debug, PartialEq)]
pub struct External {
    /// Time from request to answer.
    pub latency: Distribution,
    /// How long a transaction may be open; `None`: for ever. Kafka: `transaction.timeout.ms`.
    pub transaction_timeout: Option<VirtualDuration>,
    /// How many times a sink tries a commit again that has failed. Flink: `sink.committer.retries`.
    pub commit_retries: u32,
}

impl External {
    /// Flink: the default of `sink.committer.retries`.
    pub const COMMIT_RETRIES: u32 = 10;

    /// A system in which transactions stay open for as long as it takes.
    pub fn patient(latency: Distribution) -> Self {
        Self { latency, transaction_timeout: None, commit_retries: Self::COMMIT_RETRIES }
    }
}

/// A snapshot somebody asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct ManualTrigger {
    /// When.
    pub at: VirtualTime,
    /// What: `checkpoint` or `full_checkpoint` so far.
    pub kind: SnapshotKind,
}

/// Something that a user does.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// When.
    pub at: When,
    /// What.
    pub what: ActionKind,
}

/// What a user does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionKind {
    /// Takes a savepoint; the job goes on.
    Savepoint,
    /// Stops the job with a savepoint.
    StopWithSavepoint {
        /// Operators finish first, as if their input had ended.
        drain: bool,
    },
    /// Cancels the job.
    Cancel,
    /// Deletes files that nobody refers to any more, nor will.
    CleanOrphans,
    /// Starts a new job from a snapshot, as soon as the one before has ended.
    Resume {
        /// From which snapshot.
        from: SnapshotSource,
        /// Whether the new job owns it. Flink: `execution.state-recovery.claim-mode`.
        claims: bool,
        /// Operators (by index, ascending) that get another number of subtasks than the job
        /// says.
        parallelism: Vec<(usize, u32)>,
        /// Whether operators are chained; `None`: as the job says.
        operator_chaining: Option<bool>,
        /// Whether changes of keyed state are logged; `None`: as `changelog.enabled` says.
        changelog: Option<bool>,
    },
}

impl Scenario {
    /// Whether checkpoints are files on a host, which may crash.
    pub fn has_storage_host(&self) -> bool {
        self.checkpointing.dir.is_none_or(Scheme::has_host)
    }

    /// How much longer than planned a restart may wait because a wall clock is wrong: the exponential
    /// strategy waits for the instant that it has once planned by the clock of the job manager, even if
    /// that was set back since. Nobody else waits until a wall clock shows something, and what a timer
    /// has to wait for is not more than planned once the pace is right again.
    pub fn delay_by_wall_clocks(&self) -> VirtualDuration {
        match self.restart {
            RestartStrategy::Disabled
            | RestartStrategy::FixedDelay { .. }
            | RestartStrategy::FailureRate { .. } => VirtualDuration::ZERO,
            RestartStrategy::ExponentialDelay { .. } => {
                let hosts = 0..self.cluster.job_managers;
                hosts.map(|number| self.wall_clock_error(number)).max().unwrap_or_default()
            }
        }
    }

    /// How wrong the wall clock of a job manager is at most: several faults may act at a time.
    fn wall_clock_error(&self, number: u32) -> VirtualDuration {
        let wrong = self.faults.iter().filter_map(|fault| fault.what.wrong_clock());
        let here = wrong.filter(|(target, _)| match *target {
            None => true,
            Some(Endpoint::JobManager) => number == 0,
            Some(Endpoint::Candidate(candidate)) => candidate == number,
            Some(Endpoint::TaskManager(_)) => false,
        });
        here.fold(VirtualDuration::ZERO, |sum, (_, error)| sum + error)
    }

    /// Whether event time matters to somebody.
    pub fn has_event_time(&self) -> bool {
        self.job.operators.iter().any(|operator| match &operator.kind {
            OperatorKind::Source(source) => source.watermarks.is_some(),
            kind => kind.is_window(),
        })
    }
}

/// Which snapshot a new job starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotSource {
    /// The newest savepoint that was reported as taken.
    Savepoint,
    /// The newest checkpoint that was retained.
    Checkpoint,
}

/// When a run ends, whatever happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Virtual time at which an unbounded job is stopped and judged.
    pub until: VirtualTime,
    /// Kernel events after which a run is given up (verdict: liveness).
    pub events: u64,
    /// Virtual time the job has, after the last fault and the last record, to finish.
    pub settle: VirtualDuration,
}

/// A law by which something fails again and again, whatever the job is doing: the clock of failures
/// is that of the machines, so a failure may strike during the recovery from another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Failures {
    /// How the spans between failures are distributed.
    pub law: FailureLaw,
    /// Mean time between two failures of anything in the job (`M` of the cost models).
    pub mtbf: VirtualDuration,
    /// What fails; which of them is drawn, each equally likely.
    pub target: FailureTarget,
}

/// How the spans between failures are distributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureLaw {
    /// Failures know nothing of each other.
    Exponential,
    /// Weibull; a shape below 1: a failure is often soon followed by the next one, above 1: rarely.
    Weibull {
        /// The shape, in thousandths.
        shape_permille: u32,
    },
}

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureTarget {
    /// A task-manager process dies.
    TaskManager,
    /// A subtask throws.
    Task,
}
