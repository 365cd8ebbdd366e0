//! The data plane: elements there, and what comes back.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;

use cutline::ids::ChannelId;
use cutline::time::VirtualTime;

use super::{Context, Due, transfer};
use crate::world::network::{DataChannel, End};
use crate::world::{LaneId, Observer, Process};

impl<P: Process, O: Observer> Context<'_, P, O> {
    /// Attaches a lane as the sender of a channel in an execution (`epoch`). False if the channel
    /// belongs to a newer execution.
    pub fn attach_sender(&mut self, channel: ChannelId, epoch: u32, lane: LaneId) -> bool {
        self.attach(channel, epoch, |state, end| state.from = Some(end), lane)
    }

    /// Attaches a lane as the receiver of a channel in an execution (`epoch`).
    pub fn attach_receiver(&mut self, channel: ChannelId, epoch: u32, lane: LaneId) -> bool {
        self.attach(channel, epoch, |state, end| state.to = Some(end), lane)
    }

    fn attach(
        &mut self,
        channel: ChannelId,
        epoch: u32,
        set: impl FnOnce(&mut DataChannel<P::Data, P::Back>, End),
        lane: LaneId,
    ) -> bool {
        let state = &mut self.core.channels[channel.index()];
        if epoch > state.epoch {
            state.renew(epoch);
        }
        if epoch < state.epoch {
            return false;
        }
        set(state, End { lane, process: self.me });
        true
    }

    /// Sends an element over a channel. Lost without a word if the channel is another execution's
    /// by now, or if nobody receives.
    #[inline]
    pub fn transmit(&mut self, channel: ChannelId, epoch: u32, data: P::Data, bytes: u64) {
        let core = &mut *self.core;
        let state = &mut core.channels[channel.index()];
        let Some(to) = state.to.filter(|_| state.epoch == epoch) else { return };
        let mut at = self.now;
        if to.process != self.me {
            let hosts = core.hosts.len();
            let link = &mut core.links[self.me.index() * hosts + to.process.index()];
            if link.config.bandwidth > 0 {
                link.free_at = link.free_at.max(at) + transfer(bytes, link.config.bandwidth);
                at = link.free_at;
            }
            let latency = link.config.data_latency;
            let latency = core.channel_streams.latency(latency, channel, &mut state.latency);
            at = link.arrival(at, latency);
        }
        at = at.max(state.last_arrival);
        state.last_arrival = at;
        let first = state.flight.is_empty();
        state.flight.push((at, data));
        if first {
            core.lanes[to.lane.index()].arrivals.push(Reverse((at, channel)));
            core.wake(to.lane, at, self.queue);
        }
    }

    /// Says that the element sent last on a channel was the last of all.
    pub fn end_channel(&mut self, channel: ChannelId, epoch: u32) {
        let state = &mut self.core.channels[channel.index()];
        state.ended |= state.epoch == epoch;
    }

    /// Gives up a channel as its sender, before the last element was sent. The receiver learns of
    /// it as of a broken connection.
    pub fn break_channel(&mut self, channel: ChannelId, epoch: u32) {
        let state = &mut self.core.channels[channel.index()];
        if state.epoch != epoch || state.ended {
            return;
        }
        state.broken = true;
        let to = state.to.map(|end| end.process);
        if let Some(process) = to.filter(|process| *process != self.me) {
            let at = self.core.control_arrival(self.me, process, self.now);
            self.queue.push(at, Due::Lost { process, peer: self.me });
        }
    }

    /// Whether a channel was broken off before the last element had been sent.
    pub fn is_broken(&self, channel: ChannelId, epoch: u32) -> bool {
        let state = &self.core.channels[channel.index()];
        state.epoch == epoch && state.broken
    }

    /// The next element that has arrived for a lane, in order of arrival.
    #[inline]
    pub fn arrival(&mut self, lane: LaneId) -> Option<(ChannelId, P::Data)> {
        let core = &mut *self.core;
        let arrivals = &mut core.lanes[lane.index()].arrivals;
        loop {
            let mut head = arrivals.peek_mut()?;
            let Reverse((at, channel)) = *head;
            if at > self.now {
                return None;
            }
            let state = &mut core.channels[channel.index()];
            let mine = state.to.is_some_and(|end| end.lane == lane);
            let Some((_, data)) = (if mine { state.flight.pop() } else { None }) else {
                // The channel was renewed for a newer execution since.
                PeekMut::pop(head);
                continue;
            };
            match state.flight.front() {
                Some((next, _)) => *head = Reverse((*next, channel)),
                None => {
                    PeekMut::pop(head);
                }
            }
            return Some((channel, data));
        }
    }

    /// Sends something back to the sender of a channel, at this time or at once if that has passed.
    #[inline]
    pub fn send_back(&mut self, channel: ChannelId, epoch: u32, back: P::Back, at: VirtualTime) {
        let core = &mut *self.core;
        let state = &mut core.channels[channel.index()];
        if state.epoch != epoch {
            return;
        }
        let mut at = at.max(self.now);
        let from = state.from.map(|end| end.process);
        if from != Some(self.me) {
            // The way back has the same latency as the way there, as the draw of the channel.
            let config = match from {
                Some(from) => core.links[self.me.index() * core.hosts.len() + from.index()].config,
                None => core.config.link,
            };
            let latency = config.data_latency;
            at += core.channel_streams.latency(latency, channel, &mut state.latency);
        }
        at = at.max(state.last_back);
        state.last_back = at;
        state.back.push((at, back));
        if state.back_wanted {
            core.schedule_back(channel, self.queue);
        }
    }

    /// Takes what has come back on a channel, oldest first.
    #[inline]
    pub fn take_back(&mut self, channel: ChannelId, epoch: u32) -> Option<P::Back> {
        let state = &mut self.core.channels[channel.index()];
        if state.epoch != epoch || state.back.front().is_none_or(|(at, _)| *at > self.now) {
            return None;
        }
        state.back.pop().map(|(_, back)| back)
    }

    /// Says whether the sender waits for something to come back: only then is there an event.
    #[inline]
    pub fn want_back(&mut self, channel: ChannelId, epoch: u32, wanted: bool) {
        let state = &mut self.core.channels[channel.index()];
        if state.epoch != epoch || state.back_wanted == wanted {
            return;
        }
        state.back_wanted = wanted;
        if wanted {
            self.core.schedule_back(channel, self.queue);
        }
    }
}
