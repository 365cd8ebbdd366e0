//! What the machine says, in the words of the vectors.

use cutline::coordinator::io::Output;
use cutline::ids::OperatorId;
use cutline::message::FailureReason;
use cutline::trigger::decider::RequestId;
use serde_json::json;

use super::world::CoordinatorDriver;

impl CoordinatorDriver {
    /// Outputs that only say something.
    pub(super) fn tell(&mut self, output: Output<()>) {
        let event = match output {
            Output::Pending { checkpoint, kind, .. } => {
                json!({ "e": "pending", "cp": checkpoint, "type": kind })
            }
            Output::Stored { checkpoint } => json!({ "e": "store", "cp": checkpoint }),
            Output::Completed { checkpoint } => json!({ "e": "completed", "cp": checkpoint }),
            Output::Failed { checkpoint, reason } => {
                json!({ "e": "failed", "cp": checkpoint, "reason": reason })
            }
            Output::FailedBeforeStart { .. } => json!({ "e": "failed_before_start" }),
            Output::NotifyComplete { checkpoint, subtasks, subsumed, .. } => json!({
                "e": "notify_complete",
                "cp": checkpoint,
                "tasks": self.executions(&subtasks),
                "subsumed": subsumed,
            }),
            Output::RequestCompleted { request, checkpoint } => {
                json!({ "e": "request_ok", "req": self.request(request), "cp": checkpoint })
            }
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
            Output::NotifyCoordinatorComplete { checkpoint, coordinator } => json!({
                "e": "coordinator_complete",
                "cp": checkpoint,
                "coordinator": self.name(coordinator),
            }),
            Output::NotifyCoordinatorAborted { checkpoint, coordinator } => json!({
                "e": "coordinator_aborted",
                "cp": checkpoint,
                "coordinator": self.name(coordinator),
            }),
            Output::ResetCoordinator { coordinator, checkpoint } => {
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
            Output::AcknowledgeRefused { checkpoint, error, .. } => json!({
                "e": "acknowledge_refused",
                "cp": checkpoint,
                "error": error.to_string(),
            }),
            Output::Poll
            | Output::DrawId { .. }
            | Output::MakeLocation { .. }
            | Output::SnapshotCoordinator { .. }
            | Output::Trigger { .. }
            | Output::WriteMetadata { .. }
            | Output::WritePointer { .. }
            | Output::NotifyAborted { .. }
            | Output::RemovePointer { .. }
            | Output::Discard { .. } => unreachable!("that is work, and was done"),
        };
        self.events.push(event);
    }

    pub(super) fn request(&self, request: RequestId) -> &str {
        let index = usize::try_from(request.0).ok();
        let name = index.and_then(|index| self.requests.get(index));
        name.map_or("nobody", String::as_str)
    }

    pub(super) fn name(&self, coordinator: OperatorId) -> &str {
        &self.coordinator(coordinator).name
    }
}
