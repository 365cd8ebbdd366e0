//! When to checkpoint: the requests that wait, the decider that picks one, the policies
//! that say when the next one is due.

pub mod adaptive;
pub mod decider;
pub mod policy;
