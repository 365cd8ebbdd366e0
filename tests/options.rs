//! Nothing is parsed and ignored: every value that a scenario may give changes what happens, or
//! how it is judged.
//!
//! The values come from the table that the loader and the schema are made of, so a new option is
//! tested by being there.

use std::collections::BTreeSet;
use std::sync::Arc;

use cutline_sim::check::Verdict;
use cutline_sim::kernel::digest::Fingerprint;
use cutline_sim::run::Simulation;
use cutline_sim::scenario::{FieldProbe, Override, base, load, probes};

/// Text for people: the only values that no run depends on.
const FOR_PEOPLE: [&str; 2] = ["title", "why"];

/// Digest and verdict of the base scenario with these overrides.
fn judge(path: &str, overrides: &[Override]) -> (Fingerprint, Verdict) {
    let loaded = load(base().as_bytes(), "base", overrides);
    let scenario = loaded.unwrap_or_else(|found| panic!("{path}: {found}")).scenario;
    let simulation = Simulation::new(Arc::new(scenario), 1).expect("what is loaded can run");
    let outcome = simulation.run();
    (outcome.digest, outcome.verdict)
}

fn changes_nothing(probe: &FieldProbe) -> bool {
    let [one, other] = [0, 1].map(|which| judge(&probe.path, &probe.overrides(which)));
    one == other
}

#[test]
fn every_option_changes_a_digest_or_a_verdict() {
    let probes = probes();
    assert!(probes.len() > 100, "{}", probes.len());
    let ignored: BTreeSet<String> =
        probes.into_iter().filter(changes_nothing).map(|probe| probe.path).collect();
    assert_eq!(ignored, FOR_PEOPLE.map(str::to_owned).into());
}
