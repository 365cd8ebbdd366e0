//! One attempt of a subtask: its input gates, its operator, its outputs and its snapshots.
//!
//! Flink: `StreamTask`, `SubtaskCheckpointCoordinatorImpl`, `ChannelStateWriterImpl`,
//! `StreamTaskNetworkInput`. The machine is what runs in the task's mailbox thread: everything it
//! does about a checkpoint it does between two records. Uploads leave as outputs and come back as
//! inputs; they run in threads of their own.
//!
//! A snapshot here takes B1 (barrier polled, or trigger message at a source), B2 (alignment ended
//! or given up), B3 (state captured), B4 (barrier forwarded), B5 (upload started), B6
//! (acknowledged, once everything has been uploaded, flushed and captured).
//!
//! Invariants:
//! - snapshots are taken in ascending order of their ids, each at most once;
//! - no record is processed before the restored channel state has been;
//! - nothing leaves on a channel before its receiver has connected.

mod calls;
mod debloating;
mod event_time;
mod input;
mod iteration;
mod life;
mod output;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use self::calls::{HeldSnapshot, Turn};
use crate::config::DebloatOptions;
use crate::defect::{Defect, Defects, PutOff};
use crate::enumerator::{EventId, SplitEvent};
use crate::ids::{CheckpointId, GateId, InputChannel, OutputChannel};
use crate::message::{CheckpointBarrier, Element, FailureReason};
use crate::operator::{Effect, Emitter, Operator, Record, TimeEvent, TransactionId};
use crate::storage::channel_state::ChannelState;
use crate::task::barrier::{self, AlignmentMetrics, BarrierMode, Cut, InputConfig, InputHandler};
pub use crate::task::commits::CommitError;
use crate::task::commits::Commits;
use crate::task::credit::GateCredit;
use crate::task::debloat::{Debloater, PARTS};
use crate::task::pool::Pool;
use crate::task::rounds::Rounds;
use crate::task::router::Router;
use crate::task::snapshots::{PartKind, Snapshots};
use crate::task::subpartition::{self, Subpartition, SubpartitionConfig};
use crate::task::valve::Valve;
use crate::time::{ClockOffset, VirtualDuration, VirtualTime};

/// What a subtask must know from the start.
#[derive(Debug)]
pub struct SubtaskConfig {
    /// Its input side.
    pub input: InputConfig,
    /// Which operator input each gate feeds.
    pub gate_inputs: Vec<u32>,
    /// Of each input channel, whether its sender is on the same task manager.
    pub local_inputs: Vec<bool>,
    /// Of each output channel, whether its receiver is on the same task manager.
    pub local_outputs: Vec<bool>,
    /// Flink: `taskmanager.network.memory.buffers-per-channel`.
    pub exclusive_buffers: u32,
    /// Flink: `taskmanager.network.memory.floating-buffers-per-gate`.
    pub floating_buffers: u32,
    /// Number of output channels of each output edge.
    pub output_edges: Vec<u32>,
    /// Of each output edge, whether barriers leave aligned, whatever they asked for. Flink: not
    /// `StreamEdge#supportsUnalignedCheckpoints`.
    pub aligned_edges: Vec<bool>,
    /// Of each output edge, whether it is part of a loop, and leads back in it.
    pub loop_edges: Vec<LoopEdge>,
    /// Flink: `taskmanager.network.memory.max-buffers-per-channel`.
    pub buffers_per_subpartition: u32,
    /// Flink: `taskmanager.network.memory.buffer-debloat.*`.
    pub debloat: DebloatOptions,
    /// After the end of its input, wait until a checkpoint that contains it has completed.
    /// Flink: `execution.checkpointing.checkpoints-after-tasks-finish`, with checkpointing on.
    pub waits_for_final_checkpoint: bool,
    /// The restored checkpoint says that this subtask had finished: nothing is processed.
    pub finished_on_restore: bool,
    /// Flink: `sink.committer.retries`.
    pub commit_retries: u32,
    /// Event time matters to somebody in the job: at its end a source says that it has ended. Flink
    /// always does.
    pub event_time: bool,
    /// What is planted.
    pub defects: Defects,
}

/// What an output edge is to a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopEdge {
    /// It is part of none, or leads out of one.
    Outside,
    /// It leads on in one.
    Within,
    /// It is the feedback edge. However much waits there, the task goes on: if it did not, and the head
    /// could not send what it has got, nobody would move. Flink: `BlockingQueueBroker`; Flink ML's
    /// `SpillableFeedbackChannel`.
    Feedback,
}

/// What happens to a subtask.
#[derive(Clone, Debug)]
pub enum Input {
    /// The state has been read: take it over (R4) and start (R6).
    Start {
        /// The restored checkpoint, `None` at a first start.
        restored: Option<CheckpointId>,
        /// State parts, each with the place of its operator in the chain: 0 where nothing is chained.
        state: Vec<(u32, Vec<u8>)>,
        /// Channel state for the channels of this subtask.
        channels: Box<ChannelState>,
    },
    /// An element came out of the network.
    Deliver {
        /// The channel.
        channel: InputChannel,
        /// The element and what travels with it.
        frame: Frame,
    },
    /// Something came back from the receiver of an output channel.
    Back {
        /// The channel.
        channel: OutputChannel,
        /// What.
        back: Back,
    },
    /// A message for the mailbox.
    Mail(Mail),
    /// The thread is free: do one thing.
    Run,
    /// A deadline has passed.
    Timeout,
    /// The wall clock of the host was set: from now on it is so far ahead of the monotonic one, which
    /// `now` is.
    WallClock(ClockOffset),
    /// A part of a snapshot is on stable storage, or is not.
    Uploaded {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Whether it was written.
        written: bool,
    },
    /// The external system has flushed the transaction of a checkpoint's snapshot.
    Flushed(CheckpointId),
    /// The external system has committed a transaction.
    Committed(TransactionId),
    /// The external system has not committed a transaction, or says so.
    CommitFailed {
        /// The transaction.
        transaction: TransactionId,
        /// Why.
        error: CommitError,
    },
    /// The outside has answered a call of the operator.
    Answered(u64),
    /// The attempt has failed or is cancelled; the last input.
    Close,
}

/// An element on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The element.
    pub element: Element<Record>,
    /// Whether it overtakes elements without priority.
    pub priority: bool,
    /// Buffers that wait behind it at the sender.
    pub backlog: u32,
}

/// What flows against a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Back {
    /// The receiver is there and has so many buffers. Flink: `PartitionRequest`.
    Connect(u32),
    /// So many buffers more. Flink: `AddCredit`.
    Credit(u32),
    /// Go on after an aligned barrier. Flink: `ResumeConsumption`.
    Resume,
    /// Make buffers of so many bytes from now on. Flink: `NewBufferSize`.
    BufferSize(u32),
}

/// A message for the mailbox thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mail {
    /// T5 at a subtask without unfinished inputs.
    Trigger(CheckpointBarrier),
    /// N1: this checkpoint has completed.
    NotifyComplete(CheckpointId),
    /// X3: this checkpoint was aborted.
    NotifyAborted(CheckpointId),
    /// What the enumerator says to a reader. Flink: `OperatorEvent`.
    Split {
        /// To confirm it with; whoever delivers it does.
        id: EventId,
        /// What.
        event: SplitEvent,
    },
    /// The task's own: the keyed state is wanted as it is, between two checkpoints. Answered by
    /// [`Output::Captured`]. Flink: `MailboxExecutor#execute`.
    Capture {
        /// The place of the operator in the chain.
        link: u32,
        /// What for.
        why: Capture,
    },
}

/// What a state is wanted for apart from checkpoints
/// ([`changelog`](crate::storage::changelog)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// It is materialised.
    Materialize,
    /// Its changes are persisted ahead of the next checkpoint.
    Persist,
}

/// What a subtask wants done, and what it reports.
#[derive(Clone, Debug)]
pub enum Output {
    /// A record was taken from a channel and processed. Charge its cost.
    Processed {
        /// The channel.
        channel: InputChannel,
        /// The record.
        record: Record,
    },
    /// A record was handed by call to an operator of the chain. Charge its cost.
    Chained {
        /// The place of that operator, at least 1.
        link: u32,
        /// The record, or mark of event time.
        record: Record,
    },
    /// A source has read a record. Charge its cost.
    Read(Record),
    /// A record was put on an output channel.
    Sent {
        /// The channel.
        channel: OutputChannel,
        /// The record.
        record: Record,
    },
    /// A record was put on an output channel and leaves on the wire at once: `Sent` and `Transmit`
    /// in one, with nothing behind it.
    Passed {
        /// The channel.
        channel: OutputChannel,
        /// The record.
        record: Record,
    },
    /// A barrier was put on an output channel.
    BarrierSent {
        /// The channel.
        channel: OutputChannel,
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// An element leaves on the wire.
    Transmit {
        /// The channel.
        channel: OutputChannel,
        /// The element and what travels with it.
        frame: Frame,
    },
    /// Something waits on an output channel for the receiver: look whether it has sent anything.
    AwaitBack(OutputChannel),
    /// A buffer is free again once the record that was in it has been worked on: the credit for it
    /// flows back to the sender then.
    Recycled {
        /// The input channel against which it flows.
        channel: InputChannel,
        /// How many.
        credit: u32,
    },
    /// Something flows back to a sender.
    SendBack {
        /// The input channel against which it flows.
        channel: InputChannel,
        /// What.
        back: Back,
    },
    /// A barrier was polled (B1).
    BarrierReceived {
        /// The channel.
        channel: InputChannel,
        /// The barrier.
        barrier: CheckpointBarrier,
    },
    /// Alignment blocks a channel.
    Blocked(InputChannel),
    /// Alignment releases a channel.
    Resumed(InputChannel),
    /// B2, B3: the state is captured. Charge the synchronous part.
    Cut {
        /// The barrier.
        barrier: CheckpointBarrier,
        /// How; `None` at a source.
        cut: Option<Cut>,
        /// Bytes of state in the real job.
        nominal: u64,
        /// From the trigger at the coordinator to the first barrier here.
        start_delay: VirtualDuration,
    },
    /// The alignment of a checkpoint has ended.
    Aligned {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// What it cost.
        metrics: AlignmentMetrics,
    },
    /// An in-flight record becomes part of the snapshot.
    PersistedInput {
        /// The channel.
        channel: InputChannel,
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The record.
        record: Record,
    },
    /// An in-flight record becomes part of the snapshot.
    PersistedOutput {
        /// The channel.
        channel: OutputChannel,
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The record.
        record: Record,
    },
    /// A record of the restored channel state waits to be processed first.
    Recovered {
        /// The channel.
        channel: InputChannel,
        /// The record.
        record: Record,
    },
    /// B5: write a part of the snapshot to stable storage.
    Upload {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The place in the chain of the operator that it belongs to.
        link: u32,
        /// Which part.
        part: PartKind,
        /// Its bytes.
        bytes: Vec<u8>,
        /// Bytes in the real job.
        nominal: u64,
    },
    /// The keyed state of an operator as it is, between two records.
    Captured {
        /// The place of the operator in the chain.
        link: u32,
        /// What it is wanted for.
        why: Capture,
        /// Its bytes.
        state: Vec<u8>,
        /// Bytes in the real job.
        nominal: u64,
    },
    /// B6: everything is durable.
    Acknowledge(CheckpointId),
    /// B6: this subtask has given the checkpoint up.
    Decline {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// Why.
        reason: FailureReason,
    },
    /// What the outside is asked to do; `PreCommit` is answered with [`Input::Flushed`], `Commit`
    /// and `Apply` with [`Input::Committed`] or [`Input::CommitFailed`].
    Effect(Effect),
    /// The senders of a gate were told to make buffers of so many bytes.
    BufferSize {
        /// The gate.
        gate: GateId,
        /// Bytes.
        bytes: u32,
    },
    /// A reader has no split left: ask its enumerator for one. Flink: `RequestSplitEvent`.
    RequestSplit,
    /// What event time has done to a record or a window.
    Time {
        /// The place of the operator in the chain.
        link: u32,
        /// What.
        event: TimeEvent,
    },
    /// A commit was tried often enough: the attempt fails, and the next one tries again.
    CommitGivenUp(TransactionId),
    /// What was decided can never be committed: the job fails for good. Deviation: Flink restarts
    /// it until the restart strategy gives up, and its Kafka committer goes on without the data.
    CommitLost(TransactionId),
    /// N1 was handled.
    NotifiedComplete(CheckpointId),
    /// The abort of a checkpoint was handled.
    NotifiedAborted(CheckpointId),
    /// R6: restored, channel state consumed; the subtask runs.
    Running,
    /// The subtask has come to its end.
    Finished,
    /// The state could not be read: the attempt fails.
    RestoreFailed(String),
    /// The savepoint with which the subtask was to stop was aborted: the attempt fails, because it
    /// has stopped reading already.
    StopFailed(CheckpointId),
}

/// Takes what a subtask wants done, in order: a vector, or whoever does it at once.
pub trait Outputs {
    /// Takes the next output.
    fn push(&mut self, output: Output);

    /// What has come back on an output channel by now, oldest first. `None` if it is not known here:
    /// then [`Output::AwaitBack`] asks for it.
    #[inline]
    fn take_back(&mut self, channel: OutputChannel) -> Option<Back> {
        let _ = channel;
        None
    }
}

impl Outputs for Vec<Output> {
    #[inline]
    fn push(&mut self, output: Output) {
        self.push(output);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waits for its state.
    Initializing,
    /// Consumes the restored channel state.
    Recovering,
    Running,
    /// The savepoint with which the job stops is cut; waits for it to complete.
    Stopping,
    /// All inputs have ended and the operator has finished; waits for a checkpoint with an id of
    /// at least this one.
    AwaitingFinalCheckpoint(CheckpointId),
    /// That checkpoint has completed; waits for the commits it decided, and for snapshots under
    /// way to be acknowledged.
    Settling,
    Finished,
}

/// One attempt of a subtask.
#[derive(Debug)]
pub struct Subtask {
    phase: Phase,
    /// Or a chain of operators.
    operator: Box<dyn Operator>,
    /// How many operators there are.
    chained: u32,
    is_source: bool,
    is_caller: bool,
    /// All inputs have ended, but not all calls have been answered.
    ending: bool,
    /// The snapshot of a drained job, which waits for the answers to all calls, or for the loop that
    /// the subtask is the head of to be empty.
    held: Option<HeldSnapshot>,
    gates: InputHandler<Record>,
    gate_of: Vec<GateId>,
    gate_inputs: Vec<u32>,
    next_gate: u32,
    credits: Vec<GateCredit>,
    recovered: VecDeque<(InputChannel, Record)>,
    ended_inputs: Vec<bool>,
    /// How many have not, but feedback channels.
    open_inputs: u32,
    valve: Valve,
    /// What it is to a loop, if it is part of one.
    rounds: Option<Box<Rounds>>,
    /// The gates of feedback edges.
    feedback: Vec<GateId>,
    /// Of each output channel, whether it is part of a loop.
    in_loop: Vec<bool>,
    outputs: Vec<Subpartition<Record>>,
    connected: Vec<bool>,
    /// Of each output channel, the pool from which its buffers are.
    pool_of: Vec<u32>,
    pools: Vec<Pool>,
    /// Of each output channel, how much of the buffers a record takes.
    parts_of_record: Vec<u32>,
    /// Buffers that may queue in a subpartition.
    subpartition_max: u32,
    debloat: DebloatOptions,
    /// One a gate, from the start on, if buffers are to be debloated.
    debloaters: Vec<Debloater>,
    /// Output channels above their limit of queued buffers, and pools of which nothing is left.
    full_outputs: u32,
    router: Router,
    mailbox: VecDeque<Mail>,
    snapshots: Snapshots,
    /// When a queued barrier with a timeout becomes unaligned.
    output_timeouts: Vec<(VirtualTime, CheckpointId)>,
    /// What the wall clock shows more than `now`.
    clock_offset: ClockOffset,
    /// Something has come of that.
    wall_clock_read: bool,
    /// A trigger that came before the ends of all partitions.
    held_trigger: Option<CheckpointBarrier>,
    waits_for_final_checkpoint: bool,
    finished_on_restore: bool,
    /// The savepoint with which the job stops. Flink: `StreamTask#syncSavepoint`.
    stops_with: Option<CheckpointId>,
    /// Commits that the external system has not confirmed yet.
    commits: Commits,
    /// Of each output channel, whether barriers leave aligned.
    aligned_outputs: Vec<bool>,
    event_time: bool,
    /// Whether barriers may overtake.
    unaligned: bool,
    emitter: Emitter,
    gate_outputs: Vec<barrier::Output<Record>>,
    subpartition_outputs: Vec<subpartition::Output<Record>>,
    effects: Vec<Effect>,
    /// The snapshot whose state is serialised later.
    late_upload: PutOff<CheckpointId>,
    defects: Defects,
}

impl Subtask {
    /// A subtask that waits for [`Input::Start`]. The operator may be a
    /// [`Chain`](crate::operator::Chain).
    pub fn new(config: SubtaskConfig, operator: Box<dyn Operator>, router: Router) -> Self {
        let mut operator = operator;
        let mut gate_of = Vec::new();
        let mut credits = Vec::new();
        for (gate, channels) in config.input.gates.iter().enumerate() {
            let first = gate_of.len();
            credits.push(GateCredit::new(
                first as u32,
                &config.local_inputs[first..first + channels.len()],
                config.exclusive_buffers,
                config.floating_buffers,
            ));
            gate_of.extend(channels.iter().map(|_| GateId(gate as u32)));
        }
        let inputs = gate_of.len();
        let outputs = config.output_edges.iter().sum::<u32>() as usize;
        let edges = config.output_edges.iter().zip(&config.aligned_edges);
        let aligned_outputs: Vec<bool> = edges
            .flat_map(|(channels, aligned)| std::iter::repeat_n(*aligned, *channels as usize))
            .collect();
        assert_eq!(aligned_outputs.len(), outputs, "each output edge is one or the other");
        let buffers_max = config.buffers_per_subpartition;
        let edges = config.output_edges.iter().zip(&config.loop_edges);
        let loop_edges: Vec<LoopEdge> = edges
            .flat_map(|(channels, edge)| std::iter::repeat_n(*edge, *channels as usize))
            .collect();
        assert_eq!(loop_edges.len(), outputs, "each output edge is inside or outside");
        let subpartition = |edge: &LoopEdge| {
            Subpartition::new(&SubpartitionConfig {
                credit: Some(0),
                buffers_max: match edge {
                    LoopEdge::Outside | LoopEdge::Within => buffers_max,
                    LoopEdge::Feedback => u32::MAX,
                },
            })
        };
        let (pool_of, pools) = Pool::of_edges(&config);
        let feedback = config.input.feedback.clone();
        let in_loop: Vec<bool> = loop_edges.iter().map(|edge| *edge != LoopEdge::Outside).collect();
        // All inputs of whoever is in a loop and not its head are part of it.
        let circulates = gate_of.iter().map(|gate| feedback.is_empty() || feedback.contains(gate));
        let rounds = (in_loop.contains(&true))
            .then(|| Box::new(Rounds::new(!feedback.is_empty(), circulates)));
        let gates = InputHandler::new(&config.input);
        let chained = operator.as_chain().map_or(1, |chain| chain.len() as u32);
        Self {
            phase: Phase::Initializing,
            chained,
            is_source: operator.as_source().is_some(),
            is_caller: operator.as_caller().is_some(),
            ending: false,
            held: None,
            operator,
            open_inputs: gates.open_forward_channels(),
            gates,
            gate_inputs: config.gate_inputs,
            next_gate: 0,
            credits,
            recovered: VecDeque::new(),
            ended_inputs: vec![false; inputs],
            valve: Valve::new(inputs),
            gate_of,
            rounds,
            feedback,
            in_loop,
            outputs: loop_edges.iter().map(subpartition).collect(),
            connected: vec![false; outputs],
            pool_of,
            pools,
            parts_of_record: vec![PARTS; outputs],
            subpartition_max: buffers_max,
            debloat: config.debloat,
            debloaters: Vec::new(),
            full_outputs: 0,
            router,
            mailbox: VecDeque::new(),
            snapshots: Snapshots::new(chained - 1, config.defects),
            output_timeouts: Vec::new(),
            clock_offset: ClockOffset::NONE,
            wall_clock_read: false,
            held_trigger: None,
            waits_for_final_checkpoint: config.waits_for_final_checkpoint,
            finished_on_restore: config.finished_on_restore && !config.defects.has(Defect::D90),
            stops_with: None,
            commits: Commits::new(config.commit_retries),
            aligned_outputs,
            event_time: config.event_time,
            unaligned: config.input.mode == BarrierMode::ExactlyOnce { unaligned: true },
            emitter: Emitter::default(),
            gate_outputs: Vec::new(),
            subpartition_outputs: Vec::new(),
            effects: Vec::new(),
            late_upload: PutOff::default(),
            defects: config.defects,
        }
    }

    /// Has a handler of the user's own decide about barriers.
    pub fn use_barrier_handler(&mut self, handler: Box<dyn barrier::BarrierHandler>) {
        self.gates.use_handler(handler);
    }

    /// Takes one input and appends what is to be done about it.
    #[inline]
    pub fn handle(&mut self, now: VirtualTime, input: Input, out: &mut impl Outputs) {
        match input {
            Input::Deliver { channel, frame } => self.on_deliver(now, channel, frame, out),
            Input::Run => self.on_run(now, out),
            Input::Back { channel, back } => self.on_back(channel, back, out),
            Input::Mail(mail) => self.mailbox.push_back(mail),
            Input::Timeout => self.on_timeout(now, out),
            Input::WallClock(ahead) => {
                self.clock_offset = ahead;
                let input = barrier::Input::WallClock(ahead);
                self.gates.handle(now, input, &mut self.gate_outputs);
            }
            Input::Uploaded { checkpoint, written } => {
                self.snapshots.on_uploaded(checkpoint, written, out);
            }
            Input::Flushed(checkpoint) => {
                self.snapshots.on_flushed(checkpoint, out);
                if self.defects.has(Defect::D69) {
                    self.operator.notify_complete(checkpoint, &mut self.effects);
                    self.flush_effects(out);
                }
            }
            Input::Committed(transaction) => self.on_committed(transaction),
            Input::CommitFailed { transaction, error } => {
                self.on_commit_failed(now, transaction, error, out);
            }
            Input::Answered(call) => self.on_answer(call),
            Input::Close => {
                self.operator.close(&mut self.effects);
                self.flush_effects(out);
            }
            Input::Start { restored, state, channels } => {
                self.on_start(restored, &state, &channels, out);
                self.begin_debloating(now);
            }
        }
        if self.phase == Phase::Settling {
            self.finish_if_settled(out);
        }
    }

    /// When [`Input::Timeout`] is due.
    #[inline(always)]
    pub fn next_timeout(&self) -> Option<VirtualTime> {
        let is_plain = self.output_timeouts.is_empty() && self.commits.is_empty();
        match is_plain && self.debloaters.is_empty() {
            true => self.gates.next_timeout(),
            false => self.next_of_timeouts(),
        }
    }

    #[cold]
    #[inline(never)]
    fn next_of_timeouts(&self) -> Option<VirtualTime> {
        let outputs = self.output_timeouts.iter().map(|(at, _)| *at).min();
        let timeouts =
            [self.gates.next_timeout(), outputs, self.commits.next_timeout(), self.next_sample()];
        timeouts.into_iter().flatten().min()
    }

    /// Whether something has come of the wall clock since this was asked last: a timestamp that was
    /// compared with it, or a deadline. For simulators, which want to know whether a wrong one matters.
    pub fn has_read_wall_clock(&mut self) -> bool {
        let by_gates = self.gates.has_read_wall_clock();
        std::mem::take(&mut self.wall_clock_read) || by_gates
    }

    /// What the wall clock shows more than `now`.
    fn ahead(&mut self) -> ClockOffset {
        self.wall_clock_read = true;
        self.clock_offset
    }

    /// When [`Input::Run`] would do something, as long as nothing else happens: not after `now` if it
    /// would at once.
    #[inline]
    pub fn next_run(&mut self, now: VirtualTime) -> Option<VirtualTime> {
        match self.phase {
            Phase::Initializing | Phase::Finished => None,
            Phase::Recovering
            | Phase::Running
            | Phase::Stopping
            | Phase::AwaitingFinalCheckpoint(_)
            | Phase::Settling => {
                match self.turn() {
                    Turn::Emit => return Some(now),
                    Turn::Wait => return None,
                    Turn::Free => {}
                }
                if !self.mailbox.is_empty() {
                    return Some(now);
                }
                if self.full_outputs > 0 {
                    return self.has_priority().then_some(now);
                }
                if self.gates.has_input() || !self.recovered.is_empty() {
                    return Some(now);
                }
                if self.is_source { self.next_read(now) } else { None }
            }
        }
    }

    /// When a source has its next record, or has to say that it has come to its end.
    #[inline]
    fn next_read(&mut self, now: VirtualTime) -> Option<VirtualTime> {
        let source = self.operator.as_source().filter(|_| self.phase == Phase::Running)?;
        source.next_due().or_else(|| source.is_finished().then_some(now))
    }

    fn has_priority(&self) -> bool {
        (0..self.credits.len()).any(|gate| self.gates.has_priority(GateId(gate as u32)))
    }

    /// Whether something waits on an output channel for its receiver.
    #[inline]
    pub fn awaits_back(&self, channel: OutputChannel) -> bool {
        !self.outputs[channel.index()].is_empty()
    }

    /// Whether the subtask has come to its end.
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Finished
    }

    /// Whether the end of its input was processed: its snapshots are those of a finished operator.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::AwaitingFinalCheckpoint(_) | Phase::Settling | Phase::Finished)
    }

    /// Whether its part of a checkpoint is cut, and neither acknowledged nor given up.
    pub fn is_taking(&self, checkpoint: CheckpointId) -> bool {
        self.snapshots.is_begun(checkpoint)
    }

    /// Records that wait in its input channels.
    pub fn queued_inputs(&self) -> u32 {
        (0..self.gate_of.len()).map(|i| self.gates.queued_buffers(InputChannel(i as u32))).sum()
    }

    /// Records that wait in its output channels.
    pub fn queued_outputs(&self) -> u32 {
        self.outputs.iter().map(Subpartition::queued_buffers).sum()
    }

    /// The operator, for those who look at its state.
    pub fn operator(&self) -> &dyn Operator {
        &*self.operator
    }

    /// The operator of a link of the chain; without one there is only the link 0.
    fn operator_of(&mut self, link: u32) -> &mut dyn Operator {
        match self.chained {
            1 => &mut *self.operator,
            _ => self.operator.as_chain().expect("several operators are a chain").operator(link),
        }
    }

    // ---- the mailbox thread ------------------------------------------------------------------

    #[inline]
    fn on_run(&mut self, now: VirtualTime, out: &mut impl Outputs) {
        match self.phase {
            Phase::Initializing | Phase::Finished => {}
            Phase::Recovering
            | Phase::Running
            | Phase::Stopping
            | Phase::AwaitingFinalCheckpoint(_)
            | Phase::Settling => {
                match self.turn() {
                    Turn::Emit => return self.emit_answered(now, out),
                    Turn::Wait => return,
                    Turn::Free => {}
                }
                if let Some(mail) = self.mailbox.pop_front() {
                    self.on_mail(now, mail, out);
                } else if self.full_outputs == 0 {
                    let late = self.late_upload.take();
                    self.work(now, out);
                    if let Some(checkpoint) = late {
                        self.upload_live(checkpoint, out);
                    }
                } else {
                    // A full output stops records, not barriers that overtake them.
                    self.poll(now, InputHandler::has_priority, out);
                }
            }
        }
    }

    #[inline]
    fn on_timeout(&mut self, now: VirtualTime, out: &mut impl Outputs) {
        for effect in self.commits.due(now) {
            out.push(Output::Effect(effect));
        }
        if self.gates.next_timeout().is_some_and(|due| due <= now) {
            self.gates.handle(now, barrier::Input::Timeout, &mut self.gate_outputs);
            self.follow_gates(now, out);
        }
        if self.next_sample().is_some_and(|due| due <= now) {
            self.debloat(now, out);
        }
        while let Some(index) = self.output_timeouts.iter().position(|(due, _)| *due <= now) {
            let (_, checkpoint) = self.output_timeouts.swap_remove(index);
            for channel in 0..self.outputs.len() {
                let input = subpartition::Input::AlignedBarrierTimeout(checkpoint);
                self.drive(OutputChannel(channel as u32), input, out);
            }
        }
    }
}
