//! The bytes of captured in-flight data. In Flink: `ChannelStateSerializer`.
//!
//! One blob holds what one subtask has captured: the records of its input channels, then those of
//! its output channels, each with the number of its channel.

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::ids::{InputChannel, OutputChannel};
use crate::message::Payload;
use crate::operator::Record;

const MAGIC: [u8; 4] = *b"CLch";
const VERSION: u8 = 1;

/// Captured in-flight data of one subtask, by channel; in each channel oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelState {
    /// Received, not processed at the cut.
    pub inputs: Vec<(InputChannel, Record)>,
    /// Emitted, not sent at the cut.
    pub outputs: Vec<(OutputChannel, Record)>,
}

impl ChannelState {
    /// Whether nothing was captured.
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty() && self.outputs.is_empty()
    }

    /// Bytes of the captured buffers.
    pub fn nominal_bytes(&self) -> u64 {
        let inputs = self.inputs.iter().map(|(_, record)| record.bytes());
        inputs.chain(self.outputs.iter().map(|(_, record)| record.bytes())).sum()
    }

    /// Writes the blob.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(MAGIC, VERSION);
        out.varint(self.inputs.len() as u64);
        for (channel, record) in &self.inputs {
            write(channel.0, record, &mut out);
        }
        out.varint(self.outputs.len() as u64);
        for (channel, record) in &self.outputs {
            write(channel.0, record, &mut out);
        }
        out.seal()
    }

    /// Reads a blob.
    ///
    /// # Errors
    /// The bytes are damaged, or no channel state.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Decoder::open(bytes, MAGIC, VERSION)?;
        let inputs = read(&mut input)?;
        let outputs = read(&mut input)?;
        input.end()?;
        Ok(Self {
            inputs: inputs.into_iter().map(|(at, record)| (InputChannel(at), record)).collect(),
            outputs: outputs.into_iter().map(|(at, record)| (OutputChannel(at), record)).collect(),
        })
    }
}

fn write(channel: u32, record: &Record, out: &mut Encoder) {
    out.varint(u64::from(channel));
    record.write(out);
}

fn read(input: &mut Decoder<'_>) -> Result<Vec<(u32, Record)>, DecodeError> {
    input.list(1 + Record::BYTES_MIN, |input| Ok((input.varint32()?, Record::read(input)?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::damage::damage;
    use crate::operator::SplitId;
    use crate::time::VirtualTime;

    fn records() -> impl Strategy<Value = ChannelState> {
        let one = any::<(u32, (u32, u32, u64, u64, u64, u32, u32))>().prop_map(
            |(channel, (split, key, offset, path, event_time, weight, record_bytes))| {
                let split = SplitId(split);
                let (weight, event_time) = (weight % 1_000, VirtualTime(event_time));
                let record = Record { split, key, offset, path, event_time, weight, record_bytes };
                (channel, record)
            },
        );
        let some = prop::collection::vec(one, 0..20);
        (some.clone(), some).prop_map(|(inputs, outputs)| ChannelState {
            inputs: inputs.into_iter().map(|(at, record)| (InputChannel(at), record)).collect(),
            outputs: outputs.into_iter().map(|(at, record)| (OutputChannel(at), record)).collect(),
        })
    }

    proptest! {
        #[test]
        fn what_is_captured_is_restored(records in records()) {
            prop_assert_eq!(ChannelState::decode(&records.encode())?, records);
        }

        #[test]
        fn damage_is_an_error(records in records(), damage in damage()) {
            let (bytes, noticed) = damage.apply(&records.encode());
            prop_assert!(ChannelState::decode(&bytes).is_err() || !noticed);
        }
    }
}
