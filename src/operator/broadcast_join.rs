//! Joins records with rules that every subtask has. In Flink: the broadcast state pattern,
//! `BroadcastProcessFunction`.
//!
//! Input 1 brings the rules, by a broadcast edge: each subtask has all of them, in broadcast state.
//! Input 0 brings the elements. An element is emitted, as it is, once there is a rule with its key;
//! until then it waits, in list state of the even-split mode. So what has been emitted, once both
//! inputs were read up to some place, does not depend on how they were interleaved.
//!
//! Invariant: no element waits for a rule that is here; after a restore, once
//! [`release`](Operator::release) or the next rule has looked.

use std::collections::BTreeMap;

use super::instance::Instance;
use super::list_state::{Lists, held_entry};
use super::record::{Fingerprint, Record, mix};
use super::state::{Format, read_fingerprint, write_fingerprint};
use super::{Effect, Emitter, Operator, RestoreError, Snapshot, StateEntry};
use crate::ids::CheckpointId;
use crate::job::rescale::DistributionMode;

const FORMAT: Format = Format { operator: "a broadcast join", magic: *b"CLbj", version: 1 };
const RULE_BYTES_MIN: usize = 1 + 1 + 8;
const RULE_SALT: u64 = 0x7275_6c65;
const WAITING_SALT: u64 = 0x7761_6974;

/// The input that brings the rules.
pub const RULES: u32 = 1;

/// Emits each element when its rule is here. Its input 1 must be a broadcast edge, its input 0 none.
#[derive(Clone, Debug)]
pub struct BroadcastJoin {
    instance: Instance,
    /// The rules, by key: how many records have made each, and which. The same at all subtasks, at
    /// an aligned cut.
    rules: BTreeMap<u32, Fingerprint>,
    /// Elements without a rule, by key; oldest first.
    waiting: BTreeMap<u32, Vec<Record>>,
    /// All elements that were given to it.
    processed: Fingerprint,
    rule_lists: Lists<(u32, Fingerprint)>,
    waiting_lists: Lists<Record>,
}

/// What a rule is made of. The same at all subtasks: it does not say which copy of the record it was.
fn rule(record: &Record) -> Fingerprint {
    Fingerprint::of(mix(RULE_SALT, Record { path: 0, ..*record }.identity()))
}

impl BroadcastJoin {
    /// An operator without rules.
    pub fn new(instance: Instance) -> Self {
        Self {
            instance,
            rules: BTreeMap::new(),
            waiting: BTreeMap::new(),
            processed: Fingerprint::EMPTY,
            rule_lists: Lists::new(),
            waiting_lists: Lists::new(),
        }
    }

    fn wait(&mut self, element: Record) {
        self.waiting.entry(element.key).or_default().push(element);
    }

    fn emit_waiting(&mut self, key: u32, out: &mut Emitter) {
        let waiting = self.waiting.remove(&key);
        waiting.into_iter().flatten().for_each(|element| out.emit(element));
    }

    fn take_rules(&mut self, rules: Vec<(u32, Fingerprint)>) {
        for (key, part) in rules {
            *self.rules.entry(key).or_default() += part;
        }
    }
}

impl Operator for BroadcastJoin {
    fn process(&mut self, input: u32, record: &Record, out: &mut Emitter) {
        if input == RULES {
            *self.rules.entry(record.key).or_default() += rule(record);
            self.emit_waiting(record.key, out);
            return;
        }
        self.processed += Fingerprint::of(record.identity());
        match self.rules.contains_key(&record.key) {
            true => out.emit(*record),
            false => self.wait(*record),
        }
    }

    fn snapshot(&mut self, _checkpoint: CheckpointId, out: &mut Snapshot) {
        let mut state = FORMAT.write(&self.instance);
        write_fingerprint(self.processed, &mut state);
        state.varint(self.rules.len() as u64);
        for (key, rule) in &self.rules {
            state.varint(u64::from(*key));
            write_fingerprint(*rule, &mut state);
        }
        state.varint(self.waiting.values().map(Vec::len).sum::<usize>() as u64);
        self.waiting.values().flatten().for_each(|element| element.write(&mut state));
        out.state = state.seal();
        out.nominal = out.state.len() as u64;
    }

    fn rescale(&mut self, writers: u32) {
        self.rule_lists.rescale(writers);
        self.waiting_lists.rescale(writers);
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        let (writer, processed, rules, waiting) = FORMAT.read(state, |input, writer| {
            let processed = read_fingerprint(input)?;
            let rules = input.list(RULE_BYTES_MIN, |input| {
                let (key, rule) = (input.varint32()?, read_fingerprint(input)?);
                if rule.count == 0 {
                    return Err(input.invalid("count of a rule"));
                }
                Ok((key, rule))
            })?;
            let waiting = input.list(Record::BYTES_MIN, Record::read)?;
            Ok((writer, processed, rules, waiting))
        })?;
        if self.instance.owns_part(writer) {
            self.processed += processed;
        }
        // The sequential reference takes over from all subtasks: it has had all copies of a rule.
        let rules = self.rule_lists.keep(writer, rules);
        self.take_rules(rules);
        let waiting = self.waiting_lists.keep(writer, waiting);
        waiting.into_iter().for_each(|element| self.wait(element));
        Ok(())
    }

    fn open(&mut self, _restored: Option<CheckpointId>, _effects: &mut Vec<Effect>) {
        let rules = self.rule_lists.deal(DistributionMode::Broadcast, &self.instance);
        self.take_rules(rules);
        let waiting = self.waiting_lists.deal(DistributionMode::SplitDistribute, &self.instance);
        waiting.into_iter().for_each(|element| self.wait(element));
    }

    fn release(&mut self, out: &mut Emitter) {
        let known = self.waiting.keys().filter(|key| self.rules.contains_key(*key));
        for key in known.copied().collect::<Vec<_>>() {
            self.emit_waiting(key, out);
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        // What waits tells states apart; it is no further records.
        let waits = |element: &Record| mix(WAITING_SALT, element.identity());
        let waiting = self.waiting.values().flatten().map(waits).fold(0, u64::wrapping_add);
        let rules = self.rules.values().fold(Fingerprint::EMPTY, |sum, rule| sum + *rule);
        self.processed + rules + Fingerprint { count: 0, sum: waiting }
    }

    fn visit(&self, visitor: &mut dyn FnMut(StateEntry)) {
        visitor(StateEntry::unkeyed("processed", self.processed));
        for (key, Fingerprint { count, sum }) in &self.rules {
            visitor(StateEntry {
                what: "rule",
                key: Some(*key),
                split: None,
                path: 0,
                count: *count,
                digest: *sum,
            });
        }
        for element in self.waiting.values().flatten() {
            visitor(held_entry("waiting", element));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{record, state};
    use super::*;
    use crate::defect::Defects;
    use crate::ids::{Attempt, OperatorId};

    fn join(subtask: u32, parallelism: u32) -> BroadcastJoin {
        let (operator, attempt) = (OperatorId(1), Attempt(0));
        let (max_parallelism, defects) = (128, Defects::none());
        BroadcastJoin::new(Instance {
            operator,
            subtask,
            parallelism,
            max_parallelism,
            attempt,
            defects,
        })
    }

    fn run(join: &mut BroadcastJoin, order: &[(u32, u64, u32)]) -> Vec<(u64, u32)> {
        let mut out = Emitter::default();
        for &(input, offset, key) in order {
            join.process(input, &record(input, offset, key), &mut out);
        }
        let mut emitted: Vec<_> = out.records().iter().map(|it| (it.offset, it.key)).collect();
        emitted.sort_unstable();
        emitted
    }

    #[test]
    fn an_element_waits_for_its_rule() {
        let mut one = join(0, 1);
        assert_eq!(run(&mut one, &[(0, 1, 7), (0, 2, 8), (0, 3, 7)]), []);
        assert_eq!(run(&mut one, &[(RULES, 0, 7)]), [(1, 7), (3, 7)]);
        assert_eq!(run(&mut one, &[(0, 4, 7), (0, 5, 8), (RULES, 1, 7)]), [(4, 7)]);
        let mut entries = Vec::new();
        one.visit(&mut |entry| entries.push((entry.what, entry.key, entry.count)));
        let expected = [
            ("processed", None, 5),
            ("rule", Some(7), 2),
            ("waiting", Some(8), 1),
            ("waiting", Some(8), 1),
        ];
        assert_eq!(entries, expected);
    }

    #[test]
    fn each_new_subtask_gets_all_rules_and_some_of_what_waits() {
        for (before, after) in [(2, 3), (3, 2), (1, 4)] {
            let parts: Vec<_> = (0..before)
                .map(|subtask| {
                    let mut old = join(subtask, before);
                    let offset = u64::from(subtask) * 10;
                    run(
                        &mut old,
                        &[(RULES, 0, 7), (RULES, 1, 8), (0, offset, 1), (0, offset + 1, 2)],
                    );
                    state(&mut old)
                })
                .collect();
            let mut waiting = Vec::new();
            for subtask in 0..after {
                let mut new = join(subtask, after);
                new.rescale(before);
                parts.iter().for_each(|part| new.restore(part).expect("as written"));
                new.open(Some(CheckpointId(1)), &mut Vec::new());
                let rules: Vec<_> = new.rules.iter().map(|(key, it)| (*key, it.count)).collect();
                assert_eq!(rules, [(7, 1), (8, 1)], "{before} to {after}");
                waiting.extend(new.waiting.values().flatten().map(|it| it.offset));
            }
            waiting.sort_unstable();
            let expected: Vec<_> =
                (0..u64::from(before)).flat_map(|it| [it * 10, it * 10 + 1]).collect();
            assert_eq!(waiting, expected, "{before} to {after}");
        }
    }

    proptest! {
        #[test]
        fn the_interleaving_leaves_no_trace(
            elements in prop::collection::vec(0_u32..9, 0..60),
            rules in prop::collection::vec(0_u32..9, 0..20),
            seed: u64,
        ) {
            let side = |input, keys: &[u32]| {
                (0..).zip(keys).map(move |(offset, &key)| (input, offset, key)).collect::<Vec<_>>()
            };
            let mut order = side(0, &elements);
            order.extend(side(RULES, &rules));
            let (mut one, mut other) = (join(0, 1), join(0, 1));
            let emitted = run(&mut one, &order);
            order.sort_by_key(|&(input, offset, _)| mix(mix(seed, offset), u64::from(input)));
            prop_assert_eq!(run(&mut other, &order), emitted);
            prop_assert_eq!(one.fingerprint(), other.fingerprint());

            let mut restored = join(0, 1);
            restored.restore(&state(&mut other)).expect("as written");
            prop_assert_eq!(restored.fingerprint(), other.fingerprint());
        }
    }
}
