//! Operator list state: what of the lists of all old subtasks a new one gets (R4). In Flink:
//! `OperatorStateStore`, `RoundRobinOperatorStateRepartitioner`.

use super::instance::Instance;
use crate::job::rescale::{DistributionMode, ListHandle, ListState, redistribute};

/// The share of one subtask in a list state of one name, of which `lists` are the elements that
/// each of the old subtasks had written.
pub(super) fn deal<T: Clone>(
    lists: &[Vec<T>],
    mode: DistributionMode,
    instance: &Instance,
) -> Vec<T> {
    let handle = |list: &Vec<T>| {
        let offsets = (0..list.len() as u64).collect();
        vec![ListHandle::from([((), ListState { mode, offsets })])]
    };
    let old: Vec<_> = lists.iter().map(handle).collect();
    let mut shares = redistribute(&old, instance.parallelism);
    let share = shares.swap_remove(instance.subtask as usize);
    let elements = share.into_iter().flat_map(|(id, states)| {
        let list = &lists[id.subtask as usize];
        states.into_values().flatten().map(|at| list[at as usize].clone())
    });
    elements.collect()
}
