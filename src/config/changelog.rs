//! `state.changelog.*`. Flink: `StateChangelogOptions`, `FsStateChangelogOptions`.

use super::options::{Key, OptionValue, OptionValues};
use crate::time::VirtualDuration;

/// `state.changelog.*`: changes of keyed state are logged, and checkpoints upload the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangelogOptions {
    /// `state.changelog.enabled`.
    pub enabled: bool,
    /// `state.changelog.periodic-materialize.enabled`.
    pub materializes: bool,
    /// `state.changelog.periodic-materialize.interval`: from the end of one to the next.
    pub materialize_interval: VirtualDuration,
    /// `state.changelog.max-failures-allowed`: failed materialisations in a row.
    pub max_failures_allowed: u32,
    /// `state.changelog.dstl.dfs.preemptive-persist-threshold`: bytes of changes of one operator
    /// that are uploaded without waiting for a checkpoint.
    pub preemptive_persist_threshold: u64,
    /// `state.changelog.dstl.dfs.batch.persist-delay`: until the upload of changes begins.
    pub persist_delay: VirtualDuration,
    /// `state.changelog.dstl.dfs.upload.timeout`: after it another attempt is made; zero: never.
    pub upload_timeout: VirtualDuration,
    /// `state.changelog.dstl.dfs.upload.max-attempts`, at least 1.
    pub upload_attempts: u32,
    /// `state.changelog.dstl.dfs.upload.next-attempt-delay`: from a failed attempt to the next.
    pub upload_retry_delay: VirtualDuration,
}

impl Default for ChangelogOptions {
    fn default() -> Self {
        Self {
            enabled: false,
            materializes: true,
            materialize_interval: VirtualDuration::from_secs(600),
            max_failures_allowed: 3,
            preemptive_persist_threshold: 5 << 20,
            persist_delay: VirtualDuration::from_millis(10),
            upload_timeout: VirtualDuration::from_secs(1),
            upload_attempts: 3,
            upload_retry_delay: VirtualDuration::from_millis(500),
        }
    }
}

impl ChangelogOptions {
    /// Sets the options that give these values.
    pub(super) fn set(&self, values: &mut OptionValues) {
        let integer = |value: u32| OptionValue::Integer(i64::from(value));
        let mut set = |key, value| values.set(key, value);
        set(Key::Changelog, OptionValue::Boolean(self.enabled));
        set(Key::Materialize, OptionValue::Boolean(self.materializes));
        set(Key::MaterializeInterval, OptionValue::Duration(self.materialize_interval));
        set(Key::MaterializeFailures, integer(self.max_failures_allowed));
        set(Key::PreemptivePersist, OptionValue::Size(self.preemptive_persist_threshold));
        set(Key::PersistDelay, OptionValue::Duration(self.persist_delay));
        set(Key::UploadTimeout, OptionValue::Duration(self.upload_timeout));
        set(Key::UploadAttempts, integer(self.upload_attempts));
        set(Key::UploadRetryDelay, OptionValue::Duration(self.upload_retry_delay));
    }
}
