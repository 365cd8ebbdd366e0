//! The logs of keyed states: uploads of changes, and materialisations, each at its own time.
//!
//! Flink: `PeriodicMaterializationManager`, `BatchingStateChangeUploadScheduler`. What is decided is
//! decided by [`Changelog`]; here are its timers and its requests.
//!
//! Deviation: nothing of a materialisation is charged to the task's thread; in Flink its synchronous
//! part is that of a snapshot.

use std::sync::Arc;

use cutline::ids::{CheckpointId, SubtaskId};
use cutline::storage::changelog::{
    Changelog, FailedMaterialization, LogFile, LogUpload, MaterializationId, NextAttempt, Progress,
    SequenceNumber,
};
use cutline::storage::local::FileName;
use cutline::task::snapshots::PartKind;
use cutline::task::subtask::{Capture, Input, Mail};
use cutline::time::VirtualDuration;

use super::{TaskManager, Waiting};
use crate::engine::{Engine, Part, Place};
use crate::observe::Observation;
use crate::world::{Answer, Context, Observer, Refusal};

/// A subtask in one of its executions.
type Of = (SubtaskId, u32);

impl TaskManager {
    // ---- checkpoints --------------------------------------------------------------------------

    /// B5 of an operator whose changes are logged.
    pub(super) fn upload_log<O: Observer>(
        &mut self,
        place: u32,
        checkpoint: CheckpointId,
        link: u32,
        (state, nominal): (Vec<u8>, u64),
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let plan = Arc::clone(&self.plan);
        let task = self.tasks[place as usize].as_mut().expect("found by the caller");
        let (head, execution) = (task.subtask, task.execution);
        let mut snapshots = task.snapshots.iter_mut();
        let under_way = snapshots.find(|snapshot| snapshot.checkpoint == checkpoint);
        let under_way = under_way.expect("what is uploaded was cut");
        let of = (checkpoint, under_way.kind);
        let member = &mut task.members[link as usize];
        let subtask = member.subtask;
        let log = member.changelog.as_mut().expect("seen by the caller");
        let snapshot = log.snapshot(checkpoint, under_way.kind, &state, nominal);
        let manifest = snapshot.manifest;
        let length = manifest.len() as u64;
        let mut part = plan.part(of, subtask, execution, PartKind::Operator, &manifest, length);
        part.place = Place::Inline(manifest);
        let writer = (part.operator, part.subtask);
        under_way.uploads[link as usize] = 1 + snapshot.awaited.len();
        under_way.awaited.extend(snapshot.awaited.into_iter().map(|set| (link as usize, set)));
        let stored = snapshot.stored.iter().map(|file| log_part(writer, file, false));
        under_way.parts.extend(stored);
        if plan.recovers_locally(subtask) {
            let contents = snapshot.contents.into_iter();
            let copy = contents.map(|(key, bytes)| (FileName::Key(key), bytes)).collect();
            under_way.copies.push((subtask, copy));
        }
        let inlined = Waiting::Inlined { subtask: head, execution, checkpoint, part };
        self.set_timer(ctx.now(), inlined, ctx);
        self.persist((subtask, execution), snapshot.to_upload, ctx);
    }

    /// Changes are to be uploaded, after a while.
    fn persist<O: Observer>(
        &mut self,
        (subtask, execution): Of,
        sets: Vec<SequenceNumber>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let delay = self.plan.scenario.checkpointing.changelog.persist_delay;
        for set in sets {
            self.attempt_after(delay, (subtask, execution), set, ctx);
        }
    }

    fn attempt_after<O: Observer>(
        &mut self,
        delay: VirtualDuration,
        (subtask, execution): Of,
        set: SequenceNumber,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let waiting = Waiting::PersistChanges { subtask, execution, set };
        let at = ctx.relative_time() + delay;
        self.set_clock_timer(at, waiting, ctx);
    }

    /// An attempt at uploading a change set.
    pub(super) fn upload_changes<O: Observer>(
        &mut self,
        (subtask, execution): Of,
        set: SequenceNumber,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let timeout = self.plan.scenario.checkpointing.changelog.upload_timeout;
        let log = self.changelog((subtask, execution));
        let Some(log) = log else { return };
        let Some((attempt, LogUpload { file, bytes })) = log.attempt(set) else { return };
        let has_timeout = log.has_timeout(set) && !timeout.is_zero();
        let request = self.put((file.path.clone(), file.nominal), bytes);
        let token = self.wait(Waiting::Changes { subtask, execution, set, attempt, file });
        ctx.request(u64::from(token), request);
        if has_timeout {
            let slow = Waiting::ChangesSlow { subtask, execution, set, attempt };
            let at = ctx.relative_time() + timeout;
            self.set_clock_timer(at, slow, ctx);
        }
    }

    /// An attempt at uploading a change set has ended.
    pub(super) fn on_changes<O: Observer>(
        &mut self,
        of: Of,
        (set, attempt): (SequenceNumber, u32),
        file: LogFile,
        answer: Result<Answer, Refusal>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let log = self.changelog(of);
        match answer {
            Ok(_) => {
                if log.is_some_and(|log| log.on_stored(set, file.clone())) {
                    self.on_changes_stored(of, set, ctx);
                } else {
                    self.delete_logged(of.0, vec![file], ctx);
                }
            }
            Err(refusal) => {
                let next = log.map(|log| log.on_attempt_failed(set, attempt));
                if refusal == Refusal::Unknown {
                    self.delete_logged(of.0, vec![file], ctx);
                }
                self.go_on_after(next.unwrap_or(NextAttempt::None), of, set, ctx);
            }
        }
    }

    pub(super) fn on_changes_slow<O: Observer>(
        &mut self,
        of: Of,
        (set, attempt): (SequenceNumber, u32),
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let next = self.changelog(of).map(|log| log.on_attempt_slow(set, attempt));
        self.go_on_after(next.unwrap_or(NextAttempt::None), of, set, ctx);
    }

    fn go_on_after<O: Observer>(
        &mut self,
        next: NextAttempt,
        of: Of,
        set: SequenceNumber,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        match next {
            NextAttempt::None => {}
            NextAttempt::After(delay) => self.attempt_after(delay, of, set, ctx),
            NextAttempt::GiveUp => self.end_waits(of, set, false, ctx),
        }
    }

    fn on_changes_stored<O: Observer>(
        &mut self,
        of: Of,
        set: SequenceNumber,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let Some((place, _)) = self.find(of.0, of.1) else { return };
        let task = self.tasks[place as usize].as_mut().expect("just found");
        let at = task.members.iter().position(|member| member.subtask == of.0);
        let at = at.expect("it has the place of its task");
        let member = &task.members[at];
        let file = member.changelog.as_ref().and_then(|log| log.file(set)).cloned();
        let file = file.expect("it was just stored");
        let writer = (member.operator, self.plan.graph.index_in_operator(of.0));
        // It was uploaded for the first that has waited for it.
        let mut new = true;
        for snapshot in &mut task.snapshots {
            if snapshot.awaited.contains(&(at, set)) {
                snapshot.parts.push(log_part(writer, &file, new));
                new = false;
            }
        }
        self.end_waits(of, set, true, ctx);
    }

    /// Snapshots wait for a change set no longer: it is stored, or will not be.
    fn end_waits<O: Observer>(
        &mut self,
        of: Of,
        set: SequenceNumber,
        written: bool,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let Some((place, _)) = self.find(of.0, of.1) else { return };
        let task = self.tasks[place as usize].as_mut().expect("just found");
        let at = task.members.iter().position(|member| member.subtask == of.0);
        let at = at.expect("it has the place of its task");
        let mut ended = Vec::new();
        for snapshot in &mut task.snapshots {
            if let Some(index) = snapshot.awaited.iter().position(|it| *it == (at, set)) {
                snapshot.awaited.swap_remove(index);
                snapshot.uploads[at] -= 1;
                if snapshot.uploads[at] == 0 || !written {
                    ended.push(snapshot.checkpoint);
                }
            }
        }
        for checkpoint in ended {
            if self.find(of.0, of.1).is_some() {
                self.drive(place, Input::Uploaded { checkpoint, written }, ctx);
            }
        }
    }

    // ---- materialisation ----------------------------------------------------------------------

    /// The task runs. Flink takes the first delay from a hash of `operatorSubtaskId`.
    pub(super) fn begin_materializing<O: Observer>(
        &mut self,
        place: u32,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let options = &self.plan.scenario.checkpointing.changelog;
        let (materializes, interval) = (options.materializes, options.materialize_interval);
        let task = self.tasks[place as usize].as_ref().expect("found by the caller");
        let execution = task.execution;
        let logging = task.members.iter().filter(|member| member.changelog.is_some());
        let logging: Vec<SubtaskId> = logging.map(|member| member.subtask).collect();
        for subtask in logging.into_iter().filter(|_| materializes) {
            let name = &self.plan.subtask_names[subtask.index()];
            let mut draws = ctx.streams().stream("first materialization", name);
            let delay = VirtualDuration(draws.below(interval.0));
            let waiting = Waiting::Materialize { subtask, execution };
            let at = ctx.relative_time() + delay;
            self.set_clock_timer(at, waiting, ctx);
        }
    }

    fn materialize_later<O: Observer>(
        &mut self,
        (subtask, execution): Of,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let interval = self.plan.scenario.checkpointing.changelog.materialize_interval;
        let waiting = Waiting::Materialize { subtask, execution };
        let at = ctx.relative_time() + interval;
        self.set_clock_timer(at, waiting, ctx);
    }

    /// It is time to materialise: the state is asked for.
    pub(super) fn on_materialize<O: Observer>(
        &mut self,
        (subtask, execution): Of,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let Some((place, lane)) = self.find_running(subtask, execution) else { return };
        let task = self.tasks[place as usize].as_ref().expect("just found");
        let link = task.members.iter().position(|member| member.subtask == subtask);
        let link = link.expect("it has the place of its task");
        let mail = Mail::Capture { link: link as u32, why: Capture::Materialize };
        self.drive(place, Input::Mail(mail), ctx);
        let now = ctx.now();
        ctx.wake_lane(lane, now);
    }

    /// Asks for the states of which so much was logged that it is not left to the next checkpoint.
    pub(super) fn persist_ahead<O: Observer>(
        &mut self,
        place: u32,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let task = self.tasks[place as usize].as_mut().expect("found by the caller");
        let mut asking = Vec::new();
        for (link, member) in (0..).zip(&mut task.members) {
            if member.changelog.as_mut().is_some_and(|log| log.asks_to_persist()) {
                asking.push(link);
            }
        }
        for link in asking {
            let mail = Mail::Capture { link, why: Capture::Persist };
            self.drive(place, Input::Mail(mail), ctx);
        }
    }

    /// A state that was asked for is there.
    pub(super) fn on_captured<O: Observer>(
        &mut self,
        place: u32,
        (link, why): (u32, Capture),
        (state, nominal): (Vec<u8>, u64),
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let task = self.tasks[place as usize].as_mut().expect("found by the caller");
        let member = &mut task.members[link as usize];
        let of = (member.subtask, task.execution);
        let log = member.changelog.as_mut().expect("only a log asks for a state");
        match why {
            Capture::Persist => {
                let sets = log.persist(&state, nominal);
                self.persist(of, sets, ctx);
            }
            Capture::Materialize => match log.materialize(&state, nominal) {
                Some((id, uploads)) => self.write_materialization(of, id, uploads, ctx),
                None => self.materialize_later(of, ctx),
            },
        }
    }

    fn write_materialization<O: Observer>(
        &mut self,
        (subtask, execution): Of,
        id: MaterializationId,
        uploads: Vec<LogUpload>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if uploads.is_empty() {
            let log = self.changelog((subtask, execution)).expect("its state was just captured");
            let gone = log.complete(id).expect("nothing is missing");
            return self.on_materialization_complete((subtask, execution), gone, ctx);
        }
        for LogUpload { file, bytes } in uploads {
            let request = self.put((file.path.clone(), file.nominal), bytes);
            let token = self.wait(Waiting::Materialized { subtask, execution, id, file });
            ctx.request(u64::from(token), request);
        }
    }

    fn on_materialization_complete<O: Observer>(
        &mut self,
        of: Of,
        gone: Vec<LogFile>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        ctx.observe_task(of, Observation::Materialized { subtask: of.0 });
        self.delete_logged(of.0, gone, ctx);
        self.materialize_later(of, ctx);
    }

    /// A file of a materialisation was written, or was not.
    pub(super) fn on_materialized<O: Observer>(
        &mut self,
        of: Of,
        id: MaterializationId,
        file: LogFile,
        answer: Result<Answer, Refusal>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let subtask = of.0;
        if let Err(refusal) = answer {
            if refusal == Refusal::Unknown {
                self.delete_logged(subtask, vec![file], ctx);
            }
            let failed = self.changelog(of).and_then(|log| log.on_materialization_failed(id));
            if let Some(failed) = failed {
                self.on_materialization_failed(of, failed, ctx);
            }
            return;
        }
        let log = self.changelog(of);
        let progress = log.map(|log| log.on_materialized(id, &file.key));
        let (progress, gone) = progress.unwrap_or((Progress::Stale, Vec::new()));
        match progress {
            Progress::UnderWay => {}
            Progress::Stale => self.delete_logged(subtask, vec![file], ctx),
            Progress::Complete => self.on_materialization_complete(of, gone, ctx),
        }
    }

    fn on_materialization_failed<O: Observer>(
        &mut self,
        of: Of,
        FailedMaterialization { discard, is_last }: FailedMaterialization,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        ctx.observe_task(of, Observation::MaterializationFailed { subtask: of.0 });
        self.delete_logged(of.0, discard, ctx);
        match self.find_running(of.0, of.1) {
            Some((place, _)) if is_last => self.fail(place, ctx),
            Some(_) => self.materialize_later(of, ctx),
            None => {}
        }
    }

    // ---- both ---------------------------------------------------------------------------------

    /// The log of a subtask, as long as this execution of it is here.
    fn changelog(&mut self, (subtask, execution): Of) -> Option<&mut Changelog> {
        let (place, _) = self.find(subtask, execution)?;
        let task = self.tasks[place as usize].as_mut()?;
        let member = task.members.iter_mut().find(|member| member.subtask == subtask);
        member?.changelog.as_deref_mut()
    }

    /// Something has become of a task's checkpoints, or of the task: its logs let go of files.
    pub(super) fn tell_logs<O: Observer>(
        &mut self,
        place: u32,
        tell: impl Fn(&mut Changelog) -> Vec<LogFile>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let task = self.tasks[place as usize].as_mut().expect("found by the caller");
        if !task.logs {
            return;
        }
        let logs = task.members.iter_mut();
        let logs = logs.filter_map(|it| Some((it.subtask, it.changelog.as_deref_mut()?)));
        let gone: Vec<_> = logs.map(|(subtask, log)| (subtask, tell(log))).collect();
        for (subtask, files) in gone {
            self.delete_logged(subtask, files, ctx);
        }
    }

    /// Deletes files that nobody else knows of. Flink: `TaskChangelogRegistry#notUsed`.
    pub(super) fn delete_logged<O: Observer>(
        &mut self,
        subtask: SubtaskId,
        files: Vec<LogFile>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let graph = &self.plan.graph;
        let writer = (graph.operator(subtask), graph.index_in_operator(subtask));
        let parts = files.iter().map(|file| log_part(writer, file, true)).collect();
        self.discard(parts, ctx);
    }
}

/// A file of a log as a part of a snapshot.
fn log_part(
    (operator, subtask): (cutline::ids::OperatorId, u32),
    file: &LogFile,
    new: bool,
) -> Part {
    let LogFile { key, path, bytes, nominal, checksum } = file.clone();
    // Whether it was named is known when it is named.
    let (kind, place) = (PartKind::Operator, Place::Logged { key, new, named: false });
    Part { kind, operator, subtask, path, bytes, nominal, checksum, place }
}
