//! A scenario that may do in the place of another.

use crate::scenario::Scenario;

/// A smaller scenario, and how it differs from the one it was made of.
#[derive(Clone, Debug)]
pub(super) struct Edit {
    /// What is otherwise: `without fault 2`, `with one subtask of count`.
    pub(super) what: String,
    /// What is left.
    pub(super) scenario: Scenario,
}

impl Edit {
    pub(super) fn new(what: impl Into<String>, scenario: Scenario) -> Self {
        Self { what: what.into(), scenario }
    }
}
