//! What the groups `coordinator` and `coordinator_io` are made of: configuration and operations.

use cutline::coordinator::CoordinatorConfig;
use cutline::coordinator::completed::{JobStatus, Retention, StoreKind};
use cutline::coordinator::plan::{Edge, Pattern, Topology, Vertex};
use cutline::defect::Defects;
use cutline::ids::{CheckpointId, OperatorId};
use cutline::message::{FailureReason, SnapshotKind};
use cutline::time::VirtualDuration;
use serde::Deserialize;

use super::CaseError;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Setup {
    pub(super) vertices: Vec<VertexSetup>,
    #[serde(default)]
    edges: Vec<EdgeSetup>,
    pub(super) interval_ms: Option<u64>,
    initial_delay_ms: Option<u64>,
    #[serde(default = "ten_minutes")]
    timeout_ms: u64,
    #[serde(default)]
    min_pause_ms: u64,
    #[serde(default = "one")]
    max_concurrent: usize,
    #[serde(default)]
    tolerable_failures: u64,
    #[serde(default = "one")]
    max_retained: usize,
    #[serde(default)]
    retention: Retention,
    #[serde(default = "yes")]
    exactly_once: bool,
    #[serde(default)]
    unaligned: bool,
    #[serde(default)]
    aligned_timeout_ms: u64,
    #[serde(default = "yes")]
    checkpoints_after_tasks_finish: bool,
    #[serde(default = "yes")]
    pub(super) tasks_running: bool,
    interval_during_backlog_ms: Option<u64>,
    #[serde(default)]
    pub(super) operator_coordinators: Vec<CoordinatorSetup>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VertexSetup {
    pub(super) name: String,
    pub(super) parallelism: u32,
    #[serde(default, rename = "max_parallelism")]
    #[expect(dead_code, reason = "no answer of these groups depends on it")]
    max_parallelism: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EdgeSetup {
    from: String,
    to: String,
    #[serde(default)]
    pattern: PatternName,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PatternName {
    #[default]
    AllToAll,
    Pointwise,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CoordinatorSetup {
    pub(super) name: String,
    vertex: String,
    #[serde(default)]
    pub(super) manual: bool,
}

fn ten_minutes() -> u64 {
    600_000
}

fn one() -> usize {
    1
}

pub(super) fn yes() -> bool {
    true
}

impl Setup {
    pub(super) fn config(&self) -> CoordinatorConfig {
        let aligned = (self.aligned_timeout_ms > 0)
            .then(|| VirtualDuration::from_millis(self.aligned_timeout_ms));
        CoordinatorConfig {
            defects: Defects::none(),
            max_concurrent: self.max_concurrent,
            min_pause: self.min_pause(),
            timeout: VirtualDuration::from_millis(self.timeout_ms),
            exactly_once: self.exactly_once,
            unaligned: self.unaligned,
            has_loop: false,
            aligned_timeout: aligned,
            after_tasks_finish: self.checkpoints_after_tasks_finish,
            tolerable_failures: Some(self.tolerable_failures),
            max_retained: self.max_retained,
            retention: self.retention,
            store: StoreKind::Standalone,
            stores_stops: false,
            drains_shared: false,
            drops_outlived: false,
        }
    }

    pub(super) fn min_pause(&self) -> VirtualDuration {
        VirtualDuration::from_millis(self.min_pause_ms)
    }

    /// Until the first checkpoint of the first start; of a later one it is the pause.
    pub(super) fn initial_delay(&self) -> VirtualDuration {
        let delay = self.initial_delay_ms.unwrap_or(self.min_pause_ms);
        VirtualDuration::from_millis(delay)
    }

    pub(super) fn intervals(&self) -> [Option<VirtualDuration>; 2] {
        [self.interval_ms, self.interval_during_backlog_ms]
            .map(|ms| ms.map(VirtualDuration::from_millis))
    }

    /// The operators that have a coordinator; one vertex has one at most.
    pub(super) fn coordinators(&self) -> Result<Vec<OperatorId>, CaseError> {
        let mut operators = Vec::new();
        for coordinator in &self.operator_coordinators {
            let mut names = self.vertices.iter().map(|vertex| &vertex.name);
            let position = names.position(|name| *name == coordinator.vertex);
            let position =
                position.ok_or(CaseError::Range("a coordinator of an unknown vertex"))?;
            let operator = OperatorId(position as u32);
            if operators.contains(&operator) {
                return Err(CaseError::Range("two coordinators of one vertex"));
            }
            operators.push(operator);
        }
        Ok(operators)
    }

    /// A timer of no interval would fire for ever at one instant.
    pub(super) fn check(&self) -> Result<(), CaseError> {
        match (self.interval_ms, self.min_pause_ms) {
            (Some(0), 0) => Err(CaseError::Range("an interval is at least 1 ms")),
            _ => Ok(()),
        }
    }

    pub(super) fn topology(&self) -> Result<Topology, CaseError> {
        let position = |name: &str| {
            let found = self.vertices.iter().position(|vertex| vertex.name == name);
            found.ok_or(CaseError::Range("an edge names an unknown vertex"))
        };
        let edge = |edge: &EdgeSetup| {
            Ok::<_, CaseError>(Edge {
                from: position(&edge.from)?,
                to: position(&edge.to)?,
                pattern: match edge.pattern {
                    PatternName::AllToAll => Pattern::AllToAll,
                    PatternName::Pointwise => Pattern::Pointwise,
                },
            })
        };
        let vertex = |(operator, vertex): (u32, &VertexSetup)| Vertex {
            operator: OperatorId(operator),
            parallelism: vertex.parallelism,
            union_list_state: false,
        };
        if self.vertices.iter().any(|vertex| !(1..=32_768).contains(&vertex.parallelism)) {
            return Err(CaseError::Range("a parallelism lies between 1 and 32768"));
        }
        Ok(Topology {
            vertices: (0..).zip(&self.vertices).map(vertex).collect(),
            edges: self.edges.iter().map(edge).collect::<Result<_, _>>()?,
        })
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum StateName {
    Running,
    Finished,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fault {
    CheckpointId,
    StorageLocation,
    Finalize,
    Store,
    TriggerRpc,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FaultError {
    Io,
    Other,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Operation {
    Start {},
    Stop {},
    Advance {
        ms: u64,
    },
    Trigger {
        req: String,
        kind: SnapshotKind,
        #[serde(default)]
        periodic: bool,
    },
    Ack {
        task: String,
        cp: CheckpointId,
        #[serde(default)]
        state: bool,
        shared: Option<Vec<String>>,
        attempt: Option<u32>,
    },
    Decline {
        task: String,
        cp: CheckpointId,
        reason: FailureReason,
        attempt: Option<u32>,
    },
    TaskState {
        task: String,
        state: StateName,
    },
    AbortPending {
        reason: FailureReason,
    },
    GlobalFailover {
        #[serde(default = "yes")]
        restart_scheduler: bool,
    },
    EndJob {
        status: JobStatus,
    },
    Shutdown {},
    Backlog {
        source: u32,
        on: bool,
    },
    CoordinatorDone {
        coordinator: String,
        #[serde(default = "yes")]
        ok: bool,
    },
    FailNext {
        what: Fault,
        error: Option<FaultError>,
        task: Option<String>,
    },
    HoldIo {},
    ReleaseIo {
        n: Option<usize>,
    },
}
