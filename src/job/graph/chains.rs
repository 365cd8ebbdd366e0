//! Which operators run in one task. Flink: `StreamingJobGraphGenerator#isChainable`, `OperatorChain`.

use super::{Edge, ExecutionGraph, JobGraph, JobOperator, Partitioner};
use crate::ids::{OperatorId, SubtaskId};
use crate::job::Layout;

/// What keeps two operators from running in one task. Flink:
/// `StreamingJobGraphGenerator#isChainable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unchainable {
    /// Records are dealt out anew between them.
    #[error("the edge between them is not forward")]
    NotForward,
    /// Another operator sends to the receiver.
    #[error("the receiver has another input")]
    SeveralInputs,
    /// The sender sends to another operator.
    ///
    /// Deviation: Flink chains the receivers of all forward edges of an operator; a chain is a line
    /// here.
    #[error("the sender has another output")]
    SeveralOutputs,
    /// Deviation: Flink lets them differ, unless `pipeline.operator-chaining.
    /// chain-operators-with-different-max-parallelism` is off, and gives all the key groups of one.
    #[error("their max parallelism differs")]
    OtherMaxParallelism,
}

impl Unchainable {
    /// What keeps the ends of a forward edge with as many senders as receivers apart, if anything does:
    /// of all `edges` of a job, by the numbers of their ends, and the max parallelism of the two.
    pub fn of(
        (from, to): (usize, usize),
        partitioner: Partitioner,
        edges: impl Iterator<Item = (usize, usize)> + Clone,
        max_parallelism: (u32, u32),
    ) -> Option<Self> {
        if partitioner != Partitioner::Forward {
            Some(Self::NotForward)
        } else if edges.clone().filter(|other| other.1 == to).count() > 1 {
            Some(Self::SeveralInputs)
        } else if edges.filter(|other| other.0 == from).count() > 1 {
            Some(Self::SeveralOutputs)
        } else if max_parallelism.0 != max_parallelism.1 {
            Some(Self::OtherMaxParallelism)
        } else {
            None
        }
    }

    pub(super) fn of_edge(operators: &[JobOperator], edges: &[Edge], index: usize) -> Option<Self> {
        let ends = |edge: &Edge| (edge.from.index(), edge.to.index());
        let (from, to) = ends(&edges[index]);
        let max_parallelism = (operators[from].max_parallelism, operators[to].max_parallelism);
        let all = edges.iter().map(ends);
        Self::of((from, to), edges[index].partitioner, all, max_parallelism)
    }
}

impl JobGraph {
    /// The same job with each operator in a task of its own. Flink: `pipeline.operator-chaining.enabled`
    /// off.
    #[must_use]
    pub fn unchained(mut self) -> Self {
        self.edges.iter_mut().for_each(|edge| edge.chained = false);
        self
    }

    /// Whether it is the same job, spread or chained differently at most.
    pub(in crate::job) fn has_edges_of(&self, other: &Self) -> bool {
        let loose = |job: &Self| -> Vec<Edge> {
            job.edges.iter().map(|edge| Edge { chained: false, ..*edge }).collect()
        };
        loose(self) == loose(other)
    }

    /// Whether an operator gets its records by call, from another one in its task.
    pub fn is_chained(&self, operator: OperatorId) -> bool {
        self.edges.iter().any(|edge| edge.chained && edge.to == operator)
    }

    /// The operators that run in the task of this one, which is the head of a chain, from head to tail.
    pub fn chain(&self, head: OperatorId) -> Vec<OperatorId> {
        let mut chain = vec![head];
        let next = |at: OperatorId| self.edges.iter().find(|edge| edge.chained && edge.from == at);
        while let Some(edge) = next(chain[chain.len() - 1]) {
            chain.push(edge.to);
        }
        chain
    }
}

impl ExecutionGraph {
    pub(super) fn chain(&mut self, layout: &Layout) {
        let job = layout.job();
        self.heads.resize(self.operator_of.len(), SubtaskId(0));
        self.chains.resize(self.operator_of.len(), 0..0);
        let operators = (0..job.operators.len() as u32).map(OperatorId);
        for head in operators.filter(|operator| !job.is_chained(*operator)) {
            let chain = job.chain(head);
            for index in 0..layout.parallelism(head) {
                let first = self.chained.len() as u32;
                let head = layout.subtask(head, index);
                for operator in &chain {
                    let subtask = layout.subtask(*operator, index);
                    self.heads[subtask.index()] = head;
                    self.chained.push(subtask);
                }
                self.chains[head.index()] = first..self.chained.len() as u32;
            }
        }
    }

    /// The head of the chain that a subtask is part of, by whose number the task is called that runs
    /// all of it; of a subtask that is not chained, itself.
    #[inline]
    pub fn head(&self, subtask: SubtaskId) -> SubtaskId {
        self.heads[subtask.index()]
    }

    /// Whether a subtask is the head of its task.
    #[inline]
    pub fn is_head(&self, subtask: SubtaskId) -> bool {
        self.heads[subtask.index()] == subtask
    }

    /// All that run in one task, from head to tail: most often the head alone. Of the others nothing.
    /// Flink: `OperatorChain`.
    #[inline]
    pub fn chain_of(&self, head: SubtaskId) -> &[SubtaskId] {
        let range = &self.chains[head.index()];
        &self.chained[range.start as usize..range.end as usize]
    }

    /// Whose output channels are those of a task.
    #[inline]
    pub fn tail(&self, head: SubtaskId) -> SubtaskId {
        self.chain_of(head).last().copied().unwrap_or(head)
    }
}
