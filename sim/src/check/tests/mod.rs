//! Every check fires on what it is for, with the right class first, and on nothing else.

use cutline::ids::{ChannelId, CheckpointId, OperatorId, SubtaskId};
use cutline::message::{Alignment, FailureReason, SnapshotKind};
use cutline::operator::Fingerprint;
use cutline::time::{VirtualDuration, VirtualTime};

use super::testing::{AGGREGATE, BACK, LAST, Options, RECORDS, SINK, World};
use super::*;
use crate::observe::{FileId, JobEnd, TaskState, Transaction};

mod channels;
mod control;
mod outside;

struct Row {
    name: &'static str,
    options: fn(&mut Options),
    script: fn(&mut World),
    /// Check and class of the first violation.
    found: Option<(&'static str, Class)>,
}

fn row(name: &'static str, script: fn(&mut World)) -> Row {
    Row { name, options: |_| {}, script, found: None }
}

impl Row {
    fn with(self, options: fn(&mut Options)) -> Self {
        Self { options, ..self }
    }

    fn finds(self, check: &'static str, class: Class) -> Self {
        Self { found: Some((check, class)), ..self }
    }
}

fn judge(rows: Vec<Row>) {
    for row in rows {
        let mut world = World::new(row.options);
        (row.script)(&mut world);
        world.finish(Ending::TimeUp);
        let found = world.checks.violations();
        let first = found.first().map(|violation| (violation.check, violation.class));
        assert_eq!(first, row.found, "{}: {found:#?}", row.name);
    }
}

fn idempotent(options: &mut Options) {
    options.sink = Role::IdempotentSink;
}

fn at_least_once_sink(options: &mut Options) {
    options.sink = Role::AtLeastOnceSink;
}

fn unaligned(options: &mut Options) {
    options.alignment = Alignment::Unaligned;
}

fn at_least_once(options: &mut Options) {
    options.alignment = Alignment::AtLeastOnce;
    options.config.checkpointing.exactly_once = false;
}

/// The tasks' part of an unaligned checkpoint: the first barrier cuts at once.
fn overtake(world: &mut World, checkpoint: CheckpointId) {
    for (subtask, inputs) in [(AGGREGATE, &[0, 1][..]), (SINK, &[LAST][..])] {
        world.see(Observation::BarrierReceived { channel: ChannelId(inputs[0]), checkpoint });
        world.cut(subtask, checkpoint);
        inputs.iter().for_each(|&channel| world.persist(channel, checkpoint));
    }
}

fn settle_unaligned(world: &mut World, id: u64) -> CheckpointId {
    let checkpoint = world.begin(id);
    overtake(world, checkpoint);
    world.acknowledge(checkpoint);
    world.decide(checkpoint);
    world.subsume(checkpoint);
    world.complete(checkpoint);
    checkpoint
}

fn warm_up(world: &mut World) {
    world.emit(0, 3);
    world.emit(1, 2);
    world.drain();
}

fn transaction(checkpoint: u64) -> Transaction {
    Transaction { operator: OperatorId(2), subtask: 0, checkpoint: CheckpointId(checkpoint) }
}

#[test]
fn clean_runs_are_clean() {
    judge(vec![
        row("no checkpoint", warm_up),
        row("to the end", |world| {
            warm_up(world);
            world.checkpoint(1);
            world.run_out(2);
        }),
        row("idempotent, with a crash", |world| {
            warm_up(world);
            let first = world.checkpoint(1);
            warm_up(world);
            world.crash();
            world.deploy(Some(first));
            world.run_out(2);
        })
        .with(idempotent),
        row("appending, with a crash", |world| {
            warm_up(world);
            let first = world.checkpoint(1);
            warm_up(world);
            world.crash();
            world.deploy(Some(first));
            world.run_out(2);
        })
        .with(at_least_once_sink),
        row("crash before the first checkpoint", |world| {
            warm_up(world);
            world.crash();
            world.deploy(None);
            world.run_out(1);
        }),
        row("crash between decision and commit", |world| {
            warm_up(world);
            let first = world.begin(1);
            world.align(first);
            world.acknowledge(first);
            world.decide(first);
            world.crash();
            world.deploy(Some(first));
            world.subsume(first);
            world.run_out(2);
        }),
        row("an aborted checkpoint rolls nothing back", |world| {
            warm_up(world);
            let first = world.begin(1);
            world.align(first);
            world.fail(first, FailureReason::CheckpointDeclinedTaskNotReady);
            warm_up(world);
            world.run_out(2);
        }),
        row("unaligned with a restore of in-flight data", |world| {
            warm_up(world);
            world.emit(0, 2);
            world.emit(1, 1);
            world.take(0);
            let first = settle_unaligned(world, 1);
            world.crash();
            world.deploy(Some(first));
            world.drain();
        })
        .with(unaligned),
        row("at least once counts more", |world| {
            warm_up(world);
            let first = world.begin(1);
            world.drain();
            world.take(0);
            world.emit(0, 1);
            world.take(0);
            world.take(1);
            world.cut(AGGREGATE, first);
            world.drain();
            world.take(LAST);
            world.cut(SINK, first);
            world.acknowledge(first);
            world.decide(first);
        })
        .with(at_least_once),
        row("an engine without an oracle", |world| {
            world.store.mute = true;
            warm_up(world);
            world.checkpoint(1);
            world.run_out(2);
        }),
    ]);
}

#[test]
fn a_stuck_job_says_who_waits_for_whom() {
    let mut world = World::new(|_| {});
    world.emit(1, 1);
    let first = world.begin(1);
    world.take(0);
    world.see(Observation::Blocked { channel: ChannelId(0) });
    world.see(Observation::Acknowledged { subtask: SubtaskId(0), checkpoint: first });
    world.task(SINK, TaskState::Deploying);
    world.finish(Ending::Quiescent);
    assert_eq!(
        world.checks.violations()[0].message,
        "nothing is under way any more, but the job has not ended; not running: sink[0] \
         (Deploying); chk-1, pending since 0.12 ms, waits for: source[1], count[0], sink[0]; \
         blocked: source[0]->count[0]; with records that nobody takes: source[1]->count[0]"
    );
}

#[test]
fn a_state_that_differs_is_explained() {
    let mut world = World::new(|_| {});
    world.emit(0, 3);
    let first = world.begin(1);
    world.align(first);
    world.forget_part(first, OperatorId(1));
    world.acknowledge(first);
    world.decide(first);
    let message = &world.checks.violations()[0].message;
    assert!(message.contains("key 0 of split-0.0: 0 instead of"), "{message}");
}

#[test]
fn what_judged_nothing_is_vacuous_and_what_cannot_be_asked_is_not_applicable() {
    let outcomes = |world: &World| {
        let findings = world.checks.findings();
        findings.into_iter().map(|it| (it.check, it.outcome)).collect::<Vec<_>>()
    };
    use Outcome::{NotApplicable, Passed, Vacuous};
    let idle = World::new(|_| {});
    let expected = [
        ("cut", Vacuous),
        ("order", Passed),
        ("state", Vacuous),
        ("output", Vacuous),
        ("restore", NotApplicable),
        ("storage", NotApplicable),
        ("policy", Vacuous),
        ("liveness", Passed),
    ];
    assert_eq!(outcomes(&idle), expected);
    let mut busy = World::new(|_| {});
    busy.checkpoint(1);
    busy.run_out(2);
    assert!(outcomes(&busy).iter().all(|(_, outcome)| *outcome == Passed), "{:?}", outcomes(&busy));
    assert_eq!(busy.checks.verdict(), Verdict::Ok);
}

#[test]
fn situations_and_statistics_count() {
    let mut world = World::new(|_| {});
    warm_up(&mut world);
    let first = world.begin(1);
    world.align(first);
    world.acknowledge(first);
    world.decide(first);
    world.crash();
    world.deploy(Some(first));
    world.run_out(2);
    let seen: Vec<_> =
        world.checks.situations().into_iter().filter(|(_, count)| *count > 0).collect();
    let expected = [
        ("crash between the decision and its notification", 1),
        ("restore from a checkpoint", 1),
        ("final checkpoint", 4),
        ("commit after recovery", 1),
    ];
    assert_eq!(seen, expected);
    let statistics = world.checks.statistics();
    assert_eq!((statistics.checkpoints.triggered, statistics.checkpoints.completed), (2, 1));
    assert_eq!((statistics.restarts, statistics.restores), (1, 1));
    assert_eq!((statistics.records.emitted, statistics.records.committed), (20, 20));
    assert!(statistics.end_to_end.mean() > VirtualDuration::ZERO);
}

#[test]
fn users_bring_their_own() {
    struct NoSecondBarrier(u64);
    impl Check for NoSecondBarrier {
        fn name(&self) -> &'static str {
            "no barrier at all"
        }
        fn observe(&mut self, now: VirtualTime, observation: &Observation, report: &mut Report) {
            if let Observation::BarrierSent { channel, .. } = *observation {
                self.0 += 1;
                let what = (self.name(), Class::Policy, "a barrier");
                report.add(what, now, Subject::channel(channel), || "one was sent".to_owned());
            }
        }
        fn finish(&mut self, _now: VirtualTime, _report: &mut Report) {}
        fn judged(&self) -> u64 {
            self.0
        }
    }
    struct Emission;
    impl Watch for Emission {
        fn name(&self) -> &'static str {
            "a source emitted"
        }
        fn observe(&mut self, _now: VirtualTime, observation: &Observation) -> bool {
            matches!(observation, Observation::SourceEmitted { .. })
        }
    }
    let mut world = World::new(|_| {});
    world.checks.add(Box::new(NoSecondBarrier(0)));
    world.checks.add_situation(Box::new(Emission));
    world.emit(0, 2);
    world.begin(1);
    assert_eq!(world.checks.violations()[0].times, 2);
    assert_eq!(world.checks.findings()[8].judged, 2);
    assert_eq!(world.checks.situations().last(), Some(&("a source emitted", 2)));
    assert_eq!(world.checks.verdict(), Verdict::Safety);
}
