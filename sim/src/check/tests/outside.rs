//! What lasts: *state*, *output*, *restore* and *storage*.

use super::*;

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
            // The line is cut in time, the snapshot is taken late.
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
            let mut record = testing::record(0, RECORDS);
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

/// A file that process 1 writes and no checkpoint refers to.
const STRAY: FileId = FileId(77);

fn write_stray(world: &mut World) {
    let (file, bytes) = (STRAY, 5);
    world.see(Observation::FileWritten { file, bytes, process: 1, orphaned: false });
}

fn hand_stray_over(world: &mut World, orphaned: bool) {
    world.see(Observation::FileHandedOver { file: STRAY, process: 0, orphaned });
}

fn run_to_the_end(world: &mut World) {
    world.run_out(9);
    world.finish(Ending::Quiescent);
}

/// A file is left over.
#[test]
fn only_what_has_lost_its_keeper_may_be_left() {
    judge(vec![
        row("another process dies", |world| {
            write_stray(world);
            world.see(Observation::ProcessLost { process: 2 });
            run_to_the_end(world);
        })
        .finds("storage", Class::Leak),
        row("its writer dies", |world| {
            write_stray(world);
            world.see(Observation::ProcessLost { process: 1 });
            run_to_the_end(world);
        }),
        row("its writer had died", |world| {
            let (file, bytes) = (STRAY, 5);
            world.see(Observation::FileWritten { file, bytes, process: 1, orphaned: true });
            run_to_the_end(world);
        }),
        row("it is handed over, then its writer dies", |world| {
            write_stray(world);
            hand_stray_over(world, false);
            world.see(Observation::ProcessLost { process: 1 });
            run_to_the_end(world);
        })
        .finds("storage", Class::Leak),
        row("it is handed over to a job manager that dies", |world| {
            write_stray(world);
            hand_stray_over(world, false);
            world.see(Observation::ProcessLost { process: 0 });
            run_to_the_end(world);
        }),
        row("it is handed over to a dead job manager", |world| {
            write_stray(world);
            hand_stray_over(world, true);
            run_to_the_end(world);
        }),
        row("it is handed over to the next job manager", |world| {
            write_stray(world);
            world.see(Observation::ProcessLost { process: 0 });
            hand_stray_over(world, false);
            run_to_the_end(world);
        })
        .finds("storage", Class::Leak),
        row("its pointer is removed, then the job manager dies", |world| {
            keep_files(world);
            world.checkpoint(1);
            world.checkpoint(2);
            world.see(Observation::ProcessLost { process: 0 });
            world.doctor = Box::new(|observation| vec![observation]);
            run_to_the_end(world);
        }),
        row("the job manager dies, then its pointer is removed", |world| {
            keep_files(world);
            world.checkpoint(1);
            world.see(Observation::ProcessLost { process: 0 });
            world.checkpoint(2);
            run_to_the_end(world);
        })
        .finds("storage", Class::Leak),
    ]);
}

fn keep_files(world: &mut World) {
    world.doctor = Box::new(|observation| match observation {
        Observation::FileDeleted { .. } => vec![],
        other => vec![other],
    });
}

#[test]
fn storage() {
    judge(vec![
        row("deleted while retained", |world| {
            world.checkpoint(1);
            world.see(Observation::FileDeleted { file: FileId(1) });
        })
        .finds("storage", Class::PrematureDelete),
        row("overwritten while retained", |world| {
            world.checkpoint(1);
            let (file, bytes) = (FileId(1), 100);
            world.see(Observation::FileWritten { file, bytes, process: 1, orphaned: false });
        })
        .finds("storage", Class::UnusableCheckpoint),
        row("durable without its file", |world| {
            world.doctor = Box::new(|observation| match observation {
                Observation::FileWritten { .. } => vec![],
                other => vec![other],
            });
            world.checkpoint(1);
        })
        .finds("storage", Class::UnusableCheckpoint),
        row("a pointer is left", |world| {
            world.doctor = Box::new(|observation| match observation {
                Observation::PointerRemoved { .. } => vec![],
                other => vec![other],
            });
            world.checkpoint(1);
            run_to_the_end(world);
        })
        .finds("storage", Class::Leak),
        row("no leak", |world| {
            world.checkpoint(1);
            world.run_out(2);
            world.finish(Ending::Quiescent);
        }),
    ]);
}
