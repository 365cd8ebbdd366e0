//! How the scenarios of a campaign come about.
//!
//! Seeds are searched in rounds of 32. The first seeds of a round are independent of each other;
//! the last ones change scenarios of the same round that got to where few others got. So what a
//! seed means depends on its round alone, and neither threads nor partitions nor an interruption
//! change it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::row::Row;
use crate::kernel::stream::Streams;

/// Seeds of one round. A round begins at a multiple of it.
pub const ROUND: u64 = 32;

/// What a campaign does with its seeds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// A part of the seeds for each of the others.
    #[default]
    Mix,
    /// Each seed draws which features and kinds of faults are on at all, then how often.
    Swarm,
    /// The same run of a round again and again, with one crash at each protocol step in turn.
    Placement,
    /// A window between two protocol steps is held open, and something crashes in it.
    Aimed,
    /// As swarm, and what happens at nearly the same time happens in the order of random priorities,
    /// which change a few times (PCT).
    Pct,
    /// Half of a round is swarm; the rest changes those that got to where few others got.
    Feedback,
}

/// How one scenario was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// It was given.
    Given,
    /// As [`Strategy::Swarm`].
    Swarm,
    /// As [`Strategy::Placement`].
    Placement,
    /// As [`Strategy::Aimed`].
    Aimed,
    /// As [`Strategy::Pct`].
    Pct,
    /// As [`Strategy::Feedback`].
    Feedback,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Given => "given",
            Self::Swarm => "swarm",
            Self::Placement => "placement",
            Self::Aimed => "aimed",
            Self::Pct => "pct",
            Self::Feedback => "feedback",
        })
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mix => "mix",
            Self::Swarm => "swarm",
            Self::Placement => "placement",
            Self::Aimed => "aimed",
            Self::Pct => "pct",
            Self::Feedback => "feedback",
        })
    }
}

impl Strategy {
    /// What a seed is used for.
    pub(super) fn method(self, seed: u64) -> Method {
        match self {
            Self::Mix => match seed % ROUND {
                0..16 => Method::Swarm,
                16..21 => Method::Placement,
                21..25 => Method::Aimed,
                25..28 => Method::Pct,
                _ => Method::Feedback,
            },
            Self::Swarm => Method::Swarm,
            Self::Placement => Method::Placement,
            Self::Aimed => Method::Aimed,
            Self::Pct => Method::Pct,
            Self::Feedback if seed % ROUND < ROUND / 2 => Method::Swarm,
            Self::Feedback => Method::Feedback,
        }
    }

    /// Whether some seeds depend on others of their round.
    pub(super) fn has_rounds(self) -> bool {
        match self {
            Self::Mix | Self::Feedback => true,
            Self::Swarm | Self::Placement | Self::Aimed | Self::Pct => false,
        }
    }
}

/// The run whose scenario a seed of the same round changes: drawn among those that pass, the more
/// likely the rarer the situations that they have seen, and the rarer what their faults have struck.
pub(super) fn parent(rows: &[Row], seed: u64) -> Option<u64> {
    let passing: Vec<&Row> = rows.iter().filter(|row| row.signature.is_none()).collect();
    let situations = counted(passing.iter().flat_map(|row| row.situations.keys()));
    let strikes = counted(passing.iter().flat_map(|row| &row.struck));
    let interest = |row: &&Row| -> u64 {
        let situations = row.situations.keys().map(|name| ROUND / situations[name]);
        let strikes = row.struck.iter().map(|strike| ROUND / strikes[strike]);
        1 + situations.sum::<u64>() + strikes.sum::<u64>()
    };
    let weights: Vec<u64> = passing.iter().map(interest).collect();
    let sum: u64 = weights.iter().sum();
    if sum == 0 {
        return None;
    }
    let mut left = Streams { seed }.stream("campaign parent", "").below(sum);
    let chosen = passing.iter().zip(weights).find(|(_, weight)| {
        let here = left < *weight;
        left = left.saturating_sub(*weight);
        here
    });
    chosen.map(|(row, _)| row.seed)
}

/// How often each name is there.
fn counted<'a>(names: impl Iterator<Item = &'a String>) -> BTreeMap<&'a String, u64> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts
}
