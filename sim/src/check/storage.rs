//! Check *storage*: nothing that is referred to is deleted, and nothing else is left.
//!
//! Files are counted by the retained checkpoints that refer to them (as the engine tells when a
//! checkpoint becomes durable). At quiescence the files that were written and not deleted are
//! those referred to, and those that only a process that died had known of. What a job that ends may delete follows
//! `execution.checkpointing.externalized-checkpoint-retention`; such deletions come after
//! `JobEnded`.
//!
//! A savepoint is its user's: it is never deleted, and shares no file with any other snapshot. So is
//! a snapshot that a new job was started from without claiming it.

use std::collections::BTreeMap;

use cutline::config::Retention;
use cutline::ids::CheckpointId;
use cutline::time::{VirtualDuration, VirtualTime};

use super::Setup;
use super::liveness::Weather;
use super::violation::{Class, Report, Subject};
use crate::observe::{FileId, JobEnd, Observation};

pub(super) const NAME: &str = "storage";

/// How long nothing has disturbed a job that leaves no file behind.
const CALM: VirtualDuration = VirtualDuration::from_millis(500);

#[derive(Clone, Debug, Default)]
pub(super) struct Storage {
    judged: u64,
    /// By file.
    files: Vec<File>,
    /// What a retained checkpoint refers to.
    references: BTreeMap<CheckpointId, Vec<FileId>>,
    savepoints: Vec<CheckpointId>,
    /// Snapshots that the user owns: savepoints, and what was retained of a job that has ended.
    users: Vec<CheckpointId>,
    ended: Option<VirtualTime>,
    /// The job has ended in a way that discards its checkpoints, also those that become durable
    /// only now.
    discards: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct File {
    exists: bool,
    /// Retained checkpoints that refer to it.
    references: u32,
    /// A savepoint holds it: alone.
    exclusive: bool,
    written: VirtualTime,
    bytes: u64,
    /// Whoever knew of it has died: left-overs of that kind are no fault of the protocol. Flink
    /// leaves them as well.
    orphaned: bool,
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
            Observation::FileWritten { file, bytes, orphaned } => {
                let file = self.file(file);
                let File { references, exclusive, .. } = *file;
                *file = File { exists: true, references, exclusive, written: now, bytes, orphaned };
            }
            // What tasks hand over to a dead leader is not known to the next one either.
            Observation::ProcessLost { .. } | Observation::LeaderElected { .. } => {
                self.on_process_lost();
            }
            Observation::FileDeleted { file } => self.on_deleted(now, file, report),
            Observation::Triggered { checkpoint, kind, .. } if kind.is_savepoint() => {
                self.savepoints.push(checkpoint);
                self.users.push(checkpoint);
            }
            Observation::Subsumed { checkpoint } if !self.users.contains(&checkpoint) => {
                self.release(checkpoint);
            }
            Observation::Adopted { checkpoint, claimed } => self.on_adopted(checkpoint, claimed),
            Observation::JobEnded { end } => self.on_ended(now, end, setup),
            _ => {}
        }
    }

    /// What a checkpoint refers to, as soon as it is durable.
    pub(super) fn refer(
        &mut self,
        now: VirtualTime,
        checkpoint: CheckpointId,
        files: Vec<FileId>,
        report: &mut Report,
    ) {
        let discarded = self.discards && !self.users.contains(&checkpoint);
        let exclusive = self.savepoints.contains(&checkpoint);
        for &id in &files {
            self.judged += 1;
            let file = self.file(id);
            let shares = file.exclusive || exclusive && file.references > 0;
            file.references += u32::from(!discarded);
            file.exclusive |= exclusive;
            if !file.exists {
                let what = (NAME, Class::UnusableCheckpoint, "durable without a file");
                report.add(what, now, Subject::checkpoint(checkpoint), || {
                    format!("{checkpoint} became durable, but file {} is not there", id.0)
                });
            }
            if shares {
                let what = (NAME, Class::UnusableCheckpoint, "a savepoint shares a file");
                report.add(what, now, Subject::checkpoint(checkpoint), || {
                    format!(
                        "{checkpoint} and another snapshot, one of them a savepoint, both refer \
                             to file {}",
                        id.0
                    )
                });
            }
        }
        if !discarded {
            self.references.insert(checkpoint, files);
        }
    }

    fn on_deleted(&mut self, now: VirtualTime, id: FileId, report: &mut Report) {
        self.judged += 1;
        let file = self.file(id);
        file.exists = false;
        if file.references > 0 {
            let owner = self.references.iter().find(|(_, files)| files.contains(&id));
            let subject = Subject { checkpoint: owner.map(|(id, _)| *id), ..Subject::default() };
            let what = (NAME, Class::PrematureDelete, "a file in use was deleted");
            report.add(what, now, subject, || {
                let owner = subject.checkpoint.map_or_else(String::new, |id| id.to_string());
                format!("file {} was deleted, but {owner} is retained and refers to it", id.0)
            });
        }
    }

    /// What no retained checkpoint refers to may have been known to that process alone: a part
    /// that was not acknowledged, or a file that it was about to delete.
    fn on_process_lost(&mut self) {
        for file in self.files.iter_mut().filter(|file| file.references == 0) {
            file.orphaned = true;
        }
    }

    fn release(&mut self, checkpoint: CheckpointId) {
        for file in self.references.remove(&checkpoint).unwrap_or_default() {
            self.file(file).references -= 1;
        }
    }

    /// A new job begins. What the last one retained is the user's from now on, but for what the
    /// new one claims.
    fn on_adopted(&mut self, checkpoint: CheckpointId, claimed: bool) {
        self.users = self.references.keys().copied().collect();
        if claimed {
            self.users.retain(|id| *id != checkpoint);
            self.savepoints.retain(|id| *id != checkpoint);
            for file in self.references.get(&checkpoint).cloned().unwrap_or_default() {
                self.file(file).exclusive = false;
            }
        }
        (self.ended, self.discards) = (None, false);
    }

    fn on_ended(&mut self, now: VirtualTime, end: JobEnd, setup: &Setup) {
        self.discards = discards(end, setup);
        self.ended = Some(now);
        if self.discards {
            let owned = self.references.keys().filter(|id| !self.users.contains(id));
            for checkpoint in owned.copied().collect::<Vec<_>>() {
                self.release(checkpoint);
            }
        }
    }

    /// Nothing is under way any more. A process that was paused or cut off when the job ended, or
    /// shortly before, may not know that the files it has written are of no use.
    pub(super) fn judge_leaks(&mut self, now: VirtualTime, weather: &Weather, report: &mut Report) {
        if !weather.was_calm(self.ended.unwrap_or(now), CALM) {
            return;
        }
        let mut leaked = Vec::new();
        for (index, file) in self.files.iter().enumerate().filter(|(_, file)| file.exists) {
            self.judged += 1;
            if file.references == 0 && !file.orphaned {
                leaked.push((index, *file));
            }
        }
        if let Some(&(first, file)) = leaked.first() {
            let what = (NAME, Class::Leak, "files nothing refers to");
            report.add(what, now, Subject::default(), || {
                let bytes: u64 = leaked.iter().map(|(_, file)| file.bytes).sum();
                format!(
                    "{} files ({bytes} bytes) are left that nothing refers to; the first is file \
                     {first}, written at {}",
                    leaked.len(),
                    file.written
                )
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
