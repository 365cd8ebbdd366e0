//! A chain of operators in a task: one barrier, one snapshot, one acknowledgement.

use super::*;
use crate::ids::OperatorId;
use crate::message::{Alignment, CheckpointOptions, SnapshotKind};
use crate::operator::{Aggregate, Chain, Fingerprint, Instance, SplitId};
use crate::task::barrier::ChannelKind;

/// Two counts, one behind the other, and one input channel.
fn chain() -> Subtask {
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
        exclusive_buffers: 2,
        floating_buffers: 8,
        output_edges: Vec::new(),
        aligned_edges: Vec::new(),
        loop_edges: Vec::new(),
        buffers_per_subpartition: 10,
        waits_for_final_checkpoint: false,
        finished_on_restore: false,
        commit_retries: 0,
        event_time: false,
        defects,
    };
    let count = |operator| -> Box<dyn Operator> {
        Box::new(Aggregate::new(Instance::single(OperatorId(operator)), true, 0))
    };
    Subtask::new(config, Box::new(Chain::new(vec![count(0), count(1)])), Router::default())
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
    let mut subtask = chain();
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

    let mut restored = chain();
    start(&mut restored, Some(CheckpointId(1)), state);
    assert_ne!(restored.operator().fingerprint(), Fingerprint::EMPTY);
    assert_eq!(restored.operator().fingerprint(), subtask.operator().fingerprint());
}
