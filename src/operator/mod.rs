//! Operators: what users' code does with records, and the seam for their own.
//!
//! An operator never sees channels, barriers or other subtasks. It gets records, emits records,
//! hands out its state at B3 and takes it back at R4; sinks say what the outside is to see.

mod record;

pub use record::{Fingerprint, Record, SplitId, mix};
