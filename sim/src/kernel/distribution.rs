//! Distributions of durations: latencies, times to failure, times to recover.

use cutline::time::VirtualDuration;
use thiserror::Error;

use super::stream::Stream;

/// How a duration is drawn. Each draw takes what the method of [`Stream`] of that name takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Always the same; draws nothing.
    Constant(VirtualDuration),
    /// Every nanosecond from `min` to `max`, both included, equally likely.
    Uniform {
        /// The shortest.
        min: VirtualDuration,
        /// The longest.
        max: VirtualDuration,
    },
    /// `min` and an exponential rest, such that the whole has the mean `mean`.
    Exponential {
        /// The shortest, such as the propagation delay of a link.
        min: VirtualDuration,
        /// The mean of the whole, `min` included.
        mean: VirtualDuration,
    },
    /// Log-normal: the logarithm has a normal distribution.
    LogNormal {
        /// Half of the draws are below.
        median: VirtualDuration,
        /// Standard deviation of the natural logarithm, in thousandths: 500 puts one draw in 40
        /// above 2.7 medians.
        sigma_permille: u32,
    },
}

/// Why a distribution can't be drawn from.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DistributionError {
    /// The range of a uniform distribution is empty.
    #[error("uniform from {min} to {max}: the range is empty")]
    EmptyRange {
        /// The lower end.
        min: VirtualDuration,
        /// The upper end, which is below it.
        max: VirtualDuration,
    },
    /// The mean of an exponential distribution is below its minimum.
    #[error("exponential with mean {mean}: it is below the minimum of {min}")]
    MeanBelowMin {
        /// The shortest duration.
        min: VirtualDuration,
        /// The mean, which is below it.
        mean: VirtualDuration,
    },
}

impl Distribution {
    /// Whether it can be drawn from; to be asked once, where a user's numbers come in.
    ///
    /// # Errors
    ///
    /// If a range is empty, or a mean below its minimum.
    pub fn validate(&self) -> Result<(), DistributionError> {
        match *self {
            Self::Uniform { min, max } if min > max => {
                Err(DistributionError::EmptyRange { min, max })
            }
            Self::Exponential { min, mean } if min > mean => {
                Err(DistributionError::MeanBelowMin { min, mean })
            }
            Self::Constant(_)
            | Self::Uniform { .. }
            | Self::Exponential { .. }
            | Self::LogNormal { .. } => Ok(()),
        }
    }

    /// A duration from this distribution.
    ///
    /// # Panics
    ///
    /// If [`validate`](Self::validate) would refuse the distribution.
    #[inline(always)]
    pub fn draw(&self, stream: &mut Stream) -> VirtualDuration {
        match *self {
            Self::Constant(span) => span,
            _ => self.draw_random(stream),
        }
    }

    fn draw_random(&self, stream: &mut Stream) -> VirtualDuration {
        match *self {
            Self::Constant(span) => span,
            Self::Uniform { min, max } => VirtualDuration(stream.between(min.0, max.0)),
            Self::Exponential { min, mean } => {
                assert!(min <= mean, "the mean is below the minimum");
                min + stream.exponential(mean.saturating_sub(min))
            }
            Self::LogNormal { median, sigma_permille } => {
                stream.lognormal(median, f64::from(sigma_permille) / 1_000.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::stream::Streams;
    use super::*;

    /// What a distribution should do to a stream.
    type Draw = fn(&mut Stream) -> VirtualDuration;

    const fn ms(count: u64) -> VirtualDuration {
        VirtualDuration::from_millis(count)
    }

    #[test]
    fn draws_are_those_of_the_stream() {
        let stream = Streams { seed: 7 }.stream("test", "distribution");
        let rows: [(&str, Distribution, Draw); 5] = [
            ("constant", Distribution::Constant(ms(5)), |_| ms(5)),
            ("uniform", Distribution::Uniform { min: ms(2), max: ms(9) }, |s| {
                VirtualDuration(s.between(2_000_000, 9_000_000))
            }),
            ("exponential", Distribution::Exponential { min: ms(2), mean: ms(9) }, |s| {
                ms(2) + s.exponential(ms(7))
            }),
            (
                "exponential without spread",
                Distribution::Exponential { min: ms(9), mean: ms(9) },
                |_| ms(9),
            ),
            ("log-normal", Distribution::LogNormal { median: ms(2), sigma_permille: 1_500 }, |s| {
                s.lognormal(ms(2), 1.5)
            }),
        ];
        for (name, distribution, expected) in rows {
            assert_eq!(distribution.validate(), Ok(()), "{name}");
            let (mut ours, mut theirs) = (stream.clone(), stream.clone());
            for _ in 0..3 {
                assert_eq!(distribution.draw(&mut ours), expected(&mut theirs), "{name}");
            }
            assert_eq!(ours.word(), theirs.word(), "{name}");
        }
    }

    #[test]
    fn nonsense_is_named() {
        let (min, max) = (ms(3), ms(2));
        let rows = [
            (Distribution::Uniform { min, max }, "uniform from 3 ms to 2 ms: the range is empty"),
            (
                Distribution::Exponential { min, mean: max },
                "exponential with mean 2 ms: it is below the minimum of 3 ms",
            ),
        ];
        for (distribution, message) in rows {
            let error = distribution.validate().expect_err(message);
            assert_eq!(error.to_string(), message);
        }
    }
}
