//! An engine of one's own, on the public API alone: no coordinator, no barriers.
//!
//! Every task checkpoints when it likes. Its sender keeps what the receiver has not saved yet and
//! sends it again after a crash; the receiver drops what it has had (upstream backup: Hwang et al.,
//! 2005). Only the task that died goes back. A task is a process here, and has one input at most.
//!
//! `impatient` is a bug to be found: "saved" is said when the write begins, not when it has ended.

use std::collections::VecDeque;
use std::sync::Arc;

use cutline::codec::{Decoder, Encoder};
use cutline::ids::{Attempt, CheckpointId, OutputChannel, SubtaskId};
use cutline::operator::{Effect, Emitter, Instance, Operator, Record, Snapshot};
use cutline::step::Step;
use cutline::storage::channel_state::ChannelState;
use cutline::time::VirtualDuration;
use cutline_sim::check::{Outcome, Verdict};
use cutline_sim::engine::{Mount, Plan};
use cutline_sim::explain::explain;
use cutline_sim::observe::{JobEnd, Observation, TaskState};
use cutline_sim::run::Simulation;
use cutline_sim::scenario::{Case, load, load_case};
use cutline_sim::world::{
    Answer, Command, Context, Event, Observer, Process, ProcessId, Purpose, Refusal, Request,
};

const READ: u64 = 0;
const WRITE: u64 = 1;
const RESULT: u64 = 2;
const CHECKPOINT: u64 = 3;
const EMIT: u64 = 4;

#[derive(Clone, Debug)]
enum Message {
    /// The element with this number; `None` ends the channel.
    Element(u64, Option<Record>),
    /// All elements below are saved.
    Saved(u64),
    /// The receiver is back: again, please, from here on.
    Again(u64),
    /// A sink has seen everything.
    Finished(SubtaskId),
}

#[derive(Debug)]
enum Node {
    /// Hears of the end of sinks.
    Clerk {
        sinks: Vec<SubtaskId>,
        finished: Vec<SubtaskId>,
    },
    Task(Box<Task>),
}

#[derive(Debug)]
struct Task {
    plan: Arc<Plan>,
    impatient: bool,
    subtask: SubtaskId,
    /// Sender and receiver of what it processes.
    from: Option<ProcessId>,
    to: Option<ProcessId>,
    operator: Box<dyn Operator>,
    out: Emitter,
    /// Numbers of the next element to take and to send.
    taken: u64,
    sent: u64,
    /// What its receiver has not saved.
    kept: VecDeque<(u64, Option<Record>)>,
    running: bool,
    ended: bool,
    /// While a checkpoint is written: what it has taken.
    writing: Option<u64>,
}

impl Process for Node {
    type Control = Message;
    type Data = ();
    type Back = ();

    fn handle<O: Observer>(&mut self, event: Event<Self>, ctx: &mut Context<'_, Self, O>) {
        match self {
            Self::Task(task) => task.handle(event, ctx),
            Self::Clerk { sinks, finished } => match event {
                Event::Message { message: Message::Finished(sink), .. } => {
                    finished.retain(|known| *known != sink);
                    finished.push(sink);
                    if finished.len() == sinks.len() {
                        ctx.request(RESULT, Request::StoreJobResult(JobEnd::Finished));
                    }
                }
                Event::Answered { token: RESULT, .. } => ctx.end_job(JobEnd::Finished),
                _ => {}
            },
        }
    }

    fn reborn(&self) -> Self {
        match self {
            Self::Clerk { sinks, .. } => Self::Clerk { sinks: sinks.clone(), finished: Vec::new() },
            Self::Task(task) => {
                Self::Task(Box::new(Task::new(&task.plan, task.subtask, task.impatient)))
            }
        }
    }
}

type Ctx<'a, 'b, O> = &'a mut Context<'b, Node, O>;

impl Task {
    fn new(plan: &Arc<Plan>, subtask: SubtaskId, impatient: bool) -> Self {
        let graph = &plan.graph;
        assert!(graph.inputs(subtask).len() <= 1 && graph.outputs(subtask).len() <= 1, "a chain");
        let end = |channel: &cutline::ids::ChannelId| graph.channels()[channel.index()];
        let process = |subtask: SubtaskId| Plan::task_manager(subtask.0);
        let operator = graph.operator(subtask);
        let vertex = &graph.job().operators()[operator.index()];
        let instance = Instance {
            operator,
            subtask: graph.index_in_operator(subtask),
            parallelism: vertex.parallelism,
            max_parallelism: vertex.max_parallelism,
            attempt: Attempt(0),
            defects: plan.defects,
        };
        Self {
            plan: Arc::clone(plan),
            impatient,
            subtask,
            from: graph.inputs(subtask).first().map(|channel| process(end(channel).from)),
            to: graph.outputs(subtask).first().map(|channel| process(end(channel).to)),
            operator: plan.operator(instance),
            out: Emitter::default(),
            taken: 0,
            sent: 0,
            kept: VecDeque::new(),
            running: false,
            ended: false,
            writing: None,
        }
    }

    fn path(&self) -> String {
        format!("own/{}", self.plan.subtask_names[self.subtask.index()])
    }

    fn handle<O: Observer>(&mut self, event: Event<Node>, ctx: Ctx<'_, '_, O>) {
        match event {
            Event::Started => ctx.request(READ, Request::Get { path: self.path() }),
            Event::Answered { token: READ, answer } => match answer {
                Ok(Answer::Object { bytes }) => self.start(Some(&bytes), ctx),
                Err(Refusal::NotFound) => self.start(None, ctx),
                _ => ctx.request(READ, Request::Get { path: self.path() }),
            },
            Event::Answered { token: WRITE, answer } => {
                let saved = self.writing.take().expect("one checkpoint is written at a time");
                if answer.is_ok() {
                    self.step(Step::B6, ctx);
                    self.say_saved(saved, ctx);
                }
            }
            Event::Message { message, .. } if self.running => self.on_message(message, ctx),
            Event::Timer(CHECKPOINT) => self.checkpoint(ctx),
            Event::Timer(EMIT) => self.emit(ctx),
            Event::Command(Command::Throw(subtask)) if subtask == self.subtask => ctx.exit(),
            Event::Command(Command::Pause(subtask, _)) if subtask == self.subtask => {
                panic!("a task is a process here: pause its task manager");
            }
            _ => {}
        }
    }

    /// Begins, or goes on from the last checkpoint: nobody else has to.
    fn start<O: Observer>(&mut self, saved: Option<&[u8]>, ctx: Ctx<'_, '_, O>) {
        if let Some(bytes) = saved {
            let mut input = Decoder::open(bytes, *b"OWNC", 1).expect("written below");
            self.taken = input.varint().expect("written below");
            self.sent = input.varint().expect("written below");
            self.ended = input.flag().expect("written below");
            self.operator.restore(input.bytes().expect("written below")).expect("its own");
            let kept =
                ChannelState::decode(input.bytes().expect("written below")).expect("its own");
            let mut records: VecDeque<Option<Record>> =
                kept.outputs.into_iter().map(|(_, record)| Some(record)).collect();
            records.extend(self.ended.then_some(None));
            let first = self.sent - records.len() as u64;
            self.kept = (first..).zip(records).collect();
        }
        self.operator.open(saved.map(|_| CheckpointId(1)), &mut Vec::new());
        self.running = true;
        let state = TaskState::Running;
        ctx.observe(Observation::Task { subtask: self.subtask, attempt: Attempt(0), state });
        if let Some(from) = self.from {
            ctx.send(from, Message::Again(self.taken));
        }
        self.send_from(0, ctx);
        self.emit(ctx);
        // Each at its own pace: nobody's checkpoints meet.
        let pace = VirtualDuration::from_millis(170 + 13 * u64::from(self.subtask.0));
        ctx.timer(ctx.now() + pace, CHECKPOINT as u32);
    }

    fn on_message<O: Observer>(&mut self, message: Message, ctx: Ctx<'_, '_, O>) {
        match message {
            Message::Element(number, element) if number == self.taken => {
                self.taken += 1;
                match element {
                    Some(record) => self.operator.process(0, &record, &mut self.out),
                    None => {
                        self.operator.finish(&mut self.out);
                        self.ended = true;
                    }
                }
                self.pass_on(ctx);
            }
            // It had this before, or will be sent it again.
            Message::Element(..) => {}
            Message::Saved(below) => self.kept.retain(|(number, _)| *number >= below),
            Message::Again(from) => self.send_from(from, ctx),
            Message::Finished(_) => unreachable!("for the clerk"),
        }
    }

    /// A source reads what is due.
    fn emit<O: Observer>(&mut self, ctx: Ctx<'_, '_, O>) {
        let Some(source) = self.operator.as_source() else { return };
        while source.emit_due(ctx.now(), &mut self.out) {}
        let (due, over) = (source.next_due(), source.is_finished());
        let ends = over && !self.ended;
        self.ended = over;
        if let Some(due) = due {
            ctx.timer(due, EMIT as u32);
        }
        if ends || !self.out.records().is_empty() {
            self.pass_on(ctx);
        }
    }

    /// Sends what was emitted, and shows what the outside is to see.
    fn pass_on<O: Observer>(&mut self, ctx: Ctx<'_, '_, O>) {
        let subtask = self.subtask;
        for effect in self.out.effects() {
            match *effect {
                Effect::Append(record) => ctx.observe(Observation::Appended { subtask, record }),
                Effect::Upsert(record) => ctx.observe(Observation::Upserted { subtask, record }),
                _ => unreachable!("without checkpoints of the job there are no transactions"),
            }
        }
        let first = self.sent;
        let ends = self.ended.then_some(None);
        for element in self.out.records().iter().copied().map(Some).chain(ends) {
            self.kept.push_back((self.sent, element));
            self.sent += 1;
        }
        self.out.clear();
        self.send_from(first, ctx);
        self.say_finished(ctx);
    }

    fn send_from<O: Observer>(&self, from: u64, ctx: Ctx<'_, '_, O>) {
        let Some(to) = self.to else { return };
        for (number, element) in self.kept.iter().filter(|(number, _)| *number >= from) {
            ctx.send(to, Message::Element(*number, *element));
        }
    }

    fn say_finished<O: Observer>(&self, ctx: Ctx<'_, '_, O>) {
        if self.ended && self.to.is_none() {
            ctx.send(Plan::JOB_MANAGER, Message::Finished(self.subtask));
        }
    }

    fn say_saved<O: Observer>(&self, below: u64, ctx: Ctx<'_, '_, O>) {
        if let Some(from) = self.from {
            ctx.send(from, Message::Saved(below));
        }
    }

    fn checkpoint<O: Observer>(&mut self, ctx: Ctx<'_, '_, O>) {
        // Whoever leads now may not have heard it.
        self.say_finished(ctx);
        let interval = self.plan.scenario.checkpointing.interval.expect("it is in the scenario");
        ctx.timer(ctx.now() + interval, CHECKPOINT as u32);
        if self.writing.is_some() {
            return;
        }
        let mut snapshot = Snapshot::default();
        self.operator.snapshot(CheckpointId(1), &mut snapshot);
        let kept = self.kept.iter().filter_map(|(_, element)| *element);
        let outputs = kept.map(|record| (OutputChannel(0), record)).collect();
        let mut out = Encoder::new(*b"OWNC", 1);
        out.varint(self.taken);
        out.varint(self.sent);
        out.flag(self.ended);
        out.bytes(&snapshot.state);
        out.bytes(&ChannelState { inputs: Vec::new(), outputs }.encode());
        let (path, bytes, nominal) = (self.path(), out.seal(), snapshot.nominal);
        self.step(Step::B5, ctx);
        let (purpose, synced) = (Purpose::State, true);
        ctx.request(WRITE, Request::Put { path, bytes, nominal, purpose, synced });
        self.writing = Some(self.taken);
        if self.impatient {
            self.say_saved(self.taken, ctx);
        }
    }

    fn step<O: Observer>(&self, step: Step, ctx: Ctx<'_, '_, O>) {
        let subtask = Some(self.subtask);
        ctx.observe(Observation::Step { step, checkpoint: None, subtask });
    }
}

/// The engine.
struct Uncoordinated {
    impatient: bool,
}

impl Mount for Uncoordinated {
    type Process = Node;

    fn processes(&self, plan: &Arc<Plan>) -> Vec<Node> {
        let graph = &plan.graph;
        let count = plan.scenario.cluster.task_managers as usize;
        assert_eq!(count, graph.subtasks(), "a task manager for each subtask");
        let all = || (0..count as u32).map(SubtaskId);
        let sinks = all().filter(|subtask| graph.outputs(*subtask).is_empty()).collect();
        let clerk = Node::Clerk { sinks, finished: Vec::new() };
        let task = |subtask| Node::Task(Box::new(Task::new(plan, subtask, self.impatient)));
        std::iter::once(clerk).chain(all().map(task)).collect()
    }

    /// There is no cut through the whole job, no barrier and no coordinator, and what a task does
    /// again after a crash is none of the channel's history.
    fn cannot_feed(&self) -> &'static [&'static str] {
        &["cut", "order", "state", "policy"]
    }
}

const SCENARIO: &str = r#"{
    "format": "cutline-scenario/1",
    "title": "Checkpoints without a coordinator",
    "why": "Tasks die one by one, one of them after a checkpoint that could not be written.",
    "job": {
        "operators": [
            { "name": "source", "kind": "source", "records": 600, "every": "2 ms", "parallelism": 2, "splits": 2 },
            { "name": "map", "kind": "map", "parallelism": 2 },
            { "name": "sink", "kind": "at_least_once_sink", "parallelism": 2 }
        ],
        "edges": [
            { "from": "source", "to": "map", "partitioner": "forward" },
            { "from": "map", "to": "sink", "partitioner": "forward" }
        ]
    },
    "checkpointing": { "interval": "200 ms" },
    "cluster": { "task_managers": 6, "slots": 1 },
    "faults": [
        { "at": "300 ms", "kind": "crash_task_manager", "target": 1 },
        { "at": { "step": "B5", "subtask": "map[0]", "occurrence": 4 },
          "kind": "fail_storage", "operation": "write_state", "count": 4 },
        { "at": { "step": "B5", "subtask": "map[0]", "occurrence": 4, "delay": "100 ms" },
          "kind": "crash_task", "target": "map[0]" },
        { "at": "900 ms", "kind": "crash_job_manager" }
    ],
    "limits": { "until": "60 s", "settle": "5 s" }
}"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let scenario = Arc::new(load(SCENARIO.as_bytes(), "uncoordinated.json", &[])?.scenario);
    let run = |impatient| {
        let simulation = Simulation::new(Arc::clone(&scenario), 7)?.trace(true);
        Ok::<_, cutline_sim::engine::JobError>(simulation.run_engine(Uncoordinated { impatient }))
    };

    let right = run(false)?;
    assert_eq!(right.verdict, Verdict::Ok, "{:?}", right.violations);
    assert_eq!(right.faults_injected.len(), 4, "all faults struck");
    for finding in &right.findings {
        println!("{:<9} {:?} ({} judged)", finding.check, finding.outcome, finding.judged);
        let feeds = ["output", "liveness"].contains(&finding.check);
        let expected = if feeds { Outcome::Passed } else { Outcome::NotApplicable };
        assert_eq!(finding.outcome, expected, "{}", finding.check);
    }

    let wrong = run(true)?;
    assert_eq!(wrong.verdict, Verdict::Liveness, "the lost elements are waited for");
    println!("\n{}", wrong.violations[0]);
    println!("{}", explain(&wrong).expect("it has a violation").verdict.disturbed);

    // The case is all that somebody else needs to see it again, with the same engine.
    let case = load_case(Case::of(&wrong).to_json().as_bytes(), "case.json", &[])?.case;
    let again = Simulation::new(Arc::new(case.scenario), case.seed)?;
    let again = again.run_engine(Uncoordinated { impatient: true });
    assert_eq!(again.digest, case.digest);
    println!("replayed  {}", again.digest);
    Ok(())
}
