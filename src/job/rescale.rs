//! Who gets which state when the parallelism changes (step R4).
//!
//! Two questions: which old subtasks' in-flight data a new subtask reads, and how the elements of
//! operator list state are dealt out. In Flink: `SubtaskStateMapper`, `RescaleMappings` and
//! `RoundRobinOperatorStateRepartitioner`. Keyed state moves by key group, see
//! [`super::key_groups`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::key_groups::{self, KeyGroupRange, MAX_PARALLELISM_LIMIT};
use crate::ids::KeyGroup;

/// How in-flight data of old subtasks is assigned to new ones; it follows from the partitioner of
/// the edge. Flink: `SubtaskStateMapper`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SubtaskMapper {
    /// Any assignment will do.
    Arbitrary,
    /// New subtask 0 takes everything.
    First,
    /// Each new subtask takes everything and filters.
    Full,
    /// By key-group range; where ranges only overlap, the records are filtered.
    Range,
    /// In turn.
    RoundRobin,
    /// Rescaling with in-flight data is not possible.
    Unsupported,
}

/// The partitioner of an edge cannot be rescaled while in-flight data is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("in-flight data of this edge cannot be rescaled; take a checkpoint without it first")]
pub struct Unsupported;

impl SubtaskMapper {
    /// Whether an old subtask may be read by several new ones, so that records must be filtered.
    pub fn may_be_ambiguous(self) -> bool {
        match self {
            Self::Full | Self::Range => true,
            Self::Arbitrary | Self::First | Self::RoundRobin | Self::Unsupported => false,
        }
    }

    /// The old subtasks that new subtask `index` takes in-flight data from, ascending.
    ///
    /// # Errors
    /// [`Unsupported`] if the mapper is [`SubtaskMapper::Unsupported`].
    pub fn old_subtasks(self, index: u32, old: u32, new: u32) -> Result<Vec<u32>, Unsupported> {
        match self {
            Self::Arbitrary | Self::RoundRobin => {
                Ok((index..old).step_by(new.max(1) as usize).collect())
            }
            Self::First if index == 0 => Ok((0..old).collect()),
            Self::First => Ok(Vec::new()),
            Self::Full => Ok((0..old).collect()),
            Self::Range => Ok(owners(range(index, new), old)),
            Self::Unsupported => Err(Unsupported),
        }
    }

    /// The whole assignment.
    ///
    /// # Errors
    /// [`Unsupported`] if the mapper is [`SubtaskMapper::Unsupported`].
    pub fn mapping(self, old: u32, new: u32) -> Result<SubtaskMapping, Unsupported> {
        let new_to_old = (0..new)
            .map(|index| self.old_subtasks(index, old, new))
            .collect::<Result<Vec<_>, _>>()?;
        let mut old_to_new = vec![Vec::new(); old as usize];
        for (reader, olds) in (0..).zip(&new_to_old) {
            for &source in olds {
                old_to_new[source as usize].push(reader);
            }
        }
        Ok(SubtaskMapping { new_to_old, old_to_new })
    }
}

/// In-flight data is divided by the ranges of the largest possible number of key groups.
fn range(index: u32, parallelism: u32) -> KeyGroupRange {
    key_groups::range_of(index, MAX_PARALLELISM_LIMIT, parallelism)
}

/// The subtasks whose ranges meet this one.
fn owners(wanted: KeyGroupRange, parallelism: u32) -> Vec<u32> {
    if wanted.is_empty() || parallelism == 0 {
        return Vec::new();
    }
    let owner = |group: i64| {
        let group = KeyGroup(u16::try_from(group).expect("a range lies within 2^15 groups"));
        key_groups::operator_index(group, MAX_PARALLELISM_LIMIT, parallelism)
    };
    (owner(wanted.first)..=owner(wanted.last)).collect()
}

/// Which new subtask reads the in-flight data of which old one. Flink: `RescaleMappings`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubtaskMapping {
    /// For each new subtask the old ones, ascending.
    pub new_to_old: Vec<Vec<u32>>,
    /// For each old subtask the new ones, ascending.
    pub old_to_new: Vec<Vec<u32>>,
}

impl SubtaskMapping {
    /// Each old subtask goes to the new one with its number and nowhere else.
    pub fn is_identity(&self) -> bool {
        (0..).zip(&self.old_to_new).all(|(old, new)| new.as_slice() == [old])
    }

    /// Old subtasks that several new ones read: their records must be filtered.
    pub fn ambiguous(&self) -> Vec<u32> {
        (0..).zip(&self.old_to_new).filter(|(_, new)| new.len() > 1).map(|(old, _)| old).collect()
    }
}

/// How the elements of a list state are dealt out. Flink: `OperatorStateHandle.Mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DistributionMode {
    /// Each element goes to one new subtask.
    SplitDistribute,
    /// Each new subtask gets all elements of all old ones.
    Union,
    /// All old subtasks hold the same; each new one gets one copy.
    Broadcast,
}

/// The list state of one name in one handle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListState {
    /// How it is dealt out.
    pub mode: DistributionMode,
    /// Where its elements begin, one offset for each.
    pub offsets: Vec<u64>,
}

/// One file of operator state: its list states by name.
pub type ListHandle<N> = BTreeMap<N, ListState>;

/// Which handle: the `handle`-th of old subtask `subtask`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HandleId {
    /// The old subtask.
    pub subtask: u32,
    /// The position among its handles.
    pub handle: u32,
}

/// What one new subtask reads: for each handle the offsets of each state in it.
pub type ListShare<N> = BTreeMap<HandleId, BTreeMap<N, Vec<u64>>>;

/// Deals the list state of all old subtasks out to `new` ones.
///
/// States are taken in order of their names. Deviation: Flink takes them in the order of a hash map.
///
/// # Panics
/// If `new` is 0.
pub fn redistribute<N: Ord + Clone>(old: &[Vec<ListHandle<N>>], new: u32) -> Vec<ListShare<N>> {
    assert!(new > 0, "an operator has subtasks");
    let mut shares = vec![ListShare::new(); new as usize];
    let union = gather(old, DistributionMode::Union);
    let broadcast = gather(old, DistributionMode::Broadcast);
    if old.len() == shares.len() {
        keep(old, &mut shares);
        deal_union(&union, &mut shares);
        deal_broadcast(&partial(&broadcast, old.len()), &mut shares);
    } else {
        let split = gather(old, DistributionMode::SplitDistribute);
        deal_split(&split, &mut shares);
        deal_union(&union, &mut shares);
        deal_broadcast(&broadcast, &mut shares);
    }
    shares
}

/// All parts of each state, old subtasks in order.
type Parts<'a, N> = BTreeMap<&'a N, Vec<(HandleId, &'a [u64])>>;

fn gather<N: Ord>(old: &[Vec<ListHandle<N>>], mode: DistributionMode) -> Parts<'_, N> {
    let mut parts = Parts::new();
    for (id, handle) in handles(old) {
        for (name, state) in handle.iter().filter(|(_, state)| state.mode == mode) {
            let offsets = state.offsets.as_slice();
            parts.entry(name).or_default().push((id, offsets));
        }
    }
    parts
}

fn handles<N>(old: &[Vec<ListHandle<N>>]) -> impl Iterator<Item = (HandleId, &ListHandle<N>)> {
    (0..).zip(old).flat_map(|(subtask, handles)| {
        (0..).zip(handles).map(move |(handle, states)| (HandleId { subtask, handle }, states))
    })
}

/// With the same parallelism, everything stays with the subtask of the same number.
fn keep<N: Ord + Clone>(old: &[Vec<ListHandle<N>>], shares: &mut [ListShare<N>]) {
    for (id, handle) in handles(old) {
        for (name, state) in handle {
            give(&mut shares[id.subtask as usize], id, name, &state.offsets);
        }
    }
}

/// Cuts the elements of each state into runs whose lengths differ by at most one.
fn deal_split<N: Ord + Clone>(parts: &Parts<'_, N>, shares: &mut [ListShare<N>]) {
    let count = shares.len();
    // The next state begins where the longer runs of this one ended, so that no subtask always
    // gets the odd element.
    let mut start = 0;
    for (name, parts) in parts {
        let total: usize = parts.iter().map(|(_, offsets)| offsets.len()).sum();
        let longer = total % count;
        let mut parts = parts.iter().copied();
        let mut rest: (HandleId, &[u64]) = (HandleId { subtask: 0, handle: 0 }, &[]);
        for turn in 0..count {
            let share = &mut shares[(start + turn) % count];
            let mut wanted = total / count + usize::from(turn < longer);
            while wanted > 0 {
                if rest.1.is_empty() {
                    rest = parts.next().expect("the runs add up to the total");
                }
                let (taken, left) = rest.1.split_at(wanted.min(rest.1.len()));
                give(share, rest.0, name, taken);
                wanted -= taken.len();
                rest.1 = left;
            }
        }
        start = (start + longer) % count;
    }
}

fn deal_union<N: Ord + Clone>(parts: &Parts<'_, N>, shares: &mut [ListShare<N>]) {
    for (name, parts) in parts {
        for share in shares.iter_mut() {
            for (id, offsets) in parts {
                give(share, *id, name, offsets);
            }
        }
    }
}

fn deal_broadcast<N: Ord + Clone>(parts: &Parts<'_, N>, shares: &mut [ListShare<N>]) {
    for (name, parts) in parts {
        for (share, (id, offsets)) in shares.iter_mut().zip(parts.iter().cycle()) {
            give(share, *id, name, offsets);
        }
    }
}

/// Broadcast states that some old subtask does not report, because it had finished: the new
/// subtask of its number would start without.
fn partial<'a, N: Ord>(broadcast: &Parts<'a, N>, old: usize) -> Parts<'a, N> {
    let reporting = |parts: &[(HandleId, &[u64])]| {
        let mut subtasks: Vec<_> = parts.iter().map(|(id, _)| id.subtask).collect();
        subtasks.dedup();
        subtasks.len()
    };
    let some_miss = broadcast.iter().filter(|(_, parts)| reporting(parts) < old);
    some_miss.map(|(name, parts)| (*name, parts.clone())).collect()
}

fn give<N: Ord + Clone>(share: &mut ListShare<N>, id: HandleId, name: &N, offsets: &[u64]) {
    if !offsets.is_empty() {
        share.entry(id).or_default().insert(name.clone(), offsets.to_vec());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn mappers() {
        use SubtaskMapper as M;
        /// Name, mapper, old, new, for each new subtask the old ones.
        type Row = (&'static str, M, u32, u32, &'static [&'static [u32]]);
        let rows: [Row; 5] = [
            ("round robin down", M::RoundRobin, 5, 2, &[&[0, 2, 4], &[1, 3]]),
            ("first", M::First, 2, 2, &[&[0, 1], &[]]),
            ("range up", M::Range, 2, 3, &[&[0], &[0, 1], &[1]]),
            ("full", M::Full, 2, 1, &[&[0, 1]]),
            ("arbitrary up", M::Arbitrary, 1, 2, &[&[0], &[]]),
        ];
        for (name, mapper, old, new, expected) in rows {
            let mapping = mapper.mapping(old, new).expect(name);
            assert_eq!(mapping.new_to_old, expected, "{name}");
        }
        assert_eq!(M::Unsupported.mapping(1, 1), Err(Unsupported));
    }

    fn split(offsets: std::ops::Range<u64>) -> ListState {
        ListState { mode: DistributionMode::SplitDistribute, offsets: offsets.collect() }
    }

    proptest! {
        #[test]
        fn range_mapper_is_where_ranges_meet(old in 1u32..300, new in 1u32..300, pick in 0u32..300) {
            let index = pick % new;
            let wanted = range(index, new);
            let expected: Vec<u32> = (0..old).filter(|&o| range(o, old).meets(wanted)).collect();
            prop_assert_eq!(SubtaskMapper::Range.old_subtasks(index, old, new), Ok(expected));
        }

        /// Nothing is lost or doubled, and the shares differ by at most one element a state.
        #[test]
        fn split_state_is_dealt_evenly(
            lengths in prop::collection::vec(0u64..9, 1..6),
            new in 1u32..8,
        ) {
            let old: Vec<Vec<ListHandle<&str>>> = lengths
                .iter()
                .map(|&n| vec![ListHandle::from([("s", split(0..n))])])
                .collect();
            let shares = redistribute(&old, new);
            let mut seen = Vec::new();
            let mut sizes = Vec::new();
            for share in &shares {
                let before = seen.len();
                for (id, states) in share {
                    seen.extend(states["s"].iter().map(|offset| (id.subtask, *offset)));
                }
                sizes.push(seen.len() - before);
            }
            seen.sort_unstable();
            let all: Vec<_> = (0..)
                .zip(&lengths)
                .flat_map(|(subtask, &n)| (0..n).map(move |offset| (subtask, offset)))
                .collect();
            prop_assert_eq!(seen, all);
            if old.len() != shares.len() {
                let (min, max) = (sizes.iter().min(), sizes.iter().max());
                prop_assert!(max.zip(min).is_some_and(|(max, min)| max - min <= 1));
            }
        }
    }
}
