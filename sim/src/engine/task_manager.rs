//! A task manager: a process with a lane for each subtask that is deployed on it.
//!
//! Flink: `TaskExecutor`, `Task`, `RuntimeEnvironment`. It mounts the core's [`Subtask`] machine:
//! hands it what arrives, and does what it asks for.

use std::sync::Arc;

use cutline::ids::{ChannelId, CheckpointId, InputChannel, OutputChannel, SubtaskId};
use cutline::message::{Element, FailureReason, Payload, SnapshotKind};
use cutline::operator::{Effect, Record, TransactionId};
use cutline::step::Step;
use cutline::storage::channel_state::ChannelState;
use cutline::task::barrier::{AlignmentMetrics, Cut};
use cutline::task::snapshots::PartKind;
use cutline::task::subtask::{Frame, Input, Mail, Output, Subtask};
use cutline::time::{VirtualDuration, VirtualTime};

use super::plan::Plan;
use super::{Control, Deployment, Engine, Part, Report, SubtaskSnapshot};
use crate::kernel::distribution::Distribution;
use crate::kernel::stream::Stream;
use crate::observe::{CutKind, Observation, TaskState};
use crate::world::{
    Answer, Command, Context, Event, LaneId, Observer, ProcessId, Purpose, Refusal, Request,
};

/// Timer token of the heartbeat; others are places in `waiting`.
const HEARTBEAT: u64 = 0;

/// A task manager.
#[derive(Debug)]
pub struct TaskManager {
    plan: Arc<Plan>,
    number: u32,
    registered: bool,
    heard_from_job_manager: VirtualTime,
    tasks: Vec<Option<Task>>,
    /// The place in `tasks` of each subtask of the job.
    place_of: Vec<Option<u32>>,
    /// The place in `tasks` of each lane of the world.
    place_of_lane: Vec<u32>,
    /// Requests and timers under way, by token.
    waiting: Vec<Option<Waiting>>,
    free_tokens: Vec<u32>,
    outputs: Vec<Output>,
}

#[derive(Debug)]
struct Task {
    subtask: SubtaskId,
    execution: u32,
    lane: LaneId,
    machine: Subtask,
    deployment: Deployment,
    reads_left: usize,
    state: Vec<(u32, Vec<u8>)>,
    channels: ChannelState,
    snapshots: Vec<SnapshotUnderWay>,
    cost: Distribution,
    sync_cost: Distribution,
    draws: Stream,
}

/// What is known of a snapshot before it is acknowledged.
#[derive(Debug)]
struct SnapshotUnderWay {
    checkpoint: CheckpointId,
    kind: SnapshotKind,
    parts: Vec<Part>,
    cut_at: VirtualTime,
    sync: VirtualDuration,
    start_delay: VirtualDuration,
    alignment: Option<AlignmentMetrics>,
    ended: bool,
}

/// What a token stands for.
#[derive(Debug)]
enum Waiting {
    Deployed {
        subtask: SubtaskId,
        execution: u32,
    },
    Read {
        subtask: SubtaskId,
        execution: u32,
        part: Part,
    },
    Upload {
        subtask: SubtaskId,
        execution: u32,
        checkpoint: CheckpointId,
        part: Part,
    },
    Flush {
        subtask: SubtaskId,
        execution: u32,
        checkpoint: CheckpointId,
    },
    Commit {
        subtask: SubtaskId,
        execution: u32,
        transaction: TransactionId,
    },
    /// A part of a snapshot that was given up is being deleted.
    Discarded(Part),
    /// Nobody waits for the answer.
    Nobody,
}

impl TaskManager {
    /// A task manager that has just been started.
    pub fn new(plan: Arc<Plan>, number: u32) -> Self {
        let subtasks = plan.graph.subtasks();
        Self {
            plan,
            number,
            registered: false,
            heard_from_job_manager: VirtualTime::ZERO,
            tasks: Vec::new(),
            place_of: vec![None; subtasks],
            place_of_lane: Vec::new(),
            waiting: Vec::new(),
            free_tokens: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// The process that takes its place after a crash.
    pub fn reborn(&self) -> Self {
        Self::new(Arc::clone(&self.plan), self.number)
    }

    /// Reacts to an event.
    #[inline]
    pub fn handle<O: Observer>(&mut self, event: Event<Engine>, ctx: &mut Context<'_, Engine, O>) {
        match event {
            Event::Lane(lane) => self.on_lane(lane, ctx),
            Event::Back { channel } => self.on_back(channel, ctx),
            Event::Message { from: _, message } => self.on_message(message, ctx),
            Event::Answered { token, answer } => self.on_answer(token, answer, ctx),
            Event::Timer(HEARTBEAT) => self.on_heartbeat_timer(ctx),
            Event::Timer(token) => self.on_timer(token - 1, ctx),
            Event::Started => self.on_heartbeat_timer(ctx),
            Event::PeerLost { peer } => self.on_peer_lost(peer, ctx),
            Event::Command(command) => self.on_command(command, ctx),
            Event::Asked => unreachable!("people outside talk to the job manager"),
        }
    }

    // ---- the job manager ---------------------------------------------------------------------

    fn on_heartbeat_timer<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        let cluster = &self.plan.scenario.cluster;
        let (interval, timeout) = (cluster.heartbeat_interval, cluster.heartbeat_timeout);
        let now = ctx.now();
        if self.registered && now.since(self.heard_from_job_manager) > timeout {
            self.lose_job_manager(ctx);
        }
        if !self.registered {
            ctx.send(Plan::JOB_MANAGER, Control::Register);
        }
        ctx.timer(now + interval, HEARTBEAT as u32);
    }

    fn on_peer_lost<O: Observer>(&mut self, peer: ProcessId, ctx: &mut Context<'_, Engine, O>) {
        if peer == Plan::JOB_MANAGER {
            self.lose_job_manager(ctx);
        }
        // The loss of another task manager is the job manager's to see: it cancels the job.
    }

    /// Without a job manager nobody would ever cancel these tasks. Flink:
    /// `TaskExecutor#disconnectJobManagerConnection`.
    fn lose_job_manager<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        self.registered = false;
        self.cancel(u32::MAX, ctx);
    }

    fn on_message<O: Observer>(&mut self, message: Control, ctx: &mut Context<'_, Engine, O>) {
        match message {
            Control::Registered => {
                self.registered = true;
                self.heard_from_job_manager = ctx.now();
            }
            Control::Heartbeat => {
                self.heard_from_job_manager = ctx.now();
                if self.registered {
                    ctx.send(Plan::JOB_MANAGER, Control::Alive);
                }
            }
            Control::Deploy(deployment) => self.deploy(*deployment, ctx),
            Control::Cancel { execution } => {
                self.cancel(execution, ctx);
                ctx.send(Plan::JOB_MANAGER, Control::Canceled { execution });
            }
            Control::Mail { execution, subtask, mail } => {
                self.on_mail(execution, subtask, mail, ctx);
            }
            Control::Register
            | Control::Alive
            | Control::Canceled { .. }
            | Control::Task { .. }
            | Control::Acknowledge { .. }
            | Control::Decline { .. } => unreachable!("task managers get no such message"),
        }
    }

    fn on_mail<O: Observer>(
        &mut self,
        execution: u32,
        subtask: SubtaskId,
        mail: Mail,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let running = self.find(subtask, execution).filter(|(place, _)| {
            self.tasks[*place as usize].as_ref().is_some_and(|task| !task.machine.is_finished())
        });
        let Some((place, lane)) = running else {
            // It has finished, or failed, while the trigger was under way: nobody must wait for
            // it. Flink: `Task#triggerCheckpointBarrier`.
            if let Mail::Trigger(barrier) = mail {
                let checkpoint = barrier.checkpoint;
                let reason = FailureReason::CheckpointDeclinedTaskNotReady;
                let declined = Observation::Declined { subtask, checkpoint, reason };
                ctx.observe_task(execution, declined);
                let message = Control::Decline { execution, subtask, checkpoint, reason };
                ctx.send(Plan::JOB_MANAGER, message);
            }
            return;
        };
        self.drive(place, Input::Mail(mail), ctx);
        let now = ctx.now();
        ctx.wake_lane(lane, now);
    }

    fn report<O: Observer>(
        &self,
        execution: u32,
        subtask: SubtaskId,
        report: Report,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        ctx.send(Plan::JOB_MANAGER, Control::Task { execution, subtask, report });
    }

    // ---- deployment and end ------------------------------------------------------------------

    fn deploy<O: Observer>(&mut self, deployment: Deployment, ctx: &mut Context<'_, Engine, O>) {
        let (subtask, execution) = (deployment.subtask, deployment.execution);
        if let Some(place) = self.place_of[subtask.index()] {
            self.remove(place, TaskState::Canceled, ctx);
        }
        let lane = ctx.open_lane();
        let operator = &self.plan.scenario.job.operators[self.plan.graph.operator(subtask).index()];
        let task = Task {
            subtask,
            execution,
            lane,
            machine: self.plan.subtask_machine(&deployment),
            reads_left: deployment.parts.len(),
            deployment,
            state: Vec::new(),
            channels: ChannelState::default(),
            snapshots: Vec::new(),
            cost: operator.cost,
            sync_cost: operator.sync_cost,
            draws: ctx.streams().stream("cost", &self.plan.subtask_names[subtask.index()]),
        };
        let place = self.place(task);
        self.place_of[subtask.index()] = Some(place);
        if self.place_of_lane.len() <= lane.index() {
            self.place_of_lane.resize(lane.index() + 1, u32::MAX);
        }
        self.place_of_lane[lane.index()] = place;
        self.observe_state(subtask, execution, TaskState::Deploying, ctx);
        let token = self.wait(Waiting::Deployed { subtask, execution });
        let task = self.tasks[place as usize].as_mut().expect("just placed");
        let delay = self.plan.scenario.cluster.deploy.draw(&mut task.draws);
        let at = ctx.now() + delay;
        ctx.timer(at, token + 1);
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

    fn observe_state<O: Observer>(
        &self,
        subtask: SubtaskId,
        execution: u32,
        state: TaskState,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let attempt = cutline::ids::Attempt(execution);
        ctx.observe_task(execution, Observation::Task { subtask, attempt, state });
    }

    /// The process is up; the task connects its channels and reads its state (R4).
    fn on_deployed<O: Observer>(&mut self, place: u32, ctx: &mut Context<'_, Engine, O>) {
        let task = self.tasks[place as usize].as_ref().expect("found by the caller");
        let (subtask, execution, lane) = (task.subtask, task.execution, task.lane);
        let graph = &self.plan.graph;
        let current =
            graph.inputs(subtask).iter().all(|c| ctx.attach_receiver(*c, execution, lane))
                && graph.outputs(subtask).iter().all(|c| ctx.attach_sender(*c, execution, lane));
        if !current {
            // A newer execution owns the channels: this deployment comes too late.
            self.fail(place, ctx);
            return;
        }
        self.observe_state(subtask, execution, TaskState::Initializing, ctx);
        let parts = task.deployment.parts.clone();
        if parts.is_empty() {
            self.start(place, ctx);
        }
        for part in parts {
            let path = part.path.clone();
            let token = self.wait(Waiting::Read { subtask, execution, part });
            ctx.request(u64::from(token), Request::Get { path });
        }
    }

    fn start<O: Observer>(&mut self, place: u32, ctx: &mut Context<'_, Engine, O>) {
        let task = self.tasks[place as usize].as_mut().expect("found by the caller");
        // Reads come back in any order; the parts are taken over in the order of the metadata.
        task.state.sort_by_key(|(index, _)| *index);
        let state = std::mem::take(&mut task.state).into_iter().map(|(_, bytes)| bytes).collect();
        let channels = Box::new(std::mem::take(&mut task.channels));
        let restored = task.deployment.restored;
        let lane = task.lane;
        self.drive(place, Input::Start { restored, state, channels }, ctx);
        let now = ctx.now();
        ctx.wake_lane(lane, now);
    }

    fn cancel<O: Observer>(&mut self, execution: u32, ctx: &mut Context<'_, Engine, O>) {
        for place in 0..self.tasks.len() {
            if self.tasks[place].as_ref().is_some_and(|task| task.execution <= execution) {
                self.remove(place as u32, TaskState::Canceled, ctx);
            }
        }
    }

    fn fail<O: Observer>(&mut self, place: u32, ctx: &mut Context<'_, Engine, O>) {
        let task = self.tasks[place as usize].as_ref().expect("found by the caller");
        let (subtask, execution) = (task.subtask, task.execution);
        self.remove(place, TaskState::Failed, ctx);
        self.report(execution, subtask, Report::Failed, ctx);
    }

    fn remove<O: Observer>(
        &mut self,
        place: u32,
        state: TaskState,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let Some(task) = self.tasks[place as usize].take() else { return };
        self.place_of[task.subtask.index()] = None;
        let graph = &self.plan.graph;
        let channels = graph.inputs(task.subtask).iter().chain(graph.outputs(task.subtask));
        ctx.close_lane(task.lane, channels.copied());
        if !task.machine.is_finished() {
            self.observe_state(task.subtask, task.execution, state, ctx);
        }
        let parts = task.snapshots.into_iter().flat_map(|snapshot| snapshot.parts).collect();
        self.discard(parts, ctx);
    }

    fn find(&self, subtask: SubtaskId, execution: u32) -> Option<(u32, LaneId)> {
        let place = self.place_of[subtask.index()]?;
        let task = self.tasks[place as usize].as_ref()?;
        (task.execution == execution).then_some((place, task.lane))
    }

    fn on_command<O: Observer>(&mut self, command: Command, ctx: &mut Context<'_, Engine, O>) {
        let (Command::Throw(subtask) | Command::Pause(subtask, _)) = command;
        let Some(place) = self.place_of[subtask.index()] else { return };
        match command {
            Command::Throw(_) => self.fail(place, ctx),
            Command::Pause(_, span) => {
                let lane = self.tasks[place as usize].as_ref().expect("it has a place").lane;
                ctx.charge(lane, span);
            }
        }
    }

    // ---- requests under way ------------------------------------------------------------------

    fn wait(&mut self, waiting: Waiting) -> u32 {
        match self.free_tokens.pop() {
            Some(token) => {
                self.waiting[token as usize] = Some(waiting);
                token
            }
            None => {
                self.waiting.push(Some(waiting));
                self.waiting.len() as u32 - 1
            }
        }
    }

    fn take(&mut self, token: u64) -> Waiting {
        self.free_tokens.push(token as u32);
        self.waiting[token as usize].take().expect("a token is answered once")
    }

    fn on_timer<O: Observer>(&mut self, token: u64, ctx: &mut Context<'_, Engine, O>) {
        if let Waiting::Deployed { subtask, execution } = self.take(token)
            && let Some((place, _)) = self.find(subtask, execution)
        {
            self.on_deployed(place, ctx);
        }
    }

    fn on_answer<O: Observer>(
        &mut self,
        token: u64,
        answer: Result<Answer, Refusal>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        match self.take(token) {
            Waiting::Deployed { .. } => unreachable!("a timer, not a request"),
            // Deviation: tried again until it is gone. Flink logs the failure.
            Waiting::Discarded(part) if answer.is_err() => self.discard(vec![part], ctx),
            Waiting::Discarded(_) | Waiting::Nobody => {}
            Waiting::Read { subtask, execution, part } => {
                if let Some((place, _)) = self.find(subtask, execution) {
                    self.on_read(place, &part, answer, ctx);
                }
            }
            Waiting::Upload { subtask, execution, checkpoint, part } => {
                self.on_uploaded(subtask, execution, checkpoint, part, answer.is_ok(), ctx);
            }
            Waiting::Flush { subtask, execution, checkpoint } => {
                if let Some((place, _)) = self.find(subtask, execution) {
                    match answer {
                        Ok(_) => self.drive(place, Input::Flushed(checkpoint), ctx),
                        // Flink: `preCommit` throws. The transaction would have to go with the next
                        // checkpoint, but its contents are lost.
                        Err(_) => self.fail(place, ctx),
                    }
                }
            }
            Waiting::Commit { subtask, execution, transaction } => {
                if let Some((place, _)) = self.find(subtask, execution) {
                    match answer {
                        Ok(_) => self.drive(place, Input::Committed(transaction), ctx),
                        // What was decided cannot be committed: the sink throws.
                        Err(_) => self.fail(place, ctx),
                    }
                }
            }
        }
    }

    fn on_uploaded<O: Observer>(
        &mut self,
        subtask: SubtaskId,
        execution: u32,
        checkpoint: CheckpointId,
        part: Part,
        written: bool,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let snapshot = self.find(subtask, execution).and_then(|(place, _)| {
            let task = self.tasks[place as usize].as_mut()?;
            let mut snapshots = task.snapshots.iter_mut();
            let snapshot = snapshots.find(|snapshot| snapshot.checkpoint == checkpoint)?;
            Some((place, snapshot))
        });
        match snapshot {
            Some((place, snapshot)) => {
                if written {
                    snapshot.parts.push(part);
                }
                self.drive(place, Input::Uploaded { checkpoint, written }, ctx);
            }
            None if written => self.discard(vec![part], ctx),
            None => {}
        }
    }

    /// Deletes parts of a snapshot that was given up before it was acknowledged: nobody else
    /// knows of them. Flink: `AsyncCheckpointRunnable#cleanup`.
    fn discard<O: Observer>(&mut self, parts: Vec<Part>, ctx: &mut Context<'_, Engine, O>) {
        for part in parts {
            let path = part.path.clone();
            let token = self.wait(Waiting::Discarded(part));
            ctx.request(u64::from(token), Request::Delete { path });
        }
    }

    /// Gives up the snapshots under way that `given_up` names.
    fn give_up_snapshots<O: Observer>(
        &mut self,
        place: u32,
        given_up: impl Fn(&Subtask, CheckpointId) -> bool,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let task = self.tasks[place as usize].as_mut().expect("found by the caller");
        let (ended, kept): (Vec<SnapshotUnderWay>, _) = std::mem::take(&mut task.snapshots)
            .into_iter()
            .partition(|snapshot| given_up(&task.machine, snapshot.checkpoint));
        task.snapshots = kept;
        self.discard(ended.into_iter().flat_map(|snapshot| snapshot.parts).collect(), ctx);
    }

    fn on_read<O: Observer>(
        &mut self,
        place: u32,
        part: &Part,
        answer: Result<Answer, Refusal>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let task = self.tasks[place as usize].as_mut().expect("found by the caller");
        let Ok(Answer::Object { bytes }) = answer else {
            self.fail(place, ctx);
            return;
        };
        match part.kind {
            PartKind::Operator => task.state.push((part.subtask, bytes)),
            PartKind::Channels => match ChannelState::decode(&bytes) {
                Ok(channels) => task.channels = channels,
                Err(_) => {
                    self.fail(place, ctx);
                    return;
                }
            },
        }
        task.reads_left -= 1;
        if task.reads_left == 0 {
            self.start(place, ctx);
        }
    }

    // ---- the data plane ----------------------------------------------------------------------

    #[inline]
    fn on_lane<O: Observer>(&mut self, lane: LaneId, ctx: &mut Context<'_, Engine, O>) {
        let place = self.place_of_lane[lane.index()];
        let now = ctx.now();
        let Some(task) = self.tasks[place as usize].as_mut() else { return };
        let mut outputs = std::mem::take(&mut self.outputs);
        while let Some((channel, frame)) = ctx.arrival(lane) {
            let channel = self.plan.graph.channels()[channel.index()].input;
            task.machine.handle(now, Input::Deliver { channel, frame }, &mut outputs);
        }
        if task.machine.next_timeout().is_some_and(|due| due <= now) {
            task.machine.handle(now, Input::Timeout, &mut outputs);
        }
        task.machine.handle(now, Input::Run, &mut outputs);
        self.outputs = outputs;
        self.follow(place, ctx);
        let Some(task) = self.tasks[place as usize].as_mut() else { return };
        if task.machine.is_ready(now) {
            ctx.lane_ready(lane);
        } else if let Some(due) = task.machine.next_read() {
            ctx.wake_lane(lane, due);
        }
        if let Some(due) = task.machine.next_timeout() {
            ctx.alarm_lane(lane, due);
        }
    }

    fn on_back<O: Observer>(&mut self, channel: ChannelId, ctx: &mut Context<'_, Engine, O>) {
        let edge = self.plan.graph.channels()[channel.index()];
        let Some(place) = self.place_of[edge.from.index()] else { return };
        self.outputs.push(Output::AwaitBack(edge.output));
        self.follow(place, ctx);
        let Some(task) = self.tasks[place as usize].as_mut() else { return };
        let lane = task.lane;
        if task.machine.is_ready(ctx.now()) {
            let now = ctx.now();
            ctx.wake_lane(lane, now);
        } else if let Some(due) = task.machine.next_read() {
            ctx.wake_lane(lane, due);
        }
    }

    fn drive<O: Observer>(&mut self, place: u32, input: Input, ctx: &mut Context<'_, Engine, O>) {
        let task = self.tasks[place as usize].as_mut().expect("found by the caller");
        task.machine.handle(ctx.now(), input, &mut self.outputs);
        self.follow(place, ctx);
    }

    /// Does what a subtask asked for. Doing it may make the subtask ask for more.
    #[inline]
    fn follow<O: Observer>(&mut self, place: u32, ctx: &mut Context<'_, Engine, O>) {
        let mut outputs = std::mem::take(&mut self.outputs);
        let mut next = 0;
        while let Some(output) = outputs.get(next) {
            next += 1;
            let Some(task) = self.tasks[place as usize].as_mut() else { break };
            let (subtask, execution, lane) = (task.subtask, task.execution, task.lane);
            let graph = &self.plan.graph;
            match *output {
                Output::Processed { channel, record } => {
                    let channel = graph.inputs(subtask)[channel.index()];
                    ctx.observe_task(execution, Observation::Processed { channel, record });
                    let span = task.cost.draw(&mut task.draws) * u64::from(record.weight);
                    ctx.charge(lane, span);
                }
                Output::Read(record) => {
                    let Record { split, offset, .. } = record;
                    ctx.observe_task(
                        execution,
                        Observation::SourceEmitted { subtask, split, offset },
                    );
                    let span = task.cost.draw(&mut task.draws) * u64::from(record.weight);
                    ctx.charge(lane, span);
                }
                Output::Passed { channel, record } => {
                    let channel = graph.outputs(subtask)[channel.index()];
                    ctx.observe_task(execution, Observation::Sent { channel, record });
                    let element = Element::Buffer(record);
                    let frame = Frame { element, priority: false, backlog: 0 };
                    ctx.transmit(channel, execution, frame, record.bytes());
                }
                Output::Sent { channel, record } => {
                    let channel = graph.outputs(subtask)[channel.index()];
                    ctx.observe_task(execution, Observation::Sent { channel, record });
                }
                Output::Transmit { channel, frame } => {
                    let channel = graph.outputs(subtask)[channel.index()];
                    ctx.transmit(channel, execution, frame, wire_bytes(&frame));
                }
                Output::SendBack { channel, back } => {
                    let channel = graph.inputs(subtask)[channel.index()];
                    ctx.send_back(channel, execution, back);
                }
                Output::AwaitBack(output) => {
                    let channel = graph.outputs(subtask)[output.index()];
                    while let Some(back) = ctx.take_back(channel, execution) {
                        let input = Input::Back { channel: output, back };
                        task.machine.handle(ctx.now(), input, &mut outputs);
                    }
                    ctx.want_back(channel, execution, task.machine.awaits_back(output));
                }
                _ => {
                    let output = std::mem::replace(&mut outputs[next - 1], Output::Running);
                    self.on_event_output(place, output, ctx);
                }
            }
        }
        outputs.clear();
        self.outputs = outputs;
    }

    /// What is asked for now and then: about barriers, snapshots and the task's life.
    #[cold]
    #[inline(never)]
    fn on_event_output<O: Observer>(
        &mut self,
        place: u32,
        output: Output,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let task = self.tasks[place as usize].as_mut().expect("found by the caller");
        let (subtask, execution, lane) = (task.subtask, task.execution, task.lane);
        let graph = &self.plan.graph;
        let input_id = |channel: InputChannel| graph.inputs(subtask)[channel.index()];
        let output_id = |channel: OutputChannel| graph.outputs(subtask)[channel.index()];
        let step = |step, checkpoint| Observation::Step {
            step,
            checkpoint: Some(checkpoint),
            subtask: Some(subtask),
        };
        match output {
            Output::BarrierReceived { channel, barrier } => {
                let (channel, checkpoint) = (input_id(channel), barrier.checkpoint);
                ctx.observe_task(execution, Observation::BarrierReceived { channel, checkpoint });
                ctx.observe_task(execution, step(Step::B1, checkpoint));
            }
            Output::Blocked(channel) => {
                ctx.observe_task(execution, Observation::Blocked { channel: input_id(channel) });
            }
            Output::Resumed(channel) => {
                ctx.observe_task(execution, Observation::Resumed { channel: input_id(channel) });
            }
            Output::Cut { barrier, cut, nominal: _, start_delay } => {
                let checkpoint = barrier.checkpoint;
                let how = match cut {
                    None => {
                        ctx.observe_task(execution, step(Step::B1, checkpoint));
                        CutKind::Source
                    }
                    Some(Cut::Aligned) => CutKind::Aligned,
                    Some(Cut::Unaligned) => CutKind::Unaligned,
                    Some(Cut::AtLeastOnce) => CutKind::AtLeastOnce,
                };
                let sync = task.sync_cost.draw(&mut task.draws);
                let ready_at = ctx.busy_until(lane).max(ctx.now());
                task.snapshots.push(SnapshotUnderWay {
                    checkpoint,
                    kind: barrier.options.kind,
                    parts: Vec::new(),
                    cut_at: ready_at + sync,
                    sync,
                    start_delay,
                    alignment: None,
                    ended: task.machine.has_ended(),
                });
                ctx.charge(lane, sync);
                ctx.observe_task(execution, step(Step::B2, checkpoint));
                ctx.observe_task(execution, step(Step::B3, checkpoint));
                ctx.observe_task(execution, Observation::Cut { subtask, checkpoint, how });
                ctx.observe_task(execution, step(Step::B4, checkpoint));
            }
            Output::BarrierSent { channel, checkpoint } => {
                let channel = output_id(channel);
                ctx.observe_task(execution, Observation::BarrierSent { channel, checkpoint });
            }
            Output::Aligned { checkpoint, metrics } => {
                if let Some(snapshot) =
                    task.snapshots.iter_mut().find(|one| one.checkpoint == checkpoint)
                {
                    snapshot.alignment = Some(metrics);
                }
            }
            Output::PersistedInput { channel, checkpoint, record } => {
                let channel = input_id(channel);
                let at_sender = false;
                ctx.observe_task(
                    execution,
                    Observation::Persisted { channel, checkpoint, record, at_sender },
                );
            }
            Output::PersistedOutput { channel, checkpoint, record } => {
                let channel = output_id(channel);
                let at_sender = true;
                ctx.observe_task(
                    execution,
                    Observation::Persisted { channel, checkpoint, record, at_sender },
                );
            }
            Output::Recovered { channel, record } => {
                ctx.observe_task(
                    execution,
                    Observation::Recovered { channel: input_id(channel), record },
                );
            }
            Output::Upload { checkpoint, part, bytes, nominal } => {
                ctx.observe_task(execution, step(Step::B5, checkpoint));
                self.upload(place, checkpoint, part, bytes, nominal, ctx);
            }
            Output::Acknowledge(checkpoint) => {
                ctx.observe_task(execution, step(Step::B6, checkpoint));
                ctx.observe_task(execution, Observation::Acknowledged { subtask, checkpoint });
                let snapshot = task.take_snapshot(checkpoint, ctx.now());
                let message = Control::Acknowledge {
                    execution,
                    subtask,
                    checkpoint,
                    snapshot: Box::new(snapshot),
                };
                ctx.send(Plan::JOB_MANAGER, message);
            }
            Output::Decline { checkpoint, reason } => {
                self.give_up_snapshots(place, |_, one| one == checkpoint, ctx);
                ctx.observe_task(execution, step(Step::B6, checkpoint));
                ctx.observe_task(execution, Observation::Declined { subtask, checkpoint, reason });
                let message = Control::Decline { execution, subtask, checkpoint, reason };
                ctx.send(Plan::JOB_MANAGER, message);
            }
            Output::Effect(effect) => self.on_effect(subtask, execution, effect, ctx),
            Output::NotifiedComplete(checkpoint) => {
                self.give_up_snapshots(place, |machine, one| !machine.is_taking(one), ctx);
                ctx.observe_task(execution, step(Step::N1, checkpoint));
                ctx.observe_task(execution, Observation::NotifiedComplete { subtask, checkpoint });
            }
            Output::NotifiedAborted(checkpoint) => {
                self.give_up_snapshots(place, |_, one| one == checkpoint, ctx);
                ctx.observe_task(execution, Observation::NotifiedAborted { subtask, checkpoint });
            }
            Output::Running => {
                let checkpoint = task.deployment.restored;
                let step = Observation::Step { step: Step::R6, checkpoint, subtask: Some(subtask) };
                ctx.observe_task(execution, step);
                ctx.observe_task(execution, Observation::TaskRestored { subtask, checkpoint });
                self.observe_state(subtask, execution, TaskState::Running, ctx);
                self.report(execution, subtask, Report::Running, ctx);
            }
            Output::Finished => {
                self.observe_state(subtask, execution, TaskState::Finished, ctx);
                self.report(execution, subtask, Report::Finished, ctx);
            }
            Output::RestoreFailed(_) | Output::StopFailed(_) => self.fail(place, ctx),
            Output::Processed { .. }
            | Output::Read(_)
            | Output::Passed { .. }
            | Output::Sent { .. }
            | Output::Transmit { .. }
            | Output::SendBack { .. }
            | Output::AwaitBack(_) => unreachable!("handled by the caller"),
        }
    }

    fn upload<O: Observer>(
        &mut self,
        place: u32,
        checkpoint: CheckpointId,
        kind: PartKind,
        bytes: Vec<u8>,
        nominal: u64,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let task = self.tasks[place as usize].as_ref().expect("found by the caller");
        let (subtask, execution) = (task.subtask, task.execution);
        let snapshot = task.snapshots.iter().find(|snapshot| snapshot.checkpoint == checkpoint);
        let of = snapshot.expect("what is uploaded was cut").kind;
        let part = self.plan.part((checkpoint, of), subtask, execution, kind, &bytes, nominal);
        let path = part.path.clone();
        let token = self.wait(Waiting::Upload { subtask, execution, checkpoint, part });
        let request = Request::Put { path, bytes, nominal, purpose: Purpose::State };
        ctx.request(u64::from(token), request);
    }

    fn on_effect<O: Observer>(
        &mut self,
        subtask: SubtaskId,
        execution: u32,
        effect: Effect,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let (waiting, request) = match effect {
            Effect::Upsert(record) => {
                ctx.observe(Observation::Upserted { subtask, record });
                return;
            }
            Effect::Append(record) => {
                ctx.observe(Observation::Appended { subtask, record });
                return;
            }
            // The external system opens a transaction with its first flush; until then there is
            // nothing that could be left over.
            Effect::Begin { .. } => return,
            Effect::PreCommit { transaction, checkpoint, contents } => (
                Waiting::Flush { subtask, execution, checkpoint },
                Request::PreCommit { transaction, checkpoint, contents },
            ),
            Effect::Commit { transaction, .. } => {
                let place = Some(subtask);
                ctx.observe(Observation::Step { step: Step::S5, checkpoint: None, subtask: place });
                let waiting = Waiting::Commit { subtask, execution, transaction };
                (waiting, Request::Commit { transaction })
            }
            Effect::AbortLeftOvers(left_overs) => {
                let checkpoint = left_overs.restored;
                let subtask = Some(subtask);
                ctx.observe(Observation::Step { step: Step::S6, checkpoint, subtask });
                (Waiting::Nobody, Request::AbortLeftOvers(left_overs))
            }
        };
        let token = self.wait(waiting);
        ctx.request(u64::from(token), request);
    }
}

impl Task {
    fn take_snapshot(&mut self, checkpoint: CheckpointId, now: VirtualTime) -> SubtaskSnapshot {
        let index = self.snapshots.iter().position(|one| one.checkpoint == checkpoint);
        let index = index.expect("what is acknowledged was cut");
        let snapshot = self.snapshots.remove(index);
        SubtaskSnapshot {
            parts: snapshot.parts,
            ended: snapshot.ended,
            start_delay: snapshot.start_delay,
            alignment: snapshot.alignment,
            sync: snapshot.sync,
            async_part: now.since(snapshot.cut_at),
            acknowledged_at: now,
        }
    }
}

/// Bytes of an element on the wire; events are small.
#[inline]
fn wire_bytes(frame: &Frame) -> u64 {
    match frame.element {
        Element::Buffer(record) => record.bytes(),
        Element::Barrier(_)
        | Element::CancelMarker(_)
        | Element::EndOfData
        | Element::EndOfPartition => 64,
    }
}
