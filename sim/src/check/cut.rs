//! Check *cut*: no record crosses a completed line twice, and none is forgotten under it.
//!
//! For every checkpoint that becomes durable, and every channel: what was sent before the cut is
//! what was received before it, followed by what was persisted in flight (the receiver's part,
//! then the sender's). With at-least-once cuts the receiver may have seen more, never less. A
//! subtask that neither was cut nor had finished leaves a hole in the line. Where what is in flight
//! could not be given to others after a restore with another parallelism, nothing is persisted, but on
//! feedback edges, where barriers come back to whoever has sent them.
//!
//! The claim is Chandy and Lamport's (1985); that it also holds record by record and in order is
//! what the digests add.

use cutline::ids::{ChannelId, SubtaskId};
use cutline::time::VirtualTime;

use super::ledger::{Crossing, Ledger, Line, Part};
use super::violation::{Class, Report, Subject};
use super::{Setup, order};
use crate::observe::{CutKind, Observation};

pub(super) const NAME: &str = "cut";

#[derive(Clone, Debug, Default)]
pub(super) struct Cut {
    judged: u64,
}

impl Cut {
    /// Channels, times completed checkpoints.
    pub(super) fn judged(&self) -> u64 {
        self.judged
    }

    pub(super) fn observe(
        &mut self,
        now: VirtualTime,
        observation: &Observation,
        ledger: &Ledger,
        setup: &Setup,
        report: &mut Report,
    ) {
        if let Observation::Durable { checkpoint } = *observation
            && let Some(line) = ledger.line(checkpoint)
        {
            self.judge_parts(now, line, setup, report);
            for (index, crossing) in line.crossings.iter().enumerate() {
                if crossing.in_flight() {
                    self.judge_in_flight(now, ChannelId(index as u32), line, setup, report);
                }
                self.judge_crossing(now, ChannelId(index as u32), crossing, line, setup, report);
            }
        }
    }

    fn judge_in_flight(
        &self,
        now: VirtualTime,
        channel: ChannelId,
        line: &Line,
        setup: &Setup,
        report: &mut Report,
    ) {
        let receiver = setup.graph.operator(setup.graph.channels()[channel.index()].to);
        // What goes round a loop is captured behind barriers that are aligned.
        if !setup.goes_round(channel) && setup.config.aligned.get(receiver.index()) == Some(&true) {
            let subject = Subject::channel(channel).at(line.checkpoint);
            let what = (NAME, Class::InconsistentCut, "in flight where barriers stay aligned");
            report.add(what, now, subject, || {
                format!(
                    "{} has records in flight on {}, which could not be restored with another \
                     parallelism",
                    line.checkpoint,
                    setup.graph.channel_name(channel)
                )
            });
        }
    }

    fn judge_parts(&self, now: VirtualTime, line: &Line, setup: &Setup, report: &mut Report) {
        for (index, part) in line.parts.iter().enumerate() {
            if *part == Part::Awaited {
                let subtask = SubtaskId(index as u32);
                let subject = Subject::subtask(subtask).at(line.checkpoint);
                report.add((NAME, Class::Loss, "a subtask is missing"), now, subject, || {
                    let name = setup.graph.subtask_name(subtask);
                    format!("{} completed without the state of {name}", line.checkpoint)
                });
            }
        }
    }

    fn judge_crossing(
        &mut self,
        now: VirtualTime,
        channel: ChannelId,
        crossing: &Crossing,
        line: &Line,
        setup: &Setup,
        report: &mut Report,
    ) {
        let ends = setup.graph.channels()[channel.index()];
        let (Part::Cut(how), Some(received)) = (line.parts[ends.to.index()], crossing.received)
        else {
            return;
        };
        let subject = Subject::channel(channel).at(line.checkpoint);
        let Some(sent) = crossing.sent else {
            if line.parts[ends.from.index()] != Part::Awaited {
                let what = (NAME, Class::InconsistentCut, "a barrier is missing");
                report.add(what, now, subject, || {
                    let name = setup.graph.channel_name(channel);
                    format!("{} completed, but {name} never got its barrier", line.checkpoint)
                });
            }
            return;
        };
        self.judged += 1;
        let within = received.then(crossing.at_receiver).then(crossing.at_sender);
        let (class, holds) = match how {
            CutKind::AtLeastOnce => (Class::Loss, within.count >= sent.count),
            CutKind::Source | CutKind::Aligned | CutKind::Unaligned => {
                (Class::of_counts(within.count, sent.count, Class::InconsistentCut), within == sent)
            }
        };
        if !holds {
            report.add((NAME, class, rule(class)), now, subject, || {
                format!(
                    "{} on {}: {} sent before the cut, but {} received before it and {} + {} \
                     persisted in flight (receiver + sender){}",
                    line.checkpoint,
                    setup.graph.channel_name(channel),
                    order::records(sent.count),
                    received.count,
                    crossing.at_receiver.count,
                    crossing.at_sender.count,
                    if class == Class::InconsistentCut { "; they are not the same" } else { "" },
                )
            });
        }
    }
}

fn rule(class: Class) -> &'static str {
    match class {
        Class::Loss => "records before the cut are in no state",
        Class::Duplication => "records behind the cut are in the state",
        _ => "other records than were sent",
    }
}
