//! A deterministic simulation and testing framework for stream-processing checkpoints.

pub mod conform;
pub mod engine;
pub mod kernel;
pub mod observe;
pub mod scenario;
pub mod world;
