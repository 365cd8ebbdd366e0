//! A line of a trace as a sentence, for people who do not know the symbols.

use cutline::step::Step;
use serde_json::Value;

use super::line::Line;
use super::words::{ends, plain, record, words};

/// Who does what, in a sentence without a full stop.
pub fn sentence(line: &Line) -> String {
    let who = line.subtask.as_deref().unwrap_or("the job manager");
    let of = line.checkpoint.map_or("?".to_owned(), |id| id.to_string());
    let from = match line.checkpoint {
        Some(id) => format!("checkpoint {id}"),
        None => "scratch".to_owned(),
    };
    let detail = |key| line.detail(key).map_or(String::new(), plain);
    let (sender, receiver) = ends(line);
    match &*line.event {
        "step" => step(line, &of),
        "emitted" => {
            format!("{who} emits offset {} of split {}", detail("offset"), detail("split"))
        }
        "sent" => format!("{who} sends record {} to {receiver}", record(line)),
        "processed" => format!("{who} processes record {} of {sender}", record(line)),
        "persisted" => {
            format!("{who} persists record {} in flight for checkpoint {of}", record(line))
        }
        "recovered" => format!("{who} gets record {} back from {from}", record(line)),
        "upserted" => format!("{who} upserts record {}", record(line)),
        "appended" => format!("{who} appends record {}", record(line)),
        "barrier_sent" => format!("{who} sends barrier {of} to {receiver}"),
        "barrier_received" => format!("{who} gets barrier {of} from {sender}"),
        "blocked" => format!("{who} blocks its channel from {sender}"),
        "resumed" => format!("{who} resumes its channel from {sender}"),
        "cut" => format!("{who} captures its state for checkpoint {of} ({})", detail("how")),
        "acknowledged" => format!("{who} acknowledges checkpoint {of}"),
        "declined" => format!("{who} declines checkpoint {of}: {}", detail("reason")),
        "triggered" => format!("checkpoint {of} is triggered ({})", detail("alignment")),
        "durable" => format!("the pointer of checkpoint {of} is stored: it is durable"),
        "pointer_removed" => format!("the pointer of checkpoint {of} is removed"),
        "completed" => format!("{who} regards checkpoint {of} as complete"),
        "failed" => format!("{who} gives up checkpoint {of}: {}", detail("reason")),
        "subsumed" => format!("{who} gives up checkpoint {of} for a newer one"),
        "notified_complete" => format!("{who} hears that checkpoint {of} is complete"),
        "notified_aborted" => format!("{who} hears that checkpoint {of} was aborted"),
        "task" => format!("{who} is {} (attempt {})", detail("state"), detail("attempt")),
        "execution_ended" => "the execution ends; what it has in flight is void".to_owned(),
        "region_ended" => {
            format!("the {} tasks connected with {who} end", detail("subtasks"))
        }
        "region_restored" => {
            format!("the job manager starts {} tasks again from {from}", detail("subtasks"))
        }
        "restore_chosen" => format!("{who} starts the job from {from}"),
        "task_restored" => format!("{who} goes on from {from}"),
        "job_ended" => format!("the job has ended: {}", detail("how")),
        "leader_elected" => format!("a job manager leads, session {}", detail("session")),
        "pre_committed" => {
            format!("{who} pre-commits {} records for checkpoint {of}", detail("records"))
        }
        "committed" => {
            format!("{} records of {who} for checkpoint {of} become visible", detail("records"))
        }
        "transaction_aborted" => format!("the transaction of {who} for checkpoint {of} is aborted"),
        "file_written" => format!("file {} is written", detail("file")),
        "file_handed_over" => format!("the job manager is told of file {}", detail("file")),
        "file_deleted" => format!("file {} is deleted", detail("file")),
        "unsynced_lost" => {
            let gone = line.detail("gone").and_then(Value::as_u64) == Some(1);
            let how = if gone { "is gone" } else { "is cut short" };
            format!("file {} {how}: it had not been synced", detail("file"))
        }
        "storage_host_crashed" => "the host that stores the checkpoints crashes".to_owned(),
        "process_lost" => match line.detail("process").and_then(Value::as_u64) {
            Some(0) | None => "the job manager dies".to_owned(),
            Some(number) => format!("task manager {} dies", number - 1),
        },
        "fault_injected" => match line.detail("what") {
            Some(what) => format!("fault {} strikes: {}", detail("fault"), plain(what)),
            None => words(line),
        },
        _ => words(line),
    }
}

fn step(line: &Line, of: &str) -> String {
    match (line.step, &line.subtask) {
        (Some(Step::T5), Some(subtask)) => {
            format!("T5: the job manager triggers {subtask} for checkpoint {of}")
        }
        (Some(Step::A1), Some(subtask)) => {
            format!("A1: the job manager takes {subtask}'s acknowledgement of checkpoint {of}")
        }
        (Some(step), place) => {
            let of = line.checkpoint.map_or(String::new(), |id| format!(" of checkpoint {id}"));
            let at = place.as_ref().map_or(String::new(), |name| format!(" at {name}"));
            format!("{step}{of}{at}: {}", step.what())
        }
        (None, _) => words(line),
    }
}
