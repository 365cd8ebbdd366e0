//! Operators and edges: names, shapes and partitioners that can run.

use std::collections::BTreeMap;

use cutline::job::{BadFeedback, Feedback, Partitioner};
use cutline::operator::{RULES, StartupMode};
use cutline::time::VirtualDuration;

use crate::kernel::distribution::Distribution;

use super::chains::apart;
use super::diagnostic::{Diagnostic, Sink, Span};
use super::loops::{Unfit, unfit};
use super::model::{Discovery, Edge, Job, ListMode, Operator, OperatorKind, Source, Watermarks};
use super::read::Node;

/// More channels than these do not fit into memory with their buffers.
pub(crate) const CHANNELS_MAX: u64 = 1 << 21;
const NO_TIME: Distribution = Distribution::Constant(VirtualDuration::ZERO);
const DEFAULT_EVERY: VirtualDuration = VirtualDuration::from_millis(1);
/// Flink: `pipeline.auto-watermark-interval`.
const DEFAULT_WATERMARK_INTERVAL: VirtualDuration = VirtualDuration::from_millis(200);

/// The job, and whether its shape can be relied on by later checks: false if an operator or an
/// edge was refused.
pub(super) fn job(node: &Node, sink: &mut Sink) -> (Job, bool) {
    let nodes = node.list("operators");
    let operators: Vec<Operator> = nodes.iter().map(|node| operator(node, sink)).collect();
    let names_are_unique = refuse_twins(nodes, sink);
    let mut builder = Builder { nodes, operators: &operators, sink, refused: !names_are_unique };
    let edges = builder.edges(node.list("edges"));
    let shape_is_known = !builder.refused
        && ["operators", "edges"].iter().all(|list| node.given(list).is_some())
        && nodes.iter().all(|node| node.text("name").is_some() && !node.variant.is_empty())
        && nodes.iter().all(|node| node.u32("parallelism").is_some());
    if shape_is_known {
        builder.check_shape(node, &edges, node.list("edges"));
    }
    let known = shape_is_known && !builder.refused;
    if known {
        warn_of_no_chain(node, &edges, sink);
    }
    let operator_chaining = node.boolean("operator_chaining").unwrap_or(true);
    (Job { operators, edges, operator_chaining }, known)
}

/// Chaining is switched, of a job or of one that is resumed, and nothing is chained.
pub(super) fn warn_of_no_chain(node: &Node, edges: &[Edge], sink: &mut Sink) {
    if node.given("operator_chaining").is_some() && !edges.iter().any(|edge| edge.chained) {
        let message = "`operator_chaining` has no effect: no edge is chained";
        let warning = Diagnostic::warning("no-effect", node.place("operator_chaining"), message);
        sink.push(warning.expected("an edge with `chained`"));
    }
}

/// How many channels a job has with these numbers of subtasks.
pub(super) fn channels(edges: &[Edge], parallelism: &[u32]) -> u64 {
    edges.iter().fold(0, |sum, edge| {
        let senders = u64::from(parallelism[edge.from]);
        let receivers = u64::from(parallelism[edge.to]);
        sum + match edge.partitioner {
            Partitioner::Forward => senders,
            Partitioner::Rescale => senders.max(receivers),
            Partitioner::Hash | Partitioner::Rebalance | Partitioner::Broadcast => {
                senders * receivers
            }
        }
    })
}

fn operator(node: &Node, sink: &mut Sink) -> Operator {
    let parallelism = node.u32("parallelism");
    let max_parallelism = node.u32("max_parallelism");
    if let (Some(parallelism), Some(max)) = (parallelism, max_parallelism)
        && parallelism > max
    {
        let message = format!("parallelism {parallelism} is above the max parallelism {max}");
        sink.push(
            Diagnostic::error("bad-parallelism", node.place("parallelism"), message)
                .expected(format!("at most {max}"))
                .also(node.place("max_parallelism"), "the number of key groups")
                .flink("KeyGroupRangeAssignment: refuses the job; a subtask needs a key group"),
        );
    }
    let parallelism = parallelism.unwrap_or(1);
    Operator {
        name: node.text("name").unwrap_or_default(),
        kind: kind(node, parallelism, sink),
        parallelism,
        max_parallelism: max_parallelism.unwrap_or_else(|| default_max_parallelism(parallelism)),
        cost: node.distribution("cost").unwrap_or(NO_TIME),
        sync_cost: node.distribution("sync_cost").unwrap_or(NO_TIME),
        state_per_key: node.integer("state_per_key").unwrap_or(0),
    }
}

/// Flink: `KeyGroupRangeAssignment#computeDefaultMaxParallelism`.
fn default_max_parallelism(parallelism: u32) -> u32 {
    const LEAST: u32 = 128;
    const MOST: u32 = 1 << 15;
    (parallelism + parallelism / 2).next_power_of_two().clamp(LEAST, MOST)
}

fn kind(node: &Node, parallelism: u32, sink: &mut Sink) -> OperatorKind {
    match node.variant {
        "source" => OperatorKind::Source(source(node, parallelism, sink)),
        "filter" => OperatorKind::Filter { keep_permille: node.permille("keep").unwrap_or(0) },
        "flat_map" => OperatorKind::FlatMap { fanout: node.u32("fanout").unwrap_or(1) },
        "keyed_aggregate" => OperatorKind::KeyedAggregate,
        "join" => OperatorKind::Join,
        "buffer" => OperatorKind::Buffer { threshold: node.u32("threshold").unwrap_or(1) },
        "async" => OperatorKind::Async {
            capacity: node.u32("capacity").unwrap_or(1),
            ordered: node.word("order") != Some("unordered"),
            latency: node.distribution("latency").unwrap_or(NO_TIME),
        },
        "broadcast_join" => OperatorKind::BroadcastJoin,
        "window" => window(node, sink),
        "idempotent_sink" => OperatorKind::IdempotentSink,
        "two_phase_commit_sink" => OperatorKind::TwoPhaseCommitSink,
        "sink_writer" => OperatorKind::SinkWriter,
        "committer" => OperatorKind::Committer,
        "write_ahead_sink" => OperatorKind::WriteAheadSink,
        "at_least_once_sink" => OperatorKind::AtLeastOnceSink,
        // Also what stands for a kind that was refused; the graph is not looked at then.
        _ => OperatorKind::Map { rekey: node.u32("rekey") },
    }
}

/// Each is a pane of its own, for each key.
const WINDOWS_OF_A_RECORD_MAX: u64 = 1_000;

fn window(node: &Node, sink: &mut Sink) -> OperatorKind {
    let size = node.duration("size").unwrap_or(VirtualDuration::from_secs(1));
    let slide = node.duration("slide").unwrap_or(size);
    if slide > size {
        let message = "windows would leave out what is between them";
        let error = Diagnostic::error("bad-window", node.place("slide"), message)
            .expected("at most the size")
            .also(node.place("size"), "the size");
        sink.push(error.flink("SlidingEventTimeWindows: takes it, and drops those records"));
    }
    if size.0.div_ceil(slide.0.max(1)) > WINDOWS_OF_A_RECORD_MAX {
        let message = "a record would be in too many windows";
        let error = Diagnostic::error("bad-window", node.place("slide"), message)
            .expected(format!("at least 1/{WINDOWS_OF_A_RECORD_MAX} of the size"))
            .also(node.place("size"), "the size");
        sink.push(error);
    }
    OperatorKind::Window { size, slide }
}

fn watermarks(node: &Node, sink: &mut Sink) -> Option<Watermarks> {
    let out_of_orderness = node.duration("out_of_orderness");
    if out_of_orderness.is_none() {
        for name in ["watermark_interval", "idle_timeout"] {
            if let Some(given) = node.given(name) {
                let message = format!("`{name}` of a source without watermarks");
                let error = Diagnostic::error("no-watermarks", given, message);
                sink.push(error.expected("`out_of_orderness` beside it"));
            }
        }
    }
    Some(Watermarks {
        out_of_orderness: out_of_orderness?,
        interval: node.duration("watermark_interval").unwrap_or(DEFAULT_WATERMARK_INTERVAL),
        idle_timeout: node.duration("idle_timeout"),
    })
}

fn discovery(node: &Node, sink: &mut Sink) -> Option<Discovery> {
    let every = node.duration("split_discovery");
    if let (None, Some(given)) = (every, node.given("enumerator_snapshot")) {
        let message = "`enumerator_snapshot` of a source without an enumerator";
        let error = Diagnostic::error("no-enumerator", given, message);
        sink.push(error.expected("`split_discovery` beside it"));
    }
    let snapshot = node.duration("enumerator_snapshot").unwrap_or_default();
    Some(Discovery { every: every?, snapshot })
}

/// A reader asks for a split when it is through with the last.
fn refuse_endless_splits(node: &Node, source: &Source, parallelism: u32, sink: &mut Sink) {
    if source.discovery.is_some() && source.records.is_none() && source.splits > parallelism {
        let message = "splits without an end: nobody would ever ask for the others";
        let error = Diagnostic::error("endless-splits", node.place("splits"), message);
        sink.push(error.expected("no more than there are subtasks, or `records` beside them"));
    }
}

fn list_mode(node: &Node, sink: &mut Sink) -> ListMode {
    let is_union = node.word("list_mode") == Some("union");
    if let (true, Some(given)) = (is_union, node.given("split_discovery")) {
        let message = "a source with an enumerator has no union list of splits";
        let error = Diagnostic::error("contradiction", node.place("list_mode"), message)
            .expected("`split`, or no `split_discovery`")
            .also(given, "the enumerator");
        sink.push(error.flink("SourceOperator: keeps the splits of a reader as even-split state"));
    }
    match is_union {
        true => ListMode::Union,
        false => ListMode::Split,
    }
}

fn source(node: &Node, parallelism: u32, sink: &mut Sink) -> Source {
    if let (Some(rate), Some(every)) = (node.given("rate"), node.given("every")) {
        sink.push(
            Diagnostic::error("contradiction", rate, "`rate` and `every` say the same thing twice")
                .expected("one of them")
                .also(every, "the other one"),
        );
    }
    let every = node.duration("every").or_else(|| node.duration("rate"));
    let source = Source {
        splits: node.u32("splits").unwrap_or(parallelism),
        records: node.integer("records"),
        history: node.integer("history").unwrap_or(0),
        startup_mode: match node.word("startup_mode") {
            Some("latest_offset") => StartupMode::LatestOffset,
            _ => StartupMode::EarliestOffset,
        },
        every: every.unwrap_or(DEFAULT_EVERY),
        keys: node.u32("keys").unwrap_or(1),
        key_run: node.u32("key_run").unwrap_or(1),
        record_bytes: node.u32("record_size").unwrap_or(1),
        weight: node.u32("weight").unwrap_or(1),
        disorder: node.duration("disorder").unwrap_or_default(),
        watermarks: watermarks(node, sink),
        discovery: discovery(node, sink),
        list_mode: list_mode(node, sink),
    };
    refuse_endless_splits(node, &source, parallelism, sink);
    source
}

fn refuse_twins(nodes: &[Node], sink: &mut Sink) -> bool {
    let mut seen = BTreeMap::new();
    let mut unique = true;
    for node in nodes {
        let Some(name) = node.text("name") else { continue };
        let span = node.place("name");
        if let Some(first) = seen.insert(name.clone(), span) {
            unique = false;
            sink.push(
                Diagnostic::error(
                    "repeated-name",
                    span,
                    format!("two operators are called `{name}`"),
                )
                .expected("a name of its own")
                .also(first, "the first one"),
            );
        }
    }
    unique
}

struct Builder<'a> {
    nodes: &'a [Node],
    operators: &'a [Operator],
    sink: &'a mut Sink,
    refused: bool,
}

impl Builder<'_> {
    fn refuse(&mut self, diagnostic: Diagnostic) {
        self.refused = true;
        self.sink.push(diagnostic);
    }

    fn edges(&mut self, nodes: &[Node]) -> Vec<Edge> {
        let mut edges: Vec<Edge> = Vec::with_capacity(nodes.len());
        for node in nodes {
            let (from, to) = (self.operator_of(node, "from"), self.operator_of(node, "to"));
            let (Some(from), Some(to)) = (from, to) else {
                self.refused = true;
                continue;
            };
            let input = self.input(node, to, &edges);
            let partitioner = self.partitioner(node, (from, to), input);
            let chained = node.boolean("chained") == Some(true);
            let feedback =
                node.permille("feedback").map(|again_permille| Feedback { again_permille });
            self.refused |= feedback.is_none() && node.given("feedback").is_some();
            if chained && feedback.is_some() {
                let chained = Unfit::Graph(BadFeedback::Chained);
                self.refuse_feedback(node.place("chained"), &chained);
            }
            edges.push(Edge { from, to, input, partitioner, chained, feedback });
        }
        edges
    }

    fn operator_of(&mut self, node: &Node, end: &str) -> Option<usize> {
        let name = node.text(end)?;
        let index = self.operators.iter().position(|operator| operator.name == name);
        if index.is_none() {
            let names: Vec<&str> = self.operators.iter().map(|op| op.name.as_str()).collect();
            let error = Diagnostic::error(
                "unknown-operator",
                node.place(end),
                format!("no operator is called `{name}`"),
            )
            .expected("the name of an operator of this job")
            .nearest(&name, names);
            self.refuse(error);
        }
        index
    }

    /// Only joins tell their inputs apart; they are numbered in the order of the edges.
    fn input(&mut self, node: &Node, to: usize, before: &[Edge]) -> u32 {
        let given = node.u32("input");
        if self.operators[to].kind.has_sides() {
            let taken = |input| before.iter().any(|edge| edge.to == to && edge.input == input);
            return given.unwrap_or_else(|| (0..).find(|input| !taken(*input)).unwrap_or(0));
        }
        if given.is_some() && !self.nodes[to].variant.is_empty() {
            let message = format!("`{}` is no join, its inputs are one", self.operators[to].name);
            let error = Diagnostic::error("bad-input", node.place("input"), message);
            self.refuse(error.expected("no `input`"));
        }
        0
    }

    fn partitioner(&mut self, node: &Node, (from, to): (usize, usize), input: u32) -> Partitioner {
        let (sender, receiver) = (&self.operators[from], &self.operators[to]);
        let keyed = receiver.kind.is_keyed();
        let rules = (receiver.kind == OperatorKind::BroadcastJoin).then_some(input == RULES);
        let even = sender.parallelism == receiver.parallelism;
        let chained = node.boolean("chained") == Some(true);
        let partitioner = match node.word("partitioner") {
            Some("forward") => Partitioner::Forward,
            Some("hash") => Partitioner::Hash,
            Some("rebalance") => Partitioner::Rebalance,
            Some("rescale") => Partitioner::Rescale,
            Some("broadcast") => Partitioner::Broadcast,
            _ if chained && even => Partitioner::Forward,
            _ if keyed => Partitioner::Hash,
            _ if rules == Some(true) => Partitioner::Broadcast,
            _ if node.given("feedback").is_some() => Partitioner::Rebalance,
            _ if even => Partitioner::Forward,
            _ => Partitioner::Rebalance,
        };
        let span = node.place("partitioner");
        // Whether it comes by key over a chained edge is looked at when all edges are known.
        let may_be_keyed = chained && partitioner == Partitioner::Forward;
        if keyed && partitioner != Partitioner::Hash && !may_be_keyed {
            let message = format!("`{}` keeps state by key and needs a hash edge", receiver.name);
            let error = Diagnostic::error("not-keyed", span, message).expected("hash").flink(
                "KeyedStream: cannot be written otherwise; a key would meet another subtask's state",
            );
            self.refuse(error);
        } else if let Some(rules) = rules
            && rules != (partitioner == Partitioner::Broadcast)
        {
            let (message, expected) = match rules {
                true => ("input 1 brings what each subtask is to have", "broadcast"),
                false => ("each record of input 0 is for one subtask", "any but broadcast"),
            };
            let message = format!("`{}` is a broadcast join: {message}", receiver.name);
            let error = Diagnostic::error("not-broadcast", span, message).expected(expected);
            self.refuse(
                error.flink("DataStream#connect: of a BroadcastStream with another stream"),
            );
        } else if partitioner == Partitioner::Forward && !even {
            let message = format!(
                "forward needs equal parallelism; `{}` has {}, `{}` has {}",
                sender.name, sender.parallelism, receiver.name, receiver.parallelism
            );
            let error = Diagnostic::error("uneven-forward", span, message)
                .expected("rebalance or rescale, or equal parallelism")
                .also(self.nodes[from].place("parallelism"), "the sender's parallelism")
                .also(self.nodes[to].place("parallelism"), "the receiver's parallelism")
                .flink("StreamGraph: refuses the edge");
            self.refuse(error);
        }
        partitioner
    }

    fn check_shape(&mut self, job: &Node, edges: &[Edge], edge_nodes: &[Node]) {
        self.check_ends(job);
        for index in 0..self.operators.len() {
            self.check_operator(index, edges, edge_nodes);
        }
        self.check_cycles(edges, edge_nodes);
        if !self.refused {
            self.check_chains(edges, edge_nodes);
        }
        if !self.refused {
            self.check_loops(edges, edge_nodes);
        }
        let parallelism: Vec<u32> = self.operators.iter().map(|it| it.parallelism).collect();
        let channels = channels(edges, &parallelism);
        if channels > CHANNELS_MAX {
            let message = format!("the job has {channels} channels");
            let error = Diagnostic::error("too-large", job.place("edges"), message);
            self.refuse(error.expected(format!("at most {CHANNELS_MAX}")));
        }
    }

    fn check_ends(&mut self, job: &Node) {
        let source = |op: &Operator| matches!(op.kind, OperatorKind::Source(_));
        let has_source = self.operators.iter().any(source);
        let has_sink = self.operators.iter().any(|operator| operator.kind.is_sink());
        for (has, what) in [(has_source, "source"), (has_sink, "sink")] {
            if !has {
                let error = Diagnostic::error(
                    "no-end",
                    job.place("operators"),
                    format!("the job has no {what}"),
                );
                self.refuse(error.expected(format!("at least one {what}")));
            }
        }
    }

    fn check_operator(&mut self, index: usize, edges: &[Edge], edge_nodes: &[Node]) {
        let operator = &self.operators[index];
        let (name, place) = (operator.name.as_str(), self.nodes[index].place("name"));
        // What only goes round has come from nowhere, and gets nowhere.
        let input = edges.iter().position(|edge| edge.to == index && edge.leads_on());
        let output = edges.iter().position(|edge| edge.from == index && edge.leads_on());
        let is_source = matches!(operator.kind, OperatorKind::Source(_));
        let error = match (is_source, operator.kind.is_sink(), input, output) {
            (true, _, Some(edge), _) => Diagnostic::error(
                "bad-end",
                edge_nodes[edge].place("to"),
                format!("source `{name}` has an input"),
            )
            .expected("an operator that is no source"),
            (_, true, _, Some(edge)) => Diagnostic::error(
                "bad-end",
                edge_nodes[edge].place("from"),
                format!("sink `{name}` has an output"),
            )
            .expected("an operator that is no sink"),
            (false, _, None, _) => {
                Diagnostic::error("unreachable", place, format!("no record reaches `{name}`"))
                    .expected("an edge to it")
            }
            (_, false, _, None) => {
                Diagnostic::error("dead-end", place, format!("the records of `{name}` go nowhere"))
                    .expected("an edge from it, or a sink")
            }
            _ => {
                self.check_join(index, edges);
                self.check_committed(index, edges, edge_nodes);
                return;
            }
        };
        self.refuse(error);
    }

    fn check_join(&mut self, index: usize, edges: &[Edge]) {
        if !self.operators[index].kind.has_sides() {
            return;
        }
        let inputs = edges.iter().filter(|edge| edge.to == index).map(|edge| edge.input);
        let mut inputs: Vec<u32> = inputs.collect();
        inputs.sort_unstable();
        if inputs != [0, 1] {
            let name = &self.operators[index].name;
            let found: Vec<String> = inputs.iter().map(u32::to_string).collect();
            let message = format!("join `{name}` has inputs {}", found.join(", "));
            let error = Diagnostic::error("bad-input", self.nodes[index].place("name"), message);
            self.refuse(error.expected("exactly one edge to input 0 and one to input 1"));
        }
    }

    /// What a sink writer sends are commit handles: they go to one committer, each once, and a
    /// committer understands nothing else.
    fn check_committed(&mut self, index: usize, edges: &[Edge], edge_nodes: &[Node]) {
        let committer = &OperatorKind::Committer;
        let is_writer = |operator: usize| self.operators[operator].kind == OperatorKind::SinkWriter;
        let name = &self.operators[index].name;
        let touching = edges.iter().zip(edge_nodes);
        let mut errors = Vec::new();
        let outputs = touching.clone().filter(|(edge, _)| edge.from == index && is_writer(index));
        for (number, (edge, node)) in outputs.enumerate() {
            if number > 0 {
                let message = format!("sink writer `{name}` has several outputs");
                let error = Diagnostic::error("bad-committer", node.place("from"), message);
                errors.push(error.expected("one edge, to its committer"));
            } else if self.operators[edge.to].kind != *committer {
                let to = &self.operators[edge.to].name;
                let message =
                    format!("sink writer `{name}` leads to `{to}`, which is no committer");
                let error = Diagnostic::error("bad-committer", node.place("to"), message);
                errors.push(error.expected("an operator of kind committer"));
            } else if edge.partitioner == Partitioner::Broadcast {
                let message = format!("each committer would commit what `{name}` has written");
                let error = Diagnostic::error("bad-committer", node.place("partitioner"), message);
                errors.push(error.expected("forward, rebalance, rescale or hash"));
            }
        }
        let inputs = touching.filter(|(edge, _)| {
            edge.to == index && self.operators[index].kind == *committer && !is_writer(edge.from)
        });
        for (edge, node) in inputs {
            let from = &self.operators[edge.from].name;
            let message = format!("committer `{name}` gets records of `{from}`, no commit handles");
            let error = Diagnostic::error("bad-committer", node.place("from"), message);
            let error = error.expected("an operator of kind sink_writer");
            errors.push(error.flink("Sink: only a writer that supports a committer has one"));
        }
        errors.into_iter().for_each(|error| self.refuse(error));
    }

    fn check_chains(&mut self, edges: &[Edge], edge_nodes: &[Node]) {
        for (index, node) in edge_nodes.iter().enumerate().filter(|(at, _)| edges[*at].chained) {
            if let Some(why) = apart(self.operators, edges, index) {
                let (from, to) = (edges[index].from, edges[index].to);
                let (message, expected, flink) =
                    why.in_words(&self.operators[from], &self.operators[to]);
                let error = Diagnostic::error("unchainable", node.place("chained"), message);
                self.refuse(error.expected(expected).flink(flink));
            }
        }
    }

    fn check_loops(&mut self, edges: &[Edge], edge_nodes: &[Node]) {
        if let Some((edge, why)) = unfit(self.operators, edges) {
            self.refuse_feedback(edge_nodes[edge].place("feedback"), &why);
        }
    }

    fn refuse_feedback(&mut self, place: Span, why: &Unfit) {
        let (message, expected, flink) = why.in_words(self.operators);
        let error = Diagnostic::error("bad-feedback", place, message);
        self.refuse(error.expected(expected).flink(flink));
    }

    /// Follows the edges from every operator; an edge back to where one came from closes a cycle.
    fn check_cycles(&mut self, edges: &[Edge], edge_nodes: &[Node]) {
        let Some(cycle) = find_cycle(self.operators.len(), edges) else { return };
        let names: Vec<&str> = cycle
            .iter()
            .chain(cycle.first())
            .map(|edge| self.operators[edges[*edge].from].name.as_str())
            .collect();
        let last = *cycle.last().expect("a cycle has an edge");
        let message = format!("the edges form a cycle: {}", names.join(" -> "));
        let error = Diagnostic::error("cycle", edge_nodes[last].place("to"), message)
            .expected("no way back, or `feedback` with an edge of it")
            .flink("StreamGraph: a cycle only through an iteration's feedback edge");
        self.refuse(error);
    }
}

/// The edges of a cycle, in their order, if there is one.
fn find_cycle(operators: usize, edges: &[Edge]) -> Option<Vec<usize>> {
    let leads_on = || edges.iter().filter(|edge| edge.leads_on());
    let mut missing = vec![0_usize; operators];
    for edge in leads_on() {
        missing[edge.to] += 1;
    }
    let mut free: Vec<usize> = (0..operators).filter(|index| missing[*index] == 0).collect();
    while let Some(index) = free.pop() {
        for edge in leads_on().filter(|edge| edge.from == index) {
            missing[edge.to] -= 1;
            if missing[edge.to] == 0 {
                free.push(edge.to);
            }
        }
    }
    // Every operator that is left has an edge from one that is left, so a walk backwards ends
    // where it has been before.
    let mut at = missing.iter().position(|count| *count > 0)?;
    let mut walked: Vec<usize> = Vec::new();
    loop {
        let back = edges
            .iter()
            .position(|edge| edge.to == at && missing[edge.from] > 0 && edge.leads_on())?;
        if let Some(start) = walked.iter().position(|edge| edges[*edge].to == at) {
            let mut cycle = walked.split_off(start);
            cycle.reverse();
            return Some(cycle);
        }
        walked.push(back);
        at = edges[back].from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_groups_by_default_are_flinks() {
        for (parallelism, expected) in
            [(1, 128), (85, 128), (86, 256), (171, 256), (1_000, 2_048), (32_768, 32_768)]
        {
            assert_eq!(default_max_parallelism(parallelism), expected, "{parallelism}");
        }
    }

    #[test]
    fn cycles_are_found() {
        let edge = |&(from, to)| Edge {
            from,
            to,
            input: 0,
            partitioner: Partitioner::Hash,
            chained: false,
            feedback: None,
        };
        type Row = (&'static str, &'static [(usize, usize)], Option<Vec<usize>>);
        let cases: [Row; 4] = [
            ("line", &[(0, 1), (1, 2)], None),
            ("diamond", &[(0, 1), (0, 2), (1, 3), (2, 3)], None),
            ("loop", &[(0, 1), (1, 1)], Some(vec![1])),
            ("back", &[(0, 1), (1, 2), (2, 3), (2, 1)], Some(vec![1, 3])),
        ];
        for (name, edges, expected) in cases {
            let edges: Vec<Edge> = edges.iter().map(edge).collect();
            let found = find_cycle(4, &edges).map(|mut cycle| {
                cycle.sort_unstable();
                cycle
            });
            assert_eq!(found, expected, "{name}");
        }
    }
}
