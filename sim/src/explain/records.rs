//! Which records a violation is about: found once more, one by one, in the trace.
//!
//! Checks compare digests, which is cheap and names nobody. Here the records of the channel in
//! question are laid side by side.

use std::collections::BTreeMap;

use cutline::ids::{ChannelId, CheckpointId, SubtaskId};
use cutline::operator::Record;

use super::Trace;
use crate::check::Violation;
use crate::observe::Observation;

/// Most records that are told of.
const TOLD_MAX: usize = 2;

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Sent before the line, and on its other side nowhere.
    Missing,
    /// On the other side of the line, and not sent before it.
    Extra,
}

/// A record on the wrong side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspect {
    pub(super) record: Record,
    pub(super) channel: ChannelId,
    pub(super) fate: Fate,
}

/// The records that a violation is about, as far as they can be told; the first few.
pub(super) fn suspects(trace: Trace<'_>, violation: &Violation) -> Vec<Suspect> {
    let subject = violation.subject;
    let mut found = match (subject.channel, subject.checkpoint) {
        (Some(channel), Some(checkpoint)) => crossing(trace, channel, checkpoint),
        (Some(channel), None) => {
            let restored = restored(trace, channel);
            if restored.is_empty() { drained(trace, channel) } else { restored }
        }
        // The state of an operator, or what it shows: whatever is wrong with its inputs.
        (None, Some(checkpoint)) => {
            let graph = &trace.plan.graph;
            let of = |operator| graph.subtasks_of(operator).map(SubtaskId);
            let subtasks = subject.operator.into_iter().flat_map(of).chain(subject.subtask);
            let inputs = subtasks.flat_map(|subtask| graph.inputs(subtask));
            inputs.flat_map(|channel| crossing(trace, *channel, checkpoint)).collect()
        }
        (None, None) => Vec::new(),
    };
    found.truncate(TOLD_MAX);
    found
}

/// Records that a checkpoint's line cuts in two: sent on one side, received on the other.
fn crossing(trace: Trace<'_>, channel: ChannelId, checkpoint: CheckpointId) -> Vec<Suspect> {
    use Observation as O;
    let receiver = trace.plan.graph.channels()[channel.index()].to;
    let mut balance = Balance::default();
    let (mut sending, mut receiving) = (true, true);
    for (_, observation) in trace.events {
        match observation {
            restart if sending && begins_anew(trace, channel, restart).is_some() => {
                balance = Balance::default();
            }
            O::BarrierSent { channel: of, checkpoint: at }
                if (*of, *at) == (channel, checkpoint) =>
            {
                sending = false;
            }
            O::Cut { subtask, checkpoint: at, .. } if (*subtask, *at) == (receiver, checkpoint) => {
                receiving = false;
            }
            O::Sent { channel: of, record } | O::Recovered { channel: of, record }
                if *of == channel && sending =>
            {
                balance.sent(record);
            }
            O::Processed { channel: of, record } if *of == channel && receiving => {
                balance.received(record);
            }
            O::Persisted { channel: of, checkpoint: at, record, .. }
                if (*of, *at) == (channel, checkpoint) =>
            {
                balance.received(record);
            }
            _ => {}
        }
    }
    // Without a line there is no side.
    if sending || receiving { Vec::new() } else { balance.suspects(channel) }
}

/// Whether a channel is new from here on, and the checkpoint that its ends begin with.
fn begins_anew(
    trace: Trace<'_>,
    channel: ChannelId,
    observation: &Observation,
) -> Option<Option<CheckpointId>> {
    let graph = &trace.plan.graph;
    match *observation {
        Observation::RestoreChosen { checkpoint } => Some(checkpoint),
        Observation::RegionRestored { region, checkpoint } => {
            let of = graph.regions().of(graph.channels()[channel.index()].to);
            (of == region).then_some(checkpoint)
        }
        _ => None,
    }
}

/// What the checkpoint restored last has in flight on a channel, and what came of it.
fn restored(trace: Trace<'_>, channel: ChannelId) -> Vec<Suspect> {
    use Observation as O;
    let restart = |(n, (_, it)): (usize, &(_, O))| Some((n, begins_anew(trace, channel, it)?));
    let Some((chosen, Some(origin))) = trace.events.iter().enumerate().rev().find_map(restart)
    else {
        return Vec::new();
    };
    let mut balance = Balance::default();
    for (_, observation) in &trace.events[..chosen] {
        match observation {
            O::Persisted { channel: of, checkpoint, record, at_sender: false }
                if (*of, *checkpoint) == (channel, origin) =>
            {
                balance.sent(record);
            }
            _ => {}
        }
    }
    for (_, observation) in &trace.events[chosen..] {
        match observation {
            O::Recovered { channel: of, record } if *of == channel => balance.received(record),
            _ => {}
        }
    }
    balance.suspects(channel)
}

/// What was sent and what was processed in the last execution.
fn drained(trace: Trace<'_>, channel: ChannelId) -> Vec<Suspect> {
    use Observation as O;
    let anew = |(_, it): &(_, O)| begins_anew(trace, channel, it).is_some();
    let began = trace.events.iter().rposition(anew);
    let mut balance = Balance::default();
    for (_, observation) in &trace.events[began.unwrap_or(0)..] {
        match observation {
            O::Sent { channel: of, record } | O::Recovered { channel: of, record }
                if *of == channel =>
            {
                balance.sent(record);
            }
            O::Processed { channel: of, record } if *of == channel => balance.received(record),
            _ => {}
        }
    }
    let mut found = balance.suspects(channel);
    let last = trace.events.iter().rev().find_map(|(_, it)| match it {
        O::Processed { channel: of, record } if *of == channel => Some(*record),
        _ => None,
    });
    // What is still under way is not missing: whoever came last was wrong to come.
    found.retain(|suspect| suspect.fate == Fate::Extra);
    if found.is_empty() {
        found.extend(last.map(|record| Suspect { record, channel, fate: Fate::Extra }));
    }
    found
}

/// Records of two sides, by identity.
#[derive(Debug, Default)]
struct Balance(BTreeMap<u64, (i64, usize, Record)>, usize);

impl Balance {
    fn sent(&mut self, record: &Record) {
        self.add(record, 1);
    }

    fn received(&mut self, record: &Record) {
        self.add(record, -1);
    }

    fn add(&mut self, record: &Record, by: i64) {
        let (of, number) = (record.identity(), self.1);
        self.0.entry(of).or_insert((0, number, *record)).0 += by;
        self.1 += 1;
    }

    /// Those that do not balance, in the order in which they were first seen.
    fn suspects(self, channel: ChannelId) -> Vec<Suspect> {
        let mut odd: Vec<(i64, usize, Record)> =
            self.0.into_values().filter(|(balance, ..)| *balance != 0).collect();
        odd.sort_by_key(|(_, number, _)| *number);
        let fate = |balance| if balance > 0 { Fate::Missing } else { Fate::Extra };
        let of = |(balance, _, record)| Suspect { record, channel, fate: fate(balance) };
        odd.into_iter().map(of).collect()
    }
}
