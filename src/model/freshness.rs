//! When the output of an exactly-once sink becomes visible, and how often checkpoints happen.

use super::quantity::positive;
use super::recovery::Age;
use super::{ModelError, Probability, Seconds};

/// A sink that commits when its checkpoint is complete.
///
/// The times are those of a record that reaches the sink at a uniform instant, added to what it
/// took to get there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Visibility {
    /// `T`: from trigger to trigger.
    pub interval: Seconds,
    /// `d`: from the barrier's passage at the sink until the checkpoint is complete.
    pub duration: Seconds,
    /// Notification and commit.
    pub commit: Seconds,
}

impl Visibility {
    fn age(self) -> Age {
        Age { interval: self.interval, duration: self.duration }
    }

    /// Mean where a checkpoint fails with probability `p`: `T/2 + d + commit + T p/(1 - p)`, s.
    ///
    /// # Errors
    /// `p` is 1.
    pub fn mean(self, p: Probability) -> Result<f64, ModelError> {
        Ok(self.age().mean(p)? + self.commit.get())
    }

    /// What a share `q` of records stays below, no checkpoint failing: `q T + d + commit`, s.
    pub fn quantile(self, q: Probability) -> f64 {
        self.age().quantile(q) + self.commit.get()
    }

    /// The least: `d + commit`, in seconds.
    pub fn least(self) -> f64 {
        self.duration.get() + self.commit.get()
    }

    /// The worst, no checkpoint failing: `T + d + commit`, in seconds.
    pub fn worst(self) -> f64 {
        self.age().worst() + self.commit.get()
    }

    /// Standard deviation, no checkpoint failing: `T/sqrt(12)`, in seconds.
    pub fn deviation(self) -> f64 {
        self.interval.get() / libm::sqrt(12.0)
    }
}

/// How often checkpoints happen, at most one being under way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cadence {
    /// `T_eff = max(T, d + min_pause)`, seconds from trigger to trigger.
    pub interval: f64,
    /// The share of time in which a checkpoint is under way.
    pub duty: f64,
}

impl Cadence {
    /// For a configured interval, a constant duration and Flink's
    /// `execution.checkpointing.min-pause`.
    ///
    /// # Errors
    /// Interval, duration and pause are all zero.
    pub fn new(
        interval: Seconds,
        duration: Seconds,
        min_pause: Seconds,
    ) -> Result<Self, ModelError> {
        let effective = interval.get().max(duration.get() + min_pause.get());
        let effective = positive("the effective interval", effective)?;
        Ok(Self { interval: effective, duty: duration.get() / effective })
    }
}
