//! The checkpoint coordinator.

pub mod failure;
