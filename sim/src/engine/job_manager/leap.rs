//! Time in which nothing would happen is leapt over: what the job manager does about it.

use cutline::coordinator::io;
use cutline::time::{VirtualDuration, VirtualTime};

use super::{JobManager, Phase};
use crate::engine::Engine;
use crate::world::{Context, Observer};

/// A job manager that has nothing to do until the next periodic checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idle {
    /// When the last checkpoint completed.
    pub since: VirtualTime,
    /// When the next one is due.
    pub until: VirtualTime,
}

impl JobManager {
    /// Whether all that is under way is the job itself, and until when.
    pub fn idle(&self) -> Option<Idle> {
        let coordinator = self.coordinator.as_ref().filter(|_| self.phase == Phase::Running)?;
        let calm = self.discards.is_empty() && self.inbox.is_empty() && self.stop.is_none();
        let (since, until) = coordinator.idle().filter(|_| calm)?;
        Some(Idle { since, until })
    }

    /// Whole intervals are leapt over, with their checkpoints.
    pub fn leap(&mut self, by: VirtualDuration) {
        self.leapt += by;
    }

    /// Time without a checkpoint is leapt over: the next one comes so much earlier.
    pub fn skip<O: Observer>(&mut self, by: VirtualDuration, ctx: &mut Context<'_, Engine, O>) {
        self.leapt += by;
        self.coordinate(io::Input::Skip { by }, ctx);
    }
}
