//! Storage on a bad day: that each disturbance bites, what it costs, and that the protocol survives
//! it. The checks of every run judge that nothing is lost, leaked or restored wrongly; here it is
//! asserted that what the scenarios are about does happen.

use std::sync::Arc;

use cutline::message::FailureReason;
use cutline_sim::check::{Class, Orphans};
use cutline_sim::engine::{Mount, Plan};
use cutline_sim::observe::{FileId, JobEnd, Observation, TaskState};
use cutline_sim::run::{Outcome, Simulation};
use cutline_sim::scenario::model::Disturbance;
use cutline_sim::scenario::{Override, load};
use cutline_sim::world::{Answer, Context, Event, Observer, Process, Refusal, Request};

use crate::support::{self, count, observations, situation};

const SEEDS: u64 = 8;

/// The runs of a scenario of the repository, changed so; all checks hold.
fn runs(name: &str, changes: &[&str]) -> impl Iterator<Item = Outcome> + use<> {
    support::runs(name, changes, 0..SEEDS)
}

fn bites(outcome: &Outcome, how: Disturbance) -> u64 {
    outcome.statistics.storage_disturbed.get(&how).copied().unwrap_or(0)
}

fn failed(outcome: &Outcome, reason: FailureReason) -> u64 {
    outcome.statistics.checkpoints.failed.get(&reason).copied().unwrap_or(0)
}

/// One disturbance of the quickstart, without its crashes.
fn disturbed(
    operation: &str,
    how: Disturbance,
    count: u32,
) -> impl Iterator<Item = Outcome> + use<> {
    let fault = format!(
        r#"faults=[{{"at": {{"step": "T5", "checkpoint": 2}}, "kind": "disturb_storage",
            "operation": "{operation}", "how": "{}", "count": {count}}}]"#,
        how.name()
    );
    let changes = [
        fault.as_str(),
        "checkpointing.tolerable_failures=5",
        "storage.timeout=200 ms",
        "storage.backoff=5 ms",
    ];
    runs("quickstart.json", &changes)
}

#[test]
fn what_the_client_can_cure_nobody_hears_of() {
    for how in [Disturbance::Transient, Disturbance::Throttled, Disturbance::Hanging] {
        for operation in ["write_state", "write_metadata", "write_pointer", "draw_id"] {
            for outcome in disturbed(operation, how, 2) {
                assert_eq!(bites(&outcome, how), 2, "{how:?} {operation}");
                assert_eq!(outcome.statistics.checkpoints.failed.len(), 0, "{how:?} {operation}");
            }
        }
    }
}

#[test]
fn a_client_asks_so_often_and_no_more() {
    for (how, attempts) in [(Disturbance::Transient, 5), (Disturbance::Throttled, 20)] {
        for outcome in disturbed("write_metadata", how, attempts - 1) {
            assert_eq!(outcome.statistics.checkpoints.failed.len(), 0, "{how:?}");
        }
        for outcome in disturbed("write_metadata", how, attempts) {
            assert_eq!(bites(&outcome, how), u64::from(attempts), "{how:?}");
            let refused = failed(&outcome, FailureReason::FinalizeCheckpointFailure);
            assert_eq!(refused, 1, "{how:?}");
        }
    }
}

#[test]
fn waiting_in_vain_costs_the_timeout() {
    let longest = |timeout: &str| {
        let hangs = r#"faults=[{"at": {"step": "A2", "checkpoint": 3}, "kind": "disturb_storage",
            "operation": "write_metadata", "how": "hanging"}]"#;
        let timeout = format!("storage.timeout={timeout}");
        let outcomes = runs("quickstart.json", &[hangs, &timeout]);
        outcomes.map(|outcome| outcome.statistics.end_to_end.max).min().expect("some seeds")
    };
    let (short, long) = (longest("100 ms"), longest("3 s"));
    assert!(long.as_millis() > 3_000 && short.as_millis() < 1_000, "{short:?} {long:?}");
}

#[test]
fn half_a_file_is_deleted_and_never_referred_to() {
    for how in [Disturbance::Torn, Disturbance::Ambiguous] {
        for (operation, reason) in [
            ("write_state", FailureReason::CheckpointAsyncException),
            ("write_metadata", FailureReason::FinalizeCheckpointFailure),
        ] {
            for outcome in disturbed(operation, how, 1) {
                assert_eq!(bites(&outcome, how), 1, "{how:?} {operation}");
                assert_eq!(failed(&outcome, reason), 1, "{how:?} {operation}");
                let written = count(&outcome, |it| matches!(it, Observation::FileWritten { .. }));
                let deleted = count(&outcome, |it| matches!(it, Observation::FileDeleted { .. }));
                assert_eq!(written, deleted, "{how:?} {operation}");
            }
        }
    }
}

/// Nobody guesses: the decision is made again, and observed once.
#[test]
fn a_decision_in_doubt_is_made_once() {
    for outcome in disturbed("write_pointer", Disturbance::Ambiguous, 3) {
        assert_eq!(bites(&outcome, Disturbance::Ambiguous), 3);
        assert_eq!(outcome.statistics.checkpoints.failed.len(), 0);
        let durable = count(&outcome, |it| matches!(it, Observation::Durable { .. }));
        assert_eq!(durable as u64, outcome.statistics.checkpoints.completed);
    }
}

#[test]
fn what_cannot_be_read_is_read_again_after_a_restart() {
    for how in [Disturbance::ShortRead, Disturbance::Stale] {
        let fault = format!(
            r#"faults=[{{"at": "1500 ms", "kind": "crash_task", "target": "count[0]"}},
                {{"at": {{"step": "R4", "occurrence": 7}}, "kind": "disturb_storage",
                  "operation": "read", "how": "{}", "count": 1}}]"#,
            how.name()
        );
        for outcome in runs("quickstart.json", &[&fault]) {
            assert_eq!(bites(&outcome, how), 1, "{how:?}");
            assert_eq!(outcome.statistics.restarts, 2, "{how:?}");
            assert_eq!(outcome.job_end, Some(JobEnd::Finished), "{how:?}");
        }
    }
}

#[test]
fn a_bad_day_is_survived() {
    for outcome in runs("storage-unreliable.json", &[]) {
        for how in Disturbance::ALL {
            assert!(bites(&outcome, how) > 0, "seed {}: {how:?}", outcome.seed);
        }
        assert_eq!(outcome.job_end, Some(JobEnd::Finished));
        assert_eq!(outcome.statistics.records.committed, 8_000);
    }
}

/// Numbers are drawn once, whatever becomes of the answers; a recovery waits for the pointers, and a job
/// whose result is stored is not run again.
#[test]
fn a_bad_day_of_the_high_availability_store_is_survived() {
    for outcome in runs("ha-store-unreliable.json", &[]) {
        let name = format!("seed {}", outcome.seed);
        assert_eq!(bites(&outcome, Disturbance::Ambiguous), 3, "{name}");
        assert_eq!(bites(&outcome, Disturbance::Transient), 5, "{name}");
        assert_eq!(bites(&outcome, Disturbance::Hanging), 1, "{name}");
        let unnumbered = outcome.statistics.requests_failed.get(&FailureReason::IoException);
        assert_eq!(unnumbered, Some(&2), "{name}: no number, or none that anybody has learnt");
        let known = observations(&outcome).filter_map(|it| match *it {
            Observation::Triggered { checkpoint, .. } => Some(checkpoint.0),
            _ => None,
        });
        let known: Vec<_> = known.collect();
        assert_eq!(known[..2], [1, 3], "{name}: one was drawn in vain");
        assert!(known.is_sorted_by(|a, b| a < b), "{name}");
        // Two times the client gives up, and once more it is cured.
        let restored = count(&outcome, |it| matches!(it, Observation::RestoreChosen { .. }));
        assert_eq!(restored, 2, "{name}: at the start and behind the crash");
        let ended = count(&outcome, |it| matches!(it, Observation::JobEnded { .. }));
        assert_eq!((ended, outcome.job_end), (1, Some(JobEnd::Finished)), "{name}");
        assert_eq!(outcome.statistics.records.committed, 6_000, "{name}");
    }
}

/// What a job manager leaves whose metadata have no pointer goes as soon as names say that nobody will
/// refer to it; without a clean-up it stays, and is counted.
#[test]
fn orphans_are_found_by_name() {
    let found = |outcome: &Outcome| -> Vec<u32> {
        let found = observations(outcome).filter_map(|it| match *it {
            Observation::OrphansFound { files, .. } => Some(files),
            _ => None,
        });
        found.collect()
    };
    // The parts of six subtasks, those of operators that are written in one, and metadata.
    const LEFT: u64 = 12;
    for outcome in runs("orphans.json", &[]) {
        let name = format!("seed {}", outcome.seed);
        let found = found(&outcome);
        assert_eq!(found[..2], [LEFT as u32 - 1, 0], "{name}");
        // With it perhaps what a subsumed checkpoint leaves at that very moment.
        assert!(found[2] > 0, "{name}");
        assert_eq!(outcome.statistics.orphans, Orphans::default(), "{name}");
        assert_eq!(situation(&outcome, "orphaned files deleted"), 2, "{name}");
        let answers =
            count(&outcome, |it| matches!(it, Observation::ActionEnded { done: true, .. }));
        assert_eq!(answers, 3, "{name}");
    }
    let mut uploads = 0;
    for outcome in runs("orphans.json", &["actions=[]"]) {
        uploads += outcome.statistics.orphans.uploads;
        let orphans = outcome.statistics.orphans;
        assert_eq!(orphans.files, LEFT, "seed {}", outcome.seed);
        assert!(orphans.bytes > 1_000_000, "seed {}: {orphans:?}", outcome.seed);
    }
    assert!(uploads > 0, "of the task manager that dies while it uploads in parts");
}

/// What was retained of the job before is the user's, whoever leads, and check *storage* would say that it
/// is gone. A clean-up that is asked for when no job runs is refused.
#[test]
fn a_clean_up_leaves_the_jobs_before_alone() {
    let changes = [
        r#"actions=[{"at": "1700 ms", "kind": "savepoint"}, {"at": "2200 ms", "kind": "cancel"},
            {"at": "2300 ms", "kind": "clean_orphans"}, {"at": "2400 ms", "kind": "resume"},
            {"at": "5 s", "kind": "clean_orphans"}]"#,
        r#"faults=[{"at": "4 s", "kind": "crash_job_manager"}]"#,
        "checkpointing.retention=RETAIN_ON_CANCELLATION",
    ];
    for outcome in runs("orphans.json", &changes) {
        let done = observations(&outcome).filter_map(|it| match *it {
            Observation::ActionEnded { action, done, .. } => Some((action, done)),
            _ => None,
        });
        let done: Vec<_> = done.collect();
        let expected = [(0, true), (1, true), (2, false), (3, true), (4, true)];
        assert_eq!(done, expected, "seed {}", outcome.seed);
    }
}

/// Found by random runs as soon as the result could be late: checkpoints of a job without tasks went on.
#[test]
fn no_checkpoint_is_taken_of_a_job_whose_result_is_being_stored() {
    let late = r#"faults=[{"at": "0 s", "kind": "disturb_storage", "operation": "write_job_result",
        "how": "hanging", "count": 3}]"#;
    for outcome in runs("quickstart.json", &[late, "storage.timeout=2 s"]) {
        assert_eq!(bites(&outcome, Disturbance::Hanging), 3, "seed {}", outcome.seed);
        let all: Vec<_> = observations(&outcome).collect();
        let finished =
            |it: &&Observation| matches!(it, Observation::Task { state: TaskState::Finished, .. });
        let last = all.iter().rposition(finished).expect("the job has finished");
        let taken = |it: &&&Observation| matches!(it, Observation::Triggered { .. });
        assert_eq!(all[last..].iter().filter(taken).count(), 0, "seed {}", outcome.seed);
    }
}

/// Flink does not fall back to an older checkpoint, and neither does the engine.
#[test]
fn a_damaged_checkpoint_fails_the_job_in_the_end() {
    for outcome in runs("damaged-checkpoint.json", &[]) {
        assert_eq!(outcome.job_end, Some(JobEnd::Failed));
        let damaged = observations(&outcome).find_map(|it| match *it {
            Observation::FileDamaged { file } => Some(file),
            _ => None,
        });
        assert!(damaged.is_some(), "seed {}", outcome.seed);
        let mut chosen: Vec<_> = observations(&outcome)
            .filter_map(|it| match *it {
                Observation::RestoreChosen { checkpoint } => checkpoint,
                _ => None,
            })
            .collect();
        assert_eq!(chosen.len(), 3, "seed {}", outcome.seed);
        chosen.dedup();
        assert_eq!(chosen.len(), 1, "seed {}: no other was tried", outcome.seed);
    }
}

#[test]
fn damaged_metadata_fails_the_next_leader() {
    let faults = r#"faults=[
        {"at": {"step": "F5", "checkpoint": 4}, "kind": "damage_object", "operation": "write_metadata"},
        {"at": {"step": "F5", "checkpoint": 4, "delay": "20 ms"}, "kind": "crash_job_manager"}]"#;
    for outcome in runs("damaged-checkpoint.json", &[faults]) {
        assert_eq!(outcome.job_end, Some(JobEnd::Failed));
        assert_eq!(outcome.statistics.restores, 0, "seed {}", outcome.seed);
    }
}

// ---- increments and small state ------------------------------------------------------------------

fn written(outcome: &Outcome) -> u64 {
    let bytes = observations(outcome).map(|observation| match observation {
        Observation::FileWritten { bytes, .. } => *bytes,
        _ => 0,
    });
    bytes.sum()
}

const CALM: &str = "faults=[]";

#[test]
fn increments_upload_less_and_restore_the_same() {
    let mut restores = 0;
    let full = ["checkpointing.incremental=false"];
    for (incremental, full) in runs("incremental.json", &[]).zip(runs("incremental.json", &full)) {
        assert!(situation(&incremental, "checkpoints with a file in common") > 3);
        assert_eq!(situation(&full, "checkpoints with a file in common"), 0);
        for outcome in [&incremental, &full] {
            assert_eq!(outcome.job_end, Some(JobEnd::Finished), "seed {}", outcome.seed);
            assert_eq!(outcome.statistics.records.committed, 12_000, "seed {}", outcome.seed);
        }
        restores += incremental.statistics.restores;
    }
    assert!(restores >= 2 * SEEDS, "{restores}");
    let calm = |changes: &[&str]| {
        let outcome = runs("incremental.json", changes).next().expect("some seeds");
        written(&outcome) / outcome.statistics.checkpoints.completed
    };
    let (incremental, full) = (calm(&[CALM]), calm(&[CALM, full[0]]));
    assert!(incremental * 3 < full * 2, "{incremental} {full}");
}

/// Nothing is left of an incremental job that has finished, of whatever it uploaded.
#[test]
fn shared_files_go_with_the_last_checkpoint_that_has_them() {
    for outcome in runs("incremental.json", &[CALM]) {
        let written = count(&outcome, |it| matches!(it, Observation::FileWritten { .. }));
        let deleted = count(&outcome, |it| matches!(it, Observation::FileDeleted { .. }));
        assert_eq!(written, deleted, "seed {}", outcome.seed);
        let shared = outcome.files.iter().filter(|path| path.starts_with("shared/")).count();
        assert!(shared > 10, "seed {}: {shared}", outcome.seed);
    }
}

/// A retained checkpoint of a cancelled job keeps its shared files. A new job that claims it shares
/// them; one that does not uploads all once more, which the check *storage* sees to.
#[test]
fn a_new_job_goes_on_from_a_retained_increment() {
    for mode in ["claim", "no_claim"] {
        let mode = format!("actions[1].claim_mode={mode}");
        let many_keys = "job.operators[source].keys=20000";
        let changes = ["checkpointing.incremental=true", many_keys, &mode];
        for outcome in runs("cancel-and-resume.json", &changes) {
            assert_eq!(outcome.job_end, Some(JobEnd::Finished), "{mode} seed {}", outcome.seed);
            let adopted = |it: &&Observation| matches!(it, Observation::Adopted { .. });
            assert!(observations(&outcome).any(|it| adopted(&it)), "{mode}");
            assert!(situation(&outcome, "checkpoints with a file in common") > 0, "{mode}");
        }
    }
}

/// Who claims one of several incremental checkpoints gives the others away with it: their common
/// files are the new job's. Without claiming, or with one checkpoint alone, nothing happens to any.
#[test]
fn claiming_one_checkpoint_gives_away_those_that_share_its_files() {
    let given = |mode: &str, retained: &str, incremental: &str| {
        let mode = format!("actions[1].claim_mode={mode}");
        let retained = format!("checkpointing.retained={retained}");
        let incremental = format!("checkpointing.incremental={incremental}");
        let many_keys = "job.operators[source].keys=20000";
        runs("cancel-and-resume.json", &[&mode, &retained, &incremental, many_keys])
            .map(|outcome| situation(&outcome, "checkpoint given away with a claimed one"))
            .collect::<Vec<u64>>()
    };
    assert!(given("claim", "3", "true").iter().all(|given| *given > 0));
    for (mode, retained, incremental) in
        [("no_claim", "3", "true"), ("claim", "1", "true"), ("claim", "3", "false")]
    {
        let given = given(mode, retained, incremental);
        assert!(given.iter().all(|given| *given == 0), "{mode} {retained} {incremental}");
    }
}

#[test]
fn small_state_needs_no_file() {
    let files = |threshold: &str| {
        let threshold = format!("checkpointing.inline_threshold={threshold}");
        let outcomes = runs("quickstart.json", &[CALM, &threshold]);
        outcomes.map(|it| it.files.len()).max().expect("some seeds")
    };
    let (none, some, all) = (files("0 b"), files("500 b"), files("1 mb"));
    assert!(all < some && some < none, "{all} {some} {none}");
    for outcome in runs("quickstart.json", &["checkpointing.inline_threshold=1 mb"]) {
        assert!(outcome.files.iter().all(|path| path.ends_with("_metadata")));
        assert!(outcome.statistics.restores >= 1);
    }
}

/// An upload in parts is begun and ended by a call of its own; what fits into one part is not.
#[test]
fn uploads_in_parts_take_two_calls_more() {
    let longest = |part_size: &str| {
        let changes = ["actions=[]", "faults=[]", part_size];
        let outcomes = runs("orphans.json", &changes);
        outcomes.map(|outcome| outcome.statistics.asynchronous.max).max().expect("some seeds")
    };
    let (parts, whole) = (longest("storage.part_size=1 mb"), longest("storage.part_size=1 gb"));
    // At 40 ms a call.
    assert_eq!(parts.saturating_sub(whole).as_millis(), 80, "{parts:?} {whole:?}");
}

/// Two processes that write one object, each unless it is there: one of them has written it, whichever
/// kind of store it is. (An engine without a high-availability store elects its leader so.)
#[test]
fn of_two_that_must_not_overwrite_one_writes() {
    #[derive(Debug)]
    struct Racer;
    impl Process for Racer {
        type Control = ();
        type Data = ();
        type Back = ();

        fn handle<O: Observer>(&mut self, event: Event<Self>, ctx: &mut Context<'_, Self, O>) {
            match event {
                Event::Started => {
                    let Request::Put { path, bytes, nominal, purpose, synced, .. } =
                        Request::put("leader".to_owned(), vec![1])
                    else {
                        unreachable!("it is what it is called")
                    };
                    let if_absent = true;
                    let request = Request::Put { path, bytes, nominal, purpose, synced, if_absent };
                    ctx.request(0, request);
                }
                Event::Answered { answer, .. } => {
                    let action = u32::from(answer == Ok(Answer::Done));
                    assert!(action == 1 || answer == Err(Refusal::Exists), "{answer:?}");
                    ctx.observe(Observation::ActionAsked { action });
                }
                _ => {}
            }
        }

        fn reborn(&self) -> Self {
            Self
        }
    }
    struct Race;
    impl Mount for Race {
        type Process = Racer;

        fn processes(&self, plan: &Arc<Plan>) -> Vec<Racer> {
            plan.process_names().iter().map(|_| Racer).collect()
        }

        fn cannot_feed(&self) -> &'static [&'static str] {
            &["cut", "order", "state", "policy"]
        }
    }
    for dir in ["s3://bucket/flink", "hdfs://namenode/flink", "/mnt/flink", "memory://"] {
        let dir = format!("checkpointing.dir={dir}");
        let scenario = support::scenario("quickstart.json", &[&dir, "faults=[]"]);
        let simulation = Simulation::new(scenario, 3).expect("it can run").trace(true);
        let outcome = simulation.run_engine(Race);
        let answers: Vec<_> = observations(&outcome)
            .filter_map(|it| match *it {
                Observation::ActionAsked { action } => Some(action),
                _ => None,
            })
            .collect();
        assert!(answers.len() > 1);
        assert_eq!(answers.iter().sum::<u32>(), 1, "{answers:?}");
    }
}

// ---- kinds of stores -----------------------------------------------------------------------------

/// Whether a torn write leaves half a file behind, of a state and of metadata.
#[test]
fn what_a_write_that_is_cut_off_leaves_depends_on_the_store() {
    for (dir, state, metadata) in [
        ("hdfs://namenode/flink", 1, 0),
        ("s3://bucket/flink", 0, 0),
        ("/mnt/flink", 1, 0),
        ("memory://", 0, 0),
    ] {
        for (operation, left) in [("write_state", state), ("write_metadata", metadata)] {
            let fault = format!(
                r#"faults=[{{"at": {{"step": "T5", "checkpoint": 2}}, "kind": "disturb_storage",
                    "operation": "{operation}", "how": "torn"}}]"#
            );
            let dir = format!("checkpointing.dir={dir}");
            let changes = [fault.as_str(), "checkpointing.tolerable_failures=5", &dir];
            for outcome in runs("quickstart.json", &changes) {
                assert_eq!(bites(&outcome, Disturbance::Torn), 1, "{dir} {operation}");
                // What is left of it is there at the same instant.
                let mut trace = outcome.trace.iter().flatten();
                let torn = trace.find(|(_, it)| matches!(it, Observation::StorageDisturbed { .. }));
                let (at, _) = torn.expect("it was counted");
                let then = trace.take_while(|(next, _)| next == at);
                let halves = then.filter(|(_, it)| matches!(it, Observation::FileWritten { .. }));
                assert_eq!(halves.count(), left, "{dir} {operation}");
            }
        }
    }
}

/// What is there in the end of an upload whose process dies.
#[test]
fn nobody_completes_the_uploads_of_the_dead() {
    let large = [
        "actions=[]",
        "job.operators[count].state_per_key=5 mb",
        "storage.bandwidth=100 mb/s",
        "checkpointing.timeout=5 min",
        r#"faults=[{"at": {"step": "B5", "checkpoint": 1, "subtask": "count[1]", "delay": "300 ms"},
            "kind": "crash_task_manager", "target": 1}]"#,
    ];
    for (dir, keeps_halves) in
        [("hdfs://namenode/flink", true), ("s3://bucket/flink", false), ("/mnt/flink", true)]
    {
        let dir = format!("checkpointing.dir={dir}");
        let changes = [&large[..], &[dir.as_str()]].concat();
        let (mut none, mut halves) = (0, 0);
        for outcome in runs("stop-and-resume.json", &changes) {
            let cut_off = count(&outcome, |it| matches!(it, Observation::UploadsCutOff { .. }));
            assert_eq!(cut_off, 1, "{dir} seed {}", outcome.seed);
            assert_eq!(situation(&outcome, "process lost while it was writing to storage"), 1);
            let left = observations(&outcome).filter_map(|it| match *it {
                Observation::FileWritten { bytes, orphaned: true, .. } => Some(bytes),
                _ => None,
            });
            let left: Vec<u64> = left.collect();
            let whole = 25 * 5 * 1_000_000;
            assert!(left.iter().all(|bytes| *bytes < whole), "{dir}: {left:?}");
            none += usize::from(left.is_empty());
            halves += left.len();
        }
        assert_eq!(halves > 0, keeps_halves, "{dir}");
        assert!(none > 0, "{dir}");
    }
}

/// An object that small is complete as soon as it is begun: what says so is on its way.
#[test]
fn what_was_sent_before_its_process_died_arrives() {
    let sent = [
        "actions=[]",
        "storage.latency=400 ms",
        "checkpointing.interval=1 s",
        r#"faults=[{"at": {"step": "B5", "checkpoint": 1, "subtask": "count[1]", "delay": "DELAY"},
            "kind": "crash_task_manager", "target": 1}]"#,
    ];
    // Complete after 200 ms, and there after 300 ms.
    for (delay, whole) in [("190 ms", false), ("210 ms", true)] {
        let fault = sent[3].replace("DELAY", delay);
        for outcome in runs("stop-and-resume.json", &[sent[0], sent[1], sent[2], &fault]) {
            let cut_off = count(&outcome, |it| matches!(it, Observation::UploadsCutOff { .. }));
            assert_eq!(cut_off == 0, whole, "seed {}", outcome.seed);
        }
    }
}

#[test]
fn a_name_node_is_asked_for_everything() {
    let mean = |changes: &[&str]| {
        let outcome = runs("quickstart.json", changes).next().expect("some seeds");
        outcome.statistics.end_to_end.mean().as_millis()
    };
    let slow = ["checkpointing.dir=hdfs://namenode/flink", "storage.name_node=100 ms", CALM];
    let neutral = mean(&slow[2..]);
    assert!(mean(&slow) > neutral + 390, "states and then metadata, twice each: {neutral}");
}

#[test]
fn a_prefix_has_a_limit() {
    for outcome in runs("store-throttles.json", &[]) {
        assert!(bites(&outcome, Disturbance::Throttled) > 50, "seed {}", outcome.seed);
        assert_eq!(outcome.statistics.records.committed, 10_000, "seed {}", outcome.seed);
    }
    for changes in [
        &["storage.requests_per_prefix=3500"][..],
        &["checkpointing.dir=hdfs://namenode/flink", r#"storage={"attempts": 10}"#][..],
    ] {
        let outcome = runs("store-throttles.json", changes).next().expect("some seeds");
        assert_eq!(outcome.statistics.storage_disturbed.len(), 0, "{changes:?}");
    }
}

#[test]
fn memory_goes_with_the_job_manager() {
    for outcome in runs("memory-lost.json", &[]) {
        assert_eq!(outcome.statistics.restores, 1, "seed {}", outcome.seed);
        assert_eq!(outcome.job_end, Some(JobEnd::Failed), "seed {}", outcome.seed);
        assert!(count(&outcome, |it| matches!(it, Observation::FileLost { .. })) > 0);
        assert!(outcome.statistics.records.committed < 8_000);
    }
    for outcome in runs("memory-lost.json", &["checkpointing.dir=file:///mnt/flink"]) {
        assert_eq!(outcome.job_end, Some(JobEnd::Finished), "seed {}", outcome.seed);
        assert_eq!(outcome.statistics.records.committed, 8_000);
    }
}

#[test]
fn what_was_forced_to_disk_outlives_the_host() {
    let mut cut_off = 0;
    for outcome in runs("storage-host-crash.json", &[]) {
        let seed = outcome.seed;
        assert_eq!(outcome.job_end, Some(JobEnd::Finished), "seed {seed}");
        assert_eq!(outcome.statistics.records.committed, 8_000, "seed {seed}");
        assert_eq!(outcome.statistics.restores, 1, "seed {seed}");
        assert_eq!(count(&outcome, |it| matches!(it, Observation::UnsyncedLost { .. })), 0);
        assert_eq!(count(&outcome, |it| matches!(it, Observation::StorageHostCrashed { .. })), 2);
        let torn = bites(&outcome, Disturbance::Torn);
        let declined = failed(&outcome, FailureReason::CheckpointAsyncException);
        assert_eq!(declined > 0, torn > 0, "seed {seed}");
        cut_off += torn;
    }
    assert!(cut_off > 0);
}

/// Flink's way on a file system that does not sync when a file is closed, and the way before that.
#[test]
fn what_was_only_closed_goes_with_the_host() {
    for (sync, of_metadata) in [("metadata", false), ("never", true)] {
        let scenario =
            support::scenario("storage-host-crash.json", &[&format!("storage.sync={sync}")]);
        let (mut gone, mut halved) = (0, 0);
        for seed in 0..SEEDS {
            let simulation = Simulation::new(Arc::clone(&scenario), seed).expect("it can run");
            let outcome = simulation.trace(true).run();
            let violation = outcome.violations.first().expect("a retained checkpoint lost files");
            assert_eq!(violation.class, Class::UnusableCheckpoint, "seed {seed}");
            let lost = observations(&outcome).filter_map(|it| match *it {
                Observation::UnsyncedLost { file, gone } => Some((file, gone)),
                _ => None,
            });
            let lost: Vec<_> = lost.collect();
            let path = |file: FileId| &outcome.files[file.0 as usize];
            let metadata = lost.iter().any(|(file, _)| path(*file).ends_with("_metadata"));
            assert_eq!(metadata, of_metadata, "seed {seed}");
            gone += lost.iter().filter(|(_, gone)| *gone).count();
            halved += lost.iter().filter(|(_, gone)| !*gone).count();
        }
        assert!(gone > 0 && halved > 0, "{sync}: {gone} gone, {halved} cut short");
    }
    // What has been in memory for long enough has been written back.
    let changes = ["storage.sync=never", "storage.write_back=1 ms"];
    for outcome in runs("storage-host-crash.json", &changes) {
        assert_eq!(outcome.job_end, Some(JobEnd::Finished), "seed {}", outcome.seed);
    }
}

#[test]
fn a_store_of_its_own_has_no_host_that_crashes() {
    let host = support::file("storage-host-crash.json");
    for (dir, changes, code) in [
        ("s3://bucket/flink", &[][..], "impossible-fault"),
        ("memory://", &[][..], "impossible-fault"),
        ("s3://bucket/flink", &["faults=[]", "storage.sync=never"][..], "contradiction"),
    ] {
        let dir = format!("checkpointing.dir={dir}");
        let changes = [&[dir.as_str()], changes].concat();
        let changes: Vec<Override> =
            changes.iter().map(|text| Override::parse(text).expect("an override")).collect();
        let found = load(&host, "a file", &changes).expect_err("there is no such host").to_string();
        assert!(found.contains(code), "{found}");
    }
}
