//! A queue that seldom holds more than one element.
//!
//! A world has thousands of channels, each with a queue or two, most of them empty or with one
//! element in it. A ring buffer of its own for each is one more line of memory to wait for at each
//! event; here the first element lies in the queue itself.

use std::collections::VecDeque;

/// A first-in, first-out queue whose first element is in place.
#[derive(Clone, Debug)]
pub(crate) struct Fifo<T> {
    /// `None` only if `rest` is empty too.
    first: Option<T>,
    rest: VecDeque<T>,
}

impl<T> Fifo<T> {
    /// An empty queue; it allocates nothing until it holds a second element.
    pub(crate) const fn new() -> Self {
        Self { first: None, rest: VecDeque::new() }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The element that [`pop`](Self::pop) would take.
    #[inline]
    pub(crate) fn front(&self) -> Option<&T> {
        self.first.as_ref()
    }

    #[inline]
    pub(crate) fn push(&mut self, item: T) {
        match self.first {
            None => self.first = Some(item),
            Some(_) => self.rest.push_back(item),
        }
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<T> {
        let next = self.rest.pop_front();
        std::mem::replace(&mut self.first, next)
    }

    pub(crate) fn clear(&mut self) {
        self.first = None;
        self.rest.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_queue() {
        let (mut fifo, mut model) = (Fifo::new(), VecDeque::new());
        for step in 0..500_u32 {
            // Longer and longer, then emptied again and again.
            match step % 7 < 4 - step / 200 {
                true => {
                    fifo.push(step);
                    model.push_back(step);
                }
                false => assert_eq!(fifo.pop(), model.pop_front()),
            }
            assert_eq!((fifo.front(), fifo.is_empty()), (model.front(), model.is_empty()));
        }
        fifo.push(0);
        fifo.push(1);
        fifo.clear();
        assert_eq!((fifo.pop(), fifo.is_empty()), (None, true));
    }
}
