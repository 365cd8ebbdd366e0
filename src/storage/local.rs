//! Copies of a subtask's keyed state on the machine that wrote it, so that an attempt that is
//! deployed there again need not read remote storage.
//!
//! Concept: a copy is a second place to read from, never the only one: the checkpoint is what its
//! metadata names, and a copy that is missing, or not as it was written, is read from remote
//! storage instead. It is kept until a newer checkpoint is confirmed, or its own is aborted.
//!
//! In Flink: `TaskLocalStateStoreImpl`, `TaskStateManagerImpl#prioritizedOperatorState`;
//! `execution.state-recovery.from-local`. Deviation: there are copies for each allocation of a slot,
//! here for each subtask and machine.
//!
//! Invariant: once a checkpoint is confirmed or restored from, there is no copy of an older one, so
//! that no more are held than there are checkpoints under way, and one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::handle::SharedKey;
use crate::ids::CheckpointId;

/// What a file is called in the metadata of a checkpoint, and so in its copy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileName {
    /// A file of this checkpoint alone: its path.
    Path(String),
    /// A file that others may refer to, which may be stored under another path in the end.
    Key(SharedKey),
}

/// The files of one snapshot; those that several snapshots have in common are held once.
pub type LocalCopy = BTreeMap<FileName, Arc<[u8]>>;

/// The copies of one subtask's snapshots.
#[derive(Clone, Debug, Default)]
pub struct LocalCopies {
    copies: BTreeMap<CheckpointId, LocalCopy>,
}

impl LocalCopies {
    /// The snapshot was acknowledged (B6). Flink: `storeLocalState`.
    pub fn store(&mut self, checkpoint: CheckpointId, copy: LocalCopy) {
        self.copies.insert(checkpoint, copy);
    }

    /// N1: what is older is not restored any more. Flink: `confirmCheckpoint`.
    pub fn confirm(&mut self, checkpoint: CheckpointId) {
        self.copies = self.copies.split_off(&checkpoint);
    }

    /// X1: this one will not be restored. Flink: `abortCheckpoint`.
    pub fn abort(&mut self, checkpoint: CheckpointId) {
        self.copies.remove(&checkpoint);
    }

    /// The copy of what is restored, if there is one; all others are dropped. Flink:
    /// `retrieveLocalState`, `pruneMatchingCheckpoints`.
    pub fn retrieve(&mut self, checkpoint: CheckpointId) -> Option<&LocalCopy> {
        self.copies.retain(|id, _| *id == checkpoint);
        self.copies.get(&checkpoint)
    }

    /// [`Defect::D41`](crate::defect::Defect::D41): somebody has deleted the files of one of them.
    pub fn empty(&mut self, checkpoint: CheckpointId) {
        if let Some(copy) = self.copies.get_mut(&checkpoint) {
            copy.clear();
        }
    }

    /// Whether a file is in one of them.
    pub fn holds(&self, file: &FileName) -> bool {
        self.copies.values().any(|copy| copy.contains_key(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copies(of: &[u64]) -> LocalCopies {
        let mut copies = LocalCopies::default();
        for id in of {
            let file = (FileName::Path(id.to_string()), Arc::from(id.to_le_bytes()));
            copies.store(CheckpointId(*id), [file].into());
        }
        copies
    }

    fn held(copies: &LocalCopies) -> Vec<u64> {
        copies.copies.keys().map(|id| id.0).collect()
    }

    #[test]
    fn older_copies_go_when_a_checkpoint_is_confirmed() {
        let mut it = copies(&[1, 2, 3]);
        it.confirm(CheckpointId(2));
        assert_eq!(held(&it), [2, 3]);
        it.confirm(CheckpointId(2));
        assert_eq!(held(&it), [2, 3]);
    }

    #[test]
    fn an_aborted_copy_goes_alone() {
        let mut it = copies(&[1, 2, 3]);
        let file = FileName::Path("2".to_owned());
        assert!(it.holds(&file));
        it.abort(CheckpointId(2));
        assert_eq!(held(&it), [1, 3]);
        assert!(!it.holds(&file));
    }

    #[test]
    fn what_is_restored_is_all_that_is_left() {
        let mut it = copies(&[1, 2, 3]);
        let found = it.retrieve(CheckpointId(2)).expect("it is there");
        assert_eq!(found.len(), 1);
        assert_eq!(found[&FileName::Path("2".to_owned())][..], 2_u64.to_le_bytes());
        assert_eq!(held(&it), [2]);
        assert_eq!(it.retrieve(CheckpointId(4)), None);
        assert_eq!(held(&it), [0; 0]);
    }
}
