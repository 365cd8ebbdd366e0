//! A source that reads splits. In Flink: `SourceOperator` with a `SourceReader`.
//!
//! The record of an offset is a function of (split, offset): whoever reads it again, after
//! whatever fault, reads the same. Splits are assigned round-robin to the subtasks at a first start;
//! they are list state, of which each subtask gets an even share when the parallelism has changed, or
//! everything at each restore.

mod event_time;
#[cfg(test)]
mod tests;

use self::event_time::Clock;
pub use self::event_time::WatermarkOptions;
use super::instance::Instance;
use super::list_state::Lists;
use super::map::below;
use super::record::{Fingerprint, Record, SplitId, mix};
use super::state::Format;
use super::{Effect, Emitter, Operator, RestoreError, Snapshot, StateEntry};
use crate::defect::{Defect, PutOff};
use crate::enumerator::{SplitEvent, Unassigned};
use crate::ids::CheckpointId;
use crate::job::rescale::DistributionMode;
use crate::time::{VirtualDuration, VirtualTime};

const FORMAT: Format = Format { operator: "a source", magic: *b"CLsr", version: 1 };
const SPLIT_BYTES_MIN: usize = 3;
const KEY_SALT: u64 = 0x6b65_7973;
const TIME_SALT: u64 = 0x7469_6d65;

/// The reading side of a source.
pub trait SplitReader {
    /// When the next record, or a mark of event time, is due, which may be long ago; `None` if there
    /// is none that is known of.
    fn next_due(&self) -> Option<VirtualTime>;

    /// Emits the next record if it is due at `now`, and says whether it did; ahead of it, the marks of
    /// event time that are due.
    fn emit_due(&mut self, now: VirtualTime, out: &mut Emitter) -> bool;

    /// Emits the next record of one split whenever it is due; says whether there was one.
    fn emit_from(&mut self, split: SplitId, out: &mut Emitter) -> bool;

    /// The offset of the split's next record; `None` if the split is not read here.
    fn position(&self, split: SplitId) -> Option<u64>;

    /// Whether all splits are read to their end (or there are none).
    fn is_finished(&self) -> bool;

    /// Takes what the enumerator says.
    fn on_event(&mut self, event: SplitEvent);

    /// Whether the enumerator is to be asked for a split: once for each answer.
    fn take_request(&mut self) -> bool;

    /// The watermark of what has been read; `None` if there is none yet. Splits that have been read
    /// to their end are not waited for: without any other, it is the end of time.
    fn watermark(&self) -> Option<VirtualTime>;
}

/// Where a split is begun that no checkpoint knows. Flink: `scan.startup.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartupMode {
    /// At its first record. Flink: `OffsetsInitializer#earliest`.
    #[default]
    EarliestOffset,
    /// Behind what is there when the job is started. A split that is discovered later is begun at
    /// its first record, as in Flink's `KafkaSourceEnumerator`.
    ///
    /// Flink: `OffsetsInitializer#latest`. Deviation: that asks the broker, and asks again when a job
    /// is started anew without a checkpoint; here what a job is to read does not depend on when that
    /// is.
    LatestOffset,
}

/// What a source reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceOptions {
    /// Number of splits.
    pub splits: u32,
    /// Records in each split; `None`: unbounded.
    pub records: Option<u64>,
    /// So many of them are there when the job is started (in a split that is discovered later: when
    /// that begins to be), and no more than there are.
    pub history: u64,
    /// Where a split is begun.
    pub startup_mode: StartupMode,
    /// When the job is started: all that is there by then is due.
    pub start: VirtualTime,
    /// Span between two records of one split.
    pub every: VirtualDuration,
    /// Size of the key space, at least 1. Splits with the same index of two sources have the same
    /// keys if their key spaces are equally large, so that the sources can be joined.
    pub keys: u32,
    /// So many records of a split in a row have the same key, at least 1.
    pub key_run: u32,
    /// How many real records one stands for.
    pub weight: u32,
    /// Bytes of one real record.
    pub record_bytes: u32,
    /// A record has happened up to so long before it is due: how much depends on the record alone.
    pub disorder: VirtualDuration,
    /// Its watermarks, if it has any.
    pub watermarks: Option<WatermarkOptions>,
    /// The records of a split are due so much later than those of the split before it.
    pub stagger: VirtualDuration,
    /// Splits come from an [`Enumerator`](crate::enumerator::Enumerator), not with the start.
    pub enumerated: bool,
    /// How the list of splits is dealt out at a restore: evenly
    /// ([`SplitDistribute`](DistributionMode::SplitDistribute)), or to all
    /// ([`Union`](DistributionMode::Union)), each of whom keeps those that it would have been
    /// assigned at a first start.
    pub list_mode: DistributionMode,
}

/// One reader of a source.
#[derive(Clone, Debug)]
pub struct Source {
    instance: Instance,
    options: SourceOptions,
    /// In the order of their indices.
    splits: Vec<Split>,
    /// The record that is due first, by the index of its split.
    next: Option<Next>,
    lists: Lists<Split>,
    /// Some old subtask's splits were restored.
    is_restored: bool,
    clock: Clock,
    /// The enumerator was asked and has not answered.
    asked: bool,
    /// The enumerator has said that no split will come. Not stored: a restored reader asks again.
    no_more: bool,
    /// The start position is to be looked up once more.
    starts_again: PutOff<()>,
}

#[derive(Clone, Copy, Debug)]
struct Split {
    index: u32,
    offset: u64,
    /// Stored, not derived: a split that ended stays ended.
    finished: bool,
    /// The latest event time that this attempt has read, if there are watermarks; not stored.
    latest: Option<VirtualTime>,
}

/// By due time, then by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Next {
    due: VirtualTime,
    at: usize,
}

impl Split {
    fn new(index: u32, offset: u64, finished: bool) -> Self {
        Self { index, offset, finished, latest: None }
    }
}

impl SourceOptions {
    /// The offset at which a split is begun.
    pub fn first_offset(&self, index: u32) -> u64 {
        let is_there = index == 0 || self.stagger == VirtualDuration::ZERO;
        match self.startup_mode {
            StartupMode::LatestOffset if is_there => {
                self.records.map_or(self.history, |records| records.min(self.history))
            }
            StartupMode::LatestOffset | StartupMode::EarliestOffset => 0,
        }
    }

    /// A split that nobody has begun.
    fn unread(&self, index: u32) -> Split {
        let first = self.first_offset(index);
        Split::new(index, first, self.records == Some(first))
    }

    /// When the record of an offset is there: those of the history at once, the others one by one
    /// behind the last of them.
    #[inline]
    fn due(&self, index: u32, offset: u64) -> VirtualTime {
        let behind = offset.saturating_sub(self.history.saturating_sub(1));
        self.start + self.stagger * u64::from(index) + self.every * behind
    }
}

impl Source {
    /// A reader without splits; `open` assigns them at a first start, `restore` afterwards.
    pub fn new(instance: Instance, options: SourceOptions) -> Self {
        Self {
            instance,
            options,
            splits: Vec::new(),
            next: None,
            lists: Lists::new(),
            is_restored: false,
            clock: Clock::default(),
            asked: false,
            no_more: !options.enumerated,
            starts_again: PutOff::default(),
        }
    }

    fn id(&self, split: &Split) -> SplitId {
        SplitId::new(self.instance.operator.0, split.index)
    }

    /// What it is assigned at a first start.
    fn splits_at_first(&self) -> impl Iterator<Item = Split> + '_ {
        let mine = (0..self.options.splits).filter(|&index| self.instance.owns_part(index));
        mine.map(|index| self.options.unread(index))
    }

    fn record_due(&self) -> Option<VirtualTime> {
        self.next.map(|next| next.due)
    }

    /// Of all splits that were restored, those that it would have been assigned at a first start; one
    /// that nobody names is new, and read from its beginning. Flink: the former
    /// `FlinkKafkaConsumerBase#open`, `KafkaTopicPartitionAssigner`.
    fn take_of_union(&mut self) {
        let instance = self.instance;
        let known: Vec<u32> = self.splits.iter().map(|split| split.index).collect();
        self.splits.retain(|split| instance.owns_part(split.index));
        if self.is_restored {
            let new = self.splits_at_first().filter(|split| !known.contains(&split.index));
            self.splits.extend(new.collect::<Vec<_>>());
        }
    }

    /// Ties go to the split that stands first. A scan: a reader has few splits at a time.
    ///
    /// Deviation: those that were read to their end are kept, and stored. Flink's readers drop them.
    fn choose_next(&mut self) {
        let unfinished = self.splits.iter().enumerate().filter(|(_, split)| !split.finished);
        let due = |split: &Split| self.options.due(split.index, split.offset);
        self.next = unfinished.map(|(at, split)| Next { due: due(split), at }).min();
    }

    /// When the record of an offset has happened. Flink: what a `TimestampAssigner` reads from it.
    fn event_time(&self, index: u32, offset: u64) -> VirtualTime {
        let VirtualDuration(disorder) = self.options.disorder;
        if disorder == 0 {
            return self.options.due(index, offset);
        }
        let hash = mix(mix(TIME_SALT, u64::from(index)), offset);
        let early = (u128::from(hash) * (u128::from(disorder) + 1)) >> 64;
        self.options.due(index, offset) - VirtualDuration(early as u64)
    }

    fn emit(&mut self, at: usize, out: &mut Emitter) {
        let Split { index, offset, .. } = self.splits[at];
        let run = match self.options.key_run {
            1 => offset, // As it is almost always, and a division is dear.
            key_run => offset / u64::from(key_run),
        };
        let hash = mix(mix(KEY_SALT, u64::from(index)), run);
        let event_time = self.event_time(index, offset);
        out.emit(Record {
            split: SplitId::new(self.instance.operator.0, index),
            key: below(hash, self.options.keys),
            offset,
            path: 0,
            event_time,
            weight: self.options.weight,
            record_bytes: self.options.record_bytes,
        });
        let split = &mut self.splits[at];
        split.offset += 1;
        if self.options.watermarks.is_some() {
            split.latest = split.latest.max(Some(event_time));
        }
        split.finished = self.options.records == Some(split.offset);
        // A split that was not next has but moved further behind the one that is.
        if self.next.is_some_and(|next| next.at == at) {
            self.choose_next();
        }
    }

    /// [`Defect::D62`]: a split of which nothing had been read begins behind what is there by now.
    #[cold]
    fn start_again(&mut self, now: VirtualTime) {
        let options = self.options;
        for split in &mut self.splits {
            if split.offset == options.first_offset(split.index) {
                let there = |offset| options.due(split.index, offset) <= now;
                while options.records != Some(split.offset) && there(split.offset) {
                    split.offset += 1;
                }
                split.finished = options.records == Some(split.offset);
            }
        }
        self.choose_next();
    }

    /// The splits that were assigned to nobody when a checkpoint was taken, for the sequential
    /// reference: it reads them all, and has no enumerator.
    fn restore_unassigned(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        let read = Unassigned::decode(state);
        let unassigned =
            read.map_err(|error| RestoreError::Damaged { operator: "a split enumerator", error })?;
        let undiscovered = unassigned.discovered..self.options.splits;
        let indices = unassigned.splits.into_iter().chain(undiscovered);
        self.splits.extend(indices.map(|index| self.options.unread(index)));
        Ok(())
    }

    /// The readings of a split, which are in a row: splits are in the order of their indices. One,
    /// unless two readers held it.
    fn readings(&self, split: SplitId) -> impl Iterator<Item = usize> {
        let start = self.splits.partition_point(|it| it.index < split.index_in_source());
        (start..self.splits.len()).take_while(move |&at| self.id(&self.splits[at]) == split)
    }
}

impl SplitReader for Source {
    fn next_due(&self) -> Option<VirtualTime> {
        let record = self.record_due();
        let options = self.options.watermarks.as_ref().filter(|_| !self.is_finished());
        let Some(options) = options else { return record };
        [record, self.clock.tick, self.idle_from(options)].into_iter().flatten().min()
    }

    fn emit_due(&mut self, now: VirtualTime, out: &mut Emitter) -> bool {
        if let Some(()) = self.starts_again.take() {
            self.start_again(now);
        }
        let next = self.next.filter(|next| next.due <= now);
        if self.options.watermarks.is_some() {
            self.emit_marks(now, next.is_some(), out);
        }
        if let Some(Next { at, .. }) = next {
            self.emit(at, out);
        }
        next.is_some()
    }

    fn emit_from(&mut self, split: SplitId, out: &mut Emitter) -> bool {
        let at = self.readings(split).find(|&at| !self.splits[at].finished);
        if let Some(at) = at {
            self.emit(at, out);
        }
        at.is_some()
    }

    fn position(&self, split: SplitId) -> Option<u64> {
        self.readings(split).next().map(|at| self.splits[at].offset)
    }

    fn is_finished(&self) -> bool {
        self.next.is_none() && self.no_more
    }

    fn on_event(&mut self, event: SplitEvent) {
        self.asked = false;
        match event {
            SplitEvent::Add(index) => {
                let at = self.splits.partition_point(|split| split.index <= index);
                self.splits.insert(at, self.options.unread(index));
                self.choose_next();
            }
            SplitEvent::NoMore => self.no_more = true,
        }
    }

    fn take_request(&mut self) -> bool {
        let asks = self.next.is_none() && !self.no_more && !self.asked;
        self.asked |= asks;
        asks
    }

    fn watermark(&self) -> Option<VirtualTime> {
        if self.is_finished() {
            return Some(VirtualTime::MAX);
        }
        let WatermarkOptions { bound, .. } = self.options.watermarks?;
        let unfinished = self.splits.iter().filter(|split| !split.finished);
        // Something earlier may still come: up to the bound, and at the very same instant.
        let of = |split: &Split| split.latest?.0.checked_sub(bound.0)?.checked_sub(1);
        let least = unfinished.map(of).min().flatten();
        least.map(VirtualTime)
    }
}

impl Operator for Source {
    fn process(&mut self, input: u32, _record: &Record, _out: &mut Emitter) {
        unreachable!("a source has no input {input}");
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId, out: &mut Snapshot) {
        let mut state = FORMAT.write(&self.instance);
        state.varint(self.splits.len() as u64);
        for split in &self.splits {
            state.varint(u64::from(split.index));
            state.varint(split.offset);
            state.flag(split.finished);
        }
        out.state = state.seal();
        out.nominal = out.state.len() as u64;
    }

    fn rescale(&mut self, writers: u32) {
        self.lists.rescale(writers);
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        if Unassigned::is_encoded(state) {
            return self.restore_unassigned(state);
        }
        let (writer, splits) = FORMAT.read(state, |input, writer| {
            let splits = input.list(SPLIT_BYTES_MIN, |input| {
                let index = input.varint32()?;
                if index > 0xffff {
                    return Err(input.invalid("index of a split"));
                }
                Ok(Split::new(index, input.varint()?, input.flag()?))
            })?;
            Ok((writer, splits))
        })?;
        // A split that two readers held (a defect) is read twice here as well: the comparison with
        // the reference is to see it.
        self.is_restored = true;
        self.splits.extend(self.lists.keep(writer, splits));
        Ok(())
    }

    fn open(&mut self, restored: Option<CheckpointId>, _effects: &mut Vec<Effect>) {
        let defects = self.instance.defects;
        let mut again = defects.has(Defect::D95) && self.lists.lacks(self.instance.subtask);
        self.splits.extend(self.lists.deal(self.options.list_mode, &self.instance));
        if self.options.list_mode == DistributionMode::Union {
            self.take_of_union();
        }
        self.splits.sort_by_key(|split| split.index);
        again |= defects.has(Defect::D90) && self.splits.is_empty();
        if (restored.is_none() || again) && !self.options.enumerated {
            self.splits = self.splits_at_first().collect();
        }
        let latest = self.options.startup_mode == StartupMode::LatestOffset;
        if defects.has(Defect::D62) && latest && restored.is_some() {
            self.starts_again.put(());
        }
        self.choose_next();
    }

    fn fingerprint(&self) -> Fingerprint {
        let of = |split: &Split| {
            let sum = mix(mix(KEY_SALT, u64::from(self.id(split).0)), split.offset);
            Fingerprint { count: split.offset, sum }
        };
        self.splits.iter().map(of).fold(Fingerprint::EMPTY, |sum, part| sum + part)
    }

    fn visit(&self, visitor: &mut dyn FnMut(StateEntry)) {
        for split in &self.splits {
            visitor(StateEntry {
                what: "split",
                key: None,
                split: Some(self.id(split)),
                path: 0,
                count: split.offset,
                digest: u64::from(split.finished),
            });
        }
    }

    fn as_source(&mut self) -> Option<&mut dyn SplitReader> {
        Some(self)
    }
}
