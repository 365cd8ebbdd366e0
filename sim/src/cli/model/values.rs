//! What arguments of `cutline model` are made of: durations, sizes, rates, shares.

use clap::ValueEnum;
use cutline::config::text::{parse_duration, parse_size};
use cutline::model::barrier::{Exchange, Topology};
use cutline::model::{ModelError, Probability, Rate, Seconds};

/// A duration such as `200ms`.
pub(super) fn seconds(text: &str) -> Result<Seconds, String> {
    let span = parse_duration(text)
        .map_err(|error| format!("{error}; expected a duration such as 200ms, 2min or 1d"))?;
    Ok(Seconds::from(span))
}

/// A duration above zero.
pub(super) fn some_seconds(text: &str) -> Result<Seconds, String> {
    match seconds(text)? {
        Seconds::ZERO => Err(format!("{text} is no time at all; expected one such as 1min")),
        span => Ok(span),
    }
}

/// So many things for a unit of time, such as `10000/s`.
pub(in crate::cli) fn rate(text: &str) -> Result<Rate, String> {
    let expected = || format!("`{text}` is no rate; expected one such as 10000/s or 2.5/min");
    let (count, unit) = text.split_once('/').ok_or_else(expected)?;
    let count: f64 = count.trim().parse().map_err(|_| expected())?;
    let each = unit_of_time(unit).ok_or_else(expected)?;
    Rate::new(count / each).map_err(|error| error.to_string())
}

/// Bytes for a unit of time, such as `100mb/s`.
pub(super) fn bandwidth(text: &str) -> Result<Rate, String> {
    let expected = || format!("`{text}` is no bandwidth; expected one such as 100mb/s");
    let (size, unit) = text.split_once('/').ok_or_else(expected)?;
    let bytes = parse_size(size).map_err(|_| expected())?;
    let each = unit_of_time(unit).ok_or_else(expected)?;
    Rate::new(bytes as f64 / each).map_err(|error| error.to_string())
}

/// A size such as `64 mb`, in bytes.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    parse_size(text)
        .map_err(|error| format!("{error}; expected a size such as 100b, 64mb or 500gb"))
}

/// A probability such as `0.05` or `5%`.
pub(super) fn probability(text: &str) -> Result<Probability, String> {
    let expected = || format!("`{text}` is no probability; expected one such as 0.05 or 5%");
    let (number, whole) = match text.strip_suffix('%') {
        Some(percent) => (percent, 100.0),
        None => (text, 1.0),
    };
    let share: f64 = number.trim().parse().map_err(|_| expected())?;
    Probability::new(share / whole).map_err(|error| error.to_string())
}

/// A number above zero.
pub(super) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value.is_finite() => Ok(value),
        Ok(_) | Err(_) => Err(format!("`{text}` is no number above 0")),
    }
}

/// The seconds of a unit of time.
fn unit_of_time(unit: &str) -> Option<f64> {
    match unit.trim() {
        "s" => Some(1.0),
        "min" => Some(60.0),
        "h" => Some(3_600.0),
        "d" => Some(86_400.0),
        _ => None,
    }
}

/// How the subtasks of two operators are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Pattern {
    /// Each with each: hash, rebalance, broadcast
    AllToAll,
    /// Each with its own
    Forward,
    /// Each with a few
    Rescale,
}

/// A chain of operators.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Chain {
    /// The subtasks of each operator of a chain, sources first, such as 64,64,16
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', required = true)]
    parallelism: Vec<u64>,

    /// What leads from each operator to the next, such as all-to-all,forward
    #[arg(long, value_enum, value_name = "PATTERNS", value_delimiter = ',')]
    exchange: Vec<Pattern>,
}

impl Chain {
    pub(super) fn topology(&self) -> Result<Topology, ModelError> {
        let exchange = |pattern: &Pattern| match pattern {
            Pattern::AllToAll => Exchange::AllToAll,
            Pattern::Forward | Pattern::Rescale => Exchange::Pointwise,
        };
        let exchanges: Vec<_> = self.exchange.iter().map(exchange).collect();
        Topology::chain(self.parallelism.clone(), &exchanges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_shares_are_read() {
        for (text, expected) in [("10000/s", 1e4), ("90 / min", 1.5), ("1/d", 1.0 / 86_400.0)] {
            assert_eq!(rate(text).map(Rate::get), Ok(expected), "{text}");
        }
        for bad in ["10000", "x/s", "1/week", "-1/s", "inf/s"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
        assert_eq!(bandwidth("2kb/s").map(Rate::get), Ok(2_048.0));
        assert_eq!(probability("5%").map(Probability::get), Ok(0.05));
        for bad in ["105%", "-0.1", "p"] {
            assert!(probability(bad).is_err(), "{bad}");
        }
    }
}
