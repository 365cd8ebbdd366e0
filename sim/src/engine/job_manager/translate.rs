//! What the coordinator calls things, and what the engine calls them: parts and files, options and
//! configurations, layouts and topologies, checkpoints and their metadata.

use std::sync::Arc;

use cutline::config::{self, CheckpointingOptions};
use cutline::coordinator::CoordinatorConfig;
use cutline::coordinator::completed::{CompletedCheckpoint, Retained, Retention, StoreKind};
use cutline::coordinator::plan::{Edge, Pattern, Topology, Vertex};
use cutline::defect::{Defect, Defects};
use cutline::ids::{CheckpointId, OperatorId, SubtaskId};
use cutline::job::assignment::Redistribution;
use cutline::job::{Layout, Partitioner};
use cutline::message::SnapshotKind;
use cutline::storage::handle::{FileHandle, SharedFile, SharedHandle, SubtaskState};
use cutline::storage::layout;
use cutline::storage::metadata::{
    Metadata, OperatorMetadata, StateHandle, StateObject, SubtaskMetadata,
};
use cutline::task::snapshots::PartKind;
use cutline::time::VirtualTime;

use super::SnapshotPayload;
use crate::engine::plan::Plan;
use crate::engine::{Part, Place};
use crate::world::{Ownership, Pointer};

pub(super) fn handle_of(part: &Part) -> FileHandle {
    FileHandle { path: part.path.as_str().into(), size: part.nominal }
}

pub(super) fn subtask_state(parts: Vec<Part>, ended: bool) -> SubtaskState<SnapshotPayload> {
    let private = parts.iter().filter(|part| part.place == Place::File);
    let is_logged = |part: &Part| matches!(part.place, Place::Logged { .. });
    let uploaded = parts.iter().filter(|part| part.is_uploaded()).map(|part| part.nominal);
    SubtaskState {
        checkpointed: parts.iter().any(is_logged).then(|| uploaded.sum()),
        private: private.map(handle_of).collect(),
        shared: parts.iter().filter_map(shared_file).collect(),
        ended,
        payload: SnapshotPayload { parts },
    }
}

fn shared_file(part: &Part) -> Option<SharedFile> {
    let handle = match &part.place {
        Place::Shared(_) | Place::Logged { .. } => SharedHandle::File(handle_of(part)),
        Place::Known(_) if part.path.is_empty() => SharedHandle::Placeholder,
        Place::Known(_) => SharedHandle::File(handle_of(part)),
        Place::File | Place::Inline(_) => return None,
    };
    part.key().map(|key| SharedFile { key: key.clone(), handle })
}

/// The parts of a state that the coordinator has taken in: the registry knows where shared files are.
pub(super) fn parts_of(state: &SubtaskState<SnapshotPayload>) -> impl Iterator<Item = Part> {
    let mut shared = state.shared.iter();
    state.payload.parts.iter().cloned().map(move |mut part| {
        if let Some(key) = part.key().cloned() {
            let file = shared.next().expect("each shared part was registered");
            assert_eq!(file.key, key, "files are registered in the order of the parts");
            let SharedHandle::File(handle) = &file.handle else {
                unreachable!("placeholders were replaced when they were registered (F1)")
            };
            part.path = handle.path.to_string();
            part.place = Place::Shared(key);
        }
        part
    })
}

/// What the coordinator will ask of barriers; for the observation only.
pub(super) fn alignment(
    options: &CheckpointingOptions,
    kind: SnapshotKind,
) -> cutline::message::Alignment {
    use cutline::message::Alignment;
    if !options.exactly_once {
        Alignment::AtLeastOnce
    } else if kind.is_savepoint() || !options.unaligned {
        Alignment::Aligned
    } else if options.aligned_timeout.is_zero() {
        Alignment::Unaligned
    } else {
        Alignment::AlignedWithTimeout(options.aligned_timeout)
    }
}

pub(super) fn coordinator_config(plan: &Plan, store: StoreKind) -> CoordinatorConfig {
    let options = &plan.scenario.checkpointing;
    CoordinatorConfig {
        defects: plan.defects,
        has_loop: plan.scenario.job.has_loop(),
        max_concurrent: options.max_concurrent as usize,
        min_pause: options.min_pause,
        timeout: options.timeout,
        exactly_once: options.exactly_once,
        unaligned: options.unaligned,
        aligned_timeout: Some(options.aligned_timeout).filter(|timeout| !timeout.is_zero()),
        after_tasks_finish: options.checkpoints_after_tasks_finish,
        tolerable_failures: Some(u64::from(options.tolerable_failures)),
        max_retained: options.retained as usize,
        retention: retention(options),
        store,
        stores_stops: true,
        drains_shared: true,
        drops_outlived: true,
    }
}

/// The metadata file of a snapshot.
pub(super) fn metadata_path(checkpoint: CheckpointId, kind: SnapshotKind) -> String {
    layout::Path::Metadata(layout::Directory::of(checkpoint, kind)).text()
}

fn retention(options: &CheckpointingOptions) -> Retention {
    match options.retention {
        config::Retention::RetainOnCancellation => Retention::RetainOnCancellation,
        config::Retention::DeleteOnCancellation => Retention::RetainOnFailure,
        config::Retention::NoExternalized => Retention::NeverRetainAfterTermination,
    }
}

pub(super) fn topology(plan: &Plan, layout: &Layout) -> Topology {
    let job = layout.job();
    let vertex = |(index, operator): (usize, &cutline::job::JobOperator)| Vertex {
        operator: OperatorId(index as u32),
        parallelism: operator.parallelism,
        union_list_state: plan.redistribution(OperatorId(index as u32)) == Redistribution::Union,
    };
    let edge = |edge: &cutline::job::Edge| Edge {
        from: edge.from.index(),
        to: edge.to.index(),
        pattern: match edge.partitioner {
            Partitioner::Forward | Partitioner::Rescale => Pattern::Pointwise,
            Partitioner::Hash | Partitioner::Rebalance | Partitioner::Broadcast => {
                Pattern::AllToAll
            }
        },
    };
    Topology {
        vertices: job.operators().iter().enumerate().map(vertex).collect(),
        // Whoever is at the head of a loop has nobody in front of it any more when the others have
        // finished: what comes round is what it has sent.
        edges: job.edges().iter().filter(|edge| edge.leads_on()).map(edge).collect(),
    }
}

pub(super) fn metadata_of(
    layout: &Layout,
    checkpoint: &CompletedCheckpoint<SnapshotPayload>,
    defects: Defects,
) -> Metadata {
    let first = layout.subtasks().start;
    let mut subtasks = vec![SubtaskMetadata::default(); layout.subtasks().len()];
    for finished in &checkpoint.finished {
        subtasks[finished.index()].finished = true;
    }
    for (subtask, state) in &checkpoint.subtasks {
        let Some(state) = state else { continue };
        let metadata = &mut subtasks[subtask.index()];
        metadata.ended = state.ended;
        metadata.finished |=
            defects.has(Defect::D85) && checkpoint.kind == SnapshotKind::SavepointSuspend;
        for Part { kind, path, bytes, nominal, checksum, place, .. } in parts_of(state) {
            let handle = StateHandle { path, bytes, nominal, checksum };
            let object = match place {
                Place::File => StateObject::File(handle),
                Place::Shared(key) | Place::Known(key) | Place::Logged { key, .. } => {
                    StateObject::Shared { key, handle }
                }
                Place::Inline(bytes) => StateObject::Inline { bytes, nominal },
            };
            match kind {
                PartKind::Operator => metadata.state.push(object),
                PartKind::Channels => metadata.channels.push(object),
            }
        }
    }
    let operators = layout.job().operators().iter().enumerate().map(|(index, operator)| {
        let range = layout.subtasks_of(OperatorId(index as u32));
        let range = (range.start - first) as usize..(range.end - first) as usize;
        OperatorMetadata {
            name: operator.name.clone(),
            max_parallelism: operator.max_parallelism,
            coordinator: coordinator_object(checkpoint, OperatorId(index as u32)),
            subtasks: subtasks[range].to_vec(),
        }
    });
    let empty = |operator: &OperatorMetadata| {
        operator.subtasks.iter().all(|subtask| *subtask == SubtaskMetadata::default())
    };
    let operators = operators.filter(|it| !(defects.has(Defect::D97) && empty(it)));
    Metadata {
        checkpoint: checkpoint.id,
        kind: checkpoint.kind,
        timestamp: checkpoint.timestamp,
        operators: operators.collect(),
    }
}

/// The parallelism of each operator when a checkpoint was taken. One that the metadata does not know
/// has none to remember.
pub(super) fn parallelism_of(layout: &Layout, metadata: &Metadata) -> Vec<u32> {
    let known = |name: &str| metadata.operators.iter().find(|operator| operator.name == name);
    let operators = layout.job().operators().iter();
    let parallelism = operators.map(|operator| match known(&operator.name) {
        Some(stored) => stored.parallelism(),
        None => operator.parallelism,
    });
    parallelism.collect()
}

/// A completed checkpoint as its metadata file describes it. Its subtasks are numbered through as
/// those of a job with the parallelism that it was taken with.
pub(super) fn retained_from(
    (plan, parallelism): (&Plan, &[u32]),
    metadata: &Metadata,
    pointer: Pointer,
    size: u64,
) -> Retained<SnapshotPayload> {
    let mut subtasks = Vec::new();
    let mut finished = Vec::new();
    let of = |operator: &OperatorMetadata| {
        plan.operator_named(&operator.name).expect("a checkpoint of this job")
    };
    for operator in &metadata.operators {
        let at = of(operator);
        let first: u32 = parallelism[..at.index()].iter().sum();
        for (number, subtask) in operator.subtasks.iter().enumerate() {
            let id = SubtaskId(first + number as u32);
            if subtask.finished {
                finished.push(id);
                continue;
            }
            let parts = |kind, objects: &[StateObject]| -> Vec<Part> {
                let part = |object| part_of(kind, (at, number as u32), object);
                objects.iter().map(part).collect()
            };
            let mut all = parts(PartKind::Operator, &subtask.state);
            all.extend(parts(PartKind::Channels, &subtask.channels));
            subtasks.push((id, Some(subtask_state(all, subtask.ended))));
        }
    }
    let coordinator = |operator: &OperatorMetadata| {
        let at = of(operator);
        Some((at, coordinator_state(at, operator.coordinator.as_ref()?)))
    };
    let Pointer { metadata: path, ownership, .. } = pointer;
    let checkpoint = CompletedCheckpoint {
        id: metadata.checkpoint,
        kind: match ownership {
            // A savepoint that the job has taken over is one of its checkpoints.
            Ownership::Claimed if metadata.kind.is_savepoint() => SnapshotKind::Checkpoint,
            Ownership::Claimed | Ownership::Unclaimed | Ownership::Taker => metadata.kind,
        },
        timestamp: metadata.timestamp,
        acknowledged_at: VirtualTime::ZERO,
        retention: retention(&plan.scenario.checkpointing),
        unclaimed: ownership == Ownership::Unclaimed,
        location: layout::Directory::of(metadata.checkpoint, metadata.kind).to_string().into(),
        subtasks,
        finished,
        finished_operators: metadata
            .operators
            .iter()
            .filter(|operator| operator.is_finished())
            .map(of)
            .collect(),
        coordinators: metadata.operators.iter().filter_map(coordinator).collect(),
    };
    Retained { checkpoint: Arc::new(checkpoint), metadata: FileHandle { path: path.into(), size } }
}

/// An operator coordinator's part of a checkpoint, as the checkpoint coordinator keeps it. Flink: it is
/// a byte handle, part of the metadata.
pub(super) fn coordinator_state(
    operator: OperatorId,
    object: &StateObject,
) -> SubtaskState<SnapshotPayload> {
    subtask_state(vec![part_of(PartKind::Operator, (operator, 0), object)], false)
}

/// The bytes of an operator coordinator's part.
pub(super) fn bytes_of(state: &SubtaskState<SnapshotPayload>) -> Option<&[u8]> {
    match &state.payload.parts.first()?.place {
        Place::Inline(bytes) => Some(bytes),
        Place::File | Place::Shared(_) | Place::Known(_) | Place::Logged { .. } => None,
    }
}

/// The enumerator's part of a checkpoint, as its metadata has it.
fn coordinator_object(
    checkpoint: &CompletedCheckpoint<SnapshotPayload>,
    source: OperatorId,
) -> Option<StateObject> {
    let bytes = bytes_of(checkpoint.coordinator(source)?)?.to_vec();
    let nominal = bytes.len() as u64;
    Some(StateObject::Inline { bytes, nominal })
}

fn part_of(kind: PartKind, (operator, subtask): (OperatorId, u32), object: &StateObject) -> Part {
    let (handle, place) = match object {
        StateObject::File(handle) => (handle.clone(), Place::File),
        StateObject::Shared { key, handle } => (handle.clone(), Place::Shared(key.clone())),
        StateObject::Inline { bytes, nominal } => {
            (StateHandle::new(String::new(), bytes, *nominal), Place::Inline(bytes.clone()))
        }
    };
    let StateHandle { path, bytes, nominal, checksum } = handle;
    Part { kind, operator, subtask, path, bytes, nominal, checksum, place }
}
