//! A sink whose writes can be repeated. In Flink: any upsert sink, at-least-once with a key.

use super::instance::Instance;
use super::processed::Processed;
use super::record::{Fingerprint, Record};
use super::state::Format;
use super::{Effect, Emitter, Operator, RestoreError, Snapshot, StateEntry};
use crate::ids::CheckpointId;

const FORMAT: Format = Format { operator: "an idempotent sink", magic: *b"CLsi", version: 1 };

/// Writes every record at once, by its identity. Its state is what it has processed, for the
/// comparison with the reference; it needs none to be right.
#[derive(Clone, Debug)]
pub struct IdempotentSink {
    processed: Processed,
}

impl IdempotentSink {
    /// A sink that has written nothing.
    pub fn new(instance: Instance) -> Self {
        Self { processed: Processed::new(instance) }
    }
}

impl Operator for IdempotentSink {
    fn process(&mut self, _input: u32, record: &Record, out: &mut Emitter) {
        self.processed.note(record);
        out.effect(Effect::Upsert(*record));
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId, out: &mut Snapshot) {
        self.processed.snapshot(&FORMAT, out);
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        self.processed.restore(&FORMAT, state)
    }

    fn fingerprint(&self) -> Fingerprint {
        self.processed.sum
    }

    fn visit(&self, visitor: &mut dyn FnMut(StateEntry)) {
        self.processed.visit(visitor);
    }
}
