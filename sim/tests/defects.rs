//! Every defect that can be planted is found by its directed scenario, and the same run passes when
//! it is not planted. Together the defects make every class of violation and every check fire
//! through the real engine.
//!
//! `cargo test -p cutline-sim --test defects -- --nocapture` prints what was found.
#![cfg(feature = "defects")]

use std::collections::BTreeSet;
use std::sync::Arc;

use cutline::defect::{Defect, Defects};
use cutline_sim::check::Class;
use cutline_sim::defects::{catalogue, directed};
use cutline_sim::explain::explain;
use cutline_sim::report::{Style, explanation_json, explanation_text};
use cutline_sim::run::{Outcome, Simulation};
use cutline_sim::scenario::{Scenario, load};

const CHECKS: [&str; 8] =
    ["cut", "liveness", "order", "output", "policy", "restore", "state", "storage"];

/// A defect, what it may be found as, and where.
struct Row {
    defect: Defect,
    classes: Vec<Class>,
    scenario: Arc<Scenario>,
    seed: u64,
}

/// What the catalogue has.
fn rows() -> Vec<Row> {
    let entries = catalogue().iter().filter_map(|entry| Some((entry, entry.defect()?)));
    entries
        .map(|(entry, defect)| Row {
            defect,
            classes: entry.classes.clone(),
            scenario: Arc::new(directed::scenario(defect)),
            seed: entry.seed,
        })
        .collect()
}

/// What is found first depends on what happens next. These are found as something else than the
/// catalogue names, because another step of the same harm comes first.
fn elsewhere() -> Vec<Row> {
    let text = include_str!("data/defects/D06-files-go-after-the-decision.json");
    let scenario = load(text.as_bytes(), "D06", &[]).expect("it is valid").scenario;
    let scenario = Arc::new(scenario);
    vec![Row { defect: Defect::D06, classes: vec![Class::PrematureDelete], scenario, seed: 1 }]
}

fn run(row: &Row, defects: Defects) -> Outcome {
    let simulation = Simulation::new(Arc::clone(&row.scenario), row.seed).expect("a valid job");
    simulation.defects(defects).run()
}

fn planted(defect: Defect) -> Defects {
    Defects::plant(defect).expect("tests are built with the feature")
}

/// The first violation's check and class, or what is wrong with the row.
fn judge(row: &Row) -> Result<(&'static str, Class), String> {
    let clean = run(row, Defects::none());
    if let Some(violation) = clean.violations.first() {
        return Err(format!("not planted, and yet: {violation}"));
    }
    if clean.faults_injected.len() < row.scenario.faults.len() {
        return Err(format!("only {:?} of the faults struck", clean.faults_injected));
    }
    let broken = run(row, planted(row.defect));
    let Some(violation) = broken.violations.first() else {
        return Err(format!("not found; the job ended as {:?}", broken.job_end));
    };
    println!("{} {}: {}", row.defect, violation.signature(), violation.message);
    if row.classes.contains(&violation.class) {
        Ok((violation.check, violation.class))
    } else {
        Err(format!("found as something else: {violation}"))
    }
}

#[test]
fn each_defect_is_found_and_nothing_without_it() {
    let (mut checks, mut classes, mut wrong) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for row in rows().iter().chain(&elsewhere()) {
        match judge(row) {
            Ok((check, class)) => {
                checks.insert(check);
                classes.insert(class);
            }
            Err(what) => wrong.push(format!("{}: {what}", row.defect)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(classes, BTreeSet::from(Class::ALL), "every class has fired");
    assert_eq!(checks, BTreeSet::from(CHECKS), "every check has fired");
}

#[test]
fn every_defect_has_a_scenario() {
    let rows = rows();
    assert!(rows.iter().map(|row| row.defect).eq(Defect::ALL.iter().copied()));
    for row in &rows {
        assert_eq!(row.scenario.title, row.defect.title(), "{}", row.defect);
        assert!(!row.scenario.why.is_empty(), "{}", row.defect);
    }
}

/// A planted defect replays like anything else.
#[test]
fn a_broken_run_repeats() {
    for row in rows() {
        let digests = [(); 2].map(|()| run(&row, planted(row.defect)).digest);
        assert_eq!(digests[0], digests[1], "{}", row.defect);
    }
}

/// Whatever is found is explained: by a slice that ends where the promise was broken, is short
/// enough to be read, and tells of the checkpoint and of the faults.
#[test]
fn each_found_defect_is_explained() {
    for row in rows().iter().chain(&elsewhere()) {
        let scenario = Arc::clone(&row.scenario);
        let simulation = Simulation::new(scenario, row.seed).expect("a valid job");
        let outcome = simulation.defects(planted(row.defect)).trace(true).run();
        let name = row.defect;
        let explanation = explain(&outcome).unwrap_or_else(|| panic!("{name} is not explained"));
        println!("\n=== {name}\n{}", explanation_text(&explanation, 120, Style::PLAIN));
        let lines = &explanation.lines;
        assert!((2..=60).contains(&lines.len()), "{name}: {} lines", lines.len());
        assert!(lines.len() <= explanation.causes + 60, "{name}");
        assert!(explanation.causes <= explanation.events, "{name}");
        assert!(lines.is_sorted_by_key(|line| line.n), "{name}");
        let last = lines.last().map(|line| line.n);
        assert_eq!(last, Some(explanation.events as u64 - 1), "{name}: the end is told");
        if let Some(checkpoint) = explanation.violation.subject.checkpoint {
            let told = lines.iter().any(|line| line.checkpoint == Some(checkpoint.0));
            assert!(told, "{name}: {checkpoint} is told of");
        }
        let verdict = &explanation.verdict;
        let struck = lines.iter().filter(|line| line.event == "fault_injected");
        for fault in struck {
            let fault = fault.detail("fault").expect("it has a number");
            assert!(verdict.disturbed.contains(&format!("fault {fault} (")), "{name}: {verdict:?}");
        }
        assert!(verdict.happened.contains(&name.to_string()), "{name}: it says what is planted");
        let json: serde_json::Value =
            serde_json::from_str(&explanation_json(&explanation)).expect("JSON");
        assert_eq!(json["lines"].as_array().map(Vec::len), Some(lines.len()), "{name}");
    }
}

#[test]
fn a_run_that_keeps_its_promises_needs_no_explanation() {
    let row = &rows()[0];
    let simulation = Simulation::new(Arc::clone(&row.scenario), row.seed).expect("a valid job");
    let outcome = simulation.trace(true).run();
    assert!(explain(&outcome).is_none());
}
