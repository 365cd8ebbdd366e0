//! The checkpointing protocol of modern stream processors (Apache Flink's, in its 2.x form) as
//! sans-IO state machines: no clock, no thread, no socket, no randomness inside.
//!
//! Every machine has an `Input` enum, an `Output` enum, `handle(now, input, &mut outputs)` and,
//! where it waits for time, `next_timeout()`. Nothing leaves by another door, so a test compares
//! two vectors, and whoever mounts a machine decides what a network, a disk and a clock are. The
//! simulated world that drives them is the crate `cutline-sim`.
//!
//! | module | holds |
//! | --- | --- |
//! | [`coordinator`] | triggers checkpoints, collects acknowledgements, decides, restores |
//! | [`trigger`] | when to checkpoint: waiting requests, and policies of the interval |
//! | [`task`] | one task: input gates, barrier handlers, outputs, snapshots under way |
//! | [`operator`] | sources, keyed state, joins, sinks, and the trait for your own |
//! | [`storage`] | layout, metadata, channel state, and which files may be deleted |
//! | [`restart`] | when to restart a failed job |
//! | [`job`] | job graph, execution graph, key groups, rescaling |
//! | [`config`] | Flink's options: keys, grammar, defaults, validation |
//! | [`model`] | closed-form cost models: what an interval costs and what it buys |
//! | [`message`] | what coordinator and tasks say to each other, and what channels carry |
//! | [`step`] | the named steps of the protocol, T1 to S6 |
//! | [`defect`] | bugs of real systems that can be planted, to see them found |
//! | [`ids`], [`time`], [`codec`] | newtypes of ids and of virtual time; bytes with a checksum |
//!
//! # A machine at work
//!
//! Two channels lead into a task. The first delivers its barrier and is blocked; the snapshot is
//! taken when the second barrier is here, and holds exactly what was sent before the two.
//!
//! ```
//! use cutline::defect::Defects;
//! use cutline::ids::{CheckpointId, GateId, InputChannel};
//! use cutline::message::{
//!     Alignment, CheckpointBarrier, CheckpointOptions, Element, Payload, SnapshotKind,
//! };
//! use cutline::task::barrier::{
//!     BarrierMode, ChannelKind, Input, InputConfig, InputHandler, Output,
//! };
//! use cutline::time::VirtualTime;
//!
//! #[derive(Clone, Copy, Debug, PartialEq)]
//! struct Letter(char);
//!
//! impl Payload for Letter {
//!     fn bytes(&self) -> u64 {
//!         1
//!     }
//! }
//!
//! let mut task = InputHandler::new(&InputConfig {
//!     mode: BarrierMode::ExactlyOnce { unaligned: false },
//!     checkpoints_after_finish: true,
//!     gates: vec![vec![ChannelKind::Remote; 2]],
//!     feedback: Vec::new(),
//!     defects: Defects::none(),
//! });
//! let barrier = CheckpointBarrier {
//!     checkpoint: CheckpointId(1),
//!     timestamp: VirtualTime::ZERO,
//!     options: CheckpointOptions {
//!         kind: SnapshotKind::Checkpoint,
//!         alignment: Alignment::Aligned,
//!     },
//! };
//! let sent = [
//!     (0, Element::Buffer(Letter('a'))),
//!     (0, Element::Barrier(barrier)),
//!     (1, Element::Buffer(Letter('b'))),
//!     (1, Element::Barrier(barrier)),
//! ];
//! let (now, mut out) = (VirtualTime::from_millis(3), Vec::new());
//! for (channel, element) in sent {
//!     let channel = InputChannel(channel);
//!     task.handle(now, Input::Deliver { channel, element, priority: false }, &mut out);
//!     task.handle(now, Input::Poll { gate: GateId(0) }, &mut out);
//! }
//! let told: Vec<&str> = out
//!     .iter()
//!     .map(|output| match output {
//!         Output::Buffer { .. } => "buffer",
//!         Output::Barrier { .. } => "barrier",
//!         Output::Block(_) => "block",
//!         Output::Resume(_) => "resume",
//!         Output::Trigger { .. } => "trigger",
//!         Output::Complete(_) => "complete",
//!         other => unreachable!("{other:?}"),
//!     })
//!     .collect();
//! assert_eq!(
//!     told,
//!     [
//!         "buffer", "barrier", "block", // a, and the barrier behind it
//!         "buffer", "barrier", "block", // b, and the last barrier:
//!         "trigger", "resume", "resume", "complete",
//!     ]
//! );
//! ```
//!
//! # Words, numbers, differences
//!
//! Names are Flink's, each for one thing; where behaviour is chosen to match it, the source is
//! named. Recorded runs of the real classes are the arbiter (`cutline conform`). Where this crate
//! differs on purpose, the comment begins with `Deviation:`.
//!
//! Time is integer nanoseconds ([`time::VirtualTime`]); no float decides an event. An invariant of
//! ours that breaks is a panic, which the simulator turns into a report with its seed; what the
//! world does wrong is a value.

pub mod codec;
pub mod config;
pub mod coordinator;
pub mod defect;
pub mod enumerator;
pub mod ids;
pub mod job;
pub mod message;
pub mod model;
pub mod operator;
pub mod restart;
pub mod step;
pub mod storage;
pub mod task;
pub mod time;
pub mod trigger;
