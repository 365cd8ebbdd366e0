//! From a profile and what is known before a run to what will come of it.

use super::in_flight::{self, Queues};
use super::measure::Measure;
use super::profile::{Profile, RecoveryCosts, SnapshotCosts};
use super::race::Race;
use super::runs::{Conditions, Mode, RunKind, SnapshotKind};

/// What is expected of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prediction {
    /// Values, each with the range that an unknown phase of the heartbeat gives it.
    pub values: Vec<Expected>,
    /// What could not be predicted, and why.
    pub unpredicted: Vec<(Measure, String)>,
    /// What a reader should know about the values.
    pub notes: Vec<String>,
}

/// One expected value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// Of what.
    pub measure: Measure,
    /// The value.
    pub value: f64,
    /// The value for an early and for a late heartbeat (10 % and 90 %), where that matters.
    pub range: Option<(f64, f64)>,
}

/// Lag up to which a job counts as caught up, in milliseconds: the floor of the measured runs'
/// `caught_up_threshold_ms`.
pub const CAUGHT_UP_LAG_MS: f64 = 250.0;

impl Prediction {
    /// Predicts a run.
    pub fn of(profile: &Profile, conditions: &Conditions) -> Self {
        let mut made = Self::default();
        match conditions.kind {
            RunKind::Checkpoint => made.checkpoint(profile, conditions),
            RunKind::Recovery => made.recovery(profile, conditions),
            RunKind::Throughput => made.throughput(profile, conditions),
        }
        made
    }

    /// The expected value of a measure.
    pub fn value(&self, measure: Measure) -> Option<f64> {
        self.values.iter().find(|of| of.measure == measure).map(|of| of.value)
    }

    fn add(&mut self, measure: Measure, value: f64) {
        self.values.push(Expected { measure, value, range: None });
    }

    fn checkpoint(&mut self, profile: &Profile, conditions: &Conditions) {
        let snapshot = self.snapshot(profile, conditions);
        let wait = Wait::of(profile, conditions);
        if conditions.overloaded() && profile.checkpoint.in_flight_fill.is_none() {
            self.notes.push("no overloaded run was fitted: buffers taken to be full".to_owned());
        }
        let travel = profile.checkpoint.travel_ms.value;
        self.add(Measure::CheckpointDuration, travel + wait.until_last_ms + snapshot.took_ms);
        match (profile.checkpoint.source_start_delay_ms, profile.checkpoint.hop_ms) {
            (Some(source), Some(hop)) => {
                let steady = source.value + hop.value * conditions.exchanges;
                self.add(Measure::StartDelay, steady + wait.until_first_ms);
            }
            (None, _) | (_, None) => {
                let why = "no fitted run has start delays".to_owned();
                self.unpredicted.push((Measure::StartDelay, why));
            }
        }
        self.add(Measure::InFlightBytes, wait.persisted_bytes);
        match snapshot.written_bytes {
            Some(written) => self.add(Measure::CheckpointedBytes, written + wait.persisted_bytes),
            None => {
                let why = "no fitted run has the bytes of a checkpoint".to_owned();
                self.unpredicted.push((Measure::CheckpointedBytes, why));
            }
        }
    }

    fn snapshot(&mut self, profile: &Profile, conditions: &Conditions) -> Snapshot {
        let costs = self.costs(profile, conditions.snapshots);
        let size_mb = conditions.dirty_mb_per_subtask();
        let line = &costs.asynchronous;
        if line.extrapolates(size_mb) {
            self.notes.push(format!(
                "{size_mb:.1} MB a subtask is outside of what was fitted ({:.1} to {:.1} MB)",
                line.smallest_mb, line.largest_mb
            ));
        }
        Snapshot {
            took_ms: costs.sync_ms.value + line.at(size_mb),
            written_bytes: costs.written_per_byte.map(|of| of.value * conditions.dirty_bytes()),
        }
    }

    /// The costs of a kind of snapshot, or of the kind that is most like it.
    fn costs<'a>(&mut self, profile: &'a Profile, kind: SnapshotKind) -> &'a SnapshotCosts {
        let likely = match kind {
            SnapshotKind::Heap => [kind, SnapshotKind::RocksFull, SnapshotKind::RocksIncremental],
            SnapshotKind::RocksFull => [kind, SnapshotKind::Heap, SnapshotKind::RocksIncremental],
            SnapshotKind::RocksIncremental => [kind, SnapshotKind::RocksFull, SnapshotKind::Heap],
        };
        let costs = likely.into_iter().find_map(|kind| profile.snapshots(kind));
        let costs = costs.expect("a profile is fitted from at least one kind of snapshot");
        if costs.snapshots != kind {
            self.notes.push(format!(
                "no fitted run has snapshots of {}: costs of {} stand in",
                kind.name(),
                costs.snapshots.name()
            ));
        }
        costs
    }

    fn recovery(&mut self, profile: &Profile, conditions: &Conditions) {
        let measures = Measure::ALL.into_iter().filter(|of| of.told_by() == RunKind::Recovery);
        let (Some(costs), Some(kill_age_ms)) = (&profile.recovery, conditions.kill_age_ms) else {
            let why = "no fitted run is a recovery";
            self.unpredicted = measures.map(|measure| (measure, why.to_owned())).collect();
            return;
        };
        let checkpoint = self.snapshot(profile, conditions).took_ms
            + Wait::of(profile, conditions).until_last_ms
            + profile.checkpoint.travel_ms.value;
        let age_ms = restored_age(conditions, kill_age_ms, checkpoint);
        let finish = race(costs, conditions).finish();
        let size_mb = conditions.state_mb_per_subtask();
        if costs.start.extrapolates(size_mb) {
            self.notes.push(format!(
                "a restore of {size_mb:.1} MB a subtask is outside of what was fitted \
                 ({:.1} to {:.1} MB)",
                costs.start.smallest_mb, costs.start.largest_mb
            ));
        }
        let start = costs.start.at(size_mb);
        let range = |of: &dyn Fn(f64) -> f64| {
            let [low, high] = [finish.restore_begin_low_ms, finish.restore_begin_high_ms];
            Some((of(low + start), of(high + start)))
        };
        let downtime = finish.restore_begin_ms + start;
        self.add(Measure::Restarts, finish.restarts);
        self.values.push(Expected {
            measure: Measure::Downtime,
            value: downtime,
            range: range(&|downtime| downtime),
        });
        self.add(Measure::RestoredAge, age_ms);
        self.add(Measure::ReplayedRecords, replayed(costs, conditions, age_ms));
        let caught_up = |downtime| caught_up(costs, conditions, age_ms, downtime);
        match caught_up(downtime) {
            Some(value) => self.values.push(Expected {
                measure: Measure::TimeToCatchUp,
                value,
                range: range(&|downtime| caught_up(downtime).unwrap_or(f64::INFINITY)),
            }),
            None => {
                let why = "the rate is not below the capacity: it never catches up".to_owned();
                self.unpredicted.push((Measure::TimeToCatchUp, why));
            }
        }
    }

    fn throughput(&mut self, profile: &Profile, conditions: &Conditions) {
        match &profile.throughput {
            Some(costs) => {
                let lost = costs.lost_ms.map_or(0.0, |lost| lost.value);
                let seen = costs.seen_up_to_ms.is_some_and(|of| conditions.interval_ms <= of);
                let share = match conditions.interval_ms > 0.0 {
                    true => (lost / conditions.interval_ms).min(1.0),
                    false => 0.0,
                };
                if conditions.interval_ms > 0.0 && !seen {
                    self.notes.push(format!(
                        "what an interval of {} ms costs is inside the noise of {:.0} %",
                        conditions.interval_ms,
                        costs.noise * 100.0
                    ));
                }
                self.add(Measure::Throughput, costs.free_per_s.value * (1.0 - share));
            }
            None => {
                let why = "no fitted run measures throughput without checkpoints".to_owned();
                self.unpredicted.push((Measure::Throughput, why));
            }
        }
        let measure = Measure::SaturatedCheckpointDuration;
        match profile.checkpoint.saturation_factor {
            Some(factor) if conditions.interval_ms > 0.0 => {
                let took = self.snapshot(profile, conditions).took_ms;
                self.add(measure, factor.value * (profile.checkpoint.travel_ms.value + took));
            }
            Some(_) => {}
            None => {
                let why = "no fitted run is saturated and has checkpoints".to_owned();
                self.unpredicted.push((measure, why));
            }
        }
    }
}

struct Snapshot {
    /// Synchronous and asynchronous part.
    took_ms: f64,
    written_bytes: Option<f64>,
}

/// What data in flight does to a checkpoint.
#[derive(Default)]
struct Wait {
    until_first_ms: f64,
    until_last_ms: f64,
    persisted_bytes: f64,
}

impl Wait {
    fn of(profile: &Profile, conditions: &Conditions) -> Self {
        if !conditions.overloaded() {
            return Self::default();
        }
        let fill = profile.checkpoint.in_flight_fill.map_or(1.0, |fill| fill.value);
        let queues = Queues::of(conditions);
        let exchanges = conditions.exchanges;
        let serve = |buffers: f64| exchanges * in_flight::service_ms(conditions, fill * buffers);
        let blocking = serve(queues.until_last_blocking());
        let held = fill * in_flight::bytes(queues.total) * conditions.parallelism * exchanges;
        match conditions.mode {
            Mode::Aligned => Self {
                // A barrier blocks its channel, so that the last one follows soon: most of the
                // time passes before the first.
                until_first_ms: blocking,
                until_last_ms: blocking,
                persisted_bytes: 0.0,
            },
            Mode::AtLeastOnce => Self {
                until_first_ms: serve(queues.until_first()),
                until_last_ms: serve(queues.until_last_unblocked()),
                persisted_bytes: 0.0,
            },
            Mode::Unaligned => Self { persisted_bytes: held, ..Self::default() },
            Mode::AlignedTimeout(timeout) if timeout < blocking => Self {
                until_first_ms: timeout,
                until_last_ms: timeout,
                // What was served until then is no longer in flight.
                persisted_bytes: held * (1.0 - timeout / blocking),
            },
            Mode::AlignedTimeout(_) => {
                Self { until_first_ms: blocking, until_last_ms: blocking, persisted_bytes: 0.0 }
            }
        }
    }
}

/// How old the restored checkpoint is at the kill: the last one, unless it was still under way.
fn restored_age(conditions: &Conditions, kill_age_ms: f64, duration_ms: f64) -> f64 {
    if kill_age_ms >= duration_ms {
        return kill_age_ms;
    }
    kill_age_ms + conditions.interval_ms.max(duration_ms + conditions.min_pause_ms)
}

fn race(costs: &RecoveryCosts, conditions: &Conditions) -> Race {
    Race {
        detection_ms: costs.detection_ms.value,
        restart_delay_ms: conditions.restart_delay_ms,
        attempt_ms: costs.attempt_ms.value,
        heartbeat_interval_ms: conditions.heartbeat_interval_ms,
        heartbeat_timeout_ms: conditions.heartbeat_timeout_ms,
        give_up_ms: costs.give_up_ms.value,
    }
}

/// What the sources emit again: all since the restored checkpoint, and what those of the surviving
/// workers emit until they are cancelled.
fn replayed(costs: &RecoveryCosts, conditions: &Conditions, age_ms: f64) -> f64 {
    let surviving = 1.0 - 1.0 / conditions.parallelism;
    conditions.rate_per_s * (age_ms + surviving * costs.detection_ms.value) / 1e3
}

/// `(mu D + lambda A) / (mu - lambda)`, the recovery time of section 4 of the models, with D
/// including the warm-up, until the lag is below the threshold. `None` if the job never catches up.
fn caught_up(
    costs: &RecoveryCosts,
    conditions: &Conditions,
    age_ms: f64,
    downtime_ms: f64,
) -> Option<f64> {
    let capacity = conditions.capacity_per_s()? * costs.capacity_share.value;
    let rate = conditions.rate_per_s;
    let spare = capacity - rate;
    let backlog = capacity * (downtime_ms + costs.warm_up_ms.value) + rate * age_ms;
    let until = (backlog - rate * CAUGHT_UP_LAG_MS) / spare;
    (spare > 0.0 && !conditions.overloaded()).then_some(until.max(downtime_ms))
}
