//! `C_coordinator = g(T_checkpoint, tasks, parallelism)`: messages, bytes and time of the
//! coordinator.
//!
//! Bytes are measured on the classes of Flink 2.3. The times of a message are parameters: no value
//! is claimed for them.

use super::barrier::Topology;
use super::metadata::{Handle, OperatorState, metadata_bytes};
use super::quantity::positive;
use super::{ModelError, Rate, Seconds};

/// Bytes of an acknowledgement without state, Java-serialised, without the envelope of the call.
pub const ACKNOWLEDGE_BYTES: f64 = 3066.0;
/// Bytes that each handle of an SST file adds to it.
pub const ACKNOWLEDGE_BYTES_PER_SST: f64 = 255.1;
/// Bytes of a decline.
pub const DECLINE_BYTES: u64 = 3366;

/// What the coordinator spends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CoordinatorCosts {
    /// For each source subtask that is told to begin.
    pub trigger: Seconds,
    /// For each acknowledgement.
    pub acknowledge: Seconds,
    /// For each subtask that is told of the completion.
    pub notify: Seconds,
    /// Once.
    pub fixed: Seconds,
}

/// Where the metadata file is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetadataStore {
    /// Before the first byte.
    pub latency: Seconds,
    /// Bytes a second. More than zero.
    pub bandwidth: Rate,
}

/// What one checkpoint asks of the coordinator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CoordinatorLoad {
    /// Messages to source subtasks: `n_src`.
    pub trigger_messages: u64,
    /// Messages from all subtasks: `N`.
    pub acknowledge_messages: u64,
    /// Messages to all subtasks: `N`.
    pub notify_messages: u64,
    /// Bytes of the metadata file, every subtask having so many SST files.
    pub metadata_bytes: u64,
    /// Bytes of all acknowledgements: `N (3066 + 255.1 k)`.
    pub acknowledge_bytes: f64,
    /// Busy time in seconds: `c_trigger n_src + (c_ack + c_notify) N + c_fixed`.
    pub busy: f64,
    /// The least duration in seconds:
    /// `c_trigger n_src + c_ack N + store latency + metadata/bandwidth`.
    pub duration_min: f64,
}

impl CoordinatorLoad {
    /// For a job, each of whose subtasks has `ssts` SST files with paths of `path` characters.
    ///
    /// # Errors
    /// The store takes no bytes.
    pub fn new(
        topology: &Topology,
        ssts: u64,
        path: u64,
        costs: &CoordinatorCosts,
        store: &MetadataStore,
    ) -> Result<Self, ModelError> {
        let (sources, all) = (topology.source_subtasks(), topology.subtasks());
        let bandwidth = positive("the bandwidth of the store", store.bandwidth.get())?;
        let handle = Handle::Incremental { ssts, path };
        let state = topology.parallelism().iter().map(|subtasks| OperatorState {
            subtasks: *subtasks,
            max_parallelism: 0,
            handle,
        });
        let metadata = metadata_bytes(state);
        let told = costs.trigger.get() * sources as f64;
        let heard = costs.acknowledge.get() * all as f64;
        let notified = costs.notify.get() * all as f64;
        Ok(Self {
            trigger_messages: sources,
            acknowledge_messages: all,
            notify_messages: all,
            metadata_bytes: metadata,
            acknowledge_bytes: all as f64
                * (ACKNOWLEDGE_BYTES + ACKNOWLEDGE_BYTES_PER_SST * ssts as f64),
            busy: told + heard + notified + costs.fixed.get(),
            duration_min: told + heard + store.latency.get() + metadata as f64 / bandwidth,
        })
    }

    /// All messages: `n_src + 2 N`.
    pub fn messages(&self) -> u64 {
        self.trigger_messages + self.acknowledge_messages + self.notify_messages
    }

    /// The share of time in which the coordinator is busy; it keeps up while this is below 1.
    ///
    /// # Errors
    /// No interval.
    pub fn load(&self, interval: Seconds) -> Result<f64, ModelError> {
        Ok(self.busy / positive("the interval", interval.get())?)
    }

    /// Most checkpoints a second that the coordinator keeps up with; infinite if they cost nothing.
    pub fn frequency_max(&self) -> f64 {
        1.0 / self.busy
    }
}
