use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::defect::Defects;
use crate::ids::{Attempt, OperatorId};

fn config(incremental: bool) -> ChangelogConfig {
    let writer = Writer {
        operator: OperatorId(2),
        subtask: 1,
        attempt: Attempt(3),
        defects: Defects::none(),
    };
    let options = ChangelogOptions { max_failures_allowed: 1, ..ChangelogOptions::default() };
    ChangelogConfig { writer, options, incremental, bytes_per_update: 100, keeps_contents: false }
}

/// What the store has, by path.
type Store = BTreeMap<String, Vec<u8>>;

/// What the metadata of a checkpoint says, and the state that it stands for.
#[derive(Clone, Debug)]
struct Taken {
    manifest: Vec<u8>,
    files: Vec<LogFile>,
    state: Vec<u8>,
}

fn read<'a>(taken: &'a Taken, store: &'a Store) -> Vec<ReadFile<'a>> {
    let file = |LogFile { key, path, nominal, .. }: &'a LogFile| ReadFile {
        key,
        path,
        nominal: *nominal,
        bytes: &store[path],
    };
    taken.files.iter().map(file).collect()
}

/// The coordinator's part: it knows what acknowledgements have named, and which checkpoint was the last
/// to name it.
#[derive(Default)]
struct Registry(BTreeMap<String, CheckpointId>);

impl Registry {
    fn register(&mut self, id: CheckpointId, taken: &Taken) {
        for file in &taken.files {
            let last = self.0.entry(file.path.clone()).or_insert(id);
            *last = id.max(*last);
        }
    }

    /// Deletes what no checkpoint from this one on has named. Flink:
    /// `SharedStateRegistry#unregisterUnusedState`.
    fn subsume(&mut self, lowest: CheckpointId, store: &mut Store) {
        self.0.retain(|path, last| {
            let keeps = *last >= lowest;
            assert!(keeps || store.remove(path).is_some(), "{path} is deleted twice");
            keeps
        });
    }
}

fn delete(store: &mut Store, files: Vec<LogFile>) {
    for file in files {
        assert!(store.remove(&file.path).is_some(), "{} is deleted twice", file.path);
    }
}

fn upload(log: &mut Changelog, set: SequenceNumber, store: &mut Store) {
    let Some((_, LogUpload { file, bytes })) = log.attempt(set) else { return };
    store.insert(file.path.clone(), bytes);
    if !log.on_stored(set, file.clone()) {
        delete(store, vec![file]);
    }
}

fn materialize(log: &mut Changelog, state: &[u8], store: &mut Store) -> Option<Progress> {
    let (id, uploads) = log.materialize(state, 1_000)?;
    let mut progress = Progress::Stale;
    for LogUpload { file, bytes } in uploads {
        store.insert(file.path.clone(), bytes);
        let gone;
        (progress, gone) = log.on_materialized(id, &file.key);
        delete(store, gone);
    }
    Some(progress)
}

fn checkpoint(log: &mut Changelog, id: u64, state: &[u8], store: &mut Store) -> Taken {
    let snapshot =
        log.snapshot(CheckpointId(id), SnapshotKind::Checkpoint, state, state.len() as u64);
    for set in snapshot.to_upload {
        upload(log, set, store);
    }
    let awaited = snapshot.awaited.iter().map(|set| log.file(*set).cloned().expect("uploaded"));
    let files = snapshot.stored.iter().cloned().chain(awaited).collect();
    Taken { manifest: snapshot.manifest, files, state: state.to_vec() }
}

#[test]
fn a_checkpoint_uploads_what_was_logged_since_the_last() {
    let (mut log, mut store) = (Changelog::new(config(false)), Store::new());
    let mut state = vec![0; 10 * PIECE];
    let first = checkpoint(&mut log, 1, &state, &mut store);
    assert_eq!(first.files.len(), 1);
    state[3 * PIECE] = 1;
    log.append(7);
    let second = checkpoint(&mut log, 2, &state, &mut store);
    assert_eq!((second.files.len(), second.files[1].nominal), (2, 700));
    assert_eq!(second.files[1].path, "shared/o2-s1-a3-n2.changes");
    assert_eq!(store.len(), 2);
    assert_eq!(checkpoint(&mut log, 3, &state, &mut store).files, second.files);
    assert_eq!(assemble(&second.manifest, &read(&second, &store)), Ok(state));
}

#[test]
fn a_materialised_state_takes_the_place_of_the_log() {
    let (mut log, mut store) = (Changelog::new(config(false)), Store::new());
    let mut state = vec![0; 10 * PIECE];
    checkpoint(&mut log, 1, &state, &mut store);
    assert_eq!(log.on_acknowledged(CheckpointId(1)), []);
    state[0] = 1;
    let early = log.persist(&state, 1_000);
    early.into_iter().for_each(|set| upload(&mut log, set, &mut store));
    assert_eq!(materialize(&mut log, &state, &mut store), Some(Progress::Complete));
    let left: Vec<_> = store.keys().map(String::as_str).collect();
    // What the acknowledgement has named is not ours to delete; what was persisted early is.
    assert_eq!(left, ["shared/o2-s1-a3-n1.changes", "shared/o2-s1-a3-n3.state"]);
    assert_eq!(checkpoint(&mut log, 2, &state, &mut store).files.len(), 1);
    // The last one is to be confirmed before there is another.
    state[0] = 2;
    assert_eq!(materialize(&mut log, &state, &mut store), None);
    log.on_acknowledged(CheckpointId(2));
    log.on_complete(CheckpointId(2));
    assert_eq!(materialize(&mut log, &state, &mut store), Some(Progress::Complete));
    assert_eq!(materialize(&mut log, &state, &mut store), None, "nothing has changed");
}

#[test]
fn a_materialisation_that_fails_is_tried_again() {
    let mut log = Changelog::new(config(false));
    for is_last in [false, true] {
        let (id, _) = log.materialize(&[1; PIECE], 1).expect("there is something new");
        let failed = log.on_materialization_failed(id).expect("it was under way");
        assert_eq!(failed, FailedMaterialization { discard: Vec::new(), is_last });
        assert_eq!(log.on_materialization_failed(id), None);
    }
}

#[test]
fn a_set_that_was_not_uploaded_goes_with_the_next_checkpoint() {
    let (mut log, mut store) = (Changelog::new(config(false)), Store::new());
    let snapshot = log.snapshot(CheckpointId(1), SnapshotKind::Checkpoint, &[1], 1);
    let set = snapshot.to_upload[0];
    for attempt in 1..=3 {
        let (number, _) = log.attempt(set).expect("it is under way");
        let next = match attempt {
            3 => NextAttempt::GiveUp,
            _ => NextAttempt::After(VirtualDuration::ZERO),
        };
        assert_eq!((number, log.on_attempt_slow(set, number)), (attempt, next));
    }
    assert_eq!(log.on_given_up(CheckpointId(1)), []);
    let second = checkpoint(&mut log, 2, &[2], &mut store);
    assert_eq!(second.files.len(), 2);
    assert_eq!(assemble(&second.manifest, &read(&second, &store)), Ok(vec![2]));
}

#[test]
fn a_threshold_is_said_once() {
    let mut log = Changelog::new(config(false));
    log.append((5 << 20) / 100 - 1);
    assert!(!log.asks_to_persist());
    log.append(2);
    assert!(log.asks_to_persist());
    assert!(!log.asks_to_persist());
    let set = log.persist(&[1], 1)[0];
    log.append((5 << 20) / 100 + 1);
    assert!(!log.asks_to_persist(), "what comes before the upload begins waits for it");
    assert!(log.attempt(set).is_some());
    assert!(log.asks_to_persist());
    let mut config = config(false);
    config.options.preemptive_persist_threshold = 0;
    let mut log = Changelog::new(config);
    assert!(!log.asks_to_persist(), "there is nothing to persist");
    log.append(1);
    assert!(log.asks_to_persist());
}

/// The whole state may take as long as it takes; changes of it may not.
#[test]
fn the_first_set_has_no_timeout() {
    let (mut log, mut store) = (Changelog::new(config(false)), Store::new());
    let first = log.persist(&[1; PIECE], 1_000_000)[0];
    assert!(!log.has_timeout(first));
    upload(&mut log, first, &mut store);
    let second = log.persist(&[2; PIECE], 1_000_000)[0];
    assert!(log.has_timeout(second));
}

/// A state may come to be again what was materialised, or be a part of it.
#[test]
fn a_materialisation_without_a_new_file_is_complete() {
    let (mut log, mut store) = (Changelog::new(config(true)), Store::new());
    let states = [vec![1; 2 * PIECE], [vec![1; PIECE], vec![2; PIECE]].concat()];
    let [whole, other] = &states;
    assert_eq!(materialize(&mut log, whole, &mut store), Some(Progress::Complete));
    checkpoint(&mut log, 1, whole, &mut store);
    log.on_acknowledged(CheckpointId(1));
    log.on_complete(CheckpointId(1));
    for state in [other, whole] {
        let early = log.persist(state, 1_000);
        early.into_iter().for_each(|set| upload(&mut log, set, &mut store));
    }
    log.append(1);
    let shorter = &whole[..PIECE];
    let (id, uploads) = log.materialize(shorter, 1_000).expect("the state has changed");
    assert_eq!(uploads, []);
    assert!(log.complete(id).is_some());
    let second = checkpoint(&mut log, 2, shorter, &mut store);
    assert_eq!(assemble(&second.manifest, &read(&second, &store)), Ok(shorter.to_vec()));
}

/// News of attempts of a series that was given up are none of the next.
#[test]
fn a_late_answer_does_not_end_the_next_series() {
    let mut config = config(false);
    config.options.upload_attempts = 1;
    let mut log = Changelog::new(config);
    let mut attempts = Vec::new();
    for id in 1..=2 {
        let snapshot = log.snapshot(CheckpointId(id), SnapshotKind::Checkpoint, &[1], 1);
        let set = snapshot.to_upload[0];
        let (attempt, _) = log.attempt(set).expect("it is under way");
        if id == 1 {
            assert_eq!(log.on_attempt_slow(set, attempt), NextAttempt::GiveUp);
            log.on_given_up(CheckpointId(1));
        }
        attempts.push((set, attempt));
    }
    let [(set, first), (_, second)] = attempts[..] else { unreachable!("two were made") };
    assert_eq!(log.on_attempt_failed(set, first), NextAttempt::None);
    assert_eq!(log.on_attempt_failed(set, second), NextAttempt::GiveUp);
}

#[test]
fn what_was_named_once_is_known() {
    let (mut log, mut store) = (Changelog::new(config(false)), Store::new());
    let taken = checkpoint(&mut log, 1, &[1], &mut store);
    let key = &taken.files[0].key;
    assert!(!log.is_named(key));
    log.on_acknowledged(CheckpointId(1));
    assert!(log.is_named(key));
    let mut config = config(false);
    config.writer.attempt = Attempt(4);
    let (log, _) = Changelog::restored(config, &taken.manifest, &read(&taken, &store))
        .expect("its files are there");
    assert!(log.is_named(key));
}

proptest! {
    /// Whatever happens in between: a checkpoint that is not subsumed gives its state back, and in
    /// the end nothing is left that neither a checkpoint nor the log needs.
    #[test]
    fn checkpoints_give_their_states_back(
        incremental in any::<bool>(),
        steps in prop::collection::vec((0..8_u8, 0..12_usize, any::<u8>()), 1..60),
    ) {
        let (mut log, mut store) = (Changelog::new(config(incremental)), Store::new());
        let mut state = vec![0; 2 * PIECE];
        let mut pending: BTreeMap<CheckpointId, Taken> = BTreeMap::new();
        let mut completed: Option<(CheckpointId, Taken)> = None;
        let (mut id, mut attempt) = (0, 3);
        let mut registry = Registry::default();
        for (what, at, value) in steps {
            let at = at * PIECE / 2;
            if state.len() <= at {
                state.resize(at + 1, 0);
            }
            state[at] = value;
            log.append(1);
            match what {
                0 | 1 => {
                    id += 1;
                    let taken = checkpoint(&mut log, id, &state, &mut store);
                    registry.register(CheckpointId(id), &taken);
                    delete(&mut store, log.on_acknowledged(CheckpointId(id)));
                    pending.insert(CheckpointId(id), taken);
                }
                2 | 3 => if let Some((done, taken)) = pending.pop_last() {
                    pending.clear();
                    delete(&mut store, log.on_complete(done));
                    registry.subsume(done, &mut store);
                    completed = Some((done, taken));
                },
                4 => if let Some((aborted, _)) = pending.pop_first() {
                    delete(&mut store, log.on_aborted(aborted));
                },
                5 => {
                    let begun = log.persist(&state, 10);
                    begun.into_iter().for_each(|set| upload(&mut log, set, &mut store));
                }
                6 => drop(materialize(&mut log, &state, &mut store)),
                _ => if let Some((_, taken)) = &completed {
                    delete(&mut store, log.close());
                    pending.clear();
                    attempt += 1;
                    let mut config = config(incremental);
                    config.writer.attempt = Attempt(attempt);
                    (log, state) = Changelog::restored(config, &taken.manifest, &read(taken, &store))?;
                    prop_assert_eq!(&state, &taken.state);
                },
            }
            let all = pending.values().chain(completed.as_ref().map(|(_, taken)| taken));
            for taken in all {
                prop_assert_eq!(&assemble(&taken.manifest, &read(taken, &store))?, &taken.state);
            }
        }
        let last = CheckpointId(id + 1);
        let taken = checkpoint(&mut log, last.0, &state, &mut store);
        registry.register(last, &taken);
        delete(&mut store, log.on_acknowledged(last));
        delete(&mut store, log.on_complete(last));
        registry.subsume(last, &mut store);
        delete(&mut store, log.close());
        let left: Vec<_> = store.keys().collect();
        let mut named: Vec<_> = taken.files.iter().map(|file| &file.path).collect();
        named.sort();
        prop_assert_eq!(left, named);
    }
}
