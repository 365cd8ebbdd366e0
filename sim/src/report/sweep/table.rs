//! The points of a sweep for programs: CSV and JSON.

use serde_json::{Map, Value, json};

use super::SweepReport;
use crate::sweep::analysis::{Answer, Point};
use crate::sweep::forecast::Family;
use crate::sweep::metric::Metric;
use crate::sweep::short;

/// One line a point: its values, how much is behind the figures, and each figure with its interval.
/// Units are in the names of the columns.
/// Where there is a closed form of the same, its figure is in a column `…_closed_form`.
pub fn csv(report: &SweepReport<'_>) -> String {
    let SweepReport { grid, analysis, forecasts, .. } = *report;
    let measured = |metric: &Metric| analysis.points.iter().any(|it| it.value(*metric).is_some());
    let metrics: Vec<(Metric, bool)> =
        Metric::all().filter(measured).map(|metric| (metric, report.has_form(metric))).collect();
    let mut head: Vec<String> = vec!["point".to_owned()];
    for axis in &grid.axes {
        head.push(quoted(&axis.name));
        if axis.is_of_time() {
            head.push(quoted(&format!("{}_s", axis.name)));
        }
    }
    let counts = ["runs", "failures", "recoveries", "recoveries_cut_off", "virtual_s", "as_good"];
    head.extend(counts.map(str::to_owned));
    for (metric, has_form) in &metrics {
        let column = metric.column();
        head.extend(["", "_low", "_high"].map(|end| format!("{column}{end}")));
        if *has_form {
            head.push(format!("{column}_closed_form"));
        }
    }
    let mut out = head.join(",") + "\n";
    let region = analysis.flat_region();
    for point in &analysis.points {
        let mut line = vec![point.point.to_string()];
        for ((axis, value), at) in grid.values(point.point).zip(grid.place(point.point)) {
            line.push(quoted(value));
            if axis.is_of_time() {
                let seconds = axis.numbers().map(|numbers| numbers[at].to_string());
                line.push(seconds.unwrap_or_default());
            }
        }
        line.extend([
            point.runs.to_string(),
            point.failures.to_string(),
            point.recoveries.to_string(),
            point.cut_off.to_string(),
            point.virtual_s.to_string(),
            region.contains(&point.point).to_string(),
        ]);
        for (metric, has_form) in &metrics {
            line.extend(figures(point, *metric));
            if *has_form {
                let form = forecasts.value(point.point, *metric);
                line.push(form.map(number).unwrap_or_default());
            }
        }
        out.push_str(&line.join(","));
        out.push('\n');
    }
    out
}

fn figures(point: &Point, metric: Metric) -> [String; 3] {
    let Some(estimate) = point.estimates.get(&metric) else { return Default::default() };
    let (low, high) =
        estimate.interval.map_or_else(Default::default, |(low, high)| (number(low), number(high)));
    [number(estimate.value), low, high]
}

fn number(value: f64) -> String {
    short(value).to_string()
}

fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// Everything as one object.
pub fn json(report: &SweepReport<'_>) -> Value {
    let SweepReport { analysis, question, .. } = *report;
    let (answer, needs) = match &analysis.answer {
        Answer::Best(_) => ("best", Value::Null),
        Answer::Missed => ("missed", Value::Null),
        Answer::TooFew { needed, repeats } => {
            ("too_few_failures", json!({ "failures": needed, "repeats": repeats }))
        }
        Answer::Unmeasured => ("unmeasured", Value::Null),
    };
    let best = match analysis.answer {
        Answer::Best(best) => Value::from(best),
        Answer::Missed | Answer::TooFew { .. } | Answer::Unmeasured => Value::Null,
    };
    let sensitivity = analysis.sensitivity.iter().map(|it| {
        json!({
            "failure_rate_factor": it.factor,
            "best_point": it.point,
            "lost_work_share": rounded(it.lost_work),
            "lost_work_share_if_kept": rounded(it.lost_work_if_kept),
        })
    });
    let rivals = analysis.rivals.iter().map(|rival| {
        json!({
            "point": rival.point,
            "as_good": rival.is_as_good,
            "worse_by": rival.difference.map(|it| json!({
                "value": rounded(it.value),
                "interval": it.interval.map(|(low, high)| [rounded(low), rounded(high)]),
                "pairs": it.samples,
            })),
        })
    });
    json!({
        "answer": answer,
        "best": best,
        "needs": needs,
        "minimise": question.minimise.to_string(),
        "goals": question.goals.iter().map(|goal| goal.text.as_str()).collect::<Vec<_>>(),
        "flat_region": analysis.flat_region(),
        "points": analysis.points.iter().map(|it| point(report, it)).collect::<Vec<_>>(),
        "closed_forms": report.forecasts.families.iter().map(family).collect::<Vec<_>>(),
        "compared": rivals.collect::<Vec<_>>(),
        "sensitivity": sensitivity.collect::<Vec<_>>(),
        "recommendation": report.advice,
    })
}

fn rounded(value: f64) -> Value {
    number(value).parse::<f64>().map_or(Value::Null, Value::from)
}

/// What the closed forms of some points are given, and which interval is best for them.
fn family(family: &Family) -> Value {
    let parameters: Map<String, Value> = family
        .parameters
        .iter()
        .map(|it| {
            let parameter = json!({ "value": rounded(it.value), "origin": it.origin.name() });
            (it.column.to_owned(), parameter)
        })
        .collect();
    let best = family.wear().map(|wear| {
        json!({
            "exact_s": rounded(wear.exact()),
            "young_s": rounded(wear.young()),
            "daly_s": rounded(wear.daly_higher() + wear.cost.get()),
        })
    });
    json!({ "points": family.points, "parameters": parameters, "best_interval": best })
}

fn point(report: &SweepReport<'_>, point: &Point) -> Value {
    let SweepReport { grid, question, forecasts, .. } = *report;
    let values: Map<String, Value> =
        grid.values(point.point).map(|(axis, value)| (axis.name.clone(), value.into())).collect();
    let figures: Map<String, Value> = point
        .estimates
        .iter()
        .map(|(metric, estimate)| {
            let mut figure = json!({
                "value": rounded(estimate.value),
                "interval": estimate.interval.map(|(low, high)| [rounded(low), rounded(high)]),
                "samples": estimate.samples,
            });
            if let Some(form) = forecasts.value(point.point, *metric) {
                figure["closed_form"] = rounded(form);
            }
            (metric.column(), figure)
        })
        .collect();
    let goals: Map<String, Value> = question
        .goals
        .iter()
        .zip(&point.keeps)
        .map(|(goal, keeps)| (goal.text.clone(), keeps.name().into()))
        .collect();
    let mut object = json!({
        "point": point.point,
        "values": values,
        "runs": point.runs,
        "runs_ended_by_a_check": point.lost_runs[0],
        "runs_ended_by_the_event_budget": point.lost_runs[1],
        "failures": point.failures,
        "recoveries": point.recoveries,
        "recoveries_cut_off": point.cut_off,
        "virtual_s": point.virtual_s,
        "goals": goals,
        "metrics": figures,
    });
    if let Some(leapt) = &point.leapt {
        let errors = leapt.sampling_errors.iter().map(|(name, it)| (name.clone(), rounded(*it)));
        object["leapt_s"] = rounded(leapt.leapt_s);
        object["sampling_errors"] = errors.collect::<Map<String, Value>>().into();
    }
    object
}
