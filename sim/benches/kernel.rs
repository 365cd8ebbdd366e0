//! What the kernel costs: the event queue against a bare `std` binary heap, and the parts beside it.
//!
//! `cargo bench -p cutline-sim --bench kernel` runs everything and then prints, for each size of the
//! hold model, the ratio of the medians of interleaved rounds: other work on the machine then falls
//! on both alike.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use cutline::time::{VirtualDuration, VirtualTime};
use cutline_sim::kernel::digest::Digest;
use cutline_sim::kernel::queue::Queue;
use cutline_sim::kernel::run::{Dispatch, Limits, run};
use cutline_sim::kernel::stream::Streams;

/// The payload of both queues: as large as an event of a world, a kind and a few small indexes.
type Payload = [u32; 4];

/// Delays are drawn beforehand, so that the queues alone are measured.
const DELAYS: usize = 1 << 16;
/// Sizes of the hold model: one job, a large one, a stress.
const SIZES: [usize; 5] = [10, 16, 50, 1_000, 100_000];

/// How long after now an event is due, given the number of its push.
type Shape = fn(usize, &[u64]) -> u64;

/// Distributions that queues with buckets are known to stumble over.
const SHAPES: [(&str, Shape); 5] = [
    ("one instant", |_, _| 0),
    ("constant", |_, _| 1_000),
    ("bimodal", |n, delays| if n % 10 == 0 { 3_600_000_000_000 } else { delays[n % DELAYS] % 64 }),
    ("all scales", |n, delays| {
        delays[n % DELAYS].wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (8 + n % 56)
    }),
    ("exponential", |n, delays| delays[n % DELAYS]),
];

/// The hold model: so many pending, and each pop is followed by a push at a later time.
trait Hold {
    fn new(pending: usize, delays: &[u64], shape: Shape) -> Self;
    fn hold(&mut self, operations: usize, delays: &[u64], shape: Shape) -> u64;
}

struct Ours {
    queue: Queue<Payload>,
    pushed: usize,
}

impl Hold for Ours {
    fn new(pending: usize, delays: &[u64], shape: Shape) -> Self {
        let mut queue = Queue::new();
        for pushed in 0..pending {
            queue.push(VirtualTime(shape(pushed, delays)), [pushed as u32; 4]);
        }
        Self { queue, pushed: pending }
    }

    #[inline(never)]
    fn hold(&mut self, operations: usize, delays: &[u64], shape: Shape) -> u64 {
        let mut sum = 0;
        for _ in 0..operations {
            let (now, event) = self.queue.pop().expect("one is pushed for each popped");
            sum ^= now.0 + u64::from(event[0]);
            let delay = VirtualDuration(shape(self.pushed, delays));
            self.queue.push(now + delay, event);
            self.pushed += 1;
        }
        sum
    }
}

struct Std {
    heap: BinaryHeap<Reverse<(u64, u64, Payload)>>,
    pushed: usize,
}

impl Hold for Std {
    fn new(pending: usize, delays: &[u64], shape: Shape) -> Self {
        let mut heap = BinaryHeap::new();
        for pushed in 0..pending {
            heap.push(Reverse((shape(pushed, delays), pushed as u64, [pushed as u32; 4])));
        }
        Self { heap, pushed: pending }
    }

    #[inline(never)]
    fn hold(&mut self, operations: usize, delays: &[u64], shape: Shape) -> u64 {
        let mut sum = 0;
        for _ in 0..operations {
            let Reverse((now, _, event)) = self.heap.pop().expect("one is pushed for each popped");
            sum ^= now + u64::from(event[0]);
            let at = now.saturating_add(shape(self.pushed, delays));
            self.heap.push(Reverse((at, self.pushed as u64, event)));
            self.pushed += 1;
        }
        sum
    }
}

fn delays() -> Vec<u64> {
    let mut stream = Streams { seed: 1 }.stream("bench", "hold");
    let mean = VirtualDuration::from_millis(1);
    (0..DELAYS).map(|_| stream.exponential(mean).0).collect()
}

fn exponential(number: usize, delays: &[u64]) -> u64 {
    delays[number % DELAYS]
}

fn bench_hold<H: Hold>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, delays: &[u64]) {
    const OPERATIONS: usize = 1_000;
    group.throughput(Throughput::Elements(OPERATIONS as u64));
    for pending in SIZES {
        let mut held = H::new(pending, delays, exponential);
        held.hold(3 * pending, delays, exponential);
        group.bench_function(BenchmarkId::new(name, pending), |bencher| {
            bencher.iter(|| held.hold(OPERATIONS, delays, exponential));
        });
    }
}

fn queues(criterion: &mut Criterion) {
    let delays = delays();
    let mut group = criterion.benchmark_group("hold");
    bench_hold::<Std>(&mut group, "std heap", &delays);
    bench_hold::<Ours>(&mut group, "queue", &delays);
    group.finish();
}

/// Rounds of both queues in turn; prints nanoseconds an operation and the ratio of the medians.
fn ratios() {
    let delays = delays();
    println!("\nhold model, medians of interleaved rounds, ns an operation");
    for (name, shape) in SHAPES {
        for pending in SIZES {
            let (heap, ours) = medians(pending, &delays, shape);
            let ratio = heap / ours;
            println!(
                "{name:>12} {pending:>7}  std heap {heap:6.1}  queue {ours:6.1}  ratio {ratio:.2}"
            );
        }
    }
}

fn medians(pending: usize, delays: &[u64], shape: Shape) -> (f64, f64) {
    const ROUNDS: usize = 41;
    const OPERATIONS: usize = 50_000;
    let mut heap = Std::new(pending, delays, shape);
    let mut ours = Ours::new(pending, delays, shape);
    let warm = 3 * pending;
    assert_eq!(heap.hold(warm, delays, shape), ours.hold(warm, delays, shape));
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (sum, time) = timed(|| heap.hold(OPERATIONS, delays, shape));
        left.push(time);
        let (same, time) = timed(|| ours.hold(OPERATIONS, delays, shape));
        right.push(time);
        assert_eq!(sum, same, "both must pop the same events");
    }
    left.sort_unstable();
    right.sort_unstable();
    let nanos = |times: &[Duration]| times[ROUNDS / 2].as_nanos() as f64 / OPERATIONS as f64;
    (nanos(&left), nanos(&right))
}

fn timed(work: impl FnOnce() -> u64) -> (u64, Duration) {
    let start = Instant::now();
    let result = black_box(work());
    (result, start.elapsed())
}

/// A world that does nothing but schedule the same event again.
struct Idle<'a> {
    delays: &'a [u64],
    handled: usize,
}

impl Dispatch for Idle<'_> {
    type Event = Payload;

    #[inline]
    fn dispatch(
        &mut self,
        now: VirtualTime,
        event: Payload,
        schedule: &mut Queue<Payload>,
    ) -> ControlFlow<()> {
        self.handled += 1;
        let delay = VirtualDuration(exponential(self.handled, self.delays));
        schedule.push(now + delay, event);
        ControlFlow::Continue(())
    }
}

fn loops(criterion: &mut Criterion) {
    let delays = delays();
    let mut group = criterion.benchmark_group("run loop");
    let limits = Limits { events: 1_000, ..Limits::default() };
    group.throughput(Throughput::Elements(limits.events));
    for pending in [16, 1_000] {
        let mut queue = Ours::new(pending, &delays, exponential).queue;
        let mut world = Idle { delays: &delays, handled: 0 };
        group.bench_function(BenchmarkId::from_parameter(pending), |bencher| {
            bencher.iter(|| run(&mut world, &mut queue, &limits));
        });
    }
    group.finish();
}

fn streams(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stream");
    let streams = Streams { seed: 1 };
    group.bench_function("create", |bencher| {
        bencher.iter(|| streams.stream(black_box("latency"), black_box("map[1]->sink[0]")));
    });
    group.bench_function("create and draw", |bencher| {
        bencher.iter(|| streams.stream(black_box("latency"), black_box("map[1]->sink[0]")).word());
    });
    let mut stream = streams.stream("latency", "map[1]->sink[0]");
    group.bench_function("word", |bencher| bencher.iter(|| stream.word()));
    group.bench_function("below", |bencher| bencher.iter(|| stream.below(black_box(1_000))));
    let mean = VirtualDuration::from_millis(1);
    group.bench_function("exponential", |bencher| {
        bencher.iter(|| stream.exponential(black_box(mean)));
    });
    group.finish();
}

fn digests(criterion: &mut Criterion) {
    const EVENTS: u64 = 1_000;
    const WORDS: u64 = 4;
    let mut group = criterion.benchmark_group("digest");
    group.throughput(Throughput::Elements(EVENTS * WORDS));
    let mut digest = Digest::new();
    group.bench_function("words of events of four", |bencher| {
        bencher.iter(|| {
            for number in 0..EVENTS {
                digest.event();
                digest.words(&[number, 1, 2, 3]);
            }
        });
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    queues(&mut criterion);
    loops(&mut criterion);
    streams(&mut criterion);
    digests(&mut criterion);
    criterion.final_summary();
    if std::env::args().any(|argument| argument == "--bench") {
        ratios();
    }
}
