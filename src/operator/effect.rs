//! What sinks ask of the outside, as values. In Flink: `TwoPhaseCommitSinkFunction`, and the
//! transaction naming and clean-up of the Kafka sink.

use crate::ids::{Attempt, CheckpointId, OperatorId};

use super::instance::Instance;
use super::record::{Fingerprint, Record};

/// A transaction of a two-phase-commit sink.
///
/// Nothing in it is drawn: a successor can name every transaction that its predecessors may have
/// left behind. Deviation: the Kafka sink leaves the attempt to the broker's producer epoch; here
/// it is part of the name, so that no name is ever used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId {
    /// The sink.
    pub operator: OperatorId,
    /// The subtask that opened it.
    pub subtask: u32,
    /// One more than the last checkpoint that the subtask had snapshotted (or was restored from)
    /// when it opened the transaction: the earliest checkpoint that can pre-commit it.
    pub checkpoint: CheckpointId,
    /// The attempt that opened it.
    pub attempt: Attempt,
}

impl TransactionId {
    /// The transaction that an instance opens which snapshotted (or was restored from) `last`.
    pub(super) fn next(instance: &Instance, last: Option<CheckpointId>) -> Self {
        Self {
            operator: instance.operator,
            subtask: instance.subtask,
            checkpoint: CheckpointId(last.map_or(1, |last| last.0 + 1)),
            attempt: instance.attempt,
        }
    }
}

/// What one batch of a write-ahead sink does to one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// The key.
    pub key: u32,
    /// What is added to it.
    pub delta: Fingerprint,
}

/// The transactions that S6 aborts: all of certain subtasks that a restored checkpoint does not
/// know. Covers subtasks beyond the present parallelism, as nobody else would after a scale-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOvers {
    /// The sink.
    pub operator: OperatorId,
    /// The subtask that cleans up …
    pub subtask: u32,
    /// … for all subtasks whose number is its own modulo this.
    pub parallelism: u32,
    /// The restored checkpoint: its transactions, and those of older ones, are none of them.
    pub restored: Option<CheckpointId>,
    /// The attempt that cleans up. It also fences: whatever older attempts of these subtasks send
    /// later on must be refused.
    pub attempt: Attempt,
}

impl LeftOvers {
    /// Those that an instance cleans up which was restored from this.
    pub(super) fn of(instance: &Instance, restored: Option<CheckpointId>) -> Self {
        let Instance { operator, subtask, parallelism, attempt, .. } = *instance;
        Self { operator, subtask, parallelism, restored, attempt }
    }

    /// Whether a transaction is one of them.
    pub fn contains(&self, transaction: &TransactionId) -> bool {
        transaction.operator == self.operator
            && transaction.subtask % self.parallelism == self.subtask
            && self.restored.is_none_or(|restored| transaction.checkpoint > restored)
    }
}

/// What the outside is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Open a transaction; its timeout runs from here.
    Begin {
        /// Which.
        transaction: TransactionId,
    },
    /// B3: flush the transaction, so that a later commit cannot fail. There is none without data.
    PreCommit {
        /// Which.
        transaction: TransactionId,
        /// The checkpoint whose snapshot holds it first.
        checkpoint: CheckpointId,
        /// What becomes visible with its commit.
        contents: Fingerprint,
    },
    /// S5, S6: make its contents visible. Repeating it is harmless; until
    /// [`Operator::committed`](super::Operator::committed) it will be repeated.
    Commit {
        /// Which.
        transaction: TransactionId,
        /// What becomes visible, as pre-committed.
        contents: Fingerprint,
    },
    /// B3: nothing is asked for yet; a batch of a write-ahead sink is closed, and from now on in
    /// every snapshot until it is applied.
    Close {
        /// Which batch.
        batch: TransactionId,
        /// What it will have changed.
        contents: Fingerprint,
    },
    /// S5, S6: apply a batch, each update unless its key has seen this batch. Repeating it is
    /// harmless, as for a commit.
    Apply {
        /// Which batch; its checkpoint is the epoch.
        batch: TransactionId,
        /// What it does, in the order of the first records.
        updates: Vec<Update>,
    },
    /// S6: abort what the restored checkpoint does not know, and fence older attempts.
    AbortLeftOvers(LeftOvers),
    /// Ask the outside something about a record; the answer comes back by
    /// [`Caller::on_answer`](super::Caller::on_answer).
    Call {
        /// To tell the answer by.
        call: u64,
    },
    /// Write by identity: a repeated write of the same record changes nothing.
    Upsert(Record),
    /// Write at once; a repeated write is visible twice.
    Append(Record),
}

impl Effect {
    /// The transaction, or the batch, that it is about; if it is about one.
    pub fn transaction(&self) -> Option<TransactionId> {
        match *self {
            Self::Begin { transaction }
            | Self::PreCommit { transaction, .. }
            | Self::Commit { transaction, .. } => Some(transaction),
            Self::Close { batch, .. } | Self::Apply { batch, .. } => Some(batch),
            Self::AbortLeftOvers(_) | Self::Call { .. } | Self::Upsert(_) | Self::Append(_) => None,
        }
    }
}
