//! One observation with names instead of numbers: a line of a trace.
//!
//! Line `n` of a whole trace is event `n` of the digest, counted from 0, so that a diverging event
//! that a replay names is found in both traces.

use std::borrow::Cow;

use cutline::ids::{ChannelId, CheckpointId, RegionId, SubtaskId};
use cutline::job::Regions;
use cutline::message::{Alignment, FailureReason};
use cutline::operator::{Record, TimeMark};
use cutline::step::Step;
use cutline::time::VirtualTime;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::engine::Plan;
use crate::observe::{CutKind, FileId, JobEnd, Observation, TaskState, Transaction};
use crate::run::Outcome;

/// Where something happened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// At the job manager, or in what it alone uses.
    JobManager,
    /// At a subtask, by name.
    Subtask(String),
    /// In the world: faults.
    World,
}

/// One line of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Number of the event, from 0.
    pub n: u64,
    /// When.
    pub at: VirtualTime,
    /// What happened, in one word with underscores.
    pub event: Cow<'static, str>,
    /// The subtask at which it happened or which it is about.
    pub subtask: Option<String>,
    /// The channel.
    pub channel: Option<String>,
    /// The checkpoint.
    pub checkpoint: Option<u64>,
    /// The protocol step.
    pub step: Option<Step>,
    /// All that is particular to the event, in the order in which it is written.
    pub details: Vec<(Cow<'static, str>, Value)>,
}

/// The names of a job's parts, made once for a trace.
#[derive(Clone, Debug)]
pub struct Names {
    subtasks: Vec<String>,
    channels: Vec<String>,
    /// Sender and receiver of each channel.
    ends: Vec<(SubtaskId, SubtaskId)>,
    operators: Vec<String>,
    regions: Regions,
    files: Vec<String>,
}

impl Names {
    /// The names of a job; its files have only numbers.
    pub fn new(plan: &Plan) -> Self {
        let channels = plan.graph.channels();
        let names = (0..channels.len() as u32).map(ChannelId);
        let operators = plan.graph.job().operators();
        Self {
            subtasks: plan.subtask_names.clone(),
            channels: names.map(|channel| plan.graph.channel_name(channel)).collect(),
            ends: channels.iter().map(|channel| (channel.from, channel.to)).collect(),
            operators: operators.iter().map(|operator| operator.name.clone()).collect(),
            regions: plan.graph.regions().clone(),
            files: Vec::new(),
        }
    }

    /// The names of a job that was run, and of its files.
    pub fn of(outcome: &Outcome) -> Self {
        Self { files: outcome.files.clone(), ..Self::new(&outcome.plan) }
    }

    /// `name[index]` of every subtask, by `SubtaskId`.
    pub fn subtasks(&self) -> &[String] {
        &self.subtasks
    }

    /// The names for columns, operator after operator: a subtask keeps its name, and its column, when
    /// the job is rescaled.
    pub fn columns(&self) -> Vec<String> {
        let mut names: Vec<&String> = Vec::new();
        for operator in &self.operators {
            let of = |name: &&String| name.rsplit_once('[').is_some_and(|(of, _)| of == operator);
            for name in self.subtasks.iter().filter(of) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names.into_iter().cloned().collect()
    }

    /// The name of every channel, by `ChannelId`.
    pub fn channels(&self) -> &[String] {
        &self.channels
    }

    fn subtask(&self, subtask: SubtaskId) -> String {
        self.subtasks[subtask.index()].clone()
    }

    fn file(&self, file: FileId) -> Value {
        match self.files.get(file.0 as usize) {
            Some(path) => json!(path),
            None => json!(file.0),
        }
    }
}

/// The lines of a run's trace; nothing if it was not kept.
pub fn lines(outcome: &Outcome) -> impl Iterator<Item = Line> {
    let names = Names::of(outcome);
    let trace = outcome.trace.iter().flatten();
    (0..).zip(trace).map(move |(n, (at, observation))| Line::new(n, *at, observation, &names))
}

impl Line {
    /// The line of an observation.
    pub fn new(n: u64, at: VirtualTime, observation: &Observation, names: &Names) -> Self {
        let line = Self {
            n,
            at,
            event: Cow::Borrowed(""),
            subtask: None,
            channel: None,
            checkpoint: None,
            step: None,
            details: Vec::new(),
        };
        line.fill(observation, names)
    }

    /// Where it happened.
    pub fn place(&self) -> Place {
        let at_job_manager = match self.step {
            Some(step) => step.is_at_job_manager(),
            None => self.subtask.is_none(),
        };
        match &self.subtask {
            _ if self.event.starts_with("fault_") => Place::World,
            Some(subtask) if !at_job_manager => Place::Subtask(subtask.clone()),
            _ => Place::JobManager,
        }
    }

    /// Whether it is about a record or a file, of which there are too many to look at by default.
    pub fn is_data(&self) -> bool {
        matches!(
            &*self.event,
            "emitted"
                | "sent"
                | "processed"
                | "persisted"
                | "recovered"
                | "upserted"
                | "appended"
                | "file_written"
                | "file_handed_over"
                | "file_deleted"
        )
    }

    /// A value among the details.
    pub fn detail(&self, key: &str) -> Option<&Value> {
        self.details.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The line as one JSON object, without a line break.
    pub fn to_json(&self) -> String {
        let mut parts = vec![
            format!("\"n\":{}", self.n),
            format!("\"at_ms\":{}", json!(milliseconds(self.at.as_nanos()))),
            format!("\"event\":{}", json!(self.event)),
        ];
        let mut add = |key: &str, value: Value| parts.push(format!("{}:{value}", json!(key)));
        for (key, value) in [("subtask", &self.subtask), ("channel", &self.channel)] {
            if let Some(name) = value {
                add(key, json!(name));
            }
        }
        if let Some(checkpoint) = self.checkpoint {
            add("checkpoint", json!(checkpoint));
        }
        if let Some(step) = self.step {
            add("step", json!(step.name()));
        }
        for (key, value) in &self.details {
            add(key, value.clone());
        }
        format!("{{{}}}", parts.join(","))
    }

    fn fill(self, observation: &Observation, names: &Names) -> Self {
        use Observation as O;
        match *observation {
            O::Step { step, checkpoint, subtask } => {
                let line = Self { step: Some(step), ..self.event("step") };
                let line = Self { checkpoint: checkpoint.map(|id| id.0), ..line };
                Self { subtask: subtask.map(|subtask| names.subtask(subtask)), ..line }
            }
            O::SourceEmitted { subtask, split, offset } => self
                .event("emitted")
                .at_subtask(subtask, names)
                .detail_of("split", split.index_in_source())
                .detail_of("offset", offset),
            O::Sent { channel, record } => {
                self.event("sent").at_sender(channel, names).record(&record, names)
            }
            O::Processed { channel, record } => {
                self.event("processed").at_receiver(channel, names).record(&record, names)
            }
            O::BarrierSent { channel, checkpoint } => {
                self.event("barrier_sent").at_sender(channel, names).of(checkpoint)
            }
            O::BarrierReceived { channel, checkpoint } => {
                self.event("barrier_received").at_receiver(channel, names).of(checkpoint)
            }
            O::Blocked { channel } => self.event("blocked").at_receiver(channel, names),
            O::Resumed { channel } => self.event("resumed").at_receiver(channel, names),
            O::Cut { subtask, checkpoint, how } => self
                .event("cut")
                .at_subtask(subtask, names)
                .of(checkpoint)
                .detail_of("how", cut_kind(how)),
            O::Persisted { channel, checkpoint, record, at_sender } => {
                let line = self.event("persisted");
                let line = match at_sender {
                    true => line.at_sender(channel, names),
                    false => line.at_receiver(channel, names),
                };
                let side = if at_sender { "sender" } else { "receiver" };
                line.of(checkpoint).detail_of("side", side).record(&record, names)
            }
            O::Recovered { channel, record } => {
                self.event("recovered").at_receiver(channel, names).record(&record, names)
            }
            O::DeploymentRefused { subtask } => {
                self.event("deployment_refused").at_subtask(subtask, names)
            }
            O::Filtered { subtask, records } => {
                self.event("filtered").at_subtask(subtask, names).detail_of("records", records)
            }
            O::WindowFired { subtask, key, end, records } => self
                .event("window_fired")
                .at_subtask(subtask, names)
                .detail_of("key", key)
                .detail_of("end_ms", milliseconds(end.as_nanos()))
                .detail_of("records", records),
            O::DroppedLate { subtask, record } => {
                self.event("dropped_late").at_subtask(subtask, names).record(&record, names)
            }
            O::ReadLocally { subtask, checkpoint, files } => {
                let line = self.event("read_locally").at_subtask(subtask, names).of(checkpoint);
                line.detail_of("files", files)
            }
            O::Materialized { subtask } => self.event("materialized").at_subtask(subtask, names),
            O::MaterializationFailed { subtask } => {
                self.event("materialization_failed").at_subtask(subtask, names)
            }
            O::ChangesReplayed { subtask, materialized, changes } => self
                .event("changes_replayed")
                .at_subtask(subtask, names)
                .detail_of("materialized", materialized)
                .detail_of("changes", changes),
            O::Called { subtask, call } => {
                self.event("called").at_subtask(subtask, names).detail_of("call", call)
            }
            O::Acknowledged { subtask, checkpoint } => {
                self.event("acknowledged").at_subtask(subtask, names).of(checkpoint)
            }
            O::Declined { subtask, checkpoint, reason } => {
                self.event("declined").at_subtask(subtask, names).of(checkpoint).reason(reason)
            }
            O::NotifiedComplete { subtask, checkpoint } => {
                self.event("notified_complete").at_subtask(subtask, names).of(checkpoint)
            }
            O::NotifiedAborted { subtask, checkpoint } => {
                self.event("notified_aborted").at_subtask(subtask, names).of(checkpoint)
            }
            O::Task { subtask, attempt, state } => self
                .event("task")
                .at_subtask(subtask, names)
                .detail_of("state", task_state(state))
                .detail_of("attempt", attempt.0),
            O::TaskRestored { subtask, checkpoint } => {
                let line = self.event("task_restored").at_subtask(subtask, names);
                Self { checkpoint: checkpoint.map(|id| id.0), ..line }
            }
            O::Upserted { subtask, record } => {
                self.event("upserted").at_subtask(subtask, names).record(&record, names)
            }
            O::Appended { subtask, record } => {
                self.event("appended").at_subtask(subtask, names).record(&record, names)
            }
            O::PreCommitted { transaction, contents } => self
                .event("pre_committed")
                .transaction(transaction, names)
                .detail_of("records", contents.count),
            O::Committed { transaction, contents } => self
                .event("committed")
                .transaction(transaction, names)
                .detail_of("records", contents.count),
            O::TransactionAborted { transaction } => {
                self.event("transaction_aborted").transaction(transaction, names)
            }
            O::TransactionExpired { transaction } => {
                self.event("transaction_expired").transaction(transaction, names)
            }
            _ => self.fill_job(observation, names),
        }
    }

    /// What happens at the job manager, in storage and in the world.
    fn fill_job(self, observation: &Observation, names: &Names) -> Self {
        use Observation as O;
        match *observation {
            O::Triggered { checkpoint, kind, alignment } => {
                let line = self.event("triggered").of(checkpoint).detail_of("kind", kind);
                line.alignment(alignment)
            }
            O::Durable { checkpoint } => self.event("durable").of(checkpoint),
            O::Completed { checkpoint } => self.event("completed").of(checkpoint),
            O::Failed { checkpoint, reason } => self.event("failed").of(checkpoint).reason(reason),
            O::Subsumed { checkpoint } => self.event("subsumed").of(checkpoint),
            O::RequestFailed { reason } => self.event("request_failed").reason(reason),
            O::ExecutionEnded => self.event("execution_ended"),
            O::RestoreChosen { checkpoint } => {
                let line = self.event("restore_chosen");
                Self { checkpoint: checkpoint.map(|id| id.0), ..line }
            }
            O::RegionEnded { region } => self.event("region_ended").region(region, names),
            O::RegionRestored { region, checkpoint } => {
                let line = self.event("region_restored").region(region, names);
                Self { checkpoint: checkpoint.map(|id| id.0), ..line }
            }
            O::JobEnded { end } => self.event("job_ended").detail_of("how", job_end(end)),
            O::LeaderElected { session } => {
                self.event("leader_elected").detail_of("session", session)
            }
            O::FileWritten { file, bytes, process, orphaned } => self
                .event("file_written")
                .detail_of("file", names.file(file))
                .detail_of("bytes", bytes)
                .detail_of("process", process)
                .orphaned(orphaned),
            O::FileHandedOver { file, process, orphaned } => self
                .event("file_handed_over")
                .detail_of("file", names.file(file))
                .detail_of("process", process)
                .orphaned(orphaned),
            O::PointerRemoved { checkpoint, process, orphaned } => self
                .event("pointer_removed")
                .of(checkpoint)
                .detail_of("process", process)
                .orphaned(orphaned),
            O::ProcessLost { process } => self.event("process_lost").detail_of("process", process),
            O::FileDeleted { file } => {
                self.event("file_deleted").detail_of("file", names.file(file))
            }
            O::FileDamaged { file } => {
                self.event("file_damaged").detail_of("file", names.file(file))
            }
            O::FileLost { file } => self.event("file_lost").detail_of("file", names.file(file)),
            O::StorageDisturbed { operation, how } => self
                .event("storage_disturbed")
                .detail_of("operation", operation.name())
                .detail_of("how", how.name()),
            O::FaultInjected { fault } => self.event("fault_injected").detail_of("fault", fault),
            O::FaultHealed { fault } => self.event("fault_healed").detail_of("fault", fault),
            O::ActionAsked { action } => self.event("action_asked").detail_of("action", action),
            O::ActionTaken { action } => self.event("action_taken").detail_of("action", action),
            O::ActionEnded { action, checkpoint, done } => {
                let line = self.event("action_ended").detail_of("action", action);
                let line = line.detail_of("done", done);
                Self { checkpoint: checkpoint.map(|id| id.0), ..line }
            }
            O::Adopted { checkpoint, claimed } => {
                self.event("adopted").of(checkpoint).detail_of("claimed", claimed)
            }
            O::FencedOff { process, session } => {
                self.event("fenced_off").detail_of("process", process).detail_of("session", session)
            }
            O::LeaderWrote { process, session } => self
                .event("leader_wrote")
                .detail_of("process", process)
                .detail_of("session", session),
            O::MessageLost { from, to, until: _ } => {
                self.event("message_lost").detail_of("from", from).detail_of("to", to)
            }
            O::WrongTimeRead { process, stepped } => self
                .event("wrong_time_read")
                .detail_of("process", process)
                .detail_of("stepped", u32::from(stepped)),
            O::PaceChanged { process, pace } => {
                self.event("pace_changed").detail_of("process", process).detail_of("pace", pace)
            }
            O::StorageHostCrashed { writes } => {
                self.event("storage_host_crashed").detail_of("writes", writes)
            }
            O::StateInlined { subtask, checkpoint } => {
                self.event("state_inlined").at_subtask(subtask, names).of(checkpoint)
            }
            O::PrefixLimitReached => self.event("prefix_limit_reached"),
            O::ResultFound { end } => self.event("result_found").detail_of("how", job_end(end)),
            O::OrderRefused { process, session } => self
                .event("order_refused")
                .detail_of("process", process)
                .detail_of("session", session),
            O::ProducerFenced { transaction } => {
                self.event("producer_fenced").transaction(transaction, names)
            }
            O::TooManyFailures => self.event("too_many_failures"),
            O::UploadLeft { bytes } => self.event("upload_left").detail_of("bytes", bytes),
            O::UploadAborted { bytes } => self.event("upload_aborted").detail_of("bytes", bytes),
            O::OrphansFound { action, files } => {
                self.event("orphans_found").detail_of("action", action).detail_of("files", files)
            }
            O::ActionForgotten { action } => {
                self.event("action_forgotten").detail_of("action", action)
            }
            O::Backlog { on } => self.event("backlog").detail_of("on", on),
            O::UploadsCutOff { process, writes } => self
                .event("uploads_cut_off")
                .detail_of("process", process)
                .detail_of("writes", writes),
            O::UnsyncedLost { file, gone } => self
                .event("unsynced_lost")
                .detail_of("file", names.file(file))
                .detail_of("gone", u32::from(gone)),
            O::BufferSizeAnnounced { subtask, gate, bytes } => self
                .event("buffer_size_announced")
                .at_subtask(subtask, names)
                .detail_of("gate", gate.0)
                .detail_of("bytes", bytes),
            O::AskTimedOut { process } => self.event("ask_timed_out").detail_of("process", process),
            O::SplitAssigned { subtask, split } => {
                self.event("split_assigned").at_subtask(subtask, names).detail_of("split", split)
            }
            O::LeadershipLost { session } => {
                self.event("leadership_lost").detail_of("session", session)
            }
            O::WorkerLost { process } => self.event("worker_lost").detail_of("process", process),
            O::CancellationSlow { process } => {
                self.event("cancellation_slow").detail_of("process", process)
            }
            O::CancellationTimedOut { process } => {
                self.event("cancellation_timed_out").detail_of("process", process)
            }
            O::Rescaled { layout } => self.event("rescaled").detail_of("layout", layout.0),
            O::Step { .. }
            | O::SourceEmitted { .. }
            | O::Filtered { .. }
            | O::WindowFired { .. }
            | O::DroppedLate { .. }
            | O::ReadLocally { .. }
            | O::Materialized { .. }
            | O::MaterializationFailed { .. }
            | O::ChangesReplayed { .. }
            | O::Called { .. }
            | O::DeploymentRefused { .. }
            | O::Sent { .. }
            | O::Processed { .. }
            | O::BarrierSent { .. }
            | O::BarrierReceived { .. }
            | O::Blocked { .. }
            | O::Resumed { .. }
            | O::Cut { .. }
            | O::Persisted { .. }
            | O::Recovered { .. }
            | O::Acknowledged { .. }
            | O::Declined { .. }
            | O::NotifiedComplete { .. }
            | O::NotifiedAborted { .. }
            | O::Task { .. }
            | O::TaskRestored { .. }
            | O::Upserted { .. }
            | O::Appended { .. }
            | O::PreCommitted { .. }
            | O::Committed { .. }
            | O::TransactionAborted { .. }
            | O::TransactionExpired { .. } => {
                unreachable!("`fill` writes what happens at tasks")
            }
        }
    }

    fn event(self, event: &'static str) -> Self {
        Self { event: Cow::Borrowed(event), ..self }
    }

    fn at_subtask(self, subtask: SubtaskId, names: &Names) -> Self {
        Self { subtask: Some(names.subtask(subtask)), ..self }
    }

    /// A region is called by its first subtask.
    fn region(self, region: RegionId, names: &Names) -> Self {
        let subtasks = names.regions.subtasks(region);
        self.at_subtask(subtasks[0], names).detail_of("subtasks", subtasks.len())
    }

    fn at_sender(self, channel: ChannelId, names: &Names) -> Self {
        let line = Self { channel: Some(names.channels[channel.index()].clone()), ..self };
        line.at_subtask(names.ends[channel.index()].0, names)
    }

    fn at_receiver(self, channel: ChannelId, names: &Names) -> Self {
        let line = Self { channel: Some(names.channels[channel.index()].clone()), ..self };
        line.at_subtask(names.ends[channel.index()].1, names)
    }

    fn of(self, checkpoint: CheckpointId) -> Self {
        Self { checkpoint: Some(checkpoint.0), ..self }
    }

    fn detail_of(mut self, key: &'static str, value: impl Serialize) -> Self {
        self.details.push((Cow::Borrowed(key), json!(value)));
        self
    }

    fn orphaned(self, orphaned: bool) -> Self {
        if orphaned { self.detail_of("orphaned", true) } else { self }
    }

    fn reason(self, reason: FailureReason) -> Self {
        self.detail_of("reason", reason)
    }

    fn record(self, record: &Record, names: &Names) -> Self {
        let mut map = Map::new();
        if let Some(mark) = record.mark() {
            let (word, time) = match mark {
                TimeMark::Watermark(VirtualTime::MAX) => ("end of time", None),
                TimeMark::Watermark(time) => ("watermark", Some(time)),
                TimeMark::Idle => ("idle", None),
                TimeMark::Active => ("active", None),
            };
            map.insert("mark".to_owned(), json!(word));
            let time = time.map(|time| json!(milliseconds(time.as_nanos())));
            map.extend(time.map(|time| ("time_ms".to_owned(), time)));
            return self.detail_of("record", map);
        }
        let source = record.split.source() as usize;
        map.insert("source".to_owned(), json!(names.operators.get(source)));
        map.insert("split".to_owned(), json!(record.split.index_in_source()));
        map.insert("offset".to_owned(), json!(record.offset));
        map.insert("key".to_owned(), json!(record.key));
        // The way it took: copies of one record differ in it.
        map.insert("path".to_owned(), json!(format!("{:016x}", record.path)));
        self.detail_of("record", map)
    }

    fn transaction(self, of: Transaction, names: &Names) -> Self {
        let operator = &names.operators[of.operator.index()];
        let subtask = Some(format!("{operator}[{}]", of.subtask));
        Self { subtask, ..self.of(of.checkpoint) }
    }

    fn alignment(self, alignment: Alignment) -> Self {
        match alignment {
            Alignment::AtLeastOnce => self.detail_of("alignment", "at_least_once"),
            Alignment::Aligned => self.detail_of("alignment", "aligned"),
            Alignment::Unaligned => self.detail_of("alignment", "unaligned"),
            Alignment::ForcedAligned(_) => self.detail_of("alignment", "forced_aligned"),
            Alignment::AlignedWithTimeout(timeout) => self
                .detail_of("alignment", "aligned_with_timeout")
                .detail_of("aligned_timeout_ms", milliseconds(timeout.as_nanos())),
        }
    }
}

/// Nanoseconds as milliseconds, for reports: exact to the nanosecond for the first 104 days.
pub(super) fn milliseconds(nanoseconds: u64) -> serde_json::Number {
    const NANOSECONDS: u64 = 1_000_000;
    if nanoseconds.is_multiple_of(NANOSECONDS) {
        return (nanoseconds / NANOSECONDS).into();
    }
    let value = nanoseconds as f64 / NANOSECONDS as f64;
    serde_json::Number::from_f64(value).expect("a quotient of finite numbers is finite")
}

fn cut_kind(how: CutKind) -> &'static str {
    match how {
        CutKind::Source => "source",
        CutKind::Aligned => "aligned",
        CutKind::Unaligned => "unaligned",
        CutKind::AtLeastOnce => "at_least_once",
    }
}

fn task_state(state: TaskState) -> &'static str {
    match state {
        TaskState::Deploying => "deploying",
        TaskState::Initializing => "initializing",
        TaskState::Running => "running",
        TaskState::Finished => "finished",
        TaskState::Canceled => "canceled",
        TaskState::Failed => "failed",
    }
}

/// How a job ended, in a word.
pub(super) fn job_end(end: JobEnd) -> &'static str {
    match end {
        JobEnd::Finished => "finished",
        JobEnd::Failed => "failed",
        JobEnd::Stopped => "stopped",
        JobEnd::StoppedWithSavepoint => "stopped with a savepoint",
        JobEnd::Canceled => "cancelled",
    }
}
