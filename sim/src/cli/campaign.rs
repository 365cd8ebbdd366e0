//! `cutline campaign`: many seeds of random scenarios.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::explore::seeds::{Group, Severity, Summary, run_seeds};
use crate::run::Simulation;
use crate::scenario::generate::{Options, generate};
use crate::scenario::to_json;

use super::arguments::quoted;
use super::exit::{Exit, Failure};
use super::files;
use super::output::{Output, STYLE};
use super::run::case_of;

/// How often progress is reported.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// Runs random scenarios, one a seed, and groups what they find
///
/// For each group of failures the case of its smallest seed is written. The output is the same for
/// any number of threads.
#[derive(Debug, Args)]
pub(super) struct Campaign {
    /// The seeds, such as 0..1000 (the end is not included)
    #[arg(long, value_name = "FROM..TO", value_parser = parse_seeds)]
    seeds: Range<u64>,

    /// Threads; as many as there are cores unless given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,

    /// How the summary is printed
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,

    /// Where the cases of failing seeds go
    #[arg(long, value_name = "DIR", default_value = "cutline-out")]
    out: String,

    /// Fails with exit code 14 if a feature is rare among the scenarios, or a situation was never
    /// reached
    #[arg(long)]
    strict: bool,
}

/// How a campaign is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A summary to read
    Human,
    /// One JSON object
    Json,
}

fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let expected = || "expected a range of seeds such as 0..1000".to_owned();
    let (from, to) = text.split_once("..").ok_or_else(expected)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| expected());
    let (from, to) = (number(from)?, number(to)?);
    if from >= to {
        return Err(format!("there is no seed from {from} up to {to}"));
    }
    Ok(from..to)
}

impl Campaign {
    pub(super) fn execute(&self, output: &mut Output) -> Result<Exit, Failure> {
        let started = Instant::now();
        let mut told = started;
        let watch = |result: &crate::explore::seeds::SeedResult| {
            if told.elapsed() >= PROGRESS_EVERY {
                told = Instant::now();
                let done = result.seed + 1 - self.seeds.start;
                let seconds = started.elapsed().as_secs();
                anstream::eprintln!("{done} seeds after {seconds} s");
            }
            true
        };
        let threads = self.threads.map(usize::from);
        let summary = run_seeds(&Options::default(), self.seeds.clone(), threads, watch)
            .map_err(|error| Failure::Internal(format!("cannot start threads: {error}\n")))?;
        let mut replays = BTreeMap::new();
        for group in summary.groups.values() {
            replays.insert(group.signature.as_str(), self.write_case(group)?);
        }
        match self.format {
            Format::Human => self.print(&summary, &replays, output)?,
            Format::Json => output.print(&(self.json(&summary, &replays) + "\n"))?,
        }
        Ok(match summary.worst {
            Severity::Internal => Exit::Internal,
            Severity::Safety => Exit::Safety,
            Severity::Liveness => Exit::Liveness,
            Severity::Ok if self.strict && is_vacuous(&summary) => Exit::Vacuous,
            Severity::Ok => Exit::Ok,
        })
    }

    /// Writes the case of a group's smallest seed; answers the command that shows it again. A run
    /// that broke off has no digest, so there is its scenario alone.
    fn write_case(&self, group: &Group) -> Result<String, Failure> {
        let directory = format!("{}/seed-{}", self.out.trim_end_matches('/'), group.seed);
        let path = Path::new(&directory);
        let scenario = generate(group.seed);
        if group.severity == Severity::Internal {
            files::write(path, "scenario.json", &(to_json(&scenario) + "\n"))?;
            let file = quoted(&format!("{directory}/scenario.json"));
            return Ok(format!("cutline run {file} --seed {}", group.seed));
        }
        let simulation = Simulation::new(Arc::new(scenario), group.seed);
        let outcome = simulation.expect("it ran before").run();
        files::write(path, "case.json", &case_of(&outcome).to_json())?;
        Ok(format!("cutline replay {}", quoted(&format!("{directory}/case.json"))))
    }

    fn print(
        &self,
        summary: &Summary,
        replays: &BTreeMap<&str, String>,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let (head, dim, reset) = (STYLE.head, STYLE.dim, STYLE.reset);
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
        let [triggered, completed, failed] = summary.checkpoints;
        let [scripted, injected] = summary.faults;
        let [finished, given_up, stopped, cut_off] = summary.ends;
        for (name, value) in [
            ("runs", summary.runs.to_string()),
            ("virtual time", format!("{} s", summary.virtual_ms / 1_000)),
            ("events", summary.events.to_string()),
            (
                "checkpoints",
                format!("{triggered} triggered, {completed} completed, {failed} failed"),
            ),
            ("restores", summary.restores.to_string()),
            ("faults", format!("{scripted} scripted, {injected} took effect")),
            (
                "jobs",
                format!(
                    "{finished} finished, {given_up} failed, {stopped} stopped, {cut_off} cut off"
                ),
            ),
            ("digest", format!("{:016x}", summary.digest)),
        ] {
            output.print(&format!("  {name:<14}{value}\n"))?;
        }
        for group in summary.groups.values() {
            let (count, signature) = (group.count, &group.signature);
            output.print(&format!("\n{}{signature}{reset}, {count} runs\n", STYLE.bad))?;
            output.print(&format!("  seed {}: {}\n", group.seed, group.message))?;
            if !group.more.is_empty() {
                output.print(&format!("  {dim}also {:?}{reset}\n", group.more))?;
            }
            output.print(&format!("  replay: {}\n", replays[signature.as_str()]))?;
        }
        if summary.groups.is_empty() {
            output.print(&format!("\n{}all checks hold{reset}\n", STYLE.good))?;
        }
        Ok(())
    }

    fn json(&self, summary: &Summary, replays: &BTreeMap<&str, String>) -> String {
        let groups: Vec<_> = summary
            .groups
            .values()
            .map(|group| json!({ "group": group, "replay": replays[group.signature.as_str()] }))
            .collect();
        let features: BTreeMap<String, u64> =
            summary.histogram.rows().map(|(feature, count)| (feature.to_string(), count)).collect();
        let [triggered, completed, failed] = summary.checkpoints;
        let [scripted, injected] = summary.faults;
        let [finished, given_up, stopped, cut_off] = summary.ends;
        json!({
            "seeds": { "from": self.seeds.start, "to": self.seeds.end },
            "verdict": summary.worst,
            "runs": summary.runs,
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

/// Whether the campaign was too tame to say much.
fn is_vacuous(summary: &Summary) -> bool {
    !summary.histogram.rare().is_empty() || summary.situations.values().any(|count| *count == 0)
}
