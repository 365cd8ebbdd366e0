//! What to put into the configuration: keys, why, what it costs, how sure that is, and what was
//! not looked at.

use cutline::config::OPTIONS;
use serde::Serialize;

use super::analysis::{Analysis, Answer, Keeps, Question};
use super::grid::{Axis, Grid};
use super::metric::{Metric, Quantity, Statistic, digits};

/// What to do, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Recommendation {
    /// Flink's keys and their values; of what is no option of Flink's, the path in the scenario.
    pub keys: Vec<(String, String)>,
    /// Why these.
    pub why: Vec<String>,
    /// What they cost and bring.
    pub costs: Vec<(String, String)>,
    /// How sure this is.
    pub confidence: Vec<String>,
    /// What is not modelled, or not measured.
    pub not_modelled: Vec<String>,
}

/// What a simulation leaves out, whatever the scenario.
pub const NOT_MODELLED: [&str; 4] = [
    "costs and latencies are the scenario's; nothing here says that they are your cluster's",
    "uploads do not slow down the processing of records",
    "the job manager handles messages in no time; the object store never throttles",
    "failures are independent of load, and of each other's place",
];

/// Costs and gains that a recommendation names, where they were measured.
const NAMED: [Quantity; 8] = [
    Quantity::Recovery,
    Quantity::LostWork,
    Quantity::Overhead,
    Quantity::Duration,
    Quantity::CommitLatency,
    Quantity::Storage,
    Quantity::Requests,
    Quantity::Price,
];

/// The recommendation that an analysis leads to; `None` if it leads to none.
pub fn recommend(grid: &Grid, analysis: &Analysis, question: &Question) -> Option<Recommendation> {
    let Answer::Best(best) = analysis.answer else { return None };
    let point = analysis.point(best)?;
    let keys = grid.values(best).map(|(axis, value)| (key(axis), value.to_owned())).collect();
    let metric = question.minimise;
    let value = metric.show(point.value(metric)?);
    let goals: Vec<&str> = question.goals.iter().map(|goal| goal.text.as_str()).collect();
    let among = match goals[..] {
        [] => "of all points".to_owned(),
        _ => format!("of the points that keep {}", goals.join(" and ")),
    };
    let mut why = vec![format!("the least {metric} {among}: {value}")];
    let region = analysis.flat_region();
    for (index, axis) in grid.axes.iter().enumerate().filter(|(_, axis)| axis.values.len() > 1) {
        let mut places: Vec<usize> = region.iter().map(|point| grid.place(*point)[index]).collect();
        places.sort_unstable();
        places.dedup();
        let values: Vec<&str> = places.iter().map(|at| axis.values[*at].as_str()).collect();
        why.push(match (&values[..], axis.is_log || axis.numbers().is_some()) {
            ([only], _) => format!("{}: {only} alone is best", axis.name),
            ([first, .., last], true) => {
                format!("{}: from {first} to {last} nothing is significantly worse, or by more than 5 %", axis.name)
            }
            (values, _) => format!("{}: {} are as good", axis.name, values.join(", ")),
        });
    }
    let costs = named(question).filter_map(|metric| {
        let estimate = point.estimates.get(&metric)?;
        let shown = metric.show(estimate.value);
        let interval = estimate.interval.map_or(String::new(), |(low, high)| {
            format!(" ({} to {})", metric.show(low), metric.show(high))
        });
        Some((metric.to_string(), shown + &interval))
    });
    Some(Recommendation {
        keys,
        why,
        costs: costs.collect(),
        confidence: confidence(analysis, best, question),
        not_modelled: NOT_MODELLED.map(str::to_owned).into(),
    })
}

/// The means of what is named, and what the goals are about.
fn named(question: &Question) -> impl Iterator<Item = Metric> {
    let goals = question.goals.iter().map(|goal| goal.metric);
    let named = NAMED.into_iter().map(|quantity| Metric { quantity, statistic: Statistic::Mean });
    let mut all: Vec<Metric> = goals.collect();
    all.extend(named.filter(|metric| !question.goals.iter().any(|goal| goal.metric == *metric)));
    all.into_iter()
}

fn confidence(analysis: &Analysis, best: usize, question: &Question) -> Vec<String> {
    let Some(point) = analysis.point(best) else { return Vec::new() };
    let mut said = vec![format!(
        "{} runs and {} failures at this point; intervals are 95 %",
        point.runs, point.failures
    )];
    for (goal, keeps) in question.goals.iter().zip(&point.keeps) {
        said.push(match keeps {
            Keeps::Yes => format!("{} is kept: the whole interval is on the right side", goal.text),
            _ => format!("{} is {}: the interval is on both sides", goal.text, keeps.name()),
        });
    }
    if point.failures > 0 {
        // The loss at a failure is uniform to first order: its relative error is 1.155 over the
        // root of their number (`models.md`, section 9).
        let error = 1.96 * libm::sqrt(4.0 / 3.0 / point.failures as f64);
        let needed = libm::ceil(1.96 * 1.96 * 4.0 / 3.0 / 0.0025);
        if error > 0.05 {
            said.push(format!(
                "so many failures tell a loss to about {} %; 5 % need {needed}",
                digits(error * 100.0)
            ));
        }
    } else {
        said.push("nothing failed: recovery and lost work are not measured".to_owned());
    }
    if point.cut_off > 0 {
        let cut_off = point.cut_off;
        said.push(format!(
            "{cut_off} recoveries were cut off by the end of a run and are left out"
        ));
    }
    if point.failed_jobs > 0 {
        let failed = point.failed_jobs;
        said.push(format!(
            "in {failed} runs the restart strategy gave up; what follows is not in them"
        ));
    }
    for it in analysis.sensitivity.iter().filter(|it| it.factor != 1.0) {
        let label = analysis.point(it.point).map_or("", |point| &point.label);
        let kept = Quantity::LostWork.unit().show(it.lost_work_if_kept);
        let then = Quantity::LostWork.unit().show(it.lost_work);
        said.push(match it.point == best {
            true => format!("with {} times the failures: still the best ({then} lost)", it.factor),
            false => format!(
                "with {} times the failures: {label} would be best ({then} lost instead of {kept})",
                it.factor
            ),
        });
    }
    said
}

/// Flink's key of what an axis varies.
fn key(axis: &Axis) -> String {
    if let Some(key) = axis.path.strip_prefix("flink.") {
        return key.to_owned();
    }
    let spec = axis.path.split_once('.').and_then(|path| OPTIONS.iter().find(|it| it.path == path));
    spec.map_or_else(|| axis.path.clone(), |spec| spec.key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_flink() {
        for (axis, expected) in [
            ("interval=1s,2s", "execution.checkpointing.interval"),
            ("flink.heartbeat.timeout=1s,2s", "heartbeat.timeout"),
            ("job.operators[count].parallelism=1,2", "job.operators[count].parallelism"),
        ] {
            assert_eq!(key(&Axis::parse(axis).expect(axis)), expected);
        }
    }
}
