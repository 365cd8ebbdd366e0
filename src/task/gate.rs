//! The input gates of one task: what was received and not read yet, and whose turn it is.
//!
//! Concept: channels take turns, one element each; a channel with a priority element goes before
//! those without. In Flink: `SingleInputGate`, `RemoteInputChannel`, `LocalInputChannel`.
//!
//! Invariants; `check` asserts what follows from them for the channel that was touched:
//! - a channel stands in a line of its gate iff it holds an element: in `First` iff it holds one
//!   with priority, else in `Ready`;
//! - a closed channel holds nothing.

use crate::ids::{GateId, InputChannel};
use crate::message::{CheckpointBarrier, Element};
use crate::task::prioritized::PrioritizedDeque;
use crate::task::turns::{Line, Turns};

/// Where the sender of a channel runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelKind {
    /// In the same process. Flink: `LocalInputChannel`, which keeps nothing of its own but reads
    /// its sender's queue. So what a barrier overtakes here is persisted by the sender, and only
    /// buffers polled while the capture waits are persisted here; a local sender must not hand
    /// over what it would have to persist.
    Local,
    /// Behind the network. Flink: `RemoteInputChannel`. Announces barriers that may turn
    /// unaligned, and persists the received buffers that a barrier overtakes.
    Remote,
}

/// The place of an element in the order of delivery of its channel, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ArrivalNumber(u64);

/// What waits in a channel to be polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queued<B> {
    /// A delivered element.
    Element(Element<B>),
    /// Word, with priority, that this barrier waits further back. Flink: `EventAnnouncement`.
    Announcement(CheckpointBarrier),
}

/// What waits in a channel, with its place in the order of delivery. An announcement carries the
/// number of the barrier it announces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<B> {
    pub(crate) number: ArrivalNumber,
    pub(crate) queued: Queued<B>,
}

impl<B: Copy> Arrival<B> {
    /// The data, if it is a buffer that waits.
    #[inline]
    pub(crate) fn buffer(&self) -> Option<B> {
        match &self.queued {
            Queued::Element(element) => element.buffer(),
            Queued::Announcement(_) => None,
        }
    }
}

#[derive(Clone, Debug)]
struct Channel<B> {
    queue: PrioritizedDeque<Arrival<B>>,
    delivered: u64,
    /// Data buffers in `queue`; what the sender got credit for and the task did not free yet.
    buffers: u32,
    gate: GateId,
    kind: ChannelKind,
    /// What comes in has gone round a loop.
    feedback: bool,
    closed: bool,
}

/// All input gates of a task, with their channels.
#[derive(Clone, Debug)]
pub(crate) struct Gates<B> {
    channels: Vec<Channel<B>>,
    turns: Turns,
    /// Channels whose end of partition was not polled yet.
    open: u32,
    /// Feedback channels among them.
    open_feedback: u32,
}

impl<B: Copy> Gates<B> {
    /// Empty channels, numbered through gate after gate; those of some gates are feedback channels.
    pub(crate) fn new(gates: &[Vec<ChannelKind>], feedback: &[GateId]) -> Self {
        let channel = |gate, kind| Channel {
            queue: PrioritizedDeque::new(),
            delivered: 0,
            buffers: 0,
            gate,
            kind,
            feedback: feedback.contains(&gate),
            closed: false,
        };
        let channels: Vec<_> = (0..)
            .map(GateId)
            .zip(gates)
            .flat_map(|(gate, kinds)| kinds.iter().map(move |&kind| channel(gate, kind)))
            .collect();
        let open = u32::try_from(channels.len()).expect("channel numbers are 32 bits wide");
        let turns = Turns::new(open, gates.len() as u32);
        let open_feedback = channels.iter().filter(|channel| channel.feedback).count() as u32;
        Self { channels, turns, open, open_feedback }
    }

    /// Number of channels, closed ones included.
    pub(crate) fn count(&self) -> u32 {
        self.channels.len() as u32
    }

    /// Channels whose end of partition was not polled yet.
    pub(crate) fn open(&self) -> u32 {
        self.open
    }

    /// Those of them that lead into the task for the first time: all but feedback channels.
    pub(crate) fn open_forward(&self) -> u32 {
        self.open - self.open_feedback
    }

    /// Feedback channels among the open ones.
    pub(crate) fn open_feedback(&self) -> u32 {
        self.open_feedback
    }

    /// Whether what comes in on this channel has gone round a loop.
    pub(crate) fn is_feedback(&self, channel: InputChannel) -> bool {
        self.channels[channel.index()].feedback
    }

    /// The feedback channels that are open, ascending.
    pub(crate) fn feedback(&self) -> impl Iterator<Item = InputChannel> + use<'_, B> {
        let channels = (0..).map(InputChannel).zip(&self.channels);
        channels.filter(|(_, it)| it.feedback && !it.closed).map(|(id, _)| id)
    }

    /// Whether this channel's end of partition was polled.
    pub(crate) fn is_closed(&self, channel: InputChannel) -> bool {
        self.channels[channel.index()].closed
    }

    /// The gate of a channel.
    pub(crate) fn gate(&self, channel: InputChannel) -> GateId {
        self.channels[channel.index()].gate
    }

    #[inline]
    pub(crate) fn is_remote(&self, channel: InputChannel) -> bool {
        self.channels[channel.index()].kind == ChannelKind::Remote
    }

    /// Whether a poll of this gate would find nothing.
    #[inline]
    pub(crate) fn is_empty(&self, gate: GateId) -> bool {
        self.turns.front(gate).is_none()
    }

    /// Whether a poll of this gate would find a priority element.
    #[inline]
    pub(crate) fn has_priority(&self, gate: GateId) -> bool {
        self.turns.has_first(gate)
    }

    /// Whether a poll of some gate would find something.
    #[inline]
    pub(crate) fn has_input(&self) -> bool {
        !self.turns.is_empty()
    }

    /// Data buffers that wait in a channel.
    pub(crate) fn buffers(&self, channel: InputChannel) -> u32 {
        self.channels[channel.index()].buffers
    }

    /// Everything that waits in a channel, in the order in which it would be polled.
    pub(crate) fn queued(&self, channel: InputChannel) -> impl Iterator<Item = &Queued<B>> {
        let arrivals = self.channels[channel.index()].queue.iter();
        arrivals.map(|arrival| &arrival.queued)
    }

    /// What waits in a channel without priority, in order.
    pub(crate) fn normal(&self, channel: InputChannel) -> impl Iterator<Item = &Arrival<B>> {
        self.channels[channel.index()].queue.normal()
    }

    /// Queues a delivered element and says its number; nothing happens on a closed channel.
    #[inline]
    pub(crate) fn deliver(
        &mut self,
        channel: InputChannel,
        element: Element<B>,
        priority: bool,
    ) -> Option<ArrivalNumber> {
        let target = &mut self.channels[channel.index()];
        if target.closed {
            return None;
        }
        let number = ArrivalNumber(target.delivered);
        target.delivered += 1;
        target.buffers += u32::from(matches!(element, Element::Buffer(_)));
        let arrival = Arrival { number, queued: Queued::Element(element) };
        let stands = !target.queue.is_empty();
        if priority {
            self.queue_with_priority(channel, arrival, stands);
        } else {
            target.queue.push(arrival);
            if !stands {
                self.turns.append(target.gate, Line::Ready, channel);
            }
        }
        Some(number)
    }

    /// Announces a delivered barrier ahead of everything that waits before it.
    pub(crate) fn announce(
        &mut self,
        channel: InputChannel,
        barrier: CheckpointBarrier,
        number: ArrivalNumber,
    ) {
        let queued = Queued::Announcement(barrier);
        let stands = !self.channels[channel.index()].queue.is_empty();
        self.queue_with_priority(channel, Arrival { number, queued }, stands);
    }

    /// Gives the barrier of this number priority over everything that waits before it. Flink:
    /// `InputChannel#convertToPriorityEvent`.
    pub(crate) fn bring_forward(&mut self, channel: InputChannel, number: ArrivalNumber) {
        let queue = &mut self.channels[channel.index()].queue;
        let barrier = queue
            .take_normal(|arrival| arrival.number == number)
            .expect("an announced barrier waits in the normal part until it is brought forward");
        self.queue_with_priority(channel, barrier, true);
    }

    /// The channel that a poll of this gate reads.
    #[inline]
    pub(crate) fn next(&self, gate: GateId) -> Option<InputChannel> {
        self.turns.front(gate)
    }

    /// Takes the first element of the channel whose turn it is, if that is a data buffer.
    #[inline]
    pub(crate) fn poll_buffer(&mut self, channel: InputChannel) -> Option<B> {
        let source = &mut self.channels[channel.index()];
        let buffer = source.queue.pop_as(Arrival::buffer)?;
        source.buffers -= 1;
        self.turns.remove(channel);
        self.stand(channel);
        Some(buffer)
    }

    /// Takes the first element of the channel whose turn it is, which is no data buffer.
    pub(crate) fn poll_event(&mut self, channel: InputChannel) -> Arrival<B> {
        let queue = &mut self.channels[channel.index()].queue;
        let arrival = queue.pop().expect("a channel in line holds an element");
        assert!(arrival.buffer().is_none());
        self.turns.remove(channel);
        self.stand(channel);
        arrival
    }

    /// Closes a channel whose end of partition was polled, and drops what it still holds.
    pub(crate) fn close(&mut self, channel: InputChannel) {
        let ended = &mut self.channels[channel.index()];
        assert!(!ended.closed, "{channel} ends for the second time");
        if !ended.queue.is_empty() {
            self.turns.remove(channel);
            ended.queue.clear();
        }
        ended.buffers = 0;
        ended.closed = true;
        self.open -= 1;
        self.open_feedback -= u32::from(ended.feedback);
    }

    /// Queues an arrival with priority. `stands` says whether the channel has a place in a line.
    fn queue_with_priority(&mut self, channel: InputChannel, arrival: Arrival<B>, stands: bool) {
        let queue = &mut self.channels[channel.index()].queue;
        let stands_first = queue.has_priority();
        queue.push_priority(arrival);
        if stands_first {
            return;
        }
        if stands {
            self.turns.remove(channel);
        }
        self.stand(channel);
    }

    /// Puts a channel that has no place at the end of the line it belongs to.
    #[inline]
    fn stand(&mut self, channel: InputChannel) {
        let Channel { queue, gate, .. } = &self.channels[channel.index()];
        if queue.has_priority() {
            self.turns.append(*gate, Line::First, channel);
        } else if !queue.is_empty() {
            self.turns.append(*gate, Line::Ready, channel);
        }
    }

    /// Asserts the invariants of one channel and of the front of its gate's lines.
    pub(crate) fn check(&self, channel: InputChannel) {
        let Channel { queue, buffers, gate, closed, .. } = &self.channels[channel.index()];
        assert!(*buffers as usize <= queue.len());
        assert!(!closed || queue.is_empty());
        let front = self.turns.front(*gate).map(|front| &self.channels[front.index()].queue);
        assert!(queue.is_empty() || front.is_some());
        if let Some(front) = front {
            assert!(!front.is_empty());
            assert!(front.has_priority() || !queue.has_priority());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REMOTE: ChannelKind = ChannelKind::Remote;

    fn polled(gates: &mut Gates<u32>, gate: u32) -> Option<(u32, u32)> {
        let channel = gates.next(GateId(gate))?;
        let buffer = gates.poll_buffer(channel).expect("only buffers were delivered");
        gates.check(channel);
        Some((channel.0, buffer))
    }

    #[test]
    fn a_closed_channel_takes_nothing() {
        let mut gates = Gates::new(&[vec![REMOTE; 2]], &[]);
        gates.deliver(InputChannel(0), Element::Buffer(1), false);
        gates.close(InputChannel(0));
        assert_eq!(gates.deliver(InputChannel(0), Element::Buffer(2), true), None);
        assert_eq!(gates.buffers(InputChannel(0)), 0);
        assert!(!gates.has_input());
        assert_eq!(gates.open(), 1);
        assert!(gates.is_closed(InputChannel(0)));
    }

    /// A gate as one would write it without a thought for speed.
    #[derive(Default)]
    struct Model {
        priority: Vec<Vec<u32>>,
        normal: Vec<Vec<u32>>,
        first: Vec<usize>,
        ready: Vec<usize>,
    }

    impl Model {
        fn deliver(&mut self, channel: usize, number: u32, priority: bool) {
            let empty = self.priority[channel].is_empty() && self.normal[channel].is_empty();
            if priority {
                self.priority[channel].push(number);
                self.raise(channel);
            } else {
                self.normal[channel].push(number);
            }
            if empty && !self.first.contains(&channel) {
                self.ready.push(channel);
            }
        }

        fn raise(&mut self, channel: usize) {
            if !self.first.contains(&channel) {
                self.ready.retain(|&other| other != channel);
                self.first.push(channel);
            }
        }

        fn bring_forward(&mut self, channel: usize, number: u32) {
            self.normal[channel].retain(|&other| other != number);
            self.priority[channel].push(number);
            self.raise(channel);
        }

        fn poll(&mut self) -> Option<(u32, u32)> {
            let line = if self.first.is_empty() { &mut self.ready } else { &mut self.first };
            let channel = (!line.is_empty()).then(|| line.remove(0))?;
            let (priority, normal) = (&mut self.priority[channel], &mut self.normal[channel]);
            let number = if priority.is_empty() { normal.remove(0) } else { priority.remove(0) };
            if !priority.is_empty() {
                self.first.push(channel);
            } else if !normal.is_empty() {
                self.ready.push(channel);
            }
            Some((channel as u32, number))
        }
    }

    proptest! {
        #[test]
        fn channels_take_turns_as_in_the_model(
            script in prop::collection::vec((0u8..10, 0u32..4), 0..200),
        ) {
            // The second of two gates, so that numbers of channels and gates are not the same.
            let mut gates = Gates::new(&[vec![REMOTE; 2], vec![REMOTE; 4]], &[]);
            let mut model = Model { priority: vec![vec![]; 4], normal: vec![vec![]; 4], ..Model::default() };
            for (choice, channel) in script {
                let (place, id) = (channel as usize, InputChannel(2 + channel));
                match choice {
                    0..=4 => {
                        let number = gates.channels[id.index()].delivered as u32;
                        gates.deliver(id, Element::Buffer(number), choice == 4);
                        model.deliver(place, number, choice == 4);
                    }
                    5 => if let Some(&number) = model.normal[place].last() {
                        gates.bring_forward(id, ArrivalNumber(u64::from(number)));
                        model.bring_forward(place, number);
                    },
                    _ => {
                        let expected = model.poll().map(|(channel, number)| (2 + channel, number));
                        prop_assert_eq!(polled(&mut gates, 1), expected);
                    }
                }
                gates.check(id);
                prop_assert_eq!(gates.is_empty(GateId(1)), !gates.has_input());
                let waiting = model.priority[place].len() + model.normal[place].len();
                prop_assert_eq!(gates.buffers(id) as usize, waiting);
                prop_assert_eq!(gates.queued(id).count(), waiting);
            }
            while let Some((channel, number)) = model.poll() {
                prop_assert_eq!(polled(&mut gates, 1), Some((2 + channel, number)));
            }
            prop_assert_eq!(polled(&mut gates, 1), None);
            prop_assert!(!gates.has_input());
        }
    }
}
