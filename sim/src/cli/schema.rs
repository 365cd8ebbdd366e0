//! `cutline schema`: what a scenario file may hold.

use clap::Args;

use super::exit::{Exit, Failure};
use super::output::Output;

/// Prints the JSON Schema of scenario files
#[derive(Debug, Args)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn execute(&self, output: &mut Output) -> Result<Exit, Failure> {
        output.print(&format!("{:#}\n", crate::scenario::schema()))?;
        Ok(Exit::Ok)
    }
}
