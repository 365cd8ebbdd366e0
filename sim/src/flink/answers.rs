//! The answers of Flink's REST interface that are of use here, with their traps.
//!
//! - A number may be the text `"NaN"` (a percentile of too few values), a busy time even for good.
//! - A time or duration is −1 where it is not known yet.
//! - `className` tells a completed checkpoint or subtask from a pending or failed one.
//! - An aggregate of a vertex counts for something only if its `…-complete` says so.
//!
//! Times are milliseconds since 1970, durations milliseconds, sizes bytes.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

/// Nothing that is counted or timed here can be negative, and the largest number there is says never.
const SENSIBLE: std::ops::Range<f64> = 0.0..1e15;

/// A number that may be missing in one of Flink's ways.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Known(pub Option<f64>);

impl<'de> Deserialize<'de> for Known {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a number or \"NaN\"")]
        enum Raw {
            Number(f64),
            Text(String),
            Nothing(()),
        }
        match Raw::deserialize(deserializer)? {
            Raw::Number(number) => Ok(Self(Some(number).filter(|of| SENSIBLE.contains(of)))),
            Raw::Text(text) if text == "NaN" => Ok(Self(None)),
            Raw::Text(text) => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => {
                    Ok(Self(Some(number).filter(|of| SENSIBLE.contains(of))))
                }
                _ => Err(serde::de::Error::custom(format!("`{text}` is not a number"))),
            },
            Raw::Nothing(()) => Ok(Self(None)),
        }
    }
}

/// `/jobs/:jobid`.
#[derive(Clone, Debug, Deserialize)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// Its state, such as `RUNNING`.
    pub state: String,
    /// When the answer was made.
    #[serde(default)]
    pub now: Known,
    /// When it was started.
    #[serde(rename = "start-time", default)]
    pub start_time: Known,
    /// When it entered each state last; 0: never.
    #[serde(default)]
    pub timestamps: BTreeMap<String, Known>,
    /// Its vertices, inputs first.
    pub vertices: Vec<JobVertex>,
    /// Whether its plan is here, too, as in later versions of Flink.
    pub plan: Option<IgnoredAny>,
}

/// A vertex of [`Job`].
#[derive(Clone, Debug, Deserialize)]
pub struct JobVertex {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its subtasks.
    pub parallelism: u32,
    /// Its key groups.
    #[serde(rename = "maxParallelism")]
    pub max_parallelism: Option<u32>,
    /// How long it has been running.
    #[serde(default)]
    pub duration: Known,
    /// Sums over its subtasks.
    #[serde(default)]
    pub metrics: VertexMetrics,
}

/// Sums over the subtasks of a vertex, since it was deployed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct VertexMetrics {
    write_records: Known,
    write_records_complete: bool,
    write_bytes: Known,
    write_bytes_complete: bool,
}

impl VertexMetrics {
    /// Records written, if all subtasks have reported.
    pub fn write_records(&self) -> Option<f64> {
        self.write_records.0.filter(|_| self.write_records_complete)
    }

    /// Bytes written, if all subtasks have reported.
    pub fn write_bytes(&self) -> Option<f64> {
        self.write_bytes.0.filter(|_| self.write_bytes_complete)
    }
}

/// `/jobs/:jobid/checkpoints`.
#[derive(Clone, Debug, Deserialize)]
pub struct Checkpoints {
    /// How many, in all the life of the job.
    pub counts: Counts,
    /// The last ones of each kind.
    pub latest: Latest,
    /// The last ones; `web.checkpoints.history` of them, 10 unless set.
    pub history: Vec<Checkpoint>,
}

/// How many checkpoints.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Counts {
    /// In all.
    pub total: u64,
    /// Completed.
    pub completed: u64,
    /// Failed; those that failed before they had an id have no row.
    pub failed: u64,
    /// Pending.
    pub in_progress: u64,
}

/// The last ones.
#[derive(Clone, Debug, Deserialize)]
pub struct Latest {
    /// Last checkpoint that was restored.
    pub restored: Option<Restored>,
}

/// A restored checkpoint.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Restored {
    /// Its number.
    pub id: u64,
    /// When.
    pub restore_timestamp: Known,
}

/// One checkpoint.
#[derive(Clone, Debug, Deserialize)]
pub struct Checkpoint {
    /// Its number.
    pub id: u64,
    /// What became of it.
    pub status: Status,
    /// Savepoints are another thing.
    #[serde(default)]
    pub is_savepoint: bool,
    /// When it was triggered.
    pub trigger_timestamp: Known,
    /// Trigger to the last acknowledgement so far.
    pub end_to_end_duration: Known,
    /// Bytes it wrote.
    #[serde(default)]
    pub checkpointed_size: Known,
    /// Bytes of all that it refers to.
    #[serde(default)]
    pub state_size: Known,
    /// Bytes in flight that it holds.
    #[serde(default)]
    pub persisted_data: Known,
    /// Why it failed.
    pub failure_message: Option<String>,
}

/// What became of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Pending.
    InProgress,
    /// Completed.
    Completed,
    /// Failed.
    Failed,
}

/// `/jobs/:jobid/checkpoints/details/:checkpointid/subtasks/:vertexid`.
#[derive(Clone, Debug, Deserialize)]
pub struct Subtasks {
    /// The checkpoint's number.
    pub id: u64,
    /// One entry a subtask.
    pub subtasks: Vec<Subtask>,
}

/// What a subtask did for a checkpoint.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "className", rename_all = "snake_case")]
pub enum Subtask {
    /// It has acknowledged.
    Completed(Box<Acknowledged>),
    /// It has not.
    Pending {},
}

/// An acknowledgement.
#[derive(Clone, Debug, Deserialize)]
pub struct Acknowledged {
    /// Trigger to the acknowledgement.
    pub end_to_end_duration: Known,
    /// Bytes it wrote.
    pub checkpointed_size: Known,
    /// Bytes of all that it refers to.
    #[serde(default)]
    pub state_size: Known,
    /// The two parts of the snapshot.
    pub checkpoint: Parts,
    /// First barrier to the last.
    pub alignment: Alignment,
    /// Trigger to the first barrier.
    pub start_delay: Known,
    /// Given up before it was complete.
    #[serde(default)]
    pub aborted: bool,
}

/// The two parts of a snapshot.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Parts {
    /// The synchronous part.
    pub sync: Known,
    /// The asynchronous part.
    #[serde(rename = "async")]
    pub asynchronous: Known,
}

/// An alignment.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Alignment {
    /// Bytes in flight that were persisted.
    pub persisted: Known,
    /// First barrier to the last.
    pub duration: Known,
}

/// `/jobs/:jobid/checkpoints/config`.
#[derive(Clone, Debug, Deserialize)]
pub struct CheckpointConfig {
    /// `exactly_once` or `at_least_once`.
    pub mode: String,
    /// Interval.
    pub interval: Known,
    /// Timeout.
    pub timeout: Known,
    /// Least pause.
    pub min_pause: Known,
    /// Most at a time.
    pub max_concurrent: u32,
    /// `HashMapStateBackend`, `EmbeddedRocksDBStateBackend`, …
    #[serde(default)]
    pub state_backend: String,
    /// Whether barriers overtake.
    #[serde(default)]
    pub unaligned_checkpoints: bool,
    /// Failures in a row that are tolerated.
    #[serde(default)]
    pub tolerable_failed_checkpoints: u32,
    /// Alignment after which barriers overtake.
    #[serde(default)]
    pub aligned_checkpoint_timeout: Known,
    /// Whether checkpoints go on when tasks have finished.
    pub checkpoints_after_tasks_finish: Option<bool>,
    /// What becomes of checkpoints when the job ends.
    pub externalization: Option<Externalization>,
}

/// What becomes of checkpoints when the job ends.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Externalization {
    /// Whether anything is kept.
    pub enabled: bool,
    /// Whether not even when the job is cancelled.
    pub delete_on_cancellation: bool,
}

/// An entry of `/jobmanager/config`.
#[derive(Clone, Debug, Deserialize)]
pub struct ConfigEntry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

/// `/jobs/:jobid/exceptions`.
#[derive(Clone, Debug, Deserialize)]
pub struct Exceptions {
    /// Failures of the job, the last first.
    #[serde(rename = "exceptionHistory")]
    pub history: ExceptionHistory,
}

/// Failures of a job.
#[derive(Clone, Debug, Deserialize)]
pub struct ExceptionHistory {
    /// The failures.
    pub entries: Vec<ExceptionEntry>,
}

/// One failure.
#[derive(Clone, Debug, Deserialize)]
pub struct ExceptionEntry {
    /// The class of the exception.
    #[serde(rename = "exceptionName")]
    pub name: String,
    /// Its message and where it was thrown.
    #[serde(default)]
    pub stacktrace: String,
}

impl ExceptionEntry {
    /// Whether checkpoints failed too often; nothing was broken then.
    pub fn is_of_checkpoints(&self) -> bool {
        self.stacktrace.contains("checkpoint tolerable failure threshold")
    }
}

/// `/jobs/:jobid/vertices/:vertexid/backpressure`.
#[derive(Clone, Debug, Deserialize)]
pub struct Backpressure {
    /// `ok`, or `deprecated` where nobody has asked before.
    pub status: String,
    /// One entry a subtask.
    #[serde(default)]
    pub subtasks: Vec<SubtaskPressure>,
}

/// What a subtask does with its time.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct SubtaskPressure {
    /// Share for which it waits for buffers.
    pub ratio: Known,
    /// Share for which it works.
    #[serde(rename = "busyRatio", default)]
    pub busy: Known,
}

/// `/jobs/:jobid/vertices/:vertexid/subtasktimes`.
#[derive(Clone, Debug, Deserialize)]
pub struct SubtaskTimes {
    /// One entry a subtask.
    pub subtasks: Vec<SubtaskTime>,
}

/// When a subtask entered each state of its life; 0: never.
#[derive(Clone, Debug, Deserialize)]
pub struct SubtaskTime {
    /// By state.
    pub timestamps: BTreeMap<String, Known>,
}

/// A time of a state; 0 is Flink's word for never.
pub fn entered(timestamps: &BTreeMap<String, Known>, state: &str) -> Option<f64> {
    timestamps.get(state).and_then(|time| time.0).filter(|time| *time > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_missing_in_flinks_ways() {
        for (text, expected) in [
            ("3", Some(3.0)),
            ("0", Some(0.0)),
            ("-1", None),
            ("9223372036854775807", None),
            ("\"NaN\"", None),
            ("null", None),
            ("\"7.5\"", Some(7.5)),
        ] {
            let known: Known = serde_json::from_str(text).expect(text);
            assert_eq!(known.0, expected, "{text}");
        }
        for text in ["\"much\"", "[]", "\"inf\""] {
            assert!(serde_json::from_str::<Known>(text).is_err(), "{text}");
        }
    }
}
