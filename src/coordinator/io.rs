//! What goes into the coordinator and what comes out of it.
//!
//! Work that takes time in a real system leaves as an output with a [`Token`] and comes back as an
//! input with the same token. Each such pair is a scheduling point: anything may happen between.

use std::sync::Arc;

use crate::coordinator::completed::{CompletedCheckpoint, JobStatus, Retained};
use crate::coordinator::plan::ExecutionState;
use crate::coordinator::statistics::CheckpointMetrics;
use crate::ids::{Attempt, CheckpointId, OperatorId, SubtaskId};
use crate::message::{CheckpointBarrier, FailureReason, SnapshotKind};
use crate::storage::handle::{FileHandle, SubtaskState};
use crate::storage::registry::RegistryError;
use crate::time::{ClockOffset, VirtualDuration, VirtualTime};
use crate::trigger::decider::RequestId;

/// Names a piece of work between its output and its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Why work failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkError {
    /// The store could not be reached or refused.
    Io,
    /// Anything else.
    Other,
}

/// What became of a pointer write (step F3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointerOutcome {
    /// The pointer is there: the checkpoint is decided.
    Written,
    /// The pointer is certainly not there.
    Failed,
    /// Nobody can tell. Flink: `PossibleInconsistentStateException`.
    Unknown,
}

/// How much of the job goes back to a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreScope {
    /// Everything, operator coordinators included (step R5).
    Global,
    /// Subtasks only: a region. Operator coordinators go on.
    Region {
        /// So many.
        subtasks: u32,
    },
}

/// What happens to the coordinator.
#[derive(Clone, Debug, PartialEq)]
pub enum Input<P> {
    /// Start making periodic checkpoints, the first after `delay` (Flink draws it between the
    /// minimum pause and the interval). Ignored after a shutdown and without a periodic policy.
    Start {
        /// Until the first one.
        delay: VirtualDuration,
    },
    /// Stop making periodic checkpoints; abort what is pending or waits.
    Stop,
    /// The time named by `next_timeout` has come. Too early or too often is harmless.
    Timeout,
    /// The answer to [`Output::Poll`].
    Poll,
    /// The wall clock of the host was set: from now on it is so far ahead of the monotonic one, which
    /// `now` is. Timestamps of checkpoints are of the wall clock (Flink:
    /// `System.currentTimeMillis`), and so are the durations in the statistics; timers are not.
    WallClock(ClockOffset),
    /// Time is skipped in which nothing would have happened: the next periodic checkpoint is due so
    /// much earlier, though not before now. For simulators; Flink's clock skips nothing.
    Skip {
        /// How much.
        by: VirtualDuration,
    },
    /// Somebody asks for a snapshot. Without a `request` nobody is told of the outcome.
    Trigger {
        /// Who is told.
        request: Option<RequestId>,
        /// What is asked for.
        kind: SnapshotKind,
        /// Whether it counts as one of the periodic ones.
        periodic: bool,
    },
    /// The answer to [`Output::DrawId`].
    IdDrawn {
        /// Which.
        token: Token,
        /// The number, greater than all before.
        result: Result<CheckpointId, WorkError>,
    },
    /// The answer to [`Output::MakeLocation`].
    LocationMade {
        /// Which.
        token: Token,
        /// The directory.
        result: Result<Arc<str>, WorkError>,
    },
    /// The answer to [`Output::SnapshotCoordinator`].
    CoordinatorSnapshot {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Which operator coordinator.
        coordinator: OperatorId,
        /// Its snapshot.
        result: Result<SubtaskState<P>, WorkError>,
    },
    /// A trigger message could not be delivered.
    TriggerFailed {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// To whom it was sent.
        subtask: SubtaskId,
    },
    /// A task has taken its part of a checkpoint (step A1).
    Acknowledge {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Who.
        subtask: SubtaskId,
        /// Which execution of it.
        attempt: Attempt,
        /// What it delivers; `None`: it has no state.
        state: Option<SubtaskState<P>>,
        /// How it went.
        metrics: CheckpointMetrics,
    },
    /// A task cannot take its part.
    Decline {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Who.
        subtask: SubtaskId,
        /// Which execution of it.
        attempt: Attempt,
        /// Why not.
        reason: FailureReason,
    },
    /// An execution changed its state, or a new execution takes the place of the last one.
    TaskState {
        /// Of which subtask.
        subtask: SubtaskId,
        /// Which execution; a lower one than the current is ignored.
        attempt: Attempt,
        /// What it does now.
        state: ExecutionState,
    },
    /// An execution failed: checkpoints that it has not acknowledged cannot complete.
    TaskFailed {
        /// Of which subtask.
        subtask: SubtaskId,
        /// Which execution.
        attempt: Attempt,
    },
    /// A source says whether it works off a backlog.
    Backlog {
        /// Which source.
        source: OperatorId,
        /// Whether it does.
        on: bool,
    },
    /// Abort all pending checkpoints (steps R1 and X1).
    AbortPending {
        /// Why.
        reason: FailureReason,
    },
    /// Go back to the latest completed checkpoint (step R2). Answered by [`Output::Restored`],
    /// which waits for a pointer write under way. Ignored after a shutdown.
    Restore {
        /// How much of the job.
        scope: RestoreScope,
    },
    /// The answer to [`Output::WriteMetadata`].
    MetadataWritten {
        /// Which.
        token: Token,
        /// The file.
        result: Result<FileHandle, WorkError>,
    },
    /// The answer to [`Output::WritePointer`].
    PointerWritten {
        /// Which.
        token: Token,
        /// What became of it.
        outcome: PointerOutcome,
    },
    /// The answer to [`Output::RemovePointer`].
    PointerRemoved {
        /// Which.
        token: Token,
        /// Whether it is gone.
        removed: bool,
    },
    /// The answer to [`Output::Discard`]: done, or given up.
    Discarded {
        /// Which.
        token: Token,
    },
    /// Stop for good. With a status, the completed checkpoints are dealt with as their retention
    /// asks.
    Shutdown {
        /// How the job ended.
        status: Option<JobStatus>,
    },
}

/// Whose files are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscardKind {
    /// What an aborted checkpoint had so far, and its directory (step X2).
    Aborted,
    /// A completed checkpoint, and its directory (step F4).
    Completed,
    /// Nothing: the pending checkpoint was completed and is let go of. It takes its turn behind
    /// earlier deletions, though, as in Flink.
    Pending,
    /// What came with an acknowledgement nobody waited for.
    Late,
    /// Shared files that no checkpoint uses any more (step F4).
    Shared,
}

/// What the coordinator wants done or known.
#[derive(Clone, Debug, PartialEq)]
pub enum Output<P> {
    /// Come back with [`Input::Poll`] when what is due at this instant has been handled: the
    /// decider is to be asked again. Flink: `checkpointTimer.execute(executeQueuedRequest)`.
    Poll,
    /// Draw the next checkpoint number (step T2).
    DrawId {
        /// To answer with.
        token: Token,
    },
    /// A checkpoint got its number and is pending (step T3).
    Pending {
        /// Its number.
        checkpoint: CheckpointId,
        /// What it is for.
        kind: SnapshotKind,
        /// Subtasks it waits for.
        participants: usize,
    },
    /// Make the directory of a checkpoint.
    MakeLocation {
        /// To answer with.
        token: Token,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// What it is for: savepoints go elsewhere.
        kind: SnapshotKind,
    },
    /// Take the snapshot of an operator coordinator (step T4).
    SnapshotCoordinator {
        /// For which checkpoint.
        checkpoint: CheckpointId,
        /// Of which.
        coordinator: OperatorId,
    },
    /// A trigger failed: an operator coordinator may open its event channels again.
    AbortTriggering {
        /// Which.
        coordinator: OperatorId,
    },
    /// Tell a task to start a checkpoint (step T5).
    Trigger {
        /// Whom.
        subtask: SubtaskId,
        /// Which execution.
        attempt: Attempt,
        /// Which checkpoint and how.
        barrier: CheckpointBarrier,
    },
    /// Write the metadata file of a fully acknowledged checkpoint (step F2).
    WriteMetadata {
        /// To answer with.
        token: Token,
        /// What to write.
        checkpoint: Arc<CompletedCheckpoint<P>>,
    },
    /// Write the pointer to a checkpoint (step F3): the durable decision.
    WritePointer {
        /// To answer with.
        token: Token,
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// What the pointer points to.
        metadata: FileHandle,
    },
    /// The pointer is there: recovery may choose the checkpoint from now on.
    Stored {
        /// Which.
        checkpoint: CheckpointId,
    },
    /// A checkpoint or savepoint is complete.
    Completed {
        /// Which.
        checkpoint: CheckpointId,
    },
    /// Tell subtasks of a completed checkpoint (steps F5 and N1): whichever execution runs when
    /// the message leaves.
    NotifyComplete {
        /// Which.
        checkpoint: CheckpointId,
        /// When it was triggered.
        timestamp: VirtualTime,
        /// Whom, ascending.
        subtasks: Vec<SubtaskId>,
        /// The highest checkpoint that was deleted for it.
        subsumed: Option<CheckpointId>,
    },
    /// Tell an operator coordinator of a completed checkpoint.
    NotifyCoordinatorComplete {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Whom.
        coordinator: OperatorId,
    },
    /// A pending checkpoint failed (step X1).
    Failed {
        /// Which.
        checkpoint: CheckpointId,
        /// Why.
        reason: FailureReason,
    },
    /// A trigger failed before its checkpoint was pending, or came to its end after its
    /// checkpoint had been aborted.
    FailedBeforeStart {
        /// Why.
        reason: FailureReason,
    },
    /// Tell subtasks of an aborted checkpoint (step X3): whichever execution runs when the
    /// message leaves.
    NotifyAborted {
        /// Which.
        checkpoint: CheckpointId,
        /// Whom, ascending.
        subtasks: Vec<SubtaskId>,
        /// The latest completed checkpoint.
        latest_completed: Option<CheckpointId>,
    },
    /// Tell an operator coordinator of an aborted checkpoint.
    NotifyCoordinatorAborted {
        /// Which checkpoint.
        checkpoint: CheckpointId,
        /// Whom.
        coordinator: OperatorId,
    },
    /// A request was fulfilled.
    RequestCompleted {
        /// Whose.
        request: RequestId,
        /// By which checkpoint.
        checkpoint: CheckpointId,
    },
    /// A request was not fulfilled.
    ///
    /// Deviation: if the checkpoint could not be written or stored, Flink hands out the error
    /// itself; here the reason is [`FailureReason::FinalizeCheckpointFailure`].
    RequestFailed {
        /// Whose.
        request: RequestId,
        /// Why.
        reason: FailureReason,
    },
    /// A checkpoint everybody had acknowledged could not be written or stored.
    FinalizeFailed {
        /// Which.
        checkpoint: CheckpointId,
    },
    /// An acknowledgement contradicts what is known of shared files. It does not count.
    AcknowledgeRefused {
        /// For which checkpoint.
        checkpoint: CheckpointId,
        /// Whose.
        subtask: SubtaskId,
        /// Why.
        error: RegistryError,
    },
    /// The job must fail: too many checkpoints did, or a stop-with-savepoint was declined.
    FailJob {
        /// The execution to blame, if there is one.
        task: Option<(SubtaskId, Attempt)>,
    },
    /// The checkpoint to restore from (step R2); `None`: start afresh.
    Restored {
        /// Which.
        checkpoint: Option<Retained<P>>,
        /// How much of the job.
        scope: RestoreScope,
    },
    /// Set an operator coordinator back (step R5).
    ResetCoordinator {
        /// Which.
        coordinator: OperatorId,
        /// To its snapshot in this checkpoint, which may have none; `None`: to its beginning.
        checkpoint: Option<Retained<P>>,
    },
    /// Remove the pointer to a subsumed checkpoint (step F4).
    RemovePointer {
        /// To answer with.
        token: Token,
        /// Which checkpoint.
        checkpoint: CheckpointId,
    },
    /// Delete files.
    Discard {
        /// To answer with.
        token: Token,
        /// Whose.
        kind: DiscardKind,
        /// Of which checkpoint; `None`: of no particular one.
        checkpoint: Option<CheckpointId>,
        /// Which files.
        files: Vec<FileHandle>,
        /// The directory to remove after them.
        location: Option<Arc<str>>,
    },
}
