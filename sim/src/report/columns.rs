//! The columns of a space-time view: which there are, how wide, and what they are called.

use super::line::{Line, Place};

/// Narrowest column that holds words.
const WORDS_MIN: usize = 18;
/// Widest column; more would only pull the lines apart.
const WORDS_MAX: usize = 30;
/// What the words need to the right of narrow columns.
const WORDS_BESIDE: usize = 36;
/// A narrow column: a symbol and a space.
const NARROW: usize = 2;

/// The columns of a view, from left to right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    names: Vec<String>,
    /// Characters of one column, the space behind it included.
    pub(super) width: usize,
    /// Whether the words are in the column, or to the right of all columns.
    pub(super) holds_words: bool,
    /// Whether a column stands for all subtasks of an operator.
    folded: bool,
}

impl Columns {
    /// The job manager, then subtasks, in so many characters. If they do not fit, a column is an
    /// operator.
    pub(super) fn new(subtasks: &[String], room: usize) -> Self {
        let of = |names: Vec<String>, folded| {
            let width = room / names.len();
            let holds_words = width >= WORDS_MIN;
            let width = if holds_words { width.min(WORDS_MAX) } else { NARROW };
            Self { names, width, holds_words, folded }
        };
        let manager = || vec!["job manager".to_owned()];
        let mut names = manager();
        names.extend(subtasks.iter().cloned());
        let fits = names.len() * NARROW + WORDS_BESIDE <= room;
        if fits || names.len() * WORDS_MIN <= room {
            return of(names, false);
        }
        let mut folded = manager();
        for subtask in subtasks {
            let operator = operator(subtask);
            if folded.last().is_none_or(|last| last != operator) {
                folded.push(operator.to_owned());
            }
        }
        of(folded, true)
    }

    /// As [`new`](Self::new), but never with words in the columns.
    pub(super) fn narrow(subtasks: &[String], room: usize) -> Self {
        let columns = Self::new(subtasks, room);
        Self { width: NARROW, holds_words: false, ..columns }
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn is_folded(&self) -> bool {
        self.folded
    }

    /// The column of a line; none for what happens everywhere.
    pub(super) fn of(&self, line: &Line) -> Option<usize> {
        match line.place() {
            Place::World => None,
            Place::JobManager => Some(0),
            Place::Subtask(name) => {
                let name = if self.folded { operator(&name) } else { &name };
                self.names.iter().position(|column| column == name)
            }
        }
    }

    /// Characters of all columns together.
    pub(super) fn total(&self) -> usize {
        self.names.len() * self.width
    }
}

fn operator(subtask: &str) -> &str {
    subtask.rsplit_once('[').map_or(subtask, |(operator, _)| operator)
}
