//! `S_storage = h(C_coordinator, data size, retention)`: bytes and requests.

use super::quantity::{not_negative, positive};
use super::{ModelError, Rate, Seconds};

/// A month of 30 days, in seconds.
const MONTH: f64 = 2_592_000.0;

/// The share of keys that `updates` hit, all keys being equal: `1 - exp(-updates/keys)`.
///
/// It saturates at 1, where an incremental snapshot is a full one. Within 1 % from 10,000 keys on
/// (Poisson for binomial).
///
/// # Errors
/// No keys, or fewer than no updates.
pub fn dirty_uniform(updates: f64, keys: f64) -> Result<f64, ModelError> {
    let keys = positive("the number of keys", keys)?;
    Ok(-libm::expm1(-not_negative("the number of updates", updates)? / keys))
}

/// The share of keys that `updates` hit, drawn from a Zipf law over `keys`:
/// `(1/K) sum (1 - exp(-m p_k))` with `p_k` proportional to `k^-exponent`.
///
/// Takes time in proportion to the keys.
///
/// # Errors
/// No keys, or a negative number.
pub fn dirty_zipf(updates: f64, keys: u64, exponent: f64) -> Result<f64, ModelError> {
    let count = positive("the number of keys", keys as f64)?;
    let updates = not_negative("the number of updates", updates)?;
    let exponent = not_negative("the exponent of the Zipf law", exponent)?;
    let weight = |key: u64| libm::pow(key as f64, -exponent);
    // The small ones first, which keeps their digits.
    let whole: f64 = (1..=keys).rev().map(weight).sum();
    let hit = |key| -libm::expm1(-updates * weight(key) / whole);
    Ok((1..=keys).rev().map(hit).sum::<f64>() / count)
}

/// The snapshots of a job that are kept. All in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retained {
    /// `n`: how many. Flink: `execution.checkpointing.num-retained`.
    pub snapshots: u64,
    /// `S`: state.
    pub state: f64,
    /// The metadata of each.
    pub metadata: f64,
    /// The persisted in-flight data of each.
    pub in_flight: f64,
}

impl Retained {
    /// How many snapshots are kept for `retention`, one being taken each `interval`:
    /// `floor(retention/T) + 1`.
    ///
    /// # Errors
    /// No interval.
    pub fn snapshots_for(retention: Seconds, interval: Seconds) -> Result<u64, ModelError> {
        let interval = positive("the interval", interval.get())?;
        Ok((retention.get() / interval).floor() as u64 + 1)
    }

    /// What each snapshot has besides its state.
    fn overhead(&self) -> f64 {
        self.metadata + self.in_flight
    }

    /// Full snapshots: `n (S + metadata + in flight)`.
    pub fn full(&self) -> f64 {
        self.snapshots as f64 * (self.state + self.overhead())
    }

    /// Incremental snapshots: `amp S + (n - 1) delta + n (metadata + in flight)`, where a share
    /// `dirty` of the state is written anew each time, and files hold `amplification` times the
    /// state.
    pub fn incremental(&self, dirty: f64, amplification: f64) -> f64 {
        let older = self.snapshots.saturating_sub(1) as f64;
        amplification * self.state
            + older * self.delta(dirty)
            + self.snapshots as f64 * self.overhead()
    }

    /// What an incremental snapshot writes of the state: `f S`.
    pub fn delta(&self, dirty: f64) -> f64 {
        self.state * dirty
    }

    /// Bytes a second that full snapshots upload.
    ///
    /// # Errors
    /// No interval.
    pub fn full_upload(&self, interval: Seconds) -> Result<f64, ModelError> {
        Ok((self.state + self.overhead()) / positive("the interval", interval.get())?)
    }

    /// Bytes a second that incremental snapshots upload.
    ///
    /// # Errors
    /// No interval.
    pub fn incremental_upload(&self, dirty: f64, interval: Seconds) -> Result<f64, ModelError> {
        let each = self.delta(dirty) + self.overhead();
        Ok(each / positive("the interval", interval.get())?)
    }
}

/// Bytes of a changelog snapshot: the last materialised state and the log since, `S + u b age`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Changelog {
    /// `S_mat`: the materialised state.
    pub materialized: f64,
    /// `u`: updates a second.
    pub updates: Rate,
    /// `b`: bytes of one change in the log.
    pub bytes_per_update: f64,
    /// From one materialisation to the next. Flink:
    /// `state.changelog.periodic-materialize.interval`.
    pub interval: Seconds,
    /// How long one takes.
    pub duration: Seconds,
}

impl Changelog {
    fn at(&self, age: f64) -> f64 {
        self.materialized + self.updates.get() * self.bytes_per_update * age
    }

    /// On average: the log is half an interval and one materialisation old.
    pub fn mean(&self) -> f64 {
        self.at(self.interval.get() / 2.0 + self.duration.get())
    }

    /// At most: just before the next materialisation is complete.
    pub fn worst(&self) -> f64 {
        self.at(self.interval.get() + self.duration.get())
    }
}

/// The requests of checkpoints to an object store, and what they cost. Prices and limits are
/// parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ObjectStore {
    /// Files that a checkpoint writes.
    pub files: f64,
    /// Prefixes that the store has split them over.
    pub prefixes: u64,
    /// Writes a second that one prefix takes; more are answered with 503. S3: 3,500.
    pub put_limit: Rate,
    /// Price of 1,000 writes.
    pub put_price: f64,
    /// Price of a gigabyte for a month.
    pub gigabyte_price: f64,
}

impl ObjectStore {
    /// Writes a second, spread over the interval.
    ///
    /// # Errors
    /// No interval.
    pub fn puts(&self, interval: Seconds) -> Result<f64, ModelError> {
        Ok(self.files / positive("the interval", interval.get())?)
    }

    /// Writes a second that all prefixes take.
    pub fn limit(&self) -> f64 {
        self.put_limit.get() * self.prefixes as f64
    }

    /// How long (seconds) the writes of one checkpoint take at the limit.
    ///
    /// # Errors
    /// The store takes no writes.
    pub fn burst(&self) -> Result<f64, ModelError> {
        Ok(self.files / positive("the writes that the store takes", self.limit())?)
    }

    /// Price of a month's writes.
    ///
    /// # Errors
    /// No interval.
    pub fn put_cost(&self, interval: Seconds) -> Result<f64, ModelError> {
        Ok(MONTH * self.puts(interval)? / 1_000.0 * self.put_price)
    }

    /// Price of keeping so many gigabytes for a month.
    pub fn storage_cost(&self, gigabytes: f64) -> f64 {
        gigabytes * self.gigabyte_price
    }

    /// The interval (seconds) at which writes cost as much as storage; below it they cost more.
    ///
    /// # Errors
    /// Storage costs nothing.
    pub fn break_even(&self, gigabytes: f64) -> Result<f64, ModelError> {
        let storage = positive("the price of the storage", self.storage_cost(gigabytes))?;
        Ok(MONTH * self.files / 1_000.0 * self.put_price / storage)
    }
}
