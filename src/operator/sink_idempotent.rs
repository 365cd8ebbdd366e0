//! A sink whose writes can be repeated. In Flink: any upsert sink, at-least-once with a key.

use super::instance::Instance;
use super::record::{Fingerprint, Record};
use super::state::{Format, read_fingerprint, write_fingerprint};
use super::{Effect, Emitter, Operator, RestoreError, Snapshot, StateEntry};
use crate::ids::CheckpointId;

const FORMAT: Format = Format { operator: "an idempotent sink", magic: *b"CLsi", version: 1 };

/// Writes every record at once, by its identity. Its state is what it has processed, for the
/// comparison with the reference; it needs none to be right.
#[derive(Clone, Debug)]
pub struct IdempotentSink {
    instance: Instance,
    processed: Fingerprint,
}

impl IdempotentSink {
    /// A sink that has written nothing.
    pub fn new(instance: Instance) -> Self {
        Self { instance, processed: Fingerprint::EMPTY }
    }
}

impl Operator for IdempotentSink {
    fn process(&mut self, _input: u32, record: &Record, out: &mut Emitter) {
        self.processed += Fingerprint::of(record.identity());
        out.effect(Effect::Upsert(*record));
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId, out: &mut Snapshot) {
        let mut state = FORMAT.write(&self.instance);
        write_fingerprint(self.processed, &mut state);
        out.state = state.seal();
        out.nominal = out.state.len() as u64;
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        let (writer, processed) =
            FORMAT.read(state, |input, writer| Ok((writer, read_fingerprint(input)?)))?;
        if self.instance.owns_part(writer) {
            self.processed += processed;
        }
        Ok(())
    }

    fn fingerprint(&self) -> Fingerprint {
        self.processed
    }

    fn visit(&self, visitor: &mut dyn FnMut(StateEntry)) {
        visitor(StateEntry::unkeyed("processed", self.processed));
    }
}
