//! What snapshots are made of, and which files may be deleted.

pub mod handle;
pub mod registry;
