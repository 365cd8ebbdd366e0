//! Changelog snapshots of keyed state: changes are logged, and the log is what a checkpoint uploads.
//!
//! Concept: a snapshot is the last *materialised* state and the *change sets* since. The state is
//! materialised now and then, apart from checkpoints; a checkpoint uploads no more than the sets
//! that are not on storage yet, so that its time does not depend on the size of the state. What is
//! saved there is paid when the job is restored: all sets are read and applied.
//!
//! In Flink: `ChangelogKeyedStateBackend`, `FsStateChangelogWriter`, `ChangelogTruncateHelper`,
//! `TaskChangelogRegistry`; `state.changelog.*`. The time at which states are materialised is the
//! caller's (`PeriodicMaterializationManager`).
//!
//! Who deletes what: a file that no acknowledgement has named is known here alone, and is given out
//! for deletion once nothing can name it any more. From its first acknowledgement on it belongs to
//! the [registry](super::registry), which lets go of it when newer checkpoints do without; if that
//! acknowledgement is lost, and no later one names it, it stays for ever: whether it is lost is not
//! known here. Deviation: Flink's task manager keeps it until a checkpoint with it is confirmed, and
//! what it was not told about stays for ever when the task ends. Each file is one operator's; Flink puts what
//! several write within `batch.persist-delay` into one. A set that could not be uploaded goes with
//! the next checkpoint; in Flink no checkpoint succeeds until a materialisation has passed it.
//!
//! Invariants, asserted by `check`:
//! - the log is whole: each set since the materialised state is there, kept, under way or stored;
//! - what a later snapshot has of the files of an earlier one is what all between them have, so
//!   that the registry deletes nothing that is named once more;
//! - a materialisation begins only if the last one was confirmed by a checkpoint, or has failed.

mod attempts;
mod materialization;
mod set;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use self::attempts::NextAttempt;
pub use self::materialization::{FailedMaterialization, MaterializationId, Progress};
pub use self::set::{assemble, contents, is_manifest};

use self::attempts::Attempts;
use self::materialization::{Materialized, Materializing};
use self::set::{Base, Logged, Manifest, find};
use super::handle::SharedKey;
use super::increment::{AssembleError, Increments, PIECE, ReadFile, Writer};
use super::layout::{Directory, Part, PartName, Path};
use crate::codec::checksum;
use crate::config::ChangelogOptions;
use crate::ids::CheckpointId;
use crate::message::SnapshotKind;
use crate::time::VirtualDuration;

/// The place of a change set in the log. Flink: `SequenceNumber`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SequenceNumber(pub u64);

/// What an attempt must know of its log from the start.
#[derive(Clone, Debug)]
pub struct ChangelogConfig {
    /// Who writes.
    pub writer: Writer,
    /// What is set.
    pub options: ChangelogOptions,
    /// The states are materialised as increments. Flink: `execution.checkpointing.incremental`.
    pub incremental: bool,
    /// Bytes that an update of a key logs; 0: a piece of the serialised state.
    pub bytes_per_update: u64,
    /// The contents of files are at hand as long as they are part of the state, for copies of them.
    pub keeps_contents: bool,
}

/// A file of the log, or of the materialised state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// What checkpoints call it.
    pub key: SharedKey,
    /// Its path.
    pub path: String,
    /// Bytes it has.
    pub bytes: u64,
    /// Bytes it stands for.
    pub nominal: u64,
    /// Checksum of its bytes.
    pub checksum: u64,
}

/// A file to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogUpload {
    /// The file.
    pub file: LogFile,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A snapshot for a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSnapshot {
    /// What it is made of; part of the metadata.
    pub manifest: Vec<u8>,
    /// Files of it that are on storage.
    pub stored: Vec<LogFile>,
    /// Change sets of it that are not: it is complete when they are. Each becomes a
    /// [`file`](Changelog::file).
    pub awaited: Vec<SequenceNumber>,
    /// Those of them whose upload is to be begun.
    pub to_upload: Vec<SequenceNumber>,
    /// The contents of all files, if they are kept.
    pub contents: Vec<(SharedKey, Arc<[u8]>)>,
}

/// The log of one operator's keyed state, in one attempt of a subtask.
#[derive(Clone, Debug)]
pub struct Changelog {
    config: ChangelogConfig,
    increments: Option<Increments>,
    /// Files named so far.
    numbers: u64,
    logged: Logged,
    /// Nominal bytes that were logged since the end of the last set.
    active: u64,
    /// The caller was told that they are many.
    is_persist_asked: bool,
    /// The last set that was persisted ahead, until its upload begins.
    delayed: Option<SequenceNumber>,
    /// Of the next set.
    next: SequenceNumber,
    /// Those since the materialised state, and older ones that a snapshot under way has.
    sets: BTreeMap<SequenceNumber, ChangeSet>,
    materialized: Materialized,
    materializing: Option<Materializing>,
    materialization_last: MaterializationId,
    materialization_confirmed: MaterializationId,
    materialization_failed: Option<MaterializationId>,
    failures_in_row: u32,
    /// Files of materialised states.
    files: BTreeMap<SharedKey, Stored>,
    /// Snapshots that are neither confirmed nor given up.
    taken: BTreeMap<CheckpointId, Taken>,
    /// Files that an acknowledgement has named: they are not ours to delete.
    named: BTreeSet<SharedKey>,
    is_closed: bool,
}

#[derive(Clone, Debug)]
struct ChangeSet {
    nominal: u64,
    contents: Arc<[u8]>,
    /// It is the first: all of a state, and not what has changed of one.
    is_whole: bool,
    /// Attempts at uploading it that were made in series that were given up.
    attempts: u32,
    status: Status,
}

#[derive(Clone, Debug)]
enum Status {
    /// Not asked for yet.
    Kept,
    UnderWay(Attempts),
    Stored(LogFile),
}

#[derive(Clone, Debug)]
struct Stored {
    file: LogFile,
    /// Empty unless they are kept.
    contents: Arc<[u8]>,
}

#[derive(Clone, Debug)]
struct Taken {
    materialization: MaterializationId,
    base: Vec<SharedKey>,
    sets: std::ops::Range<SequenceNumber>,
    is_acknowledged: bool,
}

impl Changelog {
    /// An attempt whose state is not known to be on storage. What it has restored is its first
    /// change set, whose upload has no timeout.
    ///
    /// Deviation: in Flink the restored files are the materialised part of its checkpoints.
    pub fn new(config: ChangelogConfig) -> Self {
        let materialized = Materialized {
            id: MaterializationId::default(),
            base: Base::Nothing,
            files: Vec::new(),
            to: SequenceNumber::default(),
        };
        Self {
            increments: config.incremental.then(|| Increments::new(config.writer)),
            config,
            numbers: 0,
            logged: Logged::default(),
            active: 0,
            is_persist_asked: false,
            delayed: None,
            next: SequenceNumber::default(),
            sets: BTreeMap::new(),
            materialized,
            materializing: None,
            materialization_last: MaterializationId::default(),
            materialization_confirmed: MaterializationId::default(),
            materialization_failed: None,
            failures_in_row: 0,
            files: BTreeMap::new(),
            taken: BTreeMap::new(),
            named: BTreeSet::new(),
            is_closed: false,
        }
    }

    /// An attempt that starts from a changelog snapshot (R4), which its checkpoints refer to; and
    /// the state, in one piece.
    ///
    /// # Errors
    /// The snapshot cannot be read.
    pub fn restored(
        config: ChangelogConfig,
        manifest: &[u8],
        files: &[ReadFile<'_>],
    ) -> Result<(Self, Vec<u8>), AssembleError> {
        let manifest = Manifest::decode(manifest)?;
        let state = manifest.replay(files)?;
        let mut log = Self::new(config);
        let is_set = |file: &&ReadFile<'_>| manifest.sets.contains(file.key);
        for file in files.iter().filter(|file| !is_set(file)) {
            let stored = log.stored(LogFile::read(file), file.bytes);
            log.materialized.files.push(file.key.clone());
            log.files.insert(file.key.clone(), stored);
        }
        if let Base::Increment(nested) = &manifest.base
            && log.config.incremental
        {
            let id = CheckpointId(0);
            let (base, _) = Increments::restored(log.config.writer, id, nested, files)?;
            log.increments = Some(base);
        }
        for key in &manifest.sets {
            let file = find(files, key)?;
            let status = Status::Stored(LogFile::read(file));
            let contents = log.contents(file.bytes);
            let nominal = file.nominal;
            let set = ChangeSet { nominal, contents, is_whole: false, attempts: 0, status };
            log.sets.insert(log.next, set);
            log.next.0 += 1;
        }
        log.named.extend(files.iter().map(|file| file.key.clone()));
        log.materialized.base = manifest.base;
        log.logged = Logged::of(&state);
        log.check();
        Ok((log, state))
    }

    /// So many updates of keys were made.
    #[inline]
    pub fn append(&mut self, updates: u64) {
        let bytes = match self.config.bytes_per_update {
            0 => PIECE as u64,
            bytes => bytes,
        };
        self.active = self.active.saturating_add(bytes.saturating_mul(updates));
    }

    /// Whether so much was logged that it is to be persisted ahead of the next checkpoint; said once.
    /// Flink: `preemptive-persist-threshold`.
    ///
    /// What is logged before the upload of the last such set begins (`batch.persist-delay`) goes into
    /// one set after it. In Flink it goes into the same file: either way the threshold, however low,
    /// makes no more than a file in that time.
    #[inline]
    pub fn asks_to_persist(&mut self) -> bool {
        let least = self.config.options.preemptive_persist_threshold.max(1);
        let asks = self.active >= least && self.delayed.is_none();
        asks && !std::mem::replace(&mut self.is_persist_asked, true)
    }

    /// Persists all changes ahead of the next checkpoint: the sets whose upload is to be begun.
    pub fn persist(&mut self, state: &[u8], nominal: u64) -> Vec<SequenceNumber> {
        if self.is_closed {
            return Vec::new();
        }
        self.roll_over(state, nominal);
        let to_upload = self.begin_uploads();
        self.delayed = to_upload.last().copied();
        self.check();
        to_upload
    }

    /// B5: what a checkpoint has of the state. Savepoints are no business of ours.
    pub fn snapshot(
        &mut self,
        checkpoint: CheckpointId,
        kind: SnapshotKind,
        state: &[u8],
        nominal: u64,
    ) -> LogSnapshot {
        assert!(!kind.is_savepoint(), "a savepoint has its state in one piece");
        self.roll_over(state, nominal);
        let to_upload = self.begin_uploads();
        let sets = self.materialized.to..self.next;
        let base = self.materialized.files.clone();
        let mut snapshot = LogSnapshot { to_upload, ..LogSnapshot::default() };
        let mut keys = Vec::new();
        for key in &base {
            let Stored { file, contents } = &self.files[key];
            snapshot.stored.push(file.clone());
            snapshot.contents.push((key.clone(), Arc::clone(contents)));
        }
        for (number, set) in self.sets.range(sets.clone()) {
            let key = match &set.status {
                Status::Stored(file) => {
                    snapshot.stored.push(file.clone());
                    file.key.clone()
                }
                Status::Kept | Status::UnderWay(_) => {
                    snapshot.awaited.push(*number);
                    self.key(*number)
                }
            };
            snapshot.contents.push((key.clone(), Arc::clone(&set.contents)));
            keys.push(key);
        }
        if !self.config.keeps_contents {
            snapshot.contents.clear();
        }
        let manifest = Manifest { base: self.materialized.base.clone(), sets: keys };
        snapshot.manifest = manifest.encode();
        let materialization = self.materialized.id;
        let taken = Taken { materialization, base, sets, is_acknowledged: false };
        self.taken.insert(checkpoint, taken);
        self.check();
        snapshot
    }

    /// The file of a change set that is stored.
    pub fn file(&self, set: SequenceNumber) -> Option<&LogFile> {
        match &self.sets.get(&set)?.status {
            Status::Stored(file) => Some(file),
            Status::Kept | Status::UnderWay(_) => None,
        }
    }

    /// An attempt at uploading a set begins: its number, and what is to be written. `None`: the set
    /// is stored, or nobody needs it any more.
    pub fn attempt(&mut self, set: SequenceNumber) -> Option<(u32, LogUpload)> {
        self.delayed.take_if(|delayed| *delayed == set);
        let key = self.key(set);
        let log = self.sets.get_mut(&set)?;
        let Status::UnderWay(attempts) = &mut log.status else { return None };
        self.numbers += 1;
        let name = self.config.writer.name(self.numbers, Part::Changes);
        let file = LogFile::new(key, name, &log.contents, log.nominal);
        Some((attempts.begin(), LogUpload { file, bytes: log.contents.to_vec() }))
    }

    /// Whether `upload.timeout` is for this set. One with all of a state takes as long as it takes,
    /// as a materialisation does: else a job that is resumed with a large state would never take a
    /// checkpoint.
    pub fn has_timeout(&self, set: SequenceNumber) -> bool {
        self.sets.get(&set).is_some_and(|set| !set.is_whole)
    }

    /// An attempt has succeeded. False: another one had before, or nobody needs the set any more, so
    /// that the file is for nobody.
    pub fn on_stored(&mut self, set: SequenceNumber, file: LogFile) -> bool {
        let keeps = self.config.keeps_contents;
        let Some(log) = self.sets.get_mut(&set) else { return false };
        match log.status {
            // One that was given up may come through in the end.
            Status::UnderWay(_) | Status::Kept => {
                log.status = Status::Stored(file);
                if !keeps {
                    log.contents = Arc::from([]);
                }
                true
            }
            Status::Stored(_) => false,
        }
    }

    /// An attempt has failed.
    pub fn on_attempt_failed(&mut self, set: SequenceNumber, attempt: u32) -> NextAttempt {
        self.on_failed(set, attempt, self.config.options.upload_retry_delay)
    }

    /// An attempt takes longer than `upload.timeout`.
    pub fn on_attempt_slow(&mut self, set: SequenceNumber, attempt: u32) -> NextAttempt {
        self.on_failed(set, attempt, VirtualDuration::ZERO)
    }

    fn on_failed(
        &mut self,
        set: SequenceNumber,
        attempt: u32,
        delay: VirtualDuration,
    ) -> NextAttempt {
        let Some(log) = self.sets.get_mut(&set) else { return NextAttempt::None };
        let Status::UnderWay(attempts) = &mut log.status else { return NextAttempt::None };
        let next = attempts.on_failed(attempt, self.config.options.upload_attempts, delay);
        if next == NextAttempt::GiveUp {
            log.attempts = attempts.made();
            log.status = Status::Kept;
        }
        next
    }

    /// B6: an acknowledgement names the files of the checkpoint. Answers what is to be deleted.
    pub fn on_acknowledged(&mut self, checkpoint: CheckpointId) -> Vec<LogFile> {
        if let Some(taken) = self.taken.get_mut(&checkpoint) {
            taken.is_acknowledged = true;
            self.named.extend(taken.base.iter().cloned());
            let sets = self.sets.range(taken.sets.clone()).map(|(_, set)| &set.status);
            self.named.extend(sets.filter_map(|status| match status {
                Status::Stored(file) => Some(file.key.clone()),
                Status::Kept | Status::UnderWay(_) => None,
            }));
        }
        self.let_go()
    }

    /// Whether a file was named before: by an acknowledgement, or by the checkpoint that was restored.
    pub fn is_named(&self, file: &SharedKey) -> bool {
        self.named.contains(file)
    }

    /// The snapshot was given up before it was acknowledged. Answers what is to be deleted.
    pub fn on_given_up(&mut self, checkpoint: CheckpointId) -> Vec<LogFile> {
        self.taken.retain(|id, taken| *id != checkpoint || taken.is_acknowledged);
        self.let_go()
    }

    /// N1: the checkpoint is complete. Answers what is to be deleted.
    pub fn on_complete(&mut self, checkpoint: CheckpointId) -> Vec<LogFile> {
        if let Some(taken) = self.taken.remove(&checkpoint)
            && taken.materialization > self.materialization_confirmed
        {
            self.materialization_confirmed = taken.materialization;
            if let Some(increments) = &mut self.increments {
                increments.on_complete(CheckpointId(taken.materialization.0));
            }
        }
        self.taken.retain(|id, _| *id > checkpoint);
        self.let_go()
    }

    /// The checkpoint will never complete. Answers what is to be deleted.
    pub fn on_aborted(&mut self, checkpoint: CheckpointId) -> Vec<LogFile> {
        self.taken.remove(&checkpoint);
        self.let_go()
    }

    /// The attempt has come to its end: what nobody else knows of is to be deleted, and so is what
    /// is still written for it.
    pub fn close(&mut self) -> Vec<LogFile> {
        self.is_closed = true;
        self.materializing = None;
        self.taken.clear();
        let sets = std::mem::take(&mut self.sets).into_values();
        let stored = sets.filter_map(|set| match set.status {
            Status::Stored(file) => Some(file),
            Status::Kept | Status::UnderWay(_) => None,
        });
        let files = std::mem::take(&mut self.files).into_values().map(|stored| stored.file);
        stored.chain(files).filter(|file| !self.named.contains(&file.key)).collect()
    }

    /// Ends the active set. Flink: `FsStateChangelogWriter#rollover`.
    fn roll_over(&mut self, state: &[u8], nominal: u64) {
        let is_first = self.logged.is_empty();
        let logged = std::mem::take(&mut self.active);
        self.is_persist_asked = false;
        let Some(set) = self.logged.advance(state) else { return };
        let least = if is_first { nominal } else { set.len() as u64 };
        let (nominal, contents) = (logged.max(least), Arc::from(set));
        let (is_whole, status) = (is_first, Status::Kept);
        self.sets.insert(self.next, ChangeSet { nominal, contents, is_whole, attempts: 0, status });
        self.next.0 += 1;
    }

    /// All sets since the materialised state that are not under way yet are from now on.
    fn begin_uploads(&mut self) -> Vec<SequenceNumber> {
        let mut begun = Vec::new();
        for (number, set) in self.sets.range_mut(self.materialized.to..) {
            match set.status {
                Status::Kept => {
                    set.status = Status::UnderWay(Attempts::after(set.attempts));
                    begun.push(*number);
                }
                Status::UnderWay(_) | Status::Stored(_) => {}
            }
        }
        begun
    }

    /// Forgets what is not needed any more, and answers what of it is to be deleted.
    fn let_go(&mut self) -> Vec<LogFile> {
        let under_way = || self.taken.values().filter(|taken| !taken.is_acknowledged);
        let mut gone = Vec::new();
        let to = self.materialized.to;
        let is_needed =
            |set: &SequenceNumber| *set >= to || under_way().any(|taken| taken.sets.contains(set));
        let passed: Vec<_> = self.sets.keys().filter(|set| !is_needed(set)).copied().collect();
        let base = &self.materialized.files;
        let coming = self.materializing.as_ref().map_or(&[][..], |it| &it.new.files);
        let is_part = |key: &SharedKey| {
            base.contains(key)
                || coming.contains(key)
                || under_way().any(|taken| taken.base.contains(key))
        };
        let unused: Vec<_> = self.files.keys().filter(|key| !is_part(key)).cloned().collect();
        for set in passed {
            match self.sets.remove(&set).expect("just chosen").status {
                Status::Stored(file) => gone.push(file),
                Status::Kept | Status::UnderWay(_) => {}
            }
        }
        let unused = unused.iter().filter_map(|key| self.files.remove(key));
        gone.extend(unused.map(|stored| stored.file));
        gone.retain(|file| !self.named.remove(&file.key));
        gone
    }

    /// What checkpoints call the file of a set, whichever attempt at writing it succeeds.
    fn key(&self, SequenceNumber(set): SequenceNumber) -> SharedKey {
        let Writer { operator, subtask, attempt, .. } = self.config.writer;
        SharedKey(format!("o{}-s{subtask}-a{}-c{set}", operator.0, attempt.0).into())
    }

    fn contents(&self, bytes: &[u8]) -> Arc<[u8]> {
        Arc::from(if self.config.keeps_contents { bytes } else { &[] })
    }

    fn stored(&self, file: LogFile, bytes: &[u8]) -> Stored {
        Stored { file, contents: self.contents(bytes) }
    }

    fn stored_of(&self, upload: &LogUpload) -> Stored {
        self.stored(upload.file.clone(), &upload.bytes)
    }

    fn check(&self) {
        let log = self.sets.range(self.materialized.to..).map(|(number, _)| number.0);
        assert!(log.eq(self.materialized.to.0..self.next.0), "no change set is missing");
        assert!(self.materialized.files.iter().all(|key| self.files.contains_key(key)));
        let last = self.materialization_last;
        assert!(self.materialization_confirmed <= last && self.materialized.id <= last);
    }
}

impl LogFile {
    fn new(key: SharedKey, name: PartName, bytes: &[u8], nominal: u64) -> Self {
        let path = Path::Part(Directory::Shared, name).text();
        Self { key, path, bytes: bytes.len() as u64, nominal, checksum: checksum(bytes) }
    }

    fn read(file: &ReadFile<'_>) -> Self {
        let ReadFile { key, path, nominal, bytes } = *file;
        let (length, checksum) = (bytes.len() as u64, checksum(bytes));
        Self { key: key.clone(), path: path.to_owned(), bytes: length, nominal, checksum }
    }
}
