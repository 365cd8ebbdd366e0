//! How many runs a simulation needs, and what they prove.

use super::numeric::{bisect, incomplete_beta, normal_above, normal_quantile_above};
use super::quantity::{not_negative, positive};
use super::{ModelError, Probability};

/// The quantile `p` of Student's law with so many degrees of freedom.
///
/// # Errors
/// No degree of freedom, or a probability of 0 or 1.
pub fn t_quantile(p: Probability, degrees: f64) -> Result<f64, ModelError> {
    let degrees = positive("the degrees of freedom", degrees)?;
    let p = inside("the probability", p)?;
    if p < 0.5 {
        return t_quantile(Probability::new(1.0 - p)?, degrees).map(|t| -t);
    }
    // Twice the upper tail is I_y(degrees/2, 1/2) at y = degrees/(degrees + t^2).
    let tails = 2.0 * (1.0 - p);
    let y = beta_quantile(tails, degrees / 2.0, 0.5);
    Ok(libm::sqrt(degrees * (1.0 - y) / y))
}

/// Order statistics (from 1) that hold a quantile with some confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantileInterval {
    /// Index of the lower end; `None`: the sample is too small to have one.
    pub lower: Option<u64>,
    /// Index of the upper end; `None`: the sample is too small to have one.
    pub upper: Option<u64>,
    /// The probability that the quantile is inside.
    pub coverage: f64,
}

/// The interval for the quantile `q` of a sample of `n`.
///
/// The lower end is the largest `l` with `P(Bin(n, q) <= l - 1) <= alpha/2`, the upper end the
/// smallest `u` with `P(Bin(n, q) <= u - 1) >= 1 - alpha/2`.
///
/// # Errors
/// No sample, or a quantile or confidence of 0 or 1.
pub fn quantile_interval(
    n: u64,
    q: Probability,
    confidence: Probability,
) -> Result<QuantileInterval, ModelError> {
    positive("the size of the sample", n as f64)?;
    let q = inside("the quantile", q)?;
    let tail = (1.0 - inside("the confidence", confidence)?) / 2.0;
    let below = |index: u64| binomial_at_most(index - 1, n, q);
    // The cumulative law rises with the index, so that both ends are found by halving.
    let first = |holds: &dyn Fn(f64) -> bool| {
        let (mut low, mut high) = (1, n + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if holds(below(middle)) { high = middle } else { low = middle + 1 }
        }
        low
    };
    let lower = Some(first(&|p| p > tail) - 1).filter(|index| *index >= 1);
    let upper = Some(first(&|p| p >= 1.0 - tail)).filter(|index| *index <= n);
    let coverage = upper.map_or(1.0, below) - lower.map_or(0.0, below);
    Ok(QuantileInterval { lower, upper, coverage })
}

/// An interval for a proportion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proportion {
    /// Its lower end.
    pub lower: f64,
    /// Its upper end.
    pub upper: f64,
}

impl Proportion {
    /// Wilson's interval for `k` of `n`.
    ///
    /// # Errors
    /// No trials, more successes than trials, or a confidence of 0 or 1.
    pub fn wilson(k: u64, n: u64, confidence: Probability) -> Result<Self, ModelError> {
        let (hits, trials) = hits_of(k, n)?;
        let z = two_sided(confidence)?;
        let (share, weight) = (hits / trials, z * z / trials);
        let centre = share + weight / 2.0;
        let width = libm::sqrt(weight * (share * (1.0 - share) + weight / 4.0));
        let end = |at: f64| at / (1.0 + weight);
        // All or nothing has an end at the edge, whatever the rounding says.
        let lower = if k == 0 { 0.0 } else { end(centre - width) };
        Ok(Self { lower, upper: if k == n { 1.0 } else { end(centre + width) } })
    }

    /// The interval of Clopper and Pearson for `k` of `n`, which never promises too much.
    ///
    /// # Errors
    /// No trials, more successes than trials, or a confidence of 0 or 1.
    pub fn clopper_pearson(k: u64, n: u64, confidence: Probability) -> Result<Self, ModelError> {
        let (hits, trials) = hits_of(k, n)?;
        let tail = (1.0 - inside("the confidence", confidence)?) / 2.0;
        let misses = trials - hits;
        let lower = if k == 0 { 0.0 } else { beta_quantile(tail, hits, misses + 1.0) };
        let upper = if k == n { 1.0 } else { 1.0 - beta_quantile(tail, misses, hits + 1.0) };
        Ok(Self { lower, upper })
    }
}

/// The upper bound of the probability of what did not happen in `n` runs: `1 - alpha^(1/n)`.
///
/// # Errors
/// No runs, or a confidence of 0 or 1.
pub fn zero_failures_upper(n: u64, confidence: Probability) -> Result<f64, ModelError> {
    let runs = positive("the number of runs", n as f64)?;
    let alpha = 1.0 - inside("the confidence", confidence)?;
    Ok(-libm::expm1(libm::log(alpha) / runs))
}

/// How many failures a mean loss needs to be known to a relative error:
/// `ceil((z sqrt(4/3)/error)^2)`. The losses of the failures are uniform, and they come as a Poisson
/// process.
///
/// # Errors
/// No error is allowed, or a confidence of 0 or 1.
pub fn failures_needed(relative_error: f64, confidence: Probability) -> Result<u64, ModelError> {
    let error = positive("the relative error", relative_error)?;
    let z = two_sided(confidence)?;
    Ok((z * z * 4.0 / 3.0 / (error * error)).ceil() as u64)
}

/// What common random numbers leave of the variance of a difference: `1 - correlation`, of
/// what it is with independent ones, both variances being equal.
///
/// # Errors
/// The correlation is not in -1 to 1.
pub fn common_random_numbers(correlation: f64) -> Result<f64, ModelError> {
    if (-1.0..=1.0).contains(&correlation) {
        Ok(1.0 - correlation)
    } else {
        Err(ModelError::out_of_range("a correlation", correlation, "from -1 to 1"))
    }
}

/// Rinott's constant `h`, for choosing the best of some systems after `n0` first runs of each.
///
/// It solves `P = E over x of [E over y of Phi(h/sqrt((n0-1)(1/x + 1/y)))]^(systems-1)`, where `x`
/// and `y` are chi-square with `n0 - 1` degrees of freedom. Source: Rinott 1978.
///
/// # Errors
/// Fewer than two systems or first runs, or a probability not between `1/systems` and 1.
pub fn rinott(systems: u64, n0: u64, p: Probability) -> Result<f64, ModelError> {
    if systems < 2 || n0 < 2 {
        let (name, value) = if systems < 2 {
            ("the number of systems", systems)
        } else {
            ("the number of first runs", n0)
        };
        return Err(ModelError::out_of_range(name, value as f64, "at least 2"));
    }
    let p = inside("the probability of a right choice", p)?;
    if p <= 1.0 / systems as f64 {
        let must = "above what guessing gives";
        return Err(ModelError::out_of_range("the probability of a right choice", p, must));
    }
    let freedom = (n0 - 1) as f64;
    let law = chi_square_points(freedom);
    let right = |h: f64| {
        let mut all = 0.0;
        for (x, weight_x) in &law {
            let mut one = 0.0;
            for (y, weight_y) in &law {
                let spread = libm::sqrt(freedom * (1.0 / x + 1.0 / y));
                one += weight_y * normal_above(-h / spread);
            }
            all += weight_x * libm::pow(one, (systems - 1) as f64);
        }
        all
    };
    Ok(rising_root(p, right))
}

/// Where a rising function that is below `level` at 0 reaches it; by the Illinois variant of false
/// position, since each value is dear.
fn rising_root(level: f64, value: impl Fn(f64) -> f64) -> f64 {
    const STEPS_MAX: u32 = 100;
    const PRECISION: f64 = 1e-12;
    let above = |h: f64| value(h) - level;
    let (mut low, mut below) = (0.0, above(0.0));
    let (mut high, mut over) = (4.0, above(4.0));
    while over < 0.0 {
        (low, below, high) = (high, over, 2.0 * high);
        over = above(high);
    }
    let mut last_moved_high = None;
    for _ in 0..STEPS_MAX {
        let middle = (low * over - high * below) / (over - below);
        let found = above(middle);
        if found.abs() < PRECISION || high - low < PRECISION * high {
            return middle;
        }
        let moves_high = found > 0.0;
        let again = last_moved_high == Some(moves_high);
        if moves_high {
            (high, over) = (middle, found);
            below = if again { below / 2.0 } else { below };
        } else {
            (low, below) = (middle, found);
            over = if again { over / 2.0 } else { over };
        }
        last_moved_high = Some(moves_high);
    }
    low + (high - low) / 2.0
}

/// Points and weights of the chi-square law: the trapezoidal rule over the logarithm.
fn chi_square_points(freedom: f64) -> Vec<(f64, f64)> {
    /// Points for one standard deviation; more change nothing.
    const FINENESS: f64 = 4.0;
    /// The logarithm of what is left out, relative to the peak.
    const NEGLIGIBLE: f64 = -36.0;
    let half = freedom / 2.0;
    // x = freedom e^t: the density over t, relative to its peak at 0, has curvature freedom/2.
    let density = |t: f64| half * (t - libm::expm1(t));
    let step = 1.0 / (FINENESS * libm::sqrt(half));
    let side = |sign: f64| {
        (1_u32..)
            .map(move |at| sign * f64::from(at) * step)
            .take_while(move |t| density(*t) > NEGLIGIBLE)
    };
    let mut points: Vec<(f64, f64)> = side(-1.0)
        .chain([0.0])
        .chain(side(1.0))
        .map(|t| (freedom * libm::exp(t), libm::exp(density(t))))
        .collect();
    let whole: f64 = points.iter().map(|(_, weight)| weight).sum();
    points.iter_mut().for_each(|(_, weight)| *weight /= whole);
    points
}

/// `P(Bin(n, q) <= k)`.
fn binomial_at_most(k: u64, n: u64, q: f64) -> f64 {
    if k >= n { 1.0 } else { incomplete_beta((n - k) as f64, k as f64 + 1.0, 1.0 - q) }
}

/// The quantile `p` of the beta law.
fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    bisect(0.0, 1.0, |x| incomplete_beta(a, b, x) - p)
}

/// `z` of a two-sided interval.
fn two_sided(confidence: Probability) -> Result<f64, ModelError> {
    Ok(normal_quantile_above((1.0 - inside("the confidence", confidence)?) / 2.0))
}

fn hits_of(k: u64, n: u64) -> Result<(f64, f64), ModelError> {
    let trials = positive("the number of trials", n as f64)?;
    if k > n {
        let must = "at most the number of trials";
        return Err(ModelError::out_of_range("the number of successes", k as f64, must));
    }
    Ok((not_negative("the number of successes", k as f64)?, trials))
}

fn inside(name: &'static str, p: Probability) -> Result<f64, ModelError> {
    let p = p.get();
    if p > 0.0 && p < 1.0 {
        Ok(p)
    } else {
        Err(ModelError::out_of_range(name, p, "above 0 and below 1"))
    }
}
