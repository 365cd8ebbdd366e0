//! Check *output*: what the outside sees is what the job's promise says.
//!
//! Transactional sinks: a transaction becomes visible only if a durable checkpoint of this history
//! decided so, once, with the contents that were pre-committed; what was decided becomes visible.
//! Once everything up to checkpoint n is committed, the outside sees exactly what a restore from n
//! believes to have written. Idempotent sinks: the set of written identities is the reference's.
//! At-least-once sinks: none is missing.
//!
//! A transaction outlives the checkpoint it was pre-committed for: if that one fails, the next
//! one's completion commits it. Flink: `TwoPhaseCommitSinkFunction`.

mod promise;
mod sink;

use cutline::ids::{Attempt, CheckpointId, OperatorId, RegionId, SubtaskId};
use cutline::message::SnapshotKind;
use cutline::operator::{Fingerprint, Record};
use cutline::time::VirtualTime;

use self::promise::{Promise, Promises};
use self::sink::{Held, History, Sink, TransactionState, Written};
use super::liveness::Weather;
use super::violation::{Class, Report, Subject};
use super::{OpenTransaction, RestoreOracle, Role, Setup, Shown, order};
use crate::observe::{JobEnd, Observation, TaskState, Transaction};

pub(super) const NAME: &str = "output";

#[derive(Clone, Debug)]
pub(super) struct Output {
    judged: u64,
    /// By operator; those of other roles stay empty.
    sinks: Vec<Sink>,
    /// Whether the tasks of a region run: after `ExecutionEnded`, or `RegionEnded`, they are being
    /// cancelled.
    running: Vec<bool>,
    /// The newest durable checkpoint of this history.
    decided: Option<CheckpointId>,
    /// The newest checkpoint that was triggered.
    triggered: Option<CheckpointId>,
    /// Savepoints of a job that goes on: being durable, they decide nothing.
    plain_savepoints: Vec<CheckpointId>,
    /// By region, which checkpoints are of a history that it has abandoned.
    abandoned: Vec<Abandoned>,
    promises: Promises,
    history: History,
    /// The newest attempt of each subtask, and since when it runs.
    newest: Vec<(Attempt, VirtualTime)>,
    /// The savepoint of the last stop, and which subtasks were there to be part of it.
    stop: Option<(CheckpointId, Vec<bool>)>,
}

/// What a region has gone back behind: checkpoints above `restored`, up to `triggered`.
#[derive(Clone, Copy, Debug, Default)]
struct Abandoned {
    restored: Option<CheckpointId>,
    triggered: Option<CheckpointId>,
    /// The newest of them that is durable all the same.
    decided: Option<CheckpointId>,
}

impl Abandoned {
    fn contains(self, checkpoint: CheckpointId) -> bool {
        self.restored < Some(checkpoint) && Some(checkpoint) <= self.triggered
    }
}

impl Output {
    pub(super) fn new(setup: &Setup) -> Self {
        let regions = setup.graph.regions().count();
        Self {
            judged: 0,
            sinks: vec![Sink::default(); setup.config.roles.len()],
            running: vec![true; regions],
            decided: None,
            triggered: None,
            plain_savepoints: Vec::new(),
            abandoned: vec![Abandoned::default(); regions],
            promises: Promises::new(setup),
            history: History::default(),
            newest: vec![(Attempt(0), VirtualTime::ZERO); setup.graph.subtasks()],
            stop: None,
        }
    }

    /// Commits, writes, and comparisons of what is visible.
    pub(super) fn judged(&self) -> u64 {
        self.judged
    }

    /// An idempotent or at-least-once sink wrote.
    #[inline]
    pub(super) fn on_written(&mut self, subtask: SubtaskId, record: &Record, setup: &Setup) {
        self.judged += 1;
        self.sinks[setup.graph.operator(subtask).index()].written.insert(record);
    }

    pub(super) fn observe(
        &mut self,
        now: VirtualTime,
        observation: &Observation,
        weather: &Weather,
        setup: &Setup,
        report: &mut Report,
    ) {
        self.judge_promises(now, weather, setup, report);
        match *observation {
            Observation::Triggered { checkpoint, kind, .. } => {
                self.triggered = self.triggered.max(Some(checkpoint));
                if kind == SnapshotKind::Savepoint {
                    self.plain_savepoints.push(checkpoint);
                }
                if kind.is_synchronous() {
                    self.stop = Some((checkpoint, vec![false; setup.graph.subtasks()]));
                }
            }
            Observation::PreCommitted { transaction, contents } => {
                let checkpoint = transaction.checkpoint;
                let abandoned = self.abandoned[region_of(transaction, setup).index()];
                // A request of a cancelled task may arrive behind the restart.
                let late = abandoned.decided < Some(checkpoint) && abandoned.contains(checkpoint);
                let state = match late {
                    true => TransactionState::Void,
                    false => TransactionState::Open,
                };
                let held = Held { contents, state };
                let sink = &mut self.sinks[transaction.operator.index()];
                sink.transactions.insert(key(transaction), held);
            }
            Observation::Committed { transaction, contents } => {
                self.on_committed(now, transaction, contents, setup, report);
            }
            Observation::TransactionAborted { transaction } => {
                self.on_aborted(now, transaction, setup, report);
            }
            Observation::TransactionExpired { transaction } => self.on_expired(transaction),
            Observation::Durable { checkpoint } if !self.plain_savepoints.contains(&checkpoint) => {
                self.decided = self.decided.max(Some(checkpoint));
                for abandoned in self.abandoned.iter_mut().filter(|it| it.contains(checkpoint)) {
                    abandoned.decided = abandoned.decided.max(Some(checkpoint));
                }
            }
            Observation::Adopted { checkpoint, .. } => self.on_adopted(checkpoint),
            Observation::Cut { subtask, checkpoint, .. } => {
                if let Some((savepoint, cut)) = &mut self.stop
                    && *savepoint == checkpoint
                {
                    cut[subtask.index()] = true;
                }
            }
            Observation::Task { subtask, attempt, state: TaskState::Running } => {
                self.newest[subtask.index()] = (attempt, now);
            }
            Observation::JobEnded { end: JobEnd::StoppedWithSavepoint } => {
                self.judge_stop(now, setup, report);
            }
            Observation::NotifiedComplete { subtask, checkpoint }
            | Observation::TaskRestored { subtask, checkpoint: Some(checkpoint) } => {
                self.promises.hear(now, subtask, checkpoint, setup);
            }
            Observation::ExecutionEnded => {
                self.running.fill(false);
                self.promises.clear();
            }
            Observation::RegionEnded { region } => {
                self.running[region.index()] = false;
                self.promises.clear_region(region, setup);
            }
            Observation::RestoreChosen { checkpoint } => {
                self.decided = checkpoint;
                self.on_restore(now, (None, checkpoint), setup, report);
            }
            Observation::RegionRestored { region, checkpoint } => {
                self.on_restore(now, (Some(region), checkpoint), setup, report);
            }
            _ => {}
        }
    }

    fn on_committed(
        &mut self,
        now: VirtualTime,
        transaction: Transaction,
        contents: Fingerprint,
        setup: &Setup,
        report: &mut Report,
    ) {
        self.judged += 1;
        let running = self.running[region_of(transaction, setup).index()];
        let sink = &mut self.sinks[transaction.operator.index()];
        sink.visible += contents;
        let held = sink.transactions.get_mut(&key(transaction));
        let wrong = match held.as_ref().map(|held| held.state) {
            // What is flushed when a failed task is closed will be replayed.
            None if !running => {
                Some((Class::Duplication, "committed after the execution ended", "was still open"))
            }
            None => Some((Class::WrongCommit, "committed unprepared", "was never pre-committed")),
            Some(TransactionState::Committed) => {
                Some((Class::Duplication, "committed twice", "was committed before"))
            }
            Some(TransactionState::Aborted | TransactionState::Expired) => {
                Some((Class::WrongCommit, "committed after abort", "was aborted before"))
            }
            Some(TransactionState::Void) => Some((
                Class::WrongCommit,
                "committed from an abandoned history",
                "lies behind the restore point, its records are replayed",
            )),
            Some(TransactionState::Open) if self.decided < Some(transaction.checkpoint) => Some((
                Class::WrongCommit,
                "committed ahead of the decision",
                "belongs to a checkpoint that is not durable",
            )),
            Some(TransactionState::Open) => None,
            Some(TransactionState::Left) => {
                sink.repeated += contents;
                None
            }
        };
        if let Some((class, rule, why)) = wrong {
            report.add((NAME, class, rule), now, subject(transaction), || {
                format!("{} was committed, but {why}", name(transaction, setup))
            });
        }
        if let Some(held) = held {
            held.state = TransactionState::Committed;
            let prepared = held.contents;
            if prepared != contents {
                let class = Class::of_counts(contents.count, prepared.count, Class::Loss);
                let what = (NAME, class, "other contents than pre-committed");
                report.add(what, now, subject(transaction), || {
                    format!(
                        "{} was pre-committed with {} and committed with {}",
                        name(transaction, setup),
                        order::records(prepared.count),
                        contents.count
                    )
                });
            }
        }
        self.settle(now, transaction.operator, setup, report);
    }

    fn on_aborted(
        &mut self,
        now: VirtualTime,
        transaction: Transaction,
        setup: &Setup,
        report: &mut Report,
    ) {
        let sink = &mut self.sinks[transaction.operator.index()];
        // One that was never pre-committed is of no interest: its records are in no checkpoint.
        let Some(held) = sink.transactions.get_mut(&key(transaction)) else { return };
        match held.state {
            TransactionState::Open => held.state = TransactionState::Aborted,
            TransactionState::Committed
            | TransactionState::Aborted
            | TransactionState::Void
            | TransactionState::Left
            | TransactionState::Expired => return,
        }
        let running = self.running[region_of(transaction, setup).index()];
        if running || self.decided >= Some(transaction.checkpoint) {
            self.report_dropped(now, transaction, setup, report);
        }
    }

    fn on_expired(&mut self, transaction: Transaction) {
        let sink = &mut self.sinks[transaction.operator.index()];
        let held = sink.transactions.get_mut(&key(transaction));
        if let Some(held) = held.filter(|held| held.state == TransactionState::Open) {
            held.state = TransactionState::Expired;
        }
    }

    fn report_dropped(
        &self,
        now: VirtualTime,
        transaction: Transaction,
        setup: &Setup,
        report: &mut Report,
    ) {
        let what = (NAME, Class::Loss, "a pre-committed transaction was dropped");
        report.add(what, now, subject(transaction), || {
            let why = match self.decided >= Some(transaction.checkpoint) {
                true => "its checkpoint is durable",
                false => "the job goes on, and the next checkpoint relies on it",
            };
            format!("{} was aborted although {why}", name(transaction, setup))
        });
    }

    /// A new job begins from a snapshot of the last one.
    fn on_adopted(&mut self, snapshot: CheckpointId) {
        let first = self.triggered.map_or(1, |last| last.0 + 1);
        self.history.jobs.push((CheckpointId(first), snapshot));
        for sink in &mut self.sinks {
            sink.branch_off(snapshot, self.decided, &self.history);
        }
    }

    /// All tasks have finished: what the savepoint holds is committed.
    fn judge_stop(&mut self, now: VirtualTime, setup: &Setup, report: &mut Report) {
        for promise in self.promises.take() {
            self.judge_promise(now, promise, setup, report);
        }
    }

    /// The job goes back, or one region of it: what is younger than the restore point must never be
    /// seen.
    fn on_restore(
        &mut self,
        now: VirtualTime,
        (region, chosen): (Option<RegionId>, Option<CheckpointId>),
        setup: &Setup,
        report: &mut Report,
    ) {
        let (triggered, decided) = (self.triggered, self.decided);
        let abandoned = Abandoned { restored: chosen, triggered, decided };
        match region {
            None => {
                self.running.fill(true);
                self.abandoned.fill(abandoned);
                self.promises.clear();
            }
            Some(region) => {
                self.running[region.index()] = true;
                self.abandoned[region.index()] = abandoned;
                self.promises.clear_region(region, setup);
            }
        }
        let mut dropped = Vec::new();
        for (operator, sink) in self.sinks.iter_mut().enumerate() {
            let operator = OperatorId(operator as u32);
            if region.is_none() {
                sink.expected.retain(|(checkpoint, _)| Some(*checkpoint) <= chosen);
            }
            let first = sink.first_unsettled();
            for (&(checkpoint, subtask), held) in sink.transactions.range_mut((first, 0)..) {
                let transaction = Transaction { operator, subtask, checkpoint };
                if region.is_some_and(|region| region_of(transaction, setup) != region) {
                    continue;
                }
                match held.state {
                    TransactionState::Open | TransactionState::Expired
                        if Some(checkpoint) > chosen =>
                    {
                        held.state = TransactionState::Void;
                    }
                    TransactionState::Aborted if Some(checkpoint) <= chosen => {
                        dropped.push(transaction);
                    }
                    _ => {}
                }
            }
        }
        for transaction in dropped {
            self.report_dropped(now, transaction, setup, report);
        }
    }

    /// What was decided becomes visible, within a bound while nothing disturbs.
    pub(super) fn judge_promises(
        &mut self,
        now: VirtualTime,
        weather: &Weather,
        setup: &Setup,
        report: &mut Report,
    ) {
        while let Some(promise) = self.promises.take_overdue(now, weather, setup) {
            self.judge_promise(now, promise, setup, report);
        }
    }

    fn judge_promise(
        &mut self,
        now: VirtualTime,
        promise: Promise,
        setup: &Setup,
        report: &mut Report,
    ) {
        self.judged += 1;
        let operator = setup.graph.operator(promise.subtask);
        let index = setup.graph.index_in_operator(promise.subtask);
        let sink = &self.sinks[operator.index()];
        let open = sink
            .unsettled(promise.checkpoint)
            .find(|((_, subtask), held)| *subtask == index && held.is_awaited());
        if let Some((&(checkpoint, subtask), _)) = open {
            let transaction = Transaction { operator, subtask, checkpoint };
            let what = (NAME, Class::Loss, "decided and left uncommitted");
            report.add(what, now, subject(transaction), || {
                format!(
                    "{} is not committed, although {} was told at {} that {} is complete",
                    name(transaction, setup),
                    setup.graph.subtask_name(promise.heard),
                    promise.made,
                    promise.checkpoint
                )
            });
        }
    }

    /// What must be visible of a sink once everything up to a durable checkpoint is committed;
    /// `None` if nobody can tell.
    pub(super) fn expect(
        &mut self,
        now: VirtualTime,
        checkpoint: CheckpointId,
        operator: OperatorId,
        visible: Option<Fingerprint>,
        setup: &Setup,
        report: &mut Report,
    ) {
        if !setup.is_transactional(operator) {
            return;
        }
        // A plain savepoint decides nothing until somebody starts from it: if the job goes back
        // behind it instead, its transactions are aborted.
        if self.plain_savepoints.contains(&checkpoint) && Some(checkpoint) > self.decided {
            return;
        }
        // Nobody commits any more what is on another branch.
        if !self.history.passes(checkpoint) {
            return;
        }
        if self.decided.is_some_and(|to| checkpoint <= to && !self.history.leads(checkpoint, to)) {
            return;
        }
        let sink = &mut self.sinks[operator.index()];
        if sink.settled >= Some(checkpoint) {
            return;
        }
        // Completion may come out of order; the later one covers the earlier.
        if sink.expected.back().is_none_or(|(last, _)| *last < checkpoint) {
            sink.expected.push_back((checkpoint, visible));
        }
        self.settle(now, operator, setup, report);
    }

    fn settle(
        &mut self,
        now: VirtualTime,
        operator: OperatorId,
        setup: &Setup,
        report: &mut Report,
    ) {
        let (sink, history) = (&mut self.sinks[operator.index()], &self.history);
        while let Some(&(checkpoint, expected)) = sink.expected.front() {
            let mut visible = sink.visible_settled;
            let unsettled = sink.unsettled(checkpoint);
            for (_, held) in unsettled.filter(|((of, _), _)| history.leads(*of, checkpoint)) {
                match held.state {
                    TransactionState::Open | TransactionState::Expired => return,
                    TransactionState::Committed => visible += held.contents,
                    TransactionState::Aborted | TransactionState::Void | TransactionState::Left => {
                    }
                }
            }
            sink.expected.pop_front();
            (sink.settled, sink.visible_settled) = (Some(checkpoint), visible);
            let Some(expected) = expected else { continue };
            self.judged += 1;
            if visible != expected {
                let class = Class::of_counts(visible.count, expected.count, Class::Loss);
                let subject = Subject::operator(operator).at(checkpoint);
                report.add((NAME, class, "visible after a commit"), now, subject, || {
                    format!(
                        "{} shows {} when {checkpoint} is committed; the checkpoint has {}",
                        setup.name(operator),
                        order::records(visible.count),
                        expected.count,
                    )
                });
            }
        }
    }

    /// What each sink shows now: the contents of committed transactions, or the set of written
    /// identities.
    pub(super) fn shown(&self, setup: &Setup) -> Vec<Shown> {
        let shown = |operator: OperatorId| {
            let sink = &self.sinks[operator.index()];
            let contents = match setup.is_transactional(operator) {
                true => sink.visible,
                false => sink.written.distinct,
            };
            Shown { operator, contents }
        };
        setup.sinks().map(shown).collect()
    }

    /// The job has finished, and this is what the reference has given to a sink.
    pub(super) fn judge_total(
        &mut self,
        now: VirtualTime,
        operator: OperatorId,
        total: Fingerprint,
        setup: &Setup,
        report: &mut Report,
    ) {
        let sink = &self.sinks[operator.index()];
        let options = &setup.config.checkpointing;
        let exactly_once = options.exactly_once;
        // Without a final checkpoint nobody commits what came after the last one.
        let all = options.checkpoints_after_tasks_finish && options.interval.is_some();
        let (is, holds) = match setup.config.roles[operator.index()] {
            Role::Source { .. } | Role::Inner => return,
            Role::TransactionalSink => {
                let total = total + sink.repeated;
                let (shown, should) = (sink.visible.count, total.count);
                let holds = match (exactly_once, all) {
                    (true, true) => sink.visible == total,
                    (true, false) => shown <= should,
                    (false, true) => shown >= should,
                    (false, false) => true,
                };
                (sink.visible, holds)
            }
            Role::IdempotentSink | Role::AtLeastOnceSink => {
                // Every write adds at least nothing to the set: the set is the stronger claim.
                let Written { distinct, writes, joined, .. } = sink.written;
                debug_assert!(writes >= distinct.count);
                // A pair of copies on both sides is joined more than once, under one identity; the
                // sum over all of them is what the sink's state is compared with.
                let repeats = joined && 0 < distinct.count && distinct.count < total.count;
                (distinct, distinct == total || repeats)
            }
        };
        self.judged += 1;
        if !holds {
            let class = Class::of_counts(is.count, total.count, Class::Loss);
            let subject = Subject::operator(operator);
            report.add((NAME, class, "visible at the end"), now, subject, || {
                format!(
                    "{} shows {} at the end; the sources hold what makes {}",
                    setup.name(operator),
                    order::records(is.count),
                    total.count
                )
            });
        }
    }

    /// The end of the run. When nothing is under way any more, a transaction that is open is open
    /// until it times out, if ever; while a job goes on, so is one of an attempt that was replaced
    /// long ago. Readers, which stop at the last stable position, wait behind it.
    pub(super) fn judge_open(
        &mut self,
        (now, end): (VirtualTime, Option<JobEnd>),
        weather: &Weather,
        oracle: &dyn RestoreOracle,
        setup: &Setup,
        report: &mut Report,
    ) {
        let options = &setup.config.checkpointing;
        let commits_all = options.checkpoints_after_tasks_finish && options.interval.is_some();
        let over = match end {
            Some(JobEnd::Finished) if commits_all => true,
            Some(JobEnd::StoppedWithSavepoint) => true,
            None => false,
            // A job that fails or is cancelled leaves its last transactions to the timeout, and so
            // does one that ends without a final checkpoint.
            Some(JobEnd::Finished | JobEnd::Failed | JobEnd::Stopped | JobEnd::Canceled) => return,
        };
        // Who had finished before a stop, without a checkpoint, left its last one open.
        let cut = |owner: SubtaskId| self.stop.as_ref().is_some_and(|(_, cut)| cut[owner.index()]);
        for operator in setup.sinks() {
            if !setup.is_transactional(operator) {
                continue;
            }
            let Some(outside) = oracle.outside(operator) else { continue };
            self.judged += 1;
            // Replaced so long ago that its successor has had time to clean up.
            let left = |it: &&OpenTransaction| {
                let owner = owner_of(operator, it.subtask, setup);
                if over && (commits_all || cut(owner)) {
                    return true;
                }
                let (newest, since) = self.newest[owner.index()];
                it.attempt < newest && weather.is_overdue(since, setup.config.settle, now)
            };
            let Some(open) = outside.open.iter().find(left) else {
                continue;
            };
            let what = match outside.hidden.count {
                0 => (NAME, Class::Leak, "a transaction is left open"),
                _ => (NAME, Class::Stuck, "readers wait behind an open transaction"),
            };
            report.add(what, now, Subject::operator(operator), || {
                let OpenTransaction { subtask, attempt, begun } = *open;
                let name = setup.name(operator);
                let hidden = match outside.hidden.count {
                    0 => String::new(),
                    count => format!("; {} behind it stay hidden", order::records(count)),
                };
                format!(
                    "{name}[{subtask}] opened a transaction at {begun} (attempt {}) that nobody \
                     commits or aborts{hidden}",
                    attempt.0
                )
            });
        }
    }

    /// The end of the run: at the end of a finished job, nothing decided may be open.
    pub(super) fn finish(
        &mut self,
        now: VirtualTime,
        end: Option<JobEnd>,
        weather: &Weather,
        setup: &Setup,
        report: &mut Report,
    ) {
        self.judge_promises(now, weather, setup, report);
        if end == Some(JobEnd::Finished) {
            for promise in self.promises.take() {
                self.judge_promise(now, promise, setup, report);
            }
        }
    }
}

/// The subtask of the job as it is spread now that answers for what this one has left.
fn owner_of(operator: OperatorId, subtask: u32, setup: &Setup) -> SubtaskId {
    let layout = setup.layout();
    layout.subtask(operator, subtask % layout.parallelism(operator))
}

fn region_of(transaction: Transaction, setup: &Setup) -> RegionId {
    let owner = owner_of(transaction.operator, transaction.subtask, setup);
    setup.graph.regions().of(owner)
}

fn key(transaction: Transaction) -> (CheckpointId, u32) {
    (transaction.checkpoint, transaction.subtask)
}

fn subject(transaction: Transaction) -> Subject {
    Subject::operator(transaction.operator).at(transaction.checkpoint)
}

fn name(transaction: Transaction, setup: &Setup) -> String {
    let Transaction { operator, subtask, checkpoint } = transaction;
    format!("the transaction of {}[{subtask}] for {checkpoint}", setup.name(operator))
}
