//! `cutline check --flink-conf`: what is said of a cluster's configuration.

use std::fs;

use crate::support::{Said, cutline, directory, read, root};
use cutline_sim::scenario::check_flink_conf;
use proptest::prelude::*;

fn check(file: &str, more: &str) -> Said {
    cutline(&root(), &format!("check --flink-conf sim/tests/data/flink-conf/{file} {more}"))
}

/// What is wrong with a text: code, line and column of each diagnostic.
fn found(text: &str) -> Vec<(&'static str, usize, usize)> {
    let found = check_flink_conf(text.as_bytes(), "config.yaml").diagnostics;
    let place = |one: &cutline_sim::scenario::Diagnostic| found.position(one.span);
    found.list().iter().map(|one| (one.code, place(one).0, place(one).1)).collect()
}

#[test]
fn a_good_file_is_good_nested_and_flat() {
    let said = check("good.yaml", "").expect(0);
    assert_eq!(
        said.out,
        "sim/tests/data/flink-conf/good.yaml: ok, 9 keys about checkpoints and recovery, \
         5 keys about other things\n"
    );
    assert_eq!(said.err, "");
}

#[test]
fn everything_wrong_is_said_at_once_with_its_place() {
    let said = check("bad.yaml", "--format json").expect(3);
    let file = &said.json()["files"][0];
    assert_eq!(file["ok"], false);
    assert_eq!(file["others"], 1, "{file:#}");
    let list = file["diagnostics"].as_array().expect("a list");
    let has = |code: &str, line: u64, part: &str| {
        let one = list.iter().find(|one| one["code"] == code && one["line"] == line);
        let one = one.unwrap_or_else(|| panic!("{code} in line {line}: {list:#?}"));
        assert!(one.to_string().contains(part), "{part} in {one}");
    };
    has("unknown-key", 3, "did you mean `execution.checkpointing.interval`?");
    has("unknown-word", 4, "EXACTLY_ONCE");
    has("deprecated-key", 5, "execution.checkpointing.unaligned.enabled");
    has("not-modelled", 9, "execution.checkpointing.savepoint-dir");
    has("bad-duration", 10, "parsecs");
    has("unknown-key", 11, "did you mean `execution.checkpointing.min-pause`?");
    has("changed-by-flink", 8, "1 is used");
    has("contradiction", 5, "concurrent");
    has("changed-by-flink", 13, "the restart strategy is fixed_delay");
    has("contradiction", 16, "shorter than the heartbeat interval");
    has("refused-by-flink", 7, "at least 0");
    let human = check("bad.yaml", "").expect(3);
    assert_eq!(human.out, "");
    human.complains("sim/tests/data/flink-conf/bad.yaml:3:5").complains("did you mean");
}

#[test]
fn the_file_of_flink_1_is_read_as_flink_1_did() {
    let said = check("flink-conf.yaml", "").expect(0);
    said.complains("does not read it since version 2").complains("state.checkpoints.num-retained");
    said.has("ok, 4 warnings, 3 keys about checkpoints and recovery, 1 key about other things");
}

#[test]
fn hostile_files() {
    let deep = |open: &str, levels: usize| open.repeat(levels);
    for (what, text, code) in [
        ("a tab", "execution:\n\tcheckpointing: 1".to_owned(), "syntax"),
        ("an open quote", "heartbeat.interval: \"1 s".to_owned(), "syntax"),
        ("a list", "- 1\n- 2\n".to_owned(), "wrong-type"),
        ("a text", "interval".to_owned(), "wrong-type"),
        ("two documents", "heartbeat.interval: 1 s\n---\na: b\n".to_owned(), "syntax"),
        (
            "a key twice",
            "heartbeat:\n  interval: 1 s\n  interval: 2 s\n".to_owned(),
            "repeated-key",
        ),
        (
            "nested and flat",
            "heartbeat:\n  interval: 1 s\nheartbeat.interval: 2 s\n".to_owned(),
            "repeated-key",
        ),
        ("no value", "heartbeat.interval:\n".to_owned(), "no-value"),
        ("a merge", "a: &a {b: c}\nd:\n  <<: *a\n".to_owned(), "merge-key"),
        ("a number as key", "a:\n  1: x\n".to_owned(), "wrong-type"),
        ("nothing as key", "~: x\n".to_owned(), "wrong-type"),
        ("a tag", "a: !mine b\n".to_owned(), "wrong-type"),
        ("an alias of itself", "a: &a\n  b: *a\n".to_owned(), "wrong-type"),
        ("an alias of nothing", "a: *a\n".to_owned(), "syntax"),
        (
            "many aliases",
            (0..60)
                .map(|key| format!("x{key}: *a\n"))
                .fold("a: &a {b: c}\n".to_owned(), |all, one| all + &one),
            "too-large",
        ),
        ("aliases of aliases", bomb(), "too-large"),
        ("a list of intervals", "heartbeat.interval: [1 s]\n".to_owned(), "wrong-type"),
        ("a mapping as key", "{a: b}: c\n".to_owned(), "wrong-type"),
        ("mappings", deep("{a: ", 1_000), ""),
        (
            "mappings in lines",
            (0..100).map(|level| " ".repeat(level) + "a:\n").collect(),
            "too-large",
        ),
        ("lists", format!("a: {}", deep("[", 1_000)), ""),
        ("many keys", (0..30_000).map(|key| format!("a{key}: 1\n")).collect(), "too-large"),
    ] {
        let codes = found(&text);
        // However deep the parser goes by itself, it is an error and not a crash.
        let refused = codes.iter().any(|(of, _, _)| code.is_empty() || *of == code);
        assert!(refused, "{what}: {codes:?}");
    }
    let dir = |scheme: &str| found(&format!("execution.checkpointing.dir: {scheme}://bucket/x\n"));
    assert_eq!(dir("hdsf"), [("unknown-word", 1, 30)]);
    assert!(dir("gs").contains(&("not-modelled", 1, 30)), "{:?}", dir("gs"));
    let not_utf8 = check_flink_conf(b"a: \xff\n", "config.yaml").diagnostics;
    assert_eq!(not_utf8.list()[0].code, "not-utf8");
    assert_eq!(found(""), []);
    assert_eq!(found("# nothing\n"), []);
    assert_eq!(found("a: &x 1 s\nheartbeat.interval: *x\n"), []);
    // Columns are counted in characters, whatever comes before.
    assert_eq!(found("é: \"é\"\nheartbeat: {intervall: 1 s}\n"), [("unknown-key", 2, 13)]);
}

/// Each mapping holds the one before it twice.
fn bomb() -> String {
    let line =
        |level: usize| format!("a{}: &a{} {{x: *a{level}, y: *a{level}}}\n", level + 1, level + 1);
    (0..24).map(line).fold("a0: &a0 {b: c}\n".to_owned(), |all, one| all + &one)
}

#[test]
fn an_alias_stands_for_all_that_it_names() {
    let text = "a: &a {interval: 5 s, timeout: 30 s}\nheartbeat: *a\n";
    assert_eq!(found(text), []);
    assert_eq!(check_flink_conf(text.as_bytes(), "config.yaml").options, 2);
    let text = "a: &a {interval: 5 s, timeout: 3 s}\nheartbeat: *a\n";
    assert_eq!(found(text), [("contradiction", 1, 32)]);
}

/// What is said of a file of a cluster: code and message of each diagnostic.
fn said(text: &str) -> Vec<(&'static str, String)> {
    let found = check_flink_conf(text.as_bytes(), "config.yaml").diagnostics;
    found
        .list()
        .iter()
        .map(|one| (one.code, format!("{} {}", one.message, one.help.as_deref().unwrap_or(""))))
        .collect()
}

#[test]
fn the_file_of_the_distribution_is_good() {
    let said = check("distribution.yaml", "").expect(0);
    assert_eq!(said.err, "");
    said.has("ok, 2 keys about checkpoints and recovery, 11 keys about other things");
}

#[test]
fn a_cluster_in_production_is_told_what_is_not_modelled_and_nothing_else() {
    let of = |file: &str| {
        let answer = check(file, "--format json").expect(0).json();
        let list = answer["files"][0]["diagnostics"].as_array().expect("a list").clone();
        list.into_iter()
            .map(|one| (one["code"].to_string(), one["message"].to_string()))
            .collect::<Vec<_>>()
    };
    let (nested, flat) = (of("production.yaml"), of("production-flat.yaml"));
    assert_eq!(nested, flat);
    assert_eq!(nested.len(), 6, "{nested:#?}");
    assert!(nested.iter().all(|(code, _)| code.contains("not-modelled")), "{nested:#?}");
}

#[test]
fn misspelt_keys_are_found_in_every_family() {
    for (key, meant) in [
        ("state.backend.tpye", "state.backend.type"),
        ("high-availability.tpye", "high-availability.type"),
        ("execution.checkpointing.file-merging.enbled", "file-merging.enabled"),
        ("taskmanager.networks.memory.buffer-debloat.enabled", "taskmanager.network.memory."),
        ("pipeline.max-paralelism", "pipeline.max-parallelism"),
        ("state.changelog.storge", "state.changelog.storage"),
        ("state.backend.rocksdb.memory.manged", "state.backend.rocksdb.memory.managed"),
        ("rest.flamegraph.enbled", "rest.flamegraph.enabled"),
        ("io.tmp.dir", "io.tmp.dirs"),
        ("fs.default-schema", "fs.default-scheme"),
        ("jobmanager.memory.proces.size", "jobmanager.memory.process.size"),
        ("restart-stategy.type", "restart-strategy.type"),
        ("state.checkpoints.num-retaned", "which is `execution.checkpointing.num-retained` now"),
    ] {
        let said = said(&format!("{key}: 1\n"));
        let found =
            said.iter().filter(|(code, text)| *code == "unknown-key" && text.contains(meant));
        assert_eq!(found.count(), 1, "{key}: {said:?}");
    }
    let unheard_of = said("state.backend.rocksdb.ttl.compaction.filter.enabled: true\n");
    assert_eq!(unheard_of.len(), 1);
    assert!(unheard_of[0].1.ends_with("filter.enabled` "), "no guess: {unheard_of:?}");
    let said =
        said("kubernetes.jobmanager.labels.team: a\nmetrics.reporter.x.prot: 1\ns3.endpiont: b\n");
    assert_eq!(said, [], "what anybody may have");
}

#[test]
fn values_that_flink_refuses_are_refused() {
    for (key, bad, code, good) in [
        ("state.backend.type", "rockdb", "unknown-word", "org.example.Factory"),
        ("state.backend.type", "filesystem", "unknown-word", "forst"),
        ("execution.state-recovery.claim-mode", "CLAMI", "unknown-word", "claim"),
        ("high-availability.type", "zookeper", "unknown-word", "NONE"),
        ("execution.checkpointing.storage", "filesytem", "unknown-word", "jobmanager"),
        ("execution.runtime-mode", "STREAM", "unknown-word", "streaming"),
        ("jobmanager.scheduler", "adaptive-batch", "unknown-word", "AdaptiveBatch"),
        ("execution.checkpointing.file-merging.enabled", "yes", "bad-value", "TRUE"),
        ("state.backend.rocksdb.thread.num", "many", "bad-value", "4"),
        ("state.backend.rocksdb.writebuffer.size", "64 mib", "bad-value", "64 mb"),
        ("rest.idleness-timeout", "5 minuets", "bad-duration", "5 min"),
        ("taskmanager.memory.managed.fraction", "half", "bad-value", "0.5"),
        ("execution.checkpointing.dir", "/mnt/flink", "refused-by-flink", "file:///mnt/flink"),
        ("execution.checkpointing.dir", "s3://bucket", "refused-by-flink", "s3://bucket/a"),
        ("execution.checkpointing.savepoint-dir", "/mnt", "refused-by-flink", "file:/mnt/a"),
    ] {
        let errors = |value: &str| {
            let found = check_flink_conf(format!("{key}: {value}\n").as_bytes(), "config.yaml");
            let list = found.diagnostics.list().to_vec();
            list.into_iter()
                .filter(|one| one.severity == cutline_sim::scenario::Severity::Error)
                .map(|one| one.code)
                .collect::<Vec<_>>()
        };
        assert_eq!(errors(bad), [code], "{key}: {bad}");
        assert_eq!(errors(good), Vec::<&str>::new(), "{key}: {good}");
    }
}

#[test]
fn deprecated_and_removed_keys_are_named_with_what_there_is_now() {
    for (key, value, code, now) in [
        ("state.backend", "rocksdb", "deprecated-key", "state.backend.type"),
        ("state.savepoints.dir", "s3://a/b", "deprecated-key", "checkpointing.savepoint-dir"),
        ("state.checkpoint-storage", "jobmanager", "deprecated-key", "checkpointing.storage"),
        ("execution.savepoint.path", "s3://a/b", "deprecated-key", "state-recovery.path"),
        ("execution.savepoint-restore-mode", "CLAIM", "deprecated-key", "claim-mode"),
        ("execution.savepoint.ignore-unclaimed-state", "true", "deprecated-key", "state-recovery."),
        ("high-availability", "NONE", "deprecated-key", "high-availability.type"),
        ("state.backend.local-recovery", "true", "deprecated-key", "state-recovery.from-local"),
        ("web.port", "8081", "deprecated-key", "rest."),
        ("state.backend.async", "true", "removed-key", "asynchronous"),
        ("jobmanager.heap.size", "1g", "removed-key", "jobmanager.memory.process.size"),
        ("taskmanager.network.numberOfBuffers", "9", "removed-key", "taskmanager.memory.network"),
        (
            "taskmanager.network.memory.buffers-per-channel",
            "2",
            "removed-key",
            "buffers_per_channel",
        ),
        ("cluster.evenly-spread-out-slots", "true", "removed-key", "load-balance.mode"),
    ] {
        let found = check_flink_conf(format!("{key}: {value}\n").as_bytes(), "config.yaml");
        assert_eq!(found.diagnostics.errors(), 0, "{key}: {}", found.diagnostics);
        let one = found.diagnostics.list().iter().find(|one| one.code == code);
        let one = one.unwrap_or_else(|| panic!("{key}: {}", found.diagnostics));
        assert!(format!("{} {:?}", one.expected, one.help).contains(now), "{key}: {one:?}");
    }
}

/// Code, the key at which it is, what is said, and the class of Flink's that does it.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str);

#[test]
fn what_does_not_go_together_is_said() {
    const C: &str = "execution.checkpointing.";
    let rows: &[Row] = &[
        (
            "incremental: true\nstate.backend.type: hashmap",
            "changed-by-flink",
            "incremental",
            "no increments",
            "HashMapStateBackend",
        ),
        (
            "incremental: true",
            "changed-by-flink",
            "incremental",
            "Flink's default",
            "HashMapStateBackend",
        ),
        (
            "storage: jobmanager\nC.dir: s3://a/b",
            "changed-by-flink",
            "storage",
            "metadata",
            "CheckpointStorageLoader",
        ),
        (
            "storage: filesystem",
            "refused-by-flink",
            "storage",
            "needs a directory",
            "FileSystemCheckpointStorage",
        ),
        (
            "interval: 1 min",
            "changed-by-flink",
            "interval",
            "memory of the job manager",
            "CheckpointStorageLoader",
        ),
        (
            "interval: 1 min\nC.dir: s3://a/b\nC.interval-during-backlog: 30 s",
            "refused-by-flink",
            "backlog",
            "shorter",
            "CheckpointConfig",
        ),
        (
            "interval-during-backlog: 30 s",
            "refused-by-flink",
            "backlog",
            "needs an interval",
            "CheckpointConfig",
        ),
        (
            "interval-during-backlog: 5 ms",
            "refused-by-flink",
            "backlog",
            "at least 10 ms",
            "CheckpointConfig",
        ),
        (
            "interval-during-backlog: 0\npipeline.sources.pause-until-first-checkpoint: true",
            "refused-by-flink",
            "pause",
            "pause for ever",
            "StreamingJobGraphGenerator",
        ),
        (
            "interval: 1 min\nC.dir: s3://a/b\nexecution.runtime-mode: batch",
            "changed-by-flink",
            "runtime-mode",
            "no checkpoints",
            "StreamGraphGenerator",
        ),
        (
            "interval: 1 min\nC.dir: s3://a/b\nC.unaligned.enabled: true\nC.aligned-checkpoint-timeout: 10 min",
            "changed-by-flink",
            "aligned",
            "never times out",
            "CheckpointCoordinator",
        ),
        (
            "interval: 1 min\nC.dir: s3://a/b\nC.min-pause: 2 min",
            "changed-by-flink",
            "interval",
            "2 min is used",
            "CheckpointCoordinator",
        ),
        (
            "local-backup.enabled: false\nexecution.state-recovery.from-local: true",
            "changed-by-flink",
            "local-backup",
            "no copies",
            "TaskLocalStateStore",
        ),
        (
            "local-backup.enabled: true",
            "changed-by-flink",
            "local-backup",
            "nobody reads",
            "TaskLocalStateStore",
        ),
        (
            "unaligned.interruptible-timers.enabled: true",
            "changed-by-flink",
            "timers",
            "no effect",
            "CheckpointingOptions",
        ),
        (
            "during-recovery.enabled: true",
            "changed-by-flink",
            "during-recovery",
            "no effect",
            "CheckpointingOptions",
        ),
        (
            "num-retained: 0",
            "changed-by-flink",
            "num-retained",
            "1 is used",
            "DefaultCompletedCheckpointStoreUtils",
        ),
        (
            "timeout: 1 min\nexecution.state-recovery.approximate-local-recovery: true",
            "refused-by-flink",
            "approximate",
            "restart regions",
            "DefaultSchedulerComponents",
        ),
        (
            "timeout: 1 min\nexecution.state-recovery.claim-mode: LEGACY",
            "changed-by-flink",
            "claim-mode",
            "deprecated",
            "RecoveryClaimMode",
        ),
        (
            "timeout: 1 min\nhigh-availability.type: zookeeper\nhigh-availability.zookeeper.quorum: a:2181",
            "refused-by-flink",
            "availability.type",
            "directory",
            "HighAvailabilityServicesUtils",
        ),
        (
            "timeout: 1 min\nhigh-availability.type: zookeeper\nhigh-availability.storageDir: s3://a/b",
            "refused-by-flink",
            "availability.type",
            "addresses",
            "HighAvailabilityServicesUtils",
        ),
        (
            "timeout: 1 min\nhigh-availability.storageDir: s3://a/b",
            "changed-by-flink",
            "storageDir",
            "NONE",
            "HighAvailabilityMode",
        ),
        (
            "timeout: 1 min\nstate.changelog.enabled: true",
            "changed-by-flink",
            "changelog.enabled",
            "in memory",
            "StateChangelogStorageLoader",
        ),
        (
            "timeout: 1 min\nstate.changelog.enabled: true\nstate.changelog.storage: filesystem",
            "refused-by-flink",
            "changelog.storage",
            "needs a directory",
            "FsStateChangelogStorage",
        ),
        (
            "timeout: 1 min\nstate.changelog.max-failures-allowed: 7",
            "changed-by-flink",
            "max-failures",
            "no effect",
            "StateBackendLoader",
        ),
        (
            "timeout: 1 min\ntaskmanager.network.memory.buffer-debloat.target: 3 s",
            "changed-by-flink",
            "debloat.target",
            "no effect",
            "StreamTask",
        ),
    ];
    for (text, code, key, message, class) in rows {
        let text = format!("{C}{}\n", text.replace("C.", C));
        let found = check_flink_conf(text.as_bytes(), "config.yaml").diagnostics;
        let of = |one: &&cutline_sim::scenario::Diagnostic| {
            one.code == *code && one.message.contains(message) && one.message.contains(key)
        };
        let all: Vec<_> = found.list().iter().filter(of).collect();
        assert_eq!(all.len(), 1, "{text}{found}");
        assert!(all[0].flink.as_deref().unwrap_or("").contains(class), "{text}{found}");
        // What has been said of a key is not said once more.
        let again = found.list().iter().filter(|one| one.code == "not-modelled");
        let again = again.filter(|one| one.message.contains(key)).count();
        assert_eq!(again, 0, "{text}{found}");
    }
}

#[test]
fn what_goes_together_is_left_alone() {
    let text = "execution.checkpointing: {interval: 1 min, dir: 's3://a/b', storage: filesystem, incremental: true, \
                interval-during-backlog: 5 min, file-merging.enabled: false}\n\
                state.backend.type: rocksdb\nhigh-availability.type: NONE\n\
                execution.state-recovery.from-local: true\n\
                execution.checkpointing.local-backup.enabled: true\n";
    assert_eq!(
        said(text).iter().map(|(code, _)| *code).collect::<Vec<_>>(),
        ["not-modelled", "not-modelled"],
        "the backlog and the backend: {:?}",
        said(text)
    );
}

#[test]
fn what_somebody_elses_keys_are_is_not_our_business() {
    let text = "python.client.executable: python3\nmy.interval: 5\ns3.access-key: a\n";
    let checked = check_flink_conf(text.as_bytes(), "config.yaml");
    assert_eq!((checked.options, checked.others), (0, 3));
    assert!(checked.diagnostics.is_empty(), "{}", checked.diagnostics);
}

#[test]
fn exit_codes() {
    let here = directory("check-flink-conf");
    cutline(&here, "check").expect(2).complains("--flink-conf");
    cutline(&here, "check --flink-conf nowhere.yaml")
        .expect(3)
        .complains("cannot read nowhere.yaml");
    cutline(&here, "check --flink-conf x.yaml --set limits.until=1s").expect(2).complains("--set");
    fs::write(here.join("config.yaml"), "heartbeat.interval: 5 s\n").expect("writable");
    let said =
        cutline(&here, "check --flink-conf config.yaml nowhere.json --format json").expect(3);
    let files = said.json()["files"].clone();
    assert_eq!(files[0]["ok"], false);
    assert!(files[0]["error"].as_str().expect("a text").contains("nowhere.json"));
    assert_eq!(files[1]["ok"], true);
    assert_eq!(read(&here, "config.yaml"), "heartbeat.interval: 5 s\n");
}

/// Text that is nearly YAML.
fn scraps() -> impl Strategy<Value = String> {
    let words = [
        "execution",
        "checkpointing",
        "interval",
        ": ",
        ":",
        "\n",
        "  ",
        "\t",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "\"",
        "'",
        "#",
        "&a ",
        "*a",
        "|",
        ">",
        "?",
        "!",
        "%",
        "---",
        "...",
        "é",
        "𝄞",
        "1 s",
        "true",
        "~",
        "<<",
        "\u{0}",
        "\u{feff}",
        "\r",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..40)
        .prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in scraps(), name in prop::sample::select(vec!["config.yaml", "flink-conf.yaml"])) {
        let found = check_flink_conf(text.as_bytes(), name).diagnostics;
        prop_assert!(found.render(false).len() < 400_000);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check_flink_conf(&bytes, "config.yaml");
    }
}
