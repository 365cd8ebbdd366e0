//! Case files: a run that can be handed on. Scenario with every value explicit, seed, and what
//! came of it, so that whoever replays it can tell whether it is still the same run.

use cutline::config::text::{format_duration, parse_duration};
use cutline::defect::{Defect, Defects};
use cutline::time::{VirtualDuration, VirtualTime};
use serde_json::json;

use crate::check::{Class, Verdict, Violation};
use crate::kernel::digest::{Fingerprint, Ladder};
use crate::run::Outcome;

use super::diagnostic::{Diagnostic, Diagnostics, Sink, Span, nearest};
use super::load::{decode, interpret, parse, sources};
use super::model::Scenario;
use super::set::Override;
use super::syntax::{Json, Member, Value};
use super::write::to_json;

/// The format of case files, with its version.
pub const CASE_FORMAT: &str = "cutline-case/1";

const KEYS: [&str; 9] =
    ["format", "version", "seed", "defect", "verdict", "digest", "violation", "ladder", "scenario"];
const LADDER_KEYS: [&str; 4] = ["events", "whole", "step", "rungs"];
const VIOLATION_KEYS: [&str; 5] = ["check", "class", "rule", "at", "message"];
/// A ladder never has more rungs; see `kernel::digest`.
const RUNGS_MAX: usize = 64;

/// A run and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The version of Cutline that ran it: another one may give the seed another meaning.
    pub version: String,
    /// What was run.
    pub scenario: Scenario,
    /// With which seed.
    pub seed: u64,
    /// What was planted. In the file `defect` is an id, and absent without one.
    pub defects: Defects,
    /// The answer of all checks.
    pub verdict: Verdict,
    /// Digest of everything that was observed.
    pub digest: Fingerprint,
    /// Digests on the way, to find where another run parts from this one.
    pub ladder: Ladder,
    /// The first violation, if there was one.
    pub violation: Option<CaseViolation>,
}

/// A violation as a case file keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseViolation {
    /// The check that found it.
    pub check: String,
    /// What harm was done.
    pub class: Class,
    /// Which of the check's questions was answered wrongly.
    pub rule: String,
    /// When it became known.
    pub at: VirtualTime,
    /// A sentence with names and numbers.
    pub message: String,
}

impl CaseViolation {
    /// As [`Violation::signature`].
    pub fn signature(&self) -> String {
        format!("{}/{}/{}", self.check, self.class, self.rule)
    }
}

impl From<&Violation> for CaseViolation {
    fn from(of: &Violation) -> Self {
        Self {
            check: of.check.to_owned(),
            class: of.class,
            rule: of.rule.to_owned(),
            at: of.at,
            message: of.message.clone(),
        }
    }
}

impl Case {
    /// A run as a file to hand on.
    pub fn of(outcome: &Outcome) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            scenario: (*outcome.plan.scenario).clone(),
            seed: outcome.seed,
            defects: outcome.plan.defects,
            verdict: outcome.verdict,
            digest: outcome.digest,
            ladder: outcome.ladder.clone(),
            violation: outcome.violations.first().map(CaseViolation::from),
        }
    }

    /// Writes the case in the format that [`load_case`] reads.
    pub fn to_json(&self) -> String {
        let violation = self.violation.as_ref().map(|of| {
            json!({
                "check": of.check,
                "class": of.class,
                "rule": of.rule,
                "at": format_duration(of.at.since(VirtualTime::ZERO)),
                "message": of.message,
            })
        });
        let head = [
            ("format", json!(CASE_FORMAT)),
            ("version", json!(self.version)),
            ("seed", json!(self.seed)),
            ("verdict", json!(self.verdict)),
            ("digest", json!(self.digest)),
            ("violation", json!(violation)),
            ("ladder", json!(self.ladder)),
        ];
        let mut text = String::from("{\n");
        for (key, value) in head {
            text.push_str(&format!("  \"{key}\": {value},\n"));
        }
        if let Some(defect) = self.defects.planted() {
            text.push_str(&format!("  \"defect\": \"{defect}\",\n"));
        }
        let scenario = to_json(&self.scenario);
        text.push_str(&format!(
            "  \"scenario\": {}\n}}\n",
            scenario.trim_end().replace('\n', "\n  ")
        ));
        text
    }
}

/// A case and what should be said about it.
#[derive(Debug)]
pub struct LoadedCase {
    /// The case.
    pub case: Case,
    /// Warnings only.
    pub warnings: Diagnostics,
}

/// Loads a case file. `file_name` is for messages; `overrides` apply to its scenario.
///
/// # Errors
/// All errors of the file, its scenario and the overrides, by position, as
/// [`load`](super::load()) reports them.
pub fn load_case(
    text: &[u8],
    file_name: &str,
    overrides: &[Override],
) -> Result<LoadedCase, Box<Diagnostics>> {
    let mut sink = Sink::default();
    let (text, json) = match decode(text).and_then(parse) {
        Ok(parsed) => parsed,
        Err((text, error)) => {
            sink.push(*error);
            return Err(Box::new(sink.finish(sources(file_name, text, overrides))));
        }
    };
    let case = Reader { sink: &mut sink }.case(json, overrides);
    let failed = sink.has_errors();
    let found = sink.finish(sources(file_name, text, overrides));
    match case {
        Some(case) if !failed => Ok(LoadedCase { case, warnings: found }),
        _ => Err(Box::new(found)),
    }
}

/// Whether a text looks like a case file, whatever its version: for commands that take several
/// kinds of files.
pub fn is_case(text: &[u8]) -> bool {
    let Ok((_, json)) = decode(text).and_then(parse) else { return false };
    let Value::Object(members) = &json.value else { return false };
    let format = members.iter().rfind(|member| member.key == "format");
    format.is_some_and(|member| {
        matches!(&member.value.value, Value::Text(text) if text.starts_with("cutline-case/"))
    })
}

/// Members of an object by key, and where it is.
struct Fields<'j> {
    what: &'static str,
    span: Span,
    members: &'j [Member],
}

impl<'j> Fields<'j> {
    fn get(&self, key: &str) -> Option<&'j Json> {
        self.members.iter().rfind(|member| member.key == key).map(|member| &member.value)
    }
}

struct Reader<'s> {
    sink: &'s mut Sink,
}

impl Reader<'_> {
    fn case(&mut self, json: Json, overrides: &[Override]) -> Option<Case> {
        let fields = self.object(&json, "a case", &KEYS, |reader, fields| reader.format(fields))?;
        let version = self.text(&fields, "version");
        let seed = self.number(&fields, "seed");
        let defects = self.defects(&fields);
        let verdict = self.word(
            &fields,
            "verdict",
            &[("ok", Verdict::Ok), ("liveness", Verdict::Liveness), ("safety", Verdict::Safety)],
        );
        let digest = self.fingerprint(&fields, "digest");
        let violation = self.violation(&fields);
        let ladder = self.ladder(&fields);
        let scenario = match self.member(&fields, "scenario") {
            Some(json) => interpret(json.clone(), overrides, self.sink),
            None => None,
        };
        let case = Case {
            version: version?,
            seed: seed?,
            defects: defects?,
            verdict: verdict?,
            digest: digest?,
            violation: violation?,
            ladder: ladder?,
            scenario: scenario?,
        };
        self.agree(&fields, &case).then_some(case)
    }

    /// A case of another version has other keys; what could be said about them would mislead.
    fn format(&mut self, fields: &Fields<'_>) -> Option<()> {
        let json = self.member(fields, "format")?;
        let expected = format!("\"{CASE_FORMAT}\"");
        let error = match &json.value {
            Value::Text(found) if found == CASE_FORMAT => return Some(()),
            Value::Text(found) => {
                let shown: String = found.chars().take(60).collect();
                let message = if shown.starts_with("cutline-case/") {
                    format!("this version of cutline does not read `{shown}`")
                } else {
                    format!("`{shown}` is not the format of a case")
                };
                Diagnostic::error("other-version", json.span, message)
            }
            _ => wrong_type(json, "format"),
        };
        self.sink.push(error.expected(expected));
        None
    }

    /// What a case says twice must be the same.
    fn agree(&mut self, fields: &Fields<'_>, case: &Case) -> bool {
        let place = |key| fields.get(key).map_or(fields.span, head);
        let mut agrees = true;
        let mut refuse = |key, message: String, expected: &str| {
            let error = Diagnostic::error("contradiction", place(key), message);
            self.sink.push(error.expected(expected));
            agrees = false;
        };
        if case.ladder.whole != case.digest {
            let message = format!("the ladder ends at {}, not at the digest", case.ladder.whole);
            refuse("ladder", message, "`whole` equal to `digest`");
        }
        let found_nothing = case.violation.is_none();
        if (case.verdict == Verdict::Ok) != found_nothing {
            let message = match found_nothing {
                true => format!("the verdict is {}, but no violation is named", case.verdict),
                false => "the verdict is ok, but a violation is named".to_owned(),
            };
            refuse("verdict", message, "`violation` null exactly if `verdict` is \"ok\"");
        }
        agrees
    }

    /// A build without defects refuses a case that plants one: it could only run another case.
    fn defects(&mut self, fields: &Fields<'_>) -> Option<Defects> {
        let Some(json) = fields.get("defect") else { return Some(Defects::none()) };
        let id = self.string(json, "defect", "the id of a defect")?;
        let message = match id.parse::<Defect>().map(Defects::plant) {
            Ok(Ok(defects)) => return Some(defects),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        let ids = Defect::ALL.iter().map(|defect| defect.id());
        let error = Diagnostic::error("unknown-defect", json.span, message);
        self.sink.push(error.expected("the id of a defect").nearest(id, ids));
        None
    }

    fn violation(&mut self, fields: &Fields<'_>) -> Option<Option<CaseViolation>> {
        let json = self.member(fields, "violation")?;
        if matches!(json.value, Value::Null) {
            return Some(None);
        }
        let fields = self.object(json, "a violation", &VIOLATION_KEYS, |_, _| Some(()))?;
        let check = self.text(&fields, "check");
        let classes = Class::ALL.map(|class| (class.name(), class));
        let class = self.word(&fields, "class", &classes);
        let rule = self.text(&fields, "rule");
        let at = self.duration(&fields, "at");
        let message = self.text(&fields, "message");
        Some(Some(CaseViolation {
            check: check?,
            class: class?,
            rule: rule?,
            at: VirtualTime::ZERO + at?,
            message: message?,
        }))
    }

    fn ladder(&mut self, fields: &Fields<'_>) -> Option<Ladder> {
        let json = self.member(fields, "ladder")?;
        let fields = self.object(json, "a ladder", &LADDER_KEYS, |_, _| Some(()))?;
        let events = self.number(&fields, "events");
        let whole = self.fingerprint(&fields, "whole");
        let step = self.number(&fields, "step");
        let rungs = self.rungs(&fields);
        Some(Ladder { events: events?, whole: whole?, step: step?, rungs: rungs? })
    }

    fn rungs(&mut self, fields: &Fields<'_>) -> Option<Vec<Fingerprint>> {
        let json = self.member(fields, "rungs")?;
        let Value::List(elements) = &json.value else {
            self.sink.push(wrong_type(json, "rungs").expected("a list of digests"));
            return None;
        };
        if elements.len() > RUNGS_MAX {
            let message = format!("{} rungs are too many", elements.len());
            let error = Diagnostic::error("out-of-range", head(json), message);
            self.sink.push(error.expected(format!("at most {RUNGS_MAX}")));
            return None;
        }
        let read: Vec<_> =
            elements.iter().map(|element| self.fingerprint_of(element, "rungs")).collect();
        read.into_iter().collect()
    }

    fn text(&mut self, fields: &Fields<'_>, key: &'static str) -> Option<String> {
        let json = self.member(fields, key)?;
        self.string(json, key, "a string").map(str::to_owned)
    }

    fn word<T: Copy>(
        &mut self,
        fields: &Fields<'_>,
        key: &'static str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let names = || words.iter().map(|(name, _)| *name);
        let expected = format!("one of {}", names().collect::<Vec<_>>().join(", "));
        let json = self.member(fields, key)?;
        let found = self.string(json, key, &expected)?;
        let word = words.iter().find(|(name, _)| *name == found);
        if word.is_none() {
            let message = format!("`{key}` cannot be `{}`", shortened(found));
            let error = Diagnostic::error("unknown-word", json.span, message);
            self.sink.push(error.expected(expected).nearest(found, names()));
        }
        word.map(|(_, value)| *value)
    }

    fn number(&mut self, fields: &Fields<'_>, key: &'static str) -> Option<u64> {
        const EXPECTED: &str = "an integer from 0 to 18446744073709551615";
        let json = self.member(fields, key)?;
        let error = match &json.value {
            Value::Number(text) => match text.parse() {
                Ok(number) => return Some(number),
                Err(_) => {
                    let message = format!("`{key}` cannot be {}", shortened(text));
                    Diagnostic::error("out-of-range", json.span, message)
                }
            },
            _ => wrong_type(json, key),
        };
        self.sink.push(error.expected(EXPECTED));
        None
    }

    fn duration(&mut self, fields: &Fields<'_>, key: &'static str) -> Option<VirtualDuration> {
        const EXPECTED: &str = "a duration such as \"1500 ms\"";
        let json = self.member(fields, key)?;
        let text = self.string(json, key, EXPECTED)?;
        match parse_duration(text) {
            Ok(duration) => Some(duration),
            Err(error) => {
                let error = Diagnostic::error("bad-duration", json.span, error.to_string());
                self.sink.push(error.expected(EXPECTED));
                None
            }
        }
    }

    fn fingerprint(&mut self, fields: &Fields<'_>, key: &'static str) -> Option<Fingerprint> {
        let json = self.member(fields, key)?;
        self.fingerprint_of(json, key)
    }

    fn fingerprint_of(&mut self, json: &Json, key: &'static str) -> Option<Fingerprint> {
        const EXPECTED: &str = "16 hexadecimal digits, 0 to 9 and a to f";
        let text = self.string(json, key, EXPECTED)?;
        let read = text.parse().ok();
        if read.is_none() {
            let message = format!("`{}` is no digest", shortened(text));
            let error = Diagnostic::error("bad-value", json.span, message);
            self.sink.push(error.expected(EXPECTED));
        }
        read
    }

    fn string<'j>(&mut self, json: &'j Json, key: &str, expected: &str) -> Option<&'j str> {
        match &json.value {
            Value::Text(text) => Some(text),
            _ => {
                self.sink.push(wrong_type(json, key).expected(expected));
                None
            }
        }
    }

    /// The members of an object; unknown and repeated keys are reported, if `first` lets them.
    fn object<'j>(
        &mut self,
        json: &'j Json,
        what: &'static str,
        keys: &[&'static str],
        first: impl FnOnce(&mut Self, &Fields<'j>) -> Option<()>,
    ) -> Option<Fields<'j>> {
        let Value::Object(members) = &json.value else {
            self.sink.push(wrong_type(json, what).expected("an object"));
            return None;
        };
        let fields = Fields { what, span: first_byte(json.span), members };
        first(self, &fields)?;
        for (index, member) in members.iter().enumerate() {
            let key = member.key.as_str();
            if !keys.contains(&key) {
                let message = format!("{what} has no `{}`", shortened(key));
                let expected = format!("one of {}", keys.join(", "));
                let error = Diagnostic::error("unknown-key", member.key_span, message);
                let error = error.expected(expected);
                self.sink.push(match nearest(key, keys.iter().copied()) {
                    Some(name) => error.help(format!("did you mean `{name}`?")),
                    None => error,
                });
            } else if let Some(twin) = members[..index].iter().find(|twin| twin.key == key) {
                let message = format!("`{key}` is given twice");
                let error = Diagnostic::error("repeated-key", member.key_span, message);
                self.sink.push(error.expected("each key once").also(twin.key_span, "first here"));
            }
        }
        Some(fields)
    }

    fn member<'j>(&mut self, fields: &Fields<'j>, key: &'static str) -> Option<&'j Json> {
        let found = fields.get(key);
        if found.is_none() {
            let message = format!("`{key}` is missing");
            let error = Diagnostic::error("missing-key", fields.span, message);
            self.sink.push(error.expected(format!("{} with `{key}`", fields.what)));
        }
        found
    }
}

fn wrong_type(json: &Json, key: &str) -> Diagnostic {
    let message = format!("`{key}` cannot be {}", json.describe());
    Diagnostic::error("wrong-type", head(json), message)
}

fn head(json: &Json) -> Span {
    match json.value {
        Value::Object(_) | Value::List(_) => first_byte(json.span),
        _ => json.span,
    }
}

fn first_byte(span: Span) -> Span {
    Span { end: (span.start + 1).min(span.end), ..span }
}

fn shortened(text: &str) -> String {
    const SHOWN_MAX: usize = 60;
    match text.char_indices().nth(SHOWN_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
