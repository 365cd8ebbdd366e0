//! Incremental snapshots of keyed state: only what has changed is uploaded.
//!
//! Concept: the state lives in immutable files, as in a log-structured merge tree. Before a snapshot
//! what has changed goes into a new file; a snapshot is a *manifest* that says which piece of the
//! state is in which file. Files that the last confirmed snapshot has are referred to by their
//! keys, the others are uploaded; once there are too many, all are merged into one (compaction).
//!
//! In Flink: `RocksIncrementalSnapshotStrategy`, `IncrementalRemoteKeyedStateHandle`, with
//! `execution.checkpointing.incremental`. The files of the state stand for RocksDB's SST files.
//!
//! Invariants, asserted by `check` after every snapshot:
//! - every piece of the state is in a file that is alive, and every file that is alive has one;
//! - a file that was dropped never comes back, so that a snapshot has each file that snapshots
//!   before *and* after it have: what a newer checkpoint lets go of, no later one needs;
//! - the base is a snapshot that was confirmed: what was uploaded for any other may be deleted.

use std::collections::{BTreeMap, BTreeSet};

use crate::codec::{DecodeError, Decoder, Encoder, checksum};
use crate::defect::{Defect, Defects};
use crate::ids::{Attempt, CheckpointId, OperatorId};
use crate::message::SnapshotKind;
use crate::storage::handle::SharedKey;
use crate::storage::layout::{Part, PartName};

const FILE: [u8; 4] = *b"CLin";
const MANIFEST: [u8; 4] = *b"CLmf";
const VERSION: u8 = 1;

/// Bytes of a piece of the state: a few entries. What a record changes makes so much new.
pub(super) const PIECE: usize = 64;

/// With more files than these, all are merged. RocksDB: `level0_file_num_compaction_trigger`.
const FILES_MAX: usize = 4;

/// The incremental snapshots of one attempt of a subtask.
#[derive(Clone, Debug)]
pub struct Increments {
    writer: Writer,
    /// Files uploaded so far; their names are numbered.
    uploads: u64,
    /// Files made so far, by flushes and compactions.
    made: u64,
    files: BTreeMap<LocalId, LocalFile>,
    /// For each piece of the state: the file it is in, and its checksum.
    pieces: Vec<(LocalId, u64)>,
    /// The files of the base and of later snapshots, by the keys under which they were uploaded.
    snapshots: BTreeMap<CheckpointId, BTreeMap<LocalId, Uploaded>>,
    /// The last snapshot that was confirmed: the base of the next one.
    base: Option<CheckpointId>,
}

/// Who uploads: it gives files their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writer {
    /// The operator.
    pub operator: OperatorId,
    /// The subtask within the operator.
    pub subtask: u32,
    /// The attempt.
    pub attempt: Attempt,
    /// What is planted.
    pub defects: Defects,
}

impl Writer {
    /// The name of a part that it uploads, which has this number among them.
    pub(super) fn name(&self, number: u64, part: Part) -> PartName {
        let Self { operator, subtask, attempt, defects: _ } = *self;
        PartName { operator, subtask, attempt, number, part }
    }
}

/// A file, in the order of making.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LocalId(u64);

#[derive(Clone, Debug)]
struct LocalFile {
    /// Pieces by their place in the state.
    pieces: BTreeMap<u32, Vec<u8>>,
    nominal: u64,
}

/// A file as it was uploaded, pieces that were alive then and are not now included.
#[derive(Clone, Debug)]
struct Uploaded {
    key: SharedKey,
    bytes: u64,
    checksum: u64,
}

/// What a snapshot consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Increment {
    /// Which piece of the state is in which file; the snapshot's own.
    pub manifest: Vec<u8>,
    /// The files, in the order of the manifest.
    pub files: Vec<IncrementFile>,
}

/// A file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncrementFile {
    /// What checkpoints call it.
    pub key: SharedKey,
    /// Bytes it has.
    pub bytes: u64,
    /// Bytes it stands for.
    pub nominal: u64,
    /// Checksum of its bytes.
    pub checksum: u64,
    /// Its name and its bytes, if it is to be uploaded; `None`: the base has it, and it is known by
    /// its key.
    pub upload: Option<(PartName, Vec<u8>)>,
}

/// A file as it was read.
#[derive(Clone, Copy, Debug)]
pub struct ReadFile<'a> {
    /// What checkpoints call it.
    pub key: &'a SharedKey,
    /// Where it is.
    pub path: &'a str,
    /// Bytes it stands for.
    pub nominal: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// Why a state cannot be put together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssembleError {
    /// The manifest or a file is damaged, or is something else.
    #[error(transparent)]
    Damaged(#[from] DecodeError),
    /// A file that the manifest names is not among those read.
    #[error("the manifest names file {0:?}, which is not there")]
    MissingFile(SharedKey),
    /// A file has not the piece that the manifest says it has.
    #[error("piece {piece} of the state is not in file {file:?}")]
    MissingPiece {
        /// The place of the piece.
        piece: usize,
        /// Where it should be.
        file: SharedKey,
    },
}

impl Increments {
    /// An attempt that starts without a base.
    pub fn new(writer: Writer) -> Self {
        Self {
            writer,
            uploads: 0,
            made: 0,
            files: BTreeMap::new(),
            pieces: Vec::new(),
            snapshots: BTreeMap::new(),
            base: None,
        }
    }

    /// An attempt that starts from an incremental snapshot, which is its base (R4); and the state,
    /// in one piece.
    ///
    /// # Errors
    /// The snapshot cannot be read.
    pub fn restored(
        writer: Writer,
        checkpoint: CheckpointId,
        manifest: &[u8],
        files: &[ReadFile<'_>],
    ) -> Result<(Self, Vec<u8>), AssembleError> {
        let read = Read::new(manifest, files)?;
        let mut restored = Self::new(writer);
        let mut keys = BTreeMap::new();
        for (file, _) in &read.files {
            let id = restored.next_id();
            let local = LocalFile { pieces: BTreeMap::new(), nominal: file.nominal };
            restored.files.insert(id, local);
            keys.insert(id, Uploaded::new(file.key.clone(), file.bytes));
        }
        for (place, file) in (0..).zip(&read.places) {
            let bytes = read.piece(place)?;
            let id = LocalId(*file as u64 + 1);
            restored.pieces.push((id, checksum(bytes)));
            let file = restored.files.get_mut(&id).expect("the manifest's files were just added");
            file.pieces.insert(place as u32, bytes.to_vec());
        }
        restored.drop_dead();
        restored.snapshots.insert(checkpoint, keys);
        restored.base = Some(checkpoint);
        restored.check();
        Ok((restored, read.state()?))
    }

    /// B5: what is to be uploaded of a state.
    ///
    /// A full checkpoint uploads everything once more and is a base like any other. Flink:
    /// `SnapshotType.SharingFilesStrategy`. Savepoints are no business of ours.
    pub fn snapshot(
        &mut self,
        checkpoint: CheckpointId,
        kind: SnapshotKind,
        state: &[u8],
        nominal: u64,
    ) -> Increment {
        assert!(!kind.is_savepoint(), "a savepoint has its state in one piece");
        self.flush(state, nominal);
        if self.files.len() > FILES_MAX {
            self.compact(nominal);
        }
        let base = self.base.filter(|_| kind != SnapshotKind::FullCheckpoint);
        let base = base.map(|base| &self.snapshots[&base]);
        let mut keys = BTreeMap::new();
        let mut files = Vec::new();
        for (id, file) in &self.files {
            let (uploaded, upload) = match base.and_then(|base| base.get(id)) {
                Some(uploaded) => (uploaded.clone(), None),
                None => {
                    self.uploads += 1;
                    let name = self.writer.name(self.uploads, Part::State);
                    let bytes = file.encode();
                    let Writer { operator, subtask, defects, .. } = self.writer;
                    let key = match defects.has(Defect::D33) {
                        true => format!("o{}-s{subtask}-{}", operator.0, id.0), // Its local name.
                        false => name.to_string(),
                    };
                    let key = SharedKey(key.into());
                    (Uploaded::new(key, &bytes), Some((name, bytes)))
                }
            };
            let Uploaded { key, bytes, checksum } = uploaded.clone();
            keys.insert(*id, uploaded);
            files.push(IncrementFile { key, bytes, nominal: file.nominal, checksum, upload });
        }
        let manifest = self.manifest(state.len(), &keys);
        self.snapshots.insert(checkpoint, keys);
        if self.writer.defects.has(Defect::D32) {
            self.base = Some(checkpoint);
        }
        self.check();
        Increment { manifest, files }
    }

    /// N1: the checkpoint is complete and can be a base. Flink: `notifyCheckpointComplete`.
    pub fn on_complete(&mut self, checkpoint: CheckpointId) {
        if Some(checkpoint) > self.base && self.snapshots.contains_key(&checkpoint) {
            self.base = Some(checkpoint);
            self.snapshots.retain(|id, _| *id >= checkpoint);
        }
    }

    /// The checkpoint will never be a base. Flink: `notifyCheckpointAborted`.
    pub fn on_aborted(&mut self, checkpoint: CheckpointId) {
        if Some(checkpoint) != self.base {
            self.snapshots.remove(&checkpoint);
        }
    }

    /// Puts the pieces that have changed into a new file.
    fn flush(&mut self, state: &[u8], nominal: u64) {
        let id = self.next_id();
        let count = state.len().div_ceil(PIECE);
        let kept = count.min(self.pieces.len());
        for (place, (file, _)) in (kept..).zip(self.pieces.drain(kept..)) {
            self.files.get_mut(&file).expect("a piece is in a file").pieces.remove(&(place as u32));
        }
        let mut file = LocalFile { pieces: BTreeMap::new(), nominal: 0 };
        let mut changed = 0;
        for (place, piece) in state.chunks(PIECE).enumerate() {
            let sum = checksum(piece);
            match self.pieces.get_mut(place) {
                Some((_, known)) if *known == sum => continue,
                Some(known) => {
                    let old = self.files.get_mut(&known.0).expect("a piece is in a file");
                    old.pieces.remove(&(place as u32));
                    *known = (id, sum);
                }
                None => self.pieces.push((id, sum)),
            }
            changed += piece.len();
            file.pieces.insert(place as u32, piece.to_vec());
        }
        if !file.pieces.is_empty() {
            let share = u128::from(nominal) * changed as u128 / state.len() as u128;
            file.nominal = share as u64;
            self.files.insert(id, file);
        }
        self.drop_dead();
    }

    /// Merges all files into one.
    fn compact(&mut self, nominal: u64) {
        let id = self.next_id();
        let mut merged = LocalFile { pieces: BTreeMap::new(), nominal };
        for (_, file) in std::mem::take(&mut self.files) {
            merged.pieces.extend(file.pieces);
        }
        for (file, _) in &mut self.pieces {
            *file = id;
        }
        self.files.insert(id, merged);
    }

    /// A file none of whose pieces is used is gone for good.
    fn drop_dead(&mut self) {
        self.files.retain(|_, file| !file.pieces.is_empty());
    }

    fn next_id(&mut self) -> LocalId {
        self.made += 1;
        LocalId(self.made)
    }

    fn manifest(&self, length: usize, keys: &BTreeMap<LocalId, Uploaded>) -> Vec<u8> {
        let mut out = Encoder::new(MANIFEST, VERSION);
        out.varint(length as u64);
        out.varint(keys.len() as u64);
        keys.values().for_each(|uploaded| out.text(&uploaded.key.0));
        out.varint(self.pieces.len() as u64);
        let ids: Vec<&LocalId> = keys.keys().collect();
        for (id, _) in &self.pieces {
            let index = ids.binary_search(&id).expect("a piece is in a file that is alive");
            out.varint(index as u64);
        }
        out.seal()
    }

    fn check(&self) {
        let used: BTreeSet<LocalId> = self.pieces.iter().map(|(file, _)| *file).collect();
        assert!(used.iter().eq(self.files.keys()), "files are alive exactly if they are used");
        assert!(self.base.is_none_or(|base| self.snapshots.contains_key(&base)));
    }
}

impl Uploaded {
    fn new(key: SharedKey, bytes: &[u8]) -> Self {
        Self { key, bytes: bytes.len() as u64, checksum: checksum(bytes) }
    }
}

impl LocalFile {
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(FILE, VERSION);
        out.varint(self.pieces.len() as u64);
        for (place, bytes) in &self.pieces {
            out.varint(u64::from(*place));
            out.bytes(bytes);
        }
        out.seal()
    }
}

/// A state in pieces, as it was read.
struct Read<'a> {
    length: usize,
    /// The files of the manifest, each with its pieces by their places.
    files: Vec<(ReadFile<'a>, BTreeMap<u64, Vec<u8>>)>,
    /// The file of each piece.
    places: Vec<usize>,
}

impl<'a> Read<'a> {
    fn new(manifest: &[u8], files: &[ReadFile<'a>]) -> Result<Self, AssembleError> {
        let mut input = Decoder::open(manifest, MANIFEST, VERSION)?;
        let length = input.varint()? as usize;
        let mut read = Vec::new();
        for _ in 0..input.count(1)? {
            let key = SharedKey(input.text()?.into());
            let file = files.iter().find(|file| *file.key == key);
            let file = *file.ok_or(AssembleError::MissingFile(key))?;
            read.push((file, decode_file(file.bytes)?));
        }
        let mut places = Vec::new();
        for _ in 0..input.count(1)? {
            let index = input.varint()? as usize;
            if index >= read.len() {
                return Err(input.invalid("number of a file").into());
            }
            places.push(index);
        }
        input.end()?;
        Ok(Self { length, files: read, places })
    }

    fn piece(&self, place: usize) -> Result<&[u8], AssembleError> {
        let (file, pieces) = &self.files[self.places[place]];
        let missing = || AssembleError::MissingPiece { piece: place, file: file.key.clone() };
        pieces.get(&(place as u64)).map(Vec::as_slice).ok_or_else(missing)
    }

    fn state(&self) -> Result<Vec<u8>, AssembleError> {
        let mut state = Vec::new();
        for place in 0..self.places.len() {
            state.extend_from_slice(self.piece(place)?);
        }
        state.truncate(self.length);
        Ok(state)
    }
}

fn decode_file(bytes: &[u8]) -> Result<BTreeMap<u64, Vec<u8>>, DecodeError> {
    let mut input = Decoder::open(bytes, FILE, VERSION)?;
    let mut pieces = BTreeMap::new();
    for _ in 0..input.count(2)? {
        let place = input.varint()?;
        pieces.insert(place, input.bytes()?.to_vec());
    }
    input.end()?;
    Ok(pieces)
}

/// The state of an incremental snapshot, in one piece.
///
/// # Errors
/// A file is missing or damaged.
pub fn assemble(manifest: &[u8], files: &[ReadFile<'_>]) -> Result<Vec<u8>, AssembleError> {
    Read::new(manifest, files)?.state()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WRITER: Writer = Writer {
        operator: OperatorId(2),
        subtask: 1,
        attempt: Attempt(3),
        defects: Defects::none(),
    };

    /// What the store has of a snapshot.
    #[derive(Clone, Debug)]
    struct Stored {
        manifest: Vec<u8>,
        files: Vec<(SharedKey, u64)>,
        state: Vec<u8>,
    }

    fn read<'a>(stored: &'a Stored, store: &'a BTreeMap<SharedKey, Vec<u8>>) -> Vec<ReadFile<'a>> {
        let file = |(key, nominal): &'a (SharedKey, u64)| ReadFile {
            key,
            path: "",
            nominal: *nominal,
            bytes: &store[key],
        };
        stored.files.iter().map(file).collect()
    }

    fn increments(increments: &mut Increments, id: u64, state: &[u8]) -> Increment {
        increments.snapshot(CheckpointId(id), SnapshotKind::Checkpoint, state, 1_000_000)
    }

    fn uploaded(increment: &Increment) -> u64 {
        let new = increment.files.iter().filter(|file| file.upload.is_some());
        new.map(|file| file.nominal).sum()
    }

    #[test]
    fn only_what_has_changed_is_uploaded() {
        let mut machine = Increments::new(WRITER);
        let mut state = vec![0; 10 * PIECE];
        assert_eq!(uploaded(&increments(&mut machine, 1, &state)), 1_000_000);
        machine.on_complete(CheckpointId(1));
        state[3 * PIECE] = 1;
        let second = increments(&mut machine, 2, &state);
        assert_eq!(uploaded(&second), 100_000);
        assert_eq!(second.files.len(), 2);
        let name = second.files[1].upload.as_ref().expect("new").0.to_string();
        assert_eq!((name.as_str(), &*second.files[1].key.0), ("o2-s1-a3-n2.state", name.as_str()));
        machine.on_complete(CheckpointId(2));
        assert_eq!(uploaded(&increments(&mut machine, 3, &state)), 0);
    }

    #[test]
    fn only_a_confirmed_snapshot_is_a_base() {
        let mut machine = Increments::new(WRITER);
        let state = vec![7; 4 * PIECE];
        for id in 1..4 {
            assert_eq!(uploaded(&increments(&mut machine, id, &state)), 1_000_000, "{id}");
        }
        machine.on_aborted(CheckpointId(3));
        machine.on_complete(CheckpointId(3)); // Late, of one that was aborted.
        assert_eq!(uploaded(&increments(&mut machine, 4, &state)), 1_000_000);
        machine.on_complete(CheckpointId(2));
        assert_eq!(uploaded(&increments(&mut machine, 5, &state)), 0);
        let full = SnapshotKind::FullCheckpoint;
        let full = machine.snapshot(CheckpointId(6), full, &state, 1_000_000);
        assert_eq!(uploaded(&full), 1_000_000);
        machine.on_complete(CheckpointId(6));
        assert_eq!(uploaded(&increments(&mut machine, 7, &state)), 0);
    }

    #[test]
    fn what_is_missing_or_damaged_is_noticed() {
        let mut machine = Increments::new(WRITER);
        let first = increments(&mut machine, 1, &[1; 3 * PIECE]);
        let file = &first.files[0];
        let mut bytes = file.upload.clone().expect("new").1;
        let whole = ReadFile { key: &file.key, path: "", nominal: 1, bytes: &bytes.clone() };
        assert_eq!(assemble(&first.manifest, &[whole]), Ok(vec![1; 3 * PIECE]));
        let missing = assemble(&first.manifest, &[]);
        assert_eq!(missing, Err(AssembleError::MissingFile(file.key.clone())));
        bytes[20] ^= 1;
        let damaged = assemble(&first.manifest, &[ReadFile { bytes: &bytes, ..whole }]);
        assert!(matches!(damaged, Err(AssembleError::Damaged(_))), "{damaged:?}");
    }

    proptest! {
        /// States that change here and there, checkpoints that complete, are aborted or are never
        /// heard of again, and restores: what is stored gives the state back, at any time, as long as
        /// the files of the confirmed snapshots are kept.
        #[test]
        fn what_is_uploaded_gives_the_state_back(
            steps in prop::collection::vec((0_u8..8, any::<u16>(), 0_usize..900), 1..60)
        ) {
            let mut machine = Increments::new(WRITER);
            let mut state = vec![0_u8; 300];
            let mut store: BTreeMap<SharedKey, Vec<u8>> = BTreeMap::new();
            let mut taken: BTreeMap<CheckpointId, Stored> = BTreeMap::new();
            let mut confirmed: Option<CheckpointId> = None;
            for (id, (what, value, length)) in (1..).map(CheckpointId).zip(steps) {
                state.resize(length.max(1), value as u8);
                let at = usize::from(value) % state.len();
                state[at] = state[at].wrapping_add(1);
                let increment = machine.snapshot(id, SnapshotKind::Checkpoint, &state, 1_000);
                prop_assert!(increment.files.len() <= FILES_MAX);
                for file in &increment.files {
                    match &file.upload {
                        Some((_, bytes)) => {
                            let twice = store.insert(file.key.clone(), bytes.clone());
                            prop_assert!(twice.is_none());
                        }
                        None => {
                            let base = &taken[&confirmed.expect("there is a base")];
                            prop_assert!(base.files.iter().any(|(key, _)| *key == file.key));
                        }
                    }
                }
                let files = increment.files.iter().map(|it| (it.key.clone(), it.nominal)).collect();
                let manifest = increment.manifest;
                taken.insert(id, Stored { manifest, files, state: state.clone() });
                match what {
                    0..=3 => {
                        machine.on_complete(id);
                        confirmed = Some(id);
                    }
                    4 => machine.on_aborted(id),
                    5 => if let Some(base) = confirmed {
                        let stored = &taken[&base];
                        // Each execution is another attempt, also the second one from a checkpoint.
                        let writer = Writer { attempt: Attempt(id.0 as u32 + 10), ..WRITER };
                        let files = read(stored, &store);
                        (machine, state) = Increments::restored(writer, base, &stored.manifest, &files)?;
                        prop_assert_eq!(&state, &stored.state);
                    },
                    _ => {}
                }
                for stored in taken.values() {
                    prop_assert_eq!(&assemble(&stored.manifest, &read(stored, &store))?, &stored.state);
                }
            }
        }
    }
}
