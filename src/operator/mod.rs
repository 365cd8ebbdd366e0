//! Operators: what users' code does with records, and the seam for their own.
//!
//! An operator never sees channels, barriers or other subtasks. It gets records, emits records,
//! hands out its state at B3 and takes it back at R4; sinks say what the outside is to see, as
//! values ([`Effect`]), never as calls.
//!
//! The life of one instance: `restore` for each part of an older state, `open` once, then
//! `process`, `snapshot`, `notify_*` and `committed` in any order, `finish` when all inputs have
//! ended, and after that snapshots and notifications only (the final checkpoint).

mod aggregate;
mod async_wait;
mod broadcast_join;
mod buffer;
mod chain;
mod committer;
mod effect;
mod filter;
mod flat_map;
mod handle;
mod instance;
mod join;
mod list_state;
mod map;
mod order;
pub mod path;
mod processed;
mod record;
mod reference;
mod sink_append;
mod sink_idempotent;
mod sink_two_phase;
mod sink_write_ahead;
mod sink_writer;
mod source;
mod state;
mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod window;

use std::fmt;

use crate::codec::DecodeError;
use crate::ids::CheckpointId;
use crate::time::VirtualTime;

pub use aggregate::Aggregate;
pub use async_wait::{AsyncWait, CallOptions, Caller};
pub use broadcast_join::{BroadcastJoin, RULES};
pub use buffer::Buffer;
pub use chain::Chain;
pub use committer::Committer;
pub use effect::{Effect, LeftOvers, TransactionId, Update};
pub use filter::Filter;
pub use flat_map::FlatMap;
pub use instance::Instance;
pub use join::{JOINED, Join};
pub use map::Map;
pub use order::{Behaviour, Order, orders, promises_order};
pub use record::{Fingerprint, Record, SplitId, TimeMark, mix};
pub use reference::Reference;
pub use sink_append::AppendSink;
pub use sink_idempotent::IdempotentSink;
pub use sink_two_phase::TwoPhaseCommitSink;
pub use sink_write_ahead::WriteAheadSink;
pub use sink_writer::SinkWriter;
pub use source::{Source, SourceOptions, SplitReader, StartupMode, WatermarkOptions};
pub use table::{Table, TableKey};
pub use window::{WINDOWED, Window, WindowOptions};

/// One parallel instance of an operator: implement this to bring your own.
///
/// Whatever an operator does must be a function of the records, the restored state and the calls
/// it got: no clock, no randomness, no hash-map order.
pub trait Operator: fmt::Debug + Send {
    /// Takes one record of input `input`. What it emits, and what the outside is to see at once,
    /// goes to `out`.
    fn process(&mut self, input: u32, record: &Record, out: &mut Emitter);

    /// No record with this event time or an earlier one is to come. Fires timers, then sends the
    /// watermark on, as a [`Record::of_mark`]; or holds it back behind what it has yet to emit.
    /// Flink: `AbstractStreamOperator#processWatermark`.
    fn on_watermark(&mut self, watermark: VirtualTime, out: &mut Emitter) {
        out.emit(Record::of_mark(TimeMark::Watermark(watermark)));
    }

    /// Ahead of B3 and B4: what is emitted here goes in front of the barrier, so that those
    /// downstream have it in the same checkpoint. Flink: `prepareSnapshotPreBarrier`.
    fn prepare_snapshot(&mut self, checkpoint: CheckpointId, out: &mut Emitter) {
        let _ = (checkpoint, out);
    }

    /// B3: writes the whole state, as bytes that can be read without anything else. Sinks
    /// pre-commit here. The caller hands in an empty `out`.
    fn snapshot(&mut self, checkpoint: CheckpointId, out: &mut Snapshot);

    /// R4: the state that is going to be restored was written by so many subtasks, another number
    /// than there are now. Called ahead of the first `restore`; all that this subtask may have a
    /// share in is restored then, in the order of the writers.
    fn rescale(&mut self, writers: u32) {
        let _ = writers;
    }

    /// R4: takes over from a state that `snapshot` of some subtask of this operator wrote, before
    /// `open`. Called once for every part: its own, unless [`rescale`](Self::rescale) was called;
    /// then it keeps of all that it is given what belongs to it, by [`Instance::owns_key`] (keyed
    /// state), [`Instance::owns_part`], or as its share of a list.
    ///
    /// # Errors
    /// The bytes are damaged or are no state of this operator; the instance is unusable then.
    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError>;

    /// All parts were restored; called once, before the first record. `restored` is the checkpoint
    /// they came from, `None` at a first start: a subtask that got no part of a restored state is
    /// not a fresh one. Sinks do S6 here: commit what the snapshot holds, abort the rest.
    fn open(&mut self, restored: Option<CheckpointId>, effects: &mut Vec<Effect>) {
        let _ = (restored, effects);
    }

    /// N1: this checkpoint, and with it every older one, can no longer be lost.
    fn notify_complete(&mut self, checkpoint: CheckpointId, effects: &mut Vec<Effect>) {
        let _ = (checkpoint, effects);
    }

    /// This checkpoint will never complete. Nothing may be rolled back: what was pre-committed for
    /// it belongs to the next checkpoint.
    fn notify_aborted(&mut self, checkpoint: CheckpointId, effects: &mut Vec<Effect>) {
        let _ = (checkpoint, effects);
    }

    /// The outside has confirmed [`Effect::Commit`] or [`Effect::Apply`] of this transaction. Until then the transaction
    /// stays in every snapshot, so that a commit that is lost with the task is repeated at S6.
    fn committed(&mut self, transaction: TransactionId) {
        let _ = transaction;
    }

    /// All inputs have ended: emits what is still held back. Not called when a job is stopped
    /// without draining.
    fn finish(&mut self, out: &mut Emitter) {
        let _ = out;
    }

    /// Emits what is held back for convenience alone, so that how much it is depends on timing. Only
    /// the sequential reference, which holds nothing back, asks for it: what it has restored is
    /// compared with what it would have.
    fn release(&mut self, out: &mut Emitter) {
        let _ = out;
    }

    /// Asked when all inputs have ended: the first checkpoint that may be the final one, if it is not
    /// the next. The task ends only when that one, or a later one, is complete.
    fn least_final_checkpoint(&self) -> Option<CheckpointId> {
        None
    }

    /// The attempt has failed or is cancelled; the last call. Nothing may be made visible: what is
    /// not in a checkpoint will be processed again.
    fn close(&mut self, effects: &mut Vec<Effect>) {
        let _ = effects;
    }

    /// Order-free digest of the whole logical state. Those of all subtasks add up to that of one
    /// instance that had processed everything.
    fn fingerprint(&self) -> Fingerprint;

    /// Shows the state entry by entry, so that a difference between two states can be explained.
    fn visit(&self, visitor: &mut dyn FnMut(StateEntry));

    /// The reading side, if this is a source.
    fn as_source(&mut self) -> Option<&mut dyn SplitReader> {
        None
    }

    /// The calling side, if it asks the outside and goes on meanwhile.
    fn as_caller(&mut self) -> Option<&mut dyn Caller> {
        None
    }

    /// The operators that it is made of, if it is a chain of them.
    fn as_chain(&mut self) -> Option<&mut Chain> {
        None
    }
}

/// What an operator emits: a flat buffer that its caller reuses.
#[derive(Clone, Debug, Default)]
pub struct Emitter {
    records: Vec<Record>,
    effects: Vec<Effect>,
    /// What else has happened, and in the how-many-th operator of a chain.
    notes: Vec<(u32, Note)>,
}

/// What happens while an operator is at work and is neither a record nor an effect.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Note {
    /// Event time has done something.
    Time(TimeEvent),
    /// A record, or a mark of event time, was handed to an operator by the one before it in its chain.
    Passed(Record),
}

/// What event time has done to a record or a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeEvent {
    /// A window is complete and was emitted.
    Fired {
        /// Whose.
        key: u32,
        /// Its end, excluded.
        end: VirtualTime,
        /// How many records it held.
        records: u64,
    },
    /// A record was dropped because all its windows had fired. Flink: `numLateRecordsDropped`.
    Late(Record),
}

impl Emitter {
    /// Emits a record on every output edge.
    #[inline]
    pub fn emit(&mut self, record: Record) {
        self.records.push(record);
    }

    /// Says what the outside is to see at once.
    #[inline]
    pub fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Says what event time has done.
    #[inline]
    pub fn time_event(&mut self, event: TimeEvent) {
        self.notes.push((0, Note::Time(event)));
    }

    /// What was emitted since the last `clear`, in order.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The effects since the last `clear`, in order.
    pub fn effects(&self) -> &[Effect] {
        &self.effects
    }

    /// Whether there is anything but records.
    #[inline]
    pub(crate) fn has_more_than_records(&self) -> bool {
        !self.effects.is_empty() || !self.notes.is_empty()
    }

    /// Takes the effects out, in order.
    #[inline]
    pub(crate) fn drain_effects(&mut self) -> impl Iterator<Item = Effect> {
        self.effects.drain(..)
    }

    /// Takes out what else has happened, in order.
    #[inline]
    pub(crate) fn drain_notes(&mut self) -> impl Iterator<Item = (u32, Note)> {
        self.notes.drain(..)
    }

    /// Forgets everything and keeps the memory.
    #[inline]
    pub fn clear(&mut self) {
        self.records.clear();
        self.effects.clear();
        self.notes.clear();
    }
}

/// What an operator hands out at B3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The serialised state; empty for an operator that has none.
    pub state: Vec<u8>,
    /// Bytes the state would have in the real job: what its upload costs.
    pub nominal: u64,
    /// What the outside is to see before the checkpoint is acknowledged.
    pub effects: Vec<Effect>,
}

/// Why a state cannot be taken over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The bytes are damaged, or those of another operator.
    #[error("state of {operator}: {error}")]
    Damaged {
        /// What the reader is, in words.
        operator: &'static str,
        /// What is wrong.
        error: DecodeError,
    },
    /// The state was written with ordered digests and is read with order-free ones, or the reverse:
    /// the job now promises another order.
    #[error(
        "the state of {operator} was written {}, and is read {}",
        if *written { "where order is promised" } else { "where no order is promised" },
        if *written { "where it is not" } else { "where it is" }
    )]
    OtherOrder {
        /// What the reader is, in words.
        operator: &'static str,
        /// Whether order was promised when the state was written.
        written: bool,
    },
}

/// One entry of a state, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateEntry {
    /// What kind of entry: `split`, `key`, `waiting`, `matched`, `processed`, `open`, `pending`.
    pub what: &'static str,
    /// The key it belongs to, if it is keyed.
    pub key: Option<u32>,
    /// The split whose records it is made of, if they are of one.
    pub split: Option<SplitId>,
    /// The path of these records, or 0 if there are several.
    pub path: u64,
    /// How many records it is made of; of a split: the next offset.
    pub count: u64,
    /// Digest of these records.
    pub digest: u64,
}

impl StateEntry {
    /// An entry that belongs to no key, split or path.
    pub(crate) fn unkeyed(what: &'static str, of: Fingerprint) -> Self {
        Self { what, key: None, split: None, path: 0, count: of.count, digest: of.sum }
    }
}
