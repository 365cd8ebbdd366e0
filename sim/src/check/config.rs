//! What the checks must know of a scenario.

use cutline::config::CheckpointingOptions;
use cutline::job::rescale::DistributionMode;
use cutline::time::{VirtualDuration, VirtualTime};

use crate::scenario::model::ActionKind;

/// What the checks must know of a scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckConfig {
    /// Flink's checkpointing options.
    pub checkpointing: CheckpointingOptions,
    /// What each operator is, by `OperatorId`.
    pub roles: Vec<Role>,
    /// The offsets at which the splits of each source are begun, by `OperatorId`; those that are not
    /// named are begun at 0.
    pub first_offsets: Vec<Vec<u64>>,
    /// Whether nothing may be in flight on the edges to an operator when a checkpoint crosses them, by
    /// `OperatorId`; to those that are not named anything may be. Flink: not
    /// `StreamEdge#supportsUnalignedCheckpoints`.
    pub aligned: Vec<bool>,
    /// When checkpoints are asked for by hand.
    pub manual: Vec<VirtualTime>,
    /// What users ask for, by index: all of it is answered in the end.
    pub actions: Vec<ActionKind>,
    /// When the last record of a bounded job is due; `None`: the job does not end by itself.
    pub due: Option<VirtualTime>,
    /// Calm time within which a bounded job finishes after its last record, a decided transaction
    /// is committed, and one failure too many fails the job.
    pub settle: VirtualDuration,
    /// Calm time within which all tasks run again after an execution has ended: the longest
    /// delay of the restart strategy, failure detection, replacement of processes, deployment.
    pub recovery: VirtualDuration,
    /// What is to be known of windows, if there are any.
    pub windows: Option<Windows>,
    /// How the operator list states of each operator are dealt out, by `OperatorId`; of those that
    /// are not named nothing is known.
    pub list_states: Vec<&'static [DistributionMode]>,
    /// Some operator holds back what the sequential reference emits at once.
    pub holds_back: bool,
}

/// What the checks must know of a job with windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// No record can be late: each source keeps to the disorder that it promises, and nobody
    /// stops waiting for it.
    pub never_late: bool,
    /// Operators, by `OperatorId`, that get what depends on when watermarks came. Their states and
    /// their output are not compared with the reference, which has other watermarks.
    pub timed: Vec<bool>,
}

/// What an operator is to the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads splits.
    Source {
        /// Number of splits.
        splits: u32,
        /// Records in each; `None`: unbounded.
        records: Option<u64>,
    },
    /// Neither source nor sink.
    Inner,
    /// A sink that commits; if something is behind it, that commits for it.
    TransactionalSink,
    /// A sink that writes by identity.
    IdempotentSink,
    /// A sink that writes at once.
    AtLeastOnceSink,
}

impl Role {
    /// Number of splits; none for an operator that is not a source.
    pub fn splits(self) -> u32 {
        match self {
            Self::Source { splits, .. } => splits,
            Self::Inner
            | Self::TransactionalSink
            | Self::IdempotentSink
            | Self::AtLeastOnceSink => 0,
        }
    }

    pub(super) fn is_sink(self) -> bool {
        match self {
            Self::TransactionalSink | Self::IdempotentSink | Self::AtLeastOnceSink => true,
            Self::Source { .. } | Self::Inner => false,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Source { .. } => "state of a source",
            Self::Inner => "state of an inner operator",
            Self::TransactionalSink => "state of a transactional sink",
            Self::IdempotentSink => "state of an idempotent sink",
            Self::AtLeastOnceSink => "state of an at-least-once sink",
        }
    }
}
