//! What a validation found, to read, as a document, and for programs.

use serde_json::{Value, json};

use super::{Khaos, Row};
use crate::report::table;
use crate::sweep::short;

/// What no simulation here says anything about.
const NOT_VALIDATED: [&str; 4] = [
    "metadata bytes: the form is that of Flink's own writer, byte for byte (`cutline conform` \
     judges it by files that Flink has written); the simulator writes a format of its own",
    "checkpoints that fail with a probability: scenarios fail storage requests by count",
    "acknowledgement bytes, prices, and the times of a message, which are parameters",
    "incremental snapshots as files: the share of keys is judged, not what a state backend writes",
];

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Validation {
    /// Forms against simulations.
    pub rows: Vec<Row>,
    /// Recoveries that others measured; empty if none were given.
    pub recoveries: Vec<Khaos>,
}

/// The errors of a job's recoveries, relative, as means of their amounts.
struct Errors {
    job: String,
    count: usize,
    worst_of_form: f64,
    simulated: f64,
    form: f64,
}

impl Validation {
    /// Rows outside of their bounds.
    pub fn missed(&self) -> usize {
        self.rows.iter().filter(|row| !row.holds()).count()
            + self.recoveries.iter().filter(|row| !row.holds()).count()
    }

    fn errors(&self) -> Vec<Errors> {
        let mut jobs: Vec<&str> = self.recoveries.iter().map(|row| row.job.as_str()).collect();
        jobs.dedup();
        let of = |job: &str| {
            let rows: Vec<&Khaos> = self.recoveries.iter().filter(|row| row.job == job).collect();
            let mean = |error: &dyn Fn(&Khaos) -> f64| {
                rows.iter().map(|row| error(row).abs()).sum::<f64>() / rows.len() as f64
            };
            Errors {
                job: job.to_owned(),
                count: rows.len(),
                worst_of_form: rows.iter().map(|row| row.deviation().abs()).fold(0.0, f64::max),
                simulated: mean(&Khaos::error),
                form: mean(&|row| row.model_s / row.measured_s - 1.0),
            }
        };
        jobs.into_iter().map(of).collect()
    }

    /// A table to read in a terminal.
    pub fn text(&self) -> String {
        let head = ["", "of", "case", "closed form", "simulated", "deviation", "allowed"];
        let mut lines = table::plain(&head);
        for row in &self.rows {
            let mark = if row.holds() { "ok" } else { "MISSED" };
            let [predicted, simulated, deviation, bound] = row.cells();
            let cells = [mark, row.of, &row.case, &predicted, &simulated, &deviation, &bound];
            lines.add_row(cells.map(str::to_owned));
        }
        let mut out = table::text(lines, |column| (3..=5).contains(&column));
        for errors in self.errors() {
            out.push_str(&format!(
                "\n{}: {} recoveries of a real job; the simulation is within {:.2} % of the form, \
                 and off by {:.1} % on average from what was measured (the form: {:.1} %)\n",
                errors.job,
                errors.count,
                errors.worst_of_form * 100.0,
                errors.simulated * 100.0,
                errors.form * 100.0,
            ));
        }
        out.push_str(&match self.missed() {
            0 => "\nall within what is allowed\n".to_owned(),
            missed => format!("\n{missed} outside of what is allowed\n"),
        });
        out
    }

    /// The document `docs/validation.md`; `command` has made it.
    pub fn markdown(&self, command: &str) -> String {
        let mut out = format!(
            "# Validation of the closed forms\n\n\
             Small jobs, simulated event by event, against the formulas of `cutline::model`. What\n\
             a formula is given (costs, durations, downtime) is what the simulation was built with\n\
             or has measured; what is compared is not. Made by\n\n\
             ```sh\n{command} > docs/validation.md\n```\n\n\
             and checked by a test. *Allowed* is exactly nothing for what is counted, four\n\
             standard errors for what is drawn, and else what the formula is known to neglect. The rows\n\
             of the useful share see the same failures; their formula is given the mean time between\n\
             those that were drawn.\n\n\
             | of | case | closed form | simulated | deviation | allowed |\n\
             | --- | --- | ---: | ---: | ---: | --- |\n"
        );
        for row in &self.rows {
            let [predicted, simulated, deviation, bound] = row.cells();
            let missed = if row.holds() { "" } else { " **missed**" };
            out.push_str(&format!(
                "| {} | {} | {predicted} | {simulated} | {deviation} | {bound}{missed} |\n",
                row.of, row.case,
            ));
        }
        out.push_str("\nNot validated by simulation:\n\n");
        NOT_VALIDATED.iter().for_each(|what| out.push_str(&format!("- {what};\n")));
        if !self.recoveries.is_empty() {
            out.push_str(&self.markdown_of_recoveries());
        }
        out
    }

    fn markdown_of_recoveries(&self) -> String {
        let mut out = "\n## Recoveries of real jobs\n\n\
             Two Flink jobs, a worker killed three seconds before a checkpoint, at several intervals\n\
             and rates (dos-group/khaos, Geldenhuys et al. 2021). Downtime and capacity are two\n\
             fitted numbers for each job. The simulation of every row must be within 1 % of the\n\
             formula; neither owes the measurement more than the two numbers can give.\n\n\
             | job | rows | simulated against the formula, at worst | simulated against measured, mean | formula against measured, mean |\n\
             | --- | ---: | ---: | ---: | ---: |\n"
            .to_owned();
        for it in self.errors() {
            out.push_str(&format!(
                "| {} | {} | {:.2} % | {:.1} % | {:.1} % |\n",
                it.job,
                it.count,
                it.worst_of_form * 100.0,
                it.simulated * 100.0,
                it.form * 100.0,
            ));
        }
        out.push_str(
            "\n| job | interval | records/s | measured | closed form | simulated | deviation | error against measured |\n\
             | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        );
        for row in &self.recoveries {
            let missed = if row.holds() { "" } else { " **missed**" };
            out.push_str(&format!(
                "| {} | {} s | {:.0} | {} s | {:.1} s | {:.1} s | {:+.2} %{missed} | {:+.1} % |\n",
                row.job,
                row.interval_s,
                row.rate,
                row.measured_s,
                row.model_s,
                row.simulated_s,
                row.deviation() * 100.0,
                row.error() * 100.0,
            ));
        }
        out
    }

    /// One object.
    pub fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "of": row.of,
                "case": row.case,
                "unit": row.unit.map_or("count", |unit| unit.suffix()),
                "closed_form": short(row.predicted),
                "simulated": short(row.simulated),
                "deviation_share": short(row.deviation()),
                "allowed": short(row.allowed),
                "holds": row.holds(),
            })
        });
        let recoveries = self.recoveries.iter().map(|row| {
            json!({
                "job": row.job,
                "interval_s": row.interval_s,
                "rate_per_s": row.rate,
                "measured_s": row.measured_s,
                "closed_form_s": short(row.model_s),
                "simulated_s": short(row.simulated_s),
                "deviation_share": short(row.deviation()),
                "error_share": short(row.error()),
                "holds": row.holds(),
            })
        });
        json!({
            "rows": rows.collect::<Vec<_>>(),
            "recoveries": recoveries.collect::<Vec<_>>(),
            "missed": self.missed(),
        })
    }
}
