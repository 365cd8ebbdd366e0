//! Credit-based flow control, receiver's side: which channel may have how many buffers in flight.
//!
//! Flink: `RemoteInputChannel`, `BufferManager`, the floating part of `LocalBufferPool`. Every
//! channel owns some exclusive buffers; further, floating ones belong to the gate and go to
//! channels whose sender reports a backlog. A free buffer is announced to the sender as credit; a
//! sender without credit sends no data.
//!
//! A local channel has no buffers here: its reader holds one of the sender's at a time
//! (`LocalInputChannel`), which the pool of the sender counts. It is the one credit.
//!
//! Invariant, asserted by `check`: credit out + buffers held = exclusive + floating of a channel,
//! and the floating buffers of the channels and of the pool add up to the gate's.

use std::collections::VecDeque;

use crate::ids::InputChannel;
use crate::task::debloat::records_in;

/// Credit of one gate.
#[derive(Clone, Debug)]
pub struct GateCredit {
    first_channel: u32,
    /// What each remote channel has of its own, and what all share, where a record takes one buffer.
    config: (u32, u32),
    /// Floating buffers that no channel holds.
    pool: u32,
    floating_max: u32,
    /// So many more floating buffers are somewhere than there are to be.
    floating_surplus: u32,
    channels: Vec<ChannelCredit>,
    /// Channels that want a floating buffer and found none, in the order in which they asked.
    waiting: VecDeque<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct ChannelCredit {
    /// Buffers of its own.
    exclusive: u32,
    /// So many more are on their way, or held, than there are to be.
    surplus: u32,
    is_local: bool,
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
    /// The credit of a gate whose channels are numbered from `first_channel`; of each it is said
    /// whether it is local.
    pub fn new(first_channel: u32, local: &[bool], exclusive: u32, floating: u32) -> Self {
        let fresh = |&is_local| {
            let exclusive = if is_local { 1 } else { exclusive };
            ChannelCredit { exclusive, is_local, out: exclusive, ..ChannelCredit::default() }
        };
        Self {
            first_channel,
            config: (exclusive, floating),
            pool: floating,
            floating_max: floating,
            floating_surplus: 0,
            channels: local.iter().map(fresh).collect(),
            waiting: VecDeque::new(),
        }
    }

    /// Credit that the sender of a channel has from the start.
    pub fn initial(&self, channel: InputChannel) -> u32 {
        self.channels[(channel.0 - self.first_channel) as usize].exclusive
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
        if backlog > 0 && !state.is_local {
            self.request_floating(channel, grant);
        }
    }

    /// A buffer was processed and is free again.
    #[inline]
    pub fn on_recycled(&mut self, channel: InputChannel, mut grant: impl FnMut(InputChannel, u32)) {
        let state = &mut self.channels[(channel.0 - self.first_channel) as usize];
        assert!(state.held > 0, "a buffer of {channel} is free that was not held");
        state.held -= 1;
        if state.surplus > 0 {
            state.surplus -= 1;
        } else if state.floating > 0 && self.floating_surplus > 0 {
            state.floating -= 1;
            self.floating_surplus -= 1;
        } else if state.floating > 0 && state.out >= state.backlog + state.exclusive {
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
        let surplus = freed.min(self.floating_surplus);
        self.floating_surplus -= surplus;
        self.pool += freed - surplus;
        self.hand_out(grant);
    }

    /// Buffers in use: of all that is here and has not been processed, or waits at the senders. Flink:
    /// `InputChannel#getBuffersInUseCount`.
    pub(crate) fn in_use(&self) -> u32 {
        self.channels.iter().map(|state| state.held + state.backlog).sum()
    }

    /// From now on a record takes so much, in parts of a buffer, so that there is room for fewer, or
    /// for more. What is too much is not given back to senders when it becomes free.
    pub(crate) fn resize(&mut self, parts: u32, mut grant: impl FnMut(InputChannel, u32)) {
        let (exclusive, floating) = self.config;
        let exclusive = records_in(exclusive, parts).max(1);
        for (channel, state) in (self.first_channel..).zip(&mut self.channels) {
            if state.is_local {
                continue; // It has one as it is.
            }
            let fewer = state.exclusive.saturating_sub(exclusive);
            let more = exclusive.saturating_sub(state.exclusive);
            let kept = more.min(state.surplus);
            state.exclusive = exclusive;
            state.surplus = state.surplus + fewer - kept;
            state.out += more - kept;
            if more > kept {
                grant(InputChannel(channel), more - kept);
            }
        }
        let floating = records_in(floating, parts);
        let fewer = self.floating_max.saturating_sub(floating);
        let more = floating.saturating_sub(self.floating_max);
        let (free, kept) = (fewer.min(self.pool), more.min(self.floating_surplus));
        self.floating_max = floating;
        self.floating_surplus = self.floating_surplus + (fewer - free) - kept;
        self.pool = self.pool - free + (more - kept);
        self.hand_out(grant);
        self.check();
    }

    fn request_floating(
        &mut self,
        channel: InputChannel,
        mut grant: impl FnMut(InputChannel, u32),
    ) {
        let index = (channel.0 - self.first_channel) as usize;
        let state = &mut self.channels[index];
        let wanted = (state.backlog + state.exclusive).saturating_sub(state.out);
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
            if state.out >= state.backlog + state.exclusive {
                state.waiting = false;
                continue;
            }
            self.pool -= 1;
            state.floating += 1;
            state.out += 1;
            grant(InputChannel(self.first_channel + index), 1);
            if state.out < state.backlog + state.exclusive {
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
            assert_eq!(floating + self.pool, self.floating_max + self.floating_surplus);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::debloat::PARTS;

    /// Feeds `b<channel>:<backlog>` (a buffer arrives), `r<channel>` (one is processed) and `s<buffers>`
    /// (a record takes so many from now on) to a gate with two remote channels and a local one; gives the
    /// credit granted by each, as `channel+amount`.
    fn run(script: &str) -> String {
        let mut gate = GateCredit::new(0, &[false, false, true], 2, 3);
        let mut told = Vec::new();
        for step in script.split_whitespace() {
            let mut granted = String::new();
            let grant = |channel: InputChannel, n: u32| granted += &format!("{}+{n}", channel.0);
            let rest = &step[1..];
            if step.starts_with('b') {
                let (channel, backlog) = rest.split_once(':').expect("channel:backlog");
                let channel = InputChannel(channel.parse().expect("a number"));
                gate.on_buffer(channel, backlog.parse().expect("a number"), grant);
            } else if step.starts_with('s') {
                gate.resize(rest.parse::<u32>().expect("a number") * PARTS, grant);
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
            ("a local channel has one and asks for no more", "b2:9 r2", "- 2+1"),
            ("one of two exclusive buffers is kept, and comes again", "s2 b0:0 r0 s1", "- - - 0+1"),
            ("no floating buffers are left", "s4 b0:9", "- -"),
            (
                "a floating buffer in use is kept when it is free",
                "b0:2 b0:0 s4 r0 r0",
                "0+3 - - - -",
            ),
        ] {
            assert_eq!(run(script), expected, "{name}");
        }
    }
}
