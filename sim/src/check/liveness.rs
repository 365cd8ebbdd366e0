//! Check *liveness*: while nothing disturbs, things end.
//!
//! - A started or ended execution, of the job or of a region, is followed by all tasks running, or
//!   by the end of the job, within the time the restart strategy may take.
//! - A bounded job finishes within `settle` after its last record is due and the last fault.
//! - When nothing is under way any more, no checkpoint is pending and a bounded job has ended.
//! - What a user has asked for is answered: done, failed or refused. A new job may be waited for until
//!   the one before has ended. What a job manager had taken up is forgotten when it dies, and when
//!   the job is over, somebody must lead to be asked.
//!
//! A violation says who waits for whom, as far as observations tell. (That a pending checkpoint
//! expires in time is the business of *policy*.)

use std::collections::BTreeSet;
use std::fmt::Write as _;

use cutline::ids::{ChannelId, CheckpointId, RegionId, SubtaskId};
use cutline::time::{VirtualDuration, VirtualTime};

use super::ledger::{Flow, Ledger};
use super::violation::{Class, Report, Subject};
use super::{Ending, Setup};
use crate::observe::{FileId, JobEnd, Observation, TaskState};
use crate::scenario::model::ActionKind;
use crate::world::RIGHT_PACE;

pub(super) const NAME: &str = "liveness";

/// What disturbs: bounds run only in calm weather.
#[derive(Clone, Debug)]
pub(super) struct Weather {
    /// How long a checkpoint waits for acknowledgements: one may be lost.
    checkpoint_timeout: VirtualDuration,
    active: BTreeSet<u32>,
    /// Processes whose clocks run at a wrong pace, whether they have looked at them yet or not.
    drifting: BTreeSet<u32>,
    /// When something disturbed last; in the future, if somebody waits for what will not come.
    changed: VirtualTime,
    /// When a user last did something: bounds begin anew, but nothing is disturbed.
    acted: VirtualTime,
    /// Files that cannot be read any more, and are there still: what needs them comes to no end.
    damaged: BTreeSet<FileId>,
}

impl Weather {
    pub(super) fn new(checkpoint_timeout: VirtualDuration) -> Self {
        Self {
            checkpoint_timeout,
            active: BTreeSet::new(),
            drifting: BTreeSet::new(),
            changed: VirtualTime::ZERO,
            acted: VirtualTime::ZERO,
            damaged: BTreeSet::new(),
        }
    }

    pub(super) fn observe(&mut self, now: VirtualTime, observation: &Observation) {
        match *observation {
            Observation::FaultInjected { fault } => {
                self.active.insert(fault);
                self.disturb(now);
            }
            Observation::FaultHealed { fault } => {
                self.active.remove(&fault);
                self.disturb(now);
            }
            Observation::PaceChanged { process, pace } => {
                match pace == RIGHT_PACE {
                    true => self.drifting.remove(&process),
                    false => self.drifting.insert(process),
                };
                self.disturb(now);
            }
            Observation::StorageDisturbed { .. } => self.disturb(now),
            Observation::MessageLost { until, .. } => {
                self.disturb(until.max(now + self.checkpoint_timeout));
            }
            Observation::FileDamaged { file } => {
                self.damaged.insert(file);
            }
            Observation::FileDeleted { file }
            | Observation::FileLost { file }
            | Observation::FileWritten { file, .. }
                if self.damaged.remove(&file) =>
            {
                self.disturb(now);
            }
            Observation::ActionTaken { .. }
            | Observation::ActionEnded { .. }
            | Observation::ActionForgotten { .. }
            | Observation::Adopted { .. } => self.acted = now,
            _ => {}
        }
    }

    fn disturb(&mut self, until: VirtualTime) {
        self.changed = self.changed.max(until);
    }

    /// Whether what began at `since` has had more than `bound` of calm time.
    #[inline]
    pub(super) fn is_overdue(
        &self,
        since: VirtualTime,
        bound: VirtualDuration,
        now: VirtualTime,
    ) -> bool {
        self.damaged.is_empty() && self.is_calm_since(since, bound, now)
    }

    /// The same, whatever is damaged.
    fn is_calm_since(&self, since: VirtualTime, bound: VirtualDuration, now: VirtualTime) -> bool {
        self.active.is_empty()
            && self.drifting.is_empty()
            && now > since.max(self.changed).max(self.acted) + bound
    }
}

/// Something a user has asked for, and has no answer to.
#[derive(Clone, Copy, Debug)]
struct Asked {
    action: u32,
    at: VirtualTime,
    /// Somebody has led since.
    heard: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Liveness {
    judged: u64,
    /// By subtask.
    tasks: Vec<Option<TaskState>>,
    /// Since when not all tasks run.
    recovering: Option<VirtualTime>,
    /// Pending checkpoints, and who has acknowledged them.
    pending: Vec<(CheckpointId, VirtualTime, Vec<bool>)>,
    end: Option<JobEnd>,
    asked: Vec<Asked>,
    /// The newest leader's session.
    session: u64,
    /// Somebody leads, or will: only when a job is over need nobody do so.
    led: bool,
}

impl Liveness {
    pub(super) fn new(setup: &Setup) -> Self {
        Self {
            judged: 0,
            tasks: vec![None; setup.graph.subtasks()],
            recovering: Some(VirtualTime::ZERO),
            pending: Vec::new(),
            end: None,
            asked: Vec::new(),
            session: 0,
            led: true,
        }
    }

    /// Recoveries, checkpoints and jobs that have ended, or should have.
    pub(super) fn judged(&self) -> u64 {
        self.judged
    }

    /// How the job ended, if it has.
    pub(super) fn end(&self) -> Option<JobEnd> {
        self.end
    }

    pub(super) fn observe(
        &mut self,
        now: VirtualTime,
        observation: &Observation,
        (ledger, weather): (&Ledger, &Weather),
        setup: &Setup,
        report: &mut Report,
    ) {
        self.judge_time(now, (ledger, weather), setup, report);
        match *observation {
            Observation::Task { subtask, state, .. } => {
                self.on_task(subtask, state, setup.present());
            }
            Observation::ExecutionEnded => {
                self.recovering = Some(now);
            }
            Observation::RegionEnded { region } => {
                self.forget_region(region, setup);
                self.recovering = Some(now);
            }
            Observation::RegionRestored { region, .. } => self.forget_region(region, setup),
            Observation::RestoreChosen { .. } => {
                self.tasks.fill(None);
                // The bound runs from the failure on, where there was one.
                self.recovering.get_or_insert(now);
            }
            Observation::Triggered { checkpoint, .. } => {
                self.pending.push((checkpoint, now, vec![false; self.tasks.len()]));
            }
            Observation::Acknowledged { subtask, checkpoint } => {
                if let Some((.., acks)) = self.pending.iter_mut().find(|it| it.0 == checkpoint) {
                    acks[subtask.index()] = true;
                }
            }
            Observation::Completed { checkpoint } | Observation::Failed { checkpoint, .. } => {
                self.judged += 1;
                self.pending.retain(|pending| pending.0 != checkpoint);
            }
            Observation::Adopted { .. } => {
                self.judged += 1;
                self.end = None;
                self.pending.clear();
                self.recovering = Some(now);
            }
            // A new leader knows nothing of them.
            Observation::LeaderElected { session } => {
                self.pending.clear();
                self.asked.iter_mut().for_each(|asked| asked.heard = true);
                (self.session, self.led) = (session, true);
            }
            Observation::LeadershipLost { session } if session == self.session => {
                self.led = false;
            }
            // Perhaps its leader, whom nobody need follow when the job is over.
            Observation::ProcessLost { .. } if self.end.is_some() => self.led = false,
            Observation::ActionAsked { action } => {
                let heard = self.led;
                self.asked.push(Asked { action, at: now, heard });
            }
            Observation::ActionEnded { action, .. } | Observation::ActionForgotten { action } => {
                self.judged += 1;
                self.asked.retain(|asked| asked.action != action);
            }
            Observation::JobEnded { end } => {
                self.judged += 1;
                self.end = Some(end);
                self.recovering = None;
            }
            _ => {}
        }
    }

    fn forget_region(&mut self, region: RegionId, setup: &Setup) {
        for subtask in setup.graph.regions().subtasks(region) {
            self.tasks[subtask.index()] = None;
        }
    }

    fn on_task(&mut self, subtask: SubtaskId, state: TaskState, present: std::ops::Range<usize>) {
        self.tasks[subtask.index()] = Some(state);
        if self.recovering.is_some() && self.tasks[present].iter().all(|task| works(*task)) {
            self.judged += 1;
            self.recovering = None;
        }
    }

    pub(super) fn judge_time(
        &self,
        now: VirtualTime,
        (ledger, weather): (&Ledger, &Weather),
        setup: &Setup,
        report: &mut Report,
    ) {
        if self.end.is_some() {
            return;
        }
        if let Some(since) = self.recovering
            && weather.is_overdue(since, setup.config.recovery, now)
        {
            let what = (NAME, Class::Stuck, "recovery does not end");
            report.add(what, now, Subject::default(), || {
                let why = self.who_waits(ledger, setup);
                format!("since {since} not all tasks have come to run{why}")
            });
        }
        if let Some(due) = setup.config.due
            && weather.is_overdue(due, setup.config.settle, now)
        {
            // A wait among channels, or one for the last checkpoint: they have little in common.
            let rule = match ledger.flows.iter().any(Flow::is_loaded) {
                true => "the job does not finish",
                false => "the job does not end after its last record",
            };
            report.add((NAME, Class::Stuck, rule), now, Subject::default(), || {
                let why = self.who_waits(ledger, setup);
                format!("the last record was due at {due}, and the job has not finished{why}")
            });
        }
    }

    pub(super) fn finish(
        &mut self,
        now: VirtualTime,
        ending: Ending,
        (ledger, weather): (&Ledger, &Weather),
        setup: &Setup,
        report: &mut Report,
    ) {
        self.judge_time(now, (ledger, weather), setup, report);
        self.judge_asked(now, ending, weather, setup, report);
        // A job whose checkpoint is damaged goes back to it again and again, as Flink's does.
        if !weather.damaged.is_empty() {
            return;
        }
        let (rule, what) = match ending {
            Ending::BudgetSpent => ("too many events", "the run has used up its events"),
            Ending::Quiescent if self.end.is_none() && setup.config.due.is_some() => {
                ("nothing moves", "nothing is under way any more, but the job has not ended")
            }
            Ending::Quiescent if !self.pending.is_empty() && self.end.is_none() => {
                ("nothing moves", "nothing is under way any more, but a checkpoint is pending")
            }
            Ending::Quiescent | Ending::TimeUp => return,
        };
        self.judged += 1;
        report.add((NAME, Class::Stuck, rule), now, Subject::default(), || {
            format!("{what}{}", self.who_waits(ledger, setup))
        });
    }

    /// What was asked for long enough ago, in calm weather, and has no answer.
    fn judge_asked(
        &mut self,
        now: VirtualTime,
        ending: Ending,
        weather: &Weather,
        setup: &Setup,
        report: &mut Report,
    ) {
        let patience = setup.config.recovery + setup.config.settle;
        for asked in std::mem::take(&mut self.asked) {
            // A new job begins when the one before is over, whatever is damaged of that one.
            let resumes = matches!(
                setup.config.actions.get(asked.action as usize),
                Some(ActionKind::Resume { .. })
            );
            let waits = if resumes { self.end.is_none() } else { !weather.damaged.is_empty() };
            let late = match ending {
                Ending::Quiescent => true,
                Ending::TimeUp | Ending::BudgetSpent => {
                    weather.is_calm_since(asked.at, patience, now)
                }
            };
            if waits || !late || !asked.heard {
                continue;
            }
            self.judged += 1;
            let what = (NAME, Class::Stuck, "a request without an answer");
            report.add(what, now, Subject::default(), || {
                let (action, at) = (asked.action, asked.at);
                format!("action {action} was asked for at {at}, and nobody has answered")
            });
        }
    }

    /// The state of affairs, a clause for each kind of waiting.
    fn who_waits(&self, ledger: &Ledger, setup: &Setup) -> String {
        let mut text = String::new();
        let subtasks = || setup.layout().subtasks().map(SubtaskId);
        let idle = subtasks().filter(|subtask| !works(self.tasks[subtask.index()]));
        let idle = idle.map(|subtask| {
            let name = setup.graph.subtask_name(subtask);
            match self.tasks[subtask.index()] {
                Some(state) => format!("{name} ({state:?})"),
                None => format!("{name} (not deployed)"),
            }
        });
        say(&mut text, "not running", idle);
        for (checkpoint, since, acks) in &self.pending {
            let missing = subtasks().filter(|subtask| !acks[subtask.index()]);
            let missing = missing.map(|subtask| setup.graph.subtask_name(subtask));
            say(&mut text, &format!("{checkpoint}, pending since {since}, waits for"), missing);
        }
        let channels = |test: fn(&Flow) -> bool| {
            let flows = ledger.flows.iter().enumerate().filter(move |(_, flow)| test(flow));
            flows.map(|(index, _)| setup.graph.channel_name(ChannelId(index as u32)))
        };
        say(&mut text, "blocked", channels(|flow| flow.blocked));
        let loaded = channels(|flow| !flow.blocked && flow.is_loaded());
        say(&mut text, "with records that nobody takes", loaded);
        text
    }
}

fn works(task: Option<TaskState>) -> bool {
    matches!(task, Some(TaskState::Running | TaskState::Finished))
}

fn say(text: &mut String, what: &str, names: impl Iterator<Item = String>) {
    const SHOWN_MAX: usize = 4;
    let names: Vec<String> = names.collect();
    if names.is_empty() {
        return;
    }
    let shown = names[..names.len().min(SHOWN_MAX)].join(", ");
    write!(text, "; {what}: {shown}").expect("writing to a string cannot fail");
    if names.len() > SHOWN_MAX {
        write!(text, " and {} more", names.len() - SHOWN_MAX)
            .expect("writing to a string cannot fail");
    }
}
