//! Points against each other: which keep the goals, which is best, and which are as good as that.
//!
//! The smallest of noisy figures is a poor guide: near its optimum a cost curve is flat (a factor
//! of two in the interval costs a quarter more, ten percent cost half a percent), so the argmin
//! jumps about. Besides the best point there is therefore its *flat region*: all points that keep
//! the goals and whose difference to the best, repeat by repeat, is below 5 % or not significant.

use std::collections::BTreeMap;

use super::grid::Grid;
use super::metric::{Goal, Metric, Quantity, Statistic};
use super::row::{LeaptRow, Row};
use super::statistics::{Estimate, mean, quantile, samples_needed};

/// Within so much of the best, a point is as good.
const AS_GOOD: f64 = 0.05;
/// Failure rates, relative to the given one, for which the best point is looked for.
const FACTORS: [f64; 5] = [0.25, 0.5, 1.0, 2.0, 4.0];

/// What is asked of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Small is good.
    pub minimise: Metric,
    /// What must be kept.
    pub goals: Vec<Goal>,
}

/// Whether a point keeps a goal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Keeps {
    /// The whole interval does.
    Yes,
    /// The figure does, its interval is on both sides.
    Probably,
    /// The figure does not, its interval is on both sides.
    ProbablyNot,
    /// The whole interval does not.
    No,
    /// There are too few samples; so many are needed.
    Unknown(usize),
}

impl Keeps {
    /// Whether the figure keeps the goal.
    pub fn is_yes(self) -> bool {
        match self {
            Self::Yes | Self::Probably => true,
            Self::ProbablyNot | Self::No | Self::Unknown(_) => false,
        }
    }

    /// For reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Yes => "kept",
            Self::Probably => "probably kept",
            Self::ProbablyNot => "probably missed",
            Self::No => "missed",
            Self::Unknown(_) => "too few failures",
        }
    }
}

/// What is known of a point.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its number in the grid.
    pub point: usize,
    /// Its values, to read.
    pub label: String,
    /// Runs that count.
    pub runs: usize,
    /// Runs that a check ended, and runs that the event budget ended.
    pub lost_runs: [usize; 2],
    /// Runs whose job failed for good: its restart strategy gave up.
    pub failed_jobs: usize,
    /// Failures in the runs that count.
    pub failures: u64,
    /// Recoveries from them that were measured to their end.
    pub recoveries: usize,
    /// Recoveries that the end of a run cut off.
    pub cut_off: u64,
    /// Virtual time of the runs that count, in seconds.
    pub virtual_s: f64,
    /// Of it, what was leapt over, if that was allowed.
    pub leapt: Option<LeaptRow>,
    /// All that was measured.
    pub estimates: BTreeMap<Metric, Estimate>,
    /// Of each goal, whether it is kept.
    pub keeps: Vec<Keeps>,
}

impl Point {
    /// An estimate's value.
    pub fn value(&self, metric: Metric) -> Option<f64> {
        self.estimates.get(&metric).map(|estimate| estimate.value)
    }

    /// Whether it keeps all goals.
    pub fn is_feasible(&self) -> bool {
        self.keeps.iter().all(|keeps| keeps.is_yes())
    }

    /// Samples that a goal lacks to be judged.
    pub fn needs(&self) -> Option<usize> {
        let needs = |keeps: &Keeps| match keeps {
            Keeps::Unknown(needed) => Some(*needed),
            Keeps::Yes | Keeps::Probably | Keeps::ProbablyNot | Keeps::No => None,
        };
        self.keeps.iter().filter_map(needs).max()
    }
}

/// A point beside the best one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rival {
    /// Its number.
    pub point: usize,
    /// How much worse it is, over equal repeats.
    pub difference: Option<Estimate>,
    /// Whether it is as good.
    pub is_as_good: bool,
}

/// What comes of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A point keeps the goals and is best among those that do.
    Best(usize),
    /// No point keeps the goals.
    Missed,
    /// Whether a point keeps the goals is not known; so many failures are needed at each.
    TooFew {
        /// Failures needed at a point.
        needed: usize,
        /// Repeats that would have so many.
        repeats: Option<u64>,
    },
    /// Nothing to compare: what is to be minimised was not measured anywhere.
    Unmeasured,
}

/// The best point for another failure rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sensitivity {
    /// The failure rate, relative to that of the sweep.
    pub factor: f64,
    /// The best point then.
    pub point: usize,
    /// The share of work lost there.
    pub lost_work: f64,
    /// The share of work lost there if the point of the sweep were kept.
    pub lost_work_if_kept: f64,
}

/// Everything that the results say.
#[derive(Clone, Debug, PartialEq)]
pub struct Analysis {
    /// All points, by number.
    pub points: Vec<Point>,
    /// The answer.
    pub answer: Answer,
    /// All feasible points but the best, against it.
    pub rivals: Vec<Rival>,
    /// Other failure rates; empty unless lost work is minimised and something failed.
    pub sensitivity: Vec<Sensitivity>,
}

impl Analysis {
    /// Analyses the results of these points of a grid.
    pub fn new(grid: &Grid, points: &[usize], rows: &[Row], question: &Question) -> Self {
        let mut of_point: BTreeMap<usize, Vec<&Row>> =
            points.iter().map(|point| (*point, Vec::new())).collect();
        for row in rows {
            of_point.entry(row.point).or_default().push(row);
        }
        // A sum of floats depends on its order.
        of_point.values_mut().for_each(|rows| rows.sort_by_key(|row| row.repeat));
        let points: Vec<Point> =
            of_point.iter().map(|(point, rows)| summary(grid, *point, rows, question)).collect();
        let answer = answer(&points, &of_point, question);
        let mut analysis = Self { points, answer, rivals: Vec::new(), sensitivity: Vec::new() };
        if let Answer::Best(best) = analysis.answer {
            analysis.rivals = analysis.rivals_of(best, &of_point, question.minimise);
            if question.minimise.quantity == Quantity::LostWork {
                analysis.sensitivity = analysis.sensitivity_of(best, &of_point);
            }
        }
        analysis
    }

    /// A point by its number.
    pub fn point(&self, number: usize) -> Option<&Point> {
        self.points.iter().find(|point| point.point == number)
    }

    /// The best point and all that are as good, by number.
    pub fn flat_region(&self) -> Vec<usize> {
        let Answer::Best(best) = self.answer else { return Vec::new() };
        let rivals = self.rivals.iter().filter(|rival| rival.is_as_good);
        let mut region: Vec<usize> = rivals.map(|rival| rival.point).chain([best]).collect();
        region.sort_unstable();
        region
    }

    fn rivals_of(
        &self,
        best: usize,
        rows: &BTreeMap<usize, Vec<&Row>>,
        metric: Metric,
    ) -> Vec<Rival> {
        let of_best = self.point(best).and_then(|point| point.value(metric)).unwrap_or(0.0);
        let rival = |point: &Point| {
            let difference = mean(&differences(&rows[&point.point], &rows[&best], metric));
            let is_as_good = difference.is_some_and(|it| {
                it.value <= AS_GOOD * of_best.abs() || it.interval.is_none_or(|(low, _)| low <= 0.0)
            });
            Rival { point: point.point, difference, is_as_good }
        };
        let others = self.points.iter().filter(|point| point.point != best);
        others.filter(|point| point.is_feasible()).map(rival).collect()
    }

    /// To first order the work lost is a cost in the steady state and a loss at each failure, so it
    /// is a line over the failure rate at every point.
    fn sensitivity_of(&self, best: usize, rows: &BTreeMap<usize, Vec<&Row>>) -> Vec<Sensitivity> {
        let overhead = Metric { quantity: Quantity::Overhead, statistic: Statistic::Mean };
        let lost = Metric { quantity: Quantity::LostWork, statistic: Statistic::Mean };
        let failures: u64 = self.points.iter().map(|point| point.failures).sum();
        if failures == 0 {
            return Vec::new();
        }
        let line = |point: &Point| {
            let overhead = point.value(overhead)?;
            let per_time = point.value(lost)? - overhead;
            (!rows[&point.point].is_empty()).then_some((point.point, overhead, per_time))
        };
        let feasible = self.points.iter().filter(|point| point.is_feasible());
        let lines: Vec<(usize, f64, f64)> = feasible.filter_map(line).collect();
        let at = |factor: f64, line: &(usize, f64, f64)| line.1 + factor * line.2;
        let kept = lines.iter().find(|line| line.0 == best);
        FACTORS
            .into_iter()
            .filter_map(|factor| {
                let cost = |line: &&(usize, f64, f64)| at(factor, line);
                let least = lines.iter().min_by(|a, b| cost(a).total_cmp(&cost(b)))?;
                Some(Sensitivity {
                    factor,
                    point: least.0,
                    lost_work: at(factor, least),
                    lost_work_if_kept: at(factor, kept?),
                })
            })
            .collect()
    }
}

/// The differences of a metric between equal repeats of two points.
fn differences(of: &[&Row], to: &[&Row], metric: Metric) -> Vec<f64> {
    let values: BTreeMap<u64, f64> = to
        .iter()
        .filter(|row| row.counts())
        .filter_map(|row| Some((row.repeat, row.value(metric)?)))
        .collect();
    of.iter()
        .filter(|row| row.counts())
        .filter_map(|row| Some(row.value(metric)? - values.get(&row.repeat)?))
        .collect()
}

fn summary(grid: &Grid, point: usize, rows: &[&Row], question: &Question) -> Point {
    let counting: Vec<&Row> = rows.iter().copied().filter(|row| row.counts()).collect();
    let leapt = LeaptRow::together(counting.iter().filter_map(|row| row.leapt.as_ref()));
    let knows = |metric: &Metric| leapt.as_ref().is_none_or(|it| it.knows(metric.quantity));
    let known = Metric::all().filter(knows);
    let estimates: BTreeMap<Metric, Estimate> =
        known.filter_map(|metric| Some((metric, estimate(metric, &counting)?))).collect();
    let keeps = question.goals.iter().map(|goal| keeps(goal, estimates.get(&goal.metric)));
    let budget = |row: &&&Row| row.violation.is_none() && row.end == "budget";
    Point {
        point,
        label: grid.label(point),
        runs: counting.len(),
        lost_runs: [
            rows.iter().filter(|row| row.violation.is_some()).count(),
            rows.iter().filter(budget).count(),
        ],
        failed_jobs: counting.iter().filter(|row| row.end == "failed").count(),
        failures: counting.iter().map(|row| row.failures).sum(),
        recoveries: counting.iter().map(|row| row.recoveries.len()).sum(),
        cut_off: counting.iter().map(|row| row.cut_off).sum(),
        virtual_s: counting.iter().map(|row| row.virtual_s).sum(),
        leapt,
        keeps: keeps.collect(),
        estimates,
    }
}

/// Recoveries are samples by themselves; of everything else a run is one.
pub(crate) fn samples(metric: Metric, rows: &[&Row]) -> Vec<f64> {
    if metric.quantity.is_of_failures() {
        let recoveries = rows.iter().flat_map(|row| &row.recoveries);
        recoveries.map(|recovery| recovery.value(metric.quantity)).collect()
    } else {
        rows.iter().filter_map(|row| row.value(metric)).collect()
    }
}

fn estimate(metric: Metric, rows: &[&Row]) -> Option<Estimate> {
    let samples = samples(metric, rows);
    match metric.statistic {
        Statistic::Max => {
            let max = samples.iter().copied().max_by(f64::total_cmp)?;
            Some(Estimate { value: max, interval: None, samples: samples.len() })
        }
        Statistic::Quantile(permille) if metric.quantity.is_of_failures() => {
            quantile(&samples, permille)
        }
        Statistic::Mean | Statistic::Quantile(_) => mean(&samples),
    }
}

fn keeps(goal: &Goal, estimate: Option<&Estimate>) -> Keeps {
    let is_of_failures = goal.metric.quantity.is_of_failures();
    let needed = match goal.metric.statistic {
        Statistic::Quantile(permille) if is_of_failures => samples_needed(permille),
        Statistic::Mean | Statistic::Max | Statistic::Quantile(_) => 2,
    };
    let Some(estimate) = estimate else { return Keeps::Unknown(needed) };
    let value = goal.is_kept_by(estimate.value);
    match estimate.interval {
        Some((low, high)) => match (goal.is_kept_by(low), goal.is_kept_by(high)) {
            (true, true) => Keeps::Yes,
            (false, false) => Keeps::No,
            (true, false) | (false, true) if value => Keeps::Probably,
            (true, false) | (false, true) => Keeps::ProbablyNot,
        },
        None if goal.metric.statistic == Statistic::Max && value => Keeps::Probably,
        None if goal.metric.statistic == Statistic::Max => Keeps::No,
        // The largest of few samples is above the limit: more of them will not help.
        None if is_of_failures && !value => Keeps::ProbablyNot,
        None => Keeps::Unknown(needed),
    }
}

fn answer(points: &[Point], rows: &BTreeMap<usize, Vec<&Row>>, question: &Question) -> Answer {
    let measured = |point: &&Point| point.value(question.minimise).is_some();
    let feasible = points.iter().filter(|point| point.is_feasible()).filter(measured);
    let value = |point: &&Point| point.value(question.minimise).unwrap_or(f64::INFINITY);
    if let Some(best) = feasible.min_by(|a, b| value(a).total_cmp(&value(b))) {
        return Answer::Best(best.point);
    }
    let open = points.iter().filter_map(|point| Some((point, point.needs()?)));
    let Some((point, needed)) = open.max_by_key(|(_, needed)| *needed) else {
        let any = points.iter().any(|point| point.is_feasible());
        return if any { Answer::Unmeasured } else { Answer::Missed };
    };
    let repeats = rows[&point.point].len() as u64;
    let of_failures = question.goals.iter().any(|goal| goal.metric.quantity.is_of_failures());
    let seen = if of_failures { point.recoveries } else { point.runs };
    let repeats = (seen as u64 > 0).then(|| (repeats * needed as u64).div_ceil(seen as u64));
    Answer::TooFew { needed, repeats }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::RecoveryRow;
    use crate::sweep::grid::Axis;

    /// Repeat by repeat, the loss at a point is what the repeat was like, more or less.
    fn row(point: usize, repeat: u64, lost: f64, recovery: f64) -> Row {
        let luck = [0.0, 0.4, -0.3, 0.2, -0.1, 0.5, -0.4, 0.1, -0.2, 0.3][repeat as usize % 10];
        let part = |value| RecoveryRow {
            at_s: 0.0,
            failures: 1,
            downtime_s: value,
            replay_s: 0.0,
            catch_up_s: 0.0,
            replayed_s: 0.0,
        };
        let metrics = [("lost_work_share", lost * (1.0 + luck)), ("overhead_share", 0.01)];
        Row {
            failures: 1,
            recoveries: vec![part(recovery * (1.0 + luck))],
            metrics: metrics.map(|(name, value)| (name.to_owned(), value)).into(),
            ..Row::uneventful(point, repeat)
        }
    }

    fn analysis(losses: [f64; 4], goal: &[&str]) -> Analysis {
        let axis = Axis::parse("interval=10s,20s,40s,80s").expect("an axis");
        let grid = Grid::new(vec![axis]).expect("a grid");
        let rows: Vec<Row> = (0..20)
            .flat_map(|repeat| (0..4).map(move |point| (point, repeat)))
            .map(|(point, repeat)| row(point, repeat, losses[point], 10.0 * (point + 1) as f64))
            .collect();
        let question = Question {
            minimise: Metric::parse("lost_work").expect("a metric"),
            goals: goal.iter().map(|goal| Goal::parse(goal).expect("a goal")).collect(),
        };
        Analysis::new(&grid, &[0, 1, 2, 3], &rows, &question)
    }

    #[test]
    fn paired_differences_tell_points_apart_that_their_intervals_do_not() {
        let analysis = analysis([0.12, 0.1, 0.102, 0.2], &[]);
        assert_eq!(analysis.answer, Answer::Best(1));
        assert_eq!(analysis.flat_region(), [1, 2]);
        let metric = Metric::parse("lost_work").expect("a metric");
        let interval = |point: usize| analysis.points[point].estimates[&metric].interval;
        let (low, high) = (interval(0).expect("of 20"), interval(1).expect("of 20"));
        assert!(low.0 < high.1, "the intervals of points 0 and 1 overlap");
    }

    #[test]
    fn goals_choose_among_points() {
        let few = analysis([0.4, 0.3, 0.2, 0.1], &["recovery.mean<=25s"]);
        assert_eq!(few.answer, Answer::Best(1));
        assert_eq!(few.points[0].keeps, [Keeps::Yes]);
        assert_eq!(few.points[2].keeps, [Keeps::No]);
        let none = analysis([0.4, 0.3, 0.2, 0.1], &["recovery.mean<=5s"]);
        assert_eq!(none.answer, Answer::Missed);
        let rare = analysis([0.4, 0.3, 0.2, 0.1], &["recovery.p99<=25s"]);
        assert_eq!(rare.answer, Answer::TooFew { needed: 368, repeats: Some(368) });
    }

    #[test]
    fn another_failure_rate_has_another_optimum() {
        let analysis = analysis([0.05, 0.04, 0.03, 0.08], &[]);
        assert_eq!(analysis.answer, Answer::Best(2));
        let factors: Vec<f64> = analysis.sensitivity.iter().map(|it| it.factor).collect();
        assert_eq!(factors, FACTORS);
        assert!(analysis.sensitivity.iter().all(|it| it.lost_work <= it.lost_work_if_kept));
    }
}
