//! The faults: which kinds this seed knows, then each fault from a stream of its own, so that one
//! fault fewer leaves the others as they are.

use cutline::step::Step;
use cutline::time::{VirtualDuration, VirtualTime};

use super::{Draws, Options, log_between, permille_chance};
use crate::kernel::stream::Stream;
use crate::scenario::model::{
    ClockStep, Direction, Disturbance, Endpoint, ExternalOperation, Fault, FaultKind, Scenario,
    StepAnchor, StorageOperation, When,
};

/// Kinds of faults, as the swarm chooses among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    CrashTask,
    CrashTaskManager,
    CrashJobManager,
    PauseTask,
    PauseTaskManager,
    PauseJobManager,
    SlowLink,
    CutLink,
    SlowStorage,
    FailStorage,
}

pub(super) const KINDS: [Kind; 10] = [
    Kind::CrashTask,
    Kind::CrashTaskManager,
    Kind::CrashJobManager,
    Kind::PauseTask,
    Kind::PauseTaskManager,
    Kind::PauseJobManager,
    Kind::SlowLink,
    Kind::CutLink,
    Kind::SlowStorage,
    Kind::FailStorage,
];

pub(super) fn draw(
    options: &Options,
    scenario: &Scenario,
    span: VirtualDuration,
    draws: &Draws,
) -> Vec<Fault> {
    let mut stream = draws.of("faults", "");
    if options.faults_max == 0 || permille_chance(&mut stream, 150) {
        return Vec::new();
    }
    let mut kinds = KINDS;
    stream.shuffle(&mut kinds);
    let kinds = &kinds[..stream.between(1, 5) as usize];
    let count = stream.between(1, u64::from(options.faults_max));
    let steps = steps(scenario);
    let commits = scenario.job.operators.iter().any(|it| it.kind.is_transactional());
    let external = commits && draws.is("external faults", 400);
    let clocks = draws.is("wrong clocks", 150);
    (0..count)
        .map(|index| {
            let name = index.to_string();
            let kind = *draws.of("fault kind", &name).choice(kinds).expect("some kinds are on");
            let mut stream = draws.of("fault", &name);
            let mut outside = draws.of("external fault", &name);
            let usual = what(kind, scenario, &mut stream);
            let what = match external && permille_chance(&mut outside, 450) {
                true => external_what(scenario, &mut outside),
                false => of_storage(&mut draws.of("fault of storage", &name))
                    .or_else(|| of_messages(scenario, &mut draws.of("fault of messages", &name)))
                    .unwrap_or(usual),
            };
            let what = of_leadership(scenario, &mut draws.of("fault of leadership", &name))
                .unwrap_or(what);
            let what =
                of_partition(scenario, commits, &mut draws.of("partition", &name)).unwrap_or(what);
            let what = of_loss(scenario, &mut draws.of("lost messages", &name)).unwrap_or(what);
            let what = match clocks {
                true => of_clocks(scenario, &mut draws.of("wrong clock", &name)).unwrap_or(what),
                false => what,
            };
            let what =
                of_storage_host(scenario, &mut draws.of("storage host", &name)).unwrap_or(what);
            Fault { what, at: when(scenario, &steps, span, &mut draws.of("fault time", &name)) }
        })
        .collect()
}

pub(super) fn what(kind: Kind, scenario: &Scenario, stream: &mut Stream) -> FaultKind {
    let ms = VirtualDuration::from_millis;
    let (operator, subtask) = subtask(scenario, stream);
    let task_managers = u64::from(scenario.cluster.task_managers);
    let task_manager = stream.below(task_managers) as u32;
    let span = ms(log_between(stream, 5, 5_000));
    let operation = *stream.choice(&StorageOperation::ALL).expect("there are some");
    match kind {
        Kind::CrashTask => FaultKind::CrashTask(operator, subtask),
        Kind::CrashTaskManager => FaultKind::CrashTaskManager(task_manager),
        Kind::CrashJobManager => FaultKind::CrashJobManager,
        Kind::PauseTask => FaultKind::PauseTask(operator, subtask, span),
        Kind::PauseTaskManager => FaultKind::PauseTaskManager(task_manager, span),
        Kind::PauseJobManager => FaultKind::PauseJobManager(span),
        Kind::SlowLink => {
            let (a, b) = link(task_managers, stream);
            FaultKind::SlowLink(a, b, log_between(stream, 2, 100) as u32, span)
        }
        Kind::CutLink => {
            let (a, b) = link(task_managers, stream);
            FaultKind::CutLink(a, b, Direction::Both, span)
        }
        Kind::SlowStorage => {
            FaultKind::SlowStorage(operation, ms(log_between(stream, 5, 3_000)), span)
        }
        Kind::FailStorage => FaultKind::FailStorage(operation, stream.between(1, 3) as u32),
    }
}

/// In one case of five, something that befalls requests to the stores, or what they hold. What this
/// draws has streams of its own, so that the other faults stay what they were before there were these.
fn of_storage(stream: &mut Stream) -> Option<FaultKind> {
    if !permille_chance(stream, 200) {
        return None;
    }
    Some(disturbance(stream))
}

/// In a few cases messages that may be repeated are, or what happens at nearly the same time is
/// reordered.
fn of_messages(scenario: &Scenario, stream: &mut Stream) -> Option<FaultKind> {
    if !permille_chance(stream, 60) {
        return None;
    }
    let ms = VirtualDuration::from_millis;
    let number = stream.below(u64::from(scenario.cluster.task_managers)) as u32;
    let (by, span) = (ms(log_between(stream, 1, 2_000)), ms(log_between(stream, 50, 5_000)));
    if stream.below(2) == 0 {
        let window = VirtualDuration::from_micros(log_between(stream, 10, 20_000));
        return Some(FaultKind::Reorder(window, stream.below(4) as u32, span));
    }
    let (from, to) = (Endpoint::TaskManager(number), Endpoint::JobManager);
    Some(FaultKind::RepeatMessages(from, to, by, span))
}

/// With several job managers, in one case of three: something that may cost the leader its lease, or
/// keeps others from learning who leads.
fn of_leadership(scenario: &Scenario, stream: &mut Stream) -> Option<FaultKind> {
    let cluster = &scenario.cluster;
    if cluster.job_managers == 1 || !permille_chance(stream, 333) {
        return None;
    }
    let lease = scenario.ha.election.lease_duration;
    let span = VirtualDuration(log_between(stream, lease.0 / 4, lease.0 * 4));
    let candidate = match stream.below(u64::from(cluster.job_managers)) {
        0 => Endpoint::JobManager,
        number => Endpoint::Candidate(number as u32),
    };
    let task_manager = stream.below(u64::from(cluster.task_managers)) as u32;
    Some(match stream.below(8) {
        0..=2 => FaultKind::CutHa(None, Direction::Both, span),
        3 => FaultKind::CutHa(Some(candidate), Direction::Both, span),
        4 => FaultKind::CutHa(Some(Endpoint::TaskManager(task_manager)), Direction::Both, span),
        5 => {
            let task_manager = Endpoint::TaskManager(task_manager);
            FaultKind::CutLink(candidate, task_manager, Direction::Both, span)
        }
        6 => FaultKind::CrashJobManager,
        _ => FaultKind::PauseJobManager(span),
    })
}

/// In one case of twelve, a partition between one process and one service, or another process, in
/// one direction or both.
fn of_partition(scenario: &Scenario, commits: bool, stream: &mut Stream) -> Option<FaultKind> {
    if !permille_chance(stream, 80) {
        return None;
    }
    let cluster = &scenario.cluster;
    let direction = *stream.choice(&Direction::ALL).expect("there are three");
    let span = VirtualDuration::from_millis(log_between(stream, 5, 5_000));
    let number = stream.below(u64::from(cluster.task_managers)) as u32;
    let task_manager = Endpoint::TaskManager(number);
    let process = match stream.below(3) {
        0 => Some(task_manager),
        1 if cluster.job_managers > 1 => {
            Some(Endpoint::Candidate(stream.between(1, u64::from(cluster.job_managers) - 1) as u32))
        }
        _ => None,
    };
    Some(match stream.below(8) {
        0..=3 => FaultKind::CutStorage(process, direction, span),
        4 | 5 => FaultKind::CutHa(process, direction, span),
        6 if commits => FaultKind::CutExternal(number, direction, span),
        _ => FaultKind::CutLink(Endpoint::JobManager, task_manager, direction, span),
    })
}

/// In one case of sixteen, control messages between a job manager and a task manager are lost.
fn of_loss(scenario: &Scenario, stream: &mut Stream) -> Option<FaultKind> {
    if !permille_chance(stream, 60) {
        return None;
    }
    let cluster = &scenario.cluster;
    let direction = *stream.choice(&Direction::ALL).expect("there are three");
    let span = VirtualDuration::from_millis(log_between(stream, 1, 3_000));
    let number = stream.below(u64::from(cluster.task_managers)) as u32;
    let job_manager = match stream.below(u64::from(cluster.job_managers)) {
        0 => Endpoint::JobManager,
        number => Endpoint::Candidate(number as u32),
    };
    let chance = *stream.choice(&[50, 200, 500, 1_000]).expect("there are four");
    Some(FaultKind::LoseMessages(
        job_manager,
        Endpoint::TaskManager(number),
        direction,
        chance,
        span,
    ))
}

/// In one seed of seven, where two faults of five are of this kind: the clocks of a host are wrong.
fn of_clocks(scenario: &Scenario, stream: &mut Stream) -> Option<FaultKind> {
    if !permille_chance(stream, 400) {
        return None;
    }
    let ms = VirtualDuration::from_millis;
    let cluster = &scenario.cluster;
    let host = match stream.below(2) {
        0 => {
            let number = stream.below(u64::from(cluster.task_managers)) as u32;
            Some(Endpoint::TaskManager(number))
        }
        _ => match stream.below(u64::from(cluster.job_managers)) {
            0 => None,
            number => Some(Endpoint::Candidate(number as u32)),
        },
    };
    let span = ms(log_between(stream, 50, 10_000));
    if stream.below(2) == 0 {
        let paces = [200, 500, 900, 999, 1_001, 1_100, 2_000, 5_000];
        return Some(FaultKind::DriftClock(host, *stream.choice(&paces).expect("some"), span));
    }
    let step = *stream.choice(&ClockStep::ALL).expect("there are two");
    Some(FaultKind::StepClock(host, step, ms(log_between(stream, 1, 20_000)), span))
}

/// In one case of twenty, where checkpoints are files on a host: it crashes.
fn of_storage_host(scenario: &Scenario, stream: &mut Stream) -> Option<FaultKind> {
    if !scenario.has_storage_host() || !permille_chance(stream, 50) {
        return None;
    }
    Some(FaultKind::CrashStorageHost(VirtualDuration::from_millis(log_between(stream, 5, 3_000))))
}

fn disturbance(stream: &mut Stream) -> FaultKind {
    // What cannot be read any more ends a run early: a few of these are enough.
    if permille_chance(stream, 100) {
        let of = [StorageOperation::WriteState, StorageOperation::WriteMetadata];
        return FaultKind::DamageObject(*stream.choice(&of).expect("there are two"));
    }
    let how = *stream.choice(&Disturbance::ALL).expect("there are some");
    let possible: Vec<StorageOperation> =
        StorageOperation::ALL.into_iter().filter(|operation| how.befalls(*operation)).collect();
    let operation = *stream.choice(&possible).expect("each can befall any request");
    // As many as a client bears, or more.
    FaultKind::DisturbStorage(operation, how, log_between(stream, 1, 12) as u32)
}

/// A fault of the external system, or on the way to it.
fn external_what(scenario: &Scenario, stream: &mut Stream) -> FaultKind {
    let ms = VirtualDuration::from_millis;
    let span = ms(log_between(stream, 5, 5_000));
    let operation = *stream.choice(&ExternalOperation::ALL).expect("there are four");
    match stream.below(4) {
        0 => FaultKind::SlowExternal(operation, ms(log_between(stream, 5, 3_000)), span),
        1 => FaultKind::FailExternal(operation, stream.between(1, 3) as u32),
        2 => FaultKind::AmbiguousExternal(operation, stream.between(1, 3) as u32),
        _ => {
            let task_managers = u64::from(scenario.cluster.task_managers);
            FaultKind::CutExternal(stream.below(task_managers) as u32, Direction::Both, span)
        }
    }
}

pub(super) fn subtask(scenario: &Scenario, stream: &mut Stream) -> (usize, u32) {
    let operators = &scenario.job.operators;
    let operator = stream.below(operators.len() as u64) as usize;
    (operator, stream.below(u64::from(operators[operator].parallelism)) as u32)
}

/// One more fault, of any kind.
pub(super) fn draw_one(scenario: &Scenario, span: VirtualDuration, stream: &mut Stream) -> Fault {
    let kind = *stream.choice(&KINDS).expect("there are some");
    Fault { what: what(kind, scenario, stream), at: when(scenario, &steps(scenario), span, stream) }
}

/// The subtask of an anchor at another step: S5 and S6 happen at few, and many steps at none.
pub(super) fn with_subtask(subtask: Option<(usize, u32)>, step: Step) -> Option<(usize, u32)> {
    subtask.filter(|_| has_subtask(step) && !matches!(step, Step::S5 | Step::S6))
}

/// Two different processes; the job manager is number 0 here.
fn link(task_managers: u64, stream: &mut Stream) -> (Endpoint, Endpoint) {
    let endpoint = |number: u64| match number {
        0 => Endpoint::JobManager,
        number => Endpoint::TaskManager(number as u32 - 1),
    };
    let a = stream.below(task_managers + 1);
    let b = (a + stream.between(1, task_managers)) % (task_managers + 1);
    (endpoint(a), endpoint(b))
}

fn when(scenario: &Scenario, steps: &[Step], span: VirtualDuration, stream: &mut Stream) -> When {
    match stream.choice(steps) {
        Some(step) if stream.below(2) == 0 => When::Step(anchor(scenario, *step, stream)),
        // The job may need longer than its records take to come.
        _ => When::Time(VirtualTime(stream.between(0, span.0 / 2 * 3))),
    }
}

pub(super) fn anchor(scenario: &Scenario, step: Step, stream: &mut Stream) -> StepAnchor {
    let ids_max = match scenario.checkpointing.interval {
        Some(_) => 16,
        None => scenario.manual.len() as u64,
    };
    let numbered = ids_max > 0 && !matches!(step, Step::T1 | Step::R1);
    let checkpoint = (numbered && stream.below(3) == 0).then(|| log_between(stream, 1, ids_max));
    let at_subtask = has_subtask(step) && stream.below(2) == 0;
    let occurrence = match checkpoint.is_some() && (at_subtask || !has_subtask(step)) {
        true => 1,
        false => log_between(stream, 1, 16) as u32,
    };
    let delay = match stream.below(2) {
        0 => VirtualDuration::ZERO,
        _ => VirtualDuration::from_micros(log_between(stream, 1, 50_000)),
    };
    StepAnchor {
        step,
        checkpoint,
        subtask: at_subtask.then(|| place(scenario, step, stream)),
        occurrence,
        delay,
    }
}

/// A subtask that takes the step.
fn place(scenario: &Scenario, step: Step, stream: &mut Stream) -> (usize, u32) {
    if !matches!(step, Step::S5 | Step::S6) {
        return subtask(scenario, stream);
    }
    let operators = scenario.job.operators.iter().enumerate();
    let sinks: Vec<(usize, u32)> = operators
        .filter(|(_, operator)| operator.kind.takes(step))
        .map(|(index, operator)| (index, operator.parallelism))
        .collect();
    let (sink, parallelism) =
        *stream.choice(&sinks).expect("these steps are drawn only where such a sink is");
    (sink, stream.below(u64::from(parallelism)) as u32)
}

/// The steps that this scenario can reach.
pub(super) fn steps(scenario: &Scenario) -> Vec<Step> {
    let checkpoints = scenario.checkpointing.interval.is_some() || !scenario.manual.is_empty();
    let taken = |step| scenario.job.operators.iter().any(|it| it.kind.takes(step));
    let possible = |step: &Step| match step {
        Step::R1 | Step::R2 | Step::R3 | Step::R4 | Step::R5 | Step::R6 => true,
        Step::S5 | Step::S6 => checkpoints && taken(*step),
        _ => checkpoints,
    };
    Step::ALL.iter().copied().filter(possible).collect()
}

fn has_subtask(step: Step) -> bool {
    use Step::{A1, B1, B2, B3, B4, B5, B6, N1, R6, S5, S6};
    matches!(step, B1 | B2 | B3 | B4 | B5 | B6 | A1 | N1 | R6 | S5 | S6)
}
