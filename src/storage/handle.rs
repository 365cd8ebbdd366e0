//! What a task hands over with its acknowledgement: names of files, not their contents.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A file of the object store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileHandle {
    /// Its name in the store.
    pub path: Arc<str>,
    /// Its nominal size in bytes: what it would weigh in production, not what is stored.
    pub size: u64,
}

/// What several checkpoints call a file they share, whatever its path.
/// Flink: `SharedStateRegistryKey`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SharedKey(pub Arc<str>);

/// How an acknowledgement refers to a shared file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SharedHandle {
    /// The file itself, uploaded for this checkpoint or named in full once more.
    File(FileHandle),
    /// The file that is known under the key already. Flink: `PlaceholderStreamStateHandle`.
    Placeholder,
}

/// A shared file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedFile {
    /// The name under which checkpoints share it.
    pub key: SharedKey,
    /// The file; never a placeholder once the acknowledgement was taken in (step F1).
    pub handle: SharedHandle,
}

/// The snapshot of one subtask or of one operator coordinator. Flink: `TaskStateSnapshot`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubtaskState<P> {
    /// Files of this checkpoint alone; deleted with it.
    pub private: Vec<FileHandle>,
    /// Files that other checkpoints may refer to; deleted when the registry lets them go.
    pub shared: Vec<SharedFile>,
    /// The operators have come to their end: what they had to say is all in here.
    /// Flink: `TaskStateSnapshot#isTaskFinished`.
    #[serde(default)]
    pub ended: bool,
    /// Nominal bytes that were uploaded for this snapshot, if it names files in full that were not;
    /// `None`: those of all files that it names in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpointed: Option<u64>,
    /// What the engine needs to restore from the files; the protocol does not look into it.
    pub payload: P,
}

impl<P> SubtaskState<P> {
    /// Nominal bytes that were uploaded for it. Flink: `StateObject#getCheckpointedSize`.
    pub fn checkpointed_size(&self) -> u64 {
        self.checkpointed.unwrap_or_else(|| self.size())
    }

    /// Nominal bytes of all files, shared ones in full.
    pub fn size(&self) -> u64 {
        let private = self.private.iter().map(|file| file.size);
        let shared = self.shared.iter().map(|file| match &file.handle {
            SharedHandle::File(file) => file.size,
            SharedHandle::Placeholder => 0,
        });
        private.chain(shared).sum()
    }
}
