//! What a restore would give, read from storage alone: the checks' view of what is stored.

use std::cell::OnceCell;

use cutline::ids::{CheckpointId, InputChannel, OperatorId, OutputChannel, SubtaskId};
use cutline::job::Layout;
use cutline::operator::Record;
use cutline::storage::changelog;
use cutline::storage::channel_state::ChannelState;
use cutline::storage::increment::{self, ReadFile};
use cutline::storage::layout::{self, Directory};
use cutline::storage::metadata::{Metadata, StateHandle, StateObject, SubtaskMetadata};

use super::plan::Plan;
use crate::check::{InFlight, OpenTransaction, Outside, RestoreOracle, ShadowError, ShadowState};
use crate::observe::FileId;
use crate::world::{ExternalSystem, HaStore, ObjectStore};

/// The stores and the outside, as somebody would see them who has nothing else.
#[derive(Debug)]
pub struct Storage<'a> {
    plan: &'a Plan,
    store: &'a ObjectStore,
    ha: &'a HaStore,
    external: &'a ExternalSystem,
    /// The first checkpoint that was asked for: of one that has just become durable the checks want
    /// the files and the state, and nothing is written between the two questions.
    first: OnceCell<(CheckpointId, Option<Result<Metadata, ShadowError>>)>,
}

impl<'a> Storage<'a> {
    /// The stores of a job.
    pub fn new(
        plan: &'a Plan,
        store: &'a ObjectStore,
        ha: &'a HaStore,
        external: &'a ExternalSystem,
    ) -> Self {
        Self { plan, store, ha, external, first: OnceCell::new() }
    }

    /// Where the metadata of a checkpoint is: the pointer says it, or, of what has none (any more),
    /// the layout.
    fn path(&self, checkpoint: CheckpointId) -> Option<String> {
        if let Some(pointer) = self.ha.pointers.get(&checkpoint) {
            return Some(pointer.metadata.clone());
        }
        let directories = [Directory::Savepoint(checkpoint), Directory::Checkpoint(checkpoint)];
        let paths = directories.map(|directory| layout::Path::Metadata(directory).text());
        paths.into_iter().find(|path| self.store.file(path).is_some())
    }

    /// Lets somebody look at the metadata of a checkpoint; `None` if there is none.
    fn with_metadata<R>(
        &self,
        checkpoint: CheckpointId,
        look: impl FnOnce(Result<&Metadata, ShadowError>) -> R,
    ) -> Option<R> {
        let (first, metadata) = self.first.get_or_init(|| (checkpoint, self.metadata(checkpoint)));
        if *first == checkpoint {
            return metadata.as_ref().map(|read| look(read.as_ref().map_err(Clone::clone)));
        }
        self.metadata(checkpoint).map(|read| look(read.as_ref().map_err(Clone::clone)))
    }

    fn metadata(&self, checkpoint: CheckpointId) -> Option<Result<Metadata, ShadowError>> {
        let path = self.path(checkpoint)?;
        Some(self.read(&path).and_then(|bytes| {
            Metadata::decode(bytes).map_err(|error| ShadowError::Damaged {
                what: path.clone(),
                error: error.to_string(),
            })
        }))
    }

    fn read(&self, path: &str) -> Result<&'a [u8], ShadowError> {
        match self.store.get(path) {
            Some(object) => Ok(&object.bytes),
            None => Err(ShadowError::Missing {
                file: self.store.file(path).unwrap_or(FileId(u32::MAX)),
                path: path.to_owned(),
            }),
        }
    }

    fn bytes(&self, object: &'a StateObject) -> Result<&'a [u8], ShadowError> {
        match object {
            StateObject::Inline { bytes, .. } => Ok(bytes),
            StateObject::File(handle) | StateObject::Shared { handle, .. } => self.file(handle),
        }
    }

    fn file(&self, handle: &StateHandle) -> Result<&'a [u8], ShadowError> {
        let bytes = self.read(&handle.path)?;
        if handle.matches(bytes) {
            return Ok(bytes);
        }
        let error = "its checksum is not that of the metadata".to_owned();
        Err(ShadowError::Damaged { what: handle.path.clone(), error })
    }

    fn state(&self, metadata: &Metadata) -> Result<ShadowState, ShadowError> {
        let layout = self.layout_of(metadata);
        let mut shadow = ShadowState::default();
        let mut captured: Vec<(SubtaskId, ChannelState)> = Vec::new();
        for operator in &metadata.operators {
            let Some(id) = self.plan.operator_named(&operator.name) else { continue };
            for (number, subtask) in operator.subtasks.iter().enumerate() {
                shadow.parts.push((id, self.states(subtask)?));
                if subtask.ended {
                    shadow.ended.push((id, number as u32));
                }
                if subtask.finished {
                    shadow.finished.push((id, number as u32));
                }
                for object in &subtask.channels {
                    let bytes = self.bytes(object)?;
                    let channels = ChannelState::decode(bytes).map_err(|error| {
                        let what = format!("channel state of {}[{number}]", operator.name);
                        ShadowError::Damaged { what, error: error.to_string() }
                    })?;
                    captured.push((layout.subtask(id, number as u32), channels));
                }
            }
            // Behind those of the subtasks, which are told apart by their place.
            if let Some(coordinator) = &operator.coordinator {
                shadow.parts.push((id, vec![self.bytes(coordinator)?.to_vec()]));
            }
        }
        shadow.in_flight = self.in_flight(&captured);
        Ok(shadow)
    }

    /// How the job was spread when a checkpoint was taken. An operator that it does not name had
    /// nothing that could be asked for.
    fn layout_of(&self, metadata: &Metadata) -> &'a Layout {
        let layouts = self.plan.graph.layouts();
        let fits = |layout: &&Layout| {
            metadata.operators.iter().all(|stored| {
                let operator = self.plan.operator_named(&stored.name);
                operator.is_some_and(|it| layout.parallelism(it) == stored.parallelism())
            })
        };
        layouts.iter().find(fits).unwrap_or(&layouts[0])
    }

    /// The states of a subtask; of an incremental or changelog snapshot, put together.
    fn states(&self, subtask: &SubtaskMetadata) -> Result<Vec<Vec<u8>>, ShadowError> {
        let mut states = Vec::new();
        let mut files = Vec::new();
        for object in &subtask.state {
            let bytes = self.bytes(object)?;
            match object {
                StateObject::Shared { key, handle } => {
                    let (path, nominal) = (handle.path.as_str(), handle.nominal);
                    files.push(ReadFile { key, path, nominal, bytes });
                }
                StateObject::File(_) | StateObject::Inline { .. } => states.push(bytes.to_vec()),
            }
        }
        if files.is_empty() {
            return Ok(states);
        }
        let assembled = states.iter().map(|manifest| {
            let (what, assembled) = match changelog::is_manifest(manifest) {
                true => ("a changelog snapshot", changelog::assemble(manifest, &files)),
                false => ("an incremental snapshot", increment::assemble(manifest, &files)),
            };
            assembled.map_err(|error| {
                let what = what.to_owned();
                ShadowError::Damaged { what, error: error.to_string() }
            })
        });
        assembled.collect()
    }

    /// What was in flight, in the order in which it is to be processed: at the operators furthest
    /// downstream first; on each channel what had arrived before what had not left.
    fn in_flight(&self, captured: &[(SubtaskId, ChannelState)]) -> Vec<InFlight> {
        let graph = &self.plan.graph;
        let mut waiting: Vec<(usize, InFlight)> = Vec::new();
        let order = graph.job().topological_order();
        let rank = |operator: OperatorId| {
            order.iter().rev().position(|one| *one == operator).expect("the order names all")
        };
        let mut add = |channel: cutline::ids::ChannelId, record: &Record| {
            let channel = graph.channels()[channel.index()];
            let operator = graph.operator(channel.to);
            let input = graph.gates(channel.to)[channel.gate.index()].input;
            waiting.push((rank(operator), InFlight { operator, input, record: *record }));
        };
        for (subtask, channels) in captured {
            for (InputChannel(index), record) in &channels.inputs {
                add(graph.inputs(*subtask)[*index as usize], record);
            }
        }
        for (subtask, channels) in captured {
            for (OutputChannel(index), record) in &channels.outputs {
                add(graph.outputs(*subtask)[*index as usize], record);
            }
        }
        // Stable: what was added first on a channel stays first.
        waiting.sort_by_key(|(rank, _)| *rank);
        waiting.into_iter().map(|(_, in_flight)| in_flight).collect()
    }
}

impl RestoreOracle for Storage<'_> {
    fn references(&self, checkpoint: CheckpointId) -> Option<Vec<FileId>> {
        let path = self.path(checkpoint)?;
        let mut files: Vec<FileId> = self.store.file(&path).into_iter().collect();
        self.with_metadata(checkpoint, |metadata| {
            let handles = metadata.into_iter().flat_map(Metadata::files);
            files.extend(handles.filter_map(|handle| self.store.file(&handle.path)));
        });
        Some(files)
    }

    fn shadow(&mut self, checkpoint: CheckpointId) -> Option<Result<ShadowState, ShadowError>> {
        self.with_metadata(checkpoint, |metadata| self.state(metadata?))
    }

    fn outside(&self, sink: OperatorId) -> Option<Outside> {
        let open = self.external.open().filter(|(transaction, _)| transaction.operator == sink);
        let open = open.map(|(transaction, stored)| OpenTransaction {
            subtask: transaction.subtask,
            attempt: transaction.attempt,
            begun: stored.begun,
        });
        Some(Outside { open: open.collect(), hidden: self.external.hidden(sink) })
    }
}
