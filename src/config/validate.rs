//! From what was set to what takes effect: what Flink refuses is refused, what Flink changes in
//! silence is changed and said.
//!
//! All findings are collected; an option that is refused counts as not set from there on, so that
//! one mistake is reported once.

use crate::time::VirtualDuration;

use super::options::{Key, OPTIONS, OptionValue, OptionValues};
use super::text::format_duration as shown;
use super::{
    ChangelogOptions, CheckpointingOptions, DebloatOptions, ElectionOptions, FailoverStrategy,
    HeartbeatOptions, NetworkOptions, RestartStrategy, Retention, RpcFailures, Scheme,
};

/// Flink: `CheckpointCoordinatorConfiguration#MINIMAL_CHECKPOINT_TIME`.
const MINIMAL_CHECKPOINT_TIME: VirtualDuration = VirtualDuration::from_millis(10);
/// Flink: `CheckpointCoordinator`, so that its sums do not overflow.
const LONGEST_PAUSE: VirtualDuration = VirtualDuration::from_secs(365 * 24 * 60 * 60);

/// Everything that Flink's options say, after validation.
#[derive(Clone, Debug, PartialEq)]
pub struct FlinkConfig {
    /// `execution.checkpointing.*`.
    pub checkpointing: CheckpointingOptions,
    /// `restart-strategy.*`.
    pub restart: RestartStrategy,
    /// `taskmanager.network.*`.
    pub network: NetworkOptions,
    /// `heartbeat.*`.
    pub heartbeat: HeartbeatOptions,
    /// `high-availability.kubernetes.leader-election.*`.
    pub election: ElectionOptions,
    /// `pekko.ask.timeout`: how long whoever calls another process waits for its answer.
    pub ask_timeout: VirtualDuration,
    /// `task.cancellation.timeout`; zero: a task is waited for however long it takes. `None`: tasks
    /// end as soon as they are cancelled.
    pub cancellation_timeout: Option<VirtualDuration>,
    /// `jobmanager.execution.failover-strategy`.
    pub failover: FailoverStrategy,
    /// `taskmanager.numberOfTaskSlots`.
    pub slots: u32,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Flink refuses it.
    Error,
    /// Flink changes or ignores it.
    Warning,
    /// Flink takes it, and a simulation cannot.
    NotSimulated,
}

/// Something about an option that its owner should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Refused, or changed.
    pub severity: Severity,
    /// The option.
    pub option: Key,
    /// The other option, where two do not go together.
    pub with: Option<Key>,
    /// What is wrong with it.
    pub message: String,
    /// What Flink does about it, and where.
    pub flink: &'static str,
}

impl Default for FlinkConfig {
    fn default() -> Self {
        Self {
            checkpointing: CheckpointingOptions::default(),
            restart: RestartStrategy::default(),
            network: NetworkOptions::default(),
            heartbeat: HeartbeatOptions::default(),
            election: ElectionOptions::default(),
            ask_timeout: VirtualDuration::from_secs(10),
            cancellation_timeout: None,
            failover: FailoverStrategy::Region,
            slots: 1,
        }
    }
}

impl FlinkConfig {
    /// Validates what was set.
    ///
    /// `manual`: whether checkpoints are asked for by hand, so that options without an interval
    /// have a purpose. The configuration means nothing if a finding is an error.
    pub fn resolve(values: &OptionValues, manual: bool) -> (Self, Vec<Finding>) {
        let mut reader = Reader { values: values.clone(), findings: Vec::new() };
        reader.keep_milliseconds();
        let checkpointing = reader.checkpointing(manual);
        let restart = reader.restart(checkpointing.interval.is_some() || manual);
        let network = reader.network();
        let heartbeat = reader.heartbeat();
        let election = reader.election();
        let ms = VirtualDuration::from_millis(1);
        let ask_timeout = reader.duration(Key::AskTimeout, ms, "Pekko: no call is ever answered");
        let cancellation_timeout = reader.cancellation_timeout();
        let failover = match reader.word(Key::FailoverStrategy) {
            "full" => FailoverStrategy::Full,
            _ => FailoverStrategy::Region,
        };
        let slots = reader.at_least(Key::Slots, 1, "TaskManagerOptions: refused");
        let config = Self {
            checkpointing,
            restart,
            network,
            heartbeat,
            election,
            ask_timeout,
            cancellation_timeout,
            failover,
            slots,
        };
        (config, reader.findings)
    }

    /// The options that give this configuration; the inverse of `resolve`.
    pub fn values(&self) -> OptionValues {
        let mut values = OptionValues::default();
        let (c, n) = (&self.checkpointing, &self.network);
        let integer = |value: u32| OptionValue::Integer(i64::from(value));
        let mut set = |key, value| values.set(key, value);
        if let Some(interval) = c.interval {
            set(Key::Interval, OptionValue::Duration(interval));
        }
        set(Key::Timeout, OptionValue::Duration(c.timeout));
        set(Key::MinPause, OptionValue::Duration(c.min_pause));
        set(Key::MaxConcurrent, integer(c.max_concurrent));
        let mode = if c.exactly_once { "exactly_once" } else { "at_least_once" };
        set(Key::Mode, OptionValue::Choice(mode));
        set(Key::Unaligned, OptionValue::Boolean(c.unaligned));
        set(Key::UnalignedForced, OptionValue::Boolean(c.unaligned_forced));
        set(Key::AlignedTimeout, OptionValue::Duration(c.aligned_timeout));
        set(Key::TolerableFailures, integer(c.tolerable_failures));
        set(Key::Retained, integer(c.retained));
        set(Key::AfterTasksFinish, OptionValue::Boolean(c.checkpoints_after_tasks_finish));
        let retention = match c.retention {
            Retention::DeleteOnCancellation => "delete_on_cancellation",
            Retention::RetainOnCancellation => "retain_on_cancellation",
            Retention::NoExternalized => "no_externalized",
        };
        set(Key::Retention, OptionValue::Choice(retention));
        if let Some(scheme) = c.dir {
            set(Key::Directory, OptionValue::Choice(scheme.prefix()));
        }
        set(Key::Incremental, OptionValue::Boolean(c.incremental));
        set(Key::LocalRecovery, OptionValue::Boolean(c.local_recovery));
        if let Some(bytes) = c.inline_threshold {
            set(Key::InlineThreshold, OptionValue::Size(bytes));
        }
        if c.changelog != ChangelogOptions::default() {
            c.changelog.set(&mut values);
        }
        let mut set = |key, value| values.set(key, value);
        set(Key::BuffersPerChannel, integer(n.buffers_per_channel));
        set(Key::FloatingBuffers, integer(n.floating_per_gate));
        set(Key::MaxPerSubpartition, integer(n.max_per_subpartition));
        if n.debloat != DebloatOptions::default() {
            set(Key::Debloat, OptionValue::Boolean(n.debloat.enabled));
            set(Key::DebloatTarget, OptionValue::Duration(n.debloat.target));
            set(Key::DebloatPeriod, OptionValue::Duration(n.debloat.period));
            set(Key::DebloatSamples, integer(n.debloat.samples));
            set(Key::DebloatThreshold, integer(n.debloat.threshold));
        }
        set(Key::HeartbeatInterval, OptionValue::Duration(self.heartbeat.interval));
        set(Key::HeartbeatTimeout, OptionValue::Duration(self.heartbeat.timeout));
        if let Some(failures) = self.heartbeat.rpc_failures {
            let threshold = match failures {
                RpcFailures::Ignored => OptionValue::Integer(-1),
                RpcFailures::Threshold(threshold) => integer(threshold),
            };
            set(Key::RpcFailureThreshold, threshold);
        }
        let ElectionOptions { lease_duration, renew_deadline, retry_period } = self.election;
        set(Key::LeaseDuration, OptionValue::Duration(lease_duration));
        set(Key::RenewDeadline, OptionValue::Duration(renew_deadline));
        set(Key::RetryPeriod, OptionValue::Duration(retry_period));
        set(Key::AskTimeout, OptionValue::Duration(self.ask_timeout));
        if let Some(timeout) = self.cancellation_timeout {
            set(Key::CancellationTimeout, OptionValue::Duration(timeout));
        }
        match self.failover {
            FailoverStrategy::Region => {}
            FailoverStrategy::Full => set(Key::FailoverStrategy, OptionValue::Choice("full")),
        }
        set(Key::Slots, integer(self.slots));
        set_restart(&mut values, &self.restart);
        values
    }
}

fn set_restart(values: &mut OptionValues, restart: &RestartStrategy) {
    let integer = |value: u32| OptionValue::Integer(i64::from(value));
    let mut set = |key, value| values.set(key, value);
    match *restart {
        RestartStrategy::Disabled => set(Key::Strategy, OptionValue::Choice("disabled")),
        RestartStrategy::FixedDelay { attempts, delay } => {
            set(Key::Strategy, OptionValue::Choice("fixed_delay"));
            set(Key::FixedAttempts, integer(attempts));
            set(Key::FixedDelay, OptionValue::Duration(delay));
        }
        RestartStrategy::FailureRate { max_failures, interval, delay } => {
            set(Key::Strategy, OptionValue::Choice("failure_rate"));
            set(Key::RateFailures, integer(max_failures));
            set(Key::RateInterval, OptionValue::Duration(interval));
            set(Key::RateDelay, OptionValue::Duration(delay));
        }
        RestartStrategy::ExponentialDelay {
            initial,
            max,
            multiplier_permille,
            reset_after,
            jitter_permille,
            attempts,
        } => {
            set(Key::Strategy, OptionValue::Choice("exponential_delay"));
            set(Key::InitialBackoff, OptionValue::Duration(initial));
            set(Key::MaxBackoff, OptionValue::Duration(max));
            set(Key::BackoffMultiplier, OptionValue::Decimal(multiplier_permille));
            set(Key::ResetBackoff, OptionValue::Duration(reset_after));
            set(Key::Jitter, OptionValue::Decimal(jitter_permille));
            if let Some(attempts) = attempts {
                set(Key::BackoffAttempts, integer(attempts));
            }
        }
    }
}

struct Reader {
    values: OptionValues,
    findings: Vec<Finding>,
}

impl Reader {
    fn checkpointing(&mut self, manual: bool) -> CheckpointingOptions {
        const SETTER: &str = "CheckpointConfig: refused when the job is submitted";
        let interval = self.set_duration(Key::Interval, MINIMAL_CHECKPOINT_TIME, SETTER);
        let timeout = self.duration(Key::Timeout, MINIMAL_CHECKPOINT_TIME, SETTER);
        let max_concurrent = self.at_least(Key::MaxConcurrent, 1, SETTER);
        let tolerable_failures = self.at_least(Key::TolerableFailures, 0, SETTER);
        let exactly_once = self.word(Key::Mode) == "exactly_once";
        let unaligned = self.unaligned(exactly_once, max_concurrent);
        let (interval, min_pause) = self.pause(interval);
        let checkpointing = CheckpointingOptions {
            interval,
            initial_delay: None,
            policy: None,
            timeout,
            min_pause,
            max_concurrent,
            exactly_once,
            unaligned,
            unaligned_forced: self.unaligned_forced(unaligned),
            aligned_timeout: self.aligned_timeout(unaligned, timeout),
            tolerable_failures,
            retained: self.retained(),
            checkpoints_after_tasks_finish: self.boolean(Key::AfterTasksFinish),
            retention: match self.word(Key::Retention) {
                "delete_on_cancellation" => Retention::DeleteOnCancellation,
                "retain_on_cancellation" => Retention::RetainOnCancellation,
                _ => Retention::NoExternalized,
            },
            dir: self.word_if_set(Key::Directory).map(|prefix| {
                let scheme = Scheme::ALL.into_iter().find(|scheme| scheme.prefix() == prefix);
                scheme.expect("the table has the same schemes")
            }),
            incremental: self.boolean(Key::Incremental),
            local_recovery: self.boolean(Key::LocalRecovery),
            inline_threshold: self.inline_threshold(),
            changelog: self.changelog(max_concurrent),
        };
        if interval.is_none() && !manual {
            self.warn_of_no_interval();
        }
        checkpointing
    }

    /// Flink's documentation of the changelog has no more than one concurrent checkpoint among its
    /// limitations; the code does not look. A simulation refuses it: it is not modelled.
    fn changelog(&mut self, max_concurrent: u32) -> ChangelogOptions {
        const DIVIDES: &str = "PeriodicMaterializationManager: divides by it";
        const POLICY: &str = "RetryPolicy.FixedRetryPolicy: no attempt is made";
        let (ms, zero) = (VirtualDuration::from_millis(1), VirtualDuration::ZERO);
        let enabled = self.boolean(Key::Changelog);
        if !enabled {
            const READ: &str = "StateBackendLoader: without it there is no log";
            self.warn_of_what_is_off(Key::Changelog, |path| path == "changelog", READ);
        }
        if enabled && max_concurrent > 1 {
            let message = "with it checkpoints are not to be concurrent; set max_concurrent to 1";
            let flink = "State Backends, Limitations: \"At most one concurrent checkpoint\", but \
                         runs the job";
            self.warn(Key::Changelog, message.to_owned(), flink);
            self.with(Key::MaxConcurrent);
        }
        ChangelogOptions {
            enabled,
            materializes: self.boolean(Key::Materialize),
            materialize_interval: self.duration(Key::MaterializeInterval, ms, DIVIDES),
            // One that is negative allows none.
            max_failures_allowed: to_u32(self.integer(Key::MaterializeFailures).max(0)),
            preemptive_persist_threshold: match self.values.effective(Key::PreemptivePersist) {
                Some(OptionValue::Size(bytes)) => bytes,
                other => unreachable!("the threshold is a size with a default, not {other:?}"),
            },
            persist_delay: self.duration(Key::PersistDelay, zero, ""),
            upload_timeout: self.duration(Key::UploadTimeout, zero, ""),
            upload_attempts: self.at_least(Key::UploadAttempts, 1, POLICY),
            upload_retry_delay: self.duration(Key::UploadRetryDelay, zero, ""),
        }
    }

    /// Flink: `FileSystemCheckpointStorage`, `MAX_FILE_STATE_THRESHOLD`.
    fn inline_threshold(&mut self) -> Option<u64> {
        const MOST: u64 = 1 << 20;
        const DEFAULT: u64 = 20 << 10;
        match self.values.effective(Key::InlineThreshold)? {
            OptionValue::Size(bytes) if bytes > MOST => {
                let message = "more than 1 mb is not inlined; the threshold is 20 kb".to_owned();
                let flink = "FileSystemCheckpointStorage: takes its default and logs a warning";
                self.warn(Key::InlineThreshold, message, flink);
                Some(DEFAULT)
            }
            OptionValue::Size(bytes) => Some(bytes),
            _ => unreachable!("the threshold is a size in the table"),
        }
    }

    /// Flink: `CheckpointingOptions#isUnalignedCheckpointEnabled` says no in at-least-once mode;
    /// `CheckpointCoordinatorConfiguration` refuses it with concurrent checkpoints.
    fn unaligned(&mut self, exactly_once: bool, max_concurrent: u32) -> bool {
        if !self.boolean(Key::Unaligned) {
            return false;
        }
        if !exactly_once {
            let message = "unaligned checkpoints need exactly-once mode; they are switched off";
            let flink = "CheckpointingOptions: switches them off without a word";
            self.warn(Key::Unaligned, message.to_owned(), flink);
            self.with(Key::Mode);
            return false;
        }
        if max_concurrent > 1 {
            let message = "unaligned checkpoints cannot be concurrent; set max_concurrent to 1";
            let flink = "CheckpointCoordinatorConfiguration: refused when the job is submitted";
            self.refuse(Key::Unaligned, message.to_owned(), flink);
            self.with(Key::MaxConcurrent);
        }
        true
    }

    fn unaligned_forced(&mut self, unaligned: bool) -> bool {
        let forced = self.boolean(Key::UnalignedForced);
        if forced && !unaligned {
            let message = "has no effect without unaligned checkpoints".to_owned();
            let flink = "StreamingJobGraphGenerator: asks for it only if they are on";
            self.warn(Key::UnalignedForced, message, flink);
            self.with(Key::Unaligned);
        }
        forced
    }

    fn aligned_timeout(
        &mut self,
        unaligned: bool,
        checkpoint_timeout: VirtualDuration,
    ) -> VirtualDuration {
        let timeout = self.duration(Key::AlignedTimeout, VirtualDuration::ZERO, "");
        if unaligned && timeout >= checkpoint_timeout {
            let message = format!(
                "{} is no shorter than the checkpoint timeout, {}: alignment never times out",
                shown(timeout),
                shown(checkpoint_timeout)
            );
            let flink = "CheckpointCoordinator: aborts the checkpoint first";
            self.warn(Key::AlignedTimeout, message, flink);
            self.with(Key::Timeout);
        }
        if unaligned || timeout.is_zero() {
            return timeout;
        }
        let message = "has no effect without unaligned checkpoints";
        let flink = "CheckpointOptions: ignores it, alignment never times out";
        self.warn(Key::AlignedTimeout, message.to_owned(), flink);
        self.with(Key::Unaligned);
        VirtualDuration::ZERO
    }

    /// Flink: the constructor of `CheckpointCoordinator`.
    fn pause(
        &mut self,
        interval: Option<VirtualDuration>,
    ) -> (Option<VirtualDuration>, VirtualDuration) {
        const CONSTRUCTOR: &str = "CheckpointCoordinator: changes it without a word";
        let mut pause = self.duration(Key::MinPause, VirtualDuration::ZERO, "");
        if pause > LONGEST_PAUSE {
            let message = "is longer than a year; a year is used".to_owned();
            self.warn(Key::MinPause, message, CONSTRUCTOR);
            pause = LONGEST_PAUSE;
        }
        match interval {
            Some(interval) if interval < pause => {
                let message =
                    format!("is shorter than the minimum pause; {} is used", shown(pause));
                self.warn(Key::Interval, message, CONSTRUCTOR);
                self.with(Key::MinPause);
                (Some(pause), pause)
            }
            interval => (interval, pause),
        }
    }

    /// Flink: `DefaultCompletedCheckpointStoreUtils#getMaximumNumberOfRetainedCheckpoints`.
    fn retained(&mut self) -> u32 {
        match self.integer(Key::Retained) {
            retained if retained > 0 => to_u32(retained),
            retained => {
                let message = format!("{retained} checkpoints cannot be retained; 1 is used");
                let flink = "DefaultCompletedCheckpointStoreUtils: logs a warning and uses 1";
                self.warn(Key::Retained, message, flink);
                1
            }
        }
    }

    /// Options of something that is not switched on.
    fn warn_of_what_is_off(
        &mut self,
        switch: Key,
        is_of_it: fn(&str) -> bool,
        flink: &'static str,
    ) {
        for spec in OPTIONS {
            let of_it = is_of_it(spec.path.0) || is_of_it(spec.path.1);
            let value = self.values.get(spec.id);
            if of_it && spec.id != switch && value.is_some() && value != spec.default_value() {
                let (section, name) = switch.spec().path;
                let message = format!("has no effect without `{section}.{name}`");
                self.warn(spec.id, message, flink);
                self.with(switch);
            }
        }
    }

    /// The mistake that Flink makes easiest: everything set but the interval.
    fn warn_of_no_interval(&mut self) {
        let set = OPTIONS.iter().find(|spec| {
            let value = self.values.get(spec.id);
            spec.path.0 == "checkpointing" && value.is_some() && value != spec.default_value()
        });
        if let Some(spec) = set {
            let message = "has no effect: without an interval nothing is checkpointed".to_owned();
            let flink = "CheckpointConfig: runs the job without checkpoints, without a word";
            self.warn(spec.id, message, flink);
        }
    }

    /// Flink: `RestartBackoffTimeStrategyFactoryLoader` and the constructors of the strategies.
    fn restart(&mut self, checkpoints: bool) -> RestartStrategy {
        let chosen = self.word_if_set(Key::Strategy);
        let default = if checkpoints { "exponential_delay" } else { "disabled" };
        let strategy = chosen.unwrap_or(default);
        self.warn_of_other_strategies(strategy);
        const LIMIT: &str = "restart strategies: refused when the job is submitted";
        let ms = VirtualDuration::from_millis(1);
        match strategy {
            "fixed_delay" => RestartStrategy::FixedDelay {
                attempts: self.at_least(Key::FixedAttempts, 0, LIMIT),
                delay: self.duration(Key::FixedDelay, VirtualDuration::ZERO, LIMIT),
            },
            "failure_rate" => RestartStrategy::FailureRate {
                max_failures: self.at_least(Key::RateFailures, 1, LIMIT),
                interval: self.duration(Key::RateInterval, ms, LIMIT),
                delay: self.duration(Key::RateDelay, VirtualDuration::ZERO, LIMIT),
            },
            "exponential_delay" => self.exponential_delay(LIMIT),
            _ => RestartStrategy::Disabled,
        }
    }

    fn exponential_delay(&mut self, flink: &'static str) -> RestartStrategy {
        let ms = VirtualDuration::from_millis(1);
        let initial = self.duration(Key::InitialBackoff, ms, flink);
        let max = self.duration(Key::MaxBackoff, ms, flink);
        if initial > max {
            let message = format!("{} is longer than the maximum, {}", shown(initial), shown(max));
            self.refuse(Key::InitialBackoff, message, flink);
            self.with(Key::MaxBackoff);
        }
        let multiplier_permille = self.decimal(Key::BackoffMultiplier);
        if multiplier_permille <= 1_000 {
            self.refuse(Key::BackoffMultiplier, "must be greater than 1".to_owned(), flink);
        }
        let jitter_permille = self.decimal(Key::Jitter);
        if jitter_permille > 1_000 {
            self.refuse(Key::Jitter, "must be between 0 and 1".to_owned(), flink);
        }
        let limited = self.values.get(Key::BackoffAttempts).is_some();
        RestartStrategy::ExponentialDelay {
            initial,
            max,
            multiplier_permille,
            reset_after: self.duration(Key::ResetBackoff, ms, flink),
            jitter_permille,
            attempts: limited.then(|| self.at_least(Key::BackoffAttempts, 1, flink)),
        }
    }

    fn warn_of_other_strategies(&mut self, strategy: &str) {
        for spec in OPTIONS {
            let other = spec.strategy.is_some_and(|of| of != strategy);
            if other && self.values.get(spec.id).is_some() {
                let message = format!("has no effect: the restart strategy is {strategy}");
                let flink = "RestartBackoffTimeStrategyFactoryLoader: reads only the options of \
                             the strategy in force";
                self.warn(spec.id, message, flink);
                self.with(Key::Strategy);
            }
        }
    }

    /// Flink: `NettyShuffleEnvironmentConfiguration`.
    fn network(&mut self) -> NetworkOptions {
        const SHUFFLE: &str =
            "NettyShuffleEnvironmentConfiguration: the task manager does not start";
        let network = NetworkOptions {
            buffers_per_channel: self.at_least(Key::BuffersPerChannel, 0, SHUFFLE),
            floating_per_gate: self.at_least(Key::FloatingBuffers, 0, SHUFFLE),
            max_per_subpartition: self.at_least(Key::MaxPerSubpartition, 1, SHUFFLE),
            debloat: self.debloat(),
        };
        if network.buffers_per_channel == 0 {
            let message = "must be at least 1: that a sender without credit announces its backlog is not modelled";
            let flink = "NettyMessage.BacklogAnnouncement: tells receivers without such buffers";
            self.refuse(Key::BuffersPerChannel, message.to_owned(), flink);
            self.findings.last_mut().expect("just refused").severity = Severity::NotSimulated;
        }
        network
    }

    /// Flink: `StreamTask#scheduleBufferDebloater`, `BufferDebloadConfiguration`.
    fn debloat(&mut self) -> DebloatOptions {
        const DEBLOATER: &str = "BufferDebloadConfiguration: the task fails";
        let ms = VirtualDuration::from_millis(1);
        let enabled = self.boolean(Key::Debloat);
        if !enabled {
            const READ: &str = "StreamTask: reads the others only if it is on";
            self.warn_of_what_is_off(Key::Debloat, |path| path.starts_with("debloat"), READ);
        }
        DebloatOptions {
            enabled,
            target: self.duration(Key::DebloatTarget, ms, DEBLOATER),
            period: self.duration(Key::DebloatPeriod, ms, DEBLOATER),
            samples: self.at_least(Key::DebloatSamples, 1, DEBLOATER),
            threshold: self.at_least(Key::DebloatThreshold, 0, DEBLOATER),
        }
    }

    /// Flink: the constructor of `HeartbeatServicesImpl`.
    fn heartbeat(&mut self) -> HeartbeatOptions {
        const SERVICES: &str = "HeartbeatServicesImpl: the process does not start";
        let ms = VirtualDuration::from_millis(1);
        let interval = self.duration(Key::HeartbeatInterval, ms, SERVICES);
        let timeout = self.duration(Key::HeartbeatTimeout, ms, SERVICES);
        if timeout < interval {
            let message = format!(
                "{} is shorter than the heartbeat interval, {}",
                shown(timeout),
                shown(interval)
            );
            self.refuse(Key::HeartbeatTimeout, message, SERVICES);
            self.with(Key::HeartbeatInterval);
        }
        HeartbeatOptions { interval, timeout, rpc_failures: self.rpc_failures(SERVICES) }
    }

    fn rpc_failures(&mut self, flink: &'static str) -> Option<RpcFailures> {
        let threshold = match self.values.effective(Key::RpcFailureThreshold)? {
            OptionValue::Integer(threshold) => threshold,
            _ => unreachable!("the threshold is a number in the table"),
        };
        match threshold {
            -1 => Some(RpcFailures::Ignored),
            threshold if threshold > 0 => Some(RpcFailures::Threshold(to_u32(threshold))),
            _ => {
                let message = "must be at least 1, or -1 for any number".to_owned();
                self.refuse(Key::RpcFailureThreshold, message, flink);
                None
            }
        }
    }

    /// Flink: `KubernetesLeaderElectionConfiguration`; the client library refuses what makes no sense.
    fn election(&mut self) -> ElectionOptions {
        const ELECTOR: &str = "LeaderElector of the Kubernetes client: the process does not start";
        let ms = VirtualDuration::from_millis(1);
        let election = ElectionOptions {
            lease_duration: self.duration(Key::LeaseDuration, ms, ELECTOR),
            renew_deadline: self.duration(Key::RenewDeadline, ms, ELECTOR),
            retry_period: self.duration(Key::RetryPeriod, ms, ELECTOR),
        };
        if election.renew_deadline < election.retry_period {
            let message = format!(
                "{} is shorter than the retry period, {}: no lease is ever renewed in time",
                shown(election.renew_deadline),
                shown(election.retry_period)
            );
            self.refuse(Key::RenewDeadline, message, ELECTOR);
            self.with(Key::RetryPeriod);
        }
        election
    }

    /// Flink: `Task#cancelOrFailAndCancelInvokable` starts a watchdog unless it is 0.
    fn cancellation_timeout(&mut self) -> Option<VirtualDuration> {
        self.values.effective(Key::CancellationTimeout)?;
        Some(self.duration(Key::CancellationTimeout, VirtualDuration::ZERO, ""))
    }

    /// Flink hands durations on with `Duration#toMillis`.
    fn keep_milliseconds(&mut self) {
        for spec in OPTIONS {
            let Some(OptionValue::Duration(span)) = self.values.get(spec.id) else { continue };
            let kept = VirtualDuration::from_millis(span.as_millis());
            if kept != span {
                let message = format!("Flink counts whole milliseconds; {} is used", shown(kept));
                self.warn(spec.id, message, "Duration#toMillis: drops the rest without a word");
                self.values.set(spec.id, OptionValue::Duration(kept));
            }
        }
    }

    fn set_duration(
        &mut self,
        key: Key,
        least: VirtualDuration,
        flink: &'static str,
    ) -> Option<VirtualDuration> {
        let OptionValue::Duration(span) = self.values.effective(key)? else {
            unreachable!("{key:?} is a duration in the table");
        };
        if span < least {
            self.refuse(key, format!("must be at least {}", shown(least)), flink);
            return Some(least);
        }
        Some(span)
    }

    fn duration(
        &mut self,
        key: Key,
        least: VirtualDuration,
        flink: &'static str,
    ) -> VirtualDuration {
        self.set_duration(key, least, flink).expect("the option has a default in the table")
    }

    fn at_least(&mut self, key: Key, least: i64, flink: &'static str) -> u32 {
        let value = self.integer(key);
        if value < least {
            self.refuse(key, format!("must be at least {least}"), flink);
        }
        to_u32(value.max(least))
    }

    fn integer(&self, key: Key) -> i64 {
        match self.values.effective(key) {
            Some(OptionValue::Integer(value)) => value,
            _ => unreachable!("{key:?} is a number, set or with a default"),
        }
    }

    fn decimal(&self, key: Key) -> u32 {
        match self.values.effective(key) {
            Some(OptionValue::Decimal(permille)) => permille,
            _ => unreachable!("{key:?} is a decimal with a default"),
        }
    }

    fn boolean(&self, key: Key) -> bool {
        self.values.effective(key) == Some(OptionValue::Boolean(true))
    }

    fn word(&self, key: Key) -> &'static str {
        self.word_if_set(key).expect("the option has a default in the table")
    }

    fn word_if_set(&self, key: Key) -> Option<&'static str> {
        match self.values.effective(key)? {
            OptionValue::Choice(word) => Some(word),
            _ => unreachable!("{key:?} is a choice in the table"),
        }
    }

    fn refuse(&mut self, option: Key, message: String, flink: &'static str) {
        let severity = Severity::Error;
        self.findings.push(Finding { severity, option, with: None, message, flink });
    }

    fn warn(&mut self, option: Key, message: String, flink: &'static str) {
        let severity = Severity::Warning;
        self.findings.push(Finding { severity, option, with: None, message, flink });
    }

    /// Names the other option of the finding just made.
    fn with(&mut self, other: Key) {
        self.findings.last_mut().expect("called after refuse or warn").with = Some(other);
    }
}

/// Integers of the table are 32-bit; negative ones were refused or replaced before.
fn to_u32(value: i64) -> u32 {
    u32::try_from(value).expect("an option is a 32-bit number and at least 0 here")
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
