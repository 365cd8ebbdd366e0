//! What is kept of one run of a campaign: a line of `results.jsonl`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::caught::Panic;
use super::strategy::Method;
use crate::check::{Class, Strike, Verdict};
use crate::observe::JobEnd;
use crate::run::Outcome;

/// How bad a run was, or the worst of many.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// All checks hold.
    #[default]
    Ok,
    /// The event budget ended the run, and nothing worse is known.
    Inconclusive,
    /// Something that should happen did not.
    Liveness,
    /// Something happened that must not.
    Safety,
    /// An invariant of ours broke.
    Internal,
}

/// What is kept of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its number in the campaign, from 0.
    pub item: u64,
    /// The seed of the run, and of its scenario unless that was given.
    pub seed: u64,
    /// The scenario that was given, by its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<usize>,
    /// How its scenario was made.
    pub method: Method,
    /// The seed whose scenario was changed, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<u64>,
    /// How bad.
    pub severity: Severity,
    /// What groups failures of one cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// The violation in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Digest of all observations; a run that broke off has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
    /// Kernel events.
    pub events: u64,
    /// How the job ended, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<End>,
    /// Checkpoints: triggered, completed, failed.
    pub checkpoints: [u64; 3],
    /// Executions that began from a checkpoint.
    pub restores: u64,
    /// Faults that were scripted, and that took effect.
    pub faults: [u64; 2],
    /// Situations that were seen, and how often.
    pub situations: BTreeMap<String, u64>,
    /// What faults have struck: which kind, after which step, in which state.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub struck: BTreeSet<String>,
    /// Checks that judged nothing.
    pub vacuous: Vec<String>,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are those of `JobEnd`")]
pub enum End {
    Finished,
    Failed,
    Stopped,
}

impl From<JobEnd> for End {
    fn from(end: JobEnd) -> Self {
        match end {
            JobEnd::Finished => Self::Finished,
            JobEnd::Failed => Self::Failed,
            // By the end of the run's time, or by a user.
            JobEnd::Stopped | JobEnd::StoppedWithSavepoint | JobEnd::Canceled => Self::Stopped,
        }
    }
}

/// Which run a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its number in the campaign, from 0.
    pub item: u64,
    /// The seed.
    pub seed: u64,
    /// The scenario that was given, by its number.
    pub scenario: Option<usize>,
    /// How its scenario is made.
    pub method: Method,
}

impl Row {
    /// The row of a run that came to its end.
    pub(super) fn of(item: Item, parent: Option<u64>, outcome: &Outcome) -> Self {
        let checkpoints = &outcome.statistics.checkpoints;
        let first = outcome.violations.first();
        let vacuous = outcome.findings.iter().filter(|finding| finding.judged == 0);
        let struck: BTreeSet<u32> = outcome.faults_injected.iter().copied().collect();
        let seen = outcome.situations.iter().filter(|(_, count)| *count > 0);
        Self {
            severity: Severity::of(outcome),
            signature: first.map(|violation| violation.signature()),
            message: first.map(ToString::to_string),
            digest: Some(outcome.digest.to_string()),
            virtual_ms: outcome.virtual_time.as_millis(),
            events: outcome.events,
            job: outcome.job_end.map(End::from),
            checkpoints: [
                checkpoints.triggered,
                checkpoints.completed,
                checkpoints.failed.values().sum(),
            ],
            restores: outcome.statistics.restores,
            faults: [outcome.plan.scenario.faults.len() as u64, struck.len() as u64],
            situations: seen.map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            struck: outcome.struck.iter().filter_map(|strike| words(outcome, strike)).collect(),
            vacuous: vacuous.map(|finding| finding.check.to_owned()).collect(),
            ..Self::empty(item, parent)
        }
    }

    /// The row of a run that broke off, with so many faults scripted.
    pub(super) fn of_panic(item: Item, parent: Option<u64>, faults: u64, panic: &Panic) -> Self {
        Self {
            severity: Severity::Internal,
            signature: Some(panic.signature()),
            message: Some(panic.to_string()),
            faults: [faults, 0],
            ..Self::empty(item, parent)
        }
    }

    fn empty(item: Item, parent: Option<u64>) -> Self {
        Self {
            item: item.item,
            seed: item.seed,
            scenario: item.scenario,
            method: item.method,
            parent,
            severity: Severity::Ok,
            signature: None,
            message: None,
            digest: None,
            virtual_ms: 0,
            events: 0,
            job: None,
            checkpoints: [0; 3],
            restores: 0,
            faults: [0; 2],
            situations: BTreeMap::new(),
            struck: BTreeSet::new(),
            vacuous: Vec::new(),
        }
    }

    /// Which run it is about.
    pub fn about(&self) -> Item {
        Item { item: self.item, seed: self.seed, scenario: self.scenario, method: self.method }
    }

    /// What harm was done first, if any: a signature is check, class and rule.
    pub fn class(&self) -> Option<Class> {
        let name = self.signature.as_ref()?.split('/').nth(1)?;
        Class::ALL.into_iter().find(|class| class.name() == name)
    }

    /// The row as a line, without a line break.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a row has only strings for keys")
    }
}

impl Severity {
    /// How bad a run was.
    pub fn of(outcome: &Outcome) -> Self {
        match outcome.verdict {
            Verdict::Ok => Self::Ok,
            Verdict::Liveness if outcome.is_inconclusive() => Self::Inconclusive,
            Verdict::Liveness => Self::Liveness,
            Verdict::Safety => Self::Safety,
        }
    }
}

/// What a scripted fault has struck, in words: `crash_task after F2, one pending`.
fn words(outcome: &Outcome, strike: &Strike) -> Option<String> {
    let fault = outcome.plan.scenario.faults.get(strike.fault as usize)?;
    let after = strike.after.map_or("nothing", |step| step.name());
    let pending = ["none", "one", "several"][usize::from(strike.pending)];
    let recovering = if strike.recovering { ", recovering" } else { "" };
    Some(format!("{} after {after}, {pending} pending{recovering}", fault.what.name()))
}
