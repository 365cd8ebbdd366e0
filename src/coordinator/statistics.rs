//! What is known of how checkpoints went, with the names of Flink's REST API
//! (`/jobs/:jobid/checkpoints`).
//!
//! Flink: `CheckpointStatsTracker`. Nothing is decided by what is here.
//!
//! Invariant: `total` is the sum of `in_progress`, `completed` and `failed`.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use crate::ids::CheckpointId;
use crate::message::{FailureReason, SnapshotKind};
use crate::time::{VirtualDuration, VirtualTime};

/// Ended checkpoints remembered one by one. Flink: `web.checkpoints.history`, by default.
const HISTORY_MAX: usize = 10;

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

/// Where a checkpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CheckpointStatus {
    /// It is pending.
    InProgress,
    /// It is complete.
    Completed,
    /// It was aborted, or could not be stored.
    Failed,
}

/// How one checkpoint went. Durations of subtasks are those of the slowest one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckpointStatistics {
    /// Its number.
    pub id: CheckpointId,
    /// Where it stands.
    pub status: CheckpointStatus,
    /// What it is for.
    pub checkpoint_type: SnapshotKind,
    /// When it was triggered.
    pub trigger_timestamp: VirtualTime,
    /// When the last acknowledgement so far arrived.
    pub latest_ack_timestamp: Option<VirtualTime>,
    /// From the trigger to the last acknowledgement, or to the failure.
    pub end_to_end_duration: VirtualDuration,
    /// Bytes uploaded for it.
    pub checkpointed_size: u64,
    /// Bytes a restore reads, shared files included.
    pub state_size: u64,
    /// Bytes processed during alignments.
    pub processed_data: u64,
    /// Bytes of in-flight data in it.
    pub persisted_data: u64,
    /// Subtasks it waits for.
    pub num_subtasks: usize,
    /// Subtasks that have acknowledged.
    pub num_acknowledged_subtasks: usize,
    /// The longest synchronous part.
    pub sync_duration: VirtualDuration,
    /// The longest asynchronous part.
    pub async_duration: VirtualDuration,
    /// The longest alignment.
    pub alignment_duration: VirtualDuration,
    /// The longest wait for the first barrier.
    pub start_delay: VirtualDuration,
    /// Why it failed.
    pub failure_message: Option<FailureReason>,
}

/// How many checkpoints there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Restores from a checkpoint.
    pub restored: u64,
    /// Checkpoints that got a number.
    pub total: u64,
    /// Of these, those that are pending.
    pub in_progress: u64,
    /// Those that completed.
    pub completed: u64,
    /// Those that failed.
    pub failed: u64,
}

/// A quantity over all completed checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// The smallest.
    pub min: u64,
    /// The greatest.
    pub max: u64,
    /// The mean, rounded down.
    pub avg: u64,
    #[serde(skip)]
    sum: u128,
    #[serde(skip)]
    count: u64,
}

impl Spread {
    fn add(&mut self, value: u64) {
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.sum += u128::from(value);
        self.count += 1;
        let mean = self.sum / u128::from(self.count);
        self.avg = u64::try_from(mean).expect("a mean is no greater than the greatest value");
    }
}

/// Quantities over all completed checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Bytes uploaded.
    pub checkpointed_size: Spread,
    /// Bytes a restore reads.
    pub state_size: Spread,
    /// Nanoseconds from the trigger to the last acknowledgement.
    pub end_to_end_duration: Spread,
    /// Bytes processed during alignments.
    pub processed_data: Spread,
    /// Bytes of in-flight data.
    pub persisted_data: Spread,
}

/// The numbers of the latest checkpoints of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Latest {
    /// The last completed checkpoint.
    pub completed: Option<CheckpointId>,
    /// The last completed savepoint.
    pub savepoint: Option<CheckpointId>,
    /// The last that failed.
    pub failed: Option<CheckpointId>,
    /// The last restored.
    pub restored: Option<CheckpointId>,
}

/// What is known of how checkpoints went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Statistics {
    /// How many.
    pub counts: Counts,
    /// Quantities over the completed ones.
    pub summary: Summary,
    /// The latest of each kind.
    pub latest: Latest,
    /// The last that ended, oldest first.
    pub history: VecDeque<CheckpointStatistics>,
    /// Those that are pending.
    #[serde(skip)]
    pub in_progress: BTreeMap<CheckpointId, CheckpointStatistics>,
}

impl Statistics {
    pub(super) fn pending(
        &mut self,
        id: CheckpointId,
        kind: SnapshotKind,
        timestamp: VirtualTime,
        subtasks: usize,
    ) {
        self.counts.total += 1;
        self.counts.in_progress += 1;
        let zero = VirtualDuration::ZERO;
        let checkpoint = CheckpointStatistics {
            id,
            status: CheckpointStatus::InProgress,
            checkpoint_type: kind,
            trigger_timestamp: timestamp,
            latest_ack_timestamp: None,
            end_to_end_duration: zero,
            checkpointed_size: 0,
            state_size: 0,
            processed_data: 0,
            persisted_data: 0,
            num_subtasks: subtasks,
            num_acknowledged_subtasks: 0,
            sync_duration: zero,
            async_duration: zero,
            alignment_duration: zero,
            start_delay: zero,
            failure_message: None,
        };
        self.in_progress.insert(id, checkpoint);
    }

    pub(super) fn acknowledged(
        &mut self,
        now: VirtualTime,
        id: CheckpointId,
        (uploaded, size): (u64, u64),
        metrics: CheckpointMetrics,
    ) {
        let Some(checkpoint) = self.in_progress.get_mut(&id) else {
            return;
        };
        checkpoint.num_acknowledged_subtasks += 1;
        checkpoint.latest_ack_timestamp = Some(now);
        checkpoint.end_to_end_duration = now.since(checkpoint.trigger_timestamp);
        checkpoint.checkpointed_size += uploaded;
        checkpoint.state_size += size;
        checkpoint.processed_data += metrics.processed;
        checkpoint.persisted_data += metrics.persisted;
        checkpoint.sync_duration = checkpoint.sync_duration.max(metrics.sync);
        checkpoint.async_duration = checkpoint.async_duration.max(metrics.asynchronous);
        checkpoint.alignment_duration = checkpoint.alignment_duration.max(metrics.alignment);
        checkpoint.start_delay = checkpoint.start_delay.max(metrics.start_delay);
    }

    pub(super) fn completed(&mut self, id: CheckpointId) {
        let Some(mut checkpoint) = self.in_progress.remove(&id) else {
            return;
        };
        self.counts.in_progress -= 1;
        self.counts.completed += 1;
        let summary = &mut self.summary;
        summary.checkpointed_size.add(checkpoint.checkpointed_size);
        summary.state_size.add(checkpoint.state_size);
        let duration = checkpoint.end_to_end_duration.as_nanos();
        summary.end_to_end_duration.add(duration);
        summary.processed_data.add(checkpoint.processed_data);
        summary.persisted_data.add(checkpoint.persisted_data);
        if checkpoint.checkpoint_type.is_savepoint() {
            self.latest.savepoint = Some(id);
        } else {
            self.latest.completed = Some(id);
        }
        checkpoint.status = CheckpointStatus::Completed;
        self.remember(checkpoint);
    }

    pub(super) fn failed(&mut self, now: VirtualTime, id: CheckpointId, reason: FailureReason) {
        let Some(mut checkpoint) = self.in_progress.remove(&id) else {
            return;
        };
        self.counts.in_progress -= 1;
        self.counts.failed += 1;
        self.latest.failed = Some(id);
        checkpoint.status = CheckpointStatus::Failed;
        checkpoint.end_to_end_duration = now.since(checkpoint.trigger_timestamp);
        checkpoint.failure_message = Some(reason);
        self.remember(checkpoint);
    }

    pub(super) fn restored(&mut self, id: CheckpointId) {
        self.counts.restored += 1;
        self.latest.restored = Some(id);
    }

    fn remember(&mut self, checkpoint: CheckpointStatistics) {
        if self.history.len() == HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(checkpoint);
        let counts = self.counts;
        assert_eq!(counts.total, counts.in_progress + counts.completed + counts.failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_completed_and_a_failed_one() {
        let mut statistics = Statistics::default();
        let at = VirtualTime::from_millis;
        for id in [1, 2] {
            let id = CheckpointId(id);
            statistics.pending(id, SnapshotKind::Checkpoint, at(10), 2);
        }
        let slow = CheckpointMetrics {
            sync: VirtualDuration::from_millis(3),
            persisted: 7,
            ..CheckpointMetrics::default()
        };
        statistics.acknowledged(at(12), CheckpointId(1), (5, 50), slow);
        statistics.acknowledged(at(15), CheckpointId(1), (6, 60), CheckpointMetrics::default());
        statistics.completed(CheckpointId(1));
        statistics.failed(at(40), CheckpointId(2), FailureReason::CheckpointExpired);

        let completed = &statistics.history[0];
        assert_eq!((completed.checkpointed_size, completed.state_size), (11, 110));
        assert_eq!(completed.end_to_end_duration, VirtualDuration::from_millis(5));
        assert_eq!(completed.sync_duration, VirtualDuration::from_millis(3));
        assert_eq!(statistics.summary.persisted_data.avg, 7);
        assert_eq!(statistics.history[1].end_to_end_duration, VirtualDuration::from_millis(30));
        assert_eq!(statistics.counts.failed, 1);
        assert_eq!(statistics.latest.completed, Some(CheckpointId(1)));
    }
}
