//! Who sets the interval, and what comes of it.

use cutline::time::{VirtualDuration, VirtualTime};
use cutline_sim::observe::Observation;
use cutline_sim::run::Outcome;

use crate::support::{finished, runs};

fn triggered(outcome: &Outcome) -> Vec<VirtualTime> {
    let trace = outcome.trace.iter().flatten();
    let triggered = trace.filter(|(_, it)| matches!(it, Observation::Triggered { .. }));
    triggered.map(|(at, _)| *at).collect()
}

#[test]
fn checkpoints_are_rarer_during_backlog() {
    let over = VirtualTime::from_millis(3_000);
    for outcome in finished("backlog-interval.json", &[], 0..4) {
        let all = triggered(&outcome);
        let during = all.iter().filter(|at| **at < over).count();
        assert!(during <= 3, "seed {}: {during} in 3 s", outcome.seed);
        assert!(all.len() > during + 10, "seed {}: {}", outcome.seed, all.len());
    }
    // Flink sets the timer at a start all the same: the first checkpoint comes, and no other.
    let none = "checkpointing.policy.during_backlog=0 s";
    for outcome in finished("backlog-interval.json", &[none], 0..4) {
        let all = triggered(&outcome);
        let during = all.iter().filter(|at| **at < over).count();
        assert!(during <= 2, "seed {}: {during} with one restart", outcome.seed);
        assert!(all.len() > during + 10, "seed {}", outcome.seed);
    }
}

/// From the first checkpoint on, and after each restart.
#[test]
fn an_interval_by_formula_takes_the_place_of_the_one_that_is_set() {
    for (kind, at_most) in [("young", 60), ("daly", 61), ("exact", 61)] {
        let kind = format!("checkpointing.policy.kind={kind}");
        for outcome in runs("young-interval.json", &[&kind], 0..3) {
            let (mut began, mut first) = (None, 0);
            for (at, observation) in outcome.trace.iter().flatten() {
                match observation {
                    Observation::RestoreChosen { .. } => began = Some(*at),
                    Observation::Triggered { .. } => {
                        if let Some(began) = began.take() {
                            first += 1;
                            // Tasks take some seconds to come to run.
                            let most = VirtualDuration::from_secs(at_most + 10);
                            assert!(at.since(began) < most, "{kind}, seed {}", outcome.seed);
                        }
                    }
                    _ => {}
                }
            }
            assert!(first > 1, "there were restarts");
            let all = triggered(&outcome);
            let hours = VirtualDuration::from_secs(3 * 3_600);
            let about = hours.0 / VirtualDuration::from_secs(at_most).0;
            assert!(
                (about * 8 / 10..about * 11 / 10).contains(&(all.len() as u64)),
                "{}",
                all.len()
            );
        }
    }
}
