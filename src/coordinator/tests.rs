//! The coordinator with work that takes its time: what the vectors cannot show.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::io::{PointerOutcome, WorkError};
use super::plan::Vertex;
use super::*;
use crate::storage::handle::SubtaskState;
use crate::trigger::decider::RequestId;
use crate::trigger::policy::PeriodicTimer;

const SUBTASKS: u32 = 2;

/// The machine, its outstanding work, and what it has said so far.
struct World {
    machine: Coordinator<()>,
    now: VirtualTime,
    ids: u64,
    /// Work to be answered, oldest first.
    work: Vec<Output<()>>,
    /// Everything else, in order.
    said: Vec<Output<()>>,
    delivered: BTreeSet<String>,
    deleted: BTreeSet<String>,
    /// Delivered more than once: such a file may be deleted more than once.
    repeated: BTreeSet<String>,
}

impl World {
    fn new(max_concurrent: usize, max_retained: usize) -> Self {
        let config = CoordinatorConfig {
            defects: Defects::none(),
            max_concurrent,
            min_pause: VirtualDuration::ZERO,
            timeout: VirtualDuration::from_millis(100),
            exactly_once: true,
            unaligned: false,
            has_loop: false,
            aligned_timeout: None,
            after_tasks_finish: true,
            tolerable_failures: None,
            max_retained,
            retention: Retention::default(),
            store: StoreKind::Default,
            stores_stops: false,
            drains_shared: false,
            drops_outlived: false,
        };
        let vertex =
            Vertex { operator: OperatorId(0), parallelism: SUBTASKS, union_list_state: false };
        let topology = Topology { vertices: vec![vertex], edges: Vec::new() };
        let interval = Some(VirtualDuration::from_millis(30));
        let policy = Box::new(PeriodicTimer::new(interval, None, VirtualDuration::ZERO));
        let machine =
            Coordinator::new(config, topology, Vec::new(), policy, Vec::new(), ClaimMode::Claim);
        let mut world = Self {
            machine: machine.expect("nothing is recovered"),
            now: VirtualTime::ZERO,
            ids: 0,
            work: Vec::new(),
            said: Vec::new(),
            delivered: BTreeSet::new(),
            deleted: BTreeSet::new(),
            repeated: BTreeSet::new(),
        };
        for subtask in (0..SUBTASKS).map(SubtaskId) {
            world.feed(Input::TaskState {
                subtask,
                attempt: Attempt(0),
                state: ExecutionState::Running,
            });
        }
        world
    }

    fn feed(&mut self, input: Input<()>) {
        let mut out = Vec::new();
        self.machine.handle(self.now, input, &mut out);
        for output in out {
            match output {
                Output::Poll
                | Output::DrawId { .. }
                | Output::MakeLocation { .. }
                | Output::WriteMetadata { .. }
                | Output::WritePointer { .. }
                | Output::RemovePointer { .. }
                | Output::Discard { .. } => self.work.push(output),
                said => self.said.push(said),
            }
        }
    }

    /// Does one piece of work.
    fn answer(&mut self, index: usize, outcome: PointerOutcome) {
        let work = self.work.remove(index);
        let ok = outcome != PointerOutcome::Failed;
        let input = match work {
            Output::Poll => Input::Poll,
            Output::DrawId { token } => {
                self.ids += 1;
                let result = Ok(CheckpointId(self.ids));
                Input::IdDrawn { token, result }
            }
            Output::MakeLocation { token, .. } if !ok => {
                Input::LocationMade { token, result: Err(WorkError::Io) }
            }
            Output::MakeLocation { token, checkpoint, .. } => {
                let location = format!("location {}", checkpoint.0);
                self.delivered.insert(location.clone());
                let result = Ok(location.into());
                Input::LocationMade { token, result }
            }
            Output::WriteMetadata { token, .. } if !ok => {
                Input::MetadataWritten { token, result: Err(WorkError::Io) }
            }
            Output::WriteMetadata { token, checkpoint } => {
                let result = Ok(self.file(format!("metadata {}", checkpoint.id.0)));
                Input::MetadataWritten { token, result }
            }
            Output::WritePointer { token, .. } => Input::PointerWritten { token, outcome },
            Output::RemovePointer { token, .. } => Input::PointerRemoved { token, removed: true },
            Output::Discard { token, files, location, .. } => {
                let files = files.iter().map(|file| file.path.to_string());
                for path in files.chain(location.map(|l| l.to_string())) {
                    let first = self.deleted.insert(path.clone());
                    assert!(first || self.repeated.contains(&path), "{path} is deleted twice");
                }
                Input::Discarded { token }
            }
            other => panic!("{other:?} is no work"),
        };
        self.feed(input);
    }

    fn file(&mut self, path: String) -> FileHandle {
        if !self.delivered.insert(path.clone()) {
            self.repeated.insert(path.clone());
        }
        FileHandle { path: path.into(), size: 1 }
    }

    /// Does all work but that of which `keep` says to keep it.
    fn settle(&mut self, keep: impl Fn(&Output<()>) -> bool) {
        while let Some(index) = self.work.iter().position(|work| !keep(work)) {
            self.answer(index, PointerOutcome::Written);
        }
    }

    fn trigger(&mut self, kind: SnapshotKind) {
        self.feed(Input::Trigger { request: Some(RequestId(0)), kind, periodic: false });
    }

    fn acknowledge(&mut self, id: u64, subtask: u32) {
        let path = format!("state {subtask}@{id}");
        let state = SubtaskState {
            private: vec![self.file(path)],
            shared: Vec::new(),
            ended: false,
            checkpointed: None,
            payload: (),
        };
        self.feed(Input::Acknowledge {
            checkpoint: CheckpointId(id),
            subtask: SubtaskId(subtask),
            attempt: Attempt(0),
            state: Some(state),
            metrics: CheckpointMetrics::default(),
        });
    }

    /// A checkpoint that everybody has acknowledged; all work done but what `keep` names.
    fn take(&mut self, keep: fn(&Output<()>) -> bool) -> u64 {
        self.trigger(SnapshotKind::Checkpoint);
        self.settle(keep);
        let id = self.ids;
        (0..SUBTASKS).for_each(|subtask| self.acknowledge(id, subtask));
        self.settle(keep);
        id
    }

    fn timeout(&mut self) {
        self.now = self.machine.next_timeout().expect("a timer is set").max(self.now);
        self.feed(Input::Timeout);
    }

    fn failures(&self) -> Vec<(u64, FailureReason)> {
        let failed = self.said.iter().filter_map(|output| match output {
            Output::Failed { checkpoint, reason } => Some((checkpoint.0, *reason)),
            _ => None,
        });
        failed.collect()
    }

    fn count(&self, is: impl Fn(&Output<()>) -> bool) -> usize {
        self.said.iter().filter(|output| is(output)).count()
    }

    fn retained(&self) -> Vec<u64> {
        self.machine.retained().map(|r| r.checkpoint.id.0).collect()
    }
}

fn nothing(_: &Output<()>) -> bool {
    false
}

fn metadata(output: &Output<()>) -> bool {
    matches!(output, Output::WriteMetadata { .. })
}

fn pointer(output: &Output<()>) -> bool {
    matches!(output, Output::WritePointer { .. })
}

/// What somebody might do to a checkpoint that is being finalized.
fn interference(name: &str) -> Input<()> {
    match name {
        "expiry" => Input::Timeout,
        "decline" => Input::Decline {
            checkpoint: CheckpointId(1),
            subtask: SubtaskId(0),
            attempt: Attempt(0),
            reason: FailureReason::CheckpointDeclined,
        },
        "stop" => Input::Stop,
        "failover" => Input::AbortPending { reason: FailureReason::JobFailoverRegion },
        "shutdown" => Input::Shutdown { status: None },
        "cancellation" => Input::Shutdown { status: Some(JobStatus::Canceled) },
        "lost leadership" => Input::Shutdown { status: Some(JobStatus::Suspended) },
        other => panic!("no interference {other}"),
    }
}

const INTERFERENCES: [&str; 5] = ["expiry", "decline", "stop", "failover", "shutdown"];

#[test]
fn until_the_pointer_write_is_issued_an_abort_wins() {
    for name in INTERFERENCES {
        let mut world = World::new(1, 1);
        world.take(metadata);
        world.now = VirtualTime::from_millis(100);
        world.feed(interference(name));
        world.settle(metadata);
        assert_eq!(world.failures().len(), 1, "{name}");
        assert_eq!(world.deleted, BTreeSet::new(), "{name}: the write is under way");
        world.settle(nothing);
        assert_eq!(world.deleted, world.delivered, "{name}");
        assert!(world.retained().is_empty(), "{name}");
    }
}

#[test]
fn once_it_is_issued_the_answer_decides() {
    for name in INTERFERENCES {
        let mut world = World::new(1, 1);
        world.take(pointer);
        world.now = VirtualTime::from_millis(100);
        world.feed(interference(name));
        world.settle(nothing);
        assert_eq!(world.failures(), [], "{name}");
        assert_eq!(world.retained(), [1], "{name}");
        assert_eq!(world.deleted, BTreeSet::new(), "{name}");
    }
}

/// A job that is cancelled deletes its checkpoints, the one that is being decided among them; one whose
/// leader steps down keeps them for the next leader.
#[test]
fn the_end_decides_about_a_checkpoint_whose_pointer_write_is_issued() {
    for (name, outcome, kept) in [
        ("cancellation", PointerOutcome::Written, false),
        ("cancellation", PointerOutcome::Failed, false),
        ("lost leadership", PointerOutcome::Written, true),
        ("lost leadership", PointerOutcome::Failed, false),
    ] {
        let mut world = World::new(1, 1);
        world.take(pointer);
        world.feed(interference(name));
        assert_eq!(world.deleted, BTreeSet::new(), "{name}: nothing is decided yet");
        world.answer(0, outcome);
        world.settle(nothing);
        let deleted = if kept { BTreeSet::new() } else { world.delivered.clone() };
        assert_eq!(world.deleted, deleted, "{name}, {outcome:?}");
    }
}

/// While the metadata are being written nothing is decided: whoever steps down takes the files away.
#[test]
fn a_cancelled_job_and_a_former_leader_leave_no_metadata() {
    for name in ["cancellation", "lost leadership"] {
        let mut world = World::new(1, 1);
        world.take(metadata);
        world.feed(interference(name));
        world.settle(pointer);
        assert!(world.work.is_empty(), "{name}: no pointer is written any more");
        assert_eq!(world.deleted, world.delivered, "{name}");
    }
}

/// An older checkpoint that waits for its turn is subsumed by the decision of a newer one, and not by
/// its metadata.
#[test]
fn subsumption_waits_for_the_decision() {
    for (outcome, failures) in [(PointerOutcome::Written, 1), (PointerOutcome::Failed, 0)] {
        let mut world = World::new(3, 1);
        for _ in 0..2 {
            world.trigger(SnapshotKind::Checkpoint);
            world.settle(nothing);
        }
        (0..SUBTASKS).for_each(|subtask| world.acknowledge(2, subtask));
        world.settle(pointer);
        assert_eq!(world.failures(), [], "{outcome:?}: not before the decision");
        world.answer(0, outcome);
        let subsumed = (1, FailureReason::CheckpointSubsumed);
        let found = world.failures().iter().filter(|it| **it == subsumed).count();
        assert_eq!(found, failures, "{outcome:?}");
    }
}

#[test]
fn what_becomes_of_the_files_of_a_checkpoint_whose_pointer_is_not_known() {
    for (name, outcome, kept) in [
        ("certainly not written", PointerOutcome::Failed, false),
        ("nobody can tell", PointerOutcome::Unknown, true),
    ] {
        let mut world = World::new(1, 1);
        world.take(pointer);
        world.answer(0, outcome);
        world.settle(nothing);
        let reason = FailureReason::FinalizeCheckpointFailure;
        assert_eq!(world.failures(), [(1, reason)], "{name}");
        assert_eq!(world.deleted.is_empty(), kept, "{name}");
    }
}

#[test]
fn a_restore_waits_for_the_decision() {
    let restored = |output: &Output<()>| matches!(output, Output::Restored { .. });
    for (name, outcome, expected) in
        [("written", PointerOutcome::Written, 2), ("failed", PointerOutcome::Failed, 1)]
    {
        let mut world = World::new(1, 1);
        world.take(nothing);
        world.take(pointer);
        world.feed(Input::Restore { scope: RestoreScope::Global });
        assert_eq!(world.count(restored), 0, "{name}");
        world.answer(0, outcome);
        let chosen = world.said.iter().find_map(|output| match output {
            Output::Restored { checkpoint, .. } => checkpoint.as_ref(),
            _ => None,
        });
        let chosen = chosen.map(|retained| retained.checkpoint.id);
        assert_eq!(chosen, Some(CheckpointId(expected)), "{name}");
    }
}

#[test]
fn the_end_of_the_job_waits_for_the_decision_and_pointers_go_before_files() {
    let mut world = World::new(1, 2);
    world.take(nothing);
    world.take(pointer);
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

/// An acknowledgement that is delivered a second time brings nothing new, wherever its checkpoint
/// has come to meanwhile.
#[test]
fn a_repeated_acknowledgement_deletes_nothing_that_is_in_use() {
    type Place = (&'static str, fn() -> World);
    let places: [Place; 5] = [
        ("while others are awaited", || {
            let mut world = World::new(1, 1);
            world.trigger(SnapshotKind::Checkpoint);
            world.settle(nothing);
            world.acknowledge(1, 0);
            world
        }),
        ("during the metadata write", || taken(SnapshotKind::Checkpoint, metadata)),
        ("during the pointer write", || taken(SnapshotKind::Checkpoint, pointer)),
        ("of a completed checkpoint", || taken(SnapshotKind::Checkpoint, nothing)),
        ("of a completed savepoint", || taken(SnapshotKind::Savepoint, nothing)),
    ];
    for (name, place) in places {
        let mut world = place();
        world.acknowledge(1, 0);
        world.settle(nothing);
        assert_eq!(world.deleted, BTreeSet::new(), "{name}");
        assert_eq!(world.failures(), [], "{name}");
    }
}

#[test]
fn an_acknowledgement_nobody_waits_for_is_deleted() {
    let mut world = taken(SnapshotKind::Checkpoint, nothing);
    world.acknowledge(7, 1);
    world.settle(nothing);
    assert_eq!(world.deleted, BTreeSet::from(["state 1@7".to_owned()]));
}

fn taken(kind: SnapshotKind, keep: fn(&Output<()>) -> bool) -> World {
    let mut world = World::new(1, 1);
    world.trigger(kind);
    world.settle(keep);
    (0..SUBTASKS).for_each(|subtask| world.acknowledge(1, subtask));
    world.settle(keep);
    world
}

#[test]
fn a_contradictory_acknowledgement_does_not_count() {
    use crate::storage::handle::{SharedFile, SharedHandle, SharedKey};
    let mut world = World::new(1, 1);
    world.trigger(SnapshotKind::Checkpoint);
    world.settle(nothing);
    let state = SubtaskState {
        private: vec![world.file("state 0@1".to_owned())],
        shared: vec![SharedFile {
            key: SharedKey("never uploaded".into()),
            handle: SharedHandle::Placeholder,
        }],
        ended: false,
        checkpointed: None,
        payload: (),
    };
    world.feed(Input::Acknowledge {
        checkpoint: CheckpointId(1),
        subtask: SubtaskId(0),
        attempt: Attempt(0),
        state: Some(state),
        metrics: CheckpointMetrics::default(),
    });
    world.acknowledge(1, 1);
    world.settle(nothing);
    assert_eq!(world.count(|o| matches!(o, Output::AcknowledgeRefused { .. })), 1);
    assert!(world.retained().is_empty());
    assert!(world.deleted.contains("state 0@1"));
}

/// What may happen next; numbers pick among what there is.
#[derive(Clone, Debug)]
enum Step {
    Answer(usize, PointerOutcome),
    Trigger(SnapshotKind),
    Acknowledge(u64, u32),
    Decline(u64),
    Timeout,
    Start,
    Stop,
    Failover,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        9 => Just(PointerOutcome::Written),
        1 => Just(PointerOutcome::Failed),
    ];
    let kind = prop_oneof![
        Just(SnapshotKind::Checkpoint),
        Just(SnapshotKind::Savepoint),
        Just(SnapshotKind::SavepointSuspend),
    ];
    let step = prop_oneof![
        12 => (any::<usize>(), outcome).prop_map(|(pick, outcome)| Step::Answer(pick, outcome)),
        3 => kind.prop_map(Step::Trigger),
        8 => (0u64..4, 0..SUBTASKS).prop_map(|(id, subtask)| Step::Acknowledge(id, subtask)),
        1 => (0u64..4).prop_map(Step::Decline),
        2 => Just(Step::Timeout),
        1 => Just(Step::Start),
        1 => Just(Step::Stop),
        1 => Just(Step::Failover),
    ];
    prop::collection::vec(step, 1..150)
}

impl World {
    fn step(&mut self, step: Step) {
        // Recent numbers are the interesting ones.
        let recent = |back: u64| CheckpointId(self.ids.saturating_sub(back));
        match step {
            Step::Answer(..) if self.work.is_empty() => {}
            Step::Answer(pick, outcome) => self.answer(pick % self.work.len(), outcome),
            Step::Trigger(kind) => self.trigger(kind),
            Step::Acknowledge(back, subtask) => {
                // A second time, too: messages may be repeated on their way.
                self.acknowledge(recent(back).0, subtask);
            }
            Step::Decline(back) => self.feed(Input::Decline {
                checkpoint: recent(back),
                subtask: SubtaskId(0),
                attempt: Attempt(0),
                reason: FailureReason::CheckpointDeclined,
            }),
            Step::Timeout if self.machine.next_timeout().is_none() => {}
            Step::Timeout => self.timeout(),
            Step::Start => self.feed(Input::Start { delay: VirtualDuration::ZERO }),
            Step::Stop => self.feed(Input::Stop),
            Step::Failover => {
                self.feed(Input::AbortPending { reason: FailureReason::JobFailoverRegion });
                self.feed(Input::Restore { scope: RestoreScope::Global });
            }
        }
    }

    /// Files that nothing refers to and nobody deleted, at a point where nothing is under way.
    fn leaked(&self) -> BTreeSet<String> {
        let mut used = self.deleted.clone();
        for retained in self.machine.retained() {
            let states = retained.checkpoint.states();
            used.extend(states.flat_map(|s| &s.private).map(|file| file.path.to_string()));
            used.insert(retained.metadata.path.to_string());
            used.insert(retained.checkpoint.location.to_string());
        }
        self.delivered.difference(&used).cloned().collect()
    }
}

proptest! {
    /// Whatever happens and however the answers interleave: numbers grow, every pending checkpoint
    /// ends exactly once, no file is deleted while it is retained, or twice without having come
    /// twice, and at the end none is left over, except those of savepoints, which are the user's.
    #[test]
    fn every_checkpoint_ends_once_and_no_file_leaks(
        steps in steps(),
        max_concurrent in 1usize..4,
        max_retained in 1usize..3,
    ) {
        let mut world = World::new(max_concurrent, max_retained);
        for step in steps {
            world.step(step);
            for retained in world.machine.retained() {
                let states = retained.checkpoint.states().flat_map(|state| &state.private);
                for file in states.chain([&retained.metadata]) {
                    prop_assert!(!world.deleted.contains(&*file.path), "{}", file.path);
                }
            }
            prop_assert!(world.retained().len() <= max_retained);
        }
        world.settle(nothing);
        world.feed(Input::Stop);
        world.settle(nothing);

        let started = world.said.iter().filter_map(|output| match output {
            Output::Pending { checkpoint, .. } => Some(*checkpoint),
            _ => None,
        });
        let started: Vec<_> = started.collect();
        prop_assert!(started.is_sorted_by(|a, b| a < b));
        let ended = world.said.iter().filter_map(|output| match output {
            Output::Completed { checkpoint } | Output::Failed { checkpoint, .. } => {
                Some(*checkpoint)
            }
            _ => None,
        });
        let mut ended: Vec<_> = ended.collect();
        ended.sort_unstable();
        prop_assert_eq!(started, ended);

        let counts = world.machine.statistics().counts;
        prop_assert_eq!(counts.in_progress, 0);
        let savepoints = world.said.iter().filter_map(|output| match output {
            Output::Pending { checkpoint, kind, .. } if kind.is_savepoint() => Some(checkpoint.0),
            _ => None,
        });
        let savepoints: BTreeSet<_> = savepoints.map(|id| id.to_string()).collect();
        let number = |path: &String| path.rsplit(['@', ' ']).next().map(str::to_owned);
        let leaked = world.leaked();
        let ours = leaked.iter().filter(|p| number(p).is_none_or(|n| !savepoints.contains(&n)));
        prop_assert_eq!(ours.collect::<Vec<_>>(), Vec::<&String>::new());
    }
}
