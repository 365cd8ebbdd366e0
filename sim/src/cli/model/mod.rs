//! `cutline model`: what the closed forms say, without a simulation.

mod capacity;
mod interval;
mod sheet;
mod stream;
mod tasks;
mod validate;
mod values;

use clap::{Args, Subcommand};
use cutline::model::ModelError;

use super::exit::{Exit, Failure};
use super::output::Output;
use sheet::{Format, Sheet};
pub(super) use values::rate;

const EXAMPLES: &str = "\
Durations and sizes are written as Flink writes them (200ms, 2 min, 1 d, 64 mb), rates with the
unit of time (10000/s, 100mb/s).

Examples:
  cutline model interval --rate 10000/s --capacity 20000/s --downtime 30s \\
    --checkpoint-duration 5s --checkpoint-cost 200ms --mtbf 1d --recovery-goal 2min
  cutline model recovery --rate 10000/s --capacity 20000/s --downtime 30s \\
    --checkpoint-duration 5s --interval 1min
  cutline model barriers --parallelism 64,64,16 --exchange all-to-all,all-to-all \\
    --interval 1min";

/// Answers questions about checkpoints from closed-form cost models, without a simulation
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Model {
    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, Subcommand)]
enum Question {
    Interval(interval::Interval),
    Recovery(stream::Recovery),
    Utilization(capacity::Utilization),
    Freshness(stream::Freshness),
    Lag(stream::Backlog),
    Coordinator(tasks::Coordinator),
    Storage(tasks::Storage),
    Barriers(tasks::Barriers),
    Validate(validate::Validate),
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Args)]
struct Shown {
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

impl Model {
    pub(super) fn execute(&self, output: &mut Output) -> Result<Exit, Failure> {
        let (sheet, shown) = match &self.question {
            Question::Interval(of) => (of.answer(), of.shown),
            Question::Recovery(of) => (of.answer(), of.shown),
            Question::Utilization(of) => (of.answer(), of.shown),
            Question::Freshness(of) => (of.answer(), of.shown),
            Question::Lag(of) => (of.answer(), of.shown),
            Question::Coordinator(of) => (of.answer(), of.shown),
            Question::Storage(of) => (of.answer(), of.shown),
            Question::Barriers(of) => (of.answer(), of.shown),
            Question::Validate(of) => return of.execute(output),
        };
        let sheet: Sheet = sheet.map_err(|error: ModelError| Failure::Usage(error.to_string()))?;
        output.print(&sheet.print(shown.format))?;
        Ok(if sheet.is_met() { Exit::Ok } else { Exit::GoalMissed })
    }
}
