//! What a sweep measures, by name: `recovery.p99`, `lost_work`, `storage.max`.

use std::fmt;

use cutline::config::text::{format_duration, parse_duration, parse_size};
use cutline::time::VirtualDuration;

use super::histogram::Histogram;
use super::meter::Measures;
use crate::check::{Durations, Statistics};

/// What a figure is a number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// A share of one.
    Share,
    /// Bytes.
    Bytes,
    /// Records.
    Records,
    /// So many in a second.
    PerSecond,
    /// So many in an hour.
    PerHour,
    /// Money in a month of 30 days, in the currency of the prices given.
    Price,
}

impl Unit {
    /// As the end of a column's name.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Share => "share",
            Self::Bytes => "bytes",
            Self::Records => "records",
            Self::PerSecond => "per_s",
            Self::PerHour => "per_h",
            Self::Price => "per_month",
        }
    }

    /// A figure to read.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Seconds => seconds(value),
            Self::Share => format!("{} %", digits(value * 100.0)),
            Self::Bytes => bytes(value),
            Self::Records => format!("{} records", digits(value)),
            Self::PerSecond => format!("{}/s", digits(value)),
            Self::PerHour => format!("{}/h", digits(value)),
            Self::Price => format!("{}/month", digits(value)),
        }
    }

    /// Reads a limit.
    fn parse(self, text: &str) -> Option<f64> {
        let text = text.trim();
        let number = |text: &str| text.trim().parse().ok().filter(|value: &f64| value.is_finite());
        match self {
            Self::Seconds => match parse_duration(text) {
                // A bare number would be milliseconds to Flink and seconds to everybody else.
                Ok(span) if text.parse::<f64>().is_err() => Some(span.0 as f64 / 1e9),
                _ => None,
            },
            Self::Share => match text.strip_suffix('%') {
                Some(percent) => number(percent).map(|value| value / 100.0),
                None => number(text),
            },
            Self::Bytes => parse_size(text).ok().map(|bytes| bytes as f64),
            Self::PerSecond => number(text.strip_suffix("/s").unwrap_or(text)),
            Self::PerHour => number(text.strip_suffix("/h").unwrap_or(text)),
            Self::Price | Self::Records => number(text),
        }
    }

    /// What a limit looks like.
    fn example(self) -> &'static str {
        match self {
            Self::Seconds => "a time such as 120s or 500ms",
            Self::Share => "a share such as 5% or 0.05",
            Self::Bytes => "a size such as 10gb",
            Self::Records => "a number such as 5000",
            Self::PerSecond => "a rate such as 20/s",
            Self::PerHour => "a rate such as 60/h",
            Self::Price => "an amount such as 12.5",
        }
    }
}

/// Three digits that count, without an exponent.
pub(crate) fn digits(value: f64) -> String {
    let magnitude = value.abs();
    match magnitude {
        0.0 => "0".to_owned(),
        _ if magnitude >= 100.0 => format!("{value:.0}"),
        _ if magnitude >= 10.0 => format!("{value:.1}"),
        _ if magnitude >= 1.0 => format!("{value:.2}"),
        _ if magnitude >= 0.1 => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    }
}

pub(crate) fn seconds(value: f64) -> String {
    match value.abs() {
        0.0 => "0 s".to_owned(),
        span if span < 1e-3 => format!("{} µs", digits(value * 1e6)),
        span if span < 1.0 => format!("{} ms", digits(value * 1e3)),
        span if span < 300.0 => format!("{} s", digits(value)),
        span if span < 3.0 * 3_600.0 => format!("{} min", digits(value / 60.0)),
        span if span < 3.0 * 86_400.0 => format!("{} h", digits(value / 3_600.0)),
        _ => format!("{} d", digits(value / 86_400.0)),
    }
}

fn bytes(value: f64) -> String {
    const UNITS: [(&str, f64); 4] = [
        ("TiB", 1_099_511_627_776.0),
        ("GiB", 1_073_741_824.0),
        ("MiB", 1_048_576.0),
        ("KiB", 1_024.0),
    ];
    match UNITS.iter().find(|(_, size)| value.abs() >= *size) {
        Some((unit, size)) => format!("{} {unit}", digits(value / size)),
        None => format!("{value:.0} B"),
    }
}

/// Which number of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Statistic {
    /// The mean; what a name without a statistic means.
    Mean,
    /// A quantile, in thousandths.
    Quantile(u32),
    /// The largest.
    Max,
}

impl Statistic {
    /// All that there are.
    pub const ALL: [Self; 6] = [
        Self::Mean,
        Self::Quantile(500),
        Self::Quantile(900),
        Self::Quantile(950),
        Self::Quantile(990),
        Self::Max,
    ];

    /// As in `recovery.p99`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Quantile(500) => "p50",
            Self::Quantile(900) => "p90",
            Self::Quantile(950) => "p95",
            Self::Quantile(_) => "p99",
            Self::Max => "max",
        }
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "`Quantity::doc` says what each is")]
pub enum Quantity {
    Recovery,
    Downtime,
    Replay,
    CatchUp,
    LostWork,
    Utilisation,
    Overhead,
    Duration,
    StartDelay,
    Alignment,
    Sync,
    Async,
    Latency,
    CommitLatency,
    Lag,
    Backlog,
    InFlight,
    Storage,
    Written,
    Requests,
    Price,
    Messages,
    CheckpointMessages,
    CoordinatorBusy,
    FailedCheckpoints,
    Checkpoints,
}

use Quantity as Q;

/// Statistics of a distribution, of counts, and of what has a mean and a maximum.
const ALL: &[Statistic] = &Statistic::ALL;
const MEAN: &[Statistic] = &[Statistic::Mean];
const ENDS: &[Statistic] = &[Statistic::Mean, Statistic::Max];

impl Quantity {
    /// All that there are, in the order of reports.
    pub const ALL: [Self; 26] = [
        Q::Recovery,
        Q::Downtime,
        Q::Replay,
        Q::CatchUp,
        Q::LostWork,
        Q::Utilisation,
        Q::Overhead,
        Q::Duration,
        Q::StartDelay,
        Q::Alignment,
        Q::Sync,
        Q::Async,
        Q::Latency,
        Q::CommitLatency,
        Q::Lag,
        Q::Backlog,
        Q::InFlight,
        Q::Storage,
        Q::Written,
        Q::Requests,
        Q::Price,
        Q::Messages,
        Q::CheckpointMessages,
        Q::CoordinatorBusy,
        Q::FailedCheckpoints,
        Q::Checkpoints,
    ];

    fn row(self) -> (&'static str, Unit, &'static [Statistic], &'static str) {
        use Unit::{Bytes, PerHour, PerSecond, Price, Records, Seconds, Share};
        match self {
            Q::Recovery => {
                ("recovery", Seconds, ALL, "from a failure until no input waits longer than before")
            }
            Q::Downtime => ("downtime", Seconds, ALL, "from a failure until all subtasks run"),
            Q::Replay => {
                ("replay", Seconds, ALL, "from then until all input is read as far as before")
            }
            Q::CatchUp => ("catch_up", Seconds, ALL, "from then until the recovery ends"),
            Q::LostWork => (
                "lost_work",
                Share,
                MEAN,
                "time lost to failures (downtime, input read again) and to the synchronous part of checkpoints",
            ),
            Q::Utilisation => ("utilisation", Share, MEAN, "time not lost"),
            Q::Overhead => (
                "overhead",
                Share,
                MEAN,
                "time lost to the synchronous part of checkpoints at the busiest operator",
            ),
            Q::Duration => {
                ("duration", Seconds, ALL, "from the trigger of a checkpoint to its completion")
            }
            Q::StartDelay => {
                ("start_delay", Seconds, ENDS, "from the trigger to a subtask's first barrier")
            }
            Q::Alignment => {
                ("alignment", Seconds, ENDS, "from a subtask's first barrier to its last")
            }
            Q::Sync => ("sync", Seconds, ENDS, "synchronous part of a subtask's snapshot"),
            Q::Async => ("async", Seconds, ENDS, "asynchronous part of a subtask's snapshot"),
            Q::Latency => (
                "latency",
                Seconds,
                ALL,
                "from when a record is due at its source until a sink has it",
            ),
            Q::CommitLatency => (
                "commit_latency",
                Seconds,
                ALL,
                "from when a record is due at its source until the outside may see it",
            ),
            Q::Lag => ("lag", Seconds, ALL, "how long records wait at their source"),
            Q::Backlog => (
                "backlog",
                Records,
                MEAN,
                "records that wait at their sources, as a mean over time",
            ),
            Q::InFlight => {
                ("in_flight", Bytes, MEAN, "records persisted in flight by one checkpoint")
            }
            Q::Storage => ("storage", Bytes, ENDS, "bytes stored"),
            Q::Written => ("written", PerSecond, MEAN, "bytes written in a second"),
            Q::Requests => {
                ("requests", PerSecond, MEAN, "requests to the object store in a second")
            }
            Q::Price => ("price", Price, MEAN, "price of requests and storage in a month"),
            Q::Messages => {
                ("messages", PerSecond, MEAN, "control messages to and from the job manager")
            }
            Q::CheckpointMessages => {
                ("checkpoint_messages", PerSecond, MEAN, "of these, for checkpoints")
            }
            Q::CoordinatorBusy => {
                ("coordinator_busy", Share, MEAN, "messages times what one of them costs")
            }
            Q::FailedCheckpoints => {
                ("failed_checkpoints", Share, MEAN, "of the checkpoints that were triggered")
            }
            Q::Checkpoints => ("checkpoints", PerHour, MEAN, "completed in an hour"),
        }
    }

    /// As in `recovery.p99`.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// What it is a number of.
    pub fn unit(self) -> Unit {
        self.row().1
    }

    /// What is known of it.
    pub fn statistics(self) -> &'static [Statistic] {
        self.row().2
    }

    /// What it is.
    pub fn doc(self) -> &'static str {
        self.row().3
    }

    /// Whether it is measured at each failure, and not over a run.
    pub fn is_of_failures(self) -> bool {
        matches!(self, Q::Recovery | Q::Downtime | Q::Replay | Q::CatchUp)
    }
}

/// A quantity and a statistic of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metric {
    /// Of what.
    pub quantity: Quantity,
    /// Which number.
    pub statistic: Statistic,
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.quantity.name())?;
        match self.quantity.statistics() {
            [_] => Ok(()),
            _ => write!(f, ".{}", self.statistic.name()),
        }
    }
}

/// Why a text is no metric, or no goal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetricError {
    /// No quantity of that name.
    #[error("nothing called `{name}` is measured{}; there are {all}", meant(.nearest))]
    Unknown {
        /// The name.
        name: String,
        /// The nearest that there is.
        nearest: Option<String>,
        /// All that there are.
        all: String,
    },
    /// The quantity has no such statistic.
    #[error("`{quantity}` has no `{statistic}`; there are {all}")]
    NoStatistic {
        /// The quantity.
        quantity: &'static str,
        /// What was asked for.
        statistic: String,
        /// What there is.
        all: String,
    },
    /// No comparison.
    #[error("`{0}` is no goal such as recovery.p99<=120s")]
    NoComparison(String),
    /// The limit is not of the quantity's unit.
    #[error("`{limit}` is no limit for `{metric}`, which takes {example}")]
    BadLimit {
        /// The metric.
        metric: String,
        /// The limit.
        limit: String,
        /// What was expected.
        example: &'static str,
    },
}

fn meant(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or(String::new(), |name| format!(", did you mean `{name}`?"))
}

impl Metric {
    /// All that there are, in the order of reports.
    pub fn all() -> impl Iterator<Item = Self> {
        let of = |quantity: Quantity| {
            let statistics = quantity.statistics().iter();
            statistics.map(move |&statistic| Self { quantity, statistic })
        };
        Quantity::ALL.into_iter().flat_map(of)
    }

    /// Reads `recovery.p99`, or `recovery` for the mean.
    ///
    /// # Errors
    /// There is no such quantity, or it has no such statistic.
    pub fn parse(text: &str) -> Result<Self, MetricError> {
        let (name, statistic) = text.trim().split_once('.').unwrap_or((text.trim(), "mean"));
        let names = || Quantity::ALL.iter().map(|quantity| quantity.name());
        let found = Quantity::ALL.into_iter().find(|quantity| quantity.name() == name);
        let quantity = found.ok_or_else(|| MetricError::Unknown {
            name: name.to_owned(),
            nearest: crate::scenario::nearest(name, names()).map(str::to_owned),
            all: names().collect::<Vec<_>>().join(", "),
        })?;
        let statistics = quantity.statistics();
        let found = statistics.iter().find(|it| it.name() == statistic);
        let statistic = *found.ok_or_else(|| MetricError::NoStatistic {
            quantity: quantity.name(),
            statistic: statistic.to_owned(),
            all: statistics.iter().map(|it| it.name()).collect::<Vec<_>>().join(", "),
        })?;
        Ok(Self { quantity, statistic })
    }

    /// The name of its column: with its unit.
    pub fn column(&self) -> String {
        let (name, unit) = (self.quantity.name(), self.quantity.unit().suffix());
        match self.quantity.statistics() {
            [_] => format!("{name}_{unit}"),
            _ => format!("{name}_{}_{unit}", self.statistic.name()),
        }
    }

    /// A figure to read.
    pub fn show(&self, value: f64) -> String {
        self.quantity.unit().show(value)
    }
}

/// A limit that a recommended point keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    /// Of what.
    pub metric: Metric,
    /// At most, else at least.
    pub at_most: bool,
    /// The limit, in the unit of the quantity.
    pub limit: f64,
    /// As it was given.
    pub text: String,
}

impl Goal {
    /// Reads `recovery.p99<=120s`.
    ///
    /// # Errors
    /// It is no comparison, of something that is not measured, or with a limit of another unit.
    pub fn parse(text: &str) -> Result<Self, MetricError> {
        let place = text.find(['<', '>']).ok_or(MetricError::NoComparison(text.to_owned()))?;
        let metric = Metric::parse(&text[..place])?;
        let at_most = text[place..].starts_with('<');
        let limit = &text[place + 1..];
        let limit = limit.strip_prefix('=').unwrap_or(limit);
        let unit = metric.quantity.unit();
        let value = unit.parse(limit).ok_or_else(|| MetricError::BadLimit {
            metric: metric.to_string(),
            limit: limit.to_owned(),
            example: unit.example(),
        })?;
        Ok(Self { metric, at_most, limit: value, text: text.to_owned() })
    }

    /// Whether a value keeps it.
    pub fn is_kept_by(&self, value: f64) -> bool {
        if self.at_most { value <= self.limit } else { value >= self.limit }
    }
}

/// What requests and storage cost, as an object store bills them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Prices {
    /// A thousand writing requests.
    pub put: f64,
    /// A thousand reading requests; deleting is free.
    pub get: f64,
    /// A gigabyte (10^9 bytes) for a month.
    pub gb_month: f64,
}

/// What turns counts into costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Prices, if there are any.
    pub prices: Option<Prices>,
    /// What one message costs the job manager, if that is known.
    pub message: Option<VirtualDuration>,
}

impl Rates {
    /// As text, for the identity of a sweep.
    pub fn text(&self) -> String {
        let prices = self.prices.map(|it| format!("{},{},{}", it.put, it.get, it.gb_month));
        let message = self.message.map(format_duration);
        format!("{};{}", prices.unwrap_or_default(), message.unwrap_or_default())
    }
}

/// A metric that is measured over a whole run; `None`: nothing to measure, or it is one of failures.
pub(crate) fn of_run(
    metric: Metric,
    measures: &Measures,
    statistics: &Statistics,
    rates: &Rates,
) -> Option<f64> {
    let span = measures.span.0 as f64 / 1e9;
    let share = |part: VirtualDuration| (span > 0.0).then(|| part.0 as f64 / 1e9 / span);
    let rate = |count: u64| (span > 0.0).then(|| count as f64 / span);
    let recoveries = &measures.recoveries;
    let checkpoints = &statistics.checkpoints;
    let requests = measures.requests;
    let puts = requests.state + requests.metadata;
    match metric.quantity {
        Q::Recovery | Q::Downtime | Q::Replay | Q::CatchUp => None,
        Q::LostWork => share(recoveries.down + recoveries.replayed + measures.sync),
        Q::Utilisation => {
            let lost = share(recoveries.down + recoveries.replayed + measures.sync)?;
            Some((1.0 - lost).max(0.0))
        }
        Q::Overhead => share(measures.sync),
        Q::Duration => of_histogram(metric.statistic, &measures.duration),
        Q::StartDelay => of_durations(metric.statistic, &statistics.start_delay),
        Q::Alignment => of_durations(metric.statistic, &statistics.alignment),
        Q::Sync => of_durations(metric.statistic, &statistics.sync),
        Q::Async => of_durations(metric.statistic, &statistics.asynchronous),
        Q::Latency => of_histogram(metric.statistic, &measures.latency),
        Q::CommitLatency => of_histogram(metric.statistic, &measures.commit_latency),
        Q::Lag => of_histogram(metric.statistic, &measures.lag),
        Q::Backlog => (span > 0.0).then(|| recoveries.waited as f64 / 1e9 / span),
        Q::InFlight => {
            let completed = checkpoints.completed;
            (completed > 0).then(|| measures.in_flight_bytes as f64 / completed as f64)
        }
        Q::Storage => Some(match metric.statistic {
            Statistic::Max => measures.stored_bytes_max as f64,
            Statistic::Mean | Statistic::Quantile(_) => measures.stored_bytes_mean as f64,
        }),
        Q::Written => rate(measures.written_bytes),
        Q::Requests => rate(puts + requests.read + requests.delete),
        Q::Price => {
            const MONTH_S: f64 = 30.0 * 86_400.0;
            let Prices { put, get, gb_month } = rates.prices?;
            let requests = rate(puts)? * put + rate(requests.read)? * get;
            Some(requests * MONTH_S / 1_000.0 + measures.stored_bytes_mean as f64 / 1e9 * gb_month)
        }
        Q::Messages => rate(measures.messages),
        Q::CheckpointMessages => rate(measures.checkpoint_messages),
        Q::CoordinatorBusy => {
            let message = rates.message?.0 as f64 / 1e9;
            rate(measures.messages).map(|messages| messages * message)
        }
        Q::FailedCheckpoints => {
            let failed: u64 = checkpoints.failed.values().sum();
            let triggered = checkpoints.triggered;
            (triggered > 0).then(|| failed as f64 / triggered as f64)
        }
        Q::Checkpoints => rate(checkpoints.completed).map(|per_s| per_s * 3_600.0),
    }
}

fn of_histogram(statistic: Statistic, histogram: &Histogram) -> Option<f64> {
    match statistic {
        Statistic::Mean => histogram.mean_s(),
        Statistic::Quantile(permille) => histogram.quantile_s(permille),
        Statistic::Max => histogram.max_s(),
    }
}

fn of_durations(statistic: Statistic, durations: &Durations) -> Option<f64> {
    let span = match statistic {
        Statistic::Max => durations.max,
        Statistic::Mean | Statistic::Quantile(_) => durations.mean(),
    };
    (durations.count > 0).then(|| span.0 as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for metric in Metric::all() {
            assert_eq!(Metric::parse(&metric.to_string()), Ok(metric));
        }
        let columns: std::collections::BTreeSet<String> =
            Metric::all().map(|metric| metric.column()).collect();
        assert_eq!(columns.len(), Metric::all().count());
        assert!(columns.contains("recovery_p99_s"));
    }

    #[test]
    fn goals() {
        let goal = Goal::parse("recovery.p99<=120s").expect("a goal");
        assert_eq!((goal.limit, goal.at_most), (120.0, true));
        assert!(goal.is_kept_by(120.0) && !goal.is_kept_by(120.1));
        let goal = Goal::parse("utilisation >= 99.5 %").expect("a goal");
        assert!((goal.limit - 0.995).abs() < 1e-12 && !goal.at_most);
        for (text, expected) in [
            ("recovery.p99", "no goal"),
            ("recoverry<=1s", "did you mean `recovery`?"),
            ("recovery.p42<=1s", "there are mean, p50, p90, p95, p99, max"),
            ("recovery<=10gb", "a time such as"),
            ("recovery<=10", "a time such as"),
            ("storage<=10s", "a size such as"),
            ("lost_work<=nan", "a share such as"),
        ] {
            let error = Goal::parse(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
