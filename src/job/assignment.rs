//! Who restores what of a checkpoint when the parallelism has changed (step R4).
//!
//! Concept: every new subtask is told which parts of which old subtasks to read, and where the
//! in-flight records in them belong now. In Flink: `StateAssignmentOperation`,
//! `TaskStateAssignment`, `InflightDataRescalingDescriptor`, `VirtualChannelSelector`.
//!
//! An edge both of whose ends keep their parallelism is restored as ever: channel by channel, what
//! the sender had captured is sent again. Over an edge that has changed, the receivers get it all:
//! first what old receivers had captured, then what old senders had, each old channel in order.
//! Flink: `execution.checkpointing.unaligned.recover-output-on-downstream.enabled`. (Its default lets
//! new senders send it again; then records of a key that has moved to another sender may overtake
//! them.) Where several new receivers read one old channel, each keeps the records whose key it owns.
//! Flink: `RecordFilter`.
//!
//! Invariants:
//! - with [`Hash`](super::Partitioner::Hash) every record goes to the owner of its key, with
//!   [`Rebalance`](super::Partitioner::Rebalance) to one receiver;
//! - two records of one old channel that go to one new subtask keep their order.

use super::graph::{Channel, EdgeId, ExecutionGraph};
use super::key_groups::{owner_of, range_of};
use super::rescale::{SubtaskMapping, Unsupported};
use crate::defect::{Defect, Defects};
use crate::ids::{ChannelId, InputChannel, OperatorId, OutputChannel, SubtaskId};
use crate::operator::Record;
use crate::storage::channel_state::ChannelState;

/// How the state of an operator is found again under another parallelism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redistribution {
    /// By key; what has no key stays with the number of its writer, modulo the parallelism.
    Keyed,
    /// A part goes to the subtask with the number of its writer, modulo the parallelism.
    ByWriter,
    /// Every subtask gets all parts and takes its share, such as an even one of a list state.
    Whole,
    /// So too, at every restore: also if the parallelism has not changed. Flink:
    /// `OperatorStateHandle.Mode#UNION`.
    Union,
}

/// The change of one job from an old to a new parallelism.
#[derive(Clone, Debug)]
pub struct Assignment {
    old: ExecutionGraph,
    new: ExecutionGraph,
    /// By edge; `None`: neither end has changed.
    edges: Vec<Option<Change>>,
    defects: Defects,
}

/// How the ends of an edge have changed; nothing, where its partitioner cannot be rescaled.
#[derive(Clone, Debug)]
struct Change {
    upstream: Result<SubtaskMapping, Unsupported>,
    downstream: Result<SubtaskMapping, Unsupported>,
}

/// In-flight data of one old subtask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// Its operator.
    pub operator: OperatorId,
    /// Its number.
    pub subtask: u32,
    /// What it had captured.
    pub channels: ChannelState,
}

/// What a new subtask begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// In-flight data, by its own channels.
    pub channels: ChannelState,
    /// Records that it has read and left to others, who own their keys.
    pub filtered: u64,
}

/// Where a record of an old channel belongs.
enum Place {
    Input { channel: InputChannel, filtered: bool },
    Output(OutputChannel),
    Elsewhere,
    Unsupported,
}

impl Assignment {
    /// Compares two spreads of one job; each graph's first layout counts.
    ///
    /// # Panics
    /// If they are spreads of different jobs.
    pub fn new(old: ExecutionGraph, new: ExecutionGraph, defects: Defects) -> Self {
        assert!(old.job().has_edges_of(new.job()), "two spreads of one job");
        let change = |edge: &super::Edge| {
            let of = |operator| (parallelism(&old, operator), parallelism(&new, operator));
            let (senders, senders_new) = of(edge.from);
            let (receivers, receivers_new) = of(edge.to);
            let changed =
                receivers != receivers_new || senders != senders_new && !defects.has(Defect::D94);
            changed.then(|| Change {
                upstream: edge.partitioner.upstream_mapper().mapping(senders, senders_new),
                downstream: edge.partitioner.downstream_mapper().mapping(receivers, receivers_new),
            })
        };
        let edges = old.job().edges().iter().map(change).collect();
        Self { old, new, edges, defects }
    }

    /// The parallelism of an operator before.
    pub fn parallelism_before(&self, operator: OperatorId) -> u32 {
        parallelism(&self.old, operator)
    }

    /// Whether an operator has another parallelism than before.
    pub fn changes(&self, operator: OperatorId) -> bool {
        self.old.layouts()[0].differs(&self.new.layouts()[0], operator)
    }

    fn parallelism(&self, operator: OperatorId) -> u32 {
        parallelism(&self.new, operator)
    }

    /// The old subtasks of its operator whose state a new subtask reads, ascending.
    pub fn state_of(&self, operator: OperatorId, index: u32, how: Redistribution) -> Vec<u32> {
        let (old, new) = (self.parallelism_before(operator), self.parallelism(operator));
        if how == Redistribution::Union {
            return (0..old).collect();
        }
        let overlooked = self.defects.has(Defect::D93)
            && how == Redistribution::Keyed
            && self.new.job().is_chained(operator);
        if !self.changes(operator) || overlooked {
            return (index..old).take(1).collect();
        }
        let max = self.new.job().operators()[operator.index()].max_parallelism;
        let keys = range_of(index, max, new);
        let reads = |subtask: &u32| match how {
            Redistribution::Whole | Redistribution::Union => true,
            Redistribution::ByWriter => subtask % new == index,
            Redistribution::Keyed => {
                subtask % new == index || keys.meets(range_of(*subtask, max, old))
            }
        };
        (0..old).filter(reads).collect()
    }

    /// The old subtasks whose in-flight data a new subtask reads: those of its own operator, then
    /// those that had sent to it over an edge that has changed.
    pub fn in_flight_of(&self, operator: OperatorId, index: u32) -> Vec<(OperatorId, u32)> {
        let mut own: Vec<u32> = (index..self.parallelism_before(operator)).take(1).collect();
        let mut senders = Vec::new();
        for (edge, change) in self.new.job().edges().iter().zip(&self.edges) {
            let Some(change) = change.as_ref().filter(|_| edge.to == operator) else { continue };
            if let Ok(downstream) = &change.downstream {
                own.extend(&downstream.new_to_old[index as usize]);
            }
            let all = 0..self.parallelism_before(edge.from);
            match edge.from == operator {
                // A loop of one operator: each is named once.
                true => own.extend(all),
                false => senders.extend(all.map(|it| (edge.from, it))),
            }
        }
        own.sort_unstable();
        own.dedup();
        senders.sort_unstable();
        senders.dedup();
        own.into_iter().map(|subtask| (operator, subtask)).chain(senders).collect()
    }

    /// What of the captured data belongs to a new subtask, in the order in which it is to be
    /// processed and sent. `captured` is in the order of [`in_flight_of`](Self::in_flight_of).
    ///
    /// # Errors
    /// Data was captured on an edge that has changed and cannot be rescaled.
    pub fn take(
        &self,
        operator: OperatorId,
        index: u32,
        captured: &[Captured],
    ) -> Result<Taken, Unsupported> {
        let mut taken = Taken::default();
        let own = |of: &&Captured| of.operator == operator;
        for captured in captured.iter().filter(own) {
            for (InputChannel(channel), record) in &captured.channels.inputs {
                let old = self.old_channel(captured, *channel, ExecutionGraph::inputs);
                self.put(old, (operator, index), record, false, &mut taken)?;
            }
        }
        for captured in captured {
            for (OutputChannel(channel), record) in &captured.channels.outputs {
                let old = self.old_channel(captured, *channel, ExecutionGraph::outputs);
                self.put(old, (operator, index), record, true, &mut taken)?;
            }
        }
        Ok(taken)
    }

    fn old_channel(
        &self,
        captured: &Captured,
        channel: u32,
        channels: fn(&ExecutionGraph, SubtaskId) -> &[ChannelId],
    ) -> Option<&Channel> {
        if captured.subtask >= self.parallelism_before(captured.operator) {
            return None;
        }
        let subtask = self.old.subtask(captured.operator, captured.subtask);
        let id = channels(&self.old, subtask).get(channel as usize)?;
        Some(&self.old.channels()[id.index()])
    }

    fn put(
        &self,
        old: Option<&Channel>,
        new: (OperatorId, u32),
        record: &Record,
        at_sender: bool,
        taken: &mut Taken,
    ) -> Result<(), Unsupported> {
        // Only a wrong idea of the old parallelism makes a channel that was not there.
        let Some(old) = old else { return Ok(()) };
        // Deviation: marks of event time are dropped where channels have changed. Flink restores
        // them through a valve of each old channel; the senders say it anew as they read on.
        if !record.is_data() && self.edges[old.edge.0 as usize].is_some() {
            return Ok(());
        }
        match self.place(old, new, at_sender) {
            Place::Input { filtered: true, .. } if !self.owns(new, record) => taken.filtered += 1,
            Place::Input { channel, .. } => taken.channels.inputs.push((channel, *record)),
            Place::Output(channel) => taken.channels.outputs.push((channel, *record)),
            Place::Elsewhere => {}
            Place::Unsupported => return Err(Unsupported),
        }
        Ok(())
    }

    fn place(&self, old: &Channel, (operator, index): (OperatorId, u32), at_sender: bool) -> Place {
        let sender = self.old.index_in_operator(old.from);
        let receiver = self.old.index_in_operator(old.to);
        let Some(change) = &self.edges[old.edge.0 as usize] else {
            return self.same_place(old, sender, receiver, (operator, index), at_sender);
        };
        if self.old.operator(old.to) != operator {
            return Place::Elsewhere;
        }
        let (Ok(upstream), Ok(downstream)) = (&change.upstream, &change.downstream) else {
            return Place::Unsupported;
        };
        let readers = &downstream.old_to_new[receiver as usize];
        if !readers.contains(&index) {
            return Place::Elsewhere;
        }
        // Attributed to the new channel of whoever took over from the old sender.
        let from = upstream.old_to_new[sender as usize].first().copied().unwrap_or(0);
        match self.new_channel(old.edge, from, index) {
            Some(channel) => Place::Input { channel: channel.input, filtered: readers.len() > 1 },
            None => Place::Elsewhere,
        }
    }

    /// On an edge that has not changed, everything stays where it was.
    fn same_place(
        &self,
        old: &Channel,
        sender: u32,
        receiver: u32,
        (operator, index): (OperatorId, u32),
        at_sender: bool,
    ) -> Place {
        let place = if at_sender { (old.from, sender) } else { (old.to, receiver) };
        if (self.old.operator(place.0), place.1) != (operator, index) {
            return Place::Elsewhere;
        }
        match self.new_channel(old.edge, sender, receiver) {
            Some(channel) if at_sender => Place::Output(channel.output),
            Some(channel) => Place::Input { channel: channel.input, filtered: false },
            None => Place::Elsewhere,
        }
    }

    fn new_channel(&self, edge: EdgeId, sender: u32, receiver: u32) -> Option<&Channel> {
        let layout = &self.new.layouts()[0];
        let ends = &self.new.job().edges()[edge.0 as usize];
        if sender >= layout.parallelism(ends.from) || receiver >= layout.parallelism(ends.to) {
            return None;
        }
        let (from, to) = (layout.subtask(ends.from, sender), layout.subtask(ends.to, receiver));
        let mut edges = self.new.output_edges(from).iter();
        let range = edges.find(|it| it.edge == edge)?.channels.clone();
        let channels = &self.new.outputs(from)[range.start as usize..range.end as usize];
        let channel = |id: &ChannelId| &self.new.channels()[id.index()];
        // Over all but pointwise edges it is the one with the receiver's number.
        let first = channels.get(receiver as usize).map(channel).filter(|it| it.to == to);
        first.or_else(|| channels.iter().map(channel).find(|channel| channel.to == to))
    }

    fn owns(&self, (operator, index): (OperatorId, u32), record: &Record) -> bool {
        let max = self.new.job().operators()[operator.index()].max_parallelism;
        owner_of(record.key, max, self.parallelism(operator)) == index
    }
}

fn parallelism(graph: &ExecutionGraph, operator: OperatorId) -> u32 {
    graph.layouts()[0].parallelism(operator)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::job::key_groups::operator_index;
    use crate::job::{Edge, Feedback, JobGraph, JobOperator, Partitioner};
    use crate::operator::SplitId;
    use crate::time::VirtualTime;

    const MAX: u32 = 13;

    fn graph(parallelism: [u32; 2], partitioner: Partitioner) -> ExecutionGraph {
        let operator = |parallelism| JobOperator {
            name: format!("of {parallelism}"),
            parallelism,
            max_parallelism: MAX,
        };
        let (from, to) = (OperatorId(0), OperatorId(1));
        let (chained, feedback) = (false, None);
        let edges = vec![Edge { from, to, input: 0, partitioner, chained, feedback }];
        let job = JobGraph::new(parallelism.map(operator).to_vec(), edges);
        ExecutionGraph::new(job.expect("it can run"))
    }

    fn record(key: u32, offset: u64) -> Record {
        Record {
            split: SplitId::new(0, 0),
            key,
            offset,
            path: 0,
            event_time: VirtualTime::ZERO,
            weight: 1,
            record_bytes: 1,
        }
    }

    /// In-flight data as a job leaves it: over a hash edge each record on the way to its owner.
    fn capture(graph: &ExecutionGraph, records: &[(u32, u32, bool)]) -> Vec<Captured> {
        let layout = &graph.layouts()[0];
        let mut captured: BTreeMap<(OperatorId, u32), ChannelState> = BTreeMap::new();
        for (offset, &(sender, key, at_sender)) in (0..).zip(records) {
            let (senders, receivers) =
                (layout.parallelism(OperatorId(0)), layout.parallelism(OperatorId(1)));
            let sender = sender % senders;
            let receiver = match graph.job().edges()[0].partitioner {
                Partitioner::Hash => owner_of(key, MAX, receivers),
                _ => key % receivers,
            };
            let record = record(key, offset);
            if at_sender {
                let of = captured.entry((OperatorId(0), sender)).or_default();
                of.outputs.push((OutputChannel(receiver), record));
            } else {
                let of = captured.entry((OperatorId(1), receiver)).or_default();
                of.inputs.push((InputChannel(sender), record));
            }
        }
        let of = |((operator, subtask), channels)| Captured { operator, subtask, channels };
        captured.into_iter().map(of).collect()
    }

    /// What each new receiver takes of that.
    fn taken(assignment: &Assignment, all: &[Captured], receivers: u32) -> Vec<Taken> {
        let of = |index| {
            let wanted = assignment.in_flight_of(OperatorId(1), index);
            let read = wanted.iter().filter_map(|(operator, subtask)| {
                all.iter().find(|it| (it.operator, it.subtask) == (*operator, *subtask))
            });
            let read: Vec<Captured> = read.cloned().collect();
            assignment.take(OperatorId(1), index, &read).expect("these edges can be rescaled")
        };
        (0..receivers).map(of).collect()
    }

    proptest! {
        #[test]
        fn every_record_goes_to_one_owner_and_keeps_its_place(
            old in [1_u32..6, 1_u32..6],
            new in [1_u32..6, 1_u32..6],
            hashed: bool,
            records in prop::collection::vec((0_u32..6, 0_u32..40, any::<bool>()), 0..60),
        ) {
            prop_assume!(old != new);
            let partitioner = if hashed { Partitioner::Hash } else { Partitioner::Rebalance };
            let (before, after) = (graph(old, partitioner), graph(new, partitioner));
            let captured = capture(&before, &records);
            let assignment = Assignment::new(before, after.clone(), Defects::none());
            let shares = taken(&assignment, &captured, new[1]);
            let mut seen = Vec::new();
            for (index, share) in (0..).zip(&shares) {
                prop_assert!(share.channels.outputs.is_empty());
                let mut last: BTreeMap<(u32, u32), (bool, u64)> = BTreeMap::new();
                for (channel, record) in &share.channels.inputs {
                    prop_assert!(channel.0 < new[0]);
                    seen.push(record.offset);
                    if hashed {
                        prop_assert_eq!(owner_of(record.key, MAX, new[1]), index);
                    }
                    let (sender, _, at_sender) = records[record.offset as usize];
                    let receiver = match hashed {
                        true => owner_of(record.key, MAX, old[1]),
                        false => record.key % old[1],
                    };
                    let place = (at_sender, record.offset);
                    let before = last.insert((sender % old[0], receiver), place);
                    prop_assert!(before.is_none_or(|before| before < place));
                }
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..records.len() as u64).collect::<Vec<_>>());
        }

        /// Whoever may own something that an old subtask holds reads it.
        #[test]
        fn every_key_group_is_read_by_its_owner(old in 1_u32..=MAX, new in 1_u32..=MAX) {
            let assignment = Assignment::new(
                graph([1, old], Partitioner::Hash),
                graph([1, new], Partitioner::Hash),
                Defects::none(),
            );
            for group in (0..MAX as u16).map(crate::ids::KeyGroup) {
                let owner = operator_index(group, MAX, new);
                let read = assignment.state_of(OperatorId(1), owner, Redistribution::Keyed);
                prop_assert!(read.contains(&operator_index(group, MAX, old)));
            }
            for part in 0..old {
                let readers = (0..new).filter(|&index| {
                    let how = Redistribution::ByWriter;
                    assignment.state_of(OperatorId(1), index, how).contains(&part)
                });
                prop_assert_eq!(readers.count(), 1);
            }
        }
    }

    /// An operator that sends to itself is on both sides of the edge, and its records are taken once.
    #[test]
    fn what_goes_round_one_operator_is_taken_once() {
        let looped = |parallelism, partitioner| {
            let plain = graph([1, parallelism], Partitioner::Hash).job().clone();
            let (from, feedback) = (OperatorId(1), Some(Feedback { again_permille: 500 }));
            let back = Edge { from, partitioner, feedback, ..plain.edges()[0] };
            let edges = vec![plain.edges()[0], back];
            let job = JobGraph::new(plain.operators().to_vec(), edges).expect("it leads back");
            ExecutionGraph::new(job)
        };
        for (partitioner, old, new) in [
            (Partitioner::Hash, 3, 2),
            (Partitioner::Hash, 2, 5),
            (Partitioner::Rebalance, 3, 2),
            (Partitioner::Rebalance, 2, 5),
        ] {
            let (before, after) = (looped(old, partitioner), looped(new, partitioner));
            let assignment = Assignment::new(before, after, Defects::none());
            let captured = |subtask| {
                // Channel 0 comes from the source.
                let sent = (0..40).filter(|key| match partitioner {
                    Partitioner::Hash => owner_of(*key, MAX, old) == subtask,
                    _ => key % old == subtask,
                });
                let inputs =
                    sent.map(|key| (InputChannel(1 + key % old), record(key, u64::from(key))));
                let channels = ChannelState { inputs: inputs.collect(), outputs: Vec::new() };
                Captured { operator: OperatorId(1), subtask, channels }
            };
            let all: Vec<Captured> = (0..old).map(captured).collect();
            let taken = taken(&assignment, &all, new);
            let taken = taken.iter().flat_map(|taken| &taken.channels.inputs);
            let mut keys: Vec<u32> = taken.map(|(_, record)| record.key).collect();
            keys.sort_unstable();
            assert_eq!(keys, (0..40).collect::<Vec<_>>(), "{partitioner:?} {old} -> {new}");
        }
    }

    #[test]
    fn an_edge_that_stays_is_restored_channel_by_channel() {
        let (before, after) =
            (graph([2, 2], Partitioner::Forward), graph([2, 2], Partitioner::Forward));
        let channels = ChannelState {
            inputs: vec![(InputChannel(0), record(1, 9))],
            outputs: vec![(OutputChannel(0), record(0, 8))],
        };
        let assignment = Assignment::new(before, after, Defects::none());
        for operator in [OperatorId(0), OperatorId(1)] {
            let own = Captured { operator, subtask: 1, channels: channels.clone() };
            let taken = assignment.take(operator, 1, &[own]).expect("nothing has changed");
            let (inputs, outputs) = (taken.channels.inputs.len(), taken.channels.outputs.len());
            let expected = if operator.0 == 0 { (0, 1) } else { (1, 0) };
            assert_eq!((inputs, outputs), expected, "{operator}");
        }
    }

    #[test]
    fn a_forward_edge_cannot_be_rescaled_with_data_in_flight() {
        let (before, after) =
            (graph([2, 2], Partitioner::Forward), graph([3, 3], Partitioner::Forward));
        let assignment = Assignment::new(before, after, Defects::none());
        let channels =
            ChannelState { inputs: vec![(InputChannel(0), record(1, 9))], outputs: Vec::new() };
        let own = Captured { operator: OperatorId(1), subtask: 1, channels };
        assert_eq!(assignment.take(OperatorId(1), 1, &[own]), Err(Unsupported));
        assert_eq!(assignment.take(OperatorId(1), 1, &[]), Ok(Taken::default()));
    }
}
