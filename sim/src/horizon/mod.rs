//! Long horizons: days of virtual time for the price of what happens in them.
//!
//! A job that runs well repeats itself: interval after interval the same flow, the same barriers,
//! the same uploads, but for chance. What makes one day unlike another are its failures. So a long
//! run is simulated record by record where something happens, and *leapt over* where nothing does:
//!
//! - after the start and after each recovery some intervals are simulated as a sample, as many as
//!   the error bound asks for. The rest of them, up to shortly before the next failure, is leapt
//!   over: whole intervals, so that the failure meets the phase of the interval that it would have
//!   met. Their figures are those of the sample;
//! - within an interval that ends without a failure, the time in which no checkpoint is under way
//!   is sampled by a *quiet block* and leapt over as well: the next trigger comes so much earlier.
//!
//! There is one engine and one code path: coordinator, barriers, storage, recovery and checks are
//! the real ones, every failure strikes, and all input between a restored checkpoint and a failure
//! is read again record by record. What is left out is left out of time alone. It is the failures of
//! the plan that move: after a leap they come earlier, and the clock of the restart strategy
//! ([`JobManager`](crate::engine::JobManager)) goes ahead.
//!
//! Nothing is leapt over unless it was seen to be steady: all subtasks run, no recovery is under
//! way, sources keep up, state has stopped growing, the second half of the sample is like the first.
//! A job that never is, is simulated in full, and its figures are exact.
//!
//! Concept: regenerative and stratified sampling of a simulation (Asmussen & Glynn, *Stochastic
//! Simulation*, chapters IV and V).

mod drive;
mod figures;
mod sample;

use cutline::time::{VirtualDuration, VirtualTime};

pub(crate) use self::drive::{Driver, Subject};
pub(crate) use self::figures::Figures;

use crate::scenario::model::{OperatorKind, Scenario, When};

/// How much may be left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Leaping {
    /// Relative error of the means that sampling may bring in, with about 95 % confidence.
    pub tolerance: f64,
    /// Runs whose mean is to have that error: one of many may be sampled the less.
    pub repeats: u64,
}

/// What was left out of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Leapt {
    /// Time that was leapt over.
    pub time: VirtualDuration,
    /// The error up to which that was allowed.
    pub tolerance: f64,
    /// Leaps.
    pub leaps: u64,
    /// Of each mean, by column, the standard error that sampling has brought in, relative to it.
    pub errors: Vec<(String, f64)>,
}

/// Why time cannot be leapt over in a scenario.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeapError {
    /// No interval repeats itself.
    #[error("there are no periodic checkpoints, so no interval stands for others")]
    NoInterval,
    /// Intervals are not all the same.
    #[error(
        "`checkpointing.policy` sets intervals by what the job has seen; give a fixed interval"
    )]
    Policy,
    /// The log grows from interval to interval, until it is cut.
    #[error(
        "states are materialised by a clock that would be leapt over; switch the changelog off"
    )]
    Changelog,
    /// Leases are renewed all the time.
    #[error("of several job managers one is elected, which takes its time; give one")]
    Election,
    /// The job comes to an end.
    #[error("source `{operator}` is bounded: a job that ends has no long horizon")]
    Bounded {
        /// Name of the source.
        operator: String,
    },
    /// Somebody asks for something at a time.
    #[error("the scenario has `{what}`, which count on every checkpoint being there")]
    Asked {
        /// The field.
        what: &'static str,
    },
    /// Something goes by the clock that is leapt over.
    #[error("`{operator}` has {what}, which go by a clock that would be leapt over")]
    Timed {
        /// Name of the operator.
        operator: String,
        /// What it has.
        what: &'static str,
    },
    /// A clock is wrong.
    #[error("faults[{index}] makes a clock wrong by which time is leapt over")]
    WrongClock {
        /// Which fault.
        index: usize,
    },
    /// A fault waits for a step.
    #[error(
        "faults[{index}] waits for a step of the protocol, and steps that are leapt over would not \
         count; give it a time"
    )]
    AtStep {
        /// Which fault.
        index: usize,
    },
}

/// Whether time can be leapt over in a scenario.
///
/// # Errors
/// It has something that would be missed.
pub fn check(scenario: &Scenario) -> Result<(), LeapError> {
    if scenario.checkpointing.interval.is_none() {
        return Err(LeapError::NoInterval);
    }
    if scenario.checkpointing.policy.is_some() {
        return Err(LeapError::Policy);
    }
    if scenario.cluster.job_managers > 1 {
        return Err(LeapError::Election);
    }
    if scenario.logs_changes() {
        return Err(LeapError::Changelog);
    }
    for operator in &scenario.job.operators {
        if operator.kind.as_source().is_some_and(|source| source.records.is_some()) {
            return Err(LeapError::Bounded { operator: operator.name.clone() });
        }
        let timed = match &operator.kind {
            OperatorKind::Source(source) if source.watermarks.is_some() => Some("watermarks"),
            OperatorKind::Source(source) if source.discovery.is_some() => Some("discovered splits"),
            OperatorKind::Source(source) if source.history > 0 => Some("records of before the job"),
            OperatorKind::Async { .. } => Some("calls to the outside"),
            kind => kind.is_window().then_some("windows"),
        };
        if let Some(what) = timed {
            return Err(LeapError::Timed { operator: operator.name.clone(), what });
        }
    }
    for (what, is_empty) in
        [("manual", scenario.manual.is_empty()), ("actions", scenario.actions.is_empty())]
    {
        if !is_empty {
            return Err(LeapError::Asked { what });
        }
    }
    let wrong = |fault: &crate::scenario::model::Fault| fault.what.wrong_clock().is_some();
    if let Some(index) = scenario.faults.iter().position(wrong) {
        return Err(LeapError::WrongClock { index });
    }
    let at_step = |fault: &crate::scenario::model::Fault| matches!(fault.at, When::Step(_));
    match scenario.faults.iter().position(at_step) {
        Some(index) => Err(LeapError::AtStep { index }),
        None => Ok(()),
    }
}

/// A fault that strikes at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strike {
    /// When, in the time of the scenario.
    pub(crate) at: VirtualTime,
    /// Its index in the plan.
    pub(crate) fault: u32,
    /// How long it lasts.
    pub(crate) span: VirtualDuration,
}

/// What there is to know of a scenario before it is run.
#[derive(Clone, Debug)]
pub(crate) struct Outline {
    /// Between two periodic checkpoints.
    interval: VirtualDuration,
    min_pause: VirtualDuration,
    /// All sources repeat themselves after this time.
    period: VirtualDuration,
    /// The longest time between two records of a split.
    every: VirtualDuration,
    heartbeat: VirtualDuration,
    /// Open transactions time out: the time in which they are open is simulated.
    transactions_expire: bool,
    /// After it a fault that showed no effect had none.
    patience: VirtualDuration,
    /// By then the keyed state has seen its keys.
    warm: VirtualTime,
    /// Checkpoints that storage holds when it holds as many as it will.
    retained: usize,
    until: VirtualTime,
    events: u64,
    /// Ascending by time.
    strikes: Vec<Strike>,
    /// Relative standard error that a sample may have.
    error: f64,
    tolerance: f64,
}

impl Outline {
    pub(crate) fn of(scenario: &Scenario, strikes: Vec<Strike>, leaping: Leaping) -> Self {
        let operators = &scenario.job.operators;
        let sources = || operators.iter().filter_map(|operator| operator.kind.as_source());
        let repeats = leaping.repeats.max(1) as f64;
        let every = sources().map(|source| source.every).max().unwrap_or_default();
        Self {
            interval: scenario.checkpointing.interval.expect("`check` has seen it"),
            min_pause: scenario.checkpointing.min_pause,
            period: VirtualDuration(sources().fold(1, |all, it| common(all, it.every.0))),
            every,
            transactions_expire: scenario.external.transaction_timeout.is_some(),
            heartbeat: scenario.cluster.heartbeat_interval,
            patience: scenario.cluster.heartbeat_timeout * 2,
            warm: VirtualTime::ZERO + warm_up(scenario, leaping.tolerance),
            retained: scenario.checkpointing.retained as usize,
            until: scenario.limits.until,
            events: scenario.limits.events,
            strikes,
            error: leaping.tolerance / 2.0 * libm::sqrt(repeats),
            tolerance: leaping.tolerance,
        }
    }
}

/// The least common multiple; saturates.
fn common(a: u64, b: u64) -> u64 {
    let (mut greatest, mut rest) = (a, b.max(1));
    while rest > 0 {
        (greatest, rest) = (rest, greatest % rest);
    }
    (a / greatest).saturating_mul(b.max(1))
}

/// Until keyed state lacks no more than a sixth of the error: `n` records of `k` keys that are
/// equally likely have met all but `exp(-n / k)` of them.
fn warm_up(scenario: &Scenario, tolerance: f64) -> VirtualDuration {
    let operators = &scenario.job.operators;
    if !operators.iter().any(|operator| operator.kind.is_keyed()) {
        return VirtualDuration::ZERO;
    }
    let keys = operators.iter().filter_map(|operator| match &operator.kind {
        OperatorKind::Source(source) => Some(source.keys.saturating_mul(source.key_run)),
        OperatorKind::Map { rekey } => *rekey,
        _ => None,
    });
    let records_per_s = operators.iter().filter_map(|operator| match &operator.kind {
        OperatorKind::Source(source) => {
            Some(f64::from(source.splits) / source.every.0.max(1) as f64)
        }
        _ => None,
    });
    let slowest = records_per_s.fold(f64::INFINITY, f64::min);
    let keys = f64::from(keys.max().unwrap_or(0));
    // Rounded towards zero, and saturating where no record comes at all.
    VirtualDuration((keys / slowest * libm::log(6.0 / tolerance)) as u64)
}
