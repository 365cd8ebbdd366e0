//! `cutline diff`: where two runs part.

use std::sync::Arc;

use clap::{Args, ValueEnum};
use cutline::defect::Defects;
use serde_json::{Value, json};

use crate::explain::{Difference, Parting, differences, parting};
use crate::report::{Line, lines, sentence};
use crate::run::Outcome;
use crate::scenario::{Override, to_json};

use super::arguments::{Changes, command_line, parse_override};
use super::exit::{Exit, Failure};
use super::files::{self, Runnable};
use super::output::{Output, STYLE};
use super::simulate::simulate;

/// Most values in which two scenarios differ that are printed.
const DIFFERENCES_MAX: usize = 12;

/// Compares two runs: exit code 12 and the first event that differs, if they part
#[derive(Debug, Args)]
pub(super) struct Diff {
    /// The first: a scenario or a case, which is run, or a whole trace (JSON Lines)
    #[arg(value_name = "A")]
    a: String,

    /// The second
    #[arg(value_name = "B")]
    b: String,

    /// The seed of scenarios, 0 unless given; given twice, that of A and that of B
    #[arg(long, value_name = "N")]
    seed: Vec<u64>,

    #[command(flatten)]
    changes: Changes,

    /// Overrides a value of B alone; may be repeated
    #[arg(long = "set-b", value_name = "PATH=VALUE", value_parser = parse_override)]
    changes_of_b: Vec<Override>,

    /// Events that both share, printed before the first that differs
    #[arg(long, value_name = "N", default_value_t = 5)]
    context: usize,

    /// How it is printed
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// To read
    Human,
    /// One JSON object
    Json,
}

/// One of the two.
enum Side {
    /// A run, and what it was made from.
    Run { inputs: Value, outcome: Box<Outcome> },
    /// A trace that was read.
    Trace(Vec<Line>),
}

impl Side {
    fn lines(&self) -> Box<dyn Iterator<Item = Line> + '_> {
        match self {
            Self::Run { outcome, .. } => Box::new(lines(outcome)),
            Self::Trace(lines) => Box::new(lines.iter().cloned()),
        }
    }

    fn events(&self) -> u64 {
        match self {
            Self::Run { outcome, .. } => outcome.observations,
            Self::Trace(lines) => lines.len() as u64,
        }
    }

    fn inputs(&self) -> Option<&Value> {
        match self {
            Self::Run { inputs, .. } => Some(inputs),
            Self::Trace(_) => None,
        }
    }

    fn describe(&self, file: &str) -> String {
        let events = self.events();
        match self {
            Self::Run { outcome, .. } => {
                format!("{file}, seed {}: {events} events, {}", outcome.seed, outcome.digest)
            }
            Self::Trace(_) => format!("{file}, a trace: {events} events"),
        }
    }
}

impl Diff {
    pub(super) fn execute(&self, output: &mut Output) -> Result<Exit, Failure> {
        self.refuse_what_has_no_effect()?;
        let both = &self.changes.overrides;
        let of_b: Vec<Override> = both.iter().chain(&self.changes_of_b).cloned().collect();
        let a = self.side(&self.a, self.seed.first(), both)?;
        let b = self.side(&self.b, self.seed.last(), &of_b)?;
        let inputs = match (a.inputs(), b.inputs()) {
            (Some(a), Some(b)) => Some(differences(a, b)),
            _ => None,
        };
        let found = parting(a.lines(), b.lines(), self.context)
            .map_err(|error| Failure::Input(error.to_string()))?;
        let text = match self.format {
            Format::Human => self.text((&a, &b), inputs.as_deref(), found.as_ref()),
            Format::Json => as_json((&a, &b), inputs.as_deref(), found.as_ref()),
        };
        output.print(&text)?;
        Ok(if found.is_some() { Exit::Diverged } else { Exit::Ok })
    }

    /// A trace is only read, and a case has its own seed.
    fn refuse_what_has_no_effect(&self) -> Result<(), Failure> {
        let is_trace = |file: &str| file.ends_with(".jsonl");
        let traces = is_trace(&self.a) && is_trace(&self.b);
        let changed = !self.changes.overrides.is_empty() || !self.seed.is_empty();
        let message = if self.seed.len() > 2 {
            "`--seed` is given once or twice"
        } else if traces && changed {
            "`--seed` and `--set` are for what is run; traces are only read"
        } else if is_trace(&self.b) && !self.changes_of_b.is_empty() {
            "`--set-b` is for what is run; a trace is only read"
        } else {
            return Ok(());
        };
        Err(Failure::Usage(message.to_owned()))
    }

    fn side(
        &self,
        file: &str,
        seed: Option<&u64>,
        overrides: &[Override],
    ) -> Result<Side, Failure> {
        if file.ends_with(".jsonl") {
            return Ok(Side::Trace(files::trace(file)?));
        }
        let mut again = command_line("show", file, overrides);
        let version = env!("CARGO_PKG_VERSION");
        let (scenario, seed, defects, version) = match files::runnable(file, overrides)? {
            Runnable::Scenario(scenario) => {
                let seed = seed.copied().unwrap_or(0);
                again.push_str(&format!(" --seed {seed}"));
                (scenario, seed, Defects::none(), version.to_owned())
            }
            Runnable::Case(case) => {
                (Arc::new(case.scenario), case.seed, case.defects, case.version)
            }
        };
        let outcome = simulate(&scenario, seed, defects, true, &again)?;
        let inputs = json!({
            "version": version,
            "seed": seed,
            "defect": defects.planted().map(|planted| planted.id()),
            "scenario": serde_json::from_str::<Value>(&to_json(&scenario))
                .expect("a scenario is written as JSON"),
        });
        Ok(Side::Run { inputs, outcome: Box::new(outcome) })
    }

    fn text(
        &self,
        (a, b): (&Side, &Side),
        inputs: Option<&[Difference]>,
        found: Option<&Parting>,
    ) -> String {
        let mut text = format!("A  {}\nB  {}\n\n", a.describe(&self.a), b.describe(&self.b));
        match inputs {
            None => text.push_str("inputs: not known of a trace\n"),
            Some([]) => text.push_str("inputs: the same\n"),
            Some(differences) => text.push_str(&listed(differences)),
        }
        text.push('\n');
        let Some(Parting { event, a, b, shared }) = found else {
            text.push_str("the same run, to the byte\n");
            return text;
        };
        let before = match event {
            0 => "no event is shared".to_owned(),
            _ => format!("the same up to event {}", event - 1),
        };
        text.push_str(&format!("{before}; event {event} is the first that differs\n\n"));
        for line in shared {
            text.push_str(&shown(" ", Some(line)));
        }
        let (bad, reset) = (STYLE.bad, STYLE.reset);
        for (name, line) in [("A", a), ("B", b)] {
            text.push_str(&format!("{bad}{}{reset}", shown(name, line.as_ref())));
        }
        text
    }
}

fn listed(differences: &[Difference]) -> String {
    let mut text = "inputs that differ (A | B)\n".to_owned();
    let value = |value: &Option<Value>| value.as_ref().map_or("-".to_owned(), Value::to_string);
    for Difference { path, a, b } in differences.iter().take(DIFFERENCES_MAX) {
        text.push_str(&format!("  {path}: {} | {}\n", value(a), value(b)));
    }
    let more = differences.len().saturating_sub(DIFFERENCES_MAX);
    if more > 0 {
        text.push_str(&format!("  and {more} more\n"));
    }
    text
}

fn shown(name: &str, line: Option<&Line>) -> String {
    let Some(line) = line else { return format!("{name}  (this run has ended)\n") };
    let at = line.at.as_nanos();
    let ms = format!("{}.{:06}", at / 1_000_000, at % 1_000_000);
    format!("{name}  {ms:>16} ms  {:>7}  {}\n", line.n, sentence(line))
}

fn as_json(
    (a, b): (&Side, &Side),
    inputs: Option<&[Difference]>,
    found: Option<&Parting>,
) -> String {
    let object = |line: &Line| -> Value {
        serde_json::from_str(&line.to_json()).expect("a line is written as JSON")
    };
    let differing = |it: &Difference| json!({ "path": it.path, "a": it.a, "b": it.b });
    let parted = |it: &Parting| {
        json!({
            "event": it.event,
            "a": it.a.as_ref().map(object),
            "b": it.b.as_ref().map(object),
            "shared": it.shared.iter().map(object).collect::<Vec<_>>(),
        })
    };
    let inputs = inputs.map(|all| all.iter().map(differing).collect::<Vec<_>>());
    let whole = json!({
        "same": found.is_none(),
        "events": { "a": a.events(), "b": b.events() },
        "inputs": inputs,
        "first_difference": found.map(parted),
    });
    whole.to_string() + "\n"
}
