//! Key groups: the unit by which keyed state is divided among subtasks.
//!
//! In Flink: `KeyGroupRangeAssignment`, `MathUtils#murmurHash`.

use crate::ids::KeyGroup;

/// The key group of a key with this hash code.
///
/// # Panics
/// If `max_parallelism` is 0 or above 32,768.
#[inline]
pub fn key_group(hash: i32, max_parallelism: u32) -> KeyGroup {
    let mut c = (hash as u32).wrapping_mul(0xcc9e_2d51).rotate_left(15);
    c = c.wrapping_mul(0x1b87_3593).rotate_left(13);
    c = c.wrapping_mul(5).wrapping_add(0xe654_6b64) ^ 4;
    c = (c ^ c >> 16).wrapping_mul(0x85eb_ca6b);
    c = (c ^ c >> 13).wrapping_mul(0xc2b2_ae35);
    c ^= c >> 16;
    // The absolute value of the smallest integer does not fit; Flink answers 0.
    let murmur = if c as i32 == i32::MIN { 0 } else { (c as i32).unsigned_abs() };
    KeyGroup(u16::try_from(murmur % max_parallelism).expect("a group is below the limit of 2^15"))
}

/// The index of the subtask that owns a key group.
#[inline]
pub fn operator_index(group: KeyGroup, max_parallelism: u32, parallelism: u32) -> u32 {
    let index = u64::from(group.0) * u64::from(parallelism) / u64::from(max_parallelism);
    u32::try_from(index).expect("an index is below the parallelism")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_those_of_flink() {
        // Flink: CheckpointCoordinatorTest.testCreateKeyGroupPartitions, hashes 0, 1, -1, 42.
        let murmurs = [593_689_054_u32, 68_075_478, 1_982_413_648, 1_134_849_565];
        for (hash, murmur) in [0, 1, -1, 42].into_iter().zip(murmurs) {
            assert_eq!(u32::from(key_group(hash, 13).0), murmur % 13, "hash {hash}");
        }
        assert_eq!(operator_index(KeyGroup(12), 13, 2), 1);
    }
}
