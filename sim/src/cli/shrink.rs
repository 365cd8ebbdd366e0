//! `cutline shrink`: a failing run with less of everything.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use cutline::defect::Defects;
use serde_json::{Value, json};

use crate::explore::shrink::{NothingToShrink, Shrunk, Subject, shrink};
use crate::run::Outcome;
use crate::scenario::{Case, to_json};

use super::arguments::{parse_budget, quoted};
use super::exit::{Exit, Failure};
use super::files::{self, Runnable};
use super::output::{Output, STYLE};
use super::simulate::attempt;

/// Makes a failing case smaller, with the same signature
///
/// Takes away faults, operators, subtasks, records, checkpoints and options, as long as the first
/// violation stays the same, and says which of what is left is needed. The order of attempts
/// depends on the case alone; the budget can only end the search early.
#[derive(Debug, Args)]
pub(super) struct Shrink {
    /// The case; or a scenario that fails, or breaks an assertion of ours
    #[arg(value_name = "CASE|SCENARIO")]
    file: String,

    /// The seed of a scenario, 0 unless given; a case has its own
    #[arg(long)]
    seed: Option<u64>,

    /// Ends the search after so much time, on the clock of this machine
    #[arg(long, value_name = "TIME", default_value = "10 s", value_parser = parse_budget)]
    budget: Duration,

    /// Ends the search after so many runs; the result is the same on every machine if this comes
    /// first
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    attempts: u64,

    /// Where the smaller case goes; beside the case, with `-shrunk` in its name, unless given
    #[arg(long, value_name = "FILE")]
    out: Option<String>,

    /// How the result is printed
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table to read
    Human,
    /// One JSON object
    Json,
}

impl Shrink {
    pub(super) fn execute(&self, output: &mut Output) -> Result<Exit, Failure> {
        let (subject, promised) = self.subject()?;
        let started = Instant::now();
        let mut go_on = || started.elapsed() < self.budget;
        let shrunk = match shrink(&subject, self.attempts, &mut go_on) {
            Ok(shrunk) => shrunk,
            Err(NothingToShrink::Passes) if promised.is_some() => {
                anstream::eprintln!("{} does not fail any more", self.file);
                return Ok(Exit::Diverged);
            }
            Err(error) => return Err(Failure::Input(format!("{}: {error}", self.file))),
        };
        if let Some(promised) = promised.filter(|promised| *promised != shrunk.signature) {
            let (file, now) = (&self.file, &shrunk.signature);
            anstream::eprintln!("{file} says {promised}, but its run is {now} now");
            return Ok(Exit::Diverged);
        }
        let scenario = Arc::new(shrunk.scenario.clone());
        let outcome = attempt(&scenario, shrunk.seed, subject.defects)?;
        let (path, text, replay) = self.result(&shrunk, outcome.as_ref());
        files::write_path(&path, &text)?;
        match self.format {
            Format::Human => self.print(&shrunk, &path, &replay, output)?,
            Format::Json => {
                output.print(&(self.json(&shrunk, &path, &replay).to_string() + "\n"))?
            }
        }
        Ok(Exit::Ok)
    }

    /// What is to shrink, and the signature that it should have, if it is known.
    fn subject(&self) -> Result<(Subject, Option<String>), Failure> {
        match files::runnable(&self.file, &[])? {
            Runnable::Scenario(scenario) => {
                let (seed, defects) = (self.seed.unwrap_or(0), Defects::none());
                Ok((Subject { scenario: (*scenario).clone(), seed, defects }, None))
            }
            Runnable::Case(_) if self.seed.is_some() => {
                let message = "`--seed` is for scenarios; a case has its own seed";
                Err(Failure::Usage(message.to_owned()))
            }
            Runnable::Case(case) => {
                let Some(violation) = &case.violation else {
                    let message = format!("{} is a case without a violation", self.file);
                    return Err(Failure::Input(message));
                };
                let signature = violation.signature();
                let (scenario, seed, defects) = (case.scenario, case.seed, case.defects);
                Ok((Subject { scenario, seed, defects }, Some(signature)))
            }
        }
    }

    /// Where the result goes, its text, and the line that shows it again. A run that breaks off has
    /// no digest, so there is its scenario alone.
    fn result(&self, shrunk: &Shrunk, outcome: Option<&Outcome>) -> (PathBuf, String, String) {
        let path = match &self.out {
            Some(path) => PathBuf::from(path),
            None => {
                let path = Path::new(&self.file);
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                path.with_file_name(format!("{stem}-shrunk.json"))
            }
        };
        let file = quoted(&path.display().to_string());
        match outcome {
            Some(outcome) => (path, Case::of(outcome).to_json(), format!("cutline replay {file}")),
            None => {
                let text = to_json(&shrunk.scenario);
                (path, text, format!("cutline run {file} --seed {}", shrunk.seed))
            }
        }
    }

    fn print(
        &self,
        shrunk: &Shrunk,
        path: &Path,
        replay: &str,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let (head, dim, reset) = (STYLE.head, STYLE.dim, STYLE.reset);
        output.print(&format!("{head}{}{reset}\n\n", shrunk.signature))?;
        output.print(&format!("{dim}{:<13}{:>9}{:>9}{reset}\n", "", "before", "after"))?;
        for ((name, before), (_, after)) in
            shrunk.before.rows().into_iter().zip(shrunk.after.rows())
        {
            output.print(&format!("{name:<13}{before:>9}{after:>9}\n"))?;
        }
        let end = match shrunk.complete {
            true => "nothing more can go",
            false => "the search was ended by its bounds",
        };
        let (attempts, kept) = (shrunk.attempts, shrunk.kept);
        output.print(&format!("\n{attempts} runs, {kept} edits kept; {end}\n"))?;
        for (title, needed) in [("needed", true), ("not needed, but no smaller without", false)] {
            let of = |part: &&_| {
                crate::explore::shrink::Part::is_needed(part, &shrunk.signature) == needed
            };
            let parts: Vec<_> = shrunk.parts.iter().filter(of).collect();
            if parts.is_empty() {
                continue;
            }
            output.print(&format!("\n{head}{title}{reset}\n"))?;
            for part in parts {
                let then = match &part.then {
                    None => "it passes".to_owned(),
                    Some(_) if !needed => "the same".to_owned(),
                    Some(other) => format!("it is {other}"),
                };
                output.print(&format!("  {}: {then}\n", part.what))?;
            }
        }
        output.print(&format!("\ncase {}\nreplay: {replay}\n", path.display()))?;
        Ok(())
    }

    fn json(&self, shrunk: &Shrunk, path: &Path, replay: &str) -> Value {
        json!({
            "signature": shrunk.signature,
            "before": shrunk.before,
            "after": shrunk.after,
            "attempts": shrunk.attempts,
            "kept": shrunk.kept,
            "complete": shrunk.complete,
            "parts": shrunk.parts,
            "case": path.display().to_string(),
            "replay": replay,
        })
    }
}
