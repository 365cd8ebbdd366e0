//! Check *policy*: the coordinator triggers, times out and fails as the options say.
//!
//! A reference model, from the options alone:
//! - ids are unique and grow, across leaders too; leader sessions grow;
//! - what was decided (T1) in an execution that has ended is not triggered (T3) any more: its tasks
//!   are gone, and nobody would ever acknowledge it;
//! - of several job managers, the store that knows who leads obeys that one alone;
//! - no checkpoint is triggered while `max-concurrent-checkpoints` are pending. Savepoints are
//!   forced and exempt (Flink: `CheckpointRequestDecider`);
//! - between a completion and the next periodic trigger lies `min-pause`, by the clock of who leads;
//!   what was asked for by hand is exempt;
//! - nothing is pending longer than `checkpointing.timeout`, unless it is being finalized;
//! - more than `tolerable-failed-checkpoints` failures in a row (counted as Flink's
//!   `CheckpointFailureManager` does) fail the job, before anything else is triggered or completed;
//! - no more than `num-retained` checkpoints are retained when the next one becomes durable.

use std::collections::BTreeSet;

use cutline::ids::CheckpointId;
use cutline::message::{FailureReason, SnapshotKind};
use cutline::step::Step;
use cutline::time::VirtualTime;

use super::Setup;
use super::liveness::Weather;
use super::violation::{Class, Report, Subject};
use crate::observe::Observation;
use crate::world::HostClock;

pub(super) const NAME: &str = "policy";

#[derive(Clone, Debug, Default)]
pub(super) struct Policy {
    judged: u64,
    id_last: Option<CheckpointId>,
    session_last: u64,
    /// The process that leads, as far as is known. Who has triggered a checkpoint has drawn its id.
    leader: u32,
    /// By process, the clocks of its host; none as long as all are right.
    clocks: Vec<HostClock>,
    pending: Vec<Pending>,
    /// When a checkpoint completed last, by the clock of who leads.
    completed_at: Option<VirtualTime>,
    /// The last decision to trigger (T1; drawing the id takes a while), and the completion that it
    /// knew of, by the same clock.
    decided: Option<(VirtualTime, Option<VirtualTime>)>,
    /// A decision to trigger has had no consequence yet; whether its execution has ended since.
    deciding: Option<Outlived>,
    /// Snapshots asked for by hand that were taken to explain an early trigger.
    manual_used: usize,
    success_last: Option<CheckpointId>,
    counted: BTreeSet<CheckpointId>,
    failed_last: Option<Failure>,
    failures: u64,
    /// The execution has ended, and no other has begun: there is nothing that could fail.
    is_down: bool,
    /// When one failure too many was seen; the job must fail.
    exceeded: Option<VirtualTime>,
    retained: Vec<CheckpointId>,
    savepoints: Vec<CheckpointId>,
    /// Leaders elected since a checkpoint was last subsumed: each may have left one too many.
    successions: usize,
}

/// A failure: when, and why.
#[derive(Clone, Copy, Debug)]
struct Failure {
    at: (VirtualTime, FailureReason),
    /// A request said so, and it was counted; what there was before. The checkpoint's own words may
    /// follow: they say whether it counts.
    requested: Option<(u64, Option<VirtualTime>)>,
}

/// Whether the execution has ended in which a trigger was decided.
type Outlived = bool;

#[derive(Clone, Copy, Debug)]
struct Pending {
    checkpoint: CheckpointId,
    kind: SnapshotKind,
    triggered: VirtualTime,
    finalizing: bool,
}

impl Policy {
    /// Triggers, completions, failures, elections.
    pub(super) fn judged(&self) -> u64 {
        self.judged
    }

    pub(super) fn on_step(
        &mut self,
        now: VirtualTime,
        step: Step,
        checkpoint: Option<CheckpointId>,
    ) {
        if step == Step::T1 {
            self.decided = Some((self.shown(now), self.completed_at));
            self.deciding = Some(false);
        } else if let Some(id) = checkpoint
            && matches!(step, Step::A2 | Step::F1 | Step::F2)
            && let Some(pending) = self.pending.iter_mut().find(|it| it.checkpoint == id)
        {
            pending.finalizing = true;
        }
    }

    /// All but data, barriers and steps.
    pub(super) fn observe(
        &mut self,
        now: VirtualTime,
        observation: &Observation,
        weather: &Weather,
        setup: &Setup,
        report: &mut Report,
    ) {
        if let Observation::ProcessLost { process } = *observation
            && process == self.leader
        {
            // Pending checkpoints are in the job manager's memory alone.
            self.pending.clear();
        }
        self.judge_time(now, weather, setup, report);
        match *observation {
            Observation::Triggered { checkpoint, kind, .. } => {
                self.on_triggered(now, checkpoint, kind, setup, report);
            }
            Observation::Durable { checkpoint } => self.on_durable(now, checkpoint, setup, report),
            Observation::Completed { checkpoint } => {
                self.judged += 1;
                self.judge_tolerance(now, checkpoint, setup, report);
                self.end(checkpoint);
                self.completed_at = Some(self.shown(now));
                if self.success_last < Some(checkpoint) {
                    self.success_last = Some(checkpoint);
                    self.forgive();
                }
            }
            Observation::Failed { checkpoint, reason } => {
                self.on_failed(now, checkpoint, reason, setup);
            }
            Observation::RequestFailed { reason } => {
                self.judged += 1;
                // The request for a checkpoint that fails now ends with the same words, as does its
                // trigger: one failure.
                let news = self.failed_last.is_none_or(|last| last.at != (now, reason));
                let counted = counts(reason) && news;
                let requested = counted.then_some((self.failures, self.exceeded));
                self.failed_last = Some(Failure { at: (now, reason), requested });
                if counted {
                    self.count(now, setup);
                }
            }
            // What has failed was a savepoint, which costs nothing: the user is told so at once.
            Observation::ActionEnded { done: false, .. } => {
                let last = self.failed_last.as_mut().filter(|last| last.at.0 == now);
                if let Some(before) = last.and_then(|last| last.requested.take()) {
                    (self.failures, self.exceeded) = before;
                }
            }
            Observation::Subsumed { checkpoint } => {
                self.retained.retain(|retained| *retained != checkpoint);
                self.successions = 0;
            }
            Observation::ExecutionEnded => {
                self.is_down = true;
                self.deciding = self.deciding.map(|_| true);
                self.forgive();
            }
            // Other tasks run on, and the job can fail for want of checkpoints; but what was decided
            // was decided for tasks that are gone.
            Observation::RegionEnded { .. } => {
                self.deciding = self.deciding.map(|_| true);
            }
            Observation::JobEnded { .. } => {
                self.pending.clear();
                self.forgive();
            }
            Observation::RestoreChosen { checkpoint } => {
                // R1 has aborted what was pending, and said so: what is still here must expire. What
                // was being finalized lost its coordinator's interest.
                self.pending.retain(|pending| !pending.finalizing);
                self.is_down = false;
                self.forgive();
                self.success_last = checkpoint;
            }
            Observation::PaceChanged { process, pace } => {
                let hosts = self.clocks.len().max(process as usize + 1);
                self.clocks.resize(hosts, HostClock::default());
                self.clocks[process as usize].set_pace(now, pace);
            }
            Observation::LeaderElected { session } => {
                self.on_elected(now, session, report);
            }
            Observation::LeaderWrote { process, session } => {
                self.judged += 1;
                self.leader = process;
                if session != self.session_last {
                    let what = (NAME, Class::Policy, "a former leader is obeyed");
                    report.add(what, now, Subject::default(), || {
                        format!(
                            "process {process} has changed the HA store in session {session}, and \
                             session {} is in force",
                            self.session_last
                        )
                    });
                }
            }
            // What the last job has left is none of the new one's.
            Observation::Adopted { checkpoint, claimed } => {
                self.judged += 1;
                self.retained.clear();
                if claimed {
                    self.savepoints.retain(|savepoint| *savepoint != checkpoint);
                    self.retained.push(checkpoint);
                }
                self.pending.clear();
                self.deciding = None;
                self.completed_at = None;
                self.forgive();
            }
            _ => {}
        }
    }

    fn on_triggered(
        &mut self,
        now: VirtualTime,
        checkpoint: CheckpointId,
        kind: SnapshotKind,
        setup: &Setup,
        report: &mut Report,
    ) {
        self.judged += 1;
        let subject = Subject::checkpoint(checkpoint);
        if let Some(last) = self.id_last
            && checkpoint <= last
        {
            report.add((NAME, Class::Policy, "ids do not grow"), now, subject, || {
                format!("{checkpoint} was triggered after {last}")
            });
        }
        self.id_last = self.id_last.max(Some(checkpoint));
        if self.deciding.take() == Some(true) {
            let what = (NAME, Class::Stuck, "triggered for tasks that are gone");
            report.add(what, now, subject, || {
                format!("the execution has ended in which the trigger of {checkpoint} was decided")
            });
        }
        self.judge_tolerance(now, checkpoint, setup, report);
        if kind.is_savepoint() {
            self.savepoints.push(checkpoint);
        } else {
            self.judge_concurrency(now, checkpoint, setup, report);
            self.judge_pause(now, checkpoint, setup, report);
        }
        self.pending.push(Pending { checkpoint, kind, triggered: now, finalizing: false });
    }

    /// What the relative clock of who leads shows. Flink: `CheckpointCoordinator` measures the pause
    /// with `Clock#relativeTimeMillis`.
    fn shown(&self, now: VirtualTime) -> VirtualTime {
        self.clocks.get(self.leader as usize).map_or(now, |clock| clock.relative(now))
    }

    fn judge_concurrency(
        &self,
        now: VirtualTime,
        checkpoint: CheckpointId,
        setup: &Setup,
        report: &mut Report,
    ) {
        let max = setup.config.checkpointing.max_concurrent as usize;
        if self.pending.len() >= max {
            let what = (NAME, Class::Policy, "too many concurrent checkpoints");
            report.add(what, now, Subject::checkpoint(checkpoint), || {
                let oldest = self.pending[0].checkpoint;
                let pending = self.pending.len();
                format!(
                    "{checkpoint} was triggered while {pending} were pending (the oldest is \
                     {oldest}); max-concurrent-checkpoints is {max}"
                )
            });
        }
    }

    fn judge_pause(
        &mut self,
        now: VirtualTime,
        checkpoint: CheckpointId,
        setup: &Setup,
        report: &mut Report,
    ) {
        let min_pause = setup.config.checkpointing.min_pause;
        let (decided, completed) =
            self.decided.unwrap_or_else(|| (self.shown(now), self.completed_at));
        let Some(completed) = completed else { return };
        // Flink's coordinator reads a clock of whole milliseconds.
        if decided.as_millis() - completed.as_millis() >= min_pause.as_millis() {
            return;
        }
        let asked = setup.config.manual.iter().filter(|at| **at <= now).count();
        if self.manual_used < asked {
            self.manual_used += 1;
            return;
        }
        let what = (NAME, Class::Policy, "pause too short");
        report.add(what, now, Subject::checkpoint(checkpoint), || {
            format!(
                "{checkpoint} was triggered {} after a completion; min-pause is {min_pause}",
                decided.since(completed)
            )
        });
    }

    fn on_durable(
        &mut self,
        now: VirtualTime,
        checkpoint: CheckpointId,
        setup: &Setup,
        report: &mut Report,
    ) {
        self.judged += 1;
        if let Some(pending) = self.pending.iter_mut().find(|it| it.checkpoint == checkpoint) {
            pending.finalizing = true;
        }
        if self.savepoints.contains(&checkpoint) {
            return;
        }
        let max = setup.config.checkpointing.retained as usize;
        // The one of the previous completion must have been subsumed by now.
        if self.retained.len() > max + self.successions {
            // What is kept beyond its time is a leak of the store.
            let what = (NAME, Class::Leak, "too many retained checkpoints");
            report.add(what, now, Subject::checkpoint(checkpoint), || {
                let retained = self.retained.len();
                format!(
                    "{retained} checkpoints are retained before {checkpoint}; num-retained is {max}"
                )
            });
        }
        self.retained.push(checkpoint);
    }

    fn on_failed(
        &mut self,
        now: VirtualTime,
        checkpoint: CheckpointId,
        reason: FailureReason,
        setup: &Setup,
    ) {
        self.judged += 1;
        let savepoint = self.savepoints.contains(&checkpoint);
        let at = (now, reason);
        let last = self.failed_last.replace(Failure { at, requested: None });
        let last = last.filter(|last| last.at == at);
        if let Some(before) = last.and_then(|last| last.requested) {
            (self.failures, self.exceeded) = before;
        }
        self.end(checkpoint);
        let news = self.success_last < Some(checkpoint) && !self.counted.contains(&checkpoint);
        if counts(reason) && news && !savepoint {
            self.counted.insert(checkpoint);
            self.count(now, setup);
        }
    }

    fn on_elected(&mut self, now: VirtualTime, session: u64, report: &mut Report) {
        self.judged += 1;
        if session <= self.session_last {
            let what = (NAME, Class::Policy, "leader sessions do not grow");
            report.add(what, now, Subject::default(), || {
                format!("session {session} began after session {}", self.session_last)
            });
        }
        self.session_last = self.session_last.max(session);
        self.successions += 1;
        // What the predecessor had in memory is gone, without a word.
        self.pending.clear();
        self.deciding = None;
        self.completed_at = None;
        self.forgive();
    }

    fn end(&mut self, checkpoint: CheckpointId) {
        self.pending.retain(|pending| pending.checkpoint != checkpoint);
    }

    fn count(&mut self, now: VirtualTime, setup: &Setup) {
        self.failures += 1;
        let tolerable = u64::from(setup.config.checkpointing.tolerable_failures);
        if self.failures > tolerable && !self.is_down {
            self.exceeded.get_or_insert(now);
        }
    }

    fn forgive(&mut self) {
        (self.failures, self.exceeded) = (0, None);
        self.counted.clear();
    }

    pub(super) fn judge_time(
        &self,
        now: VirtualTime,
        weather: &Weather,
        setup: &Setup,
        report: &mut Report,
    ) {
        self.judge_timeouts(now, weather, setup, report);
        self.judge_exceeded(now, weather, setup, report);
    }

    /// The timer has no slack: an observation later than the deadline is one too late, unless a
    /// fault has held up the coordinator.
    fn judge_timeouts(
        &self,
        now: VirtualTime,
        weather: &Weather,
        setup: &Setup,
        report: &mut Report,
    ) {
        let timeout = setup.config.checkpointing.timeout;
        for pending in self.pending.iter().filter(|pending| !pending.finalizing) {
            if now > pending.triggered + timeout
                && weather.is_overdue(pending.triggered, timeout, now)
            {
                let what = (NAME, Class::Stuck, "not expired");
                report.add(what, now, Subject::checkpoint(pending.checkpoint), || {
                    let what = if pending.kind.is_savepoint() { "savepoint" } else { "checkpoint" };
                    format!(
                        "{what} {} is pending since {}; the timeout is {timeout}",
                        pending.checkpoint, pending.triggered
                    )
                });
            }
        }
    }

    /// The job fails in the same step in which the failure too many is counted.
    fn judge_tolerance(
        &self,
        now: VirtualTime,
        checkpoint: CheckpointId,
        setup: &Setup,
        report: &mut Report,
    ) {
        if let Some(since) = self.exceeded {
            let what = (NAME, Class::Policy, "too many failures tolerated");
            report.add(what, now, Subject::checkpoint(checkpoint), || {
                format!(
                    "{} checkpoints in a row had failed by {since}, tolerable-failed-checkpoints \
                     is {}, and the job goes on with {checkpoint}",
                    self.failures, setup.config.checkpointing.tolerable_failures
                )
            });
        }
    }

    fn judge_exceeded(
        &self,
        now: VirtualTime,
        weather: &Weather,
        setup: &Setup,
        report: &mut Report,
    ) {
        if let Some(since) = self.exceeded
            && weather.is_overdue(since, setup.config.settle, now)
        {
            let what = (NAME, Class::Policy, "too many failures tolerated");
            report.add(what, now, Subject::default(), || {
                format!(
                    "{} checkpoints in a row have failed by {since}, tolerable-failed-checkpoints \
                     is {}, and the job still runs",
                    self.failures, setup.config.checkpointing.tolerable_failures
                )
            });
        }
    }

    pub(super) fn finish(
        &mut self,
        now: VirtualTime,
        weather: &Weather,
        setup: &Setup,
        report: &mut Report,
    ) {
        self.judge_time(now, weather, setup, report);
    }
}

/// Flink: `CheckpointFailureManager#checkFailureCounter`. Written down a second time on purpose:
/// the coordinator's own table must not be its judge.
fn counts(reason: FailureReason) -> bool {
    matches!(
        reason,
        FailureReason::IoException
            | FailureReason::CheckpointAsyncException
            | FailureReason::CheckpointExpired
            | FailureReason::CheckpointDeclined
            | FailureReason::FinalizeCheckpointFailure
    )
}
