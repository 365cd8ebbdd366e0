//! The format `cutline-barrier-vectors/1`: scripts of what arrives at one task, and what its
//! barrier handling did.
//!
//! The runner is the task's surroundings: a sender for every channel, the clock, and the log. It
//! decides nothing about barriers.

use std::collections::{BTreeMap, BTreeSet};

use cutline::ids::{CheckpointId, GateId, InputChannel};
use cutline::message::{Element, Payload};
use cutline::task::barrier::{AbortReason, AlignmentMetrics, Cut, Input, InputHandler, Output};
use cutline::task::subpartition::{self, Subpartition, SubpartitionConfig};
use cutline::time::{VirtualDuration, VirtualTime};
use serde::Deserialize;
use serde_json::{Value, json};

use script::{Case, Step};

use super::{ConformError, Line, Report};

mod script;

/// What the header of such a file says.
pub(super) const FORMAT: &str = "cutline-barrier-vectors/1";

#[derive(Deserialize)]
struct Header {
    cases: usize,
}

/// Runs the cases that follow the header.
pub(super) fn run(header: &Line<'_>, lines: &[Line<'_>]) -> Result<Report, ConformError> {
    let Header { cases } = header.parse()?;
    if cases != lines.len() {
        return Err(ConformError::CaseCount {
            file: header.file.to_owned(),
            promised: cases,
            found: lines.len(),
        });
    }
    let mut report = Report::default();
    for line in lines {
        let case: Case = line.parse()?;
        let mut run = Run::new(&case);
        for (index, step) in case.script.iter().enumerate() {
            run.step(index, step);
        }
        report.record(&case.name, &case.expect, &run.outcome());
    }
    Ok(report)
}

/// A data buffer of a script.
#[derive(Clone, Copy, Debug)]
struct Packet {
    number: u64,
    bytes: u64,
}

impl Payload for Packet {
    fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// A checkpoint that the task was told to take.
struct Triggered {
    checkpoint: CheckpointId,
    cut: Cut,
    start_delay: VirtualDuration,
    alignment: Option<AlignmentMetrics>,
}

/// Buffers persisted for one checkpoint, by channel.
type InFlight = BTreeMap<InputChannel, Vec<Packet>>;

struct Run {
    exactly_once: bool,
    gates: u32,
    now: VirtualTime,
    handler: InputHandler<Packet>,
    /// Empty if senders go on after an aligned barrier: then elements are delivered at once.
    senders: Vec<Subpartition<Packet>>,
    out: Vec<Output<Packet>>,
    sent: Vec<subpartition::Output<Packet>>,
    /// The log entries of the current step.
    row: Vec<Value>,
    log: Vec<Value>,
    triggered: Vec<Triggered>,
    aborted: BTreeSet<CheckpointId>,
    in_flight: BTreeMap<CheckpointId, InFlight>,
}

impl Run {
    fn new(case: &Case) -> Self {
        let config = &case.config;
        let sender = Subpartition::new(&SubpartitionConfig { credit: None, buffers_max: u32::MAX });
        let senders = if config.sender_holds { config.channels() } else { 0 };
        Self {
            exactly_once: config.is_exactly_once(),
            gates: config.gates.len() as u32,
            now: VirtualTime::from_millis(config.clock_ms),
            handler: InputHandler::new(&config.input()),
            senders: vec![sender; senders as usize],
            out: Vec::new(),
            sent: Vec::new(),
            row: Vec::new(),
            log: Vec::new(),
            triggered: Vec::new(),
            aborted: BTreeSet::new(),
            in_flight: BTreeMap::new(),
        }
    }

    fn step(&mut self, index: usize, step: &Step) {
        match *step {
            Step::Send(channel, element, priority) => self.send(channel, element, priority),
            Step::Advance(span) => {
                self.now += span;
                self.act(Input::Timeout);
            }
            Step::AdvanceSilently(span) => self.now += span,
            Step::Fire => {
                self.act(Input::Timeout);
            }
            Step::Poll(gate, times) => {
                for _ in 0..times {
                    if !self.act(Input::Poll { gate }) {
                        break;
                    }
                }
            }
            Step::Drain => while self.poll_each_gate() {},
        }
        if !self.row.is_empty() {
            self.row.insert(0, json!(index));
            self.log.push(Value::Array(std::mem::take(&mut self.row)));
        }
    }

    /// What the case did, in the form of `expect`.
    fn outcome(&self) -> Value {
        let checkpoints = self.triggered.iter().map(|triggered| self.describe(triggered));
        let mut outcome = json!({
            "log": self.log,
            "checkpoints": checkpoints.collect::<Vec<_>>(),
        });
        if self.exactly_once {
            outcome["pending"] = json!(self.handler.pending());
        }
        outcome
    }

    fn send(&mut self, channel: InputChannel, element: Element<Packet>, priority: bool) {
        if self.senders.is_empty() {
            self.deliver(channel, element, priority);
        } else {
            self.tell_sender(channel, subpartition::Input::Push { element, priority });
        }
    }

    /// Gives a sender an input, and delivers everything that may then leave.
    fn tell_sender(&mut self, channel: InputChannel, input: subpartition::Input<Packet>) {
        self.senders[channel.index()].handle(input, &mut self.sent);
        while self.senders[channel.index()].is_available() {
            self.sent.clear();
            let poll = subpartition::Input::Poll;
            self.senders[channel.index()].handle(poll, &mut self.sent);
            for output in std::mem::take(&mut self.sent) {
                if let subpartition::Output::Send { element, priority, .. } = output {
                    self.deliver(channel, element, priority);
                }
            }
        }
    }

    fn deliver(&mut self, channel: InputChannel, element: Element<Packet>, priority: bool) {
        self.handle(Input::Deliver { channel, element, priority });
    }

    fn poll_each_gate(&mut self) -> bool {
        let mut found = false;
        for gate in (0..self.gates).map(GateId) {
            found |= self.act(Input::Poll { gate });
        }
        found
    }

    /// Gives the task a poll or a timeout, and resumes channels when it is over. Says whether
    /// the task did anything.
    fn act(&mut self, input: Input<Packet>) -> bool {
        self.handle(input);
        let outputs = std::mem::take(&mut self.out);
        let resumed: BTreeSet<_> = outputs.iter().filter_map(resumed_channel).collect();
        if !self.senders.is_empty() {
            for channel in resumed {
                self.tell_sender(channel, subpartition::Input::Resume);
            }
        }
        !outputs.is_empty()
    }

    /// Gives the task an input and writes down what it did.
    fn handle(&mut self, input: Input<Packet>) {
        let mut outputs = std::mem::take(&mut self.out);
        outputs.clear();
        self.handler.handle(self.now, input, &mut outputs);
        for output in &outputs {
            self.note(output);
        }
        self.out = outputs;
    }

    fn note(&mut self, output: &Output<Packet>) {
        let entry = match *output {
            Output::Buffer { channel, buffer } => json!(["d", channel, buffer.number]),
            Output::Barrier { channel, barrier } => json!(["b", channel, barrier.checkpoint]),
            Output::Announcement { channel, barrier } => json!(["a", channel, barrier.checkpoint]),
            Output::CancelMarker { channel, checkpoint } => json!(["c", channel, checkpoint]),
            Output::EpochWatermark { .. } => unreachable!("no vector has a loop"),
            Output::EndOfData { channel } => json!(["e", channel]),
            Output::EndOfPartition { channel } => json!(["x", channel]),
            Output::Block(channel) => json!(["B", channel]),
            Output::Resume(channel) => json!(["U", channel]),
            Output::Trigger { barrier, cut, start_delay, alignment } => {
                self.triggered.push(Triggered {
                    checkpoint: barrier.checkpoint,
                    cut,
                    start_delay,
                    alignment,
                });
                json!(["T", barrier.checkpoint, letter(cut)])
            }
            Output::Abort { checkpoint, reason } => {
                self.aborted.insert(checkpoint);
                json!(["A", checkpoint, word(reason)])
            }
            Output::Complete(checkpoint) => json!(["F", checkpoint]),
            Output::Measured { checkpoint, alignment } => {
                return self.note_measured(checkpoint, alignment);
            }
            Output::Persist { channel, checkpoint, buffer } => {
                return self.note_persisted(channel, checkpoint, buffer);
            }
        };
        self.row.push(entry);
    }

    fn note_measured(&mut self, checkpoint: CheckpointId, alignment: AlignmentMetrics) {
        let mut newest_first = self.triggered.iter_mut().rev();
        if let Some(triggered) = newest_first.find(|triggered| triggered.checkpoint == checkpoint) {
            triggered.alignment = Some(alignment);
        }
    }

    fn note_persisted(&mut self, channel: InputChannel, checkpoint: CheckpointId, buffer: Packet) {
        let in_flight = self.in_flight.entry(checkpoint).or_default();
        in_flight.entry(channel).or_default().push(buffer);
    }

    fn describe(&self, triggered: &Triggered) -> Value {
        let checkpoint = triggered.checkpoint;
        let mut described = json!({ "id": checkpoint, "how": letter(triggered.cut) });
        if self.aborted.contains(&checkpoint) {
            described["aborted"] = json!(true);
            return described;
        }
        let alignment = triggered.alignment;
        described["delay_ms"] = json!(triggered.start_delay.as_millis());
        described["align_ms"] = json!(alignment.map(|ended| ended.duration.as_millis()));
        described["align_bytes"] = json!(alignment.map(|ended| ended.bytes));
        if triggered.cut == Cut::Unaligned {
            let in_flight = self.in_flight.get(&checkpoint);
            let channels = in_flight.into_iter().flatten();
            let numbers = channels.clone().map(|(channel, buffers)| {
                let numbers: Vec<_> = buffers.iter().map(|buffer| buffer.number).collect();
                (channel.0.to_string(), json!(numbers))
            });
            let bytes = channels.flat_map(|(_, buffers)| buffers).map(|buffer| buffer.bytes);
            described["inflight"] = Value::Object(numbers.collect());
            described["inflight_bytes"] = json!(bytes.sum::<u64>());
        }
        described
    }
}

fn resumed_channel(output: &Output<Packet>) -> Option<InputChannel> {
    match output {
        Output::Resume(channel) => Some(*channel),
        _ => None,
    }
}

fn letter(cut: Cut) -> &'static str {
    match cut {
        Cut::AtLeastOnce => "n",
        Cut::Aligned => "a",
        Cut::Unaligned => "u",
    }
}

fn word(reason: AbortReason) -> &'static str {
    match reason {
        AbortReason::Cancelled => "cancelled",
        AbortReason::Subsumed => "subsumed",
        AbortReason::EndOfInput => "end_of_input",
        AbortReason::Overtaken => "overtaken",
    }
}

#[cfg(test)]
mod tests {
    use super::super::run_file;

    const CONFIG: &str =
        r#"{"mode":"exactly_once","unaligned":false,"gates":[2],"checkpoints_after_finish":true}"#;

    /// A file with one case: its configuration, script and record.
    fn file(config: &str, script: &str, expect: &str) -> String {
        format!(
            "{{\"format\":\"cutline-barrier-vectors/1\",\"cases\":1}}\n\
             {{\"name\":\"c\",\"config\":{config},\"script\":{script},\"expect\":{expect}}}\n"
        )
    }

    #[test]
    fn a_case_passes_on_equality_alone() {
        let script = r#"[["d",1,7,10],["p",0,2]]"#;
        for (name, log, place) in [
            ("equal", r#"[[1,["d",1,7]]]"#, None),
            ("another entry", r#"[[1,["d",1,8]]]"#, Some("log[0][1][2]")),
            ("a row more", r#"[[1,["d",1,7]],[2,["U",1]]]"#, Some("log[1]")),
        ] {
            let expect = format!(r#"{{"log":{log},"checkpoints":[],"pending":null}}"#);
            let report = run_file(&file(CONFIG, script, &expect), "f").expect("a good file");
            let found = report.differences.first().map(|found| found.place.as_str());
            assert_eq!(found, place, "{name}");
            assert_eq!(report.passed, usize::from(place.is_none()), "{name}");
            assert_eq!(report.failed, usize::from(place.is_some()), "{name}");
        }
    }

    #[test]
    fn a_malformed_case_is_an_error_with_its_line() {
        let local = CONFIG.replace("\"gates\"", "\"local\":[2],\"gates\"");
        let huge = CONFIG.replace("[2]", "[18446744073709551615,1]");
        let misspelt = CONFIG.replace("\"gates\"", "\"gate\":[],\"gates\"");
        for (config, script, expected) in [
            (CONFIG, r#"[["q"]]"#, "unknown variant `q`"),
            (CONFIG, r#"[["d",1]]"#, "the step ends too early"),
            (CONFIG, r#"[["P",1]]"#, "step `P` has a surplus 1"),
            (CONFIG, r#"[["d",-1,1,1]]"#, "invalid value: integer `-1`, expected u64"),
            (CONFIG, r#"[7]"#, "expected a step such as"),
            (CONFIG, r#"[["P"],["x",2]]"#, "script[1]: channel 2 does not exist, there are 2"),
            (CONFIG, r#"[["p",1,1]]"#, "script[0]: gate 1 does not exist, there are 1"),
            (CONFIG, r#"[["b",0,1,1,"t"]]"#, "kind `t` needs `alignment_timeout_ms`"),
            (CONFIG, r#"[["b",0,1,1,"u"]]"#, "kind `u` needs `unaligned`"),
            (CONFIG, r#"[["b",0,1,1,"z"]]"#, "unknown variant `z`"),
            (&local, "[]", "local channel 2 does not exist, there are 2"),
            (&huge, "[]", "18446744073709551615 channels are more than a task can have"),
            (&misspelt, "[]", "unknown field `gate`"),
        ] {
            let error = run_file(&file(config, script, "{}"), "f").expect_err(script).to_string();
            assert!(error.starts_with("f:2:"), "{error}");
            assert!(error.contains(expected), "{script}: {error}");
        }
    }

    #[test]
    fn a_wrong_count_of_cases_is_an_error() {
        let text = file(CONFIG, "[]", "{}").replace("\"cases\":1", "\"cases\":2");
        let error = run_file(&text, "f").map_err(|error| error.to_string());
        let expected = "f: the header promises 2 cases, but 1 follow";
        assert_eq!(error, Err(expected.to_owned()));
    }
}
