//! Virtual time in integer nanoseconds.
//!
//! A point and a span are different types: point plus span compiles, point plus point does not.
//! Arithmetic saturates: the end of virtual time (584 years) is a place, not a panic.

use std::fmt;
use std::ops::{Add, AddAssign, Mul, Sub};

use serde::{Deserialize, Serialize};

/// A point of virtual time, in nanoseconds since the start of the run.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct VirtualTime(pub u64);

/// A span of virtual time, in nanoseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct VirtualDuration(pub u64);

/// How far the wall clock of a host is ahead of its monotonic clock, in nanoseconds; negative: behind.
///
/// A process has two clocks. Flink: `Clock#relativeTimeNanos` (`System.nanoTime`), by which timers run,
/// never goes back; `Clock#absoluteTimeMillis` (`System.currentTimeMillis`) is compared with that of
/// other hosts, and is set by whoever keeps it right. Zero as long as nobody has set it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClockOffset(pub i64);

impl ClockOffset {
    /// The two clocks show the same.
    pub const NONE: Self = Self(0);
}

impl VirtualTime {
    /// The start of every run.
    pub const ZERO: Self = Self(0);
    /// The last representable instant; nothing happens there.
    pub const MAX: Self = Self(u64::MAX);

    /// The instant so many milliseconds after the start.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the start.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The span since `earlier`; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> VirtualDuration {
        VirtualDuration(self.0.saturating_sub(earlier.0))
    }
}

impl VirtualDuration {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// The longest span; used for "never" at the JSON edge only.
    pub const MAX: Self = Self(u64::MAX);

    /// So many nanoseconds.
    pub const fn from_nanos(ns: u64) -> Self {
        Self(ns)
    }

    /// So many microseconds.
    pub const fn from_micros(us: u64) -> Self {
        Self(us.saturating_mul(1_000))
    }

    /// So many milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }

    /// So many seconds.
    pub const fn from_secs(s: u64) -> Self {
        Self(s.saturating_mul(1_000_000_000))
    }

    /// The span in nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The span in whole milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Whether the span is empty.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// This span less `other`; zero if `other` is longer.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add<VirtualDuration> for VirtualTime {
    type Output = VirtualTime;
    #[inline]
    fn add(self, span: VirtualDuration) -> VirtualTime {
        VirtualTime(self.0.saturating_add(span.0))
    }
}

impl Add<ClockOffset> for VirtualTime {
    type Output = VirtualTime;
    #[inline]
    fn add(self, ahead: ClockOffset) -> VirtualTime {
        VirtualTime(self.0.saturating_add_signed(ahead.0))
    }
}

impl AddAssign<VirtualDuration> for VirtualTime {
    #[inline]
    fn add_assign(&mut self, span: VirtualDuration) {
        *self = *self + span;
    }
}

impl Sub<VirtualDuration> for VirtualTime {
    type Output = VirtualTime;
    #[inline]
    fn sub(self, span: VirtualDuration) -> VirtualTime {
        VirtualTime(self.0.saturating_sub(span.0))
    }
}

impl Add for VirtualDuration {
    type Output = VirtualDuration;
    #[inline]
    fn add(self, other: VirtualDuration) -> VirtualDuration {
        VirtualDuration(self.0.saturating_add(other.0))
    }
}

impl AddAssign for VirtualDuration {
    #[inline]
    fn add_assign(&mut self, other: VirtualDuration) {
        *self = *self + other;
    }
}

impl Mul<u64> for VirtualDuration {
    type Output = VirtualDuration;
    #[inline]
    fn mul(self, factor: u64) -> VirtualDuration {
        VirtualDuration(self.0.saturating_mul(factor))
    }
}

/// Milliseconds with the fraction that is there: `12 ms`, `12.5 ms`, `0.000001 ms`.
fn write_millis(ns: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (whole, rest) = (ns / 1_000_000, ns % 1_000_000);
    if rest == 0 {
        return write!(f, "{whole} ms");
    }
    let digits = format!("{rest:06}");
    write!(f, "{whole}.{} ms", digits.trim_end_matches('0'))
}

impl fmt::Display for VirtualTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_millis(self.0, f)
    }
}

impl fmt::Display for VirtualDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_millis(self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_print_only_the_digits_they_have() {
        for (ns, text) in
            [(0, "0 ms"), (12_000_000, "12 ms"), (12_500_000, "12.5 ms"), (1, "0.000001 ms")]
        {
            assert_eq!(VirtualDuration(ns).to_string(), text);
        }
    }

    #[test]
    fn the_end_of_time_is_a_place() {
        assert_eq!(VirtualTime::MAX + VirtualDuration(1), VirtualTime::MAX);
        assert_eq!(VirtualTime(3).since(VirtualTime(5)), VirtualDuration::ZERO);
    }
}
