//! A deterministic simulation and testing framework for stream-processing checkpoints.

pub mod observe;
pub mod conform;
pub mod kernel;
