//! A scenario in the making: what is known of a job, as a file that a user goes on with.
//!
//! Only what is known is written; what is not keeps the default of the format, and is named in
//! [`Draft::assumed`], which becomes part of the file's `why`.

use std::collections::BTreeSet;
use std::fmt;

use cutline::config::{OPTIONS, OptionValue, OptionValues};
use cutline::time::VirtualDuration;

use super::shape::{Shape, Vertex};
use crate::kernel::distribution::Distribution;
use crate::scenario::{
    FORMAT, JsonText as Json, distribution_text, format_bandwidth, json_string, span_text,
};

/// A scenario in the making.
#[derive(Clone, Debug)]
pub struct Draft {
    /// One line for lists and reports.
    pub title: String,
    /// Where the scenario comes from.
    pub why: String,
    /// What nobody said, and what stands in for it: a line each, with the field of the file where
    /// there is one.
    pub assumed: Vec<String>,
    /// Operators, inputs first.
    pub operators: Vec<Operator>,
    /// Edges, of each receiver in the order of its inputs.
    pub edges: Vec<Edge>,
    /// Flink's options, as far as they are set.
    pub options: OptionValues,
    /// Everything around the job.
    pub world: World,
}

/// An operator of a draft.
#[derive(Clone, Debug)]
pub struct Operator {
    /// Unique, with the letters that a scenario allows.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// Subtasks.
    pub parallelism: u32,
    /// Key groups, where they are known.
    pub max_parallelism: Option<u32>,
    /// Processing time of one real record.
    pub cost: Option<VirtualDuration>,
    /// The synchronous part of a snapshot.
    pub sync_cost: Option<Distribution>,
}

/// An edge of a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The sender, by index.
    pub from: usize,
    /// The receiver, by index.
    pub to: usize,
    /// How records find their subtask, as a scenario calls it.
    pub partitioner: &'static str,
    /// Both ends are one vertex in Flink.
    pub chained: bool,
}

/// What an operator of a draft does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Reads splits, one a subtask.
    Source(Stream),
    /// Hands records on.
    Map,
    /// Hands records on, all of them until somebody says how many.
    Filter,
    /// Hands on zero to two records for each: as many as come, on average.
    FlatMap,
    /// Keeps so many bytes of state for each key, where that is known.
    Aggregate(Option<u64>),
    /// Joins two inputs.
    Join(Option<u64>),
    /// Ends a job.
    Sink(Sink),
}

/// What a source brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Span between two simulated records of one split.
    pub every: VirtualDuration,
    /// Number of keys.
    pub keys: u32,
    /// Bytes of a real record.
    pub record_bytes: u32,
    /// Real records that a simulated one stands for.
    pub weight: u32,
}

/// How a sink writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// In transactions that a checkpoint commits.
    TwoPhaseCommit,
    /// By record identity.
    Idempotent,
    /// At once, again after a restore.
    AtLeastOnce,
}

/// What is known of the world around the job; `None` is left to the defaults of the format.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Task managers.
    pub task_managers: Option<u32>,
    /// Deploying a subtask.
    pub deploy: Option<Distribution>,
    /// Latency of data channels.
    pub latency: Option<Distribution>,
    /// Latency of control messages.
    pub control_latency: Option<Distribution>,
    /// A storage request without its bytes.
    pub storage_latency: Option<Distribution>,
    /// Bytes a second of one storage request.
    pub storage_bandwidth: Option<u64>,
    /// End of a run.
    pub until: Option<VirtualDuration>,
}

/// What is known of a vertex besides its place in the job.
#[derive(Clone, Copy, Debug, Default)]
pub struct VertexFacts {
    /// Bytes of state of all its subtasks; `None`: unknown.
    pub state_bytes: Option<u64>,
    /// Processing time of one real record.
    pub cost: Option<VirtualDuration>,
    /// The synchronous part of a snapshot.
    pub sync_cost: Option<Distribution>,
}

/// Keys for each subtask of the widest keyed vertex: so many that the busiest subtask has some 20 %
/// more than its share at most, and so few that all are soon met.
const KEYS_EACH: u32 = 200;
const KEYS_MAX: u32 = 20_000;

/// A vertex with less has its state inside of the metadata: offsets of a source, say. Flink:
/// `execution.checkpointing.data-inline-threshold`.
pub const STATE_MIN: u64 = 20 << 10;

/// What names of Flink's operators say that a draft leaves out, and how a scenario says it.
const LOST: [(&str, &str); 7] = [
    (
        "window",
        "has no window here: it needs the event time of its sources (`kind`: `window`, `size`, and \
         `out_of_orderness` of the sources)",
    ),
    (
        "watermark",
        "makes no watermarks here, as sources do it (`out_of_orderness`, `watermark_interval`)",
    ),
    (
        "async wait operator",
        "waits for no answers here: it needs how long they take (`kind`: `async`, `latency`, \
         `capacity`)",
    ),
    (
        "lookupjoin",
        "waits for no answers here: it needs how long they take (`kind`: `async`, `latency`, \
         `capacity`)",
    ),
    (
        "broadcast",
        "keeps nothing of what is broadcast to it here (`kind`: `broadcast_join`, whose second \
         input is the broadcast one)",
    ),
    ("where=", "lets all records pass here (`kind`: `filter`, `keep`)"),
    ("over=", "keeps what a keyed aggregate keeps here, whatever its frame is (`state_per_key`)"),
];

/// A field of the file that nobody spoke of, what stands there, and why.
pub fn assumption(field: &str, value: impl fmt::Display, why: &str) -> String {
    format!("{field} = {value} ({why})")
}

/// A number of keys for a job of this shape.
pub fn keys(shape: &Shape) -> u32 {
    let widest = shape.vertices.iter().map(|vertex| vertex.parallelism).max();
    widest.unwrap_or(1).saturating_mul(KEYS_EACH).min(KEYS_MAX)
}

/// Flink flushes a buffer after so long, full or not: `execution.buffer-timeout.interval`.
pub const FLUSH_S: f64 = 0.1;
/// Flink: `taskmanager.memory.segment-size`.
pub const BUFFER_BYTES: f64 = 32_768.0;

/// Real records that a simulated one should stand for: those of a buffer, which leaves when it is
/// full or after its time, with so many records a second in one channel.
pub fn weight(per_second_and_channel: f64, record_bytes: f64) -> f64 {
    let flushed = (per_second_and_channel * FLUSH_S).max(1.0);
    flushed.min((BUFFER_BYTES / record_bytes).max(1.0)).floor()
}

/// Channels into a vertex, all-to-all.
pub fn channels(shape: &Shape, vertex: usize) -> f64 {
    let subtasks = |of: usize| f64::from(shape.vertices[of].parallelism);
    let senders: f64 = shape.vertices[vertex].inputs.iter().map(|of| subtasks(of.from)).sum();
    (senders * subtasks(vertex)).max(1.0)
}

/// Subtasks of all sources.
pub fn source_subtasks(shape: &Shape) -> f64 {
    let sources = shape.vertices.iter().filter(|vertex| vertex.inputs.is_empty());
    sources.map(|vertex| f64::from(vertex.parallelism)).sum()
}

/// So many seconds, to the four digits that are known at best.
pub fn seconds(of: f64) -> VirtualDuration {
    const DIGITS: f64 = 1e4;
    let nanos = of * 1e9;
    let mut step = 1.0;
    while nanos / step >= DIGITS {
        step *= 10.0;
    }
    VirtualDuration::from_nanos(((nanos / step).round() * step) as u64)
}

impl Draft {
    /// The draft of a job of a shape. `facts` has an entry for each vertex; without a `sink` it is
    /// told from names.
    pub fn of(shape: &Shape, facts: &[VertexFacts], stream: Stream, sink: Option<Sink>) -> Self {
        let mut draft = Self {
            title: shape.name.clone(),
            why: String::new(),
            assumed: Vec::new(),
            operators: Vec::new(),
            edges: Vec::new(),
            options: OptionValues::default(),
            world: World::default(),
        };
        let mut names = Names(BTreeSet::new());
        // The operator that a vertex's records leave, by vertex.
        let mut last = Vec::new();
        for (index, (vertex, facts)) in shape.vertices.iter().zip(facts).enumerate() {
            let name = names.unique(&vertex.name);
            let first = draft.operators.len();
            let is_end = shape.is_end(index);
            let kind = draft.kind(&name, vertex, facts, stream, is_end, sink);
            draft.name_the_chain(&name, vertex, kind, is_end);
            draft.name_what_is_lost(&name, vertex);
            let partitioners = draft.partitioners(&name, vertex, shape, kind);
            for (input, partitioner) in vertex.inputs.iter().zip(partitioners) {
                let from = last[input.from];
                draft.edges.push(Edge { from, to: first, partitioner, chained: false });
            }
            draft.operators.push(Operator {
                name: name.clone(),
                kind,
                parallelism: vertex.parallelism,
                max_parallelism: vertex.max_parallelism,
                cost: facts.cost,
                sync_cost: facts.sync_cost,
            });
            if is_end && !matches!(kind, Kind::Sink(_)) {
                draft.chain_sink(&mut names, &name, vertex, sink);
            }
            last.push(draft.operators.len() - 1);
        }
        draft
    }

    fn kind(
        &mut self,
        name: &str,
        vertex: &Vertex,
        facts: &VertexFacts,
        stream: Stream,
        is_end: bool,
        sink: Option<Sink>,
    ) -> Kind {
        if vertex.inputs.is_empty() {
            return Kind::Source(stream);
        }
        let has_state = facts.state_bytes.is_some_and(|bytes| bytes >= STATE_MIN);
        let is_hash = |strategy: &Option<String>| strategy.as_deref() == Some("HASH");
        let unknown = vertex.inputs.iter().all(|input| input.strategy.is_none());
        let keyed = vertex.inputs.iter().all(|input| is_hash(&input.strategy));
        let per_key = facts.state_bytes.map(|bytes| bytes / u64::from(stream.keys));
        let field = format!("job.operators[{name}].kind");
        if keyed || unknown && has_state {
            let joins = vertex.name.to_lowercase().contains("join") && vertex.inputs.len() == 2;
            let (kind, word) = match joins {
                true => (Kind::Join(per_key), "join"),
                false => (Kind::Aggregate(per_key), "keyed_aggregate"),
            };
            let why = match (vertex.inputs.len(), joins, keyed) {
                (_, true, _) => {
                    "by its name; each record waits for one of the other input".to_owned()
                }
                (_, _, false) => "it has state; what it does with records, nobody said".to_owned(),
                (1, ..) => {
                    "its input comes by key; what it does with records, nobody said".to_owned()
                }
                (inputs, ..) => format!(
                    "its {inputs} inputs come by key, and are counted alike; what it does with \
                     each, nobody said"
                ),
            };
            self.assumed.push(assumption(&field, word, &why));
            return kind;
        }
        if has_state {
            let state = facts.state_bytes.unwrap_or(0);
            self.assumed.push(format!(
                "state of `{name}`: {state} bytes are left out, as its inputs are not all keyed"
            ));
        }
        if is_end {
            return Kind::Sink(self.sink(name, vertex, sink));
        }
        let by_key = vertex.inputs.iter().filter(|input| is_hash(&input.strategy)).count();
        if by_key > 0 {
            let inputs = vertex.inputs.len();
            let why = format!(
                "only {by_key} of its {inputs} inputs come by key, so it keeps no state here"
            );
            self.assumed.push(assumption(&field, "map", &why));
            return Kind::Map;
        }
        self.stateless(name, vertex)
    }

    /// An operator without keyed inputs. Flink: the names that `DataStream` gives.
    fn stateless(&mut self, name: &str, vertex: &Vertex) -> Kind {
        let of = |field: &str| format!("job.operators[{name}].{field}");
        let called = vertex.operators().next().unwrap_or("");
        let (kind, note) = match called {
            "Map" => return Kind::Map,
            "Filter" => {
                let why = "all records pass: which share does, nobody said";
                (Kind::Filter, assumption(&of("keep"), "1/1", why))
            }
            "Flat Map" => {
                let why = "zero to two records for each, one on average: how many, nobody said";
                (Kind::FlatMap, assumption(&of("fanout"), 2, why))
            }
            _ => {
                let why = "one record out for each: what it does with records, nobody said";
                (Kind::Map, assumption(&of("kind"), "map", why))
            }
        };
        self.assumed.push(note);
        kind
    }

    /// A vertex is a chain of operators, its stand-in one. A sink at its end has a stand-in, too.
    fn name_the_chain(&mut self, name: &str, vertex: &Vertex, kind: Kind, is_end: bool) {
        let is_sink = |part: &str| {
            let part = part.to_lowercase();
            is_end && ["sink", "writer", "committer"].iter().any(|word| part.contains(word))
        };
        let first = usize::from(!matches!(kind, Kind::Sink(_)));
        let is_committer = |part: &str| part.to_lowercase().contains("committer");
        let mut writers = 0;
        let left_out = vertex.operators().skip(first).filter(|part| {
            // All sinks of a chain have one stand-in.
            writers += usize::from(is_sink(part) && !is_committer(part));
            !is_sink(part) || writers > 1 && !is_committer(part)
        });
        let left_out: Vec<String> = left_out.map(|part| format!("`{part}`")).collect();
        // A sink with nothing before it is known by its own name, whatever that is.
        let is_alone = first == 0 && vertex.operators().count() == 1;
        if left_out.is_empty() || is_alone {
            return;
        }
        self.assumed.push(format!(
            "job.operators[{name}] stands for the whole chain of this vertex: that it has {}, and \
             what that does with records, is left out",
            left_out.join(", ")
        ));
    }

    /// Says what a vertex's name promises and its stand-in does not do. A plan has too little of it
    /// to guess the rest: neither event time nor how long an answer takes.
    fn name_what_is_lost(&mut self, name: &str, vertex: &Vertex) {
        let called = vertex.name.to_lowercase();
        let lost = LOST.iter().filter(|(word, _)| called.contains(word));
        self.assumed.extend(lost.map(|(_, lost)| format!("job.operators[{name}] {lost}")));
    }

    /// A sink that is chained to what is no sink itself.
    fn chain_sink(&mut self, names: &mut Names, name: &str, vertex: &Vertex, sink: Option<Sink>) {
        let own = names.unique(&format!("{name}.sink"));
        let kind = Kind::Sink(self.sink(&own, vertex, sink));
        self.assumed.push(format!(
            "job.operators[{own}] is the end of `{name}`, which feeds nothing; its `cost` and \
             `sync_cost` are a part of that of `{name}`"
        ));
        let (from, to) = (self.operators.len() - 1, self.operators.len());
        self.edges.push(Edge { from, to, partitioner: "forward", chained: true });
        self.operators.push(Operator {
            name: own,
            kind,
            parallelism: vertex.parallelism,
            max_parallelism: vertex.max_parallelism,
            cost: Some(VirtualDuration::ZERO),
            sync_cost: Some(Distribution::Constant(VirtualDuration::ZERO)),
        });
    }

    /// Flink calls the second half of a transactional sink its committer.
    fn sink(&mut self, name: &str, vertex: &Vertex, given: Option<Sink>) -> Sink {
        if let Some(given) = given {
            return given;
        }
        let field = format!("job.operators[{name}].kind");
        let (sink, word, why) = match vertex.name.to_lowercase().contains("committer") {
            true => (Sink::TwoPhaseCommit, "two_phase_commit_sink", "its name has a committer"),
            false => {
                let why = "its name does not say that it has transactions";
                (Sink::AtLeastOnce, "at_least_once_sink", why)
            }
        };
        self.assumed.push(assumption(&field, word, &format!("how `{name}` writes: {why}")));
        sink
    }

    fn partitioners(
        &mut self,
        name: &str,
        vertex: &Vertex,
        shape: &Shape,
        kind: Kind,
    ) -> Vec<&'static str> {
        let keyed = matches!(kind, Kind::Aggregate(_) | Kind::Join(_));
        let is_planned =
            shape.vertices.iter().any(|of| of.inputs.iter().any(|input| input.strategy.is_some()));
        let mut chosen = Vec::with_capacity(vertex.inputs.len());
        for input in &vertex.inputs {
            let even = shape.vertices[input.from].parallelism == vertex.parallelism;
            let (partitioner, why) = match input.strategy.as_deref() {
                _ if keyed => ("hash", None),
                Some("HASH") => ("hash", None),
                Some("FORWARD") if even => ("forward", None),
                Some("FORWARD") => {
                    ("rescale", Some("FORWARD, between unequal parallelisms".to_owned()))
                }
                Some("RESCALE") => ("rescale", None),
                Some("BROADCAST") => ("broadcast", None),
                Some("REBALANCE") => ("rebalance", None),
                // What stands for a whole job without a plan is named once, by its maker.
                None if !is_planned => ("rebalance", None),
                None => ("rebalance", Some("without a name".to_owned())),
                Some(other) => {
                    ("rebalance", Some(format!("{other}, which a scenario does not have")))
                }
            };
            if let Some(why) = why {
                let edge = self.edges.len() + chosen.len();
                let field = format!("job.edges[{edge}].partitioner");
                let why = format!("the exchange into `{name}` is {why}");
                self.assumed.push(assumption(&field, partitioner, &why));
            }
            chosen.push(partitioner);
        }
        chosen
    }

    /// The file.
    pub fn to_json(&self) -> String {
        let mut root = vec![
            ("format", json_string(FORMAT)),
            ("title", json_string(&self.title)),
            ("why", json_string(&self.full_why())),
            ("job", self.job()),
        ];
        for section in ["checkpointing", "restart", "buffers", "cluster"] {
            let mut parts = self.section(section);
            if section == "cluster" {
                parts.extend(self.cluster());
            }
            if !parts.is_empty() {
                root.push((section, Json::Object(parts)));
            }
        }
        let world = &self.world;
        let network = [("latency", world.latency), ("control_latency", world.control_latency)];
        root.extend(object("network", given(network)));
        let mut storage = given([("latency", world.storage_latency)]);
        if let Some(bandwidth) = world.storage_bandwidth {
            storage.push(("bandwidth", json_string(&format_bandwidth(bandwidth))));
        }
        root.extend(object("storage", storage));
        let until = world.until.map(|until| ("until", span_text(until)));
        root.extend(object("limits", until.into_iter().collect()));
        let mut out = String::new();
        Json::Object(root).write(0, 0, &mut out);
        out.push('\n');
        out
    }

    fn full_why(&self) -> String {
        match self.assumed.is_empty() {
            true => self.why.clone(),
            false => format!("{} Assumed: {}.", self.why, self.assumed.join("; ")),
        }
    }

    fn job(&self) -> Json {
        let edge = |edge: &Edge| {
            let mut parts = vec![
                ("from", json_string(&self.operators[edge.from].name)),
                ("to", json_string(&self.operators[edge.to].name)),
                ("partitioner", json_string(edge.partitioner)),
            ];
            if edge.chained {
                parts.push(("chained", Json::Plain("true".to_owned())));
            }
            Json::Object(parts)
        };
        Json::Object(vec![
            ("operators", Json::List(self.operators.iter().map(operator).collect())),
            ("edges", Json::List(self.edges.iter().map(edge).collect())),
        ])
    }

    /// Options of a section that are set, but for those of a restart strategy that is not chosen:
    /// a scenario has no place for them.
    fn section(&self, section: &str) -> Vec<(&'static str, Json)> {
        let chosen = match self.options.get(cutline::config::Key::Strategy) {
            Some(OptionValue::Choice(strategy)) => Some(strategy),
            _ => None,
        };
        let of = OPTIONS.iter().filter(|spec| {
            spec.path.0 == section && spec.strategy.is_none_or(|of| chosen == Some(of))
        });
        let written = of.filter_map(|spec| {
            let value = self.options.get(spec.id)?;
            let json = match value {
                OptionValue::Integer(_) | OptionValue::Boolean(_) => Json::Plain(value.to_string()),
                OptionValue::Duration(_)
                | OptionValue::Decimal(_)
                | OptionValue::Size(_)
                | OptionValue::Choice(_) => json_string(&value.to_string()),
            };
            Some((spec.path.1, json))
        });
        written.collect()
    }

    fn cluster(&self) -> Vec<(&'static str, Json)> {
        let count = self.world.task_managers;
        let count = count.map(|count| ("task_managers", Json::Plain(count.to_string())));
        count.into_iter().chain(given([("deploy", self.world.deploy)])).collect()
    }
}

fn given<const N: usize>(
    parts: [(&'static str, Option<Distribution>); N],
) -> Vec<(&'static str, Json)> {
    let known = parts.into_iter().filter_map(|(name, of)| Some((name, distribution_text(&of?))));
    known.collect()
}

fn object(name: &'static str, parts: Vec<(&'static str, Json)>) -> Option<(&'static str, Json)> {
    (!parts.is_empty()).then_some((name, Json::Object(parts)))
}

fn operator(of: &Operator) -> Json {
    let number = |value: u32| Json::Plain(value.to_string());
    let size = |bytes: u64| json_string(&cutline::config::text::format_size(bytes));
    let (kind, own) = match of.kind {
        Kind::Source(stream) => {
            let parts = vec![
                ("splits", number(of.parallelism)),
                ("every", span_text(stream.every)),
                ("keys", number(stream.keys)),
                ("record_size", size(u64::from(stream.record_bytes))),
                ("weight", number(stream.weight)),
            ];
            ("source", parts)
        }
        Kind::Map => ("map", vec![]),
        Kind::Filter => ("filter", vec![("keep", json_string("1/1"))]),
        Kind::FlatMap => ("flat_map", vec![("fanout", number(2))]),
        Kind::Aggregate(state) => {
            ("keyed_aggregate", state.map(|of| ("state_per_key", size(of))).into_iter().collect())
        }
        Kind::Join(state) => {
            ("join", state.map(|of| ("state_per_key", size(of))).into_iter().collect())
        }
        Kind::Sink(Sink::TwoPhaseCommit) => ("two_phase_commit_sink", vec![]),
        Kind::Sink(Sink::Idempotent) => ("idempotent_sink", vec![]),
        Kind::Sink(Sink::AtLeastOnce) => ("at_least_once_sink", vec![]),
    };
    let mut parts = vec![
        ("name", json_string(&of.name)),
        ("kind", json_string(kind)),
        ("parallelism", number(of.parallelism)),
    ];
    parts.extend(of.max_parallelism.map(|max| ("max_parallelism", number(max))));
    parts.extend(own);
    parts.extend(of.cost.map(|cost| ("cost", span_text(cost))));
    parts.extend(of.sync_cost.map(|cost| ("sync_cost", distribution_text(&cost))));
    Json::Object(parts)
}

/// Names of operators: unique, of letters that a scenario allows, and short enough to read.
struct Names(BTreeSet<String>);

impl Names {
    fn unique(&mut self, name: &str) -> String {
        const LONGEST: usize = 40;
        let named = name.strip_prefix("Source: ").or_else(|| name.strip_prefix("Sink: "));
        // Of SQL: `[5]:GroupAggregate(groupBy=[…], select=[…])`.
        let planned = name.split_once("]:").filter(|(number, _)| number.starts_with('['));
        let named = planned.map(|(_, of)| of.split('(').next().unwrap_or(of)).or(named);
        let words = named
            .unwrap_or(name)
            .split(|sign: char| !(sign.is_ascii_alphanumeric() || sign == '_' || sign == '.'));
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        let mut short: String = words.join("-").chars().take(LONGEST).collect();
        short.truncate(short.trim_end_matches('-').len());
        if short.is_empty() {
            "operator".clone_into(&mut short);
        }
        let numbered = |number: usize| match number {
            1 => short.clone(),
            _ => format!("{short}-{number}"),
        };
        let free = (1..).map(numbered).find(|name| !self.0.contains(name));
        let free = free.expect("there are more numbers than names");
        self.0.insert(free.clone());
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flink::shape::Input;
    use crate::scenario::load;

    const STREAM: Stream =
        Stream { every: VirtualDuration::from_millis(1), keys: 100, record_bytes: 100, weight: 1 };

    fn vertex(name: &str, inputs: &[(usize, &str)]) -> Vertex {
        let inputs = inputs.iter().map(|(from, strategy)| Input {
            from: *from,
            strategy: Some((*strategy).to_owned()).filter(|of| !of.is_empty()),
        });
        Vertex {
            id: name.to_owned(),
            name: name.to_owned(),
            parallelism: 2,
            max_parallelism: Some(128),
            inputs: inputs.collect(),
        }
    }

    fn kinds(vertices: Vec<Vertex>, state: &[u64]) -> (Vec<(String, &'static str)>, Draft) {
        let shape = Shape { name: "job".to_owned(), vertices };
        let facts: Vec<VertexFacts> = state
            .iter()
            .map(|bytes| VertexFacts { state_bytes: Some(*bytes), ..VertexFacts::default() })
            .collect();
        let draft = Draft::of(&shape, &facts, STREAM, None);
        load(draft.to_json().as_bytes(), "draft.json", &[]).unwrap_or_else(|e| panic!("{e}"));
        let word = |kind: Kind| match kind {
            Kind::Source(_) => "source",
            Kind::Map => "map",
            Kind::Filter => "filter",
            Kind::FlatMap => "flat_map",
            Kind::Aggregate(_) => "aggregate",
            Kind::Join(_) => "join",
            Kind::Sink(Sink::TwoPhaseCommit) => "transactions",
            Kind::Sink(Sink::Idempotent | Sink::AtLeastOnce) => "sink",
        };
        let all = draft.operators.iter().map(|of| (of.name.clone(), word(of.kind))).collect();
        (all, draft)
    }

    #[test]
    fn vertices_become_operators_that_load() {
        let (all, draft) = kinds(
            vec![
                vertex("Source: a", &[]),
                vertex("Source: b", &[]),
                vertex("Interval Join", &[(0, "HASH"), (1, "HASH")]),
                vertex("enrich -> tap", &[(2, "CUSTOM")]),
                vertex("count -> Sink: Writer -> Sink: Committer", &[(3, "HASH")]),
            ],
            &[0, 0, 1 << 20, 1 << 20, 1 << 20],
        );
        let expected = [
            ("a", "source"),
            ("b", "source"),
            ("Interval-Join", "join"),
            ("enrich-tap", "map"),
            ("count-Sink-Writer-Sink-Committer", "aggregate"),
            ("count-Sink-Writer-Sink-Committer.sink", "transactions"),
        ];
        let expected = expected.map(|(name, kind)| (name.to_owned(), kind));
        assert_eq!(all, expected);
        let chained: Vec<_> = draft.edges.iter().map(|edge| edge.chained).collect();
        assert_eq!(chained, [false, false, false, false, true]);
        let own = "count-Sink-Writer-Sink-Committer";
        let named = [
            "job.operators[Interval-Join].kind = join (by its name".to_owned(),
            "state of `enrich-tap`: 1048576 bytes are left out".to_owned(),
            "job.operators[enrich-tap].kind = map (one record out for each".to_owned(),
            "job.operators[enrich-tap] stands for the whole chain of this vertex: that it has `tap`"
                .to_owned(),
            "job.edges[2].partitioner = rebalance (the exchange into `enrich-tap` is CUSTOM".to_owned(),
            format!("job.operators[{own}].kind = keyed_aggregate (its input comes by key"),
            format!("job.operators[{own}.sink].kind = two_phase_commit_sink"),
            format!("job.operators[{own}.sink] is the end of `{own}`"),
        ];
        assert_named(&draft, &named);
    }

    /// All of these, and nothing else.
    fn assert_named(draft: &Draft, named: &[String]) {
        for said in named {
            let count = draft.assumed.iter().filter(|of| of.starts_with(said.as_str())).count();
            assert_eq!(count, 1, "{said}: {:#?}", draft.assumed);
        }
        assert_eq!(draft.assumed.len(), named.len(), "{:#?}", draft.assumed);
    }

    #[test]
    fn how_many_records_go_on_is_a_field_to_fill_in() {
        let (all, draft) = kinds(
            vec![
                vertex("Source: s -> Filter", &[]),
                vertex("Filter -> Map", &[(0, "REBALANCE")]),
                vertex("Flat Map", &[(1, "REBALANCE")]),
                vertex("Map", &[(2, "RESCALE")]),
                vertex("two streams", &[(3, "HASH"), (2, "HASH")]),
                vertex("half keyed", &[(4, "HASH"), (3, "REBALANCE")]),
                vertex("Sink: a: Writer -> (Sink: a: Committer , Sink: b: Writer)", &[(5, "")]),
            ],
            &[0; 7],
        );
        let kinds: Vec<&str> = all.iter().map(|(_, kind)| *kind).collect();
        let expected = ["source", "filter", "flat_map", "map", "aggregate", "map", "transactions"];
        assert_eq!(kinds, expected);
        let json = draft.to_json();
        assert!(json.contains(r#""keep": "1/1""#) && json.contains(r#""fanout": 2"#), "{json}");
        let sink = "a-Writer-Sink-a-Committer-Sink-b-Writer";
        let named = [
            "job.operators[s-Filter] stands for the whole chain of this vertex: that it has `Filter`",
            "job.operators[Filter-Map].keep = 1/1",
            "job.operators[Filter-Map] stands for the whole chain of this vertex: that it has `Map`",
            "job.operators[Flat-Map].fanout = 2",
            "job.operators[two-streams].kind = keyed_aggregate (its 2 inputs come by key",
            "job.operators[half-keyed].kind = map (only 1 of its 2 inputs come by key",
            &format!("job.operators[{sink}].kind = two_phase_commit_sink"),
            &format!(
                "job.operators[{sink}] stands for the whole chain of this vertex: that it has `Sink: b: Writer`"
            ),
            "job.edges[7].partitioner = rebalance (the exchange into `a-Writer-",
        ];
        assert_named(&draft, &named.map(str::to_owned));
    }

    #[test]
    fn names_of_sql_are_short() {
        let mut names = Names(BTreeSet::new());
        let called =
            "[5]:GroupAggregate(groupBy=[name], select=[name, COUNT(*) AS c]) -> [6]:Calc(x)";
        assert_eq!(names.unique(called), "GroupAggregate");
        assert_eq!(names.unique(called), "GroupAggregate-2");
    }

    #[test]
    fn what_a_name_promises_and_the_draft_lacks_is_named() {
        let chain = vec![
            vertex("Source: s", &[]),
            vertex("async wait operator", &[(0, "FORWARD")]),
            vertex("Window(TumblingEventTimeWindows(5000), EventTimeTrigger)", &[(1, "HASH")]),
            vertex("Co-Process-Broadcast-Keyed -> Committer", &[(2, "HASH"), (0, "BROADCAST")]),
        ];
        let (_, draft) = kinds(chain, &[0; 4]);
        for kind in ["`kind`: `async`", "`kind`: `window`", "`kind`: `broadcast_join`"] {
            let named = draft.assumed.iter().filter(|said| said.contains(kind)).count();
            assert_eq!(named, 1, "{kind}: {:?}", draft.assumed);
        }
    }

    #[test]
    fn without_a_plan_state_makes_an_operator_keyed() {
        let chain =
            vec![vertex("Source: s", &[]), vertex("x", &[(0, "")]), vertex("x", &[(1, "")])];
        let (all, draft) = kinds(chain, &[500, 1 << 20, 0]);
        let expected = [("s", "source"), ("x", "aggregate"), ("x-2", "sink")];
        assert_eq!(all, expected.map(|(name, kind)| (name.to_owned(), kind)));
        let edge = |from, to, partitioner| Edge { from, to, partitioner, chained: false };
        assert_eq!(draft.edges, [edge(0, 1, "hash"), edge(1, 2, "rebalance")]);
        assert!(draft.to_json().contains("how `x-2` writes"), "{}", draft.to_json());
    }
}
