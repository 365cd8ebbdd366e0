//! The one table of Flink's options: keys, types, defaults, deprecated spellings, and the short
//! names that scenario files use. Flink: `CheckpointingOptions`, `RestartStrategyOptions`,
//! `NettyShuffleEnvironmentOptions`, `TaskManagerOptions`, `HeartbeatManagerOptions`.

use std::fmt;

use crate::time::VirtualDuration;

use super::flink_keys::{Named, named};
use super::text::{self, TextError};
use super::unmodelled::{self, Removed, Unmodelled};

/// One option of the table.
#[derive(Debug)]
pub struct OptionSpec {
    /// Its index in `OPTIONS`.
    pub id: Key,
    /// Flink's key. (Three of them are of Flink 1: the numbers of buffers are fixed in Flink 2.3.)
    pub key: &'static str,
    /// Spellings that Flink still accepts and logs a warning for.
    pub deprecated: &'static [&'static str],
    /// Section and name in a scenario file.
    pub path: (&'static str, &'static str),
    /// The restart strategy that reads it, as in `restart.type`; `None`: read always.
    pub strategy: Option<&'static str>,
    /// What a value looks like.
    pub kind: OptionKind,
    /// The default in Flink's grammar; `None`: not set, or dependent on other options.
    pub default: Option<&'static str>,
    /// One sentence.
    pub doc: &'static str,
    /// Two different valid values, for tests and documentation.
    pub examples: [&'static str; 2],
}

/// The type of an option's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionKind {
    /// A span of time. Flink keeps whole milliseconds.
    Duration,
    /// A whole number of 32 bits.
    Integer,
    /// True or false.
    Boolean,
    /// A decimal, kept in thousandths.
    Decimal,
    /// Bytes.
    Size,
    /// The URI of a directory, of which the scheme counts: how it is shown, then what Flink accepts.
    Uri(&'static [(&'static str, &'static [&'static str])]),
    /// One of several words: the name in scenario files, then what Flink accepts.
    Choice(&'static [(&'static str, &'static [&'static str])]),
}

/// The value of one option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionValue {
    /// A span of time.
    Duration(VirtualDuration),
    /// A whole number.
    Integer(i64),
    /// True or false.
    Boolean(bool),
    /// Thousandths.
    Decimal(u32),
    /// Bytes.
    Size(u64),
    /// The name that scenario files use.
    Choice(&'static str),
}

/// Why a text is not a value of an option.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOption {
    /// Not in the grammar of the type.
    #[error(transparent)]
    Text(#[from] TextError),
    /// More than 32 bits.
    #[error("`{0}` does not fit into the 32 bits that Flink gives it")]
    TooLarge(i64),
    /// Not one of the words.
    #[error("`{found}` is none of {words}")]
    UnknownWord {
        /// What was found.
        found: String,
        /// The words, comma-separated.
        words: String,
        /// The words, for suggestions.
        choices: Vec<&'static str>,
    },
}

macro_rules! options {
    ($($id:ident {
        $key:literal $(, was [$($old:literal),+])?; $section:literal . $name:literal
        $(, of $strategy:literal)?; $kind:expr $(, default $default:literal)?;
        $doc:literal; [$a:literal, $b:literal]
    })+) => {
        /// Names an option of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Key { $(#[doc = concat!("`", $key, "`.")] $id),+ }

        /// All modelled options.
        pub const OPTIONS: &[OptionSpec] = &[$(OptionSpec {
            id: Key::$id,
            key: $key,
            deprecated: &[$($($old),+)?],
            path: ($section, $name),
            strategy: options!(@optional $($strategy)?),
            kind: $kind,
            default: options!(@optional $($default)?),
            doc: $doc,
            examples: [$a, $b],
        }),+];
    };
    (@optional) => { None };
    (@optional $value:literal) => { Some($value) };
}

use OptionKind::{Boolean, Choice, Decimal, Duration, Integer, Size, Uri};

const MODES: OptionKind =
    Choice(&[("exactly_once", &["EXACTLY_ONCE"]), ("at_least_once", &["AT_LEAST_ONCE"])]);
const RETENTIONS: OptionKind = Choice(&[
    ("delete_on_cancellation", &["DELETE_ON_CANCELLATION"]),
    ("retain_on_cancellation", &["RETAIN_ON_CANCELLATION"]),
    ("no_externalized", &["NO_EXTERNALIZED_CHECKPOINTS"]),
]);
const STRATEGIES: OptionKind = Choice(&[
    ("disabled", &["disable", "none", "off"]),
    ("fixed_delay", &["fixed-delay", "fixeddelay"]),
    ("failure_rate", &["failure-rate", "failurerate"]),
    ("exponential_delay", &["exponential-delay", "exponentialdelay"]),
]);

const FAILOVER: OptionKind = Choice(&[("region", &["region"]), ("full", &["full"])]);

/// File systems whose semantics are modelled. A path without a scheme is one of `file`, Flink's
/// default of `fs.default-scheme`.
const SCHEMES: OptionKind = Uri(&[
    ("hdfs://", &["hdfs", "viewfs", "webhdfs"]),
    ("s3://", &["s3", "s3a", "s3p"]),
    ("file://", &["file"]),
    ("memory://", &["memory"]),
]);

options! {
    Interval { "execution.checkpointing.interval"; "checkpointing"."interval"; Duration;
        "Time between two periodic checkpoints; absent: no periodic checkpoints.";
        ["500 ms", "900 ms"] }
    Timeout { "execution.checkpointing.timeout"; "checkpointing"."timeout";
        Duration, default "10 min"; "A checkpoint that takes longer is aborted.";
        ["50 ms", "20 s"] }
    MinPause { "execution.checkpointing.min-pause"; "checkpointing"."min_pause";
        Duration, default "0 ms";
        "Time between the end of a checkpoint and the start of the next one at least.";
        ["400 ms", "450 ms"] }
    MaxConcurrent { "execution.checkpointing.max-concurrent-checkpoints";
        "checkpointing"."max_concurrent"; Integer, default "1";
        "How many checkpoints may be pending at one time."; ["2", "3"] }
    Mode { "execution.checkpointing.mode"; "checkpointing"."mode"; MODES, default "EXACTLY_ONCE";
        "Whether alignment blocks channels, or records may be counted twice after a restore.";
        ["EXACTLY_ONCE", "AT_LEAST_ONCE"] }
    Unaligned { "execution.checkpointing.unaligned.enabled", was ["execution.checkpointing.unaligned"];
        "checkpointing"."unaligned"; Boolean, default "false";
        "Whether barriers overtake buffers, which become part of the checkpoint.";
        ["true", "false"] }
    UnalignedForced { "execution.checkpointing.unaligned.forced";
        "checkpointing"."unaligned_forced"; Boolean, default "false";
        "With `unaligned`: whether barriers overtake on forward and rescale edges, too; then jobs \
         cannot be resumed from a checkpoint with another parallelism there.";
        ["true", "false"] }
    AlignedTimeout { "execution.checkpointing.aligned-checkpoint-timeout",
        was ["execution.checkpointing.alignment-timeout"];
        "checkpointing"."aligned_timeout"; Duration, default "0 ms";
        "With `unaligned`: begin aligned, and switch after so long; 0: unaligned at once.";
        ["20 ms", "300 ms"] }
    TolerableFailures { "execution.checkpointing.tolerable-failed-checkpoints";
        "checkpointing"."tolerable_failures"; Integer, default "0";
        "How many checkpoints in a row may fail before the job fails over."; ["3", "4"] }
    Retained { "execution.checkpointing.num-retained", was ["state.checkpoints.num-retained"];
        "checkpointing"."retained"; Integer, default "1";
        "How many completed checkpoints are kept."; ["2", "3"] }
    AfterTasksFinish { "execution.checkpointing.checkpoints-after-tasks-finish",
        was ["execution.checkpointing.checkpoints-after-tasks-finish.enabled"];
        "checkpointing"."checkpoints_after_tasks_finish"; Boolean, default "true";
        "Whether checkpoints go on when some tasks have finished, with a final one for each task.";
        ["true", "false"] }
    Retention { "execution.checkpointing.externalized-checkpoint-retention";
        "checkpointing"."retention"; RETENTIONS, default "NO_EXTERNALIZED_CHECKPOINTS";
        "What becomes of the retained checkpoints when the job ends.";
        ["DELETE_ON_CANCELLATION", "NO_EXTERNALIZED_CHECKPOINTS"] }

    Incremental { "execution.checkpointing.incremental", was ["state.backend.incremental"];
        "checkpointing"."incremental"; Boolean, default "false";
        "Whether a checkpoint uploads only what has changed of keyed state since the last one.";
        ["true", "false"] }
    LocalRecovery { "execution.state-recovery.from-local", was ["state.backend.local-recovery"];
        "checkpointing"."local_recovery"; Boolean, default "false";
        "Whether a task manager keeps copies of keyed state, for attempts that come back to it.";
        ["true", "false"] }
    Directory { "execution.checkpointing.dir",
        was ["state.checkpoints.dir", "state.backend.fs.checkpointdir"];
        "checkpointing"."dir"; SCHEMES;
        "Where checkpoints are kept; its scheme says what the store is like. Absent: as neutral a \
         store as can be. `memory://` stands for `execution.checkpointing.storage: jobmanager`.";
        ["hdfs://namenode/flink", "s3://bucket/flink"] }
    InlineThreshold { "execution.checkpointing.data-inline-threshold",
        was ["state.storage.fs.memory-threshold", "state.backend.fs.memory-threshold"];
        "checkpointing"."inline_threshold"; Size;
        "State files of no more bytes go into the metadata; absent: none do (Flink: 20 kb).";
        ["500 b", "1 kb"] }

    Changelog { "state.changelog.enabled", was ["state.backend.changelog.enabled"];
        "changelog"."enabled"; Boolean, default "false";
        "Whether changes of keyed state are logged: a checkpoint uploads what was logged since the last one, and a restore reads the last materialised state and all changes since.";
        ["true", "false"] }
    Materialize { "state.changelog.periodic-materialize.enabled",
        was ["state.backend.changelog.periodic-materialize.enabled"];
        "changelog"."materialize"; Boolean, default "true";
        "Whether the state is materialised now and then, so that the log can be cut; else it grows for ever.";
        ["true", "false"] }
    MaterializeInterval { "state.changelog.periodic-materialize.interval",
        was ["state.backend.changelog.periodic-materialize.interval"];
        "changelog"."materialize_interval"; Duration, default "10 min";
        "Time from the end of one materialisation of a subtask's state to the next; the first comes after a part of it that is drawn at random.";
        ["300 ms", "700 ms"] }
    MaterializeFailures { "state.changelog.max-failures-allowed",
        was ["state.backend.changelog.max-failures-allowed"];
        "changelog"."max_failures_allowed"; Integer, default "3";
        "How many materialisations in a row may fail before the task does."; ["0", "2"] }
    PreemptivePersist { "state.changelog.dstl.dfs.preemptive-persist-threshold",
        was ["dstl.dfs.preemptive-persist-threshold"];
        "changelog"."preemptive_persist_threshold"; Size, default "5 mb";
        "So many bytes of changes of one operator are uploaded without waiting for a checkpoint.";
        ["1 kb", "2 kb"] }
    PersistDelay { "state.changelog.dstl.dfs.batch.persist-delay",
        was ["dstl.dfs.batch.persist-delay"];
        "changelog"."persist_delay"; Duration, default "10 ms";
        "Time from the request for an upload of changes to its beginning."; ["1 ms", "60 ms"] }
    UploadTimeout { "state.changelog.dstl.dfs.upload.timeout", was ["dstl.dfs.upload.timeout"];
        "changelog"."upload_timeout"; Duration, default "1 s";
        "When an upload of changes takes longer, another attempt is made beside it; 0: never.";
        ["20 ms", "40 ms"] }
    UploadAttempts { "state.changelog.dstl.dfs.upload.max-attempts",
        was ["dstl.dfs.upload.max-attempts"];
        "changelog"."upload_attempts"; Integer, default "3";
        "How many attempts are made at an upload of changes."; ["1", "2"] }
    UploadRetryDelay { "state.changelog.dstl.dfs.upload.next-attempt-delay",
        was ["dstl.dfs.upload.next-attempt-delay"];
        "changelog"."upload_retry_delay"; Duration, default "500 ms";
        "Time from a failed attempt at an upload of changes to the next."; ["10 ms", "200 ms"] }

    Strategy { "restart-strategy.type", was ["restart-strategy"]; "restart"."type"; STRATEGIES;
        "The restart strategy; absent: exponential_delay with checkpoints, disabled without.";
        ["fixed-delay", "disable"] }
    FixedAttempts { "restart-strategy.fixed-delay.attempts"; "restart"."attempts", of "fixed_delay";
        Integer, default "1"; "How many restarts are made before the job fails for good.";
        ["3", "4"] }
    FixedDelay { "restart-strategy.fixed-delay.delay"; "restart"."delay", of "fixed_delay";
        Duration, default "1 s"; "Time from a failure to the restart."; ["100 ms", "200 ms"] }
    RateFailures { "restart-strategy.failure-rate.max-failures-per-interval";
        "restart"."max_failures", of "failure_rate"; Integer, default "1";
        "How many failures an interval may see."; ["3", "4"] }
    RateInterval { "restart-strategy.failure-rate.failure-rate-interval";
        "restart"."interval", of "failure_rate"; Duration, default "1 min";
        "The interval in which failures are counted."; ["30 s", "40 s"] }
    RateDelay { "restart-strategy.failure-rate.delay"; "restart"."delay", of "failure_rate";
        Duration, default "1 s"; "Time from a failure to the restart."; ["100 ms", "200 ms"] }
    InitialBackoff { "restart-strategy.exponential-delay.initial-backoff";
        "restart"."initial", of "exponential_delay"; Duration, default "1 s";
        "Time from the first failure to the restart."; ["100 ms", "200 ms"] }
    MaxBackoff { "restart-strategy.exponential-delay.max-backoff";
        "restart"."max", of "exponential_delay"; Duration, default "1 min";
        "The longest time from a failure to the restart."; ["1200 ms", "20 s"] }
    BackoffMultiplier { "restart-strategy.exponential-delay.backoff-multiplier";
        "restart"."multiplier", of "exponential_delay"; Decimal, default "1.5";
        "Factor by which the delay grows with each failure."; ["2.0", "3.0"] }
    ResetBackoff { "restart-strategy.exponential-delay.reset-backoff-threshold";
        "restart"."reset_after", of "exponential_delay"; Duration, default "1 h";
        "How long the job must run before the delay starts anew."; ["5 s", "6 s"] }
    Jitter { "restart-strategy.exponential-delay.jitter-factor";
        "restart"."jitter", of "exponential_delay"; Decimal, default "0.1";
        "Share of the delay that is added or taken off at random."; ["0.0", "0.2"] }
    BackoffAttempts { "restart-strategy.exponential-delay.attempts-before-reset-backoff";
        "restart"."attempts", of "exponential_delay"; Integer;
        "How many restarts are made before the job fails for good; absent: no limit.";
        ["3", "4"] }

    BuffersPerChannel { "taskmanager.network.memory.buffers-per-channel";
        "buffers"."buffers_per_channel"; Integer, default "2";
        "Exclusive buffers of each input channel."; ["1", "3"] }
    FloatingBuffers { "taskmanager.network.memory.floating-buffers-per-gate";
        "buffers"."floating_per_gate"; Integer, default "8";
        "Buffers that the input channels of a gate share."; ["1", "4"] }
    MaxPerSubpartition { "taskmanager.network.memory.max-buffers-per-channel";
        "buffers"."max_per_subpartition"; Integer, default "10";
        "Buffers that may queue up in one output channel."; ["2", "3"] }
    Debloat { "taskmanager.network.memory.buffer-debloat.enabled";
        "buffers"."debloat"; Boolean, default "false";
        "Whether buffers become smaller where what is queued would take too long to process.";
        ["true", "false"] }
    DebloatTarget { "taskmanager.network.memory.buffer-debloat.target";
        "buffers"."debloat_target"; Duration, default "1 s";
        "What is in front of a subtask is to be processed within so long."; ["500 ms", "2 s"] }
    DebloatPeriod { "taskmanager.network.memory.buffer-debloat.period";
        "buffers"."debloat_period"; Duration, default "200 ms";
        "Time between two looks at what a subtask processes."; ["100 ms", "500 ms"] }
    DebloatSamples { "taskmanager.network.memory.buffer-debloat.samples";
        "buffers"."debloat_samples"; Integer, default "20";
        "So many looks make an average."; ["4", "30"] }
    DebloatThreshold { "taskmanager.network.memory.buffer-debloat.threshold-percentages";
        "buffers"."debloat_threshold"; Integer, default "25";
        "A size that differs by less (in percent) from the one that was announced is not announced.";
        ["10", "50"] }

    HeartbeatInterval { "heartbeat.interval"; "cluster"."heartbeat_interval";
        Duration, default "10 s"; "Time between two heartbeat requests."; ["500 ms", "1 s"] }
    HeartbeatTimeout { "heartbeat.timeout"; "cluster"."heartbeat_timeout";
        Duration, default "50 s"; "Silence after which the other side counts as dead.";
        ["15 s", "20 s"] }
    RpcFailureThreshold { "heartbeat.rpc-failure-threshold";
        "cluster"."heartbeat_rpc_failure_threshold"; Integer;
        "Heartbeat requests in a row that cannot be delivered before a task manager counts as dead; -1: any number; absent: the job manager notices by itself when a connection breaks.";
        ["2", "-1"] }
    AskTimeout { "pekko.ask.timeout", was ["akka.ask.timeout"]; "cluster"."ask_timeout";
        Duration, default "10 s";
        "How long one process waits for another's answer, which matters where control messages are lost.";
        ["300 ms", "2 s"] }
    CancellationTimeout { "task.cancellation.timeout"; "cluster"."cancellation_timeout"; Duration;
        "A task that is busy for so long after it was cancelled takes its task manager with it; 0: never; absent: tasks end at once, busy or not.";
        ["200 ms", "0 ms"] }
    FailoverStrategy { "jobmanager.execution.failover-strategy"; "cluster"."failover_strategy";
        FAILOVER, default "region";
        "What is restarted when a task fails: the tasks that records flow to from it or from them to it, or all.";
        ["region", "full"] }
    LeaseDuration { "high-availability.kubernetes.leader-election.lease-duration";
        "ha"."lease_duration"; Duration, default "15 s";
        "With several job managers: for so long after the last renewal nobody else is elected.";
        ["400 ms", "800 ms"] }
    RenewDeadline { "high-availability.kubernetes.leader-election.renew-deadline";
        "ha"."renew_deadline"; Duration, default "15 s";
        "With several job managers: one that has not renewed its lease for so long steps down.";
        ["300 ms", "10 s"] }
    RetryPeriod { "high-availability.kubernetes.leader-election.retry-period";
        "ha"."retry_period"; Duration, default "5 s";
        "With several job managers: how often they try to be elected, or to stay it.";
        ["100 ms", "200 ms"] }
    Slots { "taskmanager.numberOfTaskSlots"; "cluster"."slots"; Integer, default "1";
        "Slots of each task manager; a slot holds one subtask of each operator."; ["4", "5"] }
}

/// What a text is in Flink's configuration.
#[derive(Clone, Copy, Debug)]
pub enum Known {
    /// An option, by its key.
    Option(&'static OptionSpec),
    /// An option, by a deprecated key.
    Deprecated(&'static OptionSpec),
    /// A key that the simulation has no use for.
    NotModelled(Unmodelled),
    /// The same, by a deprecated key.
    DeprecatedNotModelled(Unmodelled),
    /// A key that Flink has no more.
    Removed(Removed),
}

/// Looks up a key of Flink's; `None` for one that neither Flink nor we know.
pub fn find(key: &str) -> Option<Known> {
    if let Some(Named::Gone(key)) = named(key) {
        return Some(Known::Removed(unmodelled::removed(key)));
    }
    for spec in OPTIONS {
        if spec.key == key {
            return Some(Known::Option(spec));
        }
        if spec.deprecated.contains(&key) {
            return Some(Known::Deprecated(spec));
        }
    }
    match named(key) {
        Some(Named::Key(spec)) => Some(Known::NotModelled(unmodelled::of(spec))),
        Some(Named::Deprecated(spec)) => Some(Known::DeprecatedNotModelled(unmodelled::of(spec))),
        Some(Named::Gone(_)) | None => unmodelled::open_family(key).map(Known::NotModelled),
    }
}

/// Where Flink's default is not ours: a scenario that says nothing of Flink is a plain one.
const FLINKS_DEFAULTS: [(Key, &str); 3] = [
    (Key::RpcFailureThreshold, "2"),
    (Key::InlineThreshold, "20 kb"),
    (Key::CancellationTimeout, "3 min"),
];

impl Key {
    /// The option of that name.
    pub fn spec(self) -> &'static OptionSpec {
        &OPTIONS[self as usize]
    }
}

impl OptionSpec {
    /// Reads a value in Flink's grammar.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(&self, text: &str) -> Result<OptionValue, BadOption> {
        Ok(match self.kind {
            Duration => OptionValue::Duration(text::parse_duration(text)?),
            Boolean => OptionValue::Boolean(text::parse_boolean(text)?),
            Decimal => OptionValue::Decimal(text::parse_permille(text)?),
            Size => OptionValue::Size(text::parse_size(text)?),
            Integer => {
                let value = text::parse_integer(text)?;
                i32::try_from(value).map_err(|_| BadOption::TooLarge(value))?;
                OptionValue::Integer(value)
            }
            Uri(schemes) => {
                let scheme = text.split_once(':').map(|(scheme, _)| scheme);
                let scheme = scheme.or_else(|| text.starts_with('/').then_some("file"));
                let named = |scheme| schemes.iter().find(|(_, words)| words.contains(&scheme));
                let Some((name, _)) = scheme.and_then(named) else {
                    let names = schemes.iter().map(|(name, _)| *name);
                    return Err(unknown_word(scheme.unwrap_or(text), names));
                };
                OptionValue::Choice(name)
            }
            // Flink: ConfigurationUtils#convertToEnum and RestartStrategyType#of; case is ignored,
            // but a hyphen is no underscore.
            Choice(choices) => {
                let named = |(_, words): &&(&str, &[&'static str])| {
                    words.iter().any(|word| word.eq_ignore_ascii_case(text))
                };
                match choices.iter().find(named) {
                    Some((name, _)) => OptionValue::Choice(name),
                    None => return Err(unknown_word(text, choices.iter().map(|(_, w)| w[0]))),
                }
            }
        })
    }

    /// Reads a value as in a scenario file's own sections: as Flink, and words in snake case.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse_short(&self, text: &str) -> Result<OptionValue, BadOption> {
        if let Choice(choices) = self.kind {
            return match choices.iter().find(|(name, _)| *name == text) {
                Some((name, _)) => Ok(OptionValue::Choice(name)),
                None => self
                    .parse(text)
                    .map_err(|_| unknown_word(text, choices.iter().map(|(name, _)| *name))),
            };
        }
        self.parse(text)
    }

    /// What a scenario has that says nothing; `None`: nothing, or what depends on other options.
    pub fn default_value(&self) -> Option<OptionValue> {
        self.default.map(|text| self.parse(text).expect("the table's defaults are valid; tested"))
    }

    /// Whether Flink 2.3 has no such option: only a scenario's own sections can set it.
    pub fn is_removed(&self) -> bool {
        matches!(named(self.key), Some(Named::Gone(_)))
    }

    /// What Flink has if nothing is said; `None` where it has no default.
    pub fn flinks_default(&self) -> Option<OptionValue> {
        let deviates = FLINKS_DEFAULTS.iter().find(|(key, _)| *key == self.id);
        let text = deviates.map(|(_, text)| *text).or(self.default);
        text.map(|text| self.parse(text).expect("the table's defaults are valid; tested"))
    }
}

fn unknown_word(found: &str, words: impl Iterator<Item = &'static str>) -> BadOption {
    let choices: Vec<&'static str> = words.collect();
    BadOption::UnknownWord { found: found.to_owned(), words: choices.join(", "), choices }
}

impl fmt::Display for OptionValue {
    /// As `parse_short` reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duration(span) => f.write_str(&text::format_duration(*span)),
            Self::Integer(value) => value.fmt(f),
            Self::Boolean(value) => value.fmt(f),
            Self::Size(bytes) => f.write_str(&text::format_size(*bytes)),
            Self::Decimal(permille) => f.write_str(&text::format_permille(*permille)),
            Self::Choice(name) => f.write_str(name),
        }
    }
}

/// What was set, option by option, and which defaults hold for the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionValues {
    set: [Option<OptionValue>; OPTIONS.len()],
    /// Whether they come from Flink's configuration, and so with all of Flink's defaults.
    flinks: bool,
}

impl Default for OptionValues {
    fn default() -> Self {
        Self { set: [None; OPTIONS.len()], flinks: false }
    }
}

impl OptionValues {
    /// What an option was set to.
    pub fn get(&self, key: Key) -> Option<OptionValue> {
        self.set[key as usize]
    }

    /// Sets an option.
    pub fn set(&mut self, key: Key, value: OptionValue) {
        self.set[key as usize] = Some(value);
    }

    /// From now on what is not set has Flink's default, also where a scenario's is another.
    pub fn take_flinks_defaults(&mut self) {
        self.flinks = true;
    }

    /// What was set, or the default.
    pub(super) fn effective(&self, key: Key) -> Option<OptionValue> {
        self.get(key).or_else(|| match self.flinks {
            true => key.spec().flinks_default(),
            false => key.spec().default_value(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        for (index, spec) in OPTIONS.iter().enumerate() {
            assert_eq!(spec.id as usize, index, "{}", spec.key);
            assert!(spec.doc.ends_with('.'), "{}", spec.key);
            let [a, b] = spec.examples.map(|text| spec.parse(text).expect(spec.key));
            assert_ne!(a, b, "{}", spec.key);
            for value in [Some(a), Some(b), spec.default_value()].into_iter().flatten() {
                assert_eq!(spec.parse_short(&value.to_string()), Ok(value), "{}", spec.key);
            }
            let twins = OPTIONS.iter().filter(|twin| {
                (twin.path, twin.strategy) == (spec.path, spec.strategy) || twin.key == spec.key
            });
            assert_eq!(twins.count(), 1, "{}", spec.key);
        }
    }

    #[test]
    fn keys_are_told_apart() {
        let cases = [
            ("execution.checkpointing.interval", "option"),
            ("execution.checkpointing.unaligned", "deprecated"),
            ("execution.checkpointing.alignment-timeout", "deprecated"),
            ("state.checkpoints.num-retained", "deprecated"),
            ("restart-strategy", "deprecated"),
            ("state.checkpoints.dir", "deprecated"),
            ("execution.checkpointing.savepoint-dir", "not modelled"),
            ("execution.checkpointing.file-merging.enabled", "not modelled"),
            (
                "execution.checkpointing.unaligned.recover-output-on-downstream.enabled",
                "not modelled",
            ),
            ("high-availability.type", "not modelled"),
            ("kubernetes.jobmanager.labels.app", "not modelled"),
            ("s3.access-key", "not modelled"),
            ("metrics.reporter.prom.port", "not modelled"),
            ("state.savepoints.dir", "deprecated, not modelled"),
            ("high-availability", "deprecated, not modelled"),
            ("execution.savepoint.path", "deprecated, not modelled"),
            ("state.backend.async", "removed"),
            ("jobmanager.heap.size", "removed"),
            ("taskmanager.network.memory.buffers-per-channel", "removed"),
            ("execution.checkpointing.intervall", "unknown"),
            ("execution.checkpoint.interval", "unknown"),
            ("execution.checkpointing.file-merging.enbled", "unknown"),
            ("restart-strategy.fixed-delay.attempt", "unknown"),
            ("taskmanager.network.memory.buffers-per-chanel", "unknown"),
            ("taskmanager.networks.memory.buffer-debloat.enabled", "unknown"),
            ("state.checkpoints.num-retain", "unknown"),
            ("state.backend.tpye", "unknown"),
            ("state.backend.rocksdb.memory.manged", "unknown"),
            ("high-availability.tpye", "unknown"),
            ("pipeline.max-paralelism", "unknown"),
            ("interval", "unknown"),
        ];
        for (key, expected) in cases {
            let found = match find(key) {
                Some(Known::Option(_)) => "option",
                Some(Known::Deprecated(_)) => "deprecated",
                Some(Known::NotModelled(_)) => "not modelled",
                Some(Known::DeprecatedNotModelled(_)) => "deprecated, not modelled",
                Some(Known::Removed(_)) => "removed",
                None => "unknown",
            };
            assert_eq!(found, expected, "{key}");
        }
    }

    #[test]
    fn the_scheme_of_a_directory_counts() {
        let directory = Key::Directory.spec();
        for (text, scheme) in [
            ("hdfs://namenode:9000/flink", "hdfs://"),
            ("s3a://bucket", "s3://"),
            ("file:///mnt/flink", "file://"),
            ("file:/mnt/flink", "file://"),
            ("/mnt/flink", "file://"),
            ("memory://", "memory://"),
        ] {
            assert_eq!(directory.parse(text), Ok(OptionValue::Choice(scheme)), "{text}");
        }
        for text in ["hdsf://namenode", "gs://bucket", "flink", "s3", ""] {
            let refused = directory.parse(text);
            assert!(matches!(refused, Err(BadOption::UnknownWord { .. })), "{text}: {refused:?}");
        }
    }

    #[test]
    fn words_are_read_in_flinks_spelling() {
        let mode = Key::Mode.spec();
        assert_eq!(mode.parse("exactly_once"), Ok(OptionValue::Choice("exactly_once")));
        assert!(mode.parse("exactly-once").is_err());
        let strategy = Key::Strategy.spec();
        assert_eq!(strategy.parse("FixedDelay"), Ok(OptionValue::Choice("fixed_delay")));
        assert!(strategy.parse("fixed_delay").is_err());
        assert_eq!(strategy.parse_short("fixed_delay"), Ok(OptionValue::Choice("fixed_delay")));
    }
}
