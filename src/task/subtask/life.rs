//! Start (R4, R6) and end of a subtask.

use super::{Back, Mail, Output, Outputs, Phase, Subtask};
use crate::defect::Defect;
use crate::enumerator::SplitEvent;
use crate::ids::{CheckpointId, InputChannel};
use crate::message::{CheckpointBarrier, Element, FailureReason};
use crate::storage::channel_state::ChannelState;

impl Subtask {
    pub(super) fn on_start(
        &mut self,
        restored: Option<CheckpointId>,
        state: &[(u32, Vec<u8>)],
        channels: &ChannelState,
        out: &mut impl Outputs,
    ) {
        assert_eq!(self.phase, Phase::Initializing);
        for (link, part) in state {
            if let Err(error) = self.operator_of(*link).restore(part) {
                out.push(Output::RestoreFailed(error.to_string()));
                return;
            }
        }
        self.snapshots.on_restored(restored);
        self.operator.open(restored, &mut self.effects);
        self.flush_effects(out);
        for (index, gate) in self.gate_of.iter().enumerate() {
            let channel = InputChannel(index as u32);
            let credit = self.credits[gate.index()].initial(channel);
            out.push(Output::SendBack { channel, back: Back::Connect(credit) });
        }
        for (channel, record) in &channels.inputs {
            out.push(Output::Recovered { channel: *channel, record: *record });
            self.recovered.push_back((*channel, *record));
        }
        if self.defects.has(Defect::D21)
            && let Some((channel, record)) = self.recovered.pop_front()
        {
            self.process(channel, &record, out);
        }
        for (channel, record) in &channels.outputs {
            self.send(*channel, *record, out);
        }
        self.phase = Phase::Recovering;
        if self.finished_on_restore {
            self.phase = Phase::Running;
            out.push(Output::Running);
            self.end_of_data(out);
        } else if self.recovered.is_empty() || self.defects.has(Defect::D22) {
            self.run(out);
        }
    }

    /// The restored channel state has been consumed. Only now may a checkpoint be taken: one taken
    /// before would miss what is still waiting here.
    pub(super) fn run(&mut self, out: &mut impl Outputs) {
        self.phase = Phase::Running;
        out.push(Output::Running);
        self.ask_for_split(out);
    }

    pub(super) fn on_split_event(&mut self, event: SplitEvent, out: &mut impl Outputs) {
        if let Some(source) = self.operator.as_source() {
            source.on_event(event);
        }
        self.ask_for_split(out);
    }

    /// A reader without a split says so, once.
    pub(super) fn ask_for_split(&mut self, out: &mut impl Outputs) {
        if self.phase == Phase::Running
            && self.operator.as_source().is_some_and(|source| source.take_request())
        {
            out.push(Output::RequestSplit);
        }
    }

    pub(super) fn end_of_input(&mut self, out: &mut impl Outputs) {
        self.finish_operator(out);
        self.end_of_data(out);
    }

    pub(super) fn finish_operator(&mut self, out: &mut impl Outputs) {
        self.end_event_time(out);
        self.emitter.clear();
        self.operator.finish(&mut self.emitter);
        self.flush_emitter(out);
    }

    /// Nothing is read or processed from here on.
    ///
    /// Deviation: Flink sends the end of data ahead of the barrier, and says in it whether
    /// operators are to finish. Here the barrier says it. Nothing comes between the two, so the cut
    /// is the same.
    pub(super) fn stop_with(&mut self, savepoint: CheckpointId) {
        self.stops_with = Some(savepoint);
        if self.phase == Phase::Running {
            self.phase = Phase::Stopping;
        }
    }

    fn end_of_data(&mut self, out: &mut impl Outputs) {
        self.broadcast(Element::EndOfData, out);
        if self.waits_for_final_checkpoint && !self.finished_on_restore {
            // A checkpoint that has been cut here already does not contain the end.
            let next = self.snapshots.next();
            let least = self.operator.least_final_checkpoint().map_or(next, |it| it.max(next));
            self.phase = Phase::AwaitingFinalCheckpoint(least);
        } else {
            self.phase = Phase::Settling;
        }
    }

    /// A sink that ended before its last commit is confirmed could not repeat it; a snapshot that
    /// is acknowledged by nobody would leave its files behind. Flink: `StreamTask#afterInvoke`,
    /// `SubtaskCheckpointCoordinator#waitForPendingCheckpoints`.
    pub(super) fn finish_if_settled(&mut self, out: &mut impl Outputs) {
        if self.commits.is_empty() && self.snapshots.is_empty() {
            self.finish(out);
        }
    }

    fn finish(&mut self, out: &mut impl Outputs) {
        self.phase = Phase::Finished;
        // A trigger that nobody will read any more must not be waited for. Flink:
        // `Task#triggerCheckpointBarrier`, whose mail a mailbox that closes rejects.
        let read = self.held_trigger.take();
        let unread = self.mailbox.drain(..).filter_map(|mail| match mail {
            Mail::Trigger(barrier) => Some(barrier),
            Mail::NotifyComplete(_)
            | Mail::NotifyAborted(_)
            | Mail::Split { .. }
            | Mail::Capture { .. } => None,
        });
        for CheckpointBarrier { checkpoint, .. } in read.into_iter().chain(unread) {
            let reason = FailureReason::CheckpointDeclinedTaskClosing;
            out.push(Output::Decline { checkpoint, reason });
        }
        self.broadcast(Element::EndOfPartition, out);
        out.push(Output::Finished);
    }
}
