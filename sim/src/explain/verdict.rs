//! A few sentences: what should hold, what happened, what cut which step short.

use serde::Serialize;

use super::Trace;
use super::focus::Focus;
use super::interruption::interruptions;
use super::promise::promise;
use super::records::{Fate, Suspect};
use crate::check::Violation;
use crate::observe::Observation;

/// The paragraph above the slice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// What should hold.
    pub should: String,
    /// What happened instead.
    pub happened: String,
    /// Which fault cut which step short, or that none did.
    pub disturbed: String,
}

pub(super) fn of(
    trace: Trace<'_>,
    violation: &Violation,
    focus: &Focus,
    found: &[Suspect],
) -> Verdict {
    let mut happened = sentence(&violation.message);
    for suspect in found {
        happened.push(' ');
        happened.push_str(&sentence(&of_record(trace, violation, suspect)));
    }
    if let Some(planted) = trace.plan.defects.planted() {
        let title =
            sentence(&format!("a defect is planted in this run: {planted}, {}", planted.title()));
        happened.push(' ');
        happened.push_str(&title);
    }
    Verdict { should: promise(violation), happened, disturbed: disturbed(trace, focus) }
}

/// The record on the wrong side, with the events that show it.
fn of_record(trace: Trace<'_>, violation: &Violation, suspect: &Suspect) -> String {
    use Observation as O;
    let Suspect { record, channel, fate } = *suspect;
    let find = |test: &dyn Fn(&O) -> bool| trace.events.iter().rposition(|(_, it)| test(it));
    let same = |of: &cutline::operator::Record| of.identity() == record.identity();
    let sent =
        find(&|it| matches!(it, O::Sent { channel: of, record } if *of == channel && same(record)));
    let taken = find(
        &|it| matches!(it, O::Processed { channel: of, record } if *of == channel && same(record)),
    );
    let ends = trace.plan.graph.channels()[channel.index()];
    let cut = violation.subject.checkpoint.and_then(|checkpoint| {
        find(&|it| matches!(*it, O::Cut { subtask, checkpoint: of, .. } if (subtask, of) == (ends.to, checkpoint)))
    });
    let event = |n: Option<usize>| n.map_or("never".to_owned(), |n| format!("at event {n}"));
    let operators = trace.plan.graph.job().operators();
    let source = operators.get(record.split.source() as usize).map_or("?", |it| it.name.as_str());
    let name = format!(
        "record {source}/{}/{} on {}",
        record.split.index_in_source(),
        record.offset,
        trace.plan.graph.channel_name(channel)
    );
    let against = cut.map_or(String::new(), |n| format!(" (the receiver's cut is event {n})"));
    match fate {
        Fate::Missing => format!(
            "{name} was sent {} and is missing behind it: processed {}{against}",
            event(sent),
            event(taken)
        ),
        Fate::Extra => {
            format!("{name} was processed {}, though sent {}{against}", event(taken), event(sent))
        }
    }
}

fn disturbed(trace: Trace<'_>, focus: &Focus) -> String {
    let struck = interruptions(trace, focus);
    let mut sentences: Vec<String> = Vec::new();
    for one in &struck {
        let at = trace.events[one.n].0;
        let when = format!("fault {} ({}) struck at {at} (event {})", one.fault, one.what, one.n);
        let found = match one.found.is_empty() {
            true => "nothing of this was under way".to_owned(),
            false => one.found.join("; "),
        };
        sentences.push(sentence(&format!("{when}: {found}")));
    }
    if !struck.is_empty() {
        return sentences.join(" ");
    }
    let earlier = trace.events[..focus.since].iter();
    match earlier.filter(|(_, it)| matches!(it, Observation::FaultInjected { .. })).count() {
        0 => "No fault had struck: the protocol comes to this by itself.".to_owned(),
        count => format!(
            "No fault struck in this part of the run ({count} had before): the protocol comes to \
             this by itself."
        ),
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().collect();
    // Names keep their case: `chk-3`, `count[0]`.
    let word = text.split_whitespace().next().unwrap_or_default();
    let is_word = word.chars().all(|letter| letter.is_ascii_alphabetic());
    let first = if is_word { first.to_uppercase() } else { first };
    format!("{first}{}.", letters.as_str())
}
