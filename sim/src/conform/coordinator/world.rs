//! The groups `coordinator` and `coordinator_io`: the machine and a small world around it.
//!
//! Flink's coordinator runs on a timer thread and leaves some work to background threads. Here:
//! `due` holds what is to run on the timer thread, first in, first out; `background` holds the
//! pieces of background work while it is held back, and is empty otherwise. Writing metadata,
//! storing, and telling the coordinator that a deletion is done take no turn of their own in
//! Flink, so these answers go in before anything else does.

use std::collections::{BTreeMap, VecDeque};

use cutline::coordinator::Coordinator;
use cutline::coordinator::io::{
    DiscardKind, Input, Output, PointerOutcome, RestoreScope, Token, WorkError,
};
use cutline::coordinator::plan::ExecutionState;
use cutline::coordinator::statistics::CheckpointMetrics;
use cutline::ids::{Attempt, CheckpointId, OperatorId, SubtaskId};
use cutline::message::{Alignment, FailureReason};
use cutline::storage::handle::SubtaskState;
use cutline::storage::registry::ClaimMode;
use cutline::time::{VirtualDuration, VirtualTime};
use cutline::trigger::decider::RequestId;
use cutline::trigger::policy::PeriodicTimer;
use serde_json::{Value, json};

use super::files::file;
use super::setup::{CoordinatorSetup, Fault, FaultError, Operation, Setup, StateName};
use super::{CaseError, Driver};
use cutline::storage::handle::{SharedFile, SharedHandle, SharedKey};

/// A piece of background work.
#[derive(Debug)]
enum Piece {
    DrawId(Token),
    MakeLocation(Token, CheckpointId),
    NotifyAborted {
        checkpoint: CheckpointId,
        subtasks: Vec<SubtaskId>,
        latest: Option<CheckpointId>,
    },
    Delete {
        token: Token,
        path: String,
    },
    /// Deletes nothing.
    Release(Token),
}

/// A deletion whose files go one by one.
#[derive(Debug)]
struct Deletion {
    left: usize,
    /// Goes after the last file.
    location: Option<String>,
}

pub(super) struct CoordinatorDriver {
    setup: Setup,
    machine: Coordinator<()>,
    /// Of each operator coordinator, in the order of the setup.
    operators: Vec<OperatorId>,
    now: VirtualTime,
    tasks: Vec<String>,
    attempts: Vec<u32>,
    requests: Vec<String>,
    started: bool,
    shut_down: bool,
    ids: u64,
    due: VecDeque<Input<()>>,
    held: bool,
    background: VecDeque<Piece>,
    deletions: BTreeMap<Token, Deletion>,
    /// The snapshot a manual operator coordinator was last asked for.
    asked: BTreeMap<OperatorId, CheckpointId>,
    faults: Vec<(Fault, Option<FaultError>, Option<SubtaskId>)>,
    events: Vec<Value>,
    discarded: Vec<String>,
    finalize_failed: bool,
}

impl CoordinatorDriver {
    fn build(setup: Setup) -> Result<Self, CaseError> {
        let [interval, during_backlog] = setup.intervals();
        let policy = PeriodicTimer::new(interval, during_backlog, setup.min_pause());
        let operators = setup.coordinators()?;
        let machine = Coordinator::new(
            setup.config(),
            setup.topology()?,
            operators.clone(),
            Box::new(policy),
            Vec::new(),
            ClaimMode::Claim,
        )
        .map_err(|_| CaseError::Range("nothing is recovered"))?;
        let names = setup.vertices.iter().flat_map(|vertex| {
            (0..vertex.parallelism).map(move |index| format!("{}-{index}", vertex.name))
        });
        let tasks: Vec<_> = names.collect();
        let running = setup.tasks_running;
        let mut driver = Self {
            setup,
            machine,
            operators,
            now: VirtualTime::ZERO,
            attempts: vec![0; tasks.len()],
            tasks,
            requests: Vec::new(),
            started: false,
            shut_down: false,
            ids: 0,
            due: VecDeque::new(),
            held: false,
            background: VecDeque::new(),
            deletions: BTreeMap::new(),
            asked: BTreeMap::new(),
            faults: Vec::new(),
            events: Vec::new(),
            discarded: Vec::new(),
            finalize_failed: false,
        };
        if running {
            driver.set_all(ExecutionState::Running);
        }
        Ok(driver)
    }

    /// A task that does not exist gets a number that none has.
    fn subtask(&self, task: &str) -> SubtaskId {
        let found = self.tasks.iter().position(|name| name == task);
        SubtaskId(found.unwrap_or(self.tasks.len()) as u32)
    }

    fn attempt(&self, subtask: SubtaskId, named: Option<u32>) -> Attempt {
        let current = self.attempts.get(subtask.index()).copied();
        Attempt(named.or(current).unwrap_or(0))
    }

    fn execution(&self, subtask: SubtaskId, attempt: u32) -> String {
        match (self.tasks.get(subtask.index()), attempt) {
            (None, _) => "unknown".to_owned(),
            (Some(name), 0) => name.clone(),
            (Some(name), attempt) => format!("{name}#{attempt}"),
        }
    }

    fn executions(&self, subtasks: &[SubtaskId]) -> Vec<String> {
        let current = subtasks
            .iter()
            .map(|&s| self.execution(s, self.attempts[s.index()]));
        current.collect()
    }

    fn set_all(&mut self, state: ExecutionState) {
        for index in 0..self.tasks.len() {
            self.feed(Input::TaskState {
                subtask: SubtaskId(index as u32),
                attempt: Attempt(self.attempts[index]),
                state,
            });
        }
    }

    /// Gives the machine an input, and everything that is answered on the spot.
    fn feed(&mut self, input: Input<()>) {
        let mut out = Vec::new();
        self.machine.handle(self.now, input, &mut out);
        let mut answers = VecDeque::new();
        for output in out {
            self.perform(output, &mut answers);
        }
        for answer in answers {
            self.feed(answer);
        }
    }

    /// Runs what is due on the timer thread.
    fn drain(&mut self) {
        while let Some(input) = self.due.pop_front() {
            self.feed(input);
        }
    }

    fn perform(&mut self, output: Output<()>, answers: &mut VecDeque<Input<()>>) {
        match output {
            Output::Poll => self.due.push_back(Input::Poll),
            Output::DrawId { token } => self.leave(Piece::DrawId(token), answers),
            Output::MakeLocation {
                token, checkpoint, ..
            } => self.leave(Piece::MakeLocation(token, checkpoint), answers),
            Output::NotifyAborted {
                checkpoint,
                subtasks,
                latest_completed: latest,
            } => {
                let piece = Piece::NotifyAborted {
                    checkpoint,
                    subtasks,
                    latest,
                };
                self.leave(piece, answers);
            }
            Output::Discard {
                token,
                kind,
                files,
                location,
                ..
            } => {
                // The directory of a completed checkpoint goes without saying.
                let location = location.filter(|_| kind == DiscardKind::Aborted);
                let deletion = Deletion {
                    left: files.len(),
                    location: location.map(|location| location.to_string()),
                };
                self.deletions.insert(token, deletion);
                match (kind, files.is_empty()) {
                    (DiscardKind::Pending, _) => self.leave(Piece::Release(token), answers),
                    (_, true) => self.deleted(token, answers),
                    (_, false) => {}
                }
                for file in files {
                    let path = file.path.to_string();
                    self.leave(Piece::Delete { token, path }, answers);
                }
            }
            Output::SnapshotCoordinator {
                checkpoint,
                coordinator,
            } => self.snapshot_coordinator(checkpoint, coordinator),
            Output::WriteMetadata { token, checkpoint } => {
                let result = match self.fault(Fault::Finalize, None) {
                    None => Ok(file(&format!("checkpoint {}", checkpoint.id.0))),
                    Some(_) => Err(WorkError::Other),
                };
                answers.push_back(Input::MetadataWritten { token, result });
            }
            Output::WritePointer { token, .. } => {
                let outcome = match self.fault(Fault::Store, None) {
                    None => PointerOutcome::Written,
                    Some(_) => PointerOutcome::Failed,
                };
                answers.push_back(Input::PointerWritten { token, outcome });
            }
            Output::RemovePointer { token, .. } => answers.push_back(Input::PointerRemoved {
                token,
                removed: true,
            }),
            Output::Trigger {
                subtask,
                attempt,
                barrier,
            } => {
                if self.fault(Fault::TriggerRpc, Some(subtask)).is_some() {
                    self.due.push_back(Input::TriggerFailed {
                        checkpoint: barrier.checkpoint,
                        subtask,
                    });
                }
                let (alignment, timeout) = match barrier.options.alignment {
                    Alignment::AtLeastOnce => ("at_least_once", None),
                    Alignment::Aligned => ("aligned", None),
                    Alignment::AlignedWithTimeout(timeout) => ("aligned", Some(timeout)),
                    Alignment::Unaligned => ("unaligned", None),
                };
                let event = json!({
                    "e": "trigger",
                    "cp": barrier.checkpoint,
                    "tasks": [self.execution(subtask, attempt.0)],
                    "type": barrier.options.kind,
                    "alignment": alignment,
                    "aligned_timeout_ms": timeout.map(VirtualDuration::as_millis),
                });
                self.events.push(event);
            }
            told => self.tell(told),
        }
    }

    /// Outputs that only say something.
    fn tell(&mut self, output: Output<()>) {
        let event = match output {
            Output::Pending {
                checkpoint, kind, ..
            } => json!({ "e": "pending", "cp": checkpoint, "type": kind }),
            Output::Stored { checkpoint } => json!({ "e": "store", "cp": checkpoint }),
            Output::Completed { checkpoint } => json!({ "e": "completed", "cp": checkpoint }),
            Output::Failed { checkpoint, reason } => {
                json!({ "e": "failed", "cp": checkpoint, "reason": reason })
            }
            Output::FailedBeforeStart { .. } => json!({ "e": "failed_before_start" }),
            Output::NotifyComplete {
                checkpoint,
                subtasks,
                subsumed,
                ..
            } => json!({
                "e": "notify_complete",
                "cp": checkpoint,
                "tasks": self.executions(&subtasks),
                "subsumed": subsumed,
            }),
            Output::RequestCompleted {
                request,
                checkpoint,
            } => json!({ "e": "request_ok", "req": self.request(request), "cp": checkpoint }),
            Output::RequestFailed { request, reason } => json!({
                "e": "request_failed",
                "req": self.request(request),
                // Flink hands out the bare error here.
                "reason": match reason {
                    FailureReason::FinalizeCheckpointFailure => json!("OTHER"),
                    reason => json!(reason),
                },
            }),
            Output::FailJob { task } => {
                let task = task.map(|(subtask, attempt)| self.execution(subtask, attempt.0));
                json!({ "e": "fail_job", "task": task })
            }
            Output::Restored { checkpoint, .. } => {
                json!({ "e": "restored", "cp": checkpoint.map(|r| r.checkpoint.id) })
            }
            Output::AbortTriggering { coordinator } => {
                json!({ "e": "coordinator_abort_triggering", "coordinator": self.name(coordinator) })
            }
            Output::NotifyCoordinatorComplete {
                checkpoint,
                coordinator,
            } => json!({
                "e": "coordinator_complete",
                "cp": checkpoint,
                "coordinator": self.name(coordinator),
            }),
            Output::NotifyCoordinatorAborted {
                checkpoint,
                coordinator,
            } => json!({
                "e": "coordinator_aborted",
                "cp": checkpoint,
                "coordinator": self.name(coordinator),
            }),
            Output::ResetCoordinator {
                coordinator,
                checkpoint,
            } => {
                let checkpoint = checkpoint.map(|retained| retained.checkpoint);
                let state = checkpoint.as_ref().and_then(|c| c.coordinator(coordinator));
                json!({
                    "e": "coordinator_reset",
                    "cp": checkpoint.as_ref().map(|c| c.id),
                    "coordinator": self.name(coordinator),
                    "has_state": state.is_some(),
                })
            }
            Output::FinalizeFailed { .. } => {
                self.finalize_failed = true;
                return;
            }
            other => json!({ "e": format!("{other:?}") }),
        };
        self.events.push(event);
    }

    fn request(&self, request: RequestId) -> &str {
        let index = usize::try_from(request.0).ok();
        let name = index.and_then(|index| self.requests.get(index));
        name.map_or("nobody", String::as_str)
    }

    fn name(&self, coordinator: OperatorId) -> &str {
        &self.coordinator(coordinator).name
    }

    fn coordinator(&self, operator: OperatorId) -> &CoordinatorSetup {
        let index = self.operators.iter().position(|&o| o == operator);
        &self.setup.operator_coordinators[index.expect("the machine was given these")]
    }

    fn fault(&mut self, what: Fault, at: Option<SubtaskId>) -> Option<Option<FaultError>> {
        let mut faults = self.faults.iter();
        let index = faults.position(|(fault, _, task)| *fault == what && *task == at)?;
        Some(self.faults.remove(index).1)
    }

    fn snapshot_coordinator(&mut self, checkpoint: CheckpointId, coordinator: OperatorId) {
        let event = json!({
            "e": "coordinator_snapshot",
            "cp": checkpoint,
            "coordinator": self.name(coordinator),
        });
        self.events.push(event);
        if self.coordinator(coordinator).manual {
            self.asked.insert(coordinator, checkpoint);
        } else {
            self.answer_snapshot(checkpoint, coordinator, true);
        }
    }

    fn answer_snapshot(&mut self, checkpoint: CheckpointId, coordinator: OperatorId, ok: bool) {
        let state = SubtaskState {
            private: vec![file("coordinator")],
            shared: Vec::new(),
            payload: (),
        };
        self.due.push_back(Input::CoordinatorSnapshot {
            checkpoint,
            coordinator,
            result: if ok { Ok(state) } else { Err(WorkError::Other) },
        });
    }

    /// Leaves work to the background.
    fn leave(&mut self, piece: Piece, answers: &mut VecDeque<Input<()>>) {
        if self.held {
            self.background.push_back(piece);
        } else {
            self.run(piece, answers);
        }
    }

    fn run(&mut self, piece: Piece, answers: &mut VecDeque<Input<()>>) {
        match piece {
            Piece::DrawId(token) => {
                let result = match self.fault(Fault::CheckpointId, None) {
                    Some(error) => Err(work_error(error.unwrap_or(FaultError::Other))),
                    None => {
                        self.ids += 1;
                        Ok(CheckpointId(self.ids))
                    }
                };
                self.due.push_back(Input::IdDrawn { token, result });
            }
            Piece::MakeLocation(token, id) => {
                let result = match self.fault(Fault::StorageLocation, None) {
                    Some(error) => Err(work_error(error.unwrap_or(FaultError::Io))),
                    None => Ok(format!("location {}", id.0).into()),
                };
                self.due.push_back(Input::LocationMade { token, result });
            }
            Piece::NotifyAborted {
                checkpoint,
                subtasks,
                latest,
            } => {
                let event = json!({
                    "e": "notify_aborted",
                    "cp": checkpoint,
                    "tasks": self.executions(&subtasks),
                    "latest_completed": latest,
                });
                self.events.push(event);
            }
            Piece::Release(token) => self.deleted(token, answers),
            Piece::Delete { token, path } => {
                // Flink's operator coordinators keep their snapshots in memory.
                if path != "coordinator" {
                    self.discarded.push(path);
                }
                let deletion = self.deletions.get_mut(&token);
                let deletion = deletion.expect("it is there until its last file is gone");
                deletion.left -= 1;
                if deletion.left == 0 {
                    self.deleted(token, answers);
                }
            }
        }
    }

    fn deleted(&mut self, token: Token, answers: &mut VecDeque<Input<()>>) {
        let deletion = self.deletions.remove(&token);
        self.discarded
            .extend(deletion.and_then(|deletion| deletion.location));
        answers.push_back(Input::Discarded { token });
    }

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
        let delay = if self.started {
            self.setup.min_pause()
        } else {
            self.setup.initial_delay()
        };
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
        self.feed(Input::AbortPending {
            reason: FailureReason::JobFailoverRegion,
        });
        self.feed(Input::Restore {
            scope: RestoreScope::Global,
        });
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
        let state = (state || files.is_some()).then(|| SubtaskState {
            private: vec![file(&format!("state {task}@{}", checkpoint.0))],
            shared: files.iter().flatten().map(|key| shared(key)).collect(),
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
            Operation::Trigger {
                req,
                kind,
                periodic,
            } => {
                let request = RequestId(self.requests.len() as u64);
                self.requests.push(req);
                self.feed(Input::Trigger {
                    request: Some(request),
                    kind,
                    periodic,
                });
            }
            Operation::Ack {
                task,
                cp,
                state,
                shared,
                attempt,
            } => return Ok(self.acknowledge(&task, cp, state, shared, attempt)),
            Operation::Decline {
                task,
                cp,
                reason,
                attempt,
            } => {
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
                self.feed(Input::Shutdown {
                    status: Some(status),
                });
            }
            Operation::Shutdown {} => {
                self.shut_down = true;
                self.feed(Input::Shutdown { status: None });
            }
            Operation::Backlog { source, on } => self.feed(Input::Backlog {
                source: OperatorId(source),
                on,
            }),
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

fn work_error(error: FaultError) -> WorkError {
    match error {
        FaultError::Io => WorkError::Io,
        FaultError::Other => WorkError::Other,
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
