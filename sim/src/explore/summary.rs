//! What many runs found and covered.

use std::collections::BTreeMap;

use serde::Serialize;

use super::row::{End, Row, Severity};
use super::strategy::Method;
use crate::check::Situation;
use crate::scenario::Scenario;
use crate::scenario::features::{Feature, Histogram};

/// Failures with one signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// What they have in common.
    pub signature: String,
    /// How bad.
    pub severity: Severity,
    /// How many runs.
    pub count: u64,
    /// How many of them each method found.
    pub methods: BTreeMap<Method, u64>,
    /// The run with the fewest events, and the first of those.
    #[serde(skip)]
    pub smallest: Row,
    /// Its seed.
    pub seed: u64,
    /// Its kernel events.
    pub events: u64,
    /// The seeds of a few more.
    pub more: Vec<u64>,
    /// What the smallest says.
    pub message: String,
}

/// Runs and failures of one method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Runs.
    pub runs: u64,
    /// Runs that broke a promise.
    pub failures: u64,
}

/// What many runs found and covered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Runs.
    pub runs: u64,
    /// The worst of them.
    pub worst: Severity,
    /// Failures by signature.
    pub groups: BTreeMap<String, Group>,
    /// What each method did.
    pub methods: BTreeMap<Method, Share>,
    /// Virtual time of all runs, in milliseconds.
    pub virtual_ms: u64,
    /// Kernel events of all runs.
    pub events: u64,
    /// Checkpoints of all runs: triggered, completed, failed.
    pub checkpoints: [u64; 3],
    /// Executions that began from a checkpoint.
    pub restores: u64,
    /// Faults that were scripted, and those that took effect.
    pub faults: [u64; 2],
    /// In how many runs a situation was seen; every one that there is.
    pub situations: BTreeMap<String, u64>,
    /// In how many runs a check judged nothing.
    pub vacuous: BTreeMap<String, u64>,
    /// Jobs that finished, failed, were stopped, and that were cut off by the end of the run.
    pub ends: [u64; 4],
    /// What the scenarios had.
    pub histogram: Histogram,
    /// A number made of the digests of all runs, in their order.
    pub digest: u64,
}

const SEEDS_SHOWN: usize = 8;

impl Summary {
    /// Nothing yet.
    pub fn new() -> Self {
        let situations = Situation::ALL.iter().map(|it| (it.name().to_owned(), 0)).collect();
        Self { situations, ..Self::default() }
    }

    /// Adds a run of a scenario; in the order of the campaign.
    pub fn add(&mut self, row: &Row, scenario: &Scenario) {
        self.runs += 1;
        self.worst = self.worst.max(row.severity);
        self.histogram.add(scenario);
        for (sum, add) in self.faults.iter_mut().zip(row.faults) {
            *sum += add;
        }
        let share = self.methods.entry(row.method).or_default();
        share.runs += 1;
        share.failures += u64::from(row.signature.is_some());
        if let Some(digest) = &row.digest {
            self.digest = xxhash_rust::xxh3::xxh3_64_with_seed(digest.as_bytes(), self.digest);
            self.add_run(row);
        }
        if let Some(signature) = &row.signature {
            self.add_failure(row, signature);
        }
    }

    fn add_run(&mut self, row: &Row) {
        self.virtual_ms += row.virtual_ms;
        self.events += row.events;
        for (sum, add) in self.checkpoints.iter_mut().zip(row.checkpoints) {
            *sum += add;
        }
        self.restores += row.restores;
        for (name, count) in &row.situations {
            *self.situations.entry(name.clone()).or_default() += u64::from(*count > 0);
        }
        for check in &row.vacuous {
            *self.vacuous.entry(check.clone()).or_default() += 1;
        }
        let end = match row.job {
            Some(End::Finished) => 0,
            Some(End::Failed) => 1,
            Some(End::Stopped) => 2,
            None => 3,
        };
        self.ends[end] += 1;
    }

    fn add_failure(&mut self, row: &Row, signature: &str) {
        let message = row.message.clone().unwrap_or_default();
        let group = self.groups.entry(signature.to_owned()).or_insert_with(|| Group {
            signature: signature.to_owned(),
            severity: row.severity,
            count: 0,
            methods: BTreeMap::new(),
            smallest: row.clone(),
            seed: row.seed,
            events: row.events,
            more: Vec::new(),
            message: message.clone(),
        });
        group.count += 1;
        group.severity = group.severity.max(row.severity);
        *group.methods.entry(row.method).or_default() += 1;
        let mut other = row.seed;
        if row.events < group.events {
            other = group.seed;
            group.smallest = row.clone();
            (group.seed, group.events, group.message) = (row.seed, row.events, message);
        }
        if group.count > 1 && group.more.len() < SEEDS_SHOWN {
            group.more.push(other);
        }
    }

    /// Features that fewer than one scenario in a hundred had.
    pub fn rare(&self) -> Vec<(Feature, u64)> {
        self.histogram.rare()
    }

    /// Situations that no run has reached.
    pub fn never_reached(&self) -> impl Iterator<Item = &str> {
        let never = self.situations.iter().filter(|(_, count)| **count == 0);
        never.map(|(name, _)| name.as_str())
    }
}
