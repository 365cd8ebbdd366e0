//! One record out for each record in. In Flink: `MapFunction`.

use super::instance::Instance;
use super::record::{Fingerprint, Record, mix};
use super::{Emitter, Operator, RestoreError, Snapshot, StateEntry};
use crate::ids::CheckpointId;

/// Passes records on, under another key if it is told to.
#[derive(Clone, Debug)]
pub struct Map {
    rekey: Option<u32>,
    salt: u64,
}

impl Map {
    /// `rekey`: the size of the new key space, at least 1; `None` keeps the key.
    pub fn new(instance: Instance, rekey: Option<u32>) -> Self {
        debug_assert_ne!(rekey, Some(0));
        Self { rekey, salt: u64::from(instance.operator.0) }
    }
}

impl Operator for Map {
    fn process(&mut self, _input: u32, record: &Record, out: &mut Emitter) {
        let key = match self.rekey {
            None => record.key,
            Some(keys) => below(mix(self.salt, u64::from(record.key)), keys),
        };
        out.emit(Record { key, ..*record });
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId, _out: &mut Snapshot) {}

    fn restore(&mut self, _state: &[u8]) -> Result<(), RestoreError> {
        Ok(())
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::EMPTY
    }

    fn visit(&self, _visitor: &mut dyn FnMut(StateEntry)) {}
}

/// Turns a hash into a number below `end`, by multiplication rather than by a slow remainder.
#[inline]
pub(super) fn below(hash: u64, end: u32) -> u32 {
    ((u128::from(hash) * u128::from(end)) >> 64) as u32
}

#[cfg(test)]
mod tests {
    use super::super::testing::{record, run};
    use super::*;
    use crate::ids::OperatorId;

    #[test]
    fn the_new_key_depends_on_the_old_one_alone() {
        let mut map = Map::new(Instance::single(OperatorId(3)), Some(5));
        let mut seen = [false; 5];
        for key in 0..100 {
            let out = run(&mut map, &[record(0, 1, key), record(1, 2, key)]);
            assert_eq!(out[0].key, out[1].key);
            assert_eq!((out[0].split, out[0].offset), (record(0, 1, key).split, 1));
            seen[out[0].key as usize] = true;
        }
        assert_eq!(seen, [true; 5]);
    }
}
