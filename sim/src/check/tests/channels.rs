//! What happens on channels: *cut* and *order*.

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
