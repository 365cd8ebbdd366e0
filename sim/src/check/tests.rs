//! Every check fires on what it is for, with the right class first, and on nothing else.

use cutline::ids::{ChannelId, CheckpointId, OperatorId, SubtaskId};
use cutline::message::{Alignment, FailureReason};
use cutline::operator::Fingerprint;
use cutline::time::{VirtualDuration, VirtualTime};

use super::testing::{AGGREGATE, LAST, Options, RECORDS, SINK, World};
use super::*;
use crate::observe::{FileId, JobEnd, TaskState, Transaction};

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
        row("no checkpoint", |world| warm_up(world)),
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
fn cut() {
    use Class::{Duplication, InconsistentCut, Loss};
    judge(vec![
        row("a subtask is missing", |world| {
            let first = world.begin(1);
            world.take(0);
            world.take(1);
            world.cut(AGGREGATE, first);
            world.acknowledge(first);
            world.decide(first);
        })
        .finds("cut", Loss),
        row("an unpersisted record", |world| {
            world.emit(0, 2);
            let first = world.begin(1);
            world.see(Observation::BarrierReceived { channel: ChannelId(0), checkpoint: first });
            world.cut(AGGREGATE, first);
            world.see(Observation::BarrierReceived { channel: ChannelId(2), checkpoint: first });
            world.cut(SINK, first);
            world.decide(first);
        })
        .with(unaligned)
        .finds("cut", Loss),
        row("a record is persisted and processed before the cut", |world| {
            world.emit(0, 1);
            let first = world.begin(1);
            world.persist(0, first);
            world.drain();
            overtake(world, first);
            world.decide(first);
        })
        .with(unaligned)
        .finds("cut", Duplication),
        row("another record is persisted", |world| {
            world.emit(0, 1);
            let first = world.begin(1);
            world.doctor = Box::new(|observation| match observation {
                Observation::Persisted { channel, checkpoint, mut record, at_sender } => {
                    record.offset += 1;
                    vec![Observation::Persisted { channel, checkpoint, record, at_sender }]
                }
                other => vec![other],
            });
            overtake(world, first);
            world.decide(first);
        })
        .with(unaligned)
        .finds("cut", InconsistentCut),
        row("at least once must not lose", |world| {
            world.emit(0, 2);
            let first = world.begin(1);
            world.cut(AGGREGATE, first);
            world.cut(SINK, first);
            world.decide(first);
        })
        .with(at_least_once)
        .finds("cut", Loss),
    ]);
}

#[test]
fn order() {
    use Class::{Duplication, Loss, Order};
    judge(vec![
        row("two records change places", |world| {
            world.emit(0, 2);
            world.swap(0);
            world.drain();
        })
        .finds("order", Order),
        row("a record comes from nowhere", |world| {
            world.emit(0, 1);
            world.drain();
            let record = super::testing::record(0, 0);
            world.see(Observation::Processed { channel: ChannelId(0), record });
        })
        .finds("order", Duplication),
        row("a record is lost, known at the barrier", |world| {
            world.emit(0, 2);
            world.lose(0);
            let first = world.begin(1);
            world.align(first);
        })
        .finds("order", Loss),
        row("an aligned barrier overtakes a record", |world| {
            world.emit(0, 1);
            world.begin(1);
            world.swap(0);
            world.take(0);
        })
        .finds("order", Loss),
        row("processed from a blocked channel", |world| {
            world.emit(0, 1);
            world.see(Observation::Blocked { channel: ChannelId(0) });
            world.take(0);
        })
        .finds("order", Duplication),
        row("a channel is not blocked after its barrier", |world| {
            world.begin(1);
            world.take(0);
            world.emit(0, 1);
            world.take(0);
        })
        .finds("order", Duplication),
        row("a task that gave up need not hold back", |world| {
            let first = world.begin(1);
            world.take(0);
            world.fail(first, FailureReason::CheckpointExpired);
            world.emit(0, 1);
            world.take(0);
        }),
        row("a barrier is sent twice", |world| {
            let first = world.begin(1);
            world.see(Observation::BarrierSent { channel: ChannelId(0), checkpoint: first });
        })
        .finds("order", Order),
        row("a barrier is received twice", |world| {
            let first = world.begin(1);
            world.take(0);
            world.see(Observation::BarrierReceived { channel: ChannelId(0), checkpoint: first });
        })
        .finds("order", Order),
        row("recovered data is dropped", |world| {
            world.emit(0, 2);
            let first = settle_unaligned(world, 1);
            world.crash();
            world.doctor = Box::new(|observation| match observation {
                Observation::Recovered { .. } => vec![],
                other => vec![other],
            });
            world.deploy(Some(first));
        })
        .with(unaligned)
        .finds("order", Loss),
        row("restored output is not sent first", |world| {
            world.emit(0, 2);
            world.doctor = Box::new(|observation| match observation {
                Observation::Persisted { channel, checkpoint, record, .. } => {
                    let at_sender = true;
                    vec![Observation::Persisted { channel, checkpoint, record, at_sender }]
                }
                Observation::Recovered { .. } => vec![],
                other => vec![other],
            });
            let first = settle_unaligned(world, 1);
            world.crash();
            world.deploy(Some(first));
            world.emit(0, 2);
        })
        .with(unaligned)
        .finds("order", Order),
    ]);
}

#[test]
fn state() {
    use Class::{Duplication, InconsistentCut, Loss};
    judge(vec![
        row("a source skips a record", |world| {
            world.doctor = Box::new(|observation| match observation {
                Observation::SourceEmitted { subtask, split, offset } => {
                    vec![Observation::SourceEmitted { subtask, split, offset: offset + 1 }]
                }
                other => vec![other],
            });
            world.emit(0, 1);
        })
        .finds("state", Loss),
        row("a source goes back behind the cut", |world| {
            warm_up(world);
            let first = world.checkpoint(1);
            world.crash();
            world.doctor = Box::new(move |observation| match observation {
                Observation::RestoreChosen { .. } => {
                    vec![Observation::RestoreChosen { checkpoint: Some(first) }]
                }
                Observation::TaskRestored { subtask, .. } => {
                    vec![Observation::TaskRestored { subtask, checkpoint: Some(first) }]
                }
                other => vec![other],
            });
            world.deploy(None);
            world.emit(0, 1);
        })
        .finds("state", Duplication),
        row("a part is not in storage", |world| {
            world.emit(0, 3);
            let first = world.begin(1);
            world.align(first);
            world.acknowledge(first);
            world.doctor = Box::new(|observation| vec![observation]);
            world.forget_part(first, OperatorId(1));
            world.decide(first);
        })
        .finds("state", Loss),
        row("a part is there twice", |world| {
            world.emit(0, 3);
            let first = world.begin(1);
            world.align(first);
            world.repeat_part(first, OperatorId(2));
            world.acknowledge(first);
            world.decide(first);
        })
        .finds("state", Duplication),
        row("state of a later time", |world| {
            // The line is cut in time, the snapshot is taken late: D57.
            world.emit(0, 1);
            let first = world.begin(1);
            world.align(first);
            world.emit(0, 1);
            world.emit(1, 1);
            world.drain();
            world.retake_part(first, AGGREGATE);
            world.acknowledge(first);
            world.decide(first);
        })
        .finds("state", Duplication),
        row("states of two times", |world| {
            world.emit(0, 1);
            let first = world.begin(1);
            world.align(first);
            world.forget_part(first, OperatorId(1));
            world.emit(1, 2);
            world.take(1);
            world.take(1);
            world.replace_with_other_split(first);
            world.acknowledge(first);
            world.decide(first);
        })
        .finds("state", InconsistentCut),
        row("finished before the end", |world| {
            warm_up(world);
            world.checkpoint(1);
            world.end();
        })
        .finds("state", Loss),
    ]);
}

#[test]
fn output() {
    use Class::{Duplication, Loss, WrongCommit};
    judge(vec![
        row("committed at the barrier", |world| {
            world.emit(0, 1);
            let first = world.begin(1);
            world.align(first);
            let contents = Fingerprint::of(1);
            world.see(Observation::Committed { transaction: transaction(1), contents });
        })
        .finds("output", WrongCommit),
        row("committed twice", |world| {
            world.emit(0, 1);
            world.doctor = Box::new(|observation| match observation {
                Observation::Committed { .. } => vec![observation, observation],
                other => vec![other],
            });
            world.checkpoint(1);
        })
        .finds("output", Duplication),
        row("never pre-committed", |world| {
            let contents = Fingerprint::of(1);
            world.see(Observation::Committed { transaction: transaction(1), contents });
        })
        .finds("output", WrongCommit),
        row("committed on close after a failure", |world| {
            world.crash();
            let contents = Fingerprint::of(1);
            world.see(Observation::Committed { transaction: transaction(1), contents });
        })
        .finds("output", Duplication),
        row("an abandoned transaction is committed", |world| {
            world.emit(0, 1);
            let first = world.begin(1);
            world.align(first);
            world.crash();
            world.fail(first, FailureReason::JobFailoverRegion);
            world.deploy(None);
            let contents = Fingerprint::of(1);
            world.see(Observation::Committed { transaction: transaction(1), contents });
        })
        .finds("output", WrongCommit),
        row("an aborted checkpoint's transaction is dropped", |world| {
            world.emit(0, 1);
            let first = world.begin(1);
            world.align(first);
            world.fail(first, FailureReason::CheckpointExpired);
            world.see(Observation::TransactionAborted { transaction: transaction(1) });
        })
        .finds("output", Loss),
        row("left-overs may be dropped", |world| {
            world.emit(0, 1);
            let first = world.begin(1);
            world.align(first);
            world.crash();
            world.fail(first, FailureReason::JobFailoverRegion);
            world.see(Observation::TransactionAborted { transaction: transaction(1) });
            world.deploy(None);
        }),
        row("a restored transaction was dropped", |world| {
            world.emit(0, 1);
            let first = world.begin(1);
            world.align(first);
            world.acknowledge(first);
            world.crash();
            world.see(Observation::TransactionAborted { transaction: transaction(1) });
            world.decide(first);
            world.deploy(Some(first));
        })
        .finds("output", Loss),
        row("less is committed than was pre-committed", |world| {
            world.emit(0, 2);
            world.doctor = Box::new(|observation| match observation {
                Observation::Committed { transaction, .. } => {
                    let contents = Fingerprint::of(1);
                    vec![Observation::Committed { transaction, contents }]
                }
                other => vec![other],
            });
            world.checkpoint(1);
        })
        .finds("output", Loss),
        row("a transaction is stored as empty", |world| {
            world.emit(0, 2);
            world.doctor = Box::new(|observation| match observation {
                Observation::Committed { .. } | Observation::PreCommitted { .. } => vec![],
                other => vec![other],
            });
            world.checkpoint(1);
        })
        .finds("output", Loss),
        row("decided and never committed", |world| {
            world.emit(0, 2);
            world.doctor = Box::new(|observation| match observation {
                Observation::Committed { .. } => vec![],
                other => vec![other],
            });
            world.checkpoint(1);
            world.wait(20_000);
            world.see(Observation::JobEnded { end: JobEnd::Stopped });
        })
        .with(|options| options.config.due = None)
        .finds("output", Loss),
        row("an idempotent sink misses a record", |world| {
            world.doctor = Box::new(|observation| match observation {
                Observation::Upserted { record, .. } if record.offset == 4 => vec![],
                other => vec![other],
            });
            world.run_out(1);
        })
        .with(idempotent)
        .finds("output", Loss),
        row("an idempotent sink has a record too many", |world| {
            let mut record = super::testing::record(0, RECORDS);
            record.key = 1;
            world.see(Observation::Upserted { subtask: SINK, record });
            world.run_out(1);
        })
        .with(idempotent)
        .finds("output", Duplication),
        row("an at-least-once sink misses a record it has another twice", |world| {
            world.doctor = Box::new(|observation| match observation {
                Observation::Appended { record, .. } if record.offset == 4 => vec![],
                Observation::Appended { record, .. } if record.offset == 5 => {
                    vec![observation, observation]
                }
                other => vec![other],
            });
            world.run_out(1);
        })
        .with(at_least_once_sink)
        .finds("output", Loss),
    ]);
}

#[test]
fn restore() {
    use Class::{Duplication, InconsistentCut, UnusableCheckpoint};
    judge(vec![
        row("scratch although there is a checkpoint", |world| {
            world.checkpoint(1);
            world.crash();
            world.deploy(None);
        })
        .finds("restore", Duplication),
        row("an honest fallback", |world| {
            let first = world.checkpoint(1);
            let second = world.begin(2);
            world.align(second);
            world.acknowledge(second);
            world.decide(second);
            world.crash();
            world.store.damaged.push(second);
            world.deploy(Some(first));
        })
        // What is damaged is a violation of its own, but not that of choosing badly.
        .finds("restore", UnusableCheckpoint),
        row("nothing durable", |world| {
            world.crash();
            world.store.mute = true;
            world.deploy(Some(CheckpointId(4)));
        })
        .finds("restore", UnusableCheckpoint),
        row("a task restores another one", |world| {
            let first = world.checkpoint(1);
            world.crash();
            world.doctor = Box::new(|observation| match observation {
                Observation::TaskRestored { subtask: SINK, .. } => {
                    vec![Observation::TaskRestored { subtask: SINK, checkpoint: None }]
                }
                other => vec![other],
            });
            world.deploy(Some(first));
        })
        .finds("restore", InconsistentCut),
        row("durable behind the back of recovery", |world| {
            let first = world.begin(1);
            world.align(first);
            world.acknowledge(first);
            world.crash();
            world.deploy(None);
            world.decide(first);
        })
        .finds("restore", Duplication),
        row("given up too early", |world| {
            let first = world.checkpoint(1);
            world.see(Observation::Subsumed { checkpoint: first });
        })
        .finds("restore", UnusableCheckpoint),
        row("damaged while it is retained", |world| {
            let first = world.checkpoint(1);
            world.store.damaged.push(first);
        })
        .finds("restore", UnusableCheckpoint),
    ]);
}

#[test]
fn storage() {
    judge(vec![
        row("deleted while retained", |world| {
            world.checkpoint(1);
            world.see(Observation::FileDeleted { file: FileId(1) });
        })
        .finds("storage", Class::PrematureDelete),
        row("durable without its file", |world| {
            world.doctor = Box::new(|observation| match observation {
                Observation::FileWritten { .. } => vec![],
                other => vec![other],
            });
            world.checkpoint(1);
        })
        .finds("storage", Class::UnusableCheckpoint),
        row("a leak", |world| {
            world.see(Observation::FileWritten { file: FileId(77), bytes: 5 });
            world.run_out(1);
            world.finish(Ending::Quiescent);
        })
        .finds("storage", Class::Leak),
        row("no leak", |world| {
            world.checkpoint(1);
            world.run_out(2);
            world.finish(Ending::Quiescent);
        }),
    ]);
}

#[test]
fn policy() {
    use Class::{Policy, Stuck};
    judge(vec![
        row("ids go back", |world| {
            world.checkpoint(5);
            world.trigger(4);
        })
        .finds("policy", Policy),
        row("too many at once", |world| {
            world.trigger(1);
            world.trigger(2);
        })
        .finds("policy", Policy),
        row("two are allowed", |world| {
            world.trigger(1);
            world.trigger(2);
        })
        .with(|options| options.config.checkpointing.max_concurrent = 2),
        row("no pause", |world| {
            world.checkpoint(1);
            world.trigger(2);
        })
        .with(|options| {
            options.config.checkpointing.min_pause = VirtualDuration::from_secs(1);
        })
        .finds("policy", Policy),
        row("asked for by hand", |world| {
            world.checkpoint(1);
            world.trigger(2);
        })
        .with(|options| {
            options.config.checkpointing.min_pause = VirtualDuration::from_secs(1);
            options.config.manual.push(VirtualTime::ZERO);
        }),
        row("not expired", |world| {
            world.trigger(1);
            world.wait(600_001);
        })
        .with(|options| options.config.due = None)
        .finds("policy", Stuck),
        row("finalizing does not expire", |world| {
            let first = world.trigger(1);
            world.acknowledge(first);
            world.wait(600_001);
        })
        .with(|options| options.config.due = None),
        row("a fault holds up the coordinator", |world| {
            world.trigger(1);
            world.see(Observation::FaultInjected { fault: 0 });
            world.wait(600_001);
        })
        .with(|options| options.config.due = None),
        row("one failure too many", |world| {
            let first = world.trigger(1);
            world.fail(first, FailureReason::CheckpointExpired);
            world.wait(20_000);
        })
        .with(|options| options.config.due = None)
        .finds("policy", Policy),
        row("one failure too many fails the job", |world| {
            let first = world.trigger(1);
            world.fail(first, FailureReason::CheckpointExpired);
            world.crash();
            world.deploy(None);
            world.wait(20_000);
        })
        .with(|options| options.config.due = None),
        row("failures that do not count", |world| {
            let first = world.trigger(1);
            world.fail(first, FailureReason::CheckpointSubsumed);
            world.wait(20_000);
        })
        .with(|options| options.config.due = None),
        row("too many retained", |world| {
            for id in 1..=3 {
                let checkpoint = world.begin(id);
                world.align(checkpoint);
                world.acknowledge(checkpoint);
                world.decide(checkpoint);
                world.complete(checkpoint);
            }
        })
        .finds("policy", Policy),
        row("an older leader", |world| {
            world.see(Observation::LeaderElected { session: 2 });
            world.see(Observation::LeaderElected { session: 1 });
        })
        .finds("policy", Policy),
    ]);
}

#[test]
fn liveness() {
    let stuck = ("liveness", Class::Stuck);
    judge(vec![
        row("the job does not finish", |world| world.wait(20_000)).finds(stuck.0, stuck.1),
        row("recovery does not end", |world| {
            world.crash();
            world.wait(20_000);
        })
        .with(|options| options.config.due = None)
        .finds(stuck.0, stuck.1),
        row("in bad weather bounds do not run", |world| {
            world.see(Observation::FaultInjected { fault: 0 });
            world.crash();
            world.wait(20_000);
        }),
        row("nothing moves", |world| world.finish(Ending::Quiescent)).finds(stuck.0, stuck.1),
        row("too many events", |world| world.finish(Ending::BudgetSpent)).finds(stuck.0, stuck.1),
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
