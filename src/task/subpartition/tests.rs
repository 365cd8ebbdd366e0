//! Scripts for one sender, written as words.

use proptest::prelude::*;

use super::*;
use crate::message::{CheckpointOptions, SnapshotKind};
use crate::time::{VirtualDuration, VirtualTime};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Buffer(u64);

impl Payload for Buffer {
    fn bytes(&self) -> u64 {
        1
    }
}

fn barrier(id: u64, alignment: Alignment) -> Input<Buffer> {
    let barrier = CheckpointBarrier {
        checkpoint: CheckpointId(id),
        timestamp: VirtualTime::ZERO,
        options: CheckpointOptions { kind: SnapshotKind::Checkpoint, alignment },
    };
    Input::Push { element: Element::Barrier(barrier), priority: alignment == Alignment::Unaligned }
}

/// `d7` pushes a buffer; `a`, `t`, `u` and `n` with an id push a barrier of that alignment; `c`
/// and `C` a marker without and with priority; `.` polls, `+2` grants credit, `R` resumes, `T1`
/// and `A1` time out and abort.
fn input(word: &str) -> Input<Buffer> {
    let (letter, number) = word.split_at(1);
    let number = number.parse().unwrap_or(0);
    let marker = Element::CancelMarker(CheckpointId(number));
    let push = |element, priority| Input::Push { element, priority };
    match letter {
        "d" => push(Element::Buffer(Buffer(number)), false),
        "a" => barrier(number, Alignment::Aligned),
        "t" => barrier(number, Alignment::AlignedWithTimeout(VirtualDuration(9))),
        "u" => barrier(number, Alignment::Unaligned),
        "n" => barrier(number, Alignment::AtLeastOnce),
        "c" => push(marker, false),
        "C" => push(marker, true),
        "." => Input::Poll,
        "+" => Input::Credit(number as u32),
        "R" => Input::Resume,
        "T" => Input::AlignedBarrierTimeout(CheckpointId(number)),
        "A" => Input::AbortCheckpoint(CheckpointId(number)),
        unknown => panic!("no input `{unknown}`"),
    }
}

/// As the inputs, with `'` behind what has priority and `/n` for the backlog; `!` is
/// available, `w` writable, `P1:7` persists, `K1` and `X1` end a capture well and badly.
fn show(output: &Output<Buffer>) -> String {
    let element = |element: &Element<Buffer>| match element {
        Element::Buffer(buffer) => format!("d{}", buffer.0),
        Element::Barrier(barrier) => {
            let letter = match barrier.options.alignment {
                Alignment::Aligned => "a",
                Alignment::AlignedWithTimeout(_) => "t",
                Alignment::Unaligned => "u",
                Alignment::AtLeastOnce => "n",
                Alignment::ForcedAligned(_) => unreachable!("none is sent"),
            };
            format!("{letter}{}", barrier.checkpoint.0)
        }
        Element::CancelMarker(checkpoint) => format!("c{}", checkpoint.0),
        Element::EpochWatermark { .. } => "epoch".to_owned(),
        Element::EndOfData | Element::EndOfPartition => "end".to_owned(),
    };
    match output {
        Output::Send { element: sent, priority, backlog } => {
            let mark = if *priority { "'" } else { "" };
            format!("{}{mark}/{backlog}", element(sent))
        }
        Output::Available => "!".to_owned(),
        Output::Writable => "w".to_owned(),
        Output::Persist { checkpoint, buffer } => format!("P{}:{}", checkpoint.0, buffer.0),
        Output::Captured(checkpoint) => format!("K{}", checkpoint.0),
        Output::CaptureFailed(checkpoint) => format!("X{}", checkpoint.0),
    }
}

fn run(credit: Option<u32>, script: &str) -> String {
    let mut sender = Subpartition::new(&SubpartitionConfig { credit, buffers_max: 3 });
    let mut out = Vec::new();
    for word in script.split_whitespace() {
        sender.handle(input(word), &mut out);
    }
    out.iter().map(show).collect::<Vec<_>>().join(" ")
}

#[test]
fn elements_leave_as_flinks_do() {
    for (name, credit, script, expected) in [
        ("in order", None, "d1 d2 . . .", "! d1/1 d2/0"),
        ("no credit, no buffer", Some(1), "d1 d2 . . +1 .", "! d1/1 ! d2/0"),
        ("an event needs none", Some(0), "n1 . d1 .", "! n1/0"),
        ("but stays behind buffers", Some(0), "d1 n1 . +1 . .", "! d1/0 n1/0"),
        ("below the limit again", None, "d1 d2 d3 d4 . . .", "! d1/3 d2/2 w d3/1"),
        ("an aligned barrier stops", None, "a1 d1 . . R .", "! a1/0 ! d1/0"),
        ("one with a timeout, too", None, "t1 d1 . . R .", "! K1 t1/0 ! d1/0"),
        ("what has priority is stopped, too", None, "a1 . d1 u2 . R .", "! a1/0 P2:1 K2 ! u2'/1"),
        ("one at least once does not stop", None, "n1 d1 . .", "! n1/1 d1/0"),
        ("overtaking persists", None, "d1 d2 u1 . . .", "! P1:1 P1:2 K1 u1'/2 d1/1 d2/0"),
        ("overtaking without credit", Some(0), "d1 u1 .", "P1:1 K1 ! u1'/1"),
        ("a marker overtakes silently", None, "d1 C1 . .", "! c1'/1 d1/0"),
        ("timed out in time", Some(0), "d1 t1 d2 T1 .", "P1:1 K1 ! u1'/2"),
        ("timed out after it left", None, "t1 . d1 T1 R .", "! K1 t1/0 ! d1/0"),
        ("timed out after the abort", None, "d1 t1 A1 T1 . .", "! X1 d1/0 t1/0"),
        ("abort of another", Some(0), "d1 t1 A2 T1 .", "P1:1 K1 ! u1'/1"),
        (
            "an aborted barrier is skipped",
            Some(0),
            "d1 t1 A1 d2 t2 T2 .",
            "X1 P2:1 P2:2 K2 ! u2'/2",
        ),
        ("one capture at a time", Some(0), "d1 t1 t2 T1 T2", "X1 P2:1 K2 !"),
        ("timed out while stopped", None, "a1 . d1 t2 T2 . R .", "! a1/0 P2:1 K2 ! u2'/1"),
        ("behind another with priority", Some(0), "d1 t1 C9 T1 . .", "! P1:1 K1 c9'/1 u1'/1"),
    ] {
        assert_eq!(run(credit, script), expected, "{name}: {script}");
    }
}

proptest! {
    /// Whatever is pushed leaves once, buffers in order, and no more of them than credit.
    #[test]
    fn buffers_leave_once_in_order_and_for_credit(
        script in prop::collection::vec(0u8..10, 0..200),
        credit in 0u32..4,
    ) {
        let config = SubpartitionConfig { credit: Some(credit), buffers_max: 5 };
        let (mut sender, mut out) = (Subpartition::new(&config), Vec::new());
        let (mut pushed, mut checkpoint, mut granted) = (0, 0, credit);
        for choice in script {
            let word = match choice {
                0..=3 => { pushed += 1; format!("d{}", pushed - 1) }
                4..=5 => ".".to_owned(),
                6 => { granted += 1; "+1".to_owned() }
                7 => { checkpoint += 1; format!("{}{checkpoint}", ["a", "t", "u"][checkpoint % 3]) }
                8 => "R".to_owned(),
                _ => format!("T{checkpoint}"),
            };
            sender.handle(input(&word), &mut out);
        }
        let sent = |out: &[Output<Buffer>]| out.iter().filter_map(|output| match output {
            Output::Send { element: Element::Buffer(buffer), .. } => Some(buffer.0),
            _ => None,
        }).collect::<Vec<_>>();
        prop_assert!(sent(&out).len() <= granted as usize);
        for word in ["R", "+1", "."].repeat(pushed as usize + checkpoint) {
            sender.handle(input(word), &mut out);
        }
        prop_assert_eq!(sent(&out), (0..pushed).collect::<Vec<_>>());
        prop_assert_eq!(sender.queued().count(), 0);
    }
}
