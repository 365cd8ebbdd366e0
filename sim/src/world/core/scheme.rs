//! What kinds of stores do each in their own way.
//!
//! | `execution.checkpointing.dir` | a write that is cut off leaves | besides |
//! | --- | --- | --- |
//! | not set | half an object | nothing: as neutral as can be |
//! | `hdfs://` | half a state file; metadata are renamed into place | the name node is asked for everything, twice for a write |
//! | `s3://` | nothing: an upload that is not completed is not there | requests below one prefix are limited; what is large is uploaded in parts, and parts of a writer that has died stay until somebody drops them |
//! | `file://` | half a state file; metadata are renamed into place | a directory that all hosts have mounted |
//! | `memory://` | nothing | no request but for a savepoint's metadata; gone with the job manager, but for savepoints; a state has at most 5 MiB |
//!
//! The first, `hdfs://` and `file://` are files on a host, which may crash: what was not synced goes with
//! it ([`StoredObject::durable_at`](crate::world::store::StoredObject::durable_at)). Names are safer than
//! contents: what was deleted stays deleted.
//!
//! In Flink: `FsCheckpointStateOutputStream` writes states in place; `FsCheckpointMetadataOutputStream`
//! uses the file system's `RecoverableWriter` where there is one, which these have. In the memory of the job
//! manager a state comes with its acknowledgement, whatever it is for (`MemoryBackendCheckpointStorageAccess
//! #resolveCheckpointStorageLocation`), and a savepoint's metadata are written to a directory, states and
//! all.

use std::collections::BTreeMap;

use cutline::config::Scheme;
use cutline::storage::layout::{Directory, Path};
use cutline::time::VirtualTime;

use super::{Core, CutOff, Parcel, WorldConfig};
use crate::observe::Observation;
use crate::world::services::Service;
use crate::world::{Observer, Process, ProcessId, Purpose, Request};

/// Flink: `JobManagerCheckpointStorage#DEFAULT_MAX_STATE_SIZE`.
const IN_MEMORY_MAX: u64 = 5 << 20;

/// How many requests were answered below each prefix in this second.
#[derive(Debug, Default)]
pub(super) struct PrefixLimits {
    second: u64,
    answered: BTreeMap<String, u32>,
}

/// How often a name node is asked in the course of a request.
pub(super) fn rounds(request: &Request) -> u32 {
    match request.service() {
        // The file is created, and completed.
        Service::ObjectStore if matches!(request, Request::Put { .. }) => 2,
        Service::ObjectStore => 1,
        Service::HaStore | Service::External => 0,
    }
}

/// Whether a write that is cut off leaves nothing behind.
pub(super) fn is_whole_or_nothing(scheme: Option<Scheme>, purpose: Purpose) -> bool {
    match scheme {
        None => false,
        Some(Scheme::Hdfs | Scheme::File) => purpose == Purpose::Metadata,
        Some(Scheme::S3 | Scheme::Memory) => true,
    }
}

/// Into how many parts an object is divided; `None`: it is uploaded in one go. Hadoop:
/// `fs.s3a.multipart.size`.
fn parts(request: &Request, config: &WorldConfig) -> Option<u64> {
    match request {
        Request::Put { nominal, .. } if config.storage_scheme == Some(Scheme::S3) => {
            let size = config.storage_part_size.max(1);
            (*nominal > size).then(|| nominal.div_ceil(size))
        }
        _ => None,
    }
}

/// How many calls, one after the other, a request is made of: an upload in parts begins and ends with one
/// of its own, and its parts go side by side.
pub(super) fn calls(request: &Request, config: &WorldConfig) -> u32 {
    if parts(request, config).is_some() { 3 } else { 1 }
}

fn prefix(request: &Request) -> Option<&str> {
    let path = match request {
        Request::Put { path, .. }
        | Request::Get { path }
        | Request::Delete { path }
        | Request::AbortUpload { path } => path,
        Request::List { prefix } | Request::ListUploads { prefix } => prefix,
        _ => return None,
    };
    Some(path.split_once('/').map_or("", |(directory, _)| directory))
}

impl<P: Process, O: Observer> Core<P, O> {
    /// Whether the store has answered as many requests of this kind in this second as it does.
    pub(super) fn is_over_limit(&mut self, request: &Request, now: VirtualTime) -> bool {
        const SECOND: u64 = 1_000_000_000;
        if self.config.storage_scheme != Some(Scheme::S3) {
            return false;
        }
        let Some(prefix) = prefix(request) else { return false };
        let second = now.as_nanos() / SECOND;
        if second != self.limits.second {
            self.limits.second = second;
            self.limits.answered.clear();
        }
        let answered = self.limits.answered.entry(prefix.to_owned()).or_default();
        let over = *answered >= self.config.storage_requests_per_prefix;
        let calls = parts(request, &self.config).map_or(1, |parts| parts + 2);
        *answered += if over { 0 } else { u32::try_from(calls).unwrap_or(u32::MAX) };
        over
    }

    /// The parts that were uploaded stay where the writer of an upload in parts has died: half of them.
    pub(super) fn leaves_parts(&mut self, request: &Request, now: VirtualTime) -> bool {
        let (Request::Put { path, .. }, Some(parts)) = (request, parts(request, &self.config))
        else {
            return false;
        };
        let bytes = parts / 2 * self.config.storage_part_size;
        self.store.leave_upload(path.clone(), bytes);
        self.observer.observe(now, &Observation::UploadLeft { bytes });
        true
    }

    /// Whether this is a matter of the job manager's memory, and of no store.
    pub(super) fn is_in_memory(&self, request: &Request) -> bool {
        let (Request::Put { path, .. } | Request::Get { path } | Request::Delete { path }) =
            request
        else {
            return false;
        };
        self.config.storage_scheme == Some(Scheme::Memory)
            && !matches!(path.parse(), Ok(Path::Metadata(Directory::Savepoint(_))))
    }

    /// Whether the job manager's memory does not take a state of this size.
    pub(super) fn is_too_large(&self, nominal: u64) -> bool {
        self.config.storage_scheme == Some(Scheme::Memory) && nominal > IN_MEMORY_MAX
    }

    /// The host of the store crashes. A write that is under way is cut off; what else is asked before it
    /// is back is asked again until it is. (HDFS: `dfs.client.retry.policy`; NFS: a `hard` mount.)
    pub(super) fn crash_storage_host(&mut self, back_at: VirtualTime, now: VirtualTime) -> bool {
        let mut writes = 0;
        for parcel in &mut self.parcels {
            if let Parcel::Request { request: Request::Put { .. }, cut_off, .. } = parcel
                && *cut_off == CutOff::No
            {
                writes += 1;
                *cut_off = CutOff::ByStore;
            }
        }
        self.observer.observe(now, &Observation::StorageHostCrashed { writes });
        self.storage_back_at = self.storage_back_at.max(back_at);
        let mut stream = self.streams.stream("storage host", &now.as_nanos().to_string());
        for (file, gone) in self.store.lose_unsynced(now, || stream.below(2) == 0) {
            self.observer.observe(now, &Observation::UnsyncedLost { file, gone });
        }
        true
    }

    /// A process has died, and nobody completes what it was writing: no upload (S3), no file that is
    /// closed or renamed. What had come to its last message arrives all the same, as that is on its way.
    ///
    /// In Flink: `S3RecoverableMultipartUploadManager`, `FsCheckpointStateOutputStream
    /// #closeAndGetHandle`; what HDFS keeps of a file that nobody closes, its lease recovery decides.
    pub(super) fn cut_uploads_off(&mut self, process: ProcessId, now: VirtualTime) {
        let mut writes = 0;
        let name = format!("{} {}", process.0, now.as_nanos());
        let mut stream = self.streams.stream("writer dies", &name);
        for parcel in &mut self.parcels {
            if let Parcel::Request { request: Request::Put { .. }, from, sent, cut_off, .. } =
                parcel
                && *from == process
                && now < *sent
                && *cut_off == CutOff::No
            {
                writes += 1;
                *cut_off = CutOff::ByWriter { half: stream.below(2) == 0 };
            }
        }
        if writes > 0 {
            let process = process.0;
            self.observer.observe(now, &Observation::UploadsCutOff { process, writes });
        }
    }

    /// The job manager has died, and what was in its memory is gone. Savepoints are files elsewhere.
    pub(super) fn lose_memory(&mut self, now: VirtualTime) {
        if self.config.storage_scheme != Some(Scheme::Memory) {
            return;
        }
        let is_lost = |path: &str| match path.parse::<Path>() {
            Ok(path) => !matches!(path.directory(), Directory::Savepoint(_)),
            Err(_) => true,
        };
        for file in self.store.lose(is_lost) {
            self.observer.observe(now, &Observation::FileLost { file });
        }
    }
}
