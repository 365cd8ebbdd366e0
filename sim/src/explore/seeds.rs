//! Random scenarios, a range of seeds at a time, on several threads.
//!
//! Results are merged in the order of the seeds, so what comes out is the same for one thread and
//! for many.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use cutline::time::VirtualTime;
use rayon::prelude::*;
use serde::Serialize;

use super::caught::catch;
use crate::check::Verdict;
use crate::kernel::digest::Fingerprint;
use crate::observe::JobEnd;
use crate::run::{Outcome, Simulation};
use crate::scenario::Scenario;
use crate::scenario::features::{Feature, Histogram};
use crate::scenario::generate::{Options, Seeds, generate_with};

/// Seeds between two reports of progress; also what is held in memory at a time.
const CHUNK: u64 = 512;

/// What came of one seed.
#[derive(Clone, Debug)]
pub struct SeedResult {
    /// The seed of scenario and run.
    pub seed: u64,
    /// What was run.
    pub scenario: Arc<Scenario>,
    /// What was found.
    pub end: SeedEnd,
}

/// How the run of a seed ended.
#[derive(Clone, Debug)]
pub enum SeedEnd {
    /// It ran to its end.
    Ran(Box<Ran>),
    /// An invariant of ours broke.
    Panicked(super::Panic),
}

/// What a campaign keeps of a run.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The answer of all checks.
    pub verdict: Verdict,
    /// Signature and text of each violation.
    pub violations: Vec<(String, String)>,
    /// Digest of all observations.
    pub digest: Fingerprint,
    /// Virtual time at the end.
    pub virtual_time: VirtualTime,
    /// Kernel events.
    pub events: u64,
    /// How the job ended.
    pub job_end: Option<JobEnd>,
    /// Situations and how often they were seen.
    pub situations: Vec<(&'static str, u64)>,
    /// Checks that judged nothing.
    pub vacuous: Vec<&'static str>,
    /// Faults that took effect.
    pub faults_injected: u64,
    /// Checkpoints: triggered, completed, failed.
    pub checkpoints: [u64; 3],
    /// Executions that began from a checkpoint.
    pub restores: u64,
}

/// Runs the scenario of one seed.
pub fn run_seed(options: &Options, seed: u64) -> SeedResult {
    let scenario = Arc::new(generate_with(options, Seeds::all(seed)));
    let run = || {
        let simulation = Simulation::new(Arc::clone(&scenario), seed);
        simulation.expect("what is generated can run").run()
    };
    let end = match catch(run) {
        Ok(outcome) => SeedEnd::Ran(Box::new(Ran::of(&outcome))),
        Err(panic) => SeedEnd::Panicked(panic),
    };
    SeedResult { seed, scenario, end }
}

impl Ran {
    fn of(outcome: &Outcome) -> Self {
        let checkpoints = &outcome.statistics.checkpoints;
        let vacuous = outcome.findings.iter().filter(|finding| finding.judged == 0);
        let injected: BTreeSet<u32> = outcome.faults_injected.iter().copied().collect();
        Self {
            verdict: outcome.verdict,
            violations: outcome
                .violations
                .iter()
                .map(|violation| (violation.signature(), violation.to_string()))
                .collect(),
            digest: outcome.digest,
            virtual_time: outcome.virtual_time,
            events: outcome.events,
            job_end: outcome.job_end,
            situations: outcome.situations.clone(),
            vacuous: vacuous.map(|finding| finding.check).collect(),
            faults_injected: injected.len() as u64,
            checkpoints: [
                checkpoints.triggered,
                checkpoints.completed,
                checkpoints.failed.values().sum(),
            ],
            restores: outcome.statistics.restores,
        }
    }
}

impl SeedResult {
    /// What groups failures of one cause; `None` if the run is fine.
    pub fn signature(&self) -> Option<&str> {
        match &self.end {
            SeedEnd::Ran(ran) => ran.violations.first().map(|(signature, _)| signature.as_str()),
            SeedEnd::Panicked(panic) => Some(&panic.place),
        }
    }

    fn severity(&self) -> Severity {
        match &self.end {
            SeedEnd::Ran(ran) => match ran.verdict {
                Verdict::Ok => Severity::Ok,
                Verdict::Liveness => Severity::Liveness,
                Verdict::Safety => Severity::Safety,
            },
            SeedEnd::Panicked(_) => Severity::Internal,
        }
    }

    fn message(&self) -> String {
        match &self.end {
            SeedEnd::Ran(ran) => {
                ran.violations.first().map_or_else(String::new, |(_, text)| text.clone())
            }
            SeedEnd::Panicked(panic) => panic.to_string(),
        }
    }
}

/// How bad the worst run was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// All checks hold.
    #[default]
    Ok,
    /// Something that should happen did not.
    Liveness,
    /// Something happened that must not.
    Safety,
    /// An invariant of ours broke.
    Internal,
}

impl Severity {
    /// The exit code of a campaign.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Liveness => 11,
            Self::Safety => 10,
            Self::Internal => 70,
        }
    }
}

/// Failures with one signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// What they have in common.
    pub signature: String,
    /// How bad.
    pub severity: Severity,
    /// How many seeds.
    pub count: u64,
    /// The smallest of them; run it to see.
    pub seed: u64,
    /// A few more.
    pub more: Vec<u64>,
    /// What the smallest says.
    pub message: String,
}

/// What many seeds found and covered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Runs.
    pub runs: u64,
    /// The worst of them.
    pub worst: Severity,
    /// Failures by signature.
    pub groups: BTreeMap<String, Group>,
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
    /// In how many runs a situation was seen.
    pub situations: BTreeMap<&'static str, u64>,
    /// In how many runs a check judged nothing.
    pub vacuous: BTreeMap<&'static str, u64>,
    /// Jobs that finished, failed, were stopped, and that were cut off by the end of the run.
    pub ends: [u64; 4],
    /// What the scenarios had.
    pub histogram: Histogram,
    /// A number made of the digests of all runs, in the order of their seeds.
    pub digest: u64,
}

const SEEDS_SHOWN: usize = 8;

impl Summary {
    /// Adds a result; in the order of the seeds.
    pub fn add(&mut self, result: &SeedResult) {
        self.runs += 1;
        self.worst = self.worst.max(result.severity());
        self.histogram.add(&result.scenario);
        self.faults[0] += result.scenario.faults.len() as u64;
        match &result.end {
            SeedEnd::Ran(ran) => self.add_run(ran),
            SeedEnd::Panicked(_) => {}
        }
        let Some(signature) = result.signature() else { return };
        let group = self.groups.entry(signature.to_owned()).or_insert_with(|| Group {
            signature: signature.to_owned(),
            severity: result.severity(),
            count: 0,
            seed: result.seed,
            more: Vec::new(),
            message: result.message(),
        });
        group.count += 1;
        if group.count > 1 && group.more.len() < SEEDS_SHOWN {
            group.more.push(result.seed);
        }
    }

    fn add_run(&mut self, ran: &Ran) {
        self.virtual_ms += ran.virtual_time.as_millis();
        self.events += ran.events;
        for (sum, add) in self.checkpoints.iter_mut().zip(ran.checkpoints) {
            *sum += add;
        }
        self.restores += ran.restores;
        self.faults[1] += ran.faults_injected;
        for (name, count) in &ran.situations {
            *self.situations.entry(name).or_default() += u64::from(*count > 0);
        }
        for check in &ran.vacuous {
            *self.vacuous.entry(check).or_default() += 1;
        }
        let end = match ran.job_end {
            Some(JobEnd::Finished) => 0,
            Some(JobEnd::Failed) => 1,
            Some(JobEnd::Stopped | JobEnd::StoppedWithSavepoint | JobEnd::Canceled) => 2,
            None => 3,
        };
        self.ends[end] += 1;
        let digest = ran.digest.to_string();
        self.digest = xxhash_rust::xxh3::xxh3_64_with_seed(digest.as_bytes(), self.digest);
    }

    /// Features that fewer than one scenario in a hundred had.
    pub fn rare(&self) -> Vec<(Feature, u64)> {
        self.histogram.rare()
    }
}

/// Runs a range of seeds on so many threads; `None`: as many as the machine has.
///
/// `watch` is told of each result, in the order of the seeds, and says whether to go on.
///
/// # Errors
/// The threads cannot be started.
pub fn run_seeds(
    options: &Options,
    seeds: Range<u64>,
    threads: Option<usize>,
    mut watch: impl FnMut(&SeedResult) -> bool,
) -> Result<Summary, rayon::ThreadPoolBuildError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0)).build()?;
    let mut summary = Summary::default();
    let mut next = seeds.start;
    while next < seeds.end {
        let chunk = next..seeds.end.min(next + CHUNK);
        next = chunk.end;
        let run = || chunk.into_par_iter().map(|seed| run_seed(options, seed)).collect();
        let results: Vec<SeedResult> = pool.install(run);
        for result in &results {
            summary.add(result);
            if !watch(result) {
                return Ok(summary);
            }
        }
    }
    Ok(summary)
}
