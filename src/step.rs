//! The named steps of a clean checkpoint, an abort, a recovery and a sink's commit.
//!
//! Comments, observations and fault anchors use these names; the scheduling points between two
//! of them are where bugs live.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// A step of the protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Step { $($(#[$doc])* $name),+ }

        impl Step {
            /// All steps, in the order in which a checkpoint takes them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The name as in reports and scenario files.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }
        }
    };
}

steps! {
    /// Coordinator: decide to trigger.
    T1,
    /// Coordinator: allocate the checkpoint id.
    T2,
    /// Coordinator: create and register the pending checkpoint.
    T3,
    /// Coordinator: snapshot operator coordinators.
    T4,
    /// Coordinator: send the trigger messages.
    T5,
    /// Task: a barrier arrives (at a source: the trigger message).
    B1,
    /// Task: the alignment ends, or (unaligned) in-flight data is persisted from here.
    B2,
    /// Task: synchronous capture of the state; sinks pre-commit.
    B3,
    /// Task: forward the barrier.
    B4,
    /// Task: the asynchronous upload starts.
    B5,
    /// Task: acknowledge or decline.
    B6,
    /// Coordinator: receive an acknowledgement.
    A1,
    /// Coordinator: the last participant has delivered.
    A2,
    /// Coordinator: register shared files.
    F1,
    /// Coordinator: write the metadata.
    F2,
    /// Coordinator: publish the pointer; the decision is durable.
    F3,
    /// Coordinator: subsume older checkpoints, discard what nothing refers to.
    F4,
    /// Coordinator: broadcast "complete".
    F5,
    /// Task: handle "complete".
    N1,
    /// Coordinator: mark a pending checkpoint as aborted.
    X1,
    /// Coordinator: discard what was delivered.
    X2,
    /// Coordinator: broadcast "aborted".
    X3,
    /// Coordinator: arm the next trigger.
    X4,
    /// Recovery: cancel the tasks, abort pending checkpoints, fence the old execution.
    R1,
    /// Recovery: choose the restore point.
    R2,
    /// Recovery: register its shared files again.
    R3,
    /// Recovery: assign state and deploy.
    R4,
    /// Recovery: reset operator coordinators.
    R5,
    /// Recovery: a task has restored its channel state and starts processing.
    R6,
    /// Sink: commit at N1.
    S5,
    /// Sink: at recovery, commit the handles in the snapshot, abort the rest.
    S6,
}

impl Step {
    /// Whether it is the job manager that takes this step; else a task does.
    pub fn is_at_job_manager(self) -> bool {
        match self {
            Self::T1 | Self::T2 | Self::T3 | Self::T4 | Self::T5 | Self::A1 | Self::A2 => true,
            Self::F1 | Self::F2 | Self::F3 | Self::F4 | Self::F5 => true,
            Self::X1 | Self::X2 | Self::X3 | Self::X4 => true,
            Self::R1 | Self::R2 | Self::R3 | Self::R4 | Self::R5 => true,
            Self::B1 | Self::B2 | Self::B3 | Self::B4 | Self::B5 | Self::B6 => false,
            Self::N1 | Self::R6 | Self::S5 | Self::S6 => false,
        }
    }

    /// What is done in this step, in a few words.
    pub fn what(self) -> &'static str {
        match self {
            Self::T1 => "decide to trigger",
            Self::T2 => "draw the id",
            Self::T3 => "register the pending checkpoint",
            Self::T4 => "snapshot the operator coordinators",
            Self::T5 => "tell the sources",
            Self::B1 => "the first barrier arrives",
            Self::B2 => "the alignment ends",
            Self::B3 => "capture the state",
            Self::B4 => "send the barrier on",
            Self::B5 => "start the upload",
            Self::B6 => "acknowledge",
            Self::A1 => "take an acknowledgement",
            Self::A2 => "take the last acknowledgement",
            Self::F1 => "register the files",
            Self::F2 => "write the metadata",
            Self::F3 => "write the pointer",
            Self::F4 => "subsume older checkpoints",
            Self::F5 => "tell the tasks that it is complete",
            Self::N1 => "hear that it is complete",
            Self::X1 => "abort",
            Self::X2 => "discard what was delivered",
            Self::X3 => "tell the tasks that it was aborted",
            Self::X4 => "set the next timer",
            Self::R1 => "fence the old execution",
            Self::R2 => "choose the checkpoint",
            Self::R3 => "register its files again",
            Self::R4 => "deploy",
            Self::R5 => "reset the operator coordinators",
            Self::R6 => "go on from the restored state",
            Self::S5 => "commit",
            Self::S6 => "commit what the checkpoint holds, abort the rest",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is not a step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no step is called {0:?}; steps are T1 … T5, B1 … B6, A1, A2, F1 … F5, N1, X1 … X4, R1 … R6, S5, S6"
)]
pub struct UnknownStep(pub String);

impl FromStr for Step {
    type Err = UnknownStep;

    fn from_str(text: &str) -> Result<Self, UnknownStep> {
        Self::ALL
            .iter()
            .copied()
            .find(|step| step.name() == text)
            .ok_or_else(|| UnknownStep(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for step in Step::ALL {
            assert_eq!(step.name().parse(), Ok(*step));
        }
        assert!("T9".parse::<Step>().is_err());
    }
}
