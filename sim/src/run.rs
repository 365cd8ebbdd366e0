//! One run: scenario and seed in, verdict and digest out.
//!
//! ```
//! # use std::sync::Arc;
//! use cutline_sim::run::Simulation;
//! use cutline_sim::scenario::generate::generate;
//!
//! let outcome = Simulation::new(Arc::new(generate(42)), 42)?.run();
//! assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
//! # Ok::<(), cutline_sim::engine::JobError>(())
//! ```

mod rig;
mod setup;

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use cutline::defect::Defects;
use cutline::time::VirtualTime;

use self::setup::{checks_of, planned, planned_when, world_config};
use crate::check::{
    self, Check, Checks, Ending, Finding, Shown, Statistics, Strike, Verdict, Violation, Watch,
};
use crate::engine::{
    BarrierFactory, BuiltIn, CoordinatorFactory, JobError, Mount, OperatorFactory, Plan,
    PolicyFactory, Stores,
};
use crate::horizon::{self, Driver, Figures, LeapError, Leaping, Leapt, Outline};
use crate::kernel::digest::{Fingerprint, Ladder};
use crate::kernel::queue::Queue;
use crate::kernel::run::{End, Limits, Ran, run};
use crate::observe::{JobEnd, Observation};
use crate::scenario::LoopRefusal;
use crate::scenario::model::Scenario;
use crate::sweep::{Measures, Meter};
use crate::trace::Recorder;
use crate::world::{Due, ExternalSystem, HaStore, Note, ObjectStore, Observer, World};

/// A run that is yet to happen.
pub struct Simulation {
    plan: Plan,
    seed: u64,
    checks: Vec<Box<dyn Check>>,
    situations: Vec<Box<dyn Watch>>,
    trace: bool,
    meter: bool,
    leaping: Option<Leaping>,
    stop_at_violation: bool,
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("plan", &self.plan)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The answer of all checks.
    pub verdict: Verdict,
    /// Digest of everything that was observed: equal for equal scenario, seed and version.
    pub digest: Fingerprint,
    /// Digests on the way.
    pub ladder: Ladder,
    /// Virtual time at the end.
    pub virtual_time: VirtualTime,
    /// Kernel events.
    pub events: u64,
    /// Observations; the lines of a trace.
    pub observations: u64,
    /// Why the run ended.
    pub end: End,
    /// How the job ended, if it did.
    pub job_end: Option<JobEnd>,
    /// What was found, in the order of first sight.
    pub violations: Vec<Violation>,
    /// What each check has to say.
    pub findings: Vec<Finding>,
    /// Every situation and how often it was seen.
    pub situations: Vec<(&'static str, u64)>,
    /// What each fault has struck.
    pub struck: Vec<Strike>,
    /// Numbers of the run.
    pub statistics: Statistics,
    /// What was measured, if it was to be.
    pub measures: Option<Measures>,
    /// What was leapt over, if that was allowed.
    pub leapt: Option<Leapt>,
    /// Faults that took effect, by index in the scenario.
    pub faults_injected: Vec<u32>,
    /// What each sink operator shows in the end.
    pub shown: Vec<Shown>,
    /// What was observed, if it was to be kept.
    pub trace: Option<Vec<(VirtualTime, Observation)>>,
    /// The path of every file that was written, by `FileId`.
    pub files: Vec<String>,
    /// The job, to give names to what the trace and the violations speak of.
    pub plan: Arc<Plan>,
}

impl Outcome {
    /// Whether the event budget ended the run, and nothing worse is known than that things had not
    /// ended by then.
    pub fn is_inconclusive(&self) -> bool {
        self.end == End::Budget && self.violations.iter().all(|found| found.class.is_liveness())
    }

    /// Faults of the scenario that never struck, by index.
    pub fn inert_faults(&self) -> Vec<u32> {
        let all = 0..self.plan.scenario.faults.len() as u32;
        all.filter(|fault| !self.faults_injected.contains(fault)).collect()
    }

    /// Whether the run proves less than it seems to: a check had nothing to judge, or a fault never
    /// struck.
    pub fn is_vacuous(&self) -> bool {
        let vacuous = |finding: &Finding| finding.outcome == check::Outcome::Vacuous;
        self.findings.iter().any(vacuous) || !self.inert_faults().is_empty()
    }
}

impl Simulation {
    /// A run of a scenario with a seed, with all built-in checks. Random failures of the scenario
    /// are drawn here and are scripted faults from now on.
    ///
    /// # Errors
    /// The job graph cannot run, or has a loop beside what it cannot have.
    pub fn new(scenario: Arc<Scenario>, seed: u64) -> Result<Self, JobError> {
        let scenario = match scenario.failures {
            Some(_) => Arc::new(Arc::unwrap_or_clone(scenario).with_failures_of(seed)),
            None => scenario,
        };
        Ok(Self {
            plan: Plan::new(scenario)?,
            seed,
            checks: Vec::new(),
            situations: Vec::new(),
            trace: false,
            meter: false,
            leaping: None,
            stop_at_violation: true,
        })
    }

    /// Runs an operator of your own in the place of the one with this name.
    #[must_use]
    pub fn operator(mut self, name: &str, factory: OperatorFactory) -> Self {
        self.plan.replace_operator(name, factory);
        self
    }

    /// Runs a coordinator of your own in the place of the built-in one, and all else as it is.
    #[must_use]
    pub fn coordinator(mut self, factory: CoordinatorFactory) -> Self {
        self.plan.coordinator = Some(factory);
        self
    }

    /// Lets a trigger policy of your own choose the intervals of checkpoints, and all else as it is.
    /// The first of them is due after the delay that the scenario's options give.
    #[must_use]
    pub fn policy(mut self, factory: PolicyFactory) -> Self {
        self.plan.policy = Some(factory);
        self
    }

    /// Runs barrier handlers of your own in the place of the built-in ones, and all else as it is.
    ///
    /// # Errors
    /// The job has a loop: at its head a handler would have to capture what goes round.
    pub fn barriers(mut self, factory: BarrierFactory) -> Result<Self, LoopRefusal> {
        self.plan.replace_barriers(factory)?;
        Ok(self)
    }

    /// Adds a check of your own.
    #[must_use]
    pub fn check(mut self, check: Box<dyn Check>) -> Self {
        self.checks.push(check);
        self
    }

    /// Adds a situation of your own.
    #[must_use]
    pub fn situation(mut self, situation: Box<dyn Watch>) -> Self {
        self.situations.push(situation);
        self
    }

    /// Keeps every observation. The digest is the same with and without.
    #[must_use]
    pub fn trace(mut self, keep: bool) -> Self {
        self.trace = keep;
        self
    }

    /// Measures the run as a sweep does. The digest is the same with and without.
    #[must_use]
    pub fn meter(mut self, on: bool) -> Self {
        self.meter = on;
        self
    }

    /// Leaps over time in which nothing would happen, and [measures](Self::meter) the run with it:
    /// `measures` and `statistics` of the outcome are those of the whole horizon, everything else
    /// is of what was simulated.
    ///
    /// # Errors
    /// The scenario has something that would be missed.
    pub fn leaping(mut self, leaping: Leaping) -> Result<Self, LeapError> {
        horizon::check(&self.plan.scenario)?;
        self.leaping = Some(leaping);
        self.meter = true;
        Ok(self)
    }

    /// Whether the run ends at the first violation (it does unless told otherwise).
    #[must_use]
    pub fn stop_at_violation(mut self, stop: bool) -> Self {
        self.stop_at_violation = stop;
        self
    }

    /// Runs the protocol with a bug planted in it: part of the identity of a run, like the seed.
    #[must_use]
    pub fn defects(mut self, defects: Defects) -> Self {
        self.plan.plant(defects);
        self
    }

    /// Runs it.
    ///
    /// # Panics
    /// On an invariant of ours that does not hold.
    pub fn run(self) -> Outcome {
        let Some(leaping) = self.leaping else { return self.run_with(BuiltIn, run) };
        let strikes = rig::strikes(&self.plan);
        let mut driver = Driver::new(Outline::of(&self.plan.scenario, strikes, leaping));
        let mut outcome =
            self.run_with(BuiltIn, |world, queue, _| driver.drive(&mut rig::Rig { world, queue }));
        if let Some(measures) = outcome.measures.take() {
            let figures = Figures { measures, statistics: outcome.statistics };
            let (figures, leapt) = driver.finish(figures);
            outcome.measures = Some(figures.measures);
            outcome.statistics = figures.statistics;
            outcome.leapt = Some(leapt);
        }
        outcome
    }

    /// Runs it with an engine of your own in the place of the built-in one.
    ///
    /// # Panics
    /// If the engine has not one process for each host, or names a check that does not exist; if
    /// time was to be [leapt over](Self::leaping), which the built-in engine alone can bear.
    pub fn run_engine<E: Mount>(self, engine: E) -> Outcome {
        assert!(self.leaping.is_none(), "the built-in engine alone leaps");
        self.run_with(engine, run)
    }

    fn run_with<E: Mount>(
        self,
        engine: E,
        go: impl FnOnce(&mut World<E::Process, Hub<E>>, &mut Queue<Due>, &Limits) -> Ran,
    ) -> Outcome {
        let plan = Arc::new(self.plan);
        let processes = engine.processes(&plan);
        let mut checks = checks_of(&plan);
        checks.leave_out(engine.cannot_feed());
        self.checks.into_iter().for_each(|check| checks.add(check));
        self.situations.into_iter().for_each(|situation| checks.add_situation(situation));
        let hub = Hub {
            engine,
            plan: Arc::clone(&plan),
            checks,
            recorder: Recorder::new(self.trace),
            meter: self.meter.then(|| Box::new(Meter::new(&plan))),
            stop_at_violation: self.stop_at_violation,
        };
        let announced = self.leaping.is_some();
        let mut queue: Queue<Due> = Queue::new();
        let named_by = Arc::clone(&plan);
        let mut world = World::new(
            world_config(&plan),
            self.seed,
            processes,
            move |channel| named_by.graph.channel_name(channel),
            (
                plan.scenario.faults.iter().map(|fault| planned(&plan, fault, announced)).collect(),
                plan.scenario
                    .actions
                    .iter()
                    .map(|action| planned_when(&plan, &action.at))
                    .collect(),
            ),
            hub,
            &mut queue,
        );
        let limits = Limits {
            until: Some(plan.scenario.limits.until),
            events: plan.scenario.limits.events,
            ..Limits::default()
        };
        let ran = go(&mut world, &mut queue, &limits);
        let ending = match ran.end {
            End::Quiet | End::Stopped => Ending::Quiescent,
            End::Until => Ending::TimeUp,
            End::Budget | End::Livelock => Ending::BudgetSpent,
        };
        let job_end = world.ended();
        let core = &mut world.core;
        let stopped_by_violation = !core.observer.checks.violations().is_empty();
        if !(self.stop_at_violation && stopped_by_violation) {
            let Hub { engine, checks, .. } = &mut core.observer;
            let stores = Stores { objects: &core.store, ha: &core.ha, external: &core.external };
            let mut oracle = engine.oracle(&plan, stores);
            checks.finish(ran.now, ending, &mut *oracle);
        }
        let files = core.store.paths().to_vec();
        let Hub { checks, recorder, meter, .. } = world.core.observer;
        Outcome {
            seed: self.seed,
            verdict: checks.verdict(),
            digest: recorder.finish(),
            ladder: recorder.ladder(),
            virtual_time: ran.now,
            events: ran.events,
            observations: recorder.events(),
            end: ran.end,
            job_end,
            violations: checks.violations().to_vec(),
            findings: checks.findings(),
            situations: checks.situations(),
            struck: checks.struck().to_vec(),
            statistics: checks.statistics().clone(),
            measures: meter.map(|meter| meter.finish(ran.now)),
            leapt: None,
            faults_injected: checks.struck().iter().map(|strike| strike.fault).collect(),
            shown: checks.shown(),
            trace: recorder.into_kept(),
            files,
            plan,
        }
    }
}

/// Where the observations of a run go.
struct Hub<E> {
    engine: E,
    plan: Arc<Plan>,
    checks: Checks,
    recorder: Recorder,
    meter: Option<Box<Meter>>,
    stop_at_violation: bool,
}

impl<E: Mount> Observer for Hub<E> {
    #[inline(always)]
    fn observe(&mut self, now: VirtualTime, observation: &Observation) {
        self.recorder.observe(now, observation);
        self.checks.observe(now, observation);
        if let Some(meter) = &mut self.meter {
            meter.observe(now, observation, &self.plan);
        }
    }

    #[inline]
    fn note(&mut self, _now: VirtualTime, note: Note) {
        if let Some(meter) = &mut self.meter {
            meter.note(note);
        }
    }

    #[inline]
    fn settle(
        &mut self,
        now: VirtualTime,
        store: &ObjectStore,
        ha: &HaStore,
        external: &ExternalSystem,
    ) -> ControlFlow<()> {
        if self.checks.has_questions() {
            let stores = Stores { objects: store, ha, external };
            let mut oracle = self.engine.oracle(&self.plan, stores);
            self.checks.consult(now, &mut *oracle);
        }
        if self.stop_at_violation && !self.checks.violations().is_empty() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::distribution::Distribution;
    use crate::scenario::model::*;
    use cutline::config::*;
    use cutline::job::Partitioner;
    use cutline::operator::StartupMode;
    use cutline::storage::SyncPolicy;
    use cutline::time::VirtualDuration;

    fn ms(ms: u64) -> VirtualDuration {
        VirtualDuration::from_millis(ms)
    }

    fn constant(us: u64) -> Distribution {
        Distribution::Constant(VirtualDuration::from_micros(us))
    }

    fn uniform(from: u64, to: u64) -> Distribution {
        Distribution::Uniform {
            min: VirtualDuration::from_micros(from),
            max: VirtualDuration::from_micros(to),
        }
    }

    pub(super) fn quickstart() -> Scenario {
        let operator = |name: &str, kind, parallelism| Operator {
            name: name.to_owned(),
            kind,
            parallelism,
            max_parallelism: 128,
            cost: constant(20),
            sync_cost: constant(100),
            state_per_key: 0,
        };
        let source = Source {
            splits: 4,
            records: Some(2_000),
            history: 0,
            startup_mode: StartupMode::EarliestOffset,
            every: ms(2),
            keys: 50,
            key_run: 1,
            record_bytes: 100,
            weight: 1,
            disorder: VirtualDuration::ZERO,
            watermarks: None,
            discovery: None,
            list_mode: ListMode::Split,
        };
        Scenario {
            title: "quickstart".to_owned(),
            why: "smoke".to_owned(),
            job: Job {
                operators: vec![
                    operator("source", OperatorKind::Source(source), 2),
                    operator("count", OperatorKind::KeyedAggregate, 2),
                    operator("sink", OperatorKind::TwoPhaseCommitSink, 1),
                ],
                edges: vec![
                    Edge {
                        from: 0,
                        to: 1,
                        input: 0,
                        partitioner: Partitioner::Hash,
                        chained: false,
                        feedback: None,
                    },
                    Edge {
                        from: 1,
                        to: 2,
                        input: 0,
                        partitioner: Partitioner::Rebalance,
                        chained: false,
                        feedback: None,
                    },
                ],
                operator_chaining: true,
            },
            checkpointing: CheckpointingOptions {
                interval: Some(ms(300)),
                timeout: ms(10_000),
                tolerable_failures: 5,
                ..CheckpointingOptions::default()
            },
            restart: RestartStrategy::FixedDelay { attempts: 100, delay: ms(100) },
            buffers: NetworkOptions::default(),
            cluster: Cluster {
                job_managers: 1,
                task_managers: 3,
                slots: 2,
                heartbeat_interval: ms(500),
                heartbeat_timeout: ms(2_000),
                rpc_failures: None,
                ask_timeout: VirtualDuration::from_secs(10),
                cancellation_timeout: None,
                failover: FailoverStrategy::Region,
                connection_loss: constant(0),
                process_restart: uniform(500_000, 1_000_000),
                deploy: uniform(1_000, 5_000),
            },
            network: Network {
                latency: uniform(100, 500),
                bandwidth: 100_000_000,
                control_latency: uniform(200, 2_000),
                links: Vec::new(),
            },
            storage: Storage {
                latency: uniform(2_000, 20_000),
                bandwidth: 100_000_000,
                visibility: constant(0),
                name_node: None,
                requests_per_prefix: None,
                part_size: None,
                sync: SyncPolicy::default(),
                write_back: WRITE_BACK,
                client: StorageClient::default(),
            },
            ha: HighAvailability {
                latency: uniform(1_000, 5_000),
                election: ElectionOptions::default(),
            },
            external: External::patient(uniform(1_000, 5_000)),
            manual: vec![],
            actions: vec![],
            faults: vec![
                Fault {
                    at: When::Time(VirtualTime::from_millis(1500)),
                    what: FaultKind::CrashTask(1, 0),
                },
                Fault {
                    at: When::Time(VirtualTime::from_millis(3000)),
                    what: FaultKind::CrashTaskManager(1),
                },
            ],
            failures: None,
            limits: crate::scenario::model::Limits {
                until: VirtualTime::from_millis(60_000),
                events: 10_000_000,
                settle: ms(20_000),
            },
        }
    }

    #[test]
    fn smoke() {
        let outcome = Simulation::new(Arc::new(quickstart()), 1).expect("valid").trace(true).run();
        let trace = outcome.trace.as_ref().expect("kept");
        if std::env::var("TRACE").is_ok() {
            for (at, observation) in trace.iter().filter(|(at, o)| {
                *at > VirtualTime::from_millis(3100)
                    || !matches!(
                        o,
                        Observation::Sent { .. }
                            | Observation::Processed { .. }
                            | Observation::SourceEmitted { .. }
                    )
            }) {
                println!("{at} {observation:?}");
            }
        }
        println!(
            "{:?} {:?} {} events={} obs={} {:#?}",
            outcome.end,
            outcome.job_end,
            outcome.virtual_time,
            outcome.events,
            outcome.observations,
            outcome.statistics
        );
        println!("{:?}", outcome.findings);
        println!("{:?}", outcome.violations);
        assert_eq!(outcome.verdict, Verdict::Ok);
    }
}
