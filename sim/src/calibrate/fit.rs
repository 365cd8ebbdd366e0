//! From measured runs to a profile: medians, and lines of few coefficients.

use super::in_flight::{self, Queues};
use super::profile::{CheckpointCosts, Profile, RecoveryCosts, SnapshotCosts, ThroughputCosts};
use super::robust::{Estimate, Line, median, theil_sen};
use super::runs::{Mode, Run, RunKind, SnapshotKind};

/// Why nothing can be fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// Everything builds on the duration of a checkpoint that waits for nothing.
    #[error(
        "nothing to fit: at least 1 run of kind \"checkpoint\" with a rate below the capacity and \
         with `e2e_median_ms`, `op_sync_median_ms` and `op_async_median_ms` is needed, and there \
         is none"
    )]
    NoCheckpoints,
}

/// Fits a profile.
///
/// # Errors
/// See [`FitError`].
pub fn fit(runs: &[&Run]) -> Result<Profile, FitError> {
    let mut cannot_tell = Vec::new();
    let checkpoint = checkpoint_costs(runs, &mut cannot_tell).ok_or(FitError::NoCheckpoints)?;
    let recovery = recovery_costs(runs, &checkpoint, &mut cannot_tell);
    let throughput = throughput_costs(runs, &mut cannot_tell);
    Ok(Profile { checkpoint, recovery, throughput, cannot_tell })
}

fn of_kind<'a>(runs: &[&'a Run], kind: RunKind) -> Vec<&'a Run> {
    runs.iter().copied().filter(|run| run.conditions.kind == kind).collect()
}

/// End to end without the parts of the snapshot.
fn travel(run: &Run) -> Option<f64> {
    let measured = &run.measured;
    Some(measured.duration_ms? - measured.sync_ms? - measured.async_ms?)
}

fn checkpoint_costs(runs: &[&Run], cannot_tell: &mut Vec<String>) -> Option<CheckpointCosts> {
    let all = of_kind(runs, RunKind::Checkpoint);
    let (overloaded, steady): (Vec<&Run>, Vec<&Run>) =
        all.into_iter().partition(|run| run.conditions.overloaded());
    let estimate = |part: fn(&Run) -> Option<f64>| {
        Estimate::of(steady.iter().filter_map(|run| part(run))).map(Estimate::not_negative)
    };
    let mut snapshots = Vec::new();
    for kind in SnapshotKind::ALL {
        match snapshot_costs(&steady, kind) {
            Some(costs) => {
                if costs.asynchronous.sizes == 1 {
                    cannot_tell.push(format!(
                        "asynchronous part of {}: one size alone was measured, so the duration is \
                         taken to be proportional to the bytes",
                        kind.name()
                    ));
                }
                snapshots.push(costs);
            }
            None => cannot_tell.push(format!(
                "snapshots of {}: no run has any; costs of another kind stand in for them",
                kind.name()
            )),
        }
    }
    let in_flight_fill = fill(&overloaded);
    if in_flight_fill.is_none() {
        cannot_tell.push(
            "data in flight: no run was overloaded, so buffers are taken to be full when a vertex \
             cannot keep up; durations under overload are upper bounds"
                .to_owned(),
        );
    }
    let mut costs = CheckpointCosts {
        travel_ms: estimate(travel)?,
        source_start_delay_ms: estimate(|run| run.measured.source_start_delay_ms),
        hop_ms: estimate(|run| {
            Some(run.measured.start_delay_ms? - run.measured.source_start_delay_ms?)
        }),
        alignment_ms: estimate(|run| run.measured.alignment_ms),
        acknowledge_ms: estimate(|run| {
            let of = &run.measured;
            let parts = of.start_delay_ms? + of.alignment_ms? + of.sync_ms? + of.async_ms?;
            Some(of.operator_duration_ms? - parts)
        }),
        snapshots,
        in_flight_fill,
        saturation_factor: None,
    };
    costs.saturation_factor = saturation(&of_kind(runs, RunKind::Throughput), &costs);
    Some(costs)
}

fn snapshot_costs(steady: &[&Run], kind: SnapshotKind) -> Option<SnapshotCosts> {
    let of: Vec<&Run> =
        steady.iter().copied().filter(|run| run.conditions.snapshots == kind).collect();
    let points = of.iter().filter_map(|run| {
        // Less than a millisecond is reported as 0, and a share of nothing means nothing.
        Some((run.conditions.dirty_mb_per_subtask(), run.measured.async_ms?.max(1.0)))
    });
    let written = of
        .iter()
        .filter_map(|run| Some(run.measured.checkpointed_bytes? / run.conditions.dirty_bytes()));
    Some(SnapshotCosts {
        snapshots: kind,
        sync_ms: Estimate::of(of.iter().filter_map(|run| run.measured.sync_ms))?,
        asynchronous: Line::fit(&points.collect::<Vec<_>>())?,
        written_per_byte: Estimate::of(written.filter(|ratio| ratio.is_finite())),
        other_cores: median(of.iter().filter_map(|run| run.measured.other_cores)),
    })
}

/// How full buffers are: from what a checkpoint holds where barriers overtake, and from how long
/// they wait where they do not.
fn fill(overloaded: &[&Run]) -> Option<Estimate> {
    Estimate::of(overloaded.iter().filter_map(|run| {
        let (conditions, measured) = (&run.conditions, &run.measured);
        let queues = Queues::of(conditions);
        let waited = || Some(measured.start_delay_ms? + measured.alignment_ms?);
        let full = |buffers| in_flight::service_ms(conditions, buffers) * conditions.exchanges;
        match conditions.mode {
            Mode::Aligned => Some(waited()? / full(queues.until_last_blocking())),
            Mode::AtLeastOnce => Some(waited()? / full(queues.until_last_unblocked())),
            Mode::Unaligned => {
                let subtasks = conditions.parallelism * conditions.exchanges;
                let full = in_flight::bytes(queues.total) * subtasks;
                Some(measured.persisted_bytes? / full)
            }
            // What is left of the data after the timeout says less about the buffers.
            Mode::AlignedTimeout(_) => None,
        }
    }))
}

fn saturation(throughput: &[&Run], costs: &CheckpointCosts) -> Option<Estimate> {
    Estimate::of(throughput.iter().filter_map(|run| {
        let snapshots = costs.snapshots.iter();
        let of = snapshots.into_iter().find(|of| of.snapshots == run.conditions.snapshots)?;
        let asynchronous = of.asynchronous.at(run.conditions.dirty_mb_per_subtask());
        let paced = costs.travel_ms.value + of.sync_ms.value + asynchronous;
        Some(run.measured.duration_ms? / paced)
    }))
}

fn recovery_costs(
    runs: &[&Run],
    checkpoint: &CheckpointCosts,
    cannot_tell: &mut Vec<String>,
) -> Option<RecoveryCosts> {
    let kills = of_kind(runs, RunKind::Recovery);
    let estimate = |part: &dyn Fn(&Run) -> Option<f64>| {
        Estimate::of(kills.iter().filter_map(|run| part(run))).map(Estimate::not_negative)
    };
    let attempt = |run: &Run| {
        let of = &run.measured;
        let each = (of.restore_begin_ms? - of.detect_ms?) / of.restarts.filter(|n| *n > 0.0)?;
        Some(each - run.conditions.restart_delay_ms)
    };
    // On average the kill is half an interval away from the next of two heartbeats.
    let give_up = |run: &Run| {
        let expected = 1.5 * run.conditions.heartbeat_interval_ms;
        run.measured.declared_lost_ms.map(|lost| lost - expected)
    };
    let costs = (|| {
        let (capacity_share, warm_up_ms) = catch_up(&kills)?;
        Some(RecoveryCosts {
            detection_ms: estimate(&|run| run.measured.detect_ms)?,
            attempt_ms: estimate(&attempt)?,
            give_up_ms: estimate(&give_up)?,
            start: start(&kills, checkpoint, cannot_tell)?,
            capacity_share,
            warm_up_ms,
            kills: kills.len(),
        })
    })();
    if costs.is_none() {
        cannot_tell.push(
            "recovery: at least 1 run of kind \"recovery\" with all of its columns is needed, and \
             there is none"
                .to_owned(),
        );
    }
    costs
}

/// From the beginning of the restore to the first record, by state.
fn start(
    kills: &[&Run],
    checkpoint: &CheckpointCosts,
    cannot_tell: &mut Vec<String>,
) -> Option<Line> {
    let points: Vec<(f64, f64)> = kills
        .iter()
        .filter_map(|run| {
            let took = run.measured.first_record_ms? - run.measured.restore_begin_ms?;
            Some((run.conditions.state_mb_per_subtask(), took))
        })
        .collect();
    let line = Line::fit(&points)?;
    if line.sizes > 1 {
        return Some(line);
    }
    // With one size the share of the state cannot be told from that of the deployment. Reading
    // and unpacking a byte is taken to cost what packing and writing it does.
    cannot_tell.push(
        "restore: all kills had one size of state, so a restored byte is taken to cost what a \
         written one does"
            .to_owned(),
    );
    let heap = checkpoint.snapshots.first()?.asynchronous.per_mb_ms;
    let per_mb_ms = heap.min(line.per_mb_ms);
    let at_zero_ms = line.at(line.largest_mb) - per_mb_ms * line.largest_mb;
    Some(Line { at_zero_ms, per_mb_ms, ..line })
}

/// The capacity under catch-up as a share of the configured one, and the time that is lost at its
/// beginning: over a catch-up of length x a job processes as if it had stood still for `warm_up`
/// and then run at full capacity, so the mean rate is a line in 1/x.
fn catch_up(kills: &[&Run]) -> Option<(Estimate, Estimate)> {
    let points: Vec<(f64, f64)> = kills
        .iter()
        .filter_map(|run| {
            let length = run.measured.caught_up_ms? - run.measured.first_record_ms?;
            let share = run.measured.catch_up_per_s? / run.conditions.capacity_per_s()?;
            (length > 0.0).then_some((1.0 / length, share))
        })
        .collect();
    // Catch-ups of one length, or rates that do not fall with it, tell of no warm-up.
    let line = theil_sen(&points).filter(|(share, slope)| *share > 0.0 && *slope < 0.0);
    let shortest = points.iter().map(|(inverse, _)| 1.0 / inverse).fold(f64::INFINITY, f64::min);
    let warm_up = line.map_or(0.0, |(share, slope)| (-slope / share).min(shortest / 2.0));
    let shares = points.iter().map(|(inverse, share)| share / (1.0 - warm_up * inverse));
    let share = Estimate::of(shares)?;
    let warm_ups = points.iter().map(|(inverse, is)| (1.0 - is / share.value) / inverse);
    let range = Estimate::of(warm_ups)?.not_negative();
    Some((share, Estimate { value: warm_up, ..range }))
}

fn throughput_costs(runs: &[&Run], cannot_tell: &mut Vec<String>) -> Option<ThroughputCosts> {
    let all = of_kind(runs, RunKind::Throughput);
    let (free, taxed): (Vec<&Run>, Vec<&Run>) =
        all.into_iter().partition(|run| run.conditions.interval_ms == 0.0);
    let rate = |run: &&Run| run.measured.throughput_per_s;
    let free_per_s = Estimate::of(free.iter().filter_map(rate))?;
    let noise = noise(&free, &taxed);
    let mut intervals: Vec<f64> = taxed.iter().map(|run| run.conditions.interval_ms).collect();
    intervals.sort_by(f64::total_cmp);
    intervals.dedup();
    let mut lost = Vec::new();
    let mut seen_up_to_ms = None;
    for interval in intervals {
        let at = taxed.iter().filter(|run| run.conditions.interval_ms == interval);
        let Some(is) = Estimate::of(at.filter_map(rate)) else { continue };
        let share = 1.0 - is.value / free_per_s.value;
        if share > noise {
            lost.push(share * interval);
            seen_up_to_ms = Some(interval);
        } else {
            cannot_tell.push(format!(
                "throughput at an interval of {interval} ms: {:+.0} % against none is inside the \
                 noise of {:.0} %; nothing is fitted to it",
                -share * 100.0,
                noise * 100.0
            ));
        }
    }
    let lost_ms = Estimate::of(lost);
    Some(ThroughputCosts { free_per_s, lost_ms, noise, seen_up_to_ms })
}

/// The largest difference between runs of one interval, or the spread inside a run where that is
/// larger.
fn noise(free: &[&Run], taxed: &[&Run]) -> f64 {
    let all = || free.iter().chain(taxed);
    let spread = all().filter_map(|run| {
        let same = all().filter(|other| other.conditions == run.conditions);
        let of = Estimate::of(same.filter_map(|run| run.measured.throughput_per_s))?;
        Some((of.high - of.low) / of.value)
    });
    let inside = all()
        .filter_map(|run| Some(run.measured.throughput_sd_per_s? / run.measured.throughput_per_s?));
    let inside = median(inside).unwrap_or(0.0);
    spread.fold(inside, f64::max)
}
