//! Who sets the interval, and what comes of it.

use std::sync::{Arc, Mutex};

use cutline::time::{VirtualDuration, VirtualTime};
use cutline::trigger::policy::{Share, TriggerPolicy};
use cutline_sim::check::Verdict;
use cutline_sim::observe::Observation;
use cutline_sim::run::{Outcome, Simulation};

use crate::support::{finished, runs, scenario, situation};

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

/// Notes what it is told of failures.
#[derive(Debug)]
struct Listening(Arc<Mutex<Vec<Share>>>);

impl TriggerPolicy for Listening {
    fn started(&mut self, now: VirtualTime, delay: VirtualDuration) -> VirtualTime {
        now + delay
    }

    fn fired(&mut self, _now: VirtualTime, due: VirtualTime) -> Option<VirtualTime> {
        Some(due + VirtualDuration::from_millis(250))
    }

    fn restored(&mut self, _now: VirtualTime, share: Share) {
        self.0.lock().expect("nobody panics with it").push(share);
    }
}

/// Four regions of three subtasks: a task fails, then a machine that has two of them. The others repeat
/// nothing.
#[test]
fn a_policy_hears_how_much_of_the_job_has_failed() {
    let whole = Share { subtasks: 12, of: 12 };
    let region = Share { subtasks: 3, of: 12 };
    for (strategy, failures) in [("region", vec![region; 3]), ("full", vec![whole; 2])] {
        let change = format!("cluster.failover_strategy={strategy}");
        for seed in 0..4 {
            let heard = Arc::new(Mutex::new(Vec::new()));
            let listening = {
                let heard = Arc::clone(&heard);
                move || -> Box<dyn TriggerPolicy> { Box::new(Listening(Arc::clone(&heard))) }
            };
            let scenario = scenario("regional-restart.json", &[&change]);
            let simulation = Simulation::new(scenario, seed).expect("it can run");
            let outcome = simulation.policy(Arc::new(listening)).run();
            assert_eq!(outcome.verdict, Verdict::Ok, "{strategy}, seed {seed}");
            let heard = heard.lock().expect("nobody panics with it");
            let expected: Vec<Share> = std::iter::once(whole).chain(failures.clone()).collect();
            assert_eq!(*heard, expected, "{strategy}, seed {seed}");
        }
    }
}

/// Situations of policies: each is seen where it should be, and nowhere else.
#[test]
fn what_a_policy_meets_is_counted() {
    let long = ["storage.latency=900 ms", "checkpointing.policy.during_backlog=800 ms"];
    let rows: [(&str, &str, &[&str], &str); 3] = [
        ("checkpoint during a backlog", "backlog-interval.json", &[], "young-interval.json"),
        (
            "backlog over while a checkpoint is pending",
            "backlog-interval.json",
            &long,
            "young-interval.json",
        ),
        ("interval measured by a failure", "adaptive-interval.json", &[], "young-interval.json"),
    ];
    for (name, file, changes, other) in rows {
        let seen: u64 = runs(file, changes, 0..4).map(|it| situation(&it, name)).sum();
        assert!(seen > 0, "{name}");
        let elsewhere: u64 = runs(other, &[], 0..1).map(|it| situation(&it, name)).sum();
        assert_eq!(elsewhere, 0, "{name}");
    }
    // It was measured, and nothing has failed yet.
    let calm = "limits.until=10min";
    for outcome in runs("adaptive-interval.json", &[calm, "failures.mtbf=1000 d"], 0..1) {
        assert_eq!(situation(&outcome, "interval measured by a failure"), 0);
    }
}
