//! What an event costs on the full protocol with all checks on and no trace, beside a bare
//! `std::collections::BinaryHeap` loop with the same payload in the same run.
//!
//! An event is a data buffer or barrier handed to a task, one record a buffer.
//!
//! `cargo bench -p cutline-sim --bench pipeline`

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use cutline::operator::Record;
use cutline::time::{VirtualDuration, VirtualTime};
use cutline_sim::check::Verdict;
use cutline_sim::run::Simulation;
use cutline_sim::scenario::model::Scenario;
use cutline_sim::scenario::shapes::pipeline;

/// 4 sources → 4 → 2 sinks, all to all, 20 µs between the records of a source, so that a barrier
/// every 20 ms has 1,000 buffers of each source before it.
fn scenario(records: u64) -> Arc<Scenario> {
    let every = VirtualDuration::from_micros(20);
    Arc::new(pipeline([4, 4, 2], records, every, VirtualDuration::from_millis(20)))
}

/// Records that such a job hands to its tasks; known without a run, so that a benchmark that was
/// filtered out costs nothing. Barriers are some tenths of a percent more.
fn events_of([sources, ..]: [u32; 3], records: u64) -> u64 {
    2 * u64::from(sources) * records
}

fn run(scenario: &Arc<Scenario>, seed: u64) -> u64 {
    let outcome = Simulation::new(Arc::clone(scenario), seed).expect("it can run").run();
    assert_eq!(outcome.verdict, Verdict::Ok, "{:?}", outcome.violations);
    outcome.statistics.records.processed
}

/// The same payload through a heap: `pending` events, each of which schedules the next.
fn bare_loop(events: u64, pending: u64) -> u64 {
    let record = Record {
        split: cutline::operator::SplitId(0),
        key: 0,
        offset: 0,
        path: 0,
        event_time: VirtualTime::ZERO,
        weight: 1,
        record_bytes: 100,
    };
    let mut heap: BinaryHeap<Reverse<(u64, u64, Payload)>> = BinaryHeap::new();
    let mut sequence = 0;
    for _ in 0..pending {
        heap.push(Reverse((sequence, sequence, Payload(record))));
        sequence += 1;
    }
    let mut sum = 0_u64;
    for _ in 0..events {
        let Reverse((at, _, Payload(mut record))) = heap.pop().expect("as many go in as out");
        record.offset += 1;
        sum = sum.wrapping_add(record.identity());
        let next = at + 1 + (record.identity() & 0xff);
        heap.push(Reverse((next, sequence, Payload(record))));
        sequence += 1;
    }
    sum
}

/// A record that takes no part in the order.
#[derive(Clone, Copy)]
struct Payload(Record);

impl PartialEq for Payload {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Payload {}

impl PartialOrd for Payload {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Payload {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

fn events(c: &mut Criterion) {
    let mut group = c.benchmark_group("pipeline");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    let job = scenario(20_000);
    let count = events_of([4, 4, 2], 20_000);
    group.throughput(Throughput::Elements(count));
    group.bench_function("full protocol, all checks", |b| b.iter(|| run(black_box(&job), 0)));
    group.bench_function("bare heap loop", |b| b.iter(|| bare_loop(black_box(count), 32)));
    group.finish();
}

/// A ten-subtask scenario of about 10,000 events, from set-up to verdict.
fn seeds(c: &mut Criterion) {
    let mut group = c.benchmark_group("seeds");
    group.sample_size(20);
    let job = scenario(1_250);
    let mut seed = 0;
    group.throughput(Throughput::Elements(1));
    group.bench_function("10,000 events", |b| {
        b.iter(|| {
            seed += 1;
            run(black_box(&job), seed)
        });
    });
    let empty = scenario(1);
    group.bench_function("set-up and 8 records", |b| {
        b.iter(|| {
            seed += 1;
            run(black_box(&empty), seed)
        });
    });
    group.finish();
}

/// Cost of an event as the job grows: 16 and 256 subtasks.
fn size(c: &mut Criterion) {
    let mut group = c.benchmark_group("subtasks");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    for (name, shape, records) in [("16", [6, 6, 4], 20_000), ("256", [96, 96, 64], 1_250)] {
        let every = VirtualDuration::from_micros(40 * u64::from(shape[0]) / 6);
        let job = Arc::new(pipeline(shape, records, every, VirtualDuration::from_millis(100)));
        group.throughput(Throughput::Elements(events_of(shape, records)));
        group.bench_function(name, |b| b.iter(|| run(black_box(&job), 0)));
    }
    group.finish();
}

criterion_group!(benches, events, seeds, size);
criterion_main!(benches);
