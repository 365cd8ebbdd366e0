//! Functions and solvers that several models need. All transcendental ones come from `libm`, whose
//! results are the same on every machine.

/// `x + exp(-x) - 1`, without the loss of digits that the plain form has for small `x`.
pub(super) fn excess(x: f64) -> f64 {
    if x < 0.5 { excess_from(x, 2) } else { x + libm::expm1(-x) }
}

/// The terms of `x^2/2! - x^3/3! + ...` from the given power on; for `0 <= x < 1`.
pub(super) fn excess_from(x: f64, power: i32) -> f64 {
    let mut term = 1.0;
    for k in 1..power {
        term *= -x / f64::from(k);
    }
    let mut sum = 0.0;
    for k in power.. {
        term *= -x / f64::from(k);
        if sum + term == sum {
            break;
        }
        sum += term;
    }
    sum
}

/// Where a function that rises from negative to positive crosses zero, to the last digit.
pub(super) fn bisect(mut low: f64, mut high: f64, rising: impl Fn(f64) -> f64) -> f64 {
    loop {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            return middle;
        }
        if rising(middle) < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
}

/// The harmonic number `1 + 1/2 + ... + 1/n`, summed from the small end.
pub(super) fn harmonic(n: u64) -> f64 {
    /// Above this the asymptotic series is exact to the last digit.
    const SUMMED_MAX: u64 = 10_000;
    const EULER_MASCHERONI: f64 = 0.577_215_664_901_532_9;
    if n <= SUMMED_MAX {
        return (1..=n).rev().map(|i| 1.0 / i as f64).sum();
    }
    let n = n as f64;
    libm::log(n) + EULER_MASCHERONI + 1.0 / (2.0 * n) - 1.0 / (12.0 * n * n)
}

/// The probability that a standard normal variable is above `x`.
pub(super) fn normal_above(x: f64) -> f64 {
    libm::erfc(x / std::f64::consts::SQRT_2) / 2.0
}

/// The `x` above which a standard normal variable is with this probability; `0 < above < 1`.
///
/// A rational guess (Abramowitz and Stegun 26.2.23), then Newton steps on the exact tail.
pub(super) fn normal_quantile_above(above: f64) -> f64 {
    if above > 0.5 {
        return -normal_quantile_above(1.0 - above);
    }
    let t = libm::sqrt(-2.0 * libm::log(above));
    let numerator = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let denominator = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    let mut x = t - numerator / denominator;
    // From 5e-4 off, each step squares the error: the third leaves nothing.
    for _ in 0..4 {
        let density = libm::exp(-x * x / 2.0) / libm::sqrt(2.0 * std::f64::consts::PI);
        x += (normal_above(x) - above) / density;
    }
    x
}

/// The regularised incomplete beta function `I_x(a, b)`, by its continued fraction.
pub(super) fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    // The fraction converges fast on this side of the mean only.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let scale = libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b)
        + a * libm::log(x)
        + b * libm::log1p(-x);
    libm::exp(scale) * beta_fraction(a, b, x) / a
}

/// Lentz's evaluation of the continued fraction.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    /// The terms needed grow with the square root of the larger parameter.
    const TERMS_MAX: u32 = 100_000;
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut value = d;
    for term in 1..=TERMS_MAX {
        let m = f64::from(term);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away_from_zero(1.0 + even * d);
        c = away_from_zero(1.0 + even / c);
        value *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away_from_zero(1.0 + odd * d);
        c = away_from_zero(1.0 + odd / c);
        value *= d * c;
        if (d * c - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn near(actual: f64, expected: f64, relative: f64) {
        assert!((actual - expected).abs() <= relative * expected.abs(), "{actual}, not {expected}");
    }

    #[test]
    fn the_excess_keeps_its_digits() {
        for (x, expected) in [
            (1e-8, 5e-17 - 1e-24 / 6.0),
            (0.25, 0.028_800_783_071_404_87),
            (2.0, 1.135_335_283_236_6),
        ] {
            near(excess(x), expected, 1e-12);
        }
        near(excess(0.5 - 1e-12), excess(0.5), 1e-11);
    }

    #[test]
    fn harmonic_numbers_have_no_seam() {
        near(harmonic(3), 11.0 / 6.0, 1e-15);
        near(harmonic(10_001) - 1.0 / 10_001.0, harmonic(10_000), 1e-14);
    }

    #[test]
    fn normal_quantiles_are_those_of_the_tables() {
        for (above, x) in [
            (0.5, 0.0),
            (0.025, 1.959_963_984_540_054),
            (0.995, -2.575_829_303_548_901),
            (1e-10, 6.361_340_902_404_056),
        ] {
            let found = normal_quantile_above(above);
            assert!((found - x).abs() < 1e-12, "{above}: {found}, not {x}");
        }
    }

    #[test]
    fn the_incomplete_beta_function_sums_the_binomial() {
        // P(Bin(5, 0.3) >= 2) = I_0.3(2, 4)
        let at_most_one = libm::pow(0.7, 5.0) + 5.0 * 0.3 * libm::pow(0.7, 4.0);
        near(incomplete_beta(2.0, 4.0, 0.3), 1.0 - at_most_one, 1e-13);
        near(incomplete_beta(1.0, 1.0, 0.4), 0.4, 1e-14);
    }
}
