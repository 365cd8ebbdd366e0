//! Distributions of spans.

use cutline::time::VirtualDuration;

/// How long something takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Always the same.
    Constant(VirtualDuration),
    /// Every span from `min` to `max` is equally likely.
    Uniform {
        /// The shortest span.
        min: VirtualDuration,
        /// The longest span.
        max: VirtualDuration,
    },
    /// `min` and an exponential rest, such that the whole has the mean `mean`.
    Exponential {
        /// The shortest span.
        min: VirtualDuration,
        /// The mean of the whole, `min` included.
        mean: VirtualDuration,
    },
    /// The logarithm is normally distributed.
    LogNormal {
        /// Half of the spans are shorter.
        median: VirtualDuration,
        /// Standard deviation of the natural logarithm, in thousandths.
        sigma_permille: u32,
    },
}
