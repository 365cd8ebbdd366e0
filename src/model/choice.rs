//! `T_checkpoint = f(data rate, system latency, recovery time)`: which interval to take.

use super::freshness::Visibility;
use super::interval::Wear;
use super::lag::Lag;
use super::recovery::{Outage, Pauses};
use super::{ModelError, Seconds};

/// What the interval is to be best for, as far as the budgets leave a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Most useful work: the exact optimum of [`Wear::exact`].
    Capacity,
    /// The least mean backlog: [`Lag::best_interval`].
    Freshness,
}

/// A job, and what is asked of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Question {
    /// The stream and its downtime `D`.
    pub outage: Outage,
    /// `d`: from the trigger until the checkpoint can be restored.
    pub duration: Seconds,
    /// `c` and `M`.
    pub wear: Wear,
    /// Flink's `execution.checkpointing.min-pause`.
    pub min_pause: Seconds,
    /// Notification and commit at the sink.
    pub commit: Seconds,
    /// `R_max`: the worst recovery that is allowed.
    pub recovery_budget: Option<Seconds>,
    /// `L_max`: the longest that output may take to become visible.
    pub visibility_budget: Option<Seconds>,
    /// What else counts.
    pub goal: Goal,
}

/// A limit that a budget sets to the interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// The worst recovery.
    Recovery,
    /// The longest time until output is visible.
    Visibility,
}

/// What the interval is set by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Checkpoints cannot be taken more often.
    Floor,
    /// No budget: the goal decides.
    Goal,
    /// A budget.
    Budget(Budget),
}

/// The bounds of the interval, and the choice between them. All in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// `T_min = max(d + min_pause, c/(1 - lambda/mu))`: checkpoints more often than this overlap,
    /// or take more than the stream's slack.
    pub floor: f64,
    /// `T_rec`, drain pauses left out; negative where the downtime alone is too long.
    pub recovery_ceiling: Option<f64>,
    /// `T_vis = L_max - d - commit`.
    pub visibility_ceiling: Option<f64>,
    /// The interval of most useful work.
    pub best_capacity: f64,
    /// The interval of the least mean backlog.
    pub best_freshness: f64,
    /// `T = max(T_min, min(T_goal, T_rec, T_vis))`, if the budgets leave one.
    pub choice: Choice,
}

/// Whether there is an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    /// There is.
    Feasible {
        /// Seconds from trigger to trigger.
        interval: f64,
        /// What sets it.
        binding: Binding,
        /// The worst recovery in seconds, drain pauses included; it shows how far the ceiling,
        /// which leaves them out, overshoots the budget. `None`: it may never catch up.
        recovery_worst: Option<f64>,
    },
    /// A budget asks for a shorter interval than there can be.
    Infeasible {
        /// The tighter budget.
        budget: Budget,
        /// The longest interval within it; it is below the floor.
        ceiling: f64,
    },
}

impl Question {
    /// The interval to take.
    ///
    /// # Errors
    /// The stream or the failures are out of what the formulas are made for.
    pub fn answer(&self) -> Result<Answer, ModelError> {
        let floor = self.floor();
        let recovery =
            self.recovery_budget.map(|budget| self.outage.interval_for(budget, self.duration));
        let fresh = self.commit.get() + self.duration.get();
        let visibility = self.visibility_budget.map(|budget| budget.get() - fresh);
        let best_capacity = self.wear.exact();
        let best_freshness = self.lag().best_interval()?;
        let goal = match self.goal {
            Goal::Capacity => best_capacity,
            Goal::Freshness => best_freshness,
        };
        let budgets = [(Budget::Recovery, recovery), (Budget::Visibility, visibility)];
        let tightest = budgets
            .into_iter()
            .filter_map(|(budget, ceiling)| Some((budget, ceiling?)))
            .min_by(|(_, left), (_, right)| left.total_cmp(right));
        let choice = match tightest {
            Some((budget, ceiling)) if ceiling < floor => Choice::Infeasible { budget, ceiling },
            Some((budget, ceiling)) if ceiling < goal => {
                self.feasible(ceiling, Binding::Budget(budget), floor)?
            }
            Some(_) | None => self.feasible(goal, Binding::Goal, floor)?,
        };
        Ok(Answer {
            floor,
            recovery_ceiling: recovery,
            visibility_ceiling: visibility,
            best_capacity,
            best_freshness,
            choice,
        })
    }

    /// The longest interval (seconds) within the recovery budget, drain pauses included; `None`
    /// without a budget, or if no interval is within it.
    pub fn recovery_ceiling_with_pauses(&self) -> Option<f64> {
        let (duration, cost) = (self.duration, self.wear.cost);
        self.outage.interval_for_with_pauses(self.recovery_budget?, duration, cost, self.floor())
    }

    /// The mean backlog of this job.
    pub fn lag(&self) -> Lag {
        let Wear { cost, mtbf } = self.wear;
        Lag { outage: self.outage, cost, duration: self.duration, mtbf }
    }

    /// When the output of this job becomes visible at an interval.
    pub fn visibility(&self, interval: Seconds) -> Visibility {
        Visibility { interval, duration: self.duration, commit: self.commit }
    }

    /// The worst recovery in seconds at an interval, drain pauses included.
    pub fn recovery_worst(&self, interval: Seconds) -> Option<f64> {
        let pauses = Pauses { interval, cost: self.wear.cost };
        self.outage.recovery_with_pauses(interval.get() + self.duration.get(), pauses)
    }

    fn floor(&self) -> f64 {
        let sustained = self.wear.cost.get() / (1.0 - self.outage.stream.load());
        sustained.max(self.duration.get() + self.min_pause.get())
    }

    fn feasible(&self, wanted: f64, wanted_for: Binding, floor: f64) -> Result<Choice, ModelError> {
        let (interval, binding) =
            if wanted > floor { (wanted, wanted_for) } else { (floor, Binding::Floor) };
        let recovery_worst = self.recovery_worst(Seconds::new(interval)?);
        Ok(Choice::Feasible { interval, binding, recovery_worst })
    }
}
