//! Strategies for `proptest`: random jobs, workloads and crash schedules that shrink.
//!
//! ```
//! use std::sync::Arc;
//! use cutline_sim::run::Simulation;
//! use cutline_sim::strategies::{Shape, runs};
//! use proptest::prelude::*;
//!
//! proptest! {
//!     #![proptest_config(ProptestConfig::with_cases(8))]
//!     # /*
//!     #[test]
//!     # */
//!     fn my_job_stays_exactly_once(run in runs(Shape::default())) {
//!         let scenario = Arc::new(run.scenario());
//!         let outcome = Simulation::new(scenario, run.seed).unwrap().run();
//!         prop_assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
//!     }
//! }
//! # my_job_stays_exactly_once();
//! ```
//!
//! A drawn [`Run`] is small numbers, not a scenario: its `Debug` is one line, and to shrink it is to
//! take away faults, records, layers and subtasks. What is left keeps its meaning, since every part
//! of a scenario is drawn from a stream of its own.

use std::fmt;

use proptest::prelude::*;

use crate::scenario::generate::{Options, Seeds, generate_with};
use crate::scenario::model::Scenario;

/// How large what is drawn may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The bounds of the generator.
    pub options: Options,
    /// Seeds of jobs: every seed below is another topology.
    pub jobs: u64,
}

impl Default for Shape {
    fn default() -> Self {
        let options = Options { records_max: 2_000, unbounded: false, ..Options::default() };
        Self { options, jobs: 1 << 20 }
    }
}

/// A random run: a job with its workload, a world, faults, and the seed of the simulation.
#[derive(Clone, PartialEq, Eq)]
pub struct Run {
    /// The bounds within which the parts were drawn.
    pub options: Options,
    /// Where the parts of the scenario come from.
    pub seeds: Seeds,
    /// The faults that are left, by their place in the plan.
    pub faults: Vec<bool>,
    /// The seed of the simulation.
    pub seed: u64,
}

impl Run {
    /// The scenario.
    pub fn scenario(&self) -> Scenario {
        let mut scenario = generate_with(&self.options, self.seeds);
        let mut kept = self.faults.iter();
        scenario.faults.retain(|_| kept.next().copied().unwrap_or(false));
        scenario
    }
}

/// One line, enough to make the run again.
impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { options, seeds, faults, seed } = self;
        let kept: Vec<usize> =
            faults.iter().enumerate().filter(|(_, kept)| **kept).map(|(index, _)| index).collect();
        write!(
            f,
            "run {seed} of job {} in world {} with faults {kept:?} of {} \
             ({} sources, {} layers, {} subtasks, {} records at most)",
            seeds.job,
            seeds.world,
            seeds.faults,
            options.sources_max,
            options.layers_max,
            options.parallelism_max,
            options.records_max
        )
    }
}

/// Random topologies with their workloads, as generator bounds and the seed of the job.
pub fn jobs(shape: Shape) -> impl Strategy<Value = (Options, u64)> {
    let most = shape.options;
    let bounds = (
        1..=most.sources_max.max(1),
        1..=most.layers_max.max(1),
        1..=most.parallelism_max.max(1),
        most.records_max.min(100)..=most.records_max,
    );
    (bounds, 0..shape.jobs.max(1)).prop_map(
        move |((sources_max, layers_max, parallelism_max, records_max), job)| {
            (Options { sources_max, layers_max, parallelism_max, records_max, ..most }, job)
        },
    )
}

/// Random crash schedules: the seed of a plan, and which of its faults are left.
pub fn faults(faults_max: u32) -> impl Strategy<Value = (u64, Vec<bool>)> {
    // A false shrinks from a true: `any::<bool>` does that, and the length stays, so that the
    // faults that are left are the same ones.
    let kept = proptest::collection::vec(any::<bool>(), faults_max as usize);
    (any::<u32>().prop_map(u64::from), kept)
}

/// Random runs: jobs × worlds × crash schedules.
pub fn runs(shape: Shape) -> impl Strategy<Value = Run> {
    let world = any::<u32>().prop_map(u64::from);
    (jobs(shape), world, faults(shape.options.faults_max)).prop_map(
        |((options, job), world, (faults, kept))| Run {
            options,
            seeds: Seeds { job, world, faults },
            faults: kept,
            seed: world,
        },
    )
}
