//! Calls of the job manager that are lost, or whose answers are.
//!
//! | lost | what follows | Flink |
//! | --- | --- | --- |
//! | a deployment | the task has failed, whether it runs or not | `Execution#deploy` |
//! | a cancellation | it is repeated until it is answered | `Execution#sendCancelRpcCall`: three times more |
//! | a trigger | the checkpoint is aborted | `CheckpointCoordinator#triggerCheckpointRequest` |
//! | an event of an enumerator | its reader fails | `SubtaskGatewayImpl#sendEvent` |
//! | the news that a checkpoint is complete, or was aborted | it is told again | `RpcTaskManagerGateway`: nothing |
//! | a heartbeat, a registration | the next one comes | `HeartbeatMonitorImpl`, `RetryingRegistration` |
//! | an acknowledgement, a decline | the checkpoint expires | `RpcCheckpointResponder` |
//!
//! What the task managers do about theirs is said in `task_manager/unanswered.rs`.
//!
//! Deviation: files that are named only in an acknowledgement that was lost stay. Flink deletes those
//! that are not shared, with the directory of the checkpoint when it fails.

use cutline::coordinator::plan::ExecutionState;
use cutline::enumerator::Input;
use cutline::ids::{RegionId, SubtaskId};
use cutline::task::subtask::Mail;

use super::JobManager;
use super::calls::Call;
use crate::engine::{Control, Engine, Fenced};
use crate::world::{Context, Observer, ProcessId, Refusal};

impl JobManager {
    pub(super) fn on_unanswered<O: Observer>(
        &mut self,
        peer: ProcessId,
        Fenced { token, message }: Fenced,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if self.plan.elects() && (token != self.session || !self.believes_to_lead()) {
            return; // It was said in a session that is over.
        }
        let timed_out = Refusal::TimedOut;
        match message {
            Control::Deploy(deployment) => {
                let (execution, subtask) = (deployment.execution, deployment.subtask);
                self.on_call_failed(Call::Deploy { execution, subtask }, timed_out, ctx);
            }
            Control::Cancel { execution, region } => {
                if let Some(worker) = self.worker_in(peer) {
                    self.cancel_again(worker, (execution, region), ctx);
                }
            }
            Control::Mail { execution, subtask, mail } => match mail {
                Mail::Trigger(barrier) => {
                    if let Some(subtask) = self.number_of(subtask) {
                        let call = Call::Trigger { checkpoint: barrier.checkpoint, subtask };
                        self.on_call_failed(call, timed_out, ctx);
                    }
                }
                Mail::Split { id, .. } => self.on_event_unanswered(subtask, id, ctx),
                Mail::NotifyComplete(checkpoint) => {
                    // The next one's news say more.
                    if self.retained().all(|it| it.checkpoint.id <= checkpoint) {
                        self.notify_again((subtask, execution), mail, ctx);
                    }
                }
                Mail::NotifyAborted(_) => self.notify_again((subtask, execution), mail, ctx),
                Mail::Capture { .. } => unreachable!("a task asks itself"),
            },
            Control::EventArrived { subtask, id } => self.on_event_unanswered(subtask, id, ctx),
            Control::Register { .. }
            | Control::Registered
            | Control::Heartbeat
            | Control::Alive
            | Control::Canceled { .. }
            | Control::RequestSplit { .. }
            | Control::Task { .. }
            | Control::Acknowledge { .. }
            | Control::Decline { .. } => unreachable!("no answer to it is this job manager's"),
        }
    }

    /// Tasks may still run there. Deviation: Flink takes them for cancelled after four calls, and
    /// cancels what runs all the same when the next heartbeat tells of it
    /// (`DefaultExecutionDeploymentReconciler`).
    pub(super) fn cancel_again<O: Observer>(
        &mut self,
        worker: u32,
        (execution, region): (u32, Option<RegionId>),
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let Some(registered) = self.task_managers.get(&worker).copied() else { return };
        let waits = match region {
            None => registered.canceling && execution == self.execution.number,
            Some(region) => self.waits_for_region(region, (worker, execution)),
        };
        if waits {
            let call = Call::Cancel { worker, execution, region };
            self.call(registered, Control::Cancel { execution, region }, call, ctx);
        }
    }

    /// A task that ends waits to hear that its last checkpoint is complete; one that has stopped for a
    /// savepoint, that it was aborted. Deviation: Flink tells it once, and where no other checkpoint
    /// follows (behind the savepoint of a stop, without an interval, or when readers of union list state
    /// have finished in part) it does not end.
    fn notify_again<O: Observer>(
        &mut self,
        (subtask, execution): (SubtaskId, u32),
        mail: Mail,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if self.is_running(subtask, execution) {
            self.send_mail(subtask, mail, ctx);
        }
    }

    /// An event, or the news that it has arrived, is lost. Flink: `SubtaskAccess#isStillRunning`.
    fn on_event_unanswered<O: Observer>(
        &mut self,
        subtask: SubtaskId,
        id: cutline::enumerator::EventId,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let input = match self.execution.states[subtask.index()] == ExecutionState::Finished {
            true => Input::Arrived(id),
            false => Input::Unanswered(id),
        };
        self.enumerate(self.plan.graph.operator(subtask), input, ctx);
    }
}
