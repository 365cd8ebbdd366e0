//! How a command ends.

use std::io;

use crate::check::Verdict;
use crate::explore::Severity;
use crate::run::Outcome;
use crate::scenario::Diagnostics;

/// The exit codes of `cutline`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    Ok = 0,
    Usage = 2,
    BadInput = 3,
    /// Safety violated, or a vector differs.
    Safety = 10,
    Liveness = 11,
    Diverged = 12,
    /// A goal was missed.
    GoalMissed = 13,
    Vacuous = 14,
    Inconclusive = 20,
    Internal = 70,
    Interrupted = 130,
}

impl Exit {
    /// How the worst of many runs ends the command.
    pub(super) fn of_severity(worst: Severity) -> Self {
        match worst {
            Severity::Ok => Self::Ok,
            Severity::Inconclusive => Self::Inconclusive,
            Severity::Liveness => Self::Liveness,
            Severity::Safety => Self::Safety,
            Severity::Internal => Self::Internal,
        }
    }

    /// How a run ends the command.
    pub(super) fn of(outcome: &Outcome) -> Self {
        match outcome.verdict {
            Verdict::Ok => Self::Ok,
            Verdict::Safety => Self::Safety,
            Verdict::Liveness if outcome.is_inconclusive() => Self::Inconclusive,
            Verdict::Liveness => Self::Liveness,
        }
    }
}

/// Why a command cannot do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Arguments that contradict each other or the scenario.
    #[error("{0}")]
    Usage(String),
    /// A scenario or case with mistakes.
    #[error("{0}")]
    Diagnostics(Box<Diagnostics>),
    /// Another input file that cannot be read or understood.
    #[error("{0}")]
    Input(String),
    /// Too little is known for what was asked.
    #[error("{0}")]
    Inconclusive(String),
    /// A file that cannot be written.
    #[error("cannot write {path}: {error}")]
    Write { path: String, error: io::Error },
    /// Standard output is gone.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
    /// An assertion of ours; the report says which, and how to see it again.
    #[error("{0}")]
    Internal(String),
}

impl Failure {
    /// Says it on standard error.
    pub(super) fn report(&self) -> Exit {
        let exit = match self {
            Self::Usage(_) => Exit::Usage,
            Self::Diagnostics(_) | Self::Input(_) => Exit::BadInput,
            Self::Inconclusive(_) => Exit::Inconclusive,
            // Whoever reads the output has read enough, as `head` does.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return Exit::Ok,
            Self::Write { .. } | Self::Output(_) | Self::Internal(_) => Exit::Internal,
        };
        match self {
            Self::Diagnostics(found) => anstream::eprint!("{}", found.render(true)),
            Self::Internal(report) => anstream::eprint!("{report}"),
            Self::Usage(_)
            | Self::Input(_)
            | Self::Inconclusive(_)
            | Self::Write { .. }
            | Self::Output(_) => {
                let (red, reset) = (super::output::STYLE.bad, super::output::STYLE.reset);
                anstream::eprintln!("{red}error{reset}: {self}");
            }
        }
        exit
    }
}

impl From<Box<Diagnostics>> for Failure {
    fn from(found: Box<Diagnostics>) -> Self {
        Self::Diagnostics(found)
    }
}
