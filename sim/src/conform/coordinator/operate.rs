//! The operations of the groups `coordinator` and `coordinator_io`.

use std::collections::VecDeque;

use cutline::coordinator::io::{Input, RestoreScope};
use cutline::coordinator::plan::ExecutionState;
use cutline::coordinator::statistics::CheckpointMetrics;
use cutline::ids::{CheckpointId, OperatorId};
use cutline::message::FailureReason;
use cutline::storage::handle::{SharedFile, SharedHandle, SharedKey, SubtaskState};
use cutline::time::VirtualDuration;
use cutline::trigger::decider::RequestId;
use serde_json::{Value, json};

use super::files::file;
use super::setup::{Operation, Setup, StateName};
use super::world::{BROUGHT_BY, CoordinatorDriver};
use super::{CaseError, Driver};

impl CoordinatorDriver {
    fn release(&mut self, pieces: Option<usize>) {
        self.held = pieces.is_some();
        for _ in 0..pieces.unwrap_or(usize::MAX) {
            let Some(piece) = self.background.pop_front() else {
                return;
            };
            let mut answers = VecDeque::new();
            self.run(piece, &mut answers);
            for answer in answers {
                self.feed(answer);
            }
            self.drain();
        }
    }

    fn start(&mut self) -> bool {
        if self.shut_down || self.setup.interval_ms.is_none() {
            return false;
        }
        let delay = if self.started { self.setup.min_pause() } else { self.setup.initial_delay() };
        self.started = true;
        self.feed(Input::Start { delay });
        true
    }

    fn advance(&mut self, by: VirtualDuration) {
        let target = self.now + by;
        while let Some(due) = self.machine.next_timeout().filter(|&due| due <= target) {
            self.now = self.now.max(due);
            let before = self.events.len();
            self.feed(Input::Timeout);
            self.drain();
            for event in &mut self.events[before..] {
                event["t"] = json!(self.now.as_millis());
            }
        }
        self.now = target;
    }

    fn global_failover(&mut self, restart_scheduler: bool) {
        self.feed(Input::Stop);
        for attempt in &mut self.attempts {
            *attempt += 1;
        }
        self.set_all(ExecutionState::Created);
        self.feed(Input::AbortPending { reason: FailureReason::JobFailoverRegion });
        self.feed(Input::Restore { scope: RestoreScope::Global });
        self.set_all(ExecutionState::Running);
        if restart_scheduler {
            self.start();
        }
    }

    fn acknowledge(
        &mut self,
        task: &str,
        checkpoint: CheckpointId,
        state: bool,
        files: Option<Vec<String>>,
        attempt: Option<u32>,
    ) -> Value {
        let subtask = self.subtask(task);
        let attempt = self.attempt(subtask, attempt);
        self.acknowledgements += 1;
        let number = self.acknowledgements;
        let state = (state || files.is_some()).then(|| SubtaskState {
            private: vec![file(&format!("state {task}@{}{BROUGHT_BY}{number}", checkpoint.0))],
            shared: files.iter().flatten().map(|key| shared(key)).collect(),
            ended: false,
            checkpointed: None,
            payload: (),
        });
        let known = self.machine.knows(checkpoint);
        self.finalize_failed = false;
        self.feed(Input::Acknowledge {
            checkpoint,
            subtask,
            attempt,
            state,
            metrics: CheckpointMetrics::default(),
        });
        if self.finalize_failed {
            json!({ "error": FailureReason::FinalizeCheckpointFailure })
        } else {
            json!({ "known": known })
        }
    }

    fn operate(&mut self, operation: Operation) -> Result<Value, String> {
        match operation {
            Operation::Start {} => {
                if !self.start() {
                    return Ok(json!({ "error": "cannot_start" }));
                }
            }
            Operation::Stop {} => self.feed(Input::Stop),
            Operation::Advance { ms } => self.advance(VirtualDuration::from_millis(ms)),
            Operation::Trigger { req, kind, periodic } => {
                let request = RequestId(self.requests.len() as u64);
                self.requests.push(req);
                self.feed(Input::Trigger { request: Some(request), kind, periodic });
            }
            Operation::Ack { task, cp, state, shared, attempt } => {
                return Ok(self.acknowledge(&task, cp, state, shared, attempt));
            }
            Operation::Decline { task, cp, reason, attempt } => {
                let subtask = self.subtask(&task);
                self.feed(Input::Decline {
                    checkpoint: cp,
                    subtask,
                    attempt: self.attempt(subtask, attempt),
                    reason,
                });
            }
            Operation::TaskState { task, state } => {
                let subtask = self.subtask(&task);
                if subtask.index() == self.tasks.len() {
                    return Err(format!("no task {task}"));
                }
                self.feed(Input::TaskState {
                    subtask,
                    attempt: self.attempt(subtask, None),
                    state: match state {
                        StateName::Running => ExecutionState::Running,
                        StateName::Finished => ExecutionState::Finished,
                    },
                });
            }
            Operation::AbortPending { reason } => self.feed(Input::AbortPending { reason }),
            Operation::GlobalFailover { restart_scheduler } => {
                self.global_failover(restart_scheduler);
            }
            Operation::EndJob { status } => {
                self.shut_down = true;
                self.feed(Input::Shutdown { status: Some(status) });
            }
            Operation::Shutdown {} => {
                self.shut_down = true;
                self.feed(Input::Shutdown { status: None });
            }
            Operation::Backlog { source, on } => {
                self.feed(Input::Backlog { source: OperatorId(source), on })
            }
            Operation::CoordinatorDone { coordinator, ok } => {
                let mut names = self.setup.operator_coordinators.iter();
                let index = names.position(|c| c.name == coordinator);
                let index = index.ok_or_else(|| format!("no coordinator {coordinator}"))?;
                let operator = self.operators[index];
                if let Some(checkpoint) = self.asked.remove(&operator) {
                    self.answer_snapshot(checkpoint, operator, ok);
                }
            }
            Operation::FailNext { what, error, task } => {
                let task = task.map(|task| self.subtask(&task));
                self.faults.push((what, error, task));
            }
            Operation::HoldIo {} => self.held = true,
            Operation::ReleaseIo { n } => self.release(n),
        }
        Ok(json!({}))
    }
}

impl Driver for CoordinatorDriver {
    type Config = Setup;
    type Operation = Operation;

    fn new(setup: Setup) -> Result<Self, CaseError> {
        Self::build(setup)
    }

    fn step(&mut self, operation: Operation) -> Result<Value, String> {
        let mut answer = self.operate(operation)?;
        self.drain();
        let mut discarded = std::mem::take(&mut self.discarded);
        discarded.sort_unstable();
        answer["discarded"] = json!(discarded);
        answer["events"] = json!(std::mem::take(&mut self.events));
        answer["pending"] = json!(self.machine.pending().collect::<Vec<_>>());
        let retained = self.machine.retained().map(|r| r.checkpoint.id);
        answer["retained"] = json!(retained.collect::<Vec<_>>());
        answer["queued"] = json!(self.machine.queued());
        answer["triggering"] = json!(self.machine.is_triggering());
        Ok(answer)
    }
}

/// A shared file; deletions name it so.
fn shared(key: &str) -> SharedFile {
    SharedFile {
        key: SharedKey(key.into()),
        handle: SharedHandle::File(file(&format!("shared {key}"))),
    }
}
