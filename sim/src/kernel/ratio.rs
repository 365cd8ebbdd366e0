//! Probabilities as ratios of integers.
//!
//! A fault happens with "1/500", not with 0.002: no float decides an event, and what the user wrote
//! is what a report prints.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A probability: `numerator` times in `denominator`, written `"1/500"`.
///
/// Between 0 and 1, both ends included. It is kept as it was written, so `1/2` and `2/4` differ as
/// values though they are equally likely, and they draw differently from a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ratio {
    numerator: u64,
    denominator: u64,
}

/// Why a text or a pair of numbers is no probability.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RatioError {
    /// The text is not two unsigned integers with a slash between them.
    #[error("\"{text}\" is no probability; write \"numerator/denominator\", such as \"1/500\"")]
    Malformed {
        /// What was given.
        text: String,
    },
    /// The denominator is zero.
    #[error("{numerator}/0 is no probability: the denominator must be at least 1")]
    ZeroDenominator {
        /// The numerator that was given.
        numerator: u64,
    },
    /// The ratio is above one.
    #[error("{numerator}/{denominator} is no probability: it is above 1")]
    AboveOne {
        /// The numerator that was given.
        numerator: u64,
        /// The denominator that was given.
        denominator: u64,
    },
}

impl Ratio {
    /// Never.
    pub const ZERO: Self = Self::new(0, 1);
    /// Always.
    pub const ONE: Self = Self::new(1, 1);

    /// The probability of `numerator` in `denominator`, for numbers known to the programmer.
    ///
    /// # Panics
    ///
    /// If the denominator is zero or the numerator is above it. [`try_new`](Self::try_new) is for
    /// numbers that a user gave.
    pub const fn new(numerator: u64, denominator: u64) -> Self {
        assert!(denominator > 0, "a probability has a denominator");
        assert!(numerator <= denominator, "a probability is at most 1");
        Self { numerator, denominator }
    }

    /// The probability of `numerator` in `denominator`.
    ///
    /// # Errors
    ///
    /// If the denominator is zero or the numerator is above it.
    pub const fn try_new(numerator: u64, denominator: u64) -> Result<Self, RatioError> {
        if denominator == 0 {
            return Err(RatioError::ZeroDenominator { numerator });
        }
        if numerator > denominator {
            return Err(RatioError::AboveOne { numerator, denominator });
        }
        Ok(Self::new(numerator, denominator))
    }

    /// How many times.
    pub const fn numerator(self) -> u64 {
        self.numerator
    }

    /// In how many; at least 1.
    pub const fn denominator(self) -> u64 {
        self.denominator
    }

    /// Whether this never happens.
    pub const fn is_zero(self) -> bool {
        self.numerator == 0
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.numerator, self.denominator)
    }
}

impl FromStr for Ratio {
    type Err = RatioError;

    fn from_str(text: &str) -> Result<Self, RatioError> {
        let malformed = || RatioError::Malformed { text: text.into() };
        let number = |part: &str| {
            // The standard parser takes a sign; "+1/2" would then not print as it was written.
            let digits = part.bytes().all(|byte| byte.is_ascii_digit());
            let parsed = part.parse::<u64>().ok();
            parsed.filter(|_| digits).ok_or_else(malformed)
        };
        let (numerator, denominator) = text.split_once('/').ok_or_else(malformed)?;
        Self::try_new(number(numerator)?, number(denominator)?)
    }
}

impl TryFrom<String> for Ratio {
    type Error = RatioError;

    fn try_from(text: String) -> Result<Self, RatioError> {
        text.parse()
    }
}

impl From<Ratio> for String {
    fn from(ratio: Ratio) -> Self {
        ratio.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let rows = [
            ("some", "1/500", "1/500"),
            ("never", "0/7", "0/7"),
            ("always", "7/7", "7/7"),
            ("largest", "1/18446744073709551615", "1/18446744073709551615"),
            (
                "decimal",
                "0.002",
                "\"0.002\" is no probability; write \"numerator/denominator\", such as \"1/500\"",
            ),
            (
                "sign",
                "+1/2",
                "\"+1/2\" is no probability; write \"numerator/denominator\", such as \"1/500\"",
            ),
            (
                "half of it",
                "1/",
                "\"1/\" is no probability; write \"numerator/denominator\", such as \"1/500\"",
            ),
            (
                "too large",
                "1/18446744073709551616",
                "\"1/18446744073709551616\" is no probability; \
                 write \"numerator/denominator\", such as \"1/500\"",
            ),
            (
                "nothing of nothing",
                "0/0",
                "0/0 is no probability: the denominator must be at least 1",
            ),
            ("above one", "3/2", "3/2 is no probability: it is above 1"),
        ];
        for (name, text, expected) in rows {
            let shown = match text.parse::<Ratio>() {
                Ok(ratio) => ratio.to_string(),
                Err(error) => error.to_string(),
            };
            assert_eq!(shown, expected, "{name}");
        }
    }

    #[test]
    fn json_holds_the_text() {
        let ratio = Ratio::new(1, 500);
        let json = serde_json::to_string(&ratio).expect("a string serialises");
        assert_eq!(json, "\"1/500\"");
        assert_eq!(serde_json::from_str::<Ratio>(&json).ok(), Some(ratio));
        let error = serde_json::from_str::<Ratio>("\"2/1\"").expect_err("2 is above 1");
        assert!(error.to_string().contains("it is above 1"), "{error}");
    }
}
