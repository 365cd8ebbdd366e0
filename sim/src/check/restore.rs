//! Check *restore*: a job goes back to its newest durable checkpoint, wholly, and can.
//!
//! - Recovery chooses the newest durable checkpoint; an older one only if every newer one cannot
//!   be read (an honest fallback). All tasks take over from the chosen one.
//! - A checkpoint does not become durable after recovery has chosen an older one.
//! - The last restorable checkpoint is not given up before a newer one is durable.
//! - What is damaged by the world is noticed: neither is it the protocol's fault, nor may it be read as
//!   if it were whole.
//! - What is retained can be restored from storage alone (the shadow restore; what it gives is
//!   judged by *state*).

use cutline::ids::CheckpointId;
use cutline::message::SnapshotKind;
use cutline::time::VirtualTime;

use super::storage::discards;
use super::violation::{Class, Report, Subject};
use super::{RestoreOracle, Setup, ShadowError};
use crate::observe::Observation;

pub(super) const NAME: &str = "restore";

#[derive(Clone, Debug)]
pub(super) struct Restore {
    judged: u64,
    /// Number of the execution, from 0.
    execution: u32,
    /// The execution that triggered a checkpoint, and whether recovery may use it.
    triggered: Vec<(CheckpointId, u32, Owner)>,
    /// Durable and not subsumed.
    durable: Vec<(CheckpointId, Owner)>,
    /// Those that some region has gone back behind while they were pending.
    left_behind: Vec<CheckpointId>,
    /// What the present execution started from, or a region of it since.
    chosen: Option<CheckpointId>,
    /// By region, what it started from.
    chosen_by: Vec<Option<CheckpointId>>,
    /// An older checkpoint was chosen; is it a fallback?
    doubted: bool,
    ended: bool,
    /// The job has ended in a way that discards its checkpoints, also those that become durable
    /// only now.
    discards: bool,
}

/// Whose a snapshot is, and what that means for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// The job's: recovery starts from the newest.
    System,
    /// The user's, but recovery may start from it: a savepoint the job was to stop with, or one that
    /// it was started from.
    Lent,
    /// The user's. Flink (since 1.15): recovery does not start from it.
    User,
    /// The user's, who has let a job claim files of it: whether it can be restored is chance.
    GivenAway,
}

impl Owner {
    fn of(kind: SnapshotKind) -> Self {
        match (kind.is_savepoint(), kind.is_synchronous()) {
            (false, _) => Self::System,
            (true, true) => Self::Lent,
            (true, false) => Self::User,
        }
    }
}

impl Restore {
    pub(super) fn new(setup: &Setup) -> Self {
        Self {
            judged: 0,
            execution: 0,
            triggered: Vec::new(),
            left_behind: Vec::new(),
            durable: Vec::new(),
            chosen: None,
            chosen_by: vec![None; setup.graph.regions().count()],
            doubted: false,
            ended: false,
            discards: false,
        }
    }

    /// Restore points, restored tasks, shadow restores, subsumptions.
    pub(super) fn judged(&self) -> u64 {
        self.judged
    }

    /// The checkpoints that can be restored, oldest first.
    pub(super) fn retained(&self) -> impl Iterator<Item = CheckpointId> {
        let promised = self.durable.iter().filter(|(_, owner)| *owner != Owner::GivenAway);
        promised.map(|(checkpoint, _)| *checkpoint)
    }

    /// Those that recovery may start from.
    fn restorable(&self) -> impl Iterator<Item = CheckpointId> {
        let of_the_job = |owner: &Owner| matches!(owner, Owner::System | Owner::Lent);
        let restorable = self.durable.iter().filter(move |(_, owner)| of_the_job(owner));
        restorable.map(|(checkpoint, _)| *checkpoint)
    }

    fn newest(&self) -> Option<CheckpointId> {
        self.restorable().max()
    }

    /// A job has claimed files of a snapshot that is not its own.
    pub(super) fn on_given_away(&mut self, given: CheckpointId) {
        let mut durable = self.durable.iter_mut();
        if let Some((_, owner)) = durable.find(|(checkpoint, _)| *checkpoint == given) {
            *owner = Owner::GivenAway;
        }
    }

    pub(super) fn observe(
        &mut self,
        now: VirtualTime,
        observation: &Observation,
        setup: &Setup,
        report: &mut Report,
    ) {
        match *observation {
            Observation::Triggered { checkpoint, kind, .. } => {
                self.triggered.push((checkpoint, self.execution, Owner::of(kind)));
            }
            Observation::Failed { checkpoint, .. } => {
                self.triggered.retain(|(triggered, ..)| *triggered != checkpoint);
            }
            Observation::Durable { checkpoint } => self.on_durable(now, checkpoint, report),
            Observation::Subsumed { checkpoint } => self.on_subsumed(now, checkpoint, report),
            Observation::RestoreChosen { checkpoint } => {
                self.execution += 1;
                self.chosen_by.fill(checkpoint);
                self.on_chosen(now, checkpoint, report);
            }
            Observation::RegionRestored { region, checkpoint } => {
                self.chosen_by[region.index()] = checkpoint;
                let behind = self.triggered.iter().map(|(triggered, ..)| *triggered);
                self.left_behind.extend(behind.filter(|id| Some(*id) > checkpoint));
                self.on_chosen(now, checkpoint, report);
            }
            Observation::TaskRestored { subtask, checkpoint } => {
                self.judged += 1;
                let chosen = self.chosen_by[setup.graph.regions().of(subtask).index()];
                if checkpoint != chosen {
                    let what = (NAME, Class::InconsistentCut, "a task restored something else");
                    let subject = Subject { checkpoint, ..Subject::subtask(subtask) };
                    report.add(what, now, subject, || {
                        let (is, should) = (name(checkpoint), name(chosen));
                        format!("{subtask} restored {is}, recovery has chosen {should}")
                    });
                }
            }
            Observation::Adopted { checkpoint, claimed } => self.on_adopted(checkpoint, claimed),
            Observation::JobEnded { end } => {
                self.ended = true;
                self.discards = discards(end, setup);
                if self.discards {
                    self.durable.retain(|(_, owner)| *owner != Owner::System);
                }
            }
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
        if !(self.discards && owner == Owner::System) {
            self.durable.push((checkpoint, owner));
        }
        self.judged += 1;
        if self.left_behind.contains(&checkpoint) {
            // Some of its parts are of attempts whose work was done anew since.
            let what = (NAME, Class::InconsistentCut, "durable behind the back of a region");
            report.add(what, now, Subject::checkpoint(checkpoint), || {
                let chosen = name(self.chosen);
                format!(
                    "{checkpoint} became durable after a region, which has a part in it, had gone \
                     back to {chosen}"
                )
            });
        }
        if execution != self.execution && Some(checkpoint) > self.chosen {
            let what = (NAME, Class::Duplication, "durable behind the back of recovery");
            report.add(what, now, Subject::checkpoint(checkpoint), || {
                let chosen = name(self.chosen);
                format!("{checkpoint} became durable after the job had gone back to {chosen}")
            });
        }
    }

    /// A new job begins from a snapshot of the last one, all of whose others are the user's.
    fn on_adopted(&mut self, adopted: CheckpointId, claimed: bool) {
        self.judged += 1;
        (self.ended, self.discards) = (false, false);
        self.triggered.clear();
        for (checkpoint, owner) in &mut self.durable {
            *owner = match (*checkpoint == adopted, claimed, *owner) {
                (true, true, _) => Owner::System,
                (true, false, _) => Owner::Lent,
                (false, _, Owner::GivenAway) => Owner::GivenAway,
                (false, ..) => Owner::User,
            };
        }
    }

    fn on_subsumed(&mut self, now: VirtualTime, checkpoint: CheckpointId, report: &mut Report) {
        self.judged += 1;
        let last = self.newest() == Some(checkpoint);
        let lent = |(durable, owner): &&mut (CheckpointId, Owner)| {
            *durable == checkpoint && *owner != Owner::System
        };
        match self.durable.iter_mut().find(lent) {
            Some((_, owner @ Owner::Lent)) => *owner = Owner::User,
            Some(_) => {
                let what = (NAME, Class::UnusableCheckpoint, "a savepoint was subsumed");
                report.add(what, now, Subject::checkpoint(checkpoint), || {
                    format!("{checkpoint} is the user's, and no checkpoint takes its place")
                });
            }
            None => self.durable.retain(|(durable, _)| *durable != checkpoint),
        }
        if last && !self.ended {
            let what = (NAME, Class::UnusableCheckpoint, "the newest checkpoint was given up");
            report.add(what, now, Subject::checkpoint(checkpoint), || {
                format!("{checkpoint} was given up while no newer checkpoint is durable")
            });
        }
    }

    fn on_chosen(&mut self, now: VirtualTime, chosen: Option<CheckpointId>, report: &mut Report) {
        self.judged += 1;
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
        for checkpoint in self.restorable().filter(|id| Some(*id) > self.chosen) {
            if matches!(oracle.shadow(checkpoint), Some(Err(_))) {
                continue;
            }
            let what = (NAME, Class::Duplication, "not the newest checkpoint");
            report.add(what, now, Subject::checkpoint(checkpoint), || {
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
        (error, damaged): (Option<&ShadowError>, bool),
        report: &mut Report,
    ) {
        self.judged += 1;
        if damaged {
            if error.is_none() {
                let what = (NAME, Class::UnusableCheckpoint, "damage was not noticed");
                report.add(what, now, Subject::checkpoint(checkpoint), || {
                    format!("a file of {checkpoint} is damaged, and was read as if it were whole")
                });
            }
            return;
        }
        if let Some(error) = error {
            let what = (NAME, Class::UnusableCheckpoint, "a retained checkpoint cannot be read");
            let subject = Subject::checkpoint(checkpoint);
            let subject = match error {
                ShadowError::Missing { file, .. } => subject.with_file(*file),
                ShadowError::Damaged { .. } => subject,
            };
            report.add(what, now, subject, || format!("{checkpoint} cannot be restored: {error}"));
        }
    }
}

fn name(checkpoint: Option<CheckpointId>) -> String {
    checkpoint.map_or_else(|| "the start".to_owned(), |checkpoint| checkpoint.to_string())
}
