//! The small grammars of a scenario file that are not Flink's: rates, shares, bandwidths,
//! subtasks, ends of links.

use cutline::config::text::{TextError, format_size, parse_duration, parse_size};
use cutline::time::VirtualDuration;

pub(super) use super::model::Endpoint;

/// Why a text is not in one of these grammars.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ValueError {
    /// A size or a unit that Flink's grammar does not have.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Another form altogether.
    #[error("`{0}` has another form")]
    Form(String),
    /// A share above 1, or one that thousandths cannot hold.
    #[error("`{0}` is not a share in whole thousandths")]
    Share(String),
    /// No time would pass between two records.
    #[error("`{0}` is not between one in 584 years and one in a nanosecond")]
    Rate(String),
}

/// Whether a text can name an operator.
pub(super) fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=100).contains(&text.len()) && text.bytes().all(allowed)
}

/// `100 mb/s` in bytes a second; `unlimited` is 0.
pub(super) fn parse_bandwidth(text: &str) -> Result<u64, ValueError> {
    if text == "unlimited" {
        return Ok(0);
    }
    let form = || ValueError::Form(text.to_owned());
    let size = parse_size(text.strip_suffix("/s").ok_or_else(form)?)?;
    if size == 0 { Err(form()) } else { Ok(size) }
}

/// The inverse of `parse_bandwidth`.
pub(crate) fn format_bandwidth(bytes: u64) -> String {
    if bytes == 0 { "unlimited".to_owned() } else { format!("{}/s", format_size(bytes)) }
}

/// `1000/s` as the span between two, rounded down to nanoseconds.
pub(super) fn parse_rate(text: &str) -> Result<VirtualDuration, ValueError> {
    let (count, unit) = text.split_once('/').ok_or_else(|| ValueError::Form(text.to_owned()))?;
    let count: u64 = count.trim().parse().map_err(|_| ValueError::Form(text.to_owned()))?;
    let unit = parse_duration(&format!("1 {}", unit.trim()))?;
    match unit.as_nanos().checked_div(count) {
        Some(every) if every > 0 => Ok(VirtualDuration::from_nanos(every)),
        _ => Err(ValueError::Rate(text.to_owned())),
    }
}

/// `1/4` in thousandths; a share that thousandths cannot hold is refused, not rounded.
pub(super) fn parse_ratio(text: &str) -> Result<u32, ValueError> {
    let form = || ValueError::Form(text.to_owned());
    let (part, whole) = text.split_once('/').ok_or_else(form)?;
    let part: u64 = part.trim().parse().map_err(|_| form())?;
    let whole: u64 = whole.trim().parse().map_err(|_| form())?;
    let share = || ValueError::Share(text.to_owned());
    let thousandths = part.checked_mul(1_000).filter(|_| part <= whole).ok_or_else(share)?;
    if whole == 0 || !thousandths.is_multiple_of(whole) {
        return Err(share());
    }
    u32::try_from(thousandths / whole).map_err(|_| share())
}

/// `count[1]` as a name and a number.
pub(super) fn parse_indexed(text: &str) -> Result<(&str, u32), ValueError> {
    let form = || ValueError::Form(text.chars().take(60).collect());
    let (name, index) = text.strip_suffix(']').and_then(|t| t.split_once('[')).ok_or_else(form)?;
    if !is_name(name) || index.is_empty() || !index.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(form());
    }
    Ok((name, index.parse().map_err(|_| form())?))
}

/// `job_manager`, `job_manager[1]` or `task_manager[0]`.
pub(super) fn parse_endpoint(text: &str) -> Result<Endpoint, ValueError> {
    match parse_indexed(text) {
        _ if text == "job_manager" => Ok(Endpoint::JobManager),
        Ok(("job_manager", 0)) => Ok(Endpoint::JobManager),
        Ok(("job_manager", index)) => Ok(Endpoint::Candidate(index)),
        Ok(("task_manager", index)) => Ok(Endpoint::TaskManager(index)),
        _ => Err(ValueError::Form(text.chars().take(60).collect())),
    }
}

/// The inverse of `parse_endpoint`.
pub(super) fn format_endpoint(endpoint: Endpoint) -> String {
    match endpoint {
        Endpoint::JobManager => "job_manager".to_owned(),
        Endpoint::Candidate(index) => format!("job_manager[{index}]"),
        Endpoint::TaskManager(index) => format!("task_manager[{index}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammars() {
        let us = VirtualDuration::from_micros;
        for (text, expected) in [
            ("1000/s", Some(us(1_000))),
            ("30 / min", Some(us(2_000_000))),
            ("0/s", None),
            ("2000000000/s", None),
            ("5", None),
            ("5/parsec", None),
        ] {
            assert_eq!(parse_rate(text).ok(), expected, "{text}");
        }
        for (text, expected) in [
            ("1/2", Some(500)),
            ("1/1", Some(1_000)),
            ("0/7", Some(0)),
            ("250/1000", Some(250)),
            ("1/3", None),
            ("3/2", None),
            ("1/0", None),
            ("0.5", None),
            ("99999999999999999999/1", None),
        ] {
            assert_eq!(parse_ratio(text).ok(), expected, "{text}");
        }
        for (text, expected) in [
            ("count[1]", Some(("count", 1))),
            ("count", None),
            ("[1]", None),
            ("count[]", None),
            ("count[-1]", None),
            ("count[4294967296]", None),
        ] {
            assert_eq!(parse_indexed(text).ok(), expected, "{text}");
        }
        for (text, expected) in [
            ("job_manager", Some(Endpoint::JobManager)),
            ("job_manager[2]", Some(Endpoint::Candidate(2))),
            ("task_manager[3]", Some(Endpoint::TaskManager(3))),
            ("host[1]", None),
        ] {
            assert_eq!(parse_endpoint(text).ok(), expected, "{text}");
        }
        for (text, expected) in
            [("1 mb/s", Some(1 << 20)), ("unlimited", Some(0)), ("1 mb", None), ("0 b/s", None)]
        {
            assert_eq!(parse_bandwidth(text).ok(), expected, "{text}");
        }
    }
}
