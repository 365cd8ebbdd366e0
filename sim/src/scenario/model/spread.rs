//! How a job is spread over tasks, by the scenario and by what its users do; and what follows for
//! barriers.

use cutline::defect::{Defect, Defects};

use super::{ActionKind, Edge, OperatorKind, Scenario};

/// How a job is spread over tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    /// The number of subtasks of each operator.
    pub parallelism: Vec<u32>,
    /// Whether some operators are chained.
    pub chained: bool,
    /// Whether changes of keyed state are logged. Flink: `state.changelog.enabled`.
    pub changelog: bool,
}

impl Scenario {
    /// By operator, whether barriers stay aligned on the edges to it: on all of them if they must on
    /// one. Flink: `StreamGraphGenerator#generate`, `StreamEdge#supportsUnalignedCheckpoints`. Commit
    /// handles must not be overtaken: `SinkTransformationTranslator`.
    ///
    /// Deviation: where such an operator has several input edges, so do all barriers upstream of it; in
    /// a job of which savepoints are taken, also where its subtasks have several senders. A task that was
    /// overtaken has sent its barrier early, and is blocked behind it until the others have come; if it
    /// holds up, by backpressure, a task that waits for an aligned barrier (of the same checkpoint, or of
    /// a savepoint that has expired), and whose barrier is one of the others, the job stands still for
    /// good. Flink looks at each operator alone. So they do on an edge that is chained in one of several
    /// jobs that follow each other.
    pub fn aligned_operators(&self, defects: Defects) -> Vec<bool> {
        let forced = self.checkpointing.unaligned_forced;
        let inputs = |to: usize| self.job.edges.iter().filter(move |edge| edge.to == to);
        let layouts = self.layouts();
        let chains = layouts.iter().any(|layout| layout.chained);
        let must = |edge: &Edge| {
            let commits = self.job.operators[edge.from].kind == OperatorKind::SinkWriter;
            // Of records that wait between two operators there are none where they are chained, and
            // the job may be resumed so.
            !edge.partitioner.supports_unaligned(forced, defects)
                || edge.chained && chains
                || commits && !defects.has(Defect::D51)
        };
        let operators = 0..self.job.operators.len();
        let mut aligned: Vec<bool> = operators.clone().map(|to| inputs(to).any(must)).collect();
        let savepoints = self.takes_savepoints();
        let waits = |to: usize| {
            let merges = |edge: &Edge| {
                let mut numbers = layouts.iter().map(|layout| &layout.parallelism);
                numbers.any(|it| edge.partitioner.merges(it[edge.from], it[edge.to]))
            };
            inputs(to).count() > 1 || savepoints && inputs(to).any(merges)
        };
        let mut upstream: Vec<usize> = operators.filter(|to| aligned[*to] && waits(*to)).collect();
        let mut seen = vec![false; aligned.len()];
        while let Some(to) = upstream.pop() {
            if !std::mem::replace(&mut seen[to], true) {
                aligned[to] = true;
                upstream.extend(inputs(to).map(|edge| edge.from));
            }
        }
        aligned
    }

    /// Whether a user takes savepoints: barriers that nothing overtakes. (What is triggered by hand
    /// otherwise is a checkpoint.)
    fn takes_savepoints(&self) -> bool {
        self.actions.iter().any(|action| match action.what {
            ActionKind::Savepoint | ActionKind::StopWithSavepoint { .. } => true,
            ActionKind::Cancel | ActionKind::CleanOrphans | ActionKind::Resume { .. } => false,
        })
    }

    /// Whether changes of keyed state are logged, sooner or later.
    pub fn logs_changes(&self) -> bool {
        self.layouts().iter().any(|layout| layout.changelog)
    }

    /// How the job is spread sooner or later: first as it says, then as it is resumed; each once.
    pub fn layouts(&self) -> Vec<Spread> {
        let mut layouts = vec![self.spread(&[], None, None)];
        for action in &self.actions {
            if let ActionKind::Resume { parallelism, operator_chaining, changelog, .. } =
                &action.what
            {
                let layout = self.spread(parallelism, *operator_chaining, *changelog);
                if !layouts.contains(&layout) {
                    layouts.push(layout);
                }
            }
        }
        layouts
    }

    /// How a job is spread that is resumed with these.
    pub fn spread(
        &self,
        parallelism: &[(usize, u32)],
        operator_chaining: Option<bool>,
        changelog: Option<bool>,
    ) -> Spread {
        let chains = operator_chaining.unwrap_or(self.job.operator_chaining);
        let chained = chains && self.job.edges.iter().any(|edge| edge.chained);
        let changelog = changelog.unwrap_or(self.checkpointing.changelog.enabled);
        Spread { parallelism: self.parallelism(parallelism), chained, changelog }
    }

    /// The numbers of subtasks of a job that is resumed with these.
    pub fn parallelism(&self, resumed_with: &[(usize, u32)]) -> Vec<u32> {
        let mut numbers: Vec<u32> =
            self.job.operators.iter().map(|operator| operator.parallelism).collect();
        for (operator, number) in resumed_with {
            numbers[*operator] = *number;
        }
        numbers
    }

    /// The most subtasks that an operator ever has.
    pub fn parallelism_max(&self, operator: usize) -> u32 {
        let resumed = self.actions.iter().flat_map(|action| match &action.what {
            ActionKind::Resume { parallelism, .. } => parallelism.as_slice(),
            _ => &[],
        });
        let others = resumed.filter(|(at, _)| *at == operator).map(|(_, number)| *number);
        others.fold(self.job.operators[operator].parallelism, u32::max)
    }
}
