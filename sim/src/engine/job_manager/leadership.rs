//! One of several job managers leads: leases, fencing tokens, and stepping down.
//!
//! Flink: `DefaultLeaderElectionService` with `KubernetesLeaderElectionDriver`, whose options these
//! are, and `JobMasterServiceLeadershipRunner`. A candidate asks the high-availability store to be
//! elected once in `retry-period`; it is, if nobody's lease runs. The leader renews its lease as often,
//! and steps down when it has not come to do so for `renew-deadline`, counted from when it asked.
//! Whether the others wait that long is theirs to know: with a `lease-duration` that is shorter, or a
//! process that stands still, there is a *zombie* for a while, a leader that believes to lead.
//!
//! All these spans but `retry-period` are of wall clocks (`LeaderElector#renewWithTimeout` and
//! `#canBecomeLeader`), so wrong ones make zombies, too: a leader whose clock is slow, or was set back,
//! steps down late, and a candidate whose clock is ahead takes the lease over while it runs. And a leader
//! whose clock was set forward over the deadline gives its lease up though the store has renewed it.
//!
//! Deviation: a timer waits for the deadline, where `LeaderElector` looks once in `retry-period`.
//!
//! Three things keep it from doing harm:
//!
//! - the store refuses what it writes (ids, pointers, the job's result), since its session is over;
//! - task managers take orders from one session: when they learn of a newer one, they end their tasks,
//!   and refuse what older ones say;
//! - its executions have lower numbers, so that channels, files and transactions of its tasks are told
//!   apart from those of its successor.
//!
//! Nothing keeps it from reading and writing files.
//!
//! # Losing leadership while a checkpoint is finalized
//!
//! Stepping down suspends the job (`JobStatus::Suspended`): tasks are cancelled, pending checkpoints
//! fail, completed ones stay. What was under way then ends so:
//!
//! | under way | its answer | what becomes of the checkpoint |
//! | --- | --- | --- |
//! | nothing, or acknowledgements | | it fails, its files are deleted; what is acknowledged later is deleted as it comes |
//! | the metadata (F2) | written, or failed | it has failed already; its files and the metadata are deleted now |
//! | the pointer (F3) | written, before the successor was elected | it is decided: the successor has read the pointer and restores it; nothing is deleted |
//! | the pointer (F3) | refused | it fails, its files are deleted |
//! | the pointer (F3), asked for twice since the first answer told nothing | refused | the pointers are read: it is decided if it is among them, else it fails. Deviation: Flink leaves the files |
//! | a subsumed checkpoint's pointer (F4) | removed, before the successor was elected | its files are deleted |
//! | a subsumed checkpoint's pointer (F4) | refused | its files stay: the successor has it, and subsumes it |
//! | the job's result | any | all of it is suspended like that of a job that runs: the successor finds the result and cleans up, or runs the job to its end |
//!
//! Until a candidate has done all this, it does not stand for election again. (Flink: the next
//! `JobMasterServiceProcess` waits for the last one to close.) A plain savepoint gets no pointer that
//! could be refused. Deviation: if another session is in force when its metadata is written, it has
//! failed; Flink's zombie would report it.

use cutline::coordinator::completed::JobStatus;
use cutline::coordinator::io::{self, PointerOutcome, Token};
use cutline::defect::Defect;
use cutline::ids::CheckpointId;
use cutline::time::VirtualTime;

use super::{JobManager, Phase, Waiting};
use crate::engine::{Control, Engine, Fenced};
use crate::observe::Observation;
use crate::world::{Answer, Context, Observer, ProcessId, Refusal, Request};

/// What a candidate knows of its election.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Leadership {
    /// A request is under way.
    asking: bool,
    /// When it asked for the lease that it has, by its wall clock.
    renewed: VirtualTime,
    /// When the timer of the renew deadline comes, by the relative clock.
    timer: VirtualTime,
}

impl JobManager {
    /// Whether it has nothing to do for the job any more: it does not lead, or the job is over.
    pub fn is_settled(&self) -> bool {
        !self.plan.elects() || matches!(self.phase, Phase::Standby | Phase::Ended)
    }

    /// Whether what it does is the job's history.
    pub(super) fn is_in_force<O: Observer>(&self, ctx: &Context<'_, Engine, O>) -> bool {
        !self.plan.elects() || ctx.is_in_force(self.session)
    }

    pub(super) fn believes_to_lead(&self) -> bool {
        !matches!(self.phase, Phase::Standby | Phase::Suspending)
    }

    pub(super) fn stand_for_election<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        self.phase = Phase::Standby;
        self.on_campaign_timer(ctx);
    }

    pub(super) fn on_campaign_timer<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        if ctx.has_ended() && self.is_settled() {
            return;
        }
        let election = self.plan.scenario.ha.election;
        if self.believes_to_lead() && self.has_leapt_over_deadline(ctx) {
            self.step_down(ctx);
        } else if self.phase != Phase::Suspending && !self.leadership.asking {
            self.leadership.asking = true;
            let renews = self.believes_to_lead().then_some(self.session);
            let asked = ctx.absolute_time();
            let waiting = Waiting::Campaign { asked, renews: renews.is_some() };
            let request = Request::Campaign { lease: election.lease_duration, renews };
            self.request(waiting, request, ctx);
        }
        let next = ctx.relative_time() + election.retry_period;
        self.set_clock_timer(next, Waiting::CampaignTimer, ctx);
    }

    /// The store has answered. That it has elected another one, and refuses to renew the lease, was
    /// dealt with.
    pub(super) fn on_campaign<O: Observer>(
        &mut self,
        asked: VirtualTime,
        renews: bool,
        answer: Result<Answer, Refusal>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        self.leadership.asking = false;
        let Ok(Answer::Session(session)) = answer else { return };
        if renews {
            self.leadership.renewed = asked;
        } else if ctx.absolute_time() < asked + self.plan.scenario.ha.election.renew_deadline {
            assert_eq!(self.phase, Phase::Standby, "nobody else stands for election");
            self.leadership.renewed = asked;
            self.session = session;
            self.execution.lead(session);
            self.phase = Phase::Recovering;
            self.await_renew_deadline(ctx);
            self.read_pointers(ctx);
        }
    }

    pub(super) fn on_renew_deadline<O: Observer>(
        &mut self,
        session: u64,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if session != self.session || !self.believes_to_lead() {
            return; // It does not lead any more, or has been elected once more since.
        }
        match ctx.absolute_time() < self.renew_deadline() {
            true => self.await_renew_deadline(ctx),
            false => self.step_down(ctx),
        }
    }

    /// By the wall clock.
    fn renew_deadline(&self) -> VirtualTime {
        self.leadership.renewed + self.plan.scenario.ha.election.renew_deadline
    }

    fn await_renew_deadline<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        let session = self.session;
        let left = self.renew_deadline().since(ctx.absolute_time());
        self.leadership.timer = ctx.relative_time() + left;
        self.set_clock_timer(self.leadership.timer, Waiting::RenewDeadline { session }, ctx);
    }

    /// Whether the wall clock has passed the deadline while its timer waits: then it was set.
    fn has_leapt_over_deadline<O: Observer>(&self, ctx: &mut Context<'_, Engine, O>) -> bool {
        let waits = ctx.relative_time() < self.leadership.timer;
        waits && ctx.absolute_time() > self.renew_deadline()
    }

    /// Somebody else leads, or may do so.
    pub(super) fn step_down<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        if !self.believes_to_lead() {
            return;
        }
        ctx.observe(Observation::LeadershipLost { session: self.session });
        let phase = std::mem::replace(&mut self.phase, Phase::Suspending);
        self.fail_stop(ctx);
        self.down.clear();
        match phase {
            Phase::Running | Phase::Restarting { .. } => self.cancel_tasks(ctx),
            Phase::Canceling { action } => self.answer(action, None, false, ctx),
            Phase::Standby
            | Phase::Suspending
            | Phase::Recovering
            | Phase::Waiting
            | Phase::Choosing
            | Phase::Failing
            | Phase::Ending(_)
            | Phase::Ended => {}
        }
        self.task_managers.clear();
        // One that was shut down goes on with what it has begun. The end of the job is no end yet
        // while its result is not stored: then this shuts it down.
        if self.coordinator.as_ref().is_some_and(|coordinator| !coordinator.is_shut_down()) {
            let status = match self.plan.defects.has(Defect::D25) {
                true => Some(JobStatus::Finished),
                false => Some(JobStatus::Suspended),
            };
            self.coordinate(io::Input::Shutdown { status }, ctx);
        }
        self.end_if_done(ctx);
    }

    /// What it had begun is done.
    pub(super) fn stand_by<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        self.fail_stop(ctx);
        self.forget_job();
        self.resuming = None;
        self.recovered.clear();
        self.acknowledging.clear();
        self.session = 0;
        self.phase = Phase::Standby;
    }

    /// Messages of other sessions are refused. With an acknowledgement come files of which nobody
    /// else knows: its checkpoint is none that anybody could complete, unless they come a second time.
    ///
    /// Deviation: in Flink they stay for ever.
    pub(super) fn on_fenced<O: Observer>(
        &mut self,
        from: ProcessId,
        Fenced { token, message }: Fenced,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let former = token != self.session && !self.plan.defects.has(Defect::D26);
        let refused = former || !self.believes_to_lead();
        if !self.plan.elects() || !refused {
            return self.on_message(from, message, ctx);
        }
        if let Control::Acknowledge { checkpoint, snapshot, .. } = message
            && !ctx.was_told_of(checkpoint)
        {
            self.on_late(snapshot.parts, ctx);
        }
    }

    /// Whether a pointer was written that may have been, now that it cannot be written any more.
    pub(super) fn look_for_pointer<O: Observer>(
        &mut self,
        token: Token,
        checkpoint: CheckpointId,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        self.request(Waiting::Found { token, checkpoint }, Request::ReadPointers, ctx);
    }

    pub(super) fn on_pointers_found<O: Observer>(
        &mut self,
        token: Token,
        checkpoint: CheckpointId,
        answer: Result<Answer, Refusal>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let Ok(Answer::Pointers { pointers, .. }) = answer else {
            return self.look_for_pointer(token, checkpoint, ctx);
        };
        let outcome = match pointers.iter().any(|(id, _)| *id == checkpoint) {
            true => PointerOutcome::Written,
            false => PointerOutcome::Failed,
        };
        self.coordinate(io::Input::PointerWritten { token, outcome }, ctx);
    }
}
