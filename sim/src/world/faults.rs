//! Scripted faults, resolved to processes and links.

use cutline::ids::{CheckpointId, SubtaskId};
use cutline::step::Step;
use cutline::time::{VirtualDuration, VirtualTime};

use super::ProcessId;
use crate::scenario::model::{Disturbance, ExternalOperation, StorageOperation};

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
    /// Latencies between two hosts, both ways, are multiplied for a while.
    SlowLink(ProcessId, ProcessId, u64, VirtualDuration),
    /// Nothing arrives between two hosts, either way, for a while.
    CutLink(ProcessId, ProcessId, VirtualDuration),
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
    /// Nothing passes between a process and the external system, either way, for a while.
    CutExternal(ProcessId, VirtualDuration),
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
    pub(super) fail: Vec<(StorageOperation, u32)>,
    pub(super) disturb: Vec<(StorageOperation, Disturbance, u32)>,
    pub(super) external: ExternalTroubles,
}

/// What faults do to the external system now.
#[derive(Debug, Default)]
pub(super) struct ExternalTroubles {
    pub(super) slow: Vec<(ExternalOperation, VirtualDuration, VirtualTime)>,
    /// Requests that fail; the mark says that they are done all the same.
    pub(super) fail: Vec<(ExternalOperation, u32, Applied)>,
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
        self.slow
            .iter()
            .filter(|(slow, _, until)| slow.concerns(operation) && now < *until)
            .fold(VirtualDuration::ZERO, |sum, (_, by, _)| sum + *by)
    }

    /// Whether a request fails now, and how; uses up one failure.
    pub(super) fn fails(&mut self, operation: ExternalOperation) -> Option<Applied> {
        let mut failures = self.fail.iter_mut();
        let (_, left, applied) =
            failures.find(|(fail, left, _)| fail.concerns(operation) && *left > 0)?;
        *left -= 1;
        Some(*applied)
    }
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
        self.slow
            .iter()
            .filter(|(slow, _, until)| concerns(*slow, operation) && now < *until)
            .fold(VirtualDuration::ZERO, |sum, (_, by, _)| sum + *by)
    }

    /// Whether a request fails now; uses up one failure.
    pub(super) fn fails(&mut self, operation: StorageOperation) -> bool {
        match self.fail.iter_mut().find(|(fail, left)| concerns(*fail, operation) && *left > 0) {
            Some((_, left)) => {
                *left -= 1;
                true
            }
            None => false,
        }
    }

    /// What becomes of a request that does not go as it should; uses up one disturbance. The oldest
    /// that can befall it comes first.
    pub(super) fn disturbs(&mut self, operation: StorageOperation) -> Option<Disturbance> {
        let mut open = self.disturb.iter_mut();
        let (_, how, left) = open.find(|(concerned, how, left)| {
            *left > 0 && concerns(*concerned, operation) && how.befalls(operation)
        })?;
        *left -= 1;
        Some(*how)
    }
}

fn concerns(fault: StorageOperation, operation: StorageOperation) -> bool {
    fault == StorageOperation::Any || fault == operation
}
