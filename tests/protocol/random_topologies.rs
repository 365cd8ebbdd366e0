//! Random jobs in random worlds under random faults: all checks hold, the same seed is the same
//! run, and faults change nothing that the outside sees.

use std::collections::BTreeMap;
use std::sync::Arc;

use cutline::config::Scheme;
use cutline::operator::Fingerprint;
use cutline_sim::explore::{Campaign, Partition, Strategy, Summary, Unwatched};
use cutline_sim::observe::JobEnd;
use cutline_sim::run::{Outcome, Simulation};
use cutline_sim::scenario::generate::{Options, Seeds, generate, generate_with};
use cutline_sim::scenario::model::{External, Fault, FaultKind, Scenario};

/// CI runs more of them with `cutline campaign`.
const SEEDS: u64 = 300;

fn run(scenario: Scenario, seed: u64, trace: bool) -> Outcome {
    let simulation = Simulation::new(Arc::new(scenario), seed).expect("what is drawn can run");
    simulation.trace(trace).run()
}

fn campaign(threads: usize) -> Summary {
    let campaign = Campaign { strategy: Strategy::Swarm, ..Campaign::of_seeds(0..SEEDS) };
    let results = campaign.run(Partition::ALL, Some(threads), &BTreeMap::new(), &Unwatched);
    results.expect("threads start").summary
}

#[test]
fn all_checks_hold_on_any_number_of_threads() {
    let one = campaign(1);
    let found: Vec<String> = one
        .groups
        .values()
        .map(|group| {
            let (count, seed, text) = (group.count, group.seed, &group.message);
            format!("{count} × {}: seed {seed}: {text}", group.signature)
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert_eq!(one, campaign(4));
}

/// A suite in which nothing happens holds as well.
#[test]
fn the_odd_paths_are_walked() {
    let summary = campaign(2);
    for name in [
        "checkpoint declined",
        "checkpoint expired",
        "pending checkpoint subsumed",
        "restore from a checkpoint",
        "recovery during recovery",
        "switch to unaligned",
        "in-flight data restored",
        "leader changed",
    ] {
        let count = summary.situations.get(name).copied();
        assert!(count > Some(0), "{name}: {count:?} of {:?}", summary.situations);
    }
    let [scripted, injected] = summary.faults;
    assert!(injected * 3 > scripted, "{injected} of {scripted} faults took effect");
}

#[test]
fn a_seed_is_a_run_traced_or_not() {
    for seed in 0..40 {
        let [first, again] = [false, false].map(|trace| run(generate(seed), seed, trace));
        let traced = run(generate(seed), seed, true);
        assert_eq!(first.digest, again.digest, "seed {seed}");
        assert_eq!(first.digest, traced.digest, "seed {seed}, traced");
        assert_eq!(first.events, traced.events, "seed {seed}, traced");
        let ladder = (first.ladder.clone(), first.observations);
        assert_eq!(ladder, (traced.ladder.clone(), traced.observations), "seed {seed}, traced");
    }
    let digest = |seed| run(generate(seed), seed, false).digest;
    assert_ne!(digest(0), digest(1));
}

/// What each sink shows, by name.
fn shown(outcome: &Outcome) -> BTreeMap<String, Fingerprint> {
    let job = outcome.plan.graph.job();
    let name = |operator: cutline::ids::OperatorId| job.operators()[operator.index()].name.clone();
    outcome.shown.iter().map(|shown| (name(shown.operator), shown.contents)).collect()
}

/// Whether there are faults that no protocol outlives: what was stored is gone, or a transaction is.
/// A job has to fail then rather than go on without it.
fn loses_for_good(scenario: &Scenario) -> bool {
    let damages = |fault: &Fault| matches!(fault.what, FaultKind::DamageObject(_));
    scenario.faults.iter().any(damages)
        || scenario.checkpointing.dir == Some(Scheme::Memory)
        || scenario.external.transaction_timeout.is_some()
        || scenario.external.commit_retries < External::COMMIT_RETRIES
}

/// The same job with the same workload, in other worlds under other faults, shows the same: what
/// it shows is a function of its sources alone.
#[test]
fn faults_do_not_change_the_output() {
    // In larger jobs than those of campaigns, more happens to each.
    let options = Options { exactly_once_output: true, records_max: 4_000, ..Options::default() };
    let (mut disturbed, mut written, mut given_up) = (0, 0, 0);
    for job in 0..60 {
        let calm = Options { faults_max: 0, ..options };
        let expected = run(generate_with(&calm, Seeds::all(job)), job, false);
        assert_eq!(expected.job_end, Some(JobEnd::Finished), "job {job}: {expected:?}");
        assert!(expected.faults_injected.is_empty());
        written += shown(&expected).values().map(|contents| contents.count).sum::<u64>();
        for other in [1_000 + job, 2_000 + job] {
            let seeds = Seeds { job, world: other, faults: other };
            let scenario = generate_with(&options, seeds);
            let hopeless = loses_for_good(&scenario);
            let outcome = run(scenario, other, false);
            if hopeless && outcome.job_end == Some(JobEnd::Failed) {
                given_up += 1;
                continue;
            }
            assert_eq!(outcome.job_end, Some(JobEnd::Finished), "job {job}, {seeds:?}");
            assert_eq!(shown(&outcome), shown(&expected), "job {job}, {seeds:?}");
            disturbed += u64::from(outcome.statistics.restarts > 0);
        }
    }
    assert!(disturbed > 20, "only {disturbed} runs were disturbed");
    assert!(given_up < 12, "{given_up} runs of 120 gave up");
    assert!(written > 10_000, "only {written} records were written");
}
