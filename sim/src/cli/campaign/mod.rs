//! `cutline campaign`: many seeds, of random scenarios or of given ones.

mod report;
mod watch;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use crate::explore::journal::{HEAD, Head, Journal, JournalError, RESULTS, read_rows, to_lines};
use crate::explore::{Campaign as Runs, Given, Partition, Results, Row, Severity, Strategy};

use super::arguments::{
    Changes, Plant, parse_budget, parse_partition, parse_seeds, parse_strategy,
};
use super::exit::{Exit, Failure};
use super::files;
use super::output::Output;
pub(super) use report::{Format, Report, is_vacuous};
use watch::Watch;
#[cfg(feature = "defects")]
pub(super) use watch::{bar, listen};

/// Where the cases of failing seeds go unless `--out` says otherwise.
pub(super) const OUT: &str = "cutline-out";

/// Runs many seeds and groups what they find
///
/// Without scenarios, each seed draws one. For each group of failures the case of its smallest run
/// is written. With `--out`, a line for each finished run is appended at once, and `--resume` goes
/// on after a kill. The output is the same for any number of threads.
#[derive(Debug, Args)]
pub(super) struct Campaign {
    /// Scenarios to run with each seed
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,

    /// The seeds, such as 0..1000 (the end is not included); without an end if there is a budget
    #[arg(long, value_name = "FROM..TO", value_parser = parse_seeds, required_unless_present = "budget")]
    seeds: Option<Range<u64>>,

    /// Ends the campaign after so much time, on the clock of this machine
    #[arg(long, value_name = "TIME", value_parser = parse_budget)]
    budget: Option<Duration>,

    /// How scenarios are drawn: a mix, or one of swarm, placement, aimed, feedback
    #[arg(long, default_value = "mix", value_parser = parse_strategy, conflicts_with = "scenarios")]
    strategy: Strategy,

    #[command(flatten)]
    changes: Changes,

    #[command(flatten)]
    plant: Plant,

    /// Runs only a part of the campaign, such as 3/16
    #[arg(long, value_name = "K/N", value_parser = parse_partition, requires = "seeds")]
    partition: Option<Partition>,

    /// Threads; as many as there are cores unless given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,

    /// How the summary is printed
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,

    /// Where results and cases go; without it, only cases are written, below cutline-out
    #[arg(long, value_name = "DIR")]
    out: Option<String>,

    /// Goes on where an earlier campaign with the same arguments was ended
    #[arg(long, requires = "out")]
    resume: bool,

    /// Writes a JUnit report
    #[arg(long, value_name = "FILE")]
    junit: Option<String>,

    /// Fails with exit code 14 if a feature is rare among the scenarios, or a situation was never
    /// reached
    #[arg(long)]
    strict: bool,
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Write { path, error } => Self::Write { path, error },
            JournalError::OtherCampaign { .. } => Self::Usage(error.to_string()),
            JournalError::Read { .. } | JournalError::Content { .. } => {
                Self::Input(error.to_string())
            }
        }
    }
}

impl Campaign {
    pub(super) fn execute(&self, output: &mut Output) -> Result<Exit, Failure> {
        let runs = self.runs()?;
        let partition = self.partition.unwrap_or(Partition::ALL);
        let known = self.prepare(&runs, partition)?;
        let journal = match &self.out {
            Some(out) => Some(Journal::open(Path::new(out), &known)?),
            None => None,
        };
        let started = Instant::now();
        let total = self.seeds.as_ref().map(|_| runs.len_of(partition));
        let watch = Watch::new(journal, total, known.len() as u64, self.budget);
        let threads = self.threads.map(usize::from);
        let results = runs
            .run(partition, threads, &known, &watch)
            .map_err(|error| Failure::Internal(format!("cannot start threads: {error}\n")))?;
        let interrupted = watch.was_interrupted();
        if let Some(journal) = watch.finish() {
            journal.close()?;
        }
        let report = Report {
            runs: &runs,
            partition,
            summary: &results.summary,
            total: total.filter(|_| !results.complete),
            out: self.out.as_deref().unwrap_or(OUT),
        };
        let replays = report.write_cases()?;
        self.write_rest(&report, &replays, started)?;
        report.print(self.format, &replays, output)?;
        Ok(match interrupted {
            true => Exit::Interrupted,
            false => self.exit(&results),
        })
    }

    fn runs(&self) -> Result<Runs, Failure> {
        let mut given = Vec::new();
        for path in &self.scenarios {
            let scenario = files::scenario(path, &self.changes.overrides)?;
            given.push(Given { name: path.clone(), scenario });
        }
        if given.is_empty() && !self.changes.overrides.is_empty() {
            let message = "`--set` changes scenarios that are given; these are drawn";
            return Err(Failure::Usage(message.to_owned()));
        }
        Ok(Runs {
            strategy: self.strategy,
            given,
            defects: self.plant.defects(),
            ..Runs::of_seeds(self.seeds.clone().unwrap_or(0..u64::MAX))
        })
    }

    fn head(&self, runs: &Runs, partition: Partition) -> Head {
        let set = self.changes.overrides.iter().map(|of| of.text().to_owned());
        Head::new(runs, partition, set.collect())
    }

    /// Makes the directory of results, or finds what it has from before.
    fn prepare(&self, runs: &Runs, partition: Partition) -> Result<BTreeMap<u64, Row>, Failure> {
        let Some(out) = &self.out else { return Ok(BTreeMap::new()) };
        let (directory, head) = (Path::new(out), self.head(runs, partition));
        if !directory.join(HEAD).exists() {
            files::write(directory, HEAD, &head.to_json())?;
        } else if self.resume {
            head.agree(&Head::read(directory)?, directory, false)?;
            return Ok(read_rows(directory)?);
        } else if directory.join(RESULTS).exists() {
            return Err(Failure::Usage(format!(
                "{out} has results already; `--resume` goes on with them, another `--out` begins anew"
            )));
        }
        Ok(BTreeMap::new())
    }

    /// Results in the order of the campaign, the JUnit report, and what the clock says.
    fn write_rest(
        &self,
        report: &Report<'_>,
        replays: &BTreeMap<String, String>,
        started: Instant,
    ) -> Result<(), Failure> {
        if let Some(out) = &self.out {
            let directory = Path::new(out);
            files::write(directory, RESULTS, &to_lines(read_rows(directory)?.values()))?;
            let seconds = started.elapsed().as_secs_f64();
            let meta = json!({ "seconds": seconds, "threads": self.threads });
            files::write(directory, "meta.json", &format!("{meta}\n"))?;
        }
        if let Some(path) = &self.junit {
            report.write_junit(path, replays)?;
        }
        report.tell_speed(started.elapsed());
        Ok(())
    }

    fn exit(&self, results: &Results) -> Exit {
        match results.summary.worst {
            // An end by the budget was asked for, unless the seeds were.
            Severity::Ok if !results.complete && self.seeds.is_some() => Exit::Inconclusive,
            Severity::Ok if self.strict && is_vacuous(&results.summary) => Exit::Vacuous,
            worst => Exit::of_severity(worst),
        }
    }
}
