//! What a row gives to the formulas: every key is taken once, with its type, or it is a mistake.

use std::cell::RefCell;
use std::collections::BTreeSet;

use cutline::model::{Probability, Rate, Seconds};

use super::RowError;
use crate::scenario::nearest;
use crate::scenario::syntax::{Json, Member, Value};

/// What is wrong with a table, and where.
#[derive(Debug)]
pub(super) struct Mistake {
    /// The byte of the text.
    pub(super) at: usize,
    /// What is wrong there.
    pub(super) message: String,
}

impl Mistake {
    pub(super) fn new(at: &Json, message: impl Into<String>) -> Self {
        Self { at: at.span.start, message: message.into() }
    }
}

/// The members of an object.
pub(super) fn object(json: &Json) -> Result<&[Member], Mistake> {
    match &json.value {
        Value::Object(members) => Ok(members),
        _ => Err(Mistake::new(json, format!("expected an object, found {}", json.describe()))),
    }
}

/// The value of a key, if the object has it.
pub(super) fn member<'a>(json: &'a Json, key: &str) -> Result<Option<&'a Json>, Mistake> {
    Ok(object(json)?.iter().find(|member| member.key == key).map(|member| &member.value))
}

/// A number, finite as all of JSON's that a double can hold.
pub(super) fn number(json: &Json) -> Result<f64, Mistake> {
    let wrong = || Mistake::new(json, format!("expected a number, found {}", json.describe()));
    let Value::Number(text) = &json.value else {
        return Err(wrong());
    };
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) | Err(_) => Err(Mistake::new(json, format!("{text} is not a finite number"))),
    }
}

/// A whole number from 0 to 2^53, also if it is written as 1e6.
fn count(json: &Json) -> Result<u64, Mistake> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let value = number(json)?;
    if (0.0..=EXACT_MAX).contains(&value) && value.fract() == 0.0 {
        Ok(value as u64)
    } else {
        Err(Mistake::new(json, format!("expected a whole number of at least 0, found {value}")))
    }
}

fn text(json: &Json) -> Result<&str, Mistake> {
    match &json.value {
        Value::Text(text) => Ok(text),
        _ => Err(Mistake::new(json, format!("expected a word, found {}", json.describe()))),
    }
}

fn list(json: &Json) -> Result<&[Json], Mistake> {
    match &json.value {
        Value::List(values) => Ok(values),
        _ => Err(Mistake::new(json, format!("expected a list, found {}", json.describe()))),
    }
}

/// The `in` of a row.
pub(super) struct Inputs<'a> {
    whole: &'a Json,
    members: &'a [Member],
    taken: RefCell<BTreeSet<&'static str>>,
    label: RefCell<String>,
}

impl<'a> Inputs<'a> {
    pub(super) fn new(whole: &'a Json) -> Result<Self, Mistake> {
        let members = object(whole)?;
        let (taken, label) = (RefCell::default(), RefCell::default());
        Ok(Self { whole, members, taken, label })
    }

    fn find(&self, key: &'static str) -> Option<&'a Json> {
        self.taken.borrow_mut().insert(key);
        self.members.iter().find(|member| member.key == key).map(|member| &member.value)
    }

    fn get(&self, key: &'static str) -> Result<&'a Json, Mistake> {
        self.find(key).ok_or_else(|| Mistake::new(self.whole, format!("there is no `{key}` in it")))
    }

    /// Whether the row has this key.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.find(key).is_some()
    }

    pub(super) fn number(&self, key: &'static str) -> Result<f64, Mistake> {
        number(self.get(key)?)
    }

    pub(super) fn count(&self, key: &'static str) -> Result<u64, Mistake> {
        count(self.get(key)?)
    }

    pub(super) fn seconds(&self, key: &'static str) -> Result<Seconds, RowError> {
        Ok(Seconds::new(self.number(key)?)?)
    }

    /// A span that may be `null` or left out.
    pub(super) fn optional_seconds(&self, key: &'static str) -> Result<Option<Seconds>, RowError> {
        match self.find(key) {
            None => Ok(None),
            Some(json) if matches!(json.value, Value::Null) => Ok(None),
            Some(json) => Ok(Some(Seconds::new(number(json)?)?)),
        }
    }

    pub(super) fn rate(&self, key: &'static str) -> Result<Rate, RowError> {
        Ok(Rate::new(self.number(key)?)?)
    }

    pub(super) fn probability(&self, key: &'static str) -> Result<Probability, RowError> {
        Ok(Probability::new(self.number(key)?)?)
    }

    pub(super) fn flag(&self, key: &'static str) -> Result<bool, Mistake> {
        let json = self.get(key)?;
        match json.value {
            Value::Boolean(value) => Ok(value),
            _ => Err(Mistake::new(json, format!("expected a boolean, found {}", json.describe()))),
        }
    }

    /// A text with parts, read by `parse`.
    pub(super) fn parsed<T>(
        &self,
        key: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, Mistake> {
        let json = self.get(key)?;
        let text = text(json)?;
        let message = || format!("`{text}` is not {expected}");
        parse(text).ok_or_else(|| Mistake::new(json, message()))
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &'static str,
        words: &[(&str, T)],
    ) -> Result<T, Mistake> {
        chosen(self.get(key)?, words)
    }

    /// A list of words.
    pub(super) fn choices<T: Copy>(
        &self,
        key: &'static str,
        words: &[(&str, T)],
    ) -> Result<Vec<T>, Mistake> {
        list(self.get(key)?)?.iter().map(|json| chosen(json, words)).collect()
    }

    pub(super) fn counts(&self, key: &'static str) -> Result<Vec<u64>, Mistake> {
        list(self.get(key)?)?.iter().map(count).collect()
    }

    /// Takes a key that only names the row; measured columns are summed up by it.
    pub(super) fn labelled(&self, key: &'static str) -> Result<(), Mistake> {
        *self.label.borrow_mut() = text(self.get(key)?)?.to_owned();
        Ok(())
    }

    pub(super) fn label(&self) -> String {
        self.label.borrow().clone()
    }

    /// The `kind` of a row, for tables that have several; tolerances may be given by it.
    pub(super) fn kind(&self) -> String {
        let kind = self.members.iter().find(|member| member.key == "kind");
        kind.and_then(|member| text(&member.value).ok()).unwrap_or_default().to_owned()
    }

    /// A mistake at a key that has been taken.
    pub(super) fn wrong(&self, key: &'static str, message: impl Into<String>) -> Mistake {
        Mistake::new(self.find(key).unwrap_or(self.whole), message)
    }

    /// Every key has been taken.
    pub(super) fn all_taken(&self) -> Result<(), Mistake> {
        let taken = self.taken.borrow();
        let Some(left) = self.members.iter().find(|member| !taken.contains(member.key.as_str()))
        else {
            return Ok(());
        };
        let hint = match nearest(&left.key, taken.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                format!("it takes {}", taken.iter().copied().collect::<Vec<_>>().join(", "))
            }
        };
        let message = format!("the table does not take `{}`; {hint}", left.key);
        Err(Mistake { at: left.key_span.start, message })
    }
}

fn chosen<T: Copy>(json: &Json, words: &[(&str, T)]) -> Result<T, Mistake> {
    let found = text(json)?;
    let known = || words.iter().map(|(word, _)| *word);
    words.iter().find(|(word, _)| *word == found).map(|(_, value)| *value).ok_or_else(|| {
        let hint = match nearest(found, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known: {}", known().collect::<Vec<_>>().join(", ")),
        };
        Mistake::new(json, format!("unknown word `{found}`; {hint}"))
    })
}
