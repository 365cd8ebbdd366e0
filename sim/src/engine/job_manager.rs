//! The job manager: leadership, slots, deployment, failover, and the checkpoint coordinator.
//!
//! Flink: `JobMaster`, `DefaultScheduler`, `CheckpointCoordinatorDeActivator`. What becomes of
//! checkpoints is decided by the core's [`Coordinator`]; what happens here is around it: who runs
//! where, and when everything starts again.

mod actions;
mod calls;
mod checkpoints;
mod election;
mod enumerators;
mod execution;
mod leadership;
mod leap;
mod orphans;
mod regions;
mod translate;
mod unanswered;

use std::collections::BTreeMap;
use std::sync::Arc;

use cutline::coordinator::completed::Retained;
use cutline::coordinator::io::{self, Token};
use cutline::coordinator::own::Coordinate;
use cutline::defect::Defect;
use cutline::enumerator::{self, Enumerator};
use cutline::ids::{Attempt, CheckpointId, LayoutId, OperatorId, RegionId, SubtaskId};
use cutline::job::Layout;
use cutline::message::{FailureReason, SnapshotKind};
use cutline::restart::RestartBackoff;
use cutline::time::{VirtualDuration, VirtualTime};

use self::calls::Call;
use self::execution::Execution;
pub use self::leap::Idle;
use super::plan::Plan;
use super::{Control, Engine, Fenced, Part};
use crate::kernel::stream::Stream;
use crate::observe::{JobEnd, Observation};
use crate::world::{Answer, Context, Event, Observer, Pointer, ProcessId, Refusal, Request};

/// What the engine keeps for a subtask in a completed checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotPayload {
    /// Its files.
    pub parts: Vec<Part>,
}

/// Executions of one leader are numbered from 1 above those of the leaders before it.
const EXECUTIONS_PER_LEADER: u32 = 1 << 12;

/// The job manager.
#[derive(Debug)]
pub struct JobManager {
    plan: Arc<Plan>,
    phase: Phase,
    session: u64,
    leadership: leadership::Leadership,
    task_managers: BTreeMap<u32, Registered>,
    coordinator: Option<Box<dyn Coordinate<SnapshotPayload>>>,
    backoff: RestartBackoff,
    execution: Execution,
    /// The failover regions that are being restarted while the others run.
    down: BTreeMap<RegionId, regions::Restart>,
    /// How the job is spread over subtasks.
    layout: LayoutId,
    /// The parallelism, by operator, of checkpoints that this leader has found, not taken.
    parallelism_found: BTreeMap<CheckpointId, Vec<u32>>,
    /// Completed checkpoints found at the start, by id, as their metadata is read.
    recovered: BTreeMap<CheckpointId, Retained<SnapshotPayload>>,
    /// How the job has ended, under a former leader or under this one.
    ended: Option<JobEnd>,
    /// What each pending snapshot is for.
    pending: BTreeMap<CheckpointId, SnapshotKind>,
    stop: Option<actions::Stop>,
    resuming: Option<actions::Resuming>,
    /// Orphans that are being looked for, or deleted.
    clean_up: Option<orphans::CleanUp>,
    /// The first checkpoint of the job that is being run.
    first_checkpoint: CheckpointId,
    /// Requests and timers under way, by token.
    waiting: BTreeMap<u64, Waiting>,
    tokens: u64,
    /// When the coordinator's pending timer is due.
    coordinator_timer: Option<VirtualTime>,
    /// Files of a discard that are still to be deleted.
    discards: BTreeMap<Token, usize>,
    inbox: checkpoints::Inbox,
    /// Acknowledgements that came before there was a coordinator.
    early: Vec<io::Input<SnapshotPayload>>,
    /// Shared files uploaded for acknowledgements that are being taken in.
    acknowledging: BTreeMap<(CheckpointId, SubtaskId), (Attempt, Vec<String>)>,
    /// Of sources that have one.
    enumerators: BTreeMap<OperatorId, Enumerator>,
    /// When the pending timer of each of them is due.
    discovering: BTreeMap<OperatorId, VirtualTime>,
    /// Its triggers have just been sent (T5).
    triggered: Option<CheckpointId>,
    /// The coordinator is being served: what comes meanwhile waits in the inbox.
    coordinating: bool,
    outputs: Vec<io::Output<SnapshotPayload>>,
    draws: Option<Stream>,
    /// Time that was leapt over: the clock of the restart strategy goes ahead by it.
    leapt: VirtualDuration,
}

/// A task manager that has registered.
#[derive(Clone, Copy, Debug)]
struct Registered {
    /// Its address: the process, and which of the lives of its host that is.
    process: ProcessId,
    life: u32,
    heard: VirtualTime,
    /// Heartbeat requests in a row that could not be delivered.
    failures: u32,
    /// Tasks of an ended execution may still run there.
    canceling: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Of several candidates, another one leads, or nobody.
    Standby,
    /// Has led: waiting for what it had begun to come to its end.
    Suspending,
    /// Becoming the leader, reading the pointers and the metadata they name.
    Recovering,
    /// Waiting for slots.
    Waiting,
    /// Waiting for the coordinator to name the checkpoint to start from (R2).
    Choosing,
    /// Tasks are deployed.
    Running,
    /// The execution has failed: waiting for its tasks to end and for the restart delay.
    Restarting { delay_over: bool },
    /// The user wants the job to end: waiting for its tasks to do so.
    Canceling { action: u32 },
    /// The execution has failed for good: waiting for its tasks to end.
    Failing,
    /// The job is over: waiting for the last requests.
    Ending(JobEnd),
    /// Nothing more to do.
    Ended,
}

/// What a token stands for.
#[derive(Debug)]
enum Waiting {
    Lead,
    /// To be elected, or to stay it.
    Campaign {
        /// By the wall clock.
        asked: VirtualTime,
        renews: bool,
    },
    CampaignTimer,
    RenewDeadline {
        session: u64,
    },
    /// Which pointers there are: whether one that was written, or not, is among them.
    Found {
        token: Token,
        checkpoint: CheckpointId,
    },
    Pointers,
    Metadata {
        checkpoint: CheckpointId,
        pointer: Pointer,
    },
    RetryRecovery,
    IdDrawn(Token),
    MetadataWritten {
        token: Token,
        path: String,
        nominal: u64,
        savepoint: bool,
    },
    PointerWritten {
        token: Token,
        pointer: checkpoints::Decision,
    },
    PointerRemoved {
        token: Token,
        checkpoint: CheckpointId,
    },
    Deleted {
        token: Token,
        path: String,
    },
    /// A file that came too late is being deleted.
    LateDeleted {
        path: String,
    },
    JobResult(JobEnd),
    /// What is in the store, to find orphans in it.
    Listed,
    /// What is being uploaded in parts by nobody any more.
    UploadsListed {
        files: Vec<String>,
    },
    /// Which pointers there are, now that the store was listed.
    PointersListed {
        listing: orphans::Listing,
    },
    /// An orphan is being deleted.
    OrphanDeleted {
        request: Request,
    },
    /// The metadata of the snapshot a new job is to start from.
    Snapshot,
    Adopted,
    Heartbeat,
    CoordinatorTimeout(VirtualTime),
    CoordinatorPoll,
    RestartDelay {
        execution: u32,
    },
    /// The same of one region.
    RegionDelay {
        region: RegionId,
        execution: u32,
    },
    Manual(usize),
    /// The sources have worked off their backlog.
    BacklogOver,
    /// An enumerator discovers a split.
    Discovery(OperatorId),
    /// An enumerator's part of a checkpoint.
    Captured {
        source: OperatorId,
        checkpoint: CheckpointId,
        state: Vec<u8>,
    },
    /// Whether a task manager was reached.
    Call(Call),
}

impl JobManager {
    /// A job manager that has just been started.
    pub fn new(plan: Arc<Plan>) -> Self {
        Self {
            backoff: RestartBackoff::new(plan.scenario.restart.clone()),
            execution: Execution::new(plan.graph.subtasks()),
            down: BTreeMap::new(),
            layout: LayoutId(0),
            parallelism_found: BTreeMap::new(),
            enumerators: plan.enumerators(),
            discovering: BTreeMap::new(),
            triggered: None,
            plan,
            phase: Phase::Recovering,
            session: 0,
            leadership: leadership::Leadership::default(),
            task_managers: BTreeMap::new(),
            coordinator: None,
            recovered: BTreeMap::new(),
            ended: None,
            pending: BTreeMap::new(),
            stop: None,
            resuming: None,
            clean_up: None,
            first_checkpoint: CheckpointId(0),
            waiting: BTreeMap::new(),
            tokens: 0,
            coordinator_timer: None,
            discards: BTreeMap::new(),
            inbox: checkpoints::Inbox::new(),
            early: Vec::new(),
            acknowledging: BTreeMap::new(),
            coordinating: false,
            outputs: Vec::new(),
            draws: None,
            leapt: VirtualDuration::ZERO,
        }
    }

    /// The process that takes its place after a crash.
    pub fn reborn(&self) -> Self {
        Self { leapt: self.leapt, ..Self::new(Arc::clone(&self.plan)) }
    }

    fn layout(&self) -> &Layout {
        self.plan.graph.layout(self.layout)
    }

    /// The number of a subtask among those of the present job, as the coordinator counts them;
    /// `None` for one of a former job with other subtasks.
    fn number_of(&self, subtask: SubtaskId) -> Option<SubtaskId> {
        let subtasks = self.layout().subtasks();
        subtasks.contains(&subtask.0).then(|| SubtaskId(subtask.0 - subtasks.start))
    }

    /// The subtask with this number in the present job.
    fn numbered(&self, number: SubtaskId) -> SubtaskId {
        SubtaskId(self.layout().subtasks().start + number.0)
    }

    /// Reacts to an event.
    pub fn handle<O: Observer>(&mut self, event: Event<Engine>, ctx: &mut Context<'_, Engine, O>) {
        match event {
            Event::Started => self.on_started(ctx),
            Event::Message { from, message } => self.on_fenced(from, message, ctx),
            Event::Unanswered { peer, message } => self.on_unanswered(peer, message, ctx),
            Event::PeerLost { peer } => self.on_connection_lost(peer, ctx),
            Event::Timer(token) => self.on_timer(token, ctx),
            Event::Answered { token, answer } => self.on_answer(token, answer, ctx),
            Event::Asked => self.on_asked(ctx),
            // Faults inside tasks are the task managers'.
            Event::Command(_) => {}
            Event::Lane(_) | Event::Back { .. } => unreachable!("a job manager has no lanes"),
        }
    }

    /// Completed checkpoints that are retained, oldest first, with their files.
    pub fn retained(&self) -> impl Iterator<Item = &Retained<SnapshotPayload>> {
        self.coordinator.iter().flat_map(|coordinator| coordinator.retained())
    }

    /// Who has not done its part yet, for a report on a job that is stuck.
    pub fn describe(&self) -> String {
        let present = self.layout().indices();
        let waiting = self.execution.unfinished(present).take(8);
        let waiting =
            waiting.map(|(at, state)| format!("{} {state:?}", self.plan.subtask_names[at]));
        let waiting: Vec<String> = waiting.collect();
        format!("job manager: {:?}; not finished: {}", self.phase, waiting.join(", "))
    }

    fn on_message<O: Observer>(
        &mut self,
        from: ProcessId,
        message: Control,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        match message {
            Control::Register { life } => self.on_register((from, life), ctx),
            Control::Alive => {
                if let Some(worker) = self.worker_in(from) {
                    let registered = self.task_managers.get_mut(&worker).expect("just found");
                    (registered.heard, registered.failures) = (ctx.relative_time(), 0);
                }
            }
            Control::Canceled { execution, region } => {
                if let Some(worker) = self.worker_in(from) {
                    self.on_canceled(worker, (execution, region), ctx);
                }
            }
            Control::RequestSplit { execution, subtask } => {
                self.on_split_request(execution, subtask, ctx);
            }
            Control::EventArrived { subtask, id } => self.on_event_arrived(subtask, id, ctx),
            Control::Task { execution, subtask, report } => {
                self.on_report(execution, subtask, report, ctx);
            }
            Control::Acknowledge { execution, subtask, checkpoint, snapshot } => {
                self.on_acknowledge(execution, subtask, checkpoint, *snapshot, ctx);
            }
            Control::Decline { execution, subtask, checkpoint, reason } => {
                self.on_decline(execution, subtask, checkpoint, reason, ctx);
            }
            Control::Registered
            | Control::Heartbeat
            | Control::Deploy(_)
            | Control::Cancel { .. }
            | Control::Mail { .. } => unreachable!("the job manager gets no such message"),
        }
    }

    fn on_timer<O: Observer>(&mut self, token: u64, ctx: &mut Context<'_, Engine, O>) {
        match self.waiting.remove(&token).expect("a timer fires once") {
            Waiting::Heartbeat => self.on_heartbeat_timer(ctx),
            Waiting::CoordinatorTimeout(due) => {
                if self.coordinator_timer == Some(due) {
                    self.coordinator_timer = None;
                }
                let timeout = self.coordinator.as_ref().and_then(|it| it.next_timeout());
                if timeout.is_some_and(|timeout| timeout <= due) {
                    self.coordinate(io::Input::Timeout, ctx);
                } else {
                    self.set_coordinator_timer(ctx);
                }
            }
            Waiting::CoordinatorPoll => self.coordinate(io::Input::Poll, ctx),
            Waiting::CampaignTimer => self.on_campaign_timer(ctx),
            Waiting::RenewDeadline { session } => self.on_renew_deadline(session, ctx),
            Waiting::RestartDelay { execution } => self.on_restart_delay(execution, ctx),
            Waiting::RegionDelay { region, execution } => {
                self.on_region_delay(region, execution, ctx);
            }
            Waiting::RetryRecovery => self.read_pointers(ctx),
            Waiting::Manual(index) => self.on_manual_trigger(index, ctx),
            Waiting::BacklogOver => self.on_backlog(false, ctx),
            Waiting::Discovery(source) => {
                self.discovering.remove(&source);
                self.enumerate(source, enumerator::Input::Timeout, ctx);
            }
            Waiting::Captured { source, checkpoint, state } => {
                self.on_captured(source, checkpoint, state, ctx);
            }
            Waiting::Lead
            | Waiting::Campaign { .. }
            | Waiting::Found { .. }
            | Waiting::Pointers
            | Waiting::Metadata { .. }
            | Waiting::IdDrawn(_)
            | Waiting::MetadataWritten { .. }
            | Waiting::PointerWritten { .. }
            | Waiting::PointerRemoved { .. }
            | Waiting::Deleted { .. }
            | Waiting::LateDeleted { .. }
            | Waiting::JobResult(_)
            | Waiting::Listed
            | Waiting::UploadsListed { .. }
            | Waiting::PointersListed { .. }
            | Waiting::OrphanDeleted { .. }
            | Waiting::Snapshot
            | Waiting::Adopted
            | Waiting::Call(_) => unreachable!("these are requests, not timers"),
        }
    }

    fn on_answer<O: Observer>(
        &mut self,
        token: u64,
        answer: Result<Answer, Refusal>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        // While this is not dealt with, what was under way is not at its end.
        let steps_down = answer == Err(Refusal::Fenced) && self.plan.elects();
        if steps_down {
            self.step_down(ctx);
        }
        let waiting = self.waiting.remove(&token).expect("a request is answered once");
        if answer == Err(Refusal::Fenced) && !steps_down {
            // Somebody else leads, as far as the store knows: perhaps only the request of a former
            // process, applied after it had died. Flink: a job manager whose leadership is revoked
            // stops its job; the next one to be granted it recovers.
            ctx.exit();
            return;
        }
        match waiting {
            Waiting::Lead => self.on_lead(answer, ctx),
            Waiting::Campaign { asked, renews } => self.on_campaign(asked, renews, answer, ctx),
            Waiting::Found { token, checkpoint } => {
                self.on_pointers_found(token, checkpoint, answer, ctx);
            }
            Waiting::Pointers => self.on_pointers(answer, ctx),
            Waiting::Metadata { checkpoint, pointer } => {
                self.on_metadata_read(checkpoint, pointer, answer, ctx);
            }
            Waiting::IdDrawn(token) => self.on_id_drawn(token, answer, ctx),
            Waiting::MetadataWritten { token, path, nominal, savepoint } => {
                self.on_metadata_written(token, (path, nominal), savepoint, answer, ctx);
            }
            Waiting::PointerWritten { token, pointer } => {
                self.on_pointer_written(token, pointer, answer, ctx);
            }
            // Deviation: tried again, as a deletion is. Flink logs the failure, and the pointer goes
            // when the job's data are cleaned up; its files stay.
            Waiting::PointerRemoved { token, checkpoint }
                if answer.is_err() && answer != Err(Refusal::Fenced) =>
            {
                let waiting = Waiting::PointerRemoved { token, checkpoint };
                self.request(waiting, Request::RemovePointer { checkpoint }, ctx);
            }
            Waiting::PointerRemoved { token, .. } => {
                let removed = answer.is_ok();
                self.coordinate(io::Input::PointerRemoved { token, removed }, ctx);
            }
            Waiting::Deleted { token, path } => match answer {
                Ok(_) => self.on_deleted(token, ctx),
                Err(_) => self.delete(token, path, ctx),
            },
            Waiting::LateDeleted { path } if answer.is_err() => self.delete_late(path, ctx),
            Waiting::LateDeleted { .. } => {}
            // Whoever leads finds out for himself how the job ends.
            Waiting::JobResult(_) if answer == Err(Refusal::Fenced) => {}
            Waiting::JobResult(end) => self.on_job_result(end, &answer, ctx),
            Waiting::Listed => self.on_listed(answer, ctx),
            Waiting::UploadsListed { files } => {
                self.on_uploads_listed(files, answer, ctx);
            }
            Waiting::PointersListed { listing } => {
                self.on_pointers_listed(listing, answer, ctx);
            }
            Waiting::OrphanDeleted { request } => {
                self.on_orphan_deleted(request, answer.is_ok(), ctx);
            }
            Waiting::Snapshot => self.on_snapshot_read(answer, ctx),
            Waiting::Adopted if answer == Err(Refusal::Fenced) => {}
            Waiting::Adopted => self.on_adopted(&answer, ctx),
            Waiting::Call(call) => {
                if let Err(refusal) = answer {
                    self.on_call_failed(call, refusal, ctx);
                }
            }
            Waiting::RetryRecovery
            | Waiting::CampaignTimer
            | Waiting::RenewDeadline { .. }
            | Waiting::Heartbeat
            | Waiting::CoordinatorTimeout(_)
            | Waiting::CoordinatorPoll
            | Waiting::RestartDelay { .. }
            | Waiting::RegionDelay { .. }
            | Waiting::Manual(_)
            | Waiting::Discovery(_)
            | Waiting::Captured { .. }
            | Waiting::BacklogOver => unreachable!("these are timers, not requests"),
        }
        self.end_if_done(ctx);
    }

    /// Says something to a task manager.
    fn tell<O: Observer>(&self, to: ProcessId, message: Control, ctx: &mut Context<'_, Engine, O>) {
        ctx.send(to, Fenced { token: self.session, message });
    }

    /// Reports something that happens to the job. From a job manager that does not know yet that
    /// another one leads, it does not happen to the job.
    fn observe<O: Observer>(&self, observation: Observation, ctx: &mut Context<'_, Engine, O>) {
        if self.is_in_force(ctx) {
            ctx.observe(observation);
        }
    }

    fn wait(&mut self, waiting: Waiting) -> u64 {
        self.tokens += 1;
        self.waiting.insert(self.tokens, waiting);
        self.tokens
    }

    fn set_timer<O: Observer>(
        &mut self,
        at: VirtualTime,
        waiting: Waiting,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let token = self.wait(waiting);
        ctx.timer(at, token as u32);
    }

    /// A timer of the host's relative clock. Flink: `ScheduledExecutor#schedule`.
    fn set_clock_timer<O: Observer>(
        &mut self,
        at: VirtualTime,
        waiting: Waiting,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let token = self.wait(waiting);
        ctx.timer_by_clock(at, token as u32);
    }

    fn request<O: Observer>(
        &mut self,
        waiting: Waiting,
        request: crate::world::Request,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let token = self.wait(waiting);
        match self.plan.defects.has(Defect::D26) {
            true => ctx.request_unfenced(token, request),
            false => ctx.request(token, request),
        }
    }

    fn send_mail<O: Observer>(
        &self,
        subtask: SubtaskId,
        mail: cutline::task::subtask::Mail,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let Some(to) = self.task_manager_of(subtask) else { return };
        let message = Control::Mail { execution: self.execution.attempt(subtask), subtask, mail };
        self.tell(to.process, message, ctx);
    }

    /// Where the present attempt of a subtask runs, if that task manager is still known.
    fn task_manager_of(&self, subtask: SubtaskId) -> Option<Registered> {
        self.task_managers.get(&self.execution.place(subtask)?).copied()
    }

    fn on_decline<O: Observer>(
        &mut self,
        execution: u32,
        subtask: SubtaskId,
        checkpoint: CheckpointId,
        reason: FailureReason,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let Some(subtask) = self.number_of(subtask) else { return };
        let attempt = cutline::ids::Attempt(execution);
        self.coordinate(io::Input::Decline { checkpoint, subtask, attempt, reason }, ctx);
    }
}
