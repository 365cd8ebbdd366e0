//! In-flight data of unaligned checkpoints, and of loops: which received buffers belong to the
//! snapshot.
//!
//! Concept: a buffer that was received before its channel's barrier, and that the task has not
//! read when it takes its snapshot, is part of the snapshot. Some of them wait in the channel when
//! the capture starts; the others come in until the barrier does. In Flink: `ChannelStatePersister`
//! and the inputs' `checkpointStarted` and `checkpointStopped`.
//!
//! At the head of a loop the same is true of its feedback channels, whatever the mode: the barrier
//! that comes in on them is the one that the head has sent (Carbone et al., 2015, section 4.3). In
//! Flink ML: `HeadOperator`, which writes them into a `DataCacheSnapshot`.
//!
//! Invariant, asserted by `check` whenever a capture stops: `waiting` counts the channels that wait for their barrier.

use crate::defect::{Defect, Defects};
use crate::ids::{CheckpointId, GateId, InputChannel};
use crate::task::barrier::Output;
use crate::task::gate::{ArrivalNumber, Gates};

/// The capture could not start: a channel has already received a newer barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overtaken;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// Buffers are persisted until the barrier comes.
    Waiting,
    /// The barrier came.
    Arrived,
}

#[derive(Clone, Debug)]
struct ChannelCapture {
    state: State,
    /// The checkpoint that `state` is about.
    seen: Option<CheckpointId>,
    /// The newest barrier received, of a remote channel: buffers behind it are after the cut.
    newest: Option<(CheckpointId, ArrivalNumber)>,
}

/// The capture state of all channels of a task.
#[derive(Clone, Debug)]
pub(super) struct Capture {
    channels: Vec<ChannelCapture>,
    /// Channels in `Waiting`: while there are none, buffers need no second look.
    waiting: u32,
}

impl Capture {
    pub(super) fn new(channels: u32) -> Self {
        let idle = ChannelCapture { state: State::Idle, seen: None, newest: None };
        Self { channels: vec![idle; channels as usize], waiting: 0 }
    }

    /// Whether buffers of some channel are being persisted.
    #[inline]
    pub(super) fn is_active(&self) -> bool {
        self.waiting > 0
    }

    /// The checkpoint for which a buffer that comes in on this channel is persisted.
    pub(super) fn persists(&self, channel: InputChannel) -> Option<CheckpointId> {
        let capture = &self.channels[channel.index()];
        match capture.state {
            State::Waiting => capture.seen,
            State::Idle | State::Arrived => None,
        }
    }

    /// A barrier came in: delivered on a remote channel (with its number), polled on a local one.
    pub(super) fn on_barrier(
        &mut self,
        channel: InputChannel,
        checkpoint: CheckpointId,
        number: Option<ArrivalNumber>,
    ) {
        let capture = &mut self.channels[channel.index()];
        let concerns = match capture.state {
            State::Idle => Some(checkpoint) > capture.seen,
            State::Waiting | State::Arrived => Some(checkpoint) >= capture.seen,
        };
        if !concerns {
            return;
        }
        let newer = capture.newest.is_none_or(|(newest, _)| checkpoint > newest);
        if let Some(number) = number
            && newer
        {
            capture.newest = Some((checkpoint, number));
        }
        self.enter(channel, State::Arrived, checkpoint);
    }

    /// Starts the capture of a checkpoint: persists what waits before the barriers, and from now
    /// on what comes in before them. A channel that was overtaken leaves those before it started.
    pub(super) fn start<B: Copy>(
        &mut self,
        checkpoint: CheckpointId,
        gates: &Gates<B>,
        defects: Defects,
        out: &mut Vec<Output<B>>,
    ) -> Result<(), Overtaken> {
        for channel in (0..gates.count()).map(InputChannel) {
            let leaves_out = defects.has(Defect::D52) && gates.gate(channel) != GateId(0);
            self.start_on(channel, leaves_out, checkpoint, gates, out)?;
        }
        Ok(())
    }

    /// The same for feedback channels alone.
    pub(super) fn start_feedback<B: Copy>(
        &mut self,
        checkpoint: CheckpointId,
        gates: &Gates<B>,
        defects: Defects,
        out: &mut Vec<Output<B>>,
    ) -> Result<(), Overtaken> {
        for channel in gates.feedback() {
            if defects.has(Defect::D49) {
                continue; // What goes round is in no operator's state: nobody has it.
            }
            self.start_on(channel, false, checkpoint, gates, out)?;
        }
        Ok(())
    }

    /// Starts it on one channel. What waits in a local one is persisted when it is polled.
    fn start_on<B: Copy>(
        &mut self,
        channel: InputChannel,
        leaves_out_waiting: bool,
        checkpoint: CheckpointId,
        gates: &Gates<B>,
        out: &mut Vec<Output<B>>,
    ) -> Result<(), Overtaken> {
        self.start_channel(channel, checkpoint)?;
        if gates.is_remote(channel) && !leaves_out_waiting {
            self.persist_waiting(channel, checkpoint, gates, out);
        }
        Ok(())
    }

    /// Ends the capture of a checkpoint, complete or not.
    pub(super) fn stop(&mut self, checkpoint: CheckpointId) {
        for channel in (0..self.channels.len() as u32).map(InputChannel) {
            let capture = &mut self.channels[channel.index()];
            if capture.newest.is_some_and(|(newest, _)| newest == checkpoint) {
                capture.newest = None;
            }
            if Some(checkpoint) >= capture.seen {
                self.enter(channel, State::Idle, checkpoint);
            }
        }
        self.check();
    }

    fn start_channel(
        &mut self,
        channel: InputChannel,
        checkpoint: CheckpointId,
    ) -> Result<(), Overtaken> {
        let capture = &mut self.channels[channel.index()];
        if let Some((newest, _)) = capture.newest {
            if checkpoint < newest {
                return Err(Overtaken);
            }
            if checkpoint > newest {
                capture.newest = None;
            }
        }
        if capture.state == State::Arrived && capture.seen > Some(checkpoint) {
            return Err(Overtaken);
        }
        if capture.seen < Some(checkpoint) {
            self.enter(channel, State::Waiting, checkpoint);
        }
        Ok(())
    }

    fn persist_waiting<B: Copy>(
        &self,
        channel: InputChannel,
        checkpoint: CheckpointId,
        gates: &Gates<B>,
        out: &mut Vec<Output<B>>,
    ) {
        let newest = self.channels[channel.index()].newest;
        let before_barrier = |number| newest.is_none_or(|(_, barrier)| number < barrier);
        for arrival in gates.normal(channel) {
            if let Some(buffer) = arrival.buffer() {
                if !before_barrier(arrival.number) {
                    break;
                }
                out.push(Output::Persist { channel, checkpoint, buffer });
            }
        }
    }

    fn enter(&mut self, channel: InputChannel, state: State, checkpoint: CheckpointId) {
        let capture = &mut self.channels[channel.index()];
        self.waiting -= u32::from(capture.state == State::Waiting);
        self.waiting += u32::from(state == State::Waiting);
        capture.state = state;
        capture.seen = Some(checkpoint);
    }

    fn check(&self) {
        if cfg!(debug_assertions) {
            let waits = |channel: &&ChannelCapture| channel.state == State::Waiting;
            let waiting = self.channels.iter().filter(waits);
            assert_eq!(waiting.count(), self.waiting as usize);
        }
    }
}
