//! Closed-form cost models: what a checkpoint interval costs, and what it buys.
//!
//! Four functions, and the parts they are made of:
//!
//! | function | of | module |
//! | --- | --- | --- |
//! | `T_checkpoint` | data rate, system latency, recovery time | [`choice`] |
//! | `C_coordinator` | interval, tasks, parallelism | [`coordinator`] |
//! | `S_storage` | the coordinator's part, data size, retention | [`metadata`], [`storage`] |
//! | `B_barrier` | the coordinator's part, tasks, their order | [`barrier`], [`alignment`] |
//!
//! [`interval`], [`utilization`], [`renewal`]: capacity under failures. [`recovery`],
//! [`freshness`], [`lag`]: what a stream's users see. [`restart`]: failures in a row.
//! [`statistics`]: how many runs a simulation needs.
//!
//! # Symbols
//!
//! | symbol | meaning |
//! | --- | --- |
//! | `T` | trigger to trigger (Flink: `execution.checkpointing.interval`) |
//! | `tau` | useful work between two checkpoints; `T = tau + C` |
//! | `C`, `c` | cost: processing time that one checkpoint takes away |
//! | `L`, `d` | latency or duration: from the trigger until the checkpoint can be restored |
//! | `M` | mean up-time between two failures of the whole job |
//! | `R`, `D` | restart time, in which a failure may strike; downtime, in which none does |
//! | `lambda`, `mu` | input rate, processing capacity |
//! | `A` | age of the restored snapshot at the failure |
//! | `p` | probability that a checkpoint fails |
//!
//! Keep `c` and `d` apart: snapshots are uploaded while processing goes on, so that `c` is far
//! below `d`. The cheapest interval depends on `c` alone; freshness and recovery depend on `d`.
//!
//! Everything is a pure function of its arguments. The floats stay here: where the protocol acts on
//! a result, [`Seconds::round`] makes whole nanoseconds of it once.

pub mod alignment;
pub mod barrier;
pub mod choice;
pub mod coordinator;
pub mod freshness;
pub mod interval;
pub mod lag;
pub mod metadata;
mod numeric;
mod quantity;
pub mod recovery;
pub mod renewal;
pub mod restart;
pub mod statistics;
pub mod storage;
pub mod utilization;

#[cfg(test)]
mod tests;

pub use quantity::{Probability, Rate, Seconds};

/// Arguments for which a formula has no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// A number outside of what the formula is made for.
    #[error("{name} is {value}; it must be {must}")]
    OutOfRange {
        /// What the number stands for.
        name: &'static str,
        /// The number.
        value: f64,
        /// What it must be.
        must: &'static str,
    },
    /// A stream that gets as much as it can process, or more, never catches up.
    #[error("the stream is saturated: {rate}/s come in and {capacity}/s can be processed")]
    Saturated {
        /// Records that come in each second.
        rate: f64,
        /// Records that can be processed each second.
        capacity: f64,
    },
    /// Nothing is left of an interval when its checkpoint is paid.
    #[error("no work is left: a checkpoint takes {cost} s of an interval of {interval} s")]
    NoWorkLeft {
        /// Seconds that a checkpoint takes.
        cost: f64,
        /// Seconds from trigger to trigger.
        interval: f64,
    },
    /// A checkpoint cannot be restorable before it has been paid.
    #[error("a checkpoint costs {cost} s and is complete after {latency} s; it must take as long")]
    CheaperThanFree {
        /// Seconds that a checkpoint takes away.
        cost: f64,
        /// Seconds until it is complete.
        latency: f64,
    },
    /// A chain of operators has one exchange less than operators.
    #[error("{operators} operators in a chain have {expected} exchanges, not {exchanges}", expected = operators.saturating_sub(1))]
    ChainLength {
        /// The operators.
        operators: usize,
        /// The exchanges given.
        exchanges: usize,
    },
    /// An edge to an operator that is not there.
    #[error("an edge goes to or from operator {index}, and there are {operators}")]
    NoSuchOperator {
        /// Its index, from 0.
        index: usize,
        /// How many there are.
        operators: usize,
    },
}

impl ModelError {
    fn out_of_range(name: &'static str, value: f64, must: &'static str) -> Self {
        Self::OutOfRange { name, value, must }
    }
}
