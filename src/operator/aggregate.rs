//! Keyed state: counts and digests per (key, split, path). In Flink: a keyed process function with
//! value state.
//!
//! Where order is promised the digest chains the records, so that a swap changes it; where it is
//! not, it adds them up. Either way it changes with every record by a difference that is added to
//! one running sum, so the fingerprint of the whole state costs nothing to ask for.

use super::instance::Instance;
use super::record::{Fingerprint, Record, SplitId, mix};
use super::state::Format;
use super::table::{Table, TableKey};
use super::{Emitter, Operator, RestoreError, Snapshot, StateEntry};
use crate::ids::CheckpointId;

const FORMAT: Format = Format { operator: "a keyed aggregate", magic: *b"CLag", version: 1 };
const ENTRY_BYTES_MIN: usize = 1 + 1 + 8 + 1 + 8;

/// Counts and digests the records of each key, split and path, and passes them on as they are.
/// All its input edges must be hash edges, or chained ones that keep to the keys, or its parallelism 1.
#[derive(Clone, Debug)]
pub struct Aggregate {
    instance: Instance,
    ordered: bool,
    state_per_key: u64,
    entries: Table<Who, Entry>,
    /// Number of entries of each key.
    keys: Table<u32, u32>,
    fingerprint: Fingerprint,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Who {
    key: u32,
    split: SplitId,
    path: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    count: u64,
    digest: u64,
}

impl TableKey for Who {
    #[inline]
    fn table_hash(&self) -> u64 {
        let who = u64::from(self.split.0) << 32 | u64::from(self.key);
        mix(self.path, who)
    }
}

impl TableKey for u32 {
    #[inline]
    fn table_hash(&self) -> u64 {
        u64::from(*self).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl Aggregate {
    /// `ordered`: whether order per (key, split, path) is promised at its inputs (see
    /// [`promises_order`](super::promises_order)). `state_per_key`: nominal bytes of one key's
    /// state; 0: as serialised.
    pub fn new(instance: Instance, ordered: bool, state_per_key: u64) -> Self {
        Self {
            instance,
            ordered,
            state_per_key,
            entries: Table::default(),
            keys: Table::default(),
            fingerprint: Fingerprint::EMPTY,
        }
    }

    fn merge(&mut self, who: Who, part: Entry) {
        let entry = self.entries.entry(who);
        if entry.count == 0 {
            *self.keys.entry(who.key) += 1;
        }
        // Two parts of one entry cannot come from hash edges. If a defect makes them, the sum is no
        // chain of anything, and the comparison with the reference tells.
        entry.count = entry.count.wrapping_add(part.count);
        entry.digest = entry.digest.wrapping_add(part.digest);
        self.fingerprint += Fingerprint { count: part.count, sum: part.digest };
    }
}

impl Operator for Aggregate {
    #[inline]
    fn process(&mut self, _input: u32, record: &Record, out: &mut Emitter) {
        let who = Who { key: record.key, split: record.split, path: record.path };
        let entry = self.entries.entry(who);
        let identity = record.identity();
        let digest = if self.ordered {
            mix(entry.digest, identity)
        } else {
            entry.digest.wrapping_add(identity)
        };
        let change = digest.wrapping_sub(entry.digest);
        let new = entry.count == 0;
        *entry = Entry { count: entry.count + 1, digest };
        self.fingerprint += Fingerprint::of(change);
        if new {
            *self.keys.entry(record.key) += 1;
        }
        out.emit(*record);
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId, out: &mut Snapshot) {
        let mut state = FORMAT.write(&self.instance);
        state.flag(self.ordered);
        state.varint(self.entries.len() as u64);
        for (who, entry) in self.entries.iter() {
            state.varint(u64::from(who.key));
            state.varint(u64::from(who.split.0));
            state.fixed(who.path);
            state.varint(entry.count);
            state.fixed(entry.digest);
        }
        out.state = state.seal();
        out.nominal = match self.state_per_key {
            0 => out.state.len() as u64,
            bytes => bytes.saturating_mul(self.keys.len() as u64),
        };
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        let (written, entries) = FORMAT.read(state, |input, _writer| {
            let ordered = input.flag()?;
            let count = input.count(ENTRY_BYTES_MIN)?;
            let mut entries = Vec::with_capacity(count);
            for _ in 0..count {
                let key = input.varint32()?;
                let split = SplitId(input.varint32()?);
                let who = Who { key, split, path: input.fixed()? };
                let entry = Entry { count: input.varint()?, digest: input.fixed()? };
                if entry.count == 0 {
                    return Err(input.invalid("count of an entry"));
                }
                entries.push((who, entry));
            }
            Ok((ordered, entries))
        })?;
        if written != self.ordered {
            return Err(RestoreError::OtherOrder { operator: FORMAT.operator, written });
        }
        for (who, entry) in entries {
            if self.instance.owns_key(who.key) {
                self.merge(who, entry);
            }
        }
        Ok(())
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn visit(&self, visitor: &mut dyn FnMut(StateEntry)) {
        for (who, entry) in self.entries.iter() {
            visitor(StateEntry {
                what: "key",
                key: Some(who.key),
                split: Some(who.split),
                path: who.path,
                count: entry.count,
                digest: entry.digest,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{record, run};
    use super::*;
    use crate::ids::OperatorId;

    fn fingerprint(ordered: bool, offsets: &[u64]) -> Fingerprint {
        let mut aggregate = Aggregate::new(Instance::single(OperatorId(1)), ordered, 0);
        let records: Vec<_> = offsets.iter().map(|&offset| record(0, offset, 7)).collect();
        assert_eq!(run(&mut aggregate, &records), records);
        aggregate.fingerprint()
    }

    #[test]
    fn a_digest_shows_what_it_promises_to() {
        let cases: [(&str, &[u64], bool, bool); 4] = [
            // (what happened to 1 2 3, processed, seen by the ordered one, by the order-free one)
            ("nothing", &[1, 2, 3], false, false),
            ("reorder", &[1, 3, 2], true, false),
            ("loss", &[1, 3], true, true),
            ("duplicate", &[1, 2, 2, 3], true, true),
        ];
        for (name, offsets, ordered, order_free) in cases {
            assert_eq!(
                fingerprint(true, offsets) != fingerprint(true, &[1, 2, 3]),
                ordered,
                "{name}"
            );
            assert_eq!(
                fingerprint(false, offsets) != fingerprint(false, &[1, 2, 3]),
                order_free,
                "{name}"
            );
        }
    }

    #[test]
    fn a_key_counts_once_for_the_nominal_size() {
        let mut aggregate = Aggregate::new(Instance::single(OperatorId(1)), true, 1_000);
        run(&mut aggregate, &[record(0, 0, 7), record(1, 0, 7), record(0, 1, 8), record(0, 2, 7)]);
        let mut snapshot = Snapshot::default();
        aggregate.snapshot(CheckpointId(1), &mut snapshot);
        assert_eq!(snapshot.nominal, 2_000);
    }

    #[test]
    fn another_promise_is_refused() {
        let mut ordered = Aggregate::new(Instance::single(OperatorId(1)), true, 0);
        let mut snapshot = Snapshot::default();
        ordered.snapshot(CheckpointId(1), &mut snapshot);
        let mut order_free = Aggregate::new(Instance::single(OperatorId(1)), false, 0);
        let error = order_free.restore(&snapshot.state).expect_err("digests differ in kind");
        assert!(error.to_string().contains("written where order is promised"), "{error}");
    }
}
