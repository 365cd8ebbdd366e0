//! What checkpoints do while nothing fails: freshness, cadence, messages, barriers, alignment, and
//! the share of keys that is written between two of them.

use std::collections::{BTreeMap, BTreeSet};

use cutline::ids::CheckpointId;
use cutline::model::alignment::Delays;
use cutline::model::barrier::{Exchange, Topology};
use cutline::model::freshness::{Cadence, Visibility};
use cutline::model::storage::dirty_uniform;
use cutline::model::{Probability, Seconds};
use cutline::time::VirtualTime;
use serde_json::{Value, json};

use super::Row;
use super::world::{Stream, measures, of, run, seconds};
use crate::observe::{CutKind, Observation};
use crate::run::Outcome;
use crate::sweep::metric::Unit;
use crate::sweep::statistics::mean_and_error;

pub(super) const EXPERIMENTS: [fn() -> Vec<Row>; 5] =
    [freshness, cadence, messages_and_barriers, alignment, dirty_share];

fn calm(interval: f64, duration: f64, until: f64) -> Stream {
    Stream { every: 0.01, work: 0.001, cost: 0.0, duration, downtime: 1.0, interval, until }
}

/// From when a record is due until its transaction is committed.
fn freshness() -> Vec<Row> {
    let mut rows = Vec::new();
    for (interval, duration) in [(10.0, 2.0), (5.0, 0.5)] {
        let stream = calm(interval, duration, interval * 20.5);
        let outcome = run(&stream.scenario(), 0, false);
        let it = measures(&outcome);
        let visible = Visibility {
            interval: of(interval),
            duration: of(it.duration.mean_s().expect("there are checkpoints")),
            commit: Seconds::ZERO,
        };
        let share = |q| Probability::new(q).expect("a share");
        let of_commit = &it.commit_latency;
        for (name, predicted, simulated) in [
            ("mean", visible.mean(Probability::ZERO).expect("none fails"), of_commit.mean_s()),
            ("p50", visible.quantile(share(0.5)), of_commit.quantile_s(500)),
            ("p99", visible.quantile(share(0.99)), of_commit.quantile_s(990)),
        ] {
            rows.push(Row {
                of: "visible after",
                case: format!("{name}, T = {interval} s, d = {duration} s"),
                unit: Some(Unit::Seconds),
                predicted,
                simulated: simulated.expect("records are committed"),
                allowed: 0.01 * predicted,
                bound: "times are kept to T/512, quantiles to 0.4 %",
            });
        }
    }
    rows
}

/// How often checkpoints are, if they take longer than the interval, or must pause.
fn cadence() -> Vec<Row> {
    let row = |(interval, duration, pause): (f64, f64, f64)| {
        let until = 200.0 * (interval.max(duration + pause));
        let mut scenario = calm(interval, duration, until).scenario();
        if pause > 0.0 {
            scenario["checkpointing"]["min_pause"] = json!(super::world::span(pause));
        }
        let outcome = run(&scenario, 0, true);
        let triggered: Vec<VirtualTime> =
            times(&outcome, |observation| matches!(observation, Observation::Triggered { .. }));
        let duration = measures(&outcome).duration.mean_s().expect("there are checkpoints");
        let cadence = Cadence::new(of(interval), of(duration), of(pause)).expect("some time");
        let [Some(first), Some(last)] = [triggered.first(), triggered.last()] else {
            panic!("there are checkpoints")
        };
        let gaps = (triggered.len() - 1) as f64;
        Row {
            of: "from trigger to trigger",
            case: format!("interval {interval} s, d = {duration:.3} s, min pause {pause} s"),
            unit: Some(Unit::Seconds),
            predicted: cadence.interval,
            simulated: seconds(last.since(*first)) / gaps,
            allowed: 0.001 * cadence.interval,
            bound: "the timer counts milliseconds",
        }
    };
    [(5.0, 1.0, 0.0), (0.01, 2.0, 0.0), (1.0, 2.0, 3.0)].into_iter().map(row).collect()
}

fn times(outcome: &Outcome, is_it: impl Fn(&Observation) -> bool) -> Vec<VirtualTime> {
    let trace = outcome.trace.iter().flatten();
    trace.filter(|(_, observation)| is_it(observation)).map(|(at, _)| *at).collect()
}

/// What is counted of a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    messages: u64,
    barriers: u64,
    is_complete: bool,
}

fn counted(outcome: &Outcome) -> BTreeMap<CheckpointId, Counted> {
    let mut all: BTreeMap<CheckpointId, Counted> = BTreeMap::new();
    for (_, observation) in outcome.trace.iter().flatten() {
        match *observation {
            Observation::Cut { checkpoint, how: CutKind::Source, .. }
            | Observation::Acknowledged { checkpoint, .. }
            | Observation::NotifiedComplete { checkpoint, .. } => {
                all.entry(checkpoint).or_default().messages += 1;
            }
            Observation::BarrierSent { checkpoint, .. } => {
                all.entry(checkpoint).or_default().barriers += 1;
            }
            Observation::Completed { checkpoint } => {
                all.entry(checkpoint).or_default().is_complete = true;
            }
            _ => {}
        }
    }
    all
}

/// An operator by kind and parallelism.
type Node = (&'static str, u32);
/// From, to, partitioner, and how it connects.
type Edge = (usize, usize, &'static str, Exchange);

/// Messages of the coordinator and barriers of a checkpoint, for every one that completes.
fn messages_and_barriers() -> Vec<Row> {
    use Exchange::{AllToAll, Pointwise};
    let jobs: [(&str, &[Node], &[Edge]); 4] = [
        (
            "2 → 2 → 2, forward",
            &[("source", 2), ("map", 2), ("idempotent_sink", 2)],
            &[(0, 1, "forward", Pointwise), (1, 2, "forward", Pointwise)],
        ),
        (
            "8 → 8 → 4, all to all",
            &[("source", 8), ("keyed_aggregate", 8), ("idempotent_sink", 4)],
            &[(0, 1, "hash", AllToAll), (1, 2, "rebalance", AllToAll)],
        ),
        (
            "2 → 6 → 3, rescale",
            &[("source", 2), ("map", 6), ("idempotent_sink", 3)],
            &[(0, 1, "rescale", Pointwise), (1, 2, "rescale", Pointwise)],
        ),
        (
            "3 and 2 joined by 4 → 2",
            &[("source", 3), ("source", 2), ("join", 4), ("idempotent_sink", 2)],
            &[(0, 2, "hash", AllToAll), (1, 2, "hash", AllToAll), (2, 3, "rebalance", AllToAll)],
        ),
    ];
    jobs.iter().flat_map(|(name, nodes, edges)| rows_of_job(name, nodes, edges)).collect()
}

fn rows_of_job(name: &str, nodes: &[Node], edges: &[Edge]) -> Vec<Row> {
    let operators = nodes.iter().enumerate().map(|(index, (kind, parallelism))| {
        let mut node = json!({
            "name": format!("operator-{index}"), "kind": kind, "parallelism": parallelism,
        });
        if *kind == "source" {
            node["every"] = json!("50 ms");
        }
        node
    });
    let connected = edges.iter().map(|(from, to, partitioner, _)| {
        json!({
            "from": format!("operator-{from}"), "to": format!("operator-{to}"),
            "partitioner": partitioner,
        })
    });
    let scenario = json!({
        "format": "cutline-scenario/1",
        "title": "A job that is counted",
        "why": "Messages and barriers are counted exactly.",
        "job": {
            "operators": operators.collect::<Vec<_>>(), "edges": connected.collect::<Vec<_>>(),
        },
        "checkpointing": { "interval": "1 s", "initial_delay": "1 s" },
        "limits": { "until": "10500 ms" },
    });
    let outcome = run(&scenario, 0, true);
    let complete: Vec<Counted> =
        counted(&outcome).into_values().filter(|it| it.is_complete).collect();
    assert!(complete.len() >= 9, "{complete:?}");
    let parallelism = nodes.iter().map(|node| u64::from(node.1)).collect();
    let exchanges = edges.iter().map(|(from, to, _, exchange)| (*from, *to, *exchange)).collect();
    let topology = Topology::new(parallelism, exchanges).expect("the edges lead somewhere");
    let messages = topology.source_subtasks() + 2 * topology.subtasks();
    let row = |of, predicted: u64, count: &dyn Fn(&Counted) -> u64| {
        // The one that is farthest off stands for all.
        let farthest = complete.iter().map(count).max_by_key(|found| found.abs_diff(predicted));
        Row {
            of,
            case: format!("{name}, each of {} checkpoints", complete.len()),
            unit: None,
            predicted: predicted as f64,
            simulated: farthest.expect("some are complete") as f64,
            allowed: 0.0,
            bound: "",
        }
    };
    vec![
        row("coordinator messages", messages, &|it| it.messages),
        row("barriers", topology.barriers(), &|it| it.barriers),
    ]
}

/// Sources on hosts of their own, whose triggers come late independently: so do their barriers.
fn aligned(channels: u32, delay: Value) -> Outcome {
    let scenario = json!({
        "format": "cutline-scenario/1",
        "title": "Barriers that come late",
        "why": "One subtask aligns the barriers of many sources.",
        "job": {
            "operators": [
                {
                    "name": "source", "kind": "source", "parallelism": channels,
                    "every": "100 s", "sync_cost": "0 ms",
                },
                { "name": "sink", "kind": "idempotent_sink", "sync_cost": "0 ms" },
            ],
            "edges": [{ "from": "source", "to": "sink", "partitioner": "rebalance" }],
        },
        "checkpointing": { "interval": "5 s", "initial_delay": "5 s" },
        "cluster": { "task_managers": channels },
        "network": { "latency": "0 ms", "control_latency": delay },
        "limits": { "until": "8002 s" },
    });
    run(&scenario, 0, true)
}

/// From the first barrier to the last, and how long channels are blocked meanwhile.
fn alignment() -> Vec<Row> {
    let exponential = (
        "exponential delays",
        json!({ "exponential": { "min": "0 ms", "mean": "50 ms" } }),
        Delays::Exponential { mean: of(0.05) },
    );
    let uniform = (
        "uniform delays",
        json!({ "uniform": ["0 ms", "200 ms"] }),
        Delays::Uniform { width: of(0.2) },
    );
    let mut rows = Vec::new();
    for (name, delay, law) in [exponential, uniform] {
        for channels in [2, 8] {
            let outcome = aligned(channels, delay.clone());
            let (ranges, blocked) = waits(&outcome);
            let form = law.alignment(u64::from(channels)).expect("there are channels");
            for (of, samples, predicted) in
                [("alignment", ranges, form.range), ("blocked channel time", blocked, form.blocked)]
            {
                let (simulated, error) = mean_and_error(&samples);
                rows.push(Row {
                    of,
                    case: format!("{channels} channels, {name}, {} checkpoints", samples.len()),
                    unit: Some(Unit::Seconds),
                    predicted,
                    simulated,
                    allowed: 4.0 * error,
                    bound: "4 standard errors",
                });
            }
        }
    }
    rows
}

/// Of each checkpoint: from the first barrier to the last, and the sum of all waits for the last.
fn waits(outcome: &Outcome) -> (Vec<f64>, Vec<f64>) {
    let mut arrived: BTreeMap<CheckpointId, Vec<VirtualTime>> = BTreeMap::new();
    for (at, observation) in outcome.trace.iter().flatten() {
        if let Observation::BarrierReceived { checkpoint, .. } = *observation {
            arrived.entry(checkpoint).or_default().push(*at);
        }
    }
    let wait = |times: &Vec<VirtualTime>| {
        let last = times.last().expect("one at least");
        let waits = times.iter().map(|at| seconds(last.since(*at)));
        (seconds(last.since(times[0])), waits.sum::<f64>())
    };
    arrived.values().map(wait).unzip()
}

/// Distinct keys between two cuts, over all keys. The keys of a source come from one multiplication
/// of their offsets and keep something of its order (up to 5 % fewer are distinct than of
/// independent ones); a second one, by a map, spreads them.
fn dirty_share() -> Vec<Row> {
    const KEYS: u32 = 10_000;
    let row = |interval: f64| {
        let scenario = json!({
            "format": "cutline-scenario/1",
            "title": "Keys that are written",
            "why": "An incremental snapshot holds what was written since the last one.",
            "job": {
                "operators": [
                    {
                        "name": "source", "kind": "source", "splits": 1, "every": "1 ms",
                        "keys": u32::MAX,
                    },
                    { "name": "spread", "kind": "map", "rekey": KEYS },
                    { "name": "count", "kind": "keyed_aggregate" },
                    { "name": "sink", "kind": "idempotent_sink" },
                ],
                "edges": [
                    { "from": "source", "to": "spread" }, { "from": "spread", "to": "count" },
                    { "from": "count", "to": "sink" },
                ],
            },
            "checkpointing": {
                "interval": super::world::span(interval),
                "initial_delay": super::world::span(interval),
            },
            "limits": { "until": super::world::span((40.0_f64).max(interval * 4.5)) },
        });
        let outcome = run(&scenario, 0, true);
        let (shares, updates) = between_cuts(&outcome, f64::from(KEYS));
        let count = shares.len() as f64;
        let updates = updates / count;
        Row {
            of: "dirty share",
            case: format!("{KEYS} keys, {updates:.0} updates between two checkpoints"),
            unit: Some(Unit::Share),
            predicted: dirty_uniform(updates, f64::from(KEYS)).expect("there are keys"),
            simulated: shares.iter().sum::<f64>() / count,
            allowed: 0.01 * dirty_uniform(updates, f64::from(KEYS)).expect("there are keys"),
            bound: "Poisson for binomial",
        }
    };
    [1.0, 5.0, 15.0].into_iter().map(row).collect()
}

/// The operator whose keys are counted.
const COUNT: usize = 2;

/// Of each interval, the share of keys that were updated; and all updates of these intervals.
fn between_cuts(outcome: &Outcome, keys: f64) -> (Vec<f64>, f64) {
    let graph = &outcome.plan.graph;
    let operator = |subtask| graph.operator(subtask).index();
    let (mut shares, mut all, mut updates) = (Vec::new(), 0.0, 0.0);
    let mut seen: Option<BTreeSet<u64>> = None;
    for (_, observation) in outcome.trace.iter().flatten() {
        match observation {
            Observation::Processed { channel, record }
                if operator(graph.channels()[channel.index()].to) == COUNT =>
            {
                if let Some(seen) = &mut seen {
                    seen.insert(u64::from(record.key));
                    updates += 1.0;
                }
            }
            Observation::Cut { subtask, .. } if operator(*subtask) == COUNT => {
                if let Some(seen) = &seen {
                    shares.push(seen.len() as f64 / keys);
                    all += updates;
                }
                (seen, updates) = (Some(BTreeSet::new()), 0.0);
            }
            _ => {}
        }
    }
    (shares, all)
}
