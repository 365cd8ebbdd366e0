//! How far event time was at each subtask when its state was captured.
//!
//! A subtask passes a watermark on when it has done all that is due by then. So a snapshot that is taken
//! afterwards has no window in it that should have closed: one that is open is emitted too late, behind
//! a watermark, or never. What a subtask passes on is known from its channels; nobody has to be asked.

use std::collections::BTreeMap;

use cutline::ids::{CheckpointId, SubtaskId};
use cutline::operator::{Record, TimeMark};
use cutline::time::VirtualTime;

use super::Setup;
use crate::observe::{Observation, TaskState};

/// How far event time was at some subtasks.
pub(super) type Reached = Vec<(SubtaskId, VirtualTime)>;

/// In a job in which nothing is late: elsewhere a record may come behind a watermark after a restore, and
/// open a window that has closed.
#[derive(Debug)]
pub(super) struct EventTime {
    /// By subtask.
    subtasks: Vec<Passed>,
    /// Of checkpoints that are not durable yet.
    cuts: BTreeMap<CheckpointId, Reached>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Passed {
    /// The attempt has taken a mark. What it sends before was restored with its output, and says nothing
    /// of its state, which may be that of others.
    has_heard: bool,
    watermark: Option<VirtualTime>,
}

impl EventTime {
    /// `None` where nothing follows from a watermark.
    pub(super) fn of(setup: &Setup) -> Option<Self> {
        let windows = setup.config.windows.as_ref()?;
        let subtasks = vec![Passed::default(); setup.graph.subtasks()];
        windows.never_late.then(|| Self { subtasks, cuts: BTreeMap::new() })
    }

    pub(super) fn on_mark_processed(&mut self, subtask: SubtaskId) {
        self.subtasks[subtask.index()].has_heard = true;
    }

    pub(super) fn on_sent(&mut self, subtask: SubtaskId, record: &Record) {
        let Some(TimeMark::Watermark(watermark)) = record.mark() else { return };
        let subtask = &mut self.subtasks[subtask.index()];
        if subtask.has_heard {
            subtask.watermark = subtask.watermark.max(Some(watermark));
        }
    }

    pub(super) fn observe(&mut self, observation: &Observation) {
        match *observation {
            Observation::Task { subtask, state: TaskState::Deploying, .. } => {
                self.subtasks[subtask.index()] = Passed::default();
            }
            Observation::Cut { subtask, checkpoint, .. } => {
                if let Some(watermark) = self.subtasks[subtask.index()].watermark {
                    self.cuts.entry(checkpoint).or_default().push((subtask, watermark));
                }
            }
            _ => {}
        }
    }

    /// How far event time was at the cuts of a checkpoint that is durable, by subtask; older ones are
    /// forgotten.
    pub(super) fn at(&mut self, checkpoint: CheckpointId) -> Reached {
        self.cuts = self.cuts.split_off(&checkpoint);
        let mut reached = self.cuts.remove(&checkpoint).unwrap_or_default();
        reached.sort_unstable();
        reached
    }
}
