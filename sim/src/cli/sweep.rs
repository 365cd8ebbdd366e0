//! `cutline sweep`: a grid of scenarios, many repeats, a recommendation.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use cutline::config::text::parse_duration;
use cutline::time::VirtualDuration;
use indicatif::{ProgressBar, ProgressStyle};
use xxhash_rust::xxh3::xxh3_128;

use crate::engine::JobError;
use crate::horizon::{LeapError, Leaping};
use crate::report::Style;
use crate::report::sweep::{SweepReport, csv, json, page, pictures, text};
use crate::run::Simulation;
use crate::scenario::{Override, Scenario, load, to_json};
use crate::sweep::Row;
use crate::sweep::analysis::{Analysis, Answer, Question};
use crate::sweep::forecast::Forecasts;
use crate::sweep::grid::{Axis, Grid};
use crate::sweep::metric::{Goal, Metric, Prices, Rates};
use crate::sweep::recommend::recommend;
use crate::sweep::runner::{Event, SweepError, Task};
use crate::sweep::store::{self, FORMAT, Identity, Rows, StoreError, Writer};

use super::arguments::{Changes, command_line, parse_share, quoted};
use super::exit::{Exit, Failure};
use super::files;
use super::guard::broken;
use super::output::{Output, STYLE};

/// What a failure law is when there is none yet.
const LAW: &str = r#"failures={"law": "exponential", "mtbf": "#;

/// Runs a grid of scenarios and says what an interval costs and what it buys
///
/// All points see the same failures and the same random numbers, and are compared repeat by repeat.
/// The output is the same for any number of threads, and for a sweep that was interrupted and
/// resumed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Sweep {
    /// The scenario file
    scenario: String,

    /// An axis of the grid, such as interval=5s..10min:log:13 or unaligned=false,true; may be
    /// repeated
    #[arg(long, value_name = "PATH=VALUES", required = true, value_parser = parse_axis)]
    vary: Vec<Given<Axis>>,

    /// Runs of each point
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    repeat: u64,

    /// The seed of the first repeat; the next ones follow
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=u64::MAX - 1_000_000))]
    seed: u64,

    /// What a point must keep, such as recovery.p99<=120s; may be repeated
    #[arg(long, value_name = "GOAL", value_parser = parse_goal)]
    goal: Vec<Goal>,

    /// What is best where it is least
    #[arg(long, value_name = "METRIC", default_value = "lost_work", value_parser = parse_metric)]
    minimise: Metric,

    /// Repeats a point until what is minimised is known to this relative precision, such as 5%;
    /// at most --repeat times
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    precision: Option<f64>,

    /// Mean time between failures: of the scenario's `failures`, or of exponential ones
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    mtbf: Option<Given<VirtualDuration>>,

    /// Virtual time of a run, as `--set limits.until=TIME` does
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    horizon: Option<Given<VirtualDuration>>,

    /// Leaps over time in which nothing happens, as long as sampling brings no more than this
    /// relative error into a mean, such as 3%: days for the price of minutes
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    coarsen: Option<f64>,

    /// Prices: of 1,000 writing requests, of 1,000 reading ones, of 10^9 bytes for a month
    #[arg(long, value_name = "PUT,GET,STORED", value_parser = parse_prices)]
    price: Option<Prices>,

    /// What one message costs the job manager, such as 50us; without it, coordinator_busy is not
    /// measured
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    message_cost: Option<Given<VirtualDuration>>,

    #[command(flatten)]
    changes: Changes,

    /// Runs the K-th of N parts of the points, from 1
    #[arg(long, value_name = "K/N", value_parser = parse_partition)]
    partition: Option<(usize, usize)>,

    /// Goes on with the results that are in the directory
    #[arg(long)]
    resume: bool,

    /// Takes over results of this sweep, or of a partition of it; may be repeated
    #[arg(long, value_name = "RESULTS.JSONL")]
    take: Vec<String>,

    /// Threads; as many as there are cores unless given
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,

    /// Where the files go: report.html with all that was found, its pictures (*.svg), points.csv,
    /// summary.txt, summary.json, and the results themselves (results.jsonl)
    #[arg(long, value_name = "DIR", default_value = "cutline-out/sweep")]
    out: String,

    /// How the summary is printed
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  cutline sweep scenarios/orders.json --vary interval=5s..10min:log:13 --goal 'recovery.p99<=120s'
  cutline sweep scenarios/orders.json --vary interval=30s,60s --vary unaligned=false,true --mtbf 4h
  cutline sweep scenarios/orders.json --vary interval=5s..10min:log:13 --partition 1/4 --out part-1

Exit codes, besides the usual: 13 no point keeps the goals, 20 too few failures to know";

/// A value, and how it was given.
#[derive(Clone, Debug)]
struct Given<T> {
    value: T,
    text: String,
}

/// How a sweep is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table to read, and a recommendation
    Human,
    /// One JSON object
    Json,
}

fn parse_axis(text: &str) -> Result<Given<Axis>, String> {
    let value = Axis::parse(text).map_err(|error| error.to_string())?;
    Ok(Given { value, text: text.to_owned() })
}

fn parse_goal(text: &str) -> Result<Goal, String> {
    Goal::parse(text).map_err(|error| error.to_string())
}

fn parse_metric(text: &str) -> Result<Metric, String> {
    Metric::parse(text).map_err(|error| error.to_string())
}

fn parse_span(text: &str) -> Result<Given<VirtualDuration>, String> {
    let span = parse_duration(text).map_err(|error| error.to_string())?;
    if span.is_zero() {
        return Err("expected a time such as \"4 h\", more than none".to_owned());
    }
    Ok(Given { value: span, text: text.to_owned() })
}

fn parse_prices(text: &str) -> Result<Prices, String> {
    let amounts = text.split(',').map(|amount| amount.trim().parse().ok());
    let amounts: Option<Vec<f64>> = amounts.collect();
    let fits = |amount: &f64| amount.is_finite() && *amount >= 0.0;
    match amounts.as_deref() {
        Some(&[put, get, gb_month]) if [put, get, gb_month].iter().all(fits) => {
            Ok(Prices { put, get, gb_month })
        }
        _ => Err("expected three amounts such as 0.005,0.0004,0.023".to_owned()),
    }
}

fn parse_partition(text: &str) -> Result<(usize, usize), String> {
    let parts = text.split_once('/');
    let parts = parts.and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
    parts
        .filter(|(k, n)| (1..=*n).contains(k))
        .ok_or_else(|| "expected a part such as 2/4, from 1/4 to 4/4".to_owned())
}

/// A sweep that is ready to run.
struct Prepared {
    grid: Grid,
    task: Task,
    identity: Identity,
}

impl Sweep {
    pub(super) fn execute(&self, output: &mut Output) -> Result<Exit, Failure> {
        let prepared = self.prepare()?;
        let mut results = Vec::new();
        let mut writer = self.open(&prepared.identity, &mut results)?;
        self.run(&prepared, &mut results, &mut writer)?;
        self.report(&prepared, &results, output)
    }

    fn prepare(&self) -> Result<Prepared, Failure> {
        let axes = self.vary.iter().map(|axis| axis.value.clone()).collect();
        let grid = Grid::new(axes).map_err(|error| Failure::Usage(error.to_string()))?;
        let scenarios = self.scenarios(&grid)?;
        let rates =
            Rates { prices: self.price, message: self.message_cost.as_ref().map(|it| it.value) };
        let points = 0..grid.points();
        let points = match self.partition {
            Some((part, of)) => points.filter(|point| point % of == part - 1).collect(),
            None => points.collect(),
        };
        let written: String = scenarios.iter().map(|scenario| to_json(scenario)).collect();
        let identity = Identity {
            format: FORMAT.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            title: scenarios[0].title.clone(),
            scenarios: format!("{:032x}", xxh3_128(written.as_bytes())),
            vary: self.vary.iter().map(|axis| axis.text.clone()).collect(),
            seed: self.seed,
            repeats: self.repeat,
            precision: self.precision.map(|it| format!("{} {it}", self.minimise)),
            rates: rates.text(),
            coarsen: self.coarsen.map(|it| it.to_string()),
        };
        let task = Task {
            scenarios,
            points,
            seed: self.seed,
            repeats: self.repeat,
            precision: self.precision.map(|it| (self.minimise, it)),
            rates,
            coarsen: self.coarsen,
            threads: self.threads.map(usize::from),
        };
        Ok(Prepared { grid, task, identity })
    }

    /// The scenario of each point; a point that cannot be is an error that names it.
    fn scenarios(&self, grid: &Grid) -> Result<Vec<Arc<Scenario>>, Failure> {
        let bytes = files::read(&self.scenario)?;
        let changes = self.changes(&bytes)?;
        let of_point = |point: usize| -> Result<Arc<Scenario>, Failure> {
            let overrides: Vec<Override> =
                changes.iter().cloned().chain(grid.overrides(point)).collect();
            let loaded = load(&bytes, &self.scenario, &overrides)?;
            if point == 0 {
                files::warn(&loaded.warnings);
            }
            let scenario = Arc::new(loaded.scenario);
            let refuse = |error: JobError| {
                Failure::Input(format!("the job cannot run at {}: {error}", grid.label(point)))
            };
            let simulation = Simulation::new(Arc::clone(&scenario), self.seed).map_err(refuse)?;
            if let Some(source) = scenario.job.enumerated() {
                let message = format!(
                    "source `{source}` has an enumerator: a sweep would take a split that waits for \
                     its reader for one that lags behind"
                );
                return Err(Failure::Input(message));
            }
            if let Some(tolerance) = self.coarsen {
                let leaping = Leaping { tolerance, repeats: self.repeat };
                let refuse = |error: LeapError| {
                    let label = grid.label(point);
                    Failure::Input(format!("--coarsen cannot leap over time at {label}: {error}"))
                };
                simulation.leaping(leaping).map_err(refuse)?;
            }
            Ok(scenario)
        };
        (0..grid.points()).map(of_point).collect()
    }

    /// What changes every point.
    fn changes(&self, bytes: &[u8]) -> Result<Vec<Override>, Failure> {
        let mut changes = self.changes.overrides.clone();
        let set = |text: String| Override::parse(&text).expect("of the form path=value");
        let quoted = |text: &str| serde_json::json!(text).to_string();
        if let Some(horizon) = &self.horizon {
            changes.push(set(format!("limits.until={}", quoted(&horizon.text))));
        }
        if let Some(mtbf) = &self.mtbf {
            let has_law = load(bytes, &self.scenario, &changes)?.scenario.failures.is_some();
            changes.push(set(match has_law {
                true => format!("failures.mtbf={}", quoted(&mtbf.text)),
                false => format!("{LAW}{}}}", quoted(&mtbf.text)),
            }));
        }
        Ok(changes)
    }

    /// Reads what is known already, and opens the file that the rest goes to.
    fn open(&self, identity: &Identity, results: &mut Vec<Row>) -> Result<Writer, Failure> {
        let directory = Path::new(&self.out);
        let path = directory.join("results.jsonl");
        let mut rows = Rows::new();
        let mut whole = 0;
        if path.exists() {
            if !self.resume {
                let path = path.display();
                let message = format!("{path} is there already; --resume goes on with it");
                return Err(Failure::Usage(message));
            }
            whole = store::read(&path, identity, &mut rows).map_err(failure)?;
        }
        for taken in &self.take {
            store::read(Path::new(taken), identity, &mut rows).map_err(failure)?;
        }
        let writer = if whole > 0 && self.take.is_empty() {
            Writer::resume(&path, whole)
        } else {
            std::fs::create_dir_all(directory)
                .map_err(|error| Failure::Write { path: self.out.clone(), error })?;
            Writer::create(&path, identity, rows.values())
        };
        results.extend(rows.into_values());
        writer.map_err(failure)
    }

    fn run(
        &self,
        prepared: &Prepared,
        results: &mut Vec<Row>,
        writer: &mut Writer,
    ) -> Result<(), Failure> {
        let progress = ProgressBar::new(0);
        let style = "{wide_bar} {pos}/{len} runs, {eta} left";
        progress.set_style(ProgressStyle::with_template(style).expect("a valid template"));
        let ran = prepared.task.run(results, |event| match event {
            Event::Batch { runs } => {
                progress.inc_length(runs as u64);
                Ok(())
            }
            Event::Row(row) => {
                progress.inc(1);
                writer.append(row)
            }
        });
        progress.finish_and_clear();
        ran.map_err(|error| match error {
            SweepError::Stopped(error) => failure(error),
            SweepError::Threads(_) => Failure::Internal(format!("{error}\n")),
            SweepError::Panic { point, seed, ref panic } => {
                let label = prepared.grid.label(point);
                let replay = self.replay(&prepared.grid, point, seed);
                broken(panic, &format!("running {label} with seed {seed}"), &replay)
            }
        })
    }

    /// The command that shows a run again. One that leaps is no run of its scenario alone.
    fn replay(&self, grid: &Grid, point: usize, seed: u64) -> String {
        let bytes = files::read(&self.scenario).unwrap_or_default();
        let mut changes = self.changes(&bytes).unwrap_or_default();
        let Some(coarsen) = self.coarsen else {
            changes.extend(grid.overrides(point));
            return format!("{} --seed {seed}", command_line("run", &self.scenario, &changes));
        };
        let mut line = command_line("sweep", &self.scenario, &changes);
        for value in grid.overrides(point) {
            line.push_str(&format!(" --vary {}", quoted(value.text())));
        }
        let out = quoted(&format!("{}-again", self.out.trim_end_matches('/')));
        format!("{line} --repeat 1 --seed {seed} --coarsen {coarsen} --out {out}")
    }

    fn report(
        &self,
        prepared: &Prepared,
        results: &[Row],
        output: &mut Output,
    ) -> Result<Exit, Failure> {
        let Prepared { grid, task, .. } = prepared;
        let question = Question { minimise: self.minimise, goals: self.goal.clone() };
        let points = self.reported(task, results);
        let analysis = Analysis::new(grid, &points, results, &question);
        let advice = recommend(grid, &analysis, &question);
        let report = SweepReport {
            title: &prepared.identity.title,
            command: &self.command(),
            grid,
            analysis: &analysis,
            question: &question,
            advice: advice.as_ref(),
            forecasts: &Forecasts::new(grid, &analysis, results, &task.scenarios),
        };
        self.write(&report)?;
        match self.format {
            Format::Human => {
                let (head, reset) = (STYLE.head, STYLE.reset);
                let (title, extent) = (report.title, report.extent());
                output.print(&format!("{head}{title}{reset}\n{extent}\n\n"))?;
                output.print(&text(&report, STYLE))?;
                output.print(&format!("\nfiles: {}/\n", self.out.trim_end_matches('/')))?;
            }
            Format::Json => {
                output.print(&format!("{:#}\n", json(&report)))?;
            }
        }
        self.complain(prepared, results);
        Ok(exit(&analysis, results))
    }

    /// The points of this part, and those whose results were taken over.
    fn reported(&self, task: &Task, results: &[Row]) -> Vec<usize> {
        let mut points: Vec<usize> = task.points.clone();
        points.extend(results.iter().map(|row| row.point));
        points.sort_unstable();
        points.dedup();
        points
    }

    /// The command that makes this sweep again: how it was divided, interrupted and stored is no
    /// part of it, nor is the directory of the scenario.
    fn command(&self) -> String {
        let file = Path::new(&self.scenario).file_name().and_then(|name| name.to_str());
        let mut words = vec![quoted(file.unwrap_or(&self.scenario))];
        let mut add = |option: &str, value: &str| {
            words.extend([option.to_owned(), quoted(value)]);
        };
        self.vary.iter().for_each(|axis| add("--vary", &axis.text));
        add("--repeat", &self.repeat.to_string());
        if self.seed != 0 {
            add("--seed", &self.seed.to_string());
        }
        self.goal.iter().for_each(|goal| add("--goal", &goal.text));
        add("--minimise", &self.minimise.to_string());
        if let Some(precision) = self.precision {
            add("--precision", &precision.to_string());
        }
        for (option, given) in [
            ("--mtbf", &self.mtbf),
            ("--horizon", &self.horizon),
            ("--message-cost", &self.message_cost),
        ] {
            given.iter().for_each(|given| add(option, &given.text));
        }
        if let Some(coarsen) = self.coarsen {
            add("--coarsen", &coarsen.to_string());
        }
        if let Some(Prices { put, get, gb_month }) = self.price {
            add("--price", &format!("{put},{get},{gb_month}"));
        }
        self.changes.overrides.iter().for_each(|change| add("--set", change.text()));
        format!("cutline sweep {}", words.join(" "))
    }

    fn write(&self, report: &SweepReport<'_>) -> Result<(), Failure> {
        let directory = Path::new(&self.out);
        files::write(directory, "points.csv", &csv(report))?;
        files::write(directory, "summary.json", &format!("{:#}\n", json(report)))?;
        files::write(directory, "summary.txt", &text(report, Style::PLAIN))?;
        let pictures = pictures(report);
        for (name, svg) in &pictures {
            files::write(directory, name, svg)?;
        }
        files::write(directory, "report.html", &page(report, &pictures))
    }

    /// What is wrong with runs, on standard error; each kind once, with a command that shows it.
    fn complain(&self, prepared: &Prepared, results: &[Row]) {
        let mut seen: BTreeMap<String, (usize, &Row)> = BTreeMap::new();
        for row in results {
            let what = match &row.violation {
                Some(violation) => violation.split(" at ").next().unwrap_or_default().to_owned(),
                None if row.end == "budget" => {
                    "the event budget ended the run; --set limits.events=… raises it".to_owned()
                }
                None => continue,
            };
            seen.entry(what).or_insert((0, row)).0 += 1;
        }
        for (what, (count, row)) in seen {
            let replay = self.replay(&prepared.grid, row.point, row.seed);
            let (bad, reset) = (STYLE.bad, STYLE.reset);
            anstream::eprintln!("{bad}{count} runs do not count{reset}: {what}\nreplay: {replay}");
        }
    }
}

fn exit(analysis: &Analysis, results: &[Row]) -> Exit {
    let worst = results.iter().filter(|row| row.violation.is_some()).map(|row| &row.verdict);
    if let Some(verdict) = worst.max() {
        // "safety" is behind "liveness" in the alphabet, and worse.
        return if verdict == "safety" { Exit::Safety } else { Exit::Liveness };
    }
    match analysis.answer {
        _ if results.iter().any(|row| row.end == "budget") => Exit::Inconclusive,
        Answer::Best(_) => Exit::Ok,
        Answer::Missed => Exit::GoalMissed,
        Answer::TooFew { .. } | Answer::Unmeasured => Exit::Inconclusive,
    }
}

fn failure(error: StoreError) -> Failure {
    match error {
        StoreError::Write { path, error } => Failure::Write { path, error },
        StoreError::Read { .. }
        | StoreError::Line { .. }
        | StoreError::OtherSweep { .. }
        | StoreError::Conflict { .. } => Failure::Input(error.to_string()),
    }
}
