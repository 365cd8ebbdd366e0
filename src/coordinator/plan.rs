//! Whom a checkpoint concerns: who is triggered, awaited and told of its end (steps T1 and T5).
//!
//! In Flink: `DefaultCheckpointPlanCalculator`. Once some subtasks have finished, the cut begins
//! at those that have no unfinished subtask in front of them any more.

use crate::ids::{Attempt, OperatorId, SubtaskId};

/// How the subtasks at both ends of an edge are connected. Flink: `DistributionPattern`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Each with each.
    AllToAll,
    /// Each with its share of the other side.
    Pointwise,
}

/// The subtasks of one operator, numbered without gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vertex {
    /// The operator.
    pub operator: OperatorId,
    /// How many there are.
    pub parallelism: u32,
    /// Whether each of them gets at a restore what all have written. Flink:
    /// `OperatorStateHandle.Mode#UNION`.
    pub union_list_state: bool,
}

/// A connection between two vertices, given by their positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Where records come from.
    pub from: usize,
    /// Where they go.
    pub to: usize,
    /// Who is connected with whom.
    pub pattern: Pattern,
}

/// The job as the plan needs it. Subtasks are numbered through the vertices, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// The operators.
    pub vertices: Vec<Vertex>,
    /// Their connections.
    pub edges: Vec<Edge>,
}

/// What a subtask's current execution is doing. Flink: `ExecutionState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are Flink's and say what they mean")]
pub enum ExecutionState {
    Created,
    Scheduled,
    Deploying,
    Initializing,
    Running,
    Finished,
    Canceling,
    Canceled,
    Failed,
}

/// The current execution of a subtask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Which one it is.
    pub attempt: Attempt,
    /// What it is doing.
    pub state: ExecutionState,
}

impl Execution {
    fn is_finished(self) -> bool {
        self.state == ExecutionState::Finished
    }
}

/// Whom one checkpoint concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Executions that must acknowledge, by subtask. Their subtasks are told of the end.
    pub wait: Vec<(SubtaskId, Attempt)>,
    /// Those of them that get a trigger message, by subtask.
    pub trigger: Vec<(SubtaskId, Attempt)>,
    /// Subtasks that had finished, ascending.
    pub finished: Vec<SubtaskId>,
    /// Operators all of whose subtasks had finished, in the order of the topology.
    pub finished_operators: Vec<OperatorId>,
}

/// Some task is not ready. Flink: `NOT_ALL_REQUIRED_TASKS_RUNNING`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotRunning;

impl Plan {
    /// Plans a checkpoint of the tasks as they are now. `executions` is indexed by subtask.
    ///
    /// # Errors
    /// [`NotRunning`] if a task to wait for is not running, or one has finished and
    /// `after_finish` (Flink: `execution.checkpointing.checkpoints-after-tasks-finish`) is off.
    pub fn new(
        topology: &Topology,
        executions: &[Execution],
        after_finish: bool,
    ) -> Result<Self, NotRunning> {
        assert_eq!(topology.subtasks(), executions.len());
        let mut plan = Self {
            wait: Vec::with_capacity(executions.len()),
            trigger: Vec::new(),
            finished: Vec::new(),
            finished_operators: topology.finished(executions),
        };
        for (subtask, execution) in (0..).map(SubtaskId).zip(executions) {
            match execution.state {
                ExecutionState::Finished => plan.finished.push(subtask),
                ExecutionState::Running => plan.wait.push((subtask, execution.attempt)),
                ExecutionState::Created
                | ExecutionState::Scheduled
                | ExecutionState::Deploying
                | ExecutionState::Initializing
                | ExecutionState::Canceling
                | ExecutionState::Canceled
                | ExecutionState::Failed => return Err(NotRunning),
            }
        }
        if !plan.finished.is_empty() && !after_finish {
            return Err(NotRunning);
        }
        let behind = topology.behind_unfinished(executions);
        let first = plan.wait.iter().filter(|(subtask, _)| !behind[subtask.index()]);
        plan.trigger = first.copied().collect();
        Ok(plan)
    }
}

impl Topology {
    /// The number of subtasks.
    pub fn subtasks(&self) -> usize {
        self.vertices.iter().map(|v| v.parallelism as usize).sum()
    }

    /// For each subtask whether one directly upstream of it has not finished.
    fn behind_unfinished(&self, executions: &[Execution]) -> Vec<bool> {
        let mut behind = vec![false; executions.len()];
        let starts = self.starts();
        for edge in &self.edges {
            let (up, down) = (self.span(&starts, edge.from), self.span(&starts, edge.to));
            let upstream = &executions[up];
            // Counted once for the edge, not once for each of its subtasks: an all-to-all edge of
            // 2000 subtasks has 4 million connections.
            let any = upstream.iter().any(|execution| !execution.is_finished());
            let behind = &mut behind[down];
            let (ups, downs) = (upstream.len(), behind.len());
            for (index, behind) in behind.iter_mut().enumerate() {
                *behind |= match edge.pattern {
                    Pattern::AllToAll => any,
                    Pattern::Pointwise => {
                        let mut fed_by = upstream[feeding(index, ups, downs)].iter();
                        fed_by.any(|execution| !execution.is_finished())
                    }
                };
            }
        }
        behind
    }

    /// The operators all of whose subtasks have finished.
    fn finished(&self, executions: &[Execution]) -> Vec<OperatorId> {
        let starts = self.starts();
        let vertices = (0..).zip(&self.vertices);
        let over = vertices.filter(|(index, _)| {
            let executions = &executions[self.span(&starts, *index)];
            executions.iter().all(|execution| execution.is_finished())
        });
        over.map(|(_, vertex)| vertex.operator).collect()
    }

    /// An operator with union list state some of whose subtasks have come to their end, and some not.
    /// `finished` are the subtasks that were planned as finished, ascending; `ended` says of others
    /// whether their operators had finished when they took their part.
    ///
    /// What the former would add to the state of all is nowhere. Those whose operators alone have
    /// finished wait for the others, so that all have one final checkpoint. Flink:
    /// `DefaultCheckpointPlan#checkNoPartlyFinishedVertexUsedUnionListState`,
    /// `#checkNoPartlyOperatorsFinishedVertexUsedUnionListState`.
    ///
    /// Deviation: an operator that had finished before a restore counts as partly finished until all
    /// its subtasks have said so again; Flink exempts it.
    pub(super) fn partly_ended_union(
        &self,
        finished: &[SubtaskId],
        ended: impl Fn(SubtaskId) -> bool,
    ) -> Option<OperatorId> {
        let vertices = self.starts().into_iter().zip(&self.vertices);
        let mut unions = vertices.filter(|(_, vertex)| vertex.union_list_state);
        let partly = unions.find(|(start, vertex)| {
            let subtasks = (*start as u32..*start as u32 + vertex.parallelism).map(SubtaskId);
            let gone = |subtask: &SubtaskId| finished.binary_search(subtask).is_ok();
            let over = subtasks.clone().filter(gone).count();
            let count = match over {
                0 => subtasks.filter(|subtask| ended(*subtask)).count(),
                over => over,
            };
            count > 0 && count < vertex.parallelism as usize
        });
        partly.map(|(_, vertex)| vertex.operator)
    }

    fn starts(&self) -> Vec<usize> {
        let mut next = 0;
        let mut starts = Vec::with_capacity(self.vertices.len());
        for vertex in &self.vertices {
            starts.push(next);
            next += vertex.parallelism as usize;
        }
        starts
    }

    fn span(&self, starts: &[usize], vertex: usize) -> std::ops::Range<usize> {
        let start = starts[vertex];
        start..start + self.vertices[vertex].parallelism as usize
    }
}

/// The upstream subtasks of downstream subtask `index` over a pointwise edge.
fn feeding(index: usize, ups: usize, downs: usize) -> std::ops::Range<usize> {
    if ups >= downs {
        index * ups / downs..(index + 1) * ups / downs
    } else {
        let one = index * ups / downs;
        one..one + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(pattern: Pattern, ups: u32, downs: u32) -> Topology {
        let vertex = |operator, parallelism| Vertex {
            operator: OperatorId(operator),
            parallelism,
            union_list_state: true,
        };
        Topology {
            vertices: vec![vertex(0, ups), vertex(1, downs)],
            edges: vec![Edge { from: 0, to: 1, pattern }],
        }
    }

    fn executions(states: &str) -> Vec<Execution> {
        let state = |c| match c {
            'R' => ExecutionState::Running,
            'F' => ExecutionState::Finished,
            _ => ExecutionState::Created,
        };
        let execution = |c| Execution { attempt: Attempt(0), state: state(c) };
        states.chars().map(execution).collect()
    }

    #[test]
    fn the_cut_begins_behind_what_has_finished() {
        use Pattern::{AllToAll, Pointwise};
        /// Name, pattern, up, down, states, triggered; `None`: cannot be planned.
        type Row = (&'static str, Pattern, u32, u32, &'static str, Option<&'static [u32]>);
        let rows: [Row; 7] = [
            ("all run", AllToAll, 2, 2, "RRRR", Some(&[0, 1])),
            ("one source finished", AllToAll, 2, 2, "FRRR", Some(&[1])),
            ("sources finished", AllToAll, 2, 2, "FFRR", Some(&[2, 3])),
            ("pointwise", Pointwise, 2, 2, "FRRR", Some(&[1, 2])),
            ("pointwise 4 to 2", Pointwise, 4, 2, "FFRFRR", Some(&[2, 4])),
            ("pointwise 1 to 3", Pointwise, 1, 3, "FRRR", Some(&[1, 2, 3])),
            ("one not running", AllToAll, 1, 1, "RC", None),
        ];
        for (name, pattern, ups, downs, states, expected) in rows {
            let plan = Plan::new(&topology(pattern, ups, downs), &executions(states), true);
            let triggered =
                plan.ok().map(|plan| plan.trigger.iter().map(|(s, _)| s.0).collect::<Vec<_>>());
            assert_eq!(triggered.as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn union_list_state_is_never_partly_finished() {
        // Name, states of the upper three, those whose operators had ended, whether it is refused.
        let rows = [
            ("all run", "RRRR", "", false),
            ("one has ended", "RRRR", "0", true),
            ("all have ended", "RRRR", "012", false),
            ("one has finished", "FRRR", "", true),
            ("one has finished, the others have ended", "FRRR", "12", true),
            ("all have finished", "FFFR", "", false),
            ("the lower one has ended", "FFFR", "3", false),
        ];
        let topology = topology(Pattern::AllToAll, 3, 1);
        for (name, states, ended, refused) in rows {
            let plan = Plan::new(&topology, &executions(states), true).expect("it can be planned");
            let ended = |subtask: SubtaskId| ended.contains(&subtask.0.to_string());
            let partly = topology.partly_ended_union(&plan.finished, ended);
            assert_eq!(partly, refused.then_some(OperatorId(0)), "{name}");
        }
    }

    #[test]
    fn finished_tasks_may_be_forbidden() {
        let topology = topology(Pattern::AllToAll, 1, 1);
        for (name, after_finish, planned) in [("allowed", true, true), ("not", false, false)] {
            let plan = Plan::new(&topology, &executions("FR"), after_finish);
            assert_eq!(plan.is_ok(), planned, "{name}");
        }
    }
}
