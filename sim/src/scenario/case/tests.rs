use proptest::prelude::*;

use super::super::{SIZE_MAX, load};
use super::*;

const SCENARIO: &str = r#"{
  "format": "cutline-scenario/1",
  "title": "A case",
  "why": "Tests.",
  "job": {
    "operators": [
      { "name": "source", "kind": "source", "splits": 1, "records": 10, "every": "1 ms", "keys": 3 },
      { "name": "sink", "kind": "two_phase_commit_sink" }
    ],
    "edges": [{ "from": "source", "to": "sink", "partitioner": "forward" }]
  },
  "checkpointing": { "interval": "200 ms" }
}"#;

fn case() -> Case {
    let scenario = load(SCENARIO.as_bytes(), "scenario", &[]).expect("well-formed").scenario;
    let digest = Fingerprint(0x0123_4567_89ab_cdef);
    Case {
        version: "0.1.0".to_owned(),
        scenario,
        seed: u64::MAX,
        defects: Defects::none(),
        verdict: Verdict::Liveness,
        digest,
        ladder: Ladder { events: 9, whole: digest, step: 4, rungs: vec![Fingerprint(7); 2] },
        violation: Some(CaseViolation {
            check: "liveness".to_owned(),
            class: Class::Stuck,
            rule: "the job does not finish".to_owned(),
            at: VirtualTime(1_234_567_891),
            message: "it said \"no\"\nand stayed".to_owned(),
        }),
    }
}

fn errors(text: &[u8]) -> String {
    load_case(text, "case.json", &[]).expect_err("it is no case").render(false)
}

#[test]
fn what_is_written_reads_back() {
    let passed = Case { verdict: Verdict::Ok, violation: None, seed: 0, ..case() };
    let planted = Defects::plant(Defect::ALL[0]).map(|defects| Case { defects, ..case() });
    for case in [case(), passed].into_iter().chain(planted) {
        let text = case.to_json();
        let loaded = load_case(text.as_bytes(), "case.json", &[]).expect("well-formed");
        assert_eq!(loaded.case, case);
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
        assert_eq!(loaded.case.to_json(), text);
        assert!(is_case(text.as_bytes()));
    }
    assert!(!is_case(SCENARIO.as_bytes()));
}

#[test]
fn overrides_change_the_scenario_of_a_case() {
    let longer = Override::parse("limits.until=70 s").expect("well-formed");
    let text = case().to_json();
    let loaded = load_case(text.as_bytes(), "case.json", &[longer]).expect("well-formed");
    assert_eq!(loaded.case.scenario.limits.until, VirtualTime::from_millis(70_000));
}

#[test]
fn mistakes_are_named() {
    let text = case().to_json();
    let replaced = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} is not in {text}");
        text.replacen(from, to, 1)
    };
    let rows: [(&str, String, &[&str]); 16] = [
        ("empty", String::new(), &["case.json:1:1"]),
        ("a list", "[1]".to_owned(), &["`a case` cannot be a list"]),
        ("truncated", text[..text.len() / 2].to_owned(), &["case.json:"]),
        (
            "other version",
            replaced("cutline-case/1", "cutline-case/2"),
            &["case.json:2:13", "this version of cutline does not read `cutline-case/2`"],
        ),
        (
            "a scenario",
            SCENARIO.to_owned(),
            &["`cutline-scenario/1` is not the format of a case", "\"cutline-case/1\""],
        ),
        (
            "unknown key",
            replaced("\"version\"", "\"versoin\""),
            &["a case has no `versoin`", "did you mean `version`?", "`version` is missing"],
        ),
        ("twice", replaced("\"seed\"", "\"seed\": 1, \"seed\""), &["`seed` is given twice"]),
        (
            "negative seed",
            replaced("18446744073709551615", "-1"),
            &["case.json:4:11", "`seed` cannot be -1", "an integer from 0"],
        ),
        ("text for a number", replaced("\"events\":9", "\"events\":\"9\""), &["a string"]),
        (
            "unknown verdict",
            replaced("\"liveness\"", "\"livness\""),
            &["`verdict` cannot be `livness`", "did you mean `liveness`?"],
        ),
        ("no digest", replaced("0123456789abcdef", "0123"), &["`0123` is no digest"]),
        ("ladder of another", replaced("\"whole\":\"0", "\"whole\":\"1"), &["the ladder ends at"]),
        ("unknown class", replaced("\"stuck\"", "\"stuk\""), &["did you mean `stuck`?"]),
        ("bad time", replaced("1234567891 ns", "soon"), &["a duration such as"]),
        (
            "ok with a violation",
            replaced("\"verdict\": \"liveness\"", "\"verdict\": \"ok\""),
            &["the verdict is ok, but a violation is named"],
        ),
        (
            "a mistake in the scenario, and one outside",
            replaced("\"two_phase_commit_sink\"", "\"two_phase_sink\"")
                .replace("\"rule\"", "\"ruel\""),
            &["two_phase_sink", "a violation has no `ruel`", "errors"],
        ),
    ];
    for (name, text, expected) in rows {
        let found = errors(text.as_bytes());
        for part in expected {
            assert!(found.contains(part), "{name}: {part} is not in\n{found}");
        }
    }
}

#[test]
fn what_is_too_much_is_refused() {
    let rungs = format!("[{}\"0123456789abcdef\"]", "\"0123456789abcdef\",".repeat(64));
    let text = case().to_json();
    let at = text.find("\"rungs\":").expect("there are rungs") + "\"rungs\":".len();
    let end = at + text[at..].find(']').expect("the list ends") + 1;
    let rows = [
        ("rungs", format!("{}{rungs}{}", &text[..at], &text[end..]), "65 rungs are too many"),
        ("depth", "[".repeat(10_000), "nested deeper"),
        ("bytes", " ".repeat(SIZE_MAX + 1), "too large"),
    ];
    for (name, text, expected) in rows {
        let found = errors(text.as_bytes());
        assert!(found.contains(expected), "{name}:\n{found}");
    }
}

proptest! {
    /// A case that somebody's editor, disk or mail program has been at.
    #[test]
    fn no_input_panics(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
        copied in proptest::option::of((any::<prop::sample::Index>(), 1..40_usize)),
    ) {
        let mut bytes = case().to_json().into_bytes();
        if let Some((at, length)) = copied {
            let at = at.index(bytes.len());
            let part = bytes[at..(at + length).min(bytes.len())].to_vec();
            bytes.splice(at..at, part);
        }
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(at) = cut {
            bytes.truncate(at.index(bytes.len()));
        }
        match load_case(&bytes, "case.json", &[]) {
            Ok(loaded) => {
                let text = loaded.case.to_json();
                let again = load_case(text.as_bytes(), "case.json", &[]);
                prop_assert_eq!(again.expect("well-formed").case, loaded.case);
            }
            Err(found) => prop_assert!(found.errors() > 0 && !found.render(true).is_empty()),
        }
    }
}
