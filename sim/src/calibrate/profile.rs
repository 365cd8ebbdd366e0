//! What a cluster's checkpoints and recoveries cost, in a few numbers.

use serde::Serialize;

use super::robust::{Estimate, Line};
use super::runs::SnapshotKind;

/// A fitted cost profile. Durations in milliseconds, MB of 10^6 bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Profile {
    /// Checkpoints.
    pub checkpoint: CheckpointCosts,
    /// A lost worker; `None` without such a run.
    pub recovery: Option<RecoveryCosts>,
    /// What an interval costs at saturation; `None` without runs with and without checkpoints.
    pub throughput: Option<ThroughputCosts>,
    /// What the data cannot tell, one sentence each.
    pub cannot_tell: Vec<String>,
}

/// What a checkpoint takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckpointCosts {
    /// End to end without the two parts of the slowest snapshot: messages, alignment and the last
    /// acknowledgement, when no data is queued.
    pub travel_ms: Estimate,
    /// Trigger to a source.
    pub source_start_delay_ms: Option<Estimate>,
    /// Source to the next vertex, when no data is queued.
    pub hop_ms: Option<Estimate>,
    /// First to last barrier, when no data is queued.
    pub alignment_ms: Option<Estimate>,
    /// End of the asynchronous part to the acknowledgement.
    pub acknowledge_ms: Option<Estimate>,
    /// By kind of snapshot.
    pub snapshots: Vec<SnapshotCosts>,
    /// Share of the buffers' bytes that is filled when a vertex cannot keep up.
    pub in_flight_fill: Option<Estimate>,
    /// Duration at saturation over that of a paced job.
    pub saturation_factor: Option<Estimate>,
}

/// What one kind of snapshot takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SnapshotCosts {
    /// Which.
    #[serde(rename = "kind", serialize_with = "name")]
    pub snapshots: SnapshotKind,
    /// The synchronous part.
    pub sync_ms: Estimate,
    /// The asynchronous part, by the MB that a subtask writes.
    #[serde(rename = "async")]
    pub asynchronous: Line,
    /// Bytes written for a byte of state (or of changed state).
    pub written_per_byte: Option<Estimate>,
    /// Median of what other programs used of the processors in these runs, in cores.
    pub other_cores: Option<f64>,
}

/// What a lost worker costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecoveryCosts {
    /// Kill to the failure of the job, by a broken connection.
    pub detection_ms: Estimate,
    /// What a restart takes besides its delay.
    pub attempt_ms: Estimate,
    /// From the second failed heartbeat to the slots being given up.
    pub give_up_ms: Estimate,
    /// Beginning of the restore to the first record, by the MB that a subtask restores.
    pub start: Line,
    /// Capacity under catch-up over the configured one.
    pub capacity_share: Estimate,
    /// Time without processing that the first moments after a restart are worth.
    pub warm_up_ms: Estimate,
    /// How many kills.
    pub kills: usize,
}

/// What checkpoints cost of a saturated job's throughput.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ThroughputCosts {
    /// Records a second without checkpoints.
    pub free_per_s: Estimate,
    /// Processing time lost by one checkpoint; `None` where every difference is noise.
    pub lost_ms: Option<Estimate>,
    /// Relative difference between two single runs that means nothing.
    pub noise: f64,
    /// Longest interval whose effect is larger than that.
    pub seen_up_to_ms: Option<f64>,
}

impl Profile {
    /// The costs of a kind of snapshot; `None` if no run had it.
    pub fn snapshots(&self, kind: SnapshotKind) -> Option<&SnapshotCosts> {
        self.checkpoint.snapshots.iter().find(|costs| costs.snapshots == kind)
    }
}

fn name<S: serde::Serializer>(kind: &SnapshotKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.name())
}
