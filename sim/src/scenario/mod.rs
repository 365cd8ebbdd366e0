//! Scenarios.

pub mod model;
