//! One page with everything that a sweep says: it needs no network and no other file.

use minijinja::value::Value;
use minijinja::{Environment, context};

use super::SweepReport;
use super::text::{answer, columns, figure};
use crate::report::Style;
use crate::sweep::analysis::Answer;
use crate::sweep::forecast::Family;
use crate::sweep::metric::{Metric, Unit};
use crate::sweep::recommend::NOT_MODELLED;

const TEMPLATE: &str = include_str!("page.html");

/// The page, as HTML, with these pictures: file names and SVG.
///
/// # Panics
/// If the template, which is part of this program, does not fit what it is given.
pub fn page(report: &SweepReport<'_>, pictures: &[(String, String)]) -> String {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.add_template("page.html", TEMPLATE).expect("the template is valid");
    let template = environment.get_template("page.html").expect("it was just added");
    let filled = template.render(context! {
        title => report.title,
        extent => report.extent(),
        command => report.command,
        // The marks are those of the table in a terminal.
        answer => answer(report, Style::PLAIN).replace(" (*)", "").replace(" (=)", "").trim_end(),
        is_good => matches!(report.analysis.answer, Answer::Best(_)),
        advice => report.advice.map(Value::from_serialize),
        pictures => pictures.iter().map(|(_, svg)| Value::from_safe_string(svg.clone())).collect::<Vec<_>>(),
        table => table(report),
        families => report.forecasts.families.iter().map(family).collect::<Vec<_>>(),
        measured => measured(report),
        not_modelled => NOT_MODELLED,
        version => env!("CARGO_PKG_VERSION"),
    });
    filled.expect("the template takes what it is given")
}

/// The points, one row each: marked, with the closed form beside what has one.
fn table(report: &SweepReport<'_>) -> Value {
    let SweepReport { grid, analysis, question, forecasts, .. } = *report;
    let with_form = |metric: Metric| (metric, report.has_form(metric));
    let columns: Vec<(Metric, bool)> = columns(report).into_iter().map(with_form).collect();
    let region = analysis.flat_region();
    let mut head: Vec<String> = grid.axes.iter().map(|axis| axis.name.clone()).collect();
    head.push("failures".to_owned());
    for (metric, has_form) in &columns {
        head.push(metric.to_string());
        if *has_form {
            head.push("closed form".to_owned());
        }
    }
    let rows = analysis.points.iter().map(|point| {
        let mut cells: Vec<String> =
            grid.values(point.point).map(|(_, value)| value.to_owned()).collect();
        cells.push(point.failures.to_string());
        for (metric, has_form) in &columns {
            cells.push(figure(point, *metric, question));
            if *has_form {
                let form = forecasts.value(point.point, *metric);
                cells.push(form.map_or("-".to_owned(), |value| metric.show(value)));
            }
        }
        let mark = match &analysis.answer {
            Answer::Best(best) if *best == point.point => "best",
            _ if region.contains(&point.point) => "as good",
            _ => "",
        };
        let goals: Vec<&str> = point.keeps.iter().map(|keeps| keeps.name()).collect();
        context! { mark => mark, cells => cells, goals => goals }
    });
    let goals: Vec<&str> = question.goals.iter().map(|goal| goal.text.as_str()).collect();
    context! { head => head, rows => rows.collect::<Vec<_>>(), goals => goals }
}

/// The closed forms of some points: what they are given, and what they say is best.
fn family(family: &Family) -> Value {
    let parameters = family.parameters.iter().map(|it| {
        context! {
            symbol => it.symbol,
            what => it.what,
            value => it.shown(),
            origin => it.origin.name(),
        }
    });
    let optimum = family.wear().map(|wear| {
        let shown = |seconds: f64| Unit::Seconds.show(seconds);
        // Beyond, an interval is worse than a tenth more waste.
        let flat = wear.flat_region(0.1).ok().filter(|(_, longest)| longest.is_finite());
        context! {
            exact => shown(wear.exact()),
            young => shown(wear.young()),
            daly => shown(wear.daly_higher() + wear.cost.get()),
            flat => flat.map(|(low, high)| format!("{} to {}", shown(low), shown(high))),
        }
    });
    context! {
        label => family.label,
        parameters => parameters.collect::<Vec<_>>(),
        optimum => optimum,
    }
}

/// What the columns and pictures are about.
fn measured(report: &SweepReport<'_>) -> Vec<Value> {
    let mut said: Vec<Value> = Vec::new();
    let mut last = None;
    for metric in Metric::all() {
        let quantity = metric.quantity;
        let is_there = report.analysis.points.iter().any(|it| it.value(metric).is_some());
        if is_there && last != Some(quantity) {
            last = Some(quantity);
            said.push(context! { name => quantity.name(), doc => quantity.doc() });
        }
    }
    said
}
