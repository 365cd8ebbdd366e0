//! Commit handles: what a snapshot says of transactions that are still to be committed. In Flink:
//! the pending transactions of `TwoPhaseCommitSinkFunction`, the committables of a `Committer`.

use super::Emitter;
use super::effect::{Effect, TransactionId};
use super::instance::Instance;
use super::record::{Fingerprint, Record, SplitId};
use super::state::{read_fingerprint, write_fingerprint};
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::defect::{Defect, Defects};
use crate::ids::{Attempt, CheckpointId, OperatorId};
use crate::time::VirtualTime;

const HANDLE_BYTES_MIN: usize = 14;

/// For the time being, the checkpoint of a transaction that ended with the input of its writer: of
/// the one that will hold it nobody knows the number yet. Flink: `CommittableMessage.EOI`.
pub(super) const END_OF_INPUT: CheckpointId = CheckpointId(u64::MAX);

/// A transaction that is being written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) transaction: TransactionId,
    pub(super) contents: Fingerprint,
}

impl Open {
    /// Writes a record. Opened with the first one, so that there is no transaction without data.
    /// `last`: the checkpoint that the instance snapshotted last, or was restored from.
    pub(super) fn write(
        open: &mut Option<Self>,
        one: Fingerprint,
        (instance, last): (&Instance, Option<CheckpointId>),
        out: &mut Emitter,
    ) {
        match open {
            Some(open) => open.contents += one,
            None => {
                let transaction = TransactionId::next(instance, last);
                out.effect(Effect::Begin { transaction });
                *open = Some(Self { transaction, contents: one });
            }
        }
    }

    /// The handle of it in a checkpoint.
    pub(super) fn handle(self, checkpoint: CheckpointId) -> Handle {
        let Self { transaction, contents } = self;
        Handle { transaction, checkpoint, contents }
    }

    /// The task ends before its time; the transaction is left to S6.
    pub(super) fn close(open: &mut Option<Self>, defects: Defects, effects: &mut Vec<Effect>) {
        if defects.has(Defect::D71) {
            let commit = |Self { transaction, contents }| Effect::Commit { transaction, contents };
            effects.extend(open.take().map(commit));
        }
    }
}

/// A transaction that is pre-committed, or (at [`END_OF_INPUT`]) is to be with the next checkpoint
/// that may hold it, and is not yet confirmed as committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handle {
    pub(super) transaction: TransactionId,
    /// The first checkpoint that holds it.
    pub(super) checkpoint: CheckpointId,
    pub(super) contents: Fingerprint,
}

impl Handle {
    pub(super) fn pre_commit(&self) -> Effect {
        let Self { transaction, checkpoint, contents } = *self;
        Effect::PreCommit { transaction, checkpoint, contents }
    }

    /// The handle as it travels from writer to committer: as a record, whose fields say other
    /// things. It is as large as what it covers has records.
    pub(super) fn to_record(self) -> Record {
        let TransactionId { operator, subtask, checkpoint, attempt } = self.transaction;
        let count = u32::try_from(self.contents.count);
        Record {
            split: SplitId::new(operator.0, subtask),
            key: attempt.0,
            offset: checkpoint.0,
            path: self.contents.sum,
            event_time: VirtualTime(self.checkpoint.0),
            weight: 1,
            record_bytes: count.expect("a transaction of so many records was written one by one"),
        }
    }

    /// The inverse of `to_record`.
    pub(super) fn of_record(record: &Record) -> Self {
        Self {
            transaction: TransactionId {
                operator: OperatorId(record.split.source()),
                subtask: record.split.index_in_source(),
                checkpoint: CheckpointId(record.offset),
                attempt: Attempt(record.key),
            },
            checkpoint: CheckpointId(record.event_time.0),
            contents: Fingerprint { count: u64::from(record.record_bytes), sum: record.path },
        }
    }

    fn write(&self, out: &mut Encoder) {
        write_transaction(self.transaction, out);
        out.varint(self.checkpoint.0);
        write_fingerprint(self.contents, out);
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let transaction = read_transaction(input)?;
        let checkpoint = CheckpointId(input.varint()?);
        Ok(Self { transaction, checkpoint, contents: read_fingerprint(input)? })
    }
}

pub(super) fn write_transaction(of: TransactionId, out: &mut Encoder) {
    out.varint(u64::from(of.operator.0));
    out.varint(u64::from(of.subtask));
    out.varint(of.checkpoint.0);
    out.varint(u64::from(of.attempt.0));
}

pub(super) fn read_transaction(input: &mut Decoder<'_>) -> Result<TransactionId, DecodeError> {
    Ok(TransactionId {
        operator: OperatorId(input.varint32()?),
        subtask: input.varint32()?,
        checkpoint: CheckpointId(input.varint()?),
        attempt: Attempt(input.varint32()?),
    })
}

/// The handles of one instance, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Handles(Vec<Handle>);

impl Handles {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Handle> {
        self.0.iter()
    }

    pub(super) fn add(&mut self, handle: Handle) {
        self.0.push(handle);
    }

    /// Names the checkpoint that is the first to hold what ended with the input; the answer is what
    /// is to be pre-committed for it. Without alignment it may have come in front of a barrier that its
    /// writer had left behind: that checkpoint, whose number the transaction says, it is not of.
    pub(super) fn name_last(&mut self, checkpoint: CheckpointId) -> impl Iterator<Item = Effect> {
        let last = self.0.iter_mut().filter(move |handle| {
            handle.checkpoint == END_OF_INPUT && handle.transaction.checkpoint <= checkpoint
        });
        last.map(move |handle| {
            handle.checkpoint = checkpoint;
            handle.pre_commit()
        })
    }

    /// The first checkpoint that all that ended with the input can be named after.
    pub(super) fn last_words_from(&self) -> Option<CheckpointId> {
        let last = self.0.iter().filter(|handle| handle.checkpoint == END_OF_INPUT);
        last.map(|handle| handle.transaction.checkpoint).max()
    }

    /// Asks for the commit of all that a checkpoint holds; `None`: of all (S6).
    pub(super) fn commit(
        &self,
        up_to: Option<CheckpointId>,
        defects: Defects,
        effects: &mut Vec<Effect>,
    ) {
        for handle in &self.0 {
            let decided = match defects.has(Defect::D76) {
                true => up_to.is_none_or(|exactly| handle.checkpoint == exactly),
                false => up_to.is_none_or(|up_to| handle.checkpoint <= up_to),
            };
            if decided {
                let Handle { transaction, contents, .. } = *handle;
                effects.push(Effect::Commit { transaction, contents });
            }
        }
    }

    /// The outside has committed it.
    pub(super) fn confirm(&mut self, transaction: TransactionId) {
        self.0.retain(|handle| handle.transaction != transaction);
    }

    /// Drops what was pre-committed, or is to be, for a checkpoint.
    pub(super) fn forget(&mut self, checkpoint: CheckpointId) {
        self.0.retain(|handle| handle.checkpoint != checkpoint);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&Handle) -> bool) {
        self.0.retain(keep);
    }

    /// Takes over what an older attempt had. Appended, not put into a map by subtask: a writer may
    /// have several (Flink: FLINK-29627).
    pub(super) fn restore(&mut self, older: Self, defects: Defects) {
        self.0.extend(older.0);
        if defects.has(Defect::D79) {
            self.0.drain(..self.0.len().saturating_sub(1));
        }
    }

    pub(super) fn write(&self, out: &mut Encoder) {
        out.varint(self.0.len() as u64);
        for handle in &self.0 {
            handle.write(out);
        }
    }

    pub(super) fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self(input.list(HANDLE_BYTES_MIN, Handle::read)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_travels_as_a_record() {
        let transaction = TransactionId {
            operator: OperatorId(65_535),
            subtask: 65_534,
            checkpoint: CheckpointId(1 << 40),
            attempt: Attempt(u32::MAX),
        };
        let contents = Fingerprint { count: 77, sum: u64::MAX };
        let handle = Handle { transaction, checkpoint: CheckpointId((1 << 40) + 3), contents };
        assert_eq!(Handle::of_record(&handle.to_record()), handle);
    }
}
