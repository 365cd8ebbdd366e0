//! `cutline completions`: for shells.

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::exit::{Exit, Failure};
use super::output::Output;

/// Prints a script that completes the arguments of cutline in a shell
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn execute(&self, output: &mut Output) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        generate(self.shell, &mut super::Cli::command(), "cutline", &mut script);
        output.print(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Ok)
    }
}
