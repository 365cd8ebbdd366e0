//! The part of the table that is about faults, random failures, and what users do.

use cutline::step::Step;
use cutline::time::VirtualDuration;

use super::fields::{ANY_SPAN, PARALLELISM_MAX, SOME_SPAN, U32};
use super::model::{ClockStep, Direction, Disturbance, ExternalOperation, StorageOperation};
use super::table::{Field, Kind, Object, Variant, Variants};

/// By how much a clock may be set: not so much that sums of it leave the virtual time.
const STEP: Kind = Kind::Duration {
    min: VirtualDuration::from_nanos(1),
    max: VirtualDuration::from_secs(366 * 24 * 60 * 60),
};

pub(super) fn fault() -> Object {
    let subtask = || {
        let examples = ["\"source[0]\"", "\"count[1]\""];
        Field::new("target", Kind::Subtask, "The subtask.", examples).required()
    };
    let task_manager = || {
        let kind = Kind::Integer { min: 0, max: PARALLELISM_MAX };
        Field::new("target", kind, "The task manager, from 0.", ["0", "1"]).required()
    };
    let span = || {
        let doc = "How long it lasts.";
        Field::new("for", SOME_SPAN, doc, ["\"300 ms\"", "\"700 ms\""]).required()
    };
    let end = |name, doc| {
        let examples = ["\"task_manager[1]\"", "\"task_manager[2]\""];
        Field::new(name, Kind::Endpoint, doc, examples).required()
    };
    let direction = |doc| {
        let words = Direction::ALL.map(Direction::name).to_vec();
        Field::new("direction", Kind::Choice(words), doc, ["\"there\"", "\"back\""])
            .default("\"both\"")
    };
    let of_service = "Which way: `there`: requests do not get there; `back`: they are done, but the \
                      answers do not come back.";
    let process = || {
        let doc = "The process; default: the job manager that leads then.";
        let examples = ["\"task_manager[1]\"", "\"job_manager\""];
        Field::new("target", Kind::Endpoint, doc, examples)
    };
    let operation = || {
        let words = StorageOperation::ALL.map(StorageOperation::name).to_vec();
        let examples = ["\"write_state\"", "\"write_metadata\""];
        let doc = "Which requests; `write_pointer` is one of the high-availability store.";
        Field::new("operation", Kind::Choice(words), doc, examples).default("\"any\"")
    };
    let external = || {
        let words = ExternalOperation::ALL.map(ExternalOperation::word).to_vec();
        let examples = ["\"pre_commit\"", "\"commit\""];
        let doc =
            "Which requests to the external system; `abort` looks for left-over transactions.";
        Field::new("operation", Kind::Choice(words), doc, examples).default("\"any\"")
    };
    let count = |doc| {
        let kind = Kind::Integer { min: 1, max: U32 };
        Field::new("count", kind, doc, ["2", "3"]).default("1")
    };
    let kind = |name, doc, fields| Variant { name, doc, fields };
    Object {
        name: "a fault",
        doc: "A scripted fault.",
        fields: vec![
            Field {
                examples: vec!["\"900 ms\"", "\"1 s\""],
                ..Field::part(
                    "at",
                    Kind::When(step_anchor()),
                    "When it strikes: at a time, or at a step of the protocol.",
                )
            }
            .required(),
        ],
        variants: Some(Variants {
            tag: "kind",
            doc: "What the fault does.",
            list: vec![
                kind("crash_task", "A subtask throws.", vec![subtask()]),
                kind(
                    "crash_task_manager",
                    "A task manager dies and is replaced.",
                    vec![task_manager()],
                ),
                kind(
                    "crash_job_manager",
                    "The job manager that leads dies and is replaced.",
                    vec![],
                ),
                kind("pause_task", "A subtask does nothing for a while.", vec![subtask(), span()]),
                kind(
                    "pause_task_manager",
                    "A task manager does nothing for a while.",
                    vec![task_manager(), span()],
                ),
                kind(
                    "pause_job_manager",
                    "The job manager that leads does nothing for a while.",
                    vec![span()],
                ),
                kind(
                    "slow_link",
                    "The latency between two processes is multiplied for a while.",
                    vec![
                        end("from", "One end."),
                        end("to", "The other end."),
                        Field::new(
                            "factor",
                            Kind::Integer { min: 2, max: 1_000_000 },
                            "By how much.",
                            ["10", "20"],
                        )
                        .required(),
                        span(),
                    ],
                ),
                kind(
                    "cut_link",
                    "A link delivers nothing for a while; what is sent meanwhile arrives later.",
                    vec![
                        end("from", "One end."),
                        end("to", "The other end."),
                        direction(
                            "Which way: `there`: from `from` to `to`; `back`: from `to` to `from`.",
                        ),
                        span(),
                    ],
                ),
                kind(
                    "repeat_messages",
                    "Acknowledgements and declines between two processes arrive twice, for a while.",
                    vec![
                        end("from", "One end."),
                        end("to", "The other end."),
                        Field::new("by", SOME_SPAN, "So much later.", ["\"2 s\"", "\"3 s\""])
                            .required(),
                        span(),
                    ],
                ),
                kind(
                    "lose_messages",
                    "Each control message between two processes is lost with a chance, for a while; \
                     whoever waits for it, or for its answer, waits for `cluster.ask_timeout`.",
                    vec![
                        end("from", "One end."),
                        end("to", "The other end."),
                        direction(
                            "Which way: `there`: from `from` to `to`; `back`: from `to` to `from`.",
                        ),
                        Field::new(
                            "chance",
                            Kind::Decimal { min: 1, max: 1_000 },
                            "The chance of each message to be lost.",
                            ["\"0.3\"", "\"0.9\""],
                        )
                        .default("\"1\""),
                        span(),
                    ],
                ),
                kind(
                    "reorder",
                    "What comes within one window (messages, requests, answers) goes on at its end, \
                     in the order of random priorities (PCT).",
                    vec![
                        Field::new("window", SOME_SPAN, "The window.", ["\"2 ms\"", "\"5 ms\""])
                            .required(),
                        Field::new(
                            "changes",
                            Kind::Integer { min: 0, max: 100 },
                            "How often something falls behind all others.",
                            ["2", "50"],
                        )
                        .default("0"),
                        span(),
                    ],
                ),
                kind(
                    "slow_storage",
                    "Storage requests take longer for a while.",
                    vec![
                        operation(),
                        Field::new("by", SOME_SPAN, "So much longer.", ["\"2 s\"", "\"3 s\""])
                            .required(),
                        span(),
                    ],
                ),
                kind(
                    "fail_storage",
                    "The next storage requests fail, whatever the client tries.",
                    vec![operation(), count("How many requests fail.")],
                ),
                kind(
                    "disturb_storage",
                    "The next storage requests do not go as they should.",
                    vec![
                        operation(),
                        Field::new(
                            "how",
                            Kind::Choice(Disturbance::ALL.map(Disturbance::name).to_vec()),
                            "What becomes of them: an error that goes away; HTTP 503; no answer; \
                             done but reported as failed; half an object written; half an object \
                             read; an answer from before the object was written.",
                            ["\"hanging\"", "\"transient\""],
                        )
                        .required(),
                        count("How many requests are disturbed."),
                    ],
                ),
                kind(
                    "damage_object",
                    "A bit of the newest object flips, for good.",
                    vec![
                        Field::new(
                            "operation",
                            Kind::Choice(vec!["any", "write_state", "write_metadata"]),
                            "What the object was written for.",
                            ["\"write_state\"", "\"write_metadata\""],
                        )
                        .default("\"any\""),
                    ],
                ),
                kind(
                    "slow_external",
                    "Requests to the external system take longer for a while.",
                    vec![
                        external(),
                        Field::new("by", SOME_SPAN, "So much longer.", ["\"2 s\"", "\"3 s\""])
                            .required(),
                        span(),
                    ],
                ),
                kind(
                    "fail_external",
                    "The next requests to the external system fail.",
                    vec![external(), count("How many requests fail.")],
                ),
                kind(
                    "ambiguous_external",
                    "The next requests to the external system are done, and reported as failed.",
                    vec![external(), count("How many answers are wrong.")],
                ),
                kind(
                    "cut_external",
                    "A task manager and the external system do not reach each other for a while; \
                     what is sent meanwhile arrives later.",
                    vec![task_manager(), direction(of_service), span()],
                ),
                kind(
                    "cut_ha",
                    "A process and the high-availability store do not reach each other for a \
                     while; what is sent meanwhile arrives later.",
                    vec![process(), direction(of_service), span()],
                ),
                kind(
                    "cut_storage",
                    "A process and the checkpoint storage do not reach each other for a while; \
                     what is sent meanwhile arrives later.",
                    vec![process(), direction(of_service), span()],
                ),
                kind(
                    "drift_clock",
                    "The clocks of the host of a process run too fast or too slow for a while; then \
                     NTP sets the wall clock right, and timers keep what they have gained or lost.",
                    vec![
                        process(),
                        Field::new(
                            "rate",
                            Kind::Decimal { min: 100, max: 10_000 },
                            "How much they go on in a second, in seconds. What a process waits for \
                             comes so much earlier, or later if below 1.",
                            ["\"1.5\"", "\"0.5\""],
                        )
                        .required(),
                        span(),
                    ],
                ),
                kind(
                    "step_clock",
                    "The wall clock of the host of a process is set wrong for a while; timers do not \
                     run by it.",
                    vec![
                        process(),
                        Field::new(
                            "direction",
                            Kind::Choice(ClockStep::ALL.map(ClockStep::name).to_vec()),
                            "Which way; back to the start of the run at most.",
                            ["\"forward\"", "\"back\""],
                        )
                        .default("\"forward\""),
                        Field::new("by", STEP, "By how much.", ["\"2 s\"", "\"3 s\""]).required(),
                        span(),
                    ],
                ),
                kind(
                    "crash_storage_host",
                    "The host that stores the checkpoints crashes, and is back after a while: what \
                     is being written is cut off, what was not synced may be lost, and what is asked \
                     meanwhile is answered afterwards.",
                    vec![span()],
                ),
            ],
        }),
    }
}

pub(super) fn action() -> Object {
    let kind = |name, doc, fields| Variant { name, doc, fields };
    Object {
        name: "an action",
        doc: "Something that a user does.",
        fields: vec![
            Field {
                examples: vec!["\"1100 ms\"", "\"1200 ms\""],
                ..Field::part(
                    "at",
                    Kind::When(step_anchor()),
                    "When: at a time, or at a step of the protocol.",
                )
            }
            .required(),
        ],
        variants: Some(Variants {
            tag: "kind",
            doc: "What the user does.",
            list: vec![
                kind("savepoint", "Takes a savepoint; the job goes on.", vec![]),
                kind(
                    "stop_with_savepoint",
                    "Stops the job with a savepoint.",
                    vec![
                        Field::new(
                            "drain",
                            Kind::Boolean,
                            "Whether operators finish first, as if their input had ended.",
                            ["true", "false"],
                        )
                        .default("false"),
                    ],
                ),
                kind(
                    "cancel",
                    "Cancels the job; `checkpointing.retention` says what is left of it.",
                    vec![],
                ),
                kind(
                    "clean_orphans",
                    "Lists the store and deletes what nobody refers to any more, nor will: what \
                     processes left that have died. Savepoints and what tasks own stay. (Flink has \
                     nothing like it.)",
                    vec![],
                ),
                kind(
                    "resume",
                    "Starts a new job from a snapshot, as soon as the one before has ended.",
                    vec![
                        Field::new(
                            "from",
                            Kind::Choice(vec!["savepoint", "checkpoint"]),
                            "The newest savepoint, or the newest checkpoint that was retained.",
                            ["\"savepoint\"", "\"checkpoint\""],
                        )
                        .default("\"savepoint\""),
                        Field::new(
                            "claim_mode",
                            Kind::Choice(vec!["no_claim", "claim"]),
                            "Whether the new job owns the snapshot (Flink: \
                             `execution.state-recovery.claim-mode`).",
                            ["\"no_claim\"", "\"claim\""],
                        )
                        .default("\"no_claim\""),
                        Field::new(
                            "parallelism",
                            Kind::ByOperator { min: 1, max: PARALLELISM_MAX },
                            "Operators that get another number of subtasks than `job` says \
                             (Flink: a change of `parallelism.default` or `setParallelism` between \
                             two submissions). Max parallelism is that of the snapshot.",
                            [r#"{"count": 1}"#, r#"{"count": 3}"#],
                        ),
                        Field::new(
                            "operator_chaining",
                            Kind::Boolean,
                            "Whether operators are chained (Flink: \
                             `pipeline.operator-chaining.enabled`); default: as `job` says. States \
                             are found by operator.",
                            ["true", "false"],
                        ),
                        Field::new(
                            "changelog",
                            Kind::Boolean,
                            "Whether changes of keyed state are logged (Flink: \
                             `state.changelog.enabled`); default: as `changelog.enabled` says. A job \
                             with a changelog claims its snapshot.",
                            ["true", "false"],
                        ),
                    ],
                ),
            ],
        }),
    }
}

fn step_anchor() -> Object {
    Object {
        name: "a step",
        doc: "The so-many-th time that a step is reached and all conditions hold.",
        variants: None,
        fields: vec![
            Field::new(
                "step",
                Kind::Choice(Step::ALL.iter().map(|step| step.name()).collect()),
                "The step, T1 to S6, as in the words of the design.",
                ["\"B3\"", "\"B6\""],
            )
            .required(),
            Field::new(
                "checkpoint",
                Kind::Integer { min: 1, max: 1 << 53 },
                "Only for this checkpoint id; ids start at 1.",
                ["2", "3"],
            ),
            Field::new(
                "subtask",
                Kind::Subtask,
                "Only at this subtask.",
                ["\"source[1]\"", "\"count[0]\""],
            ),
            Field::new(
                "occurrence",
                Kind::Integer { min: 1, max: U32 },
                "Which time, counted from 1.",
                ["2", "3"],
            )
            .default("1"),
            Field::new("delay", ANY_SPAN, "So long after the step.", ["\"5 ms\"", "\"9 ms\""])
                .default("\"0 ms\""),
        ],
    }
}

/// Random failures.
pub(super) fn failures() -> Object {
    let law = |name, doc, fields| Variant { name, doc, fields };
    let shape = Field::new(
        "shape",
        Kind::Decimal { min: 300, max: 10_000 },
        "Below 1: failures come in bursts; 1: exponential; above 1: they keep apart.",
        ["\"0.7\"", "\"2.5\""],
    );
    Object {
        name: "`failures`",
        doc: "Random failures, besides the scripted faults; the same at the same instants for a \
              seed, whatever the job does.",
        fields: vec![
            Field::new(
                "mtbf",
                SOME_SPAN,
                "Mean time between two failures of anything in the job.",
                ["\"700 ms\"", "\"900 ms\""],
            )
            .required(),
            Field::new(
                "target",
                Kind::Choice(vec!["task_manager", "task"]),
                "What fails: a task manager dies and is replaced, or a subtask throws.",
                ["\"task_manager\"", "\"task\""],
            )
            .default("\"task_manager\""),
        ],
        variants: Some(Variants {
            tag: "law",
            doc: "How the spans between failures are distributed.",
            list: vec![
                law("exponential", "Failures know nothing of each other.", vec![]),
                law("weibull", "Weibull, with a shape.", vec![shape.required()]),
            ],
        }),
    }
}
