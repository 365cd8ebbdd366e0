//! A sink that writes at once. In Flink: `PrintSink`, or a Kafka sink with
//! `DeliveryGuarantee.AT_LEAST_ONCE`.

use super::instance::Instance;
use super::processed::Processed;
use super::record::{Fingerprint, Record};
use super::state::Format;
use super::{Effect, Emitter, Operator, RestoreError, Snapshot, StateEntry};
use crate::ids::CheckpointId;

const FORMAT: Format = Format { operator: "an append sink", magic: *b"CLsa", version: 1 };

/// Writes every record at once; after a restore records are visible twice. Its state is what it has
/// processed, for the comparison with the reference.
#[derive(Clone, Debug)]
pub struct AppendSink {
    processed: Processed,
}

impl AppendSink {
    /// A sink that has written nothing.
    pub fn new(instance: Instance) -> Self {
        Self { processed: Processed::new(instance) }
    }
}

impl Operator for AppendSink {
    fn process(&mut self, _input: u32, record: &Record, out: &mut Emitter) {
        self.processed.note(record);
        out.effect(Effect::Append(*record));
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
