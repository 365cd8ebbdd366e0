//! A coordinator of one's own; tasks, barriers, storage, world and checks stay.
//!
//! It wraps the built-in one and may change a decision. `hasty` tells the tasks that a checkpoint
//! is complete as soon as all have acknowledged it, before the pointer is stored: a quicker commit,
//! and one that a recovery may contradict. The checks do not let it pass.

use std::sync::Arc;

use cutline::coordinator::Coordinator;
use cutline::coordinator::completed::Retained;
use cutline::coordinator::io::{Input, Output};
use cutline::coordinator::own::Coordinate;
use cutline::storage::handle::FileHandle;
use cutline::time::VirtualTime;
use cutline_sim::check::Verdict;
use cutline_sim::engine::SnapshotPayload;
use cutline_sim::run::Simulation;
use cutline_sim::scenario::load;

#[derive(Debug)]
struct Wrapped {
    inner: Coordinator<SnapshotPayload>,
    hasty: bool,
}

impl Coordinate<SnapshotPayload> for Wrapped {
    fn handle(
        &mut self,
        now: VirtualTime,
        input: Input<SnapshotPayload>,
        out: &mut Vec<Output<SnapshotPayload>>,
    ) {
        let before = out.len();
        self.inner.handle(now, input, out);
        if !self.hasty {
            return;
        }
        let acknowledged = out[before..].iter().find_map(|output| match output {
            Output::WriteMetadata { checkpoint, .. } => Some(Arc::clone(checkpoint)),
            _ => None,
        });
        if let Some(checkpoint) = acknowledged {
            out.push(Output::NotifyComplete {
                checkpoint: checkpoint.id,
                timestamp: checkpoint.timestamp,
                subtasks: checkpoint.subtasks.iter().map(|(subtask, _)| *subtask).collect(),
                subsumed: None,
            });
        }
    }

    fn next_timeout(&self) -> Option<VirtualTime> {
        self.inner.next_timeout()
    }

    fn retained(&self) -> Box<dyn Iterator<Item = &Retained<SnapshotPayload>> + '_> {
        Box::new(self.inner.retained())
    }

    fn is_shut_down(&self) -> bool {
        self.inner.is_shut_down()
    }

    fn refers_to(&self, file: &FileHandle) -> bool {
        self.inner.refers_to(file)
    }
}

const SCENARIO: &str = r#"{
    "format": "cutline-scenario/1",
    "title": "A coordinator of one's own",
    "why": "The job manager dies between the metadata and the pointer of checkpoint 3.",
    "job": {
        "operators": [
            { "name": "source", "kind": "source", "records": 1000 },
            { "name": "sink", "kind": "two_phase_commit_sink" }
        ],
        "edges": [{ "from": "source", "to": "sink" }]
    },
    "checkpointing": { "interval": "200 ms" },
    "faults": [{ "at": { "step": "F2", "checkpoint": 3 }, "kind": "crash_job_manager" }],
    "limits": { "until": "60 s" }
}"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let scenario = Arc::new(load(SCENARIO.as_bytes(), "own_coordinator.json", &[])?.scenario);
    for hasty in [false, true] {
        let own = move |_setup, inner| -> Box<dyn Coordinate<SnapshotPayload>> {
            Box::new(Wrapped { inner, hasty })
        };
        let simulation = Simulation::new(Arc::clone(&scenario), 5)?;
        let outcome = simulation.coordinator(Arc::new(own)).run();
        match outcome.violations.first() {
            None => println!("hasty: {hasty}; the job has ended: {:?}", outcome.job_end),
            Some(violation) => println!("hasty: {hasty}; {violation}"),
        }
        assert_eq!(outcome.verdict, if hasty { Verdict::Safety } else { Verdict::Ok });
        if !hasty {
            let built_in = Simulation::new(Arc::clone(&scenario), 5)?.run();
            assert_eq!(outcome.digest, built_in.digest, "a wrapper that changes nothing");
        }
    }
    Ok(())
}
