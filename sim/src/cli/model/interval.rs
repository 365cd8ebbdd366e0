//! `cutline model interval`: which interval to configure.

use clap::{Args, ValueEnum};
use cutline::config::text::format_duration;
use cutline::model::choice::{Answer, Binding, Budget, Choice, Goal, Question};
use cutline::model::interval::Wear;
use cutline::model::recovery::{Outage, Stream};
use cutline::model::{ModelError, Rate, Seconds};
use cutline::time::VirtualDuration;

use super::Shown;
use super::sheet::{Amount, Sheet, span};
use super::values::{rate, seconds};

/// What is to be configured.
const CONFIGURED: &str = "execution.checkpointing.interval";
const NANOS_PER_MILLI: u64 = 1_000_000;
/// Above this share of time spent on draining what checkpoints leave, the backlog is a bound only.
const PAUSE_LOAD_MAX: f64 = 0.15;

/// Which checkpoint interval to configure: budgets first, then the goal
///
/// The interval is the longest that keeps the worst recovery and the time until output is visible
/// within their goals, and no longer than what is best for capacity or for freshness. Exit code 13
/// if no interval does.
#[derive(Debug, Args)]
pub(super) struct Interval {
    /// Records that come in, such as 10000/s
    #[arg(long, value_name = "RATE", value_parser = rate)]
    rate: Rate,

    /// Records that the job can process, such as 20000/s
    #[arg(long, value_name = "RATE", value_parser = rate)]
    capacity: Rate,

    /// From a failure until the job processes again: detection, restart, restore
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    downtime: Seconds,

    /// From the trigger of a checkpoint until it is complete
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    checkpoint_duration: Seconds,

    /// Processing time that one checkpoint takes away
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    checkpoint_cost: Seconds,

    /// Mean time between two failures of the whole job
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    mtbf: Seconds,

    /// The longest that the worst recovery may take, until the backlog is gone
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    recovery_goal: Option<Seconds>,

    /// The longest that output of an exactly-once sink may take to become visible
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    visibility_goal: Option<Seconds>,

    /// The pause between checkpoints (execution.checkpointing.min-pause)
    #[arg(long, value_name = "TIME", value_parser = seconds, default_value = "0s")]
    min_pause: Seconds,

    /// Notification and commit at the sink
    #[arg(long, value_name = "TIME", value_parser = seconds, default_value = "0s")]
    commit: Seconds,

    /// What the interval is best for, as far as the other goals leave a choice
    #[arg(long, value_enum, default_value_t = Wish::Capacity)]
    goal: Wish,

    #[command(flatten)]
    pub(super) shown: Shown,
}

/// What an interval is best for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Wish {
    /// Most useful work
    Capacity,
    /// The least mean backlog
    Freshness,
}

impl Interval {
    pub(super) fn answer(&self) -> Result<Sheet, ModelError> {
        let question = self.question()?;
        let answer = question.answer()?;
        let mut sheet = Sheet::default();
        match answer.choice {
            Choice::Feasible { interval, binding, .. } => {
                self.recommend(&mut sheet, &question, &answer, interval, binding)?;
                compare(&mut sheet, &question, interval, answer.floor)?;
            }
            Choice::Infeasible { budget, ceiling } => {
                self.refuse(&mut sheet, &answer, budget, ceiling);
            }
        }
        Ok(sheet)
    }

    fn question(&self) -> Result<Question, ModelError> {
        let stream = Stream::new(self.rate, self.capacity)?;
        Ok(Question {
            outage: Outage { stream, downtime: self.downtime },
            duration: self.checkpoint_duration,
            wear: Wear::new(self.checkpoint_cost, self.mtbf)?,
            min_pause: self.min_pause,
            commit: self.commit,
            recovery_budget: self.recovery_goal,
            visibility_budget: self.visibility_goal,
            goal: match self.goal {
                Wish::Capacity => Goal::Capacity,
                Wish::Freshness => Goal::Freshness,
            },
        })
    }

    fn recommend(
        &self,
        sheet: &mut Sheet,
        question: &Question,
        answer: &Answer,
        interval: f64,
        binding: Binding,
    ) -> Result<(), ModelError> {
        sheet.figure("interval_s", "interval", Amount::Seconds(interval));
        bounds(sheet, answer);
        let (word, why) = self.because(binding);
        sheet.word("binding", word);
        sheet.word("configuration", configured(interval, binding)?);
        sheet.note(format!("{CONFIGURED}: {}", configured(interval, binding)?));
        sheet.note(why);
        self.warn_of_pauses(sheet, question, interval)?;
        let (shortest, longest) = question.wear.flat_region(0.1)?;
        sheet.note(format!(
            "From {} to {} checkpoints and repeated work waste at most a tenth more than at best.",
            span(shortest),
            span(longest)
        ));
        Ok(())
    }

    /// What the interval is set by: a word, and a sentence.
    fn because(&self, binding: Binding) -> (&'static str, String) {
        match binding {
            Binding::Floor => (
                "floor",
                "Set by the shortest interval that there is: more often, checkpoints would \
                 overlap or take more than the stream's slack."
                    .to_owned(),
            ),
            Binding::Goal => match self.goal {
                Wish::Capacity => {
                    ("capacity", "Set by capacity: this leaves most useful work.".to_owned())
                }
                Wish::Freshness => {
                    ("freshness", "Set by freshness: the mean backlog is least here.".to_owned())
                }
            },
            Binding::Budget(Budget::Recovery) => (
                "recovery",
                "Set by the recovery goal: a longer one would rewind further than the job can catch \
                 up with in time."
                    .to_owned(),
            ),
            Binding::Budget(Budget::Visibility) => (
                "visibility",
                "Set by the visibility goal: output waits for the next checkpoint to complete."
                    .to_owned(),
            ),
        }
    }

    /// The recovery goal's ceiling leaves out the pauses of checkpoints while the job catches up.
    fn warn_of_pauses(
        &self,
        sheet: &mut Sheet,
        question: &Question,
        interval: f64,
    ) -> Result<(), ModelError> {
        let worst = question.recovery_worst(Seconds::new(interval)?);
        let Some(goal) = self.recovery_goal.map(Seconds::get) else {
            return Ok(());
        };
        if worst.is_some_and(|worst| worst <= goal) {
            return Ok(());
        }
        let with = worst.map_or("the job never catches up".to_owned(), |worst| {
            format!("the worst recovery takes {}", span(worst))
        });
        let ceiling = question.recovery_ceiling_with_pauses();
        let remedy = ceiling.map_or("no interval keeps the goal then".to_owned(), |ceiling| {
            format!("{} would keep the goal", span(ceiling))
        });
        sheet.note(format!(
            "With the pauses of checkpoints while the job catches up {with}; {remedy}."
        ));
        let ceiling = Amount::seconds(ceiling, "none");
        sheet.figure("recovery_ceiling_with_pauses_s", "at most, with pauses", ceiling);
        Ok(())
    }

    fn refuse(&self, sheet: &mut Sheet, answer: &Answer, budget: Budget, ceiling: f64) {
        sheet.miss();
        sheet.figure("interval_s", "interval", Amount::None("none"));
        bounds(sheet, answer);
        let (word, goal) = match budget {
            Budget::Recovery => ("recovery", self.recovery_goal),
            Budget::Visibility => ("visibility", self.visibility_goal),
        };
        sheet.word("binding", word);
        let goal = span(goal.map_or(0.0, Seconds::get));
        let allowed = if ceiling > 0.0 {
            format!("allows at most {}", span(ceiling))
        } else {
            "allows no interval at all".to_owned()
        };
        sheet.note(format!(
            "Infeasible: the {word} goal of {goal} {allowed}, and checkpoints cannot be taken more \
             often than every {}.",
            span(answer.floor)
        ));
    }
}

/// The bounds that the interval was chosen between.
fn bounds(sheet: &mut Sheet, answer: &Answer) {
    sheet.figure("floor_s", "at least", Amount::Seconds(answer.floor));
    if let Some(ceiling) = answer.recovery_ceiling {
        sheet.figure("recovery_ceiling_s", "at most, recovery", Amount::Seconds(ceiling));
    }
    if let Some(ceiling) = answer.visibility_ceiling {
        sheet.figure("visibility_ceiling_s", "at most, visibility", Amount::Seconds(ceiling));
    }
    let (capacity, freshness) = (answer.best_capacity, answer.best_freshness);
    sheet.figure("best_capacity_s", "best for capacity", Amount::Seconds(capacity));
    sheet.figure("best_freshness_s", "best for freshness", Amount::Seconds(freshness));
}

/// What the interval costs, and what half and double of it would, as far as they can be.
fn compare(
    sheet: &mut Sheet,
    question: &Question,
    interval: f64,
    floor: f64,
) -> Result<(), ModelError> {
    let mut rows = Vec::new();
    let (lag, mut strained) = (question.lag(), false);
    let neighbours = [interval / 2.0, interval, interval * 2.0];
    for interval in neighbours.into_iter().filter(|interval| *interval >= floor) {
        let span = Seconds::new(interval)?;
        strained |= lag.pause_load(span) > PAUSE_LOAD_MAX;
        rows.push(vec![
            Amount::Seconds(interval),
            Amount::Share(question.wear.waste(interval)?),
            Amount::seconds(question.recovery_worst(span), "never"),
            Amount::Seconds(question.visibility(span).worst()),
            Amount::Records(lag.mean(span)?),
        ]);
    }
    let columns = [
        ("interval_s", "interval"),
        ("waste_share", "waste"),
        ("recovery_worst_s", "worst recovery"),
        ("visible_worst_s", "visible after"),
        ("backlog_mean_records", "mean backlog"),
    ];
    sheet.compare("neighbours", &columns, rows);
    if strained {
        sheet.note(
            "Checkpoints take so much of the slack at some of these intervals that the mean \
             backlog is a lower bound there.",
        );
    }
    Ok(())
}

/// The interval as Flink's configuration takes it: whole milliseconds, on the side that keeps the
/// goals.
fn configured(interval: f64, binding: Binding) -> Result<String, ModelError> {
    // Rounding to nanoseconds first drops what the floats have added to a whole millisecond.
    let nanos = Seconds::new(interval)?.round().as_nanos();
    let millis = match binding {
        Binding::Floor => nanos.div_ceil(NANOS_PER_MILLI),
        Binding::Goal | Binding::Budget(_) => nanos / NANOS_PER_MILLI,
    };
    // Flink takes no interval below 10 ms.
    let millis = millis.max(10);
    Ok(format_duration(VirtualDuration::from_nanos(millis.saturating_mul(NANOS_PER_MILLI))))
}
