//! Check *state*: every checkpoint, and the end, is what an undisturbed run would have.
//!
//! The reference runs the job sequentially: one instance of each operator, no channel, no barrier.
//! When checkpoint n becomes durable it is advanced to the source positions of n, and the
//! fingerprints of its operators are kept as version n. A shadow restore (all parts of n, read from
//! storage only, then the in-flight records) must give version n. At the end of a finished job the
//! sinks must have shown what the reference has written. And no window is open in a snapshot behind a
//! watermark that its subtask has passed on before.
//!
//! Sources are watched all the time: after a restore a split goes on where the cut was, and no
//! offset is skipped or repeated within an execution. A job that was stopped with a savepoint has read
//! what is in the savepoint, and nothing more: what is started from it would emit that again.

use std::collections::BTreeMap;
use std::fmt;

use cutline::ids::{CheckpointId, LayoutId, OperatorId, SubtaskId};
use cutline::job::key_groups::owner_of;
use cutline::job::rescale::DistributionMode;
use cutline::message::SnapshotKind;
use cutline::operator::{Fingerprint, Operator, Record, Reference, SplitId, StateEntry};
use cutline::time::{VirtualDuration, VirtualTime};

use super::event_time::{EventTime, Reached};
use super::ledger::Ledger;
use super::output::Output;
use super::violation::{Class, Report, Subject};
use super::{Role, Setup, ShadowState};

pub(super) const NAME: &str = "state";

/// What the entry of a window is called that has not fired; its path is its end.
const OPEN: &str = "open";

/// Makes the single instance of an operator, with no state: what the reference runs.
pub type OperatorFactory = Box<dyn Fn(OperatorId) -> Box<dyn Operator> + Send>;

pub(super) struct State {
    judged: u64,
    factory: OperatorFactory,
    /// Made when it is first needed: many runs never complete a checkpoint.
    reference: Option<Reference>,
    /// Where the reference stands, by split.
    at: Vec<u64>,
    /// The spread of the job that the reference has as many copies of broadcast records for.
    layout: LayoutId,
    versions: Vec<Version>,
    /// How often the job was spread anew.
    spread: u32,
    /// States of subtasks whose input had ended, by that number, operator and their own number: once
    /// they have finished, checkpoints hold nothing of them.
    last_states: BTreeMap<(u32, OperatorId, u32), Vec<Vec<u8>>>,
    /// The snapshot that a user was told of last.
    taken: Option<CheckpointId>,
    /// `None`: no window is ever overdue.
    pub(super) event_time: Option<EventTime>,
}

/// The reference at the positions of a durable checkpoint.
#[derive(Debug)]
struct Version {
    checkpoint: CheckpointId,
    /// How the job was spread.
    layout: LayoutId,
    /// How often the job had been spread anew.
    spread: u32,
    /// By operator.
    fingerprints: Vec<Fingerprint>,
    /// How far event time was, by operator: the job itself may have lagged behind.
    watermarks: Vec<Option<VirtualTime>>,
    /// How far event time was in the job, at the cuts of its subtasks.
    reached: Reached,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("judged", &self.judged).finish_non_exhaustive()
    }
}

impl State {
    pub(super) fn new(setup: &Setup, factory: OperatorFactory) -> Self {
        let at = vec![0; setup.config.roles.iter().map(|role| role.splits() as usize).sum()];
        Self {
            judged: 0,
            factory,
            reference: None,
            at,
            layout: LayoutId(0),
            versions: Vec::new(),
            spread: 0,
            last_states: BTreeMap::new(),
            taken: None,
            event_time: EventTime::of(setup),
        }
    }

    /// Emitted offsets, and operators compared with the reference.
    pub(super) fn judged(&self) -> u64 {
        self.judged
    }

    /// A record that cannot be late is not dropped.
    pub(super) fn on_dropped_late(
        &mut self,
        now: VirtualTime,
        subtask: SubtaskId,
        record: &Record,
        setup: &Setup,
        report: &mut Report,
    ) {
        self.judged += 1;
        if setup.config.windows.as_ref().is_some_and(|windows| windows.never_late) {
            let what = (NAME, Class::Loss, "dropped as late");
            let subject = Subject::subtask(subtask).with_record(record.split, record.offset);
            report.add(what, now, subject, || {
                let name = setup.graph.subtask_name(subtask);
                let Record { split, offset, event_time, .. } = record;
                format!(
                    "{name} dropped offset {offset} of {split} of {event_time} as late, although no \
                     watermark may have come before it"
                )
            });
        }
    }

    /// A source emitted.
    #[inline]
    pub(super) fn on_emitted(
        &mut self,
        now: VirtualTime,
        subtask: SubtaskId,
        (split, offset): (SplitId, u64),
        ledger: &mut Ledger,
        setup: &Setup,
        report: &mut Report,
    ) {
        self.judged += 1;
        let due = ledger.on_emitted(subtask, split, offset);
        if offset != due && ledger.origin_known {
            report_offset(now, subtask, (split, offset), due, setup, report);
        }
    }

    /// A checkpoint became durable at these positions.
    pub(super) fn on_durable(&mut self, checkpoint: CheckpointId, ledger: &Ledger, setup: &Setup) {
        let Some(line) = ledger.line(checkpoint) else { return };
        let drained = line.kind == SnapshotKind::SavepointTerminate;
        let layout = setup.layout;
        let reference = self.reference_at(&line.positions, layout, ledger, setup);
        reference.release();
        match drained {
            true => reference.finish(),
            false => reference.settle(),
        }
        let fingerprints = setup.operators().map(|it| reference.fingerprint(it)).collect();
        let watermarks = reference.watermarks();
        let reached = self.event_time.as_mut().map(|it| it.at(checkpoint)).unwrap_or_default();
        let spread = self.spread;
        let version = Version { checkpoint, layout, spread, fingerprints, watermarks, reached };
        self.versions.push(version);
        if drained {
            self.begin_anew();
        }
    }

    /// A reference that has seen the end of its input cannot be advanced any more.
    fn begin_anew(&mut self) {
        self.reference = None;
        self.at.fill(0);
    }

    /// Subsumed checkpoints are not restored any more.
    pub(super) fn forget(&mut self, checkpoint: CheckpointId) {
        self.versions.retain(|version| version.checkpoint != checkpoint);
    }

    /// What the transactional sinks must show with a checkpoint of which storage cannot be asked:
    /// known only if nothing was in flight on the way to them.
    pub(super) fn written(
        &self,
        checkpoint: CheckpointId,
        operator: OperatorId,
        ledger: &Ledger,
        setup: &Setup,
    ) -> Option<Fingerprint> {
        let nothing_in_flight = ledger.kept(checkpoint)?.in_flight.is_empty();
        let version = self.versions.iter().find(|version| version.checkpoint == checkpoint)?;
        // What the reference has emitted may yet be to come in the job.
        let waits = setup.config.windows.is_some() || setup.config.holds_back;
        let in_step = nothing_in_flight && !waits;
        let exact = setup.config.checkpointing.exactly_once && in_step;
        exact.then(|| version.fingerprints[operator.index()])
    }

    /// The job is spread anew. What subtasks of an operator had that has changed says nothing of those
    /// that have their numbers from now on; older snapshots may still be asked for it.
    pub(super) fn on_rescaled(&mut self, before: LayoutId, now: LayoutId, setup: &Setup) {
        let (before, now) = (setup.graph.layout(before), setup.graph.layout(now));
        let last = self.last_states.range((self.spread, OperatorId(0), 0)..);
        let next = self.spread + 1;
        let stay: Vec<_> = last
            .filter(|((_, operator, _), _)| !before.differs(now, *operator))
            .map(|(&(_, operator, number), states)| ((next, operator, number), states.clone()))
            .collect();
        self.spread = next;
        self.last_states.extend(stay);
    }

    /// The reference at these positions. Positions of completed checkpoints grow; if they do not
    /// (an older checkpoint completed late), the reference starts again; so too if what each subtask
    /// has a copy of is at another number of them.
    fn reference_at(
        &mut self,
        positions: &[u64],
        layout: LayoutId,
        ledger: &Ledger,
        setup: &Setup,
    ) -> &mut Reference {
        let copied = |it: OperatorId| setup.has_list_state(it, DistributionMode::Broadcast);
        let spread_anew = layout != self.layout && setup.operators().any(copied);
        if spread_anew || self.at.iter().zip(positions).any(|(at, to)| at > to) {
            self.begin_anew();
        }
        self.layout = layout;
        let (job, factory) = (setup.graph.layout(layout).job(), &self.factory);
        let reference = self.reference.get_or_insert_with(|| Reference::fresh(job, factory));
        for ((split, at), &to) in ledger.splits.ids().iter().zip(&mut self.at).zip(positions) {
            if *at < to {
                reference.advance(*split, to);
                *at = to;
            }
        }
        reference
    }

    /// Compares what a restore from storage gives with the reference at the cut. Tells the output
    /// check what the sinks believe to have written. `false` if the state cannot be read.
    pub(super) fn judge_shadow(
        &mut self,
        now: VirtualTime,
        checkpoint: CheckpointId,
        shadow: ShadowState,
        (ledger, setup): (&Ledger, &Setup),
        output: &mut Output,
        report: &mut Report,
    ) -> Result<(), cutline::operator::RestoreError> {
        let version = self.versions.iter().position(|version| version.checkpoint == checkpoint);
        let (layout, spread) = version.map_or((setup.layout, self.spread), |version| {
            let Version { layout, spread, .. } = self.versions[version];
            (layout, spread)
        });
        let job = setup.graph.layout(layout).job();
        let mut parts = vec![Vec::new(); job.operators().len()];
        let mut subtasks = vec![0_u32; job.operators().len()];
        let mut unknown = vec![false; job.operators().len()];
        for (operator, mut states) in shadow.parts {
            let number = subtasks[operator.index()];
            subtasks[operator.index()] += 1;
            let subtask = (operator, number);
            let last = (spread, operator, number);
            if shadow.ended.contains(&subtask) {
                self.last_states.insert(last, states.clone());
            } else if shadow.finished.contains(&subtask) {
                match self.last_states.get(&last) {
                    Some(last) => states.clone_from(last),
                    // It did not wait for a final checkpoint: what it had is nowhere.
                    None => unknown[operator.index()] = true,
                }
            }
            parts[operator.index()].extend(states);
        }
        let mut restored = Reference::restored(job, &self.factory, checkpoint, &parts)?;
        for operator in setup.sinks() {
            let written = restored.fingerprint(operator);
            let known = !unknown[operator.index()];
            output.expect(now, checkpoint, operator, known.then_some(written), setup, report);
        }
        if let Some(version) = version {
            self.judge_windows(now, version, &restored, setup, report);
        }
        for in_flight in &shadow.in_flight {
            restored.inject(in_flight.operator, in_flight.input, &in_flight.record);
        }
        let Some(version) = version else { return Ok(()) };
        restored.release();
        restored.settle_at(&self.versions[version].watermarks);
        let operators = setup.operators().filter(|operator| !setup.is_timed(*operator));
        for operator in operators.filter(|operator| !unknown[operator.index()]) {
            self.judged += 1;
            let is = restored.fingerprint(operator);
            let should = self.versions[version].fingerprints[operator.index()];
            let holds = match setup.config.checkpointing.exactly_once {
                true => is == should,
                false => is.count >= should.count,
            };
            if !holds {
                let whole = self.explain(checkpoint, (operator, layout), &restored, ledger, setup);
                report_state(now, checkpoint, operator, (is, should), whole, setup, report);
            }
        }
        Ok(())
    }

    /// What was due had been done when a watermark was passed on.
    fn judge_windows(
        &mut self,
        now: VirtualTime,
        version: usize,
        restored: &Reference,
        setup: &Setup,
        report: &mut Report,
    ) {
        let Version { checkpoint, layout, ref reached, .. } = self.versions[version];
        self.judged += reached.len() as u64;
        let layout = setup.graph.layout(layout);
        let by_operator =
            reached.chunk_by(|(a, _), (b, _)| setup.graph.operator(*a) == setup.graph.operator(*b));
        for reached in by_operator {
            let operator = setup.graph.operator(reached[0].0);
            let vertex = &layout.job().operators()[operator.index()];
            restored.visit(operator, &mut |entry| {
                let (Some(key), OPEN) = (entry.key, entry.what) else { return };
                let owner = owner_of(key, vertex.max_parallelism, vertex.parallelism);
                let owner = layout.subtask(operator, owner);
                let Some(&(subtask, watermark)) = reached.iter().find(|it| it.0 == owner) else {
                    return; // Nothing is known of it.
                };
                let end = VirtualTime(entry.path);
                if end > watermark + VirtualDuration(1) {
                    return;
                }
                let what = (NAME, Class::Loss, "a window is open behind the watermark");
                report.add(what, now, Subject::subtask(subtask).at(checkpoint), || {
                    let name = setup.graph.subtask_name(subtask);
                    format!(
                        "{name} had passed the watermark {watermark} on when {checkpoint} was taken of \
                         it, but its window of key {key} until {end} was open"
                    )
                });
            });
        }
    }

    /// Where restored state and reference differ, entry by entry.
    fn explain(
        &mut self,
        checkpoint: CheckpointId,
        (operator, layout): (OperatorId, LayoutId),
        restored: &Reference,
        ledger: &Ledger,
        setup: &Setup,
    ) -> Option<Difference> {
        let positions = ledger.kept(checkpoint)?.positions.clone();
        let reference = self.reference_at(&positions, layout, ledger, setup);
        reference.release();
        reference.settle();
        Difference::between(restored, reference, operator)
    }

    /// A user was told that what was asked for is done.
    pub(super) fn on_taken(&mut self, snapshot: Option<CheckpointId>) {
        self.taken = snapshot;
    }

    /// The job has stopped with a savepoint.
    pub(super) fn judge_stop(
        &mut self,
        now: VirtualTime,
        ledger: &Ledger,
        setup: &Setup,
        report: &mut Report,
    ) {
        let Some(kept) = self.taken.and_then(|savepoint| ledger.kept(savepoint)) else { return };
        let positions = ledger.positions.iter().zip(&kept.positions);
        for (split, (&read, &stored)) in ledger.splits.ids().iter().zip(positions) {
            self.judged += 1;
            if read <= stored {
                continue;
            }
            let operator = OperatorId(split.source());
            let subject = Subject::operator(operator).at(kept.checkpoint);
            let what = (NAME, Class::Duplication, "read on behind the savepoint of a stop");
            report.add(what, now, subject.with_record(*split, stored), || {
                format!(
                    "{} has read {split} to {read} when the job has stopped, and {} says {stored}",
                    setup.name(operator),
                    kept.checkpoint
                )
            });
        }
    }

    /// The job has finished: the sinks must have shown everything. With unbounded sources there is
    /// no total to compare with. An engine that does not report what sources emit is not asked
    /// whether they came to their end: what the sinks show says it.
    pub(super) fn judge_end(
        &mut self,
        now: VirtualTime,
        (ledger, setup): (&Ledger, &Setup),
        knows_positions: bool,
        output: &mut Output,
        report: &mut Report,
    ) {
        let ends = setup.config.roles.iter().flat_map(|role| {
            let (splits, records) = match *role {
                Role::Source { splits, records } => (splits as usize, records),
                _ => (0, None),
            };
            std::iter::repeat_n(records, splits)
        });
        let Some(ends) = ends.collect::<Option<Vec<u64>>>() else { return };
        for ((split, &at), &end) in ledger.splits.ids().iter().zip(&ledger.positions).zip(&ends) {
            self.judged += 1;
            if knows_positions && at < end {
                let operator = Subject::operator(OperatorId(split.source()));
                let subject = operator.with_record(*split, at);
                let what = (NAME, Class::Loss, "finished before the end of a split");
                report.add(what, now, subject, || {
                    format!("the job has finished, but {split} was read to {at} of {end}")
                });
            }
        }
        let reference = self.reference_at(&ends, setup.layout, ledger, setup);
        reference.finish();
        for operator in setup.sinks().filter(|operator| !setup.is_timed(*operator)) {
            let total = reference.fingerprint(operator);
            output.judge_total(now, operator, total, setup, report);
        }
        self.begin_anew();
    }
}

#[cold]
#[inline(never)]
fn report_offset(
    now: VirtualTime,
    subtask: SubtaskId,
    (split, offset): (SplitId, u64),
    due: u64,
    setup: &Setup,
    report: &mut Report,
) {
    let (class, rule) = match offset < due {
        true => (Class::Duplication, "a source went back"),
        false => (Class::Loss, "a source skipped records"),
    };
    let subject = Subject::subtask(subtask).with_record(split, offset.min(due));
    report.add((NAME, class, rule), now, subject, || {
        let name = setup.graph.subtask_name(subtask);
        format!("{name} emitted offset {offset} of {split}, but {due} was due")
    });
}

fn report_state(
    now: VirtualTime,
    checkpoint: CheckpointId,
    operator: OperatorId,
    (is, should): (Fingerprint, Fingerprint),
    whole: Option<Difference>,
    setup: &Setup,
    report: &mut Report,
) {
    let class = match &whole {
        Some(difference) => difference.class(),
        None => Class::of_counts(is.count, should.count, Class::InconsistentCut),
    };
    let subject = Subject::operator(operator).at(checkpoint);
    let rule = setup.config.roles[operator.index()].name();
    report.add((NAME, class, rule), now, subject, || {
        let name = setup.name(operator);
        let detail = whole.map_or_else(String::new, |difference| format!(": {difference}"));
        format!(
            "a restore of {checkpoint} gives {name} a state of {} records, the reference has \
             {}{detail}",
            is.count, should.count
        )
    });
}

/// How two states of one operator differ.
#[derive(Debug)]
struct Difference {
    /// Entries that differ, with the count that is and the count that should be.
    entries: Vec<(EntryKey, u64, u64)>,
}

type EntryKey = (&'static str, Option<u32>, Option<SplitId>, u64);

impl Difference {
    const SHOWN_MAX: usize = 3;
    /// What a transactional sink has yet to commit is in its state, but no part of what it has
    /// processed: the reference, which takes no checkpoint, has it all open.
    const BESIDES: [&str; 2] = ["open", "pending"];

    fn between(is: &Reference, should: &Reference, operator: OperatorId) -> Option<Self> {
        let mut entries: BTreeMap<StateEntry, i64> = BTreeMap::new();
        is.visit(operator, &mut |entry| *entries.entry(entry).or_default() += 1);
        should.visit(operator, &mut |entry| *entries.entry(entry).or_default() -= 1);
        entries.retain(|entry, _| !Self::BESIDES.contains(&entry.what));
        let mut counts: BTreeMap<EntryKey, (u64, u64)> = BTreeMap::new();
        for (entry, balance) in entries.into_iter().filter(|(_, balance)| *balance != 0) {
            let key = (entry.what, entry.key, entry.split, entry.path);
            let (is, should) = counts.entry(key).or_default();
            // What has no record yet, such as a split that was not begun, counts as one entry.
            let records = entry.count.max(1) * balance.unsigned_abs();
            *(if balance > 0 { is } else { should }) += records;
        }
        let entries: Vec<_> =
            counts.into_iter().map(|(key, (is, should))| (key, is, should)).collect();
        (!entries.is_empty()).then_some(Self { entries })
    }

    /// Less somewhere and more elsewhere is a state of two times. A split that is to be read from
    /// further on has lost what is in between.
    fn class(&self) -> Class {
        let compare = |((what, ..), is, should): &(EntryKey, u64, u64)| match *what {
            "split" if *is > 0 && *should > 0 => should.cmp(is),
            _ => is.cmp(should),
        };
        let less = self.entries.iter().any(|entry| compare(entry).is_lt());
        let more = self.entries.iter().any(|entry| compare(entry).is_gt());
        match (less, more) {
            (true, true) => Class::InconsistentCut,
            (true, false) => Class::Loss,
            (false, true) => Class::Duplication,
            (false, false) => Class::Order,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, ((what, key, split, _), is, should)) in
            self.entries.iter().take(Self::SHOWN_MAX).enumerate()
        {
            f.write_str(if index == 0 { "" } else { "; " })?;
            f.write_str(what)?;
            if let Some(key) = key {
                write!(f, " {key}")?;
            }
            if let Some(split) = split {
                write!(f, " of {split}")?;
            }
            match is == should {
                true => write!(f, ": {is}, as it should be, but in another order")?,
                false => write!(f, ": {is} instead of {should}")?,
            }
        }
        let more = self.entries.len().saturating_sub(Self::SHOWN_MAX);
        if more > 0 {
            write!(f, "; and {more} more")?;
        }
        Ok(())
    }
}
