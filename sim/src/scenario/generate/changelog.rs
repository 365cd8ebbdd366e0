//! Jobs whose changes of keyed state are logged. All of it comes from streams of its own.

use cutline::config::ChangelogOptions;
use cutline::message::SnapshotKind;
use cutline::time::VirtualDuration;

use super::topology::Drawn;
use super::{Draws, Load, log_between, permille_chance, weighted};
use crate::scenario::model::{ActionKind, Scenario};

/// Bytes that a job logs if all its records are read once, about.
pub(super) fn logged(drawn: &Drawn) -> u64 {
    const LEAST: u64 = 64;
    let operators = drawn.job.operators.iter().zip(&drawn.records);
    let keyed = operators.filter(|(operator, _)| operator.kind.is_keyed());
    let bytes = keyed.map(|(operator, records)| {
        let updates = records.saturating_mul(u64::from(drawn.weight));
        operator.state_per_key.max(LEAST).saturating_mul(updates)
    });
    bytes.fold(0, u64::saturating_add)
}

/// Logs the changes of some jobs; whether of this one. A log is longer than the state: a job whose
/// log would take much longer than its checkpoints has none.
pub(super) fn draw(scenario: &mut Scenario, (load, logged): (&Load, u64), draws: &Draws) -> bool {
    let full = SnapshotKind::FullCheckpoint;
    let bandwidth = scenario.storage.bandwidth;
    let span = match bandwidth {
        0 => VirtualDuration::ZERO,
        _ => VirtualDuration::from_millis(logged.saturating_mul(1_000) / bandwidth),
    };
    let is_keyed = scenario.job.operators.iter().any(|operator| operator.kind.is_keyed());
    let fits = is_keyed
        && span <= load.checkpoint * 2
        && scenario.checkpointing.max_concurrent == 1
        && !scenario.manual.iter().any(|trigger| trigger.kind == full);
    if !fits || !draws.is("changelog", 400) {
        return false;
    }
    scenario.checkpointing.changelog = options(load, draws);
    leave_room_for_requests(scenario);
    true
}

/// A store that limits requests has room for those of the logs, besides all others: else no
/// checkpoint would ever be taken.
fn leave_room_for_requests(scenario: &mut Scenario) {
    const DEFAULT_THRESHOLD: u64 = 5 << 20;
    let Some(limit) = &mut scenario.storage.requests_per_prefix else { return };
    let log = &mut scenario.checkpointing.changelog;
    let a_second = |every: VirtualDuration| 1_000_u32.div_ceil(every.as_millis().max(1) as u32);
    // Without a delay each record may be a file.
    log.persist_delay = log.persist_delay.max(VirtualDuration::from_millis(1));
    let ahead = log.preemptive_persist_threshold < DEFAULT_THRESHOLD;
    // Sets that are persisted ahead, those of checkpoints, and a few files of each state.
    let files = if ahead { a_second(log.persist_delay) } else { 0 }
        + scenario.checkpointing.interval.map_or(0, a_second)
        + a_second(log.materialize_interval) * 4;
    let keyed = scenario.job.operators.iter().filter(|operator| operator.kind.is_keyed());
    let logs: u32 = keyed.map(|operator| operator.parallelism).sum();
    // Each is written and deleted.
    *limit += files * 2 * logs;
}

fn options(load: &Load, draws: &Draws) -> ChangelogOptions {
    let ms = VirtualDuration::from_millis;
    let mut stream = draws.of("materialization", "");
    let mut result = ChangelogOptions {
        enabled: true,
        materializes: permille_chance(&mut stream, 850),
        materialize_interval: ms(log_between(&mut stream, 5, 600)),
        max_failures_allowed: [0, 1, 3, 1_000][weighted(&mut stream, &[1, 1, 3, 3])],
        ..ChangelogOptions::default()
    };
    let mut stream = draws.of("changes", "");
    if permille_chance(&mut stream, 500) {
        result.preemptive_persist_threshold = log_between(&mut stream, 64, 1 << 20);
    }
    result.persist_delay = ms(stream.between(0, 20));
    // A calm upload is never given up for taking long: else no checkpoint would ever be taken.
    let calm = load.checkpoint.as_millis() + 1;
    result.upload_timeout = match weighted(&mut stream, &[1, 2, 2]) {
        0 => VirtualDuration::ZERO,
        1 => ms(calm * 2),
        _ => ms(calm * stream.between(2, 8)),
    };
    result.upload_attempts = stream.between(1, 4) as u32;
    result.upload_retry_delay = ms(log_between(&mut stream, 1, 500));
    result
}

/// Some new jobs have another changelog than the first, or none. Whoever logs owns what it is
/// resumed from.
pub(super) fn switch(scenario: &mut Scenario, draws: &Draws) {
    for (number, action) in (0_u32..).zip(&mut scenario.actions) {
        let ActionKind::Resume { claims, changelog, .. } = &mut action.what else { continue };
        let mut stream = draws.of("changelog anew", &number.to_string());
        if permille_chance(&mut stream, 400) {
            *changelog = Some(false);
        }
        *claims |= changelog.is_none();
    }
    // The other way round, too: then it is the first job that has none.
    let resumes = |what: &ActionKind| matches!(what, ActionKind::Resume { .. });
    let mut stream = draws.of("changelog later", "");
    let later = permille_chance(&mut stream, 250);
    if later && scenario.actions.iter().any(|action| resumes(&action.what)) {
        scenario.checkpointing.changelog.enabled = false;
        for action in &mut scenario.actions {
            if let ActionKind::Resume { changelog, .. } = &mut action.what {
                *changelog = match changelog {
                    None => Some(true),
                    Some(_) => None,
                };
            }
        }
    }
}
