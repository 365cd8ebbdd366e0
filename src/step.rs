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
