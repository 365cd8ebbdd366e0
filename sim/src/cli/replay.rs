//! `cutline replay`: a case once more, to the byte.

use std::sync::Arc;

use clap::Args;

use crate::explain::parting_of_ladders;
use crate::report::{Names, summary_json, summary_text};
use crate::run::Outcome;
use crate::scenario::{Case, Override};

use super::arguments::{Changes, RunFormat, Until, command_line};
use super::exit::{Exit, Failure};
use super::filter::Filter;
use super::output::{Output, STYLE};
use super::simulate::simulate;
use super::{files, view};

/// Runs a case again and compares: exit code 12 if it has become another run
#[derive(Debug, Args)]
pub(super) struct Replay {
    /// The case file
    case: String,

    #[command(flatten)]
    changes: Changes,

    #[command(flatten)]
    until: Until,

    /// How the run is printed
    #[arg(long, value_enum, default_value_t = RunFormat::Human)]
    format: RunFormat,

    #[command(flatten)]
    filter: Filter,
}

/// How a replay compares with its case.
#[derive(Debug)]
enum Comparison {
    /// The same to the byte, and judged alike.
    Same,
    /// The case was changed before it ran; nothing can be said.
    Changed,
    /// Something else happened, or it is judged otherwise: in these words.
    Diverged(String),
}

impl Replay {
    pub(super) fn execute(&self, output: &mut Output) -> Result<Exit, Failure> {
        let overrides = self.changes.and(&self.until);
        let case = files::case(&self.case, &overrides)?;
        let keep = self.format == RunFormat::Jsonl
            || self.format == RunFormat::Human && !self.filter.is_empty();
        let again = command_line("replay", &self.case, &overrides);
        let scenario = Arc::new(case.scenario.clone());
        let outcome = simulate(&scenario, case.seed, case.defects, keep, &again)?;
        self.filter.validate(&Names::of(&outcome))?;
        let comparison = compare(&case, &outcome, &overrides);
        self.print(&case, &outcome, &comparison, output)?;
        if !outcome.violations.is_empty() {
            match self.format {
                RunFormat::Human => output.print(&format!("replay: {again}\n"))?,
                RunFormat::Json | RunFormat::Jsonl => anstream::eprintln!("replay: {again}"),
            }
        }
        Ok(match comparison {
            Comparison::Same | Comparison::Changed => Exit::of(&outcome),
            Comparison::Diverged(_) => Exit::Diverged,
        })
    }

    fn print(
        &self,
        case: &Case,
        outcome: &Outcome,
        comparison: &Comparison,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let summary = || summary_json(outcome, None, Some(&case.ladder)) + "\n";
        match self.format {
            RunFormat::Human => {
                output.print(&summary_text(outcome, STYLE))?;
                if !self.filter.is_empty() {
                    output.print("\n")?;
                    view::print_excerpt(outcome, &self.filter, output)?;
                }
                output.print(&shown(case, comparison))?;
            }
            RunFormat::Json => output.print(&summary())?,
            RunFormat::Jsonl => {
                view::print_trace(outcome, &self.filter, output)?;
                output.print(&summary())?;
            }
        }
        if let (Comparison::Diverged(how), RunFormat::Json | RunFormat::Jsonl) =
            (comparison, self.format)
        {
            anstream::eprintln!("diverged: {how}");
        }
        Ok(())
    }
}

fn compare(case: &Case, outcome: &Outcome, overrides: &[Override]) -> Comparison {
    if !overrides.is_empty() {
        return Comparison::Changed;
    }
    if let Some(how) = parting_of_ladders(&case.ladder, &outcome.ladder) {
        return Comparison::Diverged(how);
    }
    let before = case.violation.as_ref().map(|violation| violation.signature());
    let now = outcome.violations.first().map(|violation| violation.signature());
    if (before.as_ref(), case.verdict) != (now.as_ref(), outcome.verdict) {
        let name = |signature: Option<String>| signature.unwrap_or("no violation".to_owned());
        return Comparison::Diverged(format!(
            "the same events, but {} has become {}",
            name(before),
            name(now)
        ));
    }
    Comparison::Same
}

fn shown(case: &Case, comparison: &Comparison) -> String {
    match comparison {
        Comparison::Same => "case         the same run, to the byte\n".to_owned(),
        Comparison::Changed => {
            format!("case         {} before it was changed; not compared\n", case.digest)
        }
        Comparison::Diverged(how) => {
            format!("case         {}\ndiverged     {how}\n", case.digest)
        }
    }
}
