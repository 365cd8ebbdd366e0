//! The two-phase-commit sink. In Flink: `TwoPhaseCommitSinkFunction`.
//!
//! Concept: what is written between two snapshots is one transaction. B3 pre-commits it and puts
//! its handle into the snapshot; N1 commits it; S6 commits what the restored snapshot holds and
//! aborts everything newer.
//!
//! Invariants:
//! - a pre-committed transaction is in every snapshot until its commit is confirmed;
//! - nothing is committed before a checkpoint that holds it is complete, and completion of n
//!   commits all pending transactions up to n: notifications may be lost or subsumed;
//! - an aborted checkpoint rolls nothing back: its transaction waits for the next one.

use super::effect::{Effect, LeftOvers, TransactionId};
use super::handle::{Handles, Open};
use super::instance::Instance;
use super::record::{Fingerprint, Record};
use super::state::{Format, read_fingerprint, write_fingerprint};
use super::{Emitter, Operator, RestoreError, Snapshot, StateEntry};
use crate::defect::Defect;
use crate::ids::CheckpointId;

const FORMAT: Format = Format { operator: "a two-phase-commit sink", magic: *b"CLs2", version: 1 };

/// Writes into transactions that become visible when a checkpoint that holds them completes.
#[derive(Clone, Debug)]
pub struct TwoPhaseCommitSink {
    instance: Instance,
    processed: Fingerprint,
    open: Option<Open>,
    pending: Handles,
    /// The checkpoint snapshotted last, or restored from.
    last: Option<CheckpointId>,
}

impl TwoPhaseCommitSink {
    /// A sink that has written nothing.
    pub fn new(instance: Instance) -> Self {
        let (processed, pending) = (Fingerprint::EMPTY, Handles::default());
        Self { instance, processed, open: None, pending, last: None }
    }

    /// The transactions that are pre-committed and not confirmed, oldest first.
    pub fn pending(&self) -> impl Iterator<Item = TransactionId> {
        self.pending.iter().map(|handle| handle.transaction)
    }
}

impl Operator for TwoPhaseCommitSink {
    fn process(&mut self, _input: u32, record: &Record, out: &mut Emitter) {
        let one = Fingerprint::of(record.identity());
        self.processed += one;
        Open::write(&mut self.open, one, (&self.instance, self.last), out);
    }

    fn snapshot(&mut self, checkpoint: CheckpointId, out: &mut Snapshot) {
        // The first write has not been confirmed yet when a barrier stands right behind it.
        let seems_empty =
            |open: &Open| self.instance.defects.has(Defect::D81) && open.contents.count == 1;
        if let Some(open) = self.open.take_if(|open| !seems_empty(open)) {
            let handle = open.handle(checkpoint);
            self.pending.add(handle);
            out.effects.push(handle.pre_commit());
        }
        self.open = None;
        self.last = self.last.max(Some(checkpoint));
        let mut state = FORMAT.write(&self.instance);
        write_fingerprint(self.processed, &mut state);
        self.pending.write(&mut state);
        out.state = state.seal();
        out.nominal = out.state.len() as u64;
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        let (writer, processed, pending) = FORMAT.read(state, |input, writer| {
            let processed = read_fingerprint(input)?;
            Ok((writer, processed, Handles::read(input)?))
        })?;
        if self.instance.owns_part(writer) {
            self.processed += processed;
            self.pending.restore(pending, self.instance.defects);
        }
        Ok(())
    }

    fn open(&mut self, restored: Option<CheckpointId>, effects: &mut Vec<Effect>) {
        self.last = restored;
        let forgets = self.instance.defects.has(Defect::D78);
        if forgets {
            self.pending.clear();
        }
        self.pending.commit(None, self.instance.defects, effects);
        // An id that nobody else can guess is one that nobody can look for.
        if self.instance.defects.has(Defect::D77) {
            return;
        }
        let mut left = LeftOvers::of(&self.instance, restored.filter(|_| !forgets));
        // A number that no subtask is equal to but modulo itself: only its own, and for ever.
        if self.instance.defects.has(Defect::D80) {
            left.parallelism = u32::MAX;
        }
        effects.push(Effect::AbortLeftOvers(left));
    }

    fn notify_complete(&mut self, checkpoint: CheckpointId, effects: &mut Vec<Effect>) {
        self.pending.commit(Some(checkpoint), self.instance.defects, effects);
    }

    fn notify_aborted(&mut self, checkpoint: CheckpointId, _effects: &mut Vec<Effect>) {
        if self.instance.defects.has(Defect::D70) {
            self.pending.forget(checkpoint);
        }
    }

    fn committed(&mut self, transaction: TransactionId) {
        self.pending.confirm(transaction);
    }

    fn close(&mut self, effects: &mut Vec<Effect>) {
        Open::close(&mut self.open, self.instance.defects, effects);
    }

    fn fingerprint(&self) -> Fingerprint {
        self.processed
    }

    fn visit(&self, visitor: &mut dyn FnMut(StateEntry)) {
        visitor(StateEntry::unkeyed("processed", self.processed));
        for handle in self.pending.iter() {
            visitor(StateEntry::unkeyed("pending", handle.contents));
        }
        if let Some(open) = &self.open {
            visitor(StateEntry::unkeyed("open", open.contents));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::record;
    use super::*;
    use crate::defect::Defects;
    use crate::ids::{Attempt, OperatorId};

    /// One call to a sink; `Record` writes one record.
    #[derive(Clone, Copy)]
    enum Call {
        Open(Option<u64>),
        Record,
        Snapshot(u64),
        Complete(u64),
        Aborted(u64),
        /// The outside confirms the commit of the transaction numbered so.
        Committed(u64),
    }

    fn sink(subtask: u32, parallelism: u32, attempt: u32) -> TwoPhaseCommitSink {
        TwoPhaseCommitSink::new(Instance {
            operator: OperatorId(2),
            subtask,
            parallelism,
            max_parallelism: 128,
            attempt: Attempt(attempt),
            defects: Defects::none(),
        })
    }

    fn text(effect: &Effect) -> String {
        match effect {
            Effect::Begin { transaction } => format!("begin{}", transaction.checkpoint.0),
            Effect::PreCommit { transaction, checkpoint, contents } => {
                format!("pre{}@{}:{}", transaction.checkpoint.0, checkpoint.0, contents.count)
            }
            Effect::Commit { transaction, .. } => format!("commit{}", transaction.checkpoint.0),
            Effect::AbortLeftOvers(left) => {
                format!("abort>{}", left.restored.map_or(0, |restored| restored.0))
            }
            Effect::Close { .. }
            | Effect::Apply { .. }
            | Effect::Call { .. }
            | Effect::Upsert(_)
            | Effect::Append(_) => unreachable!("no effect of this sink"),
        }
    }

    fn play(sink: &mut TwoPhaseCommitSink, calls: &[Call]) -> String {
        let (mut effects, mut out) = (Vec::new(), Emitter::default());
        for call in calls {
            match *call {
                Call::Open(restored) => sink.open(restored.map(CheckpointId), &mut effects),
                Call::Record => {
                    sink.process(0, &record(0, sink.processed.count, 7), &mut out);
                    effects.extend_from_slice(out.effects());
                    out.clear();
                }
                Call::Snapshot(checkpoint) => {
                    let mut snapshot = Snapshot::default();
                    sink.snapshot(CheckpointId(checkpoint), &mut snapshot);
                    effects.append(&mut snapshot.effects);
                }
                Call::Complete(id) => sink.notify_complete(CheckpointId(id), &mut effects),
                Call::Aborted(id) => sink.notify_aborted(CheckpointId(id), &mut effects),
                Call::Committed(number) => {
                    let named = |it: &TransactionId| it.checkpoint == CheckpointId(number);
                    let transaction = sink.pending().find(named).expect("it is pending");
                    sink.committed(transaction);
                }
            }
        }
        effects.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_outside_sees_a_transaction_once_its_checkpoint_cannot_be_lost() {
        use Call::{Aborted, Committed, Complete, Open, Record, Snapshot};
        let cases: [(&str, &[Call], &str); 7] = [
            (
                "clean",
                &[Open(None), Record, Record, Snapshot(1), Complete(1)],
                "abort>0 begin1 pre1@1:2 commit1",
            ),
            ("no data, no transaction", &[Open(None), Snapshot(1), Complete(1)], "abort>0"),
            (
                "a lost notification is made good by the next",
                &[Record, Snapshot(4), Record, Snapshot(5), Complete(5)],
                "begin1 pre1@4:1 begin5 pre5@5:1 commit1 commit5",
            ),
            (
                "two checkpoints in progress, the older completes",
                &[Record, Snapshot(4), Record, Snapshot(5), Complete(4)],
                "begin1 pre1@4:1 begin5 pre5@5:1 commit1",
            ),
            (
                "an abort rolls nothing back",
                &[Record, Snapshot(4), Aborted(4), Record, Snapshot(6), Complete(6)],
                "begin1 pre1@4:1 begin5 pre5@6:1 commit1 commit5",
            ),
            (
                "confirmed is forgotten, unconfirmed is repeated",
                &[Record, Snapshot(1), Record, Snapshot(2), Complete(2), Committed(1), Complete(3)],
                "begin1 pre1@1:1 begin2 pre2@2:1 commit1 commit2 commit2",
            ),
            ("restored", &[Open(Some(9)), Record, Snapshot(12)], "abort>9 begin10 pre10@12:1"),
        ];
        for (name, calls, expected) in cases {
            assert_eq!(play(&mut sink(0, 1, 0), calls), expected, "{name}");
        }
    }

    #[test]
    fn recovery_commits_what_the_snapshot_holds_and_aborts_the_rest() {
        use Call::{Open, Record};
        // Four subtasks have two uncommitted transactions each; two successors take over.
        let mut states = Vec::new();
        let mut left_open = Vec::new();
        for subtask in 0..4 {
            let mut old = sink(subtask, 4, 1);
            play(&mut old, &[Open(None), Record, Call::Snapshot(3), Record]);
            let mut snapshot = Snapshot::default();
            old.snapshot(CheckpointId(5), &mut snapshot);
            states.push(snapshot.state);
            play(&mut old, &[Record]);
            left_open.push(old.open.expect("a record was written").transaction);
        }
        let mut committed = 0;
        for subtask in 0..2 {
            let mut new = sink(subtask, 2, 2);
            for state in &states {
                new.restore(state).expect("as written");
            }
            let mut effects = Vec::new();
            new.open(Some(CheckpointId(5)), &mut effects);
            let Some(Effect::AbortLeftOvers(left)) = effects.pop() else {
                panic!("the abort comes last: {effects:?}");
            };
            committed += effects.len();
            for transaction in new.pending() {
                assert_eq!(transaction.subtask % 2, subtask);
                assert!(!left.contains(&transaction), "a handle of the snapshot is kept");
            }
            for transaction in &left_open {
                assert_eq!(left.contains(transaction), transaction.subtask % 2 == subtask);
            }
            assert_eq!(new.fingerprint().count, 4, "two old subtasks with two records each");
        }
        assert_eq!(committed, 8);
    }
}
