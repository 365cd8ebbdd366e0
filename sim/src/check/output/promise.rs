//! Who has promised to commit what: those who have heard that a checkpoint is complete.
//!
//! A sink commits when its subtask hears of it. Where something is behind the sink, that commits for
//! it (Flink: `CommitterOperator`), and any subtask of that may hold what any of the sink has
//! prepared: then all of them must have heard.

use std::collections::VecDeque;

use cutline::ids::{CheckpointId, OperatorId, RegionId, SubtaskId};
use cutline::time::VirtualTime;

use crate::check::Setup;
use crate::check::liveness::Weather;

/// Everything that a subtask has prepared up to a checkpoint is to be committed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promise {
    pub(super) made: VirtualTime,
    /// Who has heard of the checkpoint, the last of those who had to.
    pub(super) heard: SubtaskId,
    pub(super) subtask: SubtaskId,
    pub(super) checkpoint: CheckpointId,
}

/// Promises, by the time when they were made.
#[derive(Clone, Debug)]
pub(super) struct Promises {
    open: VecDeque<Promise>,
    /// The sink whose transactions an operator commits, by operator.
    commits_for: Vec<Option<OperatorId>>,
    /// The newest checkpoint that a subtask of the present execution has heard of.
    heard: Vec<Option<CheckpointId>>,
}

impl Promises {
    pub(super) fn new(setup: &Setup) -> Self {
        let is_sink = |it: &OperatorId| setup.is_transactional(*it);
        let edges = setup.graph.job().edges();
        let commits_for = |operator: OperatorId| {
            let mut in_front =
                edges.iter().filter(|edge| edge.to == operator).map(|edge| edge.from);
            let is_last = edges.iter().all(|edge| edge.from != operator);
            in_front.find(is_sink).or(Some(operator).filter(|it| is_last && is_sink(it)))
        };
        Self {
            open: VecDeque::new(),
            commits_for: setup.operators().map(commits_for).collect(),
            heard: vec![None; setup.graph.subtasks()],
        }
    }

    /// A subtask hears that a checkpoint is complete, or is restored from it.
    pub(super) fn hear(
        &mut self,
        now: VirtualTime,
        subtask: SubtaskId,
        checkpoint: CheckpointId,
        setup: &Setup,
    ) {
        let operator = setup.graph.operator(subtask);
        let Some(sink) = self.commits_for[operator.index()] else { return };
        let promise = Promise { made: now, heard: subtask, subtask, checkpoint };
        if sink == operator {
            return self.open.push_back(promise);
        }
        let before = self.all_have_heard(operator, setup);
        let heard = &mut self.heard[subtask.index()];
        *heard = (*heard).max(Some(checkpoint));
        let after = self.all_have_heard(operator, setup);
        let Some(checkpoint) = after.filter(|_| after > before) else { return };
        let subtasks = setup.layout().subtasks_of(sink).map(SubtaskId);
        self.open.extend(subtasks.map(|subtask| Promise { subtask, checkpoint, ..promise }));
    }

    fn all_have_heard(&self, operator: OperatorId, setup: &Setup) -> Option<CheckpointId> {
        let subtasks = setup.layout().subtasks_of(operator);
        subtasks.map(|subtask| self.heard[subtask as usize]).min().flatten()
    }

    /// The next promise that should have been kept by now.
    pub(super) fn take_overdue(
        &mut self,
        now: VirtualTime,
        weather: &Weather,
        setup: &Setup,
    ) -> Option<Promise> {
        let promise = self.open.front()?;
        let overdue = weather.is_overdue(promise.made, setup.config.settle, now);
        if overdue { self.open.pop_front() } else { None }
    }

    /// All that are open: the job is over.
    pub(super) fn take(&mut self) -> VecDeque<Promise> {
        std::mem::take(&mut self.open)
    }

    /// The attempts of a region are over.
    pub(super) fn clear_region(&mut self, region: RegionId, setup: &Setup) {
        let regions = setup.graph.regions();
        self.open.retain(|promise| regions.of(promise.subtask) != region);
        for subtask in regions.subtasks(region) {
            self.heard[subtask.index()] = None;
        }
    }

    /// The execution is over, and who has heard of what with it.
    pub(super) fn clear(&mut self) {
        self.open.clear();
        self.heard.fill(None);
    }
}
