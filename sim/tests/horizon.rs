//! The long-horizon mode against the record-level run, on jobs drawn at random.
//!
//! `docs/long-horizon.md` has the table that comes of it; `CUTLINE_BLESS=1` writes it anew.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cutline_sim::horizon::{LeapError, Leaping};
use cutline_sim::run::Simulation;
use cutline_sim::scenario::model::Scenario;
use cutline_sim::scenario::{Override, load};
use cutline_sim::sweep::Row;
use cutline_sim::sweep::metric::{Metric, Rates, Statistic};
use cutline_sim::sweep::runner::Task;

const BEGIN: &str = "<!-- table: CUTLINE_BLESS=1 cargo test -p cutline-sim --test horizon -->\n";
const END: &str = "<!-- end of table -->\n";

/// What sampling may add to the error of a mean.
const TOLERANCE: f64 = 0.03;
const REPEATS: u64 = 4;

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

/// Of each mean that both have, how far the long run is off.
fn errors(record_level: &[&Row], long: &[&Row]) -> Vec<(Metric, f64)> {
    let means = Metric::all().filter(|metric| metric.statistic == Statistic::Mean);
    let error = |metric: Metric| {
        let (expected, found) = (mean(record_level, metric)?, mean(long, metric)?);
        let error = if expected == found { 0.0 } else { (found - expected) / expected };
        Some((metric, error))
    };
    let mut errors: Vec<(Metric, f64)> = means.filter_map(error).collect();
    errors.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    errors
}

struct Compared {
    line: String,
    errors: Vec<(Metric, f64)>,
    leapt: f64,
}

fn compare(job: &Scenario, record_level: &[&Row], long: &[&Row]) -> Compared {
    let errors = errors(record_level, long);
    let sum = |rows: &[&Row], of: fn(&Row) -> f64| rows.iter().map(|row| of(row)).sum::<f64>();
    let leapt = sum(long, |row| row.leapt_s.unwrap_or(0.0)) / sum(long, |row| row.virtual_s);
    let events = |rows| sum(rows, |row| row.events as f64);
    let percent = |error: f64| format!("{:+.1} %", error * 100.0);
    let worst = |at: usize| format!("{} {}", errors[at].0.quantity.name(), percent(errors[at].1));
    let median = errors[errors.len() / 2].1.abs() * 100.0;
    let line = format!(
        "| {} | {} s | {:.0} % | {:.1} | {} | {} | {} | {} | {median:.2} % |\n",
        job.title,
        job.checkpointing.interval.expect("it is periodic").as_millis() / 1_000,
        leapt * 100.0,
        events(record_level) / events(long),
        long.iter().map(|row| row.failures).sum::<u64>(),
        worst(0),
        worst(1),
        worst(2),
    );
    Compared { line, errors, leapt }
}

#[test]
fn a_long_run_measures_what_the_record_level_run_does() {
    let jobs = jobs();
    assert!(jobs.len() >= 20);
    let (record_level, long) = (run(&jobs, None), run(&jobs, Some(TOLERANCE)));
    let of = |rows: &'static [Row], job: usize| -> Vec<&'static Row> {
        rows.iter().filter(|row| row.point == job).collect()
    };
    let (record_level, long): (&'static [Row], &'static [Row]) = (record_level.leak(), long.leak());
    let compared: Vec<Compared> = jobs
        .iter()
        .enumerate()
        .map(|(job, scenario)| compare(scenario, &of(record_level, job), &of(long, job)))
        .collect();
    let mut table = String::from(
        "| job | interval | leapt over | events saved | failures | worst mean | second | third | \
         median |\n|---|---:|---:|---:|---:|---|---|---|---:|\n",
    );
    for it in &compared {
        write!(table, "{}", it.line).expect("writing to a string cannot fail");
    }
    let path = root().join("docs/long-horizon.md");
    let text = fs::read_to_string(&path).expect("part of the repository");
    let begin = text.find(BEGIN).expect("the table has a beginning") + BEGIN.len();
    let end = text.find(END).expect("the table has an end");
    if std::env::var_os("CUTLINE_BLESS").is_some() {
        let anew = [&text[..begin], &table, &text[end..]].concat();
        fs::write(&path, anew).expect("writable");
    } else {
        assert_eq!(&text[begin..end], table, "CUTLINE_BLESS=1 writes it anew");
    }
    for (job, it) in compared.iter().enumerate() {
        for (metric, error) in &it.errors {
            assert!(error.abs() <= TOLERANCE, "job {job}: {metric} is off by {error:+.4}");
        }
    }
    let leapt = compared.iter().filter(|it| it.leapt > 0.3).count();
    assert!(leapt >= 20, "only {leapt} jobs were leapt over for the better part");
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
        refused("job.operators.source.records=100"),
        Some(LeapError::Bounded { operator: "source".to_owned() })
    );
    assert_eq!(
        refused(r#"manual=[{"at": "5 s", "kind": "checkpoint"}]"#),
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
