//! What a completed checkpoint consists of. In Flink: `CheckpointMetadata`, `OperatorState`,
//! `MetadataV6Serializer`.
//!
//! Operators are named, and every operator is listed, stateless ones and finished ones included:
//! whoever restores needs the old parallelism of all of them to redistribute channel state.

use crate::codec::{DecodeError, Decoder, Encoder, checksum};
use crate::ids::CheckpointId;
use crate::message::SnapshotKind;
use crate::storage::handle::SharedKey;
use crate::time::VirtualTime;

const MAGIC: [u8; 4] = *b"CLmd";

/// Version of the format; others are refused by name.
pub const VERSION: u8 = 1;

/// What the metadata file of a checkpoint or savepoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Which checkpoint.
    pub checkpoint: CheckpointId,
    /// What it was taken for.
    pub kind: SnapshotKind,
    /// When it was triggered.
    pub timestamp: VirtualTime,
    /// All operators, in the order of the job graph.
    pub operators: Vec<OperatorMetadata>,
}

/// One operator's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorMetadata {
    /// Its name, by which a later job finds it. Flink: the operator's uid.
    pub name: String,
    /// Number of key groups.
    pub max_parallelism: u32,
    /// State of the operator's coordinator, if it has one.
    pub coordinator: Option<StateObject>,
    /// Its subtasks, by number: as many as its parallelism.
    pub subtasks: Vec<SubtaskMetadata>,
}

/// One subtask's part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubtaskMetadata {
    /// Whether it had finished: a restored one must not run again.
    pub finished: bool,
    /// Whether its input had ended, though it had not finished yet.
    pub ended: bool,
    /// State of the operator.
    pub state: Vec<StateObject>,
    /// Captured data of its channels ([`channel_state`](super::channel_state)).
    pub channels: Vec<StateObject>,
}

/// Bytes of a snapshot: in a file of their own, or in the metadata if they are few.
/// Flink: `StreamStateHandle`, `ByteStreamStateHandle`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateObject {
    /// In a file.
    File(StateHandle),
    /// In a file that other checkpoints may refer to
    /// ([`increment`](super::increment)).
    Shared {
        /// What checkpoints call it.
        key: SharedKey,
        /// The file.
        handle: StateHandle,
    },
    /// Here.
    Inline {
        /// The bytes.
        bytes: Vec<u8>,
        /// Bytes they stand for.
        nominal: u64,
    },
}

/// A file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateHandle {
    /// Its path, as [`layout::Path`](super::layout::Path) writes it.
    pub path: String,
    /// Bytes it has.
    pub bytes: u64,
    /// Bytes it stands for.
    pub nominal: u64,
    /// Checksum of its bytes ([`checksum`]).
    pub checksum: u64,
}

impl StateHandle {
    /// The handle of a file with these bytes.
    pub fn new(path: String, bytes: &[u8], nominal: u64) -> Self {
        Self { path, bytes: bytes.len() as u64, nominal, checksum: checksum(bytes) }
    }

    /// Whether these are the bytes that were written.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.bytes && checksum(bytes) == self.checksum
    }
}

impl StateObject {
    /// Bytes it stands for.
    pub fn nominal(&self) -> u64 {
        match self {
            Self::File(handle) | Self::Shared { handle, .. } => handle.nominal,
            Self::Inline { nominal, .. } => *nominal,
        }
    }
}

impl OperatorMetadata {
    /// Number of subtasks when the checkpoint was taken.
    pub fn parallelism(&self) -> u32 {
        self.subtasks.len() as u32
    }

    /// A number that identifies the operator's name.
    pub fn uid(&self) -> u64 {
        checksum(self.name.as_bytes())
    }

    /// Whether all subtasks had finished. Flink: `FullyFinishedOperatorState`.
    pub fn is_finished(&self) -> bool {
        self.subtasks.iter().all(|subtask| subtask.finished)
    }
}

impl Metadata {
    /// Writes the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(MAGIC, VERSION);
        out.varint(self.checkpoint.0);
        out.byte(kind_code(self.kind));
        out.varint(self.timestamp.0);
        list(&self.operators, &mut out, write_operator);
        out.seal()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// The bytes are damaged, no metadata, or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Decoder::open(bytes, MAGIC, VERSION)?;
        let checkpoint = CheckpointId(input.varint()?);
        let code = input.byte()?;
        let kind = KINDS.into_iter().find(|&kind| kind_code(kind) == code);
        let kind = kind.ok_or_else(|| input.invalid("kind of a snapshot"))?;
        let timestamp = VirtualTime(input.varint()?);
        let operators = input.list(4, read_operator)?;
        input.end()?;
        Ok(Self { checkpoint, kind, timestamp, operators })
    }

    /// All objects, in the order of the file.
    pub fn objects(&self) -> impl Iterator<Item = &StateObject> {
        self.operators.iter().flat_map(|operator| {
            operator.coordinator.iter().chain(
                operator
                    .subtasks
                    .iter()
                    .flat_map(|subtask| subtask.state.iter().chain(&subtask.channels)),
            )
        })
    }

    /// All files, in the order of the metadata.
    pub fn files(&self) -> impl Iterator<Item = &StateHandle> {
        self.objects().filter_map(|object| match object {
            StateObject::File(handle) | StateObject::Shared { handle, .. } => Some(handle),
            StateObject::Inline { .. } => None,
        })
    }
}

const KINDS: [SnapshotKind; 5] = [
    SnapshotKind::Checkpoint,
    SnapshotKind::FullCheckpoint,
    SnapshotKind::Savepoint,
    SnapshotKind::SavepointSuspend,
    SnapshotKind::SavepointTerminate,
];

/// Part of the format: never renumber.
fn kind_code(kind: SnapshotKind) -> u8 {
    match kind {
        SnapshotKind::Checkpoint => 0,
        SnapshotKind::FullCheckpoint => 1,
        SnapshotKind::Savepoint => 2,
        SnapshotKind::SavepointSuspend => 3,
        SnapshotKind::SavepointTerminate => 4,
    }
}

fn list<T>(items: &[T], out: &mut Encoder, write: impl Fn(&T, &mut Encoder)) {
    out.varint(items.len() as u64);
    items.iter().for_each(|item| write(item, out));
}

fn write_operator(operator: &OperatorMetadata, out: &mut Encoder) {
    out.text(&operator.name);
    out.varint(u64::from(operator.max_parallelism));
    out.flag(operator.coordinator.is_some());
    if let Some(state) = &operator.coordinator {
        write_object(state, out);
    }
    list(&operator.subtasks, out, write_subtask);
}

fn read_operator(input: &mut Decoder<'_>) -> Result<OperatorMetadata, DecodeError> {
    Ok(OperatorMetadata {
        name: input.text()?.to_owned(),
        max_parallelism: input.varint32()?,
        coordinator: if input.flag()? { Some(read_object(input)?) } else { None },
        subtasks: input.list(4, read_subtask)?,
    })
}

fn write_subtask(subtask: &SubtaskMetadata, out: &mut Encoder) {
    out.flag(subtask.finished);
    out.flag(subtask.ended);
    list(&subtask.state, out, write_object);
    list(&subtask.channels, out, write_object);
}

fn read_subtask(input: &mut Decoder<'_>) -> Result<SubtaskMetadata, DecodeError> {
    Ok(SubtaskMetadata {
        finished: input.flag()?,
        ended: input.flag()?,
        state: input.list(3, read_object)?,
        channels: input.list(3, read_object)?,
    })
}

/// The kinds of objects are numbered: never renumber.
fn write_object(object: &StateObject, out: &mut Encoder) {
    match object {
        StateObject::File(handle) => {
            out.byte(0);
            write_handle(handle, out);
        }
        StateObject::Inline { bytes, nominal } => {
            out.byte(1);
            out.bytes(bytes);
            out.varint(*nominal);
        }
        StateObject::Shared { key, handle } => {
            out.byte(2);
            out.text(&key.0);
            write_handle(handle, out);
        }
    }
}

fn read_object(input: &mut Decoder<'_>) -> Result<StateObject, DecodeError> {
    match input.byte()? {
        0 => Ok(StateObject::File(read_handle(input)?)),
        1 => Ok(StateObject::Inline { bytes: input.bytes()?.to_vec(), nominal: input.varint()? }),
        2 => {
            let key = SharedKey(input.text()?.into());
            Ok(StateObject::Shared { key, handle: read_handle(input)? })
        }
        _ => Err(input.invalid("kind of a state object")),
    }
}

fn write_handle(handle: &StateHandle, out: &mut Encoder) {
    out.text(&handle.path);
    out.varint(handle.bytes);
    out.varint(handle.nominal);
    out.fixed(handle.checksum);
}

fn read_handle(input: &mut Decoder<'_>) -> Result<StateHandle, DecodeError> {
    Ok(StateHandle {
        path: input.text()?.to_owned(),
        bytes: input.varint()?,
        nominal: input.varint()?,
        checksum: input.fixed()?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::damage::damage;

    fn object() -> impl Strategy<Value = StateObject> {
        let bytes = prop::collection::vec(any::<u8>(), 0..20);
        (0..3, "[a-z0-9/.-]{1,20}", bytes, any::<u64>()).prop_map(|(kind, path, bytes, nominal)| {
            match kind {
                0 => StateObject::File(StateHandle::new(path, &bytes, nominal)),
                1 => StateObject::Inline { bytes, nominal },
                _ => {
                    let key = SharedKey(format!("key of {path}").into());
                    StateObject::Shared { key, handle: StateHandle::new(path, &bytes, nominal) }
                }
            }
        })
    }

    fn metadata() -> impl Strategy<Value = Metadata> {
        let objects = || prop::collection::vec(object(), 0..3);
        let subtask = (any::<bool>(), any::<bool>(), objects(), objects()).prop_map(
            |(finished, ended, state, channels)| SubtaskMetadata {
                finished,
                ended,
                state,
                channels,
            },
        );
        let subtasks = prop::collection::vec(subtask, 0..4);
        let operator = (".{0,9}", any::<u32>(), prop::option::of(object()), subtasks).prop_map(
            |(name, max_parallelism, coordinator, subtasks)| OperatorMetadata {
                name,
                max_parallelism,
                coordinator,
                subtasks,
            },
        );
        let operators = prop::collection::vec(operator, 0..4);
        (any::<u64>(), prop::sample::select(&KINDS), any::<u64>(), operators).prop_map(
            |(checkpoint, kind, timestamp, operators)| Metadata {
                checkpoint: CheckpointId(checkpoint),
                kind,
                timestamp: VirtualTime(timestamp),
                operators,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(metadata in metadata()) {
            prop_assert_eq!(Metadata::decode(&metadata.encode())?, metadata);
        }

        #[test]
        fn damage_is_an_error(metadata in metadata(), damage in damage()) {
            let (bytes, noticed) = damage.apply(&metadata.encode());
            prop_assert!(Metadata::decode(&bytes).is_err() || !noticed);
        }
    }

    #[test]
    fn every_object_is_listed() {
        let file = |path: &str| StateObject::File(StateHandle::new(path.to_owned(), b"x", 7));
        let inline = StateObject::Inline { bytes: vec![1], nominal: 1 };
        let subtask = SubtaskMetadata {
            finished: true,
            ended: true,
            state: vec![file("state"), inline],
            channels: vec![file("channels")],
        };
        let operator = OperatorMetadata {
            name: "map".to_owned(),
            max_parallelism: 128,
            coordinator: Some(file("coordinator")),
            subtasks: vec![subtask],
        };
        assert!(operator.is_finished());
        let metadata = Metadata {
            checkpoint: CheckpointId(3),
            kind: SnapshotKind::Checkpoint,
            timestamp: VirtualTime::ZERO,
            operators: vec![operator],
        };
        let paths: Vec<_> = metadata.files().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["coordinator", "state", "channels"]);
        assert_eq!(metadata.objects().map(StateObject::nominal).sum::<u64>(), 3 * 7 + 1);
    }

    #[test]
    fn a_handle_knows_its_bytes() {
        let handle = StateHandle::new("chk-1/x".to_owned(), b"abc", 1_000);
        assert!(handle.matches(b"abc"));
        assert!(!handle.matches(b"abd"));
        assert!(!handle.matches(b"ab"));
    }
}
