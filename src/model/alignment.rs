//! How long barriers wait for each other, and how much slower the slowest is.
//!
//! The barriers of a subtask's `N` channels arrive independently after the same law. Correlated
//! delays (a common upstream) align faster. Alignment does not depend on the order of channels;
//! order only decides which of them block. At-least-once does not block: the records that would have waited become
//! the duplicates. Source: order statistics.

use super::numeric::{harmonic, normal_above, normal_quantile_above};
use super::quantity::{not_negative, positive};
use super::{ModelError, Probability, Rate, Seconds};

/// When the barriers of one subtask arrive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Delays {
    /// Exponential.
    Exponential {
        /// Mean delay.
        mean: Seconds,
    },
    /// Uniform.
    Uniform {
        /// From zero to this.
        width: Seconds,
    },
    /// Normal.
    Normal {
        /// Standard deviation.
        deviation: Seconds,
    },
}

/// What a subtask waits at its barriers, on average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alignment {
    /// From the first barrier to the last, in seconds.
    pub range: f64,
    /// How long the channels are blocked, added up, in channel seconds.
    pub blocked: f64,
}

impl Delays {
    /// For a subtask with so many channels.
    ///
    /// Exponential: `theta H_{N-1}` and `theta N (H_N - 1)`. Uniform: `b (N - 1)/(N + 1)` and
    /// `b N (N - 1)/(2 (N + 1))`. Normal: `sigma d2(N)`, and half of it on each channel, since the
    /// law is symmetric.
    ///
    /// # Errors
    /// No channels.
    pub fn alignment(self, channels: u64) -> Result<Alignment, ModelError> {
        let n = positive("the number of channels", channels as f64)?;
        let (range, blocked) = match self {
            Self::Exponential { mean } => {
                let mean = mean.get();
                (mean * harmonic(channels - 1), mean * n * (harmonic(channels) - 1.0))
            }
            Self::Uniform { width } => {
                let range = width.get() * (n - 1.0) / (n + 1.0);
                (range, range * n / 2.0)
            }
            Self::Normal { deviation } => {
                let range = deviation.get() * normal_range(n);
                (range, range * n / 2.0)
            }
        };
        Ok(Alignment { range, blocked })
    }

    /// When the last of so many barriers has arrived, in seconds; from the mean on for normal
    /// delays.
    ///
    /// # Errors
    /// No channels.
    pub fn last(self, channels: u64) -> Result<f64, ModelError> {
        let n = positive("the number of channels", channels as f64)?;
        Ok(match self {
            Self::Exponential { mean } => mean.get() * harmonic(channels),
            Self::Uniform { width } => width.get() * n / (n + 1.0),
            Self::Normal { deviation } => deviation.get() * normal_range(n) / 2.0,
        })
    }
}

/// `d2(n)`: the mean range of `n` standard normal variables, the integral of
/// `1 - F^n - (1 - F)^n`. The trapezoidal rule is exact to the last digits for a function that is
/// smooth and fades on both sides.
fn normal_range(n: f64) -> f64 {
    const STEP: f64 = 1.0 / 64.0;
    /// No normal variable of any sample comes as far.
    const FAR: u32 = 40 * 64;
    let density = |x: f64| {
        let above = normal_above(x);
        -libm::expm1(n * libm::log1p(-above)) - libm::pow(above, n)
    };
    let right: f64 = (1..FAR).map(|at| density(f64::from(at) * STEP)).sum();
    (density(0.0) + 2.0 * right) * STEP
}

/// How long (seconds) a bottleneck that never idles takes from the first record before a barrier to
/// its last barrier: exactly `sum q_i/mu`, whatever the order of channels, with `q_i` records ahead
/// of the barrier of channel `i`.
///
/// # Errors
/// Nothing is processed, or there are fewer than no records.
pub fn bottleneck_alignment(ahead: &[f64], capacity: Rate) -> Result<f64, ModelError> {
    let capacity = positive("the capacity", capacity.get())?;
    let mut records = 0.0;
    for queued in ahead {
        records += not_negative("the records ahead of a barrier", *queued)?;
    }
    Ok(records / capacity)
}

/// The probability that a checkpoint is slow, if each of its subtasks is so with probability `q`:
/// `1 - (1 - q)^N`.
pub fn slow_checkpoint(q: Probability, subtasks: u64) -> f64 {
    if subtasks == 0 {
        return 0.0;
    }
    -libm::expm1(subtasks as f64 * libm::log1p(-q.get()))
}

/// The quantile `u` of the slowest of `N` subtasks, as a multiple of the median of one, if
/// their durations are lognormal: `exp(sigma PhiInv(u^(1/N)))`.
///
/// # Errors
/// No subtasks, or a quantile of 0 or 1.
pub fn slowest_lognormal(sigma: f64, u: Probability, subtasks: u64) -> Result<f64, ModelError> {
    let n = positive("the number of subtasks", subtasks as f64)?;
    let sigma = not_negative("the standard deviation of the logarithm", sigma)?;
    let u = u.get();
    if u <= 0.0 || u >= 1.0 {
        return Err(ModelError::out_of_range("the quantile", u, "above 0 and below 1"));
    }
    let above = -libm::expm1(libm::log(u) / n);
    Ok(libm::exp(sigma * normal_quantile_above(above)))
}
