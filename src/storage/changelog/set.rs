//! The bytes of a log: change sets, and the manifest that says what a snapshot is made of.
//!
//! A change set is what differs between two states, piece by piece; applied to the first it gives
//! the second. In Flink each update is an entry, so that a key that is updated twice is there twice:
//! here that shows in the nominal size alone.

use crate::codec::{DecodeError, Decoder, Encoder, checksum};
use crate::storage::handle::SharedKey;
use crate::storage::increment::{self, AssembleError, PIECE, ReadFile};

const SET: [u8; 4] = *b"CLcs";
const MANIFEST: [u8; 4] = *b"CLcl";
const VERSION: u8 = 1;

/// A state as it was last logged: enough to tell what has changed since.
#[derive(Clone, Debug, Default)]
pub(super) struct Logged {
    length: usize,
    /// Checksums of the pieces.
    pieces: Vec<u64>,
}

impl Logged {
    pub(super) fn of(state: &[u8]) -> Self {
        Self { length: state.len(), pieces: state.chunks(PIECE).map(checksum).collect() }
    }

    /// Whether nothing was logged yet.
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The changes that lead to a state, which is the last logged one from now on; `None`: there
    /// are none.
    pub(super) fn advance(&mut self, state: &[u8]) -> Option<Vec<u8>> {
        let now = Self::of(state);
        let before = |place: usize| self.pieces.get(place);
        let changed = (0..now.pieces.len()).filter(|at| before(*at) != Some(&now.pieces[*at]));
        let changed: Vec<usize> = changed.collect();
        if changed.is_empty() && now.length == self.length {
            return None;
        }
        let mut out = Encoder::new(SET, VERSION);
        out.varint(state.len() as u64);
        out.varint(changed.len() as u64);
        for place in changed {
            let from = place * PIECE;
            out.varint(place as u64);
            out.bytes(&state[from..state.len().min(from + PIECE)]);
        }
        *self = now;
        Some(out.seal())
    }
}

/// Takes a state on by the changes of a set.
fn apply(state: &mut Vec<u8>, set: &[u8]) -> Result<(), DecodeError> {
    let mut input = Decoder::open(set, SET, VERSION)?;
    let length = input.varint()? as usize;
    let mut pieces = Vec::new();
    let mut known = state.len();
    for _ in 0..input.count(2)? {
        let from = (input.varint()? as usize).saturating_mul(PIECE);
        let bytes = input.bytes()?;
        let end = from.saturating_add(bytes.len());
        if end > length {
            return Err(input.invalid("place of a piece"));
        }
        known = known.max(end);
        pieces.push((from, bytes));
    }
    // A set holds all that is new: it makes no state longer than that.
    if length > known {
        return Err(input.invalid("length of a state"));
    }
    input.end()?;
    state.resize(length, 0);
    for (from, bytes) in pieces {
        state[from..from + bytes.len()].copy_from_slice(bytes);
    }
    Ok(())
}

/// What a snapshot is made of. Flink: `ChangelogStateBackendHandle`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) base: Base,
    /// The change sets since, in their order.
    pub(super) sets: Vec<SharedKey>,
}

/// The materialised part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// There is none: the log has begun with an empty state.
    Nothing,
    /// One file with the whole state.
    Whole(SharedKey),
    /// An incremental snapshot, with its own manifest.
    Increment(Vec<u8>),
}

impl Manifest {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(MANIFEST, VERSION);
        match &self.base {
            Base::Nothing => out.byte(0),
            Base::Whole(key) => {
                out.byte(1);
                out.text(&key.0);
            }
            Base::Increment(manifest) => {
                out.byte(2);
                out.bytes(manifest);
            }
        }
        out.varint(self.sets.len() as u64);
        self.sets.iter().for_each(|key| out.text(&key.0));
        out.seal()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Decoder::open(bytes, MANIFEST, VERSION)?;
        let base = match input.byte()? {
            0 => Base::Nothing,
            1 => Base::Whole(SharedKey(input.text()?.into())),
            2 => Base::Increment(input.bytes()?.to_vec()),
            _ => return Err(input.invalid("kind of a materialised part")),
        };
        let sets = input.list(1, |input| Ok(SharedKey(input.text()?.into())))?;
        input.end()?;
        Ok(Self { base, sets })
    }

    /// The state after all changes.
    pub(super) fn replay(&self, files: &[ReadFile<'_>]) -> Result<Vec<u8>, AssembleError> {
        let mut state = match &self.base {
            Base::Nothing => Vec::new(),
            Base::Whole(key) => find(files, key)?.bytes.to_vec(),
            Base::Increment(manifest) => increment::assemble(manifest, files)?,
        };
        for key in &self.sets {
            apply(&mut state, find(files, key)?.bytes)?;
        }
        Ok(state)
    }
}

/// The file of this key among those that were read.
pub(super) fn find<'f, 'a>(
    files: &'f [ReadFile<'a>],
    key: &SharedKey,
) -> Result<&'f ReadFile<'a>, AssembleError> {
    let file = files.iter().find(|file| *file.key == *key);
    file.ok_or_else(|| AssembleError::MissingFile(key.clone()))
}

/// Whether a part of a snapshot says which files the rest of it is in, and what changes they hold.
pub fn is_manifest(bytes: &[u8]) -> bool {
    bytes.starts_with(&MANIFEST)
}

/// Whether there is a materialised part in a changelog snapshot, and how many change sets.
///
/// # Errors
/// The manifest is damaged.
pub fn contents(manifest: &[u8]) -> Result<(bool, u32), AssembleError> {
    let Manifest { base, sets } = Manifest::decode(manifest)?;
    Ok((base != Base::Nothing, sets.len() as u32))
}

/// The state of a changelog snapshot, in one piece.
///
/// # Errors
/// A file is missing or damaged.
pub fn assemble(manifest: &[u8], files: &[ReadFile<'_>]) -> Result<Vec<u8>, AssembleError> {
    Manifest::decode(manifest)?.replay(files)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::damage::damage;

    fn manifest() -> impl Strategy<Value = Manifest> {
        let key = || "[a-z0-9.-]{1,12}".prop_map(|it| SharedKey(it.as_str().into()));
        let base = prop_oneof![
            Just(Base::Nothing),
            key().prop_map(Base::Whole),
            prop::collection::vec(any::<u8>(), 0..30).prop_map(Base::Increment),
        ];
        (base, prop::collection::vec(key(), 0..4)).prop_map(|(base, sets)| Manifest { base, sets })
    }

    fn state() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(0..4_u8, 0..5 * PIECE)
    }

    proptest! {
        #[test]
        fn changes_lead_from_one_state_to_the_next(states in prop::collection::vec(state(), 1..6)) {
            let (mut logged, mut replayed) = (Logged::default(), Vec::new());
            for state in &states {
                let before = replayed.clone();
                match logged.advance(state) {
                    Some(set) => apply(&mut replayed, &set)?,
                    None => prop_assert_eq!(&before, state),
                }
                prop_assert_eq!(&replayed, state);
            }
        }

        #[test]
        fn a_manifest_reads_back(manifest in manifest(), damage in damage()) {
            let bytes = manifest.encode();
            prop_assert!(is_manifest(&bytes));
            prop_assert_eq!(Manifest::decode(&bytes)?, manifest);
            let (bytes, noticed) = damage.apply(&bytes);
            prop_assert!(Manifest::decode(&bytes).is_err() || !noticed);
        }

        #[test]
        fn damaged_changes_are_an_error(state in state(), damage in damage()) {
            let set = Logged::default().advance(&state);
            if let Some(set) = set {
                let (bytes, noticed) = damage.apply(&set);
                prop_assert!(apply(&mut Vec::new(), &bytes).is_err() || !noticed);
            }
        }
    }
}
