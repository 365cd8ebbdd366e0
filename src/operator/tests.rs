//! What holds for every built-in operator: its state survives a restore, a rescale adds up, and
//! damaged bytes are an error.

use proptest::prelude::*;

use super::testing::{record, run, state};
use super::*;
use crate::codec::damage::damage;
use crate::defect::Defects;
use crate::ids::{Attempt, OperatorId};
use crate::job::rescale::DistributionMode;
use crate::time::{VirtualDuration, VirtualTime};

const MAX_PARALLELISM: u32 = 23;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Source,
    Ordered,
    OrderFree,
    Join,
    Window,
    TwoPhase,
    Idempotent,
    Append,
    Buffer,
    BroadcastJoin,
    Async,
    UnionSource,
}

const KINDS: [Kind; 12] = [
    Kind::Source,
    Kind::Ordered,
    Kind::OrderFree,
    Kind::Join,
    Kind::Window,
    Kind::TwoPhase,
    Kind::Idempotent,
    Kind::Append,
    Kind::Buffer,
    Kind::BroadcastJoin,
    Kind::Async,
    Kind::UnionSource,
];

fn instance(subtask: u32, parallelism: u32) -> Instance {
    let (operator, attempt) = (OperatorId(0), Attempt(0));
    Instance {
        operator,
        subtask,
        parallelism,
        max_parallelism: MAX_PARALLELISM,
        attempt,
        defects: Defects::none(),
    }
}

fn build(kind: Kind, instance: Instance) -> Box<dyn Operator> {
    match kind {
        Kind::Source | Kind::UnionSource => {
            let list_mode = match kind {
                Kind::UnionSource => DistributionMode::Union,
                _ => DistributionMode::SplitDistribute,
            };
            let options = SourceOptions {
                splits: 9,
                records: Some(20),
                history: 0,
                startup_mode: StartupMode::EarliestOffset,
                start: VirtualTime::ZERO,
                every: VirtualDuration(10),
                keys: 8,
                key_run: 1,
                weight: 1,
                record_bytes: 10,
                disorder: VirtualDuration::ZERO,
                watermarks: None,
                stagger: VirtualDuration::ZERO,
                enumerated: false,
                list_mode,
            };
            Box::new(Source::new(instance, options))
        }
        Kind::Ordered => Box::new(Aggregate::new(instance, true, 0)),
        Kind::OrderFree => Box::new(Aggregate::new(instance, false, 0)),
        Kind::Join => Box::new(Join::new(instance, 0)),
        Kind::Window => {
            let (size, slide) = (VirtualDuration(10), VirtualDuration(4));
            let options = WindowOptions { size, slide, state_per_key: 0, exact: true };
            Box::new(Window::new(instance, options))
        }
        Kind::TwoPhase => Box::new(TwoPhaseCommitSink::new(instance)),
        Kind::Idempotent => Box::new(IdempotentSink::new(instance)),
        Kind::Append => Box::new(AppendSink::new(instance)),
        Kind::Buffer => Box::new(Buffer::new(instance, 7)),
        Kind::BroadcastJoin => Box::new(BroadcastJoin::new(instance)),
        Kind::Async => {
            let options = CallOptions { capacity: 100, ordered: true };
            Box::new(AsyncWait::new(instance, Some(options)))
        }
    }
}

/// All subtasks, each having processed its share of the records.
fn job(kind: Kind, parallelism: u32, records: &[Record]) -> Vec<Box<dyn Operator>> {
    let subtask = |subtask| {
        let instance = instance(subtask, parallelism);
        let mut operator = build(kind, instance);
        operator.open(None, &mut Vec::new());
        if let Some(source) = operator.as_source() {
            let mut out = Emitter::default();
            for record in records {
                source.emit_from(record.split, &mut out);
            }
            return operator;
        }
        let mut out = Emitter::default();
        for record in records {
            let input = record.offset as u32 % 2;
            let is_rule = matches!(kind, Kind::BroadcastJoin) && input == RULES;
            if is_rule || instance.owns_key(record.key) {
                operator.process(input, record, &mut out);
            }
        }
        operator
    };
    (0..parallelism).map(subtask).collect()
}

fn total(operators: &[Box<dyn Operator>]) -> Fingerprint {
    operators.iter().map(|it| it.fingerprint()).fold(Fingerprint::EMPTY, |sum, one| sum + one)
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let one = (0_u32..9, 0_u64..40, 0_u32..30, 0_u64..2);
    let one = one.prop_map(|(split, offset, key, path)| {
        // Both sides of the join get a record of each offset half: some pairs, some waiting.
        Record { path, offset, ..record(split, offset, key) }
    });
    prop::collection::vec(one, 0..120)
}

proptest! {
    #[test]
    fn the_parts_add_up_at_every_parallelism(
        kind in prop::sample::select(&KINDS),
        records in records(),
        before in 1..=MAX_PARALLELISM,
        after in 1..=MAX_PARALLELISM,
    ) {
        // What is broadcast is at every subtask.
        let adds_up = !matches!(kind, Kind::BroadcastJoin);
        let single = total(&job(kind, if adds_up { 1 } else { after }, &records));
        let mut old = job(kind, before, &records);
        prop_assert!(!adds_up || total(&old) == single);

        let parts: Vec<_> = old.iter_mut().map(|it| state(it.as_mut())).collect();
        let new: Vec<_> = (0..after)
            .map(|subtask| {
                let mut operator = build(kind, instance(subtask, after));
                operator.rescale(before);
                for part in &parts {
                    operator.restore(part).expect("as written");
                }
                operator.open(Some(CheckpointId(1)), &mut Vec::new());
                operator
            })
            .collect();
        prop_assert_eq!(total(&new), single);
    }

    #[test]
    fn a_restored_state_is_written_as_it_was(
        kind in prop::sample::select(&KINDS),
        records in records(),
    ) {
        let mut old = job(kind, 1, &records);
        let written = state(old[0].as_mut());
        let mut new = build(kind, instance(0, 1));
        new.restore(&written).expect("as written");
        prop_assert_eq!(new.fingerprint(), old[0].fingerprint());
        prop_assert_eq!(state(new.as_mut()), written);
    }

    #[test]
    fn damaged_bytes_are_an_error(
        kind in prop::sample::select(&KINDS),
        records in records(),
        damage in damage(),
    ) {
        let mut old = job(kind, 1, &records);
        let (bytes, noticed) = damage.apply(&state(old[0].as_mut()));
        let result = build(kind, instance(0, 1)).restore(&bytes);
        prop_assert!(result.is_err() || !noticed);
    }
}

#[test]
fn a_state_of_another_operator_is_refused() {
    for (kind, other) in KINDS.iter().zip(KINDS.iter().skip(3)) {
        let error =
            build(*other, instance(0, 1)).restore(&state(build(*kind, instance(0, 1)).as_mut()));
        let message = error.expect_err("another operator").to_string();
        assert!(message.contains("bad magic"), "{message}");
    }
}

#[test]
fn stateless_operators_have_none() {
    let single = instance(0, 1);
    let operators: [Box<dyn Operator>; 3] = [
        Box::new(Map::new(single, Some(3))),
        Box::new(Filter::new(single, 500)),
        Box::new(FlatMap::new(single, 3)),
    ];
    for mut operator in operators {
        run(operator.as_mut(), &[record(0, 1, 2)]);
        assert_eq!(state(operator.as_mut()), Vec::<u8>::new());
        assert_eq!(operator.fingerprint(), Fingerprint::EMPTY);
    }
}

#[test]
fn sinks_that_write_at_once_say_so_for_each_record() {
    let one = record(0, 3, 7);
    let rows = [(Kind::Idempotent, Effect::Upsert(one)), (Kind::Append, Effect::Append(one))];
    for (kind, effect) in rows {
        let mut out = Emitter::default();
        let mut sink = build(kind, instance(0, 1));
        sink.process(0, &one, &mut out);
        sink.process(0, &one, &mut out);
        assert_eq!(out.effects(), [effect.clone(), effect]);
        assert_eq!(out.records(), []);
        assert_eq!(sink.fingerprint().count, 2);
    }
}
