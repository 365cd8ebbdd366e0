//! Check *storage*: nothing that is referred to is deleted or overwritten, and nothing else is left.
//!
//! Files are counted by the retained checkpoints that refer to them (as the engine tells when a
//! checkpoint becomes durable). At quiescence the files that were written and not deleted are
//! those referred to. What a job that ends may delete follows
//! `execution.checkpointing.externalized-checkpoint-retention`; such deletions come after
//! `JobEnded`.
//!
//! A savepoint is its user's: it is never deleted, and shares no file with any other snapshot. So is
//! a snapshot that a new job was started from without claiming it. But who claims one of several
//! incremental checkpoints that an old job has left gives the others away with it: the new job owns
//! all files of the one, and deletes those which it does not use any more, also where another
//! checkpoint has them (Flink: `RecoveryClaimMode.CLAIM`; its registry knows the claimed one alone).
//!
//! # Whose duty it is
//!
//! Storage is not searched for left-overs, in Flink as here: a file is deleted by somebody who
//! knows of it. So each file has a *keeper*, and only what has lost its keeper may be left:
//!
//! | who keeps a file | from | it is lost when |
//! | --- | --- | --- |
//! | the process that asked for it | the write | that process dies; it had died before the write |
//! | the job manager | the acknowledgement that names the file, from its sending on | the job manager dies; it was dead |
//! | whoever leads | the pointer to a checkpoint with the file | never: a new leader reads the pointers |
//! | the process that removes the pointer | the removal | that process dies; it had died before the removal |
//!
//! Flink promises less. A failed deletion is logged and not tried again, and acknowledgements to a
//! former leader, or after the end of the job, are not looked at; the built-in engine marks these
//! places as deviations. That a process is slow, paused, cut off or late is no excuse in either.

use std::collections::{BTreeMap, BTreeSet};

use cutline::config::Retention;
use cutline::ids::CheckpointId;
use cutline::time::VirtualTime;

use super::violation::{Class, Report, Subject};
use super::{Orphans, Setup};
use crate::observe::{FileId, JobEnd, Observation};

pub(super) const NAME: &str = "storage";

#[derive(Clone, Debug, Default)]
pub(super) struct Storage {
    judged: u64,
    /// By file.
    files: Vec<File>,
    /// What a retained checkpoint refers to.
    references: BTreeMap<CheckpointId, Vec<FileId>>,
    /// What is behind the pointer of a checkpoint, retained or not.
    pointers: BTreeMap<CheckpointId, Vec<FileId>>,
    savepoints: Vec<CheckpointId>,
    /// Savepoints of a job that goes on: no pointer leads to them.
    plain_savepoints: Vec<CheckpointId>,
    /// Snapshots that the user owns: savepoints, and what was retained of a job that has ended.
    users: Vec<CheckpointId>,
    /// The job has ended in a way that discards its checkpoints, also those that become durable
    /// only now.
    discards: bool,
    /// The job has ended: nobody will start from a pointer any more.
    over: bool,
    /// Uploads in parts that nobody completes, and the bytes of these.
    uploads: (u64, u64),
}

#[derive(Clone, Copy, Debug, Default)]
struct File {
    exists: bool,
    /// Retained checkpoints that refer to it.
    references: u32,
    /// A savepoint holds it: alone.
    exclusive: bool,
    /// Pointers that lead to it.
    pointers: u32,
    /// The process that must delete it, if no pointer leads to it.
    keeper: Option<u32>,
    written: VirtualTime,
    bytes: u64,
    /// A bit of it has flipped.
    damaged: bool,
    /// The half of it that was not synced is gone.
    cut_short: bool,
}

impl File {
    fn is_leaked(&self) -> bool {
        self.exists && self.references == 0 && (self.pointers > 0 || self.keeper.is_some())
    }
}

impl Storage {
    /// Deletions, references, and files at the end.
    pub(super) fn judged(&self) -> u64 {
        self.judged
    }

    fn file(&mut self, file: FileId) -> &mut File {
        let index = file.0 as usize;
        if index >= self.files.len() {
            self.files.resize(index + 1, File::default());
        }
        &mut self.files[index]
    }

    pub(super) fn observe(
        &mut self,
        now: VirtualTime,
        observation: &Observation,
        setup: &Setup,
        report: &mut Report,
    ) {
        match *observation {
            Observation::FileWritten { file, bytes, process, orphaned } => {
                self.judge_overwriting(now, file, report);
                let file = self.file(file);
                (file.exists, file.written, file.bytes) = (true, now, bytes);
                file.keeper = (!orphaned).then_some(process);
                (file.damaged, file.cut_short) = (false, false);
            }
            Observation::FileDamaged { file } => self.file(file).damaged = true,
            Observation::FileLost { file } => {
                let file = self.file(file);
                (file.exists, file.damaged) = (false, true);
            }
            Observation::UnsyncedLost { file, gone } => {
                self.on_unsynced_lost(now, file, gone, report);
            }
            Observation::FileHandedOver { file, process, orphaned } => {
                self.file(file).keeper = (!orphaned).then_some(process);
            }
            Observation::FileDeleted { file } => self.on_deleted(now, file, report),
            Observation::PointerRemoved { checkpoint, process, orphaned } => {
                self.on_pointer_removed(checkpoint, (!orphaned).then_some(process));
            }
            Observation::ProcessLost { process } => self.on_process_lost(process),
            Observation::Triggered { checkpoint, kind, .. } if kind.is_savepoint() => {
                self.savepoints.push(checkpoint);
                self.users.push(checkpoint);
                if !kind.is_synchronous() {
                    self.plain_savepoints.push(checkpoint);
                }
            }
            Observation::Subsumed { checkpoint } if !self.users.contains(&checkpoint) => {
                self.release(checkpoint);
            }
            Observation::Adopted { checkpoint, claimed } => {
                self.on_adopted(now, checkpoint, claimed, report);
            }
            Observation::UploadLeft { bytes } => {
                self.uploads = (self.uploads.0 + 1, self.uploads.1 + bytes);
            }
            Observation::UploadAborted { bytes } => {
                self.uploads = (self.uploads.0 - 1, self.uploads.1 - bytes);
            }
            Observation::JobEnded { end } => self.on_ended(end, setup),
            _ => {}
        }
    }

    /// Whether a checkpoint has a file that was damaged: nobody can be asked to read it. One that
    /// becomes durable only when its job has ended is behind a pointer, but not retained.
    pub(super) fn is_damaged(&self, checkpoint: CheckpointId) -> bool {
        let known = [&self.references, &self.pointers];
        let mut files = known.into_iter().filter_map(|files| files.get(&checkpoint)).flatten();
        files.any(|file| self.files[file.0 as usize].damaged)
    }

    /// Whether the metadata or a part of anything that is still stored was damaged.
    fn has_damage(&self) -> bool {
        let matters = |file: &File| file.exists || file.pointers > 0;
        self.files.iter().any(|file| file.damaged && matters(file))
    }

    /// What a checkpoint refers to, as soon as it is durable; whether others have some of it, too.
    pub(super) fn refer(
        &mut self,
        now: VirtualTime,
        checkpoint: CheckpointId,
        files: Vec<FileId>,
        report: &mut Report,
    ) -> bool {
        let mut common = false;
        let discarded = self.discards && !self.users.contains(&checkpoint);
        let exclusive = self.savepoints.contains(&checkpoint);
        for &id in &files {
            self.judged += 1;
            let file = self.file(id);
            common |= file.references > 0;
            let shares = file.exclusive || exclusive && file.references > 0;
            file.references += u32::from(!discarded);
            file.exclusive |= exclusive;
            // One that was lost with its store is nobody's fault.
            if !file.exists && !file.damaged {
                let what = (NAME, Class::UnusableCheckpoint, "durable without a file");
                report.add(what, now, Subject::file(id).at(checkpoint), || {
                    format!("{checkpoint} became durable, but file {} is not there", id.0)
                });
            }
            if file.cut_short {
                let what = (NAME, Class::UnusableCheckpoint, "durable with half a file");
                report.add(what, now, Subject::file(id).at(checkpoint), || {
                    format!("{checkpoint} became durable, but file {} was cut short", id.0)
                });
            }
            if shares {
                let what = (NAME, Class::UnusableCheckpoint, "the user's snapshot shares a file");
                report.add(what, now, Subject::file(id).at(checkpoint), || {
                    format!(
                        "{checkpoint} and another snapshot, one of them the user's alone, both \
                             refer to file {}",
                        id.0
                    )
                });
            }
        }
        // Of a savepoint its user knows, and no pointer.
        if !self.plain_savepoints.contains(&checkpoint) {
            self.point_to(checkpoint, files.clone());
        }
        if !discarded {
            self.references.insert(checkpoint, files);
        }
        common
    }

    fn point_to(&mut self, checkpoint: CheckpointId, files: Vec<FileId>) {
        for &file in &files {
            self.file(file).pointers += 1;
        }
        self.pointers.insert(checkpoint, files);
    }

    /// A file that retained checkpoints refer to, with the oldest of these; `None` if none does.
    fn in_use(&mut self, id: FileId) -> Option<Subject> {
        if self.file(id).references == 0 {
            return None; // As most: nothing is looked for.
        }
        let owner = self.references.iter().find(|(_, files)| files.contains(&id));
        Some(Subject { checkpoint: owner.map(|(id, _)| *id), ..Subject::file(id) })
    }

    /// No name is used twice: what a checkpoint refers to is never written again.
    fn judge_overwriting(&mut self, now: VirtualTime, id: FileId, report: &mut Report) {
        if let Some(subject) = self.in_use(id) {
            let what = (NAME, Class::UnusableCheckpoint, "a file in use was overwritten");
            report.add(what, now, subject, || {
                let owner = owner(subject);
                format!("file {} was written again, but {owner} refers to it", id.0)
            });
        }
    }

    fn on_deleted(&mut self, now: VirtualTime, id: FileId, report: &mut Report) {
        self.judged += 1;
        self.file(id).exists = false;
        if let Some(subject) = self.in_use(id) {
            let what = (NAME, Class::PrematureDelete, "a file in use was deleted");
            report.add(what, now, subject, || {
                let owner = owner(subject);
                format!("file {} was deleted, but {owner} is retained and refers to it", id.0)
            });
        }
    }

    /// What a checkpoint refers to was forced to disk before: a crash of the host takes nothing of it.
    fn on_unsynced_lost(&mut self, now: VirtualTime, id: FileId, gone: bool, report: &mut Report) {
        self.judged += 1;
        let file = self.file(id);
        file.exists &= !gone;
        file.cut_short = !gone;
        if let Some(subject) = self.in_use(id) {
            let what = (NAME, Class::UnusableCheckpoint, "a file in use was not synced");
            report.add(what, now, subject, || {
                let owner = owner(subject);
                let how = if gone { "is gone" } else { "was cut short" };
                format!(
                    "file {} {how} when the storage host crashed: {owner} refers to it, but it had \
                     not been synced",
                    id.0
                )
            });
        }
    }

    fn on_pointer_removed(&mut self, checkpoint: CheckpointId, keeper: Option<u32>) {
        for id in self.pointers.remove(&checkpoint).unwrap_or_default() {
            let file = self.file(id);
            file.pointers -= 1;
            file.keeper = keeper;
        }
    }

    fn on_process_lost(&mut self, process: u32) {
        for file in self.files.iter_mut().filter(|file| file.keeper == Some(process)) {
            file.keeper = None;
        }
    }

    fn release(&mut self, checkpoint: CheckpointId) {
        for file in self.references.remove(&checkpoint).unwrap_or_default() {
            self.file(file).references -= 1;
        }
    }

    /// A new job begins. What the last one retained is the user's from now on, but for what the
    /// new one claims.
    fn on_adopted(
        &mut self,
        now: VirtualTime,
        checkpoint: CheckpointId,
        claimed: bool,
        report: &mut Report,
    ) {
        self.judge_pointers(now, report);
        self.pointers.clear();
        let files = self.references.get(&checkpoint).cloned().unwrap_or_default();
        self.users = self.references.keys().copied().collect();
        if claimed {
            self.users.retain(|id| *id != checkpoint);
            self.savepoints.retain(|id| *id != checkpoint);
        }
        // What the user lends stays the user's alone.
        for &file in &files {
            self.file(file).exclusive = !claimed;
        }
        self.point_to(checkpoint, files);
        (self.over, self.discards) = (false, false);
    }

    /// A job has claimed a snapshot: forgets all others that have a file in common with it, and
    /// answers which these are.
    pub(super) fn give_away(&mut self, claimed: CheckpointId) -> Vec<CheckpointId> {
        let files: BTreeSet<FileId> =
            self.references.get(&claimed).into_iter().flatten().copied().collect();
        let others = self.references.iter().filter(|(id, _)| **id != claimed);
        let given: Vec<CheckpointId> = others
            .filter(|(_, theirs)| theirs.iter().any(|file| files.contains(file)))
            .map(|(id, _)| *id)
            .collect();
        for &checkpoint in &given {
            self.users.retain(|id| *id != checkpoint);
            for id in self.references.remove(&checkpoint).unwrap_or_default() {
                let file = self.file(id);
                file.references -= 1;
                if file.references == 0 {
                    file.keeper = None; // The user's, who has to look after it.
                }
            }
        }
        given
    }

    /// Whether the job has left a checkpoint to its user: one that no user had asked for.
    pub(super) fn retains(&self) -> bool {
        self.over && !self.discards && self.references.keys().any(|id| !self.users.contains(id))
    }

    fn on_ended(&mut self, end: JobEnd, setup: &Setup) {
        self.discards = discards(end, setup);
        self.over = end != JobEnd::Stopped;
        if self.discards {
            let owned = self.references.keys().filter(|id| !self.users.contains(id));
            for checkpoint in owned.copied().collect::<Vec<_>>() {
                self.release(checkpoint);
            }
        }
    }

    /// What processes have left behind that have died, and nobody has found.
    pub(super) fn orphans(&self) -> Orphans {
        let left = |file: &&File| {
            file.exists && file.references == 0 && file.pointers == 0 && file.keeper.is_none()
        };
        let files = self.files.iter().filter(left);
        let (uploads, upload_bytes) = self.uploads;
        let none = Orphans { uploads, upload_bytes, ..Orphans::default() };
        files.fold(none, |sum, file| Orphans {
            files: sum.files + 1,
            bytes: sum.bytes + file.bytes,
            ..sum
        })
    }

    /// Nothing is under way any more, and everybody knows that the job has ended.
    pub(super) fn judge_leaks(&mut self, now: VirtualTime, report: &mut Report) {
        // What only damaged metadata names cannot be found. Flink: the clean-up of such a job fails.
        if self.has_damage() {
            return;
        }
        self.judged += self.files.iter().filter(|file| file.exists).count() as u64;
        let mut leaked = self.files.iter().enumerate().filter(|(_, file)| file.is_leaked());
        if let Some((first, file)) = leaked.next() {
            let (count, bytes) = leaked
                .fold((1, file.bytes), |(count, bytes), (_, it)| (count + 1, bytes + it.bytes));
            let what = (NAME, Class::Leak, "files nothing refers to");
            report.add(what, now, Subject::file(FileId(first as u32)), || {
                let written = file.written;
                format!(
                    "{count} files ({bytes} bytes) are left that nothing refers to; the first is \
                     file {first}, written at {written}"
                )
            });
        }
        self.judge_pointers(now, report);
    }

    /// Nothing leads to the checkpoints of a job that is over.
    fn judge_pointers(&self, now: VirtualTime, report: &mut Report) {
        if self.has_damage() {
            return;
        }
        if let (true, Some(&checkpoint)) = (self.over, self.pointers.keys().next()) {
            let what = (NAME, Class::Leak, "a pointer is left");
            report.add(what, now, Subject::checkpoint(checkpoint), || {
                format!("the job is over, and the pointer of {checkpoint} is still there")
            });
        }
    }
}

/// Whether a job that ends so discards its checkpoints. Flink: `CheckpointProperties`. A finished
/// job does in every mode, a failed one only if nothing is externalized.
pub(super) fn discards(end: JobEnd, setup: &Setup) -> bool {
    match (end, setup.config.checkpointing.retention) {
        (JobEnd::Finished | JobEnd::StoppedWithSavepoint, _)
        | (JobEnd::Failed, Retention::NoExternalized)
        | (JobEnd::Canceled, Retention::NoExternalized | Retention::DeleteOnCancellation) => true,
        (JobEnd::Failed, Retention::DeleteOnCancellation | Retention::RetainOnCancellation)
        | (JobEnd::Canceled, Retention::RetainOnCancellation)
        | (JobEnd::Stopped, _) => false,
    }
}

/// Who refers to a file, if that is known.
fn owner(of: Subject) -> String {
    of.checkpoint.map_or_else(String::new, |id| id.to_string())
}
