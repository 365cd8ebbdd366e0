//! A scenario in the words of the world and of the checks.

use std::sync::Arc;

use cutline::defect::Defects;
use cutline::ids::{CheckpointId, OperatorId, SubtaskId};
use cutline::job::rescale::DistributionMode;
use cutline::operator::StartupMode;
use cutline::time::{VirtualDuration, VirtualTime};

use crate::check::{CheckConfig, Checks, Role, Windows};
use crate::engine::{Plan, source_options};
use crate::kernel::distribution::Distribution;
use crate::scenario::model::{
    Endpoint, Fault, FaultKind, Link, ListMode, OperatorKind, Scenario, Source, When,
};
use crate::world::{
    Command, LinkConfig, PlannedFault, PlannedFaultKind, PlannedWhen, ProcessId, Service,
    WorldConfig,
};

pub(super) fn world_config(plan: &Plan) -> WorldConfig {
    let scenario = &plan.scenario;
    WorldConfig {
        process_names: plan.process_names(),
        channels: plan.graph.channels().len(),
        named_as: named_as(plan),
        link: LinkConfig {
            data_latency: scenario.network.latency,
            bandwidth: scenario.network.bandwidth,
            control_latency: scenario.network.control_latency,
        },
        links: scenario.network.links.iter().map(|link| differing(plan, link)).collect(),
        storage_latency: scenario.storage.latency,
        storage_bandwidth: scenario.storage.bandwidth,
        storage_visibility: scenario.storage.visibility,
        storage_scheme: scenario.checkpointing.dir,
        storage_name_node: scenario.storage.name_node.unwrap_or(Distribution::Uniform {
            min: VirtualDuration::from_millis(1),
            max: VirtualDuration::from_millis(4),
        }),
        storage_requests_per_prefix: scenario.storage.requests_per_prefix.unwrap_or(3_500),
        storage_part_size: scenario.storage.part_size.unwrap_or(64 << 20),
        storage_write_back: scenario.storage.write_back,
        storage_client: scenario.storage.client.clone(),
        ha_latency: scenario.ha.latency,
        external_latency: scenario.external.latency,
        transaction_timeout: scenario.external.transaction_timeout,
        process_restart: scenario.cluster.process_restart,
        connection_loss: scenario.cluster.connection_loss,
        ask_timeout: scenario.cluster.ask_timeout,
    }
}

/// Nothing to say while there is one layout.
fn named_as(plan: &Plan) -> Vec<SubtaskId> {
    if plan.graph.layouts().len() == 1 {
        return Vec::new();
    }
    (0..plan.graph.subtasks() as u32).map(|at| plan.graph.named_as(SubtaskId(at))).collect()
}

fn differing(plan: &Plan, link: &Link) -> (ProcessId, ProcessId, LinkConfig) {
    let config = LinkConfig {
        data_latency: link.latency,
        bandwidth: link.bandwidth,
        control_latency: link.control_latency,
    };
    (process(plan, link.from), process(plan, link.to), config)
}

pub(super) fn checks_of(plan: &Arc<Plan>) -> Checks {
    let scenario = &plan.scenario;
    let patience = patience(scenario);
    let role = |kind: &OperatorKind| match kind {
        OperatorKind::Source(source) => {
            Role::Source { splits: source.splits, records: source.records }
        }
        OperatorKind::TwoPhaseCommitSink
        | OperatorKind::SinkWriter
        | OperatorKind::WriteAheadSink => Role::TransactionalSink,
        OperatorKind::IdempotentSink => Role::IdempotentSink,
        OperatorKind::AtLeastOnceSink => Role::AtLeastOnceSink,
        OperatorKind::Map { .. }
        | OperatorKind::Filter { .. }
        | OperatorKind::FlatMap { .. }
        | OperatorKind::KeyedAggregate
        | OperatorKind::Join
        | OperatorKind::Buffer { .. }
        | OperatorKind::Async { .. }
        | OperatorKind::BroadcastJoin
        | OperatorKind::Window { .. }
        | OperatorKind::Committer => Role::Inner,
    };
    let operators = scenario.job.operators.iter();
    let config = CheckConfig {
        checkpointing: scenario.checkpointing.clone(),
        roles: operators.clone().map(|operator| role(&operator.kind)).collect(),
        first_offsets: operators.clone().map(|operator| first_offsets(&operator.kind)).collect(),
        aligned: aligned(scenario),
        manual: scenario.manual.iter().map(|trigger| trigger.at).collect(),
        actions: scenario.actions.iter().map(|action| action.what.clone()).collect(),
        due: last_record(plan),
        settle: patience,
        recovery: patience,
        windows: windows(plan),
        list_states: operators.clone().map(|operator| list_states(&operator.kind)).collect(),
        holds_back: operators.clone().any(|it| it.kind.holds_back()),
    };
    let made_by = Arc::clone(plan);
    let factory = Box::new(move |operator| made_by.reference_operator(operator));
    Checks::new(&plan.graph, config, factory)
}

/// Where no record may be in flight at a cut. That no commit handle is overtaken is seen by what
/// becomes of its transaction.
fn aligned(scenario: &Scenario) -> Vec<bool> {
    let aligned = scenario.aligned_operators(Defects::none());
    let operators = scenario.job.operators.iter().zip(aligned);
    operators.map(|(it, aligned)| aligned && it.kind != OperatorKind::Committer).collect()
}

/// Where the splits of an operator are begun, if it is not at 0.
fn first_offsets(kind: &OperatorKind) -> Vec<u64> {
    let latest = |it: &&Source| it.startup_mode == StartupMode::LatestOffset;
    let Some(source) = kind.as_source().filter(latest) else { return Vec::new() };
    let options = source_options(source, true);
    (0..source.splits).map(|split| options.first_offset(split)).collect()
}

/// How the list states of an operator are dealt out.
fn list_states(kind: &OperatorKind) -> &'static [DistributionMode] {
    use DistributionMode::{Broadcast, SplitDistribute, Union};
    match kind {
        OperatorKind::Source(source) => match source.list_mode {
            ListMode::Split => &[SplitDistribute],
            ListMode::Union => &[Union],
        },
        OperatorKind::Buffer { .. } | OperatorKind::Async { .. } => &[SplitDistribute],
        OperatorKind::BroadcastJoin => &[Broadcast, SplitDistribute],
        OperatorKind::Map { .. }
        | OperatorKind::Filter { .. }
        | OperatorKind::FlatMap { .. }
        | OperatorKind::KeyedAggregate
        | OperatorKind::Join
        | OperatorKind::Window { .. }
        | OperatorKind::IdempotentSink
        | OperatorKind::TwoPhaseCommitSink
        | OperatorKind::SinkWriter
        | OperatorKind::Committer
        | OperatorKind::WriteAheadSink
        | OperatorKind::AtLeastOnceSink => &[],
    }
}

fn windows(plan: &Plan) -> Option<Windows> {
    let operators = &plan.scenario.job.operators;
    let is_window = |operator: OperatorId| operators[operator.index()].kind.is_window();
    let timed = plan.graph.job().behind(|operator| plan.is_timed && is_window(operator));
    let has_windows = operators.iter().any(|operator| operator.kind.is_window());
    has_windows.then_some(Windows { never_late: !plan.is_timed, timed })
}

/// When the last record of a bounded job is due.
fn last_record(plan: &Plan) -> Option<VirtualTime> {
    let operators = (0..).map(OperatorId).zip(&plan.scenario.job.operators);
    let due = operators.filter_map(|(id, operator)| {
        let source = operator.kind.as_source()?;
        let layouts = plan.graph.layouts().iter();
        let readers = layouts.map(|layout| layout.parallelism(id)).min().unwrap_or(1);
        Some(source.records.map(|records| source.due_last(records, readers)))
    });
    due.collect::<Option<Vec<_>>>().and_then(|due| due.into_iter().max())
}

/// Calm time within which a failed execution is replaced and a job ends, generously: every delay at
/// its longest.
fn patience(scenario: &Scenario) -> VirtualDuration {
    scenario.limits.settle + scenario.delay_by_wall_clocks()
}

fn process(plan: &Plan, endpoint: Endpoint) -> ProcessId {
    match endpoint {
        Endpoint::JobManager => Plan::JOB_MANAGER,
        Endpoint::Candidate(number) => plan.job_manager(number),
        Endpoint::TaskManager(number) => Plan::task_manager(number),
    }
}

pub(super) fn planned_when(plan: &Plan, when: &When) -> PlannedWhen {
    match when {
        When::Time(at) => PlannedWhen::Time(*at),
        When::Step(anchor) => PlannedWhen::Step {
            step: anchor.step,
            checkpoint: anchor.checkpoint.map(CheckpointId),
            subtask: anchor.subtask.map(|(operator, index)| subtask(plan, operator, index)),
            occurrence: anchor.occurrence,
            delay: anchor.delay,
        },
    }
}

fn subtask(plan: &Plan, operator: usize, index: u32) -> SubtaskId {
    let first = plan.graph.first_instance(OperatorId(operator as u32), index);
    first.expect("a target is a subtask of some layout")
}

pub(super) fn planned(plan: &Plan, fault: &Fault, announced: bool) -> PlannedFault {
    let subtask = |operator, index| subtask(plan, operator, index);
    let when = match announced {
        true => PlannedWhen::Announced,
        false => planned_when(plan, &fault.at),
    };
    let kind = match fault.what {
        FaultKind::CrashTask(operator, index) => {
            PlannedFaultKind::Command(Command::Throw(subtask(operator, index)))
        }
        FaultKind::PauseTask(operator, index, span) => {
            PlannedFaultKind::Command(Command::Pause(subtask(operator, index), span))
        }
        FaultKind::CrashTaskManager(number) => PlannedFaultKind::Crash(Plan::task_manager(number)),
        FaultKind::CrashJobManager => PlannedFaultKind::CrashLeader,
        FaultKind::PauseTaskManager(number, span) => {
            PlannedFaultKind::Pause(Plan::task_manager(number), span)
        }
        FaultKind::PauseJobManager(span) => PlannedFaultKind::PauseLeader(span),
        FaultKind::SlowLink(a, b, factor, span) => {
            PlannedFaultKind::SlowLink(process(plan, a), process(plan, b), u64::from(factor), span)
        }
        FaultKind::CutLink(a, b, direction, span) => {
            PlannedFaultKind::CutLink(process(plan, a), process(plan, b), direction, span)
        }
        FaultKind::RepeatMessages(a, b, by, span) => {
            PlannedFaultKind::RepeatMessages(process(plan, a), process(plan, b), by, span)
        }
        FaultKind::LoseMessages(a, b, direction, chance, span) => {
            let (a, b) = (process(plan, a), process(plan, b));
            PlannedFaultKind::LoseMessages(a, b, direction, chance, span)
        }
        FaultKind::Reorder(window, changes, span) => {
            PlannedFaultKind::Reorder(window, changes, span)
        }
        FaultKind::SlowStorage(operation, by, span) => {
            PlannedFaultKind::SlowStorage(operation, by, span)
        }
        FaultKind::FailStorage(operation, count) => PlannedFaultKind::FailStorage(operation, count),
        FaultKind::DisturbStorage(operation, how, count) => {
            PlannedFaultKind::DisturbStorage(operation, how, count)
        }
        FaultKind::DamageObject(operation) => PlannedFaultKind::DamageObject(operation),
        FaultKind::SlowExternal(operation, by, span) => {
            PlannedFaultKind::SlowExternal(operation, by, span)
        }
        FaultKind::FailExternal(operation, count) => {
            PlannedFaultKind::FailExternal(operation, count)
        }
        FaultKind::AmbiguousExternal(operation, count) => {
            PlannedFaultKind::AmbiguousExternal(operation, count)
        }
        FaultKind::CutExternal(number, direction, span) => {
            let target = Some(Plan::task_manager(number));
            PlannedFaultKind::CutService(Service::External, target, direction, span)
        }
        FaultKind::CutHa(target, direction, span) => {
            let target = target.map(|end| process(plan, end));
            PlannedFaultKind::CutService(Service::HaStore, target, direction, span)
        }
        FaultKind::CutStorage(target, direction, span) => {
            let target = target.map(|end| process(plan, end));
            PlannedFaultKind::CutService(Service::ObjectStore, target, direction, span)
        }
        FaultKind::DriftClock(target, pace, span) => {
            let target = target.map(|end| process(plan, end));
            PlannedFaultKind::DriftClock(target, pace, span)
        }
        FaultKind::CrashStorageHost(span) => PlannedFaultKind::CrashStorageHost(span),
        FaultKind::StepClock(target, step, by, span) => {
            let target = target.map(|end| process(plan, end));
            PlannedFaultKind::StepClock(target, step.offset(by), span)
        }
    };
    PlannedFault { when, kind }
}
