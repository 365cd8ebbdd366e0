//! Failures in a row: of checkpoints until the job fails, and of the job until it is up again.

use super::quantity::positive;
use super::{ModelError, Probability, Seconds};

/// Mean number of checkpoints until the job fails, if so many failed ones in a row are tolerated:
/// `(1 - p^r)/(p^r (1 - p))` with `r = tolerable + 1`; infinite if none ever fails.
///
/// Flink: `execution.checkpointing.tolerable-failed-checkpoints`. Source: theory of runs.
pub fn checkpoints_until_failure(p: Probability, tolerable: u64) -> f64 {
    let p = p.get();
    let run = tolerable as f64 + 1.0;
    if p >= 1.0 {
        // The limit: the first checkpoints all fail.
        return run;
    }
    let all_fail = libm::pow(p, run);
    (1.0 - all_fail) / (all_fail * (1.0 - p))
}

/// Flink's exponential-delay restart strategy without jitter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// `restart-strategy.exponential-delay.initial-backoff`.
    pub initial: Seconds,
    /// `restart-strategy.exponential-delay.backoff-multiplier`, at least 1.
    pub multiplier: f64,
    /// `restart-strategy.exponential-delay.max-backoff`.
    pub max: Seconds,
}

impl Backoff {
    /// The delay before the restart after the n-th failure in a row, from 1, in seconds:
    /// `min(max, initial multiplier^(n-1))`.
    ///
    /// # Errors
    /// `n` is 0, or the multiplier below 1.
    pub fn delay(&self, n: u64) -> Result<f64, ModelError> {
        positive("the failures in a row", n as f64)?;
        if !(self.multiplier >= 1.0 && self.multiplier.is_finite()) {
            let must = "a finite number of at least 1";
            return Err(ModelError::out_of_range("the backoff multiplier", self.multiplier, must));
        }
        let grown = self.initial.get() * libm::pow(self.multiplier, (n - 1) as f64);
        Ok(grown.min(self.max.get()))
    }

    /// All delays of `n` failures in a row, in seconds.
    ///
    /// # Errors
    /// As [`Self::delay`].
    pub fn total(&self, n: u64) -> Result<f64, ModelError> {
        let mut sum = 0.0;
        for failure in 1..=n {
            let delay = self.delay(failure)?;
            if delay >= self.max.get() {
                // The others are the same.
                return Ok(sum + delay * (n - failure + 1) as f64);
            }
            sum += delay;
        }
        Ok(sum)
    }
}
