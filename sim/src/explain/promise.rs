//! What should hold: the promise behind each rule of each check, in a sentence.

use crate::check::Violation;

/// The promise that a violation breaks.
pub(super) fn promise(violation: &Violation) -> String {
    let known = match violation.check {
        "cut" => Some(cut(violation.rule)),
        "order" => Some(order(violation.rule)),
        "state" => Some(state(violation.rule)),
        "output" => Some(output(violation.rule)),
        "restore" => Some(restore(violation.rule)),
        "storage" => Some(storage(violation.rule)),
        "policy" => Some(policy(violation.rule)),
        "liveness" => Some(liveness(violation.rule)),
        _ => None,
    };
    match known {
        Some(known) => known.to_owned(),
        None => format!("What the check `{}` asks for.", violation.check),
    }
}

fn cut(rule: &str) -> &'static str {
    match rule {
        "a subtask is missing" => {
            "A completed checkpoint has the state of every subtask that had not finished."
        }
        "a barrier is missing" => {
            "A checkpoint is complete only when its barrier has come through every channel between \
             tasks that took part."
        }
        _ => {
            "What was sent on a channel before the barrier of a completed checkpoint is in that \
             checkpoint exactly once: processed before the receiver's cut, or persisted in flight."
        }
    }
}

fn order(rule: &str) -> &'static str {
    match rule {
        "a channel is not FIFO" => {
            "The receiver of a channel processes what was sent, once and in that order."
        }
        "a barrier left its place" => {
            "An aligned barrier arrives behind all that was sent before it, and ahead of the rest."
        }
        "barriers sent do not increase" | "barriers received do not increase" => {
            "The barriers of one channel belong to ever newer checkpoints."
        }
        "restored channel state differs" => {
            "After a restore each channel begins with what its checkpoint has in flight: all of it, \
             once, in order."
        }
        "processed from a blocked channel" => {
            "Nothing is processed from a channel that an alignment blocks."
        }
        _ => {
            "With exactly-once barriers, nothing behind a barrier is processed before the task has \
             made its cut."
        }
    }
}

fn state(rule: &str) -> &'static str {
    match rule {
        "a source went back" | "a source skipped records" => {
            "A source emits every offset of a split once and in order; after a restore it goes on \
             where the checkpoint ends."
        }
        "a window is open behind the watermark" => {
            "A subtask passes a watermark on when all windows that end before it have fired."
        }
        "dropped as late" => "A record that comes before every watermark behind it is not late.",
        "finished before the end of a split" => {
            "A job finishes when every split is read to its end."
        }
        _ => {
            "A restore from a completed checkpoint gives every operator the state that an \
             undisturbed run has at the same source positions."
        }
    }
}

fn output(rule: &str) -> &'static str {
    match rule {
        "committed ahead of the decision" => {
            "A transaction is committed only once its checkpoint is durable (F3)."
        }
        "committed from an abandoned history" => {
            "What lies behind the restore point is replayed, and must never be committed as well."
        }
        "committed twice" => "A transaction becomes visible once.",
        "committed after abort" => "A transaction that was aborted stays so.",
        "committed unprepared" | "other contents than pre-committed" => {
            "What becomes visible is what was pre-committed for the checkpoint."
        }
        "committed after the execution ended" => {
            "A task that is cancelled commits nothing that no checkpoint has decided."
        }
        "a pre-committed transaction was dropped" => {
            "A transaction that a durable checkpoint, or the next one, relies on is not aborted."
        }
        "decided and left uncommitted" => {
            "When a task hears that a checkpoint is complete, it commits all that the checkpoint \
             holds."
        }
        _ => "The outside sees every record's result exactly once.",
    }
}

fn restore(rule: &str) -> &'static str {
    match rule {
        "durable behind the back of recovery" => {
            "Once recovery has chosen a checkpoint, none of the execution before it becomes durable."
        }
        "not the newest checkpoint" => "A job goes back to its newest durable checkpoint.",
        "restored what is not retained" => {
            "A job goes back to a checkpoint that is durable and kept."
        }
        "a task restored something else" => "All tasks start from the checkpoint that was chosen.",
        "the newest checkpoint was given up" => {
            "The newest durable checkpoint is kept until a newer one is durable."
        }
        "a savepoint was subsumed" => "A savepoint is its user's; no checkpoint takes its place.",
        _ => "Every retained checkpoint can be read from storage at any time.",
    }
}

fn storage(rule: &str) -> &'static str {
    match rule {
        "a file in use was deleted" => "No file is deleted that a retained checkpoint refers to.",
        "durable without a file" | "durable with half a file" => {
            "All files of a checkpoint are written before it is durable."
        }
        "a file in use was not synced" => {
            "A file is forced to disk before a checkpoint that refers to it is durable."
        }
        "a file in use was overwritten" => "What a checkpoint refers to is never written again.",
        "the user's snapshot shares a file" => {
            "A snapshot that is the user's shares no file with any other."
        }
        "a pointer is left" => "When a job is over, no pointer leads to its checkpoints.",
        _ => "When nothing is under way any more, no file is left that nothing refers to.",
    }
}

fn policy(rule: &str) -> &'static str {
    match rule {
        "ids do not grow" => "Checkpoint ids grow, across leaders too.",
        "leader sessions do not grow" => "Leader sessions grow.",
        "too many concurrent checkpoints" => {
            "No more checkpoints are pending than max-concurrent-checkpoints."
        }
        "pause too short" => {
            "Between a completion and the next periodic trigger lies at least min-pause."
        }
        "not expired" => "A checkpoint that is pending for longer than its timeout is aborted.",
        "too many failures tolerated" => {
            "One failure more than tolerable-failed-checkpoints fails the job."
        }
        "too many retained checkpoints" => {
            "No more checkpoints are kept than num-retained when the next one becomes durable."
        }
        _ => "The coordinator triggers, times out and fails as the options say.",
    }
}

fn liveness(rule: &str) -> &'static str {
    match rule {
        "recovery does not end" => {
            "While nothing disturbs, all tasks run again within the bound after a failure."
        }
        "the job does not finish" | "the job does not end after its last record" => {
            "While nothing disturbs, a bounded job finishes within the bound after its last record."
        }
        "nothing moves" => {
            "While a job or a checkpoint is under way, something is about to happen."
        }
        _ => "A run comes to an end within its events.",
    }
}
