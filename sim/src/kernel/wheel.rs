//! The later events of a [`Queue`](super::queue::Queue): a radix heap with 64-way digits.
//!
//! An event lies at the level of the highest 6-bit digit in which its time differs from `base`, in
//! the slot which that digit names. All events of a level precede all of the levels above, and slots
//! precede one another within a level, so the earliest bucket is found with two `trailing_zeros`.
//!
//! Invariants:
//! - every event is at `base` or later;
//! - the events of one instant lie in one bucket, in order of arrival: where an event lies follows
//!   from its time and `base`, and a change of `base` moves none but those of the bucket it splits.

use super::queue::FRONT;

/// Bits of a digit; a level has `1 << DIGIT` slots, so that one `u64` tells which are occupied.
const DIGIT: u32 = 6;
/// Slots of a level.
pub(super) const SLOTS: usize = 1 << DIGIT;
/// Levels, so that the digits cover 64 bits.
const LEVELS: usize = 64_usize.div_ceil(DIGIT as usize);
/// Largest buffer, in events, kept for reuse: its cost is worth saving, its memory is not missed.
const SPARE: usize = 4 * FRONT;

/// One pending event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<E> {
    pub(super) at: u64,
    pub(super) event: E,
}

/// A radix heap of the later events.
#[derive(Clone, Debug)]
pub(super) struct Wheel<E> {
    /// Levels with an occupied slot, a bit each.
    pub(super) levels: u32,
    /// Slots of a level that hold events, a bit each.
    pub(super) slots: [u64; LEVELS],
    /// What times are compared with to find their level.
    pub(super) base: u64,
    /// Number of events.
    pub(super) len: usize,
    /// `LEVELS * SLOTS` buckets, or none before the first spill.
    pub(super) buckets: Vec<Bucket<E>>,
    /// Empty buffers for buckets that begin to fill.
    spare: Vec<Vec<Entry<E>>>,
}

/// The events of one slot in order of arrival.
#[derive(Clone, Debug)]
pub(super) struct Bucket<E> {
    /// The earliest time of `entries`; without meaning while there are none.
    pub(super) min: u64,
    pub(super) entries: Vec<Entry<E>>,
}

impl<E: Copy> Wheel<E> {
    /// An empty wheel; allocates nothing.
    pub(super) const fn new() -> Self {
        Self {
            levels: 0,
            slots: [0; LEVELS],
            base: 0,
            len: 0,
            buckets: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// The time of the earliest event.
    pub(super) fn min(&self) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        let (level, slot) = self.first();
        Some(self.bucket(level, slot).min)
    }

    /// Level and slot of the earliest bucket; there must be one.
    #[inline]
    pub(super) fn first(&self) -> (usize, usize) {
        let level = self.levels.trailing_zeros() as usize;
        (level, self.slots[level].trailing_zeros() as usize)
    }

    /// The bucket of a slot.
    #[inline]
    pub(super) fn bucket(&self, level: usize, slot: usize) -> &Bucket<E> {
        &self.buckets[level * SLOTS + slot]
    }

    /// Adds an event, which must not be before the base.
    #[inline]
    pub(super) fn push(&mut self, entry: Entry<E>) {
        if self.buckets.is_empty() {
            self.allocate();
        }
        self.len += 1;
        self.place(entry);
    }

    /// Makes the buckets, all empty. Most queues are too small ever to need them.
    #[cold]
    #[inline(never)]
    fn allocate(&mut self) {
        let empty = || Bucket { min: 0, entries: Vec::new() };
        self.buckets.resize_with(LEVELS * SLOTS, empty);
    }

    /// The last instant of the slot in which `at` lies.
    #[inline]
    pub(super) fn slot_end(level: usize, at: u64) -> u64 {
        at | ((1 << (level as u32 * DIGIT)) - 1)
    }

    /// Appends an event to the bucket that its time calls for.
    #[inline]
    fn place(&mut self, entry: Entry<E>) {
        let differs = (entry.at ^ self.base) | 1;
        let level = (differs.ilog2() / DIGIT) as usize;
        let slot = (entry.at >> (level as u32 * DIGIT)) as usize % SLOTS;
        let bucket = &mut self.buckets[level * SLOTS + slot];
        if bucket.entries.is_empty() {
            bucket.min = entry.at;
            self.slots[level] |= 1 << slot;
            self.levels |= 1 << level;
            if let Some(buffer) = self.spare.pop() {
                bucket.entries = buffer;
            }
        } else {
            bucket.min = bucket.min.min(entry.at);
        }
        bucket.entries.push(entry);
    }

    /// Removes a whole bucket from the books and returns its events.
    #[inline]
    fn detach(&mut self, level: usize, slot: usize) -> Vec<Entry<E>> {
        self.slots[level] &= !(1 << slot);
        if self.slots[level] == 0 {
            self.levels &= !(1 << level);
        }
        std::mem::take(&mut self.buckets[level * SLOTS + slot].entries)
    }

    /// Keeps an emptied buffer for the next bucket.
    #[inline]
    fn recycle(&mut self, mut buffer: Vec<Entry<E>>) {
        if buffer.capacity() <= SPARE {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// Takes the events of a bucket out of the wheel, into an empty buffer.
    #[inline]
    pub(super) fn take(&mut self, level: usize, slot: usize, into: &mut Vec<Entry<E>>) {
        let entries = self.detach(level, slot);
        self.len -= entries.len();
        let empty = std::mem::replace(into, entries);
        self.recycle(empty);
    }

    /// Deals the earliest bucket out to lower levels.
    ///
    /// The bucket's minimum becomes the base. It differs from the old base at `level` first, so
    /// that whatever lies in other buckets, all of them later, keeps its level.
    #[inline]
    pub(super) fn split(&mut self, level: usize, slot: usize) {
        self.base = self.bucket(level, slot).min;
        let entries = self.detach(level, slot);
        for entry in &entries {
            self.place(*entry);
        }
        self.recycle(entries);
    }
}
