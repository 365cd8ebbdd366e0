//! A deterministic simulation and testing framework for stream-processing checkpoints.

pub mod kernel;
pub mod scenario;
