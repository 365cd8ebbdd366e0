//! The long-horizon mode against the record-level run, on jobs drawn at random.
//!
//! `docs/long-horizon.md` has the place of the table that comes of it; `CUTLINE_BLESS=1` writes it.

#[path = "support/document.rs"]
mod document;

use std::convert::Infallible;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cutline_sim::horizon::{LeapError, Leaping};
use cutline_sim::run::Simulation;
use cutline_sim::scenario::model::Scenario;
use cutline_sim::scenario::{Override, load};
use cutline_sim::sweep::metric::{Metric, Rates, Statistic};
use cutline_sim::sweep::runner::Task;
use cutline_sim::sweep::{LeaptRow, Row};

use document::is_document;

const BEGIN: &str =
    "<!-- table: CUTLINE_BLESS=1 cargo test -p cutline-sim --test horizon -- --ignored -->\n";
const END: &str = "<!-- end of table -->\n";

/// What sampling may add to the error of a mean.
const TOLERANCE: f64 = 0.03;
const REPEATS: u64 = 4;
/// Student's t for so many repeats: 99 %, both sides.
const T_OF_REPEATS: f64 = 5.84;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Jobs drawn at random, one a line: aligned, unaligned, with a timeout, at least once; light and
/// backpressured; calm and failing.
fn jobs() -> Vec<Arc<Scenario>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/horizon/jobs.jsonl");
    let text = fs::read_to_string(path).expect("part of the repository");
    let job = |line: &str| load(line.as_bytes(), "jobs.jsonl", &[]).expect("valid").scenario;
    text.lines().map(|line| Arc::new(job(line))).collect()
}

fn run(jobs: &[Arc<Scenario>], coarsen: Option<f64>) -> Vec<Row> {
    let task = Task {
        scenarios: jobs.to_vec(),
        points: (0..jobs.len()).collect(),
        seed: 0,
        repeats: REPEATS,
        precision: None,
        rates: Rates::default(),
        coarsen,
        threads: None,
    };
    let mut rows = Vec::new();
    task.run(&mut rows, |_| Ok::<(), Infallible>(())).expect("nothing breaks");
    for row in &rows {
        assert_eq!(row.violation, None, "job {} with seed {}", row.point, row.seed);
    }
    rows
}

/// A mean over the runs of a job; over all recoveries, if it is one of failures.
fn mean(rows: &[&Row], metric: Metric) -> Option<f64> {
    let values: Vec<f64> = if metric.quantity.is_of_failures() {
        let recoveries = rows.iter().flat_map(|row| &row.recoveries);
        recoveries.map(|recovery| recovery.value(metric.quantity)).collect()
    } else {
        rows.iter().filter_map(|row| row.value(metric)).collect()
    };
    let count = values.len() as f64;
    (count > 0.0).then(|| values.iter().sum::<f64>() / count)
}

/// A mean of a long run against that of the record-level run.
struct Difference {
    metric: Metric,
    /// Relative to the record-level run.
    error: f64,
    /// What chance may do to it: about one in a hundred is further off than this.
    chance: f64,
}

impl Difference {
    /// Of a job; `None` if one of them has no such mean, or the long run does not report it.
    fn of(metric: Metric, record_level: &[&Row], long: &[&Row]) -> Option<Self> {
        let sampling = LeaptRow::together(long.iter().filter_map(|row| row.leapt.as_ref()))?;
        if !sampling.knows(metric.quantity) {
            return None;
        }
        let (expected, found) = (mean(record_level, metric)?, mean(long, metric)?);
        if expected == found {
            return Some(Self { metric, error: 0.0, chance: 0.0 });
        }
        let pairs = record_level.iter().zip(long);
        let differences: Vec<f64> =
            pairs.filter_map(|(a, b)| Some(b.value(metric)? - a.value(metric)?)).collect();
        let count = differences.len() as f64;
        let middle = differences.iter().sum::<f64>() / count;
        let squares: f64 = differences.iter().map(|it| (it - middle) * (it - middle)).sum();
        let chance = T_OF_REPEATS * (squares / (count - 1.0) / count).sqrt() / expected;
        Some(Self { metric, error: (found - expected) / expected, chance })
    }

    fn is_within(&self) -> bool {
        self.error.abs() <= TOLERANCE
    }
}

struct Compared {
    line: String,
    differences: Vec<Difference>,
    leapt: f64,
}

fn compare(job: &Scenario, record_level: &[&Row], long: &[&Row]) -> Compared {
    let means = Metric::all().filter(|metric| metric.statistic == Statistic::Mean);
    let mut differences: Vec<Difference> =
        means.filter_map(|metric| Difference::of(metric, record_level, long)).collect();
    differences.sort_by(|a, b| b.error.abs().total_cmp(&a.error.abs()));
    let sum = |rows: &[&Row], of: fn(&Row) -> f64| rows.iter().map(|row| of(row)).sum::<f64>();
    let leapt_s = |row: &Row| row.leapt.as_ref().map_or(0.0, |leapt| leapt.leapt_s);
    let leapt = sum(long, leapt_s) / sum(long, |row| row.virtual_s);
    let events = |rows| sum(rows, |row| row.events as f64);
    let shown = |it: &Difference| {
        let name = it.metric.quantity.name();
        format!("{name} {:+.1} ± {:.1} %", it.error * 100.0, it.chance * 100.0)
    };
    let worst: Vec<String> = differences.iter().take(3).map(shown).collect();
    let line = format!(
        "| {} | {} s | {:.0} % | {:.1} | {} | {} of {} | {} |\n",
        job.title,
        job.checkpointing.interval.expect("it is periodic").as_millis() / 1_000,
        leapt * 100.0,
        events(record_level) / events(long),
        long.iter().map(|row| row.failures).sum::<u64>(),
        differences.iter().filter(|it| it.is_within()).count(),
        differences.len(),
        worst.join(", "),
    );
    Compared { line, differences, leapt }
}

const HEAD: &str = "\
| job | interval | leapt over | fewer events | failures | within 3 % | furthest off |
|---|---:|---:|---:|---:|---:|---|
";

/// Of each figure the mean of its errors over all jobs.
fn means_of_errors(compared: &[Compared]) -> Vec<(Metric, f64, usize)> {
    let means = Metric::all().filter(|metric| metric.statistic == Statistic::Mean);
    let of = |metric: Metric| {
        let all = compared.iter().flat_map(|it| &it.differences);
        let errors: Vec<f64> = all.filter(|it| it.metric == metric).map(|it| it.error).collect();
        let count = errors.len();
        (count > 0).then(|| (metric, errors.iter().sum::<f64>() / count as f64, count))
    };
    means.filter_map(of).collect()
}

fn table(compared: &[Compared]) -> String {
    let mut table = HEAD.to_owned();
    table.extend(compared.iter().map(|it| it.line.as_str()));
    table.push_str("\n| figure | jobs | mean of the errors |\n|---|---:|---:|\n");
    for (metric, error, count) in means_of_errors(compared) {
        let name = metric.quantity.name();
        writeln!(table, "| {name} | {count} | {:+.2} % |", error * 100.0)
            .expect("writing to a string cannot fail");
    }
    table
}

/// Compares the table in the documents with this one, or writes it anew.
fn document(table: &str) {
    let path = root().join("docs/long-horizon.md");
    let text = fs::read_to_string(&path).expect("part of the repository");
    let begin = text.find(BEGIN).expect("the table has a beginning") + BEGIN.len();
    let end = text.find(END).expect("the table has an end");
    is_document(&path, &[&text[..begin], table, &text[end..]].concat());
}

#[test]
#[ignore = "takes minutes, and the table in docs/long-horizon.md is not generated yet"]
fn a_long_run_measures_what_the_record_level_run_does() {
    let jobs = jobs();
    assert!(jobs.len() >= 20);
    let (record_level, long) = (run(&jobs, None), run(&jobs, Some(TOLERANCE)));
    let compare_job = |(job, scenario): (usize, &Arc<Scenario>)| {
        let [record_level, long] = [&record_level, &long]
            .map(|rows| rows.iter().filter(|row| row.point == job).collect::<Vec<&Row>>());
        compare(scenario, &record_level, &long)
    };
    let compared: Vec<Compared> = jobs.iter().enumerate().map(compare_job).collect();
    document(&table(&compared));
    for (job, it) in compared.iter().enumerate() {
        for Difference { metric, error, chance } in &it.differences {
            let beyond_chance = error.abs() - chance;
            assert!(
                beyond_chance <= TOLERANCE,
                "job {job}: {metric} is off by {error:+.4} ± {chance:.4}"
            );
        }
    }
    for (metric, error, _) in means_of_errors(&compared) {
        assert!(error.abs() <= TOLERANCE, "over all jobs {metric} is off by {error:+.4}");
    }
    let all = || compared.iter().flat_map(|it| &it.differences);
    let within = all().filter(|it| it.is_within()).count();
    assert!(within * 10 >= all().count() * 9, "{within} of {} are within 3 %", all().count());
    let leapt = compared.iter().filter(|it| it.leapt > 0.3).count();
    assert!(leapt >= 20, "only {leapt} jobs were leapt over to a good part");
}

#[test]
fn long_runs_are_the_same_on_every_day() {
    let job = &jobs()[..1];
    assert_eq!(run(job, Some(TOLERANCE)), run(job, Some(TOLERANCE)));
}

#[test]
fn what_would_be_missed_is_refused() {
    let text = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/horizon/jobs.jsonl"),
    )
    .expect("part of the repository");
    let line = text.lines().next().expect("there are jobs");
    let refused = |change: &str| -> Option<LeapError> {
        let change = Override::parse(change).expect("path=value");
        let scenario = load(line.as_bytes(), "job", &[change]).expect("valid").scenario;
        let simulation = Simulation::new(Arc::new(scenario), 0).expect("it can run");
        simulation.leaping(Leaping { tolerance: TOLERANCE, repeats: 1 }).err()
    };
    assert_eq!(refused("checkpointing.timeout=2 min"), None);
    assert_eq!(
        refused("job.operators[source].records=100"),
        Some(LeapError::Bounded { operator: "source".to_owned() })
    );
    assert_eq!(
        refused(r#"checkpointing.manual=[{"at": "5 s"}]"#),
        Some(LeapError::Asked { what: "manual" })
    );
    assert_eq!(
        refused(r#"actions=[{"at": "5 s", "kind": "savepoint"}]"#),
        Some(LeapError::Asked { what: "actions" })
    );
    assert_eq!(
        refused(r#"faults=[{"at": {"step": "B5"}, "kind": "crash_task", "target": "count[0]"}]"#),
        Some(LeapError::AtStep { index: 0 })
    );
}

#[test]
fn the_command_names_what_it_cannot_leap_over() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_cutline"))
        .args(["sweep", "scenarios/quickstart.json", "--vary", "interval=1s,2s"])
        .args(["--coarsen", "3%", "--out", env!("CARGO_TARGET_TMPDIR")])
        .current_dir(root())
        .output()
        .expect("the binary is built");
    let said = String::from_utf8(output.stderr).expect("texts are UTF-8");
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("--coarsen cannot leap over time at interval 1s: source"), "{said}");
}
