//! The snapshots that a subtask is taking: what each of them still waits for.
//!
//! Flink: `AsyncCheckpointRunnable`, `ChannelStateWriterImpl`, and the aborted ids of
//! `SubtaskCheckpointCoordinatorImpl`.

use std::collections::BTreeSet;

use crate::defect::{Defect, Defects};
use crate::ids::{CheckpointId, InputChannel, OutputChannel};
use crate::message::FailureReason;
use crate::operator::Record;
use crate::storage::channel_state::ChannelState;
use crate::task::subtask::{Output, Outputs};

/// The parts of a subtask's snapshot, each a file of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartKind {
    /// The operator's state.
    Operator,
    /// Buffers in flight.
    Channels,
}

#[derive(Debug)]
struct Pending {
    checkpoint: CheckpointId,
    /// The cut was made; before that only captured buffers arrive.
    is_cut: bool,
    waits_for_inputs: bool,
    waits_for_outputs: u32,
    /// Uploads under way.
    waits_for_writes: u32,
    channels: ChannelState,
    channels_uploaded: bool,
}

/// All snapshots under way.
#[derive(Debug, Default)]
pub struct Snapshots {
    pending: Vec<Pending>,
    /// Aborted before their barriers came.
    aborted: BTreeSet<CheckpointId>,
    /// Checkpoints for which something is being flushed outside. Later snapshots rely on it too,
    /// even if that checkpoint was given up: an open transaction goes with all of them.
    flushing: Vec<CheckpointId>,
    /// The newest checkpoint that was cut here, or was restored.
    last: Option<CheckpointId>,
    /// The place of the last operator in the chain, whose outputs are those of the subtask.
    tail: u32,
    defects: Defects,
}

impl Snapshots {
    /// Nothing is under way.
    pub(crate) fn new(tail: u32, defects: Defects) -> Self {
        Self { tail, defects, ..Self::default() }
    }

    /// The attempt starts from this checkpoint.
    pub(crate) fn on_restored(&mut self, restored: Option<CheckpointId>) {
        self.last = restored;
    }

    /// The smallest id that a further snapshot can have.
    pub(crate) fn next(&self) -> CheckpointId {
        CheckpointId(self.last.map_or(1, |last| last.0 + 1))
    }

    /// Whether a snapshot of this checkpoint may be taken.
    pub(crate) fn admits(&self, checkpoint: CheckpointId) -> bool {
        checkpoint >= self.next() && !self.aborted.contains(&checkpoint)
    }

    /// The cut is being made.
    pub(crate) fn begin(
        &mut self,
        checkpoint: CheckpointId,
        waits_for_inputs: bool,
        waits_for_outputs: u32,
    ) {
        assert!(self.admits(checkpoint));
        self.last = Some(checkpoint);
        let pending = self.entry(checkpoint);
        pending.waits_for_inputs = waits_for_inputs;
        pending.waits_for_outputs = waits_for_outputs;
        self.aborted.retain(|aborted| *aborted > checkpoint);
    }

    pub(crate) fn on_input_persisted(
        &mut self,
        checkpoint: CheckpointId,
        channel: InputChannel,
        record: Record,
    ) {
        if let Some(pending) = self.capture(checkpoint) {
            pending.channels.inputs.push((channel, record));
        }
    }

    pub(crate) fn on_output_persisted(
        &mut self,
        checkpoint: CheckpointId,
        channel: OutputChannel,
        record: Record,
    ) {
        if let Some(pending) = self.capture(checkpoint) {
            pending.channels.outputs.push((channel, record));
        }
    }

    /// What was captured at the outputs is dropped.
    pub(crate) fn forget_outputs(&mut self, checkpoint: CheckpointId) {
        if let Some(pending) = self.find(checkpoint) {
            pending.channels.outputs.clear();
        }
    }

    /// No further buffer of the inputs belongs to the snapshot.
    pub(crate) fn on_inputs_complete(&mut self, checkpoint: CheckpointId, out: &mut impl Outputs) {
        if let Some(pending) = self.find(checkpoint) {
            pending.waits_for_inputs = false;
            self.captured(checkpoint, out);
        }
    }

    /// No further buffer of one output belongs to the snapshot.
    pub(crate) fn on_output_captured(&mut self, checkpoint: CheckpointId, out: &mut impl Outputs) {
        if let Some(pending) = self.find(checkpoint).filter(|pending| pending.waits_for_outputs > 0)
        {
            pending.waits_for_outputs -= 1;
            self.captured(checkpoint, out);
        }
    }

    /// B5 for a part.
    pub(crate) fn upload(
        &mut self,
        checkpoint: CheckpointId,
        (link, part): (u32, PartKind),
        bytes: Vec<u8>,
        nominal: u64,
        out: &mut impl Outputs,
    ) {
        if let Some(pending) = self.find(checkpoint).filter(|_| !bytes.is_empty()) {
            pending.waits_for_writes += 1;
            out.push(Output::Upload { checkpoint, link, part, bytes, nominal });
        }
    }

    /// The synchronous part is over. An output may be captured while its barrier is being sent: had
    /// that counted before, a snapshot would be acknowledged without the operator's state.
    pub(crate) fn on_cut(&mut self, checkpoint: CheckpointId, out: &mut impl Outputs) {
        if let Some(pending) = self.find(checkpoint) {
            pending.is_cut = true;
            self.captured(checkpoint, out);
        }
    }

    /// The acknowledgement, and those of later checkpoints, have to wait for one more flush.
    pub(crate) fn await_flush(&mut self, checkpoint: CheckpointId) {
        self.flushing.push(checkpoint);
    }

    /// A flush has ended.
    pub(crate) fn on_flushed(&mut self, checkpoint: CheckpointId, out: &mut impl Outputs) {
        let flush = self.flushing.iter().position(|flushing| *flushing == checkpoint);
        self.flushing.swap_remove(flush.expect("a flush ends that was begun"));
        let waiting: Vec<_> = self.pending.iter().map(|pending| pending.checkpoint).collect();
        for waiting in waiting.into_iter().filter(|waiting| *waiting >= checkpoint) {
            self.acknowledge_if_done(waiting, out);
        }
    }

    /// A write has ended.
    pub(crate) fn on_uploaded(
        &mut self,
        checkpoint: CheckpointId,
        written: bool,
        out: &mut impl Outputs,
    ) {
        if !written {
            self.fail(checkpoint, FailureReason::CheckpointAsyncException, out);
        } else if let Some(pending) = self.find(checkpoint) {
            pending.waits_for_writes -= 1;
            self.acknowledge_if_done(checkpoint, out);
        }
    }

    /// The asynchronous part of a snapshot has failed.
    pub(crate) fn fail(
        &mut self,
        checkpoint: CheckpointId,
        reason: FailureReason,
        out: &mut impl Outputs,
    ) {
        if self.find(checkpoint).is_some() {
            self.forget(checkpoint);
            out.push(Output::Decline { checkpoint, reason });
        }
    }

    /// Uploads the channel state once all of it is there.
    fn captured(&mut self, checkpoint: CheckpointId, out: &mut impl Outputs) {
        let Some(pending) = self.find(checkpoint) else { return };
        let captured =
            pending.is_cut && !pending.waits_for_inputs && pending.waits_for_outputs == 0;
        if captured && !pending.channels_uploaded {
            pending.channels_uploaded = true;
            let mut channels = std::mem::take(&mut pending.channels);
            if self.tail > 0 {
                // Flink: `OperatorChain#snapshotChannelStates`. What is at the outputs is the tail's.
                let outputs = std::mem::take(&mut channels.outputs);
                let outputs = ChannelState { outputs, ..ChannelState::default() };
                self.upload_channels(checkpoint, self.tail, &outputs, out);
            }
            self.upload_channels(checkpoint, 0, &channels, out);
            self.acknowledge_if_done(checkpoint, out);
        }
    }

    fn upload_channels(
        &mut self,
        checkpoint: CheckpointId,
        link: u32,
        channels: &ChannelState,
        out: &mut impl Outputs,
    ) {
        if !channels.is_empty() {
            let nominal = channels.nominal_bytes();
            let part = (link, PartKind::Channels);
            self.upload(checkpoint, part, channels.encode(), nominal, out);
        }
    }

    fn acknowledge_if_done(&mut self, checkpoint: CheckpointId, out: &mut impl Outputs) {
        let waits = !self.defects.has(Defect::D73);
        if waits && self.flushing.iter().any(|flushing| *flushing <= checkpoint) {
            return;
        }
        let done = self
            .find(checkpoint)
            .is_some_and(|pending| pending.channels_uploaded && pending.waits_for_writes == 0);
        if done {
            self.forget(checkpoint);
            out.push(Output::Acknowledge(checkpoint));
        }
    }

    /// Newer checkpoints make older ones pointless. Flink: `notifyCheckpointSubsumed`.
    pub(crate) fn on_complete(&mut self, checkpoint: CheckpointId) {
        if !self.defects.has(Defect::D07) {
            self.pending.retain(|pending| pending.checkpoint > checkpoint);
        }
        self.aborted.retain(|aborted| *aborted > checkpoint);
    }

    /// The checkpoint must not be taken any more.
    pub(crate) fn on_aborted(&mut self, checkpoint: CheckpointId) {
        if checkpoint >= self.next() {
            self.aborted.insert(checkpoint);
        }
    }

    /// Whether no snapshot is under way.
    pub(crate) fn is_empty(&self) -> bool {
        !self.pending.iter().any(|pending| pending.is_cut)
    }

    /// Drops what was begun.
    pub(crate) fn forget(&mut self, checkpoint: CheckpointId) {
        self.pending.retain(|pending| pending.checkpoint != checkpoint);
    }

    /// Whether something of the snapshot is still awaited.
    pub(crate) fn is_begun(&self, checkpoint: CheckpointId) -> bool {
        self.pending.iter().any(|pending| pending.checkpoint == checkpoint)
    }

    fn find(&mut self, checkpoint: CheckpointId) -> Option<&mut Pending> {
        self.pending.iter_mut().find(|pending| pending.checkpoint == checkpoint)
    }

    /// Where buffers of a checkpoint are collected; `None` once it was given up.
    fn capture(&mut self, checkpoint: CheckpointId) -> Option<&mut Pending> {
        if self.admits(checkpoint) {
            return Some(self.entry(checkpoint));
        }
        self.find(checkpoint)
    }

    fn entry(&mut self, checkpoint: CheckpointId) -> &mut Pending {
        if let Some(index) = self.pending.iter().position(|one| one.checkpoint == checkpoint) {
            return &mut self.pending[index];
        }
        self.pending.push(Pending {
            checkpoint,
            is_cut: false,
            waits_for_inputs: false,
            waits_for_outputs: 0,
            waits_for_writes: 0,
            channels: ChannelState::default(),
            channels_uploaded: false,
        });
        self.pending.last_mut().expect("just pushed")
    }
}
