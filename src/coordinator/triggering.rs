//! From a chosen request to the trigger messages (steps T1 to T5).
//!
//! One trigger is under way at a time. A checkpoint aborted on the way does not end it: the trigger
//! walks to its end, finds the checkpoint gone, and only then the next request may run. As in
//! Flink, such a trigger counts as failed once more.

use std::collections::BTreeSet;

use super::*;
use crate::coordinator::io::{Token, WorkError};
use crate::coordinator::plan::Plan;
use crate::coordinator::schedule::fail_request;
use crate::message::{Alignment, CheckpointBarrier, CheckpointOptions};
use crate::storage::handle::SubtaskState;
use crate::trigger::decider::Request;

/// The trigger under way.
#[derive(Debug)]
pub(super) struct Triggering {
    request: Request,
    timestamp: VirtualTime,
    plan: Arc<Plan>,
    stage: Stage,
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
}

impl<P> Coordinator<P> {
    /// T1: the request was chosen.
    pub(super) fn start_triggering(
        &mut self,
        now: VirtualTime,
        request: Request,
        out: &mut Vec<Output<P>>,
    ) -> Result<(), FailureReason> {
        assert!(
            self.triggering.is_none(),
            "the decider waits for the end of a trigger"
        );
        self.pre_check(request)?;
        let after_finish = self.config.after_tasks_finish;
        let plan = Plan::new(&self.topology, &self.executions, after_finish)
            .map_err(|_| FailureReason::NotAllRequiredTasksRunning)?;
        let token = self.token();
        self.triggering = Some(Triggering {
            request,
            timestamp: now,
            plan: Arc::new(plan),
            stage: Stage::DrawingId(token),
        });
        out.push(Output::DrawId { token });
        Ok(())
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

    /// T2 has answered.
    pub(super) fn on_id_drawn(
        &mut self,
        now: VirtualTime,
        token: Token,
        result: Result<CheckpointId, WorkError>,
        out: &mut Vec<Output<P>>,
    ) {
        let trigger = self.trigger_at(|stage| *stage == Stage::DrawingId(token));
        let request = trigger.request;
        let drawn = result.map_err(reason_of);
        match drawn.and_then(|id| self.pre_check(request).map(|()| id)) {
            Ok(id) => self.create_pending(now, id, out),
            Err(reason) => {
                self.triggering = None;
                self.fail_before_start(request, reason, out);
                self.on_poll(now, out);
            }
        }
    }

    /// T3: from here on the checkpoint has a deadline and can be aborted.
    fn create_pending(&mut self, now: VirtualTime, id: CheckpointId, out: &mut Vec<Output<P>>) {
        assert!(
            self.last_id < Some(id),
            "{id} does not follow {:?}",
            self.last_id
        );
        self.last_id = Some(id);
        let token = self.token();
        let trigger = self
            .triggering
            .as_mut()
            .expect("the number was drawn for it");
        trigger.stage = Stage::MakingLocation(token, id);
        let kind = trigger.request.kind;
        let pending = PendingCheckpoint::new(
            id,
            trigger.request,
            trigger.timestamp,
            Arc::clone(&trigger.plan),
            &self.coordinators,
        );
        out.push(Output::Pending {
            checkpoint: id,
            kind,
            participants: pending.plan.wait.len(),
        });
        self.pending.insert(id, pending);
        self.set_expiry(now, id);
        out.push(Output::MakeLocation {
            token,
            checkpoint: id,
            kind,
        });
    }

    /// The directory was made; now T4.
    pub(super) fn on_location(
        &mut self,
        now: VirtualTime,
        token: Token,
        result: Result<Arc<str>, WorkError>,
        out: &mut Vec<Output<P>>,
    ) {
        let waiting = self.coordinators.iter().copied().collect();
        let mut made = None;
        let trigger = self.trigger_at(|stage| match stage {
            Stage::MakingLocation(waiting, id) if *waiting == token => {
                made = Some(*id);
                true
            }
            _ => false,
        });
        let id = made.expect("the stage is that of the location");
        let location = match result {
            Ok(location) => location,
            Err(error) => return self.fail_triggering(now, id, reason_of(error), out),
        };
        trigger.stage = Stage::Snapshotting(id, waiting);
        let Some(pending) = self.pending.get_mut(&id) else {
            // Deviation: Flink forgets the directory of a checkpoint that was aborted meanwhile.
            self.discard(
                DiscardKind::Aborted,
                Some(id),
                Vec::new(),
                Some(location),
                false,
                out,
            );
            return self.end_triggering(now, id, out);
        };
        pending.location = Some(location);
        if self.coordinators.is_empty() {
            return self.end_triggering(now, id, out);
        }
        for &coordinator in &self.coordinators {
            out.push(Output::SnapshotCoordinator {
                checkpoint: id,
                coordinator,
            });
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
            // Another coordinator failed first, and the trigger is over.
            if let Ok(state) = result {
                self.discard_state(id, &state, true, out);
            }
            return;
        };
        let state = match result {
            Ok(state) => state,
            Err(error) => return self.fail_triggering(now, id, reason_of(error), out),
        };
        match self.pending.get_mut(&id) {
            Some(pending) => pending.acknowledge_coordinator(coordinator, state),
            None => self.discard_state(id, &state, true, out),
        }
        if last {
            self.end_triggering(now, id, out);
        }
    }

    /// T5, unless the checkpoint is gone.
    fn end_triggering(&mut self, now: VirtualTime, id: CheckpointId, out: &mut Vec<Output<P>>) {
        let Some(pending) = self.pending.get(&id) else {
            return self.fail_triggering(now, id, FailureReason::TriggerCheckpointFailure, out);
        };
        let options = self.options(pending.kind);
        let barrier = CheckpointBarrier {
            checkpoint: id,
            timestamp: pending.timestamp,
            options,
        };
        for &(subtask, attempt) in &pending.plan.trigger {
            out.push(Output::Trigger {
                subtask,
                attempt,
                barrier,
            });
        }
        if pending.is_fully_acknowledged() {
            // Everybody had finished, or was faster than we were.
            let trigger = self.triggering.as_mut().expect("it is ending now");
            trigger.stage = Stage::Deciding(id);
            self.on_fully_acknowledged(now, id, out);
        } else {
            self.triggering = None;
            self.on_poll(now, out);
        }
    }

    /// The checkpoint was decided, or failed, if the trigger under way waits for it.
    pub(super) fn decided(
        &mut self,
        now: VirtualTime,
        id: CheckpointId,
        completed: bool,
        out: &mut Vec<Output<P>>,
    ) {
        let stage = self.triggering.as_ref().map(|trigger| &trigger.stage);
        if stage != Some(&Stage::Deciding(id)) {
            return;
        }
        if completed {
            self.triggering = None;
            self.on_poll(now, out);
        } else {
            self.fail_triggering(now, id, FailureReason::FinalizeCheckpointFailure, out);
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
            self.abort(now, id, reason, None, out);
        } else {
            self.judge(Some(id), trigger.request.kind, reason, None, out);
            out.push(Output::FailedBeforeStart { reason });
        }
        self.on_poll(now, out);
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

    fn trigger_at(&mut self, is_at: impl FnOnce(&Stage) -> bool) -> &mut Triggering {
        let trigger = self.triggering.as_mut();
        let trigger = trigger.expect("an answer belongs to the trigger under way");
        assert!(
            is_at(&trigger.stage),
            "an answer belongs to the stage the trigger is at"
        );
        trigger
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
            kind: if full {
                SnapshotKind::FullCheckpoint
            } else {
                kind
            },
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
