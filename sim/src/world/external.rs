//! The external system that transactional sinks write to: what Kafka does with transactions.
//!
//! - A transaction is open from its first write; it is flushed (pre-committed) and committed by
//!   name. Committing it twice is committing it once.
//! - One that is neither committed nor aborted within the timeout is aborted by the system, whatever
//!   its owner thinks of it. Kafka: `transaction.timeout.ms`, capped by the broker's
//!   `transaction.max.timeout.ms`.
//! - Whoever looks for left-over transactions fences older attempts off: what they begin or flush
//!   later on is refused. Kafka: the producer epoch, bumped by `initTransactions`.
//! - Readers see committed transactions up to the *last stable position*: the beginning of the oldest
//!   one that is still open. Kafka: `isolation.level=read_committed`, the last stable offset.
//! - Batches of write-ahead sinks are no transactions: they are applied at once, update by update,
//!   each unless its key has seen the batch.
//!
//! Deviation: Kafka tells a commit that comes too late from one that was made before only by what
//! its client remembers; here the answer is certain.

use std::collections::{BTreeMap, BTreeSet};

use cutline::ids::{Attempt, CheckpointId, OperatorId};
use cutline::operator::{Fingerprint, LeftOvers, TransactionId, Update};
use cutline::time::{VirtualDuration, VirtualTime};

use super::services::Refusal;
use crate::observe::Transaction;

/// What has become of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionState {
    /// Something was written, not all of it may be there.
    Open,
    /// Flushed, not visible.
    PreCommitted,
    /// Committed.
    Committed,
    /// Dropped by its owner's successor.
    Aborted,
    /// Dropped by the system: it was open for too long.
    Expired,
}

/// A transaction as the external system knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredTransaction {
    /// What has become of it.
    pub state: TransactionState,
    /// The checkpoint whose completion commits it; until it is flushed, the first that can.
    pub checkpoint: CheckpointId,
    /// What it contains; nothing is known of it until it is flushed.
    pub contents: Fingerprint,
    /// When it was begun.
    pub begun: VirtualTime,
    /// Its place in the log: readers stop at the first one that is open.
    position: u64,
}

impl StoredTransaction {
    /// Whether it keeps readers from what comes behind it.
    pub fn is_open(&self) -> bool {
        matches!(self.state, TransactionState::Open | TransactionState::PreCommitted)
    }
}

/// The external system.
#[derive(Debug, Default)]
pub struct ExternalSystem {
    /// Every transaction that was ever begun.
    pub transactions: BTreeMap<TransactionId, StoredTransaction>,
    timeout: Option<VirtualDuration>,
    /// In the order of their positions.
    begun: Vec<TransactionId>,
    /// Attempts below this are refused, by sink, number of its cleaning subtasks, and subtask.
    fences: BTreeMap<(OperatorId, u32, u32), Attempt>,
    /// Which batches each key has seen.
    applied: BTreeSet<(TransactionId, u32)>,
}

/// What is to be looked at when a transaction times out: its place in the log.
pub(super) type Place = u32;

impl ExternalSystem {
    /// A system that has seen nothing; without a timeout, transactions stay open for ever.
    pub fn new(timeout: Option<VirtualDuration>) -> Self {
        Self { timeout, ..Self::default() }
    }

    /// The first write of a transaction. Says when it will have been open for too long.
    ///
    /// A write of an attempt that is fenced off does nothing: it learns of that when it flushes.
    pub(super) fn begin(
        &mut self,
        transaction: TransactionId,
        now: VirtualTime,
    ) -> Option<(VirtualTime, Place)> {
        if self.is_fenced(transaction) || self.transactions.contains_key(&transaction) {
            return None;
        }
        let position = self.begun.len() as u64;
        self.begun.push(transaction);
        let state = TransactionState::Open;
        let (checkpoint, contents) = (transaction.checkpoint, Fingerprint::EMPTY);
        let stored = StoredTransaction { state, checkpoint, contents, begun: now, position };
        self.transactions.insert(transaction, stored);
        self.timeout.map(|timeout| (now + timeout, position as Place))
    }

    /// A transaction has been open for as long as it may; `Some` if it had been flushed and is
    /// dropped now.
    pub(super) fn expire(&mut self, place: Place) -> Option<(TransactionId, StoredTransaction)> {
        let transaction = self.begun[place as usize];
        let stored = self.transactions.get_mut(&transaction).expect("what was begun is stored");
        let was = stored.state;
        if stored.is_open() {
            stored.state = TransactionState::Expired;
        }
        (was == TransactionState::PreCommitted).then_some((transaction, *stored))
    }

    /// Flushes a transaction, begun before or not.
    ///
    /// # Errors
    /// Its attempt is fenced off, or it is no longer open.
    pub(super) fn pre_commit(
        &mut self,
        transaction: TransactionId,
        (checkpoint, contents): (CheckpointId, Fingerprint),
    ) -> Result<(), Refusal> {
        if self.is_fenced(transaction) {
            return Err(Refusal::ProducerFenced);
        }
        let stored = self.transactions.get_mut(&transaction).ok_or(Refusal::UnknownTransaction)?;
        if !stored.is_open() {
            return Err(Refusal::of(stored.state));
        }
        stored.state = TransactionState::PreCommitted;
        (stored.checkpoint, stored.contents) = (checkpoint, contents);
        Ok(())
    }

    /// Commits a transaction: `Some(stored)` the first time, `None` if it was committed already.
    /// One that is not flushed is flushed first, with these contents.
    ///
    /// # Errors
    /// There is no such transaction, or it was dropped.
    pub(super) fn commit(
        &mut self,
        transaction: TransactionId,
        contents: Fingerprint,
    ) -> Result<Option<StoredTransaction>, Refusal> {
        let stored = self.transactions.get_mut(&transaction).ok_or(Refusal::UnknownTransaction)?;
        match stored.state {
            TransactionState::Committed => return Ok(None),
            TransactionState::Aborted | TransactionState::Expired => {
                return Err(Refusal::of(stored.state));
            }
            TransactionState::Open => stored.contents = contents,
            TransactionState::PreCommitted => {}
        }
        stored.state = TransactionState::Committed;
        Ok(Some(*stored))
    }

    /// Applies a batch: what it has changed, which is nothing if all its keys have seen it.
    pub(super) fn apply(&mut self, batch: TransactionId, updates: &[Update]) -> Fingerprint {
        let mut changed = Fingerprint::EMPTY;
        for update in updates {
            if self.applied.insert((batch, update.key)) {
                changed += update.delta;
            }
        }
        changed
    }

    /// Aborts the open transactions among the left-overs and fences older attempts off. Gives those
    /// that had been flushed.
    pub(super) fn abort_left_overs(
        &mut self,
        left_overs: &LeftOvers,
    ) -> Vec<(TransactionId, StoredTransaction)> {
        let mut aborted = Vec::new();
        for (transaction, stored) in &mut self.transactions {
            let older = transaction.attempt < left_overs.attempt;
            if stored.is_open() && older && left_overs.contains(transaction) {
                let flushed = stored.state == TransactionState::PreCommitted;
                stored.state = TransactionState::Aborted;
                aborted.extend(flushed.then_some((*transaction, *stored)));
            }
        }
        let LeftOvers { operator, parallelism, subtask, attempt, .. } = *left_overs;
        let fence = self.fences.entry((operator, parallelism, subtask)).or_insert(attempt);
        *fence = (*fence).max(attempt);
        aborted
    }

    fn is_fenced(&self, transaction: TransactionId) -> bool {
        let of = (transaction.operator, 0, 0)..(OperatorId(transaction.operator.0 + 1), 0, 0);
        self.fences.range(of).any(|(&(_, parallelism, subtask), fence)| {
            transaction.subtask % parallelism == subtask && transaction.attempt < *fence
        })
    }

    /// The transactions that are open, in the order of the log.
    pub fn open(&self) -> impl Iterator<Item = (TransactionId, &StoredTransaction)> {
        let stored = |transaction: &TransactionId| (*transaction, &self.transactions[transaction]);
        self.begun.iter().map(stored).filter(|(_, stored)| stored.is_open())
    }

    /// What of a sink's committed transactions readers cannot see, since an older one is open.
    pub fn hidden(&self, operator: OperatorId) -> Fingerprint {
        let of_sink = || {
            let all = self.transactions.iter();
            all.filter(move |(transaction, _)| transaction.operator == operator)
        };
        let open = of_sink().filter(|(_, stored)| stored.is_open());
        let Some(stable) = open.map(|(_, stored)| stored.position).min() else {
            return Fingerprint::EMPTY;
        };
        of_sink()
            .filter(|(_, stored)| stored.state == TransactionState::Committed)
            .filter(|(_, stored)| stored.position > stable)
            .fold(Fingerprint::EMPTY, |sum, (_, stored)| sum + stored.contents)
    }
}

impl Refusal {
    fn of(state: TransactionState) -> Self {
        match state {
            TransactionState::Expired => Self::Expired,
            TransactionState::Aborted | TransactionState::Committed => Self::UnknownTransaction,
            TransactionState::Open | TransactionState::PreCommitted => {
                unreachable!("an open transaction is refused nothing")
            }
        }
    }
}

/// A transaction as observations name it: by the checkpoint that commits it.
pub(super) fn observed(transaction: TransactionId, stored: &StoredTransaction) -> Transaction {
    Transaction {
        operator: transaction.operator,
        subtask: transaction.subtask,
        checkpoint: stored.checkpoint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINK: OperatorId = OperatorId(2);

    fn transaction(subtask: u32, checkpoint: u64, attempt: u32) -> TransactionId {
        let (checkpoint, attempt) = (CheckpointId(checkpoint), Attempt(attempt));
        TransactionId { operator: SINK, subtask, checkpoint, attempt }
    }

    fn contents(count: u64) -> Fingerprint {
        Fingerprint { count, sum: count * 7 }
    }

    fn at(ms: u64) -> VirtualTime {
        VirtualTime::from_millis(ms)
    }

    /// Begins and flushes.
    fn flushed(system: &mut ExternalSystem, of: TransactionId, count: u64) {
        system.begin(of, at(0));
        system.pre_commit(of, (of.checkpoint, contents(count))).expect("open");
    }

    #[test]
    fn a_commit_is_made_once_and_never_behind_an_end() {
        let mut system = ExternalSystem::new(Some(VirtualDuration::from_millis(100)));
        let (done, late) = (transaction(0, 1, 1), transaction(0, 2, 1));
        flushed(&mut system, done, 3);
        assert_eq!(system.commit(done, contents(3)).map(|it| it.is_some()), Ok(true));
        assert_eq!(system.commit(done, contents(3)), Ok(None));
        let (due, place) = system.begin(late, at(50)).expect("times out");
        assert_eq!(due, at(150));
        system.pre_commit(late, (CheckpointId(2), contents(1))).expect("open");
        assert_eq!(system.expire(place).map(|(of, _)| of), Some(late));
        assert_eq!(system.expire(place), None);
        assert_eq!(system.commit(late, contents(1)), Err(Refusal::Expired));
        let unknown = system.commit(transaction(0, 9, 1), contents(1));
        assert_eq!(unknown, Err(Refusal::UnknownTransaction));
        assert_eq!(system.expire(0), None, "a committed one does not time out");
    }

    #[test]
    fn older_attempts_are_fenced_off() {
        let mut system = ExternalSystem::new(None);
        // Subtask 3 of an earlier, wider job; subtask 1 of 2 cleans up after it.
        let (kept, left) = (transaction(3, 4, 1), transaction(3, 5, 1));
        flushed(&mut system, kept, 1);
        flushed(&mut system, left, 2);
        let left_overs = LeftOvers {
            operator: SINK,
            subtask: 1,
            parallelism: 2,
            restored: Some(CheckpointId(4)),
            attempt: Attempt(2),
        };
        let aborted = system.abort_left_overs(&left_overs);
        assert_eq!(aborted.iter().map(|(of, _)| *of).collect::<Vec<_>>(), [left]);
        let late = transaction(3, 6, 1);
        assert_eq!(system.begin(late, at(9)), None);
        let refused = system.pre_commit(late, (CheckpointId(6), contents(1)));
        assert_eq!(refused, Err(Refusal::ProducerFenced));
        // What the restored checkpoint holds may be committed by anybody.
        assert!(system.commit(kept, contents(1)).is_ok_and(|it| it.is_some()));
        assert!(system.commit(left, contents(2)).is_err());
        flushed(&mut system, transaction(2, 6, 1), 1);
    }

    #[test]
    fn readers_stop_at_the_oldest_open_transaction() {
        let mut system = ExternalSystem::new(None);
        let [first, second, third] = [0, 1, 2].map(|subtask| transaction(subtask, 1, 1));
        for (of, count) in [(first, 1), (second, 2), (third, 4)] {
            flushed(&mut system, of, count);
        }
        let other = TransactionId { operator: OperatorId(7), ..first };
        flushed(&mut system, other, 8);
        let mut hidden = |commit: TransactionId| {
            system.commit(commit, Fingerprint::EMPTY).expect("open");
            system.hidden(SINK).count
        };
        assert_eq!([hidden(third), hidden(first), hidden(second)], [4, 4, 0]);
        assert_eq!(system.open().map(|(of, _)| of).collect::<Vec<_>>(), [other]);
    }

    #[test]
    fn a_key_takes_a_batch_once() {
        let mut system = ExternalSystem::new(None);
        let update = |key, count| Update { key, delta: contents(count) };
        let batch = transaction(0, 1, 1);
        let both = [update(1, 1), update(2, 2)];
        assert_eq!(system.apply(batch, &both), contents(3));
        assert_eq!(system.apply(batch, &both), Fingerprint::EMPTY);
        assert_eq!(system.apply(transaction(0, 2, 1), &both[..1]), contents(1));
    }
}
