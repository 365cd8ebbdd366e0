//! Requests to the stores and to the external transaction system, and what they do when they are
//! applied. A request is applied some time before its answer arrives: whoever dies in between has
//! done it without knowing.

use std::collections::BTreeMap;

use cutline::ids::CheckpointId;
use cutline::operator::Fingerprint;

use crate::observe::Transaction;

/// What a file is for; storage faults choose by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A part of a snapshot.
    State,
    /// The metadata of a checkpoint.
    Metadata,
}

/// A request to a store or service.
#[derive(Clone, Debug)]
pub enum Request {
    /// Object store: write an object.
    Put {
        /// Where.
        path: String,
        /// What.
        bytes: Vec<u8>,
        /// How many bytes it stands for; takes the time of so many.
        nominal: u64,
        /// What for.
        purpose: Purpose,
    },
    /// Object store: read an object.
    Get {
        /// Where.
        path: String,
    },
    /// Object store: delete an object (no error if there is none).
    Delete {
        /// Where.
        path: String,
    },
    /// Object store: the paths below a prefix.
    List {
        /// The prefix.
        prefix: String,
    },
    /// HA store: add one to the checkpoint id counter and return the id drawn.
    NextCheckpointId,
    /// HA store: publish the pointer to a completed checkpoint (F3).
    AddPointer {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Path of its metadata.
        metadata: String,
    },
    /// HA store: remove a pointer (no error if there is none).
    RemovePointer {
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// HA store: all pointers and whether the job has ended.
    ReadPointers,
    /// HA store: become the leader; older sessions are fenced off.
    Lead,
    /// HA store: note that the job has ended for good.
    StoreJobResult,
    /// External system: flush a transaction's contents.
    PreCommit {
        /// The transaction.
        transaction: Transaction,
        /// Its contents.
        contents: Fingerprint,
    },
    /// External system: make a transaction visible; done twice, it is done once.
    Commit {
        /// The transaction.
        transaction: Transaction,
    },
    /// External system: drop a transaction that was not committed.
    Abort {
        /// The transaction.
        transaction: Transaction,
    },
    /// External system: drop every open transaction of a sink subtask but those named.
    AbortOthers {
        /// The sink operator.
        operator: cutline::ids::OperatorId,
        /// Index of the subtask.
        subtask: u32,
        /// The checkpoints whose transactions stay.
        keep: Vec<CheckpointId>,
    },
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Done,
    /// The object read.
    Object {
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// The paths found.
    Paths(Vec<String>),
    /// The id drawn.
    CheckpointId(CheckpointId),
    /// The pointers, oldest checkpoint first.
    Pointers {
        /// Checkpoint and path of its metadata.
        pointers: Vec<(CheckpointId, String)>,
        /// Whether the job has ended.
        ended: bool,
    },
    /// The number of the leader session.
    Session(u64),
}

/// Why a request was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A fault of the plan.
    #[error("the request failed")]
    Failed,
    /// There is no such object, or it cannot be seen yet.
    #[error("no such object")]
    NotFound,
    /// Somebody else leads by now.
    #[error("fenced off by a newer leader")]
    Fenced,
    /// The transaction is not known, or was aborted.
    #[error("no such transaction")]
    UnknownTransaction,
}

/// The high-availability store: Flink's ZooKeeper or Kubernetes config maps.
#[derive(Debug, Default)]
pub struct HaStore {
    /// The last checkpoint id drawn.
    pub counter: u64,
    /// Pointer (path of the metadata) of each completed checkpoint.
    pub pointers: BTreeMap<CheckpointId, String>,
    /// The leader session, from 1.
    pub session: u64,
    /// The job has ended; nobody may run it again.
    pub ended: bool,
}

/// What has become of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionState {
    /// Flushed, not visible.
    PreCommitted,
    /// Visible.
    Committed,
    /// Dropped.
    Aborted,
}

/// The transactions of the external system.
pub type Transactions = BTreeMap<Transaction, (TransactionState, Fingerprint)>;

/// The external system that transactional sinks write to.
#[derive(Debug, Default)]
pub struct ExternalSystem {
    /// Every transaction that was ever flushed.
    pub transactions: Transactions,
}

impl ExternalSystem {
    /// Open transactions of a sink subtask that `keep` does not name.
    pub(super) fn others(
        &self,
        operator: cutline::ids::OperatorId,
        subtask: u32,
        keep: &[CheckpointId],
    ) -> Vec<Transaction> {
        self.transactions
            .iter()
            .filter(|(transaction, (state, _))| {
                (transaction.operator, transaction.subtask) == (operator, subtask)
                    && *state == TransactionState::PreCommitted
                    && !keep.contains(&transaction.checkpoint)
            })
            .map(|(transaction, _)| *transaction)
            .collect()
    }
}
