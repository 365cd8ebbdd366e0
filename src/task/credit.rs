//! Credit-based flow control, receiver's side: which channel may have how many buffers in flight.
//!
//! Flink: `RemoteInputChannel`, `BufferManager`, the floating part of `LocalBufferPool`. Every
//! channel owns some exclusive buffers; further, floating ones belong to the gate and go to
//! channels whose sender reports a backlog. A free buffer is announced to the sender as credit; a
//! sender without credit sends no data.
//!
//! Invariant, asserted by `check`: credit out + buffers held = exclusive + floating of a channel,
//! and the floating buffers of the channels and of the pool add up to the gate's.

use std::collections::VecDeque;

use crate::ids::InputChannel;

/// Credit of one gate.
#[derive(Clone, Debug)]
pub struct GateCredit {
    first_channel: u32,
    exclusive: u32,
    /// Floating buffers that no channel holds.
    pool: u32,
    floating_max: u32,
    channels: Vec<ChannelCredit>,
    /// Channels that want a floating buffer and found none, in the order in which they asked.
    waiting: VecDeque<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct ChannelCredit {
    /// Credit the sender has, or will have when the announcement arrives.
    out: u32,
    /// Buffers that hold data which has not been processed.
    held: u32,
    /// Floating buffers among all of these.
    floating: u32,
    /// Buffers that wait at the sender, as of its last report.
    backlog: u32,
    waiting: bool,
}

impl GateCredit {
    /// The credit of a gate whose channels are numbered from `first_channel`.
    pub fn new(first_channel: u32, channels: usize, exclusive: u32, floating: u32) -> Self {
        let fresh = ChannelCredit { out: exclusive, ..ChannelCredit::default() };
        Self {
            first_channel,
            exclusive,
            pool: floating,
            floating_max: floating,
            channels: vec![fresh; channels],
            waiting: VecDeque::new(),
        }
    }

    /// Credit that the sender of a channel has from the start.
    pub fn initial(&self) -> u32 {
        self.exclusive
    }

    /// A buffer has arrived; `backlog` more wait at the sender. `grant` is called for each channel
    /// that gets credit, with the amount.
    #[inline]
    pub fn on_buffer(
        &mut self,
        channel: InputChannel,
        backlog: u32,
        grant: impl FnMut(InputChannel, u32),
    ) {
        let state = &mut self.channels[(channel.0 - self.first_channel) as usize];
        assert!(state.out > 0, "a buffer came on {channel} without credit");
        state.out -= 1;
        state.held += 1;
        state.backlog = backlog;
        if backlog > 0 {
            self.request_floating(channel, grant);
        }
    }

    /// A buffer was processed and is free again.
    #[inline]
    pub fn on_recycled(&mut self, channel: InputChannel, mut grant: impl FnMut(InputChannel, u32)) {
        let state = &mut self.channels[(channel.0 - self.first_channel) as usize];
        assert!(state.held > 0, "a buffer of {channel} is free that was not held");
        state.held -= 1;
        if state.floating > 0 && state.out >= state.backlog + self.exclusive {
            state.floating -= 1;
            self.pool += 1;
            self.hand_out(grant);
        } else {
            state.out += 1;
            grant(channel, 1);
        }
        self.check();
    }

    /// The channel has ended: its floating buffers go to others.
    pub fn on_closed(&mut self, channel: InputChannel, grant: impl FnMut(InputChannel, u32)) {
        let state = &mut self.channels[(channel.0 - self.first_channel) as usize];
        let freed = std::mem::take(&mut state.floating);
        state.backlog = 0;
        self.pool += freed;
        self.hand_out(grant);
    }

    fn request_floating(
        &mut self,
        channel: InputChannel,
        mut grant: impl FnMut(InputChannel, u32),
    ) {
        let index = (channel.0 - self.first_channel) as usize;
        let state = &mut self.channels[index];
        let wanted = (state.backlog + self.exclusive).saturating_sub(state.out);
        let taken = wanted.min(self.pool);
        self.pool -= taken;
        state.floating += taken;
        state.out += taken;
        if taken > 0 {
            grant(channel, taken);
        }
        if taken < wanted && !state.waiting {
            state.waiting = true;
            self.waiting.push_back(index as u32);
        }
    }

    /// Gives free floating buffers to waiting channels, one each, in turn.
    fn hand_out(&mut self, mut grant: impl FnMut(InputChannel, u32)) {
        while self.pool > 0
            && let Some(index) = self.waiting.pop_front()
        {
            let state = &mut self.channels[index as usize];
            if state.out >= state.backlog + self.exclusive {
                state.waiting = false;
                continue;
            }
            self.pool -= 1;
            state.floating += 1;
            state.out += 1;
            grant(InputChannel(self.first_channel + index), 1);
            if state.out < state.backlog + self.exclusive {
                self.waiting.push_back(index);
            } else {
                state.waiting = false;
            }
        }
    }

    fn check(&self) {
        // Looks at every channel: only where that is cheap.
        if cfg!(debug_assertions) && self.channels.len() <= 16 {
            let floating: u32 = self.channels.iter().map(|state| state.floating).sum();
            assert_eq!(floating + self.pool, self.floating_max);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `b<channel>:<backlog>` (a buffer arrives) and `r<channel>` (one is processed); gives
    /// the credit granted by each, as `channel+amount`.
    fn run(script: &str) -> String {
        let mut gate = GateCredit::new(0, 2, 2, 3);
        let mut told = Vec::new();
        for step in script.split_whitespace() {
            let mut granted = String::new();
            let grant = |channel: InputChannel, n: u32| granted += &format!("{}+{n}", channel.0);
            let rest = &step[1..];
            if step.starts_with('b') {
                let (channel, backlog) = rest.split_once(':').expect("channel:backlog");
                let channel = InputChannel(channel.parse().expect("a number"));
                gate.on_buffer(channel, backlog.parse().expect("a number"), grant);
            } else {
                gate.on_recycled(InputChannel(rest.parse().expect("a number")), grant);
            }
            told.push(if granted.is_empty() { "-".to_owned() } else { granted });
        }
        told.join(" ")
    }

    #[test]
    fn credit_follows_backlog() {
        for (name, script, expected) in [
            ("without backlog a buffer comes back as credit", "b0:0 r0 b0:0 r0", "- 0+1 - 0+1"),
            ("a backlog takes floating buffers", "b0:2", "0+3"),
            ("the pool is finite, and the next waits its turn", "b0:9 b1:1 b0:0 r0", "0+3 - - 1+1"),
            ("without backlog floating buffers go back", "b0:1 b0:0 r0 r0", "0+2 - - -"),
        ] {
            assert_eq!(run(script), expected, "{name}");
        }
    }
}
