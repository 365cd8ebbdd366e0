//! Links, data channels and lanes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;

use cutline::ids::ChannelId;
use cutline::time::{VirtualDuration, VirtualTime};

use super::{LaneId, ProcessId};
use crate::kernel::distribution::Distribution;
use crate::kernel::fifo::Fifo;
use crate::kernel::stream::{Stream, Streams};

/// What one link is like.
#[derive(Clone, Copy, Debug)]
pub struct LinkConfig {
    /// One-way latency of data between hosts (none within a host).
    pub data_latency: Distribution,
    /// Bytes a second of one link; 0: unlimited.
    pub bandwidth: u64,
    /// One-way latency of control messages.
    pub control_latency: Distribution,
}

/// The one-way state of the link between two hosts. All channels between them share its bandwidth.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// When the last byte handed to the link has left.
    pub(super) free_at: VirtualTime,
    /// When the last control message arrives: messages of one pair keep their order.
    pub(super) last_control: VirtualTime,
    /// Nothing arrives before this time.
    pub(super) cut_until: VirtualTime,
    /// Latencies are multiplied by this until `slow_until`.
    pub(super) slow_factor: u64,
    pub(super) slow_until: VirtualTime,
    /// What may be repeated arrives a second time, so much later, until `repeat_until`.
    pub(super) repeat_by: VirtualDuration,
    pub(super) repeat_until: VirtualTime,
    /// A fault, by index in the plan: control messages are lost with a chance, in thousandths, until
    /// a time.
    pub(super) losing: Option<(u32, u32, VirtualTime)>,
    /// Made when it is first drawn from.
    pub(super) losses: Option<Box<Stream>>,
    pub(super) control: Stream,
    pub(super) config: LinkConfig,
}

impl Link {
    pub(super) fn new(config: LinkConfig, control: Stream) -> Self {
        Self {
            config,
            free_at: VirtualTime::ZERO,
            last_control: VirtualTime::ZERO,
            cut_until: VirtualTime::ZERO,
            slow_factor: 1,
            slow_until: VirtualTime::ZERO,
            repeat_by: VirtualDuration::ZERO,
            repeat_until: VirtualTime::ZERO,
            losing: None,
            losses: None,
            control,
        }
    }

    /// When something sent at `departure` with this nominal latency arrives.
    #[inline]
    pub(super) fn arrival(&self, departure: VirtualTime, latency: VirtualDuration) -> VirtualTime {
        let latency =
            if departure < self.slow_until { latency * self.slow_factor } else { latency };
        departure.max(self.cut_until) + latency
    }
}

/// The random streams of the data channels. They are named when they are first drawn from: a large
/// job has tens of thousands of channels, and with a constant latency none of them needs its name.
pub(super) struct ChannelStreams {
    streams: Streams,
    names: Box<dyn Fn(ChannelId) -> String>,
}

impl fmt::Debug for ChannelStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelStreams").field("streams", &self.streams).finish_non_exhaustive()
    }
}

impl ChannelStreams {
    pub(super) fn new(streams: Streams, names: Box<dyn Fn(ChannelId) -> String>) -> Self {
        Self { streams, names }
    }

    /// A latency of this channel, whose stream is `drawn_from`.
    #[inline]
    pub(super) fn latency(
        &self,
        latency: Distribution,
        channel: ChannelId,
        drawn_from: &mut Option<Box<Stream>>,
    ) -> VirtualDuration {
        match latency {
            Distribution::Constant(span) => span,
            Distribution::Uniform { .. }
            | Distribution::Exponential { .. }
            | Distribution::LogNormal { .. } => {
                let stream = drawn_from.get_or_insert_with(|| self.stream(channel));
                latency.draw(stream)
            }
        }
    }

    #[cold]
    fn stream(&self, channel: ChannelId) -> Box<Stream> {
        Box::new(self.streams.stream("latency", &(self.names)(channel)))
    }
}

/// One end of a data channel: the lane, and the process it lives in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) lane: LaneId,
    pub(super) process: ProcessId,
}

/// A FIFO channel between two lanes. Elements wait in `flight` with their arrival time until the
/// receiver looks; what flows back waits in `back` until the sender looks, or, if the sender said
/// that it waits, is delivered by an event.
#[derive(Debug)]
pub(super) struct DataChannel<D, B> {
    /// Execution that owns the channel; ends of an older one find it closed.
    pub(super) epoch: u32,
    pub(super) from: Option<End>,
    pub(super) to: Option<End>,
    pub(super) flight: Fifo<(VirtualTime, D)>,
    pub(super) last_arrival: VirtualTime,
    pub(super) back: Fifo<(VirtualTime, B)>,
    pub(super) last_back: VirtualTime,
    /// The sender waits for something to come back.
    pub(super) back_wanted: bool,
    /// An event for the front of `back` is pending.
    pub(super) back_scheduled: bool,
    /// The sender has handed over the last element there will be.
    pub(super) ended: bool,
    /// The sender has gone before that: nothing follows what is in flight.
    pub(super) broken: bool,
    /// Made when it is first drawn from, by [`ChannelStreams`].
    pub(super) latency: Option<Box<Stream>>,
}

impl<D, B> DataChannel<D, B> {
    pub(super) fn new() -> Self {
        Self {
            epoch: 0,
            from: None,
            to: None,
            flight: Fifo::new(),
            last_arrival: VirtualTime::ZERO,
            back: Fifo::new(),
            last_back: VirtualTime::ZERO,
            back_wanted: false,
            back_scheduled: false,
            ended: false,
            broken: false,
            latency: None,
        }
    }

    /// Makes the channel that of a newer execution: what was in flight is gone.
    pub(super) fn renew(&mut self, epoch: u32) {
        self.epoch = epoch;
        self.from = None;
        self.to = None;
        self.flight.clear();
        self.back.clear();
        self.back_wanted = false;
        self.back_scheduled = false;
        self.ended = false;
        self.broken = false;
    }
}

/// A single-threaded part of a process.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) owner: Option<ProcessId>,
    pub(super) busy_until: VirtualTime,
    /// When the earliest pending wake-up is due; `MAX` if there is none. Events at other times are
    /// left over from before and mean nothing.
    pub(super) wake_at: VirtualTime,
    /// When the pending deadline is due; apart from `wake_at`, so that a deadline far ahead is
    /// scheduled once and not again behind every record.
    pub(super) alarm_at: VirtualTime,
    /// Its owner has more for it to do, whether or not anything arrives.
    pub(super) ready: bool,
    /// The head of each channel that has something in flight towards this lane.
    pub(super) arrivals: BinaryHeap<Reverse<(VirtualTime, ChannelId)>>,
}

impl Lane {
    pub(super) fn new(owner: ProcessId, now: VirtualTime) -> Self {
        Self {
            owner: Some(owner),
            busy_until: now,
            wake_at: VirtualTime::MAX,
            alarm_at: VirtualTime::MAX,
            ready: false,
            arrivals: BinaryHeap::new(),
        }
    }
}
