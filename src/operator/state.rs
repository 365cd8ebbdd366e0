//! What the states of all operators have in common: their frame, and unkeyed parts.

use crate::codec::{DecodeError, Decoder, Encoder};

use super::RestoreError;
use super::instance::Instance;
use super::record::Fingerprint;

/// How the state of one kind of operator is framed.
pub(super) struct Format {
    /// The operator in words, for errors.
    pub(super) operator: &'static str,
    /// First bytes of the blob.
    pub(super) magic: [u8; 4],
    /// Version of what follows.
    pub(super) version: u8,
}

impl Format {
    /// Starts a blob: the writer's number comes first, so that unkeyed state finds its new owner.
    pub(super) fn write(&self, instance: &Instance) -> Encoder {
        let mut out = Encoder::new(self.magic, self.version);
        out.varint(u64::from(instance.subtask));
        out
    }

    /// Reads a blob to its end: the body gets the writer's number.
    pub(super) fn read<T>(
        &self,
        state: &[u8],
        body: impl FnOnce(&mut Decoder<'_>, u32) -> Result<T, DecodeError>,
    ) -> Result<T, RestoreError> {
        let read = || {
            let mut input = Decoder::open(state, self.magic, self.version)?;
            let writer = input.varint32()?;
            let value = body(&mut input, writer)?;
            input.end()?;
            Ok(value)
        };
        read().map_err(|error| RestoreError::Damaged { operator: self.operator, error })
    }
}

pub(super) fn write_fingerprint(fingerprint: Fingerprint, out: &mut Encoder) {
    out.varint(fingerprint.count);
    out.fixed(fingerprint.sum);
}

pub(super) fn read_fingerprint(input: &mut Decoder<'_>) -> Result<Fingerprint, DecodeError> {
    Ok(Fingerprint { count: input.varint()?, sum: input.fixed()? })
}
