//! Failover regions: subtasks that fail together, because records flow between them.
//!
//! In a stream job every edge is pipelined: whoever receives has taken over nothing that could be sent
//! again without its sender. So a region is a connected component of the execution graph. A job with
//! an edge from all to all is one region, as far as that edge reaches; forward edges, and pipelines
//! that are not connected, make many. In Flink: `PipelinedRegionComputeUtil`,
//! `RestartPipelinedRegionFailoverStrategy`.

use std::ops::Range;

use crate::ids::{RegionId, SubtaskId};

/// The regions of all layouts of an execution graph, numbered in the order of their first subtasks:
/// those of one layout are in a row.
#[derive(Clone, Debug, Default)]
pub struct Regions {
    /// By subtask.
    of: Vec<RegionId>,
    /// By region, ascending.
    subtasks: Vec<Vec<SubtaskId>>,
}

impl Regions {
    /// The regions of so many subtasks, joined by these channels.
    pub(super) fn new(
        subtasks: usize,
        channels: impl Iterator<Item = (SubtaskId, SubtaskId)>,
    ) -> Self {
        let mut leads_to: Vec<usize> = (0..subtasks).collect();
        for (from, to) in channels {
            let (from, to) = (root(&mut leads_to, from.index()), root(&mut leads_to, to.index()));
            // The first subtask of a region stands for it.
            leads_to[from.max(to)] = from.min(to);
        }
        let mut regions = Self { of: Vec::with_capacity(subtasks), subtasks: Vec::new() };
        for subtask in 0..subtasks {
            let first = root(&mut leads_to, subtask);
            if first == subtask {
                regions.of.push(RegionId(regions.subtasks.len() as u32));
                regions.subtasks.push(Vec::new());
            } else {
                regions.of.push(regions.of[first]);
            }
            regions.subtasks[regions.of[subtask].index()].push(SubtaskId(subtask as u32));
        }
        regions
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.subtasks.len()
    }

    /// The region of a subtask.
    #[inline]
    pub fn of(&self, subtask: SubtaskId) -> RegionId {
        self.of[subtask.index()]
    }

    /// The subtasks of a region, ascending.
    pub fn subtasks(&self, region: RegionId) -> &[SubtaskId] {
        &self.subtasks[region.index()]
    }

    /// The regions of some subtasks in a row: those of one layout.
    pub fn within(&self, subtasks: Range<u32>) -> impl Iterator<Item = RegionId> + use<> {
        let numbers = || subtasks.clone().map(|subtask| self.of(SubtaskId(subtask)).0);
        let range = numbers().min().zip(numbers().max()).map_or(0..0, |(low, high)| low..high + 1);
        range.map(RegionId)
    }
}

/// The subtask that stands for the region, as far as it is known. Ways are halved as they are gone.
fn root(leads_to: &mut [usize], mut at: usize) -> usize {
    while leads_to[at] != at {
        leads_to[at] = leads_to[leads_to[at]];
        at = leads_to[at];
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The subtasks of each region.
    fn of(subtasks: usize, channels: &[(u32, u32)]) -> String {
        let joined = channels.iter().map(|&(from, to)| (SubtaskId(from), SubtaskId(to)));
        let regions = Regions::new(subtasks, joined);
        for (at, members) in regions.subtasks.iter().enumerate() {
            assert!(members.iter().all(|it| regions.of(*it).index() == at));
        }
        let numbers = |members: &Vec<SubtaskId>| {
            members.iter().map(|it| it.0.to_string()).collect::<Vec<_>>().join(" ")
        };
        regions.subtasks.iter().map(numbers).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn what_channels_join_is_one_region() {
        let rows = [
            ("nothing is joined", of(3, &[]), "0 | 1 | 2"),
            ("forward", of(4, &[(0, 2), (1, 3)]), "0 2 | 1 3"),
            ("all to all", of(4, &[(0, 2), (0, 3), (1, 2), (1, 3)]), "0 1 2 3"),
            ("a diamond", of(4, &[(0, 1), (0, 2), (1, 3), (2, 3)]), "0 1 2 3"),
            ("joined at the far end", of(5, &[(0, 2), (1, 3), (2, 4), (3, 4)]), "0 1 2 3 4"),
            ("two pipelines", of(6, &[(0, 3), (4, 5), (1, 2)]), "0 3 | 1 2 | 4 5"),
        ];
        for (name, regions, expected) in rows {
            assert_eq!(regions, expected, "{name}");
        }
    }

    #[test]
    fn the_regions_of_some_subtasks_are_in_a_row() {
        let joined = [(0, 2), (1, 3), (4, 5)].map(|(from, to)| (SubtaskId(from), SubtaskId(to)));
        let regions = Regions::new(6, joined.into_iter());
        let within = |range| regions.within(range).collect::<Vec<_>>();
        assert_eq!(within(0..4), [RegionId(0), RegionId(1)]);
        assert_eq!(within(4..6), [RegionId(2)]);
        assert_eq!(within(2..2), []);
        assert_eq!((regions.count(), regions.subtasks(RegionId(1)).len()), (3, 2));
    }
}
