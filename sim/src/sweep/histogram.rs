//! Durations, counted in buckets that are at most 1/128 wide relative to what they hold.
//!
//! Concept: a high-dynamic-range histogram. Quantiles are exact to 0.4 %, the sum and the maximum
//! are exact, and adding costs a shift and two additions.

use cutline::time::VirtualDuration;

/// Bits of a value that choose its bucket, besides the position of its highest bit.
const BITS: u32 = 7;
const FINE: u64 = 1 << BITS;

/// A multiset of durations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    total: u128,
    max: u64,
}

impl Histogram {
    /// Adds a duration so many times.
    #[inline]
    pub fn add(&mut self, span: VirtualDuration, times: u64) {
        let index = bucket(span.0);
        if index >= self.buckets.len() {
            self.buckets.resize(index + 1, 0);
        }
        self.buckets[index] += times;
        self.count += times;
        self.total += u128::from(span.0) * u128::from(times);
        self.max = self.max.max(span.0);
    }

    /// Bucket by bucket and sum by sum, what `f` makes of this one and another; the longest of
    /// both.
    pub(crate) fn zip(&self, other: &Self, f: impl Fn(u128, u128) -> u128) -> Self {
        let at = |buckets: &[u64], index| u128::from(buckets.get(index).copied().unwrap_or(0));
        let narrow = |value: u128| u64::try_from(value).unwrap_or(u64::MAX);
        let (mine, others) = (&self.buckets, &other.buckets);
        let buckets: Vec<u64> = (0..mine.len().max(others.len()))
            .map(|index| narrow(f(at(mine, index), at(others, index))))
            .collect();
        Self {
            // Not `f` of the counts: what is rounded by bucket must add up.
            count: buckets.iter().sum(),
            buckets,
            total: f(self.total, other.total),
            max: self.max.max(other.max),
        }
    }

    /// How many durations.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The mean in seconds; `None` of nothing.
    pub fn mean_s(&self) -> Option<f64> {
        (self.count > 0).then(|| self.total as f64 / self.count as f64 / 1e9)
    }

    /// The longest in seconds; `None` of nothing.
    pub fn max_s(&self) -> Option<f64> {
        (self.count > 0).then(|| self.max as f64 / 1e9)
    }

    /// The smallest duration, in seconds, that at least this share (in thousandths) is not above;
    /// the middle of its bucket. `None` of nothing.
    pub fn quantile_s(&self, permille: u32) -> Option<f64> {
        let rank = (u128::from(self.count) * u128::from(permille)).div_ceil(1_000).max(1);
        let mut below = 0_u128;
        for (index, count) in self.buckets.iter().enumerate() {
            below += u128::from(*count);
            if below >= rank {
                return Some(middle(index).min(self.max) as f64 / 1e9);
            }
        }
        None
    }
}

#[inline]
fn bucket(value: u64) -> usize {
    if value < FINE {
        return value as usize;
    }
    let shift = 63 - value.leading_zeros() - BITS;
    (FINE * u64::from(shift) + (value >> shift)) as usize
}

fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < FINE {
        return bucket;
    }
    let shift = bucket / FINE - 1;
    let low = (bucket - FINE * shift) << shift;
    low + ((1 << shift) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_narrow_and_in_order() {
        let mut last = 0;
        for value in (0..200_000).chain([1 << 40, (1 << 40) + 12_345, u64::MAX / 3, u64::MAX]) {
            let index = bucket(value);
            assert!(index >= last, "{value}");
            last = index;
            let off = middle(index).abs_diff(value);
            assert!(off <= value / FINE, "{value} is in the bucket of {}", middle(index));
        }
    }

    #[test]
    fn quantiles_of_a_thousand() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile_s(500), None);
        for ms in 1..=1_000 {
            histogram.add(VirtualDuration::from_millis(ms), 1);
        }
        for (permille, expected) in [(1, 0.001), (500, 0.5), (990, 0.99), (1_000, 1.0)] {
            let found = histogram.quantile_s(permille).expect("there are a thousand");
            assert!((found - expected).abs() <= expected * 0.004, "{permille}: {found}");
        }
        assert_eq!(histogram.mean_s(), Some(0.5005));
        assert_eq!(histogram.max_s(), Some(1.0));
    }
}
