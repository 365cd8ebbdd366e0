//! A deterministic simulation and testing framework for stream-processing checkpoints.
//!
//! A scenario (a job, its options, a world, faults) and a seed make one run. The protocol of the
//! crate `cutline` runs in it under a virtual clock, checks judge it while it goes on, and the same
//! scenario, seed and version give the same digest, everywhere.
//!
//! | module | holds |
//! | --- | --- |
//! | [`run`] | one run: [`run::Simulation`] in, [`run::Outcome`] out |
//! | [`scenario`] | the scenario file: loading with all mistakes at once, schema, cases, generator |
//! | [`check`] | what must hold in every run, and the traits for checks and situations of your own |
//! | [`calibrate`] | cost profiles from measured runs and REST dumps |
//! | [`flink`] | what a real Flink says of a job: plans, REST answers; scenarios drafted from them |
//! | [`defects`] | the catalogue of bugs that can be planted, or why not |
//! | [`explain`] | why a run broke a promise: the causal slice that ends in the violation |
//! | [`explore`] | many seeds on several threads |
//! | [`observe`] | what is seen of a run: the only thing that checks look at |
//! | [`engine`] | the machines of `cutline` as processes of the world |
//! | [`world`] | processes, network, object store, HA store, external transactions, faults |
//! | [`kernel`] | virtual clock, event queue, named random streams, digest; usable alone |
//! | [`conform`] | recorded runs of Apache Flink against the machines |
//! | [`sweep`] | grids of scenarios: what an interval costs and what it buys |
//! | [`validate`] | simulations against the closed forms of `cutline::model` |
//! | [`report`], [`trace`] | summaries, traces, the space-time view |
//! | [`cli`] | the command `cutline` |
//!
//! # Load a scenario and run it
//!
//! ```
//! use std::sync::Arc;
//!
//! use cutline_sim::check::Verdict;
//! use cutline_sim::run::Simulation;
//! use cutline_sim::scenario::load;
//!
//! let text = r#"{
//!     "format": "cutline-scenario/1",
//!     "title": "Counting survives a crash",
//!     "why": "The task fails just as the coordinator gets its acknowledgement.",
//!     "job": {
//!         "operators": [
//!             { "name": "source", "kind": "source", "records": 1000 },
//!             { "name": "count", "kind": "keyed_aggregate", "parallelism": 2 },
//!             { "name": "sink", "kind": "two_phase_commit_sink", "parallelism": 2 }
//!         ],
//!         "edges": [{ "from": "source", "to": "count" }, { "from": "count", "to": "sink" }]
//!     },
//!     "checkpointing": { "interval": "200 ms" },
//!     "faults": [
//!         {
//!             "at": { "step": "A1", "checkpoint": 2, "subtask": "count[1]" },
//!             "kind": "crash_task",
//!             "target": "count[1]"
//!         }
//!     ]
//! }"#;
//! let scenario = Arc::new(load(text.as_bytes(), "count.json", &[])?.scenario);
//!
//! let outcome = Simulation::new(Arc::clone(&scenario), 42)?.run();
//! assert_eq!(outcome.verdict, Verdict::Ok, "{:?}", outcome.violations);
//! assert_eq!(outcome.statistics.restores, 1);
//! assert_eq!(outcome.statistics.records.committed, 1_000);
//!
//! let again = Simulation::new(scenario, 42)?.run();
//! assert_eq!(again.digest, outcome.digest);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A property test
//!
//! Random topologies, workloads, worlds and crash schedules, with all checks. When it fails,
//! `proptest` says which three seeds it was.
//!
//! ```
//! use std::sync::Arc;
//!
//! use cutline_sim::run::Simulation;
//! use cutline_sim::scenario::generate::{Options, Seeds, generate_with};
//! use proptest::prelude::*;
//!
//! proptest! {
//!     #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
//! #   /*
//!     #[test]
//! #   */
//!     fn every_job_stays_exactly_once((job, world, faults) in any::<(u64, u64, u64)>()) {
//!         let options = Options { exactly_once_output: true, ..Options::default() };
//!         let scenario = generate_with(&options, Seeds { job, world, faults });
//!         let outcome = Simulation::new(Arc::new(scenario), world).expect("it can run").run();
//!         prop_assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
//!     }
//! }
//! # every_job_stays_exactly_once();
//! ```
//!
//! # An operator of your own
//!
//! An operator hands out its state and takes it back; the checks compare it, at every checkpoint
//! and at the end, with an instance that was never disturbed. One that keeps a count and forgets
//! to save it is caught at the first checkpoint, before anything crashes.
//!
//! ```
//! use std::sync::Arc;
//!
//! use cutline::codec::{Decoder, Encoder};
//! use cutline::ids::CheckpointId;
//! use cutline::operator::{
//!     Emitter, Fingerprint, Instance, Operator, Record, RestoreError, Snapshot, StateEntry,
//! };
//! use cutline_sim::check::Verdict;
//! use cutline_sim::run::Simulation;
//! # use cutline_sim::scenario::{Override, base, load};
//!
//! /// Passes records on and counts them.
//! #[derive(Debug)]
//! struct Tally {
//!     instance: Instance,
//!     seen: Fingerprint,
//!     saves: bool,
//! }
//!
//! impl Operator for Tally {
//!     fn process(&mut self, _input: u32, record: &Record, out: &mut Emitter) {
//!         self.seen += Fingerprint::of(record.identity());
//!         out.emit(*record);
//!     }
//!
//!     fn snapshot(&mut self, _checkpoint: CheckpointId, out: &mut Snapshot) {
//!         if self.saves {
//!             let mut state = Encoder::new(*b"TALY", 1);
//!             state.varint(u64::from(self.instance.subtask));
//!             state.fixed(self.seen.count);
//!             state.fixed(self.seen.sum);
//!             out.state = state.seal();
//!             out.nominal = out.state.len() as u64;
//!         }
//!     }
//!
//!     fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
//!         let read = || {
//!             let mut state = Decoder::open(state, *b"TALY", 1)?;
//!             let writer = state.varint32()?;
//!             let seen = Fingerprint { count: state.fixed()?, sum: state.fixed()? };
//!             state.end()?;
//!             Ok((writer, seen))
//!         };
//!         let damaged = |error| RestoreError::Damaged { operator: "a tally", error };
//!         let (writer, seen) = read().map_err(damaged)?;
//!         // Every subtask may be shown the state of every other one.
//!         if self.instance.owns_part(writer) {
//!             self.seen += seen;
//!         }
//!         Ok(())
//!     }
//!
//!     fn fingerprint(&self) -> Fingerprint {
//!         self.seen
//!     }
//!
//!     fn visit(&self, visitor: &mut dyn FnMut(StateEntry)) {
//!         let Fingerprint { count, sum: digest } = self.seen;
//!         visitor(StateEntry { what: "tally", key: None, split: None, path: 0, count, digest });
//!     }
//! }
//!
//! # let scenario = {
//! #     let changes = ["faults=[]", "limits.until=10 s"].map(|text| Override::parse(text).unwrap());
//! #     Arc::new(load(base().as_bytes(), "base.json", &changes)?.scenario)
//! # };
//! // In this scenario a `map` is called "map"; the tally takes its place.
//! let judge = |saves: bool| {
//!     let tally = move |instance| -> Box<dyn Operator> {
//!         Box::new(Tally { instance, seen: Fingerprint::EMPTY, saves })
//!     };
//!     let simulation = Simulation::new(Arc::clone(&scenario), 1)?;
//!     Ok::<_, cutline_sim::engine::JobError>(simulation.operator("map", Arc::new(tally)).run())
//! };
//! assert_eq!(judge(true)?.verdict, Verdict::Ok);
//! let caught = judge(false)?;
//! assert_eq!(caught.verdict, Verdict::Safety);
//! assert_eq!(caught.violations[0].check, "state");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A check and a situation of your own
//!
//! A [`check::Check`] judges, a [`check::Watch`] counts. Both see every observation, and nothing
//! else.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::Arc;
//!
//! use cutline::ids::CheckpointId;
//! use cutline::time::{VirtualDuration, VirtualTime};
//! use cutline_sim::check::{Check, Class, Report, Subject, Watch};
//! use cutline_sim::observe::Observation;
//! use cutline_sim::run::Simulation;
//! # use cutline_sim::scenario::{Override, base, load};
//!
//! /// Checkpoints are durable within this time, or the service level is missed.
//! struct ServiceLevel {
//!     within: VirtualDuration,
//!     triggered: BTreeMap<CheckpointId, VirtualTime>,
//!     judged: u64,
//! }
//!
//! impl Check for ServiceLevel {
//!     fn name(&self) -> &'static str {
//!         "service level"
//!     }
//!
//!     fn observe(&mut self, now: VirtualTime, observation: &Observation, report: &mut Report) {
//!         match *observation {
//!             Observation::Triggered { checkpoint, .. } => {
//!                 self.triggered.insert(checkpoint, now);
//!             }
//!             Observation::Durable { checkpoint } => {
//!                 self.judged += 1;
//!                 let took = self.triggered.get(&checkpoint).map(|at| now.since(*at));
//!                 if let Some(took) = took.filter(|took| *took > self.within) {
//!                     let what = (self.name(), Class::Stuck, "a checkpoint is late");
//!                     let subject = Subject::checkpoint(checkpoint);
//!                     report.add(what, now, subject, || format!("{checkpoint} took {took}"));
//!                 }
//!             }
//!             _ => {}
//!         }
//!     }
//!
//!     fn finish(&mut self, _now: VirtualTime, _report: &mut Report) {}
//!
//!     fn judged(&self) -> u64 {
//!         self.judged
//!     }
//! }
//!
//! /// A source had to repeat the very first record.
//! struct FromTheStart {
//!     begun: bool,
//! }
//!
//! impl Watch for FromTheStart {
//!     fn name(&self) -> &'static str {
//!         "a split is read from the start again"
//!     }
//!
//!     fn observe(&mut self, _now: VirtualTime, observation: &Observation) -> bool {
//!         match *observation {
//!             Observation::SourceEmitted { offset: 0, .. } => self.begun,
//!             Observation::ExecutionEnded => {
//!                 self.begun = true;
//!                 false
//!             }
//!             _ => false,
//!         }
//!     }
//! }
//!
//! # let scenario = {
//! #     let changes = ["faults=[]", "limits.until=10 s"].map(|text| Override::parse(text).unwrap());
//! #     Arc::new(load(base().as_bytes(), "base.json", &changes)?.scenario)
//! # };
//! let within = VirtualDuration::from_millis(1);
//! let check = ServiceLevel { within, triggered: BTreeMap::new(), judged: 0 };
//! let outcome = Simulation::new(scenario, 1)?
//!     .check(Box::new(check))
//!     .situation(Box::new(FromTheStart { begun: false }))
//!     .run();
//! assert!(outcome.violations[0].message.starts_with("chk-1 took "));
//! assert!(outcome.situations.contains(&("a split is read from the start again", 0)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod calibrate;
pub mod check;
pub mod cli;
pub mod conform;
pub mod defects;
pub mod engine;
pub mod explain;
pub mod explore;
pub mod flink;
pub mod horizon;
pub mod kernel;
pub mod observe;
pub mod report;
pub mod run;
pub mod scenario;
#[cfg(feature = "proptest")]
pub mod strategies;
pub mod sweep;
pub mod trace;
pub mod validate;
pub mod world;
