//! Senders and one task, without a network between them: are the cuts straight?
//!
//! What Flink does step by step is told by the recorded vectors. Here is what it is for: whatever
//! the order of things, a completed checkpoint holds exactly what was sent before its barriers.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use super::*;
use crate::message::{CheckpointOptions, SnapshotKind};
use crate::task::subpartition::{self, Subpartition, SubpartitionConfig};

/// A buffer is its number within its channel.
impl Payload for u32 {
    fn bytes(&self) -> u64 {
        1
    }
}

const ALIGNED: Alignment = Alignment::Aligned;
const TIMEOUT: Alignment = Alignment::AlignedWithTimeout(VirtualDuration(10));
const UNALIGNED: Alignment = Alignment::Unaligned;

/// One thing that happens; the number is that of a channel or gate.
#[derive(Clone, Copy, Debug)]
enum Act {
    Emit(u32),
    Barrier(u32),
    End(u32),
    Poll(u32),
    /// The task upstream gives up aligning on its outputs.
    TimeOutSender(u32),
    /// So much time passes, and due timers fire.
    Advance(u64),
}

/// What is known of one channel.
struct Channel {
    sender: Subpartition<u32>,
    emitted: u32,
    ended: bool,
    /// How many buffers were emitted before the barrier of each checkpoint, from 1.
    cuts: Vec<u32>,
    polled: u32,
}

struct World {
    now: VirtualTime,
    alignments: Vec<Alignment>,
    handler: InputHandler<u32>,
    channels: Vec<Channel>,
    out: Vec<Output<u32>>,
    sent: Vec<subpartition::Output<u32>>,
    /// Buffers polled of each channel when the checkpoint was triggered.
    triggered: BTreeMap<CheckpointId, Vec<u32>>,
    persisted: BTreeMap<(CheckpointId, InputChannel), Vec<u32>>,
    persisted_by_receiver: usize,
    persisted_by_sender: usize,
    completed: Vec<CheckpointId>,
    /// Aborted by the task, or not captured by a sender.
    failed: BTreeSet<CheckpointId>,
    blocked: BTreeSet<InputChannel>,
}

impl World {
    fn new(mode: BarrierMode, alignments: &[Alignment], credit: u32) -> Self {
        let config = SubpartitionConfig { credit: Some(credit), buffers_max: 10 };
        let channel = || Channel {
            sender: Subpartition::new(&config),
            emitted: 0,
            ended: false,
            cuts: Vec::new(),
            polled: 0,
        };
        Self {
            now: VirtualTime(1),
            alignments: alignments.to_vec(),
            handler: InputHandler::new(&InputConfig {
                mode,
                checkpoints_after_finish: true,
                gates: vec![vec![ChannelKind::Remote; 2]; 2],
                feedback: Vec::new(),
                defects: Defects::none(),
            }),
            channels: (0..4).map(|_| channel()).collect(),
            out: Vec::new(),
            sent: Vec::new(),
            triggered: BTreeMap::new(),
            persisted: BTreeMap::new(),
            persisted_by_receiver: 0,
            persisted_by_sender: 0,
            completed: Vec::new(),
            failed: BTreeSet::new(),
            blocked: BTreeSet::new(),
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Emit(channel) => self.emit(InputChannel(channel)),
            Act::Barrier(channel) => self.emit_barrier(InputChannel(channel)),
            Act::End(channel) => self.end(InputChannel(channel)),
            Act::Poll(gate) => self.handle(Input::Poll { gate: GateId(gate) }),
            Act::TimeOutSender(channel) => {
                let newest = CheckpointId(self.channels[channel as usize].cuts.len() as u64);
                let input = subpartition::Input::AlignedBarrierTimeout(newest);
                self.tell_sender(InputChannel(channel), input);
            }
            Act::Advance(ns) => {
                self.now += VirtualDuration(ns);
                self.handle(Input::Timeout);
            }
        }
    }

    /// Sends the barriers that are missing, ends nothing, and polls until nothing is left.
    fn run_dry(&mut self) {
        let newest = self.channels.iter().map(|channel| channel.cuts.len()).max().unwrap_or(0);
        for channel in (0..4).map(InputChannel) {
            while self.is_behind(channel, newest) {
                self.emit_barrier(channel);
            }
        }
        while self.handler.has_input() {
            for gate in 0..2 {
                self.act(Act::Poll(gate));
            }
        }
    }

    fn is_behind(&self, channel: InputChannel, newest: usize) -> bool {
        let channel = &self.channels[channel.index()];
        !channel.ended && channel.cuts.len() < newest
    }

    fn emit(&mut self, channel: InputChannel) {
        let source = &mut self.channels[channel.index()];
        if !source.ended {
            source.emitted += 1;
            let element = Element::Buffer(source.emitted - 1);
            self.push(channel, element, false);
        }
    }

    fn emit_barrier(&mut self, channel: InputChannel) {
        let source = &mut self.channels[channel.index()];
        if source.ended {
            return;
        }
        source.cuts.push(source.emitted);
        let id = source.cuts.len();
        let barrier = CheckpointBarrier {
            checkpoint: CheckpointId(id as u64),
            timestamp: VirtualTime(id as u64),
            options: CheckpointOptions {
                kind: SnapshotKind::Checkpoint,
                alignment: self.alignments[id % self.alignments.len()],
            },
        };
        let priority = barrier.options.alignment == UNALIGNED;
        self.push(channel, Element::Barrier(barrier), priority);
    }

    fn end(&mut self, channel: InputChannel) {
        if !std::mem::replace(&mut self.channels[channel.index()].ended, true) {
            self.push(channel, Element::EndOfPartition, false);
        }
    }

    fn push(&mut self, channel: InputChannel, element: Element<u32>, priority: bool) {
        self.tell_sender(channel, subpartition::Input::Push { element, priority });
    }

    fn tell_sender(&mut self, channel: InputChannel, input: subpartition::Input<u32>) {
        let mut sent = std::mem::take(&mut self.sent);
        self.channels[channel.index()].sender.handle(input, &mut sent);
        while self.channels[channel.index()].sender.is_available() {
            self.channels[channel.index()].sender.handle(subpartition::Input::Poll, &mut sent);
        }
        for output in sent.drain(..) {
            match output {
                subpartition::Output::Send { element, priority, .. } => {
                    self.handle(Input::Deliver { channel, element, priority })
                }
                subpartition::Output::Persist { checkpoint, buffer } => {
                    self.persisted_by_sender += 1;
                    self.persist(checkpoint, channel, buffer);
                }
                subpartition::Output::CaptureFailed(checkpoint) => {
                    self.failed.insert(checkpoint);
                }
                subpartition::Output::Available
                | subpartition::Output::Writable
                | subpartition::Output::Captured(_) => {}
            }
        }
        self.sent = sent;
    }

    fn handle(&mut self, input: Input<u32>) {
        let mut out = std::mem::take(&mut self.out);
        self.handler.handle(self.now, input, &mut out);
        for output in out.drain(..) {
            self.on_output(output);
        }
        self.out = out;
    }

    fn on_output(&mut self, output: Output<u32>) {
        match output {
            Output::Buffer { channel, buffer } => {
                let polled = &mut self.channels[channel.index()].polled;
                assert_eq!(buffer, *polled, "{channel} is out of order");
                *polled += 1;
                self.tell_sender(channel, subpartition::Input::Credit(1));
            }
            Output::Trigger { barrier, .. } => {
                let polled = self.channels.iter().map(|channel| channel.polled).collect();
                let again = self.triggered.insert(barrier.checkpoint, polled);
                assert_eq!(again, None, "{} is triggered again", barrier.checkpoint);
            }
            Output::Persist { channel, checkpoint, buffer } => {
                self.persisted_by_receiver += 1;
                self.persist(checkpoint, channel, buffer);
            }
            Output::Complete(checkpoint) => self.completed.push(checkpoint),
            Output::Abort { checkpoint, .. } => {
                self.failed.insert(checkpoint);
            }
            Output::Block(channel) => {
                self.blocked.insert(channel);
            }
            Output::Resume(channel) => {
                self.blocked.remove(&channel);
                self.tell_sender(channel, subpartition::Input::Resume);
            }
            Output::Barrier { .. }
            | Output::Announcement { .. }
            | Output::CancelMarker { .. }
            | Output::EndOfData { .. }
            | Output::EpochWatermark { .. }
            | Output::EndOfPartition { .. }
            | Output::Measured { .. } => {}
        }
    }

    fn persist(&mut self, checkpoint: CheckpointId, channel: InputChannel, buffer: u32) {
        let place = (checkpoint, channel);
        self.persisted.entry(place).or_default().push(buffer);
    }

    /// Everything arrived once, and nobody waits for anybody.
    fn assert_dry(&self) {
        assert_eq!(self.handler.pending(), None);
        for channel in &self.channels {
            assert_eq!(channel.polled, channel.emitted);
            assert_eq!(channel.sender.queued().count(), 0);
            assert!(channel.ended || !channel.sender.is_stopped());
        }
        let open = |channel: &&InputChannel| !self.channels[channel.index()].ended;
        assert_eq!(self.blocked.iter().filter(open).count(), 0);
    }

    /// Buffers emitted on a channel before the barrier of a checkpoint, or before its end.
    fn cut(&self, checkpoint: CheckpointId, channel: InputChannel) -> u32 {
        let channel = &self.channels[channel.index()];
        let place = checkpoint.index() - 1;
        channel.cuts.get(place).copied().unwrap_or(channel.emitted)
    }

    /// Processed before the snapshot and persisted with it: together all that precedes the cut.
    fn assert_straight(&self, checkpoint: CheckpointId) {
        let processed = &self.triggered[&checkpoint];
        for channel in (0..4).map(InputChannel) {
            let mut snapshot: Vec<_> = (0..processed[channel.index()]).collect();
            snapshot.extend(self.persisted.get(&(checkpoint, channel)).into_iter().flatten());
            snapshot.sort_unstable();
            let expected: Vec<_> = (0..self.cut(checkpoint, channel)).collect();
            assert_eq!(snapshot, expected, "{checkpoint} on {channel}");
        }
    }
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        12 => (0u32..4).prop_map(Act::Emit),
        6 => (0u32..4).prop_map(Act::Barrier),
        12 => (0u32..2).prop_map(Act::Poll),
        2 => (0u32..4).prop_map(Act::TimeOutSender),
        2 => (0u64..10).prop_map(Act::Advance),
        1 => (0u32..4).prop_map(Act::End),
    ];
    prop::collection::vec(act, 0..150)
}

fn run(mode: BarrierMode, alignments: &[Alignment], credit: u32, acts: &[Act]) -> World {
    let mut world = World::new(mode, alignments, credit);
    for &act in acts {
        world.act(act);
    }
    world.run_dry();
    world.assert_dry();
    world
}

fn alignments() -> impl Strategy<Value = Vec<Alignment>> {
    prop_oneof![
        Just(vec![ALIGNED]),
        Just(vec![UNALIGNED]),
        Just(vec![TIMEOUT]),
        Just(vec![UNALIGNED, ALIGNED]),
        Just(vec![TIMEOUT, TIMEOUT, ALIGNED, UNALIGNED]),
    ]
}

#[test]
fn completed_checkpoints_cut_straight() {
    // The same cases every time, so that the counts below can be asserted.
    let mut runner = TestRunner::new_with_rng(
        ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() },
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let (straight, failed) = (Cell::new(0), Cell::new(0));
    let (at_receiver, at_sender) = (Cell::new(0), Cell::new(0));
    let cases = (alignments(), 1u32..4, acts());
    let result = runner.run(&cases, |(alignments, credit, acts)| {
        let unaligned = alignments != [ALIGNED];
        let world = run(BarrierMode::ExactlyOnce { unaligned }, &alignments, credit, &acts);
        for checkpoint in &world.completed {
            if world.triggered.contains_key(checkpoint) && !world.failed.contains(checkpoint) {
                world.assert_straight(*checkpoint);
                straight.set(straight.get() + 1);
            }
        }
        failed.set(failed.get() + world.failed.len());
        at_receiver.set(at_receiver.get() + world.persisted_by_receiver);
        at_sender.set(at_sender.get() + world.persisted_by_sender);
        Ok(())
    });
    result.expect("every cut is straight");
    for (name, count) in [
        ("straight cuts", straight),
        ("failed checkpoints", failed),
        ("buffers persisted by the receiver", at_receiver),
        ("buffers persisted by a sender", at_sender),
    ] {
        println!("{} {name}", count.get());
        assert!(count.get() > 500, "too tame: {} {name}", count.get());
    }
}

proptest! {
    #[test]
    fn at_least_once_loses_nothing_and_blocks_nobody(credit in 1u32..4, acts in acts()) {
        let world = run(BarrierMode::AtLeastOnce, &[Alignment::AtLeastOnce], credit, &acts);
        for (&checkpoint, processed) in &world.triggered {
            for channel in (0..4).map(InputChannel) {
                prop_assert!(processed[channel.index()] >= world.cut(checkpoint, channel));
            }
        }
        prop_assert!(world.persisted.is_empty());
    }
}

/// The example at the end of the vectors' description, with both channels' senders in front.
#[test]
fn an_alignment_that_takes_too_long_turns_unaligned() {
    let mode = BarrierMode::ExactlyOnce { unaligned: true };
    let mut world = World::new(mode, &[TIMEOUT], 10);
    for act in [
        Act::Emit(0),
        Act::Emit(0),
        Act::Barrier(0),
        Act::Emit(1),
        Act::Barrier(1),
        Act::Barrier(2),
        Act::Barrier(3),
        // The announcements overtake the buffers, and set the timer.
        Act::Poll(0),
    ] {
        world.act(act);
    }
    assert_eq!(world.handler.next_timeout(), Some(VirtualTime(11)));
    world.act(Act::Advance(20));
    assert_eq!(world.handler.next_timeout(), None);
    world.run_dry();
    world.assert_dry();
    let checkpoint = CheckpointId(1);
    assert_eq!(world.completed, [checkpoint]);
    assert_eq!(world.triggered[&checkpoint], [0, 0, 0, 0]);
    assert_eq!(world.persisted[&(checkpoint, InputChannel(0))], [0, 1]);
    assert_eq!(world.persisted[&(checkpoint, InputChannel(1))], [0]);
}

/// By the wall clock of the task, whatever its timers go by. Flink: `BarrierAlignmentUtil#getTimerDelay`,
/// `CheckpointBarrierHandler#markAlignmentStart`.
#[test]
fn the_age_of_a_barrier_is_the_difference_of_two_wall_clocks() {
    // The barrier is triggered at 1,000 and comes at 1,003; it is aligned for 10.
    let rows = [
        // (wall clock ahead, when the alignment is given up, start delay)
        (0, Some(1_010), 3),
        (5, Some(1_005), 8),
        (7, Some(1_003), 10),
        (8, None, 11),
        (900, None, 903),
        // The barrier is from the future.
        (-2, Some(1_012), 1),
        (-3, Some(1_013), 0),
        (-900, Some(1_910), 0),
    ];
    for (ahead, due, delay) in rows {
        let mut handler = InputHandler::<u32>::new(&InputConfig {
            mode: BarrierMode::ExactlyOnce { unaligned: true },
            checkpoints_after_finish: true,
            gates: vec![vec![ChannelKind::Remote; 2]],
            feedback: Vec::new(),
            defects: Defects::none(),
        });
        let barrier = CheckpointBarrier {
            checkpoint: CheckpointId(1),
            timestamp: VirtualTime(1_000),
            options: CheckpointOptions { kind: SnapshotKind::Checkpoint, alignment: TIMEOUT },
        };
        let (channel, element) = (InputChannel(0), Element::Barrier(barrier));
        let mut out = Vec::new();
        for input in [
            Input::WallClock(ClockOffset(ahead)),
            Input::Deliver { channel, element, priority: false },
            Input::Poll { gate: GateId(0) },
            Input::Poll { gate: GateId(0) },
        ] {
            handler.handle(VirtualTime(1_003), input, &mut out);
        }
        let given_up = out.iter().any(|it| matches!(it, Output::Trigger { .. }));
        assert_eq!(given_up, due.is_none(), "{ahead}: {out:?}");
        if let Some(due) = due {
            assert_eq!(handler.next_timeout(), Some(VirtualTime(due)), "{ahead}");
        }
        let (start_delay, _) = handler.measurement.report(CheckpointId(1));
        assert_eq!(start_delay, VirtualDuration(delay), "{ahead}");
    }
}
