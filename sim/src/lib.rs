//! A deterministic simulation and testing framework for stream-processing checkpoints.

pub mod check;
pub mod cli;
pub mod conform;
pub mod engine;
pub mod explore;
pub mod kernel;
pub mod observe;
pub mod report;
pub mod run;
pub mod scenario;
#[cfg(feature = "proptest")]
pub mod strategies;
pub mod trace;
pub mod world;
