//! A line of a trace in a symbol and a few words.

use cutline::step::Step;
use serde_json::Value;

use super::line::Line;

/// What marks an event in a narrow column; one character wide everywhere.
pub(super) fn symbol(line: &Line) -> char {
    match &*line.event {
        "step" => '·',
        "triggered" => '▲',
        "durable" => '■',
        "completed" | "notified_complete" => '●',
        "failed" | "request_failed" | "declined" | "notified_aborted" => 'x',
        "transaction_aborted" => 'x',
        "subsumed" => '○',
        "barrier_sent" => '►',
        "barrier_received" => '▼',
        "blocked" => '[',
        "resumed" => ']',
        "cut" => '═',
        "acknowledged" => '+',
        "task" => match line.detail("state").and_then(Value::as_str) {
            Some("failed" | "canceled") => '†',
            _ => '◦',
        },
        "execution_ended" | "region_ended" => '†',
        "restore_chosen" | "region_restored" | "task_restored" => '«',
        "job_ended" => '■',
        "leader_elected" => '*',
        "pre_committed" => '◇',
        "committed" => '◆',
        "fault_injected" => '!',
        "fault_healed" => '~',
        "action_taken" => '?',
        "action_ended" => match line.detail("done").and_then(Value::as_bool) {
            Some(true) => '√',
            _ => 'x',
        },
        "adopted" | "rescaled" => '«',
        "filtered" | "dropped_late" => '-',
        "window_fired" => '◇',
        _ => '•',
    }
}

/// What happened, without where and when.
pub(super) fn words(line: &Line) -> String {
    let of = line.checkpoint.map_or(String::new(), |id| format!(" {id}"));
    let from = line.checkpoint.map_or(" from scratch".to_owned(), |id| format!(" from {id}"));
    let detail = |key| line.detail(key).map_or(String::new(), plain);
    let reason = || match line.detail("reason") {
        Some(reason) => format!(": {}", plain(reason)),
        None => String::new(),
    };
    let (sender, receiver) = ends(line);
    match &*line.event {
        "step" => match line.step {
            Some(step) => format!("step {step}{of}{}", about(step, line)),
            None => "step".to_owned(),
        },
        "emitted" => format!("emits {}/{}", detail("split"), detail("offset")),
        "sent" => format!("sends {} to {receiver}", record(line)),
        "processed" => format!("takes {} of {sender}", record(line)),
        "persisted" => format!("persists {} ({})", record(line), detail("side")),
        "recovered" => format!("recovers {} of {sender}", record(line)),
        "upserted" => format!("upserts {}", record(line)),
        "appended" => format!("appends {}", record(line)),
        "barrier_sent" => format!("barrier{of} to {receiver}"),
        "barrier_received" => format!("barrier{of} of {sender}"),
        "blocked" => format!("blocks {sender}"),
        "resumed" => format!("resumes {sender}"),
        "cut" => format!("cut{of} ({})", detail("how")),
        "acknowledged" => format!("acknowledges{of}"),
        "declined" => format!("declines{of}{}", reason()),
        "triggered" => format!("triggers{of} ({})", detail("alignment")),
        "durable" => format!("{} durable", of.trim_start()),
        "pointer_removed" => format!("pointer{of} removed"),
        "completed" => format!("{} completed", of.trim_start()),
        "failed" => format!("{} failed{}", of.trim_start(), reason()),
        "subsumed" => format!("{} subsumed", of.trim_start()),
        "request_failed" => format!("request refused{}", reason()),
        "notified_complete" => format!("told:{of} completed"),
        "notified_aborted" => format!("told:{of} aborted"),
        "task" => format!("{} (attempt {})", detail("state"), detail("attempt")),
        "execution_ended" => "execution ends".to_owned(),
        "region_ended" => format!("region of {} ends", detail("subtasks")),
        "region_restored" => format!("region of {} restored{from}", detail("subtasks")),
        "restore_chosen" => format!("starts{from}"),
        "task_restored" => format!("restored{from}"),
        "job_ended" => format!("job {}", detail("how")),
        "leader_elected" => format!("leader, session {}", detail("session")),
        "pre_committed" => format!("pre-commits{of}: {} records", detail("records")),
        "committed" => format!("committed{of}: {} records", detail("records")),
        "transaction_aborted" => format!("transaction{of} aborted"),
        "file_written" => format!("writes {} ({} b)", detail("file"), detail("bytes")),
        "file_handed_over" => format!("hands over {}", detail("file")),
        "file_deleted" => format!("deletes {}", detail("file")),
        "unsynced_lost" => format!("loses {}", detail("file")),
        "storage_host_crashed" => "the storage host crashes".to_owned(),
        "fault_injected" => format!("fault {} strikes", detail("fault")),
        "fault_healed" => format!("fault {} is over", detail("fault")),
        "action_taken" => format!("action {} asked for", detail("action")),
        "action_ended" => {
            let done = line.detail("done").and_then(Value::as_bool) == Some(true);
            format!("action {} {}{of}", detail("action"), if done { "done" } else { "failed" })
        }
        "adopted" => format!("new job{from}"),
        "rescaled" => "with another parallelism".to_owned(),
        "window_fired" => {
            let [key, end, records] = ["key", "end_ms", "records"].map(detail);
            format!("window of key {key} to {end} ms fires: {records} records")
        }
        "dropped_late" => format!("drops {} as late", record(line)),
        "filtered" => format!("leaves {} restored records to others", detail("records")),
        // A trace of another version may know more.
        other => format!("{}{of}", other.replace('_', " ")),
    }
}

/// Steps of the coordinator may be about one subtask.
fn about(step: Step, line: &Line) -> String {
    match (&line.subtask, step) {
        (Some(subtask), Step::T5 | Step::A1 | Step::R4) => format!(" of {subtask}"),
        _ => String::new(),
    }
}

pub(super) fn ends(line: &Line) -> (&str, &str) {
    line.channel.as_deref().and_then(|channel| channel.split_once("->")).unwrap_or(("?", "?"))
}

pub(super) fn record(line: &Line) -> String {
    let part = |key: &str| line.detail("record").and_then(|record| record.get(key));
    if let Some(mark) = part("mark") {
        let time = part("time_ms").map_or(String::new(), |time| format!(" {} ms", plain(time)));
        return format!("{}{time}", plain(mark));
    }
    let part = |key: &str| part(key).map_or("?".to_owned(), plain);
    format!("{}/{}/{}", part("source"), part("split"), part("offset"))
}

pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
