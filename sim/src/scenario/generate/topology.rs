//! The job: sources, layers of operators, sinks, and how much flows through them.

mod chains;
mod list_state;
mod loops;
mod regions;

use cutline::job::Partitioner;
use cutline::operator::StartupMode;
use cutline::time::VirtualDuration;

use super::{
    Draws, Options, distribution, log_between, moves_in_flight, permille_chance, weighted,
};
use crate::kernel::distribution::Distribution;
use crate::kernel::stream::Stream;
use crate::scenario::model::{
    Discovery, Edge, Job, ListMode, Operator, OperatorKind, Source, Watermarks,
};

/// A job, and what is known of its load.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    pub(super) job: Job,
    /// Records that each operator gets in an undisturbed run, about.
    pub(super) records: Vec<u64>,
    /// Bytes of all records on all edges, about.
    pub(super) bytes: u64,
    /// Nominal bytes of all state, at most about.
    pub(super) state: u64,
    /// How many real records one stands for.
    pub(super) weight: u32,
    /// When the last record is due, about; an unbounded job is watched for twice as long.
    pub(super) span: VirtualDuration,
    pub(super) bounded: bool,
}

/// Inner operators, as the swarm chooses among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inner {
    Map,
    Rekey,
    Filter,
    FlatMap,
    Aggregate,
    Join,
}

const INNER: [Inner; 6] =
    [Inner::Map, Inner::Rekey, Inner::Filter, Inner::FlatMap, Inner::Aggregate, Inner::Join];

/// What this seed's jobs are made of.
struct Swarm {
    inner: Vec<Inner>,
    partitioners: Vec<Partitioner>,
    sinks: Vec<OperatorKind>,
    /// All operators have this parallelism, so that forward edges are possible everywhere.
    parallelism: Option<u32>,
    keys: u32,
    key_run: u32,
    state_per_key: bool,
}

impl Swarm {
    fn draw(options: &Options, draws: &Draws) -> Self {
        let partitioners = [
            Partitioner::Forward,
            Partitioner::Hash,
            Partitioner::Rebalance,
            Partitioner::Rescale,
            Partitioner::Broadcast,
        ];
        let mut sinks = vec![OperatorKind::TwoPhaseCommitSink, OperatorKind::IdempotentSink];
        if !options.exactly_once_output {
            sinks.push(OperatorKind::AtLeastOnceSink);
        }
        let mut parallelism = draws.of("parallelism", "");
        Self {
            inner: some(&INNER, &mut draws.of("swarm", "inner operators")),
            partitioners: some(&partitioners, &mut draws.of("swarm", "partitioners")),
            sinks: some(&sinks, &mut draws.of("swarm", "sinks")),
            parallelism: permille_chance(&mut parallelism, 400)
                .then(|| parallelism.between(1, u64::from(options.parallelism_max)) as u32),
            keys: log_between(&mut draws.of("keys", ""), 1, 200) as u32,
            key_run: match draws.is("runs of keys", 350) {
                true => log_between(&mut draws.of("runs of keys", "how long"), 2, 32) as u32,
                false => 1,
            },
            state_per_key: draws.is("state per key", 400),
        }
    }
}

/// Each with even odds, but at least one.
fn some<T: Clone>(of: &[T], stream: &mut Stream) -> Vec<T> {
    let always = stream.below(of.len() as u64) as usize;
    let on = |index: usize, stream: &mut Stream| stream.below(2) == 0 || index == always;
    of.iter()
        .enumerate()
        .filter(|(index, _)| on(*index, stream))
        .map(|(_, it)| it.clone())
        .collect()
}

pub(super) fn draw(options: &Options, draws: &Draws) -> Drawn {
    let mut builder = Builder {
        options,
        draws,
        swarm: Swarm::draw(options, draws),
        operators: Vec::new(),
        edges: Vec::new(),
        flow: Vec::new(),
        sources: 0,
    };
    builder.add_sources();
    builder.add_layers();
    builder.add_sinks();
    builder.vary_regions();
    builder.finish()
}

/// Records that all subtasks process together in an undisturbed run, at least.
const RECORDS_MIN: u64 = 200;

/// Flows are in thousandths of the records of one source.
const ONE: u64 = 1_000;

#[derive(Clone, Copy, Debug)]
struct Flow {
    arriving: u64,
    leaving: u64,
}

struct Builder<'a> {
    options: &'a Options,
    draws: &'a Draws,
    swarm: Swarm,
    operators: Vec<Operator>,
    edges: Vec<Edge>,
    flow: Vec<Flow>,
    sources: usize,
}

impl Builder<'_> {
    fn add_sources(&mut self) {
        let weights = &[5, 3, 2][..self.options.sources_max.clamp(1, 3) as usize];
        self.sources = weighted(&mut self.draws.of("sources", ""), weights) + 1;
        for index in 0..self.sources {
            let name = format!("source-{index}");
            let mut stream = self.draws.of("source", &name);
            let source = Source {
                splits: stream.between(1, 6) as u32,
                records: None,
                history: 0,
                startup_mode: StartupMode::EarliestOffset,
                every: VirtualDuration::ZERO,
                keys: self.swarm.keys,
                key_run: self.swarm.key_run,
                record_bytes: log_between(&mut stream, 10, 2_000) as u32,
                weight: 1,
                disorder: VirtualDuration::ZERO,
                watermarks: None,
                discovery: None,
                list_mode: ListMode::Split,
            };
            self.add(name, OperatorKind::Source(source));
            self.flow.push(Flow { arriving: 0, leaving: ONE });
        }
    }

    fn add_layers(&mut self) {
        let layers =
            self.draws.of("layers", "").between(1, u64::from(self.options.layers_max.max(1)));
        for layer in 0..layers {
            let before = self.operators.len();
            let width = weighted(&mut self.draws.of("width", &layer.to_string()), &[5, 4, 1]) + 1;
            for place in 0..width {
                self.add_inner(&format!("{layer}-{place}"), before);
            }
        }
    }

    fn add_inner(&mut self, place: &str, before: usize) {
        let mut stream = self.draws.of("operator", place);
        let inner = *stream.choice(&self.swarm.inner).expect("some operators are on");
        let kind = match inner {
            Inner::Map => OperatorKind::Map { rekey: None },
            Inner::Rekey => {
                OperatorKind::Map { rekey: Some(log_between(&mut stream, 1, 100) as u32) }
            }
            Inner::Filter => OperatorKind::Filter { keep_permille: stream.between(0, ONE) as u32 },
            Inner::FlatMap => OperatorKind::FlatMap { fanout: stream.between(1, 3) as u32 },
            Inner::Aggregate => OperatorKind::KeyedAggregate,
            Inner::Join => OperatorKind::Join,
        };
        let label = match inner {
            Inner::Map => "map",
            Inner::Rekey => "rekey",
            Inner::Filter => "filter",
            Inner::FlatMap => "flat-map",
            Inner::Aggregate => "count",
            Inner::Join => "join",
        };
        let operator = self.add(format!("{label}-{place}"), kind);
        let inputs = match inner {
            Inner::Join => 2,
            _ => weighted(&mut self.draws.of("fan-in", place), &[14, 5, 1]) + 1,
        };
        self.flow.push(Flow { arriving: 0, leaving: 0 });
        let mut arriving = Vec::new();
        for input in 0..inputs {
            let from = self.upstream(&format!("{place} {input}"), before, operator);
            let Some(from) = from else { continue };
            let input = if inner == Inner::Join { input as u32 } else { 0 };
            arriving.push(self.connect(from, operator, input));
        }
        let sum: u64 = arriving.iter().sum();
        let leaving = match self.operators[operator].kind {
            OperatorKind::Filter { keep_permille } => sum * u64::from(keep_permille) / ONE,
            // A hash chooses from 0 to fanout: half of it on average.
            OperatorKind::FlatMap { fanout } => sum * u64::from(fanout) / 2,
            OperatorKind::Join => arriving.iter().copied().min().unwrap_or(0),
            _ => sum,
        };
        self.flow[operator] = Flow { arriving: sum, leaving };
    }

    /// An operator of an earlier layer, rather one that leads nowhere yet; none that is connected
    /// already, unless to a join, which may meet one stream twice.
    fn upstream(&self, place: &str, before: usize, operator: usize) -> Option<usize> {
        let mut stream = self.draws.of("upstream", place);
        let joins = self.operators[operator].kind == OperatorKind::Join;
        let connected =
            |from: usize| self.edges.iter().any(|edge| (edge.from, edge.to) == (from, operator));
        let free: Vec<usize> = (0..before).filter(|from| !connected(*from)).collect();
        let loose: Vec<usize> = free.iter().copied().filter(|from| !self.leads_on(*from)).collect();
        let among =
            if loose.is_empty() || permille_chance(&mut stream, 300) { &free } else { &loose };
        match stream.choice(among) {
            Some(from) => Some(*from),
            None => joins.then(|| stream.below(before as u64) as usize),
        }
    }

    fn leads_on(&self, from: usize) -> bool {
        self.edges.iter().any(|edge| edge.from == from)
    }

    fn add_sinks(&mut self) {
        let inner = self.operators.len();
        let count = weighted(&mut self.draws.of("sinks", ""), &[6, 3, 1]) + 1;
        for index in 0..count {
            let name = format!("sink-{index}");
            let mut stream = self.draws.of("sink", &name);
            let kind = stream.choice(&self.swarm.sinks).expect("some sinks are on").clone();
            self.add(name, kind);
            self.flow.push(Flow { arriving: 0, leaving: 0 });
        }
        for from in (0..inner).filter(|from| !self.leads_on(*from)).collect::<Vec<_>>() {
            let to = self.draws.of("drain", &from.to_string()).below(count as u64) as usize;
            self.feed(from, inner + to);
        }
        for sink in inner..inner + count {
            let fed = self.edges.iter().any(|edge| edge.to == sink);
            let mut stream = self.draws.of("tap", &sink.to_string());
            if !fed || permille_chance(&mut stream, 100) {
                // Sinks are fed by operators rather than by sources, if there is one.
                let from = stream.between(self.sources as u64, inner as u64 - 1) as usize;
                self.feed(from, sink);
            }
        }
    }

    fn feed(&mut self, from: usize, sink: usize) {
        if !self.edges.iter().any(|edge| (edge.from, edge.to) == (from, sink)) {
            self.flow[sink].arriving += self.connect(from, sink, 0);
        }
    }

    /// Adds an edge; says how much flows through it.
    fn connect(&mut self, from: usize, to: usize, input: u32) -> u64 {
        let (sender, receiver) = (&self.operators[from], &self.operators[to]);
        let keyed = receiver.kind.is_keyed();
        let even = sender.parallelism == receiver.parallelism;
        let legal = |it: &Partitioner| match it {
            Partitioner::Forward => even && !keyed,
            Partitioner::Hash => true,
            Partitioner::Rebalance | Partitioner::Rescale => !keyed,
            // Copies of copies would be most of all records.
            Partitioner::Broadcast => !keyed && self.flow[from].leaving <= 2 * ONE,
        };
        let legal: Vec<Partitioner> =
            self.swarm.partitioners.iter().copied().filter(legal).collect();
        let default = if keyed { Partitioner::Hash } else { Partitioner::Rebalance };
        let mut stream =
            self.draws.of("edge", &format!("{} -> {} {input}", sender.name, receiver.name));
        let partitioner = stream.choice(&legal).copied().unwrap_or(default);
        let copies = match partitioner {
            Partitioner::Broadcast => u64::from(receiver.parallelism),
            _ => 1,
        };
        self.edges.push(Edge { from, to, input, partitioner, chained: false, feedback: None });
        self.flow[from].leaving * copies
    }

    fn add(&mut self, name: String, kind: OperatorKind) -> usize {
        let mut stream = self.draws.of("shape", &name);
        let drawn = stream.between(1, u64::from(self.options.parallelism_max.max(1))) as u32;
        let parallelism = self.swarm.parallelism.unwrap_or(drawn);
        let max_parallelism = match stream.below(4) {
            0 => parallelism + stream.below(5) as u32,
            1 => 1 << stream.between(2, 12),
            _ => 128,
        };
        let state_per_key = match kind {
            OperatorKind::KeyedAggregate if self.swarm.state_per_key => {
                log_between(&mut stream, 10, 10_000)
            }
            OperatorKind::Join if self.swarm.state_per_key => log_between(&mut stream, 10, 500),
            _ => 0,
        };
        let cost = log_between(&mut stream, 1, 50);
        let sync = log_between(&mut stream, 1, 5_000);
        let cost = distribution(&mut stream, cost);
        let sync_cost = distribution(&mut stream, sync);
        self.operators.push(Operator {
            name,
            kind,
            parallelism,
            max_parallelism,
            cost,
            sync_cost,
            state_per_key,
        });
        self.operators.len() - 1
    }

    /// Now that the flows are known: how many records there are, how fast, and who is slow.
    fn finish(mut self) -> Drawn {
        let total: u64 = self.flow.iter().map(|flow| flow.arriving).sum();
        let mut stream = self.draws.of("records", "");
        let budget = log_between(&mut stream, RECORDS_MIN, self.options.records_max);
        let each = (budget * ONE / total.max(ONE)).max(20);
        let ms = log_between(&mut self.draws.of("span", ""), 300, 5_000);
        let span = VirtualDuration::from_millis(ms);
        let unbounded = self.options.unbounded && !self.options.exactly_once_output;
        let mut bounded = !(unbounded && self.draws.is("unbounded", 100));
        let weight = match self.draws.of("weight", "").below(5) {
            0 => log_between(&mut self.draws.of("weight", "heavy"), 2, 20) as u32,
            _ => 1,
        };
        for operator in &mut self.operators {
            let OperatorKind::Source(source) = &mut operator.kind else { continue };
            let mut stream = self.draws.of("workload", &operator.name);
            let share = [each, each / 2, each / 10][weighted(&mut stream, &[7, 2, 1])];
            let records = share / u64::from(source.splits) + 1;
            source.records = bounded.then_some(records);
            let early = match permille_chance(&mut stream, 300) {
                true => stream.between(2, 10),
                false => 1,
            };
            source.every = VirtualDuration::from_micros((ms * 1_000 / records / early).max(1));
            source.weight = weight;
        }
        let mut records: Vec<u64> =
            self.flow.iter().map(|flow| flow.arriving * each / ONE).collect();
        bounded &= !(unbounded && bounded && self.mix_sources());
        self.slow_one_down(&records, span, weight);
        self.vary_transactional_sinks();
        self.vary_event_time(span);
        self.vary_discovery(span);
        self.vary_list_state(&mut records);
        self.vary_history();
        self.vary_loops(&mut records);
        self.vary_chains(&mut records);
        // Commit handles are few.
        records.resize(self.operators.len(), 0);
        let splits: u64 = self.sources().map(|source| u64::from(source.splits)).sum();
        let bytes_max = self.sources().map(|source| u64::from(source.record_bytes)).max();
        let state = |(operator, records): (&Operator, &u64)| {
            let cells = match operator.kind {
                OperatorKind::Join => *records,
                _ => (*records).min(200 * splits),
            };
            operator.state_per_key * cells
        };
        Drawn {
            bytes: records.iter().sum::<u64>() * bytes_max.unwrap_or(0) * u64::from(weight),
            state: self.operators.iter().zip(&records).map(state).sum(),
            job: Job { operators: self.operators, edges: self.edges, operator_chaining: true },
            records,
            weight,
            span,
            bounded,
        }
    }

    /// Some jobs have sources that end beside such that do not: they end as if none did. Whether this
    /// is one of them.
    fn mix_sources(&mut self) -> bool {
        if self.sources < 2 || !self.draws.is("mixed sources", 250) {
            return false;
        }
        let mut stream = self.draws.of("mixed sources", "which");
        let ends = stream.below(self.sources as u64) as usize;
        let goes_on = (ends + 1 + stream.below(self.sources as u64 - 1) as usize) % self.sources;
        for (index, operator) in self.operators[..self.sources].iter_mut().enumerate() {
            let OperatorKind::Source(source) = &mut operator.kind else { continue };
            if index == goes_on || index != ends && stream.below(2) == 0 {
                source.records = None;
            }
        }
        true
    }

    /// Some of the transactional sinks commit in another way: through a committer downstream, or by
    /// batches. Drawn last, so that the rest of the job is what it would be without.
    fn vary_transactional_sinks(&mut self) {
        for sink in 0..self.operators.len() {
            if self.operators[sink].kind != OperatorKind::TwoPhaseCommitSink {
                continue;
            }
            let name = self.operators[sink].name.clone();
            let mut stream = self.draws.of("sink kind", &name);
            match weighted(&mut stream, &[6, 2, 2]) {
                0 => {}
                1 => self.operators[sink].kind = OperatorKind::WriteAheadSink,
                _ => {
                    self.operators[sink].kind = OperatorKind::SinkWriter;
                    let to = self.add(name.replace("sink", "committer"), OperatorKind::Committer);
                    let parallelism = self.operators[sink].parallelism;
                    // As many committers as writers, or one for all.
                    let (parallelism, partitioner) = match stream.below(3) {
                        0 => (1, Partitioner::Rebalance),
                        1 => (parallelism, Partitioner::Hash),
                        _ => (parallelism, Partitioner::Forward),
                    };
                    let committer = &mut self.operators[to];
                    committer.parallelism = parallelism;
                    committer.max_parallelism = committer.max_parallelism.max(parallelism);
                    let edge = Edge {
                        from: sink,
                        to,
                        input: 0,
                        partitioner,
                        chained: false,
                        feedback: None,
                    };
                    self.edges.push(edge);
                }
            }
        }
    }

    /// Some jobs have event time: sources tell how far they are, and what would be counted by key
    /// is collected in windows. Drawn last, for the same reason.
    fn vary_event_time(&mut self, span: VirtualDuration) {
        // Output that is a function of the sources alone has nothing that goes by timing.
        let strict = self.options.exactly_once_output;
        let joins = self.operators.iter().any(|operator| operator.kind == OperatorKind::Join);
        if !self.draws.is("event time", 400) || strict && joins {
            return;
        }
        let mut stream = self.draws.of("event time", "of all");
        let disorder = match stream.below(2) {
            0 => VirtualDuration::ZERO,
            _ => VirtualDuration(log_between(&mut stream, 1_000_000, span.0 / 4)),
        };
        // Mostly each source keeps to what it promises: then windows are compared to the record.
        let keeps = permille_chance(&mut stream, 700) || strict;
        let idles = permille_chance(&mut stream, 250) && !strict;
        for operator in &mut self.operators {
            let mut stream = self.draws.of("event time", &operator.name);
            match &mut operator.kind {
                OperatorKind::Source(source) => {
                    source.disorder = disorder;
                    let bound = if keeps { disorder } else { VirtualDuration(disorder.0 / 2) };
                    let ms = log_between(&mut stream, 1, 400);
                    let idle = stream.between(1, 20) * source.every.0;
                    source.watermarks = Some(Watermarks {
                        out_of_orderness: bound,
                        interval: VirtualDuration::from_millis(ms - 1),
                        idle_timeout: idles.then_some(VirtualDuration(idle)),
                    });
                    if permille_chance(&mut stream, 50) {
                        source.watermarks = None;
                    }
                }
                OperatorKind::KeyedAggregate if stream.below(3) > 0 => {
                    let size = log_between(&mut stream, span.0 / 50, span.0 * 2);
                    let slide = match stream.below(3) {
                        0 => size.div_ceil(stream.between(2, 4)),
                        _ => size,
                    };
                    let (size, slide) = (VirtualDuration(size), VirtualDuration(slide));
                    operator.kind = OperatorKind::Window { size, slide };
                }
                _ => {}
            }
        }
    }

    /// Some sources have an enumerator, which finds their splits one after another. Drawn last.
    fn vary_discovery(&mut self, span: VirtualDuration) {
        let windows = self.operators.iter().any(|operator| operator.kind.is_window());
        if self.options.exactly_once_output && windows {
            return;
        }
        for operator in &mut self.operators {
            let OperatorKind::Source(source) = &mut operator.kind else { continue };
            let mut stream = self.draws.of("discovery", &operator.name);
            let ends = source.records.is_some() || source.splits <= operator.parallelism;
            if !permille_chance(&mut stream, 150) || !ends {
                continue;
            }
            let every = match stream.below(3) {
                0 => VirtualDuration::ZERO,
                _ => VirtualDuration(stream.below(span.0 / u64::from(source.splits) + 1)),
            };
            let snapshot = VirtualDuration::from_micros(log_between(&mut stream, 1, 20_000) - 1);
            source.discovery = Some(Discovery { every, snapshot });
        }
    }

    /// Some sources begin with records that were there before them, or leave them out. Drawn last.
    fn vary_history(&mut self) {
        for operator in &mut self.operators {
            let OperatorKind::Source(source) = &mut operator.kind else { continue };
            let mut stream = self.draws.of("history", &operator.name);
            if !permille_chance(&mut stream, 150) {
                continue;
            }
            source.history = stream.below(source.records.unwrap_or(100) / 2 + 1);
            if stream.below(2) == 0 {
                source.startup_mode = StartupMode::LatestOffset;
            }
        }
    }

    fn sources(&self) -> impl Iterator<Item = &Source> {
        self.operators.iter().filter_map(|operator| operator.kind.as_source())
    }

    /// Backpressure: one operator needs about as long for its records as they take to come, or
    /// up to three times as long.
    fn slow_one_down(&mut self, records: &[u64], span: VirtualDuration, weight: u32) {
        let moves = moves_in_flight(self.options, self.draws);
        if !self.draws.is("backpressure", 350) && !moves {
            return;
        }
        let mut stream = self.draws.of("backpressure", "who");
        let slow = stream.between(self.sources as u64, self.operators.len() as u64 - 1) as usize;
        if self.operators[slow].kind.as_source().is_some() {
            return; // One of a second pipeline: nothing arrives at it.
        }
        let permille = stream.between(700, 3_000);
        let work = VirtualDuration(span.0 / ONE * permille);
        let each = records[slow].max(1) * u64::from(weight);
        let parallelism = u64::from(self.operators[slow].parallelism);
        let mean = VirtualDuration((work.0 * parallelism / each).clamp(1_000, 20_000_000));
        self.operators[slow].cost = match stream.below(2) {
            0 => Distribution::Constant(mean),
            _ => Distribution::Exponential { min: VirtualDuration::ZERO, mean },
        };
    }
}
