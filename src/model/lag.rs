//! The mean backlog of a stream, and the interval that makes it least.
//!
//! Young's interval maximises capacity. A stream with slack rather wants a small average lag, for
//! which the best interval is far shorter. First order in `c/T` and `1/M`: valid while
//! [`Lag::pause_load`] is at most 0.15 and recovery is far below `M`. Only pauses that stop processing
//! count in `c`. Source: own derivation, checked by an event-driven fluid simulation.

use super::quantity::positive;
use super::recovery::Outage;
use super::{ModelError, Seconds};

/// A stream that pauses at each checkpoint and rewinds at failures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lag {
    /// The stream and its downtime `D` at a failure.
    pub outage: Outage,
    /// `c`: how long processing stops at a checkpoint.
    pub cost: Seconds,
    /// `d`: from the trigger until the checkpoint can be restored.
    pub duration: Seconds,
    /// `M`: mean up-time between failures. More than zero.
    pub mtbf: Seconds,
}

impl Lag {
    /// Mean backlog in records at an interval of so many seconds:
    /// `lambda mu c^2/(2 (mu - lambda) T) + (lambda D m1 + lambda D^2/2 + lambda^2 (m2 + 2 D m1 +
    /// D^2)/(2 (mu - lambda)))/M` with the moments of the age, `m1 = d + T/2` and
    /// `m2 = d^2 + d T + T^2/3`.
    ///
    /// # Errors
    /// No interval, or no up-time.
    pub fn mean(&self, interval: Seconds) -> Result<f64, ModelError> {
        self.mean_draining_at(interval, self.outage.stream.slack())
    }

    /// An upper bracket of [`Self::mean`] outside of its validity: the job drains at
    /// `mu (1 - c/T) - lambda` only. `None` if that is not above zero.
    ///
    /// # Errors
    /// No interval, or no up-time.
    pub fn mean_high(&self, interval: Seconds) -> Result<Option<f64>, ModelError> {
        let period = positive("the interval", interval.get())?;
        let stream = self.outage.stream;
        let slack = stream.capacity() * (1.0 - self.cost.get() / period) - stream.rate();
        (slack > 0.0).then(|| self.mean_draining_at(interval, slack)).transpose()
    }

    fn mean_draining_at(&self, interval: Seconds, slack: f64) -> Result<f64, ModelError> {
        let interval = positive("the interval", interval.get())?;
        let mtbf = positive("the mean time between failures", self.mtbf.get())?;
        let (duration, down) = (self.duration.get(), self.outage.downtime.get());
        let rate = self.outage.stream.rate();
        let first = duration + interval / 2.0;
        let second = duration * duration + duration * interval + interval * interval / 3.0;
        let waiting = rate * down * first + rate * down * down / 2.0;
        let draining = rate * rate * (second + 2.0 * down * first + down * down) / (2.0 * slack);
        Ok(self.pause_area() / interval + (waiting + draining) / mtbf)
    }

    /// `mu c/(T (mu - lambda))`: the share of time in which a checkpoint's backlog is drained.
    /// The formulas hold while it is at most 0.15.
    pub fn pause_load(&self, interval: Seconds) -> f64 {
        let stream = self.outage.stream;
        stream.capacity() * self.cost.get() / (interval.get() * stream.slack())
    }

    /// The interval of the least mean backlog, in seconds: the root of `2 b2 T^3 + b1 T^2 = a`.
    ///
    /// # Errors
    /// No up-time.
    pub fn best_interval(&self) -> Result<f64, ModelError> {
        let (a, b1, b2) = self.coefficients()?;
        if a <= 0.0 {
            return Ok(0.0);
        }
        /// Each step of Newton's method doubles the digits, from a bound above the root.
        const STEPS_MAX: u32 = 100;
        let mut t = libm::cbrt(a / (2.0 * b2));
        if b1 > 0.0 {
            t = t.min(libm::sqrt(a / b1));
        }
        for _ in 0..STEPS_MAX {
            let next = t - ((2.0 * b2 * t + b1) * t * t - a) / ((6.0 * b2 * t + 2.0 * b1) * t);
            if (next - t).abs() <= f64::EPSILON * t {
                return Ok(next);
            }
            t = next;
        }
        Ok(t)
    }

    /// [`Self::best_interval`] for a long downtime: `sqrt(a/b1)`, in seconds; `None` where downtime
    /// and duration are zero.
    ///
    /// # Errors
    /// No up-time.
    pub fn best_interval_long_downtime(&self) -> Result<Option<f64>, ModelError> {
        let (a, b1, _) = self.coefficients()?;
        Ok((b1 > 0.0).then(|| libm::sqrt(a / b1)))
    }

    /// [`Self::best_interval`] without downtime and duration: `(1.5 (mu/lambda) c^2 M)^(1/3)`,
    /// seconds.
    pub fn best_interval_no_downtime(&self) -> f64 {
        let cost = self.cost.get();
        libm::cbrt(1.5 / self.outage.stream.load() * cost * cost * self.mtbf.get())
    }

    /// `a`: the area (record seconds) that one pause leaves, `lambda mu c^2/(2 (mu - lambda))`.
    fn pause_area(&self) -> f64 {
        let (stream, cost) = (self.outage.stream, self.cost.get());
        stream.rate() * stream.capacity() * cost * cost / (2.0 * stream.slack())
    }

    /// `a`, `b1` and `b2` of `J(T) = a/T + b1 T + b2 T^2 + const`.
    fn coefficients(&self) -> Result<(f64, f64, f64), ModelError> {
        let mtbf = positive("the mean time between failures", self.mtbf.get())?;
        let (stream, down) = (self.outage.stream, self.outage.downtime.get());
        let (rate, slack) = (stream.rate(), stream.slack());
        let late = self.duration.get() + down;
        let linear = (rate * down / 2.0 + rate * rate * late / (2.0 * slack)) / mtbf;
        Ok((self.pause_area(), linear, rate * rate / (6.0 * slack * mtbf)))
    }
}
