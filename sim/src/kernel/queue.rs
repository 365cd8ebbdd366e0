//! The event queue: what happens next, and in which order.
//!
//! Events are ordered by (time, sequence number), where the sequence number of an event is the
//! count of the pushes before it: events of one instant leave in the order in which they came.
//! The number is never stored. Every part of the structure is stable, so the *position* of an event
//! among those of its instant is its sequence number, and an entry is a time and a payload.
//!
//! # The structure
//!
//! Two levels. The **front** is a small array sorted by descending time, so that the next event is
//! its last element. A world of ten subtasks has 10 to 50 events pending and seldom leaves it: a pop
//! is a decrement, a push a few moves.
//!
//! Behind it, allocated when the front first overflows, is the **wheel**: a radix heap of 11 levels
//! of 64 buckets, by the 6-bit digits of time. When the front has run dry, the earliest bucket becomes
//! the front if it is small, and else is dealt out to lower levels first.
//!
//! # Invariants
//!
//! - `base <= now`, and every event of the wheel is at `base` or later;
//! - every event of the front precedes every event of the wheel, and a push at `horizon` or later
//!   goes to the wheel, so that it queues behind what is there;
//! - the horizon is set anew whenever the front is refilled or spilled: to the end of time if the
//!   wheel is empty, so that a few events never see the wheel.
//!
//! # Cost
//!
//! An event only ever moves to lower levels, hence at most 11 times however times are
//! distributed: this is no calendar queue that needs its bucket width guessed. A bucket of more than
//! `FRONT` events of one instant becomes the front as it is, without sorting; since `now`
//! is then that instant, no push can land in it. A spill moves at least `FRONT / 2` events and
//! happens at most once in as many operations.
//!
//! Measured by `cargo bench -p cutline-sim --bench kernel` on a shared 2-core x86_64 virtual
//! machine, as the time of `BinaryHeap<Reverse<(time, sequence number, payload)>>` over ours. Hold
//! model, payload of 16 bytes, medians of interleaved rounds; a fifth up or down between runs:
//!
//! | delays | 10 | 16 | 50 | 1,000 | 100,000 pending |
//! |---|---|---|---|---|---|
//! | exponential | 2.3 | 1.9 | 1.9 | 1.6 | 7.0 |
//! | none: one instant | 1.9 | 1.4 | 3.1 | 3.9 | 9.2 |
//! | all the same | 1.8 | 1.4 | 2.4 | 3.0 | 5.5 |
//! | some ns, one in ten an hour | 3.2 | 3.6 | 3.4 | 2.1 | 13.5 |
//! | of all scales | 1.8 | 2.5 | 3.0 | 3.4 | 5.6 |
//!
//! What was tried, with exponential delays and a payload of 8 bytes, as the same ratio. These are
//! medians of seven interleaved rounds of a loop that was not kept; two or three units in the first
//! decimal are noise, so they choose between rows and no more:
//!
//! | front | sorted in by | 10 | 16 | 32 | 50 | 100 | 1,000 | 100,000 |
//! |---|---|---|---|---|---|---|---|---|
//! | 64 | binary search, `memmove` | 1.2 | 1.3 | 1.2 | 1.2 | 1.7 | 1.6 | 4.9 |
//! | 64 | loop from the end | 1.6 | 1.4 | 1.3 | 1.0 | 1.8 | 1.6 | |
//! | 16 | loop from the end | 1.5 | 1.4 | 1.3 | 1.5 | 1.2 | 1.4 | 5.0 |
//! | 24 | loop from the end | 1.6 | 1.3 | 1.5 | 1.5 | 1.4 | 1.9 | 5.3 |
//! | **32** | loop from the end | 1.6 | 1.6 | 1.2 | 1.6 | 1.7 | 1.6 | 5.5 |

use std::cmp::Reverse;

use cutline::time::VirtualTime;

use super::wheel::{Entry, Wheel};

/// Most events the front takes before its later half is spilled into the wheel.
pub(super) const FRONT: usize = 32;
/// A priority queue of events, first by time and then by order of arrival.
///
/// Time runs one way: [`push`](Self::push) refuses an event before the last one popped.
#[derive(Clone, Debug)]
pub struct Queue<E> {
    /// The next events, latest first; at one instant, last come first.
    front: Vec<Entry<E>>,
    /// A push before this instant belongs in the front, any other in the wheel.
    horizon: u64,
    /// The time of the last popped event.
    now: u64,
    /// The events that do not fit into the front.
    wheel: Wheel<E>,
}

impl<E: Copy> Default for Queue<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Copy> Queue<E> {
    /// An empty queue at the start of time. Allocates nothing.
    pub const fn new() -> Self {
        Self { front: Vec::new(), horizon: u64::MAX, now: 0, wheel: Wheel::new() }
    }

    /// Number of pending events.
    #[inline]
    pub fn len(&self) -> usize {
        self.front.len() + self.wheel.len
    }

    /// Whether nothing is pending.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The time of the event popped last; the start of time before the first.
    #[inline]
    pub fn now(&self) -> VirtualTime {
        VirtualTime(self.now)
    }

    /// The time of the event that the next [`pop`](Self::pop) returns.
    #[inline]
    pub fn peek_time(&self) -> Option<VirtualTime> {
        match self.front.last() {
            Some(entry) => Some(VirtualTime(entry.at)),
            None => self.wheel.min().map(VirtualTime),
        }
    }

    /// Adds an event, behind all that are pending for the same instant.
    ///
    /// # Panics
    ///
    /// If `at` is before [`now`](Self::now): an effect can't precede its cause.
    #[inline]
    pub fn push(&mut self, at: VirtualTime, event: E) {
        let at = at.0;
        assert!(at >= self.now, "an event is scheduled in the past");
        let entry = Entry { at, event };
        if at < self.horizon {
            // The new event goes behind those of its instant, which means to the left of them.
            self.insert(entry);
            if self.front.len() > FRONT {
                self.spill();
            }
        } else {
            self.wheel.push(entry);
        }
    }

    /// Removes and returns the earliest event; of one instant, the one pushed first.
    #[inline]
    pub fn pop(&mut self) -> Option<(VirtualTime, E)> {
        if self.front.is_empty() {
            self.refill();
        }
        let entry = self.front.pop()?;
        self.now = entry.at;
        Some((VirtualTime(entry.at), entry.event))
    }

    /// Sorts an event into the front, behind those of its instant: to the left of them.
    ///
    /// A plain loop, since at so few elements its one mispredicted branch costs less than a binary
    /// search and a call of `memmove` with its several.
    #[inline]
    fn insert(&mut self, entry: Entry<E>) {
        self.front.push(entry);
        let entries = &mut self.front[..];
        let mut index = entries.len() - 1;
        while index > 0 && entries[index - 1].at <= entry.at {
            entries[index] = entries[index - 1];
            index -= 1;
        }
        entries[index] = entry;
    }

    /// Moves the later half of the front into the wheel, and whatever shares an instant with it:
    /// an instant is never divided, lest its earlier events be spilled behind the later ones.
    #[cold]
    #[inline(never)]
    fn spill(&mut self) {
        let half = self.front.len() / 2;
        let horizon = self.front[half].at;
        let spilled = half + self.front[half..].partition_point(|entry| entry.at == horizon);
        if self.wheel.len == 0 {
            self.wheel.base = self.now;
        }
        // The earliest first, so that events of one instant stay in order. What is in the wheel
        // already is later than all of these: it is not before the old horizon, and these are.
        for entry in self.front.drain(..spilled).rev() {
            self.wheel.push(entry);
        }
        self.horizon = horizon;
    }

    /// Makes the earliest bucket of the wheel the front, which is empty.
    ///
    /// Only `pop` may call this: it moves the base up to the event that is popped next.
    #[inline(never)]
    fn refill(&mut self) {
        while self.wheel.len > 0 {
            let (level, slot) = self.wheel.first();
            let bucket = self.wheel.bucket(level, slot);
            let (min, len) = (bucket.min, bucket.entries.len());
            let end = Wheel::<E>::slot_end(level, min);
            // No horizon lies behind the end of time, so a push there always goes to the wheel.
            // Events of that instant must then not be in the front unless it has come.
            if level > 0 && (len > FRONT || end == u64::MAX) {
                self.wheel.split(level, slot);
                continue;
            }
            self.wheel.take(level, slot, &mut self.front);
            self.front.reverse();
            if level > 0 {
                self.front.sort_by_key(|entry| Reverse(entry.at));
            }
            self.horizon = if len > FRONT {
                min
            } else if self.wheel.len == 0 {
                u64::MAX
            } else {
                end.saturating_add(1)
            };
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::wheel::SLOTS;
    use super::*;

    /// The plainest queue there is: a map keyed by (time, sequence number).
    #[derive(Default)]
    struct Model {
        pending: BTreeMap<(u64, u64), u64>,
        pushed: u64,
    }

    /// Both queues under the same operations, compared after each.
    #[derive(Default)]
    struct Pair {
        queue: Queue<u64>,
        model: Model,
    }

    impl Pair {
        fn push(&mut self, at: u64) {
            let number = self.model.pushed;
            self.model.pushed += 1;
            self.model.pending.insert((at, number), number);
            self.queue.push(VirtualTime(at), number);
            self.compare();
        }

        fn push_after(&mut self, delay: u64) {
            self.push(self.queue.now().0.saturating_add(delay));
        }

        fn pop(&mut self) -> Option<u64> {
            let expected = self.model.pending.pop_first();
            let expected = expected.map(|((at, _), number)| (VirtualTime(at), number));
            let popped = self.queue.pop();
            assert_eq!(popped, expected);
            self.compare();
            popped.map(|(at, _)| at.0)
        }

        fn drain(&mut self) {
            while self.pop().is_some() {}
        }

        fn compare(&self) {
            assert_eq!(self.queue.len(), self.model.pending.len());
            let first = self.model.pending.first_key_value();
            let first = first.map(|((at, _), _)| VirtualTime(*at));
            assert_eq!(self.queue.peek_time(), first);
            self.check();
        }

        /// The invariants of the module documentation, over every event.
        fn check(&self) {
            let Queue { front, horizon, now, wheel } = &self.queue;
            assert!(front.is_sorted_by(|a, b| a.at >= b.at));
            assert!(wheel.base <= *now);
            let latest = front.first().map_or(*now, |entry| entry.at);
            assert!(latest < *horizon || latest == *now);
            let mut count = 0;
            for (index, bucket) in wheel.buckets.iter().enumerate() {
                let (level, slot) = (index / SLOTS, index % SLOTS);
                let occupied = wheel.slots[level] >> slot & 1 == 1;
                assert_eq!(occupied, !bucket.entries.is_empty());
                assert!(!occupied || wheel.levels >> level & 1 == 1);
                for entry in &bucket.entries {
                    assert!(entry.at >= *horizon && entry.at >= latest);
                    assert!(entry.at >= bucket.min);
                }
                count += bucket.entries.len();
            }
            assert_eq!(wheel.len, count);
        }
    }

    /// One operation; delays come from several scales so that all levels of the wheel are used.
    #[derive(Clone, Copy, Debug)]
    enum Op {
        Pop,
        Push(u64),
        Burst(u8, u64),
    }

    fn delay() -> impl Strategy<Value = u64> {
        prop_oneof![
            4 => Just(0),
            4 => 0_u64..4,
            4 => 0_u64..5_000,
            2 => 0_u64..1_000_000_000,
            2 => (0_u32..64, any::<u64>()).prop_map(|(shift, word)| word >> shift),
            1 => Just(u64::MAX),
        ]
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            6 => Just(Op::Pop),
            4 => delay().prop_map(Op::Push),
            1 => (1_u8..90, delay()).prop_map(|(count, delay)| Op::Burst(count, delay)),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_a_map_keyed_by_time_and_sequence_number(
            ops in prop::collection::vec(op(), 0..300),
        ) {
            let mut pair = Pair::default();
            for op in ops {
                match op {
                    Op::Pop => {
                        pair.pop();
                    }
                    Op::Push(delay) => pair.push_after(delay),
                    Op::Burst(count, delay) => {
                        for _ in 0..count {
                            pair.push_after(delay);
                        }
                    }
                }
            }
            pair.drain();
        }
    }

    /// A function of the number of the push, giving the delay from now.
    type Delays = fn(u64) -> u64;

    /// Spreads consecutive numbers over all 64 bits.
    fn scatter(n: u64) -> u64 {
        n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn shapes_that_break_queues_keep_their_order() {
        let rows: &[(&str, Delays)] =
            &[
                ("all at one instant", |_| 0),
                ("one instant ahead", |_| 7),
                ("always later", |n| n),
                ("always earlier", |n| 10_000 - n),
                ("nanosecond steps and far timers", |n| {
                    if n % 3 == 0 { 3_600_000_000_000 } else { n % 2 }
                }),
                ("bimodal", |n| (scatter(n) >> 54) + n % 2 * 1_000_000_000),
                ("all scales", |n| scatter(n) >> (n % 64)),
                ("powers of the digit", |n| 1 << (6 * (n % 11))),
                ("the end of time", |n| u64::MAX - n % 2),
            ];
        for (name, delays) in rows {
            println!("{name}");
            let mut pair = Pair::default();
            let mut pushed = 0;
            for _ in 0..600 {
                pair.push_after(delays(pushed));
                pushed += 1;
            }
            for _ in 0..1_500 {
                pair.pop();
                pair.push_after(delays(pushed));
                pushed += 1;
            }
            pair.drain();
        }
    }

    #[test]
    fn few_events_never_allocate_the_wheel() {
        let mut queue = Queue::new();
        for number in 0..FRONT as u64 {
            queue.push(VirtualTime((number % 5) << 40), number);
        }
        for number in 0..1_000 {
            let (now, event) = queue.pop().expect("as many are pushed as popped");
            queue.push(VirtualTime(now.0 + number % 7), event);
        }
        assert_eq!(queue.len(), FRONT);
        assert!(queue.wheel.buckets.is_empty());
    }

    #[test]
    #[should_panic(expected = "scheduled in the past")]
    fn the_past_is_closed() {
        let mut queue = Queue::new();
        queue.push(VirtualTime(5), ());
        queue.pop();
        queue.push(VirtualTime(4), ());
    }

    #[test]
    fn looking_ahead_does_not_close_the_time_before() {
        let mut queue = Queue::new();
        for number in 0..200 {
            queue.push(VirtualTime(1_000_000 + number), number);
        }
        assert_eq!(queue.peek_time(), Some(VirtualTime(1_000_000)));
        queue.push(VirtualTime(3), 200);
        assert_eq!(queue.pop(), Some((VirtualTime(3), 200)));
    }
}
