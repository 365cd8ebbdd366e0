//! Runs of the scenarios of the repository, and what was observed in them.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use cutline::time::VirtualTime;
use cutline_sim::check::Verdict;
use cutline_sim::observe::{JobEnd, Observation};
use cutline_sim::run::{Outcome, Simulation};
use cutline_sim::scenario::{Override, Scenario, load, read_file};

/// The text of a scenario of the repository.
pub(crate) fn file(name: &str) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name);
    read_file(&file).expect("readable")
}

/// A scenario of the repository, changed so.
pub(crate) fn scenario(name: &str, changes: &[&str]) -> Arc<Scenario> {
    let overrides: Vec<Override> =
        changes.iter().map(|text| Override::parse(text).expect("an override")).collect();
    let text = file(name);
    let loaded = load(&text, name, &overrides).unwrap_or_else(|found| panic!("{found}"));
    Arc::new(loaded.scenario)
}

/// The traced runs of a scenario, changed so; all checks hold.
pub(crate) fn runs(
    name: &str,
    changes: &[&str],
    seeds: Range<u64>,
) -> impl Iterator<Item = Outcome> + use<> {
    let scenario = scenario(name, changes);
    seeds.map(move |seed| {
        let simulation = Simulation::new(Arc::clone(&scenario), seed).expect("it can run");
        let outcome = simulation.trace(true).run();
        assert_eq!(outcome.verdict, Verdict::Ok, "seed {seed}: {:?}", outcome.violations);
        outcome
    })
}

/// The same of a job that finishes.
pub(crate) fn finished(
    name: &str,
    changes: &[&str],
    seeds: Range<u64>,
) -> impl Iterator<Item = Outcome> + use<> {
    runs(name, changes, seeds).inspect(|outcome| {
        assert_eq!(outcome.job_end, Some(JobEnd::Finished), "seed {}", outcome.seed);
    })
}

pub(crate) fn observations(outcome: &Outcome) -> impl Iterator<Item = &Observation> {
    outcome.trace.iter().flatten().map(|(_, observation)| observation)
}

/// How often a situation was seen.
pub(crate) fn situation(outcome: &Outcome, name: &str) -> u64 {
    let found = outcome.situations.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no situation is called {name}")).1
}

/// How many observations of a kind there are.
pub(crate) fn count(outcome: &Outcome, is: impl Fn(&Observation) -> bool) -> usize {
    observations(outcome).filter(|observation| is(observation)).count()
}

/// When the first observation of a kind was made.
pub(crate) fn first(outcome: &Outcome, is: impl Fn(&Observation) -> bool) -> Option<VirtualTime> {
    let trace = outcome.trace.as_ref().expect("support keeps it");
    trace.iter().find(|(_, observation)| is(observation)).map(|(at, _)| *at)
}

/// Records that became visible with a commit.
pub(crate) fn committed<'o>(observations: impl Iterator<Item = &'o Observation>) -> u64 {
    let contents = observations.map(|observation| match observation {
        Observation::Committed { contents, .. } => contents.count,
        _ => 0,
    });
    contents.sum()
}

/// Records that the sinks show in the end.
pub(crate) fn visible(outcome: &Outcome) -> u64 {
    outcome.shown.iter().map(|shown| shown.contents.count).sum()
}
