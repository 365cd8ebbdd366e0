//! Which pictures a sweep has, and what is in each of them.

use super::SweepReport;
use super::scale::Kind;
use crate::sweep::analysis::{Answer, Point};
use crate::sweep::forecast::is_interval;
use crate::sweep::grid::Axis;
use crate::sweep::metric::{Metric, Quantity as Q, Statistic};

/// More series than these cannot be told apart.
const SERIES_MAX: usize = 6;
/// Points of a closed form's curve.
const CURVE_POINTS: u32 = 120;

/// One picture.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    /// Name of its file, without the ending.
    pub(super) name: String,
    /// What it shows.
    pub(super) title: String,
    /// What is along the horizontal axis.
    pub(super) x_title: String,
    /// How the horizontal axis is divided.
    pub(super) x: Horizontal,
    /// What the vertical numbers are.
    pub(super) kind: Kind,
    /// What is drawn over the axis.
    pub(super) series: Vec<Series>,
    /// From where to where nothing is significantly worse than the best.
    pub(super) flat: Option<(f64, f64)>,
    /// The best point, if it is of this picture.
    pub(super) best: Option<f64>,
    /// The best interval by the closed form.
    pub(super) optimum: Option<f64>,
    /// Limits that are to be kept, and how they are called.
    pub(super) goals: Vec<(f64, String)>,
    /// What the legend has no room for.
    pub(super) notes: Vec<String>,
}

/// The horizontal axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Horizontal {
    /// Numbers.
    Numbers(Kind),
    /// Names, at 0, 1, 2 …
    Names(Vec<String>),
}

/// Something that was simulated, with the closed form of the same.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    /// For the legend.
    pub(super) label: String,
    /// Number of its colour.
    pub(super) colour: usize,
    /// Where, how much, and from where to where it may be.
    pub(super) points: Vec<Mark>,
    /// The closed form: a curve, or one number at each point.
    pub(super) form: Vec<(f64, f64)>,
}

/// A simulated point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mark {
    pub(super) x: f64,
    pub(super) value: f64,
    pub(super) interval: Option<(f64, f64)>,
    /// Whether it is as good as the best point.
    pub(super) is_as_good: bool,
    /// Whether it is the best point.
    pub(super) is_best: bool,
}

/// A picture by name, title and what is in it.
type Shown = (&'static str, &'static str, &'static [(Q, Statistic)]);

const MEAN: Statistic = Statistic::Mean;
const P50: Statistic = Statistic::Quantile(500);
const P90: Statistic = Statistic::Quantile(900);
const P99: Statistic = Statistic::Quantile(990);

/// The pictures that every sweep has, if it has measured what is in them.
const SHOWN: [Shown; 9] = [
    ("recovery", "Recovery time", &[(Q::Recovery, MEAN), (Q::Recovery, P99)]),
    ("lost-work", "Lost work, as a share of time", &[(Q::LostWork, MEAN)]),
    ("overhead", "Overhead of checkpoints, as a share of time", &[(Q::Overhead, MEAN)]),
    (
        "latency",
        "Latency until a sink has a record",
        &[(Q::Latency, P50), (Q::Latency, P90), (Q::Latency, P99)],
    ),
    (
        "commit-latency",
        "Latency until the outside sees a record",
        &[(Q::CommitLatency, MEAN), (Q::CommitLatency, P50), (Q::CommitLatency, P99)],
    ),
    ("duration", "Duration of a checkpoint", &[(Q::Duration, MEAN), (Q::Duration, P99)]),
    ("storage", "Bytes stored", &[(Q::Storage, MEAN), (Q::Storage, Statistic::Max)]),
    ("requests", "Requests to the object store", &[(Q::Requests, MEAN)]),
    ("price", "Price of requests and storage in a month", &[(Q::Price, MEAN)]),
];

/// All pictures of a sweep; those of what is asked about first.
pub(super) fn figures(report: &SweepReport<'_>) -> Vec<Figure> {
    let frame = Frame::new(report);
    let asked = std::iter::once(report.question.minimise)
        .chain(report.question.goals.iter().map(|goal| goal.metric));
    let mut figures: Vec<Figure> = Vec::new();
    for (name, title, metrics) in SHOWN {
        let metrics: Vec<Metric> =
            metrics.iter().map(|&(quantity, statistic)| Metric { quantity, statistic }).collect();
        figures.extend(frame.figure(name, title, &metrics));
    }
    for metric in asked {
        if !SHOWN.iter().any(|shown| shown.2.contains(&(metric.quantity, metric.statistic))) {
            let name = metric.to_string().replace(['.', '_'], "-");
            if figures.iter().all(|figure| figure.name != name) {
                let title = metric.to_string();
                figures.extend(frame.figure(&name, &title, &[metric]));
            }
        }
    }
    figures
}

/// What all pictures of a sweep have in common: the axis, and which points belong together.
struct Frame<'a> {
    report: &'a SweepReport<'a>,
    axis: usize,
    /// Where each value of the axis is; `None`: the values are names.
    numbers: Option<Vec<f64>>,
    /// Points that differ in nothing but the axis.
    groups: Vec<(String, Vec<&'a Point>)>,
    left_out: usize,
}

impl<'a> Frame<'a> {
    fn new(report: &'a SweepReport<'a>) -> Self {
        let axes = &report.grid.axes;
        let varied = |axis: &Axis| axis.values.len() > 1;
        // The interval, else something that has an order, else anything.
        let axis = axes.iter().position(|axis| is_interval(axis) && varied(axis));
        let axis = axis.or(axes.iter().position(|axis| varied(axis) && axis.numbers().is_some()));
        let axis = axis.or(axes.iter().position(varied)).unwrap_or(0);
        let numbers = axes[axis].numbers().filter(|numbers| numbers.len() > 1);
        let mut groups: Vec<(Vec<usize>, String, Vec<&Point>)> = Vec::new();
        for point in &report.analysis.points {
            let mut place = report.grid.place(point.point);
            place[axis] = 0;
            match groups.iter_mut().find(|group| group.0 == place) {
                Some(group) => group.2.push(point),
                None => {
                    let is_other = |of: &Axis| of.path != axes[axis].path && varied(of);
                    let label = report.grid.label_of(point.point, is_other);
                    groups.push((place, label, vec![point]));
                }
            }
        }
        let left_out = groups.len().saturating_sub(SERIES_MAX);
        groups.truncate(SERIES_MAX);
        let groups = groups.into_iter().map(|(_, label, points)| (label, points)).collect();
        Self { report, axis, numbers, groups, left_out }
    }

    fn axis(&self) -> &Axis {
        &self.report.grid.axes[self.axis]
    }

    fn x(&self, point: usize) -> f64 {
        let at = self.report.grid.place(point)[self.axis];
        self.numbers.as_ref().map_or(at as f64, |numbers| numbers[at])
    }

    fn figure(&self, name: &str, title: &str, metrics: &[Metric]) -> Option<Figure> {
        let analysis = self.report.analysis;
        let measured =
            |metric: &&Metric| analysis.points.iter().any(|it| it.value(**metric).is_some());
        let mut metrics: Vec<Metric> = metrics.iter().filter(measured).copied().collect();
        // Series beside series, each in one statistic: the mean, or else the rarest.
        if self.groups.len() > 1 {
            let mean = metrics.iter().copied().find(|metric| metric.statistic == MEAN);
            metrics = mean.or(metrics.last().copied()).into_iter().collect();
        }
        let shown = metrics.first()?;
        let several = metrics.len() > 1;
        let mut series = Vec::new();
        for (label, points) in &self.groups {
            for metric in &metrics {
                let of = match (label.as_str(), several) {
                    ("", true) => metric.statistic.name().to_owned(),
                    ("", false) => "simulated".to_owned(),
                    (label, _) => label.to_owned(),
                };
                series.push(self.series(of, series.len(), points, *metric));
            }
        }
        series.retain(|series| !series.points.is_empty());
        let statistic = match shown.quantity.statistics() {
            [_] => String::new(),
            _ if several => String::new(),
            _ => format!(" ({})", shown.statistic.name()),
        };
        let goals = &self.report.question.goals;
        let goals = goals.iter().filter(|goal| metrics.contains(&goal.metric));
        let axis = self.axis();
        let x = match &self.numbers {
            Some(_) if axis.is_of_time() => Horizontal::Numbers(Kind::Of(super::Unit::Seconds)),
            Some(_) => Horizontal::Numbers(Kind::Plain),
            None => Horizontal::Names(axis.values.clone()),
        };
        Some(Figure {
            name: name.to_owned(),
            title: format!("{title}{statistic}"),
            x_title: axis.name.clone(),
            x,
            kind: Kind::Of(shown.quantity.unit()),
            flat: self.flat(),
            best: self.best(),
            optimum: self.optimum(shown.quantity),
            goals: goals.map(|goal| (goal.limit, goal.text.clone())).collect(),
            notes: self.notes(*shown, &series),
            series,
        })
    }

    fn series(&self, label: String, colour: usize, points: &[&Point], metric: Metric) -> Series {
        let region = self.report.analysis.flat_region();
        let mut marks: Vec<Mark> = points
            .iter()
            .filter_map(|point| {
                let estimate = point.estimates.get(&metric)?;
                Some(Mark {
                    x: self.x(point.point),
                    value: estimate.value,
                    interval: estimate.interval,
                    is_as_good: region.contains(&point.point),
                    is_best: self.report.analysis.answer == Answer::Best(point.point),
                })
            })
            .collect();
        marks.sort_by(|a, b| a.x.total_cmp(&b.x));
        let form = self.form(points, metric, &marks);
        Series { label, colour, points: marks, form }
    }

    /// The closed form: over the interval a curve, over anything else a number at each point.
    fn form(&self, points: &[&Point], metric: Metric, marks: &[Mark]) -> Vec<(f64, f64)> {
        let forecasts = self.report.forecasts;
        let [Some(first), Some(last)] = [marks.first(), marks.last()] else { return Vec::new() };
        if is_interval(self.axis()) && first.x < last.x {
            let Some(family) = forecasts.family(points[0].point) else { return Vec::new() };
            let ratio = libm::log(last.x / first.x);
            let at = |step: u32| {
                let part = f64::from(step) / f64::from(CURVE_POINTS);
                let interval = first.x * libm::exp(ratio * part);
                Some((interval, family.at(interval, metric)?))
            };
            return (0..=CURVE_POINTS).filter_map(at).collect();
        }
        let mut form: Vec<(f64, f64)> = points
            .iter()
            .filter_map(|it| Some((self.x(it.point), forecasts.value(it.point, metric)?)))
            .collect();
        form.sort_by(|a, b| a.0.total_cmp(&b.0));
        form
    }

    fn best(&self) -> Option<f64> {
        match self.report.analysis.answer {
            Answer::Best(best) => Some(self.x(best)),
            Answer::Missed | Answer::TooFew { .. } | Answer::Unmeasured => None,
        }
    }

    /// The stretch around the best point, among those that differ from it in the axis alone.
    fn flat(&self) -> Option<(f64, f64)> {
        let Answer::Best(best) = self.report.analysis.answer else { return None };
        self.numbers.as_ref()?;
        let of_best = |points: &Vec<&Point>| points.iter().any(|point| point.point == best);
        let (_, points) = self.groups.iter().find(|(_, points)| of_best(points))?;
        let region = self.report.analysis.flat_region();
        let within = points.iter().filter(|point| region.contains(&point.point));
        let within: Vec<f64> = within.map(|point| self.x(point.point)).collect();
        let low = within.iter().copied().fold(f64::INFINITY, f64::min);
        let high = within.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (low < high).then_some((low, high))
    }

    fn optimum(&self, quantity: Q) -> Option<f64> {
        let is_asked = quantity == Q::LostWork && is_interval(self.axis());
        let [family] = &self.report.forecasts.families[..] else { return None };
        Some(family.wear().filter(|_| is_asked)?.exact())
    }

    fn notes(&self, metric: Metric, series: &[Series]) -> Vec<String> {
        let mut notes = Vec::new();
        let has_bands = |mark: &Mark| mark.interval.is_some();
        if series.iter().any(|series| series.points.iter().any(has_bands)) {
            notes.push("Bands and bars are 95 % intervals.".to_owned());
        }
        if series.iter().any(|series| !series.form.is_empty()) {
            match &self.report.forecasts.families[..] {
                [family] => notes.push(format!("Closed form with {}.", family.said())),
                _ => notes.push(
                    "Closed forms with the parameters of each series; the page has them."
                        .to_owned(),
                ),
            }
        }
        if self.left_out > 0 {
            notes.push(format!(
                "{} more series are not drawn; points.csv has {metric} of all.",
                self.left_out
            ));
        }
        notes
    }
}
