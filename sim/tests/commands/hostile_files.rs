//! No input whatsoever makes one of the two readers panic: that of scenarios and that of cases.
//! Both get the same harm done to a good file, and the same files that never were good.

use std::sync::{Arc, LazyLock};

use cutline_sim::run::Simulation;
use cutline_sim::scenario::{
    Case, Diagnostics, Override, SIZE_MAX, base, is_case, load, load_case, to_json,
};
use proptest::prelude::*;

/// A reader of files, and a good file for it.
struct Reader {
    name: &'static str,
    good: String,
    /// Answers the text that it writes of what it has read.
    read: fn(&[u8]) -> Result<String, Box<Diagnostics>>,
}

static READERS: LazyLock<[Reader; 2]> = LazyLock::new(|| {
    [
        Reader {
            name: "scenario",
            good: base().to_owned(),
            read: |text| load(text, "file.json", &[]).map(|loaded| to_json(&loaded.scenario)),
        },
        Reader {
            name: "case",
            good: case(),
            read: |text| load_case(text, "file.json", &[]).map(|loaded| loaded.case.to_json()),
        },
    ]
});

/// The case of a short run.
fn case() -> String {
    let until = Override::parse("limits.until=100 ms").expect("an override");
    let scenario = load(base().as_bytes(), "base.json", &[until]).expect("valid").scenario;
    let simulation = Simulation::new(Arc::new(scenario.clone()), 3).expect("it can run");
    let outcome = simulation.run();
    let case = Case {
        version: "0.1.0".to_owned(),
        scenario,
        seed: 3,
        defects: cutline::defect::Defects::none(),
        verdict: outcome.verdict,
        digest: outcome.digest,
        ladder: outcome.ladder,
        violation: outcome.violations.first().map(Into::into),
    };
    case.to_json()
}

/// What is read can be written and read again; what is refused is refused with a reason.
fn survives(reader: &Reader, text: &[u8]) {
    let _ = is_case(text);
    match (reader.read)(text) {
        Ok(written) => assert_eq!((reader.read)(written.as_bytes()).ok(), Some(written)),
        Err(found) => {
            assert!(found.errors() > 0, "{}", reader.name);
            assert!(found.render(false).contains("file.json:"), "{}", reader.name);
            assert!(found.render(true).len() < 400_000, "{}: a long answer", reader.name);
        }
    }
}

#[test]
fn good_files_are_read() {
    for reader in READERS.iter() {
        let read = (reader.read)(reader.good.as_bytes());
        read.unwrap_or_else(|found| panic!("{}: {found}", reader.name));
    }
    assert_eq!(READERS.each_ref().map(|of| is_case(of.good.as_bytes())), [false, true]);
}

#[test]
fn harm_is_named() {
    let deep = |open: &str, inner: &str, close: &str| {
        format!("{}{inner}{}", open.repeat(10_000), close.repeat(10_000))
    };
    for reader in READERS.iter() {
        let Reader { name, good, read } = reader;
        let inside = |value: &str| {
            let at = good.find("\"slots\": ").expect("both hold a scenario") + "\"slots\": ".len();
            let end = at + good[at..].find([',', '}', '\n']).expect("the value ends");
            format!("{}{value}{}", &good[..at], &good[end..]).into_bytes()
        };
        let format = format!("cutline-{name}/1");
        assert!(good.contains(&format), "{name}");
        let mut not_utf8 = good.clone().into_bytes();
        let at = good.find("\"title\": \"").expect("both hold a scenario") + 12;
        not_utf8[at] = 0xff;
        let rows: [(&str, Vec<u8>, &str); 14] = [
            ("empty", Vec::new(), "truncated"),
            ("lists, open", "[".repeat(10_000).into_bytes(), "too-deep"),
            ("objects, open", "{\"a\":".repeat(10_000).into_bytes(), "too-deep"),
            ("lists", deep("[", "1", "]").into_bytes(), "too-deep"),
            ("objects", deep("{\"a\":", "1", "}").into_bytes(), "too-deep"),
            ("lists inside", inside(&deep("[", "1", "]")), "too-deep"),
            ("objects inside", inside(&deep("{\"a\":", "1", "}")), "too-deep"),
            ("over the limit", format!("{good}{}", " ".repeat(SIZE_MAX)).into_bytes(), "too-large"),
            ("truncated", good.as_bytes()[..good.len() / 2].to_vec(), "truncated"),
            (
                "another version",
                good.replacen(&format, &format!("cutline-{name}/2"), 1).into_bytes(),
                "other-version",
            ),
            (
                "another format",
                good.replacen(&format, "elsewhere/1", 1).into_bytes(),
                "other-version",
            ),
            ("not UTF-8", not_utf8, "not-utf8"),
            ("UTF-16", "{}".encode_utf16().flat_map(u16::to_le_bytes).collect(), "syntax"),
            ("no object", b"[]".to_vec(), "wrong-type"),
        ];
        for (harm, text, code) in rows {
            let found = read(&text).expect_err(harm);
            let codes: Vec<&str> = found.list().iter().map(|one| one.code).collect();
            assert!(codes.contains(&code), "{name}, {harm}: {codes:?}");
            survives(reader, &text);
        }
    }
}

/// As a full disk or a torn connection leaves them.
#[test]
fn a_file_that_ends_anywhere_is_refused() {
    for reader in READERS.iter() {
        let text = reader.good.trim_end().as_bytes();
        for end in 0..text.len() {
            let found = (reader.read)(&text[..end]).expect_err(reader.name);
            assert_eq!(found.errors(), 1, "{} to byte {end}: {found}", reader.name);
        }
    }
}

/// Text that is nearly JSON, to any depth.
fn scraps() -> impl Strategy<Value = String> {
    let words = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\u",
        "\\ud800",
        "null",
        "true",
        "-",
        "1e9",
        "0.1",
        "//",
        "/*",
        "\u{feff}",
        "\u{0}",
        "\n",
        "\"format\":",
        "\"cutline-case/1\"",
        "\"cutline-scenario/1\"",
        "\"scenario\":",
        "\"job\":",
        "\"ladder\":",
        "é",
        "𝄞",
    ];
    prop::collection::vec((prop::sample::select(words.to_vec()), 1..5_usize), 0..60)
        .prop_map(|scraps| scraps.iter().map(|(word, times)| word.repeat(*times)).collect())
}

proptest! {
    #[test]
    fn any_bytes(text in prop::collection::vec(any::<u8>(), 0..300)) {
        READERS.iter().for_each(|reader| survives(reader, &text));
    }

    #[test]
    fn any_scraps(text in scraps()) {
        READERS.iter().for_each(|reader| survives(reader, text.as_bytes()));
    }

    /// A good file that was overwritten, cut and repeated in places.
    #[test]
    fn any_harm(
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), 0..40_usize, scraps()),
            1..5,
        )
    ) {
        for reader in READERS.iter() {
            let mut text = reader.good.clone().into_bytes();
            for (at, length, with) in &edits {
                let at = at.index(text.len() + 1);
                let end = (at + length).min(text.len());
                text.splice(at..end, with.bytes());
            }
            survives(reader, &text);
        }
    }
}
