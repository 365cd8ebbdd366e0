//! The checkpoint coordinator.

pub mod completed;
pub mod failure;
