//! Reads a line of a trace back.

use std::borrow::Cow;

use cutline::step::{Step, UnknownStep};
use cutline::time::VirtualTime;
use serde_json::{Map, Value};

use super::line::Line;

/// No run comes so far.
const MILLISECONDS_MAX: f64 = 1e13;

/// Why a line is none of a trace.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Not a JSON object.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A value is not there, or not what it should be.
    #[error("`{key}` must be {expected}")]
    Value {
        /// Its key.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A step that does not exist.
    #[error(transparent)]
    Step(#[from] UnknownStep),
}

/// Reads one line as [`Line::to_json`] writes it. `None`: the line is the summary that ends the
/// output of a run.
///
/// # Errors
/// The text is neither.
pub fn read_line(text: &str) -> Result<Option<Line>, LineError> {
    let mut map: Map<String, Value> = serde_json::from_str(text)?;
    if !map.contains_key("event") && map.contains_key("verdict") {
        return Ok(None);
    }
    let n = take(&mut map, "n", "the number of an event", |value| value.as_u64())?;
    let at = take(&mut map, "at_ms", "a time in milliseconds", instant)?;
    let event = take(&mut map, "event", "the name of an event", text_of)?;
    let subtask = take_optional(&mut map, "subtask", "the name of a subtask", text_of)?;
    let channel = take_optional(&mut map, "channel", "the name of a channel", text_of)?;
    let checkpoint =
        take_optional(&mut map, "checkpoint", "the number of a checkpoint", |v| v.as_u64())?;
    let step = take_optional(&mut map, "step", "the name of a step", text_of)?;
    Ok(Some(Line {
        n,
        at,
        event: Cow::Owned(event),
        subtask,
        channel,
        checkpoint,
        step: step.map(|name| name.parse::<Step>()).transpose()?,
        details: map.into_iter().map(|(key, value)| (Cow::Owned(key), value)).collect(),
    }))
}

/// Reads a whole trace: all lines but the summary.
///
/// # Errors
/// A line is none of a trace; with its number, from 1.
pub fn read_trace(text: &str) -> Result<Vec<Line>, (usize, LineError)> {
    let mut trace = Vec::new();
    for (index, row) in text.lines().enumerate() {
        trace.extend(read_line(row).map_err(|error| (index + 1, error))?);
    }
    Ok(trace)
}

fn take<T>(
    map: &mut Map<String, Value>,
    key: &'static str,
    expected: &'static str,
    read: impl FnOnce(&Value) -> Option<T>,
) -> Result<T, LineError> {
    take_optional(map, key, expected, read)?.ok_or(LineError::Value { key, expected })
}

fn take_optional<T>(
    map: &mut Map<String, Value>,
    key: &'static str,
    expected: &'static str,
    read: impl FnOnce(&Value) -> Option<T>,
) -> Result<Option<T>, LineError> {
    let Some(value) = map.remove(key) else { return Ok(None) };
    read(&value).map(Some).ok_or(LineError::Value { key, expected })
}

/// Exact below 2^33 ms (99 days), where neighbouring numbers lie less than a nanosecond apart. Whole
/// and fractional part are scaled separately: their product with 10^6 in one would be rounded twice.
fn instant(value: &Value) -> Option<VirtualTime> {
    let milliseconds = value.as_f64().filter(|ms| (0.0..MILLISECONDS_MAX).contains(ms))?;
    let nanoseconds = (milliseconds.fract() * 1e6).round() as u64;
    Some(VirtualTime(milliseconds.trunc() as u64 * 1_000_000 + nanoseconds))
}

fn text_of(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_line_is_refused() {
        for (name, text, expected) in [
            ("cut off", "{\"n\":1,", "EOF while parsing"),
            ("a list", "[1]", "expected a map"),
            ("no number", "{\"at_ms\":1,\"event\":\"cut\"}", "`n` must be the number"),
            ("bad time", "{\"n\":1,\"at_ms\":-1,\"event\":\"cut\"}", "`at_ms` must be a time"),
            ("bad name", "{\"n\":1,\"at_ms\":1,\"event\":7}", "`event` must be the name"),
            (
                "bad step",
                "{\"n\":1,\"at_ms\":1,\"event\":\"step\",\"step\":\"T9\"}",
                "no step is called \"T9\"",
            ),
        ] {
            let error = read_line(text).expect_err(name).to_string();
            assert!(error.contains(expected), "{name}: {error}");
        }
        assert!(matches!(read_line("{\"verdict\":\"ok\"}"), Ok(None)));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            n: u64,
            at in 0..(1_u64 << 33) * 1_000_000,
            checkpoint in proptest::option::of(any::<u64>()),
            step in proptest::option::of(proptest::sample::select(Step::ALL)),
            subtask in proptest::option::of("[a-z]{1,5}\\[[0-9]\\]"),
        ) {
            let line = Line {
                n,
                at: VirtualTime(at),
                event: Cow::Borrowed("something"),
                subtask,
                channel: None,
                checkpoint,
                step,
                details: vec![(Cow::Borrowed("how"), Value::from("so"))],
            };
            prop_assert_eq!(read_line(&line.to_json()).expect("well-formed"), Some(line));
        }
    }
}
