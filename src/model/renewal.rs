//! The useful share of time under any law of up-times that a failure renews.
//!
//! Not covered: several nodes whose clocks are not renewed together; they need a simulation.

use super::numeric::normal_above;
use super::quantity::positive;
use super::utilization::Periodic;
use super::{ModelError, Seconds};

/// How long the job stays up between two failures, independently each time.
#[derive(Clone, Debug, PartialEq)]
pub enum UpTimes {
    /// Memoryless.
    Exponential {
        /// Mean up-time in seconds.
        mean: f64,
    },
    /// Survival `exp(-(t/scale)^shape)`. A shape below 1 is infant mortality, which helps.
    Weibull {
        /// Shape `k`.
        shape: f64,
        /// Scale `eta` in seconds.
        scale: f64,
    },
    /// The logarithm of the seconds is normal.
    Lognormal {
        /// Mean of the logarithm.
        mu: f64,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
    /// Up-times that were observed, in seconds; each counts the same.
    Trace(Vec<f64>),
}

impl UpTimes {
    /// Exponential up-times.
    ///
    /// # Errors
    /// The mean is not above zero.
    pub fn exponential(mean: Seconds) -> Result<Self, ModelError> {
        Ok(Self::Exponential { mean: positive("the mean up-time", mean.get())? })
    }

    /// Weibull up-times of this shape and scale.
    ///
    /// # Errors
    /// One of them is not above zero.
    pub fn weibull(shape: f64, scale: Seconds) -> Result<Self, ModelError> {
        let shape = positive("the shape of the Weibull law", shape)?;
        Ok(Self::Weibull { shape, scale: positive("the scale of the Weibull law", scale.get())? })
    }

    /// Weibull up-times of this shape and mean: `scale = mean/Gamma(1 + 1/shape)`.
    ///
    /// # Errors
    /// One of them is not above zero.
    pub fn weibull_with_mean(shape: f64, mean: Seconds) -> Result<Self, ModelError> {
        let shape = positive("the shape of the Weibull law", shape)?;
        Self::weibull(shape, Seconds::new(mean.get() / libm::tgamma(1.0 + 1.0 / shape))?)
    }

    /// Lognormal up-times whose logarithm has this mean and standard deviation.
    ///
    /// # Errors
    /// The deviation is not above zero, or the mean not finite.
    pub fn lognormal(mu: f64, sigma: f64) -> Result<Self, ModelError> {
        if !mu.is_finite() {
            return Err(ModelError::out_of_range("the mean of the logarithm", mu, "finite"));
        }
        let sigma = positive("the standard deviation of the logarithm", sigma)?;
        Ok(Self::Lognormal { mu, sigma })
    }

    /// Observed up-times.
    ///
    /// # Errors
    /// There is none, or one is not above zero.
    pub fn trace(observed: Vec<Seconds>) -> Result<Self, ModelError> {
        positive("the number of observed up-times", observed.len() as f64)?;
        let seconds = observed.iter().map(|span| positive("an up-time", span.get()));
        Ok(Self::Trace(seconds.collect::<Result<_, _>>()?))
    }

    /// Mean up-time in seconds.
    pub fn mean(&self) -> f64 {
        match self {
            Self::Exponential { mean } => *mean,
            Self::Weibull { shape, scale } => scale * libm::tgamma(1.0 + 1.0 / shape),
            Self::Lognormal { mu, sigma } => libm::exp(mu + sigma * sigma / 2.0),
            Self::Trace(observed) => observed.iter().sum::<f64>() / observed.len() as f64,
        }
    }

    /// `S(t)`: the probability to stay up longer than so many seconds.
    pub fn survival(&self, t: f64) -> f64 {
        match self {
            _ if t <= 0.0 => 1.0,
            Self::Exponential { mean } => libm::exp(-t / mean),
            Self::Weibull { shape, scale } => libm::exp(-libm::pow(t / scale, *shape)),
            Self::Lognormal { mu, sigma } => normal_above((libm::log(t) - mu) / sigma),
            Self::Trace(observed) => {
                observed.iter().filter(|up| **up > t).count() as f64 / observed.len() as f64
            }
        }
    }

    /// How many of the instants `first`, `first + step`, ... an up-time reaches, on average.
    fn reached(&self, first: f64, step: f64) -> f64 {
        match self {
            Self::Exponential { mean } => self.survival(first) / -libm::expm1(-step / mean),
            Self::Weibull { .. } | Self::Lognormal { .. } => self.sum_of_survival(first, step),
            Self::Trace(observed) => {
                let steps = observed.iter().map(|up| ((up - first) / step).ceil().max(0.0));
                steps.sum::<f64>() / observed.len() as f64
            }
        }
    }

    /// The sum of `S(first + n step)` over all `n`: term by term, then as an integral, since heavy
    /// tails have more terms than one can add.
    fn sum_of_survival(&self, first: f64, step: f64) -> f64 {
        const TERMS_MAX: u32 = 20_000;
        /// Less than any digit of the result.
        const NEGLIGIBLE: f64 = 1e-18;
        let mut sum = 0.0;
        for n in 0..TERMS_MAX {
            let term = self.survival(first + f64::from(n) * step);
            sum += term;
            if term < NEGLIGIBLE {
                return sum;
            }
        }
        // The midpoint rule read backwards: the terms are the slices of width `step` around them.
        // Over so many steps the law does not bend within one.
        let from = first + (f64::from(TERMS_MAX) - 0.5) * step;
        sum + self.integral_of_survival(from) / step
    }

    /// The integral of `S` from here on, in seconds; by Simpson's rule over the logarithm.
    fn integral_of_survival(&self, from: f64) -> f64 {
        const STEP: f64 = 1.0 / 1024.0;
        const NEGLIGIBLE: f64 = 1e-18;
        let at = |n: u32| {
            let t = from * libm::exp(f64::from(n) * STEP);
            self.survival(t) * t
        };
        let mut sum = at(0);
        for odd in (1_u32..).step_by(2) {
            let (middle, end) = (at(odd), at(odd + 1));
            sum += 4.0 * middle + 2.0 * end;
            if end <= NEGLIGIBLE * from || !end.is_finite() {
                break;
            }
        }
        sum * STEP / 3.0
    }
}

/// `U` of a job with these up-times in the place of exponential ones.
///
/// `tau sum_n S(o + tau + L + n (tau + C)) / (m + D + r)`, with `o = R`, `r = 0` if recovery may
/// fail, and `o = 0`, `r = R` if it cannot. `job.mtbf` is not looked at. Source: own derivation
/// (renewal-reward); [`Periodic::useful_share`] for exponential up-times.
///
/// # Errors
/// No work, or a checkpoint that is complete before it is paid.
pub fn useful_share(job: &Periodic, up_times: &UpTimes) -> Result<f64, ModelError> {
    let mean = Seconds::new(up_times.mean())?;
    // For the checks on the other numbers.
    Periodic { mtbf: mean, ..*job }.useful_share()?;
    let (work, restart) = (job.work.get(), job.restart.get());
    let (risky, safe) = if job.failure_free_recovery { (0.0, restart) } else { (restart, 0.0) };
    let first = risky + work + job.latency.get();
    let saved = work * up_times.reached(first, work + job.cost.get());
    Ok(saved / (mean.get() + job.downtime.get() + safe))
}
