//! A sink that writes at once. In Flink: `PrintSink`, or a Kafka sink with
//! `DeliveryGuarantee.AT_LEAST_ONCE`.

use super::instance::Instance;
use super::record::{Fingerprint, Record};
use super::state::{Format, read_fingerprint, write_fingerprint};
use super::{Effect, Emitter, Operator, RestoreError, Snapshot, StateEntry};
use crate::ids::CheckpointId;

const FORMAT: Format = Format { operator: "an append sink", magic: *b"CLsa", version: 1 };

/// Writes every record at once; after a restore records are visible twice. Its state is what it has
/// processed, for the comparison with the reference.
#[derive(Clone, Debug)]
pub struct AppendSink {
    instance: Instance,
    processed: Fingerprint,
}

impl AppendSink {
    /// A sink that has written nothing.
    pub fn new(instance: Instance) -> Self {
        Self { instance, processed: Fingerprint::EMPTY }
    }
}

impl Operator for AppendSink {
    fn process(&mut self, _input: u32, record: &Record, out: &mut Emitter) {
        self.processed += Fingerprint::of(record.identity());
        out.effect(Effect::Append(*record));
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
