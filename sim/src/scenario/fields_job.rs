//! The part of the table that is about the job: operators and edges.

use super::fields::{ANY_SPAN, PARALLELISM_MAX, SOME_SPAN, U32};
use super::table::{Field, Kind, Object, Variant, Variants};

pub(crate) const OPERATORS_MAX: usize = 500;
pub(crate) const EDGES_MAX: usize = 2_000;

pub(super) fn job() -> Object {
    Object {
        name: "`job`",
        doc: "Operators and edges.",
        variants: None,
        fields: vec![
            Field::part("operators", Kind::List(operator(), OPERATORS_MAX), "The operators.")
                .required(),
            Field::part("edges", Kind::List(edge(), EDGES_MAX), "The edges between them.")
                .required(),
            Field::new(
                "operator_chaining",
                Kind::Boolean,
                "Whether operators that chained edges join run in one task (Flink: \
                 `pipeline.operator-chaining.enabled`).",
                ["true", "false"],
            )
            .default("true"),
        ],
    }
}

fn operator() -> Object {
    let kind = |name, doc, fields| Variant { name, doc, fields };
    Object {
        name: "an operator",
        doc: "A vertex of the job graph; its subtasks are `name[index]`.",
        fields: vec![
            Field::part("name", Kind::Name, "Unique name.").required(),
            Field::new(
                "parallelism",
                Kind::Integer { min: 1, max: PARALLELISM_MAX },
                "Number of subtasks.",
                ["3", "4"],
            )
            .default("1")
            .flink(
                "OperatorValidationUtils: refuses less than 1; 32768 key groups are the other end",
            ),
            Field::new(
                "max_parallelism",
                Kind::Integer { min: 1, max: PARALLELISM_MAX },
                "Number of key groups; default: one and a half times the parallelism, rounded up \
                 to a power of two, at least 128.",
                ["16", "32"],
            )
            .flink("KeyGroupRangeAssignment: refuses more than 32768 key groups"),
            Field::new(
                "cost",
                Kind::Distribution,
                "Processing time of one real record.",
                ["\"20 µs\"", r#"{"uniform": ["10 µs", "50 µs"]}"#],
            )
            .default("\"10 µs\""),
            Field::new(
                "sync_cost",
                Kind::Distribution,
                "Time of the synchronous part of a snapshot.",
                ["\"3 ms\"", r#"{"exponential": {"min": "1 ms", "mean": "4 ms"}}"#],
            )
            .default("\"1 ms\""),
        ],
        variants: Some(Variants {
            tag: "kind",
            doc: "What the operator does with a record.",
            list: vec![
                kind("source", "Reads splits; emits each record when it is due.", source()),
                kind(
                    "map",
                    "One record out for each record in.",
                    vec![Field::new(
                        "rekey",
                        Kind::Integer { min: 1, max: U32 },
                        "Size of the new key space; absent: the key is kept.",
                        ["10", "20"],
                    )],
                ),
                kind(
                    "filter",
                    "Lets a share of the records pass.",
                    vec![
                        Field::new(
                            "keep",
                            Kind::Ratio,
                            "The share that passes, exact in thousandths.",
                            ["\"1/4\"", "\"3/4\""],
                        )
                        .default("\"1/2\""),
                    ],
                ),
                kind(
                    "flat_map",
                    "Several records out for each record in.",
                    vec![
                        Field::new(
                            "fanout",
                            Kind::Integer { min: 1, max: 1_000 },
                            "At most so many records out for one in.",
                            ["3", "4"],
                        )
                        .default("2"),
                    ],
                ),
                kind(
                    "keyed_aggregate",
                    "Counts and hashes per key.",
                    vec![state_per_key("Nominal bytes of state for one key; 0: as serialised.")],
                ),
                kind(
                    "join",
                    "Joins inputs 0 and 1 record by record.",
                    vec![state_per_key("Nominal bytes of a record that waits; 0: as serialised.")],
                ),
                kind(
                    "buffer",
                    "Holds records back in even-split list state, and emits them together (Flink: \
                     CheckpointedFunction with a ListState).",
                    vec![
                        Field::new(
                            "threshold",
                            Kind::Integer { min: 1, max: 10_000 },
                            "So many records are emitted together; 1: none is held back.",
                            ["4", "9"],
                        )
                        .default("10"),
                    ],
                ),
                kind(
                    "async",
                    "Asks the outside about each record and emits it when the answer is here; what \
                     waits is state (Flink: AsyncWaitOperator).",
                    vec![
                        Field::new(
                            "capacity",
                            Kind::Integer { min: 1, max: 1_000_000 },
                            "At most so many records of a subtask wait for answers; default as \
                             Flink's: 100.",
                            ["2", "3"],
                        )
                        .default("100"),
                        Field::new(
                            "order",
                            Kind::Choice(vec!["ordered", "unordered"]),
                            "Whether records leave as they came, or as they are answered; none \
                             overtakes a watermark.",
                            ["\"ordered\"", "\"unordered\""],
                        )
                        .default("\"ordered\"")
                        .flink("AsyncDataStream#orderedWait, #unorderedWait"),
                        Field::new(
                            "latency",
                            Kind::Distribution,
                            "Time until a call is answered.",
                            ["\"3 ms\"", r#"{"uniform": ["1 ms", "9 ms"]}"#],
                        )
                        .default("\"10 ms\""),
                    ],
                ),
                kind(
                    "broadcast_join",
                    "Emits each record of input 0 once input 1, a broadcast edge, has brought one \
                     with its key (Flink: BroadcastProcessFunction).",
                    vec![],
                ),
                kind(
                    "window",
                    "Collects by key and window of event time; emits one record for each when the \
                     watermark has passed its end.",
                    vec![
                        Field::new(
                            "size",
                            SOME_SPAN,
                            "How long a window is.",
                            ["\"200 ms\"", "\"300 ms\""],
                        )
                        .default("\"1 s\""),
                        Field::new(
                            "slide",
                            SOME_SPAN,
                            "From the start of one window to that of the next, at most its size; \
                             default: the size, tumbling windows.",
                            ["\"50 ms\"", "\"100 ms\""],
                        ),
                        state_per_key("Nominal bytes of one window of one key; 0: as serialised."),
                    ],
                ),
                kind("idempotent_sink", "Writes by record identity.", vec![]),
                kind(
                    "two_phase_commit_sink",
                    "Writes into a transaction, pre-committed at B3 and committed at N1.",
                    vec![],
                ),
                kind("at_least_once_sink", "Writes at once.", vec![]),
                kind(
                    "sink_writer",
                    "Writes into a transaction, pre-committed ahead of B3; a committer downstream \
                     commits it (Flink: SinkWriter).",
                    vec![],
                ),
                kind(
                    "committer",
                    "Commits at N1 what sink writers have pre-committed (Flink: Committer).",
                    vec![],
                ),
                kind(
                    "write_ahead_sink",
                    "Applies a batch a checkpoint at N1, to a store that takes each batch once \
                     (Flink: GenericWriteAheadSink).",
                    vec![],
                ),
            ],
        }),
    }
}

fn state_per_key(doc: &'static str) -> Field {
    let kind = Kind::Size { min: 0, max: 1 << 50 };
    Field::new("state_per_key", kind, doc, ["\"1 kb\"", "\"1 mb\""]).default("\"0 b\"")
}

fn source() -> Vec<Field> {
    vec![
        Field::new(
            "splits",
            Kind::Integer { min: 1, max: 1 << 16 },
            "Number of splits; default: one a subtask.",
            ["3", "5"],
        ),
        Field::new(
            "records",
            Kind::Integer { min: 0, max: 1 << 50 },
            "Records in each split; absent: unbounded.",
            ["1000", "1500"],
        ),
        Field::new(
            "history",
            Kind::Integer { min: 0, max: 1 << 50 },
            "Records of each split that are there when the job is started (when the split is \
             discovered, if that is later), no more than all: due at once, the others one by one \
             behind them.",
            ["20", "40"],
        )
        .default("0"),
        Field::new(
            "startup_mode",
            Kind::Choice(vec!["earliest_offset", "latest_offset"]),
            "Where a split is begun that no checkpoint knows: at its first record, or behind its \
             history; one that is discovered later at its first record.",
            ["\"earliest_offset\"", "\"latest_offset\""],
        )
        .default("\"earliest_offset\"")
        .flink("scan.startup.mode, OffsetsInitializer"),
        Field::new(
            "every",
            SOME_SPAN,
            "Span between two records of one split; default: 1 ms.",
            ["\"2 ms\"", "\"3 ms\""],
        ),
        Field::new(
            "rate",
            Kind::Rate,
            "Instead of `every`: records of one split in a unit of time.",
            ["\"500/s\"", "\"250/s\""],
        ),
        Field::new(
            "keys",
            Kind::Integer { min: 1, max: U32 },
            "Size of the key space.",
            ["7", "9"],
        )
        .default("100"),
        Field::new(
            "key_run",
            Kind::Integer { min: 1, max: U32 },
            "So many records of a split in a row have the same key, as in sessions.",
            ["5", "30"],
        )
        .default("1"),
        Field::new(
            "record_size",
            Kind::Size { min: 1, max: 1 << 30 },
            "Bytes of one real record.",
            ["\"50 b\"", "\"1 kb\""],
        )
        .default("\"100 b\""),
        Field::new(
            "weight",
            Kind::Integer { min: 1, max: 1_000_000_000 },
            "How many real records a simulated one stands for.",
            ["2", "3"],
        )
        .default("1"),
        Field::new(
            "disorder",
            ANY_SPAN,
            "A record has happened (its event time) up to so long before it is due.",
            ["\"40 ms\"", "\"70 ms\""],
        )
        .default("\"0 s\""),
        Field::new(
            "out_of_orderness",
            ANY_SPAN,
            "By how much a record may be older than one before it in its split without being late; \
             absent: no watermarks.",
            ["\"150 ms\"", "\"80 ms\""],
        )
        .flink("WatermarkStrategy#forBoundedOutOfOrderness"),
        Field::new(
            "watermark_interval",
            ANY_SPAN,
            "Span between two watermarks, zero: one behind each record; default as Flink's \
             `pipeline.auto-watermark-interval`: 200 ms.",
            ["\"20 ms\"", "\"50 ms\""],
        ),
        Field::new(
            "idle_timeout",
            SOME_SPAN,
            "A reader without a record for so long is not waited for by event time; absent: it is.",
            ["\"200 µs\"", "\"500 µs\""],
        )
        .flink("WatermarkStrategy#withIdleness"),
        Field::new(
            "split_discovery",
            ANY_SPAN,
            "Splits come from an enumerator, one to a reader that has none left: span between the \
             discovery of one and the next, which is as much younger; zero: all are there at once; \
             absent: splits are assigned round-robin at the start.",
            ["\"30 ms\"", "\"10 ms\""],
        )
        .flink("SplitEnumerator"),
        Field::new(
            "enumerator_snapshot",
            ANY_SPAN,
            "How long the enumerator's part of a checkpoint takes; default: nothing.",
            ["\"7 ms\"", "\"3 ms\""],
        )
        .flink("OperatorCoordinator#checkpointCoordinator"),
        Field::new(
            "list_mode",
            Kind::Choice(vec!["split", "union"]),
            "How the list of splits is dealt out at a restore: each split to one subtask, or all to \
             each, which keeps its own; a checkpoint fails while some of the subtasks have come to \
             their end and others have not, if it is a union.",
            ["\"split\"", "\"union\""],
        )
        .default("\"split\"")
        .flink("OperatorStateStore#getListState, #getUnionListState"),
    ]
}

fn edge() -> Object {
    Object {
        name: "an edge",
        doc: "A connection between two operators.",
        variants: None,
        fields: vec![
            Field::part("from", Kind::Name, "The sending operator.").required(),
            Field::part("to", Kind::Name, "The receiving operator.").required(),
            Field::new(
                "partitioner",
                Kind::Choice(vec!["forward", "hash", "rebalance", "rescale", "broadcast"]),
                "How records find their subtask; default as Flink's: hash into keyed operators, \
                 forward between equal parallelisms, else rebalance. Input 1 of a broadcast join is a \
                 broadcast edge.",
                ["\"rebalance\"", "\"broadcast\""],
            ),
            Field::new(
                "input",
                Kind::Integer { min: 0, max: 1 },
                "Which input of a join, of either kind, it feeds; default: in the order of the edges.",
                ["0", "1"],
            ),
            Field::new(
                "chained",
                Kind::Boolean,
                "Whether both ends run in one task, and records pass by call: only over a forward edge, \
                 the default then, that is the only output of the one and the only input of the \
                 other, with equal max parallelism. Into a keyed operator it may lead from one that \
                 keeps to the keys. Flink chains whatever it can.",
                ["true", "false"],
            )
            .default("false")
            .flink("StreamingJobGraphGenerator#isChainable"),
            Field::new(
                "feedback",
                Kind::Ratio,
                "It leads back, from the tail of a loop to its head, which is the tail or upstream of \
                 it: the share of what the tail emits that goes round again, exact in thousandths; the \
                 rest leaves on the tail's other edges. It is decided anew in each round, by what the \
                 record is. Absent: it leads on.",
                ["\"1/4\"", "\"3/4\""],
            )
            .flink("IterativeStream#closeWith, until 2.0; Flink ML: Iterations"),
        ],
    }
}
