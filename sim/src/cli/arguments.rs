//! Arguments that several commands share.

use std::ops::Range;
use std::time::Duration;

use clap::{Args, ValueEnum};
use cutline::config::text::parse_duration;
use cutline::defect::{Defect, Defects};
use cutline::time::VirtualTime;

use crate::explore::{Partition, Strategy};
use crate::scenario::Override;

/// How a run is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum RunFormat {
    /// A summary to read; with a filter, what happened there as a space-time view
    Human,
    /// The summary as one JSON object
    Json,
    /// Every observation as one JSON object a line, then the summary as the last line
    Jsonl,
}

/// Changes to a scenario before it runs.
#[derive(Debug, Args)]
pub(super) struct Changes {
    /// Overrides a value of the scenario, such as job.operators[count].parallelism=4; may be
    /// repeated
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = parse_override)]
    pub(super) overrides: Vec<Override>,
}

/// When a run ends.
#[derive(Debug, Args)]
pub(super) struct Until {
    /// Ends the run at this virtual time, as `--set limits.until=TIME` does
    #[arg(long, value_name = "TIME", value_parser = parse_until)]
    until: Option<Override>,
}

/// A bug in the protocol that is run.
#[derive(Debug, Args)]
pub(super) struct Plant {
    /// Plants a defect in the protocol, such as D01; `cutline defects` lists them
    #[arg(long = "defect", value_name = "ID", value_parser = parse_defect)]
    planted: Option<Defects>,
}

impl Plant {
    /// What is planted.
    pub(super) fn defects(&self) -> Defects {
        self.planted.unwrap_or(Defects::none())
    }

    /// The arguments that plant it again.
    pub(super) fn again(&self) -> String {
        let planted = self.defects().planted();
        planted.map_or(String::new(), |defect| format!(" --defect {defect}"))
    }
}

impl Changes {
    /// These changes and an end.
    pub(super) fn and(&self, until: &Until) -> Vec<Override> {
        self.overrides.iter().chain(&until.until).cloned().collect()
    }
}

/// A command line to paste: `cutline` with a command, a file and changes.
pub(super) fn command_line(command: &str, path: &str, overrides: &[Override]) -> String {
    let mut line = format!("cutline {command} {}", quoted(path));
    for of in overrides {
        line.push_str(&format!(" --set {}", quoted(of.text())));
    }
    line
}

pub(super) fn parse_override(text: &str) -> Result<Override, String> {
    Override::parse(text).map_err(|error| error.to_string())
}

fn parse_until(text: &str) -> Result<Override, String> {
    parse_time(text)?;
    parse_override(&format!("limits.until={}", serde_json::json!(text)))
}

fn parse_defect(text: &str) -> Result<Defects, String> {
    let known = || {
        let ids = Defect::ALL.iter().map(|defect| defect.id());
        ids.min_by_key(|id| strsim::damerau_levenshtein(id, text)).unwrap_or_default()
    };
    let defect: Defect = text.parse().map_err(|error| {
        format!("{error}; did you mean {}? `cutline defects` lists them", known())
    })?;
    Defects::plant(defect).map_err(|error| error.to_string())
}

/// A range of seeds such as `0..1000`.
pub(super) fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let expected = || "expected a range of seeds such as 0..1000".to_owned();
    let (from, to) = text.split_once("..").ok_or_else(expected)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| expected());
    let (from, to) = (number(from)?, number(to)?);
    if from >= to {
        return Err(format!("there is no seed from {from} up to {to}"));
    }
    Ok(from..to)
}

/// A part such as `3/16`.
pub(super) fn parse_partition(text: &str) -> Result<Partition, String> {
    let expected = || "expected a partition such as 3/16, from 1/16 to 16/16".to_owned();
    let (number, of) = text.split_once('/').ok_or_else(expected)?;
    let parse = |text: &str| text.parse::<u64>().map_err(|_| expected());
    let partition = Partition { number: parse(number)?, of: parse(of)? };
    match (1..=partition.of).contains(&partition.number) {
        true => Ok(partition),
        false => Err(expected()),
    }
}

/// A search strategy by its name.
pub(super) fn parse_strategy(text: &str) -> Result<Strategy, String> {
    serde_json::from_value(serde_json::json!(text))
        .map_err(|_| "expected mix, swarm, placement, aimed or feedback".to_owned())
}

/// A span of real time, in the grammar of durations.
pub(super) fn parse_budget(text: &str) -> Result<Duration, String> {
    let span = parse_duration(text)
        .map_err(|error| format!("{error}; expected a time such as \"10 s\""))?;
    Ok(Duration::from_nanos(span.as_nanos()))
}

/// A time such as `1500 ms`, counted from the start of the run.
pub(super) fn parse_time(text: &str) -> Result<VirtualTime, String> {
    let since_start = parse_duration(text)
        .map_err(|error| format!("{error}; expected a time such as \"1500 ms\" or \"10 s\""))?;
    Ok(VirtualTime::ZERO + since_start)
}

/// A word of a command line, quoted if a shell would not take it as it is.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// A share of one, such as `5%` or `0.05`.
pub(super) fn parse_share(text: &str) -> Result<f64, String> {
    let number = match text.trim().strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|value| value / 100.0),
        None => text.trim().parse(),
    };
    let share = number.ok().filter(|share| *share > 0.0 && *share < 1.0);
    share.ok_or_else(|| "expected a share such as 5% or 0.05".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        for (word, expected) in [
            ("a/b-1.json", "a/b-1.json"),
            ("", "''"),
            ("two words", "'two words'"),
            ("count[1]", "'count[1]'"),
            ("it's", r"'it'\''s'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
