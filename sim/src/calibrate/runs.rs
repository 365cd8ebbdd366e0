//! Measured runs: one JSON object a line, as `docs/calibration.md` lists the columns.
//!
//! What an operator knows before a run ([`Conditions`]) is kept apart from what came of it
//! ([`Measured`]): a prediction is given the first alone, so it cannot peek.

use serde_json::{Map, Value};

/// One measured run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its name in the file.
    pub id: String,
    /// Kills of one job share it.
    pub group: Option<String>,
    /// What was known before.
    pub conditions: Conditions,
    /// What came of it.
    pub measured: Measured,
}

/// What a run was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunKind {
    /// Checkpoints of a steady (or overloaded) job.
    Checkpoint,
    /// One worker is killed.
    Recovery,
    /// How much goes through when nothing is paced.
    Throughput,
}

impl RunKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Checkpoint, Self::Recovery, Self::Throughput];

    /// The value of the column `kind`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Recovery => "recovery",
            Self::Throughput => "throughput",
        }
    }
}

/// How barriers travel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// Exactly once, barriers wait in line.
    Aligned,
    /// Exactly once, barriers overtake.
    Unaligned,
    /// Barriers overtake after so many milliseconds.
    AlignedTimeout(f64),
    /// Nothing is blocked.
    AtLeastOnce,
}

/// Which kind of snapshot a backend takes; its costs belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SnapshotKind {
    /// `hashmap`: objects on the heap, serialised by the asynchronous part.
    Heap,
    /// `rocksdb`, all files each time.
    RocksFull,
    /// `rocksdb` with `execution.checkpointing.incremental`.
    RocksIncremental,
}

impl SnapshotKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Heap, Self::RocksFull, Self::RocksIncremental];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Heap => "hashmap",
            Self::RocksFull => "rocksdb",
            Self::RocksIncremental => "rocksdb incremental",
        }
    }
}

/// What an operator knows before a run. Nothing else reaches a prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditions {
    /// What the run is for.
    pub kind: RunKind,
    /// Subtasks of each vertex.
    pub parallelism: f64,
    /// Exchanges that a barrier crosses (one more with `hop`).
    pub exchanges: f64,
    /// Subtasks of a vertex that share a task manager.
    pub slots: f64,
    /// Bytes of a record on the wire.
    pub record_bytes: f64,
    /// Number of keys.
    pub keys: f64,
    /// Bytes of state of one key.
    pub value_bytes: f64,
    /// Backend and whether snapshots are incremental.
    pub snapshots: SnapshotKind,
    /// How barriers travel.
    pub mode: Mode,
    /// Interval between triggers; 0: no checkpoints.
    pub interval_ms: f64,
    /// Least time between the end of a checkpoint and the next trigger.
    pub min_pause_ms: f64,
    /// Records offered a second; 0: as many as are taken.
    pub rate_per_s: f64,
    /// Service time of a record; 0: not paced.
    pub cost_us: f64,
    /// Fixed delay before a restart.
    pub restart_delay_ms: f64,
    /// `heartbeat.interval`.
    pub heartbeat_interval_ms: f64,
    /// `heartbeat.timeout`.
    pub heartbeat_timeout_ms: f64,
    /// Recovery: how long before the kill the last checkpoint was triggered.
    pub kill_age_ms: Option<f64>,
}

/// What the 8-byte number, the length fields and the key add to the payload of a record: 125 bytes
/// were seen on the wire for 100 of payload.
const RECORD_OVERHEAD_BYTES: f64 = 25.0;

impl Conditions {
    /// Bytes of state, all subtasks together.
    pub fn state_bytes(&self) -> f64 {
        self.keys * self.value_bytes
    }

    /// Bytes of state of one subtask, in MB.
    pub fn state_mb_per_subtask(&self) -> f64 {
        self.state_bytes() / self.parallelism / 1e6
    }

    /// Bytes that one checkpoint has to write, before the overhead of the format: all of the
    /// state, or the part that changed in an interval when keys are updated uniformly.
    pub fn dirty_bytes(&self) -> f64 {
        match self.snapshots {
            SnapshotKind::Heap | SnapshotKind::RocksFull => self.state_bytes(),
            SnapshotKind::RocksIncremental => {
                let taken = match self.rate_per_s > 0.0 {
                    true => self.rate_per_s.min(self.capacity_per_s().unwrap_or(f64::INFINITY)),
                    // As many as are taken; how many that is, is not known before.
                    false => self.capacity_per_s().unwrap_or(f64::INFINITY),
                };
                let updates = taken * self.interval_ms / 1e3;
                self.state_bytes() * -libm::expm1(-updates / self.keys)
            }
        }
    }

    /// The same for one subtask, in MB.
    pub fn dirty_mb_per_subtask(&self) -> f64 {
        self.dirty_bytes() / self.parallelism / 1e6
    }

    /// Records a second that the job can take; `None` when nothing paces it.
    pub fn capacity_per_s(&self) -> Option<f64> {
        (self.cost_us > 0.0).then(|| self.parallelism * 1e6 / self.cost_us)
    }

    /// Whether the source offers more than can be taken.
    pub fn overloaded(&self) -> bool {
        let saturated = self.rate_per_s <= 0.0;
        self.capacity_per_s().is_some_and(|capacity| saturated || self.rate_per_s > capacity)
    }
}

/// What was measured in a run; what the file does not have is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Completed checkpoints in the window.
    pub completed: Option<f64>,
    /// Median end-to-end duration of a checkpoint.
    pub duration_ms: Option<f64>,
    /// Median start delay at the source.
    pub source_start_delay_ms: Option<f64>,
    /// Median start delay at the stateful operator.
    pub start_delay_ms: Option<f64>,
    /// Median alignment at the stateful operator.
    pub alignment_ms: Option<f64>,
    /// Median synchronous part at the stateful operator.
    pub sync_ms: Option<f64>,
    /// Median asynchronous part at the stateful operator.
    pub async_ms: Option<f64>,
    /// Median of a subtask's own end-to-end duration at the stateful operator.
    pub operator_duration_ms: Option<f64>,
    /// Median bytes that a checkpoint wrote.
    pub checkpointed_bytes: Option<f64>,
    /// Median bytes of data in flight that a checkpoint holds.
    pub persisted_bytes: Option<f64>,
    /// Kill to the first task seen to fail.
    pub detect_ms: Option<f64>,
    /// Kill to the task manager being given up.
    pub declared_lost_ms: Option<f64>,
    /// Restarts that one kill caused.
    pub restarts: Option<f64>,
    /// Kill to the beginning of the restore that succeeded.
    pub restore_begin_ms: Option<f64>,
    /// Kill to the first record at the slower sink.
    pub first_record_ms: Option<f64>,
    /// Kill to the trigger of the checkpoint that was restored, backwards.
    pub restored_age_ms: Option<f64>,
    /// Records that the sources emitted again.
    pub replayed_records: Option<f64>,
    /// Records a second while behind.
    pub catch_up_per_s: Option<f64>,
    /// Kill to the moment from which the sinks are no longer behind.
    pub caught_up_ms: Option<f64>,
    /// Records a second at saturation.
    pub throughput_per_s: Option<f64>,
    /// Standard deviation of the throughput of pieces of 1 s.
    pub throughput_sd_per_s: Option<f64>,
    /// Processor cores that other programs used meanwhile.
    pub other_cores: Option<f64>,
}

/// Why a file of runs cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RunsError {
    /// The file is not there or not readable.
    #[error("cannot read {path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// A line is not a JSON object.
    #[error("{path}:{line}:{column}: not a JSON object: {message}")]
    Syntax {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// Columns are missing or hold something else.
    #[error("{path}:{line}: {}", problems.join("; "))]
    Columns {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// One sentence a column.
        problems: Vec<String>,
    },
    /// The file holds no run.
    #[error("{path}: no run in it; expected one JSON object a line")]
    Empty {
        /// The file.
        path: String,
    },
}

/// Reads a file of runs.
///
/// # Errors
/// See [`RunsError`].
pub fn read_runs(path: &str) -> Result<Vec<Run>, RunsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| RunsError::Io { path: path.to_owned(), error })?;
    parse_runs(&text, path)
}

/// Reads runs from a text; `path` is for messages.
///
/// # Errors
/// See [`RunsError`].
pub fn parse_runs(text: &str, path: &str) -> Result<Vec<Run>, RunsError> {
    let path = path.to_owned();
    let mut runs = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let object: Map<String, Value> = serde_json::from_str(line).map_err(|error| {
            let (line, column, message) = (index + 1, error.column(), without_place(&error));
            RunsError::Syntax { path: path.clone(), line, column, message }
        })?;
        let mut columns = Columns { object: &object, problems: Vec::new() };
        let run = columns.run(index + 1);
        match columns.problems {
            problems if problems.is_empty() => runs.extend(run),
            problems => return Err(RunsError::Columns { path, line: index + 1, problems }),
        }
    }
    if runs.is_empty() { Err(RunsError::Empty { path }) } else { Ok(runs) }
}

/// What `serde_json` says, but for the place: it counts lines from the beginning of the line.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).map_or(text.clone(), str::to_owned)
}

/// The columns of one line; gathers what is wrong with them.
struct Columns<'a> {
    object: &'a Map<String, Value>,
    problems: Vec<String>,
}

impl Columns<'_> {
    fn run(&mut self, line: usize) -> Option<Run> {
        let kind = self.kind()?;
        let id = self.object.get("run_id").and_then(Value::as_str);
        let id = id.map_or_else(|| format!("line {line}"), str::to_owned);
        let group = self.object.get("job_group").and_then(Value::as_str).map(str::to_owned);
        let conditions = self.conditions(kind);
        let measured = self.measured();
        Some(Run { id, group, conditions: conditions?, measured })
    }

    fn kind(&mut self) -> Option<RunKind> {
        let kind = self.choice("kind", &RunKind::ALL.map(RunKind::name))?;
        Some(RunKind::ALL[kind])
    }

    fn conditions(&mut self, kind: RunKind) -> Option<Conditions> {
        let backend = self.choice("backend", &["hashmap", "rocksdb"]);
        let incremental = matches!(self.object.get("incremental"), Some(Value::Bool(true)));
        let snapshots = match (backend, incremental) {
            (Some(1), true) => SnapshotKind::RocksIncremental,
            (Some(1), false) => SnapshotKind::RocksFull,
            (Some(_) | None, _) => SnapshotKind::Heap,
        };
        let hop = matches!(self.object.get("hop"), Some(Value::Bool(true)));
        let conditions = Conditions {
            kind,
            parallelism: self.above_zero("parallelism"),
            exchanges: if hop { 2.0 } else { 1.0 },
            slots: self.or("slots_per_taskmanager", 1.0),
            record_bytes: self.not_negative("payload_bytes") + RECORD_OVERHEAD_BYTES,
            keys: self.above_zero("keys"),
            value_bytes: self.above_zero("value_bytes"),
            snapshots,
            mode: self.mode(),
            interval_ms: self.not_negative("interval_ms"),
            min_pause_ms: self.or("min_pause_ms", 0.0),
            rate_per_s: self.not_negative("rate_records_per_s"),
            cost_us: self.not_negative("cost_us"),
            restart_delay_ms: self.or("restart_delay_ms", 1_000.0),
            heartbeat_interval_ms: self.or("heartbeat_interval_ms", 10_000.0),
            heartbeat_timeout_ms: self.or("heartbeat_timeout_ms", 50_000.0),
            kill_age_ms: self.kill_age(kind),
        };
        self.problems.is_empty().then_some(conditions)
    }

    /// The age, or the phase of the interval that was aimed at.
    fn kill_age(&mut self, kind: RunKind) -> Option<f64> {
        let phase = self.number("kill_phase_target").zip(self.number("interval_ms"));
        let age = self.number("kill_since_last_trigger_ms");
        let age = age.or(phase.map(|(phase, interval)| phase * interval));
        if kind == RunKind::Recovery && age.is_none() {
            let message = "a recovery run needs `kill_since_last_trigger_ms` or \
                           `kill_phase_target`";
            self.problems.push(message.to_owned());
        }
        age
    }

    fn mode(&mut self) -> Mode {
        let text = self.object.get("mode").and_then(Value::as_str).unwrap_or("aligned");
        let timeout = text.strip_prefix("timeout_").and_then(|ms| ms.parse::<u32>().ok());
        match (text, timeout) {
            (_, Some(ms)) => Mode::AlignedTimeout(f64::from(ms)),
            ("unaligned", None) => Mode::Unaligned,
            ("at_least_once", None) => Mode::AtLeastOnce,
            ("aligned", None) => Mode::Aligned,
            (other, None) => {
                self.problems.push(format!(
                    "`mode` is \"{other}\"; expected \"aligned\", \"unaligned\", \
                     \"at_least_once\" or \"timeout_\" with milliseconds"
                ));
                Mode::Aligned
            }
        }
    }

    fn measured(&self) -> Measured {
        let recovered = !matches!(self.object.get("recovered"), Some(Value::Bool(false)));
        let recovery = |name| self.number(name).filter(|_| recovered);
        Measured {
            completed: self.number("n_completed"),
            duration_ms: self.number("e2e_median_ms"),
            source_start_delay_ms: self.number("source_start_delay_median_ms"),
            start_delay_ms: self.number("op_start_delay_median_ms"),
            alignment_ms: self.number("op_alignment_median_ms"),
            sync_ms: self.number("op_sync_median_ms"),
            async_ms: self.number("op_async_median_ms"),
            operator_duration_ms: self.number("op_e2e_median_ms"),
            checkpointed_bytes: self.number("checkpointed_median_bytes"),
            persisted_bytes: self.number("persisted_median_bytes"),
            detect_ms: recovery("detect_ms"),
            declared_lost_ms: recovery("tm_declared_lost_ms"),
            restarts: recovery("n_restarts"),
            restore_begin_ms: recovery("restore_begin_ms"),
            first_record_ms: recovery("first_sink_record_ms"),
            restored_age_ms: recovery("restored_trigger_age_ms"),
            replayed_records: recovery("replayed_source_records"),
            catch_up_per_s: recovery("catchup_rate_records_per_s"),
            caught_up_ms: recovery("caught_up_sink_ms"),
            throughput_per_s: self.number("throughput_records_per_s"),
            throughput_sd_per_s: self.number("throughput_1s_sd_records_per_s"),
            other_cores: self.number("other_cpu_cores"),
        }
    }

    /// A measured number. −1 and the like stand for "not known" and are treated so.
    fn number(&self, name: &str) -> Option<f64> {
        self.object.get(name).and_then(Value::as_f64).filter(|number| *number >= 0.0)
    }

    fn not_negative(&mut self, name: &str) -> f64 {
        self.number(name).unwrap_or_else(|| {
            self.problems.push(match self.object.get(name) {
                None => format!("no `{name}`"),
                Some(value) => format!("`{name}` is {value}; expected a number from 0"),
            });
            0.0
        })
    }

    fn above_zero(&mut self, name: &str) -> f64 {
        let number = self.not_negative(name);
        if number == 0.0 && self.object.get(name).and_then(Value::as_f64) == Some(0.0) {
            self.problems.push(format!("`{name}` is 0; expected a number above 0"));
        }
        number
    }

    /// An option of which Flink has a default.
    fn or(&mut self, name: &str, default: f64) -> f64 {
        match self.object.get(name) {
            None | Some(Value::Null) => default,
            Some(_) => self.not_negative(name),
        }
    }

    fn choice(&mut self, name: &str, names: &[&str]) -> Option<usize> {
        let value = self.object.get(name);
        let found = value.and_then(Value::as_str);
        let found = found.and_then(|text| names.iter().position(|one| *one == text));
        if found.is_none() {
            let expected = names.join("\", \"");
            let is = value.map_or("missing".to_owned(), Value::to_string);
            self.problems.push(format!("`{name}` is {is}; expected one of \"{expected}\""));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"run_id":"a","kind":"checkpoint","parallelism":2,"payload_bytes":100,"value_bytes":1000,"keys":50000,"backend":"rocksdb","incremental":true,"mode":"timeout_500","interval_ms":5000,"rate_records_per_s":2000,"cost_us":250,"e2e_median_ms":147,"own_median_ms":-1}"#;

    #[test]
    fn a_line_becomes_a_run() {
        let runs = parse_runs(LINE, "runs.jsonl").expect("it is well formed");
        let conditions = &runs[0].conditions;
        assert_eq!(conditions.mode, Mode::AlignedTimeout(500.0));
        assert_eq!(conditions.snapshots, SnapshotKind::RocksIncremental);
        assert_eq!(conditions.capacity_per_s(), Some(8_000.0));
        assert!(!conditions.overloaded());
        // 10,000 updates of 50,000 keys touch 9,063 of them.
        assert!((conditions.dirty_bytes() - 9_063_462.0).abs() < 1.0);
        assert_eq!(runs[0].measured.duration_ms, Some(147.0));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (from, to, expected) in [
            ("\"keys\":50000", "\"keys\":0", "r:2: `keys` is 0; expected a number above 0"),
            ("\"keys\":50000,", "", "r:2: no `keys`"),
            ("\"keys\":50000", "\"keys\":\"x\"", "r:2: `keys` is \"x\"; expected a number from 0"),
            (
                "timeout_500",
                "timeout_x",
                "r:2: `mode` is \"timeout_x\"; expected \"aligned\", \"unaligned\", \
                 \"at_least_once\" or \"timeout_\" with milliseconds",
            ),
            (
                "\"kind\":\"checkpoint\"",
                "\"kind\":\"check\"",
                "r:2: `kind` is \"check\"; expected one of \"checkpoint\", \"recovery\", \
                 \"throughput\"",
            ),
            (
                "\"kind\":\"checkpoint\"",
                "\"kind\":\"recovery\"",
                "r:2: a recovery run needs `kill_since_last_trigger_ms` or `kill_phase_target`",
            ),
            ("}", "", "r:2:259: not a JSON object: EOF while parsing an object"),
        ] {
            let text = format!("{LINE}\n{}\n", LINE.replace(from, to));
            let error = parse_runs(&text, "r").expect_err(expected);
            assert_eq!(error.to_string(), expected);
        }
        let empty = parse_runs("\n", "r").expect_err("there is none");
        assert_eq!(empty.to_string(), "r: no run in it; expected one JSON object a line");
    }
}
