//! What a sweep says, to read in a terminal.

use super::SweepReport;
use crate::report::Style;
use crate::sweep::analysis::{Answer, Point, Question};
use crate::sweep::metric::{Metric, Quantity, Statistic, Unit};
use crate::sweep::recommend::Recommendation;

/// Columns of the table, besides what is asked about.
const SHOWN: [(Quantity, Statistic); 6] = [
    (Quantity::LostWork, Statistic::Mean),
    (Quantity::Recovery, Statistic::Mean),
    (Quantity::Duration, Statistic::Mean),
    (Quantity::Latency, Statistic::Quantile(990)),
    (Quantity::CommitLatency, Statistic::Quantile(990)),
    (Quantity::Storage, Statistic::Mean),
];

/// Table, answer, recommendation.
pub fn text(report: &SweepReport<'_>, style: Style) -> String {
    let mut out = table(report, style);
    out.push('\n');
    out.push_str(&answer(report, style));
    out.push_str(&forms(report));
    if let Some(advice) = report.advice {
        out.push_str(&recommendation(advice, style));
    }
    out
}

/// What is in the table: what is asked about first, then what was measured of the usual.
pub(super) fn columns(report: &SweepReport<'_>) -> Vec<Metric> {
    let SweepReport { analysis, question, .. } = report;
    let asked = std::iter::once(question.minimise).chain(question.goals.iter().map(|it| it.metric));
    let usual = SHOWN.map(|(quantity, statistic)| Metric { quantity, statistic });
    let mut columns: Vec<Metric> = Vec::new();
    for metric in asked.chain(usual) {
        let measured = analysis.points.iter().any(|point| point.value(metric).is_some());
        if measured && !columns.contains(&metric) {
            columns.push(metric);
        }
    }
    columns
}

fn table(report: &SweepReport<'_>, style: Style) -> String {
    let SweepReport { grid, analysis, question, forecasts, .. } = *report;
    let columns = columns(report);
    let form = |point: &Point| forecasts.value(point.point, question.minimise);
    let has_form = report.has_form(question.minimise);
    let mut lines: Vec<Vec<String>> = Vec::new();
    let axes = grid.axes.iter().map(|axis| axis.name.clone());
    let mut head: Vec<String> = axes.chain(["failures".to_owned()]).collect();
    for metric in &columns {
        head.push(metric.to_string());
        if *metric == question.minimise && has_form {
            head.push("closed form".to_owned());
        }
    }
    lines.push(head);
    for point in &analysis.points {
        let values = grid.values(point.point).map(|(_, value)| value.to_owned());
        let mut line: Vec<String> = values.chain([point.failures.to_string()]).collect();
        for metric in &columns {
            line.push(figure(point, *metric, question));
            if *metric == question.minimise && has_form {
                line.push(form(point).map_or("-".to_owned(), |value| metric.show(value)));
            }
        }
        lines.push(line);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..lines[0].len()).map(|at| width(at).unwrap_or(0)).collect();
    let region = analysis.flat_region();
    let mut out = String::new();
    for (index, line) in lines.iter().enumerate() {
        let mark = match index.checked_sub(1).map(|at| analysis.points[at].point) {
            Some(point) if analysis.answer == Answer::Best(point) => '*',
            Some(point) if region.contains(&point) => '=',
            Some(_) | None => ' ',
        };
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| " ".repeat(width - cell.chars().count()) + cell)
            .collect();
        let (on, off) = if index == 0 { (style.head, style.reset) } else { ("", "") };
        out.push_str(&format!("{on}{mark} {}{off}\n", cells.join("  ")));
    }
    out
}

/// A figure; of what is to be minimised, with half the width of its interval.
pub(super) fn figure(point: &Point, metric: Metric, question: &Question) -> String {
    let Some(estimate) = point.estimates.get(&metric) else { return "-".to_owned() };
    let shown = metric.show(estimate.value);
    match estimate.interval.filter(|_| metric == question.minimise) {
        Some((low, high)) => format!("{shown} ± {}", metric.show((high - low) / 2.0)),
        None => shown,
    }
}

/// Which point is best, or why none is.
pub(super) fn answer(report: &SweepReport<'_>, style: Style) -> String {
    let SweepReport { analysis, question, .. } = *report;
    let label = |point: usize| analysis.point(point).map_or("", |point| &point.label).to_owned();
    let goals: Vec<&str> = question.goals.iter().map(|goal| goal.text.as_str()).collect();
    let (bad, good, reset) = (style.bad, style.good, style.reset);
    match &analysis.answer {
        Answer::Best(best) => {
            let others: Vec<String> = analysis
                .flat_region()
                .into_iter()
                .filter(|point| point != best)
                .map(label)
                .collect();
            let others = match &others[..] {
                [] => "; nothing else is as good".to_owned(),
                others => format!("; as good (=): {}", others.join(" · ")),
            };
            format!("{good}best (*){reset}: {}{others}\n", label(*best))
        }
        Answer::Missed => {
            let mut out = format!("{bad}no point keeps {}{reset}\n", goals.join(" and "));
            for goal in &question.goals {
                let value = |point: &&Point| point.value(goal.metric);
                let nearest = analysis.points.iter().filter(|it| value(it).is_some());
                let nearest = nearest.min_by(|a, b| {
                    let order =
                        value(a).partial_cmp(&value(b)).unwrap_or(std::cmp::Ordering::Equal);
                    if goal.at_most { order } else { order.reverse() }
                });
                if let Some((point, value)) = nearest.and_then(|it| Some((it, value(&it)?))) {
                    let shown = goal.metric.show(value);
                    out.push_str(&format!(
                        "  {}: nearest {} with {shown}\n",
                        goal.text, point.label
                    ));
                }
            }
            out
        }
        Answer::TooFew { needed, repeats } => {
            let seen = analysis.points.iter().map(|point| point.recoveries).min().unwrap_or(0);
            let how = match repeats {
                Some(repeats) => format!("; --repeat {repeats} would have them"),
                None => "; nothing failed: give the scenario `failures`, or --mtbf".to_owned(),
            };
            format!(
                "{bad}too few failures{reset} to judge {}: it takes {needed} at each point, there \
                 are {seen}{how}\n",
                goals.join(" and ")
            )
        }
        Answer::Unmeasured => {
            format!("{bad}{} was not measured at any point{reset}\n", question.minimise)
        }
    }
}

/// What the closed forms are given, and which interval is best for them.
fn forms(report: &SweepReport<'_>) -> String {
    let mut out = String::new();
    for family in &report.forecasts.families {
        if family.parameters.is_empty() {
            continue;
        }
        let of = match family.label.as_str() {
            "" => String::new(),
            label => format!(" ({label})"),
        };
        out.push_str(&format!("closed form{of}: {}", family.said()));
        if let Some(wear) = family.wear() {
            let [exact, young] = [wear.exact(), wear.young()].map(|it| Unit::Seconds.show(it));
            out.push_str(&format!("; best at {exact} (Young: {young})"));
        }
        out.push('\n');
    }
    out
}

fn recommendation(it: &Recommendation, style: Style) -> String {
    let (head, dim, reset) = (style.head, style.dim, style.reset);
    let mut out = format!("\n{head}recommendation{reset}\n");
    for (key, value) in &it.keys {
        out.push_str(&format!("  {key}: {value}\n"));
    }
    let mut list = |title: &str, lines: &[String]| {
        out.push_str(&format!("\n{head}{title}{reset}\n"));
        for line in lines {
            out.push_str(&format!("  {dim}-{reset} {line}\n"));
        }
    };
    list("why", &it.why);
    let costs: Vec<String> =
        it.costs.iter().map(|(name, cost)| format!("{name}: {cost}")).collect();
    list("what it costs and brings", &costs);
    list("how sure", &it.confidence);
    list("not modelled", &it.not_modelled);
    out
}
