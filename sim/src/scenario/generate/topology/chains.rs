//! Chains of operators, in some jobs. Drawn last, from streams of their own, so that jobs without are what
//! they would be.

use cutline::job::Partitioner;

use super::{Builder, permille_chance};
use crate::scenario::chains::apart;
use crate::scenario::model::{Edge, Operator, OperatorKind};

impl Builder<'_> {
    /// Has some operators run in one task that may: over edges that are forward, or could as well be.
    /// `records` are those that each operator gets.
    pub(super) fn vary_chains(&mut self, records: &mut Vec<u64>) {
        if !self.draws.is("operator chaining", 250) {
            return;
        }
        records.resize(self.operators.len(), 0);
        for at in 0..self.operators.len() {
            let mut stream = self.draws.of("count in a chain", &self.operators[at].name);
            if self.operators[at].kind.is_keyed() && permille_chance(&mut stream, 500) {
                self.count_again(at);
                records.push(records[at]);
            }
        }
        for at in 0..self.edges.len() {
            let (from, to) = (self.edges[at].from, self.edges[at].to);
            let name = format!("{} -> {}", self.operators[from].name, self.operators[to].name);
            let mut stream = self.draws.of("chain", &name);
            if permille_chance(&mut stream, 700) && self.edges[at].leads_on() {
                self.chain(at);
            }
        }
    }

    /// What a keyed operator emits is counted, by the same keys and in the same task, before it goes on.
    fn count_again(&mut self, at: usize) {
        let again = self.operators.len();
        let name = format!("again-{}", self.operators[at].name);
        let kind = OperatorKind::KeyedAggregate;
        self.operators.push(Operator { name, kind, ..self.operators[at].clone() });
        for edge in self.edges.iter_mut().filter(|edge| edge.from == at) {
            edge.from = again;
        }
        let (from, to, partitioner) = (at, again, Partitioner::Forward);
        self.edges.push(Edge { from, to, input: 0, partitioner, chained: true, feedback: None });
    }

    fn chain(&mut self, at: usize) {
        let (from, to) = (self.edges[at].from, self.edges[at].to);
        let (edge_was, receiver_was) = (self.edges[at].clone(), self.operators[to].clone());
        // Others would have to follow suit.
        let tied = self.edges.iter().any(|edge| {
            edge.from == to && (edge.partitioner == Partitioner::Forward || edge.chained)
        });
        if !tied {
            self.operators[to].parallelism = self.operators[from].parallelism;
            self.operators[to].max_parallelism = self.operators[from].max_parallelism;
        }
        let edge = &mut self.edges[at];
        // Copies are other records.
        if edge.partitioner != Partitioner::Broadcast {
            edge.partitioner = Partitioner::Forward;
        }
        edge.chained = true;
        if apart(&self.operators, &self.edges, at).is_some() {
            self.edges[at] = edge_was;
            self.operators[to] = receiver_was;
        }
    }
}
