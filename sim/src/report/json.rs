//! The summary of a run as one JSON object.

use std::collections::BTreeMap;

use cutline::message::FailureReason;
use serde::Serialize;

use crate::check::{Durations, Finding, Outcome as Answer, Records, Verdict};
use crate::kernel::digest::{Fingerprint, Ladder, first_difference};
use crate::kernel::run::End;
use crate::run::Outcome;

use super::line::{job_end, milliseconds};

/// Keys in this order; a later version may add some.
#[derive(Serialize)]
struct Summary<'a> {
    title: &'a str,
    seed: u64,
    verdict: Verdict,
    /// Why the run ended.
    end: &'static str,
    /// Whether the event budget ended it before anything else could.
    inconclusive: bool,
    /// How the job ended, if it did.
    job: Option<&'static str>,
    digest: Fingerprint,
    virtual_ms: serde_json::Number,
    /// Kernel events.
    events: u64,
    /// Lines of a whole trace.
    observations: u64,
    checkpoints: Checkpoints<'a>,
    restarts: u64,
    restores: u64,
    records: Records,
    durations: BTreeMap<&'static str, Duration>,
    violations: Vec<Violation<'a>>,
    findings: Vec<FindingOut>,
    situations: BTreeMap<&'static str, u64>,
    faults: Faults,
    /// How it compares with the case that it replays, if it does.
    case: Option<Compared>,
    /// The command that replays the run, if a case was written.
    replay: Option<&'a str>,
}

#[derive(Serialize)]
struct Compared {
    digest: Fingerprint,
    /// The first events that differ, from the first number to before the second.
    first_difference: Option<[u64; 2]>,
}

#[derive(Serialize)]
struct Checkpoints<'a> {
    triggered: u64,
    completed: u64,
    failed: u64,
    failed_by_reason: &'a BTreeMap<FailureReason, u64>,
    /// Requests that failed before a checkpoint was pending.
    requests_failed_by_reason: &'a BTreeMap<FailureReason, u64>,
}

#[derive(Serialize)]
struct Duration {
    count: u64,
    mean_ms: Option<serde_json::Number>,
    max_ms: Option<serde_json::Number>,
}

#[derive(Serialize)]
struct Violation<'a> {
    check: &'static str,
    class: &'static str,
    rule: &'static str,
    at_ms: serde_json::Number,
    message: &'a str,
    times: u64,
}

#[derive(Serialize)]
struct FindingOut {
    check: &'static str,
    outcome: Answer,
    judged: u64,
}

#[derive(Serialize)]
struct Faults {
    injected: Vec<u32>,
    inert: Vec<u32>,
}

/// The summary as one line of JSON. `replay` is the command that replays the run, `case` what it
/// replays.
pub fn summary_json(outcome: &Outcome, replay: Option<&str>, case: Option<&Ladder>) -> String {
    let statistics = &outcome.statistics;
    let durations = durations(outcome).into_iter();
    let summary = Summary {
        title: &outcome.plan.scenario.title,
        seed: outcome.seed,
        verdict: outcome.verdict,
        end: end(outcome.end),
        inconclusive: outcome.is_inconclusive(),
        job: outcome.job_end.map(job_end),
        digest: outcome.digest,
        virtual_ms: milliseconds(outcome.virtual_time.as_nanos()),
        events: outcome.events,
        observations: outcome.observations,
        checkpoints: Checkpoints {
            triggered: statistics.checkpoints.triggered,
            completed: statistics.checkpoints.completed,
            failed: statistics.checkpoints.failed.values().sum(),
            failed_by_reason: &statistics.checkpoints.failed,
            requests_failed_by_reason: &statistics.requests_failed,
        },
        restarts: statistics.restarts,
        restores: statistics.restores,
        records: statistics.records,
        durations: durations.map(|(name, of)| (name, duration(of))).collect(),
        violations: outcome.violations.iter().map(violation).collect(),
        findings: outcome.findings.iter().map(finding).collect(),
        situations: outcome.situations.iter().copied().collect(),
        faults: Faults { injected: outcome.faults_injected.clone(), inert: outcome.inert_faults() },
        case: case.map(|ladder| Compared {
            digest: ladder.whole,
            first_difference: first_difference(ladder, &outcome.ladder)
                .map(|range| [range.start, range.end]),
        }),
        replay,
    };
    serde_json::to_string(&summary).expect("all keys are strings")
}

/// The durations of a run, with Flink's names, in the order of reports.
pub(super) fn durations(outcome: &Outcome) -> [(&'static str, Durations); 5] {
    let statistics = &outcome.statistics;
    [
        ("end_to_end", statistics.end_to_end),
        ("start_delay", statistics.start_delay),
        ("alignment", statistics.alignment),
        ("sync", statistics.sync),
        ("async", statistics.asynchronous),
    ]
}

fn duration(of: Durations) -> Duration {
    let some = |duration: cutline::time::VirtualDuration| {
        (of.count > 0).then(|| milliseconds(duration.as_nanos()))
    };
    Duration { count: of.count, mean_ms: some(of.mean()), max_ms: some(of.max) }
}

fn violation(of: &crate::check::Violation) -> Violation<'_> {
    Violation {
        check: of.check,
        class: of.class.name(),
        rule: of.rule,
        at_ms: milliseconds(of.at.as_nanos()),
        message: &of.message,
        times: of.times,
    }
}

fn finding(of: &Finding) -> FindingOut {
    FindingOut { check: of.check, outcome: of.outcome, judged: of.judged }
}

/// Why a run ended, in a word.
pub(super) fn end(end: End) -> &'static str {
    match end {
        End::Quiet => "quiet",
        End::Until => "until",
        End::Budget => "budget",
        End::Livelock => "livelock",
        End::Stopped => "stopped",
    }
}
