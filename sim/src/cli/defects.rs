//! `cutline defects`: the bugs that can be planted.

use clap::{Args, ValueEnum};
use cutline::defect::{Defect, Defects as Planted};
use serde_json::json;

use super::exit::{Exit, Failure};
use super::output::Output;

/// Lists the defects that `--defect` plants: bugs of real stream processors, each a switch in the
/// protocol
#[derive(Debug, Args)]
pub(super) struct Defects {
    /// How the list is printed
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// How the list is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line for each
    Human,
    /// One JSON array
    Json,
}

impl Defects {
    pub(super) fn execute(&self, output: &mut Output) -> Result<Exit, Failure> {
        let all = Defect::ALL.iter();
        match self.format {
            Format::Human => {
                for defect in all {
                    output.print(&format!("{defect}  {}\n", defect.title()))?;
                }
            }
            Format::Json => {
                let rows: Vec<_> = all
                    .map(|defect| json!({ "id": defect.id(), "title": defect.title() }))
                    .collect();
                output.print(&format!("{}\n", json!(rows)))?;
            }
        }
        if let Some(Err(error)) = Defect::ALL.first().map(|defect| Planted::plant(*defect)) {
            anstream::eprintln!("{error}");
        }
        Ok(Exit::Ok)
    }
}
