//! Random jobs under random interleavings: what the parallel subtasks hold must add up to what the
//! sequential reference holds, at the end and for a restore from any moment.

use std::collections::VecDeque;

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use cutline::defect::Defects;
use cutline::ids::{Attempt, CheckpointId, OperatorId, SubtaskId};
use cutline::job::rescale::DistributionMode;
use cutline::job::{Edge, ExecutionGraph, JobGraph, JobOperator, Partitioner};
use cutline::operator::{
    Aggregate, AsyncWait, Behaviour, BroadcastJoin, Buffer, CallOptions, Emitter, Filter,
    Fingerprint, FlatMap, Instance, Join, Map, Operator, RULES, Record, Reference, Snapshot,
    Source, SourceOptions, SplitId, StartupMode, TwoPhaseCommitSink, Window, WindowOptions, mix,
    promises_order,
};
use cutline::task::router::Router;
use cutline::time::{VirtualDuration, VirtualTime};

const MAX_PARALLELISM: u32 = 16;
const RECORDS: u64 = 12;
const SPLITS: u32 = 3;
/// As many records leave a buffer together.
const THRESHOLD: u32 = 4;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Source,
    Map,
    Rekey,
    Filter,
    FlatMap,
    Aggregate,
    Join,
    Window,
    Buffer,
    Async,
    BroadcastJoin,
    Sink,
}

/// A job, with the kind of each operator.
#[derive(Clone, Debug)]
struct Plan {
    job: JobGraph,
    kinds: Vec<Kind>,
    ordered: Vec<bool>,
}

impl Plan {
    /// With parallelism 1 it may be the reference, which holds nothing back.
    fn build(&self, instance: Instance, threshold: u32) -> Box<dyn Operator> {
        let at = instance.operator.index();
        match self.kinds[at] {
            Kind::Source => Box::new(Source::new(
                instance,
                SourceOptions {
                    splits: SPLITS,
                    records: Some(RECORDS),
                    history: 0,
                    startup_mode: StartupMode::EarliestOffset,
                    start: VirtualTime::ZERO,
                    every: VirtualDuration(1),
                    keys: 5,
                    key_run: 1,
                    weight: 1,
                    record_bytes: 100,
                    disorder: VirtualDuration::ZERO,
                    watermarks: None,
                    stagger: VirtualDuration::ZERO,
                    enumerated: false,
                    list_mode: DistributionMode::SplitDistribute,
                },
            )),
            Kind::Map => Box::new(Map::new(instance, None)),
            Kind::Rekey => Box::new(Map::new(instance, Some(3))),
            Kind::Filter => Box::new(Filter::new(instance, 700)),
            Kind::FlatMap => Box::new(FlatMap::new(instance, 2)),
            Kind::Aggregate => Box::new(Aggregate::new(instance, self.ordered[at], 0)),
            Kind::Join => Box::new(Join::new(instance, 0)),
            Kind::Window => {
                let (size, slide) = (VirtualDuration(7), VirtualDuration(3));
                let options = WindowOptions { size, slide, state_per_key: 0, exact: true };
                Box::new(Window::new(instance, options))
            }
            Kind::Buffer => Box::new(Buffer::new(instance, threshold)),
            Kind::Async => {
                let options = CallOptions { capacity: 100, ordered: true };
                Box::new(AsyncWait::new(instance, (threshold > 1).then_some(options)))
            }
            Kind::BroadcastJoin => Box::new(BroadcastJoin::new(instance)),
            Kind::Sink => Box::new(TwoPhaseCommitSink::new(instance)),
        }
    }

    fn splits(&self) -> Vec<SplitId> {
        let sources = self.kinds.iter().zip(0..).filter(|(kind, _)| **kind == Kind::Source);
        sources.flat_map(|(_, id)| (0..SPLITS).map(move |index| SplitId::new(id, index))).collect()
    }

    fn finished_reference(&self, mut reference: Reference, ended: bool) -> Vec<Fingerprint> {
        for split in self.splits() {
            reference.advance(split, RECORDS);
        }
        if ended {
            reference.finish();
        }
        (0..self.kinds.len() as u32).map(|id| reference.fingerprint(OperatorId(id))).collect()
    }

    fn single(&self) -> impl FnMut(OperatorId) -> Box<dyn Operator> {
        |operator| self.build(Instance::single(operator), 1)
    }
}

/// The parallel job: subtasks and FIFO channels, and nothing of the protocol.
struct Run {
    graph: ExecutionGraph,
    subtasks: Vec<Box<dyn Operator>>,
    routers: Vec<Router>,
    channels: Vec<VecDeque<Record>>,
    word: u64,
}

impl Run {
    fn new(plan: &Plan, seed: u64) -> Self {
        let graph = ExecutionGraph::new(plan.job.clone());
        let ids = || (0..graph.subtasks() as u32).map(SubtaskId);
        let subtask = |id: SubtaskId| {
            let operator = graph.operator(id);
            let instance = Instance {
                defects: Defects::none(),
                operator,
                subtask: graph.index_in_operator(id),
                parallelism: graph.job().operators()[operator.index()].parallelism,
                max_parallelism: MAX_PARALLELISM,
                attempt: Attempt(0),
            };
            let mut built = plan.build(instance, THRESHOLD);
            built.open(None, &mut Vec::new());
            built
        };
        let router = |id| Router::new(graph.output_edges(id), graph.index_in_operator(id));
        Self {
            subtasks: ids().map(subtask).collect(),
            routers: ids().map(router).collect(),
            channels: vec![VecDeque::new(); graph.channels().len()],
            graph,
            word: seed,
        }
    }

    /// Lets one subtask do one thing, chosen at random; `false` if there is nothing left to do.
    fn step(&mut self) -> bool {
        self.word = mix(self.word, 0x5eed);
        let (subtasks, channels) = (self.subtasks.len(), self.channels.len());
        let start = self.word as usize % (subtasks + channels);
        (0..subtasks + channels).any(|at| {
            let at = (start + at) % (subtasks + channels);
            if at < subtasks { self.read(at) } else { self.receive(at - subtasks) }
        })
    }

    /// Has all subtasks emit what they hold back; `false` if that was nothing.
    fn release(&mut self) -> bool {
        let mut released = false;
        for subtask in 0..self.subtasks.len() {
            let mut out = Emitter::default();
            self.subtasks[subtask].release(&mut out);
            released |= !out.records().is_empty();
            self.send(subtask, &out);
        }
        released
    }

    fn read(&mut self, subtask: usize) -> bool {
        let mut out = Emitter::default();
        let source = self.subtasks[subtask].as_source();
        let read = source.is_some_and(|it| it.emit_due(VirtualTime::MAX, &mut out));
        self.send(subtask, &out);
        read
    }

    fn receive(&mut self, channel: usize) -> bool {
        let Some(record) = self.channels[channel].pop_front() else { return false };
        let to = self.graph.channels()[channel].to;
        let gate = &self.graph.gates(to)[self.graph.channels()[channel].gate.index()];
        let mut out = Emitter::default();
        self.subtasks[to.index()].process(gate.input, &record, &mut out);
        self.send(to.index(), &out);
        true
    }

    fn send(&mut self, subtask: usize, out: &Emitter) {
        let outputs = self.graph.outputs(SubtaskId(subtask as u32));
        for record in out.records() {
            self.routers[subtask].route(record, |output, record| {
                self.channels[outputs[output.index()].index()].push_back(record);
            });
        }
    }

    fn fingerprints(&self, plan: &Plan) -> Vec<Fingerprint> {
        let mut sums = vec![Fingerprint::EMPTY; plan.kinds.len()];
        for (subtask, id) in self.subtasks.iter().zip(0..) {
            sums[self.graph.operator(SubtaskId(id)).index()] += subtask.fingerprint();
        }
        sums
    }

    /// A reference restored from the states as they are, with what is in flight.
    fn shadow(&mut self, plan: &Plan) -> Reference {
        let mut parts = vec![Vec::new(); plan.kinds.len()];
        for (subtask, id) in self.subtasks.iter_mut().zip(0..) {
            let mut snapshot = Snapshot::default();
            subtask.snapshot(CheckpointId(1), &mut snapshot);
            parts[self.graph.operator(SubtaskId(id)).index()].push(snapshot.state);
        }
        let mut reference = Reference::restored(&plan.job, plan.single(), CheckpointId(1), &parts)
            .expect("states as written");
        for &operator in plan.job.topological_order().iter().rev() {
            for (channel, queue) in self.graph.channels().iter().zip(&self.channels) {
                if self.graph.operator(channel.to) == operator {
                    let gate = &self.graph.gates(channel.to)[channel.gate.index()];
                    queue.iter().for_each(|it| reference.inject(operator, gate.input, it));
                }
            }
        }
        reference.release();
        reference
    }
}

/// Random words become a job: one or two sources, then operators that read earlier ones.
fn plan() -> impl Strategy<Value = Plan> {
    let kind = prop::sample::select(&[
        Kind::Map,
        Kind::Rekey,
        Kind::Filter,
        Kind::FlatMap,
        Kind::Aggregate,
        Kind::Aggregate,
        Kind::Join,
        Kind::Window,
        Kind::Buffer,
        Kind::Async,
        Kind::BroadcastJoin,
        Kind::Sink,
    ]);
    let partitioner = prop::sample::select(&[
        Partitioner::Forward,
        Partitioner::Hash,
        Partitioner::Rebalance,
        Partitioner::Rescale,
        Partitioner::Broadcast,
    ]);
    let edge = (any::<prop::sample::Index>(), partitioner);
    let edges = prop::collection::vec(edge, 2);
    let operator = (kind, 1_u32..=3, edges, prop::bool::weighted(0.3));
    (prop::collection::vec(1_u32..=3, 1..=2), prop::collection::vec(operator, 1..7)).prop_map(
        |(sources, others)| {
            let mut kinds = vec![Kind::Source; sources.len()];
            let mut parallelisms = sources;
            let mut edges = Vec::new();
            for (kind, parallelism, inputs, both) in others {
                let to = OperatorId(kinds.len() as u32);
                let join = matches!(kind, Kind::Join | Kind::BroadcastJoin);
                // Sinks send nothing on.
                let senders: Vec<_> =
                    (0..to.0).filter(|&id| kinds[id as usize] != Kind::Sink).collect();
                for (input, (from, partitioner)) in
                    (0..).zip(inputs).take(if both || join { 2 } else { 1 })
                {
                    let from = OperatorId(*from.get(&senders));
                    let partitioner = match kind {
                        Kind::Aggregate | Kind::Join | Kind::Window => Partitioner::Hash,
                        Kind::BroadcastJoin if input == RULES => Partitioner::Broadcast,
                        Kind::BroadcastJoin if partitioner == Partitioner::Broadcast => {
                            Partitioner::Rebalance
                        }
                        _ if partitioner == Partitioner::Forward
                            && parallelisms[from.index()] != parallelism =>
                        {
                            Partitioner::Rescale
                        }
                        _ => partitioner,
                    };
                    let input = if join { input } else { 0 };
                    edges.push(Edge {
                        from,
                        to,
                        input,
                        partitioner,
                        chained: false,
                        feedback: None,
                    });
                }
                kinds.push(kind);
                parallelisms.push(parallelism);
            }
            let operators = parallelisms.iter().enumerate().map(|(i, &parallelism)| JobOperator {
                name: format!("o{i}"),
                parallelism,
                max_parallelism: MAX_PARALLELISM,
            });
            let job = JobGraph::new(operators.collect(), edges).expect("a job that can run");
            let behaviours: Vec<_> = kinds
                .iter()
                .map(|kind| match kind {
                    Kind::Source => Behaviour::Source,
                    Kind::Rekey => Behaviour::ChangesKey,
                    Kind::Join | Kind::Window | Kind::BroadcastJoin => Behaviour::Joins,
                    _ => Behaviour::KeepsKey,
                })
                .collect();
            let ordered = promises_order(&job, &behaviours);
            Plan { job, kinds, ordered }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn subtasks_add_up_to_the_reference(plan in plan(), seed: u64) {
        let mut run = Run::new(&plan, seed);
        while run.step() || run.release() {}
        // No watermark has come to anybody: all windows are open.
        let fresh = Reference::fresh(&plan.job, plan.single());
        prop_assert_eq!(run.fingerprints(&plan), plan.finished_reference(fresh, false));
    }

    #[test]
    fn any_moment_can_be_restored(plan in plan(), seed: u64, steps in 0_u32..200) {
        let mut run = Run::new(&plan, seed);
        for _ in 0..steps {
            run.step();
        }
        let restored = run.shadow(&plan);
        let fresh = Reference::fresh(&plan.job, plan.single());
        let expected = plan.finished_reference(fresh, true);
        prop_assert_eq!(plan.finished_reference(restored, true), expected);
    }
}

/// The analysis would be worthless if nothing were ever promised, and the tests above if nothing
/// were ever disordered.
#[test]
fn both_answers_of_the_analysis_occur() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut promised, mut not) = (0, 0);
    for _ in 0..200 {
        let plan = plan().new_tree(&mut runner).expect("a plan").current();
        for (kind, ordered) in plan.kinds.iter().zip(&plan.ordered) {
            if *kind == Kind::Aggregate {
                *(if *ordered { &mut promised } else { &mut not }) += 1;
            }
        }
    }
    assert!(promised > 20 && not > 20, "{promised} promised, {not} not");
}
