//! `cutline conform`: recorded runs of Apache Flink against the machines, and tables of formulas
//! against the cost models.

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::conform::{Report, run_file};

use super::arguments::quoted;
use super::exit::{Exit, Failure};
use super::files;
use super::guard::guarded;
use super::output::Output;

/// Most differences that are printed.
const SHOWN_MAX: usize = 20;
/// A longer value is cut off for people; JSON has all of it.
const VALUE_MAX: usize = 300;

/// Runs vector files, which hold what Apache Flink did, or tables of the cost models, and compares
#[derive(Debug, Args)]
pub(super) struct Conform {
    /// The vector files (JSON Lines) and tables (JSON)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,

    /// How the result is printed
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A row for each file, then the first differences
    Human,
    /// One JSON object
    Json,
}

impl Conform {
    pub(super) fn execute(&self, output: &mut Output) -> Result<Exit, Failure> {
        let mut reports = Vec::new();
        let mut exit = Exit::Ok;
        for path in &self.files {
            match conform(path) {
                Ok(report) => reports.push((path.as_str(), report)),
                Err(failure) => exit = failure.report(),
            }
        }
        let text = match self.format {
            Format::Human => human(&reports),
            Format::Json => machine(&reports),
        };
        output.print(&text)?;
        let differs = reports.iter().any(|(_, report)| report.failed > 0);
        Ok(if exit == Exit::Ok && differs { Exit::Safety } else { exit })
    }
}

fn conform(path: &str) -> Result<Report, Failure> {
    let text = files::text(path)?;
    let again = format!("cutline conform {}", quoted(path));
    let report = guarded(&format!("running {path}"), &again, || run_file(&text, path))?;
    report.map_err(|error| Failure::Input(error.to_string()))
}

/// Cases, passed, failed of all files together.
fn sums(reports: &[(&str, Report)]) -> [usize; 3] {
    reports.iter().fold([0; 3], |[cases, passed, failed], (_, report)| {
        [cases + report.cases, passed + report.passed, failed + report.failed]
    })
}

fn human(reports: &[(&str, Report)]) -> String {
    let row = |name: &str, [cases, passed, failed]: [usize; 3]| {
        format!("{cases:>7} cases {passed:>7} passed {failed:>7} failed  {name}\n")
    };
    let mut text = String::new();
    for (path, report) in reports {
        text.push_str(&row(path, [report.cases, report.passed, report.failed]));
        for note in &report.notes {
            text.push_str(&format!("        {note}\n"));
        }
    }
    if reports.len() > 1 {
        text.push_str(&row("in all", sums(reports)));
    }
    let all = reports.iter().flat_map(|(path, report)| {
        report.differences.iter().map(move |difference| (path, difference))
    });
    for (path, difference) in all.take(SHOWN_MAX) {
        text.push_str(&format!(
            "\n{path}: {}\n  at       {}\n  expected {}\n  actual   {}\n",
            difference.case,
            shortened(&difference.place),
            shortened(&difference.expected),
            shortened(&difference.actual)
        ));
    }
    text
}

fn machine(reports: &[(&str, Report)]) -> String {
    let [cases, passed, failed] = sums(reports);
    let files = reports.iter().map(|(path, report)| {
        json!({
            "file": path,
            "cases": report.cases,
            "passed": report.passed,
            "failed": report.failed,
            "notes": report.notes,
        })
    });
    let differences = reports.iter().flat_map(|(path, report)| {
        report.differences.iter().map(move |difference| {
            json!({
                "file": path,
                "case": difference.case,
                "place": difference.place,
                "expected": difference.expected,
                "actual": difference.actual,
            })
        })
    });
    let object = json!({
        "cases": cases,
        "passed": passed,
        "failed": failed,
        "files": files.collect::<Vec<_>>(),
        "differences": differences.take(SHOWN_MAX).collect::<Vec<_>>(),
    });
    format!("{object}\n")
}

fn shortened(value: &str) -> String {
    match value.char_indices().nth(VALUE_MAX) {
        Some((at, _)) => format!("{}…", &value[..at]),
        None => value.to_owned(),
    }
}
