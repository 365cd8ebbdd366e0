//! Scenario files: those of the repository load and come back, bad ones are answered well,
//! nothing is parsed and ignored, nothing panics.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use cutline::time::VirtualTime;
use cutline_sim::scenario::{
    FieldProbe, Loaded, Override, SIZE_MAX, Scenario, Severity, base, load, probes, read_file,
    schema, to_json,
};
use proptest::prelude::*;

/// The probes are made by loading the base many times; once is enough.
static PROBES: LazyLock<Vec<FieldProbe>> = LazyLock::new(probes);

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(folder).expect("the folder is part of the repository");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files
}

fn name(file: &Path) -> String {
    file.file_name().expect("a file has a name").to_string_lossy().into_owned()
}

fn load_with(text: &str, overrides: &[&str]) -> Result<Scenario, String> {
    let overrides: Vec<Override> =
        overrides.iter().map(|text| Override::parse(text).expect("an override")).collect();
    match load(text.as_bytes(), "test.json", &overrides) {
        Ok(Loaded { scenario, .. }) => Ok(scenario),
        Err(diagnostics) => Err(diagnostics.render(false)),
    }
}

#[test]
fn the_repositorys_scenarios_load_and_come_back() {
    let files = files("../scenarios");
    assert!(files.len() >= 9);
    for file in files {
        let text = fs::read(&file).expect("readable");
        let loaded = load(&text, &name(&file), &[]).unwrap_or_else(|found| panic!("{found}"));
        let written = to_json(&loaded.scenario);
        let again = load(written.as_bytes(), "written", &[]).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(again.scenario, loaded.scenario, "{}", name(&file));
        assert!(again.warnings.is_empty(), "{}: {}", name(&file), again.warnings);
        assert_eq!(to_json(&again.scenario), written, "{}", name(&file));
        let until = loaded.scenario.limits.until;
        let records: u64 = loaded.scenario.job.operators.iter().map(|it| records(it, until)).sum();
        assert!((1..=1_000_000).contains(&records), "{}: {records} records", name(&file));
    }
}

/// Records of a source; of one that does not end by itself, until the run does.
fn records(operator: &cutline_sim::scenario::model::Operator, until: VirtualTime) -> u64 {
    match &operator.kind {
        cutline_sim::scenario::model::OperatorKind::Source(source) => {
            let due = until.as_nanos() / source.every.as_nanos();
            source.records.unwrap_or(due) * u64::from(source.splits)
        }
        _ => 0,
    }
}

#[test]
fn flink_keys_are_warned_of_by_name() {
    let text = fs::read("../scenarios/flink-keys.json").expect("readable");
    let loaded = load(&text, "flink-keys.json", &[]).unwrap_or_else(|found| panic!("{found}"));
    let found: Vec<(&str, Severity)> =
        loaded.warnings.list().iter().map(|one| (one.code, one.severity)).collect();
    let warning = Severity::Warning;
    assert_eq!(
        found,
        [
            ("deprecated-key", warning),
            ("not-modelled", warning),
            ("deprecated-key", warning),
            ("removed-key", warning),
        ]
    );
}

/// The answer to `NAME.json` is `NAME.txt`. After a change of the words, run with
/// `CUTLINE_BLESS=1` and read the difference.
#[test]
fn bad_files_are_answered_with_all_their_errors() {
    let files = files("tests/data/bad");
    assert!(files.len() >= 16);
    for file in files {
        let text = fs::read(&file).expect("readable");
        let found = load(&text, &name(&file), &[]).expect_err("a bad file");
        let golden = file.with_extension("txt");
        if std::env::var_os("CUTLINE_BLESS").is_some() {
            fs::write(&golden, found.render(false)).expect("writable");
        }
        let expected = fs::read_to_string(&golden).expect("an answer beside the file");
        assert_eq!(found.render(false), expected, "{}", name(&file));
        assert!(found.render(true).contains("\u{1b}["), "{}", name(&file));
        for diagnostic in found.list() {
            let (line, column) = found.position(diagnostic.span);
            let place = format!("{}:{line}:{column}", name(&file));
            assert!(expected.contains(&place), "{place} is not named");
        }
        let json = found.to_json();
        let list = json.as_array().expect("a list");
        assert_eq!(list.len(), found.list().len(), "{}", name(&file));
        for (json, diagnostic) in list.iter().zip(found.list()) {
            assert_eq!(json["line"], found.position(diagnostic.span).0);
            assert_eq!(json["code"], diagnostic.code);
        }
    }
}

#[test]
fn no_more_of_a_file_is_read_than_is_needed() {
    let path = std::env::temp_dir().join(format!("cutline-large-{}.json", std::process::id()));
    let file = fs::File::create(&path).expect("writable");
    file.set_len(3 * SIZE_MAX as u64).expect("a sparse file");
    let bytes = read_file(&path);
    fs::remove_file(&path).expect("removable");
    let bytes = bytes.expect("readable");
    assert_eq!(bytes.len(), SIZE_MAX + 1);
    let found = load(&bytes, "large.json", &[]).expect_err("too large");
    assert_eq!(found.list()[0].code, "too-large");
    assert!(found.render(false).contains("large.json:1:1"), "{found}");
}

/// What an error is called, where it is, and what it offers: one row a class of mistake.
#[test]
fn mistakes_are_placed() {
    let cases: &[(&str, &str, &str, &str, &str)] = &[
        ("unknown key", r#""cluster": {"#, r#""cluster": { "slot": 2, "#, "slot\"", "`slots`"),
        ("wrong type", r#""interval": "300 ms""#, r#""interval": 300"#, "300,", "a duration"),
        (
            "parallelism 0",
            r#""source", "parallelism": 2"#,
            r#""source", "parallelism": 0"#,
            "0, \"rec",
            "from 1",
        ),
        ("unknown operator", r#""from": "map""#, r#""from": "mapp""#, "\"mapp\"", "`map`"),
        ("bad duration", "300 ms", "300 mss", "\"300 mss\"", "units are"),
        ("unknown step", r#""step": "B2""#, r#""step": "B9""#, "\"B9\"", "`B1`"),
        ("unknown subtask", "count[1]", "count[2]", "\"count[2]\"", "count[0] to count[1]"),
        (
            "unknown kind",
            "crash_job_manager",
            "crash_jobmanager",
            "\"crash_jobmanager\"",
            "`crash_job_manager`",
        ),
        (
            "task manager",
            r#""crash_task_manager", "target": 2"#,
            r#""crash_task_manager", "target": 3"#,
            "3 }",
            "0 to 2",
        ),
        (
            "a link to itself",
            r#""to": "task_manager[0]", "latency""#,
            r#""to": "task_manager[1]", "latency""#,
            "\"task_manager[1]\", \"latency",
            "another process",
        ),
        (
            "a link to nobody",
            r#""to": "task_manager[0]", "latency""#,
            r#""to": "task_manager[3]", "latency""#,
            "\"task_manager[3]",
            "0 to 2",
        ),
        (
            "a link twice",
            r#"[{ "from": "task_manager[1]", "#,
            r#"[{ "from": "task_manager[0]", "to": "task_manager[1]" },
                { "from": "task_manager[1]", "#,
            "\"task_manager[1]\", \"to\": \"task_manager[0]",
            "each pair once",
        ),
        (
            "bad distribution",
            r#""network": {"#,
            r#""network": { "latency": {"uniform": ["2 s"]},"#,
            "{\"uniform",
            "exponential",
        ),
    ];
    for (case, from, to, at, offers) in cases {
        assert!(base().contains(from), "{case}");
        let text = base().replacen(from, to, 1);
        let found = load(text.as_bytes(), "base.json", &[]).expect_err(case);
        assert_eq!(found.errors(), 1, "{case}: {found}");
        let error = &found.list()[0];
        let shown = &text[error.span.start..];
        assert!(shown.starts_with(at) || shown[1..].starts_with(at), "{case}: {found}");
        assert!(found.to_string().contains(offers), "{case}: {found}");
    }
}

#[test]
fn every_field_is_read() {
    assert!(PROBES.len() > 100, "{}", PROBES.len());
    for probe in PROBES.iter() {
        let [a, b] = [0, 1].map(|which| {
            let loaded = load(base().as_bytes(), "base", &probe.overrides(which));
            loaded.unwrap_or_else(|found| panic!("{}: {found}", probe.path)).scenario
        });
        assert_ne!(a, b, "{} is parsed and ignored", probe.path);
        for scenario in [a, b] {
            let again = load(to_json(&scenario).as_bytes(), "written", &[]);
            let again = again.unwrap_or_else(|found| panic!("{}: {found}", probe.path));
            assert_eq!(again.scenario, scenario, "{}", probe.path);
        }
    }
}

#[test]
fn overrides_win_and_are_validated() {
    let with = |overrides: &[&str]| load_with(base(), overrides);
    let set = with(&["job.operators[count].parallelism=4", "network.latency=7 ms"]).expect("valid");
    assert_eq!(set.job.operators[4].parallelism, 4);
    assert!(format!("{:?}", set.network.latency).contains("7000000"));
    // The file says `interval`; the override wins under any name.
    for name in ["checkpointing.interval", "flink.execution.checkpointing.interval"] {
        let set = with(&[&format!("{name}=2 s")]).expect("valid");
        let interval = set.checkpointing.interval.expect("set");
        assert_eq!(interval.as_millis(), 2_000, "{name}");
    }
    let every = with(&["job.operators[0].every=4 ms", "job.operators[0].rate=10/s"]);
    assert_eq!(every, with(&["job.operators[0].every=100 ms"]));
    let cases = [
        ("interval=2 s", "belongs to checkpointing.interval"),
        ("network.latncy=2 s", "did you mean `latency`"),
        ("job.operators[cont].cost=2 s", "did you mean `count`"),
        ("faults[99].at=2 s", "no element `99`"),
        ("title.x=2 s", "looked for in a string"),
        ("limits.until=soon", "a duration such as"),
        ("checkpointing.interval=1 ms", "at least 10 ms"),
    ];
    for (text, expected) in cases {
        let found = with(&[text]).expect_err(text);
        assert!(found.contains(expected), "{text}: {found}");
        assert!(found.contains("--set:1:"), "{text}: {found}");
    }
}

#[test]
fn hostile_files_are_refused_in_a_word() {
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("deep", "[".repeat(10_000).into_bytes(), "too-deep"),
        (
            "deep in a file",
            base()
                .replacen(
                    "\"slots\": 2",
                    &format!("\"slots\": {}1{}", "[".repeat(10_000), "]".repeat(10_000)),
                    1,
                )
                .into_bytes(),
            "too-deep",
        ),
        ("too large", vec![b' '; SIZE_MAX + 1], "too-large"),
        ("not utf-8", b"{\"title\": \"\xff\"}".to_vec(), "not-utf8"),
        ("truncated", base().as_bytes()[..base().len() / 2].to_vec(), "truncated"),
        ("no object", b"[]".to_vec(), "wrong-type"),
        ("zero bytes", vec![0; 100], "syntax"),
        (
            "long line",
            format!("{{\"format\": \"{}\"}}", "x".repeat(1 << 20)).into_bytes(),
            "other-version",
        ),
        (
            "huge number",
            base()
                .replacen("\"target\": 2", &format!("\"target\": {}", "9".repeat(100_000)), 1)
                .into_bytes(),
            "out-of-range",
        ),
        (
            "many errors",
            format!(
                "{{{}}}",
                (0..20_000).map(|i| format!("\"k{i}\": {i}")).collect::<Vec<_>>().join(",\n")
            )
            .into_bytes(),
            "unknown-key",
        ),
    ];
    for (case, text, code) in cases {
        let found = load(&text, "hostile.json", &[]).expect_err(case);
        assert!(found.list().iter().any(|one| one.code == code), "{case}: {:?}", found.list()[0]);
        assert!(found.render(false).len() < 200_000, "{case}: a long answer");
    }
}

#[test]
fn the_schema_names_every_key() {
    let schema = schema();
    let text = schema.to_string();
    for probe in PROBES.iter() {
        let key = match probe.path.strip_prefix("flink.") {
            Some(key) => key,
            None => probe.path.rsplit('.').next().expect("a path has a part"),
        };
        assert!(text.contains(&format!("\"{key}\":")), "{key}");
    }
    assert_eq!(schema["properties"]["format"]["const"], "cutline-scenario/1");
    assert_eq!(schema["additionalProperties"], false);
}

/// Edits such as people and broken editors make: bytes, tokens, lines, halves.
fn mutate(text: &str, edits: &[(u8, usize, usize)]) -> Vec<u8> {
    const TOKENS: [&str; 16] = [
        "null",
        "-1",
        "1e999",
        "\"\"",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"\\ud800\"",
        "\u{e9}",
        "0",
        "18446744073709551616",
        "\"9 ms\"",
        "\"count[0]\"",
    ];
    let mut bytes = text.as_bytes().to_vec();
    for &(kind, at, with) in edits {
        let at = at % bytes.len().max(1);
        let to = (at + with % 40).min(bytes.len());
        let token = TOKENS[with % TOKENS.len()].bytes();
        match kind % 6 {
            0 => drop(bytes.splice(at..to, [])),
            1 => drop(bytes.splice(at..at, token)),
            2 => drop(bytes.splice(at..to, token)),
            3 => bytes.truncate(to),
            4 => {
                let copy = bytes[at..to].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => bytes[at..to].fill(with as u8),
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

/// Replaces whole values by others, so that the file stays JSON and the later checks are reached.
fn replace_values(text: &str, edits: &[(usize, usize)]) -> String {
    let mut text = text.to_owned();
    for &(which, with) in edits {
        let values: Vec<(usize, usize)> = text
            .match_indices(": ")
            .filter_map(|(at, _)| {
                let start = at + 2;
                let end = start + text[start..].find([',', '}', ']', '\n'])?;
                (!text[start..].starts_with(['{', '['])).then_some((start, end))
            })
            .collect();
        let (start, end) = values[which % values.len()];
        let (from, to) = values[with % values.len()];
        let other = text[from..to].trim_end().to_owned();
        text.replace_range(start..end, &other);
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn mutated_files_never_panic(
        edits in prop::collection::vec((any::<u8>(), any::<usize>(), any::<usize>()), 1..6)
    ) {
        let bytes = mutate(base(), &edits);
        match load(&bytes, "mutated.json", &[]) {
            Ok(loaded) => {
                let again = load(to_json(&loaded.scenario).as_bytes(), "written", &[]);
                prop_assert_eq!(again.map(|l| l.scenario).ok(), Some(loaded.scenario));
            }
            Err(found) => prop_assert!(!found.render(false).is_empty()),
        }
    }

    #[test]
    fn shuffled_values_never_panic_and_come_back(
        edits in prop::collection::vec((any::<usize>(), any::<usize>()), 1..4)
    ) {
        let text = replace_values(base(), &edits);
        match load(text.as_bytes(), "shuffled.json", &[]) {
            Ok(loaded) => {
                let again = load(to_json(&loaded.scenario).as_bytes(), "written", &[]);
                prop_assert_eq!(again.map(|l| l.scenario).ok(), Some(loaded.scenario));
            }
            Err(found) => prop_assert!(found.errors() > 0),
        }
    }

    #[test]
    fn several_probes_together_come_back(picks in prop::collection::vec((any::<usize>(), 0..2_usize), 1..6)) {
        let overrides: Vec<Override> =
            picks.iter().flat_map(|(probe, which)| PROBES[probe % PROBES.len()].overrides(*which)).collect();
        // Some of them contradict each other; then the answer is an error.
        if let Ok(loaded) = load(base().as_bytes(), "base", &overrides) {
            let again = load(to_json(&loaded.scenario).as_bytes(), "written", &[]);
            prop_assert_eq!(again.map(|l| l.scenario).ok(), Some(loaded.scenario));
        }
    }

    #[test]
    fn no_override_panics(text in "[a-z\\[\\].]{0,12}(=\\PC{0,8})?", path in any::<usize>(), value in "\\PC{0,12}") {
        let real = format!("{}={value}", PROBES[path % PROBES.len()].path);
        for text in [text, real] {
            if let Ok(of) = Override::parse(&text) {
                let _ = load(base().as_bytes(), "base", &[of]).map_err(|found| found.render(false));
            }
        }
    }
}

/// The scenario of the keys of Flink's, with others.
fn with_flink(
    flink: &str,
    more: &[&str],
) -> Result<Loaded, Box<cutline_sim::scenario::Diagnostics>> {
    let text = fs::read("../scenarios/quickstart.json").expect("readable");
    let flink = format!("flink={flink}");
    let settings = [flink.as_str()].into_iter().chain(more.iter().copied());
    let overrides: Vec<Override> =
        settings.map(|text| Override::parse(text).expect("a setting")).collect();
    load(&text, "quickstart.json", &overrides)
}

#[test]
fn a_flink_section_brings_flinks_defaults() {
    let plain = with_flink("{}", &[]).unwrap_or_else(|found| panic!("{found}")).scenario;
    let text = fs::read("../scenarios/quickstart.json").expect("readable");
    let without = load(&text, "quickstart.json", &[]).expect("it loads").scenario;
    assert_eq!(without.checkpointing.inline_threshold, None);
    assert_eq!(plain.checkpointing.inline_threshold, Some(20 << 10));
    let one = r#"{"execution.checkpointing.data-inline-threshold": "0"}"#;
    let one = with_flink(one, &[]).expect("it loads").scenario;
    assert_eq!(one.checkpointing.inline_threshold, Some(0));
}

#[test]
fn what_flink_ignores_has_no_effect_in_a_scenario() {
    let on = r#"{"execution.checkpointing.incremental": true}"#;
    assert!(with_flink(on, &[]).expect("it loads").scenario.checkpointing.incremental);
    let hashmap =
        r#"{"execution.checkpointing.incremental": true, "state.backend.type": "hashmap"}"#;
    let loaded = with_flink(hashmap, &[]).expect("it loads");
    assert!(!loaded.scenario.checkpointing.incremental);
    assert!(loaded.warnings.list().iter().any(|one| one.code == "changed-by-flink"));
    let copies = r#"{"execution.state-recovery.from-local": true,
        "execution.checkpointing.local-backup.enabled": false}"#;
    let loaded = with_flink(copies, &[]).expect("it loads");
    assert!(!loaded.scenario.checkpointing.local_recovery);
    let memory = r#"{"execution.checkpointing.storage": "jobmanager"}"#;
    let loaded = with_flink(memory, &[]).expect("it loads");
    assert_eq!(loaded.scenario.checkpointing.dir, Some(cutline::config::Scheme::Memory));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
}

#[test]
fn the_interval_during_backlog_may_be_said_by_flinks_key() {
    use cutline::time::VirtualDuration;
    use cutline::trigger::adaptive::IntervalPolicy;
    let key = r#"{"execution.checkpointing.interval-during-backlog": "1 min"}"#;
    let policy = |more: &str| {
        format!(r#"checkpointing.policy={{"kind": "backlog", "backlog_until": "3 s"{more}}}"#)
    };
    let codes = |found: &cutline_sim::scenario::Diagnostics| {
        found.list().iter().map(|one| one.code).collect::<Vec<_>>()
    };
    let loaded = with_flink(key, &[&policy("")]).unwrap_or_else(|found| panic!("{found}"));
    let until = VirtualTime::ZERO + VirtualDuration::from_secs(3);
    let interval = VirtualDuration::from_secs(60);
    let expected = Some(IntervalPolicy::DuringBacklog { interval, until });
    assert_eq!(loaded.scenario.checkpointing.policy, expected);
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let alone = with_flink(key, &[]).expect("it loads");
    assert_eq!(codes(&alone.warnings), ["not-modelled"]);
    let other = policy(r#", "during_backlog": "2 min""#);
    assert_eq!(codes(&with_flink(key, &[&other]).expect_err("two values")), ["contradiction"]);
    assert_eq!(codes(&with_flink("{}", &[&policy("")]).expect_err("none")), ["missing-key"]);
}
