//! A case as it stands in the file, checked so that running it cannot go wrong.

use std::fmt;

use cutline::defect::Defects;
use cutline::ids::{CheckpointId, GateId, InputChannel};
use cutline::message::{Alignment, CheckpointBarrier, CheckpointOptions, Element, SnapshotKind};
use cutline::task::barrier::{BarrierMode, ChannelKind, InputConfig};
use cutline::time::{VirtualDuration, VirtualTime};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Packet;

/// A script with more channels than this is taken for a mistake.
const CHANNELS_MAX: u64 = 1 << 20;

/// A line of the file.
#[derive(Deserialize)]
#[serde(try_from = "RawCase")]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) config: Config,
    pub(super) script: Vec<Step>,
    pub(super) expect: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    mode: Mode,
    unaligned: bool,
    alignment_timeout_ms: Option<u64>,
    /// Channels of each gate.
    pub(super) gates: Vec<u64>,
    #[serde(default)]
    local: Vec<u64>,
    checkpoints_after_finish: bool,
    #[serde(default = "holds")]
    pub(super) sender_holds: bool,
    #[serde(default = "clock_at_start")]
    pub(super) clock_ms: u64,
}

fn holds() -> bool {
    true
}

fn clock_at_start() -> u64 {
    1000
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    ExactlyOnce,
    AtLeastOnce,
}

/// What a runner does at one place of the script.
#[derive(Clone, Copy)]
pub(super) enum Step {
    /// The sender of the channel sends, with or without priority.
    Send(InputChannel, Element<Packet>, bool),
    /// Time passes, then a due timer fires.
    Advance(VirtualDuration),
    /// Time passes, and no timer fires.
    AdvanceSilently(VirtualDuration),
    /// A due timer fires.
    Fire,
    /// The gate is polled so often, or until it is empty.
    Poll(GateId, u64),
    /// The gates are polled in turns until they are empty.
    Drain,
}

impl Config {
    pub(super) fn is_exactly_once(&self) -> bool {
        self.mode == Mode::ExactlyOnce
    }

    pub(super) fn channels(&self) -> u64 {
        self.gates.iter().fold(0, |sum, &gate| sum.saturating_add(gate))
    }

    /// The configuration of the machine.
    pub(super) fn input(&self) -> InputConfig {
        let mut next = 0..;
        let kind = |channel| match self.local.contains(&channel) {
            true => ChannelKind::Local,
            false => ChannelKind::Remote,
        };
        let mut gate = |channels| (&mut next).take(channels as usize).map(kind).collect();
        InputConfig {
            mode: match self.mode {
                Mode::ExactlyOnce => BarrierMode::ExactlyOnce { unaligned: self.unaligned },
                Mode::AtLeastOnce => BarrierMode::AtLeastOnce,
            },
            checkpoints_after_finish: self.checkpoints_after_finish,
            gates: self.gates.iter().map(|&channels| gate(channels)).collect(),
            feedback: Vec::new(),
            defects: Defects::none(),
        }
    }
}

/// A case of which each part is well-formed; that the parts fit together is to be seen.
#[derive(Deserialize)]
struct RawCase {
    name: String,
    config: Config,
    script: Vec<RawStep>,
    expect: Value,
}

/// Parts of a case that do not fit together.
#[derive(Debug, thiserror::Error)]
enum Misfit {
    #[error("config: {0} channels are more than a task can have")]
    Channels(u64),
    #[error("config: local channel {0} does not exist, there are {1}")]
    Local(u64, u64),
    #[error("script[{0}]: channel {1} does not exist, there are {2}")]
    Channel(usize, u64, u64),
    #[error("script[{0}]: gate {1} does not exist, there are {2}")]
    Gate(usize, u64, usize),
    #[error("script[{0}]: a barrier of kind `t` needs `alignment_timeout_ms` in the config")]
    Timeout(usize),
    #[error("script[{0}]: a barrier of kind `u` needs `unaligned` in an exactly-once config")]
    Unaligned(usize),
}

impl TryFrom<RawCase> for Case {
    type Error = Misfit;

    fn try_from(raw: RawCase) -> Result<Self, Misfit> {
        let config = raw.config;
        let channels = config.channels();
        if channels > CHANNELS_MAX {
            return Err(Misfit::Channels(channels));
        }
        if let Some(&local) = config.local.iter().find(|&&local| local >= channels) {
            return Err(Misfit::Local(local, channels));
        }
        let steps = raw.script.into_iter().enumerate();
        let script =
            steps.map(|(index, step)| step.check(index, &config)).collect::<Result<_, _>>()?;
        Ok(Self { name: raw.name, config, script, expect: raw.expect })
    }
}

/// A step as it is written.
enum RawStep {
    Data(u64, u64, u64),
    Barrier(SnapshotKind, u64, u64, u64, BarrierKind),
    Marker(u64, u64, bool),
    EndOfData(u64),
    EndOfPartition(u64),
    Advance(u64),
    AdvanceSilently(u64),
    Fire,
    Poll(u64, u64),
    Drain,
}

#[derive(Clone, Copy, Deserialize)]
enum BarrierKind {
    #[serde(rename = "a")]
    Aligned,
    #[serde(rename = "t")]
    AlignedWithTimeout,
    #[serde(rename = "u")]
    Unaligned,
    #[serde(rename = "n")]
    AtLeastOnce,
}

impl RawStep {
    /// Gives the step its meaning under a configuration; `index` is its place in the script.
    fn check(self, index: usize, config: &Config) -> Result<Step, Misfit> {
        let send = |channel, element, priority| {
            if channel >= config.channels() {
                return Err(Misfit::Channel(index, channel, config.channels()));
            }
            Ok(Step::Send(InputChannel(channel as u32), element, priority))
        };
        match self {
            Self::Data(channel, number, bytes) => {
                send(channel, Element::Buffer(Packet { number, bytes }), false)
            }
            Self::Barrier(kind, channel, id, ts, alignment) => {
                let alignment = alignment.check(index, config)?;
                let barrier = CheckpointBarrier {
                    checkpoint: CheckpointId(id),
                    timestamp: VirtualTime::from_millis(ts),
                    options: CheckpointOptions { kind, alignment },
                };
                let priority = alignment == Alignment::Unaligned;
                send(channel, Element::Barrier(barrier), priority)
            }
            Self::Marker(channel, id, priority) => {
                send(channel, Element::CancelMarker(CheckpointId(id)), priority)
            }
            Self::EndOfData(channel) => send(channel, Element::EndOfData, false),
            Self::EndOfPartition(channel) => send(channel, Element::EndOfPartition, false),
            Self::Advance(ms) => Ok(Step::Advance(VirtualDuration::from_millis(ms))),
            Self::AdvanceSilently(ms) => {
                Ok(Step::AdvanceSilently(VirtualDuration::from_millis(ms)))
            }
            Self::Fire => Ok(Step::Fire),
            Self::Poll(gate, _) if gate >= config.gates.len() as u64 => {
                Err(Misfit::Gate(index, gate, config.gates.len()))
            }
            Self::Poll(gate, times) => Ok(Step::Poll(GateId(gate as u32), times)),
            Self::Drain => Ok(Step::Drain),
        }
    }
}

impl BarrierKind {
    fn check(self, index: usize, config: &Config) -> Result<Alignment, Misfit> {
        match self {
            Self::Aligned => Ok(Alignment::Aligned),
            Self::AtLeastOnce => Ok(Alignment::AtLeastOnce),
            Self::AlignedWithTimeout => match config.alignment_timeout_ms {
                Some(ms) => Ok(Alignment::AlignedWithTimeout(VirtualDuration::from_millis(ms))),
                None => Err(Misfit::Timeout(index)),
            },
            Self::Unaligned if config.is_exactly_once() && !config.unaligned => {
                Err(Misfit::Unaligned(index))
            }
            Self::Unaligned => Ok(Alignment::Unaligned),
        }
    }
}

impl<'de> Deserialize<'de> for RawStep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(StepVisitor)
    }
}

struct StepVisitor;

impl<'de> Visitor<'de> for StepVisitor {
    type Value = RawStep;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a step such as [\"d\", 0, 1, 10] with all its values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawStep, A::Error> {
        let seq = &mut seq;
        let tag: String = next(seq)?;
        let step = match tag.as_str() {
            "d" => RawStep::Data(next(seq)?, next(seq)?, next(seq)?),
            "b" | "s" => {
                let kind =
                    if tag == "b" { SnapshotKind::Checkpoint } else { SnapshotKind::Savepoint };
                RawStep::Barrier(kind, next(seq)?, next(seq)?, next(seq)?, next(seq)?)
            }
            "c" => RawStep::Marker(next(seq)?, next(seq)?, false),
            "C" => RawStep::Marker(next(seq)?, next(seq)?, true),
            "e" => RawStep::EndOfData(next(seq)?),
            "x" => RawStep::EndOfPartition(next(seq)?),
            "t" => RawStep::Advance(next(seq)?),
            "w" => RawStep::AdvanceSilently(next(seq)?),
            "f" => RawStep::Fire,
            "p" => RawStep::Poll(next(seq)?, next(seq)?),
            "P" => RawStep::Drain,
            unknown => {
                let known = &["d", "b", "s", "c", "C", "e", "x", "t", "w", "f", "p", "P"];
                return Err(Error::unknown_variant(unknown, known));
            }
        };
        match seq.next_element::<Value>()? {
            None => Ok(step),
            Some(surplus) => {
                Err(Error::custom(format_args!("step `{tag}` has a surplus {surplus}")))
            }
        }
    }
}

fn next<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(seq: &mut A) -> Result<T, A::Error> {
    seq.next_element()?.ok_or_else(|| Error::custom("the step ends too early"))
}
