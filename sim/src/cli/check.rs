//! `cutline check`: a scenario's mistakes, without running it.

use clap::Args;

use crate::scenario::{Override, load};

use super::arguments::Changes;
use super::exit::{Exit, Failure};
use super::files;
use super::output::Output;

/// Checks scenario files without running them, and says all that is wrong with them
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The scenario files
    #[arg(required = true, value_name = "SCENARIO")]
    scenarios: Vec<String>,

    #[command(flatten)]
    changes: Changes,
}

impl Check {
    pub(super) fn execute(&self, output: &mut Output) -> Result<Exit, Failure> {
        let mut exit = Exit::Ok;
        for path in &self.scenarios {
            match check(path, &self.changes.overrides) {
                Ok(warnings) => output.print(&format!("{path}: ok{warnings}\n"))?,
                Err(failure) => exit = failure.report(),
            }
        }
        Ok(exit)
    }
}

/// Answers how many warnings a good scenario has, in words.
fn check(path: &str, overrides: &[Override]) -> Result<String, Failure> {
    let loaded = load(&files::read(path)?, path, overrides)?;
    files::warn(&loaded.warnings);
    Ok(match loaded.warnings.list().len() {
        0 => String::new(),
        1 => ", 1 warning".to_owned(),
        count => format!(", {count} warnings"),
    })
}
