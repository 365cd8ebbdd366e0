//! One task (Flink: `StreamTask`): what stands between its channels and its operators.
//!
//! - [`barrier`]: the input side: gates, and the handlers that decide when to block, trigger,
//!   abort and persist;
//! - [`subpartition`]: the output side of one channel: queue, credit, and the buffers that an
//!   unaligned barrier overtakes.

pub mod barrier;
pub mod subpartition;

mod channel_set;
mod gate;
mod prioritized;
mod turns;
