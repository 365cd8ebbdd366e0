//! What a checkpoint interval costs and what it buys.
pub mod histogram;
mod meter;
mod recovery;

pub(crate) use meter::Meter;
pub use meter::{Measures, Requests};
pub use recovery::{Recoveries, Recovery};
