//! What the checks answer at the end.

use std::fmt;

use cutline::ids::OperatorId;
use cutline::operator::Fingerprint;
use serde::{Deserialize, Serialize};

/// What one check has to say at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check.
    pub check: &'static str,
    /// How many observations it judged.
    pub judged: u64,
    /// The answer.
    pub outcome: Outcome,
}

/// What the outside sees of a sink operator: as many records, with this sum of their identities.
/// Of sinks that write at once, each identity counts once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The sink.
    pub operator: OperatorId,
    /// What it shows.
    pub contents: Fingerprint,
}

/// The answer of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It judged, and found nothing.
    Passed,
    /// It found something.
    Violated,
    /// There was nothing to judge.
    Vacuous,
    /// The engine cannot answer what it asks.
    NotApplicable,
}

/// The answer of all checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing was found.
    Ok,
    /// Something that should happen did not.
    Liveness,
    /// Something happened that must not.
    Safety,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Liveness => "liveness",
            Self::Safety => "safety",
        })
    }
}
