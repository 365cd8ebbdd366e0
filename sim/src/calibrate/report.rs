//! Profiles and judgements for people and for programs.

use comfy_table::Table;
use serde_json::{Map, Value, json};

use super::goal::{Goal, Reached};
use super::judge::{ErrorOf, Judged, Row, errors};
use super::profile::Profile;
use super::robust::Estimate;
use super::runs::{Conditions, Mode, Run, RunKind};
use crate::report::table;

/// A profile, for people.
pub fn profile_text(profile: &Profile) -> String {
    let mut table = table::plain(&["cost", "value", "range", "runs"]);
    let mut add = |name: &str, of: Option<Estimate>, unit: &str| {
        if let Some(of) = of {
            table.add_row([
                name.to_owned(),
                format!("{} {unit}", number(of.value)),
                format!("{} to {}", number(of.low), number(of.high)),
                of.samples.to_string(),
            ]);
        }
    };
    let checkpoint = &profile.checkpoint;
    add("checkpoint without its snapshot", Some(checkpoint.travel_ms), "ms");
    add("  start delay of sources", checkpoint.source_start_delay_ms, "ms");
    add("  each hop, nothing queued", checkpoint.hop_ms, "ms");
    add("  alignment, nothing queued", checkpoint.alignment_ms, "ms");
    add("  acknowledgement", checkpoint.acknowledge_ms, "ms");
    for of in &checkpoint.snapshots {
        add(&format!("synchronous part, {}", of.snapshots.name()), Some(of.sync_ms), "ms");
        let written = of.written_per_byte;
        add(&format!("bytes written a byte, {}", of.snapshots.name()), written, "");
    }
    add("buffers filled under overload", checkpoint.in_flight_fill, "");
    add("duration at saturation", checkpoint.saturation_factor, "times");
    if let Some(recovery) = &profile.recovery {
        add("kill to failure of the job", Some(recovery.detection_ms), "ms");
        add("a restart besides its delay", Some(recovery.attempt_ms), "ms");
        add("second failed heartbeat to slots free", Some(recovery.give_up_ms), "ms");
        add("catch-up, of the configured capacity", Some(recovery.capacity_share), "times");
        add("standstill that its start is worth", Some(recovery.warm_up_ms), "ms");
    }
    if let Some(throughput) = &profile.throughput {
        add("throughput without checkpoints", Some(throughput.free_per_s), "records/s");
        add("lost by a checkpoint at saturation", throughput.lost_ms, "ms");
    }
    let mut text = finish(table);
    text.push('\n');
    let mut lines = table::plain(&["line", "at 0 MB", "each MB of a subtask", "fitted MB", "off"]);
    let snapshots = checkpoint.snapshots.iter();
    let named = snapshots
        .map(|of| (format!("asynchronous part, {}", of.snapshots.name()), &of.asynchronous));
    let start = profile.recovery.iter().map(|of| ("restore to first record".to_owned(), &of.start));
    for (name, line) in named.chain(start) {
        lines.add_row([
            name,
            format!("{} ms", number(line.at_zero_ms)),
            format!("{} ms", number(line.per_mb_ms)),
            format!("{} to {}", number(line.smallest_mb), number(line.largest_mb)),
            // A line through two sizes or less meets them by its making.
            match line.sizes {
                0..=2 => "-".to_owned(),
                _ => format!("{:.0} %", line.residual * 100.0),
            },
        ]);
    }
    text.push_str(&finish(lines));
    text
}

/// What the data cannot tell, for people.
pub fn cannot_tell_text(sentences: &[String]) -> String {
    let lines = sentences.iter().map(|sentence| format!("  {sentence}\n"));
    match sentences.is_empty() {
        true => String::new(),
        false => format!("\nnot in the data\n{}", lines.collect::<String>()),
    }
}

/// Predicted against measured, for people: errors, then the runs of what is aimed at, then those
/// that miss and why.
pub fn judgement_text(judged: &[Judged]) -> String {
    let mut text = errors_text(&errors(judged));
    let mut table = table::plain(&["run", "what", "measure", "predicted", "measured", "error"]);
    for one in judged {
        for row in one.rows.iter().filter(|row| row.expected.measure.aim().is_some()) {
            let measure = row.expected.measure;
            table.add_row([
                one.run.id.clone(),
                what(&one.run),
                measure.name().to_owned(),
                with_range(row),
                row.measured.map_or("unknown".to_owned(), number),
                row.error().map_or("-".to_owned(), percent),
            ]);
        }
    }
    if table.row_count() > 0 {
        text.push('\n');
        text.push_str(&finish(table));
    }
    text.push_str(&missed_text(judged));
    text
}

/// A value and, where an unknown phase of the heartbeat matters, from where to where it goes.
fn with_range(row: &Row) -> String {
    let value = number(row.expected.value);
    match row.expected.range.filter(|(low, high)| number(*low) != number(*high)) {
        Some((low, high)) => format!("{value} ({} to {})", number(low), number(high)),
        None => value,
    }
}

fn errors_text(errors: &[ErrorOf]) -> String {
    let mut table = table::plain(&["measure", "unit", "runs", "median error", "worst error"]);
    for of in errors {
        table.add_row([
            of.measure.name().to_owned(),
            of.measure.unit().to_owned(),
            of.runs.to_string(),
            format!("{:.1} %", of.median * 100.0),
            format!("{:.1} %", of.worst * 100.0),
        ]);
    }
    finish(table)
}

fn missed_text(judged: &[Judged]) -> String {
    let mut text = String::new();
    for one in judged {
        for row in one.rows.iter().filter(|row| row.missed()) {
            if text.is_empty() {
                text.push_str("\nmissed\n");
            }
            let error = row.error().map_or(String::new(), percent);
            let measure = row.expected.measure.name();
            text.push_str(&format!("  {} {measure} {error}\n", one.run.id));
            for reason in &one.missed {
                text.push_str(&format!("    {reason}\n"));
            }
        }
        for (measure, why) in &one.unpredicted {
            if measure.aim().is_some() {
                text.push_str(&format!(
                    "\nnot predicted: {} {}: {why}\n",
                    one.run.id,
                    measure.name()
                ));
            }
        }
    }
    text
}

/// How goals came out, for people.
pub fn goals_text(goals: &[(Goal, Reached)]) -> String {
    let lines = goals.iter().map(|(goal, reached)| match reached {
        Reached::Met(is) => format!("goal {}: met, {:.1} %\n", goal.text(), is * 100.0),
        Reached::Missed(is) => format!("goal {}: missed, {:.1} %\n", goal.text(), is * 100.0),
        Reached::Unknown => format!("goal {}: no run tells\n", goal.text()),
    });
    lines.collect()
}

/// Everything, for programs.
pub fn report_json(
    profile: &Profile,
    judged: Option<&[Judged]>,
    goals: &[(Goal, Reached)],
) -> Map<String, Value> {
    let mut report = Map::new();
    report.insert("profile".to_owned(), json!(profile));
    let Some(judged) = judged else { return report };
    let errors = errors(judged);
    let by = |part: &dyn Fn(&ErrorOf) -> Value| {
        errors.iter().map(|of| (of.measure.name().to_owned(), part(of))).collect::<Map<_, _>>()
    };
    report.insert("runs".to_owned(), judged.iter().map(run_json).collect());
    report.insert("median_error".to_owned(), by(&|of| share(of.median)).into());
    report.insert("worst_error".to_owned(), by(&|of| share(of.worst)).into());
    report.insert("judged".to_owned(), by(&|of| json!(of.runs)).into());
    let goals = goals.iter().map(|(goal, reached)| {
        let (met, is) = match reached {
            Reached::Met(is) => (Some(true), Some(*is)),
            Reached::Missed(is) => (Some(false), Some(*is)),
            Reached::Unknown => (None, None),
        };
        json!({ "goal": goal.text(), "met": met, "error": is.map(share) })
    });
    report.insert("goals".to_owned(), goals.collect());
    report
}

fn run_json(one: &Judged) -> Value {
    let rows = one.rows.iter().map(|row| {
        let range = row.expected.range.map(|(low, high)| [rounded(low), rounded(high)]);
        let row = json!({
            "unit": row.expected.measure.unit(),
            "predicted": rounded(row.expected.value),
            "predicted_range": range,
            "measured": row.measured.map(rounded),
            "error": row.error().map(share),
        });
        (row, one)
    });
    let names = one.rows.iter().map(|row| row.expected.measure.name().to_owned());
    let measures: Map<String, Value> = names.zip(rows.map(|(row, _)| row)).collect();
    let unpredicted: Map<String, Value> = one
        .unpredicted
        .iter()
        .map(|(measure, why)| (measure.name().to_owned(), json!(why)))
        .collect();
    json!({
        "run_id": one.run.id,
        "job_group": one.run.group,
        "what": what(&one.run),
        "measures": measures,
        "unpredicted": unpredicted,
        "missed": one.missed,
    })
}

/// A run's configuration in a few words.
pub fn what(run: &Run) -> String {
    let of = &run.conditions;
    let mode = match of.mode {
        Mode::Aligned => "aligned".to_owned(),
        Mode::Unaligned => "unaligned".to_owned(),
        Mode::AlignedTimeout(ms) => format!("timeout {}", duration(ms)),
        Mode::AtLeastOnce => "at least once".to_owned(),
    };
    let mut text = format!("{} {} MB", of.snapshots.name(), number(of.state_bytes() / 1e6));
    if of.mode != Mode::Aligned {
        text.push_str(&format!(", {mode}"));
    }
    match of.interval_ms > 0.0 {
        true => text.push_str(&format!(", every {}", duration(of.interval_ms))),
        false => text.push_str(", no checkpoints"),
    }
    match load(of) {
        Some(load) => text.push_str(&format!(", load {load}")),
        None => text.push_str(", saturated"),
    }
    if let (RunKind::Recovery, Some(age)) = (of.kind, of.kill_age_ms) {
        text.push_str(&format!(
            ", heartbeat {}, killed at {}",
            duration(of.heartbeat_interval_ms),
            duration(age)
        ));
    }
    text
}

fn load(of: &Conditions) -> Option<f64> {
    let capacity = of.capacity_per_s().filter(|_| of.rate_per_s > 0.0)?;
    Some((of.rate_per_s / capacity * 100.0).round() / 100.0)
}

fn duration(ms: f64) -> String {
    match ms >= 1_000.0 {
        true => format!("{} s", ms / 1e3),
        false => format!("{ms} ms"),
    }
}

/// Four digits are more than any of these numbers is sure of.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value == value.round() => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn percent(share: f64) -> String {
    format!("{:+.0} %", share * 100.0)
}

/// A share, to a hundredth of a percent.
fn share(of: f64) -> Value {
    json!((of * 1e4).round() / 1e4)
}

fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// A column of which every cell begins like a number has numbers.
pub(super) fn finish(mut table: Table) -> String {
    let begins = |text: String| text.starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c));
    let numbers: Vec<bool> = (0..table.column_count())
        .map(|column| {
            let cells = table.row_iter().filter_map(|row| row.cell_iter().nth(column));
            cells.map(comfy_table::Cell::content).all(begins)
        })
        .collect();
    table::text(table, |column| numbers[column])
}
