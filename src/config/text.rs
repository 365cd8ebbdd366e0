//! Flink's grammar of option values.
//!
//! Flink: `TimeUtils`, `MemorySize`, `ConfigurationUtils`. A number without a unit is milliseconds
//! or bytes; labels are read without regard to case; signs are not part of the grammar.

use crate::time::VirtualDuration;

const SECOND: u64 = 1_000_000_000;

/// Labels of one unit; the first is the one we write.
type Labels = &'static [&'static str];

const TIME_UNITS: &[(Labels, u64)] = &[
    (&["d", "day", "days"], 86_400_000_000_000),
    (&["h", "hour", "hours"], 3_600_000_000_000),
    (&["min", "m", "minute", "minutes"], 60_000_000_000),
    (&["s", "sec", "secs", "second", "seconds"], SECOND),
    (&["ms", "milli", "millis", "millisecond", "milliseconds"], 1_000_000),
    (&["µs", "micro", "micros", "microsecond", "microseconds"], 1_000),
    (&["ns", "nano", "nanos", "nanosecond", "nanoseconds"], 1),
];

const SIZE_UNITS: &[(Labels, u64)] = &[
    (&["tb", "t", "tebibytes"], 1 << 40),
    (&["gb", "g", "gibibytes"], 1 << 30),
    (&["mb", "m", "mebibytes"], 1 << 20),
    (&["kb", "k", "kibibytes"], 1 << 10),
    (&["b", "bytes"], 1),
];

/// Why a text is not a value of its type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing but white space.
    #[error("the text is empty")]
    Empty,
    /// Flink's grammar has no sign, and starts with digits.
    #[error("`{0}` does not start with a number")]
    NoNumber(String),
    /// More than 64 bits, or (durations) more than the 584 years of virtual time.
    #[error("`{0}` is out of range")]
    TooLarge(String),
    /// A label that Flink does not know.
    #[error("`{0}` is not a unit; units are {1}")]
    UnknownUnit(String, String),
    /// Neither `true` nor `false`.
    #[error("`{0}` is neither true nor false")]
    NotBoolean(String),
    /// Not a whole number.
    #[error("`{0}` is not a whole number")]
    NotInteger(String),
    /// Not a decimal, or one that thousandths cannot hold.
    #[error("`{0}` is not a decimal number with at most three decimals")]
    NotDecimal(String),
    /// Not a number at all.
    #[error("`{0}` is not a number")]
    NotNumber(String),
}

/// Reads `10 s`, `5min`, `1 d`, `PT1M30S`, or a plain number of milliseconds.
///
/// # Errors
/// What is wrong with the text, in Flink's terms.
pub fn parse_duration(text: &str) -> Result<VirtualDuration, TextError> {
    let text = text.trim();
    if text.starts_with(['P', 'p']) {
        return parse_iso_duration(text);
    }
    parse_with_unit(text, TIME_UNITS, 1_000_000).map(VirtualDuration::from_nanos)
}

/// Reads `32kb`, `1 mb`, or a plain number of bytes.
///
/// # Errors
/// What is wrong with the text, in Flink's terms.
pub fn parse_size(text: &str) -> Result<u64, TextError> {
    parse_with_unit(text.trim(), SIZE_UNITS, 1)
}

/// Reads `true` or `false`, in any case. Flink: `ConfigurationUtils#convertToBoolean`.
///
/// # Errors
/// The text is neither.
pub fn parse_boolean(text: &str) -> Result<bool, TextError> {
    if text.eq_ignore_ascii_case("true") {
        Ok(true)
    } else if text.eq_ignore_ascii_case("false") {
        Ok(false)
    } else {
        Err(TextError::NotBoolean(text.to_owned()))
    }
}

/// Reads a whole number, negative ones included.
///
/// # Errors
/// The text is not a whole number of 64 bits.
pub fn parse_integer(text: &str) -> Result<i64, TextError> {
    text.trim().parse().map_err(|_| TextError::NotInteger(text.to_owned()))
}

/// Reads a decimal such as `1.5` as thousandths.
///
/// Deviation: Flink reads a double; a fourth decimal or an exponent is refused here, because no
/// float may decide an event.
///
/// # Errors
/// The text is not a decimal, has more than three decimals, or is out of range.
pub fn parse_permille(text: &str) -> Result<u32, TextError> {
    let error = || TextError::NotDecimal(text.to_owned());
    let (whole, decimals) = text.trim().split_once('.').unwrap_or((text.trim(), "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) {
        return Err(error());
    }
    let decimals = decimals.trim_end_matches('0');
    if decimals.len() > 3 {
        return Err(error());
    }
    let thousandths: u32 = format!("{decimals:0<3}").parse().map_err(|_| error())?;
    whole
        .parse::<u32>()
        .ok()
        .and_then(|whole| whole.checked_mul(1_000)?.checked_add(thousandths))
        .ok_or_else(|| TextError::TooLarge(text.to_owned()))
}

/// Writes a span so that `parse_duration` gives it back: `10 s`, `1500 µs`.
pub fn format_duration(span: VirtualDuration) -> String {
    let ns = span.as_nanos();
    if ns == 0 {
        return "0 ms".to_owned();
    }
    format_with_unit(ns, TIME_UNITS)
}

/// Writes a size so that `parse_size` gives it back: `32 kb`, `100 b`.
pub fn format_size(bytes: u64) -> String {
    if bytes == 0 { "0 b".to_owned() } else { format_with_unit(bytes, SIZE_UNITS) }
}

/// Writes thousandths so that `parse_permille` gives them back: `1.5`, `2`.
pub fn format_permille(permille: u32) -> String {
    let decimals = format!("{:03}", permille % 1_000);
    match decimals.trim_end_matches('0') {
        "" => (permille / 1_000).to_string(),
        decimals => format!("{}.{decimals}", permille / 1_000),
    }
}

fn format_with_unit(value: u64, units: &[(Labels, u64)]) -> String {
    let (labels, factor) = units
        .iter()
        .find(|(_, factor)| value.is_multiple_of(*factor))
        .expect("the last unit has factor 1 and divides everything");
    format!("{} {}", value / factor, labels[0])
}

fn parse_with_unit(text: &str, units: &[(Labels, u64)], plain: u64) -> Result<u64, TextError> {
    if text.is_empty() {
        return Err(TextError::Empty);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, label) = (&text[..digits], text[digits..].trim().to_lowercase());
    if number.is_empty() {
        return Err(TextError::NoNumber(text.to_owned()));
    }
    let factor = if label.is_empty() {
        plain
    } else {
        let unit = units.iter().find(|(labels, _)| labels.contains(&label.as_str()));
        unit.ok_or_else(|| TextError::UnknownUnit(label, first_labels(units)))?.1
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| TextError::TooLarge(text.to_owned()))
}

fn first_labels(units: &[(Labels, u64)]) -> String {
    units.iter().map(|(labels, _)| labels[0]).collect::<Vec<_>>().join(", ")
}

/// ISO 8601, `PnDTnHnMn.nS`, as `java.time.Duration` reads it; spans only, so no signs.
fn parse_iso_duration(text: &str) -> Result<VirtualDuration, TextError> {
    let malformed = || TextError::NoNumber(text.to_owned());
    let body = text[1..].to_ascii_uppercase();
    let (days, time) = match body.split_once('T') {
        Some((_, "")) => return Err(malformed()),
        Some(parts) => parts,
        None if body.is_empty() => return Err(malformed()),
        None => (body.as_str(), ""),
    };
    const CLOCK: &[(char, u64)] = &[('H', 3_600_000_000_000), ('M', 60_000_000_000), ('S', SECOND)];
    let days = iso_sum(days, &[('D', 86_400_000_000_000)]).ok_or_else(malformed)?;
    let time = iso_sum(time, CLOCK).ok_or_else(malformed)?;
    days.checked_add(time)
        .map(VirtualDuration::from_nanos)
        .ok_or_else(|| TextError::TooLarge(text.to_owned()))
}

/// The parts of a text in the order of their letters; `None` if anything is left over.
fn iso_sum(mut text: &str, units: &[(char, u64)]) -> Option<u64> {
    let mut sum = 0_u64;
    for &(letter, factor) in units {
        if let Some((number, behind)) = text.split_once(letter) {
            sum = sum.checked_add(iso_number(number, factor)?)?;
            text = behind;
        }
    }
    text.is_empty().then_some(sum)
}

/// So many units in nanoseconds; only seconds may have a fraction.
fn iso_number(number: &str, factor: u64) -> Option<u64> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, nanos) = match number.split_once('.') {
        Some((whole, fraction)) if factor == SECOND && digits(fraction) && fraction.len() <= 9 => {
            (whole, format!("{fraction:0<9}").parse().ok()?)
        }
        Some(_) => return None,
        None => (number, 0),
    };
    let whole: u64 = digits(whole).then(|| whole.parse().ok())??;
    whole.checked_mul(factor)?.checked_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_as_flink_reads_them() {
        let ms = |ms| Ok(VirtualDuration::from_millis(ms));
        let unit = |label: &str| {
            Err(TextError::UnknownUnit(label.to_owned(), "d, h, min, s, ms, µs, ns".to_owned()))
        };
        let cases = [
            ("plain is milliseconds", "250", ms(250)),
            ("space", "10 s", ms(10_000)),
            ("no space", "5min", ms(300_000)),
            ("white space around", "  7 sec ", ms(7_000)),
            ("upper case", "2 HOURS", ms(7_200_000)),
            ("plural", "1 days", ms(86_400_000)),
            ("micro sign", "1500 µs", Ok(VirtualDuration::from_micros(1_500))),
            ("nanoseconds", "3 nanos", Ok(VirtualDuration::from_nanos(3))),
            ("iso", "PT10S", ms(10_000)),
            ("iso parts", "p1dt2h3m4.005s", ms(93_784_005)),
            ("iso days only", "P2D", ms(172_800_000)),
            ("empty", "  ", Err(TextError::Empty)),
            ("negative", "-5 s", Err(TextError::NoNumber("-5 s".to_owned()))),
            ("no plural of s", "1 ss", unit("ss")),
            ("ascii micro", "1 us", unit("us")),
            ("fraction", "1.5 s", unit(".5 s")),
            ("too large", "600000 d", Err(TextError::TooLarge("600000 d".to_owned()))),
            ("iso without parts", "P", Err(TextError::NoNumber("P".to_owned()))),
            ("iso without time", "P1DT", Err(TextError::NoNumber("P1DT".to_owned()))),
            ("iso order", "PT1S1M", Err(TextError::NoNumber("PT1S1M".to_owned()))),
            ("iso fraction of a minute", "PT1.5M", Err(TextError::NoNumber("PT1.5M".to_owned()))),
        ];
        for (name, text, expected) in cases {
            assert_eq!(parse_duration(text), expected, "{name}");
        }
    }

    #[test]
    fn sizes_are_read_as_flink_reads_them() {
        let cases = [
            ("plain is bytes", "100", Some(100)),
            ("short", "32kb", Some(32 << 10)),
            ("space and case", "1 MB", Some(1 << 20)),
            ("one letter", "2g", Some(2 << 30)),
            ("word", "3 tebibytes", Some(3 << 40)),
            ("unknown", "1 kib", None),
            ("too large", "99999999 tb", None),
        ];
        for (name, text, expected) in cases {
            assert_eq!(parse_size(text).ok(), expected, "{name}");
        }
    }

    #[test]
    fn decimals_are_thousandths() {
        let cases = [
            ("1.5", Some(1_500)),
            ("0.1", Some(100)),
            ("2", Some(2_000)),
            ("1.0500", Some(1_050)),
            ("1.0005", None),
            ("1e3", None),
            (".5", None),
            ("-1", None),
            ("5000000", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_permille(text).ok(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(ns: u64, permille: u32) {
            prop_assert_eq!(
                parse_duration(&format_duration(VirtualDuration(ns))),
                Ok(VirtualDuration(ns))
            );
            prop_assert_eq!(parse_size(&format_size(ns)), Ok(ns));
            prop_assert_eq!(parse_permille(&format_permille(permille)), Ok(permille));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,12}", time in "[Pp]?[0-9DTHMS. a-zµ]{0,12}") {
            for text in [text, time] {
                let _ = (parse_duration(&text), parse_size(&text), parse_permille(&text));
            }
        }
    }
}
