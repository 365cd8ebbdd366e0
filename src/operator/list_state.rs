//! Operator list state: what of the lists of all old subtasks a new one gets (R4). In Flink:
//! `OperatorStateStore`, `RoundRobinOperatorStateRepartitioner`.

use super::instance::Instance;
use super::record::{Fingerprint, Record};
use super::state::{Format, read_fingerprint, write_fingerprint};
use super::{RestoreError, Snapshot, StateEntry};
use crate::job::rescale::{DistributionMode, ListHandle, ListState, redistribute};

/// A list state of one name, while it is restored: what each of the old subtasks had written, if
/// there was another number of them.
#[derive(Clone, Debug)]
pub(super) struct Lists<T>(Option<Vec<Vec<T>>>);

impl<T: Clone> Lists<T> {
    /// The parallelism has not changed, as far as is known.
    pub(super) fn new() -> Self {
        Self(None)
    }

    /// So many subtasks have written parts of it.
    pub(super) fn rescale(&mut self, writers: u32) {
        self.0 = Some(vec![Vec::new(); writers as usize]);
    }

    /// Keeps what a writer has written until all of it is dealt out. Gives back what need not wait:
    /// it is the reader's own, or the reader is the sequential reference.
    pub(super) fn keep(&mut self, writer: u32, elements: Vec<T>) -> Vec<T> {
        match self.0.as_mut().and_then(|lists| lists.get_mut(writer as usize)) {
            Some(list) => list.extend(elements),
            None => return elements,
        }
        Vec::new()
    }

    /// Whether the parallelism has changed, and a writer has written nothing, or was none.
    pub(super) fn lacks(&self, writer: u32) -> bool {
        let list = self.0.as_ref().map(|lists| lists.get(writer as usize));
        list.is_some_and(|list| list.is_none_or(Vec::is_empty))
    }

    /// Deals out what was kept; nothing, if the parallelism has not changed.
    pub(super) fn deal(&mut self, mode: DistributionMode, instance: &Instance) -> Vec<T> {
        let Some(lists) = self.0.take() else { return Vec::new() };
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
}

/// Takes the state of an operator that holds records: all that it was given, and those it holds.
pub(super) fn write_held<'r>(
    format: &Format,
    instance: &Instance,
    processed: Fingerprint,
    held: impl Iterator<Item = &'r Record> + Clone,
    out: &mut Snapshot,
) {
    let mut state = format.write(instance);
    write_fingerprint(processed, &mut state);
    state.varint(held.clone().count() as u64);
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
        Ok((writer, processed, input.list(Record::BYTES_MIN, Record::read)?))
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
