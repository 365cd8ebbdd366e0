//! One reader, and several that share the splits.

use super::super::record::TimeMark::{self, Active, Idle, Watermark};
use super::*;
use crate::defect::Defects;
use crate::ids::{Attempt, OperatorId};

fn options(records: Option<u64>) -> SourceOptions {
    SourceOptions {
        splits: 3,
        records,
        history: 0,
        startup_mode: StartupMode::EarliestOffset,
        start: VirtualTime(100),
        every: VirtualDuration(10),
        keys: 50,
        key_run: 1,
        weight: 1,
        record_bytes: 100,
        disorder: VirtualDuration::ZERO,
        watermarks: None,
        stagger: VirtualDuration::ZERO,
        enumerated: false,
        list_mode: DistributionMode::SplitDistribute,
    }
}

fn opened(operator: u32, subtask: u32, parallelism: u32, records: Option<u64>) -> Source {
    let instance = Instance {
        operator: OperatorId(operator),
        subtask,
        parallelism,
        max_parallelism: 128,
        attempt: Attempt(0),
        defects: Defects::none(),
    };
    let mut source = Source::new(instance, options(records));
    source.open(None, &mut Vec::new());
    source
}

#[test]
fn records_come_when_they_are_due() {
    let mut source = opened(0, 0, 2, Some(2));
    let mut out = Emitter::default();
    let mut now = VirtualTime(99);
    assert!(!source.emit_due(now, &mut out));
    while let Some(due) = source.next_due() {
        now = now.max(due);
        assert!(source.emit_due(now, &mut out));
    }
    let seen: Vec<_> = out
        .records()
        .iter()
        .map(|it| (it.split.index_in_source(), it.offset, it.event_time.0))
        .collect();
    assert_eq!(seen, [(0, 0, 100), (2, 0, 100), (0, 1, 110), (2, 1, 110)]);
    assert!(source.is_finished());
}

#[test]
fn an_enumerated_reader_asks_for_each_split() {
    let mut source = opened(0, 0, 1, None);
    source.options.enumerated = true;
    source = Source::new(source.instance, SourceOptions { records: Some(1), ..source.options });
    source.open(None, &mut Vec::new());
    let mut out = Emitter::default();
    for index in [2, 0] {
        assert_eq!((source.take_request(), source.take_request()), (true, false));
        assert!(!source.is_finished());
        source.on_event(SplitEvent::Add(index));
        assert!(!source.take_request());
        assert!(source.emit_due(VirtualTime::MAX, &mut out));
        assert_eq!(out.records().last().map(|it| it.split), Some(SplitId::new(0, index)));
    }
    assert!(source.take_request());
    source.on_event(SplitEvent::NoMore);
    assert!(source.is_finished() && !source.take_request());
}

#[test]
fn watermarks_follow_the_slowest_split() {
    let mut source = opened(0, 0, 1, Some(4));
    source.options.splits = 3;
    source.options.watermarks = Some(WatermarkOptions {
        bound: VirtualDuration(4),
        interval: VirtualDuration(10),
        idle_timeout: None,
    });
    let mut out = Emitter::default();
    assert_eq!(source.watermark(), None);
    source.emit_from(SplitId::new(0, 0), &mut out);
    source.emit_from(SplitId::new(0, 1), &mut out);
    assert_eq!(source.watermark(), None, "nothing is known of split 2");
    source.emit_from(SplitId::new(0, 2), &mut out);
    assert_eq!(source.watermark(), Some(VirtualTime(95)));
    (0..3).for_each(|_| assert!(source.emit_from(SplitId::new(0, 2), &mut out)));
    assert_eq!(source.watermark(), Some(VirtualTime(95)));
    out.clear();
    let mut now = VirtualTime(100);
    while let Some(due) = source.next_due() {
        now = now.max(due);
        source.emit_due(now, &mut out);
    }
    let told: Vec<_> = out
        .records()
        .iter()
        .map(|it| it.mark().map_or_else(|| it.event_time.to_string(), |it| format!("{it:?}")))
        .collect();
    let watermark = |time| format!("{:?}", TimeMark::Watermark(VirtualTime(time)));
    let time = |time| VirtualTime(time).to_string();
    let expected = [
        time(110),
        time(110),
        watermark(105),
        time(120),
        time(120),
        watermark(115),
        time(130),
        time(130),
    ];
    assert_eq!(told, expected);
    assert_eq!(source.watermark(), Some(VirtualTime::MAX));
}

#[test]
fn a_quiet_reader_is_idle_until_it_reads_again() {
    let mut source = opened(0, 0, 3, Some(2));
    source.options.every = VirtualDuration(50);
    source.options.watermarks = Some(WatermarkOptions {
        bound: VirtualDuration::ZERO,
        interval: VirtualDuration::ZERO,
        idle_timeout: Some(VirtualDuration(20)),
    });
    let mut out = Emitter::default();
    let mut dues = Vec::new();
    while let Some(due) = source.next_due() {
        dues.push(due.0);
        source.emit_due(due, &mut out);
    }
    assert_eq!(dues, [0, 20, 100, 100, 120, 150]);
    let marks: Vec<_> = out.records().iter().map(Record::mark).collect();
    let watermark = Some(Watermark(VirtualTime(99)));
    let (idle, active) = (Some(Idle), Some(Active));
    assert_eq!(marks, [idle, active, None, watermark, idle, active, None]);
}

/// What was read is told before the reader falls silent, and one that has nothing to read from
/// its start on is not waited for, either.
#[test]
fn idleness_neither_swallows_a_watermark_nor_waits_for_a_record() {
    let marks_until = |source: &mut Source, until: u64| -> Vec<(u64, TimeMark)> {
        let mut marks = Vec::new();
        let mut now = VirtualTime(10);
        while let Some(due) = source.next_due().filter(|due| due.0 < until) {
            let mut out = Emitter::default();
            now = now.max(due);
            source.emit_due(now, &mut out);
            marks.extend(out.records().iter().filter_map(Record::mark).map(|it| (now.0, it)));
        }
        marks
    };
    let options = WatermarkOptions {
        bound: VirtualDuration::ZERO,
        interval: VirtualDuration(50),
        idle_timeout: Some(VirtualDuration(20)),
    };
    let mut source = opened(0, 0, 3, Some(3));
    source.options.every = VirtualDuration(200);
    source.options.watermarks = Some(options);
    let (first, second) = (Watermark(VirtualTime(99)), Watermark(VirtualTime(299)));
    let expected =
        [(30, Idle), (100, Active), (150, first), (150, Idle), (300, Active), (350, second)];
    assert_eq!(marks_until(&mut source, 351), [&expected[..], &[(350, Idle)]].concat());

    let mut waits = opened(0, 0, 3, Some(3));
    waits.options.enumerated = true;
    waits.options.watermarks = Some(options);
    waits.splits.clear();
    (waits.next, waits.no_more) = (None, false);
    assert_eq!(marks_until(&mut waits, 1_000), [(30, Idle)]);
    waits.on_event(SplitEvent::NoMore);
    assert_eq!(waits.next_due(), None);
}

#[test]
fn disorder_is_bounded_and_the_same_again() {
    let read = |disorder| {
        let mut source = opened(0, 0, 1, Some(50));
        source.options.disorder = VirtualDuration(disorder);
        let mut out = Emitter::default();
        while source.emit_from(SplitId::new(0, 1), &mut out) {}
        out.records().iter().map(|it| it.event_time.0).collect::<Vec<_>>()
    };
    assert!(read(0).is_sorted());
    let disordered = read(35);
    assert!(!disordered.is_sorted());
    assert_eq!(disordered, read(35));
    let early = |(at, time): (usize, &u64)| 100 + 10 * at as u64 - time;
    assert!(disordered.iter().enumerate().map(early).all(|early| early <= 35));
}

#[test]
fn equal_splits_of_two_sources_have_equal_keys() {
    let (mut one, mut other) = (opened(0, 0, 1, None), opened(7, 0, 1, None));
    let (mut out, mut other_out) = (Emitter::default(), Emitter::default());
    for _ in 0..300 {
        assert!(one.emit_due(VirtualTime::MAX, &mut out));
        assert!(other.emit_due(VirtualTime::MAX, &mut other_out));
    }
    let keys = |out: &Emitter| out.records().iter().map(|it| it.key).collect::<Vec<_>>();
    assert_eq!(keys(&out), keys(&other_out));
    assert!(keys(&out).iter().all(|&key| key < 50));
    assert_ne!(out.records()[0].identity(), other_out.records()[0].identity());
}

#[test]
fn no_part_of_a_restored_state_is_no_first_start() {
    let mut source = opened(0, 5, 6, None);
    source.open(Some(CheckpointId(4)), &mut Vec::new());
    assert!(source.is_finished(), "subtask 5 of 6 has none of 3 splits");

    let mut empty = Source::new(Instance::single(OperatorId(0)), options(None));
    empty.open(Some(CheckpointId(4)), &mut Vec::new());
    assert_eq!(empty.position(SplitId::new(0, 0)), None);
}

#[test]
fn a_union_is_read_by_all_and_what_it_does_not_name_is_new() {
    let union = |subtask| {
        let mut source = opened(0, 0, 1, Some(9));
        source.options.list_mode = DistributionMode::Union;
        source.instance = Instance { subtask, parallelism: 2, ..source.instance };
        source
    };
    let written = |source: &mut Source| {
        let mut snapshot = Snapshot::default();
        source.snapshot(CheckpointId(1), &mut snapshot);
        snapshot.state
    };
    let mut out = Emitter::default();
    let mut old = union(1);
    old.splits.truncate(2);
    (0..2).for_each(|index| assert!(old.emit_from(SplitId::new(0, index), &mut out)));
    let state = written(&mut old);
    for (subtask, expected) in [(0, [Some(1), None, Some(0)]), (1, [None, Some(1), None])] {
        let mut new = Source::new(union(subtask).instance, union(subtask).options);
        new.restore(&state).expect("as written");
        new.open(Some(CheckpointId(1)), &mut Vec::new());
        let positions = [0, 1, 2].map(|index| new.position(SplitId::new(0, index)));
        assert_eq!(positions, expected);
    }
    let mut finished = Source::new(union(0).instance, union(0).options);
    finished.open(Some(CheckpointId(1)), &mut Vec::new());
    assert!(finished.is_finished(), "nothing was restored");
}

#[test]
fn an_ended_split_stays_ended() {
    let mut source = opened(0, 0, 1, Some(1));
    let mut out = Emitter::default();
    assert!(source.emit_from(SplitId::new(0, 1), &mut out));
    assert!(!source.emit_from(SplitId::new(0, 1), &mut out));
    let mut snapshot = Snapshot::default();
    source.snapshot(CheckpointId(1), &mut snapshot);

    let mut longer = Source::new(Instance::single(OperatorId(0)), options(Some(9)));
    longer.restore(&snapshot.state).expect("as written");
    longer.open(Some(CheckpointId(1)), &mut Vec::new());
    assert_eq!(longer.position(SplitId::new(0, 1)), Some(1));
    assert!(!longer.emit_from(SplitId::new(0, 1), &mut out));
    assert!(longer.emit_from(SplitId::new(0, 0), &mut out));
}

fn started(startup_mode: StartupMode, history: u64, stagger: u64) -> Source {
    let stagger = VirtualDuration(stagger);
    let options = SourceOptions { history, startup_mode, stagger, ..options(Some(6)) };
    let mut source = Source::new(opened(0, 0, 1, None).instance, options);
    source.open(None, &mut Vec::new());
    source
}

fn all_due(source: &mut Source) -> Vec<(u32, u64, u64)> {
    let (mut out, mut seen) = (Emitter::default(), Vec::new());
    while let Some(due) = source.next_due() {
        out.clear();
        assert!(source.emit_due(due, &mut out));
        let record = out.records()[0];
        seen.push((record.split.index_in_source(), record.offset, due.0));
    }
    seen
}

#[test]
fn a_history_is_there_at_the_start() {
    let mut source = started(StartupMode::EarliestOffset, 4, 0);
    let seen = all_due(&mut source);
    let first: Vec<_> = seen.iter().filter(|it| it.0 == 0).map(|it| (it.1, it.2)).collect();
    assert_eq!(first, [(0, 100), (1, 100), (2, 100), (3, 100), (4, 110), (5, 120)]);
    assert_eq!(seen.len(), 3 * 6);
}

#[test]
fn the_latest_offset_is_behind_the_history_of_what_is_there() {
    let mut source = started(StartupMode::LatestOffset, 4, 0);
    assert_eq!(all_due(&mut source)[..2], [(0, 4, 110), (1, 4, 110)]);
    // What is discovered later is read from its first record on.
    let mut source = started(StartupMode::LatestOffset, 4, 1_000);
    let seen = all_due(&mut source);
    assert_eq!(seen[..3], [(0, 4, 110), (0, 5, 120), (1, 0, 1_100)]);
    // There is no more than there is.
    let source = started(StartupMode::LatestOffset, 100, 0);
    assert!(source.is_finished());
}

#[test]
fn where_a_split_was_begun_is_stored() {
    let mut source = started(StartupMode::LatestOffset, 4, 0);
    let mut snapshot = Snapshot::default();
    source.snapshot(CheckpointId(1), &mut snapshot);
    let options = SourceOptions { history: 6, ..source.options };
    let mut restored = Source::new(source.instance, options);
    restored.restore(&snapshot.state).expect("it is a source's");
    restored.open(Some(CheckpointId(1)), &mut Vec::new());
    assert_eq!(restored.position(SplitId::new(0, 0)), Some(4));
}

#[test]
fn a_run_of_records_has_one_key() {
    let mut source = opened(0, 0, 1, Some(40));
    source.options.key_run = 8;
    let mut out = Emitter::default();
    (0..40).for_each(|_| assert!(source.emit_from(SplitId::new(0, 1), &mut out)));
    let keys: Vec<u32> = out.records().iter().map(|it| it.key).collect();
    let (runs, rest) = keys.as_chunks::<8>();
    assert!(rest.is_empty() && runs.iter().all(|run| run.iter().all(|key| *key == run[0])));
    let mut found: Vec<u32> = runs.iter().map(|run| run[0]).collect();
    found.sort_unstable();
    found.dedup();
    assert!(found.len() > 1, "{keys:?}");
}
