//! Calibration: from what was measured on a cluster to a cost profile, and back.
//!
//! | module | holds |
//! | --- | --- |
//! | [`runs`] | measured runs: what was known before, and what came of it |
//! | [`robust`] | medians and lines |
//! | [`in_flight`], [`race`] | the two mechanisms: queued buffers, restarts against heartbeats |
//! | [`profile`], [`fit`] | a few numbers, and how they come from runs |
//! | [`predict`], [`measure`] | what they say about a run that was not measured |
//! | [`judge`], [`goal`] | how wrong that is |
//! | [`rest`] | the same from a dump of the REST interface, with a scenario |

pub mod fit;
pub mod goal;
pub mod in_flight;
pub mod judge;
pub mod measure;
pub mod predict;
pub mod profile;
pub mod race;
pub mod report;
pub mod rest;
pub mod robust;
pub mod runs;
