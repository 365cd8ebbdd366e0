//! Statistics that one wild run cannot move: medians and lines through pairs of points.

use serde::Serialize;

/// A number and how far the runs that it comes from lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The median.
    pub value: f64,
    /// The smallest single value.
    pub low: f64,
    /// The largest single value.
    pub high: f64,
    /// How many values.
    pub samples: usize,
}

impl Estimate {
    /// The median and the range of some values; `None` without any.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let sorted = sorted(values);
        let (low, high) = (*sorted.first()?, *sorted.last()?);
        Some(Self { value: middle(&sorted), low, high, samples: sorted.len() })
    }

    /// The same without what lies below zero, which a duration cannot.
    #[must_use]
    pub fn not_negative(self) -> Self {
        let (value, low, high) = (self.value.max(0.0), self.low.max(0.0), self.high.max(0.0));
        Self { value, low, high, samples: self.samples }
    }
}

/// A duration that grows with a size: `at_zero_ms + per_mb_ms * size`, one MB being 10^6 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Milliseconds whatever the size.
    pub at_zero_ms: f64,
    /// Milliseconds for each MB.
    pub per_mb_ms: f64,
    /// Smallest size among the fitted points, in MB.
    pub smallest_mb: f64,
    /// Largest size among the fitted points, in MB.
    pub largest_mb: f64,
    /// Median distance of the points from the line, as a share of the point.
    pub residual: f64,
    /// How many different sizes the line is drawn through.
    pub sizes: usize,
    /// How many runs those are.
    pub samples: usize,
}

impl Line {
    /// The line that differs least from the points (size in MB, duration in ms) in relative terms:
    /// least absolute deviations, in which neither a slow run nor the largest size has the last
    /// word. Runs of one size count once, by their median. Neither coefficient is negative, and
    /// with a single size the duration is taken to be proportional to it.
    ///
    /// `None` without a positive point.
    pub fn fit(points: &[(f64, f64)]) -> Option<Self> {
        let merged = by_size(points);
        let (smallest_mb, largest_mb) = (merged.first()?.0, merged.last()?.0);
        // The best of these lines goes through two points, or through one and the origin, or is
        // level: the deviation is piecewise linear in the coefficients.
        let mut candidates = Vec::new();
        for (index, &(size, duration)) in merged.iter().enumerate() {
            if size > 0.0 {
                candidates.push((0.0, duration / size));
            }
            if merged.len() > 1 || size <= 0.0 {
                candidates.push((duration, 0.0));
            }
            for &(smaller, shorter) in &merged[..index] {
                let slope = (duration - shorter) / (size - smaller);
                candidates.push((duration - slope * size, slope));
            }
        }
        let deviation = |(at_zero, slope): (f64, f64)| -> f64 {
            merged.iter().map(|&(size, is)| ((at_zero + slope * size - is) / is).abs()).sum()
        };
        let possible = candidates.into_iter().filter(|&(zero, slope)| zero >= 0.0 && slope >= 0.0);
        let best = possible.min_by(|a, b| deviation(*a).total_cmp(&deviation(*b)))?;
        let (at_zero_ms, per_mb_ms) = best;
        let off = |&(size, is): &(f64, f64)| ((at_zero_ms + per_mb_ms * size - is) / is).abs();
        let residual = median(merged.iter().map(off))?;
        let (sizes, samples) = (merged.len(), points.len());
        Some(Self { at_zero_ms, per_mb_ms, smallest_mb, largest_mb, residual, sizes, samples })
    }

    /// The duration at a size, in milliseconds.
    pub fn at(&self, size_mb: f64) -> f64 {
        self.at_zero_ms + self.per_mb_ms * size_mb
    }

    /// Whether a size lies so far outside of the fitted ones that the line is a guess.
    pub fn extrapolates(&self, size_mb: f64) -> bool {
        const SLACK: f64 = 1.25;
        size_mb * SLACK < self.smallest_mb || size_mb > self.largest_mb * SLACK
    }
}

/// The median; `None` without a value.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let sorted = sorted(values);
    (!sorted.is_empty()).then(|| middle(&sorted))
}

/// Theil and Sen's line `(intercept, slope)`: the median slope of all pairs of points, and the
/// median of what it leaves. `None` unless two points differ in x.
pub fn theil_sen(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let mut slopes = Vec::new();
    for (index, a) in points.iter().enumerate() {
        let apart = points[..index].iter().filter(|b| b.0 != a.0);
        slopes.extend(apart.map(|b| (a.1 - b.1) / (a.0 - b.0)));
    }
    let slope = median(slopes)?;
    let intercept = median(points.iter().map(|(x, y)| y - slope * x))?;
    Some((intercept, slope))
}

/// Points of one size become one, with their median; only positive durations are kept, as a share
/// of nothing means nothing.
fn by_size(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut points: Vec<_> = points.iter().copied().filter(|point| point.1 > 0.0).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
        .chunk_by(|a, b| a.0 == b.0)
        .filter_map(|same| Some((same[0].0, median(same.iter().map(|point| point.1))?)))
        .collect()
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

fn middle(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    match sorted.len() % 2 {
        0 => (sorted[half - 1] + sorted[half]) / 2.0,
        _ => sorted[half],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0, 1.0, 90.0]), Some(3.0));
        assert_eq!(median([3.0, 1.0]), Some(2.0));
        let estimate = Estimate::of([5.0, 1.0, 2.0]).expect("three values");
        assert_eq!((estimate.low, estimate.value, estimate.high), (1.0, 2.0, 5.0));
    }

    #[test]
    fn a_line_goes_through_what_is_linear_and_ignores_one_wild_run() {
        let points = [(1.0, 12.0), (10.0, 30.0), (50.0, 110.0), (100.0, 210.0), (100.0, 210.0)];
        let mut wild = points.to_vec();
        wild.push((50.0, 900.0));
        wild.push((50.0, 112.0));
        for points in [&points[..], &wild[..]] {
            let line = Line::fit(points).expect("there are points");
            assert!((line.at_zero_ms - 10.0).abs() < 0.2, "{line:?}");
            assert!((line.per_mb_ms - 2.0).abs() < 0.01, "{line:?}");
            assert_eq!(line.sizes, 4);
        }
    }

    #[test]
    fn a_line_through_one_size_is_proportional_and_none_is_negative() {
        let line = Line::fit(&[(50.0, 100.0), (50.0, 120.0)]).expect("there are points");
        assert_eq!((line.at_zero_ms, line.per_mb_ms), (0.0, 2.2));
        let falling = Line::fit(&[(1.0, 20.0), (2.0, 10.0)]).expect("there are points");
        assert!(falling.at_zero_ms >= 0.0 && falling.per_mb_ms >= 0.0, "{falling:?}");
        assert_eq!(Line::fit(&[(0.0, 7.0)]).map(|line| line.at(9.0)), Some(7.0));
        assert_eq!(Line::fit(&[(1.0, 0.0)]), None);
    }

    #[test]
    fn theil_sen_is_not_moved_by_one_point() {
        let points = [(0.0, 1.0), (1.0, 3.0), (2.0, 5.0), (3.0, 7.0), (4.0, 100.0)];
        let (intercept, slope) = theil_sen(&points).expect("points apart");
        assert_eq!((intercept, slope), (1.0, 2.0));
        assert_eq!(theil_sen(&[(1.0, 1.0), (1.0, 2.0)]), None);
    }
}
