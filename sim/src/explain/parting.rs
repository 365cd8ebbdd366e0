//! Where two runs part.
//!
//! Two whole traces are laid side by side; of a case only the digests on the way are known, which
//! tell a stretch of events instead of one.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use serde_json::Value;

use crate::kernel::digest::{Ladder, first_difference};
use crate::report::Line;

/// The first event that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Parting {
    /// Its number.
    pub event: u64,
    /// What happened there in the first run; `None` if that run had ended.
    pub a: Option<Line>,
    /// What happened there in the second run.
    pub b: Option<Line>,
    /// The last events that both share, oldest first.
    pub shared: Vec<Line>,
}

/// A trace from which lines are missing: it cannot be laid beside another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {missing} is not in the trace: compare whole traces, not filtered ones")]
pub struct NotWhole {
    /// The first event that is missing.
    pub missing: u64,
}

/// The first event at which two whole traces part, with so many events before it; `None` if they
/// are the same.
///
/// # Errors
/// A trace lacks events.
pub fn parting(
    a: impl Iterator<Item = Line>,
    b: impl Iterator<Item = Line>,
    context: usize,
) -> Result<Option<Parting>, NotWhole> {
    let mut shared: VecDeque<Line> = VecDeque::new();
    let (mut a, mut b) = (a.fuse(), b.fuse());
    for event in 0.. {
        let (a, b) = (a.next(), b.next());
        for line in a.iter().chain(&b) {
            if line.n != event {
                return Err(NotWhole { missing: event });
            }
        }
        match (a, b) {
            (None, None) => break,
            (Some(a), Some(b)) if is_same(&a, &b) => {
                shared.push_back(a);
                if shared.len() > context {
                    shared.pop_front();
                }
            }
            (a, b) => return Ok(Some(Parting { event, a, b, shared: shared.into() })),
        }
    }
    Ok(None)
}

/// In which stretch of events a run parts from what was recorded of it, in words; `None` if it does
/// not.
pub fn parting_of_ladders(recorded: &Ladder, now: &Ladder) -> Option<String> {
    let window = first_difference(recorded, now)?;
    let (first, last) = (window.start, window.end - 1);
    let which = match first == last {
        true => format!("the first event that differs is {first}"),
        false => format!("the first event that differs is among {first} to {last}"),
    };
    Some(format!("{which}; the case had {} events, this run {}", recorded.events, now.events))
}

/// The same, whatever the order of the details: a trace that was read back has them sorted.
fn is_same(a: &Line, b: &Line) -> bool {
    let details = |line: &Line| -> BTreeMap<String, Value> {
        line.details.iter().map(|(key, value)| (key.to_string(), value.clone())).collect()
    };
    let head = |line: &Line| (line.at, line.checkpoint, line.step);
    head(a) == head(b)
        && a.event == b.event
        && a.subtask == b.subtask
        && a.channel == b.channel
        && (a.details == b.details || details(a) == details(b))
}

/// A value that differs between two scenarios.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Where, such as `job.operators[1].parallelism`.
    pub path: String,
    /// The value of the first; `None` if it has none.
    pub a: Option<Value>,
    /// The value of the second.
    pub b: Option<Value>,
}

/// All values in which two JSON documents differ, in the order of the first one's keys.
pub fn differences(a: &Value, b: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    collect("", Some(a), Some(b), &mut found);
    found
}

fn collect(path: &str, a: Option<&Value>, b: Option<&Value>, found: &mut Vec<Difference>) {
    match (a, b) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let more = b.keys().filter(|key| !a.contains_key(*key));
            for key in a.keys().chain(more) {
                let within = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                collect(&within, a.get(key), b.get(key), found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            for index in 0..a.len().max(b.len()) {
                collect(&format!("{path}[{index}]"), a.get(index), b.get(index), found);
            }
        }
        (a, b) if a == b => {}
        (a, b) => found.push(Difference { path: path.to_owned(), a: a.cloned(), b: b.cloned() }),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use cutline::time::VirtualTime;
    use serde_json::json;

    use super::*;

    fn line(n: u64, at: u64, detail: u64) -> Line {
        Line {
            n,
            at: VirtualTime(at),
            event: Cow::Borrowed("cut"),
            subtask: None,
            channel: None,
            checkpoint: Some(1),
            step: None,
            details: vec![
                (Cow::Borrowed("b"), Value::from(detail)),
                (Cow::Borrowed("a"), Value::from(0)),
            ],
        }
    }

    fn lines(of: &[(u64, u64)]) -> impl Iterator<Item = Line> {
        let numbered: Vec<Line> =
            (0..).zip(of).map(|(n, (at, detail))| line(n, *at, *detail)).collect();
        numbered.into_iter()
    }

    #[test]
    fn the_first_event_that_differs_is_named() {
        type Run = &'static [(u64, u64)];
        let rows: [(&str, Run, Run, Option<u64>); 5] = [
            ("the same", &[(1, 0), (2, 0)], &[(1, 0), (2, 0)], None),
            ("another time", &[(1, 0), (2, 0)], &[(1, 0), (3, 0)], Some(1)),
            ("another detail", &[(1, 0), (2, 0)], &[(1, 7), (2, 0)], Some(0)),
            ("one goes on", &[(1, 0)], &[(1, 0), (2, 0)], Some(1)),
            ("nothing at all", &[], &[], None),
        ];
        for (name, a, b, event) in rows {
            let found = parting(lines(a), lines(b), 1).expect("they are whole");
            assert_eq!(found.as_ref().map(|found| found.event), event, "{name}");
            if let Some(found) = found {
                assert_eq!(found.shared.len() as u64, found.event.min(1), "{name}");
                assert_ne!(found.a, found.b, "{name}");
            }
        }
    }

    #[test]
    fn details_compare_in_any_order_and_filtered_traces_do_not() {
        let mut sorted = line(0, 1, 5);
        sorted.details.reverse();
        let found = parting([line(0, 1, 5)].into_iter(), [sorted].into_iter(), 3);
        assert_eq!(found, Ok(None));
        let gap = parting([line(3, 1, 5)].into_iter(), [line(3, 1, 5)].into_iter(), 3);
        assert_eq!(gap, Err(NotWhole { missing: 0 }));
    }

    #[test]
    fn documents_differ_by_path() {
        let a = json!({ "seed": 1, "job": { "operators": [{ "p": 1 }, { "p": 2 }] } });
        let b = json!({ "seed": 1, "job": { "operators": [{ "p": 1 }, { "p": 3 }, {}] }, "x": 0 });
        let found = differences(&a, &b);
        let paths: Vec<&str> = found.iter().map(|it| it.path.as_str()).collect();
        assert_eq!(paths, ["job.operators[1].p", "job.operators[2]", "x"]);
        assert_eq!((&found[0].a, &found[0].b), (&Some(json!(2)), &Some(json!(3))));
        assert!(differences(&a, &a).is_empty());
    }
}
