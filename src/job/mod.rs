//! The job as the protocol sees it.

pub mod key_groups;
pub mod rescale;
