//! Loops, in some jobs. Drawn from streams of their own, so that jobs without are what they would be.

use cutline::job::{Feedback, Partitioner};

use super::{Builder, ONE, permille_chance};
use crate::scenario::loops::unfit;
use crate::scenario::model::{Edge, OperatorKind};

impl Builder<'_> {
    /// Has some records of some operators go round again. `records` are those that each operator gets.
    pub(super) fn vary_loops(&mut self, records: &mut Vec<u64>) {
        let timed = |kind: &OperatorKind| {
            kind.is_window() || kind.as_source().is_some_and(|source| source.watermarks.is_some())
        };
        if !self.draws.is("loops", 150) || self.operators.iter().any(|it| timed(&it.kind)) {
            return;
        }
        records.resize(self.operators.len(), 0);
        // The first is always tried: a job that was to have a loop has one, if it can.
        let mut always = true;
        for tail in 0..self.operators.len() {
            let mut stream = self.draws.of("loop", &self.operators[tail].name);
            let wanted = permille_chance(&mut stream, 300) || always;
            let again_permille = stream.between(50, 800) as u32;
            let longer = stream.below(3);
            let hashed = stream.below(2) == 0;
            if !wanted || !self.leads_on(tail) {
                continue;
            }
            let mut head = tail;
            for _ in 0..longer {
                head = self.only_sender(head).unwrap_or(head);
            }
            let partitioner = match hashed || self.operators[head].kind.is_keyed() {
                true => Partitioner::Hash,
                false => Partitioner::Rebalance,
            };
            let feedback = Some(Feedback { again_permille });
            let edge =
                Edge { from: tail, to: head, input: 0, partitioner, chained: false, feedback };
            if self.loop_with(edge, records) {
                always = false;
            }
        }
    }

    /// Who alone sends to an operator.
    fn only_sender(&self, operator: usize) -> Option<usize> {
        let mut inputs = self.edges.iter().filter(|edge| edge.to == operator);
        let first = inputs.next()?.from;
        inputs.all(|edge| edge.from == first).then_some(first)
    }

    /// Adds the edge, if it can be, and counts what goes round.
    fn loop_with(&mut self, edge: Edge, records: &mut [u64]) -> bool {
        let (head, again) = (edge.to, edge.feedback.map_or(0, |it| u64::from(it.again_permille)));
        self.edges.push(edge);
        if unfit(&self.operators, &self.edges).is_some() {
            self.edges.pop();
            return false;
        }
        // What enters comes as often as if it went round again and again, at the most: in a loop that
        // copies what it gets, about twice as often.
        let factor = 2 * ONE * ONE / (ONE - again);
        let mut behind = vec![false; self.operators.len()];
        behind[head] = true;
        for _ in 0..self.operators.len() {
            for edge in &self.edges {
                behind[edge.to] |= behind[edge.from];
            }
        }
        for (records, _) in records.iter_mut().zip(&behind).filter(|(_, behind)| **behind) {
            *records = *records * factor / ONE;
        }
        true
    }
}
