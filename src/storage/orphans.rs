//! Files that nobody refers to any more, nor will: which of those that a listing shows they are.
//!
//! A process that dies leaves what only it knew of: parts of a checkpoint that comes to nothing, a file
//! whose acknowledgement was lost, metadata without a pointer. The coordinator deletes what it is told of,
//! and of these nobody tells it. In Flink they stay until somebody looks for them, and most who do go by
//! age, which takes away an old shared file that is in use, or the files of a checkpoint that takes long.
//! Here names decide:
//!
//! - a part holds the attempt that wrote it. It is an orphan if no attempt as old as that runs, so that
//!   nobody can acknowledge it any more, and nothing that the coordinator knows refers to it;
//! - metadata hold the number of their checkpoint. They are orphans if there is a newer checkpoint, theirs
//!   is not pending, and it is none that the coordinator knows;
//! - what was written for another job, before this one was started from its snapshot, is the user's, as is
//!   whatever lies in the directory of a savepoint. `taskowned/` is the tasks' own.
//!
//! The listing must be older than what is known. Somebody else may lead by then; such a leader's files are
//! of later attempts and numbers, but what it restored may be known to it alone. So whoever asks makes sure
//! that it knows every checkpoint to which there is a pointer, read after the listing.

use crate::ids::{Attempt, CheckpointId};
use crate::storage::layout::{Directory, Path};

/// What a job has behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// The first attempt of the job: what older ones wrote is another job's.
    pub first_attempt: Attempt,
    /// The oldest attempt of which anything runs.
    pub running: Attempt,
    /// The first checkpoint of the job.
    pub first_checkpoint: CheckpointId,
    /// The newest checkpoint of the job that is known, pending ones included; `None`: it has none.
    pub newest: Option<CheckpointId>,
}

impl Past {
    /// Whether whoever wrote the file has nothing to do with it any more.
    fn holds(self, path: &Path) -> bool {
        let ours = match path.directory() {
            Directory::Checkpoint(_) | Directory::Shared => true,
            Directory::Savepoint(_) | Directory::TaskOwned => false,
        };
        ours && match *path {
            Path::Part(_, name) => (self.first_attempt..self.running).contains(&name.attempt),
            Path::Metadata(Directory::Checkpoint(id)) => {
                id >= self.first_checkpoint && Some(id) < self.newest
            }
            Path::Metadata(Directory::Savepoint(_) | Directory::Shared | Directory::TaskOwned) => {
                false
            }
        }
    }
}

/// The orphans among what a listing shows. `is_known` says whether anything that is known refers to a
/// file; names that no layout of ours has are left alone.
pub fn orphans(
    listing: impl IntoIterator<Item = String>,
    past: Past,
    is_known: impl Fn(&str, &Path) -> bool,
) -> Vec<String> {
    let is_orphan = |text: &String| match text.parse::<Path>() {
        Ok(path) => past.holds(&path) && !is_known(text, &path),
        Err(_) => false,
    };
    listing.into_iter().filter(is_orphan).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAST: Past = Past {
        first_attempt: Attempt(3),
        running: Attempt(7),
        first_checkpoint: CheckpointId(5),
        newest: Some(CheckpointId(9)),
    };

    #[test]
    fn what_is_an_orphan_and_what_is_not() {
        for (path, orphan) in [
            ("chk-6/o0-s0-a3-n1.state", true),
            ("shared/o0-s0-a6-n1.state", true),
            ("shared/o0-s0-a6-n2.changes", true),
            ("shared/o0-s0-a7-n1.state", false), // It may be acknowledged still.
            ("shared/o0-s0-a2-n1.state", false), // Another job's.
            ("chk-5/_metadata", true),
            ("chk-8/_metadata", true),
            ("chk-9/_metadata", false), // The pointer may be on its way.
            ("chk-4/_metadata", false), // Another job's.
            ("savepoint-6/_metadata", false),
            ("savepoint-6/o0-s0-a3-n1.state", false),
            ("taskowned/o0-s0-a3-n1.state", false),
            ("somebody-elses", false),
        ] {
            let found = orphans([path.to_owned()], PAST, |_, _| false);
            assert_eq!(!found.is_empty(), orphan, "{path}");
            let known = orphans([path.to_owned()], PAST, |text, _| text == path);
            assert_eq!(known, Vec::<String>::new(), "{path}: something refers to it");
        }
    }

    #[test]
    fn without_a_newer_checkpoint_no_metadata_go() {
        let past = Past { newest: None, ..PAST };
        let found = orphans(["chk-5/_metadata".to_owned()], past, |_, _| false);
        assert_eq!(found, Vec::<String>::new());
    }
}
