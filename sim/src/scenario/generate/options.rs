//! Flink's options: checkpointing, restart strategy, buffers. What Flink refuses is not drawn.

use cutline::config::{
    CheckpointingOptions, DebloatOptions, NetworkOptions, RestartStrategy, Retention, Scheme,
};
use cutline::message::SnapshotKind;
use cutline::time::{VirtualDuration, VirtualTime};
use cutline::trigger::adaptive::{Bounds, Estimate, Formula, IntervalPolicy};

use super::topology::Drawn;
use super::{Draws, Load, Options, log_between, moves_in_flight, permille_chance, weighted};
use crate::kernel::stream::Stream;
use crate::scenario::model::ManualTrigger;

/// About so many checkpoints a job takes at most. What is wrong with one is found in another seed
/// sooner than in the same run: with no bound, campaigns find defects after as many runs, and take half
/// as long again for them.
const CHECKPOINTS_MAX: u64 = 24;

pub(super) fn checkpointing(
    options: &Options,
    drawn: &Drawn,
    (load, dir): (&Load, Option<Scheme>),
    draws: &Draws,
) -> (CheckpointingOptions, Vec<ManualTrigger>) {
    let ms = VirtualDuration::from_millis;
    let mut stream = draws.of("interval", "");
    let periodic = options.exactly_once_output || permille_chance(&mut stream, 920);
    let watched = drawn.span.as_millis() * if drawn.bounded { 1 } else { 2 };
    let interval = log_between(&mut stream, (watched / CHECKPOINTS_MAX).max(20), 1_000);
    let (timeout, tolerable_failures) = patience(load, draws);
    let mut stream = draws.of("min pause", "");
    let min_pause = match weighted(&mut stream, &[7, 3]) {
        0 => 0,
        _ => stream.between(1, interval),
    };
    let mut stream = draws.of("initial delay", "");
    let initial_delay =
        (periodic && permille_chance(&mut stream, 300)).then(|| ms(stream.between(0, interval)));
    let mut result = CheckpointingOptions {
        interval: periodic.then(|| ms(interval)),
        initial_delay,
        timeout,
        min_pause: ms(min_pause),
        tolerable_failures,
        retained: weighted(&mut draws.of("retained", ""), &[6, 2, 1, 1]) as u32 + 1,
        checkpoints_after_tasks_finish: options.exactly_once_output
            || draws.is("after tasks finish", 800),
        retention: *draws
            .of("retention", "")
            .choice(&[
                Retention::NoExternalized,
                Retention::DeleteOnCancellation,
                Retention::RetainOnCancellation,
            ])
            .expect("there are three"),
        ..CheckpointingOptions::default()
    };
    mode(&mut result, options, &mut draws.of("mode", ""));
    if moves_in_flight(options, draws) {
        result.retention = Retention::RetainOnCancellation;
        (result.exactly_once, result.unaligned, result.max_concurrent) = (true, true, 1);
    }
    if drawn.job.has_loop() {
        // Where something goes round, barriers overtake nothing, and there is one checkpoint at a time.
        (result.unaligned, result.max_concurrent) = (false, 1);
        result.aligned_timeout = CheckpointingOptions::default().aligned_timeout;
    }
    // Drawn by itself: what an older seed means is what it meant, half of the time.
    result.unaligned_forced = result.unaligned && draws.is("unaligned forced", 500);
    result.dir = dir;
    result.incremental = draws.is("incremental", 300);
    result.local_recovery = draws.is("local recovery", 300);
    let mut stream = draws.of("inline threshold", "");
    result.inline_threshold =
        permille_chance(&mut stream, 250).then(|| log_between(&mut stream, 1, 4_000));
    if periodic {
        result.policy = policy(interval, drawn, draws);
    }
    (result, manual(drawn, periodic, draws))
}

/// Who sets the interval: mostly nobody, it is fixed. What others choose stays near it, so that a run
/// has as many checkpoints as it would have had.
fn policy(interval: u64, drawn: &Drawn, draws: &Draws) -> Option<IntervalPolicy> {
    let ms = VirtualDuration::from_millis;
    let mut stream = draws.of("interval policy", "");
    let kind = weighted(&mut stream, &[12, 3, 1, 1, 1, 2]);
    let until = stream.between(0, drawn.span.as_millis());
    // Zero: none at all until the backlog is worked off.
    let during = ms(interval * stream.between(0, 4));
    let cost = VirtualDuration::from_micros(log_between(&mut stream, 100, 20_000));
    let mtbf = ms(log_between(&mut stream, 100, 10_000));
    let bounds = Bounds { min: ms(interval / 2), max: ms(interval * 4) };
    let estimate = Estimate { cost, mtbf };
    match kind {
        0 => None,
        1 => Some(IntervalPolicy::DuringBacklog {
            interval: during,
            until: VirtualTime::from_millis(until + 1),
        }),
        2 => Some(IntervalPolicy::Formula(Formula::Young, estimate, bounds)),
        3 => Some(IntervalPolicy::Formula(Formula::Daly, estimate, bounds)),
        4 => Some(IntervalPolicy::Formula(Formula::Exact, estimate, bounds)),
        _ => Some(IntervalPolicy::Measured(estimate, bounds)),
    }
}

/// Where checkpoints are kept: in one case of two the store is neutral. A job whose output must not
/// depend on faults does not keep them in what a fault takes away.
pub(super) fn directory(drawn: &Drawn, options: &Options, draws: &Draws) -> Option<Scheme> {
    // A job manager's memory takes no large state, and a job that waits for it would never end.
    const IN_MEMORY_MAX: u64 = 4 << 20;
    let fits = drawn.state.max(drawn.bytes) <= IN_MEMORY_MAX;
    let kinds = weighted(&mut draws.of("directory", ""), &[12, 3, 3, 2, 1]);
    let scheme = kinds.checked_sub(1).map(|kind| Scheme::ALL[kind]);
    let in_memory = fits && !options.exactly_once_output;
    scheme.filter(|scheme| in_memory || *scheme != Scheme::Memory)
}

/// Timeout and tolerated failures. A job that may fail for want of checkpoints gets a timeout that
/// only a fault can make too short: else it would go back for ever, and rightly so.
fn patience(load: &Load, draws: &Draws) -> (VirtualDuration, u32) {
    let mut stream = draws.of("timeout", "");
    let whole_ms = |span: VirtualDuration| VirtualDuration::from_millis(span.as_millis() + 10);
    if permille_chance(&mut stream, 300) {
        let tight = load.checkpoint * stream.between(1_200, 4_000);
        return (whole_ms(VirtualDuration(tight.0 / 1_000)), 1_000_000);
    }
    let calm = load.checkpoint * 10 + load.work * 3;
    let tolerable = [0, 1, 3, 1_000][weighted(&mut stream, &[2, 2, 2, 4])];
    let timeout = match weighted(&mut draws.of("timeout kind", ""), &[3, 1]) {
        0 => VirtualDuration::from_secs(10) + calm,
        // Enough for a calm checkpoint, and not for one that a fault holds up.
        _ => calm,
    };
    (whole_ms(timeout), tolerable)
}

fn mode(result: &mut CheckpointingOptions, options: &Options, stream: &mut Stream) {
    let at_least_once = if options.exactly_once_output { 0 } else { 2 };
    match weighted(stream, &[4, 3, 3, at_least_once]) {
        0 => result.max_concurrent = concurrent(stream),
        1 => result.unaligned = true,
        2 => {
            result.unaligned = true;
            result.aligned_timeout = VirtualDuration::from_millis(log_between(stream, 1, 500));
        }
        _ => {
            result.exactly_once = false;
            result.max_concurrent = concurrent(stream);
        }
    }
}

fn concurrent(stream: &mut Stream) -> u32 {
    weighted(stream, &[5, 3, 2]) as u32 + 1
}

/// Checkpoints by hand. A job without periodic ones has some, or in one case of three none at all.
fn manual(drawn: &Drawn, periodic: bool, draws: &Draws) -> Vec<ManualTrigger> {
    let mut stream = draws.of("manual", "");
    let count = match periodic {
        true => weighted(&mut stream, &[7, 1, 1, 1]),
        false => weighted(&mut stream, &[3, 2, 2, 2]),
    };
    let mut triggers: Vec<ManualTrigger> = (0..count)
        .map(|_| ManualTrigger {
            at: VirtualTime::from_millis(stream.between(0, drawn.span.as_millis() * 3 / 2)),
            kind: match stream.below(2) {
                0 => SnapshotKind::Checkpoint,
                _ => SnapshotKind::FullCheckpoint,
            },
        })
        .collect();
    triggers.sort_by_key(|trigger| trigger.at);
    triggers
}

/// Attempts are plenty: a job that gives up after the faults of one run would be in its right.
pub(super) fn restart(draws: &Draws) -> RestartStrategy {
    let ms = VirtualDuration::from_millis;
    let mut stream = draws.of("restart", "");
    match stream.below(3) {
        0 => RestartStrategy::FixedDelay {
            attempts: 10_000,
            delay: ms(log_between(&mut stream, 1, 1_000)),
        },
        1 => RestartStrategy::FailureRate {
            max_failures: 10_000,
            interval: ms(10_000),
            delay: ms(log_between(&mut stream, 1, 1_000)),
        },
        _ => {
            let initial = log_between(&mut stream, 1, 500);
            RestartStrategy::ExponentialDelay {
                initial: ms(initial),
                max: ms(initial + log_between(&mut stream, 1, 1_000)),
                multiplier_permille: stream.between(1_100, 3_000) as u32,
                reset_after: ms(log_between(&mut stream, 100, 10_000)),
                jitter_permille: stream.between(0, 300) as u32,
                attempts: None,
            }
        }
    }
}

/// A job whose checkpoint was damaged goes back to it until its strategy gives up. Ten thousand times
/// teach no more than these, which are still more than all other faults of a run can need.
pub(super) fn lose_patience(restart: &mut RestartStrategy) {
    const ATTEMPTS: u32 = 60;
    match restart {
        RestartStrategy::FixedDelay { attempts, .. } => *attempts = ATTEMPTS,
        RestartStrategy::FailureRate { max_failures, interval, .. } => {
            (*max_failures, *interval) = (ATTEMPTS, VirtualDuration::from_secs(3_600));
        }
        RestartStrategy::ExponentialDelay { attempts, reset_after, .. } => {
            (*attempts, *reset_after) = (Some(ATTEMPTS), VirtualDuration::from_secs(3_600));
        }
        RestartStrategy::Disabled => {}
    }
}

/// Targets that the queues of a busy job exceed, and looks often enough for a short one.
fn debloat(draws: &Draws) -> DebloatOptions {
    let mut stream = draws.of("debloating", "");
    if stream.below(6) > 0 {
        return DebloatOptions::default();
    }
    DebloatOptions {
        enabled: true,
        target: VirtualDuration::from_millis(stream.between(1, 50)),
        period: VirtualDuration::from_millis(stream.between(2, 200)),
        samples: stream.between(1, 20) as u32,
        threshold: stream.between(0, 50) as u32,
    }
}

/// Each channel has a buffer of its own: without one, aligned barriers may wait for the floating
/// buffers that blocked channels hold, in Flink as here.
pub(super) fn buffers(draws: &Draws) -> NetworkOptions {
    let mut stream = draws.of("buffers", "");
    let debloat = debloat(draws);
    if stream.below(2) == 0 {
        return NetworkOptions { debloat, ..NetworkOptions::default() };
    }
    NetworkOptions {
        debloat,
        buffers_per_channel: stream.between(1, 3) as u32,
        floating_per_gate: stream.between(0, 8) as u32,
        max_per_subpartition: stream.between(1, 10) as u32,
    }
}
