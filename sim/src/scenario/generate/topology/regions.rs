//! Jobs of several failover regions: forward edges alone, or pipelines that nothing connects.

use cutline::job::Partitioner;

use super::super::weighted;
use super::{Builder, Edge};
use crate::scenario::model::{Operator, OperatorKind};

impl Builder<'_> {
    /// Some jobs fall into regions. Drawn when all else is known, from a stream of its own, so that the
    /// others are what they would be without.
    pub(super) fn vary_regions(&mut self) {
        let mut stream = self.draws.of("regions", "");
        match weighted(&mut stream, &[7, 2, 1]) {
            0 => {}
            1 => {
                let most = u64::from(self.options.parallelism_max);
                if most >= 2 {
                    self.forward_alone(stream.between(2, most) as u32);
                }
            }
            _ => self.double(),
        }
    }

    /// Each slot runs a pipeline of its own. What needs records by key cannot be among it: aggregates
    /// become maps, and a job with a join stays as it is.
    fn forward_alone(&mut self, parallelism: u32) {
        let joins = |it: &Operator| it.kind == OperatorKind::Join;
        if self.operators.iter().any(joins) {
            return;
        }
        for operator in &mut self.operators {
            if operator.kind.is_keyed() {
                (operator.kind, operator.state_per_key) = (OperatorKind::Map { rekey: None }, 0);
            }
            operator.parallelism = parallelism;
            operator.max_parallelism = operator.max_parallelism.max(parallelism);
        }
        for edge in &mut self.edges {
            edge.partitioner = Partitioner::Forward;
        }
    }

    /// The same pipeline a second time, beside the first.
    fn double(&mut self) {
        if self.sources * 2 > self.options.sources_max as usize {
            return;
        }
        let first = self.operators.len();
        for at in 0..first {
            let operator = self.operators[at].clone();
            self.operators.push(Operator { name: format!("{}-b", operator.name), ..operator });
            self.flow.push(self.flow[at]);
        }
        for at in 0..self.edges.len() {
            let Edge { from, to, .. } = self.edges[at];
            self.edges.push(Edge { from: from + first, to: to + first, ..self.edges[at].clone() });
        }
    }
}
