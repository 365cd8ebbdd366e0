//! Holds records back and emits them in lots. In Flink: a function with `CheckpointedFunction` and
//! a `ListState` of its own, such as the documentation's `BufferingSink`.
//!
//! What is held is operator list state in the even-split mode: it belongs to no key, and is dealt out
//! anew when the parallelism has changed. A watermark may not overtake what came before it, so it is
//! held back with it; it is no part of the state: those upstream say it anew.

use super::instance::Instance;
use super::list_state::{Lists, held_entry, read_held, write_held};
use super::record::{Fingerprint, Record, TimeMark};
use super::state::Format;
use super::{Effect, Emitter, Operator, RestoreError, Snapshot, StateEntry};
use crate::ids::CheckpointId;
use crate::job::rescale::DistributionMode;
use crate::time::VirtualTime;

const FORMAT: Format = Format { operator: "a buffer", magic: *b"CLbu", version: 1 };

/// Emits records in lots, each in the order in which it came.
#[derive(Clone, Debug)]
pub struct Buffer {
    instance: Instance,
    threshold: usize,
    held: Vec<Record>,
    /// Comes behind what is held.
    watermark: Option<VirtualTime>,
    /// All records that were given to it.
    processed: Fingerprint,
    /// What each old subtask had held, if there was another number of them.
    lists: Lists<Record>,
}

impl Buffer {
    /// `threshold`: once so many records are held, all are emitted; 1: none is held back.
    pub fn new(instance: Instance, threshold: u32) -> Self {
        Self {
            instance,
            threshold: threshold as usize,
            held: Vec::new(),
            watermark: None,
            processed: Fingerprint::EMPTY,
            lists: Lists::new(),
        }
    }

    fn emit_all(&mut self, out: &mut Emitter) {
        self.held.drain(..).for_each(|record| out.emit(record));
        if let Some(watermark) = self.watermark.take() {
            out.emit(Record::of_mark(TimeMark::Watermark(watermark)));
        }
    }
}

impl Operator for Buffer {
    fn process(&mut self, _input: u32, record: &Record, out: &mut Emitter) {
        self.processed += Fingerprint::of(record.identity());
        self.held.push(*record);
        if self.held.len() >= self.threshold {
            self.emit_all(out);
        }
    }

    fn on_watermark(&mut self, watermark: VirtualTime, out: &mut Emitter) {
        self.watermark = self.watermark.max(Some(watermark));
        if self.held.is_empty() {
            self.emit_all(out);
        }
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId, out: &mut Snapshot) {
        write_held(&FORMAT, &self.instance, self.processed, self.held.iter(), out);
    }

    fn rescale(&mut self, writers: u32) {
        self.lists.rescale(writers);
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        let (writer, processed, held) = read_held(&FORMAT, state)?;
        if self.instance.owns_part(writer) {
            self.processed += processed;
        }
        self.held.extend(self.lists.keep(writer, held));
        Ok(())
    }

    fn open(&mut self, _restored: Option<CheckpointId>, _effects: &mut Vec<Effect>) {
        self.held.extend(self.lists.deal(DistributionMode::SplitDistribute, &self.instance));
    }

    fn release(&mut self, out: &mut Emitter) {
        self.emit_all(out);
    }

    fn finish(&mut self, out: &mut Emitter) {
        self.emit_all(out);
    }

    fn fingerprint(&self) -> Fingerprint {
        // How much of it is held is a matter of timing.
        self.processed
    }

    fn visit(&self, visitor: &mut dyn FnMut(StateEntry)) {
        visitor(StateEntry::unkeyed("processed", self.processed));
        for record in &self.held {
            visitor(held_entry("held", record));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{record, run, state};
    use super::*;
    use crate::defect::Defects;
    use crate::ids::{Attempt, OperatorId};

    fn buffer(subtask: u32, parallelism: u32) -> Buffer {
        let (operator, attempt) = (OperatorId(1), Attempt(0));
        let (max_parallelism, defects) = (128, Defects::none());
        let instance =
            Instance { operator, subtask, parallelism, max_parallelism, attempt, defects };
        Buffer::new(instance, 4)
    }

    fn offsets(buffer: &Buffer) -> Vec<u64> {
        buffer.held.iter().map(|record| record.offset).collect()
    }

    #[test]
    fn records_come_in_lots_and_in_order() {
        let records: Vec<_> = (0..10).map(|offset| record(0, offset, 7)).collect();
        let mut one = buffer(0, 1);
        assert_eq!(run(&mut one, &records), records[..8]);
        let mut out = Emitter::default();
        one.finish(&mut out);
        assert_eq!(out.records(), &records[8..]);
        assert_eq!(run(&mut Buffer::new(one.instance, 1), &records), records);
    }

    #[test]
    fn a_watermark_overtakes_nothing() {
        let mut one = buffer(0, 1);
        let watermark = |time| Record::of_mark(TimeMark::Watermark(VirtualTime(time)));
        let mut out = Emitter::default();
        one.on_watermark(VirtualTime(1), &mut out);
        one.process(0, &record(0, 2, 7), &mut out);
        one.on_watermark(VirtualTime(2), &mut out);
        one.on_watermark(VirtualTime(3), &mut out);
        assert_eq!(out.records(), [watermark(1)]);
        one.release(&mut out);
        assert_eq!(out.records(), [watermark(1), record(0, 2, 7), watermark(3)]);
    }

    #[test]
    fn what_is_held_is_dealt_out_evenly() {
        let parts: Vec<_> = (0..3)
            .map(|subtask| {
                let mut old = buffer(subtask, 3);
                let offsets = (0..u64::from(subtask) + 1).map(|at| u64::from(subtask) * 10 + at);
                let records: Vec<_> = offsets.map(|offset| record(0, offset, 7)).collect();
                assert_eq!(run(&mut old, &records), []);
                state(&mut old)
            })
            .collect();
        let shares = (0..2).map(|subtask| {
            let mut new = buffer(subtask, 2);
            new.rescale(3);
            parts.iter().for_each(|part| new.restore(part).expect("as written"));
            new.open(Some(CheckpointId(1)), &mut Vec::new());
            offsets(&new)
        });
        assert_eq!(shares.collect::<Vec<_>>(), [vec![0, 10, 11], vec![20, 21, 22]]);
        let mut same = buffer(1, 3);
        same.restore(&parts[1]).expect("as written");
        same.open(Some(CheckpointId(1)), &mut Vec::new());
        assert_eq!(offsets(&same), [10, 11]);
    }
}
