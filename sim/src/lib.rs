//! A deterministic simulation and testing framework for stream-processing checkpoints.

pub mod conform;
