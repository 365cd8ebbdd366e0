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
    use proptest::prelude::*;

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

    #[derive(Clone, Copy, PartialEq)]
    enum Sent {
        Record,
        Mark(bool),
    }

    /// The heads and tails of a loop: each head leads to all tails, or to its own; each tail to all heads.
    struct Circle {
        heads: Vec<Rounds>,
        tails: Vec<Rounds>,
        /// From a head to a tail, by both; `None` where none leads.
        forth: Vec<Vec<Option<VecDeque<Sent>>>>,
        /// From a tail to a head, by both.
        back: Vec<Vec<VecDeque<Sent>>>,
        /// Records that each head has yet to get from outside.
        input: Vec<u32>,
        /// How many times a record may still go round, all in all.
        hops: u32,
        /// Marks that each head has sent.
        marks: Vec<u32>,
        choices: Vec<u16>,
        chosen: usize,
    }

    impl Circle {
        fn new(width: usize, own_tail: bool, input: Vec<u32>, choices: Vec<u16>) -> Self {
            let heads = input.len();
            let tails = if own_tail { heads } else { width };
            let leads = |head, tail| !own_tail || head == tail;
            let inputs = |tail| (0..heads).map(move |head| leads(head, tail));
            let outside_and = |tails| [false].into_iter().chain((0..tails).map(|_| true));
            let forth =
                |head| (0..tails).map(move |tail| leads(head, tail).then(VecDeque::new)).collect();
            Self {
                heads: (0..heads).map(|_| Rounds::new(true, outside_and(tails))).collect(),
                tails: (0..tails).map(|tail| Rounds::new(false, inputs(tail))).collect(),
                forth: (0..heads).map(forth).collect(),
                back: vec![vec![VecDeque::new(); heads]; tails],
                input,
                hops: 60,
                marks: vec![0; heads],
                choices,
                chosen: 0,
            }
        }

        /// One of so many; the first when all choices are made.
        fn choose(&mut self, of: usize) -> usize {
            let choice =
                self.choices.get(self.chosen).map_or(0, |choice| usize::from(*choice) % of);
            self.chosen += 1;
            choice
        }

        /// A record comes from outside, or out of some channel; false if nothing is left.
        fn step(&mut self) -> bool {
            let (heads, tails) = (self.heads.len(), self.tails.len());
            let open = |head: usize| self.input[head] > 0 || self.heads[head].drain == Drain::Open;
            let inputs = (0..heads).filter(|head| open(*head)).map(|head| (head, None));
            let pairs = (0..heads).flat_map(|head| (0..tails).map(move |tail| (head, tail)));
            let forth = |(head, tail): &(usize, usize)| {
                self.forth[*head][*tail].as_ref().is_some_and(|queue| !queue.is_empty())
            };
            let back = |(head, tail): &(usize, usize)| !self.back[*tail][*head].is_empty();
            let forth = pairs.clone().filter(forth).map(|(head, tail)| (head, Some((tail, true))));
            let back = pairs.filter(back).map(|(head, tail)| (head, Some((tail, false))));
            let possible: Vec<_> = inputs.chain(forth).chain(back).collect();
            if possible.is_empty() {
                return false;
            }
            match possible[self.choose(possible.len())] {
                (head, None) => self.enter(head),
                (head, Some((tail, true))) => self.at_tail(head, tail),
                (head, Some((tail, false))) => self.at_head(head, tail),
            }
            true
        }

        /// A head gets a record from outside, or comes to the end of them.
        fn enter(&mut self, head: usize) {
            if self.input[head] > 0 {
                self.input[head] -= 1;
                return self.send_forth(head);
            }
            if self.heads[head].drain() {
                self.mark_forth(head, true);
            }
            self.follow_head(head);
        }

        fn send_forth(&mut self, head: usize) {
            let leads: Vec<usize> =
                (0..self.tails.len()).filter(|tail| self.forth[head][*tail].is_some()).collect();
            let tail = leads[self.choose(leads.len())];
            let queue = self.forth[head][tail].as_mut().expect("it leads there");
            queue.push_back(Sent::Record);
        }

        fn mark_forth(&mut self, head: usize, flowing: bool) {
            self.marks[head] += 1;
            let queues = self.forth[head].iter_mut().flatten();
            queues.for_each(|queue| queue.push_back(Sent::Mark(flowing)));
        }

        fn at_tail(&mut self, head: usize, tail: usize) {
            let queue = self.forth[head][tail].as_mut().expect("it leads there");
            match queue.pop_front().expect("something waits") {
                Sent::Record if self.hops > 0 && self.choose(4) > 0 => {
                    self.hops -= 1;
                    let head = self.choose(self.heads.len());
                    self.back[tail][head].push_back(Sent::Record);
                }
                Sent::Record => {} // It leaves.
                Sent::Mark(flowing) => {
                    self.tails[tail].on_mark(InputChannel(head as u32), flowing);
                    while let Some(told) = self.tails[tail].take() {
                        let Told::Send { flowing } = told else { panic!("a tail knows of no end") };
                        let queues = self.back[tail].iter_mut();
                        queues.for_each(|queue| queue.push_back(Sent::Mark(flowing)));
                    }
                }
            }
        }

        fn at_head(&mut self, head: usize, tail: usize) {
            match self.back[tail][head].pop_front().expect("something waits") {
                Sent::Record => {
                    self.heads[head].receive();
                    self.send_forth(head);
                }
                Sent::Mark(flowing) => {
                    self.heads[head].on_mark(InputChannel(1 + tail as u32), flowing);
                    self.follow_head(head);
                }
            }
        }

        fn follow_head(&mut self, head: usize) {
            while let Some(told) = self.heads[head].take() {
                match told {
                    Told::Send { flowing } => self.mark_forth(head, flowing),
                    Told::Empty => self.judge_end(),
                }
            }
        }

        /// A head says that the loop is empty.
        fn judge_end(&self) {
            assert!(self.input.iter().all(|left| *left == 0), "a record has yet to come in");
            let forth = self.forth.iter().flatten().flatten();
            let mut queues = forth.chain(self.back.iter().flatten());
            assert!(queues.all(|queue| !queue.contains(&Sent::Record)), "a record is under way");
        }
    }

    proptest! {
        #[test]
        fn heads_agree_when_a_loop_is_empty(
            width in 1usize..4,
            own_tail: bool,
            input in prop::collection::vec(0u32..6, 1..4),
            choices in prop::collection::vec(any::<u16>(), 0..800),
        ) {
            let mut circle = Circle::new(width, own_tail, input, choices);
            let mut steps = 0;
            while circle.step() {
                steps += 1;
                prop_assert!(steps < 100_000, "marks go round for ever");
            }
            prop_assert!(circle.heads.iter().all(Rounds::is_empty));
            prop_assert!(circle.marks.iter().all(|marks| *marks == circle.marks[0]));
        }
    }
}
