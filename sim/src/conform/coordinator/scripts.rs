//! The groups `decider` and `failure_manager`.

use cutline::coordinator::failure::{Failure, FailureManager, Verdict};
use cutline::defect::Defects;
use cutline::ids::CheckpointId;
use cutline::message::{FailureReason, SnapshotKind};
use cutline::time::{VirtualDuration, VirtualTime};
use cutline::trigger::decider::{Decider, DeciderConfig, Decision, Request, RequestId, Situation};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{CaseError, Driver};

pub(super) fn checkpoint() -> SnapshotKind {
    SnapshotKind::Checkpoint
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeciderSetup {
    max_concurrent: usize,
    min_pause_ms: u64,
    max_queued: usize,
    start_time_ms: u64,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum DeciderOperation {
    Request {
        id: String,
        kind: SnapshotKind,
        #[serde(default)]
        forced: bool,
        #[serde(default)]
        periodic: bool,
        triggering: bool,
        last_completion_ms: u64,
    },
    Poll {
        triggering: bool,
        last_completion_ms: u64,
    },
    Advance {
        ms: u64,
    },
    SetPending {
        n: usize,
    },
    SetCleaning {
        n: usize,
    },
    AbortAll {
        reason: FailureReason,
    },
}

pub(super) struct DeciderDriver {
    decider: Decider,
    now: VirtualTime,
    pending: usize,
    cleaning: usize,
    names: Vec<String>,
}

impl DeciderDriver {
    fn situation(&self, triggering: bool, last_completion_ms: u64) -> Situation {
        Situation {
            triggering,
            last_completion: Some(VirtualTime::from_millis(last_completion_ms)),
            pending: self.pending,
            cleaning: self.cleaning,
        }
    }

    fn name(&self, request: &Request) -> Option<&str> {
        let id = request.id?.0;
        let index = usize::try_from(id).ok()?;
        self.names.get(index).map(String::as_str)
    }

    fn answer(&self, decision: &Decision) -> Value {
        let dropped = decision.dropped.iter();
        let dropped =
            dropped.map(|(request, reason)| json!({ "id": self.name(request), "reason": reason }));
        json!({
            "run": decision.run.as_ref().and_then(|request| self.name(request)),
            "dropped": dropped.collect::<Vec<_>>(),
            "reschedule_in_ms": decision.reschedule.map(VirtualDuration::as_millis),
            "queued": self.decider.queued(),
        })
    }
}

impl Driver for DeciderDriver {
    type Config = DeciderSetup;
    type Operation = DeciderOperation;

    fn new(config: DeciderSetup) -> Result<Self, CaseError> {
        let limits = DeciderConfig {
            max_concurrent: config.max_concurrent,
            min_pause: VirtualDuration::from_millis(config.min_pause_ms),
            max_queued: config.max_queued,
        };
        Ok(Self {
            decider: Decider::new(limits),
            now: VirtualTime::from_millis(config.start_time_ms),
            pending: 0,
            cleaning: 0,
            names: Vec::new(),
        })
    }

    fn step(&mut self, operation: DeciderOperation) -> Result<Value, String> {
        use DeciderOperation as Op;
        let decision = match operation {
            Op::Request { id, kind, forced, periodic, triggering, last_completion_ms } => {
                let request = Request {
                    id: Some(RequestId(self.names.len() as u64)),
                    kind,
                    forced,
                    periodic,
                };
                self.names.push(id);
                let at = self.situation(triggering, last_completion_ms);
                self.decider.offer(self.now, request, at)
            }
            Op::Poll { triggering, last_completion_ms } => {
                let at = self.situation(triggering, last_completion_ms);
                self.decider.choose(self.now, at)
            }
            Op::AbortAll { reason } => {
                Decision { dropped: self.decider.abort_all(reason), ..Decision::default() }
            }
            Op::Advance { ms } => {
                self.now += VirtualDuration::from_millis(ms);
                Decision::default()
            }
            Op::SetPending { n } => {
                self.pending = n;
                Decision::default()
            }
            Op::SetCleaning { n } => {
                self.cleaning = n;
                Decision::default()
            }
        };
        Ok(self.answer(&decision))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FailureSetup {
    #[serde(default)]
    tolerable: u64,
    #[serde(default)]
    unlimited: bool,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum FailureOperation {
    Success {
        cp: CheckpointId,
    },
    Failure {
        reason: FailureReason,
        #[serde(default = "checkpoint")]
        kind: SnapshotKind,
        cp: Option<CheckpointId>,
        task: Option<String>,
    },
}

pub(super) struct FailureDriver(FailureManager);

impl Driver for FailureDriver {
    type Config = FailureSetup;
    type Operation = FailureOperation;

    fn new(config: FailureSetup) -> Result<Self, CaseError> {
        let tolerable = (!config.unlimited).then_some(config.tolerable);
        Ok(Self(FailureManager::new(tolerable, Defects::none())))
    }

    fn step(&mut self, operation: FailureOperation) -> Result<Value, String> {
        let verdict = match operation {
            FailureOperation::Success { cp } => {
                self.0.on_success(cp);
                None
            }
            FailureOperation::Failure { reason, kind, cp, task } => {
                self.0.on_failure(Failure { checkpoint: cp, kind, reason, task })
            }
        };
        let fail = verdict.map(|Verdict(task)| match task {
            Some(task) => format!("task:{task}"),
            None => "job".to_owned(),
        });
        Ok(json!({ "fail": fail, "counter": self.0.counter() }))
    }
}
