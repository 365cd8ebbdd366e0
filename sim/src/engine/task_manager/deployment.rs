//! Deployment of tasks, and their end.

use std::collections::VecDeque;
use std::sync::Arc;

use cutline::defect::Defect;
use cutline::ids::{RegionId, SubtaskId};
use cutline::storage::changelog::{self, Changelog};
use cutline::storage::channel_state::ChannelState;
use cutline::storage::increment::{self, AssembleError, Increments, ReadFile};
use cutline::storage::local::LocalCopy;
use cutline::task::subtask::Input;
use cutline::time::VirtualTime;

use super::{Link, Member, SnapshotUnderWay, Task, TaskManager, Waiting, local};
use crate::engine::plan::Plan;
use crate::engine::{Control, Deployment, Engine, Part, Place, Report};
use crate::observe::{Observation, TaskState};
use crate::scenario::model::OperatorKind;
use crate::world::{Command, Context, LaneId, Observer, Request};

impl TaskManager {
    pub(super) fn deploy<O: Observer>(
        &mut self,
        deployment: Deployment,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let (subtask, execution) = (deployment.subtask, deployment.execution);
        if let Some(place) = self.place_of[subtask.index()] {
            self.remove(place, TaskState::Canceled, ctx);
        }
        let lane = ctx.open_lane();
        let (plan, graph) = (&self.plan, &self.plan.graph);
        let name = &plan.subtask_names[subtask.index()];
        let operator_of = |subtask| &plan.scenario.job.operators[graph.operator(subtask).index()];
        let operator = operator_of(subtask);
        let chain = graph.chain_of(subtask);
        let member = |subtask: &SubtaskId| Member {
            subtask: *subtask,
            operator: graph.operator(*subtask),
            state: Vec::new(),
            shared: Vec::new(),
            increments: plan.increments(*subtask, execution).map(Increments::new),
            changelog: plan.changelog(*subtask, execution).map(|it| Box::new(Changelog::new(it))),
            at_hand: LocalCopy::new(),
        };
        let link = |subtask: &SubtaskId| Link {
            channel: graph.inputs(*subtask)[0],
            cost: operator_of(*subtask).cost,
            sync_cost: operator_of(*subtask).sync_cost,
            draws: ctx.streams().stream("cost", &plan.subtask_names[subtask.index()]),
        };
        let members: Vec<Member> = chain.iter().map(member).collect();
        let task = Task {
            subtask,
            tail: graph.tail(subtask),
            execution,
            lane,
            machine: plan.subtask_machine(&deployment),
            reads_left: deployment.parts.len(),
            changes_left: VecDeque::new(),
            deployment,
            logs: members.iter().any(|member| member.changelog.is_some()),
            members,
            links: chain[1..].iter().map(link).collect(),
            captured: Vec::new(),
            snapshots: Vec::new(),
            cost: operator.cost,
            sync_cost: operator.sync_cost,
            draws: ctx.streams().stream("cost", name),
            calls: match operator.kind {
                OperatorKind::Async { latency, .. } => {
                    Some((latency, ctx.streams().stream("async call", name)))
                }
                _ => None,
            },
        };
        let place = self.place(task);
        let plan = Arc::clone(&self.plan);
        for member in plan.graph.chain_of(subtask) {
            self.place_of[member.index()] = Some(place);
        }
        if self.place_of_lane.len() <= lane.index() {
            self.place_of_lane.resize(lane.index() + 1, u32::MAX);
        }
        self.place_of_lane[lane.index()] = place;
        self.observe_state(subtask, execution, TaskState::Deploying, ctx);
        let task = self.tasks[place as usize].as_mut().expect("just placed");
        let delay = self.plan.scenario.cluster.deploy.draw(&mut task.draws);
        let at = ctx.now() + delay;
        self.set_timer(at, Waiting::Deployed { subtask, execution }, ctx);
    }

    fn place(&mut self, task: Task) -> u32 {
        match self.tasks.iter().position(Option::is_none) {
            Some(free) => {
                self.tasks[free] = Some(task);
                free as u32
            }
            None => {
                self.tasks.push(Some(task));
                self.tasks.len() as u32 - 1
            }
        }
    }

    pub(super) fn observe_state<O: Observer>(
        &self,
        subtask: SubtaskId,
        execution: u32,
        state: TaskState,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let attempt = cutline::ids::Attempt(execution);
        for &subtask in self.plan.graph.chain_of(subtask) {
            ctx.observe_task((subtask, execution), Observation::Task { subtask, attempt, state });
        }
    }

    /// The process is up; the task connects its channels and reads its state (R4).
    pub(super) fn on_deployed<O: Observer>(
        &mut self,
        place: u32,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let task = self.tasks[place as usize].as_ref().expect("found by the caller");
        let (subtask, execution, lane) = (task.subtask, task.execution, task.lane);
        let graph = &self.plan.graph;
        let tail = task.tail;
        let current =
            graph.inputs(subtask).iter().all(|c| ctx.attach_receiver(*c, execution, lane))
                && graph.outputs(tail).iter().all(|c| ctx.attach_sender(*c, execution, lane));
        // Else a newer execution owns the channels: this deployment comes too late.
        if !current || self.is_cut_off(place, ctx) {
            self.fail(place, ctx);
            return;
        }
        self.observe_state(subtask, execution, TaskState::Initializing, ctx);
        if task.deployment.finished_in_part {
            return self.fail_with(Report::FailedForGood, place, ctx);
        }
        let task = self.tasks[place as usize].as_mut().expect("found by the caller");
        let (inlined, parts): (Vec<Part>, Vec<Part>) = std::mem::take(&mut task.deployment.parts)
            .into_iter()
            .partition(|part| matches!(part.place, Place::Inline(_)));
        for part in inlined {
            let Place::Inline(bytes) = part.place.clone() else { unreachable!("just chosen") };
            if !self.take_over(place, part, bytes) {
                return self.fail(place, ctx);
            }
        }
        let Some(parts) = self.read_locally(place, parts, ctx) else {
            return self.fail(place, ctx);
        };
        // Flink: `ChangelogBackendRestoreOperation` reads change after change.
        let (changes, parts): (Vec<Part>, Vec<Part>) =
            parts.into_iter().partition(Part::is_change_set);
        let task = self.tasks[place as usize].as_mut().expect("found by the caller");
        task.changes_left = changes.into();
        for part in parts {
            let path = part.path.clone();
            let token = self.wait(Waiting::Read { subtask, execution, part });
            ctx.request(u64::from(token), Request::Get { path });
        }
        self.go_on_reading(place, ctx);
    }

    /// Starts the task if all was read, or reads the next changes if nothing else is being read.
    pub(super) fn go_on_reading<O: Observer>(
        &mut self,
        place: u32,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let task = self.tasks[place as usize].as_mut().expect("found by the caller");
        if task.reads_left == 0 {
            return self.start(place, ctx);
        }
        if task.reads_left > task.changes_left.len() {
            return;
        }
        let (subtask, execution) = (task.subtask, task.execution);
        let part = task.changes_left.pop_front().expect("some are left");
        let path = part.path.clone();
        let token = self.wait(Waiting::Read { subtask, execution, part });
        ctx.request(u64::from(token), Request::Get { path });
    }

    /// Whether a task would wait for ever, since a sender has gone before all that it had for the
    /// task was on its way. The job manager does not miss a sender that had finished. Flink:
    /// `CreditBasedPartitionRequestClientHandler#channelInactive`, `PartitionNotFoundException`.
    pub(super) fn is_cut_off<O: Observer>(&self, place: u32, ctx: &Context<'_, Engine, O>) -> bool {
        let Some(task) = &self.tasks[place as usize] else { return false };
        let mut inputs = self.plan.graph.inputs(task.subtask).iter();
        !task.machine.is_finished() && inputs.any(|input| ctx.is_broken(*input, task.execution))
    }

    pub(super) fn start<O: Observer>(&mut self, place: u32, ctx: &mut Context<'_, Engine, O>) {
        let Ok(replayed) = self.assemble(place) else { return self.fail(place, ctx) };
        let task = self.tasks[place as usize].as_mut().expect("found by the caller");
        for replayed in replayed {
            ctx.observe_task((task.subtask, task.execution), replayed);
        }
        let mut state = Vec::new();
        for (link, member) in (0..).zip(&mut task.members) {
            // Reads come back in any order; the parts are taken over in the order of the metadata.
            member.state.sort_by_key(|(index, _)| *index);
            let parts = std::mem::take(&mut member.state).into_iter();
            state.extend(parts.map(|(_, bytes)| (link, bytes)));
        }
        let mut captured = std::mem::take(&mut task.captured);
        let (restored, lane) = (task.deployment.restored, task.lane);
        let (subtask, tail, execution) = (task.subtask, task.tail, task.execution);
        let channels = match &task.deployment.rescaling {
            None => {
                // Of a chain the head had what was in flight to it, the tail what was in flight from it.
                let mut channels = ChannelState::default();
                for own in captured {
                    channels.inputs.extend(own.channels.inputs);
                    channels.outputs.extend(own.channels.outputs);
                }
                if self.plan.defects.has(Defect::D97) {
                    // Taken for channels of the job as it is now, of which there may be fewer.
                    let graph = &self.plan.graph;
                    let (inputs, outputs) = (graph.inputs(subtask), graph.outputs(tail));
                    channels.inputs.retain(|(channel, _)| channel.index() < inputs.len());
                    channels.outputs.retain(|(channel, _)| channel.index() < outputs.len());
                }
                channels
            }
            Some(rescaling) => {
                let index = self.plan.graph.index_in_operator(subtask);
                let mut take = |of: SubtaskId| {
                    let operator = self.plan.graph.operator(of);
                    // Its own operator's come first, as they are assigned.
                    captured.sort_by_key(|it| (it.operator != operator, it.operator, it.subtask));
                    rescaling.take(operator, index, &captured)
                };
                let Ok(mut taken) = take(subtask) else { return self.fail(place, ctx) };
                if tail != subtask {
                    let Ok(of_tail) = take(tail) else { return self.fail(place, ctx) };
                    taken.channels.outputs = of_tail.channels.outputs;
                }
                if taken.filtered > 0 {
                    let records = taken.filtered;
                    ctx.observe_task(
                        (subtask, execution),
                        Observation::Filtered { subtask, records },
                    );
                }
                taken.channels
            }
        };
        let channels = Box::new(channels);
        self.drive(place, Input::Start { restored, state, channels }, ctx);
        let now = ctx.now();
        ctx.wake_lane(lane, now);
    }

    /// Puts the state of incremental and changelog snapshots together; answers what was replayed.
    fn assemble(&mut self, place: u32) -> Result<Vec<Observation>, AssembleError> {
        let task = self.tasks[place as usize].as_mut().expect("found by the caller");
        let Task { members, deployment, execution, .. } = task;
        let mut replayed = Vec::new();
        for member in members {
            assemble(&self.plan, member, deployment, *execution, &mut replayed)?;
        }
        Ok(replayed)
    }

    /// Ends the tasks of an execution and of older ones; only those of a region, if one is given.
    pub(super) fn cancel<O: Observer>(
        &mut self,
        execution: u32,
        region: Option<RegionId>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        for place in 0..self.tasks.len() {
            let task = self.tasks[place].as_ref().filter(|task| task.execution <= execution);
            let task = task.map(|task| (task.lane, self.plan.graph.regions().of(task.subtask)));
            if let Some((lane, of)) = task.filter(|(_, of)| region.is_none_or(|it| it == *of)) {
                let until = self.leaving_until.entry(of).or_default();
                *until = (*until).max(ctx.busy_until(lane));
                self.remove(place as u32, TaskState::Canceled, ctx);
            }
        }
        self.watch_over_leaving(region, ctx);
    }

    /// Until when cancelled tasks are busy, all or those of one region.
    fn leaving_until(&self, region: Option<RegionId>) -> VirtualTime {
        let until = match region {
            Some(region) => self.leaving_until.get(&region).copied(),
            None => self.leaving_until.values().max().copied(),
        };
        until.unwrap_or(VirtualTime::ZERO)
    }

    /// A task that is busy when it is cancelled does nothing more that anybody could see, but it
    /// does not end before it is done. Flink: `Task.TaskCancelerWatchDog` ends the process if that
    /// takes longer than `task.cancellation.timeout`.
    fn watch_over_leaving<O: Observer>(
        &mut self,
        region: Option<RegionId>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let (now, process) = (ctx.now(), ctx.me().0);
        let leaving_until = self.leaving_until(region);
        let timeout = self.plan.scenario.cluster.cancellation_timeout;
        let Some(timeout) = timeout.filter(|_| leaving_until > now) else { return };
        ctx.observe(Observation::CancellationSlow { process });
        let due = ctx.relative_time() + timeout;
        // Where clocks may be wrong nobody knows yet whether it comes: a pace may change.
        let may_come = ctx.clock_offset().is_some() || due < leaving_until;
        if !timeout.is_zero() && may_come {
            self.set_clock_timer(due, Waiting::CancellationTimeout { leaving_until }, ctx);
        }
    }

    /// Tells the job manager that no task of an execution is left, as soon as that is so.
    pub(super) fn say_when_canceled<O: Observer>(
        &mut self,
        execution: u32,
        region: Option<RegionId>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let waits = self.plan.scenario.cluster.cancellation_timeout.is_some();
        let leaving_until = self.leaving_until(region);
        if waits && leaving_until > ctx.now() {
            self.set_timer(leaving_until, Waiting::Left { execution, region }, ctx);
        } else {
            self.tell(Control::Canceled { execution, region }, ctx);
        }
    }

    /// A cancelled task has not ended in time, or has done so.
    pub(super) fn on_cancellation_timeout<O: Observer>(
        leaving_until: VirtualTime,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if leaving_until > ctx.now() {
            let process = ctx.me().0;
            ctx.observe(Observation::CancellationTimedOut { process });
            ctx.exit();
        }
    }

    pub(super) fn fail<O: Observer>(&mut self, place: u32, ctx: &mut Context<'_, Engine, O>) {
        self.fail_with(Report::Failed, place, ctx);
    }

    pub(super) fn fail_with<O: Observer>(
        &mut self,
        report: Report,
        place: u32,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let task = self.tasks[place as usize].as_ref().expect("found by the caller");
        let (subtask, execution) = (task.subtask, task.execution);
        self.remove(place, TaskState::Failed, ctx);
        self.report(execution, subtask, report, ctx);
    }

    fn remove<O: Observer>(
        &mut self,
        place: u32,
        state: TaskState,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let ended = |task: &Task| task.machine.is_finished();
        if self.tasks[place as usize].as_ref().is_some_and(|task| !ended(task)) {
            self.drive(place, Input::Close, ctx);
        }
        if self.tasks[place as usize].is_some() {
            self.tell_logs(place, Changelog::close, ctx);
        }
        let Some(task) = self.tasks[place as usize].take() else { return };
        if self.plan.defects.has(Defect::D42) {
            self.keep_what_was_read(&task);
        }
        for member in &task.members {
            self.place_of[member.subtask.index()] = None;
        }
        let graph = &self.plan.graph;
        if task.machine.is_finished() {
            // Nobody misses a finished task but those who wait for what it still had for them.
            // Flink: `ResultPartition#release`; the consumers' requests are answered by an error.
            for output in graph.outputs(task.tail) {
                ctx.break_channel(*output, task.execution);
            }
        }
        let channels = graph.inputs(task.subtask).iter().chain(graph.outputs(task.tail));
        ctx.close_lane(task.lane, channels.copied());
        if !task.machine.is_finished() {
            self.observe_state(task.subtask, task.execution, state, ctx);
        }
        let parts = task.snapshots.into_iter().flat_map(SnapshotUnderWay::into_own_parts).collect();
        self.discard(parts, ctx);
    }

    pub(super) fn find(&self, subtask: SubtaskId, execution: u32) -> Option<(u32, LaneId)> {
        let place = self.place_of[subtask.index()]?;
        let task = self.tasks[place as usize].as_ref()?;
        (task.execution == execution).then_some((place, task.lane))
    }

    pub(super) fn on_command<O: Observer>(
        &mut self,
        command: Command,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let (Command::Throw(subtask) | Command::Pause(subtask, _)) = command;
        let graph = &self.plan.graph;
        let (operator, index) = (graph.operator(subtask), graph.index_in_operator(subtask));
        let instances = || graph.instances(operator, index);
        let places = || instances().filter_map(|instance| self.place_of[instance.index()]);
        // That of an earlier spread may still be here, with nothing left to do.
        let works = |place: &u32| {
            self.tasks[*place as usize].as_ref().is_some_and(|task| !task.machine.is_finished())
        };
        let Some(place) = places().find(works).or_else(|| places().next()) else { return };
        match command {
            Command::Throw(_) => self.fail(place, ctx),
            Command::Pause(_, span) => {
                let lane = self.tasks[place as usize].as_ref().expect("it has a place").lane;
                ctx.charge(lane, span);
            }
        }
    }
}

/// Puts the state of a subtask's incremental or changelog snapshots together. If it is all of this
/// subtask, it is the base of the next one.
fn assemble(
    plan: &Plan,
    member: &mut Member,
    deployment: &Deployment,
    execution: u32,
    replayed: &mut Vec<Observation>,
) -> Result<(), AssembleError> {
    let shared = std::mem::take(&mut member.shared);
    if shared.is_empty() {
        return Ok(());
    }
    if plan.recovers_locally(member.subtask) {
        member.at_hand = local::at_hand(&shared);
    }
    let own = plan.graph.index_in_operator(member.subtask);
    let whole = !deployment.rescaling.as_ref().is_some_and(|it| it.changes(member.operator));
    let base = plan.increments(member.subtask, execution);
    let base = base.filter(|_| whole).zip(deployment.restored);
    let log = plan.changelog(member.subtask, execution).filter(|_| whole);
    for (subtask, state) in &mut member.state {
        let files = shared.iter().filter(|(part, _)| part.subtask == *subtask);
        let files: Vec<ReadFile<'_>> = files
            .map(|(part, bytes)| ReadFile {
                key: part.key().expect("it is shared"),
                path: &part.path,
                nominal: part.nominal,
                bytes,
            })
            .collect();
        if files.is_empty() {
            continue;
        }
        if changelog::is_manifest(state) {
            let (materialized, changes) = changelog::contents(state)?;
            let of = member.subtask;
            replayed.push(Observation::ChangesReplayed { subtask: of, materialized, changes });
            *state = match log.clone().filter(|_| *subtask == own) {
                Some(config) => {
                    let (log, whole) = Changelog::restored(config, state, &files)?;
                    member.changelog = Some(Box::new(log));
                    whole
                }
                None => changelog::assemble(state, &files)?,
            };
            continue;
        }
        *state = match base.filter(|_| *subtask == own) {
            Some((writer, restored)) => {
                let (base, whole) = Increments::restored(writer, restored, state, &files)?;
                member.increments = Some(base);
                whole
            }
            None => increment::assemble(state, &files)?,
        };
    }
    Ok(())
}
