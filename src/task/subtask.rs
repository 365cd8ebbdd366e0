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

use std::collections::VecDeque;

use crate::defect::{Defect, Defects, PutOff};
use crate::ids::{CheckpointId, GateId, InputChannel, OutputChannel};
use crate::message::{Alignment, CheckpointBarrier, Element, FailureReason, SnapshotKind};
use crate::operator::{Effect, Emitter, Operator, Record, Snapshot, TransactionId};
use crate::storage::channel_state::ChannelState;
use crate::task::barrier::{self, AlignmentMetrics, Cut, InputConfig, InputHandler};
use crate::task::credit::GateCredit;
use crate::task::router::Router;
use crate::task::snapshots::{PartKind, Snapshots};
use crate::task::subpartition::{self, Subpartition, SubpartitionConfig};
use crate::time::{VirtualDuration, VirtualTime};

/// What a subtask must know from the start.
#[derive(Debug)]
pub struct SubtaskConfig {
    /// Its input side.
    pub input: InputConfig,
    /// Which operator input each gate feeds.
    pub gate_inputs: Vec<u32>,
    /// Flink: `taskmanager.network.memory.buffers-per-channel`.
    pub exclusive_buffers: u32,
    /// Flink: `taskmanager.network.memory.floating-buffers-per-gate`.
    pub floating_buffers: u32,
    /// Number of output channels of each output edge.
    pub output_edges: Vec<u32>,
    /// Flink: `taskmanager.network.memory.max-buffers-per-channel`.
    pub buffers_per_subpartition: u32,
    /// After the end of its input, wait until a checkpoint that contains it has completed.
    /// Flink: `execution.checkpointing.checkpoints-after-tasks-finish`, with checkpointing on.
    pub waits_for_final_checkpoint: bool,
    /// The restored checkpoint says that this subtask had finished: nothing is processed.
    pub finished_on_restore: bool,
    /// What is planted.
    pub defects: Defects,
}

/// What happens to a subtask.
#[derive(Clone, Debug)]
pub enum Input {
    /// The state has been read: take it over (R4) and start (R6).
    Start {
        /// The restored checkpoint, `None` at a first start.
        restored: Option<CheckpointId>,
        /// State parts for the operator.
        state: Vec<Vec<u8>>,
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
        /// Which part.
        part: PartKind,
        /// Its bytes.
        bytes: Vec<u8>,
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
    /// with [`Input::Committed`].
    Effect(Effect),
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
    operator: Box<dyn Operator>,
    is_source: bool,
    gates: InputHandler<Record>,
    gate_of: Vec<GateId>,
    gate_inputs: Vec<u32>,
    next_gate: u32,
    credits: Vec<GateCredit>,
    recovered: VecDeque<(InputChannel, Record)>,
    ended_inputs: Vec<bool>,
    open_inputs: u32,
    outputs: Vec<Subpartition<Record>>,
    connected: Vec<bool>,
    /// Output channels above their limit of queued buffers.
    full_outputs: u32,
    router: Router,
    mailbox: VecDeque<Mail>,
    snapshots: Snapshots,
    /// When a queued barrier with a timeout becomes unaligned.
    output_timeouts: Vec<(VirtualTime, CheckpointId)>,
    /// A trigger that came before the ends of all partitions.
    held_trigger: Option<CheckpointBarrier>,
    waits_for_final_checkpoint: bool,
    finished_on_restore: bool,
    /// The savepoint with which the job stops. Flink: `StreamTask#syncSavepoint`.
    stops_with: Option<CheckpointId>,
    /// Commits that the external system has not confirmed yet.
    commits_out: u32,
    emitter: Emitter,
    gate_outputs: Vec<barrier::Output<Record>>,
    subpartition_outputs: Vec<subpartition::Output<Record>>,
    effects: Vec<Effect>,
    /// The snapshot whose state is serialised later.
    late_upload: PutOff<CheckpointId>,
    defects: Defects,
}

impl Subtask {
    /// A subtask that waits for [`Input::Start`].
    pub fn new(config: SubtaskConfig, operator: Box<dyn Operator>, router: Router) -> Self {
        let mut operator = operator;
        let mut gate_of = Vec::new();
        let mut credits = Vec::new();
        for (gate, channels) in config.input.gates.iter().enumerate() {
            credits.push(GateCredit::new(
                gate_of.len() as u32,
                channels.len(),
                config.exclusive_buffers,
                config.floating_buffers,
            ));
            gate_of.extend(channels.iter().map(|_| GateId(gate as u32)));
        }
        let inputs = gate_of.len();
        let outputs = config.output_edges.iter().sum::<u32>() as usize;
        let subpartition =
            SubpartitionConfig { credit: Some(0), buffers_max: config.buffers_per_subpartition };
        Self {
            phase: Phase::Initializing,
            is_source: operator.as_source().is_some(),
            operator,
            gates: InputHandler::new(&config.input),
            gate_of,
            gate_inputs: config.gate_inputs,
            next_gate: 0,
            credits,
            recovered: VecDeque::new(),
            ended_inputs: vec![false; inputs],
            open_inputs: inputs as u32,
            outputs: vec![Subpartition::new(&subpartition); outputs],
            connected: vec![false; outputs],
            full_outputs: 0,
            router,
            mailbox: VecDeque::new(),
            snapshots: Snapshots::new(config.defects),
            output_timeouts: Vec::new(),
            held_trigger: None,
            waits_for_final_checkpoint: config.waits_for_final_checkpoint,
            finished_on_restore: config.finished_on_restore && !config.defects.has(Defect::D90),
            stops_with: None,
            commits_out: 0,
            emitter: Emitter::default(),
            gate_outputs: Vec::new(),
            subpartition_outputs: Vec::new(),
            effects: Vec::new(),
            late_upload: PutOff::default(),
            defects: config.defects,
        }
    }

    /// Takes one input and appends what is to be done about it.
    #[inline]
    pub fn handle(&mut self, now: VirtualTime, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Deliver { channel, frame } => self.on_deliver(now, channel, frame, out),
            Input::Run => self.on_run(now, out),
            Input::Back { channel, back } => self.on_back(channel, back, out),
            Input::Mail(mail) => self.mailbox.push_back(mail),
            Input::Timeout => self.on_timeout(now, out),
            Input::Uploaded { checkpoint, written } => {
                self.snapshots.on_uploaded(checkpoint, written, out);
            }
            Input::Flushed(checkpoint) => {
                self.snapshots.on_flushed(checkpoint, out);
                if self.defects.has(Defect::D69) {
                    self.operator.notify_complete(checkpoint, &mut self.effects);
                    self.flush_effects(None, out);
                }
            }
            Input::Committed(transaction) => self.on_committed(transaction),
            Input::Start { restored, state, channels } => {
                self.on_start(restored, &state, &channels, out);
            }
        }
        if self.phase == Phase::Settling {
            self.finish_if_settled(out);
        }
    }

    /// When [`Input::Timeout`] is due.
    #[inline]
    pub fn next_timeout(&self) -> Option<VirtualTime> {
        if self.output_timeouts.is_empty() {
            return self.gates.next_timeout();
        }
        let outputs = self.output_timeouts.iter().map(|(at, _)| *at).min();
        [self.gates.next_timeout(), outputs].into_iter().flatten().min()
    }

    /// Whether [`Input::Run`] would do something now.
    #[inline]
    pub fn is_ready(&mut self, now: VirtualTime) -> bool {
        match self.phase {
            Phase::Initializing | Phase::Finished => false,
            Phase::Recovering
            | Phase::Running
            | Phase::Stopping
            | Phase::AwaitingFinalCheckpoint(_)
            | Phase::Settling => {
                !self.mailbox.is_empty()
                    || if self.full_outputs == 0 {
                        self.gates.has_input() || !self.recovered.is_empty() || self.can_read(now)
                    } else {
                        self.has_priority()
                    }
            }
        }
    }

    /// Whether a source has a record that is due, or has come to its end without saying so yet.
    #[inline]
    fn can_read(&mut self, now: VirtualTime) -> bool {
        self.is_source
            && self.phase == Phase::Running
            && self.operator.as_source().is_some_and(|source| match source.next_due() {
                Some(due) => due <= now,
                None => source.is_finished(),
            })
    }

    fn has_priority(&self) -> bool {
        (0..self.credits.len()).any(|gate| self.gates.has_priority(GateId(gate as u32)))
    }

    /// When a source has its next record, unless it cannot emit now.
    #[inline]
    pub fn next_read(&mut self) -> Option<VirtualTime> {
        if !self.is_source || self.phase != Phase::Running || self.full_outputs > 0 {
            return None;
        }
        self.operator.as_source().and_then(|source| source.next_due())
    }

    /// Whether something waits on an output channel for its receiver.
    #[inline]
    pub fn awaits_back(&self, channel: OutputChannel) -> bool {
        self.outputs[channel.index()].queued().next().is_some()
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

    // ---- start (R4, R6) ----------------------------------------------------------------------

    fn on_start(
        &mut self,
        restored: Option<CheckpointId>,
        state: &[Vec<u8>],
        channels: &ChannelState,
        out: &mut Vec<Output>,
    ) {
        assert_eq!(self.phase, Phase::Initializing);
        for part in state {
            if let Err(error) = self.operator.restore(part) {
                out.push(Output::RestoreFailed(error.to_string()));
                return;
            }
        }
        self.snapshots.on_restored(restored);
        self.operator.open(restored, &mut self.effects);
        self.flush_effects(None, out);
        for (index, gate) in self.gate_of.iter().enumerate() {
            let credit = self.credits[gate.index()].initial();
            let channel = InputChannel(index as u32);
            out.push(Output::SendBack { channel, back: Back::Connect(credit) });
        }
        for (channel, record) in &channels.inputs {
            out.push(Output::Recovered { channel: *channel, record: *record });
            self.recovered.push_back((*channel, *record));
        }
        if self.defects.has(Defect::D21)
            && let Some((channel, record)) = self.recovered.pop_front()
        {
            self.process(channel, &record, out);
        }
        for (channel, record) in &channels.outputs {
            self.send(*channel, *record, out);
        }
        self.phase = Phase::Recovering;
        if self.finished_on_restore {
            self.phase = Phase::Running;
            out.push(Output::Running);
            self.end_of_data(out);
        } else if self.recovered.is_empty() || self.defects.has(Defect::D22) {
            self.run(out);
        }
    }

    /// The restored channel state has been consumed. Only now may a checkpoint be taken: one taken
    /// before would miss what is still waiting here.
    fn run(&mut self, out: &mut Vec<Output>) {
        self.phase = Phase::Running;
        out.push(Output::Running);
    }

    // ---- the mailbox thread ------------------------------------------------------------------

    #[inline]
    fn on_run(&mut self, now: VirtualTime, out: &mut Vec<Output>) {
        match self.phase {
            Phase::Initializing | Phase::Finished => {}
            Phase::Recovering
            | Phase::Running
            | Phase::Stopping
            | Phase::AwaitingFinalCheckpoint(_)
            | Phase::Settling => {
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
    fn work(&mut self, now: VirtualTime, out: &mut Vec<Output>) {
        if self.defects.has(Defect::D22) && self.has_priority() {
            self.poll(now, InputHandler::has_priority, out);
        } else if let Some((channel, record)) = self.recovered.pop_front() {
            self.process(channel, &record, out);
            if self.recovered.is_empty() && self.phase == Phase::Recovering {
                self.run(out);
            }
        } else if self.is_source {
            self.read(now, out);
        } else {
            self.poll(now, |gates, gate| !gates.is_empty(gate), out);
        }
    }

    /// Polls one element from the next gate, in turn, that has what is looked for.
    #[inline]
    fn poll(
        &mut self,
        now: VirtualTime,
        has: impl Fn(&InputHandler<Record>, GateId) -> bool,
        out: &mut Vec<Output>,
    ) {
        let count = self.credits.len() as u32;
        for _ in 0..count {
            let gate = GateId(self.next_gate);
            self.next_gate = if self.next_gate + 1 == count { 0 } else { self.next_gate + 1 };
            if has(&self.gates, gate) {
                self.gates.handle(now, barrier::Input::Poll { gate }, &mut self.gate_outputs);
                self.follow_gates(now, out);
                return;
            }
        }
    }

    #[inline]
    fn read(&mut self, now: VirtualTime, out: &mut Vec<Output>) {
        if self.phase != Phase::Running {
            return;
        }
        self.emitter.clear();
        let source = self.operator.as_source().expect("a source reads splits");
        source.emit_due(now, &mut self.emitter);
        let finished = source.is_finished();
        for index in 0..self.emitter.records().len() {
            let record = self.emitter.records()[index];
            out.push(Output::Read(record));
            self.emit(record, out);
        }
        if finished {
            self.end_of_input(out);
        }
    }

    #[inline]
    fn process(&mut self, channel: InputChannel, record: &Record, out: &mut Vec<Output>) {
        out.push(Output::Processed { channel, record: *record });
        let input = self.gate_inputs[self.gate_of[channel.index()].index()];
        self.emitter.clear();
        self.operator.process(input, record, &mut self.emitter);
        self.flush_emitter(out);
    }

    #[inline]
    fn flush_emitter(&mut self, out: &mut Vec<Output>) {
        for effect in self.emitter.effects() {
            out.push(Output::Effect(*effect));
        }
        for index in 0..self.emitter.records().len() {
            let record = self.emitter.records()[index];
            self.emit(record, out);
        }
    }

    #[inline]
    fn on_timeout(&mut self, now: VirtualTime, out: &mut Vec<Output>) {
        if self.gates.next_timeout().is_some_and(|due| due <= now) {
            self.gates.handle(now, barrier::Input::Timeout, &mut self.gate_outputs);
            self.follow_gates(now, out);
        }
        while let Some(index) = self.output_timeouts.iter().position(|(due, _)| *due <= now) {
            let (_, checkpoint) = self.output_timeouts.swap_remove(index);
            for channel in 0..self.outputs.len() {
                let input = subpartition::Input::AlignedBarrierTimeout(checkpoint);
                self.drive(OutputChannel(channel as u32), input, out);
            }
        }
    }

    // ---- input -------------------------------------------------------------------------------

    #[inline]
    fn on_deliver(
        &mut self,
        now: VirtualTime,
        channel: InputChannel,
        frame: Frame,
        out: &mut Vec<Output>,
    ) {
        let Frame { element, priority, backlog } = frame;
        if let Element::Buffer(_) = element {
            let gate = self.gate_of[channel.index()].index();
            self.credits[gate].on_buffer(channel, backlog, |channel, credit| {
                out.push(Output::SendBack { channel, back: Back::Credit(credit) });
            });
        }
        let input = barrier::Input::Deliver { channel, element, priority };
        self.gates.handle(now, input, &mut self.gate_outputs);
        if !self.gate_outputs.is_empty() {
            self.follow_gates(now, out);
        }
    }

    /// Does what the input gates ask for.
    #[inline]
    fn follow_gates(&mut self, now: VirtualTime, out: &mut Vec<Output>) {
        let mut asked = std::mem::take(&mut self.gate_outputs);
        for output in &asked {
            match *output {
                barrier::Output::Buffer { channel, ref buffer } => {
                    self.process(channel, buffer, out);
                    let gate = self.gate_of[channel.index()].index();
                    self.credits[gate].on_recycled(channel, |channel, credit| {
                        out.push(Output::SendBack { channel, back: Back::Credit(credit) });
                    });
                }
                barrier::Output::Barrier { channel, barrier } => {
                    out.push(Output::BarrierReceived { channel, barrier });
                }
                barrier::Output::Announcement { .. } | barrier::Output::CancelMarker { .. } => {}
                barrier::Output::EndOfData { channel } => self.on_end_of_data(channel, out),
                barrier::Output::EndOfPartition { channel } => {
                    self.on_end_of_data(channel, out);
                    let gate = self.gate_of[channel.index()].index();
                    self.credits[gate].on_closed(channel, |channel, credit| {
                        out.push(Output::SendBack { channel, back: Back::Credit(credit) });
                    });
                }
                barrier::Output::Block(channel) => out.push(Output::Blocked(channel)),
                barrier::Output::Resume(channel) => {
                    out.push(Output::Resumed(channel));
                    out.push(Output::SendBack { channel, back: Back::Resume });
                }
                barrier::Output::Persist { channel, checkpoint, buffer } => {
                    out.push(Output::PersistedInput { channel, checkpoint, record: buffer });
                    self.snapshots.on_input_persisted(checkpoint, channel, buffer);
                }
                barrier::Output::Trigger { barrier, cut, start_delay, alignment } => {
                    if self.defects.has(Defect::D53) {
                        self.work(now, out); // The snapshot waits in the mailbox meanwhile.
                    }
                    self.take_snapshot(now, barrier, Some(cut), start_delay, out);
                    if let Some(metrics) = alignment {
                        let checkpoint = barrier.checkpoint;
                        out.push(Output::Aligned { checkpoint, metrics });
                    }
                }
                barrier::Output::Measured { checkpoint, alignment: metrics } => {
                    out.push(Output::Aligned { checkpoint, metrics });
                }
                barrier::Output::Abort { checkpoint, reason } => {
                    self.give_up(checkpoint, reason.into(), out);
                }
                barrier::Output::Complete(checkpoint) => {
                    self.snapshots.on_inputs_complete(checkpoint, out);
                }
            }
        }
        asked.clear();
        self.gate_outputs = asked;
        if self.gates.open_channels() == 0
            && let Some(barrier) = self.held_trigger.take()
        {
            self.trigger(now, barrier, out);
        }
    }

    fn on_end_of_data(&mut self, channel: InputChannel, out: &mut Vec<Output>) {
        if std::mem::replace(&mut self.ended_inputs[channel.index()], true) {
            return;
        }
        self.open_inputs -= 1;
        // Behind the savepoint with which the job stops there is nothing to finish.
        if self.open_inputs == 0 && !self.has_ended() && self.stops_with.is_none() {
            self.end_of_input(out);
        }
    }

    // ---- output ------------------------------------------------------------------------------

    #[inline]
    fn emit(&mut self, record: Record, out: &mut Vec<Output>) {
        let mut router = std::mem::take(&mut self.router);
        router.route(&record, |channel, record| self.send(channel, record, out));
        self.router = router;
    }

    #[inline]
    fn send(&mut self, channel: OutputChannel, record: Record, out: &mut Vec<Output>) {
        if self.connected[channel.index()] && self.outputs[channel.index()].pass() {
            out.push(Output::Passed { channel, record });
            return;
        }
        out.push(Output::Sent { channel, record });
        let element = Element::Buffer(record);
        self.drive(channel, subpartition::Input::Push { element, priority: false }, out);
    }

    fn broadcast(&mut self, element: Element<Record>, out: &mut Vec<Output>) {
        let priority = matches!(element, Element::Barrier(barrier)
            if barrier.options.alignment == Alignment::Unaligned);
        for index in 0..self.outputs.len() {
            let channel = OutputChannel(index as u32);
            if let Element::Barrier(barrier) = element {
                out.push(Output::BarrierSent { channel, checkpoint: barrier.checkpoint });
            }
            self.drive(channel, subpartition::Input::Push { element, priority }, out);
        }
    }

    fn on_back(&mut self, channel: OutputChannel, back: Back, out: &mut Vec<Output>) {
        match back {
            Back::Connect(credit) => {
                self.connected[channel.index()] = true;
                self.drive(channel, subpartition::Input::Credit(credit), out);
            }
            Back::Credit(credit) => self.drive(channel, subpartition::Input::Credit(credit), out),
            Back::Resume => self.drive(channel, subpartition::Input::Resume, out),
        }
    }

    /// Hands an input to a subpartition, and lets leave what may leave.
    #[inline]
    fn drive(
        &mut self,
        channel: OutputChannel,
        input: subpartition::Input<Record>,
        out: &mut Vec<Output>,
    ) {
        let index = channel.index();
        let outputs = &mut self.subpartition_outputs;
        let subpartition = &mut self.outputs[index];
        let was_full = subpartition.is_full();
        subpartition.handle(input, outputs);
        if self.connected[index] {
            while subpartition.is_available() {
                subpartition.handle(subpartition::Input::Poll, outputs);
            }
        }
        match (was_full, subpartition.is_full()) {
            (false, true) => self.full_outputs += 1,
            (true, false) => self.full_outputs -= 1,
            (false, false) | (true, true) => {}
        }
        let waits = subpartition.queued().next().is_some();
        for output in &self.subpartition_outputs {
            match *output {
                subpartition::Output::Send { element, priority, backlog } => {
                    let frame = Frame { element, priority, backlog };
                    out.push(Output::Transmit { channel, frame });
                }
                subpartition::Output::Persist { checkpoint, buffer: record } => {
                    out.push(Output::PersistedOutput { channel, checkpoint, record });
                    self.snapshots.on_output_persisted(checkpoint, channel, record);
                }
                subpartition::Output::Captured(checkpoint) => {
                    self.snapshots.on_output_captured(checkpoint, out);
                }
                subpartition::Output::CaptureFailed(checkpoint) => {
                    let reason = FailureReason::CheckpointAsyncException;
                    self.snapshots.fail(checkpoint, reason, out);
                }
                subpartition::Output::Available | subpartition::Output::Writable => {}
            }
        }
        self.subpartition_outputs.clear();
        if waits {
            out.push(Output::AwaitBack(channel));
        }
    }

    // ---- snapshots (B1 … B6) -----------------------------------------------------------------

    fn on_mail(&mut self, now: VirtualTime, mail: Mail, out: &mut Vec<Output>) {
        match mail {
            Mail::Trigger(barrier) if self.gates.open_channels() == 0 => {
                self.trigger(now, barrier, out);
            }
            // The senders have all finished, as far as the coordinator knows, but the ends of
            // their partitions have not been polled yet. Flink inserts the barrier into the
            // channels that are still open; waiting for their ends cuts at the same place.
            Mail::Trigger(barrier) => self.held_trigger = Some(barrier),
            Mail::NotifyComplete(checkpoint) => self.on_complete(checkpoint, out),
            Mail::NotifyAborted(checkpoint) => self.on_aborted(checkpoint, out),
        }
    }

    fn trigger(&mut self, now: VirtualTime, barrier: CheckpointBarrier, out: &mut Vec<Output>) {
        if self.phase == Phase::Recovering {
            let reason = FailureReason::CheckpointDeclinedTaskNotReady;
            out.push(Output::Decline { checkpoint: barrier.checkpoint, reason });
            return;
        }
        self.take_snapshot(now, barrier, None, now.since(barrier.timestamp), out);
    }

    fn take_snapshot(
        &mut self,
        now: VirtualTime,
        barrier: CheckpointBarrier,
        cut: Option<Cut>,
        start_delay: VirtualDuration,
        out: &mut Vec<Output>,
    ) {
        let checkpoint = barrier.checkpoint;
        if !self.snapshots.admits(checkpoint) {
            // Aborted before its barrier came, or older than one already taken: those downstream
            // must not wait for it. Flink: `SubtaskCheckpointCoordinatorImpl#checkpointState`.
            self.snapshots.forget(checkpoint);
            self.cancel_downstream(checkpoint, out);
            return;
        }
        let mut forwarded = barrier;
        if cut == Some(Cut::Unaligned) {
            forwarded.options.alignment = Alignment::Unaligned;
        }
        let (unaligned, timeout) = match forwarded.options.alignment {
            Alignment::Unaligned => (true, None),
            Alignment::AlignedWithTimeout(timeout) => (false, Some(timeout)),
            Alignment::Aligned | Alignment::AtLeastOnce => (false, None),
        };
        let waits_for_inputs = cut == Some(Cut::Unaligned);
        let waits_for_outputs = if unaligned || timeout.is_some() { self.outputs.len() } else { 0 };
        self.snapshots.begin(checkpoint, waits_for_inputs, waits_for_outputs as u32);
        let sends_first = self.defects.has(Defect::D60) && self.is_source;
        if sends_first {
            self.broadcast(Element::Barrier(forwarded), out);
            self.read(now, out);
        }
        if barrier.options.kind == SnapshotKind::SavepointTerminate && !self.has_ended() {
            self.finish_operator(out);
        }
        // B3 before B4 here, in one mail as in Flink: nothing can come between them.
        let mut snapshot = Snapshot::default();
        self.operator.snapshot(checkpoint, &mut snapshot);
        let Snapshot { state, nominal, effects } = snapshot;
        out.push(Output::Cut { barrier, cut, nominal, start_delay });
        if self.defects.has(Defect::D61) && self.is_source {
            self.read(now, out);
        }
        if !sends_first {
            self.broadcast(Element::Barrier(forwarded), out);
        }
        if let Some(timeout) = timeout {
            self.output_timeouts.push((barrier.timestamp.max(now - timeout) + timeout, checkpoint));
        }
        self.effects.extend(effects);
        self.flush_effects(Some(checkpoint), out);
        if self.defects.has(Defect::D57) && self.has_live_state() {
            self.snapshots.await_flush(checkpoint);
            self.late_upload.put(checkpoint);
        } else {
            self.snapshots.upload(checkpoint, PartKind::Operator, state, nominal, out);
        }
        self.snapshots.on_cut(checkpoint, out);
        if barrier.options.kind.is_synchronous() {
            self.stop_with(checkpoint);
        }
    }

    /// [`Defect::D57`] concerns operators that take more records after the cut. What a sink has
    /// written is a transaction, of which there is no live copy.
    fn has_live_state(&self) -> bool {
        self.phase == Phase::Running && !self.is_source && !self.outputs.is_empty()
    }

    /// [`Defect::D57`]: what is uploaded is the state of now.
    fn upload_live(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output>) {
        let mut snapshot = Snapshot::default();
        self.operator.snapshot(checkpoint, &mut snapshot);
        let Snapshot { state, nominal, .. } = snapshot;
        self.snapshots.upload(checkpoint, PartKind::Operator, state, nominal, out);
        self.snapshots.on_flushed(checkpoint, out);
    }

    /// Hands out effects; those that a snapshot must wait for are counted.
    fn flush_effects(&mut self, snapshot: Option<CheckpointId>, out: &mut Vec<Output>) {
        for effect in self.effects.drain(..) {
            if let (Effect::PreCommit { .. }, Some(checkpoint)) = (effect, snapshot) {
                self.snapshots.await_flush(checkpoint);
            }
            if let Effect::Commit { .. } = effect {
                self.commits_out += 1;
            }
            out.push(Output::Effect(effect));
        }
    }

    fn on_complete(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output>) {
        out.push(Output::NotifiedComplete(checkpoint));
        self.snapshots.on_complete(checkpoint);
        self.operator.notify_complete(checkpoint, &mut self.effects);
        self.flush_effects(None, out);
        match self.phase {
            Phase::AwaitingFinalCheckpoint(least) if checkpoint >= least => {
                self.phase = Phase::Settling;
            }
            Phase::Stopping if self.stops_with == Some(checkpoint) => {
                self.broadcast(Element::EndOfData, out);
                self.phase = Phase::Settling;
            }
            Phase::Initializing
            | Phase::Recovering
            | Phase::Running
            | Phase::Stopping
            | Phase::AwaitingFinalCheckpoint(_)
            | Phase::Settling
            | Phase::Finished => {}
        }
    }

    fn on_committed(&mut self, transaction: TransactionId) {
        self.operator.committed(transaction);
        self.commits_out -= 1;
    }

    /// A sink that ended before its last commit is confirmed could not repeat it; a snapshot that
    /// is acknowledged by nobody would leave its files behind. Flink: `StreamTask#afterInvoke`,
    /// `SubtaskCheckpointCoordinator#waitForPendingCheckpoints`.
    fn finish_if_settled(&mut self, out: &mut Vec<Output>) {
        if self.commits_out == 0 && self.snapshots.is_empty() {
            self.finish(out);
        }
    }

    fn on_aborted(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output>) {
        out.push(Output::NotifiedAborted(checkpoint));
        self.operator.notify_aborted(checkpoint, &mut self.effects);
        self.flush_effects(None, out);
        self.drop_snapshot(checkpoint, out);
        self.snapshots.on_aborted(checkpoint);
        // Flink: `StreamTask#notifyCheckpointAborted` throws "Stop-with-savepoint failed".
        if self.stops_with == Some(checkpoint) && self.phase != Phase::Finished {
            out.push(Output::StopFailed(checkpoint));
        }
    }

    /// The barriers of a checkpoint will not all come, or not in time.
    fn give_up(&mut self, checkpoint: CheckpointId, reason: FailureReason, out: &mut Vec<Output>) {
        self.drop_snapshot(checkpoint, out);
        self.snapshots.on_aborted(checkpoint);
        out.push(Output::Decline { checkpoint, reason });
        self.cancel_downstream(checkpoint, out);
    }

    /// Those downstream must not wait for a barrier that will not come.
    fn cancel_downstream(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output>) {
        if !self.defects.has(Defect::D43) {
            self.broadcast(Element::CancelMarker(checkpoint), out);
        }
    }

    fn drop_snapshot(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output>) {
        self.snapshots.forget(checkpoint);
        self.output_timeouts.retain(|(_, waiting)| *waiting != checkpoint);
        for index in 0..self.outputs.len() {
            let input = subpartition::Input::AbortCheckpoint(checkpoint);
            self.drive(OutputChannel(index as u32), input, out);
        }
    }

    // ---- end ---------------------------------------------------------------------------------

    fn end_of_input(&mut self, out: &mut Vec<Output>) {
        self.finish_operator(out);
        self.end_of_data(out);
    }

    fn finish_operator(&mut self, out: &mut Vec<Output>) {
        self.emitter.clear();
        self.operator.finish(&mut self.emitter);
        self.flush_emitter(out);
    }

    /// Nothing is read or processed from here on.
    ///
    /// Deviation: Flink sends the end of data ahead of the barrier, and says in it whether
    /// operators are to finish. Here the barrier says it. Nothing comes between the two, so the cut
    /// is the same.
    fn stop_with(&mut self, savepoint: CheckpointId) {
        self.stops_with = Some(savepoint);
        if self.phase == Phase::Running {
            self.phase = Phase::Stopping;
        }
    }

    fn end_of_data(&mut self, out: &mut Vec<Output>) {
        self.broadcast(Element::EndOfData, out);
        if self.waits_for_final_checkpoint && !self.finished_on_restore {
            // A checkpoint that has been cut here already does not contain the end.
            self.phase = Phase::AwaitingFinalCheckpoint(self.snapshots.next());
        } else {
            self.phase = Phase::Settling;
        }
    }

    fn finish(&mut self, out: &mut Vec<Output>) {
        self.phase = Phase::Finished;
        self.broadcast(Element::EndOfPartition, out);
        out.push(Output::Finished);
    }
}
