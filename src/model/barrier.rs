//! `B_barrier = i(C_coordinator, tasks, their order)`, what barriers weigh and how far they travel.
//!
//! How long they wait for each other is in [`super::alignment`].

use super::quantity::positive;
use super::{ModelError, Rate, Seconds};

/// Bytes of a serialised barrier event. Measured on Flink 2.3: 34 for aligned, unaligned, and
/// aligned with a timeout.
pub const BARRIER_BYTES: u64 = 34;
/// Bytes of a savepoint's barrier besides the reference to its location. Measured on Flink 2.3.
pub const SAVEPOINT_BARRIER_BYTES: u64 = 35;
/// Bytes of a cancellation marker. Measured on Flink 2.3.
pub const CANCEL_MARKER_BYTES: u64 = 12;
/// Bytes of the header that announces a buffer to another host. Flink:
/// `NettyMessage.BufferResponse`.
pub const BUFFER_HEADER_BYTES: u64 = 38;
/// Bytes of the frame around it. Flink: `NettyMessage`.
pub const FRAME_HEADER_BYTES: u64 = 9;

/// How the subtasks of two operators are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// Each with each: hash, rebalance, broadcast.
    AllToAll,
    /// Each with its own, or with a few: forward, rescale.
    Pointwise,
}

impl Exchange {
    /// Channels between operators of these parallelisms: `p_up p_down`, or the larger of the two.
    pub fn channels(self, up: u64, down: u64) -> u64 {
        match self {
            Self::AllToAll => up.saturating_mul(down),
            Self::Pointwise => up.max(down),
        }
    }
}

/// The operators of a job and their exchanges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    parallelism: Vec<u64>,
    /// From, to, how.
    edges: Vec<(usize, usize, Exchange)>,
}

impl Topology {
    /// Operators by their parallelism, and edges between their indices.
    ///
    /// # Errors
    /// No operator, one without subtasks, or an edge to nowhere.
    pub fn new(
        parallelism: Vec<u64>,
        edges: Vec<(usize, usize, Exchange)>,
    ) -> Result<Self, ModelError> {
        let operators = parallelism.len();
        positive("the number of operators", operators as f64)?;
        for subtasks in &parallelism {
            positive("a parallelism", *subtasks as f64)?;
        }
        let ends = edges.iter().flat_map(|(from, to, _)| [*from, *to]);
        match ends.into_iter().find(|index| *index >= operators) {
            Some(index) => Err(ModelError::NoSuchOperator { index, operators }),
            None => Ok(Self { parallelism, edges }),
        }
    }

    /// Operators one behind the other.
    ///
    /// # Errors
    /// No operator, one without subtasks, or another number of exchanges than there are gaps.
    pub fn chain(parallelism: Vec<u64>, exchanges: &[Exchange]) -> Result<Self, ModelError> {
        let (operators, given) = (parallelism.len(), exchanges.len());
        if operators > 0 && given != operators - 1 {
            return Err(ModelError::ChainLength { operators, exchanges: given });
        }
        let edges = exchanges.iter().enumerate().map(|(at, how)| (at, at + 1, *how)).collect();
        Self::new(parallelism, edges)
    }

    /// The parallelism of each operator.
    pub fn parallelism(&self) -> &[u64] {
        &self.parallelism
    }

    /// `N`: all subtasks.
    pub fn subtasks(&self) -> u64 {
        self.parallelism.iter().sum()
    }

    /// `n_src`: subtasks of operators that nothing leads into.
    pub fn source_subtasks(&self) -> u64 {
        let is_source = |index: &usize| self.edges.iter().all(|(_, to, _)| to != index);
        (0..self.parallelism.len()).filter(is_source).map(|index| self.parallelism[index]).sum()
    }

    /// Barriers of one checkpoint: one for each channel.
    pub fn barriers(&self) -> u64 {
        let channels = self.edges.iter().map(|(from, to, exchange)| {
            exchange.channels(self.parallelism[*from], self.parallelism[*to])
        });
        channels.fold(0, u64::saturating_add)
    }
}

/// Bytes of the barriers of one checkpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BarrierBytes {
    /// As serialised events.
    pub events: u64,
    /// On the wire, if every channel leads to another host.
    pub wire: u64,
}

impl BarrierBytes {
    /// For so many barriers.
    pub fn new(barriers: u64) -> Self {
        const WIRE: u64 = BARRIER_BYTES + BUFFER_HEADER_BYTES + FRAME_HEADER_BYTES;
        Self { events: barriers.saturating_mul(BARRIER_BYTES), wire: barriers.saturating_mul(WIRE) }
    }

    /// The share that barriers take of a stream of so many bytes a second.
    ///
    /// # Errors
    /// No interval, or no stream.
    pub fn wire_share(self, interval: Seconds, stream_bytes: Rate) -> Result<f64, ModelError> {
        let interval = positive("the interval", interval.get())?;
        let stream = positive("the bytes of the stream", stream_bytes.get())?;
        Ok(self.wire as f64 / (interval * stream))
    }
}

/// The buffers of an input gate. Flink: `taskmanager.network.memory.buffers-per-channel`,
/// `taskmanager.network.memory.floating-buffers-per-gate`, `taskmanager.memory.segment-size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkBuffers {
    /// Buffers that one channel has for itself.
    pub exclusive: u64,
    /// Buffers that the channels of a gate share.
    pub floating: u64,
    /// Bytes of a buffer.
    pub segment: u64,
}

impl Default for NetworkBuffers {
    /// Flink's defaults: 2, 8, 32 KiB.
    fn default() -> Self {
        Self { exclusive: 2, floating: 8, segment: 32 << 10 }
    }
}

impl NetworkBuffers {
    /// Most buffers of a gate of so many channels; the output pool is as large.
    pub fn buffers(self, channels: u64) -> u64 {
        self.exclusive.saturating_mul(channels).saturating_add(self.floating)
    }

    /// Most bytes in flight at the gate: they bound what an unaligned snapshot holds of it.
    pub fn bytes(self, channels: u64) -> u64 {
        self.buffers(channels).saturating_mul(self.segment)
    }

    /// How long (seconds) a gate takes to drain at so many bytes a second.
    ///
    /// # Errors
    /// Nothing drains.
    pub fn drain(self, channels: u64, throughput: Rate) -> Result<f64, ModelError> {
        Ok(self.bytes(channels) as f64 / positive("the throughput", throughput.get())?)
    }

    /// How long (seconds) a barrier takes for one hop under full backpressure: it waits for the
    /// output pool and the input gate before it. An unaligned barrier does not wait; with buffer
    /// debloating a hop takes about the target (1 s), whatever the channels.
    ///
    /// # Errors
    /// Nothing drains.
    pub fn hop(self, channels: u64, throughput: Rate) -> Result<f64, ModelError> {
        Ok(2.0 * self.drain(channels, throughput)?)
    }
}
