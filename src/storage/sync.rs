//! Which files are on disk when they count as written.
//!
//! A file that was written and closed may still be in the memory of the host that stores it. Whoever
//! goes on as if it were there (acknowledges a snapshot, publishes a pointer) has to force it to disk
//! before, or loses it when that host crashes.

use crate::defect::{Defect, Defects};

/// Which files their writers force to disk.
///
/// Flink's metadata writer does since FLINK-35217
/// (`LocalRecoverableFsDataOutputStream#closeForCommit`); state files it only closes
/// (`FsCheckpointStateOutputStream#closeAndGetHandle`), and leaves it to the file system what that
/// means: HDFS syncs where `dfs.datanode.synconclose` is set, a mount where it was mounted with `sync`.
///
/// Deviation: all are forced unless something else is said, since nothing else holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SyncPolicy {
    /// State and metadata.
    #[default]
    Always,
    /// Metadata alone, as Flink does on a file system that does not sync when a file is closed.
    Metadata,
    /// Nothing, as Flink did before.
    Never,
}

impl SyncPolicy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Always, Self::Metadata, Self::Never];

    /// The word for it in scenario files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Metadata => "metadata",
            Self::Never => "never",
        }
    }

    /// Whether metadata are on disk before the pointer to them is written.
    pub fn covers_metadata(self, defects: Defects) -> bool {
        match self {
            Self::Always | Self::Metadata => !defects.has(Defect::D36),
            Self::Never => false,
        }
    }

    /// Whether parts of a snapshot are on disk before the snapshot is acknowledged.
    pub fn covers_state(self) -> bool {
        match self {
            Self::Always => true,
            Self::Metadata | Self::Never => false,
        }
    }
}
