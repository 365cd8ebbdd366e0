//! Executions: slots, deployment (R4), failure and restart (R1).

use std::ops::Range;
use std::sync::Arc;

use cutline::coordinator::completed::{CompletedCheckpoint, JobStatus, Retained};
use cutline::coordinator::io::{self, RestoreScope};
use cutline::coordinator::plan::ExecutionState;
use cutline::ids::{Attempt, OperatorId, RegionId, SubtaskId};
use cutline::job::ExecutionGraph;
use cutline::job::assignment::{Assignment, Redistribution};
use cutline::restart::{Decision, RestartBackoff};
use cutline::step::Step;
use cutline::storage::handle::SubtaskState;
use cutline::task::snapshots::PartKind;
use cutline::trigger::adaptive::IntervalPolicy;

use super::calls::Call;
use super::{EXECUTIONS_PER_LEADER, JobManager, Phase, SnapshotPayload, Waiting, translate};
use crate::engine::{Control, Deployment, Engine, Part, Report};
use crate::observe::{JobEnd, Observation};
use crate::world::{Answer, Context, Observer, Refusal, Request};

/// What runs where.
#[derive(Debug)]
pub(super) struct Execution {
    /// Grows with every deployment, of the whole job or of some regions, across leaders; the attempt
    /// of all subtasks deployed then.
    pub(super) number: u32,
    /// The first of the job that is being run.
    pub(super) first: u32,
    /// The task manager of each slot of the job.
    pub(super) slots: Vec<Option<u32>>,
    /// The attempt of each subtask that there ever is, in any layout.
    pub(super) attempts: Vec<u32>,
    /// The task manager of each of them.
    pub(super) places: Vec<Option<u32>>,
    pub(super) states: Vec<ExecutionState>,
}

impl Execution {
    pub(super) fn new(subtasks: usize) -> Self {
        Self {
            number: 0,
            first: 0,
            slots: Vec::new(),
            attempts: vec![0; subtasks],
            places: vec![None; subtasks],
            states: vec![ExecutionState::Created; subtasks],
        }
    }

    /// Starts the numbers of a leader.
    pub(super) fn lead(&mut self, session: u64) {
        self.number = (session as u32 - 1) * EXECUTIONS_PER_LEADER;
    }

    pub(super) fn attempt(&self, subtask: SubtaskId) -> u32 {
        self.attempts[subtask.index()]
    }

    pub(super) fn place(&self, subtask: SubtaskId) -> Option<u32> {
        self.places[subtask.index()]
    }

    /// Those of the present subtasks that have not finished, by index.
    pub(super) fn unfinished(
        &self,
        present: Range<usize>,
    ) -> impl Iterator<Item = (usize, ExecutionState)> {
        let states = present.map(|index| (index, self.states[index]));
        states.filter(|(_, state)| *state != ExecutionState::Finished)
    }

    /// Those of the present subtasks that have not finished and are on a task manager.
    pub(super) fn unfinished_on(
        &self,
        present: Range<usize>,
        number: u32,
    ) -> impl Iterator<Item = SubtaskId> {
        let there = self.unfinished(present).map(|(index, _)| index);
        let there = there.filter(move |index| self.places[*index] == Some(number));
        there.map(|index| SubtaskId(index as u32))
    }
}

/// A checkpoint that is about to be restored.
struct ToRestore<'a> {
    checkpoint: &'a CompletedCheckpoint<SnapshotPayload>,
    /// Its parallelism is not the job's.
    rescaling: Option<Arc<Assignment>>,
    /// The number of the first subtask of each operator when it was taken.
    first: Vec<u32>,
    /// By that number.
    states: Vec<Option<&'a SubtaskState<SnapshotPayload>>>,
}

impl ToRestore<'_> {
    fn parts(&self, operator: OperatorId, index: u32) -> impl Iterator<Item = Part> {
        let number = self.first[operator.index()] + index;
        let state = self.states.get(number as usize).copied().flatten();
        state.into_iter().flat_map(translate::parts_of)
    }

    fn parts_of(
        &self,
        (operator, index): (OperatorId, u32),
        kind: PartKind,
    ) -> impl Iterator<Item = Part> {
        self.parts(operator, index).filter(move |part| part.kind == kind)
    }

    /// An operator that has changed had finished altogether, or not at all.
    fn finished(&self, operator: OperatorId, index: u32) -> bool {
        let number = SubtaskId(self.first[operator.index()] + index);
        let changed = self.rescaling.as_ref().is_some_and(|it| it.changes(operator));
        match changed {
            true => self.checkpoint.finished_operators.contains(&operator),
            false => self.checkpoint.finished.contains(&number),
        }
    }
}

impl JobManager {
    /// Deploys the job if it waits for slots and there are enough.
    pub(super) fn begin_if_ready<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        self.restart_regions_if_ready(ctx);
        if self.phase == Phase::Waiting && self.has_slots() {
            self.phase = Phase::Choosing;
            self.coordinate(io::Input::Restore { scope: RestoreScope::Global }, ctx);
        }
    }

    fn has_slots(&self) -> bool {
        let needed =
            self.layout().job().operators().iter().map(|operator| operator.parallelism).max();
        let slots = self.task_managers.len() as u32 * self.plan.scenario.cluster.slots;
        needed.is_some_and(|needed| slots >= needed)
    }

    /// R2 is done: the coordinator has chosen. R4: deploys every subtask.
    pub(super) fn on_restore_chosen<O: Observer>(
        &mut self,
        chosen: Option<&Retained<SnapshotPayload>>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if self.phase != Phase::Choosing {
            return; // The job was cancelled meanwhile.
        }
        if !self.has_slots() {
            // The choice had to wait for a pointer write, and a task manager was lost meanwhile.
            self.phase = Phase::Waiting;
            return;
        }
        let checkpoint = chosen.map(|retained| retained.checkpoint.id);
        self.execution.number += 1;
        let step = |step| Observation::Step { step, checkpoint, subtask: None };
        self.observe(step(Step::R2), ctx);
        if self.is_in_force(ctx) {
            ctx.begin_execution(self.execution.number, checkpoint);
        }
        self.observe(Observation::RestoreChosen { checkpoint }, ctx);
        self.observe(step(Step::R3), ctx);
        self.assign_slots();
        self.phase = Phase::Running;
        self.deploy(self.layout().subtasks().map(SubtaskId), chosen, ctx);
        self.start_checkpoints(ctx);
    }

    /// R4: new attempts of these subtasks, of the newest execution.
    pub(super) fn deploy<O: Observer>(
        &mut self,
        subtasks: impl Iterator<Item = SubtaskId>,
        chosen: Option<&Retained<SnapshotPayload>>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let checkpoint = chosen.map(|retained| retained.checkpoint.id);
        let restored = chosen.map(|retained| self.to_restore(&retained.checkpoint));
        let execution = self.execution.number;
        for subtask in subtasks {
            self.execution.attempts[subtask.index()] = execution;
            self.set_state(subtask, ExecutionState::Deploying, ctx);
            self.observe(
                Observation::Step { step: Step::R4, checkpoint, subtask: Some(subtask) },
                ctx,
            );
            if !self.plan.graph.is_head(subtask) {
                continue; // It runs in the task of its head, and is deployed with it.
            }
            let deployment = self.deployment(subtask, restored.as_ref());
            let to = self.task_manager_of(subtask).expect("slots are on known processes");
            let call = Call::Deploy { execution, subtask };
            self.call(to, Control::Deploy(Box::new(deployment)), call, ctx);
        }
    }

    pub(super) fn start_checkpoints<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        if self.plan.is_checkpointed() {
            self.say_backlog(ctx);
            let delay = self.initial_delay();
            self.coordinate(io::Input::Start { delay }, ctx);
        }
    }

    /// The sources say whether they work off a backlog, and when it is over.
    fn say_backlog<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        let policy = self.plan.scenario.checkpointing.policy;
        if let Some(until) = policy.and_then(|policy| policy.backlog_until())
            && ctx.now() < until
        {
            self.on_backlog(true, ctx);
            self.set_timer(until, Waiting::BacklogOver, ctx);
        }
    }

    pub(super) fn on_backlog<O: Observer>(&mut self, on: bool, ctx: &mut Context<'_, Engine, O>) {
        self.observe(Observation::Backlog { on }, ctx);
        let graph = &self.plan.graph;
        let is_source = |it: &OperatorId| graph.is_source(graph.subtask(*it, 0));
        let sources: Vec<OperatorId> = self.operators().filter(is_source).collect();
        for source in sources {
            self.coordinate(io::Input::Backlog { source, on }, ctx);
        }
    }

    /// Flink draws the first delay between the minimum pause and the interval, which is the policy's.
    fn initial_delay(&mut self) -> cutline::time::VirtualDuration {
        let options = &self.plan.scenario.checkpointing;
        let least = options.min_pause.as_nanos();
        let interval = IntervalPolicy::at_first(options.policy, options.interval);
        let most = interval.map_or(least, |interval| interval.as_nanos().max(least));
        let draws = self.draws.as_mut().expect("made at the start");
        let drawn = cutline::time::VirtualDuration(draws.between(least, most));
        options.initial_delay.unwrap_or(drawn)
    }

    /// Slot sharing: slot k holds subtask k of each operator; the slots are taken from the task
    /// managers in turn, so that the load is spread.
    fn assign_slots(&mut self) {
        let slots = self.plan.scenario.cluster.slots;
        let mut free: Vec<u32> =
            (0..slots).flat_map(|_| self.task_managers.keys().copied()).collect();
        let mut chosen = self.slots_again(&mut free);
        let empty = chosen.iter_mut().filter(|slot| slot.is_none());
        empty.zip(free).for_each(|(slot, number)| *slot = Some(number));
        for operator in self.operators() {
            for (subtask, number) in self.layout().subtasks_of(operator).zip(&chosen) {
                self.execution.places[subtask as usize] = *number;
            }
        }
        self.execution.slots = chosen;
    }

    /// For each slot, the task manager that had it, if copies are kept and it is there.
    /// Flink: `PreviousAllocationSlotSelectionStrategy`.
    fn slots_again(&self, free: &mut Vec<u32>) -> Vec<Option<u32>> {
        let layout = self.layout();
        let needed = self.operators().map(|operator| layout.parallelism(operator)).max();
        let mut chosen = vec![None; needed.unwrap_or(0) as usize];
        if !self.plan.scenario.checkpointing.local_recovery {
            return chosen;
        }
        for operator in self.operators() {
            for (slot, subtask) in layout.subtasks_of(operator).enumerate() {
                let before = self.execution.places[subtask as usize];
                if chosen[slot].is_none()
                    && let Some(at) = free.iter().position(|number| Some(*number) == before)
                {
                    chosen[slot] = Some(free.remove(at));
                }
            }
        }
        chosen
    }

    fn operators(&self) -> impl Iterator<Item = OperatorId> + use<> {
        (0..self.plan.graph.job().operators().len() as u32).map(OperatorId)
    }

    /// R4: who gets what of a checkpoint. Flink: `StateAssignmentOperation`.
    fn to_restore<'a>(
        &self,
        checkpoint: &'a CompletedCheckpoint<SnapshotPayload>,
    ) -> ToRestore<'a> {
        let now = self.layout().job().parallelism();
        let before = self.parallelism_found.get(&checkpoint.id).unwrap_or(&now);
        let rescaling = (*before != now).then(|| {
            let spread = |numbers: &[u32]| {
                let job = self.layout().job().with_parallelism(numbers);
                ExecutionGraph::new(job.expect("the job has run with this parallelism"))
            };
            Arc::new(Assignment::new(spread(before), spread(&now), self.plan.defects))
        });
        let first = (0..before.len()).map(|at| before[..at].iter().sum()).collect();
        let last = checkpoint.subtasks.last().map_or(0, |(subtask, _)| subtask.index() + 1);
        let mut states = vec![None; last];
        for (subtask, state) in &checkpoint.subtasks {
            states[subtask.index()] = state.as_ref();
        }
        ToRestore { checkpoint, rescaling, first, states }
    }

    /// What a task is to begin with; of a chain, all of it.
    fn deployment(&self, head: SubtaskId, restored: Option<&ToRestore<'_>>) -> Deployment {
        let places = &self.execution.places;
        let is_beside = |it: &SubtaskId| places[it.index()] == places[head.index()];
        let mut deployment = Deployment {
            execution: self.execution.attempt(head),
            first_execution: self.execution.first,
            subtask: head,
            beside: self.layout().subtasks().map(SubtaskId).filter(is_beside).collect(),
            restored: None,
            parts: Vec::new(),
            finished: false,
            finished_in_part: false,
            rescaling: None,
        };
        let Some(restored) = restored else { return deployment };
        deployment.restored = Some(restored.checkpoint.id);
        deployment.rescaling = restored.rescaling.clone();
        let graph = &self.plan.graph;
        let chain = graph.chain_of(head);
        let finished = |subtask: &&SubtaskId| {
            restored.finished(graph.operator(**subtask), graph.index_in_operator(**subtask))
        };
        let finished = chain.iter().filter(finished).count();
        deployment.finished = finished == chain.len();
        deployment.finished_in_part = finished > 0 && !deployment.finished;
        for subtask in chain {
            self.add_parts(*subtask, *subtask == head, restored, &mut deployment.parts);
        }
        deployment
    }

    fn add_parts(
        &self,
        subtask: SubtaskId,
        is_head: bool,
        restored: &ToRestore<'_>,
        parts: &mut Vec<Part>,
    ) {
        let graph = &self.plan.graph;
        let (operator, index) = (graph.operator(subtask), graph.index_in_operator(subtask));
        let how = self.plan.redistribution(operator);
        match &restored.rescaling {
            None if how == Redistribution::Union => {
                for old in 0..self.layout().parallelism(operator) {
                    parts.extend(restored.parts_of((operator, old), PartKind::Operator));
                }
                parts.extend(restored.parts_of((operator, index), PartKind::Channels));
            }
            None => parts.extend(restored.parts(operator, index)),
            Some(rescaling) => {
                for old in rescaling.state_of(operator, index, how) {
                    parts.extend(restored.parts_of((operator, old), PartKind::Operator));
                }
                // Nothing was in flight between operators that are chained.
                let in_flight = rescaling.in_flight_of(operator, index).into_iter();
                for old in in_flight.filter(|(of, _)| is_head || *of == operator) {
                    parts.extend(restored.parts_of(old, PartKind::Channels));
                }
            }
        }
    }

    /// A task has come to another state, and with it all of its chain: the tail first, so that the head
    /// is the last to be missed.
    fn set_state_of_task<O: Observer>(
        &mut self,
        head: SubtaskId,
        state: ExecutionState,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let plan = Arc::clone(&self.plan);
        for subtask in plan.graph.chain_of(head).iter().rev() {
            self.set_state(*subtask, state, ctx);
        }
    }

    pub(super) fn set_state<O: Observer>(
        &mut self,
        subtask: SubtaskId,
        state: ExecutionState,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        self.execution.states[subtask.index()] = state;
        let attempt = Attempt(self.execution.attempt(subtask));
        let subtask = self.number_of(subtask).expect("the present execution is of this job");
        self.coordinate(io::Input::TaskState { subtask, attempt, state }, ctx);
    }

    pub(super) fn on_report<O: Observer>(
        &mut self,
        execution: u32,
        subtask: SubtaskId,
        report: Report,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let finished = self.execution.states[subtask.index()] == ExecutionState::Finished;
        if !self.is_running(subtask, execution) || finished && report == Report::Gone {
            return;
        }
        let region = self.plan.graph.regions().of(subtask);
        match report {
            Report::Running => self.set_state_of_task(subtask, ExecutionState::Running, ctx),
            Report::Failed | Report::FailedForGood | Report::Gone => {
                self.set_state_of_task(subtask, ExecutionState::Failed, ctx);
                let attempt = Attempt(execution);
                let subtask = self.number_of(subtask).expect("as it is this execution's");
                self.coordinate(io::Input::TaskFailed { subtask, attempt }, ctx);
                match report == Report::FailedForGood {
                    true => self.fail_job(ctx),
                    false => self.on_region_failure(region, ctx),
                }
            }
            Report::Finished => {
                self.set_state_of_task(subtask, ExecutionState::Finished, ctx);
                if self.execution.unfinished(self.layout().indices()).next().is_none() {
                    let end = self.finished_how(ctx);
                    self.end(end, ctx);
                }
            }
        }
    }

    /// A task manager is gone, or has ended its tasks.
    pub(super) fn on_task_manager_lost<O: Observer>(
        &mut self,
        number: u32,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let Some(lost) = self.task_managers.remove(&number) else { return };
        if self.plan.scenario.cluster.rpc_failures.is_some() {
            ctx.observe(Observation::WorkerLost { process: lost.process.0 });
        }
        match self.phase {
            Phase::Running => self.on_slots_lost(number, ctx),
            Phase::Restarting { .. } => self.restart_if_ready(ctx),
            Phase::Canceling { .. } | Phase::Failing => self.end_if_canceled(ctx),
            Phase::Standby
            | Phase::Suspending
            | Phase::Choosing
            | Phase::Recovering
            | Phase::Waiting
            | Phase::Ending(_)
            | Phase::Ended => {}
        }
    }

    /// R1: the execution ends, all of it. Flink: `DefaultScheduler#handleGlobalFailure`.
    pub(super) fn on_failure<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        if self.phase == Phase::Running {
            let decision = self.decide(ctx);
            self.end_with(decision, ctx);
        }
    }

    /// What becomes of the job after one more failure. Flink: `ExecutionFailureHandler`.
    pub(super) fn decide<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) -> Decision {
        let word = self.draws.as_mut().expect("made at the start").word();
        // Flink: the strategies ask `Clock#absoluteTimeMillis`.
        self.backoff.on_failure(ctx.absolute_time() + self.leapt, word)
    }

    /// R1, and no restart. Flink: `ExecutionFailureHandler` suppresses it.
    fn fail_job<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        if self.phase == Phase::Running {
            self.end_with(Decision::Fail, ctx);
        }
    }

    pub(super) fn end_with<O: Observer>(
        &mut self,
        decision: Decision,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        self.observe(Observation::Step { step: Step::R1, checkpoint: None, subtask: None }, ctx);
        self.phase = match decision {
            Decision::Restart { .. } => Phase::Restarting { delay_over: false },
            Decision::Fail => Phase::Failing,
        };
        self.end_execution(ctx);
        self.cancel_tasks(ctx);
        let execution = self.execution.number;
        match decision {
            Decision::Restart { after } => {
                let at = ctx.relative_time() + after;
                self.set_clock_timer(at, Waiting::RestartDelay { execution }, ctx);
            }
            Decision::Fail => self.end_if_canceled(ctx),
        }
    }

    pub(super) fn end_execution<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        self.observe(Observation::ExecutionEnded, ctx);
        self.down.clear();
        self.fail_stop(ctx);
        self.coordinate(io::Input::Stop, ctx);
    }

    pub(super) fn cancel_tasks<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        let execution = self.execution.number;
        for registered in self.task_managers.values_mut() {
            registered.canceling = true;
        }
        for (worker, registered) in self.workers() {
            let region = None;
            let call = Call::Cancel { worker, execution, region };
            self.call(registered, Control::Cancel { execution, region }, call, ctx);
        }
    }

    pub(super) fn on_canceled<O: Observer>(
        &mut self,
        number: u32,
        (execution, region): (u32, Option<RegionId>),
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if let Some(region) = region {
            return self.on_region_canceled(region, (number, execution), ctx);
        }
        if execution != self.execution.number {
            return;
        }
        if let Some(registered) = self.task_managers.get_mut(&number) {
            registered.canceling = false;
        }
        self.restart_if_ready(ctx);
        self.end_if_canceled(ctx);
    }

    pub(super) fn on_restart_delay<O: Observer>(
        &mut self,
        execution: u32,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if execution == self.execution.number && matches!(self.phase, Phase::Restarting { .. }) {
            self.phase = Phase::Restarting { delay_over: true };
            self.restart_if_ready(ctx);
        }
    }

    fn restart_if_ready<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        if self.phase == (Phase::Restarting { delay_over: true }) && !self.is_canceling() {
            self.phase = Phase::Waiting;
            self.begin_if_ready(ctx);
        }
    }

    /// Whether tasks of an ended execution may still run somewhere.
    pub(super) fn is_canceling(&self) -> bool {
        self.task_managers.values().any(|registered| registered.canceling)
    }

    /// The job is over. The result is stored first: from then on nobody runs the job again, and
    /// its checkpoints may go. No more of them are taken. Flink: `CheckpointCoordinatorDeActivator`.
    pub(super) fn end<O: Observer>(&mut self, end: JobEnd, ctx: &mut Context<'_, Engine, O>) {
        self.phase = Phase::Ending(end);
        self.request(Waiting::JobResult(end), Request::StoreJobResult(end), ctx);
        self.coordinate(io::Input::Stop, ctx);
    }

    pub(super) fn on_job_result<O: Observer>(
        &mut self,
        end: JobEnd,
        answer: &Result<Answer, Refusal>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        match answer {
            // Whoever leads next finds the result and cleans up, or runs the job to its end.
            Ok(_) | Err(_) if self.phase == Phase::Suspending => {}
            Ok(_) => self.clean_up(end, ctx),
            Err(_) => self.end(end, ctx),
        }
    }

    /// The coordinator deals with what is stored, as the retention asks.
    pub(super) fn clean_up<O: Observer>(&mut self, end: JobEnd, ctx: &mut Context<'_, Engine, O>) {
        self.phase = Phase::Ending(end);
        let status = match end {
            JobEnd::Finished | JobEnd::StoppedWithSavepoint => JobStatus::Finished,
            JobEnd::Failed => JobStatus::Failed,
            JobEnd::Canceled => JobStatus::Canceled,
            JobEnd::Stopped => JobStatus::Suspended,
        };
        self.coordinate(io::Input::Shutdown { status: Some(status) }, ctx);
    }

    /// Ends the job once nothing is under way any more.
    pub(super) fn end_if_done<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        let suspending = self.phase == Phase::Suspending;
        if !suspending && !matches!(self.phase, Phase::Ending(_)) {
            return;
        }
        let may_wait = |waiting: &Waiting| match waiting {
            Waiting::Heartbeat
            | Waiting::Discovery(_)
            | Waiting::Captured { .. }
            | Waiting::Manual(_)
            | Waiting::CoordinatorTimeout(_)
            | Waiting::RestartDelay { .. }
            | Waiting::RegionDelay { .. }
            | Waiting::Call(_)
            | Waiting::Campaign { .. }
            | Waiting::CampaignTimer
            | Waiting::RenewDeadline { .. } => true,
            Waiting::BacklogOver => suspending,
            Waiting::Lead
            | Waiting::Found { .. }
            | Waiting::Pointers
            | Waiting::Metadata { .. }
            | Waiting::RetryRecovery
            | Waiting::IdDrawn(_)
            | Waiting::MetadataWritten { .. }
            | Waiting::PointerWritten { .. }
            | Waiting::PointerRemoved { .. }
            | Waiting::Deleted { .. }
            | Waiting::LateDeleted { .. }
            | Waiting::Listed
            | Waiting::UploadsListed { .. }
            | Waiting::PointersListed { .. }
            | Waiting::OrphanDeleted { .. }
            | Waiting::JobResult(_)
            | Waiting::Snapshot
            | Waiting::Adopted
            | Waiting::CoordinatorPoll => false,
        };
        if !self.waiting.values().all(may_wait) || self.coordinating {
            return;
        }
        if suspending {
            self.stand_by(ctx);
        } else if let Phase::Ending(end) = self.phase {
            self.phase = Phase::Ended;
            self.ended = Some(end);
            self.leave(ctx);
        }
    }

    /// The job is over, and with it the run, unless a new one is to take its place.
    pub(super) fn leave<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        if self.is_to_resume(ctx) {
            self.on_asked(ctx);
        } else {
            ctx.end_job(self.ended.expect("only a job that has ended is left"));
        }
    }

    /// Nothing of the job that has ended concerns the next one.
    pub(super) fn forget_job(&mut self) {
        assert!(self.discards.is_empty(), "an ended job has cleaned up");
        self.phase = Phase::Recovering;
        self.coordinator = None;
        self.backoff = RestartBackoff::new(self.plan.scenario.restart.clone());
        self.ended = None;
        self.pending.clear();
        self.stop = None;
    }
}
