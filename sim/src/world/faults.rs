//! Scripted faults, resolved to processes and links.

use cutline::ids::{CheckpointId, SubtaskId};
use cutline::step::Step;
use cutline::time::{ClockOffset, VirtualDuration, VirtualTime};

use super::{ProcessId, Service};
use crate::scenario::model::{Direction, Disturbance, ExternalOperation, StorageOperation};

/// A fault inside a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// The user code of a subtask throws.
    Throw(SubtaskId),
    /// A subtask's thread stops for a while.
    Pause(SubtaskId, VirtualDuration),
}

/// When a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlannedWhen {
    /// At a time.
    Time(VirtualTime),
    /// When [`World::strike_at`](super::World::strike_at) says so.
    Announced,
    /// So long after the `occurrence`-th time that a step is reached.
    Step {
        /// The step.
        step: Step,
        /// Only for this checkpoint.
        checkpoint: Option<CheckpointId>,
        /// Only at this subtask.
        subtask: Option<SubtaskId>,
        /// Counted from 1.
        occurrence: u32,
        /// So long afterwards.
        delay: VirtualDuration,
    },
}

/// What a fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlannedFaultKind {
    /// Handed to every process (the one that runs the subtask acts).
    Command(Command),
    /// The process dies.
    Crash(ProcessId),
    /// The process does nothing for a while.
    Pause(ProcessId, VirtualDuration),
    /// The process that leads dies.
    CrashLeader,
    /// The process that leads does nothing for a while.
    PauseLeader(VirtualDuration),
    /// Latencies between two hosts, both ways, are multiplied for a while.
    SlowLink(ProcessId, ProcessId, u64, VirtualDuration),
    /// Nothing arrives between two hosts for a while.
    CutLink(ProcessId, ProcessId, Direction, VirtualDuration),
    /// Messages that may be repeated arrive a second time, so much later, for a while.
    RepeatMessages(ProcessId, ProcessId, VirtualDuration, VirtualDuration),
    /// Each control message between two hosts is lost with a chance, in thousandths, for a while.
    LoseMessages(ProcessId, ProcessId, Direction, u32, VirtualDuration),
    /// What comes within one window goes on in a drawn order, with so many changes of it, for a while.
    Reorder(VirtualDuration, u32, VirtualDuration),
    /// The clock of a host, or of that of the process that leads, runs at another pace, in thousandths,
    /// for a while.
    DriftClock(Option<ProcessId>, u32, VirtualDuration),
    /// The absolute clock of a host, or of that of the process that leads, is so far ahead for a while.
    StepClock(Option<ProcessId>, ClockOffset, VirtualDuration),
    /// The host of the object store crashes, and is back after a while.
    CrashStorageHost(VirtualDuration),
    /// Requests take so much longer, for a while.
    SlowStorage(StorageOperation, VirtualDuration, VirtualDuration),
    /// The next requests fail.
    FailStorage(StorageOperation, u32),
    /// The next requests do not go as they should.
    DisturbStorage(StorageOperation, Disturbance, u32),
    /// A bit of the newest object flips.
    DamageObject(StorageOperation),
    /// Requests to the external system take so much longer, for a while.
    SlowExternal(ExternalOperation, VirtualDuration, VirtualDuration),
    /// The next requests to the external system fail.
    FailExternal(ExternalOperation, u32),
    /// The next requests to the external system are done and reported as failed.
    AmbiguousExternal(ExternalOperation, u32),
    /// Nothing passes between a process, or the one that leads, and a service for a while.
    CutService(Service, Option<ProcessId>, Direction, VirtualDuration),
}

impl PlannedFaultKind {
    /// How long it acts; zero if it strikes once.
    pub fn span(self) -> VirtualDuration {
        match self {
            Self::Pause(_, span)
            | Self::PauseLeader(span)
            | Self::SlowLink(_, _, _, span)
            | Self::CutLink(_, _, _, span)
            | Self::CutService(_, _, _, span)
            | Self::RepeatMessages(_, _, _, span)
            | Self::LoseMessages(_, _, _, _, span)
            | Self::Reorder(_, _, span)
            | Self::DriftClock(_, _, span)
            | Self::StepClock(_, _, span)
            | Self::CrashStorageHost(span)
            | Self::SlowStorage(_, _, span)
            | Self::SlowExternal(_, _, span)
            | Self::Command(Command::Pause(_, span)) => span,
            Self::Command(Command::Throw(_))
            | Self::Crash(_)
            | Self::CrashLeader
            | Self::FailStorage(..)
            | Self::DisturbStorage(..)
            | Self::DamageObject(_)
            | Self::FailExternal(..)
            | Self::AmbiguousExternal(..) => VirtualDuration::ZERO,
        }
    }
}

impl PlannedFaultKind {
    /// Whether it makes a clock wrong.
    pub(super) fn concerns_clocks(self) -> bool {
        match self {
            Self::DriftClock(..) | Self::StepClock(..) => true,
            Self::Command(_)
            | Self::Crash(_)
            | Self::CrashLeader
            | Self::Pause(..)
            | Self::PauseLeader(_)
            | Self::SlowLink(..)
            | Self::CutLink(..)
            | Self::RepeatMessages(..)
            | Self::LoseMessages(..)
            | Self::Reorder(..)
            | Self::CrashStorageHost(_)
            | Self::SlowStorage(..)
            | Self::FailStorage(..)
            | Self::DisturbStorage(..)
            | Self::DamageObject(_)
            | Self::SlowExternal(..)
            | Self::FailExternal(..)
            | Self::AmbiguousExternal(..)
            | Self::CutService(..) => false,
        }
    }
}

/// A fault of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedFault {
    /// When.
    pub when: PlannedWhen,
    /// What.
    pub kind: PlannedFaultKind,
}

/// What is left of the plan, and what it does to storage and to the external system now.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) plan: Vec<PlannedFault>,
    pub(super) armed: Armed,
    pub(super) slow: Vec<(StorageOperation, VirtualDuration, VirtualTime)>,
    pub(super) fail: Vec<(StorageOperation, (), u32)>,
    pub(super) disturb: Vec<(StorageOperation, Disturbance, u32)>,
    pub(super) external: ExternalTroubles,
    /// Those by which a control message was lost.
    pub(super) have_lost: Vec<u32>,
}

/// What faults do to the external system now.
#[derive(Debug, Default)]
pub(super) struct ExternalTroubles {
    pub(super) slow: Vec<(ExternalOperation, VirtualDuration, VirtualTime)>,
    /// Requests that fail; the mark says that they are done all the same.
    pub(super) fail: Vec<(ExternalOperation, Applied, u32)>,
}

/// Whether a request that fails was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    No,
    Yes,
}

impl ExternalTroubles {
    /// Extra time that a request takes now.
    pub(super) fn delay(&self, operation: ExternalOperation, now: VirtualTime) -> VirtualDuration {
        delay(&self.slow, now, |slow| slow.concerns(operation))
    }

    /// Whether a request fails now, and how; uses up one failure.
    pub(super) fn fails(&mut self, operation: ExternalOperation) -> Option<Applied> {
        use_up(&mut self.fail, |fail, _| fail.concerns(operation))
    }
}

/// The sum of what slows a request down now.
fn delay<K: Copy>(
    slow: &[(K, VirtualDuration, VirtualTime)],
    now: VirtualTime,
    concerns: impl Fn(K) -> bool,
) -> VirtualDuration {
    let acts = |(kind, _, until): &&(K, _, VirtualTime)| concerns(*kind) && now < *until;
    slow.iter().filter(acts).fold(VirtualDuration::ZERO, |sum, (_, by, _)| sum + *by)
}

/// Uses up one of the first trouble that is left and fits.
fn use_up<K: Copy, H: Copy>(
    troubles: &mut [(K, H, u32)],
    fits: impl Fn(K, H) -> bool,
) -> Option<H> {
    let (_, how, left) =
        troubles.iter_mut().find(|(kind, how, left)| *left > 0 && fits(*kind, *how))?;
    *left -= 1;
    Some(*how)
}

/// What waits for a step: places in a plan, with how many times the step must still be reached.
#[derive(Debug, Default)]
pub(super) struct Armed(Vec<(u32, u32)>);

impl Armed {
    /// What of a plan waits for a step.
    pub(super) fn of(plan: impl Iterator<Item = PlannedWhen>) -> Self {
        let waits = (0..).zip(plan).filter_map(|(index, when)| match when {
            PlannedWhen::Time(_) | PlannedWhen::Announced => None,
            PlannedWhen::Step { occurrence, .. } => Some((index, occurrence)),
        });
        Self(waits.collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What comes now that a step was reached, each with its delay.
    pub(super) fn reached(
        &mut self,
        plan: impl Fn(u32) -> PlannedWhen,
        (step, checkpoint, subtask): (Step, Option<CheckpointId>, Option<SubtaskId>),
    ) -> Vec<(u32, VirtualDuration)> {
        let mut strike = Vec::new();
        self.0.retain_mut(|(index, left)| {
            let PlannedWhen::Step { step: at, checkpoint: only, subtask: place, delay, .. } =
                plan(*index)
            else {
                unreachable!("only what waits for a step is armed");
            };
            let matches = at == step
                && (only.is_none() || only == checkpoint)
                && (place.is_none() || place == subtask);
            if matches {
                *left -= 1;
                if *left == 0 {
                    strike.push((*index, delay));
                }
            }
            *left > 0
        });
        strike
    }
}

impl Faults {
    pub(super) fn new(plan: Vec<PlannedFault>) -> Self {
        let armed = Armed::of(plan.iter().map(|fault| fault.when));
        Self { plan, armed, ..Self::default() }
    }

    /// The faults that strike now that a step was reached, each with its delay.
    pub(super) fn reached(
        &mut self,
        step: Step,
        checkpoint: Option<CheckpointId>,
        subtask: Option<SubtaskId>,
    ) -> Vec<(u32, VirtualDuration)> {
        let plan = &self.plan;
        self.armed.reached(|index| plan[index as usize].when, (step, checkpoint, subtask))
    }

    /// Extra time that a request takes now.
    pub(super) fn delay(&self, operation: StorageOperation, now: VirtualTime) -> VirtualDuration {
        delay(&self.slow, now, |slow| slow.concerns(operation))
    }

    /// Whether a request fails now; uses up one failure.
    pub(super) fn fails(&mut self, operation: StorageOperation) -> bool {
        use_up(&mut self.fail, |fail, ()| fail.concerns(operation)).is_some()
    }

    /// What becomes of a request that does not go as it should; uses up one disturbance. The oldest
    /// that can befall it comes first.
    pub(super) fn disturbs(&mut self, operation: StorageOperation) -> Option<Disturbance> {
        let fits = |concerned: StorageOperation, how: Disturbance| {
            concerned.concerns(operation) && how.befalls(operation)
        };
        use_up(&mut self.disturb, fits)
    }
}
