//! What happens on channels: *cut* and *order*.

use cutline::operator::{Record, TimeMark};

use super::*;

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
            let record = testing::record(0, 0);
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

fn with_loop(options: &mut Options) {
    options.loops = true;
    options.config.aligned = vec![true; 3];
}

/// Has the snapshot be one that the job stops with.
fn stop_with(world: &mut World, stop: SnapshotKind) {
    world.doctor = Box::new(move |observation| match observation {
        Observation::Triggered { checkpoint, alignment, kind: _ } => {
            vec![Observation::Triggered { checkpoint, alignment, kind: stop }]
        }
        other => vec![other],
    });
}

/// A record is sent back ahead of the barrier. Then come what the script does and the barrier, and the
/// checkpoint completes.
fn go_round(world: &mut World, meanwhile: fn(&mut World, CheckpointId)) {
    let first = world.begin(1);
    world.take(0);
    world.take(1);
    world.see(Observation::Sent { channel: BACK, record: testing::record(0, 0) });
    world.cut(AGGREGATE, first);
    meanwhile(world, first);
    world.see(Observation::BarrierReceived { channel: BACK, checkpoint: first });
    world.take(LAST);
    world.cut(SINK, first);
    world.decide(first);
}

fn come_round(world: &mut World, _: CheckpointId) {
    world.see(Observation::Processed { channel: BACK, record: testing::record(0, 0) });
}

fn capture(world: &mut World, checkpoint: CheckpointId) {
    let (channel, record, at_sender) = (BACK, testing::record(0, 0), false);
    world.see(Observation::Persisted { channel, checkpoint, record, at_sender });
}

#[test]
fn loops() {
    use Class::{InconsistentCut, Loss};
    judge(vec![
        row("a barrier that comes round overtakes a record", |world| go_round(world, |_, _| {}))
            .with(with_loop)
            .finds("order", Loss),
        row("also where the loop is drained first", |world| {
            stop_with(world, SnapshotKind::SavepointTerminate);
            go_round(world, capture);
        })
        .with(with_loop)
        .finds("order", Loss),
        row("where the job stops with it, what comes round must be captured", |world| {
            stop_with(world, SnapshotKind::SavepointSuspend);
            go_round(world, |_, _| {});
        })
        .with(with_loop)
        .finds("cut", Loss),
        row("what goes round is in no state", |world| go_round(world, come_round))
            .with(with_loop)
            .finds("cut", Loss),
        row("at least once must not lose it either", |world| go_round(world, come_round))
            .with(|options| {
                with_loop(options);
                at_least_once(options);
            })
            .finds("cut", Loss),
        row("in flight where nothing goes round", |world| {
            world.emit(0, 1);
            let first = world.begin(1);
            world.persist(0, first);
            overtake(world, first);
            world.decide(first);
        })
        .with(|options| {
            unaligned(options);
            options.config.aligned = vec![true; 3];
        })
        .finds("cut", InconsistentCut),
    ]);
}

/// What comes round is in flight although barriers are aligned. No source has emitted it in this
/// world, so check *state* is not asked.
#[test]
fn what_comes_round_is_captured() {
    type Script = fn(&mut World, CheckpointId);
    let captured: [(Option<SnapshotKind>, Script); 2] = [
        (None, |world, first| {
            capture(world, first);
            come_round(world, first);
        }),
        (Some(SnapshotKind::SavepointSuspend), capture),
    ];
    for (stop, meanwhile) in captured {
        let mut world = World::new(with_loop);
        if let Some(stop) = stop {
            stop_with(&mut world, stop);
        }
        go_round(&mut world, meanwhile);
        let found = world.checks.violations().iter();
        let found: Vec<_> = found.filter(|it| ["cut", "order"].contains(&it.check)).collect();
        assert!(found.is_empty(), "{stop:?}: {found:#?}");
    }
}

/// What comes to whoever had finished is a mark of event time, and nobody takes it.
#[test]
fn a_subtask_that_had_finished_takes_no_marks() {
    for finished in [true, false] {
        let mut world = World::new(idempotent);
        for source in 0..2 {
            world.emit(source, RECORDS);
        }
        world.drain();
        if finished {
            world.task(SINK, TaskState::Finished);
        }
        let first = world.begin(1);
        world.take(0);
        world.take(1);
        world.cut(AGGREGATE, first);
        if !finished {
            world.take(LAST);
            world.cut(SINK, first);
        }
        world.acknowledge(first);
        world.decide(first);
        world.complete(first);
        world.crash();
        world.deploy(Some(first));
        let record = Record::of_mark(TimeMark::Idle);
        world.see(Observation::Sent { channel: ChannelId(LAST), record });
        world.end();
        world.finish(Ending::Quiescent);
        let found = world.checks.violations();
        let of_order = found.iter().filter(|it| it.rule == "a channel is not FIFO").count();
        assert_eq!(of_order, usize::from(!finished), "{found:#?}");
    }
}
