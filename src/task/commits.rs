//! The commits that a subtask has asked for: what is under way, and what is to be tried again.
//!
//! Flink: `CommitterOperator#retryCommittables` with its delay of a second, `CommitRequestImpl`, and
//! `sink.committer.retries`.
//!
//! Invariant: what was asked for is here until the outside has confirmed it, or the attempt fails.

use crate::operator::{Effect, TransactionId};
use crate::time::{VirtualDuration, VirtualTime};

/// Flink: `CommitterOperator#RETRY_DELAY`.
const RETRY_DELAY: VirtualDuration = VirtualDuration::from_secs(1);

/// Why the outside has not done what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitError {
    /// It failed, or so it was said: it may have been done all the same. Flink:
    /// `CommitRequest#retryLater`.
    Retriable,
    /// The transaction is gone: it has timed out, was aborted, or was never known. No attempt will
    /// ever commit it.
    Gone,
}

/// What comes of a commit that was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It is tried again when the next timeout is due.
    Retry,
    /// It was tried often enough.
    GiveUp,
}

#[derive(Debug)]
struct UnderWay {
    effect: Effect,
    /// How many more times it may be tried.
    retries: u32,
    /// When it is asked for again; `None`: an answer is awaited.
    again_at: Option<VirtualTime>,
}

/// All commits under way.
#[derive(Debug)]
pub(crate) struct Commits {
    under_way: Vec<UnderWay>,
    retries_max: u32,
}

impl Commits {
    /// Nothing is under way.
    pub(crate) fn new(retries_max: u32) -> Self {
        Self { under_way: Vec::new(), retries_max }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// A commit is being asked for. The same one may be asked for twice, by two checkpoints.
    pub(crate) fn begin(&mut self, effect: Effect) {
        self.under_way.push(UnderWay { effect, retries: self.retries_max, again_at: None });
    }

    /// The outside has confirmed it.
    pub(crate) fn on_committed(&mut self, transaction: TransactionId) {
        let index = self.awaited(transaction);
        self.under_way.remove(index);
    }

    /// The outside has not done it, but might yet.
    pub(crate) fn on_failed(&mut self, transaction: TransactionId, now: VirtualTime) -> Next {
        let index = self.awaited(transaction);
        let commit = &mut self.under_way[index];
        if commit.retries == 0 {
            return Next::GiveUp;
        }
        commit.retries -= 1;
        commit.again_at = Some(now + RETRY_DELAY);
        Next::Retry
    }

    /// When the first one is to be tried again.
    #[inline]
    pub(crate) fn next_timeout(&self) -> Option<VirtualTime> {
        self.under_way.iter().filter_map(|commit| commit.again_at).min()
    }

    /// What is to be asked for again now.
    pub(crate) fn due(&mut self, now: VirtualTime) -> Vec<Effect> {
        let is_due = |commit: &&mut UnderWay| commit.again_at.is_some_and(|at| at <= now);
        let again = |commit: &mut UnderWay| {
            commit.again_at = None;
            commit.effect.clone()
        };
        self.under_way.iter_mut().filter(is_due).map(again).collect()
    }

    fn awaited(&self, transaction: TransactionId) -> usize {
        let is_it = |commit: &UnderWay| {
            commit.again_at.is_none() && commit.effect.transaction() == Some(transaction)
        };
        let index = self.under_way.iter().position(is_it);
        index.expect("an answer is to something that was asked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Attempt, CheckpointId, OperatorId};
    use crate::operator::Fingerprint;

    fn commit(checkpoint: u64) -> (TransactionId, Effect) {
        let transaction = TransactionId {
            operator: OperatorId(1),
            subtask: 0,
            checkpoint: CheckpointId(checkpoint),
            attempt: Attempt(1),
        };
        (transaction, Effect::Commit { transaction, contents: Fingerprint::of(7) })
    }

    #[test]
    fn what_fails_is_tried_again_until_it_was_tried_often_enough() {
        let second = |n: u64| VirtualTime::from_millis(1_000 * n);
        let ((first, ask_first), (second_one, ask_second)) = (commit(1), commit(2));
        let mut commits = Commits::new(2);
        commits.begin(ask_first.clone());
        commits.begin(ask_second);
        assert_eq!(commits.on_failed(first, second(1)), Next::Retry);
        assert_eq!(commits.next_timeout(), Some(second(2)));
        assert_eq!(commits.due(VirtualTime::from_millis(1_999)), vec![]);
        assert_eq!(commits.due(second(2)), vec![ask_first.clone()]);
        assert_eq!(commits.next_timeout(), None, "it is under way again");
        commits.on_committed(second_one);
        assert_eq!(commits.on_failed(first, second(3)), Next::Retry);
        assert_eq!(commits.due(second(9)), vec![ask_first]);
        assert_eq!(commits.on_failed(first, second(10)), Next::GiveUp);
        assert!(!commits.is_empty());
    }
}
