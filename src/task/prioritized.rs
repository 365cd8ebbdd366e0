//! A queue in which some elements overtake the others.
//!
//! Concept: priority elements stand at the front, in their own order; everything else follows in
//! its order. In Flink: `PrioritizedDeque`. One ring buffer holds both parts, because priority
//! elements are few and inserting near the front of a ring moves only what stands before.

use std::collections::VecDeque;

/// A FIFO queue with a priority part in front of its normal part.
#[derive(Clone, Debug)]
pub(crate) struct PrioritizedDeque<T> {
    items: VecDeque<T>,
    /// How many of `items`, from the front, have priority.
    priority: u32,
}

impl<T> PrioritizedDeque<T> {
    /// An empty queue; it allocates nothing until something is pushed.
    pub(crate) const fn new() -> Self {
        Self { items: VecDeque::new(), priority: 0 }
    }

    /// Number of elements of both parts.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether both parts are empty.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether the priority part holds anything.
    #[inline]
    pub(crate) fn has_priority(&self) -> bool {
        self.priority > 0
    }

    /// The element that [`pop`](Self::pop) would take.
    #[inline]
    pub(crate) fn front(&self) -> Option<&T> {
        self.items.front()
    }

    /// Appends to the normal part.
    #[inline]
    pub(crate) fn push(&mut self, item: T) {
        self.items.push_back(item);
    }

    /// Appends to the priority part.
    pub(crate) fn push_priority(&mut self, item: T) {
        self.items.insert(self.priority as usize, item);
        self.priority += 1;
    }

    /// Takes the first element, of the priority part if that holds anything.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<T> {
        let item = self.items.pop_front();
        self.priority = self.priority.saturating_sub(1);
        item
    }

    /// Takes the first element if `take` makes something of it; so it is read in place, and only
    /// what is made of it is copied.
    #[inline]
    pub(crate) fn pop_as<R>(&mut self, take: impl FnOnce(&T) -> Option<R>) -> Option<R> {
        let made = take(self.items.front()?)?;
        self.pop();
        Some(made)
    }

    /// Takes the first element of the normal part that `wanted` accepts.
    pub(crate) fn take_normal(&mut self, wanted: impl FnMut(&T) -> bool) -> Option<T> {
        let place = self.normal().position(wanted)?;
        self.items.remove(self.priority as usize + place)
    }

    /// Drops all elements, and the memory they occupied.
    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    /// All elements, in the order in which they would be taken.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter()
    }

    /// The elements of the normal part, in order.
    pub(crate) fn normal(&self) -> impl Iterator<Item = &T> {
        self.items.range(self.priority as usize..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a script: a letter pushes, a capital pushes with priority, `.` pops, `!x` takes `x`
    /// out of the normal part. Returns what was popped and taken, then `|` and what is left.
    fn run(script: &str) -> String {
        let mut queue = PrioritizedDeque::new();
        let mut seen = String::new();
        let mut letters = script.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '.' => seen.extend(queue.pop()),
                '!' => {
                    let wanted = letters.next().expect("a letter follows every `!`");
                    seen.extend(queue.take_normal(|&item| item == wanted));
                }
                upper if upper.is_uppercase() => queue.push_priority(upper),
                lower => queue.push(lower),
            }
        }
        assert_eq!(queue.len(), queue.iter().count());
        seen.push('|');
        seen.extend(queue.iter());
        seen
    }

    #[test]
    fn priority_overtakes_and_each_part_keeps_its_order() {
        for (name, script, expected) in [
            ("fifo", "abc..", "ab|c"),
            ("overtakes", "abX.", "X|ab"),
            ("priority is fifo", "aXYb", "|XYab"),
            ("later priority stays behind", "aXY.Z", "X|YZa"),
            ("taken from the normal part", "Xabc!b", "b|Xac"),
            ("not taken from the priority part", "Xa!X", "|Xa"),
            ("pop of an empty queue", ".a.X", "a|X"),
        ] {
            assert_eq!(run(script), expected, "{name}");
        }
    }
}
