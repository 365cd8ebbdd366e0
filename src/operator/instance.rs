//! Who an operator instance is, and what of a state belongs to it.

use crate::defect::{Defect, Defects};
use crate::ids::{Attempt, OperatorId};
use crate::job::key_groups::{key_group, operator_index};

/// One parallel instance of an operator, in one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The operator.
    pub operator: OperatorId,
    /// The number of the subtask within the operator.
    pub subtask: u32,
    /// Number of subtasks.
    pub parallelism: u32,
    /// Number of key groups.
    pub max_parallelism: u32,
    /// Which execution of the subtask this is.
    pub attempt: Attempt,
    /// What is planted.
    pub defects: Defects,
}

impl Instance {
    /// The only instance of an operator, which holds all of its state.
    pub fn single(operator: OperatorId) -> Self {
        Self {
            operator,
            subtask: 0,
            parallelism: 1,
            max_parallelism: 1,
            attempt: Attempt(0),
            defects: Defects::none(),
        }
    }

    /// Whether the key's group is this subtask's.
    #[inline]
    pub fn owns_key(&self, key: u32) -> bool {
        // A single subtask owns all, whatever the number of key groups.
        self.parallelism == 1 || {
            let group = key_group(key as i32, self.max_parallelism);
            if self.defects.has(Defect::D96) {
                let first = |subtask| subtask * self.max_parallelism / self.parallelism;
                return (first(self.subtask)..first(self.subtask + 1))
                    .contains(&u32::from(group.0));
            }
            operator_index(group, self.max_parallelism, self.parallelism) == self.subtask
        }
    }

    /// Whether a part of unkeyed state with this number (a split, or the subtask that wrote it)
    /// goes to this subtask: round-robin, so that nothing moves while the parallelism stays.
    #[inline]
    pub fn owns_part(&self, number: u32) -> bool {
        number % self.parallelism == self.subtask
    }
}
