//! What a failure costs: downtime, replay, catching up.
//!
//! A recovery begins when the failure strikes and ends when each split is read as promptly as
//! before it. It has three parts:
//!
//! - *downtime*: until all subtasks run again;
//! - *replay*: until every split is read up to where it had been read before;
//! - *catch-up*: until the records that came in meanwhile are read as well, that is, until the
//!   next record of every split waits no longer than before the failure and two records more.
//!
//! A failure during a recovery prolongs it: one recovery, two failures. What the run's end cuts
//! off is counted, not measured.

use cutline::ids::SubtaskId;
use cutline::time::{VirtualDuration, VirtualTime};

use crate::observe::TaskState;

/// One recovery, measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// When the failure struck.
    pub at: VirtualTime,
    /// Failures that are part of it; 1 unless another one struck during the recovery.
    pub failures: u32,
    /// Until all subtasks ran again; summed up if there were several failures.
    pub downtime: VirtualDuration,
    /// Until every split was read up to where it had been before.
    pub replay: VirtualDuration,
    /// Until no split was behind any more.
    pub catch_up: VirtualDuration,
    /// Input that was read again: the mean over the splits of the time it took to come in.
    pub replayed: VirtualDuration,
}

impl Recovery {
    /// From the failure until the job is as it was.
    pub fn total(&self) -> VirtualDuration {
        self.downtime + self.replay + self.catch_up
    }
}

/// How a split is read.
#[derive(Clone, Debug)]
struct Split {
    /// When its first record is due.
    start: VirtualTime,
    every: VirtualDuration,
    /// How many more are due then.
    ahead: u64,
    /// Real records that one of it stands for.
    weight: u64,
    /// Offset of the next record in this execution.
    next: u64,
    /// The highest `next` of all executions.
    front: u64,
    /// How long a record waits in the steady state: a moving average over 64 records.
    wait: u64,
    /// Read for the first time since the restore.
    fresh: bool,
    replayed: bool,
    caught_up: bool,
    /// Records below an offset that a failure made wait again, and since when; the lowest offset
    /// is last.
    rewound: Vec<(u64, VirtualTime)>,
}

impl Split {
    /// When the record of an offset is due.
    #[inline]
    fn due(&self, offset: u64) -> VirtualTime {
        self.start + self.every * offset.saturating_sub(self.ahead)
    }

    /// A failure: what was read behind the snapshot waits from now on, as if it had just come in.
    fn rewind(&mut self, at: VirtualTime) {
        // What is read for the second time since an earlier failure no longer waits since then.
        while self.rewound.last().is_some_and(|(until, _)| *until <= self.next) {
            self.rewound.pop();
        }
        self.rewound.push((self.next, at));
    }

    /// Since when the record of an offset, due at `due`, has been waiting.
    fn waiting_since(&mut self, offset: u64, due: VirtualTime) -> VirtualTime {
        while self.rewound.last().is_some_and(|(until, _)| *until <= offset) {
            self.rewound.pop();
        }
        self.rewound.last().map_or(due, |(_, since)| due.max(*since))
    }
}

/// Watches for recoveries.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    splits: Vec<Split>,
    running: Vec<bool>,
    /// The subtasks of the job as it is spread now.
    present: std::ops::Range<u32>,
    missing: usize,
    /// The first failure whose effect is not seen yet.
    struck: Option<VirtualTime>,
    /// After it a failure had no effect.
    patience: VirtualDuration,
    open: Option<Open>,
    done: Vec<Recovery>,
    failures: u64,
    /// Time in which not all subtasks ran, of recoveries that are over.
    down: VirtualDuration,
    replayed: VirtualDuration,
    /// Records times nanoseconds that they waited at their source.
    waited: u128,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    began: VirtualTime,
    /// Since when not all subtasks run.
    down_since: Option<VirtualTime>,
    downtime: VirtualDuration,
    failures: u32,
    replayed: VirtualDuration,
    replay_ended: VirtualTime,
    behind: usize,
    unreplayed: usize,
}

impl Watch {
    /// Of so many subtasks, and of splits with these spans between records, and their weights.
    pub(super) fn new(
        subtasks: usize,
        present: std::ops::Range<u32>,
        splits: impl Iterator<Item = (VirtualTime, VirtualDuration, u64, u32)>,
        patience: VirtualDuration,
    ) -> Self {
        let split = |(start, every, ahead, weight)| Split {
            start,
            every,
            ahead,
            weight: u64::from(weight),
            next: 0,
            front: 0,
            wait: 0,
            fresh: false,
            replayed: true,
            caught_up: true,
            rewound: Vec::new(),
        };
        Self {
            splits: splits.map(split).collect(),
            running: vec![false; subtasks],
            missing: present.len(),
            present,
            struck: None,
            patience,
            open: None,
            done: Vec::new(),
            failures: 0,
            down: VirtualDuration::ZERO,
            replayed: VirtualDuration::ZERO,
            waited: 0,
        }
    }

    /// A fault of the plan took effect.
    pub(super) fn on_fault(&mut self, now: VirtualTime) {
        let stale = self.struck.is_none_or(|at| now.since(at) > self.patience);
        if stale {
            self.struck = Some(now);
        }
    }

    /// The execution has failed.
    pub(super) fn on_execution_ended(&mut self, now: VirtualTime) {
        self.running.fill(false);
        self.missing = self.present.len();
        self.fall_behind(now);
    }

    /// One region has failed. Whose splits it reads is not known: those of others are seen to be where
    /// they were with their next records.
    pub(super) fn on_region_ended(&mut self, now: VirtualTime, subtasks: &[SubtaskId]) {
        for subtask in subtasks {
            self.missing += usize::from(std::mem::take(&mut self.running[subtask.index()]));
        }
        self.fall_behind(now);
    }

    fn fall_behind(&mut self, now: VirtualTime) {
        let began = self.struck.take().filter(|at| now.since(*at) <= self.patience).unwrap_or(now);
        self.failures += 1;
        for split in &mut self.splits {
            split.rewind(began);
            split.fresh = true;
            split.replayed = false;
            split.caught_up = false;
        }
        let splits = self.splits.len();
        let open = self.open.get_or_insert(Open {
            began,
            down_since: None,
            downtime: VirtualDuration::ZERO,
            failures: 0,
            replayed: VirtualDuration::ZERO,
            replay_ended: now,
            behind: splits,
            unreplayed: splits,
        });
        open.failures += 1;
        open.down_since.get_or_insert(began);
        open.behind = splits;
        open.unreplayed = splits;
    }

    /// A new job is spread over these subtasks, none of which runs yet.
    pub(super) fn on_rescaled(&mut self, present: std::ops::Range<u32>) {
        self.running.fill(false);
        self.missing = present.len();
        self.present = present;
    }

    /// A subtask entered a state.
    pub(super) fn on_task(&mut self, now: VirtualTime, subtask: SubtaskId, state: TaskState) {
        let runs = match state {
            TaskState::Running | TaskState::Finished => true,
            TaskState::Deploying
            | TaskState::Initializing
            | TaskState::Canceled
            | TaskState::Failed => return,
        };
        if !self.present.contains(&subtask.0) {
            return; // Of a former job.
        }
        let known = std::mem::replace(&mut self.running[subtask.index()], runs);
        self.missing -= usize::from(!known);
        if self.missing == 0
            && let Some(open) = &mut self.open
            && let Some(since) = open.down_since.take()
        {
            open.downtime += now.since(since);
            self.down += now.since(since);
            open.replay_ended = now;
        }
    }

    /// A source read a record that was due at `due`.
    #[inline]
    pub(super) fn on_read(
        &mut self,
        now: VirtualTime,
        split: usize,
        offset: u64,
    ) -> VirtualDuration {
        let state = &mut self.splits[split];
        let due = state.due(offset);
        let wait = now.since(due);
        if self.open.is_some() {
            let waited = now.since(state.waiting_since(offset, due)).0;
            self.waited += u128::from(waited) * u128::from(state.weight);
            self.on_read_again(now, split, offset, wait);
            return wait;
        }
        state.next = offset + 1;
        state.front = state.next;
        state.wait = state.wait - state.wait / 64 + wait.0 / 64;
        self.waited += u128::from(wait.0) * u128::from(state.weight);
        wait
    }

    #[cold]
    fn on_read_again(
        &mut self,
        now: VirtualTime,
        split: usize,
        offset: u64,
        wait: VirtualDuration,
    ) {
        let splits = self.splits.len() as u64;
        let (state, Some(open)) = (&mut self.splits[split], &mut self.open) else { return };
        if std::mem::take(&mut state.fresh) {
            let again = state.every * state.next.saturating_sub(offset);
            let again = VirtualDuration(again.0 / splits);
            open.replayed += again;
            self.replayed += again;
        }
        state.next = offset + 1;
        state.front = state.front.max(state.next);
        if open.down_since.is_some() {
            return;
        }
        if !state.replayed && state.next >= state.front {
            state.replayed = true;
            open.unreplayed -= 1;
            open.replay_ended = now;
        }
        let usual = VirtualDuration(state.wait) + state.every * 2;
        if state.replayed && !state.caught_up && wait <= usual {
            state.caught_up = true;
            open.behind -= 1;
        }
        if open.behind == 0 {
            self.close(now);
        }
    }

    fn close(&mut self, now: VirtualTime) {
        let open = self.open.take().expect("it was open");
        let total = now.since(open.began);
        let replay = open.replay_ended.since(open.began).saturating_sub(open.downtime);
        self.done.push(Recovery {
            at: open.began,
            failures: open.failures,
            downtime: open.downtime,
            replay,
            catch_up: total.saturating_sub(open.downtime + replay),
            replayed: open.replayed,
        });
    }

    /// Whether all subtasks run and no recovery is under way.
    pub(crate) fn is_calm(&self) -> bool {
        self.open.is_none() && self.missing == 0
    }

    /// Records times nanoseconds that they have waited at their source so far.
    pub(super) fn waited(&self) -> u128 {
        self.waited
    }

    /// Executions that have failed so far.
    pub(crate) fn failures(&self) -> u64 {
        self.failures
    }

    /// For how long the oldest record that no source has read yet has been due.
    pub(crate) fn behind(&self, now: VirtualTime) -> VirtualDuration {
        let due = |split: &Split| split.due(split.next);
        self.splits.iter().map(|split| now.since(due(split))).max().unwrap_or(VirtualDuration::ZERO)
    }

    /// The run is over.
    pub(super) fn finish(mut self, now: VirtualTime) -> Recoveries {
        if let Some(since) = self.open.as_ref().and_then(|open| open.down_since) {
            self.down += now.since(since);
        }
        Recoveries {
            done: self.done,
            cut_off: u64::from(self.open.is_some()),
            failures: self.failures,
            down: self.down,
            replayed: self.replayed,
            waited: self.waited,
        }
    }
}

/// The recoveries of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recoveries {
    /// Those that ended.
    pub done: Vec<Recovery>,
    /// Those that the run's end cut off: 0 or 1.
    pub cut_off: u64,
    /// Executions that failed.
    pub failures: u64,
    /// Time in which not all subtasks ran after a failure.
    pub down: VirtualDuration,
    /// Input that was read again, in time it took to come in; mean over the splits.
    pub replayed: VirtualDuration,
    /// Records (with their weight) times nanoseconds that they waited at their source. A record
    /// that a failure makes wait again waits from the failure on.
    pub waited: u128,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn at(ms: u64) -> VirtualTime {
        VirtualTime::from_millis(ms)
    }

    /// One subtask, one split with a record each 10 ms, read at once, then a failure at 1005 ms.
    fn failed(restored: u64, up: u64) -> Watch {
        let every = VirtualDuration::from_millis(10);
        let patience = VirtualDuration::from_secs(1);
        let mut watch =
            Watch::new(1, 0..1, [(VirtualTime::ZERO, every, 0, 3)].into_iter(), patience);
        watch.on_task(at(0), SubtaskId(0), TaskState::Running);
        for offset in 0..=100 {
            watch.on_read(at(offset * 10), 0, offset);
        }
        watch.on_fault(at(1_005));
        watch.on_execution_ended(at(1_010));
        watch.on_task(at(up), SubtaskId(0), TaskState::Running);
        // Twice as fast as records come in.
        let mut now = up;
        for offset in restored.. {
            now = (now + 5).max(offset * 10);
            watch.on_read(at(now), 0, offset);
            if watch.open.is_none() {
                break;
            }
        }
        watch
    }

    #[test]
    fn the_parts_of_a_recovery_add_up() {
        let recoveries = failed(51, 1_205).finish(at(5_000));
        let [recovery] = recoveries.done[..] else { panic!("{recoveries:?}") };
        // 50 records again, 5 ms each; the fluid model: age 495 ms and downtime 200 ms at a
        // surplus of as much as comes in, less the two records of tolerance.
        assert_eq!(recovery.downtime, VirtualDuration(200 * MS));
        assert_eq!(recovery.replayed, VirtualDuration(500 * MS));
        assert_eq!(recovery.replay, VirtualDuration(250 * MS));
        let expected = 200 + 495 + 200;
        assert!(recovery.total().as_millis().abs_diff(expected) <= 20, "{recovery:?}");
        assert_eq!((recoveries.failures, recoveries.cut_off), (1, 0));
        // Three real records each: 50 wait again from the failure on, 20 come in during the
        // downtime, and the surplus drains one each 10 ms: a trapezium and two triangles.
        let area = 3 * (50 * 200 + 20 * 100 + 70 * 700 / 2);
        let waited = (recoveries.waited / u128::from(MS)) as u64;
        assert!(waited.abs_diff(area) * 20 <= area, "{waited}, expected about {area}");
    }

    #[test]
    fn a_failure_in_a_recovery_prolongs_it() {
        let mut watch = failed(51, 1_205);
        watch.done.clear();
        watch.on_fault(at(3_000));
        watch.on_execution_ended(at(3_000));
        watch.on_task(at(3_100), SubtaskId(0), TaskState::Running);
        watch.on_fault(at(3_200));
        watch.on_execution_ended(at(3_200));
        let cut_off = watch.clone().finish(at(3_250));
        assert_eq!((cut_off.done.len(), cut_off.cut_off), (0, 1));
        assert_eq!(cut_off.down, VirtualDuration((200 + 100 + 50) * MS));
        watch.on_task(at(3_300), SubtaskId(0), TaskState::Running);
        watch.on_read(at(3_330), 0, 333);
        let recoveries = watch.finish(at(4_000));
        let [recovery] = recoveries.done[..] else { panic!("{recoveries:?}") };
        assert_eq!(recovery.failures, 2);
        assert_eq!(recovery.downtime, VirtualDuration(200 * MS));
        assert_eq!(recovery.total(), VirtualDuration(330 * MS));
    }
}
