//! Requests under way: what they are for, and what their answers mean.

use cutline::ids::{CheckpointId, SubtaskId};
use cutline::operator::{Effect, TransactionId};
use cutline::step::Step;
use cutline::job::assignment::Captured;
use cutline::storage::channel_state::ChannelState;
use cutline::task::snapshots::PartKind;
use cutline::task::subtask::{Input, Subtask};

use super::{SnapshotUnderWay, TaskManager};
use crate::engine::{Engine, Part};
use crate::observe::Observation;
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
    /// A part of a snapshot that was given up is being deleted.
    Discarded(Part),
    /// Nobody waits for the answer.
    Nobody,
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

    fn take(&mut self, token: u64) -> Waiting {
        self.free_tokens.push(token as u32);
        self.waiting[token as usize].take().expect("a token is answered once")
    }

    pub(super) fn on_timer<O: Observer>(&mut self, token: u64, ctx: &mut Context<'_, Engine, O>) {
        if let Waiting::Deployed { subtask, execution } = self.take(token)
            && let Some((place, _)) = self.find(subtask, execution)
        {
            self.on_deployed(place, ctx);
        }
    }

    pub(super) fn on_answer<O: Observer>(
        &mut self,
        token: u64,
        answer: Result<Answer, Refusal>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        match self.take(token) {
            Waiting::Deployed { .. } => unreachable!("a timer, not a request"),
            // Deviation: tried again until it is gone. Flink logs the failure.
            Waiting::Discarded(part) if answer.is_err() => self.discard(vec![part], ctx),
            Waiting::Discarded(_) | Waiting::Nobody => {}
            Waiting::Read { subtask, execution, part } => {
                if let Some((place, _)) = self.find(subtask, execution) {
                    self.on_read(place, &part, answer, ctx);
                }
            }
            Waiting::Upload { subtask, execution, checkpoint, part } => {
                self.on_uploaded(subtask, execution, checkpoint, part, answer.is_ok(), ctx);
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
                if let Some((place, _)) = self.find(subtask, execution) {
                    match answer {
                        Ok(_) => self.drive(place, Input::Committed(transaction), ctx),
                        // What was decided cannot be committed: the sink throws.
                        Err(_) => self.fail(place, ctx),
                    }
                }
            }
        }
    }

    fn on_uploaded<O: Observer>(
        &mut self,
        subtask: SubtaskId,
        execution: u32,
        checkpoint: CheckpointId,
        part: Part,
        written: bool,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let snapshot = self.find(subtask, execution).and_then(|(place, _)| {
            let task = self.tasks[place as usize].as_mut()?;
            let mut snapshots = task.snapshots.iter_mut();
            let snapshot = snapshots.find(|snapshot| snapshot.checkpoint == checkpoint)?;
            Some((place, snapshot))
        });
        match snapshot {
            Some((place, snapshot)) => {
                if written {
                    snapshot.parts.push(part);
                }
                self.drive(place, Input::Uploaded { checkpoint, written }, ctx);
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
        for part in parts {
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
        self.discard(ended.into_iter().flat_map(|snapshot| snapshot.parts).collect(), ctx);
    }

    fn on_read<O: Observer>(
        &mut self,
        place: u32,
        part: &Part,
        answer: Result<Answer, Refusal>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let task = self.tasks[place as usize].as_mut().expect("found by the caller");
        let Ok(Answer::Object { bytes }) = answer else {
            self.fail(place, ctx);
            return;
        };
        match part.kind {
            PartKind::Operator => task.state.push((part.subtask, bytes)),
            PartKind::Channels => match ChannelState::decode(&bytes) {
                Ok(channels) => {
                    let Part { operator, subtask, .. } = *part;
                    task.captured.push(Captured { operator, subtask, channels });
                }
                Err(_) => {
                    self.fail(place, ctx);
                    return;
                }
            },
        }
        task.reads_left -= 1;
        if task.reads_left == 0 {
            self.start(place, ctx);
        }
    }

    pub(super) fn upload<O: Observer>(
        &mut self,
        place: u32,
        checkpoint: CheckpointId,
        kind: PartKind,
        bytes: Vec<u8>,
        nominal: u64,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let task = self.tasks[place as usize].as_ref().expect("found by the caller");
        let (subtask, execution) = (task.subtask, task.execution);
        let snapshot = task.snapshots.iter().find(|snapshot| snapshot.checkpoint == checkpoint);
        let of = snapshot.expect("what is uploaded was cut").kind;
        let part = self.plan.part((checkpoint, of), subtask, execution, kind, &bytes, nominal);
        let path = part.path.clone();
        let token = self.wait(Waiting::Upload { subtask, execution, checkpoint, part });
        let request = Request::Put { path, bytes, nominal, purpose: Purpose::State };
        ctx.request(u64::from(token), request);
    }

    pub(super) fn on_effect<O: Observer>(
        &mut self,
        subtask: SubtaskId,
        execution: u32,
        effect: Effect,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let (waiting, request) = match effect {
            Effect::Upsert(record) => {
                ctx.observe(Observation::Upserted { subtask, record });
                return;
            }
            Effect::Append(record) => {
                ctx.observe(Observation::Appended { subtask, record });
                return;
            }
            // The external system opens a transaction with its first flush; until then there is
            // nothing that could be left over.
            Effect::Begin { .. } => return,
            Effect::PreCommit { transaction, checkpoint, contents } => (
                Waiting::Flush { subtask, execution, checkpoint },
                Request::PreCommit { transaction, checkpoint, contents },
            ),
            Effect::Commit { transaction, .. } => {
                let place = Some(subtask);
                ctx.observe(Observation::Step { step: Step::S5, checkpoint: None, subtask: place });
                let waiting = Waiting::Commit { subtask, execution, transaction };
                (waiting, Request::Commit { transaction })
            }
            Effect::AbortLeftOvers(left_overs) => {
                let checkpoint = left_overs.restored;
                let subtask = Some(subtask);
                ctx.observe(Observation::Step { step: Step::S6, checkpoint, subtask });
                (Waiting::Nobody, Request::AbortLeftOvers(left_overs))
            }
        };
        let token = self.wait(waiting);
        ctx.request(u64::from(token), request);
    }
}
