//! Joins two inputs record by record. In Flink: a keyed co-process function with list state.
//!
//! A pair is one record of either side with the same key, split index and offset. If there are
//! several on a side (copies), it does not matter which of them meet: the state holds only how many
//! wait on which side, and a joined record names the pair, not its parts. So neither the state nor
//! the set of outputs depends on the interleaving of the inputs.

use super::instance::Instance;
use super::record::{Fingerprint, Record, SplitId, mix};
use super::state::{Format, read_fingerprint, write_fingerprint};
use super::table::{Table, TableKey};
use super::{Emitter, Operator, RestoreError, Snapshot, StateEntry};
use crate::defect::Defect;
use crate::ids::CheckpointId;
use crate::time::VirtualTime;

/// The source number of the splits of joined records: no operator has it.
pub const JOINED: u32 = 0xffff;

const FORMAT: Format = Format { operator: "a join", magic: *b"CLjn", version: 1 };
const WAITING_BYTES_MIN: usize = 8;
const COMPACT_MIN: usize = 64;

/// Emits one record for each pair. All its input edges must be hash edges, or its parallelism 1.
///
/// A joined record has split [`JOINED`] with the index of the pair's splits, the pair's key and
/// offset, a path of its own, the later event time, the greater weight and both sizes.
#[derive(Clone, Debug)]
pub struct Join {
    instance: Instance,
    state_per_key: u64,
    path: u64,
    cells: Table<Pair, Waiting>,
    /// Cells in which nothing waits; they are dropped when they outnumber the others.
    idle: usize,
    fingerprint: Fingerprint,
    matched: Fingerprint,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    key: u32,
    index: u32,
    offset: u64,
}

/// The records of one side that wait for the other; the two never wait for each other.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    count: u32,
    input: u32,
    event_time: VirtualTime,
    weight: u32,
    record_bytes: u32,
}

impl TableKey for Pair {
    #[inline]
    fn table_hash(&self) -> u64 {
        mix(self.offset, u64::from(self.index) << 32 | u64::from(self.key))
    }
}

impl Pair {
    fn fingerprint(&self, input: u32) -> Fingerprint {
        Fingerprint::of(mix(self.table_hash(), u64::from(input)))
    }
}

impl Join {
    /// `state_per_key`: nominal bytes of one waiting pair; 0: as serialised.
    pub fn new(instance: Instance, state_per_key: u64) -> Self {
        Self {
            instance,
            state_per_key,
            path: mix(u64::from(JOINED), u64::from(instance.operator.0)),
            cells: Table::default(),
            idle: 0,
            fingerprint: Fingerprint::EMPTY,
            matched: Fingerprint::EMPTY,
        }
    }

    fn join(&mut self, pair: Pair, waiting: Waiting, record: &Record) -> Record {
        let joined = Record {
            split: SplitId::new(JOINED, pair.index),
            key: pair.key,
            offset: pair.offset,
            path: self.path,
            event_time: waiting.event_time.max(record.event_time),
            weight: waiting.weight.max(record.weight),
            record_bytes: waiting.record_bytes.saturating_add(record.record_bytes),
        };
        let matched = Fingerprint::of(joined.identity());
        self.matched += matched;
        self.fingerprint = self.fingerprint - pair.fingerprint(waiting.input) + matched;
        joined
    }

    fn compact(&mut self) {
        if self.idle > COMPACT_MIN && self.idle * 2 > self.cells.len() {
            self.cells.retain(|_, waiting| waiting.count > 0);
            self.idle = 0;
        }
    }

    fn merge(&mut self, pair: Pair, part: Waiting) {
        let cell = self.cells.entry(pair);
        // Both sides waiting for each other in two parts cannot come from hash edges; the later
        // part wins then, and the comparison with the reference tells.
        cell.count = if cell.input == part.input {
            cell.count.saturating_add(part.count)
        } else {
            part.count
        };
        *cell = Waiting { count: cell.count, ..part };
        let one = pair.fingerprint(part.input);
        self.fingerprint += Fingerprint {
            count: u64::from(part.count),
            sum: one.sum.wrapping_mul(u64::from(part.count)),
        };
    }
}

impl Operator for Join {
    fn process(&mut self, input: u32, record: &Record, out: &mut Emitter) {
        let pair =
            Pair { key: record.key, index: record.split.index_in_source(), offset: record.offset };
        let cells = self.cells.len();
        let cell = self.cells.entry(pair);
        if cell.count > 0 && cell.input != input {
            let waiting = *cell;
            cell.count -= 1;
            self.idle += usize::from(cell.count == 0);
            let joined = self.join(pair, waiting, record);
            out.emit(joined);
            self.compact();
            return;
        }
        let revived = cell.count == 0;
        let before = if revived { Waiting::default() } else { *cell };
        *cell = Waiting {
            count: before.count + 1,
            input,
            event_time: before.event_time.max(record.event_time),
            weight: before.weight.max(record.weight),
            record_bytes: before.record_bytes.max(record.record_bytes),
        };
        if revived && self.cells.len() == cells {
            self.idle -= 1;
        }
        self.fingerprint += pair.fingerprint(input);
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId, out: &mut Snapshot) {
        let mut state = FORMAT.write(&self.instance);
        write_fingerprint(self.matched, &mut state);
        let waiting = match self.instance.defects.has(Defect::D59) {
            true => 0,
            false => self.cells.len() - self.idle,
        };
        state.varint(waiting as u64);
        let cells = self.cells.iter().filter(|(_, waiting)| waiting.count > 0);
        for (pair, waiting) in cells.take(waiting) {
            state.varint(u64::from(pair.key));
            state.varint(u64::from(pair.index));
            state.varint(pair.offset);
            state.varint(u64::from(waiting.count));
            state.varint(u64::from(waiting.input));
            state.varint(waiting.event_time.0);
            state.varint(u64::from(waiting.weight));
            state.varint(u64::from(waiting.record_bytes));
        }
        out.state = state.seal();
        out.nominal = match self.state_per_key {
            0 => out.state.len() as u64,
            bytes => bytes.saturating_mul(waiting as u64),
        };
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        let (writer, matched, cells) = FORMAT.read(state, |input, writer| {
            let matched = read_fingerprint(input)?;
            let count = input.count(WAITING_BYTES_MIN)?;
            let mut cells = Vec::with_capacity(count);
            for _ in 0..count {
                let key = input.varint32()?;
                let index = input.varint32()?;
                let pair = Pair { key, index, offset: input.varint()? };
                if index > 0xffff {
                    return Err(input.invalid("index of a split"));
                }
                let waiting = Waiting {
                    count: input.varint32()?,
                    input: input.varint32()?,
                    event_time: VirtualTime(input.varint()?),
                    weight: input.varint32()?,
                    record_bytes: input.varint32()?,
                };
                if waiting.count == 0 {
                    return Err(input.invalid("count of a pair"));
                }
                cells.push((pair, waiting));
            }
            Ok((writer, matched, cells))
        })?;
        if self.instance.owns_part(writer) {
            self.matched += matched;
            self.fingerprint += matched;
        }
        for (pair, waiting) in cells {
            if self.instance.owns_key(pair.key) {
                self.merge(pair, waiting);
            }
        }
        Ok(())
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn visit(&self, visitor: &mut dyn FnMut(StateEntry)) {
        for (pair, waiting) in self.cells.iter().filter(|(_, waiting)| waiting.count > 0) {
            visitor(StateEntry {
                what: if waiting.input == 0 { "waiting left" } else { "waiting right" },
                key: Some(pair.key),
                split: Some(SplitId::new(JOINED, pair.index)),
                path: self.path,
                count: u64::from(waiting.count),
                digest: pair.offset,
            });
        }
        let Fingerprint { count, sum: digest } = self.matched;
        let split = None;
        visitor(StateEntry { what: "matched", key: None, split, path: self.path, count, digest });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::record;
    use super::*;
    use crate::ids::OperatorId;

    fn run(order: &[(u32, u64)]) -> (Join, Vec<Record>) {
        let mut join = Join::new(Instance::single(OperatorId(4)), 0);
        let mut out = Emitter::default();
        for &(input, offset) in order {
            let record = record(input, offset, offset as u32 % 3);
            join.process(input, &Record { split: SplitId::new(input, 5), ..record }, &mut out);
        }
        let mut joined = out.records().to_vec();
        joined.sort_by_key(|record| record.offset);
        (join, joined)
    }

    #[test]
    fn a_pair_is_one_record() {
        let (join, joined) = run(&[(0, 1), (1, 2), (1, 1), (0, 3)]);
        assert_eq!(joined.len(), 1);
        assert_eq!((joined[0].offset, joined[0].split), (1, SplitId::new(JOINED, 5)));
        let mut entries = Vec::new();
        join.visit(&mut |entry| entries.push((entry.what, entry.digest)));
        assert_eq!(entries[..2], [("waiting right", 2), ("waiting left", 3)]);
    }

    proptest! {
        #[test]
        fn the_interleaving_leaves_no_trace(
            left in prop::collection::vec(0_u64..200, 0..300),
            right in prop::collection::vec(0_u64..200, 0..300),
            seed: u64,
        ) {
            let mut order: Vec<_> = left.iter().map(|&offset| (0, offset)).collect();
            order.extend(right.iter().map(|&offset| (1, offset)));
            let (one, one_out) = run(&order);
            order.sort_by_key(|&(input, offset)| mix(mix(seed, offset), u64::from(input)));
            let (other, other_out) = run(&order);
            prop_assert_eq!(one.fingerprint(), other.fingerprint());
            prop_assert_eq!(one_out, other_out);

            // The running fingerprint is that of a state that is read back.
            let (mut restored, _) = run(&[]);
            let mut snapshot = Snapshot::default();
            other.clone().snapshot(CheckpointId(1), &mut snapshot);
            restored.restore(&snapshot.state).expect("as written");
            prop_assert_eq!(restored.fingerprint(), other.fingerprint());
        }
    }
}
