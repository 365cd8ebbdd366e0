//! The summary of a run for people.

use std::collections::BTreeMap;
use std::fmt::Display;

use comfy_table::Table;
use cutline::message::FailureReason;
use cutline::time::VirtualDuration;
use serde_json::{Value, json};

use crate::check::{Durations, Orphans, Outcome as Answer, Verdict};
use crate::kernel::run::End;
use crate::run::Outcome;
use crate::scenario::to_json;

use super::json::durations;
use super::line::job_end;
use super::space_time::Style;
use super::table;

/// What came of a run, section by section; the verdict is at the end, where one looks first.
pub fn summary_text(outcome: &Outcome, style: Style) -> String {
    let Style { head, reset, .. } = style;
    let mut text = format!("{head}{}{reset}\n", outcome.plan.scenario.title);
    text.push_str(&origin(outcome));
    text.push('\n');
    for (name, value) in facts(outcome) {
        for (index, row) in value.iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            text.push_str(&format!("{name:<13}{row}\n"));
        }
    }
    text.push('\n');
    text.push_str(&duration_table(outcome));
    text.push('\n');
    text.push_str(&check_table(outcome));
    text.push('\n');
    text.push_str(&situations(outcome));
    text.push('\n');
    text.push_str(&verdict(outcome, style));
    text
}

fn origin(outcome: &Outcome) -> String {
    let job = match (outcome.job_end, outcome.end) {
        (Some(end), _) => format!("job {}", job_end(end)),
        (None, End::Quiet) => "nothing left to happen".to_owned(),
        (None, End::Until) => "ended by its time limit".to_owned(),
        (None, End::Budget) => "ended by its event budget".to_owned(),
        (None, End::Livelock) => "ended by a livelock".to_owned(),
        (None, End::Stopped) => "stopped at the first violation".to_owned(),
    };
    let events = grouped(outcome.events);
    format!("seed {}, {} of virtual time, {events} events, {job}\n", outcome.seed, {
        seconds(VirtualDuration(outcome.virtual_time.as_nanos()))
    })
}

fn facts(outcome: &Outcome) -> Vec<(&'static str, Vec<String>)> {
    let statistics = &outcome.statistics;
    let checkpoints = &statistics.checkpoints;
    let failed: u64 = checkpoints.failed.values().sum();
    let mut of_checkpoints = vec![format!(
        "{} triggered, {} completed, {} failed",
        grouped(checkpoints.triggered),
        grouped(checkpoints.completed),
        grouped(failed)
    )];
    of_checkpoints.extend(reasons("failed", &checkpoints.failed));
    of_checkpoints.extend(reasons("refused", &statistics.requests_failed));
    let records = &statistics.records;
    let scripted = outcome.plan.scenario.faults.len();
    let inert = outcome.inert_faults();
    let mut of_faults = vec![format!("{} injected, {} inert", scripted - inert.len(), inert.len())];
    of_faults.extend(inert_faults(outcome, &inert));
    let disturbed = statistics.storage_disturbed.iter();
    of_faults.extend(disturbed.map(|(how, count)| {
        let requests = if *count == 1 { "request" } else { "requests" };
        format!("  {} storage {requests} {}", grouped(*count), how.name().replace('_', " "))
    }));
    let mut of_records = vec![format!(
        "{} emitted, {} processed, {} committed, {} persisted in flight",
        grouped(records.emitted),
        grouped(records.processed),
        grouped(records.committed),
        grouped(records.persisted)
    )];
    if records.windows + records.late > 0 {
        let (windows, late) = (grouped(records.windows), grouped(records.late));
        of_records.push(format!("{windows} windows fired, {late} late"));
    }
    let mut facts = vec![
        ("checkpoints", of_checkpoints),
        (
            "recovery",
            vec![format!(
                "{} restarts, {} restores from a checkpoint",
                grouped(statistics.restarts),
                grouped(statistics.restores)
            )],
        ),
        ("records", of_records),
    ];
    let Orphans { files, bytes, uploads, upload_bytes } = statistics.orphans;
    let mut left = Vec::new();
    if files > 0 {
        let what = if files == 1 { "file is left" } else { "files are left" };
        let (files, bytes) = (grouped(files), grouped(bytes));
        left.push(format!("{files} {what} that nobody refers to ({bytes} bytes)"));
    }
    if uploads > 0 {
        let what = if uploads == 1 { "upload" } else { "uploads" };
        let (uploads, bytes) = (grouped(uploads), grouped(upload_bytes));
        left.push(format!("parts of {uploads} {what} that nobody completes ({bytes} bytes)"));
    }
    if !left.is_empty() {
        facts.push(("storage", left));
    }
    facts.push(("faults", of_faults));
    facts
}

fn reasons(what: &str, counts: &BTreeMap<FailureReason, u64>) -> Vec<String> {
    let name = |reason: &FailureReason| match json!(reason) {
        Value::String(name) => name,
        other => other.to_string(),
    };
    counts
        .iter()
        .map(|(reason, count)| format!("  {} {what}: {}", grouped(*count), name(reason)))
        .collect()
}

/// Faults that never struck, as the scenario has them.
fn inert_faults(outcome: &Outcome, inert: &[u32]) -> Vec<String> {
    if inert.is_empty() {
        return Vec::new();
    }
    let scenario: Value = serde_json::from_str(&to_json(&outcome.plan.scenario))
        .expect("what is written is JSON; tested");
    let row = |index: &u32| {
        let fault = scenario.pointer(&format!("/faults/{index}"));
        let fault = fault.map_or(String::new(), Value::to_string);
        format!("  faults[{index}] never struck: {fault}")
    };
    inert.iter().map(row).collect()
}

fn duration_table(outcome: &Outcome) -> String {
    let mut table = table::plain(&["duration", "mean", "max", "count"]);
    for (name, of) in durations(outcome) {
        let shown = |duration: VirtualDuration| match of.count {
            0 => "-".to_owned(),
            _ => milliseconds(duration),
        };
        let Durations { count, max, .. } = of;
        let name = name.replace('_', " ");
        table.add_row([name, shown(of.mean()), shown(max), grouped(count)]);
    }
    finish(table)
}

fn check_table(outcome: &Outcome) -> String {
    let mut table = table::plain(&["check", "verdict", "judged"]);
    for finding in &outcome.findings {
        let answer = match finding.outcome {
            Answer::Passed => "passed",
            Answer::Violated => "VIOLATED",
            Answer::Vacuous => "vacuous",
            Answer::NotApplicable => "not applicable",
        };
        table.add_row([finding.check, answer, &grouped(finding.judged)]);
    }
    finish(table)
}

fn situations(outcome: &Outcome) -> String {
    let (seen, never): (Vec<_>, Vec<_>) =
        outcome.situations.iter().partition(|(_, count)| *count > 0);
    let mut text = format!("situations   {} seen, {} never\n", seen.len(), never.len());
    for (name, count) in seen {
        text.push_str(&format!("  {:>9}  {name}\n", grouped(count)));
    }
    text
}

fn verdict(outcome: &Outcome, style: Style) -> String {
    let Style { good, bad, reset, .. } = style;
    let mut text = String::new();
    for violation in &outcome.violations {
        text.push_str(&format!("{bad}violation{reset}    {violation}\n"));
    }
    let shown = match outcome.verdict {
        Verdict::Ok => format!("{good}ok{reset}"),
        Verdict::Safety | Verdict::Liveness if outcome.is_inconclusive() => {
            format!("{bad}inconclusive{reset} (the event budget ended the run)")
        }
        Verdict::Safety | Verdict::Liveness => format!("{bad}{}{reset}", outcome.verdict),
    };
    text + &format!("verdict      {shown}\ndigest       {}\n", outcome.digest)
}

/// Names are at the left, numbers at the right; the verdict is a name.
fn finish(table: Table) -> String {
    table::text(table, |column| column > 0)
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Milliseconds to the microsecond, cut off.
fn milliseconds(duration: VirtualDuration) -> String {
    fraction(duration.as_nanos() / 1_000, "ms")
}

/// Seconds to the millisecond, cut off.
fn seconds(duration: VirtualDuration) -> String {
    fraction(duration.as_nanos() / 1_000_000, "s")
}

fn fraction(thousandths: u64, unit: impl Display) -> String {
    format!("{}.{:03} {unit}", grouped(thousandths / 1_000), thousandths % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(milliseconds(VirtualDuration(1_234_567_890)), "1,234.567 ms");
        assert_eq!(seconds(VirtualDuration(61_002_000_000)), "61.002 s");
    }
}
