//! Asks the outside about each record, and emits it when the answer is here. In Flink:
//! `AsyncWaitOperator`, `OrderedStreamElementQueue`, `UnorderedStreamElementQueue`.
//!
//! Records wait in a queue of bounded length, with the watermarks that came between them. Ordered,
//! they leave as they came; unordered, as they are answered, but none overtakes a watermark, nor is
//! overtaken by one. What has not left is the operator's state, list state of the even-split mode: a
//! barrier waits for no answer, and after a restore everything is asked again.
//!
//! A call leaves as a value ([`Effect::Call`]), and its answer comes back by
//! [`Caller::on_answer`]: how long it takes is the outside's business. Deviation: calls have no timeout
//! and cannot fail.

use std::collections::VecDeque;

use super::instance::Instance;
use super::list_state::{Lists, held_entry, read_held, write_held};
use super::record::{Fingerprint, Record, TimeMark};
use super::state::Format;
use super::{Effect, Emitter, Operator, RestoreError, Snapshot, StateEntry};
use crate::ids::CheckpointId;
use crate::job::rescale::DistributionMode;
use crate::time::VirtualTime;

const FORMAT: Format = Format { operator: "async I/O", magic: *b"CLas", version: 1 };

/// An operator that calls the outside and goes on meanwhile.
pub trait Caller {
    /// The outside has answered a call.
    fn on_answer(&mut self, call: u64);

    /// Whether something can be emitted.
    fn can_emit(&self) -> bool;

    /// Emits what can be emitted.
    fn emit(&mut self, out: &mut Emitter);

    /// Whether there is no room for another record.
    fn is_full(&self) -> bool;

    /// Whether something has not been emitted yet.
    fn is_waiting(&self) -> bool;
}

/// How calls are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallOptions {
    /// At most so many records wait; at least 1. Flink: the `capacity` of `AsyncDataStream`.
    pub capacity: u32,
    /// Records leave in the order in which they came. Flink: `AsyncDataStream#orderedWait`,
    /// `#unorderedWait`.
    pub ordered: bool,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct AsyncWait {
    instance: Instance,
    /// `None`: the sequential reference, which asks nobody and holds nothing back.
    options: Option<CallOptions>,
    queue: VecDeque<Entry>,
    /// Records in the queue.
    waiting: usize,
    /// The number of the next call.
    next: u64,
    /// All records that were given to it.
    processed: Fingerprint,
    /// What each old subtask had in its queue, if there was another number of them.
    lists: Lists<Record>,
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    Record { call: u64, record: Record, answered: bool },
    Watermark(VirtualTime),
}

impl AsyncWait {
    /// `options`: `None` makes an operator that emits each record at once.
    pub fn new(instance: Instance, options: Option<CallOptions>) -> Self {
        Self {
            instance,
            options,
            queue: VecDeque::new(),
            waiting: 0,
            next: 0,
            processed: Fingerprint::EMPTY,
            lists: Lists::new(),
        }
    }

    /// Puts a record into the queue; answers the number of its call.
    fn wait(&mut self, record: Record) -> u64 {
        let call = self.next;
        self.next += 1;
        self.waiting += 1;
        self.queue.push_back(Entry::Record { call, record, answered: false });
        call
    }

    fn records(&self) -> impl Iterator<Item = &Record> + Clone {
        self.queue.iter().filter_map(|entry| match entry {
            Entry::Record { record, .. } => Some(record),
            Entry::Watermark(_) => None,
        })
    }

    /// The first entry that may leave.
    fn ready(&self) -> Option<usize> {
        let is_ready = |entry: &Entry| match entry {
            Entry::Record { answered, .. } => *answered,
            Entry::Watermark(_) => true,
        };
        let first = self.queue.front()?;
        if is_ready(first) {
            return Some(0);
        }
        if self.options.is_none_or(|options| options.ordered) {
            return None;
        }
        let segment = self.queue.iter().take_while(|it| matches!(it, Entry::Record { .. }));
        segment.enumerate().find(|(_, entry)| is_ready(entry)).map(|(at, _)| at)
    }

    fn emit_all(&mut self, out: &mut Emitter) {
        self.waiting = 0;
        for entry in self.queue.drain(..) {
            out.emit(entry.sent());
        }
    }
}

impl Entry {
    fn sent(self) -> Record {
        match self {
            Self::Record { record, .. } => record,
            Self::Watermark(time) => Record::of_mark(TimeMark::Watermark(time)),
        }
    }
}

impl Caller for AsyncWait {
    fn on_answer(&mut self, of: u64) {
        for entry in &mut self.queue {
            if let Entry::Record { call, answered, .. } = entry
                && *call == of
            {
                *answered = true;
                return;
            }
        }
    }

    fn can_emit(&self) -> bool {
        self.ready().is_some()
    }

    fn emit(&mut self, out: &mut Emitter) {
        while let Some(at) = self.ready() {
            let entry = self.queue.remove(at).expect("it is ready");
            self.waiting -= usize::from(matches!(entry, Entry::Record { .. }));
            out.emit(entry.sent());
        }
    }

    fn is_full(&self) -> bool {
        self.options.is_some_and(|options| self.waiting >= options.capacity as usize)
    }

    fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }
}

impl Operator for AsyncWait {
    fn process(&mut self, _input: u32, record: &Record, out: &mut Emitter) {
        self.processed += Fingerprint::of(record.identity());
        if self.options.is_none() {
            self.emit_all(out);
            out.emit(*record);
            return;
        }
        let call = self.wait(*record);
        out.effect(Effect::Call { call });
    }

    fn on_watermark(&mut self, watermark: VirtualTime, out: &mut Emitter) {
        match self.queue.back_mut() {
            None => out.emit(Record::of_mark(TimeMark::Watermark(watermark))),
            Some(Entry::Watermark(last)) => *last = watermark,
            Some(Entry::Record { .. }) => self.queue.push_back(Entry::Watermark(watermark)),
        }
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId, out: &mut Snapshot) {
        write_held(&FORMAT, &self.instance, self.processed, self.records(), out);
    }

    fn rescale(&mut self, writers: u32) {
        self.lists.rescale(writers);
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        let (writer, processed, waiting) = read_held(&FORMAT, state)?;
        if self.instance.owns_part(writer) {
            self.processed += processed;
        }
        for record in self.lists.keep(writer, waiting) {
            self.wait(record);
        }
        Ok(())
    }

    fn open(&mut self, _restored: Option<CheckpointId>, effects: &mut Vec<Effect>) {
        for record in self.lists.deal(DistributionMode::SplitDistribute, &self.instance) {
            self.wait(record);
        }
        if self.options.is_some() {
            effects.extend((0..self.next).map(|call| Effect::Call { call }));
        }
    }

    fn release(&mut self, out: &mut Emitter) {
        self.emit_all(out);
    }

    fn finish(&mut self, out: &mut Emitter) {
        self.emit_all(out);
    }

    fn fingerprint(&self) -> Fingerprint {
        // How much of it waits is a matter of timing.
        self.processed
    }

    fn visit(&self, visitor: &mut dyn FnMut(StateEntry)) {
        visitor(StateEntry::unkeyed("processed", self.processed));
        for record in self.records() {
            visitor(held_entry("in flight", record));
        }
    }

    fn as_caller(&mut self) -> Option<&mut dyn Caller> {
        self.options.is_some().then_some(self as &mut dyn Caller)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{record, state};
    use super::*;
    use crate::ids::OperatorId;

    fn waiting(ordered: bool, offsets: &[u64]) -> AsyncWait {
        let options = CallOptions { capacity: 4, ordered };
        let mut operator = AsyncWait::new(Instance::single(OperatorId(1)), Some(options));
        let mut out = Emitter::default();
        for &offset in offsets {
            operator.process(0, &record(0, offset, 7), &mut out);
        }
        let calls: Vec<_> = (0..offsets.len() as u64).map(|call| Effect::Call { call }).collect();
        assert_eq!((out.records(), out.effects()), (&[][..], &calls[..]));
        operator
    }

    fn emitted(operator: &mut AsyncWait, call: u64) -> Vec<u64> {
        operator.on_answer(call);
        let mut out = Emitter::default();
        operator.emit(&mut out);
        out.records().iter().map(|record| record.offset).collect()
    }

    #[test]
    fn ordered_records_leave_as_they_came() {
        let mut operator = waiting(true, &[10, 11, 12]);
        assert_eq!(emitted(&mut operator, 2), [0; 0]);
        assert_eq!(emitted(&mut operator, 0), [10]);
        assert_eq!(emitted(&mut operator, 1), [11, 12]);
        assert!(!operator.is_waiting());
    }

    #[test]
    fn unordered_records_leave_as_they_are_answered_but_pass_no_watermark() {
        let mut operator = waiting(false, &[10, 11]);
        let mut out = Emitter::default();
        operator.on_watermark(VirtualTime(50), &mut out);
        operator.on_watermark(VirtualTime(51), &mut out);
        operator.process(0, &record(0, 12, 7), &mut out);
        assert_eq!(out.records(), []);
        assert_eq!(emitted(&mut operator, 2), [0; 0]);
        assert_eq!(emitted(&mut operator, 1), [11]);
        assert_eq!(emitted(&mut operator, 0), [10, 51, 12]);
    }

    #[test]
    fn a_full_queue_takes_no_more() {
        let mut operator = waiting(true, &[1, 2, 3, 4]);
        assert!(operator.is_full());
        assert_eq!(emitted(&mut operator, 0), [1]);
        assert!(!operator.is_full());
    }

    #[test]
    fn what_waits_is_asked_again_after_a_restore() {
        let mut old = waiting(true, &[1, 2, 3]);
        assert_eq!(emitted(&mut old, 0), [1]);
        old.on_answer(2);
        let mut new = waiting(true, &[]);
        new.restore(&state(&mut old)).expect("as written");
        let mut effects = Vec::new();
        new.open(Some(CheckpointId(1)), &mut effects);
        assert_eq!(effects, [0, 1].map(|call| Effect::Call { call }));
        assert_eq!(emitted(&mut new, 0), [2]);
        assert_eq!(new.fingerprint(), old.fingerprint());
    }
}
