//! How the job manager learns that a task manager is dead.
//!
//! In Flink a survivor's broken connection fails the job after about a tenth of a second, but the
//! slots of the dead task manager are given up only when heartbeat requests to it cannot be
//! delivered (`HeartbeatMonitorImpl#reportHeartbeatRpcFailure`), or when it has been silent for
//! `heartbeat.timeout`. A restart that comes earlier is deployed onto slots of which nothing is left,
//! and fails at once (`Execution#deploy`): with an interval of 1 s and a restart delay of 1 s a dead
//! task manager costs two restarts, with the default interval of 10 s about a dozen.
//!
//! With `heartbeat.rpc-failure-threshold` given, that is so here. What is sent to a task manager for
//! an answer is then a *call*: whoever has sent it learns whether it was delivered. Without, the job
//! manager notices a broken connection as fast as anybody else.

use cutline::config::RpcFailures;
use cutline::coordinator::io;
use cutline::ids::{CheckpointId, RegionId, SubtaskId};

use super::{JobManager, Registered, Waiting};
use crate::engine::{Control, Engine, Fenced, Report};
use crate::observe::Observation;
use crate::world::{Context, Observer, ProcessId, Refusal};

/// What a task manager was called for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Call {
    Heartbeat {
        worker: u32,
    },
    Deploy {
        execution: u32,
        subtask: SubtaskId,
    },
    Cancel {
        worker: u32,
        execution: u32,
        region: Option<RegionId>,
    },
    /// The number of the subtask is the coordinator's.
    Trigger {
        checkpoint: CheckpointId,
        subtask: SubtaskId,
    },
}

impl JobManager {
    /// How it is judged whether a task manager lives; `None`: by its connection.
    fn rpc_failures(&self) -> Option<RpcFailures> {
        self.plan.scenario.cluster.rpc_failures
    }

    /// What a task manager is called that has just registered. One that takes the place of a
    /// dead one, whose death nobody has noticed, is another one all the same.
    pub(super) fn worker_of(&self, (process, life): (ProcessId, u32)) -> u32 {
        let number = self.plan.task_manager_number(process).expect("only task managers register");
        match self.rpc_failures() {
            None => number,
            Some(_) => number + life * self.plan.scenario.cluster.task_managers,
        }
    }

    /// All that have registered.
    pub(super) fn workers(&self) -> Vec<(u32, Registered)> {
        self.task_managers.iter().map(|(worker, registered)| (*worker, *registered)).collect()
    }

    /// The task manager that has registered from a process; the newest of them.
    pub(super) fn worker_in(&self, process: ProcessId) -> Option<u32> {
        let mut workers = self.task_managers.iter().rev();
        workers.find(|(_, it)| it.process == process).map(|(worker, _)| *worker)
    }

    /// Sends something to a task manager that matters enough to be told if it cannot be delivered.
    pub(super) fn call<O: Observer>(
        &mut self,
        to: Registered,
        message: Control,
        call: Call,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        match self.rpc_failures() {
            None => self.tell(to.process, message, ctx),
            Some(_) => {
                let token = self.wait(Waiting::Call(call));
                let message = Fenced { token: self.session, message };
                ctx.call(token, (to.process, to.life), message);
            }
        }
    }

    /// Nobody was there, or nobody has answered in time.
    pub(super) fn on_call_failed<O: Observer>(
        &mut self,
        call: Call,
        refusal: Refusal,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let timed_out = refusal == Refusal::TimedOut;
        match call {
            // Flink: `HeartbeatMonitorImpl` counts those that found nobody.
            Call::Heartbeat { .. } if timed_out => {}
            Call::Heartbeat { worker } => self.on_heartbeat_failed(worker, ctx),
            // Flink: `Execution#deploy`. Whether it runs or not, it is cancelled, unless it has finished.
            Call::Deploy { execution, subtask } => {
                if execution == self.execution.attempt(subtask) && !timed_out {
                    ctx.observe(Observation::DeploymentRefused { subtask });
                }
                let report = if timed_out { Report::Gone } else { Report::Failed };
                self.on_report(execution, subtask, report, ctx);
            }
            Call::Cancel { worker, execution, region } if timed_out => {
                self.cancel_again(worker, (execution, region), ctx);
            }
            // Flink: `Execution#sendCancelRpcCall`. What cannot be reached runs no more.
            Call::Cancel { worker, execution, region } => {
                self.on_canceled(worker, (execution, region), ctx);
            }
            // Flink: `CheckpointCoordinator#triggerTasks`.
            Call::Trigger { checkpoint, subtask } => {
                self.coordinate(io::Input::TriggerFailed { checkpoint, subtask }, ctx);
            }
        }
    }

    fn on_heartbeat_failed<O: Observer>(&mut self, worker: u32, ctx: &mut Context<'_, Engine, O>) {
        let Some(registered) = self.task_managers.get_mut(&worker) else { return };
        registered.failures += 1;
        let failures = registered.failures;
        match self.rpc_failures() {
            Some(RpcFailures::Threshold(threshold)) if failures >= threshold => {
                self.on_task_manager_lost(worker, ctx);
            }
            Some(_) | None => {}
        }
    }

    pub(super) fn on_connection_lost<O: Observer>(
        &mut self,
        peer: ProcessId,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if self.rpc_failures().is_none()
            && let Some(number) = self.plan.task_manager_number(peer)
        {
            self.on_task_manager_lost(number, ctx);
        }
    }

    pub(super) fn on_heartbeat_timer<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        let cluster = &self.plan.scenario.cluster;
        let (interval, timeout) = (cluster.heartbeat_interval, cluster.heartbeat_timeout);
        let now = ctx.relative_time();
        let silent = self.task_managers.iter().filter(|(_, it)| now.since(it.heard) > timeout);
        let silent: Vec<u32> = silent.map(|(worker, _)| *worker).collect();
        for worker in silent {
            self.on_task_manager_lost(worker, ctx);
        }
        for (worker, registered) in self.workers() {
            self.call(registered, Control::Heartbeat, Call::Heartbeat { worker }, ctx);
        }
        self.set_clock_timer(now + interval, Waiting::Heartbeat, ctx);
    }
}
