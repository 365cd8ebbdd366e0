//! A chain of operators in a task: one barrier, one snapshot, one acknowledgement. And what comes
//! back to it.

use super::*;
use crate::ids::OperatorId;
use crate::job::{EdgeId, OutputEdge, Partitioner};
use crate::message::{Alignment, CheckpointOptions, SnapshotKind};
use crate::operator::{Aggregate, Chain, Fingerprint, Instance, SplitId};
use crate::task::barrier::ChannelKind;

/// Two counts, one behind the other, one input channel, and an output channel on each edge.
fn chain(edges: &[OutputEdge]) -> Subtask {
    let defects = Defects::none();
    let config = SubtaskConfig {
        input: InputConfig {
            mode: BarrierMode::ExactlyOnce { unaligned: false },
            checkpoints_after_finish: true,
            gates: vec![vec![ChannelKind::Remote]],
            feedback: Vec::new(),
            defects,
        },
        gate_inputs: vec![0],
        local_inputs: vec![false],
        local_outputs: vec![false; edges.len()],
        exclusive_buffers: 2,
        floating_buffers: 8,
        output_edges: vec![1; edges.len()],
        aligned_edges: vec![false; edges.len()],
        loop_edges: vec![LoopEdge::Outside; edges.len()],
        buffers_per_subpartition: 10,
        debloat: DebloatOptions::default(),
        waits_for_final_checkpoint: false,
        finished_on_restore: false,
        commit_retries: 0,
        event_time: false,
        defects,
    };
    let count = |operator| -> Box<dyn Operator> {
        Box::new(Aggregate::new(Instance::single(OperatorId(operator)), true, 0))
    };
    let chain = Chain::new(vec![count(0), count(1)]);
    Subtask::new(config, Box::new(chain), Router::new(edges, 0))
}

/// What the subtask says to an element, once it has polled it.
fn told(subtask: &mut Subtask, element: Element<Record>) -> Vec<Output> {
    let (channel, mut out) = (InputChannel(0), Vec::new());
    let frame = Frame { element, priority: false, backlog: 0 };
    for input in [Input::Deliver { channel, frame }, Input::Run] {
        subtask.handle(VirtualTime::ZERO, input, &mut out);
    }
    out
}

fn start(subtask: &mut Subtask, restored: Option<CheckpointId>, state: Vec<(u32, Vec<u8>)>) {
    let channels = Box::default();
    let input = Input::Start { restored, state, channels };
    subtask.handle(VirtualTime::ZERO, input, &mut Vec::new());
}

fn record(offset: u64) -> Record {
    Record {
        split: SplitId::new(0, 0),
        key: 1,
        offset,
        path: 0,
        event_time: VirtualTime::ZERO,
        weight: 1,
        record_bytes: 1,
    }
}

#[test]
fn one_acknowledgement_carries_the_states_of_all_operators() {
    let mut subtask = chain(&[]);
    start(&mut subtask, None, Vec::new());
    for offset in 0..3 {
        let out = told(&mut subtask, Element::Buffer(record(offset)));
        let handed_on = out.iter().filter(|it| matches!(it, Output::Chained { link: 1, .. }));
        assert_eq!(handed_on.count(), 1, "{out:?}");
    }
    let barrier = CheckpointBarrier {
        checkpoint: CheckpointId(1),
        timestamp: VirtualTime::ZERO,
        options: CheckpointOptions {
            kind: SnapshotKind::Checkpoint,
            alignment: Alignment::Aligned,
        },
    };
    let out = told(&mut subtask, Element::Barrier(barrier));
    assert_eq!(out.iter().filter(|it| matches!(it, Output::Cut { .. })).count(), 1);
    let state: Vec<(u32, Vec<u8>)> = out
        .into_iter()
        .filter_map(|output| match output {
            Output::Upload { link, bytes, .. } => Some((link, bytes)),
            _ => None,
        })
        .collect();
    let links: Vec<u32> = state.iter().map(|(link, _)| *link).collect();
    assert_eq!(links, [1, 0], "from tail to head, as in Flink");
    let uploaded = Input::Uploaded { checkpoint: CheckpointId(1), written: true };
    for acknowledged in [false, true] {
        let mut out = Vec::new();
        subtask.handle(VirtualTime::ZERO, uploaded.clone(), &mut out);
        let is = out.iter().any(|it| matches!(it, Output::Acknowledge(CheckpointId(1))));
        assert_eq!(is, acknowledged, "{out:?}");
    }

    let mut restored = chain(&[]);
    start(&mut restored, Some(CheckpointId(1)), state);
    assert_ne!(restored.operator().fingerprint(), Fingerprint::EMPTY);
    assert_eq!(restored.operator().fingerprint(), subtask.operator().fingerprint());
}

/// Knows what has come back.
#[derive(Default)]
struct Network {
    out: Vec<Output>,
    back: VecDeque<Back>,
}

impl Outputs for Network {
    fn push(&mut self, output: Output) {
        self.out.push(output);
    }

    fn take_back(&mut self, channel: OutputChannel) -> Option<Back> {
        assert_eq!(channel, OutputChannel(0));
        self.back.pop_front()
    }
}

#[test]
fn a_record_leaves_with_the_credit_that_has_come_back_unless_something_waits() {
    let edge = OutputEdge {
        edge: EdgeId(0),
        partitioner: Partitioner::Forward,
        channels: 0..1,
        parallelism: 1,
        max_parallelism: 1,
        feedback: None,
        in_loop: false,
    };
    let mut subtask = chain(&[edge]);
    start(&mut subtask, None, Vec::new());
    let connect = Input::Back { channel: OutputChannel(0), back: Back::Connect(1) };
    subtask.handle(VirtualTime::ZERO, connect, &mut Vec::new());
    // One has credit, the next finds some, one finds none and waits, and so does the one behind it.
    let rows = [
        (None, "passed"),
        (Some(Back::Credit(1)), "passed"),
        (Some(Back::Resume), "waits"),
        (Some(Back::Credit(1)), "waits"),
    ];
    for (offset, (back, expected)) in rows.into_iter().enumerate() {
        let mut network = Network { out: Vec::new(), back: back.into_iter().collect() };
        let element = Element::Buffer(record(offset as u64));
        let (channel, frame) = (InputChannel(0), Frame { element, priority: false, backlog: 0 });
        for input in [Input::Deliver { channel, frame }, Input::Run] {
            subtask.handle(VirtualTime::ZERO, input, &mut network);
        }
        let told = network.out.iter().find_map(|output| match output {
            Output::Passed { .. } => Some("passed"),
            Output::AwaitBack(_) => Some("waits"),
            _ => None,
        });
        assert_eq!(told, Some(expected), "{offset}: {:?}", network.out);
        assert_eq!(network.back.len(), usize::from(offset == 3), "it is left to whoever waits");
    }
}
