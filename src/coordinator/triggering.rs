//! From a chosen request to the trigger messages (steps T1 to T5).
//!
//! One trigger is under way at a time. If its checkpoint is aborted on the way, the trigger ends
//! with the next poll, for the same reason, and the next request may run. As in Flink the failure
//! manager hears of that a second time: that counts only if the first time failed the job.

use std::collections::BTreeSet;

use super::*;
use crate::coordinator::io::{Token, WorkError};
use crate::coordinator::plan::Plan;
use crate::coordinator::schedule::fail_request;
use crate::defect::PutOff;
use crate::message::{Alignment, CheckpointBarrier, CheckpointOptions};
use crate::storage::handle::SubtaskState;
use crate::trigger::decider::Request;

/// The trigger under way.
#[derive(Debug)]
pub(super) struct Triggering {
    request: Request,
    /// T1, by the monotonic clock.
    triggered: VirtualTime,
    /// The same by the wall clock.
    timestamp: VirtualTime,
    plan: Arc<Plan>,
    stage: Stage,
    /// Everything was aborted since T1: the plan is that of an execution that is gone.
    outlived: bool,
    /// T5 has come ahead of T3, for the number that was expected.
    sent_early: PutOff<CheckpointId>,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// T2.
    DrawingId(Token),
    /// Between T3 and T4.
    MakingLocation(Token, CheckpointId),
    /// T4: the operator coordinators that have not answered.
    Snapshotting(CheckpointId, BTreeSet<OperatorId>),
    /// T5 is done, and everybody had acknowledged before: the trigger lasts until the decision.
    Deciding(CheckpointId),
    /// The checkpoint was aborted; the next poll ends the trigger.
    Aborted(CheckpointId, FailureReason),
}

impl Stage {
    fn checkpoint(&self) -> Option<CheckpointId> {
        match self {
            Self::DrawingId(_) => None,
            Self::MakingLocation(_, id)
            | Self::Snapshotting(id, _)
            | Self::Deciding(id)
            | Self::Aborted(id, _) => Some(*id),
        }
    }
}

impl<P> Coordinator<P> {
    /// T1: the request was chosen.
    pub(super) fn start_triggering(
        &mut self,
        request: Request,
        out: &mut Vec<Output<P>>,
    ) -> Result<(), FailureReason> {
        assert!(self.triggering.is_none(), "the decider waits for the end of a trigger");
        self.pre_check(request)?;
        let from_savepoint = |latest: &Retained<P>| latest.checkpoint.kind.is_savepoint();
        if self.config.defects.has(Defect::D14) && self.store.latest().is_some_and(from_savepoint) {
            return Err(FailureReason::PeriodicSchedulerShutdown);
        }
        let after_finish = self.config.after_tasks_finish && !self.config.defects.has(Defect::D88);
        let plan = Plan::new(&self.topology, &self.executions, after_finish)
            .map_err(|_| FailureReason::NotAllRequiredTasksRunning)?;
        let token = self.token();
        self.triggering = Some(Triggering {
            request,
            triggered: self.now,
            timestamp: self.wall(),
            plan: Arc::new(plan),
            stage: Stage::DrawingId(token),
            outlived: false,
            sent_early: PutOff::default(),
        });
        if self.config.defects.has(Defect::D16) {
            self.send_early(request, out);
        }
        out.push(Output::DrawId { token });
        Ok(())
    }

    /// [`Defect::D16`]: the sources are told at once, and the checkpoint is registered when its number
    /// has been drawn, which is the one behind the last.
    fn send_early(&mut self, request: Request, out: &mut Vec<Output<P>>) {
        let Some(last) = self.last_id else { return };
        let checkpoint = CheckpointId(last.0 + 1);
        let options = self.options(request.kind);
        let barrier = CheckpointBarrier { checkpoint, timestamp: self.wall(), options };
        let trigger = self.triggering.as_mut().expect("it begins now");
        trigger.sent_early.put(checkpoint);
        for &(subtask, attempt) in &trigger.plan.trigger {
            out.push(Output::Trigger { subtask, attempt, barrier });
        }
    }

    /// Flink: `preCheckGlobalState`, before and after the number is drawn.
    fn pre_check(&self, request: Request) -> Result<(), FailureReason> {
        if self.shut_down {
            Err(FailureReason::CheckpointCoordinatorShutdown)
        } else if request.periodic && !self.scheduling {
            Err(FailureReason::PeriodicSchedulerShutdown)
        } else {
            Ok(())
        }
    }

    /// The coordinator is stopped while a number may be being drawn. There is nothing to abort yet.
    pub(super) fn outlive_triggering(&mut self) {
        if let Some(trigger) = &mut self.triggering {
            trigger.outlived = self.config.drops_outlived && !self.config.defects.has(Defect::D15);
        }
    }

    /// T2 has answered.
    pub(super) fn on_id_drawn(
        &mut self,
        now: VirtualTime,
        token: Token,
        result: Result<CheckpointId, WorkError>,
        out: &mut Vec<Output<P>>,
    ) {
        let trigger = self.triggering.as_ref().expect("a number is being drawn for it");
        assert_eq!(trigger.stage, Stage::DrawingId(token));
        let request = trigger.request;
        let drawn = match (result, trigger.outlived) {
            (Ok(_), true) => Err(FailureReason::CheckpointCoordinatorSuspend),
            (result, _) => result.map_err(reason_of),
        };
        match drawn.and_then(|id| self.pre_check(request).map(|()| id)) {
            Ok(id) => self.create_pending(now, id, out),
            Err(reason) => {
                self.triggering = None;
                self.fail_before_start(request, reason, out);
                self.choose(now, out);
            }
        }
    }

    /// T3: from here on the checkpoint has a deadline and can be aborted.
    fn create_pending(&mut self, now: VirtualTime, id: CheckpointId, out: &mut Vec<Output<P>>) {
        assert!(self.last_id < Some(id), "{id} does not follow {:?}", self.last_id);
        self.last_id = Some(id);
        let token = self.token();
        let trigger = self.triggering.as_mut().expect("the number was drawn for it");
        trigger.stage = Stage::MakingLocation(token, id);
        let kind = trigger.request.kind;
        let pending = PendingCheckpoint::new(
            id,
            trigger.request,
            (trigger.triggered, trigger.timestamp),
            Arc::clone(&trigger.plan),
            &self.coordinators,
        );
        let participants = pending.plan.wait.len();
        self.statistics.pending(id, kind, pending.timestamp, participants);
        out.push(Output::Pending { checkpoint: id, kind, participants });
        self.pending.insert(id, pending);
        self.set_expiry(now, id);
        out.push(Output::MakeLocation { token, checkpoint: id, kind });
    }

    /// The directory was made; now T4.
    pub(super) fn on_location(
        &mut self,
        now: VirtualTime,
        token: Token,
        result: Result<Arc<str>, WorkError>,
        out: &mut Vec<Output<P>>,
    ) {
        if let Some(Work::Location(id)) = self.work.get(&token).copied() {
            self.work.remove(&token);
            return self.discard_location(id, result.ok(), out);
        }
        let waiting = self.coordinators.iter().copied().collect();
        let trigger = self.triggering.as_mut().expect("a directory is being made for it");
        let id = match trigger.stage {
            Stage::MakingLocation(current, id) if current == token => id,
            ref stage => panic!("{token:?} is not awaited in {stage:?}"),
        };
        let location = match result {
            Ok(location) => location,
            Err(error) => return self.fail_triggering(now, id, reason_of(error), out),
        };
        trigger.stage = Stage::Snapshotting(id, waiting);
        let pending = self.pending.get_mut(&id);
        pending.expect("an abort ends the trigger").location = Some(location);
        if self.coordinators.is_empty() {
            return self.end_triggering(now, id, out);
        }
        for &coordinator in &self.coordinators {
            out.push(Output::SnapshotCoordinator { checkpoint: id, coordinator });
        }
        if self.config.defects.has(Defect::D05) {
            let pending = self.pending.get_mut(&id).expect("an abort ends the trigger");
            pending.wait_for_tasks_alone();
            self.end_triggering(now, id, out);
        }
    }

    /// Deviation: Flink forgets a directory that is made after its checkpoint was aborted.
    fn discard_location(
        &mut self,
        id: CheckpointId,
        location: Option<Arc<str>>,
        out: &mut Vec<Output<P>>,
    ) {
        if location.is_some() {
            self.discard(DiscardKind::Aborted, Some(id), Vec::new(), location, After::Nothing, out);
        }
    }

    /// T4 has answered for one operator coordinator.
    pub(super) fn on_coordinator_snapshot(
        &mut self,
        now: VirtualTime,
        id: CheckpointId,
        coordinator: OperatorId,
        result: Result<SubtaskState<P>, WorkError>,
        out: &mut Vec<Output<P>>,
    ) {
        let stage = self.triggering.as_mut().map(|trigger| &mut trigger.stage);
        let awaited = match stage {
            Some(Stage::Snapshotting(current, waiting)) if *current == id => {
                waiting.remove(&coordinator).then_some(waiting.is_empty())
            }
            _ => None,
        };
        let Some(last) = awaited else {
            // The trigger is over: another coordinator failed, or the checkpoint was aborted.
            if let Ok(state) = result {
                self.discard_state(id, &state, true, out);
            }
            return;
        };
        let state = match result {
            Ok(state) => state,
            Err(error) => return self.fail_triggering(now, id, reason_of(error), out),
        };
        let pending = self.pending.get_mut(&id).expect("an abort ends the trigger");
        pending.acknowledge_coordinator(coordinator, state);
        if last {
            self.end_triggering(now, id, out);
        }
    }

    /// T5.
    fn end_triggering(&mut self, now: VirtualTime, id: CheckpointId, out: &mut Vec<Output<P>>) {
        let pending = &self.pending[&id];
        let options = self.options(pending.kind);
        let barrier = CheckpointBarrier { checkpoint: id, timestamp: pending.timestamp, options };
        let sent = self.triggering.as_mut().and_then(|trigger| trigger.sent_early.take());
        if sent != Some(id) {
            for &(subtask, attempt) in &pending.plan.trigger {
                out.push(Output::Trigger { subtask, attempt, barrier });
            }
        }
        if pending.is_fully_acknowledged() {
            // Everybody had finished, or was faster than we were.
            let trigger = self.triggering.as_mut().expect("it is ending now");
            trigger.stage = Stage::Deciding(id);
            self.on_fully_acknowledged(now, id, out);
        } else {
            self.triggering = None;
            self.choose(now, out);
        }
    }

    /// The checkpoint is complete; the trigger under way may have waited for that.
    pub(super) fn end_trigger_of_completed(
        &mut self,
        now: VirtualTime,
        id: CheckpointId,
        out: &mut Vec<Output<P>>,
    ) {
        let stage = self.triggering.as_ref().map(|trigger| &trigger.stage);
        if stage == Some(&Stage::Deciding(id)) {
            self.triggering = None;
            self.choose(now, out);
        }
    }

    /// The checkpoint was aborted. If the trigger under way is that of it, the next poll ends it:
    /// not now, because others may be about to be aborted too.
    pub(super) fn abort_trigger_of(
        &mut self,
        id: CheckpointId,
        reason: FailureReason,
        out: &mut Vec<Output<P>>,
    ) {
        let trigger = self.triggering.as_mut();
        let Some(trigger) = trigger.filter(|trigger| trigger.stage.checkpoint() == Some(id)) else {
            return;
        };
        if let Stage::MakingLocation(token, id) = trigger.stage {
            self.work.insert(token, Work::Location(id));
        }
        trigger.stage = Stage::Aborted(id, reason);
        out.push(Output::Poll);
    }

    /// T1 again, or the end of an aborted trigger.
    pub(super) fn on_poll(&mut self, now: VirtualTime, out: &mut Vec<Output<P>>) {
        let stage = self.triggering.as_ref().map(|trigger| &trigger.stage);
        match stage {
            Some(&Stage::Aborted(id, reason)) => self.fail_triggering(now, id, reason, out),
            Some(_) | None => self.choose(now, out),
        }
    }

    /// The trigger of a checkpoint that has a number came to nothing.
    fn fail_triggering(
        &mut self,
        now: VirtualTime,
        id: CheckpointId,
        reason: FailureReason,
        out: &mut Vec<Output<P>>,
    ) {
        let trigger = self.triggering.take().expect("a trigger is under way");
        self.abort_coordinator_triggering(out);
        if self.pending.contains_key(&id) {
            self.abort(id, reason, None, out);
        } else {
            self.judge(Some(id), trigger.request.kind, reason, None, out);
            out.push(Output::FailedBeforeStart { reason });
        }
        self.choose(now, out);
    }

    /// The trigger of a request that has no number yet came to nothing.
    pub(super) fn fail_before_start(
        &mut self,
        request: Request,
        reason: FailureReason,
        out: &mut Vec<Output<P>>,
    ) {
        fail_request(request.id, reason, out);
        self.abort_coordinator_triggering(out);
        self.judge(None, request.kind, reason, None, out);
        out.push(Output::FailedBeforeStart { reason });
    }

    fn abort_coordinator_triggering(&self, out: &mut Vec<Output<P>>) {
        for &coordinator in &self.coordinators {
            out.push(Output::AbortTriggering { coordinator });
        }
    }

    /// Flink: `CheckpointOptions#forConfig`.
    fn options(&self, kind: SnapshotKind) -> CheckpointOptions {
        let config = &self.config;
        let alignment = if !config.exactly_once {
            Alignment::AtLeastOnce
        } else if kind.is_savepoint() || !config.unaligned {
            Alignment::Aligned
        } else {
            match config.aligned_timeout {
                Some(timeout) => Alignment::AlignedWithTimeout(timeout),
                None => Alignment::Unaligned,
            }
        };
        let full = self.force_full && !kind.is_savepoint();
        CheckpointOptions {
            kind: if full { SnapshotKind::FullCheckpoint } else { kind },
            alignment,
        }
    }
}

fn reason_of(error: WorkError) -> FailureReason {
    match error {
        WorkError::Io => FailureReason::IoException,
        WorkError::Other => FailureReason::TriggerCheckpointFailure,
    }
}
