//! A deterministic simulation and testing framework for stream-processing checkpoints.

pub mod check;
pub mod observe;
