//! Runs the points of a sweep on all cores, and hands on what came of them in one order.
//!
//! The order is that of the plan: repeat after repeat, point after point. So the results of a sweep
//! that was interrupted are a beginning of those of the whole one, whatever the number of threads.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use super::metric::{Metric, Rates};
use super::row::Row;
use super::statistics::mean;
use crate::explore::{Panic, catch};
use crate::horizon::Leaping;
use crate::run::Simulation;
use crate::scenario::Scenario;

/// A batch of repeats; between batches it is seen which points are measured well enough.
const BATCH: u64 = 10;

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Task {
    /// The scenario of each point of the grid.
    pub scenarios: Vec<Arc<Scenario>>,
    /// The points of this part of the sweep.
    pub points: Vec<usize>,
    /// The seed of the first repeat; the next ones follow.
    pub seed: u64,
    /// Repeats of each point, at most.
    pub repeats: u64,
    /// A point is done when the interval of this metric is so narrow, relative to its mean.
    pub precision: Option<(Metric, f64)>,
    /// What turns counts into costs.
    pub rates: Rates,
    /// Relative error up to which time may be leapt over; `None`: none is.
    pub coarsen: Option<f64>,
    /// Threads; `None`: as many as there are cores.
    pub threads: Option<usize>,
}

/// Why a sweep broke off.
#[derive(Debug, thiserror::Error)]
pub enum SweepError<E> {
    /// The threads cannot be started.
    #[error("cannot start threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// An invariant of ours broke.
    #[error("{panic}")]
    Panic {
        /// At which point.
        point: usize,
        /// With which seed.
        seed: u64,
        /// What broke.
        panic: Panic,
    },
    /// Whoever gets the results has had enough.
    #[error("{0}")]
    Stopped(E),
}

/// What a sweep tells while it goes on.
#[derive(Debug)]
pub enum Event<'a> {
    /// So many runs are to be made in the next batch, at most so many altogether.
    Batch {
        /// In this batch.
        runs: usize,
    },
    /// A new result, in the order of the plan.
    Row(&'a Row),
}

impl Task {
    /// Runs what is not among the results yet, and adds it.
    ///
    /// # Errors
    /// An invariant of ours broke, or `watch` says to stop.
    pub fn run<E>(
        &self,
        results: &mut Vec<Row>,
        mut watch: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), SweepError<E>> {
        let pool =
            rayon::ThreadPoolBuilder::new().num_threads(self.threads.unwrap_or(0)).build()?;
        let mut known: BTreeSet<(usize, u64)> =
            results.iter().map(|row| (row.point, row.repeat)).collect();
        let batch = if self.precision.is_some() { BATCH } else { self.repeats };
        let mut begin = 0;
        while begin < self.repeats {
            let end = self.repeats.min(begin + batch);
            let open: Vec<usize> = self
                .points
                .iter()
                .copied()
                .filter(|it| !self.is_done(*it, begin, results))
                .collect();
            let runs: Vec<(usize, u64)> = (begin..end)
                .flat_map(|repeat| open.iter().map(move |point| (*point, repeat)))
                .filter(|run| !known.contains(run))
                .collect();
            watch(Event::Batch { runs: runs.len() }).map_err(SweepError::Stopped)?;
            known.extend(runs.iter().copied());
            self.run_batch(&pool, &runs, |row| {
                watch(Event::Row(&row)).map_err(SweepError::Stopped)?;
                results.push(row);
                Ok(())
            })?;
            begin = end;
        }
        results.sort_by_key(|row| (row.repeat, row.point));
        Ok(())
    }

    /// Whether the first repeats of a point are enough. It looks at nothing but the point itself:
    /// a partition stops where the whole would.
    fn is_done(&self, point: usize, repeats: u64, results: &[Row]) -> bool {
        let Some((metric, precision)) = self.precision.filter(|_| repeats > 0) else {
            return false;
        };
        let of_point = results.iter().filter(|row| row.point == point && row.repeat < repeats);
        let mut samples: Vec<(u64, f64)> = of_point
            .filter(|row| row.counts())
            .filter_map(|row| Some((row.repeat, row.value(metric)?)))
            .collect();
        // A sum of floats depends on its order.
        samples.sort_by_key(|sample| sample.0);
        let samples: Vec<f64> = samples.into_iter().map(|sample| sample.1).collect();
        let error = mean(&samples).and_then(|estimate| estimate.relative_error());
        error.is_some_and(|error| error <= precision / (1.0 + precision))
    }

    /// Runs on all threads of the pool; results are handed over in the order of `runs`.
    fn run_batch<E>(
        &self,
        pool: &rayon::ThreadPool,
        runs: &[(usize, u64)],
        mut take: impl FnMut(Row) -> Result<(), SweepError<E>>,
    ) -> Result<(), SweepError<E>> {
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (sender, receiver) = mpsc::channel();
        let work = |sender: &mpsc::Sender<(usize, Result<Row, Panic>)>| {
            while !stop.load(Ordering::Relaxed) {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some((point, repeat)) = runs.get(index) else { break };
                if sender.send((index, self.run_one(*point, *repeat))).is_err() {
                    break;
                }
            }
        };
        pool.in_place_scope(|scope| {
            for _ in 0..pool.current_num_threads() {
                let (sender, work) = (sender.clone(), &work);
                scope.spawn(move |_| work(&sender));
            }
            drop(sender);
            let mut early = BTreeMap::new();
            let mut due = 0;
            for (index, result) in receiver {
                early.insert(index, result);
                while let Some(result) = early.remove(&due) {
                    let (point, repeat) = runs[due];
                    due += 1;
                    let seed = self.seed + repeat;
                    let row = result.map_err(|panic| SweepError::Panic { point, seed, panic });
                    if let Err(error) = row.and_then(&mut take) {
                        stop.store(true, Ordering::Relaxed);
                        return ControlFlow::Break(error);
                    }
                }
            }
            ControlFlow::Continue(())
        })
        .break_value()
        .map_or(Ok(()), Err)
    }

    fn run_one(&self, point: usize, repeat: u64) -> Result<Row, Panic> {
        let scenario = Arc::clone(&self.scenarios[point]);
        let outcome = catch(|| {
            let simulation = Simulation::new(scenario, self.seed + repeat);
            let simulation = simulation.expect("the job graph was tried before").meter(true);
            match self.coarsen {
                Some(tolerance) => simulation
                    .leaping(Leaping { tolerance, repeats: self.repeats })
                    .expect("it was tried before")
                    .run(),
                None => simulation.run(),
            }
        })?;
        Ok(Row::of(&outcome, point, repeat, &self.rates))
    }
}
