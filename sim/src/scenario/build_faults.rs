//! Faults: targets that exist, steps that can be reached.

use cutline::config::text::format_duration;
use cutline::step::Step;
use cutline::time::VirtualTime;

use super::build_job::warn_of_no_chain;
use super::build_network::{end, ends, task_manager};
use super::build_rescaling as rescaling;
use super::diagnostic::{Diagnostic, Sink};
use super::model::{
    Action, ActionKind, ClockStep, Direction, Disturbance, Endpoint, ExternalOperation, FailureLaw,
    FailureTarget, Failures, Fault, FaultKind, Scenario, SnapshotSource, StepAnchor,
    StorageOperation, When,
};
use super::read::{Datum, Node};
use crate::world::RIGHT_PACE;

/// What the checks of faults may rely on; the rest was refused before, and is not reported twice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Operators, edges and parallelism.
    pub(super) graph: bool,
    /// Everything else: options, limits, the cluster.
    pub(super) rest: bool,
}

/// The faults of a scenario that has everything but them.
pub(super) fn faults(
    nodes: &[Node],
    scenario: &Scenario,
    known: Known,
    sink: &mut Sink,
) -> Vec<Fault> {
    let mut builder = Builder { scenario, known, sink };
    nodes.iter().filter_map(|node| builder.fault(node)).collect()
}

/// What users do in a scenario that has everything but that and faults.
pub(super) fn actions(
    nodes: &[Node],
    scenario: &Scenario,
    known: Known,
    sink: &mut Sink,
) -> Vec<Action> {
    let mut builder = Builder { scenario, known, sink };
    let actions: Vec<_> = nodes.iter().filter_map(|node| builder.action(node)).collect();
    builder.refuse_resumed_drain(nodes, &actions);
    if known.graph {
        rescaling::check(nodes, &actions, scenario, sink);
    }
    actions
}

/// The law of random failures.
pub(super) fn failures(node: &Node) -> Option<Failures> {
    let law = match node.variant {
        "weibull" => FailureLaw::Weibull { shape_permille: node.permille("shape")? },
        "exponential" => FailureLaw::Exponential,
        // A law that was refused.
        _ => return None,
    };
    let target = match node.word("target")? {
        "task" => FailureTarget::Task,
        _ => FailureTarget::TaskManager,
    };
    Some(Failures { law, mtbf: node.duration("mtbf")?, target })
}

/// Refuses a law by which a run would be nothing but failures.
pub(super) fn check_failures(root: &Node, scenario: &Scenario, sink: &mut Sink) {
    /// With twice as many, a case still lists those of a bad draw.
    const EXPECTED_MAX: u64 = 10_000;
    let (Some(failures), Some(node)) = (&scenario.failures, root.object("failures")) else {
        return;
    };
    let until = scenario.limits.until.as_nanos();
    if until / failures.mtbf.as_nanos().max(1) > EXPECTED_MAX {
        let message = format!(
            "more than {EXPECTED_MAX} failures are expected before {}",
            format_time(scenario.limits.until)
        );
        let least = VirtualTime(until / EXPECTED_MAX);
        sink.push(
            Diagnostic::error("too-many-failures", node.place("mtbf"), message)
                .expected(format!("at least {}, or a shorter run", format_time(least))),
        );
    }
}

struct Builder<'a> {
    scenario: &'a Scenario,
    known: Known,
    sink: &'a mut Sink,
}

impl Builder<'_> {
    fn fault(&mut self, node: &Node) -> Option<Fault> {
        let at = self.when(node);
        let what = self.what(node);
        Some(Fault { at: at?, what: what? })
    }

    fn action(&mut self, node: &Node) -> Option<Action> {
        let at = self.when(node);
        let what = match node.variant {
            "savepoint" => ActionKind::Savepoint,
            "stop_with_savepoint" => {
                ActionKind::StopWithSavepoint { drain: node.boolean("drain")? }
            }
            "cancel" => ActionKind::Cancel,
            "clean_orphans" => ActionKind::CleanOrphans,
            "resume" => ActionKind::Resume {
                from: match node.word("from")? {
                    "checkpoint" => SnapshotSource::Checkpoint,
                    _ => SnapshotSource::Savepoint,
                },
                claims: node.word("claim_mode")? == "claim",
                parallelism: rescaling::parallelism(node, self.scenario, self.known, self.sink),
                operator_chaining: node.boolean("operator_chaining"),
                changelog: node.boolean("changelog"),
            },
            // A kind that was refused.
            _ => return None,
        };
        if self.known.graph {
            warn_of_no_chain(node, &self.scenario.job.edges, self.sink);
        }
        let at = at?;
        if let (ActionKind::Resume { .. }, When::Step(_)) = (&what, &at) {
            let message = "a job that has ended takes no steps";
            let error = Diagnostic::error("impossible-step", node.place("at"), message);
            self.sink.push(error.expected("a time; the new job waits for the end of the last one"));
        }
        Some(Action { at, what })
    }

    /// What was finished by a drain is not begun again: Flink starts such a job, and its operators
    /// hold what they had already given away.
    fn refuse_resumed_drain(&mut self, nodes: &[Node], actions: &[Action]) {
        let drains = |action: &Action| action.what == ActionKind::StopWithSavepoint { drain: true };
        let resumes = |action: &&Action| matches!(action.what, ActionKind::Resume { .. });
        if actions.iter().any(drains) && actions.iter().any(|action| resumes(&action)) {
            let node = nodes.iter().find(|node| node.variant == "resume");
            let span = node.expect("one of them resumes").span();
            let message = "a job that was drained is not resumed in this version";
            self.sink.push(
                Diagnostic::error("contradiction", span, message)
                    .expected("a stop without `drain`, or no resume")
                    .flink("CLI: starts the job, and advises against it"),
            );
        }
    }

    fn when(&mut self, node: &Node) -> Option<When> {
        match node.datum("at")? {
            Datum::Duration(span) => {
                let at = VirtualTime::ZERO + *span;
                if at > self.scenario.limits.until {
                    let until = format_time(self.scenario.limits.until);
                    let message = format!("this never happens: the run ends at {until}");
                    let warning = Diagnostic::warning("never", node.place("at"), message);
                    self.sink.push(warning.expected("a time before `limits.until`"));
                }
                Some(When::Time(at))
            }
            Datum::Object(anchor) => self.anchor(anchor).map(When::Step),
            other => unreachable!("a time or a step, not {other:?}"),
        }
    }

    fn anchor(&mut self, node: &Node) -> Option<StepAnchor> {
        let step: Step = node.word("step")?.parse().expect("the table has the names of the steps");
        let subtask = match node.subtask("subtask") {
            Some(_) => Some(self.subtask(node, "subtask")?),
            None => None,
        };
        let checkpoint = node.integer("checkpoint");
        self.check_step(node, step, checkpoint, subtask);
        Some(StepAnchor {
            step,
            checkpoint,
            subtask,
            occurrence: node.u32("occurrence")?,
            delay: node.duration("delay")?,
        })
    }

    /// Refuses conditions that no step of that name can fulfil.
    fn check_step(
        &mut self,
        node: &Node,
        step: Step,
        checkpoint: Option<u64>,
        subtask: Option<(usize, u32)>,
    ) {
        if subtask.is_some() && !has_subtask(step) {
            let message = format!("{step} is a step of the coordinator, not of a subtask");
            let error = Diagnostic::error("impossible-step", node.place("subtask"), message);
            self.sink
                .push(error.expected("no `subtask`, or a step from B1 to B6, A1, N1, R6, S5, S6"));
        }
        if checkpoint.is_some() && !has_checkpoint(step) {
            let message = format!("{step} comes before there is a checkpoint id");
            let error = Diagnostic::error("impossible-step", node.place("checkpoint"), message);
            self.sink.push(error.expected("no `checkpoint`"));
        }
        let periodic = self.scenario.checkpointing.interval.is_some();
        let manual = self.scenario.manual.len() as u64;
        let never = self.known.rest
            && !periodic
            && (manual == 0 || checkpoint.is_some_and(|id| id > manual));
        if never && needs_checkpoint(step) {
            let message = match checkpoint {
                Some(id) => format!("there is no checkpoint {id}: {manual} are asked for"),
                None => format!("{step} is never reached: nothing is checkpointed"),
            };
            let error = Diagnostic::error("impossible-step", node.place("checkpoint"), message);
            self.sink.push(error.expected("`checkpointing.interval`, or manual checkpoints"));
        }
        self.warn_of_late_checkpoint(node, checkpoint);
        self.check_commit_step(node, step, subtask);
    }

    /// A restart begins the schedule anew, so this is no more than a warning.
    fn warn_of_late_checkpoint(&mut self, node: &Node, checkpoint: Option<u64>) {
        let interval = self.scenario.checkpointing.interval;
        let (Some(id), Some(interval), true) = (checkpoint, interval, self.known.rest) else {
            return;
        };
        let until = self.scenario.limits.until;
        let manual = self.scenario.manual.len() as u64;
        let triggered = until.as_nanos() / interval.as_nanos().max(1) + 1 + manual;
        if id > triggered {
            let message = format!("checkpoint {id} is not reached before {}", format_time(until));
            let warning = Diagnostic::warning("never", node.place("checkpoint"), message);
            self.sink.push(warning.expected(format!("at most {triggered}")));
        }
    }

    /// S5 and S6 are steps of sinks that commit, or have transactions.
    fn check_commit_step(&mut self, node: &Node, step: Step, subtask: Option<(usize, u32)>) {
        if !matches!(step, Step::S5 | Step::S6) || !self.known.graph {
            return;
        }
        let operators = &self.scenario.job.operators;
        let commits = |index: usize| operators[index].kind.takes(step);
        let possible = match subtask {
            Some((operator, _)) => commits(operator),
            None => (0..operators.len()).any(commits),
        };
        if !possible {
            let (who, expected) = match step {
                Step::S5 => (
                    "a sink that commits",
                    "a two_phase_commit_sink, a committer, or a write_ahead_sink",
                ),
                _ => ("a sink that has transactions", "a two_phase_commit_sink, or a sink_writer"),
            };
            let message = format!("{step} is a step of {who}");
            let error = Diagnostic::error("impossible-step", node.place("step"), message);
            self.sink.push(error.expected(expected));
        }
    }

    fn what(&mut self, node: &Node) -> Option<FaultKind> {
        let span = |name| node.duration(name);
        let operation = || node.word("operation").map(operation);
        let external = || {
            let word = node.word("operation")?;
            ExternalOperation::ALL.into_iter().find(|operation| operation.word() == word)
        };
        Some(match node.variant {
            "crash_task" => {
                let (operator, index) = self.subtask(node, "target")?;
                FaultKind::CrashTask(operator, index)
            }
            "crash_task_manager" => FaultKind::CrashTaskManager(self.task_manager(node)?),
            "crash_job_manager" => FaultKind::CrashJobManager,
            "pause_task" => {
                let (operator, index) = self.subtask(node, "target")?;
                FaultKind::PauseTask(operator, index, span("for")?)
            }
            "pause_task_manager" => {
                FaultKind::PauseTaskManager(self.task_manager(node)?, span("for")?)
            }
            "pause_job_manager" => FaultKind::PauseJobManager(span("for")?),
            "slow_link" => {
                let (from, to) = self.link(node)?;
                FaultKind::SlowLink(from, to, node.u32("factor")?, span("for")?)
            }
            "cut_link" => {
                let (from, to) = self.link(node)?;
                FaultKind::CutLink(from, to, direction(node)?, span("for")?)
            }
            "repeat_messages" => {
                let (from, to) = self.link(node)?;
                FaultKind::RepeatMessages(from, to, span("by")?, span("for")?)
            }
            "lose_messages" => {
                let (from, to) = self.link(node)?;
                self.check_talk(node, (from, to));
                let chance = node.permille("chance")?;
                FaultKind::LoseMessages(from, to, direction(node)?, chance, span("for")?)
            }
            "reorder" => FaultKind::Reorder(span("window")?, node.u32("changes")?, span("for")?),
            "slow_storage" => FaultKind::SlowStorage(operation()?, span("by")?, span("for")?),
            "fail_storage" => FaultKind::FailStorage(operation()?, node.u32("count")?),
            "disturb_storage" => {
                let operation = operation()?;
                let how = self.disturbance(node, operation)?;
                FaultKind::DisturbStorage(operation, how, node.u32("count")?)
            }
            "damage_object" => FaultKind::DamageObject(operation()?),
            "slow_external" => FaultKind::SlowExternal(external()?, span("by")?, span("for")?),
            "fail_external" => FaultKind::FailExternal(external()?, node.u32("count")?),
            "ambiguous_external" => FaultKind::AmbiguousExternal(external()?, node.u32("count")?),
            "cut_external" => {
                FaultKind::CutExternal(self.task_manager(node)?, direction(node)?, span("for")?)
            }
            "cut_ha" => FaultKind::CutHa(self.process(node)?, direction(node)?, span("for")?),
            "cut_storage" => {
                FaultKind::CutStorage(self.process(node)?, direction(node)?, span("for")?)
            }
            "drift_clock" => {
                let target = self.process(node);
                let pace = self.pace(node);
                FaultKind::DriftClock(target?, pace?, span("for")?)
            }
            "step_clock" => {
                let word = node.word("direction")?;
                let step = ClockStep::ALL.into_iter().find(|step| step.name() == word)?;
                FaultKind::StepClock(self.process(node)?, step, span("by")?, span("for")?)
            }
            "crash_storage_host" => {
                self.check_storage_host(node);
                FaultKind::CrashStorageHost(span("for")?)
            }
            // A kind that was refused.
            _ => return None,
        })
    }

    /// Refuses the crash of a host that is none.
    fn check_storage_host(&mut self, node: &Node) {
        if self.known.rest && !self.scenario.has_storage_host() {
            let message = "checkpoints are not kept on a host of their own that may crash";
            let error = Diagnostic::error("impossible-fault", node.place("kind"), message);
            self.sink
                .push(error.expected("a `checkpointing.dir` of files, such as hdfs:// or file://"));
        }
    }

    /// Refuses a drift that is none.
    fn pace(&mut self, node: &Node) -> Option<u32> {
        let pace = node.permille("rate")?;
        if pace == RIGHT_PACE {
            let message = "a clock at this rate is right";
            self.sink.push(
                Diagnostic::error("impossible-fault", node.place("rate"), message)
                    .expected("a rate above or below 1"),
            );
        }
        Some(pace)
    }

    /// Refuses what cannot befall such requests: it would never strike.
    /// Control messages go between job managers and task managers.
    fn check_talk(&mut self, node: &Node, ends: (Endpoint, Endpoint)) {
        let workers = [ends.0, ends.1].map(|end| matches!(end, Endpoint::TaskManager(_)));
        if workers[0] == workers[1] {
            let message = "these two never send each other a control message";
            self.sink.push(
                Diagnostic::error("impossible-fault", node.place("to"), message.to_owned())
                    .expected("a job manager and a task manager"),
            );
        }
    }

    fn disturbance(&mut self, node: &Node, operation: StorageOperation) -> Option<Disturbance> {
        let word = node.word("how")?;
        let how = Disturbance::ALL.into_iter().find(|how| how.name() == word);
        let how = how.expect("the table has the words");
        if !how.befalls(operation) {
            let message = format!("`{word}` cannot befall such requests");
            let possible = match how {
                Disturbance::Torn => "`write_state`, `write_metadata` or `any`",
                Disturbance::ShortRead | Disturbance::Stale => "`read` or `any`",
                _ => "an operation that changes something",
            };
            self.sink.push(
                Diagnostic::error("impossible-fault", node.place("how"), message)
                    .expected(format!("{possible} as its `operation`")),
            );
        }
        Some(how)
    }

    fn subtask(&mut self, node: &Node, field: &str) -> Option<(usize, u32)> {
        let (name, index) = node.subtask(field)?;
        if !self.known.graph {
            return None;
        }
        let operators = &self.scenario.job.operators;
        let span = node.place(field);
        let Some(operator) = operators.iter().position(|operator| operator.name == name) else {
            let names: Vec<&str> = operators.iter().map(|op| op.name.as_str()).collect();
            self.sink.push(
                Diagnostic::error(
                    "unknown-operator",
                    span,
                    format!("no operator is called `{name}`"),
                )
                .expected("a subtask of an operator of this job")
                .nearest(name, names),
            );
            return None;
        };
        let parallelism = self.scenario.parallelism_max(operator);
        if index >= parallelism {
            let message = format!("`{name}` has {parallelism} subtasks, counted from 0");
            self.sink.push(
                Diagnostic::error("unknown-subtask", span, message)
                    .expected(format!("{name}[0] to {name}[{}]", parallelism - 1)),
            );
            return None;
        }
        Some((operator, index))
    }

    fn task_manager(&mut self, node: &Node) -> Option<u32> {
        let index = node.u32("target")?;
        task_manager(node, "target", index, self.task_managers(), self.sink).then_some(index)
    }

    /// The process at one end of a partition; `None`: whoever leads then.
    fn process(&mut self, node: &Node) -> Option<Option<Endpoint>> {
        match node.endpoint("target") {
            Some(_) => Some(Some(end(node, "target", self.cluster(), self.sink)?)),
            None => Some(None),
        }
    }

    fn link(&mut self, node: &Node) -> Option<(Endpoint, Endpoint)> {
        ends(node, self.cluster(), self.sink)
    }

    /// How many job managers and task managers there are, if that is known.
    fn cluster(&self) -> Option<(u32, u32)> {
        let cluster = &self.scenario.cluster;
        self.known.graph.then_some((cluster.job_managers, cluster.task_managers))
    }

    /// How many there are, if that is known.
    fn task_managers(&self) -> Option<u32> {
        self.cluster().map(|(_, task_managers)| task_managers)
    }
}

fn format_time(at: VirtualTime) -> String {
    format_duration(at.since(VirtualTime::ZERO))
}

fn direction(node: &Node) -> Option<Direction> {
    let word = node.word("direction")?;
    Direction::ALL.into_iter().find(|direction| direction.name() == word)
}

fn operation(word: &'static str) -> StorageOperation {
    let named = StorageOperation::ALL.into_iter().find(|it| it.name() == word);
    named.unwrap_or(StorageOperation::Any)
}

fn has_subtask(step: Step) -> bool {
    use Step::{A1, B1, B2, B3, B4, B5, B6, N1, R6, S5, S6};
    matches!(step, B1 | B2 | B3 | B4 | B5 | B6 | A1 | N1 | R6 | S5 | S6)
}

fn has_checkpoint(step: Step) -> bool {
    !matches!(step, Step::T1 | Step::R1)
}

/// Whether a step belongs to a checkpoint of this run; a recovery may have none to go back to.
fn needs_checkpoint(step: Step) -> bool {
    use Step::{R1, R2, R3, R4, R5, R6};
    !matches!(step, R1 | R2 | R3 | R4 | R5 | R6)
}
