//! What checks need beyond observations: two questions to an engine's storage, and one to the
//! outside.

use cutline::ids::{Attempt, CheckpointId, OperatorId};
use cutline::operator::{Fingerprint, Record};
use cutline::time::VirtualTime;

use crate::observe::FileId;

/// What the checks ask of an engine about its storage; `None` is "cannot tell", and makes a check
/// not applicable.
pub trait RestoreOracle {
    /// The files that a durable checkpoint refers to: what its metadata names, and itself.
    fn references(&self, checkpoint: CheckpointId) -> Option<Vec<FileId>>;

    /// What a restore from this checkpoint would give, read from storage only and now, without
    /// virtual time and without faults that come and go.
    fn shadow(&mut self, checkpoint: CheckpointId) -> Option<Result<ShadowState, ShadowError>>;

    /// What somebody outside finds of a sink's transactions now.
    fn outside(&self, sink: OperatorId) -> Option<Outside> {
        let _ = sink;
        None
    }
}

/// The transactions of one sink, as those outside see them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outside {
    /// The open ones, oldest first.
    pub open: Vec<OpenTransaction>,
    /// What is committed behind an open one: readers do not get so far.
    pub hidden: Fingerprint,
}

/// A transaction that is neither committed nor aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenTransaction {
    /// The subtask that opened it.
    pub subtask: u32,
    /// The attempt that opened it.
    pub attempt: Attempt,
    /// When.
    pub begun: VirtualTime,
}

/// An engine that cannot tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoOracle;

impl RestoreOracle for NoOracle {
    fn references(&self, _checkpoint: CheckpointId) -> Option<Vec<FileId>> {
        None
    }

    fn shadow(&mut self, _checkpoint: CheckpointId) -> Option<Result<ShadowState, ShadowError>> {
        None
    }
}

/// A checkpoint as it is in storage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShadowState {
    /// The states of an operator's subtasks, as `Operator::snapshot` wrote them: an entry for each
    /// subtask, in order. An operator without state need not come at all.
    pub parts: Vec<(OperatorId, Vec<Vec<u8>>)>,
    /// Subtasks (number within the operator) whose input had ended at the cut: their state will not
    /// change any more.
    pub ended: Vec<(OperatorId, u32)>,
    /// Subtasks that had finished before the cut, and left no state in this checkpoint: what they
    /// had is in an older one.
    pub finished: Vec<(OperatorId, u32)>,
    /// The in-flight records, in the order in which they are to be processed: those of downstream
    /// operators first, and of each channel the receiver's part before the sender's.
    pub in_flight: Vec<InFlight>,
}

/// A record that was in flight at the cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InFlight {
    /// The operator that was to get it.
    pub operator: OperatorId,
    /// At which of its inputs.
    pub input: u32,
    /// The record.
    pub record: Record,
}

/// Why a checkpoint cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShadowError {
    /// A file is not there.
    #[error("file {} ({path}) is missing", file.0)]
    Missing {
        /// The file.
        file: FileId,
        /// Its path in the store.
        path: String,
    },
    /// A file is there, and its contents make no sense.
    #[error("{what} is damaged: {error}")]
    Damaged {
        /// Which part of the checkpoint, in words.
        what: String,
        /// What is wrong with it.
        error: String,
    },
}
