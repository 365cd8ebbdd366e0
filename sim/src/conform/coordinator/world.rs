//! The groups `coordinator` and `coordinator_io`: the machine and a small world around it.
//!
//! Flink's coordinator runs on a timer thread and leaves some work to background threads. Here:
//! `due` holds what is to run on the timer thread, first in, first out; `background` holds the
//! pieces of background work while it is held back, and is empty otherwise. Writing metadata,
//! storing, and telling the coordinator that a deletion is done take no turn of their own in
//! Flink, so these answers go in before anything else does.

use std::collections::{BTreeMap, VecDeque};

use cutline::coordinator::Coordinator;
use cutline::coordinator::io::{DiscardKind, Input, Output, PointerOutcome, Token, WorkError};
use cutline::coordinator::plan::ExecutionState;
use cutline::ids::{Attempt, CheckpointId, OperatorId, SubtaskId};
use cutline::message::Alignment;
use cutline::storage::handle::SubtaskState;
use cutline::storage::registry::ClaimMode;
use cutline::time::{VirtualDuration, VirtualTime};
use cutline::trigger::policy::PeriodicTimer;
use serde_json::{Value, json};

use super::CaseError;
use super::files::file;
use super::setup::{CoordinatorSetup, Fault, FaultError, Setup};

/// Stands between the name of a private file in the vectors and the number of the acknowledgement
/// that brought it: each brings a file of its own, as each has an object of its own in Flink's tests.
pub(super) const BROUGHT_BY: &str = " of acknowledgement ";

/// A piece of background work.
#[derive(Debug)]
pub(super) enum Piece {
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
pub(super) struct Deletion {
    left: usize,
    /// Goes after the last file.
    location: Option<String>,
}

pub(super) struct CoordinatorDriver {
    pub(super) setup: Setup,
    pub(super) machine: Coordinator<()>,
    /// Of each operator coordinator, in the order of the setup.
    pub(super) operators: Vec<OperatorId>,
    pub(super) now: VirtualTime,
    pub(super) tasks: Vec<String>,
    pub(super) attempts: Vec<u32>,
    pub(super) requests: Vec<String>,
    pub(super) started: bool,
    pub(super) shut_down: bool,
    pub(super) ids: u64,
    pub(super) acknowledgements: u64,
    pub(super) due: VecDeque<Input<()>>,
    pub(super) held: bool,
    pub(super) background: VecDeque<Piece>,
    pub(super) deletions: BTreeMap<Token, Deletion>,
    /// The snapshot a manual operator coordinator was last asked for.
    pub(super) asked: BTreeMap<OperatorId, CheckpointId>,
    pub(super) faults: Vec<(Fault, Option<FaultError>, Option<SubtaskId>)>,
    pub(super) events: Vec<Value>,
    pub(super) discarded: Vec<String>,
    pub(super) finalize_failed: bool,
}

impl CoordinatorDriver {
    pub(super) fn build(setup: Setup) -> Result<Self, CaseError> {
        setup.check()?;
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
            acknowledgements: 0,
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
    pub(super) fn subtask(&self, task: &str) -> SubtaskId {
        let found = self.tasks.iter().position(|name| name == task);
        SubtaskId(found.unwrap_or(self.tasks.len()) as u32)
    }

    pub(super) fn attempt(&self, subtask: SubtaskId, named: Option<u32>) -> Attempt {
        let current = self.attempts.get(subtask.index()).copied();
        Attempt(named.or(current).unwrap_or(0))
    }

    pub(super) fn execution(&self, subtask: SubtaskId, attempt: u32) -> String {
        match (self.tasks.get(subtask.index()), attempt) {
            (None, _) => "unknown".to_owned(),
            (Some(name), 0) => name.clone(),
            (Some(name), attempt) => format!("{name}#{attempt}"),
        }
    }

    pub(super) fn executions(&self, subtasks: &[SubtaskId]) -> Vec<String> {
        let current = subtasks.iter().map(|&s| self.execution(s, self.attempts[s.index()]));
        current.collect()
    }

    pub(super) fn set_all(&mut self, state: ExecutionState) {
        for index in 0..self.tasks.len() {
            self.feed(Input::TaskState {
                subtask: SubtaskId(index as u32),
                attempt: Attempt(self.attempts[index]),
                state,
            });
        }
    }

    /// Gives the machine an input, and everything that is answered on the spot.
    pub(super) fn feed(&mut self, input: Input<()>) {
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
    pub(super) fn drain(&mut self) {
        while let Some(input) = self.due.pop_front() {
            self.feed(input);
        }
    }

    pub(super) fn perform(&mut self, output: Output<()>, answers: &mut VecDeque<Input<()>>) {
        match output {
            Output::Poll => self.due.push_back(Input::Poll),
            Output::DrawId { token } => self.leave(Piece::DrawId(token), answers),
            Output::MakeLocation { token, checkpoint, .. } => {
                self.leave(Piece::MakeLocation(token, checkpoint), answers)
            }
            Output::NotifyAborted { checkpoint, subtasks, latest_completed: latest } => {
                let piece = Piece::NotifyAborted { checkpoint, subtasks, latest };
                self.leave(piece, answers);
            }
            Output::Discard { token, kind, files, location, .. } => {
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
            Output::SnapshotCoordinator { checkpoint, coordinator } => {
                self.snapshot_coordinator(checkpoint, coordinator)
            }
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
            Output::RemovePointer { token, .. } => {
                answers.push_back(Input::PointerRemoved { token, removed: true })
            }
            Output::Trigger { subtask, attempt, barrier } => {
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
                    Alignment::ForcedAligned(_) => ("forced_aligned", None),
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
            told @ (Output::Pending { .. }
            | Output::AbortTriggering { .. }
            | Output::Stored { .. }
            | Output::Completed { .. }
            | Output::NotifyComplete { .. }
            | Output::NotifyCoordinatorComplete { .. }
            | Output::Failed { .. }
            | Output::FailedBeforeStart { .. }
            | Output::NotifyCoordinatorAborted { .. }
            | Output::RequestCompleted { .. }
            | Output::RequestFailed { .. }
            | Output::FinalizeFailed { .. }
            | Output::AcknowledgeRefused { .. }
            | Output::FailJob { .. }
            | Output::Restored { .. }
            | Output::ResetCoordinator { .. }) => self.tell(told),
        }
    }

    pub(super) fn coordinator(&self, operator: OperatorId) -> &CoordinatorSetup {
        let index = self.operators.iter().position(|&o| o == operator);
        &self.setup.operator_coordinators[index.expect("the machine was given these")]
    }

    pub(super) fn fault(
        &mut self,
        what: Fault,
        at: Option<SubtaskId>,
    ) -> Option<Option<FaultError>> {
        let mut faults = self.faults.iter();
        let index = faults.position(|(fault, _, task)| *fault == what && *task == at)?;
        Some(self.faults.remove(index).1)
    }

    pub(super) fn snapshot_coordinator(
        &mut self,
        checkpoint: CheckpointId,
        coordinator: OperatorId,
    ) {
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

    pub(super) fn answer_snapshot(
        &mut self,
        checkpoint: CheckpointId,
        coordinator: OperatorId,
        ok: bool,
    ) {
        let state = SubtaskState {
            private: vec![file("coordinator")],
            shared: Vec::new(),
            ended: false,
            checkpointed: None,
            payload: (),
        };
        self.due.push_back(Input::CoordinatorSnapshot {
            checkpoint,
            coordinator,
            result: if ok { Ok(state) } else { Err(WorkError::Other) },
        });
    }

    /// Leaves work to the background.
    pub(super) fn leave(&mut self, piece: Piece, answers: &mut VecDeque<Input<()>>) {
        if self.held {
            self.background.push_back(piece);
        } else {
            self.run(piece, answers);
        }
    }

    pub(super) fn run(&mut self, piece: Piece, answers: &mut VecDeque<Input<()>>) {
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
            Piece::NotifyAborted { checkpoint, subtasks, latest } => {
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
                    let name = path.split(BROUGHT_BY).next().expect("a split has a first part");
                    self.discarded.push(name.to_owned());
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

    pub(super) fn deleted(&mut self, token: Token, answers: &mut VecDeque<Input<()>>) {
        let deletion = self.deletions.remove(&token);
        self.discarded.extend(deletion.and_then(|deletion| deletion.location));
        answers.push_back(Input::Discarded { token });
    }
}

fn work_error(error: FaultError) -> WorkError {
    match error {
        FaultError::Io => WorkError::Io,
        FaultError::Other => WorkError::Other,
    }
}
