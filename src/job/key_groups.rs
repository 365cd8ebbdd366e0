//! Key groups: the unit by which keyed state is divided among subtasks.
//!
//! In Flink: `KeyGroupRangeAssignment`, `MathUtils#murmurHash`. A key belongs to one group for the
//! life of a job; a change of parallelism moves whole groups.

use serde::{Deserialize, Serialize};

use crate::ids::KeyGroup;

/// The most key groups an operator may have. Flink: `UPPER_BOUND_MAX_PARALLELISM`.
pub const MAX_PARALLELISM_LIMIT: u32 = 1 << 15;

/// The fewest key groups chosen by default. Flink: `DEFAULT_LOWER_BOUND_MAX_PARALLELISM`.
const DEFAULT_MAX_PARALLELISM_MIN: u32 = 1 << 7;

/// Consecutive key groups, both ends included. Empty if `first` is greater than `last`: an operator
/// with more subtasks than key groups has some with nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyGroupRange {
    /// The first group.
    pub first: i64,
    /// The last group; one less than `first`, or lower, if there is none.
    pub last: i64,
}

impl KeyGroupRange {
    /// Whether it holds no group.
    pub fn is_empty(self) -> bool {
        self.first > self.last
    }

    /// Whether the group belongs to it.
    pub fn contains(self, group: KeyGroup) -> bool {
        (self.first..=self.last).contains(&i64::from(group.0))
    }

    /// Whether both have a group in common.
    pub fn meets(self, other: Self) -> bool {
        self.first.max(other.first) <= self.last.min(other.last)
    }
}

/// Scatters the hash code of a key; never negative.
pub fn murmur(hash: i32) -> u32 {
    let mut c = (hash as u32).wrapping_mul(0xcc9e_2d51).rotate_left(15);
    c = c.wrapping_mul(0x1b87_3593).rotate_left(13);
    c = c.wrapping_mul(5).wrapping_add(0xe654_6b64);
    c ^= 4;
    c ^= c >> 16;
    c = c.wrapping_mul(0x85eb_ca6b);
    c ^= c >> 13;
    c = c.wrapping_mul(0xc2b2_ae35);
    c ^= c >> 16;
    match c as i32 {
        // Its absolute value does not fit; Flink answers 0.
        i32::MIN => 0,
        signed => signed.unsigned_abs(),
    }
}

/// The key group of a key with this hash code.
///
/// # Panics
/// If `max_parallelism` is 0 or above [`MAX_PARALLELISM_LIMIT`].
pub fn key_group(hash: i32, max_parallelism: u32) -> KeyGroup {
    let group = murmur(hash) % checked(max_parallelism);
    KeyGroup(u16::try_from(group).expect("a group is below the limit of 2^15"))
}

/// The index of the subtask that owns a key group.
///
/// # Panics
/// If `max_parallelism` is 0 or above [`MAX_PARALLELISM_LIMIT`].
pub fn operator_index(group: KeyGroup, max_parallelism: u32, parallelism: u32) -> u32 {
    let index = u64::from(group.0) * u64::from(parallelism) / u64::from(checked(max_parallelism));
    u32::try_from(index).expect("an index is below the parallelism")
}

/// The index of the subtask that owns a key.
///
/// # Panics
/// If `max_parallelism` is 0 or above [`MAX_PARALLELISM_LIMIT`].
pub fn owner_of(key: u32, max_parallelism: u32, parallelism: u32) -> u32 {
    operator_index(key_group(key as i32, max_parallelism), max_parallelism, parallelism)
}

/// The key groups of one subtask.
///
/// # Panics
/// If `max_parallelism` is 0 or above [`MAX_PARALLELISM_LIMIT`], or `parallelism` is 0.
pub fn range_of(index: u32, max_parallelism: u32, parallelism: u32) -> KeyGroupRange {
    assert!(parallelism > 0, "an operator has subtasks");
    let (index, max) = (i64::from(index), i64::from(checked(max_parallelism)));
    let parallelism = i64::from(parallelism);
    KeyGroupRange {
        first: (index * max + parallelism - 1) / parallelism,
        // Floor, not truncation: with more subtasks than groups the dividend stays at 0 or above.
        last: ((index + 1) * max - 1) / parallelism,
    }
}

/// The number of key groups of an operator whose user named none: parallelism and a half, rounded
/// up to a power of two, within 128 and 32768.
pub fn default_max_parallelism(parallelism: u32) -> u32 {
    let wanted = u64::from(parallelism) + u64::from(parallelism / 2);
    let rounded = wanted
        .next_power_of_two()
        .clamp(u64::from(DEFAULT_MAX_PARALLELISM_MIN), u64::from(MAX_PARALLELISM_LIMIT));
    u32::try_from(rounded).expect("clamped to 2^15")
}

fn checked(max_parallelism: u32) -> u32 {
    assert!(max_parallelism > 0, "an operator has key groups");
    assert!(max_parallelism <= MAX_PARALLELISM_LIMIT, "the limit is 2^15");
    max_parallelism
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn defaults() {
        for (parallelism, expected) in
            [(1, 128), (85, 128), (86, 256), (171, 256), (172, 512), (32768, 32768)]
        {
            assert_eq!(default_max_parallelism(parallelism), expected, "{parallelism}");
        }
    }

    proptest! {
        /// Ranges cut the key groups into disjoint pieces, and the owner of a group is the one
        /// whose range holds it.
        #[test]
        fn ranges_and_owners_agree(max in 1u32..=2048, parallelism in 1u32..=600) {
            for group in (0..max).map(|g| KeyGroup(g as u16)) {
                let owner = operator_index(group, max, parallelism);
                for index in owner.saturating_sub(1)..=(owner + 1).min(parallelism - 1) {
                    let holds = range_of(index, max, parallelism).contains(group);
                    prop_assert_eq!(holds, index == owner);
                }
            }
        }
    }
}
