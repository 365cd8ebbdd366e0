//! Requests to the stores and to the external transaction system, and what they do when they are
//! applied. A request is applied some time before its answer arrives: whoever dies in between has
//! done it without knowing.

use std::collections::BTreeMap;

use cutline::ids::{CheckpointId, LayoutId};
use cutline::operator::{Fingerprint, LeftOvers, TransactionId, Update};
use cutline::time::{VirtualDuration, VirtualTime};

use super::ProcessId;
use crate::observe::JobEnd;

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
        /// Whether it is forced to disk before it counts as written, and so outlives a crash of the
        /// store's host.
        synced: bool,
        /// Refused with [`Refusal::Exists`] if there is an object already, visible or not. S3:
        /// `If-None-Match: *`; a file system: creation that does not overwrite.
        if_absent: bool,
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
    /// Object store: the paths below a prefix to which uploads in parts have begun whose writers have
    /// died. Only `s3://` has such. S3: `ListMultipartUploads`.
    ListUploads {
        /// The prefix.
        prefix: String,
    },
    /// Object store: drop the parts of such an upload (no error if there is none). S3:
    /// `AbortMultipartUpload`.
    AbortUpload {
        /// Where it was to be.
        path: String,
    },
    /// HA store: add one to the checkpoint id counter and return the id drawn.
    NextCheckpointId,
    /// HA store: publish the pointer to a completed checkpoint (F3).
    AddPointer {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Path of its metadata.
        metadata: String,
        /// Bytes that they have.
        bytes: u64,
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
    /// HA store: be elected, unless somebody else holds a lease; or renew one's own.
    Campaign {
        /// How long the lease is to be.
        lease: VirtualDuration,
        /// The session whose lease is to be renewed; refused if that is over.
        renews: Option<u64>,
    },
    /// HA store: who leads, as soon as it is another session than this one. (A watch.)
    AwaitLeader {
        /// The last session that is known.
        after: u64,
    },
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
        /// Its contents, if it has not been flushed.
        contents: Fingerprint,
    },
    /// External system: apply a batch of a write-ahead sink; done twice, it is done once.
    Apply {
        /// The batch.
        batch: TransactionId,
        /// What it does.
        updates: Vec<Update>,
    },
    /// External system: drop what a restored checkpoint does not know, and refuse from now on what
    /// older attempts send.
    AbortLeftOvers(LeftOvers),
}

impl Request {
    /// Writes a piece of state that is as large as it is, and safe once it is written.
    pub fn put(path: String, bytes: Vec<u8>) -> Self {
        let nominal = bytes.len() as u64;
        let (purpose, synced, if_absent) = (Purpose::State, true, false);
        Self::Put { path, bytes, nominal, purpose, synced, if_absent }
    }
}

/// Who answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The checkpoint storage.
    ObjectStore,
    /// The high-availability store.
    HaStore,
    /// The external transaction system.
    External,
}

impl Request {
    pub(super) fn service(&self) -> Service {
        match self {
            Self::Put { .. }
            | Self::Get { .. }
            | Self::Delete { .. }
            | Self::List { .. }
            | Self::ListUploads { .. }
            | Self::AbortUpload { .. } => Service::ObjectStore,
            Self::NextCheckpointId
            | Self::AddPointer { .. }
            | Self::Adopt(_)
            | Self::RemovePointer { .. }
            | Self::ReadPointers
            | Self::Lead
            | Self::Campaign { .. }
            | Self::AwaitLeader { .. }
            | Self::StoreJobResult(_) => Service::HaStore,
            Self::PreCommit { .. }
            | Self::Commit { .. }
            | Self::Apply { .. }
            | Self::AbortLeftOvers(_) => Service::External,
        }
    }
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
        /// What the job began with.
        first: JobStart,
    },
    /// The number of the leader session.
    Session(u64),
    /// Who leads, as far as the store knows.
    Leader {
        /// The process.
        process: ProcessId,
        /// The number of its session: its fencing token.
        session: u64,
    },
}

/// Why a request was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It failed, and nothing was done.
    #[error("the request failed")]
    Failed,
    /// It failed, or so it seems: it may have been done, in part or wholly. Flink:
    /// `PossibleInconsistentStateException`.
    #[error("the request failed, and may have been done")]
    Unknown,
    /// There is an object of this path already. S3: 412, precondition failed.
    #[error("there is such an object already")]
    Exists,
    /// There is no such object, or it cannot be seen yet.
    #[error("no such object")]
    NotFound,
    /// The process that was called is dead, or another one lives in its place.
    #[error("nobody is there")]
    Unreachable,
    /// The call is lost, or its answer: nobody knows. Flink: the `TimeoutException` of an ask.
    #[error("no answer has come in time")]
    TimedOut,
    /// Somebody else leads by now.
    #[error("fenced off by a newer leader")]
    Fenced,
    /// The transaction is not known, or was aborted.
    #[error("no such transaction")]
    UnknownTransaction,
    /// The transaction was open for too long, and the external system has aborted it.
    #[error("the transaction has timed out")]
    Expired,
    /// A newer attempt has taken over.
    #[error("fenced off by a newer attempt")]
    ProducerFenced,
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
    /// The number of its first execution.
    pub first_execution: u32,
}

/// What a job began with: whatever is older is another one's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobStart {
    /// The number of its first execution.
    pub execution: u32,
    /// The id of its first checkpoint.
    pub checkpoint: CheckpointId,
}

/// What the HA store keeps of a completed checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// Path of its metadata.
    pub metadata: String,
    /// Bytes that they have, if whoever has written this knew.
    pub bytes: Option<u64>,
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
    /// Who was elected last.
    pub leader: Option<ProcessId>,
    /// Until then nobody else is.
    pub lease_until: VirtualTime,
    /// The job has ended; nobody may run it again.
    pub ended: Option<JobEnd>,
    /// How the job is spread over subtasks: a part of its job graph.
    pub layout: LayoutId,
    /// What the job began with.
    pub first: JobStart,
}
