//! `cutline merge`: the parts of a campaign put together.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;

use crate::explore::journal::{HEAD, Head, RESULTS, read_rows, to_lines};
use crate::explore::{Campaign as Runs, Partition, Row, Severity, Summary};

use super::arguments::quoted;
use super::campaign::{Format, OUT, Report, is_vacuous};
use super::exit::{Exit, Failure};
use super::files;
use super::output::Output;

/// Puts the partitions of a campaign together
///
/// Takes the directories that `campaign --partition K/N --out DIR` has written, in any order. The
/// output is that of the whole campaign, to the byte. If something is missing, says what, with the
/// command that fills the gap, and ends with exit code 20.
#[derive(Debug, Args)]
pub(super) struct Merge {
    /// Directories of results
    #[arg(required = true, value_name = "DIR")]
    parts: Vec<String>,

    /// Where all results and the cases go; without it, only cases are written, below cutline-out
    #[arg(long, value_name = "DIR")]
    out: Option<String>,

    /// How the summary is printed
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,

    /// Writes a JUnit report
    #[arg(long, value_name = "FILE")]
    junit: Option<String>,

    /// Fails with exit code 14 if a feature is rare among the scenarios, or a situation was never
    /// reached
    #[arg(long)]
    strict: bool,
}

/// The results of one directory.
struct Part {
    directory: String,
    head: Head,
    rows: BTreeMap<u64, Row>,
}

impl Merge {
    pub(super) fn execute(&self, output: &mut Output) -> Result<Exit, Failure> {
        let parts = self.read()?;
        let head = &parts[0].head;
        let runs = head.campaign(Path::new(&parts[0].directory))?;
        if runs.seeds.end == u64::MAX {
            let message = "a campaign that only a budget has ended has no parts to put together";
            return Err(Failure::Usage(message.to_owned()));
        }
        let rows = together(&runs, &parts)?;
        if name_gaps(&runs, &parts, &rows) {
            return Ok(Exit::Inconclusive);
        }
        let mut summary = Summary::new();
        for row in rows.values() {
            summary.add(row, &runs.scenario(row));
        }
        if let Some(out) = &self.out {
            let directory = Path::new(out);
            files::write(directory, HEAD, &head.whole().to_json())?;
            files::write(directory, RESULTS, &to_lines(rows.values()))?;
        }
        let report = Report {
            runs: &runs,
            partition: Partition::ALL,
            summary: &summary,
            total: None,
            out: self.out.as_deref().unwrap_or(OUT),
        };
        let replays = report.write_cases()?;
        if let Some(path) = &self.junit {
            report.write_junit(path, &replays)?;
        }
        report.print(self.format, &replays, output)?;
        Ok(match summary.worst {
            Severity::Ok if self.strict && is_vacuous(&summary) => Exit::Vacuous,
            worst => Exit::of_severity(worst),
        })
    }

    /// The parts, of which none belongs to another campaign.
    fn read(&self) -> Result<Vec<Part>, Failure> {
        let mut parts: Vec<Part> = Vec::new();
        for directory in &self.parts {
            let path = Path::new(directory);
            let (head, rows) = (Head::read(path)?, read_rows(path)?);
            if let Some(first) = parts.first() {
                first.head.agree(&head, path, true)?;
                let (of, other) = (first.head.partition().of, head.partition().of);
                if of != other {
                    return Err(Failure::Usage(format!(
                        "{} is one of {of} partitions, {directory} is one of {other}",
                        first.directory
                    )));
                }
            }
            parts.push(Part { directory: directory.clone(), head, rows });
        }
        Ok(parts)
    }
}

/// All rows, each where it belongs.
fn together(runs: &Runs, parts: &[Part]) -> Result<BTreeMap<u64, Row>, Failure> {
    let mut rows: BTreeMap<u64, Row> = BTreeMap::new();
    for part in parts {
        for (number, row) in &part.rows {
            let item = runs.item(*number);
            let belongs = *number < runs.len()
                && row.about() == item
                && runs.is_in(part.head.partition(), item);
            if !belongs {
                let directory = &part.directory;
                let message = format!("{directory}/{RESULTS}: run {number} is not of this part");
                return Err(Failure::Input(message));
            }
            if let Some(other) = rows.insert(*number, row.clone())
                && other != *row
            {
                let directory = &part.directory;
                let message =
                    format!("{directory}/{RESULTS}: run {number} has another result elsewhere");
                return Err(Failure::Input(message));
            }
        }
    }
    Ok(rows)
}

/// Says what is missing, and what to do about it; false if nothing is.
fn name_gaps(runs: &Runs, parts: &[Part], rows: &BTreeMap<u64, Row>) -> bool {
    let of = parts[0].head.partition().of;
    let mut missing: BTreeMap<u64, u64> = BTreeMap::new();
    for number in (0..runs.len()).filter(|number| !rows.contains_key(number)) {
        let item = runs.item(number);
        let partition = (1..=of).find(|number| runs.is_in(Partition { number: *number, of }, item));
        *missing.entry(partition.unwrap_or(of)).or_default() += 1;
    }
    for (number, count) in &missing {
        let partition = Partition { number: *number, of };
        let part = parts.iter().find(|part| part.head.partition() == partition);
        let mut words = vec!["cutline".to_owned(), "campaign".to_owned()];
        words.extend(parts[0].head.arguments().iter().map(|word| quoted(word)));
        if of > 1 {
            words.extend(["--partition".to_owned(), partition.to_string()]);
        }
        match part {
            Some(part) => {
                words.extend(["--out".to_owned(), quoted(&part.directory), "--resume".to_owned()]);
            }
            None => words.extend(["--out".to_owned(), format!("part-{number}")]),
        }
        anstream::eprintln!("{count} runs of partition {partition} are missing; to do them:");
        anstream::eprintln!("  {}", words.join(" "));
    }
    !missing.is_empty()
}
