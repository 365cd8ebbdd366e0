//! Lets a share of the records pass. In Flink: `FilterFunction`.

use super::instance::Instance;
use super::map::below;
use super::record::{Fingerprint, Record, mix};
use super::{Emitter, Operator, RestoreError, Snapshot, StateEntry};
use crate::ids::CheckpointId;

/// Passes the records that a hash of their identity chooses: a record that is sent again after a
/// restore has the same fate.
#[derive(Clone, Debug)]
pub struct Filter {
    keep_permille: u32,
    salt: u64,
}

impl Filter {
    /// `keep_permille` of 1,000 records pass. Two filters of a job choose independently.
    pub fn new(instance: Instance, keep_permille: u32) -> Self {
        Self { keep_permille, salt: u64::from(instance.operator.0) }
    }
}

impl Operator for Filter {
    fn process(&mut self, _input: u32, record: &Record, out: &mut Emitter) {
        if below(mix(record.identity(), self.salt), 1_000) < self.keep_permille {
            out.emit(*record);
        }
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

#[cfg(test)]
mod tests {
    use super::super::testing::{record, run};
    use super::*;
    use crate::ids::OperatorId;

    #[test]
    fn the_share_is_kept() {
        let records: Vec<_> = (0..10_000).map(|offset| record(0, offset, 7)).collect();
        for (keep, expected) in [(0, 0..=0), (250, 2_300..=2_700), (1_000, 10_000..=10_000)] {
            let mut filter = Filter::new(Instance::single(OperatorId(0)), keep);
            let passed = run(&mut filter, &records).len();
            assert!(expected.contains(&passed), "{keep} permille: {passed}");
        }
    }
}
