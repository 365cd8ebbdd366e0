//! Options back to their defaults, and how far a scenario is from having nothing but defaults.

use std::sync::OnceLock;

use cutline::config::RestartStrategy;
use cutline::operator::StartupMode;
use cutline::time::VirtualDuration;

use super::edit::Edit;
use super::visit;
use crate::kernel::distribution::Distribution;
use crate::scenario::load;
use crate::scenario::model::{ListMode, OperatorKind, Scenario};

/// The smallest job that loads: all it does not say has its default.
const PLAIN: &str = r#"{
  "format": "cutline-scenario/1", "title": "plain", "why": "Defaults.",
  "job": {
    "operators": [
      { "name": "source", "kind": "source", "records": 1, "keys": 1, "record_size": "1 b" },
      { "name": "sink", "kind": "idempotent_sink" }
    ],
    "edges": [{ "from": "source", "to": "sink" }]
  },
  "checkpointing": { "interval": "1 s" }
}"#;

/// A scenario of defaults.
pub(super) fn plain() -> &'static Scenario {
    static LOADED: OnceLock<Scenario> = OnceLock::new();
    LOADED.get_or_init(|| {
        let loaded = load(PLAIN.as_bytes(), "plain", &[]);
        loaded.expect("the plain scenario is valid; tested").scenario
    })
}

/// A setting with a default.
struct Knob {
    name: &'static str,
    differs: fn(&Scenario, &Scenario) -> bool,
    reset: fn(&mut Scenario, &Scenario),
}

macro_rules! knobs {
    ($($name:literal: $($part:ident).+),+ $(,)?) => {
        &[$(Knob {
            name: $name,
            differs: |a, b| a.$($part).+ != b.$($part).+,
            reset: |a, b| a.$($part).+.clone_from(&b.$($part).+),
        }),+]
    };
}

const KNOBS: &[Knob] = knobs! {
    "checkpointing.unaligned": checkpointing.unaligned,
    "checkpointing.unaligned_forced": checkpointing.unaligned_forced,
    "checkpointing.aligned_timeout": checkpointing.aligned_timeout,
    "checkpointing.mode": checkpointing.exactly_once,
    "checkpointing.max_concurrent": checkpointing.max_concurrent,
    "checkpointing.min_pause": checkpointing.min_pause,
    "checkpointing.retained": checkpointing.retained,
    "checkpointing.retention": checkpointing.retention,
    "checkpointing.dir": checkpointing.dir,
    "checkpointing.incremental": checkpointing.incremental,
    "checkpointing.local_recovery": checkpointing.local_recovery,
    "checkpointing.inline_threshold": checkpointing.inline_threshold,
    "changelog": checkpointing.changelog,
    "checkpointing.timeout": checkpointing.timeout,
    "checkpointing.tolerable_failures": checkpointing.tolerable_failures,
    "checkpointing.checkpoints_after_tasks_finish": checkpointing.checkpoints_after_tasks_finish,
    "checkpointing.initial_delay": checkpointing.initial_delay,
    "restart": restart,
    "buffers.buffers_per_channel": buffers.buffers_per_channel,
    "buffers.floating_per_gate": buffers.floating_per_gate,
    "buffers.max_per_subpartition": buffers.max_per_subpartition,
    "buffers.debloat": buffers.debloat,
    "cluster.job_managers": cluster.job_managers,
    "cluster.heartbeat_interval": cluster.heartbeat_interval,
    "cluster.heartbeat_timeout": cluster.heartbeat_timeout,
    "cluster.heartbeat_rpc_failure_threshold": cluster.rpc_failures,
    "cluster.ask_timeout": cluster.ask_timeout,
    "cluster.cancellation_timeout": cluster.cancellation_timeout,
    "cluster.failover_strategy": cluster.failover,
    "cluster.connection_loss": cluster.connection_loss,
    "cluster.process_restart": cluster.process_restart,
    "cluster.deploy": cluster.deploy,
    "network.latency": network.latency,
    "network.bandwidth": network.bandwidth,
    "network.control_latency": network.control_latency,
    "network.links": network.links,
    "storage.latency": storage.latency,
    "storage.bandwidth": storage.bandwidth,
    "storage.visibility": storage.visibility,
    "storage.name_node": storage.name_node,
    "storage.requests_per_prefix": storage.requests_per_prefix,
    "storage.part_size": storage.part_size,
    "storage.sync": storage.sync,
    "storage.write_back": storage.write_back,
    "storage.attempts": storage.client.attempts,
    "storage.backoff": storage.client.backoff,
    "storage.timeout": storage.client.timeout,
    "ha.latency": ha.latency,
    "ha.election": ha.election,
    "external.latency": external.latency,
    "external.transaction_timeout": external.transaction_timeout,
    "external.commit_retries": external.commit_retries,
    "failures": failures,
    "limits.events": limits.events,
};

/// How many settings differ from their defaults; a distribution that is not constant counts too,
/// although some defaults are none.
pub(super) fn unusual(scenario: &Scenario) -> u64 {
    let differ = KNOBS.iter().filter(|knob| (knob.differs)(scenario, plain())).count() as u64;
    let own: u64 = scenario.job.operators.iter().map(|operator| kind(&operator.kind)).sum();
    // Costs are to be seen in the distributions; there is one plain value of each.
    let operators = scenario.job.operators.iter();
    let model = &plain().job.operators[1];
    let costs: u64 = operators
        .map(|it| {
            u64::from(it.cost != model.cost)
                + u64::from(it.sync_cost != model.sync_cost)
                + u64::from(it.state_per_key > 0)
                + u64::from(it.max_parallelism != model.max_parallelism)
        })
        .sum();
    let random = visit::distributions(&mut scenario.clone())
        .iter()
        .filter(|it| !matches!(it, Distribution::Constant(_)))
        .count() as u64;
    let manual = scenario.manual.len() as u64;
    let chained = scenario.job.edges.iter().filter(|edge| edge.chained).count() as u64;
    differ + own + costs + random + manual + chained
}

/// How much there is to say about what an operator does.
fn kind(kind: &OperatorKind) -> u64 {
    match kind {
        OperatorKind::Source(source) => {
            u64::from(source.keys > 1)
                + u64::from(source.weight > 1)
                + u64::from(source.record_bytes > 1)
                + u64::from(source.splits > 1)
                + u64::from(source.records.is_none())
                + u64::from(source.disorder > VirtualDuration::ZERO)
                + u64::from(source.discovery.is_some())
                + u64::from(source.key_run > 1)
                + u64::from(source.history > 0)
                + u64::from(source.startup_mode == StartupMode::LatestOffset)
                + u64::from(source.list_mode == ListMode::Union)
                + source
                    .watermarks
                    .as_ref()
                    .map_or(0, |it| 1 + u64::from(it.idle_timeout.is_some()))
        }
        OperatorKind::Map { rekey } => u64::from(rekey.is_some()),
        OperatorKind::Filter { .. } | OperatorKind::FlatMap { .. } => 2,
        OperatorKind::KeyedAggregate => 1,
        OperatorKind::Join | OperatorKind::Buffer { .. } | OperatorKind::BroadcastJoin => 2,
        OperatorKind::Async { ordered, .. } => 2 + u64::from(!ordered),
        OperatorKind::Window { size, slide } => 2 + u64::from(size != slide),
        OperatorKind::IdempotentSink
        | OperatorKind::TwoPhaseCommitSink
        | OperatorKind::SinkWriter
        | OperatorKind::Committer
        | OperatorKind::AtLeastOnceSink => 0,
        OperatorKind::WriteAheadSink => 1,
    }
}

/// Settings back to their defaults: all at once, halves of them, each.
pub(super) fn defaults(scenario: &Scenario) -> Vec<Edit> {
    let unusual: Vec<&Knob> =
        KNOBS.iter().filter(|knob| (knob.differs)(scenario, plain())).collect();
    let reset = |knobs: &[&Knob]| {
        let mut edited = scenario.clone();
        knobs.iter().for_each(|knob| (knob.reset)(&mut edited, plain()));
        let names: Vec<&str> = knobs.iter().map(|knob| knob.name).collect();
        Edit::new(format!("with the default of {}", names.join(", ")), edited)
    };
    let half = unusual.len() / 2;
    let mut edits = vec![reset(&unusual)];
    if half > 0 {
        edits.extend([reset(&unusual[..half]), reset(&unusual[half..])]);
    }
    edits.extend(single_defaults(scenario));
    edits
}

/// Settings back to their defaults, one at a time.
pub(super) fn single_defaults(scenario: &Scenario) -> Vec<Edit> {
    let unusual = KNOBS.iter().filter(|knob| (knob.differs)(scenario, plain()));
    let reset = unusual.map(|knob| {
        let mut edited = scenario.clone();
        (knob.reset)(&mut edited, plain());
        Edit::new(format!("with the default of {}", knob.name), edited)
    });
    reset.collect()
}

/// Settings of operators back to their defaults.
pub(super) fn operators(scenario: &Scenario) -> Vec<Edit> {
    let model = &plain().job.operators[1];
    let mut edits = Vec::new();
    let mut all = scenario.clone();
    for (index, operator) in all.job.operators.iter_mut().enumerate() {
        let name = &scenario.job.operators[index].name;
        let mut one = scenario.clone();
        for of in [&mut *operator, &mut one.job.operators[index]] {
            of.cost = model.cost;
            of.sync_cost = model.sync_cost;
            of.state_per_key = 0;
            of.max_parallelism = of.max_parallelism.min(model.max_parallelism);
        }
        edits.push(Edit::new(format!("with default costs of {name}"), one));
        let mut one = scenario.clone();
        one.job.operators[index].max_parallelism = model.max_parallelism;
        edits.push(Edit::new(format!("with the default key groups of {name}"), one));
        let mut one = scenario.clone();
        one.job.operators[index].state_per_key = 0;
        edits.push(Edit::new(format!("with the state of {name} as it is"), one));
    }
    edits.insert(0, Edit::new("with default costs", all));
    edits
}

/// Distributions that always give the same: all of them, then each.
pub(super) fn constants(scenario: &Scenario) -> Vec<Edit> {
    let mut all = scenario.clone();
    let mut edits = Vec::new();
    for (index, distribution) in visit::distributions(&mut all).into_iter().enumerate() {
        let typical = typical(distribution);
        if *distribution == typical {
            continue;
        }
        *distribution = typical;
        let mut one = scenario.clone();
        *visit::distributions(&mut one)[index] = typical;
        edits.push(Edit::new("with a constant in the place of a distribution", one));
    }
    edits.insert(0, Edit::new("with constant latencies", all));
    edits
}

/// Latencies that vary much: a race that chance has hidden may show again.
pub(super) fn shaken(scenario: &Scenario) -> Scenario {
    let up_to = |ms| Distribution::Uniform {
        min: VirtualDuration::ZERO,
        max: VirtualDuration::from_millis(ms),
    };
    let mut shaken = scenario.clone();
    shaken.network.latency = up_to(5);
    shaken.network.control_latency = up_to(20);
    shaken.storage.latency = up_to(50);
    shaken
}

fn typical(distribution: &Distribution) -> Distribution {
    Distribution::Constant(match *distribution {
        Distribution::Constant(span) => span,
        Distribution::Uniform { min, max } => VirtualDuration(min.0 / 2 + max.0 / 2),
        Distribution::Exponential { mean, .. } => mean,
        Distribution::LogNormal { median, .. } => median,
    })
}

/// A restart that takes no time: the shortest that is as patient as any.
pub(super) fn quick_restart(scenario: &Scenario) -> Vec<Edit> {
    let mut edited = scenario.clone();
    edited.restart =
        RestartStrategy::FixedDelay { attempts: 1_000, delay: VirtualDuration::from_millis(1) };
    vec![Edit::new("with restarts at once", edited)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_scenario_has_nothing_unusual_but_latencies_that_vary() {
        let mut constant = plain().clone();
        let mut random = 0;
        for distribution in visit::distributions(&mut constant) {
            random += u64::from(!matches!(distribution, Distribution::Constant(_)));
            *distribution = typical(distribution);
        }
        assert!(random > 0);
        assert_eq!(unusual(plain()), random);
        assert!(KNOBS.iter().all(|knob| !(knob.differs)(plain(), plain())));
    }
}
