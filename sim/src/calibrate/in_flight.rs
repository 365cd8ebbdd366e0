//! How much data lies between two vertices when the second cannot keep up.
//!
//! Structure, from Flink's network stack (2.x): a gate has 2 exclusive buffers for each remote
//! channel and 8 floating ones; the pool of a result partition has 2 for each subpartition and 8
//! more; at most 10 queue in a subpartition; a local channel reads the sender's queue and has no
//! buffers of its own. How full the buffers are is fitted.

use super::runs::Conditions;

/// Flink: `MemoryManagerOptions` / `TaskManagerOptions.MEMORY_SEGMENT_SIZE`.
const BUFFER_BYTES: f64 = 32_768.0;
/// Flink: `NETWORK_BUFFERS_PER_CHANNEL`, fixed since 2.3.
const EXCLUSIVE: f64 = 2.0;
/// Flink: `NETWORK_EXTRA_BUFFERS_PER_GATE`, fixed since 2.3.
const FLOATING: f64 = 8.0;
/// Flink: `NETWORK_MAX_BUFFERS_PER_CHANNEL`, fixed since 2.3.
const QUEUED_MAX: f64 = 10.0;

/// Buffers ahead of a barrier in front of one receiving subtask, all-to-all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Queues {
    /// In front of the subtask in all.
    pub total: f64,
    /// In its longest channel.
    pub longest: f64,
    /// In its shortest channel.
    pub shortest: f64,
    /// Number of channels.
    pub channels: f64,
}

impl Queues {
    /// The queues of an all-to-all exchange between vertices of equal parallelism, of which `slots`
    /// subtasks each share a task manager.
    pub fn all_to_all(parallelism: f64, slots: f64) -> Self {
        let local = slots.clamp(1.0, parallelism);
        let remote = parallelism - local;
        let pool = (EXCLUSIVE * parallelism + FLOATING).min(QUEUED_MAX * parallelism);
        let at_sender = pool / parallelism;
        let gate = if remote > 0.0 { EXCLUSIVE * remote + FLOATING } else { 0.0 };
        let at_receiver = if remote > 0.0 { gate / remote } else { 0.0 };
        Self {
            total: pool + gate,
            longest: at_sender + at_receiver,
            shortest: at_sender,
            channels: parallelism,
        }
    }

    /// The queues of the exchange that a run is about.
    pub fn of(conditions: &Conditions) -> Self {
        Self::all_to_all(conditions.parallelism, conditions.slots)
    }

    /// Buffers that the subtask serves before it has all barriers, if a barrier blocks its channel:
    /// what is ahead of them, whatever the order.
    pub fn until_last_blocking(&self) -> f64 {
        self.total
    }

    /// The same if nothing is blocked: channels are served in turn, and those whose barrier has
    /// passed go on being served until that of the longest queue comes.
    pub fn until_last_unblocked(&self) -> f64 {
        self.channels * self.longest
    }

    /// Buffers served before the first barrier comes, channels being served in turn.
    pub fn until_first(&self) -> f64 {
        self.channels * self.shortest
    }
}

/// Bytes of so many full buffers.
pub(super) fn bytes(buffers: f64) -> f64 {
    buffers * BUFFER_BYTES
}

/// Time in which one paced subtask serves so many full buffers, in milliseconds.
pub(super) fn service_ms(conditions: &Conditions, buffers: f64) -> f64 {
    bytes(buffers) / conditions.record_bytes * conditions.cost_us / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_of_small_jobs() {
        for (what, (parallelism, slots), (total, longest, shortest)) in [
            // 12 buffers at the senders; 2 + 8 at the receiver, for its one remote channel.
            ("two machines", (2.0, 1.0), (22.0, 16.0, 6.0)),
            ("one machine", (2.0, 2.0), (12.0, 6.0, 6.0)),
            // More slots than subtasks are one machine as well.
            ("one machine with room", (2.0, 4.0), (12.0, 6.0, 6.0)),
            ("no exchange to speak of", (1.0, 1.0), (10.0, 10.0, 10.0)),
            ("wide", (100.0, 1.0), (414.0, 2.08 + 206.0 / 99.0, 2.08)),
        ] {
            let queues = Queues::all_to_all(parallelism, slots);
            assert_eq!(queues.total, total, "{what}");
            assert!((queues.longest - longest).abs() < 1e-9, "{what}");
            assert!((queues.shortest - shortest).abs() < 1e-9, "{what}");
            assert!(queues.until_first() <= queues.until_last_blocking(), "{what}");
            assert!(queues.until_last_blocking() <= queues.until_last_unblocked() + 1e-9, "{what}");
        }
    }
}
