//! A trigger policy of one's own: the coordinator, the tasks, the world and the checks stay.
//!
//! It takes checkpoints more often for a while after each failure, since failures come in groups,
//! and less often the longer nothing happens. It decides when, and nothing else, so no choice of it
//! can make a checkpoint wrong: the checks agree. How much is lost is another matter.

use std::sync::Arc;

use cutline::time::{VirtualDuration, VirtualTime};
use cutline::trigger::policy::{CheckpointCost, Share, TriggerPolicy};
use cutline_sim::check::{Statistics, Verdict};
use cutline_sim::run::Simulation;
use cutline_sim::scenario::load;

const SHORTEST: VirtualDuration = VirtualDuration::from_millis(100);
const LONGEST: VirtualDuration = VirtualDuration::from_millis(1_600);

/// Records of the source below.
const RECORDS: u64 = 10_000;

/// Doubles the interval with each checkpoint, and begins again with each failure.
#[derive(Debug)]
struct Cautious {
    interval: VirtualDuration,
}

impl TriggerPolicy for Cautious {
    fn started(&mut self, now: VirtualTime, delay: VirtualDuration) -> VirtualTime {
        now + delay.min(self.interval)
    }

    fn fired(&mut self, _now: VirtualTime, due: VirtualTime) -> Option<VirtualTime> {
        Some(due + self.interval)
    }

    fn restored(&mut self, _now: VirtualTime, _share: Share) {
        self.interval = SHORTEST;
    }

    fn completed(&mut self, _now: VirtualTime, _took: CheckpointCost) {
        self.interval = VirtualDuration(2 * self.interval.as_nanos()).min(LONGEST);
    }
}

const SCENARIO: &str = r#"{
    "format": "cutline-scenario/1",
    "title": "A trigger policy of one's own",
    "why": "Three failures in a row, then none: what is read again is what the interval costs.",
    "job": {
        "operators": [
            { "name": "source", "kind": "source", "records": 10000 },
            { "name": "count", "kind": "keyed_aggregate", "parallelism": 2 },
            { "name": "sink", "kind": "two_phase_commit_sink" }
        ],
        "edges": [{ "from": "source", "to": "count" }, { "from": "count", "to": "sink" }]
    },
    "checkpointing": { "interval": "1600 ms" },
    "restart": { "type": "fixed_delay", "attempts": 10, "delay": "100 ms" },
    "faults": [
        { "at": "4 s", "kind": "crash_task", "target": "count[1]" },
        { "at": "5 s", "kind": "crash_task_manager", "target": 0 },
        { "at": "6 s", "kind": "crash_job_manager" }
    ],
    "limits": { "until": "60 s" }
}"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let scenario = Arc::new(load(SCENARIO.as_bytes(), "own_policy.json", &[])?.scenario);
    let own = || -> Box<dyn TriggerPolicy> { Box::new(Cautious { interval: SHORTEST }) };
    let run = |is_own: bool| {
        let simulation = Simulation::new(Arc::clone(&scenario), 5)?;
        let simulation = if is_own { simulation.policy(Arc::new(own)) } else { simulation };
        Ok::<_, cutline_sim::engine::JobError>(simulation.run())
    };
    let (cautious, fixed) = (run(true)?, run(false)?);
    let again = |of: &Statistics| of.records.emitted - RECORDS;
    for (name, outcome) in [("cautious", &cautious), ("fixed", &fixed)] {
        assert_eq!(outcome.verdict, Verdict::Ok, "{name}: {:?}", outcome.violations);
        assert!(outcome.inert_faults().is_empty(), "{name}: all faults struck");
        let of = &outcome.statistics;
        println!(
            "{name:<8}  {} checkpoints, {} records read again",
            of.checkpoints.completed,
            again(of)
        );
    }
    assert!(again(&cautious.statistics) < again(&fixed.statistics));
    Ok(())
}
