//! What a sweep says, as text, CSV, JSON, pictures and one page.

mod draw;
mod figure;
mod page;
mod palette;
mod scale;
mod table;
mod text;

pub use page::page;
pub use table::{csv, json};
pub use text::text;

use crate::sweep::analysis::{Analysis, Question};
use crate::sweep::forecast::Forecasts;
use crate::sweep::grid::Grid;
use crate::sweep::metric::{Metric, Unit};
use crate::sweep::recommend::Recommendation;

/// All that there is to be said of a sweep.
#[derive(Clone, Copy, Debug)]
pub struct SweepReport<'a> {
    /// The title of the scenario.
    pub title: &'a str,
    /// The command that makes the sweep again; files without their directories.
    pub command: &'a str,
    /// The points.
    pub grid: &'a Grid,
    /// What was measured at each, and which is best.
    pub analysis: &'a Analysis,
    /// What was asked.
    pub question: &'a Question,
    /// What to do, if the answer leads to something.
    pub advice: Option<&'a Recommendation>,
    /// What the closed forms say of the points.
    pub forecasts: &'a Forecasts,
}

impl SweepReport<'_> {
    /// Whether there is a closed form of a metric at some point.
    fn has_form(&self, metric: Metric) -> bool {
        let points = &self.analysis.points;
        points.iter().any(|it| self.forecasts.value(it.point, metric).is_some())
    }

    /// How much there is of everything, in a line.
    pub fn extent(&self) -> String {
        let points = &self.analysis.points;
        let runs: usize = points.iter().map(|point| point.runs).sum();
        let virtual_s: f64 = points.iter().map(|point| point.virtual_s).sum();
        let failures: u64 = points.iter().map(|point| point.failures).sum();
        let all = self.grid.points();
        let of = if points.len() < all { format!(" of {all}") } else { String::new() };
        format!(
            "{}{of} points, {runs} runs, {} of virtual time, {failures} failures{}",
            points.len(),
            Unit::Seconds.show(virtual_s),
            self.leapt(virtual_s),
        )
    }

    /// What was leapt over, and what that is thought to cost.
    fn leapt(&self, virtual_s: f64) -> String {
        let leapt = || {
            let points = self.analysis.points.iter();
            points.filter_map(|point| Some((point, point.leapt.as_ref()?)))
        };
        let Some((_, first)) = leapt().next() else { return String::new() };
        let leapt_s: f64 = leapt().map(|(_, leapt)| leapt.leapt_s).sum();
        let errors = leapt().flat_map(|(point, leapt)| {
            let reported = point.estimates.keys().map(Metric::column);
            let known = reported.filter_map(|it| Some((*leapt.sampling_errors.get(&it)?, it)));
            known.map(|(error, column)| (error, column, &point.label))
        });
        let share = |value| Unit::Share.show(value);
        let worst = match errors.max_by(|a, b| a.0.total_cmp(&b.0)) {
            Some((error, column, label)) => {
                format!("; standard error of sampling up to {} ({column}, {label})", share(error))
            }
            None => String::new(),
        };
        format!(
            "\nleapt over {} of it, for means within {}{worst}",
            share(if virtual_s > 0.0 { leapt_s / virtual_s } else { 0.0 }),
            share(first.tolerance),
        )
    }
}

/// The pictures of a sweep: the name of each file, and the SVG that goes into it.
pub fn pictures(report: &SweepReport<'_>) -> Vec<(String, String)> {
    let figures = figure::figures(report);
    figures.iter().map(|it| (format!("{}.svg", it.name), draw::svg(it))).collect()
}
