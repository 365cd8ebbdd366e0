//! `cutline run`: one scenario, one seed.

use std::path::Path;

use clap::Args;

use crate::check;
use crate::report::{Names, summary_json, summary_text};
use crate::run::Outcome;
use crate::scenario::Case;

use super::arguments::{Changes, Plant, RunFormat, Until, command_line, quoted};
use super::exit::{Exit, Failure};
use super::filter::Filter;
use super::output::{Output, STYLE};
use super::simulate::simulate;
use super::{files, view};

/// Where the case of a failing run goes unless `--out` says otherwise.
const OUT: &str = "cutline-out";

/// Runs a scenario with a seed, checks it, and prints a summary
#[derive(Debug, Args)]
pub(super) struct Run {
    /// The scenario file
    scenario: String,

    /// What everything random is drawn from
    #[arg(long, default_value_t = 0)]
    seed: u64,

    #[command(flatten)]
    changes: Changes,

    #[command(flatten)]
    until: Until,

    #[command(flatten)]
    plant: Plant,

    /// How the run is printed
    #[arg(long, value_enum, default_value_t = RunFormat::Human)]
    format: RunFormat,

    /// Writes case.json and summary.json into this directory; without it, only a failing run writes
    /// its case, below cutline-out
    #[arg(long, value_name = "DIR")]
    out: Option<String>,

    /// Fails with exit code 14 if a check had nothing to judge or a fault never struck
    #[arg(long)]
    strict: bool,

    #[command(flatten)]
    filter: Filter,
}

impl Run {
    pub(super) fn execute(&self, output: &mut Output) -> Result<Exit, Failure> {
        let overrides = self.changes.and(&self.until);
        let scenario = files::scenario(&self.scenario, &overrides)?;
        let keep = self.format == RunFormat::Jsonl
            || self.format == RunFormat::Human && !self.filter.is_empty();
        let again = command_line("run", &self.scenario, &overrides);
        let again = format!("{again} --seed {}{}", self.seed, self.plant.again());
        let outcome = simulate(&scenario, self.seed, self.plant.defects(), keep, &again)?;
        self.filter.validate(&Names::of(&outcome))?;
        let replay = self.write_case(&outcome)?;
        self.print(&outcome, replay.as_deref(), output)?;
        if self.strict && outcome.violations.is_empty() && outcome.is_vacuous() {
            anstream::eprintln!("vacuous: {}", emptiness(&outcome).join("; "));
            return Ok(Exit::Vacuous);
        }
        Ok(Exit::of(&outcome))
    }

    /// Writes what is asked for, and the case of a failing run anyway. Answers the command that
    /// replays the latter.
    fn write_case(&self, outcome: &Outcome) -> Result<Option<String>, Failure> {
        let directory = match (&self.out, outcome.violations.first()) {
            (Some(out), _) => out.trim_end_matches('/').to_owned(),
            (None, Some(first)) => {
                let class = first.class.name().replace(' ', "-");
                format!("{OUT}/{}-{class}-{}", outcome.verdict, outcome.digest)
            }
            (None, None) => return Ok(None),
        };
        let path = Path::new(&directory);
        let replay = format!("cutline replay {}", quoted(&format!("{directory}/case.json")));
        let replay = (!outcome.violations.is_empty()).then_some(replay);
        files::write(path, "case.json", &Case::of(outcome).to_json())?;
        if self.out.is_some() {
            let summary = summary_json(outcome, replay.as_deref(), None) + "\n";
            files::write(path, "summary.json", &summary)?;
        }
        Ok(replay)
    }

    fn print(
        &self,
        outcome: &Outcome,
        replay: Option<&str>,
        output: &mut Output,
    ) -> Result<(), Failure> {
        match self.format {
            RunFormat::Human => {
                output.print(&summary_text(outcome, STYLE))?;
                if !self.filter.is_empty() {
                    output.print("\n")?;
                    view::print_excerpt(outcome, &self.filter, output)?;
                }
                if let Some(replay) = replay {
                    output.print(&format!("replay: {replay}\n"))?;
                }
            }
            RunFormat::Json => output.print(&(summary_json(outcome, replay, None) + "\n"))?,
            RunFormat::Jsonl => {
                view::print_trace(outcome, &self.filter, output)?;
                output.print(&(summary_json(outcome, replay, None) + "\n"))?;
            }
        }
        if let (Some(replay), RunFormat::Json | RunFormat::Jsonl) = (replay, self.format) {
            anstream::eprintln!("replay: {replay}");
        }
        Ok(())
    }
}

/// What was empty about a run.
fn emptiness(outcome: &Outcome) -> Vec<String> {
    let empty = outcome.findings.iter().filter(|of| of.outcome == check::Outcome::Vacuous);
    let checks = empty.map(|of| format!("`{}` had nothing to judge", of.check));
    let faults = outcome.inert_faults().into_iter();
    checks.chain(faults.map(|fault| format!("faults[{fault}] never struck"))).collect()
}
