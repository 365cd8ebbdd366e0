//! The run loop: takes one event after the other until there is a reason to stop.

use std::ops::ControlFlow;

use cutline::time::VirtualTime;

use super::queue::Queue;

/// A world, as the run loop sees it.
pub trait Dispatch {
    /// What is scheduled: small, since it moves with the queue. Bulk stays in the world, and the
    /// event holds an index to it.
    type Event: Copy;

    /// Handles one event at its instant, and schedules what follows from it, at `now` or later.
    ///
    /// [`ControlFlow::Break`] ends the run after this event, with [`End::Stopped`].
    fn dispatch(
        &mut self,
        now: VirtualTime,
        event: Self::Event,
        schedule: &mut Queue<Self::Event>,
    ) -> ControlFlow<()>;
}

/// What a run may take; each limit ends it with a verdict instead of a hang.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The last instant whose events are handled; none for as long as there are events.
    pub until: Option<VirtualTime>,
    /// Most events to handle.
    pub events: u64,
    /// Most events to handle at one instant. More than a world can cause in earnest says that it
    /// turns in circles without time passing.
    pub at_one_instant: u64,
}

impl Default for Limits {
    /// No end of time, 100 million events, one million at one instant.
    fn default() -> Self {
        Self { until: None, events: 100_000_000, at_one_instant: 1_000_000 }
    }
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Nothing is left to happen.
    Quiet,
    /// The next event is after [`Limits::until`].
    Until,
    /// [`Limits::events`] events were handled, and there are more.
    Budget,
    /// [`Limits::at_one_instant`] events were handled at one instant, and there are more at it.
    Livelock,
    /// The world asked for it.
    Stopped,
}

/// How far a run came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Why it ended.
    pub end: End,
    /// Number of events handled by this call.
    pub events: u64,
    /// The instant of the event handled last, by this call or before.
    pub now: VirtualTime,
}

/// Handles events in order until there is a reason to stop.
///
/// The event that would have broken a limit stays in the queue, so that a report can name it and a
/// later call with wider limits goes on as if there had been no stop. The counts start anew with each
/// call. If several limits are reached at once, the verdict is the first in the order of [`End`].
///
/// # Panics
///
/// If the clock were to go back; [`Queue::push`] refuses to let it.
#[inline]
pub fn run<D: Dispatch>(world: &mut D, queue: &mut Queue<D::Event>, limits: &Limits) -> Ran {
    let until = limits.until.unwrap_or(VirtualTime::MAX);
    let mut now = queue.now();
    let mut events = 0;
    let mut first_of_instant = 0;
    let end = loop {
        let Some(next) = queue.peek_time() else {
            break End::Quiet;
        };
        if next > until {
            break End::Until;
        }
        if events >= limits.events {
            break End::Budget;
        }
        if next != now {
            first_of_instant = events;
        } else if events - first_of_instant >= limits.at_one_instant {
            break End::Livelock;
        }
        let (at, event) = queue.pop().expect("the event whose time was seen is there");
        assert!(at >= now, "the clock goes back");
        now = at;
        events += 1;
        if world.dispatch(now, event, queue).is_break() {
            break End::Stopped;
        }
    };
    Ran { end, events, now }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows each event by the same one after a delay, so many times, and writes down what came.
    struct Echo {
        delay: u64,
        left: u64,
        stop_at: Option<u64>,
        seen: Vec<(u64, u8)>,
    }

    impl Dispatch for Echo {
        type Event = u8;

        fn dispatch(
            &mut self,
            now: VirtualTime,
            event: u8,
            schedule: &mut Queue<u8>,
        ) -> ControlFlow<()> {
            self.seen.push((now.0, event));
            if self.left > 0 {
                self.left -= 1;
                schedule.push(VirtualTime(now.0 + self.delay), event);
            }
            if self.stop_at == Some(now.0) {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        }
    }

    fn echo(delay: u64) -> Echo {
        Echo { delay, left: 1_000, stop_at: None, seen: Vec::new() }
    }

    fn queue(events: &[(u64, u8)]) -> Queue<u8> {
        let mut queue = Queue::new();
        for (at, event) in events {
            queue.push(VirtualTime(*at), *event);
        }
        queue
    }

    #[test]
    fn a_run_ends_for_the_reason_that_comes_first() {
        let limits = Limits { until: Some(VirtualTime(100)), events: 50, at_one_instant: 10 };
        let rows = [
            ("no events", echo(1), vec![], End::Quiet, 0, 0),
            ("no more events", Echo { left: 3, ..echo(5) }, vec![(2, 0)], End::Quiet, 4, 17),
            ("until is included", echo(10), vec![(0, 0)], End::Until, 11, 100),
            ("too many events", echo(1), vec![(0, 0)], End::Budget, 50, 49),
            ("no time passes", echo(0), vec![(3, 0)], End::Livelock, 10, 3),
            ("no time passes at the start", echo(0), vec![(0, 0)], End::Livelock, 10, 0),
            (
                "as many at one instant as may be",
                Echo { left: 0, ..echo(0) },
                vec![(7, 0); 10],
                End::Quiet,
                10,
                7,
            ),
            (
                "the world stops",
                Echo { stop_at: Some(20), ..echo(10) },
                vec![(0, 0)],
                End::Stopped,
                3,
                20,
            ),
        ];
        for (name, mut world, pending, end, events, now) in rows {
            let ran = run(&mut world, &mut queue(&pending), &limits);
            let now = VirtualTime(now);
            assert_eq!(ran, Ran { end, events, now }, "{name}");
            assert_eq!(world.seen.len() as u64, events, "{name}");
        }
    }

    #[test]
    fn a_run_in_pieces_sees_what_a_run_in_one_sees() {
        let pending = [(4, 1), (4, 2), (9, 3), (0, 4)];
        let mut whole = echo(3);
        run(&mut whole, &mut queue(&pending), &Limits::default());

        let mut pieces = echo(3);
        let mut queue = queue(&pending);
        let mut until = 0;
        loop {
            let limits = Limits { until: Some(VirtualTime(until)), events: 3, ..Limits::default() };
            match run(&mut pieces, &mut queue, &limits).end {
                End::Quiet => break,
                End::Until => until += 7,
                End::Budget => {}
                end @ (End::Livelock | End::Stopped) => panic!("{end:?}"),
            }
        }
        assert_eq!(pieces.seen, whole.seen);
        assert_eq!(whole.seen.len(), 1_004);
    }
}
