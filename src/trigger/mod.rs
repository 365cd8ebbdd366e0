//! When to checkpoint: the requests that wait, the decider that picks one, the periodic policy.

pub mod decider;
pub mod policy;
