//! Which edges can be feedback edges, and what a job with one cannot have.
//!
//! What lies between the ends of such an edge, and that this is one piece with one entrance, is said by
//! [`cutline::job::Loop`]. What the operators of a loop do matters besides: each emits behind each
//! record, so that a loop in which nothing is under way is empty, and on average it sends less round than
//! it has got, so that it becomes empty.

use cutline::job::{BadFeedback, JobGraphError, Loop, Partitioner};

use crate::engine::graph_of;

use super::diagnostic::{Diagnostic, Sink};
use super::model::{Edge, Operator, OperatorKind, Scenario};
use super::read::Node;

/// What keeps an edge from being a feedback edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// The job graph does not allow it.
    Graph(BadFeedback),
    /// An operator of the loop, by index, may hold back a record, or needs two of them.
    HoldsBack(usize),
    /// So many records, in thousandths, go round for each that has, where at most
    /// [`GROWTH_MAX`] may.
    Grows(u64),
}

/// Of a thousand records that enter a loop, so many may go round once more, on average.
pub(crate) const GROWTH_MAX: u64 = 900;

/// The first feedback edge of a job that cannot be one, by index, and why. Nothing is said of a job that
/// cannot run for another reason.
pub(crate) fn unfit(operators: &[Operator], edges: &[Edge]) -> Option<(usize, Unfit)> {
    let job = match graph_of(operators, edges) {
        Ok(job) => job,
        Err(JobGraphError::BadFeedback { edge, why, .. }) => {
            return Some((edge, Unfit::Graph(why)));
        }
        Err(
            JobGraphError::NoSubtask(_)
            | JobGraphError::TooParallel { .. }
            | JobGraphError::TooManyKeyGroups { .. }
            | JobGraphError::UnknownOperator { .. }
            | JobGraphError::UnevenForward { .. }
            | JobGraphError::Unchainable { .. }
            | JobGraphError::Cycle(_),
        ) => return None,
    };
    job.loops().iter().find_map(|it| {
        let edge = it.edge.0 as usize;
        let within = (0..operators.len()).filter(|at| it.body[*at]);
        let holds_back = within.clone().find(|at| gain(&operators[*at].kind).is_none());
        if let Some(operator) = holds_back {
            return Some((edge, Unfit::HoldsBack(operator)));
        }
        let order = job.topological_order().iter().map(|operator| operator.index());
        let growth = growth(it, operators, edges, order);
        (growth > GROWTH_MAX).then_some((edge, Unfit::Grows(growth)))
    })
}

/// How many records, in thousandths, go round for each that has entered the loop, on average.
fn growth(
    of: &Loop,
    operators: &[Operator],
    edges: &[Edge],
    order: impl Iterator<Item = usize>,
) -> u64 {
    const ONE: u64 = 1_000;
    let mut arriving = vec![0; operators.len()];
    arriving[of.head.index()] = ONE;
    let mut leaving = 0_u64;
    for at in order.filter(|at| of.body[*at]) {
        let gain = gain(&operators[at].kind).unwrap_or(ONE);
        leaving = u64::saturating_mul(arriving[at], gain) / ONE;
        if at == of.tail.index() {
            break;
        }
        for edge in edges.iter().filter(|edge| edge.from == at && of.body[edge.to]) {
            let copies = match edge.partitioner {
                Partitioner::Broadcast => u64::from(operators[edge.to].parallelism),
                Partitioner::Forward
                | Partitioner::Hash
                | Partitioner::Rebalance
                | Partitioner::Rescale => 1,
            };
            arriving[edge.to] += leaving.saturating_mul(copies);
        }
    }
    let again = edges[of.edge.0 as usize].feedback.map_or(0, |it| u64::from(it.again_permille));
    leaving.saturating_mul(again) / ONE
}

/// How many records, in thousandths, an operator emits for each that it gets, on average; `None` if it
/// cannot be part of a loop: it may hold back a record, or meets two.
fn gain(kind: &OperatorKind) -> Option<u64> {
    match kind {
        OperatorKind::Map { .. } | OperatorKind::KeyedAggregate => Some(1_000),
        OperatorKind::Filter { keep_permille } => Some(u64::from(*keep_permille)),
        // Each number of copies up to the fanout is as likely.
        OperatorKind::FlatMap { fanout } => Some(u64::from(*fanout) * 500),
        OperatorKind::Join
        | OperatorKind::Buffer { .. }
        | OperatorKind::Async { .. }
        | OperatorKind::BroadcastJoin
        | OperatorKind::Window { .. }
        | OperatorKind::Source(_)
        | OperatorKind::IdempotentSink
        | OperatorKind::TwoPhaseCommitSink
        | OperatorKind::SinkWriter
        | OperatorKind::Committer
        | OperatorKind::WriteAheadSink
        | OperatorKind::AtLeastOnceSink => None,
    }
}

impl Unfit {
    /// What is wrong, what would be right, and what Flink does.
    pub(super) fn in_words(&self, operators: &[Operator]) -> (String, &'static str, &'static str) {
        let (message, expected, flink) = match self {
            Self::Graph(BadFeedback::NotBack) => (
                "the edge leads to no operator upstream of its sender".to_owned(),
                "the way back, from the tail of a loop to its head",
                "IterativeStream#closeWith: only a stream that stems from the iteration",
            ),
            Self::Graph(BadFeedback::Share) => (
                "the share of records that go round leaves out all, or none".to_owned(),
                "more than 0 and less than 1",
                "IterativeStream#closeWith: of all records, and the loop never ends",
            ),
            Self::Graph(BadFeedback::Partitioner) => (
                "what is in flight on a feedback edge could not be given to other subtasks".to_owned(),
                "hash or rebalance",
                "IterativeStream#closeWith: keeps the partitioner of the stream",
            ),
            Self::Graph(BadFeedback::Chained) => (
                "a feedback edge is chained".to_owned(),
                "not chained",
                "StreamIterationHead and StreamIterationTail: tasks of their own",
            ),
            Self::Graph(BadFeedback::Overlap) => (
                "an operator is part of another loop as well; in this version loops keep apart"
                    .to_owned(),
                "one feedback edge, or loops one behind the other",
                "runs nested iterations in Flink ML alone",
            ),
            Self::Graph(BadFeedback::SideInput) => (
                "records enter the loop elsewhere than at its head, which could not tell then when it \
                 is empty; this version refuses it"
                    .to_owned(),
                "all edges into the loop lead to its head",
                "runs so, and gives the loop up after a while without a record",
            ),
            Self::Graph(BadFeedback::NothingEnters) => (
                "no record comes into the loop".to_owned(),
                "another edge to its head",
                "DataStream#iterate: begins with a stream",
            ),
            Self::HoldsBack(operator) => (
                format!(
                    "`{}` is part of the loop and may hold a record back, or needs two; this version \
                     cannot tell then when the loop is empty",
                    operators[*operator].name
                ),
                "map, filter, flat_map or keyed_aggregate",
                "runs so",
            ),
            Self::Grows(growth) => (
                format!("for 1,000 records that enter the loop, {growth} go round"),
                "at most 900 on average",
                "runs until its memory is full",
            ),
        };
        (message, expected, flink)
    }
}

/// What a job with a feedback edge cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoopRefusal {
    /// An operator of the loop may hold back a record, or needs two of them.
    #[error("the operator {0} may hold a record back, or needs two, and is part of a loop")]
    HoldsBack(String),
    /// Too many go round for it to become empty: so many for 1,000 that enter it.
    #[error("for 1,000 records that enter a loop, {0} go round; at most 900 may")]
    Grows(u64),
    /// Barriers that overtake buffers. Flink refuses them, too, unless they are forced.
    #[error("unaligned checkpoints of a job with a feedback edge")]
    Unaligned,
    /// Several checkpoints at once.
    #[error(
        "concurrent checkpoints of a job with a feedback edge: what goes round is captured for one"
    )]
    Concurrent,
    /// Watermarks, or windows.
    #[error(
        "event time in a job with a feedback edge: a watermark that goes round would never advance"
    )]
    EventTime,
    /// Barrier handlers of the user's own, which capture nothing.
    #[error("barrier handlers of one's own in a job with a feedback edge: they capture nothing")]
    OwnBarriers,
}

/// What a job has, and with its feedback edge cannot; with barrier handlers of the user's own, or
/// without. Whoever reads a scenario and whoever is about to run one asks here.
pub(crate) fn refusals(scenario: &Scenario, own_barriers: bool) -> Vec<LoopRefusal> {
    let job = &scenario.job;
    if !job.has_loop() {
        return Vec::new();
    }
    let unfit = match unfit(&job.operators, &job.edges) {
        Some((_, Unfit::HoldsBack(at))) => {
            Some(LoopRefusal::HoldsBack(job.operators[at].name.clone()))
        }
        Some((_, Unfit::Grows(growth))) => Some(LoopRefusal::Grows(growth)),
        // Said of the job graph.
        Some((_, Unfit::Graph(_))) | None => None,
    };
    let options = &scenario.checkpointing;
    let had = [
        (options.unaligned, LoopRefusal::Unaligned),
        (options.max_concurrent > 1, LoopRefusal::Concurrent),
        (scenario.has_event_time(), LoopRefusal::EventTime),
        (own_barriers, LoopRefusal::OwnBarriers),
    ];
    let had = had.into_iter().filter(|(has, _)| *has).map(|(_, refusal)| refusal);
    unfit.into_iter().chain(had).collect()
}

/// The same of a file, with the places.
pub(super) fn check(root: &Node, scenario: &Scenario, sink: &mut Sink) {
    let empty = Node::default();
    let job = root.object("job").unwrap_or(&empty);
    let feedback = job.list("edges").iter().find_map(|edge| edge.given("feedback"));
    let Some(feedback) = feedback else { return };
    let checkpointing = root.object("checkpointing").unwrap_or(&empty);
    for refusal in refusals(scenario, false) {
        let (place, expected, flink) = match refusal {
            // The edge was refused: see `unfit`.
            LoopRefusal::HoldsBack(_) | LoopRefusal::Grows(_) => continue,
            LoopRefusal::OwnBarriers => unreachable!("a file has no code"),
            LoopRefusal::Unaligned => (
                checkpointing.place("unaligned"),
                "`unaligned` off: what goes round is captured without",
                "StreamingJobGraphGenerator#preValidate: \"Unaligned Checkpoints are currently not \
                 supported for iterative jobs\", unless they are forced, which this version does not do",
            ),
            LoopRefusal::Concurrent => (
                checkpointing.place("max_concurrent"),
                "`max_concurrent` of 1",
                "Flink ML's HeadOperator logs it for several",
            ),
            LoopRefusal::EventTime => {
                let operators = job.list("operators").iter();
                let times = operators.clone().find_map(|node| node.given("out_of_orderness"));
                let window = || operators.clone().find(|node| node.variant == "window");
                let place = times.or_else(|| window().map(|node| node.place("kind")));
                (
                    place.unwrap_or_else(|| job.place("operators")),
                    "no watermarks and no windows",
                    "AbstractStreamOperator: holds the watermarks of an iteration back",
                )
            }
        };
        sink.push(
            Diagnostic::error("feedback", place, refusal.to_string())
                .expected(expected)
                .also(feedback, "the feedback edge")
                .flink(flink),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cutline::task::barrier::BarrierHandler;
    use cutline::time::VirtualDuration;

    use super::LoopRefusal;
    use crate::engine::JobError;
    use crate::run::Simulation;
    use crate::scenario::model::{OperatorKind, Watermarks};
    use crate::scenario::{Override, Scenario, load};

    /// The errors of a job with a loop of two operators, with these changes.
    fn errors(changes: &[&str]) -> String {
        scenario(changes).err().unwrap_or_default()
    }

    /// That job, or its errors.
    fn scenario(changes: &[&str]) -> Result<Scenario, String> {
        let text = r#"{
            "format": "cutline-scenario/1", "title": "a loop", "why": "for a test",
            "job": {
                "operators": [
                    { "name": "source", "kind": "source", "records": 10 },
                    { "name": "head", "kind": "map" },
                    { "name": "tail", "kind": "keyed_aggregate" },
                    { "name": "sink", "kind": "idempotent_sink" }
                ],
                "edges": [
                    { "from": "source", "to": "head" },
                    { "from": "head", "to": "tail" },
                    { "from": "tail", "to": "sink" },
                    { "from": "tail", "to": "head", "feedback": "1/2", "partitioner": "hash" }
                ]
            },
            "checkpointing": { "interval": "100 ms" }
        }"#;
        let changes = changes.iter().map(|change| Override::parse(change).expect("an override"));
        match load(text.as_bytes(), "test", &changes.collect::<Vec<_>>()) {
            Ok(loaded) => Ok(loaded.scenario),
            Err(found) => Err(found.render(false)),
        }
    }

    #[test]
    fn what_a_loop_cannot_have_is_refused() {
        assert_eq!(errors(&[]), "");
        for (change, expected) in [
            ("checkpointing.unaligned=true", "unaligned checkpoints of a job with a feedback edge"),
            ("checkpointing.max_concurrent=2", "captured for one"),
            ("job.operators[source].out_of_orderness=1 s", "event time in a job with a feedback"),
            ("job.edges[3].partitioner=forward", "could not be given to other subtasks"),
            ("job.edges[3].feedback=0", "`feedback` cannot be a number"),
            ("job.edges[3].feedback=19/20", "at most 900 on average"),
            ("job.edges[3].chained=true", "a feedback edge is chained"),
            ("job.edges[3].to=sink", "leads to no operator upstream of its sender"),
            ("job.edges[2].from=head", "the records of `tail` go nowhere"),
            (r#"job.operators[head]={"name": "head", "kind": "buffer"}"#, "may hold a record back"),
        ] {
            let found = errors(&[change]);
            assert!(found.contains(expected), "{change}: {found}");
        }
    }

    /// Nothing but the feedback edge would end the walk back from `tail` along chained edges.
    #[test]
    fn a_cycle_of_chained_edges_is_refused() {
        let found = errors(&["job.edges[1].chained=true", "job.edges[3].chained=true"]);
        assert!(found.contains("a feedback edge is chained"), "{found}");
        let found = errors(&[
            "job.edges[0].partitioner=hash",
            "job.edges[1].chained=true",
            r#"job.edges[3]={"from": "tail", "to": "head", "feedback": "1/2", "chained": true}"#,
        ]);
        assert!(found.contains("a feedback edge is chained"), "{found}");
    }

    /// Who changes a scenario in Rust is told the same as who writes it.
    #[test]
    fn a_simulation_refuses_what_a_file_may_not_have() {
        let run = |change: &dyn Fn(&mut Scenario)| {
            let mut scenario = scenario(&[]).expect("it may have a loop");
            change(&mut scenario);
            Simulation::new(Arc::new(scenario), 0)
        };
        let refused = |change: &dyn Fn(&mut Scenario)| match run(change) {
            Err(JobError::Loop(refusal)) => refusal,
            Err(JobError::Graph(error)) => panic!("{error}"),
            Ok(_) => panic!("it runs"),
        };
        assert_eq!(refused(&|it| it.checkpointing.unaligned = true), LoopRefusal::Unaligned);
        assert_eq!(refused(&|it| it.checkpointing.max_concurrent = 2), LoopRefusal::Concurrent);
        let buffer = |it: &mut Scenario| {
            it.job.operators[1].kind = OperatorKind::Buffer { threshold: 2 };
        };
        assert_eq!(refused(&buffer), LoopRefusal::HoldsBack("head".to_owned()));
        let watermarks = |it: &mut Scenario| {
            let OperatorKind::Source(source) = &mut it.job.operators[0].kind else {
                panic!("a source comes first")
            };
            source.watermarks = Some(Watermarks {
                out_of_orderness: VirtualDuration::ZERO,
                interval: VirtualDuration::ZERO,
                idle_timeout: None,
            });
        };
        assert_eq!(refused(&watermarks), LoopRefusal::EventTime);
        let factory = |_, _| -> Box<dyn BarrierHandler> { panic!("no task is built") };
        let own = run(&|_| {}).expect("it may run").barriers(Arc::new(factory));
        assert_eq!(own.err(), Some(LoopRefusal::OwnBarriers));
    }
}
