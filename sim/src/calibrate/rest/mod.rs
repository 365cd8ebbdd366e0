//! Calibration from a dump of Flink's REST interface: what it tells, a scenario made of it, and how
//! near a simulation of that comes.
//!
//! | module | holds |
//! | --- | --- |
//! | [`facts`] | what a dump tells, and what it cannot tell |
//! | [`scenario`] | the scenario that these facts make |
//! | [`replay`] | its simulation, beside what was measured |
//! | [`report`] | all of it for people and programs |

pub mod facts;
pub mod replay;
pub mod report;
pub mod scenario;
