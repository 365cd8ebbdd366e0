//! Executions: slots, deployment (R4), failure and restart (R1).

use cutline::coordinator::completed::{JobStatus, Retained};
use cutline::coordinator::io::{self, RestoreScope};
use cutline::coordinator::plan::ExecutionState;
use cutline::ids::{Attempt, OperatorId, SubtaskId};
use cutline::restart::{Decision, RestartBackoff};
use cutline::step::Step;

use super::{EXECUTIONS_PER_LEADER, JobManager, Phase, SnapshotPayload, Waiting, checkpoints};
use crate::engine::plan::Plan;
use crate::engine::{Control, Deployment, Engine, Report};
use crate::observe::{JobEnd, Observation};
use crate::world::{Answer, Context, Observer, Refusal, Request};

/// One deployment of the whole job.
#[derive(Debug)]
pub(super) struct Execution {
    /// Grows with every deployment, across leaders; the attempt of all its subtasks.
    pub(super) number: u32,
    /// The task manager of each subtask.
    places: Vec<Option<u32>>,
    states: Vec<ExecutionState>,
}

impl Execution {
    pub(super) fn new(subtasks: usize) -> Self {
        Self {
            number: 0,
            places: vec![None; subtasks],
            states: vec![ExecutionState::Created; subtasks],
        }
    }

    /// Starts the numbers of a leader.
    pub(super) fn lead(&mut self, session: u64) {
        self.number = (session as u32 - 1) * EXECUTIONS_PER_LEADER;
    }

    pub(super) fn place(&self, subtask: SubtaskId) -> Option<u32> {
        self.places[subtask.index()]
    }

    fn uses(&self, number: u32) -> bool {
        self.places
            .iter()
            .zip(&self.states)
            .any(|(place, state)| *place == Some(number) && *state != ExecutionState::Finished)
    }

    fn is_finished(&self) -> bool {
        self.states.iter().all(|state| *state == ExecutionState::Finished)
    }

    /// Who keeps the job from going on, in words.
    pub(super) fn describe(&self, plan: &Plan, phase: &str) -> String {
        let waiting: Vec<String> = self
            .states
            .iter()
            .enumerate()
            .filter(|(_, state)| **state != ExecutionState::Finished)
            .map(|(index, state)| format!("{} {state:?}", plan.subtask_names[index]))
            .take(8)
            .collect();
        format!("job manager: {phase}; not finished: {}", waiting.join(", "))
    }
}

impl JobManager {
    /// Deploys the job if it waits for slots and there are enough.
    pub(super) fn begin_if_ready<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        if self.phase == Phase::Waiting && self.has_slots() {
            self.phase = Phase::Choosing;
            self.coordinate(io::Input::Restore { scope: RestoreScope::Global }, ctx);
        }
    }

    fn has_slots(&self) -> bool {
        let needed =
            self.plan.graph.job().operators().iter().map(|operator| operator.parallelism).max();
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
        ctx.observe(step(Step::R2));
        ctx.begin_execution(self.execution.number, checkpoint);
        ctx.observe(Observation::RestoreChosen { checkpoint });
        ctx.observe(step(Step::R3));
        self.assign_slots();
        self.phase = Phase::Running;
        for index in 0..self.plan.graph.subtasks() {
            let subtask = SubtaskId(index as u32);
            self.set_state(subtask, ExecutionState::Deploying, ctx);
            let deployment = self.deployment(subtask, chosen);
            ctx.observe(Observation::Step { step: Step::R4, checkpoint, subtask: Some(subtask) });
            let process = self.task_manager_of(subtask).expect("slots are on known processes");
            ctx.send(process, Control::Deploy(Box::new(deployment)));
        }
        self.start_checkpoints(ctx);
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
        let operators = 0..self.plan.graph.job().operators().len() as u32;
        let graph = &self.plan.graph;
        let is_source = |it: &OperatorId| graph.is_source(graph.subtask(*it, 0));
        let sources: Vec<OperatorId> = operators.map(OperatorId).filter(is_source).collect();
        for source in sources {
            self.coordinate(io::Input::Backlog { source, on }, ctx);
        }
    }

    /// Flink draws the first delay between the minimum pause and the interval.
    fn initial_delay(&mut self) -> cutline::time::VirtualDuration {
        let options = &self.plan.scenario.checkpointing;
        let least = options.min_pause.as_nanos();
        let most = options.interval.map_or(least, |interval| interval.as_nanos().max(least));
        let draws = self.draws.as_mut().expect("made at the start");
        let drawn = cutline::time::VirtualDuration(draws.between(least, most));
        options.initial_delay.unwrap_or(drawn)
    }

    /// Slot sharing: slot k holds subtask k of each operator; the slots are taken from the task
    /// managers in turn, so that the load is spread.
    fn assign_slots(&mut self) {
        let slots = self.plan.scenario.cluster.slots;
        let free: Vec<u32> = (0..slots).flat_map(|_| self.task_managers.keys().copied()).collect();
        let operators = self.plan.graph.job().operators().len();
        for operator in (0..operators).map(|index| OperatorId(index as u32)) {
            for (slot, subtask) in self.plan.graph.subtasks_of(operator).enumerate() {
                self.execution.places[subtask as usize] = Some(free[slot]);
            }
        }
    }

    fn deployment(
        &self,
        subtask: SubtaskId,
        chosen: Option<&Retained<SnapshotPayload>>,
    ) -> Deployment {
        let execution = self.execution.number;
        let mut deployment =
            Deployment { execution, subtask, restored: None, parts: Vec::new(), finished: false };
        let Some(checkpoint) = chosen.map(|retained| &retained.checkpoint) else {
            return deployment;
        };
        deployment.restored = Some(checkpoint.id);
        deployment.finished = checkpoint.finished.contains(&subtask);
        let mut states = checkpoint.subtasks.iter();
        if let Some((_, Some(state))) = states.find(|(one, _)| *one == subtask) {
            deployment.parts = checkpoints::parts_of(state).collect();
        }
        deployment
    }

    fn set_state<O: Observer>(
        &mut self,
        subtask: SubtaskId,
        state: ExecutionState,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        self.execution.states[subtask.index()] = state;
        let attempt = Attempt(self.execution.number);
        self.coordinate(io::Input::TaskState { subtask, attempt, state }, ctx);
    }

    pub(super) fn on_report<O: Observer>(
        &mut self,
        execution: u32,
        subtask: SubtaskId,
        report: Report,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if execution != self.execution.number || self.phase != Phase::Running {
            return;
        }
        match report {
            Report::Running => self.set_state(subtask, ExecutionState::Running, ctx),
            Report::Failed | Report::FailedForGood => {
                self.set_state(subtask, ExecutionState::Failed, ctx);
                let attempt = Attempt(execution);
                self.coordinate(io::Input::TaskFailed { subtask, attempt }, ctx);
                match report == Report::FailedForGood {
                    true => self.fail_job(ctx),
                    false => self.on_failure(ctx),
                }
            }
            Report::Finished => {
                self.set_state(subtask, ExecutionState::Finished, ctx);
                if self.execution.is_finished() {
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
        if self.task_managers.remove(&number).is_none() {
            return;
        }
        match self.phase {
            Phase::Running if self.execution.uses(number) => self.on_failure(ctx),
            Phase::Restarting { .. } => self.restart_if_ready(ctx),
            Phase::Canceling { .. } | Phase::Failing => self.end_if_canceled(ctx),
            Phase::Choosing
            | Phase::Running
            | Phase::Recovering
            | Phase::Waiting
            | Phase::Ending(_)
            | Phase::Ended => {}
        }
    }

    /// R1: the execution ends, all of it. Flink: `DefaultScheduler#handleTaskFailure`, with the
    /// whole job as one region.
    pub(super) fn on_failure<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        if self.phase != Phase::Running {
            return;
        }
        ctx.observe(Observation::Step { step: Step::R1, checkpoint: None, subtask: None });
        let word = self.draws.as_mut().expect("made at the start").word();
        let decision = self.backoff.on_failure(ctx.now() + self.leapt, word);
        self.phase = match decision {
            Decision::Restart { .. } => Phase::Restarting { delay_over: false },
            Decision::Fail => Phase::Failing,
        };
        self.end_execution(ctx);
        self.cancel_tasks(ctx);
        let execution = self.execution.number;
        match decision {
            Decision::Restart { after } => {
                let at = ctx.now() + after;
                self.set_timer(at, Waiting::RestartDelay { execution }, ctx);
            }
            Decision::Fail => self.end_if_canceled(ctx),
        }
    }

    /// R1, and no restart. Flink: `ExecutionFailureHandler` suppresses it.
    fn fail_job<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        if self.phase != Phase::Running {
            return;
        }
        ctx.observe(Observation::Step { step: Step::R1, checkpoint: None, subtask: None });
        self.phase = Phase::Failing;
        self.end_execution(ctx);
        self.cancel_tasks(ctx);
        self.end_if_canceled(ctx);
    }

    pub(super) fn end_execution<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        ctx.observe(Observation::ExecutionEnded);
        self.fail_stop(ctx);
        self.coordinate(io::Input::Stop, ctx);
    }

    pub(super) fn cancel_tasks<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        let execution = self.execution.number;
        for (number, registered) in &mut self.task_managers {
            registered.canceling = true;
            ctx.send(Plan::task_manager(*number), Control::Cancel { execution });
        }
    }

    pub(super) fn on_canceled<O: Observer>(
        &mut self,
        number: u32,
        execution: u32,
        ctx: &mut Context<'_, Engine, O>,
    ) {
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
    /// its checkpoints may go.
    pub(super) fn end<O: Observer>(&mut self, end: JobEnd, ctx: &mut Context<'_, Engine, O>) {
        self.phase = Phase::Ending(end);
        self.request(Waiting::JobResult(end), Request::StoreJobResult(end), ctx);
    }

    pub(super) fn on_job_result<O: Observer>(
        &mut self,
        end: JobEnd,
        answer: &Result<Answer, Refusal>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        match answer {
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
        let Phase::Ending(end) = self.phase else { return };
        let busy = self.waiting.values().any(|waiting| {
            !matches!(
                waiting,
                Waiting::Heartbeat
                    | Waiting::Manual(_)
                    | Waiting::CoordinatorTimeout(_)
                    | Waiting::RestartDelay { .. }
            )
        });
        if !busy {
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
