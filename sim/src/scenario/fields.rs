//! What the table holds: section by section, in the order of a file.

use cutline::config::OPTIONS;
use cutline::storage::SyncPolicy;
use cutline::time::VirtualDuration;

use super::fields_faults::{action, failures, fault};
use super::fields_job::job;
use super::table::{Field, Kind, Object, Variant, Variants};

/// The format that this version reads and writes.
pub const FORMAT: &str = "cutline-scenario/1";

/// More subtasks than these have no single machine; a 200 × 200 all-to-all has 400.
pub(crate) const PARALLELISM_MAX: u64 = 32_768;
const LISTED_MAX: usize = 2_000;
/// A case lists the failures that were drawn for it.
pub(super) const FAULTS_MAX: usize = 20_000;
pub(super) const U32: u64 = u32::MAX as u64;
const NANOSECOND: VirtualDuration = VirtualDuration::from_nanos(1);
pub(super) const ANY_SPAN: Kind =
    Kind::Duration { min: VirtualDuration::ZERO, max: VirtualDuration::MAX };
pub(super) const SOME_SPAN: Kind = Kind::Duration { min: NANOSECOND, max: VirtualDuration::MAX };

pub(super) fn root() -> Object {
    let section = |name, object: Object| {
        let doc = object.doc;
        Field::part(name, Kind::Object(object), doc)
    };
    Object {
        name: "a scenario",
        doc: "One simulated experiment, without its seed.",
        variants: None,
        fields: vec![
            Field::part("$schema", Kind::Text, "Where an editor finds the JSON Schema; not read."),
            Field::part("format", Kind::Format, "The format and its version.").required(),
            Field::new("title", Kind::Text, "One line for lists and reports.", ["\"a\"", "\"b\""])
                .required(),
            Field::new(
                "why",
                Kind::Text,
                "What the scenario teaches, or what its seed once broke.",
                ["\"a\"", "\"b\""],
            )
            .required(),
            section("job", job()).required(),
            section("checkpointing", checkpointing()),
            section("changelog", changelog()),
            section("restart", restart()),
            section("buffers", buffers()),
            section("cluster", cluster()),
            section("network", network()),
            section("storage", storage()),
            section("ha", ha()),
            section("external", external()),
            Field::part(
                "flink",
                Kind::Flink,
                "Flink's own keys: the options of `checkpointing`, `changelog`, `restart`, \
                 `buffers` and `cluster` under their long names.",
            ),
            Field::part("actions", Kind::List(action(), LISTED_MAX), "What users do."),
            Field::part("faults", Kind::List(fault(), FAULTS_MAX), "Scripted faults."),
            section("failures", failures()),
            section("limits", limits()),
        ],
    }
}

fn options(section: &str, strategy: Option<&str>) -> impl Iterator<Item = Field> {
    let of = move |spec: &&cutline::config::OptionSpec| {
        spec.path.0 == section && spec.strategy == strategy && spec.path != ("restart", "type")
    };
    OPTIONS.iter().filter(of).map(|spec| Field::part(spec.path.1, Kind::Option(spec), spec.doc))
}

/// Who sets the interval.
fn policy() -> Object {
    let kind = |name, doc, fields| Variant { name, doc, fields };
    let formula = || {
        vec![
            Field::new(
                "checkpoint_cost",
                ANY_SPAN,
                "Processing time that one checkpoint takes away.",
                ["\"2 ms\"", "\"8 ms\""],
            )
            .required(),
            Field::new(
                "expected_mtbf",
                SOME_SPAN,
                "Mean up-time between two failures of the whole job.",
                ["\"20 s\"", "\"80 s\""],
            )
            .required(),
            Field::new(
                "shortest",
                SOME_SPAN,
                "The shortest interval that may be chosen.",
                ["\"300 ms\"", "\"500 ms\""],
            )
            .default("\"10 ms\""),
            Field::new(
                "longest",
                SOME_SPAN,
                "The longest interval that may be chosen.",
                ["\"100 ms\"", "\"150 ms\""],
            )
            .default("\"1 d\""),
        ]
    };
    let backlog = vec![
        Field::new(
            "during_backlog",
            ANY_SPAN,
            "The interval meanwhile; zero: no periodic checkpoints. Absent: what \
             `execution.checkpointing.interval-during-backlog` in the `flink` section says.",
            ["\"400 ms\"", "\"0 s\""],
        ),
        Field::new(
            "backlog_until",
            SOME_SPAN,
            "Until when the sources say that they have a backlog.",
            ["\"1 s\"", "\"700 ms\""],
        )
        .required(),
    ];
    Object {
        name: "`policy`",
        doc: "Who sets the interval.",
        fields: vec![],
        variants: Some(Variants {
            tag: "kind",
            doc: "How the interval is chosen.",
            list: vec![
                kind("fixed", "It is `interval`.", vec![]),
                kind(
                    "backlog",
                    "Another one while the sources work off a backlog (Flink: \
                     `execution.checkpointing.interval-during-backlog`).",
                    backlog,
                ),
                kind("young", "Young's `sqrt(2 C M)`.", formula()),
                kind("daly", "Daly's formula of higher order.", formula()),
                kind("exact", "The optimum where failures are exponential.", formula()),
                kind(
                    "measured",
                    "The optimum for the cost and the failures that are measured as the job runs; \
                     cost and up-time are assumed until there is something to go by.",
                    formula(),
                ),
            ],
        }),
    }
}

fn checkpointing() -> Object {
    let mut fields: Vec<Field> = options("checkpointing", None).collect();
    fields.push(Field::new(
        "initial_delay",
        ANY_SPAN,
        "Delay of the first periodic checkpoint; absent: drawn between the minimum pause and the \
         interval, as Flink does.",
        ["\"100 ms\"", "\"200 ms\""],
    ));
    let manual = Object {
        name: "a manual checkpoint",
        doc: "A checkpoint asked for by hand.",
        variants: None,
        fields: vec![
            Field::new("at", ANY_SPAN, "When.", ["\"700 ms\"", "\"800 ms\""]).required(),
            Field::new(
                "kind",
                Kind::Choice(vec!["checkpoint", "full_checkpoint"]),
                "What.",
                ["\"checkpoint\"", "\"full_checkpoint\""],
            )
            .default("\"checkpoint\""),
        ],
    };
    fields.push(Field::part(
        "policy",
        Kind::Object(policy()),
        "Who sets the interval, in the place of the fixed one. No option of Flink's.",
    ));
    fields.push(Field::part(
        "manual",
        Kind::List(manual, LISTED_MAX),
        "Checkpoints asked for by hand.",
    ));
    Object {
        name: "`checkpointing`",
        doc: "Flink's checkpointing options (`execution.checkpointing.*`).",
        variants: None,
        fields,
    }
}

fn changelog() -> Object {
    Object {
        name: "`changelog`",
        doc: "Flink's changelog of keyed state (`state.changelog.*`).",
        variants: None,
        fields: options("changelog", None).collect(),
    }
}

fn restart() -> Object {
    let strategy =
        |name, doc| Variant { name, doc, fields: options("restart", Some(name)).collect() };
    Object {
        name: "`restart`",
        doc: "Flink's restart strategy (`restart-strategy.*`).",
        fields: vec![],
        variants: Some(Variants {
            tag: "type",
            doc: "The strategy.",
            list: vec![
                strategy("disabled", "The first failure fails the job."),
                strategy("fixed_delay", "So many restarts, each after the same delay."),
                strategy("failure_rate", "Restarts unless failures come too fast."),
                strategy("exponential_delay", "Restarts after a growing delay."),
            ],
        }),
    }
}

fn buffers() -> Object {
    Object {
        name: "`buffers`",
        doc: "Flink's network memory options (`taskmanager.network.*`).",
        variants: None,
        fields: options("buffers", None).collect(),
    }
}

fn ha() -> Object {
    let mut object = service("`ha`", "The store of the id counter, the pointers and the leader.");
    object.fields.extend(options("ha", None));
    object
}

fn cluster() -> Object {
    let mut fields = vec![
        Field::new(
            "job_managers",
            Kind::Integer { min: 1, max: 16 },
            "Candidates for the job manager, one a host; of several, one is elected.",
            ["2", "3"],
        )
        .default("1"),
        Field::new(
            "task_managers",
            Kind::Integer { min: 1, max: PARALLELISM_MAX },
            "Task managers, one a host; default: as many as the widest operator needs.",
            ["5", "6"],
        )
        .flink("ResourceManager: waits for slots, then fails the job"),
    ];
    fields.extend(options("cluster", None));
    fields.push(
        Field::new(
            "process_restart",
            Kind::Distribution,
            "Time from the death of a process until a new one runs in its place.",
            ["\"3 s\"", "\"5 s\""],
        )
        .default("\"2 s\""),
    );
    fields.push(
        Field::new(
            "connection_loss",
            Kind::Distribution,
            "Time until survivors notice that the connection to a dead process is broken.",
            ["\"100 ms\"", "\"200 ms\""],
        )
        .default("\"0 ms\""),
    );
    fields.push(
        Field::new(
            "deploy",
            Kind::Distribution,
            "Time from deploying a subtask until it runs, without reading its state.",
            ["\"100 ms\"", "\"200 ms\""],
        )
        .default(r#"{"uniform": ["20 ms", "60 ms"]}"#),
    );
    Object {
        name: "`cluster`",
        doc: "Task managers, slots, failure detection.",
        variants: None,
        fields,
    }
}

fn network() -> Object {
    Object {
        name: "`network`",
        doc: "Links between hosts.",
        variants: None,
        fields: vec![
            Field::new(
                "latency",
                Kind::Distribution,
                "One-way latency of data channels between hosts.",
                ["\"1 ms\"", "\"2 ms\""],
            )
            .default(r#"{"uniform": ["200 µs", "600 µs"]}"#),
            Field::new(
                "bandwidth",
                Kind::Bandwidth,
                "Bytes a second of one link between two hosts.",
                ["\"1 mb/s\"", "\"2 mb/s\""],
            )
            .default("\"1 gb/s\""),
            Field::new(
                "control_latency",
                Kind::Distribution,
                "One-way latency of control messages between processes.",
                ["\"1 ms\"", "\"2 ms\""],
            )
            .default(r#"{"uniform": ["300 µs", "1500 µs"]}"#),
            Field::part("links", Kind::List(link(), LISTED_MAX), "Links that differ."),
        ],
    }
}

fn link() -> Object {
    let end = |name, doc, examples| Field::new(name, Kind::Endpoint, doc, examples).required();
    Object {
        name: "a link",
        doc: "The link between two processes, both ways; what is not given is as for all links.",
        variants: None,
        fields: vec![
            end("from", "One end.", ["\"task_manager[1]\"", "\"task_manager[2]\""]),
            end("to", "The other end.", ["\"task_manager[0]\"", "\"job_manager\""]),
            Field::new(
                "latency",
                Kind::Distribution,
                "One-way latency of data channels.",
                ["\"20 ms\"", "\"30 ms\""],
            ),
            Field::new(
                "bandwidth",
                Kind::Bandwidth,
                "Bytes a second each way.",
                ["\"100 kb/s\"", "\"50 kb/s\""],
            ),
            Field::new(
                "control_latency",
                Kind::Distribution,
                "One-way latency of control messages.",
                ["\"20 ms\"", "\"30 ms\""],
            ),
        ],
    }
}

fn storage() -> Object {
    Object {
        name: "`storage`",
        doc: "The object store that holds checkpoints.",
        variants: None,
        fields: vec![
            Field::new(
                "latency",
                Kind::Distribution,
                "Time of one request without its bytes.",
                ["\"30 ms\"", "\"40 ms\""],
            )
            .default(r#"{"log_normal": {"median": "15 ms", "sigma": "0.4"}}"#),
            Field::new(
                "bandwidth",
                Kind::Bandwidth,
                "Nominal bytes a second of one request.",
                ["\"1 kb/s\"", "\"2 kb/s\""],
            )
            .default("\"100 mb/s\""),
            Field::new(
                "visibility",
                Kind::Distribution,
                "Time until a written object can be read and listed.",
                ["\"50 ms\"", "\"80 ms\""],
            )
            .default("\"0 ms\""),
            Field::new(
                "name_node",
                Kind::Distribution,
                "With `checkpointing.dir` on hdfs: time that the name node takes to answer; it is \
                 asked twice for a write and once for anything else. Absent: 1 to 4 ms.",
                ["\"20 ms\"", "\"40 ms\""],
            ),
            Field::new(
                "requests_per_prefix",
                Kind::Integer { min: 1, max: U32 },
                "With `checkpointing.dir` on s3: requests a second that are answered below one \
                 prefix, such as `shared/`; more are throttled (HTTP 503). Absent: 3500.",
                ["2", "3"],
            ),
            Field::new(
                "part_size",
                Kind::Size { min: 1, max: 1 << 50 },
                "With `checkpointing.dir` on s3: what is larger is uploaded in parts of this size, each \
                 a request; two more, one after the other, begin and end the upload. Parts of a process \
                 that dies meanwhile stay, unseen (Hadoop: `fs.s3a.multipart.size`). Absent: 64 mb.",
                ["\"20 b\"", "\"1 kb\""],
            ),
            Field::new(
                "sync",
                Kind::Choice(SyncPolicy::ALL.map(SyncPolicy::name).to_vec()),
                "Where checkpoints are files: which of them are forced to disk before they count as \
                 written. `metadata`: only those, as Flink does on a file system that does not sync \
                 when a file is closed (`dfs.datanode.synconclose`). What is not forced, a crash of \
                 the storage host may take away (`crash_storage_host`).",
                ["\"metadata\"", "\"never\""],
            )
            .default("\"always\""),
            Field::new(
                "write_back",
                SOME_SPAN,
                "After so long a file is on disk although nobody has forced it there \
                 (`vm.dirty_expire_centisecs`).",
                ["\"1 ms\"", "\"10 min\""],
            )
            .default("\"30 s\""),
            Field::new(
                "attempts",
                Kind::Integer { min: 1, max: 1_000 },
                "How often a client makes a request at most; those of the high-availability store \
                 are as patient (`fs.s3a.retry.limit`, `s3.max-error-retries`).",
                ["1", "2"],
            )
            .default("5"),
            Field::new(
                "backoff",
                SOME_SPAN,
                "A client's wait before its second attempt; it doubles with each \
                 (`fs.s3a.retry.interval`).",
                ["\"30 ms\"", "\"60 ms\""],
            )
            .default("\"100 ms\""),
            Field::new(
                "timeout",
                SOME_SPAN,
                "So long a client waits for an answer (`fs.s3a.connection.timeout`, \
                 `s3.socket-timeout`).",
                ["\"300 ms\"", "\"500 ms\""],
            )
            .default("\"5 s\""),
        ],
    }
}

fn service(name: &'static str, doc: &'static str) -> Object {
    Object {
        name,
        doc,
        variants: None,
        fields: vec![
            Field::new(
                "latency",
                Kind::Distribution,
                "Time from request to answer.",
                ["\"10 ms\"", "\"20 ms\""],
            )
            .default(r#"{"uniform": ["2 ms", "8 ms"]}"#),
        ],
    }
}

fn external() -> Object {
    let mut object = service("`external`", "The transaction system that sinks commit to.");
    object.fields.extend([
        Field::new(
            "transaction_timeout",
            SOME_SPAN,
            "How long a transaction may be open before the system aborts it; absent: for ever \
             (Kafka: `transaction.timeout.ms`).",
            ["\"10 ms\"", "\"250 ms\""],
        ),
        Field::new(
            "commit_retries",
            Kind::Integer { min: 0, max: 1_000_000 },
            "How many times a sink tries a failed commit again, once a second, before it fails \
             (Flink: `sink.committer.retries`).",
            ["0", "3"],
        )
        .default("10"),
    ]);
    object
}

fn limits() -> Object {
    Object {
        name: "`limits`",
        doc: "When a run ends, whatever happens.",
        variants: None,
        fields: vec![
            Field::new(
                "until",
                SOME_SPAN,
                "Virtual time at which an unbounded job is stopped and judged.",
                ["\"5 s\"", "\"6 s\""],
            )
            .default("\"10 min\""),
            Field::new(
                "events",
                Kind::Integer { min: 1, max: 1 << 50 },
                "Kernel events after which a run is given up.",
                ["1000", "2000"],
            )
            .default("50000000"),
            Field::new(
                "settle",
                SOME_SPAN,
                "Virtual time the job has, after the last fault and the last record, to finish.",
                ["\"10 ms\"", "\"20 ms\""],
            )
            .default("\"2 min\""),
        ],
    }
}
