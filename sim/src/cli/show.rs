//! `cutline show`: what happened, line by line.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use cutline::defect::Defects;
use cutline::time::VirtualTime;

use crate::explain::explain;
use crate::report::{Line, Names, explanation_json, explanation_text, lines};
use crate::run::Outcome;

use super::arguments::{Changes, command_line, parse_time};
use super::exit::{Exit, Failure};
use super::files::{self, Runnable};
use super::filter::Filter;
use super::output::{Output, STYLE, width};
use super::simulate::simulate;
use super::view::{print_json, print_view};

/// Shows a run as a space-time view: a column for each subtask, a line for each event
#[derive(Debug, Args)]
pub(super) struct Show {
    /// A scenario or a case, which is run, or a trace (JSON Lines)
    #[arg(value_name = "SCENARIO|CASE|TRACE.jsonl")]
    file: String,

    /// The seed of a scenario, 0 unless given; a case has its own
    #[arg(long)]
    seed: Option<u64>,

    #[command(flatten)]
    changes: Changes,

    /// How it is shown
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Only from this virtual time on
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<VirtualTime>,

    /// Only to this virtual time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<VirtualTime>,

    /// At most so many lines
    #[arg(long, value_name = "N")]
    limit: Option<usize>,

    /// Only the events that led to the violation, with a verdict above them
    #[arg(long, conflicts_with_all = ["from", "until", "limit", "subtask", "channel", "checkpoint", "step", "records", "steps"])]
    explain: bool,

    #[command(flatten)]
    filter: Filter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A space-time view
    Text,
    /// One JSON object a line
    Jsonl,
    /// One JSON object: with --explain
    Json,
}

impl Show {
    pub(super) fn execute(&self, output: &mut Output) -> Result<Exit, Failure> {
        if self.explain != (self.format == Format::Json) && self.format != Format::Text {
            let message = match self.explain {
                true => "`--explain` is printed as text or as json",
                false => "`--format json` is for `--explain`; a trace is printed as jsonl",
            };
            return Err(Failure::Usage(message.to_owned()));
        }
        if self.file.ends_with(".jsonl") {
            return self.show_trace(output);
        }
        let outcome = self.simulate()?;
        if self.explain {
            return self.print_explanation(&outcome, output);
        }
        let names = Names::of(&outcome);
        self.filter.validate(&names)?;
        self.print(lines(&outcome), &names.columns(), output)?;
        Ok(Exit::Ok)
    }

    fn print_explanation(&self, outcome: &Outcome, output: &mut Output) -> Result<Exit, Failure> {
        let Some(explanation) = explain(outcome) else {
            match self.format {
                Format::Json => output.print("{\"violation\":null}\n")?,
                Format::Text | Format::Jsonl => {
                    output.print("The run breaks no promise: there is nothing to explain.\n")?;
                }
            }
            return Ok(Exit::Ok);
        };
        let text = match self.format {
            Format::Json => explanation_json(&explanation) + "\n",
            Format::Text | Format::Jsonl => explanation_text(&explanation, width(), STYLE),
        };
        output.print(&text)?;
        Ok(Exit::Ok)
    }

    fn simulate(&self) -> Result<Outcome, Failure> {
        let overrides = &self.changes.overrides;
        let again = command_line("show", &self.file, overrides);
        match files::runnable(&self.file, overrides)? {
            Runnable::Scenario(scenario) => {
                let seed = self.seed.unwrap_or(0);
                simulate(&scenario, seed, Defects::none(), true, &format!("{again} --seed {seed}"))
            }
            Runnable::Case(case) => {
                if self.seed.is_some() {
                    let message = "`--seed` is for scenarios; a case has its own seed";
                    return Err(Failure::Usage(message.to_owned()));
                }
                simulate(&case.scenario.into(), case.seed, case.defects, true, &again)
            }
        }
    }

    fn show_trace(&self, output: &mut Output) -> Result<Exit, Failure> {
        if self.seed.is_some() || !self.changes.overrides.is_empty() {
            let message = "`--seed` and `--set` are for what is run; a trace is only read";
            return Err(Failure::Usage(message.to_owned()));
        }
        if self.explain {
            let message = "`--explain` is for what is run: a trace does not say what was violated";
            return Err(Failure::Usage(message.to_owned()));
        }
        let trace = files::trace(&self.file)?;
        let subtasks = subtasks(&trace);
        self.print(trace.into_iter(), &subtasks, output)?;
        Ok(Exit::Ok)
    }

    fn print(
        &self,
        lines: impl Iterator<Item = Line>,
        subtasks: &[String],
        output: &mut Output,
    ) -> Result<(), Failure> {
        let from = self.from.unwrap_or(VirtualTime::ZERO);
        let until = self.until.unwrap_or(VirtualTime::MAX);
        let limit = self.limit.unwrap_or(usize::MAX);
        let lines = lines.filter(|line| from <= line.at && line.at <= until);
        match self.format {
            Format::Text => {
                let wanted = lines.filter(|line| self.filter.accepts_in_view(line)).take(limit);
                print_view(wanted, &self.filter.columns(subtasks), output)?;
            }
            Format::Jsonl | Format::Json => {
                let wanted = lines.filter(|line| self.filter.accepts(line)).take(limit);
                print_json(wanted, output)?;
            }
        }
        Ok(())
    }
}

/// The subtasks of a trace: operators in the order of their first event, each with its subtasks in
/// the order of their numbers.
fn subtasks(trace: &[Line]) -> Vec<String> {
    let mut operators: Vec<&str> = Vec::new();
    let mut found: BTreeMap<(usize, u32, &str), ()> = BTreeMap::new();
    for name in trace.iter().filter_map(|line| line.subtask.as_deref()) {
        let (operator, index) = name.rsplit_once('[').unwrap_or((name, "0]"));
        let index = index.trim_end_matches(']').parse().unwrap_or(0);
        let place = operators.iter().position(|known| *known == operator);
        let place = place.unwrap_or_else(|| {
            operators.push(operator);
            operators.len() - 1
        });
        found.insert((place, index, name), ());
    }
    found.into_keys().map(|(_, _, name)| name.to_owned()).collect()
}
