//! What a real Flink says of a job: its plan, the answers of its REST interface.
//!
//! | module | holds |
//! | --- | --- |
//! | [`shape`] | vertices and exchanges of a job; `plan` reads them |
//! | [`answers`] | the answers of the REST interface, with their traps |
//! | [`dump`] | a directory of such answers, one file an endpoint |
//! | [`requests`] | the requests that make such a directory |
//! | [`draft`] | a scenario in the making, from what is known of a job |

pub mod answers;
pub mod draft;
pub mod dump;
mod file;
mod open;
mod plan;
pub mod requests;
pub mod shape;

pub use file::FileError;
