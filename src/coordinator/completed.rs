//! Completed checkpoints, and which of them are kept (steps F3 and F4).
//!
//! In Flink: `StandaloneCompletedCheckpointStore`, `DefaultCompletedCheckpointStore`,
//! `CheckpointSubsumeHelper`, and the part of `CheckpointsCleaner` that decides.
//!
//! The store decides and remembers; writing and removing pointers and deleting files is asked of
//! the caller. The order is what matters: a pointer goes before the files behind it.
//!
//! Invariants, asserted after every change:
//! - retained checkpoints are in order of their numbers;
//! - no file of a checkpoint is given out for deletion while its pointer may still be there.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::defect::{Defect, Defects};
use crate::ids::{CheckpointId, OperatorId, SubtaskId};
use crate::message::SnapshotKind;
use crate::storage::handle::{FileHandle, SharedFile, SharedHandle, SubtaskState};
use crate::storage::registry::{ClaimMode, RegistryError, SharedStateRegistry};
use crate::time::VirtualTime;

/// Where the job stands. Flink: `JobStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the names are Flink's and say what they mean")]
pub enum JobStatus {
    Initializing,
    Created,
    Running,
    Failing,
    Failed,
    Cancelling,
    Canceled,
    Finished,
    Restarting,
    Suspended,
    Reconciling,
}

impl JobStatus {
    /// Whether the job is over for every job manager. Flink: `isGloballyTerminalState`.
    pub fn is_globally_terminal(self) -> bool {
        matches!(self, Self::Finished | Self::Canceled | Self::Failed)
    }
}

/// Which checkpoints outlive the job. Flink:
/// `execution.checkpointing.externalized-checkpoint-retention`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Retention {
    /// None. Flink: `NO_EXTERNALIZED_CHECKPOINTS`, the default.
    #[default]
    NeverRetainAfterTermination,
    /// Those of a job that failed. Flink: `DELETE_ON_CANCELLATION`.
    RetainOnFailure,
    /// Those of a job that failed or was cancelled. Flink: `RETAIN_ON_CANCELLATION`.
    RetainOnCancellation,
}

/// A snapshot in which every participant took part. Flink: `CompletedCheckpoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletedCheckpoint<P> {
    /// Its number.
    pub id: CheckpointId,
    /// What it is for.
    pub kind: SnapshotKind,
    /// When it was triggered.
    pub timestamp: VirtualTime,
    /// When the last acknowledgement arrived.
    pub acknowledged_at: VirtualTime,
    /// Which job ends leave it in place.
    pub retention: Retention,
    /// Restored without taking ownership: the user owns it like a savepoint.
    pub unclaimed: bool,
    /// Its directory.
    pub location: Arc<str>,
    /// Subtasks that took part, ascending, each with its snapshot; `None`: it had no state.
    pub subtasks: Vec<(SubtaskId, Option<SubtaskState<P>>)>,
    /// Subtasks that had finished before it was triggered, ascending.
    pub finished: Vec<SubtaskId>,
    /// Operators all of whose subtasks had finished, ascending: they are not restored.
    pub finished_operators: Vec<OperatorId>,
    /// Snapshots of the operator coordinators, by operator.
    pub coordinators: Vec<(OperatorId, SubtaskState<P>)>,
}

impl<P> CompletedCheckpoint<P> {
    /// Whether the user owns it, so that it is neither subsumed with deletion nor the base of
    /// an increment.
    pub fn is_users(&self) -> bool {
        self.kind.is_savepoint() || self.unclaimed
    }

    /// The snapshots in it, of subtasks first, then of operator coordinators.
    pub fn states(&self) -> impl Iterator<Item = &SubtaskState<P>> {
        let subtasks = self.subtasks.iter().filter_map(|(_, state)| state.as_ref());
        subtasks.chain(self.coordinators.iter().map(|(_, state)| state))
    }

    /// Files that other checkpoints may refer to.
    pub fn shared(&self) -> impl Iterator<Item = &SharedFile> {
        self.states().flat_map(|state| &state.shared)
    }

    /// Whether a file is part of it.
    pub fn refers_to(&self, file: &FileHandle) -> bool {
        let is_shared = |shared: &SharedFile| match &shared.handle {
            SharedHandle::File(one) => one.path == file.path,
            SharedHandle::Placeholder => false,
        };
        self.states().any(|state| {
            state.private.iter().any(|one| one.path == file.path)
                || state.shared.iter().any(is_shared)
        })
    }

    /// The snapshot an operator coordinator is restored from. Flink drops that of an operator
    /// that has finished for good.
    pub fn coordinator(&self, operator: OperatorId) -> Option<&SubtaskState<P>> {
        if self.finished_operators.contains(&operator) {
            return None;
        }
        let mut states = self.coordinators.iter();
        states.find(|(id, _)| *id == operator).map(|(_, state)| state)
    }

    fn goes_on(&self, status: JobStatus) -> bool {
        if self.is_users() {
            return false;
        }
        match status {
            JobStatus::Finished => true,
            JobStatus::Canceled | JobStatus::Suspended => {
                self.retention != Retention::RetainOnCancellation
            }
            JobStatus::Failed => self.retention == Retention::NeverRetainAfterTermination,
            JobStatus::Initializing
            | JobStatus::Created
            | JobStatus::Running
            | JobStatus::Failing
            | JobStatus::Cancelling
            | JobStatus::Restarting
            | JobStatus::Reconciling => false,
        }
    }
}

/// A completed checkpoint and the file that describes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Retained<P> {
    /// The checkpoint.
    pub checkpoint: Arc<CompletedCheckpoint<P>>,
    /// Its metadata file.
    pub metadata: FileHandle,
}

// By hand, because a shared checkpoint is cloned without cloning its payload.
impl<P> Clone for Retained<P> {
    fn clone(&self) -> Self {
        Self { checkpoint: Arc::clone(&self.checkpoint), metadata: self.metadata.clone() }
    }
}

impl<P> Retained<P> {
    fn id(&self) -> CheckpointId {
        self.checkpoint.id
    }

    fn refers_to(&self, file: &FileHandle) -> bool {
        self.metadata.path == file.path || self.checkpoint.refers_to(file)
    }
}

/// Where the list of retained checkpoints is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// In the coordinator's memory: gone with it. There are no pointers to remove.
    Standalone,
    /// In a high-availability store, one pointer for each checkpoint.
    Default,
}

/// Files to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleanup<P> {
    /// Shared files nobody uses any more.
    pub shared: Vec<FileHandle>,
    /// Checkpoints whose metadata and private files go.
    pub checkpoints: Vec<Retained<P>>,
}

impl<P> Cleanup<P> {
    fn nothing() -> Self {
        Self { shared: Vec::new(), checkpoints: Vec::new() }
    }

    /// Leaves a checkpoint and all its files, as its pointer could not be removed. One that is not
    /// to be deleted has none among them.
    pub fn keep(&mut self, id: CheckpointId) {
        let at = self.checkpoints.iter().position(|retained| retained.id() == id);
        if let Some(kept) = at.map(|at| self.checkpoints.remove(at)) {
            self.shared.retain(|file| !kept.refers_to(file));
        }
    }
}

/// What adding a checkpoint led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// The highest checkpoint subsumed, and whether its files go with it.
    pub subsumed: Option<(CheckpointId, bool)>,
    /// Pointers to remove, each to be answered with [`CompletedStore::pointer_removed`].
    pub remove: Vec<CheckpointId>,
}

/// The store takes no more checkpoints: it was shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store of completed checkpoints is shut down")]
pub struct Closed;

/// The completed checkpoints that can be restored, and those on their way out.
#[derive(Clone, Debug)]
pub struct CompletedStore<P> {
    kind: StoreKind,
    max_retained: usize,
    registry: SharedStateRegistry,
    retained: VecDeque<Retained<P>>,
    /// Subsumed ones whose pointer is being removed, or could not be.
    leaving: BTreeMap<CheckpointId, Retained<P>>,
    /// Subsumed ones whose pointer is gone, but not yet their files.
    subsumed: Vec<Retained<P>>,
    /// The job is over, and these outlive it.
    kept: Vec<Retained<P>>,
    /// The job is over, or another leader's: nothing older than this is kept.
    kept_from: Option<CheckpointId>,
    /// Shared files go, too, that were last used by something newer which came to nothing.
    drains: bool,
    closed: bool,
    defects: Defects,
}

impl<P> CompletedStore<P> {
    /// A store that keeps `max_retained` checkpoints (Flink:
    /// `execution.checkpointing.num-retained`, at least 1).
    pub fn new(kind: StoreKind, max_retained: usize, defects: Defects) -> Self {
        Self {
            kind,
            max_retained: max_retained.max(1),
            registry: SharedStateRegistry::new(),
            retained: VecDeque::new(),
            leaving: BTreeMap::new(),
            subsumed: Vec::new(),
            kept: Vec::new(),
            kept_from: None,
            drains: false,
            closed: false,
            defects,
        }
    }

    /// Takes over what a former leader left or what the user named (steps R2 and R3). Checkpoints
    /// come in order of their numbers.
    ///
    /// # Errors
    /// Their shared files contradict each other.
    pub fn recover(
        &mut self,
        checkpoints: impl IntoIterator<Item = Retained<P>>,
        mode: ClaimMode,
    ) -> Result<(), RegistryError> {
        let mut checkpoints: Vec<_> = checkpoints.into_iter().collect();
        if self.defects.has(Defect::D18) {
            checkpoints.sort_by_key(|retained| retained.id().0.to_string());
        }
        if self.defects.has(Defect::D31) {
            checkpoints.drain(..checkpoints.len().saturating_sub(1));
        }
        for retained in checkpoints {
            let checkpoint = &retained.checkpoint;
            let mode = if checkpoint.unclaimed { ClaimMode::NoClaim } else { mode };
            let files = checkpoint.shared().filter(|_| !self.defects.has(Defect::D34));
            self.registry.restore(checkpoint.id, checkpoint.kind, mode, files)?;
            self.retained.push_back(retained);
        }
        self.check();
        Ok(())
    }

    /// The registry of shared files.
    pub fn registry(&mut self) -> &mut SharedStateRegistry {
        &mut self.registry
    }

    /// Retained checkpoints, oldest first.
    pub fn retained(&self) -> impl Iterator<Item = &Retained<P>> {
        self.retained.iter()
    }

    /// The checkpoint a recovery starts from (step R2).
    pub fn latest(&self) -> Option<&Retained<P>> {
        self.retained.back()
    }

    /// Takes in a checkpoint whose pointer is written, and subsumes what is too old.
    ///
    /// # Errors
    /// [`Closed`]; the checkpoint was not taken in then.
    pub fn add(&mut self, checkpoint: Retained<P>) -> Result<Added, Closed> {
        if self.closed {
            return Err(Closed);
        }
        self.retained.push_back(checkpoint);
        let mut added = Added::default();
        for old in self.subsume() {
            let deleted = !old.checkpoint.is_users();
            added.subsumed = added.subsumed.max(Some((old.id(), deleted)));
            match self.kind {
                StoreKind::Standalone => self.subsumed.push(old),
                StoreKind::Default => {
                    added.remove.push(old.id());
                    self.leaving.insert(old.id(), old);
                }
            }
        }
        self.check();
        Ok(added)
    }

    /// Whether the pointer of a subsumed checkpoint is being removed, or could not be.
    pub fn is_leaving(&self, id: CheckpointId) -> bool {
        self.leaving.contains_key(&id)
    }

    /// The pointer of a subsumed checkpoint is gone, or could not be removed.
    ///
    /// Deviation: a checkpoint whose pointer is left keeps its shared files too. Flink deletes
    /// them, although a new leader may still choose that checkpoint.
    pub fn pointer_removed(&mut self, id: CheckpointId, removed: bool) {
        assert!(self.leaving.contains_key(&id), "{id} has no pointer to remove");
        if removed {
            self.subsumed.extend(self.leaving.remove(&id));
        }
    }

    /// What may be deleted now that older checkpoints were subsumed (step F4).
    pub fn clean(&mut self) -> Cleanup<P> {
        let mut checkpoints = self.retained.iter().map(|r| &r.checkpoint);
        let any = self.defects.has(Defect::D35);
        let lowest = checkpoints.find(|c| any || !c.is_users()).map(|c| c.id);
        let mut cleanup = match lowest.or(self.kept_from) {
            Some(lowest) => self.let_go(lowest),
            None => Cleanup::nothing(),
        };
        if self.drains {
            cleanup.shared.extend(self.drain());
        }
        cleanup
    }

    /// The job has come to a halt. The default store's pointers to remove come first; files may
    /// go only after them. A standalone store has none.
    pub fn shutdown(&mut self, status: JobStatus) -> (Vec<CheckpointId>, Cleanup<P>) {
        let over = status.is_globally_terminal();
        let retained = std::mem::take(&mut self.retained);
        let deletes = match self.kind {
            StoreKind::Standalone => true,
            StoreKind::Default => over,
        };
        let (gone, kept): (Vec<_>, Vec<_>) =
            retained.into_iter().partition(|r| deletes && r.checkpoint.goes_on(status));
        self.closed = self.kind == StoreKind::Default;
        let mut cleanup = if over {
            self.keep_from(kept.iter().map(Retained::id).min())
        } else {
            Cleanup::nothing()
        };
        let removed = match self.kind {
            StoreKind::Default if over => gone.iter().chain(&kept).map(Retained::id).collect(),
            StoreKind::Default | StoreKind::Standalone => Vec::new(),
        };
        cleanup.checkpoints.extend(gone);
        self.kept = kept;
        (removed, cleanup)
    }

    /// After a [`shutdown`](Self::shutdown) that leaves all to the next leader: what is older than
    /// what that one finds may go as soon as its pointer is gone.
    pub fn leave_to_successor(&mut self) -> Cleanup<P> {
        // As in `clean`: what the user owns keeps nothing of others.
        let owned = self.kept.iter().filter(|retained| !retained.checkpoint.is_users());
        self.keep_from(owned.map(Retained::id).min())
    }

    /// After [`shutdown`](Self::shutdown): lets go of the shared files that no checkpoint has which
    /// outlives the job, now and (a pointer that is still being removed has files behind it) later.
    pub fn drain_shared(&mut self) -> Vec<FileHandle> {
        self.drains = true;
        self.drain()
    }

    fn drain(&mut self) -> Vec<FileHandle> {
        let mut registry = std::mem::take(&mut self.registry);
        let gone = registry.drain(|file| self.refers_to(file));
        self.registry = registry;
        gone
    }

    /// Whether a checkpoint that is retained, on its way out or outlives the job has the file.
    pub fn refers_to(&self, file: &FileHandle) -> bool {
        let leaving = self.leaving.values().chain(&self.subsumed);
        self.retained.iter().chain(leaving).chain(&self.kept).any(|it| it.refers_to(file))
    }

    /// Lets go of what is older than the oldest checkpoint that stays, now and (a pointer that is
    /// still being removed has files behind it) later.
    fn keep_from(&mut self, oldest: Option<CheckpointId>) -> Cleanup<P> {
        let lowest = oldest.unwrap_or(CheckpointId(u64::MAX));
        self.kept_from = Some(lowest);
        self.let_go(lowest)
    }

    /// Lets go of what no checkpoint from `lowest` on uses.
    fn let_go(&mut self, lowest: CheckpointId) -> Cleanup<P> {
        let restorable = self.leaving.keys().next().copied();
        let unused =
            self.registry.unregister_unused(restorable.map_or(lowest, |id| id.min(lowest)));
        let (gone, stay) = std::mem::take(&mut self.subsumed)
            .into_iter()
            .partition(|old| old.id() < lowest && !unused.in_use.contains(&old.id()));
        self.subsumed = stay;
        Cleanup { shared: unused.files, checkpoints: deletable(gone) }
    }

    /// Flink goes from the oldest on, while there are too many.
    fn subsume(&mut self) -> Vec<Retained<P>> {
        let newest = self.latest().expect("one was just added");
        let (newest_id, stops) = (newest.id(), newest.checkpoint.kind.is_synchronous());
        // Without the last checkpoint that is not the user's, nothing could be subsumed later, and
        // increments would have no base.
        let base = self.retained.iter().rev().find(|r| !r.checkpoint.is_users());
        let base = base.map(Retained::id).filter(|_| !self.defects.has(Defect::D35));
        let mut excess = self.retained.len().saturating_sub(self.max_retained);
        let (mut gone, mut kept) = (Vec::new(), VecDeque::new());
        for old in std::mem::take(&mut self.retained) {
            let mine = old.id() == newest_id;
            let free = stops || old.checkpoint.is_users() || Some(old.id()) != base;
            if excess > 0 && !mine && free {
                excess -= 1;
                gone.push(old);
            } else {
                kept.push_back(old);
            }
        }
        self.retained = kept;
        gone
    }

    fn check(&self) {
        assert!(!self.retained.is_empty() || self.subsumed.is_empty() || self.closed);
        let disordered = self.defects.has(Defect::D07) || self.defects.has(Defect::D18);
        debug_assert!(disordered || self.retained.iter().map(Retained::id).is_sorted());
    }
}

/// The user's own are dropped from the list, but never deleted.
fn deletable<P>(gone: Vec<Retained<P>>) -> Vec<Retained<P>> {
    let ours = gone.into_iter().filter(|r| !r.checkpoint.is_users());
    ours.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::handle::{SharedHandle, SharedKey};

    fn file(path: String) -> FileHandle {
        FileHandle { path: path.into(), size: 1 }
    }

    /// A checkpoint that refers to a shared file of its own number and to that of the one before.
    fn checkpoint(id: u64, kind: SnapshotKind) -> Retained<()> {
        let shared = [id - 1, id].map(|creator| SharedFile {
            key: SharedKey(creator.to_string().into()),
            handle: SharedHandle::File(file(format!("shared {creator}"))),
        });
        let state = SubtaskState {
            private: vec![file(format!("private {id}"))],
            shared: shared.into(),
            ended: false,
            checkpointed: None,
            payload: (),
        };
        let checkpoint = CompletedCheckpoint {
            id: CheckpointId(id),
            kind,
            timestamp: VirtualTime::ZERO,
            acknowledged_at: VirtualTime::ZERO,
            retention: Retention::default(),
            unclaimed: false,
            location: "location".into(),
            subtasks: vec![(SubtaskId(0), Some(state))],
            finished: Vec::new(),
            finished_operators: Vec::new(),
            coordinators: Vec::new(),
        };
        Retained { checkpoint: Arc::new(checkpoint), metadata: file(format!("metadata {id}")) }
    }

    fn add(store: &mut CompletedStore<()>, id: u64, kind: SnapshotKind) -> Added {
        let retained = checkpoint(id, kind);
        for shared in retained.checkpoint.shared() {
            let registered = store.registry().register(shared, CheckpointId(id), false);
            registered.expect("a key has one path");
        }
        store.add(retained).expect("the store is open")
    }

    #[test]
    fn whom_a_newcomer_subsumes() {
        use SnapshotKind::{Checkpoint as C, Savepoint as S, SavepointSuspend as Stop};
        /// Name, at most, kinds added in order from 1 on, retained.
        type Row = (&'static str, usize, &'static [SnapshotKind], &'static [u64]);
        let rows: [Row; 5] = [
            ("the oldest goes", 2, &[C, C, C], &[2, 3]),
            ("a savepoint does not push out the base", 1, &[C, S], &[1, 2]),
            ("the next savepoint takes the place of the last", 1, &[C, S, S], &[1, 3]),
            ("the next checkpoint takes the place of all", 1, &[C, S, C], &[3]),
            ("nothing follows a stop", 1, &[C, Stop], &[2]),
        ];
        for (name, max_retained, kinds, expected) in rows {
            let mut store =
                CompletedStore::new(StoreKind::Standalone, max_retained, Defects::none());
            for (id, kind) in (1..).zip(kinds) {
                add(&mut store, id, *kind);
            }
            let retained: Vec<_> = store.retained().map(|r| r.id().0).collect();
            assert_eq!(retained, expected, "{name}");
        }
    }

    #[test]
    fn files_go_only_after_the_pointer() {
        for (name, removed, checkpoints, shared) in
            [("removed", true, 1, 1), ("could not be removed", false, 0, 0)]
        {
            let mut store = CompletedStore::new(StoreKind::Default, 1, Defects::none());
            add(&mut store, 1, SnapshotKind::Checkpoint);
            let added = add(&mut store, 2, SnapshotKind::Checkpoint);
            assert_eq!(added.remove, [CheckpointId(1)], "{name}");
            assert_eq!(store.clean(), Cleanup::nothing(), "{name}: not answered yet");
            store.pointer_removed(CheckpointId(1), removed);
            let cleanup = store.clean();
            assert_eq!(cleanup.checkpoints.len(), checkpoints, "{name}");
            assert_eq!(cleanup.shared.len(), shared, "{name}");
        }
    }

    #[test]
    fn what_the_end_of_the_job_deletes() {
        use JobStatus as J;
        // (status, store, checkpoints deleted, pointers removed)
        for (status, kind, deleted, pointers) in [
            (J::Finished, StoreKind::Default, 2, 2),
            (J::Suspended, StoreKind::Default, 0, 0),
            (J::Suspended, StoreKind::Standalone, 2, 0),
            (J::Restarting, StoreKind::Standalone, 0, 0),
        ] {
            let mut store = CompletedStore::new(kind, 2, Defects::none());
            for id in [1, 2] {
                add(&mut store, id, SnapshotKind::Checkpoint);
            }
            let (removed, cleanup) = store.shutdown(status);
            assert_eq!(removed.len(), pointers, "{status:?} {kind:?}");
            assert_eq!(cleanup.checkpoints.len(), deleted, "{status:?} {kind:?}");
        }
    }

    /// What was uploaded for the oldest was used once more, by one that was aborted.
    #[test]
    fn the_end_of_the_job_does_not_wait_for_what_came_to_nothing() {
        for (removed, later) in [(true, ["shared 0"].as_slice()), (false, &[])] {
            let mut store = CompletedStore::new(StoreKind::Default, 1, Defects::none());
            add(&mut store, 1, SnapshotKind::Checkpoint);
            add(&mut store, 2, SnapshotKind::Checkpoint);
            let oldest = checkpoint(1, SnapshotKind::Checkpoint);
            for shared in oldest.checkpoint.shared() {
                store.registry().register(shared, CheckpointId(3), false).expect("it is known");
            }
            store.shutdown(JobStatus::Suspended);
            assert_eq!(store.leave_to_successor(), Cleanup::nothing());
            assert_eq!(store.drain_shared(), [], "the pointer may be there");
            store.pointer_removed(CheckpointId(1), removed);
            let cleanup = store.clean();
            let shared: Vec<_> = cleanup.shared.iter().map(|file| &*file.path).collect();
            assert_eq!(shared, later);
            assert_eq!(cleanup.checkpoints.len(), usize::from(removed));
        }
    }

    #[test]
    fn a_pointer_that_stays_keeps_its_own_files_alone() {
        let mut store = CompletedStore::new(StoreKind::Default, 2, Defects::none());
        for id in [1, 2] {
            add(&mut store, id, SnapshotKind::Checkpoint);
        }
        // Of a third one, whose pointer was refused.
        let undecided = checkpoint(4, SnapshotKind::Checkpoint);
        for shared in undecided.checkpoint.shared() {
            store.registry().register(shared, CheckpointId(4), false).expect("a key has one path");
        }
        let (_, mut cleanup) = store.shutdown(JobStatus::Finished);
        cleanup.keep(CheckpointId(2));
        let left: Vec<_> = cleanup.checkpoints.iter().map(|it| it.id().0).collect();
        assert_eq!(left, [1]);
        let shared: Vec<_> = cleanup.shared.iter().map(|file| &*file.path).collect();
        assert_eq!(shared, ["shared 0", "shared 3", "shared 4"]);
    }
}
