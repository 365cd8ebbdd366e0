//! Bytes of a checkpoint's metadata file: the coordinator's part of the storage.
//!
//! Measured with the writer of Flink 2.3 (no names or uids of operators, no master state); exact to
//! the byte. Flink: `Checkpoints#storeCheckpointMetadata`.

/// Bytes of an empty metadata file.
const FILE: u64 = 29;
/// Bytes of an operator without subtasks.
const OPERATOR: u64 = 33;
/// Bytes of the offset of one key group.
const KEY_GROUP_OFFSET: u64 = 8;

/// How the state of one subtask is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handle {
    /// Keyed state, small enough to be in the metadata itself.
    KeyedInline {
        /// Its bytes. Flink inlines up to `execution.checkpointing.data-inline-threshold`.
        bytes: u64,
    },
    /// Keyed state in a file.
    KeyedFile {
        /// Characters of its path.
        path: u64,
    },
    /// One operator state with two offsets, in the metadata itself. Measured at 100 bytes.
    OperatorInline {
        /// Its bytes.
        bytes: u64,
    },
    /// Incremental keyed state.
    Incremental {
        /// SST files of the subtask.
        ssts: u64,
        /// Characters of the path of each.
        path: u64,
    },
}

impl Handle {
    /// Bytes for a subtask.
    fn bytes(self) -> u64 {
        match self {
            Self::KeyedInline { bytes } => 112 + bytes,
            Self::KeyedFile { path } => 79 + path,
            Self::OperatorInline { bytes } => 108 + bytes,
            Self::Incremental { ssts, path } => 348 + ssts * (23 + path),
        }
    }

    /// Whether an offset is written for each key group.
    fn has_key_groups(self) -> bool {
        match self {
            Self::KeyedInline { .. } | Self::KeyedFile { .. } => true,
            Self::OperatorInline { .. } | Self::Incremental { .. } => false,
        }
    }
}

/// The state of one operator, the same at every subtask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperatorState {
    /// Subtasks.
    pub subtasks: u64,
    /// Key groups. Flink: `pipeline.max-parallelism`.
    pub max_parallelism: u64,
    /// How each subtask's state is written down.
    pub handle: Handle,
}

/// Bytes of the metadata file of a job with these operators:
/// `29 + sum (33 + p s + key group part)`.
pub fn metadata_bytes(operators: impl IntoIterator<Item = OperatorState>) -> u64 {
    let operator = |of: OperatorState| {
        let groups = if of.handle.has_key_groups() { of.max_parallelism } else { 0 };
        OPERATOR + of.subtasks * of.handle.bytes() + KEY_GROUP_OFFSET * groups
    };
    FILE + operators.into_iter().map(operator).sum::<u64>()
}
