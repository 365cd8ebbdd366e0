//! The watermark of a task: the least of its input channels'. In Flink: `StatusWatermarkValve`.
//!
//! Invariants:
//! - the task's watermark never goes back;
//! - it is the least of the channels that are active and have caught up with it; one that was idle
//!   and is behind is not waited for until it has.

use crate::ids::InputChannel;
use crate::operator::TimeMark;
use crate::time::VirtualTime;

/// The watermarks of all channels of a task.
#[derive(Clone, Debug)]
pub(crate) struct Valve {
    channels: Vec<Channel>,
    watermark: Option<VirtualTime>,
    idle: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Channel {
    watermark: Option<VirtualTime>,
    idle: bool,
}

impl Valve {
    /// Nothing is known of any channel.
    pub(crate) fn new(channels: usize) -> Self {
        Self { channels: vec![Channel::default(); channels], watermark: None, idle: false }
    }

    /// A channel says something about event time: what the task now knows, which it did not before.
    /// Some of: a watermark, and a change of its status, which goes last if it is to idle.
    pub(crate) fn on_mark(
        &mut self,
        channel: InputChannel,
        mark: TimeMark,
    ) -> [Option<TimeMark>; 2] {
        let channel = &mut self.channels[channel.index()];
        match mark {
            // Flink: the watermarks of a channel that is idle are ignored.
            TimeMark::Watermark(_) if channel.idle => return [None, None],
            TimeMark::Watermark(time) => channel.watermark = channel.watermark.max(Some(time)),
            TimeMark::Idle => channel.idle = true,
            TimeMark::Active => channel.idle = false,
        }
        let idle = self.channels.iter().all(|channel| channel.idle);
        let advanced = self.advance(idle);
        let status = (std::mem::replace(&mut self.idle, idle) != idle).then_some(match idle {
            true => TimeMark::Idle,
            false => TimeMark::Active,
        });
        match idle {
            // What is known goes ahead of the word that nothing more is to come.
            true => [advanced, status],
            false => [status, advanced],
        }
    }

    fn advance(&mut self, idle: bool) -> Option<TimeMark> {
        let caught_up = |channel: &&Channel| !channel.idle && channel.watermark >= self.watermark;
        let known = match idle {
            // Nobody is waited for. Flink: `findAndOutputMaxWatermarkAcrossAllSubpartitions`.
            true => self.channels.iter().map(|channel| channel.watermark).max(),
            false => self.channels.iter().filter(caught_up).map(|channel| channel.watermark).min(),
        };
        let advanced = known.flatten().filter(|known| Some(*known) > self.watermark)?;
        self.watermark = Some(advanced);
        Some(TimeMark::Watermark(advanced))
    }
}

#[cfg(test)]
mod tests {
    use super::TimeMark::{Active, Idle, Watermark};
    use super::*;

    /// What comes out of a valve of two channels for these marks.
    fn told(marks: &[(u32, TimeMark)]) -> Vec<TimeMark> {
        let mut valve = Valve::new(2);
        let out = marks.iter().map(|&(channel, mark)| valve.on_mark(InputChannel(channel), mark));
        out.flatten().flatten().collect()
    }

    fn at(time: u64) -> TimeMark {
        Watermark(VirtualTime(time))
    }

    #[test]
    fn the_slowest_active_channel_decides() {
        type Row<'a> = (&'a str, &'a [(u32, TimeMark)], &'a [TimeMark]);
        let rows: [Row<'_>; 7] = [
            ("one is not enough", &[(0, at(5))], &[]),
            ("the least", &[(0, at(5)), (1, at(3)), (1, at(9))], &[at(3), at(5)]),
            ("never back", &[(0, at(5)), (1, at(5)), (0, at(4)), (1, at(6))], &[at(5)]),
            ("idle ones are not waited for", &[(0, at(5)), (1, Idle), (0, at(7))], &[at(5), at(7)]),
            (
                "nor is one that is behind",
                &[
                    (0, at(5)),
                    (1, Idle),
                    (1, Active),
                    (1, at(2)),
                    (0, at(6)),
                    (1, at(8)),
                    (0, at(7)),
                ],
                &[at(5), at(6), at(7)],
            ),
            ("all idle", &[(0, at(5)), (1, at(9)), (1, Idle), (0, Idle)], &[at(5), at(9), Idle]),
            ("and back", &[(0, Idle), (1, Idle), (0, Active), (0, at(1))], &[Idle, Active, at(1)]),
        ];
        for (name, marks, expected) in rows {
            assert_eq!(told(marks), expected, "{name}");
        }
    }
}
