//! Several operators in one task: what one emits is handed to the next by call.
//!
//! Concept: a chain is an operator to its task, which knows nothing of what happens in between: no
//! channel, no buffer and no barrier is there. In Flink: `RegularOperatorChain`, `ChainingOutput`.
//! Each operator keeps a state of its own, under its own id, so that a job can be restored with other
//! chains; the task asks for it by the number of the link ([`Chain::operator`]), which is 0 at the head.
//!
//! Invariants:
//! - what an operator emits has been processed by all behind it before anything else happens;
//! - what is done to all goes from head to tail where something may be emitted (`prepare_snapshot`,
//!   `finish`), and from tail to head elsewhere, as in Flink: whoever receives is ready first.

use super::{
    Caller, Effect, Emitter, Fingerprint, Note, Operator, Record, RestoreError, Snapshot,
    SplitReader, StateEntry, TimeMark, TransactionId,
};
use crate::ids::CheckpointId;
use crate::time::VirtualTime;

/// See the module.
#[derive(Debug)]
pub struct Chain {
    links: Vec<Link>,
}

#[derive(Debug)]
struct Link {
    operator: Box<dyn Operator>,
    /// What it has emitted, until it is passed on.
    emitter: Emitter,
}

impl Chain {
    /// These operators, from head to tail.
    ///
    /// # Panics
    /// If there are fewer than two, or another than the head is a source or makes calls, or one is a
    /// chain itself.
    pub fn new(mut operators: Vec<Box<dyn Operator>>) -> Self {
        assert!(operators.len() > 1, "a chain has two ends");
        for operator in &mut operators[1..] {
            // A task asks its head alone whether there is something to read, or an answer to wait for.
            assert!(operator.as_source().is_none(), "only the head of a chain may be a source");
            assert!(operator.as_caller().is_none(), "only the head of a chain may make calls");
        }
        for operator in &mut operators {
            assert!(operator.as_chain().is_none(), "an operator of a chain is no chain itself");
        }
        let link = |operator| Link { operator, emitter: Emitter::default() };
        Self { links: operators.into_iter().map(link).collect() }
    }

    /// How many operators there are: at least two.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// The operator of a link, from 0 at the head.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn operator(&mut self, link: u32) -> &mut dyn Operator {
        &mut *self.links[link as usize].operator
    }

    fn head(&mut self) -> &mut Link {
        &mut self.links[0]
    }

    /// Has the others process what the head, as a reader or caller, has emitted without being given
    /// anything; what the tail emits of it takes its at.
    pub fn take_up(&mut self, emitted: &mut Emitter) {
        std::mem::swap(&mut self.head().emitter, emitted);
        self.pass(0, emitted);
    }

    fn tail_first(&mut self) -> impl Iterator<Item = &mut Link> {
        self.links.iter_mut().rev()
    }

    /// Hands on what the operator of a link has emitted, through to the end of the chain.
    fn pass(&mut self, at: usize, out: &mut Emitter) {
        // A chain does not come back, so nobody needs it meanwhile.
        let mut emitter = std::mem::take(&mut self.links[at].emitter);
        for (_, note) in emitter.notes.drain(..) {
            out.notes.push((at as u32, note));
        }
        out.effects.append(&mut emitter.effects);
        for record in &emitter.records {
            let Some(next) = self.links.get_mut(at + 1) else {
                out.emit(*record);
                continue;
            };
            out.notes.push((at as u32 + 1, Note::Passed(*record)));
            match record.mark() {
                None => next.operator.process(0, record, &mut next.emitter),
                Some(TimeMark::Watermark(time)) => {
                    next.operator.on_watermark(time, &mut next.emitter);
                }
                // No operator does anything about it.
                Some(TimeMark::Idle | TimeMark::Active) => next.emitter.emit(*record),
            }
            self.pass(at + 1, out);
        }
        emitter.clear();
        self.links[at].emitter = emitter;
    }

    /// Does something to each operator in turn, which may emit.
    fn head_first(
        &mut self,
        out: &mut Emitter,
        mut act: impl FnMut(&mut dyn Operator, &mut Emitter),
    ) {
        for at in 0..self.links.len() {
            let Link { operator, emitter } = &mut self.links[at];
            act(&mut **operator, emitter);
            self.pass(at, out);
        }
    }
}

impl Operator for Chain {
    fn process(&mut self, input: u32, record: &Record, out: &mut Emitter) {
        let Link { operator, emitter } = self.head();
        operator.process(input, record, emitter);
        self.pass(0, out);
    }

    fn on_watermark(&mut self, watermark: VirtualTime, out: &mut Emitter) {
        let Link { operator, emitter } = self.head();
        operator.on_watermark(watermark, emitter);
        self.pass(0, out);
    }

    fn prepare_snapshot(&mut self, checkpoint: CheckpointId, out: &mut Emitter) {
        self.head_first(out, |operator, emitter| operator.prepare_snapshot(checkpoint, emitter));
    }

    /// A chain has no state of its own: its operators are asked one by one.
    fn snapshot(&mut self, _: CheckpointId, _: &mut Snapshot) {
        unreachable!("the task asks each operator of the chain")
    }

    fn rescale(&mut self, _: u32) {
        unreachable!("each operator is told before it is chained")
    }

    fn restore(&mut self, _: &[u8]) -> Result<(), RestoreError> {
        unreachable!("the task restores each operator of the chain")
    }

    fn open(&mut self, restored: Option<CheckpointId>, effects: &mut Vec<Effect>) {
        self.tail_first().for_each(|link| link.operator.open(restored, effects));
    }

    fn notify_complete(&mut self, checkpoint: CheckpointId, effects: &mut Vec<Effect>) {
        self.tail_first().for_each(|link| link.operator.notify_complete(checkpoint, effects));
    }

    fn notify_aborted(&mut self, checkpoint: CheckpointId, effects: &mut Vec<Effect>) {
        self.tail_first().for_each(|link| link.operator.notify_aborted(checkpoint, effects));
    }

    /// Whoever has it in its state knows it again.
    fn committed(&mut self, transaction: TransactionId) {
        self.tail_first().for_each(|link| link.operator.committed(transaction));
    }

    fn finish(&mut self, out: &mut Emitter) {
        self.head_first(out, |operator, emitter| operator.finish(emitter));
    }

    fn release(&mut self, _: &mut Emitter) {
        unreachable!("the reference runs each operator by itself")
    }

    /// The one that waits longest.
    fn least_final_checkpoint(&self) -> Option<CheckpointId> {
        self.links.iter().filter_map(|link| link.operator.least_final_checkpoint()).max()
    }

    fn close(&mut self, effects: &mut Vec<Effect>) {
        self.tail_first().for_each(|link| link.operator.close(effects));
    }

    fn fingerprint(&self) -> Fingerprint {
        let all = self.links.iter().map(|link| link.operator.fingerprint());
        all.fold(Fingerprint::EMPTY, |sum, one| sum + one)
    }

    fn visit(&self, visitor: &mut dyn FnMut(StateEntry)) {
        self.links.iter().for_each(|link| link.operator.visit(visitor));
    }

    fn as_source(&mut self) -> Option<&mut dyn SplitReader> {
        self.head().operator.as_source()
    }

    fn as_caller(&mut self) -> Option<&mut dyn Caller> {
        self.head().operator.as_caller()
    }

    fn as_chain(&mut self) -> Option<&mut Chain> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::record;
    use super::super::{Buffer, FlatMap, Instance, Map};
    use super::*;
    use crate::ids::OperatorId;

    /// Says its name whenever it is asked for something.
    #[derive(Debug)]
    struct Probe(u32);

    impl Operator for Probe {
        fn process(&mut self, _: u32, record: &Record, out: &mut Emitter) {
            out.emit(*record);
        }

        fn prepare_snapshot(&mut self, _: CheckpointId, out: &mut Emitter) {
            out.emit(record(0, 0, self.0));
        }

        fn snapshot(&mut self, _: CheckpointId, _: &mut Snapshot) {}

        fn restore(&mut self, _: &[u8]) -> Result<(), RestoreError> {
            Ok(())
        }

        fn notify_complete(&mut self, _: CheckpointId, effects: &mut Vec<Effect>) {
            effects.push(Effect::Call { call: u64::from(self.0) });
        }

        fn fingerprint(&self) -> Fingerprint {
            Fingerprint::EMPTY
        }

        fn visit(&self, _: &mut dyn FnMut(StateEntry)) {}
    }

    fn instance(operator: u32) -> Instance {
        Instance::single(OperatorId(operator))
    }

    #[test]
    fn what_goes_in_at_the_head_comes_out_at_the_tail() {
        let operators: [Box<dyn Operator>; 3] = [
            Box::new(FlatMap::new(instance(0), 4)),
            Box::new(Map::new(instance(1), Some(7))),
            Box::new(FlatMap::new(instance(2), 3)),
        ];
        let mut one_by_one = [
            Box::new(FlatMap::new(instance(0), 4)) as Box<dyn Operator>,
            Box::new(Map::new(instance(1), Some(7))),
            Box::new(FlatMap::new(instance(2), 3)),
        ];
        let records: Vec<Record> = (0..50).map(|offset| record(0, offset, 3)).collect();
        let mut expected = records.clone();
        let mut passed = Vec::new();
        for (at, operator) in one_by_one.iter_mut().enumerate() {
            if at > 0 {
                passed.push(expected.len());
            }
            let mut out = Emitter::default();
            expected.iter().for_each(|record| operator.process(0, record, &mut out));
            expected = out.records().to_vec();
        }
        let (mut chain, mut out) = (Chain::new(operators.into()), Emitter::default());
        records.iter().for_each(|record| chain.process(0, record, &mut out));
        assert_eq!(out.records(), expected);
        let notes: Vec<u32> = out.drain_notes().map(|(link, _)| link).collect();
        let of = |link| notes.iter().filter(|it| **it == link).count();
        assert_eq!([of(1), of(2)], passed[..], "each record that was handed on is told of");
    }

    #[test]
    fn a_watermark_does_not_overtake_what_an_operator_holds_back() {
        let operators: Vec<Box<dyn Operator>> =
            vec![Box::new(Map::new(instance(0), None)), Box::new(Buffer::new(instance(1), 3))];
        let (mut chain, mut out) = (Chain::new(operators), Emitter::default());
        chain.process(0, &record(0, 0, 1), &mut out);
        chain.on_watermark(VirtualTime(5), &mut out);
        assert_eq!(out.records(), [], "both wait");
        chain.finish(&mut out);
        let marks: Vec<bool> = out.records().iter().map(|it| it.mark().is_some()).collect();
        assert_eq!(marks, [false, true]);
    }

    /// Flink: `RegularOperatorChain#prepareSnapshotPreBarrier`, `#notifyCheckpointComplete`.
    #[test]
    fn all_are_asked_from_the_end_that_flink_begins_with() {
        let operators: Vec<Box<dyn Operator>> =
            (0..3).map(|name| Box::new(Probe(name)) as Box<dyn Operator>).collect();
        let (mut chain, mut out) = (Chain::new(operators), Emitter::default());
        chain.prepare_snapshot(CheckpointId(1), &mut out);
        let keys: Vec<u32> = out.records().iter().map(|record| record.key).collect();
        assert_eq!(keys, [0, 1, 2], "head first, so that the others have it in time");
        let mut effects = Vec::new();
        chain.notify_complete(CheckpointId(1), &mut effects);
        let calls: Vec<Effect> = [2, 1, 0].map(|call| Effect::Call { call }).into();
        assert_eq!(effects, calls, "tail first");
    }
}
