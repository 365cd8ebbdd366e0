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
use crate::sweep::metric::Unit;
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
    /// How much there is of everything, in a line.
    pub fn extent(&self) -> String {
        let points = &self.analysis.points;
        let runs: usize = points.iter().map(|point| point.runs).sum();
        let virtual_s: f64 = points.iter().map(|point| point.virtual_s).sum();
        let failures: u64 = points.iter().map(|point| point.failures).sum();
        let all = self.grid.points();
        let of = if points.len() < all { format!(" of {all}") } else { String::new() };
        format!(
            "{}{of} points, {runs} runs, {} of virtual time, {failures} failures",
            points.len(),
            Unit::Seconds.show(virtual_s),
        )
    }
}

/// The pictures of a sweep: the name of each file, and the SVG that goes into it.
pub fn pictures(report: &SweepReport<'_>) -> Vec<(String, String)> {
    let figures = figure::figures(report);
    figures.iter().map(|it| (format!("{}.svg", it.name), draw::svg(it))).collect()
}
