//! What Flink refuses and changes, row by row.

use super::*;

fn set(options: &[(Key, &str)]) -> OptionValues {
    let mut values = OptionValues::default();
    for (key, text) in options {
        values.set(*key, key.spec().parse(text).expect("a valid text"));
    }
    values
}

#[test]
fn the_tables_defaults_are_those_of_the_types() {
    let (config, findings) = FlinkConfig::resolve(&set(&[]), true);
    assert_eq!((config, findings), (FlinkConfig::default(), vec![]));
    let (config, _) = FlinkConfig::resolve(&set(&[]), false);
    assert_eq!(config.restart, RestartStrategy::Disabled);
}

#[test]
fn every_option_is_read_and_comes_back() {
    for spec in OPTIONS {
        let seen = spec.examples.map(|example| {
            let mut options = vec![(Key::Interval, "300 ms")];
            let word = spec.strategy.map(|word| word.replace('_', "-"));
            if let Some(word) = &word {
                options.push((Key::Strategy, word));
            }
            if spec.id == Key::AlignedTimeout {
                options.push((Key::Unaligned, "true"));
            }
            if spec.id == Key::RenewDeadline {
                options.push((Key::RetryPeriod, "1 ms"));
            }
            options.push((spec.id, example));
            let (config, findings) = FlinkConfig::resolve(&set(&options), false);
            let refused = findings.iter().find(|finding| finding.severity == Severity::Error);
            assert_eq!(refused, None, "{} = {example}", spec.key);
            let (again, _) = FlinkConfig::resolve(&config.values(), false);
            assert_eq!(again, config, "{} = {example}", spec.key);
            config
        });
        assert_ne!(seen[0], seen[1], "{} is not read", spec.key);
    }
}

#[test]
fn what_flink_refuses_is_refused() {
    use Key::*;
    type Row = (&'static str, &'static [(Key, &'static str)], Key, &'static str);
    let cases: &[Row] = &[
        ("interval", &[(Interval, "9 ms")], Interval, "at least 10 ms"),
        ("interval 0", &[(Interval, "0")], Interval, "at least 10 ms"),
        ("timeout", &[(Timeout, "9 ms")], Timeout, "at least 10 ms"),
        ("concurrent", &[(MaxConcurrent, "0")], MaxConcurrent, "at least 1"),
        ("tolerable", &[(TolerableFailures, "-1")], TolerableFailures, "at least 0"),
        ("unaligned", &[(Unaligned, "true"), (MaxConcurrent, "2")], Unaligned, "concurrent"),
        ("attempts", &[(Strategy, "fixed-delay"), (FixedAttempts, "-1")], FixedAttempts, "0"),
        ("failures", &[(Strategy, "failure-rate"), (RateFailures, "0")], RateFailures, "1"),
        ("multiplier", &[(BackoffMultiplier, "1")], BackoffMultiplier, "greater than 1"),
        ("jitter", &[(Jitter, "1.1")], Jitter, "between 0 and 1"),
        ("backoff", &[(InitialBackoff, "2 min")], InitialBackoff, "longer than the maximum"),
        ("backoff attempts", &[(BackoffAttempts, "0")], BackoffAttempts, "at least 1"),
        ("heartbeat", &[(HeartbeatTimeout, "5 s")], HeartbeatTimeout, "shorter than"),
        ("slots", &[(Slots, "0")], Slots, "at least 1"),
    ];
    for (name, options, option, message) in cases {
        let (_, findings) = FlinkConfig::resolve(&set(options), true);
        let errors: Vec<_> =
            findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
        assert_eq!(errors.len(), 1, "{name}: {findings:?}");
        assert_eq!(errors[0].option, *option, "{name}");
        assert!(errors[0].message.contains(message), "{name}: {}", errors[0].message);
    }
}

#[test]
fn what_is_not_simulated_is_not_put_down_to_flink() {
    let (_, findings) = FlinkConfig::resolve(&set(&[(Key::BuffersPerChannel, "0")]), true);
    let found: Vec<_> = findings.iter().map(|f| (f.severity, f.option)).collect();
    assert_eq!(found, [(Severity::NotSimulated, Key::BuffersPerChannel)]);
    assert!(findings[0].message.contains("not modelled"));
}

#[test]
fn what_comes_from_flinks_configuration_has_flinks_defaults() {
    let mut values = set(&[(Key::Interval, "1 s")]);
    let (plain, _) = FlinkConfig::resolve(&values, false);
    values.take_flinks_defaults();
    let (flinks, findings) = FlinkConfig::resolve(&values, false);
    assert_eq!(findings, vec![]);
    assert_eq!(plain.heartbeat.rpc_failures, None);
    assert_eq!(flinks.heartbeat.rpc_failures, Some(RpcFailures::Threshold(2)));
    assert_eq!(plain.checkpointing.inline_threshold, None);
    assert_eq!(flinks.checkpointing.inline_threshold, Some(20 << 10));
    assert_eq!(plain.cancellation_timeout, None);
    assert_eq!(flinks.cancellation_timeout, Some(VirtualDuration::from_secs(180)));
    // Nothing else is another.
    let mut others = flinks.clone();
    others.heartbeat.rpc_failures = None;
    others.checkpointing.inline_threshold = None;
    others.cancellation_timeout = None;
    assert_eq!(others, plain);
}

#[test]
fn what_flink_changes_is_changed_and_said() {
    use Key::*;
    type Row = (&'static str, &'static [(Key, &'static str)], Key, fn(&FlinkConfig) -> bool);
    let cases: &[Row] = &[
        (
            "unaligned needs exactly once",
            &[(Interval, "1 s"), (Unaligned, "true"), (Mode, "AT_LEAST_ONCE")],
            Unaligned,
            |config| !config.checkpointing.unaligned,
        ),
        (
            "and then may be concurrent",
            &[(Unaligned, "true"), (Mode, "AT_LEAST_ONCE"), (MaxConcurrent, "2")],
            Unaligned,
            |config| config.checkpointing.max_concurrent == 2,
        ),
        ("timeout of nothing", &[(AlignedTimeout, "1 s")], AlignedTimeout, |config| {
            config.checkpointing.aligned_timeout.is_zero()
        }),
        (
            "timeout behind the timeout",
            &[(Unaligned, "true"), (AlignedTimeout, "1 min"), (Timeout, "30 s")],
            AlignedTimeout,
            |config| config.checkpointing.unaligned,
        ),
        ("forced to nothing", &[(UnalignedForced, "true")], UnalignedForced, |config| {
            !config.checkpointing.unaligned
        }),
        ("no debloating", &[(DebloatTarget, "2 s")], DebloatTarget, |config| {
            !config.network.debloat.enabled
        }),
        ("no changelog", &[(UploadAttempts, "1")], UploadAttempts, |config| {
            !config.checkpointing.changelog.enabled
        }),
        ("retained", &[(Retained, "0")], Retained, |config| config.checkpointing.retained == 1),
        ("negative", &[(Retained, "-3")], Retained, |config| config.checkpointing.retained == 1),
        ("pause", &[(Interval, "1 s"), (MinPause, "2 s")], Interval, |config| {
            config.checkpointing.interval == Some(VirtualDuration::from_secs(2))
        }),
        ("a year", &[(MinPause, "400 d")], MinPause, |config| {
            config.checkpointing.min_pause == LONGEST_PAUSE
        }),
        ("fractions", &[(Timeout, "10500 µs")], Timeout, |config| {
            config.checkpointing.timeout == VirtualDuration::from_millis(10)
        }),
        ("other strategy", &[(Strategy, "off"), (FixedAttempts, "3")], FixedAttempts, |config| {
            config.restart == RestartStrategy::Disabled
        }),
    ];
    for (name, options, option, holds) in cases {
        let (config, findings) = FlinkConfig::resolve(&set(options), true);
        let found: Vec<_> = findings.iter().map(|f| (f.severity, f.option)).collect();
        assert_eq!(found, [(Severity::Warning, *option)], "{name}");
        assert!(holds(&config), "{name}: {config:?}");
    }
}

#[test]
fn options_without_an_interval_are_pointed_out() {
    let (_, findings) = FlinkConfig::resolve(&set(&[(Key::Timeout, "1 s")]), false);
    assert_eq!(findings.len(), 1);
    assert!(findings[0].flink.contains("without checkpoints"));
}
