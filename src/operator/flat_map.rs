//! Several records out for each record in. In Flink: `FlatMapFunction`.

use super::instance::Instance;
use super::map::below;
use super::record::{Fingerprint, Record, mix};
use super::{Emitter, Operator, RestoreError, Snapshot, StateEntry, path};
use crate::ids::CheckpointId;

/// Makes 0 to `fanout` copies, as a hash of the record's identity chooses.
#[derive(Clone, Debug)]
pub struct FlatMap {
    fanout: u32,
    salt: u64,
}

impl FlatMap {
    /// At most `fanout` copies (below 2^32 − 1), on average half of that.
    pub fn new(instance: Instance, fanout: u32) -> Self {
        Self { fanout, salt: u64::from(instance.operator.0) }
    }
}

impl Operator for FlatMap {
    fn process(&mut self, _input: u32, record: &Record, out: &mut Emitter) {
        let copies = below(mix(record.identity(), self.salt), self.fanout.saturating_add(1));
        for copy in 0..copies {
            out.emit(Record { path: path::of_copy(record.path, copy), ..*record });
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
    fn copies_are_different_records() {
        let mut flat_map = FlatMap::new(Instance::single(OperatorId(0)), 3);
        let mut counts = [0; 4];
        for offset in 0..1_000 {
            let mut out: Vec<_> =
                run(&mut flat_map, &[record(0, offset, 7)]).iter().map(Record::identity).collect();
            counts[out.len()] += 1;
            let all = out.len();
            out.sort_unstable();
            out.dedup();
            assert_eq!(out.len(), all);
        }
        assert!(counts.iter().all(|count| (200..300).contains(count)), "{counts:?}");
    }
}
