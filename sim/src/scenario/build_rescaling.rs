//! Jobs that are resumed with another parallelism: what fits the job, and what Flink refuses.

use cutline::defect::Defects;
use cutline::job::Partitioner;

use super::build_faults::Known;
use super::build_job::{CHANNELS_MAX, channels};
use super::diagnostic::{Diagnostic, Sink};
use super::model::{Action, ActionKind, OperatorKind, Scenario, SnapshotSource, Spread};
use super::read::{Counted, Datum, Node};

/// The numbers of subtasks that a resumed job has, by the index of the operator, ascending.
pub(super) fn parallelism(
    node: &Node,
    scenario: &Scenario,
    known: Known,
    sink: &mut Sink,
) -> Vec<(usize, u32)> {
    let Some(Datum::ByOperator(counted)) = node.datum("parallelism") else { return Vec::new() };
    if !known.graph {
        return Vec::new();
    }
    let mut numbers: Vec<(usize, u32)> =
        counted.iter().filter_map(|counted| number(counted, scenario, known, sink)).collect();
    numbers.sort_unstable();
    numbers
}

fn number(
    counted: &Counted,
    scenario: &Scenario,
    known: Known,
    sink: &mut Sink,
) -> Option<(usize, u32)> {
    let Counted { operator: name, span, number_span, .. } = counted;
    let operators = &scenario.job.operators;
    let Some(at) = operators.iter().position(|operator| operator.name == *name) else {
        let names: Vec<&str> = operators.iter().map(|it| it.name.as_str()).collect();
        let message = format!("no operator is called `{name}`");
        let error = Diagnostic::error("unknown-operator", *span, message);
        sink.push(error.expected("an operator of this job").nearest(name, names));
        return None;
    };
    let number = u32::try_from(counted.number).expect("the table's range is 32-bit");
    let max = operators[at].max_parallelism;
    if number > max {
        let message = format!("`{name}` has {max} key groups, too few for {number} subtasks");
        sink.push(
            Diagnostic::error("too-parallel", *number_span, message)
                .expected(format!("at most {max}; key groups are those of the restored state"))
                .flink(
                    "StateAssignmentOperation: \"The state for task … can not be restored. The \
                     maximum parallelism of the restored state … is lower than the configured \
                     parallelism …\"",
                ),
        );
        return None;
    }
    let cluster = &scenario.cluster;
    let slots = u64::from(cluster.task_managers) * u64::from(cluster.slots);
    if known.rest && u64::from(number) > slots {
        let message = format!("the cluster has {slots} slots, too few for {number} of `{name}`");
        sink.push(
            Diagnostic::error("too-few-slots", *number_span, message)
                .expected(format!("at most {slots}, or more task managers"))
                .flink("ResourceManager: waits for slots in vain, then fails the job"),
        );
        return None;
    }
    Some((at, number))
}

/// The most subtasks that any action asks for, before anything of it was looked at.
pub(super) fn widest(actions: &[Node]) -> u32 {
    let counted = actions.iter().filter_map(|node| match node.datum("parallelism") {
        Some(Datum::ByOperator(counted)) => Some(counted),
        _ => None,
    });
    let most = counted.flatten().map(|counted| counted.number).max().unwrap_or(0);
    u32::try_from(most).expect("the table's range is 32-bit")
}

/// Refuses jobs that cannot run, or not from what they are resumed from.
pub(super) fn check(nodes: &[Node], actions: &[Action], scenario: &Scenario, sink: &mut Sink) {
    let Some(resumes) = resumes(nodes, actions, scenario) else { return };
    // Jobs that differ in their chains or their logs alone have channels of their own, too.
    let mut layouts = vec![scenario.spread(&[], None, None)];
    for (node, Resume { layout, from, .. }) in resumes {
        let mut checker = Checker { scenario, node, sink };
        if layout.parallelism != layouts[0].parallelism {
            checker.check_job(&layouts[0].parallelism, &layout.parallelism);
        }
        if from == SnapshotSource::Checkpoint && scenario.checkpointing.unaligned {
            checker.check_in_flight(&layouts, &layout.parallelism);
        }
        if !layouts.contains(&layout) {
            layouts.push(layout);
        }
    }
    let edges = &scenario.job.edges;
    let all: u64 = layouts.iter().map(|layout| channels(edges, &layout.parallelism)).sum();
    let given = |node: &Node| {
        let field = ["parallelism", "operator_chaining", "changelog"].into_iter();
        field.filter(|field| node.given(field).is_some()).map(|field| node.place(field)).next()
    };
    if all > CHANNELS_MAX
        && let Some(place) = nodes.iter().find_map(given)
    {
        let message = format!("all jobs together have {all} channels");
        let error = Diagnostic::error("too-large", place, message);
        sink.push(error.expected(format!("at most {CHANNELS_MAX}")));
    }
}

/// A new job that a user starts.
pub(super) struct Resume {
    /// How it is spread.
    pub(super) layout: Spread,
    pub(super) from: SnapshotSource,
    pub(super) claims: bool,
}

/// The new jobs that users start, each with its place in the file; `None` if one was refused: which is
/// the other's place is not known then.
pub(super) fn resumes<'n>(
    nodes: &'n [Node],
    actions: &[Action],
    scenario: &Scenario,
) -> Option<Vec<(&'n Node, Resume)>> {
    let places = nodes.iter().filter(|node| node.variant == "resume");
    let resumes = actions.iter().filter_map(|action| match &action.what {
        ActionKind::Resume { from, claims, parallelism, operator_chaining, changelog } => {
            let layout = scenario.spread(parallelism, *operator_chaining, *changelog);
            Some(Resume { layout, from: *from, claims: *claims })
        }
        ActionKind::Savepoint
        | ActionKind::StopWithSavepoint { .. }
        | ActionKind::Cancel
        | ActionKind::CleanOrphans => None,
    });
    let resumes: Vec<_> = resumes.collect();
    (places.clone().count() == resumes.len()).then(|| places.zip(resumes).collect())
}

/// Whether an operator may get another number of subtasks.
pub(super) fn can_be_rescaled(kind: &OperatorKind) -> bool {
    match kind {
        OperatorKind::SinkWriter | OperatorKind::Committer | OperatorKind::WriteAheadSink => false,
        OperatorKind::Source(_)
        | OperatorKind::Map { .. }
        | OperatorKind::Filter { .. }
        | OperatorKind::FlatMap { .. }
        | OperatorKind::KeyedAggregate
        | OperatorKind::Join
        | OperatorKind::Buffer { .. }
        | OperatorKind::Async { .. }
        | OperatorKind::BroadcastJoin
        | OperatorKind::Window { .. }
        | OperatorKind::IdempotentSink
        | OperatorKind::TwoPhaseCommitSink
        | OperatorKind::AtLeastOnceSink => true,
    }
}

/// Whether the copies that the subtasks of an operator get by a broadcast edge are one thing to it,
/// of which each has one, however many there are.
pub(super) fn keeps_copies(kind: &OperatorKind) -> bool {
    *kind == OperatorKind::BroadcastJoin
}

struct Checker<'a> {
    scenario: &'a Scenario,
    node: &'a Node,
    sink: &'a mut Sink,
}

impl Checker<'_> {
    fn refuse(&mut self, code: &'static str, message: String, expected: &str, flink: &str) {
        let error = Diagnostic::error(code, self.node.place("parallelism"), message);
        self.sink.push(error.expected(expected).flink(flink));
    }

    fn check_job(&mut self, first: &[u32], layout: &[u32]) {
        let job = &self.scenario.job;
        for (at, operator) in job.operators.iter().enumerate() {
            if layout[at] != first[at] && !can_be_rescaled(&operator.kind) {
                let message = format!(
                    "`{}` keeps what it has open outside under the number of its subtask; this \
                     version does not rescale it",
                    operator.name
                );
                self.refuse(
                    "not-modelled",
                    message,
                    "the parallelism that `job` gives it",
                    "runs so",
                );
            }
        }
        for edge in &job.edges {
            let (from, to) = (&job.operators[edge.from], &job.operators[edge.to]);
            let (senders, receivers) = (layout[edge.from], layout[edge.to]);
            if edge.partitioner == Partitioner::Forward && senders != receivers {
                let message = format!(
                    "forward needs equal parallelism; `{}` would have {senders}, `{}` {receivers}",
                    from.name, to.name
                );
                let flink = "StreamGraph#addEdge: refuses such a job";
                self.refuse("uneven-forward", message, "both, or neither", flink);
            }
            let copies = edge.partitioner == Partitioner::Broadcast && !keeps_copies(&to.kind);
            if copies && receivers != first[edge.to] {
                let message = format!(
                    "`{}` gets a copy of each record at every subtask, and copies are told apart by \
                     the subtask; this version keeps their number",
                    to.name
                );
                let expected = "the parallelism that `job` gives it";
                self.refuse("not-modelled", message, expected, "runs so");
            }
        }
    }

    /// Only hash and rebalance edges can be restored with what was in flight on them; on others
    /// nothing is, unless it is forced to be.
    fn check_in_flight(&mut self, before: &[Spread], layout: &[u32]) {
        let job = &self.scenario.job;
        let aligned = self.scenario.aligned_operators(Defects::none());
        let stays = |at: usize| before.iter().all(|it| it.parallelism[at] == layout[at]);
        for edge in &job.edges {
            let pointwise = match edge.partitioner {
                Partitioner::Forward => "forward",
                Partitioner::Rescale => "rescale",
                Partitioner::Broadcast => "broadcast",
                Partitioner::Hash | Partitioner::Rebalance => continue,
            };
            if aligned[edge.to] || stays(edge.from) && stays(edge.to) {
                continue;
            }
            let message = format!(
                "a {pointwise} edge, from `{}` to `{}`, cannot be rescaled with what was in flight on \
                 it",
                job.operators[edge.from].name, job.operators[edge.to].name
            );
            let expected = "`\"from\": \"savepoint\"` (savepoints are aligned), checkpoints that are \
                            aligned, no `unaligned_forced`, or hash and rebalance edges";
            let flink = "StateAssignmentOperation: \"Cannot rescale the given pointwise \
                         partitioner\"; it takes aligned checkpoints over such edges";
            self.refuse("unsupported-rescale", message, expected, flink);
        }
    }
}
