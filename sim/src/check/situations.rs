//! *Situations*: what a run has been through. Counted, not judged: a campaign that never saw a
//! crash between acknowledgement and completion has not tested it.
//!
//! Antithesis calls these "sometimes assertions", FoundationDB `CODE_PROBE`.

use std::collections::BTreeSet;
use std::fmt;

use cutline::ids::{ChannelId, CheckpointId, LayoutId, OperatorId, RegionId, SubtaskId};
use cutline::job::rescale::DistributionMode;
use cutline::message::{Alignment, FailureReason};
use cutline::operator::TimeMark;
use cutline::step::Step;
use cutline::task::debloat::SIZE_MAX;
use cutline::time::VirtualTime;
use cutline::trigger::adaptive::IntervalPolicy;

use super::Setup;
use super::ledger::{Ledger, Part};
use crate::observe::{CutKind, JobEnd, Observation, TaskState};
use crate::scenario::model::{ActionKind, Disturbance};

macro_rules! situations {
    ($($(#[$doc:meta])* $name:ident = $text:literal),+ $(,)?) => {
        /// A situation that the built-in watcher knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Situation { $($(#[$doc])* $name),+ }

        impl Situation {
            /// All of them, in the order of reports.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The name in reports.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
        }
    };
}

situations! {
    /// An execution ends while a checkpoint has some acknowledgements.
    CrashAmidAcknowledgements = "crash between acknowledge and complete",
    /// An execution or leader ends between A2 and F3.
    CrashWhileFinalizing = "crash between the last acknowledgement and the decision",
    /// An execution ends after F3, before every task was told.
    CrashBeforeNotification = "crash between the decision and its notification",
    /// A leader ends between F2 and F3.
    LeaderLostAtMetadata = "job manager lost during the metadata write",
    /// A job manager other than the first leads.
    LeaderChanged = "leader changed",
    /// A fault strikes while a checkpoint is pending.
    FaultDuringCheckpoint = "fault while a checkpoint is pending",
    /// An execution ends before all its tasks ran.
    RecoveryDuringRecovery = "recovery during recovery",
    /// A new execution begins from a checkpoint.
    RestoredFromCheckpoint = "restore from a checkpoint",
    /// A new execution begins without one.
    RestoredFromScratch = "restore from scratch",
    /// A task takes an aligned-with-timeout checkpoint with in-flight data.
    SwitchedToUnaligned = "switch to unaligned",
    /// An in-flight record becomes part of a snapshot.
    InFlightPersisted = "in-flight data persisted",
    /// An in-flight record is put in front of a channel.
    InFlightRestored = "in-flight data restored",
    /// An alignment begins while other channels of the task have records waiting.
    AlignmentWithBacklog = "alignment with backlog",
    /// A task gives up a checkpoint while it blocks channels for it.
    CancelledWhileAligning = "cancel while aligning",
    /// A barrier arrives whose checkpoint is not pending any more.
    BarrierLate = "barrier of an abandoned checkpoint",
    /// A second barrier is put on a channel before the first was taken from it.
    BarriersQueued = "barriers of two checkpoints in one channel",
    /// Two checkpoints are pending.
    Concurrent = "concurrent checkpoints",
    /// A pending checkpoint runs into its timeout.
    Expired = "checkpoint expired",
    /// A pending checkpoint is declined by a task.
    Declined = "checkpoint declined",
    /// A pending checkpoint is made obsolete by a newer one.
    PendingSubsumed = "pending checkpoint subsumed",
    /// An acknowledgement is sent for a checkpoint that is not pending any more.
    AcknowledgedLate = "acknowledgement of an abandoned checkpoint",
    /// A request for a checkpoint is refused.
    RequestRefused = "request refused",
    /// A checkpoint completes without some tasks, which had finished.
    CheckpointWithFinished = "checkpoint with finished tasks",
    /// A task finishes after it was told of a completed checkpoint.
    FinalCheckpoint = "final checkpoint",
    /// S6: a transaction of the restored checkpoint is committed by the next execution.
    CommitAfterRecovery = "commit after recovery",
    /// A transaction whose own checkpoint failed is committed with a later one.
    CommitCarriedOver = "commit carried over an aborted checkpoint",
    /// A pre-committed or open transaction is dropped.
    TransactionAborted = "transaction aborted",
    /// A client of a store has to ask again.
    RequestRepeated = "storage request made again",
    /// Nobody answers a client of a store.
    RequestTimedOut = "storage request without an answer",
    /// A request is done whose client is told that it failed.
    DoneInDoubt = "storage request done and reported as failed",
    /// Half an object is left behind.
    WriteTorn = "half an object written",
    /// Half an object is read.
    ReadShort = "half an object read",
    /// A read does not see what was written.
    ReadStale = "stale read",
    /// A bit of an object has flipped.
    ObjectDamaged = "object damaged",
    /// An object is gone with the job manager's memory.
    ObjectLost = "object lost with the job manager",
    /// The host of the store crashes, and cuts a write off.
    StorageHostCrashed = "storage host crashed while it was written to",
    /// A subtask is behind, and its senders make smaller buffers.
    BuffersDebloated = "buffers made smaller",
    /// A checkpoint becomes durable that has a file of another one.
    FilesShared = "checkpoints with a file in common",
    /// An execution goes back to a checkpoint with an object that is damaged.
    RestoredFromDamaged = "restore from a damaged checkpoint",
    /// The external system drops a transaction that was open for too long.
    TransactionExpired = "transaction expired",
    /// A new job begins in which some operator has more subtasks.
    RescaledUp = "rescaled up",
    /// A new job begins in which some operator has fewer subtasks.
    RescaledDown = "rescaled down",
    /// An in-flight record is put in front of a channel of an edge that has changed.
    InFlightRescaled = "in-flight data rescaled",
    /// A subtask leaves restored in-flight records to those who own their keys.
    InFlightFiltered = "in-flight records filtered",
    /// A job claims files that another retained checkpoint has, too.
    GivenAway = "checkpoint given away with a claimed one",
    /// A job is resumed that was resumed before.
    ResumedAgain = "resumed again",
    /// A subtask is deployed onto a task manager whose death the job manager has not noticed.
    DeployedOntoDead = "deployed onto a dead task manager",
    /// A cancelled task keeps its job waiting.
    CancelledSlowly = "slow cancellation",
    /// A cancelled task is busy for so long that its task manager ends itself.
    CancellationTimedOut = "cancellation timed out",
    /// A job manager steps down without having died.
    LeadershipLost = "leadership lost without a crash",
    /// The HA store refuses what a former leader writes.
    FencedOff = "former leader fenced off",
    /// A former leader's checkpoint was between A2 and the pointer when another was elected.
    LeadershipLostWhileFinalizing = "leadership lost while finalizing",
    /// A task reads its state from a copy on its own machine.
    RestoredLocally = "restore from a local copy",
    /// A window fires.
    WindowFired = "window fired",
    /// A window fires in an execution that began from a checkpoint.
    WindowFiredAfterRestore = "window fired after a restore",
    /// A record comes when all its windows have fired.
    RecordLate = "record dropped as late",
    /// A watermark becomes part of a snapshot.
    WatermarkPersisted = "mark of event time persisted in flight",
    /// A subtask hears that nothing comes on a channel for a while.
    ChannelIdle = "idle channel",
    /// A list state is dealt out evenly among another number of subtasks.
    ListStateDealtOut = "list state dealt out anew",
    /// Another number of subtasks begins with a copy of a broadcast state.
    BroadcastStateCopied = "broadcast state copied to another number of subtasks",
    /// An execution begins whose subtasks each read a whole union list state.
    UnionStateRestored = "union list state restored",
    /// A checkpoint fails because an operator with union list state has come to its end in part.
    UnionStatePartlyEnded = "union list state of a partly finished operator",
    /// An operator asks the outside once more about what waited when a checkpoint was taken.
    CalledAgain = "call made again after a restore",
    /// A region is restarted while others run.
    RegionRestarted = "regional restart",
    /// A region fails while another one is being restarted.
    RegionsDown = "several regions down at once",
    /// The network loses a control message.
    MessageLost = "control message lost",
    /// A process has waited for an answer for as long as it does.
    AskTimedOut = "call without an answer",
    /// An execution begins from a checkpoint, and some of its tasks are chains of operators.
    ChainRestored = "chain of operators restored",
    /// A new job begins in which other operators share a task than in the one before.
    ChainsChanged = "resumed with other chains",
    /// An enumerator gives a reader a split.
    SplitAssigned = "split assigned",
    /// An enumerator gives away a split once more: it was set back, or has taken the split back.
    SplitAssignedAgain = "split assigned again",
    /// A record that has gone round a loop becomes part of a snapshot at its head.
    FeedbackPersisted = "record captured on a feedback edge",
    /// A record that was captured so is put in front of a feedback channel.
    FeedbackRestored = "record restored on a feedback edge",
    /// A subtask's keyed state is on storage, apart from checkpoints.
    Materialized = "state materialised",
    /// A materialisation fails.
    MaterializationFailed = "materialisation failed",
    /// A task replays changes on a materialised state.
    ChangesReplayed = "materialised state and changes restored",
    /// A process goes by a clock that runs too fast or too slow.
    ClockDrifted = "clock too fast or too slow",
    /// A process goes by a wall clock that was set wrong.
    ClockStepped = "wall clock set wrong",
    /// A process dies while it writes an object.
    UploadCutOff = "process lost while it was writing to storage",
    /// A savepoint that a user has asked for is complete, and the job goes on.
    SavepointTaken = "savepoint taken",
    /// A job has ended with a savepoint, to be continued.
    StoppedSuspended = "stopped with a savepoint, suspended",
    /// A job has ended with a savepoint, with its input as if at its end.
    StoppedDrained = "stopped with a savepoint, drained",
    /// The savepoint of a stop was begun and has failed.
    StopFailedBefore = "stop failed before its savepoint was complete",
    /// The savepoint of a stop is complete, and some task has failed behind it.
    StopFailedBehind = "stop failed behind its savepoint",
    /// A new job owns what it was started from.
    ResumedClaiming = "resumed with claim",
    /// A new job leaves what it was started from to its user.
    ResumedNotClaiming = "resumed without claim",
    /// A job has failed or was cancelled, and leaves a checkpoint to its user.
    CheckpointRetained = "checkpoint retained when the job ended",
    /// A part of a state becomes a part of the metadata.
    StateInlined = "state within the metadata",
    /// A request is one too many below its prefix in this second.
    OverLimit = "request over the limit of a prefix",
    /// A new leader finds that the job has ended.
    ResultFound = "result of the job found by a new leader",
    /// A task manager refuses a former leader's order.
    OrderRefused = "former leader refused by a task manager",
    /// The external system refuses an attempt that a later one has fenced off.
    ProducerFenced = "producer fenced off",
    /// A job that has run fails for good.
    RestartsExhausted = "restart strategy gave up",
    /// A job fails before a new leader has run it.
    RecoveryGivenUp = "recovery given up",
    /// A task finishes after it was told of a checkpoint without tasks that had finished before.
    FinalWithFinished = "final checkpoint with finished tasks",
    /// A job is restarted because of its checkpoints alone.
    TooManyFailures = "too many failed checkpoints in a row",
    /// A job manager dies with what a user had asked of it: nobody will answer.
    ActionForgotten = "request of a user forgotten",
    /// Files are deleted that a process which has died left behind.
    OrphansFound = "orphaned files deleted",
    /// A checkpoint is triggered while the sources have a backlog, and the interval is that of one.
    TriggeredInBacklog = "checkpoint during a backlog",
    /// The sources have worked off their backlog while a checkpoint is pending.
    BacklogEndedPending = "backlog over while a checkpoint is pending",
    /// A checkpoint is triggered at an interval that counts a failure which its leader has seen.
    FailureMeasured = "interval measured by a failure",
    /// A source has been read to its end in a job with another one that has none.
    EndedBesideUnbounded = "bounded source finished beside an unbounded one",
}

impl fmt::Display for Situation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A situation of your own: give it to [`super::Checks::add_situation`].
pub trait Watch {
    /// The name in reports.
    fn name(&self) -> &'static str;

    /// Looks at an observation; answers whether it completes the situation once more.
    fn observe(&mut self, now: VirtualTime, observation: &Observation) -> bool;
}

/// What a fault has struck: the more runs agree in it, the less a further one teaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Strike {
    /// The fault, by index in the scenario.
    pub fault: u32,
    /// The step that was taken last.
    pub after: Option<Step>,
    /// Checkpoints that were pending: none, one, or (2) several.
    pub pending: u8,
    /// Not all tasks ran.
    pub recovering: bool,
}

/// Counts the built-in situations.
#[derive(Clone, Debug)]
pub(super) struct Situations {
    counts: [u64; Situation::ALL.len()],
    struck: Vec<Strike>,
    step_last: Option<Step>,
    pending: Vec<Pending>,
    /// Durable, and not every task was told yet.
    untold: Vec<(CheckpointId, usize)>,
    failed: Vec<CheckpointId>,
    chosen: Option<CheckpointId>,
    executions: u64,
    /// Regions that have ended and are not restored yet.
    down: Vec<RegionId>,
    recovering: bool,
    running: Vec<bool>,
    told: Vec<bool>,
    /// Durable, without some tasks, which had finished.
    partly: Vec<CheckpointId>,
    /// The checkpoint it was told of last is one of these.
    told_partly: Vec<bool>,
    /// The job has been led, but not run, since then.
    led_only: bool,
    /// The savepoint of a stop was triggered.
    stop_begun: bool,
    /// By channel: barriers under way.
    barriers: Vec<u32>,
    resumed: bool,
    /// A process has died since the last election.
    lost: bool,
    /// Splits that some reader has been given.
    assigned: BTreeSet<(OperatorId, u32)>,
    /// The sources work off a backlog.
    backlog: bool,
    /// The job has gone back to a checkpoint since somebody has led it.
    set_back: bool,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    checkpoint: CheckpointId,
    acknowledged: bool,
    declined: bool,
    reached: Option<Step>,
}

impl Situations {
    pub(super) fn new(setup: &Setup) -> Self {
        let (subtasks, channels) = (setup.graph.subtasks(), setup.graph.channels().len());
        Self {
            counts: [0; Situation::ALL.len()],
            struck: Vec::new(),
            step_last: None,
            pending: Vec::new(),
            untold: Vec::new(),
            failed: Vec::new(),
            chosen: None,
            executions: 0,
            down: Vec::new(),
            recovering: true,
            running: vec![false; subtasks],
            told: vec![false; subtasks],
            partly: Vec::new(),
            told_partly: vec![false; subtasks],
            led_only: true,
            stop_begun: false,
            barriers: vec![0; channels],
            resumed: false,
            lost: false,
            assigned: BTreeSet::new(),
            backlog: false,
            set_back: false,
        }
    }

    /// Every situation with its count, in their order.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Situation::ALL.iter().map(|it| (it.name(), self.counts[*it as usize]))
    }

    /// What each fault has struck.
    pub(super) fn struck(&self) -> &[Strike] {
        &self.struck
    }

    fn saw(&mut self, situation: Situation) {
        self.counts[situation as usize] += 1;
    }

    fn saw_if(&mut self, holds: bool, situation: Situation) {
        self.counts[situation as usize] += u64::from(holds);
    }

    pub(super) fn on_barrier_sent(&mut self, channel: ChannelId) {
        let under_way = &mut self.barriers[channel.index()];
        *under_way += 1;
        let queued = *under_way > 1;
        self.saw_if(queued, Situation::BarriersQueued);
    }

    pub(super) fn on_barrier_received(&mut self, channel: ChannelId, checkpoint: CheckpointId) {
        let under_way = &mut self.barriers[channel.index()];
        *under_way = under_way.saturating_sub(1);
        let late = self.pending_mut(checkpoint).is_none();
        self.saw_if(late, Situation::BarrierLate);
    }

    pub(super) fn on_step(&mut self, step: Step, checkpoint: Option<CheckpointId>) {
        self.step_last = Some(step);
        if let Some(checkpoint) = checkpoint
            && matches!(step, Step::A2 | Step::F1 | Step::F2)
            && let Some(pending) = self.pending_mut(checkpoint)
        {
            pending.reached = pending.reached.max(Some(step));
        }
    }

    /// All but data, barriers and what they block, and steps.
    pub(super) fn observe(&mut self, observation: &Observation, ledger: &Ledger, setup: &Setup) {
        match *observation {
            Observation::Cut { checkpoint, how, .. } => {
                let timed = ledger.line(checkpoint).is_some_and(|line| {
                    matches!(line.alignment, Alignment::AlignedWithTimeout(timeout)
                        if !timeout.is_zero())
                });
                let switched = timed && how == CutKind::Unaligned;
                self.saw_if(switched, Situation::SwitchedToUnaligned);
            }
            Observation::Persisted { channel, ref record, .. } => {
                self.saw(match record.mark() {
                    None => Situation::InFlightPersisted,
                    Some(_) => Situation::WatermarkPersisted,
                });
                self.saw_if(setup.goes_round(channel), Situation::FeedbackPersisted);
            }
            Observation::ReadLocally { .. } => self.saw(Situation::RestoredLocally),
            Observation::Materialized { .. } => self.saw(Situation::Materialized),
            Observation::MaterializationFailed { .. } => {
                self.saw(Situation::MaterializationFailed);
            }
            Observation::ChangesReplayed { materialized, changes, .. } => {
                self.saw_if(materialized && changes > 0, Situation::ChangesReplayed);
            }
            Observation::Recovered { channel, ref record } if record.is_data() => {
                self.saw(Situation::InFlightRestored);
                self.saw_if(setup.goes_round(channel), Situation::FeedbackRestored);
                self.saw_if(!ledger.moved.is_empty(), Situation::InFlightRescaled);
            }
            Observation::Filtered { .. } => self.saw(Situation::InFlightFiltered),
            Observation::Adopted { claimed, .. } => {
                self.saw(match claimed {
                    true => Situation::ResumedClaiming,
                    false => Situation::ResumedNotClaiming,
                });
                self.led_only = true;
                self.set_back = false;
                self.saw_if(self.resumed, Situation::ResumedAgain);
                self.resumed = true;
            }
            Observation::Acknowledged { checkpoint, .. } => match self.pending_mut(checkpoint) {
                Some(pending) => pending.acknowledged = true,
                None => self.saw(Situation::AcknowledgedLate),
            },
            Observation::Declined { subtask, .. }
            | Observation::NotifiedAborted { subtask, .. } => {
                self.saw_if(ledger.aligns(subtask), Situation::CancelledWhileAligning);
                if let Observation::Declined { checkpoint, .. } = *observation
                    && let Some(pending) = self.pending_mut(checkpoint)
                {
                    pending.declined = true;
                }
            }
            Observation::Triggered { checkpoint, kind, .. } => {
                self.stop_begun |= kind.is_synchronous();
                self.saw_if(!self.pending.is_empty(), Situation::Concurrent);
                let policy = setup.config.checkpointing.policy;
                let measured = matches!(policy, Some(IntervalPolicy::Measured(..)));
                let periodic = !kind.is_savepoint();
                self.saw_if(periodic && self.backlog, Situation::TriggeredInBacklog);
                let counts = periodic && measured && self.set_back;
                self.saw_if(counts, Situation::FailureMeasured);
                let (acknowledged, declined) = (false, false);
                self.pending.push(Pending { checkpoint, acknowledged, declined, reached: None });
            }
            Observation::Durable { checkpoint } => self.on_durable(checkpoint, ledger),
            Observation::Completed { checkpoint } => self.end(checkpoint),
            Observation::Failed { checkpoint, reason } => self.on_failed(checkpoint, reason),
            Observation::RequestFailed { .. } => self.saw(Situation::RequestRefused),
            Observation::NotifiedComplete { subtask, checkpoint } => {
                let partly = self.partly.contains(&checkpoint);
                self.told_partly[subtask.index()] = partly;
                self.on_told(subtask, checkpoint, setup.present().len());
            }
            Observation::Task { subtask, state, .. } => {
                self.on_task(subtask, state, setup.present());
                self.saw_if(
                    state == TaskState::Finished && setup.ends_beside_unbounded(subtask),
                    Situation::EndedBesideUnbounded,
                );
            }
            Observation::ExecutionEnded => self.on_execution_ended(),
            Observation::RestoreChosen { checkpoint } => self.on_chosen(checkpoint, setup),
            Observation::RegionEnded { region } => self.on_region_ended(region),
            Observation::RegionRestored { region, checkpoint } => {
                self.on_region_restored(region, checkpoint, setup);
            }
            Observation::LeaderElected { session } => self.on_elected(session),
            Observation::Committed { transaction, .. } => {
                let restored = Some(transaction.checkpoint) <= self.chosen;
                let carried = self.failed.contains(&transaction.checkpoint);
                self.saw_if(restored, Situation::CommitAfterRecovery);
                self.saw_if(carried, Situation::CommitCarriedOver);
            }
            Observation::TransactionAborted { .. } => self.saw(Situation::TransactionAborted),
            Observation::StorageDisturbed { how, .. } => self.saw(match how {
                Disturbance::Transient | Disturbance::Throttled => Situation::RequestRepeated,
                Disturbance::Hanging => Situation::RequestTimedOut,
                Disturbance::Ambiguous => Situation::DoneInDoubt,
                Disturbance::Torn => Situation::WriteTorn,
                Disturbance::ShortRead => Situation::ReadShort,
                Disturbance::Stale => Situation::ReadStale,
            }),
            Observation::FileDamaged { .. } => self.saw(Situation::ObjectDamaged),
            Observation::TransactionExpired { .. } => self.saw(Situation::TransactionExpired),
            Observation::FileLost { .. } => self.saw(Situation::ObjectLost),
            Observation::StorageHostCrashed { writes } => {
                self.saw_if(writes > 0, Situation::StorageHostCrashed);
            }
            Observation::BufferSizeAnnounced { bytes, .. } => {
                self.saw_if(bytes < SIZE_MAX, Situation::BuffersDebloated);
            }
            Observation::UploadsCutOff { .. } => self.saw(Situation::UploadCutOff),
            Observation::StateInlined { .. } => self.saw(Situation::StateInlined),
            Observation::PrefixLimitReached => self.saw(Situation::OverLimit),
            Observation::ResultFound { .. } => self.saw(Situation::ResultFound),
            Observation::OrderRefused { .. } => self.saw(Situation::OrderRefused),
            Observation::ProducerFenced { .. } => self.saw(Situation::ProducerFenced),
            Observation::TooManyFailures => self.saw(Situation::TooManyFailures),
            Observation::OrphansFound { files, .. } => {
                self.saw_if(files > 0, Situation::OrphansFound);
            }
            Observation::ActionForgotten { .. } => self.saw(Situation::ActionForgotten),
            Observation::Backlog { on } => {
                let over = std::mem::replace(&mut self.backlog, on) && !on;
                let pending = !self.pending.is_empty();
                self.saw_if(over && pending, Situation::BacklogEndedPending);
            }
            Observation::ActionEnded { action, checkpoint, done } => {
                let what = setup.config.actions.get(action as usize);
                self.on_answered(what, checkpoint.is_some(), done);
            }
            Observation::JobEnded { end: JobEnd::Failed } => self.saw(match self.led_only {
                true => Situation::RecoveryGivenUp,
                false => Situation::RestartsExhausted,
            }),
            Observation::DeploymentRefused { .. } => self.saw(Situation::DeployedOntoDead),
            Observation::FencedOff { .. } => self.saw(Situation::FencedOff),
            Observation::LeadershipLost { .. } => self.saw(Situation::LeadershipLost),
            Observation::MessageLost { .. } => self.saw(Situation::MessageLost),
            Observation::AskTimedOut { .. } => self.saw(Situation::AskTimedOut),
            Observation::SplitAssigned { subtask, split } => {
                self.saw(Situation::SplitAssigned);
                let first = self.assigned.insert((setup.graph.operator(subtask), split));
                self.saw_if(!first, Situation::SplitAssignedAgain);
            }
            Observation::WrongTimeRead { stepped, .. } => self.saw(match stepped {
                true => Situation::ClockStepped,
                false => Situation::ClockDrifted,
            }),
            Observation::ProcessLost { .. } => self.lost = true,
            Observation::CancellationSlow { .. } => self.saw(Situation::CancelledSlowly),
            Observation::CancellationTimedOut { .. } => {
                self.saw(Situation::CancellationTimedOut);
            }
            Observation::FaultInjected { fault } => {
                self.struck.push(Strike {
                    fault,
                    after: self.step_last,
                    pending: self.pending.len().min(2) as u8,
                    recovering: self.recovering,
                });
                self.saw_if(!self.pending.is_empty(), Situation::FaultDuringCheckpoint);
            }
            _ => {}
        }
    }

    pub(super) fn on_rescaled(&mut self, before: LayoutId, now: LayoutId, setup: &Setup) {
        let edges = |layout| setup.graph.layout(layout).job().edges();
        self.saw_if(edges(before) != edges(now), Situation::ChainsChanged);
        let numbers = |layout| setup.graph.layout(layout).job().parallelism();
        let (before, now) = (numbers(before), numbers(now));
        let some = |test: fn(&u32, &u32) -> bool| before.iter().zip(&now).any(|(a, b)| test(a, b));
        self.saw_if(some(u32::lt), Situation::RescaledUp);
        self.saw_if(some(u32::gt), Situation::RescaledDown);
        let dealt = |mode| {
            let moved = |it: OperatorId| before[it.index()] != now[it.index()];
            setup.operators().any(|it| moved(it) && setup.has_list_state(it, mode))
        };
        self.saw_if(dealt(DistributionMode::SplitDistribute), Situation::ListStateDealtOut);
        self.saw_if(dealt(DistributionMode::Broadcast), Situation::BroadcastStateCopied);
    }

    /// A task took a mark of event time from a channel.
    #[cold]
    pub(super) fn on_mark(&mut self, mark: TimeMark) {
        self.saw_if(mark == TimeMark::Idle, Situation::ChannelIdle);
    }

    /// A checkpoint that has just become durable has files of others.
    pub(super) fn on_shared(&mut self) {
        self.saw(Situation::FilesShared);
    }

    /// A new job owns files that a snapshot of the user needs.
    pub(super) fn on_given_away(&mut self) {
        self.saw(Situation::GivenAway);
    }

    /// Storage was asked for what the execution begins from, and cannot give it.
    pub(super) fn on_unreadable(&mut self) {
        self.saw(Situation::RestoredFromDamaged);
    }

    fn pending_mut(&mut self, checkpoint: CheckpointId) -> Option<&mut Pending> {
        self.pending.iter_mut().find(|pending| pending.checkpoint == checkpoint)
    }

    pub(super) fn on_called(&mut self, subtask: SubtaskId) {
        let again = self.chosen.is_some() && !self.running[subtask.index()];
        self.saw_if(again, Situation::CalledAgain);
    }

    pub(super) fn on_window_fired(&mut self) {
        self.saw(Situation::WindowFired);
        self.saw_if(self.chosen.is_some(), Situation::WindowFiredAfterRestore);
    }

    pub(super) fn on_dropped_late(&mut self) {
        self.saw(Situation::RecordLate);
    }

    pub(super) fn on_blocked(&mut self, channel: ChannelId, ledger: &Ledger, setup: &Setup) {
        let receiver = setup.graph.channels()[channel.index()].to;
        if ledger.aligns(receiver) {
            return;
        }
        let backlog = setup.graph.inputs(receiver).iter().any(|&input| {
            let flow = &ledger.flows[input.index()];
            input != channel && flow.sent.count > flow.processed.count
        });
        self.saw_if(backlog, Situation::AlignmentWithBacklog);
    }

    fn on_durable(&mut self, checkpoint: CheckpointId, ledger: &Ledger) {
        self.untold.push((checkpoint, 0));
        let finished =
            ledger.line(checkpoint).is_some_and(|line| line.parts.contains(&Part::Finished));
        if finished {
            self.partly.push(checkpoint);
        }
        self.saw_if(finished, Situation::CheckpointWithFinished);
        self.end(checkpoint);
    }

    fn on_failed(&mut self, checkpoint: CheckpointId, reason: FailureReason) {
        // Nobody has declined it, and it fails as if somebody had.
        let closing = reason == FailureReason::CheckpointDeclinedTaskClosing;
        let all = self.pending_mut(checkpoint).is_some_and(|it| it.acknowledged && !it.declined);
        self.saw_if(closing && all, Situation::UnionStatePartlyEnded);
        self.end(checkpoint);
        self.failed.push(checkpoint);
        match reason {
            FailureReason::CheckpointExpired => self.saw(Situation::Expired),
            FailureReason::CheckpointSubsumed => self.saw(Situation::PendingSubsumed),
            FailureReason::CheckpointDeclined
            | FailureReason::CheckpointDeclinedTaskNotReady
            | FailureReason::CheckpointDeclinedTaskClosing
            | FailureReason::CheckpointDeclinedSubsumed
            | FailureReason::CheckpointDeclinedOnCancellationBarrier
            | FailureReason::CheckpointDeclinedInputEndOfStream => self.saw(Situation::Declined),
            _ => {}
        }
    }

    fn on_told(&mut self, subtask: SubtaskId, checkpoint: CheckpointId, tasks: usize) {
        self.told[subtask.index()] = true;
        for untold in self.untold.iter_mut().filter(|untold| untold.0 == checkpoint) {
            untold.1 += 1;
        }
        self.untold.retain(|(durable, told)| *durable >= checkpoint && *told < tasks);
    }

    fn on_task(&mut self, subtask: SubtaskId, state: TaskState, present: std::ops::Range<usize>) {
        let works = matches!(state, TaskState::Running | TaskState::Finished);
        self.running[subtask.index()] = works;
        if works && self.recovering && self.running[present].iter().all(|running| *running) {
            self.recovering = false;
        }
        let told = state == TaskState::Finished && self.told[subtask.index()];
        self.saw_if(told, Situation::FinalCheckpoint);
        let partly = told && self.told_partly[subtask.index()];
        self.saw_if(partly, Situation::FinalWithFinished);
    }

    /// Whoever asked for something has an answer.
    fn on_answered(&mut self, what: Option<&ActionKind>, snapshot: bool, done: bool) {
        match what {
            Some(ActionKind::Savepoint) => self.saw_if(done, Situation::SavepointTaken),
            Some(ActionKind::StopWithSavepoint { drain }) => {
                let begun = std::mem::take(&mut self.stop_begun);
                match (done, drain) {
                    (true, false) => self.saw(Situation::StoppedSuspended),
                    (true, true) => self.saw(Situation::StoppedDrained),
                    (false, _) if snapshot => self.saw(Situation::StopFailedBehind),
                    (false, _) => self.saw_if(begun, Situation::StopFailedBefore),
                }
            }
            Some(ActionKind::Cancel | ActionKind::CleanOrphans | ActionKind::Resume { .. })
            | None => {}
        }
    }

    /// A job that has failed or was cancelled leaves a checkpoint behind.
    pub(super) fn on_retained(&mut self) {
        self.saw(Situation::CheckpointRetained);
    }

    fn on_execution_ended(&mut self) {
        let acknowledged = self.pending.iter().any(|pending| pending.acknowledged);
        let finalizing = self.pending.iter().any(|pending| pending.reached.is_some());
        self.saw_if(acknowledged, Situation::CrashAmidAcknowledgements);
        self.saw_if(finalizing, Situation::CrashWhileFinalizing);
        self.saw_if(!self.untold.is_empty(), Situation::CrashBeforeNotification);
        // The first deployment is not a recovery.
        self.saw_if(self.recovering && self.executions > 1, Situation::RecoveryDuringRecovery);
        self.recovering = true;
    }

    fn on_chosen(&mut self, chosen: Option<CheckpointId>, setup: &Setup) {
        self.executions += 1;
        self.set_back |= !self.led_only;
        self.led_only = false;
        self.stop_begun = false;
        self.down.clear();
        let union = |it: OperatorId| setup.has_list_state(it, DistributionMode::Union);
        let restores_union = chosen.is_some() && setup.operators().any(union);
        self.saw_if(restores_union, Situation::UnionStateRestored);
        let mut edges = setup.layout().job().edges().iter();
        let restores_chain = chosen.is_some() && edges.any(|edge| edge.chained);
        self.saw_if(restores_chain, Situation::ChainRestored);
        if self.executions > 1 || chosen.is_some() {
            let situation = match chosen {
                Some(_) => Situation::RestoredFromCheckpoint,
                None => Situation::RestoredFromScratch,
            };
            self.saw(situation);
        }
        self.chosen = chosen;
        self.untold.clear();
        self.recovering = true;
        self.running.fill(false);
        self.told.fill(false);
        self.barriers.fill(0);
    }

    fn on_region_ended(&mut self, region: RegionId) {
        self.saw_if(!self.down.is_empty(), Situation::RegionsDown);
        self.down.push(region);
        self.on_execution_ended();
    }

    fn on_region_restored(
        &mut self,
        region: RegionId,
        chosen: Option<CheckpointId>,
        setup: &Setup,
    ) {
        self.executions += 1;
        self.set_back = true;
        self.down.retain(|down| *down != region);
        self.saw(Situation::RegionRestarted);
        let subtasks = setup.graph.regions().subtasks(region);
        let union = |subtask: &SubtaskId| {
            setup.has_list_state(setup.graph.operator(*subtask), DistributionMode::Union)
        };
        let restores_union = chosen.is_some() && subtasks.iter().any(union);
        self.saw_if(restores_union, Situation::UnionStateRestored);
        let chained = subtasks.iter().any(|subtask| !setup.graph.is_head(*subtask));
        self.saw_if(chosen.is_some() && chained, Situation::ChainRestored);
        self.saw(match chosen {
            Some(_) => Situation::RestoredFromCheckpoint,
            None => Situation::RestoredFromScratch,
        });
        self.chosen = chosen;
        self.untold.clear();
        self.recovering = true;
        for &subtask in subtasks {
            self.running[subtask.index()] = false;
            self.told[subtask.index()] = false;
            for input in setup.graph.inputs(subtask) {
                self.barriers[input.index()] = 0;
            }
        }
    }

    fn on_elected(&mut self, session: u64) {
        self.saw_if(session > 1, Situation::LeaderChanged);
        self.led_only = true;
        (self.set_back, self.backlog) = (false, false);
        self.stop_begun = false;
        let at = |step| self.pending.iter().any(|pending| pending.reached >= Some(step));
        let (finalizing, writing) = (at(Step::A2), at(Step::F2));
        let lost = std::mem::take(&mut self.lost);
        self.saw_if(finalizing, Situation::CrashWhileFinalizing);
        self.saw_if(finalizing && !lost, Situation::LeadershipLostWhileFinalizing);
        self.saw_if(writing, Situation::LeaderLostAtMetadata);
        self.pending.clear();
    }

    fn end(&mut self, checkpoint: CheckpointId) {
        self.pending.retain(|pending| pending.checkpoint != checkpoint);
    }
}
