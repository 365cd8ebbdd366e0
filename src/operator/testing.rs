//! Helpers of the operators' unit tests.

use super::{Emitter, Operator, Record, Snapshot, SplitId};
use crate::ids::CheckpointId;
use crate::time::VirtualTime;

/// A record of split (0, `split`) as a source would emit it.
pub(super) fn record(split: u32, offset: u64, key: u32) -> Record {
    Record {
        split: SplitId::new(0, split),
        key,
        offset,
        path: 0,
        event_time: VirtualTime(offset),
        weight: 1,
        record_bytes: 100,
    }
}

/// What an operator emits for these records on its first input.
pub(super) fn run(operator: &mut dyn Operator, records: &[Record]) -> Vec<Record> {
    let mut out = Emitter::default();
    for record in records {
        operator.process(0, record, &mut out);
    }
    out.records().to_vec()
}

/// The state an operator hands out.
pub(super) fn state(operator: &mut dyn Operator) -> Vec<u8> {
    let mut snapshot = Snapshot::default();
    operator.snapshot(CheckpointId(1), &mut snapshot);
    snapshot.state
}
