//! Event time at a subtask: marks come in on channels, and go out on all of them.

use super::{Output, Outputs, Subtask};
use crate::ids::{InputChannel, OutputChannel};
use crate::operator::{Note, Record, TimeMark};
use crate::time::VirtualTime;

impl Subtask {
    /// A mark was taken from a channel.
    #[cold]
    #[inline(never)]
    pub(super) fn on_mark(
        &mut self,
        channel: InputChannel,
        mark: TimeMark,
        out: &mut impl Outputs,
    ) {
        for told in self.valve.on_mark(channel, mark).into_iter().flatten() {
            match told {
                TimeMark::Watermark(watermark) => self.on_watermark(watermark, out),
                TimeMark::Idle | TimeMark::Active => self.emit_mark(told, out),
            }
        }
    }

    fn on_watermark(&mut self, watermark: VirtualTime, out: &mut impl Outputs) {
        self.emitter.clear();
        self.operator.on_watermark(watermark, &mut self.emitter);
        self.flush_emitter(out);
    }

    /// Every receiver must know. Flink: `RecordWriterOutput#emitWatermark`.
    #[cold]
    #[inline(never)]
    pub(super) fn emit_mark(&mut self, mark: TimeMark, out: &mut impl Outputs) {
        for index in 0..self.outputs.len() {
            self.send(OutputChannel(index as u32), Record::of_mark(mark), out);
        }
    }

    /// A source has come to its end, and so has event time: whatever waits for it downstream is
    /// complete. Flink: `SourceOperator`, `Watermark.MAX_WATERMARK`.
    pub(super) fn end_event_time(&mut self, out: &mut impl Outputs) {
        if self.event_time && self.is_source {
            self.on_watermark(VirtualTime::MAX, out);
        }
    }

    /// The data of a channel have ended, and with them its event time. A sender that had finished
    /// before the restore says nothing else. Flink: `FinishedOperatorChain` repeats the last watermark.
    pub(super) fn end_event_time_of(&mut self, channel: InputChannel, out: &mut impl Outputs) {
        if self.event_time {
            // Flink: `WatermarkToDataOutput#emitWatermark` says so before the last watermark, too.
            self.on_mark(channel, TimeMark::Active, out);
            self.on_mark(channel, TimeMark::Watermark(VirtualTime::MAX), out);
        }
    }

    /// Says what has happened in the operators.
    #[inline]
    pub(super) fn report_notes(&mut self, out: &mut impl Outputs) {
        for (link, note) in self.emitter.drain_notes() {
            out.push(match note {
                Note::Passed(record) => Output::Chained { link, record },
                Note::Time(event) => Output::Time { link, event },
            });
        }
    }
}
