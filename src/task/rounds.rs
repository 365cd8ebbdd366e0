//! When a loop is empty: epoch watermarks go round until nothing else does.
//!
//! Concept: a task at the head of a loop, once nothing more comes into it, sends a mark behind all that
//! it has sent, with the flag *flowing*. Whoever is in the loop waits for the marks of all its channels,
//! joins their flags and sends one on. When a mark has come back on all feedback channels, the head
//! sends the next one, flowing if a record has come round since it sent the last; if none of them is
//! flowing, no head has got or sent a record between two marks, and the loop is empty. All heads see
//! the flags of all heads, because each feedback channel joins a tail with every head, and each head
//! leads to a tail: they come to the same answer about the same mark.
//!
//! Marks are in no snapshot: a restored loop is drained from the beginning. Flink ML: epoch watermarks,
//! which a coordinator aligns (`SharedProgressAligner`); here the loop tells by itself.

use std::collections::VecDeque;

use crate::ids::InputChannel;

/// Where the end of a loop stands, at a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    /// Records may come in.
    Open,
    /// Marks go round.
    Draining,
    /// Nothing goes round.
    Empty,
}

/// What a task of a loop knows of the marks.
#[derive(Clone, Debug)]
pub(crate) struct Rounds {
    /// By channel, marks that wait for those of the other channels; `None` of a channel that brings
    /// none: that leads into the loop, or has ended.
    marks: Vec<Option<VecDeque<bool>>>,
    is_head: bool,
    drain: Drain,
    /// A record has come round since the last mark was sent.
    received: bool,
}

impl Rounds {
    /// Of a task that gets marks on these channels.
    pub(crate) fn new(is_head: bool, circulates: impl Iterator<Item = bool>) -> Self {
        let marks = circulates.map(|circulates| circulates.then(VecDeque::new)).collect();
        Self { marks, is_head, drain: Drain::Open, received: false }
    }

    /// Whether the task is the head.
    #[inline]
    pub(crate) fn is_head(&self) -> bool {
        self.is_head
    }

    /// Whether nothing goes round any more, at a head.
    pub(crate) fn is_empty(&self) -> bool {
        self.drain == Drain::Empty
    }

    /// A record has come round.
    #[inline]
    pub(crate) fn receive(&mut self) {
        self.received = true;
    }

    /// Nothing more comes into the loop: whether a first mark is to be sent, flowing.
    pub(crate) fn drain(&mut self) -> bool {
        let begins = self.drain == Drain::Open;
        if begins {
            (self.drain, self.received) = (Drain::Draining, false);
        }
        begins
    }

    /// A mark came.
    pub(crate) fn on_mark(&mut self, channel: InputChannel, flowing: bool) {
        if let Some(marks) = &mut self.marks[channel.index()] {
            marks.push_back(flowing);
        }
    }

    /// Nothing comes on a channel any more. A head that is draining gets to the end of a feedback channel
    /// with a flowing mark in it only where the job stops with a savepoint meanwhile, which holds what
    /// was going round: nothing depends on its marks then.
    pub(crate) fn on_ended(&mut self, channel: InputChannel) {
        self.marks[channel.index()] = None;
    }

    /// Takes one mark from each channel, once each has one: what is to be done about them.
    pub(crate) fn take(&mut self) -> Option<Told> {
        if self.is_head && self.drain != Drain::Draining {
            return None;
        }
        if self.marks.iter().flatten().next().is_none() {
            // Whoever is not the head gets to its end with the last of its channels.
            return self.is_head.then(|| self.end());
        }
        if self.marks.iter().flatten().any(VecDeque::is_empty) {
            return None;
        }
        let marks = self.marks.iter_mut().flatten();
        let flowing =
            marks.fold(false, |flowing, marks| flowing | (marks.pop_front() == Some(true)));
        Some(match (self.is_head, flowing) {
            (false, flowing) => Told::Send { flowing },
            (true, true) => Told::Send { flowing: std::mem::take(&mut self.received) },
            (true, false) => self.end(),
        })
    }

    fn end(&mut self) -> Told {
        self.drain = Drain::Empty;
        Told::Empty
    }
}

/// What follows from a mark on each channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// One is sent on, or round again.
    Send {
        /// Its flag.
        flowing: bool,
    },
    /// The loop is empty.
    Empty,
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNELS: [InputChannel; 2] = [InputChannel(0), InputChannel(1)];

    #[test]
    fn marks_are_joined() {
        let mut rounds = Rounds::new(false, [true, true].into_iter());
        rounds.on_mark(CHANNELS[0], false);
        assert_eq!(rounds.take(), None);
        // Another head may be a round ahead.
        rounds.on_mark(CHANNELS[0], true);
        rounds.on_mark(CHANNELS[1], false);
        assert_eq!(rounds.take(), Some(Told::Send { flowing: false }));
        assert_eq!(rounds.take(), None);
        rounds.on_ended(CHANNELS[1]);
        assert_eq!(rounds.take(), Some(Told::Send { flowing: true }));
    }

    #[test]
    fn a_head_sends_marks_until_nothing_comes_round() {
        let mut head = Rounds::new(true, [false, true].into_iter());
        head.receive();
        assert!(head.drain());
        assert!(!head.drain(), "it has begun");
        // The first is flowing, whatever came before it; a record comes round behind it.
        head.receive();
        let mut told = |flowing| {
            head.on_mark(CHANNELS[1], flowing);
            head.take()
        };
        assert_eq!(told(true), Some(Told::Send { flowing: true }));
        assert_eq!(told(true), Some(Told::Send { flowing: false }));
        assert_eq!(told(false), Some(Told::Empty));
        assert!(head.is_empty());
    }

    #[test]
    fn a_loop_whose_tails_have_all_ended_is_empty() {
        let mut head = Rounds::new(true, [false, true].into_iter());
        head.on_ended(CHANNELS[1]);
        assert_eq!(head.take(), None, "more may come in");
        assert!(head.drain());
        assert_eq!(head.take(), Some(Told::Empty));
    }
}
