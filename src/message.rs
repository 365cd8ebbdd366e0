//! What travels: elements of the data channels, and the words coordinator and tasks exchange.
//!
//! Coordinator and subtask know each other only through this module.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::CheckpointId;
use crate::time::{ClockOffset, VirtualDuration, VirtualTime};

/// What a snapshot is for, and who owns it. Flink: `SnapshotType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotKind {
    /// Owned by the system; increments are allowed.
    Checkpoint,
    /// Owned by the system; refers to no earlier file.
    FullCheckpoint,
    /// Owned by the user: never subsumed, never the base of an increment.
    Savepoint,
    /// A savepoint after which the job stops without draining (`stop`).
    SavepointSuspend,
    /// A savepoint after which the job stops having drained its sources (`stop --drain`).
    SavepointTerminate,
}

impl SnapshotKind {
    /// Whether the user owns the snapshot.
    pub fn is_savepoint(self) -> bool {
        match self {
            Self::Checkpoint | Self::FullCheckpoint => false,
            Self::Savepoint | Self::SavepointSuspend | Self::SavepointTerminate => true,
        }
    }

    /// Whether the job stops after it. Flink: `SavepointType#isSynchronous`.
    pub fn is_synchronous(self) -> bool {
        match self {
            Self::SavepointSuspend | Self::SavepointTerminate => true,
            Self::Checkpoint | Self::FullCheckpoint | Self::Savepoint => false,
        }
    }
}

/// How a task treats the barrier. Flink: `CheckpointOptions.AlignmentType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alignment {
    /// Nothing is blocked; records may be counted twice after a restore.
    AtLeastOnce,
    /// Channels are blocked until all barriers have arrived.
    Aligned,
    /// Aligned at first; unaligned once the alignment has lasted so long.
    /// Flink: `execution.checkpointing.aligned-checkpoint-timeout`.
    AlignedWithTimeout(VirtualDuration),
    /// The barrier overtakes buffers, which become part of the snapshot.
    Unaligned,
    /// Aligned on this edge, whatever was asked for: what is in flight on it could not be restored
    /// under another parallelism. Whoever receives it sends on what was asked for: unaligned, at once
    /// or after so long. Flink: `FORCED_ALIGNED`.
    ForcedAligned(Option<VirtualDuration>),
}

impl Alignment {
    /// Whether a cut that is taken so divides the records exactly.
    pub fn is_exactly_once(self) -> bool {
        match self {
            Self::AtLeastOnce => false,
            Self::Aligned
            | Self::AlignedWithTimeout(_)
            | Self::Unaligned
            | Self::ForcedAligned(_) => true,
        }
    }

    /// The same on an edge on which barriers may not overtake. Flink:
    /// `CheckpointOptions#withUnalignedUnsupported`.
    #[must_use]
    pub fn with_unaligned_unsupported(self) -> Self {
        match self {
            Self::Unaligned => Self::ForcedAligned(None),
            Self::AlignedWithTimeout(timeout) => Self::ForcedAligned(Some(timeout)),
            Self::AtLeastOnce | Self::Aligned | Self::ForcedAligned(_) => self,
        }
    }

    /// What was asked for. Flink: `CheckpointOptions#withUnalignedSupported`.
    #[must_use]
    pub fn with_unaligned_supported(self) -> Self {
        match self {
            Self::ForcedAligned(None) => Self::Unaligned,
            Self::ForcedAligned(Some(timeout)) => Self::AlignedWithTimeout(timeout),
            Self::AtLeastOnce | Self::Aligned | Self::AlignedWithTimeout(_) | Self::Unaligned => {
                self
            }
        }
    }
}

/// What a barrier asks of the tasks it passes. Flink: `CheckpointOptions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CheckpointOptions {
    /// What the snapshot is for.
    pub kind: SnapshotKind,
    /// How the barrier is treated.
    pub alignment: Alignment,
}

/// The marker that divides a channel's elements into before and after the cut.
/// Flink: `CheckpointBarrier`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CheckpointBarrier {
    /// The checkpoint it belongs to.
    pub checkpoint: CheckpointId,
    /// When the coordinator triggered the checkpoint, by the wall clock of its host.
    pub timestamp: VirtualTime,
    /// How to take it.
    pub options: CheckpointOptions,
}

impl CheckpointBarrier {
    /// When an aligned barrier with a timeout is to become unaligned, by the wall clock of the
    /// coordinator, which is where the timeout began.
    pub fn unaligned_from(&self) -> Option<VirtualTime> {
        match self.options.alignment {
            Alignment::AlignedWithTimeout(timeout) => Some(self.timestamp + timeout),
            Alignment::AtLeastOnce
            | Alignment::Aligned
            | Alignment::Unaligned
            | Alignment::ForcedAligned(_) => None,
        }
    }

    /// The same by the monotonic clock of a task at which it arrives `now`; at once, if that has passed.
    ///
    /// Flink: `BarrierAlignmentUtil#getTimerDelay`. The time that has passed since the trigger is the
    /// difference between the wall clocks of two hosts: a task whose clock is ahead of the coordinator's
    /// gives up aligning too early, and one whose clock is behind waits for longer than the timeout. The
    /// timer itself is not moved when a clock is set.
    pub fn aligns_until(&self, now: VirtualTime, ahead: ClockOffset) -> Option<VirtualTime> {
        self.unaligned_from().map(|due| now + due.since(now + ahead))
    }

    /// The barrier as it travels once the task has given up aligning. Flink:
    /// `CheckpointBarrier#asUnaligned`.
    pub fn as_unaligned(mut self) -> Self {
        self.options.alignment = Alignment::Unaligned;
        self
    }
}

/// What a data channel carries, in order. `B` is the engine's data buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element<B> {
    /// Data.
    Buffer(B),
    /// A checkpoint barrier.
    Barrier(CheckpointBarrier),
    /// The sender gave up the checkpoint. Flink: `CancelCheckpointMarker`.
    CancelMarker(CheckpointId),
    /// Goes round a loop behind all that goes round, when nothing more comes into it. Flink ML:
    /// `IterationRecord.Type#EPOCH_WATERMARK`.
    EpochWatermark {
        /// Whether something has gone round since the one before it: the next one tells more.
        flowing: bool,
    },
    /// No more data; barriers may follow. Flink: `EndOfData`.
    EndOfData,
    /// The last element of a channel. Flink: `EndOfPartitionEvent`.
    EndOfPartition,
}

impl<B: Copy> Element<B> {
    /// The data, if it is a buffer.
    #[inline]
    pub fn buffer(&self) -> Option<B> {
        match self {
            Self::Buffer(buffer) => Some(*buffer),
            Self::Barrier(_)
            | Self::CancelMarker(_)
            | Self::EpochWatermark { .. }
            | Self::EndOfData
            | Self::EndOfPartition => None,
        }
    }
}

/// Data as the protocol sees it: something with a size.
pub trait Payload: Copy + fmt::Debug {
    /// Bytes it occupies in a network buffer.
    fn bytes(&self) -> u64;
}

/// Why a checkpoint failed. Flink: `CheckpointFailureReason`, with its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the names are Flink's and say what they mean")]
pub enum FailureReason {
    PeriodicSchedulerShutdown,
    TooManyCheckpointRequests,
    MinimumTimeBetweenCheckpoints,
    NotAllRequiredTasksRunning,
    IoException,
    BlockingOutputExist,
    CheckpointAsyncException,
    ChannelStateSharedStreamException,
    CheckpointExpired,
    CheckpointSubsumed,
    CheckpointDeclined,
    CheckpointDeclinedTaskNotReady,
    CheckpointDeclinedTaskClosing,
    CheckpointDeclinedSubsumed,
    CheckpointDeclinedOnCancellationBarrier,
    CheckpointDeclinedInputEndOfStream,
    CheckpointCoordinatorShutdown,
    CheckpointCoordinatorSuspend,
    JobFailoverRegion,
    TaskFailure,
    TaskCheckpointFailure,
    UnknownTaskCheckpointNotificationFailure,
    FinalizeCheckpointFailure,
    TriggerCheckpointFailure,
}

impl FailureReason {
    /// Found before a checkpoint starts. Flink: `CheckpointFailureReason#isPreFlight`.
    pub fn is_pre_flight(self) -> bool {
        matches!(
            self,
            Self::PeriodicSchedulerShutdown
                | Self::TooManyCheckpointRequests
                | Self::MinimumTimeBetweenCheckpoints
                | Self::NotAllRequiredTasksRunning
                | Self::IoException
                | Self::BlockingOutputExist
        )
    }
}
