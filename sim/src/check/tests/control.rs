//! What the coordinator does: *policy* and *liveness*.

use cutline::step::Step;

use super::*;
use crate::scenario::model::{ActionKind, SnapshotSource};

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
        row("one failure too many, and the next checkpoint is triggered", |world| {
            let first = world.trigger(1);
            world.fail(first, FailureReason::CheckpointExpired);
            world.trigger(2);
        })
        .finds("policy", Policy),
        row("two failures, told by requests", |world| {
            let reason = FailureReason::IoException;
            world.see(Observation::RequestFailed { reason });
            world.wait(1);
            world.see(Observation::RequestFailed { reason });
            world.trigger(1);
        })
        .with(|options| options.config.checkpointing.tolerable_failures = 1)
        .finds("policy", Policy),
        row("two savepoints that get no number", |world| {
            let reason = FailureReason::IoException;
            for action in 0..2 {
                world.see_at_once([
                    Observation::RequestFailed { reason },
                    Observation::ActionEnded { action, checkpoint: None, done: false },
                    Observation::RequestFailed { reason },
                ]);
            }
            world.trigger(1);
        })
        .with(|options| options.config.checkpointing.tolerable_failures = 1),
        row("triggered for tasks that are gone", |world| {
            world.step(Step::T1);
            world.crash();
            world.deploy(None);
            world.trigger(1);
        })
        .finds("policy", Stuck),
        row("decided again for those that took their place", |world| {
            world.step(Step::T1);
            world.crash();
            world.deploy(None);
            world.step(Step::T1);
            world.trigger(1);
        }),
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
        .finds("policy", Class::Leak),
        row("an older leader", |world| {
            world.see(Observation::LeaderElected { session: 2 });
            world.see(Observation::LeaderElected { session: 1 });
        })
        .finds("policy", Policy),
        row("a former leader is obeyed", |world| {
            world.see(Observation::LeaderElected { session: 1 });
            world.see(Observation::LeaderElected { session: 2 });
            world.see(Observation::LeaderWrote { process: 0, session: 1 });
        })
        .finds("policy", Policy),
        row("a former leader is refused", |world| {
            world.see(Observation::LeaderElected { session: 1 });
            world.see(Observation::LeaderWrote { process: 0, session: 1 });
            world.see(Observation::LeaderElected { session: 2 });
            world.see(Observation::FencedOff { process: 0, session: 1 });
            world.see(Observation::LeaderWrote { process: 3, session: 2 });
        }),
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
        row("a savepoint that nobody takes up", |world| {
            world.see(Observation::ActionAsked { action: 0 });
            run_out(world, Ending::Quiescent);
        })
        .with(|options| options.config.actions = vec![ActionKind::Savepoint])
        .finds(stuck.0, stuck.1),
        row("a savepoint that died with its leader", |world| {
            world.see(Observation::ActionAsked { action: 0 });
            world.see(Observation::ActionTaken { action: 0 });
            world.see(Observation::ActionForgotten { action: 0 });
            world.see(Observation::LeaderElected { session: 2 });
            run_out(world, Ending::Quiescent);
        })
        .with(|options| options.config.actions = vec![ActionKind::Savepoint]),
        row("a savepoint that a former leader does not answer", |world| {
            world.see(Observation::ActionAsked { action: 0 });
            world.see(Observation::ActionTaken { action: 0 });
            world.see(Observation::LeaderElected { session: 2 });
            run_out(world, Ending::Quiescent);
        })
        .with(|options| options.config.actions = vec![ActionKind::Savepoint])
        .finds(stuck.0, stuck.1),
        row("a savepoint when the job is over, and nobody leads", |world| {
            world.see(Observation::LeaderElected { session: 2 });
            world.run_out(9);
            world.see(Observation::LeadershipLost { session: 2 });
            world.see(Observation::ActionAsked { action: 0 });
            world.finish(Ending::Quiescent);
        })
        .with(|options| options.config.actions = vec![ActionKind::Savepoint]),
        row("a new job that nobody starts", |world| {
            world.see(Observation::ActionAsked { action: 0 });
            run_out(world, Ending::TimeUp);
        })
        .with(|options| options.config.actions = vec![resume()])
        .finds(stuck.0, stuck.1),
        row("a new job that waits for the end of this one", |world| {
            world.see(Observation::ActionAsked { action: 0 });
            world.checkpoint(1);
            world.finish(Ending::TimeUp);
        })
        .with(|options| options.config.actions = vec![resume()]),
        row("a new job that is refused", |world| {
            world.see(Observation::ActionAsked { action: 0 });
            world.see(Observation::ActionTaken { action: 0 });
            world.see(Observation::ActionEnded { action: 0, checkpoint: None, done: false });
            run_out(world, Ending::TimeUp);
        })
        .with(|options| options.config.actions = vec![resume()]),
        row("too many events", |world| world.finish(Ending::BudgetSpent)).finds(stuck.0, stuck.1),
    ]);
}

fn resume() -> ActionKind {
    ActionKind::Resume {
        from: SnapshotSource::Savepoint,
        claims: false,
        parallelism: Vec::new(),
        operator_chaining: None,
        changelog: None,
    }
}

/// The job comes to its end, and the run long after it.
fn run_out(world: &mut World, ending: Ending) {
    world.run_out(9);
    world.wait(30_000);
    world.finish(ending);
}
