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
        chained: false,
        feedback: None,
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
        first_offsets: Vec::new(),
        aligned: Vec::new(),
        manual: Vec::new(),
        actions: Vec::new(),
        due: None,
        settle: VirtualDuration::from_secs(10),
        windows: None,
        list_states: Vec::new(),
        holds_back: false,
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

/// Six observations: a record on its way from source to sink.
#[inline]
fn pipeline(split: u32, offset: u64, see: &mut impl FnMut(Observation)) {
    let record = record(split, offset);
    let inner = (offset as u32 + split) % INNER;
    let sink = (offset as u32 / INNER) % SINKS;
    let first = ChannelId(split * INNER + inner);
    let second = ChannelId(SOURCES * INNER + inner * SINKS + sink);
    see(Observation::SourceEmitted { subtask: SubtaskId(split), split: record.split, offset });
    for channel in [first, second] {
        see(Observation::Sent { channel, record });
        see(Observation::Processed { channel, record });
    }
    see(Observation::Upserted { subtask: SubtaskId(SOURCES + INNER + sink), record });
}

/// Two observations: a record on one channel.
#[inline]
fn hop(split: u32, offset: u64, see: &mut impl FnMut(Observation)) {
    let (record, channel) = (record(split, offset), ChannelId(split * INNER));
    see(Observation::Sent { channel, record });
    see(Observation::Processed { channel, record });
}

/// Makes the observations as an engine does, one after the other. `hop`: one channel alone.
#[inline]
fn run(only_hop: bool, mut see: impl FnMut(Observation)) {
    let per_record = if only_hop { 2 } else { 6 };
    for offset in 0..OBSERVATIONS / per_record / u64::from(SOURCES) {
        for split in 0..SOURCES {
            match only_hop {
                true => hop(split, offset, &mut see),
                false => pipeline(split, offset, &mut see),
            }
        }
    }
}

fn data_plane(criterion: &mut Criterion) {
    let graph = graph();
    let mut group = criterion.benchmark_group("checks");
    group.throughput(Throughput::Elements(OBSERVATIONS)).sample_size(20);
    for (name, only_hop) in [("pipeline", false), ("hop", true)] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || checks(&graph),
                |checks| {
                    let now = VirtualTime::ZERO;
                    run(only_hop, |observation| checks.observe(now, black_box(&observation)));
                    assert!(checks.violations().is_empty(), "{:?}", checks.violations());
                },
                BatchSize::PerIteration,
            );
        });
        group.bench_function(format!("{name}, unobserved"), |bencher| {
            bencher.iter(|| run(only_hop, |observation| _ = black_box(&observation)));
        });
    }
    group.finish();
    criterion.bench_function("checks/new", |bencher| {
        bencher.iter_with_large_drop(|| checks(&graph));
    });
}

criterion_group!(benches, data_plane);
criterion_main!(benches);
