//! An engine of one's own, on the public API alone: no coordinator, no barriers.
//!
//! Every task checkpoints when it likes. Its sender keeps what the receiver has not saved yet and
//! sends it again after a crash; the receiver drops what it has had (upstream backup: Hwang et al.,
//! 2005). Only the task that died goes back. A task is a process here, and the job one line of them.
//!
//! `impatient` is a bug to be found: "saved" is said when the write begins, not when it has ended.

use std::collections::VecDeque;
use std::sync::Arc;

use cutline::ids::{Attempt, CheckpointId, SubtaskId};
use cutline::operator::{Emitter, Operator, Record, Snapshot};
use cutline::step::Step;
use cutline::time::VirtualDuration;
use cutline_sim::check::Verdict;
use cutline_sim::engine::{Mount, Plan};
use cutline_sim::explain::explain;
use cutline_sim::observe::{JobEnd, Observation, TaskState};
use cutline_sim::run::Simulation;
use cutline_sim::scenario::{Case, load, load_case};
use cutline_sim::world::{Answer, Context, Event, Observer, Process, ProcessId, Refusal, Request};
use serde::{Deserialize, Serialize};

/// What tokens of timers and requests mean.
const READ: u64 = 0;
const WRITE: u64 = 1;
const RESULT: u64 = 2;
const CHECKPOINT: u64 = 3;
const EMIT: u64 = 4;

/// A record; `None` is the end of the stream.
type Element = Option<Record>;
type Ctx<'a, 'b, O> = &'a mut Context<'b, Node, O>;

#[derive(Clone, Debug)]
enum Message {
    /// The element with this number.
    Element(u64, Element),
    /// All elements below are saved.
    Saved(u64),
    /// The receiver is back: again, please, from here on.
    Again(u64),
}

/// What a checkpoint holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Saved {
    /// The operator's state.
    state: Vec<u8>,
    /// Numbers of the next element to take and to send.
    taken: u64,
    sent: u64,
    /// What its receiver has not saved.
    kept: VecDeque<(u64, Element)>,
    ended: bool,
}

#[derive(Debug)]
struct Task {
    plan: Arc<Plan>,
    impatient: bool,
    subtask: SubtaskId,
    operator: Box<dyn Operator>,
    out: Emitter,
    now: Saved,
    running: bool,
    /// While a checkpoint is written: what it has taken.
    writing: Option<u64>,
}

/// A process: a task, or the job manager, who has nothing to do.
#[derive(Debug)]
struct Node(Option<Task>);

impl Process for Node {
    type Control = Message;
    type Data = ();
    type Back = ();

    fn handle<O: Observer>(&mut self, event: Event<Self>, ctx: &mut Context<'_, Self, O>) {
        if let Some(task) = &mut self.0 {
            task.handle(event, ctx);
        }
    }

    fn reborn(&self) -> Self {
        Self(self.0.as_ref().map(|task| Task::new(&task.plan, task.subtask, task.impatient)))
    }
}

impl Task {
    fn new(plan: &Arc<Plan>, subtask: SubtaskId, impatient: bool) -> Self {
        Self {
            plan: Arc::clone(plan),
            impatient,
            subtask,
            operator: plan.operator(plan.instance(subtask, 0)),
            out: Emitter::default(),
            now: Saved::default(),
            running: false,
            writing: None,
        }
    }

    fn is_last(&self) -> bool {
        self.subtask.index() + 1 == self.plan.graph.subtasks()
    }

    fn path(&self) -> String {
        format!("own/{}", self.plan.subtask_names[self.subtask.index()])
    }

    fn handle<O: Observer>(&mut self, event: Event<Node>, ctx: Ctx<'_, '_, O>) {
        match event {
            Event::Started => ctx.request(READ, Request::Get { path: self.path() }),
            Event::Answered { token: READ, answer } => match answer {
                Ok(Answer::Object { bytes }) => {
                    self.now = serde_json::from_slice(&bytes).expect("as `checkpoint` wrote it");
                    self.operator.restore(&self.now.state).expect("its own");
                    self.start(ctx);
                }
                Err(Refusal::NotFound) => self.start(ctx),
                _ => ctx.request(READ, Request::Get { path: self.path() }),
            },
            Event::Answered { token: WRITE, answer } => {
                let saved = self.writing.take().expect("one checkpoint is written at a time");
                if answer.is_ok() {
                    ctx.step(Step::B6, None, self.subtask);
                    self.tell_sender(Message::Saved(saved), ctx);
                }
            }
            Event::Answered { token: RESULT, .. } => ctx.end_job(JobEnd::Finished),
            Event::Message { message, .. } if self.running => self.on_message(message, ctx),
            Event::Timer(CHECKPOINT) => self.checkpoint(ctx),
            Event::Timer(EMIT) => self.emit(ctx),
            _ => {}
        }
    }

    /// Begins, or goes on from the last checkpoint: nobody else has to.
    fn start<O: Observer>(&mut self, ctx: Ctx<'_, '_, O>) {
        self.operator.open(None, &mut Vec::new());
        self.running = true;
        let (subtask, attempt, state) = (self.subtask, Attempt(0), TaskState::Running);
        ctx.observe(Observation::Task { subtask, attempt, state });
        self.tell_sender(Message::Again(self.now.taken), ctx);
        self.send_from(0, ctx);
        self.emit(ctx);
        // Each at its own pace: nobody's checkpoints meet.
        let pace = VirtualDuration::from_millis(170 + 13 * u64::from(self.subtask.0));
        ctx.timer(ctx.now() + pace, CHECKPOINT as u32);
    }

    fn on_message<O: Observer>(&mut self, message: Message, ctx: Ctx<'_, '_, O>) {
        match message {
            Message::Element(number, element) if number == self.now.taken => {
                self.now.taken += 1;
                match element {
                    Some(record) => self.operator.process(0, &record, &mut self.out),
                    None => {
                        self.operator.finish(&mut self.out);
                        self.now.ended = true;
                    }
                }
                self.pass_on(ctx);
            }
            // It had this before, or will be sent it again.
            Message::Element(..) => {}
            Message::Saved(below) => self.now.kept.retain(|(number, _)| *number >= below),
            Message::Again(from) => self.send_from(from, ctx),
        }
    }

    /// A source reads what is due.
    fn emit<O: Observer>(&mut self, ctx: Ctx<'_, '_, O>) {
        let Some(source) = self.operator.as_source() else { return };
        while source.emit_due(ctx.now(), &mut self.out) {}
        let ends = source.is_finished() && !self.now.ended;
        self.now.ended |= ends;
        if let Some(due) = source.next_due() {
            ctx.timer(due, EMIT as u32);
        }
        if ends || !self.out.records().is_empty() {
            self.pass_on(ctx);
        }
    }

    /// Sends what was emitted, and shows what the outside is to see.
    fn pass_on<O: Observer>(&mut self, ctx: Ctx<'_, '_, O>) {
        ctx.show(self.subtask, self.out.effects());
        let first = self.now.sent;
        let end = self.now.ended.then_some(None);
        for element in self.out.records().iter().copied().map(Some).chain(end) {
            self.now.kept.push_back((self.now.sent, element));
            self.now.sent += 1;
        }
        self.out.clear();
        self.send_from(first, ctx);
    }

    fn send_from<O: Observer>(&self, from: u64, ctx: Ctx<'_, '_, O>) {
        for (number, element) in self.now.kept.iter().filter(|(number, _)| *number >= from) {
            if !self.is_last() {
                ctx.send(ProcessId(ctx.me().0 + 1), Message::Element(*number, *element));
            }
        }
    }

    fn tell_sender<O: Observer>(&self, message: Message, ctx: Ctx<'_, '_, O>) {
        if self.subtask.0 > 0 {
            ctx.send(ProcessId(ctx.me().0 - 1), message);
        }
    }

    fn checkpoint<O: Observer>(&mut self, ctx: Ctx<'_, '_, O>) {
        let interval = self.plan.scenario.checkpointing.interval.expect("it is in the scenario");
        ctx.timer(ctx.now() + interval, CHECKPOINT as u32);
        if self.now.ended && self.is_last() {
            ctx.request(RESULT, Request::StoreJobResult(JobEnd::Finished));
        }
        if self.writing.is_some() {
            return;
        }
        let mut snapshot = Snapshot::default();
        self.operator.snapshot(CheckpointId(1), &mut snapshot);
        self.now.state = snapshot.state;
        let bytes = serde_json::to_vec(&self.now).expect("plain values");
        ctx.step(Step::B5, None, self.subtask);
        ctx.request(WRITE, Request::put(self.path(), bytes));
        self.writing = Some(self.now.taken);
        if self.impatient {
            self.tell_sender(Message::Saved(self.now.taken), ctx);
        }
    }
}

/// The engine.
struct Uncoordinated {
    impatient: bool,
}

impl Mount for Uncoordinated {
    type Process = Node;

    /// Process 0 is the job manager, process n + 1 the task with number n.
    fn processes(&self, plan: &Arc<Plan>) -> Vec<Node> {
        let tasks = (0..plan.scenario.cluster.task_managers).map(SubtaskId);
        let tasks = tasks.map(|subtask| Node(Some(Task::new(plan, subtask, self.impatient))));
        std::iter::once(Node(None)).chain(tasks).collect()
    }

    /// There is no cut through the whole job, no barrier and no coordinator, and what a task does
    /// again after a crash is none of the channel's history.
    fn cannot_feed(&self) -> &'static [&'static str] {
        &["cut", "order", "state", "policy"]
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = include_str!("uncoordinated.json");
    let scenario = Arc::new(load(text.as_bytes(), "uncoordinated.json", &[])?.scenario);
    let run = |impatient| {
        let simulation = Simulation::new(Arc::clone(&scenario), 7)?.trace(true);
        Ok::<_, cutline_sim::engine::JobError>(simulation.run_engine(Uncoordinated { impatient }))
    };

    let right = run(false)?;
    assert_eq!(right.verdict, Verdict::Ok, "{:?}", right.violations);
    assert!(right.inert_faults().is_empty(), "all faults struck");
    for finding in &right.findings {
        println!("{:<9} {:?} ({} judged)", finding.check, finding.outcome, finding.judged);
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
