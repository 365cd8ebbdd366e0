//! `cutline model validate`: simulations of small jobs against the closed forms.

use clap::{Args, ValueEnum};

use crate::cli::arguments::{parse_share, quoted};
use crate::cli::exit::{Exit, Failure};
use crate::cli::files;
use crate::cli::guard::broken;
use crate::cli::output::Output;
use crate::explore::Panic;
use crate::validate::horizon::{CompareError, Comparison, own_jobs, read_jobs};
use crate::validate::{Horizons, Validation, read_recoveries, validate};

/// Runs of a job, both ways, unless told otherwise.
const REPEAT: u64 = 4;

/// Simulates small jobs and compares them with the closed forms, or long horizons with
/// record-level runs
///
/// Exit code 13: something is off by more than is allowed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Validate {
    /// Also simulates recoveries that were measured on a cluster: a table `khaos_recovery`
    #[arg(long, value_name = "TABLE.JSON", conflicts_with = "coarsen")]
    recoveries: Option<String>,

    /// Instead of the forms: runs random jobs with `sweep --coarsen` of this error, such as 3%, and
    /// record by record, and compares every mean. Takes minutes
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    coarsen: Option<f64>,

    /// Other jobs for that, one scenario a line
    #[arg(long, value_name = "JOBS.JSONL", requires = "coarsen")]
    jobs: Option<String>,

    /// Runs of each of these jobs, both ways
    #[arg(long, default_value_t = REPEAT, requires = "coarsen", value_parser = clap::value_parser!(u64).range(2..=1_000))]
    repeat: u64,

    /// Threads; as many as there are cores unless given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,

    /// How the comparison is printed
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  cutline model validate
  cutline model validate --coarsen 3% --format markdown > docs/long-horizon-validation.md";

/// How a validation is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table
    Human,
    /// A document, with what was not validated and each recovery
    Markdown,
    /// One JSON object
    Json,
}

impl Validate {
    pub(super) fn execute(&self, output: &mut Output) -> Result<Exit, Failure> {
        let threads = self.threads.map(usize::from);
        if let Some(tolerance) = self.coarsen {
            return self.horizons(tolerance, output);
        }
        let recoveries = match &self.recoveries {
            Some(path) => {
                let read = read_recoveries(&files::text(path)?, threads);
                let read = read.map_err(|error| Failure::Input(format!("{path}: {error}")))?;
                read.map_err(|panic| self.broken(&panic))?
            }
            None => Vec::new(),
        };
        let rows = validate(threads).map_err(|panic| self.broken(&panic))?;
        let found = Validation { rows, recoveries };
        output.print(&match self.format {
            Format::Human => found.text(),
            Format::Markdown => found.markdown(&self.command()),
            Format::Json => format!("{:#}\n", found.json()),
        })?;
        Ok(if found.missed() == 0 { Exit::Ok } else { Exit::GoalMissed })
    }

    /// Long horizons against record-level runs.
    fn horizons(&self, tolerance: f64, output: &mut Output) -> Result<Exit, Failure> {
        let jobs = match &self.jobs {
            Some(path) => {
                let jobs = read_jobs(&files::text(path)?);
                jobs.map_err(|error| Failure::Input(format!("{path}: {error}")))?
            }
            None => own_jobs(),
        };
        let threads = self.threads.map(usize::from);
        let comparison = Comparison { jobs, tolerance, repeats: self.repeat, threads };
        let compared = comparison.run().map_err(|error| match error {
            CompareError::Panic(panic) => self.broken(&panic),
            // What a check has ended measures nothing.
            CompareError::Violation { .. } => Failure::Inconclusive(error.to_string()),
        })?;
        let found = Horizons { compared, tolerance, repeats: self.repeat };
        output.print(&match self.format {
            Format::Human => found.text(),
            Format::Markdown => found.markdown(&self.command()),
            Format::Json => format!("{:#}\n", found.json()),
        })?;
        Ok(if found.missed() == 0 { Exit::Ok } else { Exit::GoalMissed })
    }

    fn command(&self) -> String {
        if let Some(tolerance) = self.coarsen {
            let jobs = self.jobs.as_ref();
            let jobs = jobs.map_or(String::new(), |path| format!(" --jobs {}", quoted(path)));
            let repeat = match self.repeat {
                REPEAT => String::new(),
                repeat => format!(" --repeat {repeat}"),
            };
            return format!(
                "cutline model validate --coarsen {tolerance}{jobs}{repeat} --format markdown"
            );
        }
        let recoveries = self.recoveries.as_ref();
        let recoveries = recoveries.map(|path| format!(" --recoveries {}", quoted(path)));
        format!("cutline model validate{} --format markdown", recoveries.unwrap_or_default())
    }

    fn broken(&self, panic: &Panic) -> Failure {
        broken(panic, "validating", &self.command())
    }
}
