//! A source that reads splits. In Flink: `SourceOperator` with a `SourceReader`.
//!
//! The record of an offset is a function of (split, offset): whoever reads it again, after
//! whatever fault, reads the same. Splits are assigned round-robin to the subtasks at a first start;
//! they are list state, of which each subtask gets an even share when the parallelism has changed, or
//! everything at each restore.

use super::instance::Instance;
use super::list_state::deal;
use super::map::below;
use super::record::{Fingerprint, Record, SplitId, TimeMark, mix};
use super::state::Format;
use super::{Effect, Emitter, Operator, RestoreError, Snapshot, StateEntry};
use crate::defect::Defect;
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

/// How a source says how far event time is. Flink: `BoundedOutOfOrdernessWatermarks`, split by
/// split; the reader emits the least of its splits'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatermarkOptions {
    /// By how much a record may be older than one before it in its split without being late.
    pub bound: VirtualDuration,
    /// Span between two watermarks; zero: one behind each record, as a generator of one's own would.
    /// Flink: `pipeline.auto-watermark-interval`, where zero means none.
    pub interval: VirtualDuration,
    /// A reader without a record for so long is idle until the next. Flink:
    /// `WatermarkStrategy#withIdleness`. Deviation: there each split is idle by itself.
    pub idle_timeout: Option<VirtualDuration>,
}

/// What a source reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceOptions {
    /// Number of splits.
    pub splits: u32,
    /// Records in each split; `None`: unbounded.
    pub records: Option<u64>,
    /// When the records of offset 0 are due.
    pub start: VirtualTime,
    /// Span between two records of one split.
    pub every: VirtualDuration,
    /// Size of the key space, at least 1. Splits with the same index of two sources have the same
    /// keys if their key spaces are equally large, so that the sources can be joined.
    pub keys: u32,
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
    /// Index of the split whose record is due first.
    next: Option<usize>,
    /// The splits of each old subtask, if there was another number of them.
    lists: Option<Vec<Vec<Split>>>,
    /// Some old subtask's splits were restored.
    is_restored: bool,
    clock: Clock,
    /// The enumerator was asked and has not answered.
    asked: bool,
    /// The enumerator has said that no split will come. Not stored: a restored reader asks again.
    no_more: bool,
}

/// When a reader says something about event time. No part of the state: a restored reader says
/// nothing until it has read on.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    /// When the next watermark is due, if something was read since the last.
    tick: Option<VirtualTime>,
    /// The last watermark.
    emitted: Option<VirtualTime>,
    /// When the last record was read, or else the reader first looked.
    since: Option<VirtualTime>,
    idle: bool,
}

#[derive(Clone, Copy, Debug)]
struct Split {
    index: u32,
    offset: u64,
    /// Stored, not derived: a split that ended stays ended.
    finished: bool,
    /// The latest event time that this attempt has read; not stored.
    latest: Option<VirtualTime>,
}

impl Split {
    fn new(index: u32, offset: u64, finished: bool) -> Self {
        Self { index, offset, finished, latest: None }
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
            lists: None,
            is_restored: false,
            clock: Clock::default(),
            asked: false,
            no_more: !options.enumerated,
        }
    }

    fn id(&self, split: &Split) -> SplitId {
        SplitId::new(self.instance.operator.0, split.index)
    }

    fn due(&self, index: u32, offset: u64) -> VirtualTime {
        let SourceOptions { start, stagger, every, .. } = self.options;
        start + stagger * u64::from(index) + every * offset
    }

    fn due_of(&self, split: &Split) -> VirtualTime {
        self.due(split.index, split.offset)
    }

    /// Of all splits that were restored, those that it would have been assigned at a first start; one
    /// that nobody names is new, and read from its beginning. Flink: the former
    /// `FlinkKafkaConsumerBase#open`, `KafkaTopicPartitionAssigner`.
    fn take_of_union(&mut self) {
        let instance = self.instance;
        let known: Vec<u32> = self.splits.iter().map(|split| split.index).collect();
        self.splits.retain(|split| instance.owns_part(split.index));
        if self.is_restored {
            let finished = self.options.records == Some(0);
            let mine = (0..self.options.splits).filter(|&index| instance.owns_part(index));
            let new = mine.filter(|index| !known.contains(index));
            self.splits.extend(new.map(|index| Split::new(index, 0, finished)));
        }
    }

    /// Ties go to the split that stands first. A scan: a reader has few splits at a time.
    ///
    /// Deviation: those that were read to their end are kept, and stored. Flink's readers drop them.
    fn choose_next(&mut self) {
        let unfinished = self.splits.iter().enumerate().filter(|(_, split)| !split.finished);
        self.next = unfinished.min_by_key(|(_, split)| self.due_of(split)).map(|(at, _)| at);
    }

    /// When the record of an offset has happened. Flink: what a `TimestampAssigner` reads from it.
    fn event_time(&self, index: u32, offset: u64) -> VirtualTime {
        let VirtualDuration(disorder) = self.options.disorder;
        if disorder == 0 {
            return self.due(index, offset);
        }
        let hash = mix(mix(TIME_SALT, u64::from(index)), offset);
        let early = (u128::from(hash) * (u128::from(disorder) + 1)) >> 64;
        self.due(index, offset) - VirtualDuration(early as u64)
    }

    fn emit(&mut self, at: usize, out: &mut Emitter) {
        let Split { index, offset, .. } = self.splits[at];
        let hash = mix(mix(KEY_SALT, u64::from(index)), offset);
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
        split.latest = split.latest.max(Some(event_time));
        split.finished = self.options.records == Some(split.offset);
        // A split that was not next has but moved further behind the one that is.
        if self.next == Some(at) {
            self.choose_next();
        }
    }

    /// The splits that were assigned to nobody when a checkpoint was taken, for the sequential
    /// reference: it reads them all, and has no enumerator.
    fn restore_unassigned(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        let read = Unassigned::decode(state);
        let unassigned =
            read.map_err(|error| RestoreError::Damaged { operator: "a split enumerator", error })?;
        let finished = self.options.records == Some(0);
        let undiscovered = unassigned.discovered..self.options.splits;
        let indices = unassigned.splits.into_iter().chain(undiscovered);
        self.splits.extend(indices.map(|index| Split::new(index, 0, finished)));
        Ok(())
    }

    /// The readings of a split, which are in a row: splits are in the order of their indices. One,
    /// unless two readers held it.
    fn readings(&self, split: SplitId) -> impl Iterator<Item = usize> {
        let start = self.splits.partition_point(|it| it.index < split.index_in_source());
        (start..self.splits.len()).take_while(move |&at| self.id(&self.splits[at]) == split)
    }
}

impl Source {
    fn record_due(&self) -> Option<VirtualTime> {
        self.next.map(|at| self.due_of(&self.splits[at]))
    }

    /// When the reader becomes idle, if nothing is due before. What was read last is told first.
    fn idle_from(&self, options: &WatermarkOptions) -> Option<VirtualTime> {
        let Clock { since, tick, idle, .. } = self.clock;
        let timeout = options.idle_timeout.filter(|_| !idle && tick.is_none())?;
        // A reader that has not looked yet has to, to know since when.
        let from = since.map_or(VirtualTime::ZERO, |since| since + timeout);
        self.record_due().is_none_or(|due| from < due).then_some(from)
    }

    /// Emits the mark that is due, if one is. A watermark that says nothing new is left out.
    fn emit_mark(&mut self, now: VirtualTime, options: &WatermarkOptions, out: &mut Emitter) {
        if self.clock.tick.is_some_and(|tick| tick <= now) {
            self.clock.tick = None;
            if let Some(time) = self.watermark().filter(|it| Some(*it) > self.clock.emitted) {
                self.clock.emitted = Some(time);
                out.emit(Record::of_mark(TimeMark::Watermark(time)));
            }
        } else if self.idle_from(options).is_some_and(|from| from <= now) {
            self.clock.idle = true;
            out.emit(Record::of_mark(TimeMark::Idle));
        }
    }

    /// A record was read: from here on the reader is not idle, and has something to tell.
    fn on_read(&mut self, now: VirtualTime, options: &WatermarkOptions, out: &mut Emitter) {
        let clock = &mut self.clock;
        if std::mem::take(&mut clock.idle) {
            out.emit(Record::of_mark(TimeMark::Active));
        }
        clock.since = Some(now);
        let period = options.interval.0;
        let next = || match period {
            0 => now,
            _ => VirtualTime((now.0 / period + 1).saturating_mul(period)),
        };
        clock.tick = clock.tick.or_else(|| Some(next()));
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
        let next = self.next.filter(|at| self.due_of(&self.splits[*at]) <= now);
        if let Some(options) = self.options.watermarks.filter(|_| !self.is_finished()) {
            self.clock.since.get_or_insert(now);
            self.emit_mark(now, &options, out);
            if next.is_some() {
                self.on_read(now, &options, out);
            }
        }
        if let Some(at) = next {
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
                let finished = self.options.records == Some(0);
                let at = self.splits.partition_point(|split| split.index <= index);
                self.splits.insert(at, Split::new(index, 0, finished));
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
        self.lists = Some(vec![Vec::new(); writers as usize]);
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        if Unassigned::is_encoded(state) {
            return self.restore_unassigned(state);
        }
        let (writer, splits) = FORMAT.read(state, |input, writer| {
            let count = input.count(SPLIT_BYTES_MIN)?;
            let mut splits = Vec::with_capacity(count);
            for _ in 0..count {
                let index = input.varint32()?;
                if index > 0xffff {
                    return Err(input.invalid("index of a split"));
                }
                splits.push(Split::new(index, input.varint()?, input.flag()?));
            }
            Ok((writer, splits))
        })?;
        // A split that two readers held (a defect) is read twice here as well: the comparison with
        // the reference is to see it.
        self.is_restored = true;
        match self.lists.as_mut().and_then(|lists| lists.get_mut(writer as usize)) {
            Some(list) => list.extend(splits),
            None => self.splits.extend(splits),
        }
        Ok(())
    }

    fn open(&mut self, restored: Option<CheckpointId>, _effects: &mut Vec<Effect>) {
        let defects = self.instance.defects;
        let mut again = false;
        if let Some(lists) = self.lists.take() {
            self.splits.extend(deal(&lists, self.options.list_mode, &self.instance));
            let own = lists.get(self.instance.subtask as usize);
            again = defects.has(Defect::D95) && own.is_none_or(Vec::is_empty);
        }
        if self.options.list_mode == DistributionMode::Union {
            self.take_of_union();
        }
        self.splits.sort_by_key(|split| split.index);
        again |= defects.has(Defect::D90) && self.splits.is_empty();
        if (restored.is_none() || again) && !self.options.enumerated {
            let finished = self.options.records == Some(0);
            let mine = (0..self.options.splits).filter(|&index| self.instance.owns_part(index));
            self.splits = mine.map(|index| Split::new(index, 0, finished)).collect();
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

#[cfg(test)]
mod tests {
    use super::super::record::TimeMark::{Active, Idle, Watermark};
    use super::*;
    use crate::defect::Defects;
    use crate::ids::{Attempt, OperatorId};

    fn options(records: Option<u64>) -> SourceOptions {
        SourceOptions {
            splits: 3,
            records,
            start: VirtualTime(100),
            every: VirtualDuration(10),
            keys: 50,
            weight: 1,
            record_bytes: 100,
            disorder: VirtualDuration::ZERO,
            watermarks: None,
            stagger: VirtualDuration::ZERO,
            enumerated: false,
            list_mode: DistributionMode::SplitDistribute,
        }
    }

    fn opened(operator: u32, subtask: u32, parallelism: u32, records: Option<u64>) -> Source {
        let instance = Instance {
            operator: OperatorId(operator),
            subtask,
            parallelism,
            max_parallelism: 128,
            attempt: Attempt(0),
            defects: Defects::none(),
        };
        let mut source = Source::new(instance, options(records));
        source.open(None, &mut Vec::new());
        source
    }

    #[test]
    fn records_come_when_they_are_due() {
        let mut source = opened(0, 0, 2, Some(2));
        let mut out = Emitter::default();
        let mut now = VirtualTime(99);
        assert!(!source.emit_due(now, &mut out));
        while let Some(due) = source.next_due() {
            now = now.max(due);
            assert!(source.emit_due(now, &mut out));
        }
        let seen: Vec<_> = out
            .records()
            .iter()
            .map(|it| (it.split.index_in_source(), it.offset, it.event_time.0))
            .collect();
        assert_eq!(seen, [(0, 0, 100), (2, 0, 100), (0, 1, 110), (2, 1, 110)]);
        assert!(source.is_finished());
    }

    #[test]
    fn an_enumerated_reader_asks_for_each_split() {
        let mut source = opened(0, 0, 1, None);
        source.options.enumerated = true;
        source = Source::new(source.instance, SourceOptions { records: Some(1), ..source.options });
        source.open(None, &mut Vec::new());
        let mut out = Emitter::default();
        for index in [2, 0] {
            assert_eq!((source.take_request(), source.take_request()), (true, false));
            assert!(!source.is_finished());
            source.on_event(SplitEvent::Add(index));
            assert!(!source.take_request());
            assert!(source.emit_due(VirtualTime::MAX, &mut out));
            assert_eq!(out.records().last().map(|it| it.split), Some(SplitId::new(0, index)));
        }
        assert!(source.take_request());
        source.on_event(SplitEvent::NoMore);
        assert!(source.is_finished() && !source.take_request());
    }

    #[test]
    fn watermarks_follow_the_slowest_split() {
        let mut source = opened(0, 0, 1, Some(4));
        source.options.splits = 3;
        source.options.watermarks = Some(WatermarkOptions {
            bound: VirtualDuration(4),
            interval: VirtualDuration(10),
            idle_timeout: None,
        });
        let mut out = Emitter::default();
        assert_eq!(source.watermark(), None);
        source.emit_from(SplitId::new(0, 0), &mut out);
        source.emit_from(SplitId::new(0, 1), &mut out);
        assert_eq!(source.watermark(), None, "nothing is known of split 2");
        source.emit_from(SplitId::new(0, 2), &mut out);
        assert_eq!(source.watermark(), Some(VirtualTime(95)));
        (0..3).for_each(|_| assert!(source.emit_from(SplitId::new(0, 2), &mut out)));
        assert_eq!(source.watermark(), Some(VirtualTime(95)));
        out.clear();
        let mut now = VirtualTime(100);
        while let Some(due) = source.next_due() {
            now = now.max(due);
            source.emit_due(now, &mut out);
        }
        let told: Vec<_> = out
            .records()
            .iter()
            .map(|it| it.mark().map_or_else(|| it.event_time.to_string(), |it| format!("{it:?}")))
            .collect();
        let watermark = |time| format!("{:?}", TimeMark::Watermark(VirtualTime(time)));
        let time = |time| VirtualTime(time).to_string();
        let expected = [
            time(110),
            time(110),
            watermark(105),
            time(120),
            time(120),
            watermark(115),
            time(130),
            time(130),
        ];
        assert_eq!(told, expected);
        assert_eq!(source.watermark(), Some(VirtualTime::MAX));
    }

    #[test]
    fn a_quiet_reader_is_idle_until_it_reads_again() {
        let mut source = opened(0, 0, 3, Some(2));
        source.options.every = VirtualDuration(50);
        source.options.watermarks = Some(WatermarkOptions {
            bound: VirtualDuration::ZERO,
            interval: VirtualDuration::ZERO,
            idle_timeout: Some(VirtualDuration(20)),
        });
        let mut out = Emitter::default();
        let mut dues = Vec::new();
        while let Some(due) = source.next_due() {
            dues.push(due.0);
            source.emit_due(due, &mut out);
        }
        assert_eq!(dues, [0, 20, 100, 100, 120, 150]);
        let marks: Vec<_> = out.records().iter().map(Record::mark).collect();
        let watermark = Some(Watermark(VirtualTime(99)));
        let (idle, active) = (Some(Idle), Some(Active));
        assert_eq!(marks, [idle, active, None, watermark, idle, active, None]);
    }

    /// What was read is told before the reader falls silent, and one that has nothing to read from
    /// its start on is not waited for, either.
    #[test]
    fn idleness_neither_swallows_a_watermark_nor_waits_for_a_record() {
        let marks_until = |source: &mut Source, until: u64| -> Vec<(u64, TimeMark)> {
            let mut marks = Vec::new();
            let mut now = VirtualTime(10);
            while let Some(due) = source.next_due().filter(|due| due.0 < until) {
                let mut out = Emitter::default();
                now = now.max(due);
                source.emit_due(now, &mut out);
                marks.extend(out.records().iter().filter_map(Record::mark).map(|it| (now.0, it)));
            }
            marks
        };
        let options = WatermarkOptions {
            bound: VirtualDuration::ZERO,
            interval: VirtualDuration(50),
            idle_timeout: Some(VirtualDuration(20)),
        };
        let mut source = opened(0, 0, 3, Some(3));
        source.options.every = VirtualDuration(200);
        source.options.watermarks = Some(options);
        let (first, second) = (Watermark(VirtualTime(99)), Watermark(VirtualTime(299)));
        let expected =
            [(30, Idle), (100, Active), (150, first), (150, Idle), (300, Active), (350, second)];
        assert_eq!(marks_until(&mut source, 351), [&expected[..], &[(350, Idle)]].concat());

        let mut waits = opened(0, 0, 3, Some(3));
        waits.options.enumerated = true;
        waits.options.watermarks = Some(options);
        waits.splits.clear();
        (waits.next, waits.no_more) = (None, false);
        assert_eq!(marks_until(&mut waits, 1_000), [(30, Idle)]);
        waits.on_event(SplitEvent::NoMore);
        assert_eq!(waits.next_due(), None);
    }

    #[test]
    fn disorder_is_bounded_and_the_same_again() {
        let read = |disorder| {
            let mut source = opened(0, 0, 1, Some(50));
            source.options.disorder = VirtualDuration(disorder);
            let mut out = Emitter::default();
            while source.emit_from(SplitId::new(0, 1), &mut out) {}
            out.records().iter().map(|it| it.event_time.0).collect::<Vec<_>>()
        };
        assert!(read(0).is_sorted());
        let disordered = read(35);
        assert!(!disordered.is_sorted());
        assert_eq!(disordered, read(35));
        let early = |(at, time): (usize, &u64)| 100 + 10 * at as u64 - time;
        assert!(disordered.iter().enumerate().map(early).all(|early| early <= 35));
    }

    #[test]
    fn equal_splits_of_two_sources_have_equal_keys() {
        let (mut one, mut other) = (opened(0, 0, 1, None), opened(7, 0, 1, None));
        let (mut out, mut other_out) = (Emitter::default(), Emitter::default());
        for _ in 0..300 {
            assert!(one.emit_due(VirtualTime::MAX, &mut out));
            assert!(other.emit_due(VirtualTime::MAX, &mut other_out));
        }
        let keys = |out: &Emitter| out.records().iter().map(|it| it.key).collect::<Vec<_>>();
        assert_eq!(keys(&out), keys(&other_out));
        assert!(keys(&out).iter().all(|&key| key < 50));
        assert_ne!(out.records()[0].identity(), other_out.records()[0].identity());
    }

    #[test]
    fn no_part_of_a_restored_state_is_no_first_start() {
        let mut source = opened(0, 5, 6, None);
        source.open(Some(CheckpointId(4)), &mut Vec::new());
        assert!(source.is_finished(), "subtask 5 of 6 has none of 3 splits");

        let mut empty = Source::new(Instance::single(OperatorId(0)), options(None));
        empty.open(Some(CheckpointId(4)), &mut Vec::new());
        assert_eq!(empty.position(SplitId::new(0, 0)), None);
    }

    #[test]
    fn a_union_is_read_by_all_and_what_it_does_not_name_is_new() {
        let union = |subtask| {
            let mut source = opened(0, 0, 1, Some(9));
            source.options.list_mode = DistributionMode::Union;
            source.instance = Instance { subtask, parallelism: 2, ..source.instance };
            source
        };
        let written = |source: &mut Source| {
            let mut snapshot = Snapshot::default();
            source.snapshot(CheckpointId(1), &mut snapshot);
            snapshot.state
        };
        let mut out = Emitter::default();
        let mut old = union(1);
        old.splits.truncate(2);
        (0..2).for_each(|index| assert!(old.emit_from(SplitId::new(0, index), &mut out)));
        let state = written(&mut old);
        for (subtask, expected) in [(0, [Some(1), None, Some(0)]), (1, [None, Some(1), None])] {
            let mut new = Source::new(union(subtask).instance, union(subtask).options);
            new.restore(&state).expect("as written");
            new.open(Some(CheckpointId(1)), &mut Vec::new());
            let positions = [0, 1, 2].map(|index| new.position(SplitId::new(0, index)));
            assert_eq!(positions, expected);
        }
        let mut finished = Source::new(union(0).instance, union(0).options);
        finished.open(Some(CheckpointId(1)), &mut Vec::new());
        assert!(finished.is_finished(), "nothing was restored");
    }

    #[test]
    fn an_ended_split_stays_ended() {
        let mut source = opened(0, 0, 1, Some(1));
        let mut out = Emitter::default();
        assert!(source.emit_from(SplitId::new(0, 1), &mut out));
        assert!(!source.emit_from(SplitId::new(0, 1), &mut out));
        let mut snapshot = Snapshot::default();
        source.snapshot(CheckpointId(1), &mut snapshot);

        let mut longer = Source::new(Instance::single(OperatorId(0)), options(Some(9)));
        longer.restore(&snapshot.state).expect("as written");
        longer.open(Some(CheckpointId(1)), &mut Vec::new());
        assert_eq!(longer.position(SplitId::new(0, 1)), Some(1));
        assert!(!longer.emit_from(SplitId::new(0, 1), &mut out));
        assert!(longer.emit_from(SplitId::new(0, 0), &mut out));
    }
}
