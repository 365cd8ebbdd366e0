//! Scenarios: what is simulated.

pub mod build;
pub mod model;
