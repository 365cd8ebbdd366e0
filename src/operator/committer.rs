//! The committing half of a sink: takes the handles that writers send, and commits them once the
//! checkpoint that holds them cannot be lost. In Flink: `CommitterOperator` with a `Committer`.
//!
//! Invariants:
//! - a handle is in every snapshot from the checkpoint it came with until its commit is confirmed;
//! - nothing is committed before a checkpoint that holds it is complete, and completion of n
//!   commits all handles up to n.
//!
//! The edges to a committer are aligned whatever the checkpoint (Flink: `StreamPartitioner#
//! disableUnalignedCheckpoints`, since FLINK-36287): all handles of n are here when its barrier is.

use super::effect::{Effect, TransactionId};
use super::handle::{Handle, Handles};
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

    fn snapshot(&mut self, _checkpoint: CheckpointId, out: &mut Snapshot) {
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

    fn open(&mut self, _restored: Option<CheckpointId>, effects: &mut Vec<Effect>) {
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
            let Fingerprint { count, sum: digest } = handle.contents;
            let what = "pending";
            visitor(StateEntry { what, key: None, split: None, path: 0, count, digest });
        }
    }
}
