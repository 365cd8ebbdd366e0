//! The books: what passed each channel, and where the lines of pending checkpoints cross it.
//!
//! Written once for every data-plane observation and read by several checks, so that a record
//! costs one pass over one cache line. The books judge nothing.
//!
//! A channel's sequence, in one execution, is what was recovered in front of it, then what was
//! sent. What was recovered may be observed after the first record was sent (the tasks restore at
//! different speeds), so digests of sequences must concatenate: hence a polynomial hash.

use cutline::ids::{ChannelId, CheckpointId, LayoutId, OperatorId, RegionId, SubtaskId};
use cutline::job::{EdgeId, ExecutionGraph, Layout};
use cutline::message::{Alignment, SnapshotKind};
use cutline::operator::{Record, SplitId, mix};

use super::CheckConfig;
use crate::observe::{CutKind, Observation, TaskState};

/// Digest of a sequence of records. Two of them compare equal if the sequences are, but for a
/// 64-bit coincidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sequence {
    pub(super) count: u64,
    hash: u64,
}

impl Sequence {
    /// Odd, so that no element's influence is ever shifted out.
    const BASE: u64 = 0x9e37_79b9_7f4a_7c15;

    #[inline]
    pub(super) fn push(&mut self, record: &Record) {
        let who = u64::from(record.split.0) << 32 | u64::from(record.key);
        let word = mix(record.path ^ who, record.offset);
        self.hash = self.hash.wrapping_mul(Self::BASE).wrapping_add(word);
        self.count += 1;
    }

    /// This sequence, then `other`.
    pub(super) fn then(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            hash: self.hash.wrapping_mul(power(other.count)).wrapping_add(other.hash),
        }
    }

    /// What has to follow `self` to give `whole`.
    fn rest_of(self, whole: Self) -> Self {
        let count = whole.count - self.count;
        Self { count, hash: whole.hash.wrapping_sub(self.hash.wrapping_mul(power(count))) }
    }
}

fn power(mut exponent: u64) -> u64 {
    let (mut base, mut result) = (Sequence::BASE, 1_u64);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = result.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        exponent >>= 1;
    }
    result
}

/// One channel in the present execution; one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Flow {
    /// All that belongs to the channel so far: recovered, then sent.
    pub(super) sent: Sequence,
    /// All that the receiver's operator got.
    pub(super) processed: Sequence,
    /// The recovered prefix of `sent`.
    pub(super) recovered: Sequence,
    /// Number of sent records at which the restored output is complete; then it is compared.
    pub(super) restored_output: u64,
    /// Alignment has blocked the channel.
    pub(super) blocked: bool,
    /// The barrier of a checkpoint was received that the receiver has yet to take.
    pub(super) behind: bool,
}

/// No record is numbered so: records are numbered from 1 when they are compared.
const NOTHING_RESTORED: u64 = 0;

impl Flow {
    const NEW: Self = Self {
        sent: Sequence { count: 0, hash: 0 },
        processed: Sequence { count: 0, hash: 0 },
        recovered: Sequence { count: 0, hash: 0 },
        restored_output: NOTHING_RESTORED,
        blocked: false,
        behind: false,
    };

    /// Whether a record was sent that the receiver's operator has not got.
    pub(super) fn is_loaded(&self) -> bool {
        self.sent.count > self.processed.count
    }

    /// What the sender sent in this execution.
    pub(super) fn output(&self) -> Sequence {
        self.recovered.rest_of(self.sent)
    }

    fn recover(&mut self, record: &Record) {
        let output = self.output();
        self.recovered.push(record);
        self.sent = self.recovered.then(output);
    }
}

/// Where one checkpoint's line crosses one channel.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Crossing {
    /// The channel's sequence when its barrier was sent, or when its sender had finished.
    pub(super) sent: Option<Sequence>,
    /// What the receiver had processed at its cut.
    pub(super) received: Option<Sequence>,
    /// In-flight records persisted at the receiver.
    pub(super) at_receiver: Sequence,
    /// In-flight records persisted at the sender; they follow those at the receiver.
    pub(super) at_sender: Sequence,
}

impl Crossing {
    pub(super) fn in_flight(&self) -> bool {
        self.at_receiver.count + self.at_sender.count > 0
    }
}

/// How one subtask takes part in one checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Not yet.
    Awaited,
    /// It was cut.
    Cut(CutKind),
    /// It had finished before the line reached it.
    Finished,
    /// It is none of the job's as it is spread now.
    Absent,
}

/// A pending checkpoint: a line that is being drawn.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) checkpoint: CheckpointId,
    pub(super) kind: SnapshotKind,
    pub(super) alignment: Alignment,
    /// Number of the execution that draws it.
    execution: u64,
    /// By subtask.
    pub(super) parts: Vec<Part>,
    /// By channel.
    pub(super) crossings: Vec<Crossing>,
    /// Next offset, by split (see [`Splits`]).
    pub(super) positions: Vec<u64>,
    /// How the job is spread that draws it.
    layout: LayoutId,
    /// In-flight records themselves, if the job is going to be rescaled: their channels alone will
    /// not say then where they belong.
    persisted: Vec<Persisted>,
}

/// A record that was in flight at a cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Persisted {
    pub(super) channel: ChannelId,
    pub(super) at_sender: bool,
    pub(super) record: Record,
}

/// In-flight records of a durable checkpoint on one channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub(super) channel: ChannelId,
    pub(super) at_receiver: Sequence,
    pub(super) at_sender: Sequence,
}

/// A durable checkpoint: what a restore from it must begin with.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) checkpoint: CheckpointId,
    pub(super) positions: Vec<u64>,
    /// Channels with in-flight records, in the order of their ids.
    pub(super) in_flight: Vec<InFlight>,
    /// How the job was spread.
    pub(super) layout: LayoutId,
    /// The records themselves, if the job is going to be rescaled.
    persisted: Vec<Persisted>,
    /// Subtasks that had finished.
    finished: Vec<SubtaskId>,
}

/// Numbers the splits of all sources densely.
#[derive(Clone, Debug)]
pub(super) struct Splits {
    /// First number of a source's splits, by operator.
    start: Vec<u32>,
    ids: Vec<SplitId>,
    /// The offset at which each is begun.
    first: Vec<u64>,
}

impl Splits {
    fn new(config: &CheckConfig) -> Self {
        let (mut start, mut ids, mut first) = (Vec::new(), Vec::new(), Vec::new());
        for (operator, role) in config.roles.iter().enumerate() {
            start.push(ids.len() as u32);
            let splits = role.splits();
            ids.extend((0..splits).map(|index| SplitId::new(operator as u32, index)));
            first.extend(config.first_offsets.get(operator).into_iter().flatten());
            first.resize(ids.len(), 0);
        }
        Self { start, ids, first }
    }

    #[inline]
    pub(super) fn number(&self, split: SplitId) -> usize {
        (self.start[split.source() as usize] + split.index_in_source()) as usize
    }

    pub(super) fn ids(&self) -> &[SplitId] {
        &self.ids
    }
}

/// The books of a run.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    /// By channel.
    pub(super) flows: Vec<Flow>,
    /// How many inputs of each subtask are blocked.
    blocked: Vec<u32>,
    /// Pending checkpoints, in the order of their triggering; few.
    pub(super) lines: Vec<Line>,
    /// Durable checkpoints that are not subsumed, in the order in which they became durable.
    pub(super) kept: Vec<Kept>,
    pub(super) splits: Splits,
    /// Number of the present execution.
    execution: u64,
    /// Next offset, by split.
    pub(super) positions: Vec<u64>,
    /// Who emitted last from a split in this execution.
    readers: Vec<Option<SubtaskId>>,
    /// Subtasks that have finished in this execution.
    pub(super) finished: Vec<bool>,
    /// Subtasks that had finished in the checkpoint that this execution began with.
    had_finished: Vec<bool>,
    /// In-flight records of the checkpoint that this execution began with, on channels of edges that
    /// have not changed.
    restored: Vec<InFlight>,
    /// In-flight records of that checkpoint on edges whose channels have changed.
    pub(super) moved: Vec<Persisted>,
    /// Of each edge, whether the checkpoint was taken with another parallelism at one of its ends.
    changed: Vec<bool>,
    /// Whether that is known: false after a restore from a checkpoint that was never seen durable.
    pub(super) origin_known: bool,
    /// Memory of closed lines, for the next ones.
    spare: Vec<Line>,
}

impl Ledger {
    pub(super) fn new(graph: &ExecutionGraph, config: &CheckConfig) -> Self {
        let splits = Splits::new(config);
        Self {
            flows: vec![Flow::NEW; graph.channels().len()],
            blocked: vec![0; graph.subtasks()],
            lines: Vec::new(),
            kept: Vec::new(),
            execution: 0,
            positions: splits.first.clone(),
            readers: vec![None; splits.ids.len()],
            finished: vec![false; graph.subtasks()],
            had_finished: vec![false; graph.subtasks()],
            restored: Vec::new(),
            moved: Vec::new(),
            changed: vec![false; graph.job().edges().len()],
            origin_known: true,
            spare: Vec::new(),
            splits,
        }
    }

    /// The line of a pending checkpoint.
    pub(super) fn line(&self, checkpoint: CheckpointId) -> Option<&Line> {
        self.lines.iter().find(|line| line.checkpoint == checkpoint)
    }

    fn line_mut(&mut self, checkpoint: CheckpointId) -> Option<&mut Line> {
        self.lines.iter_mut().find(|line| line.checkpoint == checkpoint)
    }

    /// What a durable checkpoint left.
    pub(super) fn kept(&self, checkpoint: CheckpointId) -> Option<&Kept> {
        self.kept.iter().find(|kept| kept.checkpoint == checkpoint)
    }

    /// Whether a subtask had finished in the checkpoint that it began with.
    pub(super) fn had_finished(&self, subtask: SubtaskId) -> bool {
        self.had_finished[subtask.index()]
    }

    /// What the present execution must find in front of a channel, and send on it first.
    pub(super) fn restored(&self, channel: ChannelId) -> Option<&InFlight> {
        let at = self.restored.binary_search_by_key(&channel, |in_flight| in_flight.channel);
        at.ok().map(|index| &self.restored[index])
    }

    /// Whether the channels of an edge are others than those of the checkpoint that this execution
    /// began with.
    pub(super) fn has_changed(&self, edge: EdgeId) -> bool {
        self.changed[edge.0 as usize]
    }

    /// Alignment blocks a channel.
    pub(super) fn block(&mut self, channel: ChannelId, graph: &ExecutionGraph) {
        let receiver = graph.channels()[channel.index()].to;
        self.flows[channel.index()].blocked = true;
        self.blocked[receiver.index()] += 1;
    }

    /// Alignment lets go of a channel.
    pub(super) fn resume(&mut self, channel: ChannelId, graph: &ExecutionGraph) {
        let flow = &mut self.flows[channel.index()];
        if flow.blocked {
            self.blocked[graph.channels()[channel.index()].to.index()] -= 1;
        }
        (flow.blocked, flow.behind) = (false, false);
    }

    /// Whether inputs of a subtask are blocked.
    pub(super) fn aligns(&self, subtask: SubtaskId) -> bool {
        self.blocked[subtask.index()] > 0
    }

    /// A source emitted; answers the offset that was due.
    #[inline]
    pub(super) fn on_emitted(&mut self, subtask: SubtaskId, split: SplitId, offset: u64) -> u64 {
        let number = self.splits.number(split);
        self.readers[number] = Some(subtask);
        std::mem::replace(&mut self.positions[number], offset + 1)
    }

    pub(super) fn on_barrier_sent(&mut self, channel: ChannelId, checkpoint: CheckpointId) {
        let sent = self.flows[channel.index()].sent;
        if let Some(line) = self.line_mut(checkpoint) {
            // The first barrier of a channel is the line; order.rs reports a second one.
            line.crossings[channel.index()].sent.get_or_insert(sent);
        }
    }

    /// Everything but data and barriers, and but `Durable`: see [`Ledger::keep`].
    pub(super) fn observe(
        &mut self,
        observation: &Observation,
        graph: &ExecutionGraph,
        layout: LayoutId,
    ) {
        match *observation {
            Observation::Triggered { checkpoint, kind, alignment } => {
                self.open(checkpoint, kind, alignment, (graph, layout));
            }
            Observation::Persisted { channel, checkpoint, ref record, at_sender } => {
                if let Some(line) = self.line_mut(checkpoint) {
                    let crossing = &mut line.crossings[channel.index()];
                    let part =
                        if at_sender { &mut crossing.at_sender } else { &mut crossing.at_receiver };
                    part.push(record);
                    if graph.layouts().len() > 1 {
                        line.persisted.push(Persisted { channel, at_sender, record: *record });
                    }
                }
            }
            Observation::Recovered { channel, ref record } => {
                self.flows[channel.index()].recover(record);
            }
            Observation::Cut { subtask, checkpoint, how } => {
                self.cut(subtask, checkpoint, how, graph);
            }
            Observation::Task { subtask, state: TaskState::Finished, .. } => {
                self.finish(subtask, graph);
            }
            Observation::Failed { checkpoint, .. } => self.close(checkpoint),
            Observation::RestoreChosen { checkpoint } => self.restart(checkpoint, (graph, layout)),
            Observation::RegionRestored { region, checkpoint } => {
                self.restart_region(region, checkpoint, graph);
            }
            _ => {}
        }
    }

    fn open(
        &mut self,
        checkpoint: CheckpointId,
        kind: SnapshotKind,
        alignment: Alignment,
        (graph, layout): (&ExecutionGraph, LayoutId),
    ) {
        let (subtasks, channels) = (graph.subtasks(), self.flows.len());
        let splits = self.positions.len();
        let mut line = self.spare.pop().unwrap_or_else(|| Line {
            checkpoint,
            kind,
            alignment,
            execution: 0,
            parts: vec![Part::Awaited; subtasks],
            crossings: vec![Crossing::default(); channels],
            positions: vec![0; splits],
            layout,
            persisted: Vec::new(),
        });
        (line.checkpoint, line.kind, line.alignment) = (checkpoint, kind, alignment);
        line.execution = self.execution;
        line.layout = layout;
        line.persisted.clear();
        line.parts.fill(Part::Absent);
        let present = graph.layout(layout);
        line.parts[present.indices()].fill(Part::Awaited);
        line.crossings.fill(Crossing::default());
        line.positions.copy_from_slice(&self.positions);
        self.lines.push(line);
        for subtask in present.subtasks() {
            if self.finished[subtask as usize] {
                self.take_finished(self.lines.len() - 1, SubtaskId(subtask), graph);
            }
        }
    }

    fn cut(
        &mut self,
        subtask: SubtaskId,
        checkpoint: CheckpointId,
        how: CutKind,
        graph: &ExecutionGraph,
    ) {
        for &channel in graph.inputs(subtask) {
            self.flows[channel.index()].behind = false;
        }
        let Some(line) = self.lines.iter_mut().find(|line| line.checkpoint == checkpoint) else {
            return;
        };
        line.parts[subtask.index()] = Part::Cut(how);
        for &channel in graph.inputs(subtask) {
            let processed = self.flows[channel.index()].processed;
            line.crossings[channel.index()].received = Some(processed);
        }
        self.take_positions(subtask, checkpoint, graph);
    }

    /// A split that nobody has read in this execution stays where it was when the line opened.
    fn take_positions(
        &mut self,
        subtask: SubtaskId,
        checkpoint: CheckpointId,
        graph: &ExecutionGraph,
    ) {
        if !graph.is_source(subtask) {
            return;
        }
        let Some(line) = self.lines.iter_mut().find(|line| line.checkpoint == checkpoint) else {
            return;
        };
        for (number, reader) in self.readers.iter().enumerate() {
            if *reader == Some(subtask) {
                line.positions[number] = self.positions[number];
            }
        }
    }

    fn finish(&mut self, subtask: SubtaskId, graph: &ExecutionGraph) {
        self.finished[subtask.index()] = true;
        for index in 0..self.lines.len() {
            if self.lines[index].parts[subtask.index()] == Part::Awaited {
                self.take_finished(index, subtask, graph);
            }
        }
    }

    /// A finished subtask sends no barrier: all that it ever sent is before the line.
    fn take_finished(&mut self, line: usize, subtask: SubtaskId, graph: &ExecutionGraph) {
        let line = &mut self.lines[line];
        line.parts[subtask.index()] = Part::Finished;
        for &channel in graph.outputs(subtask) {
            line.crossings[channel.index()].sent = Some(self.flows[channel.index()].sent);
        }
        let checkpoint = line.checkpoint;
        self.take_positions(subtask, checkpoint, graph);
    }

    /// `Durable`, after it was judged: of the line only what a restore needs is kept.
    pub(super) fn keep(&mut self, checkpoint: CheckpointId) {
        let Some(line) = self.line_mut(checkpoint) else { return };
        let persisted = std::mem::take(&mut line.persisted);
        let in_flight = |(index, crossing): (usize, &Crossing)| InFlight {
            channel: ChannelId(index as u32),
            at_receiver: crossing.at_receiver,
            at_sender: crossing.at_sender,
        };
        let channels = line.crossings.iter().enumerate();
        let kept = Kept {
            checkpoint,
            positions: line.positions.clone(),
            in_flight: channels
                .filter(|(_, crossing)| crossing.in_flight())
                .map(in_flight)
                .collect(),
            layout: line.layout,
            persisted,
            finished: (0..line.parts.len() as u32)
                .map(SubtaskId)
                .filter(|subtask| line.parts[subtask.index()] == Part::Finished)
                .collect(),
        };
        self.kept.push(kept);
        self.close(checkpoint);
    }

    /// Nobody will go back to this checkpoint any more.
    pub(super) fn forget(&mut self, checkpoint: CheckpointId) {
        self.kept.retain(|kept| kept.checkpoint != checkpoint);
    }

    fn close(&mut self, checkpoint: CheckpointId) {
        if let Some(index) = self.lines.iter().position(|line| line.checkpoint == checkpoint) {
            let line = self.lines.remove(index);
            self.spare.push(line);
        }
    }

    /// A new execution: channels are new, sources stand where the checkpoint has them.
    fn restart(
        &mut self,
        checkpoint: Option<CheckpointId>,
        (graph, layout): (&ExecutionGraph, LayoutId),
    ) {
        // The decision on the last execution's checkpoints may still be under way; older lines are
        // those of leaders that died without a word.
        let abandoned = |line: &&Line| line.execution < self.execution;
        for line in self.lines.iter().filter(abandoned).map(|it| it.checkpoint).collect::<Vec<_>>()
        {
            self.close(line);
        }
        self.execution += 1;
        self.flows.fill(Flow::NEW);
        self.blocked.fill(0);
        self.readers.fill(None);
        self.finished.fill(false);
        self.had_finished.fill(false);
        self.restored.clear();
        self.moved.clear();
        self.changed.fill(false);
        self.origin_known = true;
        let kept = checkpoint.and_then(|id| self.kept.iter().find(|kept| kept.checkpoint == id));
        let Some(kept) = kept else {
            // From scratch; or from a checkpoint nobody knows, which restore.rs reports.
            self.origin_known = checkpoint.is_none();
            self.positions.copy_from_slice(&self.splits.first);
            return;
        };
        self.positions.copy_from_slice(&kept.positions);
        if kept.layout == layout {
            self.restored.extend_from_slice(&kept.in_flight);
            kept.finished.iter().for_each(|it| self.had_finished[it.index()] = true);
        } else {
            let (before, now) = (graph.layout(kept.layout), graph.layout(layout));
            let operators = (0..graph.job().operators().len() as u32).map(OperatorId);
            let over = |it: &OperatorId| {
                let mut subtasks = before.subtasks_of(*it).map(SubtaskId);
                subtasks.all(|subtask| kept.finished.contains(&subtask))
            };
            for subtask in operators.filter(over).flat_map(|it| now.subtasks_of(it)) {
                self.had_finished[subtask as usize] = true;
            }
            for (edge, changed) in graph.job().edges().iter().zip(&mut self.changed) {
                *changed = before.differs(now, edge.from) || before.differs(now, edge.to);
            }
            let edge = |channel: ChannelId| graph.channels()[channel.index()].edge;
            let stays = |channel| !self.changed[edge(channel).0 as usize];
            let renamed = |it: &InFlight| {
                let channel = same_channel(it.channel, (graph, before), now);
                InFlight { channel, ..*it }
            };
            let same = kept.in_flight.iter().filter(|it| stays(it.channel));
            self.restored.extend(same.map(renamed));
            self.restored.sort_by_key(|in_flight| in_flight.channel);
            self.moved.extend(kept.persisted.iter().filter(|it| !stays(it.channel)));
        }
        for in_flight in &self.restored {
            self.flows[in_flight.channel.index()].restored_output = in_flight.at_sender.count;
        }
    }
}

impl Ledger {
    /// New attempts of the subtasks of one region: their channels are new, what they read begins where
    /// the checkpoint has it. All else is as it was.
    fn restart_region(
        &mut self,
        region: RegionId,
        checkpoint: Option<CheckpointId>,
        graph: &ExecutionGraph,
    ) {
        let kept = checkpoint.and_then(|id| self.kept.iter().find(|kept| kept.checkpoint == id));
        self.origin_known &= checkpoint.is_none() || kept.is_some();
        let regions = graph.regions();
        let within = |subtask: SubtaskId| regions.of(subtask) == region;
        for (number, reader) in self.readers.iter_mut().enumerate() {
            if reader.is_some_and(within) {
                *reader = None;
                let first = self.splits.first[number];
                self.positions[number] = kept.map_or(first, |kept| kept.positions[number]);
            }
        }
        // The job has taken this checkpoint as it is spread now: nothing moves any more.
        self.moved.clear();
        self.changed.fill(false);
        let receiver = |channel: ChannelId| graph.channels()[channel.index()].to;
        self.restored.retain(|in_flight| !within(receiver(in_flight.channel)));
        for &subtask in regions.subtasks(region) {
            self.finished[subtask.index()] = false;
            self.had_finished[subtask.index()] =
                kept.is_some_and(|kept| kept.finished.contains(&subtask));
            self.blocked[subtask.index()] = 0;
            for &channel in graph.inputs(subtask) {
                self.flows[channel.index()] = Flow::NEW;
            }
        }
        let in_flight = kept.iter().flat_map(|kept| &kept.in_flight);
        for in_flight in in_flight.filter(|it| within(receiver(it.channel))) {
            self.restored.push(*in_flight);
            self.flows[in_flight.channel.index()].restored_output = in_flight.at_sender.count;
        }
        self.restored.sort_by_key(|in_flight| in_flight.channel);
    }
}

/// What a channel is called in another layout, in which both ends of its edge are as they were.
fn same_channel(
    channel: ChannelId,
    (graph, before): (&ExecutionGraph, &Layout),
    now: &Layout,
) -> ChannelId {
    let edge = |channel: u32| graph.channels()[channel as usize].edge;
    let of = edge(channel.0);
    let first = |layout: &Layout| {
        layout.channels().find(|channel| edge(*channel) == of).expect("an edge has channels")
    };
    ChannelId(first(now) + (channel.0 - first(before)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sequence(offsets: &[u64]) -> Sequence {
        let mut sequence = Sequence::default();
        for &offset in offsets {
            sequence.push(&super::super::testing::record(0, offset));
        }
        sequence
    }

    proptest! {
        #[test]
        fn digests_concatenate(
            first in prop::collection::vec(0_u64..50, 0..20),
            second in prop::collection::vec(0_u64..50, 0..20),
        ) {
            let whole: Vec<u64> = first.iter().chain(&second).copied().collect();
            let (a, b, ab) = (sequence(&first), sequence(&second), sequence(&whole));
            prop_assert_eq!(a.then(b), ab);
            prop_assert_eq!(a.rest_of(ab), b);
        }

        #[test]
        fn equal_digests_mean_equal_sequences(
            first in prop::collection::vec(0_u64..3, 0..6),
            second in prop::collection::vec(0_u64..3, 0..6),
        ) {
            prop_assert_eq!(sequence(&first) == sequence(&second), first == second);
        }
    }
}
