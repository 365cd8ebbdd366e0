//! The committing half of a sink: takes the handles that writers send, and commits them once the
//! checkpoint that holds them cannot be lost. In Flink: `CommitterOperator` with a `Committer`.
//!
//! Invariants:
//! - a handle is in every snapshot from the checkpoint it came with until its commit is confirmed;
//! - nothing is committed before a checkpoint that holds it is complete, and completion of n
//!   commits all handles up to n;
//! - what a writer wrote last is pre-committed for the first checkpoint that it had not left behind,
//!   whether or not it lives to see that one.
//!
//! The edges to a committer are aligned whatever the checkpoint (Flink: `StreamPartitioner#
//! disableUnalignedCheckpoints`, since FLINK-36287): all handles of n are here when its barrier is.

use super::effect::{Effect, TransactionId};
use super::handle::{END_OF_INPUT, Handle, Handles};
use super::instance::Instance;
use super::record::{Fingerprint, Record};
use super::state::Format;
use super::{Emitter, Operator, RestoreError, Snapshot, StateEntry};
use crate::defect::Defect;
use crate::ids::CheckpointId;

const FORMAT: Format = Format { operator: "a committer", magic: *b"CLcm", version: 1 };

/// Commits what [`SinkWriter`](super::SinkWriter)s have pre-committed.
#[derive(Clone, Debug)]
pub struct Committer {
    instance: Instance,
    pending: Handles,
}

impl Committer {
    /// A committer that knows of no transaction.
    pub fn new(instance: Instance) -> Self {
        Self { instance, pending: Handles::default() }
    }

    /// The transactions that are handed over and not confirmed, oldest first.
    pub fn pending(&self) -> impl Iterator<Item = TransactionId> {
        self.pending.iter().map(|handle| handle.transaction)
    }
}

impl Operator for Committer {
    fn process(&mut self, _input: u32, record: &Record, _out: &mut Emitter) {
        self.pending.add(Handle::of_record(record));
    }

    fn snapshot(&mut self, checkpoint: CheckpointId, out: &mut Snapshot) {
        out.effects.extend(self.pending.name_last(checkpoint));
        let mut state = FORMAT.write(&self.instance);
        self.pending.write(&mut state);
        out.state = state.seal();
        out.nominal = out.state.len() as u64;
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        let (committer, pending) =
            FORMAT.read(state, |input, committer| Ok((committer, Handles::read(input)?)))?;
        if self.instance.owns_part(committer) {
            self.pending.restore(pending, self.instance.defects);
        }
        Ok(())
    }

    /// Commits what the restored checkpoint holds (S6). What ended with the input behind its writer's
    /// part of that checkpoint was never flushed: the writer goes back behind it, aborts it, and
    /// writes those records once more.
    ///
    /// Deviation: Flink's writer has flushed it, and its committer keeps it for when the input has
    /// ended again: those records are visible twice (at least once).
    fn open(&mut self, _restored: Option<CheckpointId>, effects: &mut Vec<Effect>) {
        self.pending.forget(END_OF_INPUT);
        if self.instance.defects.has(Defect::D78) {
            self.pending.clear();
        }
        // The slot of a writer that has failed is emptied.
        if self.instance.defects.has(Defect::D82) {
            let attempt = self.instance.attempt;
            self.pending.retain(|handle| handle.transaction.attempt == attempt);
        }
        self.pending.commit(None, self.instance.defects, effects);
    }

    fn notify_complete(&mut self, checkpoint: CheckpointId, effects: &mut Vec<Effect>) {
        self.pending.commit(Some(checkpoint), self.instance.defects, effects);
    }

    fn notify_aborted(&mut self, checkpoint: CheckpointId, _effects: &mut Vec<Effect>) {
        if self.instance.defects.has(Defect::D70) {
            self.pending.forget(checkpoint);
        }
    }

    /// Without alignment all inputs may end ahead of the last barrier of a checkpoint that others had
    /// left behind already: what they wrote after it waits for the next.
    fn least_final_checkpoint(&self) -> Option<CheckpointId> {
        self.pending.last_words_from()
    }

    fn committed(&mut self, transaction: TransactionId) {
        self.pending.confirm(transaction);
    }

    /// Of nothing: what is still to be committed depends on when checkpoints are taken. That none
    /// is lost is seen outside.
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::EMPTY
    }

    fn visit(&self, visitor: &mut dyn FnMut(StateEntry)) {
        for handle in self.pending.iter() {
            visitor(StateEntry::unkeyed("pending", handle.contents));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::record;
    use super::super::{LeftOvers, SinkWriter};
    use super::*;
    use crate::ids::{Attempt, OperatorId};

    fn instance(operator: u32, subtask: u32, parallelism: u32, attempt: u32) -> Instance {
        let attempt = Attempt(attempt);
        Instance { subtask, parallelism, attempt, ..Instance::single(OperatorId(operator)) }
    }

    /// A writer writes one record and takes its part of a checkpoint; the committer gets what the
    /// writer sends in front of the barrier.
    fn write(writer: &mut SinkWriter, committer: &mut Committer, checkpoint: u64) {
        let mut out = Emitter::default();
        writer.process(0, &record(0, checkpoint, 7), &mut out);
        writer.prepare_snapshot(CheckpointId(checkpoint), &mut out);
        writer.snapshot(CheckpointId(checkpoint), &mut Snapshot::default());
        let records = out.records().to_vec();
        for handle in &records {
            committer.process(0, handle, &mut Emitter::default());
        }
        assert_eq!(records.len(), 1);
    }

    fn commits(effects: &[Effect]) -> Vec<TransactionId> {
        let commit = |effect: &Effect| match effect {
            Effect::Commit { transaction, .. } => Some(*transaction),
            _ => None,
        };
        effects.iter().filter_map(commit).collect()
    }

    #[test]
    fn completion_commits_what_came_with_it_and_before() {
        let mut committer = Committer::new(instance(2, 0, 1, 1));
        let mut writers = [0, 1].map(|subtask| SinkWriter::new(instance(1, subtask, 2, 1)));
        for writer in &mut writers {
            writer.open(None, &mut Vec::new());
            write(writer, &mut committer, 1);
            write(writer, &mut committer, 2);
            write(writer, &mut committer, 3);
        }
        let mut effects = Vec::new();
        committer.notify_complete(CheckpointId(2), &mut effects);
        let asked = commits(&effects);
        assert_eq!(asked.len(), 4);
        assert!(asked.iter().all(|transaction| transaction.checkpoint <= CheckpointId(2)));
        committer.committed(asked[0]);
        let left: Vec<_> = committer.pending().collect();
        assert!(left.len() == 5 && !left.contains(&asked[0]));
    }

    #[test]
    fn a_restored_committer_commits_and_a_restored_writer_aborts_the_rest() {
        let mut committer = Committer::new(instance(2, 0, 1, 1));
        let mut writer = SinkWriter::new(instance(1, 0, 1, 1));
        write(&mut writer, &mut committer, 1);
        let mut snapshot = Snapshot::default();
        committer.snapshot(CheckpointId(1), &mut snapshot);
        let mut out = Emitter::default();
        writer.process(0, &record(0, 9, 7), &mut out);
        let Some(Effect::Begin { transaction: open }) = out.effects().first().cloned() else {
            panic!("the first record begins a transaction");
        };

        let mut committer = Committer::new(instance(2, 0, 1, 2));
        committer.restore(&snapshot.state).expect("as written");
        let mut effects = Vec::new();
        committer.open(Some(CheckpointId(1)), &mut effects);
        let committed = commits(&effects);
        SinkWriter::new(instance(1, 0, 1, 2)).open(Some(CheckpointId(1)), &mut effects);
        let Some(Effect::AbortLeftOvers(left)) = effects.pop() else {
            panic!("a writer looks for what is left over");
        };
        assert_eq!(committed.len(), 1);
        assert!(LeftOvers::contains(&left, &open) && !left.contains(&committed[0]));
    }

    #[test]
    fn what_ended_with_the_input_belongs_to_the_checkpoint_that_holds_it() {
        let mut writer = SinkWriter::new(instance(1, 0, 1, 1));
        writer.open(Some(CheckpointId(4)), &mut Vec::new());
        let mut out = Emitter::default();
        writer.process(0, &record(0, 1, 7), &mut out);
        out.clear();
        writer.finish(&mut out);
        assert!(out.effects().is_empty(), "nobody knows yet which checkpoint will be next");
        let mut committer = Committer::new(instance(2, 0, 1, 1));
        committer.process(0, &out.records()[0], &mut Emitter::default());
        out.clear();
        writer.prepare_snapshot(CheckpointId(7), &mut out);
        assert!(out.records().is_empty() && out.effects().is_empty(), "it was handed over once");

        // One that was cut in front of it says nothing of it.
        let mut effects = Vec::new();
        committer.notify_complete(CheckpointId(6), &mut effects);
        assert!(effects.is_empty(), "{effects:?}");
        // Without alignment it may be there ahead of a barrier that its writer has left behind.
        for (checkpoint, first) in [(4, false), (7, true), (8, false)] {
            let mut snapshot = Snapshot::default();
            committer.snapshot(CheckpointId(checkpoint), &mut snapshot);
            let named = snapshot.effects.iter().map(|effect| match effect {
                Effect::PreCommit { checkpoint, .. } => checkpoint.0,
                other => panic!("{other:?}"),
            });
            let named: Vec<u64> = named.collect();
            assert_eq!(named, if first { vec![checkpoint] } else { vec![] });
        }
        committer.notify_complete(CheckpointId(7), &mut effects);
        assert_eq!(commits(&effects).len(), 1);
    }

    #[test]
    fn what_ended_with_the_input_behind_the_restored_checkpoint_is_written_again() {
        let mut writer = SinkWriter::new(instance(1, 0, 1, 1));
        let mut committer = Committer::new(instance(2, 0, 1, 1));
        writer.open(None, &mut Vec::new());
        write(&mut writer, &mut committer, 1);
        // Without alignment the end of the writer overtakes another one's barrier.
        let mut out = Emitter::default();
        writer.process(0, &record(0, 2, 7), &mut out);
        out.clear();
        writer.finish(&mut out);
        let last = Handle::of_record(&out.records()[0]);
        committer.process(0, &out.records()[0], &mut Emitter::default());
        let mut snapshot = Snapshot::default();
        committer.snapshot(CheckpointId(1), &mut snapshot);

        let mut committer = Committer::new(instance(2, 0, 1, 2));
        committer.restore(&snapshot.state).expect("as written");
        let mut effects = Vec::new();
        committer.open(Some(CheckpointId(1)), &mut effects);
        let committed = commits(&effects);
        assert_eq!(committed.len(), 1);
        assert!(!committed.contains(&last.transaction), "nobody has flushed it");
        committer.committed(committed[0]);
        assert_eq!(committer.pending().count(), 0);
        SinkWriter::new(instance(1, 0, 1, 2)).open(Some(CheckpointId(1)), &mut effects);
        let Some(Effect::AbortLeftOvers(left)) = effects.pop() else {
            panic!("a writer looks for what is left over");
        };
        assert!(left.contains(&last.transaction));
    }
}
