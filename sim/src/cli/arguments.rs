//! Arguments that several commands share.

use clap::{Args, ValueEnum};
use cutline::config::text::parse_duration;
use cutline::time::VirtualTime;

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

fn parse_override(text: &str) -> Result<Override, String> {
    Override::parse(text).map_err(|error| error.to_string())
}

fn parse_until(text: &str) -> Result<Override, String> {
    parse_time(text)?;
    parse_override(&format!("limits.until={}", serde_json::json!(text)))
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
