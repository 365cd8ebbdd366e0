//! Windows of event time and sources with an enumerator. The checks of every run compare windows and
//! splits with the reference; here it is asserted that what the scenarios are about happens.

use std::collections::{BTreeMap, BTreeSet};

use cutline::operator::{Record, TimeMark, WINDOWED};
use cutline::step::Step;
use cutline_sim::observe::Observation;
use cutline_sim::run::Outcome;

use crate::support::{self, observations, situation};

const SEEDS: u64 = 8;

fn runs(name: &str, changes: &[&str]) -> impl Iterator<Item = Outcome> + use<> {
    support::finished(name, changes, 0..SEEDS)
}

/// What the windows have sent, by what it is.
fn results(outcome: &Outcome) -> BTreeMap<u64, u64> {
    let mut results = BTreeMap::new();
    for observation in observations(outcome) {
        if let Observation::Sent { record, .. } = observation
            && record.is_data()
            && record.split.source() == WINDOWED
        {
            *results.entry(record.identity()).or_default() += 1;
        }
    }
    results
}

/// Whatever fails in between, and however the job is spread: the same windows, with the same
/// contents.
#[test]
fn windows_are_a_function_of_the_sources() {
    let undisturbed = ["faults=[]", "actions=[]"];
    let calm = support::runs("windows.json", &undisturbed, 0..1).next().expect("one seed");
    let expected = results(&calm);
    assert!(expected.len() > 100, "{}", expected.len());
    assert!(expected.values().all(|count| *count == 1));
    let mut again = 0;
    for outcome in runs("windows.json", &[]) {
        let results = results(&outcome);
        assert!(results.keys().eq(expected.keys()), "seed {}", outcome.seed);
        again += results.values().filter(|count| **count > 1).count();
        assert!(situation(&outcome, "window fired after a restore") > 0);
        assert_eq!(outcome.statistics.records.late, 0);
    }
    assert!(again > 0, "some windows fired, were lost with an execution, and fired again");
}

#[test]
fn in_flight_watermarks_are_part_of_a_checkpoint() {
    let slow = ["job.operators[per-second].cost=\"900 µs\""];
    let persisted: u64 = runs("windows.json", &slow)
        .map(|outcome| situation(&outcome, "mark of event time persisted in flight"))
        .sum();
    assert!(persisted > 0);
}

/// What a subtask sends never goes back.
#[test]
fn watermarks_only_grow() {
    for outcome in runs("windows.json", &[]) {
        let mut last = BTreeMap::new();
        for observation in observations(&outcome) {
            match observation {
                Observation::RestoreChosen { .. } => last.clear(),
                Observation::Sent { channel, record } => {
                    let Some(TimeMark::Watermark(time)) = record.mark() else { continue };
                    assert!(last.insert(*channel, time) < Some(time), "seed {}", outcome.seed);
                }
                _ => {}
            }
        }
    }
}

#[test]
fn late_records_are_dropped_and_counted() {
    for outcome in runs("late-records.json", &[]) {
        let dropped = |it: &&Observation| matches!(it, Observation::DroppedLate { .. });
        let dropped = observations(&outcome).filter(dropped).count() as u64;
        assert!(dropped > 0 && dropped == outcome.statistics.records.late);
        assert!(situation(&outcome, "idle channel") > 0);
    }
    let honest = [
        "job.operators[phones].out_of_orderness=\"300 ms\"",
        "job.operators[sensors].idle_timeout=\"10 s\"",
    ];
    for outcome in runs("late-records.json", &honest) {
        assert_eq!(outcome.statistics.records.late, 0);
    }
}

/// Each split is read from its beginning once, or again after a restore from where it was.
#[test]
fn an_enumerator_gives_out_each_split() {
    let mut resets = 0;
    for outcome in runs("split-enumerator.json", &[]) {
        let mut read = BTreeSet::new();
        for observation in observations(&outcome) {
            match observation {
                Observation::SourceEmitted { split, offset: 0, .. } => {
                    read.insert(*split);
                }
                Observation::Step { step: Step::R5, checkpoint: Some(_), .. } => resets += 1,
                _ => {}
            }
        }
        assert_eq!(read.len(), 40);
    }
    assert!(resets >= SEEDS, "{resets}");
}

/// Marks are no records: they have no weight, and stem from no source.
#[test]
fn marks_are_not_counted() {
    for outcome in runs("windows.json", &["faults=[]", "actions=[]"]).take(1) {
        let taken = |it: &&Observation| match it {
            Observation::Processed { record, .. } => Record::is_data(record),
            _ => false,
        };
        let taken = observations(&outcome).filter(taken).count() as u64;
        assert_eq!(outcome.statistics.records.processed, taken);
    }
}
