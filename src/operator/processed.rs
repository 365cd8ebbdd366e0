//! What a sink without any other state has processed: for the comparison with the reference.

use super::instance::Instance;
use super::record::{Fingerprint, Record};
use super::state::{Format, read_fingerprint, write_fingerprint};
use super::{RestoreError, Snapshot, StateEntry};

/// The records that one subtask has processed, and those it has taken over from others.
#[derive(Clone, Debug)]
pub(super) struct Processed {
    pub(super) instance: Instance,
    pub(super) sum: Fingerprint,
}

impl Processed {
    /// Nothing.
    pub(super) fn new(instance: Instance) -> Self {
        Self { instance, sum: Fingerprint::EMPTY }
    }

    /// One more; answers what it adds.
    #[inline]
    pub(super) fn note(&mut self, record: &Record) -> Fingerprint {
        let one = Fingerprint::of(record.identity());
        self.sum += one;
        one
    }

    pub(super) fn snapshot(&self, format: &Format, out: &mut Snapshot) {
        let mut state = format.write(&self.instance);
        write_fingerprint(self.sum, &mut state);
        out.state = state.seal();
        out.nominal = out.state.len() as u64;
    }

    pub(super) fn restore(&mut self, format: &Format, state: &[u8]) -> Result<(), RestoreError> {
        let (writer, sum) =
            format.read(state, |input, writer| Ok((writer, read_fingerprint(input)?)))?;
        if self.instance.owns_part(writer) {
            self.sum += sum;
        }
        Ok(())
    }

    pub(super) fn visit(&self, visitor: &mut dyn FnMut(StateEntry)) {
        visitor(StateEntry::unkeyed("processed", self.sum));
    }
}
