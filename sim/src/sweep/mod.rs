//! What a checkpoint interval costs and what it buys.
//!
//! | part | what it does |
//! | --- | --- |
//! | `grid` | the points: every combination of values of some paths of a scenario |
//! | `meter`, `recovery`, `histogram` | measure a run, beside the checks |
//! | `metric` | names and units of what is measured; goals |
//! | `row`, `runner`, `store` | runs on all cores, one line of `results.jsonl` a run |
//! | `statistics` | how sure a figure is |
//! | `analysis` | points against each other: the best, and those that are as good |
//! | `forecast` | the closed forms beside the simulated points |
//! | `recommend` | what to put into the configuration |
//!
//! All points see the same random numbers: repeat 7 has the same seed at every point, its streams
//! are named and its failures drawn before it begins, so it meets the same failures at the same
//! instants. Points are compared by the differences of equal repeats, which are far less scattered
//! than the repeats themselves.

pub mod analysis;
pub mod forecast;
pub mod grid;
pub mod histogram;
mod meter;
pub mod metric;
pub mod recommend;
mod recovery;
mod row;
pub mod runner;
pub mod statistics;
pub mod store;

pub(crate) use meter::Meter;
pub use meter::{Measures, Requests};
pub use recovery::{Recoveries, Recovery};
pub(crate) use row::short;
pub use row::{LeaptRow, RecoveryRow, Row};
