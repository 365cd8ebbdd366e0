//! Regional failover: a failed region is restarted, and the others run on.
//!
//! Flink: `DefaultScheduler`, `RestartPipelinedRegionFailoverStrategy`, `SchedulerBase#restoreState`.
//! Every region fails, waits and comes back by itself; the restart strategy counts each failure. While
//! some region is down the job is in Flink's `RESTARTING`: no checkpoint is triggered, since its tasks
//! are not there, and pending ones are aborted, since they wait for attempts that are gone. (One whose
//! pointer is being written is decided first, and restored.) Operator coordinators are not set back:
//! they are told which subtasks begin again. What was completed goes on being committed.
//!
//! The whole job is restarted for what is nobody's failure in particular: too many failed checkpoints,
//! a stop whose savepoint is complete or may still become so (tasks of any region may have ended for
//! it; Flink: `StopWithSavepointTerminationHandlerImpl`).
//!
//! Deviation: so it is as long as the latest checkpoint is one that was taken with another
//! parallelism (Flink restores regions from such a one, too), and when a region begins again at the end
//! of an operator with union list state that other regions share (in Flink it would never finish:
//! `DefaultCheckpointPlan` refuses all checkpoints of an operator that has finished in part).

use std::collections::{BTreeMap, BTreeSet};

use cutline::config::FailoverStrategy;
use cutline::coordinator::completed::{CompletedCheckpoint, Retained};
use cutline::coordinator::io::{self, RestoreScope};
use cutline::coordinator::plan::ExecutionState;
use cutline::defect::Defect;
use cutline::ids::{RegionId, SubtaskId};
use cutline::job::assignment::Redistribution;
use cutline::restart::Decision;
use cutline::step::Step;
use cutline::time::VirtualDuration;

use super::calls::Call;
use super::{JobManager, Phase, SnapshotPayload, Waiting};
use crate::engine::{Control, Engine};
use crate::observe::Observation;
use crate::world::{Context, Observer};

/// A region on its way from a failure to its restart.
#[derive(Clone, Debug)]
pub(super) struct Restart {
    /// The execution that was the newest when it failed: a later failure comes after a deployment.
    execution: u32,
    delay_over: bool,
    /// Task managers on which tasks of it may still run.
    canceling: BTreeSet<u32>,
    /// The coordinator is asked for the checkpoint to start from (R2).
    choosing: bool,
}

impl JobManager {
    /// Whether this is the present attempt of a subtask, and is not being cancelled.
    pub(super) fn is_running(&self, subtask: SubtaskId, execution: u32) -> bool {
        // What is left of a former job may fail, or be told of again: its subtasks are others.
        self.phase == Phase::Running
            && execution == self.execution.attempt(subtask)
            && self.number_of(subtask).is_some()
            && !self.down.contains_key(&self.plan.graph.regions().of(subtask))
    }

    /// The regions of the job as it is spread now.
    fn regions(&self) -> impl Iterator<Item = RegionId> + use<> {
        self.plan.graph.regions().within(self.layout().subtasks())
    }

    /// Whether a failure of one region leaves the others alone.
    fn fails_by_region(&self) -> bool {
        let regional = match self.plan.scenario.cluster.failover {
            FailoverStrategy::Region => self.regions().nth(1).is_some(),
            FailoverStrategy::Full => false,
        };
        regional && !self.is_stopping() && !self.is_rescaling()
    }

    /// Whether a restart would begin from a checkpoint with another parallelism.
    fn is_rescaling(&self) -> bool {
        let latest = self.retained().last();
        let before = latest.and_then(|it| self.parallelism_found.get(&it.checkpoint.id));
        before.is_some_and(|before| *before != self.layout().job().parallelism())
    }

    /// A task manager is gone: each region that had a task there has failed, and none waits for it.
    pub(super) fn on_slots_lost<O: Observer>(
        &mut self,
        number: u32,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let regions = self.plan.graph.regions();
        let lost = self.execution.unfinished_on(self.layout().indices(), number);
        let failed: BTreeSet<RegionId> = lost.map(|subtask| regions.of(subtask)).collect();
        for region in failed {
            self.on_region_failure(region, ctx);
        }
        for region in self.down.keys().copied().collect::<Vec<_>>() {
            if let Some(restart) = self.down.get_mut(&region) {
                restart.canceling.remove(&number);
                self.restart_region_if_ready(region, ctx);
            }
        }
    }

    /// R1: a region has failed. Flink: `DefaultScheduler#handleTaskFailure`.
    pub(super) fn on_region_failure<O: Observer>(
        &mut self,
        region: RegionId,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if self.phase != Phase::Running || self.down.contains_key(&region) {
            return;
        }
        if !self.fails_by_region() {
            return self.on_failure(ctx);
        }
        match self.decide(ctx) {
            Decision::Fail => self.end_with(Decision::Fail, ctx),
            Decision::Restart { after } => self.end_region(region, after, ctx),
        }
    }

    fn end_region<O: Observer>(
        &mut self,
        region: RegionId,
        after: VirtualDuration,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        self.observe(Observation::Step { step: Step::R1, checkpoint: None, subtask: None }, ctx);
        self.observe(Observation::RegionEnded { region }, ctx);
        let execution = self.execution.number;
        let restart = Restart {
            execution,
            delay_over: false,
            canceling: self.task_managers_of(region),
            choosing: false,
        };
        self.down.insert(region, restart);
        self.cancel_region(region, ctx);
        self.fail_stop(ctx);
        if !self.checkpoints_go_on() {
            self.coordinate(io::Input::Stop, ctx);
        }
        if self.may_be_stopping() {
            return self.end_with(Decision::Restart { after }, ctx);
        }
        let at = ctx.relative_time() + after;
        self.set_clock_timer(at, Waiting::RegionDelay { region, execution }, ctx);
    }

    /// Those that are known and have tasks of a region.
    fn task_managers_of(&self, region: RegionId) -> BTreeSet<u32> {
        let subtasks = self.plan.graph.regions().subtasks(region).iter();
        let places = subtasks.filter_map(|subtask| self.execution.place(*subtask));
        places.filter(|number| self.task_managers.contains_key(number)).collect()
    }

    fn cancel_region<O: Observer>(&mut self, region: RegionId, ctx: &mut Context<'_, Engine, O>) {
        for subtask in self.plan.graph.regions().subtasks(region).to_vec() {
            match self.execution.states[subtask.index()] {
                ExecutionState::Finished | ExecutionState::Failed => {}
                ExecutionState::Created
                | ExecutionState::Scheduled
                | ExecutionState::Deploying
                | ExecutionState::Initializing
                | ExecutionState::Running
                | ExecutionState::Canceling
                | ExecutionState::Canceled => {
                    self.set_state(subtask, ExecutionState::Canceling, ctx);
                }
            }
        }
        let Some(restart) = self.down.get(&region).cloned() else { return };
        let (execution, region) = (restart.execution, Some(region));
        for worker in restart.canceling {
            let registered = self.task_managers[&worker];
            let call = Call::Cancel { worker, execution, region };
            self.call(registered, Control::Cancel { execution, region }, call, ctx);
        }
    }

    pub(super) fn on_region_canceled<O: Observer>(
        &mut self,
        region: RegionId,
        (number, execution): (u32, u32),
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if let Some(restart) = self.down.get_mut(&region).filter(|it| it.execution == execution) {
            restart.canceling.remove(&number);
            self.restart_region_if_ready(region, ctx);
        }
    }

    /// Whether tasks of a region that has failed may still run on a task manager.
    pub(super) fn waits_for_region(
        &self,
        region: RegionId,
        (worker, execution): (u32, u32),
    ) -> bool {
        self.down.get(&region).is_some_and(|restart| {
            restart.execution == execution && restart.canceling.contains(&worker)
        })
    }

    pub(super) fn on_region_delay<O: Observer>(
        &mut self,
        region: RegionId,
        execution: u32,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if let Some(restart) = self.down.get_mut(&region).filter(|it| it.execution == execution) {
            restart.delay_over = true;
            self.restart_region_if_ready(region, ctx);
        }
    }

    /// There may be slots for those that wait.
    pub(super) fn restart_regions_if_ready<O: Observer>(
        &mut self,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        for region in self.down.keys().copied().collect::<Vec<_>>() {
            self.restart_region_if_ready(region, ctx);
        }
    }

    fn restart_region_if_ready<O: Observer>(
        &mut self,
        region: RegionId,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let Some(restart) = self.down.get(&region).filter(|_| self.phase == Phase::Running) else {
            return;
        };
        let ready = restart.delay_over && restart.canceling.is_empty() && !restart.choosing;
        if ready && self.slots_for(region).is_some() {
            self.down.get_mut(&region).expect("just found").choosing = true;
            let subtasks = self.plan.graph.regions().subtasks(region).len() as u32;
            let scope = RestoreScope::Region { subtasks };
            self.coordinate(io::Input::Restore { scope }, ctx);
        }
    }

    /// R2 is done for all regions that have asked: their tasks are deployed, where there are slots.
    pub(super) fn on_regions_chosen<O: Observer>(
        &mut self,
        chosen: Option<&Retained<SnapshotPayload>>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if self.phase != Phase::Running {
            return; // All of the job was ended meanwhile.
        }
        let asked = self.down.iter_mut().filter(|(_, restart)| restart.choosing);
        let asked: Vec<RegionId> = asked
            .map(|(region, restart)| {
                restart.choosing = false;
                *region
            })
            .collect();
        if chosen.is_some_and(|it| asked.iter().any(|of| self.splits_an_end(*of, &it.checkpoint))) {
            return self.end_with(Decision::Restart { after: VirtualDuration::ZERO }, ctx);
        }
        for region in asked {
            // Else the choice had to wait for a pointer write, and a task manager was lost meanwhile.
            if let Some(slots) = self.slots_for(region) {
                self.restart_region(region, slots, chosen, ctx);
            }
        }
        if self.down.is_empty() && !self.checkpoints_go_on() {
            self.start_checkpoints(ctx);
        }
    }

    /// [`Defect::D12`]: a regional restart is none of the checkpoint coordinator's business.
    fn checkpoints_go_on(&self) -> bool {
        self.plan.defects.has(Defect::D12)
    }

    /// Whether a region has a part of an operator with union list state that had come to its end in this
    /// checkpoint. Other parts may have finished since: what begins again would wait for its last
    /// checkpoint, and none is taken of such an operator while it has finished in part.
    fn splits_an_end(
        &self,
        region: RegionId,
        checkpoint: &CompletedCheckpoint<SnapshotPayload>,
    ) -> bool {
        let (graph, layout) = (&self.plan.graph, self.layout());
        let regions = graph.regions();
        let mut ended = checkpoint.subtasks.iter().filter_map(|(number, state)| {
            state.as_ref().filter(|state| state.ended).map(|_| self.numbered(*number))
        });
        ended.any(|subtask| {
            let operator = graph.operator(subtask);
            regions.of(subtask) == region
                && self.plan.redistribution(operator) == Redistribution::Union
                && layout.subtasks_of(operator).any(|it| regions.of(SubtaskId(it)) != region)
        })
    }

    fn restart_region<O: Observer>(
        &mut self,
        region: RegionId,
        slots: Vec<Option<u32>>,
        chosen: Option<&Retained<SnapshotPayload>>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let plan = std::sync::Arc::clone(&self.plan);
        let subtasks = plan.graph.regions().subtasks(region);
        let checkpoint = chosen.map(|retained| retained.checkpoint.id);
        self.execution.number += 1;
        let step = |step| Observation::Step { step, checkpoint, subtask: None };
        self.observe(step(Step::R2), ctx);
        if self.is_in_force(ctx) {
            ctx.begin_execution_of(subtasks, self.execution.number, checkpoint);
        }
        self.observe(Observation::RegionRestored { region, checkpoint }, ctx);
        self.observe(step(Step::R3), ctx);
        self.execution.slots = slots;
        for subtask in subtasks {
            let slot = plan.graph.index_in_operator(*subtask) as usize;
            self.execution.places[subtask.index()] = self.execution.slots[slot];
        }
        self.down.remove(&region);
        self.reset_readers(region, checkpoint, ctx);
        self.deploy(subtasks.iter().copied(), chosen, ctx);
    }

    /// The slots of the job with those that a region needs: a slot stays where it is, since other
    /// regions may share it, unless its task manager is gone. `None`: there are not enough.
    fn slots_for(&self, region: RegionId) -> Option<Vec<Option<u32>>> {
        let mut slots = self.execution.slots.clone();
        let mut used: BTreeMap<u32, u32> = self.task_managers.keys().map(|it| (*it, 0)).collect();
        for number in slots.iter().flatten() {
            if let Some(used) = used.get_mut(number) {
                *used += 1;
            }
        }
        let of_each = self.plan.scenario.cluster.slots;
        // As at a deployment of the whole job: one of each task manager in turn.
        let free = (0..of_each).flat_map(|round| {
            let free = used.iter().filter(move |(_, used)| **used <= round);
            free.map(|(number, _)| *number)
        });
        let mut free = free.collect::<Vec<_>>().into_iter();
        for subtask in self.plan.graph.regions().subtasks(region) {
            let slot = &mut slots[self.plan.graph.index_in_operator(*subtask) as usize];
            if slot.is_none_or(|number| !self.task_managers.contains_key(&number)) {
                *slot = Some(free.next()?);
            }
        }
        Some(slots)
    }
}
