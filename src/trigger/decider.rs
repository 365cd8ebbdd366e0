//! Which of the waiting trigger requests runs now (step T1).
//!
//! Concept: a bounded priority queue in front of the coordinator. In Flink:
//! `CheckpointRequestDecider`.
//!
//! Invariants, asserted after every change:
//! - at most `max_queued` requests wait;
//! - one choice looks at one request only, so that it drops at most one for the minimum pause.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::message::{FailureReason, SnapshotKind};
use crate::time::{VirtualDuration, VirtualTime};

/// Names a request towards whoever made it. The periodic timer's requests have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub u64);

/// Somebody's wish for a snapshot. Flink: `CheckpointTriggerRequest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who is to be told of the outcome; `None` for the periodic timer.
    pub id: Option<RequestId>,
    /// What is asked for.
    pub kind: SnapshotKind,
    /// Whether it may run beside `max_concurrent` others and within the minimum pause.
    pub forced: bool,
    /// Whether it is one of a series, so that dropping it costs nothing but time.
    pub periodic: bool,
}

/// The limits of the decider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeciderConfig {
    /// Flink: `execution.checkpointing.max-concurrent-checkpoints`.
    pub max_concurrent: usize,
    /// Flink: `execution.checkpointing.min-pause`.
    pub min_pause: VirtualDuration,
    /// Requests that may wait. Flink: 1000, not configurable.
    pub max_queued: usize,
}

/// What the decider must know of the coordinator to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Situation {
    /// Whether a trigger is under way (between T1 and T5).
    pub triggering: bool,
    /// When the last checkpoint or savepoint completed; `None` if none ever did.
    pub last_completion: Option<VirtualTime>,
    /// Pending checkpoints.
    pub pending: usize,
    /// Old checkpoints whose files are being deleted.
    pub cleaning: usize,
}

/// What a choice came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The request that runs now; it left the queue.
    pub run: Option<Request>,
    /// Requests that failed, in order.
    pub dropped: Vec<(Request, FailureReason)>,
    /// The periodic timer must be set to fire after so long.
    pub reschedule: Option<VirtualDuration>,
}

/// Smallest runs first: savepoints, then forced, then non-periodic, then the earlier one.
///
/// Deviation: Flink breaks a tie of timestamps by identity hash; here arrival decides.
type Rank = (Reverse<bool>, Reverse<bool>, bool, u64);

/// The queue of requests and the rule that picks one.
#[derive(Clone, Debug)]
pub struct Decider {
    config: DeciderConfig,
    queue: BTreeMap<Rank, Request>,
    arrivals: u64,
}

impl Decider {
    /// An empty queue.
    pub fn new(config: DeciderConfig) -> Self {
        Self { config, queue: BTreeMap::new(), arrivals: 0 }
    }

    /// Requests that wait.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Offers a request, and asks for one to run.
    pub fn offer(&mut self, now: VirtualTime, request: Request, at: Situation) -> Decision {
        let full = self.queue.len() >= self.config.max_queued;
        // Only what users asked for waits: the newcomer gives way, whatever it is.
        if full && !self.last_is_periodic() {
            return Decision {
                dropped: vec![(request, FailureReason::TooManyCheckpointRequests)],
                ..Decision::default()
            };
        }
        self.enqueue(request);
        let mut dropped = Vec::new();
        if full {
            let (_, last) = self.queue.pop_last().expect("a request was just added");
            dropped.push((last, FailureReason::TooManyCheckpointRequests));
        }
        let mut decision = self.choose(now, at);
        decision.dropped.splice(0..0, dropped);
        self.check();
        decision
    }

    /// Asks for a request to run.
    pub fn choose(&mut self, now: VirtualTime, at: Situation) -> Decision {
        let Some((rank, first)) = self.queue.first_key_value() else {
            return Decision::default();
        };
        let (rank, first) = (*rank, *first);
        if at.triggering || at.cleaning > self.config.max_concurrent {
            return Decision::default();
        }
        if at.pending >= self.config.max_concurrent {
            return if first.forced { self.run(rank) } else { Decision::default() };
        }
        match self.pause_left(now, at.last_completion) {
            Some(left) if first.periodic && !first.forced => self.too_early(rank, left),
            _ => self.run(rank),
        }
    }

    /// Drops everything that waits, in the order in which it would have run.
    pub fn abort_all(&mut self, reason: FailureReason) -> Vec<(Request, FailureReason)> {
        let queue = std::mem::take(&mut self.queue);
        queue.into_values().map(|r| (r, reason)).collect()
    }

    fn last_is_periodic(&self) -> bool {
        self.queue.values().next_back().is_some_and(|r| r.periodic)
    }

    fn enqueue(&mut self, request: Request) {
        let rank = (
            Reverse(request.kind.is_savepoint()),
            Reverse(request.forced),
            request.periodic,
            self.arrivals,
        );
        self.arrivals += 1;
        self.queue.insert(rank, request);
    }

    /// What is left of the minimum pause; `None` once it is over.
    fn pause_left(
        &self,
        now: VirtualTime,
        last_completion: Option<VirtualTime>,
    ) -> Option<VirtualDuration> {
        let left = (last_completion? + self.config.min_pause).since(now);
        (!left.is_zero()).then_some(left)
    }

    fn run(&mut self, rank: Rank) -> Decision {
        Decision { run: self.queue.remove(&rank), ..Decision::default() }
    }

    fn too_early(&mut self, rank: Rank, left: VirtualDuration) -> Decision {
        let first = self.queue.remove(&rank).expect("the rank was just read");
        Decision {
            dropped: vec![(first, FailureReason::MinimumTimeBetweenCheckpoints)],
            reschedule: Some(left),
            ..Decision::default()
        }
    }

    fn check(&self) {
        assert!(self.queue.len() <= self.config.max_queued);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Situation =
        Situation { triggering: false, last_completion: None, pending: 0, cleaning: 0 };

    fn request(id: u64, kind: SnapshotKind, forced: bool, periodic: bool) -> Request {
        Request { id: Some(RequestId(id)), kind, forced, periodic }
    }

    fn decider(max_queued: usize) -> Decider {
        Decider::new(DeciderConfig {
            max_concurrent: 1,
            min_pause: VirtualDuration::from_millis(10),
            max_queued,
        })
    }

    #[test]
    fn savepoints_go_first_then_forced_then_users_then_age() {
        use SnapshotKind::{Checkpoint, Savepoint};
        let busy = Situation { triggering: true, ..IDLE };
        let mut decider = decider(10);
        for (id, kind, forced, periodic) in [
            (1, Checkpoint, false, true),
            (2, Checkpoint, false, false),
            (3, Savepoint, false, false),
            (4, Checkpoint, true, false),
            (5, Savepoint, true, false),
            (6, Checkpoint, false, false),
        ] {
            let decision =
                decider.offer(VirtualTime::ZERO, request(id, kind, forced, periodic), busy);
            assert_eq!(decision, Decision::default(), "request {id} waits");
        }
        let mut order = Vec::new();
        while let Some(run) = decider.choose(VirtualTime::ZERO, IDLE).run {
            order.push(run.id.expect("all have one").0);
        }
        assert_eq!(order, [5, 3, 4, 2, 6, 1]);
    }

    #[test]
    fn one_choice_looks_at_one_request() {
        // (name, pending, cleaning, now in ms, runs, dropped, reschedule in ms)
        let rows = [
            ("within the pause", 0, 0, 104, false, 1, Some(6)),
            ("pause just over", 0, 0, 110, true, 0, None),
            ("one pending", 1, 0, 110, false, 0, None),
            ("as many cleaning as allowed", 0, 1, 110, true, 0, None),
            ("too many cleaning", 0, 2, 110, false, 0, None),
        ];
        for (name, pending, cleaning, now, runs, dropped, reschedule) in rows {
            let mut decider = decider(10);
            let at = Situation {
                last_completion: Some(VirtualTime::from_millis(100)),
                pending,
                cleaning,
                ..IDLE
            };
            let periodic = request(1, SnapshotKind::Checkpoint, false, true);
            let decision = decider.offer(VirtualTime::from_millis(now), periodic, at);
            assert_eq!(decision.run.is_some(), runs, "{name}");
            assert_eq!(decision.dropped.len(), dropped, "{name}");
            let left = decision.reschedule.map(VirtualDuration::as_millis);
            assert_eq!(left, reschedule, "{name}");
        }
    }

    #[test]
    fn a_full_queue_drops_its_last_periodic_or_the_newcomer() {
        let busy = Situation { triggering: true, ..IDLE };
        let user = |id| request(id, SnapshotKind::Checkpoint, false, false);
        for (name, periodic, dropped) in [("periodic last", true, 1), ("user last", false, 2)] {
            let mut decider = decider(1);
            let first = request(1, SnapshotKind::Checkpoint, false, periodic);
            decider.offer(VirtualTime::ZERO, first, busy);
            let decision = decider.offer(VirtualTime::ZERO, user(2), busy);
            let ids: Vec<_> = decision.dropped.iter().map(|(r, _)| r.id).collect();
            assert_eq!(ids, [Some(RequestId(dropped))], "{name}");
        }
    }
}
