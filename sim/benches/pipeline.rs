//! What an event costs on the full protocol with all checks on and no trace, beside a bare
//! `std::collections::BinaryHeap` loop with the same payload in the same run.
//!
//! An event is a data buffer or barrier handed to a task, one record a buffer.
//!
//! `cargo bench -p cutline-sim --bench pipeline`
//!
//! # Measured
//!
//! On a shared 2-core x86_64 virtual machine under load, hence in CPU time: `perf stat -e task-clock`
//! of this binary with `--bench --test <name>`, which runs a benchmark once and cold, less the 1.8 ms
//! that it takes with a name that fits nothing; instructions by callgrind of the same.
//!
//! | benchmark | CPU time | instructions | aim |
//! | --- | --- | --- | --- |
//! | `pipeline/full protocol` | 0.26 µs an event | about 3,300 an event | 0.20 µs |
//! | `pipeline/bare heap loop` | 0.027 µs an event, a tenth of the above | | 0.35 of the above |
//! | `seeds/10,000 events` | 3.3 ms, or 310 a second | | 300 a second |
//! | `seeds/set-up and 8 records` | 0.35 ms | | 0.05 ms, warm |
//! | `subtasks/16` | 0.25 µs an event | about 3,200 an event | |
//! | `subtasks/256` | 1.3 µs an event, 5 times that of 16 | about 5,100 an event | 1.5 times |
//! | `channels` | 1.2 s, 87 MiB at most | | 10 s, 1 GiB |
//!
//! Where the time goes: with 10 or 16 subtasks nowhere in particular. A tenth of the instructions
//! are the sequential reference, a fifth what comes back to senders (credit), and no function has 4 %
//! of its own. With 256 subtasks it is memory: 1.6 times the instructions take 5 times the time,
//! spread over everything that touches a channel. The next step is less memory a channel: the queues
//! of sender, link and receiver own a ring each, and elements go round through all of it. (To send an
//! emptied ring back to its start, so that it keeps to one cache line, gained nothing: 1.04 of the
//! CPU time, 5 pairs of runs of a job as in `subtasks/256`.)
//!
//! # A campaign
//!
//! Random scenarios are dearer than these: `cutline campaign --seeds 0..60 --threads 1` takes 36
//! million instructions a run (callgrind, incremental release build; 39 million while every step
//! went through every check) for 7,300 kernel events in the mean (seeds 0..500: median 4,600, one run
//! in a hundred has more than 34,000). On the same machine, under load, that was 9.3 ms of CPU time
//! a run, and 0.90 of what it was (median of 5 pairs, `--seeds 0..300`): short of 300 a second. It
//! is not that a few long runs make it so: set-up is 0.2 %, drawing the scenario 1 %, and events are
//! 84 %.
//!
//! | part of a campaign, with all it calls (they overlap) | share of instructions |
//! | --- | --- |
//! | subtasks and what they ask for | 50 % |
//! | job manager | 14 % |
//! | `malloc` and `free` | 12 % |
//! | shadow restores of what is durable | 9 % |
//! | checks of what is neither record nor barrier | 8 % |
//!
//! With 32 KiB of first-level instruction cache (callgrind) 2.3 % of instructions miss it, more than
//! twice the misses of data: there is much code, each piece of which runs seldom. A
//! build with incremental code generation takes 1.3 times the CPU time of the same without (7
//! pairs). The next steps: an allocator of its own for the command (`mimalloc` preloaded took 0.93
//! of the instructions and of the CPU time, 6 pairs), less code on the way of an observation, and a
//! shadow restore that reads only what is new.

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
