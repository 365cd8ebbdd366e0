//! Every key that Flink 2.3 has, with the type and default of its value, from `flink_keys.txt`.
//!
//! `options` says what a simulation makes of some of them; this table says of all the others
//! whether Flink has them and what Flink takes for a value. It was read off the classes of the
//! released Flink 2.3.0, and the options' own defaults are tested against it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::options::BadOption;
use super::text;

/// A key of Flink's.
#[derive(Debug)]
pub struct FlinkKey {
    /// The key.
    pub key: &'static str,
    /// What its value looks like.
    pub kind: ValueKind,
    /// What it is if nothing is said; `None`: nothing, or something that depends.
    pub default: Option<&'static str>,
    /// Spellings that Flink still accepts and logs a warning for.
    pub deprecated: Vec<&'static str>,
}

/// What Flink takes as the value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// Anything.
    Text,
    /// A list, or a text with semicolons.
    List,
    /// A mapping: what follows the key and a dot is anybody's.
    Map,
    /// True or false.
    Boolean,
    /// A whole number of 32 bits.
    Integer,
    /// A whole number of 64 bits.
    Long,
    /// A decimal number.
    Decimal,
    /// A span of time.
    Duration,
    /// Bytes.
    Size,
    /// One of several words, in any case.
    Word(Vec<&'static str>),
    /// One of several words, in any case, or the name of a class.
    Class(Vec<&'static str>),
}

/// What a text is among Flink's keys.
#[derive(Clone, Copy, Debug)]
pub(super) enum Named {
    Key(&'static FlinkKey),
    Deprecated(&'static FlinkKey),
    /// Flink 1.20 had it.
    Gone(&'static str),
}

static KEYS: LazyLock<Vec<FlinkKey>> = LazyLock::new(|| lines().filter_map(read).collect());

static NAMES: LazyLock<BTreeMap<&'static str, Named>> = LazyLock::new(|| {
    let mut names: BTreeMap<_, _> = removed_keys().map(|key| (key, Named::Gone(key))).collect();
    for key in flink_keys() {
        names.extend(key.deprecated.iter().map(|old| (*old, Named::Deprecated(key))));
    }
    names.extend(flink_keys().iter().map(|key| (key.key, Named::Key(key))));
    names
});

/// All of them, sorted.
pub fn flink_keys() -> &'static [FlinkKey] {
    &KEYS
}

/// The keys that Flink 1.20 had and Flink 2.3 has no more.
pub fn removed_keys() -> impl Iterator<Item = &'static str> {
    lines().filter_map(|line| line.strip_suffix(" | gone"))
}

pub(super) fn named(key: &str) -> Option<Named> {
    NAMES.get(key).copied().or_else(|| {
        let within = |end| match NAMES.get(&key[..end]) {
            Some(Named::Key(spec)) if spec.kind == ValueKind::Map => Some(Named::Key(spec)),
            Some(Named::Key(_) | Named::Deprecated(_) | Named::Gone(_)) | None => None,
        };
        key.rmatch_indices('.').find_map(|(end, _)| within(end))
    })
}

fn lines() -> impl Iterator<Item = &'static str> {
    include_str!("flink_keys.txt").lines().filter(|line| !line.starts_with('#'))
}

/// A key of the table; `None` for one that is gone.
fn read(line: &'static str) -> Option<FlinkKey> {
    let mut parts = line.split(" | ");
    let mut part = || parts.next();
    let (key, kind) = (part()?, part()?);
    let (default, deprecated) = (part()?, part().unwrap_or(""));
    Some(FlinkKey {
        key,
        kind: ValueKind::read(kind),
        default: Some(default).filter(|default| *default != "-"),
        deprecated: deprecated.split_whitespace().collect(),
    })
}

impl ValueKind {
    fn read(text: &'static str) -> Self {
        let words = |of: &str| {
            let inner = text.strip_prefix(of)?.strip_prefix('(')?.strip_suffix(')')?;
            Some(inner.split(' ').collect::<Vec<_>>())
        };
        match text {
            "text" => Self::Text,
            "list" => Self::List,
            "map" => Self::Map,
            "boolean" => Self::Boolean,
            "integer" => Self::Integer,
            "long" => Self::Long,
            "decimal" => Self::Decimal,
            "duration" => Self::Duration,
            "size" => Self::Size,
            other => (words("word").map(Self::Word))
                .or_else(|| words("class").map(Self::Class))
                .unwrap_or_else(|| panic!("the table has no kind of value `{other}`")),
        }
    }

    /// Whether Flink takes a text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, text: &str) -> Result<(), BadOption> {
        let unknown = |words: &[&'static str]| BadOption::UnknownWord {
            found: text.to_owned(),
            words: words.join(", "),
            choices: words.to_vec(),
        };
        let is_one = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
        match self {
            Self::Text | Self::List | Self::Map => {}
            Self::Boolean => drop(text::parse_boolean(text)?),
            Self::Integer => {
                let value = text::parse_integer(text)?;
                i32::try_from(value).map_err(|_| BadOption::TooLarge(value))?;
            }
            Self::Long => drop(text::parse_integer(text)?),
            Self::Decimal => {
                let number = text.trim().parse::<f64>();
                number.map_err(|_| text::TextError::NotNumber(text.to_owned()))?;
            }
            Self::Duration => drop(text::parse_duration(text)?),
            Self::Size => drop(text::parse_size(text)?),
            Self::Word(words) if is_one(words) => {}
            Self::Word(words) => return Err(unknown(words)),
            // A class is in a package.
            Self::Class(words) if is_one(words) || text.contains('.') => {}
            Self::Class(words) => return Err(unknown(words)),
        }
        Ok(())
    }

    /// A value for people to see what one looks like.
    pub fn example(&self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::List => "a list",
            Self::Map => "a mapping",
            Self::Boolean => "true",
            Self::Integer | Self::Long => "3",
            Self::Decimal => "0.5",
            Self::Duration => "10 s",
            Self::Size => "32 kb",
            Self::Word(words) | Self::Class(words) => words[0],
        }
    }

    /// Whether two texts are the same value, as far as can be told.
    pub fn is_same(&self, one: &str, other: &str) -> bool {
        match self {
            Self::Duration => {
                let span = |text| text::parse_duration(text).ok();
                span(one).is_some() && span(one) == span(other)
            }
            Self::Size => {
                let size = |text| text::parse_size(text).ok();
                size(one).is_some() && size(one) == size(other)
            }
            Self::Text | Self::List | Self::Map => one == other,
            Self::Boolean | Self::Integer | Self::Long | Self::Word(_) | Self::Class(_) => {
                one.eq_ignore_ascii_case(other)
            }
            Self::Decimal => {
                let number = |text: &str| text.trim().parse::<f64>().ok();
                number(one).is_some() && number(one) == number(other)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::{Key, OPTIONS, OptionKind};
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_defaults_are_values() {
        let keys: Vec<&str> =
            lines().map(|line| line.split(" | ").next().expect("a key")).collect();
        assert!(keys.is_sorted_by(|one, other| one < other), "sorted, and no key twice");
        assert!(keys.len() > 800, "{}", keys.len());
        for key in flink_keys() {
            if let Some(default) = key.default {
                assert_eq!(key.kind.check(default), Ok(()), "{}", key.key);
                assert!(key.kind.is_same(default, default), "{}", key.key);
            }
            assert!(key.deprecated.iter().all(|old| *old != key.key), "{}", key.key);
        }
    }

    #[test]
    fn the_options_are_those_of_flink() {
        // Flink says how many that is; ours says that there is no limit.
        const NO_LIMIT: Key = Key::BackoffAttempts;
        for spec in OPTIONS {
            let known = match named(spec.key) {
                Some(Named::Key(known)) => known,
                Some(Named::Gone(_)) if spec.path.0 == "buffers" => continue,
                other => panic!("{}: {other:?}", spec.key),
            };
            let kind_is_the_same = match (spec.kind, &known.kind) {
                (OptionKind::Duration, ValueKind::Duration)
                | (OptionKind::Integer, ValueKind::Integer)
                | (OptionKind::Boolean, ValueKind::Boolean)
                | (OptionKind::Decimal, ValueKind::Decimal)
                | (OptionKind::Size, ValueKind::Size)
                | (OptionKind::Uri(_), ValueKind::Text) => true,
                (OptionKind::Choice(choices), ValueKind::Word(words)) => {
                    choices.iter().all(|(_, ours)| ours.iter().any(|our| words.contains(our)))
                }
                (OptionKind::Choice(_), ValueKind::Text) => spec.id == Key::Strategy,
                _ => false,
            };
            assert!(kind_is_the_same, "{}: {:?}", spec.key, known.kind);
            assert_eq!(spec.deprecated, known.deprecated, "{}", spec.key);
            let flinks = known.default.filter(|_| spec.id != NO_LIMIT);
            let ours = spec.flinks_default();
            let flinks = flinks.map(|text| spec.parse(text).expect(spec.key));
            assert_eq!(ours, flinks, "{}", spec.key);
        }
    }

    #[test]
    fn values_are_judged_as_flink_judges_them() {
        let class = ValueKind::Class(vec!["hashmap", "rocksdb"]);
        let word = ValueKind::Word(vec!["CLAIM", "NO_CLAIM"]);
        for (kind, good, bad) in [
            (&class, "RocksDB", "rockdb"),
            (&class, "com.example.Backend", ""),
            (&word, "no_claim", "no-claim"),
            (&ValueKind::Boolean, "TRUE", "yes"),
            (&ValueKind::Integer, "-1", "4kb"),
            (&ValueKind::Integer, "2147483647", "2147483648"),
            (&ValueKind::Long, "2147483648", "1.5"),
            (&ValueKind::Decimal, "1e-1", "a half"),
            (&ValueKind::Duration, "PT1S", "1 parsec"),
            (&ValueKind::Size, "32kb", "-1"),
        ] {
            assert_eq!(kind.check(good), Ok(()), "{kind:?}: {good}");
            assert!(kind.check(bad).is_err(), "{kind:?}: {bad}");
            assert!(kind.check(kind.example()).is_ok(), "{kind:?}");
        }
        assert!(ValueKind::Duration.is_same("60 s", "1 min"));
        assert!(!ValueKind::Size.is_same("1 mb", "1 kb"));
    }
}
