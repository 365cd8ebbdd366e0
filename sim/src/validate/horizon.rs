//! Long horizons against record-level runs: jobs are run both ways, with the same seeds, and every
//! mean that the long run reports is compared.
//!
//! Two bounds are told apart. *Within* is what is promised: the mean is within the tolerance, or
//! within the sampling error that the long run itself states for it (two standard errors). What is
//! not within may be chance: the random numbers behind a leap differ between the two runs, so both
//! are samples. It is *missed* if the difference, pair by pair of recoveries or runs, shows that the
//! bound is exceeded (one-sided Student test, 99 %). Over all jobs chance cancels out and a bias
//! does not: a figure is *biased* if the mean of its errors over the jobs is beyond the tolerance
//! and further from nothing than chance explains (95 %).

use std::convert::Infallible;
use std::sync::Arc;

use crate::explore::Panic;
use crate::horizon::{LeapError, Leaping};
use crate::run::Simulation;
use crate::scenario::{Scenario, load};
use crate::sweep::analysis::samples;
use crate::sweep::metric::{Metric, Quantity, Rates, Statistic};
use crate::sweep::runner::{SweepError, Task};
use crate::sweep::statistics::{mean_and_error, student};
use crate::sweep::{LeaptRow, Row};

/// Jobs drawn at random, one a line: aligned, unaligned, with a timeout, at least once; light and
/// backpressured; calm and failing.
const JOBS: &str = include_str!("jobs.jsonl");

/// Why jobs cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// A line is no scenario.
    #[error("line {line}:\n{found}")]
    Scenario {
        /// Which, from 1.
        line: usize,
        /// What is wrong with it.
        found: String,
    },
    /// It cannot run.
    #[error("line {line}: the job cannot run: {error}")]
    Graph {
        /// Which, from 1.
        line: usize,
        /// Why.
        error: crate::engine::JobError,
    },
    /// Time cannot be leapt over in it.
    #[error("line {line}: {error}")]
    Leap {
        /// Which, from 1.
        line: usize,
        /// Why.
        error: LeapError,
    },
    /// There is none.
    #[error("there are no jobs in it; one scenario a line is expected")]
    None,
}

/// Why a comparison came to no end.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// An invariant of ours broke.
    #[error("{0}")]
    Panic(Panic),
    /// A check failed: the runs measure nothing.
    #[error("job {job} with seed {seed}: {violation}")]
    Violation {
        /// Which job, from 1.
        job: usize,
        /// With which seed.
        seed: u64,
        /// What broke.
        violation: String,
    },
}

/// Whether a mean is what was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is within the tolerance, or within the sampling error that is stated.
    Within,
    /// It is not, and chance may have done that.
    Chance,
    /// It is not, and chance does not explain that.
    Missed,
}

impl Verdict {
    /// For reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Within => "within",
            Self::Chance => "chance",
            Self::Missed => "missed",
        }
    }
}

/// What is to be compared.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The jobs.
    pub jobs: Vec<Arc<Scenario>>,
    /// What leaps may add to the error of a mean.
    pub tolerance: f64,
    /// Runs of each job, both ways; at least 2.
    pub repeats: u64,
    /// Threads; `None`: as many as there are cores.
    pub threads: Option<usize>,
}

/// A mean of the long runs of a job against that of its record-level runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Of what.
    pub metric: Metric,
    /// The mean of the record-level runs.
    pub expected: f64,
    /// That of the long ones.
    pub found: f64,
    /// Relative to the record-level runs.
    pub error: f64,
    /// The sampling error that the long runs state, 95 %.
    pub stated: f64,
    /// What chance may do to the difference: one in fifty is further off, to either side one in a
    /// hundred.
    pub chance: f64,
    /// Of the two, what is within, what may be chance, and what is missed.
    pub verdict: Verdict,
}

/// A job, compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Its title.
    pub title: String,
    /// Its checkpoint interval, in seconds.
    pub interval_s: f64,
    /// Of the virtual time, what was leapt over.
    pub leapt: f64,
    /// Events of the record-level runs over those of the long ones.
    pub fewer_events: f64,
    /// Failures in the long runs.
    pub failures: u64,
    /// All means that the long runs report.
    pub differences: Vec<Difference>,
    /// Means that they do not, since they were sampled too little.
    pub unreported: Vec<Metric>,
}

/// The jobs that come with the program.
///
/// # Panics
/// If one of them is none.
pub fn own_jobs() -> Vec<Arc<Scenario>> {
    read_jobs(JOBS).expect("a test reads them")
}

/// Reads jobs, one a line.
///
/// # Errors
/// One of them is none, or is nothing to leap over time in.
pub fn read_jobs(text: &str) -> Result<Vec<Arc<Scenario>>, JobsError> {
    let lines = (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty());
    let job = |(line, text): (usize, &str)| {
        let loaded = load(text.as_bytes(), "job", &[])
            .map_err(|found| JobsError::Scenario { line, found: found.render(false) })?;
        let scenario = Arc::new(loaded.scenario);
        Simulation::new(Arc::clone(&scenario), 0)
            .map_err(|error| JobsError::Graph { line, error })?
            .leaping(Leaping { tolerance: 0.5, repeats: 1 })
            .map_err(|error| JobsError::Leap { line, error })?;
        Ok(scenario)
    };
    let jobs: Vec<Arc<Scenario>> = lines.map(job).collect::<Result<_, _>>()?;
    if jobs.is_empty() { Err(JobsError::None) } else { Ok(jobs) }
}

impl Comparison {
    /// Runs all jobs both ways.
    ///
    /// # Errors
    /// An invariant of ours broke, or a check failed.
    ///
    /// # Panics
    /// If the threads cannot be started.
    pub fn run(&self) -> Result<Vec<Compared>, CompareError> {
        let (record_level, long) = (self.rows(None)?, self.rows(Some(self.tolerance))?);
        let compared = |(job, scenario): (usize, &Arc<Scenario>)| {
            self.compared(scenario, &of_job(&record_level, job), &of_job(&long, job))
        };
        Ok(self.jobs.iter().enumerate().map(compared).collect())
    }

    fn rows(&self, coarsen: Option<f64>) -> Result<Vec<Row>, CompareError> {
        let task = Task {
            scenarios: self.jobs.clone(),
            points: (0..self.jobs.len()).collect(),
            seed: 0,
            repeats: self.repeats,
            precision: None,
            rates: Rates::default(),
            coarsen,
            threads: self.threads,
        };
        let mut rows = Vec::new();
        match task.run(&mut rows, |_| Ok::<(), Infallible>(())) {
            Ok(()) => {}
            Err(SweepError::Panic { panic, .. }) => return Err(CompareError::Panic(panic)),
            Err(SweepError::Threads(error)) => panic!("a process can start threads: {error}"),
            Err(SweepError::Stopped(never)) => match never {},
        }
        match rows.iter().find_map(|row| Some((row, row.violation.clone()?))) {
            Some((Row { point, seed, .. }, violation)) => {
                Err(CompareError::Violation { job: point + 1, seed: *seed, violation })
            }
            None => Ok(rows),
        }
    }

    fn compared(&self, job: &Scenario, record_level: &[&Row], long: &[&Row]) -> Compared {
        let sampling = LeaptRow::together(long.iter().filter_map(|row| row.leapt.as_ref()));
        let sampling = sampling.unwrap_or_default();
        let means = || Metric::all().filter(|metric| metric.statistic == Statistic::Mean);
        let knows = |metric: &Metric| sampling.knows(metric.quantity);
        let difference = |metric: Metric| {
            let stated = 2.0 * sampling.error_of(metric.quantity);
            Difference::of(metric, record_level, long, self.tolerance.max(stated), stated)
        };
        let measured = |metric: &Metric| long.iter().any(|row| row.value(*metric).is_some());
        let sum = |rows: &[&Row], of: fn(&Row) -> f64| rows.iter().map(|row| of(row)).sum::<f64>();
        let mut differences: Vec<Difference> =
            means().filter(knows).filter_map(difference).collect();
        differences.sort_by(|a, b| b.error.abs().total_cmp(&a.error.abs()));
        let interval = job.checkpointing.interval.unwrap_or_default();
        Compared {
            title: job.title.clone(),
            interval_s: interval.0 as f64 / 1e9,
            leapt: sampling.leapt_s / sum(long, |row| row.virtual_s),
            fewer_events: sum(record_level, |row| row.events as f64)
                / sum(long, |row| row.events as f64),
            failures: long.iter().map(|row| row.failures).sum(),
            differences,
            unreported: means().filter(|it| !knows(it)).filter(measured).collect(),
        }
    }
}

fn of_job(rows: &[Row], job: usize) -> Vec<&Row> {
    rows.iter().filter(|row| row.point == job).collect()
}

impl Difference {
    fn of(
        metric: Metric,
        record_level: &[&Row],
        long: &[&Row],
        bound: f64,
        stated: f64,
    ) -> Option<Self> {
        let [ours, theirs] = [long, record_level].map(|rows| samples(metric, rows));
        if ours.is_empty() || theirs.is_empty() {
            return None;
        }
        let of = |samples: &[f64]| samples.iter().sum::<f64>() / samples.len() as f64;
        let (found, expected) = (of(&ours), of(&theirs));
        let size = if expected == 0.0 { found.abs() } else { expected.abs() };
        if found == expected {
            let verdict = Verdict::Within;
            return Some(Self {
                metric,
                expected,
                found,
                error: 0.0,
                stated,
                chance: 0.0,
                verdict,
            });
        }
        let error = (found - expected) / size;
        // Each recovery has its twin, unless the two runs have failed at different times.
        let pairs: Vec<f64> = if ours.len() == theirs.len() {
            ours.iter().zip(&theirs).map(|(ours, theirs)| ours - theirs).collect()
        } else {
            let pairs = long.iter().zip(record_level);
            pairs.filter_map(|(a, b)| Some(a.value(metric)? - b.value(metric)?)).collect()
        };
        let chance = match pairs.len() {
            0 | 1 => f64::INFINITY,
            count => student(0.99, count as u32 - 1) * mean_and_error(&pairs).1 / size,
        };
        let verdict = match error.abs() {
            off if off <= bound => Verdict::Within,
            off if off - chance <= bound => Verdict::Chance,
            _ => Verdict::Missed,
        };
        Some(Self { metric, expected, found, error, stated, chance, verdict })
    }
}

/// A figure over all jobs that report it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// Of what.
    pub quantity: Quantity,
    /// Jobs.
    pub jobs: usize,
    /// Of these, within the bound.
    pub within: usize,
    /// The mean of the errors, and half of its 95 % interval.
    pub error: (f64, f64),
    /// Whether that is more than chance and the tolerance.
    pub is_biased: bool,
}

/// Each figure over all jobs.
pub fn figures(compared: &[Compared], tolerance: f64) -> Vec<Figure> {
    let figure = |quantity: Quantity| {
        let all = || compared.iter().flat_map(|it| &it.differences);
        let of = || all().filter(|it| it.metric.quantity == quantity);
        let errors: Vec<f64> = of().map(|it| it.error).collect();
        let jobs = errors.len();
        let (mean, half) = match jobs {
            0 => return None,
            1 => (errors[0], f64::INFINITY),
            _ => {
                let (mean, error) = mean_and_error(&errors);
                (mean, student(0.975, jobs as u32 - 1) * error)
            }
        };
        Some(Figure {
            quantity,
            jobs,
            within: of().filter(|it| it.verdict == Verdict::Within).count(),
            error: (mean, half),
            is_biased: mean.abs() > tolerance && mean.abs() > half,
        })
    };
    Quantity::ALL.into_iter().filter_map(figure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_jobs_are_jobs() {
        assert!(own_jobs().len() >= 20);
        assert!(matches!(read_jobs("\n"), Err(JobsError::None)));
        let error = read_jobs("\n{}").expect_err("it has no job");
        assert!(error.to_string().starts_with("line 2:\n"), "{error}");
    }

    /// Four runs that have so many messages in a second.
    fn rows(messages: [f64; 4]) -> Vec<Row> {
        let row = |(repeat, per_s): (u64, f64)| Row {
            metrics: [("messages_per_s".to_owned(), per_s)].into(),
            ..Row::uneventful(0, repeat)
        };
        (0..).zip(messages).map(row).collect()
    }

    #[test]
    fn chance_is_told_from_a_mistake() {
        let metric = Metric { quantity: Quantity::Messages, statistic: Statistic::Mean };
        let verdict = |messages| {
            let (exact, found) = (rows([100.0, 110.0, 90.0, 100.0]), rows(messages));
            let [exact, found] = [&exact, &found].map(|rows| of_job(rows, 0));
            let it = Difference::of(metric, &exact, &found, 0.03, 0.0);
            it.expect("both are measured").verdict
        };
        assert_eq!(verdict([102.0, 112.0, 91.0, 99.0]), Verdict::Within);
        assert_eq!(verdict([130.0, 90.0, 110.0, 100.0]), Verdict::Chance);
        assert_eq!(verdict([108.0, 118.0, 98.0, 108.5]), Verdict::Missed);
    }
}
