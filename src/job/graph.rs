//! Job graph → execution graph. Flink: `JobGraph`, `DefaultExecutionGraph`, `DistributionPattern`.
//!
//! The execution graph is flat: subtasks are numbered operator after operator, channels edge after
//! edge, and within an edge by sender, then receiver. A subtask's input channels are numbered gate
//! after gate (one gate an edge, in the order of the edges), within a gate by sender; its output
//! channels edge after edge, within an edge by receiver.

mod chains;
mod loops;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::layout::Layout;
use super::regions::Regions;
use super::rescale::SubtaskMapper;
use crate::defect::{Defect, Defects};
use crate::ids::{ChannelId, GateId, InputChannel, LayoutId, OperatorId, OutputChannel, SubtaskId};

pub use chains::Unchainable;
pub use loops::{BadFeedback, Feedback, Loop};

/// Which subtasks an edge connects, and which of them gets a record. Flink: `StreamPartitioner`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Partitioner {
    /// Subtask i to subtask i; both sides have the same parallelism.
    Forward,
    /// By the key group of the record's key.
    Hash,
    /// Round-robin over all receivers.
    Rebalance,
    /// Round-robin over the receivers next to the sender (pointwise).
    Rescale,
    /// To every receiver.
    Broadcast,
}

impl Partitioner {
    /// How in-flight data is assigned to the receivers after their number has changed. Flink:
    /// `StreamPartitioner#getDownstreamSubtaskStateMapper`.
    pub fn downstream_mapper(self) -> SubtaskMapper {
        match self {
            Self::Hash => SubtaskMapper::Range,
            Self::Rebalance => SubtaskMapper::RoundRobin,
            Self::Forward | Self::Rescale | Self::Broadcast => SubtaskMapper::Unsupported,
        }
    }

    /// Whether barriers may overtake what is in flight on such an edge: not where it could not be
    /// given to others after a restore with another parallelism, unless pointwise edges are `forced`
    /// to. Flink: `StreamPartitioner#isSupportsUnalignedCheckpoint`.
    pub fn supports_unaligned(self, forced: bool, defects: Defects) -> bool {
        match self {
            Self::Hash | Self::Rebalance => true,
            Self::Forward | Self::Rescale => forced,
            Self::Broadcast => defects.has(Defect::D55),
        }
    }

    /// The same for the senders. Flink: `StreamPartitioner#getUpstreamSubtaskStateMapper`.
    pub fn upstream_mapper(self) -> SubtaskMapper {
        match self {
            Self::Hash | Self::Rebalance => SubtaskMapper::Arbitrary,
            Self::Forward | Self::Rescale | Self::Broadcast => SubtaskMapper::Unsupported,
        }
    }

    /// Whether a receiver of such an edge has several senders, and with them barriers to wait for.
    pub fn merges(self, senders: u32, receivers: u32) -> bool {
        match self {
            Self::Forward => false,
            Self::Rescale => senders > receivers,
            Self::Hash | Self::Rebalance | Self::Broadcast => senders > 1,
        }
    }
}

/// A vertex of the job graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobOperator {
    /// Unique name.
    pub name: String,
    /// Number of subtasks, at least 1.
    pub parallelism: u32,
    /// Number of key groups, at least the parallelism, at most 32,768.
    pub max_parallelism: u32,
}

/// An edge of the job graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The sender.
    pub from: OperatorId,
    /// The receiver.
    pub to: OperatorId,
    /// Which input of the receiver it feeds.
    pub input: u32,
    /// How records find their subtask.
    pub partitioner: Partitioner,
    /// Both ends run in one task, and records pass by call. Flink:
    /// `StreamingJobGraphGenerator#isChainable`.
    pub chained: bool,
    /// It leads back to an operator upstream of its sender.
    pub feedback: Option<Feedback>,
}

impl Edge {
    /// Whether it is no feedback edge: without those, edges form no cycle.
    pub fn leads_on(&self) -> bool {
        self.feedback.is_none()
    }
}

/// An edge, numbered in the order of the job graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgeId(pub u32);

/// Operators and edges. Made by `new`, which refuses what cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobGraph {
    operators: Vec<JobOperator>,
    edges: Vec<Edge>,
    order: Vec<OperatorId>,
    loops: Vec<Loop>,
}

/// Why a job graph cannot run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobGraphError {
    /// Parallelism 0.
    #[error("operator {0} has parallelism 0; at least 1 subtask is needed")]
    NoSubtask(String),
    /// More subtasks than key groups.
    #[error("operator {name} has parallelism {parallelism} above its max parallelism {max}")]
    TooParallel {
        /// The operator.
        name: String,
        /// Its parallelism.
        parallelism: u32,
        /// Its max parallelism.
        max: u32,
    },
    /// More key groups than Flink's upper bound.
    #[error("operator {name} has max parallelism {max}; Flink allows at most 32768")]
    TooManyKeyGroups {
        /// The operator.
        name: String,
        /// Its max parallelism.
        max: u32,
    },
    /// An edge names an operator that does not exist.
    #[error("edges[{edge}] names operator {operator}, the job has {count}")]
    UnknownOperator {
        /// Index of the edge.
        edge: usize,
        /// The operator it names.
        operator: u32,
        /// How many there are.
        count: usize,
    },
    /// A forward edge between different parallelisms.
    #[error(
        "edges[{edge}]: forward needs equal parallelism, {from} has {from_parallelism} and {to} has {to_parallelism}"
    )]
    UnevenForward {
        /// Index of the edge.
        edge: usize,
        /// Sender.
        from: String,
        /// Its parallelism.
        from_parallelism: u32,
        /// Receiver.
        to: String,
        /// Its parallelism.
        to_parallelism: u32,
    },
    /// A chained edge whose ends cannot run in one task.
    #[error("edges[{edge}]: {from} and {to} cannot be chained: {why}")]
    Unchainable {
        /// Index of the edge.
        edge: usize,
        /// Sender.
        from: String,
        /// Receiver.
        to: String,
        /// What keeps them apart.
        why: Unchainable,
    },
    /// An edge that cannot lead back.
    #[error("edges[{edge}]: the edge from {from} to {to} is no feedback edge: {why}")]
    BadFeedback {
        /// Index of the edge.
        edge: usize,
        /// Sender.
        from: String,
        /// Receiver.
        to: String,
        /// What keeps it from that.
        why: BadFeedback,
    },
    /// A cycle without a feedback edge.
    #[error("the edges form a cycle through {}, and none of them is a feedback edge", .0.join(" -> "))]
    Cycle(Vec<String>),
}

impl JobGraph {
    /// Checks the graph and orders it topologically.
    ///
    /// # Errors
    /// The first reason why it cannot run.
    pub fn new(operators: Vec<JobOperator>, edges: Vec<Edge>) -> Result<Self, JobGraphError> {
        for operator in &operators {
            let (name, max) = (operator.name.clone(), operator.max_parallelism);
            if operator.parallelism == 0 {
                return Err(JobGraphError::NoSubtask(name));
            }
            if max > 1 << 15 {
                return Err(JobGraphError::TooManyKeyGroups { name, max });
            }
            if operator.parallelism > max {
                let parallelism = operator.parallelism;
                return Err(JobGraphError::TooParallel { name, parallelism, max });
            }
        }
        for (index, edge) in edges.iter().enumerate() {
            for operator in [edge.from, edge.to] {
                if operator.index() >= operators.len() {
                    return Err(JobGraphError::UnknownOperator {
                        edge: index,
                        operator: operator.0,
                        count: operators.len(),
                    });
                }
            }
            let (from, to) = (&operators[edge.from.index()], &operators[edge.to.index()]);
            if edge.partitioner == Partitioner::Forward && from.parallelism != to.parallelism {
                return Err(JobGraphError::UnevenForward {
                    edge: index,
                    from: from.name.clone(),
                    from_parallelism: from.parallelism,
                    to: to.name.clone(),
                    to_parallelism: to.parallelism,
                });
            }
        }
        for (index, edge) in edges.iter().enumerate().filter(|(_, edge)| edge.chained) {
            if let Some(why) = Unchainable::of_edge(&operators, &edges, index) {
                let name = |operator: OperatorId| operators[operator.index()].name.clone();
                let (from, to) = (name(edge.from), name(edge.to));
                return Err(JobGraphError::Unchainable { edge: index, from, to, why });
            }
        }
        let order = topological_order(&operators, &edges)?;
        let loops = loops::find(&edges, &order).map_err(|(edge, why)| {
            let name = |operator: OperatorId| operators[operator.index()].name.clone();
            let (from, to) = (name(edges[edge].from), name(edges[edge].to));
            JobGraphError::BadFeedback { edge, from, to, why }
        })?;
        Ok(Self { operators, edges, order, loops })
    }

    /// The same job with other numbers of subtasks; key groups stay what they are.
    ///
    /// # Errors
    /// The first reason why it cannot run.
    ///
    /// # Panics
    /// If there is not one number for each operator.
    pub fn with_parallelism(&self, parallelism: &[u32]) -> Result<Self, JobGraphError> {
        assert_eq!(parallelism.len(), self.operators.len(), "one number an operator");
        let operators = self.operators.iter().zip(parallelism);
        let operators = operators
            .map(|(operator, &parallelism)| JobOperator { parallelism, ..operator.clone() })
            .collect();
        Self::new(operators, self.edges.clone())
    }

    /// The number of subtasks of each operator.
    pub fn parallelism(&self) -> Vec<u32> {
        self.operators.iter().map(|operator| operator.parallelism).collect()
    }

    /// The operators, indexed by `OperatorId`.
    pub fn operators(&self) -> &[JobOperator] {
        &self.operators
    }

    /// The edges, indexed by `EdgeId`.
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// Which operators are behind one of those, by a way along any edges but feedback edges; not those
    /// themselves.
    pub fn behind(&self, those: impl Fn(OperatorId) -> bool) -> Vec<bool> {
        let mut behind = vec![false; self.operators().len()];
        for &operator in self.topological_order() {
            for edge in forward(&self.edges).filter(|edge| edge.from == operator) {
                behind[edge.to.index()] |= behind[operator.index()] || those(operator);
            }
        }
        behind
    }

    /// The operators, every sender before its receivers but over feedback edges; ties in the order of
    /// the job graph.
    pub fn topological_order(&self) -> &[OperatorId] {
        &self.order
    }
}

/// The edges but those that lead back.
fn forward(edges: &[Edge]) -> impl Iterator<Item = &Edge> + Clone {
    edges.iter().filter(|edge| edge.leads_on())
}

fn topological_order(
    operators: &[JobOperator],
    edges: &[Edge],
) -> Result<Vec<OperatorId>, JobGraphError> {
    let mut missing = vec![0_u32; operators.len()];
    for edge in forward(edges) {
        missing[edge.to.index()] += 1;
    }
    let mut order: Vec<OperatorId> = Vec::with_capacity(operators.len());
    let mut done = vec![false; operators.len()];
    while let Some(next) = (0..operators.len()).find(|&i| !done[i] && missing[i] == 0) {
        done[next] = true;
        order.push(OperatorId(next as u32));
        for edge in forward(edges).filter(|edge| edge.from.index() == next) {
            missing[edge.to.index()] -= 1;
        }
    }
    if order.len() == operators.len() {
        return Ok(order);
    }
    Err(JobGraphError::Cycle(cycle(operators, edges, &done)))
}

/// One cycle among the operators that could not be ordered: each of them has a sender among them,
/// so walking backwards must meet itself.
fn cycle(operators: &[JobOperator], edges: &[Edge], done: &[bool]) -> Vec<String> {
    let mut at = done.iter().position(|done| !done).expect("some operator was not ordered");
    let mut walked = vec![at];
    loop {
        at = forward(edges)
            .find(|edge| edge.to.index() == at && !done[edge.from.index()])
            .expect("an unordered operator has an unordered sender")
            .from
            .index();
        if let Some(start) = walked.iter().position(|&seen| seen == at) {
            let mut names: Vec<String> =
                walked[start..].iter().rev().map(|&i| operators[i].name.clone()).collect();
            names.push(names[0].clone());
            return names;
        }
        walked.push(at);
    }
}

/// One FIFO edge between two subtasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The edge it belongs to.
    pub edge: EdgeId,
    /// The sending subtask.
    pub from: SubtaskId,
    /// The receiving subtask.
    pub to: SubtaskId,
    /// Its number at the sender.
    pub output: OutputChannel,
    /// Its number at the receiver.
    pub input: InputChannel,
    /// The gate at the receiver.
    pub gate: GateId,
}

/// All channels of one input edge of a subtask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// The edge it receives.
    pub edge: EdgeId,
    /// Which input of the operator it feeds.
    pub input: u32,
    /// Its input channels.
    pub channels: Range<u32>,
    /// The edge is a feedback edge.
    pub feedback: bool,
}

/// Where a subtask sends the records of one output edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputEdge {
    /// The edge it sends on.
    pub edge: EdgeId,
    /// How records find their channel.
    pub partitioner: Partitioner,
    /// Its output channels, one a receiver.
    pub channels: Range<u32>,
    /// Parallelism of the receiving operator.
    pub parallelism: u32,
    /// Max parallelism of the receiving operator.
    pub max_parallelism: u32,
    /// What makes it a feedback edge, if it is one.
    pub feedback: Option<Feedback>,
    /// It is part of a loop.
    pub in_loop: bool,
}

/// The job graph spread over subtasks: once, or several times with different parallelism, if the job
/// is going to be rescaled. Each spread is a [`Layout`] with subtasks and channels of its own, so that
/// an id means one thing for the whole of a run.
#[derive(Clone, Debug)]
pub struct ExecutionGraph {
    layouts: Vec<Layout>,
    operator_of: Vec<OperatorId>,
    index_of: Vec<u32>,
    /// By subtask, the head of the chain that it is part of.
    heads: Vec<SubtaskId>,
    /// All chains one after the other, each from head to tail.
    chained: Vec<SubtaskId>,
    /// By subtask, the place of its chain in `chained`, if it is a head.
    chains: Vec<Range<u32>>,
    channels: Vec<Channel>,
    input_start: Vec<u32>,
    inputs: Vec<ChannelId>,
    output_start: Vec<u32>,
    outputs: Vec<ChannelId>,
    gates: Vec<Vec<Gate>>,
    output_edges: Vec<Vec<OutputEdge>>,
    regions: Regions,
}

impl ExecutionGraph {
    /// Spreads the job over its subtasks.
    pub fn new(job: JobGraph) -> Self {
        Self::with_layouts(vec![job])
    }

    /// Spreads a job once for each of its parallelisms. Numbers of the first layout are those that
    /// they would be without the others.
    ///
    /// # Panics
    /// If there is no job, or the jobs differ in more than their parallelism and chaining.
    pub fn with_layouts(jobs: Vec<JobGraph>) -> Self {
        let first = jobs.first().expect("a job has a parallelism");
        assert!(jobs.iter().all(|job| job.has_edges_of(first)), "one job, spread differently");
        let mut graph = Self {
            layouts: Vec::with_capacity(jobs.len()),
            operator_of: Vec::new(),
            index_of: Vec::new(),
            heads: Vec::new(),
            chained: Vec::new(),
            chains: Vec::new(),
            channels: Vec::new(),
            input_start: Vec::new(),
            inputs: Vec::new(),
            output_start: Vec::new(),
            outputs: Vec::new(),
            gates: Vec::new(),
            output_edges: Vec::new(),
            regions: Regions::default(),
        };
        for job in jobs {
            graph.add_layout(job);
        }
        graph.index_channels();
        let ends = graph.channels.iter().map(|channel| (channel.from, channel.to));
        graph.regions = Regions::new(graph.subtasks(), ends);
        graph
    }

    fn add_layout(&mut self, job: JobGraph) {
        let mut operator_start = vec![self.operator_of.len() as u32];
        for (index, operator) in job.operators.iter().enumerate() {
            self.operator_of.extend((0..operator.parallelism).map(|_| OperatorId(index as u32)));
            self.index_of.extend(0..operator.parallelism);
            operator_start.push(self.operator_of.len() as u32);
        }
        self.gates.resize(self.operator_of.len(), Vec::new());
        self.output_edges.resize(self.operator_of.len(), Vec::new());
        let first = self.channels.len() as u32;
        let mut layout = Layout::new(job, operator_start);
        self.chain(&layout);
        self.connect(&layout);
        layout.set_channels(first..self.channels.len() as u32);
        self.layouts.push(layout);
    }

    fn connect(&mut self, layout: &Layout) {
        let subtasks = self.operator_of.len();
        let mut inputs = vec![0_u32; subtasks];
        let mut outputs = vec![0_u32; subtasks];
        for (index, edge) in layout.job().edges.iter().enumerate() {
            let id = EdgeId(index as u32);
            let (senders, receivers) = (layout.parallelism(edge.from), layout.parallelism(edge.to));
            let (inputs_before, outputs_before) = (inputs.clone(), outputs.clone());
            for sender in 0..senders {
                let from = layout.subtask(edge.from, sender);
                for receiver in receivers_of(edge.partitioner, sender, senders, receivers) {
                    let to = layout.subtask(edge.to, receiver);
                    self.channels.push(Channel {
                        edge: id,
                        from,
                        to,
                        output: OutputChannel(outputs[from.index()]),
                        input: InputChannel(inputs[to.index()]),
                        gate: GateId(self.gates[to.index()].len() as u32),
                    });
                    outputs[from.index()] += 1;
                    inputs[to.index()] += 1;
                }
            }
            for receiver in 0..receivers {
                let to = layout.subtask(edge.to, receiver).index();
                let channels = inputs_before[to]..inputs[to];
                let feedback = edge.feedback.is_some();
                self.gates[to].push(Gate { edge: id, input: edge.input, channels, feedback });
            }
            let in_loop = layout.job().loops().iter().any(|it| it.has_edge(id, edge));
            for sender in 0..senders {
                let from = layout.subtask(edge.from, sender).index();
                self.output_edges[from].push(OutputEdge {
                    edge: id,
                    partitioner: edge.partitioner,
                    channels: outputs_before[from]..outputs[from],
                    parallelism: receivers,
                    max_parallelism: layout.job().operators[edge.to.index()].max_parallelism,
                    feedback: edge.feedback,
                    in_loop,
                });
            }
        }
    }

    fn index_channels(&mut self) {
        let subtasks = self.operator_of.len();
        let starts = |of: &dyn Fn(&Channel) -> SubtaskId| {
            let mut start = vec![0_u32; subtasks + 1];
            for channel in &self.channels {
                start[of(channel).index() + 1] += 1;
            }
            for i in 0..subtasks {
                start[i + 1] += start[i];
            }
            start
        };
        self.input_start = starts(&|channel| channel.to);
        self.output_start = starts(&|channel| channel.from);
        self.inputs = vec![ChannelId(0); self.channels.len()];
        self.outputs = vec![ChannelId(0); self.channels.len()];
        for (index, channel) in self.channels.iter().enumerate() {
            let input = self.input_start[channel.to.index()] + channel.input.0;
            let output = self.output_start[channel.from.index()] + channel.output.0;
            self.inputs[input as usize] = ChannelId(index as u32);
            self.outputs[output as usize] = ChannelId(index as u32);
        }
    }

    /// The job graph it was made from, as it is spread first.
    pub fn job(&self) -> &JobGraph {
        self.layouts[0].job()
    }

    /// Number of subtasks, those of all layouts.
    pub fn subtasks(&self) -> usize {
        self.operator_of.len()
    }

    /// The `index`-th subtask of an operator, in the first layout.
    pub fn subtask(&self, operator: OperatorId, index: u32) -> SubtaskId {
        self.layouts[0].subtask(operator, index)
    }

    /// All subtasks of an operator, in the first layout.
    pub fn subtasks_of(&self, operator: OperatorId) -> Range<u32> {
        self.layouts[0].subtasks_of(operator)
    }

    /// How the job is spread, the first time and later.
    #[inline]
    pub fn layouts(&self) -> &[Layout] {
        &self.layouts
    }

    /// One of its spreads.
    pub fn layout(&self, id: LayoutId) -> &Layout {
        &self.layouts[id.index()]
    }

    /// The spread that a subtask belongs to.
    pub fn layout_of(&self, subtask: SubtaskId) -> LayoutId {
        let at = self.layouts.partition_point(|layout| layout.subtasks().end <= subtask.0);
        LayoutId(at as u32)
    }

    /// The `index`-th subtask of an operator, in each layout that has so many.
    pub fn instances(&self, operator: OperatorId, index: u32) -> impl Iterator<Item = SubtaskId> {
        let layouts = self.layouts.iter();
        let layouts = layouts.filter(move |layout| index < layout.parallelism(operator));
        layouts.map(move |layout| layout.subtask(operator, index))
    }

    /// The first of them: by whose name what all of them do is called.
    pub fn first_instance(&self, operator: OperatorId, index: u32) -> Option<SubtaskId> {
        self.instances(operator, index).next()
    }

    /// By whose name what a subtask does is called.
    pub fn named_as(&self, subtask: SubtaskId) -> SubtaskId {
        let first = self.first_instance(self.operator(subtask), self.index_in_operator(subtask));
        first.expect("it is an instance itself")
    }

    /// The failover regions of all its spreads.
    #[inline]
    pub fn regions(&self) -> &Regions {
        &self.regions
    }

    /// The operator of a subtask.
    #[inline]
    pub fn operator(&self, subtask: SubtaskId) -> OperatorId {
        self.operator_of[subtask.index()]
    }

    /// The number of a subtask within its operator.
    pub fn index_in_operator(&self, subtask: SubtaskId) -> u32 {
        self.index_of[subtask.index()]
    }

    /// `name[index]`.
    pub fn subtask_name(&self, subtask: SubtaskId) -> String {
        let operator = &self.job().operators[self.operator(subtask).index()];
        format!("{}[{}]", operator.name, self.index_in_operator(subtask))
    }

    /// `map[1]->sink[0]`, with `#n` behind it where several edges join the two operators.
    pub fn channel_name(&self, channel: ChannelId) -> String {
        let Channel { edge, from, to, .. } = self.channels[channel.index()];
        let edges = &self.job().edges;
        let this = edges[edge.0 as usize];
        let twins_before = edges[..edge.0 as usize]
            .iter()
            .filter(|twin| (twin.from, twin.to) == (this.from, this.to))
            .count();
        let twin = if twins_before == 0 { String::new() } else { format!("#{twins_before}") };
        format!("{}->{}{twin}", self.subtask_name(from), self.subtask_name(to))
    }

    /// The channels, indexed by `ChannelId`.
    #[inline]
    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// A subtask's input channels, indexed by `InputChannel`.
    #[inline]
    pub fn inputs(&self, subtask: SubtaskId) -> &[ChannelId] {
        let range = self.input_start[subtask.index()]..self.input_start[subtask.index() + 1];
        &self.inputs[range.start as usize..range.end as usize]
    }

    /// A subtask's output channels, indexed by `OutputChannel`.
    #[inline]
    pub fn outputs(&self, subtask: SubtaskId) -> &[ChannelId] {
        let range = self.output_start[subtask.index()]..self.output_start[subtask.index() + 1];
        &self.outputs[range.start as usize..range.end as usize]
    }

    /// A subtask's gates, indexed by `GateId`.
    #[inline]
    pub fn gates(&self, subtask: SubtaskId) -> &[Gate] {
        &self.gates[subtask.index()]
    }

    /// A subtask's output edges, in the order of the job graph.
    pub fn output_edges(&self, subtask: SubtaskId) -> &[OutputEdge] {
        &self.output_edges[subtask.index()]
    }

    /// Whether a subtask has no input.
    pub fn is_source(&self, subtask: SubtaskId) -> bool {
        self.gates[subtask.index()].is_empty()
    }
}

/// The receivers that a sender is connected to. Rescale is Flink's pointwise pattern: a receiver's
/// senders are those from i·U/D to (i+1)·U/D if there are more senders, else the sender i·U/D.
fn receivers_of(partitioner: Partitioner, sender: u32, senders: u32, receivers: u32) -> Range<u32> {
    match partitioner {
        Partitioner::Forward => sender..sender + 1,
        Partitioner::Hash | Partitioner::Rebalance | Partitioner::Broadcast => 0..receivers,
        Partitioner::Rescale => {
            let (senders, receivers, sender) =
                (u64::from(senders), u64::from(receivers), u64::from(sender));
            let reads = |receiver: u64| {
                let first = receiver * senders / receivers;
                let end = ((receiver + 1) * senders / receivers).max(first + 1);
                (first..end).contains(&sender)
            };
            let first = (0..receivers).find(|&receiver| reads(receiver));
            let first = first.expect("pointwise edges leave no sender without a receiver");
            let end = (first..receivers).find(|&receiver| !reads(receiver)).unwrap_or(receivers);
            first as u32..end as u32
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(
        parallelism: &[u32],
        edges: &[(u32, u32, Partitioner)],
    ) -> Result<JobGraph, JobGraphError> {
        let operators = parallelism
            .iter()
            .enumerate()
            .map(|(i, &parallelism)| JobOperator {
                name: format!("o{i}"),
                parallelism,
                max_parallelism: 128,
            })
            .collect();
        let edges = edges
            .iter()
            .map(|&(from, to, partitioner)| Edge {
                from: OperatorId(from),
                to: OperatorId(to),
                input: 0,
                partitioner,
                chained: false,
                feedback: None,
            })
            .collect();
        JobGraph::new(operators, edges)
    }

    #[test]
    fn every_channel_is_found_from_both_ends() {
        use Partitioner::{Broadcast, Forward, Hash, Rebalance, Rescale};
        for partitioner in [Forward, Hash, Rebalance, Rescale, Broadcast] {
            for (senders, receivers) in [(1, 1), (4, 4), (2, 6), (6, 2), (3, 5), (5, 3), (7, 4)] {
                if partitioner == Forward && senders != receivers {
                    continue;
                }
                let edges = [(0, 1, partitioner), (0, 1, Hash)];
                let graph = ExecutionGraph::new(job(&[senders, receivers], &edges).expect("valid"));
                for (index, channel) in graph.channels().iter().enumerate() {
                    let id = ChannelId(index as u32);
                    assert_eq!(graph.inputs(channel.to)[channel.input.index()], id);
                    assert_eq!(graph.outputs(channel.from)[channel.output.index()], id);
                    let gate = &graph.gates(channel.to)[channel.gate.index()];
                    assert!(gate.channels.contains(&channel.input.0));
                }
                let to = graph.subtasks_of(OperatorId(1));
                assert!(to.clone().all(|to| !graph.inputs(SubtaskId(to)).is_empty()));
                let merges = |gate: &Gate| gate.channels.len() > 1;
                let mut gates = to.map(|to| &graph.gates(SubtaskId(to))[0]);
                assert_eq!(gates.any(merges), partitioner.merges(senders, receivers));
            }
        }
    }

    #[test]
    fn what_cannot_run_is_refused() {
        use Partitioner::{Forward, Hash};
        let cases: [(&str, Result<JobGraph, JobGraphError>, &str); 4] = [
            ("no subtask", job(&[0], &[]), "parallelism 0"),
            ("too parallel", job(&[129], &[]), "above its max parallelism"),
            ("uneven forward", job(&[1, 2], &[(0, 1, Forward)]), "forward needs equal"),
            (
                "cycle",
                job(&[1, 1, 1], &[(0, 1, Hash), (1, 2, Hash), (2, 1, Hash)]),
                "o2 -> o1 -> o2",
            ),
        ];
        for (name, result, expected) in cases {
            let message = result.expect_err(name).to_string();
            assert!(message.contains(expected), "{name}: {message}");
        }
    }
}
