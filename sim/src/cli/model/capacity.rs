//! `cutline model utilization`: the share of time that is useful work.

use clap::Args;
use cutline::model::interval::Wear;
use cutline::model::renewal::{UpTimes, useful_share};
use cutline::model::utilization::{Periodic, sustainable_rate, work_of};
use cutline::model::{ModelError, Probability, Rate, Seconds};

use super::Shown;
use super::sheet::{Amount, Sheet};
use super::values::{positive, probability, rate, seconds};

/// The share of time that is useful work, and the interval that makes it largest
#[derive(Debug, Args)]
pub(super) struct Utilization {
    /// From trigger to trigger
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    interval: Seconds,

    /// Processing time that one checkpoint takes away
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    checkpoint_cost: Seconds,

    /// From the trigger of a checkpoint until it is complete; without it the cost
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    checkpoint_duration: Option<Seconds>,

    /// Mean time between two failures of the whole job
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    mtbf: Seconds,

    /// Restart after a failure, in which the next may strike
    #[arg(long, value_name = "TIME", value_parser = seconds, default_value = "0s")]
    restart: Seconds,

    /// Downtime after a failure, in which no failure strikes
    #[arg(long, value_name = "TIME", value_parser = seconds, default_value = "0s")]
    downtime: Seconds,

    /// The probability that a checkpoint fails, such as 5%
    #[arg(long, value_name = "SHARE", value_parser = probability, default_value = "0",
          conflicts_with = "weibull_shape")]
    checkpoint_failures: Probability,

    /// Up-times of a Weibull law of this shape instead of exponential ones
    #[arg(long, value_name = "NUMBER", value_parser = positive)]
    weibull_shape: Option<f64>,

    /// Records that the job can process, such as 20000/s: for the rate that it sustains
    #[arg(long, value_name = "RATE", value_parser = rate)]
    capacity: Option<Rate>,

    #[command(flatten)]
    pub(super) shown: Shown,
}

impl Utilization {
    pub(super) fn answer(&self) -> Result<Sheet, ModelError> {
        let job = Periodic {
            work: work_of(self.interval, self.checkpoint_cost)?,
            cost: self.checkpoint_cost,
            latency: self.checkpoint_duration.unwrap_or(self.checkpoint_cost),
            mtbf: self.mtbf,
            restart: self.restart,
            downtime: self.downtime,
            failure_free_recovery: false,
        };
        let share = match self.weibull_shape {
            Some(shape) => useful_share(&job, &UpTimes::weibull_with_mean(shape, self.mtbf)?)?,
            None => job.useful_share_with_failing_checkpoints(self.checkpoint_failures)?,
        };
        let mut sheet = Sheet::default();
        sheet.figure("useful_share", "useful work", Amount::Share(share));
        sheet.figure("lost_share", "lost", Amount::Share(1.0 - share));
        if let Some(capacity) = self.capacity {
            let sustained = Amount::Rate(sustainable_rate(capacity, share));
            sheet.figure("sustainable_per_s", "sustainable rate", sustained);
        }
        self.optima(&mut sheet)?;
        Ok(sheet)
    }

    /// The intervals that are best for exponential up-times.
    fn optima(&self, sheet: &mut Sheet) -> Result<(), ModelError> {
        let wear = Wear::new(self.checkpoint_cost, self.mtbf)?;
        let exact = wear.exact_with_failing_checkpoints(self.checkpoint_failures)?;
        let young = wear.young_with_failing_checkpoints(self.checkpoint_failures);
        sheet.figure("exact_s", "best interval, exact", Amount::Seconds(exact));
        sheet.figure("young_s", "best interval, Young", Amount::Seconds(young));
        if self.checkpoint_failures == Probability::ZERO {
            let daly = wear.daly_higher() + self.checkpoint_cost.get();
            sheet.figure("daly_s", "best interval, Daly", Amount::Seconds(daly));
        }
        if self.weibull_shape.is_some() {
            sheet.note("The best intervals are those of exponential up-times of the same mean.");
        }
        Ok(())
    }
}
