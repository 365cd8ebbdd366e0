//! The interval that leaves a job most of its capacity, failures being exponential.
//!
//! Valid while failures are Poisson, one of them stops the whole job, saved state is never lost,
//! and a restarted job begins with a full interval. A job of `n` independent nodes has
//! `M = M_node / n`. Neither restart time, latency nor downtime moves the optimum.

use super::numeric::{bisect, excess, excess_from};
use super::quantity::positive;
use super::{ModelError, Probability, Seconds};

/// What a checkpoint costs, and how often the job fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wear {
    /// `C`: processing time that one checkpoint takes away (synchronous part, alignment stall,
    /// slow-down). More than zero.
    pub cost: Seconds,
    /// `M`: mean up-time between two failures of the whole job. More than zero.
    pub mtbf: Seconds,
}

impl Wear {
    /// A cost and a mean time between failures.
    ///
    /// # Errors
    /// One of them is zero.
    pub fn new(cost: Seconds, mtbf: Seconds) -> Result<Self, ModelError> {
        positive("the cost of a checkpoint", cost.get())?;
        positive("the mean time between failures", mtbf.get())?;
        Ok(Self { cost, mtbf })
    }

    /// `C/M`, what the shape of the problem depends on.
    fn ratio(self) -> f64 {
        self.cost.get() / self.mtbf.get()
    }

    /// Young's interval `sqrt(2 C M)`, in seconds from trigger to trigger.
    ///
    /// First order: short by a share of `sqrt(C/(2M))/3`. Source: Young, CACM 1974.
    pub fn young(self) -> f64 {
        libm::sqrt(2.0 * self.cost.get() * self.mtbf.get())
    }

    /// Daly's first work between checkpoints `tau = sqrt(2 C (M + R)) - C`, in seconds; negative
    /// where a checkpoint costs more than it may. Source: Daly, ICCS 2003.
    pub fn daly_first(self, restart: Seconds) -> f64 {
        let (cost, mtbf) = (self.cost.get(), self.mtbf.get());
        libm::sqrt(2.0 * cost * (mtbf + restart.get())) - cost
    }

    /// Daly's work between checkpoints of higher order, in seconds: with `x = sqrt(C/(2M))`,
    /// `tau = sqrt(2CM) (1 + x/3 + x^2/9) - C` for `C < 2M`, else `M`. Source: Daly, FGCS 2006.
    pub fn daly_higher(self) -> f64 {
        if self.ratio() < 2.0 { self.daly_period() - self.cost.get() } else { self.mtbf.get() }
    }

    fn daly_period(self) -> f64 {
        let x = libm::sqrt(self.ratio() / 2.0);
        self.young() * (1.0 + x / 3.0 + x * x / 9.0)
    }

    /// The exact optimum `T`, in seconds from trigger to trigger.
    ///
    /// It minimises `(exp((tau + C)/M) - 1)/tau`, which gives
    /// `tau = M (1 + W0(-exp(-1 - C/M)))`. That form loses digits for small `C/M`, so
    /// `x + exp(-x) - 1 = C/M` is solved for `x = T/M` by Newton's method.
    pub fn exact(self) -> f64 {
        self.mtbf.get() * exact_period(self.ratio())
    }

    /// `tau` of the exact optimum, in seconds of work between checkpoints.
    pub fn exact_work(self) -> f64 {
        self.exact() - self.cost.get()
    }

    /// The exact optimum where every checkpoint fails with probability `p`, its cost being paid all
    /// the same; in seconds from trigger to trigger. It shrinks as `p` grows.
    ///
    /// The root `x = T/M > C/M` of
    /// `1/(x - C/M) = 1/(1 - exp(-x)) + p exp(-x)/(1 - p exp(-x))`. Source: own derivation.
    ///
    /// # Errors
    /// `p` is 1: nothing is ever saved.
    pub fn exact_with_failing_checkpoints(self, p: Probability) -> Result<f64, ModelError> {
        let p = some_complete(p)?;
        let ratio = self.ratio();
        // The equation times its denominators, arranged so that nothing cancels.
        let rising = |x: f64| {
            let (kept, lost) = (libm::exp(-x), -libm::expm1(-x));
            p * kept * lost * lost + (excess(x) - ratio) * (1.0 - p * kept * kept)
        };
        Ok(self.mtbf.get() * bisect(ratio, exact_period(ratio), rising))
    }

    /// First order of the same: `sqrt(2 C M (1 - p)/(1 + p))`, in seconds.
    pub fn young_with_failing_checkpoints(self, p: Probability) -> f64 {
        self.young() * libm::sqrt((1.0 - p.get()) / (1.0 + p.get()))
    }

    /// The share by which Young's interval is off the exact one; negative: too short.
    pub fn young_error(self) -> f64 {
        self.young() / self.exact() - 1.0
    }

    /// The share by which Daly's interval (higher order) is off the exact one.
    pub fn daly_error(self) -> f64 {
        /// Below this share of the mean time between failures, the two agree to so many digits that
        /// their difference is taken from the equation they solve instead.
        const SMALL: f64 = 0.03;
        let exact = exact_period(self.ratio());
        let young = libm::sqrt(2.0 * self.ratio());
        if young >= SMALL {
            return (self.daly_higher() + self.cost.get()) / self.exact() - 1.0;
        }
        let more = young / 6.0 + young * young / 36.0;
        let daly = young * (1.0 + more);
        // What is left of `daly + exp(-daly) - 1 = C/M`, without the leading terms, which cancel.
        let left = young * young * more * (1.0 + more / 2.0) + excess_from(daly, 3);
        left / (-libm::expm1(-daly) * exact)
    }

    /// The share of time lost to checkpoints and repeated work at an interval `T`, recovery itself
    /// not counted: `1 - (T - C)/M / (exp(T/M) - 1)`.
    ///
    /// # Errors
    /// The interval is not longer than the cost.
    pub fn waste(self, interval: f64) -> Result<f64, ModelError> {
        let (cost, mtbf) = (self.cost.get(), self.mtbf.get());
        positive("the interval", interval)?;
        if interval <= cost {
            return Err(ModelError::NoWorkLeft { cost, interval });
        }
        Ok(1.0 - (interval - cost) / mtbf / libm::expm1(interval / mtbf))
    }

    /// First order of the least waste: `sqrt(2C/M)`.
    pub fn first_order_waste(self) -> f64 {
        libm::sqrt(2.0 * self.ratio())
    }

    /// The shortest and the longest interval (seconds) whose waste is at most `1 + more` times the
    /// least one. To first order, `k` times the best interval wastes `(k + 1/k)/2` times as much:
    /// a factor 2 costs a quarter, so that the region is wide. It has no end, the longest interval
    /// being infinite, if all time may be wasted.
    ///
    /// # Errors
    /// `more` is negative, infinite or none.
    pub fn flat_region(self, more: f64) -> Result<(f64, f64), ModelError> {
        super::quantity::not_negative("the waste to put up with", more)?;
        let best = self.exact();
        let most = self.waste(best)? * (1.0 + more);
        let beyond = |interval: f64| self.waste(interval).map_or(1.0 - most, |waste| waste - most);
        let shortest = bisect(self.cost.get(), best, |interval| -beyond(interval));
        if most >= 1.0 {
            return Ok((shortest, f64::INFINITY));
        }
        let mut far = best * 2.0;
        while beyond(far) < 0.0 {
            far *= 2.0;
        }
        Ok((shortest, bisect(best, far, beyond)))
    }
}

/// `x` of `x + exp(-x) - 1 = a`, for `a > 0`.
fn exact_period(a: f64) -> f64 {
    /// Newton's method converges from the first-order guess in four or five steps.
    const STEPS_MAX: u32 = 60;
    let mut x = libm::sqrt(2.0 * a) + a / 3.0;
    for _ in 0..STEPS_MAX {
        let next = x - (excess(x) - a) / -libm::expm1(-x);
        if (next - x).abs() <= f64::EPSILON * x {
            return next;
        }
        x = next;
    }
    x
}

/// The probability, unless no checkpoint ever completes.
pub(super) fn some_complete(p: Probability) -> Result<f64, ModelError> {
    if p.get() < 1.0 {
        Ok(p.get())
    } else {
        let must = "below 1, or no checkpoint ever completes";
        Err(ModelError::out_of_range("the probability that a checkpoint fails", p.get(), must))
    }
}
