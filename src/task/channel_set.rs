//! A set of input channels: one bit each, iterated in ascending order.

use crate::ids::InputChannel;

/// A set over a fixed number of input channels, with its size at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChannelSet {
    words: Vec<u64>,
    len: u32,
}

impl ChannelSet {
    /// The empty set over channels `0..channels`.
    pub(crate) fn new(channels: u32) -> Self {
        Self { words: vec![0; channels.div_ceil(u64::BITS) as usize], len: 0 }
    }

    /// Number of members.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are no members.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether a channel is a member.
    pub(crate) fn contains(&self, channel: InputChannel) -> bool {
        let (word, bit) = Self::place(channel);
        self.words[word] & bit != 0
    }

    /// Adds a channel; nothing changes if it is a member.
    pub(crate) fn insert(&mut self, channel: InputChannel) {
        let (word, bit) = Self::place(channel);
        self.len += u32::from(self.words[word] & bit == 0);
        self.words[word] |= bit;
    }

    /// Takes a channel out; nothing changes if it is no member.
    pub(crate) fn remove(&mut self, channel: InputChannel) {
        let (word, bit) = Self::place(channel);
        self.len -= u32::from(self.words[word] & bit != 0);
        self.words[word] &= !bit;
    }

    /// Takes all channels out.
    pub(crate) fn clear(&mut self) {
        if !self.is_empty() {
            self.words.fill(0);
            self.len = 0;
        }
    }

    /// The members in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = InputChannel> {
        (0u32..).zip(&self.words).flat_map(|(index, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(InputChannel(index * u64::BITS + bit))
            })
        })
    }

    /// Whether every member is one of `other`, a set over the same channels.
    pub(crate) fn is_subset(&self, other: &Self) -> bool {
        let mut pairs = self.words.iter().zip(&other.words);
        pairs.all(|(mine, theirs)| mine & !theirs == 0)
    }

    fn place(channel: InputChannel) -> (usize, u64) {
        let bits = u64::BITS;
        ((channel.0 / bits) as usize, 1 << (channel.0 % bits))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_as_an_ordered_set(steps in prop::collection::vec((0u32..200, any::<bool>()), 0..200)) {
            let (mut set, mut model) = (ChannelSet::new(200), BTreeSet::new());
            for (channel, insert) in steps {
                let channel = InputChannel(channel);
                if insert {
                    set.insert(channel);
                    model.insert(channel);
                } else {
                    set.remove(channel);
                    model.remove(&channel);
                }
                prop_assert_eq!(set.len() as usize, model.len());
                prop_assert_eq!(set.contains(channel), insert);
            }
            prop_assert!(set.iter().eq(model.iter().copied()));
            let whole = set.clone();
            set.clear();
            prop_assert!(set.is_empty());
            prop_assert!(set.is_subset(&whole));
            prop_assert_eq!(whole.is_subset(&set), whole.is_empty());
        }
    }
}
