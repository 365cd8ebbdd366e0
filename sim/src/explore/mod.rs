//! Many runs: random and given ones, what they found and covered, and what is left of a failing
//! one when all that it does not need is taken away.

pub mod campaign;
mod caught;
pub mod corpus;
pub mod journal;
mod junit;
mod row;
#[cfg(feature = "defects")]
pub mod score;
pub mod shrink;
mod strategy;
mod summary;

pub use campaign::{Campaign, Given, Partition, Results, Unwatched, Watcher};
pub use caught::{Panic, catch};
pub use junit::junit;
pub use row::{End, Item, Row, Severity};
pub use strategy::{Method, ROUND, Strategy};
pub use summary::{Group, Share, Summary};
