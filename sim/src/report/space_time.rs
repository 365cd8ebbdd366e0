//! A trace as a space-time view: a column for the job manager and for each subtask, a line for
//! each event, time running downwards.

use std::fmt::Write as _;

use super::columns::Columns;
use super::line::Line;
use super::words::{symbol, words};

/// Characters before the first column: time, number of the event.
const MARGIN: usize = 24;

/// How parts of the view are made to stand out; empty strings for plain text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Before the head of the columns.
    pub head: &'static str,
    /// Before the lines of columns in which nothing happens, and before times.
    pub dim: &'static str,
    /// Before what went wrong.
    pub bad: &'static str,
    /// Before what the checkpoint has come to.
    pub good: &'static str,
    /// Behind any of them.
    pub reset: &'static str,
}

impl Style {
    /// No colours: for files.
    pub const PLAIN: Self = Self { head: "", dim: "", bad: "", good: "", reset: "" };
}

/// Draws lines, one after the other.
#[derive(Clone, Debug)]
pub struct SpaceTime {
    columns: Columns,
    style: Style,
}

impl SpaceTime {
    /// A view of these subtasks in lines of about so many characters.
    pub fn new(subtasks: &[String], width: usize, style: Style) -> Self {
        Self { columns: Columns::new(subtasks, width.saturating_sub(MARGIN)), style }
    }

    /// A view whose columns are narrow, whatever their number: the words are beside them.
    pub fn narrow(subtasks: &[String], width: usize, style: Style) -> Self {
        Self { columns: Columns::narrow(subtasks, width.saturating_sub(MARGIN)), style }
    }

    /// The head: the names of the columns, or a number for each and a list of their names.
    pub fn head(&self) -> String {
        let columns = &self.columns;
        let mut text = String::new();
        if !columns.holds_words {
            for (index, name) in columns.names().iter().enumerate() {
                let all = if columns.is_folded() && index > 0 { "[*]" } else { "" };
                line(&mut text, format_args!("{:>MARGIN$}: {name}{all}", letter(index)));
            }
        }
        let mut row = format!("{:>13}  {:>7}  ", "ms", "event");
        for (index, name) in columns.names().iter().enumerate() {
            let name = if columns.holds_words { name.clone() } else { letter(index) };
            let room = columns.width - 1;
            let name: String = name.chars().take(room).collect();
            row.push_str(&format!("{name:<room$} "));
        }
        let Style { head, reset, .. } = self.style;
        line(&mut text, format_args!("{head}{}{reset}", row.trim_end()));
        text
    }

    /// One event.
    pub fn line(&self, event: &Line) -> String {
        self.line_saying(event, &words(event))
    }

    /// One event, in words of the caller's.
    pub fn line_saying(&self, event: &Line, words: &str) -> String {
        let Style { dim, reset, .. } = self.style;
        let at = event.at.as_nanos();
        let (whole, rest) = (at / 1_000_000, at % 1_000_000);
        let mut text =
            format!("{dim}{:>13}  {:>7}{reset}  ", format!("{whole}.{:03}", rest / 1_000), event.n);
        let color = self.color(event);
        let column = self.columns.of(event);
        let words = match (&event.subtask, column) {
            (Some(subtask), _) if self.columns.is_folded() && !words.contains(subtask) => {
                format!("{subtask} {words}")
            }
            _ => words.to_owned(),
        };
        match column {
            Some(column) if self.columns.holds_words => {
                self.lifelines(&mut text, 0..column);
                let shown = words.chars().count();
                let _ = write!(text, "{color}{words}{reset}");
                // Long words run over the columns to the right, in which nothing happens.
                let width = self.columns.width;
                let free = (column + 1).max((column * width + shown + 1).div_ceil(width));
                if free < self.columns.names().len() {
                    text.push_str(&" ".repeat(free * width - column * width - shown));
                    self.lifelines(&mut text, free..self.columns.names().len());
                }
            }
            Some(column) => {
                self.lifelines(&mut text, 0..column);
                let _ = write!(text, "{color}{}{reset} ", symbol(event));
                self.lifelines(&mut text, column + 1..self.columns.names().len());
                let _ = write!(text, " {color}{words}{reset}");
            }
            None => {
                let room = self.columns.total();
                let rule = format!("── {words} ");
                let rule = format!("{rule:─<room$}");
                let _ = write!(text, "{color}{}{reset}", rule.trim_end());
            }
        }
        text.push('\n');
        text
    }

    fn lifelines(&self, text: &mut String, columns: std::ops::Range<usize>) {
        let Style { dim, reset, .. } = self.style;
        if columns.is_empty() {
            return;
        }
        let room = self.columns.width - 1;
        let lines = format!("│{:room$}", "").repeat(columns.len());
        // Nothing is to the right of the last column, unless its words are.
        let is_last = self.columns.holds_words && columns.end == self.columns.names().len();
        let lines = if is_last { lines.trim_end() } else { &lines };
        let _ = write!(text, "{dim}{lines}{reset}");
    }

    fn color(&self, event: &Line) -> &'static str {
        match &*event.event {
            "failed" | "declined" | "execution_ended" | "region_ended" | "fault_injected" => {
                self.style.bad
            }
            "task" if symbol(event) == '†' => self.style.bad,
            "durable" | "completed" | "committed" | "job_ended" => self.style.good,
            _ => "",
        }
    }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a string cannot fail");
    text.push('\n');
}

/// The name of a narrow column: a to z, then A to Z, then again.
fn letter(index: usize) -> String {
    let letters = ('a'..='z').chain('A'..='Z');
    letters.cycle().nth(index).map(String::from).expect("a cycle does not end")
}
