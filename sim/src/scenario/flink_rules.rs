//! What Flink makes of keys that do not go together, as far as keys are concerned that are not
//! modelled; those that are modelled are the core's business (`FlinkConfig::resolve`).
//!
//! Each rule was tried with the classes of the released Flink 2.3.0, which it names.

use cutline::config::{Key, OptionValue, text};
use cutline::time::VirtualDuration;

use super::diagnostic::{Diagnostic, Span};
use super::given::Given;

const BACKEND: &str = "state.backend.type";
const STORAGE: &str = "execution.checkpointing.storage";
const SAVEPOINTS: &str = "execution.checkpointing.savepoint-dir";
const BACKLOG: &str = "execution.checkpointing.interval-during-backlog";
const BACKUP: &str = "execution.checkpointing.local-backup.enabled";
const APPROXIMATE: &str = "execution.state-recovery.approximate-local-recovery";
const CLAIM: &str = "execution.state-recovery.claim-mode";
const PAUSE: &str = "pipeline.sources.pause-until-first-checkpoint";
const MODE: &str = "execution.runtime-mode";
const HA: &str = "high-availability.type";
const HA_STORAGE: &str = "high-availability.storageDir";
const QUORUM: &str = "high-availability.zookeeper.quorum";
const LOG: &str = "state.changelog.storage";
const LOG_PATH: &str = "state.changelog.dstl.dfs.base-path";
const TIMERS: &str = "execution.checkpointing.unaligned.interruptible-timers.enabled";
const DOWNSTREAM: &str = "execution.checkpointing.unaligned.recover-output-on-downstream.enabled";
const DURING_RECOVERY: &str = "execution.checkpointing.during-recovery.enabled";

impl Given<'_> {
    /// Says what Flink refuses and changes, and changes it. `cluster`: the keys are a cluster's,
    /// whose jobs may say more; else they are all that there is.
    pub(super) fn apply_flinks_rules(&mut self, cluster: bool) {
        self.backend(cluster);
        self.storage(cluster);
        self.backlog();
        self.batch();
        self.local_copies();
        self.approximate();
        self.high_availability();
        self.changelog();
        self.needs(TIMERS, Key::Unaligned.spec().key, "CheckpointingOptions");
        self.needs(DURING_RECOVERY, DOWNSTREAM, "CheckpointingOptions");
        if self.is(CLAIM, "LEGACY") {
            let message = "`LEGACY` is deprecated: nobody owns the snapshot";
            self.warn(CLAIM, message, "CLAIM or NO_CLAIM", "RecoveryClaimMode: still takes it");
        }
    }

    /// `execution.checkpointing.interval-during-backlog`, if it is one, and where it was given.
    pub(super) fn during_backlog(&mut self) -> Option<(VirtualDuration, Span)> {
        self.is_spoken_of(BACKLOG);
        let other = self.other(BACKLOG)?;
        Some((text::parse_duration(&other.text).ok()?, other.span))
    }

    fn backend(&mut self, cluster: bool) {
        let incremental = self.values.get(Key::Incremental) == Some(OptionValue::Boolean(true));
        let backend = self.other(BACKEND);
        let is_heap = match backend {
            Some(backend) => backend.text.eq_ignore_ascii_case("hashmap"),
            // A section says so of a job whose state is what it is; there is no need to know more.
            None => cluster,
        };
        if !incremental || !is_heap {
            return;
        }
        let (span, name) = self.given_at(Key::Incremental);
        let message = match backend {
            Some(_) => format!("`{name}`: the hashmap backend has no increments"),
            None => format!("`{name}`: the hashmap backend, Flink's default, has no increments"),
        };
        let also = backend.map(|backend| (backend.span, format!("see `{}`", backend.name)));
        let warning = Diagnostic::warning("changed-by-flink", span, message)
            .expected("`state.backend.type: rocksdb`, or no such line")
            .flink("HashMapStateBackend: ignores it, checkpoints are full");
        self.sink.push(match also {
            Some((span, message)) => warning.also(span, message),
            None => warning,
        });
        self.values.set(Key::Incremental, OptionValue::Boolean(false));
    }

    fn storage(&mut self, cluster: bool) {
        const LOADER: &str = "CheckpointStorageLoader: takes JobManagerCheckpointStorage";
        let directory = self.values.get(Key::Directory).is_some()
            || self.other(Key::Directory.spec().key).is_some();
        if self.is(STORAGE, "jobmanager") && directory {
            let message = "`jobmanager` keeps state in the metadata, 5 MB a subtask at most, and only that \
                           goes into the directory";
            self.warn(STORAGE, message, "`filesystem`, or no such line", LOADER);
        } else if self.is(STORAGE, "jobmanager") {
            self.is_spoken_of(STORAGE);
            self.values.set(Key::Directory, OptionValue::Choice("memory://"));
        } else if self.is(STORAGE, "filesystem") && !directory {
            let message = "`filesystem` needs a directory";
            let expected = "`execution.checkpointing.dir` beside it";
            let flink = "FileSystemCheckpointStorage: refused when the job is submitted";
            self.refuse(STORAGE, message, expected, flink);
        } else if self.other(STORAGE).is_none() && !directory && cluster {
            if self.values.get(Key::Interval).is_some() {
                let (span, name) = self.given_at(Key::Interval);
                let message = format!(
                    "`{name}`: there is no directory: checkpoints are in the memory of the job manager"
                );
                self.sink.push(
                    Diagnostic::warning("changed-by-flink", span, message)
                        .expected("`execution.checkpointing.dir` beside it")
                        .flink(LOADER),
                );
            }
        } else if self.is(STORAGE, "filesystem") {
            self.is_spoken_of(STORAGE);
        }
        if let Some(savepoints) = self.other(SAVEPOINTS).cloned() {
            self.check_path(&savepoints.text, savepoints.span, &savepoints.name);
        }
    }

    /// Flink: `CheckpointConfig`, and for sources that pause `StreamingJobGraphGenerator`.
    fn backlog(&mut self) {
        const CONFIG: &str = "CheckpointConfig: refused when the job is submitted";
        const LEAST: VirtualDuration = VirtualDuration::from_millis(10);
        let Some(other) = self.other(BACKLOG) else { return };
        let Ok(during) = text::parse_duration(&other.text) else { return };
        let interval = match self.values.get(Key::Interval) {
            Some(OptionValue::Duration(interval)) => Some(interval),
            _ => None,
        };
        if during.is_zero() {
            if self.is(PAUSE, "true") {
                let message = "without checkpoints during backlog sources would pause for ever";
                let flink = "StreamingJobGraphGenerator: refused when the job is submitted";
                self.refuse(PAUSE, message, "one of the two", flink);
            }
        } else if during < LEAST {
            self.refuse(BACKLOG, "must be 0 or at least 10 ms", "0 or more", CONFIG);
        } else if interval.is_none() {
            self.refuse(BACKLOG, "needs an interval", "`execution.checkpointing.interval`", CONFIG);
        } else if interval > Some(during) {
            let message = "is shorter than the interval";
            let expected = "at least the interval, or 0 for no checkpoints during backlog";
            self.refuse(BACKLOG, message, expected, CONFIG);
        }
    }

    fn batch(&mut self) {
        if self.is(MODE, "batch") && self.values.get(Key::Interval).is_some() {
            let message = "in BATCH mode there are no checkpoints";
            let flink = "StreamGraphGenerator: switches them off and logs a warning";
            self.warn(MODE, message, "STREAMING", flink);
        }
    }

    fn local_copies(&mut self) {
        let wanted = self.values.get(Key::LocalRecovery) == Some(OptionValue::Boolean(true));
        if wanted && self.is(BACKUP, "false") {
            let message = "no copies are made, so that none is there to recover from";
            let flink = "TaskLocalStateStoreImpl: is not there, state is read from the store";
            self.warn(BACKUP, message, "true, or no such line", flink);
            self.values.set(Key::LocalRecovery, OptionValue::Boolean(false));
        } else if wanted && self.is(BACKUP, "true") {
            self.is_spoken_of(BACKUP);
        } else if !wanted && self.is(BACKUP, "true") {
            let message = "copies are made that nobody reads";
            let flink = "TaskLocalStateStoreImpl: writes them, state is read from the store";
            let expected = "`execution.state-recovery.from-local: true` beside it";
            self.warn(BACKUP, message, expected, flink);
        }
    }

    fn approximate(&mut self) {
        if self.is(APPROXIMATE, "true") {
            let message = "does not go with schedulers that restart regions";
            let flink = "DefaultSchedulerComponents: refused when the job is submitted";
            self.refuse(APPROXIMATE, message, "false", flink);
        }
    }

    fn high_availability(&mut self) {
        const SERVICES: &str = "HighAvailabilityServicesUtils: the process does not start";
        let has = |key| self.other(key).is_some();
        let off = self.other(HA).is_none_or(|mode| mode.text.eq_ignore_ascii_case("none"));
        let zookeeper = self.is(HA, "zookeeper");
        let class = self.other(HA).is_some_and(|mode| mode.text.contains('.'));
        let (storage, quorum) = (has(HA_STORAGE), has(QUORUM));
        if off {
            if let Some(key) = [HA_STORAGE, QUORUM].into_iter().find(|key| has(key)) {
                let message = "has no effect: `high-availability.type` is NONE";
                let expected = "`high-availability.type: zookeeper` or `kubernetes`";
                self.warn(key, message, expected, "HighAvailabilityMode: the default is NONE");
            }
            return;
        }
        if !storage && !class {
            let expected = "`high-availability.storageDir` beside it";
            self.refuse(HA, "needs a directory for what leaders leave behind", expected, SERVICES);
        }
        if zookeeper && !quorum {
            let expected = "`high-availability.zookeeper.quorum` beside it";
            self.refuse(HA, "needs the addresses of ZooKeeper", expected, SERVICES);
        }
    }

    fn changelog(&mut self) {
        if self.values.get(Key::Changelog) != Some(OptionValue::Boolean(true)) {
            return;
        }
        let (span, name) = self.given_at(Key::Changelog);
        if self.is(LOG, "filesystem") {
            self.is_spoken_of(LOG);
            if self.other(LOG_PATH).is_none() {
                let expected = "`state.changelog.dstl.dfs.base-path` beside it";
                let flink = "FsStateChangelogStorage: tasks fail when they start";
                self.refuse(LOG, "`filesystem` needs a directory", expected, flink);
            }
        } else if self.other(LOG).is_none_or(|log| log.text.eq_ignore_ascii_case("memory")) {
            let message =
                format!("`{name}`: changes are kept in memory, and go to the job manager");
            self.sink.push(
                Diagnostic::warning("changed-by-flink", span, message)
                    .expected("`state.changelog.storage: filesystem` beside it")
                    .flink("StateChangelogStorageLoader: the default, for tests"),
            );
        }
    }

    /// A switch that does nothing without another.
    fn needs(&mut self, key: &'static str, other: &str, class: &str) {
        let unaligned = self.values.get(Key::Unaligned) == Some(OptionValue::Boolean(true));
        let there = if other == DOWNSTREAM { self.is(DOWNSTREAM, "true") } else { unaligned };
        if self.is(key, "true") && !there {
            let flink = format!("{class}: switches it off without a word");
            self.warn(key, "has no effect without the other", &format!("`{other}: true`"), &flink);
        }
    }

    /// Whether a key that is not modelled has a value.
    fn is(&self, key: &str, value: &str) -> bool {
        self.other(key).is_some_and(|other| other.text.eq_ignore_ascii_case(value))
    }

    fn given_at(&self, key: Key) -> (Span, String) {
        let (span, name) = self.place(key).expect("what is set was given somewhere");
        (span, name.to_owned())
    }

    fn refuse(&mut self, key: &str, message: &str, expected: &str, flink: &str) {
        self.say(Diagnostic::error, "refused-by-flink", key, [message, expected, flink]);
    }

    fn warn(&mut self, key: &str, message: &str, expected: &str, flink: &str) {
        self.say(Diagnostic::warning, "changed-by-flink", key, [message, expected, flink]);
    }

    fn say(
        &mut self,
        how: fn(&'static str, Span, String) -> Diagnostic,
        code: &'static str,
        key: &str,
        [message, expected, flink]: [&str; 3],
    ) {
        let other = self.other(key).expect("a rule speaks of what was given").clone();
        let message = format!("`{}`: {message}", other.name);
        self.sink.push(how(code, other.span, message).expected(expected).flink(flink));
        self.is_spoken_of(key);
    }
}
