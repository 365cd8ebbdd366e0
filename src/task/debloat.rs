//! Buffer debloating: buffers become smaller where what is queued would take too long to process.
//!
//! Flink: `BufferDebloater`, `BufferSizeEMA`, `ThroughputCalculator`;
//! `taskmanager.network.memory.buffer-debloat.*`. A gate measures how many bytes its task takes a second
//! while there are any, and divides what it would take within the target by the number of buffers in use.
//! An average of such samples is what senders are told.
//!
//! Deviation: a record fills a buffer here, whatever its bytes, and is not divided. A buffer of a third
//! of the size is three buffers a record where buffers are counted, by sixteenths of one.

use crate::config::DebloatOptions;
use crate::time::{VirtualDuration, VirtualTime};

/// Flink: `taskmanager.memory.segment-size`.
pub const SIZE_MAX: u32 = 32 * 1024;
/// Flink: `taskmanager.memory.min-segment-size`.
pub const SIZE_MIN: u32 = 256;

/// Bits of the fraction of an average.
const FRACTION: u32 = 16;

/// Parts of a buffer, by which it is counted how much of the buffers a record takes.
pub(crate) const PARTS: u32 = 16;

/// How much of buffers of a size a record takes that fills one of [`SIZE_MAX`].
pub(crate) fn parts_of_record(size: u32) -> u32 {
    (SIZE_MAX * PARTS + size / 2) / size
}

/// How many records there is room for in so many buffers, if each takes so much.
pub(crate) fn records_in(buffers: u32, parts: u32) -> u32 {
    (u64::from(buffers) * u64::from(PARTS) / u64::from(parts)) as u32
}

/// The debloater of one input gate.
#[derive(Clone, Debug)]
pub(crate) struct Debloater {
    options: DebloatOptions,
    /// In 65,536ths of a byte.
    average: u64,
    told: u32,
    /// Bytes that were worked on since the last sample while there was more, and how long.
    bytes: u64,
    busy: VirtualDuration,
    /// What is being worked on, and since when.
    at_work: Option<(VirtualTime, u64)>,
    /// Bytes a second, as far as is known.
    throughput: Option<u64>,
    /// When the next sample is taken.
    due: VirtualTime,
}

impl Debloater {
    /// The debloater of a task that starts now.
    pub(crate) fn new(options: DebloatOptions, now: VirtualTime) -> Self {
        Self {
            options,
            average: u64::from(SIZE_MAX) << FRACTION,
            told: SIZE_MAX,
            bytes: 0,
            busy: VirtualDuration::ZERO,
            at_work: None,
            throughput: None,
            due: now + options.period,
        }
    }

    /// How much of buffers of the size that senders were told a record takes.
    pub(crate) fn parts_of_record(&self) -> u32 {
        parts_of_record(self.told)
    }

    /// When [`sample`](Self::sample) is due.
    pub(crate) fn next_timeout(&self) -> VirtualTime {
        self.due
    }

    /// The task has taken something from the gate, and there is more. Until it takes that it works on
    /// what it has; if nothing is left, it is not known for how long. Flink:
    /// `ThroughputCalculator#pauseMeasurement`, when there is no input.
    pub(crate) fn on_taken(&mut self, now: VirtualTime, bytes: u64, has_more: bool) {
        if let Some((since, bytes)) = self.at_work.take() {
            self.busy += now.since(since);
            self.bytes += bytes;
        }
        self.at_work = has_more.then_some((now, bytes));
    }

    /// Takes a sample; answers with the size that senders are to be told, if it has changed by enough.
    /// So many buffers are in use: queued here, or waiting at the senders.
    pub(crate) fn sample(&mut self, now: VirtualTime, in_use: u32) -> Option<u32> {
        self.due = now + self.options.period;
        let busy = std::mem::take(&mut self.busy);
        let bytes = std::mem::take(&mut self.bytes);
        if busy > VirtualDuration::ZERO {
            let rate = u128::from(bytes) * 1_000_000_000 / u128::from(busy.0);
            self.throughput = Some(u64::try_from(rate).unwrap_or(u64::MAX));
        }
        let size = self.average(self.throughput?, in_use.max(1));
        let is_news = size != self.told
            && (size <= SIZE_MIN || size >= SIZE_MAX || {
                let enough = u64::from(self.told) * u64::from(self.options.threshold) / 100;
                u64::from(size.abs_diff(self.told)) >= enough
            });
        is_news.then(|| {
            self.told = size;
            size
        })
    }

    /// Flink: `BufferSizeEMA#calculateBufferSize`. It grows no faster than it shrinks.
    fn average(&mut self, throughput: u64, in_use: u32) -> u32 {
        let total = u128::from(throughput) * u128::from(self.options.target.0) / 1_000_000_000;
        let most = u128::from(self.average) * 2;
        let wanted = ((total << FRACTION) / u128::from(in_use)).min(most) as u64;
        let step = wanted.abs_diff(self.average) * 2 / (u64::from(self.options.samples) + 1);
        let average = match wanted < self.average {
            true => self.average - step,
            false => self.average + step,
        };
        self.average =
            average.clamp(u64::from(SIZE_MIN) << FRACTION, u64::from(SIZE_MAX) << FRACTION);
        ((self.average + (1 << (FRACTION - 1))) >> FRACTION) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn debloater(samples: u32, target_ms: u64) -> Debloater {
        let options = DebloatOptions {
            enabled: true,
            target: VirtualDuration::from_millis(target_ms),
            period: VirtualDuration::from_millis(200),
            samples,
            threshold: 50,
        };
        Debloater::new(options, VirtualTime::ZERO)
    }

    /// What is told after each sample of (bytes in 200 ms, buffers in use).
    fn told(debloater: &mut Debloater, samples: &[(u64, u32)]) -> Vec<Option<u32>> {
        let take = |(bytes, in_use): &(u64, u32)| {
            let from = debloater.next_timeout();
            debloater.on_taken(from - VirtualDuration::from_millis(200), *bytes, true);
            debloater.on_taken(from, 0, false);
            debloater.sample(from, *in_use)
        };
        samples.iter().map(take).collect()
    }

    /// Each after the other: with one sample, the average is the last.
    #[test]
    fn a_size_is_what_is_processed_within_the_target_shared_among_the_buffers() {
        for (what, bytes, in_use, expected) in [
            // 100,000 bytes a second for 1,200 ms.
            ("shared", 20_000, 16, Some(7_500)),
            ("none in use counts as one", 20_000, 0, None),
            ("no less than the least", 20, 16, Some(SIZE_MIN)),
            ("nothing is taken", 0, 16, Some(SIZE_MIN)),
            ("less than half as small is no news", 60_000, 16, None),
        ] {
            assert_eq!(told(&mut debloater(1, 1_200), &[(bytes, in_use)]), [expected], "{what}");
        }
    }

    /// The figures of Flink's own description of its average, with an alpha of a tenth (19 samples).
    #[test]
    fn an_average_shrinks_and_grows_alike() {
        let mut debloater = debloater(19, 1_000);
        let mut sizes = Vec::new();
        for _ in 0..3 {
            sizes.push(debloater.average(0, 1));
        }
        for _ in 0..3 {
            sizes.push(debloater.average(u64::MAX, 1));
        }
        assert_eq!(sizes, [29_491, 26_542, 23_888, 26_277, 28_904, 31_795]);
    }

    #[test]
    fn time_without_input_does_not_count() {
        let mut debloater = debloater(1, 1_000);
        let ms = |ms| VirtualTime::ZERO + VirtualDuration::from_millis(ms);
        debloater.on_taken(ms(0), 1_000, true);
        debloater.on_taken(ms(50), 1_000, false);
        assert_eq!(debloater.sample(ms(200), 10), Some(2_000), "20,000 bytes a second");
        assert_eq!(debloater.sample(ms(400), 10), None, "nothing new is known");
        assert_eq!(debloater.next_timeout(), ms(600));
    }

    #[test]
    fn a_record_takes_more_of_smaller_buffers() {
        let rows = [(SIZE_MAX, 10), (30_000, 9), (20_000, 6), (11_000, 3), (SIZE_MIN, 0)];
        for (size, records) in rows {
            assert_eq!(records_in(10, parts_of_record(size)), records, "in ten of {size} bytes");
        }
    }
}
