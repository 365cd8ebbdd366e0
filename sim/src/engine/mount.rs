//! The seam: what a run needs of an engine. The built-in one is one implementation.

use std::sync::Arc;

use super::Engine;
use super::job_manager::JobManager;
use super::plan::Plan;
use super::shadow::Storage;
use super::task_manager::TaskManager;
use crate::check::{NoOracle, RestoreOracle};
use crate::world::{ExternalSystem, HaStore, ObjectStore, Process};

/// An engine to be run: give it to [`Simulation::run_engine`](crate::run::Simulation::run_engine).
///
/// It gets the scenario's job (through the [`Plan`]), its world and all its faults; what it reports
/// through [`Context::observe`](crate::world::Context::observe) is digested, traced and judged.
///
/// # Checks that it cannot feed
///
/// Some checks rest on notions that an engine may not have, such as a cut through the whole job.
/// [`cannot_feed`](Mount::cannot_feed) names them: they say "not applicable", never "passed". Two
/// more need answers beyond observations: [`oracle`](Mount::oracle).
///
/// # What the world expects
///
/// Process 0 is the job manager as far as faults are concerned, process `n + 1` is task manager
/// `n`, other candidates for the job manager come last; there is one for each of [`Plan::process_names`]. The job is over when some process says
/// so ([`Request::StoreJobResult`](crate::world::Request::StoreJobResult), then
/// [`Context::end_job`](crate::world::Context::end_job)). To be struck by faults that are anchored
/// to a step, report that step.
pub trait Mount {
    /// What the engine is made of.
    type Process: Process;

    /// The processes of a run, as they are at its start.
    fn processes(&self, plan: &Arc<Plan>) -> Vec<Self::Process>;

    /// The names of the checks that this engine cannot feed: of `cut`, `order`, `state`, `policy`.
    fn cannot_feed(&self) -> &'static [&'static str] {
        &[]
    }

    /// What the stores hold of a checkpoint, for the checks `restore` and `storage`; an engine that
    /// does not say gets "not applicable" for both.
    fn oracle<'a>(&'a self, plan: &'a Plan, stores: Stores<'a>) -> Box<dyn RestoreOracle + 'a> {
        let _ = (plan, stores);
        Box::new(NoOracle)
    }
}

/// What outlives every process of a run.
#[derive(Clone, Copy, Debug)]
pub struct Stores<'a> {
    /// The object store.
    pub objects: &'a ObjectStore,
    /// The high-availability store.
    pub ha: &'a HaStore,
    /// The external transaction system.
    pub external: &'a ExternalSystem,
}

/// The machines of the crate `cutline`, mounted.
#[derive(Clone, Copy, Debug, Default)]
pub struct BuiltIn;

impl Mount for BuiltIn {
    type Process = Engine;

    fn processes(&self, plan: &Arc<Plan>) -> Vec<Engine> {
        let task_managers = (0..plan.scenario.cluster.task_managers)
            .map(|number| TaskManager::new(Arc::clone(plan), number))
            .map(|task_manager| Engine::TaskManager(Box::new(task_manager)));
        let job_manager = || Engine::JobManager(Box::new(JobManager::new(Arc::clone(plan))));
        let others = (1..plan.scenario.cluster.job_managers).map(|_| job_manager());
        std::iter::once(job_manager()).chain(task_managers).chain(others).collect()
    }

    fn oracle<'a>(&'a self, plan: &'a Plan, stores: Stores<'a>) -> Box<dyn RestoreOracle + 'a> {
        Box::new(Storage::new(plan, stores.objects, stores.ha, stores.external))
    }
}
