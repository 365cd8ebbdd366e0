//! The groups `shared_state_registry` and `checkpoint_store`.

use std::sync::Arc;

use cutline::coordinator::completed::{
    Cleanup, CompletedCheckpoint, CompletedStore, JobStatus, Retained, Retention, StoreKind,
};
use cutline::defect::Defects;
use cutline::ids::{CheckpointId, SubtaskId};
use cutline::message::SnapshotKind;
use cutline::storage::handle::{FileHandle, SharedFile, SharedHandle, SharedKey, SubtaskState};
use cutline::storage::registry::{ClaimMode, SharedStateRegistry};
use cutline::time::VirtualTime;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{CaseError, Driver};

pub(super) fn file(name: &str) -> FileHandle {
    FileHandle { path: name.into(), size: 1 }
}

/// A shared file whose path is its key.
pub(super) fn shared(key: &str) -> SharedFile {
    SharedFile { key: SharedKey(key.into()), handle: SharedHandle::File(file(key)) }
}

fn sorted(files: &[FileHandle]) -> Vec<&str> {
    let mut paths: Vec<_> = files.iter().map(|file| &*file.path).collect();
    paths.sort_unstable();
    paths
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RestoredKind {
    Checkpoint,
    FullCheckpoint,
    SavepointNative,
    SavepointCanonical,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Mode {
    Claim,
    NoClaim,
    Legacy,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum RegistryOperation {
    Register {
        key: String,
        handle: Option<String>,
        #[serde(default)]
        placeholder: bool,
        cp: CheckpointId,
        #[serde(default)]
        keep_creator: bool,
    },
    CheckpointCompleted {
        #[expect(dead_code, reason = "read to check the file; the registry has no use for it")]
        cp: CheckpointId,
    },
    UnregisterUnused {
        lowest: CheckpointId,
    },
    Restore {
        cp: CheckpointId,
        kind: RestoredKind,
        mode: Mode,
        keys: Vec<String>,
    },
    Close {},
}

pub(super) struct RegistryDriver(SharedStateRegistry);

impl Driver for RegistryDriver {
    type Config = Nothing;
    type Operation = RegistryOperation;

    fn new(_: Nothing) -> Result<Self, CaseError> {
        Ok(Self(SharedStateRegistry::new()))
    }

    fn step(&mut self, operation: RegistryOperation) -> Result<Value, String> {
        use RegistryOperation as Op;
        match operation {
            Op::Register { key, handle, placeholder, cp, keep_creator } => {
                let handle = match (handle, placeholder) {
                    (Some(handle), false) => SharedHandle::File(file(&handle)),
                    (None, true) => SharedHandle::Placeholder,
                    (Some(_), true) | (None, false) => {
                        return Err("either a handle or a placeholder".to_owned());
                    }
                };
                let key = SharedKey(key.into());
                let registered = self.0.register(&SharedFile { key, handle }, cp, keep_creator);
                Ok(match registered {
                    Ok(file) => json!({ "returned": &*file.path }),
                    Err(_) => json!({ "error": "illegal_state" }),
                })
            }
            // A file under a known key with another name is refused, confirmed or not, so the
            // registry need not know which entries belong to completed checkpoints.
            Op::CheckpointCompleted { .. } => Ok(json!({})),
            Op::UnregisterUnused { lowest } => {
                let unused = self.0.unregister_unused(lowest);
                Ok(json!({ "in_use": unused.in_use, "discarded": sorted(&unused.files) }))
            }
            Op::Restore { cp, kind, mode, keys } => {
                let kind = match kind {
                    RestoredKind::Checkpoint => SnapshotKind::Checkpoint,
                    RestoredKind::FullCheckpoint => SnapshotKind::FullCheckpoint,
                    RestoredKind::SavepointNative | RestoredKind::SavepointCanonical => {
                        SnapshotKind::Savepoint
                    }
                };
                let mode = match mode {
                    Mode::Claim => ClaimMode::Claim,
                    Mode::NoClaim => ClaimMode::NoClaim,
                    Mode::Legacy => ClaimMode::Legacy,
                };
                let files: Vec<_> = keys.iter().map(|key| shared(key)).collect();
                Ok(match self.0.restore(cp, kind, mode, &files) {
                    Ok(()) => json!({}),
                    Err(_) => json!({ "error": "illegal_state" }),
                })
            }
            Op::Close {} => {
                self.0.close();
                Ok(json!({}))
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StoredKind {
    #[default]
    Checkpoint,
    FullCheckpoint,
    #[serde(alias = "savepoint_native")]
    Savepoint,
    SavepointSuspend,
    SavepointTerminate,
    Unclaimed,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StoreName {
    Standalone,
    Default,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredCheckpoint {
    cp: CheckpointId,
    #[serde(default)]
    kind: StoredKind,
    #[serde(default)]
    retention: Retention,
    #[serde(default)]
    shared: Vec<String>,
    #[serde(default)]
    fail: bool,
}

impl StoredCheckpoint {
    fn build(&self) -> Retained<()> {
        let (kind, unclaimed) = match self.kind {
            StoredKind::Checkpoint => (SnapshotKind::Checkpoint, false),
            StoredKind::FullCheckpoint => (SnapshotKind::FullCheckpoint, false),
            StoredKind::Savepoint => (SnapshotKind::Savepoint, false),
            StoredKind::SavepointSuspend => (SnapshotKind::SavepointSuspend, false),
            StoredKind::SavepointTerminate => (SnapshotKind::SavepointTerminate, false),
            StoredKind::Unclaimed => (SnapshotKind::Savepoint, true),
        };
        let state = SubtaskState {
            private: vec![file(&format!("private {}", self.cp.0))],
            shared: self.shared.iter().map(|key| shared(key)).collect(),
            ended: false,
            checkpointed: None,
            payload: (),
        };
        let checkpoint = CompletedCheckpoint {
            id: self.cp,
            kind,
            timestamp: VirtualTime::ZERO,
            acknowledged_at: VirtualTime::ZERO,
            retention: self.retention,
            unclaimed,
            location: "location".into(),
            subtasks: vec![(SubtaskId(0), Some(state))],
            finished: Vec::new(),
            finished_operators: Vec::new(),
            coordinators: Vec::new(),
        };
        Retained {
            checkpoint: Arc::new(checkpoint),
            metadata: file(&format!("metadata {}", self.cp.0)),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoreSetup {
    store: StoreName,
    max_retained: usize,
    #[serde(default)]
    recovered: Vec<StoredCheckpoint>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(super) enum StoreOperation {
    Add(StoredCheckpoint),
    Shutdown { status: JobStatus },
}

pub(super) struct StoreDriver(CompletedStore<()>);

impl StoreDriver {
    fn add(&mut self, stored: &StoredCheckpoint) -> Result<Value, String> {
        if self.0.latest().is_some_and(|r| r.checkpoint.id >= stored.cp) {
            return Err(format!("{} does not follow the latest", stored.cp));
        }
        let retained = stored.build();
        let mut error = None;
        for shared in retained.checkpoint.shared() {
            if self.0.registry().register(shared, stored.cp, false).is_err() {
                error = Some("illegal_state");
            }
        }
        if error.is_some() || stored.fail {
            return Ok(json!({ "error": error.unwrap_or("io") }));
        }
        let Ok(added) = self.0.add(retained) else {
            return Ok(json!({ "error": "illegal_state" }));
        };
        for &id in &added.remove {
            self.0.pointer_removed(id, true);
        }
        let mut answer = deletions(&self.0.clean());
        answer["subsumed"] = json!(added.subsumed.map(|(id, _)| id));
        answer["removed_handles"] = handles(&added.remove);
        Ok(answer)
    }
}

/// Their names in the high-availability store, sorted as text.
fn handles(ids: &[CheckpointId]) -> Value {
    let mut names: Vec<_> = ids.iter().map(|id| id.0.to_string()).collect();
    names.sort_unstable();
    json!(names)
}

fn deletions(cleanup: &Cleanup<()>) -> Value {
    let mut ids: Vec<_> = cleanup.checkpoints.iter().map(|r| r.checkpoint.id).collect();
    ids.sort_unstable();
    json!({
        "discarded": ids,
        "discarded_state": ids,
        "discarded_shared": sorted(&cleanup.shared),
    })
}

impl Driver for StoreDriver {
    type Config = StoreSetup;
    type Operation = StoreOperation;

    fn new(config: StoreSetup) -> Result<Self, CaseError> {
        let kind = match config.store {
            StoreName::Standalone => StoreKind::Standalone,
            StoreName::Default => StoreKind::Default,
        };
        let mut store = CompletedStore::new(kind, config.max_retained, Defects::none());
        if !config.recovered.iter().map(|stored| stored.cp).is_sorted() {
            return Err(CaseError::Range("recovered checkpoints are not in order"));
        }
        let recovered = config.recovered.iter().map(StoredCheckpoint::build);
        store
            .recover(recovered, ClaimMode::Claim)
            .map_err(|_| CaseError::Range("recovered checkpoints contradict each other"))?;
        Ok(Self(store))
    }

    fn step(&mut self, operation: StoreOperation) -> Result<Value, String> {
        let mut answer = match operation {
            StoreOperation::Add(stored) => self.add(&stored)?,
            StoreOperation::Shutdown { status } => {
                let (removed, cleanup) = self.0.shutdown(status);
                let mut answer = deletions(&cleanup);
                answer["removed_handles"] = handles(&removed);
                answer
            }
        };
        let retained = self.0.retained().map(|r| r.checkpoint.id);
        answer["retained"] = json!(retained.collect::<Vec<_>>());
        answer["latest"] = json!(self.0.latest().map(|r| r.checkpoint.id));
        Ok(answer)
    }
}
