//! Part of check *order*: what was in flight when the parallelism changed goes to its new place.
//!
//! - On a hash edge every record is processed by the subtask that owns its key, before and after.
//! - After a restore with another parallelism, every in-flight record of an edge that has changed is
//!   recovered, once, at one receiver; on a hash edge at the owner of its key.
//! - Those of one old channel keep their order where they meet again: the receiver's part, then the
//!   sender's.
//!
//! Where the engine puts them is its own business: nothing here knows of mappings.

use std::collections::BTreeMap;

use cutline::ids::{ChannelId, OperatorId, SubtaskId};
use cutline::job::key_groups::owner_of;
use cutline::job::{EdgeId, Partitioner};
use cutline::operator::Record;
use cutline::time::VirtualTime;

use super::ledger::{Ledger, Persisted};
use super::violation::{Class, Report, Subject};
use super::{Setup, order};
use crate::observe::Observation;

/// What tells a record from all others on an edge.
type Who = (EdgeId, u32, u32, u64, u64);

#[derive(Clone, Debug, Default)]
pub(super) struct Moved {
    judged: u64,
    /// Each record that was in flight on an edge that has changed: its places in the old channels,
    /// last first. Several for copies that nothing tells apart.
    awaited: BTreeMap<Who, Vec<(ChannelId, u64)>>,
    /// The last place that a receiver has got of an old channel.
    last: BTreeMap<(ChannelId, SubtaskId), u64>,
    /// Subtasks that have yet to take over.
    restoring: Vec<SubtaskId>,
}

fn who(edge: EdgeId, record: &Record) -> Who {
    (edge, record.split.0, record.key, record.path, record.offset)
}

impl Moved {
    pub(super) fn judged(&self) -> u64 {
        self.judged
    }

    #[inline]
    pub(super) fn on_processed(
        &mut self,
        now: VirtualTime,
        channel: ChannelId,
        record: &Record,
        setup: &Setup,
        report: &mut Report,
    ) {
        if record.is_data() {
            self.judge_owner(now, channel, record, "processed", setup, report);
        }
    }

    pub(super) fn observe(
        &mut self,
        now: VirtualTime,
        observation: &Observation,
        ledger: &Ledger,
        setup: &Setup,
        report: &mut Report,
    ) {
        match *observation {
            Observation::RestoreChosen { .. } => self.begin(ledger, setup),
            Observation::Recovered { channel, ref record } if !ledger.moved.is_empty() => {
                self.on_recovered(now, channel, record, ledger, setup, report);
            }
            Observation::TaskRestored { subtask, .. } if !self.restoring.is_empty() => {
                self.restoring.retain(|waiting| *waiting != subtask);
                if self.restoring.is_empty() {
                    self.judge_rest(now, setup, report);
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, ledger: &Ledger, setup: &Setup) {
        self.awaited.clear();
        self.last.clear();
        self.restoring.clear();
        if ledger.moved.is_empty() {
            return;
        }
        let mut count: BTreeMap<ChannelId, u64> = BTreeMap::new();
        for at_sender in [false, true] {
            // Marks of event time may be dropped: they are said again.
            let moved = ledger.moved.iter().filter(|it| it.record.is_data());
            for persisted in moved.filter(|it| it.at_sender == at_sender) {
                let Persisted { channel, record, .. } = persisted;
                let place = count.entry(*channel).or_default();
                let edge = setup.graph.channels()[channel.index()].edge;
                self.awaited.entry(who(edge, record)).or_default().push((*channel, *place));
                *place += 1;
            }
        }
        self.awaited.values_mut().for_each(|places| places.reverse());
        self.restoring.extend(setup.layout().subtasks().map(SubtaskId));
    }

    fn on_recovered(
        &mut self,
        now: VirtualTime,
        channel: ChannelId,
        record: &Record,
        ledger: &Ledger,
        setup: &Setup,
        report: &mut Report,
    ) {
        let ends = setup.graph.channels()[channel.index()];
        if !ledger.has_changed(ends.edge) || !record.is_data() {
            return;
        }
        self.judged += 1;
        self.judge_owner(now, channel, record, "recovered", setup, report);
        let place = self.awaited.get_mut(&who(ends.edge, record)).and_then(Vec::pop);
        let Some((old, place)) = place else {
            let what = ("order", Class::Duplication, "recovered more often than persisted");
            report.add(what, now, Subject::channel(channel), || {
                let (name, old) = (setup.graph.channel_name(channel), record.split);
                format!("{name} recovered offset {} of {old} once too often", record.offset)
            });
            return;
        };
        let last = self.last.insert((old, ends.to), place);
        if last.is_some_and(|last| last > place) {
            let what = ("order", Class::Order, "rescaled channel state out of order");
            report.add(what, now, Subject::channel(channel), || {
                let (name, old) =
                    (setup.graph.channel_name(channel), setup.graph.channel_name(old));
                format!("{name} recovered records of the former {old} out of order")
            });
        }
    }

    /// Everybody has taken over: nothing may be left.
    fn judge_rest(&mut self, now: VirtualTime, setup: &Setup, report: &mut Report) {
        self.judged += 1;
        let left: Vec<ChannelId> = self.awaited.values().flatten().map(|place| place.0).collect();
        if let Some(&channel) = left.first() {
            let what = ("order", Class::Loss, "in-flight records recovered by nobody");
            report.add(what, now, Subject::channel(channel), || {
                let name = setup.graph.channel_name(channel);
                let count = order::records(left.len() as u64);
                format!("{count} persisted in flight, one on the former {name}, were not recovered")
            });
        }
    }

    #[inline]
    fn judge_owner(
        &mut self,
        now: VirtualTime,
        channel: ChannelId,
        record: &Record,
        how: &str,
        setup: &Setup,
        report: &mut Report,
    ) {
        let ends = setup.graph.channels()[channel.index()];
        let edge = setup.graph.job().edges()[ends.edge.0 as usize];
        if edge.partitioner != Partitioner::Hash {
            return;
        }
        self.judged += 1;
        let index = setup.graph.index_in_operator(ends.to);
        let owner = owner(record.key, edge.to, ends.to, setup);
        if owner != index {
            let what = ("order", Class::InconsistentCut, "a key at a subtask that does not own it");
            report.add(what, now, Subject::channel(channel), || {
                let name = setup.graph.subtask_name(ends.to);
                format!(
                    "{name} {how} a record of key {}, which belongs to number {owner}",
                    record.key
                )
            });
        }
    }
}

fn owner(key: u32, operator: OperatorId, receiver: SubtaskId, setup: &Setup) -> u32 {
    let layout = setup.graph.layout(setup.graph.layout_of(receiver));
    let vertex = &layout.job().operators()[operator.index()];
    owner_of(key, vertex.max_parallelism, vertex.parallelism)
}
