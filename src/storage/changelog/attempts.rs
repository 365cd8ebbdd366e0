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

/// The attempts at one upload.
#[derive(Clone, Debug, Default)]
pub(super) struct Attempts {
    made: u32,
    /// Which of them have neither ended nor taken too long.
    active: Vec<u32>,
    /// Attempts that will be made.
    planned: u32,
}

impl Attempts {
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
            return NextAttempt::None; // It has taken too long before.
        };
        self.active.swap_remove(at);
        if attempt < most {
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
        let mut attempts = Attempts::default();
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
        let mut attempts = Attempts::default();
        let first = attempts.begin();
        assert_eq!(attempts.on_failed(first, 2, zero), NextAttempt::After(zero));
        let second = attempts.begin();
        assert_eq!(attempts.on_failed(first, 2, DELAY), NextAttempt::None);
        assert_eq!(attempts.on_failed(second, 2, DELAY), NextAttempt::GiveUp);
    }
}
