//! Event-time windows by key. In Flink: `WindowOperator` with `TumblingEventTimeWindows` or
//! `SlidingEventTimeWindows` and an `EventTimeTrigger`.
//!
//! A window of a key is opened by its first record, collects, and fires once, when the watermark
//! has passed its end: one record for each (key, window). The timer of a window is its end, so the
//! windows, in the order of their ends, are the queue of timers. A record all of whose windows have
//! fired is late: it is dropped, and counted.
//!
//! The watermark is no part of the state: after a restore the operator waits for new ones, as
//! Flink's does.

use std::collections::BTreeMap;

use super::instance::Instance;
use super::record::{Fingerprint, Record, SplitId, TimeMark, mix};
use super::state::{Format, read_fingerprint, write_fingerprint};
use super::{Emitter, Operator, RestoreError, Snapshot, StateEntry, TimeEvent};
use crate::defect::Defect;
use crate::ids::CheckpointId;
use crate::time::{VirtualDuration, VirtualTime};

/// The source number of the splits of what windows emit: no operator has it.
pub const WINDOWED: u32 = 0xfffe;

const FORMAT: Format = Format { operator: "windows", magic: *b"CLwi", version: 1 };
const PANE_BYTES_MIN: usize = 1 + 1 + 1 + 8;
const PANE_SALT: u64 = 0x7061_6e65;

/// How event time is cut into windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowOptions {
    /// How long a window is; above zero.
    pub size: VirtualDuration,
    /// From the start of one to the start of the next; above zero. As long as the size: tumbling
    /// windows. Shorter: sliding ones, of which a record is in several. Longer: what is between two
    /// windows is in none.
    pub slide: VirtualDuration,
    /// Nominal bytes of one window of one key; 0: as serialised.
    pub state_per_key: u64,
    /// What a window holds when it fires does not depend on when watermarks come: no record is
    /// ever late, none counts twice. Then what it emits also names what it held, and the open
    /// windows are compared with the reference; otherwise it names key and window alone.
    pub exact: bool,
}

/// Collects the records of each key and window, and emits one for each that is complete. All its
/// input edges must be hash edges, or its parallelism 1.
///
/// What it emits has split [`WINDOWED`], the key, the window's number as offset, a path of its own,
/// the last instant of the window as event time, and the size of the last record of the window.
#[derive(Clone, Debug)]
pub struct Window {
    instance: Instance,
    options: WindowOptions,
    /// Open windows, which are timers at once: by end, then by key.
    panes: BTreeMap<(VirtualTime, u32), Pane>,
    /// When the first timer is due; as long as the watermark is below, nothing is looked at.
    armed: Option<VirtualTime>,
    /// Nothing older is waited for. `None`: no watermark has come.
    watermark: Option<VirtualTime>,
    /// All records that were given to it, late ones too.
    processed: Fingerprint,
    late: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pane {
    contents: Fingerprint,
    record_bytes: u32,
}

impl Window {
    /// An operator without windows.
    ///
    /// # Panics
    /// If size or slide are zero.
    pub fn new(instance: Instance, options: WindowOptions) -> Self {
        assert!(options.size > VirtualDuration::ZERO);
        assert!(options.slide > VirtualDuration::ZERO);
        Self {
            instance,
            options,
            panes: BTreeMap::new(),
            armed: None,
            watermark: None,
            processed: Fingerprint::EMPTY,
            late: 0,
        }
    }

    /// Records dropped because they came too late, those of the restored state included.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// The ends of the windows that an instant is in, the last one first. Flink:
    /// `SlidingEventTimeWindows#assignWindows`. Deviation: none begins before virtual time does.
    fn ends(&self, at: VirtualTime) -> impl Iterator<Item = VirtualTime> + use<> {
        let WindowOptions { size, slide, .. } = self.options;
        let last = at.0 - at.0 % slide.0;
        let starts = (0..).map_while(move |back: u64| last.checked_sub(slide.0.checked_mul(back)?));
        starts
            .take_while(move |start| at.0 - start < size.0)
            .map(move |start| VirtualTime(start.saturating_add(size.0)))
    }

    /// Flink: `WindowOperator#isWindowLate`, without allowed lateness.
    fn is_late(&self, end: VirtualTime) -> bool {
        self.watermark.is_some_and(|watermark| end <= watermark + VirtualDuration(1))
    }

    fn arm(&mut self, end: VirtualTime) {
        self.armed = Some(self.armed.map_or(end, |armed| armed.min(end)));
    }

    /// Fires the windows that the watermark has passed, in the order of their timers.
    fn fire(&mut self, watermark: VirtualTime, out: &mut Emitter) {
        while let Some(entry) = self.panes.first_entry() {
            let (end, key) = *entry.key();
            if end > watermark + VirtualDuration(1) {
                break;
            }
            let pane = entry.remove();
            out.emit(self.result(key, end, pane));
            out.time_event(TimeEvent::Fired { key, end, records: pane.contents.count });
        }
        self.armed = self.panes.first_key_value().map(|(&(end, _), _)| end);
    }

    fn result(&self, key: u32, end: VirtualTime, pane: Pane) -> Record {
        let Fingerprint { count, sum } = pane.contents;
        let WindowOptions { size, slide, exact, .. } = self.options;
        let contents = if exact { mix(sum, count) } else { 0 };
        Record {
            split: SplitId::new(WINDOWED, self.instance.operator.0),
            key,
            // Numbered without gaps, as offsets are.
            offset: (end - size).0 / slide.0,
            path: mix(contents, u64::from(key)),
            event_time: VirtualTime(end.0 - 1),
            weight: 1,
            record_bytes: pane.record_bytes,
        }
    }
}

impl Operator for Window {
    fn process(&mut self, _input: u32, record: &Record, out: &mut Emitter) {
        let identity = Fingerprint::of(record.identity());
        self.processed += identity;
        let (mut assigned, mut taken) = (false, false);
        for end in self.ends(record.event_time) {
            assigned = true;
            if self.is_late(end) {
                continue;
            }
            let pane = self.panes.entry((end, record.key)).or_default();
            pane.contents += identity;
            pane.record_bytes = record.record_bytes;
            self.arm(end);
            taken = true;
        }
        if assigned && !taken {
            self.late += 1;
            out.time_event(TimeEvent::Late(*record));
        }
    }

    fn on_watermark(&mut self, watermark: VirtualTime, out: &mut Emitter) {
        self.watermark = self.watermark.max(Some(watermark));
        if self.armed.is_some_and(|armed| armed <= watermark + VirtualDuration(1)) {
            self.fire(watermark, out);
        }
        // Behind what has fired: to those downstream it is not late.
        out.emit(Record::of_mark(TimeMark::Watermark(watermark)));
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId, out: &mut Snapshot) {
        let mut state = FORMAT.write(&self.instance);
        write_fingerprint(self.processed, &mut state);
        state.varint(self.late);
        state.varint(self.panes.len() as u64);
        for ((end, key), pane) in &self.panes {
            state.varint(end.0);
            state.varint(u64::from(*key));
            state.varint(u64::from(pane.record_bytes));
            write_fingerprint(pane.contents, &mut state);
        }
        out.state = state.seal();
        out.nominal = match self.options.state_per_key {
            0 => out.state.len() as u64,
            bytes => bytes.saturating_mul(self.panes.len() as u64),
        };
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        let (writer, processed, late, panes) = FORMAT.read(state, |input, writer| {
            let (processed, late) = (read_fingerprint(input)?, input.varint()?);
            let panes = input.list(PANE_BYTES_MIN, |input| {
                let (end, key) = (VirtualTime(input.varint()?), input.varint32()?);
                let record_bytes = input.varint32()?;
                let pane = Pane { contents: read_fingerprint(input)?, record_bytes };
                if end == VirtualTime::ZERO {
                    return Err(input.invalid("end of a window"));
                }
                Ok(((end, key), pane))
            })?;
            Ok((writer, processed, late, panes))
        })?;
        // What has no key stays with the number of its writer.
        if self.instance.owns_part(writer) {
            self.processed += processed;
            self.late = self.late.wrapping_add(late);
        }
        for ((end, key), pane) in panes {
            if self.instance.owns_key(key) {
                let restored = self.panes.entry((end, key)).or_default();
                restored.contents += pane.contents;
                restored.record_bytes = pane.record_bytes;
                if !self.instance.defects.has(Defect::D92) {
                    self.arm(end);
                }
            }
        }
        Ok(())
    }

    fn fingerprint(&self) -> Fingerprint {
        if !self.options.exact {
            return self.processed;
        }
        // Open windows tell states apart; they are no further records.
        self.panes.iter().fold(self.processed, |sum, ((end, key), pane)| {
            let Fingerprint { count, sum: contents } = pane.contents;
            let of = mix(mix(PANE_SALT ^ end.0, u64::from(*key)), mix(contents, count));
            sum + Fingerprint { count: 0, sum: of }
        })
    }

    fn visit(&self, visitor: &mut dyn FnMut(StateEntry)) {
        visitor(StateEntry::unkeyed("processed", self.processed));
        for ((end, key), pane) in &self.panes {
            visitor(StateEntry {
                what: "open",
                key: Some(*key),
                split: None,
                path: end.0,
                count: pane.contents.count,
                digest: pane.contents.sum,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{record, state};
    use super::*;
    use crate::ids::OperatorId;

    fn window(size: u64, slide: u64) -> Window {
        let (size, slide) = (VirtualDuration(size), VirtualDuration(slide));
        let options = WindowOptions { size, slide, state_per_key: 0, exact: true };
        Window::new(Instance::single(OperatorId(1)), options)
    }

    /// (key, end) of what fires at a watermark; the watermark itself comes last.
    fn fired(window: &mut Window, watermark: u64) -> Vec<(u32, u64)> {
        let mut out = Emitter::default();
        window.on_watermark(VirtualTime(watermark), &mut out);
        let (mark, results) = out.records().split_last().expect("the watermark goes on");
        assert_eq!(mark.mark(), Some(TimeMark::Watermark(VirtualTime(watermark))));
        results.iter().map(|record| (record.key, record.event_time.0 + 1)).collect()
    }

    fn process(window: &mut Window, key: u32, at: u64) -> bool {
        let mut out = Emitter::default();
        window.process(0, &record(0, at, key), &mut out);
        assert!(out.records().is_empty());
        out.drain_notes().next().is_none()
    }

    #[test]
    fn windows_are_assigned_by_their_starts() {
        let cases: [(&str, u64, u64, u64, &[u64]); 5] = [
            ("tumbling, at its start", 10, 10, 20, &[30]),
            ("tumbling, at its end", 10, 10, 29, &[30]),
            ("sliding", 10, 5, 12, &[20, 15]),
            ("none begins before time does", 10, 5, 3, &[10]),
            ("with gaps between them", 4, 10, 17, &[]),
        ];
        for (name, size, slide, at, expected) in cases {
            let ends: Vec<u64> = window(size, slide).ends(VirtualTime(at)).map(|it| it.0).collect();
            assert_eq!(ends, expected, "{name}");
        }
    }

    #[test]
    fn a_window_fires_once_when_the_watermark_has_passed_its_last_instant() {
        let mut window = window(10, 10);
        for (key, at) in [(7, 3), (5, 9), (7, 12), (7, 4)] {
            assert!(process(&mut window, key, at));
        }
        assert_eq!(fired(&mut window, 8), []);
        assert_eq!(fired(&mut window, 9), [(5, 10), (7, 10)]);
        assert_eq!(fired(&mut window, 9), []);
        assert!(!process(&mut window, 7, 5), "late");
        assert_eq!(window.late(), 1);
        let mut out = Emitter::default();
        window.on_watermark(VirtualTime::MAX, &mut out);
        assert_eq!((out.records()[0].key, out.records()[0].offset), (7, 1));
    }

    #[test]
    fn a_sliding_record_is_late_when_all_its_windows_are() {
        let mut window = window(10, 5);
        fired(&mut window, 14);
        assert!(process(&mut window, 1, 12), "its window to 20 is open");
        assert_eq!(fired(&mut window, 19), [(1, 20)]);
        assert!(!process(&mut window, 1, 12));
    }

    #[test]
    fn restored_windows_fire_without_another_record() {
        let mut old = window(10, 10);
        process(&mut old, 7, 3);
        fired(&mut old, 5);
        let mut new = window(10, 10);
        new.restore(&state(&mut old)).expect("as written");
        assert_eq!(new.fingerprint(), old.fingerprint());
        assert!(process(&mut new, 8, 0), "the watermark is not restored");
        assert_eq!(fired(&mut new, 9), [(7, 10), (8, 10)]);
    }

    #[test]
    fn a_result_names_what_the_window_held() {
        let results = [[1, 2], [1, 3], [2, 1]].map(|ats| {
            let mut window = window(10, 10);
            ats.iter().for_each(|&at| assert!(process(&mut window, 7, at)));
            let mut out = Emitter::default();
            window.on_watermark(VirtualTime(9), &mut out);
            out.records()[0].identity()
        });
        assert_ne!(results[0], results[1]);
        assert_eq!(results[0], results[2], "in whatever order");
    }
}
