//! Many runs: random seeds, what they found and what they covered.

mod caught;
pub mod seeds;

pub use caught::{Panic, catch};
