//! The built-in engine: the core's machines mounted on the world as processes.
//!
//! One job manager (process 0) and the task managers (1 …), behind them other candidates for the
//! job manager. Nothing of the protocol is decided
//! here; the engine carries messages, reads and writes files, and reports what happens.

mod job_manager;
mod mount;
mod plan;
mod shadow;
mod task_manager;

use std::sync::Arc;

use cutline::codec::checksum;
use cutline::enumerator::EventId;
use cutline::ids::{CheckpointId, OperatorId, RegionId, SubtaskId};
use cutline::job::assignment::Assignment;
use cutline::message::FailureReason;
use cutline::storage::handle::SharedKey;
use cutline::storage::layout;
use cutline::task::barrier::AlignmentMetrics;
use cutline::task::snapshots::PartKind;
use cutline::task::subtask::{Back, Frame, Mail};
use cutline::time::{VirtualDuration, VirtualTime};

pub use self::job_manager::{Idle, JobManager, SnapshotPayload};
pub use self::mount::{BuiltIn, Mount, Stores};
pub(crate) use self::plan::source_options;
pub use self::plan::{
    BarrierFactory, CoordinatorFactory, CoordinatorSetup, JobError, OperatorFactory, Plan,
    PolicyFactory,
};
pub(crate) use self::plan::{graph_of, job_graph};
pub use self::shadow::Storage;
pub use self::task_manager::TaskManager;

use crate::world::{Context, Event, Observer, Process, Waits};

/// A process of the engine.
#[derive(Debug)]
pub enum Engine {
    /// Process 0.
    JobManager(Box<JobManager>),
    /// All others.
    TaskManager(Box<TaskManager>),
}

impl Process for Engine {
    type Control = Fenced;
    type Data = Frame;
    type Back = Back;

    #[inline]
    fn handle<O: Observer>(&mut self, event: Event<Self>, ctx: &mut Context<'_, Self, O>) {
        match self {
            Self::TaskManager(task_manager) => task_manager.handle(event, ctx),
            Self::JobManager(job_manager) => job_manager.handle(event, ctx),
        }
    }

    fn reborn(&self) -> Self {
        match self {
            Self::JobManager(job_manager) => Self::JobManager(Box::new(job_manager.reborn())),
            Self::TaskManager(task_manager) => Self::TaskManager(Box::new(task_manager.reborn())),
        }
    }

    fn repeated(message: &Fenced) -> Option<Fenced> {
        match &message.message {
            Control::Acknowledge { .. } | Control::Decline { .. } => Some(message.clone()),
            Control::Register { .. }
            | Control::Registered
            | Control::Heartbeat
            | Control::Alive
            | Control::Deploy(_)
            | Control::Cancel { .. }
            | Control::Canceled { .. }
            | Control::Mail { .. }
            | Control::RequestSplit { .. }
            | Control::EventArrived { .. }
            | Control::Task { .. } => None,
        }
    }

    /// By the signatures of Flink's gateways (`TaskExecutorGateway`, `JobMasterGateway`,
    /// `CheckpointCoordinatorGateway`), and by who looks at the futures that they return.
    fn waits(message: &Fenced) -> Waits {
        match &message.message {
            // `submitTask`, `cancelTask`, `updateTaskExecutionState`, `sendOperatorEventToCoordinator`.
            Control::Deploy(_)
            | Control::Cancel { .. }
            | Control::Canceled { .. }
            | Control::RequestSplit { .. }
            | Control::Task { .. } => Waits::ForReceipt,
            Control::Mail { mail, .. } => match mail {
                // `triggerCheckpoint`.
                Mail::Trigger(_) => Waits::ForReceipt,
                // `sendOperatorEventToTask`, which `EventArrived` is the answer to.
                Mail::Split { .. } => Waits::ForMessage,
                // `confirmCheckpoint`, `abortCheckpoint`: nobody looks at the future, but see
                // `notify_again`.
                Mail::NotifyComplete(_) | Mail::NotifyAborted(_) => Waits::ForMessage,
                Mail::Capture { .. } => unreachable!("a task asks itself"),
            },
            Control::EventArrived { .. } => Waits::Receiver,
            // Said again with the next heartbeat (`RetryingRegistration`), like heartbeats themselves.
            Control::Register { .. }
            | Control::Registered
            | Control::Heartbeat
            | Control::Alive
            // `acknowledgeCheckpoint` and `declineCheckpoint` return nothing: the checkpoint expires.
            | Control::Acknowledge { .. }
            | Control::Decline { .. } => Waits::Nobody,
        }
    }

    fn files(message: &Fenced) -> impl Iterator<Item = &str> {
        let snapshot = match &message.message {
            Control::Acknowledge { snapshot, .. } => Some(snapshot),
            Control::Register { .. }
            | Control::Registered
            | Control::Heartbeat
            | Control::Alive
            | Control::Deploy(_)
            | Control::Cancel { .. }
            | Control::Canceled { .. }
            | Control::Mail { .. }
            | Control::RequestSplit { .. }
            | Control::EventArrived { .. }
            | Control::Task { .. }
            | Control::Decline { .. } => None,
        };
        let parts = snapshot.into_iter().flat_map(|snapshot| &snapshot.parts);
        parts.filter(|part| part.is_unheard_of()).map(|part| part.path.as_str())
    }

    fn is_routine(message: &Fenced) -> bool {
        match &message.message {
            Control::Heartbeat | Control::Alive => true,
            Control::Register { .. }
            | Control::Registered
            | Control::Deploy(_)
            | Control::Cancel { .. }
            | Control::Canceled { .. }
            | Control::Mail { .. }
            | Control::RequestSplit { .. }
            | Control::EventArrived { .. }
            | Control::Task { .. }
            | Control::Acknowledge { .. }
            | Control::Decline { .. } => false,
        }
    }

    fn is_settled(&self) -> bool {
        match self {
            Self::JobManager(job_manager) => job_manager.is_settled(),
            Self::TaskManager(task_manager) => task_manager.is_settled(),
        }
    }
}

/// A message between job manager and task managers, with its fencing token: the leader session
/// that it belongs to. Of several job managers one leads; what comes from another session is
/// refused. Flink: `RemoteFencedMessage`, `FencedRpcEndpoint`.
#[derive(Clone, Debug)]
pub struct Fenced {
    /// The session; 0 if nobody is elected.
    pub token: u64,
    /// What it says.
    pub message: Control,
}

/// What job manager and task managers say to each other.
#[derive(Clone, Debug)]
pub enum Control {
    /// Task manager → job manager: here I am.
    Register {
        /// Which of the lives of its host it is. Flink: `ResourceID`, which is new for each process.
        life: u32,
    },
    /// Job manager → task manager: you are known.
    Registered,
    /// Job manager → task manager.
    Heartbeat,
    /// Task manager → job manager: the answer.
    Alive,
    /// Job manager → task manager: run this subtask (R4).
    Deploy(Box<Deployment>),
    /// Job manager → task manager: end all tasks of this execution and of older ones (R1).
    Cancel {
        /// The execution.
        execution: u32,
        /// Only those of this failover region.
        region: Option<RegionId>,
    },
    /// Task manager → job manager: none of them is left.
    Canceled {
        /// The execution.
        execution: u32,
        /// The region, if only its tasks were to end.
        region: Option<RegionId>,
    },
    /// Job manager → task manager: for the mailbox of a subtask.
    Mail {
        /// The execution meant.
        execution: u32,
        /// The subtask.
        subtask: SubtaskId,
        /// What it says.
        mail: Mail,
    },
    /// Task manager → job manager: a reader has no split left.
    RequestSplit {
        /// Its execution.
        execution: u32,
        /// The reader.
        subtask: SubtaskId,
    },
    /// Task manager → job manager: an enumerator's event is in the mailbox of a reader.
    EventArrived {
        /// The reader.
        subtask: SubtaskId,
        /// Which event.
        id: EventId,
    },
    /// Task manager → job manager: news of a subtask.
    Task {
        /// Its execution.
        execution: u32,
        /// The subtask.
        subtask: SubtaskId,
        /// The news.
        report: Report,
    },
    /// Task manager → job manager (B6).
    Acknowledge {
        /// Its execution.
        execution: u32,
        /// The subtask.
        subtask: SubtaskId,
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// What it has written.
        snapshot: Box<SubtaskSnapshot>,
    },
    /// Task manager → job manager (B6).
    Decline {
        /// Its execution.
        execution: u32,
        /// The subtask.
        subtask: SubtaskId,
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Why.
        reason: FailureReason,
    },
}

/// News of a subtask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// It runs.
    Running,
    /// It has come to its end.
    Finished,
    /// It has failed.
    Failed,
    /// It has failed, and no further attempt can do better. Flink: `ThrowableType#
    /// NonRecoverableError`.
    FailedForGood,
    /// It runs no more, or must not: if the job manager has not heard that it has finished, it has
    /// failed. Flink: `ExecutionDeploymentReport`, `DefaultExecutionDeploymentReconciler`.
    Gone,
}

/// What a task manager needs to run a subtask.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// Which execution of the job.
    pub execution: u32,
    /// The job's first: what earlier ones have left on a machine was another job's.
    pub first_execution: u32,
    /// Which subtask; of a chain, the head, by whose number the task goes.
    pub subtask: SubtaskId,
    /// The subtasks on the same task manager: channels between them are local. In ascending order.
    pub beside: Vec<SubtaskId>,
    /// The checkpoint its state comes from; `None`: a first start.
    pub restored: Option<CheckpointId>,
    /// The parts of its state, and of those of the others in its chain.
    pub parts: Vec<Part>,
    /// It had finished in the restored checkpoint, and so had all of its chain.
    pub finished: bool,
    /// Some of its chain had finished, and some not: it cannot be run. Flink:
    /// `VertexFinishedStateChecker`, "Can not restore vertex … which contain mixed operator finished
    /// state".
    pub finished_in_part: bool,
    /// What is its share in them, if the checkpoint was taken with another parallelism.
    pub rescaling: Option<Arc<Assignment>>,
}

/// A part of a subtask's snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What is in it.
    pub kind: PartKind,
    /// The operator of the subtask that wrote it.
    pub operator: OperatorId,
    /// Index of that subtask within its operator.
    pub subtask: u32,
    /// Its path.
    pub path: String,
    /// Real bytes.
    pub bytes: u64,
    /// Bytes they stand for.
    pub nominal: u64,
    /// Checksum of the real bytes.
    pub checksum: u64,
    /// Where its bytes are.
    pub place: Place,
}

/// Where the bytes of a part are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file of this checkpoint alone.
    File,
    /// In a file that other checkpoints may refer to by this key.
    Shared(SharedKey),
    /// In such a file, uploaded for the base of this checkpoint: its path is known to the job
    /// manager. Flink: `PlaceholderStreamStateHandle`.
    Known(SharedKey),
    /// In a file of a log, or of the state that it goes on from: later checkpoints may name it, too,
    /// before this one is confirmed.
    Logged {
        /// What checkpoints call it.
        key: SharedKey,
        /// Whether it was uploaded for this checkpoint.
        new: bool,
        /// Whether an earlier acknowledgement named it, or the checkpoint that the subtask was restored
        /// from: it may be part of completed checkpoints.
        named: bool,
    },
    /// Here: they go into the metadata. Flink: `ByteStreamStateHandle`.
    Inline(Vec<u8>),
}

impl Part {
    /// What other checkpoints call it, if they may refer to it.
    pub fn key(&self) -> Option<&SharedKey> {
        match &self.place {
            Place::Shared(key) | Place::Known(key) | Place::Logged { key, .. } => Some(key),
            Place::File | Place::Inline(_) => None,
        }
    }

    /// Whether nobody has heard of its file before: whoever hears of it now is to look after it, and
    /// to delete it if nothing comes of the checkpoint.
    pub fn is_unheard_of(&self) -> bool {
        match self.place {
            Place::File | Place::Shared(_) | Place::Logged { named: false, .. } => true,
            Place::Logged { named: true, .. } | Place::Known(_) | Place::Inline(_) => false,
        }
    }

    /// Whether a file was written for this checkpoint.
    fn is_uploaded(&self) -> bool {
        match self.place {
            Place::File | Place::Shared(_) | Place::Logged { new: true, .. } => true,
            Place::Logged { new: false, .. } | Place::Known(_) | Place::Inline(_) => false,
        }
    }

    /// Whether it holds changes of a state that is elsewhere.
    fn is_change_set(&self) -> bool {
        let changes = layout::Part::Changes;
        self.key().is_some()
            && matches!(self.path.parse(), Ok(layout::Path::Part(_, name)) if name.part == changes)
    }

    /// Whether these are the bytes that were written.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.bytes && checksum(bytes) == self.checksum
    }
}

impl SubtaskSnapshot {
    /// How it went, of another subtask in the same task.
    fn clone_without_parts(&self) -> Self {
        Self { parts: Vec::new(), alignment: None, ..*self }
    }
}

/// What a subtask has written for a checkpoint, and how that went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubtaskSnapshot {
    /// The files.
    pub parts: Vec<Part>,
    /// Its input had ended: a subtask restored from this has nothing to do.
    pub ended: bool,
    /// From the trigger at the coordinator to the first barrier.
    pub start_delay: VirtualDuration,
    /// What the alignment cost, if anything was aligned.
    pub alignment: Option<AlignmentMetrics>,
    /// Duration of the synchronous part.
    pub sync: VirtualDuration,
    /// Duration of the asynchronous part.
    pub async_part: VirtualDuration,
    /// When the subtask acknowledged.
    pub acknowledged_at: VirtualTime,
}
