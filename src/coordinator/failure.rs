//! Which failed checkpoints count, and when the job fails for them.
//!
//! In Flink: `CheckpointFailureManager`; the limit is
//! `execution.checkpointing.tolerable-failed-checkpoints`.
//!
//! Invariant: the counter never exceeds the limit between two calls.

use std::collections::BTreeSet;

use crate::defect::{Defect, Defects};
use crate::ids::CheckpointId;
use crate::message::{FailureReason, SnapshotKind};

/// A failed attempt to take a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure<T> {
    /// Its number, unless it failed before it got one.
    pub checkpoint: Option<CheckpointId>,
    /// What was to be taken.
    pub kind: SnapshotKind,
    /// Why it failed.
    pub reason: FailureReason,
    /// The task that reported it; `None` if the coordinator found out by itself.
    pub task: Option<T>,
}

/// The job must fail, and who is to blame: a task, or (`None`) none in particular.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict<T>(pub Option<T>);

/// Counts failures in a row.
#[derive(Clone, Debug)]
pub struct FailureManager {
    /// Failures that are borne; `None`: any number.
    tolerable: Option<u64>,
    counter: u64,
    counted: BTreeSet<CheckpointId>,
    last_success: Option<CheckpointId>,
    defects: Defects,
}

impl FailureManager {
    /// Bears `tolerable` failures in a row, or any number if `None`.
    pub fn new(tolerable: Option<u64>, defects: Defects) -> Self {
        Self { tolerable, counter: 0, counted: BTreeSet::new(), last_success: None, defects }
    }

    /// Failures counted since the last success.
    pub fn counter(&self) -> u64 {
        self.counter
    }

    /// A checkpoint or savepoint completed.
    pub fn on_success(&mut self, checkpoint: CheckpointId) {
        if self.last_success.is_none_or(|last| checkpoint > last) {
            self.last_success = Some(checkpoint);
            self.clear();
        }
    }

    /// A checkpoint failed. The answer says whether the job must fail for it.
    pub fn on_failure<T>(&mut self, failure: Failure<T>) -> Option<Verdict<T>> {
        let task = failure.task.filter(|_| !failure.reason.is_pre_flight());
        match task {
            None if failure.kind.is_savepoint() => return None,
            Some(_) if failure.kind.is_synchronous() && self.defects.has(Defect::D83) => {
                return None;
            }
            // The tasks have stopped for this savepoint already: there is nothing to go on with.
            Some(_) if failure.kind.is_synchronous() => return Some(Verdict(None)),
            Some(_) | None => {}
        }
        // Flink: with an unlimited number tolerated nothing is counted, not even for show.
        let limit = self.tolerable?;
        self.weigh(failure.checkpoint, failure.reason);
        let exceeded = self.counter > limit;
        exceeded.then(|| {
            self.clear();
            Verdict(task)
        })
    }

    /// Counts a failure that is news and of a kind that says something about the job's health.
    fn weigh(&mut self, checkpoint: Option<CheckpointId>, reason: FailureReason) {
        if checkpoint.is_some() && checkpoint <= self.last_success {
            return;
        }
        if self.defects.has(Defect::D08) && reason == FailureReason::CheckpointExpired {
            return;
        }
        // A checkpoint declined by ten subtasks costs one tolerated failure, not ten.
        if counts(reason) && checkpoint.is_none_or(|id| self.counted.insert(id)) {
            self.counter += 1;
        }
    }

    fn clear(&mut self) {
        self.counter = 0;
        self.counted.clear();
    }
}

fn counts(reason: FailureReason) -> bool {
    use FailureReason as R;
    match reason {
        R::IoException
        | R::CheckpointAsyncException
        | R::CheckpointExpired
        | R::CheckpointDeclined
        | R::FinalizeCheckpointFailure => true,
        R::PeriodicSchedulerShutdown
        | R::TooManyCheckpointRequests
        | R::MinimumTimeBetweenCheckpoints
        | R::NotAllRequiredTasksRunning
        | R::BlockingOutputExist
        | R::ChannelStateSharedStreamException
        | R::CheckpointSubsumed
        | R::CheckpointDeclinedTaskNotReady
        | R::CheckpointDeclinedTaskClosing
        | R::CheckpointDeclinedSubsumed
        | R::CheckpointDeclinedOnCancellationBarrier
        | R::CheckpointDeclinedInputEndOfStream
        | R::CheckpointCoordinatorShutdown
        | R::CheckpointCoordinatorSuspend
        | R::JobFailoverRegion
        | R::TaskFailure
        | R::TaskCheckpointFailure
        | R::UnknownTaskCheckpointNotificationFailure
        | R::TriggerCheckpointFailure => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(
        id: Option<u64>,
        kind: SnapshotKind,
        reason: FailureReason,
        task: Option<u32>,
    ) -> Failure<u32> {
        Failure { checkpoint: id.map(CheckpointId), kind, reason, task }
    }

    #[test]
    fn what_counts_and_who_is_blamed() {
        use FailureReason as R;
        use SnapshotKind::{Checkpoint, Savepoint, SavepointSuspend};
        // With nothing tolerated, whatever counts fails the job at once.
        let rows = [
            ("expiry", Checkpoint, R::CheckpointExpired, None, Some(None)),
            ("savepoint", Savepoint, R::CheckpointExpired, None, None),
            ("decline", Checkpoint, R::CheckpointDeclined, Some(3), Some(Some(3))),
            ("subsumed", Checkpoint, R::CheckpointSubsumed, None, None),
            ("pre-flight is nobody's", Checkpoint, R::IoException, Some(3), Some(None)),
            ("stop declined", SavepointSuspend, R::TaskFailure, Some(3), Some(None)),
        ];
        for (name, kind, reason, task, verdict) in rows {
            let mut manager = FailureManager::new(Some(0), Defects::none());
            let got = manager.on_failure(failure(Some(1), kind, reason, task));
            assert_eq!(got, verdict.map(Verdict), "{name}");
            assert_eq!(manager.counter(), 0, "{name}");
        }
    }

    #[test]
    fn a_checkpoint_costs_once_and_a_success_clears() {
        let mut manager = FailureManager::new(Some(10), Defects::none());
        let expired = |id| {
            let reason = FailureReason::CheckpointExpired;
            failure(id, SnapshotKind::Checkpoint, reason, None)
        };
        for id in [Some(1), Some(1), None, None] {
            assert_eq!(manager.on_failure(expired(id)), None);
        }
        assert_eq!(manager.counter(), 3);
        manager.on_success(CheckpointId(4));
        manager.on_failure(expired(Some(4)));
        assert_eq!(manager.counter(), 0, "older than the last success");
    }
}
