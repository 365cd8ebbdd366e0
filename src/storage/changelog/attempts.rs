//! Attempts at uploading a change set. Flink: `RetryingExecutor`, `RetryPolicy.FixedRetryPolicy`.
//!
//! An attempt that takes too long is not given up: another one is made beside it, and the first
//! that succeeds counts.

use crate::time::VirtualDuration;

/// What is to be done about an attempt that failed, or takes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextAttempt {
    /// Nothing: another one is under way, or was successful.
    None,
    /// Another one is made after so long.
    After(VirtualDuration),
    /// That was the last one: the upload has failed.
    GiveUp,
}

/// A series of attempts at one upload. After one that was given up there may be another; the attempts
/// of both have numbers of their own, so that what is heard late of the first is not taken for news of
/// the second.
#[derive(Clone, Debug)]
pub(super) struct Attempts {
    /// Made in earlier series.
    before: u32,
    made: u32,
    /// Which of them have neither ended nor taken too long.
    active: Vec<u32>,
    /// Attempts that will be made.
    planned: u32,
}

impl Attempts {
    /// A series, after so many attempts in earlier ones.
    pub(super) fn after(before: u32) -> Self {
        Self { before, made: before, active: Vec::new(), planned: 0 }
    }

    /// The number of the last attempt that was made; of earlier series, if there was none in this.
    pub(super) fn made(&self) -> u32 {
        self.made
    }

    /// An attempt begins, and gets a number.
    pub(super) fn begin(&mut self) -> u32 {
        self.planned = self.planned.saturating_sub(1);
        self.made += 1;
        self.active.push(self.made);
        self.made
    }

    /// An attempt has failed (`delay`: the next one is made after that), or has taken too long.
    pub(super) fn on_failed(
        &mut self,
        attempt: u32,
        most: u32,
        delay: VirtualDuration,
    ) -> NextAttempt {
        let Some(at) = self.active.iter().position(|one| *one == attempt) else {
            return NextAttempt::None; // It has taken too long before, or is of an earlier series.
        };
        self.active.swap_remove(at);
        if attempt - self.before < most {
            self.planned += 1;
            return NextAttempt::After(delay);
        }
        match self.active.is_empty() && self.planned == 0 {
            true => NextAttempt::GiveUp,
            false => NextAttempt::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: VirtualDuration = VirtualDuration::from_millis(500);

    #[test]
    fn so_many_attempts_are_made() {
        let mut attempts = Attempts::after(0);
        for number in 1..3 {
            assert_eq!(attempts.begin(), number);
            assert_eq!(attempts.on_failed(number, 3, DELAY), NextAttempt::After(DELAY));
        }
        assert_eq!(attempts.begin(), 3);
        assert_eq!(attempts.on_failed(3, 3, DELAY), NextAttempt::GiveUp);
    }

    #[test]
    fn what_takes_too_long_fails_once() {
        let zero = VirtualDuration::ZERO;
        let mut attempts = Attempts::after(0);
        let first = attempts.begin();
        assert_eq!(attempts.on_failed(first, 2, zero), NextAttempt::After(zero));
        let second = attempts.begin();
        assert_eq!(attempts.on_failed(first, 2, DELAY), NextAttempt::None);
        assert_eq!(attempts.on_failed(second, 2, DELAY), NextAttempt::GiveUp);
    }

    #[test]
    fn an_earlier_series_has_no_say_in_the_next() {
        let mut attempts = Attempts::after(0);
        let first = attempts.begin();
        let mut attempts = Attempts::after(attempts.made());
        let second = attempts.begin();
        assert_ne!(first, second);
        assert_eq!(attempts.on_failed(first, 1, DELAY), NextAttempt::None);
        assert_eq!(attempts.on_failed(second, 1, DELAY), NextAttempt::GiveUp);
    }
}
