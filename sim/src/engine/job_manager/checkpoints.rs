//! The coordinator's work, carried to the stores and the tasks and back.

use std::collections::VecDeque;
use std::sync::Arc;

use cutline::coordinator::completed::CompletedCheckpoint;
use cutline::coordinator::io::{Input, Output, PointerOutcome, RestoreScope, Token, WorkError};
use cutline::coordinator::statistics::CheckpointMetrics;
use cutline::defect::Defect;
use cutline::enumerator;
use cutline::ids::{Attempt, CheckpointId, SubtaskId};
use cutline::message::{FailureReason, SnapshotKind};
use cutline::step::Step;
use cutline::storage::handle::FileHandle;
use cutline::storage::layout;
use cutline::task::snapshots::PartKind;
use cutline::task::subtask::Mail;
use cutline::time::VirtualDuration;
use cutline::trigger::decider::RequestId;

use super::calls::Call;
use super::translate::{alignment, handle_of, metadata_of, metadata_path, subtask_state};
use super::{JobManager, Phase, SnapshotPayload, Waiting};
use crate::engine::{Control, Engine, Part, Place, SubtaskSnapshot};
use crate::observe::Observation;
use crate::world::{Answer, Context, Observer, Purpose, Refusal, Request};

impl JobManager {
    /// Hands an input to the coordinator and does what it asks for, until it asks no more.
    pub(super) fn coordinate<O: Observer>(
        &mut self,
        input: Input<SnapshotPayload>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        self.inbox.push_back(input);
        if self.coordinating {
            return;
        }
        self.coordinating = true;
        while let Some(input) = self.inbox.pop_front() {
            let Some(coordinator) = &mut self.coordinator else { continue };
            let mut outputs = std::mem::take(&mut self.outputs);
            let now = ctx.relative_time();
            if let Some(ahead) = ctx.clock_offset() {
                coordinator.handle(now, Input::WallClock(ahead), &mut outputs);
            }
            coordinator.handle(now, input, &mut outputs);
            if ctx.clock_offset().is_some() && coordinator.has_read_wall_clock() {
                ctx.absolute_time();
            }
            for output in outputs.drain(..) {
                self.follow(output, ctx);
            }
            self.outputs = outputs;
            if let Some(checkpoint) = self.triggered.take() {
                self.open_channels(checkpoint, ctx);
            }
        }
        self.coordinating = false;
        self.set_coordinator_timer(ctx);
        self.end_if_done(ctx);
    }

    pub(super) fn set_coordinator_timer<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        let due = self.coordinator.as_ref().and_then(|coordinator| coordinator.next_timeout());
        let now = ctx.relative_time();
        if let Some(due) = due
            && self.coordinator_timer.is_none_or(|set| due < set || set < now)
        {
            self.coordinator_timer = Some(due);
            self.set_clock_timer(due, Waiting::CoordinatorTimeout(due), ctx);
        }
    }

    fn follow<O: Observer>(
        &mut self,
        output: Output<SnapshotPayload>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let step = |step, checkpoint| Observation::Step {
            step,
            checkpoint: Some(checkpoint),
            subtask: None,
        };
        match output {
            Output::Poll => {
                let now = ctx.now();
                self.set_timer(now, Waiting::CoordinatorPoll, ctx);
            }
            Output::DrawId { token } => {
                let (checkpoint, subtask) = (None, None);
                self.observe(Observation::Step { step: Step::T1, checkpoint, subtask }, ctx);
                self.request(Waiting::IdDrawn(token), Request::NextCheckpointId, ctx);
            }
            Output::Pending { checkpoint, kind, participants: _ } => {
                self.pending.insert(checkpoint, kind);
                self.observe(step(Step::T3, checkpoint), ctx);
                let alignment = alignment(&self.plan.scenario.checkpointing, kind);
                self.observe(Observation::Triggered { checkpoint, kind, alignment }, ctx);
                self.observe(step(Step::T4, checkpoint), ctx);
            }
            // A directory of an object store needs no making.
            Output::MakeLocation { token, checkpoint, kind } => {
                let result = Ok(layout::Directory::of(checkpoint, kind).to_string().into());
                self.inbox.push_back(Input::LocationMade { token, result });
            }
            Output::Trigger { subtask: number, attempt: _, barrier } => {
                let checkpoint = barrier.checkpoint;
                let subtask = self.numbered(number);
                self.observe(
                    Observation::Step {
                        step: Step::T5,
                        checkpoint: Some(checkpoint),
                        subtask: Some(subtask),
                    },
                    ctx,
                );
                self.triggered = Some(checkpoint);
                match self.task_manager_of(subtask) {
                    Some(to) => {
                        let execution = self.execution.attempt(subtask);
                        let mail = Mail::Trigger(barrier);
                        let call = Call::Trigger { checkpoint, subtask: number };
                        self.call(to, Control::Mail { execution, subtask, mail }, call, ctx);
                    }
                    None => {
                        self.inbox.push_back(Input::TriggerFailed { checkpoint, subtask: number });
                    }
                }
            }
            Output::WriteMetadata { token, checkpoint } => {
                self.observe(step(Step::A2, checkpoint.id), ctx);
                self.observe(step(Step::F1, checkpoint.id), ctx);
                self.observe(step(Step::F2, checkpoint.id), ctx);
                self.write_metadata(token, &checkpoint, ctx);
            }
            Output::WritePointer { token, checkpoint, metadata } => {
                self.observe(step(Step::F3, checkpoint), ctx);
                let (bytes, metadata) = (metadata.size, metadata.path.to_string());
                let decision = Decision { checkpoint, metadata, bytes, unsure: false };
                self.write_pointer(token, decision, ctx);
            }
            Output::Stored { checkpoint } => self.observe(step(Step::F4, checkpoint), ctx),
            Output::Completed { checkpoint } => self.on_completed(checkpoint, ctx),
            Output::NotifyComplete { checkpoint, subtasks, subsumed, .. } => {
                if let (Some(checkpoint), Phase::Ending(_)) = (subsumed, self.phase) {
                    self.observe(Observation::Subsumed { checkpoint }, ctx);
                    ctx.tell_of_subsumed(checkpoint);
                }
                self.observe(step(Step::F5, checkpoint), ctx);
                self.tell_tasks(&subtasks, Mail::NotifyComplete(checkpoint), ctx);
                self.stop_behind(checkpoint, true, ctx);
            }
            Output::Failed { checkpoint, reason } => {
                self.pending.remove(&checkpoint);
                self.observe(step(Step::X1, checkpoint), ctx);
                self.observe(Observation::Failed { checkpoint, reason }, ctx);
                self.stop_behind(checkpoint, false, ctx);
            }
            Output::NotifyAborted { checkpoint, subtasks, latest_completed: _ } => {
                self.observe(step(Step::X3, checkpoint), ctx);
                self.tell_tasks(&subtasks, Mail::NotifyAborted(checkpoint), ctx);
                self.observe(step(Step::X4, checkpoint), ctx);
            }
            Output::FailedBeforeStart { reason } => {
                self.observe(Observation::RequestFailed { reason }, ctx);
            }
            Output::RequestFailed { request, reason } => {
                self.observe(Observation::RequestFailed { reason }, ctx);
                self.on_request_failed(request, ctx);
            }
            Output::RequestCompleted { request, checkpoint } => {
                self.on_request_completed(request, checkpoint, ctx);
            }
            Output::FailJob { task: _ } => {
                // A stop whose savepoint fails fails the job, whatever is tolerated.
                if self.phase == Phase::Running && !self.may_be_stopping() {
                    self.observe(Observation::TooManyFailures, ctx);
                }
                self.on_failure(ctx);
            }
            Output::Restored { checkpoint, scope } => match scope {
                RestoreScope::Global => self.on_restore_chosen(checkpoint.as_ref(), ctx),
                RestoreScope::Region { .. } => self.on_regions_chosen(checkpoint.as_ref(), ctx),
            },
            Output::RemovePointer { token, checkpoint } => {
                // While the job runs only subsumed checkpoints go; a leader may have found more of
                // them than it retains, and `NotifyComplete` names the newest alone. At the end
                // others go, too.
                let ends = matches!(self.phase, Phase::Ending(_) | Phase::Ended)
                    || self.plan.defects.has(Defect::D25) && self.phase == Phase::Suspending;
                if !ends {
                    self.observe(Observation::Subsumed { checkpoint }, ctx);
                    ctx.tell_of_subsumed(checkpoint);
                }
                let request = Request::RemovePointer { checkpoint };
                self.request(Waiting::PointerRemoved { token, checkpoint }, request, ctx);
            }
            Output::Discard { token, kind: _, checkpoint, files, location: _ } => {
                if let Some(checkpoint) = checkpoint {
                    self.observe(step(Step::X2, checkpoint), ctx);
                }
                self.discard(token, &files, ctx);
            }
            Output::FinalizeFailed { .. } => {}
            Output::SnapshotCoordinator { checkpoint, coordinator } => {
                self.enumerate(coordinator, enumerator::Input::Snapshot(checkpoint), ctx);
            }
            Output::AbortTriggering { coordinator } => {
                self.enumerate(coordinator, enumerator::Input::GivenUp, ctx);
            }
            Output::NotifyCoordinatorComplete { checkpoint, coordinator } => {
                self.enumerate(coordinator, enumerator::Input::Completed(checkpoint), ctx);
            }
            Output::NotifyCoordinatorAborted { checkpoint, coordinator } => {
                self.enumerate(coordinator, enumerator::Input::Aborted(checkpoint), ctx);
            }
            Output::ResetCoordinator { coordinator, checkpoint } => {
                self.reset_enumerator(coordinator, checkpoint.as_ref(), ctx);
            }
            Output::AcknowledgeRefused { checkpoint, subtask, error: _ } => {
                self.on_refused(checkpoint, subtask, ctx);
            }
        }
    }

    /// Tells the tasks that these subtasks run in, each once.
    fn tell_tasks<O: Observer>(
        &self,
        subtasks: &[SubtaskId],
        mail: Mail,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let subtasks = subtasks.iter().map(|number| self.numbered(*number));
        for head in subtasks.filter(|subtask| self.plan.graph.is_head(*subtask)) {
            self.send_mail(head, mail, ctx);
        }
    }

    pub(super) fn on_manual_trigger<O: Observer>(
        &mut self,
        index: usize,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if self.stop.is_some() {
            // As for a savepoint: tasks that have ended for the stop are not at their end.
            let reason = FailureReason::CheckpointCoordinatorSuspend;
            self.observe(Observation::RequestFailed { reason }, ctx);
            return;
        }
        let kind = self.plan.scenario.manual[index].kind;
        let request = Some(RequestId(index as u64));
        self.coordinate(Input::Trigger { request, kind, periodic: false }, ctx);
    }

    pub(super) fn on_id_drawn<O: Observer>(
        &mut self,
        token: Token,
        answer: Result<Answer, Refusal>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let result = match answer {
            Ok(Answer::CheckpointId(checkpoint)) => {
                self.observe(
                    Observation::Step {
                        step: Step::T2,
                        checkpoint: Some(checkpoint),
                        subtask: None,
                    },
                    ctx,
                );
                Ok(checkpoint)
            }
            Ok(_) | Err(_) => Err(WorkError::Io),
        };
        self.coordinate(Input::IdDrawn { token, result }, ctx);
    }

    /// One acknowledgement of a task. Flink: `TaskStateSnapshot`, the states by operator.
    pub(super) fn on_acknowledge<O: Observer>(
        &mut self,
        execution: u32,
        head: SubtaskId,
        checkpoint: CheckpointId,
        mut snapshot: SubtaskSnapshot,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let plan = Arc::clone(&self.plan);
        for subtask in plan.graph.chain_of(head) {
            let (step, subtask) = (Step::A1, Some(*subtask));
            self.observe(Observation::Step { step, checkpoint: Some(checkpoint), subtask }, ctx);
        }
        // It comes a second time: a checkpoint is complete when all have acknowledged it. What it names
        // may be the user's by now, or in use by later ones.
        if !self.plan.defects.has(Defect::D03) && ctx.was_told_of(checkpoint) {
            return;
        }
        if self.coordinator.as_ref().is_some_and(|coordinator| coordinator.is_shut_down()) {
            return self.on_late(snapshot.parts, ctx);
        }
        if self.number_of(head).is_none() {
            return self.on_late(snapshot.parts, ctx);
        }
        // The head last: only then is the task's part of the checkpoint complete.
        let (_, behind) = plan.graph.chain_of(head).split_first().expect("a task has a head");
        for subtask in behind {
            let operator = plan.graph.operator(*subtask);
            let (parts, others) =
                snapshot.parts.into_iter().partition(|part| part.operator == operator);
            snapshot.parts = others;
            let of_one = SubtaskSnapshot { parts, ..snapshot.clone_without_parts() };
            self.take_acknowledgement(execution, *subtask, checkpoint, of_one, ctx);
        }
        self.take_acknowledgement(execution, head, checkpoint, snapshot, ctx);
    }

    /// What one subtask has written for a checkpoint.
    fn take_acknowledgement<O: Observer>(
        &mut self,
        execution: u32,
        subtask: SubtaskId,
        checkpoint: CheckpointId,
        snapshot: SubtaskSnapshot,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let number = self.number_of(subtask).expect("as that of the head is this job's");
        let metrics = CheckpointMetrics {
            sync: snapshot.sync,
            asynchronous: snapshot.async_part,
            alignment: snapshot.alignment.map_or(VirtualDuration::ZERO, |it| it.duration),
            start_delay: snapshot.start_delay,
            processed: snapshot.alignment.map_or(0, |it| it.bytes),
            persisted: snapshot
                .parts
                .iter()
                .filter(|part| part.kind == PartKind::Channels)
                .map(|part| part.nominal)
                .sum(),
        };
        let attempt = Attempt(execution);
        let shared = snapshot.parts.iter().filter(|part| matches!(part.place, Place::Shared(_)));
        let shared: Vec<String> = shared.map(|part| part.path.clone()).collect();
        if !shared.is_empty() {
            self.acknowledging.insert((checkpoint, number), (attempt, shared));
        }
        let state = Some(subtask_state(snapshot.parts, snapshot.ended));
        let input = Input::Acknowledge { checkpoint, subtask: number, attempt, state, metrics };
        match self.coordinator {
            Some(_) => self.coordinate(input, ctx),
            None => return self.early.push(input),
        }
        self.acknowledging.remove(&(checkpoint, number));
    }

    /// A task refers to a file that the registry has let go of: it had not heard yet that the base of
    /// its snapshot was subsumed. Nobody else knows of the files it has uploaded.
    ///
    /// Deviation: the checkpoint is declined. In Flink `SharedStateRegistryImpl` throws, and the
    /// checkpoint runs into its timeout.
    fn on_refused<O: Observer>(
        &mut self,
        checkpoint: CheckpointId,
        subtask: SubtaskId,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let Some((attempt, shared)) = self.acknowledging.remove(&(checkpoint, subtask)) else {
            return; // It had uploaded nothing.
        };
        for path in shared {
            self.delete_late(path, ctx);
        }
        let reason = FailureReason::CheckpointDeclined;
        self.inbox.push_back(Input::Decline { checkpoint, subtask, attempt, reason });
    }

    /// What was acknowledged before there was a coordinator: to a former leader.
    ///
    /// Deviation: Flink refuses it by its fencing token, and its files stay for ever.
    pub(super) fn take_early<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        for input in std::mem::take(&mut self.early) {
            self.coordinate(input, ctx);
        }
        self.acknowledging.clear();
    }

    /// What is acknowledged after the end of the job, by a task that did not hear of it in time.
    ///
    /// Files of a log that were named before are left alone: they are those of completed checkpoints,
    /// too, which a job manager that has stepped down, or has not recovered yet, knows nothing about.
    ///
    /// Deviation: Flink's coordinator does not look at it, and its files stay for ever.
    pub(super) fn on_late<O: Observer>(
        &mut self,
        parts: Vec<Part>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        for part in parts.into_iter().filter(Part::is_unheard_of) {
            let handle = handle_of(&part);
            let mut coordinator = self.coordinator.iter();
            if !coordinator.any(|coordinator| coordinator.refers_to(&handle)) {
                self.delete_late(part.path, ctx);
            }
        }
    }

    pub(super) fn delete_late<O: Observer>(
        &mut self,
        path: String,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let waiting = Waiting::LateDeleted { path: path.clone() };
        self.request(waiting, Request::Delete { path }, ctx);
    }

    // ---- F2, F3, F4, X2 ----------------------------------------------------------------------

    fn write_metadata<O: Observer>(
        &mut self,
        token: Token,
        checkpoint: &CompletedCheckpoint<SnapshotPayload>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let bytes = metadata_of(self.layout(), checkpoint, self.plan.defects).encode();
        let path = metadata_path(checkpoint.id, checkpoint.kind);
        let nominal = bytes.len() as u64;
        let savepoint = checkpoint.kind == SnapshotKind::Savepoint;
        let waiting = Waiting::MetadataWritten { token, path: path.clone(), nominal, savepoint };
        let synced = self.plan.scenario.storage.sync.covers_metadata(self.plan.defects);
        // Flink: `FsCheckpointMetadataOutputStream` does not overwrite.
        let (purpose, if_absent) = (Purpose::Metadata, true);
        let request = Request::Put { path, bytes, nominal, purpose, synced, if_absent };
        self.request(waiting, request, ctx);
    }

    pub(super) fn on_metadata_written<O: Observer>(
        &mut self,
        token: Token,
        (path, size): (String, u64),
        savepoint: bool,
        answer: Result<Answer, Refusal>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let result = match answer {
            // For a plain savepoint this is the decision, and somebody else makes decisions now.
            Ok(_) if savepoint && !self.is_in_force(ctx) => {
                self.delete_late(path, ctx);
                Err(WorkError::Io)
            }
            Ok(_) => Ok(FileHandle { path: path.into(), size }),
            Err(refusal) => {
                // Flink: `FsCheckpointMetadataOutputStream#close` deletes what it could not finish.
                if refusal == Refusal::Unknown {
                    self.delete_late(path, ctx);
                }
                Err(WorkError::Io)
            }
        };
        self.coordinate(Input::MetadataWritten { token, result }, ctx);
    }

    fn write_pointer<O: Observer>(
        &mut self,
        token: Token,
        pointer: Decision,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let Decision { checkpoint, metadata, bytes, .. } = pointer.clone();
        let request = Request::AddPointer { checkpoint, metadata, bytes };
        self.request(Waiting::PointerWritten { token, pointer }, request, ctx);
    }

    pub(super) fn on_pointer_written<O: Observer>(
        &mut self,
        token: Token,
        pointer: Decision,
        answer: Result<Answer, Refusal>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let outcome = match answer {
            Ok(_) => PointerOutcome::Written,
            // It cannot be made any more, but it may have been.
            Err(Refusal::Fenced) if pointer.unsure => {
                return self.look_for_pointer(token, pointer.checkpoint, ctx);
            }
            Err(Refusal::Fenced) => PointerOutcome::Failed,
            // Deviation: a decision that may have been made is made once more, until it is known;
            // recoveries wait for it. Flink warns, keeps the files and goes on as if it had not been
            // made (`PossibleInconsistentStateException`): the job would go back behind the
            // checkpoint and abort its transactions, and the next leader would find it and restore
            // it.
            Err(refusal) if refusal == Refusal::Unknown || pointer.unsure => {
                return self.write_pointer(token, Decision { unsure: true, ..pointer }, ctx);
            }
            Err(_) => PointerOutcome::Failed,
        };
        self.coordinate(Input::PointerWritten { token, outcome }, ctx);
    }

    fn discard<O: Observer>(
        &mut self,
        token: Token,
        files: &[FileHandle],
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if files.is_empty() {
            self.inbox.push_back(Input::Discarded { token });
            return;
        }
        self.discards.insert(token, files.len());
        for file in files {
            self.delete(token, file.path.to_string(), ctx);
        }
    }

    /// Deviation: a deletion that fails is tried again. Flink logs the failure and leaves the file.
    pub(super) fn delete<O: Observer>(
        &mut self,
        token: Token,
        path: String,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let waiting = Waiting::Deleted { token, path: path.clone() };
        self.request(waiting, Request::Delete { path }, ctx);
    }

    pub(super) fn on_deleted<O: Observer>(
        &mut self,
        token: Token,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let left = self.discards.get_mut(&token).expect("a discard has files left until it ends");
        *left -= 1;
        if *left == 0 {
            self.discards.remove(&token);
            self.coordinate(Input::Discarded { token }, ctx);
        }
    }
}

/// The pointer that makes a checkpoint one that can be restored (F3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    checkpoint: CheckpointId,
    metadata: String,
    bytes: u64,
    /// It may have been written already.
    unsure: bool,
}

/// The inputs that wait for the coordinator while it is being answered.
pub(super) type Inbox = VecDeque<Input<SnapshotPayload>>;
