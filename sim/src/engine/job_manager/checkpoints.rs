//! The coordinator's work, carried to the stores and the tasks and back.

use std::collections::VecDeque;
use std::sync::Arc;

use cutline::config::{self, CheckpointingOptions};
use cutline::coordinator::CoordinatorConfig;
use cutline::coordinator::completed::{CompletedCheckpoint, Retained, Retention, StoreKind};
use cutline::coordinator::io::{Input, Output, PointerOutcome, Token, WorkError};
use cutline::coordinator::plan::{Edge, Pattern, Topology, Vertex};
use cutline::coordinator::statistics::CheckpointMetrics;
use cutline::defect::{Defect, Defects};
use cutline::enumerator;
use cutline::ids::{Attempt, CheckpointId, OperatorId, SubtaskId};
use cutline::job::{Layout, Partitioner};
use cutline::message::{FailureReason, SnapshotKind};
use cutline::step::Step;
use cutline::storage::handle::{FileHandle, SharedFile, SharedHandle, SubtaskState};
use cutline::storage::layout;
use cutline::storage::metadata::{
    Metadata, OperatorMetadata, StateHandle, StateObject, SubtaskMetadata,
};
use cutline::task::snapshots::PartKind;
use cutline::task::subtask::Mail;
use cutline::time::{VirtualDuration, VirtualTime};
use cutline::trigger::decider::RequestId;

use super::calls::Call;
use super::{JobManager, Phase, SnapshotPayload, Waiting, enumerators};
use crate::engine::plan::Plan;
use crate::engine::{Control, Engine, Part, Place, SubtaskSnapshot};
use crate::observe::Observation;
use crate::world::{Answer, Context, Observer, Ownership, Pointer, Purpose, Refusal, Request};

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
            coordinator.handle(ctx.now(), input, &mut outputs);
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
        if let Some(due) = due
            && self.coordinator_timer.is_none_or(|set| due < set || set < ctx.now())
        {
            self.coordinator_timer = Some(due);
            self.set_timer(due, Waiting::CoordinatorTimeout(due), ctx);
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
                    Some((_, to)) => {
                        let (execution, mail) = (self.execution.number, Mail::Trigger(barrier));
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
                for number in subtasks {
                    let mail = Mail::NotifyComplete(checkpoint);
                    self.send_mail(self.numbered(number), mail, ctx);
                }
            }
            Output::Failed { checkpoint, reason } => {
                self.pending.remove(&checkpoint);
                self.observe(step(Step::X1, checkpoint), ctx);
                self.observe(Observation::Failed { checkpoint, reason }, ctx);
            }
            Output::NotifyAborted { checkpoint, subtasks, latest_completed: _ } => {
                self.observe(step(Step::X3, checkpoint), ctx);
                for number in subtasks {
                    let mail = Mail::NotifyAborted(checkpoint);
                    self.send_mail(self.numbered(number), mail, ctx);
                }
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
            Output::FailJob { task: _ } => self.on_failure(ctx),
            Output::Restored { checkpoint, scope: _ } => {
                self.on_restore_chosen(checkpoint.as_ref(), ctx);
            }
            Output::RemovePointer { token, checkpoint } => {
                // While the job runs only subsumed checkpoints go; a leader may have found more of
                // them than it retains, and `NotifyComplete` names the newest alone. At the end
                // others go, too.
                if !matches!(self.phase, Phase::Ending(_) | Phase::Ended) {
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
                self.enumerate(coordinator, enumerator::Input::Open(checkpoint), ctx);
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

    pub(super) fn on_acknowledge<O: Observer>(
        &mut self,
        execution: u32,
        subtask: SubtaskId,
        checkpoint: CheckpointId,
        snapshot: SubtaskSnapshot,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        self.observe(
            Observation::Step {
                step: Step::A1,
                checkpoint: Some(checkpoint),
                subtask: Some(subtask),
            },
            ctx,
        );
        // It comes a second time: a checkpoint is complete when all have acknowledged it. What it names
        // may be the user's by now, or in use by later ones.
        if ctx.was_told_of(checkpoint) {
            return;
        }
        if self.coordinator.as_ref().is_some_and(|coordinator| coordinator.is_shut_down()) {
            return self.on_late(snapshot.parts, ctx);
        }
        let Some(number) = self.number_of(subtask) else {
            return self.on_late(snapshot.parts, ctx);
        };
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
    /// Deviation: Flink's coordinator does not look at it, and its files stay for ever.
    pub(super) fn on_late<O: Observer>(
        &mut self,
        parts: Vec<Part>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        for part in parts.into_iter().filter(Part::is_new_file) {
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
        let request = Request::Put { path, bytes, nominal, purpose: Purpose::Metadata };
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

fn handle_of(part: &Part) -> FileHandle {
    FileHandle { path: part.path.as_str().into(), size: part.nominal }
}

fn subtask_state(parts: Vec<Part>, ended: bool) -> SubtaskState<SnapshotPayload> {
    let private = parts.iter().filter(|part| part.place == Place::File);
    SubtaskState {
        private: private.map(handle_of).collect(),
        shared: parts.iter().filter_map(shared_file).collect(),
        payload: SnapshotPayload { parts, ended },
    }
}

fn shared_file(part: &Part) -> Option<SharedFile> {
    let handle = match &part.place {
        Place::Shared(_) => SharedHandle::File(handle_of(part)),
        Place::Known(_) if part.path.is_empty() => SharedHandle::Placeholder,
        Place::Known(_) => SharedHandle::File(handle_of(part)),
        Place::File | Place::Inline(_) => return None,
    };
    part.key().map(|key| SharedFile { key: key.clone(), handle })
}

/// The parts of a state that the coordinator has taken in: the registry knows where shared files are.
pub(super) fn parts_of(state: &SubtaskState<SnapshotPayload>) -> impl Iterator<Item = Part> {
    let mut shared = state.shared.iter();
    state.payload.parts.iter().cloned().map(move |mut part| {
        if let Some(key) = part.key().cloned() {
            let file = shared.next().expect("each shared part was registered");
            assert_eq!(file.key, key, "files are registered in the order of the parts");
            let SharedHandle::File(handle) = &file.handle else {
                unreachable!("placeholders were replaced when they were registered (F1)")
            };
            part.path = handle.path.to_string();
            part.place = Place::Shared(key);
        }
        part
    })
}

/// What the coordinator will ask of barriers; for the observation only.
fn alignment(options: &CheckpointingOptions, kind: SnapshotKind) -> cutline::message::Alignment {
    use cutline::message::Alignment;
    if !options.exactly_once {
        Alignment::AtLeastOnce
    } else if kind.is_savepoint() || !options.unaligned {
        Alignment::Aligned
    } else if options.aligned_timeout.is_zero() {
        Alignment::Unaligned
    } else {
        Alignment::AlignedWithTimeout(options.aligned_timeout)
    }
}

pub(super) fn coordinator_config(
    options: &CheckpointingOptions,
    store: StoreKind,
    defects: Defects,
) -> CoordinatorConfig {
    CoordinatorConfig {
        defects,
        max_concurrent: options.max_concurrent as usize,
        min_pause: options.min_pause,
        timeout: options.timeout,
        exactly_once: options.exactly_once,
        unaligned: options.unaligned,
        aligned_timeout: Some(options.aligned_timeout).filter(|timeout| !timeout.is_zero()),
        after_tasks_finish: options.checkpoints_after_tasks_finish,
        tolerable_failures: Some(u64::from(options.tolerable_failures)),
        max_retained: options.retained as usize,
        retention: retention(options),
        store,
        stores_stops: true,
        drains_shared: true,
        drops_outlived: true,
    }
}

/// The metadata file of a snapshot.
pub(super) fn metadata_path(checkpoint: CheckpointId, kind: SnapshotKind) -> String {
    layout::Path::Metadata(layout::Directory::of(checkpoint, kind)).to_string()
}

fn retention(options: &CheckpointingOptions) -> Retention {
    match options.retention {
        config::Retention::RetainOnCancellation => Retention::RetainOnCancellation,
        config::Retention::DeleteOnCancellation => Retention::RetainOnFailure,
        config::Retention::NoExternalized => Retention::NeverRetainAfterTermination,
    }
}

pub(super) fn topology(layout: &Layout) -> Topology {
    let job = layout.job();
    let vertex = |(index, operator): (usize, &cutline::job::JobOperator)| Vertex {
        operator: OperatorId(index as u32),
        parallelism: operator.parallelism,
    };
    let edge = |edge: &cutline::job::Edge| Edge {
        from: edge.from.index(),
        to: edge.to.index(),
        pattern: match edge.partitioner {
            Partitioner::Forward | Partitioner::Rescale => Pattern::Pointwise,
            Partitioner::Hash | Partitioner::Rebalance | Partitioner::Broadcast => {
                Pattern::AllToAll
            }
        },
    };
    Topology {
        vertices: job.operators().iter().enumerate().map(vertex).collect(),
        edges: job.edges().iter().map(edge).collect(),
    }
}

fn metadata_of(
    layout: &Layout,
    checkpoint: &CompletedCheckpoint<SnapshotPayload>,
    defects: Defects,
) -> Metadata {
    let first = layout.subtasks().start;
    let mut subtasks = vec![SubtaskMetadata::default(); layout.subtasks().len()];
    for finished in &checkpoint.finished {
        subtasks[finished.index()].finished = true;
    }
    for (subtask, state) in &checkpoint.subtasks {
        let Some(state) = state else { continue };
        let metadata = &mut subtasks[subtask.index()];
        metadata.ended = state.payload.ended;
        metadata.finished |=
            defects.has(Defect::D85) && checkpoint.kind == SnapshotKind::SavepointSuspend;
        for Part { kind, path, bytes, nominal, checksum, place, .. } in parts_of(state) {
            let handle = StateHandle { path, bytes, nominal, checksum };
            let object = match place {
                Place::File => StateObject::File(handle),
                Place::Shared(key) | Place::Known(key) => StateObject::Shared { key, handle },
                Place::Inline(bytes) => StateObject::Inline { bytes, nominal },
            };
            match kind {
                PartKind::Operator => metadata.state.push(object),
                PartKind::Channels => metadata.channels.push(object),
            }
        }
    }
    let operators = layout.job().operators().iter().enumerate().map(|(index, operator)| {
        let range = layout.subtasks_of(OperatorId(index as u32));
        let range = (range.start - first) as usize..(range.end - first) as usize;
        OperatorMetadata {
            name: operator.name.clone(),
            max_parallelism: operator.max_parallelism,
            coordinator: enumerators::state_object(checkpoint, OperatorId(index as u32)),
            subtasks: subtasks[range].to_vec(),
        }
    });
    let empty = |operator: &OperatorMetadata| {
        operator.subtasks.iter().all(|subtask| *subtask == SubtaskMetadata::default())
    };
    let operators = operators.filter(|it| !(defects.has(Defect::D97) && empty(it)));
    Metadata {
        checkpoint: checkpoint.id,
        kind: checkpoint.kind,
        timestamp: checkpoint.timestamp,
        operators: operators.collect(),
    }
}

/// The parallelism of each operator when a checkpoint was taken. One that the metadata does not know
/// has none to remember.
pub(super) fn parallelism_of(layout: &Layout, metadata: &Metadata) -> Vec<u32> {
    let known = |name: &str| metadata.operators.iter().find(|operator| operator.name == name);
    let operators = layout.job().operators().iter();
    let parallelism = operators.map(|operator| match known(&operator.name) {
        Some(stored) => stored.parallelism(),
        None => operator.parallelism,
    });
    parallelism.collect()
}

/// A completed checkpoint as its metadata file describes it. Its subtasks are numbered through as
/// those of a job with the parallelism that it was taken with.
pub(super) fn retained_from(
    (plan, parallelism): (&Plan, &[u32]),
    metadata: &Metadata,
    pointer: Pointer,
    size: u64,
) -> Retained<SnapshotPayload> {
    let mut subtasks = Vec::new();
    let mut finished = Vec::new();
    let of = |operator: &OperatorMetadata| {
        plan.operator_named(&operator.name).expect("a checkpoint of this job")
    };
    for operator in &metadata.operators {
        let at = of(operator);
        let first: u32 = parallelism[..at.index()].iter().sum();
        for (number, subtask) in operator.subtasks.iter().enumerate() {
            let id = SubtaskId(first + number as u32);
            if subtask.finished {
                finished.push(id);
                continue;
            }
            let parts = |kind, objects: &[StateObject]| -> Vec<Part> {
                let part = |object| part_of(kind, (at, number as u32), object);
                objects.iter().map(part).collect()
            };
            let mut all = parts(PartKind::Operator, &subtask.state);
            all.extend(parts(PartKind::Channels, &subtask.channels));
            subtasks.push((id, Some(subtask_state(all, subtask.ended))));
        }
    }
    let coordinator = |operator: &OperatorMetadata| {
        let object = operator.coordinator.as_ref()?;
        let part = part_of(PartKind::Operator, (of(operator), 0), object);
        Some((of(operator), subtask_state(vec![part], false)))
    };
    let Pointer { metadata: path, ownership, .. } = pointer;
    let checkpoint = CompletedCheckpoint {
        id: metadata.checkpoint,
        kind: match ownership {
            // A savepoint that the job has taken over is one of its checkpoints.
            Ownership::Claimed if metadata.kind.is_savepoint() => SnapshotKind::Checkpoint,
            Ownership::Claimed | Ownership::Unclaimed | Ownership::Taker => metadata.kind,
        },
        timestamp: metadata.timestamp,
        acknowledged_at: VirtualTime::ZERO,
        retention: retention(&plan.scenario.checkpointing),
        unclaimed: ownership == Ownership::Unclaimed,
        location: layout::Directory::of(metadata.checkpoint, metadata.kind).to_string().into(),
        subtasks,
        finished,
        finished_operators: metadata
            .operators
            .iter()
            .filter(|operator| operator.is_finished())
            .map(of)
            .collect(),
        coordinators: metadata.operators.iter().filter_map(coordinator).collect(),
    };
    Retained { checkpoint: Arc::new(checkpoint), metadata: FileHandle { path: path.into(), size } }
}

fn part_of(kind: PartKind, (operator, subtask): (OperatorId, u32), object: &StateObject) -> Part {
    let (handle, place) = match object {
        StateObject::File(handle) => (handle.clone(), Place::File),
        StateObject::Shared { key, handle } => (handle.clone(), Place::Shared(key.clone())),
        StateObject::Inline { bytes, nominal } => {
            (StateHandle::new(String::new(), bytes, *nominal), Place::Inline(bytes.clone()))
        }
    };
    let StateHandle { path, bytes, nominal, checksum } = handle;
    Part { kind, operator, subtask, path, bytes, nominal, checksum, place }
}

/// The inputs that wait for the coordinator while it is being answered.
pub(super) type Inbox = VecDeque<Input<SnapshotPayload>>;
