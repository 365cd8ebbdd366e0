//! Check *restore*: a job goes back to its newest durable checkpoint, wholly, and can.
//!
//! - Recovery chooses the newest durable checkpoint; an older one only if every newer one cannot
//!   be read (an honest fallback). All tasks take over from the chosen one.
//! - A checkpoint does not become durable after recovery has chosen an older one.
//! - The last restorable checkpoint is not given up before a newer one is durable.
//! - What is retained can be restored from storage alone (the shadow restore; what it gives is
//!   judged by *state*).

use cutline::ids::CheckpointId;
use cutline::time::VirtualTime;

use super::violation::{Class, Report, Subject};
use super::{RestoreOracle, ShadowError};
use crate::observe::Observation;

pub(super) const NAME: &str = "restore";

#[derive(Clone, Debug, Default)]
pub(super) struct Restore {
    judged: u64,
    /// Number of the execution, from 0.
    execution: u32,
    /// The execution that triggered a checkpoint, and whether recovery may use it.
    triggered: Vec<(CheckpointId, u32, Owner)>,
    /// Durable and not subsumed.
    durable: Vec<(CheckpointId, Owner)>,
    /// What the present execution started from.
    chosen: Option<CheckpointId>,
    /// An older checkpoint was chosen; is it a fallback?
    doubted: bool,
    ended: bool,
}

/// Flink (since 1.15): a savepoint is its user's; recovery does not start from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    System,
    User,
}

impl Restore {
    /// Restore points, restored tasks, shadow restores, subsumptions.
    pub(super) fn judged(&self) -> u64 {
        self.judged
    }

    /// The checkpoints that can be restored, oldest first.
    pub(super) fn retained(&self) -> impl Iterator<Item = CheckpointId> {
        self.durable.iter().map(|(checkpoint, _)| *checkpoint)
    }

    fn newest(&self) -> Option<CheckpointId> {
        let by_system = self.durable.iter().filter(|(_, owner)| *owner == Owner::System);
        by_system.map(|(checkpoint, _)| *checkpoint).max()
    }

    pub(super) fn observe(
        &mut self,
        now: VirtualTime,
        observation: &Observation,
        report: &mut Report,
    ) {
        match *observation {
            Observation::Triggered { checkpoint, kind, .. } => {
                let owner = if kind.is_savepoint() { Owner::User } else { Owner::System };
                self.triggered.push((checkpoint, self.execution, owner));
            }
            Observation::Failed { checkpoint, .. } => {
                self.triggered.retain(|(triggered, ..)| *triggered != checkpoint);
            }
            Observation::Durable { checkpoint } => self.on_durable(now, checkpoint, report),
            Observation::Subsumed { checkpoint } => self.on_subsumed(now, checkpoint, report),
            Observation::RestoreChosen { checkpoint } => self.on_chosen(now, checkpoint, report),
            Observation::TaskRestored { subtask, checkpoint } => {
                self.judged += 1;
                if checkpoint != self.chosen {
                    let what = (NAME, Class::InconsistentCut, "a task restored something else");
                    let subject = Subject { checkpoint, ..Subject::subtask(subtask) };
                    report.add(what, now, subject, || {
                        let (is, should) = (name(checkpoint), name(self.chosen));
                        format!("{subtask} restored {is}, recovery has chosen {should}")
                    });
                }
            }
            Observation::JobEnded { .. } => self.ended = true,
            _ => {}
        }
    }

    fn on_durable(&mut self, now: VirtualTime, checkpoint: CheckpointId, report: &mut Report) {
        let at = self.triggered.iter().position(|(triggered, ..)| *triggered == checkpoint);
        // One that nobody triggered was there before the run; it is nobody's execution.
        let (execution, owner) = match at {
            Some(index) => {
                let (_, execution, owner) = self.triggered.swap_remove(index);
                (execution, owner)
            }
            None => (self.execution, Owner::System),
        };
        self.durable.push((checkpoint, owner));
        self.judged += 1;
        if execution != self.execution && Some(checkpoint) > self.chosen {
            let what = (NAME, Class::Duplication, "durable behind the back of recovery");
            report.add(what, now, Subject::checkpoint(checkpoint), || {
                let chosen = name(self.chosen);
                format!("{checkpoint} became durable after the job had gone back to {chosen}")
            });
        }
    }

    fn on_subsumed(&mut self, now: VirtualTime, checkpoint: CheckpointId, report: &mut Report) {
        self.judged += 1;
        let last = self.newest() == Some(checkpoint);
        self.durable.retain(|(durable, _)| *durable != checkpoint);
        if last && !self.ended {
            let what = (NAME, Class::UnusableCheckpoint, "the newest checkpoint was given up");
            report.add(what, now, Subject::checkpoint(checkpoint), || {
                format!("{checkpoint} was given up while no newer checkpoint is durable")
            });
        }
    }

    fn on_chosen(&mut self, now: VirtualTime, chosen: Option<CheckpointId>, report: &mut Report) {
        self.judged += 1;
        self.execution += 1;
        self.chosen = chosen;
        let durable = |id: CheckpointId| self.durable.iter().any(|(durable, _)| *durable == id);
        if let Some(checkpoint) = chosen
            && !durable(checkpoint)
        {
            let what = (NAME, Class::UnusableCheckpoint, "restored what is not retained");
            report.add(what, now, Subject::checkpoint(checkpoint), || {
                format!("recovery has chosen {checkpoint}, which is not durable or was given up")
            });
        }
        self.doubted = chosen < self.newest();
    }

    /// Whether storage must say if a fallback was honest.
    pub(super) fn is_doubted(&self) -> bool {
        self.doubted
    }

    /// Asks storage whether the newer checkpoints could not be read.
    pub(super) fn judge_fallback(
        &mut self,
        now: VirtualTime,
        oracle: &mut dyn RestoreOracle,
        report: &mut Report,
    ) {
        self.doubted = false;
        let newer = self.durable.iter().filter(|(_, owner)| *owner == Owner::System);
        for (checkpoint, _) in newer.filter(|(id, _)| Some(*id) > self.chosen) {
            if matches!(oracle.shadow(*checkpoint), Some(Err(_))) {
                continue;
            }
            let what = (NAME, Class::Duplication, "not the newest checkpoint");
            report.add(what, now, Subject::checkpoint(*checkpoint), || {
                let chosen = name(self.chosen);
                format!("the job went back to {chosen} although {checkpoint} is durable and whole")
            });
        }
    }

    /// A retained checkpoint could, or could not, be read.
    pub(super) fn judge_shadow(
        &mut self,
        now: VirtualTime,
        checkpoint: CheckpointId,
        error: Option<&ShadowError>,
        report: &mut Report,
    ) {
        self.judged += 1;
        if let Some(error) = error {
            let what = (NAME, Class::UnusableCheckpoint, "a retained checkpoint cannot be read");
            report.add(what, now, Subject::checkpoint(checkpoint), || {
                format!("{checkpoint} cannot be restored: {error}")
            });
        }
    }
}

fn name(checkpoint: Option<CheckpointId>) -> String {
    checkpoint.map_or_else(|| "the start".to_owned(), |checkpoint| checkpoint.to_string())
}
