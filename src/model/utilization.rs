//! The share of time that is useful work, failures being exponential; and the highest rate that a
//! stream sustains.

use super::interval::some_complete;
use super::quantity::positive;
use super::{ModelError, Probability, Rate, Seconds};

/// A job that checkpoints periodically and fails with exponential up-times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Periodic {
    /// `tau`: useful work between two checkpoints. More than zero.
    pub work: Seconds,
    /// `C`: processing time that a checkpoint takes away.
    pub cost: Seconds,
    /// `L`: from the trigger until the checkpoint can be restored; at least the cost.
    pub latency: Seconds,
    /// `M`: mean up-time between failures. More than zero.
    pub mtbf: Seconds,
    /// `R`: restart, in which a failure may strike if `failure_free_recovery` is not set.
    pub restart: Seconds,
    /// `D`: downtime, in which no failure strikes.
    pub downtime: Seconds,
    /// Whether no failure strikes during the restart either.
    pub failure_free_recovery: bool,
}

/// What a finite job is expected to take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Completion {
    /// Seconds for one segment of work with its checkpoint.
    pub segment: f64,
    /// Seconds for all the work.
    pub time: f64,
    /// `time` over the work.
    pub slowdown: f64,
    /// Failures on the way.
    pub failures: f64,
}

impl Periodic {
    /// `U`, the useful share of time.
    ///
    /// `(tau/M) exp(-(R + L - C)/M) / ((1 + D/M)(exp((tau + C)/M) - 1))`, and if recovery cannot
    /// fail, `(tau/M) exp(-(L - C)/M) / ((1 + (R + D)/M)(exp((tau + C)/M) - 1))`. Source: Vaidya
    /// 1997 (latency), Bougeret et al. 2011 (downtime); re-derived.
    ///
    /// # Errors
    /// No work or no up-time, or a checkpoint that is complete before it is paid.
    pub fn useful_share(&self) -> Result<f64, ModelError> {
        let (work, mtbf) = self.checked()?;
        let (latency, restart) = (self.latency.get() - self.cost.get(), self.restart.get());
        let (risky, safe) =
            if self.failure_free_recovery { (latency, restart) } else { (restart + latency, 0.0) };
        let down = 1.0 + (safe + self.downtime.get()) / mtbf;
        Ok(work / mtbf * libm::exp(-risky / mtbf) / (down * self.growth(mtbf)))
    }

    /// First order of `1 - U`: `C/T + (T/2 + L - C + R + D)/M`, for `C`, `T`, `R` far below `M`.
    ///
    /// # Errors
    /// As [`Self::useful_share`].
    pub fn first_order_waste(&self) -> Result<f64, ModelError> {
        let (work, mtbf) = self.checked()?;
        let cost = self.cost.get();
        let period = work + cost;
        let lost = period / 2.0 + self.latency.get() - cost;
        Ok(cost / period + (lost + self.restart.get() + self.downtime.get()) / mtbf)
    }

    /// `U` where every checkpoint fails with probability `p`, its cost being paid all the same:
    /// `U (1 - p)/(1 - p exp(-T/M))`. Source: own derivation.
    ///
    /// # Errors
    /// As [`Self::useful_share`]; `p` is 1.
    pub fn useful_share_with_failing_checkpoints(&self, p: Probability) -> Result<f64, ModelError> {
        let (work, mtbf) = self.checked()?;
        let p = some_complete(p)?;
        let survived = libm::exp(-(work + self.cost.get()) / mtbf);
        Ok(self.useful_share()? * (1.0 - p) / (1.0 - p * survived))
    }

    /// `U` where the timer after a restart starts with a delay that is uniform on `[0, T]` (Flink:
    /// on `[min_pause, T]`) instead of a full interval. The difference stays below 1e-3 up to
    /// `T/M = 1/6`. Recovery may fail; no downtime.
    ///
    /// `exp(-(R + L)/M)/M (I1 + (T - c) I0 g/(1 - g))` with `g = exp(-T/M)`,
    /// `I0 = (1 - g) M/T`, `I1 = (1 - g (1 + T/M)) M^2/T`. Source: own derivation.
    ///
    /// # Errors
    /// As [`Self::useful_share`].
    pub fn useful_share_with_random_first_delay(&self) -> Result<f64, ModelError> {
        let (work, mtbf) = self.checked()?;
        let period = work + self.cost.get();
        let x = period / mtbf;
        let survived = libm::exp(-x);
        let died = -libm::expm1(-x);
        // `I0/(1 - g)` is M/T: what is left of the second term has no small difference in it.
        let first = (died - x * survived) / x;
        let others = work / mtbf * survived / x;
        let through = libm::exp(-(self.restart.get() + self.latency.get()) / mtbf);
        Ok(through * (first + others))
    }

    /// What a job of so much work is expected to take; the failure may strike in the restart.
    ///
    /// `E[time] = (W/tau)(M + D) exp(R/M)(exp((tau + C)/M) - 1)`. The latency does not enter: a
    /// finite job writes its checkpoints before it goes on. Source: Daly 2006 without the correction
    /// for the last dump; Bougeret et al. 2011.
    ///
    /// # Errors
    /// As [`Self::useful_share`].
    pub fn completion(&self, work: Seconds) -> Result<Completion, ModelError> {
        let (segment_work, mtbf) = self.checked()?;
        let segments = positive("the work", work.get())? / segment_work;
        let failures = libm::exp(self.restart.get() / mtbf) * self.growth(mtbf);
        let segment = (mtbf + self.downtime.get()) * failures;
        Ok(Completion {
            segment,
            time: segments * segment,
            slowdown: segment / segment_work,
            failures: segments * failures,
        })
    }

    /// `exp((tau + C)/M) - 1`.
    fn growth(&self, mtbf: f64) -> f64 {
        libm::expm1((self.work.get() + self.cost.get()) / mtbf)
    }

    fn checked(&self) -> Result<(f64, f64), ModelError> {
        let (cost, latency) = (self.cost.get(), self.latency.get());
        if latency < cost {
            return Err(ModelError::CheaperThanFree { cost, latency });
        }
        let work = positive("the work between checkpoints", self.work.get())?;
        Ok((work, positive("the mean time between failures", self.mtbf.get())?))
    }
}

/// The job of [`Periodic`] as a stream: interval from trigger to trigger, barriers that take their
/// time through the operators.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pipeline {
    /// `T`: from trigger to trigger, the cost included.
    pub interval: Seconds,
    /// `c`: processing time that a checkpoint takes away.
    pub cost: Seconds,
    /// `n`: operators that a barrier passes. At least one.
    pub depth: u64,
    /// `delta`: how long the barrier takes for one hop.
    pub hop: Seconds,
    /// `M`: mean up-time between failures.
    pub mtbf: Seconds,
    /// `R`: detection and restart, in which a failure may strike.
    pub restart: Seconds,
}

impl Pipeline {
    /// `U = lambda_f (T - c) exp(-lambda_f (R + (n - 1) delta))/(exp(lambda_f T) - 1)`, which is
    /// [`Periodic::useful_share`] with `L = c + (n - 1) delta`. Source: re-derived after
    /// Jayasekara, Harwood, Karunasekera, FGCS 2020.
    ///
    /// # Errors
    /// The interval is not longer than the cost; no operators; no up-time.
    pub fn useful_share(&self) -> Result<f64, ModelError> {
        let hops = positive("the depth", self.depth as f64)? - 1.0;
        let latency = self.cost.get() + hops * self.hop.get();
        let job = Periodic {
            work: work_of(self.interval, self.cost)?,
            cost: self.cost,
            latency: Seconds::new(latency)?,
            mtbf: self.mtbf,
            restart: self.restart,
            downtime: Seconds::ZERO,
            failure_free_recovery: false,
        };
        job.useful_share()
    }
}

/// `tau = T - c`.
///
/// # Errors
/// The interval is not longer than the cost.
pub fn work_of(interval: Seconds, cost: Seconds) -> Result<Seconds, ModelError> {
    let work = interval.get() - cost.get();
    if work > 0.0 {
        Seconds::new(work)
    } else {
        Err(ModelError::NoWorkLeft { cost: cost.get(), interval: interval.get() })
    }
}

/// The highest rate (records/s) at which the backlog of a stream has no drift: `mu U`.
pub fn sustainable_rate(capacity: Rate, useful_share: f64) -> f64 {
    capacity.get() * useful_share
}
