//! The bytes of captured in-flight data. In Flink: `ChannelStateSerializer`.
//!
//! One blob holds the records of one channel, oldest first.

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::operator::{Record, SplitId};
use crate::time::VirtualTime;

const MAGIC: [u8; 4] = *b"CLch";
const VERSION: u8 = 1;
const RECORD_BYTES_MIN: usize = 1 + 1 + 1 + 8 + 1 + 1 + 1;

/// Writes the records of one channel.
pub fn encode(records: &[Record]) -> Vec<u8> {
    let mut out = Encoder::new(MAGIC, VERSION);
    out.varint(records.len() as u64);
    for record in records {
        out.varint(u64::from(record.split.0));
        out.varint(u64::from(record.key));
        out.varint(record.offset);
        out.fixed(record.path);
        out.varint(record.event_time.0);
        out.varint(u64::from(record.weight));
        out.varint(u64::from(record.record_bytes));
    }
    out.seal()
}

/// Reads the records of one channel.
///
/// # Errors
/// The bytes are damaged, or no channel state.
pub fn decode(bytes: &[u8]) -> Result<Vec<Record>, DecodeError> {
    let mut input = Decoder::open(bytes, MAGIC, VERSION)?;
    let count = input.count(RECORD_BYTES_MIN)?;
    let mut records = Vec::with_capacity(count);
    for _ in 0..count {
        records.push(Record {
            split: SplitId(input.varint32()?),
            key: input.varint32()?,
            offset: input.varint()?,
            path: input.fixed()?,
            event_time: VirtualTime(input.varint()?),
            weight: input.varint32()?,
            record_bytes: input.varint32()?,
        });
    }
    input.end()?;
    Ok(records)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::damage::damage;

    fn records() -> impl Strategy<Value = Vec<Record>> {
        let one = any::<(u32, u32, u64, u64, u64, u32, u32)>().prop_map(
            |(split, key, offset, path, event_time, weight, record_bytes)| Record {
                split: SplitId(split),
                key,
                offset,
                path,
                event_time: VirtualTime(event_time),
                weight,
                record_bytes,
            },
        );
        prop::collection::vec(one, 0..20)
    }

    proptest! {
        #[test]
        fn what_is_captured_is_restored(records in records()) {
            prop_assert_eq!(decode(&encode(&records))?, records);
        }

        #[test]
        fn damage_is_an_error(records in records(), damage in damage()) {
            let (bytes, noticed) = damage.apply(&encode(&records));
            prop_assert!(decode(&bytes).is_err() || !noticed);
        }
    }
}
