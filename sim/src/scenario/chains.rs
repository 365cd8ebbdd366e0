//! Which operators can be chained: run in one task, records passing by call.
//!
//! In Flink: `StreamingJobGraphGenerator#isChainable`, `ChainingStrategy`. There whatever can be chained
//! is; here what is to be chained says so.

use cutline::job::{Partitioner, Unchainable};

use super::model::{Edge, Operator, OperatorKind};

/// What keeps the two ends of an edge from running in one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Apart {
    /// They have different numbers of subtasks.
    Parallelism,
    /// The job graph does not allow it.
    Graph(Unchainable),
    /// The receiver makes calls. Deviation: Flink's `AsyncWaitOperatorFactory` is chained to all but
    /// legacy sources, and its thread works off answers in the middle of a record.
    Async,
    /// The receiver keeps state by key, and its records do not come by key.
    NotKeyed,
}

impl Apart {
    /// What is wrong, what would be right, and what Flink does.
    pub(super) fn in_words(
        self,
        from: &Operator,
        to: &Operator,
    ) -> (String, &'static str, &'static str) {
        let (why, expected, flink) = match self {
            Self::Parallelism => (
                format!(
                    "`{}` has {} subtasks, `{}` has {}",
                    from.name, from.parallelism, to.name, to.parallelism
                ),
                "equal parallelism",
                "StreamingJobGraphGenerator#isChainable: only with equal parallelism",
            ),
            Self::Graph(Unchainable::NotForward) => (
                "the edge between them is no forward edge".to_owned(),
                "a forward edge",
                "StreamingJobGraphGenerator#isChainable: only with a ForwardPartitioner",
            ),
            Self::Graph(Unchainable::SeveralInputs) => (
                format!("`{}` has another input", to.name),
                "a receiver with one input",
                "StreamingJobGraphGenerator#isChainable: only with one input edge",
            ),
            Self::Graph(Unchainable::SeveralOutputs) => (
                format!("`{}` has another output; in this version a chain is a line", from.name),
                "a sender with one output",
                "chains all that it can to one sender",
            ),
            Self::Graph(Unchainable::OtherMaxParallelism) => (
                format!(
                    "`{}` has {} key groups, `{}` has {}",
                    from.name, from.max_parallelism, to.name, to.max_parallelism
                ),
                "equal max parallelism",
                "takes them, unless \
                 pipeline.operator-chaining.chain-operators-with-different-max-parallelism is off",
            ),
            Self::Async => (
                format!("`{}` waits for answers; in this version it begins a chain", to.name),
                "a chain that begins with it",
                "AsyncWaitOperatorFactory: chained to all but legacy sources",
            ),
            Self::NotKeyed => (
                format!("`{}` keeps state by key, and records do not come by key", to.name),
                "a hash edge, or a sender behind one that keeps the key of its records",
                "DataStreamUtils#reinterpretAsKeyedStream: supposes it, and does not look",
            ),
        };
        let message = format!("`{}` and `{}` cannot be chained: {why}", from.name, to.name);
        (message, expected, flink)
    }
}

/// What keeps the ends of an edge apart, if anything does.
pub(crate) fn apart(operators: &[Operator], edges: &[Edge], edge: usize) -> Option<Apart> {
    let Edge { from, to, partitioner, .. } = edges[edge];
    let (sender, receiver) = (&operators[from], &operators[to]);
    let ends = edges.iter().map(|edge| (edge.from, edge.to));
    let max_parallelism = (sender.max_parallelism, receiver.max_parallelism);
    if sender.parallelism != receiver.parallelism {
        Some(Apart::Parallelism)
    } else if let Some(why) = Unchainable::of((from, to), partitioner, ends, max_parallelism) {
        Some(Apart::Graph(why))
    } else if matches!(receiver.kind, OperatorKind::Async { .. }) {
        Some(Apart::Async)
    } else if receiver.kind.is_keyed() && !is_keyed_stream(operators, edges, from) {
        Some(Apart::NotKeyed)
    } else {
        None
    }
}

/// Whether each subtask of an operator emits records of its own keys alone: what
/// `DataStreamUtils#reinterpretAsKeyedStream` supposes of a stream that it is given.
pub(crate) fn is_keyed_stream(operators: &[Operator], edges: &[Edge], operator: usize) -> bool {
    let keeps_key = match &operators[operator].kind {
        OperatorKind::Map { rekey } => rekey.is_none(),
        OperatorKind::Filter { .. }
        | OperatorKind::FlatMap { .. }
        | OperatorKind::KeyedAggregate
        | OperatorKind::Join
        | OperatorKind::Window { .. } => true,
        // What is held back is dealt out without regard to keys when the job is rescaled.
        OperatorKind::Buffer { .. } | OperatorKind::Async { .. } | OperatorKind::BroadcastJoin => {
            false
        }
        OperatorKind::Source(_)
        | OperatorKind::IdempotentSink
        | OperatorKind::TwoPhaseCommitSink
        | OperatorKind::SinkWriter
        | OperatorKind::Committer
        | OperatorKind::WriteAheadSink
        | OperatorKind::AtLeastOnceSink => false,
    };
    let keys = |at: usize| operators[at].max_parallelism;
    let mut inputs = edges.iter().filter(|edge| edge.to == operator);
    keeps_key
        && inputs.all(|edge| match edge.partitioner {
            Partitioner::Hash => true,
            Partitioner::Forward => {
                // A chained feedback edge is refused, but not before this is asked.
                edge.chained
                    && edge.leads_on()
                    && keys(edge.from) == keys(edge.to)
                    && is_keyed_stream(operators, edges, edge.from)
            }
            Partitioner::Rebalance | Partitioner::Rescale | Partitioner::Broadcast => false,
        })
}
