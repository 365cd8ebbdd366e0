//! The head of a loop: two forward channels, 0 and 1, and two feedback channels, 2 and 3.

use super::*;
use crate::message::{CheckpointOptions, SnapshotKind};

#[derive(Clone, Copy, Debug, PartialEq)]
struct Number(u64);

impl Payload for Number {
    fn bytes(&self) -> u64 {
        1
    }
}

fn barrier(checkpoint: u64, kind: SnapshotKind) -> CheckpointBarrier {
    CheckpointBarrier {
        checkpoint: CheckpointId(checkpoint),
        timestamp: VirtualTime::ZERO,
        options: CheckpointOptions { kind, alignment: Alignment::Aligned },
    }
}

/// What the head of remote channels does about a script of `d<channel>:<number>` (a buffer is delivered), `b`, `s`, `c`
/// (the same of the barrier of a checkpoint, of a savepoint that drains the job, of a cancellation
/// marker), `x<channel>` (the end of a partition), `t0:<checkpoint>` (the coordinator triggers), `p`
/// (all is polled, what comes in for the first time first), in letters: Trigger, Persist, Block, Unblock,
/// Abort, Complete.
fn run(mode: BarrierMode, script: &str) -> String {
    run_with(ChannelKind::Remote, mode, script)
}

fn run_with(kind: ChannelKind, mode: BarrierMode, script: &str) -> String {
    let mut head = InputHandler::new(&InputConfig {
        mode,
        checkpoints_after_finish: true,
        gates: vec![vec![kind; 2]; 2],
        feedback: vec![GateId(1)],
        defects: Defects::none(),
    });
    let (now, mut out, mut told) = (VirtualTime(1), Vec::new(), Vec::new());
    for step in script.split_whitespace() {
        let (word, rest) = step.split_at(1);
        let (channel, number) = rest.split_once(':').unwrap_or((rest, "0"));
        let number: u64 = number.parse().expect("a number");
        let deliver = |element| Input::Deliver {
            channel: InputChannel(channel.parse().expect("a channel")),
            element,
            priority: false,
        };
        let inputs = match word {
            "d" => vec![deliver(Element::Buffer(Number(number)))],
            "b" => vec![deliver(Element::Barrier(barrier(number, SnapshotKind::Checkpoint)))],
            "s" => {
                vec![deliver(Element::Barrier(barrier(number, SnapshotKind::SavepointTerminate)))]
            }
            "c" => vec![deliver(Element::CancelMarker(CheckpointId(number)))],
            "x" => vec![deliver(Element::EndOfPartition)],
            "t" => vec![Input::Trigger(barrier(number, SnapshotKind::Checkpoint))],
            _ => [0, 1]
                .iter()
                .flat_map(|&gate| vec![Input::Poll { gate: GateId(gate) }; 4])
                .collect(),
        };
        for input in inputs {
            head.handle(now, input, &mut out);
        }
        told.extend(out.drain(..).filter_map(|output| match output {
            Output::Trigger { barrier, .. } => Some(format!("T{}", barrier.checkpoint.0)),
            Output::Persist { channel, buffer, .. } => Some(format!("P{}:{}", channel.0, buffer.0)),
            Output::Block(channel) => Some(format!("B{}", channel.0)),
            Output::Resume(channel) => Some(format!("U{}", channel.0)),
            Output::Abort { checkpoint, .. } => Some(format!("A{}", checkpoint.0)),
            Output::Complete(checkpoint) => Some(format!("C{}", checkpoint.0)),
            Output::Buffer { .. }
            | Output::Barrier { .. }
            | Output::Announcement { .. }
            | Output::CancelMarker { .. }
            | Output::EpochWatermark { .. }
            | Output::EndOfData { .. }
            | Output::EndOfPartition { .. }
            | Output::Measured { .. } => None,
        }));
    }
    told.join(" ")
}

#[test]
fn what_comes_round_ahead_of_the_barrier_is_captured() {
    let aligned = BarrierMode::ExactlyOnce { unaligned: false };
    for (name, script, expected) in [
        (
            "until the barrier has come round",
            "b0:1 b1:1 p d2:7 b2:1 d2:8 p d3:9 b3:1 p",
            "B0 B1 T1 U0 U1 P2:7 U2 P3:9 U3 C1",
        ),
        (
            "also what waits when the snapshot is taken",
            "d2:7 b0:1 b1:1 p b2:1 b3:1 p",
            "B0 B1 P2:7 T1 U0 U1 U2 U3 C1",
        ),
        (
            "nothing behind a barrier that came early, from another head",
            "d2:7 b2:1 p b0:1 b1:1 p d3:8 b3:1 p",
            "B2 B0 B1 T1 U0 U1 U2 P3:8 U3 C1",
        ),
        (
            "not for a checkpoint that somebody in the loop has given up",
            "b0:1 b1:1 p c2:1 p d3:5 b3:1 p",
            "B0 B1 T1 U0 U1 A1 U3",
        ),
        (
            "nor for one that a newer one has overtaken",
            "b0:1 b1:1 p b0:2 p d2:4 b1:2 p d2:5 b2:2 b3:2 p",
            "B0 B1 T1 U0 U1 A1 B0 B1 P2:4 T2 U0 U1 P2:5 U3 U2 C2",
        ),
        ("a tail that ends sends no barrier", "b0:1 b1:1 p x2 p b3:1 p", "B0 B1 T1 U0 U1 U3 C1"),
        (
            "where nothing comes in, the coordinator begins",
            "x0 x1 p t0:1 d2:3 b2:1 b3:1 p",
            "T1 P2:3 U3 U2 C1",
        ),
        (
            "unless a barrier has come round before",
            "x0 x1 p d2:3 b2:1 p t0:1 d3:4 b3:1 p",
            "B2 T1 U2 P3:4 U3 C1",
        ),
        (
            "not of a loop that is drained first",
            "s0:1 s1:1 p d2:3 p s2:1 s3:1 p",
            "B0 B1 T1 U0 U1 U2 U3 C1",
        ),
        ("nothing that was given up before", "c2:1 p b0:1 b1:1 p d2:7", "A1 U0 U1"),
        ("a marker goes round once", "x0 x1 p c2:1 p c2:1 c3:1 p", "A1"),
        (
            "not for what the coordinator began in vain",
            "x0 x1 p t0:1 c2:1 p d3:5 b3:1 p",
            "T1 A1 U3",
        ),
        ("nor if some barriers had come round", "x0 x1 p t0:1 b2:1 c3:1 p", "T1 U2 A1"),
        (
            "nor where a newer barrier is on its way back already",
            "b2:2 b0:1 b1:1 p",
            "B0 B1 U0 U1 A1 B2",
        ),
        (
            "also when an input ends meanwhile",
            "b0:1 b1:1 p x0 d2:3 p b2:1 b3:1 p",
            "B0 B1 T1 U0 U1 P2:3 U2 U3 C1",
        ),
    ] {
        assert_eq!(run(aligned, script), expected, "{name}");
    }
}

#[test]
fn at_least_once_captures_from_the_snapshot_on() {
    for (name, script, expected) in [
        (
            "until the barrier has come round",
            "b0:1 b1:1 p d2:7 b2:1 d2:8 p d3:9 b3:1 p",
            "T1 P2:7 P3:9 C1",
        ),
        (
            "nothing on a channel whose barrier came early",
            "b2:1 p b0:1 b1:1 p d2:7 d3:8 b3:1 p",
            "T1 P3:8 C1",
        ),
        ("all barriers came early", "b2:1 b3:1 p b0:1 b1:1 p", "T1"),
        ("for one checkpoint", "b0:1 b1:1 p b0:2 b1:2 p d2:5 b2:2 b3:2 p", "T1 A1 T2 P2:5 C2"),
        ("not for one that was given up", "b0:1 b1:1 p c2:1 p d3:5 b3:1 p", "T1 A1"),
        ("nothing that was given up before", "c2:1 p b0:1 b1:1 p d2:7", "A1"),
        ("a marker goes round once", "x0 x1 p c2:1 p c2:1 c3:1 p", "A1"),
        ("where nothing comes in", "x0 x1 p t0:1 d2:3 b2:1 b3:1 p", "T1 P2:3 C1"),
        ("not one of which a barrier has come", "b0:1 p c2:1 p b1:1 p", "A1"),
        ("a marker that came in goes round once", "x1 p c0:1 p c2:1 p", "A1"),
        (
            "an older one that is begun later is not forgotten for it",
            "b0:1 p c2:2 p b1:1 p b0:2 b1:2 p b2:1 b3:1 p",
            "A2 T1 C1",
        ),
        ("a tail ends", "b0:1 b1:1 p d2:3 x2 p b3:1 p", "T1 P2:3 C1"),
    ] {
        assert_eq!(run(BarrierMode::AtLeastOnce, script), expected, "{name}");
    }
}

/// Of what waits in a local channel the sender has the only copy: it is captured when it is polled.
#[test]
fn what_comes_round_on_local_channels_is_captured_once() {
    let aligned = BarrierMode::ExactlyOnce { unaligned: false };
    for (mode, script, expected) in [
        (aligned, "b0:1 b1:1 p d2:7 b2:1 d2:8 p d3:9 b3:1 p", "B0 B1 T1 U0 U1 P2:7 U2 P3:9 U3 C1"),
        (aligned, "d2:7 b0:1 b1:1 p b2:1 b3:1 p", "B0 B1 T1 U0 U1 P2:7 U2 U3 C1"),
        (aligned, "d2:7 b2:1 d2:8 b0:1 b1:1 p b3:1 p", "B0 B1 T1 U0 U1 P2:7 U2 U3 C1"),
        (BarrierMode::AtLeastOnce, "d2:7 b0:1 b1:1 p b2:1 b3:1 p", "T1 P2:7 C1"),
    ] {
        assert_eq!(run_with(ChannelKind::Local, mode, script), expected, "{script}");
    }
}
