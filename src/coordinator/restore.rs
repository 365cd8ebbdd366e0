//! Going back to a checkpoint (steps R2, R3 and R5), and the end.

use super::*;
use crate::coordinator::completed::Cleanup;
use crate::trigger::policy::Share;

/// The end of the job, as far as it concerns completed checkpoints.
#[derive(Debug)]
pub(super) enum Ending<P> {
    /// A pointer write is out: the checkpoint may be one more.
    Deciding(JobStatus),
    /// Pointers are being removed; the files go after the last.
    RemovingPointers { left: usize, cleanup: Cleanup<P> },
}

impl<P> Coordinator<P> {
    pub(super) fn on_restore(
        &mut self,
        now: VirtualTime,
        scope: RestoreScope,
        out: &mut Vec<Output<P>>,
    ) {
        if self.shut_down {
            return;
        }
        let of = self.topology.subtasks() as u32;
        let subtasks = match scope {
            RestoreScope::Global => of,
            RestoreScope::Region { subtasks } => subtasks,
        };
        self.policy.restored(now, Share { subtasks, of });
        if self.is_deciding() && !self.config.defects.has(Defect::D11) {
            self.restore_waiting = Some(scope);
        } else {
            self.restore(scope, out);
        }
    }

    /// R2 and R5. Its shared files are registered already (R3): the registry lives as long as we.
    fn restore(&mut self, scope: RestoreScope, out: &mut Vec<Output<P>>) {
        let periodic = |it: &&Retained<P>| !it.checkpoint.kind.is_synchronous();
        let latest = match self.config.defects.has(Defect::D84) {
            true => self.store.retained().filter(periodic).last().cloned(),
            false => self.store.latest().cloned(),
        };
        if let Some(retained) = &latest {
            self.force_full = retained.checkpoint.unclaimed;
            self.statistics.restored(retained.checkpoint.id);
        }
        // A region is none of theirs: they are told which subtasks begin again, by whoever restarts them.
        if scope == RestoreScope::Global || self.config.defects.has(Defect::D13) {
            for &coordinator in &self.coordinators {
                out.push(Output::ResetCoordinator { coordinator, checkpoint: latest.clone() });
            }
        }
        out.push(Output::Restored { checkpoint: latest, scope });
    }

    pub(super) fn on_shutdown(&mut self, status: Option<JobStatus>, out: &mut Vec<Output<P>>) {
        if !self.shut_down {
            self.shut_down = true;
            self.scheduling = false;
            self.set_periodic(None);
            let reason = FailureReason::CheckpointCoordinatorShutdown;
            self.abort_queued_and_pending(reason, out);
        }
        match status {
            Some(status) if self.is_deciding() => self.ending = Some(Ending::Deciding(status)),
            Some(status) => self.end(status, out),
            None => {}
        }
    }

    /// What waited for the decision of a checkpoint.
    pub(super) fn after_decision(&mut self, out: &mut Vec<Output<P>>) {
        if let Some(scope) = self.restore_waiting.take()
            && !self.shut_down
        {
            self.restore(scope, out);
        }
        match self.ending.take() {
            Some(Ending::Deciding(status)) => self.end(status, out),
            ending => self.ending = ending,
        }
    }

    /// Deals with the completed checkpoints as their retention asks.
    fn end(&mut self, status: JobStatus, out: &mut Vec<Output<P>>) {
        let (pointers, mut cleanup) = self.store.shutdown(status);
        // A leader that steps down is the only one to know of what is subsumed, and of shared files
        // that no decided checkpoint has. The rest is its successor's.
        let suspended = status == JobStatus::Suspended;
        if self.config.drains_shared && suspended {
            let Cleanup { shared, checkpoints } = self.store.leave_to_successor();
            cleanup.shared.extend(shared);
            cleanup.checkpoints.extend(checkpoints);
        }
        if self.config.drains_shared && (suspended || status.is_globally_terminal()) {
            cleanup.shared.extend(self.store.drain_shared());
        }
        if pointers.is_empty() {
            return self.clean(cleanup, out);
        }
        let left = pointers.len();
        self.ending = Some(Ending::RemovingPointers { left, cleanup });
        for id in pointers {
            self.remove_pointer(id, out);
        }
    }

    pub(super) fn on_pointer_removed(
        &mut self,
        token: Token,
        removed: bool,
        out: &mut Vec<Output<P>>,
    ) {
        let id = match self.work.remove(&token) {
            Some(Work::RemovePointer(id)) => id,
            other => panic!("{token:?} is {other:?}, no pointer to remove"),
        };
        if self.store.is_leaving(id) {
            self.store.pointer_removed(id, removed);
            let cleanup = self.store.clean();
            return self.clean(cleanup, out);
        }
        match self.ending.take() {
            Some(Ending::RemovingPointers { left: 1, mut cleanup }) => {
                if !removed {
                    cleanup.keep(id);
                }
                self.clean(cleanup, out);
            }
            Some(Ending::RemovingPointers { left, mut cleanup }) => {
                if !removed {
                    cleanup.keep(id);
                }
                let left = left - 1;
                self.ending = Some(Ending::RemovingPointers { left, cleanup });
            }
            ending => panic!("the pointer of {id} was removed while {}", ending.is_some()),
        }
    }
}
