//! `cutline shrink`: what it leaves, what it says, and that it is the same every time.

use std::fs;
use std::path::Path;

use crate::support::{cutline, directory, read};
use serde_json::Value;

/// A failing case of a campaign with a planted defect.
fn case(here: &Path, defect: &str) -> String {
    let line = format!("campaign --seeds 0..640 --defect {defect} --format json");
    let said = cutline(here, &line);
    assert!(matches!(said.code, 10 | 11), "{}", said.err);
    let replay = said.json()["failures"][0]["replay"].to_string();
    let path = replay.trim_matches('"').strip_prefix("cutline replay ");
    path.unwrap_or_else(|| panic!("no case: {replay}")).to_owned()
}

#[test]
fn a_small_case_is_left() {
    let here = directory("shrink");
    // A cut that is wrong without a fault, and one that needs a crash.
    for (defect, faults) in [("D48", 0), ("D78", 1)] {
        let case = case(&here, defect);
        let attempts = "--budget 10min --attempts 6000 --format json";
        let said = cutline(&here, &format!("shrink {case} {attempts}")).expect(0).json();
        let size = |place: &str| said.pointer(place).and_then(Value::as_u64).expect("a number");
        assert!(size("/after/operators") <= 3, "{said}");
        assert!(size("/after/subtasks") <= 6, "{said}");
        assert!(size("/after/events") <= 200, "{said}");
        assert_eq!(size("/after/faults"), faults, "{said}");
        assert_eq!(said["complete"], true);
        assert!(size("/after/settings") * 3 < size("/before/settings"), "{said}");

        // The same failure, of the same defect, in a file that stands alone.
        let shrunk = said["case"].as_str().expect("a path");
        assert_eq!(shrunk, case.replace("case.json", "case-shrunk.json"));
        let replayed = cutline(&here, &format!("replay {shrunk}")).expect(10);
        replayed.has("case         the same run, to the byte\n");
        let before: Value = serde_json::from_str(&read(&here, &case)).expect("a case is JSON");
        let after: Value = serde_json::from_str(&read(&here, shrunk)).expect("a case is JSON");
        for key in ["check", "class", "rule"] {
            assert_eq!(before["violation"][key], after["violation"][key]);
        }
        assert_eq!(after["defect"], defect);
        let healthy = read(&here, shrunk).replace(&format!("  \"defect\": \"{defect}\",\n"), "");
        fs::write(here.join("healthy.json"), healthy).expect("it is ours");
        let healthy = cutline(&here, "replay healthy.json").expect(12);
        healthy.has("verdict      ok\n");

        // What is needed is: without the fault, it passes.
        for part in said["parts"].as_array().expect("a list") {
            let what = part["what"].as_str().expect("a text");
            if what.starts_with("without faults[") {
                assert_ne!(part["then"], said["signature"], "{part}");
            }
        }
        let again = cutline(&here, &format!("shrink {case} {attempts} --out again.json"));
        assert_eq!(read(&here, shrunk), read(&here, "again.json"), "the same case, each time");
        assert_eq!(again.expect(0).json()["attempts"], said["attempts"]);
        let once_more = cutline(&here, &format!("shrink {shrunk} {attempts}")).expect(0).json();
        assert_eq!(once_more["before"], said["after"]);
    }
}

#[test]
fn it_says_what_is_needed() {
    let here = directory("needed");
    let case = case(&here, "D78");
    let said = cutline(&here, &format!("shrink {case} --out small.json")).expect(0);
    for part in [
        "output/loss/a pre-committed transaction was dropped\n",
        "operators  ",
        " edits kept; nothing more can go\n",
        "\nneeded\n",
        "  without faults[0] (crash_",
        "): it passes\n",
        "case small.json\nreplay: cutline replay small.json\n",
    ] {
        said.has(part);
    }
}

#[test]
fn bounds_end_the_search() {
    let here = directory("bounds");
    let case = case(&here, "D48");
    for bound in ["--attempts 5", "--budget 0ms"] {
        let said = cutline(&here, &format!("shrink {case} {bound} --format json")).expect(0).json();
        assert_eq!(said["complete"], false, "{bound}");
    }
    let said = cutline(&here, &format!("shrink {case} --attempts 5")).expect(0);
    said.has("the search was ended by its bounds");
}

#[test]
fn what_does_not_fail_is_not_shrunk() {
    let here = directory("passes");
    let quickstart = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/quickstart.json");
    fs::copy(quickstart, here.join("quickstart.json")).expect("part of the repository");
    let said = cutline(&here, "shrink quickstart.json").expect(3);
    said.complains("quickstart.json: the run breaks no promise");
    cutline(&here, "run quickstart.json --out good").expect(0);
    cutline(&here, "shrink good/case.json").expect(3).complains("a case without a violation");

    let case = case(&here, "D48");
    let text = read(&here, &case);
    let healthy = text.replace("  \"defect\": \"D48\",\n", "");
    fs::write(here.join("healed.json"), healthy).expect("it is ours");
    cutline(&here, "shrink healed.json").expect(12).complains("does not fail any more");
    let other = text.replace("records behind the cut are in the state", "something else");
    fs::write(here.join("other.json"), other).expect("it is ours");
    cutline(&here, "shrink other.json").expect(12).complains("says cut/duplication/something else");
    cutline(&here, &format!("shrink {case} --seed 3")).expect(2);
}

#[test]
fn a_scenario_that_fails_will_do() {
    let here = directory("scenario");
    let quickstart = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/quickstart.json");
    let text = fs::read_to_string(quickstart).expect("part of the repository");
    assert!(text.contains("\"limits\": {"), "the test adds to its limits");
    let impatient = text.replace("\"limits\": {", "\"limits\": { \"settle\": \"100 ms\",");
    fs::write(here.join("impatient.json"), impatient).expect("it is ours");
    let said = cutline(&here, "shrink impatient.json --seed 4 --format json").expect(0).json();
    assert_eq!(said["case"], "impatient-shrunk.json");
    cutline(&here, "replay impatient-shrunk.json").expect(11);
    let left: Value = serde_json::from_str(&read(&here, "impatient-shrunk.json")).expect("JSON");
    assert_eq!(left["scenario"]["limits"]["settle"], "100 ms", "no bound becomes tighter");
}
