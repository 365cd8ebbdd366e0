//! How many restarts one lost worker costs: a race between restarts and the heartbeat.
//!
//! A broken connection fails the job within moments, but the slots of the dead worker are given up
//! only when two heartbeats to it have failed (Flink: `heartbeat.rpc-failure-threshold`, 2) or
//! `heartbeat.timeout` has passed. A restart whose delay ends before that is deployed onto the dead
//! slots, fails, and costs another delay.

use serde::Serialize;

use super::robust::median;

/// What decides the race, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Race {
    /// Kill to the failure of the job.
    pub detection_ms: f64,
    /// Fixed delay before each restart.
    pub restart_delay_ms: f64,
    /// What a restart takes besides its delay until it is known to have failed or begins to
    /// restore.
    pub attempt_ms: f64,
    /// `heartbeat.interval`.
    pub heartbeat_interval_ms: f64,
    /// `heartbeat.timeout`.
    pub heartbeat_timeout_ms: f64,
    /// From the second failed heartbeat to the slots being given up.
    pub give_up_ms: f64,
}

/// How the race ends, over all phases that the heartbeat may have at the kill.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Finish {
    /// Restarts: the median.
    pub restarts: f64,
    /// Kill to the beginning of the restore that succeeds: the median.
    pub restore_begin_ms: f64,
    /// The same when the heartbeat comes early (10 % of the phases are quicker).
    pub restore_begin_low_ms: f64,
    /// The same when it comes late (10 % are slower).
    pub restore_begin_high_ms: f64,
}

/// Heartbeats that must fail. Flink: `heartbeat.rpc-failure-threshold`.
const FAILURES: f64 = 2.0;
/// Phases of the heartbeat that are looked at.
const PHASES: u32 = 200;

impl Race {
    /// Runs it for phases spread evenly over the heartbeat's interval.
    pub fn finish(&self) -> Finish {
        let phases = (0..PHASES).map(|n| (f64::from(n) + 0.5) / f64::from(PHASES));
        // In the order of the phases, restarts and times only grow.
        let ends: Vec<f64> = phases.map(|phase| self.restarts(phase)).collect();
        let begin = |restarts: f64| self.detection_ms + restarts * self.step_ms();
        let quantile = |percent: usize| {
            let mut sorted = ends.clone();
            sorted.sort_by(f64::total_cmp);
            begin(sorted[(sorted.len() - 1) * percent / 100])
        };
        let restarts = median(ends.iter().copied()).expect("there are phases");
        Finish {
            restarts,
            restore_begin_ms: begin(restarts),
            restore_begin_low_ms: quantile(10),
            restore_begin_high_ms: quantile(90),
        }
    }

    /// Kill to the slots being given up, for a phase: the share of an interval from the kill to the
    /// next heartbeat.
    fn given_up_ms(&self, phase: f64) -> f64 {
        let by_failures = (FAILURES - 1.0 + phase) * self.heartbeat_interval_ms + self.give_up_ms;
        let last_answer_ago = (1.0 - phase) * self.heartbeat_interval_ms;
        let by_timeout = (self.heartbeat_timeout_ms - last_answer_ago).max(0.0);
        by_failures.min(by_timeout)
    }

    fn restarts(&self, phase: f64) -> f64 {
        let late = self.given_up_ms(phase) - self.detection_ms;
        (late / self.step_ms()).ceil().max(1.0)
    }

    /// One restart; a strategy without any delay still takes a moment to try.
    fn step_ms(&self) -> f64 {
        (self.restart_delay_ms + self.attempt_ms).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEASURED: Race = Race {
        detection_ms: 124.0,
        restart_delay_ms: 1_000.0,
        attempt_ms: 25.0,
        heartbeat_interval_ms: 1_000.0,
        heartbeat_timeout_ms: 10_000.0,
        give_up_ms: 30.0,
    };

    #[test]
    fn the_race_by_heartbeat_and_delay() {
        for (what, race, restarts) in [
            ("heartbeat as short as the delay", MEASURED, 2.0),
            (
                "a delay that outlasts two heartbeats",
                Race { restart_delay_ms: 3_000.0, ..MEASURED },
                1.0,
            ),
            (
                "Flink's defaults: 10 to 20 s, a second at a time",
                Race {
                    heartbeat_interval_ms: 10_000.0,
                    heartbeat_timeout_ms: 50_000.0,
                    ..MEASURED
                },
                15.0,
            ),
            (
                "the timeout comes before the second failure",
                Race {
                    heartbeat_interval_ms: 10_000.0,
                    heartbeat_timeout_ms: 12_000.0,
                    ..MEASURED
                },
                7.0,
            ),
        ] {
            let finish = race.finish();
            assert_eq!(finish.restarts, restarts, "{what}");
            assert!(finish.restore_begin_low_ms <= finish.restore_begin_ms, "{what}");
            assert!(finish.restore_begin_ms <= finish.restore_begin_high_ms, "{what}");
        }
        let delayless = Race { restart_delay_ms: 0.0, attempt_ms: 0.0, ..MEASURED };
        assert!(delayless.finish().restarts.is_finite());
    }
}
