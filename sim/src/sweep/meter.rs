//! The meter: measures a run from what is observed, beside the checks.
//!
//! What a subtask does for a checkpoint is in [`Statistics`](crate::check::Statistics) already; here
//! is what an operator of a job asks for: how long a recovery takes, how long a record waits until
//! somebody sees it, what is stored, sent and asked for.

use std::collections::BTreeMap;

use cutline::ids::{CheckpointId, OperatorId, SubtaskId};
use cutline::message::Payload;
use cutline::operator::{Record, SplitId};
use cutline::time::{VirtualDuration, VirtualTime};

use super::histogram::Histogram;
use super::recovery::{Recoveries, Watch};
use crate::engine::Plan;
use crate::observe::{CutKind, FileId, Observation, Transaction};
use crate::scenario::model::{FaultKind, OperatorKind, StorageOperation};
use crate::world::Note;

/// Requests to the stores, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// State files written.
    pub state: u64,
    /// Metadata files written.
    pub metadata: u64,
    /// Files read or listed.
    pub read: u64,
    /// Files deleted.
    pub delete: u64,
    /// Pointers written to or removed from the high-availability store.
    pub pointer: u64,
}

/// What was measured of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// Length of the run.
    pub span: VirtualDuration,
    /// Failures and what became of them.
    pub recoveries: Recoveries,
    /// From trigger to completion of each completed checkpoint.
    pub duration: Histogram,
    /// From the time a record is due at its source until a sink has it.
    pub latency: Histogram,
    /// From the time a record is due until the outside may see it.
    pub commit_latency: Histogram,
    /// How long records wait at their source, those of recoveries included.
    pub lag: Histogram,
    /// Time for which the synchronous part of snapshots kept the busiest operator from its records,
    /// as a mean over its subtasks.
    pub sync: VirtualDuration,
    /// Nominal bytes of records that snapshots persisted in flight.
    pub in_flight_bytes: u64,
    /// Control messages to and from the job manager, heartbeats and the like included.
    pub messages: u64,
    /// Of these, for checkpoints: triggers to sources, answers, notifications.
    pub checkpoint_messages: u64,
    /// Requests to the stores.
    pub requests: Requests,
    /// Nominal bytes written.
    pub written_bytes: u64,
    /// Nominal bytes stored, summed over the nanoseconds of the run.
    pub stored_area: u128,
    /// Nominal bytes stored: the mean over the time of the run.
    pub stored_bytes_mean: u64,
    /// Nominal bytes stored at most.
    pub stored_bytes_max: u64,
}

/// Measures while a run goes on.
#[derive(Debug)]
pub(crate) struct Meter {
    recovery: Watch,
    /// Which faults of the plan may end an execution by themselves.
    crashes: Vec<bool>,
    /// Of each source operator, the place of its first split among all splits.
    first_split: Vec<usize>,
    /// Of each channel, the sink subtask that it leads to, as its transactions name it.
    sink_of: Vec<Option<SubtaskId>>,
    /// Of each subtask, the one with its place in the first layout that has one: a transaction
    /// outlives a rescaling, and is known by operator and place.
    first_of: Vec<SubtaskId>,
    commits: Commits,
    pending: BTreeMap<CheckpointId, VirtualTime>,
    operator_of: Vec<OperatorId>,
    sync: Vec<(VirtualDuration, u32)>,
    stored: Stored,
    measures: Measures,
}

impl Meter {
    pub(crate) fn new(plan: &Plan) -> Self {
        let (graph, job) = (&plan.graph, &plan.scenario.job);
        let mut first_split = Vec::new();
        let mut splits = Vec::new();
        for operator in &job.operators {
            first_split.push(splits.len());
            if let Some(source) = operator.kind.as_source() {
                let ahead = source.history.saturating_sub(1);
                let split = |split| (source.start(split), source.every, ahead, source.weight);
                splits.extend((0..source.splits).map(split));
            }
        }
        let kind = |subtask| &job.operators[graph.operator(subtask).index()].kind;
        let is_sink = |subtask: SubtaskId| match kind(subtask) {
            OperatorKind::TwoPhaseCommitSink
            | OperatorKind::SinkWriter
            | OperatorKind::WriteAheadSink
            | OperatorKind::IdempotentSink
            | OperatorKind::AtLeastOnceSink => true,
            // Commit handles have no event time.
            OperatorKind::Committer => false,
            OperatorKind::Source(_)
            | OperatorKind::Map { .. }
            | OperatorKind::Filter { .. }
            | OperatorKind::FlatMap { .. }
            | OperatorKind::KeyedAggregate
            | OperatorKind::Join
            | OperatorKind::Buffer { .. }
            | OperatorKind::Async { .. }
            | OperatorKind::BroadcastJoin
            | OperatorKind::Window { .. } => false,
        };
        let subtasks = graph.subtasks();
        let first_of: Vec<SubtaskId> =
            (0..subtasks as u32).map(|at| graph.named_as(SubtaskId(at))).collect();
        let sink = |to: SubtaskId| is_sink(to).then(|| first_of[to.index()]);
        let sink_of = graph.channels().iter().map(|it| sink(it.to)).collect();
        let crashes = plan.scenario.faults.iter().map(|fault| match fault.what {
            FaultKind::CrashTask(..)
            | FaultKind::CrashTaskManager(_)
            | FaultKind::CrashJobManager => true,
            FaultKind::PauseTask(..)
            | FaultKind::PauseTaskManager(..)
            | FaultKind::PauseJobManager(_)
            | FaultKind::SlowLink(..)
            | FaultKind::CutLink(..)
            | FaultKind::RepeatMessages(..)
            | FaultKind::LoseMessages(..)
            | FaultKind::Reorder(..)
            | FaultKind::SlowStorage(..)
            | FaultKind::FailStorage(..)
            | FaultKind::DisturbStorage(..)
            | FaultKind::DamageObject(_)
            | FaultKind::SlowExternal(..)
            | FaultKind::FailExternal(..)
            | FaultKind::AmbiguousExternal(..)
            | FaultKind::CutExternal(..)
            | FaultKind::CutHa(..)
            | FaultKind::CutStorage(..)
            | FaultKind::DriftClock(..)
            | FaultKind::StepClock(..)
            | FaultKind::CrashStorageHost(_) => false,
        });
        // A loss that nothing else shows is noticed within a heartbeat timeout.
        let patience = plan.scenario.cluster.heartbeat_timeout * 2;
        let interval =
            plan.scenario.checkpointing.interval.unwrap_or(VirtualDuration::from_secs(1));
        Self {
            recovery: Watch::new(
                subtasks,
                graph.layouts()[0].subtasks(),
                splits.into_iter(),
                patience,
            ),
            crashes: crashes.collect(),
            first_split,
            sink_of,
            first_of,
            commits: Commits::new(subtasks, interval),
            pending: BTreeMap::new(),
            operator_of: (0..subtasks).map(|it| graph.operator(SubtaskId(it as u32))).collect(),
            sync: job.operators.iter().map(|it| (VirtualDuration::ZERO, it.parallelism)).collect(),
            stored: Stored::default(),
            measures: Measures::default(),
        }
    }

    #[inline]
    pub(crate) fn observe(&mut self, now: VirtualTime, observation: &Observation, plan: &Plan) {
        match *observation {
            Observation::Processed { channel, ref record } => {
                if let Some(sink) = self.sink_of[channel.index()].filter(|_| record.is_data()) {
                    self.measures.latency.add(now.since(record.event_time), 1);
                    self.commits.on_record(sink, record);
                }
            }
            Observation::SourceEmitted { subtask: _, split, offset } => {
                let place = self.place(split);
                let wait = self.recovery.on_read(now, place, offset);
                self.measures.lag.add(wait, 1);
            }
            Observation::Upserted { ref record, .. } | Observation::Appended { ref record, .. } => {
                self.measures.commit_latency.add(now.since(record.event_time), 1);
            }
            Observation::Sent { .. } => {}
            _ => self.observe_protocol(now, observation, plan),
        }
    }

    fn place(&self, split: SplitId) -> usize {
        self.first_split[split.source() as usize] + split.index_in_source() as usize
    }

    #[inline(never)]
    fn observe_protocol(&mut self, now: VirtualTime, observation: &Observation, plan: &Plan) {
        let measures = &mut self.measures;
        match *observation {
            Observation::Triggered { checkpoint, .. } => {
                self.pending.insert(checkpoint, now);
            }
            Observation::Completed { checkpoint } => {
                if let Some(triggered) = self.pending.remove(&checkpoint) {
                    measures.duration.add(now.since(triggered), 1);
                }
            }
            Observation::Failed { checkpoint, .. } => drop(self.pending.remove(&checkpoint)),
            Observation::Cut { subtask, checkpoint, how } => {
                measures.checkpoint_messages += u64::from(how == CutKind::Source);
                self.commits.on_cut(self.first_of[subtask.index()], checkpoint);
            }
            Observation::Acknowledged { .. }
            | Observation::Declined { .. }
            | Observation::NotifiedComplete { .. }
            | Observation::NotifiedAborted { .. } => measures.checkpoint_messages += 1,
            Observation::Persisted { ref record, .. } => measures.in_flight_bytes += record.bytes(),
            Observation::Committed { transaction, .. } => {
                let sink = sink(transaction, plan);
                self.commits.on_committed(now, sink, transaction, &mut measures.commit_latency);
            }
            Observation::TransactionAborted { transaction }
            | Observation::TransactionExpired { transaction } => {
                self.commits.on_aborted(sink(transaction, plan), transaction.checkpoint);
            }
            Observation::FaultInjected { fault } if self.crashes[fault as usize] => {
                self.recovery.on_fault(now);
            }
            Observation::ExecutionEnded => {
                self.recovery.on_execution_ended(now);
                self.commits.on_execution_ended();
            }
            Observation::RegionEnded { region } => {
                let subtasks = plan.graph.regions().subtasks(region);
                self.recovery.on_region_ended(now, subtasks);
                self.commits.on_region_ended(subtasks.iter().map(|it| self.first_of[it.index()]));
            }
            Observation::Rescaled { layout } => {
                self.recovery.on_rescaled(plan.graph.layout(layout).subtasks());
            }
            Observation::Task { subtask, state, .. } => self.recovery.on_task(now, subtask, state),
            Observation::FileWritten { file, bytes, .. } => {
                measures.written_bytes += bytes;
                self.stored.set(now, file, bytes);
            }
            Observation::FileDeleted { file }
            | Observation::FileLost { file }
            | Observation::UnsyncedLost { file, gone: true } => self.stored.set(now, file, 0),
            _ => {}
        }
    }

    pub(crate) fn note(&mut self, note: Note) {
        let requests = &mut self.measures.requests;
        match note {
            Note::Message { from, to } => {
                let of_job_manager = from == Plan::JOB_MANAGER || to == Plan::JOB_MANAGER;
                self.measures.messages += u64::from(of_job_manager);
            }
            Note::Request(operation) => match operation {
                StorageOperation::WriteState => requests.state += 1,
                StorageOperation::WriteMetadata => requests.metadata += 1,
                StorageOperation::Read => requests.read += 1,
                StorageOperation::Delete => requests.delete += 1,
                StorageOperation::WritePointer => requests.pointer += 1,
                // What a recovery or the end of a job costs is no part of what checkpoints do.
                StorageOperation::DrawId
                | StorageOperation::ReadPointers
                | StorageOperation::WriteJobResult => {}
                StorageOperation::Any => unreachable!("a request is of one kind"),
            },
            Note::Sync { subtask, span } => {
                let operator = self.operator_of[subtask.index()];
                self.sync[operator.index()].0 += span;
            }
        }
    }

    /// What is measured so far; of the recoveries, for how long records have waited.
    pub(crate) fn so_far(&self, now: VirtualTime) -> Measures {
        let busiest = self.sync.iter().map(|(sum, parallelism)| sum.0 / u64::from(*parallelism));
        Measures {
            span: now.since(VirtualTime::ZERO),
            recoveries: Recoveries { waited: self.recovery.waited(), ..Recoveries::default() },
            sync: VirtualDuration(busiest.max().unwrap_or(0)),
            stored_area: self.stored.area(now),
            stored_bytes_mean: self.stored.mean(now),
            stored_bytes_max: self.stored.max,
            ..self.measures.clone()
        }
    }

    pub(crate) fn finish(self, now: VirtualTime) -> Measures {
        let so_far = self.so_far(now);
        Measures { recoveries: self.recovery.finish(now), ..so_far }
    }

    /// Time is leapt over that would have been like the time since `from`: what waits in open
    /// transactions has waited for longer, and what would have come meanwhile waits with it.
    pub(crate) fn skip(&mut self, from: VirtualTime, now: VirtualTime, by: VirtualDuration) {
        self.commits.skip(from, now, by);
    }

    /// How recoveries go.
    pub(crate) fn recovery(&self) -> &Watch {
        &self.recovery
    }
}

fn sink(transaction: Transaction, plan: &Plan) -> SubtaskId {
    // By whatever name it has: which of its attempts wrote it does not matter here.
    let first = plan.graph.first_instance(transaction.operator, transaction.subtask);
    first.expect("a transaction is some subtask's")
}

/// What is stored, as time goes on.
#[derive(Debug, Default)]
struct Stored {
    files: Vec<u64>,
    now: u64,
    max: u64,
    since: VirtualTime,
    /// Bytes times nanoseconds until `since`.
    area: u128,
}

impl Stored {
    fn set(&mut self, now: VirtualTime, file: FileId, bytes: u64) {
        self.area += u128::from(self.now) * u128::from(now.since(self.since).0);
        self.since = now;
        let index = file.0 as usize;
        if index >= self.files.len() {
            self.files.resize(index + 1, 0);
        }
        self.now = self.now - self.files[index] + bytes;
        self.files[index] = bytes;
        self.max = self.max.max(self.now);
    }

    fn area(&self, now: VirtualTime) -> u128 {
        self.area + u128::from(self.now) * u128::from(now.since(self.since).0)
    }

    fn mean(&self, now: VirtualTime) -> u64 {
        let span = u128::from(now.as_nanos());
        self.area(now).checked_div(span).map_or(0, |mean| u64::try_from(mean).unwrap_or(u64::MAX))
    }
}

/// Records that wait in transactions for the outside to see them.
#[derive(Debug)]
struct Commits {
    /// Times are kept to this grain, so that a transaction takes little memory however many records
    /// it has: a few hundredths of an interval at most.
    grain: i64,
    open: Vec<Due>,
    /// By subtask, then in the order of the cuts.
    waiting: Vec<Vec<(CheckpointId, Due)>>,
}

/// Times at which records were due, in grains, and how many. Before the start, if what is now was
/// leapt to.
type Due = Vec<(i64, u64)>;

impl Commits {
    fn new(subtasks: usize, interval: VirtualDuration) -> Self {
        let grain = i64::try_from((interval.0 / 512).max(1_000_000)).unwrap_or(i64::MAX);
        Self { grain, open: vec![Vec::new(); subtasks], waiting: vec![Vec::new(); subtasks] }
    }

    #[inline]
    fn on_record(&mut self, sink: SubtaskId, record: &Record) {
        let grain = self.grain_of(record.event_time);
        let open = &mut self.open[sink.index()];
        match open.last_mut() {
            Some((last, count)) if *last == grain => *count += 1,
            _ => open.push((grain, 1)),
        }
    }

    fn on_cut(&mut self, subtask: SubtaskId, checkpoint: CheckpointId) {
        let records = std::mem::take(&mut self.open[subtask.index()]);
        if !records.is_empty() {
            self.waiting[subtask.index()].push((checkpoint, records));
        }
    }

    fn on_committed(
        &mut self,
        now: VirtualTime,
        sink: SubtaskId,
        transaction: Transaction,
        latency: &mut Histogram,
    ) {
        let waiting = &mut self.waiting[sink.index()];
        let Some(index) = waiting.iter().position(|it| it.0 == transaction.checkpoint) else {
            return;
        };
        for (grain, count) in waiting.remove(index).1 {
            let middle = i128::from(grain) * i128::from(self.grain) + i128::from(self.grain / 2);
            let late = (i128::from(now.0) - middle).max(0);
            latency.add(VirtualDuration(u64::try_from(late).unwrap_or(u64::MAX)), count);
        }
    }

    fn grain_of(&self, at: VirtualTime) -> i64 {
        i64::try_from(at.0).unwrap_or(i64::MAX) / self.grain
    }

    fn skip(&mut self, from: VirtualTime, now: VirtualTime, by: VirtualDuration) {
        let (first, last) = (self.grain_of(from), self.grain_of(now));
        let leapt = i64::try_from(by.0).unwrap_or(i64::MAX) / self.grain;
        let length = u128::from(now.since(from).0).max(1);
        for open in &mut self.open {
            let recent = open.iter().filter(|(grain, _)| *grain >= first);
            let recent: u64 = recent.map(|(_, count)| *count).sum();
            for (grain, _) in open.iter_mut() {
                *grain = grain.saturating_sub(leapt);
            }
            let all = u128::from(recent) * u128::from(by.0) / length;
            let all = u64::try_from(all).unwrap_or(u64::MAX);
            // Spread evenly, over no more grains than there are.
            let parts = u64::try_from(leapt).unwrap_or(0).clamp(1, 64);
            for part in 0..parts {
                let share = all * (part + 1) / parts - all * part / parts;
                let at = last - leapt + (leapt * (2 * part as i64 + 1)) / (2 * parts as i64);
                if share > 0 {
                    open.push((at, share));
                }
            }
        }
    }

    fn on_aborted(&mut self, sink: SubtaskId, checkpoint: CheckpointId) {
        self.waiting[sink.index()].retain(|it| it.0 != checkpoint);
    }

    /// What was not cut yet is void; what was may still be committed.
    fn on_execution_ended(&mut self) {
        self.open.iter_mut().for_each(Vec::clear);
    }

    fn on_region_ended(&mut self, subtasks: impl Iterator<Item = SubtaskId>) {
        subtasks.for_each(|subtask| self.open[subtask.index()].clear());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::run::Simulation;
    use crate::scenario::load;

    #[test]
    fn stored_bytes_are_weighed_by_time() {
        let at = VirtualTime::from_millis;
        let mut stored = Stored::default();
        stored.set(at(0), FileId(0), 100);
        stored.set(at(500), FileId(1), 300);
        stored.set(at(750), FileId(0), 0);
        assert_eq!(stored.mean(at(1_000)), 50 + 100 + 75);
        assert_eq!(stored.max, 400);
    }

    #[test]
    fn what_waits_for_a_commit_waits_through_a_leap() {
        let second = VirtualDuration::from_secs(1);
        let (sink, mut latency) = (SubtaskId(0), Histogram::default());
        let transaction =
            Transaction { operator: OperatorId(0), subtask: 0, checkpoint: CheckpointId(1) };
        let mut commits = Commits::new(1, second);
        let record = |ms| Record {
            split: SplitId(0),
            key: 0,
            offset: 0,
            path: 0,
            event_time: VirtualTime::from_millis(ms),
            weight: 1,
            record_bytes: 1,
        };
        // Ten records in a second, nine seconds like it, and the commit a second later.
        (0..10).for_each(|at| commits.on_record(sink, &record(at * 100)));
        commits.skip(VirtualTime::ZERO, VirtualTime::from_millis(1_000), second * 9);
        commits.on_cut(sink, CheckpointId(1));
        commits.on_committed(VirtualTime::from_millis(2_000), sink, transaction, &mut latency);
        assert_eq!(latency.count(), 100);
        let mean = latency.mean_s().expect("there are some");
        assert!((mean - 6.0).abs() < 0.1, "from 1 s to 11 s: {mean}");
    }

    /// Sinks are rescaled twice; whatever is committed was waited for, under whichever layout it came.
    #[test]
    fn what_is_committed_after_a_rescaling_has_waited_as_well() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/rescale-twice.json");
        let bytes = std::fs::read(path).expect("part of the repository");
        let scenario = load(&bytes, path, &[]).expect("valid").scenario;
        let simulation = Simulation::new(Arc::new(scenario), 0).expect("it can run");
        let outcome = simulation.meter(true).run();
        assert_eq!(outcome.plan.graph.layouts().len(), 3);
        let measures = outcome.measures.expect("it was measured");
        let committed = outcome.statistics.records.committed;
        assert!(committed > 0);
        assert_eq!(measures.commit_latency.count(), committed);
    }

    #[test]
    fn a_record_is_late_by_the_time_of_its_commit() {
        let mut commits = Commits::new(1, VirtualDuration::from_secs(1));
        let (sink, mut latency) = (SubtaskId(0), Histogram::default());
        let transaction =
            |id| Transaction { operator: OperatorId(0), subtask: 0, checkpoint: CheckpointId(id) };
        let record = |ms| Record {
            split: SplitId(0),
            key: 0,
            offset: 0,
            path: 0,
            event_time: VirtualTime::from_millis(ms),
            weight: 1,
            record_bytes: 1,
        };
        commits.on_record(sink, &record(100));
        commits.on_cut(sink, CheckpointId(1));
        commits.on_record(sink, &record(900));
        commits.on_cut(sink, CheckpointId(2));
        commits.on_record(sink, &record(950));
        commits.on_execution_ended();
        commits.on_aborted(sink, CheckpointId(1));
        let now = VirtualTime::from_millis(1_900);
        commits.on_committed(now, sink, transaction(1), &mut latency);
        assert_eq!(latency.count(), 0, "it was aborted");
        commits.on_committed(now, sink, transaction(2), &mut latency);
        assert_eq!(latency.count(), 1);
        let seconds = latency.max_s().expect("there is one");
        assert!((seconds - 1.0).abs() < 0.002, "{seconds}");
    }
}
