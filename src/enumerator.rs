//! The split enumerator of a source: its operator coordinator, at the job manager.
//!
//! Concept: splits are discovered one after another; a reader that has none left asks for one and
//! gets it as an event. Of each split either the enumerator knows that it is not assigned, or a
//! reader has it: a checkpoint must contain exactly one of the two. So no event may cross it: at T4
//! the enumerator's state is captured and its channels are closed, once all events that have left
//! are known to have arrived; they are opened again behind the trigger (T5), or when the checkpoint
//! is aborted. When readers are restarted and the others run on (a failover region), the enumerator is
//! not set back: it takes back what it has assigned to those readers since the checkpoint that they
//! are restored from. An event that may be lost fails its reader, for the same reason. In Flink:
//! `SourceCoordinator`, `SplitEnumerator`, `SplitAssignmentTracker`, `OperatorCoordinatorHolder`,
//! `SubtaskGatewayImpl`.
//!
//! Invariants, asserted by `check` after every input:
//! - nothing is sent while the channels are closed;
//! - a split that is assigned is not unassigned.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::defect::{Defect, Defects, PutOff};
use crate::ids::CheckpointId;
use crate::time::{VirtualDuration, VirtualTime};

const MAGIC: [u8; 4] = *b"CLen";
const VERSION: u8 = 1;

/// [`Defect::D67`]: so much later the failure comes.
const PUT_OFF: VirtualDuration = VirtualDuration::from_millis(500);

/// What an enumerator must know from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnumeratorConfig {
    /// Number of splits in the end.
    pub splits: u32,
    /// Span between the discovery of one split and of the next, the first being there at the start;
    /// zero: all are. Flink: `partition.discovery.interval.ms` of the Kafka source, and the like.
    pub discover_every: VirtualDuration,
    /// What is planted.
    pub defects: Defects,
}

impl EnumeratorConfig {
    /// When a split is discovered.
    pub fn discovered_at(&self, split: u32) -> VirtualTime {
        VirtualTime::ZERO + self.discover_every * u64::from(split)
    }
}

/// What an enumerator has to say to a reader. Flink: `AddSplitEvent`, `NoMoreSplitsEvent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitEvent {
    /// Read this split, from its beginning.
    Add(u32),
    /// There is none left, and none will come.
    NoMore,
}

/// Tells an event from all others of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventId(pub u64);

/// What happens to an enumerator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A reader has no split left.
    Request {
        /// Its number within the source.
        reader: u32,
    },
    /// An event has arrived.
    Arrived(EventId),
    /// Nobody has said in time that an event has arrived at its reader, which still runs: it may be
    /// lost.
    Unanswered(EventId),
    /// T4: capture the state, and let no event pass from here on.
    Snapshot(CheckpointId),
    /// T5 is done for all readers: events may pass again.
    Open(CheckpointId),
    /// A checkpoint is complete: no reader goes back to an older one.
    Completed(CheckpointId),
    /// X1: a checkpoint was aborted, whether or not its trigger is still under way.
    Aborted(CheckpointId),
    /// The trigger under way has failed.
    GivenUp,
    /// R5: begin again with this state, or from the beginning.
    Reset(Option<Vec<u8>>),
    /// A reader begins again, from a checkpoint or from the beginning, and the others run on. Flink:
    /// `OperatorCoordinator#subtaskReset`.
    SubtaskReset {
        /// Its number within the source.
        reader: u32,
        /// The checkpoint.
        restored: Option<CheckpointId>,
    },
    /// A deadline has passed.
    Timeout,
}

/// What an enumerator wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send an event to a reader, and answer with [`Input::Arrived`] or [`Input::Unanswered`].
    Send {
        /// The reader.
        reader: u32,
        /// To answer with.
        id: EventId,
        /// The event.
        event: SplitEvent,
    },
    /// An event to a reader may be lost: it must fail, so that what it was given is taken back.
    FailReader {
        /// The reader.
        reader: u32,
    },
    /// T4 is done: no event is under way.
    Captured {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The state.
        state: Vec<u8>,
    },
}

/// The state that is part of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unassigned {
    /// How many splits have been discovered.
    pub discovered: u32,
    /// Those of them that no reader has, ascending.
    pub splits: BTreeSet<u32>,
}

impl Unassigned {
    /// The bytes of it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(MAGIC, VERSION);
        out.varint(u64::from(self.discovered));
        out.varint(self.splits.len() as u64);
        self.splits.iter().for_each(|split| out.varint(u64::from(*split)));
        out.seal()
    }

    /// Reads it back.
    ///
    /// # Errors
    /// The bytes are damaged, or something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Decoder::open(bytes, MAGIC, VERSION)?;
        let discovered = input.varint32()?;
        let count = input.count(1)?;
        let mut splits = BTreeSet::new();
        for _ in 0..count {
            let split = input.varint32()?;
            if split >= discovered || !splits.insert(split) {
                return Err(input.invalid("split"));
            }
        }
        input.end()?;
        Ok(Self { discovered, splits })
    }

    /// Whether these are the bytes of such a state, damaged or not.
    pub(crate) fn is_encoded(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC)
    }
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Enumerator {
    config: EnumeratorConfig,
    unassigned: Unassigned,
    /// Readers that have asked and have not been answered, in the order of asking.
    asking: VecDeque<u32>,
    /// What readers have been given that they could go back behind.
    assigned: Vec<Assigned>,
    /// Events that have left and are not known to have arrived, and to which readers.
    outstanding: BTreeMap<EventId, u32>,
    events: u64,
    /// Events wait for this checkpoint. Flink: `SubtaskGatewayImpl#blockedEventsMap`.
    closed_for: Option<CheckpointId>,
    /// The state at T4, until the events ahead of it have arrived.
    captured: Option<(CheckpointId, Vec<u8>)>,
    /// [`Defect::D67`]: a reader that fails in a later step.
    failing: PutOff<(VirtualTime, u32)>,
}

/// A split that a reader has, as far as no completed checkpoint has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Assigned {
    split: u32,
    reader: u32,
    /// The first checkpoint that has it.
    within: Option<CheckpointId>,
}

impl Enumerator {
    /// An enumerator that has discovered nothing yet.
    pub fn new(config: EnumeratorConfig) -> Self {
        Self {
            config,
            unassigned: Unassigned::default(),
            asking: VecDeque::new(),
            assigned: Vec::new(),
            outstanding: BTreeMap::new(),
            events: 0,
            closed_for: None,
            captured: None,
            failing: PutOff::default(),
        }
    }

    /// Takes one input and appends what is to be done about it.
    pub fn handle(&mut self, now: VirtualTime, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Request { reader } => self.asking.push_back(reader),
            Input::Arrived(id) => self.on_arrived(id, out),
            Input::Unanswered(id) => self.on_unanswered(now, id, out),
            Input::Snapshot(checkpoint) => self.on_snapshot(checkpoint, out),
            Input::Open(checkpoint) => self.open(checkpoint),
            Input::Completed(checkpoint) => self.on_completed(checkpoint),
            Input::Aborted(checkpoint) => self.on_aborted(Some(checkpoint)),
            Input::GivenUp => self.on_aborted(self.closed_for),
            Input::Reset(state) => self.on_reset(state.as_deref()),
            Input::SubtaskReset { reader, restored } => self.on_subtask_reset(reader, restored),
            Input::Timeout => self.fail_late(now, out),
        }
        self.discover(now);
        self.answer(out);
        self.check();
    }

    /// When [`Input::Timeout`] is due: a split will be discovered.
    pub fn next_timeout(&self) -> Option<VirtualTime> {
        let late = self.failing.get().map(|(due, _)| *due);
        self.next_discovery().into_iter().chain(late).min()
    }

    fn next_discovery(&self) -> Option<VirtualTime> {
        let next = self.unassigned.discovered;
        (next < self.config.splits).then(|| self.config.discovered_at(next))
    }

    fn on_arrived(&mut self, id: EventId, out: &mut Vec<Output>) {
        self.outstanding.remove(&id);
        self.hand_over(out);
    }

    /// The event is under way until the failure of its reader has set back one or the other: no
    /// checkpoint may take it for delivered. Flink: `SubtaskGatewayImpl#sendEvent`, which fails the
    /// subtask ahead of whatever waits for its events.
    fn on_unanswered(&mut self, now: VirtualTime, id: EventId, out: &mut Vec<Output>) {
        let Some(reader) = self.outstanding.get(&id).copied() else {
            return; // It has arrived, or was taken back.
        };
        if self.config.defects.has(Defect::D67) {
            self.failing.put((now + PUT_OFF, reader));
            return self.on_arrived(id, out);
        }
        out.push(Output::FailReader { reader });
    }

    /// [`Defect::D67`]: the failure comes in a step of its own.
    fn fail_late(&mut self, now: VirtualTime, out: &mut Vec<Output>) {
        if self.failing.get().is_some_and(|(due, _)| *due <= now)
            && let Some((_, reader)) = self.failing.take()
        {
            out.push(Output::FailReader { reader });
        }
    }

    fn on_snapshot(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output>) {
        self.captured = Some((checkpoint, self.unassigned.encode()));
        for assigned in &mut self.assigned {
            assigned.within.get_or_insert(checkpoint);
        }
        if !self.config.defects.has(Defect::D68) {
            self.closed_for.get_or_insert(checkpoint);
        }
        self.hand_over(out);
    }

    /// Flink: `OperatorCoordinatorHolder#closeGateways`, which waits for unconfirmed events.
    fn hand_over(&mut self, out: &mut Vec<Output>) {
        if self.outstanding.is_empty()
            && let Some((checkpoint, state)) = self.captured.take()
        {
            out.push(Output::Captured { checkpoint, state });
        }
    }

    fn open(&mut self, checkpoint: CheckpointId) {
        if self.closed_for == Some(checkpoint) {
            self.closed_for = None;
        }
    }

    fn on_completed(&mut self, checkpoint: CheckpointId) {
        self.open(checkpoint);
        self.assigned.retain(|assigned| assigned.within.is_none_or(|within| within > checkpoint));
    }

    fn on_aborted(&mut self, checkpoint: Option<CheckpointId>) {
        if let Some(checkpoint) = checkpoint
            && !self.config.defects.has(Defect::D64)
        {
            self.captured.take_if(|(captured, _)| *captured == checkpoint);
            self.open(checkpoint);
        }
    }

    fn on_reset(&mut self, state: Option<&[u8]>) {
        // What was stored was checked when it was read; a state that is missing is a first start.
        let unassigned = state.map(|bytes| Unassigned::decode(bytes).expect("as it was written"));
        let Self { config, events, .. } = *self;
        *self = Self { unassigned: unassigned.unwrap_or_default(), events, ..Self::new(config) };
    }

    /// Flink: `SplitAssignmentTracker#getAndRemoveUncheckpointedAssignment`,
    /// `SplitEnumerator#addSplitsBack`. What is under way to the reader never arrives.
    fn on_subtask_reset(&mut self, reader: u32, restored: Option<CheckpointId>) {
        let taken_back = |it: &mut Assigned| {
            it.reader == reader && it.within.is_none_or(|within| Some(within) > restored)
        };
        let splits = self.assigned.extract_if(.., taken_back).map(|assigned| assigned.split);
        self.unassigned.splits.extend(splits);
        self.asking.retain(|asking| *asking != reader);
        self.outstanding.retain(|_, to| *to != reader);
    }

    fn discover(&mut self, now: VirtualTime) {
        while self.next_discovery().is_some_and(|due| due <= now) {
            self.unassigned.splits.insert(self.unassigned.discovered);
            self.unassigned.discovered += 1;
        }
    }

    /// Gives those who have asked what there is.
    fn answer(&mut self, out: &mut Vec<Output>) {
        while self.closed_for.is_none()
            && let Some(event) = self.next_event()
            && let Some(reader) = self.asking.pop_front()
        {
            if let SplitEvent::Add(split) = event {
                self.unassigned.splits.remove(&split);
                self.assigned.push(Assigned { split, reader, within: None });
            }
            let id = EventId(self.events);
            self.events += 1;
            if !self.config.defects.has(Defect::D66) {
                self.outstanding.insert(id, reader);
            }
            out.push(Output::Send { reader, id, event });
        }
    }

    fn next_event(&self) -> Option<SplitEvent> {
        let all_discovered = self.unassigned.discovered == self.config.splits;
        match self.unassigned.splits.first() {
            Some(split) => Some(SplitEvent::Add(*split)),
            None => all_discovered.then_some(SplitEvent::NoMore),
        }
    }

    fn check(&self) {
        debug_assert!(self.unassigned.discovered <= self.config.splits);
        debug_assert!(self.unassigned.splits.iter().all(|it| *it < self.unassigned.discovered));
        let unassigned = |it: &Assigned| self.unassigned.splits.contains(&it.split);
        debug_assert!(!self.assigned.iter().any(unassigned));
        debug_assert!(
            self.asking.is_empty() || self.closed_for.is_some() || self.next_event().is_none()
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::damage::damage;

    fn enumerator(splits: u32, every: u64) -> Enumerator {
        let discover_every = VirtualDuration(every);
        let defects = Defects::none();
        let mut new = Enumerator::new(EnumeratorConfig { splits, discover_every, defects });
        new.handle(VirtualTime::ZERO, Input::Reset(None), &mut Vec::new());
        new
    }

    fn handle(of: &mut Enumerator, now: u64, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        of.handle(VirtualTime(now), input, &mut out);
        out
    }

    fn sent(reader: u32, id: u64, event: SplitEvent) -> Output {
        Output::Send { reader, id: EventId(id), event }
    }

    #[test]
    fn splits_are_given_to_those_who_ask_as_they_are_discovered() {
        let mut it = enumerator(2, 10);
        assert_eq!(
            handle(&mut it, 1, Input::Request { reader: 5 }),
            [sent(5, 0, SplitEvent::Add(0))]
        );
        assert_eq!(handle(&mut it, 2, Input::Request { reader: 6 }), []);
        assert_eq!(it.next_timeout(), Some(VirtualTime(10)));
        assert_eq!(handle(&mut it, 10, Input::Timeout), [sent(6, 1, SplitEvent::Add(1))]);
        assert_eq!(
            handle(&mut it, 11, Input::Request { reader: 5 }),
            [sent(5, 2, SplitEvent::NoMore)]
        );
        assert_eq!(it.next_timeout(), None);
    }

    #[test]
    fn no_event_crosses_a_checkpoint() {
        let mut it = enumerator(3, 0);
        handle(&mut it, 1, Input::Request { reader: 0 });
        let checkpoint = CheckpointId(7);
        assert_eq!(handle(&mut it, 2, Input::Snapshot(checkpoint)), [], "an event is under way");
        assert_eq!(handle(&mut it, 3, Input::Request { reader: 1 }), []);
        let state = Unassigned { discovered: 3, splits: BTreeSet::from([1, 2]) }.encode();
        let captured = Output::Captured { checkpoint, state };
        assert_eq!(handle(&mut it, 4, Input::Arrived(EventId(0))), [captured]);
        assert_eq!(handle(&mut it, 5, Input::Request { reader: 2 }), []);
        let expected = [sent(1, 1, SplitEvent::Add(1)), sent(2, 2, SplitEvent::Add(2))];
        assert_eq!(handle(&mut it, 6, Input::Open(checkpoint)), expected);
    }

    #[test]
    fn an_event_that_may_be_lost_fails_its_reader_and_no_checkpoint_passes_it() {
        let mut it = enumerator(2, 0);
        handle(&mut it, 1, Input::Request { reader: 3 });
        assert_eq!(handle(&mut it, 2, Input::Snapshot(CheckpointId(7))), []);
        let lost = Input::Unanswered(EventId(0));
        assert_eq!(handle(&mut it, 3, lost.clone()), [Output::FailReader { reader: 3 }]);
        let restored = None;
        assert_eq!(handle(&mut it, 4, Input::SubtaskReset { reader: 3, restored }), []);
        assert_eq!(it.unassigned.splits, BTreeSet::from([0, 1]));
        assert_eq!(handle(&mut it, 5, lost), [], "it was taken back");
    }

    #[test]
    fn an_event_that_has_arrived_is_not_lost() {
        let mut it = enumerator(2, 0);
        handle(&mut it, 1, Input::Request { reader: 3 });
        handle(&mut it, 2, Input::Arrived(EventId(0)));
        assert_eq!(handle(&mut it, 3, Input::Unanswered(EventId(0))), []);
    }

    #[test]
    fn an_abort_opens_the_channels_of_its_own_checkpoint() {
        let mut it = enumerator(1, 0);
        handle(&mut it, 1, Input::Snapshot(CheckpointId(7)));
        handle(&mut it, 2, Input::Request { reader: 1 });
        assert_eq!(handle(&mut it, 3, Input::Aborted(CheckpointId(6))), []);
        let expected = [sent(1, 0, SplitEvent::Add(0))];
        assert_eq!(handle(&mut it, 4, Input::Aborted(CheckpointId(7))), expected);
    }

    #[test]
    fn a_reset_takes_back_what_was_assigned_since() {
        let mut it = enumerator(2, 0);
        handle(&mut it, 1, Input::Request { reader: 0 });
        handle(&mut it, 1, Input::Arrived(EventId(0)));
        let [Output::Captured { state, .. }] =
            &handle(&mut it, 2, Input::Snapshot(CheckpointId(1)))[..]
        else {
            panic!("nothing is under way");
        };
        handle(&mut it, 3, Input::Open(CheckpointId(1)));
        handle(&mut it, 4, Input::Request { reader: 1 });
        handle(&mut it, 5, Input::Request { reader: 1 });
        handle(&mut it, 6, Input::Reset(Some(state.clone())));
        assert_eq!(
            handle(&mut it, 7, Input::Request { reader: 0 }),
            [sent(0, 3, SplitEvent::Add(1))]
        );
        handle(&mut it, 8, Input::Reset(None));
        assert_eq!(
            handle(&mut it, 9, Input::Request { reader: 0 }),
            [sent(0, 4, SplitEvent::Add(0))]
        );
    }

    #[test]
    fn a_reader_that_begins_again_gives_back_what_its_checkpoint_has_not() {
        let mut it = enumerator(5, 0);
        let ask = |it: &mut Enumerator, reader, id, split| {
            let add = sent(reader, id, SplitEvent::Add(split));
            assert_eq!(handle(it, 1, Input::Request { reader }), [add]);
        };
        ask(&mut it, 0, 0, 0);
        handle(&mut it, 1, Input::Arrived(EventId(0)));
        let (first, second) = (CheckpointId(1), CheckpointId(2));
        handle(&mut it, 2, Input::Snapshot(first));
        handle(&mut it, 2, Input::Open(first));
        ask(&mut it, 0, 1, 1);
        handle(&mut it, 3, Input::Arrived(EventId(1)));
        handle(&mut it, 3, Input::Snapshot(second));
        handle(&mut it, 3, Input::Completed(first));
        handle(&mut it, 3, Input::Aborted(second));
        ask(&mut it, 1, 2, 2);
        ask(&mut it, 0, 3, 3);
        // Split 0 is in the checkpoint, 1 only in one that was aborted, 2 another reader's, and 3 has
        // not even arrived.
        assert_eq!(
            handle(&mut it, 4, Input::SubtaskReset { reader: 0, restored: Some(first) }),
            []
        );
        assert_eq!(it.unassigned.splits, BTreeSet::from([1, 3, 4]));
        assert_eq!(it.outstanding.len(), 1, "the other reader's event is still under way");
        ask(&mut it, 2, 4, 1);
        ask(&mut it, 2, 5, 3);
        ask(&mut it, 2, 6, 4);
        // From the beginning: everything that no completed checkpoint has.
        handle(&mut it, 6, Input::SubtaskReset { reader: 2, restored: None });
        assert_eq!(it.unassigned.splits, BTreeSet::from([1, 3, 4]));
    }

    proptest! {
        #[test]
        fn damaged_bytes_are_an_error(
            splits in prop::collection::btree_set(0_u32..50, 0..20),
            damage in damage(),
        ) {
            let state = Unassigned { discovered: 50, splits };
            let bytes = state.encode();
            prop_assert_eq!(Unassigned::decode(&bytes), Ok(state));
            let (bytes, noticed) = damage.apply(&bytes);
            prop_assert!(Unassigned::decode(&bytes).is_err() || !noticed);
        }
    }
}
