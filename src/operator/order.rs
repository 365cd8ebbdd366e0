//! Where the order of records is promised: a static analysis of the job graph.
//!
//! What matters is the order of the records with equal (split, path, key): an ordered digest is
//! kept where they all reach one subtask, in the order of their offsets, whatever the timing. The
//! answer is on the safe side: order may hold where none is promised.

use crate::job::{Edge, JobGraph, Partitioner};

/// How much order a stream has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// None is promised.
    None,
    /// All records of one (split, path, key) are at one subtask, in order.
    PerKey,
    /// All records of one (split, path) are at one subtask, in order.
    Total,
}

/// What an operator does to the order of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Has no input; a split is read by one subtask, in order.
    Source,
    /// Emits behind each record, under the same key: filter, flat map, aggregate, map that keeps
    /// the key, buffer, sinks.
    KeepsKey,
    /// Emits behind each record, under another key.
    ChangesKey,
    /// Emits when two inputs have met.
    Joins,
    /// Emits what it has held back, which may have been dealt out anew meanwhile: a buffer that
    /// gets another parallelism.
    DealsOut,
}

/// The order at the input of each operator; of a source, that of its output.
///
/// # Panics
/// If there is not one behaviour for each operator.
pub fn orders(job: &JobGraph, behaviours: &[Behaviour]) -> Vec<Order> {
    assert_eq!(behaviours.len(), job.operators().len(), "one behaviour an operator");
    let mut inputs = vec![Order::Total; behaviours.len()];
    // What comes round meets what comes for the first time in whatever order.
    for edge in job.edges().iter().filter(|edge| !edge.leads_on()) {
        inputs[edge.to.index()] = Order::None;
    }
    for &operator in job.topological_order() {
        let output = emitted(inputs[operator.index()], behaviours[operator.index()]);
        for edge in job.edges().iter().filter(|edge| edge.from == operator) {
            // Two edges never carry records of equal split and path, so inputs do not disturb each
            // other; an operator has one answer all the same, that of its weakest input.
            let input = &mut inputs[edge.to.index()];
            *input = (*input).min(received(output, edge, job));
        }
    }
    inputs
}

/// Whether order per (split, path, key) is promised at the input of each operator.
///
/// # Panics
/// If there is not one behaviour for each operator.
pub fn promises_order(job: &JobGraph, behaviours: &[Behaviour]) -> Vec<bool> {
    orders(job, behaviours).into_iter().map(|order| order != Order::None).collect()
}

fn emitted(input: Order, behaviour: Behaviour) -> Order {
    match (behaviour, input) {
        (Behaviour::Source, _) => Order::Total,
        (Behaviour::KeepsKey, order) => order,
        // Two old keys, at two subtasks, may become one new key.
        (Behaviour::ChangesKey, Order::PerKey) => Order::None,
        (Behaviour::ChangesKey, order) => order,
        (Behaviour::Joins | Behaviour::DealsOut, _) => Order::None,
    }
}

fn received(sent: Order, edge: &Edge, job: &JobGraph) -> Order {
    let parallelism = |of: crate::ids::OperatorId| job.operators()[of.index()].parallelism;
    let (senders, receivers) = (parallelism(edge.from), parallelism(edge.to));
    match edge.partitioner {
        Partitioner::Forward => sent,
        Partitioner::Hash if receivers == 1 => sent,
        Partitioner::Hash => sent.min(Order::PerKey),
        Partitioner::Rebalance if receivers == 1 => sent,
        Partitioner::Rebalance => Order::None,
        // Pointwise: with no more receivers than senders each sender has one receiver.
        Partitioner::Rescale if receivers <= senders => sent,
        Partitioner::Rescale => Order::None,
        // Each receiver gets everything, as copies with a path of its own.
        Partitioner::Broadcast => sent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::OperatorId;
    use crate::job::JobOperator;

    /// A chain of operators with these parallelisms behind a source.
    fn chain(source: u32, rest: &[(Partitioner, u32, Behaviour)]) -> Vec<Order> {
        let parallelisms = [source].into_iter().chain(rest.iter().map(|it| it.1));
        let operators = parallelisms
            .enumerate()
            .map(|(i, parallelism)| JobOperator {
                name: format!("o{i}"),
                parallelism,
                max_parallelism: 128,
            })
            .collect();
        let edge = |(i, it): (usize, &(Partitioner, u32, Behaviour))| Edge {
            from: OperatorId(i as u32),
            to: OperatorId(i as u32 + 1),
            input: 0,
            partitioner: it.0,
            chained: false,
            feedback: None,
        };
        let job = JobGraph::new(operators, rest.iter().enumerate().map(edge).collect());
        let mut behaviours = vec![Behaviour::Source];
        behaviours.extend(rest.iter().map(|it| it.2));
        orders(&job.expect("valid"), &behaviours).split_off(1)
    }

    #[test]
    fn order_is_promised_where_it_holds() {
        use Behaviour::{ChangesKey, Joins, KeepsKey};
        use Order::{None, PerKey, Total};
        use Partitioner::{Broadcast, Forward, Hash, Rebalance, Rescale};
        type Row<'a> = (&'a str, u32, &'a [(Partitioner, u32, Behaviour)], &'a [Order]);
        let rows: [Row<'_>; 10] = [
            ("forward", 2, &[(Forward, 2, KeepsKey), (Forward, 2, KeepsKey)], &[Total, Total]),
            ("hash", 2, &[(Hash, 3, KeepsKey), (Hash, 2, KeepsKey)], &[PerKey, PerKey]),
            ("rekey early", 2, &[(Forward, 2, ChangesKey), (Hash, 3, KeepsKey)], &[Total, PerKey]),
            ("rekey late", 2, &[(Hash, 3, ChangesKey), (Hash, 3, KeepsKey)], &[PerKey, None]),
            ("rebalance", 1, &[(Rebalance, 2, KeepsKey), (Hash, 1, KeepsKey)], &[None, None]),
            ("funnel", 3, &[(Rebalance, 1, KeepsKey), (Rebalance, 1, KeepsKey)], &[Total, Total]),
            ("rescale in", 4, &[(Rescale, 2, KeepsKey)], &[Total]),
            ("rescale out", 2, &[(Rescale, 4, KeepsKey)], &[None]),
            ("broadcast", 2, &[(Broadcast, 4, KeepsKey)], &[Total]),
            ("join", 2, &[(Hash, 2, Joins), (Forward, 2, KeepsKey)], &[PerKey, None]),
        ];
        for (name, source, rest, expected) in rows {
            assert_eq!(chain(source, rest), expected, "{name}");
        }
    }
}
