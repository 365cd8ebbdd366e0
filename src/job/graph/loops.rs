//! Loops: an operator sends some of its records back to one upstream of it, over a feedback edge.
//!
//! Without its feedback edges a job has no cycle. A loop is what lies on the ways from the head, which
//! the edge leads to, to the tail, which it comes from. Records enter it at its head alone and may leave
//! it anywhere. In Flink: `IterativeStream`, `FeedbackTransformation` of the DataStream API, which 2.0
//! has dropped; `Iterations`, `HeadOperator` and `TailOperator` of Flink ML.

use super::{Edge, EdgeId, JobGraph, Partitioner, forward};
use crate::ids::OperatorId;

/// What makes an edge a feedback edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feedback {
    /// Of a thousand records that the tail emits, so many go round again, from 1 to 999; the others
    /// leave on its other edges. Which of them a record is among follows from what it is
    /// ([`path::goes_round`](crate::operator::path::goes_round)), and is another answer in each round.
    /// Flink: the filter that `IterativeStream#closeWith` is given a stream of.
    pub again_permille: u32,
}

/// What keeps an edge from being a feedback edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFeedback {
    /// No way leads from where it goes to where it comes from.
    #[error("it leads to no operator upstream of its sender")]
    NotBack,
    /// Nothing goes round, or nothing comes to an end.
    #[error("between 1 and 999 of a thousand records go round")]
    Share,
    /// What is in flight on it is part of a snapshot, and must find its way when the job is rescaled.
    #[error("it must be a hash or rebalance edge")]
    Partitioner,
    /// Its ends are one task.
    #[error("it cannot be chained")]
    Chained,
    /// An operator is part of another loop as well.
    #[error("its loop meets another one")]
    Overlap,
    /// Records come into the loop at an operator that is not its head.
    #[error("records enter its loop elsewhere than at its head")]
    SideInput,
    /// No record comes into the loop.
    #[error("no other edge leads to its head")]
    NothingEnters,
}

/// A feedback edge, and what lies between its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loop {
    /// The feedback edge.
    pub edge: EdgeId,
    /// Where it leads.
    pub head: OperatorId,
    /// Where it comes from; the head itself, if the loop has one operator.
    pub tail: OperatorId,
    /// By operator, whether it is part of the loop.
    pub body: Vec<bool>,
}

impl Loop {
    /// Whether an edge is part of the loop: its feedback edge, or one within.
    pub fn has_edge(&self, id: EdgeId, edge: &Edge) -> bool {
        let within = self.body[edge.from.index()] && self.body[edge.to.index()];
        id == self.edge || within && edge.leads_on()
    }
}

impl JobGraph {
    /// The loops of the job, in the order of their feedback edges; no two have an operator in common.
    pub fn loops(&self) -> &[Loop] {
        &self.loops
    }
}

/// The loops of a job whose other edges form no cycle; `order` is their topological order.
pub(super) fn find(
    edges: &[Edge],
    order: &[OperatorId],
) -> Result<Vec<Loop>, (usize, BadFeedback)> {
    let mut loops: Vec<Loop> = Vec::new();
    for (at, edge) in edges.iter().enumerate() {
        let Some(feedback) = edge.feedback else { continue };
        let (head, tail) = (edge.to, edge.from);
        let body = between(head, tail, edges, order);
        let enters = |edge: &&Edge| !body[edge.from.index()] && body[edge.to.index()];
        let meets = |other: &Loop| other.body.iter().zip(&body).any(|(a, b)| *a && *b);
        let bad = if edge.chained {
            Some(BadFeedback::Chained)
        } else if !(1..1_000).contains(&feedback.again_permille) {
            Some(BadFeedback::Share)
        } else if !matches!(edge.partitioner, Partitioner::Hash | Partitioner::Rebalance) {
            Some(BadFeedback::Partitioner)
        } else if !body[tail.index()] {
            Some(BadFeedback::NotBack)
        } else if loops.iter().any(meets) {
            Some(BadFeedback::Overlap)
        } else if forward(edges).filter(enters).any(|edge| edge.to != head) {
            Some(BadFeedback::SideInput)
        } else if !forward(edges).any(|edge| edge.to == head) {
            Some(BadFeedback::NothingEnters)
        } else {
            None
        };
        if let Some(bad) = bad {
            return Err((at, bad));
        }
        loops.push(Loop { edge: EdgeId(at as u32), head, tail, body });
    }
    Ok(loops)
}

/// By operator, whether it is on a way from one to another, those two included; none if there is no way.
fn between(from: OperatorId, to: OperatorId, edges: &[Edge], order: &[OperatorId]) -> Vec<bool> {
    let mut behind = vec![false; order.len()];
    behind[from.index()] = true;
    for at in order {
        for edge in forward(edges).filter(|edge| edge.from == *at) {
            behind[edge.to.index()] |= behind[at.index()];
        }
    }
    let mut before = vec![false; order.len()];
    before[to.index()] = true;
    for at in order.iter().rev() {
        for edge in forward(edges).filter(|edge| edge.to == *at) {
            before[edge.from.index()] |= before[at.index()];
        }
    }
    behind.iter().zip(&before).map(|(behind, before)| *behind && *before).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{JobGraphError, JobOperator};

    type Ends = (u32, u32);

    fn job(
        operators: u32,
        edges: &[Ends],
        feedback: &[(Ends, Partitioner, u32)],
    ) -> Result<JobGraph, JobGraphError> {
        let operator =
            |at| JobOperator { name: format!("o{at}"), parallelism: 2, max_parallelism: 128 };
        let edge = |&(from, to): &Ends, partitioner, feedback| Edge {
            from: OperatorId(from),
            to: OperatorId(to),
            input: 0,
            partitioner,
            chained: false,
            feedback,
        };
        let forward = edges.iter().map(|ends| edge(ends, Partitioner::Rebalance, None));
        let back = feedback.iter().map(|(ends, partitioner, again_permille)| {
            edge(ends, *partitioner, Some(Feedback { again_permille: *again_permille }))
        });
        JobGraph::new((0..operators).map(operator).collect(), forward.chain(back).collect())
    }

    #[test]
    fn a_loop_is_what_lies_between_its_ends() {
        use Partitioner::{Hash, Rebalance};
        let line = [(0, 1), (1, 2), (2, 3), (1, 3)];
        let back = [((2, 1), Hash, 500)];
        let found = job(4, &line, &back).expect("a way leads back");
        assert_eq!(found.loops().len(), 1);
        assert_eq!(found.loops()[0].body, [false, true, true, false]);
        let within = (0..).map(EdgeId).zip(found.edges());
        let within: Vec<bool> =
            within.map(|(id, edge)| found.loops()[0].has_edge(id, edge)).collect();
        assert_eq!(within, [false, true, false, false, true]);
        let to_itself = job(3, &[(0, 1), (1, 2)], &[((1, 1), Rebalance, 1)]).expect("it may be");
        assert_eq!(to_itself.loops()[0].body, [false, true, false]);
    }

    #[test]
    fn what_is_no_loop_is_refused() {
        use BadFeedback::{NotBack, NothingEnters, Overlap, Share, SideInput};
        use Partitioner::{Forward, Hash};
        let line: &[Ends] = &[(0, 1), (1, 2), (2, 3)];
        type Row<'a> = (&'a [Ends], &'a [(Ends, Partitioner, u32)], BadFeedback);
        let rows: [Row<'_>; 8] = [
            (line, &[((1, 2), Hash, 500)], NotBack),
            (line, &[((2, 1), Hash, 0)], Share),
            (line, &[((2, 1), Hash, 1_000)], Share),
            (line, &[((2, 1), Forward, 500)], BadFeedback::Partitioner),
            (line, &[((2, 1), Hash, 500), ((1, 1), Hash, 500)], Overlap),
            (line, &[((2, 1), Hash, 500), ((2, 1), Hash, 500)], Overlap),
            (&[(0, 1), (1, 2), (2, 3), (0, 2)], &[((2, 1), Hash, 500)], SideInput),
            (&[(1, 2), (2, 3), (0, 3)], &[((2, 1), Hash, 500)], NothingEnters),
        ];
        for (edges, feedback, expected) in rows {
            match job(4, edges, feedback) {
                Err(JobGraphError::BadFeedback { why, .. }) => assert_eq!(why, expected),
                other => panic!("{expected:?}: {other:?}"),
            }
        }
    }
}
