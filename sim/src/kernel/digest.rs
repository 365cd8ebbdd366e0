//! A running digest of what happens, and where two runs part.
//!
//! A world writes the facts of every event as words. At the end there is one [`Fingerprint`], to be
//! compared with that of another run, machine or version. Beside it grows a [`Ladder`]: up to 64
//! fingerprints of the run so far, at event numbers that are multiples of a power of two. Two ladders
//! tell in which stretch of events two runs differ for the first time, without a trace of either.
//!
//! The digest is `xxh3_64`, seed 0, of all words as little-endian bytes. Marks of events are not
//! part of it: a world that wants two events told apart from one writes so.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use xxhash_rust::xxh3::Xxh3;

/// Words gathered before they are hashed together; `xxh3` is slow on little ones.
const BUFFER: usize = 128;
/// Bytes of a word.
const WORD: usize = size_of::<u64>();
/// Most rungs of a ladder; one more, and every other is dropped.
const RUNGS: usize = 64;

/// The digest of a sequence of words, written as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(pub u64);

/// A text that is no fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{text}\" is no fingerprint: it must have 16 hexadecimal digits, 0 to 9 and a to f")]
pub struct FingerprintError {
    /// What was given.
    pub text: String,
}

/// The digest of a run under way.
#[derive(Clone)]
pub struct Digest {
    /// Bytes of the words not hashed yet.
    buffer: [u8; BUFFER * WORD],
    /// Number of bytes in the buffer, a multiple of `WORD`, less than its size.
    filled: usize,
    /// Number of events begun.
    events: u64,
    /// The number of the event before which the next rung is due.
    next_rung: u64,
    /// The state of the hash over all that left the buffer.
    hash: Xxh3,
    /// The rungs so far.
    rungs: Vec<Fingerprint>,
    /// Events between two rungs.
    step: u64,
}

/// Fingerprints of a run at regular event numbers, to compare two runs by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ladder {
    /// Number of events of the run.
    pub events: u64,
    /// The fingerprint of the whole run.
    pub whole: Fingerprint,
    /// Number of events between two rungs, a power of two.
    pub step: u64,
    /// Rung `i` is the fingerprint of all that was written before event `(i + 1) * step`, events
    /// being numbered from 0.
    pub rungs: Vec<Fingerprint>,
}

impl Default for Digest {
    fn default() -> Self {
        Self::new()
    }
}

impl Digest {
    /// The digest of nothing yet.
    pub fn new() -> Self {
        Self {
            buffer: [0; BUFFER * WORD],
            filled: 0,
            events: 0,
            next_rung: 1,
            hash: Xxh3::new(),
            rungs: Vec::new(),
            step: 1,
        }
    }

    /// Begins an event: the words that follow are its own. Events are numbered from 0; what is
    /// written before the first counts as of that one.
    #[inline]
    pub fn event(&mut self) {
        if self.events == self.next_rung {
            self.rung();
        }
        self.events += 1;
    }

    /// Adds one word.
    #[inline]
    pub fn word(&mut self, word: u64) {
        self.buffer[self.filled..][..WORD].copy_from_slice(&word.to_le_bytes());
        self.filled += WORD;
        if self.filled == self.buffer.len() {
            self.flush();
        }
    }

    /// Adds words, one after the other.
    #[inline]
    pub fn words(&mut self, words: &[u64]) {
        for word in words {
            self.word(*word);
        }
    }

    /// Number of events begun.
    #[inline]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The fingerprint of all words so far. The digest can go on.
    pub fn finish(&self) -> Fingerprint {
        let mut hash = self.hash.clone();
        hash.update(&self.buffer[..self.filled]);
        Fingerprint(hash.digest())
    }

    /// The ladder of the run so far.
    pub fn ladder(&self) -> Ladder {
        Ladder {
            events: self.events,
            whole: self.finish(),
            step: self.step,
            rungs: self.rungs.clone(),
        }
    }

    /// Hashes what is in the buffer.
    #[inline(never)]
    fn flush(&mut self) {
        self.hash.update(&self.buffer[..self.filled]);
        self.filled = 0;
    }

    /// Adds a rung, and doubles the step if there are too many.
    #[cold]
    #[inline(never)]
    fn rung(&mut self) {
        self.flush();
        self.rungs.push(Fingerprint(self.hash.digest()));
        if self.rungs.len() > RUNGS {
            // Those at even multiples of the step stay; the first rung is at one step.
            let even = self.rungs.iter().skip(1).step_by(2);
            self.rungs = even.copied().collect();
            self.step *= 2;
        }
        self.next_rung = (self.rungs.len() as u64 + 1) * self.step;
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digest")
            .field("events", &self.events)
            .field("fingerprint", &self.finish())
            .finish_non_exhaustive()
    }
}

/// The stretch of event numbers in which two runs differ for the first time; none if they are equal.
///
/// The range holds the first event whose words differ, or that only one of the runs has. It is as
/// long as the larger step of the two ladders, and less where a run ends.
pub fn first_difference(a: &Ladder, b: &Ladder) -> Option<Range<u64>> {
    if a.whole == b.whole && a.events == b.events {
        return None;
    }
    let step = a.step.max(b.step);
    let mut start = 0;
    for number in 1.. {
        let Some(end) = step.checked_mul(number) else {
            break;
        };
        let (Some(left), Some(right)) = (a.at(end), b.at(end)) else {
            break;
        };
        if left != right {
            return Some(start..end);
        }
        start = end;
    }
    // One of them ends before its next rung, so that the other differs by the event after its last.
    let (short, long) = (a.events.min(b.events), a.events.max(b.events));
    Some(start..long.min(short.saturating_add(1)).max(start + 1))
}

impl Ladder {
    /// The fingerprint before an event whose number is a multiple of the step; before the one after
    /// the last, this is that of the whole.
    fn at(&self, event: u64) -> Option<Fingerprint> {
        if event == self.events {
            return Some(self.whole);
        }
        // A ladder may come from a file, in which the step can be zero.
        let index = event.checked_div(self.step)?.checked_sub(1)?;
        self.rungs.get(usize::try_from(index).ok()?).copied()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let well_formed = text.len() == 16 && text.bytes().all(digit);
        let number = u64::from_str_radix(text, 16).ok();
        let number = number.filter(|_| well_formed);
        let text = || FingerprintError { text: text.into() };
        number.map(Self).ok_or_else(text)
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = FingerprintError;

    fn try_from(text: String) -> Result<Self, FingerprintError> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    /// A run of so many events of two words each; event `changed` is another one in it.
    fn ladder(events: u64, changed: Option<u64>) -> Ladder {
        let mut digest = Digest::new();
        digest.word(7);
        for event in 0..events {
            digest.event();
            digest.words(&[event, u64::from(changed == Some(event))]);
        }
        digest.ladder()
    }

    /// A run without events that wrote one word.
    fn bare(word: u64) -> Ladder {
        let mut digest = Digest::new();
        digest.word(word);
        digest.ladder()
    }

    #[test]
    fn golden_fingerprints() {
        let rows: &[(&str, u64, &str)] = &[
            ("nothing", 0, "2d06800538d394c2"),
            ("one word", 1, "c77b3abb6f87acd9"),
            ("one buffer", BUFFER as u64, "cae42271e3465a49"),
            ("several buffers", 1_000, "29462356e2d9061a"),
        ];
        for (name, count, expected) in rows {
            let mut digest = Digest::new();
            for word in 0..*count {
                digest.word(word);
            }
            assert_eq!(digest.finish().to_string(), *expected, "{name}");
        }
    }

    #[test]
    fn the_step_doubles_with_the_run() {
        // (events, step, rungs): a rung is due when the event of its number begins.
        let rows = [
            (0, 1, 0),
            (1, 1, 0),
            (2, 1, 1),
            (65, 1, 64),
            (66, 2, 32),
            (129, 2, 64),
            (131, 4, 32),
            (1_000_000, 16_384, 61),
        ];
        for (events, step, rungs) in rows {
            let ladder = ladder(events, None);
            let measured = (ladder.events, ladder.step, ladder.rungs.len());
            assert_eq!(measured, (events, step, rungs));
        }
    }

    #[test]
    fn the_first_difference_is_found() {
        let rows = [
            ("equal", ladder(500, None), ladder(500, None), None),
            ("both empty", ladder(0, None), ladder(0, None), None),
            ("first event", ladder(500, None), ladder(500, Some(0)), Some(0..8)),
            ("inside", ladder(500, None), ladder(500, Some(123)), Some(120..128)),
            ("last event", ladder(500, None), ladder(500, Some(499)), Some(496..500)),
            ("short runs", ladder(9, Some(4)), ladder(9, None), Some(4..5)),
            ("beginning of the other", ladder(100, None), ladder(103, None), Some(100..101)),
            ("other steps", ladder(100, Some(13)), ladder(5_000, None), Some(0..101)),
            ("before the first event", bare(1), bare(2), Some(0..1)),
            ("one is empty", ladder(0, None), ladder(3, None), Some(0..1)),
        ];
        for (name, a, b, expected) in rows {
            assert_eq!(first_difference(&a, &b), expected, "{name}");
            assert_eq!(first_difference(&b, &a), expected, "{name}, exchanged");
        }
    }

    #[test]
    fn a_ladder_without_steps_compares() {
        let broken = Ladder { step: 0, ..ladder(9, None) };
        assert_eq!(first_difference(&broken, &broken), None);
        let other = Ladder { whole: Fingerprint(0), ..broken.clone() };
        assert_eq!(first_difference(&broken, &other), Some(0..9));
    }

    #[test]
    fn text_and_json() {
        let fingerprint = Fingerprint(0xab);
        assert_eq!(fingerprint.to_string(), "00000000000000ab");
        let rows = [
            ("well-formed", "00000000000000ab", true),
            ("upper case", "00000000000000AB", false),
            ("too short", "ab", false),
            ("a sign", "+0000000000000ab", false),
        ];
        for (name, text, valid) in rows {
            assert_eq!(text.parse() == Ok(fingerprint), valid, "{name}");
        }
        let ladder = ladder(70, None);
        let json = serde_json::to_string(&ladder).expect("texts and numbers serialise");
        assert_eq!(serde_json::from_str::<Ladder>(&json).ok(), Some(ladder));
    }

    proptest! {
        #[test]
        fn the_digest_is_that_of_all_bytes(
            chunks in prop::collection::vec((prop::collection::vec(any::<u64>(), 0..200), any::<bool>()), 0..10),
        ) {
            let mut digest = Digest::new();
            let mut bytes = Vec::new();
            for (words, event) in &chunks {
                if *event {
                    digest.event();
                }
                digest.words(words);
                bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            }
            prop_assert_eq!(digest.finish(), Fingerprint(xxh3_64(&bytes)));
        }

        #[test]
        fn a_changed_event_is_in_the_range(
            (a, b, changed) in (1_u64..3_000, 1_u64..3_000)
                .prop_flat_map(|(a, b)| (Just(a), Just(b), 0..a.min(b))),
        ) {
            let (plain, other) = (ladder(a, None), ladder(b, Some(changed)));
            let range = first_difference(&plain, &other).expect("an event differs");
            prop_assert!(range.contains(&changed), "{range:?}");
            let step = plain.step.max(other.step);
            prop_assert!(range.end - range.start <= step);
        }
    }
}
