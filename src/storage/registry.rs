//! Which files of incremental checkpoints are still in use.
//!
//! In Flink: `SharedStateRegistryImpl`. No counting of references: an entry knows the highest
//! checkpoint that used it, and is let go once no checkpoint as old as that matters any more.
//!
//! Invariants, asserted after every change:
//! - an entry was created no later than it was last used;
//! - a file is let go at most once, because its entry goes with it.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::CheckpointId;
use crate::message::SnapshotKind;
use crate::storage::handle::{FileHandle, SharedFile, SharedHandle, SharedKey};

/// Who owns the files of a snapshot the job was started from.
/// Flink: `execution.state-recovery.claim-mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimMode {
    /// The job: they are deleted when no longer used.
    Claim,
    /// The user: never deleted; the first checkpoint refers to none of them.
    NoClaim,
    /// Nobody: never deleted, though checkpoints may refer to them. Flink has deprecated it.
    Legacy,
}

/// The registry refuses. Flink throws `IllegalStateException`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The job has ended.
    #[error("the registry is closed")]
    Closed,
    /// A placeholder for a file nobody has registered.
    #[error("placeholder for the unknown shared file {0:?}")]
    UnknownPlaceholder(SharedKey),
    /// Another file under a known key: one of the two would be lost or mixed up.
    #[error("shared file {key:?} is {known:?}, not {offered:?}")]
    Conflict {
        /// The key.
        key: SharedKey,
        /// The path the registry has.
        known: FileHandle,
        /// The path it was offered.
        offered: FileHandle,
    },
}

#[derive(Clone, Debug)]
struct Entry {
    file: FileHandle,
    created_by: CheckpointId,
    last_used_by: CheckpointId,
    /// The checkpoint that created it must not be deleted while this entry is there.
    keep_creator: bool,
}

impl Entry {
    /// Flink: a restored checkpoint may have private files behind a shared one (changelog), and a
    /// native savepoint has all its files in one directory, which goes as a whole or not at all.
    fn keeps_creator(&self, restored: &BTreeMap<CheckpointId, bool>) -> bool {
        let creator = restored.get(&self.created_by);
        creator.is_some_and(|savepoint| *savepoint || self.keep_creator)
    }
}

/// The files that checkpoints share.
#[derive(Clone, Debug, Default)]
pub struct SharedStateRegistry {
    entries: BTreeMap<SharedKey, Entry>,
    /// Restored snapshots, and whether each was a savepoint.
    restored: BTreeMap<CheckpointId, bool>,
    /// Files created by this checkpoint or an older one belong to the user.
    not_claimed: Option<CheckpointId>,
    closed: bool,
}

/// What may be deleted, and what may not yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unused {
    /// Files nobody uses any more, in order of their keys.
    pub files: Vec<FileHandle>,
    /// Restored snapshots of whose files some are in use still.
    pub in_use: BTreeSet<CheckpointId>,
}

impl SharedStateRegistry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that `checkpoint` uses a file, and answers which file that is (step F1).
    ///
    /// `keep_creator` asks that the restored snapshot which brought the file stays whole; it has
    /// a meaning only for a file that is known already.
    ///
    /// # Errors
    /// See [`RegistryError`]; nothing has changed then.
    pub fn register(
        &mut self,
        shared: &SharedFile,
        checkpoint: CheckpointId,
        keep_creator: bool,
    ) -> Result<FileHandle, RegistryError> {
        self.probe(shared)?;
        if let Some(entry) = self.entries.get_mut(&shared.key) {
            entry.last_used_by = entry.last_used_by.max(checkpoint);
            entry.keep_creator |= keep_creator;
            assert!(entry.created_by <= entry.last_used_by);
            return Ok(entry.file.clone());
        }
        match &shared.handle {
            SharedHandle::File(file) => Ok(self.create(&shared.key, file, checkpoint)),
            SharedHandle::Placeholder => {
                unreachable!("a probe refuses the placeholder of an unknown file")
            }
        }
    }

    /// Whether [`register`](Self::register) would take the file.
    ///
    /// # Errors
    /// The error it would give.
    pub fn probe(&self, shared: &SharedFile) -> Result<(), RegistryError> {
        if self.closed {
            return Err(RegistryError::Closed);
        }
        match (self.entries.get(&shared.key), &shared.handle) {
            (Some(entry), SharedHandle::File(offered)) if entry.file.path != offered.path => {
                Err(RegistryError::Conflict {
                    key: shared.key.clone(),
                    known: entry.file.clone(),
                    offered: offered.clone(),
                })
            }
            (None, SharedHandle::Placeholder) => {
                Err(RegistryError::UnknownPlaceholder(shared.key.clone()))
            }
            (Some(_) | None, SharedHandle::File(_)) | (Some(_), SharedHandle::Placeholder) => {
                Ok(())
            }
        }
    }

    /// Notes the files of a snapshot the job restores from (step R3).
    ///
    /// # Errors
    /// See [`RegistryError`]; files before the one refused are registered then.
    pub fn restore<'a>(
        &mut self,
        checkpoint: CheckpointId,
        kind: SnapshotKind,
        mode: ClaimMode,
        files: impl IntoIterator<Item = &'a SharedFile>,
    ) -> Result<(), RegistryError> {
        for file in files {
            self.register(file, checkpoint, false)?;
        }
        self.restored.insert(checkpoint, kind.is_savepoint());
        match mode {
            ClaimMode::Claim => {}
            ClaimMode::NoClaim | ClaimMode::Legacy => {
                self.not_claimed = self.not_claimed.max(Some(checkpoint));
            }
        }
        Ok(())
    }

    /// Whether the job was restored from this checkpoint.
    pub fn is_restored(&self, checkpoint: CheckpointId) -> bool {
        self.restored.contains_key(&checkpoint)
    }

    /// Lets go of everything last used below `lowest`: no checkpoint as old as that matters.
    pub fn unregister_unused(&mut self, lowest: CheckpointId) -> Unused {
        let mut unused = Unused::default();
        let (restored, not_claimed) = (&self.restored, self.not_claimed);
        self.entries.retain(|_, entry| {
            let used = entry.last_used_by >= lowest;
            if used && entry.keeps_creator(restored) {
                unused.in_use.insert(entry.created_by);
            }
            if !used && Some(entry.created_by) > not_claimed {
                unused.files.push(entry.file.clone());
            }
            used
        });
        unused
    }

    /// The job is over: lets go of everything that `is_kept` does not know.
    pub fn drain(&mut self, is_kept: impl Fn(&FileHandle) -> bool) -> Vec<FileHandle> {
        let not_claimed = self.not_claimed;
        let mut gone = Vec::new();
        self.entries.retain(|_, entry| {
            let kept = is_kept(&entry.file);
            if !kept && Some(entry.created_by) > not_claimed {
                gone.push(entry.file.clone());
            }
            kept
        });
        gone
    }

    /// The job has ended: nothing is registered from now on.
    pub fn close(&mut self) {
        self.closed = true;
    }

    fn create(&mut self, key: &SharedKey, file: &FileHandle, by: CheckpointId) -> FileHandle {
        let entry =
            Entry { file: file.clone(), created_by: by, last_used_by: by, keep_creator: false };
        self.entries.insert(key.clone(), entry);
        file.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(key: &str, path: &str) -> SharedFile {
        SharedFile {
            key: SharedKey(key.into()),
            handle: SharedHandle::File(FileHandle { path: path.into(), size: 1 }),
        }
    }

    fn placeholder(key: &str) -> SharedFile {
        SharedFile { handle: SharedHandle::Placeholder, ..file(key, key) }
    }

    fn paths(unused: &Unused) -> Vec<&str> {
        unused.files.iter().map(|file| &*file.path).collect()
    }

    #[test]
    fn refusals_change_nothing() {
        let mut registry = SharedStateRegistry::new();
        registry.register(&file("k", "p"), CheckpointId(1), false).expect("new");
        for (name, offered) in
            [("another path", file("k", "q")), ("unknown placeholder", placeholder("l"))]
        {
            assert!(registry.register(&offered, CheckpointId(9), false).is_err(), "{name}");
        }
        assert_eq!(paths(&registry.unregister_unused(CheckpointId(2))), ["p"]);
        registry.close();
        let closed = registry.register(&file("k", "p"), CheckpointId(3), false);
        assert_eq!(closed, Err(RegistryError::Closed));
    }

    #[test]
    fn a_file_lives_as_long_as_its_last_user() {
        let mut registry = SharedStateRegistry::new();
        registry.register(&file("k", "p"), CheckpointId(1), false).expect("new");
        let resolved = registry.register(&placeholder("k"), CheckpointId(3), false);
        assert_eq!(resolved.expect("known").path, "p".into());
        // A late message of an older checkpoint does not shorten its life.
        registry.register(&file("k", "p"), CheckpointId(2), false).expect("known");
        assert!(registry.unregister_unused(CheckpointId(3)).files.is_empty());
        assert_eq!(paths(&registry.unregister_unused(CheckpointId(4))), ["p"]);
    }

    #[test]
    fn what_the_user_owns_is_never_let_go() {
        for (mode, deleted) in
            [(ClaimMode::Claim, 1), (ClaimMode::NoClaim, 0), (ClaimMode::Legacy, 0)]
        {
            let mut registry = SharedStateRegistry::new();
            registry
                .restore(CheckpointId(1), SnapshotKind::Savepoint, mode, &[file("k", "p")])
                .expect("empty before");
            let used = registry.unregister_unused(CheckpointId(1));
            assert_eq!(used.in_use, BTreeSet::from([CheckpointId(1)]), "{mode:?}");
            let unused = registry.unregister_unused(CheckpointId(2));
            assert_eq!(unused.files.len(), deleted, "{mode:?}");
            assert_eq!(unused.in_use, BTreeSet::new(), "{mode:?}");
        }
    }
}
