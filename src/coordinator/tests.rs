//! The coordinator with work that takes its time, as the engine has it: what the vectors cannot show.

mod races;

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
            stores_stops: true,
            drains_shared: true,
            drops_outlived: true,
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

    /// A snapshot that everybody has acknowledged; all work done but what `keep` names.
    fn take(&mut self, kind: SnapshotKind, keep: fn(&Output<()>) -> bool) -> u64 {
        self.trigger(kind);
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
    world.take(kind, keep);
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
