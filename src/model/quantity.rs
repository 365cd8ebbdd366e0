//! Numbers that a formula takes: checked once, when they are made.
//!
//! Arguments are typed, because a rate in the place of a duration would compile otherwise. Results
//! are plain numbers in the unit that their doc comment names.

use crate::time::VirtualDuration;

use super::ModelError;

const NANOS_PER_SECOND: f64 = 1e9;

/// A span in seconds: finite and not negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Seconds(f64);

/// So many records, messages or failures a second: finite and not negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Rate(f64);

/// A probability, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Probability(f64);

impl Seconds {
    /// No time at all.
    pub const ZERO: Self = Self(0.0);

    /// A span of so many seconds.
    ///
    /// # Errors
    /// The number is negative, infinite or none.
    pub fn new(seconds: f64) -> Result<Self, ModelError> {
        not_negative("a span of time", seconds).map(Self)
    }

    /// The number of seconds.
    pub fn get(self) -> f64 {
        self.0
    }

    /// The span in whole nanoseconds, rounded to the nearest; a longer one than virtual time can
    /// hold becomes the longest.
    ///
    /// The one place at which a model's float becomes a time that the protocol acts on.
    pub fn round(self) -> VirtualDuration {
        // A cast saturates.
        VirtualDuration::from_nanos(libm::round(self.0 * NANOS_PER_SECOND) as u64)
    }
}

impl From<VirtualDuration> for Seconds {
    fn from(span: VirtualDuration) -> Self {
        Self(span.as_nanos() as f64 / NANOS_PER_SECOND)
    }
}

impl Rate {
    /// So many a second.
    ///
    /// # Errors
    /// The number is negative, infinite or none.
    pub fn new(per_second: f64) -> Result<Self, ModelError> {
        not_negative("a rate", per_second).map(Self)
    }

    /// How many a second.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Probability {
    /// Never.
    pub const ZERO: Self = Self(0.0);

    /// A probability.
    ///
    /// # Errors
    /// The number is not in 0 to 1.
    pub fn new(probability: f64) -> Result<Self, ModelError> {
        if (0.0..=1.0).contains(&probability) {
            Ok(Self(probability))
        } else {
            Err(ModelError::out_of_range("a probability", probability, "from 0 to 1"))
        }
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// The number, if it is finite and at least zero.
pub(super) fn not_negative(name: &'static str, value: f64) -> Result<f64, ModelError> {
    if value >= 0.0 && value.is_finite() {
        Ok(value)
    } else {
        Err(ModelError::out_of_range(name, value, "a finite number of at least 0"))
    }
}

/// The number, if it is finite and more than zero.
pub(super) fn positive(name: &'static str, value: f64) -> Result<f64, ModelError> {
    if value > 0.0 && value.is_finite() {
        Ok(value)
    } else {
        Err(ModelError::out_of_range(name, value, "a finite number above 0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_quantity_is_refused() {
        for bad in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(Seconds::new(bad).is_err(), "{bad} s");
            assert!(Rate::new(bad).is_err(), "{bad}/s");
            assert!(Probability::new(bad).is_err(), "{bad}");
        }
        assert!(Probability::new(1.5).is_err());
    }

    #[test]
    fn nanoseconds_come_back() {
        for nanos in [0, 1, 1_500_000_000, 86_400_000_000_000] {
            let span = VirtualDuration::from_nanos(nanos);
            assert_eq!(Seconds::from(span).round(), span);
        }
        let endless = Seconds::new(1e300).expect("finite");
        assert_eq!(endless.round(), VirtualDuration::from_nanos(u64::MAX));
    }
}
