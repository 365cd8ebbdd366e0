//! A tiny world for the tests of the checks: two sources feed one aggregate, which feeds one sink.
//!
//! It has real operators and no protocol: the test says who takes what, in which order. What the
//! test does wrong is what the checks must find; `doctor` falsifies observations on their way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cutline::config::CheckpointingOptions;
use cutline::defect::Defects;
use cutline::ids::{Attempt, ChannelId, CheckpointId, OperatorId, SubtaskId};
use cutline::job::rescale::DistributionMode;
use cutline::job::{Edge, ExecutionGraph, Feedback, JobGraph, JobOperator, Partitioner};
use cutline::message::{Alignment, FailureReason, SnapshotKind};
use cutline::operator::{
    Aggregate, AppendSink, Effect, Emitter, IdempotentSink, Instance, Operator, Record, Snapshot,
    Source, SourceOptions, SplitId, StartupMode, TransactionId, TwoPhaseCommitSink,
};
use cutline::step::Step;
use cutline::time::{VirtualDuration, VirtualTime};

use super::{CheckConfig, Checks, Ending, InFlight, RestoreOracle, Role, ShadowError, ShadowState};
use crate::observe::{CutKind, FileId, JobEnd, Observation, TaskState, Transaction};

pub(super) const AGGREGATE: SubtaskId = SubtaskId(2);
pub(super) const SINK: SubtaskId = SubtaskId(3);
/// The channel between aggregate and sink; 0 and 1 come from the sources.
pub(super) const LAST: u32 = 2;
/// The channel from the aggregate to itself, if there is a loop.
pub(super) const BACK: ChannelId = ChannelId(3);
/// Records in each of the two splits.
pub(super) const RECORDS: u64 = 10;

pub(super) fn record(split: u32, offset: u64) -> Record {
    Record {
        split: SplitId::new(0, split),
        key: 7,
        offset,
        path: 0,
        event_time: VirtualTime::ZERO,
        weight: 1,
        record_bytes: 1,
    }
}

#[derive(Clone, Copy, Debug)]
enum Element {
    Data(Record),
    Barrier(CheckpointId),
}

/// What was stored: the oracle.
#[derive(Default)]
pub(super) struct Store {
    pub(super) checkpoints: BTreeMap<CheckpointId, ShadowState>,
    /// Checkpoints that cannot be read any more.
    pub(super) damaged: Vec<CheckpointId>,
    /// Whether it answers at all.
    pub(super) mute: bool,
}

impl RestoreOracle for Store {
    fn references(&self, checkpoint: CheckpointId) -> Option<Vec<FileId>> {
        (!self.mute).then(|| vec![FileId(checkpoint.0 as u32)])
    }

    fn shadow(&mut self, checkpoint: CheckpointId) -> Option<Result<ShadowState, ShadowError>> {
        if self.mute {
            return None;
        }
        let missing =
            ShadowError::Missing { file: FileId(checkpoint.0 as u32), path: "state".to_owned() };
        if self.damaged.contains(&checkpoint) {
            return Some(Err(missing));
        }
        Some(self.checkpoints.get(&checkpoint).cloned().ok_or(missing))
    }
}

type Doctor = Box<dyn FnMut(Observation) -> Vec<Observation>>;

pub(super) struct World {
    pub(super) checks: Checks,
    pub(super) now: VirtualTime,
    pub(super) store: Store,
    pub(super) doctor: Doctor,
    graph: ExecutionGraph,
    sink: Role,
    operators: Vec<Box<dyn Operator>>,
    queues: Vec<VecDeque<Element>>,
    alignment: Alignment,
    building: BTreeMap<CheckpointId, ShadowState>,
    prepared: BTreeMap<TransactionId, CheckpointId>,
    committed: BTreeSet<TransactionId>,
    last: Option<CheckpointId>,
    attempt: u32,
}

/// What a test may choose before the world begins.
pub(super) struct Options {
    pub(super) config: CheckConfig,
    pub(super) alignment: Alignment,
    pub(super) sink: Role,
    /// Whether records of the aggregate may go round; the test says which.
    pub(super) loops: bool,
}

fn operator(sink: Role, operator: OperatorId, subtask: u32, parallelism: u32) -> Box<dyn Operator> {
    let attempt = Attempt(0);
    let instance = Instance {
        operator,
        subtask,
        parallelism,
        max_parallelism: 8,
        attempt,
        defects: Defects::none(),
    };
    let source = SourceOptions {
        splits: 2,
        records: Some(RECORDS),
        history: 0,
        startup_mode: StartupMode::EarliestOffset,
        start: VirtualTime::ZERO,
        every: VirtualDuration::from_millis(1),
        keys: 2,
        key_run: 1,
        weight: 1,
        record_bytes: 1,
        disorder: VirtualDuration::ZERO,
        watermarks: None,
        stagger: VirtualDuration::ZERO,
        enumerated: false,
        list_mode: DistributionMode::SplitDistribute,
    };
    match (operator.0, sink) {
        (0, _) => Box::new(Source::new(instance, source)),
        (1, _) => Box::new(Aggregate::new(instance, true, 0)),
        (_, Role::IdempotentSink) => Box::new(IdempotentSink::new(instance)),
        (_, Role::AtLeastOnceSink) => Box::new(AppendSink::new(instance)),
        (_, _) => Box::new(TwoPhaseCommitSink::new(instance)),
    }
}

fn graph(loops: bool) -> ExecutionGraph {
    let vertex = |name: &str, parallelism| JobOperator {
        name: name.to_owned(),
        parallelism,
        max_parallelism: 8,
    };
    let edge = |from, to, feedback| Edge {
        from: OperatorId(from),
        to: OperatorId(to),
        input: 0,
        partitioner: Partitioner::Hash,
        chained: false,
        feedback,
    };
    let operators = vec![vertex("source", 2), vertex("count", 1), vertex("sink", 1)];
    let mut edges = vec![edge(0, 1, None), edge(1, 2, None)];
    if loops {
        edges.push(edge(1, 1, Some(Feedback { again_permille: 1 })));
    }
    let job = JobGraph::new(operators, edges);
    ExecutionGraph::new(job.expect("a chain is a valid job"))
}

pub(super) fn config(sink: Role) -> CheckConfig {
    CheckConfig {
        checkpointing: CheckpointingOptions::default(),
        roles: vec![Role::Source { splits: 2, records: Some(RECORDS) }, Role::Inner, sink],
        first_offsets: Vec::new(),
        aligned: Vec::new(),
        manual: Vec::new(),
        actions: Vec::new(),
        due: Some(VirtualTime::from_millis(RECORDS)),
        settle: VirtualDuration::from_secs(10),
        windows: None,
        list_states: Vec::new(),
        holds_back: false,
        recovery: VirtualDuration::from_secs(10),
    }
}

impl World {
    pub(super) fn new(choose: impl FnOnce(&mut Options)) -> Self {
        let sink = Role::TransactionalSink;
        let (config, alignment) = (config(sink), Alignment::Aligned);
        let mut options = Options { config, alignment, sink, loops: false };
        choose(&mut options);
        let Options { mut config, alignment, sink, loops } = options;
        config.roles[2] = sink;
        let graph = graph(loops);
        let factory = Box::new(move |id| operator(sink, id, 0, 1));
        let mut world = Self {
            checks: Checks::new(&graph, config, factory),
            now: VirtualTime::ZERO,
            store: Store::default(),
            doctor: Box::new(|observation| vec![observation]),
            queues: vec![VecDeque::new(); graph.channels().len()],
            graph,
            sink,
            operators: Vec::new(),
            alignment,
            building: BTreeMap::new(),
            prepared: BTreeMap::new(),
            committed: BTreeSet::new(),
            last: None,
            attempt: 0,
        };
        world.deploy(None);
        world
    }

    /// An observation, as the doctor leaves it.
    pub(super) fn see(&mut self, observation: Observation) {
        self.see_at_once([observation]);
    }

    /// What happens at one instant.
    pub(super) fn see_at_once(&mut self, observations: impl IntoIterator<Item = Observation>) {
        self.now += VirtualDuration::from_micros(10);
        for observation in observations.into_iter().flat_map(|it| (self.doctor)(it)) {
            self.checks.observe(self.now, &observation);
        }
        if self.checks.has_questions() {
            self.checks.consult(self.now, &mut self.store);
        }
    }

    pub(super) fn wait(&mut self, ms: u64) {
        self.now += VirtualDuration::from_millis(ms);
    }

    pub(super) fn deploy(&mut self, checkpoint: Option<CheckpointId>) {
        self.see(Observation::RestoreChosen { checkpoint });
        self.attempt += 1;
        self.queues.iter_mut().for_each(VecDeque::clear);
        let parallelism = |id: OperatorId| self.graph.subtasks_of(id).len() as u32;
        let subtasks = (0..self.graph.subtasks() as u32).map(SubtaskId);
        self.operators = subtasks
            .clone()
            .map(|subtask| {
                let (id, index) =
                    (self.graph.operator(subtask), self.graph.index_in_operator(subtask));
                operator(self.sink, id, index, parallelism(id))
            })
            .collect();
        let stored = checkpoint.and_then(|id| self.store.checkpoints.get(&id)).cloned();
        for subtask in subtasks {
            let mut effects = Vec::new();
            let instance = &mut self.operators[subtask.index()];
            let of_operator = |(id, _): &&(OperatorId, _)| *id == self.graph.operator(subtask);
            let parts = stored.iter().flat_map(|stored| &stored.parts).filter(of_operator);
            // Parts are in the order of subtasks.
            let own = self.graph.index_in_operator(subtask) as usize;
            for (_, parts) in parts.skip(own).take(1) {
                for part in parts {
                    instance.restore(part).expect("the state is whole");
                }
            }
            instance.open(checkpoint, &mut effects);
            self.apply(subtask, effects);
            let in_flight = stored.iter().flat_map(|stored| stored.in_flight.clone());
            for in_flight in in_flight.collect::<Vec<_>>() {
                if in_flight.operator == self.graph.operator(subtask) {
                    // Two channels lead to the aggregate; a split's records come on its own.
                    let channel = match subtask {
                        SINK => ChannelId(LAST),
                        _ => ChannelId(in_flight.record.split.index_in_source()),
                    };
                    self.see(Observation::Recovered { channel, record: in_flight.record });
                    self.queues[channel.index()].push_back(Element::Data(in_flight.record));
                }
            }
            self.see(Observation::TaskRestored { subtask, checkpoint });
            self.task(subtask, TaskState::Running);
        }
    }

    /// A step of the coordinator that is about no checkpoint.
    pub(super) fn step(&mut self, step: Step) {
        self.see(Observation::Step { step, checkpoint: None, subtask: None });
    }

    pub(super) fn task(&mut self, subtask: SubtaskId, state: TaskState) {
        self.see(Observation::Task { subtask, attempt: Attempt(self.attempt), state });
    }

    pub(super) fn crash(&mut self) {
        self.see(Observation::ExecutionEnded);
    }

    /// A source emits its next records.
    pub(super) fn emit(&mut self, source: u32, count: u64) {
        let (subtask, split) = (SubtaskId(source), SplitId::new(0, source));
        for _ in 0..count {
            let mut out = Emitter::default();
            let reader = self.operators[source as usize].as_source().expect("a source");
            let offset = reader.position(split).expect("its split");
            assert!(reader.emit_from(split, &mut out), "the split has records");
            self.see(Observation::SourceEmitted { subtask, split, offset });
            self.send(ChannelId(source), &out);
        }
    }

    fn send(&mut self, channel: ChannelId, out: &Emitter) {
        for &record in out.records() {
            self.see(Observation::Sent { channel, record });
            self.queues[channel.index()].push_back(Element::Data(record));
        }
    }

    /// The receiver takes the next element of a channel.
    pub(super) fn take(&mut self, channel: u32) {
        let id = ChannelId(channel);
        let receiver = self.graph.channels()[id.index()].to;
        match self.queues[id.index()].pop_front().expect("something to take") {
            Element::Barrier(checkpoint) => {
                self.see(Observation::BarrierReceived { channel: id, checkpoint });
            }
            Element::Data(record) => {
                self.see(Observation::Processed { channel: id, record });
                let mut out = Emitter::default();
                self.operators[receiver.index()].process(0, &record, &mut out);
                self.apply(receiver, out.effects().to_vec());
                if receiver == AGGREGATE {
                    self.send(ChannelId(LAST), &out);
                }
            }
        }
    }

    /// Takes all records in front of the next barrier, of every channel.
    pub(super) fn drain(&mut self) {
        for channel in 0..=LAST {
            while let Some(Element::Data(_)) = self.queues[channel as usize].front() {
                self.take(channel);
            }
        }
    }

    /// Loses the next element of a channel.
    pub(super) fn lose(&mut self, channel: u32) {
        self.queues[channel as usize].pop_front().expect("something to lose");
    }

    /// The next two elements of a channel change places.
    pub(super) fn swap(&mut self, channel: u32) {
        self.queues[channel as usize].swap(0, 1);
    }

    fn apply(&mut self, subtask: SubtaskId, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Begin { .. } | Effect::AbortLeftOvers(_) => {}
                Effect::PreCommit { transaction, checkpoint, contents } => {
                    self.prepared.insert(transaction, checkpoint);
                    let transaction = self.transaction(transaction);
                    self.see(Observation::PreCommitted { transaction, contents });
                }
                Effect::Commit { transaction, contents } => {
                    self.operators[subtask.index()].committed(transaction);
                    if !self.committed.insert(transaction) {
                        continue; // The external system does not report a repeated commit.
                    }
                    let transaction = self.transaction(transaction);
                    self.see(Observation::Committed { transaction, contents });
                }
                Effect::Close { .. } | Effect::Apply { .. } | Effect::Call { .. } => {
                    unreachable!("no operator of this world writes batches or makes calls")
                }
                Effect::Upsert(record) => self.see(Observation::Upserted { subtask, record }),
                Effect::Append(record) => self.see(Observation::Appended { subtask, record }),
            }
        }
    }

    fn transaction(&self, id: TransactionId) -> Transaction {
        let checkpoint = self.prepared[&id];
        Transaction { operator: id.operator, subtask: id.subtask, checkpoint }
    }

    pub(super) fn trigger(&mut self, id: u64) -> CheckpointId {
        let (checkpoint, alignment) = (CheckpointId(id), self.alignment);
        self.building.insert(checkpoint, ShadowState::default());
        self.see(Observation::Triggered { checkpoint, kind: SnapshotKind::Checkpoint, alignment });
        checkpoint
    }

    /// A subtask takes its part and, for an aligned one, forwards the barrier behind its data.
    pub(super) fn cut(&mut self, subtask: SubtaskId, checkpoint: CheckpointId) {
        let how = match (subtask.0, self.alignment) {
            (0 | 1, _) => CutKind::Source,
            (_, Alignment::AtLeastOnce) => CutKind::AtLeastOnce,
            (_, Alignment::Aligned | Alignment::ForcedAligned(_)) => CutKind::Aligned,
            (_, Alignment::AlignedWithTimeout(_) | Alignment::Unaligned) => CutKind::Unaligned,
        };
        self.see(Observation::Cut { subtask, checkpoint, how });
        let mut snapshot = Snapshot::default();
        self.operators[subtask.index()].snapshot(checkpoint, &mut snapshot);
        self.apply(subtask, snapshot.effects);
        let operator = self.graph.operator(subtask);
        let building = self.building.get_mut(&checkpoint).expect("it was triggered");
        building.parts.push((operator, vec![snapshot.state]));
        for channel in self.graph.outputs(subtask).to_vec() {
            self.see(Observation::BarrierSent { channel, checkpoint });
            self.queues[channel.index()].push_back(Element::Barrier(checkpoint));
        }
    }

    /// An unaligned cut: what waits in front of the barrier is persisted, not processed.
    pub(super) fn persist(&mut self, channel: u32, checkpoint: CheckpointId) {
        let id = ChannelId(channel);
        let operator = self.graph.operator(self.graph.channels()[id.index()].to);
        let waiting = self.queues[id.index()].iter().map_while(|element| match element {
            Element::Data(record) => Some(*record),
            Element::Barrier(_) => None,
        });
        for record in waiting.collect::<Vec<_>>() {
            let at_sender = false;
            self.see(Observation::Persisted { channel: id, checkpoint, record, at_sender });
            let building = self.building.get_mut(&checkpoint).expect("it was triggered");
            let in_flight = InFlight { operator, input: 0, record };
            // Downstream first.
            let front = building.in_flight.iter().position(|other| other.operator < operator);
            let at = front.unwrap_or(building.in_flight.len());
            building.in_flight.insert(at, in_flight);
        }
    }

    pub(super) fn acknowledge(&mut self, checkpoint: CheckpointId) {
        for subtask in 0..self.graph.subtasks() as u32 {
            self.see(Observation::Acknowledged { subtask: SubtaskId(subtask), checkpoint });
        }
        let step = Step::A2;
        self.see(Observation::Step { step, checkpoint: Some(checkpoint), subtask: None });
    }

    /// F2, F3.
    pub(super) fn decide(&mut self, checkpoint: CheckpointId) {
        let shadow = self.building.remove(&checkpoint).expect("it was triggered");
        self.store.checkpoints.insert(checkpoint, shadow);
        let file = FileId(checkpoint.0 as u32);
        self.see(Observation::FileWritten { file, bytes: 100, process: 0, orphaned: false });
        self.see(Observation::Durable { checkpoint });
    }

    /// F4: the previous one is given up.
    pub(super) fn subsume(&mut self, checkpoint: CheckpointId) {
        if let Some(last) = self.last.replace(checkpoint) {
            self.see(Observation::Subsumed { checkpoint: last });
            self.remove_pointer(last);
            self.see(Observation::FileDeleted { file: FileId(last.0 as u32) });
        }
    }

    fn remove_pointer(&mut self, checkpoint: CheckpointId) {
        self.see(Observation::PointerRemoved { checkpoint, process: 0, orphaned: false });
    }

    /// F5, N1.
    pub(super) fn complete(&mut self, checkpoint: CheckpointId) {
        self.see(Observation::Completed { checkpoint });
        for subtask in (0..self.graph.subtasks() as u32).map(SubtaskId) {
            self.see(Observation::NotifiedComplete { subtask, checkpoint });
            let mut effects = Vec::new();
            self.operators[subtask.index()].notify_complete(checkpoint, &mut effects);
            self.apply(subtask, effects);
        }
    }

    pub(super) fn fail(&mut self, checkpoint: CheckpointId, reason: FailureReason) {
        self.see(Observation::Failed { checkpoint, reason });
        for subtask in (0..self.graph.subtasks() as u32).map(SubtaskId) {
            self.see(Observation::NotifiedAborted { subtask, checkpoint });
        }
    }

    /// Both sources cut; the barriers are on their way.
    pub(super) fn begin(&mut self, id: u64) -> CheckpointId {
        let checkpoint = self.trigger(id);
        self.cut(SubtaskId(0), checkpoint);
        self.cut(SubtaskId(1), checkpoint);
        checkpoint
    }

    /// The tasks' part of an aligned checkpoint.
    pub(super) fn align(&mut self, checkpoint: CheckpointId) {
        self.drain();
        self.take(0);
        self.see(Observation::Blocked { channel: ChannelId(0) });
        self.take(1);
        self.see(Observation::Resumed { channel: ChannelId(0) });
        self.cut(AGGREGATE, checkpoint);
        self.drain();
        self.take(LAST);
        self.cut(SINK, checkpoint);
    }

    /// An aligned checkpoint from trigger to commit.
    pub(super) fn checkpoint(&mut self, id: u64) -> CheckpointId {
        let checkpoint = self.begin(id);
        self.align(checkpoint);
        self.acknowledge(checkpoint);
        self.decide(checkpoint);
        self.subsume(checkpoint);
        self.complete(checkpoint);
        checkpoint
    }

    /// Reads everything to its end, takes the final checkpoint, ends the job.
    pub(super) fn run_out(&mut self, checkpoint: u64) {
        for source in 0..2 {
            let reader = self.operators[source as usize].as_source().expect("a source");
            let position = reader.position(SplitId::new(0, source)).expect("its split");
            self.emit(source, RECORDS - position);
        }
        self.checkpoint(checkpoint);
        self.end();
    }

    pub(super) fn end(&mut self) {
        for subtask in 0..self.graph.subtasks() as u32 {
            self.task(SubtaskId(subtask), TaskState::Finished);
        }
        self.see(Observation::JobEnded { end: JobEnd::Finished });
        if let Some(last) = self.last {
            self.remove_pointer(last);
            self.see(Observation::FileDeleted { file: FileId(last.0 as u32) });
        }
    }

    pub(super) fn finish(&mut self, ending: Ending) {
        self.checks.finish(self.now, ending, &mut self.store);
    }
}

/// What may go wrong between a task and its storage.
impl World {
    fn parts(&mut self, checkpoint: CheckpointId) -> &mut Vec<(OperatorId, Vec<Vec<u8>>)> {
        &mut self.building.get_mut(&checkpoint).expect("it was triggered").parts
    }

    pub(super) fn forget_part(&mut self, checkpoint: CheckpointId, operator: OperatorId) {
        self.parts(checkpoint).retain(|(id, _)| *id != operator);
    }

    pub(super) fn repeat_part(&mut self, checkpoint: CheckpointId, operator: OperatorId) {
        let parts = self.parts(checkpoint);
        let part = parts.iter().find(|(id, _)| *id == operator).cloned();
        parts.push(part.expect("it was cut"));
    }

    /// Stores the state of now instead of that of the cut.
    pub(super) fn retake_part(&mut self, checkpoint: CheckpointId, subtask: SubtaskId) {
        let mut snapshot = Snapshot::default();
        self.operators[subtask.index()].snapshot(checkpoint, &mut snapshot);
        let operator = self.graph.operator(subtask);
        self.forget_part(checkpoint, operator);
        self.parts(checkpoint).push((operator, vec![snapshot.state]));
    }

    /// Stores a state of the aggregate that has seen other records than the cut's.
    pub(super) fn replace_with_other_split(&mut self, checkpoint: CheckpointId) {
        let mut other = operator(self.sink, OperatorId(1), 0, 1);
        other.process(0, &record(1, 0), &mut Emitter::default());
        let mut snapshot = Snapshot::default();
        other.snapshot(checkpoint, &mut snapshot);
        self.forget_part(checkpoint, OperatorId(1));
        self.parts(checkpoint).push((OperatorId(1), vec![snapshot.state]));
    }
}
