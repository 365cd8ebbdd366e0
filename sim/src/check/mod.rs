//! The checks: what must hold in every run, judged from observations alone, while the run goes on.
//!
//! | check | promise |
//! | --- | --- |
//! | `cut` | no record crosses a completed checkpoint's line twice or is forgotten under it |
//! | `order` | channels are FIFO, barriers hold, a restore begins where the cut ended |
//! | `state` | every checkpoint, and the end, is what an undisturbed run would have |
//! | `output` | the outside sees what the sinks promise |
//! | `restore` | the job goes back to its newest durable checkpoint, and can |
//! | `storage` | nothing referred to is deleted, nothing else is left |
//! | `policy` | triggers, timeouts and failures follow the options |
//! | `liveness` | while nothing disturbs, things end |
//!
//! What restoring and deleting need beyond observations comes from a [`RestoreOracle`]. An engine
//! without one gets "not applicable" for these checks, never "passed"; a check that judged nothing
//! is vacuous, not passed.
//!
//! A data-plane observation costs one line of a flat table and a few multiplications: built-in
//! checks are called statically, nothing is formatted unless a violation is kept.

mod config;
mod cut;
mod event_time;
mod ledger;
mod liveness;
mod moved;
mod oracle;
mod order;
mod output;
mod policy;
mod restore;
mod situations;
mod state;
mod statistics;
mod storage;
mod verdict;
mod violation;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::fmt;

use cutline::ids::{ChannelId, CheckpointId, LayoutId, OperatorId, SubtaskId};
use cutline::job::rescale::DistributionMode;
use cutline::job::{ExecutionGraph, Layout};
use cutline::operator::Record;
use cutline::step::Step;
use cutline::time::VirtualTime;

use crate::observe::{JobEnd, Observation};

pub use config::{CheckConfig, Role, Windows};
pub use oracle::{
    InFlight, NoOracle, OpenTransaction, Outside, RestoreOracle, ShadowError, ShadowState,
};
pub use situations::{Situation, Strike, Watch};
pub use state::OperatorFactory;
pub use statistics::{Checkpoints, Durations, Orphans, Records, Statistics};
pub use verdict::{Finding, Outcome, Shown, Verdict};
pub use violation::{Class, Report, Subject, Violation};

/// A check of your own: give it to [`Checks::add`].
pub trait Check {
    /// The name in reports.
    fn name(&self) -> &'static str;

    /// Looks at one observation of the run, in the order in which things happened.
    fn observe(&mut self, now: VirtualTime, observation: &Observation, report: &mut Report);

    /// The run is over.
    fn finish(&mut self, now: VirtualTime, report: &mut Report);

    /// How many observations it has judged so far; a check that judged none is vacuous.
    fn judged(&self) -> u64;
}

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing is under way any more.
    Quiescent,
    /// The run's virtual time is up.
    TimeUp,
    /// The run has used up its kernel events.
    BudgetSpent,
}

/// Graph and configuration: what every check may look at.
#[derive(Clone, Debug)]
struct Setup {
    graph: ExecutionGraph,
    config: CheckConfig,
    /// How the job is spread now.
    layout: LayoutId,
}

impl Setup {
    fn name(&self, operator: OperatorId) -> &str {
        &self.graph.job().operators()[operator.index()].name
    }

    fn layout(&self) -> &Layout {
        self.graph.layout(self.layout)
    }

    /// The subtasks of the job as it is spread now.
    fn present(&self) -> std::ops::Range<usize> {
        self.layout().indices()
    }

    /// Whether what comes on a channel has gone round a loop.
    fn goes_round(&self, channel: ChannelId) -> bool {
        let edge = self.graph.channels()[channel.index()].edge;
        !self.graph.job().edges()[edge.0 as usize].leads_on()
    }

    /// Whether what an operator gets depends on when watermarks came.
    fn is_timed(&self, operator: OperatorId) -> bool {
        self.config.windows.as_ref().is_some_and(|windows| windows.timed[operator.index()])
    }

    /// Whether an operator has a list state that is dealt out so.
    fn has_list_state(&self, operator: OperatorId, mode: DistributionMode) -> bool {
        let modes = self.config.list_states.get(operator.index());
        modes.is_some_and(|modes| modes.contains(&mode))
    }

    fn is_transactional(&self, operator: OperatorId) -> bool {
        self.config.roles[operator.index()] == Role::TransactionalSink
    }

    /// Whether a subtask reads a source that ends, in a job with one that does not.
    fn ends_beside_unbounded(&self, subtask: SubtaskId) -> bool {
        let role = self.config.roles[self.graph.operator(subtask).index()];
        let unbounded = |role: &Role| matches!(role, Role::Source { records: None, .. });
        matches!(role, Role::Source { records: Some(_), .. })
            && self.config.roles.iter().any(unbounded)
    }

    fn operators(&self) -> impl Iterator<Item = OperatorId> + use<> {
        (0..self.config.roles.len() as u32).map(OperatorId)
    }

    fn sinks(&self) -> impl Iterator<Item = OperatorId> {
        let roles = (0..).map(OperatorId).zip(&self.config.roles);
        roles.filter(|(_, role)| role.is_sink()).map(|(operator, _)| operator)
    }
}

/// A question to storage that an observation has raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// It became durable: what does it refer to, and can it be read?
    Durable(CheckpointId),
    /// It was chosen, or newer ones were not.
    Chosen(Option<CheckpointId>),
}

/// All checks of one run.
pub struct Checks {
    setup: Setup,
    ledger: ledger::Ledger,
    weather: liveness::Weather,
    cut: cut::Cut,
    order: order::Order,
    moved: moved::Moved,
    state: state::State,
    output: output::Output,
    restore: restore::Restore,
    storage: storage::Storage,
    policy: policy::Policy,
    liveness: liveness::Liveness,
    situations: situations::Situations,
    counter: statistics::Counter,
    added: Vec<Box<dyn Check>>,
    added_situations: Vec<(Box<dyn Watch>, u64)>,
    report: Report,
    /// When it was last looked for what is overdue.
    judged_at: Option<VirtualTime>,
    questions: Vec<Question>,
    /// Whether the engine has answered what it was asked about files, and about restores.
    answered: (bool, bool),
    /// Checks that the engine cannot feed.
    left_out: &'static [&'static str],
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checks").field("report", &self.report).finish_non_exhaustive()
    }
}

impl Checks {
    /// The built-in checks of a job. `factory` makes its operators once more, for the sequential
    /// reference.
    ///
    /// # Panics
    /// If there is not one role for each operator of the job.
    pub fn new(graph: &ExecutionGraph, config: CheckConfig, factory: OperatorFactory) -> Self {
        assert_eq!(config.roles.len(), graph.job().operators().len(), "one role an operator");
        let ledger = ledger::Ledger::new(graph, &config);
        let weather = liveness::Weather::new(config.checkpointing.timeout);
        let setup = Setup { graph: graph.clone(), config, layout: LayoutId(0) };
        Self {
            ledger,
            weather,
            cut: cut::Cut::default(),
            order: order::Order::new(&setup),
            moved: moved::Moved::default(),
            state: state::State::new(&setup, factory),
            output: output::Output::new(&setup),
            restore: restore::Restore::new(&setup),
            storage: storage::Storage::default(),
            policy: policy::Policy::default(),
            liveness: liveness::Liveness::new(&setup),
            situations: situations::Situations::new(&setup),
            counter: statistics::Counter::new(&setup),
            added: Vec::new(),
            added_situations: Vec::new(),
            report: Report::default(),
            judged_at: None,
            questions: Vec::new(),
            answered: (false, false),
            left_out: &[],
            setup,
        }
    }

    /// Adds a check of your own; it sees every observation from now on.
    pub fn add(&mut self, check: Box<dyn Check>) {
        self.added.push(check);
    }

    /// Says which checks the engine cannot feed: they are not applicable.
    ///
    /// # Panics
    /// If there is no such check, or none of those that an engine may leave out.
    pub fn leave_out(&mut self, checks: &'static [&'static str]) {
        for check in checks {
            let known = [cut::NAME, order::NAME, state::NAME, policy::NAME].contains(check);
            assert!(known, "`{check}` is not one of the checks cut, order, state and policy");
        }
        self.left_out = checks;
    }

    /// Adds a situation of your own; it sees every observation from now on.
    pub fn add_situation(&mut self, situation: Box<dyn Watch>) {
        self.added_situations.push((situation, 0));
    }

    /// Looks at one observation, in the order in which things happened.
    #[inline(always)]
    pub fn observe(&mut self, now: VirtualTime, observation: &Observation) {
        let (setup, report, ledger) = (&self.setup, &mut self.report, &mut self.ledger);
        match *observation {
            Observation::Sent { channel, ref record } => {
                self.order.on_sent(now, channel, record, ledger, setup, report);
                if !record.is_data()
                    && let Some(event_time) = &mut self.state.event_time
                {
                    event_time.on_sent(setup.graph.channels()[channel.index()].from, record);
                }
            }
            Observation::Processed { channel, ref record } => {
                self.order.on_processed(now, channel, record, ledger, setup, report);
                if setup.graph.layouts().len() > 1 {
                    self.moved.on_processed(now, channel, record, setup, report);
                }
                match record.mark() {
                    None => self.counter.statistics.records.processed += 1,
                    Some(mark) => {
                        self.situations.on_mark(mark);
                        if let Some(event_time) = &mut self.state.event_time {
                            let to = setup.graph.channels()[channel.index()].to;
                            event_time.on_mark_processed(to);
                        }
                    }
                }
            }
            Observation::SourceEmitted { subtask, split, offset } => {
                self.state.on_emitted(now, subtask, (split, offset), ledger, setup, report);
                self.counter.statistics.records.emitted += 1;
            }
            Observation::Upserted { subtask, ref record }
            | Observation::Appended { subtask, ref record } => {
                self.output.on_written(subtask, record, setup);
                self.counter.statistics.records.committed += 1;
            }
            Observation::BarrierSent { channel, checkpoint } => {
                self.on_barrier_sent(now, channel, checkpoint);
            }
            Observation::BarrierReceived { channel, checkpoint } => {
                self.on_barrier_received(now, channel, checkpoint);
            }
            Observation::Step { step, checkpoint, subtask } => {
                self.on_step(now, step, checkpoint, subtask);
            }
            Observation::Called { subtask, .. } => self.on_called(now, subtask),
            Observation::WindowFired { .. } => self.on_window_fired(now),
            Observation::DroppedLate { subtask, ref record } => {
                self.on_dropped_late(now, subtask, record);
            }
            Observation::Blocked { channel } => self.on_blocked(now, channel),
            Observation::Resumed { channel } => self.on_resumed(now, channel),
            _ => self.observe_protocol(now, observation),
        }
        if !self.added.is_empty() || !self.added_situations.is_empty() {
            self.observe_added(now, observation);
        }
    }

    /// What comes with every barrier of every channel, every step of every snapshot, and records by
    /// the thousand, goes to those alone who do something about it, in the order of
    /// [`Checks::observe_protocol`].
    #[inline(never)]
    fn on_barrier_sent(&mut self, now: VirtualTime, channel: ChannelId, checkpoint: CheckpointId) {
        self.situations.on_barrier_sent(channel);
        self.ledger.on_barrier_sent(channel, checkpoint);
        self.order.on_barrier_sent(now, channel, checkpoint, &self.setup, &mut self.report);
        self.judge_time(now);
    }

    #[inline(never)]
    fn on_barrier_received(
        &mut self,
        now: VirtualTime,
        channel: ChannelId,
        checkpoint: CheckpointId,
    ) {
        let (setup, report, ledger) = (&self.setup, &mut self.report, &mut self.ledger);
        self.situations.on_barrier_received(channel, checkpoint);
        self.order.on_barrier_received(now, channel, checkpoint, ledger, setup, report);
        let to = setup.graph.channels()[channel.index()].to;
        self.counter.on_barrier(now, to, checkpoint, setup);
        self.judge_time(now);
    }

    #[inline(never)]
    fn on_step(
        &mut self,
        now: VirtualTime,
        step: Step,
        checkpoint: Option<CheckpointId>,
        subtask: Option<SubtaskId>,
    ) {
        self.situations.on_step(step, checkpoint);
        self.judge_time(now);
        self.policy.on_step(now, step, checkpoint);
        self.counter.on_step(now, step, checkpoint, subtask);
    }

    #[inline(never)]
    fn on_called(&mut self, now: VirtualTime, subtask: SubtaskId) {
        self.situations.on_called(subtask);
        self.judge_time(now);
    }

    #[inline(never)]
    fn on_window_fired(&mut self, now: VirtualTime) {
        self.situations.on_window_fired();
        self.judge_time(now);
        self.counter.statistics.records.windows += 1;
    }

    #[inline(never)]
    fn on_dropped_late(&mut self, now: VirtualTime, subtask: SubtaskId, record: &Record) {
        self.situations.on_dropped_late();
        self.state.on_dropped_late(now, subtask, record, &self.setup, &mut self.report);
        self.judge_time(now);
        self.counter.statistics.records.late += 1;
    }

    #[inline(never)]
    fn on_blocked(&mut self, now: VirtualTime, channel: ChannelId) {
        self.situations.on_blocked(channel, &self.ledger, &self.setup);
        self.ledger.block(channel, &self.setup.graph);
        self.judge_time(now);
    }

    #[inline(never)]
    fn on_resumed(&mut self, now: VirtualTime, channel: ChannelId) {
        self.ledger.resume(channel, &self.setup.graph);
        self.judge_time(now);
    }

    /// What is overdue is seen at the next observation, whatever it is: the first of an instant,
    /// since a bound that begins at an instant is not passed in it.
    #[inline]
    fn judge_time(&mut self, now: VirtualTime) {
        if self.judged_at == Some(now) && self.report.violations().is_empty() {
            return;
        }
        self.judged_at = Some(now);
        let (setup, weather, report) = (&self.setup, &self.weather, &mut self.report);
        self.output.judge_promises(now, weather, setup, report);
        self.policy.judge_time(now, weather, setup, report);
        self.liveness.judge_time(now, (&self.ledger, weather), setup, report);
    }

    /// All that is neither data nor comes with them, neither barrier nor step.
    #[inline(never)]
    fn observe_protocol(&mut self, now: VirtualTime, observation: &Observation) {
        if let Observation::Rescaled { layout } = *observation {
            self.situations.on_rescaled(self.setup.layout, layout, &self.setup);
            self.state.on_rescaled(self.setup.layout, layout, &self.setup);
            self.setup.layout = layout;
        }
        let (setup, report, ledger) = (&self.setup, &mut self.report, &mut self.ledger);
        self.weather.observe(now, observation);
        let weather = &self.weather;
        // Situations and checks that ask what was before look first; then the books are written.
        self.situations.observe(observation, ledger, setup);
        ledger.observe(observation, &setup.graph, setup.layout);
        self.order.observe(now, observation, ledger, setup, report);
        self.cut.observe(now, observation, ledger, setup, report);
        self.moved.observe(now, observation, ledger, setup, report);
        self.output.observe(now, observation, weather, setup, report);
        self.restore.observe(now, observation, setup, report);
        self.storage.observe(now, observation, setup, report);
        self.policy.observe(now, observation, weather, setup, report);
        self.liveness.observe(now, observation, (ledger, weather), setup, report);
        self.counter.observe(now, observation, setup);
        if let Some(event_time) = &mut self.state.event_time {
            event_time.observe(observation);
        }
        match *observation {
            Observation::Durable { checkpoint } => {
                self.state.on_durable(checkpoint, ledger, setup);
                ledger.keep(checkpoint);
                self.questions.push(Question::Durable(checkpoint));
            }
            // One that the user owns may be what the next job is started from.
            Observation::Subsumed { checkpoint }
                if !self.restore.retained().any(|retained| retained == checkpoint) =>
            {
                ledger.forget(checkpoint);
                self.state.forget(checkpoint);
            }
            Observation::Adopted { checkpoint, claimed: true } => {
                for given in self.storage.give_away(checkpoint) {
                    self.restore.on_given_away(given);
                    self.situations.on_given_away();
                }
            }
            Observation::RestoreChosen { checkpoint }
            | Observation::RegionRestored { checkpoint, .. } => {
                self.questions.push(Question::Chosen(checkpoint));
            }
            Observation::ActionEnded { checkpoint, done: true, .. } => {
                self.state.on_taken(checkpoint);
            }
            Observation::JobEnded { end: JobEnd::Canceled | JobEnd::Failed }
                if self.storage.retains() =>
            {
                self.situations.on_retained();
            }
            Observation::JobEnded { end: JobEnd::StoppedWithSavepoint } => {
                self.state.judge_stop(now, ledger, setup, report);
            }
            Observation::JobEnded { end: JobEnd::Finished } => {
                let fed = !self.left_out.contains(&state::NAME);
                self.state.judge_end(now, (ledger, setup), fed, &mut self.output, report);
            }
            _ => {}
        }
    }

    #[cold]
    #[inline(never)]
    fn observe_added(&mut self, now: VirtualTime, observation: &Observation) {
        for check in &mut self.added {
            check.observe(now, observation, &mut self.report);
        }
        for (situation, count) in &mut self.added_situations {
            *count += u64::from(situation.observe(now, observation));
        }
    }

    /// Whether [`Checks::consult`] has something to ask.
    #[inline]
    pub fn has_questions(&self) -> bool {
        !self.questions.is_empty()
    }

    /// Asks what the last observations have raised. To be called after an event of the engine that
    /// left questions, before storage changes again.
    pub fn consult(&mut self, now: VirtualTime, oracle: &mut dyn RestoreOracle) {
        for question in std::mem::take(&mut self.questions) {
            match question {
                Question::Durable(checkpoint) => {
                    if let Some(files) = oracle.references(checkpoint) {
                        self.answered.0 = true;
                        if self.storage.refer(now, checkpoint, files, &mut self.report) {
                            self.situations.on_shared();
                        }
                    }
                    self.judge_shadow(now, checkpoint, oracle);
                }
                Question::Chosen(checkpoint) => {
                    if let Some(checkpoint) = checkpoint {
                        self.judge_shadow(now, checkpoint, oracle);
                        if self.storage.is_damaged(checkpoint) {
                            self.situations.on_unreadable();
                        }
                    }
                    if self.restore.is_doubted() {
                        self.restore.judge_fallback(now, oracle, &mut self.report);
                    }
                }
            }
        }
    }

    /// A shadow restore: what would a restore from this checkpoint give, now?
    fn judge_shadow(
        &mut self,
        now: VirtualTime,
        checkpoint: CheckpointId,
        oracle: &mut dyn RestoreOracle,
    ) {
        let (setup, report, ledger) = (&self.setup, &mut self.report, &self.ledger);
        let Some(shadow) = oracle.shadow(checkpoint) else {
            for operator in setup.sinks() {
                let written = self.state.written(checkpoint, operator, ledger, setup);
                self.output.expect(now, checkpoint, operator, written, setup, report);
            }
            return;
        };
        self.answered.1 = true;
        let damaged = self.storage.is_damaged(checkpoint);
        let read = shadow.and_then(|shadow| {
            let books = (ledger, setup);
            let judged =
                self.state.judge_shadow(now, checkpoint, shadow, books, &mut self.output, report);
            judged.map_err(|error| ShadowError::Damaged {
                what: "the state of an operator".to_owned(),
                error: error.to_string(),
            })
        });
        self.restore.judge_shadow(now, checkpoint, (read.as_ref().err(), damaged), report);
    }

    /// The run is over: asks what is still open, judges what can be judged only now.
    pub fn finish(&mut self, now: VirtualTime, ending: Ending, oracle: &mut dyn RestoreOracle) {
        self.consult(now, oracle);
        let end = self.liveness.end();
        let retained: Vec<CheckpointId> = self.restore.retained().collect();
        for checkpoint in retained {
            self.judge_shadow(now, checkpoint, oracle);
        }
        let (setup, report, ledger) = (&self.setup, &mut self.report, &self.ledger);
        let weather = &self.weather;
        self.output.finish(now, end, weather, setup, report);
        if ending != Ending::BudgetSpent {
            self.output.judge_open((now, end), weather, oracle, setup, report);
        }
        self.policy.finish(now, weather, setup, report);
        self.liveness.finish(now, ending, (ledger, weather), setup, report);
        if ending == Ending::Quiescent && end.is_some() && self.answered.0 {
            self.storage.judge_leaks(now, report);
        }
        if self.answered.0 {
            self.counter.statistics.orphans = self.storage.orphans();
        }
        for check in &mut self.added {
            check.finish(now, report);
        }
    }

    /// What was found, in the order of first sight.
    #[inline]
    pub fn violations(&self) -> &[Violation] {
        self.report.violations()
    }

    /// The answer of all checks; what is unsafe outweighs what is late.
    pub fn verdict(&self) -> Verdict {
        let of = |violation: &Violation| match violation.class.is_liveness() {
            true => Verdict::Liveness,
            false => Verdict::Safety,
        };
        self.violations().iter().map(of).max().unwrap_or(Verdict::Ok)
    }

    /// What each check has to say, built-in ones first.
    pub fn findings(&self) -> Vec<Finding> {
        let (files, restores) = self.answered;
        let built_in = [
            (cut::NAME, self.cut.judged(), true),
            (order::NAME, self.order.judged() + self.moved.judged(), true),
            (state::NAME, self.state.judged(), true),
            (output::NAME, self.output.judged(), true),
            (restore::NAME, self.restore.judged(), restores),
            (storage::NAME, self.storage.judged(), files),
            (policy::NAME, self.policy.judged(), true),
            (liveness::NAME, self.liveness.judged(), true),
        ];
        let added = self.added.iter().map(|check| (check.name(), check.judged(), true));
        built_in.into_iter().chain(added).map(|it| self.finding(it)).collect()
    }

    fn finding(&self, (check, judged, applicable): (&'static str, u64, bool)) -> Finding {
        let applicable = applicable && !self.left_out.contains(&check);
        let violated = self.violations().iter().any(|violation| violation.check == check);
        let outcome = match (violated, applicable, judged) {
            (true, _, _) => Outcome::Violated,
            (false, false, _) => Outcome::NotApplicable,
            (false, true, 0) => Outcome::Vacuous,
            (false, true, _) => Outcome::Passed,
        };
        Finding { check, judged, outcome }
    }

    /// Every situation with the number of times it was seen, built-in ones first, in fixed order.
    pub fn situations(&self) -> Vec<(&'static str, u64)> {
        let added = self.added_situations.iter().map(|(it, count)| (it.name(), *count));
        self.situations.counts().chain(added).collect()
    }

    /// What each fault has struck so far.
    pub fn struck(&self) -> &[Strike] {
        self.situations.struck()
    }

    /// The numbers of the run so far.
    pub fn statistics(&self) -> &Statistics {
        &self.counter.statistics
    }

    /// What each sink operator shows to the outside so far.
    pub fn shown(&self) -> Vec<Shown> {
        self.output.shown(&self.setup)
    }
}
