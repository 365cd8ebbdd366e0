//! The checkpoint coordinator: triggers checkpoints, collects acknowledgements, decides.
//!
//! In Flink: `CheckpointCoordinator`. The steps have the names of the design: T1 to T5 trigger, A1
//! and A2 collect, F1 to F5 finalize, X1 to X4 abort, R1 to R5 recover.
//!
//! # A checkpoint that is being finalized
//!
//! Flink writes the metadata (F2) and the pointer (F3) in one go, under a lock. Here both take
//! time, and whatever happens meanwhile is decided as follows. The pointer write is the decision.
//!
//! - One checkpoint is finalized at a time, in the order in which they were fully acknowledged;
//!   the others wait, still pending.
//! - Until the pointer write is issued, an abort wins, whatever its reason (expiry, decline,
//!   subsumption, stop, failover, shutdown). The checkpoint fails at once. Its files are deleted
//!   when the metadata write has answered, because a write under way could leave a file behind.
//! - Once the pointer write is issued, no abort touches the checkpoint: its deadline is gone, and
//!   it ends as the answer says. A restore waits for that answer, so that the checkpoint chosen is
//!   the latest one decided; so does dealing with the completed checkpoints at a shutdown.
//! - If nobody can tell whether the pointer was written, the checkpoint fails here but keeps its
//!   files, because a new leader may find the pointer.
//! - For savepoints, which are not stored, the metadata file is the decision; an abort before its
//!   answer wins. (Those a job stops with may be stored: [`CoordinatorConfig::stores_stops`]. Then
//!   the pointer is their decision, too, and their job's cancellation does not delete them.)
//! - What is decided subsumes the older ones that are pending, and nothing before that does; a plain
//!   savepoint never does.
//!
//! A new leader starts from [`Coordinator::new`] with what the store holds; the old one is fenced
//! off by the store refusing its pointer writes, which come back as failed.
//!
//! # Invariants
//!
//! Asserted after every input:
//! - the decider's limit is kept: unforced checkpoints never exceed `max_concurrent`;
//! - a pending checkpoint has a deadline, unless its pointer write is issued;
//! - the checkpoint being finalized, unless aborted, is pending and fully acknowledged.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::coordinator::completed::{
    CompletedCheckpoint, CompletedStore, JobStatus, Retained, Retention, StoreKind,
};
use crate::coordinator::failure::{Failure, FailureManager, Verdict};
use crate::coordinator::finalize::Finalizing;
use crate::coordinator::io::{DiscardKind, Input, Output, RestoreScope, Token};
use crate::coordinator::pending::PendingCheckpoint;
use crate::coordinator::plan::{Execution, ExecutionState, Topology};
use crate::coordinator::statistics::{CheckpointMetrics, Statistics};
use crate::coordinator::triggering::Triggering;
use crate::defect::{Defect, Defects};
use crate::ids::{Attempt, CheckpointId, OperatorId, SubtaskId};
use crate::message::{FailureReason, SnapshotKind};
use crate::storage::handle::FileHandle;
use crate::storage::registry::{ClaimMode, RegistryError};
use crate::time::{ClockOffset, VirtualDuration, VirtualTime};
use crate::trigger::decider::{Decider, DeciderConfig, Situation};
use crate::trigger::policy::TriggerPolicy;

mod abort;
pub mod completed;
pub mod failure;
mod finalize;
pub mod io;
pub mod own;
mod pending;
pub mod plan;
mod restore;
mod schedule;
pub mod statistics;
mod triggering;

/// Requests that may wait. Flink: `CheckpointRequestDecider`, not configurable.
const QUEUED_MAX: usize = 1000;

/// Expired checkpoints remembered. Flink: `NUM_GHOST_CHECKPOINT_IDS`.
const RECENT_MAX: usize = 16;

/// How checkpoints are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinatorConfig {
    /// Flink: `execution.checkpointing.max-concurrent-checkpoints`.
    pub max_concurrent: usize,
    /// Flink: `execution.checkpointing.min-pause`.
    pub min_pause: VirtualDuration,
    /// Flink: `execution.checkpointing.timeout`.
    pub timeout: VirtualDuration,
    /// Flink: `execution.checkpointing.mode`; false: at least once.
    pub exactly_once: bool,
    /// Flink: `execution.checkpointing.unaligned.enabled`.
    pub unaligned: bool,
    /// Flink: `execution.checkpointing.aligned-checkpoint-timeout`; `None`: unaligned at once.
    pub aligned_timeout: Option<VirtualDuration>,
    /// Whether the job has a loop, whose head captures what goes round for one checkpoint.
    ///
    /// Deviation: a savepoint waits then for the checkpoint under way, as one beside unaligned ones
    /// does. Flink forces it, and its barriers would abort the checkpoint at the head.
    pub has_loop: bool,
    /// Flink: `execution.checkpointing.checkpoints-after-tasks-finish`.
    pub after_tasks_finish: bool,
    /// Flink: `execution.checkpointing.tolerable-failed-checkpoints`; `None`: any number.
    pub tolerable_failures: Option<u64>,
    /// Flink: `execution.checkpointing.num-retained`.
    pub max_retained: usize,
    /// Flink: `execution.checkpointing.externalized-checkpoint-retention`.
    pub retention: Retention,
    /// Where the list of completed checkpoints is kept.
    pub store: StoreKind,
    /// Whether the job may go back to a savepoint it was to stop with.
    ///
    /// Deviation: Flink (since 1.15) stores no savepoint. If the job fails between the completion
    /// of such a savepoint, which commits its transactions, and its end, Flink goes back to a
    /// checkpoint before it, and what was committed is committed again. True: the savepoint gets
    /// a pointer, like a checkpoint, and that is the decision. False, for conformance: as in Flink.
    pub stores_stops: bool,
    /// Whether shared files that were uploaded for checkpoints which came to nothing go with the job.
    ///
    /// Deviation: Flink leaves them, if it registered them and no checkpoint was subsumed since.
    /// False, for conformance: as in Flink.
    pub drains_shared: bool,
    /// Whether a trigger for which a number is being drawn ends when everything is aborted.
    ///
    /// Deviation: Flink looks only at whether it is scheduling. If it was stopped and started again
    /// meanwhile, it asks tasks that are gone for a checkpoint which only its timeout ends. False,
    /// for conformance: as in Flink.
    pub drops_outlived: bool,
    /// What is planted.
    pub defects: Defects,
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    Periodic,
    Expiry(CheckpointId),
}

/// Timers due at one instant fire in the order in which they were set.
type TimerKey = (VirtualTime, u64);

/// Work that is out, other than that of the trigger and of the finalization under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Discard(After),
    RemovePointer(CheckpointId),
    /// The directory of a checkpoint that was aborted meanwhile.
    Location(CheckpointId),
}

/// What follows a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Nothing,
    /// The decider is asked again.
    Poll,
    /// So too; until then the checkpoint counts as being cleaned up, which may hold requests back.
    Cleaned,
}

/// The machine.
#[derive(Debug)]
pub struct Coordinator<P> {
    config: CoordinatorConfig,
    topology: Topology,
    executions: Vec<Execution>,
    coordinators: Vec<OperatorId>,
    policy: Box<dyn TriggerPolicy>,
    decider: Decider,
    failures: FailureManager,
    statistics: Statistics,
    store: CompletedStore<P>,
    /// When the input at hand came.
    now: VirtualTime,
    /// What the wall clock shows more than `now`.
    clock_offset: ClockOffset,
    /// Something has come of that.
    wall_clock_read: bool,
    /// The periodic scheduler is on.
    scheduling: bool,
    shut_down: bool,
    pending: BTreeMap<CheckpointId, PendingCheckpoint<P>>,
    triggering: Option<Triggering>,
    finalizing: Option<Finalizing<P>>,
    /// Savepoints that were completed. They are the user's, who asks for few.
    savepoints: Vec<Arc<CompletedCheckpoint<P>>>,
    /// Fully acknowledged, waiting for their turn.
    acknowledged: VecDeque<CheckpointId>,
    /// The last that expired, to tell a late message from a stray one.
    expired: VecDeque<CheckpointId>,
    timers: BTreeMap<TimerKey, Timer>,
    timers_set: u64,
    periodic: Option<TimerKey>,
    expiries: BTreeMap<CheckpointId, TimerKey>,
    last_completion: Option<VirtualTime>,
    last_id: Option<CheckpointId>,
    work: BTreeMap<Token, Work>,
    tokens: u64,
    cleaning: usize,
    /// The next checkpoints refer to no file of the restored one, which the user owns.
    force_full: bool,
    /// Waits for a pointer write.
    restore_waiting: Option<RestoreScope>,
    /// Waits for a pointer write, then for pointers to be removed.
    ending: Option<restore::Ending<P>>,
}

impl<P> Coordinator<P> {
    /// A coordinator of a job none of whose tasks has been deployed. `coordinators` are the
    /// operators whose split enumerators take part; `recovered` are the completed checkpoints
    /// found, oldest first.
    ///
    /// # Errors
    /// Shared files of the recovered checkpoints contradict each other.
    pub fn new(
        config: CoordinatorConfig,
        topology: Topology,
        coordinators: Vec<OperatorId>,
        policy: Box<dyn TriggerPolicy>,
        recovered: Vec<Retained<P>>,
        mode: ClaimMode,
    ) -> Result<Self, RegistryError> {
        let decider = Decider::new(DeciderConfig {
            max_concurrent: config.max_concurrent,
            min_pause: config.min_pause,
            max_queued: QUEUED_MAX,
        });
        let created = Execution { attempt: Attempt(0), state: ExecutionState::Created };
        let mut store = CompletedStore::new(config.store, config.max_retained, config.defects);
        store.recover(recovered, mode)?;
        let last_id = store.retained().map(|r| r.checkpoint.id).max();
        Ok(Self {
            executions: vec![created; topology.subtasks()],
            failures: FailureManager::new(config.tolerable_failures, config.defects),
            config,
            topology,
            statistics: Statistics::default(),
            now: VirtualTime::ZERO,
            clock_offset: ClockOffset::NONE,
            wall_clock_read: false,
            coordinators,
            policy,
            decider,
            store,
            scheduling: false,
            shut_down: false,
            pending: BTreeMap::new(),
            triggering: None,
            finalizing: None,
            savepoints: Vec::new(),
            acknowledged: VecDeque::new(),
            expired: VecDeque::with_capacity(RECENT_MAX),
            timers: BTreeMap::new(),
            timers_set: 0,
            periodic: None,
            expiries: BTreeMap::new(),
            last_completion: None,
            last_id,
            work: BTreeMap::new(),
            tokens: 0,
            cleaning: 0,
            force_full: false,
            restore_waiting: None,
            ending: None,
        })
    }

    /// When [`Input::Timeout`] is due. It fires one timer; ask again after it.
    pub fn next_timeout(&self) -> Option<VirtualTime> {
        self.timers.first_key_value().map(|((due, _), _)| *due)
    }

    /// Numbers of the pending checkpoints, ascending.
    pub fn pending(&self) -> impl Iterator<Item = CheckpointId> {
        self.pending.keys().copied()
    }

    /// Completed checkpoints that are kept, oldest first.
    pub fn retained(&self) -> impl Iterator<Item = &Retained<P>> {
        self.store.retained()
    }

    /// Requests that wait.
    pub fn queued(&self) -> usize {
        self.decider.queued()
    }

    /// When the next periodic checkpoint is due, if nothing is under way until then: no trigger, no
    /// pending checkpoint, no request that waits, no work that is out.
    fn idle_until(&self) -> Option<VirtualTime> {
        let idle = self.pending.is_empty()
            && self.triggering.is_none()
            && self.finalizing.is_none()
            && self.work.is_empty()
            && self.queued() == 0;
        self.periodic.filter(|_| idle).map(|(due, _)| due)
    }

    /// When a checkpoint completed last.
    fn last_completion(&self) -> Option<VirtualTime> {
        self.last_completion
    }

    /// Whether a trigger is under way (between T1 and T5).
    pub fn is_triggering(&self) -> bool {
        self.triggering.is_some()
    }

    /// How checkpoints went so far.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Whether an acknowledgement of this checkpoint would be recognized: it is pending, or among
    /// the last 16 that expired. Nothing is recognized after a shutdown.
    pub fn knows(&self, checkpoint: CheckpointId) -> bool {
        !self.shut_down
            && (self.pending.contains_key(&checkpoint) || self.expired.contains(&checkpoint))
    }

    /// Whether it has been shut down: it looks at no acknowledgement any more.
    pub fn is_shut_down(&self) -> bool {
        self.shut_down
    }

    /// Whether a file is part of a checkpoint that is pending, completed or outlives the job. One
    /// that is not, and that comes with an acknowledgement, is of no use to anybody.
    pub fn refers_to(&self, file: &FileHandle) -> bool {
        let finalizing = self.finalizing.iter().map(Finalizing::checkpoint);
        self.pending.values().any(|pending| pending.refers_to(file))
            || finalizing.chain(&self.savepoints).any(|checkpoint| checkpoint.refers_to(file))
            || self.store.refers_to(file)
    }

    /// Takes one input in and appends what follows from it to `out`.
    ///
    /// # Panics
    /// On an answer to work that is not out, or a number that does not grow: the caller is wrong.
    pub fn handle(&mut self, now: VirtualTime, input: Input<P>, out: &mut Vec<Output<P>>) {
        assert!(now >= self.now, "time does not run backwards");
        self.now = now;
        match input {
            Input::Start { delay } => self.on_start(now, delay, out),
            Input::Stop => self.on_stop(out),
            Input::Timeout => self.on_timeout(now, out),
            Input::Poll => self.on_poll(now, out),
            Input::WallClock(ahead) => self.clock_offset = ahead,
            Input::Skip { by } => self.on_skip(now, by),
            Input::Trigger { request, kind, periodic } => {
                self.on_trigger(now, request, kind, periodic, out)
            }
            Input::IdDrawn { token, result } => self.on_id_drawn(now, token, result, out),
            Input::LocationMade { token, result } => self.on_location(now, token, result, out),
            Input::CoordinatorSnapshot { checkpoint, coordinator, result } => {
                self.on_coordinator_snapshot(now, checkpoint, coordinator, result, out)
            }
            Input::TriggerFailed { checkpoint, subtask: _ } => {
                self.abort(checkpoint, FailureReason::TriggerCheckpointFailure, None, out)
            }
            Input::Acknowledge { checkpoint, subtask, attempt, state, metrics } => {
                self.on_acknowledge(now, checkpoint, (subtask, attempt), state, metrics, out)
            }
            Input::Decline { checkpoint, subtask, attempt, reason } => {
                self.on_decline(checkpoint, (subtask, attempt), reason, out)
            }
            Input::TaskState { subtask, attempt, state } => {
                self.on_task_state(subtask, attempt, state)
            }
            Input::TaskFailed { subtask, attempt } => {
                self.on_task_failed(subtask, attempt, out);
            }
            Input::Backlog { source, on } => self.on_backlog(now, source, on),
            Input::AbortPending { reason } => self.abort_all(reason, out),
            Input::Restore { scope } => self.on_restore(now, scope, out),
            Input::MetadataWritten { token, result } => {
                self.on_metadata_written(now, token, result, out);
            }
            Input::PointerWritten { token, outcome } => {
                self.on_pointer_written(now, token, outcome, out);
            }
            Input::PointerRemoved { token, removed } => {
                self.on_pointer_removed(token, removed, out)
            }
            Input::Discarded { token } => self.on_discarded(token, out),
            Input::Shutdown { status } => self.on_shutdown(status, out),
        }
        self.check();
    }

    /// What the wall clock shows. Flink: `System.currentTimeMillis`.
    fn wall(&mut self) -> VirtualTime {
        self.wall_clock_read = true;
        self.now + self.clock_offset
    }

    /// Whether something has come of the wall clock since this was asked last: a timestamp, or a figure
    /// of the statistics. For simulators, which want to know whether a wrong one matters.
    pub fn has_read_wall_clock(&mut self) -> bool {
        std::mem::take(&mut self.wall_clock_read)
    }

    fn check(&self) {
        let unforced = self.pending.values().filter(|p| !p.forced).count();
        assert!(unforced <= self.config.max_concurrent);
        let deciding = self.finalizing.as_ref().and_then(Finalizing::decides);
        for id in self.pending.keys() {
            debug_assert_eq!(self.expiries.contains_key(id), deciding != Some(*id));
        }
        if let Some(id) = self.finalizing.as_ref().and_then(Finalizing::valid) {
            assert!(self.pending[&id].is_fully_acknowledged());
        }
    }
}

#[cfg(test)]
mod tests;
