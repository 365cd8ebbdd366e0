//! For each defect a scenario that fails with it and passes without.

use cutline::defect::Defect;
use cutline::step::Step;
use cutline_sim::check::Class;
use cutline_sim::scenario::model::{
    Endpoint, FaultKind as F, OperatorKind as Op, Scenario, StorageOperation as S,
};

use crate::world::{Change, constant, job, line, merge, ms, source};

/// A defect, what it may be found as (as the design's list has it), and where.
pub(crate) struct Row {
    pub(crate) defect: Defect,
    pub(crate) classes: &'static [Class],
    pub(crate) scenario: fn() -> Scenario,
}

use Class::{
    Duplication, InconsistentCut, Leak, Loss, Order, Policy, PrematureDelete, Stuck,
    UnusableCheckpoint, WrongCommit,
};
use Defect::*;

const fn row(defect: Defect, classes: &'static [Class], scenario: fn() -> Scenario) -> Row {
    Row { defect, classes, scenario }
}

pub(crate) const ROWS: &[Row] = &[
    row(D01, &[WrongCommit, Duplication], told_too_early),
    row(D02, &[Leak], late_acks),
    row(D04, &[Leak], hanging_upload),
    row(D06, &[UnusableCheckpoint], expires_while_finalized),
    row(D07, &[Duplication], inverted_completion),
    row(D08, &[Stuck, Policy], always_expires),
    row(D09, &[Stuck], trigger_meets_finished),
    row(D11, &[Duplication, UnusableCheckpoint], crash_while_finalized),
    row(D17, &[Stuck], slow_upload),
    row(D18, &[Duplication], nine_and_ten),
    row(D21, &[Order, Loss], restored_buffers),
    row(D22, &[Loss], checkpoint_right_after_restore),
    row(D30, &[UnusableCheckpoint, Duplication], pointer_write_fails),
    row(D31, &[Leak], leader_with_history),
    row(D43, &[Stuck], diamond),
    row(D44, &[Loss], timed_out_alignment),
    row(D46, &[InconsistentCut, Loss], barrier_skipped),
    row(D47, &[Stuck], ends_during_alignment),
    row(D48, &[Duplication], second_is_late),
    row(D52, &[Loss, Duplication], two_gates),
    row(D53, &[Duplication], backpressured),
    row(D57, &[Duplication, InconsistentCut], only_pairs),
    row(D59, &[Loss], one_side_ahead),
    row(D60, &[Loss], busy_source),
    row(D61, &[Duplication], busy_source),
    row(D69, &[WrongCommit, Duplication], line),
    row(D70, &[Loss], declined),
    row(D73, &[Loss], slow_flush),
    row(D76, &[Loss], declined),
    row(D78, &[Loss], crash_after_decision),
    row(D79, &[Loss, Stuck], two_handles),
    row(D81, &[Loss], sparse),
    row(D88, &[Stuck], one_source_ends),
    row(D90, &[Duplication], crash_after_one_ended),
    row(D96, &[Loss, InconsistentCut], odd_parallelism),
];

/// What is found first depends on what happens next. These are found as something else than the
/// list names, because another step of the same harm comes first.
pub(crate) const ELSEWHERE: &[Row] = &[row(D06, &[PrematureDelete], files_go_after_the_decision)];

/// The coordinator dies when a sink knows of checkpoint 2.
fn told_too_early() -> Scenario {
    line().at(Step::N1, 2, Some(2), 0, F::CrashJobManager)
}

/// The acknowledgements of checkpoint 2 come after it has expired.
fn late_acks() -> Scenario {
    let cut = F::CutLink(Endpoint::JobManager, Endpoint::TaskManager(0), ms(150));
    line().options(|options| options.timeout = ms(80)).at(Step::B5, 2, Some(2), 0, cut)
}

/// The sink cannot write its part of checkpoint 2; the others have.
fn declined() -> Scenario {
    line().at(Step::B3, 2, Some(1), 0, F::FailStorage(S::WriteState, 1))
}

/// The sink's part of checkpoint 2 takes longer than the timeout; the others have acknowledged.
fn hanging_upload() -> Scenario {
    let slow = F::SlowStorage(S::WriteState, ms(150), ms(20));
    line().options(|options| options.timeout = ms(80)).at(Step::B3, 2, Some(1), 0, slow)
}

/// The metadata of checkpoint 2 takes longer than the timeout.
fn expires_while_finalized() -> Scenario {
    let slow = F::SlowStorage(S::WriteMetadata, ms(150), ms(50));
    line().options(|options| options.timeout = ms(80)).at(Step::A1, 2, Some(2), 0, slow)
}

/// The same, and its files are deleted only after the decision.
fn files_go_after_the_decision() -> Scenario {
    let slow = F::SlowStorage(S::Delete, ms(300), ms(200));
    expires_while_finalized().at(Step::A1, 2, Some(2), 0, slow)
}

/// Checkpoint 3 overtakes 2, which completes later; then a crash.
fn inverted_completion() -> Scenario {
    line()
        .options(|options| (options.retained, options.max_concurrent) = (3, 2))
        .at(Step::B3, 2, Some(1), 0, F::SlowStorage(S::WriteState, ms(140), ms(20)))
        .at(Step::F5, 3, None, 70, F::CrashTask(1, 0))
}

/// Each upload takes longer than the timeout, and one failure is tolerated.
fn always_expires() -> Scenario {
    line()
        .options(|options| (options.timeout, options.tolerable_failures) = (ms(80), 1))
        .with(|scenario| scenario.job.operators[1].state_per_key = 50_000_000)
}

/// Checkpoints follow each other so closely that the first source ends while one is triggered.
fn trigger_meets_finished() -> Scenario {
    merge(source(100, 2), source(250, 2)).options(|options| options.interval = Some(ms(10)))
}

/// Checkpoint 2 writes its metadata when a task crashes.
fn crash_while_finalized() -> Scenario {
    line().at(Step::A1, 2, Some(2), 0, F::SlowStorage(S::WriteMetadata, ms(150), ms(50))).at(
        Step::F2,
        2,
        None,
        20,
        F::CrashTask(1, 0),
    )
}

/// One upload of checkpoint 2 hangs for long.
fn slow_upload() -> Scenario {
    line().options(|options| options.timeout = ms(80)).at(
        Step::B3,
        2,
        Some(1),
        0,
        F::SlowStorage(S::WriteState, ms(500), ms(20)),
    )
}

/// The coordinator dies when checkpoints 9 and 10 are retained.
fn nine_and_ten() -> Scenario {
    line().options(|options| (options.interval, options.retained) = (Some(ms(40)), 2)).at(
        Step::F5,
        10,
        None,
        0,
        F::CrashJobManager,
    )
}

/// source → map → slow sink, unaligned: all buffers are full.
fn backpressured() -> Scenario {
    let operators = vec![
        ("source", source(400, 1)),
        ("map", Op::Map { rekey: None }),
        ("sink", Op::TwoPhaseCommitSink),
    ];
    job(operators, &[(0, 1, 0), (1, 2, 0)])
        .options(|options| options.unaligned = true)
        .with(|scenario| scenario.job.operators[2].cost = constant(3_000))
}

/// A crash, so that all buffers are restored.
fn restored_buffers() -> Scenario {
    backpressured().at(Step::F5, 2, None, 10, F::CrashTask(2, 0))
}

/// A further checkpoint directly after that.
fn checkpoint_right_after_restore() -> Scenario {
    restored_buffers().options(|options| options.initial_delay = Some(ms(20)))
}

/// The pointer of checkpoint 2 cannot be written, and a task crashes. Deletions are slow.
fn pointer_write_fails() -> Scenario {
    line()
        .at(Step::F2, 2, None, 0, F::SlowStorage(S::Delete, ms(300), ms(300)))
        .at(Step::F2, 2, None, 0, F::FailStorage(S::WritePointer, 1))
        .at(Step::X1, 2, None, 1, F::CrashTask(1, 0))
}

/// A new leader finds three checkpoints.
fn leader_with_history() -> Scenario {
    line().options(|options| (options.interval, options.retained) = (Some(ms(40)), 3)).at(
        Step::F5,
        5,
        None,
        0,
        F::CrashJobManager,
    )
}

/// A diamond. The only checkpoint is declined before one path has forwarded its barrier, while
/// the other path is blocked at the join.
fn diamond() -> Scenario {
    let operators = vec![
        ("source", source(400, 1)),
        ("left", Op::Map { rekey: None }),
        ("right", Op::Map { rekey: None }),
        ("join", Op::Join),
        ("sink", Op::IdempotentSink),
    ];
    job(operators, &[(0, 1, 0), (0, 2, 0), (1, 3, 0), (2, 3, 1), (3, 4, 0)])
        .options(|options| {
            options.interval = Some(ms(100_000));
            options.checkpoints_after_tasks_finish = false;
        })
        .when(90, F::PauseTask(1, 0, ms(50)))
        .when(90, F::FailStorage(S::WriteState, 1))
}

/// The barriers of checkpoint 1 and records before them wait at a join for longer than the
/// alignment may take; then they overtake.
fn timed_out_alignment() -> Scenario {
    two_gates()
        .options(|options| options.aligned_timeout = ms(20))
        .with(|scenario| {
            scenario.buffers.buffers_per_channel = 20;
            scenario.job.operators[2].cost = constant(10);
        })
        .when(103, F::PauseTask(2, 0, ms(40)))
}

/// Checkpoint 1 is aborted before the barrier of one input has come.
fn barrier_skipped() -> Scenario {
    let operators = vec![
        ("first", source(250, 2)),
        ("second", source(250, 2)),
        ("map", Op::Map { rekey: None }),
        ("count", Op::KeyedAggregate),
        ("sink", Op::TwoPhaseCommitSink),
    ];
    job(operators, &[(0, 3, 0), (1, 2, 0), (2, 3, 0), (3, 4, 0)])
        .when(90, F::PauseTask(2, 0, ms(50)))
        .when(90, F::FailStorage(S::WriteState, 1))
}

/// The first source has ended, but the end of one of its channels is still on its way when the
/// barriers of checkpoint 3 are aligned.
fn ends_during_alignment() -> Scenario {
    let cut = F::CutLink(Endpoint::TaskManager(0), Endpoint::TaskManager(1), ms(300));
    merge(source(75, 2), source(250, 2))
        .with(|scenario| {
            scenario.cluster.task_managers = 2;
            scenario.job.operators[0].parallelism = 2;
            if let Op::Source(source) = &mut scenario.job.operators[0].kind {
                source.splits = 2;
            }
        })
        .at(Step::A2, 2, None, 0, cut)
}

/// The second source pauses before it forwards the barriers.
fn second_is_late() -> Scenario {
    merge(source(250, 2), source(250, 2)).when(195, F::PauseTask(1, 0, ms(40)))
}

/// A slow join of two inputs, unaligned: the buffers of both are full.
fn two_gates() -> Scenario {
    let operators = vec![
        ("first", source(300, 1)),
        ("second", source(300, 1)),
        ("join", Op::Join),
        ("sink", Op::TwoPhaseCommitSink),
    ];
    job(operators, &[(0, 2, 0), (1, 2, 1), (2, 3, 0)])
        .options(|options| options.unaligned = true)
        .with(|scenario| scenario.job.operators[2].cost = constant(2_000))
}

/// One side of a join is ahead of the other.
fn one_side_ahead() -> Scenario {
    let operators = vec![
        ("first", source(200, 1)),
        ("second", source(200, 2)),
        ("join", Op::Join),
        ("sink", Op::TwoPhaseCommitSink),
    ];
    job(operators, &[(0, 2, 0), (1, 2, 1), (2, 3, 0)])
}

/// One side of a join has said all it has to say: every record of the other completes a pair.
fn only_pairs() -> Scenario {
    one_side_ahead().with(|scenario| scenario.job.operators[0].kind = source(60, 1))
}

/// A source that has always a record to emit.
fn busy_source() -> Scenario {
    line().with(|scenario| scenario.job.operators[0].cost = constant(4_000))
}

/// The external system takes long to flush.
fn slow_flush() -> Scenario {
    line().with(|scenario| scenario.external.latency = constant(60_000))
}

/// The sink crashes when checkpoint 2 is decided, before it knows.
fn crash_after_decision() -> Scenario {
    line().at(Step::F4, 2, None, 0, F::CrashTask(2, 0))
}

/// Checkpoint 2 is declined; checkpoint 3 holds two transactions when the sink crashes.
fn two_handles() -> Scenario {
    declined().at(Step::F4, 3, None, 0, F::CrashTask(2, 0))
}

/// Hardly a record between two checkpoints.
fn sparse() -> Scenario {
    job(vec![("source", source(6, 90)), ("sink", Op::TwoPhaseCommitSink)], &[(0, 1, 0)])
}

/// One of two sources ends early.
fn one_source_ends() -> Scenario {
    merge(source(50, 2), source(250, 2))
}

/// A crash after a checkpoint that knows one source as finished.
fn crash_after_one_ended() -> Scenario {
    one_source_ends().at(Step::F5, 4, None, 10, F::CrashTask(2, 0))
}

/// 128 key groups over three subtasks, and a restore.
fn odd_parallelism() -> Scenario {
    line()
        .with(|scenario| {
            scenario.cluster.task_managers = 3;
            scenario.job.operators[1].parallelism = 3;
            if let Op::Source(source) = &mut scenario.job.operators[0].kind {
                source.keys = 1_000;
            }
        })
        .at(Step::F5, 2, None, 10, F::CrashTask(1, 0))
}
