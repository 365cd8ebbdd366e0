//! What goes wrong in a scenario, when, and to whom.

use cutline::time::{ClockOffset, VirtualDuration, VirtualTime};
use serde::Serialize;

use crate::world::RIGHT_PACE;

/// A scripted fault.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// When it strikes.
    pub at: When,
    /// What it does, and to whom.
    pub what: FaultKind,
}

/// When a fault strikes.
#[derive(Clone, Debug, PartialEq)]
pub enum When {
    /// At a virtual time.
    Time(VirtualTime),
    /// When a protocol step is reached.
    Step(StepAnchor),
}

/// A place in the protocol: the `occurrence`-th time that `step` is reached and all given
/// conditions hold; then so much later.
#[derive(Clone, Debug, PartialEq)]
pub struct StepAnchor {
    /// The step, as in the words of the design (T1 … R6).
    pub step: cutline::step::Step,
    /// Only for this checkpoint id.
    pub checkpoint: Option<u64>,
    /// Only at this subtask (operator index, subtask index).
    pub subtask: Option<(usize, u32)>,
    /// Which time, counted from 1.
    pub occurrence: u32,
    /// So long after the step.
    pub delay: VirtualDuration,
}

/// What a fault does. Targets are indexes; the file has names.
#[derive(Clone, Debug, PartialEq)]
pub enum FaultKind {
    /// A subtask throws (operator index, subtask index).
    CrashTask(usize, u32),
    /// A task-manager process dies and is replaced after `cluster.process_restart`.
    CrashTaskManager(u32),
    /// The process of the job manager that leads dies and is replaced after `cluster.process_restart`.
    CrashJobManager,
    /// A subtask does nothing for a while (a long garbage collection in its thread).
    PauseTask(usize, u32, VirtualDuration),
    /// A task-manager process does nothing for a while.
    PauseTaskManager(u32, VirtualDuration),
    /// The process of the job manager that leads does nothing for a while.
    PauseJobManager(VirtualDuration),
    /// A link's latency (data and control) is multiplied for a while.
    SlowLink(Endpoint, Endpoint, u32, VirtualDuration),
    /// A link delivers nothing for a while; what is sent meanwhile arrives afterwards.
    CutLink(Endpoint, Endpoint, Direction, VirtualDuration),
    /// Acknowledgements and declines between two processes arrive a second time, so much later, for a
    /// while.
    RepeatMessages(Endpoint, Endpoint, VirtualDuration, VirtualDuration),
    /// Each control message between two processes is lost with a chance, in thousandths, for a while.
    LoseMessages(Endpoint, Endpoint, Direction, u32, VirtualDuration),
    /// For a while what comes within one window (messages, requests, answers) goes on at its end, in
    /// the order of random priorities that change so many times.
    Reorder(VirtualDuration, u32, VirtualDuration),
    /// Storage requests of a kind take so much longer for a while.
    SlowStorage(StorageOperation, VirtualDuration, VirtualDuration),
    /// The next `count` storage requests of a kind fail.
    FailStorage(StorageOperation, u32),
    /// The next `count` storage requests of a kind do not go as they should.
    DisturbStorage(StorageOperation, Disturbance, u32),
    /// A bit of the newest object of a kind flips.
    DamageObject(StorageOperation),
    /// Requests of a kind to the external system take so much longer for a while.
    SlowExternal(ExternalOperation, VirtualDuration, VirtualDuration),
    /// The next `count` requests of a kind to the external system fail.
    FailExternal(ExternalOperation, u32),
    /// The next `count` requests of a kind to the external system are done, and said to have failed.
    AmbiguousExternal(ExternalOperation, u32),
    /// A task manager and the external system do not reach each other for a while; what is sent
    /// meanwhile arrives afterwards.
    CutExternal(u32, Direction, VirtualDuration),
    /// A process and the high-availability store do not reach each other for a while; what is sent
    /// meanwhile arrives afterwards. `None`: whoever leads then.
    CutHa(Option<Endpoint>, Direction, VirtualDuration),
    /// A process and the checkpoint storage do not reach each other for a while; what is sent
    /// meanwhile arrives afterwards. `None`: the job manager that leads then.
    CutStorage(Option<Endpoint>, Direction, VirtualDuration),
    /// The clocks of the host of a process run at another pace, in thousandths, for a while. `None`: of
    /// the job manager that leads then.
    DriftClock(Option<Endpoint>, u32, VirtualDuration),
    /// The wall clock of the host of a process is set forward or back by so much, for a while. `None`: of
    /// the job manager that leads then.
    StepClock(Option<Endpoint>, ClockStep, VirtualDuration, VirtualDuration),
    /// The host that stores the checkpoints crashes and is back after a while. What was being written is
    /// cut off, what was not synced may be gone, and what is asked meanwhile is answered afterwards.
    CrashStorageHost(VirtualDuration),
}

impl FaultKind {
    /// The word for it in scenario files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CrashTask(..) => "crash_task",
            Self::CrashTaskManager(_) => "crash_task_manager",
            Self::CrashJobManager => "crash_job_manager",
            Self::PauseTask(..) => "pause_task",
            Self::PauseTaskManager(..) => "pause_task_manager",
            Self::PauseJobManager(_) => "pause_job_manager",
            Self::SlowLink(..) => "slow_link",
            Self::CutLink(..) => "cut_link",
            Self::RepeatMessages(..) => "repeat_messages",
            Self::LoseMessages(..) => "lose_messages",
            Self::Reorder(..) => "reorder",
            Self::SlowStorage(..) => "slow_storage",
            Self::FailStorage(..) => "fail_storage",
            Self::DisturbStorage(..) => "disturb_storage",
            Self::DamageObject(_) => "damage_object",
            Self::SlowExternal(..) => "slow_external",
            Self::FailExternal(..) => "fail_external",
            Self::AmbiguousExternal(..) => "ambiguous_external",
            Self::CutExternal(..) => "cut_external",
            Self::CutHa(..) => "cut_ha",
            Self::CutStorage(..) => "cut_storage",
            Self::DriftClock(..) => "drift_clock",
            Self::StepClock(..) => "step_clock",
            Self::CrashStorageHost(_) => "crash_storage_host",
        }
    }

    /// The host whose clocks it makes wrong (`None`: the leader's), and how far its wall clock is from
    /// the true time then, at most; `None` if it leaves clocks alone.
    pub fn wrong_clock(&self) -> Option<(Option<Endpoint>, VirtualDuration)> {
        match *self {
            Self::StepClock(target, _, by, _) => Some((target, by)),
            Self::DriftClock(target, pace, span) => {
                let wrong = u128::from(span.0) * u128::from(pace.abs_diff(RIGHT_PACE));
                let wrong = u64::try_from(wrong / u128::from(RIGHT_PACE)).unwrap_or(u64::MAX);
                Some((target, VirtualDuration(wrong)))
            }
            Self::CrashTask(..)
            | Self::CrashTaskManager(_)
            | Self::CrashJobManager
            | Self::PauseTask(..)
            | Self::PauseTaskManager(..)
            | Self::PauseJobManager(_)
            | Self::SlowLink(..)
            | Self::CutLink(..)
            | Self::RepeatMessages(..)
            | Self::LoseMessages(..)
            | Self::Reorder(..)
            | Self::SlowStorage(..)
            | Self::FailStorage(..)
            | Self::DisturbStorage(..)
            | Self::DamageObject(_)
            | Self::SlowExternal(..)
            | Self::FailExternal(..)
            | Self::AmbiguousExternal(..)
            | Self::CutExternal(..)
            | Self::CutHa(..)
            | Self::CrashStorageHost(_)
            | Self::CutStorage(..) => None,
        }
    }
}

/// What becomes of a storage request that does not go as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Disturbance {
    /// An error that goes away: the client asks again.
    Transient,
    /// The store has too much to do (HTTP 503): the client waits and asks again, for longer than
    /// after other errors.
    Throttled,
    /// No answer comes, and nothing is done. The client gives up waiting and asks again.
    Hanging,
    /// It is done, but whoever asked is told that it failed.
    Ambiguous,
    /// Of an object that is written only the first half arrives, and the write fails.
    Torn,
    /// Of an object that is read only the first half comes.
    ShortRead,
    /// The store answers from before the object was written.
    Stale,
}

impl Disturbance {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Transient,
        Self::Throttled,
        Self::Hanging,
        Self::Ambiguous,
        Self::Torn,
        Self::ShortRead,
        Self::Stale,
    ];

    /// The word for it in files and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::Hanging => "hanging",
            Self::Ambiguous => "ambiguous",
            Self::Torn => "torn",
            Self::ShortRead => "short_read",
            Self::Stale => "stale",
        }
    }

    /// Whether it can befall requests of a kind; `Any` stands for those that it can.
    pub fn befalls(self, operation: StorageOperation) -> bool {
        use StorageOperation::{Any, Read, ReadPointers, WriteMetadata, WriteState};
        match self {
            Self::Transient | Self::Throttled | Self::Hanging => true,
            Self::Ambiguous => !matches!(operation, Read | ReadPointers),
            Self::Torn => matches!(operation, Any | WriteState | WriteMetadata),
            Self::ShortRead | Self::Stale => matches!(operation, Any | Read),
        }
    }
}

/// Which way a partition cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Nothing passes.
    Both,
    /// What the first sends does not arrive at the second; requests do not reach a service.
    There,
    /// What the second sends does not arrive at the first; answers do not reach a process, which has
    /// done something without knowing.
    Back,
}

impl Direction {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Both, Self::There, Self::Back];

    /// The word for it in scenario files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::There => "there",
            Self::Back => "back",
        }
    }

    /// Whether the way there is cut, and whether the way back is.
    pub fn ways(self) -> (bool, bool) {
        match self {
            Self::Both => (true, true),
            Self::There => (true, false),
            Self::Back => (false, true),
        }
    }
}

/// Which way a clock is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClockStep {
    /// It shows a later time than it should.
    Forward,
    /// It shows an earlier one.
    Back,
}

impl ClockStep {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Forward, Self::Back];

    /// The word for it in scenario files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Back => "back",
        }
    }

    /// So much this way.
    pub fn offset(self, by: VirtualDuration) -> ClockOffset {
        let by = i64::try_from(by.0).unwrap_or(i64::MAX);
        match self {
            Self::Forward => ClockOffset(by),
            Self::Back => ClockOffset(-by),
        }
    }
}

/// One end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// The job manager; of several candidates the first.
    JobManager,
    /// Another candidate, by number from 1.
    Candidate(u32),
    /// A task manager, by number.
    TaskManager(u32),
}

/// What a storage fault applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StorageOperation {
    /// Any request.
    Any,
    /// Writing a state file of a subtask.
    WriteState,
    /// Writing checkpoint metadata.
    WriteMetadata,
    /// Reading any file.
    Read,
    /// Deleting a file.
    Delete,
    /// Adding or removing a pointer in the high-availability store.
    WritePointer,
    /// Drawing a checkpoint id in the high-availability store (T2).
    DrawId,
    /// Reading the pointers in the high-availability store: at a recovery (R1), or to find out
    /// whether one was written.
    ReadPointers,
    /// Noting in the high-availability store how the job has ended.
    WriteJobResult,
}

impl StorageOperation {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Any,
        Self::WriteState,
        Self::WriteMetadata,
        Self::Read,
        Self::Delete,
        Self::WritePointer,
        Self::DrawId,
        Self::ReadPointers,
        Self::WriteJobResult,
    ];

    /// Whether a fault of this one concerns a request of that one.
    pub fn concerns(self, request: Self) -> bool {
        self == Self::Any || self == request
    }

    /// The word for it in files and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::WriteState => "write_state",
            Self::WriteMetadata => "write_metadata",
            Self::Read => "read",
            Self::Delete => "delete",
            Self::WritePointer => "write_pointer",
            Self::DrawId => "draw_id",
            Self::ReadPointers => "read_pointers",
            Self::WriteJobResult => "write_job_result",
        }
    }
}

/// What a fault of the external system applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExternalOperation {
    /// Any request.
    Any,
    /// Flushing a transaction (B3).
    PreCommit,
    /// Committing a transaction, or applying a batch (S5, S6).
    Commit,
    /// Aborting left-over transactions (S6).
    Abort,
}

impl ExternalOperation {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Any, Self::PreCommit, Self::Commit, Self::Abort];

    /// The word of scenario files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::PreCommit => "pre_commit",
            Self::Commit => "commit",
            Self::Abort => "abort",
        }
    }

    /// Whether a fault of this one concerns a request of that one.
    pub fn concerns(self, request: Self) -> bool {
        self == Self::Any || self == request
    }
}
