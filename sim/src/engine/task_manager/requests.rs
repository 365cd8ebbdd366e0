//! Requests under way: what they are for, and what their answers mean.

use std::sync::Arc;

use cutline::defect::Defect;
use cutline::ids::{CheckpointId, RegionId, SubtaskId};
use cutline::job::assignment::Captured;
use cutline::operator::{Effect, LeftOvers, TransactionId};
use cutline::step::Step;
use cutline::storage::changelog::{LogFile, MaterializationId, SequenceNumber};
use cutline::storage::channel_state::ChannelState;
use cutline::storage::layout::{Directory, PartName, Path};
use cutline::task::snapshots::PartKind;
use cutline::task::subtask::{CommitError, Input, Subtask};
use cutline::time::VirtualTime;

use super::{SnapshotUnderWay, TaskManager, local};
use crate::engine::{Engine, Part, Place};
use crate::observe::{Observation, Transaction};
use crate::world::{Answer, Context, Observer, Purpose, Refusal, Request};

/// What a token stands for.
#[derive(Debug)]
pub(super) enum Waiting {
    Deployed {
        subtask: SubtaskId,
        execution: u32,
    },
    Read {
        subtask: SubtaskId,
        execution: u32,
        part: Part,
    },
    Upload {
        subtask: SubtaskId,
        execution: u32,
        checkpoint: CheckpointId,
        part: Part,
    },
    Flush {
        subtask: SubtaskId,
        execution: u32,
        checkpoint: CheckpointId,
    },
    Commit {
        subtask: SubtaskId,
        execution: u32,
        transaction: TransactionId,
    },
    /// The outside is thinking about a call of an operator.
    Call {
        subtask: SubtaskId,
        execution: u32,
        call: u64,
    },
    /// A part needs no file; it is done as soon as it is begun.
    Inlined {
        subtask: SubtaskId,
        execution: u32,
        checkpoint: CheckpointId,
        part: Part,
    },
    /// Another job manager is to be elected.
    Leader,
    /// The tasks of a cancelled execution have ended.
    Left {
        execution: u32,
        region: Option<RegionId>,
    },
    /// Those that have not by now take the process with them.
    CancellationTimeout {
        leaving_until: VirtualTime,
    },
    /// A part of a snapshot that was given up is being deleted.
    Discarded(Part),
    /// Left-over transactions are being aborted.
    LeftOvers(LeftOvers),
    /// The state of a subtask is to be materialised.
    Materialize {
        subtask: SubtaskId,
        execution: u32,
    },
    /// A file of it is being written.
    Materialized {
        subtask: SubtaskId,
        execution: u32,
        id: MaterializationId,
        file: LogFile,
    },
    /// The upload of changes begins, or is tried again.
    PersistChanges {
        subtask: SubtaskId,
        execution: u32,
        set: SequenceNumber,
    },
    Changes {
        subtask: SubtaskId,
        execution: u32,
        set: SequenceNumber,
        attempt: u32,
        file: LogFile,
    },
    /// An attempt takes long by now.
    ChangesSlow {
        subtask: SubtaskId,
        execution: u32,
        set: SequenceNumber,
        attempt: u32,
    },
}

impl TaskManager {
    pub(super) fn wait(&mut self, waiting: Waiting) -> u32 {
        match self.free_tokens.pop() {
            Some(token) => {
                self.waiting[token as usize] = Some(waiting);
                token
            }
            None => {
                self.waiting.push(Some(waiting));
                self.waiting.len() as u32 - 1
            }
        }
    }

    /// Timer tokens begin at 1: 0 is the heartbeat's.
    pub(super) fn set_timer<O: Observer>(
        &mut self,
        at: VirtualTime,
        waiting: Waiting,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let token = self.wait(waiting);
        ctx.timer(at, token + 1);
    }

    /// A timer of the host's relative clock. Flink: `ScheduledExecutor#schedule`.
    pub(super) fn set_clock_timer<O: Observer>(
        &mut self,
        at: VirtualTime,
        waiting: Waiting,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let token = self.wait(waiting);
        ctx.timer_by_clock(at, token + 1);
    }

    fn take(&mut self, token: u64) -> Waiting {
        self.free_tokens.push(token as u32);
        self.waiting[token as usize].take().expect("a token is answered once")
    }

    pub(super) fn on_timer<O: Observer>(&mut self, token: u64, ctx: &mut Context<'_, Engine, O>) {
        match self.take(token) {
            Waiting::Inlined { subtask, execution, checkpoint, part } => {
                self.on_uploaded((subtask, execution), checkpoint, part, Ok(()), ctx);
            }
            Waiting::Deployed { subtask, execution } => {
                if let Some((place, _)) = self.find(subtask, execution) {
                    self.on_deployed(place, ctx);
                }
            }
            Waiting::Call { subtask, execution, call } => {
                if let Some((place, lane)) = self.find(subtask, execution) {
                    self.drive(place, Input::Answered(call), ctx);
                    let now = ctx.now();
                    ctx.wake_lane(lane, now);
                }
            }
            Waiting::Left { execution, region } => self.say_when_canceled(execution, region, ctx),
            Waiting::CancellationTimeout { leaving_until } => {
                Self::on_cancellation_timeout(leaving_until, ctx);
            }
            Waiting::Materialize { subtask, execution } => {
                self.on_materialize((subtask, execution), ctx);
            }
            Waiting::PersistChanges { subtask, execution, set } => {
                self.upload_changes((subtask, execution), set, ctx);
            }
            Waiting::ChangesSlow { subtask, execution, set, attempt } => {
                self.on_changes_slow((subtask, execution), (set, attempt), ctx);
            }
            Waiting::Leader
            | Waiting::Read { .. }
            | Waiting::Upload { .. }
            | Waiting::Flush { .. }
            | Waiting::Commit { .. }
            | Waiting::Discarded(_)
            | Waiting::Materialized { .. }
            | Waiting::Changes { .. }
            | Waiting::LeftOvers(_) => unreachable!("these are requests, not timers"),
        }
    }

    pub(super) fn on_answer<O: Observer>(
        &mut self,
        token: u64,
        answer: Result<Answer, Refusal>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        match self.take(token) {
            Waiting::Deployed { .. }
            | Waiting::Call { .. }
            | Waiting::Inlined { .. }
            | Waiting::Left { .. }
            | Waiting::Materialize { .. }
            | Waiting::PersistChanges { .. }
            | Waiting::ChangesSlow { .. }
            | Waiting::CancellationTimeout { .. } => unreachable!("timers, not requests"),
            Waiting::Materialized { subtask, execution, id, file } => {
                self.on_materialized((subtask, execution), id, file, answer, ctx);
            }
            Waiting::Changes { subtask, execution, set, attempt, file } => {
                self.on_changes((subtask, execution), (set, attempt), file, answer, ctx);
            }
            Waiting::Leader => match answer {
                Ok(Answer::Leader { process, session }) => self.on_leader((process, session), ctx),
                Ok(_) | Err(_) => self.watch_leader(ctx),
            },
            // Deviation: tried again until it is gone. Flink logs the failure.
            Waiting::Discarded(part) if answer.is_err() => self.discard(vec![part], ctx),
            Waiting::Discarded(_) => {}
            // Kafka: `initTransactions` tries again by itself.
            Waiting::LeftOvers(left_overs) if answer.is_err() => {
                self.abort_left_overs(left_overs, ctx);
            }
            Waiting::LeftOvers(_) => {}
            Waiting::Read { subtask, execution, part } => {
                if let Some((place, _)) = self.find(subtask, execution) {
                    self.on_read(place, part, answer, ctx);
                }
            }
            Waiting::Upload { subtask, execution, checkpoint, part } => {
                let task = (subtask, execution);
                self.on_uploaded(task, checkpoint, part, answer.map(drop), ctx);
            }
            Waiting::Flush { subtask, execution, checkpoint } => {
                if let Some((place, _)) = self.find(subtask, execution) {
                    match answer {
                        Ok(_) => self.drive(place, Input::Flushed(checkpoint), ctx),
                        // Flink: `preCommit` throws. The transaction would have to go with the next
                        // checkpoint, but its contents are lost.
                        Err(_) => self.fail(place, ctx),
                    }
                }
            }
            Waiting::Commit { subtask, execution, transaction } => {
                if let Some((place, lane)) = self.find(subtask, execution) {
                    let input = match answer {
                        Ok(_) => Input::Committed(transaction),
                        Err(refusal) => {
                            Input::CommitFailed { transaction, error: commit_error(refusal) }
                        }
                    };
                    let failed = answer.is_err();
                    self.drive(place, input, ctx);
                    if failed && self.find(subtask, execution).is_some() {
                        // There may be a new deadline.
                        let now = ctx.now();
                        ctx.wake_lane(lane, now);
                    }
                }
            }
        }
    }

    fn on_uploaded<O: Observer>(
        &mut self,
        (subtask, execution): (SubtaskId, u32),
        checkpoint: CheckpointId,
        part: Part,
        answer: Result<(), Refusal>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let written = answer.is_ok();
        // Flink: `FsCheckpointStateOutputStream#closeAndGetHandle` deletes what it could not write.
        if answer == Err(Refusal::Unknown) {
            self.discard(vec![part.clone()], ctx);
        }
        let snapshot = self.find(subtask, execution).and_then(|(place, _)| {
            let task = self.tasks[place as usize].as_mut()?;
            let member = task.members.iter().position(|it| it.operator == part.operator)?;
            let mut snapshots = task.snapshots.iter_mut();
            let snapshot = snapshots.find(|snapshot| snapshot.checkpoint == checkpoint)?;
            Some((place, member, snapshot))
        });
        match snapshot {
            Some((place, member, snapshot)) => {
                let whole = match part.kind {
                    PartKind::Channels => true,
                    PartKind::Operator => {
                        snapshot.uploads[member] -= 1;
                        snapshot.uploads[member] == 0
                    }
                };
                if written {
                    snapshot.parts.push(part);
                }
                if whole || !written {
                    self.drive(place, Input::Uploaded { checkpoint, written }, ctx);
                }
            }
            None if written => self.discard(vec![part], ctx),
            None => {}
        }
    }

    /// Deletes parts of a snapshot that was given up before it was acknowledged: nobody else
    /// knows of them. Flink: `AsyncCheckpointRunnable#cleanup`.
    pub(super) fn discard<O: Observer>(
        &mut self,
        parts: Vec<Part>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        for part in parts.into_iter().filter(Part::is_unheard_of) {
            let path = part.path.clone();
            let token = self.wait(Waiting::Discarded(part));
            ctx.request(u64::from(token), Request::Delete { path });
        }
    }

    /// Gives up the snapshots under way that `given_up` names.
    pub(super) fn give_up_snapshots<O: Observer>(
        &mut self,
        place: u32,
        given_up: impl Fn(&Subtask, CheckpointId) -> bool,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let task = self.tasks[place as usize].as_mut().expect("found by the caller");
        let (ended, kept): (Vec<SnapshotUnderWay>, _) = std::mem::take(&mut task.snapshots)
            .into_iter()
            .partition(|snapshot| given_up(&task.machine, snapshot.checkpoint));
        task.snapshots = kept;
        for snapshot in &ended {
            self.tell_logs(place, |log| log.on_given_up(snapshot.checkpoint), ctx);
        }
        let parts = ended.into_iter().flat_map(SnapshotUnderWay::into_own_parts).collect();
        self.discard(parts, ctx);
    }

    fn on_read<O: Observer>(
        &mut self,
        place: u32,
        part: Part,
        answer: Result<Answer, Refusal>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        // A file that cannot be read, not wholly, or not as it was written: the task fails, and the
        // job goes back to the same checkpoint once more, until its restart strategy gives up.
        // Flink never falls back to an older one: what a newer one has committed would come twice.
        let bytes = match answer {
            Ok(Answer::Object { bytes }) if part.matches(&bytes) => bytes,
            Ok(Answer::Object { bytes }) if self.takes_for_nothing(&part, &bytes) => Vec::new(),
            Ok(Answer::Object { bytes }) if self.is_stale(place, &part) => bytes,
            Err(Refusal::NotFound) if self.plan.defects.has(Defect::D29) => {
                return self.read_older(place, part, ctx);
            }
            Ok(_) | Err(_) => {
                self.fail(place, ctx);
                return;
            }
        };
        if !self.take_over(place, part, bytes) {
            return self.fail(place, ctx);
        }
        self.go_on_reading(place, ctx);
    }

    /// [`Defect::D40`]: what is too short to have a header is taken for nothing at all.
    fn takes_for_nothing(&self, part: &Part, bytes: &[u8]) -> bool {
        self.plan.defects.has(Defect::D40) && (bytes.len() as u64) < part.bytes
    }

    /// [`Defect::D29`]: whether a file is one of an older checkpoint than the one that is restored.
    fn is_stale(&self, place: u32, part: &Part) -> bool {
        let task = self.tasks[place as usize].as_ref().expect("found by the caller");
        let restored = task.deployment.restored.map(Directory::Checkpoint);
        self.plan.defects.has(Defect::D29)
            && matches!(part.path.parse(), Ok(Path::Part(it, _)) if Some(it) < restored)
    }

    /// [`Defect::D29`]: this machine does not see a file yet, and makes do with the newest it sees.
    fn read_older<O: Observer>(
        &mut self,
        place: u32,
        part: Part,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let task = self.tasks[place as usize].as_ref().expect("found by the caller");
        let (subtask, execution) = (task.subtask, task.execution);
        let before = match part.path.parse() {
            Ok(Path::Part(Directory::Checkpoint(CheckpointId(id)), name)) if id > 1 => {
                let directory = Directory::Checkpoint(CheckpointId(id - 1));
                Path::Part(directory, PartName { number: id - 1, ..name })
            }
            Ok(_) | Err(_) => return self.fail(place, ctx),
        };
        let path = before.to_string();
        let part = Part { path: path.clone(), ..part };
        let token = self.wait(Waiting::Read { subtask, execution, part });
        ctx.request(u64::from(token), Request::Get { path });
    }

    /// Puts a part of a restored state where it belongs; false if it is none.
    pub(super) fn take_over(&mut self, place: u32, part: Part, bytes: Vec<u8>) -> bool {
        let task = self.tasks[place as usize].as_mut().expect("found by the caller");
        task.reads_left -= 1;
        match (part.kind, &part.place) {
            // An operator that has stored nothing is given nothing.
            (PartKind::Operator, Place::File) if bytes.is_empty() => {}
            (PartKind::Operator, _) => {
                let member = task.member(part.operator).expect("it was deployed with its parts");
                match part.place {
                    Place::Shared(_) | Place::Known(_) | Place::Logged { .. } => {
                        member.shared.push((part, bytes));
                    }
                    Place::File | Place::Inline(_) => member.state.push((part.subtask, bytes)),
                }
            }
            (PartKind::Channels, _) => match ChannelState::decode(&bytes) {
                Ok(channels) => {
                    let Part { operator, subtask, .. } = part;
                    task.captured.push(Captured { operator, subtask, channels });
                }
                Err(_) => return false,
            },
        }
        true
    }

    pub(super) fn upload<O: Observer>(
        &mut self,
        place: u32,
        checkpoint: CheckpointId,
        (link, kind): (u32, PartKind),
        bytes: Vec<u8>,
        nominal: u64,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let plan = Arc::clone(&self.plan);
        let task = self.tasks[place as usize].as_mut().expect("found by the caller");
        let (head, execution) = (task.subtask, task.execution);
        let mut snapshots = task.snapshots.iter_mut();
        let snapshot = snapshots.find(|snapshot| snapshot.checkpoint == checkpoint);
        let snapshot = snapshot.expect("what is uploaded was cut");
        let of = (checkpoint, snapshot.kind);
        let member = &mut task.members[link as usize];
        let subtask = member.subtask;
        let is_state = kind == PartKind::Operator && !of.1.is_savepoint();
        if is_state && member.changelog.is_some() {
            return self.upload_log(place, checkpoint, link, (bytes, nominal), ctx);
        }
        let increments = member.increments.as_mut();
        let mut uploads = Vec::new();
        let mut copy = local::Copying::new(plan.recovers_locally(subtask), kind, of.1);
        match increments.filter(|_| is_state) {
            Some(increments) => {
                let increment = increments.snapshot(checkpoint, of.1, &bytes, nominal);
                let manifest = increment.manifest;
                let nominal = manifest.len() as u64;
                let part = plan.part(of, subtask, execution, kind, &manifest, nominal);
                copy.add_files(&increment.files, &mut member.at_hand);
                copy.add_part(&part, &manifest);
                let writer = (part.operator, part.subtask);
                uploads.push((part, manifest));
                for file in increment.files {
                    let part = plan.shared_part(writer, &file);
                    match file.upload {
                        Some((_, bytes)) => uploads.push((part, bytes)),
                        None => snapshot.parts.push(part),
                    }
                }
            }
            None => {
                let part = plan.part(of, subtask, execution, kind, &bytes, nominal);
                copy.add_part(&part, &bytes);
                uploads.push((part, bytes));
            }
        }
        if kind == PartKind::Operator {
            snapshot.uploads[link as usize] = uploads.len();
            snapshot.copies.extend(copy.finish().map(|copy| (subtask, copy)));
        }
        for (part, bytes) in uploads {
            self.write((head, execution), checkpoint, part, bytes, ctx);
        }
    }

    fn write<O: Observer>(
        &mut self,
        (subtask, execution): (SubtaskId, u32),
        checkpoint: CheckpointId,
        part: Part,
        bytes: Vec<u8>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if matches!(part.place, Place::Inline(_)) {
            let inlined = Observation::StateInlined { subtask, checkpoint };
            ctx.observe_task((subtask, execution), inlined);
            let inlined = Waiting::Inlined { subtask, execution, checkpoint, part };
            return self.set_timer(ctx.now(), inlined, ctx);
        }
        let request = self.put((part.path.clone(), part.nominal), bytes);
        let token = self.wait(Waiting::Upload { subtask, execution, checkpoint, part });
        ctx.request(u64::from(token), request);
    }

    /// Has a part of a snapshot written.
    pub(super) fn put(&self, (path, nominal): (String, u64), bytes: Vec<u8>) -> Request {
        let synced = self.plan.scenario.storage.sync.covers_state();
        let (purpose, if_absent) = (Purpose::State, false);
        Request::Put { path, bytes, nominal, purpose, synced, if_absent }
    }

    pub(super) fn on_effect<O: Observer>(
        &mut self,
        subtask: SubtaskId,
        execution: u32,
        effect: Effect,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        // Of a chain only the tail writes, or commits.
        let tail = self.plan.graph.tail(subtask);
        let step = |step, checkpoint, subtask, ctx: &mut Context<'_, Engine, O>| {
            ctx.observe(Observation::Step { step, checkpoint, subtask: Some(subtask) });
        };
        let (waiting, request) = match effect {
            Effect::Upsert(record) => {
                ctx.observe(Observation::Upserted { subtask: tail, record });
                return;
            }
            Effect::Append(record) => {
                ctx.observe(Observation::Appended { subtask: tail, record });
                return;
            }
            Effect::Call { call } => return self.call_outside((subtask, execution), call, ctx),
            Effect::Begin { transaction } => {
                ctx.begin_transaction(transaction);
                return;
            }
            Effect::Close { batch, contents } => {
                let transaction = Transaction::of(batch);
                ctx.observe_task(
                    (subtask, execution),
                    Observation::PreCommitted { transaction, contents },
                );
                return;
            }
            Effect::PreCommit { transaction, checkpoint, contents } => (
                Waiting::Flush { subtask, execution, checkpoint },
                Request::PreCommit { transaction, checkpoint, contents },
            ),
            Effect::Commit { transaction, contents } => {
                step(Step::S5, None, tail, ctx);
                let waiting = Waiting::Commit { subtask, execution, transaction };
                (waiting, Request::Commit { transaction, contents })
            }
            Effect::Apply { batch, updates } => {
                step(Step::S5, None, tail, ctx);
                let waiting = Waiting::Commit { subtask, execution, transaction: batch };
                (waiting, Request::Apply { batch, updates })
            }
            Effect::AbortLeftOvers(left_overs) => {
                let graph = &self.plan.graph;
                let is_it = |member: &&SubtaskId| graph.operator(**member) == left_overs.operator;
                let sink = graph.chain_of(subtask).iter().find(is_it).copied();
                step(Step::S6, left_overs.restored, sink.unwrap_or(subtask), ctx);
                return self.abort_left_overs(left_overs, ctx);
            }
        };
        let token = self.wait(waiting);
        ctx.request(u64::from(token), request);
    }

    /// An answer always comes, sooner or later. Of an operator of the user's own nobody has said how
    /// long it takes.
    fn call_outside<O: Observer>(
        &mut self,
        (subtask, execution): (SubtaskId, u32),
        call: u64,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        ctx.observe_task((subtask, execution), Observation::Called { subtask, call });
        let Some((place, _)) = self.find(subtask, execution) else { return };
        let task = self.tasks[place as usize].as_mut().expect("just found");
        let latency = task.calls.as_mut().map(|(latency, draws)| latency.draw(draws));
        let at = ctx.now() + latency.unwrap_or_default();
        self.set_timer(at, Waiting::Call { subtask, execution, call }, ctx);
    }

    fn abort_left_overs<O: Observer>(
        &mut self,
        left_overs: LeftOvers,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let token = self.wait(Waiting::LeftOvers(left_overs));
        ctx.request(u64::from(token), Request::AbortLeftOvers(left_overs));
    }
}

fn commit_error(refusal: Refusal) -> CommitError {
    match refusal {
        Refusal::Failed | Refusal::Unknown => CommitError::Retriable,
        Refusal::UnknownTransaction | Refusal::Expired | Refusal::ProducerFenced => {
            CommitError::Gone
        }
        Refusal::Exists
        | Refusal::NotFound
        | Refusal::Fenced
        | Refusal::Unreachable
        | Refusal::TimedOut => {
            unreachable!("these are said by others")
        }
    }
}
