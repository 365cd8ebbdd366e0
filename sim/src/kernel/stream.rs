//! Named streams of random numbers.
//!
//! A stream answers one question about one entity: the latency of `map[1]->sink[0]`, the crashes of
//! `host-2`. It is named by a *concern* and an *entity*, and what it yields depends on these two and
//! the seed of the run alone. To drop a channel or a fault leaves every other stream as it was,
//! which is what makes shrinking converge.
//!
//! # Frozen
//!
//! Old seeds keep their meaning, so nothing in this file may change what a stream yields; the
//! golden tests below say when it does. In particular:
//!
//! - The 32-byte key of a stream is the seed (8 bytes), `xxh3_64` of the concern (8 bytes) and
//!   `xxh3_128` of the entity (16 bytes), both over UTF-8 with seed 0, all little-endian. The two are
//!   hashed apart, so no pair of names runs into another.
//! - The words are those of ChaCha with 8 rounds under that key, nonce 0, block counter from 0, two
//!   32-bit outputs to a word, the low half first.
//! - Words become numbers as each method documents, by functions of our own: those of `rand` have
//!   changed between releases.
//! - **A question with one possible answer draws nothing**: a choice of one, a chance of `0/n` or
//!   `n/n`, a constant.
//!
//! Floats appear in [`Stream::exponential`] and its kin alone. They are computed by `libm`, the same on
//! all platforms, and rounded to nanoseconds at one place.

use cutline::time::VirtualDuration;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::ratio::Ratio;

/// The source of all named streams of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    /// The seed of the run.
    pub seed: u64,
}

impl Streams {
    /// The stream of a concern (`"latency"`) and an entity (`"map[1]->sink[0]"`), at its beginning.
    ///
    /// Name the entity by a stable path, not by a dense index that shrinking renumbers. To call this
    /// twice with the same names gives the same numbers twice. It costs two short hashes and
    /// allocates nothing: the generator is made when first drawn from.
    pub fn stream(&self, concern: &str, entity: &str) -> Stream {
        Stream {
            state: State::Named {
                seed: self.seed,
                concern: xxh3_64(concern.as_bytes()),
                entity: xxh3_128(entity.as_bytes()).to_le_bytes(),
            },
        }
    }
}

/// One stream of random numbers.
///
/// A clone continues from the same place and yields the same numbers.
#[derive(Clone, Debug)]
pub struct Stream {
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// Not drawn from yet, as most streams of a world never are.
    Named { seed: u64, concern: u64, entity: [u8; 16] },
    /// A generator with its block takes several times the memory of the names, so it is boxed; and
    /// some of its words lie here, so that most draws don't look for it.
    Drawn { generator: Box<ChaCha8Rng>, ahead: [u64; AHEAD], left: u32 },
}

/// With so many words in place, a stream is no larger than with its names.
const AHEAD: usize = 3;

impl Stream {
    /// The next 64 random bits.
    #[inline]
    pub fn word(&mut self) -> u64 {
        match &mut self.state {
            State::Drawn { ahead, left, .. } if *left > 0 => {
                *left -= 1;
                ahead[*left as usize]
            }
            State::Drawn { .. } | State::Named { .. } => self.refill(),
        }
    }

    /// The next word, and those behind it, to be taken from the last one on.
    #[inline(never)]
    fn refill(&mut self) -> u64 {
        if let State::Named { seed, concern, entity } = self.state {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&seed.to_le_bytes());
            key[8..16].copy_from_slice(&concern.to_le_bytes());
            key[16..].copy_from_slice(&entity);
            let generator = Box::new(ChaCha8Rng::from_seed(key));
            self.state = State::Drawn { generator, ahead: [0; AHEAD], left: 0 };
        }
        let State::Drawn { generator, ahead, left } = &mut self.state else {
            unreachable!("it has just been made");
        };
        let word = generator.next_u64();
        ahead.iter_mut().rev().for_each(|ahead| *ahead = generator.next_u64());
        *left = AHEAD as u32;
        word
    }

    /// A number below `n`, each equally likely.
    ///
    /// Lemire's method: the high half of `word * n`, the word drawn anew while the low half is below
    /// `2^64 mod n`. Draws one word, rarely more; none if `n` is 1.
    ///
    /// # Panics
    ///
    /// If `n` is 0: no number is below it.
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "no number is below 0");
        if n == 1 {
            return 0;
        }
        let mut product = u128::from(self.word()) * u128::from(n);
        // The remainder is below n, so the division is needed only here.
        if (product as u64) < n {
            let uneven = n.wrapping_neg() % n;
            while (product as u64) < uneven {
                product = u128::from(self.word()) * u128::from(n);
            }
        }
        (product >> 64) as u64
    }

    /// A number from `low` to `high`, both included, each equally likely.
    ///
    /// `low + below(high - low + 1)`; the word as it is if that is all numbers.
    ///
    /// # Panics
    ///
    /// If `low` is above `high`.
    #[inline]
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "no number is between {low} and {high}");
        match (high - low).checked_add(1) {
            Some(count) => low + self.below(count),
            None => self.word(),
        }
    }

    /// Whether something of this probability happens: `below(denominator) < numerator`.
    ///
    /// Draws nothing if it never or always does.
    #[inline]
    pub fn chance(&mut self, probability: Ratio) -> bool {
        let (numerator, denominator) = (probability.numerator(), probability.denominator());
        if numerator == 0 || numerator == denominator {
            return numerator > 0;
        }
        self.below(denominator) < numerator
    }

    /// One of `items`, each equally likely: that at `below(len)`. None if there are none.
    #[inline]
    pub fn choice<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() {
            return None;
        }
        Some(&items[self.below(items.len() as u64) as usize])
    }

    /// Puts `items` in a random order, each equally likely.
    ///
    /// Fisher and Yates: from the last place down to the second, swap with the place
    /// `below(place + 1)`, places from 0.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for place in (1..items.len()).rev() {
            let other = self.below(place as u64 + 1) as usize;
            items.swap(place, other);
        }
    }

    /// A number in (0, 1], a multiple of 2^-53: the upper 53 bits of a word, plus one.
    #[inline]
    fn unit(&mut self) -> f64 {
        const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
        ((self.word() >> 11) + 1) as f64 * STEP
    }

    /// A span with exponential distribution, as between events that know nothing of each other.
    ///
    /// `-ln(unit) * mean` with one word; at most 37 times the mean. Draws nothing if the mean is
    /// zero.
    #[inline]
    pub fn exponential(&mut self, mean: VirtualDuration) -> VirtualDuration {
        if mean.is_zero() {
            return mean;
        }
        nanos(-libm::log(self.unit()) * mean.0 as f64)
    }

    /// A span with Weibull distribution, by its mean and shape; shape 1 is the exponential one, to
    /// the nanosecond.
    ///
    /// `(-ln(unit))^(1/shape) * mean / gamma(1 + 1/shape)` with one word. Draws nothing if the mean
    /// is zero.
    ///
    /// # Panics
    ///
    /// If `shape` is no positive finite number.
    pub fn weibull(&mut self, mean: VirtualDuration, shape: f64) -> VirtualDuration {
        assert!(shape.is_finite() && shape > 0.0, "a shape is above 0, but it is {shape}");
        if shape == 1.0 {
            return self.exponential(mean);
        }
        if mean.is_zero() {
            return mean;
        }
        let scale = mean.0 as f64 / libm::tgamma(1.0 + 1.0 / shape);
        nanos(libm::pow(-libm::log(self.unit()), 1.0 / shape) * scale)
    }

    /// A number of the standard normal distribution.
    ///
    /// Box and Muller: `sqrt(-2 ln(unit)) * cos(2 pi unit)`. Two words, in this order; the sine,
    /// which would give a second number, is not used, so that a stream has no memory but its place.
    #[inline]
    fn standard_normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(self.unit()));
        radius * libm::cos(std::f64::consts::TAU * self.unit())
    }

    /// A span with normal distribution; what would be negative is zero.
    ///
    /// `mean + deviation * z` with two words. Draws nothing if the deviation is zero.
    pub fn normal(&mut self, mean: VirtualDuration, deviation: VirtualDuration) -> VirtualDuration {
        if deviation.is_zero() {
            return mean;
        }
        nanos(mean.0 as f64 + deviation.0 as f64 * self.standard_normal())
    }

    /// A span with log-normal distribution, as latencies have: half are below the median, and a
    /// factor of `exp(sigma)` up or down is one standard deviation.
    ///
    /// `median * exp(sigma * z)` with two words. Draws nothing if the median or sigma is zero.
    ///
    /// # Panics
    ///
    /// If `sigma` is negative or no finite number.
    pub fn lognormal(&mut self, median: VirtualDuration, sigma: f64) -> VirtualDuration {
        assert!(
            sigma.is_finite() && sigma >= 0.0,
            "sigma is a finite number and not negative, but it is {sigma}"
        );
        if median.is_zero() || sigma == 0.0 {
            return median;
        }
        nanos(median.0 as f64 * libm::exp(sigma * self.standard_normal()))
    }
}

/// The one place where a float becomes a time: rounded, halves up, and cut off at both ends of time.
#[inline]
fn nanos(span: f64) -> VirtualDuration {
    // The cast saturates, and no caller has an infinity times zero.
    VirtualDuration(libm::floor(span + 0.5) as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One way to draw from a stream.
    type Draw<T> = fn(&mut Stream) -> T;

    fn sample() -> Stream {
        Streams { seed: 42 }.stream("latency", "map[1]->sink[0]")
    }

    /// The first four words of streams, to the bit. If these change, every old seed changes meaning.
    /// The first row was computed by another implementation of ChaCha, from the published hashes of
    /// the empty text.
    #[test]
    fn golden_words() {
        let rows: &[(u64, &str, &str, [u64; 4])] = &[
            (
                0,
                "",
                "",
                [0x51bade20b8b95ea4, 0x700299d33c039c6d, 0xb763be196398633e, 0xf0bc8e705c65afd7],
            ),
            (
                42,
                "latency",
                "map[1]->sink[0]",
                [0x66b27bd9a300c953, 0x3b1786074287a0df, 0xff1da3833463527b, 0x1904a51eb2ea1a37],
            ),
            (
                42,
                "latency",
                "map[2]->sink[0]",
                [0x21f712a372de82bb, 0x9a72d29c1646b661, 0x36484fbbacc265e0, 0x1921bc56b70b282e],
            ),
            (
                42,
                "loss",
                "map[1]->sink[0]",
                [0x22432ac66f379dc8, 0xa3168b653ea7b31d, 0x395abdac5d48fba7, 0x9c9e9bb82e3e8220],
            ),
            (
                43,
                "latency",
                "map[1]->sink[0]",
                [0x8bc13887b1fb836a, 0x29875193c02999ad, 0xadebd28ed3a7c17a, 0x32c899f278129e56],
            ),
        ];
        for (seed, concern, entity, expected) in rows {
            let mut stream = Streams { seed: *seed }.stream(concern, entity);
            let words = [(); 4].map(|()| stream.word());
            assert_eq!(words, *expected, "{seed} {concern} {entity} {words:#x?}");
        }
    }

    /// The first numbers of every kind, to the bit, each from the beginning of the same stream.
    #[test]
    fn golden_numbers() {
        let mean = VirtualDuration::from_millis(10);
        let deviation = VirtualDuration::from_millis(3);
        let rows: &[(&str, Draw<u64>, [u64; 4])] = &[
            ("below", |s| s.below(1_000), [401, 230, 996, 97]),
            (
                "below, uneven",
                |s| s.below((1 << 63) + 1),
                [3700056656198001833, 2129009669220585583, 901373651062164763, 1233139926441151202],
            ),
            ("between", |s| s.between(100, 199), [140, 123, 199, 109]),
            ("chance", |s| s.chance(Ratio::new(1, 2)).into(), [1, 1, 0, 1]),
        ];
        for (name, draw, expected) in rows {
            let mut stream = sample();
            assert_eq!([(); 4].map(|()| draw(&mut stream)), *expected, "{name}");
        }
        let rows: &[(&str, [u64; 4])] = &[
            ("exponential", [9133926, 14660838, 34600, 23255761]),
            ("weibull", [4171430, 10747008, 60, 27041521]),
            ("normal", [10487269, 10203971, 11020506, 8182006]),
            ("lognormal", [10846002, 10345797, 11854049, 7385999]),
        ];
        for (name, expected) in rows {
            let mut stream = sample();
            let drawn = [(); 4].map(|()| match *name {
                "exponential" => stream.exponential(mean).0,
                "weibull" => stream.weibull(mean, 0.5).0,
                "normal" => stream.normal(mean, deviation).0,
                _ => stream.lognormal(mean, 0.5).0,
            });
            assert_eq!(drawn, *expected, "{name}");
        }
        let mut items = *b"checkpoint";
        sample().shuffle(&mut items);
        assert_eq!(std::str::from_utf8(&items), Ok("cotnphciek"));
        assert_eq!(sample().choice(b"cutline"), Some(&b't'));
    }

    #[test]
    fn questions_with_one_answer_draw_nothing() {
        let zero = VirtualDuration::ZERO;
        let span = VirtualDuration(5);
        let mut stream = sample();
        assert_eq!(stream.below(1), 0);
        assert_eq!(stream.between(7, 7), 7);
        assert!(!stream.chance(Ratio::new(0, 9)));
        assert!(stream.chance(Ratio::new(9, 9)));
        assert_eq!(stream.choice(&["only"]), Some(&"only"));
        assert_eq!(stream.choice::<u8>(&[]), None);
        stream.shuffle(&mut [1]);
        assert_eq!(stream.exponential(zero), zero);
        assert_eq!(stream.weibull(zero, 0.5), zero);
        assert_eq!(stream.normal(span, zero), span);
        assert_eq!(stream.lognormal(span, 0.0), span);
        assert_eq!(stream.lognormal(zero, 1.0), zero);
        assert!(matches!(stream.state, State::Named { .. }));
        assert_eq!(stream.word(), sample().word());
    }

    #[test]
    fn floats_become_times_at_one_boundary() {
        let rows = [
            ("down", 1.49, 1),
            ("half up", 1.5, 2),
            ("negative", -3.0, 0),
            ("beyond the end", 1e30, u64::MAX),
        ];
        for (name, span, expected) in rows {
            assert_eq!(nanos(span), VirtualDuration(expected), "{name}");
        }
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        const DRAWS: u64 = 100_000;
        let ms = VirtualDuration::from_millis;
        // Mean in microseconds and the tolerance: about five standard errors.
        let rows: &[(&str, Draw<VirtualDuration>, u64, u64)] = &[
            ("exponential", |s| s.exponential(VirtualDuration::from_millis(10)), 10_000, 160),
            (
                "normal",
                |s| s.normal(VirtualDuration::from_millis(50), VirtualDuration::from_millis(5)),
                50_000,
                80,
            ),
            ("weibull", |s| s.weibull(VirtualDuration::from_millis(10), 2.0), 10_000, 90),
            // The mean of a log-normal is median * exp(sigma^2 / 2).
            ("lognormal", |s| s.lognormal(VirtualDuration::from_millis(10), 0.5), 11_331, 100),
            ("below", |s| VirtualDuration(s.below(20_000_001)), 10_000, 100),
        ];
        for (name, draw, mean, tolerance) in rows {
            let mut stream = sample();
            let sum: u64 = (0..DRAWS).map(|_| draw(&mut stream).0).sum();
            let measured = sum / DRAWS / 1_000;
            assert!(measured.abs_diff(*mean) <= *tolerance, "{name}: {measured}");
        }
        let mut stream = sample();
        let hits = (0..DRAWS).filter(|_| stream.chance(Ratio::new(1, 10))).count();
        assert!(hits.abs_diff(10_000) < 500, "{hits}");
        let median = (0..DRAWS).filter(|_| stream.lognormal(ms(10), 0.5) < ms(10)).count();
        assert!(median.abs_diff(50_000) < 800, "{median}");
    }

    proptest! {
        #[test]
        fn numbers_stay_in_their_range(seed: u64, low: u64, high: u64) {
            let (low, high) = (low.min(high), low.max(high));
            let mut stream = Streams { seed }.stream("range", "");
            prop_assert!((low..=high).contains(&stream.between(low, high)));
            prop_assert!(stream.below(high.max(1)) < high.max(1));
        }

        #[test]
        fn a_shuffle_keeps_all_items(seed: u64, len in 0_usize..50) {
            let mut items: Vec<usize> = (0..len).collect();
            Streams { seed }.stream("shuffle", "").shuffle(&mut items);
            items.sort_unstable();
            prop_assert!(items.into_iter().eq(0..len));
        }
    }
}
