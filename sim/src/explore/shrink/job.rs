//! A smaller job: fewer operators, edges and subtasks. A fault that was aimed at what is gone is
//! aimed at what took its place, or goes with it.

use std::collections::BTreeMap;

use cutline::job::Partitioner;
use cutline::operator::StartupMode;
use cutline::time::VirtualDuration;

use super::edit::Edit;
use super::visit;
use crate::scenario::chains::apart;
use crate::scenario::loops::unfit;
use crate::scenario::model::{
    ActionKind, Edge, FaultKind, Job, ListMode, OperatorKind, Scenario, Source,
};

/// Jobs with an operator less.
pub(super) fn operators(scenario: &Scenario) -> Vec<Edit> {
    let mut edits = Vec::new();
    // The last first: whole branches end there.
    for operator in (0..scenario.job.operators.len()).rev() {
        let name = &scenario.job.operators[operator].name;
        if let Some(edited) = without(scenario, operator) {
            edits.push(Edit::new(format!("without {name}"), edited));
        }
        if let Some(edited) = bridged(scenario, operator) {
            edits.push(Edit::new(format!("with {name} bridged"), edited));
        }
    }
    edits
}

/// Jobs with an edge less, and with a simpler one.
pub(super) fn edges(scenario: &Scenario) -> Vec<Edit> {
    let job = &scenario.job;
    let name = |edge: &Edge| {
        format!("{} -> {}", job.operators[edge.from].name, job.operators[edge.to].name)
    };
    let mut edits = Vec::new();
    for (index, edge) in job.edges.iter().enumerate() {
        let mut edges = job.edges.clone();
        edges.remove(index);
        let keep = vec![true; job.operators.len()];
        if let Some(edited) = pruned(scenario, keep, edges) {
            edits.push(Edit::new(format!("without the edge {}", name(edge)), edited));
        }
        if edge.chained {
            let mut edited = scenario.clone();
            edited.job.edges[index].chained = false;
            edits.push(Edit::new(format!("with {} unchained", name(edge)), edited));
        }
        for partitioner in [Partitioner::Forward, Partitioner::Hash] {
            let pointwise_loop = !edge.leads_on() && partitioner == Partitioner::Forward;
            if edge.partitioner != partitioner && !pointwise_loop {
                let mut edited = scenario.clone();
                edited.job.edges[index].partitioner = partitioner;
                edited.job.edges[index].chained &= partitioner == Partitioner::Forward;
                let word = format!("{partitioner:?}").to_lowercase();
                edits.push(Edit::new(format!("with {} as a {word} edge", name(edge)), edited));
            }
        }
    }
    edits
}

/// Jobs in which an operator does less.
pub(super) fn kinds(scenario: &Scenario) -> Vec<Edit> {
    let mut edits = Vec::new();
    for (index, operator) in scenario.job.operators.iter().enumerate() {
        let simpler: &[OperatorKind] = match operator.kind {
            OperatorKind::Join | OperatorKind::Window { .. } => {
                &[OperatorKind::Map { rekey: None }, OperatorKind::KeyedAggregate]
            }
            OperatorKind::Filter { .. }
            | OperatorKind::FlatMap { .. }
            | OperatorKind::KeyedAggregate
            | OperatorKind::Buffer { .. }
            | OperatorKind::Async { .. }
            | OperatorKind::BroadcastJoin
            | OperatorKind::Map { rekey: Some(_) } => &[OperatorKind::Map { rekey: None }],
            OperatorKind::Map { rekey: None }
            | OperatorKind::Source(_)
            | OperatorKind::IdempotentSink
            | OperatorKind::TwoPhaseCommitSink
            | OperatorKind::SinkWriter
            | OperatorKind::Committer
            | OperatorKind::AtLeastOnceSink => &[],
            OperatorKind::WriteAheadSink => &[OperatorKind::TwoPhaseCommitSink],
        };
        for kind in simpler {
            let mut edited = scenario.clone();
            edited.job.operators[index].kind = kind.clone();
            edited.job.operators[index].state_per_key = 0;
            for edge in edited.job.edges.iter_mut().filter(|edge| edge.to == index) {
                edge.input = 0;
            }
            edits.push(Edit::new(format!("with {} doing less", operator.name), edited));
        }
        let Some(source) = operator.kind.as_source() else { continue };
        let mut simpler = |what: &str, simple: Source| {
            let mut edited = scenario.clone();
            edited.job.operators[index].kind = OperatorKind::Source(simple);
            edits.push(Edit::new(format!("with {} without {what}", operator.name), edited));
        };
        if source.discovery.is_some() {
            simpler("an enumerator", Source { discovery: None, ..source.clone() });
        }
        if source.list_mode == ListMode::Union {
            simpler("a union", Source { list_mode: ListMode::Split, ..source.clone() });
        }
        if source.startup_mode == StartupMode::LatestOffset {
            let startup_mode = StartupMode::EarliestOffset;
            simpler("a start position", Source { startup_mode, ..source.clone() });
        }
        if source.history > 0 {
            simpler("a history", Source { history: 0, ..source.clone() });
        }
        if source.key_run > 1 {
            simpler("runs of keys", Source { key_run: 1, ..source.clone() });
        }
        if source.watermarks.is_some() {
            let disorder = VirtualDuration::ZERO;
            simpler("watermarks", Source { watermarks: None, disorder, ..source.clone() });
        }
    }
    edits
}

/// Jobs with fewer subtasks: one of each operator, then fewer of one operator.
pub(super) fn subtasks(scenario: &Scenario) -> Vec<Edit> {
    let operators = &scenario.job.operators;
    let widest = operators.iter().map(|operator| operator.parallelism).max().unwrap_or(1);
    let mut edits = Vec::new();
    for bound in [1, 2] {
        if widest > bound {
            let mut edited = scenario.clone();
            for operator in &mut edited.job.operators {
                operator.parallelism = operator.parallelism.min(bound);
            }
            aim_within(&mut edited);
            edits.push(Edit::new(format!("with {bound} subtasks of each operator"), edited));
        }
    }
    for (index, operator) in operators.iter().enumerate() {
        edits.extend(narrowed(scenario, index, 1));
        edits.extend(narrowed(scenario, index, operator.parallelism.saturating_sub(1)));
    }
    edits
}

/// A job with so many subtasks of an operator, and of those that forward edges tie to it.
pub(super) fn narrowed(scenario: &Scenario, operator: usize, to: u32) -> Option<Edit> {
    let before = scenario.job.operators[operator].parallelism;
    if to == 0 || to >= before {
        return None;
    }
    let mut edited = scenario.clone();
    let mut tied = vec![operator];
    let mut next = 0;
    while let Some(&at) = tied.get(next) {
        next += 1;
        edited.job.operators[at].parallelism = to;
        for edge in scenario.job.edges.iter().filter(|it| it.partitioner == Partitioner::Forward) {
            for (end, other) in [(edge.from, edge.to), (edge.to, edge.from)] {
                if end == at && !tied.contains(&other) {
                    tied.push(other);
                }
            }
        }
    }
    aim_within(&mut edited);
    let name = &scenario.job.operators[operator].name;
    Some(Edit::new(
        match before {
            2 => format!("without {name}[1]"),
            _ => format!("with {to} subtasks of {name}"),
        },
        edited,
    ))
}

/// Clusters with fewer task managers.
pub(super) fn task_managers(scenario: &Scenario) -> Vec<Edit> {
    let widest = scenario.job.operators.iter().map(|operator| operator.parallelism).max();
    let widest = widest.unwrap_or(1);
    let before = scenario.cluster.task_managers;
    let mut edits = Vec::new();
    for (to, slots) in [
        (1, widest),
        (2, widest.div_ceil(2)),
        (widest, 1),
        (before.saturating_sub(1), widest.div_ceil(before.saturating_sub(1).max(1))),
    ] {
        if to > 0 && to < before {
            let mut edited = scenario.clone();
            (edited.cluster.task_managers, edited.cluster.slots) = (to, slots);
            aim_within(&mut edited);
            edits.push(Edit::new(format!("with {to} task managers"), edited));
        }
    }
    edits
}

/// Takes an operator out, with all that gets no records then, or whose records go nowhere.
fn without(scenario: &Scenario, operator: usize) -> Option<Scenario> {
    let mut keep = vec![true; scenario.job.operators.len()];
    keep[operator] = false;
    pruned(scenario, keep, scenario.job.edges.clone())
}

/// Takes an operator out and connects its senders with its receivers.
fn bridged(scenario: &Scenario, operator: usize) -> Option<Scenario> {
    let job = &scenario.job;
    let enters = |edge: &&Edge| edge.to == operator && edge.leads_on();
    let inputs: Vec<&Edge> = job.edges.iter().filter(enters).collect();
    let outputs: Vec<&Edge> = job.edges.iter().filter(|edge| edge.from == operator).collect();
    if inputs.is_empty() || outputs.is_empty() {
        return None;
    }
    let mut edges: Vec<Edge> = Vec::new();
    for edge in &job.edges {
        if edge.to == operator {
            continue;
        }
        if edge.from != operator {
            edges.push(edge.clone());
            continue;
        }
        // A join has one edge for each input.
        let joins = job.operators[edge.to].kind.has_sides();
        for input in inputs.iter().take(if joins { 1 } else { inputs.len() }) {
            edges.push(Edge { from: input.from, ..edge.clone() });
        }
    }
    let mut keep = vec![true; job.operators.len()];
    keep[operator] = false;
    pruned(scenario, keep, edges)
}

/// What is left with these operators and edges, and has a beginning and an end.
fn pruned(scenario: &Scenario, mut keep: Vec<bool>, mut edges: Vec<Edge>) -> Option<Scenario> {
    let operators = &scenario.job.operators;
    loop {
        edges.retain(|edge| keep[edge.from] && keep[edge.to]);
        let idle = (0..operators.len()).find(|&at| {
            let leads_on = || edges.iter().filter(|edge| edge.leads_on());
            let fed = leads_on().any(|edge| edge.to == at);
            let heard = leads_on().any(|edge| edge.from == at);
            let source = matches!(operators[at].kind, OperatorKind::Source(_));
            let sink = operators[at].kind.is_sink();
            keep[at] && ((!source && !fed) || (!sink && !heard))
        });
        match idle {
            Some(idle) => keep[idle] = false,
            None => break,
        }
    }
    if !keep.contains(&true) {
        return None;
    }
    let mut edited = scenario.clone();
    let number: Vec<Option<usize>> = keep
        .iter()
        .scan(0, |next, &kept| {
            let number = kept.then_some(*next);
            *next += usize::from(kept);
            Some(number)
        })
        .collect();
    let numbered = |at: usize| number[at].expect("edges are between operators that are kept");
    let mut kept = keep.iter();
    edited.job.operators.retain(|_| kept.next().copied().unwrap_or(false));
    edited.job.edges = edges
        .into_iter()
        .map(|edge| Edge { from: numbered(edge.from), to: numbered(edge.to), ..edge })
        .collect();
    mend_joins(&mut edited);
    mend_committers(&mut edited);
    mend_forwards(&mut edited);
    mend_chains(&mut edited);
    mend_loops(&mut edited);
    aim_anew(&mut edited, |operator| heir(scenario, &number, operator));
    aim_within(&mut edited);
    Some(edited)
}

/// A join that has lost an input counts what is left.
fn mend_joins(scenario: &mut Scenario) {
    let job = &mut scenario.job;
    for (at, operator) in job.operators.iter_mut().enumerate() {
        if !operator.kind.has_sides() {
            continue;
        }
        let inputs = job.edges.iter_mut().filter(|edge| edge.to == at);
        let mut inputs: Vec<&mut Edge> = inputs.collect();
        if inputs.len() != 2 {
            operator.kind = match operator.kind {
                // What is left may be a broadcast edge.
                OperatorKind::BroadcastJoin => OperatorKind::Map { rekey: None },
                _ => OperatorKind::KeyedAggregate,
            };
            inputs.iter_mut().for_each(|edge| edge.input = 0);
        }
    }
}

/// A committer that has lost a writer writes and commits by itself; what another writer still sends
/// are records then.
fn mend_committers(scenario: &mut Scenario) {
    let job = &mut scenario.job;
    for at in 0..job.operators.len() {
        if job.operators[at].kind != OperatorKind::Committer {
            continue;
        }
        let senders: Vec<usize> =
            job.edges.iter().filter(|edge| edge.to == at).map(|edge| edge.from).collect();
        let writes = |sender: &usize| job.operators[*sender].kind == OperatorKind::SinkWriter;
        if !senders.iter().all(writes) {
            job.operators[at].kind = OperatorKind::TwoPhaseCommitSink;
            for sender in senders {
                if job.operators[sender].kind == OperatorKind::SinkWriter {
                    job.operators[sender].kind = OperatorKind::Map { rekey: None };
                }
            }
        }
    }
}

/// What cannot be forwarded one to one is dealt out.
fn mend_forwards(scenario: &mut Scenario) {
    let parallelism = scenario.parallelism(&[]);
    for edge in &mut scenario.job.edges {
        let even = parallelism[edge.from] == parallelism[edge.to];
        if edge.partitioner == Partitioner::Forward && !even {
            edge.partitioner = Partitioner::Rebalance;
        }
    }
}

/// What cannot be chained any more is not.
fn mend_chains(scenario: &mut Scenario) {
    let Job { operators, edges, .. } = &mut scenario.job;
    while let Some(at) =
        (0..edges.len()).find(|at| edges[*at].chained && apart(operators, edges, *at).is_some())
    {
        edges[at].chained = false;
    }
}

/// What does not lead back any more, or not in a loop that can be, is left out.
fn mend_loops(scenario: &mut Scenario) {
    while let Some((at, _)) = unfit(&scenario.job.operators, &scenario.job.edges) {
        scenario.job.edges.remove(at);
    }
}

/// Who takes the place of an operator: itself, or who got its records, or who sent them.
fn heir(scenario: &Scenario, number: &[Option<usize>], operator: usize) -> Option<usize> {
    let edges = || scenario.job.edges.iter();
    let after = edges().filter(|edge| edge.from == operator).map(|edge| edge.to);
    let before = edges().filter(|edge| edge.to == operator).map(|edge| edge.from);
    std::iter::once(operator).chain(after).chain(before).find_map(|at| number[at])
}

/// Gives the faults and actions the new numbers of operators; those of nobody go.
fn aim_anew(scenario: &mut Scenario, heir: impl Fn(usize) -> Option<usize>) {
    let renumber = |of: Option<(&mut usize, &mut u32)>| {
        of.is_none_or(|(operator, _)| heir(*operator).map(|number| *operator = number).is_some())
    };
    scenario.actions.retain_mut(|action| {
        if let ActionKind::Resume { parallelism, .. } = &mut action.what {
            let numbers = parallelism.iter().filter_map(|(at, number)| Some((heir(*at)?, *number)));
            let numbers: BTreeMap<usize, u32> = numbers.collect();
            *parallelism = numbers.into_iter().collect();
        }
        renumber(visit::anchored(&mut action.at))
    });
    scenario.faults.retain_mut(|fault| {
        renumber(visit::anchored(&mut fault.at)) && renumber(visit::parts(&mut fault.what).victim)
    });
}

/// Aims faults at subtasks and task managers that there are; a link from a place to itself goes.
fn aim_within(scenario: &mut Scenario) {
    let slots = scenario.cluster.task_managers * scenario.cluster.slots;
    for action in &mut scenario.actions {
        if let ActionKind::Resume { parallelism, .. } = &mut action.what {
            parallelism.iter_mut().for_each(|(_, number)| *number = (*number).min(slots));
        }
    }
    let parallelism: Vec<u32> =
        (0..scenario.job.operators.len()).map(|at| scenario.parallelism_max(at)).collect();
    let within = |of: Option<(&mut usize, &mut u32)>| {
        if let Some((operator, index)) = of {
            *index %= parallelism[*operator];
        }
    };
    for action in &mut scenario.actions {
        within(visit::anchored(&mut action.at));
    }
    let task_managers = scenario.cluster.task_managers;
    scenario.faults.retain_mut(|fault| {
        within(visit::anchored(&mut fault.at));
        let parts = visit::parts(&mut fault.what);
        within(parts.victim);
        for number in parts.task_managers {
            *number %= task_managers;
        }
        match fault.what {
            FaultKind::SlowLink(from, to, ..)
            | FaultKind::CutLink(from, to, ..)
            | FaultKind::LoseMessages(from, to, ..)
            | FaultKind::RepeatMessages(from, to, ..) => from != to,
            FaultKind::CrashTask(..)
            | FaultKind::CrashTaskManager(_)
            | FaultKind::CrashJobManager
            | FaultKind::PauseTask(..)
            | FaultKind::PauseTaskManager(..)
            | FaultKind::PauseJobManager(_)
            | FaultKind::Reorder(..)
            | FaultKind::SlowStorage(..)
            | FaultKind::FailStorage(..)
            | FaultKind::DisturbStorage(..)
            | FaultKind::DamageObject(_)
            | FaultKind::SlowExternal(..)
            | FaultKind::FailExternal(..)
            | FaultKind::AmbiguousExternal(..)
            | FaultKind::CutExternal(..)
            | FaultKind::CutHa(..)
            | FaultKind::CutStorage(..)
            | FaultKind::DriftClock(..)
            | FaultKind::StepClock(..)
            | FaultKind::CrashStorageHost(_) => true,
        }
    });
}
