//! Whose turn it is: the channels of a gate that have something to read.
//!
//! Concept: each gate has two lines of channels, one for those with a priority element and one for
//! the others; the front channel gives one element and goes to the end of a line. In Flink:
//! `SingleInputGate#inputChannelsWithData`.
//!
//! Both lines of all gates are circular lists through one vector: a node for every channel, then
//! two heads for every gate. So moving a channel takes constant time wherever it stands, and no
//! link is ever absent.

use crate::ids::{GateId, InputChannel};

/// The line a channel stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Channels with a priority element; always served before [`Line::Ready`].
    First,
    /// Channels with normal elements only.
    Ready,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    before: u32,
    after: u32,
}

/// The lines of all gates of a task.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    nodes: Vec<Node>,
    channels: u32,
    /// Channels that stand in any line.
    waiting: u32,
}

impl Turns {
    /// Empty lines for so many channels and gates.
    pub(crate) fn new(channels: u32, gates: u32) -> Self {
        let alone = |index| Node { before: index, after: index };
        Self { nodes: (0..channels + 2 * gates).map(alone).collect(), channels, waiting: 0 }
    }

    /// Whether no channel stands in any line.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Whether a channel of this gate has a priority element.
    #[inline]
    pub(crate) fn has_first(&self, gate: GateId) -> bool {
        let head = self.head(gate, Line::First);
        self.nodes[head as usize].after != head
    }

    /// The channel whose turn it is.
    #[inline]
    pub(crate) fn front(&self, gate: GateId) -> Option<InputChannel> {
        let front = |line| {
            let head = self.head(gate, line);
            let node = self.nodes[head as usize].after;
            (node != head).then_some(InputChannel(node))
        };
        front(Line::First).or_else(|| front(Line::Ready))
    }

    /// Appends a channel, which stands in no line.
    #[inline]
    pub(crate) fn append(&mut self, gate: GateId, line: Line, channel: InputChannel) {
        let head = self.head(gate, line);
        let last = self.nodes[head as usize].before;
        self.nodes[channel.index()] = Node { before: last, after: head };
        self.nodes[last as usize].after = channel.0;
        self.nodes[head as usize].before = channel.0;
        self.waiting += 1;
    }

    /// Takes out a channel, which stands in a line.
    #[inline]
    pub(crate) fn remove(&mut self, channel: InputChannel) {
        let Node { before, after } = self.nodes[channel.index()];
        self.nodes[before as usize].after = after;
        self.nodes[after as usize].before = before;
        self.waiting -= 1;
    }

    #[inline]
    fn head(&self, gate: GateId, line: Line) -> u32 {
        let side = match line {
            Line::First => 0,
            Line::Ready => 1,
        };
        self.channels + 2 * gate.0 + side
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_goes_before_ready_and_gates_are_apart() {
        let mut turns = Turns::new(4, 2);
        let (left, right) = (GateId(0), GateId(1));
        turns.append(left, Line::Ready, InputChannel(2));
        turns.append(left, Line::Ready, InputChannel(0));
        turns.append(right, Line::Ready, InputChannel(3));
        assert_eq!(turns.front(left), Some(InputChannel(2)));

        turns.remove(InputChannel(0));
        turns.append(left, Line::First, InputChannel(0));
        assert_eq!(turns.front(left), Some(InputChannel(0)));

        turns.remove(InputChannel(0));
        turns.remove(InputChannel(2));
        assert_eq!(turns.front(left), None);
        assert_eq!(turns.front(right), Some(InputChannel(3)));
        assert!(!turns.is_empty());
        turns.remove(InputChannel(3));
        assert!(turns.is_empty());
    }
}
