//! The discrete-event kernel: virtual clock, event queue, named random streams, run loop, digest.
//!
//! It knows nothing of checkpoints, tasks or networks, and is usable without the rest of the crate.

pub mod digest;
pub mod distribution;
pub(crate) mod fifo;
pub mod queue;
pub mod ratio;
pub mod run;
pub mod stream;
mod wheel;
