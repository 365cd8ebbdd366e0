//! How long a checkpoint's barriers took: start delay, length of the alignment, bytes meanwhile.
//!
//! Concept: there is one measurement at a time, of the checkpoint whose first barrier came last.
//! Its result is filled once. In Flink: the alignment fields of `CheckpointBarrierHandler`, which
//! end up in `CheckpointMetrics`.

use crate::ids::CheckpointId;
use crate::message::CheckpointBarrier;
use crate::task::barrier::Output;
use crate::time::{ClockOffset, VirtualDuration, VirtualTime};

/// What an alignment cost, once it has ended. Flink: `alignmentDurationNanos` and
/// `bytesProcessedDuringAlignment` of `CheckpointMetrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlignmentMetrics {
    /// From the first barrier to the last.
    pub duration: VirtualDuration,
    /// Bytes of the buffers handed to the task meanwhile.
    pub bytes: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Measurement {
    checkpoint: Option<CheckpointId>,
    start_delay: VirtualDuration,
    running_since: Option<VirtualTime>,
    bytes: u64,
    result: Option<AlignmentMetrics>,
    /// A trigger has gone out while the result was open.
    promised: bool,
}

impl Measurement {
    /// Counts a buffer that was handed to the task.
    #[inline]
    pub(super) fn count(&mut self, bytes: u64) {
        if self.running_since.is_some() {
            self.bytes += bytes;
        }
    }

    /// The first barrier of a checkpoint is here.
    pub(super) fn begin<B>(
        &mut self,
        (now, ahead): (VirtualTime, ClockOffset),
        barrier: &CheckpointBarrier,
        out: &mut Vec<Output<B>>,
    ) {
        self.reset(out);
        self.checkpoint = Some(barrier.checkpoint);
        // Flink: `CheckpointBarrierHandler#markAlignmentStart`. Two wall clocks: it would be negative
        // where this one is behind, and is reported as none.
        self.start_delay = (now + ahead).since(barrier.timestamp);
        self.running_since = Some(now);
    }

    /// The last barrier is here.
    pub(super) fn end<B>(&mut self, now: VirtualTime, out: &mut Vec<Output<B>>) {
        let duration = match self.running_since {
            Some(start) => now.since(start),
            None => VirtualDuration::ZERO,
        };
        self.fill(duration, out);
    }

    /// The checkpoint was aborted: its alignment counts as none, and the result is open again.
    pub(super) fn reset<B>(&mut self, out: &mut Vec<Output<B>>) {
        self.fill(VirtualDuration::ZERO, out);
        self.result = None;
    }

    /// What a trigger of this checkpoint reports: the start delay, and the result if it is there.
    /// If it is not, the result follows as an output. A checkpoint that is not the measured one
    /// reports zeros.
    pub(super) fn report(
        &mut self,
        checkpoint: CheckpointId,
    ) -> (VirtualDuration, Option<AlignmentMetrics>) {
        if self.checkpoint != Some(checkpoint) {
            return (VirtualDuration::ZERO, Some(AlignmentMetrics::default()));
        }
        self.promised = self.result.is_none();
        (self.start_delay, self.result)
    }

    fn fill<B>(&mut self, duration: VirtualDuration, out: &mut Vec<Output<B>>) {
        let bytes = std::mem::take(&mut self.bytes);
        self.running_since = None;
        if self.result.is_some() {
            return;
        }
        let alignment = AlignmentMetrics { duration, bytes };
        self.result = Some(alignment);
        if let Some(checkpoint) = self.checkpoint
            && std::mem::take(&mut self.promised)
        {
            out.push(Output::Measured { checkpoint, alignment });
        }
    }
}
