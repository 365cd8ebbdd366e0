//! Calls of a task manager that are lost, or whose answers are.
//!
//! | lost | what follows | Flink |
//! | --- | --- | --- |
//! | the news that a task runs | the task fails | `TaskExecutor#updateTaskExecutionState` |
//! | the news that a task has finished | for the job manager it has failed | `DefaultExecutionDeploymentReconciler` |
//! | the news that it has failed, or was cancelled | it is told again | the same |
//! | a reader's request for a split | the reader fails | `RpcTaskOperatorEventGateway` |
//! | an acknowledgement, a decline | nothing | `RpcCheckpointResponder` |
//!
//! Flink's task managers do not tell again: each heartbeat says which tasks run, so that the job manager
//! misses those that do not. Deviation: here it is told again after the time that a call may take.

use cutline::ids::SubtaskId;

use super::TaskManager;
use crate::engine::{Control, Engine, Fenced, Report};
use crate::world::{Context, LaneId, Observer, ProcessId};

impl TaskManager {
    pub(super) fn on_unanswered<O: Observer>(
        &mut self,
        peer: ProcessId,
        Fenced { token, message }: Fenced,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if self.leader != Some((peer, token)) {
            return; // Somebody else leads, and what ran for this one was cancelled.
        }
        match message {
            Control::Task { execution, subtask, report } => match report {
                Report::Running => self.fail_caller(subtask, execution, ctx),
                Report::Failed | Report::Finished | Report::Gone => {
                    self.report(execution, subtask, Report::Gone, ctx);
                }
                Report::FailedForGood => self.report(execution, subtask, report, ctx),
            },
            Control::RequestSplit { execution, subtask } => {
                self.fail_caller(subtask, execution, ctx);
            }
            Control::Canceled { execution, region } => {
                self.tell(Control::Canceled { execution, region }, ctx);
            }
            Control::Register { .. }
            | Control::Registered
            | Control::Heartbeat
            | Control::Alive
            | Control::Deploy(_)
            | Control::Cancel { .. }
            | Control::Mail { .. }
            | Control::EventArrived { .. }
            | Control::Acknowledge { .. }
            | Control::Decline { .. } => unreachable!("no answer to it is a task manager's"),
        }
    }

    fn fail_caller<O: Observer>(
        &mut self,
        subtask: SubtaskId,
        execution: u32,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if let Some((place, _)) = self.find_running(subtask, execution) {
            self.fail(place, ctx);
        }
    }

    /// The place of a task that has not finished.
    pub(super) fn find_running(&self, subtask: SubtaskId, execution: u32) -> Option<(u32, LaneId)> {
        self.find(subtask, execution).filter(|(place, _)| {
            self.tasks[*place as usize].as_ref().is_some_and(|task| !task.machine.is_finished())
        })
    }

    /// The job manager takes one that registers for one that runs nothing. It may have deployed tasks
    /// here if its answer to the last registration was lost.
    ///
    /// Deviation: in Flink it has no slots to deploy to before the task manager got the answer, and
    /// offered them.
    pub(super) fn end_what_runs<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        if self.tasks.iter().any(Option::is_some) {
            self.cancel(u32::MAX, None, ctx);
        }
    }
}
