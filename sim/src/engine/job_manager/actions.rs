//! What a user asks for: savepoints, stops, cancellation, and a new job from a snapshot.
//!
//! Flink: `Dispatcher`, `SchedulerBase#triggerSavepoint` and `#stopWithSavepoint`,
//! `StopWithSavepointTerminationHandlerImpl`, `CheckpointCoordinator#restoreSavepoint`.
//!
//! A stop with a savepoint goes on in two steps: the savepoint completes, then all tasks finish. If
//! the savepoint fails, the job goes on with its periodic checkpoints; if a task fails behind the
//! savepoint, the stop has failed and the job restarts, from that savepoint (see
//! `CoordinatorConfig::stores_stops`).

use cutline::config::Retention;
use cutline::coordinator::io;
use cutline::defect::Defect;
use cutline::ids::CheckpointId;
use cutline::message::SnapshotKind;
use cutline::storage::metadata::Metadata;
use cutline::trigger::decider::RequestId;

use super::{JobManager, Phase, Waiting, translate};
use crate::engine::Engine;
use crate::observe::{JobEnd, Observation};
use crate::scenario::model::{ActionKind, SnapshotSource};
use crate::world::{
    Adoption, Answer, Context, KnownSnapshot, Observer, Ownership, Pointer, Refusal, Request,
};

/// Requests of users are numbered from here on, those of `checkpointing.manual` from 0.
const ACTION_REQUESTS: u64 = 1 << 32;

/// A stop with a savepoint that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    action: u32,
    /// The savepoint, once it is complete: the tasks are finishing.
    savepoint: Option<CheckpointId>,
    /// The tasks that were to finish have failed: whatever becomes of the savepoint, the stop has.
    failed: bool,
    /// [`Defect::D87`]: the checkpoint that is taken for the savepoint.
    running: Option<CheckpointId>,
}

/// A new job that is being made from a snapshot.
#[derive(Clone, Debug)]
pub(super) struct Resuming {
    action: u32,
    ownership: Ownership,
    /// What else there is, the best last.
    candidates: Vec<KnownSnapshot>,
}

impl JobManager {
    /// Takes up what was asked for, as far as that can be done now.
    pub(super) fn on_asked<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        // A job whose recovery was given up has ended without one, and takes what is asked all the same.
        if self.coordinator.is_none() && !self.is_over() || self.phase == Phase::Suspending {
            return; // Asked again once there is one.
        }
        for action in ctx.asked() {
            let plan = std::sync::Arc::clone(&self.plan);
            match &plan.scenario.actions[action as usize].what {
                // Deviation: Flink takes it. Tasks that have ended for the stop would be stored in it as
                // finished, and a job that is started from it would not run them.
                ActionKind::Savepoint if self.stop.is_some() => {
                    ctx.take_up(action);
                    self.answer(action, None, false, ctx);
                }
                ActionKind::Savepoint => {
                    ctx.take_up(action);
                    self.trigger_for(action, SnapshotKind::Savepoint, ctx);
                }
                ActionKind::StopWithSavepoint { drain } => {
                    ctx.take_up(action);
                    self.stop_with_savepoint(action, *drain, ctx);
                }
                ActionKind::Cancel => {
                    ctx.take_up(action);
                    self.cancel_job(action, ctx);
                }
                ActionKind::CleanOrphans => {
                    ctx.take_up(action);
                    self.clean_orphans(action, ctx);
                }
                ActionKind::Resume { from, claims, .. } => {
                    // Nobody starts a job twice: it is waited for until the last one is over.
                    if self.phase == Phase::Ended && self.resuming.is_none() {
                        self.resume(action, *from, *claims, ctx);
                    }
                }
            }
        }
    }

    /// Whether nothing more becomes of the job.
    fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ending(_) | Phase::Ended)
    }

    pub(super) fn answer<O: Observer>(
        &self,
        action: u32,
        checkpoint: Option<CheckpointId>,
        done: bool,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        ctx.answer(action, checkpoint, done);
    }

    fn trigger_for<O: Observer>(
        &mut self,
        action: u32,
        kind: SnapshotKind,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if self.is_over() || self.phase == Phase::Suspending {
            self.answer(action, None, false, ctx);
            return;
        }
        let request = Some(RequestId(ACTION_REQUESTS + u64::from(action)));
        self.coordinate(io::Input::Trigger { request, kind, periodic: false }, ctx);
    }

    fn stop_with_savepoint<O: Observer>(
        &mut self,
        action: u32,
        drain: bool,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if self.phase != Phase::Running || self.stop.is_some() {
            self.answer(action, None, false, ctx);
            return;
        }
        let running = match self.plan.defects.has(Defect::D87) {
            true => self.pending.last_key_value().map(|(checkpoint, _)| *checkpoint),
            false => None,
        };
        self.stop = Some(Stop { action, savepoint: None, failed: false, running });
        if running.is_some() {
            return;
        }
        // From here on nothing is committed but what the savepoint holds.
        self.coordinate(io::Input::Stop, ctx);
        let kind = match drain {
            true => SnapshotKind::SavepointTerminate,
            false => SnapshotKind::SavepointSuspend,
        };
        self.trigger_for(action, kind, ctx);
    }

    fn cancel_job<O: Observer>(&mut self, action: u32, ctx: &mut Context<'_, Engine, O>) {
        match self.phase {
            Phase::Running => {
                self.end_execution(ctx);
                self.phase = Phase::Canceling { action };
                self.cancel_tasks(ctx);
            }
            Phase::Waiting | Phase::Choosing | Phase::Restarting { .. } => {
                self.phase = Phase::Canceling { action };
            }
            Phase::Standby
            | Phase::Suspending
            | Phase::Recovering
            | Phase::Failing
            | Phase::Canceling { .. }
            | Phase::Ending(_)
            | Phase::Ended => {
                self.answer(action, None, false, ctx);
                return;
            }
        }
        self.end_if_canceled(ctx);
    }

    /// Ends the job once no task is left. What the tasks have acknowledged before has arrived by
    /// then.
    pub(super) fn end_if_canceled<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        if self.is_canceling() {
            return;
        }
        if let Phase::Canceling { action } = self.phase {
            if self.plan.defects.has(Defect::D87) && self.stop.is_some() {
                let end = self.finished_how(ctx);
                return self.end(end, ctx);
            }
            self.answer(action, None, true, ctx);
            self.end(JobEnd::Canceled, ctx);
        } else if self.phase == Phase::Failing {
            self.end(JobEnd::Failed, ctx);
        }
    }

    /// [`Defect::D87`]: the checkpoint that was running when the job was to stop has come to its end,
    /// and the job with it. Nobody has told the tasks to read no further.
    pub(super) fn stop_behind<O: Observer>(
        &mut self,
        checkpoint: CheckpointId,
        completed: bool,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let Some(stop) = self.stop.filter(|stop| stop.running == Some(checkpoint)) else { return };
        let action = stop.action;
        if !completed || self.phase != Phase::Running {
            self.stop = None;
            return self.answer(action, None, false, ctx);
        }
        self.end_execution(ctx);
        self.stop = Some(Stop { savepoint: Some(checkpoint), ..stop });
        self.phase = Phase::Canceling { action };
        self.cancel_tasks(ctx);
    }

    /// A request was fulfilled.
    pub(super) fn on_request_completed<O: Observer>(
        &mut self,
        request: RequestId,
        checkpoint: CheckpointId,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let Some(action) = action_of(request) else { return };
        let over = self.is_over();
        match &mut self.stop {
            // A job that has come to its end by itself, before it was known that the savepoint is
            // complete, has not stopped. Deviation: Flink reports the savepoint.
            Some(stop) if stop.action == action && (stop.failed || over) => {
                self.stop = None;
                self.answer(action, Some(checkpoint), false, ctx);
            }
            Some(stop) if stop.action == action => stop.savepoint = Some(checkpoint),
            Some(_) | None => self.answer(action, Some(checkpoint), true, ctx),
        }
    }

    /// A request was not fulfilled.
    pub(super) fn on_request_failed<O: Observer>(
        &mut self,
        request: RequestId,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let Some(action) = action_of(request) else { return };
        self.answer(action, None, false, ctx);
        if self.stop.is_some_and(|stop| stop.action == action) {
            self.stop = None;
            if self.phase == Phase::Running && self.down.is_empty() {
                self.start_checkpoints(ctx);
            }
        }
    }

    /// Whether a stop is under way whose savepoint is complete, or will be for all that is known.
    pub(super) fn may_be_stopping(&self) -> bool {
        self.stop.is_some()
    }

    /// Whether a stop is under way whose savepoint is complete.
    pub(super) fn is_stopping(&self) -> bool {
        self.stop.is_some_and(|stop| stop.savepoint.is_some())
    }

    /// The execution has failed, and a stop with it: at once, if its savepoint is complete, or when
    /// that is aborted or decided still. Flink: `StopWithSavepointTerminationHandlerImpl
    /// #terminateExceptionallyWithGlobalFailover`.
    pub(super) fn fail_stop<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        match &mut self.stop {
            Some(Stop { action, savepoint: Some(savepoint), .. }) => {
                let (action, savepoint) = (*action, *savepoint);
                self.stop = None;
                self.answer(action, Some(savepoint), false, ctx);
            }
            Some(stop) => stop.failed = true,
            None => {}
        }
    }

    /// How a job ends all of whose tasks have finished.
    pub(super) fn finished_how<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) -> JobEnd {
        match self.stop {
            Some(Stop { action, savepoint: Some(savepoint), .. }) => {
                self.stop = None;
                self.answer(action, Some(savepoint), true, ctx);
                JobEnd::StoppedWithSavepoint
            }
            Some(Stop { savepoint: None, .. }) | None => JobEnd::Finished,
        }
    }

    // ---- a new job from a snapshot -----------------------------------------------------------

    /// Whether a new job will take the place of one that has ended.
    pub(super) fn is_to_resume<O: Observer>(&self, ctx: &Context<'_, Engine, O>) -> bool {
        let actions = &self.plan.scenario.actions;
        let resumes =
            |action: u32| matches!(actions[action as usize].what, ActionKind::Resume { .. });
        ctx.outstanding().any(resumes)
    }

    fn resume<O: Observer>(
        &mut self,
        action: u32,
        from: SnapshotSource,
        claims: bool,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let stopped = self.ended == Some(JobEnd::StoppedWithSavepoint);
        let retained = self.retains_checkpoints();
        let commits = self.commits();
        let usable = |known: &&KnownSnapshot| match from {
            SnapshotSource::Checkpoint => retained && !known.kind.is_savepoint(),
            // One of a stop that failed is not reported as the stop's result. One that the job has
            // gone back behind holds transactions that were aborted then.
            SnapshotSource::Savepoint => {
                known.kind.is_savepoint()
                    && (stopped || !known.kind.is_synchronous())
                    && !(commits && known.abandoned)
            }
        };
        let ownership = if claims { Ownership::Claimed } else { Ownership::Unclaimed };
        let mut candidates: Vec<KnownSnapshot> =
            ctx.told().iter().filter(usable).cloned().collect();
        candidates.sort_by_key(|known| known.checkpoint);
        self.resuming = Some(Resuming { action, ownership, candidates });
        self.read_snapshot(ctx);
    }

    /// Whether the job that has ended left its checkpoints to the user.
    fn retains_checkpoints(&self) -> bool {
        let retention = self.plan.scenario.checkpointing.retention;
        match self.ended {
            Some(JobEnd::Canceled) => retention == Retention::RetainOnCancellation,
            Some(JobEnd::Failed) => retention != Retention::NoExternalized,
            Some(JobEnd::Finished | JobEnd::Stopped | JobEnd::StoppedWithSavepoint) | None => false,
        }
    }

    fn commits(&self) -> bool {
        let mut operators = self.plan.scenario.job.operators.iter();
        operators.any(|operator| operator.kind.is_transactional())
    }

    /// Reads the best of the snapshots that are left; without any, there will be no new job.
    fn read_snapshot<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        let Some(resuming) = &self.resuming else { return };
        let action = resuming.action;
        match resuming.candidates.last() {
            Some(known) => {
                let path = known.metadata.clone();
                self.request(Waiting::Snapshot, Request::Get { path }, ctx);
            }
            None => self.refuse_resume(action, ctx),
        }
    }

    fn refuse_resume<O: Observer>(&mut self, action: u32, ctx: &mut Context<'_, Engine, O>) {
        self.resuming = None;
        ctx.take_up(action);
        self.answer(action, None, false, ctx);
        self.leave(ctx);
    }

    pub(super) fn on_snapshot_read<O: Observer>(
        &mut self,
        answer: Result<Answer, Refusal>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if self.phase == Phase::Suspending {
            self.resuming = None; // Another one leads, and will be asked.
        }
        let Some(resuming) = &mut self.resuming else { return };
        let metadata = match answer {
            Ok(Answer::Object { bytes }) => Metadata::decode(&bytes).ok(),
            Err(Refusal::Failed) => return self.read_snapshot(ctx),
            // What a job that ends does not retain is deleted.
            Ok(_) | Err(_) => None,
        };
        match metadata {
            Some(metadata) => {
                let action = resuming.action;
                match self.can_be_spread(&metadata, action) {
                    true => self.adopt(ctx),
                    false => self.refuse_resume(action, ctx),
                }
            }
            None => {
                resuming.candidates.pop();
                self.read_snapshot(ctx);
            }
        }
    }

    /// What the finished subtasks of an operator had is nowhere: with others still running, nobody
    /// can tell what is left for how many.
    ///
    /// Deviation: Flink starts such a job.
    fn can_be_spread(&self, metadata: &Metadata, action: u32) -> bool {
        let layout = self.plan.graph.layout(self.plan.layout_resumed(action));
        metadata.operators.iter().all(|stored| {
            let operator = self.plan.operator_named(&stored.name).expect("a snapshot of this job");
            let vertex = &layout.job().operators()[operator.index()];
            // Flink: `Checkpoints#loadAndValidateCheckpoint`. Key groups are for ever.
            assert_eq!(stored.max_parallelism, vertex.max_parallelism);
            let finished = stored.subtasks.iter().any(|subtask| subtask.finished);
            stored.parallelism() == vertex.parallelism || !finished || stored.is_finished()
        })
    }

    fn adopt<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        let resuming = self.resuming.as_ref().expect("its snapshot was read");
        let known = resuming.candidates.last().expect("it was read");
        let (metadata, ownership) = (known.metadata.clone(), resuming.ownership);
        let pointer = Pointer { metadata, bytes: None, ownership };
        let checkpoint = known.checkpoint;
        let action = resuming.action;
        let layout = self.plan.layout_resumed(action);
        let first_execution = self.execution.number + 1;
        let adoption = Adoption { action, checkpoint, pointer, layout, first_execution };
        let request = Request::Adopt(adoption);
        self.request(Waiting::Adopted, request, ctx);
    }

    /// The new job is known to the HA store: it is recovered as after a change of leaders.
    pub(super) fn on_adopted<O: Observer>(
        &mut self,
        answer: &Result<Answer, Refusal>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if answer.is_err() {
            return self.adopt(ctx);
        }
        let resuming = self.resuming.take().expect("it was adopted for it");
        let checkpoint = resuming.candidates.last().map(|known| known.checkpoint);
        self.answer(resuming.action, checkpoint, true, ctx);
        if self.phase == Phase::Suspending {
            return; // Another one leads, and runs it.
        }
        self.forget_job();
        self.read_pointers(ctx);
    }

    /// A snapshot is complete: people outside can learn of it.
    pub(super) fn on_completed<O: Observer>(
        &mut self,
        checkpoint: CheckpointId,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let kind = self.pending.remove(&checkpoint).expect("what completes was pending");
        if kind == SnapshotKind::Savepoint {
            // It gets no pointer: its metadata is the decision.
            self.observe(Observation::Durable { checkpoint }, ctx);
        }
        self.observe(Observation::Completed { checkpoint }, ctx);
        let metadata = translate::metadata_path(checkpoint, kind);
        ctx.tell(KnownSnapshot { checkpoint, kind, metadata, abandoned: false });
    }
}

fn action_of(request: RequestId) -> Option<u32> {
    request.0.checked_sub(ACTION_REQUESTS).map(|action| action as u32)
}
