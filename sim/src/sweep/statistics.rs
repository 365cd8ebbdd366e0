//! Intervals that say how sure a figure is: 95 %, two-sided.
//!
//! Means have a Student interval over repeats, never over the samples of one run, which depend on
//! each other. Quantiles have an interval of order statistics by the binomial law, which holds for
//! any distribution and says so when there are too few samples for it (`models.md`, section 9).

/// Probability below the lower, and above the upper end of an interval.
const TAIL: f64 = 0.025;

/// A figure with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// The ends of its 95 % interval; `None`: too few samples.
    pub interval: Option<(f64, f64)>,
    /// Samples behind it.
    pub samples: usize,
}

impl Estimate {
    /// Half the width of the interval over the figure; `None` without either.
    pub fn relative_error(&self) -> Option<f64> {
        let (low, high) = self.interval?;
        let half = (high - low) / 2.0;
        match self.value {
            0.0 if half == 0.0 => Some(0.0),
            0.0 => None,
            value => Some(half / value.abs()),
        }
    }
}

/// The mean of independent samples; `None` of nothing.
pub fn mean(samples: &[f64]) -> Option<Estimate> {
    let count = samples.len();
    if count == 0 {
        return None;
    }
    let value = samples.iter().sum::<f64>() / count as f64;
    let interval = (count > 1).then(|| {
        let squares: f64 = samples.iter().map(|sample| (sample - value) * (sample - value)).sum();
        let deviation = libm::sqrt(squares / (count - 1) as f64);
        let half = student(1.0 - TAIL, count as u32 - 1) * deviation / libm::sqrt(count as f64);
        (value - half, value + half)
    });
    Some(Estimate { value, interval, samples: count })
}

/// The quantile `permille` / 1000 of independent samples; `None` of nothing.
pub fn quantile(samples: &[f64], permille: u32) -> Option<Estimate> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let count = sorted.len();
    let share = f64::from(permille) / 1_000.0;
    let rank = ((count as f64 * share).ceil() as usize).max(1);
    let value = *sorted.get(rank - 1)?;
    let interval = order_statistics(count, share).map(|(low, high)| (sorted[low], sorted[high]));
    Some(Estimate { value, interval, samples: count })
}

/// Samples that the quantile needs to have an interval at all: neither the smallest nor the largest
/// sample may be on the wrong side of it with more than 2.5 % probability.
pub fn samples_needed(permille: u32) -> usize {
    let share = f64::from(permille) / 1_000.0;
    let widest = share.max(1.0 - share);
    (libm::log(TAIL) / libm::log(widest)).ceil() as usize
}

/// Indices of the samples, sorted, between which the quantile lies.
fn order_statistics(count: usize, share: f64) -> Option<(usize, usize)> {
    let [mut low, mut high] = [None, None];
    let mut below = 0.0;
    for index in 0..count {
        // So many samples, and no more, are below the quantile with this probability.
        below += binomial(count, index, share);
        if below <= TAIL {
            low = Some(index);
        }
        if below >= 1.0 - TAIL && high.is_none() {
            high = Some(index);
        }
    }
    low.zip(high)
}

fn binomial(count: usize, index: usize, share: f64) -> f64 {
    let (n, k) = (count as f64, index as f64);
    let choose = libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0);
    libm::exp(choose + k * libm::log(share) + (n - k) * libm::log(1.0 - share))
}

/// The quantile of Student's distribution with so many degrees of freedom, by bisection of its
/// closed form. `share` above one half.
pub(crate) fn student(share: f64, degrees: u32) -> f64 {
    let (mut low, mut high) = (0.0, 1_000.0);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if student_below(middle, degrees) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}

/// The probability below `t`. Abramowitz and Stegun, 26.7.3 and 26.7.4.
fn student_below(t: f64, degrees: u32) -> f64 {
    let angle = libm::atan(t / libm::sqrt(f64::from(degrees)));
    let (sine, cosine) = (libm::sin(angle), libm::cos(angle));
    let odd = degrees % 2 == 1;
    let mut term = if odd { cosine } else { 1.0 };
    let mut sum = if degrees == 1 { 0.0 } else { term };
    let mut index = if odd { 3 } else { 2 };
    while index < degrees {
        let of = f64::from(index);
        term *= cosine * cosine * (of - 1.0) / of;
        sum += term;
        index += 2;
    }
    let between = match odd {
        true => (angle + sine * sum) * 2.0 / std::f64::consts::PI,
        false => sine * sum,
    };
    0.5 + between / 2.0
}

/// The mean of independent samples and its standard error.
pub(crate) fn mean_and_error(samples: &[f64]) -> (f64, f64) {
    let count = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / count;
    let squares: f64 = samples.iter().map(|sample| (sample - mean) * (sample - mean)).sum();
    (mean, libm::sqrt(squares / (count - 1.0) / count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn student_as_in_the_tables() {
        for (degrees, expected) in
            [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622), (30, 2.0423)]
        {
            let found = student(0.975, degrees);
            assert!((found - expected).abs() < 1e-4, "{degrees}: {found}");
        }
    }

    #[test]
    fn quantiles_need_samples() {
        for (permille, expected) in [(990, 368), (950, 72), (500, 6)] {
            assert_eq!(samples_needed(permille), expected, "{permille}");
            let samples: Vec<f64> = (1..=expected).map(|value| value as f64).collect();
            let enough = quantile(&samples, permille).expect("there are samples");
            assert!(enough.interval.is_some(), "{permille}: {enough:?}");
            let few = quantile(&samples[1..], permille).expect("there are samples");
            assert_eq!(few.interval, None, "{permille}");
        }
    }

    /// The median of 100: the indices of the textbooks, from 1, are 40 and 61 or 41 and 60.
    #[test]
    fn the_median_of_a_hundred() {
        let samples: Vec<f64> = (1..=100).map(f64::from).collect();
        let estimate = quantile(&samples, 500).expect("there are samples");
        assert_eq!(estimate.value, 50.0);
        assert_eq!(estimate.interval, Some((40.0, 61.0)));
    }

    #[test]
    fn a_mean_and_its_interval() {
        let estimate = mean(&[1.0, 2.0, 3.0, 4.0, 5.0]).expect("there are samples");
        let (low, high) = estimate.interval.expect("there are five");
        assert_eq!(estimate.value, 3.0);
        assert!((high - 3.0 - 2.7764 * libm::sqrt(2.5 / 5.0)).abs() < 1e-3, "{high}");
        assert!((low + high - 6.0).abs() < 1e-9);
        assert_eq!(mean(&[]), None);
        assert_eq!(mean(&[7.0]).expect("there is one").interval, None);
    }

    #[test]
    fn standard_errors() {
        let (mean, error) = mean_and_error(&[1.0, 2.0, 3.0, 4.0]);
        assert!((mean - 2.5).abs() < 1e-12);
        assert!((error - libm::sqrt(5.0 / 3.0 / 4.0)).abs() < 1e-12, "{error}");
    }
}
