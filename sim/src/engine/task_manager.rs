//! A task manager: a process with a lane for each subtask that is deployed on it.
//!
//! Flink: `TaskExecutor`, `Task`, `RuntimeEnvironment`. It mounts the core's [`Subtask`] machine:
//! hands it what arrives, and does what it asks for.

mod changelog;
mod data_plane;
mod deployment;
mod local;
mod requests;
mod unanswered;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use cutline::defect::Defect;
use cutline::ids::{ChannelId, CheckpointId, OperatorId, RegionId, SubtaskId};
use cutline::job::assignment::Captured;
use cutline::message::{FailureReason, SnapshotKind};
use cutline::storage::changelog::{Changelog, SequenceNumber};
use cutline::storage::increment::Increments;
use cutline::storage::local::{LocalCopies, LocalCopy};
use cutline::task::barrier::AlignmentMetrics;
use cutline::task::subtask::{Input, Mail, Output, Subtask};
use cutline::time::{VirtualDuration, VirtualTime};

use self::requests::Waiting;
use super::plan::Plan;
use super::{Control, Deployment, Engine, Fenced, Part, Place, Report, SubtaskSnapshot};
use crate::kernel::distribution::Distribution;
use crate::kernel::stream::Stream;
use crate::observe::Observation;
use crate::world::{Context, Event, LaneId, Observer, ProcessId, Request};

/// Timer token of the heartbeat; others are places in `waiting`.
const HEARTBEAT: u64 = 0;

/// A task manager.
#[derive(Debug)]
pub struct TaskManager {
    plan: Arc<Plan>,
    number: u32,
    /// The job manager that leads, and its session.
    leader: Option<(ProcessId, u64)>,
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
    /// Until when tasks that were cancelled are busy with what they were doing, by their region.
    leaving_until: BTreeMap<RegionId, VirtualTime>,
    /// Copies of the keyed states of subtasks that ran here, for as long as the process lives, and
    /// the execution that made the last.
    copies: BTreeMap<SubtaskId, (u32, LocalCopies)>,
}

/// One subtask, or a chain of them, by the number of whose head it goes.
#[derive(Debug)]
struct Task {
    subtask: SubtaskId,
    /// The last of the chain: the output channels are its.
    tail: SubtaskId,
    execution: u32,
    lane: LaneId,
    machine: Subtask,
    deployment: Deployment,
    reads_left: usize,
    /// Of these, changes that are read one after another when all else was.
    changes_left: VecDeque<Part>,
    /// What there is of the state of each subtask of the chain, the head first.
    members: Vec<Member>,
    /// Changes of some of these are logged.
    logs: bool,
    /// How records come to those behind the head.
    links: Vec<Link>,
    /// Captured in-flight data, as it is read.
    captured: Vec<Captured>,
    snapshots: Vec<SnapshotUnderWay>,
    cost: Distribution,
    sync_cost: Distribution,
    draws: Stream,
    /// How long the calls of its operator take, if it makes any.
    calls: Option<(Distribution, Stream)>,
}

/// A subtask of a task, and its state.
#[derive(Debug)]
struct Member {
    subtask: SubtaskId,
    operator: OperatorId,
    state: Vec<(u32, Vec<u8>)>,
    /// Files of incremental snapshots, as they are read.
    shared: Vec<(Part, Vec<u8>)>,
    /// What of its state is stored already, if only what has changed is uploaded.
    increments: Option<Increments>,
    /// The log of its changes, if they are logged.
    changelog: Option<Box<Changelog>>,
    /// The files that snapshots of its state may be made of, if copies are kept and files are shared.
    at_hand: LocalCopy,
}

/// What a subtask costs that gets its records by call. Nothing travels on the channel: it is how those
/// who watch call that way.
#[derive(Debug)]
struct Link {
    channel: ChannelId,
    cost: Distribution,
    sync_cost: Distribution,
    draws: Stream,
}

/// What is known of a snapshot before it is acknowledged.
///
/// Deviation: how long its two parts take is true time; Flink takes `System.nanoTime` of the host for
/// them, as for the alignment.
#[derive(Debug)]
struct SnapshotUnderWay {
    checkpoint: CheckpointId,
    kind: SnapshotKind,
    parts: Vec<Part>,
    /// What is kept of it here, by subtask.
    copies: Vec<(SubtaskId, LocalCopy)>,
    /// By subtask of the task: files of its state that are being uploaded.
    uploads: Vec<usize>,
    /// Changes among them, by subtask of the task.
    awaited: Vec<(usize, SequenceNumber)>,
    cut_at: VirtualTime,
    sync: VirtualDuration,
    start_delay: VirtualDuration,
    alignment: Option<AlignmentMetrics>,
    ended: bool,
}

impl TaskManager {
    /// A task manager that has just been started.
    pub fn new(plan: Arc<Plan>, number: u32) -> Self {
        let subtasks = plan.graph.subtasks();
        let leader = (!plan.elects()).then_some((Plan::JOB_MANAGER, 0));
        Self {
            plan,
            number,
            leader,
            registered: false,
            heard_from_job_manager: VirtualTime::ZERO,
            tasks: Vec::new(),
            place_of: vec![None; subtasks],
            place_of_lane: Vec::new(),
            waiting: Vec::new(),
            free_tokens: Vec::new(),
            outputs: Vec::new(),
            leaving_until: BTreeMap::new(),
            copies: BTreeMap::new(),
        }
    }

    /// The process that takes its place after a crash.
    pub fn reborn(&self) -> Self {
        Self::new(Arc::clone(&self.plan), self.number)
    }

    /// Whether none of its tasks goes on: one that was cut off when the job ended may.
    pub fn is_settled(&self) -> bool {
        self.tasks.iter().flatten().all(|task| task.machine.is_finished())
    }

    /// Reacts to an event.
    #[inline]
    pub fn handle<O: Observer>(&mut self, event: Event<Engine>, ctx: &mut Context<'_, Engine, O>) {
        match event {
            Event::Lane(lane) => self.on_lane(lane, ctx),
            Event::Back { channel } => self.on_back(channel, ctx),
            Event::Message { from, message } => self.on_fenced(from, message, ctx),
            Event::Answered { token, answer } => self.on_answer(token, answer, ctx),
            Event::Timer(HEARTBEAT) => self.on_heartbeat_timer(ctx),
            Event::Timer(token) => self.on_timer(token - 1, ctx),
            Event::Started => {
                self.watch_leader(ctx);
                self.on_heartbeat_timer(ctx);
            }
            Event::Unanswered { peer, message } => self.on_unanswered(peer, message, ctx),
            Event::PeerLost { peer } => self.on_peer_lost(peer, ctx),
            Event::Command(command) => self.on_command(command, ctx),
            Event::Asked => unreachable!("people outside talk to the job manager"),
        }
    }

    // ---- the job manager ---------------------------------------------------------------------

    fn on_heartbeat_timer<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        let cluster = &self.plan.scenario.cluster;
        let (interval, timeout) = (cluster.heartbeat_interval, cluster.heartbeat_timeout);
        let now = ctx.relative_time();
        if self.registered && now.since(self.heard_from_job_manager) > timeout {
            self.lose_job_manager(ctx);
        }
        if !self.registered {
            self.end_what_runs(ctx);
            self.tell(Control::Register { life: ctx.life() }, ctx);
        }
        ctx.timer_by_clock(now + interval, HEARTBEAT as u32);
    }

    fn on_peer_lost<O: Observer>(&mut self, peer: ProcessId, ctx: &mut Context<'_, Engine, O>) {
        if self.leader.is_some_and(|(leader, _)| leader == peer) {
            self.lose_job_manager(ctx);
            return;
        }
        for place in 0..self.tasks.len() as u32 {
            if self.is_cut_off(place, ctx) {
                self.fail(place, ctx);
            }
        }
    }

    /// Without a job manager nobody would ever cancel these tasks. Flink:
    /// `TaskExecutor#disconnectJobManagerConnection`.
    fn lose_job_manager<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        self.registered = false;
        self.cancel(u32::MAX, None, ctx);
    }

    /// Waits for another leader than the one that is known. Flink: `JobLeaderService`.
    fn watch_leader<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        if self.plan.elects() {
            let after = self.leader.map_or(0, |(_, session)| session);
            let token = self.wait(Waiting::Leader);
            ctx.request(u64::from(token), Request::AwaitLeader { after });
        }
    }

    /// There is another leader: the tasks that were deployed by the last one end.
    fn on_leader<O: Observer>(
        &mut self,
        leader: (ProcessId, u64),
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if self.registered {
            self.lose_job_manager(ctx);
        }
        self.leader = Some(leader);
        self.tell(Control::Register { life: ctx.life() }, ctx);
        self.watch_leader(ctx);
    }

    /// Says something to the job manager that leads, as far as is known.
    fn tell<O: Observer>(&self, message: Control, ctx: &mut Context<'_, Engine, O>) {
        if let Some((leader, token)) = self.leader {
            ctx.send(leader, Fenced { token, message });
        }
    }

    fn on_fenced<O: Observer>(
        &mut self,
        from: ProcessId,
        Fenced { token, message }: Fenced,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let fences = self.plan.elects() && !self.plan.defects.has(Defect::D26);
        if !fences || self.leader == Some((from, token)) {
            return self.on_message(message, ctx);
        }
        let orders = match message {
            Control::Deploy(_) | Control::Cancel { .. } | Control::Mail { .. } => true,
            Control::Registered
            | Control::Heartbeat
            | Control::Register { .. }
            | Control::Alive
            | Control::Canceled { .. }
            | Control::RequestSplit { .. }
            | Control::EventArrived { .. }
            | Control::Task { .. }
            | Control::Acknowledge { .. }
            | Control::Decline { .. } => false,
        };
        if orders && self.leader.is_some_and(|(_, session)| token < session) {
            let process = ctx.me().0;
            ctx.observe(Observation::OrderRefused { process, session: token });
        }
    }

    fn on_message<O: Observer>(&mut self, message: Control, ctx: &mut Context<'_, Engine, O>) {
        match message {
            Control::Registered => {
                self.registered = true;
                self.heard_from_job_manager = ctx.relative_time();
            }
            Control::Heartbeat => {
                self.heard_from_job_manager = ctx.relative_time();
                if self.registered {
                    self.tell(Control::Alive, ctx);
                }
            }
            Control::Deploy(deployment) => self.deploy(*deployment, ctx),
            Control::Cancel { execution, region } => {
                self.cancel(execution, region, ctx);
                self.say_when_canceled(execution, region, ctx);
            }
            Control::Mail { execution, subtask, mail } => {
                self.on_mail(execution, subtask, mail, ctx);
            }
            Control::Register { .. }
            | Control::Alive
            | Control::Canceled { .. }
            | Control::RequestSplit { .. }
            | Control::EventArrived { .. }
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
        let plan = Arc::clone(&self.plan);
        for member in plan.graph.chain_of(subtask) {
            match mail {
                Mail::NotifyComplete(checkpoint) => self.keep_copies_from(*member, checkpoint),
                Mail::NotifyAborted(checkpoint) => self.drop_copy(*member, checkpoint),
                Mail::Trigger(_) | Mail::Split { .. } | Mail::Capture { .. } => {}
            }
        }
        let Some((place, lane)) = self.find_running(subtask, execution) else {
            // It has finished, or failed, while the trigger was under way: nobody must wait for
            // it. Flink: `Task#triggerCheckpointBarrier`.
            if let Mail::Trigger(barrier) = mail {
                let checkpoint = barrier.checkpoint;
                let reason = FailureReason::CheckpointDeclinedTaskNotReady;
                let declined = Observation::Declined { subtask, checkpoint, reason };
                ctx.observe_task((subtask, execution), declined);
                let message = Control::Decline { execution, subtask, checkpoint, reason };
                self.tell(message, ctx);
            }
            return;
        };
        if let Mail::Split { id, .. } = mail {
            self.tell(Control::EventArrived { subtask, id }, ctx);
        }
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
        self.tell(Control::Task { execution, subtask, report }, ctx);
    }
}

impl SnapshotUnderWay {
    /// Its parts, but for those that belong to a log.
    fn into_own_parts(self) -> impl Iterator<Item = Part> {
        let is_own = |part: &Part| !matches!(part.place, Place::Logged { .. });
        self.parts.into_iter().filter(is_own)
    }
}

impl Task {
    /// The subtask of the task that runs an operator.
    fn member(&mut self, operator: OperatorId) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.operator == operator)
    }

    /// What is stored already of the states of which only what has changed is uploaded.
    fn increments(&mut self) -> impl Iterator<Item = &mut Increments> {
        self.members.iter_mut().filter_map(|member| member.increments.as_mut())
    }

    /// Says of files of logs whether they were named before.
    fn mark_named(&self, parts: &mut [Part]) {
        if !self.logs {
            return;
        }
        for part in parts {
            if let Place::Logged { key, named, .. } = &mut part.place {
                let member = self.members.iter().find(|member| member.operator == part.operator);
                let log = member.and_then(|member| member.changelog.as_ref());
                *named = log.is_some_and(|log| log.is_named(key));
            }
        }
    }

    /// What is acknowledged, and the copies of it that stay here.
    fn take_snapshot(
        &mut self,
        checkpoint: CheckpointId,
        now: VirtualTime,
    ) -> (SubtaskSnapshot, Vec<(SubtaskId, LocalCopy)>) {
        let index = self.snapshots.iter().position(|one| one.checkpoint == checkpoint);
        let index = index.expect("what is acknowledged was cut");
        let snapshot = self.snapshots.remove(index);
        let acknowledged = SubtaskSnapshot {
            parts: snapshot.parts,
            ended: snapshot.ended,
            start_delay: snapshot.start_delay,
            alignment: snapshot.alignment,
            sync: snapshot.sync,
            async_part: now.since(snapshot.cut_at),
            acknowledged_at: now,
        };
        (acknowledged, snapshot.copies)
    }
}
