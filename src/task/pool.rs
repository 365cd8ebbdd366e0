//! The buffers of a result partition: what all channels of an output edge may queue together.
//!
//! Flink: `LocalBufferPool` of a `ResultPartition`, with the size that
//! `NettyShuffleUtils#getMinMaxNetworkBuffersPerResultPartition` gives a bounded pipelined one. A task
//! goes on only while a buffer is left (`ResultPartitionWriter#getAvailableFuture`).
//!
//! Deviations: the buffer that a local receiver reads is the sender's until it has been read; here
//! it is taken off the pool for good, whether it is being read or not. The network has buffers for all
//! pools, so that none is smaller than it may be. There is no overdraft
//! (`max-overdraft-buffers-per-gate`): a record fits into one buffer.

use crate::task::debloat::PARTS;
use crate::task::subtask::{LoopEdge, SubtaskConfig};

/// The pool of one output edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pool {
    /// In parts of a buffer.
    queued: u32,
    max: u32,
}

impl Pool {
    /// Of each output channel its pool, and the pools, one an edge.
    pub(crate) fn of_edges(config: &SubtaskConfig) -> (Vec<u32>, Vec<Pool>) {
        let (mut pool_of, mut pools) = (Vec::new(), Vec::new());
        for (&channels, edge) in config.output_edges.iter().zip(&config.loop_edges) {
            let first = pool_of.len();
            pool_of.resize(first + channels as usize, pools.len() as u32);
            let local = config.local_outputs[first..pool_of.len()].iter().filter(|it| **it).count();
            let max = match edge {
                LoopEdge::Outside | LoopEdge::Within => {
                    let own = channels.saturating_mul(config.exclusive_buffers);
                    let own = own.saturating_add(config.floating_buffers);
                    (own.max(channels + 1) - local as u32).max(1).saturating_mul(PARTS)
                }
                LoopEdge::Feedback => u32::MAX,
            };
            pools.push(Pool { queued: 0, max });
        }
        (pool_of, pools)
    }

    /// One of its channels had queued so much, in parts of a buffer, and has so much now.
    #[inline]
    pub(crate) fn on_queued(&mut self, before: u32, now: u32) {
        self.queued = self.queued - before + now;
    }

    /// Whether no buffer is left.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.queued >= self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_full_while_no_buffer_is_left() {
        let mut pool = Pool { queued: 0, max: 3 * PARTS };
        let rows = [(0, 2, false), (0, 1, true), (1, 2, true), (2, 1, true), (1, 0, false)];
        for (before, now, full) in rows {
            pool.on_queued(before * PARTS, now * PARTS);
            assert_eq!(pool.is_full(), full, "{before} to {now}");
        }
    }
}
