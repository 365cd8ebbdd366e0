//! What befalls a snapshot that is being finalized, one row of the coordinator's documentation after
//! the other. No vector speaks of it.

use super::*;

const STORED: [SnapshotKind; 3] =
    [SnapshotKind::Checkpoint, SnapshotKind::SavepointSuspend, SnapshotKind::SavepointTerminate];

const KINDS: [SnapshotKind; 4] = [
    SnapshotKind::Checkpoint,
    SnapshotKind::Savepoint,
    SnapshotKind::SavepointSuspend,
    SnapshotKind::SavepointTerminate,
];

const OUTCOMES: [PointerOutcome; 3] =
    [PointerOutcome::Written, PointerOutcome::Failed, PointerOutcome::Unknown];

/// What happens while a write is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Race {
    Expiry,
    Decline,
    Stop,
    Failover,
    Shutdown,
    Cancellation,
    LostLeadership,
}

impl Race {
    const ALL: [Self; 7] = [
        Self::Expiry,
        Self::Decline,
        Self::Stop,
        Self::Failover,
        Self::Shutdown,
        Self::Cancellation,
        Self::LostLeadership,
    ];

    /// The job goes on, or whoever leads next has what it left: checkpoints are dealt with by nobody.
    const OF_A_JOB: [Self; 5] =
        [Self::Expiry, Self::Decline, Self::Stop, Self::Failover, Self::Shutdown];

    fn input(self) -> Input<()> {
        match self {
            Self::Expiry => Input::Timeout,
            Self::Decline => Input::Decline {
                checkpoint: CheckpointId(1),
                subtask: SubtaskId(0),
                attempt: Attempt(0),
                reason: FailureReason::CheckpointDeclined,
            },
            Self::Stop => Input::Stop,
            Self::Failover => Input::AbortPending { reason: FailureReason::JobFailoverRegion },
            Self::Shutdown => Input::Shutdown { status: None },
            Self::Cancellation => Input::Shutdown { status: Some(JobStatus::Canceled) },
            Self::LostLeadership => Input::Shutdown { status: Some(JobStatus::Suspended) },
        }
    }

    fn reason(self) -> FailureReason {
        match self {
            Self::Expiry => FailureReason::CheckpointExpired,
            Self::Decline => FailureReason::CheckpointDeclined,
            Self::Stop => FailureReason::CheckpointCoordinatorSuspend,
            Self::Failover => FailureReason::JobFailoverRegion,
            Self::Shutdown | Self::Cancellation | Self::LostLeadership => {
                FailureReason::CheckpointCoordinatorShutdown
            }
        }
    }
}

impl World {
    fn befall(&mut self, race: Race) {
        // When the deadline is over, whether or not there is one still.
        self.now = VirtualTime::from_millis(100);
        self.feed(race.input());
    }

    fn completed(&self) -> usize {
        self.count(|output| matches!(output, Output::RequestCompleted { .. }))
    }

    fn refused(&self) -> usize {
        self.count(|output| matches!(output, Output::RequestFailed { .. }))
    }

    fn restored(&self) -> Option<Option<u64>> {
        self.said.iter().find_map(|output| match output {
            Output::Restored { checkpoint, .. } => {
                Some(checkpoint.as_ref().map(|retained| retained.checkpoint.id.0))
            }
            _ => None,
        })
    }
}

#[test]
fn until_the_metadata_are_written_an_abort_wins() {
    for (kind, race) in KINDS.into_iter().flat_map(|kind| Race::ALL.map(|race| (kind, race))) {
        let mut world = World::new(1, 1);
        world.take(kind, metadata);
        world.befall(race);
        world.settle(metadata);
        assert_eq!(world.failures(), [(1, race.reason())], "{kind:?}, {race:?}");
        assert_eq!((world.completed(), world.refused()), (0, 1), "{kind:?}, {race:?}");
        assert_eq!(world.deleted, BTreeSet::new(), "{kind:?}, {race:?}: the write is under way");
        world.settle(pointer);
        assert!(world.work.is_empty(), "{kind:?}, {race:?}: no pointer is written any more");
        assert_eq!(world.deleted, world.delivered, "{kind:?}, {race:?}");
        assert!(world.retained().is_empty(), "{kind:?}, {race:?}");
    }
}

#[test]
fn metadata_that_could_not_be_written_fail_once_whatever_happened_meanwhile() {
    for (kind, race) in KINDS.into_iter().flat_map(|kind| Race::ALL.map(|race| (kind, race))) {
        let mut world = World::new(1, 1);
        world.take(kind, metadata);
        world.befall(race);
        world.settle(metadata);
        world.answer(0, PointerOutcome::Failed);
        world.settle(nothing);
        assert_eq!(world.failures(), [(1, race.reason())], "{kind:?}, {race:?}");
        assert_eq!(world.deleted, world.delivered, "{kind:?}, {race:?}");
    }
}

/// A plain savepoint gets no pointer: when its metadata are written it is the user's.
#[test]
fn a_savepoint_is_decided_by_its_metadata() {
    for race in Race::ALL {
        let mut world = taken(SnapshotKind::Savepoint, pointer);
        assert_eq!(world.completed(), 1, "{race:?}");
        world.befall(race);
        world.settle(nothing);
        assert_eq!(world.failures(), [], "{race:?}");
        assert_eq!(world.deleted, BTreeSet::new(), "{race:?}");
    }
}

#[test]
fn once_the_pointer_write_is_issued_its_answer_decides() {
    let cases = STORED.into_iter().flat_map(|kind| Race::OF_A_JOB.map(|race| (kind, race)));
    for (kind, race, outcome) in
        cases.flat_map(|(kind, race)| OUTCOMES.map(|outcome| (kind, race, outcome)))
    {
        let name = format!("{kind:?}, {race:?}, {outcome:?}");
        let mut world = World::new(1, 1);
        world.take(kind, pointer);
        world.befall(race);
        world.settle(pointer);
        assert_eq!(world.failures(), [], "{name}: nothing is decided yet");
        assert_eq!(world.deleted, BTreeSet::new(), "{name}: nothing is decided yet");
        world.settle(pointer);
        world.answer(0, outcome);
        world.settle(nothing);
        let written = outcome == PointerOutcome::Written;
        assert_eq!(world.completed(), usize::from(written), "{name}");
        assert_eq!(world.refused(), usize::from(!written), "{name}");
        assert_eq!(world.retained(), if written { vec![1] } else { vec![] }, "{name}");
        let failed = [(1, FailureReason::FinalizeCheckpointFailure)];
        assert_eq!(world.failures(), if written { &[][..] } else { &failed }, "{name}");
        // Of one that nobody can tell of, a new leader may find the pointer.
        let deleted = outcome == PointerOutcome::Failed;
        let expected = if deleted { world.delivered.clone() } else { BTreeSet::new() };
        assert_eq!(world.deleted, expected, "{name}");
    }
}

/// A job that is cancelled deletes its checkpoints, the one that is being decided among them, but no
/// savepoint; one whose leader steps down keeps all for the next leader.
#[test]
fn the_end_deals_with_what_is_decided() {
    let ends = [Race::Cancellation, Race::LostLeadership];
    for (kind, race, outcome) in STORED.into_iter().flat_map(|kind| {
        ends.into_iter().flat_map(move |race| OUTCOMES.map(|outcome| (kind, race, outcome)))
    }) {
        let name = format!("{kind:?}, {race:?}, {outcome:?}");
        let mut world = World::new(1, 1);
        world.take(kind, pointer);
        world.befall(race);
        world.settle(pointer);
        assert_eq!(world.deleted, BTreeSet::new(), "{name}: nothing is decided yet");
        world.answer(0, outcome);
        world.settle(nothing);
        let gone = match outcome {
            PointerOutcome::Failed => true,
            PointerOutcome::Unknown => false,
            PointerOutcome::Written => race == Race::Cancellation && !kind.is_savepoint(),
        };
        let expected = if gone { world.delivered.clone() } else { BTreeSet::new() };
        assert_eq!(world.deleted, expected, "{name}");
    }
}

/// The pointers go before the files that they lead to, those of the last one to be decided included.
#[test]
fn the_end_of_the_job_waits_for_the_decision_and_pointers_go_before_files() {
    let mut world = World::new(1, 2);
    world.take(SnapshotKind::Checkpoint, nothing);
    world.take(SnapshotKind::Checkpoint, pointer);
    world.feed(Input::Shutdown { status: Some(JobStatus::Finished) });
    assert_eq!(world.retained(), [1]);
    world.answer(0, PointerOutcome::Written);
    let pointers = |output: &Output<()>| matches!(output, Output::RemovePointer { .. });
    assert_eq!(world.work.iter().filter(|work| pointers(work)).count(), 2);
    world.settle(pointers);
    assert_eq!(world.deleted, BTreeSet::new());
    world.settle(nothing);
    assert_eq!(world.deleted, world.delivered);
}

/// An older checkpoint that is still pending is subsumed by a decision, and by nothing before it. A
/// plain savepoint subsumes nothing.
#[test]
fn subsumption_waits_for_the_decision() {
    let stored = STORED.into_iter().flat_map(|kind| OUTCOMES.map(|outcome| (kind, outcome)));
    for (kind, outcome) in stored.chain([(SnapshotKind::Savepoint, PointerOutcome::Written)]) {
        let name = format!("{kind:?}, {outcome:?}");
        let mut world = World::new(3, 1);
        world.trigger(SnapshotKind::Checkpoint);
        world.settle(nothing);
        world.take(kind, metadata);
        assert_eq!(world.failures(), [], "{name}: not by being acknowledged");
        world.settle(pointer);
        assert_eq!(world.failures(), [], "{name}: not by its metadata");
        if kind != SnapshotKind::Savepoint {
            world.answer(0, outcome);
        }
        let subsumes = kind != SnapshotKind::Savepoint && outcome == PointerOutcome::Written;
        let subsumed = (1, FailureReason::CheckpointSubsumed);
        assert_eq!(world.failures().contains(&subsumed), subsumes, "{name}");
    }
}

/// The one that waits behind it, not yet being written, is the older one.
#[test]
fn one_is_finalized_at_a_time_and_an_older_one_that_waits_is_subsumed() {
    let mut world = World::new(3, 1);
    for _ in 0..2 {
        world.trigger(SnapshotKind::Checkpoint);
        world.settle(nothing);
    }
    for id in [2, 1] {
        (0..SUBTASKS).for_each(|subtask| world.acknowledge(id, subtask));
    }
    assert_eq!(world.work.iter().filter(|work| metadata(work)).count(), 1);
    world.settle(nothing);
    assert_eq!(world.failures(), [(1, FailureReason::CheckpointSubsumed)]);
    assert_eq!(world.retained(), [2]);
}

/// What was being written when a newer one was decided is not subsumed by it: it was decided before.
#[test]
fn what_is_finalized_first_is_decided_first() {
    let mut world = World::new(3, 2);
    for _ in 0..2 {
        world.trigger(SnapshotKind::Checkpoint);
        world.settle(nothing);
    }
    for id in [1, 2] {
        (0..SUBTASKS).for_each(|subtask| world.acknowledge(id, subtask));
    }
    world.settle(pointer);
    assert_eq!(world.work.len(), 1, "the second one waits");
    world.settle(nothing);
    assert_eq!(world.failures(), []);
    assert_eq!(world.retained(), [1, 2]);
}

#[test]
fn a_restore_waits_for_the_decision() {
    for (kind, outcome) in STORED.into_iter().flat_map(|kind| OUTCOMES.map(|it| (kind, it))) {
        let name = format!("{kind:?}, {outcome:?}");
        let mut world = World::new(1, 1);
        world.take(SnapshotKind::Checkpoint, nothing);
        world.take(kind, pointer);
        world.feed(Input::AbortPending { reason: FailureReason::JobFailoverRegion });
        world.feed(Input::Restore { scope: RestoreScope::Global });
        assert_eq!(world.restored(), None, "{name}");
        world.answer(0, outcome);
        let expected = if outcome == PointerOutcome::Written { 2 } else { 1 };
        assert_eq!(world.restored(), Some(Some(expected)), "{name}");
    }
}

/// Nothing is decided yet, so nothing is waited for: the one before it is gone back to at once.
#[test]
fn a_restore_does_not_wait_for_metadata() {
    for kind in KINDS {
        let mut world = World::new(1, 1);
        world.take(SnapshotKind::Checkpoint, nothing);
        world.take(kind, metadata);
        world.feed(Input::AbortPending { reason: FailureReason::JobFailoverRegion });
        world.feed(Input::Restore { scope: RestoreScope::Global });
        assert_eq!(world.restored(), Some(Some(1)), "{kind:?}");
        world.settle(nothing);
        assert_eq!(world.retained(), [1], "{kind:?}");
    }
}
