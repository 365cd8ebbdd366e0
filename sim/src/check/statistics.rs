//! Statistics of a run, from the observations that the checks see.

use std::collections::BTreeMap;

use cutline::ids::{CheckpointId, SubtaskId};
use cutline::message::FailureReason;
use cutline::step::Step;
use cutline::time::{VirtualDuration, VirtualTime};
use serde::Serialize;

use super::Setup;
use crate::observe::{JobEnd, Observation};
use crate::scenario::model::Disturbance;

/// What happened in a run, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Statistics {
    /// Checkpoints.
    pub checkpoints: Checkpoints,
    /// Requests for a checkpoint that failed before one was pending, by reason.
    pub requests_failed: BTreeMap<FailureReason, u64>,
    /// Executions that ended before the job did.
    pub restarts: u64,
    /// Executions that began from a checkpoint.
    pub restores: u64,
    /// Records (simulated ones, not multiplied by their weight).
    pub records: Records,
    /// Storage requests that did not go as they should, by what became of them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub storage_disturbed: BTreeMap<Disturbance, u64>,
    /// Files that are there at the end, that nothing refers to, and whose owner has died.
    #[serde(skip_serializing_if = "Orphans::is_empty")]
    pub orphans: Orphans,
    /// From trigger to completion. Flink: end to end duration.
    pub end_to_end: Durations,
    /// From trigger to the first barrier at a subtask. Flink: start delay.
    pub start_delay: Durations,
    /// From the first barrier at a subtask to its cut. Flink: alignment duration.
    pub alignment: Durations,
    /// From a subtask's cut to the start of its upload. Flink: sync duration.
    pub sync: Durations,
    /// From the start of a subtask's upload to its acknowledgement. Flink: async duration.
    #[serde(rename = "async")]
    pub asynchronous: Durations,
}

/// How many checkpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checkpoints {
    /// Became pending.
    pub triggered: u64,
    /// Completed.
    pub completed: u64,
    /// Failed after they were pending, by reason.
    pub failed: BTreeMap<FailureReason, u64>,
}

/// Files that nobody will delete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Orphans {
    /// How many.
    pub files: u64,
    /// Their sizes together, in bytes.
    pub bytes: u64,
    /// Uploads in parts that nobody completes.
    pub uploads: u64,
    /// The sizes of their parts together, in bytes.
    pub upload_bytes: u64,
}

impl Orphans {
    fn is_empty(&self) -> bool {
        self.files + self.uploads == 0
    }
}

/// How many records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Records {
    /// Emitted by sources, repetitions after a restore included.
    pub emitted: u64,
    /// Given to operators, at every hop.
    pub processed: u64,
    /// Made visible by sinks: committed, or written at once.
    pub committed: u64,
    /// Persisted in flight.
    pub persisted: u64,
    /// Dropped because all their windows had fired, repetitions after a restore included. Flink:
    /// `numLateRecordsDropped`.
    #[serde(skip_serializing_if = "is_zero")]
    pub late: u64,
    /// Windows that fired, repetitions after a restore included.
    #[serde(skip_serializing_if = "is_zero")]
    pub windows: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A set of durations, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Durations {
    /// How many.
    pub count: u64,
    /// All of them together, in nanoseconds.
    pub total: VirtualDuration,
    /// The longest, in nanoseconds.
    pub max: VirtualDuration,
}

impl Durations {
    /// The mean; zero if there is none.
    pub fn mean(&self) -> VirtualDuration {
        VirtualDuration(self.total.0.checked_div(self.count).unwrap_or(0))
    }

    fn zip(&self, other: &Self, f: impl Fn(u128, u128) -> u128) -> Self {
        Self {
            count: zip(self.count, other.count, &f),
            total: VirtualDuration(zip(self.total.0, other.total.0, &f)),
            max: self.max.max(other.max),
        }
    }

    fn add(&mut self, duration: VirtualDuration) {
        self.count += 1;
        self.total += duration;
        self.max = self.max.max(duration);
    }
}

fn zip(mine: u64, other: u64, f: impl Fn(u128, u128) -> u128) -> u64 {
    u64::try_from(f(u128::from(mine), u128::from(other))).unwrap_or(u64::MAX)
}

fn zip_by<K: Copy + Ord>(
    mine: &BTreeMap<K, u64>,
    others: &BTreeMap<K, u64>,
    f: impl Fn(u128, u128) -> u128,
) -> BTreeMap<K, u64> {
    let zipped = |key: &K| {
        let [mine, others] = [mine, others].map(|it| it.get(key).copied().unwrap_or(0));
        let count = zip(mine, others, &f);
        (count > 0).then_some((*key, count))
    };
    mine.keys().chain(others.keys()).filter_map(zipped).collect()
}

impl Statistics {
    /// Number by number, what `f` makes of these and of others; the longest of both.
    pub(crate) fn zip(&self, other: &Self, f: impl Fn(u128, u128) -> u128) -> Self {
        let count = |mine, others| zip(mine, others, &f);
        let (checkpoints, records) = (&self.checkpoints, &self.records);
        let (others_checkpoints, others_records) = (&other.checkpoints, &other.records);
        Self {
            checkpoints: Checkpoints {
                triggered: count(checkpoints.triggered, others_checkpoints.triggered),
                completed: count(checkpoints.completed, others_checkpoints.completed),
                failed: zip_by(&checkpoints.failed, &others_checkpoints.failed, &f),
            },
            requests_failed: zip_by(&self.requests_failed, &other.requests_failed, &f),
            restarts: count(self.restarts, other.restarts),
            restores: count(self.restores, other.restores),
            records: Records {
                emitted: count(records.emitted, others_records.emitted),
                processed: count(records.processed, others_records.processed),
                committed: count(records.committed, others_records.committed),
                persisted: count(records.persisted, others_records.persisted),
                late: count(records.late, others_records.late),
                windows: count(records.windows, others_records.windows),
            },
            storage_disturbed: zip_by(&self.storage_disturbed, &other.storage_disturbed, &f),
            orphans: Orphans {
                files: count(self.orphans.files, other.orphans.files),
                bytes: count(self.orphans.bytes, other.orphans.bytes),
                uploads: count(self.orphans.uploads, other.orphans.uploads),
                upload_bytes: count(self.orphans.upload_bytes, other.orphans.upload_bytes),
            },
            end_to_end: self.end_to_end.zip(&other.end_to_end, &f),
            start_delay: self.start_delay.zip(&other.start_delay, &f),
            alignment: self.alignment.zip(&other.alignment, &f),
            sync: self.sync.zip(&other.sync, &f),
            asynchronous: self.asynchronous.zip(&other.asynchronous, &f),
        }
    }
}

/// Counts; knows what is pending to measure durations.
#[derive(Clone, Debug)]
pub(super) struct Counter {
    pub(super) statistics: Statistics,
    pending: Vec<(CheckpointId, VirtualTime)>,
    /// An execution has ended, and no other has begun: one that is cancelled does not.
    between_executions: bool,
    /// Regions that have ended and have not begun again.
    regions_down: u64,
    /// By subtask: the checkpoint it takes, and when it passed the last stage.
    stages: Vec<Option<Stage>>,
}

/// How far a subtask is with a checkpoint.
#[derive(Clone, Copy, Debug)]
struct Stage {
    checkpoint: CheckpointId,
    since: VirtualTime,
    /// The synchronous part is over: what is uploaded later has waited for the network.
    uploads: bool,
}

impl Stage {
    fn new(checkpoint: CheckpointId, since: VirtualTime) -> Self {
        Self { checkpoint, since, uploads: false }
    }
}

impl Counter {
    pub(super) fn new(setup: &Setup) -> Self {
        let stages = vec![None; setup.graph.subtasks()];
        let statistics = Statistics::default();
        Self { statistics, pending: Vec::new(), between_executions: false, regions_down: 0, stages }
    }

    pub(super) fn on_step(
        &mut self,
        now: VirtualTime,
        step: Step,
        checkpoint: Option<CheckpointId>,
        subtask: Option<SubtaskId>,
    ) {
        if step == Step::B5
            && let (Some(checkpoint), Some(subtask)) = (checkpoint, subtask)
            && let Some(stage) = &mut self.stages[subtask.index()]
            && stage.checkpoint == checkpoint
            && !std::mem::replace(&mut stage.uploads, true)
        {
            self.statistics.sync.add(now.since(stage.since));
            stage.since = now;
        }
    }

    /// All but barriers and steps, and but emitted, processed and written records, which
    /// [`super::Checks`] counts itself.
    pub(super) fn observe(&mut self, now: VirtualTime, observation: &Observation, setup: &Setup) {
        let statistics = &mut self.statistics;
        match *observation {
            Observation::Triggered { checkpoint, .. } => {
                statistics.checkpoints.triggered += 1;
                self.pending.push((checkpoint, now));
            }
            // Durations are those of tasks: a chain takes one snapshot, however many have a part in it.
            Observation::Cut { subtask, .. } if !setup.graph.is_head(subtask) => {}
            Observation::Cut { subtask, checkpoint, .. } => {
                if let Some(began) = self.next_stage(now, subtask, checkpoint) {
                    self.statistics.alignment.add(now.since(began));
                }
                self.stages[subtask.index()] = Some(Stage::new(checkpoint, now));
            }
            Observation::Acknowledged { subtask, checkpoint } => {
                if let Some(began) = self.next_stage(now, subtask, checkpoint) {
                    self.statistics.asynchronous.add(now.since(began));
                }
            }
            Observation::Completed { checkpoint } => {
                statistics.checkpoints.completed += 1;
                if let Some(triggered) = self.end(checkpoint) {
                    self.statistics.end_to_end.add(now.since(triggered));
                }
            }
            Observation::Failed { checkpoint, reason } => {
                *statistics.checkpoints.failed.entry(reason).or_default() += 1;
                self.end(checkpoint);
            }
            Observation::RequestFailed { reason } => {
                *statistics.requests_failed.entry(reason).or_default() += 1;
            }
            Observation::ExecutionEnded => {
                // What was to begin again alone begins again with all.
                statistics.restarts += 1;
                statistics.restarts -= std::mem::take(&mut self.regions_down);
                self.between_executions = true;
                self.stages.fill(None);
            }
            Observation::RegionEnded { region } => {
                statistics.restarts += 1;
                self.regions_down += 1;
                for subtask in setup.graph.regions().subtasks(region) {
                    self.stages[subtask.index()] = None;
                }
            }
            Observation::RegionRestored { checkpoint, .. } => {
                statistics.restores += u64::from(checkpoint.is_some());
                self.regions_down = self.regions_down.saturating_sub(1);
            }
            // What had ended does not begin again.
            Observation::JobEnded { end: JobEnd::Canceled } => {
                statistics.restarts -= u64::from(self.between_executions) + self.regions_down;
            }
            Observation::RestoreChosen { checkpoint } => {
                self.between_executions = false;
                self.regions_down = 0;
                statistics.restores += u64::from(checkpoint.is_some());
            }
            Observation::LeaderElected { .. } => self.pending.clear(),
            Observation::StorageDisturbed { how, .. } => {
                *statistics.storage_disturbed.entry(how).or_default() += 1;
            }
            Observation::Persisted { ref record, .. } => {
                statistics.records.persisted += u64::from(record.is_data());
            }
            Observation::Committed { contents, .. } => {
                statistics.records.committed += contents.count;
            }
            _ => {}
        }
    }

    /// A barrier was taken from an input channel of a subtask.
    pub(super) fn on_barrier(
        &mut self,
        now: VirtualTime,
        subtask: SubtaskId,
        checkpoint: CheckpointId,
        setup: &Setup,
    ) {
        if !setup.graph.is_head(subtask) {
            return;
        }
        let triggered = self.pending.iter().find(|pending| pending.0 == checkpoint);
        let stage = &mut self.stages[subtask.index()];
        if let Some(&(_, triggered)) = triggered
            && stage.is_none_or(|last| last.checkpoint < checkpoint)
        {
            *stage = Some(Stage::new(checkpoint, now));
            self.statistics.start_delay.add(now.since(triggered));
        }
    }

    /// When the subtask's present stage of this checkpoint began; the next one begins now.
    fn next_stage(
        &mut self,
        now: VirtualTime,
        subtask: SubtaskId,
        checkpoint: CheckpointId,
    ) -> Option<VirtualTime> {
        let stage = self.stages[subtask.index()].as_mut();
        let stage = stage.filter(|stage| stage.checkpoint == checkpoint)?;
        Some(std::mem::replace(&mut stage.since, now))
    }

    fn end(&mut self, checkpoint: CheckpointId) -> Option<VirtualTime> {
        let index = self.pending.iter().position(|pending| pending.0 == checkpoint)?;
        Some(self.pending.remove(index).1)
    }
}
