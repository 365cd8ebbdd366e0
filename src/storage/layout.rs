//! Names of files. In Flink: `AbstractFsCheckpointStorageAccess`, `FsCheckpointStorageAccess`.
//!
//! ```text
//! chk-7/_metadata                     what checkpoint 7 consists of
//! chk-7/o2-s0-a1-n15.state            a part that checkpoint 7 owns alone
//! shared/o2-s0-a1-n14.state           a part that several checkpoints may refer to
//! shared/o2-s0-a1-n16.changes         changes of keyed state since such a part
//! taskowned/o2-s0-a1-n3.state         a part that tasks delete themselves
//! savepoint-9/_metadata               savepoints hold all of their parts
//! ```
//!
//! The name of a part holds operator, subtask, *attempt* and a number that the attempt counts up:
//! what a zombie of an older attempt still writes cannot land on a file of its successor, and no
//! name is used twice. Names are read back into numbers, and ordered as numbers.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use crate::ids::{Attempt, CheckpointId, OperatorId};
use crate::message::SnapshotKind;

const METADATA: &str = "_metadata";

/// A directory of the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Directory {
    /// What one checkpoint owns alone.
    Checkpoint(CheckpointId),
    /// A savepoint, self-contained.
    Savepoint(CheckpointId),
    /// What checkpoints share.
    Shared,
    /// What tasks own.
    TaskOwned,
}

/// What a part of a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// State of an operator.
    State,
    /// Captured data of channels.
    Channels,
    /// Changes of keyed state ([`changelog`](super::changelog)).
    Changes,
}

/// The name of a part: who wrote it, and its number among what that attempt wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartName {
    /// The operator.
    pub operator: OperatorId,
    /// The subtask within the operator.
    pub subtask: u32,
    /// The attempt that wrote it.
    pub attempt: Attempt,
    /// Counts the files of the attempt.
    pub number: u64,
    /// What it is.
    pub part: Part,
}

/// The path of a file, relative to the storage's root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Path {
    /// The metadata of a checkpoint or savepoint.
    Metadata(Directory),
    /// A part of one or several snapshots.
    Part(Directory, PartName),
}

/// A path that this layout has not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no path of a snapshot's file")]
pub struct ForeignPath(pub String);

impl Directory {
    /// The directory of a snapshot's own files.
    pub fn of(checkpoint: CheckpointId, kind: SnapshotKind) -> Self {
        match kind.is_savepoint() {
            true => Self::Savepoint(checkpoint),
            false => Self::Checkpoint(checkpoint),
        }
    }
}

/// Room for the usual path, so that it is written without being moved.
const PATH_ROOM: usize = 48;

impl Path {
    /// The path as a text.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(PATH_ROOM);
        write!(text, "{self}").expect("writing to a string cannot fail");
        text
    }

    /// The directory it is in.
    pub fn directory(&self) -> Directory {
        match self {
            Self::Metadata(directory) | Self::Part(directory, _) => *directory,
        }
    }
}

impl Part {
    const ALL: [Self; 3] = [Self::State, Self::Channels, Self::Changes];

    fn suffix(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Channels => "channels",
            Self::Changes => "changes",
        }
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint(id) => write!(f, "chk-{}", id.0),
            Self::Savepoint(id) => write!(f, "savepoint-{}", id.0),
            Self::Shared => f.write_str("shared"),
            Self::TaskOwned => f.write_str("taskowned"),
        }
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operator, subtask, attempt, number, part } = self;
        write!(f, "o{}-s{subtask}-a{}-n{number}.{}", operator.0, attempt.0, part.suffix())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metadata(directory) => write!(f, "{directory}/{METADATA}"),
            Self::Part(directory, name) => write!(f, "{directory}/{name}"),
        }
    }
}

impl FromStr for Path {
    type Err = ForeignPath;

    fn from_str(text: &str) -> Result<Self, ForeignPath> {
        parse(text).ok_or_else(|| ForeignPath(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Path> {
    let (directory, file) = text.split_once('/')?;
    let directory = parse_directory(directory)?;
    let path = match (file, directory) {
        (METADATA, Directory::Shared | Directory::TaskOwned) => return None,
        (METADATA, Directory::Checkpoint(_) | Directory::Savepoint(_)) => Path::Metadata(directory),
        _ => Path::Part(directory, parse_part(file)?),
    };
    // Numbers can be spelt in several ways; one of them is ours.
    (path.to_string() == text).then_some(path)
}

fn parse_directory(text: &str) -> Option<Directory> {
    let id = |digits: &str| digits.parse().ok().map(CheckpointId);
    match text {
        "shared" => Some(Directory::Shared),
        "taskowned" => Some(Directory::TaskOwned),
        _ => match text.split_once('-')? {
            ("chk", digits) => id(digits).map(Directory::Checkpoint),
            ("savepoint", digits) => id(digits).map(Directory::Savepoint),
            _ => None,
        },
    }
}

fn parse_part(text: &str) -> Option<PartName> {
    let (name, suffix) = text.split_once('.')?;
    let mut fields = name.split('-');
    let mut field = |prefix: char| fields.next()?.strip_prefix(prefix);
    let name = PartName {
        operator: OperatorId(field('o')?.parse().ok()?),
        subtask: field('s')?.parse().ok()?,
        attempt: Attempt(field('a')?.parse().ok()?),
        number: field('n')?.parse().ok()?,
        part: Part::ALL.into_iter().find(|part| part.suffix() == suffix)?,
    };
    fields.next().is_none().then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path() -> impl Strategy<Value = Path> {
        let directory = prop_oneof![
            any::<u64>().prop_map(|id| Directory::Checkpoint(CheckpointId(id))),
            any::<u64>().prop_map(|id| Directory::Savepoint(CheckpointId(id))),
            Just(Directory::Shared),
            Just(Directory::TaskOwned),
        ];
        let part = prop::sample::select(&Part::ALL);
        (directory, any::<(bool, u32, u32, u32, u64)>(), part).prop_map(
            |(directory, (metadata, operator, subtask, attempt, number), part)| {
                let owned = !matches!(directory, Directory::Shared | Directory::TaskOwned);
                if metadata && owned {
                    return Path::Metadata(directory);
                }
                let operator = OperatorId(operator);
                let attempt = Attempt(attempt);
                Path::Part(directory, PartName { operator, subtask, attempt, number, part })
            },
        )
    }

    proptest! {
        #[test]
        fn every_path_reads_back(path in path()) {
            prop_assert_eq!(path.to_string().parse(), Ok(path));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[a-z0-9/._-]{0,30}|(chk-[0-9]{1,3}/o1-s0[-a0-9n.]{0,9}.state)") {
            if let Ok(path) = text.parse::<Path>() {
                prop_assert_eq!(path.to_string(), text);
            }
        }
    }

    #[test]
    fn names_are_as_documented() {
        let part = PartName {
            operator: OperatorId(2),
            subtask: 0,
            attempt: Attempt(1),
            number: 15,
            part: Part::State,
        };
        let chk = |id| Directory::Checkpoint(CheckpointId(id));
        let rows = [
            (Path::Metadata(chk(7)), "chk-7/_metadata"),
            (Path::Part(chk(7), part), "chk-7/o2-s0-a1-n15.state"),
            (Path::Part(Directory::Shared, part), "shared/o2-s0-a1-n15.state"),
            (Path::Metadata(Directory::Savepoint(CheckpointId(9))), "savepoint-9/_metadata"),
        ];
        for (path, text) in rows {
            assert_eq!(path.to_string(), text);
        }
        assert!(chk(9) < chk(10), "ordered as numbers, not as text");
    }

    #[test]
    fn foreign_names_are_refused() {
        for text in [
            "chk-7",
            "chk-07/_metadata",
            "chk-/_metadata",
            "shared/_metadata",
            "chk-7/o2-s0-n15.state",
            "chk-7/o2-s0-a1-n15-x.state",
            "chk-7/o2-s0-a1-n15.tmp",
            "../chk-7/_metadata",
        ] {
            assert_eq!(text.parse::<Path>(), Err(ForeignPath(text.to_owned())));
        }
    }
}
