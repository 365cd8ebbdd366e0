//! The score as the tables of a document.

use std::fmt::Write as _;

use super::score::{planted, summary};
use crate::defects::Entry;
use crate::explore::score::{Proofs, Score};

/// What was found and how, what shrinking left of it, what was not found, and what is not planted.
pub(super) fn tables(scores: &[Score]) -> String {
    let mut text = String::new();
    section(&mut text, "What it comes to", &["", ""]);
    for (name, value) in summary(scores) {
        row(&mut text, &[name.to_owned(), value]);
    }
    let head = ["defect", "tier", "expected", "directed", "runs", "CPU s", "found by", "as"];
    section(&mut text, "Found", &head);
    for (entry, proofs) in planted(scores).filter(|it| it.1.search.found) {
        let search = &proofs.search;
        let mut cells = searched(entry, proofs);
        cells.push(format!("{:.1}", search.cpu_seconds));
        cells.push(search.strategy.map_or(String::new(), |method| method.to_string()));
        cells.push(search.signature.clone().unwrap_or_default());
        row(&mut text, &cells);
    }
    if planted(scores).any(|(_, proofs)| !proofs.search.found) {
        let head = ["defect", "tier", "expected", "directed", "runs without", "what it is"];
        section(&mut text, "Not found", &head);
        for (entry, proofs) in planted(scores).filter(|it| !it.1.search.found) {
            let mut cells = searched(entry, proofs);
            cells.push(entry.title.clone());
            row(&mut text, &cells);
        }
    }
    if planted(scores).any(|(_, proofs)| proofs.search.shrunk.is_some()) {
        let head =
            ["defect", "operators", "subtasks", "faults", "events", "before", "CPU s", "the same"];
        section(&mut text, "Shrunk", &head);
        for (entry, proofs) in planted(scores) {
            let Some(small) = proofs.search.shrunk else { continue };
            row(
                &mut text,
                &[
                    entry.id.clone(),
                    small.operators.to_string(),
                    small.subtasks.to_string(),
                    small.faults.to_string(),
                    small.events.to_string(),
                    small.events_before.to_string(),
                    format!("{:.1}", small.cpu_seconds),
                    if small.same { "yes" } else { "NO" }.to_owned(),
                ],
            );
        }
    }
    let left_out =
        || scores.iter().filter_map(|it| Some((it.entry, it.entry.not_planted.as_ref()?)));
    if left_out().next().is_some() {
        section(&mut text, "Not planted", &["defect", "tier", "what it is", "why not"]);
        for (entry, reason) in left_out() {
            let tier = entry.tier.to_string();
            row(&mut text, &[entry.id.clone(), tier, entry.title.clone(), reason.clone()]);
        }
    }
    text
}

/// What is said of a defect whether or not it was found.
fn searched(entry: &Entry, Proofs { directed, search }: &Proofs) -> Vec<String> {
    let directed = directed.class.map_or("nothing", |class| class.name());
    vec![
        entry.id.clone(),
        entry.tier.to_string(),
        entry.search.to_string(),
        directed.to_owned(),
        search.runs.to_string(),
    ]
}

fn section(text: &mut String, title: &str, head: &[&str]) {
    if !text.is_empty() {
        text.push('\n');
    }
    writeln!(text, "## {title}\n").expect("writing to a string cannot fail");
    row(text, &head.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
    row(text, &vec!["---".to_owned(); head.len()]);
}

fn row(text: &mut String, cells: &[String]) {
    writeln!(text, "| {} |", cells.join(" | ")).expect("writing to a string cannot fail");
}
