//! The catalogue of defects: bugs of real stream processors and traps of the literature.
//!
//! It says what each may be found as, and why those that are not planted are not. The switches
//! themselves are in [`cutline::defect`]. What the protocol cannot have yet stays in the list, with
//! the reason: nothing is dropped silently.

#[cfg(feature = "defects")]
pub mod directed;

use std::fmt;
use std::sync::OnceLock;

use cutline::defect::Defect;
use serde::{Deserialize, Serialize};

use crate::check::Class;

/// A defect, planted or not.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its id: `D47`.
    pub id: String,
    /// What is wrong, in one line.
    pub title: String,
    /// The part of a stream processor that had it.
    pub component: String,
    /// How hard it should be to find by a random search: an estimate, not a measurement.
    pub search: Search,
    /// 1: needs core features only. 2: needs one that few runs have.
    pub tier: u8,
    /// What it may be found as: only a first violation of one of these counts.
    pub classes: Vec<Class>,
    /// Seed of its directed scenario, if the first one does not show it.
    #[serde(default = "first_seed")]
    pub seed: u64,
    /// Why it has no switch, if it has none.
    #[serde(default)]
    pub not_planted: Option<String>,
}

fn first_seed() -> u64 {
    1
}

/// How hard a defect should be to find by a random search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Search {
    /// In about a hundred runs that have the needed features.
    Easy,
    /// In some thousand.
    Medium,
    /// By a generator that aims at it.
    Hard,
}

impl fmt::Display for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Easy => "easy",
            Self::Medium => "medium",
            Self::Hard => "hard",
        })
    }
}

impl Entry {
    /// Its switch, if it has one.
    pub fn defect(&self) -> Option<Defect> {
        self.id.parse().ok()
    }
}

/// All of them, by id.
pub fn catalogue() -> &'static [Entry] {
    static READ: OnceLock<Vec<Entry>> = OnceLock::new();
    READ.get_or_init(|| {
        let text = include_str!("../../defects/catalogue.json");
        serde_json::from_str(text).expect("the catalogue is valid; tested")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_agrees_with_the_switches() {
        assert_eq!(catalogue().len(), 97);
        assert!(catalogue().is_sorted_by_key(|entry| &entry.id));
        for entry in catalogue() {
            let Entry { id, classes, not_planted, .. } = entry;
            assert!(!classes.is_empty(), "{id}");
            assert!((1..=2).contains(&entry.tier), "{id}");
            match entry.defect() {
                Some(defect) => {
                    assert_eq!(defect.title(), entry.title);
                    assert_eq!(*not_planted, None, "{id} is planted");
                }
                None => assert!(not_planted.is_some(), "{id}: why is it not planted?"),
            }
        }
        let listed = |defect: &Defect| catalogue().iter().any(|entry| entry.id == defect.id());
        assert!(Defect::ALL.iter().all(listed));
    }
}
