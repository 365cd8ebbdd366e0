//! How `path` grows, so that the copies that a fan-out makes are different records.
//!
//! Router, reference and flat map must agree on this, and on nothing else. Copies, receivers, edges
//! and rounds are numbered in separate domains: copy 1 and edge 1 do not meet.

use super::map::below;
use super::record::{Record, mix};
use crate::job::{EdgeId, Feedback};

const COPY: u64 = 1 << 32;
const RECEIVER: u64 = 2 << 32;
const EDGE: u64 = 3 << 32;
const ROUND: u64 = 4 << 32;

/// The path of the `copy`-th copy that an operator makes of one record.
#[inline]
pub fn of_copy(path: u64, copy: u32) -> u64 {
    mix(path, COPY | u64::from(copy))
}

/// The path of the copy that the `receiver`-th subtask gets through a broadcast edge.
#[inline]
pub fn at_receiver(path: u64, receiver: u32) -> u64 {
    mix(path, RECEIVER | u64::from(receiver))
}

/// The path on one of several output edges of an operator; a single one leaves it as it is.
#[inline]
pub fn on_edge(path: u64, edge: EdgeId) -> u64 {
    mix(path, EDGE | u64::from(edge.0))
}

/// The path of a record that goes round once more: in each round it is another record.
#[inline]
pub fn of_round(path: u64, edge: EdgeId) -> u64 {
    mix(path, ROUND | u64::from(edge.0))
}

/// Whether a record that the tail of a loop has emitted goes round once more. It depends on what the
/// record is alone, its path included, so that it is decided anew in each round: a record carries no
/// count of its rounds.
#[inline]
pub fn goes_round(record: &Record, edge: EdgeId, feedback: Feedback) -> bool {
    below(mix(record.identity(), ROUND | u64::from(edge.0)), 1_000) < feedback.again_permille
}
