//! What a dump told, for people and programs.

use serde_json::{Map, Value, json};

use super::facts::Facts;
use super::replay::Compared;
use crate::calibrate::report::{cannot_tell_text, finish, number};
use crate::calibrate::robust::Estimate;
use crate::report::table;

/// All that is to be said about a calibration from a dump.
#[derive(Debug)]
pub struct Report<'a> {
    /// What the dump tells.
    pub facts: &'a Facts,
    /// What it cannot tell.
    pub cannot_tell: &'a [String],
    /// What the scenario assumes for it.
    pub assumed: &'a [String],
    /// The scenario beside the dump; `None` if the dump has nothing to compare with.
    pub compared: Option<&'a Compared>,
    /// Where the scenario was written to.
    pub out: Option<&'a str>,
}

impl Report<'_> {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = self.head();
        text.push('\n');
        text.push_str(&self.vertices());
        text.push('\n');
        text.push_str(&self.costs());
        text.push_str(&self.comparison());
        text.push_str(&cannot_tell_text(self.cannot_tell));
        if !self.assumed.is_empty() {
            text.push_str("\nassumed in the scenario\n");
            self.assumed.iter().for_each(|of| text.push_str(&format!("  {of}\n")));
        }
        match self.out {
            Some(out) => text.push_str(&format!("\nscenario: {out}\n")),
            None => text.push_str("\n--out FILE writes the scenario\n"),
        }
        text
    }

    fn head(&self) -> String {
        let of = &self.facts.checkpoints;
        let mut text = format!("{}\n", self.facts.job);
        text.push_str(&format!(
            "checkpoints  {} triggered, {} completed, {} failed, {} pending; {} settled\n",
            of.total, of.completed, of.failed, of.pending, of.settled
        ));
        for (message, count) in &of.failed_by {
            text.push_str(&format!("               {count} failed: {message}\n"));
        }
        let failures = &self.facts.failures;
        let mut failed: Vec<String> =
            failures.others.iter().map(|(name, count)| format!("{count} {name}")).collect();
        if failures.of_checkpoints > 0 {
            failed.push(format!("{} by failed checkpoints", failures.of_checkpoints));
        }
        if failed.is_empty() {
            failed.push("none".to_owned());
        }
        let observed = failures
            .observed_ms
            .map_or(String::new(), |ms| format!(" in {} s", number((ms / 1e3).round())));
        text.push_str(&format!("failures     {}{observed}\n", failed.join(", ")));
        let slowest = self.facts.bottleneck.map(|of| &self.facts.vertices[of].name);
        text.push_str(&match (self.facts.overloaded, slowest) {
            (true, Some(name)) => format!("load         more than `{name}` can take\n"),
            (true, None) => "load         more than the job can take\n".to_owned(),
            (false, _) => "load         the job keeps up\n".to_owned(),
        });
        text
    }

    fn vertices(&self) -> String {
        let head = [
            "vertex",
            "subtasks",
            "start delay ms",
            "alignment ms",
            "sync ms",
            "async ms",
            "state MB",
            "busy",
            "held up",
        ];
        let mut table = table::plain(&head);
        for of in &self.facts.vertices {
            let value = |of: Option<Estimate>| of.map_or("-".to_owned(), |of| number(of.value));
            let share = |of: Option<f64>| of.map_or("-".to_owned(), percent);
            table.add_row([
                of.name.clone(),
                of.parallelism.to_string(),
                value(of.start_delay_ms),
                value(of.alignment_ms),
                value(of.sync_ms),
                value(of.async_ms),
                of.state_bytes.map_or("-".to_owned(), |bytes| number(bytes / 1e6)),
                share(of.busy),
                share(of.backpressured),
            ]);
        }
        finish(table)
    }

    fn costs(&self) -> String {
        let facts = self.facts;
        let mut table = table::plain(&["cost", "value", "range", "samples"]);
        let mut add = |name: &str, of: Option<Estimate>, unit: &str, scale: f64| {
            if let Some(of) = of {
                let shown = |value: f64| number(value / scale);
                table.add_row([
                    name.to_owned(),
                    format!("{} {unit}", shown(of.value)),
                    format!("{} to {}", shown(of.low), shown(of.high)),
                    of.samples.to_string(),
                ]);
            }
        };
        add("checkpoint duration", facts.duration_ms, "ms", 1.0);
        add("bytes of a checkpoint", facts.checkpointed_bytes, "MB", 1e6);
        add("of these, in flight", facts.persisted_bytes, "MB", 1e6);
        add("trigger to sources", facts.source_start_delay_ms, "ms", 1.0);
        add("hop of a barrier, nothing queued", facts.hop_ms, "ms", 1.0);
        add("acknowledgement", facts.acknowledge_ms, "ms", 1.0);
        add("asynchronous part of no state", facts.async_of_nothing_ms, "ms", 1.0);
        let mut text = finish(table);
        let mut line = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                text.push_str(&format!("{name}: {value}\n"));
            }
        };
        line(
            "asynchronous part of state",
            facts.asynchronous.map(|line| {
                format!(
                    "{} ms + {} ms for each MB of a subtask ({} to {} MB seen)",
                    number(line.at_zero_ms),
                    number(line.per_mb_ms),
                    number(line.smallest_mb),
                    number(line.largest_mb)
                )
            }),
        );
        line("records of the sources", facts.rate_per_s.map(|rate| format!("{rate:.0}/s")));
        line("a record", facts.record_bytes.map(|bytes| format!("{bytes:.0} bytes")));
        line("a restart besides its delay", facts.restart_ms.map(|ms| format!("{ms:.0} ms")));
        line("deployment and restore", facts.start_ms.map(|ms| format!("{ms:.0} ms")));
        text
    }

    fn comparison(&self) -> String {
        let Some(of) = self.compared else {
            return "\nnothing to compare a simulation with\n".to_owned();
        };
        let simulated = of.simulated_ms.map_or("none came to its end".to_owned(), |ms| {
            let off = (ms / of.measured_ms - 1.0) * 100.0;
            format!("{} ms ({off:+.0} %, {} checkpoints)", number(ms), of.checkpoints)
        });
        format!(
            "\ncheckpoint duration, trigger to last acknowledgement\n  measured   {} ms ({})\n  \
             simulated  {simulated}\n",
            number(of.measured_ms),
            of.measured_of
        )
    }

    /// For programs.
    pub fn json(&self) -> Map<String, Value> {
        let mut report = Map::new();
        report.insert("facts".to_owned(), json!(self.facts));
        report.insert("compared".to_owned(), json!(self.compared));
        report.insert("cannot_tell".to_owned(), json!(self.cannot_tell));
        report.insert("assumed".to_owned(), json!(self.assumed));
        report.insert("scenario".to_owned(), json!(self.out));
        report
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}
