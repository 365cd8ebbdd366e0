//! `cutline calibrate`: what checkpoints and recoveries cost on a real cluster.

mod rest;

pub(super) use rest::{parse_load, parse_rate};

use clap::{Args, ValueEnum};

use crate::calibrate::fit::fit;
use crate::calibrate::goal::{Goal, Reached};
use crate::calibrate::judge::{Judged, cross_validate, errors, judge};
use crate::calibrate::report;
use crate::calibrate::runs::{Run, read_runs};
use crate::flink::requests;

use super::exit::{Exit, Failure};
use super::output::Output;

/// Fits a cost profile to what was measured on a cluster
///
/// From runs (one JSON object a line), with predictions judged against other runs or against
/// those that were left out; from a dump of Flink's REST interface, with a scenario that `run` and
/// `sweep` take; or from both, where runs fill in what a dump cannot tell.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group = clap::ArgGroup::new("source").required(true).multiple(true))]
pub(super) struct Calibrate {
    /// Measured runs to fit from
    #[arg(long, value_name = "FILE", group = "source")]
    from_runs: Option<String>,

    /// A dump of Flink's REST interface: a directory with one file an endpoint
    #[arg(long, value_name = "DIR", group = "source", conflicts_with_all = ["judge", "cross_validate", "goals"])]
    from_rest: Option<String>,

    /// Prints a shell script that makes such a dump from the job manager at this address; opens no
    /// connection itself
    #[arg(long, value_name = "HOST:PORT", group = "source", value_parser = rest::parse_address,
        conflicts_with_all = ["from_runs", "from_rest", "format"])]
    print_curl: Option<String>,

    /// Writes the scenario that a dump makes
    #[arg(long, value_name = "FILE", requires = "from_rest")]
    out: Option<String>,

    /// Records that all sources bring, such as 20000/s; a dump may not know
    #[arg(long, value_name = "RATE", requires = "from_rest", value_parser = rest::parse_rate)]
    rate: Option<f64>,

    /// What is offered over what the job can take, such as 80%; a dump of a job that cannot keep up
    /// does not know
    #[arg(long, value_name = "SHARE", requires = "from_rest", value_parser = rest::parse_load)]
    load: Option<f64>,

    /// Measured runs to judge predictions by
    #[arg(long, value_name = "FILE", requires = "from_runs", conflicts_with = "cross_validate")]
    judge: Option<String>,

    /// Judges every run by a profile fitted from the other configurations
    #[arg(long, requires = "from_runs")]
    cross_validate: bool,

    /// Fails with exit code 13 if an error is larger, such as
    /// checkpoint_duration.median_error<=20%; may be repeated
    #[arg(long = "goal", value_name = "GOAL", value_parser = Goal::parse, requires = "from_runs")]
    goals: Vec<Goal>,

    /// How the result is printed
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  cutline calibrate --print-curl jobmanager:8081 >dump.sh && sh dump.sh
  cutline calibrate --from-rest flink-dump --out scenario.json
  cutline calibrate --from-rest flink-dump --from-runs runs.jsonl --load 80% --out scenario.json
  cutline calibrate --from-runs runs.jsonl --cross-validate";

/// How a calibration is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables to read
    Human,
    /// One JSON object
    Json,
}

impl Calibrate {
    pub(super) fn execute(&self, output: &mut Output) -> Result<Exit, Failure> {
        match (&self.print_curl, &self.from_rest, &self.from_runs) {
            (Some(address), _, _) => {
                output.print(&requests::script(address))?;
                Ok(Exit::Ok)
            }
            (None, Some(path), runs) => self.rest(path, runs.as_deref(), output),
            (None, None, Some(path)) => self.runs(path, output),
            (None, None, None) => Err(Failure::Usage("nothing to fit from".to_owned())),
        }
    }

    fn runs(&self, path: &str, output: &mut Output) -> Result<Exit, Failure> {
        if !self.goals.is_empty() && self.judge.is_none() && !self.cross_validate {
            let message = "a goal is about errors: --judge FILE or --cross-validate makes them";
            return Err(Failure::Usage(message.to_owned()));
        }
        let runs = read(path)?;
        let others = self.judge.as_deref().map(read).transpose()?;
        let inconclusive = |error| Failure::Inconclusive(format!("{path}: {error}"));
        let profile = fit(&runs.iter().collect::<Vec<_>>()).map_err(inconclusive)?;
        let judged = match (others, self.cross_validate) {
            (Some(others), _) => Some(judge(&profile, &others)),
            (None, true) => Some(cross_validate(&runs).map_err(inconclusive)?),
            (None, false) => None,
        };
        let errors = judged.as_deref().map(errors).unwrap_or_default();
        let goals = self.goals.iter().map(|goal| (goal.clone(), goal.judge(&errors)));
        let goals: Vec<(Goal, Reached)> = goals.collect();
        match self.format {
            Format::Human => {
                let text = match judged.as_deref() {
                    Some(judged) => report::judgement_text(judged),
                    None => report::profile_text(&profile),
                };
                output.print(&text)?;
                output.print(&report::cannot_tell_text(&profile.cannot_tell))?;
                output.print(&report::goals_text(&goals))?;
            }
            Format::Json => {
                let report = report::report_json(&profile, judged.as_deref(), &goals);
                output.print(&(serde_json::Value::from(report).to_string() + "\n"))?;
            }
        }
        Ok(reached(&goals, judged.as_deref()))
    }
}

fn read(path: &str) -> Result<Vec<Run>, Failure> {
    read_runs(path).map_err(|error| Failure::Input(error.to_string()))
}

/// A missed goal outweighs one that nothing tells about.
fn reached(goals: &[(Goal, Reached)], judged: Option<&[Judged]>) -> Exit {
    let unknown = goals.iter().filter(|(_, reached)| *reached == Reached::Unknown);
    for (goal, _) in unknown.clone() {
        let runs = judged.map_or(0, <[Judged]>::len);
        anstream::eprintln!(
            "inconclusive: goal {}: none of {runs} judged runs tells; at least 1 run of kind \
             {:?} is needed in both files",
            goal.text(),
            goal.measure().told_by().name(),
        );
    }
    if goals.iter().any(|(_, reached)| matches!(reached, Reached::Missed(_))) {
        Exit::GoalMissed
    } else if unknown.count() > 0 {
        Exit::Inconclusive
    } else {
        Exit::Ok
    }
}
