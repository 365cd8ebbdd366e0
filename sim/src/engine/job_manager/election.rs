//! A job manager's start: leadership, the completed checkpoints it finds, the task managers.

use cutline::codec::DecodeError;
use cutline::config::Scheme;
use cutline::coordinator::Coordinator;
use cutline::coordinator::completed::{Retained, StoreKind};
use cutline::defect::Defect;
use cutline::ids::CheckpointId;
use cutline::storage::metadata::Metadata;
use cutline::storage::registry::ClaimMode;

use super::{JobManager, Phase, Registered, SnapshotPayload, Waiting, translate};
use crate::engine::plan::CoordinatorSetup;
use crate::engine::{Control, Engine};
use crate::observe::{JobEnd, Observation};
use crate::world::{
    Answer, Context, KnownSnapshot, Observer, Pointer, ProcessId, Refusal, Request,
};

impl JobManager {
    pub(super) fn on_started<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        self.draws = Some(ctx.streams().stream("job-manager", "delays"));
        match self.plan.elects() {
            true => self.stand_for_election(ctx),
            false => self.request(Waiting::Lead, Request::Lead, ctx),
        }
        self.on_heartbeat_timer(ctx);
        for index in 0..self.plan.scenario.manual.len() {
            let at = self.plan.scenario.manual[index].at;
            if at >= ctx.now() {
                self.set_timer(at, Waiting::Manual(index), ctx);
            }
        }
    }

    pub(super) fn on_lead<O: Observer>(
        &mut self,
        answer: Result<Answer, Refusal>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        match answer {
            Ok(Answer::Session(session)) => {
                self.session = session;
                self.execution.lead(session);
                self.read_pointers(ctx);
            }
            Ok(_) | Err(_) => self.request(Waiting::Lead, Request::Lead, ctx),
        }
    }

    pub(super) fn read_pointers<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        if self.phase != Phase::Recovering {
            return; // It was given up while the next attempt was waited for.
        }
        self.recovered.clear();
        self.parallelism_found.clear();
        self.request(Waiting::Pointers, Request::ReadPointers, ctx);
    }

    pub(super) fn on_pointers<O: Observer>(
        &mut self,
        answer: Result<Answer, Refusal>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        if self.phase != Phase::Recovering {
            return; // It does not lead any more.
        }
        match answer {
            Ok(Answer::Pointers { pointers, ended, layout, first }) => {
                self.layout = layout;
                self.execution.first = first.execution;
                self.first_checkpoint = first.checkpoint;
                // A job that has ended is not run again; what its former leader left behind is
                // cleaned up. Flink: dirty entries of the `JobResultStore`.
                self.ended = ended.filter(|_| !self.plan.defects.has(Defect::D24));
                if let Some(end) = self.ended {
                    self.observe(Observation::ResultFound { end }, ctx);
                }
                for (checkpoint, pointer) in pointers {
                    let path = pointer.metadata.clone();
                    let waiting = Waiting::Metadata { checkpoint, pointer };
                    self.request(waiting, Request::Get { path }, ctx);
                }
                self.lead_if_recovered(ctx);
            }
            Ok(_) | Err(_) => self.retry_recovery(ctx),
        }
    }

    /// Flink: a completed checkpoint that cannot be read fails the recovery, which is tried again;
    /// it is never passed over in silence.
    fn retry_recovery<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        let mut waiting = self.waiting.values();
        if !waiting.any(|waiting| matches!(waiting, Waiting::RetryRecovery)) {
            let at = ctx.relative_time() + self.plan.scenario.cluster.heartbeat_interval;
            self.set_clock_timer(at, Waiting::RetryRecovery, ctx);
        }
    }

    pub(super) fn on_metadata_read<O: Observer>(
        &mut self,
        checkpoint: CheckpointId,
        pointer: Pointer,
        answer: Result<Answer, Refusal>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        // What was in the memory of a job manager does not come back.
        let memory = self.plan.scenario.checkpointing.dir == Some(Scheme::Memory);
        if memory && answer == Err(Refusal::NotFound) {
            return self.give_up_recovery(ctx);
        }
        let Ok(Answer::Object { bytes }) = answer else {
            return match self.plan.defects.has(Defect::D20) {
                true => self.lead_if_recovered(ctx), // As if it had not been there.
                false => self.retry_recovery(ctx),
            };
        };
        match Metadata::decode(&bytes) {
            Ok(metadata) => {
                let size = bytes.len() as u64;
                let parallelism = translate::parallelism_of(self.layout(), &metadata);
                let retained: Retained<_> =
                    translate::retained_from((&self.plan, &parallelism), &metadata, pointer, size);
                self.parallelism_found.insert(checkpoint, parallelism);
                self.recovered.insert(checkpoint, retained);
                self.lead_if_recovered(ctx);
            }
            Err(_) if pointer.bytes.is_some_and(|all| (bytes.len() as u64) < all) => {
                self.retry_recovery(ctx);
            }
            Err(DecodeError::Truncated { .. }) if pointer.bytes.is_none() => {
                self.retry_recovery(ctx);
            }
            Err(_) => self.give_up_recovery(ctx),
        }
    }

    /// The metadata is there, whole, and not what was written. Flink:
    /// `DefaultCompletedCheckpointStoreUtils#retrieveCompletedCheckpoint` throws, the job master
    /// does not start, and the job has failed.
    fn give_up_recovery<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        if self.phase == Phase::Recovering {
            self.end(self.ended.unwrap_or(JobEnd::Failed), ctx);
            self.on_asked(ctx);
        }
    }

    fn lead_if_recovered<O: Observer>(&mut self, ctx: &mut Context<'_, Engine, O>) {
        // What was asked for before a retry may come when that has only just begun.
        let reading = self.waiting.values().any(|waiting| {
            matches!(waiting, Waiting::Pointers | Waiting::Metadata { .. } | Waiting::RetryRecovery)
        });
        if reading || self.coordinator.is_some() || self.phase != Phase::Recovering {
            return;
        }
        let recovered: Vec<_> = std::mem::take(&mut self.recovered).into_values().collect();
        for retained in &recovered {
            self.tell_of_recovered(retained, ctx);
        }
        let policy = self.plan.trigger_policy();
        let setup = CoordinatorSetup {
            config: translate::coordinator_config(&self.plan, StoreKind::Default),
            topology: translate::topology(&self.plan, self.layout()),
            sources: self.enumerators.keys().copied().collect(),
            recovered,
        };
        let own = self.plan.coordinator.as_ref().map(|own| (own, setup.clone()));
        let CoordinatorSetup { config, topology, sources, recovered } = setup;
        let coordinator =
            Coordinator::new(config, topology, sources, policy, recovered, ClaimMode::Claim);
        let coordinator = coordinator.expect("the checkpoints of one job agree on its files");
        self.coordinator = Some(match own {
            Some((own, setup)) => own(setup, coordinator),
            None => Box::new(coordinator),
        });
        self.take_early(ctx);
        match self.ended {
            Some(end) => self.clean_up(end, ctx),
            None => {
                self.phase = Phase::Waiting;
                self.begin_if_ready(ctx);
            }
        }
        self.on_asked(ctx);
    }

    /// Its former leader may have died between the decision and its report.
    fn tell_of_recovered<O: Observer>(
        &self,
        retained: &Retained<SnapshotPayload>,
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let checkpoint = retained.checkpoint.id;
        if !ctx.told().iter().any(|known| known.checkpoint == checkpoint) {
            let metadata = retained.metadata.path.to_string();
            let kind = retained.checkpoint.kind;
            ctx.tell(KnownSnapshot { checkpoint, kind, metadata, abandoned: false });
        }
    }

    pub(super) fn on_register<O: Observer>(
        &mut self,
        (process, life): (ProcessId, u32),
        ctx: &mut Context<'_, Engine, O>,
    ) {
        let worker = self.worker_of((process, life));
        // A task manager that registers runs nothing: it is a new process, or it has ended its
        // tasks because it had lost the job manager. What was deployed there is gone.
        if self.task_managers.contains_key(&worker) {
            self.on_task_manager_lost(worker, ctx);
        }
        let heard = ctx.relative_time();
        let registered = Registered { process, life, heard, failures: 0, canceling: false };
        self.task_managers.insert(worker, registered);
        self.tell(process, Control::Registered, ctx);
        self.begin_if_ready(ctx);
    }
}
