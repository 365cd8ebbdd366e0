//! Check *order*: channels are FIFO, barriers hold, and a restore begins where the cut ended.
//!
//! - What a channel's receiver processes is what was sent, in that order. Known whenever the
//!   channel is drained, at every barrier that overtakes nothing, and at the end.
//! - Nothing is processed from a blocked channel; with exactly-once cuts nothing behind a barrier
//!   is processed before the cut.
//! - Barriers of one channel increase. Only one of an abandoned checkpoint may arrive late.
//! - After a restore, the persisted in-flight records come first: the receiver's part recovered,
//!   the sender's part sent again before anything new.

use cutline::ids::{ChannelId, CheckpointId, SubtaskId};
use cutline::message::{Alignment, SnapshotKind};
use cutline::operator::Record;
use cutline::time::VirtualTime;

use super::Setup;
use super::ledger::{Flow, Ledger, Part, Sequence};
use super::violation::{Class, Report, Subject};
use crate::observe::{JobEnd, Observation};

pub(super) const NAME: &str = "order";

#[derive(Clone, Debug)]
pub(super) struct Order {
    judged: u64,
    /// The last barrier put on a channel.
    sent: Vec<Option<CheckpointId>>,
    /// The newest barrier taken from a channel.
    received: Vec<Option<CheckpointId>>,
    /// Number of records sent ahead of that barrier.
    held_from: Vec<u64>,
    /// The newest checkpoint that a subtask has given up.
    given_up: Vec<Option<CheckpointId>>,
}

impl Order {
    pub(super) fn new(setup: &Setup) -> Self {
        let (channels, subtasks) = (setup.graph.channels().len(), setup.graph.subtasks());
        Self {
            judged: 0,
            sent: vec![None; channels],
            received: vec![None; channels],
            held_from: vec![0; channels],
            given_up: vec![None; subtasks],
        }
    }

    /// Records processed, barriers, and restored channels.
    pub(super) fn judged(&self) -> u64 {
        self.judged
    }

    #[inline]
    pub(super) fn on_sent(
        &mut self,
        now: VirtualTime,
        channel: ChannelId,
        record: &Record,
        ledger: &mut Ledger,
        setup: &Setup,
        report: &mut Report,
    ) {
        let flow = &mut ledger.flows[channel.index()];
        flow.sent.push(record);
        if flow.sent.count - flow.recovered.count == flow.restored_output {
            self.judge_restored_output(now, channel, ledger, setup, report);
        }
    }

    #[inline]
    pub(super) fn on_processed(
        &mut self,
        now: VirtualTime,
        channel: ChannelId,
        record: &Record,
        ledger: &mut Ledger,
        setup: &Setup,
        report: &mut Report,
    ) {
        self.judged += 1;
        let flow = &mut ledger.flows[channel.index()];
        flow.processed.push(record);
        if flow.blocked | flow.behind {
            self.judge_held_back(now, channel, ledger, setup, report);
        }
        let flow = &ledger.flows[channel.index()];
        if flow.processed.count >= flow.sent.count && flow.processed != flow.sent {
            Self::report_drained(now, channel, ledger, setup, report);
        }
    }

    /// All but data and barriers.
    pub(super) fn observe(
        &mut self,
        now: VirtualTime,
        observation: &Observation,
        ledger: &mut Ledger,
        setup: &Setup,
        report: &mut Report,
    ) {
        match *observation {
            Observation::Declined { subtask, checkpoint, .. }
            | Observation::NotifiedAborted { subtask, checkpoint } => {
                self.give_up(subtask, checkpoint, ledger, setup);
            }
            Observation::TaskRestored { subtask, .. } => {
                self.judge_recovered(now, subtask, ledger, setup, report);
            }
            Observation::RestoreChosen { .. } => {
                self.sent.fill(None);
                self.received.fill(None);
                self.held_from.fill(0);
                self.given_up.fill(None);
            }
            Observation::RegionRestored { region, .. } => {
                for &subtask in setup.graph.regions().subtasks(region) {
                    self.given_up[subtask.index()] = None;
                    for input in setup.graph.inputs(subtask) {
                        self.sent[input.index()] = None;
                        self.received[input.index()] = None;
                        self.held_from[input.index()] = 0;
                    }
                }
            }
            Observation::JobEnded { end: JobEnd::Finished } => {
                self.judge_ends(now, ledger, setup, report);
            }
            _ => {}
        }
    }

    pub(super) fn on_barrier_sent(
        &mut self,
        now: VirtualTime,
        channel: ChannelId,
        checkpoint: CheckpointId,
        setup: &Setup,
        report: &mut Report,
    ) {
        self.judged += 1;
        let last = self.sent[channel.index()].replace(checkpoint);
        if last >= Some(checkpoint) {
            let subject = Subject::channel(channel).at(checkpoint);
            let what = (NAME, Class::Order, "barriers sent do not increase");
            report.add(what, now, subject, || {
                barrier_message("sent", channel, checkpoint, last, setup)
            });
        }
    }

    pub(super) fn on_barrier_received(
        &mut self,
        now: VirtualTime,
        channel: ChannelId,
        checkpoint: CheckpointId,
        ledger: &mut Ledger,
        setup: &Setup,
        report: &mut Report,
    ) {
        self.judged += 1;
        let subject = Subject::channel(channel).at(checkpoint);
        let last = self.received[channel.index()];
        self.received[channel.index()] = last.max(Some(checkpoint));
        let line = ledger.line(checkpoint);
        let sent = line.and_then(|line| line.crossings[channel.index()].sent);
        // Where the barrier of an abandoned checkpoint was sent is not known any more.
        self.held_from[channel.index()] = sent.map_or(u64::MAX, |sent| sent.count);
        let Some(line) = ledger.line(checkpoint) else {
            // An unaligned barrier may overtake one whose checkpoint was abandoned, never the
            // other way round; what is late then is ignored by the task.
            return;
        };
        if last >= Some(checkpoint) {
            let what = (NAME, Class::Order, "barriers received do not increase");
            let message = || barrier_message("received", channel, checkpoint, last, setup);
            report.add(what, now, subject, message);
        }
        let crossing = line.crossings[channel.index()];
        let processed = ledger.flows[channel.index()].processed;
        match line.alignment {
            Alignment::Aligned | Alignment::AtLeastOnce | Alignment::ForcedAligned(_) => {
                // Behind the savepoint that suspends a job what comes round is captured, and not
                // processed any more: what is missing is found by check *cut*.
                let captured =
                    line.kind == SnapshotKind::SavepointSuspend && setup.goes_round(channel);
                if let Some(sent) = crossing.sent
                    && sent != processed
                    && !captured
                {
                    let class = match processed.count < sent.count {
                        true => Class::Loss,
                        false => Class::Order,
                    };
                    report.add((NAME, class, "a barrier left its place"), now, subject, || {
                        format!(
                            "{checkpoint} on {}: the barrier was sent behind {}, but {} were \
                             processed before it arrived",
                            setup.graph.channel_name(channel),
                            records(sent.count),
                            processed.count,
                        )
                    });
                }
            }
            Alignment::AlignedWithTimeout(_) | Alignment::Unaligned => {}
        }
        let receiver = setup.graph.channels()[channel.index()].to;
        let awaited = line.parts[receiver.index()] == Part::Awaited;
        let holds_back = line.alignment != Alignment::AtLeastOnce
            && self.given_up[receiver.index()] < Some(checkpoint);
        ledger.flows[channel.index()].behind = awaited && holds_back;
    }

    /// The task stops aligning: nothing has to be held back any more.
    fn give_up(
        &mut self,
        subtask: SubtaskId,
        checkpoint: CheckpointId,
        ledger: &mut Ledger,
        setup: &Setup,
    ) {
        let given_up = &mut self.given_up[subtask.index()];
        *given_up = (*given_up).max(Some(checkpoint));
        for channel in setup.graph.inputs(subtask) {
            ledger.flows[channel.index()].behind = false;
        }
    }

    fn judge_recovered(
        &mut self,
        now: VirtualTime,
        subtask: SubtaskId,
        ledger: &Ledger,
        setup: &Setup,
        report: &mut Report,
    ) {
        if !ledger.origin_known {
            return;
        }
        for &channel in setup.graph.inputs(subtask) {
            if ledger.has_changed(setup.graph.channels()[channel.index()].edge) {
                continue; // Its records come from elsewhere: see `moved`.
            }
            let recovered = ledger.flows[channel.index()].recovered;
            let persisted = ledger.restored(channel).map(|kept| kept.at_receiver);
            self.judged += 1;
            Self::compare_restored(
                now,
                (channel, "recovered"),
                recovered,
                persisted.unwrap_or_default(),
                setup,
                report,
            );
        }
    }

    #[cold]
    fn judge_restored_output(
        &mut self,
        now: VirtualTime,
        channel: ChannelId,
        ledger: &Ledger,
        setup: &Setup,
        report: &mut Report,
    ) {
        self.judged += 1;
        let resent = ledger.flows[channel.index()].output();
        let persisted = ledger.restored(channel).map(|kept| kept.at_sender).unwrap_or_default();
        Self::compare_restored(now, (channel, "sent first"), resent, persisted, setup, report);
    }

    fn compare_restored(
        now: VirtualTime,
        (channel, how): (ChannelId, &str),
        is: Sequence,
        persisted: Sequence,
        setup: &Setup,
        report: &mut Report,
    ) {
        if is != persisted {
            let class = Class::of_counts(is.count, persisted.count, Class::Order);
            let what = (NAME, class, "restored channel state differs");
            report.add(what, now, Subject::channel(channel), || {
                format!(
                    "restore of {}: {} persisted in flight, {} {how}{}",
                    setup.graph.channel_name(channel),
                    records(persisted.count),
                    is.count,
                    if class == Class::Order {
                        ", but not the same ones in that order"
                    } else {
                        ""
                    },
                )
            });
        }
    }

    /// A record was processed from a channel that holds back what is behind its barrier.
    #[cold]
    #[inline(never)]
    fn judge_held_back(
        &self,
        now: VirtualTime,
        channel: ChannelId,
        ledger: &Ledger,
        setup: &Setup,
        report: &mut Report,
    ) {
        let Flow { blocked, behind, processed, .. } = ledger.flows[channel.index()];
        if !behind && processed.count <= self.held_from[channel.index()] {
            // The alignment has timed out: the barrier has overtaken this record, which was
            // persisted as in flight. The sender is blocked, not what it sent before.
            return;
        }
        // The record is in the state that is about to be cut, and will be replayed.
        let (rule, state) = match blocked {
            true => ("processed from a blocked channel", "it was blocked"),
            false => {
                ("processed before the cut", "its barrier had arrived and no cut was made yet")
            }
        };
        report.add((NAME, Class::Duplication, rule), now, Subject::channel(channel), || {
            let name = setup.graph.channel_name(channel);
            format!("a record of {name} was processed although {state}")
        });
    }

    #[cold]
    #[inline(never)]
    fn report_drained(
        now: VirtualTime,
        channel: ChannelId,
        ledger: &Ledger,
        setup: &Setup,
        report: &mut Report,
    ) {
        let flow = ledger.flows[channel.index()];
        let class = Class::of_counts(flow.processed.count, flow.sent.count, Class::Order);
        report.add((NAME, class, "a channel is not FIFO"), now, Subject::channel(channel), || {
            format!(
                "{}: {} sent, {} processed{}",
                setup.graph.channel_name(channel),
                records(flow.sent.count),
                flow.processed.count,
                if class == Class::Order { ", but in another order or other ones" } else { "" },
            )
        });
    }

    fn judge_ends(
        &mut self,
        now: VirtualTime,
        ledger: &Ledger,
        setup: &Setup,
        report: &mut Report,
    ) {
        for (index, flow) in ledger.flows.iter().enumerate() {
            self.judged += 1;
            let receiver = setup.graph.channels()[index].to;
            // Whoever had finished takes nothing any more. What comes are marks of event time, which are
            // no part of a state and are said anew (Flink: `FinishedOnRestoreInput`); of data, it would
            // be missing in what is put out.
            let ignored = flow.processed.count == 0 && ledger.had_finished(receiver);
            if flow.processed != flow.sent && !ignored {
                Self::report_drained(now, ChannelId(index as u32), ledger, setup, report);
            }
        }
    }
}

fn barrier_message(
    how: &str,
    channel: ChannelId,
    checkpoint: CheckpointId,
    last: Option<CheckpointId>,
    setup: &Setup,
) -> String {
    let last = last.map_or_else(String::new, |last| format!(" after that of {last}"));
    let name = setup.graph.channel_name(channel);
    format!("the barrier of {checkpoint} was {how} on {name}{last}")
}

/// `1 record`, `2 records`.
pub(super) fn records(count: u64) -> String {
    format!("{count} {}", if count == 1 { "record" } else { "records" })
}
