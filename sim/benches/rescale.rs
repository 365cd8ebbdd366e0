//! What a change of parallelism costs: 64 subtasks become 96, with an unaligned checkpoint full of
//! in-flight records, all checks on.
//!
//! `cargo bench -p cutline-sim --bench rescale`: 184 ms (183 to 186), on two cores of a virtual machine; it
//! is to stay below a second.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use cutline_sim::check::Verdict;
use cutline_sim::run::{Outcome, Simulation};
use cutline_sim::scenario::load;
use cutline_sim::scenario::model::Scenario;

const SCENARIO: &str = r#"{
  "format": "cutline-scenario/1",
  "title": "64 to 96",
  "why": "More than the job can take, so that channels are full when the line is drawn.",
  "job": {
    "operators": [
      { "name": "source", "kind": "source", "parallelism": 64, "splits": 192, "records": 60, "every": "3 ms", "keys": 5000 },
      { "name": "count", "kind": "keyed_aggregate", "parallelism": 64, "cost": "2 ms" },
      { "name": "sink", "kind": "two_phase_commit_sink", "parallelism": 64 }
    ],
    "edges": [
      { "from": "source", "to": "count", "partitioner": "hash" },
      { "from": "count", "to": "sink", "partitioner": "rebalance" }
    ]
  },
  "checkpointing": { "interval": "10 s", "initial_delay": "150 ms", "unaligned": true, "retention": "retain_on_cancellation" },
  "cluster": { "task_managers": 8, "slots": 12 },
  "actions": [
    { "at": { "step": "F5", "checkpoint": 1 }, "kind": "cancel" },
    { "at": "1 s", "kind": "resume", "from": "checkpoint", "parallelism": { "source": 96, "count": 96, "sink": 96 } }
  ],
  "limits": { "until": "60 s" }
}"#;

fn scenario() -> Arc<Scenario> {
    let loaded =
        load(SCENARIO.as_bytes(), "rescale", &[]).unwrap_or_else(|found| panic!("{found}"));
    Arc::new(loaded.scenario)
}

fn run(scenario: &Arc<Scenario>) -> Outcome {
    let outcome = Simulation::new(Arc::clone(scenario), 1).expect("it can run").run();
    assert_eq!(outcome.verdict, Verdict::Ok, "{:?}", outcome.violations);
    for wanted in ["rescaled up", "in-flight data rescaled", "in-flight records filtered"] {
        let seen = outcome.situations.iter().any(|(name, count)| *name == wanted && *count > 0);
        assert!(seen, "{wanted} was not seen");
    }
    outcome
}

fn rescale(criterion: &mut Criterion) {
    let scenario = scenario();
    let mut group = criterion.benchmark_group("rescale");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    group.bench_function("64 to 96, unaligned", |bencher| {
        bencher.iter(|| black_box(run(&scenario)));
    });
    group.finish();
}

criterion_group!(benches, rescale);
criterion_main!(benches);
