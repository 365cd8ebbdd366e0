//! The summary of a campaign, as `campaign` and `merge` print it: from the results alone, so that
//! both print the same.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::json;

use crate::explore::{Campaign, Group, Partition, Severity, Summary, junit};
use crate::run::Simulation;
use crate::scenario::{Case, to_json};

use super::super::arguments::quoted;
use super::super::exit::Failure;
use super::super::files;
use super::super::output::{Output, STYLE};

/// How a campaign is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Format {
    /// A summary to read
    Human,
    /// One JSON object
    Json,
}

/// What is printed and written at the end.
pub(in crate::cli) struct Report<'r> {
    pub(in crate::cli) runs: &'r Campaign,
    pub(in crate::cli) partition: Partition,
    pub(in crate::cli) summary: &'r Summary,
    /// How many runs there should be, if not all of them were done.
    pub(in crate::cli) total: Option<u64>,
    pub(in crate::cli) out: &'r str,
}

/// Whether the campaign was too tame to say much.
pub(in crate::cli) fn is_vacuous(summary: &Summary) -> bool {
    !summary.rare().is_empty() || summary.never_reached().next().is_some()
}

impl Report<'_> {
    /// Writes the case of each group's smallest run; answers the commands that show them again.
    pub(in crate::cli) fn write_cases(&self) -> Result<BTreeMap<String, String>, Failure> {
        let groups = self.summary.groups.values();
        let written = groups.map(|group| Ok((group.signature.clone(), self.write_case(group)?)));
        written.collect()
    }

    /// A run that broke off has no digest, so there is its scenario alone.
    fn write_case(&self, group: &Group) -> Result<String, Failure> {
        let out = self.out.trim_end_matches('/');
        let directory = format!("{out}/failures/{}", slug(&group.signature));
        let path = Path::new(&directory);
        let (scenario, seed) = (self.runs.scenario(&group.smallest), group.seed);
        if group.severity == Severity::Internal {
            files::write(path, "scenario.json", &to_json(&scenario))?;
            let file = quoted(&format!("{directory}/scenario.json"));
            let defect = self.runs.defects.planted();
            let defect = defect.map_or(String::new(), |defect| format!(" --defect {defect}"));
            return Ok(format!("cutline run {file} --seed {seed}{defect}"));
        }
        let simulation = Simulation::new(Arc::clone(&scenario), seed).expect("it ran before");
        let outcome = simulation.defects(self.runs.defects).run();
        files::write(path, "case.json", &Case::of(&outcome).to_json())?;
        Ok(format!("cutline replay {}", quoted(&format!("{directory}/case.json"))))
    }

    pub(in crate::cli) fn print(
        &self,
        format: Format,
        replays: &BTreeMap<String, String>,
        output: &mut Output,
    ) -> Result<(), Failure> {
        match format {
            Format::Human => self.print_text(replays, output),
            Format::Json => Ok(output.print(&(self.json(replays) + "\n"))?),
        }
    }

    pub(in crate::cli) fn write_junit(
        &self,
        path: &str,
        replays: &BTreeMap<String, String>,
    ) -> Result<(), Failure> {
        let replay = |signature: &str| replays.get(signature).cloned().unwrap_or_default();
        let text = junit(self.summary, &replay)
            .map_err(|error| Failure::Internal(format!("cannot write JUnit: {error}\n")))?;
        files::write_path(Path::new(path), &text)
    }

    /// How fast it was; what a clock says is for those who watch.
    pub(in crate::cli) fn tell_speed(&self, elapsed: Duration) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let seconds = elapsed.as_secs_f64();
        let runs = self.summary.runs;
        anstream::eprintln!("{runs} runs in {seconds:.1} s, {:.0} a second", runs as f64 / seconds);
    }

    fn print_text(
        &self,
        replays: &BTreeMap<String, String>,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let summary = self.summary;
        let (head, reset) = (STYLE.head, STYLE.reset);
        output.print(&format!("{head}features of the scenarios{reset}\n"))?;
        for (feature, count) in summary.histogram.rows() {
            output.print(&format!("{count:>8}  {feature}\n"))?;
        }
        output.print(&format!("\n{head}situations, by runs that reached them{reset}\n"))?;
        for (name, count) in &summary.situations {
            let style = if *count == 0 { STYLE.bad } else { "" };
            output.print(&format!("{style}{count:>8}  {name}{reset}\n"))?;
        }
        output.print(&format!("\n{head}runs{reset}\n"))?;
        for (name, value) in self.rows() {
            output.print(&format!("  {name:<14}{value}\n"))?;
        }
        for group in summary.groups.values() {
            self.print_group(group, replays, output)?;
        }
        if let Some(total) = self.total {
            let missing = total - summary.runs;
            output.print(&format!(
                "\n{}{missing} of {total} runs were not done{reset}\n",
                STYLE.bad
            ))?;
        } else if summary.groups.is_empty() {
            output.print(&format!("\n{}all checks hold{reset}\n", STYLE.good))?;
        }
        Ok(())
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let summary = self.summary;
        let [triggered, completed, failed] = summary.checkpoints;
        let [scripted, struck] = summary.faults;
        let [finished, given_up, stopped, cut_off] = summary.ends;
        let methods = summary.methods.iter().map(|(method, share)| match share.failures {
            0 => format!("{method} {}", share.runs),
            failures => format!("{method} {} ({failures} failed)", share.runs),
        });
        let mut rows = vec![
            ("runs", summary.runs.to_string()),
            ("by method", methods.collect::<Vec<_>>().join(", ")),
            ("virtual time", format!("{} s", summary.virtual_ms / 1_000)),
            ("events", summary.events.to_string()),
            (
                "checkpoints",
                format!("{triggered} triggered, {completed} completed, {failed} failed"),
            ),
            ("restores", summary.restores.to_string()),
            ("faults", format!("{scripted} scripted, {struck} took effect")),
            (
                "jobs",
                format!(
                    "{finished} finished, {given_up} failed, {stopped} stopped, {cut_off} cut off"
                ),
            ),
            ("digest", format!("{:016x}", summary.digest)),
        ];
        if let Some(defect) = self.runs.defects.planted() {
            rows.insert(0, ("planted", format!("{defect}: {}", defect.title())));
        }
        if self.partition != Partition::ALL {
            rows.insert(0, ("partition", self.partition.to_string()));
        }
        rows
    }

    fn print_group(
        &self,
        group: &Group,
        replays: &BTreeMap<String, String>,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let (dim, reset) = (STYLE.dim, STYLE.reset);
        let (count, signature) = (group.count, &group.signature);
        let methods = group.methods.iter().map(|(method, count)| format!("{method} {count}"));
        let methods = methods.collect::<Vec<_>>().join(", ");
        output.print(&format!("\n{}{signature}{reset}, {count} runs ({methods})\n", STYLE.bad))?;
        let given = group.smallest.scenario.and_then(|number| self.runs.given.get(number));
        let of = given.map_or(String::new(), |given| format!(" of {}", given.name));
        output.print(&format!("  seed {}{of}: {}\n", group.seed, group.message))?;
        if !group.more.is_empty() {
            output.print(&format!("  {dim}also {:?}{reset}\n", group.more))?;
        }
        output.print(&format!("  replay: {}\n", replays[signature]))?;
        Ok(())
    }

    fn json(&self, replays: &BTreeMap<String, String>) -> String {
        let summary = self.summary;
        let groups: Vec<_> = summary
            .groups
            .values()
            .map(|group| {
                let given = group.smallest.scenario.and_then(|number| self.runs.given.get(number));
                json!({
                    "group": group,
                    "scenario": given.map(|given| &given.name),
                    "replay": replays[&group.signature],
                })
            })
            .collect();
        let features: BTreeMap<String, u64> =
            summary.histogram.rows().map(|(feature, count)| (feature.to_string(), count)).collect();
        let [triggered, completed, failed] = summary.checkpoints;
        let [scripted, injected] = summary.faults;
        let [finished, given_up, stopped, cut_off] = summary.ends;
        json!({
            "seeds": { "from": self.runs.seeds.start, "to": self.runs.seeds.end },
            "partition": (self.partition != Partition::ALL).then(|| self.partition.to_string()),
            "defect": self.runs.defects.planted().map(|defect| defect.id()),
            "verdict": summary.worst,
            "runs": summary.runs,
            "complete": self.total.is_none(),
            "methods": summary.methods,
            "virtual_ms": summary.virtual_ms,
            "events": summary.events,
            "checkpoints": { "triggered": triggered, "completed": completed, "failed": failed },
            "restores": summary.restores,
            "faults": { "scripted": scripted, "injected": injected },
            "jobs": {
                "finished": finished, "failed": given_up, "stopped": stopped, "cut_off": cut_off,
            },
            "failures": groups,
            "features": features,
            "situations": summary.situations,
            "vacuous": summary.vacuous,
            "digest": format!("{:016x}", summary.digest),
        })
        .to_string()
    }
}

/// A signature as the name of a directory.
fn slug(signature: &str) -> String {
    let mut slug = String::new();
    for c in signature.chars() {
        match c.is_ascii_alphanumeric() {
            true => slug.push(c.to_ascii_lowercase()),
            false if slug.ends_with('-') => {}
            false => slug.push('-'),
        }
    }
    slug.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_names_a_directory() {
        for (signature, expected) in [
            ("liveness/stuck/the job does not finish", "liveness-stuck-the-job-does-not-finish"),
            ("internal/src/task/gate.rs:12", "internal-src-task-gate-rs-12"),
        ] {
            assert_eq!(slug(signature), expected);
        }
    }
}
