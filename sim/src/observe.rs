//! Observations: the only thing the checks see, and what a trace is made of.
//!
//! Plain values, made by the engine at the moment the thing happens. An engine that reports them
//! gets every check for free.

use cutline::ids::{
    Attempt, ChannelId, CheckpointId, GateId, LayoutId, OperatorId, RegionId, SubtaskId,
};
use cutline::message::{Alignment, FailureReason, SnapshotKind};
use cutline::operator::{Fingerprint, Record, SplitId, TransactionId};
use cutline::step::Step;
use cutline::time::VirtualTime;

use crate::scenario::model::{Disturbance, StorageOperation};

/// A file of the object store, numbered in the order of first writing; the store knows its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// A transaction of a sink in the external system: the results of one sink subtask between two
/// cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transaction {
    /// The sink operator.
    pub operator: OperatorId,
    /// Index of the subtask within the operator.
    pub subtask: u32,
    /// The checkpoint whose completion commits it.
    pub checkpoint: CheckpointId,
}

impl Transaction {
    /// A batch of a write-ahead sink: its epoch is the checkpoint that holds it first.
    pub(crate) fn of(batch: TransactionId) -> Self {
        let TransactionId { operator, subtask, checkpoint, .. } = batch;
        Self { operator, subtask, checkpoint }
    }
}

/// How a task took a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CutKind {
    /// At a source, on the trigger message; nothing to align.
    Source,
    /// After all barriers were aligned.
    Aligned,
    /// With in-flight data.
    Unaligned,
    /// At least once: nothing was blocked.
    AtLeastOnce,
}

/// The life of one attempt of a subtask. Flink: `ExecutionState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are Flink's and say what they mean")]
pub enum TaskState {
    Deploying,
    Initializing,
    Running,
    Finished,
    Canceled,
    Failed,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobEnd {
    /// All sources were read to their end and everything is committed.
    Finished,
    /// The restart strategy gave up.
    Failed,
    /// The run's time ended first (an unbounded job).
    Stopped,
    /// Somebody stopped it with a savepoint, and the savepoint is complete.
    StoppedWithSavepoint,
    /// Somebody cancelled it.
    Canceled,
}

/// One thing that happened. Channels, subtasks and operators are those of the execution graph.
///
/// New kinds are added at the end: digests hash their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
pub enum Observation {
    /// A protocol step was reached (fault anchors and situations look at these).
    Step {
        /// Which.
        step: Step,
        /// For which checkpoint, if one is meant.
        checkpoint: Option<CheckpointId>,
        /// At which subtask, if at a task.
        subtask: Option<SubtaskId>,
    },

    /// A source emitted the record of an offset (before routing).
    SourceEmitted {
        /// The source subtask.
        subtask: SubtaskId,
        /// The split.
        split: SplitId,
        /// The offset in the split.
        offset: u64,
    },
    /// A record was put on an output channel, behind all that was put there before.
    Sent {
        /// The channel.
        channel: ChannelId,
        /// The record.
        record: Record,
    },
    /// A record was taken from an input channel and given to the operator.
    Processed {
        /// The channel.
        channel: ChannelId,
        /// The record.
        record: Record,
    },
    /// A barrier was put on an output channel; all records sent before on this channel belong
    /// before the cut (an unaligned barrier overtakes them, they are persisted).
    BarrierSent {
        /// The channel.
        channel: ChannelId,
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// A barrier was taken from an input channel.
    BarrierReceived {
        /// The channel.
        channel: ChannelId,
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// Alignment blocked an input channel.
    Blocked {
        /// The channel.
        channel: ChannelId,
    },
    /// Alignment released an input channel.
    Resumed {
        /// The channel.
        channel: ChannelId,
    },
    /// B3: the state of a subtask was captured. For a source, its positions are those of the
    /// records it has emitted so far.
    Cut {
        /// The subtask.
        subtask: SubtaskId,
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// How.
        how: CutKind,
    },
    /// An in-flight record became part of the snapshot, at the receiver or at the sender.
    Persisted {
        /// The channel.
        channel: ChannelId,
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The record.
        record: Record,
        /// Captured in the sender's output queue (else in the receiver's input).
        at_sender: bool,
    },
    /// A record of the restored channel state was put in front of an input channel (receiver's
    /// part of the channel state; the sender's part is `Sent` again).
    Recovered {
        /// The channel.
        channel: ChannelId,
        /// The record.
        record: Record,
    },
    /// B6, sent by the task.
    Acknowledged {
        /// The subtask.
        subtask: SubtaskId,
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// B6, sent by the task.
    Declined {
        /// The subtask.
        subtask: SubtaskId,
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Why.
        reason: FailureReason,
    },

    /// T3: a checkpoint is pending.
    Triggered {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Its kind.
        kind: SnapshotKind,
        /// How barriers are treated.
        alignment: Alignment,
    },
    /// F3: the pointer is in the HA store; from now on a recovery may choose this checkpoint.
    /// Reported when the store applied the write, not when the coordinator heard of it. A savepoint
    /// that gets no pointer is durable when the coordinator has heard that its metadata is written.
    Durable {
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// F4: the pointer is gone from the HA store; no recovery will find the checkpoint any more.
    /// Reported when the store applied the removal.
    PointerRemoved {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The process that asked for it: it answers for the files from now on.
        process: u32,
        /// That process has died meanwhile: nobody will ever know of the files.
        orphaned: bool,
    },
    /// The coordinator regards the checkpoint as completed.
    Completed {
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// X1: a pending checkpoint failed.
    Failed {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Why.
        reason: FailureReason,
    },
    /// F4: a completed checkpoint is no longer retained.
    Subsumed {
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// A request for a checkpoint failed before one was pending.
    RequestFailed {
        /// Why.
        reason: FailureReason,
    },
    /// N1 at a task.
    NotifiedComplete {
        /// The subtask.
        subtask: SubtaskId,
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// The task was told that a checkpoint was aborted.
    NotifiedAborted {
        /// The subtask.
        subtask: SubtaskId,
        /// The checkpoint.
        checkpoint: CheckpointId,
    },

    /// An attempt of a subtask entered a state.
    Task {
        /// The subtask.
        subtask: SubtaskId,
        /// The attempt.
        attempt: Attempt,
        /// The state.
        state: TaskState,
    },
    /// R1: an execution (all attempts of one deployment) ends; what it has in flight is void.
    ExecutionEnded,
    /// R2: a new execution starts from this checkpoint, or from scratch. Channels are new.
    RestoreChosen {
        /// The checkpoint.
        checkpoint: Option<CheckpointId>,
    },
    /// R6: a subtask has taken over its state and starts processing.
    TaskRestored {
        /// The subtask.
        subtask: SubtaskId,
        /// The checkpoint.
        checkpoint: Option<CheckpointId>,
    },
    /// The job ended.
    JobEnded {
        /// How.
        end: JobEnd,
    },
    /// A job manager became leader.
    LeaderElected {
        /// Number of the leader session, from 1.
        session: u64,
    },

    /// The external system has flushed a transaction's contents; they are not visible yet.
    PreCommitted {
        /// The transaction.
        transaction: Transaction,
        /// What it contains.
        contents: Fingerprint,
    },
    /// The external system made a transaction's contents visible (a repeated commit of the same
    /// transaction is not reported).
    Committed {
        /// The transaction.
        transaction: Transaction,
        /// What it contains.
        contents: Fingerprint,
    },
    /// The external system dropped a transaction.
    TransactionAborted {
        /// The transaction.
        transaction: Transaction,
    },
    /// An idempotent sink wrote a record under its identity.
    Upserted {
        /// The sink subtask.
        subtask: SubtaskId,
        /// The record.
        record: Record,
    },
    /// An at-least-once sink appended a record.
    Appended {
        /// The sink subtask.
        subtask: SubtaskId,
        /// The record.
        record: Record,
    },

    /// A file of the object store was written.
    FileWritten {
        /// The file.
        file: FileId,
        /// Its nominal bytes.
        bytes: u64,
        /// The process that asked for it: it answers for the file from now on.
        process: u32,
        /// That process has died meanwhile: nobody will ever know of the file.
        orphaned: bool,
    },
    /// A process has told another one of a file and forgets about it: the other one answers for
    /// it from now on.
    FileHandedOver {
        /// The file.
        file: FileId,
        /// The number of the other process.
        process: u32,
        /// That process is dead, or the network loses the message, and with it all knowledge of the file.
        orphaned: bool,
    },
    /// A file of the object store was deleted.
    FileDeleted {
        /// The file.
        file: FileId,
    },

    /// A process died. What it alone knew, such as files of snapshots that it had not handed over
    /// yet, is known to nobody any more.
    ProcessLost {
        /// Its number: 0 is the job manager, or the first candidate for it; the task managers
        /// follow, then the other candidates.
        process: u32,
    },
    /// A fault of the plan took effect.
    FaultInjected {
        /// Its index in the plan.
        fault: u32,
    },
    /// The effect of a fault ended.
    FaultHealed {
        /// Its index in the plan.
        fault: u32,
    },

    /// Something that a user does was taken up by the job manager.
    ActionTaken {
        /// Its index in the scenario.
        action: u32,
    },
    /// What a user asked for is done, or has failed.
    ActionEnded {
        /// Its index in the scenario.
        action: u32,
        /// The snapshot that came of it.
        checkpoint: Option<CheckpointId>,
        /// Whether it was done.
        done: bool,
    },
    /// A new job begins, in the place of one that has ended, from a snapshot of that one.
    Adopted {
        /// The snapshot.
        checkpoint: CheckpointId,
        /// The new job owns it from now on; else the user does.
        claimed: bool,
    },

    /// A request to a store did not go as it should. One that is made again may be disturbed again.
    StorageDisturbed {
        /// What was asked for.
        operation: StorageOperation,
        /// What became of it.
        how: Disturbance,
    },
    /// A bit of a file of the object store has flipped: it cannot be read any more.
    FileDamaged {
        /// The file.
        file: FileId,
    },
    /// The external system dropped a flushed transaction that had been open for too long. Nothing is
    /// lost yet: the job may be restored from before it, or fail rather than go on without it.
    TransactionExpired {
        /// The transaction.
        transaction: Transaction,
    },
    /// A file is gone with the process that had it in its memory.
    FileLost {
        /// The file.
        file: FileId,
    },

    /// The new job is spread over other subtasks and channels than the last one.
    Rescaled {
        /// Over those of this layout of the execution graph.
        layout: LayoutId,
    },
    /// A subtask has read restored in-flight records that belong to others, who own their keys, and
    /// has left them to those.
    Filtered {
        /// The subtask.
        subtask: SubtaskId,
        /// How many.
        records: u64,
    },

    /// A subtask was to be deployed onto a task manager that is dead, which its job manager did not
    /// know: the deployment has failed.
    DeploymentRefused {
        /// The subtask.
        subtask: SubtaskId,
    },
    /// A task manager is dead, says its job manager: from now on nothing is deployed onto it.
    WorkerLost {
        /// The number of its process.
        process: u32,
    },
    /// Tasks were cancelled that are busy: they end when they are done with what they do.
    CancellationSlow {
        /// The number of the process they run in.
        process: u32,
    },
    /// A cancelled task has been busy for too long: it takes its process with it.
    CancellationTimedOut {
        /// The number of the process.
        process: u32,
    },
    /// The HA store has refused a write of a job manager that does not lead any more.
    FencedOff {
        /// Its process.
        process: u32,
        /// The session that it believes to be in force.
        session: u64,
    },
    /// The HA store has done what a job manager asked for that was elected for a while.
    LeaderWrote {
        /// Its process.
        process: u32,
        /// Its session.
        session: u64,
    },
    /// A job manager has found out that it does not lead any more.
    LeadershipLost {
        /// Its session.
        session: u64,
    },
    /// The watermark has passed the end of a window, which was emitted.
    WindowFired {
        /// The subtask.
        subtask: SubtaskId,
        /// The window's key.
        key: u32,
        /// Its end, excluded.
        end: VirtualTime,
        /// How many records it held.
        records: u64,
    },
    /// A record was given to windows all of which had fired: it is dropped.
    DroppedLate {
        /// The subtask.
        subtask: SubtaskId,
        /// The record.
        record: Record,
    },
    /// A task has read a part of its state from a copy on its own machine.
    ReadLocally {
        /// The subtask.
        subtask: SubtaskId,
        /// The checkpoint that is restored.
        checkpoint: CheckpointId,
        /// How many files there were copies of.
        files: u32,
    },
    /// An operator has asked the outside about a record.
    Called {
        /// The subtask.
        subtask: SubtaskId,
        /// The number of the call, within the attempt.
        call: u64,
    },
    /// R1: the tasks of one failover region end, what they have in flight is void; the others run on.
    RegionEnded {
        /// The region.
        region: RegionId,
    },
    /// R2: the tasks of one region start again, from this checkpoint or from scratch, on new channels.
    RegionRestored {
        /// The region.
        region: RegionId,
        /// The checkpoint.
        checkpoint: Option<CheckpointId>,
    },
    /// The network has lost a control message. Nobody waits for it, or for an answer to it, any longer
    /// than until then.
    MessageLost {
        /// The process that has sent it.
        from: u32,
        /// The process that will not get it.
        to: u32,
        /// When whoever waits comes to know.
        until: VirtualTime,
    },
    /// A process has waited long enough for an answer of another one.
    AskTimedOut {
        /// Which waits.
        process: u32,
    },
    /// The enumerator of a source gives one of its readers a split. Flink: `AddSplitEvent`.
    SplitAssigned {
        /// The reader.
        subtask: SubtaskId,
        /// The split, numbered within the source.
        split: u32,
    },
    /// A subtask's keyed state is materialised: checkpoints refer to it from now on.
    Materialized {
        /// The subtask.
        subtask: SubtaskId,
    },
    /// A subtask's keyed state could not be materialised.
    MaterializationFailed {
        /// The subtask.
        subtask: SubtaskId,
    },
    /// A subtask has put its keyed state, or a part of it, together from a log.
    ChangesReplayed {
        /// The subtask.
        subtask: SubtaskId,
        /// Whether the log goes on from a materialised state.
        materialized: bool,
        /// How many change sets there were.
        changes: u32,
    },
    /// A process has read a clock that a fault makes wrong, for the first time since it does.
    WrongTimeRead {
        /// Which process.
        process: u32,
        /// The clock was set; else it runs at a wrong pace.
        stepped: bool,
    },
    /// The clocks of a host run at another pace from now on.
    PaceChanged {
        /// The process on it.
        process: u32,
        /// Thousandths of a second that they go on in a millisecond.
        pace: u32,
    },
    /// The host that stores the checkpoints has crashed.
    StorageHostCrashed {
        /// How many files were being written: they are cut off.
        writes: u32,
    },
    /// A file had not been forced to disk when the host that stores it crashed: whoever goes on as if it
    /// were there has itself to blame.
    UnsyncedLost {
        /// The file.
        file: FileId,
        /// It is gone wholly; else the second half of it.
        gone: bool,
    },
    /// The senders of a gate are told to make buffers of another size. Flink: `NewBufferSize`.
    BufferSizeAnnounced {
        /// Who tells them.
        subtask: SubtaskId,
        /// Its gate.
        gate: GateId,
        /// Bytes of a buffer.
        bytes: u32,
    },
    /// Somebody outside has asked for something; it is asked for until a leader takes it up.
    ActionAsked {
        /// Its index in the scenario.
        action: u32,
    },
    /// A process has died that was writing objects: nobody completes them.
    UploadsCutOff {
        /// Its number.
        process: u32,
        /// How many.
        writes: u32,
    },
    /// A part of a subtask's state is so small that it becomes a part of the metadata, and no file.
    StateInlined {
        /// The subtask.
        subtask: SubtaskId,
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// The store has answered as many requests below one prefix in this second as it does.
    PrefixLimitReached,
    /// A new leader finds that the job has ended: it is not run again.
    ResultFound {
        /// How it has ended.
        end: JobEnd,
    },
    /// A task manager does not do what a former leader tells it to.
    OrderRefused {
        /// The task manager's process.
        process: u32,
        /// The session of the former leader.
        session: u64,
    },
    /// The external system takes nothing of a transaction any more: a later attempt has fenced its
    /// producer off.
    ProducerFenced {
        /// The transaction.
        transaction: Transaction,
    },
    /// More checkpoints in a row have failed than are tolerated: the job fails.
    TooManyFailures,
    /// The job manager that had taken up what a user asked for has died, and nobody else knows of it:
    /// there will be no answer. Flink: the operation of a savepoint or a stop is unknown to the next
    /// leader's REST endpoint.
    ActionForgotten {
        /// Its index in the scenario.
        action: u32,
    },
    /// A process has died that was uploading an object in parts: these stay, and nobody sees them.
    UploadLeft {
        /// Nominal bytes of the parts.
        bytes: u64,
    },
    /// The parts of such an upload were dropped.
    UploadAborted {
        /// Nominal bytes of the parts.
        bytes: u64,
    },
    /// Files were found that nobody refers to any more, nor will; they are being deleted.
    OrphansFound {
        /// The action that asked for it: its index in the scenario.
        action: u32,
        /// How many.
        files: u32,
    },
    /// The sources have told the coordinator whether they work off a backlog.
    Backlog {
        /// They do.
        on: bool,
    },
}
