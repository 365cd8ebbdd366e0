//! Requests to the stores and to the external transaction system, and what they do when they are
//! applied. A request is applied some time before its answer arrives: whoever dies in between has
//! done it without knowing.

use std::collections::BTreeMap;

use cutline::ids::{Attempt, CheckpointId, LayoutId, OperatorId};
use cutline::operator::{Fingerprint, LeftOvers, TransactionId};

use crate::observe::{JobEnd, Transaction};

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
    /// HA store: a new job, which starts from a snapshot of the last one.
    Adopt(Adoption),
    /// HA store: remove a pointer (no error if there is none).
    RemovePointer {
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// HA store: all pointers and whether the job has ended.
    ReadPointers,
    /// HA store: become the leader; older sessions are fenced off.
    Lead,
    /// HA store: note that the job has ended for good, and how.
    StoreJobResult(JobEnd),
    /// External system: flush a transaction's contents.
    PreCommit {
        /// The transaction.
        transaction: TransactionId,
        /// The checkpoint whose snapshot holds it.
        checkpoint: CheckpointId,
        /// Its contents.
        contents: Fingerprint,
    },
    /// External system: make a transaction visible; done twice, it is done once.
    Commit {
        /// The transaction.
        transaction: TransactionId,
    },
    /// External system: drop what a restored checkpoint does not know, and refuse from now on what
    /// older attempts send.
    AbortLeftOvers(LeftOvers),
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
        /// Of each checkpoint.
        pointers: Vec<(CheckpointId, Pointer)>,
        /// How the job has ended, if it has.
        ended: Option<JobEnd>,
        /// How the job is spread over subtasks.
        layout: LayoutId,
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

/// The start of a job from a snapshot. Flink: `CheckpointCoordinator#restoreSavepoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// Who asked for it: index of the action.
    pub action: u32,
    /// The snapshot.
    pub checkpoint: CheckpointId,
    /// Where it is, and whose it is from now on.
    pub pointer: Pointer,
    /// How the new job is spread over subtasks.
    pub layout: LayoutId,
}

/// What the HA store keeps of a completed checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// Path of its metadata.
    pub metadata: String,
    /// Whose it is.
    pub ownership: Ownership,
}

/// Who owns the snapshot behind a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ownership {
    /// The job that took it, or the user if it is a savepoint.
    Taker,
    /// The job that was started from it. Flink: claim mode `CLAIM`.
    Claimed,
    /// The user, though a job was started from it. Flink: claim mode `NO_CLAIM`.
    Unclaimed,
}

/// The high-availability store: Flink's ZooKeeper or Kubernetes config maps.
#[derive(Debug, Default)]
pub struct HaStore {
    /// The last checkpoint id drawn.
    pub counter: u64,
    /// Pointer of each completed checkpoint.
    pub pointers: BTreeMap<CheckpointId, Pointer>,
    /// The leader session, from 1.
    pub session: u64,
    /// The job has ended; nobody may run it again.
    pub ended: Option<JobEnd>,
    /// How the job is spread over subtasks: a part of its job graph.
    pub layout: LayoutId,
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

/// A transaction as the external system knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredTransaction {
    /// What has become of it.
    pub state: TransactionState,
    /// The checkpoint whose completion commits it.
    pub checkpoint: CheckpointId,
    /// What it contains.
    pub contents: Fingerprint,
}

/// The external system that transactional sinks write to.
#[derive(Debug, Default)]
pub struct ExternalSystem {
    /// Every transaction that was ever flushed.
    pub transactions: BTreeMap<TransactionId, StoredTransaction>,
    /// Attempts below this are refused, by sink and subtask; each speaks for all subtasks that are
    /// its own modulo the parallelism beside it.
    fences: BTreeMap<(OperatorId, u32), (Attempt, u32)>,
}

impl ExternalSystem {
    /// Flushes a transaction; false if its attempt is fenced off or it has been decided already.
    pub(super) fn pre_commit(
        &mut self,
        transaction: TransactionId,
        checkpoint: CheckpointId,
        contents: Fingerprint,
    ) -> bool {
        let TransactionId { operator, subtask, attempt, .. } = transaction;
        let fenced = self.fences.iter().any(|(&(sink, speaker), &(fence, parallelism))| {
            sink == operator && subtask % parallelism == speaker && attempt < fence
        });
        let decided = self
            .transactions
            .get(&transaction)
            .is_some_and(|stored| stored.state != TransactionState::PreCommitted);
        if fenced || decided {
            return false;
        }
        let state = TransactionState::PreCommitted;
        self.transactions.insert(transaction, StoredTransaction { state, checkpoint, contents });
        true
    }

    /// Commits a transaction: `Some(stored)` the first time, `None` if it was committed already.
    ///
    /// # Errors
    /// There is no such transaction, or it was aborted.
    pub(super) fn commit(
        &mut self,
        transaction: TransactionId,
    ) -> Result<Option<StoredTransaction>, Refusal> {
        let stored = self.transactions.get_mut(&transaction).ok_or(Refusal::UnknownTransaction)?;
        match stored.state {
            TransactionState::Committed => Ok(None),
            TransactionState::Aborted => Err(Refusal::UnknownTransaction),
            TransactionState::PreCommitted => {
                stored.state = TransactionState::Committed;
                Ok(Some(*stored))
            }
        }
    }

    /// Aborts the open transactions among the left-overs and fences older attempts off.
    pub(super) fn abort_left_overs(
        &mut self,
        left_overs: &LeftOvers,
    ) -> Vec<(TransactionId, StoredTransaction)> {
        let mut aborted = Vec::new();
        for (transaction, stored) in &mut self.transactions {
            let open = stored.state == TransactionState::PreCommitted;
            if open && left_overs.contains(transaction) && transaction.attempt < left_overs.attempt
            {
                stored.state = TransactionState::Aborted;
                aborted.push((*transaction, *stored));
            }
        }
        let sink = (left_overs.operator, left_overs.subtask);
        let fence = (left_overs.attempt, left_overs.parallelism);
        let newest = self.fences.entry(sink).or_insert(fence);
        *newest = (*newest).max(fence);
        aborted
    }
}

/// A transaction as observations name it: by the checkpoint that commits it.
pub(super) fn observed(transaction: TransactionId, stored: &StoredTransaction) -> Transaction {
    Transaction {
        operator: transaction.operator,
        subtask: transaction.subtask,
        checkpoint: stored.checkpoint,
    }
}
