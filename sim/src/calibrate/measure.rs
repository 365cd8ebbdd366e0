//! What is predicted and judged, by name.

use super::runs::{Measured, RunKind};

/// One measure of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// Median end-to-end duration of a checkpoint, trigger to last acknowledgement.
    CheckpointDuration,
    /// Median start delay at the stateful operator.
    StartDelay,
    /// Median bytes that a checkpoint writes.
    CheckpointedBytes,
    /// Median bytes of data in flight in a checkpoint.
    InFlightBytes,
    /// Median end-to-end duration of a checkpoint when nothing is paced.
    SaturatedCheckpointDuration,
    /// Restarts that one kill costs.
    Restarts,
    /// Kill to the first record at the slower sink.
    Downtime,
    /// Trigger of the restored checkpoint to the kill.
    RestoredAge,
    /// Records that the sources emit again.
    ReplayedRecords,
    /// Kill to the moment from which the sinks are no longer behind.
    TimeToCatchUp,
    /// Records a second at saturation.
    Throughput,
}

impl Measure {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 11] = [
        Self::CheckpointDuration,
        Self::StartDelay,
        Self::CheckpointedBytes,
        Self::InFlightBytes,
        Self::SaturatedCheckpointDuration,
        Self::Restarts,
        Self::Downtime,
        Self::RestoredAge,
        Self::ReplayedRecords,
        Self::TimeToCatchUp,
        Self::Throughput,
    ];

    /// The name in reports and goals.
    pub fn name(self) -> &'static str {
        match self {
            Self::CheckpointDuration => "checkpoint_duration",
            Self::StartDelay => "start_delay",
            Self::CheckpointedBytes => "checkpointed_bytes",
            Self::InFlightBytes => "in_flight_bytes",
            Self::SaturatedCheckpointDuration => "saturated_checkpoint_duration",
            Self::Restarts => "restarts",
            Self::Downtime => "downtime",
            Self::RestoredAge => "restored_age",
            Self::ReplayedRecords => "replayed_records",
            Self::TimeToCatchUp => "time_to_catch_up",
            Self::Throughput => "throughput",
        }
    }

    /// The unit of its values.
    pub fn unit(self) -> &'static str {
        match self {
            Self::CheckpointDuration
            | Self::StartDelay
            | Self::SaturatedCheckpointDuration
            | Self::Downtime
            | Self::RestoredAge
            | Self::TimeToCatchUp => "ms",
            Self::CheckpointedBytes | Self::InFlightBytes => "bytes",
            Self::Restarts => "restarts",
            Self::ReplayedRecords => "records",
            Self::Throughput => "records/s",
        }
    }

    /// The kind of run that tells it.
    pub fn told_by(self) -> RunKind {
        match self {
            Self::CheckpointDuration
            | Self::StartDelay
            | Self::CheckpointedBytes
            | Self::InFlightBytes => RunKind::Checkpoint,
            Self::Restarts
            | Self::Downtime
            | Self::RestoredAge
            | Self::ReplayedRecords
            | Self::TimeToCatchUp => RunKind::Recovery,
            Self::SaturatedCheckpointDuration | Self::Throughput => RunKind::Throughput,
        }
    }

    /// The relative error above which a run counts as missed; `None` for those that are reported
    /// and not aimed at.
    pub fn aim(self) -> Option<f64> {
        match self {
            Self::CheckpointDuration => Some(0.20),
            Self::TimeToCatchUp => Some(0.15),
            Self::StartDelay
            | Self::CheckpointedBytes
            | Self::InFlightBytes
            | Self::SaturatedCheckpointDuration
            | Self::Restarts
            | Self::Downtime
            | Self::RestoredAge
            | Self::ReplayedRecords
            | Self::Throughput => None,
        }
    }

    /// What was measured of it.
    pub fn measured(self, of: &Measured) -> Option<f64> {
        match self {
            Self::CheckpointDuration | Self::SaturatedCheckpointDuration => of.duration_ms,
            Self::StartDelay => of.start_delay_ms,
            Self::CheckpointedBytes => of.checkpointed_bytes,
            Self::InFlightBytes => of.persisted_bytes,
            Self::Restarts => of.restarts,
            Self::Downtime => of.first_record_ms,
            Self::RestoredAge => of.restored_age_ms,
            Self::ReplayedRecords => of.replayed_records,
            Self::TimeToCatchUp => of.caught_up_ms,
            Self::Throughput => of.throughput_per_s,
        }
    }
}
