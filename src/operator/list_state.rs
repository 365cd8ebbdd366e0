//! Operator list state: what of the lists of all old subtasks a new one gets (R4). In Flink:
//! `OperatorStateStore`, `RoundRobinOperatorStateRepartitioner`.

use super::instance::Instance;
use super::record::{Fingerprint, Record};
use super::state::{Format, read_fingerprint, write_fingerprint};
use super::{RestoreError, Snapshot, StateEntry};
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

/// Takes the state of an operator that holds records: all that it was given, and those it holds.
pub(super) fn write_held<'r>(
    format: &Format,
    instance: &Instance,
    processed: Fingerprint,
    held: impl ExactSizeIterator<Item = &'r Record>,
    out: &mut Snapshot,
) {
    let mut state = format.write(instance);
    write_fingerprint(processed, &mut state);
    state.varint(held.len() as u64);
    held.for_each(|record| record.write(&mut state));
    out.state = state.seal();
    out.nominal = out.state.len() as u64;
}

/// Who wrote such a state, and what it says.
///
/// # Errors
/// It is damaged, or another operator's.
pub(super) fn read_held(
    format: &Format,
    state: &[u8],
) -> Result<(u32, Fingerprint, Vec<Record>), RestoreError> {
    format.read(state, |input, writer| {
        let processed = read_fingerprint(input)?;
        let count = input.count(Record::BYTES_MIN)?;
        let held: Result<Vec<_>, _> = (0..count).map(|_| Record::read(input)).collect();
        Ok((writer, processed, held?))
    })
}

/// A held record, for reports of how two states differ.
pub(super) fn held_entry(what: &'static str, record: &Record) -> StateEntry {
    StateEntry {
        what,
        key: Some(record.key),
        split: Some(record.split),
        path: record.path,
        count: 1,
        digest: record.offset,
    }
}
