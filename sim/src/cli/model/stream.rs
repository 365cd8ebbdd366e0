//! `cutline model recovery`, `freshness` and `lag`: what the users of a stream see.

use clap::Args;
use cutline::model::freshness::{Cadence, Visibility};
use cutline::model::interval::Wear;
use cutline::model::lag::Lag;
use cutline::model::recovery::{Age, CatchUpSpread, Outage, Pauses, Stream};
use cutline::model::{ModelError, Probability, Rate, Seconds};

use super::Shown;
use super::sheet::{Amount, Sheet};
use super::values::{probability, rate, seconds, some_seconds};

/// How long a stream takes to catch up after a failure
#[derive(Debug, Args)]
pub(super) struct Recovery {
    /// Records that come in, such as 10000/s
    #[arg(long, value_name = "RATE", value_parser = rate)]
    rate: Rate,

    /// Records that the job can process, such as 20000/s
    #[arg(long, value_name = "RATE", value_parser = rate)]
    capacity: Rate,

    /// From a failure until the job processes again: detection, restart, restore
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    downtime: Seconds,

    /// From trigger to trigger
    #[arg(long, value_name = "TIME", value_parser = some_seconds)]
    interval: Seconds,

    /// From the trigger of a checkpoint until it is complete
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    checkpoint_duration: Seconds,

    /// Processing time that one checkpoint takes away, also while the job catches up
    #[arg(long, value_name = "TIME", value_parser = seconds, default_value = "0s")]
    checkpoint_cost: Seconds,

    /// The probability that a checkpoint fails, such as 5%; the worst case and that with pauses
    /// are without it
    #[arg(long, value_name = "SHARE", value_parser = probability, default_value = "0")]
    checkpoint_failures: Probability,

    #[command(flatten)]
    pub(super) shown: Shown,
}

impl Recovery {
    pub(super) fn answer(&self) -> Result<Sheet, ModelError> {
        let stream = Stream::new(self.rate, self.capacity)?;
        let outage = Outage { stream, downtime: self.downtime };
        let age = Age { interval: self.interval, duration: self.checkpoint_duration };
        let mean = age.mean(self.checkpoint_failures)?;
        let pauses = Pauses { interval: self.interval, cost: self.checkpoint_cost };
        let spread = CatchUpSpread::new(stream, outage.backlog(mean))?;
        let mut sheet = Sheet::default();
        let mut seconds = |key, name, value| sheet.figure(key, name, Amount::Seconds(value));
        seconds("age_mean_s", "age of the snapshot, mean", mean);
        seconds("age_worst_s", "age of the snapshot, worst", age.worst());
        seconds("recovery_mean_s", "recovery, mean", outage.recovery(mean));
        seconds("recovery_worst_s", "recovery, worst", outage.recovery(age.worst()));
        seconds("catch_up_mean_s", "of it catching up, mean", outage.catch_up(mean));
        seconds("catch_up_deviation_s", "  its deviation", spread.exponential_service);
        let never = "never";
        let mean_paused = outage.mean_recovery_with_pauses(age, pauses);
        let worst_paused = outage.recovery_with_pauses(age.worst(), pauses);
        let mut with = |key, name, value| sheet.figure(key, name, Amount::seconds(value, never));
        with("recovery_mean_with_pauses_s", "recovery with pauses, mean", mean_paused);
        with("recovery_worst_with_pauses_s", "recovery with pauses, worst", worst_paused);
        let (replayed, backlog) = (outage.replayed(mean), outage.backlog(mean));
        sheet.figure("replayed_mean_records", "replayed, mean", Amount::Records(replayed));
        sheet.figure("backlog_mean_records", "backlog at restart, mean", Amount::Records(backlog));
        sheet.note(
            "Fluid model, failures uniform over the interval. The deviation is that of Poisson \
             arrivals and exponential service.",
        );
        Ok(sheet)
    }
}

/// When the output of an exactly-once sink becomes visible
#[derive(Debug, Args)]
pub(super) struct Freshness {
    /// The configured interval
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    interval: Seconds,

    /// From the barrier's passage at the sink until the checkpoint is complete
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    checkpoint_duration: Seconds,

    /// The pause between checkpoints (execution.checkpointing.min-pause)
    #[arg(long, value_name = "TIME", value_parser = seconds, default_value = "0s")]
    min_pause: Seconds,

    /// Notification and commit at the sink
    #[arg(long, value_name = "TIME", value_parser = seconds, default_value = "0s")]
    commit: Seconds,

    /// The probability that a checkpoint fails, such as 5%; it counts in the mean alone
    #[arg(long, value_name = "SHARE", value_parser = probability, default_value = "0")]
    checkpoint_failures: Probability,

    #[command(flatten)]
    pub(super) shown: Shown,
}

impl Freshness {
    pub(super) fn answer(&self) -> Result<Sheet, ModelError> {
        let cadence = Cadence::new(self.interval, self.checkpoint_duration, self.min_pause)?;
        let sink = Visibility {
            interval: Seconds::new(cadence.interval)?,
            duration: self.checkpoint_duration,
            commit: self.commit,
        };
        let quantile = |q: f64| Ok(sink.quantile(Probability::new(q)?));
        let (half, most) = (quantile(0.5)?, quantile(0.99)?);
        let mut sheet = Sheet::default();
        let mut seconds = |key, name, value| sheet.figure(key, name, Amount::Seconds(value));
        seconds("interval_effective_s", "effective interval", cadence.interval);
        seconds("visible_least_s", "visible after, least", sink.least());
        seconds("visible_mean_s", "visible after, mean", sink.mean(self.checkpoint_failures)?);
        seconds("visible_p50_s", "visible after, p50", half);
        seconds("visible_p99_s", "visible after, p99", most);
        seconds("visible_worst_s", "visible after, worst", sink.worst());
        let duty = Amount::Share(cadence.duty);
        sheet.figure("duty_share", "time with a checkpoint under way", duty);
        sheet.note("Counted from when a record reaches the sink, without failures of the job.");
        Ok(sheet)
    }
}

/// The mean backlog of a stream, and the interval that makes it least
#[derive(Debug, Args)]
pub(super) struct Backlog {
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

    /// How long processing stops at a checkpoint
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    checkpoint_cost: Seconds,

    /// Mean time between two failures of the whole job
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    mtbf: Seconds,

    /// The interval to judge; without it the best one
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    interval: Option<Seconds>,

    #[command(flatten)]
    pub(super) shown: Shown,
}

impl Backlog {
    pub(super) fn answer(&self) -> Result<Sheet, ModelError> {
        let stream = Stream::new(self.rate, self.capacity)?;
        let lag = Lag {
            outage: Outage { stream, downtime: self.downtime },
            cost: self.checkpoint_cost,
            duration: self.checkpoint_duration,
            mtbf: self.mtbf,
        };
        let best = lag.best_interval()?;
        let interval = self.interval.map_or_else(|| Seconds::new(best), Ok)?;
        let young = Wear::new(self.checkpoint_cost, self.mtbf)?.young();
        let mut sheet = Sheet::default();
        sheet.figure("best_interval_s", "interval of the least backlog", Amount::Seconds(best));
        sheet.figure("young_s", "Young's interval", Amount::Seconds(young));
        sheet.figure("interval_s", "judged interval", Amount::Seconds(interval.get()));
        let mean = Amount::Records(lag.mean(interval)?);
        sheet.figure("backlog_mean_records", "mean backlog", mean);
        let high = lag.mean_high(interval)?.map_or(Amount::None("unlimited"), Amount::Records);
        sheet.figure("backlog_mean_high_records", "  at most", high);
        let load = Amount::Share(lag.pause_load(interval));
        sheet.figure("pause_load_share", "time spent draining pauses", load);
        sheet.note("The mean holds to some 5 % while draining takes at most 15 % of the time.");
        Ok(sheet)
    }
}
