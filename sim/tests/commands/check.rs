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
        "sim/tests/data/flink-conf/good.yaml: ok, 8 keys about checkpoints and recovery, \
         5 keys about other things not looked at\n"
    );
    assert_eq!(said.err, "");
}

#[test]
fn everything_wrong_is_said_at_once_with_its_place() {
    let said = check("bad.yaml", "--format json").expect(3);
    let file = &said.json()["files"][0];
    assert_eq!(file["ok"], false);
    assert_eq!(file["others"], 1);
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
    said.has("ok, 3 warnings, 3 keys about checkpoints and recovery, 1 key about other things");
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
            "contradiction",
        ),
        ("no value", "heartbeat.interval:\n".to_owned(), "no-value"),
        ("a merge", "a: &a {b: c}\nd:\n  <<: *a\n".to_owned(), "wrong-type"),
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
