//! What all processes of a job know from the start: the job, its execution graph, its options.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use cutline::coordinator::completed::Retained;
use cutline::coordinator::own::Coordinate;
use cutline::coordinator::plan::Topology;
use cutline::coordinator::{Coordinator, CoordinatorConfig};
use cutline::defect::{Defect, Defects};
use cutline::enumerator::{Enumerator, EnumeratorConfig};
use cutline::ids::{Attempt, CheckpointId, GateId, LayoutId, OperatorId, SubtaskId};
use cutline::job::assignment::Redistribution;
use cutline::job::rescale::DistributionMode;
use cutline::job::{Edge, ExecutionGraph, JobGraph, JobGraphError, JobOperator, OutputEdge};
use cutline::message::SnapshotKind;
use cutline::operator::{
    Aggregate, AppendSink, AsyncWait, Behaviour, BroadcastJoin, Buffer, CallOptions, Chain,
    Committer, Filter, FlatMap, IdempotentSink, Instance, Join, Map, Operator, SinkWriter,
    Source as Reader, SourceOptions, TwoPhaseCommitSink, WatermarkOptions, Window, WindowOptions,
    WriteAheadSink, promises_order,
};
use cutline::storage::changelog::ChangelogConfig;
use cutline::storage::increment::{IncrementFile, Writer};
use cutline::storage::layout;
use cutline::storage::metadata::StateHandle;
use cutline::task::barrier::{BarrierHandler, BarrierMode, ChannelKind, InputConfig};
use cutline::task::router::Router;
use cutline::task::snapshots::PartKind;
use cutline::task::subtask::{LoopEdge, Subtask, SubtaskConfig};
use cutline::time::VirtualTime;
use cutline::trigger::adaptive::IntervalPolicy;
use cutline::trigger::policy::TriggerPolicy;

use super::{Deployment, Part, Place, SnapshotPayload};
use crate::scenario::LoopRefusal;
use crate::scenario::loops::refusals;
use crate::scenario::model::{
    self, Action, ActionKind, Discovery, ListMode, OperatorKind, Scenario, Source, Spread,
};
use crate::world::ProcessId;

/// Makes an operator of the user's own.
pub type OperatorFactory = Arc<dyn Fn(Instance) -> Box<dyn Operator> + Send + Sync>;

/// Makes a coordinator of the user's own, at the start of each leader: from what it is to know, and
/// the built-in one, which it may wrap or throw away.
pub type CoordinatorFactory = Arc<
    dyn Fn(CoordinatorSetup, Coordinator<SnapshotPayload>) -> Box<dyn Coordinate<SnapshotPayload>>
        + Send
        + Sync,
>;

/// What a coordinator is to know from its start.
#[derive(Clone, Debug)]
pub struct CoordinatorSetup {
    /// How checkpoints are taken.
    pub config: CoordinatorConfig,
    /// The job.
    pub topology: Topology,
    /// Operators whose split enumerators take part in checkpoints, by id.
    pub sources: Vec<OperatorId>,
    /// The completed checkpoints that a new leader has found, oldest first.
    pub recovered: Vec<Retained<SnapshotPayload>>,
}

/// Makes a trigger policy of the user's own, for each leader.
pub type PolicyFactory = Arc<dyn Fn() -> Box<dyn TriggerPolicy> + Send + Sync>;

/// Makes a barrier handler of the user's own for a subtask with so many input channels.
pub type BarrierFactory = Arc<dyn Fn(SubtaskId, u32) -> Box<dyn BarrierHandler> + Send + Sync>;

/// Why a job cannot be simulated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// Its graph cannot run.
    #[error(transparent)]
    Graph(#[from] JobGraphError),
    /// It has a loop, and with it what it cannot have.
    #[error(transparent)]
    Loop(#[from] LoopRefusal),
}

/// A job, ready to be run.
pub struct Plan {
    /// What is simulated.
    pub scenario: Arc<Scenario>,
    /// Its job, spread over subtasks: first as it says, then as it is resumed.
    pub graph: ExecutionGraph,
    /// `name[index]` of each subtask.
    pub subtask_names: Vec<String>,
    /// What is planted in the protocol, by [`Plan::plant`].
    pub defects: Defects,
    /// The layout that each action resumes the job with; of other actions the first.
    layouts: Vec<LayoutId>,
    /// Whether changes of keyed state are logged, by layout.
    changelogs: Vec<bool>,
    /// Whether order is promised at the input of each operator, in all layouts.
    ordered: Vec<bool>,
    /// Whether event time matters to somebody.
    event_time: bool,
    /// Whether what windows emit depends on timing: a record may be late, or windows are emptied
    /// before their time because the job is drained, or the event time of a joined record depends on
    /// which of several partners it has met.
    pub is_timed: bool,
    /// Whether barriers stay aligned at the input of each operator whatever the mode.
    aligned: Vec<bool>,
    custom: BTreeMap<OperatorId, OperatorFactory>,
    /// A coordinator in the place of the built-in one.
    pub coordinator: Option<CoordinatorFactory>,
    /// A trigger policy in the place of the one that the scenario names.
    pub policy: Option<PolicyFactory>,
    /// Barrier handlers in the place of the built-in ones, by [`Plan::replace_barriers`].
    barriers: Option<BarrierFactory>,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("title", &self.scenario.title).finish_non_exhaustive()
    }
}

impl Plan {
    /// The process of the job manager; of several candidates the first.
    pub const JOB_MANAGER: ProcessId = ProcessId(0);

    /// Spreads the job of a scenario over its subtasks; nothing is planted in the protocol.
    ///
    /// # Errors
    /// The job graph cannot run, or has a loop beside what it cannot have.
    pub fn new(scenario: Arc<Scenario>) -> Result<Self, JobError> {
        let job = job_graph(&scenario)?;
        if let Some(refusal) = refusals(&scenario, false).into_iter().next() {
            return Err(refusal.into());
        }
        let spreads = scenario.layouts();
        let number = |layout: &Spread, at: usize| layout.parallelism[at];
        let moves =
            |at: usize| spreads.iter().any(|layout| number(layout, at) != number(&spreads[0], at));
        let operators = scenario.job.operators.iter().enumerate();
        let behaviours: Vec<Behaviour> =
            operators.map(|(at, operator)| behaviour(&operator.kind, moves(at))).collect();
        let jobs = spreads.iter().map(|spread| {
            let job = job.with_parallelism(&spread.parallelism)?;
            Ok(if spread.chained { job } else { job.unchained() })
        });
        let jobs: Vec<JobGraph> = jobs.collect::<Result<_, JobGraphError>>()?;
        let promises: Vec<_> = jobs.iter().map(|job| promises_order(job, &behaviours)).collect();
        let ordered = (0..behaviours.len()).map(|at| promises.iter().all(|it| it[at])).collect();
        let graph = ExecutionGraph::with_layouts(jobs);
        let layouts = scenario.actions.iter().map(|action| match &action.what {
            ActionKind::Resume { parallelism, operator_chaining, changelog, .. } => {
                let wanted = scenario.spread(parallelism, *operator_chaining, *changelog);
                let at = spreads.iter().position(|spread| *spread == wanted);
                LayoutId(at.expect("each resume has its layout") as u32)
            }
            ActionKind::Savepoint
            | ActionKind::StopWithSavepoint { .. }
            | ActionKind::Cancel
            | ActionKind::CleanOrphans => LayoutId(0),
        });
        let layouts = layouts.collect();
        let subtask_names = (0..graph.subtasks())
            .map(|subtask| graph.subtask_name(SubtaskId(subtask as u32)))
            .collect();
        let (event_time, is_timed) = (scenario.has_event_time(), is_timed(&scenario, &job));
        let (defects, custom) = (Defects::none(), BTreeMap::new());
        let aligned = scenario.aligned_operators(defects);
        let (coordinator, policy, barriers) = (None, None, None);
        Ok(Self {
            scenario,
            graph,
            subtask_names,
            defects,
            layouts,
            changelogs: spreads.iter().map(|spread| spread.changelog).collect(),
            ordered,
            event_time,
            is_timed,
            aligned,
            custom,
            coordinator,
            policy,
            barriers,
        })
    }

    /// Plants bugs in the protocol.
    pub fn plant(&mut self, defects: Defects) {
        self.defects = defects;
        self.aligned = self.scenario.aligned_operators(defects);
    }

    /// Has the operator of this name made by a factory; without such an operator nothing changes.
    pub fn replace_operator(&mut self, name: &str, factory: OperatorFactory) {
        let operators = (0..).map(OperatorId).zip(&self.scenario.job.operators);
        for (id, _) in operators.filter(|(_, operator)| operator.name == name) {
            self.custom.insert(id, Arc::clone(&factory));
        }
    }

    /// Has the barrier handlers of all tasks made by a factory.
    ///
    /// # Errors
    /// The job has a loop.
    pub fn replace_barriers(&mut self, factory: BarrierFactory) -> Result<(), LoopRefusal> {
        if let Some(refusal) = refusals(&self.scenario, true).into_iter().next() {
            return Err(refusal);
        }
        self.barriers = Some(factory);
        Ok(())
    }

    /// How the intervals of checkpoints are chosen, for a new leader.
    pub fn trigger_policy(&self) -> Box<dyn TriggerPolicy> {
        let options = &self.scenario.checkpointing;
        match &self.policy {
            Some(own) => own(),
            None => IntervalPolicy::of(options.policy, options.interval, options.min_pause),
        }
    }

    /// The process of a task manager.
    pub fn task_manager(number: u32) -> ProcessId {
        ProcessId(number + 1)
    }

    /// The process of a candidate for the job manager, from 0.
    pub fn job_manager(&self, number: u32) -> ProcessId {
        match number {
            0 => Self::JOB_MANAGER,
            number => ProcessId(self.scenario.cluster.task_managers + number),
        }
    }

    /// Whether one of several job managers is elected.
    pub fn elects(&self) -> bool {
        self.scenario.cluster.job_managers > 1
    }

    /// The number of the task manager in a process; `None` for a job manager.
    pub fn task_manager_number(&self, process: ProcessId) -> Option<u32> {
        let number = process.0.checked_sub(1)?;
        (number < self.scenario.cluster.task_managers).then_some(number)
    }

    /// Names of the processes, by which their random streams are keyed.
    pub fn process_names(&self) -> Vec<String> {
        let task_managers = 0..self.scenario.cluster.task_managers;
        let others = 1..self.scenario.cluster.job_managers;
        std::iter::once("job-manager".to_owned())
            .chain(task_managers.map(|number| format!("task-manager-{number}")))
            .chain(others.map(|number| format!("job-manager-{number}")))
            .collect()
    }

    /// Whether the job takes checkpoints by itself.
    pub fn is_checkpointed(&self) -> bool {
        self.scenario.checkpointing.interval.is_some()
    }

    /// The layout that an action resumes the job with.
    pub fn layout_resumed(&self, action: u32) -> LayoutId {
        self.layouts[action as usize]
    }

    /// The operator of this name.
    pub fn operator_named(&self, name: &str) -> Option<OperatorId> {
        let operators = self.graph.job().operators();
        let at = operators.iter().position(|operator| operator.name == name)?;
        Some(OperatorId(at as u32))
    }

    /// How the state of an operator is found again under another parallelism.
    pub fn redistribution(&self, operator: OperatorId) -> Redistribution {
        if self.custom.contains_key(&operator) {
            return Redistribution::Whole;
        }
        match self.scenario.job.operators[operator.index()].kind {
            OperatorKind::Source(Source { list_mode: ListMode::Union, .. }) => {
                Redistribution::Union
            }
            OperatorKind::Source(_)
            | OperatorKind::Buffer { .. }
            | OperatorKind::Async { .. }
            | OperatorKind::BroadcastJoin => Redistribution::Whole,
            OperatorKind::KeyedAggregate | OperatorKind::Join | OperatorKind::Window { .. } => {
                Redistribution::Keyed
            }
            OperatorKind::Map { .. }
            | OperatorKind::Filter { .. }
            | OperatorKind::FlatMap { .. }
            | OperatorKind::IdempotentSink
            | OperatorKind::TwoPhaseCommitSink
            | OperatorKind::SinkWriter
            | OperatorKind::Committer
            | OperatorKind::WriteAheadSink
            | OperatorKind::AtLeastOnceSink => Redistribution::ByWriter,
        }
    }

    /// Whether the digests of an operator's state depend on the order of its records.
    pub fn is_ordered(&self, operator: OperatorId) -> bool {
        // At-least-once replays records behind later ones: no order survives that.
        self.ordered[operator.index()] && self.scenario.checkpointing.exactly_once
    }

    /// How a source discovers its splits, if it has an enumerator.
    pub fn discovery(&self, source: OperatorId) -> Option<&Discovery> {
        self.scenario.job.operators[source.index()].kind.as_source()?.discovery.as_ref()
    }

    /// The enumerators of the job, as they begin.
    pub(super) fn enumerators(&self) -> BTreeMap<OperatorId, Enumerator> {
        let operators = (0..).map(OperatorId).zip(&self.scenario.job.operators);
        let built_in = operators.filter(|(id, _)| !self.custom.contains_key(id));
        let enumerators = built_in.filter_map(|(id, operator)| {
            let source = operator.kind.as_source()?;
            let (splits, discover_every) = (source.splits, source.discovery.as_ref()?.every);
            let config = EnumeratorConfig { splits, discover_every, defects: self.defects };
            Some((id, Enumerator::new(config)))
        });
        enumerators.collect()
    }

    /// Makes the only instance of an operator for the sequential reference. It has no enumerator:
    /// a source reads all its splits.
    pub fn reference_operator(&self, operator: OperatorId) -> Box<dyn Operator> {
        self.make_operator(Instance::single(operator), true)
    }

    /// Makes an operator.
    pub fn operator(&self, instance: Instance) -> Box<dyn Operator> {
        self.make_operator(instance, false)
    }

    fn make_operator(&self, instance: Instance, is_reference: bool) -> Box<dyn Operator> {
        if let Some(factory) = self.custom.get(&instance.operator) {
            return factory(instance);
        }
        let operator = &self.scenario.job.operators[instance.operator.index()];
        let state_per_key = operator.state_per_key;
        match &operator.kind {
            OperatorKind::Source(source) => {
                Box::new(Reader::new(instance, source_options(source, is_reference)))
            }
            OperatorKind::Map { rekey } => Box::new(Map::new(instance, *rekey)),
            OperatorKind::Filter { keep_permille } => {
                Box::new(Filter::new(instance, *keep_permille))
            }
            OperatorKind::FlatMap { fanout } => Box::new(FlatMap::new(instance, *fanout)),
            OperatorKind::KeyedAggregate => {
                let ordered = self.is_ordered(instance.operator);
                Box::new(Aggregate::new(instance, ordered, state_per_key))
            }
            OperatorKind::Join => Box::new(Join::new(instance, state_per_key)),
            OperatorKind::Buffer { threshold } => {
                // The reference holds nothing back: it is never behind the job.
                let threshold = if is_reference { 1 } else { *threshold };
                Box::new(Buffer::new(instance, threshold))
            }
            OperatorKind::Async { capacity, ordered, latency: _ } => {
                let options = CallOptions { capacity: *capacity, ordered: *ordered };
                Box::new(AsyncWait::new(instance, (!is_reference).then_some(options)))
            }
            OperatorKind::BroadcastJoin => Box::new(BroadcastJoin::new(instance)),
            OperatorKind::Window { size, slide } => {
                let (size, slide) = (*size, *slide);
                let exact = self.scenario.checkpointing.exactly_once && !self.is_timed;
                let options = WindowOptions { size, slide, state_per_key, exact };
                Box::new(Window::new(instance, options))
            }
            OperatorKind::IdempotentSink => Box::new(IdempotentSink::new(instance)),
            OperatorKind::TwoPhaseCommitSink => Box::new(TwoPhaseCommitSink::new(instance)),
            OperatorKind::SinkWriter => Box::new(SinkWriter::new(instance)),
            OperatorKind::Committer => Box::new(Committer::new(instance)),
            OperatorKind::WriteAheadSink => Box::new(WriteAheadSink::new(instance)),
            OperatorKind::AtLeastOnceSink => Box::new(AppendSink::new(instance)),
        }
    }

    /// Who a subtask is in one attempt: what [`Plan::operator`] makes its operator for.
    pub fn instance(&self, subtask: SubtaskId, execution: u32) -> Instance {
        let graph = &self.graph;
        let operator = graph.operator(subtask);
        let layout = graph.layout(graph.layout_of(subtask));
        let vertex = &layout.job().operators()[operator.index()];
        Instance {
            operator,
            subtask: graph.index_in_operator(subtask),
            parallelism: vertex.parallelism,
            max_parallelism: vertex.max_parallelism,
            attempt: Attempt(execution),
            defects: self.defects,
        }
    }

    /// What runs in a task: an operator, or a chain of them.
    fn operator_of_task(&self, deployment: &Deployment) -> Box<dyn Operator> {
        let chain = self.graph.chain_of(deployment.subtask).iter();
        let mut operators: Vec<Box<dyn Operator>> = chain
            .map(|subtask| {
                let instance = self.instance(*subtask, deployment.execution);
                let mut operator = self.operator(instance);
                let rescaling = deployment.rescaling.as_ref();
                if let Some(rescaling) = rescaling.filter(|it| it.changes(instance.operator)) {
                    operator.rescale(rescaling.parallelism_before(instance.operator));
                }
                operator
            })
            .collect();
        match operators.len() {
            1 => operators.pop().expect("there is one"),
            _ => Box::new(Chain::new(operators)),
        }
    }

    /// One attempt of a task, waiting for its state. It goes by the number of its head.
    pub fn subtask_machine(&self, deployment: &Deployment) -> Subtask {
        let (graph, subtask) = (&self.graph, deployment.subtask);
        let tail = graph.tail(subtask);
        let options = &self.scenario.checkpointing;
        let buffers = &self.scenario.buffers;
        // Deviation: to the barrier handler, channels within a process are remote ones without
        // latency.
        let is_local = |peer: SubtaskId| deployment.beside.binary_search(&peer).is_ok();
        let channels = graph.channels();
        let gates = graph.gates(subtask);
        let remote = |channels: u32| vec![ChannelKind::Remote; channels as usize];
        let mode = if options.exactly_once {
            BarrierMode::ExactlyOnce { unaligned: options.unaligned }
        } else {
            BarrierMode::AtLeastOnce
        };
        let config = SubtaskConfig {
            input: InputConfig {
                mode,
                checkpoints_after_finish: options.checkpoints_after_tasks_finish,
                gates: gates.iter().map(|gate| remote(gate.channels.len() as u32)).collect(),
                feedback: (0..)
                    .map(GateId)
                    .zip(gates)
                    .filter(|(_, gate)| gate.feedback)
                    .map(|(id, _)| id)
                    .collect(),
                defects: self.defects,
            },
            gate_inputs: gates.iter().map(|gate| gate.input).collect(),
            local_inputs: (graph.inputs(subtask).iter())
                .map(|channel| is_local(channels[channel.index()].from))
                .collect(),
            local_outputs: (graph.outputs(tail).iter())
                .map(|channel| is_local(channels[channel.index()].to))
                .collect(),
            exclusive_buffers: buffers.buffers_per_channel,
            floating_buffers: buffers.floating_per_gate,
            output_edges: graph
                .output_edges(tail)
                .iter()
                .map(|edge| edge.channels.len() as u32)
                .collect(),
            aligned_edges: graph
                .output_edges(tail)
                .iter()
                .map(|edge| self.aligned[graph.job().edges()[edge.edge.0 as usize].to.index()])
                .collect(),
            loop_edges: graph.output_edges(tail).iter().map(loop_edge).collect(),
            buffers_per_subpartition: buffers.max_per_subpartition,
            debloat: buffers.debloat,
            waits_for_final_checkpoint: options.checkpoints_after_tasks_finish
                && self.is_checkpointed(),
            finished_on_restore: deployment.finished,
            commit_retries: self.scenario.external.commit_retries,
            event_time: self.event_time,
            defects: self.defects,
        };
        let router = Router::new(graph.output_edges(tail), graph.index_in_operator(subtask));
        let inputs = graph.inputs(subtask).len() as u32;
        let mut machine = Subtask::new(config, self.operator_of_task(deployment), router);
        if let Some(factory) = &self.barriers {
            machine.use_barrier_handler(factory(subtask, inputs));
        }
        machine
    }

    /// The file of a part of a snapshot. Its name holds the attempt: two attempts never write the
    /// same file.
    pub fn part(
        &self,
        (checkpoint, of): (CheckpointId, SnapshotKind),
        subtask: SubtaskId,
        execution: u32,
        kind: PartKind,
        bytes: &[u8],
        nominal: u64,
    ) -> Part {
        let (operator, index) =
            (self.graph.operator(subtask), self.graph.index_in_operator(subtask));
        let name = layout::PartName {
            operator,
            subtask: index,
            attempt: self.named_after(execution),
            number: checkpoint.0,
            part: match kind {
                PartKind::Operator => layout::Part::State,
                PartKind::Channels => layout::Part::Channels,
            },
        };
        let path = layout::Path::Part(layout::Directory::of(checkpoint, of), name).text();
        let StateHandle { path, bytes: length, nominal, checksum } =
            StateHandle::new(path, bytes, nominal);
        // Deviation: files that checkpoints share are never inlined, whatever their size.
        let place = match self.scenario.checkpointing.inline_threshold {
            Some(most) if nominal <= most => Place::Inline(bytes.to_vec()),
            Some(_) | None => Place::File,
        };
        Part { kind, operator, subtask: index, path, bytes: length, nominal, checksum, place }
    }

    /// A file of an incremental snapshot of a subtask.
    pub fn shared_part(
        &self,
        (operator, subtask): (OperatorId, u32),
        file: &IncrementFile,
    ) -> Part {
        let IncrementFile { key, bytes, nominal, checksum, upload } = file;
        let (path, place) = match upload {
            Some((name, _)) => {
                let path = layout::Path::Part(layout::Directory::Shared, *name);
                (path.to_string(), Place::Shared(key.clone()))
            }
            None if self.names_by_path() => {
                (format!("{}/{}", layout::Directory::Shared, key.0), Place::Known(key.clone()))
            }
            None => (String::new(), Place::Known(key.clone())),
        };
        let (bytes, nominal, checksum) = (*bytes, *nominal, *checksum);
        Part { kind: PartKind::Operator, operator, subtask, path, bytes, nominal, checksum, place }
    }

    /// The attempt that the names of files hold.
    fn named_after(&self, execution: u32) -> Attempt {
        match self.defects.has(Defect::D38) {
            true => Attempt(0),
            false => Attempt(execution),
        }
    }

    /// The protocols that had these defects named a file of the base by its path. Placeholders alone,
    /// which the registry refuses if it does not know them, keep their harm from being done.
    fn names_by_path(&self) -> bool {
        let had = [Defect::D32, Defect::D34, Defect::D35];
        had.iter().any(|defect| self.defects.has(*defect))
    }

    fn is_keyed(&self, subtask: SubtaskId) -> bool {
        let operator = self.graph.operator(subtask);
        self.scenario.job.operators[operator.index()].kind.is_keyed()
    }

    /// Whether copies of a subtask's state are kept where it runs. Flink: keyed state alone.
    pub fn recovers_locally(&self, subtask: SubtaskId) -> bool {
        self.scenario.checkpointing.local_recovery && self.is_keyed(subtask)
    }

    /// What an attempt of a subtask uploads by, if only what has changed. Flink: keyed state alone is
    /// incremental; operator state is written whole.
    pub fn increments(&self, subtask: SubtaskId, execution: u32) -> Option<Writer> {
        let logs = self.changelog_in(subtask);
        let incremental = self.scenario.checkpointing.incremental && !logs;
        (incremental && self.is_keyed(subtask)).then(|| self.writer(subtask, execution))
    }

    /// What the log of a subtask's changes must know, if they are logged. What an operator of the
    /// user's own has changed is not known.
    pub fn changelog(&self, subtask: SubtaskId, execution: u32) -> Option<ChangelogConfig> {
        if !self.changelog_in(subtask) {
            return None;
        }
        let operator = self.graph.operator(subtask);
        Some(ChangelogConfig {
            writer: self.writer(subtask, execution),
            options: self.scenario.checkpointing.changelog.clone(),
            incremental: self.scenario.checkpointing.incremental,
            bytes_per_update: self.scenario.job.operators[operator.index()].state_per_key,
            keeps_contents: self.recovers_locally(subtask),
        })
    }

    /// Whether changes of a subtask are logged in the job that it belongs to.
    fn changelog_in(&self, subtask: SubtaskId) -> bool {
        self.changelogs[self.graph.layout_of(subtask).0 as usize]
            && self.is_keyed(subtask)
            && !self.custom.contains_key(&self.graph.operator(subtask))
    }

    fn writer(&self, subtask: SubtaskId, execution: u32) -> Writer {
        Writer {
            operator: self.graph.operator(subtask),
            subtask: self.graph.index_in_operator(subtask),
            attempt: self.named_after(execution),
            defects: self.defects,
        }
    }
}

/// What the readers of a source are told; the reference has no enumerator.
pub(crate) fn source_options(source: &Source, is_reference: bool) -> SourceOptions {
    SourceOptions {
        splits: source.splits,
        records: source.records,
        history: source.history,
        startup_mode: source.startup_mode,
        start: VirtualTime::ZERO,
        every: source.every,
        keys: source.keys,
        key_run: source.key_run,
        weight: source.weight,
        record_bytes: source.record_bytes,
        disorder: source.disorder,
        stagger: source.stagger(),
        enumerated: source.discovery.is_some() && !is_reference,
        list_mode: match source.list_mode {
            ListMode::Split => DistributionMode::SplitDistribute,
            ListMode::Union => DistributionMode::Union,
        },
        watermarks: source.watermarks.as_ref().map(|it| WatermarkOptions {
            bound: it.out_of_orderness,
            interval: it.interval,
            idle_timeout: it.idle_timeout,
        }),
    }
}

fn is_timed(scenario: &Scenario, job: &JobGraph) -> bool {
    let operators = &scenario.job.operators;
    let drains =
        |action: &Action| matches!(action.what, ActionKind::StopWithSavepoint { drain: true });
    let may_be_late = |source: &Source| source.may_be_late() || source.discovery.is_some();
    let late = |operator: &model::Operator| operator.kind.as_source().is_some_and(may_be_late);
    let behind_join = job.behind(|operator| operators[operator.index()].kind.has_sides());
    let windows = || operators.iter().zip(&behind_join).filter(|(it, _)| it.kind.is_window());
    windows().next().is_some()
        && (operators.iter().any(late)
            || scenario.actions.iter().any(drains)
            || windows().any(|(_, behind_join)| *behind_join))
}

fn loop_edge(edge: &OutputEdge) -> LoopEdge {
    match (edge.in_loop, edge.feedback) {
        (_, Some(_)) => LoopEdge::Feedback,
        (true, None) => LoopEdge::Within,
        (false, None) => LoopEdge::Outside,
    }
}

/// The job graph of a scenario.
///
/// # Errors
/// It cannot run.
pub(crate) fn job_graph(scenario: &Scenario) -> Result<JobGraph, JobGraphError> {
    graph_of(&scenario.job.operators, &scenario.job.edges)
}

/// The job graph of these operators and edges.
///
/// # Errors
/// It cannot run.
pub(crate) fn graph_of(
    operators: &[model::Operator],
    edges: &[model::Edge],
) -> Result<JobGraph, JobGraphError> {
    let operators = operators
        .iter()
        .map(|operator| JobOperator {
            name: operator.name.clone(),
            parallelism: operator.parallelism,
            max_parallelism: operator.max_parallelism,
        })
        .collect();
    let edges = edges
        .iter()
        .map(|edge| Edge {
            from: OperatorId(edge.from as u32),
            to: OperatorId(edge.to as u32),
            input: edge.input,
            partitioner: edge.partitioner,
            chained: edge.chained,
            feedback: edge.feedback,
        })
        .collect();
    JobGraph::new(operators, edges)
}

/// `moves`: the operator gets another parallelism sooner or later.
fn behaviour(kind: &OperatorKind, moves: bool) -> Behaviour {
    match kind {
        OperatorKind::Source(_) => Behaviour::Source,
        OperatorKind::Map { rekey: Some(_) } => Behaviour::ChangesKey,
        // A window's record comes when others have come, from wherever.
        OperatorKind::Join | OperatorKind::BroadcastJoin | OperatorKind::Window { .. } => {
            Behaviour::Joins
        }
        OperatorKind::Async { ordered: false, .. } => Behaviour::Joins,
        OperatorKind::Buffer { .. } | OperatorKind::Async { .. } if moves => Behaviour::DealsOut,
        OperatorKind::Map { rekey: None }
        | OperatorKind::Filter { .. }
        | OperatorKind::FlatMap { .. }
        | OperatorKind::KeyedAggregate
        | OperatorKind::Buffer { .. }
        | OperatorKind::Async { .. }
        | OperatorKind::IdempotentSink
        | OperatorKind::TwoPhaseCommitSink
        | OperatorKind::SinkWriter
        | OperatorKind::Committer
        | OperatorKind::WriteAheadSink
        | OperatorKind::AtLeastOnceSink => Behaviour::KeepsKey,
    }
}
