//! A schedule by priorities: what happens at nearly the same time happens in a drawn order.
//!
//! Concept: probabilistic concurrency testing (Burckhardt et al., "A Randomized Scheduler with
//! Probabilistic Guarantees of Finding Bugs", ASPLOS 2010). The threads are *flows* here: the
//! messages of one link, the requests of one process, the answers to it. Each has a random
//! priority. What comes within one window waits for its end and goes on in the order of the
//! priorities, first come first served within a flow; at a few drawn points the flow that is served
//! falls behind all others. Which of many flows are at odds does not matter then, only how few
//! orderings a race needs.
//!
//! Timers are not held: they would be late, which no clock is.

use std::collections::BTreeMap;

use cutline::time::{VirtualDuration, VirtualTime};

use super::ProcessId;
use crate::kernel::stream::{Stream, Streams};

/// The points at which a flow falls behind lie among so many events.
const EVENTS_MAX: u64 = 2_000;

/// Ranks from here on are those of flows that have fallen behind.
const BEHIND: u64 = 1 << 63;

/// What keeps its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Flow {
    /// Messages from one process to another, and the news that the connection broke.
    Link(ProcessId, ProcessId),
    /// Requests of a process.
    Requests(ProcessId),
    /// Answers to a process.
    Answers(ProcessId),
}

/// The events that wait for the end of the window, and the order in which they will go on.
#[derive(Debug)]
pub(super) struct Reorder<E> {
    window: VirtualDuration,
    until: VirtualTime,
    ranks: BTreeMap<Flow, u64>,
    /// Events until the next flows fall behind, ascending.
    falls: Vec<u64>,
    fallen: u64,
    seen: u64,
    held: Vec<(u64, E)>,
}

impl<E> Reorder<E> {
    pub(super) fn new(
        window: VirtualDuration,
        until: VirtualTime,
        changes: u32,
        stream: &mut Stream,
    ) -> Self {
        let mut falls: Vec<u64> = (0..changes).map(|_| stream.between(1, EVENTS_MAX)).collect();
        falls.sort_unstable();
        Self { window, until, ranks: BTreeMap::new(), falls, fallen: 0, seen: 0, held: Vec::new() }
    }

    /// Whether it holds anything, or will.
    pub(super) fn is_active(&self, now: VirtualTime) -> bool {
        now < self.until || !self.held.is_empty()
    }

    /// When an event that comes now may go on; `None`: at once. At the end of a window, or of the
    /// fault, it must not overtake what is still held.
    pub(super) fn end_of_window(&self, now: VirtualTime) -> Option<VirtualTime> {
        let end = VirtualTime(now.0.next_multiple_of(self.window.0));
        (now < self.until && end > now || !self.held.is_empty()).then_some(end)
    }

    /// Takes an event that has to wait; says whether it is the first one in its window.
    pub(super) fn hold(
        &mut self,
        event: E,
        flow: Flow,
        (names, streams): (&[String], &Streams),
    ) -> bool {
        let rank = *self.ranks.entry(flow).or_insert_with(|| {
            let name = |process: ProcessId| &names[process.index()];
            let flow = match flow {
                Flow::Link(from, to) => format!("{}->{}", name(from), name(to)),
                Flow::Requests(process) => format!("requests of {}", name(process)),
                Flow::Answers(process) => format!("answers to {}", name(process)),
            };
            streams.stream("reorder", &flow).below(BEHIND)
        });
        self.seen += 1;
        if self.falls.get(self.fallen as usize).is_some_and(|at| *at <= self.seen) {
            self.fallen += 1;
            self.ranks.insert(flow, BEHIND + self.fallen);
        }
        self.held.push((rank, event));
        self.held.len() == 1
    }

    /// The window has ended: what waited, in the order in which it goes on.
    pub(super) fn release(&mut self) -> impl Iterator<Item = E> {
        self.held.sort_by_key(|(rank, _)| *rank);
        self.held.drain(..).map(|(_, event)| event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(seed: u64, changes: u32) -> Vec<Vec<(u32, u32)>> {
        let streams = Streams { seed };
        let names = ["a", "b", "c"].map(str::to_owned);
        let window = VirtualDuration::from_millis(1);
        let until = VirtualTime::from_millis(1_000);
        let mut reorder = Reorder::new(window, until, changes, &mut streams.stream("reorder", ""));
        let mut order = Vec::new();
        for _ in 0..400 {
            for (number, flow) in (0..6).map(|number| (number, number % 3)) {
                let flow_of = Flow::Link(ProcessId(flow), ProcessId((flow + 1) % 3));
                let first = reorder.hold((flow, number), flow_of, (&names, &streams));
                assert_eq!(first, number == 0);
            }
            order.push(reorder.release().collect());
        }
        order
    }

    #[test]
    fn flows_go_on_by_priority_and_keep_their_own_order() {
        let mut firsts = std::collections::BTreeSet::new();
        for seed in 0..20 {
            let windows = schedule(seed, 0);
            assert!(windows.iter().all(|window| *window == windows[0]), "nothing falls behind");
            let window = &windows[0];
            for flow in 0..3 {
                let own: Vec<_> = window.iter().filter(|it| it.0 == flow).collect();
                assert!(own.is_sorted() && own.len() == 2);
            }
            assert!(window.chunks(2).all(|pair| pair[0].0 == pair[1].0), "{window:?}");
            firsts.insert(window[0].0);
        }
        assert_eq!(firsts.len(), 3, "each flow goes first under some seed");
    }

    #[test]
    fn a_flow_that_falls_behind_stays_there() {
        let mut changed = 0;
        for seed in 0..20 {
            let windows = schedule(seed, 1);
            let (before, after) = (&windows[0], windows.last().expect("there are some"));
            changed += u32::from(before != after);
            // Behind all others, which keep their order.
            let behind = after.last().expect("there are flows").0;
            let mut expected = before.clone();
            expected.sort_by_key(|it| it.0 == behind);
            assert_eq!(after, &expected, "seed {seed}");
            assert_eq!(schedule(seed, 1), windows, "the same seed, the same order");
        }
        assert!(changed > 5, "{changed}");
    }

    #[test]
    fn what_comes_at_the_end_of_a_window_or_of_the_fault_is_held_only_behind_others() {
        let window = VirtualDuration(10);
        let mut stream = Streams { seed: 0 }.stream("reorder", "");
        let mut reorder = Reorder::<()>::new(window, VirtualTime(35), 0, &mut stream);
        for (now, end) in [(0, None), (1, Some(10)), (30, None), (34, Some(40)), (36, None)] {
            assert_eq!(reorder.end_of_window(VirtualTime(now)), end.map(VirtualTime), "{now}");
        }
        reorder.hold((), Flow::Requests(ProcessId(0)), (&["a".to_owned()], &Streams { seed: 0 }));
        for (now, end) in [(30, 30), (34, 40), (36, 40)] {
            assert_eq!(reorder.end_of_window(VirtualTime(now)), Some(VirtualTime(end)), "{now}");
        }
        assert_eq!(reorder.release().count(), 1);
        assert_eq!(reorder.end_of_window(VirtualTime(30)), None);
    }
}
