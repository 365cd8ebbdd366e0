//! An explanation as text and as JSON.

use serde_json::{Value, json};

use crate::explain::Explanation;

use super::line::milliseconds;
use super::sentence::sentence;
use super::space_time::{SpaceTime, Style};

/// The verdict, then the slice as a space-time view with a sentence for each event.
pub fn explanation_text(explanation: &Explanation, width: usize, style: Style) -> String {
    let Explanation { violation, verdict, lines, subtasks, causes, events } = explanation;
    let Style { bad, reset, .. } = style;
    let mut text =
        format!("{bad}{}{reset} [{}] at {}\n\n", violation.class, violation.check, violation.at);
    for (what, said) in [
        ("what should hold", &verdict.should),
        ("what happened", &verdict.happened),
        ("what disturbed it", &verdict.disturbed),
    ] {
        text.push_str(&paragraph(what, said, width));
    }
    text.push_str(&format!(
        "\n{} of the {causes} events that led there, of {events} in all:\n\n",
        lines.len()
    ));
    let view = SpaceTime::narrow(subtasks, width, style);
    text.push_str(&view.head());
    for line in lines {
        text.push_str(&view.line_saying(line, &sentence(line)));
    }
    text
}

/// The same as one JSON object, in one line.
pub fn explanation_json(explanation: &Explanation) -> String {
    let Explanation { violation, verdict, lines, subtasks, causes, events } = explanation;
    let line = |line: &super::line::Line| {
        let mut object: Value =
            serde_json::from_str(&line.to_json()).expect("a line is written as JSON");
        object["says"] = json!(sentence(line));
        object
    };
    json!({
        "violation": {
            "check": violation.check,
            "class": violation.class.name(),
            "rule": violation.rule,
            "at_ms": milliseconds(violation.at.as_nanos()),
            "message": violation.message,
        },
        "verdict": verdict,
        "subtasks": subtasks,
        "causes": causes,
        "events": events,
        "lines": lines.iter().map(line).collect::<Vec<_>>(),
    })
    .to_string()
}

/// A heading and what is said, in lines of so many characters.
fn paragraph(heading: &str, said: &str, width: usize) -> String {
    const INDENT: usize = 19;
    let mut text = format!("{heading:<INDENT$}");
    let mut column = INDENT;
    for (index, word) in said.split_whitespace().enumerate() {
        let room = word.chars().count() + 1;
        if index > 0 && column + room > width {
            text.push_str(&format!("\n{:INDENT$}", ""));
            column = INDENT;
        } else if index > 0 {
            text.push(' ');
        }
        text.push_str(word);
        column += room;
    }
    text.push('\n');
    text
}
