//! The split enumerators, which live where the job manager does: their events to the readers and
//! back, and their part in a checkpoint (T4, T5, R5).

use std::sync::Arc;

use cutline::coordinator::completed::Retained;
use cutline::coordinator::io;
use cutline::enumerator::{EventId, Input, Output, SplitEvent};
use cutline::ids::{CheckpointId, OperatorId, RegionId, SubtaskId};
use cutline::step::Step;
use cutline::storage::metadata::StateObject;
use cutline::task::subtask::Mail;

use super::{JobManager, SnapshotPayload, Waiting, translate};
use crate::engine::{Engine, Report};
use crate::observe::Observation;
use crate::world::{Context, Observer};

impl JobManager {
    /// Hands an input to an enumerator and does what it asks for.
    pub(super) fn enumerate<O: Observer>(
        &mut self,
        source: OperatorId,
        input: Input,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let Some(enumerator) = self.enumerators.get_mut(&source) else { return };
        let (mut outputs, mut failing) = (Vec::new(), Vec::new());
        let now = ctx.relative_time();
        enumerator.handle(now, input, &mut outputs);
        let due = enumerator.next_timeout();
        for output in outputs {
            match output {
                Output::Send { reader, id, event } => {
                    let first = self.layout().subtasks_of(source).start;
                    let subtask = SubtaskId(first + reader);
                    if let SplitEvent::Add(split) = event {
                        self.observe(Observation::SplitAssigned { subtask, split }, ctx);
                    }
                    // A task manager that is gone fails the reader, and the reset takes it back.
                    self.send_mail(subtask, Mail::Split { id, event }, ctx);
                }
                Output::FailReader { reader } => {
                    failing.push(SubtaskId(self.layout().subtasks_of(source).start + reader));
                }
                Output::Captured { checkpoint, state } => {
                    let discovery = self.plan.discovery(source);
                    let at = ctx.now() + discovery.map(|it| it.snapshot).unwrap_or_default();
                    self.set_timer(at, Waiting::Captured { source, checkpoint, state }, ctx);
                }
            }
        }
        if let Some(due) = due.filter(|due| *due > now)
            && self.discovering.insert(source, due) != Some(due)
        {
            self.set_clock_timer(due, Waiting::Discovery(source), ctx);
        }
        for subtask in failing {
            self.on_report(self.execution.attempt(subtask), subtask, Report::Failed, ctx);
        }
    }

    /// A reader has no split left.
    pub(super) fn on_split_request<O: Observer>(
        &mut self,
        execution: u32,
        subtask: SubtaskId,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if self.is_running(subtask, execution) {
            let graph = &self.plan.graph;
            let (source, reader) = (graph.operator(subtask), graph.index_in_operator(subtask));
            self.enumerate(source, Input::Request { reader }, ctx);
        }
    }

    /// An event has arrived at its reader.
    pub(super) fn on_event_arrived<O: Observer>(
        &mut self,
        subtask: SubtaskId,
        id: EventId,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        self.enumerate(self.plan.graph.operator(subtask), Input::Arrived(id), ctx);
    }

    /// T4 is done for one enumerator.
    pub(super) fn on_captured<O: Observer>(
        &mut self,
        source: OperatorId,
        checkpoint: CheckpointId,
        state: Vec<u8>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let nominal = state.len() as u64;
        let object = StateObject::Inline { bytes: state, nominal };
        let result = Ok(translate::coordinator_state(source, &object));
        let input = io::Input::CoordinatorSnapshot { checkpoint, coordinator: source, result };
        self.coordinate(input, ctx);
    }

    /// T5 is done: behind the triggers, events may pass again.
    pub(super) fn open_channels<O: Observer>(
        &mut self,
        checkpoint: CheckpointId,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        for source in self.enumerators.keys().copied().collect::<Vec<_>>() {
            self.enumerate(source, Input::Open(checkpoint), ctx);
        }
    }

    /// R5.
    pub(super) fn reset_enumerator<O: Observer>(
        &mut self,
        source: OperatorId,
        to: Option<&Retained<SnapshotPayload>>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let checkpoint = to.map(|retained| retained.checkpoint.id);
        self.observe(Observation::Step { step: Step::R5, checkpoint, subtask: None }, ctx);
        let state = to.and_then(|retained| retained.checkpoint.coordinator(source));
        let state = state.and_then(|state| translate::bytes_of(state).map(<[u8]>::to_vec));
        self.enumerate(source, Input::Reset(state), ctx);
    }

    /// A region begins again, and with it some readers; the enumerators go on. Flink:
    /// `SchedulerBase#notifyCoordinatorsOfSubtaskRestore`.
    pub(super) fn reset_readers<O: Observer>(
        &mut self,
        region: RegionId,
        restored: Option<CheckpointId>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let plan = Arc::clone(&self.plan);
        for subtask in plan.graph.regions().subtasks(region) {
            let (source, reader) =
                (plan.graph.operator(*subtask), plan.graph.index_in_operator(*subtask));
            self.enumerate(source, Input::SubtaskReset { reader, restored }, ctx);
        }
    }
}
