//! `cutline defects`: the bugs that can be planted, those that cannot, and how well they are found.

#[cfg(feature = "defects")]
mod kept;
#[cfg(feature = "defects")]
mod markdown;
#[cfg(feature = "defects")]
mod score;

use clap::{Args, ValueEnum};
use cutline::defect::{Defect, Defects as Planted};
use serde_json::{Value, json};

use super::arguments::parse_budget;
use super::exit::{Exit, Failure};
use super::output::Output;
use crate::defects::{Entry, catalogue};
use crate::report::table;

/// Lists bugs of real stream processors: those that `--defect` plants, each a switch in the
/// protocol, and why the others have none
///
/// With `--score`, says how well they are found: each by its directed scenario, and by the random
/// campaign, which knows nothing of them, from seed 0 on. Only the CPU time differs from one time
/// to the next. Exit code 13: a directed scenario does not show its defect; 10: something fails
/// without any.
#[derive(Debug, Args)]
pub(super) struct Defects {
    /// Plants each in turn and searches for it
    #[arg(long)]
    score: bool,

    /// Only these, such as D01,D07
    #[arg(long, value_name = "ID,…", value_delimiter = ',', value_parser = parse_entry)]
    only: Vec<&'static Entry>,

    /// When the search for one defect is given up: after so much CPU time, such as 60s, or after so
    /// many runs, such as 1000
    #[arg(long, value_name = "TIME|RUNS", default_value = "60s", value_parser = Limit::parse, requires = "score")]
    budget: Limit,

    /// Shrinks the run that finds a defect, for so much CPU time at most, and says what is left
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        default_missing_value = "10s",
        value_parser = parse_budget,
        requires = "score"
    )]
    shrink: Option<std::time::Duration>,

    /// Keeps each result in this file as soon as it is known; what the file has is not searched for
    /// again, so that a score may be made in several goes
    #[arg(long, value_name = "FILE", requires = "score")]
    out: Option<String>,

    /// Threads; as many as there are cores unless given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..), requires = "score")]
    threads: Option<u16>,

    /// How it is printed
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// How it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table
    Human,
    /// One JSON array
    Json,
    /// The tables of `docs/defects.md`
    Markdown,
}

/// When the search for one defect is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    Cpu(std::time::Duration),
    Runs(u64),
}

impl Limit {
    fn parse(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(0) => Err("expected at least one run".to_owned()),
            Ok(runs) => Ok(Self::Runs(runs)),
            Err(_) => parse_budget(text).map(Self::Cpu),
        }
    }
}

impl Defects {
    pub(super) fn execute(&self, output: &mut Output) -> Result<Exit, Failure> {
        let compiled_in = Planted::plant(Defect::ALL[0]);
        match (self.score, compiled_in) {
            (true, Ok(_)) => self.print_score(output),
            (true, Err(error)) => Err(Failure::Usage(error.to_string())),
            (false, _) if self.format == Format::Markdown => {
                Err(Failure::Usage("`--format markdown` goes with `--score`".to_owned()))
            }
            (false, compiled_in) => {
                self.list(output)?;
                if let Err(error) = compiled_in {
                    anstream::eprintln!("{error}");
                }
                Ok(Exit::Ok)
            }
        }
    }

    #[cfg(not(feature = "defects"))]
    fn print_score(&self, _: &mut Output) -> Result<Exit, Failure> {
        unreachable!("without the feature nothing can be planted, and that was said")
    }

    /// What was asked for, in the order of the catalogue.
    fn entries(&self) -> impl Iterator<Item = &'static Entry> {
        catalogue().iter().filter(|entry| self.only.is_empty() || self.only.contains(entry))
    }

    fn list(&self, output: &mut Output) -> Result<(), Failure> {
        match self.format {
            Format::Json => {
                let rows: Vec<Value> = self.entries().map(describe).collect();
                output.print(&format!("{}\n", json!(rows)))?;
            }
            Format::Human | Format::Markdown => {
                let mut listed = table::plain(&["id", "tier", "search", "title"]);
                for entry in self.entries() {
                    let title = match &entry.not_planted {
                        Some(reason) => format!("{}\n  not planted: {reason}", entry.title),
                        None => entry.title.clone(),
                    };
                    let (tier, search) = (entry.tier.to_string(), entry.search.to_string());
                    listed.add_row([entry.id.clone(), tier, search, title]);
                }
                let planted = self.entries().filter(|entry| entry.defect().is_some()).count();
                output.print(&table::text(listed, |_| false))?;
                let all = self.entries().count();
                output.print(&format!("\n{planted} of {all} can be planted\n"))?;
            }
        }
        Ok(())
    }
}

/// An entry of the catalogue.
fn describe(entry: &Entry) -> Value {
    json!({
        "id": entry.id,
        "title": entry.title,
        "component": entry.component,
        "tier": entry.tier,
        "expected": entry.search,
        "classes": entry.classes,
        "plantable": entry.not_planted.is_none(),
        "not_planted": entry.not_planted,
    })
}

fn parse_entry(text: &str) -> Result<&'static Entry, String> {
    let all = catalogue().iter();
    let nearest = || all.clone().min_by_key(|it| strsim::damerau_levenshtein(&it.id, text));
    all.clone().find(|entry| entry.id == text).ok_or_else(|| {
        let nearest = nearest().map_or("", |entry| &entry.id);
        format!(
            "no defect is called {text:?}; did you mean {nearest}? `cutline defects` lists them"
        )
    })
}
