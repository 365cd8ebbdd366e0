//! A hash table that is iterated in insertion order: open addressing over `u32` slots that point
//! into a flat vector of entries. No hash order can leak into a trace or a snapshot.

/// A key of a [`Table`].
pub trait TableKey: Copy + Eq {
    /// A hash whose *upper* bits are good (a product), for the slots are taken from there.
    fn table_hash(&self) -> u64;
}

const EMPTY: u32 = 0;
const SLOTS_MIN: usize = 16;

/// See the module.
#[derive(Clone, Debug)]
pub struct Table<K, V> {
    /// Index of the entry plus one; 0 is empty. A power of two, at most half full.
    slots: Vec<u32>,
    /// 64 less the binary logarithm of the number of slots.
    shift: u32,
    entries: Vec<(K, V)>,
}

impl<K: TableKey, V: Default> Default for Table<K, V> {
    fn default() -> Self {
        let slots = vec![EMPTY; SLOTS_MIN];
        Self { slots, shift: 64 - SLOTS_MIN.trailing_zeros(), entries: Vec::new() }
    }
}

impl<K: TableKey, V: Default> Table<K, V> {
    /// The value of a key; a default one is inserted where there is none.
    #[inline]
    pub fn entry(&mut self, key: K) -> &mut V {
        let index = match self.find(&key) {
            Ok(index) => index,
            Err(slot) => self.insert(slot, key),
        };
        &mut self.entries[index].1
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.find(key).ok().map(|index| &self.entries[index].1)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries in the order of their insertion.
    pub fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.entries.iter()
    }

    /// Drops the entries that are not to be kept; the others keep their order.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.entries.retain(|(key, value)| keep(key, value));
        self.rebuild((self.entries.len() * 2).next_power_of_two().max(SLOTS_MIN));
    }

    /// The index of the key's entry, or the slot where it belongs.
    #[inline]
    fn find(&self, key: &K) -> Result<usize, usize> {
        let mask = self.slots.len() - 1;
        let mut slot = (key.table_hash() >> self.shift) as usize & mask;
        loop {
            match self.slots[slot] {
                EMPTY => return Err(slot),
                filled => {
                    let index = filled as usize - 1;
                    if self.entries[index].0 == *key {
                        return Ok(index);
                    }
                }
            }
            slot = (slot + 1) & mask;
        }
    }

    #[cold]
    fn insert(&mut self, slot: usize, key: K) -> usize {
        let index = self.entries.len();
        self.entries.push((key, V::default()));
        self.slots[slot] = u32::try_from(index + 1).expect("fewer than 2^32 entries fit memory");
        if self.entries.len() * 2 > self.slots.len() {
            self.rebuild(self.slots.len() * 2);
        }
        index
    }

    fn rebuild(&mut self, slots: usize) {
        self.slots.clear();
        self.slots.resize(slots, EMPTY);
        self.shift = 64 - slots.trailing_zeros();
        for index in 0..self.entries.len() {
            let slot = self.find(&self.entries[index].0).expect_err("keys are unique");
            self.slots[slot] = index as u32 + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl TableKey for u8 {
        fn table_hash(&self) -> u64 {
            // Few distinct hashes: long probe sequences.
            u64::from(*self % 7) << 61
        }
    }

    proptest! {
        #[test]
        fn a_table_is_a_map_in_insertion_order(
            steps in prop::collection::vec((any::<u8>(), 0_u32..5), 0..300)
        ) {
            let (mut table, mut order) = (Table::<u8, u32>::default(), Vec::new());
            let mut model = BTreeMap::<u8, u32>::new();
            for (key, add) in steps {
                if add == 0 {
                    table.retain(|key, _| key % 3 != 0);
                    model.retain(|key, _| key % 3 != 0);
                    order.retain(|key| key % 3 != 0);
                    continue;
                }
                if !model.contains_key(&key) {
                    order.push(key);
                }
                *table.entry(key) += add;
                *model.entry(key).or_default() += add;
            }
            let expected: Vec<_> = order.iter().map(|key| (*key, model[key])).collect();
            let entries: Vec<_> = table.iter().copied().collect();
            prop_assert_eq!(entries, expected);
            for key in 0..=u8::MAX {
                prop_assert_eq!(table.get(&key), model.get(&key));
            }
        }
    }
}
