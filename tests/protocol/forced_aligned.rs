//! Edges on which barriers may not overtake: pointwise ones, unless they are forced to, and broadcast
//! ones.

use std::collections::BTreeSet;

use cutline::job::Partitioner;
use cutline_sim::engine::Plan;
use cutline_sim::observe::Observation;

use crate::support::{self, observations};

const SCENARIO: &str = "forced-aligned.json";

/// The kinds of edges on which records were in flight when a checkpoint crossed them.
fn crossed(changes: &[&str]) -> BTreeSet<&'static str> {
    let plan = Plan::new(support::scenario(SCENARIO, changes)).expect("a valid job");
    let mut crossed = BTreeSet::new();
    for outcome in support::runs(SCENARIO, changes, 0..4) {
        for observation in observations(&outcome) {
            let Observation::Persisted { channel, .. } = observation else { continue };
            let edge = plan.graph.channels()[channel.index()].edge;
            crossed.insert(match plan.graph.job().edges()[edge.0 as usize].partitioner {
                Partitioner::Forward => "forward",
                Partitioner::Hash => "hash",
                Partitioner::Rebalance => "rebalance",
                Partitioner::Rescale => "rescale",
                Partitioner::Broadcast => "broadcast",
            });
        }
    }
    crossed
}

const NO_RESUME: &str = "actions=[]";

#[test]
fn barriers_overtake_behind_a_pointwise_edge_but_not_on_it() {
    let crossed = crossed(&[]);
    assert!(crossed.contains("hash"), "{crossed:?}");
    assert!(!crossed.contains("rescale"), "{crossed:?}");
}

#[test]
fn they_do_where_they_are_forced_to() {
    let crossed = crossed(&[NO_RESUME, "checkpointing.unaligned_forced=true"]);
    assert!(crossed.contains("rescale"), "{crossed:?}");
}

#[test]
fn the_alignment_timeout_does_not_concern_such_an_edge() {
    let crossed = crossed(&["checkpointing.aligned_timeout=20 ms"]);
    assert!(crossed.contains("hash"), "{crossed:?}");
    assert!(!crossed.contains("rescale"), "{crossed:?}");
}

#[test]
fn what_is_not_in_flight_can_be_resumed_by_others() {
    for outcome in support::runs(SCENARIO, &[], 0..4) {
        let rescaled = |it: &Observation| matches!(it, Observation::Rescaled { .. });
        assert!(observations(&outcome).any(rescaled));
    }
}
