//! An answer: named figures with their units, and what is to say about them.

use clap::ValueEnum;
use serde_json::{Map, Value, json};

use crate::report::table;

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Figures with their units, and sentences
    Human,
    /// One JSON object; the unit of a figure is at the end of its name
    Json,
}

/// A figure. Its name in JSON ends with its unit: `_s`, `_bytes`, `_records`, `_share`, `_per_s`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Amount {
    /// Seconds.
    Seconds(f64),
    /// Records.
    Records(f64),
    /// Bytes.
    Bytes(f64),
    /// Bytes a second.
    Bandwidth(f64),
    /// A share of one.
    Share(f64),
    /// So many a second.
    Rate(f64),
    /// A number without a unit.
    Count(u64),
    /// A price, in the unit of those that were given.
    Price(f64),
    /// There is none, and why.
    None(&'static str),
}

impl Amount {
    /// Seconds, or none.
    pub(super) fn seconds(value: Option<f64>, why: &'static str) -> Self {
        value.map_or(Self::None(why), Self::Seconds)
    }

    fn json(self) -> Value {
        match self {
            Self::Seconds(value)
            | Self::Records(value)
            | Self::Bytes(value)
            | Self::Bandwidth(value)
            | Self::Share(value)
            | Self::Rate(value)
            | Self::Price(value) => json!(value),
            Self::Count(value) => json!(value),
            Self::None(_) => Value::Null,
        }
    }

    pub(super) fn text(self) -> String {
        match self {
            Self::Seconds(value) => span(value),
            Self::Records(value) => format!("{} records", digits(value)),
            Self::Bytes(value) => size(value),
            Self::Bandwidth(value) => format!("{}/s", size(value)),
            Self::Share(value) => format!("{} %", digits(100.0 * value)),
            Self::Rate(value) => format!("{}/s", digits(value)),
            Self::Price(value) => digits(value),
            Self::Count(value) => value.to_string(),
            Self::None(why) => why.to_owned(),
        }
    }
}

/// A number with about five digits, without trailing zeros.
fn digits(value: f64) -> String {
    if !value.is_finite() {
        return "unlimited".to_owned();
    }
    let magnitude = value.abs();
    let decimals = match magnitude {
        _ if magnitude >= 1e4 || magnitude == 0.0 => 0,
        _ if magnitude >= 1e3 => 1,
        _ if magnitude >= 100.0 => 2,
        _ if magnitude >= 1.0 => 3,
        // A byte's share of a stream is far below one in a million.
        _ => 4 + (-libm::log10(magnitude)).floor() as usize,
    };
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// Seconds in the unit that people would use.
pub(super) fn span(seconds: f64) -> String {
    match seconds.abs() {
        much if !much.is_finite() => "unlimited".to_owned(),
        much if much >= 172_800.0 => format!("{} d", digits(seconds / 86_400.0)),
        much if much >= 7_200.0 => format!("{} h", digits(seconds / 3_600.0)),
        much if much >= 600.0 => format!("{} min", digits(seconds / 60.0)),
        much if much >= 1.0 || much == 0.0 => format!("{} s", digits(seconds)),
        _ => format!("{} ms", digits(seconds * 1_000.0)),
    }
}

/// Bytes in the binary units that Flink uses.
fn size(bytes: f64) -> String {
    const UNITS: [(&str, f64); 4] = [
        ("TiB", 1_099_511_627_776.0),
        ("GiB", 1_073_741_824.0),
        ("MiB", 1_048_576.0),
        ("KiB", 1_024.0),
    ];
    match UNITS.iter().find(|(_, unit)| bytes.abs() >= *unit) {
        Some((name, unit)) => format!("{} {name}", digits(bytes / unit)),
        None => format!("{} B", digits(bytes)),
    }
}

/// Rows of figures that are to be compared.
#[derive(Clone, Debug)]
struct Grid {
    key: &'static str,
    /// Name in JSON, head of the column.
    columns: Vec<(&'static str, &'static str)>,
    rows: Vec<Vec<Amount>>,
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Sheet {
    /// Name in JSON, name for people, value.
    figures: Vec<(&'static str, &'static str, Amount)>,
    words: Vec<(&'static str, String)>,
    grid: Option<Grid>,
    notes: Vec<String>,
    missed: bool,
}

impl Sheet {
    /// Adds a figure.
    pub(super) fn figure(&mut self, key: &'static str, name: &'static str, amount: Amount) {
        self.figures.push((key, name, amount));
    }

    /// Adds a word to the JSON; people read it in a sentence.
    pub(super) fn word(&mut self, key: &'static str, word: impl Into<String>) {
        self.words.push((key, word.into()));
    }

    /// Adds rows to compare.
    pub(super) fn compare(
        &mut self,
        key: &'static str,
        columns: &[(&'static str, &'static str)],
        rows: Vec<Vec<Amount>>,
    ) {
        self.grid = Some(Grid { key, columns: columns.to_vec(), rows });
    }

    /// Adds a sentence.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// The goals cannot be met.
    pub(super) fn miss(&mut self) {
        self.missed = true;
    }

    /// Whether the goals are met.
    pub(super) fn is_met(&self) -> bool {
        !self.missed
    }

    pub(super) fn print(&self, format: Format) -> String {
        match format {
            Format::Human => self.human(),
            Format::Json => self.json(),
        }
    }

    fn human(&self) -> String {
        let mut text = String::new();
        let wide = self.figures.iter().map(|(_, name, _)| name.chars().count()).max();
        let wide = wide.unwrap_or_default();
        for (_, name, amount) in &self.figures {
            text.push_str(&format!("{name:<wide$}  {}\n", amount.text()));
        }
        if let Some(grid) = &self.grid {
            let head: Vec<&str> = grid.columns.iter().map(|(_, head)| *head).collect();
            let mut rows = table::plain(&head);
            for row in &grid.rows {
                rows.add_row(row.iter().map(|amount| amount.text()));
            }
            text.push_str(&format!("\n{}", table::text(rows, |_| true)));
        }
        if !self.notes.is_empty() {
            text.push_str(&format!("\n{}\n", self.notes.join("\n")));
        }
        text
    }

    fn json(&self) -> String {
        let mut object = Map::new();
        for (key, word) in &self.words {
            object.insert((*key).to_owned(), json!(word));
        }
        for (key, _, amount) in &self.figures {
            object.insert((*key).to_owned(), amount.json());
        }
        if let Some(grid) = &self.grid {
            let row = |row: &Vec<Amount>| {
                let cells = grid.columns.iter().zip(row);
                let cells = cells.map(|((key, _), amount)| ((*key).to_owned(), amount.json()));
                Value::Object(cells.collect())
            };
            object.insert(grid.key.to_owned(), grid.rows.iter().map(row).collect());
        }
        object.insert("notes".to_owned(), json!(self.notes));
        format!("{}\n", Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_have_units() {
        for (amount, expected) in [
            (Amount::Seconds(55.0), "55 s"),
            (Amount::Seconds(185.969_89), "185.97 s"),
            (Amount::Seconds(0.2), "200 ms"),
            (Amount::Seconds(0.0), "0 s"),
            (Amount::Seconds(1_260.0), "21 min"),
            (Amount::Seconds(-4.0), "-4 s"),
            (Amount::Seconds(f64::INFINITY), "unlimited"),
            (Amount::Share(0.004_5), "0.45 %"),
            (Amount::Share(1.62e-9), "0.000000162 %"),
            (Amount::Bytes(1_572_864.0), "1.5 MiB"),
            (Amount::Count(12), "12"),
            (Amount::None("never"), "never"),
        ] {
            assert_eq!(amount.text(), expected);
        }
    }
}
