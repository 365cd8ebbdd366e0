//! The record model: what makes loss, duplication and reorder visible at O(1) a record.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::message::Payload;
use crate::time::VirtualTime;

/// A split of a source: the source's operator id in the upper half, the split's index in the lower.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct SplitId(pub u32);

impl SplitId {
    /// The `index`-th split of a source (both below 65,536).
    pub fn new(source: u32, index: u32) -> Self {
        debug_assert!(source < 1 << 16);
        debug_assert!(index < 1 << 16);
        Self(source << 16 | index)
    }

    /// The number of the split within its source.
    pub fn index_in_source(self) -> u32 {
        self.0 & 0xffff
    }

    /// The operator id of the source.
    pub fn source(self) -> u32 {
        self.0 >> 16
    }
}

impl fmt::Display for SplitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "split-{}.{}", self.source(), self.index_in_source())
    }
}

/// What event time has to say to the receivers of a channel. Flink: `Watermark`, `WatermarkStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimeMark {
    /// No record with this event time or an earlier one is to come on the channel.
    Watermark(VirtualTime),
    /// The sender has nothing to read: nobody is to wait for its watermarks.
    Idle,
    /// It has something to read again.
    Active,
}

/// One simulated record, which travels as one buffer; or, with a weight of zero, a [`TimeMark`]: as
/// in Flink it travels among the records, takes a buffer, and is in flight where they are.
///
/// (split, offset) names the source's record it stems from; `path` names the way it took (edges
/// and copies), so that the copies that a fan-out makes are different records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// The split it stems from.
    pub split: SplitId,
    /// The key by which hash edges route it; its 32-bit hash code is the key itself.
    pub key: u32,
    /// Its place in the split.
    pub offset: u64,
    /// A hash of the edges and copies it came through.
    pub path: u64,
    /// When it happened (event time): when it is due, or earlier where a source is out of order.
    pub event_time: VirtualTime,
    /// How many real records it stands for; 0 if it is a [`TimeMark`].
    pub weight: u32,
    /// Bytes of one real record.
    pub record_bytes: u32,
}

impl Record {
    /// Of no source: marks stem from no split.
    const OF_TIME: SplitId = SplitId(u32::MAX);
    const IDLE: u64 = 1;
    const ACTIVE: u64 = 2;

    /// A mark, as it travels.
    pub fn of_mark(mark: TimeMark) -> Self {
        let (time, path) = match mark {
            TimeMark::Watermark(time) => (time, 0),
            TimeMark::Idle => (VirtualTime::MAX, Self::IDLE),
            TimeMark::Active => (VirtualTime::MAX, Self::ACTIVE),
        };
        Self {
            split: Self::OF_TIME,
            key: 0,
            // Tells one watermark from another, as it does records.
            offset: time.0,
            path,
            event_time: time,
            weight: 0,
            record_bytes: 0,
        }
    }

    /// The mark that it is; `None` of a record.
    #[inline]
    pub fn mark(&self) -> Option<TimeMark> {
        if self.is_data() {
            return None;
        }
        Some(match self.path {
            Self::IDLE => TimeMark::Idle,
            Self::ACTIVE => TimeMark::Active,
            _ => TimeMark::Watermark(self.event_time),
        })
    }

    /// Whether it stands for real records.
    #[inline]
    pub fn is_data(&self) -> bool {
        self.weight > 0
    }

    /// Fewest bytes that one is written in.
    pub(crate) const BYTES_MIN: usize = 1 + 1 + 1 + 8 + 1 + 1 + 1;

    /// Writes it into a state.
    pub(crate) fn write(&self, out: &mut Encoder) {
        out.varint(u64::from(self.split.0));
        out.varint(u64::from(self.key));
        out.varint(self.offset);
        out.fixed(self.path);
        out.varint(self.event_time.0);
        out.varint(u64::from(self.weight));
        out.varint(u64::from(self.record_bytes));
    }

    /// Reads one from a state.
    pub(crate) fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            split: SplitId(input.varint32()?),
            key: input.varint32()?,
            offset: input.varint()?,
            path: input.fixed()?,
            event_time: VirtualTime(input.varint()?),
            weight: input.varint32()?,
            record_bytes: input.varint32()?,
        })
    }

    /// A strong hash of what the record *is*: split, offset, path and key, not when it was emitted.
    #[inline]
    pub fn identity(&self) -> u64 {
        let who = u64::from(self.split.0) << 32 | u64::from(self.key);
        mix(mix(self.path ^ who, self.offset), 0x9e37_79b9_7f4a_7c15)
    }
}

impl Payload for Record {
    #[inline]
    fn bytes(&self) -> u64 {
        u64::from(self.weight) * u64::from(self.record_bytes)
    }
}

/// Mixes a word into a hash: the folded 64 × 64 → 128 bit product of the wyhash family. Not
/// cryptographic; a change of one bit on either side changes half of the result.
#[inline]
pub fn mix(hash: u64, word: u64) -> u64 {
    let product =
        u128::from(hash ^ 0x2d35_8dcc_aa6c_78a5) * u128::from(word ^ 0x8bb8_4b93_962e_acc9);
    (product as u64) ^ ((product >> 64) as u64)
}

/// An order-free digest of a multiset: how many elements, and the sum of their hashes. Two
/// multisets with equal fingerprints are equal but for a 64-bit coincidence; fingerprints of parts
/// add up to that of the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Number of elements.
    pub count: u64,
    /// Wrapping sum of their hashes.
    pub sum: u64,
}

impl Fingerprint {
    /// Of nothing.
    pub const EMPTY: Self = Self { count: 0, sum: 0 };

    /// Of one element with this hash.
    pub const fn of(hash: u64) -> Self {
        Self { count: 1, sum: hash }
    }
}

impl Add for Fingerprint {
    type Output = Self;
    #[inline]
    fn add(self, other: Self) -> Self {
        Self { count: self.count.wrapping_add(other.count), sum: self.sum.wrapping_add(other.sum) }
    }
}

impl AddAssign for Fingerprint {
    #[inline]
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Fingerprint {
    type Output = Self;
    #[inline]
    fn sub(self, other: Self) -> Self {
        Self { count: self.count.wrapping_sub(other.count), sum: self.sum.wrapping_sub(other.sum) }
    }
}
