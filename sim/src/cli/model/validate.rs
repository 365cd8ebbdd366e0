//! `cutline model validate`: simulations of small jobs against the closed forms.

use clap::{Args, ValueEnum};

use crate::cli::arguments::quoted;
use crate::cli::exit::{Exit, Failure};
use crate::cli::files;
use crate::cli::guard::broken;
use crate::cli::output::Output;
use crate::explore::Panic;
use crate::validate::{Validation, read_recoveries, validate};

/// Simulates small jobs and compares them with the closed forms
///
/// Exit code 13: something is off by more than the form allows.
#[derive(Debug, Args)]
pub(super) struct Validate {
    /// Also simulates recoveries that were measured on a cluster: a table `khaos_recovery`
    #[arg(long, value_name = "TABLE.JSON")]
    recoveries: Option<String>,

    /// Threads; as many as there are cores unless given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,

    /// How the comparison is printed
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

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
        let recoveries = match &self.recoveries {
            Some(path) => {
                let read = read_recoveries(&files::read(path)?, threads);
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

    fn command(&self) -> String {
        let recoveries = self.recoveries.as_ref();
        let recoveries = recoveries.map(|path| format!(" --recoveries {}", quoted(path)));
        format!("cutline model validate{} --format markdown", recoveries.unwrap_or_default())
    }

    fn broken(&self, panic: &Panic) -> Failure {
        broken(panic, "validating", &self.command())
    }
}
