//! What is known of how checkpoints went.

use crate::time::VirtualDuration;

/// How one subtask's part of a checkpoint went. Flink: `CheckpointMetrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckpointMetrics {
    /// Duration of the synchronous part (step B3).
    pub sync: VirtualDuration,
    /// Duration of the asynchronous part (step B5).
    pub asynchronous: VirtualDuration,
    /// From the first barrier to the last (steps B1 to B2).
    pub alignment: VirtualDuration,
    /// From the trigger to the first barrier.
    pub start_delay: VirtualDuration,
    /// Bytes processed during the alignment.
    pub processed: u64,
    /// Bytes of in-flight data in the snapshot.
    pub persisted: u64,
}
