//! The writing half of a sink whose commits are made by a committer downstream. In Flink: the
//! `SinkWriter` of a `SupportsCommitter`, run by `SinkWriterOperator`.
//!
//! Concept: what is written between two snapshots is one transaction. Ahead of the barrier of n it
//! is pre-committed, and its handle is sent to the committer, so that the committer's part of n
//! holds it. The writer itself keeps nothing of it.
//!
//! Invariants:
//! - a transaction is handed over once, in front of the barrier of the first checkpoint it is in,
//!   or as the last thing before the end of data;
//! - at S6 the writer aborts what no restored committer can know of.

use super::effect::{Effect, LeftOvers};
use super::handle::{END_OF_INPUT, Open};
use super::instance::Instance;
use super::processed::Processed;
use super::record::{Fingerprint, Record};
use super::state::Format;
use super::{Emitter, Operator, RestoreError, Snapshot, StateEntry};
use crate::defect::Defect;
use crate::ids::CheckpointId;

const FORMAT: Format = Format { operator: "a sink writer", magic: *b"CLsw", version: 1 };

/// Writes into transactions and tells a [`Committer`](super::Committer) of them.
#[derive(Clone, Debug)]
pub struct SinkWriter {
    processed: Processed,
    open: Option<Open>,
    /// The checkpoint snapshotted last, or restored from.
    last: Option<CheckpointId>,
}

impl SinkWriter {
    /// A writer that has written nothing.
    pub fn new(instance: Instance) -> Self {
        let processed = Processed::new(instance);
        Self { processed, open: None, last: None }
    }
}

impl Operator for SinkWriter {
    fn process(&mut self, _input: u32, record: &Record, out: &mut Emitter) {
        let one = self.processed.note(record);
        Open::write(&mut self.open, one, (&self.processed.instance, self.last), out);
    }

    fn prepare_snapshot(&mut self, checkpoint: CheckpointId, out: &mut Emitter) {
        if let Some(open) = self.open.take() {
            out.effect(open.handle(checkpoint).pre_commit());
            out.emit(open.handle(checkpoint).to_record());
        }
    }

    fn snapshot(&mut self, checkpoint: CheckpointId, out: &mut Snapshot) {
        self.last = self.last.max(Some(checkpoint));
        self.processed.snapshot(&FORMAT, out);
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        self.processed.restore(&FORMAT, state)
    }

    fn open(&mut self, restored: Option<CheckpointId>, effects: &mut Vec<Effect>) {
        self.last = restored;
        // An id that nobody else can guess is one that nobody can look for.
        if self.processed.instance.defects.has(Defect::D77) {
            return;
        }
        effects.push(Effect::AbortLeftOvers(LeftOvers::of(&self.processed.instance, restored)));
    }

    /// Flink: `SinkWriterOperator#endInput`. Behind the end of data nothing can be sent any more, so
    /// the handle goes now, for whichever checkpoint will be the next.
    ///
    /// Deviation: Flink flushes here. To the external system of this world a flush names its
    /// checkpoint, so the committer does it, who is there when that is known.
    fn finish(&mut self, out: &mut Emitter) {
        if let Some(open) = self.open.take() {
            out.emit(open.handle(END_OF_INPUT).to_record());
        }
    }

    fn close(&mut self, effects: &mut Vec<Effect>) {
        Open::close(&mut self.open, self.processed.instance.defects, effects);
    }

    fn fingerprint(&self) -> Fingerprint {
        self.processed.sum
    }

    fn visit(&self, visitor: &mut dyn FnMut(StateEntry)) {
        self.processed.visit(visitor);
        if let Some(open) = &self.open {
            visitor(StateEntry::unkeyed("open", open.contents));
        }
    }
}
