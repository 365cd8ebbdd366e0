//! A sink that writes batches, each known by its epoch, into a store that skips what it has seen.
//! In Flink: `GenericWriteAheadSink` with its `CheckpointCommitter`; in Storm: Trident's map state.
//!
//! Concept: updates are collected by key between two snapshots. B3 closes the batch and puts it into
//! the snapshot; N1 and S6 apply it. The store keeps with every key the last batch that changed it,
//! so that a batch which is applied again, because nobody heard of its end, changes nothing.
//!
//! Invariants:
//! - a batch has one update for a key: the guard is asked once for each, not once for each record;
//! - a batch keeps the name under which it was closed, whoever applies it.

use super::effect::{Effect, TransactionId, Update};
use super::handle::{read_transaction, write_transaction};
use super::instance::Instance;
use super::record::{Fingerprint, Record};
use super::state::{Format, read_fingerprint, write_fingerprint};
use super::{Emitter, Operator, RestoreError, Snapshot, StateEntry};
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::defect::Defect;
use crate::ids::CheckpointId;

const FORMAT: Format = Format { operator: "a write-ahead sink", magic: *b"CLwa", version: 1 };
const BATCH_BYTES_MIN: usize = 6;
const UPDATE_BYTES_MIN: usize = 10;

/// Collects updates by key and applies them, batch by batch, when a checkpoint completes.
#[derive(Clone, Debug)]
pub struct WriteAheadSink {
    instance: Instance,
    processed: Fingerprint,
    /// In the order of the first record of each key.
    collected: Vec<Update>,
    closed: Vec<Batch>,
}

/// A batch that is not yet confirmed as applied.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Batch {
    /// Its checkpoint is the epoch: the first one that holds it.
    id: TransactionId,
    updates: Vec<Update>,
}

impl WriteAheadSink {
    /// A sink that has written nothing.
    pub fn new(instance: Instance) -> Self {
        Self { instance, processed: Fingerprint::EMPTY, collected: Vec::new(), closed: Vec::new() }
    }

    fn apply(&self, up_to: Option<CheckpointId>, effects: &mut Vec<Effect>) {
        let decided = |batch: &&Batch| up_to.is_none_or(|up_to| batch.id.checkpoint <= up_to);
        for Batch { id, updates } in self.closed.iter().filter(decided) {
            let mut batch = *id;
            // The run that applies, in the place of the one that has closed.
            if self.instance.defects.has(Defect::D74) {
                batch.attempt = self.instance.attempt;
            }
            effects.push(Effect::Apply { batch, updates: updates.clone() });
        }
    }
}

impl Operator for WriteAheadSink {
    fn process(&mut self, _input: u32, record: &Record, _out: &mut Emitter) {
        let delta = Fingerprint::of(record.identity());
        self.processed += delta;
        let known = self.collected.iter_mut().find(|update| update.key == record.key);
        match known.filter(|_| !self.instance.defects.has(Defect::D75)) {
            Some(update) => update.delta += delta,
            None => self.collected.push(Update { key: record.key, delta }),
        }
    }

    fn snapshot(&mut self, checkpoint: CheckpointId, out: &mut Snapshot) {
        if !self.collected.is_empty() {
            let id = TransactionId { checkpoint, ..TransactionId::next(&self.instance, None) };
            let updates = std::mem::take(&mut self.collected);
            out.effects.push(Effect::Close { batch: id, contents: sum(&updates) });
            self.closed.push(Batch { id, updates });
        }
        let mut state = FORMAT.write(&self.instance);
        write_fingerprint(self.processed, &mut state);
        state.varint(self.closed.len() as u64);
        for batch in &self.closed {
            batch.write(&mut state);
        }
        out.state = state.seal();
        out.nominal = out.state.len() as u64;
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        let (writer, processed, closed) = FORMAT.read(state, |input, writer| {
            let processed = read_fingerprint(input)?;
            Ok((writer, processed, input.list(BATCH_BYTES_MIN, Batch::read)?))
        })?;
        if self.instance.owns_part(writer) {
            self.processed += processed;
            self.closed.extend(closed);
        }
        Ok(())
    }

    fn open(&mut self, _restored: Option<CheckpointId>, effects: &mut Vec<Effect>) {
        self.apply(None, effects);
    }

    fn notify_complete(&mut self, checkpoint: CheckpointId, effects: &mut Vec<Effect>) {
        self.apply(Some(checkpoint), effects);
    }

    /// By operator, subtask and epoch: these name a batch once and for all, also where the rest of
    /// its name was changed on the way.
    fn committed(&mut self, transaction: TransactionId) {
        let TransactionId { subtask, checkpoint, .. } = transaction;
        self.closed.retain(|it| (it.id.subtask, it.id.checkpoint) != (subtask, checkpoint));
    }

    fn fingerprint(&self) -> Fingerprint {
        self.processed
    }

    fn visit(&self, visitor: &mut dyn FnMut(StateEntry)) {
        visitor(StateEntry::unkeyed("processed", self.processed));
        for batch in &self.closed {
            visitor(StateEntry::unkeyed("pending", sum(&batch.updates)));
        }
        if !self.collected.is_empty() {
            visitor(StateEntry::unkeyed("open", sum(&self.collected)));
        }
    }
}

impl Batch {
    fn write(&self, out: &mut Encoder) {
        write_transaction(self.id, out);
        out.varint(self.updates.len() as u64);
        for update in &self.updates {
            out.varint(u64::from(update.key));
            write_fingerprint(update.delta, out);
        }
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let id = read_transaction(input)?;
        let updates = input.list(UPDATE_BYTES_MIN, |input| {
            Ok(Update { key: input.varint32()?, delta: read_fingerprint(input)? })
        })?;
        Ok(Self { id, updates })
    }
}

fn sum(updates: &[Update]) -> Fingerprint {
    updates.iter().fold(Fingerprint::EMPTY, |sum, update| sum + update.delta)
}

#[cfg(test)]
mod tests {
    use super::super::testing::record;
    use super::*;
    use crate::ids::{Attempt, OperatorId};

    fn sink(attempt: u32) -> WriteAheadSink {
        let attempt = Attempt(attempt);
        WriteAheadSink::new(Instance { attempt, ..Instance::single(OperatorId(3)) })
    }

    /// Epoch, attempt and updates of a batch.
    type Applied = (u64, u32, Vec<(u32, u64)>);

    /// The batches that are to be applied.
    fn applied(effects: &[Effect]) -> Vec<Applied> {
        let of = |effect: &Effect| match effect {
            Effect::Apply { batch, updates } => Some((
                batch.checkpoint.0,
                batch.attempt.0,
                updates.iter().map(|update| (update.key, update.delta.count)).collect(),
            )),
            _ => None,
        };
        effects.iter().filter_map(of).collect()
    }

    #[test]
    fn a_batch_has_one_update_a_key_and_one_name_for_ever() {
        let mut sink_1 = sink(1);
        let (mut out, mut effects) = (Emitter::default(), Vec::new());
        for (offset, key) in [(0, 5), (1, 6), (2, 5)] {
            sink_1.process(0, &record(0, offset, key), &mut out);
        }
        assert!(out.effects().is_empty(), "nothing is seen before a checkpoint completes");
        sink_1.snapshot(CheckpointId(4), &mut Snapshot::default());
        sink_1.process(0, &record(0, 3, 6), &mut out);
        let mut snapshot = Snapshot::default();
        sink_1.snapshot(CheckpointId(6), &mut snapshot);
        sink_1.notify_complete(CheckpointId(5), &mut effects);
        let first = (4, 1, vec![(5, 2), (6, 1)]);
        let second = (6, 1, vec![(6, 1)]);
        assert_eq!(applied(&effects), std::slice::from_ref(&first));

        let mut sink_2 = sink(2);
        sink_2.restore(&snapshot.state).expect("as written");
        effects.clear();
        sink_2.open(Some(CheckpointId(6)), &mut effects);
        assert_eq!(applied(&effects), [first, second.clone()]);
        let Some(batch) = effects[0].transaction() else { panic!("a batch has a name") };
        sink_2.committed(batch);
        effects.clear();
        sink_2.notify_complete(CheckpointId(9), &mut effects);
        assert_eq!(applied(&effects), [second]);
        assert_eq!(sink_2.fingerprint(), sink_1.fingerprint());
    }
}
