//! Which output channels an emitted record takes. In Flink: `ChannelSelectorRecordWriter` and the
//! `StreamPartitioner`s.
//!
//! Round-robin counters start at the sender's number, so that many senders do not all begin with
//! receiver 0, and are not part of a snapshot. Deviation: Flink starts them at random.

use crate::ids::{KeyGroup, OutputChannel};
use crate::job::key_groups::{key_group, operator_index};
use crate::job::{EdgeId, Feedback, OutputEdge, Partitioner};
use crate::operator::{Record, path};

/// The output side of one subtask.
#[derive(Clone, Debug, Default)]
pub struct Router {
    edges: Vec<Edge>,
    /// Boxed, because the router is moved with each record.
    back: Option<Box<Back>>,
}

/// Where some records go round again instead.
#[derive(Clone, Debug)]
struct Back {
    id: EdgeId,
    feedback: Feedback,
    edge: Edge,
}

#[derive(Clone, Debug)]
struct Edge {
    /// Mixed into the path, where there is more than one output edge.
    mixed: Option<EdgeId>,
    route: Route,
}

#[derive(Clone, Debug)]
enum Route {
    /// Always the same channel.
    Single(OutputChannel),
    /// The channel of each key group.
    Hash { channels: Vec<OutputChannel> },
    /// One channel after the other.
    RoundRobin { first: u32, count: u32, next: u32 },
    /// All channels, a copy each.
    Broadcast { first: u32, count: u32 },
}

impl Router {
    /// The router of the `subtask`-th subtask of an operator, for its output edges.
    ///
    /// # Panics
    /// If an edge has no channel.
    pub fn new(edges: &[OutputEdge], subtask: u32) -> Self {
        let forward = || edges.iter().filter(|edge| edge.feedback.is_none());
        let several = forward().count() > 1;
        let edge = |edge: &OutputEdge| Edge {
            mixed: several.then_some(edge.edge),
            route: Route::new(edge, subtask),
        };
        let back = edges.iter().find_map(|edge| {
            let (id, feedback) = (edge.edge, edge.feedback?);
            let edge = Edge { mixed: None, route: Route::new(edge, subtask) };
            Some(Box::new(Back { id, feedback, edge }))
        });
        Self { edges: forward().map(edge).collect(), back }
    }

    /// Calls `send` for each channel that the record takes, with the record as it goes there.
    #[inline]
    pub fn route(&mut self, record: &Record, mut send: impl FnMut(OutputChannel, Record)) {
        if let Some(back) = &mut self.back
            && path::goes_round(record, back.id, back.feedback)
        {
            let path = path::of_round(record.path, back.id);
            return back.edge.send(Record { path, ..*record }, &mut send);
        }
        for edge in &mut self.edges {
            let mut record = *record;
            if let Some(id) = edge.mixed {
                record.path = path::on_edge(record.path, id);
            }
            edge.send(record, &mut send);
        }
    }
}

impl Edge {
    #[inline(always)]
    fn send(&mut self, record: Record, send: &mut impl FnMut(OutputChannel, Record)) {
        match &mut self.route {
            Route::Single(channel) => send(*channel, record),
            Route::Hash { channels } => {
                let group = key_group(record.key as i32, channels.len() as u32);
                send(channels[group.index()], record);
            }
            Route::RoundRobin { first, count, next } => {
                send(OutputChannel(*first + *next), record);
                *next += 1;
                if next == count {
                    *next = 0;
                }
            }
            Route::Broadcast { first, count } => {
                for receiver in 0..*count {
                    let path = path::at_receiver(record.path, receiver);
                    send(OutputChannel(*first + receiver), Record { path, ..record });
                }
            }
        }
    }
}

impl Route {
    fn new(edge: &OutputEdge, subtask: u32) -> Self {
        let (first, count) = (edge.channels.start, edge.channels.len() as u32);
        assert!(count > 0, "an output edge has channels");
        match edge.partitioner {
            Partitioner::Broadcast => Self::Broadcast { first, count },
            _ if count == 1 => Self::Single(OutputChannel(first)),
            Partitioner::Forward => unreachable!("a forward edge has one channel"),
            Partitioner::Rebalance | Partitioner::Rescale => {
                Self::RoundRobin { first, count, next: subtask % count }
            }
            Partitioner::Hash => {
                let max = edge.max_parallelism;
                assert!(max <= 1 << 15, "key groups are numbered in 16 bits");
                let of = |group| operator_index(KeyGroup(group), max, edge.parallelism);
                let channels = (0..max as u16).map(|group| OutputChannel(first + of(group)));
                Self::Hash { channels: channels.collect() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::SplitId;
    use crate::time::VirtualTime;

    fn record(key: u32) -> Record {
        Record {
            split: SplitId::new(0, 1),
            key,
            offset: u64::from(key),
            path: 42,
            event_time: VirtualTime::ZERO,
            weight: 1,
            record_bytes: 10,
        }
    }

    fn edge(id: u32, partitioner: Partitioner, channels: std::ops::Range<u32>) -> OutputEdge {
        let parallelism = channels.len() as u32;
        OutputEdge {
            edge: EdgeId(id),
            partitioner,
            channels,
            parallelism,
            max_parallelism: 13,
            feedback: None,
            in_loop: false,
        }
    }

    fn channels(router: &mut Router, keys: impl IntoIterator<Item = u32>) -> Vec<u32> {
        let mut taken = Vec::new();
        keys.into_iter().for_each(|key| {
            router.route(&record(key), |channel, _| taken.push(channel.0));
        });
        taken
    }

    #[test]
    fn every_partitioner_takes_its_channels() {
        use Partitioner::{Broadcast, Forward, Hash, Rebalance, Rescale};
        let owner = |key: u32| operator_index(key_group(key as i32, 13), 13, 3);
        let rows = [
            ("forward", Forward, 4..5, vec![4, 4, 4, 4]),
            ("hash", Hash, 4..7, (0..4).map(|key| 4 + owner(key)).collect()),
            ("rebalance starts at the sender", Rebalance, 4..7, vec![5, 6, 4, 5]),
            ("rescale", Rescale, 4..6, vec![5, 4, 5, 4]),
            ("broadcast", Broadcast, 4..6, vec![4, 5, 4, 5, 4, 5, 4, 5]),
        ];
        for (name, partitioner, range, expected) in rows {
            let mut router = Router::new(&[edge(0, partitioner, range)], 1);
            assert_eq!(channels(&mut router, 0..4), expected, "{name}");
        }
    }

    #[test]
    fn a_record_goes_round_or_leaves() {
        let back = OutputEdge {
            feedback: Some(Feedback { again_permille: 500 }),
            ..edge(0, Partitioner::Rebalance, 0..2)
        };
        let mut router = Router::new(&[back, edge(1, Partitioner::Forward, 2..3)], 0);
        let mut rounds = Vec::new();
        for key in 0..400 {
            let (mut at, mut count) = (record(key), 0);
            loop {
                let mut sent = Vec::new();
                router.route(&at, |channel, record| sent.push((channel.0, record)));
                let [(channel, record)] = sent[..] else {
                    panic!("one way or the other: {sent:?}")
                };
                if channel == 2 {
                    assert_eq!(record.path, at.path, "one edge leads on");
                    break;
                }
                assert_ne!(record.path, at.path, "another record in each round");
                (at, count) = (record, count + 1);
            }
            rounds.push(count);
        }
        let sum: u32 = rounds.iter().sum();
        assert!((320..480).contains(&sum), "about one each: {sum}");
        assert!(rounds.iter().any(|count| *count > 3));
    }

    #[test]
    fn paths_grow_only_where_records_part() {
        use Partitioner::{Broadcast, Forward};
        let paths = |edges: &[OutputEdge]| {
            let mut paths = Vec::new();
            Router::new(edges, 0).route(&record(1), |_, record| paths.push(record.path));
            paths
        };
        assert_eq!(paths(&[edge(0, Forward, 0..1)]), [42]);
        let mut parted = paths(&[edge(0, Forward, 0..1), edge(1, Broadcast, 1..3)]);
        parted.extend(paths(&[edge(0, Broadcast, 0..2)]));
        assert_eq!(parted.len(), 5);
        parted.push(42);
        parted.sort_unstable();
        parted.dedup();
        assert_eq!(parted.len(), 6, "all differ");
    }
}
