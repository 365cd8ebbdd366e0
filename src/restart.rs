//! When to restart a failed job. In Flink: the `RestartBackoffTimeStrategy` classes, asked by
//! `ExecutionFailureHandler`.
//!
//! Deviation: delays are exact to the nanosecond; Flink cuts them to milliseconds.

use std::collections::VecDeque;

use crate::config::RestartStrategy;
use crate::time::{VirtualDuration, VirtualTime};

/// What becomes of a job that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is restarted.
    Restart {
        /// So long after the failure.
        after: VirtualDuration,
    },
    /// It has failed for good.
    Fail,
}

/// Counts failures and decides after each.
#[derive(Clone, Debug)]
pub struct RestartBackoff {
    strategy: RestartStrategy,
    /// Failures so far (fixed delay), or since the backoff was reset (exponential).
    attempts: u32,
    /// When the last failures were, oldest first (failure rate).
    failures: VecDeque<VirtualTime>,
    /// When the restart after the last failure was due (exponential).
    restart_at: Option<VirtualTime>,
}

impl RestartBackoff {
    /// Of a job that has not failed yet.
    pub fn new(strategy: RestartStrategy) -> Self {
        Self { strategy, attempts: 0, failures: VecDeque::new(), restart_at: None }
    }

    /// A failure at `now`. `word` is a random word, from which the exponential strategy draws its
    /// jitter; the others ignore it.
    pub fn on_failure(&mut self, now: VirtualTime, word: u64) -> Decision {
        match self.strategy {
            RestartStrategy::Disabled => Decision::Fail,
            RestartStrategy::FixedDelay { attempts, delay } => {
                self.attempts = self.attempts.saturating_add(1);
                restart_if(self.attempts <= attempts, delay)
            }
            RestartStrategy::FailureRate { max_failures, interval, delay } => {
                self.on_rated_failure(now, max_failures, interval, delay)
            }
            RestartStrategy::ExponentialDelay { reset_after, attempts, .. } => {
                self.on_exponential_failure(now, reset_after, attempts, word)
            }
        }
    }

    /// One more failure than allowed within the interval is fatal; the interval's end is within.
    fn on_rated_failure(
        &mut self,
        now: VirtualTime,
        max_failures: u32,
        interval: VirtualDuration,
        delay: VirtualDuration,
    ) -> Decision {
        self.failures.push_back(now);
        // One more is kept than may happen: the oldest of them decides.
        while self.failures.len() as u64 > u64::from(max_failures) + 1 {
            self.failures.pop_front();
        }
        let full = self.failures.len() as u64 > u64::from(max_failures);
        let oldest = *self.failures.front().expect("this failure is among them");
        restart_if(!full || now.since(oldest) > interval, delay)
    }

    /// Failures before the restart is due belong to the attempt that is waiting; calm for the
    /// threshold after it was due forgets all earlier ones.
    fn on_exponential_failure(
        &mut self,
        now: VirtualTime,
        reset_after: VirtualDuration,
        attempts: Option<u32>,
        word: u64,
    ) -> Decision {
        let waiting = self.restart_at.filter(|&due| now <= due);
        let due = waiting.unwrap_or_else(|| {
            if self.restart_at.is_some_and(|due| now.since(due) >= reset_after) {
                self.attempts = 0;
            }
            let due = now + self.backoff(word);
            self.attempts = self.attempts.saturating_add(1);
            due
        });
        self.restart_at = Some(due);
        restart_if(attempts.is_none_or(|limit| self.attempts <= limit), due.since(now))
    }

    /// The jitter applies to the backoff before it is capped, as in Flink: a backoff far above the
    /// maximum is the maximum without any jitter.
    fn backoff(&self, word: u64) -> VirtualDuration {
        let RestartStrategy::ExponentialDelay {
            initial,
            max,
            multiplier_permille,
            jitter_permille,
            ..
        } = self.strategy
        else {
            unreachable!("asked by the exponential strategy alone")
        };
        let plain = grown(initial.0, multiplier_permille, self.attempts);
        let offset = u128::from(plain) * u128::from(jitter_permille) / 1_000;
        let drawn = (u128::from(word) * (2 * offset + 1)) >> 64;
        // Not below zero: the jitter is at most as large as the backoff.
        let jittered = (u128::from(plain) + drawn).saturating_sub(offset);
        let nanos = u64::try_from(jittered).unwrap_or(u64::MAX);
        VirtualDuration(nanos.min(max.0).max(initial.0))
    }
}

fn restart_if(allowed: bool, after: VirtualDuration) -> Decision {
    if allowed { Decision::Restart { after } } else { Decision::Fail }
}

/// A backoff that grows beyond 146 years stays there: its jitter still fits 128 bits.
const GROWN_MAX: u64 = u64::MAX >> 2;

/// `initial` × multiplier^`steps`, saturating.
fn grown(initial: u64, multiplier_permille: u32, steps: u32) -> u64 {
    let mut nanos = initial.min(GROWN_MAX);
    for _ in 0..steps {
        let next = u128::from(nanos) * u128::from(multiplier_permille) / 1_000;
        let next = u64::try_from(next).map_or(GROWN_MAX, |next| next.min(GROWN_MAX));
        if next == nanos {
            break;
        }
        nanos = next;
    }
    nanos
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: u64 = 1_000_000_000;

    fn exponential(jitter_permille: u32, attempts: Option<u32>) -> RestartStrategy {
        RestartStrategy::ExponentialDelay {
            initial: VirtualDuration::from_secs(1),
            max: VirtualDuration::from_secs(60),
            multiplier_permille: 1_500,
            reset_after: VirtualDuration::from_secs(3_600),
            jitter_permille,
            attempts,
        }
    }

    /// The delays in milliseconds after failures at these seconds; `x` where the job fails.
    fn delays(strategy: RestartStrategy, failures: &[u64]) -> String {
        let mut backoff = RestartBackoff::new(strategy);
        let decide = |&at| match backoff.on_failure(VirtualTime(at * S), 0) {
            Decision::Restart { after } => after.as_millis().to_string(),
            Decision::Fail => "x".to_owned(),
        };
        failures.iter().map(decide).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_strategy_decides_as_in_flink() {
        let (fixed, rate) = (VirtualDuration::from_secs(3), VirtualDuration::from_secs(10));
        let fixed = |attempts| RestartStrategy::FixedDelay { attempts, delay: fixed };
        let rate = |max_failures| RestartStrategy::FailureRate {
            max_failures,
            interval: rate,
            delay: VirtualDuration::from_secs(1),
        };
        let rows: [(&str, RestartStrategy, &[u64], &str); 9] = [
            ("disabled", RestartStrategy::Disabled, &[5], "x"),
            ("fixed", fixed(2), &[0, 100, 200], "3000 3000 x"),
            ("none allowed", fixed(0), &[0], "x"),
            ("rate: the third within 10 s", rate(2), &[0, 5, 10], "1000 1000 x"),
            ("rate: just outside", rate(2), &[0, 5, 11, 15], "1000 1000 1000 x"),
            ("grows", exponential(0, None), &[0, 2, 4, 8], "1000 1500 2250 3375"),
            ("merged while waiting", exponential(0, Some(1)), &[1, 1, 2, 3], "1000 1000 0 x"),
            (
                "reset an hour after the restart",
                exponential(0, None),
                &[0, 2, 3_603, 7_300],
                "1000 1500 2250 1000",
            ),
            (
                "attempts before reset",
                exponential(0, Some(2)),
                &[0, 2, 4, 3_700],
                "1000 1500 x 1000",
            ),
        ];
        for (name, strategy, failures, expected) in rows {
            assert_eq!(delays(strategy, failures), expected, "{name}");
        }
    }

    #[test]
    fn delays_are_those_of_the_model_data() {
        let data = include_str!("../tests/data/models/restart_backoff.json");
        let data: serde_json::Value = serde_json::from_str(data).expect("a JSON file");
        let rows = data["rows"].as_array().expect("rows");
        assert_eq!(rows.len(), 10);
        for row in rows {
            let number = |part: &str, name: &str| row[part][name].as_f64().expect("a number");
            let span = |name| VirtualDuration((number("in", name) * S as f64) as u64);
            let mut backoff = RestartBackoff::new(RestartStrategy::ExponentialDelay {
                initial: span("initial"),
                max: span("max"),
                multiplier_permille: (number("in", "multiplier") * 1_000.0) as u32,
                reset_after: VirtualDuration::from_secs(3_600),
                jitter_permille: 0,
                attempts: None,
            });
            let (mut now, mut last, mut total) = (VirtualTime::ZERO, 0, 0);
            for _ in 0..number("in", "failures_in_a_row") as u32 {
                let Decision::Restart { after } = backoff.on_failure(now, 0) else {
                    panic!("no limit: {row}");
                };
                (last, total) = (after.0, total + after.0);
                now = now + after + VirtualDuration(1);
            }
            for (name, nanos) in [("nth_delay", last), ("total_delay", total)] {
                let expected = number("out", name);
                let error = (nanos as f64 / S as f64 - expected).abs() / expected;
                assert!(error < 1e-9, "{name}: {nanos} ns, {row}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_jitter_stays_within_its_factor(
            words in prop::collection::vec(any::<u64>(), 1..20),
            jitter in 0_u32..=1_000,
        ) {
            let (mut plain, mut jittered) = (
                RestartBackoff::new(exponential(0, None)),
                RestartBackoff::new(exponential(jitter, None)),
            );
            let mut now = VirtualTime::ZERO;
            for word in words {
                let (Decision::Restart { after: exact }, Decision::Restart { after }) =
                    (plain.on_failure(now, word), jittered.on_failure(now, word))
                else {
                    panic!("no limit");
                };
                prop_assert!(after.0 >= S && after.0 <= 60 * S);
                let offset = exact.0 / 1_000 * u64::from(jitter) + 1_000;
                // The cap hides how far above it the plain backoff is.
                prop_assert!(after.0 <= exact.0 + offset);
                prop_assert!(exact.0 == 60 * S || after.0 + offset >= exact.0);
                now += VirtualDuration::from_secs(100);
            }
        }
    }

    #[test]
    fn the_word_spans_the_whole_jitter() {
        let after =
            |word| RestartBackoff::new(exponential(100, None)).on_failure(VirtualTime(0), word);
        // Below the initial backoff it does not go.
        assert_eq!(after(0), Decision::Restart { after: VirtualDuration(S) });
        assert_eq!(after(u64::MAX), Decision::Restart { after: VirtualDuration(S + S / 10) });
    }
}
