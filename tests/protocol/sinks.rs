//! Sinks that commit, and the external system they commit to: that what the scenarios are about does
//! happen. The checks of every run judge that nothing is lost, repeated, left open or seen too early.

use cutline_sim::observe::{JobEnd, Observation, Transaction};
use cutline_sim::run::Outcome;

use crate::support::{self, observations, situation, visible};

const SEEDS: u64 = 8;

/// The runs of a scenario of the repository, changed so; all checks hold.
fn runs(name: &str, changes: &[&str]) -> impl Iterator<Item = Outcome> + use<> {
    support::runs(name, changes, 0..SEEDS)
}

fn expired(outcome: &Outcome) -> Vec<Transaction> {
    let expired = observations(outcome).filter_map(|observation| match *observation {
        Observation::TransactionExpired { transaction } => Some(transaction),
        _ => None,
    });
    expired.collect()
}

/// Each commit that became visible, and how many records it has.
fn committed(outcome: &Outcome) -> Vec<(Transaction, u64)> {
    let committed = observations(outcome).filter_map(|observation| match *observation {
        Observation::Committed { transaction, contents } => Some((transaction, contents.count)),
        _ => None,
    });
    committed.collect()
}

#[test]
fn a_commit_that_comes_too_late_fails_the_job_for_good() {
    for outcome in runs("transaction-timeout.json", &[]) {
        assert_eq!(outcome.job_end, Some(JobEnd::Failed), "seed {}", outcome.seed);
        assert!(!expired(&outcome).is_empty(), "seed {}", outcome.seed);
        assert!(situation(&outcome, "transaction expired") > 0);
        // The crash, and the attempt that found out; no further one.
        assert_eq!(outcome.statistics.restarts, 2, "seed {}", outcome.seed);
    }
    for outcome in runs("transaction-timeout.json", &["external.transaction_timeout=1 min"]) {
        assert_eq!(outcome.job_end, Some(JobEnd::Finished), "seed {}", outcome.seed);
        assert_eq!((expired(&outcome).len(), visible(&outcome)), (0, 8_000));
    }
}

#[test]
fn a_committer_commits_what_writers_have_handed_over() {
    for outcome in runs("writer-committer.json", &[]) {
        assert_eq!(outcome.job_end, Some(JobEnd::Finished), "seed {}", outcome.seed);
        assert_eq!(visible(&outcome), 6_000, "seed {}", outcome.seed);
        assert!(situation(&outcome, "in-flight data persisted") > 0, "seed {}", outcome.seed);
        assert!(situation(&outcome, "commit after recovery") > 0, "seed {}", outcome.seed);
        // Nothing is in flight where the handles are.
        let committer = outcome.plan.graph.subtasks() - 1;
        for observation in observations(&outcome) {
            if let Observation::Persisted { channel, .. } = observation {
                let to = outcome.plan.graph.channels()[channel.index()].to;
                assert_ne!(to.index(), committer, "seed {}", outcome.seed);
            }
        }
    }
}

#[test]
fn a_committer_for_each_writer_does_as_well() {
    let changes = ["job.operators[committer].parallelism=2", "job.edges[2].partitioner=forward"];
    for outcome in runs("writer-committer.json", &changes) {
        assert_eq!(outcome.job_end, Some(JobEnd::Finished), "seed {}", outcome.seed);
        assert_eq!(visible(&outcome), 6_000, "seed {}", outcome.seed);
    }
}

#[test]
fn a_batch_is_applied_once() {
    for outcome in runs("write-ahead.json", &[]) {
        assert_eq!(outcome.job_end, Some(JobEnd::Finished), "seed {}", outcome.seed);
        let mut batches: Vec<_> = committed(&outcome).into_iter().map(|(of, _)| of).collect();
        let count = batches.len();
        batches.sort_unstable();
        batches.dedup();
        assert_eq!(batches.len(), count, "seed {}", outcome.seed);
        assert_eq!(visible(&outcome), 4_000, "seed {}", outcome.seed);
    }
}

#[test]
fn what_a_zombie_flushes_is_refused() {
    for outcome in runs("zombie-producer.json", &[]) {
        assert_eq!(outcome.job_end, Some(JobEnd::Finished), "seed {}", outcome.seed);
        assert_eq!(outcome.statistics.restarts, 1, "seed {}", outcome.seed);
        // Its flush is under way when the job goes on without it, and arrives behind the fence.
        let flushed = observations(&outcome).any(|observation| {
            let Observation::PreCommitted { transaction, .. } = observation else { return false };
            (transaction.checkpoint.0, transaction.subtask) == (3, 1)
        });
        assert!(!flushed, "seed {}", outcome.seed);
        assert_eq!(visible(&outcome), 6_000, "seed {}", outcome.seed);
    }
}

#[test]
fn commits_are_tried_again_as_often_as_it_takes() {
    for outcome in runs("external-trouble.json", &[]) {
        assert_eq!(outcome.job_end, Some(JobEnd::Finished), "seed {}", outcome.seed);
        assert_eq!(outcome.faults_injected.len(), 5, "seed {}", outcome.seed);
        // The flush that failed, and nothing else.
        assert_eq!(outcome.statistics.restarts, 1, "seed {}", outcome.seed);
        assert_eq!(visible(&outcome), 8_000, "seed {}", outcome.seed);
    }
    // Whoever does not try again has the next attempt do it.
    for outcome in runs("external-trouble.json", &["external.commit_retries=0"]) {
        assert_eq!(outcome.job_end, Some(JobEnd::Finished), "seed {}", outcome.seed);
        assert!(outcome.statistics.restarts > 1, "seed {}", outcome.seed);
        assert_eq!(visible(&outcome), 8_000, "seed {}", outcome.seed);
    }
}
