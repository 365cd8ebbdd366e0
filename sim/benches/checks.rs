//! What the checks cost: one million data-plane observations, all checks on, no trace.
//!
//! A pipeline of 4 sources, 4 aggregates and 2 sinks, all-to-all, as in the pipeline benchmark of
//! the simulator. One emitted record makes six observations: emitted, sent, processed, sent,
//! processed, written.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use cutline::config::CheckpointingOptions;
use cutline::ids::{ChannelId, OperatorId, SubtaskId};
use cutline::job::{Edge, ExecutionGraph, JobGraph, JobOperator, Partitioner};
use cutline::operator::{Instance, Map, Record, SplitId};
use cutline::time::{VirtualDuration, VirtualTime};
use cutline_sim::check::{CheckConfig, Checks, Role};
use cutline_sim::observe::Observation;

const OBSERVATIONS: u64 = 1_000_000;
const SOURCES: u32 = 4;
const INNER: u32 = 4;
const SINKS: u32 = 2;

fn graph() -> ExecutionGraph {
    let vertex = |(name, parallelism): (&str, u32)| JobOperator {
        name: name.to_owned(),
        parallelism,
        max_parallelism: 128,
    };
    let edge = |from, to| Edge {
        from: OperatorId(from),
        to: OperatorId(to),
        input: 0,
        partitioner: Partitioner::Rebalance,
    };
    let vertices = [("source", SOURCES), ("count", INNER), ("sink", SINKS)].map(vertex);
    let job = JobGraph::new(vertices.to_vec(), vec![edge(0, 1), edge(1, 2)]);
    ExecutionGraph::new(job.expect("a chain is a valid job"))
}

fn checks(graph: &ExecutionGraph) -> Checks {
    let config = CheckConfig {
        checkpointing: CheckpointingOptions::default(),
        roles: vec![
            Role::Source { splits: SOURCES, records: None },
            Role::Inner,
            Role::IdempotentSink,
        ],
        manual: Vec::new(),
        due: None,
        settle: VirtualDuration::from_secs(10),
        recovery: VirtualDuration::from_secs(10),
    };
    // No checkpoint completes here, so the reference is never made.
    Checks::new(graph, config, Box::new(|id| Box::new(Map::new(Instance::single(id), None))))
}

fn record(split: u32, offset: u64) -> Record {
    Record {
        split: SplitId::new(0, split),
        key: offset as u32 & 0x3ff,
        offset,
        path: 0,
        event_time: VirtualTime::ZERO,
        weight: 1,
        record_bytes: 100,
    }
}

fn observations(with: impl Fn(u32, u64, Record, &mut Vec<Observation>)) -> Vec<Observation> {
    let mut all = Vec::with_capacity(OBSERVATIONS as usize);
    for offset in 0.. {
        for split in 0..SOURCES {
            with(split, offset, record(split, offset), &mut all);
        }
        if all.len() as u64 >= OBSERVATIONS {
            all.truncate(OBSERVATIONS as usize);
            break;
        }
    }
    all
}

fn pipeline(split: u32, offset: u64, record: Record, all: &mut Vec<Observation>) {
    let inner = (offset as u32 + split) % INNER;
    let sink = (offset as u32 / INNER) % SINKS;
    let first = ChannelId(split * INNER + inner);
    let second = ChannelId(SOURCES * INNER + inner * SINKS + sink);
    let split_id = SplitId::new(0, split);
    all.push(Observation::SourceEmitted { subtask: SubtaskId(split), split: split_id, offset });
    for channel in [first, second] {
        all.push(Observation::Sent { channel, record });
        all.push(Observation::Processed { channel, record });
    }
    all.push(Observation::Upserted { subtask: SubtaskId(SOURCES + INNER + sink), record });
}

fn hop(split: u32, _offset: u64, record: Record, all: &mut Vec<Observation>) {
    let channel = ChannelId(split * INNER);
    all.push(Observation::Sent { channel, record });
    all.push(Observation::Processed { channel, record });
}

fn data_plane(criterion: &mut Criterion) {
    let graph = graph();
    let mut group = criterion.benchmark_group("checks");
    group.throughput(Throughput::Elements(OBSERVATIONS)).sample_size(20);
    for (name, all) in [("pipeline", observations(pipeline)), ("hop", observations(hop))] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || checks(&graph),
                |checks| {
                    for (at, observation) in (0..).zip(&all) {
                        checks.observe(VirtualTime(at), black_box(observation));
                    }
                    assert!(checks.violations().is_empty(), "{:?}", checks.violations());
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
    criterion.bench_function("checks/new", |bencher| {
        bencher.iter_with_large_drop(|| checks(&graph));
    });
}

criterion_group!(benches, data_plane);
criterion_main!(benches);
