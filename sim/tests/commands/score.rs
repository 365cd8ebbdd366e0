//! `cutline defects` on the command line: what is listed, what is scored, exit codes.
use crate::support::{cutline, directory};
use serde_json::Value;

const QUICKSTART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/quickstart.json");

fn array(of: &Value) -> &Vec<Value> {
    of.as_array().expect("a list")
}

#[test]
fn all_are_listed_planted_or_not() {
    let here = directory("defects");
    let said = cutline(&here, "defects").expect(0);
    said.has("D69   1      easy     Transaction is committed at the barrier\n");
    let listed = cutline(&here, "defects --format json").expect(0).json();
    assert_eq!(array(&listed).len(), 97);
    let planted: Vec<&Value> =
        array(&listed).iter().filter(|row| row["plantable"] == true).collect();
    said.has(&format!("\n{} of 97 can be planted\n", planted.len()));
    for row in array(&listed) {
        let (id, reason) = (row["id"].as_str().expect("an id"), row["not_planted"].as_str());
        assert_eq!(row["plantable"].as_bool(), Some(reason.is_none()), "{row}");
        assert!(row["title"].as_str().is_some_and(|title| said.out.contains(title)), "{row}");
        // What is listed as planted can be planted; the rest is refused.
        let run = format!("run {QUICKSTART} --until 200ms --defect {id}");
        assert_eq!(cutline(&here, &run).code == 2, reason.is_some(), "{row}");
        if let Some(reason) = reason {
            said.has(&format!("  not planted: {reason}\n"));
        }
    }
}

#[test]
fn a_score_tells_both_proofs() {
    let here = directory("score");
    let line = "defects --score --only D69,D48 --budget 2000 --format json";
    let scores = cutline(&here, line).expect(0).json();
    let ids: Vec<&Value> = array(&scores).iter().map(|row| &row["id"]).collect();
    assert_eq!(ids, ["D48", "D69"], "in the order of the catalogue");
    for row in array(&scores) {
        assert_eq!(row["directed"]["found"], true, "{row}");
        let search = &row["search"];
        assert_eq!((&search["found"], &search["without"]), (&true.into(), &0.into()), "{row}");
        assert!(array(&row["classes"]).contains(&search["class"]), "{row}");
        assert!(search["cpu_seconds"].is_number(), "{row}");
        // The campaign finds it in that very run.
        let last = search["runs"].as_u64().expect("a number") - 1;
        let (id, after) = (row["id"].as_str().expect("an id"), last + 1);
        let found = cutline(&here, &format!("campaign --seeds 0..{after} --defect {id}"));
        assert_ne!(found.code, 0, "{row}");
        let signature = search["signature"].as_str().expect("a signature");
        found.has(signature);
    }
    // The same for any number of threads, but for the time.
    let again = cutline(&here, &format!("{line} --threads 1")).expect(0).json();
    let timeless = |scores: &Value| {
        let mut scores = scores.clone();
        for row in scores.as_array_mut().expect("a list") {
            row["search"]["cpu_seconds"] = Value::Null;
        }
        scores
    };
    assert_eq!(timeless(&again), timeless(&scores));
}

#[test]
fn a_budget_ends_the_search() {
    let here = directory("score-budget");
    // One run is not enough for what needs a decade of checkpoints and a crash.
    let said = cutline(&here, "defects --score --only D18 --budget 1").expect(0);
    said.has("directed           1 of 1 (100 %)\n").has("tier 2             0 of 1 (0 %)\n");
    let said = cutline(&here, "defects --score --only D18 --budget 1ms --format json").expect(0);
    assert_eq!(said.json()[0]["search"]["found"], false);
}

#[test]
fn one_without_a_switch_is_told_with_the_reason() {
    let here = directory("score-unplanted");
    let listed = cutline(&here, "defects --format json").expect(0).json();
    let unplanted = array(&listed).iter().find(|row| row["plantable"] == false);
    let Some(id) = unplanted.and_then(|row| row["id"].as_str()) else { return };
    let said = cutline(&here, &format!("defects --score --only {id} --format json")).expect(0);
    let row = &said.json()[0];
    assert!(row["not_planted"].is_string(), "{row}");
    assert_eq!(
        (&row["directed"]["found"], &row["search"]["found"]),
        (&false.into(), &false.into())
    );
}

#[test]
fn mistakes_are_told() {
    let here = directory("score-mistakes");
    let said = cutline(&here, "defects --score --only D698").expect(2);
    said.complains("no defect is called \"D698\"; did you mean D6");
    cutline(&here, "defects --score --budget 0").expect(2).complains("at least one run");
    cutline(&here, "defects --score --budget soon").expect(2).complains("expected a time");
    cutline(&here, "defects --budget 10").expect(2).complains("--score");
    cutline(&here, "defects --threads 2").expect(2).complains("--score");
}

/// A score may be made in several goes; what is known is not searched for again, and what was made
/// otherwise is not mixed in.
#[test]
fn a_score_is_kept_and_goes_on() {
    let here = directory("score-kept");
    let file = here.join("scores.jsonl");
    let line =
        "defects --score --budget 1000 --shrink 1s --out scores.jsonl --format markdown --only";
    let said = cutline(&here, &format!("{line} D69")).expect(0);
    said.has("## Found\n").has("| D69 | 1 | easy | ").has("## Shrunk\n").has(" | yes |\n");
    let kept = std::fs::read_to_string(&file).expect("it was written");
    assert_eq!(kept.lines().count(), 1);
    // The machine stopped while it wrote.
    std::fs::write(&file, format!("{kept}{{\"id\":\"D4")).expect("it is ours");
    cutline(&here, &format!("{line} D48,D69")).expect(0).has("| D48 | 1 | easy | ");
    let both = std::fs::read_to_string(&file).expect("it was written");
    assert!(both.starts_with(&kept) && both.lines().count() == 2, "{both}");
    let other = line.replace("1000", "999");
    let refused = cutline(&here, &format!("{other} D69")).expect(3);
    refused.complains("scores.jsonl:1: made by cutline");
    cutline(&here, "defects --format markdown").expect(2);
}
