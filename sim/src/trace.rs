//! The digest of a run, and its trace if one is wanted.
//!
//! Every observation is one event of the digest, numbered from 0; line n of a trace is event n. So
//! two digests that differ can be compared, and the first event at which they part be named.

use std::hash::{Hash, Hasher};

use cutline::operator::mix;
use cutline::time::VirtualTime;

use crate::kernel::digest::{Digest, Fingerprint, Ladder};
use crate::observe::Observation;

/// Observations as they come, digested, and kept if wanted.
#[derive(Debug)]
pub struct Recorder {
    digest: Digest,
    kept: Option<Vec<(VirtualTime, Observation)>>,
}

impl Recorder {
    /// A recorder that keeps the observations, or only digests them.
    pub fn new(keep: bool) -> Self {
        Self { digest: Digest::new(), kept: keep.then(Vec::new) }
    }

    /// Takes one observation.
    #[inline(always)]
    pub fn observe(&mut self, now: VirtualTime, observation: &Observation) {
        self.digest.event();
        self.digest.word(word(now, observation));
        if self.kept.is_some() {
            self.keep(now, observation);
        }
    }

    #[cold]
    #[inline(never)]
    fn keep(&mut self, now: VirtualTime, observation: &Observation) {
        self.kept.get_or_insert_default().push((now, *observation));
    }

    /// Number of observations so far.
    pub fn events(&self) -> u64 {
        self.digest.events()
    }

    /// The digest of the run.
    pub fn finish(&self) -> Fingerprint {
        self.digest.finish()
    }

    /// The digests on the way, to compare runs by.
    pub fn ladder(&self) -> Ladder {
        self.digest.ladder()
    }

    /// The observations, if they were kept.
    pub fn into_kept(self) -> Option<Vec<(VirtualTime, Observation)>> {
        self.kept
    }
}

/// One word that stands for an observation and its time.
#[inline(always)]
fn word(now: VirtualTime, observation: &Observation) -> u64 {
    match observation {
        Observation::Processed { channel, record } => {
            mix(mix(now.0, 1 << 32 | u64::from(channel.0)), record.identity())
        }
        Observation::Sent { channel, record } => {
            mix(mix(now.0, 2 << 32 | u64::from(channel.0)), record.identity())
        }
        Observation::SourceEmitted { subtask, split, offset } => {
            let place = u64::from(subtask.0) << 32 | u64::from(split.0);
            mix(mix(now.0, place), 3 << 62 ^ *offset)
        }
        other => hashed(now, other),
    }
}

#[inline(never)]
fn hashed(now: VirtualTime, observation: &Observation) -> u64 {
    let mut hasher = Words(now.0);
    observation.hash(&mut hasher);
    hasher.0
}

/// Hashes integers by value: the same on every platform, unlike `std`'s default of hashing the
/// bytes in memory.
struct Words(u64);

impl Hasher for Words {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_u16(&mut self, value: u16) {
        self.write_u64(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = mix(self.0, value);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }
}
