//! When the next periodic checkpoint is due.
//!
//! The coordinator owns the timer; a policy only says for when it is to be set. Those of
//! [`adaptive`](super::adaptive) (Young, Daly, the exact optimum, measured cost), or a user's own,
//! take the place of [`PeriodicTimer`] without the coordinator noticing.

use std::collections::BTreeSet;
use std::fmt;

use crate::ids::OperatorId;
use crate::time::{VirtualDuration, VirtualTime};

/// Decides for when the timer of periodic checkpoints is set.
pub trait TriggerPolicy: fmt::Debug + Send {
    /// Whether there are periodic checkpoints at all.
    fn is_periodic(&self) -> bool {
        true
    }

    /// The scheduler was started; `delay` was drawn by the caller (Flink draws it between the
    /// minimum pause and the interval). Answers when the first request is due.
    fn started(&mut self, now: VirtualTime, delay: VirtualDuration) -> VirtualTime;

    /// The request due at `due` was made. Answers when the next one is; `None`: never.
    fn fired(&mut self, now: VirtualTime, due: VirtualTime) -> Option<VirtualTime>;

    /// A source says whether it works off a backlog. `due` is what the timer is set for. Answers a
    /// new time for it, or `None` to leave it.
    fn backlog(
        &mut self,
        now: VirtualTime,
        source: OperatorId,
        on: bool,
        due: Option<VirtualTime>,
    ) -> Option<VirtualTime> {
        let _ = (now, source, on, due);
        None
    }

    /// A checkpoint completed, and this is what it took.
    fn completed(&mut self, now: VirtualTime, took: CheckpointCost) {
        let _ = (now, took);
    }

    /// So much of the job goes back to a checkpoint: something in it has failed. Also called when a
    /// leader begins with the job, ahead of the first [`started`](Self::started): that is no failure
    /// that it has seen. The scheduler is started without one as well, after a stop that came to
    /// nothing.
    fn restored(&mut self, now: VirtualTime, share: Share) {
        let _ = (now, share);
    }
}

/// How much of a job is meant: what a failure costs is the work of those who repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// So many subtasks …
    pub subtasks: u32,
    /// … of so many; at least one.
    pub of: u32,
}

/// What a completed checkpoint took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointCost {
    /// From its trigger to the durable decision (`d` of the cost models).
    pub duration: VirtualDuration,
    /// Processing time that it took away at the slowest subtask: the synchronous part, and the
    /// alignment where that blocks channels (`c` of the cost models).
    pub stalled: VirtualDuration,
}

/// Flink's periodic timer: a fixed interval, another one while a source has a backlog.
#[derive(Clone, Debug)]
pub struct PeriodicTimer {
    /// `None`: no periodic checkpoints.
    interval: Option<VirtualDuration>,
    /// `None`: no periodic checkpoints while a source has a backlog.
    interval_during_backlog: Option<VirtualDuration>,
    backlogged: BTreeSet<OperatorId>,
}

impl PeriodicTimer {
    /// Fires every `interval`, or every `min_pause` if that is longer.
    ///
    /// `interval`: Flink's `execution.checkpointing.interval`; `None` for no periodic checkpoints.
    /// `during_backlog`: Flink's `execution.checkpointing.interval-during-backlog`; zero for no
    /// periodic checkpoints meanwhile, `None` for no difference. It is not raised to the pause.
    pub fn new(
        interval: Option<VirtualDuration>,
        during_backlog: Option<VirtualDuration>,
        min_pause: VirtualDuration,
    ) -> Self {
        let interval = interval.map(|interval| interval.max(min_pause));
        Self {
            interval,
            interval_during_backlog: match during_backlog {
                Some(interval) => (!interval.is_zero()).then_some(interval),
                None => interval,
            },
            backlogged: BTreeSet::new(),
        }
    }

    fn current(&self) -> Option<VirtualDuration> {
        if self.backlogged.is_empty() { self.interval } else { self.interval_during_backlog }
    }
}

impl TriggerPolicy for PeriodicTimer {
    fn is_periodic(&self) -> bool {
        self.interval.is_some()
    }

    fn started(&mut self, now: VirtualTime, delay: VirtualDuration) -> VirtualTime {
        now + delay
    }

    fn fired(&mut self, _now: VirtualTime, due: VirtualTime) -> Option<VirtualTime> {
        // A fixed rate: a timer served late does not push the later ones back.
        self.current().map(|interval| due + interval)
    }

    fn backlog(
        &mut self,
        now: VirtualTime,
        source: OperatorId,
        on: bool,
        due: Option<VirtualTime>,
    ) -> Option<VirtualTime> {
        if on {
            self.backlogged.insert(source);
        } else {
            self.backlogged.remove(&source);
        }
        let next = now + self.current()?;
        // Only ever earlier. The timer that is set runs out first, and the one after it keeps to
        // the new interval.
        due.is_none_or(|due| next < due).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> VirtualDuration {
        VirtualDuration::from_millis(ms)
    }

    fn at(ms: u64) -> VirtualTime {
        VirtualTime::from_millis(ms)
    }

    #[test]
    fn the_interval_is_at_least_the_pause() {
        for (name, interval, pause, next) in
            [("longer interval", 100, 10, 105), ("longer pause", 100, 150, 155)]
        {
            let mut timer = PeriodicTimer::new(Some(ms(interval)), None, ms(pause));
            assert_eq!(timer.fired(at(7), at(5)), Some(at(next)), "{name}");
        }
    }

    #[test]
    fn a_backlog_stretches_and_its_end_pulls_the_timer_in() {
        let mut timer = PeriodicTimer::new(Some(ms(100)), Some(ms(400)), ms(0));
        let (a, b) = (OperatorId(1), OperatorId(2));
        assert_eq!(timer.backlog(at(10), a, true, Some(at(100))), None);
        assert_eq!(timer.backlog(at(20), b, true, Some(at(100))), None);
        assert_eq!(timer.fired(at(100), at(100)), Some(at(500)));
        assert_eq!(timer.backlog(at(110), a, false, Some(at(500))), None);
        assert_eq!(timer.backlog(at(120), b, false, Some(at(500))), Some(at(220)));
    }

    #[test]
    fn zero_during_backlog_means_none() {
        let mut timer = PeriodicTimer::new(Some(ms(100)), Some(ms(0)), ms(0));
        timer.backlog(at(0), OperatorId(1), true, Some(at(100)));
        assert_eq!(timer.fired(at(100), at(100)), None);
    }
}
