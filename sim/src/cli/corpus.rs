//! `cutline corpus`: what was found once, kept with what is expected of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use crate::explore::corpus::{Kept, verdict};
use crate::scenario::Case;

use super::exit::{Exit, Failure};
use super::files::{self, Runnable};
use super::output::{Output, STYLE};
use super::simulate::simulate;

/// Where the corpus of a repository is.
const FOLDER: &str = "scenarios/regressions";

/// Keeps cases with what is expected of them, and runs them all
#[derive(Debug, Args)]
pub(super) struct Corpus {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Add(Add),
    Run(Run),
}

/// Runs a case as things are now and keeps it with what came of it
///
/// Add a failing case when it is found: `corpus run` then says when that has changed. When the bug
/// is mended, add the case again with `--replace`: from then on it must hold.
#[derive(Debug, Args)]
struct Add {
    /// The case file
    case: String,

    /// Its name in the corpus; that of the file unless given
    #[arg(long, value_parser = parse_name)]
    name: Option<String>,

    /// The folder of the corpus
    #[arg(long, value_name = "DIR", default_value = FOLDER)]
    dir: String,

    /// Takes the place of a file that is there already
    #[arg(long)]
    replace: bool,
}

/// Runs everything in a corpus: exit code 10 if something does not come to what is expected
///
/// A case must come to its verdict and signature, a scenario must hold with 16 seeds and each of
/// its faults strike.
#[derive(Debug, Args)]
struct Run {
    /// The folder of the corpus
    #[arg(value_name = "DIR", default_value = FOLDER)]
    dir: String,

    /// How the results are printed
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line for each file
    Human,
    /// One JSON object
    Json,
}

fn parse_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match !text.is_empty() && text.chars().all(plain) {
        true => Ok(text.to_owned()),
        false => Err("expected letters, digits, `-` and `_`".to_owned()),
    }
}

impl Corpus {
    pub(super) fn execute(&self, output: &mut Output) -> Result<Exit, Failure> {
        match &self.action {
            Action::Add(add) => add.execute(output),
            Action::Run(run) => run.execute(output),
        }
    }
}

impl Add {
    fn execute(&self, output: &mut Output) -> Result<Exit, Failure> {
        let case = files::case(&self.case, &[])?;
        let stem = Path::new(&self.case).file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("{}.json", self.name.as_deref().unwrap_or(&stem));
        let path = Path::new(&self.dir).join(&name);
        if path.exists() && !self.replace {
            return Err(Failure::Usage(format!(
                "{} exists; `--replace` takes its place, another `--name` adds to it",
                path.display()
            )));
        }
        let again = super::arguments::command_line("replay", &self.case, &[]);
        let was = Kept::Case(Box::new(case.clone())).expected();
        let outcome = simulate(&Arc::new(case.scenario), case.seed, case.defects, false, &again)?;
        let now = verdict(&outcome);
        files::write(Path::new(&self.dir), &name, &Case::of(&outcome).to_json())?;
        if was != now {
            anstream::eprintln!("{} says {was}; that has changed", self.case);
        }
        output.print(&format!("{}: expected from now on: {now}\n", path.display()))?;
        Ok(Exit::Ok)
    }
}

impl Run {
    fn execute(&self, output: &mut Output) -> Result<Exit, Failure> {
        let mut rows = Vec::new();
        for path in self.files()? {
            let path = path.display().to_string();
            let kept = match files::runnable(&path, &[])? {
                Runnable::Scenario(scenario) => Kept::Scenario(scenario),
                Runnable::Case(case) => Kept::Case(case),
            };
            let difference = kept
                .difference()
                .map_err(|error| Failure::Input(format!("{path}: the job cannot run: {error}")))?;
            rows.push((path, kept.expected(), difference));
        }
        let differ = rows.iter().filter(|(_, _, difference)| difference.is_some()).count();
        match self.format {
            Format::Human => {
                let (bad, reset) = (STYLE.bad, STYLE.reset);
                for (path, expected, difference) in &rows {
                    let line = match difference {
                        None => format!("ok       {path}: {expected}\n"),
                        Some(now) => {
                            format!("{bad}differs{reset}  {path}: {expected}, now {now}\n")
                        }
                    };
                    output.print(&line)?;
                }
                output.print(&summary(rows.len(), differ))?;
            }
            Format::Json => {
                let files: Vec<_> = rows
                    .iter()
                    .map(|(path, expected, now)| {
                        json!({ "file": path, "expected": expected, "differs": now })
                    })
                    .collect();
                output.print(&format!("{}\n", json!({ "files": files, "differ": differ })))?;
            }
        }
        Ok(if differ == 0 { Exit::Ok } else { Exit::Safety })
    }

    /// The JSON files of the folder, by name.
    fn files(&self) -> Result<Vec<PathBuf>, Failure> {
        let refuse = |error| Failure::Input(format!("cannot read {}: {error}", self.dir));
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(refuse)? {
            let path = entry.map_err(refuse)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                files.push(path);
            }
        }
        files.sort();
        match files.is_empty() {
            true => Err(Failure::Input(format!("{} has no scenarios and no cases", self.dir))),
            false => Ok(files),
        }
    }
}

/// `2 files, 1 differs`.
fn summary(files: usize, differ: usize) -> String {
    let files = if files == 1 { "1 file".to_owned() } else { format!("{files} files") };
    match differ {
        0 => format!("{files}, none differs\n"),
        1 => format!("{files}, 1 differs\n"),
        _ => format!("{files}, {differ} differ\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::summary;

    #[test]
    fn one_and_many() {
        assert_eq!(summary(1, 0), "1 file, none differs\n");
        assert_eq!(summary(2, 1), "2 files, 1 differs\n");
        assert_eq!(summary(9, 2), "9 files, 2 differ\n");
    }
}
