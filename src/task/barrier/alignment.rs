//! The phases of an alignment: what a barrier does to its channel, and when the task takes its
//! snapshot.
//!
//! Concept: as long as the task aligns, a channel that delivered its barrier is blocked and the
//! snapshot waits for the last barrier. Once it has given up (a barrier is unaligned, or the
//! alignment took too long) the snapshot is taken at the next barrier, and what the barriers
//! overtake is captured. In Flink: the `BarrierHandlerState`s: `WaitingForFirstBarrier`,
//! `CollectingBarriers`, and their `Alternating…` forms.

use crate::defect::Defect;
use crate::ids::{CheckpointId, InputChannel};
use crate::message::{Alignment, CheckpointBarrier, Payload, SnapshotKind};
use crate::task::barrier::capture::Overtaken;
use crate::task::barrier::exactly_once::ExactlyOnce;
use crate::task::barrier::handler::Context;
use crate::task::barrier::{Cut, Output};
use crate::task::gate::ArrivalNumber;

/// Where the checkpoint under way stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No barrier yet. Flink: `AlternatingWaitingForFirstBarrier`.
    Wait,
    /// Some barriers are here, their channels blocked. Flink: `AlternatingCollectingBarriers`.
    Collect,
    /// No barrier yet, and the first one is going to start the capture. Flink:
    /// `AlternatingWaitingForFirstBarrierUnaligned`.
    WaitUnaligned,
    /// The snapshot was taken, and buffers are captured until the last barrier. Flink:
    /// `AlternatingCollectingBarriersUnaligned`.
    CollectUnaligned,
    /// The snapshot was taken at the head of a loop, and what goes round is captured until its barriers
    /// have come round. Flink ML: `HeadOperatorCheckpointAligner`, `Checkpoints`.
    CollectFeedback,
}

impl Phase {
    /// Whether the snapshot still waits for the last barrier.
    pub(super) fn is_aligning(self) -> bool {
        match self {
            Self::Wait | Self::Collect => true,
            Self::WaitUnaligned | Self::CollectUnaligned | Self::CollectFeedback => false,
        }
    }
}

impl ExactlyOnce {
    /// Whether all channels that the checkpoint needs are marked.
    pub(super) fn all_in(&self) -> bool {
        let pending = self.pending.as_ref();
        pending.is_some_and(|pending| self.arrived.len() == pending.target)
    }

    /// Whether all forward channels are marked: those that the snapshot waits for.
    pub(super) fn is_aligned(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| {
            self.arrived.len() - pending.arrived_feedback == pending.target_forward
        })
    }

    /// A barrier was polled on this channel, which is marked.
    pub(super) fn align<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        channel: InputChannel,
        barrier: &CheckpointBarrier,
    ) -> Result<(), Overtaken> {
        if self.phase == Phase::CollectFeedback {
            // Its own barrier, which divides nothing: all that came ahead of it is captured.
            cx.out.push(Output::Resume(channel));
            self.finish_feedback(cx, barrier.checkpoint);
            return Ok(());
        }
        if !self.phase.is_aligning() {
            return self.align_overtaking(cx, channel, barrier);
        }
        if barrier.options.alignment == Alignment::Unaligned {
            self.give_up_aligning(cx, barrier)?;
            return self.align_overtaking(cx, channel, barrier);
        }
        self.announced.remove(&channel);
        self.block(cx, channel);
        if self.is_aligned() {
            self.cut(cx, barrier)
        } else if self.is_timed_out(cx, barrier) {
            self.give_up_aligning(cx, barrier)?;
            // The channel is blocked already, as after an aligned barrier it must be.
            self.align_overtaking(cx, channel, &barrier.as_unaligned())
        } else {
            self.phase = Phase::Collect;
            Ok(())
        }
    }

    /// The channel of this mark has ended; `barrier` is the one that opened the checkpoint.
    pub(super) fn align_ended<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        channel: InputChannel,
        barrier: &CheckpointBarrier,
    ) -> Result<(), Overtaken> {
        // Nobody is left to resume.
        self.blocked.remove(channel);
        self.announced.remove(&channel);
        match self.phase {
            Phase::Collect if self.is_aligned() => self.cut(cx, barrier)?,
            Phase::Collect if self.is_timed_out(cx, barrier) => {
                self.give_up_aligning(cx, barrier)?;
            }
            Phase::CollectUnaligned => self.finish_overtaking(cx, barrier.checkpoint),
            Phase::CollectFeedback => self.finish_feedback(cx, barrier.checkpoint),
            Phase::Wait | Phase::Collect | Phase::WaitUnaligned => {}
        }
        Ok(())
    }

    /// A barrier of the checkpoint waits in this channel.
    pub(super) fn note_announcement<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        channel: InputChannel,
        number: ArrivalNumber,
    ) {
        if self.phase.is_aligning() {
            self.announced.insert(channel, number);
        } else {
            cx.gates.bring_forward(channel, number);
        }
    }

    /// From now on barriers overtake, those that were announced included. Flink:
    /// `alignedCheckpointTimeout`.
    pub(super) fn give_up_aligning<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        barrier: &CheckpointBarrier,
    ) -> Result<(), Overtaken> {
        assert!(self.unaligned, "a barrier overtakes although unaligned checkpoints are off");
        while let Some((channel, number)) = self.announced.pop_first() {
            cx.gates.bring_forward(channel, number);
        }
        if self.phase == Phase::Collect {
            self.start_overtaking(cx, barrier)
        } else {
            self.phase = Phase::WaitUnaligned;
            Ok(())
        }
    }

    /// Ends the alignment of an aborted checkpoint.
    pub(super) fn stop_aligning<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        checkpoint: CheckpointId,
    ) {
        if matches!(self.phase, Phase::CollectUnaligned | Phase::CollectFeedback) {
            cx.capture.stop(checkpoint);
        }
        self.release(cx);
    }

    /// All forward channels are marked: the task takes its snapshot, and of a loop what is under way.
    pub(super) fn cut<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        barrier: &CheckpointBarrier,
    ) -> Result<(), Overtaken> {
        let circulates = !self.all_in();
        if circulates && barrier.options.kind != SnapshotKind::SavepointTerminate {
            // Where a drain ends, the task holds its snapshot until the loop is empty.
            self.phase = Phase::CollectFeedback;
            cx.capture.start_feedback(barrier.checkpoint, cx.gates, cx.defects, cx.out)?;
        }
        cx.trigger(*barrier, Cut::Aligned);
        self.release(cx);
        if circulates {
            self.phase = Phase::CollectFeedback;
        }
        Ok(())
    }

    fn finish_feedback<B: Payload>(&mut self, cx: &mut Context<'_, B>, checkpoint: CheckpointId) {
        if self.all_in() {
            cx.capture.stop(checkpoint);
            self.phase = Phase::Wait;
        }
    }

    fn align_overtaking<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        channel: InputChannel,
        barrier: &CheckpointBarrier,
    ) -> Result<(), Overtaken> {
        if barrier.options.alignment != Alignment::Unaligned {
            self.block(cx, channel);
        }
        if self.phase == Phase::WaitUnaligned {
            self.start_overtaking(cx, barrier)?;
        }
        self.finish_overtaking(cx, barrier.checkpoint);
        Ok(())
    }

    fn start_overtaking<B: Payload>(
        &mut self,
        cx: &mut Context<'_, B>,
        barrier: &CheckpointBarrier,
    ) -> Result<(), Overtaken> {
        let aligned_once = barrier.unaligned_from().is_some();
        if !(cx.defects.has(Defect::D44) && aligned_once) {
            cx.capture.start(barrier.checkpoint, cx.gates, cx.defects, cx.out)?;
        }
        cx.trigger(barrier.as_unaligned(), Cut::Unaligned);
        self.phase = Phase::CollectUnaligned;
        Ok(())
    }

    fn finish_overtaking<B: Payload>(&mut self, cx: &mut Context<'_, B>, checkpoint: CheckpointId) {
        if self.all_in() {
            cx.capture.stop(checkpoint);
            self.release(cx);
        }
    }

    fn block<B: Payload>(&mut self, cx: &mut Context<'_, B>, channel: InputChannel) {
        if cx.defects.has(Defect::D48) {
            return cx.out.push(Output::Resume(channel));
        }
        self.blocked.insert(channel);
        cx.out.push(Output::Block(channel));
    }

    /// Deviation: Flink resumes in the order of a hash map; channels are resumed in ascending
    /// order here, so that a run can be repeated.
    fn release<B: Payload>(&mut self, cx: &mut Context<'_, B>) {
        cx.out.extend(self.blocked.iter().map(Output::Resume));
        self.blocked.clear();
        self.announced.clear();
        self.phase = Phase::Wait;
    }

    /// By the wall clock. Flink: `SingleCheckpointBarrierHandler.ControllerImpl#isTimedOut`.
    fn is_timed_out<B: Payload>(
        &self,
        cx: &mut Context<'_, B>,
        barrier: &CheckpointBarrier,
    ) -> bool {
        let due = barrier.unaligned_from().filter(|_| self.unaligned);
        due.is_some_and(|due| due < cx.now + cx.ahead())
    }
}
