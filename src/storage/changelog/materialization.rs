//! Materialisation: the whole state, or an increment of it, goes to storage apart from checkpoints.
//!
//! In Flink: `ChangelogKeyedStateBackend#initMaterialization`, `handleMaterializationResult`, and what
//! `PeriodicMaterializationManager` counts.

use std::collections::BTreeMap;

use super::set::Base;
use super::{Changelog, LogFile, LogUpload, SequenceNumber, Stored};
use crate::ids::CheckpointId;
use crate::message::SnapshotKind;
use crate::storage::handle::SharedKey;
use crate::storage::layout::Part;

/// Names a materialisation within an attempt; 0 is what was restored. Flink: `materializationID`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MaterializationId(pub u64);

/// How far a materialisation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Other files of it are under way.
    UnderWay,
    /// It is complete: checkpoints refer to it from now on.
    Complete,
    /// It is none any more: the file is for nobody.
    Stale,
}

/// A materialisation has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedMaterialization {
    /// Files of it that were written already.
    pub discard: Vec<LogFile>,
    /// Too many have failed in a row: the task fails. Flink: `max-failures-allowed`.
    pub is_last: bool,
}

/// A materialised state, and where the log goes on. Flink: `ChangelogSnapshotState`.
#[derive(Clone, Debug)]
pub(super) struct Materialized {
    pub(super) id: MaterializationId,
    pub(super) base: Base,
    pub(super) files: Vec<SharedKey>,
    /// The first set that is not in it. Flink: `materializedTo`.
    pub(super) to: SequenceNumber,
}

#[derive(Clone, Debug)]
pub(super) struct Materializing {
    pub(super) new: Materialized,
    /// Files that are being written.
    pub(super) missing: BTreeMap<SharedKey, Stored>,
}

impl Changelog {
    /// The state is to be materialised: its files that are not on storage yet. If there are none, as
    /// when the state is again what it was, it can be [completed](Self::complete) at once. `None`:
    /// nothing has changed, or the last materialisation is neither confirmed nor failed. Flink:
    /// `initMaterialization`.
    pub fn materialize(
        &mut self,
        state: &[u8],
        nominal: u64,
    ) -> Option<(MaterializationId, Vec<LogUpload>)> {
        let last = self.materialization_last;
        let is_settled =
            self.materialization_confirmed >= last || self.materialization_failed >= Some(last);
        if !is_settled || self.is_closed {
            return None;
        }
        self.roll_over(state, nominal);
        if self.next <= self.materialized.to {
            return None;
        }
        let id = MaterializationId(last.0 + 1);
        self.materialization_last = id;
        let (base, uploads, others) = self.underlying_snapshot(id, state, nominal);
        let files = uploads.iter().map(|upload| upload.file.key.clone()).chain(others).collect();
        let new = Materialized { id, base, files, to: self.next };
        let missing = uploads.iter().map(|it| (it.file.key.clone(), self.stored_of(it))).collect();
        self.materializing = Some(Materializing { new, missing });
        self.check();
        Some((id, uploads))
    }

    /// A file of a materialisation is written. With the last of them, what is to be deleted: what is
    /// older in the log, and was named by no acknowledgement. Flink: `handleMaterializationResult`.
    pub fn on_materialized(
        &mut self,
        id: MaterializationId,
        file: &SharedKey,
    ) -> (Progress, Vec<LogFile>) {
        let Some(materializing) = self.materializing.as_mut().filter(|it| it.new.id == id) else {
            return (Progress::Stale, Vec::new());
        };
        let stored = materializing.missing.remove(file).expect("each file is written once");
        self.files.insert(file.clone(), stored);
        match self.complete(id) {
            Some(gone) => (Progress::Complete, gone),
            None => (Progress::UnderWay, Vec::new()),
        }
    }

    /// Completes a materialisation of which no file is missing, and answers what is to be deleted.
    pub fn complete(&mut self, id: MaterializationId) -> Option<Vec<LogFile>> {
        let is_whole = |it: &mut Materializing| it.new.id == id && it.missing.is_empty();
        self.materialized = self.materializing.take_if(is_whole)?.new;
        self.failures_in_row = 0;
        let gone = self.let_go();
        self.check();
        Some(gone)
    }

    /// A file of a materialisation could not be written; `None`: it had failed before.
    pub fn on_materialization_failed(
        &mut self,
        id: MaterializationId,
    ) -> Option<FailedMaterialization> {
        self.materializing.take_if(|it| it.new.id == id)?;
        self.materialization_failed = Some(id);
        if let Some(increments) = &mut self.increments {
            increments.on_aborted(CheckpointId(id.0));
        }
        self.failures_in_row += 1;
        let is_last = self.failures_in_row > self.config.options.max_failures_allowed;
        let discard = self.let_go();
        self.check();
        Some(FailedMaterialization { discard, is_last })
    }

    /// What the backend below uploads: what it is made of, new files, and files that it has already.
    fn underlying_snapshot(
        &mut self,
        id: MaterializationId,
        state: &[u8],
        nominal: u64,
    ) -> (Base, Vec<LogUpload>, Vec<SharedKey>) {
        let (mut uploads, mut others) = (Vec::new(), Vec::new());
        let Some(increments) = &mut self.increments else {
            self.numbers += 1;
            let name = self.config.writer.name(self.numbers, Part::State);
            let key = SharedKey(name.to_string().into());
            let file = LogFile::new(key.clone(), name, state, nominal);
            return (Base::Whole(key), vec![LogUpload { file, bytes: state.to_vec() }], others);
        };
        let of = CheckpointId(id.0);
        let increment = increments.snapshot(of, SnapshotKind::Checkpoint, state, nominal);
        for file in increment.files {
            match file.upload {
                Some((name, bytes)) => {
                    let file = LogFile::new(file.key, name, &bytes, file.nominal);
                    uploads.push(LogUpload { file, bytes });
                }
                None => others.push(file.key),
            }
        }
        (Base::Increment(increment.manifest), uploads, others)
    }
}
