//! Many runs on several threads: which there are, and what comes of them.
//!
//! Results are merged in the order of the campaign, so what comes out is the same for one thread
//! and for many, for one machine and for many, in one go and after an interruption.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU64;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use cutline::defect::Defects;
use rayon::prelude::*;

use super::caught::catch;
use super::row::{Item, Row};
use super::strategy::{Method, ROUND, Strategy, parent};
use super::summary::Summary;
use crate::run::Simulation;
use crate::scenario::Scenario;
use crate::scenario::generate::{
    Aim, Options, Seeds, aimed, by_priorities, changed, generate_with, placed,
};

/// Runs between two looks at the results; also what is held in memory at a time.
const CHUNK: usize = 512;

/// A scenario that was given, with the name of its file.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// As the user gave it.
    pub name: String,
    /// What is run with every seed.
    pub scenario: Arc<Scenario>,
}

/// Which runs there are.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The seeds.
    pub seeds: Range<u64>,
    /// What is done with them, unless scenarios are given.
    pub strategy: Strategy,
    /// Bounds of what is drawn.
    pub options: Options,
    /// Scenarios to run with each seed; none: they are drawn.
    pub given: Vec<Given>,
    /// What is planted.
    pub defects: Defects,
}

/// The part of a campaign that one process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Which part, from 1.
    pub number: u64,
    /// How many parts there are.
    pub of: u64,
}

impl Partition {
    /// All of it.
    pub const ALL: Self = Self { number: 1, of: 1 };

    fn has(self, number: u64) -> bool {
        number % self.of == self.number - 1
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

/// What a campaign asks and tells while it goes on, from any of its threads.
pub trait Watcher: Sync {
    /// Whether to begin another run.
    fn goes_on(&self) -> bool;

    /// A run has ended.
    fn ended(&self, row: &Row);
}

/// A watcher that lets it run.
#[derive(Clone, Copy, Debug)]
pub struct Unwatched;

impl Watcher for Unwatched {
    fn goes_on(&self) -> bool {
        true
    }

    fn ended(&self, _row: &Row) {}
}

/// What came of a campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Results {
    /// What was found and covered.
    pub summary: Summary,
    /// Whether all runs were done; if not, the watcher ended it.
    pub complete: bool,
}

/// Runs that depend on nothing, and runs that depend on what came of those.
struct Round {
    first: Vec<Item>,
    then: Vec<Item>,
}

impl Campaign {
    /// Random scenarios of these seeds.
    pub fn of_seeds(seeds: Range<u64>) -> Self {
        Self {
            seeds,
            strategy: Strategy::default(),
            options: Options::default(),
            given: Vec::new(),
            defects: Defects::none(),
        }
    }

    /// Number of runs.
    pub fn len(&self) -> u64 {
        let seeds = self.seeds.end.saturating_sub(self.seeds.start);
        seeds.saturating_mul(self.given.len().max(1) as u64)
    }

    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of runs of a partition.
    pub fn len_of(&self, partition: Partition) -> u64 {
        if partition == Partition::ALL {
            return self.len();
        }
        (0..self.len()).filter(|item| self.is_in(partition, self.item(*item))).count() as u64
    }

    /// One of the runs.
    pub fn item(&self, item: u64) -> Item {
        if let Some(scenarios) = NonZeroU64::new(self.given.len() as u64) {
            let (seed, scenario) = (self.seeds.start + item / scenarios, item % scenarios);
            return Item { item, seed, scenario: Some(scenario as usize), method: Method::Given };
        }
        let seed = self.seeds.start + item;
        Item { item, seed, scenario: None, method: self.strategy.method(seed) }
    }

    /// Whether a partition has a run: runs are dealt out one by one, or round by round where they
    /// depend on each other.
    pub fn is_in(&self, partition: Partition, item: Item) -> bool {
        partition.has(if self.has_rounds() { item.seed / ROUND } else { item.item })
    }

    fn has_rounds(&self) -> bool {
        self.given.is_empty() && self.strategy.has_rounds()
    }

    /// The scenario of a run that was done.
    pub fn scenario(&self, row: &Row) -> Arc<Scenario> {
        self.made(row.about(), row.parent)
    }

    /// The scenario of a run, and of the run that it is a change of.
    fn made(&self, item: Item, parent: Option<u64>) -> Arc<Scenario> {
        let seed = item.seed;
        if let Some(given) = item.scenario.and_then(|number| self.given.get(number)) {
            return Arc::clone(&given.scenario);
        }
        let drawn = |seed| generate_with(&self.options, Seeds::all(seed));
        Arc::new(match (item.method, parent) {
            (Method::Given | Method::Swarm, _) | (Method::Feedback, None) => drawn(seed),
            (Method::Placement, _) => {
                let (round, position) = (seed / ROUND, seed % ROUND);
                placed(&self.options, Aim { base: round * ROUND, round, position }, seed)
            }
            (Method::Aimed, _) => aimed(&self.options, seed),
            (Method::Pct, _) => by_priorities(&self.options, seed),
            (Method::Feedback, Some(parent)) => {
                let item = Item { seed: parent, method: self.strategy.method(parent), ..item };
                changed(&self.made(item, None), seed)
            }
        })
    }

    /// Runs a partition on so many threads (`None`: as many as the machine has). Runs that are
    /// `known` from before are not repeated.
    ///
    /// # Errors
    /// The threads cannot be started.
    pub fn run(
        &self,
        partition: Partition,
        threads: Option<usize>,
        known: &BTreeMap<u64, Row>,
        watcher: &dyn Watcher,
    ) -> Result<Results, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0)).build()?;
        let mut results = Results { summary: Summary::new(), complete: true };
        let mut next = 0;
        while next < self.len() && results.complete {
            let (rounds, after) = self.chunk(partition, next);
            next = after;
            let all = pool.install(|| {
                let each = rounds.par_iter().map(|round| self.run_round(round, known, watcher));
                each.collect::<Vec<_>>()
            });
            let mut rows: Vec<Row> = Vec::new();
            for (round, complete) in all {
                results.complete &= complete;
                rows.extend(round);
            }
            // With several scenarios a round has runs of several items in turn.
            rows.sort_by_key(|row| row.item);
            for row in &rows {
                results.summary.add(row, &self.scenario(row));
            }
        }
        Ok(results)
    }

    /// Runs it on this thread alone and shows each run in the order of the campaign, until told to
    /// stop.
    pub fn in_order(&self, mut show: impl FnMut(&Row) -> ControlFlow<()>) {
        let mut round: Vec<Row> = Vec::new();
        for item in (0..self.len()).map(|item| self.item(item)) {
            if self.has_rounds() && item.seed % ROUND == 0 {
                round.clear();
            }
            let parent = match item.method {
                Method::Feedback => parent(&round, item.seed),
                Method::Given | Method::Swarm | Method::Placement | Method::Aimed | Method::Pct => {
                    None
                }
            };
            let row = self.run_one(item, parent);
            if show(&row).is_break() {
                return;
            }
            // Only the first runs of a round have others depend on them.
            if self.has_rounds() && item.method != Method::Feedback {
                round.push(row);
            }
        }
    }

    /// About a chunk of the partition's runs from `next` on, and where the next one begins.
    fn chunk(&self, partition: Partition, mut next: u64) -> (Vec<Round>, u64) {
        let mut rounds: Vec<Round> = Vec::new();
        let (mut size, mut last) = (0, None);
        while next < self.len() {
            let item = self.item(next);
            let number = if self.has_rounds() { item.seed / ROUND } else { 0 };
            if size >= CHUNK && !(self.has_rounds() && last == Some(number)) {
                break;
            }
            next += 1;
            if !self.is_in(partition, item) {
                continue;
            }
            size += 1;
            if last != Some(number) {
                rounds.push(Round { first: Vec::new(), then: Vec::new() });
                last = Some(number);
            }
            let round = rounds.last_mut().expect("one was pushed for this number");
            let part = match item.method {
                Method::Feedback => &mut round.then,
                Method::Given | Method::Swarm | Method::Placement | Method::Aimed | Method::Pct => {
                    &mut round.first
                }
            };
            part.push(item);
        }
        (rounds, next)
    }

    /// The rows of a round, and whether all of it was done.
    fn run_round(
        &self,
        round: &Round,
        known: &BTreeMap<u64, Row>,
        watcher: &dyn Watcher,
    ) -> (Vec<Row>, bool) {
        let one = |item: &Item, parent: Option<u64>| -> Option<Row> {
            if let Some(row) = known.get(&item.item) {
                return Some(row.clone());
            }
            watcher.goes_on().then(|| {
                let row = self.run_one(*item, parent);
                watcher.ended(&row);
                row
            })
        };
        let first: Vec<Option<Row>> = round.first.par_iter().map(|item| one(item, None)).collect();
        let mut rows: Vec<Row> = first.into_iter().flatten().collect();
        if rows.len() < round.first.len() {
            return (rows, false);
        }
        let then = round.then.par_iter().map(|item| one(item, parent(&rows, item.seed)));
        let then: Vec<Option<Row>> = then.collect();
        let complete = then.iter().all(Option::is_some);
        rows.extend(then.into_iter().flatten());
        (rows, complete)
    }

    fn run_one(&self, item: Item, parent: Option<u64>) -> Row {
        let scenario = self.made(item, parent);
        let faults = scenario.faults.len() as u64;
        let run = || {
            let simulation = Simulation::new(scenario, item.seed);
            simulation.expect("what was loaded or drawn can run").defects(self.defects).run()
        };
        match catch(run) {
            Ok(outcome) => Row::of(item, parent, &outcome),
            Err(panic) => Row::of_panic(item, parent, faults, &panic),
        }
    }
}
