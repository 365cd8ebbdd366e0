//! Files without rows of `in` and `out`: constants measured on Flink, figures others published.

use cutline::model::barrier::{
    BARRIER_BYTES, BUFFER_HEADER_BYTES, BarrierBytes, CANCEL_MARKER_BYTES, FRAME_HEADER_BYTES,
    NetworkBuffers,
};
use cutline::model::coordinator::{ACKNOWLEDGE_BYTES, ACKNOWLEDGE_BYTES_PER_SST, DECLINE_BYTES};

use super::inputs::{Mistake, member, number, object};
use super::{Found, shown};
use crate::conform::{Difference, Report};
use crate::scenario::syntax::{Json, Value};

/// Compares the measured constants that a model uses; each is a case.
pub(super) fn run(json: &Json) -> Result<Report, Mistake> {
    let buffers = NetworkBuffers::default();
    let barrier = Found::Count(BARRIER_BYTES);
    let twenty = ACKNOWLEDGE_BYTES + 20.0 * ACKNOWLEDGE_BYTES_PER_SST;
    let used = [
        ("event_bytes", "checkpoint_barrier_aligned", barrier),
        ("event_bytes", "checkpoint_barrier_unaligned", barrier),
        ("event_bytes", "checkpoint_barrier_aligned_with_timeout", barrier),
        ("event_bytes", "cancel_marker", CANCEL_MARKER_BYTES.into()),
        ("netty_bytes", "frame_header", FRAME_HEADER_BYTES.into()),
        ("netty_bytes", "buffer_response_header", BUFFER_HEADER_BYTES.into()),
        ("netty_bytes", "remote_barrier_total", BarrierBytes::new(1).wire.into()),
        ("rpc_payload_bytes_java_serialised", "ack_without_state", ACKNOWLEDGE_BYTES.into()),
        ("rpc_payload_bytes_java_serialised", "ack_incremental_20_sst", twenty.into()),
        ("rpc_payload_bytes_java_serialised", "per_sst", ACKNOWLEDGE_BYTES_PER_SST.into()),
        ("rpc_payload_bytes_java_serialised", "decline", DECLINE_BYTES.into()),
        ("network_constants", "exclusive_per_channel", buffers.exclusive.into()),
        ("network_constants", "floating_per_gate", buffers.floating.into()),
        ("network_constants", "segment", buffers.segment.into()),
    ];
    let mut report = Report::default();
    let mut unused = 0;
    for section in object(json)? {
        let Value::Object(members) = &section.value.value else {
            continue;
        };
        let known = |key: &str| used.iter().any(|(of, name, _)| *of == section.key && *name == key);
        unused += members.iter().filter(|member| !known(&member.key)).count();
    }
    for (section, name, found) in used {
        let Some(of) = member(json, section)? else {
            continue;
        };
        let Some(expected) = member(of, name)? else {
            continue;
        };
        let difference = (number(expected)? != value(found)).then(|| Difference {
            case: format!("{section}.{name}"),
            place: "exactly".to_owned(),
            expected: shown(expected),
            actual: found.shown(),
        });
        report.record_differences(difference);
    }
    let note = format!("{unused} constants and defaults that no model uses are not judged");
    report.notes.push(note);
    Ok(report)
}

fn value(found: Found) -> f64 {
    match found {
        Found::Number(value) | Found::Shift(value) => value,
        Found::Count(value) => value as f64,
        Found::Flag(_) | Found::Word(_) | Found::Nothing | Found::Measured(_) => f64::NAN,
    }
}

/// Whether rows are figures that others published: each with an `id` and a `source`.
pub(super) fn are_figures(rows: &Json) -> bool {
    let has = |row: &Json, key| matches!(member(row, key), Ok(Some(_)));
    match &rows.value {
        Value::List(rows) => rows.iter().all(|row| has(row, "id") && has(row, "source")),
        _ => false,
    }
}

/// Figures of other setups are there to compare with, and no formula owes them.
pub(super) fn figures() -> Report {
    let note = "figures that others published, for comparison: nothing is judged".to_owned();
    Report { notes: vec![note], ..Report::default() }
}
