//! What users do: savepoints, ends of the job, and new jobs from what it left, with the same or
//! another parallelism.

use cutline::config::Retention;
use cutline::defect::Defects;
use cutline::job::Partitioner;
use cutline::time::{VirtualDuration, VirtualTime};

use super::faults::{anchor, steps};
use super::{Draws, Options, moves_in_flight, permille_chance, weighted};
use crate::kernel::stream::Stream;
use crate::scenario::build_rescaling::{can_be_rescaled, keeps_copies};
use crate::scenario::model::{Action, ActionKind, Scenario, SnapshotSource, When};

pub(super) fn draw(
    options: &Options,
    scenario: &Scenario,
    span: VirtualDuration,
    draws: &Draws,
) -> Vec<Action> {
    let mut actions = jobs(options, scenario, span, draws);
    let mut stream = draws.of("orphans", "");
    if options.actions && permille_chance(&mut stream, 150) {
        for _ in 0..stream.between(1, 2) {
            let at = When::Time(VirtualTime(stream.between(span.0 / 8, span.0)));
            actions.push(Action { at, what: ActionKind::CleanOrphans });
        }
    }
    actions
}

/// Several jobs, one after the other.
fn jobs(
    options: &Options,
    scenario: &Scenario,
    span: VirtualDuration,
    draws: &Draws,
) -> Vec<Action> {
    let mut stream = draws.of("actions", "");
    let moves = moves_in_flight(options, draws);
    let some = permille_chance(&mut stream, 250) || moves;
    if !options.actions || options.exactly_once_output || !some {
        return Vec::new();
    }
    let jobs = weighted(&mut stream, &[2, 5, 3]).max(usize::from(moves));
    let parts = jobs as u64 + 1;
    let mut writer = Writer { scenario, span, parts, moves, actions: Vec::new() };
    for job in 0..jobs as u64 {
        writer.job(job, &mut draws.of("action", &job.to_string()));
    }
    writer.last(&mut draws.of("last action", ""));
    let mut actions = writer.actions;
    spread(scenario, &mut actions, options, draws);
    chain_anew(scenario, &mut actions, draws);
    actions
}

/// Some new jobs have other chains than the one before, or none.
fn chain_anew(scenario: &Scenario, actions: &mut [Action], draws: &Draws) {
    if !scenario.job.edges.iter().any(|edge| edge.chained) {
        return;
    }
    for (number, action) in (0_u32..).zip(actions) {
        let ActionKind::Resume { operator_chaining, .. } = &mut action.what else { continue };
        let mut stream = draws.of("chains anew", &number.to_string());
        if permille_chance(&mut stream, 500) {
            *operator_chaining = Some(permille_chance(&mut stream, 300));
        }
    }
}

struct Writer<'a> {
    scenario: &'a Scenario,
    span: VirtualDuration,
    /// Jobs that share the span.
    parts: u64,
    /// New jobs begin where unaligned checkpoints left the ones before.
    moves: bool,
    actions: Vec<Action>,
}

impl Writer<'_> {
    /// One job of several: what happens in it, its end, and the start of the next one.
    fn job(&mut self, number: u64, stream: &mut Stream) {
        let saves = permille_chance(stream, 400) && !self.moves;
        if saves {
            self.add(number, ActionKind::Savepoint, stream);
        }
        let stops = permille_chance(stream, 500) && !self.moves;
        let end = match stops {
            true => ActionKind::StopWithSavepoint { drain: false },
            false => ActionKind::Cancel,
        };
        self.add(number, end, stream);
        let retains = self.scenario.checkpointing.retention == Retention::RetainOnCancellation;
        let from = match !stops && (retains || !saves) {
            true => SnapshotSource::Checkpoint,
            false => SnapshotSource::Savepoint,
        };
        let claims = permille_chance(stream, 500);
        let what = ActionKind::Resume {
            from,
            claims,
            parallelism: Vec::new(),
            operator_chaining: None,
            changelog: None,
        };
        // It waits for the end of the last one.
        let at = When::Time(self.time(number, stream));
        self.actions.push(Action { at, what });
    }

    /// What happens in the last job.
    fn last(&mut self, stream: &mut Stream) {
        let number = self.parts - 1;
        match weighted(stream, &[4, 3, 2, 1]) {
            0 => {}
            // A job of which savepoints are taken has fewer edges that barriers overtake on.
            1 | 2 if self.moves => {}
            1 => self.add(number, ActionKind::Savepoint, stream),
            // A drained job is not resumed.
            2 if self.parts == 1 => {
                self.add(number, ActionKind::StopWithSavepoint { drain: true }, stream);
            }
            2 => self.add(number, ActionKind::StopWithSavepoint { drain: false }, stream),
            _ => self.add(number, ActionKind::Cancel, stream),
        }
    }

    fn add(&mut self, job: u64, what: ActionKind, stream: &mut Stream) {
        let steps = steps(self.scenario);
        let at = match stream.choice(&steps) {
            Some(step) if stream.below(4) == 0 => When::Step(anchor(self.scenario, *step, stream)),
            _ => When::Time(self.time(job, stream)),
        };
        self.actions.push(Action { at, what });
    }

    /// A time in a job's share of the span.
    fn time(&self, job: u64, stream: &mut Stream) -> VirtualTime {
        let share = self.span.0 / self.parts;
        VirtualTime(share * job + stream.between(share / 8, share))
    }
}

/// Gives new jobs another parallelism, where that can be.
fn spread(scenario: &Scenario, actions: &mut [Action], options: &Options, draws: &Draws) {
    let moves = moves_in_flight(options, draws);
    let from_checkpoint = actions.iter().any(|action| {
        matches!(action.what, ActionKind::Resume { from: SnapshotSource::Checkpoint, .. })
    });
    let in_flight = from_checkpoint && scenario.checkpointing.unaligned;
    let slots = scenario.cluster.task_managers * scenario.cluster.slots;
    let groups = groups(scenario);
    for (number, action) in (0_u32..).zip(actions) {
        let ActionKind::Resume { parallelism, .. } = &mut action.what else { continue };
        let mut stream = draws.of("rescaling", &number.to_string());
        if !permille_chance(&mut stream, 700) && !moves {
            continue;
        }
        for group in &groups {
            let changes = permille_chance(&mut stream, 600);
            let keys = group.iter().map(|at| scenario.job.operators[*at].max_parallelism).min();
            let most = slots.min(keys.unwrap_or(1)).min(options.parallelism_max + 2);
            let drawn = stream.between(1, u64::from(most)) as u32;
            if changes && can_change(scenario, group, in_flight) {
                parallelism.extend(group.iter().map(|at| (*at, drawn)));
            }
        }
        parallelism.retain(|(at, drawn)| scenario.job.operators[*at].parallelism != *drawn);
        parallelism.sort_unstable();
    }
}

/// Operators that must have the same parallelism, since forward edges join them.
fn groups(scenario: &Scenario) -> Vec<Vec<usize>> {
    let mut group_of: Vec<usize> = (0..scenario.job.operators.len()).collect();
    for edge in &scenario.job.edges {
        if edge.partitioner == Partitioner::Forward {
            let (one, other) = (group_of[edge.from], group_of[edge.to]);
            group_of.iter_mut().filter(|of| **of == other).for_each(|of| *of = one);
        }
    }
    let members = |group: usize| {
        let all = group_of.iter().enumerate().filter(move |(_, of)| **of == group);
        all.map(|(at, _)| at).collect::<Vec<_>>()
    };
    let groups = (0..group_of.len()).map(members);
    groups.filter(|group| !group.is_empty()).collect()
}

fn can_change(scenario: &Scenario, group: &[usize], in_flight: bool) -> bool {
    let operators = &scenario.job.operators;
    if !group.iter().all(|at| can_be_rescaled(&operators[*at].kind)) {
        return false;
    }
    let aligned = scenario.aligned_operators(Defects::none());
    scenario.job.edges.iter().all(|edge| {
        let (from, to) = (group.contains(&edge.from), group.contains(&edge.to));
        let in_flight = in_flight && !aligned[edge.to];
        match edge.partitioner {
            Partitioner::Hash | Partitioner::Rebalance => true,
            Partitioner::Forward | Partitioner::Rescale => !in_flight || !from && !to,
            Partitioner::Broadcast => {
                let copies = to && !keeps_copies(&operators[edge.to].kind);
                !copies && (!in_flight || !from && !to)
            }
        }
    })
}
