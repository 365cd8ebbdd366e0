//! A barrier handler of one's own: the rest of the protocol, the world and the checks stay.
//!
//! It aligns: a channel that has delivered its barrier is blocked until all have. With `waits` off
//! it takes its snapshot at the first barrier, which the checks do not let pass.

use std::collections::BTreeSet;
use std::sync::Arc;

use cutline::ids::{CheckpointId, InputChannel};
use cutline::message::CheckpointBarrier;
use cutline::task::barrier::{AbortReason, BarrierHandler, BarrierPort, Cut};
use cutline_sim::check::Verdict;
use cutline_sim::run::Simulation;
use cutline_sim::scenario::load;

#[derive(Clone, Debug)]
struct Aligning {
    waits: bool,
    /// The checkpoint under way, and its barrier.
    pending: Option<CheckpointBarrier>,
    /// Channels that have delivered its barrier.
    arrived: BTreeSet<InputChannel>,
    /// The newest checkpoint that was seen.
    newest: Option<CheckpointId>,
}

impl Aligning {
    fn end(&mut self, port: &mut dyn BarrierPort) {
        for channel in std::mem::take(&mut self.arrived) {
            port.resume(channel);
        }
        self.pending = None;
    }

    fn end_if_all_are_here(&mut self, port: &mut dyn BarrierPort) {
        let Some(barrier) = self.pending else { return };
        let awaited = if self.waits { port.open_channels() } else { 1 };
        if self.arrived.len() as u32 >= awaited {
            port.alignment_ends();
            port.trigger(&barrier, Cut::Aligned);
            self.end(port);
            port.complete(barrier.checkpoint);
        }
    }

    fn give_up(&mut self, port: &mut dyn BarrierPort, reason: AbortReason) {
        if let Some(barrier) = self.pending {
            self.end(port);
            port.abort(barrier.checkpoint, reason);
        }
    }
}

impl BarrierHandler for Aligning {
    fn on_barrier(
        &mut self,
        port: &mut dyn BarrierPort,
        channel: InputChannel,
        barrier: &CheckpointBarrier,
    ) {
        let checkpoint = Some(barrier.checkpoint);
        if checkpoint > self.newest {
            self.give_up(port, AbortReason::Subsumed);
            self.newest = checkpoint;
            self.pending = Some(*barrier);
            port.alignment_begins(barrier);
        }
        if self.pending.map(|pending| pending.checkpoint) == checkpoint {
            self.arrived.insert(channel);
            port.block(channel);
            self.end_if_all_are_here(port);
        }
    }

    fn on_cancel_marker(
        &mut self,
        port: &mut dyn BarrierPort,
        _channel: InputChannel,
        checkpoint: CheckpointId,
    ) {
        if self.pending.is_some_and(|pending| pending.checkpoint <= checkpoint) {
            self.give_up(port, AbortReason::Cancelled);
        } else if Some(checkpoint) > self.newest {
            port.abort(checkpoint, AbortReason::Cancelled);
        }
        self.newest = self.newest.max(Some(checkpoint));
    }

    fn on_end_of_partition(&mut self, port: &mut dyn BarrierPort, channel: InputChannel) {
        self.arrived.remove(&channel);
        self.end_if_all_are_here(port);
    }
}

const SCENARIO: &str = r#"{
    "format": "cutline-scenario/1",
    "title": "Barriers of one's own",
    "why": "Two sources of different latency: a task sees one barrier long before the other.",
    "job": {
        "operators": [
            { "name": "source", "kind": "source", "records": 1000, "parallelism": 2, "splits": 2 },
            { "name": "count", "kind": "keyed_aggregate", "parallelism": 2 },
            { "name": "sink", "kind": "two_phase_commit_sink" }
        ],
        "edges": [{ "from": "source", "to": "count" }, { "from": "count", "to": "sink" }]
    },
    "checkpointing": { "interval": "200 ms" },
    "faults": [{ "at": "500 ms", "kind": "crash_task", "target": "count[1]" }],
    "limits": { "until": "60 s" }
}"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let scenario = Arc::new(load(SCENARIO.as_bytes(), "own_barriers.json", &[])?.scenario);
    for waits in [true, false] {
        let handler = move |_subtask, _channels| -> Box<dyn BarrierHandler> {
            let (pending, arrived, newest) = (None, BTreeSet::new(), None);
            Box::new(Aligning { waits, pending, arrived, newest })
        };
        let simulation = Simulation::new(Arc::clone(&scenario), 3)?;
        let outcome = simulation.barriers(Arc::new(handler))?.run();
        match outcome.violations.first() {
            None => {
                println!("waits: {waits}; {} checkpoints", outcome.statistics.checkpoints.completed)
            }
            Some(violation) => println!("waits: {waits}; {violation}"),
        }
        assert_eq!(outcome.verdict, if waits { Verdict::Ok } else { Verdict::Safety });
        if waits {
            // As good as the built-in handler, to the byte.
            let built_in = Simulation::new(Arc::clone(&scenario), 3)?.run();
            assert_eq!(outcome.digest, built_in.digest);
        }
    }
    Ok(())
}
