//! How long a stream takes to catch up after a failure (fluid model).
//!
//! At the failure the source rewinds by `lambda A`; during the downtime `D` another `lambda D`
//! come in; afterwards the job drains at `mu - lambda`. In Flink's terms `D` is detection, cancelling,
//! back-off, deployment, and restoring (bytes over bandwidth).

use super::interval::some_complete;
use super::quantity::{not_negative, positive};
use super::{ModelError, Probability, Rate, Seconds};

/// A stream that can catch up: it gets less than it can process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stream {
    rate: f64,
    capacity: f64,
}

impl Stream {
    /// A stream of `rate` (`lambda`) into a job that can process `capacity` (`mu`), records/s.
    ///
    /// # Errors
    /// The rate is zero, or not below the capacity.
    pub fn new(rate: Rate, capacity: Rate) -> Result<Self, ModelError> {
        let (rate, capacity) = (positive("the rate", rate.get())?, capacity.get());
        if rate < capacity {
            Ok(Self { rate, capacity })
        } else {
            Err(ModelError::Saturated { rate, capacity })
        }
    }

    /// `lambda`, records/s.
    pub fn rate(self) -> f64 {
        self.rate
    }

    /// `mu`, records/s.
    pub fn capacity(self) -> f64 {
        self.capacity
    }

    /// `mu - lambda`: how fast a backlog shrinks, records/s.
    pub fn slack(self) -> f64 {
        self.capacity - self.rate
    }

    /// `rho = lambda/mu`.
    pub fn load(self) -> f64 {
        self.rate / self.capacity
    }
}

/// How old the restored snapshot is at a failure that strikes at a uniform instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Age {
    /// `T`: from trigger to trigger.
    pub interval: Seconds,
    /// `d`: from the trigger until the checkpoint can be restored.
    pub duration: Seconds,
}

impl Age {
    /// Mean age where a checkpoint fails with probability `p`: `T/2 + d + T p/(1 - p)`, in seconds.
    ///
    /// # Errors
    /// `p` is 1.
    pub fn mean(self, p: Probability) -> Result<f64, ModelError> {
        let (p, interval) = (some_complete(p)?, self.interval.get());
        Ok(interval / 2.0 + self.duration.get() + interval * p / (1.0 - p))
    }

    /// The age that a share `q` of failures stays below, no checkpoint failing: `q T + d`, seconds.
    pub fn quantile(self, q: Probability) -> f64 {
        q.get() * self.interval.get() + self.duration.get()
    }

    /// The worst age, no checkpoint failing: `T + d`, in seconds.
    pub fn worst(self) -> f64 {
        self.interval.get() + self.duration.get()
    }
}

/// A failure of a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outage {
    /// The stream.
    pub stream: Stream,
    /// `D`: from the failure until the job processes again.
    pub downtime: Seconds,
}

/// The pauses that checkpoints make while a restarted job drains its backlog.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pauses {
    /// `T`: the pauses begin at `T`, `2T`, ... after the restart. More than zero.
    pub interval: Seconds,
    /// `c`: how long processing stops each time.
    pub cost: Seconds,
}

impl Outage {
    /// From the failure until the stream has caught up, in seconds, at an age of so many seconds:
    /// `D + lambda (A + D)/(mu - lambda) = (mu D + lambda A)/(mu - lambda)`.
    pub fn recovery(&self, age: f64) -> f64 {
        let stream = self.stream;
        (stream.capacity * self.downtime.get() + stream.rate * age) / stream.slack()
    }

    /// Records that are processed a second time: `lambda A`; at-least-once shows them twice.
    pub fn replayed(&self, age: f64) -> f64 {
        self.stream.rate * age
    }

    /// Records that wait when processing starts again: `lambda (A + D)`.
    pub fn backlog(&self, age: f64) -> f64 {
        self.stream.rate * (age + self.downtime.get())
    }

    /// From the restart until the stream has caught up, in seconds: the backlog over the slack.
    pub fn catch_up(&self, age: f64) -> f64 {
        self.backlog(age) / self.stream.slack()
    }

    /// The longest interval (seconds) for which the worst recovery stays within a budget, drain
    /// pauses left out: `(R_max (mu - lambda) - mu D)/lambda - d`. Negative: no interval does.
    pub fn interval_for(&self, budget: Seconds, duration: Seconds) -> f64 {
        let Stream { rate, capacity } = self.stream;
        let spare = budget.get() * self.stream.slack() - capacity * self.downtime.get();
        spare / rate - duration.get()
    }

    /// [`Self::recovery`] with the pauses of the checkpoints that are taken while the job drains;
    /// `None` if it never catches up.
    ///
    /// The catch-up is `x = (B + mu c n)/(mu - lambda)` with the least `n >= 0` such that
    /// `x <= (n + 1) T`. It never ends if `mu (1 - c/T) <= lambda`, unless before the first pause.
    /// Source: own derivation, agrees with an event-driven fluid simulation.
    pub fn recovery_with_pauses(&self, age: f64, pauses: Pauses) -> Option<f64> {
        let (interval, cost) = (pauses.interval.get(), pauses.cost.get());
        let (stream, backlog) = (self.stream, self.backlog(age));
        let catch_up = |n: f64| (backlog + stream.capacity * cost * n) / stream.slack();
        let in_time = |n: f64| catch_up(n) <= (n + 1.0) * interval;
        let mut pauses = 0.0;
        if !in_time(pauses) {
            // What a period is longer than the time to drain what its pause has added.
            let gain = interval - stream.capacity * cost / stream.slack();
            if gain <= 0.0 {
                return None;
            }
            pauses = ((catch_up(0.0) - interval) / gain).ceil();
            // The division may have rounded to the wrong side of a whole number.
            while pauses > 0.0 && in_time(pauses - 1.0) {
                pauses -= 1.0;
            }
            if !in_time(pauses) {
                pauses += 1.0;
            }
        }
        Some(self.downtime.get() + catch_up(pauses))
    }

    /// The mean of [`Self::recovery_with_pauses`] over a uniform failure instant, in seconds;
    /// `None` if some failures are never caught up with. By the midpoint rule with 2,000 points.
    pub fn mean_recovery_with_pauses(&self, age: Age, pauses: Pauses) -> Option<f64> {
        const POINTS: u32 = 2_000;
        let mut sum = 0.0;
        for point in 0..POINTS {
            let phase = age.interval.get() * (f64::from(point) + 0.5) / f64::from(POINTS);
            sum += self.recovery_with_pauses(age.duration.get() + phase, pauses)?;
        }
        Some(sum / f64::from(POINTS))
    }

    /// The longest interval (seconds) of at least `shortest` for which the worst recovery stays
    /// within a budget, drain pauses of `cost` included; `None` if there is none.
    ///
    /// With `n` pauses that end in time, the interval is `I(n) = T_rec - mu c n/lambda`, and the
    /// budget after the downtime must be at most `(n + 1) I(n)`. The least such `n` is a root of a
    /// square.
    pub fn interval_for_with_pauses(
        &self,
        budget: Seconds,
        duration: Seconds,
        cost: Seconds,
        shortest: f64,
    ) -> Option<f64> {
        let drain = budget.get() - self.downtime.get();
        let unpaused = self.interval_for(budget, duration);
        let shorter = self.stream.capacity * cost.get() / self.stream.rate;
        let at = |n: f64| unpaused - shorter * n;
        let in_time = |n: f64| drain <= (n + 1.0) * at(n);
        let mut pauses = if shorter > 0.0 {
            // The smaller root of -shorter n^2 + (unpaused - shorter) n + unpaused - drain = 0.
            let half = (unpaused - shorter) / 2.0;
            let under = half * half + shorter * (unpaused - drain);
            if under < 0.0 {
                return None;
            }
            ((half - libm::sqrt(under)) / shorter).ceil().max(0.0)
        } else {
            0.0
        };
        if shorter > 0.0 {
            while pauses > 0.0 && in_time(pauses - 1.0) {
                pauses -= 1.0;
            }
            if !in_time(pauses) {
                pauses += 1.0;
            }
            if !in_time(pauses) {
                return None;
            }
        }
        Some(at(pauses)).filter(|interval| *interval >= shortest && *interval > 0.0)
    }
}

/// How far a run with single records scatters around the fluid catch-up time.
///
/// Arrivals are Poisson, and one server works. Source: moments of the busy period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CatchUpSpread {
    /// Mean in seconds, the fluid value: `B/(mu - lambda)`.
    pub mean: f64,
    /// Standard deviation in seconds, service exponential: `sqrt(B (lambda + mu)/(mu - lambda)^3)`.
    pub exponential_service: f64,
    /// Standard deviation in seconds, service constant: `sqrt(B lambda/(mu - lambda)^3)`.
    pub constant_service: f64,
}

impl CatchUpSpread {
    /// From a backlog of so many records.
    ///
    /// # Errors
    /// The backlog is negative, infinite or none.
    pub fn new(stream: Stream, backlog: f64) -> Result<Self, ModelError> {
        let backlog = not_negative("the backlog", backlog)?;
        let slack = stream.slack();
        let spread = |rate: f64| libm::sqrt(backlog * rate / slack) / slack;
        Ok(Self {
            mean: backlog / slack,
            exponential_service: spread(stream.rate + stream.capacity),
            constant_service: spread(stream.rate),
        })
    }
}

/// How long it takes to notice a lost worker that no failing call gives away: the heartbeat
/// `timeout - U(0, interval)`. Shortest, mean and longest, in seconds.
///
/// With Flink's defaults (`heartbeat.timeout` 50 s, `heartbeat.interval` 10 s): 40, 45, 50 s.
///
/// # Errors
/// The interval is longer than the timeout.
pub fn heartbeat_detection(timeout: Seconds, interval: Seconds) -> Result<[f64; 3], ModelError> {
    let (timeout, interval) = (timeout.get(), interval.get());
    if interval > timeout {
        let must = "at most the heartbeat timeout";
        return Err(ModelError::out_of_range("the heartbeat interval", interval, must));
    }
    Ok([timeout - interval, timeout - interval / 2.0, timeout])
}
