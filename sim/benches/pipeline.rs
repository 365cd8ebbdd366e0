//! What an event costs on the full protocol with all checks on and no trace, beside a bare
//! `std::collections::BinaryHeap` loop with the same payload in the same run.
//!
//! An event is a data buffer or barrier handed to a task, one record a buffer.
//!
//! `cargo bench -p cutline-sim --bench pipeline`
//!
//! # Measured
//!
//! On a shared 2-core x86_64 virtual machine. Times: medians of criterion, but `channels`, which is CPU
//! time of one run. Instructions: callgrind of this binary with `--bench --test <name>`, which runs a
//! benchmark once and cold, less the 1.2 million of a name that fits nothing.
//!
//! | benchmark | time | instructions | aim |
//! | --- | --- | --- | --- |
//! | `pipeline/full protocol` | 0.27 µs an event | 3,300 an event | 0.20 µs |
//! | `pipeline/bare heap loop` | 0.020 µs an event, 0.07 of the above | 300 an event | 0.35 of the above |
//! | `seeds/10,000 events` | 3.3 ms, or 304 a second | 38 million | 300 a second |
//! | `seeds/set-up and 8 records` | 0.14 ms | 1.3 million | 0.05 ms |
//! | `subtasks/16` | 0.25 µs an event | 3,140 an event | |
//! | `subtasks/256` | 0.61 µs an event, 2.4 times that of 16 | 4,520 an event | 1.5 times |
//! | `channels` | 0.67 s, 80 MiB at most | 2.9 billion | 10 s, 1 GiB |
//!
//! The bar for later features is the protocol without them (commit df46fa3): a job that uses none of them
//! is to lose no more than 5 %. Both built alike (thin LTO, four codegen units, the same compiler), run in
//! turn, nine pairs; the ratio of CPU times, now over then, is a median:
//!
//! | benchmark | instructions then | now | | CPU time |
//! | --- | ---: | ---: | ---: | ---: |
//! | `pipeline/full protocol` | 544.9 million | 542.0 million | −0.5 % | 1.02 |
//! | `seeds/10,000 events` | 38.7 million | 40.0 million | +3.4 % | |
//! | `subtasks/16` | 781.2 million | 767.7 million | −1.7 % | |
//!
//! (The CPU time and the other two rows are of two days before the first row's instructions.) Larger jobs
//! have gained: before senders had pools, `subtasks/256` took 0.82 of the CPU time then and
//! `channels` 0.42; the table above is of that day, too.
//!
//! Where the time goes: nowhere in particular; no function has 5 % of its own. With 256 subtasks it is
//! memory: 1.4 times the instructions take 2.4 times the time, spread over everything that touches a
//! channel. (To send an emptied ring back to its start, so that it keeps to one cache line, gained
//! nothing: 1.04 of the CPU time, 5 pairs of runs of a job as in `subtasks/256`.)
//!
//! # A campaign
//!
//! Random jobs are smaller and see more: `cutline campaign --seeds 0..60 --threads 1` takes 13 million
//! instructions a run for 3,000 kernel events (callgrind, incremental release build). On the same machine
//! `--seeds 0..1500` takes 1.4 ms of CPU time a run, or 700 runs a second and core; 0.95 of what it was
//! before a record looked for credit that had come back (3 pairs). A build with incremental code generation
//! takes 1.3 times the CPU time of the same without (7 pairs).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use cutline::operator::Record;
use cutline::time::{VirtualDuration, VirtualTime};
use cutline_sim::check::{Statistics, Verdict};
use cutline_sim::run::Simulation;
use cutline_sim::scenario::model::Scenario;
use cutline_sim::scenario::shapes::pipeline;

/// 4 sources → 4 → 2 sinks, all to all, 20 µs between the records of a source, so that a barrier
/// every 20 ms has 1,000 buffers of each source before it.
fn scenario(records: u64) -> Arc<Scenario> {
    let every = VirtualDuration::from_micros(20);
    Arc::new(pipeline([4, 4, 2], records, every, VirtualDuration::from_millis(20)))
}

/// Records and barriers that such a job hands to its tasks; known without a run, so that a
/// benchmark that was filtered out costs nothing.
fn events_of([sources, inner, sinks]: [u32; 3], records: u64, checkpoints: u64) -> u64 {
    let channels = u64::from(inner) * u64::from(sources + sinks);
    2 * u64::from(sources) * records + checkpoints * channels
}

fn run(scenario: &Arc<Scenario>, seed: u64) -> Statistics {
    let outcome = Simulation::new(Arc::clone(scenario), seed).expect("it can run").run();
    assert_eq!(outcome.verdict, Verdict::Ok, "{:?}", outcome.violations);
    outcome.statistics
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
    let count = events_of([4, 4, 2], 20_000, 20);
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

/// Cost of an event as the job grows: 16 and 256 subtasks, the same records in the same time. The
/// larger one has 256 times as many channels, so that a third of its events are barriers.
fn size(c: &mut Criterion) {
    let mut group = c.benchmark_group("subtasks");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    for (name, shape, records) in [("16", [6, 6, 4], 20_000), ("256", [96, 96, 64], 1_250)] {
        let every = VirtualDuration::from_micros(40 * u64::from(shape[0]) / 6);
        let job = Arc::new(pipeline(shape, records, every, VirtualDuration::from_millis(100)));
        group.throughput(Throughput::Elements(events_of(shape, records, 8)));
        group.bench_function(name, |b| b.iter(|| run(black_box(&job), 0)));
    }
    group.finish();
}

/// Barriers and little else: 200 sources send to 200 subtasks over 40,000 channels (and these to
/// one sink over 200), and ten checkpoints complete.
fn channels(c: &mut Criterion) {
    let mut group = c.benchmark_group("channels");
    group.sample_size(10);
    let (shape, every) = ([200, 200, 1], VirtualDuration::from_millis(10));
    let job = Arc::new(pipeline(shape, 105, every, VirtualDuration::from_millis(100)));
    group.throughput(Throughput::Elements(events_of(shape, 105, 10)));
    group.bench_function("200 to 200, 10 checkpoints", |b| {
        b.iter(|| {
            let statistics = run(black_box(&job), 0);
            assert!(statistics.checkpoints.completed >= 10, "{statistics:?}");
        });
    });
    group.finish();
}

criterion_group!(benches, events, seeds, size, channels);
criterion_main!(benches);
