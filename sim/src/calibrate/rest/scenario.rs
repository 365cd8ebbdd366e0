//! From facts to a scenario: what the dump tells, then what measured runs tell, then what the user
//! says; what is left is assumed by name.

use cutline::config::{Key, Known as KnownKey, OptionValue, OptionValues, find};
use cutline::time::VirtualDuration;

use super::facts::Facts;
use crate::calibrate::in_flight::Queues;
use crate::calibrate::profile::Profile;
use crate::calibrate::robust::Line;
use crate::calibrate::runs::SnapshotKind;
use crate::flink::answers::{CheckpointConfig, Known};
use crate::flink::draft::{
    self, BUFFER_BYTES, Draft, FLUSH_S, Stream, VertexFacts, World, channels, seconds,
    source_subtasks,
};
use crate::flink::dump::Dump;
use crate::flink::shape::{Shape, Vertex};
use crate::kernel::distribution::Distribution;

/// What a user adds to a dump.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said {
    /// Records a second that all sources bring.
    pub rate_per_s: Option<f64>,
    /// What is offered over what the job can take.
    pub load: Option<f64>,
}

/// A scenario that can still be turned: how long the slowest vertex works on one simulated record
/// decides how long barriers wait in a job that cannot keep up.
#[derive(Clone, Debug)]
pub struct Model<'a> {
    dump: &'a Dump,
    facts: &'a Facts,
    profile: Option<&'a Profile>,
    flow: Flow,
    assumed: Vec<String>,
}

/// How records flow.
#[derive(Clone, Copy, Debug)]
struct Flow {
    /// Real records a second that the job can take; `None`: nobody knows, and a simulated record
    /// stands for one buffer of them.
    capacity_per_s: Option<f64>,
    /// What is offered over that.
    load: f64,
    /// Bytes of a real record (or of that buffer).
    record_bytes: f64,
    /// The vertex that is fully busy at capacity.
    bottleneck: usize,
    /// Time of one of its subtasks for one simulated record.
    step_s: f64,
}

/// Sources that are held up offer more than is taken; how much more decides how soon buffers fill.
const LOAD_OF_OVERLOADED: f64 = 1.5;
/// A vertex of which nobody says how busy it is.
const BUSY_UNKNOWN: f64 = 0.5;
/// A source of which nobody says what it brings.
const RATE_UNKNOWN_PER_S: f64 = 1_000.0;
/// A record of which nobody says how large it is.
const RECORD_BYTES_UNKNOWN: f64 = 100.0;
/// Nothing is known better than to a microsecond.
const STEP_LEAST_S: f64 = 1e-6;
/// Nothing that is slower is a stream.
const STEP_MOST_S: f64 = 1e5;
/// The most that a scenario takes.
const WEIGHT_MOST: f64 = 1e9;
const RECORD_BYTES_MOST: f64 = 1_073_741_824.0;

impl<'a> Model<'a> {
    /// The model of a dump.
    pub fn of(dump: &'a Dump, facts: &'a Facts, profile: Option<&'a Profile>, said: Said) -> Self {
        let mut assumed = Vec::new();
        let flow = Flow::of(dump, facts, said, &mut assumed);
        Self { dump, facts, profile, flow, assumed }
    }

    /// Whether barriers wait for data, so that [`Model::turn`] changes their time.
    pub fn is_turned_by_queues(&self) -> bool {
        let config = &self.dump.config;
        self.facts.overloaded && !config.unaligned_checkpoints
    }

    /// Makes the slowest vertex so many times slower on a simulated record.
    pub fn turn(&mut self, factor: f64) {
        self.flow.step_s = (self.flow.step_s * factor).clamp(STEP_LEAST_S, STEP_MOST_S);
    }

    /// How long it takes until state and buffers are as full as they get.
    pub fn fill_s(&self) -> f64 {
        const SLACK: f64 = 1.5;
        // All but one of 150 keys are met.
        const TIMES_THE_KEYS: f64 = 5.0;
        let shape = &self.dump.shape;
        let taken_per_s = self.flow.load.min(1.0) * self.capacity_per_s() / self.weight();
        let state = TIMES_THE_KEYS * f64::from(draft::keys(shape)) / taken_per_s;
        if !self.is_turned_by_queues() {
            return state;
        }
        // What waits in front of each vertex, at the rate at which more is offered than is taken.
        let queued: f64 = (0..shape.vertices.len()).map(|of| simulated_queue(shape, of)).sum();
        let buffers = SLACK * queued * self.flow.step_s / (self.flow.load - 1.0).max(0.1);
        buffers.max(state)
    }

    /// The same in the state in which the dump found the job: a user may have said that it is
    /// offered less otherwise.
    #[must_use]
    pub fn as_dumped(&self) -> Self {
        let load = match self.facts.overloaded {
            true => self.flow.load.max(LOAD_OF_OVERLOADED),
            false => self.flow.load,
        };
        Self { flow: Flow { load, ..self.flow }, ..self.clone() }
    }

    /// Trigger to last acknowledgement as the dump has it; of checkpoints that did not get so far,
    /// what the last acknowledged hop says of the others. The sentence says which.
    pub fn measured_ms(&self) -> Option<(f64, &'static str)> {
        if let Some(of) = self.facts.duration_ms {
            return Some((of.value, "median of the completed checkpoints"));
        }
        let deepest = self.facts.vertices.iter().map(|of| of.depth).max()?;
        let reached = self.facts.vertices.iter().filter(|of| of.start_delay_ms.is_some());
        let last = reached.max_by_key(|of| of.depth).filter(|of| of.depth > 0)?;
        let hops = deepest as f64 / last.depth as f64;
        let waited = last.start_delay_ms?.value * hops;
        Some((waited, "no completed one: each hop as long as those that were acknowledged"))
    }

    /// The scenario, to be written.
    pub fn draft(&self) -> Draft {
        let shape = &self.dump.shape;
        let stream = self.stream();
        let facts: Vec<VertexFacts> =
            (0..shape.vertices.len()).map(|vertex| self.vertex(vertex)).collect();
        let mut draft = Draft::of(shape, &facts, stream, None);
        draft.title = format!("{}, calibrated", self.facts.job);
        draft.why = self.why();
        draft.assumed.splice(0..0, self.assumed.iter().cloned());
        draft.options = self.options(&mut draft.assumed);
        draft.world = self.world(&mut draft.assumed);
        draft
    }

    fn why(&self) -> String {
        let from = match self.profile {
            Some(_) => "a dump of Flink's REST interface and from measured runs",
            None => "a dump of Flink's REST interface",
        };
        let record = match self.flow.capacity_per_s {
            Some(capacity) => format!("it can take {capacity:.0} records a second"),
            None => "a record stands for a network buffer of real ones".to_owned(),
        };
        format!("Made from {from} by `cutline calibrate`: {record}.")
    }

    /// Real records that a simulated one stands for.
    fn weight(&self) -> f64 {
        let parallelism = f64::from(self.bottleneck().parallelism);
        let of_step = |capacity: f64| self.flow.step_s * capacity / parallelism;
        self.flow.capacity_per_s.map_or(1.0, of_step).round().clamp(1.0, WEIGHT_MOST)
    }

    /// Real records a second, or buffers of them.
    fn capacity_per_s(&self) -> f64 {
        let parallelism = f64::from(self.bottleneck().parallelism);
        self.flow.capacity_per_s.unwrap_or(parallelism / self.flow.step_s)
    }

    fn bottleneck(&self) -> &Vertex {
        &self.dump.shape.vertices[self.flow.bottleneck]
    }

    fn stream(&self) -> Stream {
        let splits = source_subtasks(&self.dump.shape);
        let offered = self.flow.load * self.capacity_per_s();
        Stream {
            every: seconds(self.weight() * splits / offered).max(VirtualDuration::from_nanos(1)),
            keys: draft::keys(&self.dump.shape),
            record_bytes: self.flow.record_bytes.round().clamp(1.0, RECORD_BYTES_MOST) as u32,
            weight: self.weight() as u32,
        }
    }

    fn vertex(&self, index: usize) -> VertexFacts {
        let of = &self.facts.vertices[index];
        // All vertices see the same records, so how busy each is says what a record costs there.
        let full = self.busy(self.flow.bottleneck);
        let share = self.busy(index) / full;
        let cost = share * f64::from(of.parallelism) / self.capacity_per_s();
        VertexFacts {
            state_bytes: of.state_bytes.map(|bytes| bytes.round() as u64),
            cost: Some(seconds(cost)),
            sync_cost: of.sync_ms.map(|of| Distribution::Constant(milliseconds(of.value))),
        }
    }

    fn busy(&self, vertex: usize) -> f64 {
        let known = self.facts.bottleneck.is_some() || !self.facts.overloaded;
        match self.facts.vertices[vertex].busy.filter(|busy| known && *busy > 0.0) {
            Some(busy) => busy,
            None if vertex == self.flow.bottleneck => 1.0,
            // A source that never says that it works takes no time worth a mention.
            None if known && self.dump.shape.vertices[vertex].inputs.is_empty() => 0.01,
            None if known && self.facts.vertices[vertex].busy.is_some() => 0.01,
            None => BUSY_UNKNOWN,
        }
    }

    fn options(&self, assumed: &mut Vec<String>) -> OptionValues {
        let mut values = OptionValues::default();
        for entry in &self.dump.cluster {
            let spec = match find(&entry.key) {
                Some(KnownKey::Option(spec) | KnownKey::Deprecated(spec)) => spec,
                Some(
                    KnownKey::NotModelled(_)
                    | KnownKey::DeprecatedNotModelled(_)
                    | KnownKey::Removed(_),
                )
                | None => continue,
            };
            match spec.parse(&entry.value) {
                Ok(value) => values.set(spec.id, value),
                Err(error) => {
                    assumed.push(format!("{}: left out, as {error}", entry.key));
                }
            }
        }
        of_job(&self.dump.config, &mut values);
        values
    }

    fn world(&self, assumed: &mut Vec<String>) -> World {
        let facts = self.facts;
        let hop = facts.hop_ms.or(self.profile.and_then(|of| of.checkpoint.hop_ms));
        let widest = self.dump.shape.vertices.iter().map(|vertex| vertex.parallelism).max();
        let is_one_machine = f64::from(widest.unwrap_or(1)) <= slots(self.dump);
        if let Some(hop) = hop.filter(|_| is_one_machine) {
            assumed.push(format!(
                "one task manager, within which a barrier takes no time for a hop, and not {:.1} ms",
                hop.value
            ));
        }
        let control = facts.source_start_delay_ms.map(|start| {
            let acknowledge = facts.acknowledge_ms.map_or(start.value, |of| of.value);
            f64::midpoint(start.value, acknowledge)
        });
        let (latency, bandwidth) = self.storage(assumed);
        World {
            task_managers: None,
            deploy: self.deploy(bandwidth, assumed),
            latency: hop.filter(|_| !is_one_machine).map(|of| around(of.value)),
            control_latency: control.map(around),
            storage_latency: latency.map(|ms| Distribution::Constant(milliseconds(ms))),
            storage_bandwidth: bandwidth,
            until: None,
        }
    }

    /// Milliseconds of a request without its bytes, and bytes a second.
    fn storage(&self, assumed: &mut Vec<String>) -> (Option<f64>, Option<u64>) {
        let per_second = |per_mb_ms: f64| {
            // Faster than can be told.
            (per_mb_ms > 1e-3).then(|| (1e9 / per_mb_ms) as u64)
        };
        let measured = self.facts.asynchronous;
        if let Some(line) = measured.filter(|line| line.sizes > 1) {
            return (Some(line.at_zero_ms), per_second(line.per_mb_ms));
        }
        let kind = snapshot_kind(&self.dump.config);
        if let Some(of) = self.profile.and_then(|profile| profile.snapshots(kind)) {
            let line: Line = of.asynchronous;
            return (Some(line.at_zero_ms), per_second(line.per_mb_ms));
        }
        let nothing = self.facts.async_of_nothing_ms.map(|of| of.value);
        let Some(line) = measured else {
            return (nothing, None);
        };
        let size = line.largest_mb.max(line.smallest_mb);
        let rest = (line.at(size) - nothing.unwrap_or(0.0)).max(0.0);
        assumed.push(
            "the asynchronous part: proportional to the bytes, besides what subtasks without state \
             take"
                .to_owned(),
        );
        (nothing, per_second(rest / size))
    }

    /// Deployment: from the dump, or what measured runs leave of a start when its bytes are read.
    fn deploy(&self, bandwidth: Option<u64>, assumed: &mut Vec<String>) -> Option<Distribution> {
        let restart = self.facts.restart_ms.unwrap_or(0.0);
        let widest = self
            .facts
            .vertices
            .iter()
            .filter_map(|of| of.state_bytes.map(|bytes| bytes / f64::from(of.parallelism)));
        let state_mb = widest.fold(0.0, f64::max) / 1e6;
        let read_ms = bandwidth.map_or(0.0, |bytes| state_mb * 1e9 / bytes as f64);
        let start = match (self.facts.start_ms, self.profile.and_then(|of| of.recovery.as_ref())) {
            (Some(start), _) => start,
            (None, Some(recovery)) => recovery.start.at(state_mb),
            (None, None) => {
                assumed.push("deployment of a task: the default of the format".to_owned());
                return None;
            }
        };
        Some(Distribution::Constant(milliseconds((start - read_ms).max(0.0) + restart)))
    }
}

impl Flow {
    fn of(dump: &Dump, facts: &Facts, said: Said, assumed: &mut Vec<String>) -> Self {
        let mut reading = Reading { dump, facts, said, assumed, bottleneck: 0 };
        reading.bottleneck = reading.bottleneck();
        let (capacity_per_s, load) = reading.offered();
        let record_bytes = reading.record_bytes(capacity_per_s);
        let step_s = match capacity_per_s.filter(|_| !facts.overloaded) {
            // A buffer leaves when it is full, or after its time.
            Some(capacity) => {
                let channels = channels(&dump.shape, reading.bottleneck);
                let weight = draft::weight(capacity * load / channels, record_bytes);
                weight * reading.parallelism() / capacity
            }
            None => reading.step_behind_queues_s(capacity_per_s, record_bytes),
        };
        let (bottleneck, step_s) = (reading.bottleneck, step_s.clamp(STEP_LEAST_S, STEP_MOST_S));
        Self { capacity_per_s, load, record_bytes, bottleneck, step_s }
    }
}

/// The flow while it is being found out.
struct Reading<'a> {
    dump: &'a Dump,
    facts: &'a Facts,
    said: Said,
    assumed: &'a mut Vec<String>,
    bottleneck: usize,
}

impl Reading<'_> {
    fn bottleneck(&mut self) -> usize {
        let facts = self.facts;
        let bottleneck = facts.bottleneck.or_else(|| busiest(facts)).unwrap_or_else(|| {
            self.assumed.push("the last vertex is the slowest".to_owned());
            facts.vertices.len() - 1
        });
        let unknown = facts.vertices.iter().any(|of| of.busy.is_none());
        if unknown || facts.overloaded && facts.bottleneck.is_none() {
            self.assumed.push(format!(
                "vertices of which nobody knows how busy they are: {} % of the slowest",
                BUSY_UNKNOWN * 100.0
            ));
        }
        bottleneck
    }

    fn parallelism(&self) -> f64 {
        parallelism(&self.dump.shape, self.bottleneck)
    }

    /// Records a second that the job can take, and what is offered over that. The capacity of a job
    /// that keeps up is always known, if only by an assumption.
    fn offered(&mut self) -> (Option<f64>, f64) {
        let said = self.said;
        if self.facts.overloaded {
            let load = said.load.unwrap_or_else(|| {
                self.assumed.push(format!(
                    "sources offer {LOAD_OF_OVERLOADED} times what the job can take"
                ));
                LOAD_OF_OVERLOADED
            });
            // What a job that is held up lets through is what it can take.
            let offered = said.rate_per_s.map(|rate| rate / load);
            return (offered.or(self.facts.rate_per_s), load);
        }
        let busy = self.facts.vertices[self.bottleneck].busy.filter(|busy| *busy > 0.0);
        let load = said.load.or(busy).unwrap_or(BUSY_UNKNOWN);
        let rate = said.rate_per_s.or(self.facts.rate_per_s).unwrap_or_else(|| {
            self.assumed.push(format!("sources bring {RATE_UNKNOWN_PER_S} records a second each"));
            RATE_UNKNOWN_PER_S * source_subtasks(&self.dump.shape)
        });
        (Some(rate / load), load)
    }

    /// Bytes that wait in a cluster for each record that waits in a simulation.
    fn buffer_bytes(&self) -> f64 {
        let queues = Queues::all_to_all(self.parallelism(), slots(self.dump));
        BUFFER_BYTES * queues.total / simulated_queue(&self.dump.shape, self.bottleneck)
    }

    fn record_bytes(&mut self, capacity_per_s: Option<f64>) -> f64 {
        self.facts.record_bytes.unwrap_or_else(|| match capacity_per_s {
            Some(_) => {
                self.assumed.push(format!("a record has {RECORD_BYTES_UNKNOWN} bytes"));
                RECORD_BYTES_UNKNOWN
            }
            None => self.buffer_bytes(),
        })
    }

    /// From the time of a hop, if barriers wait in line; else from how many records a buffer has.
    fn step_behind_queues_s(&mut self, capacity_per_s: Option<f64>, record_bytes: f64) -> f64 {
        let (dump, facts) = (self.dump, self.facts);
        let hops = (0..facts.vertices.len()).filter_map(|vertex| facts.hop(dump, vertex));
        let slowest_s = hops.fold(0.0, f64::max) / 1e3;
        if slowest_s > STEP_LEAST_S && !dump.config.unaligned_checkpoints {
            return slowest_s / simulated_queue(&dump.shape, self.bottleneck);
        }
        match capacity_per_s {
            Some(capacity) => self.buffer_bytes() / record_bytes * self.parallelism() / capacity,
            None => {
                self.assumed.push("a buffer keeps the slowest vertex busy for 100 ms".to_owned());
                FLUSH_S
            }
        }
    }
}

fn busiest(facts: &Facts) -> Option<usize> {
    let keeps_up = !facts.overloaded;
    let busy = facts.vertices.iter().enumerate().filter_map(|(at, of)| Some((at, of.busy?)));
    busy.filter(|_| keeps_up).max_by(|a, b| a.1.total_cmp(&b.1)).map(|(at, _)| at)
}

fn parallelism(shape: &Shape, vertex: usize) -> f64 {
    f64::from(shape.vertices[vertex].parallelism)
}

/// Simulated records that wait in front of a subtask of a vertex when it cannot keep up: with 10 in
/// each subpartition, and what the receiver has asked for.
fn simulated_queue(shape: &Shape, vertex: usize) -> f64 {
    let senders = (channels(shape, vertex) / parallelism(shape, vertex)).max(1.0);
    12.0 * senders + 8.0
}

/// Subtasks of a vertex on one task manager.
fn slots(dump: &Dump) -> f64 {
    let slots = dump.option(Key::Slots.spec().key);
    slots.and_then(|slots| slots.trim().parse().ok()).unwrap_or(1.0)
}

fn snapshot_kind(config: &CheckpointConfig) -> SnapshotKind {
    match config.state_backend.to_lowercase().contains("rocks") {
        true => SnapshotKind::RocksFull,
        false => SnapshotKind::Heap,
    }
}

/// What the job itself says goes before what the cluster says.
fn of_job(config: &CheckpointConfig, values: &mut OptionValues) {
    let span = |of: Known| of.0.map(|ms| OptionValue::Duration(milliseconds(ms)));
    for (key, value) in [
        (Key::Interval, span(config.interval)),
        (Key::Timeout, span(config.timeout)),
        (Key::MinPause, span(config.min_pause)),
        (Key::AlignedTimeout, span(config.aligned_checkpoint_timeout)),
    ] {
        value.into_iter().for_each(|value| values.set(key, value));
    }
    let integer = |value: u32| OptionValue::Integer(i64::from(value));
    values.set(Key::MaxConcurrent, integer(config.max_concurrent));
    values.set(Key::TolerableFailures, integer(config.tolerable_failed_checkpoints));
    values.set(Key::Unaligned, OptionValue::Boolean(config.unaligned_checkpoints));
    let mode = if config.mode == "at_least_once" { "at_least_once" } else { "exactly_once" };
    values.set(Key::Mode, OptionValue::Choice(mode));
    if let Some(after) = config.checkpoints_after_tasks_finish {
        values.set(Key::AfterTasksFinish, OptionValue::Boolean(after));
    }
    if let Some(of) = config.externalization {
        let word = match (of.enabled, of.delete_on_cancellation) {
            (true, true) => "delete_on_cancellation",
            (true, false) => "retain_on_cancellation",
            (false, _) => "no_externalized",
        };
        values.set(Key::Retention, OptionValue::Choice(word));
    }
}

/// So many milliseconds, to the microsecond: more than any of these numbers is sure of. A harmed
/// dump may say any number; what is longer than a season is cut to that.
pub(super) fn milliseconds(of: f64) -> VirtualDuration {
    const LONGEST_MS: f64 = 1e10;
    VirtualDuration::from_micros((of.min(LONGEST_MS) * 1e3).round() as u64)
}

/// Half to one and a half times as long: what is shorter and longer in a cluster is not known well
/// enough for anything finer.
fn around(ms: f64) -> Distribution {
    Distribution::Uniform { min: milliseconds(ms / 2.0), max: milliseconds(ms * 1.5) }
}
