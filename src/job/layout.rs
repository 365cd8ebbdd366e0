//! One spread of a job over subtasks. In Flink: the `ExecutionGraph` of one submission; a job that is
//! resumed with another parallelism gets another one.

use std::ops::Range;

use super::graph::JobGraph;
use crate::ids::{OperatorId, SubtaskId};

/// See the module. Made by [`ExecutionGraph`](super::ExecutionGraph), which numbers the subtasks and
/// channels of all layouts through.
#[derive(Clone, Debug)]
pub struct Layout {
    job: JobGraph,
    /// First subtask of each operator, and the end.
    operator_start: Vec<u32>,
    channels: Range<u32>,
}

impl Layout {
    pub(super) fn new(job: JobGraph, operator_start: Vec<u32>) -> Self {
        Self { job, operator_start, channels: 0..0 }
    }

    pub(super) fn set_channels(&mut self, channels: Range<u32>) {
        self.channels = channels;
    }

    /// The job with this parallelism.
    pub fn job(&self) -> &JobGraph {
        &self.job
    }

    /// Number of subtasks of an operator.
    pub fn parallelism(&self, operator: OperatorId) -> u32 {
        self.job.operators()[operator.index()].parallelism
    }

    /// Its subtasks, operator after operator.
    pub fn subtasks(&self) -> Range<u32> {
        self.operator_start[0]..*self.operator_start.last().expect("the end is the last")
    }

    /// Its subtasks as indices.
    pub fn indices(&self) -> Range<usize> {
        let Range { start, end } = self.subtasks();
        start as usize..end as usize
    }

    /// Whether an operator has another parallelism in another layout.
    pub fn differs(&self, other: &Self, operator: OperatorId) -> bool {
        self.parallelism(operator) != other.parallelism(operator)
    }

    /// Its channels, edge after edge.
    pub fn channels(&self) -> Range<u32> {
        self.channels.clone()
    }

    /// The `index`-th subtask of an operator.
    pub fn subtask(&self, operator: OperatorId, index: u32) -> SubtaskId {
        SubtaskId(self.operator_start[operator.index()] + index)
    }

    /// All subtasks of an operator.
    pub fn subtasks_of(&self, operator: OperatorId) -> Range<u32> {
        self.operator_start[operator.index()]..self.operator_start[operator.index() + 1]
    }
}
