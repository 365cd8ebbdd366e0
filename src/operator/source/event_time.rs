//! What a reader says about event time, and when.

use super::{Source, SplitReader};
use crate::operator::Emitter;
use crate::operator::record::{Record, TimeMark};
use crate::time::{VirtualDuration, VirtualTime};

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

/// When a reader says something about event time. No part of the state: a restored reader says
/// nothing until it has read on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    /// When the next watermark is due, if something was read since the last.
    pub(super) tick: Option<VirtualTime>,
    /// The last watermark.
    pub(super) emitted: Option<VirtualTime>,
    /// When the last record was read, or else the reader first looked.
    pub(super) since: Option<VirtualTime>,
    pub(super) idle: bool,
}

impl Source {
    /// When the reader becomes idle, if nothing is due before. What was read last is told first.
    pub(super) fn idle_from(&self, options: &WatermarkOptions) -> Option<VirtualTime> {
        let Clock { since, tick, idle, .. } = self.clock;
        let timeout = options.idle_timeout.filter(|_| !idle && tick.is_none())?;
        // A reader that has not looked yet has to, to know since when.
        let from = since.map_or(VirtualTime::ZERO, |since| since + timeout);
        self.record_due().is_none_or(|due| from < due).then_some(from)
    }

    /// What event time has to say at a turn of the reader, ahead of the record if one is read.
    pub(super) fn emit_marks(&mut self, now: VirtualTime, reads: bool, out: &mut Emitter) {
        let Some(options) = self.options.watermarks.filter(|_| !self.is_finished()) else { return };
        self.clock.since.get_or_insert(now);
        self.emit_mark(now, &options, out);
        if reads {
            self.on_read(now, &options, out);
        }
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
