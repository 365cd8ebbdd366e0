//! `cutline check`: the mistakes of a scenario or of a Flink configuration, without running it.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::scenario::{Diagnostics, Override, check_flink_conf, load};

use super::arguments::Changes;
use super::exit::{Exit, Failure};
use super::files;
use super::output::Output;

/// Checks scenario files, and configuration files of Flink, without running anything
///
/// Says all that is wrong with them: what is misspelt, deprecated or contradictory, what Flink would
/// change without a word, and what has no effect in a simulation.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group = clap::ArgGroup::new("files").required(true).multiple(true))]
pub(super) struct Check {
    /// The scenario files
    #[arg(value_name = "SCENARIO", group = "files")]
    scenarios: Vec<String>,

    /// A configuration of Flink: config.yaml, nested or flat, or the flink-conf.yaml of Flink 1;
    /// may be repeated
    #[arg(long, value_name = "FILE", group = "files")]
    flink_conf: Vec<String>,

    #[command(flatten)]
    changes: Changes,

    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  cutline check scenarios/*.json
  cutline check --flink-conf conf/config.yaml";

/// How the answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line a file; what is wrong goes to standard error
    Human,
    /// One JSON object with everything
    Json,
}

/// What there is to say about a file.
struct Checked {
    ok: bool,
    /// What the line of a good file says besides.
    remarks: Vec<String>,
    json: Value,
    report: Option<Failure>,
}

impl Check {
    pub(super) fn execute(&self, output: &mut Output) -> Result<Exit, Failure> {
        let overrides = &self.changes.overrides;
        if !overrides.is_empty() && self.scenarios.is_empty() {
            let message = "--set changes scenarios, and there is none";
            return Err(Failure::Usage(message.to_owned()));
        }
        let scenarios = self.scenarios.iter().map(|path| (path, scenario(path, overrides)));
        let configurations = self.flink_conf.iter().map(|path| (path, configuration(path)));
        let mut exit = Exit::Ok;
        let mut answers = Vec::new();
        for (path, checked) in scenarios.chain(configurations) {
            if !checked.ok {
                exit = Exit::BadInput;
            }
            match self.format {
                Format::Human => {
                    if let Some(report) = &checked.report {
                        report.report();
                    }
                    if checked.ok {
                        let remarks: String =
                            checked.remarks.iter().map(|remark| format!(", {remark}")).collect();
                        output.print(&format!("{path}: ok{remarks}\n"))?;
                    }
                }
                Format::Json => answers.push(checked.json),
            }
        }
        if self.format == Format::Json {
            output.print(&(json!({ "files": answers }).to_string() + "\n"))?;
        }
        Ok(exit)
    }
}

fn scenario(path: &str, overrides: &[Override]) -> Checked {
    let found = files::read(path).and_then(|text| Ok(load(&text, path, overrides)?));
    let of = |found: &Diagnostics, ok: bool| json!({ "file": path, "kind": "scenario", "ok": ok, "diagnostics": found.to_json() });
    match found {
        Ok(loaded) => {
            let (json, remarks) = (of(&loaded.warnings, true), remarks(&loaded.warnings));
            Checked { ok: true, remarks, json, report: warnings(loaded.warnings) }
        }
        Err(failure) => {
            let json = match &failure {
                Failure::Diagnostics(found) => Some(of(found, false)),
                _ => None,
            };
            refused(path, "scenario", json, failure)
        }
    }
}

/// `json`: its answer, if there is more to say than what the failure says.
fn refused(path: &str, kind: &str, json: Option<Value>, failure: Failure) -> Checked {
    let json = json.unwrap_or_else(
        || json!({ "file": path, "kind": kind, "ok": false, "error": failure.to_string() }),
    );
    Checked { ok: false, remarks: Vec::new(), json, report: Some(failure) }
}

fn configuration(path: &str) -> Checked {
    let text = match files::read(path) {
        Ok(text) => text,
        Err(failure) => return refused(path, "flink_conf", None, failure),
    };
    let checked = check_flink_conf(&text, path);
    let found = checked.diagnostics;
    let ok = found.errors() == 0;
    let mut remarks = remarks(&found);
    let counted = |count: usize, what: &str| match count {
        1 => format!("1 key {what}"),
        count => format!("{count} keys {what}"),
    };
    remarks.push(counted(checked.options, "about checkpoints and recovery"));
    if checked.others > 0 {
        remarks.push(counted(checked.others, "about other things"));
    }
    let json = json!({
        "file": path,
        "kind": "flink_conf",
        "ok": ok,
        "options": checked.options,
        "others": checked.others,
        "diagnostics": found.to_json(),
    });
    Checked { ok, remarks, json, report: warnings(found) }
}

/// How many warnings a good file has, in words.
fn remarks(found: &Diagnostics) -> Vec<String> {
    match found.list().len() {
        0 => Vec::new(),
        1 => vec!["1 warning".to_owned()],
        count => vec![format!("{count} warnings")],
    }
}

fn warnings(found: Diagnostics) -> Option<Failure> {
    (!found.is_empty()).then(|| Failure::Diagnostics(Box::new(found)))
}
