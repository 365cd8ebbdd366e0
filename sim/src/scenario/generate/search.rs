//! Scenarios drawn with a purpose: one crash at a given step, a crash within a window that is held
//! open, and changes of a scenario that got somewhere.

use cutline::step::Step;
use cutline::time::{VirtualDuration, VirtualTime};

use super::faults::{KINDS, Kind, anchor, draw_one, steps, subtask, what, with_subtask};
use super::{
    Draws, LONGEST, Options, Seeds, generate_with, is_bounded, log_between, permille_chance, slack,
    until,
};
use crate::kernel::stream::Stream;
use crate::scenario::model::{
    ActionKind, Direction, Endpoint, Fault, FaultKind, Scenario, SnapshotSource, StepAnchor,
    StorageOperation, When,
};

/// Where a crash is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aim {
    /// The seed of the scenario, without its own faults.
    pub base: u64,
    /// Number of the round; from one to the next the steps go on by one.
    pub round: u64,
    /// Number within the round; the steps go on by one as well.
    pub position: u64,
}

/// A scenario with one crash at one of its protocol steps, chosen by the aim; what crashes, and
/// whether it is the first time that the step is taken, is drawn.
pub fn placed(options: &Options, aim: Aim, seed: u64) -> Scenario {
    let mut scenario = calm(options, aim.base);
    let steps = steps(&scenario);
    let mut stream = Draws::new(seed).of("placed fault", "");
    let step = steps[((aim.round + aim.position) % steps.len() as u64) as usize];
    let at = anchor(&scenario, step, &mut stream);
    let mut later = Draws::new(seed).of("placed fault", "later");
    let fault = Fault {
        at: When::Step(StepAnchor {
            delay: VirtualDuration::ZERO,
            occurrence: if later.below(2) == 0 { 1 } else { at.occurrence },
            ..at
        }),
        what: crash(&scenario, &mut stream),
    };
    retitle(&mut scenario, format!("one crash at {step}, by seed {seed}"), vec![fault]);
    scenario
}

/// What holds a window open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    Storage(StorageOperation),
    Link,
    Task,
    TaskManager,
}

/// Where a window opens, and what keeps the next step from coming.
const WINDOWS: [(Step, Hold); 14] = [
    (Step::T3, Hold::Link),
    (Step::T5, Hold::Link),
    (Step::T5, Hold::Task),
    (Step::B1, Hold::Task),
    (Step::B2, Hold::Task),
    (Step::B3, Hold::Storage(StorageOperation::WriteState)),
    (Step::B6, Hold::Link),
    (Step::A1, Hold::Storage(StorageOperation::WriteState)),
    (Step::A2, Hold::Storage(StorageOperation::WriteMetadata)),
    (Step::F2, Hold::Storage(StorageOperation::WritePointer)),
    (Step::F3, Hold::Link),
    (Step::F4, Hold::Storage(StorageOperation::Delete)),
    (Step::X1, Hold::Storage(StorageOperation::Delete)),
    (Step::R2, Hold::TaskManager),
];

/// A scenario in which a window between two steps is held open and something fails in it; in half
/// of them after, or amid, faults of other kinds, which make states that a calm run does not have.
pub fn aimed(options: &Options, seed: u64) -> Scenario {
    let mut scenario = match Draws::new(seed).is("aimed amid faults", 500) {
        true => generate_with(options, Seeds::all(seed)),
        false => calm(options, seed),
    };
    let reachable = steps(&scenario);
    let mut stream = Draws::new(seed).of("aimed faults", "");
    let windows: Vec<&(Step, Hold)> =
        WINDOWS.iter().filter(|(step, _)| reachable.contains(step)).collect();
    let (step, hold) = **stream.choice(&windows).expect("a recovery is always reachable");
    let opens = StepAnchor {
        delay: VirtualDuration::ZERO,
        occurrence: 1,
        ..anchor(&scenario, step, &mut stream)
    };
    let length = VirtualDuration::from_millis(log_between(&mut stream, 20, 2_000));
    let length = beyond_a_timeout(&scenario, seed).unwrap_or(length);
    let delay = VirtualDuration(stream.between(0, length.0));
    let mut faults = scenario.faults.clone();
    // Some windows open only after something has failed.
    match step {
        Step::X1 => faults.push(at_start(FaultKind::FailStorage(StorageOperation::WriteState, 1))),
        Step::R2 => {
            let at = VirtualTime(stream.between(0, span(&scenario).0));
            faults.push(Fault { at: When::Time(at), what: crash(&scenario, &mut stream) });
        }
        _ => {}
    }
    let held = held(hold, &scenario, length, &mut stream);
    faults.push(Fault { at: When::Step(opens.clone()), what: held });
    let breaks = match stream.below(4) {
        0 => {
            let operation = *stream
                .choice(&[
                    StorageOperation::WriteState,
                    StorageOperation::WriteMetadata,
                    StorageOperation::WritePointer,
                ])
                .expect("there are three");
            FaultKind::FailStorage(operation, 1)
        }
        _ => crash(&scenario, &mut stream),
    };
    faults.push(Fault { at: When::Step(StepAnchor { delay, ..opens }), what: breaks });
    retitle(&mut scenario, format!("a window at {step} held open, by seed {seed}"), faults);
    scenario
}

/// A scenario with its own faults in which what happens at nearly the same time happens in the order
/// of random priorities.
pub fn by_priorities(options: &Options, seed: u64) -> Scenario {
    let mut scenario = generate_with(options, Seeds::all(seed));
    let mut stream = Draws::new(seed).of("priorities", "");
    let window = VirtualDuration::from_micros(log_between(&mut stream, 10, 20_000));
    let changes = stream.between(0, 4) as u32;
    let lasts = VirtualDuration(span(&scenario).0 * 2).min(LONGEST);
    let mut faults = vec![at_start(FaultKind::Reorder(window, changes, lasts))];
    faults.append(&mut scenario.faults);
    retitle(&mut scenario, format!("by random priorities, by seed {seed}"), faults);
    scenario
}

/// Sometimes a window stays open until something else gives up: the checkpoint, whoever waits for a
/// heartbeat, the external system with the transaction.
fn beyond_a_timeout(scenario: &Scenario, seed: u64) -> Option<VirtualDuration> {
    let mut stream = Draws::new(seed).of("aimed length", "");
    if !permille_chance(&mut stream, 350) {
        return None;
    }
    let timeouts = [
        Some(scenario.checkpointing.timeout),
        Some(scenario.cluster.heartbeat_timeout),
        scenario.external.transaction_timeout,
    ];
    let bearable: Vec<VirtualDuration> =
        timeouts.into_iter().flatten().filter(|timeout| *timeout * 2 <= LONGEST).collect();
    let timeout = *stream.choice(&bearable)?;
    Some(VirtualDuration(timeout.0 + stream.between(timeout.0 / 10, timeout.0)))
}

/// A scenario with one to three changes of its faults and checkpointing.
pub fn changed(parent: &Scenario, seed: u64) -> Scenario {
    let mut scenario = parent.clone();
    let mut stream = Draws::new(seed).of("changes", "");
    let span = span(parent);
    let mut faults = scenario.faults.clone();
    for _ in 0..stream.between(1, 3) {
        let index = stream.below(faults.len().max(1) as u64) as usize;
        match (stream.below(8), faults.get_mut(index)) {
            (0, Some(_)) => drop(faults.remove(index)),
            (1, Some(fault)) => fault.at = moved(&fault.at, &scenario, span, &mut stream),
            (2, Some(fault)) => {
                let kind = *stream.choice(&KINDS).expect("there are some");
                fault.what = what(kind, &scenario, &mut stream);
            }
            // Once more, later.
            (3, Some(fault)) => {
                let mut again = fault.clone();
                match &mut again.at {
                    When::Time(at) => *at = VirtualTime(stream.between(at.0, at.0 + span.0 / 4)),
                    When::Step(anchor) => anchor.occurrence += stream.between(1, 4) as u32,
                }
                faults.push(again);
            }
            (4, _) => scenario.checkpointing.max_concurrent = stream.between(1, 3) as u32,
            (5, _) if may_turn_unaligned(&scenario) => {
                scenario.checkpointing.unaligned ^= true;
                scenario.checkpointing.aligned_timeout = VirtualDuration::ZERO;
            }
            _ => faults.push(draw_one(&scenario, span, &mut stream)),
        }
    }
    // What Flink does not allow together is not drawn together.
    let options = &scenario.checkpointing;
    let alone = options.unaligned || !options.min_pause.is_zero();
    if alone || scenario.logs_changes() || scenario.job.has_loop() {
        scenario.checkpointing.max_concurrent = 1;
    }
    let title = format!("{}, changed by seed {seed}", parent.title);
    retitle(&mut scenario, title, faults);
    scenario
}

fn may_turn_unaligned(scenario: &Scenario) -> bool {
    let exactly_once = scenario.checkpointing.exactly_once;
    exactly_once && !scenario.job.has_loop() && !moves_checkpoints(scenario)
}

/// Whether a checkpoint is resumed by another number of subtasks: whether its in-flight data could be,
/// too, depends on the edges.
fn moves_checkpoints(scenario: &Scenario) -> bool {
    scenario.actions.iter().any(|action| match &action.what {
        ActionKind::Resume { from, parallelism, .. } => {
            *from == SnapshotSource::Checkpoint && !parallelism.is_empty()
        }
        ActionKind::Savepoint
        | ActionKind::StopWithSavepoint { .. }
        | ActionKind::Cancel
        | ActionKind::CleanOrphans => false,
    })
}

/// The scenario of a seed without its faults.
fn calm(options: &Options, seed: u64) -> Scenario {
    generate_with(&Options { faults_max: 0, ..*options }, Seeds::all(seed))
}

/// Puts faults in, and gives the run as much time as that many need.
fn retitle(scenario: &mut Scenario, title: String, faults: Vec<Fault>) {
    let span = span(scenario);
    scenario.title = title;
    scenario.faults = faults;
    scenario.limits.until = until(scenario, span);
}

/// How long the records of a drawn scenario take to come, about: `until` the other way round.
fn span(scenario: &Scenario) -> VirtualDuration {
    let all = scenario.limits.until.since(VirtualTime::ZERO);
    match is_bounded(scenario) {
        true => all.saturating_sub(slack(scenario)),
        false => VirtualDuration(all.0 / 2),
    }
}

fn at_start(what: FaultKind) -> Fault {
    Fault { at: When::Time(VirtualTime::ZERO), what }
}

fn crash(scenario: &Scenario, stream: &mut Stream) -> FaultKind {
    let kind = match stream.below(4) {
        0 => Kind::CrashTaskManager,
        1 => Kind::CrashJobManager,
        _ => Kind::CrashTask,
    };
    what(kind, scenario, stream)
}

fn held(
    hold: Hold,
    scenario: &Scenario,
    length: VirtualDuration,
    stream: &mut Stream,
) -> FaultKind {
    let task_manager = stream.below(u64::from(scenario.cluster.task_managers)) as u32;
    match hold {
        Hold::Storage(operation) => FaultKind::SlowStorage(operation, length, length),
        Hold::Link => {
            let task_manager = Endpoint::TaskManager(task_manager);
            FaultKind::CutLink(Endpoint::JobManager, task_manager, Direction::Both, length)
        }
        Hold::Task => {
            let (operator, index) = subtask(scenario, stream);
            FaultKind::PauseTask(operator, index, length)
        }
        Hold::TaskManager => FaultKind::PauseTaskManager(task_manager, length),
    }
}

/// Another place near the one that it has.
fn moved(at: &When, scenario: &Scenario, span: VirtualDuration, stream: &mut Stream) -> When {
    match at {
        When::Time(_) => When::Time(VirtualTime(stream.between(0, span.0))),
        When::Step(anchor) => {
            let mut anchor = anchor.clone();
            match stream.below(4) {
                0 => anchor.occurrence = log_between(stream, 1, 16) as u32,
                1 => anchor.delay = VirtualDuration::from_micros(log_between(stream, 1, 200_000)),
                2 => anchor.checkpoint = anchor.checkpoint.map(|id| id + stream.below(3)),
                _ => {
                    let reachable = steps(scenario);
                    let here = reachable.iter().position(|step| *step == anchor.step);
                    let there = here.unwrap_or(0) + stream.between(0, 2) as usize;
                    anchor.step = reachable[there.min(reachable.len() - 1)];
                    anchor.subtask = with_subtask(anchor.subtask, anchor.step);
                }
            }
            When::Step(anchor)
        }
    }
}
