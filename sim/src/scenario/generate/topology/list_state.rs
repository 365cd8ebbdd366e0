//! Operator list state: maps that hold records back, joins with what is broadcast, sources that read
//! the splits of all at a restore.

use cutline::job::Partitioner;

use super::super::{distribution, log_between, permille_chance};
use super::Builder;
use crate::kernel::stream::Stream;
use crate::scenario::model::{ListMode, OperatorKind};

/// An operator that asks the outside.
fn calls(stream: &mut Stream) -> OperatorKind {
    let capacity = log_between(stream, 1, 100) as u32;
    let ordered = stream.below(2) == 0;
    let mean_us = log_between(stream, 100, 20_000);
    OperatorKind::Async { capacity, ordered, latency: distribution(stream, mean_us) }
}

impl Builder<'_> {
    /// Some operators have list state. Drawn last, so that the rest of the job is what it would be
    /// without. `records` are those that each operator gets.
    pub(super) fn vary_list_state(&mut self, records: &mut [u64]) {
        for (at, records) in records.iter_mut().enumerate() {
            let mut stream = self.draws.of("list state", &self.operators[at].name);
            if !permille_chance(&mut stream, 250) {
                continue;
            }
            let parallelism = self.operators[at].parallelism;
            match &mut self.operators[at].kind {
                kind @ OperatorKind::Map { rekey: None } => {
                    *kind = match stream.below(2) {
                        0 => OperatorKind::Buffer {
                            threshold: log_between(&mut stream, 2, 100) as u32,
                        },
                        _ => calls(&mut stream),
                    };
                }
                OperatorKind::Join => {
                    self.broadcast(at, &mut stream);
                    *records *= u64::from(parallelism);
                }
                // A subtask without a split has come to its end before there is a checkpoint.
                OperatorKind::Source(source)
                    if source.discovery.is_none() && source.splits >= parallelism =>
                {
                    source.list_mode = ListMode::Union;
                }
                _ => {}
            }
        }
    }

    /// A join gets the larger of its inputs by a broadcast edge: what it emits is no more than it
    /// would have been.
    fn broadcast(&mut self, at: usize, stream: &mut Stream) {
        let operator = &mut self.operators[at];
        (operator.kind, operator.state_per_key) = (OperatorKind::BroadcastJoin, 0);
        let flow = &self.flow;
        let inputs = self.edges.iter_mut().filter(|edge| edge.to == at);
        let mut inputs: Vec<_> = inputs.collect();
        inputs.sort_by_key(|edge| (flow[edge.from].leaving, edge.input));
        let [elements, rules] = &mut inputs[..] else { unreachable!("a join has two inputs") };
        elements.input = 0;
        if stream.below(2) == 0 {
            elements.partitioner = Partitioner::Rebalance;
        }
        (rules.input, rules.partitioner) = (1, Partitioner::Broadcast);
    }
}
