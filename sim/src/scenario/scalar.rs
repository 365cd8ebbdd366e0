//! Single values of a scenario file, by the type the table gives them.

use cutline::config::text::{
    format_duration as shown, format_permille, parse_duration, parse_permille, parse_size,
};
use cutline::config::{BadOption, OptionKind, OptionSpec, OptionValue};
use cutline::time::VirtualDuration;

use crate::kernel::distribution::Distribution;

use super::diagnostic::nearest;
use super::read::Datum;
use super::syntax::{Json, Member, Value};
use super::table::Kind;
use super::values;

/// Why a scalar was refused.
pub(super) enum Refusal {
    /// Another JSON type was expected.
    Type(String),
    /// The type is right, the value is not.
    Value { code: &'static str, message: String, expected: String, help: Option<String> },
}

fn refusal(code: &'static str, message: impl ToString, expected: impl ToString) -> Refusal {
    let (message, expected) = (message.to_string(), expected.to_string());
    Refusal::Value { code, message, expected, help: None }
}

/// Reads a value that is not made of fields.
pub(super) fn scalar(json: &Json, kind: &Kind) -> Result<Datum, Refusal> {
    const DURATION: &str = "a duration such as \"500 ms\", \"10 s\" or \"5 min\"";
    const SIZE: &str = "a size such as \"100 b\", \"32 kb\" or \"1 gb\"";
    Ok(match kind {
        Kind::Text | Kind::Format => Datum::Text(text(json, "a string")?.to_owned()),
        Kind::Name => {
            let name = text(json, "a name")?;
            let expected = "1 to 100 letters, digits, `_`, `-` or `.`";
            if !values::is_name(name) {
                return Err(refusal("bad-value", format!("`{name}` is not a name"), expected));
            }
            Datum::Text(name.to_owned())
        }
        Kind::Integer { min, max } => Datum::Integer(integer(json, *min, *max)?),
        Kind::Duration { min, max } => {
            let span = duration(json, *min, DURATION)?;
            if span > *max {
                let expected = format!("at most {}", shown(*max));
                let message = format!("{} is too long", shown(span));
                return Err(refusal("out-of-range", message, expected));
            }
            Datum::Duration(span)
        }
        Kind::When(_) => {
            let expected = "a time such as \"3 s\", or an object with a `step`";
            Datum::Duration(duration(json, VirtualDuration::ZERO, expected)?)
        }
        Kind::Size { min, max } => {
            let bytes =
                parse_size(text(json, SIZE)?).map_err(|error| refusal("bad-size", error, SIZE))?;
            if !(*min..=*max).contains(&bytes) {
                let expected = format!("from {min} to {max} bytes");
                return Err(refusal("out-of-range", format!("{bytes} bytes"), expected));
            }
            Datum::Integer(bytes)
        }
        Kind::Bandwidth => {
            let expected = "a size a second such as \"100 mb/s\", or \"unlimited\"";
            let bandwidth = values::parse_bandwidth(text(json, expected)?);
            Datum::Integer(bandwidth.map_err(|error| refusal("bad-value", error, expected))?)
        }
        Kind::Rate => {
            let expected = "a rate such as \"1000/s\" or \"30/min\"";
            let every = values::parse_rate(text(json, expected)?);
            Datum::Duration(every.map_err(|error| refusal("bad-value", error, expected))?)
        }
        Kind::Ratio => {
            let expected = "a share such as \"1/2\" or \"250/1000\"";
            let share = values::parse_ratio(text(json, expected)?);
            Datum::Permille(share.map_err(|error| refusal("bad-value", error, expected))?)
        }
        Kind::Boolean => match json.value {
            Value::Boolean(value) => Datum::Boolean(value),
            _ => return Err(Refusal::Type("true or false".to_owned())),
        },
        Kind::Decimal { min, max } => Datum::Permille(decimal(json, *min, *max)?),
        Kind::Choice(words) => Datum::Word(word(json, words)?),
        Kind::Distribution => Datum::Distribution(distribution(json)?),
        Kind::Subtask => {
            let expected = "a subtask such as \"count[1]\"";
            let subtask = values::parse_indexed(text(json, expected)?);
            let (name, index) = subtask.map_err(|error| refusal("bad-value", error, expected))?;
            Datum::Subtask(name.to_owned(), index)
        }
        Kind::Endpoint => {
            let expected = "\"job_manager\" or \"task_manager[0]\"";
            let endpoint = values::parse_endpoint(text(json, expected)?);
            Datum::Endpoint(endpoint.map_err(|error| refusal("bad-value", error, expected))?)
        }
        Kind::Option(spec) => Datum::Option(spec.id, option(json, spec)?),
        Kind::Object(_) | Kind::List(..) | Kind::ByOperator { .. } | Kind::Flink => {
            unreachable!("read by `datum`, which handles what is made of fields")
        }
    })
}

fn text<'j>(json: &'j Json, expected: &str) -> Result<&'j str, Refusal> {
    match &json.value {
        Value::Text(text) => Ok(text),
        _ => Err(Refusal::Type(expected.to_owned())),
    }
}

fn integer(json: &Json, min: u64, max: u64) -> Result<u64, Refusal> {
    let Value::Number(number) = &json.value else {
        return Err(Refusal::Type("a whole number".to_owned()));
    };
    let expected = format!("a whole number from {min} to {max}");
    match number.parse::<u64>() {
        Ok(value) if (min..=max).contains(&value) => Ok(value),
        _ => Err(refusal("out-of-range", format!("{} is out of range", short(number)), expected)),
    }
}

fn decimal(json: &Json, min: u32, max: u32) -> Result<u32, Refusal> {
    let expected = format!("a decimal from {} to {}", format_permille(min), format_permille(max));
    let number = matches!(json.value, Value::Text(_) | Value::Number(_));
    let scalar = json.scalar().filter(|_| number).ok_or(Refusal::Type(expected.clone()))?;
    match parse_permille(&scalar) {
        Ok(permille) if (min..=max).contains(&permille) => Ok(permille),
        Ok(_) => {
            Err(refusal("out-of-range", format!("{} is out of range", short(&scalar)), expected))
        }
        Err(error) => Err(refusal("bad-value", error, expected)),
    }
}

fn duration(json: &Json, min: VirtualDuration, expected: &str) -> Result<VirtualDuration, Refusal> {
    let span = parse_duration(text(json, expected)?);
    let span = span.map_err(|error| refusal("bad-duration", error, expected))?;
    if span < min {
        return Err(refusal("out-of-range", "no time at all", "more than 0 ms"));
    }
    Ok(span)
}

fn word(json: &Json, words: &[&'static str]) -> Result<&'static str, Refusal> {
    let found = text(json, "a word")?;
    words.iter().copied().find(|word| *word == found).ok_or_else(|| Refusal::Value {
        code: "unknown-word",
        message: format!("there is no `{}`", short(found)),
        expected: format!("one of {}", words.join(", ")),
        help: nearest(found, words.iter().copied()).map(|word| format!("did you mean `{word}`?")),
    })
}

fn option(json: &Json, spec: &OptionSpec) -> Result<OptionValue, Refusal> {
    use OptionKind::{Boolean, Choice, Decimal, Duration, Integer, Size, Uri};
    let expected = match spec.kind {
        Duration => "a duration such as \"500 ms\" or \"10 s\"",
        Integer => "a whole number",
        Boolean => "true or false",
        Decimal => "a decimal number such as 1.5",
        Size => "a size such as \"20 kb\"",
        Uri(_) => "a path with a scheme, such as \"hdfs://namenode/flink\"",
        Choice(_) => "a word",
    };
    let fits = match &json.value {
        Value::Text(_) => matches!(spec.kind, Duration | Choice(_) | Decimal | Size | Uri(_)),
        Value::Number(_) => matches!(spec.kind, Integer | Decimal),
        Value::Boolean(_) => spec.kind == Boolean,
        Value::Null | Value::List(_) | Value::Object(_) => false,
    };
    let scalar = json.scalar().filter(|_| fits);
    let scalar = scalar.ok_or_else(|| Refusal::Type(expected.to_owned()))?;
    spec.parse_short(&scalar).map_err(|error| bad_option(&scalar, error, expected))
}

/// The words for an option's text that was refused; `flink` has the same.
fn bad_option(found: &str, error: BadOption, expected: &str) -> Refusal {
    match error {
        BadOption::UnknownWord { words, choices, .. } => Refusal::Value {
            code: "unknown-word",
            message: format!("there is no `{}`", short(found)),
            expected: format!("one of {words}"),
            help: nearest(found, choices).map(|word| format!("did you mean `{word}`?")),
        },
        BadOption::TooLarge(value) => refusal("out-of-range", value, "a number of 32 bits"),
        BadOption::Text(error) => {
            let code = if expected.contains("duration") { "bad-duration" } else { "bad-value" };
            refusal(code, error, expected)
        }
    }
}

fn distribution(json: &Json) -> Result<Distribution, Refusal> {
    const EXPECTED: &str = "a duration, or {\"uniform\": [min, max]}, {\"exponential\": {\"min\", \
                            \"mean\"}}, {\"log_normal\": {\"median\", \"sigma\"}}";
    let wrong = || Refusal::Type(EXPECTED.to_owned());
    let span = |json: &Json| duration(json, VirtualDuration::ZERO, EXPECTED);
    let members = match &json.value {
        Value::Text(_) => return span(json).map(Distribution::Constant),
        Value::Object(members) => members,
        _ => return Err(wrong()),
    };
    let [member] = &members[..] else { return Err(wrong()) };
    match (member.key.as_str(), &member.value.value) {
        ("uniform", Value::List(ends)) => {
            let [min, max] = &ends[..] else { return Err(wrong()) };
            let (min, max) = (span(min)?, span(max)?);
            if min > max {
                return Err(refusal(
                    "out-of-range",
                    format!("{} is longer than {}", shown(min), shown(max)),
                    EXPECTED,
                ));
            }
            Ok(Distribution::Uniform { min, max })
        }
        ("exponential", Value::Object(parts)) => {
            let [min, mean] = two(parts, ["min", "mean"]).ok_or_else(wrong)?;
            let (min, mean) = (span(min)?, span(mean)?);
            if min > mean {
                let message =
                    format!("the mean, {}, is below the minimum, {}", shown(mean), shown(min));
                return Err(refusal("out-of-range", message, EXPECTED));
            }
            Ok(Distribution::Exponential { min, mean })
        }
        ("log_normal", Value::Object(parts)) => {
            let [median, sigma] = two(parts, ["median", "sigma"]).ok_or_else(wrong)?;
            let sigma = sigma.scalar().ok_or_else(wrong)?;
            let sigma_permille = parse_permille(&sigma)
                .map_err(|error| refusal("bad-value", error, "a decimal such as \"0.5\""))?;
            Ok(Distribution::LogNormal { median: span(median)?, sigma_permille })
        }
        _ => Err(wrong()),
    }
}

/// The values of exactly these two keys.
fn two<'j>(members: &'j [Member], names: [&str; 2]) -> Option<[&'j Json; 2]> {
    let of = |name| members.iter().find(|member| member.key == name).map(|member| &member.value);
    (members.len() == 2).then_some([of(names[0])?, of(names[1])?])
}

/// A text that may be megabytes long, for a message.
fn short(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}
