//! `cutline init`: a first scenario, from a few answers or from Flink's plan of a job.

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;

use clap::{Args, ValueEnum};
use cutline::config::text::{format_duration, format_size, parse_duration, parse_size};
use cutline::config::{Key, OptionValue};
use cutline::time::VirtualDuration;

use crate::flink::draft::{self, Draft, Kind, Sink, Stream, VertexFacts, assumption, seconds};
use crate::flink::shape::{Input, Shape, ShapeError, Vertex};
use crate::scenario::load;

use super::exit::{Exit, Failure};
use super::files;
use super::output::Output;

/// Writes a scenario to start from, of a few answers or of Flink's plan of a job
///
/// What is not said is asked for on a terminal; what nobody says is assumed, and named by its field,
/// on standard error and in `why` of the file.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Init {
    /// The file to write
    file: String,

    /// The plan of a job: the answer of Flink's REST interface to /jobs/:jobid/plan
    #[arg(long, value_name = "FILE", conflicts_with = "parallelism")]
    from_plan: Option<String>,

    /// One line for lists and reports
    #[arg(long)]
    title: Option<String>,

    /// Subtasks of each operator, where there is no plan
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=32_768))]
    parallelism: Option<u32>,

    /// Records that all sources bring, such as 20000/s
    #[arg(long, value_name = "RATE", value_parser = super::calibrate::parse_rate)]
    rate: Option<f64>,

    /// What is brought over what the job can take, such as 50%
    #[arg(long, value_name = "SHARE", value_parser = super::calibrate::parse_load)]
    load: Option<f64>,

    /// Bytes of a record, such as 200b
    #[arg(long, value_name = "SIZE", value_parser = parse_record)]
    record_size: Option<u64>,

    /// Bytes of state in all, such as 10gb
    #[arg(long, value_name = "SIZE", value_parser = parse_state)]
    state: Option<u64>,

    /// Time between two checkpoints, such as 1min
    #[arg(long, value_name = "TIME", value_parser = parse_interval)]
    interval: Option<VirtualDuration>,

    /// How the results are written
    #[arg(long, value_enum)]
    sink: Option<SinkWord>,

    /// Replaces a file that is there
    #[arg(long)]
    force: bool,
}

const EXAMPLES: &str = "\
Examples:
  cutline init job.json --rate 20000/s --load 60% --parallelism 8 --state 40gb --interval 1min
  curl -s http://jobmanager:8081/jobs/$JOB/plan >plan.json && cutline init job.json --from-plan plan.json";

/// How the results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SinkWord {
    /// In transactions that a checkpoint commits
    Transactional,
    /// By record identity: writing twice changes nothing
    Idempotent,
    /// At once; results may appear twice after a failure
    AtLeastOnce,
}

impl SinkWord {
    fn sink(self) -> Sink {
        match self {
            Self::Transactional => Sink::TwoPhaseCommit,
            Self::Idempotent => Sink::Idempotent,
            Self::AtLeastOnce => Sink::AtLeastOnce,
        }
    }
}

/// What stands in for what nobody says.
const RATE_EACH_PER_S: f64 = 1_000.0;
const LOAD: f64 = 0.5;
const RECORD_BYTES: u64 = 100;
const PARALLELISM: u32 = 2;
const INTERVAL: VirtualDuration = VirtualDuration::from_secs(60);
/// Simulated records a second of all sources: with more, ten minutes of a job take too long to be a
/// first try.
const SIMULATED_PER_S_MOST: f64 = 5_000.0;
/// The most that a scenario takes.
const WEIGHT_MOST: f64 = 1e9;
/// Vertices that are not the slowest.
const SHARE_OF_OTHERS: f64 = 0.5;

fn parse_record(text: &str) -> Result<u64, String> {
    let size = parse_size(text).map_err(|error| error.to_string())?;
    let fits = (1..=1 << 30).contains(&size);
    fits.then_some(size).ok_or_else(|| "expected 1b to 1gb".to_owned())
}

fn parse_state(text: &str) -> Result<u64, String> {
    const MOST: u64 = 1 << 50;
    let size = parse_size(text).map_err(|error| error.to_string())?;
    if size <= MOST { Ok(size) } else { Err("expected at most 1024 tb".to_owned()) }
}

fn parse_interval(text: &str) -> Result<VirtualDuration, String> {
    let least = VirtualDuration::from_millis(10);
    let span = parse_duration(text).map_err(|error| error.to_string())?;
    if span >= least { Ok(span) } else { Err("Flink refuses less than 10 ms".to_owned()) }
}

impl Init {
    pub(super) fn execute(&self, output: &mut Output) -> Result<Exit, Failure> {
        let path = Path::new(&self.file);
        let is_there = path.try_exists().unwrap_or(true);
        if is_there && !self.force {
            let message = format!("{} is there already; --force replaces it", self.file);
            return Err(Failure::Usage(message));
        }
        let planned = self.from_plan.as_deref().map(|plan| Shape::read(Path::new(plan)));
        let planned = planned.transpose().map_err(|error| match error {
            ShapeError::Plan(found) => Failure::Diagnostics(found),
            ShapeError::File(error) => Failure::Input(error.to_string()),
        })?;
        let mut answers = self.answers();
        if io::stdin().is_terminal() && io::stderr().is_terminal() {
            let mut input = io::stdin().lock();
            ask(&mut answers, planned.is_some(), &mut input, &mut io::stderr())?;
        }
        let mut draft = draft(&answers, planned);
        draft.name_what_is_open()?;
        let text = draft.to_json();
        let loaded = load(text.as_bytes(), &self.file, &[])?;
        files::warn(&loaded.warnings);
        files::write_path(path, &text)?;
        output.print(&format!("{}: {}\n", self.file, shape(&draft)))?;
        anstream::eprintln!("assumed, as nobody said; `why` in the file has the same");
        for of in &draft.assumed {
            anstream::eprintln!("  {of}");
        }
        let file = super::arguments::quoted(&self.file);
        output.print(&format!("\nnext: cutline run {file}\n"))?;
        Ok(Exit::Ok)
    }

    fn answers(&self) -> Answers {
        Answers {
            title: self.title.clone(),
            parallelism: self.parallelism,
            rate: self.rate,
            load: self.load,
            record_size: self.record_size,
            state: self.state,
            interval: self.interval,
            sink: self.sink,
        }
    }
}

/// What is said about a job.
#[derive(Clone, Debug, Default)]
struct Answers {
    title: Option<String>,
    parallelism: Option<u32>,
    rate: Option<f64>,
    load: Option<f64>,
    record_size: Option<u64>,
    state: Option<u64>,
    interval: Option<VirtualDuration>,
    sink: Option<SinkWord>,
}

/// Asks for what was not said; an empty answer leaves it so.
fn ask(
    answers: &mut Answers,
    has_plan: bool,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "An empty answer is fine: what is assumed for it will be named.")?;
    let parallelism = |text: &str| match text.parse::<u32>() {
        Ok(count @ 1..=32_768) => Ok(count),
        _ => Err("expected a whole number from 1 to 32768".to_owned()),
    };
    let sink = |text: &str| SinkWord::from_str(text, true);
    if !has_plan {
        one("Subtasks of each operator", &mut answers.parallelism, &parallelism, input, out)?;
    }
    let rate = &super::calibrate::parse_rate;
    one("Records that all sources bring (20000/s)", &mut answers.rate, rate, input, out)?;
    let load = &super::calibrate::parse_load;
    one("Share of what the job can take (50%)", &mut answers.load, load, input, out)?;
    one("Bytes of a record (200b)", &mut answers.record_size, &parse_record, input, out)?;
    one("Bytes of state in all (10gb)", &mut answers.state, &parse_state, input, out)?;
    one("Time between two checkpoints (1min)", &mut answers.interval, &parse_interval, input, out)?;
    let question = "Sink (transactional, idempotent, at-least-once)";
    one(question, &mut answers.sink, &sink, input, out)
}

fn one<T>(
    question: &str,
    answer: &mut Option<T>,
    parse: &dyn Fn(&str) -> Result<T, String>,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> io::Result<()> {
    while answer.is_none() {
        write!(out, "{question}: ")?;
        out.flush()?;
        let mut line = String::new();
        // The end of the input is the empty answer to all that follows.
        if input.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        match parse(line.trim()) {
            Ok(value) => *answer = Some(value),
            Err(error) => writeln!(out, "  {error}")?,
        }
    }
    Ok(())
}

fn draft(answers: &Answers, planned: Option<Shape>) -> Draft {
    let mut assumed = Vec::new();
    let from_plan = planned.is_some();
    let shape = planned.unwrap_or_else(|| counting(answers.parallelism, &mut assumed));
    let sources = draft::source_subtasks(&shape);
    let rate = answers.rate.unwrap_or(RATE_EACH_PER_S * sources);
    let load = answers.load.unwrap_or(LOAD);
    let record_bytes = answers.record_size.unwrap_or(RECORD_BYTES);
    let interval = answers.interval.unwrap_or(INTERVAL);
    let keyed: Vec<usize> = (0..shape.vertices.len()).filter(|at| is_keyed(&shape, *at)).collect();
    let slowest = keyed.first().copied().unwrap_or(shape.vertices.len() - 1);
    let state = answers.state.filter(|_| !keyed.is_empty());
    let facts = |(index, vertex): (usize, &Vertex)| {
        let busy = if index == slowest { load } else { load * SHARE_OF_OTHERS };
        let bytes = state.map(|bytes| bytes / keyed.len() as u64);
        VertexFacts {
            state_bytes: bytes.filter(|_| keyed.contains(&index)),
            cost: Some(seconds(busy * f64::from(vertex.parallelism) / rate)),
            sync_cost: None,
        }
    };
    let facts: Vec<VertexFacts> = shape.vertices.iter().enumerate().map(facts).collect();
    let channels = draft::channels(&shape, slowest);
    // A wide job has so many channels that a buffer of each holds next to nothing when it leaves.
    let least = (rate / SIMULATED_PER_S_MOST).ceil();
    let weight = draft::weight(rate / channels, record_bytes as f64).max(least).min(WEIGHT_MOST);
    let stream = Stream {
        every: seconds(weight * sources / rate).max(VirtualDuration::from_nanos(1)),
        keys: draft::keys(&shape),
        record_bytes: u32::try_from(record_bytes).expect("at most a gigabyte"),
        weight: weight as u32,
    };
    let mut draft = Draft::of(&shape, &facts, stream, answers.sink.map(SinkWord::sink));
    draft.title = match (&answers.title, shape.name.is_empty()) {
        (Some(title), _) => title.clone(),
        (None, false) => shape.name.clone(),
        (None, true) => "A job".to_owned(),
    };
    let from = if from_plan { "Flink's plan of a job" } else { "a few answers" };
    draft.why = format!("Made from {from} by `cutline init`.");
    draft.options.set(Key::Interval, OptionValue::Duration(interval));
    assumed.extend(numbers(answers, &draft, stream, load));
    draft.assumed.splice(0..0, assumed);
    draft
}

/// The numbers that a plan does not have and nobody has answered, by the fields where they stand.
fn numbers(answers: &Answers, draft: &Draft, stream: Stream, load: f64) -> Vec<String> {
    let fields =
        |names: &[&str], field: &str| format!("job.operators[{}].{field}", names.join(", "));
    let mut sources = Vec::new();
    let mut keyed = Vec::new();
    let mut costs: BTreeMap<VirtualDuration, Vec<&str>> = BTreeMap::new();
    for of in &draft.operators {
        costs.entry(of.cost.unwrap_or_default()).or_default().push(&of.name);
        match of.kind {
            Kind::Source(_) => sources.push(of.name.as_str()),
            Kind::Aggregate(bytes) | Kind::Join(bytes) => keyed.push((of.name.as_str(), bytes)),
            Kind::Map | Kind::Filter | Kind::FlatMap | Kind::Sink(_) => {}
        }
    }
    let mut said = Vec::new();
    let every = format_duration(stream.every);
    if answers.rate.is_none() {
        let why = format!("so that each subtask brings {RATE_EACH_PER_S} records a second; --rate");
        said.push(assumption(&fields(&sources, "every"), every, &why));
    } else if sources.len() > 1 {
        let why = "so that each subtask of a source brings the same share of the rate";
        said.push(assumption(&fields(&sources, "every"), every, why));
    }
    if answers.record_size.is_none() {
        let size = format_size(u64::from(stream.record_bytes));
        said.push(assumption(&fields(&sources, "record_size"), size, "--record-size"));
    }
    // As in `draft`: the first that is keyed, or else the last vertex.
    let working = draft.operators.iter().rfind(|of| of.cost != Some(VirtualDuration::ZERO));
    let slowest = keyed.first().map(|(name, _)| *name).or(working.map(|of| of.name.as_str()));
    let slowest = slowest.unwrap_or("nothing");
    let mut busy =
        format!("so that `{slowest}` is the slowest operator, busy {} % of the time", load * 100.0);
    busy.push_str(if draft.operators.len() > 1 { ", the others half as long" } else { "" });
    busy.push_str(if answers.load.is_none() { "; --load" } else { "" });
    for (cost, names) in costs.into_iter().filter(|(cost, _)| *cost > VirtualDuration::ZERO) {
        said.push(assumption(&fields(&names, "cost"), format_duration(cost), &busy));
    }
    let names: Vec<&str> = keyed.iter().map(|(name, _)| *name).collect();
    match (answers.state, keyed.first()) {
        (_, None) => said.push("no state, as no operator has inputs by key alone".to_owned()),
        (None, Some(_)) => {
            let why = "state of some bytes a key; --state";
            said.push(assumption(&fields(&names, "state_per_key"), "0 b", why));
        }
        (Some(_), Some((_, bytes))) => {
            let why = match names.len() {
                1 => "the state is spread evenly over the keys".to_owned(),
                count => {
                    format!("the state is spread evenly over {count} operators and their keys")
                }
            };
            let bytes = format_size(bytes.unwrap_or(0));
            said.push(assumption(&fields(&names, "state_per_key"), bytes, &why));
        }
    }
    if answers.interval.is_none() {
        let why = format!("a checkpoint every {}; --interval", format_duration(INTERVAL));
        said.push(assumption("checkpointing.interval", format_duration(INTERVAL), &why));
    }
    said
}

fn is_keyed(shape: &Shape, vertex: usize) -> bool {
    let inputs = &shape.vertices[vertex].inputs;
    !inputs.is_empty() && inputs.iter().all(|input| input.strategy.as_deref() == Some("HASH"))
}

/// The job that most jobs look like from afar.
fn counting(parallelism: Option<u32>, assumed: &mut Vec<String>) -> Shape {
    let parallelism = parallelism.unwrap_or_else(|| {
        let why = "subtasks of each operator; --parallelism";
        assumed.push(assumption(
            "job.operators[source, count, sink].parallelism",
            PARALLELISM,
            why,
        ));
        PARALLELISM
    });
    assumed.push("job: a source, an operator with keyed state, a sink".to_owned());
    let vertex = |name: &str, input: Option<(usize, &str)>| Vertex {
        id: name.to_owned(),
        name: name.to_owned(),
        parallelism,
        max_parallelism: None,
        inputs: input
            .map(|(from, strategy)| Input { from, strategy: Some(strategy.to_owned()) })
            .into_iter()
            .collect(),
    };
    Shape {
        name: String::new(),
        vertices: vec![
            vertex("source", None),
            vertex("count", Some((0, "HASH"))),
            vertex("sink", Some((1, "FORWARD"))),
        ],
    }
}

fn shape(draft: &Draft) -> String {
    let subtasks: u32 = draft.operators.iter().map(|of| of.parallelism).sum();
    let state = draft.operators.iter().find_map(|of| match of.kind {
        Kind::Aggregate(bytes) | Kind::Join(bytes) => bytes,
        Kind::Source(_) | Kind::Map | Kind::Filter | Kind::FlatMap | Kind::Sink(_) => None,
    });
    let state =
        state.map_or(String::new(), |bytes| format!(", {} of state a key", format_size(bytes)));
    format!("{} operators, {subtasks} subtasks{state}", draft.operators.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_asked_for_until_it_is_understood_or_left_open() {
        let mut answers = Answers { rate: Some(5_000.0), ..Answers::default() };
        let mut input: &[u8] = b"many\n4\n\n200b\n1gb\n1min\nidempotent\n";
        let mut out = Vec::new();
        ask(&mut answers, false, &mut input, &mut out).expect("memory does not fail");
        assert_eq!(answers.parallelism, Some(4));
        assert_eq!(answers.load, None);
        assert_eq!(answers.state, Some(1 << 30));
        assert_eq!(answers.sink, Some(SinkWord::Idempotent));
        let out = String::from_utf8(out).expect("text");
        assert!(out.contains("from 1 to 32768"), "{out}");
        assert!(!out.contains("Records that"), "{out}");
    }

    #[test]
    fn whatever_is_said_makes_a_scenario_that_loads() {
        for answers in [
            Answers::default(),
            Answers {
                rate: Some(1e7),
                parallelism: Some(64),
                state: Some(1 << 42),
                ..Answers::default()
            },
            Answers { rate: Some(1e12), parallelism: Some(1_000), ..Answers::default() },
            Answers {
                rate: Some(0.01),
                load: Some(3.0),
                record_size: Some(1 << 30),
                ..Answers::default()
            },
        ] {
            let text = draft(&answers, None).to_json();
            load(text.as_bytes(), "init.json", &[])
                .unwrap_or_else(|found| panic!("{found}\n{text}"));
        }
    }
}
